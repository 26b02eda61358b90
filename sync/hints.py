"""The inbox: records that may have changed. Marked by bells and polls, consumed by runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from sync import causes
from sync.models import ChangedRecord, Link
from sync.rows import add_rows, change_each, fetch, save_rows, select

Lane = ChangedRecord.Lane

# Live edits are looked at in small batches, so that the first one leaves at once.
LIVE_BATCH = 50
# The rest in batches that hold the lease for about this long, so that a live edit never waits longer: the size
# follows how quickly the systems answer, between a few records and what one bulk call takes.
BATCH_SECONDS = 1.0
BULK_BATCH = 20
SMALLEST_BATCH, LARGEST_BATCH = 4, 200
# Up to what one bulk call takes a smaller batch would cost as many calls, and each about the same time: calls are what
# systems count, so such a batch may take this long.
WHOLE_CALL_SECONDS = 3.0
LARGEST_LIVE_BATCH = 100


def next_batch(size: int, seconds: float, whole_call: int = 1) -> int:
    """The size of the next bulk batch after one of `size` took `seconds`. whole_call: see Session.whole_call."""
    each = max(seconds, 0.001) / size
    fitting = max(int(BATCH_SECONDS / each), min(whole_call, int(WHOLE_CALL_SECONDS / each)))
    return max(SMALLEST_BATCH, min(LARGEST_BATCH, fitting, max(2 * size, whole_call)))


def mark(
    mapping_id: int,
    side: str,
    ids: Iterable[str],
    lane: int = Lane.LIVE,
    *,
    deleted: bool = False,
    proofs: Mapping[str, Any] | None = None,
    not_before: datetime | None = None,
) -> None:
    """Say that these records may have changed; the counter of a waiting hint grows.

    `proofs`: {id: what a delivery told, see echo.py}; kept only for a record that was not hinted already.

    One statement: a hint that is consumed meanwhile is simply made anew. No ring is lost.
    """
    wanted = list(dict.fromkeys(ids))
    if not wanted:
        return
    when = not_before or timezone.now()
    rung = [
        ChangedRecord(
            mapping_id=mapping_id,
            side=side,
            external_id=external_id,
            lane=lane,
            deleted=deleted,
            proof=(proofs or {}).get(external_id),
            not_before=when,
        )
        for external_id in wanted
    ]
    with transaction.atomic():
        lock(mapping_id)
        add_rows(rung, RUNG_AGAIN)


# A hint that waits after a failure keeps waiting; any other is looked at when the newest ring asks for it.
RUNG_AGAIN = """(mapping_id, side, external_id) DO UPDATE SET
    counter = sync_changedrecord.counter + 1,
    lane = CASE WHEN excluded.lane < sync_changedrecord.lane THEN excluded.lane ELSE sync_changedrecord.lane END,
    not_before = CASE WHEN sync_changedrecord.attempts = 0 AND excluded.not_before < sync_changedrecord.not_before
        THEN excluded.not_before ELSE sync_changedrecord.not_before END,
    deleted = excluded.deleted OR sync_changedrecord.deleted,
    rung_at = excluded.rung_at,
    proof = NULL"""


def try_again(mapping_id: int, side: str, ids: Sequence[str], lane: int = Lane.RETRY) -> None:
    """Look at these records now, behind live edits, also where a failed look made them wait: a person asks, what they
    failed for is gone, or others wait for them."""
    if not ids:
        return
    with transaction.atomic():
        mark(mapping_id, side, ids, lane)
        now = timezone.now()
        waiting = ChangedRecord.objects.filter(mapping_id=mapping_id, side=side, external_id__in=list(ids))
        waiting.filter(not_before__gt=now).update(not_before=now)


def lock(mapping_id: int) -> None:
    """Take the mapping's row before its hints, conflicts and links, as every commit of a run does (Lease.renew).

    One order for everybody: without it PostgreSQL finds bells and runs in a deadlock. Inside a transaction only.
    """
    if connection.features.has_select_for_update:  # else a transaction that writes holds the whole database
        select("SELECT id FROM sync_mappingstate WHERE mapping_id = %s FOR UPDATE", mapping_id)


DUE = "mapping_id = %s AND not_before <= %s"


def due(mapping_id: int, bulk: int = BULK_BATCH, live_batch: int = LIVE_BATCH) -> list[ChangedRecord]:
    """The next hints to look at: live ones alone while there are any, so that they never wait for a backfill; else
    `bulk` of the others."""
    values, order = (mapping_id, timezone.now()), "not_before, id LIMIT %s"
    live = fetch(ChangedRecord, f"{DUE} AND lane = %s ORDER BY {order}", *values, Lane.LIVE, live_batch)
    return live or fetch(ChangedRecord, f"{DUE} ORDER BY lane, {order}", *values, bulk)


def of_counterparts(mapping_id: int, ids: Mapping[str, Sequence[str]]) -> list[ChangedRecord]:
    """Waiting hints of these records ({side: ids}): their links are read anyway, so they are looked at together."""
    if not any(ids.values()):
        return []
    these = "(side = 'left' AND external_id IN %s OR side = 'right' AND external_id IN %s)"
    values = (mapping_id, timezone.now(), list(ids.get("left", ())), list(ids.get("right", ())))
    return fetch(ChangedRecord, f"{DUE} AND {these}", *values)


def forget_error(mapping_id: int, error: str, ids: Mapping[str, Sequence[str]]) -> None:
    """What these records ({side: ids}) waited for with this error is over: they wait like any that never failed."""
    if not any(ids.values()):
        return
    these = "(side = 'left' AND external_id IN %s OR side = 'right' AND external_id IN %s)"
    values = (mapping_id, error, list(ids.get("left", ())), list(ids.get("right", ())))
    if found := fetch(ChangedRecord, f"mapping_id = %s AND error = %s AND {these}", *values, only=("id",)):
        with transaction.atomic():
            lock(mapping_id)
            waiting = ChangedRecord.objects.filter(pk__in=[hint.pk for hint in found], error=error)
            waiting.update(error="", attempts=0, **NOT_LISTED)


def of_link(link: Link) -> list[ChangedRecord]:
    """Every hint of the link's records, due or not."""
    these = Q(side="left", external_id=link.left_id or "") | Q(side="right", external_id=link.right_id or "")
    return list(ChangedRecord.objects.filter(these, mapping=link.mapping_id))


