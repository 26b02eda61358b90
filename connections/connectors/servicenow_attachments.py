"""Attachments, as records with a parent: files of a task, which are added and deleted and never changed.

What is known of a file is read from sys_attachment, like the rows of any table; the file itself goes by the Attachment
API, one a call. It can carry no key.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connections.connectors import servicenow_changes as changes_of
from connections.connectors import servicenow_query as query
from connections.connectors.base import (
    Field,
    Gone,
    NotAllowed,
    Page,
    Record,
    Refused,
    Retry,
    Uncertain,
    Values,
    WriteResult,
)
from connections.connectors.servicenow_errors import not_json
from connections.connectors.servicenow_fields import UNREADABLE, moment, plain, version_in
from connections.connectors.servicenow_instance import Instance, checked_id, since_text
from connections.connectors.servicenow_listing import PAGE_ROWS, Listing, all_rows, by_parent
from connections.connectors.servicenow_listing import ids as ids_of

ELEMENT = "attachment"
LABEL = "Attachments"
TABLE = "sys_attachment"
API = "/api/now/v1/attachment"
COLUMNS = (
    *("sys_id", "table_name", "table_sys_id", "file_name", "content_type", "size_bytes", "sys_mod_count"),
    *("sys_created_on", "sys_created_by", "sys_updated_on", "sys_updated_by"),
)
# A value lies in the bases, the operation and the audit, as base64 a third larger: room for a screenshot or a log, not
# for what ServiceNow takes (1 GB).
LARGEST_CONTENT = 2_000_000
# So that what one call or page holds stays below the 32 MB that one answer may have.
FILES_AT_ONCE = 10
ANY_TYPE = "application/octet-stream"
HIDDEN_WAIT = 60.0  # somebody has to give us the right
FIXED = (
    "ServiceNow's attachments cannot be changed. Nothing was written. Let the rule be one-way, for new files; delete "
    "the old file at ServiceNow if it should go."
)
UNSEEN = "ServiceNow took the file and then did not show it. We look for it before anything is sent again."
FIELDS = (
    Field("file_name", "File name", "text", writable=False, required=True),
    Field("content_type", "Content type", "text", writable=False),
    Field("size_bytes", "Size in bytes", "number", writable=False, creatable=False),
    Field(
        "content",
        "Content (base64)",
        "text",
        writable=False,
        required=True,
        max_length=-(-LARGEST_CONTENT // 3) * 4,
    ),
    Field("author", "Author", "text", writable=False, creatable=False),
    Field("created", "Created", "datetime", writable=False, creatable=False),
)
_TYPE = re.compile(r"[!-~]+/[ -~]+")


def record(row: Mapping[str, Any], fields: Sequence[str], content: Mapping[str, Any]) -> Record:
    """content: the value of the field of that name, if it could be read. Raises KeyError for a row without its task."""
    version = version_in(plain(row.get("sys_mod_count")), plain(row.get("sys_updated_on")))
    known: dict[str, Any] = {**_described(row), **content} if version else {}
    by = plain(row.get("sys_updated_by")) or None
    values = {path: known[path] for path in fields if path in known}
    return Record(
        external_id=str(row["sys_id"]),
        version=version or UNREADABLE,
        values=values,
        updated_at=moment(row.get("sys_updated_on")),
        updated_by=by,
        updated_by_name=by,
        created_at=moment(row.get("sys_created_on")),
        created_by=plain(row.get("sys_created_by")) or None,
        title=plain(row.get("file_name")) or None,
        parent_id=plain(row["table_sys_id"]) or None,
        unreadable=frozenset(path for path in fields if path not in values),
    )


def records(instance: Instance, rows: Sequence[Mapping[str, Any]], table: str, fields: Sequence[str]) -> list[Record]:
    """The attachments of a table's records among the rows of an answer, whatever else came with them."""
    try:
        own = [row for row in rows if plain(row["table_name"]) == table]
        return [record(row, fields, _content(instance, row) if "content" in fields else {}) for row in own]
    except KeyError:
        raise Retry(
            "ServiceNow hides parts of its attachments from our account. Nothing was taken over. Give it read access "
            f"to {TABLE}.",
            after=HIDDEN_WAIT,
        ) from None


