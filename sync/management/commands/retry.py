"""`manage.py retry`: try failures again, by number, by cause or all of a mapping (see docs/commands.md)."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any, NoReturn

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db.models import Q

from mappings.models import Mapping
from sync import retrying
from sync.failures import Standing, standing
from sync.management.commands.resolve import CommandLineUser

# Other programs rely on these; docs/commands.md lists them.
EXIT_RUNG, EXIT_ERROR, EXIT_NOTHING, EXIT_PERSON = 0, 1, 3, 4


class Command(BaseCommand):
    help = "Try failures again: it rings, the next run does it, behind live edits and within brakes and limits."

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("ids", nargs="*", default=[], metavar="ID", help="entries, see `manage.py failures --group`")
        which.add_argument("--group", metavar="FINGERPRINT", help="all entries of one cause")
        which.add_argument("--all", metavar="NAME", help="all failures of a mapping that are not ignored")
        parser.add_argument("--user", help="name of the user in whose name this is done")
        parser.add_argument("--json", action="store_true", help="machine-readable answer")

    def handle(self, *args: Any, **options: Any) -> None:
        asked = retrying.retry(self.named(options), self.user(options))
        if options["json"]:
            answer = {"retried": asked.number, "left_out": asked.left_out, "fields": asked.fields}
            self.stdout.write(json.dumps(answer))
        elif asked.number:
            self.stdout.write(f"{asked.number} rung. The next run tries them again.")
        elif not (asked.left_out or asked.fields):
            self.stdout.write("Nothing of it stands any more. Nothing was tried.")
        if asked.fields and not options["json"]:
            self.stdout.write(
                f"{asked.fields} about fields that are not what the mapping knows. The next run reads the fields again."
            )
        if asked.left_out and not options["json"]:
            self.stdout.write(
                f"{asked.left_out} left out: whether these records were created is not known, and a second create "
                "could make another one. Say which it is in the review queue."
            )
        if not (asked.number or asked.fields):
            sys.exit(EXIT_PERSON if asked.left_out else EXIT_NOTHING)

    def named(self, options: dict[str, Any]) -> Standing:
        if options["group"]:
            return standing().of_group(options["group"]).listed()
        if options["all"]:
            mapping = Mapping.objects.filter(Q(slug=options["all"]) | Q(name=options["all"])).first()
            if mapping is None:
                self.fail(f"There is no mapping “{options['all']}”. Nothing was tried.", options)
            return standing().where(mapping=mapping).listed()
        return standing().of_keys(options["ids"])

    def user(self, options: dict[str, Any]) -> Any:
        if not options["user"]:
            return CommandLineUser()
        found = get_user_model().objects.filter(username=options["user"]).first()
        if found is None:
            self.fail(f"There is no user “{options['user']}”. Nothing was tried.", options)
        return found

    def fail(self, message: str, options: dict[str, Any]) -> NoReturn:
        if options["json"]:
            self.stdout.write(json.dumps({"error": message}, ensure_ascii=False))
        else:
            self.stderr.write(message)
        sys.exit(EXIT_ERROR)
