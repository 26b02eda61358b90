"""What is due: polls, hints nobody looked at, brakes that ended. One tick a second, from any number of schedulers."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, Max, OuterRef, Q
from django.utils import timezone

from connections.pauses import due_connections, resume_connection
from connections.take_in import take_in
from mappings import pauses
from mappings.models import Mapping
from sync import audit, turns
from sync.jobs import enqueue
from sync.models import ChangedRecord, MappingState, Operation, Verification, VerifiedDifference
from sync.standing import outdated, reads_everything, stands_still, waits_for_a_person


def due_mappings() -> list[tuple[int, str]]:
    """(mapping, queue) of everything that should run now.

    Hints that wait and polls go to the live queue; a first run goes to the bulk queue, where it holds up nobody. What
    waits for approval under an older version than the published one is counted again.
    Rings are free: a mapping that is being run already is skipped by its lease.
    """
    now = timezone.now()
    active = Mapping.objects.filter(state=Mapping.State.ACTIVE, published__isnull=False)
    active = active.select_related("left_connection", "right_connection").annotate(
        has_hints=Exists(ChangedRecord.objects.filter(mapping=OuterRef("pk"), not_before__lte=now)),
        has_leftovers=Exists(
            Operation.objects.filter(mapping=OuterRef("pk"), state__in=Operation.OPEN, not_before__lte=now)
        ),
        in_force=turns.scheduled(),
    )
    states = {state.mapping_id: state for state in MappingState.objects.filter(mapping__in=active)}
    found = []
    for mapping in active:
        state = states.get(mapping.pk)
        if _stands_still(mapping, state, now):
            continue
        if state is None or reads_everything(state) or outdated(state):
            found.append((mapping.pk, "bulk"))
            continue
        if waits_for_a_person(state) or turns.off_schedule(mapping.in_force, state, now):
            continue
        if state.lease_until and state.lease_until > now:
            continue
        if mapping.has_hints or mapping.has_leftovers or state.next_poll_at is None or state.next_poll_at <= now:
            found.append((mapping.pk, "live"))
    return found


def _stands_still(mapping: Mapping, state: MappingState | None, now: datetime) -> bool:
    """Whether a run could do nothing: it is paused or in a maintenance window, a system asked us to wait, or a
    connection needs a person and says so."""
    connections = (mapping.left_connection, mapping.right_connection)
    if stands_still(mapping, now) is not None:
        return True
    if any(one.waits_until(now) or (one.probing_until and one.probing_until > now) for one in connections):
        return True
    told = state is not None and state.halt in (MappingState.Halt.CONNECTION, MappingState.Halt.RESTORED)
    return told and not all(one.usable for one in connections)


def end_pauses() -> None:
    """Resume whatever a person paused until now. Windows need nobody: they are asked before each run."""
    now = timezone.now()
    for mapping in pauses.due_mappings(now):
        pauses.resume_mapping(mapping)
    for connection in due_connections(now):
        resume_connection(connection)


def tick() -> int:
    """Take in deliveries that no listener did, end pauses, begin turns, ring everything that is due and seal the audit
    log. Returns the number of rings."""
    take_in()
    end_pauses()
    turns.begin_due()
    due = due_mappings()
    for mapping_id, queue in due:
        enqueue(queue, "sync.jobs.run_mapping", mapping_id, queue)
    verifications = due_verifications()
    for pk in verifications:
        enqueue("housekeeping", "sync.jobs.carry_on_verification", pk)
    audit.seal()
    return len(due) + len(verifications)


# Verifications. --------------------------------------------------------------------------------------------------

# Each mapping in force is verified by itself: a new sample a day notices what breaks everywhere, a complete comparison
# a week what broke in one place. Of 10,000 pairs the week costs some 250 calls where a call reads a hundred records.
SAMPLE_EVERY = timedelta(days=1)
COMPLETE_EVERY = timedelta(days=7)
# A complete one that broke off by itself compared nothing for sure: it is begun again after this long, so that a system
# that is down for a week costs no more tries than days.
COMPLETE_AGAIN = timedelta(days=1)
# One that failed or stopped itself. What a person stopped is wanted so.
BROKE_OFF = Q(state__in=(Verification.State.FAILED, Verification.State.STOPPED), stop_asked_by="")
# A verification that no worker took is rung again after this long: one ring a second would fill the queue.
RING_AGAIN = timedelta(seconds=30)
# Old ones, but for the newest of each mapping, and the lines that a month later speak of values long gone.
KEEP_VERIFICATIONS, KEEP_DIFFERENCES = timedelta(days=365), timedelta(days=30)


def due_verifications() -> list[int]:
    """Open verifications that no worker holds and that may go on. Each is claimed for one ring by a conditional
    UPDATE, so that several schedulers ring once."""
    now = timezone.now()
    waiting = Verification.objects.filter(
        Q(lease_until=None) | Q(lease_until__lt=now),
        Q(rung_at=None) | Q(rung_at__lt=now - RING_AGAIN),
        state__in=Verification.OPEN,
        not_before__lte=now,
    )
    return [pk for pk in waiting.values_list("pk", flat=True) if waiting.filter(pk=pk).update(rung_at=now)]


def begin_verifications() -> int:
    """Begin the samples and complete comparisons whose time has come; called once an hour. Returns their number."""
    from sync import verify

    now, number = timezone.now(), 0
    mappings = Mapping.objects.filter(
        state=Mapping.State.ACTIVE, published__isnull=False, run_state__approved_at__isnull=False, run_state__halt=""
    ).select_related("published", "left_connection", "right_connection", "run_state")
    begun: dict[tuple[int, str], datetime] = {}
    held: dict[tuple[int, str], datetime | None] = {}  # of those that did not break off
    for pk, kind, newest, sound in (
        Verification.objects.filter(mapping__in=mappings)
        .order_by()
        .values_list("mapping", "kind")
        .annotate(newest=Max("created_at"), sound=Max("created_at", filter=~BROKE_OFF))
    ):
        begun[(pk, kind)], held[(pk, kind)] = newest, sound
    for mapping in mappings:
        since = mapping.run_state.approved_at or now
        tried = begun.get((mapping.pk, Verification.Kind.COMPLETE), since)
        complete = held.get((mapping.pk, Verification.Kind.COMPLETE)) or since
        sampled = max(complete, begun.get((mapping.pk, Verification.Kind.SAMPLE), since))
        if complete <= now - COMPLETE_EVERY and tried <= now - COMPLETE_AGAIN:
            kind = Verification.Kind.COMPLETE
        elif sampled <= now - SAMPLE_EVERY:
            kind = Verification.Kind.SAMPLE
        else:
            continue
        try:
            verify.begin(mapping, kind)
            number += 1
        except verify.CannotBegin:
            continue  # one is going on, a window is open, a connection needs a person: an hour later is early enough
    return number


def _tidy_verifications(now: datetime) -> None:
    newest = Verification.objects.order_by().values("mapping").annotate(newest=Max("pk")).values("newest")
    ended = Verification.objects.exclude(state__in=Verification.OPEN).exclude(pk__in=newest)
    ended.filter(created_at__lt=now - KEEP_VERIFICATIONS).delete()
    VerifiedDifference.objects.filter(verification__in=ended.filter(created_at__lt=now - KEEP_DIFFERENCES)).delete()


def tidy() -> None:
    """Forget what nobody needs any more, and begin what an hour more or less does not matter for; called hourly."""
    from connections.models import Delivery

    begin_verifications()
    _tidy_verifications(timezone.now())

    old = timezone.now() - timedelta(days=settings.KEEP_DELIVERIES_DAYS)
    Delivery.objects.filter(received_at__lt=old).delete()
    ended = timezone.now() - timedelta(days=1)
    MappingState.objects.filter(Q(lease_until__lt=ended)).update(lease_until=None, holder="")
