"""One look at a batch of hints: read what they name and whatever belongs to it, decide, save nothing of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils import timezone

from sync import given_up, hints, schema_watch
from sync.brakes import SAMPLES
from sync.decide import decide
from sync.decided import Decided
from sync.held_back import UNREAD_SECONDS
from sync.matching import Unlinked, note_match_keys
from sync.merge import OTHER
from sync.models import ChangedRecord, Link
from sync.plan import PlannedOperation
from sync.plan_unlinked import MakeTwin
from sync.read import Reading, read_into
from sync.session import SIDES, Session
from sync.state import Batch, both_ids, differs_from_bases, hides_agreed, load
from sync.unlinked import Meeting, meet

# A link with an operation in flight is looked at again after this long, unless the operation ends earlier.
BUSY_SECONDS = 1.0
# One whose write was not answered waits for the probe, which rings.
UNCLEAR_SECONDS = 5.0
# Links of which it is looked up which record over there is the same thing, or told that one is.
TO_MATCH = (Link.State.CREATING, Link.State.DELETED)


@dataclass(frozen=True, slots=True)
class Looked:
    """What a batch came to. `consumed`: hints that the plans use up; `vanished`: hints of records nobody has."""

    rung: list[ChangedRecord]
    known: Batch
    of_record: Mapping[tuple[str, str], Link]
    decided: Sequence[Decided]
    consumed: Sequence[ChangedRecord]
    vanished: Sequence[ChangedRecord]
    meeting: Meeting | None

    def planned(self) -> Counter[tuple[str, str]]:
        """{(side, kind): number} of the writes, as the brakes count them."""
        planned: Counter[tuple[str, str]] = Counter()
        for one in self.decided:
            planned.update(_counted_as(operation) for operation in one.plan.operations)
        planned.update((twin.side, "create") for twin, _ in self._twins())
        return planned

    def needs(self, side: str, kind: str) -> Counter[Link | ChangedRecord]:
        """{link, or hint of a new record: number} of the writes that `planned` counts under (side, kind)."""
        needs: Counter[Link | ChangedRecord] = Counter()
        for one in self.decided:
            if number := sum(_counted_as(operation) == (side, kind) for operation in one.plan.operations):
                needs[one.link] = number
        if kind == "create":
            needs.update(new.hint for twin, new in self._twins() if twin.side == side and new.hint)
        return needs

    def fitting(self, side: str, kind: str, room: int) -> list[ChangedRecord]:
        """The hints to look at again, where `room` of the writes under (side, kind) are let through.

        ⚑ All writes of a record go or none does: half of an edit is nobody's. [] where no record that needs any fits.
        """
        needs = self.needs(side, kind)
        goes: dict[Link | ChangedRecord, bool] = {}
        fitting = []
        for hint in self.rung:
            one = self.of_record.get((hint.side, hint.external_id), hint)
            if one not in goes:  # a pair of which both records changed has two hints
                goes[one] = needs[one] <= room
                room -= needs[one] if goes[one] else 0
            if goes[one]:
                fitting.append(hint)
        return fitting if any(needs[one] for one in goes if goes[one]) else []

    def sample(self, side: str, kind: str) -> list[str]:
        """A few of the records that `planned` counts under (side, kind), by name."""
        names = [str(one) for one in self.needs(side, kind) if isinstance(one, Link)]
        if kind == "create":
            names += [new.record.key or new.record.external_id for twin, new in self._twins() if twin.side == side]
        return names[:SAMPLES]

    def told(self, side: str, kind: str) -> bool:
        """Whether (side, kind) is all about records that their own hints report as deleted."""
        gone = {hint.external_id for hint in self.rung if hint.deleted and hint.side == OTHER[side]}
        links = [one for one in self.needs(side, kind) if isinstance(one, Link)]
        return kind == "delete" and all(link.record_id(OTHER[side]) in gone for link in links)

    def _twins(self) -> Sequence[tuple[MakeTwin, Unlinked]]:
        return self.meeting.twins if self.meeting else ()


def _counted_as(operation: PlannedOperation) -> tuple[str, str]:
    """(side, kind): a write that empties a field counts with the deletions."""
    return operation.side, "delete" if operation.clears() else operation.kind


def look(session: Session, rung: list[ChangedRecord]) -> Looked:
    """Raises SideFailed, LeaseLost."""
    session.reading_since = timezone.now()
    ids = {side: [hint.external_id for hint in rung if hint.side == side] for side in SIDES}
    known = load(session, ids)
    of_record = known.by_record()
    there = {(hint.side, hint.external_id) for hint in rung}
    linked = {side: [id for id in found if (side, id) not in there] for side, found in both_ids(known.links).items()}
    rung += hints.of_counterparts(session.mapping.pk, linked)
    busy = [hint for hint in rung if (link := of_record.get((hint.side, hint.external_id))) and link.pk in known.busy]
    unclear = [hint for hint in busy if known.busy[of_record[(hint.side, hint.external_id)].pk]]
    hints.postpone([hint for hint in busy if hint not in unclear], BUSY_SECONDS)
    hints.postpone(unclear, UNCLEAR_SECONDS)
    rung = [hint for hint in rung if hint not in busy]
    links = [link for link in known.links if link.pk not in known.busy]
    reading = Reading()
    read_into(session, reading, {side: [hint.external_id for hint in rung if hint.side == side] for side in SIDES})
    _read_counterparts(session, reading, links, known)
    if looked_up := given_up.look_up_again(session, links, reading):
        links = [link for link in links if link not in looked_up]
        theirs = [hint for hint in rung if of_record.get((hint.side, hint.external_id)) in looked_up]
        hints.postpone(theirs, BUSY_SECONDS)
    waiting = schema_watch.noticed(session, reading)
    unlinked = [
        Unlinked(hint.side, record, hint)
        for hint in rung
        if (hint.side, hint.external_id) not in of_record
        and (record := reading.get(hint.side, hint.external_id)) is not None
    ]
    vanished = [
        hint
        for hint in rung
        if (hint.side, hint.external_id) not in of_record and hint not in [u.hint for u in unlinked]
    ]
    if waiting:
        # ⚑ Whatever the field: a match key that is hidden for a moment would count as empty, and a copy lack the value.
        later = [link for link in links if link.state in TO_MATCH and _lacks(reading, waiting, _ids(link))]
        new = [one for one in unlinked if _lacks(reading, waiting, {one.side: one.record.external_id})]
        links, unlinked = [x for x in links if x not in later], [one for one in unlinked if one not in new]
        unsure = [hint for hint in rung if of_record.get((hint.side, hint.external_id)) in later]
        hints.postpone([*unsure, *(one.hint for one in new if one.hint)], schema_watch.LOOK_AGAIN_SECONDS)
    if any(link.state == Link.State.CREATING for link in links):
        # ⚑ What is read with a record that waits for its twin may be that twin: noted before either is decided.
        for side in SIDES:
            met = [one.record for one in unlinked if one.side == side and not one.record.deleted]
            note_match_keys(session, side, met)
    decided, consumed = decide(session, links, known, reading, rung, of_record)
    # ⚑ Nothing rings when a record shows a field again: the hint of an edit that could not be carried there stays, and
    # that of a record that does not show all that was agreed.
    unread = {one.link.pk for one in decided if one.plan.unread}
    kept = []
    for hint in consumed:
        link, record = of_record[(hint.side, hint.external_id)], reading.get(hint.side, hint.external_id)
        if link.pk in unread or (record is not None and hides_agreed(session, link, hint.side, record)):
            kept.append(hint)
    if kept:
        consumed = [hint for hint in consumed if hint not in kept]
        hints.postpone(kept, UNREAD_SECONDS)
    if waiting:
        looked_at = [*consumed, *kept]
        unseen = [
            hint for hint in looked_at if _lacks(reading, waiting, _ids(of_record[(hint.side, hint.external_id)]))
        ]
        consumed = [hint for hint in consumed if hint not in unseen]
        hints.postpone(unseen, schema_watch.LOOK_AGAIN_SECONDS)
    # What took the place of a merged record is no newcomer.
    taken = {(one.bound, one.link.record_id(one.bound)) for one in decided if one.bound}
    unlinked = [one for one in unlinked if (one.side, one.record.external_id) not in taken]
    meeting = meet(session, unlinked) if unlinked else None
    return Looked(rung, known, of_record, decided, consumed, vanished, meeting)


def _lacks(reading: Reading, waiting: Mapping[str, frozenset[str]], ids: Mapping[str, str | None]) -> bool:
    """Whether one of these records, by side, lacks a field of which it is not known yet why.

    ⚑ Its hint stays: if the field was hidden for a moment only, nothing else would tell of an edit made meanwhile.
    """
    for side, external_id in ids.items():
        record = reading.get(side, external_id)
        if record is not None and not record.deleted and not waiting.get(side, frozenset()) <= record.values.keys():
            return True
    return False


def _ids(link: Link) -> dict[str, str | None]:
    return {side: link.record_id(side) for side in SIDES}


def _read_counterparts(session: Session, reading: Reading, links: Sequence[Link], known: Batch) -> None:
    """Re-read in bulk just the counterparts about to be written or asked about."""
    wanted: dict[str, list[str]] = {side: [] for side in SIDES}
    for link in links:
        asked = link.pk in known.instructions
        if link.state not in (Link.State.HELD, Link.State.UNLINKED):  # there time stands still unless a person asks
            asked = asked or link.pk in known.conflicts or link.state != Link.State.ACTIVE
            asked = asked or bool(link.out_of_scope)  # back by a field we do not map, it looks as it was agreed
        for side in SIDES:
            record, other = reading.get(side, link.record_id(side)), link.record_id(OTHER[side])
            if other is None or reading.get(OTHER[side], other) is not None:
                continue
            gone = link.record_id(side) in reading.absent[side] or (record is not None and record.deleted)
            if gone or asked or (record is not None and differs_from_bases(session, link, side, record)):
                wanted[OTHER[side]].append(other)
    read_into(session, reading, wanted)
