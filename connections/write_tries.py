"""The try of writes: a test record is created, read, changed and deleted, after a person said yes to it.

`ask` sends nothing: it shows the request that would go. `run` cleans up behind itself, and names what it had to leave.
"""

from __future__ import annotations

import itertools
import secrets as random_secrets
from collections.abc import Mapping
from datetime import date
from typing import Any

from connections.connectors.base import ConnectorError, Record, Uncertain
from connections.connectors.rest import Rest
from connections.connectors.rest_definition import FieldDefinition, ObjectType
from connections.connectors.rest_inputs import as_text, as_value
from connections.list_tries import PAGES
from connections.models import Connection
from connections.trial import Trial, belongs_to, finish, objects_at, objects_of, open_tried
from connections.watched import Held, HoldingSession

TEST_TEXT = "SyncAdmin test, may be deleted"
CHANGED = " (changed)"
PREFIX = "value-"  # of the inputs that hold the test record's values
PARENT = "try_parent"


def asked_fields(own: ObjectType) -> list[tuple[FieldDefinition, str]]:
    """Fields of the test record that are asked for, with a first value: what a create needs, and one text to change."""
    needed = [each for each in own.fields if each.required and each.creatable]
    texts = [each for each in own.fields if each.kind in ("text", "rich_text") and each.writable and each.creatable]
    if texts and not any(each in texts for each in needed):
        needed.append(texts[0])
    return [(each, as_text(_example(each))) for each in needed]


def _example(field: FieldDefinition) -> Any:
    match field.kind:
        case "option":
            return field.options[0].name or str(field.options[0].value) if field.options else ""
        case "number":
            return 1
        case "boolean":
            return False
        case "set":
            return []
        case "date":
            return date.today().isoformat()
        case "datetime":
            return f"{date.today().isoformat()}T12:00:00Z"
        case "text" | "rich_text":
            return TEST_TEXT[: field.max_length or None]
    return ""


def values_of(own: ObjectType, given: Mapping[str, str]) -> dict[str, Any]:
    """Raises ValueError for a text that is no value."""
    found: dict[str, Any] = {}
    for field, _ in asked_fields(own):
        text = given.get(PREFIX + field.name, "").strip()
        if text and text != '""':
            found[field.name] = as_value(text) if field.kind in ("number", "boolean", "set") else text
    return found


def ask(connection: Connection, where: str, given: Mapping[str, str]) -> Trial:
    """The request that would create the test record, and what would follow it. Nothing is written."""
    trial = Trial()
    connector = None
    try:
        connector = open_tried(connection, HoldingSession)
        own = objects_at(connector, where).type
        if not own.create or not own.create.path:
            trial.found(
                "info", "Nothing to try", "Writes are tried on a record of our own, so it takes a way to create one."
            )
            return trial
        _create(connector, own, given)
    except Held as held:
        assert connector
        trial.asked = connector.context.http.shown(held.exchange)
        trial.steps = _steps(own)
    except ValueError as error:
        trial.trouble = f"A value of the test record cannot be read: {error}. Nothing was sent. Correct it."
    except ConnectorError as error:
        trial.trouble = error.message
        trial.at = belongs_to(error, connector.context.http if connector else None, where)
    finally:
        finish(connector, trial)
    return trial


def _create(connector: Rest, own: ObjectType, given: Mapping[str, str]) -> Record:
    parent = given.get(PARENT, "").strip() or None
    key = f"syncadmin-test-{random_secrets.token_hex(6)}"
    return connector.create(own.name, values_of(own, given), key, {}, parent).record


def _steps(own: ObjectType) -> list[str]:
    steps = ["Read it again."]
    if own.update and _changeable(own):
        steps.append(f"Change its {_changeable(own)}, and read it again.")
    if own.delete:
        steps.append("Delete it, and see that it is gone.")
    else:
        steps.append("Leave it there: the description says no way to delete. Its id is shown.")
    return steps


def _changeable(own: ObjectType) -> str:
    """The field that the try changes; "" where there is none."""
    for field, _ in asked_fields(own):
        if field.kind in ("text", "rich_text") and field.writable:
            return field.name
    return ""


