"""Records without a link: is the thing known, does a record over there fit, may a twin be made?

⚑ Before every create the match keys are looked up, locally and in the other system, and the batch is matched against
itself. The intent (link, identity, operation) is committed before anything is sent; unique constraints stop a second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.utils import timezone

from connections.connectors.base import ConnectorError, Record
from connections.open import cached_fields
from sync import audit, hints
from sync.commit import audit_entry, operation_row
from sync.identities import bind_record, identity_of, known_twin
from sync.merge import OTHER
from sync.models import AuditEntry, ChangedRecord, Conflict, Identity, Link, MatchKey, Operation
from sync.plan import Bind, Candidate, Leave, MakeTwin, PlannedOperation, Wonder, plan_creation, plan_unlinked
from sync.read import SideFailed, outside_scope
from sync.session import SIDES, Session

# While our own create is open, an unlinked record of ours may be its result: look again after the create settled.
OWN_CREATE_WAIT_SECONDS = 2.0
# While a person is asked whether a create happened, our own unlinked records wait; the answer rings at once.
PERSON_WAIT_SECONDS = 300.0


@dataclass
class Unlinked:
    """One unlinked record of a batch, with the hint that named it."""

    side: str
    record: Record
    hint: ChangedRecord


@dataclass
class Meeting:
    """What to do about the unlinked records of a batch."""

    binds: list[tuple[Bind, Unlinked]] = field(default_factory=list)
    twins: list[tuple[MakeTwin, Unlinked]] = field(default_factory=list)
    questions: list[tuple[Wonder, Unlinked]] = field(default_factory=list)
    left_alone: list[Unlinked] = field(default_factory=list)
    waiting: list[Unlinked] = field(default_factory=list)
    asked_about: list[Unlinked] = field(default_factory=list)  # may be what a person is asked about


def match_text(value: Any) -> str:
    """A match value without what people do not mean: case and white space."""
    return " ".join(str(value).split()).casefold() if value is not None else ""


def digests(session: Session, side: str, record: Record) -> dict[int, str]:
    """{alternative: digest} of the record's match keys; an alternative with an empty part does not count."""
    index = 0 if side == "left" else 1
    found = {}
    for number, pairs in enumerate(session.compiled.match_keys):
        texts = [match_text(record.values.get(pair[index])) for pair in pairs]
        if all(texts):
            found[number] = hashlib.sha256("\x1f".join(texts).encode()).hexdigest()
    return found


def same_thing(session: Session, link: Link, left: Record, right: Record) -> bool:
    """Whether two records that were linked once still are the same thing: by our key or by their match keys."""
    if link.identity and link.identity.key in (left.correlation_key, right.correlation_key):
        return True
    ours, theirs = digests(session, "left", left), digests(session, "right", right)
    return not session.compiled.match_keys or any(theirs.get(number) == digest for number, digest in ours.items())


def note_match_keys(session: Session, side: str, records: Sequence[Record]) -> None:
    """Remember the match keys of unlinked records, so that the other side's records can find them."""
    rows = [
        MatchKey(
            mapping=session.mapping,
            side=side,
            external_id=record.external_id,
            alternative=alternative,
            digest=digest,
            label=(record.key or record.external_id)[:200],
        )
        for record in records
        for alternative, digest in digests(session, side, record).items()
    ]
    MatchKey.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["mapping", "side", "external_id", "alternative"],
        update_fields=["digest", "label"],
    )


