"""`manage.py resolve ID`: settle a conflict (see docs/commands.md)."""

from __future__ import annotations

import getpass
import json
import sys
import time
from argparse import ArgumentParser
from typing import Any, NoReturn

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db.models import Q
from django.utils import timezone

from mappings.compiled import field_spec
from sync import audit, engine, instructions
from sync.models import ChangedRecord, Conflict, Instruction, Operation
from sync.schema import may_hold
from sync.session import SIDES
from sync.wording import sentence

# Other programs rely on these; docs/commands.md lists them.
EXIT_DONE, EXIT_ERROR, EXIT_STALE, EXIT_REFUSED, EXIT_WAITING = 0, 1, 3, 4, 5
EXIT_CODES = {"done": EXIT_DONE, "stale": EXIT_STALE, "refused": EXIT_REFUSED}
# Two remote calls and a worker that may hold the mapping for a batch; later it is applied by the next run anyway.
APPLY_SECONDS = 30


def _about_the_values(question: Conflict | None) -> bool:
    """Whether it says that the two sides do not have what was answered; an overwritten edit is another matter."""
    return question is not None and question.kind != Conflict.Kind.CLOBBER


class CommandLineUser:
    """Stands in for a Django user: the account that runs the command."""

    pk = None

    def get_username(self) -> str:
        return f"{getpass.getuser()} (command line)"


