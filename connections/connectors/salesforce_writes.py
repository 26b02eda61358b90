"""Writes to Salesforce: each with its read-back in the same composite call, one at a time or many at once.

Sub-requests of a composite call run in order and, where all or none, in one transaction; the call counts once.
Facts: REST API Developer Guide, "Composite", "sObject Collections", "Conditional Request Headers".
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from connections.connectors import salesforce_soql as soql
from connections.connectors.base import (
    ConnectorError,
    Creation,
    Gone,
    Record,
    Refused,
    Retry,
    Uncertain,
    Update,
    Values,
    WriteResult,
)
from connections.connectors.salesforce_errors import Taken
from connections.connectors.salesforce_fields import Shape, outgoing, record_of, select_list
from connections.connectors.salesforce_org import (
    UNASSIGNED,
    UNKNOWN_FORM,
    Org,
    SubAnswer,
    first_error,
    is_listing,
    sub_error,
)
from connections.connectors.salesforce_people import account_ids

# Records in one collection write; the vendor's limit.
MAX_COLLECTION = 200
# Single writes in one call can be conditional and collections cannot; ten of them take about a second.
MAX_CONDITIONAL = 10
# A composite call takes five queries and collections together: one write and four reads.
MAX_READS = 4
# Salesforce replaces "@{…}" inside a composite call; a text that contains it must travel alone.
REFERENCE = "@{"

Result = WriteResult | ConnectorError


def update(
    org: Org, object_type: str, external_id: str, values: Values, expected_version: str | None, fields: Sequence[str]
) -> WriteResult:
    shape = org.shape(object_type)
    fields = [*dict.fromkeys([*fields, *values])]
    body = _body(org, shape, values)
    path = org.record_path(object_type, _checked_id(external_id))
    headers = _condition(expected_version)
    if _needs_own_call(body):
        org.call("PATCH", path, json=body, headers=headers, write=True, sent=list(body))
        rows = _rows_after_write(org, shape, _select(shape, fields, "Id", [external_id]))
    else:
        write = _sub("PATCH", path, "write", body, headers)
        read = org.query_url(_select(shape, fields, "Id", [external_id]), shape.archives)
        rows = _written(org, [write, _sub("GET", read, "read")], body)
    return WriteResult(_read_back(shape, rows, fields))


def create(
    org: Org, object_type: str, values: Values, key: str, fields: Sequence[str], parent_id: str | None
) -> WriteResult:
    """Make one record, or find the one that already carries the key."""
    shape = org.shape(object_type)
    body = _body(org, shape, values, parent_id)
    try:
        if shape.key_field is None:
            return _create_without_key(org, shape, body, fields)
        if _needs_own_call(body):
            org.call(
                "POST",
                org.record_path(object_type),
                json={**body, shape.key_field: key},
                write=True,
                sent=list(body),
            )
            rows = _rows_after_write(org, shape, _select(shape, fields, shape.key_field, [key]))
            return WriteResult(_read_back(shape, rows, fields), created=True)
        write = _sub("PATCH", org.record_path(object_type, shape.key_field, key), "write", body)
        read = org.query_url(_select(shape, fields, shape.key_field, [key]), shape.archives)
        answers = org.composite([write, _sub("GET", read, "read")], all_or_none=True)
        _raise_first(answers, body)
        created = answers[0].status == 201 or _flag(answers[0].body, "created")
        return WriteResult(_read_back(shape, _rows(answers[1]), fields), created=created)
    except Taken:
        asked = _select(shape, fields, shape.key_field, [key]) if shape.key_field else ""
        rows = org.rows(asked, shape.archives) if asked else []
        if len(rows) != 1:
            raise
        return WriteResult(record_of(shape, rows[0], fields))


def update_many(org: Org, object_type: str, updates: Sequence[Update], fields: Sequence[str]) -> list[Result]:
    shape = org.shape(object_type)
    fields = [*dict.fromkeys([*fields, *(path for u in updates for path in u.values)])]
    _warm_people(org, shape, [u.values for u in updates])
    results: dict[int, Result] = {}
    batch: list[tuple[int, str, dict[str, Any], str | None]] = []
    for place, item in enumerate(updates):
        try:
            body = _body(org, shape, item.values)
            external_id = _checked_id(item.external_id)
        except ConnectorError as error:
            results[place] = error
            continue
        if _needs_own_call(body):
            results[place] = _one(
                lambda i=item: update(org, object_type, i.external_id, i.values, i.expected_version, fields)
            )
        else:
            batch.append((place, external_id, body, item.expected_version))
    # A collection takes no condition, and would overwrite what somebody edits between our read and our write.
    conditional = any(version for *_, version in batch)
    size = MAX_CONDITIONAL if conditional else MAX_COLLECTION
    for start in range(0, len(batch), size):
        part = batch[start : start + size]
        writes = _conditional(org, shape, part) if conditional else [_collection(org, shape, part)]
        ids = [external_id for _, external_id, *_ in part]
        queries = functools.partial(_selects, fields=fields, field="Id", values=ids)
        try:
            answers, reads = _write_and_read(org, shape, writes, queries)
        except ConnectorError as error:
            results |= {place: error for place, *_ in part}  # the other parts have results of their own
            continue
        items = _items(answers, len(part))
        rows = {soql.long_id(row["Id"]): row for row in reads}
        for (place, external_id, body, _), item_answer in zip(part, items, strict=True):
            failed = _item_error(item_answer, body)
            results[place] = failed or _result(shape, rows.get(soql.long_id(external_id)), fields, created=False)
    return [results[place] for place in range(len(updates))]


def create_many(org: Org, object_type: str, creations: Sequence[Creation], fields: Sequence[str]) -> list[Result]:
    shape = org.shape(object_type)
    fields = [*dict.fromkeys([*fields, *(path for c in creations for path in c.values)])]
    _warm_people(org, shape, [c.values for c in creations])
    results: dict[int, Result] = {}
    batch: list[tuple[int, Creation, dict[str, Any]]] = []
    for place, item in enumerate(creations):
        try:
            body = _body(org, shape, item.values, item.parent_id)
        except ConnectorError as error:
            results[place] = error
            continue
        if shape.key_field is None or _needs_own_call(body):
            results[place] = _one(
                lambda i=item: create(org, object_type, i.values, i.correlation_key, fields, i.parent_id)
            )
        else:
            batch.append((place, item, body))
    for start in range(0, len(batch), MAX_COLLECTION):
        part = batch[start : start + MAX_COLLECTION]
        keys = [item.correlation_key for _, item, _ in part]
        records = [
            {"attributes": {"type": shape.name}, str(shape.key_field): item.correlation_key, **body}
            for _, item, body in part
        ]
        path = f"{org.data}/composite/sobjects/{shape.name}/{shape.key_field}"
        write = _sub("PATCH", path, "write", {"allOrNone": False, "records": records})
        field = str(shape.key_field)
        queries = functools.partial(_selects, fields=fields, field=field, values=keys)
        try:
            answers, reads = _write_and_read(org, shape, [write], queries)
        except ConnectorError as error:
            results |= {place: error for place, *_ in part}
            continue
        rows = {str(row[field]).lower(): row for row in reads}
        for (place, item, body), answer in zip(part, _items(answers, len(part)), strict=True):
            row = rows.get(item.correlation_key.lower())
            failed = _item_error(answer, body)
            if isinstance(failed, Taken) and row:
                failed = None
            results[place] = failed or _result(shape, row, fields, _flag(answer.body, "created"))
    return [results[place] for place in range(len(creations))]


def delete(org: Org, object_type: str, external_id: str) -> None:
    org.call("DELETE", org.record_path(object_type, _checked_id(external_id)), write=True)


def write_key(org: Org, object_type: str, external_id: str, key: str) -> None:
    """Write the correlation key; an org without the field for it keeps none."""
    shape = org.shape(object_type)
    if shape.key_field:
        path = org.record_path(object_type, _checked_id(external_id))
        org.call("PATCH", path, json={shape.key_field: key}, write=True, sent=[shape.key_field])


def _create_without_key(org: Org, shape: Shape, body: Mapping[str, Any], fields: Sequence[str]) -> WriteResult:
    answer = org.call("POST", org.record_path(shape.name), json=dict(body), write=True, sent=list(body))
    made = answer.json.get("id") if isinstance(answer.json, Mapping) else None
    if not soql.is_id(str(made)):
        raise Uncertain(
            f"{UNKNOWN_FORM} It may have made the record or not; we look for it before anything is sent again."
        )
    try:
        rows = _rows_after_write(org, shape, _select(shape, fields, "Id", [str(made)]))
        return WriteResult(_read_back(shape, rows, fields), created=True)
    except Uncertain as error:
        raise Uncertain(error.message, soql.long_id(str(made))) from None


def _body(org: Org, shape: Shape, values: Values, parent_id: str | None = None) -> dict[str, Any]:
    """`values` as Salesforce takes them. Raises Refused for people it does not know."""
    people = {
        path: str(value)
        for path, value in values.items()
        if value and path in shape.columns and shape.columns[path].shown.kind == "person"
    }
    accounts = account_ids(org, people.values()) if people else {}
    unknown = {path: error.message for path, p in people.items() if isinstance(error := accounts[p], Refused)}
    if unknown:
        raise Refused("; ".join(unknown.values()), unknown)
    body = outgoing(shape, values, lambda path, person: str(accounts[person]))
    if parent_id and shape.parent_field:
        body[shape.parent_field] = parent_id
    return body


def _warm_people(org: Org, shape: Shape, many: Sequence[Values]) -> None:
    """Look all people of a batch up in one query."""
    paths = [path for path, column in shape.columns.items() if column.shown.kind == "person"]
    people = {str(values[path]) for values in many for path in paths if values.get(path)}
    if people:
        account_ids(org, people)


def _needs_own_call(body: Mapping[str, Any]) -> bool:
    return REFERENCE in json.dumps(body)


def _condition(version: str | None) -> dict[str, str]:
    """Salesforce compares whole seconds and lets a change in the very second of `version` pass."""
    if not version:
        return {}
    when = datetime.fromisoformat(version).astimezone(UTC).replace(microsecond=0)
    return {"If-Unmodified-Since": format_datetime(when, usegmt=True)}


def _checked_id(external_id: str) -> str:
    if not soql.is_id(external_id):
        raise Gone(f"“{external_id}” is no Salesforce id; there can be no such record.", certain=False)
    return external_id


def _sub(
    method: str,
    url: str,
    reference: str,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    request: dict[str, Any] = {"method": method, "url": url, "referenceId": reference}
    if body is not None:
        request |= {"body": dict(body), "httpHeaders": {**UNASSIGNED, **(headers or {})}}
    return request


def _select(shape: Shape, fields: Sequence[str], field: str, values: Sequence[str]) -> str:
    columns = ", ".join(select_list(shape, fields))
    return f"SELECT {columns} FROM {shape.name}{soql.both(soql.one_of(field, values), shape.alive)}"  # noqa: S608


def _selects(shape: Shape, fields: Sequence[str], field: str, values: Sequence[str]) -> list[str]:
    around = 2 * len(_select(shape, fields, field, []))  # encoded, its commas and spaces grow
    return [_select(shape, fields, field, chunk) for chunk in soql.chunks(values, around)]


def _written(org: Org, requests: Sequence[Mapping[str, Any]], body: Mapping[str, Any]) -> list[dict[str, Any]]:
    answers = org.composite(requests, all_or_none=True)
    _raise_first(answers, body)
    return _rows(answers[-1])


def _raise_first(answers: Sequence[SubAnswer], body: Mapping[str, Any]) -> None:
    failed = first_error(answers)
    if failed:
        # In one transaction a failure undid everything, so nothing is uncertain.
        raise sub_error(failed.status, failed.body, list(body))


def _rows(answer: SubAnswer) -> list[dict[str, Any]]:
    return list((answer.body or {}).get("records", ())) if isinstance(answer.body, Mapping) else []


def _conditional(
    org: Org, shape: Shape, part: Sequence[tuple[int, str, dict[str, Any], str | None]]
) -> list[dict[str, Any]]:
    return [
        _sub("PATCH", org.record_path(shape.name, external_id), f"write{place}", body, _condition(version))
        for place, external_id, body, version in part
    ]


def _collection(org: Org, shape: Shape, part: Sequence[tuple[int, str, dict[str, Any], str | None]]) -> dict[str, Any]:
    records = [{"attributes": {"type": shape.name}, "id": external_id, **body} for _, external_id, body, _ in part]
    return _sub("PATCH", f"{org.data}/composite/sobjects", "write", {"allOrNone": False, "records": records})


def _write_and_read(
    org: Org, shape: Shape, writes: Sequence[dict[str, Any]], queries: Callable[[Shape], list[str]]
) -> tuple[list[SubAnswer], list[dict[str, Any]]]:
    """The answers of the writes, and the rows read back: in the same call if it takes them all."""
    wanted = queries(shape)[:MAX_READS]
    reads = [_sub("GET", org.query_url(query, shape.archives), f"read{number}") for number, query in enumerate(wanted)]
    answers = org.composite([*writes, *reads], all_or_none=False)
    written, read = answers[: len(writes)], answers[len(writes) :]
    rows = [row for answer in read if is_listing(answer.body, ("Id",)) for row in _rows(answer)]
    whole = all(a.status == 200 and is_listing(a.body, ("Id",)) and a.body["done"] for a in read)
    if not whole or len(wanted) < len(queries(shape)):
        # The writes are done: a read that fails must not hide their answers.
        with contextlib.suppress(ConnectorError):
            rows = org.up_to_date(lambda: _all_rows(org, org.shape(shape.name), queries))
    return written, rows


def _items(answers: Sequence[SubAnswer], count: int) -> list[SubAnswer]:
    """One answer per record, from single writes or from one collection."""
    first = answers[0]
    if len(answers) == 1 and isinstance(first.body, list) and len(first.body) == count and first.status < 300:
        return [SubAnswer(200 if _flag(item, "success") else 400, item) for item in first.body]
    return list(answers) if len(answers) == count else [first] * count


def _item_error(answer: SubAnswer, sent: Mapping[str, Any]) -> ConnectorError | None:
    if answer.status < 300:
        return None
    body = answer.body.get("errors") if isinstance(answer.body, Mapping) and "errors" in answer.body else answer.body
    return sub_error(answer.status, body, list(sent))


def _result(shape: Shape, row: Mapping[str, Any] | None, fields: Sequence[str], created: bool) -> Result:
    return _one(lambda: WriteResult(_read_back(shape, [row] if row else [], fields), created=created))


def _read_back(shape: Shape, rows: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> Record:
    """The record after a write that succeeded: whatever fails now must not look as if nothing was written."""
    try:
        return record_of(shape, rows[0], fields)
    except (Retry, IndexError):
        raise _unread() from None


def _all_rows(org: Org, shape: Shape, queries: Callable[[Shape], list[str]]) -> list[dict[str, Any]]:
    return [row for query in queries(shape) for row in org.rows(query, shape.archives)]


def _rows_after_write(org: Org, shape: Shape, query: str) -> list[dict[str, Any]]:
    try:
        return org.rows(query, shape.archives)
    except ConnectorError:
        raise _unread() from None


def _flag(body: Any, name: str) -> bool:
    return isinstance(body, Mapping) and bool(body.get(name))


def _unread() -> Uncertain:
    return Uncertain(
        "Salesforce took the write and then did not show us the record. We look again. If it stays so, the record may "
        "have a new owner: give the integration user access to all records of this kind."
    )


def _one(write: Any) -> Result:
    try:
        return write()
    except ConnectorError as error:
        return error
