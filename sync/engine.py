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

from django.db import transaction
from django.db.models import Count, F, Sum
from django.utils import timezone

from connections.connectors.base import Change, ConnectorError, NeedsAuthorization, RateLimited, Record, Retry
from connections.models import Connection
from mappings.models import Mapping as SyncMapping
from sync import asked, audit, first_run, hints, recover
from sync.apply import carry_out
from sync.commit import Decided, audit_entry, commit_links
from sync.lease import LeaseLost, take
from sync.merge import OTHER, EditTime
from sync.models import Allowance, ChangedRecord, Link, MappingState, Operation, Run
from sync.plan import Brake, LinkPlan, check_brakes, plan_deletion, plan_link
from sync.read import Reading, SideFailed, poll, read_into
from sync.session import SIDES, Session, open_session
from sync.setbacks import lost_sign_in
from sync.state import (
    Batch,
    both_ids,
    differs_from_bases,
    edit_times,
    instruction_views,
    link_view,
    load,
    seconds_of,
)
from sync.unlinked import Unlinked, commit_meeting, create_again, meet

log = logging.getLogger("sync")

# A run hands the lease on after this long, well inside RQ's 600 s, so that no job is ever killed in the middle.
RUN_SECONDS = 240
# A link with an operation in flight is looked at again after this long, unless the operation ends earlier.
BUSY_SECONDS = 1.0
# ⚑ Where a 404 may mean hidden, the second sighting must be this much later.
SECOND_SIGHTING_SECONDS = 3600
# A system that does not answer is tried again after this long at first.
UNREACHABLE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: done, busy, inactive, halted, approval, waiting, failed, lost."""

    state: str
    code: str = ""
    run_id: int | None = None


class Halted(Exception):
    """A brake stopped the run before the write."""


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
        state = MappingState.objects.get(mapping_id=mapping_id)
        if state.halt in (MappingState.Halt.BRAKE, MappingState.Halt.APPROVAL):
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
    recover.leftovers(session)
    if state.approved_at is None:
        session.kind = Run.Kind.FIRST
        first_run.survey(session)
        return Outcome("approval", run_id=_run_id(session))
    started = time.monotonic()
    if poll_due(session, state):
        _poll(session)
    try:
        while time.monotonic() - started < RUN_SECONDS and batch(session):
            session.progress(phase="write")
    except Halted:
        return Outcome("halted", "brake", _run_id(session))
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


def _poll(session: Session) -> None:
    for side in SIDES:
        poll(session, side)
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
    _look_at(session, rung)
    if not live:
        session.bulk_batch = hints.next_batch(len(rung), time.monotonic() - started)
    return True


def _look_at(session: Session, rung: list[ChangedRecord]) -> None:
    """Read what these hints name and whatever belongs to it, decide, commit, carry out."""
    session.reading_since = timezone.now()
    ids = {side: [hint.external_id for hint in rung if hint.side == side] for side in SIDES}
    known = load(session, ids)
    of_record = known.by_record()
    there = {(hint.side, hint.external_id) for hint in rung}
    linked = {side: [id for id in found if (side, id) not in there] for side, found in both_ids(known.links).items()}
    rung += hints.of_counterparts(session.mapping.pk, linked)
    busy = [hint for hint in rung if (link := of_record.get((hint.side, hint.external_id))) and link.pk in known.busy]
    hints.postpone(busy, BUSY_SECONDS)
    rung = [hint for hint in rung if hint not in busy]
    links = [link for link in known.links if link.pk not in known.busy]
    reading = Reading()
    read_into(session, reading, {side: [hint.external_id for hint in rung if hint.side == side] for side in SIDES})
    _read_counterparts(session, reading, links, known)
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
    decided, consumed = _decide(session, links, known, reading, rung, of_record)
    meeting = meet(session, unlinked) if unlinked else None
    planned: Counter[tuple[str, str]] = Counter()
    for one in decided:
        for operation in one.plan.operations:
            planned[(operation.side, "delete" if operation.clears() else operation.kind)] += 1
    if meeting:
        for twin, _ in meeting.twins:
            planned[(twin.side, "create")] += 1
    _brake(session, planned, decided)
    operations = commit_links(session, known, decided, [*consumed, *vanished])
    if meeting:
        operations += commit_meeting(session, meeting)
    session.done += len(rung)
    if operations:
        carry_out(session, operations)


def _read_counterparts(session: Session, reading: Reading, links: Sequence[Link], known: Batch) -> None:
    """Re-read in bulk just the counterparts about to be written or asked about."""
    wanted: dict[str, list[str]] = {side: [] for side in SIDES}
    for link in links:
        asked = link.pk in known.instructions or link.pk in known.conflicts or link.state != Link.State.ACTIVE
        for side in SIDES:
            record, other = reading.get(side, link.record_id(side)), link.record_id(OTHER[side])
            if other is None or reading.get(OTHER[side], other) is not None:
                continue
            gone = link.record_id(side) in reading.absent[side] or (record is not None and record.deleted)
            if gone or asked or (record is not None and differs_from_bases(session, link, side, record)):
                wanted[OTHER[side]].append(other)
    read_into(session, reading, wanted)


def _decide(
    session: Session,
    links: Sequence[Link],
    known: Batch,
    reading: Reading,
    rung: Sequence[ChangedRecord],
    of_record: Mapping[tuple[str, str], Link],
) -> tuple[list[Decided], list[ChangedRecord]]:
    """Plans of the batch's links, and the hints they consume."""
    hints_of: dict[int, list[ChangedRecord]] = {}
    for hint in rung:
        if link := of_record.get((hint.side, hint.external_id)):
            hints_of.setdefault(link.pk, []).append(hint)
    decided: list[Decided] = []
    consumed: list[ChangedRecord] = []
    for link in links:
        mine = hints_of.get(link.pk, [])
        try:
            one = _decide_link(session, link, known, reading, mine)
        except Exception as problem:  # poison: this record waits with its error, the others go on
            log.exception("link %s cannot be planned", link.pk)
            for hint in mine:
                hints.fail(hint, f"This record could not be planned: {problem.__class__.__name__}: {problem}")
            continue
        if one is None:
            continue
        decided.append(one)
        consumed += mine
    _with_history(session, decided, known, reading)
    return decided, consumed


