"""Records without a link: is the thing known, does a record over there fit, may a twin be made?

⚑ Before every create the match keys are looked up, locally and in the other system, and the batch is matched against
itself. The intent (link, identity, operation) is committed before anything is sent; unique constraints stop a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from connections.connectors.base import Record
from sync import audit, held_back, hints, noting
from sync.commit import operation_row
from sync.creates_under_way import (
    Unclear,
    anonymous,
    asked_elsewhere,
    asked_which,
    label_of_twin,
    may_be_made_by,
    open_creates,
    ring_others,
    unanswered,
    unclear_creates,
)
from sync.decided import audit_entry
from sync.identities import known_things, known_twins, note_records, thing_of_pair, things_of
from sync.matching import Fits, Unlinked, close_subjects, forget, look_up, note_match_keys
from sync.merge import OTHER
from sync.models import AuditEntry, Conflict, Identity, Link, Operation
from sync.plan import PlannedOperation
from sync.plan_unlinked import GONE, NOTHING, Bind, Hold, Leave, MakeTwin, Wonder, plan_unlinked
from sync.read import outside_scope
from sync.rows import add_rows_with_keys, save_rows
from sync.session import SIDES, Session

# While our own create is open, an unlinked record of ours may be its result: look again after the create settled.
OWN_CREATE_WAIT_SECONDS = 2.0
# While a person is asked whether a create happened, our own unlinked records wait; the answer rings at once.
PERSON_WAIT_SECONDS = 300.0
# In a question that could be about any of several records.
MOST_NAMED = 5

Decision = Bind | MakeTwin | Wonder | Leave | Hold


@dataclass
class Meeting:
    """What to do about the unlinked records of a batch."""

    binds: list[tuple[Bind, Unlinked]] = field(default_factory=list)
    twins: list[tuple[MakeTwin, Unlinked]] = field(default_factory=list)
    questions: list[tuple[Wonder, Unlinked]] = field(default_factory=list)
    left_alone: list[Unlinked] = field(default_factory=list)
    outside: list[Unlinked] = field(default_factory=list)  # deleted or out of scope: nobody may be linked to them
    waiting: list[Unlinked] = field(default_factory=list)
    noted: list[Unlinked] = field(default_factory=list)  # not all that could fit them is, see noting.py
    asked_about: list[Unlinked] = field(default_factory=list)  # may be what a person is asked about
    held: list[tuple[Hold, Unlinked]] = field(default_factory=list)  # a field is not what the version knows

    def take(self, decision: Decision, one: Unlinked) -> None:
        if isinstance(decision, Bind):
            self.binds.append((decision, one))
        elif isinstance(decision, MakeTwin):
            self.twins.append((decision, one))
        elif isinstance(decision, Wonder):
            self.questions.append((decision, one))
        elif isinstance(decision, Hold):
            self.held.append((decision, one))
        else:
            self.left_alone.append(one)


def meet(session: Session, records: Sequence[Unlinked]) -> Meeting:
    """Decide about unlinked records. Reads both the database and, before creates, the other system."""
    meeting = Meeting()
    inside = _in_scope(session, records)
    meeting.outside += [one for one in records if one not in inside]
    things = _things(session, inside)
    twins = _twins(session, inside, things)
    # Only of records that tell neither author nor key of ours it is asked what they say.
    told_by_texts = any(anonymous(one) for one in inside)
    creating = open_creates(session, told_by_texts)
    unclear = unclear_creates(session, told_by_texts)
    met = {side: {things[id(one)].pk for one in inside if one.side == side and id(one) in things} for side in SIDES}
    which = {side: asked_which(session, side, met[side]) for side in SIDES}
    elsewhere = {side: asked_elsewhere(session, OTHER[side], met[side]) for side in SIDES}
    rest = []
    for one in inside:
        thing = things.get(id(one))
        known = _known_thing(one, thing, twins) if thing else None
        under_way = creating[one.side]
        if (thing and thing.pk in under_way.things) or one.record.external_id in under_way.records:
            meeting.waiting.append(one)  # what our open create made: its own answer or its probe binds it
        elif thing and thing.pk in which[one.side] and not isinstance(known, Wonder):
            meeting.asked_about.append(one)
        elif known is not None:
            meeting.take(known, one)
        elif under_way.things and may_be_made_by(session, one, under_way.sent):
            meeting.waiting.append(one)
        elif any(create.asked and create.may_have_made(session, one) for create in unclear[one.side]):
            meeting.asked_about.append(one)
        else:
            rest.append(one)
    for side in SIDES:
        note_match_keys(session, side, [one.record for one in rest if one.side == side])
        noting.seen(session, side, [one.record.external_id for one in inside if one.side == side])
    if rest and noting.under_way(session):
        if session.compiled.matching_waits:  # nothing is noted before a person mends that
            meeting.held += [(Hold(GONE), one) for one in rest]
        else:
            meeting.noted += rest
        return meeting
    fits = look_up(session, rest)
    taken = {place for bind, _ in meeting.binds for place in (("left", bind.left_id), ("right", bind.right_id))}
    for one in rest:
        # Within a batch a record is bound once; whoever comes second sees the link in its next batch.
        if any((OTHER[one.side], c.external_id) in taken for c in fits[id(one)].candidates):
            meeting.waiting.append(one)
            continue
        decision = decision_about(session, one, fits[id(one)])
        if isinstance(decision, MakeTwin) and id(one) not in things:
            decision = _may_be_a_twin(session, one, unclear[one.side]) or decision
        elif isinstance(decision, MakeTwin) and (link := elsewhere[one.side].get(things[id(one)].pk)):
            if link.state == Link.State.CREATING:
                meeting.asked_about.append(one)
                continue
            decision = may_have_a_twin(session, one.side, one.record, link)
        if isinstance(decision, Bind):
            taken |= {("left", decision.left_id), ("right", decision.right_id)}
        meeting.take(decision, one)
    return meeting


def _may_be_a_twin(session: Session, one: Unlinked, unclear: Sequence[Unclear]) -> Wonder | None:
    """⚑ What we may have made ourselves is never copied: whose twin it is, a person says. One that carries a key of
    ours was forgotten with a restore; another may be what an unanswered create made whose record was left unlinked."""
    told: dict[str, Any] = {"keys": [one.record.key or one.record.external_id]}
    if one.record.correlation_key and one.record.created_by == session.connection(one.side).account_id:
        return Wonder(one.side, one.record.external_id, "duplicate", "made_by_us", told)
    twin_of = [create.label for create in unclear if create.may_have_made(session, one)]
    if twin_of:
        told["of"] = twin_of[:MOST_NAMED]
        return Wonder(one.side, one.record.external_id, "duplicate", "may_be_made_by_us", told)
    return None


def may_have_a_twin(session: Session, side: str, record: Record, link: Link) -> Wonder:
    """⚑ The twin may be there: at this link of another mapping its record was left unlinked without an answer."""
    told = {
        "keys": [record.key or record.external_id],
        "system": session.system(OTHER[side]),
        "side": OTHER[side],
        "mapping": link.mapping.name,
        "of": [label_of_twin(link, "right" if link.left_id else "left")],
    }
    return Wonder(side, record.external_id, "duplicate", "may_have_a_twin", told)


def decision_about(session: Session, one: Unlinked, fits: Fits, link: Link | None = None) -> Decision:
    """`link`: of a twin that was to be made before, with what was refused and what a person sends instead."""
    parked, typed = (link.parked, link.typed) if link is not None else (NOTHING, NOTHING)
    return plan_unlinked(
        session.compiled, one.side, one.record, fits.candidates, fits.rivals, fits.bound, parked, typed, fits.unread
    )


def _in_scope(session: Session, records: Sequence[Unlinked]) -> list[Unlinked]:
    inside: list[Unlinked] = []
    for side in SIDES:
        these = [one for one in records if one.side == side and not one.record.deleted]
        outside = outside_scope(session, side, [one.record for one in these])
        inside += [one for one in these if one.record.external_id not in outside]
    return inside


# Things that are known. ------------------------------------------------------------------------------------------


def _things(session: Session, records: Sequence[Unlinked]) -> dict[int, Identity]:
    """By `id()` of each record: the thing whose key it carries, or that another mapping linked it to."""
    keys = [one.record.correlation_key for one in records if one.record.correlation_key]
    by_key = {identity.key: identity for identity in Identity.objects.filter(key__in=keys)} if keys else {}
    found: dict[int, Identity] = {}
    for side in SIDES:
        these = [one for one in records if one.side == side]
        by_id = known_things(session, side, [one.record.external_id for one in these]) if these else {}
        for one in these:
            thing = by_key.get(one.record.correlation_key or "") or by_id.get(one.record.external_id)
            if thing:
                found[id(one)] = thing
    return found


def _twins(
    session: Session, records: Sequence[Unlinked], things: Mapping[int, Identity]
) -> Mapping[str, Mapping[int, str]]:
    """{side: {thing: its record there}}"""
    keys = {things[id(one)].pk for one in records if id(one) in things}
    return {side: known_twins(session, side, keys) if keys else {} for side in SIDES}


def _known_thing(one: Unlinked, thing: Identity, twins: Mapping[str, Mapping[int, str]]) -> Decision | None:
    """⚑ A record that carries our key, or that another mapping linked, is bound and never copied."""
    side, external_id = one.side, one.record.external_id
    mine, twin = twins[side].get(thing.pk), twins[OTHER[side]].get(thing.pk)
    if mine is not None and mine != external_id:
        return Wonder(side, external_id, "duplicate", "key_twice", {"count": 2, "keys": [mine, external_id]})
    if twin is None:
        return None
    ids = (external_id, twin) if side == "left" else (twin, external_id)
    return Bind(*ids, "correlation_key", thing=thing.pk)


# Saving. ---------------------------------------------------------------------------------------------------------


def commit_meeting(session: Session, meeting: Meeting) -> list[Operation]:
    """Save what was decided; returns the creates to send. Raises LeaseLost."""
    with transaction.atomic():
        session.lease.renew()
        entries, waiting, doubled = _bind_all(session, meeting.binds)
        operations = _twins_to_make(session, meeting.twins)
        for question, one in [*meeting.questions, *doubled]:
            entries += _ask(session, question, one)
        audit.append(entries)
        every = [one for _, one in [*meeting.binds, *meeting.twins, *meeting.questions] if one not in waiting]
        every += meeting.left_alone + meeting.outside
        close_subjects(session, [one.subject for one in meeting.left_alone])
        for side in SIDES:
            forget(session, side, [one.record.external_id for one in meeting.outside if one.side == side])
        hints.consume([one.hint for one in every if one.hint])
        hints.postpone([one.hint for one in [*meeting.waiting, *waiting] if one.hint], OWN_CREATE_WAIT_SECONDS)
        hints.postpone([one.hint for one in meeting.asked_about if one.hint], PERSON_WAIT_SECONDS)
        noting.wait([one.hint for one in meeting.noted if one.hint])
        held_back.wait(meeting.held)
    return operations


def _bind_all(
    session: Session, binds: Sequence[tuple[Bind, Unlinked]]
) -> tuple[list[AuditEntry], list[Unlinked], list[tuple[Wonder, Unlinked]]]:
    """Link these pairs; returns what to tell, the records that have to wait for an open create, and what is asked about
    those whose twin has another record here by now."""
    if not binds:
        return [], [], []
    ids = {"left": [bind.left_id for bind, _ in binds], "right": [bind.right_id for bind, _ in binds]}
    rows = Link.objects.filter(Q(left_id__in=ids["left"]) | Q(right_id__in=ids["right"]), mapping=session.mapping)
    linked = {(side, link.record_id(side)): link for link in rows for side in SIDES if link.record_id(side)}
    busy = set(
        Operation.objects.filter(link__in=[link.pk for link in rows], state__in=Operation.OPEN).values_list(
            "link_id", flat=True
        )
    )
    known = {side: known_things(session, side, ids[side]) for side in SIDES}
    keyed = Identity.objects.in_bulk([bind.thing for bind, _ in binds if bind.thing])
    new = [(b, one) for b, one in binds if not (b.thing or b.left_id in known["left"] or b.right_id in known["right"])]
    made: dict[str, Identity] = {}  # by the left record
    for side in SIDES:
        left_of = {bind.record(side): bind.left_id for bind, one in new if _first_met(bind, one) == side}
        made |= {left_of[external_id]: thing for external_id, thing in things_of(session, side, left_of).items()}
    links: list[Link] = []
    taken_over: list[Link] = []
    waiting: list[Unlinked] = []
    doubled: list[tuple[Wonder, Unlinked]] = []
    told: list[tuple[Bind, Link]] = []
    answered: list[Link] = []
    for bind, one in binds:
        pair = {"left": bind.left_id, "right": bind.right_id}
        there = {side: linked.get((side, external_id)) for side, external_id in pair.items()}
        creating = next((x for x in there.values() if x and x.state == Link.State.CREATING), None)
        if creating is None and not any(there.values()):
            thing = keyed.get(bind.thing or 0) or known["left"].get(bind.left_id) or known["right"].get(bind.right_id)
            link = _new_link(session, thing or made[bind.left_id], one)
            link.left_id, link.right_id = bind.left_id, bind.right_id
            links.append(link)
        elif creating is not None and all(x in (None, creating) for x in there.values()):
            if creating.pk in busy:
                waiting.append(one)
                continue
            link = creating
            answered += [link] if unanswered(link) is not None else []
            setattr(link, f"{one.side}_id", one.record.external_id)
            setattr(link, f"{one.side}_key", (one.record.key or "")[:200])
            link.state, link.parked, link.typed = Link.State.ACTIVE, {}, {}
            link.identity = thing_of_pair(session.mapping, bind.left_id, bind.right_id)
            taken_over.append(link)
        else:  # linked meanwhile
            theirs = there[OTHER[one.side]]
            if there[one.side] is None and theirs is not None and (has := theirs.record_id(one.side)):
                keys = [has, one.record.external_id]
                told_twice = {"count": len(keys), "keys": keys}
                doubled.append((Wonder(one.side, one.record.external_id, "duplicate", "key_twice", told_twice), one))
            continue
        for side, external_id in pair.items():
            linked[(side, external_id)] = link
        told.append((bind, link))
    ring_others(session, answered)
    Link.objects.bulk_create(links)
    save_rows(taken_over, ["identity", "left_id", "right_id", "left_key", "right_key", "state", "parked", "typed"])
    Conflict.objects.filter(link__in=[link.pk for link in taken_over], state__in=("open", "resolving")).update(
        state=Conflict.State.CLOSED, closed_at=timezone.now(), closed_code="moved"
    )
    note_records(
        (link.identity, session.connection(side), session.object_type(side), link.record_id(side) or "")
        for _, link in told
        for side in SIDES
        if link.identity
    )
    for side in SIDES:
        mine = [link.record_id(side) or "" for _, link in told]
        forget(session, side, mine)
        # The pair is planned from a fresh read of both sides.
        hints.mark(session.mapping.pk, side, mine, hints.Lane.RETRY)
    session.counts["linked"] += len(told)
    entries = [
        audit_entry(session, "link", "linked", link, params={"by": bind.code, **bind.params}) for bind, link in told
    ]
    return entries, waiting, doubled


def _first_met(bind: Bind, one: Unlinked) -> str:
    """The side whose record gives the thing its key: where one of them carries that key already, the other one."""
    if bind.code != "correlation_key":
        return "left"
    return OTHER[one.side] if one.record.correlation_key else one.side


def _new_link(session: Session, thing: Identity, one: Unlinked) -> Link:
    record = one.record
    link = Link(mapping=session.mapping, identity=thing, title=(record.title or "")[:500])
    setattr(link, f"{one.side}_id", record.external_id)
    setattr(link, f"{one.side}_key", (record.key or "")[:200])
    return link


def _twins_to_make(session: Session, twins: Sequence[tuple[MakeTwin, Unlinked]]) -> list[Operation]:
    """⚑ Links, things and operations of creates, saved before anything is sent."""
    links: list[tuple[Link, MakeTwin]] = []
    now = timezone.now()
    for side in SIDES:
        these = [(twin, one) for twin, one in twins if one.side == side]
        if not these:
            continue
        things = things_of(session, side, [one.record.external_id for _, one in these])
        for twin, one in these:
            link = _new_link(session, things[one.record.external_id], one)
            link.state = Link.State.CREATING
            setattr(link, f"{side}_version", one.record.version)
            setattr(link, f"{side}_updated_at", one.record.updated_at or "")
            setattr(link, f"{side}_read_at", now)
            links.append((link, twin))
    Link.objects.bulk_create([link for link, _ in links])
    operations = [operation_row(session, link, planned_create(twin)) for link, twin in links]
    add_rows_with_keys(operations)
    # ⚑ What is noted of them stays until their twin is there: who makes it by hand meanwhile finds its record.
    close_subjects(session, [one.subject for _, one in twins])
    return operations


def planned_create(twin: MakeTwin) -> PlannedOperation:
    return PlannedOperation(twin.side, "create", twin.fields, twin.extra, twin.unsent, code="created")


def _ask(session: Session, question: Wonder, one: Unlinked) -> list[AuditEntry]:
    told = {
        "kind": question.kind,
        "code": question.code,
        "params": dict(question.params),
        "title": (one.record.title or one.record.key or one.record.external_id)[:500],
        f"{question.side}_value": one.record.key or one.record.external_id,
    }
    _, created = Conflict.objects.update_or_create(
        mapping=session.mapping,
        subject=one.subject,
        link=None,
        state__in=("open", "resolving"),
        defaults=told,
        create_defaults={
            "mapping": session.mapping,
            "subject": one.subject,
            "state": Conflict.State.OPEN,
            "version": session.version,
            **told,
        },
    )
    if not created:
        return []
    session.counts["conflicts"] += 1
    return [
        audit.entry(
            "conflict",
            question.code,
            mapping=session.mapping,
            mapping_version=session.version.number,
            run_id=session.ensure_run().pk,
            object_label=one.record.key or one.record.external_id,
            params=dict(question.params),
            side=question.side,
        )
    ]
