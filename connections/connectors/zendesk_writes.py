"""Writes to Zendesk: one ticket at a time with a condition, or many in a job.

`safe_update` with `updated_stamp` makes Zendesk refuse a write to a ticket that changed since; it compares whole
seconds. The answer to a single write holds its audit, which tells what the write replaced.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from connections.connectors import zendesk_errors as errors
from connections.connectors import zendesk_jobs as jobs
from connections.connectors import zendesk_people as people
from connections.connectors.base import (
    ConnectorError,
    Creation,
    Gone,
    RateLimited,
    Record,
    Refused,
    Retry,
    Uncertain,
    Update,
    Values,
    VersionMismatch,
    WriteResult,
)
from connections.connectors.zendesk_desk import PAGE, Desk
from connections.connectors.zendesk_errors import OTHER_BODY
from connections.connectors.zendesk_fields import (
    GROUP,
    PEOPLE,
    Shape,
    moment,
    normal,
    outgoing,
    people_in,
    plain_id,
    record_of,
    rule_of,
    with_coupled,
)

# Up to here single writes are done before a job would have left its queue.
FEW = 5
# An edit can hide behind the stamp we compare only if it was made in the very second in which the ticket was read, and
# a decision is at most ten seconds old: a ticket that has rested for longer hides none.
RESTED_SECONDS = 15.0
KEY = "external_id"
KEY_SECONDS = 60.0

Result = WriteResult | ConnectorError
Row = Mapping[str, Any]
# The tags and the time of a ticket in this version, where an earlier read tells them and nothing can hide behind that
# time (see `just_changed`); else None.
Shown = Callable[[str, str | None], Row | None]


def update(
    desk: Desk, external_id: str, values: Values, version: str | None, fields: Sequence[str], shown: Shown
) -> WriteResult:
    shape, path = desk.shape(), ticket_path(external_id)
    sent = stored(desk, shape, values)
    row: Row = {}
    if "tags" in sent:
        row = shown(external_id, version) or rows_of(desk, [external_id]).get(external_id, {})
        if not row:
            raise gone()
    ticket, conditional = _conditional(shape, sent, version, row)
    answer = desk.call(
        "PUT", path, json={"ticket": ticket}, write=True, conditional=conditional, named=_naming(shape, values)
    )
    record = _read_back(desk, shape, answer.json, [*fields, *values], external_id)
    if _dropped(values, record):
        raise _no_task()
    return WriteResult(record, replaced=_replaced(desk, shape, answer.json, sent))


def update_many(desk: Desk, updates: Sequence[Update], fields: Sequence[str], shown: Shown) -> list[Result]:
    """Few in single writes, each with what it replaced; many in a job, which tells no more than success.

    So a ticket that changed just now goes by itself: another edit may share its stamp.
    """
    if len(updates) <= FEW:
        return _one_by_one(desk, updates, fields, shown)
    shape = desk.shape()
    _warm(desk, shape, [one.values for one in updates])
    tagged = [one for one in updates if "tags" in one.values]
    known = {one.external_id: shown(one.external_id, one.expected_version) for one in tagged}
    rows = {**known, **rows_of(desk, [id for id, row in known.items() if row is None])}
    results: dict[int, Result] = {}
    tickets: dict[int, dict[str, Any]] = {}
    for place, one in enumerate(updates):
        try:
            ticket_path(one.external_id)
            sent, row = stored(desk, shape, one.values), rows.get(one.external_id) or {}
            if "tags" in sent and not row:
                raise gone()
            ticket, _ = _conditional(shape, sent, one.expected_version, row)
            if just_changed(desk, ticket.get("updated_stamp")):
                results[place] = update(desk, one.external_id, one.values, one.expected_version, fields, shown)
            else:
                tickets[place] = {"id": int(one.external_id), **ticket}
        except ConnectorError as error:
            results[place] = error
    wanted = [*dict.fromkeys([*fields, *(path for one in updates for path in one.values)])]
    for part in _parts(list(tickets)):
        named = [_naming(shape, updates[place].values) for place in part]
        body, ids = {"tickets": [tickets[place] for place in part]}, [updates[place].external_id for place in part]
        done = _job(desk, "PUT", "tickets/update_many", body, ids, named, wanted)
        for place, found in zip(part, done, strict=True):
            if isinstance(found, Record):
                results[place] = _no_task() if _dropped(updates[place].values, found) else WriteResult(found)
            else:
                results[place] = found
    return [results[place] for place in range(len(updates))]


def create(
    desk: Desk, values: Values, key: str, added: Values, fields: Sequence[str], deleted: str = ""
) -> WriteResult:
    """Make one ticket; the same key again within two hours leads to the same one.

    added: what the scope asks for. deleted: the ticket that this key led to, and that is no longer there.
    """
    shape = desk.shape()
    ticket = _new(desk, shape, values, key, added)
    headers = {"Idempotency-Key": hashlib.sha256(f"{key} {deleted}".encode()).hexdigest()}
    answer = desk.call(
        "POST", "tickets", json={"ticket": ticket}, write=True, headers=headers, named=_naming(shape, values), ok=(400,)
    )
    wanted = [*fields, *values]
    if answer.status == 400:
        code, text = errors.said_in(answer.json)
        if code != OTHER_BODY:
            raise errors.refusal(code, text, errors.details_in(answer.json), _naming(shape, values))
        found = by_key(desk, key)
        if not found:
            raise Retry(
                "Zendesk made a ticket under this key within the last two hours and does not show it: it is too new, "
                "or was deleted. Nothing was written. We try again until it is clear.",
                after=KEY_SECONDS,
            )
        return WriteResult(_after_write(desk, shape, found[0], wanted))
    made = _read_back(desk, shape, answer.json, wanted, None)
    if answer.headers.get("x-idempotency-lookup", "") != "hit":
        return WriteResult(made, created=True)
    # The answer is the one of then: what became of the ticket has to be read.
    try:
        rows = rows_of(desk, [made.external_id])
    except ConnectorError as error:
        raise _unread(error, made.external_id) from None
    if not rows:
        return create(desk, values, key, added, fields, deleted=made.external_id)
    return WriteResult(_after_write(desk, shape, rows[made.external_id], wanted))


def create_many(desk: Desk, creations: Sequence[Creation], added: Values, fields: Sequence[str]) -> list[Result]:
    shape = desk.shape()
    _warm(desk, shape, [one.values for one in creations])
    results: dict[int, Result] = {}
    tickets: dict[int, dict[str, Any]] = {}
    for place, one in enumerate(creations):
        try:
            tickets[place] = _new(desk, shape, one.values, one.correlation_key, added)
        except ConnectorError as error:
            results[place] = error
    wanted = [*dict.fromkeys([*fields, *(path for one in creations for path in one.values)])]
    for part in _parts(list(tickets)):
        named = [_naming(shape, creations[place].values) for place in part]
        body, keys = {"tickets": [tickets[place] for place in part]}, [creations[p].correlation_key for p in part]
        done = _job(desk, "POST", "tickets/create_many", body, keys, named, wanted)
        made = (WriteResult(one, created=True) if isinstance(one, Record) else one for one in done)
        results |= dict(zip(part, made, strict=True))
    return [results[place] for place in range(len(creations))]


def delete(desk: Desk, external_id: str) -> None:
    """Into the list of deleted tickets, from which Zendesk takes it for good after thirty days."""
    desk.call("DELETE", ticket_path(external_id), write=True)


def write_key(desk: Desk, external_id: str, key: str) -> None:
    desk.call("PUT", ticket_path(external_id), json={"ticket": {KEY: key}}, write=True)


# What is sent -------------------------------------------------------------------------------------------------------


def gone() -> Gone:
    return Gone("Zendesk shows no such ticket. Nothing was changed. It was deleted, or is hidden.", certain=False)


def ticket_path(external_id: str) -> str:
    if not external_id.isascii() or plain_id(external_id) is None:
        raise Gone(f"“{external_id}” is no id of a Zendesk ticket; there can be no such record.", certain=False)
    return f"tickets/{external_id}"


def stored(desk: Desk, shape: Shape, values: Values, creating: bool = False) -> dict[str, Any]:
    """{path: what Zendesk stores}. Raises Refused, naming every field that it would not take as it is."""
    accounts = people.account_ids(desk, _people(shape, values))
    refused: dict[str, str] = {}
    found: dict[str, Any] = {}
    for path, value in values.items():
        column = shape.columns.get(path)
        if column is None:
            refused[path] = f"Zendesk has no ticket field {path} that can be written."
            continue
        shown = column.shown
        if not (shown.creatable if creating else shown.writable):
            refused[path] = f"{shown.label} cannot be written{'' if creating else ' once the ticket is there'}."
        elif value in (None, "") and (shown.required or path == "requester_id"):
            refused[path] = f"{shown.label} must not be empty."
        elif shown.max_length and isinstance(value, str) and len(value) > shown.max_length:
            refused[path] = f"{shown.label} holds {shown.max_length} characters: the text has {len(value)}."
        elif shown.kind == "text" and column.type != "text" and isinstance(value, str) and "\n" in value:
            refused[path] = f"{shown.label} holds one line."
        elif shown.kind == "person" and value:
            account = accounts[path, str(value)]
            if isinstance(account, Refused):
                refused[path] = account.message
            else:
                found[path] = account
        else:
            try:
                found[path] = outgoing(shape, path, value)
            except (ValueError, TypeError) as error:
                refused[path] = f"{error}."
    if creating:
        missing = [one.shown for path, one in shape.columns.items() if one.shown.required and path not in values]
        refused |= {one.path: f"{one.label} must not be empty." for one in missing}
    if refused:
        raise Refused(f"{' '.join(refused.values())} Nothing was written. Change the value or the mapping.", refused)
    return found


def _dropped(values: Values, record: Record) -> bool:
    """Whether a due date was left out unsaid."""
    return bool(values.get("due_at")) and not record.values.get("due_at")


def _no_task() -> Refused:
    """Said also after a write that carried more: what it left is planned from a fresh read."""
    told = "Only a ticket of the type Task has a due date."
    return Refused(
        f"{told} The date was not written. Map the type too, or let the mapping's scope name it.", {"due_at": told}
    )


def _people(shape: Shape, values: Values) -> list[tuple[str, str]]:
    return [(path, str(value)) for path, value in values.items() if value and path in (*PEOPLE, GROUP)]


def _warm(desk: Desk, shape: Shape, many: Sequence[Values]) -> None:
    """Look all people of a batch up at once."""
    people.account_ids(desk, [one for values in many for one in _people(shape, values)])


def _conditional(
    shape: Shape, sent: Mapping[str, Any], version: str | None, row: Mapping[str, Any]
) -> tuple[dict[str, Any], bool]:
    """The ticket as it is sent, and whether with a condition. row: as just read, where its tags are written."""
    if row:
        read = moment(row.get("updated_at"))
        if version and read != version:
            raise VersionMismatch("The Zendesk ticket changed meanwhile; nothing was written. We read it again.")
        sent = {**sent, "tags": with_coupled(shape, sent["tags"], row, sent)}
        version = read
    ticket = _ticket(shape, sent)
    return (ticket | {"safe_update": True, "updated_stamp": version}, True) if version else (ticket, False)


def just_changed(desk: Desk, stamp: str | None) -> bool:
    if not stamp:
        return False
    return datetime.fromisoformat(stamp).timestamp() > time.time() + desk.ahead - RESTED_SECONDS


def _new(desk: Desk, shape: Shape, values: Values, key: str, added: Values) -> dict[str, Any]:
    sent = stored(desk, shape, values, creating=True)
    text = sent.pop("description", None) or sent.get("subject")
    for path, value in added.items():
        sent[path] = sorted({*sent.get("tags", ()), *value}) if path == "tags" else sent.get(path) or value
    if sent.get("due_at") and sent.get("type") != "task":
        raise _no_task()
    return {**_ticket(shape, sent), KEY: key, "comment": {"body": text, "public": True}}


def _ticket(shape: Shape, sent: Mapping[str, Any]) -> dict[str, Any]:
    custom = [
        {"id": id, "value": value} for path, value in sent.items() if (id := shape.columns[path].custom_id) is not None
    ]
    ticket = {path: value for path, value in sent.items() if shape.columns[path].custom_id is None}
    return ticket | ({"custom_fields": custom} if custom else {})


def _naming(shape: Shape, values: Values) -> Callable[[str, str], str | None]:
    return lambda key, text: shape.named(values, key, text)


# What comes back ----------------------------------------------------------------------------------------------------


def rows_of(desk: Desk, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Tickets by id, as Zendesk shows them; what is deleted or hidden is absent."""
    wanted = [id for id in dict.fromkeys(ids) if id.isascii() and plain_id(id)]
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(wanted), PAGE):
        part = wanted[start : start + PAGE]
        rows = desk.rows("tickets/show_many", "tickets", {"ids": ",".join(part)})
        found |= {str(row["id"]): row for row in rows if str(row["id"]) in part}
    return found


