"""The first edit of a record goes at once, further ones within a second together; nothing waits longer than that."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import Hint
from connections.models import Connection
from sync import jobs
from sync.models import ChangedRecord, Link
from sync.tests.conftest import Pair

pytestmark = pytest.mark.django_db(transaction=True)


class Now:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.at = timezone.now()

    def __call__(self) -> datetime:
        return self.at

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    clock = Now()
    monkeypatch.setattr(timezone, "now", clock)
    return clock


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """In how many seconds the mapping was rung, ring by ring."""
    found: list[float] = []
    monkeypatch.setattr(jobs, "wake", lambda mapping_id, queue="live", after=0.0: found.append(round(after, 3)))
    return found


def bell(*ids: str) -> None:
    jobs.bell(Connection.objects.get(name="Left").pk, [Hint("thing", one) for one in ids])


def waits(now: Now) -> dict[str, float]:
    rows = ChangedRecord.objects.values_list("external_id", "not_before")
    return {external_id: round(max(0.0, (moment - now.at).total_seconds()), 3) for external_id, moment in rows}


def looked_at(link: Link, when: datetime) -> None:
    Link.objects.filter(pk=link.pk).update(left_read_at=when)


def test_a_first_edit_goes_at_once(pair: Pair, now: Now, rung: list[float]) -> None:
    one, _, link = pair.linked()
    looked_at(link, now.at - timedelta(seconds=1))
    bell(one)
    assert waits(now) == {one: 0.0} and rung == [0.0]


def test_an_edit_right_after_our_look_waits_until_the_second_is_over_and_is_rung_then(
    pair: Pair, now: Now, rung: list[float]
) -> None:
    one, _, link = pair.linked()
    looked_at(link, now.at - timedelta(seconds=0.3))
    bell(one)
    assert waits(now) == {one: 0.7} and rung == [0.7]


def test_edits_without_end_make_nothing_wait_longer(pair: Pair, now: Now, rung: list[float]) -> None:
    one, _, link = pair.linked()
    looked_at(link, now.at)
    begun = now.at
    for _ in range(9):
        bell(one)
        now.move(0.1)
        assert waits(now)[one] == pytest.approx(1 - (now.at - begun).total_seconds())
    now.move(0.2)
    assert waits(now) == {one: 0.0}, "still due, although it is rung all the time"
    bell(one)
    assert waits(now) == {one: 0.0}


def test_another_record_does_not_wait_for_one_that_is_collected(pair: Pair, now: Now, rung: list[float]) -> None:
    one, _, link = pair.linked()
    other, _, _ = pair.linked(title="Two", ref="R2")
    Link.objects.update(left_read_at=now.at - timedelta(minutes=1))
    looked_at(link, now.at)
    bell(one, other)
    assert waits(now) == {one: 1.0, other: 0.0} and rung == [0.0]


def test_those_that_are_collected_together_go_together(pair: Pair, now: Now, rung: list[float]) -> None:
    one, _, link = pair.linked()
    other, _, second = pair.linked(title="Two", ref="R2")
    looked_at(link, now.at - timedelta(seconds=0.9))
    looked_at(second, now.at - timedelta(seconds=0.2))
    bell(one, other)
    assert waits(now) == {one: 0.8, other: 0.8} and rung == [0.8]


def test_a_clock_that_went_back_makes_nobody_wait_longer(pair: Pair, now: Now, rung: list[float]) -> None:
    one, _, link = pair.linked()
    looked_at(link, now.at + timedelta(hours=1))
    bell(one)
    assert waits(now) == {one: 1.0}


def test_what_is_collected_is_rung_once_however_many_rings_there_were(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []

    class Timer:
        def __init__(self, seconds: float, act: Any) -> None:
            self.seconds, self.act, self.daemon = seconds, act, False

        def start(self) -> None:
            started.append(self)

    enqueued: list[Any] = []
    monkeypatch.setattr(jobs.threading, "Timer", Timer)
    monkeypatch.setattr(jobs, "enqueue", lambda *args: enqueued.append(args))
    for _ in range(3):
        jobs.wake(4711, after=0.5)
    assert [one.seconds for one in started] == [0.5] and not enqueued
    started[0].act()
    assert enqueued == [("live", "sync.jobs.run_mapping", 4711, "live")]
    jobs.wake(4711, after=0.5)
    assert len(started) == 2
    started[1].act()
