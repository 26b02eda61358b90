"""`manage.py sync NAME`: run a mapping now and say what happened (see docs/commands.md)."""

from __future__ import annotations

import getpass
import json
import sys
import time
from argparse import ArgumentParser
from typing import Any, NoReturn

from django.core.management.base import BaseCommand
from django.db.models import Q
from django.utils import timezone

from connections.models import Connection
from mappings.models import Mapping
from sync import audit, engine
from sync.dry_run import dry_run
from sync.models import ChangedRecord, Conflict, MappingState, Run
from sync.read import SideFailed
from sync.standing import stands_still
from sync.wording import sentence

# Other programs rely on these; docs/commands.md lists them.
EXIT_DONE, EXIT_FAILED, EXIT_HALTED, EXIT_BUSY = 0, 1, 3, 4
EXIT_CODES = {"done": EXIT_DONE, "failed": EXIT_FAILED, "lost": EXIT_BUSY, "busy": EXIT_BUSY}
# A worker that holds the mapping lets go within a batch; a longer hold is a backfill, which does the work itself.
WAIT_FOR_LEASE_SECONDS = 15


class Command(BaseCommand):
    help = "Run a mapping now, or show what a run would do."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="the mapping's name or slug")
        parser.add_argument("--dry-run", action="store_true", help="decide everything, write nothing")
        parser.add_argument("--json", action="store_true", help="machine-readable answer")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        mapping = Mapping.objects.filter(Q(slug=name) | Q(name=name)).first()
        if mapping is None:
            self.fail(f"There is no mapping “{name}”. Nothing was run. `manage.py config export` lists them.", options)
        if mapping.published is None:
            self.fail(f"{mapping} was never published. Nothing was run. Publish it first.", options)
        if options["dry_run"]:
            try:
                self.show({"mapping": mapping.slug, "outcome": "dry", **dry_run(mapping, _who())}, options)
            except SideFailed as problem:
                self.fail(f"{mapping.connection(problem.side)}: {problem.error.message} Nothing was written.", options)
            return
        outcome = self.run_now(mapping)
        run = Run.objects.filter(pk=outcome.run_id or 0).first()
        self.show(
            {
                "mapping": mapping.slug,
                "outcome": outcome.state,
                "reason": "" if outcome.state == "done" else why(mapping, run),
                "run": outcome.run_id,
                "counts": run.counts if run else {},
                "calls": run.calls if run else {},
                "waiting": ChangedRecord.objects.filter(mapping=mapping).count(),
                "conflicts": Conflict.objects.filter(mapping=mapping, state="open").count(),
            },
            options,
        )
        code = EXIT_CODES.get(outcome.state, EXIT_HALTED)
        if code:
            sys.exit(code)

    def run_now(self, mapping: Mapping) -> engine.Outcome:
        until = time.monotonic() + WAIT_FOR_LEASE_SECONDS
        while True:
            outcome = engine.run(mapping.pk, kind=Run.Kind.MANUAL, started_by=_who())
            audit.seal()
            if outcome.state != "busy" or time.monotonic() > until:
                return outcome
            time.sleep(0.2)

    def show(self, answer: dict[str, Any], options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(answer, ensure_ascii=False))
            return
        for key, value in answer.items():
            if value not in ("", {}, None):
                self.stdout.write(f"{key}: {value}")

    def fail(self, message: str, options: dict[str, Any]) -> NoReturn:
        if options["json"]:
            self.stdout.write(json.dumps({"error": message}, ensure_ascii=False))
        else:
            self.stderr.write(message)
        sys.exit(EXIT_FAILED)


def why(mapping: Mapping, run: Run | None) -> str:
    """What keeps the mapping from going on, as a sentence; "" where nothing is noted."""
    still = stands_still(mapping, timezone.now())
    if still is not None:
        return f"{still.head}. {still.why} Nothing is lost; changes wait.".replace("  ", " ")
    state = MappingState.objects.filter(mapping=mapping).first()
    reason = (state.halt_reason if state and state.halt else None) or (run.error if run else None) or {}
    if reason.get("code"):
        return sentence(reason["code"], reason.get("params"))
    # A run that could not read at all is not kept; its connection says what happened.
    rows = Connection.objects.filter(pk__in=(mapping.left_connection_id, mapping.right_connection_id))
    return " ".join(f"{one}: {one.state_reason}" for one in rows.exclude(state_reason="").order_by("pk"))


def _who() -> str:
    return f"{getpass.getuser()} (command line)"
