"""Schedules as tables: what can be used, what people read, and when they run, clock changes included."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mappings import schedules

EVERY = {"kind": "every", "minutes": 30}
CRON = {"kind": "cron", "expression": "30 2 * * *"}
WEEKDAYS, HALF_HOURS = ({"kind": "cron", "expression": one} for one in ("0 6 * * 1-5", "*/30 * * * *"))
HOURS = {"kind": "hours", "days": [0, 4], "from": "22:00", "to": "06:00"}
BY_HAND = {"kind": "manual"}
BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "schedule", [{}, {"kind": "live"}, EVERY, CRON, HOURS, BY_HAND, {"kind": "every", "minutes": 1}]
)
def test_what_can_be_used(schedule: dict[str, Any]) -> None:
    assert schedules.problem(schedule) == ""


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("live", "must be a mapping"),
        ({"kind": "now and then"}, "it is one of live, every"),
        ({"kind": "every"}, "whole number of minutes from 1 to 10,080"),
        ({"kind": "every", "minutes": 0}, "whole number"),
        ({"kind": "every", "minutes": True}, "whole number"),
        ({"kind": "every", "minutes": 20_000}, "whole number"),
        ({"kind": "every", "minutes": 5, "expression": "x"}, "does not take expression"),
        ({"kind": "cron"}, "five parts"),
        ({"kind": "cron", "expression": "@daily"}, "five parts"),
        ({"kind": "cron", "expression": "* * * * * *"}, "five parts"),
        ({"kind": "cron", "expression": "H * * * *"}, "five parts"),
        ({"kind": "cron", "expression": "r(0-5) * * * *"}, "five parts"),
        ({"kind": "cron", "expression": "61 * * * *"}, "no cron expression"),
        ({"kind": "cron", "expression": "0 0 30 2 *"}, "its time never comes"),
        ({"kind": "hours", "from": "22:00", "to": "06:00"}, "weekdays"),
        ({**HOURS, "days": [7]}, "0 (Monday) to 6 (Sunday)"),
        ({**HOURS, "from": "25:00"}, "times from and to"),
        ({"kind": "hours", "days": list(range(7)), "from": "00:00", "to": "00:00"}, "that is the kind live"),
        ({"kind": "manual", "minutes": 5}, "does not take minutes"),
    ],
)
def test_what_cannot_be_used_is_said(schedule: Any, why: str) -> None:
    assert why in schedules.problem(schedule)


@pytest.mark.parametrize(
    ("schedule", "said", "turns"),
    [
        ({}, "Live", False),
        (EVERY, "Every 30 minutes", True),
        ({"kind": "every", "minutes": 1}, "Every minute", True),
        (CRON, "By the cron expression “30 2 * * *”", True),
        (HOURS, "Live Mon, Fri, 22:00 to 06:00", False),
        (BY_HAND, "Only by hand", True),
    ],
)
def test_what_people_read(schedule: dict[str, Any], said: str, turns: bool) -> None:
    assert schedules.words(schedule) == said
    assert schedules.takes_turns(schedule) is turns


@pytest.mark.parametrize(
    ("schedule", "now", "runs"),
    [
        ({}, "2026-03-02T12:00", []),
        (BY_HAND, "2026-03-02T12:00", []),
        (EVERY, "2026-03-02T12:00", ["2026-03-02T12:00", "2026-03-02T12:30", "2026-03-02T13:00"]),
        (WEEKDAYS, "2026-03-06T05:30", ["2026-03-09T05:00", "2026-03-10T05:00", "2026-03-11T05:00"]),
        # the night in which clocks in Berlin jump from 2 to 3: the time that is not there comes as they jump
        (CRON, "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30", "2026-03-31T00:30"]),
        # and the one in which they go back: once, not twice
        (CRON, "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30", "2026-10-27T01:30"]),
        # what runs in every hour runs in both of them
        (HALF_HOURS, "2026-10-25T00:10", ["2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30"]),
        (HOURS, "2026-03-28T12:00", ["2026-03-30T20:00", "2026-04-03T20:00", "2026-04-06T20:00"]),
    ],
)
def test_the_next_three_runs(schedule: dict[str, Any], now: str, runs: list[str]) -> None:
    assert schedules.next_runs(schedule, at(now), BERLIN) == [at(one) for one in runs]


def test_a_turn_whose_time_is_known_is_the_first_of_them() -> None:
    runs = schedules.next_runs(EVERY, at("2026-03-02T12:00"), BERLIN, begins=at("2026-03-02T12:10"))
    assert runs == [at("2026-03-02T12:10"), at("2026-03-02T12:40"), at("2026-03-02T13:10")]


@pytest.mark.parametrize(
    ("now", "closed"),
    [("2026-03-02T20:59", True), ("2026-03-02T21:00", False), ("2026-03-03T04:59", False), ("2026-03-03T05:00", True)],
)
def test_it_is_shut_outside_its_hours(now: str, closed: bool) -> None:
    assert schedules.shut(HOURS, at(now), BERLIN) is closed
    assert not schedules.shut(EVERY, at(now), BERLIN)


@pytest.mark.parametrize(
    ("schedule", "hours"),
    [
        ({}, 0),
        (BY_HAND, 0),
        (EVERY, 0.5),
        (CRON, 24),
        (WEEKDAYS, 72),
        ({"kind": "cron", "expression": "0 0 1 * *"}, 31 * 24),
        (HOURS, 88),
        ({"kind": "hours", "days": [0, 1, 2, 3, 4], "from": "09:00", "to": "17:00"}, 64),
    ],
)
def test_the_longest_time_between_two_runs(schedule: dict[str, Any], hours: float) -> None:
    assert schedules.longest_gap(schedule) == hours * 3600
