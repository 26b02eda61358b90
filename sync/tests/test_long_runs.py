"""Runs that take long: first runs, comparisons after a restore and complete listings in one job, others in turns."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.models import Connection
from sync import engine, hints, jobs, restored, schedule, turns
from sync.models import MappingState, Run
from sync.tests.conftest import Pair
from sync.tests.engine_cases import once, ours
from sync.tests.test_engine_running import edit_all, pairs
from sync.tests.test_turns import BY_HAND

pytestmark = pytest.mark.django_db


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    monkeypatch.setattr(
        jobs, "wake", lambda mapping_id, queue="live", after=0.0: found.append((str(mapping_id), queue))
    )
    return found


@pytest.mark.parametrize("which", ["first", "restored"])
def test_a_ring_in_the_live_queue_hands_them_on(pair: Pair, rung: list[tuple[str, str]], which: str) -> None:
    if which == "first":
        MappingState.objects.update(approved_at=None, surveyed_at=None)
    else:
        pair.linked()
        restored.halt_all("restored_by_hand", {})
    rung.clear()
    before = Run.objects.count()
    assert jobs.run_mapping(pair.mapping.pk, "live") == "handed on"
    assert rung == [(str(pair.mapping.pk), "bulk")] and Run.objects.count() == before


def test_a_run_that_took_its_time_hands_the_lease_on_and_rings_for_what_is_left(
    pair: Pair, rung: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pairs(pair, 5)
    edit_all(pair, made, body="new")
    MappingState.objects.update(next_poll_at=timezone.now() + timedelta(hours=1))
    monkeypatch.setattr(hints, "LIVE_BATCH", 2)
    rung.clear()
    with monkeypatch.context() as later:
        once(pair.right, "update", lambda: later.setattr(engine, "RUN_SECONDS", 0))
        assert jobs.run_mapping(pair.mapping.pk, "live") == "done"
    assert len(ours(pair.right, "body")) == 2, "the batch that it had begun"
    assert rung == [(str(pair.mapping.pk), "live")] and MappingState.objects.get().lease_until is None
    assert jobs.run_mapping(pair.mapping.pk, "live") == "done"
    assert sorted(ids for verb, ids in pair.right.calls if verb == "update") == sorted(right for _, right in made)
    assert len(rung) == 1 and [pair.right.value(right, "body") for _, right in made] == ["new"] * 5


@pytest.mark.parametrize(
    ("queue", "function", "seconds"),
    [
        ("live", "sync.jobs.run_mapping", 24 * 3600),
        ("bulk", "sync.jobs.run_mapping", 24 * 3600),
        ("housekeeping", "sync.jobs.carry_on_verification", None),
    ],
)
def test_what_reads_whole_lists_may_take_long(
    monkeypatch: pytest.MonkeyPatch, queue: str, function: str, seconds: int | None
) -> None:
    """A job that is cut keeps no place in its list: it would begin anew for ever, and no deletion be noticed."""
    asked: list[int | None] = []

    class Queue:
        def __init__(self, _: str) -> None:
            self.connection = self

        def set(self, *_: Any, **__: Any) -> bool:
            return True

        def enqueue_call(self, *_: Any, timeout: int | None, **__: Any) -> None:
            asked.append(timeout)

    monkeypatch.setattr(jobs.django_rq, "get_queue", Queue)
    jobs.enqueue(queue, function, 1, queue)
    assert asked == [seconds]


@pytest.mark.parametrize(
    "plan", [{}, BY_HAND, {"kind": "cron", "expression": "0 3 1 1 *"}], ids=["live", "hand", "cron"]
)
def test_a_first_run_goes_on_once_its_connection_is_repaired(pair: Pair, plan: dict[str, Any]) -> None:
    pair.publish(schedule=plan)
    MappingState.objects.all().delete()
    pair.left.add(title="One", ref="R1")
    Connection.objects.filter(name="Left").update(state="sign_in", state_reason="Sign in again.")
    jobs.run_mapping(pair.mapping.pk, "bulk")
    assert MappingState.objects.get().halt == "connection"
    Connection.objects.update(state="ok", state_reason="")
    turns.begin_due()
    assert schedule.due_mappings() == [(pair.mapping.pk, "bulk")]
