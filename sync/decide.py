"""What to do about each link of a batch, from fresh reads: nothing is saved here but why a hint has to wait."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.utils import timezone

from connections.connectors.base import ConnectorError, Record
from mappings.models import Mapping as SyncMapping
from sync import asked, given_up, held_back, hints, merged, noting, parking, returned
from sync.creates_under_way import asked_elsewhere, unanswered
from sync.decided import Decided, audit_entry
from sync.edit_times import edit_times, exact_times, since_when
from sync.lease import LeaseLost
from sync.match_keys import comparable
from sync.matching import same_thing
from sync.merge import OTHER, EditTime
from sync.models import ChangedRecord, Instruction, Link
from sync.plan import LinkPlan, PlannedConflict, plan_link
from sync.plan_deletion import moved_since, plan_deletion
from sync.plan_unlinked import Bind, Hold, MakeTwin, Wonder
from sync.read import Reading, SideFailed, able, outside_scope
from sync.rows import select
from sync.session import SIDES, Session
from sync.sightings import SECOND_SIGHTING, UNREADABLE, alive, found_again, older, see_again
from sync.state import Batch, both_ids, instruction_views, link_view
from sync.unlinked import PERSON_WAIT_SECONDS, Decision, may_have_a_twin, planned_create
from sync.without_twin import may_create, twins_of_links

log = logging.getLogger("sync")

# Two links that fit the same record: the second one sees what became of the first.
NEXT_BATCH_SECONDS = 1.0
# A deletion told of before a complete listing was made; the listing ends within one run.
BEHIND_SECONDS = 5.0
# What the log says of a deletion that nobody told of.
NOT_FOUND = {
    "deletion_unlinked": "not_found_unlinked",
    "deletion_noted": "not_found_noted",
    "deleted_on_both": "not_found_on_both",
}
OLDER = "The system showed an older state of this record than it did before. It is read again."


Records = dict[str, Record | None]  # {side: as read, or None}


@dataclass
class Look:
    """One batch as it was read."""

    session: Session
    known: Batch
    reading: Reading
    hints_of: dict[int, list[ChangedRecord]]
    outside: Mapping[str, set[str]]
    sent: Mapping[int, tuple[Instruction, asked.Outcome]]  # what people send with twins, by link
    twins: Mapping[int, Decision]
    elsewhere: Mapping[int, Link]  # see creates_under_way.asked_elsewhere, by link
    hops: int
    _readable: dict[str, bool] = field(default_factory=dict)

    def records(self, link: Link) -> Records:
        return {side: self.reading.get(side, link.record_id(side)) for side in SIDES}

    def readable(self, side: str) -> bool:
        """Whether the scope itself can still be listed: if not, a record that is not shown proves nothing."""
        if side not in self._readable:
            session = self.session
            try:
                first = next(
                    iter(session.connectors[side].list_ids(session.object_type(side), session.scope(side))), ()
                )
            except ConnectorError as error:
                raise SideFailed(side, error) from error
            self._readable[side] = bool(first)
        return self._readable[side]


def decide(
    session: Session,
    links: Sequence[Link],
    known: Batch,
    reading: Reading,
    rung: Sequence[ChangedRecord],
    of_record: Mapping[tuple[str, str], Link],
) -> tuple[list[Decided], list[ChangedRecord]]:
    """Plans of the batch's links, and the hints they consume. Raises SideFailed."""
    hints_of: dict[int, list[ChangedRecord]] = {}
    for hint in rung:
        if link := of_record.get((hint.side, hint.external_id)):
            hints_of.setdefault(link.pk, []).append(hint)
    found_again(session, links, reading, rung)
    known.unanswered = {link.pk for link in links if unanswered(link) is not None}
    parking.lift(known, session.compiled.rules)
    outside = _outside(session, links, reading)
    waiting = _without_twin(links, reading, outside)
    sent = {
        link.pk: answer
        for link, _, record in waiting
        if (answer := asked.send_with_twin(session, link, known, record)) is not None
    }
    twins = twins_of_links(session, waiting) if waiting else {}
    look = Look(session, known, reading, hints_of, outside, sent, twins, _elsewhere(session, waiting), max_hops())
    decided: list[Decided] = []
    consumed: list[ChangedRecord] = []
    failed: list[hints.Failed] = []
    for link in links:
        mine = hints_of.get(link.pk, [])
        try:
            one = _decide_link(look, link, mine)
        except (LeaseLost, SideFailed):
            raise
        except Exception as problem:  # poison: this record waits with its error, the others go on
            log.exception("link %s cannot be planned", link.pk)
            told = f"This record could not be planned: {problem.__class__.__name__}: {problem}"
            failed.append(hints.Failed(mine, told, version=_version(look.records(link))))
            continue
        if one is None:
            continue
        decided.append(one)
        consumed += mine
    hints.fail_all(failed)
    _with_history(look, decided)
    for one in decided:
        asked.answer_rest(one.plan, one.link, known)
    return decided, consumed


