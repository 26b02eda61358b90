"""RQ workers: who takes jobs from which queue, and how they treat the database.

`live` runs in the worker's own process (a job starts in milliseconds); `bulk` and `housekeeping` fork for each
job, so that a job that breaks its process breaks nothing else. Jobs may run twice: they carry primary keys, and
the database's leases decide who works.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from typing import Any

import django_rq
import redis
from django.db import close_old_connections, connections
from rq import SimpleWorker, Worker
from rq.exceptions import InvalidJobOperation
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker

from syncadmin.processes import die_with

QUEUES = ("live", "bulk", "housekeeping")
IN_PROCESS = frozenset({"live"})
# RQ waits for a job 15 s shorter than this, then shows a sign of life: idle workers do so every 5 s.
WORKER_TTL = 20
# RQ keeps a dead worker's job as "started" for this and 60 s more.
MONITORING_SECONDS = 5
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0  # seconds between tries to reach Redis


class Remembered(BaseWorker):
    """A worker that makes itself known again with its next sign of life where Redis was emptied meanwhile: RQ
    registers a worker once, and a health page would miss it until its next start."""

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        if pipeline is None and not self.connection.hexists(self.key, "birth"):
            self.connection.delete(self.key)  # a sign of life alone reads as a namesake that works
            self.register_birth()
        super().heartbeat(timeout, pipeline)

    def handle_job_success(self, job: Job, queue: Queue, started_job_registry: Any) -> None:
        try:
            super().handle_job_success(job, queue, started_job_registry)
        except InvalidJobOperation:  # RQ wants to note the success at the job, which is not there any more
            self.log.warning("Redis was emptied while a job ran. The job is done; nothing is lost.")
            with self.connection.pipeline() as pipeline:
                self.cleanup_execution(job, pipeline=pipeline)
                pipeline.execute()


class InProcessWorker(Remembered, SimpleWorker):
    """Runs jobs in its own process; database connections that broke or grew old are replaced between jobs."""

    def perform_job(self, job: Job, queue: Queue) -> bool:
        close_old_connections()
        try:
            return super().perform_job(job, queue)
        finally:
            close_old_connections()


class ForkingWorker(Remembered, Worker):
    """Forks for each job. A database connection must not be shared with a fork, and a fork whose worker was
    killed must not go on beside the job's second run."""

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        connections.close_all()
        super().fork_work_horse(job, queue)

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        die_with(self.pid or os.getppid(), signal.SIGKILL)
        super().main_work_horse(job, queue)


def make_worker(queues: Sequence[str]) -> SimpleWorker | Worker:
    """A worker for `queues`, all of them in-process ones or none. Raises ValueError for names that do not fit."""
    unknown = [name for name in queues if name not in QUEUES]
    if unknown or not queues:
        raise ValueError(
            f"There is no queue {', '.join(unknown) or '(none was named)'}. There are: {', '.join(QUEUES)}."
        )
    if len({name in IN_PROCESS for name in queues}) > 1:
        raise ValueError("`live` needs a worker of its own: a long job of another queue would keep live edits waiting.")
    kind: Any = InProcessWorker if queues[0] in IN_PROCESS else ForkingWorker
    return kind(
        [django_rq.get_queue(name) for name in queues],
        connection=django_rq.get_connection(queues[0]),
        serializer=JSONSerializer,
        worker_ttl=WORKER_TTL,
        job_monitoring_interval=MONITORING_SECONDS,
        log_job_description=False,  # arguments belong in the database, not in the log
    )


def wait_for_redis(seconds: float) -> None:
    """Return once Redis answers. Raises redis.ConnectionError after `seconds`."""
    end, pause = time.monotonic() + seconds, FIRST_WAIT
    while True:
        try:
            django_rq.get_connection("live").ping()
            return
        except redis.RedisError:
            if time.monotonic() > end:
                raise
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_WAIT)


def clean_up_after_dead_workers() -> None:
    """Give jobs whose worker died back to their queue, or to the failed ones. RQ itself looks every ten minutes."""
    for name in QUEUES:
        django_rq.get_queue(name).started_job_registry.cleanup()
