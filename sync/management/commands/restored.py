"""`manage.py restored`: say that the database was restored from a backup (see docs/commands.md)."""

from __future__ import annotations

import getpass
import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from mappings.models import Mapping
from sync import audit, restored
from sync.models import MappingState

# Other programs rely on these; docs/commands.md lists them.
EXIT_DONE, EXIT_NOTHING, EXIT_SHOWN = 0, 1, 2


class Command(BaseCommand):
    help = "Say that the database was restored: everything is compared, nothing written before a person approves."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do it; without it only what would be done is shown")
        parser.add_argument(
            "--moved", action="store_true", help="nothing was restored: the one installation has a new place"
        )
        parser.add_argument("--json", action="store_true", help="machine-readable answer")

    def handle(self, *args: Any, **options: Any) -> None:
        who = f"{getpass.getuser()} (command line)"
        writing = list(Mapping.objects.filter(run_state__approved_at__isnull=False).order_by("slug"))
        noted = Mapping.objects.filter(run_state__isnull=False, run_state__approved_at__isnull=True).order_by("slug")
        answer: dict[str, Any] = {
            "done": options["yes"],
            "mappings": [one.slug for one in writing],
            "first_runs": [one.slug for one in noted],
            "waiting": list(
                Mapping.objects.filter(run_state__halt=MappingState.Halt.RESTORED)
                .order_by("slug")
                .values_list("slug", flat=True)
            ),
        }
        yes = options["yes"]
        code = self.accept(answer, yes) if options["moved"] else self.declare(answer, yes, who)
        if options["json"]:
            self.stdout.write(json.dumps(answer, ensure_ascii=False))
        else:
            self.stdout.write(answer["said"])
        if code:
            sys.exit(code)

    def declare(self, answer: dict[str, Any], yes: bool, who: str) -> int:
        names, first = (", ".join(answer[one]) for one in ("mappings", "first_runs"))
        if not names and not first:
            answer |= {
                "done": False,
                "said": "No mapping ran yet, so there is nothing to compare. Nothing was done.",
            }
            return EXIT_NOTHING
        if not yes:
            parts = [
                f"This would halt {names}: open writes are looked up, all records of both sides are compared, and "
                "nothing is written until a person approves each on its run's page."
                if names
                else "",
                f"The first run of {first} would be made again: its lists are as old as the backup." if first else "",
                "Nothing was done. Add --yes.",
            ]
            answer["said"] = " ".join(filter(None, parts))
            return EXIT_SHOWN
        restored.halt_all("restored_declared", {"by": who}, by=who)
        audit.seal()
        answer["waiting"] = answer["mappings"]
        parts = [
            f"Halted: {names}. Each is compared by a worker now; nothing is written." if names else "",
            f"Made again by a worker now, since nobody approved it yet: the first run of {first}." if first else "",
            "Look at the numbers under Runs and approve them there.",
        ]
        answer["said"] = " ".join(filter(None, parts))
        return EXIT_DONE

    def accept(self, answer: dict[str, Any], yes: bool) -> int:
        if not yes:
            answer["said"] = (
                "This would take the present place of the database as its own, without comparing anything. Do it only "
                "if no other installation goes on with this data. Nothing was done. Add --yes."
            )
            return EXIT_SHOWN
        restored.accept_place()
        audit.seal()
        answer["said"] = "The place is accepted. What was halted already stays so until a person approves it."
        return EXIT_DONE
