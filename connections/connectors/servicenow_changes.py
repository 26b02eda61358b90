"""What changed in a table, oldest first, and what was deleted: the delete log rides in the call of the first page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from connections.connectors import servicenow_query as query
from connections.connectors.base import NotAllowed, Page, Record, Values
from connections.connectors.servicenow_fields import Shape, moment, plain, read_list
from connections.connectors.servicenow_instance import Instance, since_text
from connections.connectors.servicenow_listing import PAGE_ROWS, Listing, Rows, part_rows

DELETED = "sys_audit_delete"
COLUMNS = ("sys_id", "documentkey", "tablename", "sys_created_on", "sys_created_by")


def since(
    instance: Instance, table: str, watermark: str | None, fields: Sequence[str], scope: Values, log: bool
) -> Iterator[Page]:
    """log: whether deletions are read from the delete log. Raises NotAllowed where that does not tell of all."""
    shape = instance.shape(table)
    log = log and not shape.extended
    if log and not shape.audited:
        raise _untold(shape)
    groups = instance.condition(table, scope)
    begin = since_text(watermark)
    columns = read_list(shape, fields)
    listing = Listing(table, groups, columns, stamp="sys_updated_on", since=begin, size=PAGE_ROWS)
    yield from pages(
        instance, shape, listing, watermark, log, lambda rows: [instance.record(shape, row, fields) for row in rows]
    )


def pages(
    instance: Instance,
    shape: Shape,
    listing: Listing,
    watermark: str | None,
    log: bool,
    records_of: Callable[[Sequence[Mapping[str, Any]]], list[Record]],
) -> Iterator[Page]:
    """The pages of a listing by sys_updated_on that begins at `watermark`, and the table's deletions since then."""
    instance.prove_clock(shape.name)
    begin = since_text(watermark)
    started, reached = None, watermark
    while not listing.last:
        gone: list[Record] = []
        if started is None and begin and log:
            rows, gone = _first(instance, shape, listing, begin)
        else:
            rows = listing.read(instance)
        started = started or moment(rows.started or "")
        records = records_of(rows.rows)
        # A record that changed while we read stands in its old place with its new time: that is no position yet.
        stamps = [r.updated_at for r in records if r.updated_at and (started is None or r.updated_at <= started)]
        reached = max([reached or "", *stamps]) or started
        if listing.last and started:
            # Everything up to the moment we asked is seen: idle polls need not list the last changes over and over.
            reached = max(reached or "", started)
        yield Page([*gone, *records], reached, server_time=started, last=listing.last)


def _first(instance: Instance, shape: Shape, listing: Listing, begin: str) -> tuple[Rows, list[Record]]:
    """The first page and the deletions since then, in one call."""
    of_table = [f"tablename={shape.name}"]
    log = Listing(DELETED, of_table, COLUMNS, stamp="sys_created_on", since=begin, size=PAGE_ROWS)
    answers, before = instance.batch([listing.part(), log.part()], write=False)
    if answers[0] is None:  # too large to come with the other: it has the whole of the next call
        rows = listing.read(instance)
    else:
        rows = listing.take(part_rows(answers[0], ids=True, started=before))
    try:
        deletions = log.take(part_rows(answers[1], ids=True, started=before)).rows
        while not log.last:
            deletions += log.read(instance).rows
    except NotAllowed:
        log.hidden = True
    if log.hidden:
        raise _untold(shape)
    return rows, [_gone(row) for row in deletions if query.is_id(plain(row.get("documentkey")))]


def _untold(shape: Shape) -> NotAllowed:
    return NotAllowed(
        f"ServiceNow's delete log does not tell us of all deleted records of {shape.label}. No changes were taken "
        f"over, or deletions would be missed. Give our account read access to {DELETED} and let the table be audited, "
        "or choose “a complete listing every hour” under Deletions in the connection."
    )


def _gone(row: Mapping[str, Any]) -> Record:
    at = moment(row.get("sys_created_on"))
    by = plain(row.get("sys_created_by")) or None
    return Record(
        external_id=plain(row["documentkey"]),
        version=f"deleted {at}",
        values={},
        updated_at=at,
        updated_by=by,
        updated_by_name=by,
        deleted=True,
    )
