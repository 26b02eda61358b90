"""`make bench`: figures measured on the running demo (start it with `DEMO_LIFE=0 make demo`)."""

from __future__ import annotations

import os
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

# A backfill of 5,000 as the largest common first import; half a percent of it is still a visible sample.
BACKFILL_RECORDS = 5000
BULK_CREATE = 50  # issues per call, the vendor's limit
QUIET_SECONDS = 3.0
# What a busy vendor sends at its worst: a bulk edit of some ten thousand records within a minute.
WEBHOOKS_A_SECOND = 200
OUTAGE_SECONDS = 600.0  # a restart of the vendor's that went wrong
STORM_SECONDS = 60.0


class Command(BaseCommand):
    help = "Measure the running demo: edit to value, calls per change, per echo and per idle poll."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--edits", type=int, default=50, help="edits in each direction (default 50)")
        parser.add_argument("--pause", type=float, default=0.3, help="seconds between edits (default 0.3)")
        parser.add_argument(
            "--backfill",
            type=int,
            nargs="?",
            const=BACKFILL_RECORDS,
            default=0,
            metavar="N",
            help=f"create N issues first (default {BACKFILL_RECORDS}) and measure while they are synced",
        )
        parser.add_argument(
            "--outage",
            type=float,
            nargs="?",
            const=OUTAGE_SECONDS,
            metavar="SECONDS",
            help=f"take Salesforce away for so long (default {OUTAGE_SECONDS:.0f} s) and time the backlog afterwards",
        )
        parser.add_argument(
            "--storm",
            type=float,
            nargs="?",
            const=STORM_SECONDS,
            metavar="SECONDS",
            help=f"let Jira answer 429 for so long (default {STORM_SECONDS:.0f} s) and count the calls that come early",
        )
        parser.add_argument(
            "--poison",
            action="store_true",
            help="time --edits edits (better 200) without and with one record that fails",
        )
        parser.add_argument("--rate", type=float, default=5.0, help="edits a second meanwhile (default 5)")
        parser.add_argument("--only-latency", action="store_true", help="leave the counts of calls out")

        parser.add_argument(
            "--webhooks",
            type=float,
            nargs="?",
            const=WEBHOOKS_A_SECOND,
            default=0,
            metavar="RATE",
            help=f"measure only how quickly webhooks are acknowledged, RATE a second (default {WEBHOOKS_A_SECOND})",
        )
        parser.add_argument("--seconds", type=float, default=30, help="how long webhooks are sent (default 30)")

    def handle(self, *args: Any, **options: Any) -> None:
        folder = Path(os.environ.get("ENV_FILE", ".demo/env"))
        if "ENV_FILE" not in os.environ:
            if not folder.exists():
                raise CommandError("No demo runs here. Nothing was measured. Start one with `DEMO_LIFE=0 make demo`.")
            os.environ["ENV_FILE"] = str(folder)
            os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606 - settings must see the demo's
        from syncadmin.bench.latency import measure

        self.vendors = vendors(folder.parent)
        self.mapping = the_mapping()
        self.stdout.write(machine())
        if options["webhooks"]:
            from syncadmin.bench import webhooks

            self.stdout.write(webhooks.measure(options["webhooks"], options["seconds"]))
            return
        if options["outage"] or options["storm"] or options["poison"]:
            return self.trouble(options)
        if not options["only_latency"] and not options["backfill"]:
            self.idle()
        if options["backfill"]:
            self.start_backfill(options["backfill"])
        for figures in measure(self.vendors, options["edits"], options["pause"], seed=int(time.time())):
            self.stdout.write(figures.line())
        if options["backfill"]:
            self.stdout.write(f"Backfill: {self.waiting()} hints still waited when the last edit was measured.")
        elif not options["only_latency"]:
            self.per_change()

    def trouble(self, options: dict[str, Any]) -> None:
        from syncadmin.bench.trouble import Bench

        bench = Bench(self.vendors, self.mapping, self.stdout.write)
        if options["outage"]:
            bench.outage(options["outage"], options["rate"])
        if options["storm"]:
            bench.storm(options["storm"], options["rate"])
        if options["poison"]:
            bench.poison(options["edits"], options["pause"])

    def calls(self) -> Counter[str]:
        """Remote calls of all runs of the mapping so far, by kind."""
        from sync.models import Run

        total: Counter[str] = Counter()
        for calls in Run.objects.filter(mapping=self.mapping).values_list("calls", flat=True):
            for counts in calls.values():
                total.update(counts)
        return total

    def settle(self) -> None:
        """Wait until nothing is under way."""
        from sync.models import ChangedRecord, Operation

        quiet = 0.0
        while quiet < QUIET_SECONDS:
            busy = ChangedRecord.objects.filter(mapping=self.mapping, attempts=0).exists()
            busy = busy or Operation.objects.filter(mapping=self.mapping, state__in=Operation.OPEN).exists()
            quiet = 0.0 if busy else quiet + 0.5
            time.sleep(0.5)

    def idle(self) -> None:
        """Calls of polls that find nothing: the runs' own counter, kept in MappingState."""
        from sync.models import MappingState

        self.settle()
        time.sleep(130)  # the lookback of the lists: until then they show the last edits again
        state = MappingState.objects.get(mapping=self.mapping)
        before = (state.idle_polls, state.idle_calls)
        time.sleep(4 * self.mapping.poll_seconds)
        state.refresh_from_db()
        polls, calls = state.idle_polls - before[0], state.idle_calls - before[1]
        self.stdout.write(f"Idle: {polls} polls, {calls / max(polls, 1):.2f} calls each.")

    def per_change(self) -> None:
        """Calls per synced change, polls left out as far as the bells are quick enough."""
        from sync.models import Operation

        self.settle()
        before, written = self.calls(), self.confirmed()
        number = 0
        for case, key in self.vendors.pairs()[:20]:
            self.vendors.jira_to_salesforce(case, key, f"Counted {time.time():.3f}")
            number += 1
        self.settle()
        after = self.calls()
        writes = self.confirmed() - written
        spent = {kind: after[kind] - before[kind] for kind in after}
        shown = ", ".join(f"{kind} {count}" for kind, count in sorted(spent.items()) if count)
        total = sum(spent.values())
        self.stdout.write(
            f"Calls: {number} changes, {writes} writes, {total} calls ({shown}): {total / number:.2f} each."
        )
        assert Operation.objects.exists()

    def confirmed(self) -> int:
        from sync.models import Operation

        return Operation.objects.filter(mapping=self.mapping, state=Operation.State.CONFIRMED).count()

    def start_backfill(self, number: int) -> None:
        """Create `number` issues at the Jira stand-in; the brake is released for them first."""
        from connections.models import Delivery
        from sync.models import Allowance

        for side, kind in (("right", "create"), ("right", "update"), ("left", "update")):
            Allowance.objects.create(
                mapping=self.mapping,
                side=side,
                kind=kind,
                number=3 * number,
                reason="benchmark backfill",
                by_name="bench",
                expires_at=timezone.now() + timedelta(hours=6),
            )
        person, jira = self.vendors.jira_person, self.vendors.jira
        kind = jira.call(person, "GET", "issuetype")[0]["id"]
        for start in range(0, number, BULK_CREATE):
            issues = [
                {
                    "fields": {
                        "project": {"key": "SUP"},
                        "issuetype": {"id": kind},
                        "summary": f"Backfill {time.time():.0f} {start + n}",
                    }
                }
                for n in range(min(BULK_CREATE, number - start))
            ]
            jira.call(person, "POST", "issue/bulk", {"issueUpdates": issues})
        self.stdout.write(f"Backfill: {number} issues created; measuring once Jira has announced them all.")
        # The stand-in announces one by one: an edit behind 5,000 announcements would time its queue, not ours.
        heard, quiet = -1, 0.0
        while quiet < QUIET_SECONDS:
            now = Delivery.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
            quiet = quiet + 0.5 if now == heard else 0.0
            heard = now
            time.sleep(0.5)
        self.stdout.write(f"Backfill: {self.waiting()} hints wait now.")

    def waiting(self) -> int:
        from sync.models import ChangedRecord

        return ChangedRecord.objects.filter(mapping=self.mapping).count()


def vendors(folder: Path) -> Any:
    """The demo's two systems, used by people of its office."""
    from syncadmin.bench.latency import Vendors
    from syncadmin.demo.credentials import Credentials, office_people
    from syncadmin.demo.environment import known
    from syncadmin.demo.office import Jira, Salesforce
    from syncadmin.demo.world import PEOPLE

    notes = known(folder)
    credentials = Credentials((folder / "word").read_text())
    return Vendors(
        Jira(notes["jira"]["url"], credentials),
        Salesforce(notes["salesforce"]["url"], credentials),
        office_people(PEOPLE, "jira")[0],
        office_people(PEOPLE, "salesforce")[0],
    )


def the_mapping() -> Any:
    from mappings.models import Mapping

    mapping = Mapping.objects.first()
    if mapping is None:
        raise CommandError("The demo has no mapping yet. Nothing was measured. Wait until its first run is done.")
    return mapping


def machine() -> str:
    from django.db import connection

    load = os.getloadavg()[0]
    return f"{os.cpu_count()} processors, load {load:.1f}, database {connection.vendor}"
