"""Whether a mapping may run now: its own pause and windows, and those of its two connections."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from connections.models import Connection
from connections.pauses import Standstill, in_window, standstill, window_standstill
from mappings import schedules
from mappings.models import Mapping
from sync.models import MappingState, Run
from sync.rows import fetch
from sync.session import SIDES, Session


class StandsStill(Exception):
    """A person or the clock stopped the run between two pages; the listing is made again afterwards."""


def stands_still(mapping: Mapping, now: datetime) -> Standstill | None:
    """What a person or the clock stopped: the mapping itself first, then its connections. Loads nothing but those."""
    rows = (mapping, *(mapping.connection(side) for side in SIDES))
    return next((found for row in rows if (found := standstill(row, now))), None)


def keeps_from_comparing(mapping: Mapping, now: datetime, by_clock: bool) -> Standstill | None:
    """What keeps a verification from reading: windows, paused connections and, one by the clock, the mapping's pause.

    That pause is about writing: whoever asks for a comparison while it lasts wants to see how both sides stand.
    """
    own = standstill(mapping, now) if by_clock else window_standstill(mapping, now)
    return own or next((found for side in SIDES if (found := standstill(mapping.connection(side), now))), None)


def unusable(connection: Connection) -> str:
    """Why this connection may not be called now; "" if it may."""
    if not connection.usable:
        return connection.state_reason or connection.get_state_display()
    until = connection.waits_until(timezone.now())
    if until is not None or connection.down_since is not None:
        return f"waiting until {until:%H:%M:%S}" if until is not None else "being probed"
    if connection.to_be_tested:  # ⚑ also in the middle of a run: the next one begins with the test
        return "set up anew, and not tested since"
    return ""


def waits_for_a_person(state: MappingState) -> bool:
    """Whether nothing is read before somebody has decided about what was found."""
    Halt = MappingState.Halt
    return state.halt in (Halt.BRAKE, Halt.APPROVAL) or (state.halt == Halt.RESTORED and state.compared_at is not None)


def reads_everything(state: MappingState | None) -> bool:
    """Whether the next run is a first one, or the comparison after a restore: minutes or hours in one job."""
    Halt = MappingState.Halt
    if state is None or (state.halt == Halt.RESTORED and state.compared_at is None):
        return True
    return state.approved_at is None and state.halt in ("", Halt.CONNECTION)


def outdated(state: MappingState) -> bool:
    """Whether the numbers that wait for approval are of an older version than the published one, or shown by no run."""
    if state.halt == MappingState.Halt.BRAKE or not waits_for_a_person(state):
        return False
    run = (state.halt_reason.get("params") or {}).get("run", 0)
    return not Run.objects.filter(pk=run, state=Run.State.APPROVAL, version=F("mapping__published")).exists()


def may_write(session: Session) -> bool:
    """Whether this run may still send: as it was when it began, by the rows as they are now. Two queries.

    ⚑ Asked before every send. What a vendor asked for (`retry_after`) is the budget's business, not a pause;
    a connection whose breaker is open is not called.
    """
    mapping, connections = _now(session)
    now = timezone.now()
    if mapping is None or in_window(mapping, now):
        return False
    return all(one.usable and not one.down_since and not in_window(one, now) for one in connections)


def still_on(session: Session) -> bool:
    """Whether this run may go on to its next batch or page: it may write, and no system asked us to wait."""
    mapping, connections = _now(session)
    now = timezone.now()
    if mapping is None or any(standstill(row, now) for row in (mapping, *connections)):
        return False
    if not session.in_turn and schedules.shut(session.compiled.schedule, now, settings.TIME_ZONE):
        return False
    return not any(unusable(one) for one in connections)


def may_compare(session: Session, by_clock: bool) -> bool:
    """Whether a verification may read on, by the rows as they are now. Two queries.

    ⚑ Asked before every read and before what was read is counted: what a system hides in a window is not missing.
    """
    now = timezone.now()
    mappings = fetch(Mapping, "id = %s", session.mapping.pk, only=OF_A_MAPPING)
    if any(standstill(one, now) if by_clock else in_window(one, now) for one in mappings):
        return False
    return all(one.usable and not in_window(one, now) for one in _connections(session))


# All that decides here; the rest of a connection is long, and part of it encrypted.
OF_A_MAPPING = ("id", "windows", "name", "state")
OF_A_CONNECTION = (
    *("id", "windows", "name", "state", "state_reason", "retry_after", "down_since", "probe_at"),
    *("tenant", "account_id", "test_due"),
)


def _now(session: Session) -> tuple[Mapping | None, list[Connection]]:
    """The mapping, if it is active under the version this run is pinned to, and its connections."""
    same = "id = %s AND state = %s AND published_id = %s"
    values = (session.mapping.pk, Mapping.State.ACTIVE, session.version.pk)
    mapping = next(iter(fetch(Mapping, same, *values, only=OF_A_MAPPING)), None)
    return mapping, _connections(session) if mapping else []


def _connections(session: Session) -> list[Connection]:
    keys = {session.connection(side).pk for side in SIDES}
    return fetch(Connection, "id IN %s", keys, only=OF_A_CONNECTION)
