"""What tests of the engine do to a pair: faults at a call, runs without lists, the oracle of what we wrote."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from connections.connectors.base import Uncertain
from connections.connectors.memory import US, World
from sync.models import ChangedRecord, MappingState
from sync.tests.conftest import Pair

LONG_AGO = "2020-01-01T00:00:00.000000Z"  # no list of changes tells any more of what was edited then


def once(world: World, verb: str, act: Callable[[], None], when: str = "before") -> None:
    """Do something at the first call of `verb`."""

    def hook(called: str, ids: Any) -> None:
        if called == verb:
            setattr(world, when, lambda *_: None)
            act()

    setattr(world, when, hook)


def no_answer() -> None:
    raise Uncertain("no answer")


def live(pair: Pair, rounds: int = 4) -> None:
    """Runs that look at every hint and read no list: nothing but hints brings a record back."""
    MappingState.objects.update(next_poll_at=timezone.now() + timedelta(hours=1))
    for _ in range(rounds):
        ChangedRecord.objects.update(not_before=timezone.now())
        pair.run("live")


def ours(world: World, path: str) -> list[Any]:
    """What we wrote to this field, as the system's own log tells."""
    return [line.after for line in world.log if line.by == US and line.field == path]
