"""A ServiceNow stand-in behind HTTP and a connector that talks to it, for tests of either's neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from connections.connectors.base import Context
from connections.connectors.http import Session
from connections.connectors.servicenow import ServiceNow
from connections.sandbox.base import Request, Response, Server
from connections.sandbox.servicenow import ServiceNowStandin
from connections.tests.evidence import check_request
from connections.tests.salesforce_world import State, Tokens

PASSWORD, SECRET = "a-long-password", "a-long-webhook-secret"


class Recording(ServiceNowStandin):
    """Keeps every request as it came, for the strict check against the description."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.requests: list[Request] = []

    def handle(self, request: Request) -> Response:
        self.requests.append(request)
        return super().handle(request)

    def calls(self, part: str = "/api/") -> list[str]:
        """ "METHOD path" of the API calls so far."""
        return [f"{r.method} {r.path}" for r in self.requests if part in r.path]


class World:
    def __init__(self, app: Recording, address: str) -> None:
        self.app = app
        self.records = app.records
        self.address = address
        self.us = self.records.user("Sync Admin", "sync@acme.example", "syncadmin", web_service_access_only="true")
        app.oauth.passwords["syncadmin"] = PASSWORD
        self.jane = self.records.user("Jane Doe", "Jane.Doe@acme.example")
        self.tokens = Tokens()
        self.state = State()
        self.connector = self.open()

    def open(self, name: str = "acme", secrets: dict[str, str] | None = None, **settings: str) -> ServiceNow:
        """Another connector on the same tokens and state, as another worker has."""
        given = {"username": "syncadmin", "tables": "incident", **settings}
        held = {"password": PASSWORD, "webhook_secret": SECRET} if secrets is None else secrets
        http = Session(self.address, name=name, secrets=list(held.values()))
        connector = ServiceNow(Context(name, self.address, given, held, http, self.tokens, self.state))
        connector.instance.forget()
        return connector

    def incident(self, **values: str) -> str:
        """An incident made by a person."""
        given = {"short_description": "Printer on fire", **values}
        return self.records.create("incident", given, "jane.doe")["sys_id"]

    def value(self, incident: str, element: str) -> str:
        return self.records.rows("incident")[incident][element]


def check_all_requests(found: World) -> None:
    """Fails on any request, also inside a batch, that the description has something against."""
    for request in (*found.app.requests, *found.app.parts):
        if request.path.startswith(("/api/", "/oauth")):
            description = "servicenow_attachments" if "/attachment" in request.path else "servicenow"
            check_request(
                description, request.method, request.path, request.query, request.headers, request.body or None
            )


@contextmanager
def world(**options: Any) -> Iterator[World]:
    app = Recording(**options)
    with Server(app) as address:
        yield World(app, address)