def records(desk: Desk, shape: Shape, rows: Sequence[Mapping[str, Any]], paths: Sequence[str]) -> list[Record]:
    names = people.values(desk, people_in(shape, rows, paths))
    return [record_of(shape, row, [*dict.fromkeys(paths)], names) for row in rows]


def by_key(desk: Desk, key: str) -> list[dict[str, Any]]:
    rows = [row for page, _ in desk.pages("tickets", "tickets", {KEY: key}) for row in page]
    return [row for row in rows if row.get(KEY) == key]


def _read_back(desk: Desk, shape: Shape, body: Any, paths: Sequence[str], external_id: str | None) -> Record:
    """The ticket that a write answered with. Raises Uncertain where it is none: the write is done all the same."""
    row = body.get("ticket") if isinstance(body, Mapping) else None
    id = plain_id(row.get("id")) if isinstance(row, Mapping) else None
    if not isinstance(row, Mapping) or not id or moment(row.get("updated_at")) is None or external_id not in (None, id):
        raise errors.unknown(True)
    return _after_write(desk, shape, row, paths)


def _after_write(desk: Desk, shape: Shape, row: Row, paths: Sequence[str]) -> Record:
    """A ticket that we wrote, now or before: where its people cannot be asked for, it is written all the same."""
    try:
        return records(desk, shape, [row], paths)[0]
    except ConnectorError as error:
        raise _unread(error, plain_id(row.get("id")) or "") from None