def meet(session: Session, records: Sequence[Unlinked]) -> Meeting:
    """Decide about unlinked records. Reads both the database and, before creates, the other system."""
    meeting = Meeting()
    inside = _in_scope(session, records)
    meeting.left_alone += [one for one in records if one not in inside]
    creating = set(
        Operation.objects.filter(
            mapping__in=_mappings_of(session), kind=Operation.Kind.CREATE, state__in=Operation.OPEN
        ).values_list("side", flat=True)
    )
    unclear = _unclear_creates(session)
    rest = []
    for one in inside:
        if _known_thing(session, one, meeting):
            continue
        if one.record.created_by == session.connection(one.side).account_id:
            if one.side in creating:
                meeting.waiting.append(one)
                continue
            if one.side in unclear:
                meeting.asked_about.append(one)
                continue
        rest.append(one)
    for side in SIDES:
        note_match_keys(session, side, [one.record for one in rest if one.side == side])
    local = local_candidates(session, rest)
    undecided = [one for one in rest if not local[id(one)][0] and session.compiled.side(OTHER[one.side]).create]
    remote, bound = _look_over_there(session, undecided)
    taken: set[tuple[str, str]] = set()
    for one in rest:
        candidates, rivals = local[id(one)]
        candidates = [*candidates, *remote.get(id(one), [])]
        # Within a batch a record is bound once; whoever comes second sees the link in its next batch.
        if any((OTHER[one.side], c.external_id) in taken for c in candidates):
            meeting.waiting.append(one)
            continue
        decision = plan_unlinked(session.compiled, one.side, one.record, candidates, rivals, id(one) in bound)
        if isinstance(decision, Bind):
            taken |= {("left", decision.left_id), ("right", decision.right_id)}
            meeting.binds.append((decision, one))
        elif isinstance(decision, MakeTwin):
            meeting.twins.append((decision, one))
        elif isinstance(decision, Wonder):
            meeting.questions.append((decision, one))
        else:
            assert isinstance(decision, Leave)
            meeting.left_alone.append(one)
    return meeting


def _unclear_creates(session: Session) -> set[str]:
    """Sides on which a person is asked whether a create of ours happened."""
    asked = Conflict.objects.filter(
        mapping=session.mapping, kind=Conflict.Kind.UNCERTAIN_CREATE, state__in=("open", "resolving")
    )
    return {str(params.get("side", "")) for params in asked.values_list("params", flat=True)[:100]}


def _mappings_of(session: Session) -> list[int]:
    return [session.mapping.pk]


def _in_scope(session: Session, records: Sequence[Unlinked]) -> list[Unlinked]:
    inside: list[Unlinked] = []
    for side in SIDES:
        these = [one for one in records if one.side == side and not one.record.deleted]
        outside = outside_scope(session, side, [one.record for one in these])
        inside += [one for one in these if one.record.external_id not in outside]
    return inside


def _known_thing(session: Session, one: Unlinked, meeting: Meeting) -> bool:
    """⚑ A record that carries our key, or that another mapping linked, is bound and never copied."""
    record, side = one.record, one.side
    identity = (
        Identity.objects.filter(key=record.correlation_key).first() if record.correlation_key else None
    ) or Identity.objects.filter(
        records__connection=session.connection(side),
        records__object_type=session.object_type(side),
        records__external_id=record.external_id,
    ).first()
    if identity is None:
        return False
    mine = known_twin(session, side, identity)
    if mine is not None and mine != record.external_id:
        question = Wonder(
            side, record.external_id, "duplicate", "key_twice", {"count": 2, "keys": [mine, record.external_id]}
        )
        meeting.questions.append((question, one))
        return True
    twin = known_twin(session, OTHER[side], identity)
    if twin is None:
        return False
    ids = (record.external_id, twin) if side == "left" else (twin, record.external_id)
    meeting.binds.append((Bind(*ids, "correlation_key"), one))
    return True


def local_candidates(session: Session, records: Sequence[Unlinked]) -> Mapping[int, tuple[list[Candidate], int]]:
    """For each record: unlinked records of the other side with an equal match key, and rivals on its own side."""
    wanted = {id(one): digests(session, one.side, one.record) for one in records}
    every = {digest for found in wanted.values() for digest in found.values()}
    rows: dict[tuple[str, int, str], list[MatchKey]] = {}
    for row in MatchKey.objects.filter(mapping=session.mapping, digest__in=every):
        rows.setdefault((row.side, row.alternative, row.digest), []).append(row)
    result = {}
    for one in records:
        candidates, rivals = [], 0
        for alternative, digest in sorted(wanted[id(one)].items()):
            fit = rows.get((OTHER[one.side], alternative, digest), [])
            if fit:
                same = rows.get((one.side, alternative, digest), [])
                rivals = sum(1 for row in same if row.external_id != one.record.external_id)
                candidates = [Candidate(row.external_id, alternative, row.label) for row in fit]
                break  # a stronger key that fits outweighs all weaker ones
        result[id(one)] = (candidates, rivals)
    return result


