"""Lists by the time of the last change, whatever changes meanwhile, and the poll that costs nothing.

A list goes on from the time of its last row, not at an offset, so that nothing is skipped when rows move. The ETag of
a list lies in the watermark itself: whoever has the watermark has taken over what the list held, so that an answer of
304 to the same question says that there is nothing new. GitHub does not count such answers.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from connections.connectors.base import Page, Record, Retry
from connections.connectors.github_site import MOVED, NOT_MODIFIED, PAGE_ROWS, Site, next_page, rows_in
from connections.connectors.github_values import stamp
from connections.connectors.http import Answer

# Two questions are asked in turn: what changed of late, and with a long look back.
KEPT_TAGS = 2
LONGEST_TAG = 72  # `W/"` and 64 digits; the watermark has room for 300 signs
# Rows read again where a page begins in the middle of one moment: what left it pulls others forward.
SHARED_ROWS = 5
SMALLEST_WINDOW = 50
TRIES = 3

_TAG = re.compile(r'(?:W/)?"[!#-~]+"')


@dataclass(frozen=True, slots=True)
class Mark:
    """A watermark. at: where to read from. origin: the position it was moved from. tags: {question: ETag}."""

    at: str
    origin: str
    tags: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        moved = f">{self.origin}" if self.origin != self.at else ""
        return " ".join([self.at + moved, *(f"{question}={tag}" for question, tag in self.tags.items())])


def parse(watermark: str) -> Mark:
    """Raises Retry for what is none of ours."""
    place, *told = watermark.split(" ")
    at, _, origin = place.partition(">")
    if not stamp(at):
        raise Retry(f"“{watermark[:40]}” is no position in GitHub's lists. Nothing was read.")
    return Mark(at, origin or at, {q: tag for q, _, tag in (one.partition("=") for one in told) if tag})


def shift(watermark: str, seconds: float) -> str:
    mark = parse(watermark)
    return str(Mark(_moved(mark.at, -seconds), mark.origin, mark.tags))


def _moved(at: str, seconds: float) -> str:
    moved = datetime.fromisoformat(at) + timedelta(seconds=seconds)
    return moved.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def changes(
    site: Site,
    repository: str,
    parts: Sequence[str],
    params: Mapping[str, str],
    watermark: str | None,
    record: Callable[[Mapping[str, Any]], Record | None],
) -> Iterator[Page]:
    """Pages of what changed since then, oldest first. record: None for what is not meant (pull requests)."""
    mark = parse(watermark) if watermark else None
    # Nobody promises whether `since` includes the moment itself: a second earlier does in any case.
    listing = _Listing(site, repository, parts, params, _moved(mark.at, -1) if mark else None)
    question = listing.question()
    answer = listing.ask(mark.tags.get(question, "") if mark else "")
    started = _started(answer)
    if mark and answer.status == NOT_MODIFIED:
        yield Page([], str(Mark(mark.origin, mark.origin, mark.tags)), server_time=started, last=True)
        return
    tag, single, reached = answer.headers.get("ETag", ""), True, mark.origin if mark else ""
    while True:
        rows = listing.take(answer)
        reached = max([reached, *(at for row in rows if (at := stamp(row.get("updated_at"))))])
        single = single and listing.last and len(rows) < PAGE_ROWS  # ⚑ behind a full page another one may follow
        if listing.last:
            position = reached or started or ""
            kept = dict(mark.tags) if mark and mark.origin == position else {}
            if single and len(tag) <= LONGEST_TAG and _TAG.fullmatch(tag):
                kept = dict([*((q, t) for q, t in kept.items() if q != question), (question, tag)][-KEPT_TAGS:])
            else:
                kept.pop(question, None)
            end = str(Mark(position, position, kept)) if position else watermark
        else:
            end = reached or watermark
        records = [one for row in rows if (one := record(row)) is not None]
        yield Page(records, end, server_time=started, last=listing.last)
        if listing.last:
            return
        answer = listing.ask()


def _started(answer: Answer) -> str | None:
    """A moment on GitHub's clock at which the request had not yet been sent."""
    if not answer.date:
        return None
    return (answer.date - timedelta(seconds=answer.elapsed)).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Listing:
    def __init__(
        self, site: Site, repository: str, parts: Sequence[str], params: Mapping[str, str], since: str | None
    ) -> None:
        self.site, self.repository, self.parts, self.params = site, repository, parts, params
        self.since = since
        self.size, self.page = PAGE_ROWS, 1
        self.last = False
        self._seen: dict[Any, str] = {}  # {id: time of its last change} of rows that may be shown again
        self._tries = 0

    def query(self) -> dict[str, str]:
        query = {**self.params, "sort": "updated", "direction": "asc", "per_page": str(self.size)}
        if self.since:
            query["since"] = self.since
        return query | ({"page": str(self.page)} if self.page > 1 else {})

    def question(self) -> str:
        """What the first call asks, short: an ETag answers one question alone."""
        asked = f"{self.repository}/{'/'.join(self.parts)}?{urlencode(self.query())}"
        return f"{zlib.crc32(asked.encode()):08x}"

    def ask(self, tag: str = "") -> Answer:
        answer = self.site.call("GET", self.site.path(self.repository, *self.parts), params=self.query(), tag=tag)
        if answer.status in MOVED and self.site.renamed(self.repository):
            answer = self.site.call("GET", self.site.path(self.repository, *self.parts), params=self.query())
        if answer.status in MOVED:
            raise self.site.moved("")
        return answer

    def take(self, answer: Answer) -> list[Mapping[str, Any]]:
        """The rows that were not shown before; notes where the next page begins. Raises Retry where it does not."""
        rows = rows_in(answer)
        stamps = [at for row in rows if (at := stamp(row.get("updated_at")))]
        if stamps != sorted(stamps):
            raise Retry("GitHub's list is not in the order we asked for. Nothing was taken over. We read again.")
        fresh = [row for row in rows if self._seen.get(row.get("id")) != str(row.get("updated_at"))]
        if self.page > 1 and rows and rows[0] in fresh:
            # So many rows left the moment that our page begins behind what we have seen: once more from its start.
            self._again()
            self.size, self.page = PAGE_ROWS, 1
            return []
        self.last = not next_page(answer)
        if self.last:
            return fresh
        if not fresh and not rows:
            raise Retry("GitHub's list has no end: it goes on with empty pages. Nothing was taken over.")
        behind = (self.page - 1) * self.size + len(rows)
        onwards = _moved(stamps[-1], -1) if stamps else None
        self._seen |= {row.get("id"): str(row.get("updated_at")) for row in rows}
        if not fresh:
            self._again()
        if onwards and (self.since is None or onwards > self.since):
            self.since = onwards
            # What of the list since then was shown already: it is its beginning.
            self._seen = {id: at for id, at in self._seen.items() if (stamp(at) or "") >= onwards}
            behind, self._tries = len(self._seen), 0
        self.size, self.page = window(behind)
        return fresh

    def _again(self) -> None:
        """Some pages may hold nothing new, where we began once more; a list without end never does."""
        self._tries += 1
        if self._tries > TRIES + len(self._seen) // SMALLEST_WINDOW:
            raise Retry(
                "GitHub's list does not go on: it shows again what it has shown. Nothing was taken over. We read again."
            )


def window(read: int) -> tuple[int, int]:
    """(rows a page, page) of the page that reaches furthest beyond `read` rows and begins with rows among them."""
    if read <= SHARED_ROWS:
        return PAGE_ROWS, 1
    sizes = range(SMALLEST_WINDOW, PAGE_ROWS + 1)
    size = max(sizes, key=lambda size: (read - SHARED_ROWS) // size * size + size)
    return size, (read - SHARED_ROWS) // size + 1
