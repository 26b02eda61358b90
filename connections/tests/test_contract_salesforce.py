"""The contract suite on the Salesforce connector; every request is checked against the vendor's description."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from connections.connectors.base import Uncertain, Values
from connections.sandbox.base import Standin
from connections.sandbox.salesforce_schema import Field
from connections.tests.contract import HttpContract, Person, Sample
from connections.tests.contract_vendor import Answered, WiredVendor
from connections.tests.evidence import EVIDENCE
from connections.tests.salesforce_world import World, check_all_requests, world

# The clock stands still an hour ago, so that a test may let it go on.
AGO = 3600.0
BOOKKEEPING = {"SystemModstamp", "LastModifiedDate", "LastModifiedById"}


class SalesforceVendor(WiredVendor):
    object_type = "Case"
    narrow = {"where": "Origin = 'Web' OR Origin = 'Email'"}
    leaving = {"Origin": "Phone"}
    title = "Subject"
    inactive_person = "gone.doe@acme.example"
    unknown_id = "500Hs00000zzzzzIAA"
    lines = "Description"
    matches = {"Reference__c": "00012", "Status": "Working"}
    children = "CaseComment"
    everything = Answered("", "^/services/data/")
    writing = {
        "create": Answered("POST", r"/composite$"),
        "update": Answered("POST", r"/composite$"),
        "delete": Answered("DELETE", r"/sobjects/Case/"),
    }
    odd_answers = (
        {"records": None, "sobjects": None, "fields": None},
        {"records": [None], "done": True, "sobjects": [None], "name": "Case", "fields": [None]},
        {"records": [{}], "done": True, "sobjects": [{}], "name": "Case", "fields": [{}]},
        {"records": [{"Id": 5}], "done": True},
        {"records": [{"Id": "500Hs00000zzzzzIAA", "SystemModstamp": "soon", "OwnerId": 7, "Owner": []}], "done": True},
        {"records": [], "done": False},
        {"records": [], "done": False, "nextRecordsUrl": "https://elsewhere.example/x"},
        {"compositeResponse": None},
        {"compositeResponse": [None]},
        {"compositeResponse": [{}, {}]},
        {"compositeResponse": [{"referenceId": "write", "httpStatusCode": "many"}]},
        {"DailyApiRequests": 5, "sobjects": [{"name": "Case"}]},
    )

    def __init__(self, w: World) -> None:
        self.w = w
        self.org = w.org
        self.connector = w.connector
        self.secret = str(w.app_registration["client_secret"])
        self.clock = time.time() - AGO
        w.app.now = lambda: self.clock
        self.org.add_field("Case", Field("Seen_At__c", "datetime", "Seen At"))
        self.people = {"jane.doe@acme.example": w.jane}
        self.people["bob.lindqvist@acme.example"] = self.org.create_user("Bob L", "bob.lindqvist@acme.example")["Id"]
        self.org.create_user("Gone Doe", self.inactive_person, active=False)
        self.ana = Person("jane.doe@acme.example", w.jane, "Jane")
        contacts = [self.org.create("Contact", {"LastName": name}, w.jane)["Id"] for name in ("One", "Two")]
        self.samples = {
            "text": Sample("Reference__c", "Words", "Other words"),
            "option": Sample("Priority", "P1", "P2"),
            "set": Sample("Labels__c", ["api", "login"], ["docs"], empty=[]),
            "person": Sample("OwnerId", *self.people, clearable=False),
            "number": Sample("Effort__c", 2.5, 3),
            "boolean": Sample("IsEscalated", True, False, empty=False),
            "date": Sample("Due_Date__c", "2026-02-03", "2026-12-24"),
            "datetime": Sample("Seen_At__c", "2026-02-03T04:05:06Z", "2026-12-24T18:00:00Z"),
            "reference": Sample("ContactId", *contacts),
        }
        self.connector.org.forget()

    def add(self, values: Values | None = None, inside: bool = True) -> str:
        given = {"Subject": "Thing", "Origin": "Web" if inside else "Phone", "Priority": None, **(values or {})}
        return str(self.org.create("Case", self._plain(given), self.w.jane)["Id"])

    def _plain(self, values: Values) -> dict[str, Any]:
        plain = dict(values)
        if plain.get("OwnerId"):
            plain["OwnerId"] = self.people[plain["OwnerId"]]
        if "Labels__c" in plain:
            plain["Labels__c"] = ";".join(plain["Labels__c"])
        return plain

    def edit(self, external_id: str, values: Values) -> None:
        self.org.edit(external_id, self.w.jane, **self._plain(values))

    def remove(self, external_id: str) -> None:
        self.org.delete(external_id, self.w.jane)

    def add_child(self, external_id: str, text: str) -> str:
        values = {"ParentId": external_id, "CommentBody": text}
        return str(self.org.create("CaseComment", values, self.w.jane)["Id"])

    def ids(self) -> set[str]:
        return {str(case["Id"]) for case in self.org.cases()}

    def snapshot(self, external_id: str) -> dict[str, Any]:
        record = self.org.get(external_id)
        assert record is not None
        return {path: value for path, value in record.items() if path not in BOOKKEEPING}

    def tick(self, seconds: float) -> None:
        self.clock += seconds

    def stamp(self) -> str:
        return datetime.fromtimestamp(self.clock, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def position_of(self, updated_at: str | None) -> str:
        return str(updated_at)

    def hide(self, path: str) -> None:
        self.org.set_field("Case", path, hidden=True)

    def break_stream(self) -> None:
        self.add()  # an event after the last one heard, so that its loss is one
        self.w.app.bus.forget_before(time.time() + 1)

    def disturbed(self) -> Standin:
        return self.w.app

    def forget(self) -> None:
        self.connector.org.forget()

    def requests(self) -> list[str]:
        made = [f"{r.method} {r.path}" for r in self.w.app.requests[self.seen :] if "/services/data/" in r.path]
        self.seen = len(self.w.app.requests)
        return made

    seen = 0


class TestSalesforce(HttpContract):
    @pytest.fixture
    def vendor(self) -> Iterator[SalesforceVendor]:
        with world(connect_seconds=0.2) as w:
            yield SalesforceVendor(w)
            if (EVIDENCE / "specs").is_dir():
                check_all_requests(w)

    @pytest.mark.parametrize("verb", ["update", "create"])
    def test_a_read_back_of_its_own_that_fails_does_not_look_as_if_nothing_was_written(self, vendor, verb):
        id = vendor.add()
        vendor.read(id)
        text = "@{looks.like.a.reference}"  # such a text travels alone, and its read-back too
        vendor.fault("status", Answered("GET", "/query$"), status=503)
        with pytest.raises(Uncertain):
            vendor.update(id, {"Subject": text}) if verb == "update" else vendor.create({"Subject": text}, "k")
        vendor.heal()
        assert text in {case["Subject"] for case in vendor.org.cases()}
