"""What is due: polls, hints nobody looked at, brakes that ended. One tick a second, from any number of schedulers."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from connections.pauses import due_connections, resume_connection
from mappings import pauses
from mappings.models import Mapping
from sync import audit
from sync.jobs import enqueue
from sync.models import ChangedRecord, MappingState, Operation
from sync.standing import stands_still, waits_for_a_person

# Deliveries and finished runs that left nothing behind are of no use after this.
KEEP_DELIVERIES = timedelta(days=30)


def due_mappings() -> list[tuple[int, str]]:
    """(mapping, queue) of everything that should run now.

    Hints that wait go to the live queue; a first run or a poll goes to the bulk queue, where it holds up nobody.
    Rings are free: a mapping that is being run already is skipped by its lease.
    """
    now = timezone.now()
    active = Mapping.objects.filter(state=Mapping.State.ACTIVE, published__isnull=False)
    active = active.select_related("left_connection", "right_connection").annotate(
        has_hints=Exists(ChangedRecord.objects.filter(mapping=OuterRef("pk"), not_before__lte=now)),
        has_leftovers=Exists(
            Operation.objects.filter(mapping=OuterRef("pk"), state__in=Operation.OPEN, not_before__lte=now)
        ),
    )
    states = {state.mapping_id: state for state in MappingState.objects.filter(mapping__in=active)}
    found = []
    for mapping in active:
        state = states.get(mapping.pk)
        if _stands_still(mapping, state, now):
            continue
        compare = state is not None and state.halt == MappingState.Halt.RESTORED and state.compared_at is None
        if state is None or compare or (state.approved_at is None and not state.halt):
            found.append((mapping.pk, "bulk"))
            continue
        if waits_for_a_person(state):
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
    if any(one.retry_after and one.retry_after > now for one in connections):
        return True
    told = state is not None and state.halt == MappingState.Halt.CONNECTION
    return told and not all(one.usable for one in connections)


def end_pauses() -> None:
    """Resume whatever a person paused until now. Windows need nobody: they are asked before each run."""
    now = timezone.now()
    for mapping in pauses.due_mappings(now):
        pauses.resume_mapping(mapping)
    for connection in due_connections(now):
        resume_connection(connection)


def tick() -> int:
    """End pauses, ring everything that is due and seal the audit log. Returns the number of rings."""
    end_pauses()
    due = due_mappings()
    for mapping_id, queue in due:
        enqueue(queue, "sync.jobs.run_mapping", mapping_id, queue)
    audit.seal()
    return len(due)


def tidy() -> None:
    """Forget what nobody needs any more; called once an hour."""
    from connections.models import Delivery

    Delivery.objects.filter(received_at__lt=timezone.now() - KEEP_DELIVERIES).delete()
    ended = timezone.now() - timedelta(days=1)
    MappingState.objects.filter(Q(lease_until__lt=ended)).update(lease_until=None, holder="")