class Command(BaseCommand):
    help = "Settle a conflict: take a side, the last agreed value, a value of your own, or let the values differ."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=int, help="number of the conflict, see `manage.py conflicts`")
        how = parser.add_mutually_exclusive_group(required=True)
        how.add_argument("--take", choices=("left", "right", "base", "ignore"))
        how.add_argument("--value", metavar="JSON", help="a value of your own, in the form of --in")
        parser.add_argument(
            "--in", dest="side", choices=("left", "right"), default="left", help="side --value speaks of"
        )
        sure = parser.add_mutually_exclusive_group(required=True)
        sure.add_argument("--seen", nargs=2, metavar=("LEFT_JSON", "RIGHT_JSON"), help="the values you decided on")
        sure.add_argument("--force", action="store_true", help="whatever the values are now")
        parser.add_argument("--user", help="name of the user in whose name this is done")
        parser.add_argument("--json", action="store_true", help="machine-readable answer")

    def handle(self, *args: Any, **options: Any) -> None:
        conflict = Conflict.objects.filter(pk=options["id"]).select_related("link", "mapping").first()
        if conflict is None:
            self.fail(f"There is no conflict {options['id']}. Nothing was changed.", options)
        if conflict.state == Conflict.State.CLOSED:
            self.fail(f"Conflict {conflict.pk} is settled already. Nothing was changed.", options)
        if not conflict.rule_id or conflict.link is None:
            self.fail(
                f"Conflict {conflict.pk} is about the record as a whole. Nothing was changed. "
                "Settle it in the review queue.",
                options,
            )
        choice: dict[str, Any] = {"take": options["take"] or "value", "in": options["side"]}
        try:
            if options["value"] is not None:
                choice["value"] = json.loads(options["value"])
            if options["force"]:
                choice["force"] = True
            else:
                choice["seen"] = dict(zip(("left", "right"), map(json.loads, options["seen"]), strict=True))
        except json.JSONDecodeError as problem:
            self.fail(f"Not JSON: {problem.doc}. Nothing was changed. Quote texts: '\"High\"'.", options)
        if choice["take"] == "value":
            self.check_value(conflict, choice, options)
        instruction = instructions.resolve(conflict, choice, self.user(options))
        self.apply(instruction)
        conflict.refresh_from_db()
        question = Conflict.objects.filter(
            link=conflict.link, rule_id=conflict.rule_id, state=Conflict.State.OPEN
        ).first()
        answer = {
            "conflict": conflict.pk,
            "state": instruction.state,
            "conflict_state": conflict.state,
            **self.held(conflict, instruction, question),
            "open": question.pk if question else None,
        }
        if options["json"]:
            self.stdout.write(json.dumps(answer, ensure_ascii=False))
        else:
            self.stdout.write(f"Conflict {conflict.pk}: {instruction.get_state_display().lower()}.")
            if question is not None:
                self.stdout.write(f"Conflict {question.pk} is open: {sentence(question.code, question.params)}")
        code = self.exit_code(instruction, question)
        if code:
            sys.exit(code)

    def exit_code(self, instruction: Instruction, question: Conflict | None) -> int:
        """A typed value is done at one side and then follows to the other, which may refuse it or not answer."""
        if instruction.state != Instruction.State.DONE:
            return EXIT_CODES.get(instruction.state, EXIT_WAITING)
        if _about_the_values(question):
            return EXIT_REFUSED
        return EXIT_WAITING if self.follows(instruction) else EXIT_DONE

    def apply(self, instruction: Instruction) -> None:
        """Run the mapping until both systems have it; a worker may be quicker."""
        until = time.monotonic() + APPLY_SECONDS
        while self.under_way(instruction) and time.monotonic() < until:
            outcome = engine.run(instruction.mapping_id)
            audit.seal()
            instruction.refresh_from_db()
            if outcome.state not in ("done", "busy", "lost"):
                return
            later = ChangedRecord.objects.filter(mapping=instruction.mapping, not_before__gt=timezone.now())
            if outcome.state == "busy" or later.exists():
                time.sleep(0.2)

    def under_way(self, instruction: Instruction) -> bool:
        """Waits or is written; a typed value is done at one side and then follows to the other."""
        if instruction.state != Instruction.State.DONE:
            return instruction.state in (Instruction.State.WAITING, Instruction.State.APPLYING)
        return self.follows(instruction, attempts=0)

    def follows(self, instruction: Instruction, **hints: Any) -> bool:
        """Whether the pair is still to be looked at; `hints`: by hints like these."""
        link = instruction.link
        assert link is not None, "a conflict about a field has a link"
        records = Q(side="left", external_id=link.left_id) | Q(side="right", external_id=link.right_id)
        waiting = ChangedRecord.objects.filter(records, mapping=instruction.mapping, **hints)
        return waiting.exists() or Operation.objects.filter(link=link, state__in=Operation.OPEN).exists()

    def held(self, conflict: Conflict, instruction: Instruction, question: Conflict | None) -> dict[str, Any]:
        """{"left": value, "right": value}: what the two systems hold, as last seen."""
        live = question if _about_the_values(question) else None
        if live is not None or instruction.state != Instruction.State.DONE:
            return {side: getattr(live or conflict, f"{side}_value") for side in SIDES}
        link = instruction.link
        assert link is not None, "a conflict about a field has a link"
        link.refresh_from_db()
        values = {side: link.bases(side).get(conflict.rule_id) for side in SIDES}
        if self.follows(instruction):  # agreed is what was; written is what one of the two holds by now
            for operation in instruction.operations.filter(state=Operation.State.CONFIRMED):
                sent = operation.fields[conflict.rule_id]
                values[operation.side] = sent.get("read_back", sent["value"])
        return values

    def check_value(self, conflict: Conflict, choice: dict[str, Any], options: dict[str, Any]) -> None:
        """What is typed on a page is read as the field's kind; JSON may be of any kind."""
        document = conflict.mapping.published.document if conflict.mapping.published else {"rules": []}
        rule = next((one for one in document["rules"] if one["id"] == conflict.rule_id), None)
        if rule is None:
            return  # the rule is off: the engine refuses every answer
        spec = field_spec(rule[choice["in"]])
        if not may_hold(spec, choice["value"]):
            kind = spec.kind.replace("_", " ") + (f", {spec.format}" if spec.format else "")
            self.fail(
                f"{options['value']} is not a value of {spec.label} ({kind}). Nothing was changed. "
                "`manage.py conflicts --json` shows how its values are written.",
                options,
            )

    def user(self, options: dict[str, Any]) -> Any:
        if not options["user"]:
            return CommandLineUser()
        found = get_user_model().objects.filter(username=options["user"]).first()
        if found is None:
            self.fail(f"There is no user “{options['user']}”. Nothing was changed.", options)
        return found

    def fail(self, message: str, options: dict[str, Any]) -> NoReturn:
        if options["json"]:
            self.stdout.write(json.dumps({"error": message}, ensure_ascii=False))
        else:
            self.stderr.write(message)
        sys.exit(EXIT_ERROR)
