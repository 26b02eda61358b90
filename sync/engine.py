"""One run; the only file that knows the order of things.

hint → read → plan → ledger → apply → base and audit. Whoever holds the lease drains hints in short batches, live ones
first; a record that fails blocks only itself, a connection that fails stops only its mappings and says why.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F, Q
from django.utils import timezone

from connections import breaker, retest
from connections.connectors.base import Expired, Gone, NeedsAuthorization, NotAllowed, RateLimited, Refused, Retry
from connections.models import Connection
from connections.pauses import in_window, note_state
from mappings.models import Mapping as SyncMapping
from sync import after_restore, catch_up, first_run, hints, noting, polling, recover, restored, schema_watch, turns
from sync.apply import carry_out
from sync.brakes import STILL_READING, Halted, halt, halt_empty, passed
from sync.commit import commit_links
from sync.lease import LeaseLost, take
from sync.look import look
from sync.matching import forget
from sync.models import ChangedRecord, MappingState, Operation, Run
from sync.read import SideEmpty, SideFailed, look_for_missed, poll
from sync.rows import change, fetch
from sync.session import SIDES, Session, open_session
from sync.setbacks import lost_sign_in
from sync.standing import StandsStill, may_write, outdated, still_on, unusable, waits_for_a_person
from sync.unlinked import commit_meeting
from sync.versions import take_up

log = logging.getLogger("sync")

# A run hands the lease on after this long, far inside the time RQ gives a job, so that none is killed in the middle.
RUN_SECONDS = 240
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
    if any(in_window(row, timezone.now()) for row in (mapping, *map(mapping.connection, SIDES))):
        return Outcome("waiting", "window")
    for side in SIDES:
        if mapping.connection(side).down_since is not None:
            breaker.probe(mapping.connection(side))  # before the lease: a test may take longer than that lasts
        retest.before_run(mapping.connection(side))
    restored.look_outside()
    lease = take(mapping_id)
    if lease is None:
        return Outcome("busy")
    session: Session | None = None
    try:
        [state] = fetch(MappingState, "mapping_id = %s", mapping_id)
        if outdated(state):
            of_a_first_run = state.halt == MappingState.Halt.APPROVAL
            (first_run if of_a_first_run else after_restore).begin_again(mapping, lease)
            [state] = fetch(MappingState, "mapping_id = %s", mapping_id)
        if waits_for_a_person(state):
            return Outcome("halted", state.halt)
        by_hand = kind == Run.Kind.MANUAL or state.halt == MappingState.Halt.RESTORED or state.approved_at is None
        if not by_hand and turns.off_schedule(mapping.published.document.get("schedule"), state, timezone.now()):
            return Outcome("waiting", "schedule")
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


def _stop(state: MappingState, connection: Connection, reason: str) -> Outcome:
    if connection.usable:
        return Outcome("waiting", "quota")
    if connection.state == Connection.State.PAUSED:  # somebody wanted it: no trouble to tell of
        return Outcome("halted", "connection_unusable")
    # ⚑ Never in the place of a halt that a person ends: this one ends by itself, and would take that one with it.
    MappingState.objects.filter(pk=state.pk, halt__in=("", MappingState.Halt.CONNECTION)).update(
        halt=MappingState.Halt.CONNECTION,
        halt_reason={"code": "connection_unusable", "params": {"connection": connection.name, "reason": reason}},
        halted_at=state.halted_at or timezone.now(),
    )
    return Outcome("halted", "connection_unusable")


def _run(session: Session, state: MappingState) -> Outcome:
    if state.halt == MappingState.Halt.CONNECTION:
        told = MappingState.objects.filter(pk=state.pk, halt=MappingState.Halt.CONNECTION)
        told.update(halt="", halt_reason={}, halted_at=None)
    to_compare = state.halt == MappingState.Halt.RESTORED
    if to_compare:
        session.kind = Run.Kind.RESTORED
    schema_watch.at_start(session, state)
    if state.approved_at is not None and not to_compare:
        take_up(session, state)  # before questions are opened under this version: those are not asked anew
    schema_watch.survive(session, lambda: recover.leftovers(session))
    if to_compare:
        return _compare(session)
    if state.approved_at is None:
        session.kind = Run.Kind.FIRST
        schema_watch.idle(session)
        schema_watch.survive(session, lambda: first_run.survey(session))
        return Outcome("approval", run_id=_run_id(session))
    started = time.monotonic()
    session.in_turn = state.turn_at is not None
    try:
        catch_up.look_for_silence(session, state)
        if polling.due(session, state):
            schema_watch.survive(session, lambda: _poll(session, state))
        while time.monotonic() - started < RUN_SECONDS and still_on(session):
            if not batch(session) and not schema_watch.idle(session):
                break
            session.progress(phase="write")
    except Halted:
        return Outcome("halted", "brake", _run_id(session))
    except SideEmpty as empty:
        halt_empty(session, empty)
        return Outcome("halted", "side_empty", _run_id(session))
    except StandsStill:
        _finish(session, Run.State.DONE, {"code": "stood_still", "params": {}})
        return Outcome("waiting", "window", _run_id(session))
    _answered(session)
    if session.run is None:
        calls = sum(sum(counter.values()) for counter in session.calls.values())
        if calls:
            MappingState.objects.filter(pk=state.pk).update(
                idle_polls=F("idle_polls") + 1, idle_calls=F("idle_calls") + calls
            )
    _finish(session, Run.State.DONE, {})
    now = timezone.now()
    changed = now if session.edits_seen else state.changed_at
    change("UPDATE sync_mappingstate SET last_run_at = %s, changed_at = %s WHERE id = %s", now, changed, state.pk)
    turns.end(state)
    return Outcome("done", run_id=_run_id(session))


def _compare(session: Session) -> Outcome:
    """After a restore: everything is compared, nothing is written, and a person decides."""
    try:
        after_restore.compare(session)
    except StandsStill:
        _finish(session, Run.State.DONE, {"code": "stood_still", "params": {}})
        return Outcome("waiting", "window", _run_id(session))
    return Outcome("approval", "restored", _run_id(session))


def _poll(session: Session, state: MappingState) -> None:
    """Raises Halted; the side in hand is read to its end first, so that whoever decides sees how much waits."""
    stopped: list[Halted] = []

    def between_pages() -> None:
        """⚑ Whoever holds the lease drains hints before every page, and stops where everything stands still."""
        while (on := still_on(session)) and not stopped and hints.any_live(session.mapping.pk):
            try:
                batch(session)
            except Halted as brake:  # nothing more is decided by this run
                stopped.append(brake)
                session.progress(phase=STILL_READING)
        if not on and not may_write(session):  # a system that asks us to wait may still be read
            raise StandsStill

    now = timezone.now()
    sides = polling.begin(session, state, now)
    for side in sides:
        try:
            _read_lists(session, side, now, between_pages)
        except (SideFailed, SideEmpty, StandsStill):
            if stopped:  # the run after the decision reads it again
                raise stopped[0] from None
            raise
        if stopped:
            session.progress(phase="", finished_at=timezone.now())
            raise stopped[0]
    catch_up.caught_up(session)
    polling.plan_next(session, state, sides, timezone.now())


def _read_lists(session: Session, side: str, now: datetime, between: Callable[[], None]) -> None:
    """What changed on a side, and, where that is due, everything that is there. Raises SideFailed, SideEmpty."""
    try:
        poll(session, side, between=between)
    except SideFailed as failure:
        if not isinstance(failure.error, Expired):
            raise
        catch_up.expired(session, side)
        poll(session, side, between=between)
    schema_watch.listed(session, side)
    noting.list_side(session, side, between)
    look_for_missed(session, side, now, between)


def _answered(session: Session) -> None:
    """Both systems answered: an outage that was known when this run began is over."""
    rows = [session.connection(side) for side in SIDES]
    known = [row for row in rows if row.state == Connection.State.UNREACHABLE or row.failures]
    if known:
        breaker.answered(known)


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
    elif not (error.outage and breaker.unanswered(connection, message)):
        after = error.after if isinstance(error, Retry) else UNREACHABLE_SECONDS
        wants_a_person = (Connection.State.SIGN_IN, Connection.State.ACCOUNT_CHANGED)
        note_state(connection, Connection.State.UNREACHABLE, message[:1000], but_for=wants_a_person)
        until = timezone.now() + timedelta(seconds=max(after, UNREACHABLE_SECONDS))
        # ⚑ What the vendor itself asked for meanwhile may be longer, and is never shortened.
        Connection.objects.filter(Q(retry_after=None) | Q(retry_after__lt=until), pk=connection.pk).update(
            retry_after=until
        )
    problem = {"code": "failed", "params": {"message": f"{connection.name}: {message}"}}
    _finish(session, Run.State.FAILED, problem)
    return Outcome("failed", "connection", _run_id(session))


def _pause(mapping_id: int) -> None:
    """Neither lists nor hints are looked at for a while: nothing changes by asking again every second."""
    until = timezone.now() + timedelta(seconds=PAUSE_SECONDS)
    MappingState.objects.filter(mapping_id=mapping_id).filter(
        Q(next_poll_at__isnull=True) | Q(next_poll_at__lt=until)
    ).update(next_poll_at=until, left_poll_at=None, right_poll_at=None)  # both sides then: somebody may have asked
    ChangedRecord.objects.filter(mapping_id=mapping_id, not_before__lt=until).update(not_before=until)


# One batch. ----------------------------------------------------------------------------------------------------


def batch(session: Session) -> bool:
    """Look at the next due hints, decide, write. Returns whether there was anything to look at."""
    session.lease.renew()
    rung = hints.due(session.mapping.pk, hints.LARGEST_BATCH, hints.LARGEST_LIVE_BATCH)
    if not rung:
        return False
    session.ensure_run()
    live = rung[0].lane == hints.Lane.LIVE
    whole_call = min(session.whole_call(side) for side in {hint.side for hint in rung})
    first = max(hints.LIVE_BATCH if live else hints.BULK_BATCH, whole_call)
    rung = rung[: first if live else session.bulk_batch or first]
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
        session.bulk_batch = hints.next_batch(len(rung), time.monotonic() - started, whole_call)
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
            hints.fail(hint, failure.error.message or failure.error.__class__.__name__, "not_read")
        except Exception as problem:
            log.exception("%s %s cannot be decided", hint.side, hint.external_id)
            hints.fail(hint, f"This record could not be taken over: {problem.__class__.__name__}: {problem}")
            good = True
    if refused is not None and not good:
        raise refused
    return operations


def _look_at(session: Session, rung: list[ChangedRecord]) -> list[Operation]:
    """Read what these hints name and whatever belongs to it, decide, commit. Returns what is to be sent."""
    looked = look(session, rung)
    brake = passed(session, looked.planned())
    if brake is not None:
        if brake.room and (fitting := looked.fitting(brake.side, brake.kind, brake.room)):
            return _look_at(session, fitting)  # so much was released: it goes, the next batch halts
        needs = looked.needs(brake.side, brake.kind).values()
        told = looked.told(brake.side, brake.kind)
        halt(session, brake, looked.sample(brake.side, brake.kind), len(looked.rung), needs, told)
        raise Halted
    with transaction.atomic():  # one transaction per batch
        operations = commit_links(session, looked.known, looked.decided, [*looked.consumed, *looked.vanished])
        for side in SIDES:
            forget(session, side, [hint.external_id for hint in looked.vanished if hint.side == side])
        if looked.meeting:
            operations += commit_meeting(session, looked.meeting)
    session.done += len(looked.rung)
    return operations
