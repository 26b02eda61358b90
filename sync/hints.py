"""The inbox: records that may have changed. Marked by bells and polls, consumed by runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Least
from django.utils import timezone

from sync import causes
from sync.models import ChangedRecord, Link, MappingState
from sync.rows import add_rows, save_rows

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
        add_rows(
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


def try_again(mapping_id: int, side: str, ids: Sequence[str]) -> None:
    """Look at these records now, behind live edits, also where a failed look made them wait: a person asks, or what
    they failed for is gone."""
    if not ids:
        return
    with transaction.atomic():
        mark(mapping_id, side, ids, Lane.RETRY)
        now = timezone.now()
        waiting = ChangedRecord.objects.filter(mapping_id=mapping_id, side=side, external_id__in=list(ids))
        waiting.filter(not_before__gt=now).update(not_before=now)


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


# A failure that is over by itself in a moment (a copy that lags behind, a restart) is listed from this one in a row.
LISTED_AFTER = 3


@dataclass(frozen=True, slots=True)
class Failed:
    """Hints of one record or pair that could not be decided, and why.

    `code`: not_planned, not_read, unreadable or older; see sync/remedies.py. `after`: seconds until the next try at
    least; `attempts`: how often it failed by now, where somebody else counts; `version`: of the record as it was read.
    """

    hints: Sequence[ChangedRecord]
    error: str
    code: str = "not_planned"
    after: float = 0
    attempts: int | None = None
    version: str = ""


def fail(hint: ChangedRecord, error: str, code: str = "not_planned") -> None:
    """Keep the hint with its error; the next try waits longer each time, and never stops."""
    fail_all([Failed([hint], error, code)])


def fail_all(failures: Sequence[Failed]) -> None:
    """Keep these hints with their errors, in a fixed number of statements.

    A pair is listed at one of its hints alone, and stays ignored while it fails for the same cause in the same version.
    """
    failed = [hint for one in failures for hint in one.hints]
    if not failed:
        return
    now = timezone.now()
    links = _links_of(failed)
    listed = {hint.link_id: hint for hint in ChangedRecord.objects.filter(link__in=set(links.values()))}
    given_way: list[int] = []
    named: set[int] = set()
    for one in failures:
        for hint in one.hints:
            pair = links.get((hint.side, hint.external_id))
            before = listed.get(pair) or hint
            hint.attempts = hint.attempts + 1 if one.attempts is None else one.attempts
            hint.error, hint.lane = one.error[:2000], Lane.RETRY
            hint.not_before = now + timedelta(seconds=max(backoff(hint.attempts - 1), one.after))
            told = (pair is None or pair not in named) and (hint.attempts >= LISTED_AFTER or one.code != "older")
            cause = causes.fingerprint(hint.mapping_id, causes.RECORD, hint.side, "", one.code, one.error)
            same = before.fingerprint == cause and before.failed_version == one.version
            hint.ignored_id = before.ignored_id if told and same else None
            hint.failing_since = (before.failing_since or now) if told else None
            hint.failed_at = now if told else None
            hint.fingerprint, hint.failed_code, hint.failed_version = (
                (cause, one.code, one.version) if told else ("", "", "")
            )
            hint.link_id = pair if told else None
            if told and pair is not None:
                named.add(pair)
                given_way += [before.pk] if before.pk != hint.pk else []
    with transaction.atomic():
        lock(failed[0].mapping_id)
        ChangedRecord.objects.filter(pk__in=given_way).update(**NOT_LISTED)
        save_rows(failed, FAILURE_FIELDS)


# What says that a hint is listed as a failure, when it is not.
NOT_LISTED: Mapping[str, Any] = {
    "fingerprint": "",
    "failing_since": None,
    "failed_at": None,
    "failed_code": "",
    "failed_version": "",
    "link": None,
    "ignored": None,
}
FAILURE_FIELDS = ["attempts", "error", "lane", "not_before", *NOT_LISTED]


def _links_of(failed: Sequence[ChangedRecord]) -> dict[tuple[str, str], int]:
    """{(side, external id): primary key of the record's link}"""
    these = Q(pk__in=())
    for side in ("left", "right"):
        these |= Q(**{f"{side}_id__in": [hint.external_id for hint in failed if hint.side == side]})
    found: dict[tuple[str, str], int] = {}
    rows = Link.objects.filter(these, mapping=failed[0].mapping_id).values_list("pk", "left_id", "right_id")
    for pk, left_id, right_id in rows:
        found |= {(side, id_): pk for side, id_ in (("left", left_id), ("right", right_id)) if id_}
    return found
