"""A Zendesk stand-in behind HTTP and a connector that talks to it, for tests of either's neighbours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from connections.connectors.base import Context
from connections.connectors.http import Session
from connections.connectors.zendesk import Zendesk
from connections.sandbox.base import Request, Response, Server
from connections.sandbox.zendesk import ZendeskStandin
from connections.tests.evidence import check_request
from connections.tests.salesforce_world import State, Tokens

TOKEN, BEARER = "a-long-api-token", "a-long-access-token"


class Recording(ZendeskStandin):
    """Keeps every request as it came, for the strict check against the description."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.requests: list[Request] = []

    def handle(self, request: Request) -> Response:
        self.requests.append(request)
        return super().handle(request)

    def calls(self) -> list[str]:
        """ "METHOD path" of the API calls so far."""
        return [f"{r.method} {r.path.removeprefix('/api/v2/')}" for r in self.requests if r.path.startswith("/api/")]


class World:
    def __init__(self, app: Recording, address: str) -> None:
        self.app = app
        self.records = app.records
        self.address = address
        self.us = self.records.user("Sync Admin", "sync@acme.example", "admin")
        app.tokens[TOKEN] = app.bearers[BEARER] = "sync@acme.example"
        app.exports_a_minute = None
        self.jane = self.records.user("Jane Doe", "Jane.Doe@acme.example")
        self.tokens = Tokens()
        self.state = State()
        self.connector = self.open()

    def open(self, name: str = "acme", secrets: dict[str, str] | None = None, **settings: str) -> Zendesk:
        """Another connector on the same tokens and state, as another worker has."""
        given = {"email": "sync@acme.example", **settings}
        held = {"api_token": TOKEN} if secrets is None else secrets
        http = Session(self.address, name=name, secrets=list(held.values()))
        connector = Zendesk(Context(name, self.address, given, held, http, self.tokens, self.state))
        connector.desk.forget()
        return connector

    def ticket(self, **values: Any) -> str:
        """A ticket made by a person."""
        given = {"subject": "Printer on fire", "comment": {"body": "It burns."}, "status": "open", **values}
        return str(self.records.create(given, self.jane)[0]["id"])

    def value(self, ticket: str, key: str | int) -> Any:
        row = self.records.ticket(ticket) or {}
        if isinstance(key, str):
            return row[key]
        return next(one["value"] for one in row["custom_fields"] if one["id"] == key)


# A write empties a field with null, which live answers are full of and the description's schemas forget; and its
# `start_time` is missing from the address that leads to the next page (payloads/zendesk/incremental_tickets_cursor).
# The body of a new organization is told in the description's words alone.
def _as_described(request: Request) -> tuple[dict[str, str], Any]:
    query = {**request.query, **({"start_time": "0"} if "cursor" in request.query else {})}
    untold = (request.method, request.path) == ("POST", "/api/v2/organizations")
    body = json.loads(request.body) if request.body and not untold else None
    return query, _without_null(body)


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(one) for key, one in value.items() if one is not None}
    return [_without_null(one) for one in value] if isinstance(value, list) else value


def check_all_requests(found: World) -> None:
    """Fails on any request that the description has something against."""
    for request in found.app.requests:
        if request.path.startswith("/api/"):
            query, body = _as_described(request)
            check_request("zendesk", request.method, request.path, query, request.headers, body)


class Door(ZendeskStandin):
    """One address for many stand-ins, one after the other: one server instead of one a test."""

    behind: Recording

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        return self.behind(environ, start_response)

    def opened(self, address: str) -> World:
        """A fresh stand-in behind the door."""
        self.behind = Recording()
        return World(self.behind, address)


@contextmanager
def world(**options: Any) -> Iterator[World]:
    app = Recording(**options)
    with Server(app) as address:
        yield World(app, address)
