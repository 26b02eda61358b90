"""The rate budget of a connection, shared by all workers over Redis.

One token bucket per connection (generic cell rate algorithm of pyrate-limiter). Lanes draw on the same tokens, but
each lower lane must leave more of them in the bucket: when backfill has drained its part, live calls still find
theirs. After Redis was flushed the bucket is taken for empty, because nobody knows what was just spent.

Redis is only a doorbell: where it cannot be reached, each process keeps to a part of the rate by itself.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import django_rq
from pyrate_limiter import GCRA, InMemoryStateStore, Rate, RedisStateStore
from pyrate_limiter.abstracts.algorithm import Decision
from redis.exceptions import RedisError

from connections.connectors.base import RateLimited

# Part of the bucket each lane may drain. The difference to the lane above is what that one always finds.
LANES = {"live": 1.0, "retry": 0.75, "backfill": 0.5, "verify": 0.25}
BURST_SECONDS = 2.0  # the bucket holds this much of the rate: an edit with its reads goes at once
SMALLEST_BURST = 8  # two tokens for the lowest lane, also at one call a minute
WINDOW_MS = 60_000  # lets rates below one call a second be whole numbers
# How long a call may sleep for its token. A lower lane holds the mapping's lease meanwhile, so it gives up sooner.
LONGEST_SLEEP = {"live": 2.0}
LONGEST_SLEEP_BELOW = 1.0
KEPT_MS = 30 * 24 * 3600 * 1000  # an idle connection must not look flushed
# Without Redis we cannot know of the others; the usual installation calls from a live and a bulk worker.
SHARE_ALONE = 0.5
REDIS_AWAY_SECONDS = 5.0  # how long to do without before trying again: each try may cost a time-out
TOO_MANY = 429
# After a wait: how long the one call that goes first may take, its time-outs included, and when the others ask again.
TRIAL_MS, TRIAL_AFTER = 60_000, 0.25
REMEMBERED_MS = 3600_000  # a wait after which nobody called for so long is history
CLOCK_SECONDS = 60.0  # how often the offset to the Redis server's clock is measured

_algorithm = GCRA()
_lock = threading.Lock()
_alone: dict[str, InMemoryStateStore] = {}
_stores: dict[str, RedisStateStore] = {}
_redis_away_until = 0.0
_clock: tuple[float, float] = (0.0, -CLOCK_SECONDS)  # (Redis's clock minus ours, when measured)


class Budget:
    """One lane of one connection's budget. `rate`: calls a second. Safe to use from threads.

    burst: calls that may go at once after a pause; by default what BURST_SECONDS of the rate are.
    """

    def __init__(
        self,
        key: str,
        rate: float,
        lane: str = "live",
        *,
        burst: int | None = None,
        client: Any = None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.key = f"syncadmin:budget:{key}"
        self.rate = rate
        self.lane = lane
        self._burst = burst
        self._client = client
        self._now = now
        self._sleep = sleep
        self._trial = threading.local()  # `mine`: the call of this thread goes first after a wait

    def spend(self) -> None:
        """Take one token, sleeping shortly if need be. Raises RateLimited where that would take longer."""
        left = LONGEST_SLEEP.get(self.lane, LONGEST_SLEEP_BELOW)
        while (wait := self._take()) > 0:
            if wait > left:
                self.answered(0)  # it does not go, so it must not hold up others
                raise RateLimited(
                    "Our own limit for calls to this system is used up. Nothing is lost. We go on by ourselves.",
                    after=wait,
                )
            left -= wait
            self._sleep(wait)

    def asked_to_wait(self) -> float:
        """Seconds for which the system asked all workers not to call; 0.0 where it did not, or Redis is away."""
        if not redis_away():
            try:
                return _left((self._client or django_rq.get_connection("live")).pttl(self._wait_key))
            except (RedisError, OSError):
                redis_is_away()
        return 0.0

    def wait(self, seconds: float) -> None:
        """Let no worker call for `seconds`, from this moment on. A longer wait is not shortened.

        The connection's row holds it too, where a flush cannot lose it; this is what every call looks at. ⚑ Once it is
        over one call goes first: all workers have waited for that moment, and would be told "too many" together.
        """
        if seconds <= 0 or redis_away():
            return
        self._trial.mine = False
        try:
            pipe = (self._client or django_rq.get_connection("live")).pipeline(transaction=False)
            milliseconds = math.ceil(seconds * 1000)
            pipe.set(self._wait_key, 1, px=milliseconds, nx=True)
            pipe.pexpire(self._wait_key, milliseconds, gt=True)
            pipe.set(self._limited_key, 1, px=milliseconds + REMEMBERED_MS)
            pipe.delete(self._trial_key)
            pipe.execute()
        except (RedisError, OSError):
            redis_is_away()

    def answered(self, status: int) -> None:
        """The call that went first after a wait was answered (0: it was not, or did not leave): the others may
        follow, or try in turn."""
        if status == TOO_MANY or not getattr(self._trial, "mine", False):
            return
        self._trial.mine = False
        try:
            client = self._client or django_rq.get_connection("live")
            client.delete(self._trial_key, *((self._limited_key,) if status else ()))
        except (RedisError, OSError):
            redis_is_away()

    def _go_first(self, client: Any) -> None:
        """Be the one call after a wait; raises RateLimited while another is under way."""
        if getattr(self._trial, "mine", False):
            return  # it had to sleep for its token
        if not client.set(self._trial_key, 1, nx=True, px=TRIAL_MS):
            raise RateLimited(
                "After a wait one call goes first. Nothing is lost. We go on by ourselves.", after=TRIAL_AFTER
            )
        self._trial.mine = True

    @property
    def _wait_key(self) -> str:
        return f"{self.key}:wait"

    @property
    def _limited_key(self) -> str:
        return f"{self.key}:limited"

    @property
    def _trial_key(self) -> str:
        return f"{self.key}:trial"

    def _take(self) -> float:
        """0.0 if a token was taken, else the seconds until there may be one."""
        if not redis_away():
            try:
                return _seconds(self._take_shared())
            except (RedisError, OSError):
                redis_is_away()
        return _seconds(self._take_alone())

    def _take_shared(self) -> Decision:
        client = self._client or django_rq.get_connection("live")
        with _lock:
            store = _stores.get(self.key)
            if store is None or store.redis is not client:
                store = _stores[self.key] = RedisStateStore(client, self.key, ttl_ms=KEPT_MS)
        now = self._now() + _clock_offset(client, self._now)
        rate = self._bucket(self.rate)
        pipe = client.pipeline(transaction=False)
        pipe.hsetnx(self.key, "tat1", _empty(rate, self._bucket(self.rate, "live").burst, now))
        pipe.pttl(self._wait_key)
        pipe.exists(self._limited_key)
        _, milliseconds, limited = pipe.execute()
        asked = _left(milliseconds)
        if asked:  # ⚑ looked at with every token: another worker may have been told just now
            raise RateLimited(
                f"The system asked us to wait; {asked:.0f} s are left. Nothing is lost. We go on by ourselves.",
                after=asked,
            )
        if limited:
            self._go_first(client)
        return store.check(_algorithm, [rate], int(now * 1000), 1)

    def _take_alone(self) -> Decision:
        rate = self._bucket(self.rate * SHARE_ALONE)
        now = self._now()
        with _lock:
            store = _alone.get(self.key)
            if store is None:
                store = _alone[self.key] = InMemoryStateStore()
                burst = self._bucket(self.rate * SHARE_ALONE, "live").burst
                store._state = (_empty(rate, burst, now),)  # the store has no public way to begin empty
        return store.check(_algorithm, [rate], int(now * 1000), 1)

    def _bucket(self, rate: float, lane: str = "") -> Rate:
        whole = self._burst or max(SMALLEST_BURST, rate * BURST_SECONDS)
        burst = max(1, int(whole * LANES[lane or self.lane]))
        return Rate(max(1, round(rate * WINDOW_MS / 1000)), WINDOW_MS, burst=burst)


def redis_away() -> bool:
    """Whether Redis did not answer just now, so that asking again would cost a time-out."""
    return time.monotonic() < _redis_away_until


def redis_is_away() -> None:
    global _redis_away_until
    _redis_away_until = time.monotonic() + REDIS_AWAY_SECONDS


def _empty(rate: Rate, burst: int, now: float) -> int:
    """The algorithm's state (time in microseconds at which the bucket would be full) of an empty bucket."""
    emission = math.ceil(rate.interval * 1000 / rate.limit)
    return int(now * 1000) * 1000 + burst * emission


def _seconds(decision: Decision) -> float:
    return 0.0 if decision.allowed else (decision.retry_after_ms or 1) / 1000


def _left(milliseconds: int) -> float:
    """Seconds of a key's life; below zero there is none."""
    return max(0.0, milliseconds / 1000)


def _clock_offset(client: Any, now: Callable[[], float]) -> float:
    """Seconds the Redis server's clock is ahead of ours: workers on several machines must agree on the time."""
    global _clock
    offset, measured = _clock
    if time.monotonic() - measured >= CLOCK_SECONDS:
        seconds, micros = client.time()
        offset = seconds + micros / 1e6 - now()
        _clock = (offset, time.monotonic())
    return offset
