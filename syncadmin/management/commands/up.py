from __future__ import annotations

import argparse
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from syncadmin import preparation, services
from syncadmin.processes import GaveUp


class Command(BaseCommand):
    help = "Run SyncAdmin on this machine: web server, workers, scheduler, listener and, without REDIS_URL, Valkey."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--bind", default="127.0.0.1", help="address to listen on (default: this machine only)")
        parser.add_argument("--workers", type=int, default=2, help="number of workers for live edits (default 2)")
        parser.add_argument("--web-processes", type=int, default=services.WEB_PROCESSES)
        parser.add_argument("--migrate", action="store_true", help="bring the database up to date first")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.DEBUG:
            raise CommandError(
                "DEBUG is on, so nothing was started: error pages would show settings and data to anybody. "
                "Remove DEBUG from the environment or .env."
            )
        if options["workers"] < 1 or options["web_processes"] < 1:
            raise CommandError("Nothing was started: at least one live worker and one web process are needed.")
        try:
            lock = services.lock_data_folder(settings.DATA_DIR)
        except services.AlreadyRunning as error:
            raise CommandError(
                f"SyncAdmin already runs with the data in {settings.DATA_DIR} (process {error}); nothing was started. "
                f"Stop it with `kill {error}`, or set another DATA_DIR."
            ) from None
        except OSError as error:
            raise CommandError(
                f"Files cannot be made in {settings.DATA_DIR} ({error.strerror}), so nothing was started. "
                "Make the folder writable or set DATA_DIR to one that is."
            ) from None
        with lock:
            self.prepare(options["migrate"])
            self.run(**options)

    def prepare(self, migrate: bool) -> None:
        waiting = preparation.unapplied_migrations()
        if waiting and not migrate:
            raise CommandError(
                f"The database lacks {len(waiting)} changes of this version (the first is {waiting[0]}), so nothing "
                "was started and no data was touched. Make a backup, then run `manage.py migrate`, or `up --migrate`."
            )
        if waiting:
            preparation.migrate()
        if preparation.collect_static():
            self.stdout.write("Static files collected.")
        if not get_user_model().objects.filter(is_active=True).exists():
            self.stdout.write(
                self.style.WARNING("Nobody can sign in yet. Make the first admin: manage.py createsuperuser")
            )

    def run(self, **options: Any) -> None:
        bind = f"{options['bind']}:{options['port']}"
        try:
            with services.supervisor() as family:
                services.start_redis(family)
                services.start_engine(family, options["workers"])
                services.start_web(family, bind, options["web_processes"])
                self.stdout.write(f"SyncAdmin listens on {bind}. Ctrl-C stops all of it.")
                family.forever()
        except (GaveUp, OSError) as error:
            raise CommandError(f"{error}\nEverything was stopped again; no data was lost.") from None
