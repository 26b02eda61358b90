"""The small JSON API behind HTTP and a connector that was given its description."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from connections.connectors.base import Context
from connections.connectors.http import Session
from connections.connectors.rest import Rest
from connections.sandbox.base import Server
from connections.sandbox.rest import CLIENT, KEY, PASSWORD, SECRET, USER, WEBHOOK_SECRET, RestStandin
from connections.sandbox.rest_habits import Habits
from connections.tests.rest_documents import things_document
from connections.tests.salesforce_world import State, Tokens

SECRETS = {"key": KEY, "password": PASSWORD, "client_secret": SECRET, "webhook_secret": WEBHOOK_SECRET}
SETTINGS = {"user": USER, "client_id": CLIENT}


def rest(
    document: dict[str, Any],
    address: str,
    settings: dict[str, Any] | None = None,
    secrets: dict[str, str] | None = None,
    name: str = "things",
) -> Rest:
    """A connector for a description, with tokens and state of its own."""
    held = SECRETS if secrets is None else secrets
    given = {**(SETTINGS if settings is None else settings), "definition": document}
    http = Session(address, name=name, secrets=list(held.values()))
    connector = Rest(Context(name, address, given, held, http, Tokens(), State()))
    connector.lookups.forget()
    return connector


class RestWorld:
    def __init__(self, app: RestStandin, address: str) -> None:
        self.app = app
        self.things = app.things
        self.address = address
        self.connector = rest(things_document(app.habits), address)

    def calls(self) -> list[str]:
        """ "METHOD path" of the API calls so far, oldest first."""
        return [f"{method} {path}" for method, path, _ in self.app.log]


@contextmanager
def rest_world(habits: Habits | None = None, **options: Any) -> Iterator[RestWorld]:
    app = RestStandin(habits, **options)
    with Server(app, threads=2) as address:
        yield RestWorld(app, address)
