"""Webhooks and triggers: who is told of a change, and the signed request that tells it.

`sent`: (url, headers, body) of what went out, in order; deliveries go out at once, from the thread of the change.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import requests

from connections.sandbox.base import Request, Response, Stop
from connections.sandbox.zendesk_answers import failed
from connections.sandbox.zendesk_records import Invalid, Row

if TYPE_CHECKING:
    from connections.sandbox.zendesk import ZendeskStandin

SEND_SECONDS = 5.0
EVENT = "zen:event-type:ticket."
CONDITIONAL = "conditional_ticket_events"
DELETIONS = ("soft_deleted", "permanently_deleted", "undeleted")


class Webhooks:
    """`events`: whether the account's plan sends ticket events."""

    def __init__(self, app: ZendeskStandin, clock: Callable[[], float]) -> None:
        self.app = app
        self.store = app.store
        self.clock = clock
        self.events = True
        self.sent: list[tuple[str, dict[str, str], bytes]] = []
        self._session = requests.Session()
        self._session.trust_env = False
        app.records.on_change = self.on_change
        app.route("POST", r"/api/v2/webhooks", self.create)
        app.route("GET", r"/api/v2/webhooks/(?P<id>\w+)/signing_secret", self.secret)
        app.route("DELETE", r"/api/v2/webhooks/(?P<id>\w+)", self.remove)
        app.route("POST", r"/api/v2/triggers", self.create_trigger)
        app.route("DELETE", r"/api/v2/triggers/(?P<id>\d+)", self.remove_trigger)

    def create(self, request: Request) -> Response:
        given = request.json()["webhook"]
        wanted = given.get("subscriptions") or []
        if wanted != [CONDITIONAL] and not (self.events and all(one.startswith("zen:event-type:") for one in wanted)):
            raise Stop(Response(422, Invalid({"subscriptions": "Subscriptions: are not available"}).document()))
        id = secrets.token_hex(13).upper()
        row = {"id": id, **given, "created_at": self.app.records.stamp(), "created_by": "1"}
        self.store.put("webhook", id, {**row, "secret": secrets.token_urlsafe(32)})
        return Response(201, {"webhook": row})

    def secret(self, request: Request, id: str) -> Response:
        hook = self.store.get("webhook", id)
        if hook is None:
            return failed(404, "RecordNotFound", "Not found")
        return Response(200, {"signing_secret": {"algorithm": "SHA256", "secret": hook["secret"]}})

    def remove(self, request: Request, id: str) -> Response:
        if self.store.get("webhook", id) is None:
            return failed(404, "RecordNotFound", "Not found")
        self.store.remove("webhook", id)
        return Response(204)

    def create_trigger(self, request: Request) -> Response:
        id = self.store.next_number("trigger", 7_000_001)
        row = {"id": id, "active": True, **request.json()["trigger"]}
        self.store.put("trigger", str(id), row)
        return Response(201, {"trigger": row})

    def remove_trigger(self, request: Request, id: str) -> Response:
        self.store.remove("trigger", id)
        return Response(204)

    # What goes out -------------------------------------------------------------------------------------------------

    def on_change(self, event: str, ticket: Row) -> None:
        for hook in self.store.all("webhook"):
            if EVENT + event in hook["subscriptions"]:
                self._send(hook, self.event(event, ticket))
        if event in DELETIONS:
            return  # no trigger runs on a deletion
        for trigger in self.store.all("trigger"):
            for action in trigger["actions"]:
                if action["field"] == "notification_webhook":
                    hook = self.store.get("webhook", action["value"][0])
                    body = action["value"][1].replace("{{ticket.id}}", str(ticket["id"])).encode()
                    if hook:
                        self._send(hook, body)

    def event(self, event: str, ticket: Row) -> bytes:
        """The body of an event, in the form of payloads/zendesk/webhook_user_event: ids are texts, enums upper case."""
        detail: dict[str, Any] = {
            "id": str(ticket["id"]),
            "subject": ticket["subject"],
            "status": ticket["status"].upper(),
            "created_at": ticket["created_at"],
            "updated_at": ticket["updated_at"],
            "external_id": ticket["external_id"] or "",
        }
        told = {
            "type": EVENT + event,
            "account_id": 18525119,
            "id": str(uuid.uuid4()),
            "subject": f"zen:ticket:{ticket['id']}",
            "time": ticket["updated_at"],
            "zendesk_event_version": "2022-11-06",
            "detail": detail,
            "event": {},
        }
        return json.dumps(told).encode()

    def signed(self, secret: str, body: bytes) -> dict[str, str]:
        at = datetime.fromtimestamp(int(self.clock()), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        mac = hmac.new(secret.encode(), at.encode() + body, hashlib.sha256).digest()
        return {
            "Content-Type": "application/json; charset=utf-8",
            "X-Zendesk-Webhook-Signature": base64.b64encode(mac).decode(),
            "X-Zendesk-Webhook-Signature-Timestamp": at,
            "X-Zendesk-Webhook-Invocation-Id": uuid.uuid4().hex,
        }

    def _send(self, hook: Row, body: bytes) -> None:
        headers = self.signed(hook["secret"], body)
        self.sent.append((hook["endpoint"], headers, body))
        try:
            self._session.post(hook["endpoint"], data=body, headers=headers, timeout=SEND_SECONDS)
        except requests.RequestException:
            return  # Zendesk would try again; polling finds it