def _decide_link(
    session: Session, link: Link, known: Batch, reading: Reading, mine: Sequence[ChangedRecord]
) -> Decided | None:
    """One link's plan, or None to leave it and its hints for later."""
    records = {side: reading.get(side, link.record_id(side)) for side in SIDES}
    if (answer := asked.take_up(session, link, known)) is not None:
        return Decided(link, answer, records)
    if link.state in (Link.State.HELD, Link.State.UNLINKED) and not known.instructions.get(link.pk):
        return Decided(link, LinkPlan(), records)  # on purpose: time stands still, the hint is consumed
    if link.state == Link.State.DELETED:
        return _returned(session, link, known, records)
    for side in SIDES:
        if _stale(link, side, records[side]):
            hints.postpone(mine, BUSY_SECONDS)
            return None
    gone = {side for side in SIDES if _gone(session, link, side, reading, mine)}
    unsure = {side for side in SIDES if link.record_id(side) in reading.absent[side]} - gone
    if unsure:
        for hint in mine:
            hints.fail(hint, "This record cannot be read any more: deleted, or hidden from our account.", 60)
            ChangedRecord.objects.filter(pk=hint.pk).update(
                not_before=hint.first_rung_at + timedelta(seconds=SECOND_SIGHTING_SECONDS)
            )
        return None
    if gone:
        return _deletion(session, link, known, records, gone)
    if link.state == Link.State.CREATING:
        source = "left" if link.left_id else "right"
        record = records[source]
        if record is None:
            return None
        again = asked.first_of(known, link, "recreate")
        if again is not None:
            link.parked.pop("", None)
        plan = LinkPlan(operations=create_again(session, link, source, record))
        return Decided(link, asked.answering(plan, again), records)
    left, right = records["left"], records["right"]
    if left is None or right is None:
        # The side that was read equals its bases: our own write coming back, or a field we do not map.
        return Decided(link, LinkPlan(settled=True), records)
    if not _still_in_scope(session, link, records):
        return Decided(link, LinkPlan(), records)
    plan = plan_link(
        session.compiled,
        link_view(link, known, edit_times(session, link, {"left": left, "right": right})),
        left,
        right,
        instruction_views(known, link),
        now=timezone.now().timestamp(),
        max_hops=_max_hops(),
    )
    if release := asked.first_of(known, link, "delete_twin"):
        plan.instructions[release.pk] = {"": "stale"}  # both records are there: there is no twin to delete
    return Decided(link, plan, records)


