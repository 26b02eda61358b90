from __future__ import annotations

import argparse
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError

from syncadmin.workers import QUEUES, make_worker, wait_for_redis

STARTUP_SECONDS = 60.0  # Redis may be starting too; after this a supervisor should know


class Command(BaseCommand):
    help = "Work on jobs of the named queues: `worker live`, or `worker bulk housekeeping`."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("queues", nargs="+", choices=QUEUES)
        parser.add_argument("--burst", action="store_true", help="end when the queues are empty")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            worker = make_worker(options["queues"])
            wait_for_redis(STARTUP_SECONDS)
        except ValueError as error:
            raise CommandError(str(error)) from None
        except redis.RedisError:
            raise CommandError(
                f"Redis did not answer for {STARTUP_SECONDS:.0f} s, so this worker ends. Nothing is lost; jobs wait. "
                "Check the Redis server and REDIS_URL (empty: `manage.py up` starts an embedded one)."
            ) from None
        worker.work(burst=options["burst"], logging_level="INFO" if options["verbosity"] > 1 else "WARNING")
