"""Writes to ServiceNow: each answers with its record, one at a time or many in a batch.

ServiceNow itself checks little: it cuts texts that are too long, stores what is in no list, and leaves out fields it
does not know or our account may not write, all with status 200. So what can be known before is refused before, by
name, and what comes back is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from connections.connectors import servicenow_errors as errors
from connections.connectors import servicenow_history as history
from connections.connectors import servicenow_people as people
from connections.connectors.base import (
    ConnectorError,
    Creation,
    Record,
    Refused,
    Uncertain,
    Update,
    Values,
    WriteResult,
)
from connections.connectors.last_reads import LastRead
from connections.connectors.servicenow_fields import (
    GROUPS,
    KEY,
    QUEUE,
    UNREADABLE,
    Column,
    Shape,
    has_id,
    outgoing,
    people_in,
    plain,
    read_list,
    same_stored,
)
from connections.connectors.servicenow_instance import Instance, checked_id
from connections.connectors.servicenow_listing import Part, PartAnswer, before, table_path, unknown
from connections.connectors.servicenow_query import is_id

# ServiceNow ends a batch after 30 s; a task takes 0.2 to 0.5 s with the rules that run on it.
MAX_BATCH = 50
# A part may have 5 MB, and its text grows by a third on the way.
LARGEST_IN_BATCH = 3_000_000
# A stamp is cut to the second, and the answer's own time is taken when it is sent.
SLACK_SECONDS = 2.0
IGNORED = (
    "ServiceNow answered as if it had written this and left it as it was: our account may read the field and not write "
    "it, or a rule of the instance puts it back"
)

Result = WriteResult | ConnectorError


def update(instance: Instance, table: str, external_id: str, values: Values, fields: Sequence[str]) -> WriteResult:
    [result] = update_many(instance, table, [Update(external_id, values)], fields)
    if isinstance(result, ConnectorError):
        raise result
    return result


def create(instance: Instance, table: str, values: Values, key: str, fields: Sequence[str]) -> WriteResult:
    shape = instance.shape(table)
    paths = [*dict.fromkeys([*fields, *values])]
    body = body_of(instance, shape, values, creating=True) | _key(shape, key)
    answer = instance.call(
        "POST",
        table_path(table),
        params=_shown(shape, paths),
        json=body,
        write=True,
        sent=list(values),
        named=shape.named_in,
    )
    return _created(instance, shape, answer.json, paths, values, body, answer.headers)


def delete(instance: Instance, table: str, external_id: str) -> None:
    instance.call("DELETE", table_path(table, checked_id(external_id)), write=True)


def write_key(instance: Instance, table: str, external_id: str, key: str) -> None:
    """Write the correlation key; a table without the column for it keeps none."""
    shape = instance.shape(table)
    if shape.key_field:
        path = table_path(table, checked_id(external_id))
        params = {"sysparm_fields": "sys_id", "sysparm_display_value": "false"}
        instance.call("PATCH", path, params=params, json=_key(shape, key), write=True, sent=[KEY])


def update_many(instance: Instance, table: str, updates: Sequence[Update], fields: Sequence[str]) -> list[Result]:
    shape = instance.shape(table)
    paths = [*dict.fromkeys([*fields, *(path for u in updates for path in u.values)])]
    _warm(instance, shape, [u.values for u in updates])
    results: dict[int, Result] = {}
    parts: list[tuple[int, Part]] = []
    bodies: dict[int, dict[str, str]] = {}
    for place, item in enumerate(updates):
        try:
            path = table_path(table, checked_id(item.external_id))
            bodies[place] = body_of(instance, shape, item.values)
            part = Part("PATCH", path, _shown(shape, paths), bodies[place])
            if sum(map(len, bodies[place].values())) > LARGEST_IN_BATCH:
                results[place] = _alone(instance, shape, part, paths, item.external_id)
            else:
                parts.append((place, part))
        except ConnectorError as error:
            results[place] = error

    def result(place: int, answer: PartAnswer, started: str | None, told: PartAnswer | None) -> WriteResult:
        item = updates[place]
        _check(answer, shape, item.values)
        return _updated(instance, shape, answer.json, paths, bodies[place], started, item.external_id, told)

    def asking(places: Sequence[int]) -> Part:
        """What the audit says of these writes, asked in the same call: an edit of somebody else may lie under ours."""
        return history.part([updates[p].external_id for p in places], [*{path for p in places for path in bodies[p]}])

    results |= _in_batches(instance, parts, result, asking)
    return [results[place] for place in range(len(updates))]


def _alone(instance: Instance, shape: Shape, part: Part, paths: Sequence[str], external_id: str) -> WriteResult:
    """A write that is too large for a batch."""
    body = part.body or {}
    answer = instance.call(
        "PATCH", part.path, params=part.params, json=body, write=True, sent=list(body), named=shape.named_in
    )
    return _updated(instance, shape, answer.json, paths, body, before(answer), external_id, None)


def create_many(instance: Instance, table: str, creations: Sequence[Creation], fields: Sequence[str]) -> list[Result]:
    shape = instance.shape(table)
    paths = [*dict.fromkeys([*fields, *(path for c in creations for path in c.values)])]
    _warm(instance, shape, [c.values for c in creations])
    results: dict[int, Result] = {}
    parts: list[tuple[int, Part]] = []
    bodies: dict[int, dict[str, str]] = {}
    for place, item in enumerate(creations):
        try:
            bodies[place] = body_of(instance, shape, item.values, creating=True) | _key(shape, item.correlation_key)
            parts.append((place, Part("POST", table_path(table), _shown(shape, paths), bodies[place])))
        except ConnectorError as error:
            results[place] = error

    def result(place: int, answer: PartAnswer, started: str | None, told: PartAnswer | None) -> WriteResult:
        _check(answer, shape, creations[place].values)
        return _created(instance, shape, answer.json, paths, creations[place].values, bodies[place], answer.headers)

    results |= _in_batches(instance, parts, result)
    return [results[place] for place in range(len(creations))]


def body_of(instance: Instance, shape: Shape, values: Values, creating: bool = False) -> dict[str, str]:
    """`values` as ServiceNow stores them. Raises Refused, naming every field that it would not take as it is."""
    named = people_in(values, shape)
    accounts = people.account_ids(instance, named) if named else {}
    refused: dict[str, str] = {}
    body: dict[str, str] = {}
    for path, value in values.items():
        column = shape.columns.get(path)
        if column is None:
            refused[path] = f"{shape.label} has no field {path} that can be written."
            continue
        shown = column.shown
        if not shown.writable:
            refused[path] = f"{shown.label} is read-only."
        elif shown.required and value in (None, "", []):
            refused[path] = f"{shown.label} must not be empty."
        elif shown.max_length and isinstance(value, str) and len(value) > shown.max_length:
            refused[path] = (
                f"{shown.label} holds {shown.max_length} characters and would be cut: the text has {len(value)}."
            )
        elif shown.kind == "person" and value:
            account = accounts[str(value)]
            group = str(value).startswith(QUEUE)
            if isinstance(account, Refused):
                refused[path] = account.message
            elif group is not (column.reference == GROUPS) and not str(value).startswith("id:"):
                refused[path] = f"{shown.label} takes {'a person' if group else 'a group'}, and {value} is none."
            else:
                body[path] = str(account)
        else:
            try:
                body[path] = outgoing(column, value, {})
            except (ValueError, TypeError) as error:
                refused[path] = f"{error}."
    if creating:
        for path, column in shape.columns.items():
            if column.shown.required and path not in values:
                refused[path] = f"{column.shown.label} must not be empty."
    if refused:
        raise Refused(f"{' '.join(refused.values())} Nothing was written. Change the value or the mapping.", refused)
    return body


def _warm(instance: Instance, shape: Shape, many: Sequence[Values]) -> None:
    """Look all people of a batch up at once."""
    everybody = {person for values in many for person in people_in(values, shape)}
    if everybody:
        people.account_ids(instance, everybody)


def _key(shape: Shape, key: str) -> dict[str, str]:
    return {KEY: key} if shape.key_field else {}


def _shown(shape: Shape, paths: Sequence[str]) -> dict[str, str]:
    return {"sysparm_fields": ",".join(read_list(shape, paths)), "sysparm_display_value": "false"}


def _in_batches(
    instance: Instance,
    parts: Sequence[tuple[int, Part]],
    result: Callable[[int, PartAnswer, str | None, PartAnswer | None], WriteResult],
    asking: Callable[[Sequence[int]], Part] | None = None,
) -> dict[int, Result]:
    """The result of each part by its place. asking: one more part that each batch ends with."""
    results: dict[int, Result] = {}
    for start in range(0, len(parts), MAX_BATCH):
        group = parts[start : start + MAX_BATCH]
        last = [asking([place for place, _ in group])] if asking else []
        try:
            answers, started = instance.batch([*(part for _, part in group), *last], write=True)
        except ConnectorError as error:
            results |= {place: error for place, _ in group}  # the other batches have results of their own
            continue
        told = answers[-1] if last else None
        for (place, _), answer in zip(group, answers[: len(group)], strict=True):
            try:
                # Where ServiceNow stops, nobody tells how far it came.
                results[place] = unknown(True) if answer is None else result(place, answer, started, told)
            except ConnectorError as error:
                results[place] = error
    return results


def _check(answer: PartAnswer, shape: Shape, values: Values) -> None:
    more: dict[str, Any] = {"write": True, "sent": list(values), "named": shape.named_in}
    if not 200 <= answer.status < 300:
        raise errors.sub_error(answer.status, answer.json, answer.headers, **more)
    failed = errors.inside_success(answer.json, write=True)
    if failed:
        raise failed


# What came back: whatever is amiss now, the write is done and must not look as if it were not. ---


def _created(
    instance: Instance,
    shape: Shape,
    answered: Any,
    paths: Sequence[str],
    values: Values,
    sent: Mapping[str, str],
    headers: Mapping[str, str],
) -> WriteResult:
    """The new record. What it has not of `values` is sent once more, so that a refusal is told."""
    record, row = _read_back(instance, shape, answered, paths, None, _place_in(headers))
    missing = [p for p in values if _differs(shape, record, row, p, sent[p]) and _untouched(shape.columns[p], row[p])]
    return WriteResult(record, created=True, on_the_way={path: record.values[path] for path in missing})


def _untouched(column: Column, raw: Any) -> bool:
    """Whether a new record's value may be what it began with. Any other was made of ours by a rule of the instance."""
    return plain(raw) == "" or column.begins_as(plain(raw))


