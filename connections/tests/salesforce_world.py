"""A Salesforce stand-in behind HTTP and a connector that talks to it, for tests of either's neighbours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from connections.connectors.base import Context
from connections.connectors.http import Session
from connections.connectors.salesforce import Salesforce
from connections.sandbox.base import Request, Response, Server
from connections.sandbox.salesforce import SalesforceStandin
from connections.tests.evidence import check_request, request_errors


class Tokens:
    """A token store of one process that counts the sign-ins."""

    def __init__(self) -> None:
        self.token: dict[str, Any] | None = None
        self.renewals = 0

    def current(self) -> dict[str, Any] | None:
        return self.token

    def renew(self, stale: dict[str, Any] | None, fetch: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if self.token is None or self.token == stale:
            self.renewals += 1
            self.token = fetch()
        return self.token


class State:
    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return self.kept.get(key, default)

    def put(self, key: str, value: Any) -> None:
        self.kept[key] = json.loads(json.dumps(value))

    def change(self, key: str, act: Callable[[Any], Any]) -> None:
        self.put(key, act(self.kept.get(key)))


class Recording(SalesforceStandin):
    """Keeps every request as it came, for the strict check against the vendor's description."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.requests: list[Request] = []

    def handle(self, request: Request) -> Response:
        self.requests.append(request)
        return super().handle(request)

    def calls(self, part: str = "/services/data") -> list[Request]:
        return [r for r in self.requests if part in r.path]


class World:
    def __init__(self, app: Recording, address: str) -> None:
        self.app = app
        self.org = app.org
        self.address = address
        self.us = self.org.create_user("Sync Admin", "sync@acme.example")["Id"]
        self.app_registration = app.oauth.create_app(run_as=self.us)
        self.jane = self.org.create_user("Jane Doe", "Jane.Doe@acme.example")["Id"]
        self.tokens = Tokens()
        self.state = State()
        self.connector = self.open()

    def open(self, name: str = "acme", secrets: dict[str, str] | None = None, **settings: str) -> Salesforce:
        """Another connector on the same tokens and state, as another worker has."""
        found = {"client_id": self.app_registration["client_id"], **settings}
        held = secrets or {"client_secret": self.app_registration["client_secret"]}
        http = Session(self.address, name=name, secrets=list(held.values()))
        connector = Salesforce(Context(name, self.address, found, held, http, self.tokens, self.state))
        connector.org.forget()
        return connector

    def case(self, **fields: Any) -> str:
        """A case made by a person."""
        return str(self.org.create("Case", {"Subject": "Printer on fire", **fields}, self.jane)["Id"])


def check_all_requests(found: World) -> None:
    """Fails on any request that the vendor's description has something against."""
    for request in found.app.requests:
        if request.path.startswith("/services/"):
            check_request(
                "salesforce", request.method, request.path, request.query, request.headers, request.body or None
            )
        if request.path.endswith("/composite"):
            for sub in request.json()["compositeRequest"]:
                path, _, query = sub["url"].partition("?")
                # The description has the update of a collection only with an object's name behind it.
                path = re.sub(r"/composite/sobjects$", "/composite/sobjects/Case", path)
                assert not request_errors(
                    "salesforce", sub["method"], path, query, sub.get("httpHeaders"), sub.get("body")
                )


@contextmanager
def world(**options: Any) -> Iterator[World]:
    app = Recording(**options)
    with Server(app) as address:
        yield World(app, address)
