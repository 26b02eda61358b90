from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sync.models import Conflict, Link
from syncadmin.demo import environment
from syncadmin.demo.credentials import Credentials, office_people
from syncadmin.demo.notes import MAPPING_SLUG
from syncadmin.demo.office import Jira, Salesforce
from syncadmin.demo.seed_jira import CUSTOM_FIELDS
from syncadmin.demo.world import PEOPLE

LOOK_SECONDS = 0.02  # between looks at the other side; each look takes the stand-in's latency besides
GIVE_UP_SECONDS = 30.0
EFFORT = CUSTOM_FIELDS["effort"].id


class Command(BaseCommand):
    help = "Measure the running demo: seconds from an edit on one side to the value on the other, both directions."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--edits", type=int, default=50, help="in each direction")
        parser.add_argument("--pause", type=float, default=0.3, help="seconds between edits")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        notes, word = environment.known(environment.FOLDER), environment.FOLDER / "word"
        if environment.running_demo(environment.FOLDER) != "up" or not word.exists():
            raise CommandError("No demo runs in this folder, so there is nothing to measure. Start it: make demo")
        credentials = Credentials(word.read_text())
        self.jira = Jira(notes["jira"]["url"], credentials)
        self.salesforce = Salesforce(notes["salesforce"]["url"], credentials)
        self.engineer, self.agent = (office_people(PEOPLE, system)[0] for system in ("jira", "salesforce"))
        self.dice = random.Random()  # noqa: S311 - sample data, no secret
        links = quiet_links()
        if not links:
            raise CommandError("The demo has no linked records yet. Approve its first run, then measure.")
        results = {
            "jira_to_salesforce": self.measure(links, options, self.jira_edit, self.case_effort),
            "salesforce_to_jira": self.measure(links, options, self.case_edit, self.issue_effort),
        }
        if options["json"]:
            self.stdout.write(json.dumps(results))
            return
        for name, found in results.items():
            self.stdout.write(
                f"{name.replace('_', ' '):<20} {found['edits']} edits: median {found['median']} s, "
                f"worst {found['worst']} s, lost {found['lost']}"
            )

    def measure(
        self,
        links: list[Link],
        options: dict[str, Any],
        edit: Callable[[Link, float], None],
        read: Callable[[Link], float | None],
    ) -> dict[str, Any]:
        """{"edits", "median", "worst" (seconds; None if none arrived), "lost"}"""
        seconds: list[float] = []
        for number in range(options["edits"]):
            link = links[number % len(links)]
            value = self.dice.randrange(1, 99999) / 100  # two decimals: what the case's field keeps
            edit(link, value)
            if (took := wait_until(lambda link=link, value=value: read(link) == value)) is not None:  # type: ignore[misc]
                seconds.append(took)
            time.sleep(options["pause"])
        return {
            "edits": options["edits"],
            "median": round(statistics.median(seconds), 2) if seconds else None,
            "worst": round(max(seconds), 2) if seconds else None,
            "lost": options["edits"] - len(seconds),
        }

    def jira_edit(self, link: Link, value: float) -> None:
        self.jira.edit(self.engineer, link.left_id or "", **{EFFORT: value})

    def case_edit(self, link: Link, value: float) -> None:
        self.salesforce.edit(self.agent, link.right_id or "", Effort__c=value)

    def issue_effort(self, link: Link) -> float | None:
        found: float | None = self.jira.issue(self.engineer, link.left_id or "").get(EFFORT)
        return found

    def case_effort(self, link: Link) -> float | None:
        found: float | None = self.salesforce.case(self.agent, link.right_id or "")["Effort__c"]
        return found


def quiet_links() -> list[Link]:
    """Linked records of the demo's mapping in which nothing waits for a person."""
    disputed = Conflict.objects.exclude(state=Conflict.State.CLOSED).values("link")
    active = Link.objects.filter(mapping__slug=MAPPING_SLUG, state=Link.State.ACTIVE)
    return list(active.exclude(pk__in=disputed).order_by("pk"))


def wait_until(arrived: Callable[[], bool]) -> float | None:
    """Seconds until `arrived`; None if it gave up."""
    started = time.monotonic()
    while not arrived():
        if time.monotonic() - started > GIVE_UP_SECONDS:
            return None
        time.sleep(LOOK_SECONDS)
    return time.monotonic() - started
