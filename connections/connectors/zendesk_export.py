"""The incremental export: every ticket that changed since a time, oldest change first, deleted ones too.

Facts: "Using the Incremental Export API": it goes by `generated_timestamp`, hides what changed within the last minute,
and takes ten calls a minute. So a position is never closer to now than that minute; live edits come by the webhook.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from connections.connectors import zendesk_errors as errors
from connections.connectors.base import RateLimited, Retry
from connections.connectors.http import Answer
from connections.connectors.zendesk_desk import Desk, before, looping, moving_on, rows_in
from connections.connectors.zendesk_errors import TOO_RECENT, ExportLimited

TICKETS = "incremental/tickets/cursor"
# What changed in the last minute is hidden; their clock and ours are read to the second.
HIDDEN_SECONDS = 60
TOO_RECENT_SECONDS = 90
# A list waits for its next call in steps: between two pages the caller handles live edits and keeps its lease.
STEP_SECONDS = 0.5
# Minutes without a single page: others use the account's limit up, and a worker should not wait for them.
MOST_WAITS = 3
# Records a page where the usual thousand are too large for one answer.
FEWER = 100


@dataclass(frozen=True, slots=True)
class Exported:
    """`started`: Zendesk's time before the list was read. `ordered`: by the time of the change."""

    rows: list[dict[str, Any]]
    started: str | None
    last: bool
    ordered: bool = True


def tickets(desk: Desk, since: str | None) -> Iterator[Exported]:
    """Pages of tickets changed at or after `since`, a normalised time; None: all."""
    return by_cursor(desk, TICKETS, "tickets", since)


def by_cursor(desk: Desk, path: str, key: str, since: str | None) -> Iterator[Exported]:
    """Pages of an export that goes on by a cursor.

    Where the export's own limit is reached, empty pages come until it goes on: a list that breaks off begins anew, and
    nothing but the list has to wait.
    """
    started: str | None = None
    size = 0
    asked = {"start_time": str(seconds_of(since) if since else 0)}
    seen: set[str] = set()
    shown: list[Any] | None = None
    waits = 0
    while True:
        try:
            answer = _page(desk, path, asked, size)
        except ExportLimited as limit:
            waits += 1
            yield from _waiting(limit, started, waits)
            continue
        except Retry as error:
            if size or "more than" not in error.message:
                raise
            size = FEWER  # huge tickets: the rest of the list goes in smaller pages
            continue
        waits = 0
        started = started or before(answer)
        rows = rows_in(answer.json, key)
        shown = moving_on(rows, shown)
        end, cursor = answer.json.get("end_of_stream"), answer.json.get("after_cursor")
        if not isinstance(end, bool):
            raise errors.unknown(False)
        yield Exported(rows, started, end)
        if end:
            return
        if not isinstance(cursor, str) or not cursor or cursor in seen:
            raise looping()
        seen.add(cursor)
        asked = {"cursor": cursor}


def by_time(desk: Desk, path: str, key: str, since: str | None) -> Iterator[Exported]:
    """Pages of an export that goes on at the time of its last record, which comes once more.

    It cannot go on within a second of which there are more records than a page holds. ⚑ Then all records there are come
    once, which the account's own list has by a cursor, and the export goes on behind that second.
    """
    started: str | None = None
    begin = seconds_of(since) if since else 0
    shown: list[Any] | None = None
    waits = 0
    skipped = False
    listed = 0  # all that changed before this moment was in a list of all there are
    while True:
        try:
            answer = _page(desk, path, {"start_time": str(begin)}, 0)
        except ExportLimited as limit:
            waits += 1
            yield from _waiting(limit, started, waits)
            continue
        waits = 0
        started = started or before(answer)
        rows = rows_in(answer.json, key)
        end, reached = answer.json.get("end_of_stream"), answer.json.get("end_time")
        if not isinstance(end, bool):
            raise errors.unknown(False)
        again, shown = [row["id"] for row in rows] == shown, [row["id"] for row in rows]
        if skipped and again:
            raise looping()
        yield Exported(rows, started, end)
        if end:
            return
        if not isinstance(reached, int) or reached < begin:
            raise looping()
        skipped = again or reached == begin
        if skipped and reached >= listed:
            asked_at = None
            for others, first in desk.pages(key, key):
                asked_at = asked_at or before(first)
                yield Exported(others, started, False, ordered=False)
            listed = seconds_of(asked_at) if asked_at else 0
        begin = reached + 1 if skipped else reached


def _waiting(limit: ExportLimited, started: str | None, waits: int) -> Iterator[Exported]:
    """Raises RateLimited where others use the limit up: the run ends, and the next one asks again."""
    if waits > MOST_WAITS:
        raise RateLimited(limit.message, after=limit.after)
    for _ in range(int(limit.after / STEP_SECONDS) + 1):
        yield Exported([], started, False)
        pause(STEP_SECONDS)


def _page(desk: Desk, path: str, asked: Mapping[str, str], size: int) -> Answer:
    more = {"per_page": str(size)} if size else {}
    answer = desk.call("GET", path, params={**asked, **more}, ok=(400,))
    if answer.status != 400:
        return answer
    code, text = errors.said_in(answer.json)
    if code != TOO_RECENT or not answer.date or "start_time" not in asked:
        raise Retry(f"Zendesk says: {text or code or 'status 400'}. Nothing was read; we try again.")
    # Nothing later than this is shown anyway.
    earlier = int(answer.date.timestamp()) - TOO_RECENT_SECONDS
    return desk.call("GET", path, params={"start_time": str(earlier), **more})


def changed_at(row: Mapping[str, Any]) -> str | None:
    """When a ticket last changed, by the clock that orders the export."""
    stamp = row.get("generated_timestamp")
    return text_of(stamp) if isinstance(stamp, int) and not isinstance(stamp, bool) and 0 <= stamp < 2**40 else None


def complete_until(started: str) -> str:
    """Everything up to here is in a list that was read to its end."""
    return text_of(seconds_of(started) - HIDDEN_SECONDS)


def shifted(watermark: str, seconds: float) -> str:
    return text_of((datetime.fromisoformat(watermark) - timedelta(seconds=seconds)).timestamp())


def seconds_of(moment: str) -> int:
    return max(0, int(datetime.fromisoformat(moment).timestamp()))


def text_of(seconds: float) -> str:
    return datetime.fromtimestamp(max(0, int(seconds)), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pause(seconds: float) -> None:
    time.sleep(seconds)
