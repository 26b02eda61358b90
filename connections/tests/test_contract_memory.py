"""The contract suite on the connector that the engine's tests run against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connections.connectors.base import Capabilities, Context, Field, Option, Values
from connections.connectors.memory import DEFAULT_FIELDS, MemoryConnector, World
from connections.tests.contract import ConnectorContract, Person, Sample, Vendor

START = datetime(2026, 1, 1, 9, 0, 0, 250_000, tzinfo=UTC)
STATUSES = tuple(Option(name, name) for name in ("New", "Done"))
FIELDS = (
    *(replace(field, options=STATUSES) if field.path == "status" else field for field in DEFAULT_FIELDS),
    Field("story", "Story", "rich_text", format="markdown"),
    Field("urgent", "Urgent", "boolean"),
    Field("seen", "Seen", "datetime"),
    Field("thing", "Thing", "reference"),
    Field("team", "Team", "text"),
)
# All that a system can promise.
EVERYTHING: dict[str, Any] = {
    "bulk_write": 50,
    "conditional_write": True,
    "idempotent_create": True,
    "exact_version": True,
}


class MemoryVendor(Vendor):
    object_type = "thing"
    narrow = {"team": "ours"}
    leaving = {"team": "theirs"}
    title = "title"
    samples = {
        "text": Sample("body", "Words", "Other words"),
        "rich_text": Sample("story", "*Once*", "upon **a time**"),
        "option": Sample("status", "New", "Done"),
        "set": Sample("labels", ["a", "b"], ["c"], empty=[]),
        "person": Sample("owner", "ana@example.com", "bob@example.com"),
        "number": Sample("amount", 2.5, 3),
        "boolean": Sample("urgent", True, False),
        "date": Sample("due", "2026-02-03", "2026-12-24"),
        "datetime": Sample("seen", "2026-02-03T04:05:06Z", "2026-02-03T04:05:06.789Z"),
        "reference": Sample("thing", "T00001", "T00002"),
    }
    ana = Person("ana@example.com", "ana", "Ana")
    inactive_person = "gone@example.com"
    unknown_id = "T99999"
    lines = "body"
    matches = {"ref": "00012"}

    def __init__(self, **promises: Any) -> None:
        self.now = START
        usual = World("Things").capabilities
        people = {"ana@example.com": "Ana", "bob@example.com": "Bob"}
        able: Capabilities = replace(usual, **promises)
        self.world = World("Things", FIELDS, able, now=lambda: self.now, people=people)
        context = Context("Things", "memory://things", {"world": "Things"}, {}, None, None, None)  # type: ignore[arg-type]
        self.connector = MemoryConnector(context)

    def add(self, values: Values | None = None, inside: bool = True) -> str:
        return self.world.add(**{"title": "Thing", "team": "ours" if inside else "theirs", **(values or {})})

    def edit(self, external_id: str, values: Values) -> None:
        self.world.edit(external_id, **values)

    def remove(self, external_id: str) -> None:
        self.world.remove(external_id)

    def ids(self) -> set[str]:
        return set(self.world.alive())

    def snapshot(self, external_id: str) -> dict[str, Any]:
        return dict(self.world.records[external_id].values)

    def tick(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def stamp(self) -> str:
        return self.world.stamp()

    def position_of(self, updated_at: str | None) -> str:
        return str(updated_at)

    def hide(self, path: str) -> None:
        self.world.hidden.add(path)


class TestMemory(ConnectorContract):
    @pytest.fixture
    def vendor(self) -> Iterator[MemoryVendor]:
        yield MemoryVendor()


class TestMemoryThatPromisesEverything(ConnectorContract):
    @pytest.fixture
    def vendor(self) -> Iterator[MemoryVendor]:
        yield MemoryVendor(**EVERYTHING)


class TestMemoryThatPromisesNothing(ConnectorContract):
    """A system that tells little: each lack has its own consequence."""

    @pytest.fixture
    def vendor(self) -> Iterator[MemoryVendor]:
        yield MemoryVendor(lists_deletions=False, not_found_means_gone=False, complete_history=False)
