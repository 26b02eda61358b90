"""What every decision about a run needs: the run, its mapping's state, the reason, and an answer where none waits."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone

from connections.access import check
from mappings.models import Mapping
from sync.models import MappingState, Run
from sync.session import SIDES
from sync.standing import stands_still


def find(request: HttpRequest, pk: int, action: str) -> Run:
    """The run at this address, if the viewer may see it and do `action` on its mapping."""
    visible = Run.objects.visible_to(request.user).select_related(
        "mapping__left_connection", "mapping__right_connection", "mapping__run_state", "version"
    )
    run: Run = get_object_or_404(visible, pk=pk)
    check(request.user, action, run.mapping)
    return run


def state_of(mapping: Mapping) -> MappingState | None:
    return getattr(mapping, "run_state", None)


def reason_of(request: HttpRequest) -> str:
    return request.POST.get("reason", "").strip()[:500]


def kept_from_writing(mapping: Mapping) -> str:
    """What a person or the clock has to end before a run may write, as a clause; "" where nothing has to."""
    still = stands_still(mapping, timezone.now())
    if still is not None:
        return still.head
    stuck = next((one for side in SIDES if not (one := mapping.connection(side)).usable), None)
    return f"{stuck.name} needs a person ({stuck.get_state_display().lower()})" if stuck is not None else ""


def but_not_yet(mapping: Mapping) -> str:
    """The end of a clause that says what goes on now."""
    still = kept_from_writing(mapping)
    return f", but not yet: {still}" if still else ""


def not_waiting(request: HttpRequest, problem: Exception) -> None:
    messages.warning(
        request, f"{problem} · Nothing was done: somebody else may have decided already. · Look at it as it is now."
    )
