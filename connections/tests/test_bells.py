"""What is said about live changes: nothing where they arrive, and what to do where they seem dead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from connections.bells import DEAD_AFTER, LATE, health_of, unheard_since

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("bell", "seen", "unheard", "kind", "word"),
    [
        ("webhook", NOW, 0, "ok", "arrive"),
        ("webhook", NOW, DEAD_AFTER - 1, "ok", "arrive"),
        ("webhook", NOW, DEAD_AFTER, "warn", "seems dead: 3 changes"),
        ("webhook", None, 0, "info", "Waiting for the first webhook"),
        ("webhook", None, 9, "warn", "No webhook came from Jira, while polls found 9"),
        ("stream", None, 0, "info", "Waiting for the first sign of life"),
        ("stream", NOW, 9, "warn", "No sign of life"),
    ],
)
def test_what_is_said(bell: str, seen: datetime | None, unheard: int, kind: str, word: str) -> None:
    health = health_of(bell, "Jira", seen, unheard, used=True)
    assert health is not None
    assert health.kind == kind and word in health.what
    assert bool(health.todo) is (kind == "warn")


def test_a_system_without_a_bell_is_not_waited_for() -> None:
    assert health_of("none", "Jira", None, 9, used=True) is None


def test_a_change_counts_as_unheard_only_once_its_event_is_late() -> None:
    assert unheard_since(NOW, None) == NOW + LATE
    assert unheard_since(NOW, NOW + timedelta(days=1)) == NOW + timedelta(days=1) + LATE
    assert unheard_since(NOW, NOW - timedelta(days=1)) == NOW + LATE  # before the address was replaced