def _stale(link: Link, side: str, record: Record | None) -> bool:
    """⚑ A record older than what the link has already seen decides nothing."""
    seen = link.left_updated_at if side == "left" else link.right_updated_at
    if record is None or record.deleted or not seen or not record.updated_at:
        return False
    return seconds_of(record.updated_at) < seconds_of(seen)


def _gone(session: Session, link: Link, side: str, reading: Reading, mine: Sequence[ChangedRecord]) -> bool:
    """Whether a deletion is certain. "Not allowed" and "left the filter" never are."""
    external_id = link.record_id(side)
    record = reading.get(side, external_id)
    if record is not None:
        return record.deleted
    if external_id is None or external_id not in reading.absent[side]:
        return False
    if session.connectors[side].capabilities.not_found_means_gone:
        return True
    told = [hint for hint in mine if hint.side == side]
    late = timezone.now() - timedelta(seconds=SECOND_SIGHTING_SECONDS)
    return any(hint.deleted or (hint.attempts and hint.first_rung_at <= late) for hint in told)


def _deletion(session: Session, link: Link, known: Batch, records: dict[str, Record | None], gone: set[str]) -> Decided:
    for side in gone:
        setattr(link, f"deleted_{side}", True)
    side = sorted(gone)[0]
    survivor = None if len(gone) == 2 else records[OTHER[side]]
    release = asked.first_of(known, link, "delete_twin")
    plan = plan_deletion(session.compiled, link_view(link, known), side, survivor, release is not None)
    asked.answering(plan, release)
    if plan.state:
        code = {"unlinked": "deletion_unlinked"}.get(plan.state, "deletion_noted")
        code = "deleted_on_both" if len(gone) == 2 else code
        audit.append([audit_entry(session, "deletion", code, link, params={"side": side}, side=side)])
    return Decided(link, plan, records)


def _returned(session: Session, link: Link, known: Batch, records: dict[str, Record | None]) -> Decided | None:
    """A tombstone: it resumes only when both records are there again."""
    if all(record is not None and not record.deleted for record in records.values()):
        link.state = Link.State.ACTIVE
        link.deleted_left = link.deleted_right = False
        left, right = records["left"], records["right"]
        assert left is not None and right is not None
        plan = plan_link(session.compiled, link_view(link, known), left, right, instruction_views(known, link))
        return Decided(link, plan, records)
    return Decided(link, LinkPlan(), records)


def _still_in_scope(session: Session, link: Link, records: Mapping[str, Record | None]) -> bool:
    """While a record is out of scope time stands still; the ordinary merge resumes when it returns."""
    for side in SIDES:
        record = records[side]
        assert record is not None
        scope, object_type = session.scope(side), session.object_type(side)
        inside = session.connectors[side].admits(object_type, record, scope)
        if inside is None:
            try:
                inside = record.external_id in session.connectors[side].in_scope(
                    object_type, [record.external_id], scope
                )
            except ConnectorError as error:
                raise SideFailed(side, error) from error
        if not inside:
            link.out_of_scope = side
            return False
    link.out_of_scope = ""
    return True


def _max_hops() -> int:
    """As many own writes in a row as there are mappings that can pass a value on."""
    return max(2, SyncMapping.objects.filter(state=SyncMapping.State.ACTIVE).count())


