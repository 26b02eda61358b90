"""Queues and workers: does the machinery run, and what waits in it. The database, not Redis, is the ledger."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import django_rq
import redis
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from rq import Worker
from rq.worker import BaseWorker

from connections.access import requires
from syncadmin.health import OK, SCHEDULER_KEY, alive, check_parts, redis_client
from syncadmin.workers import QUEUES

PURPOSES = {
    "live": "Edits of people, one at a time, in milliseconds",
    "bulk": "First runs and backfills",
    "housekeeping": "Verifications and tidying up",
}


@dataclass(frozen=True, slots=True)
class QueueRow:
    name: str
    purpose: str
    waiting: int
    running: int
    failed: int
    workers: int


@dataclass(frozen=True, slots=True)
class WorkerRow:
    name: str
    queues: str
    state: str
    alive: bool
    seen: datetime | None
    done: int
    failed: int


@requires("queues.read")
def page(request: HttpRequest) -> HttpResponse:
    parts = check_parts()
    failing = [name for name, state in parts.items() if state != OK]
    context: dict[str, Any] = {"parts": parts, "failing": failing, "queues": [], "workers": [], "ticked": None}
    # Redis may go away between the check above and here; then the page shows what it has.
    with contextlib.suppress(redis.RedisError, OSError):
        if parts["redis"] == OK:
            context |= _read()
    return render(request, "queues/page.html", context)


def _read() -> dict[str, Any]:
    client = redis_client()
    workers = [_worker(worker) for worker in Worker.all(connection=client)]
    ticked = client.get(SCHEDULER_KEY)
    return {
        "queues": [_queue(name, workers) for name in QUEUES],
        "workers": sorted(workers, key=lambda worker: (worker.queues, worker.name)),
        "ticked": None if ticked is None else max(0.0, time.time() - float(ticked)),
        "memory": client.info("memory").get("used_memory_human", ""),
    }


def _worker(worker: BaseWorker) -> WorkerRow:
    return WorkerRow(
        name=worker.name[:12],
        queues=", ".join(worker.queue_names()),
        state=str(getattr(worker.get_state(), "value", worker.get_state())),
        alive=alive(worker),
        seen=worker.last_heartbeat,
        done=worker.successful_job_count,
        failed=worker.failed_job_count,
    )


def _queue(name: str, workers: list[WorkerRow]) -> QueueRow:
    queue = django_rq.get_queue(name, connection=redis_client())
    return QueueRow(
        name=name,
        purpose=PURPOSES[name],
        waiting=queue.count,
        running=queue.started_job_registry.count,
        failed=queue.failed_job_registry.count,
        workers=sum(worker.alive and name in worker.queues.split(", ") for worker in workers),
    )
