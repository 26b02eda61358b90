"""Writes to a described API: exactly what was sent, under its condition, read back and compared.

⚑ A success does not mean that the write happened. A value that is still the old one afterwards was refused without a
word, and says so; else the old value would look like an edit of that side, and go back over the one to be written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from connections.connectors.base import (
    ConnectorError,
    NotAllowed,
    Record,
    Refused,
    Uncertain,
    Values,
    VersionMismatch,
    WriteResult,
)
from connections.connectors.http import Answer
from connections.connectors.last_reads import LastRead
from connections.connectors.rest_absent import lacks
from connections.connectors.rest_definition import FieldDefinition
from connections.connectors.rest_document import placeholders
from connections.connectors.rest_objects import Objects, Raw
from connections.connectors.rest_paths import fill, fill_all, id_of, is_id, look, put, wrapped
from connections.connectors.rest_values import outgoing

# Values of these kinds are taken as they are or not at all; a text may be trimmed.
TAKEN_OR_NOT = ("option", "person", "reference", "boolean", "number", "date", "datetime", "set")


def update(
    objects: Objects, external_id: str, values: Values, expected_version: str | None, fields: Sequence[str]
) -> WriteResult:
    own = objects.type.update
    if own is None:
        raise _cannot(objects, "be changed")
    sent = _outgoing(objects, values, creating=False)
    wanted = list(dict.fromkeys([*fields, *values]))
    raw = _before(objects, external_id, values, expected_version)
    before = objects.seen(external_id) or LastRead()
    answer = _send_update(objects, external_id, sent, expected_version, raw)
    record, odd = _read_back(objects, external_id, answer, own.record, wanted)
    ignored = _ignored(objects, values, before, record)
    if ignored and odd:
        raise _unclear(objects, f"its answer was none, and {', '.join(ignored)} is as it was")
    if ignored:
        raise Refused(
            f"{objects.client.definition.name} answered with success and left {', '.join(ignored)} as it was. What "
            "else was sent stands. Change the value, or the field in the description of the API.",
            ignored,
        )
    return WriteResult(record)


def write_key(objects: Objects, external_id: str, key: str) -> None:
    own = objects.type.key
    if own is None or not own.write or objects.type.update is None:
        raise _cannot(objects, "carry our key")
    raw = _before(objects, external_id, {}, None)
    _send_update(objects, external_id, [(own.write, key)], None, raw)


def create(
    objects: Objects,
    values: Values,
    correlation_key: str,
    scope: Values,
    parent_id: str | None,
    fields: Sequence[str],
) -> WriteResult:
    own, key = objects.type.create, objects.type.key
    if own is None:
        raise _cannot(objects, "be created")
    body: dict[str, Any] = {}
    placed = _scoped(objects, scope)
    sent = [*placed, *_outgoing(objects, values, creating=True, placed={path for path, _ in placed})]
    for path, value in own.constant.items():
        put(body, path, fill_all(value, objects.client.names))
    for path, value in sent:
        put(body, path, value)
    if key and key.write:
        put(body, key.write, correlation_key)
    headers = {key.header: _as_header(correlation_key)} if key and key.header else {}
    path = objects.client.path(own.path, parent=parent_id or "")
    answer = objects.client.call(
        own.method, path, about="create", json=wrapped(body, own.wrap), headers=headers, write=True,
        object_type=objects.type,
    )  # fmt: skip
    record = _created(objects, answer, [*dict.fromkeys([*fields, *values])], parent_id)
    # An answer to a repeated key comes with 200 and not 201.
    made = not (key and key.header and answer.status == 200)
    return WriteResult(record, created=made, on_the_way=_not_arrived(objects, values, record))


def delete(objects: Objects, external_id: str) -> None:
    own, condition = objects.type.delete, objects.type.condition
    if own is None:
        raise _cannot(objects, "be deleted")
    raw = _before(objects, external_id, {}, None, deleting=True)
    names = objects.names_of(external_id)
    headers = {}
    if condition and condition.deletes and condition.style == "header" and raw:
        headers[condition.header] = fill(condition.value, {"version": raw.record.version, "etag": raw.etag})
    body = fill_all(own.body, {**objects.client.names, **names}) if own.body is not None else None
    objects.client.call(
        own.method, objects.client.path(own.path, **names), about="write", json=body, headers=headers, write=True,
        object_type=objects.type, condition=condition,
    )  # fmt: skip


def _as_header(key: str) -> str:
    """Headers take plain letters only; a name of equal length for every other key is as good."""
    return key if key.isascii() and key.isprintable() else hashlib.sha256(key.encode()).hexdigest()


# Before a write. -------------------------------------------------------------------------------------------------


def _outgoing(
    objects: Objects, values: Values, *, creating: bool, placed: frozenset[str] | set[str] = frozenset()
) -> list[tuple[str, Any]]:
    """(where it is sent, value) of each field. Raises Refused, which names all that cannot be written."""
    refused: dict[str, str] = {}
    sent = []
    for path, value in values.items():
        field = objects.reader.fields.get(path)
        if field is None:
            refused[path] = "there is no such field in the description of the API"
        elif not (field.creatable if creating else field.writable):
            refused[path] = "it cannot be written"
        else:
            try:
                sent.append((field.write or field.name, _wire(objects, field, value)))
            except Refused as error:
                refused |= error.fields
    for field in objects.type.fields if creating else ():
        missing = field.required and field.creatable and (field.write or field.name) not in placed
        if missing and field.name not in values:
            refused[field.name] = "it is needed"
    if refused:
        said = "; ".join(f"“{path}”: {why}" for path, why in refused.items())
        raise Refused(f"Nothing was sent to {objects.client.definition.name}. {said}. Change the value.", refused)
    return sent


def _wire(objects: Objects, field: FieldDefinition, value: Any) -> Any:
    options = objects.lookups.options(field) if field.kind in ("option", "set") else ()
    who = objects.lookups.writable() if field.kind == "person" and value is not None else None
    return outgoing(field, value, objects.client.definition.times, options, who)


def _scoped(objects: Objects, scope: Values) -> list[tuple[str, Any]]:
    """What makes a new record lie in the scope."""
    sent: list[tuple[str, Any]] = []
    for limit in objects.type.scope:
        value = scope.get(limit.name)
        if limit.write and value not in (None, ""):
            sent.append((limit.write, [str(value)] if limit.write_as_list else value))
    return sent


def _before(
    objects: Objects, external_id: str, values: Values, expected_version: str | None, deleting: bool = False
) -> Raw | None:
    """The record as it is right before the write, where that has to be known; None where it has not.

    Raises Gone, and VersionMismatch where it is not the expected version any more.
    """
    kind, condition = objects.type, objects.type.condition
    if not objects.known_form(external_id):
        raise objects.gone(external_id)
    known = objects.seen(external_id)
    unsure = kind.trust.compare and any(known is None or path not in known.values for path in values)
    uses_etag = condition is not None and "etag" in placeholders(condition.value)
    conditional = condition is not None and (condition.deletes if deleting else True)
    versioned = conditional and (uses_etag or (condition is not None and condition.required and not expected_version))
    whole = not deleting and kind.update is not None and kind.update.whole
    if kind.trust.look_first:
        there = objects.read([external_id], []).get(external_id)
        if there is None or there.deleted:
            raise objects.gone(external_id)
    if not (unsure or versioned or whole or (deleting and conditional)):
        return None
    raw = objects.read_one(external_id, list(values))
    if raw is None or raw.record.deleted:
        raise objects.gone(external_id)
    if condition and not deleting and expected_version and raw.record.version != expected_version:
        raise VersionMismatch(
            f"{objects.client.definition.name} has a newer version of the record. Nothing was written."
        )
    if whole and (hidden := _hidden(objects, raw, values)):
        raise NotAllowed(
            f"{objects.client.definition.name} takes only whole records, and does not show {' and '.join(hidden)} of "
            "this one: what is not sent would be emptied. Nothing was written. Let our account see these fields, or "
            "take them out of the description of the API if records need not have them."
        )
    return raw


def _hidden(objects: Objects, raw: Raw, values: Values) -> list[str]:
    """What others may have written into the record and we cannot send back."""
    return [
        field.label or field.name
        for field in objects.type.fields
        if field.writable and field.absent == "hidden" and field.name not in values
        if lacks(field.read or field.name, raw.raw)
    ]


def _send_update(
    objects: Objects, external_id: str, sent: Sequence[tuple[str, Any]], expected_version: str | None, raw: Raw | None
) -> Answer:
    own, condition = objects.type.update, objects.type.condition
    assert own
    body: dict[str, Any] = {}
    if own.whole:
        if raw is None or not isinstance(raw.raw, Mapping):
            raise objects.client.unusable("the whole record, which has to be sent back")
        body = _copied({key: value for key, value in raw.raw.items() if key not in own.whole_without})
    for path, value in own.constant.items():
        put(body, path, fill_all(value, objects.client.names))
    for path, value in sent:
        put(body, path, value)
    headers = {"Content-Type": own.content_type}
    version = expected_version or (raw.record.version if raw else None)
    etag = raw.etag if raw else ""
    if condition and (etag or version):
        value = fill(condition.value, {"version": version or "", "etag": etag})
        if condition.style == "header":
            headers[condition.header] = value
        else:
            put(body, condition.field, int(value) if value.isdecimal() else value)
    path = objects.client.path(own.path, **objects.names_of(external_id))
    return objects.client.call(
        own.method, path, about="write", json=wrapped(body, own.wrap), headers=headers, write=True,
        object_type=objects.type, condition=condition,
    )  # fmt: skip


def _copied(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Deep enough that nothing of what was read is changed by what is put in."""
    return {key: _copied(each) if isinstance(each, Mapping) else each for key, each in raw.items()}