def _version(records: Records) -> str:
    """What tells whether a record that failed has changed since."""
    seen = [record.version or record.updated_at or "" for record in records.values() if record is not None]
    return " ".join(seen)[:200]


def max_hops() -> int:
    """As many own writes in a row as there are mappings that can pass a value on."""
    [(active,)] = select("SELECT COUNT(*) FROM mappings_mapping WHERE state = %s", SyncMapping.State.ACTIVE)
    return max(2, active)


def _outside(session: Session, links: Sequence[Link], reading: Reading) -> dict[str, set[str]]:
    """Records that left the scope, of links about which there is something to decide."""
    whole = [link for link in links if link.state == Link.State.CREATING or all(_looked_for(link, reading))]
    return {
        side: outside_scope(session, side, [r for link in whole if (r := reading.get(side, link.record_id(side)))])
        for side in SIDES
    }


def _looked_for(link: Link, reading: Reading) -> list[bool]:
    """Of each side, whether it was read, also where its record is not there."""
    ids = [(side, link.record_id(side)) for side in SIDES]
    return [id in reading.absent[side] or reading.get(side, id) is not None for side, id in ids]


def _decide_link(look: Look, link: Link, mine: Sequence[ChangedRecord]) -> Decided | None:
    """One link's plan, or None to leave it and its hints for later."""
    records = look.records(link)
    if (answer := asked.take_up(look.session, link, look.known, records)) is not None:
        answer.records = records
        return answer
    wishes = bool(look.known.instructions.get(link.pk))
    if link.state == Link.State.UNLINKED or (link.state == Link.State.HELD and not wishes):
        for side in SIDES:  # ⚑ the hint is consumed, and may be the only word of a deletion
            if _told_gone(look, link, side, mine):
                setattr(link, f"deleted_{side}", True)
        return Decided(link, LinkPlan(), records)  # on purpose: time stands still
    if link.state == Link.State.DELETED:
        return _tombstone(look, link, records, mine)
    if any(older(link, side, records[side]) for side in SIDES):
        hints.fail_all([hints.Failed(mine, OLDER, "older")])
        return None
    gone = {side for side in SIDES if _gone(look, link, side, mine)}
    unsure = {side for side in SIDES if link.record_id(side) in look.reading.absent[side]} - gone
    if gone & look.session.behind:
        # ⚑ What was missed may explain it: nothing is believed deleted before the complete listing.
        hints.postpone(mine, BEHIND_SECONDS)
        return None
    not_shown = {side for side in unsure if able(look.session, side).not_found_tells_nothing}
    if unsure - not_shown:
        see_again(look.session, link, unsure - not_shown)
        return None
    if not_shown:
        return _not_shown(look, link, records, not_shown, gone, mine)
    if gone:
        _believe(look, link, gone, mine)
    if gone and link.state == Link.State.HELD:
        return Decided(link, LinkPlan(), records)  # a wish lets one field move, nothing else about the pair
    if gone:
        return _deletion(look, link, records, gone)
    if link.state == Link.State.CREATING:
        return _creating(look, link, records)
    if any(records[side] is None for side in SIDES):
        # The side that was read equals its bases: our own write coming back, or a field we do not map.
        return Decided(link, LinkPlan(settled=True), records)
    if _left_scope(look, link):
        return Decided(link, LinkPlan(), records)
    return Decided(link, _plan_pair(look, link, records), records)


