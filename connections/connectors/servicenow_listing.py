"""Lists of a table's rows: what is asked for, what counts as an answer, and where the next page begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from connections.connectors import servicenow_errors as errors
from connections.connectors import servicenow_query as query
from connections.connectors.base import ConnectorError, NotAllowed, Record, Retry, Uncertain
from connections.connectors.http import Answer
from connections.connectors.servicenow_fields import has_id, plain

if TYPE_CHECKING:
    from connections.connectors.servicenow_instance import Instance

# Rows per answer of a listing: an incident with 20 columns has 1 KB, and a page must not hold up live edits.
PAGE_ROWS = 500
# Ids alone are 60 bytes each.
IDS_PAGE = 5000
UNKNOWN_FORM = "ServiceNow answered in a form we do not know."


@dataclass(frozen=True, slots=True)
class Part:
    """One request of a batch."""

    method: str
    path: str
    params: Mapping[str, str]
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class PartAnswer:
    status: int
    json: Any
    headers: Mapping[str, str]  # lower-case names


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one answer. total: how many fit the query, also those hidden from us; None if it does not say."""

    rows: list[dict[str, Any]]
    total: int | None
    started: str | None  # a moment on ServiceNow's clock at which the request had not yet been sent


class Listing:
    """Rows of a table in the order of a time and their ids, page by page, whatever changes meanwhile.

    Pages go on after the last row, not at an offset, so that nothing is skipped when rows move. ServiceNow takes rows
    out of an answer that our account may not read: a short page is not the last one, the total tells.
    """

    def __init__(
        self, table: str, groups: Sequence[str], columns: Sequence[str], *, stamp: str, since: str | None, size: int
    ) -> None:
        """stamp: the column of the time, "" for the ids alone. since: UTC, inclusive, as ServiceNow writes it."""
        self.table, self.groups, self.columns, self.stamp, self.size = table, groups, columns, stamp, size
        self.offset = 0
        self.last = False
        self.shown = 0
        self.hidden = False  # whether rows were left out of an answer
        self._after: tuple[str, str] | None = None
        self._since = since
        self._started: str | None = None

    def part(self) -> Part:
        return Part("GET", table_path(self.table), list_params(self._query(), self.columns, self.size, self.offset))

    def read(self, instance: Instance) -> Rows:
        part = self.part()
        try:
            answer = instance.call("GET", part.path, params=part.params)
        except Retry as error:
            if self.size == 1 or not errors.too_large(error):
                raise
            self.size = max(1, self.size // 10)  # huge records: the rest of the listing goes in smaller pages
            return self.read(instance)
        return self.take(rows_in(answer.json, answer.headers, before(answer), ids=True))

    def take(self, found: Rows) -> Rows:
        """Note where the next page begins. Raises Retry where the list does not go on."""
        self._started = self._started or found.started
        self.shown += len(found.rows)
        keys = [self._key(row) for row in found.rows]
        if self._after and any(key[1] and key <= self._after for key in keys):
            raise Retry(
                "ServiceNow's list does not go on: it shows rows again that it has shown. Nothing was taken over from "
                "this page. We read again."
            )
        # A row that changed while we read stands in its old place with its new time: that is no place to go on from.
        steady = [key for key in keys if key[1] and not (self.stamp and self._started and key[0] >= self._started)]
        if steady != sorted(steady):
            raise Retry("ServiceNow's list is not in the order we asked for. Nothing was taken over. We read again.")
        left = None if found.total is None else found.total - self.offset
        self.hidden = self.hidden or (left is not None and len(found.rows) < min(self.size, left))
        self.last = not found.rows if left is None else left <= self.size
        if steady:
            self._after, self.offset = steady[-1], 0
        else:
            # Nothing to go on from: a window of hidden rows, or all of it changed just now. Rows that leave a window
            # pull others into it, hence the overlap.
            self.offset += self.size - self.size // 10
        return found

    def _key(self, row: Mapping[str, Any]) -> tuple[str, str]:
        at = plain(row.get(self.stamp)) if self.stamp else ""
        return (at, str(row["sys_id"]) if at or not self.stamp else "")

    def _query(self) -> str:
        stamp, order = self.stamp, [self.stamp, "sys_id"] if self.stamp else ["sys_id"]
        if self._after is None:
            return query.combine(self.groups, f"{stamp}>={self._since}" if stamp and self._since else "", order=order)
        at, id = self._after
        if not stamp:
            return query.combine(self.groups, f"sys_id>{id}", order=order)
        return query.combine(self.groups, f"{stamp}>{at}", f"{stamp}={at}^sys_id>{id}", order=order)


def all_rows(instance: Instance, listing: Listing, ours: bool = True) -> list[dict[str, Any]]:
    """The rows of a whole listing. ours: raise NotAllowed where some are hidden from us. ⚑ Taken for missing, what we
    made would be made again."""
    rows: list[dict[str, Any]] = []
    while not listing.last:
        rows += listing.read(instance).rows
    if ours and listing.hidden:
        raise NotAllowed(
            f"ServiceNow hides records of ours in {listing.table} from our account: whether one was made cannot be "
            "told. Nothing was written. Give our account read access to all records of this table."
        )
    return rows


def ids(instance: Instance, table: str, groups: Sequence[str], size: int) -> Iterator[list[str]]:
    """The ids of all rows of these groups, a page after the other."""
    listing = Listing(table, groups, ("sys_id",), stamp="", since=None, size=size)
    while not listing.last:
        yield [str(row["sys_id"]) for row in listing.read(instance).rows]


def by_parent(parents: Sequence[str], of_some: Callable[[Sequence[str]], Iterable[Record]]) -> dict[str, list[Record]]:
    """Records by their task, in the order of `of_some`, which reads those of as many tasks as one query can name."""
    found: dict[str, list[Record]] = {parent: [] for parent in parents}
    for chunk in query.chunks([i for i in dict.fromkeys(parents) if query.is_id(i)]):
        for one in of_some(chunk):
            if one.parent_id in found:
                found[one.parent_id].append(one)
    return found


def table_path(table: str, *parts: str) -> str:
    return "/".join(["/api/now/table", query.name(table), *(quote(part, safe="") for part in parts)])


def list_params(wanted: str, columns: Sequence[str], limit: int, offset: int = 0) -> dict[str, str]:
    return {
        "sysparm_query": wanted,
        "sysparm_fields": ",".join(columns),
        "sysparm_display_value": "false",
        "sysparm_exclude_reference_link": "true",
        "sysparm_limit": str(limit),
        **({"sysparm_offset": str(offset)} if offset else {}),
    }


def rows_in(body: Any, headers: Mapping[str, str], started: str | None, ids: bool) -> Rows:
    """What is no listing is no answer, and not "there are none". Raises Retry."""
    rows = body.get("result") if isinstance(body, Mapping) else None
    if not isinstance(rows, list) or not all(has_id(row) if ids else isinstance(row, Mapping) for row in rows):
        raise unknown(False)
    total = str(headers.get("X-Total-Count") or headers.get("x-total-count") or "")
    return Rows(rows, int(total) if total.isdecimal() else None, started)


def part_rows(answer: PartAnswer | None, ids: bool, started: str | None = None) -> Rows:
    """The rows of a part of a batch. Raises what its status asks for."""
    if answer is None:
        raise Retry("ServiceNow stopped before it had answered all of our question. Nothing is lost; we read again.")
    if answer.status != 200:
        raise errors.sub_error(answer.status, answer.json, answer.headers, write=False)
    failed = errors.inside_success(answer.json, write=False)
    if failed:
        raise failed
    return rows_in(answer.json, answer.headers, started, ids)


def unknown(write: bool) -> ConnectorError:
    if write:
        return Uncertain(f"{UNKNOWN_FORM} It may have taken our change or not; we look before anything is sent again.")
    return Retry(f"{UNKNOWN_FORM} Nothing was taken over. We read again.")


def before(answer: Answer) -> str | None:
    if not answer.date:
        return None
    return (answer.date - timedelta(seconds=answer.elapsed)).strftime("%Y-%m-%d %H:%M:%S")
