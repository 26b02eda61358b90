"""The inbox: records that may have changed. Marked by bells and polls, consumed by runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Least
from django.utils import timezone

from sync.models import ChangedRecord, Link, MappingState

Lane = ChangedRecord.Lane

# Live edits are looked at in small batches, so that the first one leaves at once.
LIVE_BATCH = 40
# The rest in batches that hold the lease for about this long, so that a live edit never waits longer: the size
# follows how quickly the systems answer, between a few records and what one bulk call takes.
BATCH_SECONDS = 1.0
BULK_BATCH = 20
SMALLEST_BATCH, LARGEST_BATCH = 4, 200


def next_batch(size: int, seconds: float) -> int:
    """The size of the next bulk batch after one of `size` took `seconds`."""
    fitting = int(size * BATCH_SECONDS / max(seconds, 0.001))
    return max(SMALLEST_BATCH, min(LARGEST_BATCH, fitting, 2 * size))


def mark(
    mapping_id: int,
    side: str,
    ids: Iterable[str],
    lane: int = Lane.LIVE,
    *,
    deleted: bool = False,
    proofs: Mapping[str, Any] | None = None,
    not_before: datetime | None = None,
) -> list[str]:
    """Say that these records may have changed; the counter of a waiting hint grows. Returns the ids newly marked.

    `proofs`: {id: what a delivery told, see echo.py}; kept only for a record that was not hinted already.

    First the UPDATE, then the INSERT of what is not there: a hint consumed in between is simply marked again, and one
    inserted by somebody else in between is read by its consumer after our change was made. No ring is lost.
    """
    wanted = list(dict.fromkeys(ids))
    if not wanted:
        return []
    when = not_before or timezone.now()
    waiting = ChangedRecord.objects.filter(mapping_id=mapping_id, side=side, external_id__in=wanted)
    changes: dict[str, Any] = {
        "counter": F("counter") + 1,
        "lane": Least(F("lane"), lane),
        "proof": None,
        "rung_at": timezone.now(),
    }
    if deleted:
        changes["deleted"] = True
    with transaction.atomic():
        lock(mapping_id)
        waiting.update(**changes)
        # A hint that waits after a failure keeps waiting; any other is looked at when the newest ring asks for it.
        waiting.filter(attempts=0, not_before__gt=when).update(not_before=when)
        known = set(waiting.values_list("external_id", flat=True))
        new = [external_id for external_id in wanted if external_id not in known]
        ChangedRecord.objects.bulk_create(
            [
                ChangedRecord(
                    mapping_id=mapping_id,
                    side=side,
                    external_id=external_id,
                    lane=lane,
                    deleted=deleted,
                    proof=(proofs or {}).get(external_id),
                    not_before=when,
                )
                for external_id in new
            ],
            ignore_conflicts=True,
        )
    return new


def lock(mapping_id: int) -> None:
    """Take the mapping's row before its hints, conflicts and links, as every commit of a run does (Lease.renew).

    One order for everybody: without it PostgreSQL finds bells and runs in a deadlock. Inside a transaction only.
    """
    list(MappingState.objects.select_for_update().filter(mapping_id=mapping_id).values_list("pk"))


def due(mapping_id: int, bulk: int = BULK_BATCH) -> list[ChangedRecord]:
    """The next hints to look at: live ones alone while there are any, so that they never wait for a backfill; else
    `bulk` of the others."""
    waiting = ChangedRecord.objects.filter(mapping_id=mapping_id, not_before__lte=timezone.now())
    live = list(waiting.filter(lane=Lane.LIVE).order_by("not_before", "id")[:LIVE_BATCH])
    return live or list(waiting.order_by("lane", "not_before", "id")[:bulk])


def of_counterparts(mapping_id: int, ids: Mapping[str, Sequence[str]]) -> list[ChangedRecord]:
    """Waiting hints of these records ({side: ids}): their links are read anyway, so they are looked at together."""
    wanted = Q()
    for side, external_ids in ids.items():
        if external_ids:
            wanted |= Q(side=side, external_id__in=external_ids)
    if not wanted:
        return []
    return list(ChangedRecord.objects.filter(wanted, mapping_id=mapping_id, not_before__lte=timezone.now()))


def of_link(link: Link) -> list[ChangedRecord]:
    """Every hint of the link's records, due or not."""
    these = Q(side="left", external_id=link.left_id or "") | Q(side="right", external_id=link.right_id or "")
    return list(ChangedRecord.objects.filter(these, mapping=link.mapping_id))


def any_due(mapping_id: int) -> bool:
    return ChangedRecord.objects.filter(mapping_id=mapping_id, not_before__lte=timezone.now()).exists()


def any_live(mapping_id: int) -> bool:
    waiting = ChangedRecord.objects.filter(mapping_id=mapping_id, not_before__lte=timezone.now())
    return waiting.filter(lane=Lane.LIVE).exists()


def consume(hints: Sequence[ChangedRecord]) -> int:
    """⚑ Delete the hints whose counter is still the one read before the remote read; the others stay."""
    if not hints:
        return 0
    same = Q()
    for hint in hints:
        same |= Q(pk=hint.pk, counter=hint.counter)
    return ChangedRecord.objects.filter(same).delete()[0]


def postpone(hints: Sequence[ChangedRecord], seconds: float) -> None:
    """Look again later; not a failure."""
    if not hints:
        return
    when = timezone.now() + timedelta(seconds=seconds)
    with transaction.atomic():
        lock(hints[0].mapping_id)
        ChangedRecord.objects.filter(pk__in=[hint.pk for hint in hints]).update(not_before=when)


# After a failure: quick first, since most are hiccups; then rarely, since somebody must act. Seconds.
BACKOFF = (1, 2, 5, 15, 60, 300, 900, 3600)


def backoff(attempts: int) -> float:
    """Seconds to wait after one more failure."""
    return BACKOFF[min(attempts, len(BACKOFF) - 1)]


def fail(hint: ChangedRecord, error: str, after: float | None = None, attempts: int | None = None) -> None:
    """Keep the hint with its error; the next try waits longer each time, and never stops.

    `attempts`: how often it failed by now, where somebody else counts; else one more than the hint says.
    """
    failures = hint.attempts + 1 if attempts is None else attempts
    ChangedRecord.objects.filter(pk=hint.pk).update(
        attempts=failures,
        error=error[:2000],
        lane=Least(F("lane"), Lane.RETRY) if hint.lane > Lane.RETRY else Lane.RETRY,
        not_before=timezone.now() + timedelta(seconds=max(backoff(failures - 1), after or 0)),
    )
