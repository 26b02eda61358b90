"""The simulation itself: the same seed takes the same way, and its oracle sees what goes wrong.

On SQLite alone, which gives rows in one order: where the order decides nothing, the engine asks for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest import mock

import pytest

from sync import apply, merge
from sync.models import Operation
from sync.session import Session
from sync.simulation.campaign import findings_of
from sync.simulation.crash import one_thread
from sync.simulation.script import write_script
from sync.simulation.shrink import smallest
from sync.tests.conftest import Pair

CROWDED = 5
MANY = 12
SHRINKING = 6  # tries; each plays a whole history, which takes seconds

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_same_seed_takes_the_same_way() -> None:
    script = write_script(CROWDED)
    assert script.crowd > 1, "many writes of one batch, so that their order could differ"
    first, again = (findings_of(script)[0] for _ in range(2))
    assert first.trace == again.trace
    assert first.hash() == again.hash()


def test_answers_that_are_there_together_are_taken_in_the_order_of_their_calls(pair: Pair) -> None:
    """Else memory addresses would decide what is settled, and read again, first."""
    made = [pair.left.add(title=f"T{number}", ref=f"R{number}") for number in range(MANY)]
    pair.quiet()
    for external_id in made:
        pair.left.edit(external_id, title="edited")
    settled: list[int] = []

    def settle(session: Session, answers: Sequence[tuple[Operation, Any]]) -> None:
        settled.extend(operation.pk for operation, _ in answers)
        real(session, answers)

    real = apply.settle
    with one_thread(), mock.patch.object(apply, "settle", settle):
        pair.run()
    assert len(settled) >= MANY and settled == sorted(settled)


def test_an_engine_that_prefers_the_right_is_found_out_and_the_history_made_small() -> None:
    def careless(rule: Any, f: Any) -> Any:
        return merge.carry(rule, f, "left", "edited")

    with mock.patch.object(merge, "_both_changed", careless):
        script = next(script for script in map(write_script, range(1, 30)) if findings_of(script)[1])
        least = smallest(script, lambda one: bool(findings_of(one)[1]), most=SHRINKING)
        assert findings_of(least)[1]
    assert len(least.steps) < len(script.steps)
