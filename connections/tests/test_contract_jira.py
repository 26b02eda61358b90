"""The contract suite on the Jira connector; every request is checked against the vendor's description."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from connections.connectors.base import DeliveryRequest, Values
from connections.sandbox.base import Standin
from connections.sandbox.jira_fields import Refusal
from connections.tests.contract import HttpContract, Person, Sample
from connections.tests.contract_vendor import Answered, WiredVendor
from connections.tests.jira_client import SECRET, TOKEN, CheckedJira, jira_site_running

ANA = "ana@acme.example"
# The clock stands still an hour ago, so that a test may let it go on.
AGO = 3600.0


def document(text: str) -> dict[str, Any]:
    paragraph = {"type": "paragraph", "content": [{"type": "text", "text": text}]}
    return {"type": "doc", "version": 1, "content": [paragraph]}


class JiraVendor(WiredVendor):
    object_type = "issue"
    scope = {"project": "SUP", "issue_types": "Task, Bug"}
    narrow = {"project": "SUP", "issue_types": "Task", "jql": "created >= 0"}
    leaving = {"issuetype": "Bug"}
    title = "summary"
    ana = Person(ANA, "acc-ana", "Ana")
    inactive_person = "gil@acme.example"
    unknown_id = "99999999"
    journey = ("status", "Done", 3)
    follows = frozenset({"resolution", "resolutiondate", "statuscategorychangedate"})
    children = "comment"
    everything = Answered("", "^/rest/api/3/")
    writing = {
        "create": Answered("POST", r"/issue$"),
        "update": Answered("PUT", r"/issue/[^/]+$"),
        "delete": Answered("DELETE", r"/issue/[^/]+$"),
    }
    odd_answers = (
        {"issues": None},
        {"issues": {}},
        {"issues": [None], "comments": [None]},
        {"issues": [{}], "comments": [{}], "issueChangeLogs": [{}], "values": [{}]},
        {"issues": [{"id": None, "fields": None}], "issueChangeLogs": None, "total": "many"},
        {"issues": [{"id": "1", "fields": []}], "comments": [{"id": None}], "issueChangeLogs": [{"issueId": 1}]},
        {"issues": [{"id": "1", "fields": {"updated": "soon"}}], "isLast": True, "comments": 7},
    )
    secret = TOKEN

    def __init__(self, standin: CheckedJira, connector: Any) -> None:
        self.standin = standin
        self.connector = connector
        self.clock = time.time() - AGO
        standin.now = lambda: self.clock
        # Stories own the issues in scope and are not in it themselves.
        parents = [self.add({"issuetype": "Story"}) for _ in range(2)]
        self.samples = {
            "text": Sample("customfield_10053", "00103952", "00103953"),
            "rich_text": Sample("description", document("Smoke"), document("and flames")),
            "option": Sample("customfield_10050", "Low", "High"),
            "set": Sample("labels", ["ant", "zebra"], ["bee"], empty=[]),
            "person": Sample("assignee", ANA, "ben@acme.example"),
            "number": Sample("customfield_10052", 2.5, 3),
            "date": Sample("duedate", "2026-02-03", "2026-12-24"),
            "datetime": Sample("customfield_10055", "2026-02-03T04:05:06Z", "2026-12-24T18:00:00Z"),
            "reference": Sample("parent", *parents),
        }
        self.parents = set(parents)
        self.matches = {"customfield_10053": "00012"}

    def add(self, values: Values | None = None, inside: bool = True) -> str:
        kind = "Task" if inside else "Bug"
        given = {"project": "SUP", "summary": "Thing", "issuetype": kind, **self._plain(values or {})}
        return str(self._issue(self.standin.create(ANA, given))["id"])

    def _issue(self, reference: str) -> dict[str, Any]:
        found = self.standin.site.find(reference)
        assert found is not None
        return found

    def _plain(self, values: Values) -> dict[str, Any]:
        plain = dict(values)
        if plain.get("parent"):
            plain["parent"] = {"id": plain["parent"]}
        seen = plain.get("customfield_10055")
        if seen:
            plain["customfield_10055"] = datetime.fromisoformat(seen).strftime("%Y-%m-%dT%H:%M:%S.%f%z")
        return plain

    def edit(self, external_id: str, values: Values) -> None:
        self.standin.edit(external_id, ANA, **self._plain(values))

    def remove(self, external_id: str) -> None:
        self.standin.delete(external_id, ANA)

    def pave(self) -> None:
        gone = self.add()
        for status in ("In Progress", "In Review", "Done"):
            self.standin.transition(gone, ANA, status)

    def add_child(self, external_id: str, text: str) -> str:
        return self.standin.comment(external_id, ANA, text)

    def ids(self) -> set[str]:
        return {issue["id"] for issue in self.standin.issues("SUP")} - self.parents

    def snapshot(self, external_id: str) -> dict[str, Any]:
        fields = self._issue(external_id)["fields"]
        return {path: value for path, value in fields.items() if path != "updated"}

    def tick(self, seconds: float) -> None:
        self.clock += seconds

    def stamp(self) -> str:
        return datetime.fromtimestamp(self.clock, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")[:-4] + "Z"

    def position_of(self, updated_at: str | None) -> str:
        return str(round(datetime.fromisoformat(str(updated_at)).timestamp() * 1000))

    def hide(self, path: str) -> None:
        self.standin.update_user("acc-sync", hidden_fields=[path])

    def lag(self, seconds: float) -> None:
        self.standin.search_lag = seconds

    def delivery(self, external_id: str) -> DeliveryRequest:
        site = self.standin.site
        more = {"history": self.standin.history(external_id)[-1]}
        body = self.standin.webhooks.payload("jira:issue_updated", "", site.user(ANA), site.find(external_id), more)
        raw = json.dumps(body).encode()
        signature = "sha256=" + hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
        headers = {"x-hub-signature": signature, "x-atlassian-webhook-identifier": "delivery-1"}
        return DeliveryRequest("POST", "/hooks/x", headers, raw)

    def disturbed(self) -> Standin:
        return self.standin

    def forget(self) -> None:
        self.connector._fields.clear()
        self.connector.site._cache.clear()

    def requests(self) -> list[str]:
        return self.standin.calls()


class TestJira(HttpContract):
    @pytest.fixture
    def vendor(self) -> Iterator[JiraVendor]:
        with jira_site_running() as (standin, connector):
            yield JiraVendor(standin, connector)

    def test_the_stand_in_refuses_what_the_suite_relies_on(self, vendor: JiraVendor):
        with pytest.raises(Refusal):
            vendor.edit(vendor.add(), {"summary": "x" * 256})
