"""Maintenance windows as a table: weekdays, midnight, time zones, and the two nights on which clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from connections.windows import is_open, is_over, next_change, open_window, problem, words

ALL_DAYS = [0, 1, 2, 3, 4, 5, 6]


def weekly(days: list[int], start: str, end: str, zone: str = "Europe/Berlin") -> dict[str, Any]:
    return {"id": "w", "days": days, "from": start, "to": end, "zone": zone, "note": ""}


def once(start: str, end: str) -> dict[str, Any]:
    return {"id": "o", "start": start, "end": end, "note": ""}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NIGHT = weekly([4], "22:00", "02:00")  # Friday night; 2026-11-27 is a Friday, Berlin is UTC+1 then
LUNCH = weekly([0, 1, 2, 3, 4], "12:00", "13:00", "America/New_York")
SPRING = weekly(ALL_DAYS, "01:30", "02:30")  # 2026-03-29: 02:00 becomes 03:00
SKIPPED = weekly(ALL_DAYS, "02:10", "02:40")  # does not exist on that night
HALF = weekly(ALL_DAYS, "02:30", "03:30")  # its beginning does not
WHOLLY = weekly(ALL_DAYS, "02:00", "03:00")  # the very hour
AUTUMN = weekly(ALL_DAYS, "02:00", "02:30")  # 2026-10-25: 02:00 to 03:00 comes twice
WHOLE = weekly([6], "00:00", "00:00")  # a Sunday
XMAS = once("2026-12-24T08:00:00+00:00", "2026-12-26T08:00:00+00:00")


@pytest.mark.parametrize(
    "window, now, is_in, change",
    [
        # over midnight, and only on its weekday
        (NIGHT, "2026-11-27T20:59", False, "2026-11-27T21:00"),
        (NIGHT, "2026-11-27T21:00", True, "2026-11-28T01:00"),
        (NIGHT, "2026-11-28T00:59", True, "2026-11-28T01:00"),
        (NIGHT, "2026-11-28T01:00", False, "2026-12-04T21:00"),
        (NIGHT, "2026-11-28T21:30", False, "2026-12-04T21:00"),
        # another time zone, weekdays only
        (LUNCH, "2026-11-27T16:59", False, "2026-11-27T17:00"),
        (LUNCH, "2026-11-27T17:30", True, "2026-11-27T18:00"),
        (LUNCH, "2026-11-28T17:30", False, "2026-11-30T17:00"),
        # clocks go forward: the hour from 2 to 3 is not there
        (SPRING, "2026-03-29T00:29", False, "2026-03-29T00:30"),
        (SPRING, "2026-03-29T00:30", True, "2026-03-29T01:30"),
        (SPRING, "2026-03-29T01:30", False, "2026-03-29T23:30"),
        (SPRING, "2026-03-28T00:45", True, "2026-03-28T01:30"),
        (SKIPPED, "2026-03-29T00:59", False, "2026-03-29T01:00"),
        (SKIPPED, "2026-03-29T01:00", True, "2026-03-29T01:40"),
        (SKIPPED, "2026-03-29T01:40", False, "2026-03-30T00:10"),
        (HALF, "2026-03-29T00:59", False, "2026-03-29T01:00"),
        (HALF, "2026-03-29T01:00", True, "2026-03-29T02:00"),
        (HALF, "2026-03-29T02:00", False, "2026-03-30T00:30"),
        (WHOLLY, "2026-03-29T01:00", True, "2026-03-29T02:00"),
        # clocks go back: from the first 2:00 to the second 2:30
        (AUTUMN, "2026-10-24T23:59", False, "2026-10-25T00:00"),
        (AUTUMN, "2026-10-25T00:00", True, "2026-10-25T01:30"),
        (AUTUMN, "2026-10-25T00:45", True, "2026-10-25T01:30"),
        (AUTUMN, "2026-10-25T01:29", True, "2026-10-25T01:30"),
        (AUTUMN, "2026-10-25T01:30", False, "2026-10-26T01:00"),
        # a whole day, which is 25 hours long on that one
        (WHOLE, "2026-10-24T22:00", True, "2026-10-25T23:00"),
        (WHOLE, "2026-10-25T22:59", True, "2026-10-25T23:00"),
        # once
        (XMAS, "2026-11-28T00:00", False, "2026-12-24T08:00"),
        (XMAS, "2026-12-25T00:00", True, "2026-12-26T08:00"),
        (XMAS, "2026-12-26T08:00", False, None),
    ],
)
def test_a_window_opens_and_closes_by_the_clock(
    window: dict[str, Any], now: str, is_in: bool, change: str | None
) -> None:
    assert is_open([window], at(now)) is is_in
    assert next_change([window], at(now)) == (at(change) if change else None)


def test_without_windows_nothing_is_ever_closed() -> None:
    assert not is_open([], at("2026-11-28T00:00")) and next_change([], at("2026-11-28T00:00")) is None


def test_windows_that_touch_close_together() -> None:
    windows = [weekly(ALL_DAYS, "20:00", "22:00", "UTC"), weekly(ALL_DAYS, "22:00", "23:00", "UTC")]
    assert next_change(windows, at("2026-11-28T20:30")) == at("2026-11-28T23:00")
    into_one_off = [*windows, once("2026-11-28T22:30:00+00:00", "2026-12-20T00:00:00+00:00")]
    assert next_change(into_one_off, at("2026-11-28T20:30")) == at("2026-12-20T00:00")
    assert open_window(into_one_off, at("2026-11-28T22:45")) == into_one_off[2], "the one that closes last"


def test_windows_that_never_close_are_refused() -> None:
    always = [weekly(ALL_DAYS, "00:00", "00:00", "UTC")]
    assert "no time in between" in problem(always)
    assert is_open(always, at("2026-11-28T00:00")) and next_change(always, at("2026-11-28T00:00")) is None
    assert not problem([weekly([0, 1, 2, 3, 4, 5], "00:00", "00:00")])


@pytest.mark.parametrize(
    "window, why",
    [
        (weekly([], "22:00", "02:00"), "weekdays"),
        (weekly([7], "22:00", "02:00"), "weekdays"),
        (weekly([0], "25:00", "02:00"), "22:00"),
        (weekly([0], "22:00", "02:00", "Europe/Nowhere"), "time zone"),
        (once("2026-12-24T08:00:00+00:00", "2026-12-24T08:00:00+00:00"), "never open"),
        (once("2026-12-24T08:00:00", "2026-12-25T08:00:00"), "offset"),
        ({"note": "?"}, "start and end"),
        ("tonight", "object"),
    ],
)
def test_what_is_no_window_is_refused_with_a_reason(window: Any, why: str) -> None:
    assert why in problem([window])


def test_windows_read_like_people_say_them() -> None:
    assert words(NIGHT) == "Fri, 22:00 to 02:00 (Europe/Berlin)"
    assert words(LUNCH) == "Mon to Fri, 12:00 to 13:00 (America/New_York)"
    assert words(weekly([0, 2], "1:00", "2:00")).startswith("Mon, Wed,")
    assert words(SPRING).startswith("Every day, 01:30")
    assert words(XMAS) == "24 Dec 2026 08:00 to 26 Dec 2026 08:00 (UTC)"


def test_only_a_single_window_is_ever_over() -> None:
    assert is_over(XMAS, at("2026-12-26T08:00")) and not is_over(XMAS, at("2026-12-26T07:59"))
    assert not is_over(NIGHT, at("2036-01-01T00:00"))
