"""Runs that read everything in one job: first runs, comparisons after a restore, complete listings."""

from __future__ import annotations

from typing import Any

import pytest

from connections.models import Connection
from sync import jobs, restored, schedule, turns
from sync.models import MappingState, Run
from sync.tests.conftest import Pair
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
