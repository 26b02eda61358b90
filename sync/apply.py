"""Carry out operations: claim, call the connector, hand the answer to `settle`.

No transaction is open during a call. Calls may run in threads up to the connection's concurrency; the database
belongs to the main thread. One writer per remote record across mappings: the claim is unique until the result is
committed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from django.db import IntegrityError, OperationalError, transaction
from django.db import connections as databases
from django.utils import timezone

from connections import breaker
from connections.connectors.base import (
    Capabilities,
    ConnectorError,
    Creation,
    Refused,
    Retry,
    Uncertain,
    Update,
    WriteResult,
)
from sync import late, schema_watch
from sync.creates_under_way import asked_elsewhere
from sync.identities import known_twins
from sync.lease import RENEW_SECONDS, LeaseLost
from sync.models import ChangedRecord, Operation
from sync.rows import fetch, save_rows
from sync.session import SIDES, Session
from sync.setbacks import supersede, values_of
from sync.settle import settle
from sync.standing import may_write

# ⚑ A decision older than this is made again from fresh reads before anything is sent.
DECISION_SECONDS = 10
NOT_SENT = "This worker stood still for a while; nothing was sent."

log = logging.getLogger("sync")


@dataclass(frozen=True, slots=True)
class Answer:
    operation: Operation
    result: WriteResult | ConnectorError | None  # None: deleted

    @property
    def pk(self) -> int:
        return self.operation.pk


def carry_out(session: Session, operations: Sequence[Operation]) -> None:
    """Send these planned operations and commit every result. Raises LeaseLost."""
    waiting = list(operations)
    while waiting:
        now = _next_to_send(session, waiting)
        leaving = {operation.pk for operation in now}
        waiting = [operation for operation in waiting if operation.pk not in leaving]
        claimed = claim(session, now)
        answering = send(session, claimed)
        for answers in answering:
            try:
                _commit(session, answers)
            except LeaseLost:
                for others in (answers, *answering):
                    late.note(session, [(answer.operation, answer.result) for answer in others])
                raise
        _expect(waiting, now)


def _commit(session: Session, answers: Sequence[Answer]) -> None:
    _note_outage(session, answers)
    named = _named(answers)
    if named:  # what was done is committed before anything else is asked
        done = [answer for answer in answers if answer.pk not in named]
        if done:
            settle(session, [(answer.operation, answer.result) for answer in done])
        answers = [answer for answer in answers if answer.pk in named]
        for side in SIDES:
            paths = {path for answer in answers if answer.operation.side == side for path in named[answer.pk]}
            schema_watch.refused(session, side, paths)
    settle(session, [(answer.operation, answer.result) for answer in answers])


def _note_outage(session: Session, answers: Sequence[Answer]) -> None:
    """Count the writes in a row that a system did not answer; at so many its breaker opens and nothing more is sent.

    Before its writes the run read from both systems, so the count of others does not go on here.
    """
    for answer in answers:
        side, error = answer.operation.side, answer.result
        silent = isinstance(error, ConnectorError) and error.outage
        session.unanswered[side] = session.unanswered[side] + 1 if silent else 0
        if isinstance(error, ConnectorError) and session.unanswered[side] == breaker.OPEN_AFTER:
            breaker.unanswered(session.connection(side), error.message, breaker.OPEN_AFTER)


def _named(answers: Sequence[Answer]) -> dict[int, list[str]]:
    """By operation: the fields that its refusal names. One that says nothing of a value may be about the field."""
    return {
        answer.pk: list(answer.result.fields)
        for answer in answers
        if isinstance(answer.result, Refused) and answer.result.fields
    }


def _expect(waiting: Sequence[Operation], sent: Sequence[Operation]) -> None:
    """The next part of a record meets the version that our own part before it left."""
    confirmed = {(one.link_id, one.side) for one in sent if one.state == Operation.State.CONFIRMED}
    for operation in waiting:
        if (operation.link_id, operation.side) in confirmed:
            operation.expected_version = getattr(operation.link, f"{operation.side}_version")


def _next_to_send(session: Session, waiting: Sequence[Operation]) -> list[Operation]:
    """As many as leave at once: ⚑ what is claimed must not wait, or it grows old and outlives its lease.

    Parts of one record go one after the other: the claim lets one writer at a record.
    """
    room = {side: float(session.connectors[side].capabilities.concurrency) for side in SIDES}
    taken: set[tuple[int, str]] = set()
    found = []
    for operation in waiting:
        side, record = operation.side, (operation.link_id, operation.side)
        if record in taken or room[side] <= 0:
            continue
        taken.add(record)
        room[side] -= 1 / session.connectors[side].capabilities.bulk_write if _goes_in_bulk(session, operation) else 1
        found.append(operation)
    return found


def _goes_in_bulk(session: Session, operation: Operation) -> bool:
    size = session.connectors[operation.side].capabilities.bulk_write
    return size > 1 and operation.kind != Operation.Kind.DELETE and not operation.part


def claim_key(session: Session, operation: Operation) -> str:
    """(system, object type, record): the same for every mapping that writes this record."""
    record = operation.external_id or f"key:{operation.correlation_key}"
    return f"{session.connection(operation.side).pk}:{session.object_type(operation.side)}:{record}"


A_RING = ("id", "side", "external_id", "rung_at")
# Records that somebody is writing, and those that another mapping wrote lately: one statement for both.
WRITTEN = """claim IN %s
    OR (external_id IN %s AND finished_at > %s AND state = 'confirmed' AND kind = 'update' AND mapping_id <> %s)"""
A_WRITE = ("id", "claim", "external_id", "finished_at")


def claim(session: Session, operations: Sequence[Operation]) -> list[Operation]:
    """Those of `operations` that may be sent now, marked as being sent in one commit.

    ⚑ One that waited too long, was decided under another mapping version, or whose link was hinted since it was
    decided is superseded and planned again; so is one whose record another mapping is writing or wrote since, and
    everything once the mapping or one of its connections is paused or in a maintenance window.
    """
    now = timezone.now()
    pinned = may_write(session)
    links = {operation.link_id: operation.link for operation in operations}
    records = [external_id for link in links.values() for side in SIDES if (external_id := link.record_id(side))]
    with transaction.atomic():
        session.lease.renew()
        rung = fetch(ChangedRecord, "mapping_id = %s AND external_id IN %s", session.mapping.pk, records, only=A_RING)
        hinted = {(hint.side, hint.external_id): hint.rung_at for hint in rung}
        keys = {operation.pk: claim_key(session, operation) for operation in operations}
        since = min(operation.decided_at for operation in operations)
        writes = fetch(Operation, WRITTEN, [*keys.values()], records, since, session.mapping.pk, only=A_WRITE)
        taken = {one.claim for one in writes if one.claim}
        written = {one.external_id: one.finished_at for one in writes if one.finished_at}
        made = _made_meanwhile(session, operations)
        sending, late = [], []
        for operation in operations:
            link = operation.link
            rings = [hinted.get((side, link.record_id(side) or "")) for side in SIDES]
            moved = any(rung is not None and rung > operation.decided_at for rung in rings)
            other = written.get(operation.external_id)  # by another mapping: it would be replaced unread
            moved = moved or (other is not None and other > operation.decided_at)
            old = now - operation.not_before > timedelta(seconds=DECISION_SECONDS)
            if not pinned or moved or old or keys[operation.pk] in taken or operation.pk in made:
                late.append(operation)
                continue
            operation.state = Operation.State.SENDING
            operation.claim = keys[operation.pk]
            operation.claimed_at = now
            operation.fence = session.lease.fence
            operation.attempts += 1
            sending.append(operation)
        fields = ["state", "claim", "claimed_at", "fence", "attempts", "expected_version"]
        try:
            with transaction.atomic():
                save_rows(sending, fields)
        except (IntegrityError, OperationalError):
            # Another mapping claimed one of these records just now; or PostgreSQL broke up a deadlock, since it claims
            # two of them the other way round.
            late, sending = [*late, *sending], []
            for operation in late:
                operation.claim = None
        supersede(session, late, "planned_again", again_in=0.2)
    return sending


def _made_meanwhile(session: Session, operations: Sequence[Operation]) -> set[int]:
    """⚑ Creates whose thing has a record over there by now, or may have: another mapping was first, theirs is bound
    instead, or waited for. A person who says that it is to be created knows that it is not there."""
    found: set[int] = set()
    for side in SIDES:
        creates = [o for o in operations if o.kind == Operation.Kind.CREATE and o.side == side]
        if creates:
            things = [o.link.identity_id for o in creates if o.link.identity_id]
            twins, asked = known_twins(session, side, things), asked_elsewhere(session, side, things)
            found |= {o.pk for o in creates if o.link.identity_id in twins}
            found |= {o.pk for o in creates if o.link.identity_id in asked and o.instruction_id is None}
    return found


def send(session: Session, operations: Sequence[Operation]) -> Iterator[list[Answer]]:
    """Call the connectors; yields answers as they come, so that each is committed at once."""
    calls = _calls(session, operations)
    if len(calls) == 1:
        yield calls[0]()
        return
    pools = {
        side: ThreadPoolExecutor(max(1, session.connectors[side].capabilities.concurrency))
        for side in {operation.side for operation in operations}
    }
    try:
        futures = [pools[call.side].submit(_in_thread, call) for call in calls]
        while futures:
            done, _ = wait(futures, RENEW_SECONDS, return_when=FIRST_COMPLETED)
            if done:
                yield [answer for future in futures if future in done for answer in future.result()]
                futures = [future for future in futures if future not in done]
            else:
                with suppress(LeaseLost):  # what is out is waited for: what it did is noted, nothing more is sent
                    session.lease.renew()
    finally:
        for pool in pools.values():
            pool.shutdown(wait=True, cancel_futures=True)  # nothing more is sent once the lease is lost


@dataclass(frozen=True, slots=True)
class _Call:
    side: str
    act: Callable[[], list[Answer]]

    def __call__(self) -> list[Answer]:
        return self.act()


def _in_thread(call: _Call) -> list[Answer]:
    try:
        return call()
    finally:
        databases.close_all()


def _calls(session: Session, operations: Sequence[Operation]) -> list[_Call]:
    """One call per operation, or per bulk of them where the connector writes in bulk."""
    calls: list[_Call] = []
    for side in SIDES:
        size = session.connectors[side].capabilities.bulk_write
        for kind in ("create", "update", "delete"):
            these = [o for o in operations if o.side == side and o.kind == kind]
            bulk = [o for o in these if _goes_in_bulk(session, o)]
            if len(bulk) > 1:
                these = [o for o in these if not _goes_in_bulk(session, o)]
                for start in range(0, len(bulk), size):
                    part = bulk[start : start + size]
                    calls.append(_Call(side, partial(_send_bulk, session, part, kind)))
            calls += [_Call(side, partial(_send_alone, session, one)) for one in these]
    return calls


def _send_one(session: Session, operation: Operation) -> Answer:
    side = operation.side
    connector, object_type = session.connectors[side], session.object_type(side)
    if not session.lease.sure:
        return Answer(operation, Retry(NOT_SENT, after=0))
    try:
        if operation.kind == Operation.Kind.DELETE:
            connector.delete(object_type, operation.external_id)
            return Answer(operation, None)
        if operation.kind == Operation.Kind.CREATE:
            created = connector.create(
                object_type,
                values_of(operation),
                operation.correlation_key,
                session.scope(side),
                fields=session.paths(side),
            )
            return Answer(operation, created)
        written = connector.update(
            object_type,
            operation.external_id,
            values_of(operation),
            _version_for(connector.capabilities, operation),
            session.paths(side),
        )
        return Answer(operation, written)
    except ConnectorError as error:
        return Answer(operation, error)
    except Exception as problem:
        return Answer(operation, _broken(operation, problem))


def _version_for(capabilities: Capabilities, operation: Operation) -> str | None:
    """The version the write was decided from, for a system that checks it, or tells afterwards what was overwritten."""
    wanted = capabilities.conditional_write or capabilities.complete_history
    return operation.expected_version if wanted else None


def _broken(operation: Operation, problem: Exception) -> ConnectorError:
    """⚑ A connector that breaks off in the middle may have written: what became of it is looked up."""
    log.error("operation %s broke off", operation.pk, exc_info=problem)
    return Uncertain(f"{problem.__class__.__name__}: {problem}")


def _send_alone(session: Session, operation: Operation) -> list[Answer]:
    return [_send_one(session, operation)]


def _send_bulk(session: Session, operations: Sequence[Operation], kind: str) -> list[Answer]:
    side = operations[0].side
    connector, object_type, paths = session.connectors[side], session.object_type(side), session.paths(side)
    conditional = connector.capabilities.conditional_write
    results: Sequence[WriteResult | ConnectorError]
    if not session.lease.sure:
        return [Answer(operation, Retry(NOT_SENT, after=0)) for operation in operations]
    try:
        if kind == Operation.Kind.CREATE:
            creations = [Creation(values_of(o), o.correlation_key) for o in operations]
            results = connector.create_many(object_type, creations, paths, session.scope(side))
        else:
            updates = [
                Update(o.external_id, values_of(o), o.expected_version if conditional else None) for o in operations
            ]
            results = connector.update_many(object_type, updates, paths)
        if len(results) != len(operations):
            raise ValueError(f"{len(results)} answers to {len(operations)} writes")
    except ConnectorError as error:
        results = [error] * len(operations)
    except Exception as problem:
        results = [_broken(operation, problem) for operation in operations]
    return [Answer(operation, result) for operation, result in zip(operations, results, strict=True)]
