"""One run; the only file that knows the order of things.

hint → read → plan → ledger → apply → base and audit. Whoever holds the lease drains hints in short batches, live ones
first; a record that fails blocks only itself, a connection that fails stops only its mappings and says why.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F, Q
from django.utils import timezone

from connections.connectors.base import Gone, NeedsAuthorization, NotAllowed, RateLimited, Refused, Retry
from connections.models import Connection
from mappings.models import Mapping as SyncMapping
from sync import first_run, hints, recover, schema_watch
from sync.apply import carry_out
from sync.brakes import Halted, halt, halt_empty, passed
from sync.commit import commit_links
from sync.decide import decide
from sync.lease import LeaseLost, take
from sync.matching import Unlinked, forget
from sync.merge import OTHER
from sync.models import ChangedRecord, Cursor, Link, MappingState, Operation, Run
from sync.read import Reading, SideEmpty, SideFailed, poll, read_into, sweep, sweep_due
from sync.session import SIDES, Session, open_session
from sync.setbacks import lost_sign_in
from sync.state import (
    Batch,
    both_ids,
    differs_from_bases,
    load,
)
from sync.unlinked import commit_meeting, meet
from sync.versions import take_up

log = logging.getLogger("sync")

# A run hands the lease on after this long, well inside RQ's 600 s, so that no job is ever killed in the middle.
RUN_SECONDS = 240
# A link with an operation in flight is looked at again after this long, unless the operation ends earlier.
BUSY_SECONDS = 1.0
# One whose write was not answered waits for the probe, which rings.
UNCLEAR_SECONDS = 5.0
# A system that does not answer is tried again after this long at first.
UNREACHABLE_SECONDS = 5
# A mapping whose lists or records are refused, or whose run broke off, is tried again after this long.
PAUSE_SECONDS = 60
# Answers to a read that are about what one mapping asks for, not about the connection.
OF_THE_MAPPING = (Refused, NotAllowed, Gone)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: done, busy, inactive, halted, approval, waiting, failed, lost."""

    state: str
    code: str = ""
    run_id: int | None = None


def run(mapping_id: int, kind: str = Run.Kind.LIVE, lane: str = "live", started_by: str = "") -> Outcome:
    """One execution for one mapping. May be called twice at once: the second finds the lease taken and leaves."""
    mapping = SyncMapping.objects.select_related("published", "left_connection", "right_connection").get(pk=mapping_id)
    if mapping.state != SyncMapping.State.ACTIVE or mapping.published is None:
        return Outcome("inactive")
    lease = take(mapping_id)
    if lease is None:
        return Outcome("busy")
    session: Session | None = None
    try:
        state = MappingState.objects.select_related("version").get(mapping_id=mapping_id)
        if state.halt == MappingState.Halt.APPROVAL and first_run.outdated(mapping):
            first_run.begin_again(mapping, lease)
        elif state.halt in (MappingState.Halt.BRAKE, MappingState.Halt.APPROVAL):
            return Outcome("halted", state.halt)
        for side in SIDES:
            stopped = unusable(mapping.connection(side))
            if stopped:
                return _stop(state, mapping.connection(side), stopped)
        session = open_session(mapping, lease, kind, lane, started_by)
        return _run(session, state)
    except LeaseLost:
        _finish(session, Run.State.LOST, {"code": "lease_lost", "params": {}})
        return Outcome("lost", run_id=_run_id(session))
    except SideFailed as failure:
        assert session is not None
        return _side_failed(session, failure)
    except Exception as problem:
        log.exception("run of mapping %s failed", mapping_id)
        _finish(session, Run.State.FAILED, {"code": "failed", "params": {"message": f"{problem.__class__.__name__}."}})
        _pause(mapping_id)
        raise
    finally:
        lease.release()


def unusable(connection: Connection) -> str:
    """Why this connection may not be called now; "" if it may."""
    if not connection.usable:
        return connection.state_reason or connection.get_state_display()
    if connection.retry_after and connection.retry_after > timezone.now():
        return f"waiting until {connection.retry_after:%H:%M:%S}"
    return ""


def _stop(state: MappingState, connection: Connection, reason: str) -> Outcome:
    if connection.usable:
        return Outcome("waiting", "quota")
    MappingState.objects.filter(pk=state.pk).update(
        halt=MappingState.Halt.CONNECTION,
        halt_reason={"code": "connection_unusable", "params": {"connection": connection.name, "reason": reason}},
        halted_at=state.halted_at or timezone.now(),
    )
    return Outcome("halted", "connection_unusable")