def run(connection: Connection, where: str, given: Mapping[str, str]) -> Trial:
    trial = Trial()
    connector = None
    left = ""
    own: ObjectType | None = None
    try:
        connector = open_tried(connection)
        own = objects_at(connector, where).type
        made = _create(connector, own, given)
        left = made.external_id
        trial.found("ok", "Created", f"with the id {left}.")
        _compare(trial, made, values_of(own, given))
        _change(connector, own, left, given, trial)
        if own.delete:
            connector.delete(own.name, left)
            left = _see_gone(connector, own, made, trial)
    except Uncertain as error:
        trial.trouble = error.message
        if not left:
            trial.found("warn", "Perhaps it was created", f"Look for “{TEST_TEXT}” there.")
    except (ConnectorError, ValueError) as error:
        trial.trouble = getattr(error, "message", "") or f"{error}. Nothing was sent. Correct the value."
        if isinstance(error, ConnectorError):
            trial.at = belongs_to(error, connector.context.http if connector else None, where)
        if left and connector and own and own.delete:
            left = _clean_up(connector, own, left, trial)
    finally:
        finish(connector, trial)
    if left and connector and own:
        address = connector.url_of(own.name, left, None) if own.link else ""
        trial.found(
            "warn", "It is still there", f"The test record {left} was left. Delete it by hand. {address}".strip()
        )
    return trial


def _compare(trial: Trial, made: Record, wanted: Mapping[str, Any]) -> None:
    other = [name for name, value in wanted.items() if name in made.values and made.values[name] != value]
    unread = [name for name in wanted if name in made.unreadable]
    if other:
        trial.found("warn", "Not as it was sent", f"{', '.join(other)}: the system changed or ignored it.")
    if unread:
        trial.found("warn", "Sent, and not found in the record", f"{', '.join(unread)}: check where a record has it.")


def _change(connector: Rest, own: ObjectType, id: str, given: Mapping[str, str], trial: Trial) -> None:
    name = _changeable(own)
    before = connector.get_many(own.name, [id], [each.name for each in own.fields]).get(id)
    if before is None:
        trial.found("bad", "It is not found again", "Check Read: each record is read again before it is written.")
        return
    trial.found("ok", "Read again", f"version {before.version}.")
    if not own.update or not name:
        return
    value = str(before.values.get(name) or TEST_TEXT)[: (own_length(own, name) or 10_000) - len(CHANGED)] + CHANGED
    connector.update(own.name, id, {name: value}, before.version, [name])
    after = connector.get_many(own.name, [id], [name])[id]
    if after.values.get(name) == value:
        trial.found("ok", "Changed", f"{name} is the new one, version {after.version}.")
    else:
        trial.found("bad", f"{name} is not what was sent", "The system answered well and kept another value.")
    if after.version == before.version:
        trial.found("bad", "The version did not change", "Edits would be missed. Name another one, or none.")


def own_length(own: ObjectType, name: str) -> int | None:
    return next((each.max_length for each in own.fields if each.name == name), None)


def _see_gone(connector: Rest, own: ObjectType, made: Record, trial: Trial) -> str:
    """The id where it is still there, else ""."""
    id = made.external_id
    again = connector.get_many(own.name, [id], []).get(id)
    if again is None or again.deleted:
        trial.found("ok", "Deleted", "It is gone; nothing of the try is left.")
        _look_for_trace(connector, own, made, trial)
        return ""
    trial.found("bad", "It is still there after the deletion", "Check Delete, or say what a deleted record looks like.")
    return id


def _look_for_trace(connector: Rest, own: ObjectType, made: Record, trial: Trial) -> None:
    """Lists of changes may go on showing a deleted record: not known as such, it would be taken for a new one."""
    if not own.list or not own.list.changed or own.parent or not made.updated_at:
        return
    pages = objects_of(connector, own).lister.pages([], since=made.updated_at)
    for chunk in itertools.islice(pages, PAGES):
        for record, raw in zip(chunk.records, chunk.raws, strict=True):
            if record.external_id == made.external_id and not record.deleted:
                trial.found(
                    "bad",
                    "The list still shows it",
                    f"As a record with {', '.join(map(str, raw))}. Say in the object type what is true of a deleted "
                    "record, and tick “It shows deletions” under List.",
                )
                return
    if own.list.deleted:
        trial.found("ok", "The list shows deletions", "as described.")


def _clean_up(connector: Rest, own: ObjectType, id: str, trial: Trial) -> str:
    """Delete what a failed try left; the id where that fails too."""
    try:
        connector.delete(own.name, id)
    except ConnectorError:
        return id
    trial.found("info", "Cleaned up", "The test record was deleted again.")
    return ""
