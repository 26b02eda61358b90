"""The simulation itself: the same seed takes the same way, and its oracle sees what goes wrong.

On SQLite alone, which gives rows in one order: where the order decides nothing, the engine asks for none.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from sync import merge
from sync.simulation.campaign import findings_of
from sync.simulation.script import write_script
from sync.simulation.shrink import smallest

SHRINKING = 6  # tries; each plays a whole history, which takes seconds

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_same_seed_takes_the_same_way() -> None:
    first, again = (findings_of(write_script(5))[0] for _ in range(2))
    assert first.trace == again.trace
    assert first.hash() == again.hash()


def test_an_engine_that_prefers_the_right_is_found_out_and_the_history_made_small() -> None:
    def careless(rule: Any, f: Any) -> Any:
        return merge.carry(rule, f, "left", "edited")

    with mock.patch.object(merge, "_both_changed", careless):
        script = next(script for script in map(write_script, range(1, 30)) if findings_of(script)[1])
        least = smallest(script, lambda one: bool(findings_of(one)[1]), most=SHRINKING)
        assert findings_of(least)[1]
    assert len(least.steps) < len(script.steps)
