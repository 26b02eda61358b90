"""Jira's webhook requests: signature, and what they say about which record. Makes no calls.

Source: Atlassian "Webhooks" and "Secure admin webhooks"; payloads have the shape of REST version 2, so documents are
wiki text there and never comparable with ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from connections.connectors.base import DeliveryRequest, Hint, ParsedDelivery
from connections.connectors.jira_values import history_field, moment, named, number, person, stamp, text
from connections.connectors.proofs import Proof, Verdict

PROOF = Proof(header="x-hub-signature", prefix="sha256=")
IDENTIFIER = "x-atlassian-webhook-identifier"  # equal over Jira's retries of one delivery
EVENTS = (
    "jira:issue_created",
    "jira:issue_updated",
    "jira:issue_deleted",
    "comment_created",
    "comment_updated",
    "comment_deleted",
)
UNKNOWN = object()


def parse(request: DeliveryRequest, verdict: Verdict, account_id: str | None) -> ParsedDelivery:
    """`account_id`: of our own account, if known. Raises ValueError on what is no Jira event."""
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        raise ValueError("the body is no JSON") from None
    if not isinstance(body, Mapping) or not isinstance(body.get("webhookEvent"), str):
        raise ValueError("the body is no Jira event")
    event = body["webhookEvent"]
    return ParsedDelivery(
        delivery_id=request.headers.get(IDENTIFIER) or None,
        event=event,
        verified=verdict.verified,
        reason=verdict.reason,
        hints=_hints(event, body, account_id, verdict.verified),
        provable=verdict.provable,
    )


def _hints(event: str, body: Mapping[str, Any], account_id: str | None, verified: bool) -> list[Hint]:
    issue = _mapping(body.get("issue"))
    issue_id = _id(issue)
    at = stamp(body.get("timestamp"))
    user = _mapping(body.get("user")).get("accountId")
    own = bool(account_id) and user == account_id
    if event.startswith("comment_"):
        comment = _mapping(body.get("comment"))
        # No user is named; for a deletion the last editor need not be who deleted.
        author = _mapping(comment.get("updateAuthor") or comment.get("author")).get("accountId")
        deleted = event == "comment_deleted"
        own = bool(account_id) and author == account_id and not deleted
        hints = []
        if comment_id := _id(comment):
            version = stamp(comment.get("updated"))
            hints.append(Hint("comment", comment_id, version, own, None, deleted, verified, at))
        if issue_id:
            hints.append(Hint("issue", issue_id, own_account=False, verified=verified, at=at))
        return hints
    if not event.startswith("jira:issue_") or not issue_id:
        return []
    fields = _mapping(issue.get("fields"))
    deleted = event == "jira:issue_deleted"
    return [
        Hint(
            "issue",
            issue_id,
            version=None if deleted else stamp(fields.get("updated")),
            own_account=own,
            changes=None if deleted else _changes(body, fields),
            deleted=deleted,
            verified=verified,
            at=at,
            created=event == "jira:issue_created",
        )
    ]


def _changes(body: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The new values of all changed fields, exactly as a read would give them; None where one cannot be told so."""
    items = _mapping(body.get("changelog")).get("items")
    if not isinstance(items, list) or not items:
        return None
    found: dict[str, Any] = {}
    for item in items:
        path = history_field(item) if isinstance(item, Mapping) else ""
        if path not in fields:
            return None
        value = _exact(path, fields[path])
        if value is UNKNOWN:
            return None
        found[path] = value
    return found


def _exact(path: str, raw: Any) -> Any:
    match path:
        case "summary":
            return text(raw)
        case "status" | "priority" | "resolution" | "issuetype":
            return text(named(raw, "name"))
        case "labels":
            return sorted(set(raw)) if isinstance(raw, list) else UNKNOWN
        case "duedate":
            return str(raw)[:10] if raw else None
        case "assignee" | "reporter":
            # A hidden address here need not be hidden from our account.
            return None if raw is None else person(raw) if _mapping(raw).get("emailAddress") else UNKNOWN
        case "resolutiondate":
            return moment(raw)
    if not path.startswith("customfield_") or raw is None or isinstance(raw, bool | str):
        return UNKNOWN  # an empty set and an empty text look alike; a text may be a document's wiki text
    if isinstance(raw, int | float):
        return number(raw)
    if isinstance(raw, Mapping) and isinstance(raw.get("value"), str) and "child" not in raw:
        return text(raw["value"])
    if isinstance(raw, list) and raw and all(isinstance(_mapping(one).get("value"), str) for one in raw):
        return sorted({one["value"] for one in raw})
    return UNKNOWN


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _id(value: Mapping[str, Any]) -> str:
    id = value.get("id")
    return str(id) if isinstance(id, str | int) and str(id).isdigit() else ""
