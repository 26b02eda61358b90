"""`manage.py config export|plan|apply`: the whole configuration as a file (see docs/commands.md)."""

from __future__ import annotations

import getpass
import json
import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, NoReturn

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandParser

from mappings.config import ConfigChange, apply, export, plan
from mappings.config_file import SIZE_LIMIT, ConfigError

# Other programs rely on these; docs/commands.md lists them.
EXIT_OK = 0
EXIT_ERROR = 1
EXIT_CHANGES = 2
SIGNS = {"create": "+", "update": "~", "delete": "-", "unchanged": " "}


class Parser(CommandParser):
    """Wrong arguments end with 1: for `plan`, 2 already means that there are changes."""

    def error(self, message: str) -> NoReturn:
        if not self.called_from_command_line:
            super().error(message)
        self.print_usage(sys.stderr)
        self.exit(EXIT_ERROR, f"{self.prog}: error: {message}\n")


class Command(BaseCommand):
    help = "Export the configuration, show what a file would change, or apply a file."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.__class__ = Parser  # Django makes its own class; there is no argument for another one
        return parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="export|plan|apply", parser_class=Parser)
        exporting = verbs.add_parser("export", help="write everything to FILE, or to the terminal")
        exporting.add_argument("file", nargs="?", default="-", metavar="FILE")
        planning = verbs.add_parser("plan", help="show what FILE would change; exit code 2 if anything")
        applying = verbs.add_parser("apply", help="carry out FILE in one transaction")
        for verb in (planning, applying):
            verb.add_argument("file", metavar="FILE", help="- reads standard input")
            verb.add_argument("--json", action="store_true", help="machine-readable answer")
        applying.add_argument("--delete", action="store_true", help="delete what the file leaves out")
        applying.add_argument("--user", help="name of the user in whose name this is done")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            code = getattr(self, options["verb"])(options)
        except ConfigError as error:
            self.fail(error.problems, options)
            code = EXIT_ERROR
        except OSError as error:
            self.fail([f"{error.filename}: {error.strerror}. Nothing was changed."], options)
            code = EXIT_ERROR
        if code:
            sys.exit(code)

    def export(self, options: dict[str, Any]) -> int:
        text = export()
        if options["file"] == "-":
            self.stdout.write(text, ending="")
        else:
            Path(options["file"]).write_text(text, encoding="utf-8")
            self.stderr.write(f"Written to {options['file']}. Secrets are named, not contained.")
        return EXIT_OK

    def plan(self, options: dict[str, Any]) -> int:
        changes = plan(self.read(options["file"]), os.environ)
        self.show(changes, options, applied=False)
        return EXIT_CHANGES if any(change.action != "unchanged" for change in changes) else EXIT_OK

    def apply(self, options: dict[str, Any]) -> int:
        user = self.user(options["user"])
        actor = "" if user else f"{getpass.getuser()} (command line)"
        text = self.read(options["file"])
        changes = apply(text, user, os.environ, delete=options["delete"], actor=actor)
        self.show(changes, options, applied=True)
        return EXIT_OK

    def user(self, name: str | None) -> Any:
        if not name:
            return None
        user = get_user_model()._default_manager.filter(username=name, is_active=True).first()
        if user is None:
            raise ConfigError([f"There is no active user {name!r}. Nothing was changed."])
        return user

    def read(self, name: str) -> str:
        """The file as text; one byte more than allowed is enough for the size check to speak."""
        if name == "-":
            data = sys.stdin.buffer.read(SIZE_LIMIT + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(SIZE_LIMIT + 1)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            if len(data) > SIZE_LIMIT:
                return data.decode("utf-8", "replace")
            raise ConfigError([f"{name}: is not UTF-8 text. Nothing was changed. Save it as UTF-8."]) from None

    def show(self, changes: list[ConfigChange], options: dict[str, Any], *, applied: bool) -> None:
        counts = {action: sum(change.action == action for change in changes) for action in SIGNS}
        if options["json"]:
            answer = {"applied": applied, "counts": counts, "changes": [change.as_json() for change in changes]}
            self.stdout.write(json.dumps(answer, ensure_ascii=False, indent=2))
            return
        for change in changes:
            if change.action == "unchanged":
                continue
            self.stdout.write(f"{SIGNS[change.action]} {change.section}.{change.name}")
            for diff in change.fields if change.action == "update" else ():
                self.stdout.write(f"    {diff.field}: {json.dumps(diff.before, ensure_ascii=False)} → ", ending="")
                self.stdout.write(json.dumps(diff.after, ensure_ascii=False))
        done = "made" if applied else "to make"
        self.stdout.write(
            f"{counts['create']} created, {counts['update']} updated, {counts['delete']} deleted ({done}), "
            f"{counts['unchanged']} unchanged."
        )
        if applied and any(c.section == "mappings" and c.action in ("create", "update") for c in changes):
            self.stdout.write("Mappings changed as drafts: the published versions keep running until you publish.")

    def fail(self, problems: list[str], options: dict[str, Any]) -> None:
        if options.get("json"):
            self.stdout.write(json.dumps({"error": problems}, ensure_ascii=False, indent=2))
        for problem in problems:
            self.stderr.write(self.style.ERROR(problem))