def _look_over_there(session: Session, records: Sequence[Unlinked]) -> tuple[dict[int, list[Candidate]], set[int]]:
    """Ask the other system itself: it may know a record that no list has shown us yet. One call per match key."""
    found: dict[int, list[Candidate]] = {}
    bound: set[int] = set()
    for side in SIDES:
        target, index = OTHER[side], 0 if side == "left" else 1
        these = [one for one in records if one.side == side]
        connector = session.connectors[target]
        if not these:
            continue
        try:
            fields = cached_fields(session.connection(target), session.object_type(target), session.scope(target))
            matchable = {spec.path for spec in fields if spec.matchable}
            for number, pairs in enumerate(session.compiled.match_keys):
                own, theirs = pairs[0][index], pairs[0][1 - index]
                wanted = [one.record.values[own] for one in these if number in digests(session, side, one.record)]
                if theirs not in matchable or not wanted:
                    continue
                records_there = connector.find_by_values(
                    session.object_type(target), theirs, wanted, session.paths(target), session.scope(target)
                )
                _compare(session, these, number, target, records_there, found, bound)
        except ConnectorError as error:
            raise SideFailed(target, error) from error
    return found, bound


def _compare(
    session: Session,
    these: Sequence[Unlinked],
    number: int,
    target: str,
    there: Sequence[Record],
    found: dict[int, list[Candidate]],
    bound: set[int],
) -> None:
    linked = set(
        Link.objects.filter(
            **{"mapping": session.mapping, f"{target}_id__in": [record.external_id for record in there]}
        ).values_list(f"{target}_id", flat=True)
    )
    note_match_keys(session, target, [record for record in there if record.external_id not in linked])
    for one in these:
        mine = digests(session, one.side, one.record).get(number)
        for record in there:
            if mine is None or digests(session, target, record).get(number) != mine:
                continue
            if record.external_id in linked:
                bound.add(id(one))
            else:
                found.setdefault(id(one), []).append(
                    Candidate(record.external_id, number, record.key or record.external_id)
                )


def commit_meeting(session: Session, meeting: Meeting) -> list[Operation]:
    """Save what was decided; returns the creates to send. Raises LeaseLost."""
    entries: list[AuditEntry] = []
    operations: list[Operation] = []
    with transaction.atomic():
        session.lease.renew()
        for bind, one in meeting.binds:
            entries += _bind(session, bind, one)
        for twin, one in meeting.twins:
            link = _creating_link(session, one)
            planned = PlannedOperation(twin.side, "create", twin.fields, twin.extra, twin.unsent, code="created")
            operations.append(operation_row(session, link, planned, None))
        Operation.objects.bulk_create(operations)
        for question, one in meeting.questions:
            entries += _ask(session, question, one)
        audit.append(entries)
        every = [one for _, one in meeting.binds + meeting.twins + meeting.questions] + meeting.left_alone
        hints.consume([one.hint for one in every])
        for bind, _ in meeting.binds:
            # The pair is planned from a fresh read of both sides.
            hints.mark(session.mapping.pk, "left", [bind.left_id], hints.Lane.RETRY)
        hints.postpone([one.hint for one in meeting.waiting], OWN_CREATE_WAIT_SECONDS)
        hints.postpone([one.hint for one in meeting.asked_about], PERSON_WAIT_SECONDS)
        forget = [(one.side, one.record.external_id) for one in meeting.left_alone if one.record.deleted]
        for side, external_id in forget:
            MatchKey.objects.filter(mapping=session.mapping, side=side, external_id=external_id).delete()
    return operations