def read(instance: Instance, table: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for chunk in query.chunks([i for i in dict.fromkeys(ids) if query.is_id(i)]):
        rows = instance.some(TABLE, query.one_of("sys_id", chunk), COLUMNS, len(chunk))
        asked = [row for row in rows if row["sys_id"] in chunk]
        found |= {one.external_id: one for one in records(instance, asked, table, fields)}
    return found


def of_parents(
    instance: Instance, table: str, parents: Sequence[str], fields: Sequence[str]
) -> dict[str, list[Record]]:
    """Attachments by task, oldest first."""
    return by_parent(
        parents,
        lambda some: _listed(instance, table, f"{query.one_of('table_sys_id', some)}^{_of(table)}", fields),
    )


def logs_deletions(instance: Instance) -> bool:
    """Whether the delete log tells of attachments: it does so only where their table is audited."""
    return instance.shape(TABLE).audited


def changes(instance: Instance, table: str, watermark: str | None, fields: Sequence[str], log: bool) -> Iterator[Page]:
    """log: whether deletions are read from the delete log, which names those of other tables' attachments as well."""
    size = FILES_AT_ONCE if "content" in fields else PAGE_ROWS
    since = since_text(watermark)
    listing = Listing(TABLE, [_of(table)], COLUMNS, stamp="sys_updated_on", since=since, size=size)
    told = log and logs_deletions(instance)
    yield from changes_of.pages(
        instance, instance.shape(TABLE), listing, watermark, told, lambda rows: records(instance, rows, table, fields)
    )


def ids(instance: Instance, table: str) -> Iterator[list[str]]:
    return ids_of(instance, TABLE, [_of(table)], PAGE_ROWS)


def own_recent(instance: Instance, table: str, since: str, fields: Sequence[str]) -> list[Record]:
    instance.prove_clock(TABLE)
    me = instance.me()["user_name"]
    groups, begin = [f"{_of(table)}^sys_created_by={me}"], since_text(since)
    listing = Listing(TABLE, groups, COLUMNS, stamp="sys_created_on", since=begin, size=PAGE_ROWS)
    found = records(instance, all_rows(instance, listing), table, fields)
    return [one for one in found if one.created_by == me]


def create(instance: Instance, table: str, values: Values, parent_id: str | None) -> WriteResult:
    name, type_, content = _checked(values)
    if not parent_id:
        raise Refused("A file needs its task. Nothing was written. Link the task first.")
    params = {"table_name": query.name(table), "table_sys_id": checked_id(parent_id), "file_name": name}
    try:
        answer = instance.call(
            "POST", f"{API}/file", params=params, data=content, content_type=type_, write=True, sent=["content"]
        )
    except Refused as error:  # too large, or of a kind the instance does not take: it is about the file
        raise Refused(error.message, error.fields or {"content": error.message}) from None
    found = answer.json.get("result") if isinstance(answer.json, Mapping) else None
    row: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    if not query.is_id(row.get("sys_id")) or plain(row.get("table_sys_id")) != parent_id:
        raise Uncertain(UNSEEN)
    # The answer tells how large it is, and not what is in it.
    kept = {"content": _encoded(content)} if _size(row) == len(content) else {}
    made = record(row, [field.path for field in FIELDS], kept)
    if made.version == UNREADABLE:
        raise Uncertain(UNSEEN)
    return WriteResult(made, created=True)


def delete(instance: Instance, external_id: str) -> None:
    instance.call("DELETE", f"{API}/{checked_id(external_id)}", write=True)


def fixed() -> Refused:
    return Refused(FIXED, {field.path: FIXED for field in FIELDS})


def missing(instance: Instance, table: str, external_id: str) -> Refused | Gone:
    """Why an attachment cannot be changed: it is not there, or none ever can be."""
    if read(instance, table, [checked_id(external_id)], ()):
        return fixed()
    return Gone(
        "ServiceNow shows no such attachment. Nothing was changed. It was deleted, or is hidden.", certain=False
    )


def _of(table: str) -> str:
    return f"table_name={table}"


def _listed(instance: Instance, table: str, group: str, fields: Sequence[str]) -> Iterator[Record]:
    listing = Listing(TABLE, [group], COLUMNS, stamp="sys_created_on", since=None, size=PAGE_ROWS)
    while not listing.last:
        yield from records(instance, listing.read(instance).rows, table, fields)


def _described(row: Mapping[str, Any]) -> dict[str, Any]:
    """The values a row tells: one that it lacks is hidden, and not empty."""
    texts = {"file_name": "file_name", "content_type": "content_type", "author": "sys_created_by"}
    known: dict[str, Any] = {path: plain(row[column]) or None for path, column in texts.items() if column in row}
    size, created = _size(row), moment(row.get("sys_created_on"))
    return known | ({} if size is None else {"size_bytes": size}) | ({"created": created} if created else {})


def _size(row: Mapping[str, Any]) -> int | None:
    text = plain(row.get("size_bytes"))
    return int(text) if text.isdecimal() else None


def _content(instance: Instance, row: Mapping[str, Any]) -> dict[str, Any]:
    """The file's content by the field's name; nothing where it is too large, is hidden, or does not come whole."""
    size = _size(row)
    if size is None or size > LARGEST_CONTENT:
        return {}
    if size == 0:
        return {"content": None}
    try:
        answer = instance.call("GET", f"{API}/{row['sys_id']}/file", file=True)
    except (Gone, NotAllowed):
        return {}
    if len(answer.body) == size:
        return {"content": _encoded(answer.body)}
    page = not_json(answer.text)  # a log-in page instead of the file
    if page:
        raise page
    return {}


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _checked(values: Values) -> tuple[str, str, bytes]:
    """File name, content type and content. Raises Refused, naming every field that cannot be taken as it is."""
    refused = {path: "It is read-only." for path in values if path not in ("file_name", "content_type", "content")}
    name, type_ = str(values.get("file_name") or ""), str(values.get("content_type") or ANY_TYPE)
    content = b""
    try:
        content = base64.b64decode(str(values.get("content") or ""), validate=True)
    except (binascii.Error, ValueError):
        refused["content"] = "It is no base64."
    else:
        if not content:
            refused["content"] = "A file cannot be empty."
        elif len(content) > LARGEST_CONTENT:
            refused["content"] = f"The file has {len(content)} bytes: more than the {LARGEST_CONTENT} that are sent."
    if not name.strip():
        refused["file_name"] = "A file needs a name."
    if not _TYPE.fullmatch(type_):
        refused["content_type"] = f"“{type_}” is no content type."
    if refused:
        told = " ".join(dict.fromkeys(refused.values()))
        raise Refused(f"{told} Nothing was written. Change the value or the mapping.", refused)
    return name, type_, content
