"""How often lists are read, as tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sync.pace import bell_state, seconds_to_next

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def ago(seconds: float | None) -> datetime | None:
    return None if seconds is None else NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("quiet", "bell", "wait"),
    [
        (0, "unproven", 15),  # people work: as often as the admin lets us
        (149, "unproven", 15),
        (300, "unproven", 30),  # a tenth of the silence
        (599, "unproven", 59.9),
        (600, "unproven", 60),
        (86_400, "unproven", 60),  # never less often than the admin says
        (None, "unproven", 60),
        (0, "alive", 60),  # the bell tells of every edit; the lists only make sure
        (86_400, "alive", 60),
        (0, "silent", 15),  # it should ring and does not: the lists are all there is
        (86_400, "silent", 15),
        (None, "silent", 15),
    ],
)
def test_a_busy_side_is_read_often_an_idle_one_rarely_and_one_with_a_living_bell_least(
    quiet: float | None, bell: str, wait: float
) -> None:
    assert seconds_to_next(quiet, 15, 60, bell) == pytest.approx(wait)


@pytest.mark.parametrize(
    ("shortest", "longest", "retention", "wait"),
    [
        (15, 3600, 259_200, 3600),  # three days kept: an hour is well within
        (15, 3600, 3600, 900),  # never so slowly that a feed forgets before we look
        (600, 3600, 1200, 300),  # that holds against the admin's bounds, too
        (60, 15, None, 60),  # bounds the wrong way round are both the first
        (15, 15, None, 15),
    ],
)
def test_it_is_never_slower_than_a_system_forgets(
    shortest: float, longest: float, retention: float | None, wait: float
) -> None:
    assert seconds_to_next(None, shortest, longest, "unproven", retention) == wait


@pytest.mark.parametrize(
    ("kind", "seen", "missed", "state"),
    [
        ("none", 1, None, "unproven"),
        ("webhook", None, None, "unproven"),  # never rang: perhaps it was never set up
        ("webhook", None, 5, "unproven"),
        ("webhook", 5, None, "alive"),
        ("webhook", 3600, None, "alive"),
        ("webhook", 3601, None, "unproven"),  # nothing happened, or it broke: the next edit will tell
        ("webhook", 60, 30, "silent"),  # an edit came without it
        ("webhook", 30, 60, "alive"),  # and since then it rang again
        ("stream", 60, None, "alive"),
        ("stream", 61, None, "silent"),  # no sign of life
        ("stream", 5, 599, "silent"),  # it lives, and did not tell
        ("stream", 5, 600, "alive"),
        ("stream", None, None, "unproven"),
    ],
)
def test_a_bell_is_believed_by_what_it_did(kind: str, seen: float | None, missed: float | None, state: str) -> None:
    assert bell_state(kind, ago(seen), ago(missed), NOW) == state
