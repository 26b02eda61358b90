"""`manage.py audit verify|export`: check the chain, or take the log elsewhere (see docs/commands.md)."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from sync import audit

# Other programs rely on these; docs/commands.md lists them.
EXIT_INTACT, EXIT_ERROR, EXIT_BROKEN = 0, 1, 3


class Command(BaseCommand):
    help = "Verify the audit log's hash chain, or export the log."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="verify|export")
        verifying = verbs.add_parser("verify", help="check every entry; exit code 3 if the chain is broken")
        verifying.add_argument("--file", help="check an export instead of the database")
        verifying.add_argument("--json", action="store_true", help="machine-readable answer")
        exporting = verbs.add_parser("export", help="write the log as lines of JSON")
        exporting.add_argument("file", nargs="?", default="-", metavar="FILE", help="- writes to the terminal")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            code = getattr(self, options["verb"])(options)
        except (OSError, ValueError) as problem:
            self.stderr.write(f"{problem}. Nothing was changed.")
            code = EXIT_ERROR
        if code:
            sys.exit(code)

    def verify(self, options: dict[str, Any]) -> int:
        if options["file"]:
            with Path(options["file"]).open(encoding="utf-8") as lines:
                verdict = audit.verify_export(lines)
        else:
            audit.seal()
            verdict = audit.verify()
        if options["json"]:
            answer = {
                "intact": verdict.intact,
                "verified_to": verdict.last_number,
                "seal": verdict.last_seal,
                "broken_at": verdict.broken_at,
                "why": verdict.why,
            }
            self.stdout.write(json.dumps(answer, ensure_ascii=False))
        elif verdict.intact:
            self.stdout.write(f"Verified to number {verdict.last_number}.")
        else:
            self.stdout.write(f"{verdict.why} Everything up to number {verdict.last_number} is still proved.")
        return EXIT_INTACT if verdict.intact else EXIT_BROKEN

    def export(self, options: dict[str, Any]) -> int:
        audit.seal()
        if options["file"] == "-":
            for line in audit.export():
                self.stdout.write(line, ending="")
        else:
            with Path(options["file"]).open("w", encoding="utf-8") as out:
                out.writelines(audit.export())
        audit.write("export", "audit_exported", actor="command line", actor_kind="person")
        return EXIT_INTACT
