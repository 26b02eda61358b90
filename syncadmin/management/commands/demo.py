from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from syncadmin import preparation, services
from syncadmin.demo import environment, notes, standins
from syncadmin.processes import GaveUp, Supervisor

LATENCY = "0.05"  # seconds; what a call to a vendor takes on a good day
STANDIN_SECONDS = 30.0
LIVE_WORKERS = 2


class Command(BaseCommand):
    help = "Everything on this machine with two stand-ins, a small company's data and one mapping. See `make demo`."
    requires_system_checks = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args: Any, **options: Any) -> None:
        if os.environ.get("ENV_FILE") != str(environment.FOLDER / "env"):
            # The demo's settings must be there before Django reads settings: begin again with them.
            command = [sys.executable, "-m", "syncadmin.demo", "--port", str(options["port"])]
            os.execv(sys.executable, command)  # noqa: S606 - ourselves
        try:
            lock = services.lock_data_folder(environment.FOLDER)
        except services.AlreadyRunning as error:
            raise CommandError(f"The demo already runs (process {error}). Nothing was started.") from None
        with lock:
            self.prepare()
            try:
                with services.supervisor() as family:
                    self.run(family)
            except (GaveUp, OSError, TimeoutError) as error:
                raise CommandError(f"{error}\nEverything was stopped again; the data is kept in .demo.") from None
        self.stdout.write("Stopped. The data is kept in .demo; `make demo` goes on from here.")

    def prepare(self) -> None:
        if preparation.unapplied_migrations():
            self.stdout.write("Making the database …")
            preparation.migrate()
        if preparation.collect_static():
            self.stdout.write("Static files collected.")

    def run(self, family: Supervisor) -> None:
        folder = environment.FOLDER
        jira_url, salesforce_url = os.environ["DEMO_JIRA_URL"], os.environ["DEMO_SALESFORCE_URL"]
        kept = notes.keep(folder, settings.PUBLIC_URL, jira_url, salesforce_url)
        latency = float(os.environ.get("SANDBOX_LATENCY", LATENCY))
        for kind, url in (("jira", jira_url), ("salesforce", salesforce_url)):
            port = environment.listening_port(kind, urlsplit(url).port or 0)
            family.start(kind, standins.served(kind, port, folder, latency, kept.credentials), foundation=True)
        services.start_redis(family)
        for url in (jira_url, salesforce_url):
            port = urlsplit(url).port or 0
            family.wait(partial(standins.answers, port), f"The stand-in at {url}", STANDIN_SECONDS)
        services.start_web(family, urlsplit(settings.PUBLIC_URL).netloc)
        if family.run_to_end("setup", partial(set_up, kept)):
            raise GaveUp("The demo's connections and mapping could not be set up; the reason is above.")
        services.start_engine(family, LIVE_WORKERS, listener=os.environ.get("DEMO_BELLS", "1") != "0")
        if os.environ.get("DEMO_APPROVE", "1") != "0":
            family.start("approval", approve, restart=False)
        services.wait_for_web(family, settings.PUBLIC_URL)
        if os.environ.get("DEMO_LIFE", "1") != "0":
            family.start("office", services.command("office"))
        self.stdout.write(welcome(kept, folder))
        family.forever()


def set_up(kept: notes.Notes) -> None:
    from syncadmin.demo import seed_config

    seed_config.seed(kept)


def approve() -> None:
    """Approve the first run in the admin's name once it waits: a newcomer wants to see something move."""
    from syncadmin.demo import seed_config

    seed_config.approve_first_run()


def welcome(kept: notes.Notes, folder: Path) -> str:
    width = max(len(user["username"]) for user in kept.users)
    lines = [f"  {user['username']:<{width}}  {user['password']}" for user in kept.users]
    return "\n".join(
        [
            "",
            f"SyncAdmin is ready at {kept.url}",
            "",
            "User and password (the name is the role):",
            *lines,
            "",
            f"Be the Jira user:       {kept.jira_url}",
            f"Be the Salesforce user: {kept.salesforce_url}",
            "",
            f"For scripts: {folder / 'demo.json'}. Other commands: ENV_FILE={folder / 'env'} manage.py …",
            "Ctrl-C stops everything; the data is kept.",
            "",
        ]
    )
