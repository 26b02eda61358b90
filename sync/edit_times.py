"""When a field was edited, as far as reads and histories can tell: what *Newest* goes by."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone

from connections.connectors.base import Change, Record
from sync.merge import MISSING, EditTime
from sync.models import Link
from sync.session import SIDES, Session
from sync.state import seconds_of

# An entry of a history may be stamped so much later than the record it tells of: it is written after it.
HISTORY_LATE_SECONDS = 1.0


def edit_times(session: Session, link: Link, records: Mapping[str, Record | None]) -> dict[tuple[str, str], EditTime]:
    """When each side was edited, as far as reads can tell: between our last read with the old value and the end of the
    record's own stamp at the first read with the new one, both on our clock. A stamp from before that read tells
    nothing: a field can change without it. What never agreed has the record's own stamp alone."""
    found: dict[tuple[str, str], EditTime] = {}
    now = timezone.now().timestamp()
    for side in SIDES:
        record = records[side]
        if record is None or record.updated_at is None:
            continue
        stamp = seconds_of(record.updated_at) - (session.connection(side).clock_offset or 0.0)
        end = stamp + session.connectors[side].capabilities.stamp_granularity
        bases, noted, last_read = link.bases(side), link.pending_edits.get(side, {}), _last_read(link, side)
        for rule in session.compiled.rules:
            known = noted.get(rule.id, {})
            read = known.get("unread_since", last_read)
            if rule.id not in bases:
                found[(side, rule.id)] = EditTime(stamp, end)
            # ⚑ The record's stamp moves with every other field: the first read with this value tells more.
            elif "value" in known and record.values.get(rule.field(side).path, MISSING) == known["value"]:
                found[(side, rule.id)] = EditTime(known["earliest"], known["latest"])
            else:
                found[(side, rule.id)] = EditTime(read, end) if read <= end else EditTime(stamp, now)
    return found


def pending_edits(
    session: Session, link: Link, records: Mapping[str, Record | None], agreed: Container[str]
) -> dict[str, dict[str, Any]]:
    """What these reads show that is not what was agreed, with when it was edited, and what they do not show, with when
    it was read last: before the reads are taken over.

    `agreed`: ids of rules whose bases take these values now. A side that was not read keeps what was noted of it.
    """
    times, rules = edit_times(session, link, records), {rule.id: rule for rule in session.compiled.rules}
    found: dict[str, dict[str, Any]] = {}
    for side in SIDES:
        record, noted = records[side], link.pending_edits.get(side, {})
        if record is None:
            found[side] = noted
            continue
        edits = found[side] = {}
        for rule_id, base in link.bases(side).items():
            rule, when = rules.get(rule_id), times.get((side, rule_id))
            value = record.values.get(rule.field(side).path, MISSING) if rule else MISSING
            if value is MISSING:  # hidden, or its rule is off
                edits[rule_id] = {"unread_since": _last_read(link, side), **noted.get(rule_id, {})}
            elif when and value != base and rule_id not in agreed:
                edits[rule_id] = {"value": value, "earliest": when.earliest, "latest": when.latest}
    return {side: edits for side, edits in found.items() if edits}


def _last_read(link: Link, side: str) -> float:
    """When the side was last read; 0 for never."""
    read_at = link.left_read_at if side == "left" else link.right_read_at
    return read_at.timestamp() if read_at is not None else 0.0


def shows_all(session: Session, link: Link, side: str, record: Record) -> bool:
    """Whether the record was read with every field that was ever agreed on."""
    paths = {rule.id: rule.field(side).path for rule in session.compiled.rules}
    return all(rule_id in paths and paths[rule_id] in record.values for rule_id in link.bases(side))


# What the vendor's history adds. ---------------------------------------------------------------------------------


def since_when(
    session: Session, side: str, link: Link, records: Mapping[str, Record | None], rules: Iterable[str]
) -> str:
    """From when on these fields may have been edited there, as that system would write it."""
    times = edit_times(session, link, records)
    first = min(_earliest(link, times, side, rule) for rule in rules)
    cut = session.connectors[side].capabilities.stamp_granularity
    since = max(0.0, first + (session.connection(side).clock_offset or 0.0) - cut)
    return datetime.fromtimestamp(since, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def exact_times(
    session: Session, link: Link, records: Mapping[str, Record | None], history: Mapping[str, Sequence[Change]]
) -> dict[tuple[str, str], EditTime]:
    """When each field got the value that was read, since the read that showed what was agreed. `history`: by side."""
    found = {}
    read = edit_times(session, link, records)
    for side in SIDES:
        record, offset = records[side], session.connection(side).clock_offset or 0.0
        granularity = session.connectors[side].capabilities.stamp_granularity
        for rule in session.compiled.rules:
            times = _times_of(history.get(side, ()), rule.field(side).path, record)
            at = max(times, default=0.0) - offset
            if times and at + granularity >= _earliest(link, read, side, rule.id):  # else it is not of this edit
                found[(side, rule.id)] = EditTime(at, at + granularity)
    return found


def _earliest(link: Link, times: Mapping[tuple[str, str], EditTime], side: str, rule_id: str) -> float:
    """When the value was last known to be the agreed one; for what never agreed every change counts."""
    known = times.get((side, rule_id))
    return known.earliest if known is not None and rule_id in link.bases(side) else 0.0


def _times_of(changes: Sequence[Change], path: str, record: Record | None) -> list[float]:
    """When a field was changed to what was read; where a history says values its own way, when it was changed at all.

    ⚑ The history was asked for after the record was read: what it tells of the time since is not what was read.
    """
    if record is None or record.updated_at is None:
        return []
    until = seconds_of(record.updated_at) + HISTORY_LATE_SECONDS
    read = [c for c in changes if c.field == path and seconds_of(c.at) <= until]
    same = [c for c in read if c.after == record.values.get(path, MISSING)]
    return [seconds_of(c.at) for c in same or read]
