"""Admin webhooks of the Jira stand-in over /rest/webhooks/1.0, for people who administer Jira."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from connections.sandbox.base import Request, Response
from connections.sandbox.jira_fields import Refusal
from connections.sandbox.jira_records import Doc, User
from connections.sandbox.jira_resource import Resource, Route, body_of
from connections.sandbox.jira_site import Site
from connections.sandbox.jira_webhooks import EVENTS, Webhooks


class WebhookAdmin(Resource):
    """Registrations; the secret is written and never shown."""

    def __init__(
        self,
        site: Site,
        caller: Callable[[Request], User],
        base: Callable[[Request], str],
        webhooks: Webhooks,
    ) -> None:
        super().__init__(site, caller, base)
        self.webhooks = webhooks

    def table(self) -> Iterable[Route]:
        path = "/rest/webhooks/1.0/webhook"
        one = path + r"/(?P<id>\d+)"
        return [
            ("GET", path, self.list),
            ("POST", path, self.add),
            ("GET", one, self.get),
            ("PUT", one, self.put),
            ("DELETE", one, self.delete),
        ]

    def shown(self, request: Request, hook: Doc) -> Doc:
        user = self.caller(request)
        return {
            "name": hook["name"],
            "url": hook["url"],
            "excludeBody": False,
            "filters": {"issue-related-events-section": hook["filter"]},
            "events": hook["events"],
            "enabled": hook["enabled"],
            "isSigned": bool(hook["secret"]),
            "self": f"{self.base(request)}/rest/webhooks/1.0/webhook/{hook['id']}",
            "lastUpdatedUser": user["accountId"],
            "lastUpdatedDisplayName": user["displayName"],
            "lastUpdated": hook["lastUpdated"],
        }

    def _admin(self, request: Request) -> None:
        if not self.site.may(self.caller(request), "admin"):
            raise Refusal(403, ["You must have 'Administer Jira' permission to manage webhooks."])

    def webhook(self, request: Request, id: str) -> Doc:
        self._admin(request)
        hook = self.site.store.get("webhook", id)
        if hook is None:
            raise Refusal(404, [f"No webhook with id {id}."])
        return dict(hook)

    def list(self, request: Request) -> Response:
        self._admin(request)
        return Response(200, [self.shown(request, h) for h in self.webhooks.all()])

    def fields(self, body: Doc) -> Doc:
        url, events = str(body.get("url") or ""), body.get("events") or []
        if not url.startswith(("http://", "https://")):
            raise Refusal(400, errors={"url": "The URL must start with http:// or https://."})
        if not isinstance(events, list) or not events or not set(events) <= set(EVENTS):
            raise Refusal(400, errors={"events": f"Unknown event in {events}; known are {', '.join(EVENTS)}."})
        filter = str((body.get("filters") or {}).get("issue-related-events-section") or "")
        return {"url": url, "events": events, "filter": filter, "name": str(body.get("name") or url)}

    def add(self, request: Request) -> Response:
        self._admin(request)
        body = body_of(request)
        id = self.webhooks.add(secret=str(body.get("secret") or ""), **self.fields(body))
        return Response(201, self.shown(request, self.webhook(request, id)))

    def get(self, request: Request, id: str) -> Response:
        return Response(200, self.shown(request, self.webhook(request, id)))

    def put(self, request: Request, id: str) -> Response:
        hook = self.webhook(request, id)
        body = body_of(request)
        changes = self.fields({**hook, "filters": {"issue-related-events-section": hook["filter"]}, **body})
        if "secret" in body:
            changes["secret"] = str(body["secret"] or "")
        if "enabled" in body:
            changes["enabled"] = bool(body["enabled"])
        changed = self.webhooks.change(id, **changes)
        return Response(200, self.shown(request, changed or hook))

    def delete(self, request: Request, id: str) -> Response:
        self.webhook(request, id)
        self.webhooks.remove(id)
        return Response(204)
