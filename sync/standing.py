"""Whether a mapping may run now: its own pause and windows, and those of its two connections."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from connections.models import Connection
from connections.pauses import Standstill, in_window, standstill
from mappings.models import Mapping
from sync.models import MappingState
from sync.session import SIDES, Session


class StandsStill(Exception):
    """A person or the clock stopped the run between two pages; the listing is made again afterwards."""


def stands_still(mapping: Mapping, now: datetime) -> Standstill | None:
    """What a person or the clock stopped: the mapping itself first, then its connections. Loads nothing but those."""
    rows = (mapping, *(mapping.connection(side) for side in SIDES))
    return next((found for row in rows if (found := standstill(row, now))), None)


def unusable(connection: Connection) -> str:
    """Why this connection may not be called now; "" if it may."""
    if not connection.usable:
        return connection.state_reason or connection.get_state_display()
    if connection.retry_after and connection.retry_after > timezone.now():
        return f"waiting until {connection.retry_after:%H:%M:%S}"
    return ""


def waits_for_a_person(state: MappingState) -> bool:
    """Whether nothing is read before somebody has decided about what was found."""
    Halt = MappingState.Halt
    return state.halt in (Halt.BRAKE, Halt.APPROVAL) or (state.halt == Halt.RESTORED and state.compared_at is not None)


def may_write(session: Session) -> bool:
    """Whether this run may still send: as it was when it began, by the rows as they are now. One query.

    ⚑ Asked before every send. What a vendor asked for (`retry_after`) is the budget's business, not a pause.
    """
    mapping = _current(session)
    if mapping is None or in_window(mapping, timezone.now()):
        return False
    connections = [mapping.connection(side) for side in SIDES]
    return all(one.usable and not in_window(one, timezone.now()) for one in connections)


def still_on(session: Session) -> bool:
    """Whether this run may go on to its next batch or page: nothing stands still, and both may be called."""
    mapping = _current(session)
    if mapping is None or stands_still(mapping, timezone.now()):
        return False
    return not any(unusable(mapping.connection(side)) for side in SIDES)


def _current(session: Session) -> Mapping | None:
    """The mapping, if it is active under the version this run is pinned to."""
    same = Mapping.objects.filter(
        pk=session.mapping.pk, state=Mapping.State.ACTIVE, published=session.version.pk
    ).select_related("left_connection", "right_connection")
    return same.first()