def _plan_pair(
    look: Look,
    link: Link,
    records: Mapping[str, Record | None],
    exact: Mapping[tuple[str, str], EditTime] | None = None,
) -> LinkPlan:
    """The plan of a link whose two records are there. `exact`: edit times that the vendors' histories tell."""
    left, right = records["left"], records["right"]
    assert left is not None and right is not None
    asked.spell_out(look.known, link)
    edits = {**edit_times(look.session, link, {"left": left, "right": right}), **(exact or {})}
    plan = plan_link(
        look.session.compiled,
        link_view(link, look.known, edits),
        left,
        right,
        instruction_views(look.known, link),
        now=timezone.now().timestamp(),
        max_hops=look.hops,
        chosen_only=link.state == Link.State.HELD,
    )
    if release := asked.first_of(look.known, link, "delete_twin"):
        plan.instructions[release.pk] = {"": "stale"}  # both records are there: there is no twin to delete
    return plan


def _left_scope(look: Look, link: Link) -> bool:
    """While a record is out of scope time stands still; the ordinary merge resumes when it returns."""
    left = [side for side in SIDES if link.record_id(side) in look.outside[side]]
    link.out_of_scope = left[0] if left else ""
    return bool(left)


# Records that are not there. -------------------------------------------------------------------------------------


def _gone(look: Look, link: Link, side: str, mine: Sequence[ChangedRecord]) -> bool:
    """Whether a deletion is believed. "Not allowed" and "left the filter" never are deletions."""
    if _told_gone(look, link, side, mine):
        return True
    if link.record_id(side) not in look.reading.absent[side]:
        return False
    if getattr(link, f"deleted_{side}"):
        return True  # believed before, and not found since
    if able(look.session, side).not_found_tells_nothing:
        return False
    return _missed_twice(side, mine) and look.readable(side)


def _missed_twice(side: str, mine: Sequence[ChangedRecord]) -> bool:
    late = timezone.now() - SECOND_SIGHTING
    return any(hint.side == side and hint.error == UNREADABLE and hint.first_rung_at <= late for hint in mine)


def _told_gone(look: Look, link: Link, side: str, mine: Sequence[ChangedRecord]) -> bool:
    """Whether the system itself says that the record is deleted."""
    external_id = link.record_id(side)
    record = look.reading.get(side, external_id)
    if record is not None:
        return record.deleted
    if external_id is None or external_id not in look.reading.absent[side]:
        return False
    if able(look.session, side).not_found_means_gone:
        return True
    return any(hint.side == side and hint.deleted for hint in mine)


def _not_shown(
    look: Look, link: Link, records: Records, sides: set[str], gone: set[str], mine: Sequence[ChangedRecord]
) -> Decided:
    """⚑ A record that left a view, or that its database hides, is absent like one that is gone: it counts as out of
    scope, and time stands still. That its twin is `gone` waits as well: what that would touch cannot be read."""
    link.out_of_scope = min(sides)
    _believe(look, link, gone, mine)
    return Decided(link, LinkPlan(), records)


def _believe(look: Look, link: Link, gone: set[str], mine: Sequence[ChangedRecord]) -> None:
    """Note that these records are gone, and whether they may only be hidden."""
    if gone:
        link.may_return = any(_may_return(look, link, side, mine) for side in gone)
    for side in gone:
        setattr(link, f"deleted_{side}", True)


def _may_return(look: Look, link: Link, side: str, mine: Sequence[ChangedRecord]) -> bool:
    """Whether what is gone may only be hidden: nobody told of the deletion, now or when it was first believed, or
    something rang for it since."""
    told_before = bool(getattr(link, f"deleted_{side}")) and not link.may_return
    return not _told_gone(look, link, side, mine) and (not told_before or _missed_twice(side, mine))


