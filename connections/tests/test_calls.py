"""Calls counted and foretold: headers, forecasts as tables, and the counters that all workers share."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from connections import budget, calls
from connections.connectors.quota import Quota, usual_quota
from connections.connectors.salesforce import Salesforce
from connections.forecast import forecast

DAY = 86_400.0
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("headers", "quota"),
    [
        ({}, None),
        ({"x-ratelimit-limit": "100"}, None),
        (
            {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4987", "x-ratelimit-reset": "1772456400"},
            Quota(5000, 4987, resets_at=1772456400.0),
        ),
        (
            {"x-ratelimit-limit": "350", "x-ratelimit-remaining": "9", "x-ratelimit-reset": "2026-03-02T13:00Z"},
            Quota(350, 9, resets_at=1772456400.0),
        ),
        (
            {"x-rate-limit": "700", "x-rate-limit-remaining": "699", "ratelimit-reset": "41"},
            Quota(700, 699, resets_in=41.0),
        ),
        ({"x-ratelimit-total": "200", "x-ratelimit-remaining": "150"}, Quota(200, 150)),
        ({"x-ratelimit-limit": "10", "x-ratelimit-remaining": "10", "x-ratelimit-reset": "soon"}, Quota(10, 10)),
        # what cannot be a quota is none
        ({"x-ratelimit-limit": "100, 100;window=60", "x-ratelimit-remaining": "3"}, None),
        ({"x-ratelimit-limit": "0", "x-ratelimit-remaining": "0"}, None),
        ({"x-ratelimit-limit": "10", "x-ratelimit-remaining": "11"}, None),
        ({"x-ratelimit-limit": "10", "x-ratelimit-remaining": "-1"}, None),
    ],
)
def test_the_usual_headers_are_read(headers: dict[str, str], quota: Quota | None) -> None:
    assert usual_quota(headers) == quota


@pytest.mark.parametrize(
    ("told", "quota"),
    [
        ("api-usage=18/5000", Quota(5000, 4982, window=DAY)),
        ("api-usage=25/15000; per-app-api-usage=17/250(appName=sample)", Quota(15000, 14975, window=DAY)),
        ("api-usage=6000/5000", Quota(5000, 0, window=DAY)),  # an org may go beyond it for a while
        ("api-usage=0/0", None),
        ("", None),
    ],
)
def test_salesforce_tells_it_in_words_of_its_own(told: str, quota: Quota | None) -> None:
    assert Salesforce.quota({"Sforce-Limit-Info": told}) == quota


@pytest.mark.parametrize(
    ("quota", "per_hour", "kind", "left", "ahead"),
    [
        (None, 360, "ok", "36,000 an hour", "we use 1 % of it"),
        (None, 30_000, "warn", "does not tell", "83 %"),
        (Quota(5000, 4000, window=DAY), 100, "ok", "4,000 of 5,000 calls are left in 24 h", "48 % of them are used"),
        (Quota(5000, 4000, window=DAY), 175, "bad", "4,000 of 5,000", "84 % of them are used by then; they run out"),
        (Quota(5000, 4990, window=DAY), 175, "warn", "4,990 of 5,000", "they do not run out"),
        (Quota(5000, 100, window=DAY), 200, "bad", "100 of 5,000", "they run out in 30 min"),
        (Quota(5000, 5000, window=DAY), 0, "ok", "5,000 of 5,000", "0 % of them are used by then; they do not run out"),
        (Quota(5000, 2500, resets_at=NOON + 1800), 1000, "ok", "given anew in 30 min", "60 % of them"),
        (Quota(5000, 400, resets_at=NOON + 1800), 1000, "bad", "given anew in 30 min", "they run out in 24 min"),
        (Quota(700, 600, resets_in=40), 900, "ok", "given anew in 40 s", "16 % of them"),
        (Quota(350, 340), 900, "ok", "340 of 350 calls are left.", ""),  # no window: nothing can be foretold
        (Quota(350, 10), 900, "warn", "10 of 350", ""),
        (Quota(350, 10, resets_at=NOON - 5), 900, "warn", "10 of 350", ""),  # told before it was given anew
    ],
)  # fmt: skip
def test_what_becomes_of_the_calls(quota: Quota | None, per_hour: float, kind: str, left: str, ahead: str) -> None:
    found = forecast(quota, per_hour, 10.0, NOON)
    assert found.kind == kind
    assert left in found.left and ahead in found.ahead
    assert (found.runs_out_in is not None) == (kind == "bad")


class Store:
    """What of Redis the counters use, in memory; commands of a pipeline run at its end."""

    def __init__(self) -> None:
        self.hashes: dict[str, dict[bytes, int]] = {}
        self.values: dict[str, Any] = {}
        self.todo: list[Any] = []

    def pipeline(self, transaction: bool) -> Store:
        return self

    def execute(self) -> list[Any]:
        done, self.todo = [act() for act in self.todo], []
        return done

    def hincrby(self, key: str, name: str, by: int) -> None:
        def act() -> None:
            bucket = self.hashes.setdefault(key, {})
            bucket[name.encode()] = bucket.get(name.encode(), 0) + by

        self.todo.append(act)

    def expire(self, key: str, seconds: int) -> None:
        self.todo.append(lambda: None)

    def set(self, key: str, value: Any, nx: bool = False, ex: int = 0) -> None:
        self.todo.append(lambda: self.values.setdefault(key, value) if nx else self.values.update({key: value}))

    def get(self, key: str) -> None:
        self.todo.append(lambda: self.values.get(key))

    def hgetall(self, key: str) -> None:
        self.todo.append(lambda: self.hashes.get(key, {}))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    at = [NOON]
    monkeypatch.setattr(calls.time, "time", lambda: at[0])
    monkeypatch.setattr(budget, "_redis_away_until", 0.0)
    return at


def test_calls_of_all_workers_are_counted_by_lane_over_an_hour_and_a_day(clock: list[float]) -> None:
    store = Store()
    for lane, number in (("live", 3), ("backfill", 40)):
        for _ in range(number):
            calls.count(1, lane, client=store)
    calls.count(2, "live", client=store)
    clock[0] += 2 * 3600
    calls.count(1, "live", Quota(100, 7, window=DAY), client=store)
    found = calls.counted(1, client=store)
    assert found.hour == {"live": 1} and found.day == {"live": 4, "backfill": 40}
    assert found.quota == Quota(100, 7, window=DAY)
    assert found.since == datetime.fromtimestamp(NOON, UTC)
    assert found.per_hour(clock[0]) == 1
    clock[0] += 30 * 3600
    assert calls.counted(1, client=store).day == {} and calls.counted(1, client=store).since is None


def test_the_pace_of_a_young_count_is_that_of_the_time_it_counted(clock: list[float]) -> None:
    store = Store()
    for _ in range(10):
        calls.count(1, "live", client=store)
    clock[0] += 600
    assert calls.counted(1, client=store).per_hour(clock[0]) == pytest.approx(60)


def test_without_redis_nothing_is_known_and_nothing_breaks(clock: list[float]) -> None:
    class Gone:
        def pipeline(self, transaction: bool) -> None:
            raise redis.exceptions.ConnectionError("nobody there")

    calls.count(1, "live", client=Gone())
    assert not calls.counted(1, client=Gone()).known
    assert time.monotonic() < budget._redis_away_until
