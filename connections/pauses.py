"""Pauses and maintenance windows: what stands still, why, until when, and who ends it.

A pause is asked for by a person, with a reason; a window comes and goes by the clock. Neither is what a vendor asks
for (`Connection.retry_after`). Meanwhile bells go on marking hints, so that nothing is lost and their order is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Case, F, Value, When
from django.utils import timezone

from connections import hooks, windows
from connections.models import Connection, Pausable

State = Connection.State


@dataclass(frozen=True, slots=True)
class Standstill:
    """Why something stands still. `until`: None where only a person ends it. `by`: empty for a window."""

    name: str
    kind: str  # "paused" or "window"
    reason: str
    by: str
    since: datetime | None
    until: datetime | None

    @property
    def ends(self) -> str:
        """Until when, for people."""
        if self.until is None:
            return "until somebody resumes it" if self.kind == "paused" else "until its windows are changed"
        local = timezone.localtime(self.until)
        today = local.date() == timezone.localtime().date()
        return f"until {local:%H:%M}" if today else f"until {local:%-d %b, %H:%M}"

    @property
    def head(self) -> str:
        """What is the matter: "Salesforce is paused until 14:00"."""
        if self.kind == "window":
            return f"{self.name} is in a maintenance window {self.ends}"
        return f"{self.name} is paused {self.ends}"

    @property
    def why(self) -> str:
        """The reason that was given: "ana: month-end closing."; "" where none was."""
        text = ": ".join(part for part in (self.by, self.reason) if part)
        return text if not text or text[-1] in ".!?" else f"{text}."


def standstill(row: Pausable, now: datetime) -> Standstill | None:
    """Why a mapping or connection stands still at `now`, or None."""
    if row.state == "paused":
        return Standstill(str(row), "paused", row.pause_reason, row.paused_by, row.paused_at, row.paused_until)
    return window_standstill(row, now)


def window_standstill(row: Pausable, now: datetime) -> Standstill | None:
    """The window in which it stands still at `now`, paused besides or not; or None."""
    window = windows.open_window(row.windows, now)
    if window is None:
        return None
    return Standstill(str(row), "window", window.get("note", ""), "", None, windows.next_change(row.windows, now))


def in_window(row: Pausable, now: datetime) -> bool:
    return bool(row.windows) and windows.is_open(row.windows, now)


def paused_values(reason: str, until: datetime | None, by: str) -> dict[str, Any]:
    """The columns of a pause."""
    return {"pause_reason": reason[:500], "paused_by": by[:150], "paused_at": timezone.now(), "paused_until": until}


NOT_PAUSED: dict[str, Any] = {"pause_reason": "", "paused_by": "", "paused_at": None, "paused_until": None}


def pause_connection(connection: Connection, reason: str, until: datetime | None, user: Any) -> bool:
    """Pause it; True unless it was paused already, whose reason then stays."""
    name = user.get_username()
    told = {"reason": reason, **({"until": until.isoformat()} if until else {})}
    with transaction.atomic():
        running = Connection.objects.filter(pk=connection.pk).exclude(state=State.PAUSED)
        changed = running.update(
            state=State.PAUSED,
            state_reason=f"{name} paused it: {reason}",
            state_since=timezone.now(),
            updated_at=timezone.now(),
            **paused_values(reason, until, name),
        )
        if changed:
            _audit("connection_paused_until" if until else "connection_paused_for", connection, user, told)
    return bool(changed)


def resume_connection(connection: Connection, user: Any = None) -> bool:
    """End the pause, by a person or (without one) by the clock. Another account found meanwhile halts it still."""
    with transaction.atomic():
        row = Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
        if row.state != State.PAUSED or (user is None and (not row.paused_until or row.paused_until > timezone.now())):
            return False
        Connection.objects.filter(pk=row.pk).update(
            state=State.ACCOUNT_CHANGED if answers_as_another(row) else State.UNTESTED,
            state_reason="",
            state_since=timezone.now(),
            updated_at=timezone.now(),
            **NOT_PAUSED,
        )
        _audit("connection_resumed" if user is not None else "connection_resumed_by_clock", connection, user, {})
    return True


def answers_as_another(connection: Connection) -> bool:
    """Whether the last test that was answered found another account or site than the accepted one."""
    found = connection.check_result or {}
    accepted = (("tenant", connection.tenant), ("account_id", connection.account_id))
    return any(known and found.get(name, known) != known for name, known in accepted)


def note_state(connection: Connection, state: str, reason: str = "", but_for: Sequence[str] = ()) -> None:
    """Write what was found of a connection, unless it is paused by now, or in one of the states `but_for`.

    ⚑ What finds it out takes its time, and only a person or the clock ends a pause. So it is the stored row that is
    asked, by a conditional UPDATE; `connection` stays as it was loaded.
    """
    since = Case(When(state=state, then=F("state_since")), default=Value(timezone.now()))
    Connection.objects.filter(pk=connection.pk).exclude(state__in=[State.PAUSED, *but_for]).update(
        state=state, state_reason=reason, state_since=since
    )


def note_set_up_anew(connection: Connection) -> None:
    """Its settings changed: who answers with them is not known yet. ⚑ A halt for another account stays until a test
    finds the accepted one, or a person accepts the other."""
    Connection.objects.filter(pk=connection.pk).update(test_due=True)
    note_state(connection, State.UNTESTED, but_for=[State.ACCOUNT_CHANGED])


def due_connections(now: datetime) -> list[Connection]:
    return list(Connection.objects.filter(state=State.PAUSED, paused_until__lte=now))


def _audit(code: str, connection: Connection, user: Any, params: dict[str, Any]) -> None:
    hooks.audit("config", code, user=user, connection_id=connection.pk, object_label=connection.name, params=params)
