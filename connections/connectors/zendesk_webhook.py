"""Zendesk's webhook requests: how they are asked for, their signature, and which ticket they are about.

Where the account's plan sends ticket events, one webhook tells of everything, deletions too; else a trigger of ours
calls it, which sees no deletion. An event is a hint: its values are in another form than a read's. Facts: "Verifying
webhook authenticity": base64(HMAC-SHA256(secret, timestamp + body)); payloads/zendesk/webhook_*.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from connections.connectors.base import DeliveryRequest, Gone, Hint, NotAllowed, ParsedDelivery, Refused, Step
from connections.connectors.proofs import Proof, Verdict
from connections.connectors.zendesk_comments import INTERNAL, PUBLIC
from connections.connectors.zendesk_desk import Desk
from connections.connectors.zendesk_errors import unknown
from connections.connectors.zendesk_fields import moment, plain_id

PROOF = Proof(
    header="x-zendesk-webhook-signature",
    encoding="base64",
    signed=("timestamp", "body"),
    timestamp="x-zendesk-webhook-signature-timestamp",
    unit="iso",
)
INVOCATION = "x-zendesk-webhook-invocation-id"  # equal over Zendesk's retries of one delivery
TICKET = "zen:event-type:ticket."
DELETED = ("soft_deleted", "permanently_deleted")
EVENTS = tuple(
    TICKET + event
    for event in (
        *("created", "agent_assignment_changed", "comment_added", "comment_made_private", "comment_redacted"),
        *("custom_field_changed", "custom_status_changed", "description_changed", "external_id_changed"),
        *("form_changed", "group_assignment_changed", "marked_as_spam", "merged", "organization_changed"),
        *("permanently_deleted", "priority_changed", "problem_link_changed", "requester_changed", "soft_deleted"),
        *("status_changed", "subject_changed", "tags_changed", "task_due_at_changed", "type_changed", "undeleted"),
    )
)
CONDITIONAL = "conditional_ticket_events"
# Nothing a customer wrote: a quotation mark in it would break the request's body.
TEMPLATE = '{"ticket_id": "{{ticket.id}}"}'
HOOKS, TRIGGERS = "webhooks", "triggers"
STATE, SECRET = "webhook", "signing_secret"


def parse(request: DeliveryRequest, verdict: Verdict) -> ParsedDelivery:
    """Raises ValueError on what is no delivery."""
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        raise ValueError("the body is no JSON") from None
    if not isinstance(body, Mapping):
        raise ValueError("the body is no event")
    event, hints = _told(body, verdict.verified)
    return ParsedDelivery(
        delivery_id=request.headers.get(INVOCATION) or None,
        event=event,
        verified=verdict.verified,
        reason=verdict.reason,
        hints=hints,
        provable=verdict.provable,
    )


def _told(body: Mapping[str, Any], verified: bool) -> tuple[str, list[Hint]]:
    if "type" not in body:
        id = plain_id(body.get("ticket_id"))
        if not id:
            raise ValueError("the body names no ticket")
        return "ticket", [Hint("ticket", id, verified=verified)]
    type, detail = body["type"], body.get("detail")
    if not isinstance(type, str) or not isinstance(detail, Mapping):
        raise ValueError("the body is no event")
    id = plain_id(detail.get("id"))
    if not type.startswith(TICKET) or not id:
        return type, []
    event = type.removeprefix(TICKET)
    at = moment(body.get("time"))
    deleted = event in DELETED
    return type, [Hint("ticket", id, deleted=deleted, verified=verified, at=at, created=event == "created")]


def subscribe(desk: Desk, object_types: Sequence[str], url: str) -> None:
    """Make the webhook, and the trigger where events cannot be had: it tells of no deletion, which polls find."""
    if not {"ticket", PUBLIC, INTERNAL} & set(object_types):
        raise Refused("Zendesk sends changes of tickets only. Nothing was registered; the others are found by polling.")
    unsubscribe(desk)
    try:
        try:
            hook, trigger = _webhook(desk, url, EVENTS), None
        except Refused:
            hook = _webhook(desk, url, (CONDITIONAL,))
            desk.context.state.put(STATE, {"webhook": hook})
            trigger = _trigger(desk, hook)
        desk.context.state.put(STATE, {"webhook": hook, "trigger": trigger})
        _keep_secret(desk, hook)
    except (NotAllowed, Gone, Refused) as error:
        raise NotAllowed(
            "Our account may not register webhooks at Zendesk; that takes an administrator. An administrator of "
            "Zendesk can do it by hand."
        ) from error


def unsubscribe(desk: Desk) -> None:
    kept = desk.context.state.get(STATE) or {}
    for path, id in ((TRIGGERS, kept.get("trigger")), (HOOKS, kept.get("webhook"))):
        if id:
            desk.call("DELETE", f"{path}/{id}", write=True, ok=(404,))
    if kept:
        desk.context.state.put(STATE, None)


def by_hand(url: str) -> Sequence[Step]:
    return (
        Step(
            "In Zendesk's Admin Center, open Apps and integrations → Webhooks → Create webhook → Zendesk events, and "
            "choose all events of tickets. Request method: POST. Request format: JSON. Endpoint URL:",
            url,
        ),
        Step("Then open the webhook, reveal its signing secret, and enter it in this connection."),
    )


def _webhook(desk: Desk, url: str, subscriptions: Sequence[str]) -> str:
    webhook = {
        "name": f"SyncAdmin {desk.context.name}",
        "endpoint": url,
        "http_method": "POST",
        "request_format": "json",
        "status": "active",
        "subscriptions": list(subscriptions),
    }
    body = desk.call("POST", HOOKS, json={"webhook": webhook}, write=True).json
    made = body.get("webhook") if isinstance(body, Mapping) else None
    id = made.get("id") if isinstance(made, Mapping) else None
    if not isinstance(id, str) or not id.isalnum():
        raise unknown(True)
    return id


def _trigger(desk: Desk, hook: str) -> str:
    trigger = {
        "title": f"SyncAdmin {desk.context.name}",
        "conditions": {
            "any": [
                {"field": "update_type", "operator": "is", "value": "Create"},
                {"field": "update_type", "operator": "is", "value": "Change"},
            ],
            "all": [],
        },
        "actions": [{"field": "notification_webhook", "value": [hook, TEMPLATE]}],
    }
    body = desk.call("POST", TRIGGERS, json={"trigger": trigger}, write=True).json
    made = body.get("trigger") if isinstance(body, Mapping) else None
    id = plain_id(made.get("id")) if isinstance(made, Mapping) else None
    if not id:
        raise unknown(True)
    return id


def _keep_secret(desk: Desk, hook: str) -> None:
    """Zendesk makes the secret; it is kept encrypted, as tokens are."""
    body = desk.call("GET", f"{HOOKS}/{hook}/signing_secret").json
    told = body.get("signing_secret") if isinstance(body, Mapping) else None
    secret = told.get("secret") if isinstance(told, Mapping) else None
    if not isinstance(secret, str) or not secret:
        raise unknown(False)
    desk.context.http.hide(secret)
    desk.context.tokens.renew(desk.context.tokens.current(), lambda: {SECRET: secret})