# After a write: whatever fails now must not look as if nothing was written. --------------------------------------


def _read_back(
    objects: Objects, external_id: str, answer: Answer, where: str, fields: Sequence[str]
) -> tuple[Record, bool]:
    """(the record, whether the answer lacked it against its description)."""
    if where:
        try:
            return objects.taken(answer, where, external_id, fields).record, False
        except ConnectorError:
            pass  # the answer does not hold it this time: it is read
    try:
        raw = objects.read_one(external_id, fields)
    except ConnectorError as error:
        raise _unclear(objects, error.message, external_id) from None
    if raw is None:
        raise _unclear(objects, "the record is not there any more", external_id)
    if raw.record.merged_into:
        raise _unclear(objects, f"the record was merged into {raw.record.merged_into}", external_id)
    return raw.record, bool(where)


def _created(objects: Objects, answer: Answer, fields: Sequence[str], parent_id: str | None) -> Record:
    own, key = objects.type.create, objects.type.key
    assert own
    if own.record:
        # ⚑ Asking for its people and options may fail: the record is made all the same, and its id asks nobody.
        with suppress(ValueError, ConnectorError):
            record = objects.reader.record(look(own.record, answer.json), fields, parent_id)
            if not record.unreadable and (not key or not key.read or record.correlation_key):
                objects.remember(record, look(own.record, answer.json))
                return record
    id = _id_in(objects, answer, parent_id)
    if not id:
        raise _unclear(objects, "the answer names no record")
    return _read_back(objects, id, answer, "", fields)[0]


