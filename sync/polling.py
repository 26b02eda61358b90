"""Which sides of a mapping are polled now, and when they are next: what pace.py decides, looked up and noted."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from connections.models import Connection
from sync.models import MappingState, Run
from sync.pace import bell_state, seconds_to_next
from sync.rows import change
from sync.session import SIDES, Session


def due(session: Session, state: MappingState) -> bool:
    """A run by hand always reads the lists; any other does when its time has come."""
    return session.kind == Run.Kind.MANUAL or state.next_poll_at is None or state.next_poll_at <= timezone.now()


def begin(session: Session, state: MappingState, now: datetime) -> list[str]:
    """The sides to poll now: both where somebody asked, or where deletions wait for a complete look; else those whose
    time has come. Whoever asks from here on asks anew, since a list may have been read before."""
    asked = state.next_poll_at is None
    if asked:
        # Taken as what is due now, on both sides: a poll that fails leaves it so.
        taken = (
            "UPDATE sync_mappingstate SET next_poll_at = %s, left_poll_at = NULL, right_poll_at = NULL WHERE id = %s"
        )
        change(taken, now, state.pk)
    if session.kind == Run.Kind.MANUAL or asked or session.behind:
        return list(SIDES)
    moments = {side: getattr(state, f"{side}_poll_at") for side in SIDES}
    return [side for side in SIDES if moments[side] is None or moments[side] <= now] or list(SIDES)


def plan_next(session: Session, state: MappingState, polled: list[str], now: datetime) -> None:
    """Note when the sides just polled are polled next; where somebody asked meanwhile, both are polled now."""
    moments = {}
    for side in SIDES:
        known = getattr(state, f"{side}_poll_at")
        moments[side] = (
            now + timedelta(seconds=_wait(session, state, side, now)) if side in polled or not known else known
        )
    polled_at = (
        "UPDATE sync_mappingstate SET last_poll_at = %s, left_poll_at = %s, right_poll_at = %s, "
        "next_poll_at = CASE WHEN next_poll_at IS NULL THEN NULL ELSE %s END WHERE id = %s"
    )
    change(polled_at, now, moments["left"], moments["right"], min(moments.values()), state.pk)


def _wait(session: Session, state: MappingState, side: str, now: datetime) -> float:
    row, able = session.connection(side), session.connectors[side].capabilities
    bell = bell_state(able.bell, row.bell_seen_at, row.bell_missed_at, now)
    seen = now if session.edits_seen else state.changed_at
    quiet = None if seen is None else (now - seen).total_seconds()
    bounds = (session.compiled.poll_seconds, session.compiled.poll_seconds_idle)
    return seconds_to_next(quiet, *bounds, bell, able.feed_retention)


def note_missed(session: Session, side: str) -> None:
    """A poll found an edit that the bell of this side should have told of."""
    connection = session.connection(side)
    if session.connectors[side].capabilities.bell != "none":
        connection.bell_missed_at = timezone.now()
        Connection.objects.filter(pk=connection.pk).update(bell_missed_at=connection.bell_missed_at)
