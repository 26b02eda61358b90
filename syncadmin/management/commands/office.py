from __future__ import annotations

import argparse
import random
import time
from typing import Any

import requests
from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections

from sync.models import Conflict, MappingState
from syncadmin.demo import environment
from syncadmin.demo.credentials import Credentials
from syncadmin.demo.notes import MAPPING_SLUG
from syncadmin.demo.office import Jira, Office, Salesforce

# One edit in so many is a clash on purpose, while fewer than so many conflicts are open: the queue should have
# something to look at, not bury it.
CLASH_EVERY, ENOUGH_CONFLICTS = 12, 35
LOOK_SECONDS = 2.0


class Command(BaseCommand):
    help = "Let the demo's people work: an edit on either side every few seconds, now and then a conflict."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--every", type=float, default=5.0, help="seconds between edits, on average")
        parser.add_argument("--edits", type=int, default=0, help="stop after so many (default: go on)")

    def handle(self, *args: Any, **options: Any) -> None:
        notes = environment.known(environment.FOLDER)
        word = environment.FOLDER / "word"
        if not notes or not word.exists():
            raise CommandError("There is no demo in this folder, so nobody can work. Start it first: make demo")
        credentials = Credentials(word.read_text())
        dice = random.Random()  # noqa: S311 - sample data, no secret
        office = Office(
            Jira(notes["jira"]["url"], credentials), Salesforce(notes["salesforce"]["url"], credentials), dice
        )
        self.wait_for_the_first_run()
        done = 0
        while not options["edits"] or done < options["edits"]:
            time.sleep(dice.uniform(0.5, 1.5) * options["every"])
            try:
                pairs = office.pairs()
                if not pairs:
                    continue
                clash = dice.randrange(CLASH_EVERY) == 0 and self.few_conflicts()
                line = office.clash(pairs) if clash else office.work(pairs)
                done += 1
                if options["verbosity"] > 1:
                    self.stdout.write(line)
            except requests.HTTPError as error:
                # A refusal (a field that a rule protects, a record just deleted) is part of office life.
                if options["verbosity"] > 1:
                    self.stdout.write(f"refused: {error}")
            except requests.RequestException as error:
                self.stderr.write(f"A stand-in does not answer: {error}. We try again.")

    def wait_for_the_first_run(self) -> None:
        """Edits before the approval would change the numbers a person is looking at."""
        while not MappingState.objects.filter(mapping__slug=MAPPING_SLUG, approved_at__isnull=False).exists():
            close_old_connections()
            time.sleep(LOOK_SECONDS)

    def few_conflicts(self) -> bool:
        close_old_connections()
        return Conflict.objects.filter(state=Conflict.State.OPEN).count() < ENOUGH_CONFLICTS
