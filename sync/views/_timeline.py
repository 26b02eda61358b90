"""What happened to a pair: its audit entries as sentences, newest first, with what can be taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from django.utils import timezone

from sync.models import AuditEntry, Link, Operation
from sync.views._progress import can_undo
from sync.views.audit_lines import Line, line_of

# The newest writes of a pair that may still be what a field says; older ones have been overwritten since.
NEWEST_WRITES = 100


@dataclass(frozen=True, slots=True)
class Event:
    """One entry. `day`: set on the first one of a day; `undo`: the write that can be taken back, on its first entry."""

    line: Line
    by_person: bool
    day: date | None
    undo: Operation | None

    @property
    def entry(self) -> AuditEntry:
        return self.line.entry


def events(entries: Sequence[AuditEntry], link: Link) -> list[Event]:
    """One query, for the writes."""
    revertible = _revertible(link) if any(entry.operation_id for entry in entries) else {}
    found: list[Event] = []
    last: date | None = None
    for entry in entries:
        day = timezone.localtime(entry.at).date()
        undo = revertible.pop(entry.operation_id, None) if entry.action == "write" and entry.operation_id else None
        person = entry.actor_kind == AuditEntry.ActorKind.PERSON
        found.append(Event(line_of(entry, brief=True), person, day if day != last else None, undo))
        last = day
    return found


def _revertible(link: Link) -> dict[int, Operation]:
    """Writes that are the newest of ours for every field they sent; a later one would be undone instead."""
    newest: set[tuple[str, str]] = set()
    found: dict[int, Operation] = {}
    writes = Operation.objects.filter(link=link, state=Operation.State.CONFIRMED).order_by("-pk")[:NEWEST_WRITES]
    for operation in writes:
        operation.link = link
        sent = {(operation.side, rule) for rule in operation.fields}
        if can_undo(operation) and not sent & newest:
            found[operation.pk] = operation
        newest |= sent
    return found
