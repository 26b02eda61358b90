"""Public comments and internal notes, as records with a parent: entries of a ticket that are never changed.

Customers see comments, and nobody but agents sees notes: each is an object type of its own, so that no mapping can take
one for the other. The first comment of a ticket is its description and no entry. Entries can carry no key.
An entry is found by its ticket only, so its id here is "<ticket>:<comment>".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from connections.connectors import zendesk_errors as errors
from connections.connectors import zendesk_export as export
from connections.connectors import zendesk_lookups as lookups
from connections.connectors import zendesk_people as people
from connections.connectors.base import (
    ConnectorError,
    Field,
    Gone,
    Page,
    RateLimited,
    Record,
    Refused,
    Uncertain,
    Values,
    WriteResult,
)
from connections.connectors.zendesk_desk import Desk
from connections.connectors.zendesk_fields import TEXT_LENGTH, TITLE_LENGTH, UNREADABLE, moment, plain_id
from connections.connectors.zendesk_writes import ticket_path

PUBLIC, INTERNAL = "ticket.comment", "ticket.note"
TYPES = {PUBLIC: "Ticket: public comments", INTERNAL: "Ticket: internal notes"}
FIELDS = (
    Field("body", "Text", "rich_text", format="plain", required=True, max_length=TEXT_LENGTH),
    Field("author", "Author", "person", writable=False, creatable=False),
    Field("created", "Created", "datetime", writable=False, creatable=False),
)
# Each ticket is a call: between two pages the caller handles live edits and keeps its lease.
TICKETS_A_PAGE = 10
# Longer the list waits for calls no more: others use them up, and a worker should not wait for them.
LONGEST_WAIT = 180.0
# The export shows a ticket once it has rested for a minute: an entry is told of as late as its ticket is edited on.
RESTLESS_SECONDS = 24 * 3600.0
FIXED = "Zendesk's comments cannot be changed. Nothing was written. Let the rule be one-way, for new comments."


def of_parents(desk: Desk, kind: str, parents: Sequence[str], fields: Sequence[str]) -> dict[str, list[Record]]:
    """Entries by ticket, oldest first: one call a ticket, Zendesk has no other."""
    return {parent: _of(desk, kind, parent, fields) for parent in dict.fromkeys(parents)}


def read(desk: Desk, kind: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, Record]:
    wanted = {id: split[0] for id in ids if (split := _split(id))}
    entries = [one for parent in dict.fromkeys(wanted.values()) for one in _of(desk, kind, parent, fields)]
    return {one.external_id: one for one in entries if one.external_id in wanted}


def changes(desk: Desk, kind: str, since: str | None, fields: Sequence[str]) -> Iterator[Page]:
    """Entries of all tickets that changed since then, since a new entry changes its ticket; without those that are much
    older. ⚑ One that was made before then may be told of only now, see RESTLESS_SECONDS."""
    begin = export.shifted(since, RESTLESS_SECONDS)[:19] if since else ""
    reached = since
    for page in export.tickets(desk, since):
        for start in range(0, max(1, len(page.rows)), TICKETS_A_PAGE):
            rows = page.rows[start : start + TICKETS_A_PAGE]
            alive = [row for row in rows if row.get("status") != "deleted"]
            found: list[Record] = []
            for row in alive:
                for some in _waiting(partial(_of, desk, kind, str(row["id"]), fields)):
                    if some is None:
                        yield Page([], reached, server_time=page.started)
                    found += some or []
            entries = [one for one in found if (one.created_at or begin) >= begin]
            stamps = [at for row in rows if (at := export.changed_at(row))]
            reached = max([reached or "", *stamps]) or None
            last = page.last and start + TICKETS_A_PAGE >= len(page.rows)
            if last and page.started:
                reached = max(reached or "", export.complete_until(page.started))
            entries.sort(key=lambda one: one.created_at or "")
            yield Page(entries, reached, server_time=page.started, last=last)


def _waiting(read: Callable[[], list[Record]]) -> Iterator[list[Record] | None]:
    """What `read` gives, and None for each moment that it has to wait before: a list that breaks off begins anew, and
    one of so many calls would never end. Raises RateLimited where that takes too long."""
    left = LONGEST_WAIT
    while True:
        try:
            yield read()
            return
        except RateLimited as limit:
            left -= limit.after
            if left < 0:
                raise
            for _ in range(int(limit.after / export.STEP_SECONDS) + 1):
                yield None
                export.pause(export.STEP_SECONDS)


def create(desk: Desk, kind: str, values: Values, parent_id: str | None) -> WriteResult:
    others = sorted(set(values) - {"body"})
    if others:
        raise Refused("Only the text of a comment can be written.", dict.fromkeys(others, "It is read-only."))
    text = str(values.get("body") or "")
    if not text.strip():
        raise Refused("A comment cannot be empty. Nothing was written.", {"body": "It cannot be empty."})
    if not parent_id:
        raise Refused("A comment needs its ticket. Nothing was written. Link the ticket first.")
    body = {"ticket": {"comment": {"body": text, "public": kind == PUBLIC}}}
    path = ticket_path(parent_id)
    answer = desk.call("PUT", path, json=body, write=True, named=lambda key, about: "body")
    audit = answer.json.get("audit") if isinstance(answer.json, Mapping) else None
    audit = audit if isinstance(audit, Mapping) else {}
    events = audit.get("events")
    for event in events if isinstance(events, list) else []:
        if isinstance(event, Mapping) and event.get("type") == "Comment" and plain_id(event.get("id")):
            row = {"created_at": audit.get("created_at"), **event}
            try:
                return WriteResult(_records(desk, parent_id, [row], ("body", "author", "created"))[0], created=True)
            except ConnectorError as error:
                raise Uncertain(f"Zendesk took the comment. It could not be read back: {error.message}") from None
    raise errors.unknown(True)


def own_recent(desk: Desk, kind: str, since: str, fields: Sequence[str]) -> list[Record]:
    """Also those of tickets that were edited just now: taken for missing, they would be made again."""
    me = desk.me()["id"]
    found = [one for ticket in lookups.updated_since(desk, since) for one in _of(desk, kind, ticket, fields)]
    return [one for one in found if one.created_by == me and (one.created_at or since) >= since[:19]]


def missing(desk: Desk, kind: str, external_id: str) -> ConnectorError:
    """Why an entry cannot be changed: it is not there, or entries never can be."""
    if external_id in read(desk, kind, [external_id], ()):
        return fixed()
    return Gone("Zendesk shows no such comment. Nothing was changed. It was deleted, or is hidden.", certain=False)


def fixed() -> Refused:
    return Refused(FIXED, {"body": FIXED})


def _split(external_id: str) -> tuple[str, str] | None:
    ticket, _, comment = external_id.partition(":")
    fits = external_id.isascii() and plain_id(ticket) and plain_id(comment)
    return (ticket, comment) if fits else None


def _of(desk: Desk, kind: str, ticket: str, fields: Sequence[str]) -> list[Record]:
    try:
        rows = desk.all(f"{ticket_path(ticket)}/comments", "comments")
    except Gone:
        return []  # deleted or hidden, and its entries with it
    own = [row for row in rows[1:] if row.get("public") is (kind == PUBLIC)]
    return _records(desk, ticket, own, fields)


def _records(desk: Desk, ticket: str, rows: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> list[Record]:
    authors = {id for row in rows if (id := plain_id(row.get("author_id")))}
    persons, names = people.values(desk, authors), people.names(desk, authors)
    found = []
    for row in rows:
        at, by = moment(row.get("created_at")), plain_id(row.get("author_id"))
        raw = row.get("body")
        text = raw.replace("\r\n", "\n").replace("\r", "\n") if isinstance(raw, str) else ""
        values = {"body": text or None, "author": persons.get(by or ""), "created": at}
        found.append(
            Record(
                external_id=f"{ticket}:{plain_id(row.get('id'))}",
                version=at or UNREADABLE,
                values={path: values[path] for path in fields if path in values},
                updated_at=at,
                updated_by=by,
                updated_by_name=names.get(by or ""),
                created_at=at,
                created_by=by,
                title=text.replace("\n", " ")[:TITLE_LENGTH] or None,
                parent_id=ticket,
                unreadable=frozenset(path for path in fields if path not in values),
            )
        )
    return found
