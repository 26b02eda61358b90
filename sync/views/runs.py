"""Runs: what goes on, one run while it runs, and the approval of a first run."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from connections.access import check, mappings_for, requires
from mappings.models import Mapping, MappingVersion
from sync import approval, audit, jobs, turns
from sync.models import MappingState, Operation, Run
from sync.standing import stands_still, waits_for_a_person
from sync.views import _run_story as run_story
from sync.views._brake import braked
from sync.views._changes import Shown, shown
from sync.views._deciding import but_not_yet, find, not_waiting, reason_of, state_of
from sync.wording import sentence
from syncadmin import filters
from syncadmin.paging import page

# htmx stops polling when it is answered with this status.
STOP_POLLING = 286
# What went wrong is listed first; more than this is reached by the filter.
MOST_TROUBLES = 20
# Fields of one write shown in a list; the record's page has them all.
MOST_FIELDS = 3
TROUBLED = (Operation.State.DEAD, Operation.State.REFUSED, Operation.State.UNCERTAIN)


def _mappings(user: Any) -> QuerySet[Mapping]:
    """The mappings whose runs `user` may read."""
    visible = Mapping.objects.visible_to(user).select_related(
        "left_connection", "right_connection", "run_state", "published"
    )
    allowed = mappings_for(user, "runs.read")
    return visible if allowed is None else visible.filter(pk__in=allowed)


# The list. -----------------------------------------------------------------------------------------------------


@requires("runs.read")
def listing(request: HttpRequest) -> HttpResponse:
    tidy = filters.tidy_address(request)
    if tidy:
        return redirect(tidy)
    mappings = list(_mappings(request.user))
    chips = [
        filters.choice(request, "mapping", "Mapping", "any", [(one.slug, one.name) for one in mappings]),
        filters.choice(request, "kind", "Kind", "any", Run.Kind.choices),
        filters.choice(request, "state", "State", "any", Run.State.choices),
    ]
    slug, kind, state = (chip.value for chip in chips)
    wanted = [one.pk for one in mappings if not slug or one.slug == slug]
    runs = Run.objects.visible_to(request.user).filter(mapping__in=wanted).select_related("mapping", "version")
    if kind:
        runs = runs.filter(kind=kind)
    if state:
        runs = runs.filter(state=state)
    pager = page(request, runs)
    now = timezone.now()
    rows = [
        {
            "run": run,
            "counts": run_story.counts_of(run),
            "seconds": run_story.seconds_of(run, now),
            "waiting": run_story.is_waiting(run, now),
        }
        for run in pager.rows
    ]
    halts = [halt for one in mappings if (halt := _halt(one))]
    first_page = "after" not in request.GET and "before" not in request.GET
    dead = _gave_up(wanted) if first_page else []
    context = {
        "mappings": mappings,
        "now": now,
        "halts": halts,
        "still": sum(1 for one in mappings if stands_still(one, now) is not None),
        "chips": chips,
        "set_chips": [chip for chip in chips if chip.value],
        "pager": pager,
        "rows": rows,
        "going": sum(1 for row in rows if row["run"].state == Run.State.RUNNING),
        "dead": dead[:MOST_TROUBLES],
        "more_dead": len(dead) > MOST_TROUBLES,
    }
    return render(request, "sync/runs/list.html", context)


def _gave_up(mapping_ids: list[int]) -> list[dict[str, Any]]:
    """The newest writes that gave up and still stand, of any run; one more than is shown."""
    dead = Operation.objects.filter(mapping__in=mapping_ids, state=Operation.State.DEAD, failing_since__isnull=False)
    found = dead.select_related("link", "version").order_by("-pk")[: MOST_TROUBLES + 1]
    return [_row(operation, _labels(operation.version)) for operation in found]


def _halt(mapping: Mapping) -> dict[str, Any] | None:
    """Why a mapping waits and where to end it."""
    state = state_of(mapping)
    if state is None or not state.halt:
        return None
    trouble = run_story.trouble_of(state.halt_reason or {"code": state.halt})
    assert trouble is not None
    run, todo = (state.halt_reason.get("params") or {}).get("run"), trouble[2]
    stuck = [one for side in ("left", "right") if not (one := mapping.connection(side)).usable]
    uncompared = state.halt == MappingState.Halt.RESTORED and state.compared_at is None
    if stuck and (uncompared or state.halt == MappingState.Halt.CONNECTION):
        url, label = reverse("connection", args=[stuck[0].pk]), "Open the connection"
        if uncompared:
            todo = f"First set {stuck[0]} right: it cannot be compared before. {todo}"
    elif state.halt == MappingState.Halt.CONNECTION:
        url, label = "", ""
    else:
        url = reverse("run", args=[run]) if run else ""
        label = "Look and decide" if state.halt == MappingState.Halt.BRAKE else "Look and approve"
    return {
        "kind": "warn" if state.halt == MappingState.Halt.APPROVAL else "bad",
        "what": f"{mapping.name}: {trouble[0]}",
        "meaning": trouble[1],
        "todo": todo,
        "url": url,
        "label": label,
        "since": state.halted_at,
    }


@requires("runs.start")
@require_POST
def start(request: HttpRequest, slug: str) -> HttpResponse:
    """Read both lists now, whatever the next poll's time."""
    mapping = get_object_or_404(_mappings(request.user), slug=slug)
    check(request.user, "runs.start", mapping)
    state = state_of(mapping)
    if mapping.state != Mapping.State.ACTIVE or mapping.published_id is None:
        messages.error(
            request,
            f"{mapping.name} does not run: it is {mapping.get_state_display().lower()}. · Nothing was read or written. "
            "· Publish or resume it on its page.",
        )
    elif (still := stands_still(mapping, timezone.now())) is not None:
        messages.error(
            request, f"{mapping.name} does not run: {still.head}. · Nothing was read or written; changes wait."
        )
    elif state is not None and waits_for_a_person(state):
        messages.error(
            request,
            f"{mapping.name} is halted and waits for a person. · Nothing was read or written; changes are kept. · "
            "Decide what stands at the top of this page.",
        )
    else:
        with transaction.atomic():
            turns.begin(mapping)
            name = request.user.get_username()
            audit.write("start", "asked", user=request.user, mapping=mapping, params={"by": name})
            jobs.wake(mapping.pk, "bulk")
        messages.success(
            request,
            f"{mapping.name} reads both sides now. · A run shows below as soon as there is something to do; "
            "where nothing changed, none does.",
        )
    return redirect("runs")


