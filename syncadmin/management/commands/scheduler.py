from __future__ import annotations

import logging
import signal
import threading
import time
from typing import Any

import redis
from django.core.management.base import BaseCommand
from django.db import DatabaseError, close_old_connections

from sync import jobs, restored, schedule
from syncadmin.health import record_tick
from syncadmin.workers import clean_up_after_dead_workers

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
CLEAN_UP_SECONDS = 15.0
TIDY_SECONDS = 3600.0
TELL_AGAIN_SECONDS = 60.0  # a database that is away is worth a line a minute, not one a second


class Command(BaseCommand):
    help = "Ask every second what is due. Several may run: the database decides who rings."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        cleaned = tidied = told = counted = float("-inf")
        while not stop.is_set():
            started = time.monotonic()
            try:
                close_old_connections()
                if started - counted > restored.EPOCH_SECONDS:
                    restored.move_on()  # before anything is rung: a restored database must be noticed first
                    counted = started
                schedule.tick()
                record_tick()
                if started - cleaned > CLEAN_UP_SECONDS:
                    clean_up_after_dead_workers()
                    cleaned = started
                if started - tidied > TIDY_SECONDS:
                    jobs.enqueue("housekeeping", "sync.schedule.tidy")
                    tidied = started
            except (DatabaseError, redis.RedisError) as error:
                if started - told > TELL_AGAIN_SECONDS:
                    log.warning("This tick was left out: %s. Nothing is lost; the next one comes in a second.", error)
                    told = started
            stop.wait(max(0.0, TICK_SECONDS - (time.monotonic() - started)))