def _bind(session: Session, bind: Bind, one: Unlinked) -> list[AuditEntry]:
    identity = identity_of(session, "left", bind.left_id)
    existing = Link.objects.filter(mapping=session.mapping, identity=identity, state=Link.State.CREATING).first()
    if existing is not None:
        # Our own create whose answer was lost: the record is its result, the probe confirms the operation.
        return []
    if Link.objects.filter(mapping=session.mapping, left_id=bind.left_id).exists() or (
        Link.objects.filter(mapping=session.mapping, right_id=bind.right_id).exists()
    ):
        return []
    link = Link.objects.create(
        mapping=session.mapping,
        identity=identity,
        left_id=bind.left_id,
        right_id=bind.right_id,
        left_key=(one.record.key or "")[:200] if one.side == "left" else "",
        right_key=(one.record.key or "")[:200] if one.side == "right" else "",
        title=(one.record.title or "")[:500],
    )
    bind_record(session, link, "right", bind.right_id)
    MatchKey.objects.filter(mapping=session.mapping, side="left", external_id=bind.left_id).delete()
    MatchKey.objects.filter(mapping=session.mapping, side="right", external_id=bind.right_id).delete()
    _close_subject(session, [f"left:{bind.left_id}", f"right:{bind.right_id}"])
    session.counts["linked"] += 1
    return [audit_entry(session, "link", "linked", link, params={"by": bind.code, **bind.params})]


def _close_subject(session: Session, subjects: Sequence[str]) -> None:
    Conflict.objects.filter(mapping=session.mapping, subject__in=subjects, state__in=("open", "resolving")).update(
        state=Conflict.State.CLOSED, closed_at=timezone.now(), closed_code="moved"
    )


def _creating_link(session: Session, one: Unlinked) -> Link:
    record = one.record
    link = Link(
        mapping=session.mapping,
        identity=identity_of(session, one.side, record.external_id),
        state=Link.State.CREATING,
        title=(record.title or "")[:500],
    )
    setattr(link, f"{one.side}_id", record.external_id)
    setattr(link, f"{one.side}_key", (record.key or "")[:200])
    setattr(link, f"{one.side}_version", record.version)
    setattr(link, f"{one.side}_updated_at", record.updated_at or "")
    setattr(link, f"{one.side}_read_at", timezone.now())
    link.save()
    MatchKey.objects.filter(mapping=session.mapping, side=one.side, external_id=record.external_id).delete()
    _close_subject(session, [f"{one.side}:{record.external_id}"])
    return link


# ⚑ Whether an earlier create happened is not known: never a second one until a person says so.
WAITS_FOR_A_PERSON = frozenset({"created_or_not", "key_twice"})


def create_again(session: Session, link: Link, side: str, record: Record) -> list[PlannedOperation]:
    """The create of a link whose earlier create was refused or had not happened; the key stays."""
    decision = plan_creation(session.compiled, side, record)
    if isinstance(decision, Wonder):
        return []
    if (link.parked.get("") or {}).get("code") in WAITS_FOR_A_PERSON:
        return []
    if (link.parked.get("") or {}).get("fields") == {f.path: f.value for f in decision.fields}:
        return []  # refused before, and nothing changed since
    return [PlannedOperation(decision.side, "create", decision.fields, decision.extra, decision.unsent, code="created")]


def _ask(session: Session, question: Wonder, one: Unlinked) -> list[AuditEntry]:
    _, created = Conflict.objects.get_or_create(
        mapping=session.mapping,
        subject=f"{question.side}:{question.external_id}",
        link=None,
        state__in=("open", "resolving"),
        defaults={
            "state": Conflict.State.OPEN,
            "kind": question.kind,
            "code": question.code,
            "params": dict(question.params),
            "version": session.version,
            "title": (one.record.title or one.record.key or one.record.external_id)[:500],
            f"{question.side}_value": one.record.key or one.record.external_id,
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