def _updated(
    instance: Instance,
    shape: Shape,
    answered: Any,
    paths: Sequence[str],
    sent: Mapping[str, str],
    started: str | None,
    external_id: str,
    told: PartAnswer | None,
) -> WriteResult:
    """⚑ A field that still says what it said before our write was left out: taken for a success, its old value would
    look like an edit of that side. One that says something else again was changed by a rule of the instance."""
    known = instance.reads.get(external_id) or LastRead()
    record, row = _read_back(instance, shape, answered, paths, external_id)
    nothing = known.version == record.version or _older(record, started)
    changed = history.changed(shape, record, sent, told)

    def stayed(path: str) -> bool:
        # What nobody had read is judged by the audit: our write made this version, and of this field it tells nothing.
        if path in known.values:
            return known.said(path, record.values[path])
        return bool(changed) and path not in changed

    left_out = [path for path in sent if _differs(shape, record, row, path, sent[path]) and (nothing or stayed(path))]
    moved = [p for p in sent if p in known.values and p in record.values and not known.said(p, record.values[p])]
    if left_out and (nothing or not (moved or changed)):
        raise Refused(
            f"{IGNORED}. What else was sent stands. Give our account the right to write it.",
            dict.fromkeys(left_out, f"{IGNORED}."),
        )
    # What else was sent has arrived and is told as such. The rest goes by itself, and then gets the refusal.
    replaced = history.replaced(instance, shape, record, sent, told)
    return WriteResult(record, on_the_way={path: record.values[path] for path in left_out}, replaced=replaced)


