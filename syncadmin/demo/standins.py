"""The stand-ins as processes: made, filled with the demo's data where asked, served on loopback."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Callable
from pathlib import Path

from connections.sandbox.base import Server, Standin
from syncadmin.demo.credentials import Credentials

# kind: (module of the stand-in, its class, module that fills it)
KINDS = {
    "github": ("connections.sandbox.github", "GitHubStandin", "syncadmin.demo.seed_github"),
    "jira": ("connections.sandbox.jira", "JiraStandin", "syncadmin.demo.seed_jira"),
    "salesforce": ("connections.sandbox.salesforce", "SalesforceStandin", "syncadmin.demo.seed_salesforce"),
    "servicenow": ("connections.sandbox.servicenow", "ServiceNowStandin", "syncadmin.demo.seed_servicenow"),
    "zendesk": ("connections.sandbox.zendesk", "ZendeskStandin", "syncadmin.demo.seed_zendesk"),
}


def make(kind: str, path: str, latency: float, credentials: Credentials | None) -> Standin:
    """A stand-in with its state in the file `path` (":memory:": nowhere). With `credentials` it is filled at first."""
    module, name, seeding = KINDS[kind]
    standin: Standin = getattr(importlib.import_module(module), name)(path)
    if credentials is not None:
        importlib.import_module(seeding).seed(standin, credentials)
    standin.latency = latency
    return standin


def serve(kind: str, port: int, path: str, latency: float, credentials: Credentials | None) -> None:
    """Serve until the process is ended. Each request is committed before it is answered, so any end is a clean one."""
    Server(make(kind, path, latency, credentials), port).server.run()


def served(kind: str, port: int, folder: Path, latency: float, credentials: Credentials) -> Callable[[], None]:
    """`serve` as a child of a supervisor."""
    return lambda: serve(kind, port, str(folder / f"{kind}.sqlite3"), latency, credentials)


def answers(port: int) -> bool:
    """Whether something listens on this port of ours."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