def _id_in(objects: Objects, answer: Answer, parent_id: str | None) -> str:
    own = objects.type.create
    assert own
    if own.record:
        with suppress(ValueError):
            return objects.reader.id(look(own.record, answer.json), parent_id)
    try:
        id = id_of(look(own.id, answer.json)) if own.id else ""
    except ValueError:
        id = ""
    if not id:
        last = unquote(urlsplit(answer.headers.get("Location", "")).path.rstrip("/").rsplit("/", 1)[-1])
        id = last.removesuffix(".json") if is_id(last) else ""
    return f"{parent_id or ''}/{id}" if id and objects.reader.below_parent else id


def _ignored(objects: Objects, values: Values, before: LastRead, record: Record) -> dict[str, str]:
    """Why each field was refused that still has its old value, and not the one that was sent."""
    if not objects.type.trust.compare:
        return {}
    return {
        path: f"the system says that it was written, and still has {record.values[path]!r}"
        for path, value in values.items()
        if path in record.values and record.values[path] != value and before.said(path, record.values[path])
    }


def _not_arrived(objects: Objects, values: Values, record: Record) -> dict[str, Any]:
    """Values that a new record has otherwise than sent: they are sent once more, so that a refusal is told."""
    if not objects.type.trust.compare:
        return {}
    found = {}
    for path, value in values.items():
        now, field = record.values.get(path, value), objects.reader.fields[path]
        if now != value and (now in (None, []) or field.kind in TAKEN_OR_NOT):
            found[path] = now
    return found if objects.type.update else {}


def _unclear(objects: Objects, why: str, external_id: str = "") -> Uncertain:
    return Uncertain(
        f"{objects.client.definition.name} took the write, and what it led to could not be read ({why.rstrip('.')}). "
        "We look before anything is sent again.",
        external_id,
    )


def _cannot(objects: Objects, what: str) -> NotAllowed:
    label = objects.type.label or objects.type.name
    return NotAllowed(
        f"{label} cannot {what} in {objects.client.definition.name}: its description has no such call. Nothing sent."
    )
