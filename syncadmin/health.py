"""`GET /healthz`: do the database, Redis, the workers and the scheduler work? For load balancers and people.

Open to everybody, so it names parts and says no more: no address, no version, no error text.
"""

from __future__ import annotations

import datetime
import time
from functools import lru_cache

import django_rq
import redis
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Worker
from rq.worker import BaseWorker, WorkerStatus

from syncadmin.workers import QUEUES, WORKER_TTL

SCHEDULER_KEY = "syncadmin:scheduler"  # holds the time of its last tick
# The scheduler ticks each second; a tick that reads lists of many mappings may take some.
SCHEDULER_LATE = 30.0
# Idle workers show a sign of life every 5 s.
IDLE_LATE = float(WORKER_TTL)
# A job in the worker's own process shows none until it ends; batches hold a lease for about a second.
BUSY_LATE = 120.0
ANSWER_SECONDS = 2.0  # a Redis that takes longer than this counts as failing

OK = "ok"


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    parts = check_parts()
    failing = [name for name, state in parts.items() if state != OK]
    body = {"status": "failing" if failing else OK, "failing": failing, **parts}
    return JsonResponse(body, status=503 if failing else 200)


def check_parts() -> dict[str, str]:
    """{part: "ok" or a sentence}."""
    parts = {"database": check_database(), "redis": OK, "workers": OK, "scheduler": OK}
    try:
        client = redis_client()
        client.ping()
        parts["workers"] = check_workers(client)
        parts["scheduler"] = check_scheduler(client)
    except (redis.RedisError, OSError):
        parts["redis"] = "Redis does not answer. Nothing is lost; syncs wait. Check the Redis server and REDIS_URL."
        parts["workers"] = parts["scheduler"] = "Unknown while Redis does not answer."
    return parts


def check_database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "The database does not answer. Nothing can be read or synced. Check the server and DATABASE_URL."
    return OK


def check_workers(client: redis.Redis) -> str:
    served = {name for worker in Worker.all(connection=client) if alive(worker) for name in worker.queue_names()}
    missing = [name for name in QUEUES if name not in served]
    if not missing:
        return OK
    return f"No worker listens to {', '.join(missing)}. Changes wait there. Start one: manage.py worker {missing[0]}"


def alive(worker: BaseWorker) -> bool:
    seen = worker.last_heartbeat
    if seen is None:
        return False
    late = BUSY_LATE if worker.get_state() == WorkerStatus.BUSY else IDLE_LATE
    return (datetime.datetime.now(datetime.UTC) - seen).total_seconds() < late


def check_scheduler(client: redis.Redis) -> str:
    ticked = client.get(SCHEDULER_KEY)
    if ticked is not None and time.time() - float(ticked) < SCHEDULER_LATE:
        return OK
    return "The scheduler does not tick. Polls and retries wait. Start it: manage.py scheduler"


def record_tick() -> None:
    """Note that the scheduler is alive. Raises redis.RedisError."""
    redis_client().set(SCHEDULER_KEY, time.time(), ex=int(SCHEDULER_LATE))


@lru_cache(maxsize=1)
def redis_client() -> redis.Redis:
    """One connection pool a process, with short time-outs: a health page must answer."""
    client = django_rq.get_connection("live")
    client.connection_pool.connection_kwargs.update(
        socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS, retry=Retry(NoBackoff(), 0)
    )
    return client
