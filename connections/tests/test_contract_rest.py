"""The contract suite on described APIs: once with every help that one can give, once with hardly any."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from connections.connectors.base import DeliveryRequest, Values
from connections.sandbox.base import Standin
from connections.sandbox.rest import KEY
from connections.sandbox.rest_habits import Habits
from connections.tests.contract import HttpContract, Person, Sample, WiredVendor
from connections.tests.contract_vendor import Answered
from connections.tests.contract_wire import WireContract
from connections.tests.picked_contract import PickedContract
from connections.tests.rest_world import RestWorld, rest_world

ANA = "7"
BOOKKEEPING = ("lock", "updated", "updated_by", "created", "created_by", "_key", "_gone", "ext")
AGO = 7200.0


class RestVendor(WiredVendor):
    object_type = "thing"
    children = "note"
    narrow = {"team": "ours"}
    leaving = {"team": "theirs"}
    title = "title"
    lines = "body"
    unknown_id = "99999"
    samples = {
        "text": Sample("body", "Words", "Other words"),
        "rich_text": Sample("story", "*Once*", "upon **a time**"),
        "option": Sample("status", "Open", "Done", empty="New", clearable=False),
        "set": Sample("labels", ["a", "b"], ["c"], empty=[]),
        "person": Sample("owner", "ana@acme.example", "bob@acme.example"),
        "number": Sample("amount", 2.5, 3),
        "boolean": Sample("urgent", True, False, empty=False, clearable=False),
        "date": Sample("due", "2026-02-03", "2026-12-24"),
        "datetime": Sample("seen", "2026-02-03T04:05:06Z", "2026-12-24T18:00:00.500000Z"),
        "reference": Sample("reference", "T-1", "T-2"),
    }
    ana = Person("ana@acme.example", ANA, "Ana")
    inactive_person = "gone@acme.example"
    everything = Answered("", "/api/")
    writing = {
        "update": Answered("PATCH", "/api/things/"),
        "create": Answered("POST", "/api/things"),
        "delete": Answered("DELETE", "/api/things/"),
    }
    odd_answers = (
        {"items": None},
        {"items": [None]},
        {"items": [{}]},
        {"items": [{"id": None}]},
        {"items": [{"id": [1]}]},
        {"items": [{"id": 5, "updated": "soon"}], "total": 1},
        {"id": 5, "updated": 7},
        {"notes": 7},
    )
    secret = KEY

    def __init__(self, world: RestWorld) -> None:
        self.w = world
        self.connector = world.connector
        self.clock = float(int(time.time() - AGO))
        world.app.now = lambda: self.clock

    def _stored(self, values: Values) -> dict[str, Any]:
        found: dict[str, Any] = dict(values)
        for person in self.w.things.people:
            if found.get("owner") == person["email"]:
                found["owner"] = person["id"]
        numbers = {"New": 1, "Open": 2, "Done": 3}
        if "status" in found:
            found["status"] = numbers.get(found["status"], found["status"])
        return found

    def add(self, values: Values | None = None, inside: bool = True) -> str:
        given = {"title": "Thing", "team": "ours" if inside else "theirs", **self._stored(values or {})}
        return str(self.w.things.create(given, ANA)["id"])

    def edit(self, external_id: str, values: Values) -> None:
        self.w.things.update(external_id, self._stored(values), ANA)

    def remove(self, external_id: str) -> None:
        self.w.things.delete(external_id, ANA)

    def add_child(self, external_id: str, text: str) -> str:
        return str(self.w.things.add_note(external_id, text, ANA)["id"])

    def ids(self) -> set[str]:
        return {str(thing["id"]) for thing in self.w.things.all() if not thing["_gone"]}

    def snapshot(self, external_id: str) -> dict[str, Any]:
        return {n: v for n, v in self.w.app.store.get("thing", external_id).items() if n not in BOOKKEEPING}

    def tick(self, seconds: float) -> None:
        self.clock += seconds

    def stamp(self) -> str:
        return datetime.fromtimestamp(self.clock, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def position_of(self, updated_at: str | None) -> str:
        return str(updated_at)

    def hide(self, path: str) -> None:
        self.w.things.hidden.add(path)

    def delivery(self, external_id: str) -> DeliveryRequest:
        self.w.app.now = time.time
        headers, body = self.w.app.signed(external_id)
        named = {name.lower(): value for name, value in headers.items()}
        return DeliveryRequest("POST", "/hooks/x", named, body, received_at=time.time())

    def disturbed(self) -> Standin:
        return self.w.app

    def forget(self) -> None:
        self.connector.lookups.forget()

    def requests(self) -> list[str]:
        made = self.w.calls()[self.seen :]
        self.seen = len(self.w.app.log)
        return made

    seen = 0


class TestHelpful(HttpContract):
    """Pages, changes, tombstones, ETags, an idempotency key, many by id, the record in every answer."""

    @pytest.fixture
    def vendor(self) -> Iterator[RestVendor]:
        with rest_world(Habits(deleted="tombstone", idempotent=True)) as world:
            yield RestVendor(world)


class BareVendor(RestVendor):
    writing = {**RestVendor.writing, "update": Answered("PUT", "/api/things/")}


class TestBare(PickedContract, WireContract):
    """A list of everything by offset, whole records, no version, no answer to a write, wrapped, one record a call."""

    @pytest.fixture
    def vendor(self) -> Iterator[RestVendor]:
        habits = Habits(
            sign_in="header",
            paging="offset",
            changes=False,
            condition="none",
            write="PUT",
            answers=False,
            wrap="thing",
            many=False,
            deleted="410",
        )
        with rest_world(habits) as world:
            yield BareVendor(world)
