"""The bell between the web server and whoever takes deliveries in: one word over Redis, which may get lost.

The deliveries lie in the database; who waits here also looks by himself every second. So a ring saves a second and
decides nothing, and a Redis that is away must not hold up an answer.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import redis
from django.conf import settings
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

CHANNEL = "syncadmin:deliveries"
# A webhook is answered within 100 ms, with or without Redis.
RING_SECONDS = 0.03
AWAY_SECONDS = 5.0  # how long to do without before the next try, which may cost that much again

_lock = threading.Lock()
_client: Any = None
_away_until = 0.0


def ring() -> None:
    """Say that a delivery waits. Never raises."""
    global _client, _away_until
    if time.monotonic() < _away_until:
        return
    try:
        with _lock:
            if _client is None:
                _client = _connect(RING_SECONDS)
        _client.publish(CHANNEL, b"1")
    except (RedisError, OSError):
        _away_until = time.monotonic() + AWAY_SECONDS


def _connect(seconds: float) -> Any:
    url = str(settings.RQ_QUEUES["live"]["URL"])
    return redis.Redis.from_url(url, socket_timeout=seconds, socket_connect_timeout=seconds)


@contextlib.contextmanager
def ears() -> Iterator[Any]:
    """`wait(seconds)`: returns once somebody rang, or after `seconds`; also where Redis cannot be reached."""
    held: dict[str, Any] = {}

    def wait(seconds: float) -> None:
        end = time.monotonic() + seconds
        try:
            if "ear" not in held:
                held["ear"] = _connect(seconds).pubsub(ignore_subscribe_messages=True)
                held["ear"].subscribe(CHANNEL)
            while time.monotonic() < end:
                if held["ear"].get_message(timeout=max(0.001, end - time.monotonic())):
                    while held["ear"].get_message(timeout=0):
                        pass  # one look answers them all
                    return
        except (RedisError, OSError) as problem:
            log.debug("nobody can ring: %s", problem)
            _close(held)
            time.sleep(max(0.0, end - time.monotonic()))

    try:
        yield wait
    finally:
        _close(held)


def _close(held: dict[str, Any]) -> None:
    if ear := held.pop("ear", None):
        with contextlib.suppress(RedisError, OSError):
            ear.close()
