"""The contract suite on the Zendesk connector; every request is checked against the description."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from connections.connectors.base import DeliveryRequest, Values
from connections.sandbox.base import Server, Standin
from connections.sandbox.zendesk_records import COUPLED
from connections.tests.contract import HttpContract, Person, Sample
from connections.tests.contract_vendor import Answered, WiredVendor
from connections.tests.evidence import EVIDENCE
from connections.tests.zendesk_world import TOKEN, Door, World, check_all_requests

# The clock stands still an hour ago, so that a test may let it go on.
AGO = 3600.0
BOOKKEEPING = {"updated_at", "generated_timestamp", "raw_subject", "fields", "custom_fields"}
UNKNOWN = "999999999"
SECRET = "a-long-signing-secret"


class ZendeskVendor(WiredVendor):
    object_type = "ticket"
    scope = {"type": "Task"}  # which alone have a due date
    narrow = {"group": "Tier 2"}
    leaving = {"group_id": "queue:Tier 1"}
    title = "subject"
    inactive_person = "gone.doe@acme.example"
    unknown_id = UNKNOWN
    children = "ticket.comment"
    everything = Answered("", "^/api/v2/")
    writing = {
        "create": Answered("POST", r"/tickets$"),
        "update": Answered("", r"/tickets/(update_many|create_many|\d+)$"),
        "delete": Answered("DELETE", r"/tickets/\d+$"),
    }
    # A job is queued, asked about and its tickets are read back.
    bulk_write_calls = 3
    secret = TOKEN
    odd_answers = (
        {"tickets": None},
        {"tickets": {}},
        {"tickets": [None]},
        {"tickets": [{}]},
        {"tickets": [{"id": "x"}]},
        {"tickets": [{"id": -1}]},
        {"tickets": [{"id": 5, "updated_at": "soon", "assignee_id": {}, "custom_fields": 7, "tags": "a"}]},
        {"tickets": [], "end_of_stream": "yes"},
        {"tickets": [], "end_of_stream": False, "after_cursor": None},
        {"tickets": [], "meta": {"has_more": True}},
        {"results": [], "meta": {"has_more": True, "after_cursor": "same"}},
        {"ticket": None},
        {"ticket": {"id": 5}},
        {"job_status": None},
        {"job_status": {"id": 5, "status": "queued"}},
        {"users": [{"id": None}]},
        {"user": {"id": "nobody"}},
        {"comments": [], "meta": {"has_more": True, "after_cursor": "same"}},
        {"audits": [{"id": 5, "events": None, "created_at": 7}]},
    )

    def __init__(self, w: World) -> None:
        self.w = w
        self.connector = w.connector
        self.records = w.records
        self.clock = time.time() - AGO
        w.app.now = lambda: self.clock
        w.app.hidden_seconds = 0
        self.people = {"jane.doe@acme.example": w.jane}
        self.people["bob.lindqvist@acme.example"] = self.records.user("Bob L", "bob.lindqvist@acme.example")
        self.records.user("Gone Doe", self.inactive_person, active=False)
        self.ana = Person("jane.doe@acme.example", str(w.jane), "Jane")
        self.groups = {name: self.records.group(name) for name in ("Tier 1", "Tier 2")}
        field = self.records.field
        self.custom = {
            "text": field("text", "Reference"),
            "rich_text": field("textarea", "Report"),
            "option": field("tagger", "Plan", {"plan_gold": "Gold", "plan_silver": "Silver"}),
            "number": field("decimal", "Effort"),
            "boolean": field("checkbox", "Known", tag="known_one"),
            "date": field("date", "Due"),
            "reference": field("lookup", "Asset", relationship_target_type="zen:custom_object:asset"),
        }
        path = {kind: f"custom_{id}" for kind, id in self.custom.items()}
        self.lines = path["rich_text"]
        self.matches = {path["text"]: "00012"}
        self.samples = {
            "text": Sample(path["text"], "Words", "Other words"),
            "rich_text": Sample(path["rich_text"], "Smoke\nfirst", "and *flames*"),
            "option": Sample(path["option"], "Gold", "Silver"),
            "set": Sample("tags", ["hot", "printer"], ["printer"], empty=[]),
            "person": Sample("assignee_id", *self.people),
            "number": Sample(path["number"], 2.5, 3),
            "boolean": Sample(path["boolean"], True, False, empty=False),
            "date": Sample(path["date"], "2026-02-03", "2026-12-24"),
            "datetime": Sample("due_at", "2026-02-03T04:05:06Z", "2026-12-24T18:00:00Z"),
            "reference": Sample(path["reference"], "4711", "4712"),
        }
        self.connector.desk.forget()

    def add(self, values: Values | None = None, inside: bool = True) -> str:
        """A task; open, as an assignment would open a new one."""
        given = {"subject": "Thing", "comment": {"body": "Text"}, "status": "open", "type": "task"}
        given["group_id"] = self.groups["Tier 2" if inside else "Tier 1"]
        return str(self.records.create({**given, **self._plain(values or {})}, self.w.jane)[0]["id"])

    def _plain(self, values: Values) -> dict[str, Any]:
        custom = {f"custom_{id}": id for id in self.custom.values()}
        found: dict[str, Any] = {}
        for path, value in values.items():
            if path in custom:
                found.setdefault("custom_fields", []).append({"id": custom[path], "value": self._option(path, value)})
            elif path == "group_id":
                found[path] = self.groups[value.removeprefix("queue:")]
            else:
                found[path] = self.people.get(value, value) if isinstance(value, str) else value
        return found

    def _option(self, path: str, value: Any) -> Any:
        return f"plan_{value.lower()}" if path == self.samples["option"].path and value else value

    def edit(self, external_id: str, values: Values) -> None:
        given = self._plain(values)
        if "tags" in given:  # a person leaves the tags of the drop-downs alone
            row = self.records.ticket(external_id) or {}
            given["tags"] = [*given["tags"], *(tag for tag in row["tags"] if tag in self._coupled())]
        self.records.update(external_id, given, self.w.jane)

    def _coupled(self) -> set[str]:
        fields = [field for field in self.records.fields() if field["type"] in COUPLED]
        own = {str(field.get("tag")) for field in fields}
        return own | {one["value"] for field in fields for one in field.get("custom_field_options") or []}

    def remove(self, external_id: str) -> None:
        self.records.delete(external_id, self.w.jane)

    def add_child(self, external_id: str, text: str) -> str:
        self.records.update(external_id, {"comment": {"body": text, "public": True}}, self.w.jane)
        return f"{external_id}:{self.records.comments(external_id)[-1]['id']}"

    def ids(self) -> set[str]:
        return {str(row["id"]) for row in self.records.tickets() if row["status"] != "deleted"}

    def snapshot(self, external_id: str) -> dict[str, Any]:
        """Without the tags that are the drop-downs' own."""
        row = self.records.ticket(external_id) or {}
        held = {key: value for key, value in row.items() if key not in BOOKKEEPING}
        held["tags"] = sorted(set(row["tags"]) - self._coupled())
        return held | {f"custom_{one['id']}": one["value"] for one in row["custom_fields"]}

    def tick(self, seconds: float) -> None:
        self.clock += seconds

    def stamp(self) -> str:
        return datetime.fromtimestamp(self.clock, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def position_of(self, updated_at: str | None) -> str:
        return str(updated_at)

    def lag(self, seconds: float) -> None:
        self.w.app.hidden_seconds = self.w.app.index_lag = seconds

    def hide(self, path: str) -> None:
        self.w.app.hidden_fields.add(int(path.removeprefix("custom_")))

    def delivery(self, external_id: str) -> DeliveryRequest:
        hooks = self.w.app.webhooks
        self.connector.context.tokens.renew(None, lambda: {"signing_secret": SECRET})
        body = hooks.event("subject_changed", self.records.ticket(external_id) or {})
        headers = {name.lower(): value for name, value in hooks.signed(SECRET, body).items()}
        return DeliveryRequest("POST", "/hooks/x", headers, body, received_at=time.time())

    def disturbed(self) -> Standin:
        return self.w.app

    def forget(self) -> None:
        self.connector.desk.forget()

    def requests(self) -> list[str]:
        made = [f"{r.method} {r.path}" for r in self.w.app.requests[self.seen :] if r.path.startswith("/api/")]
        self.seen = len(self.w.app.requests)
        return made

    seen = 0


@pytest.fixture(scope="module")
def door() -> Iterator[tuple[Door, str]]:
    door = Door()
    with Server(door) as address:
        yield door, address


class TestZendesk(HttpContract):
    @pytest.fixture
    def vendor(self, door: tuple[Door, str]) -> Iterator[ZendeskVendor]:
        w = door[0].opened(door[1])
        yield ZendeskVendor(w)
        if (EVIDENCE / "specs").is_dir():
            check_all_requests(w)