def _place_in(headers: Mapping[str, str]) -> str:
    """The id of the record that a create made, which its answer names also where our account may not read it."""
    id = str(headers.get("Location") or headers.get("location") or "").rpartition("/")[2]
    return id if is_id(id) else ""


def _read_back(
    instance: Instance, shape: Shape, answered: Any, paths: Sequence[str], external_id: str | None, made: str = ""
) -> tuple[Record, Mapping[str, Any]]:
    """The record a write answered with, and its row. Raises Uncertain where it is none: the write is done all the
    same. made: the id that the answer of a create names."""
    found = answered.get("result") if isinstance(answered, dict) else None
    row: dict[str, Any] = found if isinstance(found, dict) else {}
    record = instance.record(shape, row, paths) if has_id(row) else None
    other = record is not None and external_id is not None and record.external_id != external_id
    if record is None or other or record.version == UNREADABLE:
        raise Uncertain(
            "ServiceNow took the write and then did not show us the record. We look before anything is sent again. If "
            "it stays so, give our account read access to all records of this table.",
            made,
        )
    return record, row


def _differs(shape: Shape, record: Record, row: Mapping[str, Any], path: str, text: str) -> bool:
    """Whether the record says something else than was sent; one that hides the field says nothing."""
    return path in record.values and not same_stored(shape.columns[path], text, plain(row[path]))


def _older(record: Record, started: str | None) -> bool:
    """Whether the record's last change is certainly older than our call: then nothing at all was written."""
    if not record.updated_at or not started:
        return False
    asked_at = datetime.fromisoformat(started.replace(" ", "T") + "+00:00") - timedelta(seconds=SLACK_SECONDS)
    return datetime.fromisoformat(record.updated_at) < asked_at
