"""The contract suite on the ServiceNow connector; every request is checked against the description."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from connections.connectors.base import DeliveryRequest, Values
from connections.sandbox.base import Standin
from connections.tests.contract import ChildrenContract, ChildVendor, HttpContract, Person, Sample
from connections.tests.contract_vendor import Answered, WiredVendor
from connections.tests.evidence import EVIDENCE
from connections.tests.servicenow_world import PASSWORD, SECRET, World, check_all_requests, world

# The clock stands still an hour ago, so that a test may let it go on.
AGO = 3600.0
BOOKKEEPING = {"sys_updated_on", "sys_updated_by", "sys_mod_count"}
UNKNOWN = "0" * 32


class ServiceNowVendor(WiredVendor):
    object_type = "incident"
    narrow = {"query": "category=network^NQcategory=software"}
    leaving = {"category": "Hardware"}
    title = "short_description"
    inactive_person = "gone.doe@acme.example"
    unknown_id = UNKNOWN
    lines = "description"
    matches = {"u_reference": "00012", "contact_type": "Email"}
    children = "incident.comments"
    everything = Answered("", "^/api/now/")
    writing = {
        "create": Answered("POST", r"/table/incident$"),
        "update": Answered("", r"/batch$|/table/incident/"),
        "delete": Answered("DELETE", r"/table/incident/"),
    }
    secret = PASSWORD
    odd_answers = (
        {"result": None},
        {"result": {}},
        {"result": [None]},
        {"result": [{}]},
        {"result": [{"sys_id": 5}]},
        {"result": [{"sys_id": "short"}]},
        {"result": [{"sys_id": UNKNOWN, "sys_updated_on": "soon", "assigned_to": 7}]},
        {"result": {"sys_id": UNKNOWN}},
        {"result": {"sys_id": 5}},
        {"result": [], "error": {"message": "Transaction cancelled: maximum execution time exceeded"}},
        {"error": {"message": "Operation Failed", "detail": None}, "status": "failure"},
        {"serviced_requests": None},
        {"serviced_requests": [None]},
        {"serviced_requests": [{"id": "0", "status_code": "many"}]},
        {"serviced_requests": [{"id": "0", "status_code": 200, "body": "no base64 €"}]},
        {"serviced_requests": [], "unserviced_requests": ["0", "1"]},
    )

    def __init__(self, w: World) -> None:
        self.w = w
        self.connector = w.connector
        self.records = w.records
        self.clock = time.time() - AGO
        w.app.now = lambda: self.clock
        self.people = {"jane.doe@acme.example": w.jane}
        self.people["bob.lindqvist@acme.example"] = self.records.user("Bob L", "bob.lindqvist@acme.example")
        self.records.user("Gone Doe", self.inactive_person, active="false")
        self.ana = Person("jane.doe@acme.example", "jane.doe", "Jane")
        things = [self.records.thing("cmdb_ci", name) for name in ("One", "Two")]
        watchers = sorted(self.people.values())
        self.samples = {
            "text": Sample("u_reference", "Words", "Other words"),
            "rich_text": Sample("u_report", "<p>Smoke</p>", "<p>and <b>flames</b></p>"),
            "option": Sample("contact_type", "Phone", "Walk-in"),
            "set": Sample("watch_list", watchers, watchers[:1], empty=[]),
            "person": Sample("assigned_to", *self.people),
            "number": Sample("u_effort", 2.5, 3),
            "boolean": Sample("knowledge", True, False, empty=False),
            "date": Sample("u_due", "2026-02-03", "2026-12-24"),
            "datetime": Sample("follow_up", "2026-02-03T04:05:06Z", "2026-12-24T18:00:00Z"),
            "reference": Sample("cmdb_ci", *things),
        }
        self.connector.instance.forget()

    def add(self, values: Values | None = None, inside: bool = True) -> str:
        given = {"short_description": "Thing", "category": "network" if inside else "hardware"}
        return self.records.create("incident", {**given, **self._plain(values or {})}, "jane.doe")["sys_id"]

    def _plain(self, values: Values) -> dict[str, str]:
        return {path: self._stored(path, value) for path, value in values.items()}

    def _stored(self, path: str, value: Any) -> str:
        column = self.records.columns("incident")[path]
        if value is None:
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list):
            return ",".join(value)
        if column.choices:
            return {label: stored for stored, label in column.choices}.get(value, value)
        if column.type == "glide_date_time":
            return datetime.fromisoformat(value).strftime("%Y-%m-%d %H:%M:%S")
        return str(self.people.get(value, value)) if column.reference == "sys_user" else str(value)

    def edit(self, external_id: str, values: Values) -> None:
        self.records.edit("incident", external_id, self._plain(values), "jane.doe")

    def remove(self, external_id: str) -> None:
        self.records.delete("incident", external_id, "jane.doe")

    def add_child(self, external_id: str, text: str) -> str:
        self.records.edit("incident", external_id, {"comments": text}, "jane.doe")
        return self.records.journal(external_id)[-1]["sys_id"]

    def ids(self) -> set[str]:
        return set(self.records.rows("incident"))

    def snapshot(self, external_id: str) -> dict[str, Any]:
        return {e: v for e, v in self.records.rows("incident")[external_id].items() if e not in BOOKKEEPING}

    def tick(self, seconds: float) -> None:
        self.clock += seconds

    def stamp(self) -> str:
        return datetime.fromtimestamp(self.clock, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def position_of(self, updated_at: str | None) -> str:
        return str(updated_at)

    def hide(self, path: str) -> None:
        self.w.app.hidden_columns.add(("incident", path))

    def delivery(self, external_id: str) -> DeliveryRequest:
        row = self.records.rows("incident")[external_id]
        rules = self.w.app.rules
        headers, body = rules.signed(SECRET, rules.body("update", "incident", row, row["sys_updated_by"]))
        named = {name.lower(): value for name, value in headers.items()}
        return DeliveryRequest("POST", "/hooks/x", named, body, received_at=time.time())

    def disturbed(self) -> Standin:
        return self.w.app

    def forget(self) -> None:
        self.connector.instance.forget()

    def requests(self) -> list[str]:
        made = [f"{r.method} {r.path}" for r in self.w.app.requests[self.seen :] if r.path.startswith("/api/")]
        self.seen = len(self.w.app.requests)
        return made

    seen = 0


class Comments(ServiceNowVendor, ChildVendor):
    children = "incident.comments"
    kept_in, right = "sys_journal_field", ("write", "incident")

    def written(self, text: str) -> Values:
        return {"body": text}

    def forbid_children(self) -> None:
        self.w.app.forbidden |= {("read", self.kept_in), self.right}

    def child_ids(self) -> set[str]:
        return set(self.records.rows(self.kept_in))


class Attachments(Comments):
    children = "incident.attachment"
    kept_in, right = "sys_attachment", ("create", "sys_attachment")
    deletes_children = True

    def add_child(self, external_id: str, text: str) -> str:
        return self.records.attach("incident", external_id, text, text.encode(), "jane.doe")["sys_id"]

    def written(self, text: str) -> Values:
        content = base64.b64encode(text.encode()).decode()
        return {"file_name": text, "content_type": "text/plain", "content": content}

    def forbid_children(self) -> None:
        super().forbid_children()
        self.w.app.forbidden.add(("delete", self.kept_in))


def checked(vendor: type[ServiceNowVendor]) -> Iterator[Any]:
    with world() as w:
        yield vendor(w)
        if (EVIDENCE / "specs").is_dir():
            check_all_requests(w)


class TestServiceNow(HttpContract):
    @pytest.fixture
    def vendor(self) -> Iterator[ServiceNowVendor]:
        yield from checked(ServiceNowVendor)


class TestServiceNowComments(ChildrenContract):
    @pytest.fixture
    def vendor(self) -> Iterator[Comments]:
        yield from checked(Comments)


class TestServiceNowAttachments(ChildrenContract):
    @pytest.fixture
    def vendor(self) -> Iterator[Attachments]:
        yield from checked(Attachments)