# One run. ------------------------------------------------------------------------------------------------------


@requires("runs.read")
def run(request: HttpRequest, pk: int) -> HttpResponse:
    tidy = filters.tidy_address(request)
    if tidy:
        return redirect(tidy)
    one = find(request, pk, "runs.read")
    chip = filters.choice(request, "outcome", "Outcome", "any", OUTCOMES)
    operations = Operation.objects.filter(run=one).select_related("link")
    troubles: list[Operation] = []
    if chip.value:
        operations = operations.filter(state=chip.value)
    else:
        troubles = list(operations.filter(state__in=TROUBLED).order_by("-pk")[: MOST_TROUBLES + 1])
        operations = operations.exclude(state__in=TROUBLED)
    pager = page(request, operations)
    labels = _labels(one.version)
    first_page = "after" not in request.GET and "before" not in request.GET
    state = state_of(one.mapping)
    context = {
        "run": one,
        "title": f"{one.mapping.name}: {run_story.TITLES[one.kind]}",
        "mapping": one.mapping,
        "live": one.state == Run.State.RUNNING,
        "progress": run_story.progress_of(one, timezone.now()),
        "trouble": _trouble(one),
        "notice": sentence(one.notice["code"], one.notice.get("params")) if one.notice else "",
        "approval": one.state == Run.State.APPROVAL and state is not None and state.halt == "approval",
        "preview": _preview(one),
        "compared": _compared(one, state),
        "brake": braked(one, state),
        "written": run_story.written_by(one),
        "outcome": chip,
        "troubles": [_row(operation, labels) for operation in troubles[:MOST_TROUBLES]] if first_page else [],
        "more_troubles": len(troubles) > MOST_TROUBLES,
        # A run that only prepared a decision has no writes to list.
        "bare": one.state in (Run.State.APPROVAL, Run.State.HALTED) and not (troubles or pager.rows or chip.value),
        "pager": pager,
        "rows": [_row(operation, labels) for operation in pager.rows],
    }
    return render(request, "sync/runs/show.html", context)


OUTCOMES = [
    ("confirmed", "Written"),
    ("dead", "Gave up"),
    ("refused", "Refused"),
    ("uncertain", "Not answered"),
    ("superseded", "Planned again"),
    ("planned", "Planned"),
    ("sending", "Being sent"),
    ("late", "Arrived late"),
]


def _trouble(one: Run) -> tuple[str, str, str] | None:
    """What went wrong in three parts; a brake and an approval have their own place on the page."""
    code = (one.error or {}).get("code")
    return None if code in (None, "brake") else run_story.trouble_of(one.error)


def _preview(one: Run) -> dict[str, Any] | None:
    if one.kind != Run.Kind.FIRST or not one.preview:
        return None
    sides = [
        {
            "side": side,
            "system": one.mapping.connection(side).name,
            "listed": one.preview.get("listed", {}).get(side, 0),
            "create": one.preview.get("create", {}).get(side, 0),
        }
        for side in ("left", "right")
    ]
    return {**one.preview, "sides": sides, "cannot_create": one.preview.get("samples", {}).get("cannot_create", [])}


