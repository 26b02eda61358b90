"""The rate budget: shared, fair to live calls, empty after a flush, and alive without Redis."""

from __future__ import annotations

import subprocess
import time

import pytest
import redis

from connections import budget
from connections.budget import Budget
from connections.connectors.base import RateLimited
from syncadmin import embedded


class Clock:
    """A clock that stands still unless somebody sleeps."""

    def __init__(self) -> None:
        self.at = time.time()
        self.slept: list[float] = []

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


class NoRedis:
    def time(self):
        raise redis.exceptions.ConnectionError("nobody there")


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(budget, "_alone", {})
    monkeypatch.setattr(budget, "_stores", {})
    monkeypatch.setattr(budget, "_redis_away_until", 0.0)
    monkeypatch.setattr(budget, "_clock", (0.0, -1e9))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("valkey")
    embedded.prepare(folder)
    process = subprocess.Popen(embedded.command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = redis.Redis(unix_socket_path=str(embedded.socket_path(folder)), retry=None)
    for _ in range(100):
        try:
            client.ping()
            break
        except redis.RedisError:
            time.sleep(0.05)
    yield client
    client.close()
    process.terminate()
    process.wait(10)


@pytest.fixture(params=["shared", "alone"])
def lanes(request):
    """A function from lane to Budget, all of one connection with ten calls a second, and their clock."""
    client = NoRedis() if request.param == "alone" else request.getfixturevalue("server")
    if request.param == "shared":
        client.flushall()
    clock = Clock()
    rate = 10 / budget.SHARE_ALONE if request.param == "alone" else 10

    def lane(name, key="1"):
        return Budget(key, rate, name, client=client, now=clock.now, sleep=clock.sleep)

    return lane, clock


def spend_all(one, most=1000):
    """Calls that go without a wait, up to `most`."""
    one._sleep = stop
    for number in range(most):
        try:
            one.spend()
        except (RateLimited, Asleep):
            return number
    return most


class Asleep(Exception):
    pass


def stop(seconds):
    raise Asleep


def test_a_new_or_flushed_budget_starts_empty_and_fills_at_the_rate(lanes):
    lane, clock = lanes
    assert spend_all(lane("live")) == 0
    clock.at += 0.5
    assert spend_all(lane("live")) == 5
    clock.at += 3600
    assert spend_all(lane("live")) == 20


def test_a_short_wait_is_slept_and_a_long_one_is_an_error(lanes):
    lane, clock = lanes
    for _ in range(10):
        lane("live").spend()
    assert sum(clock.slept) == pytest.approx(1.0, abs=0.15)
    slow = lane("backfill")
    with pytest.raises(RateLimited) as caught:
        for _ in range(100):
            slow.spend()
            lane("live").spend()
    assert caught.value.after > budget.LONGEST_SLEEP_BELOW
    assert "Nothing is lost" in caught.value.message


def test_live_calls_find_tokens_where_backfill_has_spent_all_it_may(lanes):
    lane, clock = lanes
    assert spend_all(lane("live")) == 0
    clock.at += 3600
    assert spend_all(lane("verify")) == 5
    assert spend_all(lane("backfill")) == 5
    assert spend_all(lane("retry")) == 5
    assert spend_all(lane("live")) == 5
    assert spend_all(lane("verify")) == 0


def test_a_backfill_that_never_stops_does_not_hold_up_live_calls(lanes):
    lane, clock = lanes
    assert spend_all(lane("live")) == 0
    clock.at += 3600
    live_waits = 0
    for second in range(60):
        spend_all(lane("backfill"))
        if second % 3 == 0:
            live_waits += spend_all(lane("live"), most=1) == 0
        clock.at += 0.1
    assert live_waits == 0


def test_connections_do_not_share_a_budget(lanes):
    lane, clock = lanes
    spend_all(lane("live", key="1"))
    spend_all(lane("live", key="2"))
    clock.at += 1
    assert spend_all(lane("live", key="1")) == 10
    assert spend_all(lane("live", key="2")) == 10


def test_workers_share_one_budget_through_redis(server):
    server.flushall()
    clock = Clock()
    first, second = (Budget("1", 10, client=server, now=clock.now) for _ in range(2))
    assert spend_all(first) == 0
    clock.at += 1
    assert spend_all(first, most=6) == 6
    assert spend_all(second) == 4
    server.flushall()
    assert spend_all(second) == 0


def test_workers_whose_clocks_differ_agree_by_the_servers(server, monkeypatch):
    server.flushall()
    ahead = Budget("1", 10, client=server, now=lambda: time.time() + 3600)
    spend_all(ahead)
    monkeypatch.setattr(budget, "_clock", (0.0, -1e9))  # another process
    here = Budget("1", 10, client=server)
    assert here._take() < 0.2


def test_a_rate_below_one_a_second_works(lanes):
    _, clock = lanes
    slow = Budget("slow", 0.1, "live", client=NoRedis(), now=clock.now, sleep=clock.sleep)
    with pytest.raises(RateLimited) as caught:
        slow.spend()
    assert 10 <= caught.value.after <= 20
    clock.at += caught.value.after
    slow.spend()


def test_redis_that_is_away_is_not_asked_again_at_once(monkeypatch):
    asked = []

    class Counted(NoRedis):
        def time(self):
            asked.append(1)
            return super().time()

    clock = Clock()
    one = Budget("1", 1000, client=Counted(), now=clock.now, sleep=clock.sleep)
    for _ in range(20):
        one.spend()
    assert len(asked) == 1
    monkeypatch.setattr(budget, "_redis_away_until", 0.0)
    one.spend()
    assert len(asked) == 2


def test_evenly_spread_calls_go_one_by_one_also_after_a_pause(server):
    server.flushall()
    clock = Clock()
    one = Budget("1:write", 1.0, "live", burst=1, client=server, now=clock.now, sleep=clock.sleep)
    one.spend()  # nobody knows what was just spent, so it begins empty
    clock.at += 100
    clock.slept.clear()
    for _ in range(3):
        one.spend()
    assert [round(slept) for slept in clock.slept] == [1, 1]


def test_a_wait_told_to_one_worker_holds_all_before_their_next_call(server):
    mine, theirs = Budget("w", 100.0, client=server), Budget("w", 100.0, "backfill", client=server)
    assert theirs.asked_to_wait() == 0.0
    mine.wait(30)
    for one in (mine, theirs):
        with pytest.raises(RateLimited) as caught:
            one.spend()
        assert 25 < caught.value.after <= 30
        assert 25 < one.asked_to_wait() <= 30


def test_a_shorter_wait_does_not_shorten_a_longer_one(server):
    one = Budget("w2", 100.0, client=server)
    one.wait(30)
    one.wait(5)
    assert one.asked_to_wait() > 25
    one.wait(60)
    assert one.asked_to_wait() > 55


def lanes_after_a_wait(server, key):
    server.flushall()
    made = [Budget(key, 1000.0, lane, client=server) for lane in ("live", "live", "live")]
    made[0].wait(0.001)
    time.sleep(0.01)  # it is over; what is tested is what comes after it
    return made


def test_after_a_wait_one_call_goes_first_and_the_others_follow_its_answer(server):
    first, second, third = lanes_after_a_wait(server, "t1")
    first.spend()
    for one in (second, third):
        with pytest.raises(RateLimited, match="goes first") as caught:
            one.spend()
        assert caught.value.after < 1
    first.answered(200)
    second.spend()
    third.spend()


def test_a_first_call_that_is_told_to_wait_again_lets_nobody_follow(server):
    first, second, _ = lanes_after_a_wait(server, "t2")
    first.spend()
    first.wait(30)
    first.answered(429)
    with pytest.raises(RateLimited) as caught:
        second.spend()
    assert caught.value.after > 25


def test_a_first_call_without_an_answer_lets_the_next_one_try(server):
    first, second, third = lanes_after_a_wait(server, "t3")
    first.spend()
    first.answered(0)
    second.spend()
    with pytest.raises(RateLimited, match="goes first"):
        third.spend()


def test_a_first_call_that_finds_no_token_holds_up_nobody(server):
    first, _, _ = lanes_after_a_wait(server, "t4")
    poor = Budget("t4", 1000.0, "verify", client=server)
    poor._bucket = lambda rate, lane="": budget.Rate(1, 60_000, burst=1)
    with pytest.raises(RateLimited, match="used up"):
        poor.spend()
    assert not server.exists(first._trial_key)