def _deletion(look: Look, link: Link, records: Records, gone: set[str]) -> Decided:
    side = sorted(gone)[0]
    survivor = None if len(gone) == 2 else records[OTHER[side]]
    alive = survivor is not None and not survivor.deleted
    if survivor is not None and survivor.external_id in look.outside[OTHER[side]]:
        link.out_of_scope = OTHER[side]
    elif link.out_of_scope == OTHER[side]:
        link.out_of_scope = ""  # that the one which is gone had left it stays true
    one, compiled, view = Decided(link, LinkPlan(), records), look.session.compiled, link_view(link, look.known)
    release = asked.first_of(look.known, link, "delete_twin")
    seen = release.params.get("seen", {}) if release is not None else {}
    stale = release is not None and survivor is not None and alive and moved_since(compiled, view, side, survivor, seen)
    released = release is not None and not stale
    into, merge = merged.remaining(one, gone), None
    if into and alive and not released:
        if merged.may_follow(look.session, link, *into):
            merged.follow(look.session, one, *into)
            return one
        merge = merged.twin_of(merged.keeper(look.session, *into), *into)
    plan = one.plan = plan_deletion(compiled, view, side, survivor, released, merge, bool(link.out_of_scope))
    if release is not None and stale:
        plan.instructions[release.pk] = {"": "stale"}
    else:
        asked.answering(plan, release)
    if plan.state:
        code = {"unlinked": "deletion_unlinked"}.get(plan.state, "deletion_noted")
        code = "deleted_on_both" if len(gone) == 2 else code
        code = NOT_FOUND[code] if link.may_return else code
        one.entries.append(audit_entry(look.session, "deletion", code, link, params={"side": side}, side=side))
    return one


def _tombstone(look: Look, link: Link, records: Records, mine: Sequence[ChangedRecord]) -> Decided | None:
    """⚑ A tombstone resumes only when both records are there again and still are the same thing."""
    one = Decided(link, LinkPlan(), records)
    left, right = records["left"], records["right"]
    if left is None or left.deleted or right is None or right.deleted:
        doubtful = {side for side in SIDES if _doubtful(look, link, side, mine)}
        if doubtful and all(side in doubtful or alive(records[side]) for side in SIDES):
            see_again(look.session, link, doubtful)
            return None
        _believe(look, link, {side for side in SIDES if _gone(look, link, side, mine)}, mine)
        returned.one_returned(look.session, one)
        return one
    told = {"side": "left" if link.deleted_left else "right"}
    if look.session.compiled.matching_waits:
        return one  # whether they still are the same thing cannot be told now
    same = same_thing(look.session, link, left, right)
    if same is None:
        held_back.keep(held_back.RETURNED, mine, _version(records))
        return None
    if same:
        for side in SIDES:
            setattr(link, f"deleted_{side}", False)
        if given_up.of(link):  # looked up before anything is planned, now that their record can be read
            asked.look_again(look.session, link)
        elif not _left_scope(look, link):
            one.plan = _plan_pair(look, link, records)
        one.plan.state = Link.State.ACTIVE
        one.entries.append(audit_entry(look.session, "deletion", "returned", link, params=told))
    else:
        code = asked.RETURNED[0 if comparable(look.session.compiled, left, right) else 1]
        if link.parked.get("", {}).get("code") != code:
            link.parked[""] = {"code": code, "params": told}
            one.entries.append(audit_entry(look.session, "deletion", code, link, params=told))
    return one


def _doubtful(look: Look, link: Link, side: str, mine: Sequence[ChangedRecord]) -> bool:
    """Whether the record of a tombstone may only be hidden, and will be told of by nothing else once it is shown.

    ⚑ It is not there while its twin comes back, or something rang for it after it was believed gone.
    """
    if link.record_id(side) not in look.reading.absent[side] or able(look.session, side).not_found_tells_nothing:
        return False
    if _told_gone(look, link, side, mine) or _missed_twice(side, mine):
        return False
    rung = not link.may_return and any(hint.side == side for hint in mine)  # else it is looked for once an hour
    return rung or not getattr(link, f"deleted_{side}")


# Links whose twin is still to be made. ---------------------------------------------------------------------------


def _without_twin(
    links: Sequence[Link], reading: Reading, outside: Mapping[str, set[str]]
) -> list[tuple[Link, str, Record]]:
    """(link, side of its record, that record) of links whose twin is still to be made."""
    waiting = []
    for link in links:
        side = "left" if link.left_id else "right"
        record = reading.get(side, link.record_id(side))
        alive = record is not None and not record.deleted and record.external_id not in outside[side]
        if link.state == Link.State.CREATING and record is not None and alive:
            waiting.append((link, side, record))
    return waiting


def _elsewhere(session: Session, waiting: Sequence[tuple[Link, str, Record]]) -> dict[int, Link]:
    found: dict[int, Link] = {}
    for side in SIDES:
        mine = [link for link, own, _ in waiting if own == side]
        asked = asked_elsewhere(session, OTHER[side], [link.identity_id for link in mine if link.identity_id])
        found |= {link.pk: asked[link.identity_id] for link in mine if link.identity_id in asked}
    return found