def _compared(one: Run, state: MappingState | None) -> dict[str, Any] | None:
    """What a comparison after a restore found; `waits`: it is this one that a person decides about."""
    if one.kind != Run.Kind.RESTORED or not one.preview:
        return None
    halted = state is not None and state.halt == MappingState.Halt.RESTORED and state.compared_at is not None
    reason = state.halt_reason if state is not None and halted else {}
    names = {side: one.mapping.connection(side).name for side in ("left", "right")}
    rows = [
        {**row, "samples": [{**sample, "system": names[sample["side"]]} for sample in row["samples"]]}
        for row in one.preview["differences"]
        if row["write_left"] or row["write_right"] or row["review"]
    ]
    return {
        **one.preview,
        **approval.totals(one.preview),
        "rows": rows,
        "sides": [
            {
                "side": side,
                "system": names[side],
                "create": one.preview["create"][side],
                "delete": one.preview["delete"][side],
                "empty": side in one.preview["empty"],
            }
            for side in names
        ],
        "waits": halted and (reason.get("params") or {}).get("run") == one.pk,
        "why": run_story.trouble_of(reason),
    }


def _labels(version: MappingVersion) -> dict[str, dict[str, str]]:
    """{rule id: {side: the field's label}} of a version."""
    rules = version.document.get("rules", [])
    return {rule["id"]: {side: rule[side].get("label", "") for side in ("left", "right")} for rule in rules}


def _row(operation: Operation, labels: dict[str, dict[str, str]]) -> dict[str, Any]:
    fields = list(operation.fields.items())
    return {
        "operation": operation,
        "link": operation.link,
        "changes": [_change(operation, rule, sent, labels) for rule, sent in fields[:MOST_FIELDS]],
        "more": max(0, len(fields) - MOST_FIELDS),
        "why": _why(operation),
    }


def _change(operation: Operation, rule: str, sent: dict[str, Any], labels: dict[str, dict[str, str]]) -> Shown:
    label = labels.get(rule, {}).get(operation.side) or sent.get("path", "")
    before = None if operation.kind == Operation.Kind.CREATE else sent.get("before")
    return shown(before, sent.get("read_back", sent.get("value")), operation.side, label, brief=True)


def _why(operation: Operation) -> str:
    """What came of it; before there is an outcome, why it was decided."""
    result = operation.result or {}
    if result.get("code") and result["code"] != "confirmed":
        return sentence(result["code"], result.get("params"))
    reasons = {sentence(sent["code"], sent.get("params")) for sent in operation.fields.values() if sent.get("code")}
    return " ".join(sorted(reasons)) or sentence("confirmed")


@requires("runs.read")
def progress(request: HttpRequest, pk: int) -> HttpResponse:
    """The live part of the run page, asked for every 2 seconds. When the run has ended the whole page is new."""
    one = find(request, pk, "runs.read")
    live = one.state == Run.State.RUNNING
    context = {"run": one, "live": live, "progress": run_story.progress_of(one, timezone.now())}
    response = render(request, "sync/runs/_progress.html", context, status=200 if live else STOP_POLLING)
    if not live:
        response["HX-Refresh"] = "true"
    return response


# What a person decides. ----------------------------------------------------------------------------------------


@requires("runs.approve")
@require_POST
def approve(request: HttpRequest, pk: int) -> HttpResponse:
    one = find(request, pk, "runs.approve")
    try:
        if one.state != Run.State.APPROVAL:
            raise approval.NotWaiting(f"Run {one.pk} does not wait for approval.")
        if one.kind == Run.Kind.RESTORED:
            return _approve_restored(request, one)
        approval.approve(one.mapping, request.user)
    except approval.NotWaiting as problem:
        not_waiting(request, problem)
    else:
        begins = but_not_yet(one.mapping) or " now"
        messages.success(
            request,
            f"You approved the first run of {one.mapping.name}. · Writing begins{begins}. · Follow it under Runs.",
        )
    return redirect("run", pk=pk)


def _approve_restored(request: HttpRequest, one: Run) -> HttpResponse:
    """Raises NotWaiting where another comparison has taken its place."""
    found, reason = _compared(one, state_of(one.mapping)), reason_of(request)
    if found is None or not found["waits"]:
        raise approval.NotWaiting(f"Run {one.pk} does not wait for approval.")
    if not reason:
        messages.error(request, "An approval takes a reason. · Nothing was approved. · Type it, then approve again.")
        return redirect("run", pk=one.pk)
    approval.approve_restored(one.mapping, reason, request.user)
    messages.success(
        request,
        f"{one.mapping.name} writes again{but_not_yet(one.mapping)}. · Everything is read afresh; the brakes hold what "
        "goes beyond them.",
    )
    return redirect("run", pk=one.pk)