def _with_history(session: Session, decided: list[Decided], known: Batch, reading: Reading) -> None:
    """Where it matters who edited a field and when, ask the vendor's own history and decide again with it."""
    asking = [one for one in decided if one.plan.wants_history()]
    if not asking:
        return
    for side in SIDES:
        connector = session.connectors[side]
        if not connector.capabilities.field_history:
            continue
        ids = both_ids([one.link for one in asking])[side]
        stamps = [getattr(one.link, f"{side}_updated_at") for one in asking]
        since = min((stamp for stamp in stamps if stamp), default="1970-01-01T00:00:00Z")
        try:
            found = connector.history(session.object_type(side), ids, session.paths(side), since)
        except ConnectorError:
            log.warning("no history from %s", session.connection(side))
            continue  # who and when are shown as the record tells them; nothing depends on more
        for one in asking:
            one.history = {**one.history, side: list(found.get(one.link.record_id(side) or "", ()))}
    for one in asking:
        left, right = one.records["left"], one.records["right"]
        if left is None or right is None:
            continue
        edits = {**edit_times(session, one.link, {"left": left, "right": right}), **_exact_times(session, one)}
        one.plan = plan_link(
            session.compiled,
            link_view(one.link, known, edits),
            left,
            right,
            instruction_views(known, one.link),
            now=timezone.now().timestamp(),
            max_hops=_max_hops(),
        )


def _exact_times(session: Session, one: Decided) -> dict[tuple[str, str], EditTime]:
    found = {}
    for side in SIDES:
        offset = session.connection(side).clock_offset or 0.0
        changes: Sequence[Change] = one.history.get(side, ())
        for rule in session.compiled.rules:
            times = [seconds_of(c.at) - offset for c in changes if c.field == rule.field(side).path]
            if times:
                found[(side, rule.id)] = EditTime(max(times), max(times))
    return found


# Brakes. -------------------------------------------------------------------------------------------------------


def _brake(session: Session, planned: Counter[tuple[str, str]], decided: Sequence[Decided]) -> None:
    """Halt before the write where a limit would be passed. Raises Halted."""
    if not planned:
        return
    now = timezone.now()
    hour = now - timedelta(hours=1)
    ledger = (
        Operation.objects.filter(mapping=session.mapping, decided_at__gt=hour)
        .exclude(state=Operation.State.SUPERSEDED)
        .values("side", "kind", "clears")
        .annotate(number=Count("pk"))
    )
    already: Counter[tuple[str, str]] = Counter()
    for row in ledger:
        already[(row["side"], "delete" if row["clears"] else row["kind"])] += row["number"]
    allowed = {
        (row["side"], row["kind"]): row["number"]
        for row in Allowance.objects.filter(mapping=session.mapping, expires_at__gt=now)
        .values("side", "kind")
        .annotate(number=Sum("number"))
    }
    links = Link.objects.filter(mapping=session.mapping, state=Link.State.ACTIVE).count()
    brake = check_brakes(planned, already, links, allowed, session.compiled.brakes)
    if brake is None:
        return
    halt(session, brake, [str(one.link) for one in decided if one.plan.operations][:5])
    raise Halted


def halt(session: Session, brake: Brake, sample: Sequence[str]) -> None:
    """Nothing of the plan is written; the hints stay, and a person releases or holds."""
    waiting = ChangedRecord.objects.filter(mapping=session.mapping).count()
    params: dict[str, Any] = {
        "side": brake.side,
        "kind": brake.kind,
        "planned": brake.planned,
        "already": brake.already,
        "limit": brake.limit,
        "waiting": waiting,
        "sample": list(sample),
        "run": session.ensure_run().pk,
    }
    reason = {"code": "brake", "params": params}
    with transaction.atomic():
        session.lease.renew()
        MappingState.objects.filter(mapping=session.mapping).update(
            halt=MappingState.Halt.BRAKE, halt_reason=reason, halted_at=timezone.now()
        )
        audit.append(
            [
                audit.entry(
                    "brake",
                    "brake",
                    mapping=session.mapping,
                    mapping_version=session.version.number,
                    run_id=session.ensure_run().pk,
                    side=brake.side,
                    params=params,
                )
            ]
        )
    _finish(session, Run.State.HALTED, reason)