def told_deleted(mapping_id: int, side: str, external_id: str) -> bool:
    """Whether a hint that waits, due or not, tells that the record was deleted."""
    these = "mapping_id = %s AND side = %s AND external_id = %s AND deleted"
    return bool(fetch(ChangedRecord, these, mapping_id, side, external_id, only=("id",)))


def any_due(mapping_id: int) -> bool:
    return bool(fetch(ChangedRecord, f"{DUE} LIMIT 1", mapping_id, timezone.now(), only=("id",)))


def any_live(mapping_id: int) -> bool:
    live = f"{DUE} AND lane = %s LIMIT 1"
    return bool(fetch(ChangedRecord, live, mapping_id, timezone.now(), Lane.LIVE, only=("id",)))


def consume(hints: Sequence[ChangedRecord]) -> None:
    """⚑ Delete the hints whose counter is still the one read before the remote read; the others stay."""
    if hints:
        same = "DELETE FROM sync_changedrecord WHERE id = %s AND counter = %s"
        change_each(same, [(hint.pk, hint.counter) for hint in hints])


def deny_deletions(hints: Sequence[ChangedRecord]) -> None:
    """⚑ Their records were read and are there: what was told before that read is no word of a deletion any more."""
    told = [hint for hint in hints if hint.deleted]
    for hint in told:
        hint.deleted = False
    if told:
        with transaction.atomic():
            lock(told[0].mapping_id)
            same = "UPDATE sync_changedrecord SET deleted = %s WHERE id = %s AND counter = %s"
            change_each(same, [(False, hint.pk, hint.counter) for hint in told])


def postpone(hints: Sequence[ChangedRecord], seconds: float, lane: int | None = None) -> None:
    """Look again later; not a failure. `lane`: where they wait from now on."""
    if not hints:
        return
    when = timezone.now() + timedelta(seconds=seconds)
    with transaction.atomic():
        lock(hints[0].mapping_id)
        moved = {} if lane is None else {"lane": lane}
        ChangedRecord.objects.filter(pk__in=[hint.pk for hint in hints]).update(not_before=when, **moved)


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

    `code`: not_planned, not_read, unreadable, key_hidden or older; see sync/remedies.py. `after`: seconds until the
    next try at least; `attempts`: how often it failed by now, where somebody else counts; `version`: of the record as
    it was read.
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
