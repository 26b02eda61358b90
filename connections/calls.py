"""Calls of a connection, counted over all workers by lane of its budget, and what its system said is left.

Counted in Redis, beside the budget: figures for people, by which nothing is decided. After a flush they begin anew, and
the page says since when they count.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import django_rq
from redis.exceptions import RedisError

from connections import budget
from connections.connectors.quota import Quota

BUCKET_SECONDS = 300  # the finest step of the figures; a day is 288 of them
HOUR, DAY = 3600, 24 * 3600
KEPT_SECONDS = DAY + HOUR
# A quota told longer ago says nothing about now.
TOLD_SECONDS = HOUR


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls by lane, over the last hour and day.

    `since`: when counting began, if later than a day ago; `known`: whether Redis answers.
    """

    hour: Counter[str] = field(default_factory=Counter)
    day: Counter[str] = field(default_factory=Counter)
    since: datetime | None = None
    quota: Quota | None = None
    known: bool = True

    def per_hour(self, now: float) -> float:
        """The pace of the last hour, or of the time since counting began."""
        begun = self.since.timestamp() if self.since is not None else 0.0
        seconds = min(float(HOUR), max(now - begun, float(BUCKET_SECONDS)))
        return sum(self.hour.values()) * HOUR / seconds


def count(connection_id: int, lane: str, quota: Quota | None = None, client: Any = None) -> None:
    """Count one call, and keep what the system said is left."""
    if budget.redis_away():
        return
    now = time.time()
    key = f"{_key(connection_id)}:{int(now // BUCKET_SECONDS)}"
    try:
        pipe = (client or django_rq.get_connection("live")).pipeline(transaction=False)
        pipe.hincrby(key, lane, 1)
        pipe.expire(key, KEPT_SECONDS)
        pipe.set(f"{_key(connection_id)}:since", now, nx=True)
        if quota is not None:
            pipe.set(f"{_key(connection_id)}:quota", json.dumps(asdict(quota)), ex=TOLD_SECONDS)
        pipe.execute()
    except (RedisError, OSError):
        budget.redis_is_away()


def counted(connection_id: int, client: Any = None) -> Calls:
    """What was counted; `known` is False where Redis does not answer."""
    if budget.redis_away():
        return Calls(known=False)
    now = time.time()
    last = int(now // BUCKET_SECONDS)
    buckets = range(last - DAY // BUCKET_SECONDS + 1, last + 1)
    try:
        pipe = (client or django_rq.get_connection("live")).pipeline(transaction=False)
        for bucket in buckets:
            pipe.hgetall(f"{_key(connection_id)}:{bucket}")
        pipe.get(f"{_key(connection_id)}:since")
        pipe.get(f"{_key(connection_id)}:quota")
        *found, since, quota = pipe.execute()
    except (RedisError, OSError):
        budget.redis_is_away()
        return Calls(known=False)
    hour: Counter[str] = Counter()
    day: Counter[str] = Counter()
    for bucket, lanes in zip(buckets, found, strict=True):
        told = {name.decode(): int(number) for name, number in lanes.items()}
        day.update(told)
        if bucket > last - HOUR // BUCKET_SECONDS:
            hour.update(told)
    begun = float(since) if since else now
    since_when = datetime.fromtimestamp(begun, UTC) if begun > now - DAY else None
    return Calls(hour, day, since_when, Quota(**json.loads(quota)) if quota else None)


def _key(connection_id: int) -> str:
    return f"syncadmin:calls:{connection_id}"
