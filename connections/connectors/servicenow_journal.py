"""Comments and work notes, as records with a parent: entries of a task's journals, which are written and never changed.

An entry is made by writing the journal's column of its task, and read from sys_journal_field. It can carry no key.
Customers see comments, and nobody but the staff sees work notes: each journal is an object type of its own, so that no
mapping can take one for the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connections.connectors import servicenow_query as query
from connections.connectors.base import (
    ConnectorError,
    Field,
    Gone,
    Page,
    Record,
    Refused,
    Retry,
    Uncertain,
    Values,
    WriteResult,
)
from connections.connectors.servicenow_fields import UNREADABLE, moment, plain
from connections.connectors.servicenow_instance import Instance, checked_id, since_text
from connections.connectors.servicenow_listing import PAGE_ROWS, Listing, all_rows, before, by_parent, table_path
from connections.connectors.servicenow_listing import ids as ids_of

TABLE = "sys_journal_field"
COLUMNS = ("sys_id", "name", "element", "element_id", "value", "sys_created_on", "sys_created_by")
FIELDS = (
    Field("body", "Text", "text", required=True),
    Field("author", "Author", "text", writable=False, creatable=False),
    Field("created", "Created", "datetime", writable=False, creatable=False),
)
TITLE_LENGTH = 80
HIDDEN_WAIT = 60.0  # somebody has to give us the right
# Entries looked at to find the one just made: more than one second can hold.
JUST_MADE = 20
FIXED = "ServiceNow's journal entries cannot be changed. Nothing was written. Let the rule be one-way, for new entries."


def record(row: Mapping[str, Any], fields: Sequence[str]) -> Record:
    """Raises KeyError for a row without its parts: it was hidden, or is none."""
    at, by = moment(row["sys_created_on"]), plain(row["sys_created_by"]) or None
    text = plain(row["value"]).replace("\r\n", "\n").replace("\r", "\n")
    values = {"body": text or None, "author": by, "created": at}
    return Record(
        external_id=str(row["sys_id"]),
        version=at or UNREADABLE,
        values={path: values[path] for path in fields if path in values},
        updated_at=at,
        updated_by=by,
        updated_by_name=by,
        created_at=at,
        created_by=by,
        title=text.replace("\n", " ")[:TITLE_LENGTH] or None,
        parent_id=plain(row["element_id"]) or None,
        unreadable=frozenset(path for path in fields if path not in values),
    )


def records(rows: Sequence[Mapping[str, Any]], table: str, element: str, fields: Sequence[str]) -> list[Record]:
    """The entries of one journal among the rows of an answer, whatever else came with them."""
    found = []
    for row in rows:
        try:
            if plain(row["element"]) == element and plain(row["name"]) in (table, "task"):
                found.append(record(row, fields))
        except KeyError:
            raise Retry(
                "ServiceNow hides parts of its journal entries from our account. Nothing was taken over. Give it read "
                f"access to {TABLE}.",
                after=HIDDEN_WAIT,
            ) from None
    return found


def read(instance: Instance, table: str, element: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for chunk in query.chunks([i for i in dict.fromkeys(ids) if query.is_id(i)]):
        rows = instance.some(TABLE, query.one_of("sys_id", chunk), COLUMNS, len(chunk))
        found |= {one.external_id: one for one in records(rows, table, element, fields) if one.external_id in chunk}
    return found


def of_parents(
    instance: Instance, table: str, element: str, parents: Sequence[str], fields: Sequence[str]
) -> dict[str, list[Record]]:
    """Entries by task, oldest first."""
    return by_parent(
        parents,
        lambda some: _listed(
            instance, table, element, [f"{query.one_of('element_id', some)}^element={element}"], fields
        ),
    )


def changes(
    instance: Instance, table: str, element: str, watermark: str | None, fields: Sequence[str]
) -> Iterator[Page]:
    """Entries made since then, of all tasks of the table: they never change."""
    instance.prove_clock(table)
    listing = Listing(
        TABLE, [_of(table, element)], COLUMNS, stamp="sys_created_on", since=since_text(watermark), size=PAGE_ROWS
    )
    reached, started = watermark, None
    while not listing.last:
        rows = listing.read(instance)
        started = started or moment(rows.started or "")
        entries = records(rows.rows, table, element, fields)
        stamps = [one.version for one in entries if one.updated_at and (started is None or one.updated_at <= started)]
        reached = max([reached or "", *stamps]) or started
        if listing.last and started:
            reached = max(reached or "", started)
        yield Page(entries, reached, server_time=started, last=listing.last)


def ids(instance: Instance, table: str, element: str) -> Iterator[list[str]]:
    return ids_of(instance, TABLE, [_of(table, element)], PAGE_ROWS)


def create(instance: Instance, table: str, element: str, values: Values, parent_id: str | None) -> WriteResult:
    others = sorted(set(values) - {"body"})
    if others:
        raise Refused("Only the text of an entry can be written.", dict.fromkeys(others, "It is read-only."))
    text = str(values.get("body") or "")
    if not text.strip():
        raise Refused("An entry cannot be empty. Nothing was written.", {"body": "It cannot be empty."})
    if not parent_id:
        raise Refused("An entry needs its task. Nothing was written. Link the task first.")
    params = {"sysparm_fields": "sys_id", "sysparm_display_value": "false"}
    path = table_path(table, checked_id(parent_id))
    me = instance.me()["user_name"]
    answer = instance.call("PATCH", path, params=params, json={element: text}, write=True, sent=["body"])
    # It is made; which one it is has to be looked up, and a look-up that fails must not look as if nothing was made.
    wanted = f"element_id={parent_id}^element={element}^sys_created_by={me}^ORDERBYDESCsys_created_on"
    try:
        rows = instance.some(TABLE, wanted, COLUMNS, JUST_MADE)
        made = [one for one in records(rows, table, element, ("body", "author", "created")) if one.created_by == me]
    except ConnectorError:
        made = []
    earliest = (before(answer) or "").replace(" ", "T")
    new = [one for one in made if one.parent_id == parent_id and (one.created_at or "")[:19] >= earliest[:19]]
    # ⚑ A rule of the instance may have changed the text: our only new entry is it, or it would be made again and again.
    fitting = [one for one in new if str(one.values["body"] or "").strip() == text.strip()] or new
    if len(fitting) == 1:
        return WriteResult(fitting[0], created=True)
    # Stamps count seconds: of two such entries within one nobody can say which is which.
    shown = "shows several of the same second" if fitting else "did not show it"
    raise Uncertain(f"ServiceNow took the entry and then {shown}. We look for it before anything is sent again.")


def own_recent(instance: Instance, table: str, element: str, since: str, fields: Sequence[str]) -> list[Record]:
    instance.prove_clock(table)
    me = instance.me()["user_name"]
    groups = [f"{_of(table, element)}^sys_created_by={me}"]
    listing = Listing(TABLE, groups, COLUMNS, stamp="sys_created_on", since=since_text(since), size=PAGE_ROWS)
    found = records(all_rows(instance, listing), table, element, fields)
    return [one for one in found if one.created_by == me]


def fixed() -> Refused:
    return Refused(FIXED, {"body": FIXED})


def missing(instance: Instance, table: str, element: str, external_id: str) -> ConnectorError:
    """Why an entry cannot be changed: it is not there, or entries never can be."""
    if read(instance, table, element, [checked_id(external_id)], ()):
        return fixed()
    return Gone("ServiceNow shows no such entry. Nothing was changed. It was deleted, or is hidden.", certain=False)


def _of(table: str, element: str) -> str:
    return f"name={table}^element={element}"


def _listed(
    instance: Instance, table: str, element: str, groups: Sequence[str], fields: Sequence[str]
) -> Iterator[Record]:
    listing = Listing(TABLE, groups, COLUMNS, stamp="sys_created_on", since=None, size=PAGE_ROWS)
    while not listing.last:
        yield from records(listing.read(instance).rows, table, element, fields)
