"""The choices at a brake: let a number through, hold the records, or list an empty side again."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from connections.access import requires
from sync import approval
from sync.models import Run
from sync.views._brake import Braked, braked
from sync.views._deciding import but_not_yet, find, kept_from_writing, not_waiting, reason_of, state_of


def _stopped(run: Run) -> Braked:
    """What the brake stopped. Raises NotWaiting where it is not this run that the mapping waits for."""
    found = braked(run, state_of(run.mapping))
    if found is None:
        raise approval.NotWaiting(f"{run.mapping} does not wait for a decision about run {run.pk}.")
    return found


@requires("brakes.release")
@require_POST
def release(request: HttpRequest, pk: int) -> HttpResponse:
    """Let a typed number of what the brake stopped through, with a reason."""
    one = find(request, pk, "brakes.release")
    reason, typed = reason_of(request), request.POST.get("number", "").strip()
    number = int(typed) if typed.isdecimal() and len(typed) < 8 else 0
    try:
        stopped = _stopped(one)
        if not reason or not 0 < number <= stopped.most:
            messages.error(
                request,
                f"A release takes a reason and a number from 1 to {stopped.most:,}. · Nothing was released; "
                "the brake holds. · Type both, then release again.",
            )
            return redirect("run", pk=pk)
        if still := kept_from_writing(one.mapping):
            messages.error(
                request,
                f"{still}. · Nothing was released, since the hour would pass without a write; the brake holds. · "
                "Release it when that is over.",
            )
            return redirect("run", pk=pk)
        approval.release(one.mapping, number, reason, request.user)
    except approval.NotWaiting as problem:
        not_waiting(request, problem)
    else:
        messages.success(
            request,
            f"{number:,} {stopped.noun} in {stopped.system} are released for one hour. · The plan is read afresh; "
            "what would go beyond halts again. · Follow it under Runs.",
        )
    return redirect("run", pk=pk)


@requires("brakes.release")
@require_POST
def hold(request: HttpRequest, pk: int) -> HttpResponse:
    """Take the records whose changes wait out of the run; nothing is written to them."""
    one = find(request, pk, "brakes.release")
    reason = reason_of(request)
    try:
        _stopped(one)
        if not reason:
            messages.error(request, "Holding takes a reason. · Nothing was held. · Type it, then hold them.")
            return redirect("run", pk=pk)
        number = approval.hold(one.mapping, reason, request.user)
    except approval.CannotHold as problem:
        messages.error(
            request, f"{problem} · Nothing was held; the mapping stays halted. · Choose one of the ways on this page."
        )
    except approval.NotWaiting as problem:
        not_waiting(request, problem)
    else:
        messages.success(
            request,
            f"{number:,} {'record is' if number == 1 else 'records are'} held. · Nothing was written there; the other "
            "records go on. · A reviewer or an admin includes a held record again on its page.",
        )
    return redirect("run", pk=pk)


@requires("brakes.release")
@require_POST
def list_again(request: HttpRequest, pk: int) -> HttpResponse:
    """Have a side that came back empty listed once more; nothing is allowed by it."""
    one = find(request, pk, "brakes.release")
    try:
        stopped = _stopped(one)
        approval.list_again(one.mapping, request.user)
    except approval.NotWaiting as problem:
        not_waiting(request, problem)
    else:
        messages.success(
            request,
            f"{stopped.source} is listed again{but_not_yet(one.mapping)}. · Nothing was allowed by that; if it is "
            "still empty, the mapping halts again. · Follow it under Runs.",
        )
    return redirect("run", pk=pk)