def _run(session: Session, state: MappingState) -> Outcome:
    if state.halt == MappingState.Halt.CONNECTION:
        MappingState.objects.filter(pk=state.pk).update(halt="", halt_reason={}, halted_at=None)
    schema_watch.at_start(session, state)
    schema_watch.survive(session, lambda: recover.leftovers(session))
    if state.approved_at is None:
        session.kind = Run.Kind.FIRST
        schema_watch.idle(session)
        schema_watch.survive(session, lambda: first_run.survey(session))
        return Outcome("approval", run_id=_run_id(session))
    started = time.monotonic()
    take_up(session, state)
    try:
        if poll_due(session, state):
            schema_watch.survive(session, lambda: _poll(session))
        while time.monotonic() - started < RUN_SECONDS and still_on(session):
            if not batch(session) and not schema_watch.idle(session):
                break
            session.progress(phase="write")
    except Halted:
        return Outcome("halted", "brake", _run_id(session))
    except SideEmpty as empty:
        halt_empty(session, empty)
        return Outcome("halted", "side_empty", _run_id(session))
    _answered(session)
    if session.run is None:
        calls = sum(sum(counter.values()) for counter in session.calls.values())
        if calls:
            MappingState.objects.filter(pk=state.pk).update(
                idle_polls=F("idle_polls") + 1, idle_calls=F("idle_calls") + calls
            )
    _finish(session, Run.State.DONE, {})
    MappingState.objects.filter(pk=state.pk).update(last_run_at=timezone.now())
    return Outcome("done", run_id=_run_id(session))


def poll_due(session: Session, state: MappingState) -> bool:
    """A run by hand always reads the lists; any other does when its time has come."""
    return session.kind == Run.Kind.MANUAL or state.next_poll_at is None or state.next_poll_at <= timezone.now()


def still_on(session: Session) -> bool:
    """Whether the mapping still runs, under the version this run is pinned to, with both connections usable."""
    same = SyncMapping.objects.filter(
        pk=session.mapping.pk, state=SyncMapping.State.ACTIVE, published=session.version.pk
    ).select_related("left_connection", "right_connection")
    mapping = same.first()
    return mapping is not None and not any(unusable(mapping.connection(side)) for side in SIDES)


def _poll(session: Session) -> None:
    def live_edits() -> None:
        """⚑ Whoever holds the lease drains hints before every page."""
        while hints.any_live(session.mapping.pk) and still_on(session):
            batch(session)

    now = timezone.now()
    for side in SIDES:
        poll(session, side, between=live_edits)
        schema_watch.listed(session, side)
        cursor = Cursor.objects.get(mapping=session.mapping, side=side)
        if sweep_due(cursor, session.connectors[side], now):
            sweep(session, side, between=live_edits)
    now = timezone.now()
    MappingState.objects.filter(mapping=session.mapping).update(
        last_poll_at=now, next_poll_at=now + timedelta(seconds=session.compiled.poll_seconds)
    )


def _answered(session: Session) -> None:
    """Both systems answered: an outage is over."""
    for side in SIDES:
        Connection.objects.filter(pk=session.connection(side).pk, state=Connection.State.UNREACHABLE).update(
            state=Connection.State.OK, state_reason="", state_since=timezone.now()
        )


def _finish(session: Session | None, state: str, error: Mapping[str, Any]) -> None:
    if session is not None and session.run is not None:
        session.progress(state=state, finished_at=timezone.now(), error=dict(error), phase="")


def _run_id(session: Session | None) -> int | None:
    return session.run.pk if session is not None and session.run is not None else None


def _side_failed(session: Session, failure: SideFailed) -> Outcome:
    """A read failed: hints and cursor are as they were; say why and when it goes on."""
    connection, error = session.connection(failure.side), failure.error
    message = error.message or error.__class__.__name__
    if isinstance(error, NeedsAuthorization):
        lost_sign_in(connection, message)
    elif isinstance(error, RateLimited):
        # What the vendor asked for was stored by the session; our own budget needs no more than a moment.
        until = timezone.now() + timedelta(seconds=error.after)
        if session.run is not None:
            session.progress(waiting_until=until, waiting_for=connection.name)
        _finish(session, Run.State.DONE, {"code": "retry", "params": {"system": connection.name, "message": message}})
        return Outcome("waiting", "quota", _run_id(session))
    elif isinstance(error, OF_THE_MAPPING):
        # The system answers; what this mapping asks for, it does not give. Other mappings of the connection go on.
        _pause(session.mapping.pk)
        session.ensure_run()  # nowhere else would it be told
    else:
        after = error.after if isinstance(error, Retry) else UNREACHABLE_SECONDS
        now = timezone.now()
        Connection.objects.filter(pk=connection.pk, state__in=(Connection.State.OK, Connection.State.UNTESTED)).update(
            state=Connection.State.UNREACHABLE, state_since=now
        )
        Connection.objects.filter(pk=connection.pk).update(
            state_reason=message[:1000], retry_after=now + timedelta(seconds=max(after, UNREACHABLE_SECONDS))
        )
    problem = {"code": "failed", "params": {"message": f"{connection.name}: {message}"}}
    _finish(session, Run.State.FAILED, problem)
    return Outcome("failed", "connection", _run_id(session))


