"""The contract suite on the GitHub connector; every request is checked against the description."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from connections.connectors.base import DeliveryRequest, Values
from connections.sandbox.base import Standin
from connections.tests.contract import HttpContract, Person, Sample
from connections.tests.contract_vendor import Answered, WiredVendor
from connections.tests.evidence import EVIDENCE
from connections.tests.github_world import REPOSITORY, SECRET, TOKEN, World, check_all_requests, world

# The clock stands still an hour ago, so that a test may let it go on.
AGO = 3600.0
BOOKKEEPING = {"updated_at", "key", "id"}


class GitHubVendor(WiredVendor):
    object_type = REPOSITORY
    narrow = {"type": "bug"}
    leaving = {"type": "Feature"}
    title = "title"
    hides_fields = False
    inactive_person = "gil@acme.example"
    unknown_id = "999999"
    lines = "body"
    children = f"{REPOSITORY}/comments"
    looks_after_a_write = 1
    everything = Answered("", "^/api/")
    writing = {
        "create": Answered("POST", r"/issues$"),
        "update": Answered("PATCH", r"/issues/\d+$"),
        "delete": Answered("POST", r"/graphql$"),
    }
    secret = TOKEN
    odd_answers = (
        b"[]",  # GitHub's lists are bare: this is how it says that there are none
        [None],
        [{}],
        [{"number": None}],
        [{"number": "5", "title": "x"}],
        [{"number": 5, "updated_at": "soon", "pull_request": 7}],
        {"number": 5, "labels": 7, "user": []},
        {"id": 5, "login": 7},
        {"message": "Not Found"},
        {"items": None, "data": None},
    )

    def __init__(self, w: World) -> None:
        self.w = w
        self.connector = w.connector
        self.records = w.records
        self.clock = time.time() - AGO
        w.app.now = lambda: self.clock
        self.ana = Person("ana@acme.example", str(w.ana["id"]), "ana")
        self.logins = {"ana@acme.example": "ana-ruiz", f"id:{w.ben['id']}": "ben"}
        self.milestones = {title: self.records.milestone(REPOSITORY, title) for title in ("1.0", "2.0")}
        self.samples = {
            "rich_text": Sample("body", "Smoke\n\n* a\n* b", "and **flames**"),
            "option": Sample("milestone", *self.milestones),
            "set": Sample("labels", ["ant", "zebra"], ["bee"], empty=[]),
            "person": Sample("assignee", *self.logins),
        }

    @property
    def told(self) -> Sample:
        return Sample("title", "Before", "After")

    def add(self, values: Values | None = None, inside: bool = True) -> str:
        given = {"title": "Thing", "type": "Bug" if inside else None, **(values or {})}
        return str(self.records.create(REPOSITORY, "ana-ruiz", self._plain(given))["number"])

    def _plain(self, values: Values) -> dict[str, Any]:
        plain = dict(values)
        if "milestone" in plain:
            plain["milestone"] = self.milestones.get(plain["milestone"])
        if "assignee" in plain:
            person = plain.pop("assignee")
            plain["assignees"] = [self.logins[person]] if person else []
        return plain

    def edit(self, external_id: str, values: Values) -> None:
        self.records.edit(REPOSITORY, external_id, "ana-ruiz", self._plain(values))

    def remove(self, external_id: str) -> None:
        self.records.remove(REPOSITORY, external_id, "ana-ruiz")

    def add_child(self, external_id: str, text: str) -> str:
        return str(self.records.comment(self.w.stored(external_id), "ana-ruiz", text)["id"])

    def ids(self) -> set[str]:
        return {str(doc["number"]) for doc in self.records.issues(self.records.found(REPOSITORY))}

    def snapshot(self, external_id: str) -> dict[str, Any]:
        stored = {path: value for path, value in self.w.stored(external_id).items() if path not in BOOKKEEPING}
        stored["assignee"] = stored.pop("assignees")
        return stored

    def tick(self, seconds: float) -> None:
        self.clock += seconds

    def stamp(self) -> str:
        return datetime.fromtimestamp(self.clock, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def position_of(self, updated_at: str | None) -> str:
        return str(updated_at)

    def lag(self, seconds: float) -> None:
        self.w.app.list_lag = seconds

    def delivery(self, external_id: str) -> DeliveryRequest:
        issue = self.w.stored(external_id)
        more = {"changes": {"title": {"from": "Thing"}}}
        body = self.w.app.webhooks.body("issues", "edited", issue, "ana-ruiz", more)
        headers, raw = self.w.app.webhooks.signed(SECRET, "issues", body)
        return DeliveryRequest("POST", "/hooks/x", {name.lower(): value for name, value in headers.items()}, raw)

    def disturbed(self) -> Standin:
        return self.w.app

    def forget(self) -> None:
        self.connector.site.forget()

    def requests(self) -> list[str]:
        made = self.w.calls(self.seen)
        self.seen = len(self.w.app.requests)
        return made

    seen = 0


@pytest.fixture(scope="module")
def served() -> Iterator[World]:
    with world() as w:
        yield w


class TestGitHub(HttpContract):
    @pytest.fixture
    def vendor(self, served: World) -> Iterator[GitHubVendor]:
        served.reset()
        yield GitHubVendor(served)
        if (EVIDENCE / "specs").is_dir():
            check_all_requests(served)
