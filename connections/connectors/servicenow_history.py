"""Who changed which field when: sys_audit, which holds every change of an audited table's fields as stored values.

sys_history_line would say it more comfortably, but ServiceNow makes it only when somebody looks at the record.
Facts: ServiceNow Docs, "Viewing Sys Audit and Audit Relationship Change tables": references are ids, times UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connections.connectors import servicenow_people as people
from connections.connectors import servicenow_query as query
from connections.connectors.base import Change, ConnectorError, Gone, NotAllowed, Record
from connections.connectors.servicenow_fields import Column, Shape, moment, normal, plain, same_stored
from connections.connectors.servicenow_instance import Instance, since_text
from connections.connectors.servicenow_listing import (
    PAGE_ROWS,
    Listing,
    Part,
    PartAnswer,
    list_params,
    part_rows,
    table_path,
)

TABLE = "sys_audit"
# Changes of a field looked through for ours, which is the last but for edits in the very moment.
LATEST = 3
# Nobody tells how much of a longer text the audit keeps; cut, it would look like another value.
LONGEST_BEFORE = 1000
COLUMNS = (
    *("sys_id", "documentkey", "fieldname", "oldvalue", "newvalue", "user", "sys_created_on", "record_checkpoint"),
)


def of_records(
    instance: Instance, table: str, ids: Sequence[str], fields: Sequence[str], since: str
) -> dict[str, list[Change]]:
    """Oldest first. Empty where the instance keeps no history of the table or our account may not read it."""
    shape = instance.shape(table)
    paths = [path for path in dict.fromkeys(fields) if path in shape.columns]
    rows: list[Mapping[str, Any]] = []
    for chunk in query.chunks([i for i in dict.fromkeys(ids) if query.is_id(i)]):
        if not paths:
            break
        group = f"{query.one_of('documentkey', chunk)}^{query.one_of('fieldname', paths)}"
        listing = Listing(TABLE, [group], COLUMNS, stamp="sys_created_on", since=since_text(since), size=PAGE_ROWS)
        try:
            while not listing.last:
                rows += [row for row in listing.read(instance).rows if plain(row.get("documentkey")) in chunk]
        except (NotAllowed, Gone):
            return {}
    return _changes(instance, shape, [row for row in rows if plain(row.get("fieldname")) in paths])


def part(ids: Sequence[str], paths: Sequence[str]) -> Part:
    """The question what writes of these records, right before in the same batch, replaced."""
    wanted = f"{query.one_of('documentkey', ids)}^{query.one_of('fieldname', paths)}^ORDERBYDESCsys_created_on"
    limit = min(LATEST * len(ids) * len(paths), PAGE_ROWS)
    return Part("GET", table_path(TABLE), list_params(wanted, COLUMNS, limit))


def replaced(
    instance: Instance, shape: Shape, record: Record, sent: Mapping[str, str], told: PartAnswer | None
) -> dict[str, Any]:
    """What the sent fields held right before the write that made this version of the record, as far as it is told.

    An audit row names the count of the update it belongs to, so it is our write's and no other's.
    """
    count = record.version.partition(" ")[0]
    try:
        rows = [row for row in part_rows(told, ids=True).rows if _of_write(row, record.external_id, count, sent, shape)]
        people_told = _people(instance, shape, rows)
    except ConnectorError:
        return {}  # the write is done, and the account may not read the audit
    befores = {plain(row["fieldname"]): plain(row.get("oldvalue")) for row in rows}
    return {
        path: _value(shape.columns[path], raw, people_told)
        for path, raw in befores.items()
        if len(raw) <= LONGEST_BEFORE
    }


def changed(shape: Shape, record: Record, sent: Mapping[str, str], told: PartAnswer | None) -> set[str]:
    """The sent fields that our write changed, whatever they became, where it made this version of the record; empty
    where it did not, or nobody tells."""
    count = record.version.partition(" ")[0]
    try:
        rows = part_rows(told, ids=True).rows
    except ConnectorError:
        return set()
    if not any(_of_write(row, record.external_id, count, sent, shape) for row in rows):
        return set()
    return {plain(row.get("fieldname")) for row in rows if _of_version(row, record.external_id, count, sent)}


def _of_version(row: Mapping[str, Any], id: str, count: str, sent: Mapping[str, str]) -> bool:
    of_record = plain(row.get("documentkey")) == id and plain(row.get("record_checkpoint")) == count
    return of_record and plain(row.get("fieldname")) in sent


def _of_write(row: Mapping[str, Any], id: str, count: str, sent: Mapping[str, str], shape: Shape) -> bool:
    whole = "oldvalue" in row and "newvalue" in row  # a hidden one is not an empty one
    if not (whole and _of_version(row, id, count, sent)):
        return False
    path = plain(row["fieldname"])
    return same_stored(shape.columns[path], sent[path], plain(row["newvalue"]))


def _changes(instance: Instance, shape: Shape, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Change]]:
    if not rows:
        return {}
    accounts = people.names(instance, {plain(row.get("user")) for row in rows})
    told = _people(instance, shape, rows)
    found: dict[str, list[Change]] = {}
    for row in sorted(rows, key=_order):
        path, at = plain(row["fieldname"]), moment(row.get("sys_created_on"))
        column, by = shape.columns[path], plain(row.get("user"))
        if at is None:
            continue
        change = Change(
            field=path,
            at=at,
            by=by or None,
            by_name=accounts.get(by) or by or None,
            before=_value(column, plain(row.get("oldvalue")), told),
            after=_value(column, plain(row.get("newvalue")), told),
        )
        found.setdefault(plain(row["documentkey"]), []).append(change)
    return found


def _order(row: Mapping[str, Any]) -> tuple[str, int]:
    count = plain(row.get("record_checkpoint"))
    return plain(row.get("sys_created_on")), int(count) if count.isdecimal() else 0


def _value(column: Column, raw: str, told: Mapping[str, str]) -> Any:
    if column.shown.kind == "person":
        return told.get(raw, f"id:{raw}") if raw else None
    try:
        return normal(column, raw)
    except ValueError:
        return raw


def _people(instance: Instance, shape: Shape, rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    by_table: dict[str, set[str]] = {}
    for row in rows:
        column = shape.columns[plain(row["fieldname"])]
        if column.shown.kind == "person":
            wanted = by_table.setdefault(column.reference, set())
            wanted |= {raw for raw in (plain(row.get("oldvalue")), plain(row.get("newvalue"))) if raw}
    return {id: value for table, ids in by_table.items() for id, value in people.values(instance, table, ids).items()}
