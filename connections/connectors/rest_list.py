"""Lists of a described API, page by page, whatever way of paging it has.

⚑ Pages that are counted shift when a record moves: one that was edited leaves its place, and the next page begins one
record too late. So a list of changes, oldest first, goes on from the last time it saw and not from the next number.
Where a whole page has one time pages are counted, and a record that moved meanwhile makes that part be read again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urljoin

from requests.utils import parse_header_links

from connections.connectors.base import Record, Retry
from connections.connectors.http import Answer
from connections.connectors.rest_client import Client
from connections.connectors.rest_definition import ChangedSince, Listing, ObjectType, Paging
from connections.connectors.rest_paths import fill, fill_all, look, put
from connections.connectors.rest_records import Reader
from connections.connectors.rest_values import as_sent, normal, parsed

# Some hundred million records at 100 a page: whoever needs more pages gives the same ones again and again.
MOST_PAGES = 1_000_000
# How often a part of equal times is read again because records moved meanwhile.
MOST_REPEATS = 5
# Ids remembered of pages with one time; more records of one moment than this are a bulk import, which nobody edits yet.
MOST_REMEMBERED = 100_000
BEGINNING = "1970-01-01T00:00:00Z"


@dataclass(slots=True)
class Chunk:
    """One page as it came. `broken`: entries that are no records."""

    records: list[Record]
    raws: list[Any]
    broken: int
    date: datetime | None
    last: bool


@dataclass(slots=True)
class _Position:
    """Where a walk stands."""

    number: int
    cursor: str = ""
    url: str = ""
    seen: set[str] = field(default_factory=set)
    count: int = 0


class Lister:
    """The list of one object type."""

    def __init__(self, client: Client, object_type: ObjectType, reader: Reader) -> None:
        self.client = client
        self.type = object_type
        self.reader = reader
        self.listing: Listing = object_type.list or Listing()

    # One walk through the pages of one question. ------------------------------------------------------------------

    def pages(
        self, fields: Sequence[str], more: Mapping[str, str] | None = None, since: str | None = None, parent: str = ""
    ) -> Iterator[Chunk]:
        """more: further parameters. since: a normalised time, inclusive. Raises Retry where a list goes in circles."""
        paging = self.listing.paging
        at = _Position(paging.first if paging.style == "page" else 0)
        for _ in range(MOST_PAGES):
            answer = self._ask(at, dict(more or {}), since, parent)
            raws = look(self.listing.records, answer.json)
            if not isinstance(raws, list):
                raise self.client.unusable(f"a list of records at “{self.listing.records}”")
            records, kept, broken = self._read(raws, fields, parent)
            at.count += len(raws)
            last = not self._move_on(at, answer, raws)
            yield Chunk(records, kept, broken, answer.date, last)
            if last:
                return
        raise self._endless("it has no end")

    def _ask(self, at: _Position, more: dict[str, str], since: str | None, parent: str) -> Answer:
        listing, paging = self.listing, self.listing.paging
        if at.url:
            return self.client.call("GET", at.url, about="list", object_type=self.type)
        names: dict[str, Any] = {"parent": parent, "since": ""}
        params = {}
        if listing.changed:
            names["since"] = self._since(listing.changed, since)
            params = self.client.texts(listing.changed.parameters, **names)
            if listing.changed.parameter and (since or listing.changed.from_start):
                params[listing.changed.parameter] = fill(listing.changed.value, {**self.client.names, **names})
        params = {**self.client.texts(listing.parameters, **names), **params, **more}
        turned: dict[str, Any] = {}
        if paging.size_parameter:
            turned[paging.size_parameter] = paging.size
        if paging.style in ("page", "offset") or at.cursor:
            turned[paging.parameter] = at.cursor or at.number
        body = None
        if listing.method == "POST":
            body = fill_all(listing.body if listing.body is not None else {}, {**self.client.names, **names})
        if paging.in_body and isinstance(body, dict):
            for name, value in turned.items():
                put(body, name, value)
        else:
            params |= {name: str(value) for name, value in turned.items()}
        path = self.client.path(listing.path, parent=parent)
        return self.client.call(listing.method, path, about="list", params=params, json=body, object_type=self.type)

    def _since(self, changed: ChangedSince, since: str | None) -> str:
        if since is None and changed.from_start:
            return changed.from_start
        when = floored(parsed(since or BEGINNING), changed.granularity)
        if not changed.inclusive and since:
            when -= timedelta(seconds=changed.granularity)
        return str(as_sent(normal(when), changed.times or self.client.definition.times))

    def _read(self, raws: list[Any], fields: Sequence[str], parent: str) -> tuple[list[Record], list[Any], int]:
        """A broken entry does not stop the others; a page of nothing else is no page."""
        records, kept = [], []
        for raw in raws:
            try:
                records.append(self.reader.record(raw, fields, parent or None))
                kept.append(raw)
            except ValueError:
                continue
        broken = len(raws) - len(records)
        if broken and not records:
            raise self.client.unusable(
                f"records: none of the {broken} on a page has what “where a record has its id, version and times” says"
            )
        return records, kept, broken

    def _move_on(self, at: _Position, answer: Answer, raws: list[Any]) -> bool:
        """Go to the next page; False where there is none."""
        paging = self.listing.paging
        match paging.style:
            case "none":
                return False
            case "page" | "offset":
                if self._counted_out(paging, at, answer, raws):
                    return False
                # The same page again: the system does not know the parameter, or cuts it off.
                self._once(at, hashlib.sha256(json.dumps(raws, sort_keys=True).encode()).hexdigest())
                at.number += 1 if paging.style == "page" else len(raws)
                return True
            case "cursor":
                found = look(paging.cursor, answer.json)
                if found is None or isinstance(found, bool) or found == "":
                    return False
                if not isinstance(found, str | int):
                    raise self.client.unusable(f"a cursor at “{paging.cursor}”")
                at.cursor = str(found)
                self._once(at, at.cursor)
                return True
        if paging.style == "link_header":
            target = _linked(answer)
        else:
            target = answer.headers.get(paging.next_header) if paging.next_header else look(paging.next, answer.json)
        if not target:
            return False
        if not isinstance(target, str):
            raise self.client.unusable(f"the next address at “{paging.next}”")
        at.url = urljoin(answer.url, target)
        self._once(at, at.url)
        return True

    def _counted_out(self, paging: Paging, at: _Position, answer: Answer, raws: list[Any]) -> bool:
        if paging.more:
            return not look(paging.more, answer.json)
        total = look(paging.total, answer.json)
        if isinstance(total, str) and total.isdecimal():
            total = int(total)
        if isinstance(total, int) and not isinstance(total, bool):
            if not raws and at.count < total:
                raise Retry(
                    f"{self.client.definition.name} counts {total} records and gives {at.count}. The list is not "
                    "believed, and nothing was taken from it. Check the parameters of its paging if it stays so."
                )
            return at.count >= total
        return not raws or (paging.short_ends and len(raws) < paging.size)

    def _once(self, at: _Position, place: str) -> None:
        mark = hashlib.sha256(place.encode("utf-8", "surrogatepass")).hexdigest()
        if mark in at.seen:
            raise self._endless("it gives a page again that was read already")
        at.seen.add(mark)

    def _endless(self, why: str) -> Retry:
        return Retry(
            f"The list of {self.type.label or self.type.name} in {self.client.definition.name} goes in circles: {why}. "
            "Reading was stopped; nothing was taken for complete. Check its paging in the description of the API."
        )

    # Changes, oldest first. -------------------------------------------------------------------------------------

    def changes(self, fields: Sequence[str], more: Mapping[str, str], since: str | None) -> Iterator[Chunk]:
        """All changes at or after `since`; where the list is in their order, going on from times (see above)."""
        changed = self.listing.changed
        if not changed or not changed.oldest_first or self.listing.paging.style == "none":
            yield from self.pages(fields, more, since)
            return
        start, repeats, moved = since, 0, False
        deep: dict[str, str] = {}  # id → time, of pages that were counted
        fresh: dict[str, tuple[str, str]] = {}  # id → (time, version), of records that the next question may give again
        while True:
            for number, chunk in enumerate(self.pages(fields, more, start), 1):
                news = [pair for pair in zip(chunk.records, chunk.raws, strict=True) if not _known(fresh, pair[0])]
                moved = moved or any(deep.get(r.external_id, r.updated_at) != r.updated_at for r, _ in news)
                stamps = [record.updated_at for record in chunk.records if record.updated_at]
                self._believed(stamps, start if number == 1 else None)
                # An index that is late may show a time that is newer than the record's place in it.
                edge = min if self.listing.lag else max
                following = self._further(start, edge(stamps, key=order, default=None), number)
                self._remember(fresh, chunk.records, following or start)
                if self._counted and not following and not chunk.last and len(deep) < MOST_REMEMBERED:
                    deep |= {r.external_id: r.updated_at for r in chunk.records if r.updated_at}
                ends = chunk.last and not moved
                yield Chunk([r for r, _ in news], [raw for _, raw in news], chunk.broken, chunk.date, ends)
                if ends:
                    return
                if following and not chunk.last:
                    start = following
                    break
            else:
                repeats += 1
                if repeats > MOST_REPEATS:
                    raise self._endless("its records move faster than they can be read")
                start, moved, deep, fresh = min(deep.values(), key=order, default=since), False, {}, {}

    def _believed(self, stamps: Sequence[str], start: str | None) -> None:
        """⚑ Raise where a list is not as described: going on from its times would then leave records out unsaid.

        start: of the question whose first page this is.
        """
        changed = self.listing.changed
        assert changed
        if not self.listing.lag and list(stamps) != sorted(stamps, key=order):
            raise Retry(
                f"The list of {self.type.label or self.type.name} in {self.client.definition.name} is not in the order "
                "of its times, oldest first, as its description says. Reading was stopped; nothing was taken for "
                "complete. Correct the parameters of its order, or say that it has none."
            )
        slack = timedelta(seconds=2 * changed.granularity)
        bound = floored(parsed(start), changed.granularity) - slack if start else None
        if bound and stamps and parsed(max(stamps, key=order)) < bound:
            raise Retry(
                f"The list of {self.type.label or self.type.name} in {self.client.definition.name} gives records from "
                f"before the time that was asked for ({start}). Reading was stopped; nothing was taken for complete. "
                "Check the name and form of its “changed since”, and how fine its steps are."
            )

    @property
    def _counted(self) -> bool:
        """Whether a page is found by counting: by us, or behind a link. Cursors hold their place."""
        return self.listing.paging.style != "cursor"

    def _further(self, start: str | None, stamp: str | None, number: int) -> str | None:
        """The time from which to ask anew after page `number`; None: read the next page of this question."""
        changed, paging = self.listing.changed, self.listing.paging
        assert changed
        if stamp is None or (start and self._since(changed, stamp) == self._since(changed, start)):
            if paging.max_pages and number >= paging.max_pages:
                raise Retry(
                    f"More records of {self.client.definition.name} have one and the same time ({stamp}) than its list "
                    "gives. Reading was stopped; nothing was taken for complete."
                )
            return None
        return stamp if self._counted or (paging.max_pages and number >= paging.max_pages) else None

    def _remember(self, fresh: dict[str, tuple[str, str]], records: Sequence[Record], since: str | None) -> None:
        """Keep what a question from `since` on may give again."""
        changed = self.listing.changed
        assert changed
        bound = order(normal(floored(parsed(since), changed.granularity))) if since else ""
        for id in [id for id, (time, _) in fresh.items() if order(time) < bound]:
            del fresh[id]
        for record in records:
            if order(record.updated_at or "") >= bound:
                fresh[record.external_id] = (record.updated_at or "", record.version)


def floored(when: datetime, granularity: float) -> datetime:
    """The time at the beginning of its second, minute …; finer steps than a second stay."""
    if granularity < 1:
        return when
    seconds = (when - parsed(BEGINNING)) // timedelta(seconds=1)
    return parsed(BEGINNING) + timedelta(seconds=seconds - seconds % int(granularity))


def _known(fresh: Mapping[str, tuple[str, str]], record: Record) -> bool:
    return fresh.get(record.external_id) == (record.updated_at or "", record.version)


def order(moment: str) -> str:
    """What normalised times are compared by: with their Z, a whole second would come after its parts."""
    return moment.removesuffix("Z")


def _linked(answer: Answer) -> str | None:
    header = answer.headers.get("Link", "")
    for link in parse_header_links(header) if header else []:
        if link.get("rel") == "next":
            return str(link.get("url"))
    return None
