"""What it costs to bring changes over, in remote calls: one course of events for every connector, counted at its
stand-in.

As large as docs/connectors.md tells it: MANY=1000 pytest -s -k what_changes_cost sync/tests/test_engine_zendesk.py
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors import memory
from sync import hints
from sync.merge import OTHER
from sync.models import Link, MappingState
from sync.tests.conftest import Pair

POLLED = 100
MANY = int(os.environ.get("MANY", "100"))


@dataclass(frozen=True)
class System:
    """What its people do: make a record, edit the field that the mapping brings over."""

    add: Callable[[], str]
    edit: Callable[[str, str], None]


def at_full_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine makes smaller batches, and the system in memory would list in small pages."""
    monkeypatch.setattr(hints, "BATCH_SECONDS", 600.0)
    monkeypatch.setattr(hints, "WHOLE_CALL_SECONDS", 600.0)
    monkeypatch.setattr(memory, "PAGE", 1000)


def in_bulk(world: memory.World) -> System:
    """The system on the other side, which takes as many records at once as any."""
    world.capabilities = replace(world.capabilities, bulk_read=200, bulk_write=200, exact_version=True)
    return System(
        lambda: world.add(title="Thing", body="x", status="open"), lambda id, text: world.edit(id, title=text)
    )


def moving_on(seconds: int, *apps: Any) -> Callable[[], None]:
    """Each call moves the clocks of these stand-ins on by so much."""
    passed = [0]

    def later() -> None:
        passed[0] += seconds
        for app in apps:
            app.now = lambda: time.time() + passed[0]

    return later


def costs(
    pair: Pair,
    side: str,
    system: System,
    other: System,
    calls: Callable[[], list[str]],
    settle: Callable[[], None],
    later: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Calls of the system on `side` for each change, as its source (from) and as its target (to).

    settle: poll both sides, and run until nothing waits; later: let time pass at the system.
    """
    pair.publish_as_is(brakes={kind: [10**6, 1.0] for kind in ("create", "update", "delete")})
    told: dict[str, float] = {}

    def count(what: str, records: int, act: Callable[[], object]) -> None:
        before = len(calls())
        act()
        made = calls()[before:]
        told[what] = len(made) / records
        print(f"{what:12} {told[what]:.3f}", dict(Counter(re.sub(r"[0-9a-f]{32}|\d+$", "…", one) for one in made)))

    def live(by: str, id: str, text: str) -> None:
        (system if by == side else other).edit(id, text)
        pair.ring(by, id)
        MappingState.objects.update(next_poll_at=timezone.now() + timedelta(hours=1))
        pair.run("live")

    def rest() -> None:
        """What changed just now is listed, and read, once more."""
        later()
        settle()
        settle()

    def linked(by: str) -> dict[str, str]:
        pairs = Link.objects.filter(state=Link.State.ACTIVE).order_by("pk")
        return {str(link.record_id(by)): str(link.record_id(OTHER[by])) for link in pairs}

    for one in (system, other):
        one.add()
        settle()
    mine, theirs = next(iter(linked(side).items()))
    for number in range(2):  # the first asks for the fields as well
        count("live_from", 1, lambda: live(side, mine, f"from {number}"))  # noqa: B023
        count("live_to", 1, lambda: live(OTHER[side], theirs, f"to {number}"))  # noqa: B023
    for by, source, way in ((side, system, "from"), (OTHER[side], other, "to")):
        rest()
        for _ in range(max(MANY, POLLED)):
            source.add()
        count(f"create_{way}", max(MANY, POLLED), settle)
        for what, number in (("poll", POLLED), ("update", MANY)):
            rest()
            for id in list(linked(by))[:number]:
                source.edit(id, f"{what} {way}")
            later()
            count(f"{what}_{way}", number, settle)
    rest()
    count("idle", 1, settle)
    return told


def assert_at_most(told: Mapping[str, float], **limits: float) -> None:
    """All that costs more than its limit is told together."""
    assert {what: (spent, limits[what]) for what, spent in told.items() if spent > limits[what]} == {}