def _pause(mapping_id: int) -> None:
    """Neither lists nor hints are looked at for a while: nothing changes by asking again every second."""
    until = timezone.now() + timedelta(seconds=PAUSE_SECONDS)
    MappingState.objects.filter(mapping_id=mapping_id).filter(
        Q(next_poll_at__isnull=True) | Q(next_poll_at__lt=until)
    ).update(next_poll_at=until)
    ChangedRecord.objects.filter(mapping_id=mapping_id, not_before__lt=until).update(not_before=until)


# One batch. ----------------------------------------------------------------------------------------------------


def batch(session: Session) -> bool:
    """Look at the next due hints, decide, write. Returns whether there was anything to look at."""
    session.lease.renew()
    rung = hints.due(session.mapping.pk, session.bulk_batch)
    if not rung:
        return False
    session.ensure_run()
    live = rung[0].lane == hints.Lane.LIVE
    session.lane = "live" if live else "backfill"
    started = time.monotonic()
    try:
        operations = schema_watch.survive(session, lambda: _look_at(session, list(rung)))
    except (LeaseLost, Halted, OperationalError, InterfaceError):
        raise
    except SideFailed as failure:
        if len(rung) == 1 or not isinstance(failure.error, OF_THE_MAPPING):
            raise
        operations = _look_at_each(session, rung)
    except Exception:
        log.exception("a batch of mapping %s cannot be decided", session.mapping.pk)
        operations = _look_at_each(session, rung)
    if operations:
        carry_out(session, operations)
    if not live:
        session.bulk_batch = hints.next_batch(len(rung), time.monotonic() - started)
    return True


def _look_at_each(session: Session, rung: Sequence[ChangedRecord]) -> list[Operation]:
    """One hint after the other, after they failed together: ⚑ a record that fails blocks only itself."""
    operations: list[Operation] = []
    refused: SideFailed | None = None
    good = False
    for hint in rung:
        try:
            operations += _look_at(session, [hint])
            good = True
        except (LeaseLost, Halted, OperationalError, InterfaceError):
            raise
        except SideFailed as failure:
            if not isinstance(failure.error, OF_THE_MAPPING):
                raise
            refused = failure
            hints.fail(hint, failure.error.message or failure.error.__class__.__name__)
        except Exception as problem:
            log.exception("%s %s cannot be decided", hint.side, hint.external_id)
            hints.fail(hint, f"This record could not be taken over: {problem.__class__.__name__}: {problem}")
            good = True
    if refused is not None and not good:
        raise refused
    return operations


def _look_at(session: Session, rung: list[ChangedRecord]) -> list[Operation]:
    """Read what these hints name and whatever belongs to it, decide, commit. Returns what is to be sent."""
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
    schema_watch.noticed(session, reading)
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
    decided, consumed = decide(session, links, known, reading, rung, of_record)
    meeting = meet(session, unlinked) if unlinked else None
    planned: Counter[tuple[str, str]] = Counter()
    for one in decided:
        for operation in one.plan.operations:
            planned[(operation.side, "delete" if operation.clears() else operation.kind)] += 1
    if meeting:
        for twin, _ in meeting.twins:
            planned[(twin.side, "create")] += 1
    brake = passed(session, planned)
    if brake is not None and 0 < brake.room < len(rung):
        return _look_at(session, rung[: brake.room])  # so many were released: they go, the next batch halts
    if brake is not None:
        halt(session, brake, [str(one.link) for one in decided if one.plan.operations][:5])
        raise Halted
    with transaction.atomic():  # one transaction per batch
        operations = commit_links(session, known, decided, [*consumed, *vanished])
        for side in SIDES:
            forget(session, side, [hint.external_id for hint in vanished if hint.side == side])
        if meeting:
            operations += commit_meeting(session, meeting)
    session.done += len(rung)
    return operations


def _read_counterparts(session: Session, reading: Reading, links: Sequence[Link], known: Batch) -> None:
    """Re-read in bulk just the counterparts about to be written or asked about."""
    wanted: dict[str, list[str]] = {side: [] for side in SIDES}
    for link in links:
        asked = link.pk in known.instructions
        if link.state not in (Link.State.HELD, Link.State.UNLINKED):  # there time stands still unless a person asks
            asked = asked or link.pk in known.conflicts or link.state != Link.State.ACTIVE
        for side in SIDES:
            record, other = reading.get(side, link.record_id(side)), link.record_id(OTHER[side])
            if other is None or reading.get(OTHER[side], other) is not None:
                continue
            gone = link.record_id(side) in reading.absent[side] or (record is not None and record.deleted)
            if gone or asked or (record is not None and differs_from_bases(session, link, side, record)):
                wanted[OTHER[side]].append(other)
    read_into(session, reading, wanted)
