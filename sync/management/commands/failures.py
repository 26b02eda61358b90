"""`manage.py failures`: what failed and still stands, by cause (see docs/commands.md)."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any, NoReturn

from django.core.management.base import BaseCommand
from django.db.models import Q

from mappings.models import Mapping
from sync.failures import Standing, groups, standing, with_related
from sync.views._failures import cause_of, described, described_row, rows_of

# Other programs rely on these; docs/commands.md lists them.
EXIT_LISTED, EXIT_ERROR = 0, 1
# Entries shown of one cause, newest first.
MOST_ENTRIES = 1000


class Command(BaseCommand):
    help = "List what failed and still stands, by cause, the one with most entries first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--mapping", metavar="NAME", help="name or slug of a mapping")
        parser.add_argument("--group", metavar="FINGERPRINT", help="the entries of one cause")
        parser.add_argument("--ignored", action="store_true", help="what is ignored instead")
        parser.add_argument("--json", action="store_true", help="machine-readable answer")

    def handle(self, *args: Any, **options: Any) -> None:
        those = standing().listed(options["ignored"])
        if options["mapping"]:
            mapping = Mapping.objects.filter(Q(slug=options["mapping"]) | Q(name=options["mapping"])).first()
            if mapping is None:
                self.fail(f"There is no mapping “{options['mapping']}”. Nothing was changed.", options)
            those = those.where(mapping=mapping)
        if options["group"]:
            self.entries(those.of_group(options["group"]), options)
        else:
            self.causes(those, options)

    def causes(self, those: Standing, options: dict[str, Any]) -> None:
        found = [described(cause_of(group)) for group in groups(those)]
        if options["json"]:
            self.stdout.write(json.dumps(found, ensure_ascii=False))
            return
        for one in found:
            self.stdout.write(f"{one['fingerprint']}  {one['count']:>6}  {one['mapping']}: {one['cause']}")
            self.stdout.write(f"                      {one['sample']['record']}: {one['sample']['reason']}")
            self.stdout.write(f"                      {one['fix']}")
        if not found:
            self.stdout.write("Nothing is ignored." if options["ignored"] else "Nothing fails.")

    def entries(self, those: Standing, options: dict[str, Any]) -> None:
        found = [
            described_row(row)
            for source, rows in those.lists.items()
            for row in rows_of(list(with_related(source, rows).order_by("-pk")[:MOST_ENTRIES]))
        ]
        if options["json"]:
            self.stdout.write(json.dumps(found, ensure_ascii=False))
            return
        for one in found:
            self.stdout.write(f"{one['id']}  {one['record']}  since {one['since']}: {one['reason']}")
        if not found:
            self.stdout.write("Nothing fails for this cause.")

    def fail(self, message: str, options: dict[str, Any]) -> NoReturn:
        if options["json"]:
            self.stdout.write(json.dumps({"error": message}, ensure_ascii=False))
        else:
            self.stderr.write(message)
        sys.exit(EXIT_ERROR)