def _unread(error: ConnectorError, external_id: str) -> Uncertain:
    return Uncertain(f"Zendesk took the write. What it holds now could not be read: {error.message}", external_id)


def _replaced(desk: Desk, shape: Shape, body: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    """{path: value right before}, as the write's own audit tells: only what the write itself changed is there."""
    audit = body.get("audit")
    events = audit.get("events") if isinstance(audit, Mapping) else None
    found: dict[str, Any] = {}
    for event in events if isinstance(events, list) else []:
        path = shape.named(sent, str(event.get("field_name")), "") if isinstance(event, Mapping) else None
        if not path or path in found or event.get("type") != "Change" or "previous_value" not in event:
            continue
        if rule_of(event):
            continue  # a trigger replaced what we had just written
        before = event["previous_value"]
        id = plain_id(before)
        try:
            names = people.values(desk, [id]) if path in PEOPLE and id else {}
            found[path] = normal(shape, path, before, names)
        except (ValueError, TypeError, ConnectorError):
            continue  # told in another form: it proves nothing
    return found


def _one_by_one(desk: Desk, updates: Sequence[Update], fields: Sequence[str], shown: Shown) -> list[Result]:
    results: list[Result] = []
    for one in updates:
        if results and isinstance(results[-1], RateLimited) and not isinstance(results[-1], errors.OneLimited):
            results.append(results[-1])
            continue
        try:
            results.append(update(desk, one.external_id, one.values, one.expected_version, fields, shown))
        except ConnectorError as error:
            results.append(error)
    return results


def _job(
    desk: Desk,
    method: str,
    path: str,
    body: Any,
    names: Sequence[str],
    named: Sequence[Callable[[str, str], str | None]],
    paths: Sequence[str],
) -> list[Record | ConnectorError]:
    """The records of a bulk write, read back in one call, or what became of each instead."""
    try:
        told = jobs.run(desk, method, path, body, names)
    except ConnectorError as error:
        return [error] * len(names)
    results: list[Record | ConnectorError] = [
        one if isinstance(one, ConnectorError) else errors.item_error(one, name) or errors.unknown(True)
        for one, name in zip(told, named, strict=True)
    ]
    done = {
        place: plain_id(one.get("id")) or ""
        for place, one in enumerate(told)
        if isinstance(one, Mapping) and errors.item_error(one, named[place]) is None
    }
    try:
        rows = rows_of(desk, list(done.values()))
        read = {one.external_id: one for one in records(desk, desk.shape(), list(rows.values()), paths)}
    except ConnectorError as error:
        read, missing = {}, error
    else:
        missing = gone()
    # ⚑ What is not shown by now was written all the same: a create that is told without its number is made again.
    results = [_unread(missing, done[place]) if done.get(place) else one for place, one in enumerate(results)]
    return [read.get(done.get(place, ""), one) for place, one in enumerate(results)]


def _parts(places: Sequence[int]) -> list[list[int]]:
    return [list(places[start : start + PAGE]) for start in range(0, len(places), PAGE)]
