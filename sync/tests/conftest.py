"""Two systems in memory, one mapping between them, and a run by hand."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.memory import World
from mappings.models import Mapping, MappingVersion
from sync import engine, hints, jobs
from sync.models import ChangedRecord, Conflict, Link, MappingState, Operation
from sync.simulation.setting import build_mapping, connect, publish, rule

DEFAULT_RULES = [
    rule("title", "title", left={"required": True, "max_length": 255}, right={"required": True, "max_length": 255}),
    rule("body", "body"),
    rule("status", "status", "option", policy="left"),
    rule("labels", "labels", "set", policy="merge_sets"),
    rule("amount", "amount", "number", policy="newest"),
]


@dataclass
class Pair:
    """A mapping between two worlds, driven step by step."""

    left: World
    right: World
    mapping: Mapping
    rules: list[dict[str, Any]] = field(default_factory=list)

    def publish(self, **changes: Any) -> MappingVersion:
        """A new version, and systems that suit it."""
        self.suit(changes.get("rules", ()))
        return self.publish_as_is(**changes)

    def suit(self, rules: Sequence[dict[str, Any]]) -> None:
        """The systems have the fields of `rules`, of the kinds they know, and require no others."""
        for side, world in (("left", self.left), ("right", self.right)):
            for spec in (one[side] for one in rules):
                limit = spec.get("max_length")
                world.change(spec["path"], kind=spec["kind"], format=spec.get("format"), max_length=limit)
            filled = {one[side]["path"] for one in rules}
            for unfilled in [one.path for one in world.fields if rules and one.required and one.path not in filled]:
                world.change(unfilled, required=False)

    def publish_as_is(self, **changes: Any) -> MappingVersion:
        """A new version, whatever the systems have."""
        return publish(self.mapping, **changes)

    def run(self, kind: str = "manual") -> engine.Outcome:
        return engine.run(self.mapping.pk, kind=kind)

    def ring(self, side: str, external_id: str, **more: Any) -> None:
        hints.mark(self.mapping.pk, side, [external_id], **more)

    def quiet(self, rounds: int = 6) -> None:
        """Run until nothing waits; more than `rounds` rounds would be a loop."""
        for _ in range(rounds):
            ChangedRecord.objects.filter(mapping=self.mapping, attempts=0).update(not_before=timezone.now())
            self.run()
            if not ChangedRecord.objects.filter(mapping=self.mapping, attempts=0).exists():
                return
        raise AssertionError("hints keep coming back: " + str(list(ChangedRecord.objects.values())))

    def approve(self) -> None:
        MappingState.objects.update_or_create(
            mapping=self.mapping, defaults={"approved_at": timezone.now(), "surveyed_at": timezone.now()}
        )

    def linked(self, **values: Any) -> tuple[str, str, Link]:
        """Two records that agree on `values`, linked by a first round."""
        left = self.left.add(**{"title": "One", "ref": "R1", **values})
        right = self.right.add(**{"title": "One", "ref": "R1", **values})
        self.quiet()
        return left, right, Link.objects.get(left_id=left)

    def both(self, left_id: str, right_id: str, path: str) -> tuple[Any, Any]:
        return self.left.value(left_id, path), self.right.value(right_id, path)

    def open_conflicts(self) -> list[Conflict]:
        return list(Conflict.objects.filter(mapping=self.mapping, state="open"))

    def writes(self) -> int:
        return Operation.objects.filter(mapping=self.mapping, state="confirmed").count()


def build_pair(name: str, left: World, right: World, rules: list[dict[str, Any]] | None = None) -> Pair:
    rules = DEFAULT_RULES if rules is None else rules
    pair = Pair(left, right, build_mapping(name, connect(left.name), connect(right.name), rules))
    pair.suit(rules)
    return pair


@pytest.fixture
def by_hand(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs are called by the test: no bell reaches a queue."""
    monkeypatch.setattr(jobs, "enqueue", lambda *args: None)
    os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    yield
    World.registry.clear()


@pytest.fixture
def pair(by_hand: None) -> Pair:
    made = build_pair("Pair", World("Left"), World("Right"))
    made.approve()
    return made