def _creating(look: Look, link: Link, records: Records) -> Decided | None:
    one = Decided(link, LinkPlan(), records)
    if _left_scope(look, link):
        return one
    again = asked.first_of(look.known, link, "recreate")
    before = link.parked.get("")
    # ⚑ What was refused is tried once more where its question ended with a deletion that was taken back.
    asked_now = "" in look.known.conflicts.get(link.pk, {})
    if again is not None or (before is not None and before["code"] == "create_refused" and not asked_now):
        link.parked.pop("", None)
    asker, refusal = look.sent.get(link.pk) or (None, {})
    if asker is not None and refusal:
        one.plan.instructions[asker.pk] = refusal
    mine = look.hints_of.get(link.pk, [])
    decision, elsewhere = look.twins.get(link.pk), look.elsewhere.get(link.pk)
    if isinstance(decision, MakeTwin) and again is None and elsewhere is not None and unanswered(link) is None:
        if elsewhere.state == Link.State.CREATING:
            hints.postpone(mine, PERSON_WAIT_SECONDS)
            return None
        decision = may_have_a_twin(look.session, OTHER[decision.side], decision.source, elsewhere)
    if decision is None and noting.under_way(look.session):
        noting.wait(mine)
        return None
    if decision is None:  # another link of the batch takes what would fit
        hints.postpone(mine, NEXT_BATCH_SECONDS)
        return None
    if isinstance(decision, Hold) and held_back.keep(decision.code, mine, _version(records)):
        return None
    if isinstance(decision, Bind):
        side = "right" if link.left_id else "left"
        external_id = decision.right_id if side == "right" else decision.left_id
        if Link.objects.filter(**{"mapping": look.session.mapping, f"{side}_id": external_id}).exists():
            told = {"count": 1, "keys": [external_id], "side": side}
            one.plan.conflicts.append(PlannedConflict("", "duplicate", "key_twice", told))
        else:
            asked.bind(one, side, external_id)
            one.plan.state, one.plan.closed = Link.State.ACTIVE, [""]
            asked.look_again(look.session, link)
            told = {"by": decision.code, **decision.params}
            one.entries.append(audit_entry(look.session, "link", "linked", link, params=told))
    elif isinstance(decision, Wonder):
        one.plan.conflicts.append(PlannedConflict("", decision.kind, decision.code, decision.params))
    elif isinstance(decision, MakeTwin) and may_create(link, decision):
        one.plan.operations.append(planned_create(decision))
        sent = {planned.rule for planned in decision.fields}
        one.plan.unparked += [rule for rule in link.parked if rule in sent]
    elif (question := unanswered(link)) is not None:
        one.plan.conflicts.append(question)
    if again is not None and before is not None and not (one.plan.operations or one.plan.state):
        link.parked[""] = before  # it is refused, and the question goes on
    taken_up = asker if not refusal and isinstance(decision, MakeTwin) else None
    asked.answering(one.plan, taken_up or again)
    if again is not None and taken_up is not None:
        one.plan.instructions[again.pk] = {"": "done"}  # the same create carries out both
    return one


# Who edited a field, and when. -----------------------------------------------------------------------------------


def _with_history(look: Look, decided: Sequence[Decided]) -> None:
    """Where it matters who edited a field and when, ask the vendor's own history and decide again with it."""
    session = look.session
    asking = [one for one in decided if one.plan.wants_history()]
    if not asking:
        return
    for side in SIDES:
        connector = session.connectors[side]
        if not connector.capabilities.field_history:
            continue
        ids = both_ids([one.link for one in asking])[side]
        since = min(since_when(session, side, one.link, one.records, one.plan.wants_history()) for one in asking)
        try:
            found = connector.history(session.object_type(side), ids, session.paths(side), since)
        except ConnectorError:
            log.warning("no history from %s", session.connection(side))
            continue  # who and when are shown as the record tells them; nothing depends on more
        for one in asking:
            one.history = {**one.history, side: list(found.get(one.link.record_id(side) or "", ()))}
    for one in asking:
        state = one.plan.state
        one.plan = _plan_pair(look, one.link, one.records, exact_times(session, one.link, one.records, one.history))
        one.plan.state = state
