"""Who changed which field when: a ticket's audits, one for each update, with the values before and after.

Facts: Zendesk's reference, "Ticket Audits": a history of all updates to a ticket; payloads/zendesk/ticket_update, and
the description's example: ids are texts there, a custom field is named by its id, and what a trigger changed stands in
the audit of the update that set it off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connections.connectors import zendesk_people as people
from connections.connectors.base import Change, Gone, NotAllowed
from connections.connectors.zendesk_desk import Desk
from connections.connectors.zendesk_fields import PEOPLE, Shape, moment, normal, plain_id, rule_of
from connections.connectors.zendesk_writes import ticket_path

KINDS = ("Create", "Change")


def of_tickets(desk: Desk, ids: Sequence[str], fields: Sequence[str], since: str) -> dict[str, list[Change]]:
    """Oldest first: one call a ticket, Zendesk has no other. A ticket that is gone or hidden has no entry."""
    shape = desk.shape()
    paths = [path for path in dict.fromkeys(fields) if path in shape.columns]
    found: dict[str, list[Change]] = {}
    for id in dict.fromkeys(ids):
        try:
            audits = desk.all(f"{ticket_path(id)}/audits", "audits")
        except (Gone, NotAllowed):
            continue
        recent = [one for one in audits if (moment(one.get("created_at")) or "")[:19] >= since[:19]]
        found[id] = _changes(desk, shape, recent, paths)
    return found


def _changes(desk: Desk, shape: Shape, audits: Sequence[Mapping[str, Any]], paths: Sequence[str]) -> list[Change]:
    told = [(audit, event, path) for audit in audits for event, path in _events(shape, audit, paths)]
    authors = people.names(desk, {id for audit, _, _ in told if (id := plain_id(audit.get("author_id")))})
    named = {
        id
        for _, event, path in told
        for key in ("value", "previous_value")
        if path in PEOPLE and (id := plain_id(event.get(key)))
    }
    persons = people.values(desk, named)
    found = []
    for audit, event, path in told:
        by, rule = plain_id(audit.get("author_id")), rule_of(event)
        before, after = (_value(shape, path, event.get(key), persons) for key in ("previous_value", "value"))
        if before == after and event.get("type") == "Change":
            continue  # of the tags only some that belong to other fields changed
        found.append(
            Change(
                field=path,
                at=str(moment(audit.get("created_at"))),
                by=None if rule else by,
                by_name=rule or authors.get(by or ""),
                before=before,
                after=after,
            )
        )
    return found


def _events(shape: Shape, audit: Mapping[str, Any], paths: Sequence[str]) -> list[tuple[Mapping[str, Any], str]]:
    events = audit.get("events")
    found = []
    for event in events if isinstance(events, list) else []:
        if isinstance(event, Mapping) and event.get("type") in KINDS:
            path = shape.named(paths, str(event.get("field_name")), "")
            if path:
                found.append((event, path))
    return found


def _value(shape: Shape, path: str, raw: Any, persons: Mapping[str, str]) -> Any:
    try:
        return normal(shape, path, raw, persons)
    except (ValueError, TypeError):
        return raw
