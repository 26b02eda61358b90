"""What the tests of the Jira connector share: a stand-in whose traffic is checked, and a connector on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from connections.connectors import jira_site
from connections.connectors.base import Context
from connections.connectors.http import Session
from connections.connectors.jira import Jira
from connections.sandbox.base import Request, Response, Server
from connections.sandbox.jira import JiraStandin
from connections.tests.evidence import EVIDENCE, answer_errors, request_errors

US = "sync@acme.example"
TOKEN = "token-of-sync"
SECRET = "webhook-secret"
SCOPE = {"project": "SUP"}


class CheckedJira(JiraStandin):
    """Keeps every request, and what the vendor's description has against it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.requests: list[Request] = []
        self.objections: list[str] = []

    def handle(self, request: Request) -> Response:
        left = sum(fault.times for fault in self.faults)
        response = super().handle(request)
        faulty = left != sum(fault.times for fault in self.faults)
        self.requests.append(request)
        if (EVIDENCE / "specs").is_dir() and request.path.startswith("/rest/api/3/"):
            what = f"{request.method} {request.path}"
            query = {**request.query, **request.query_lists}
            asked = request_errors("jira_cloud", request.method, request.path, query, request.headers, request.body)
            said = answer_errors("jira_cloud", request.method, request.path, response.status, response.body)
            self.objections += [f"request {what}: {error}" for error in asked]
            self.objections += [f"answer {what} -> {response.status}: {error}" for error in said if not faulty]
        return response

    def calls(self) -> list[str]:
        """The API calls so far, as "METHOD path below /rest/api/3/"; forgets them."""
        made = [f"{r.method} {r.path.removeprefix('/rest/api/3/')}" for r in self.requests]
        self.requests.clear()
        return made


class Memory:
    """A StateStore and TokenStore in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return self.kept.get(key, default)

    def put(self, key: str, value: Any) -> None:
        self.kept[key] = value

    def change(self, key: str, act: Callable[[Any], Any]) -> None:
        self.kept[key] = act(self.kept.get(key))

    def current(self) -> None:
        return None


def connect(address: str, email: str = US, token: str = TOKEN, **secrets: str) -> Jira:
    memory = Memory()
    context = Context(
        name="Jira",
        address=address,
        settings={"email": email},
        secrets={"api_token": token, "webhook_secret": SECRET, **secrets},
        http=Session(address, name="Jira", secrets=[token], read_timeout=5),
        tokens=memory,
        state=memory,
    )
    return Jira(context)


@contextmanager
def jira_site_running(**options: Any) -> Iterator[tuple[CheckedJira, Jira]]:
    """A site with a project, people and custom fields, and a connector signed in. Fails on any objection."""
    standin = CheckedJira(**options)
    standin.create_user("Sync", US, TOKEN, account_id="acc-sync", account_type="app")
    standin.create_user("Ana", "ana@acme.example", "t", account_id="acc-ana")
    standin.create_user("Ben", "ben@acme.example", "t", account_id="acc-ben")
    standin.create_user("Hidden Hal", "hal@acme.example", account_id="acc-hal", email_hidden=True)
    standin.create_user("Gone Gil", "gil@acme.example", account_id="acc-gil", active=False)
    standin.create_project("SUP", "Support")
    standin.create_project("OPS", "Operations")
    standin.add_field("Severity", "option", ["Low", "High"], field_id="customfield_10050")
    standin.add_field("Root cause", "text", field_id="customfield_10051")
    standin.add_field("Points", "number", field_id="customfield_10052")
    standin.add_field("Case number", "line", field_id="customfield_10053")
    standin.add_field("Regions", "options", ["EU", "US", "Asia"], field_id="customfield_10054")
    standin.add_field("Seen at", "moment", field_id="customfield_10055")
    jira_site._caches.clear()
    with Server(standin) as address:
        yield standin, connect(address)
    assert standin.objections == []


def new_issue(standin: CheckedJira, by: str = "ana@acme.example", **fields: Any) -> dict[str, Any]:
    """A new issue of a person; the stored issue."""
    values = {"project": "SUP", "issuetype": "Task", "summary": "Printer on fire", **fields}
    return standin.site.create(standin.site.user(by), standin.plain(values))
