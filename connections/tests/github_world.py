"""A GitHub stand-in behind HTTP and a connector that talks to it, for tests of either's neighbours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from connections.connectors.base import Context
from connections.connectors.github import GitHub
from connections.connectors.http import Session
from connections.sandbox.base import Request, Response, Server
from connections.sandbox.github import API, GitHubStandin
from connections.tests.evidence import EVIDENCE, check_request
from connections.tests.salesforce_world import State, Tokens

TOKEN, SECRET = "ghp_a-long-personal-token", "a-long-webhook-secret"
REPOSITORY = "acme/app"


class Recording(GitHubStandin):
    """Keeps every request as it came, for the strict check against the description."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.requests: list[Request] = []

    def handle(self, request: Request) -> Response:
        self.requests.append(request)
        return super().handle(request)


class World:
    def __init__(self, app: Recording, address: str) -> None:
        self.app = app
        self.records = app.records
        self.address = address
        self.reset()

    def reset(self) -> None:
        """As new: one server is enough for many tests."""
        app, records = self.app, self.records
        for kind in ("issue", "comment", "event", "hook", "repository", "account"):
            for doc in records.all(kind):
                records.drop(kind, doc["key"])
        app.faults.clear()
        app.hidden.clear()
        app.tokens.clear()
        app.requests.clear()
        app.may_push = app.may_hook = True
        app.list_lag, app.hourly_limit, app.writes_a_minute, app.installed = 0.0, 10**9, None, None
        app.now = time.time
        self.us = records.account("syncadmin", name="Sync Admin")
        app.sign_in("syncadmin", TOKEN)
        self.ana = records.account("ana-ruiz", "Ana@acme.example", "Ana Ruiz")
        self.ben = records.account("ben", None, "Ben")  # hides his address
        self.gil = records.account("gil", "gil@acme.example", "Gil")  # has left
        members = ["ana-ruiz", "ben", "syncadmin"]
        self.repository = records.repository(REPOSITORY, members, types=["Bug", "Feature"])
        self.tokens = Tokens()
        self.state = State()
        self.connector = self.open()

    def open(self, name: str = "acme", secrets: dict[str, str] | None = None, **settings: str) -> GitHub:
        """Another connector on the same tokens and state, as another worker has."""
        given = {"repositories": REPOSITORY, **settings}
        held = {"token": TOKEN, "webhook_secret": SECRET} if secrets is None else secrets
        http = Session(self.address, name=name, secrets=list(held.values()))
        connector = GitHub(Context(name, self.address, given, held, http, self.tokens, self.state))
        connector.site.forget()
        return connector

    def issue(self, **values: Any) -> str:
        """An issue made by a person."""
        return str(self.records.create(REPOSITORY, "ana-ruiz", {"title": "Printer on fire", **values})["number"])

    def stored(self, number: str) -> dict[str, Any]:
        found = self.records.issue(self.records.found(REPOSITORY), number)
        assert found is not None
        return found

    def calls(self, since: int = 0) -> list[str]:
        """ "METHOD path" of the API calls after the first `since` requests."""
        return [f"{r.method} {r.path.removeprefix(API)}" for r in self.app.requests[since:]]


def check_all_requests(found: World) -> None:
    """Fails on any request that the description has something against."""
    for request in found.app.requests:
        if request.path.startswith(API):
            path = request.path.removeprefix(API)
            check_request("github", request.method, path, request.query, request.headers, request.body or None)


def as_new(shared: World) -> Iterator[World]:
    """One server for all tests of a file, as new for each; what was asked of it is checked afterwards."""
    shared.reset()
    yield shared
    if (EVIDENCE / "specs").is_dir():
        check_all_requests(shared)


@contextmanager
def world(**options: Any) -> Iterator[World]:
    app = Recording(**options)
    with Server(app) as address:
        yield World(app, address)
