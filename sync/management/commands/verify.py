"""`manage.py verify NAME`: compare a mapping's pairs now, and wait for the end (see docs/commands.md)."""

from __future__ import annotations

import getpass
import json
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any, NoReturn

from django.core.management.base import BaseCommand
from django.db.models import Q
from django.utils import timezone

from mappings.models import Mapping
from sync import audit, verify
from sync.models import Verification, VerifiedDifference
from sync.views._verified import overwrites_of
from sync.wording import sentence

# Other programs rely on these; docs/commands.md lists them.
EXIT_EQUAL, EXIT_FAILED, EXIT_DIFFERS, EXIT_BUSY, EXIT_STOPPED = 0, 1, 3, 4, 5
# While another worker has its turn, a system asked us to wait or a window is open, the end is looked for this often.
LOOK_SECONDS = 1.0
MOST_PRINTED = 20


class Command(BaseCommand):
    help = "Compare the linked pairs of a mapping and say what drifted. Reads only."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="the mapping's name or slug")
        parser.add_argument("--sample", type=_number, metavar="N", help="only N pairs, drawn by lot")
        parser.add_argument("--json", action="store_true", help="machine-readable answer")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        related = ("published", "left_connection", "right_connection")
        mapping = Mapping.objects.select_related(*related).filter(Q(slug=name) | Q(name=name)).first()
        if mapping is None:
            message = f"There is no mapping “{name}”. Nothing was compared. `manage.py config export` lists them."
            self.fail(message, EXIT_FAILED, options)
        if Verification.objects.filter(mapping=mapping, state__in=Verification.OPEN).exists():
            self.fail(f"A verification of {mapping} is going on already. Wait for its end.", EXIT_BUSY, options)
        kind = Verification.Kind.SAMPLE if options["sample"] else Verification.Kind.COMPLETE
        by = f"{getpass.getuser()} (command line)"
        try:
            one = verify.begin(mapping, kind, by, options["sample"] or 0)
        except verify.CannotBegin as problem:
            self.fail(str(problem).replace(" · ", " "), EXIT_FAILED, options)
        try:
            self.carry_out(one)
        except KeyboardInterrupt:
            verify.stop(one, by)
            self.carry_out(one)
        audit.seal()
        self.show(one, options)
        code = exit_code(one)
        if code:
            sys.exit(code)

    def carry_out(self, one: Verification) -> None:
        """Until its end, whoever works on it."""
        while True:
            verify.work(one.pk)
            one.refresh_from_db()
            if one.state not in Verification.OPEN:
                return
            left = (one.not_before - timezone.now()).total_seconds()
            time.sleep(min(max(left, 0.0), LOOK_SECONDS) if one.lease_until is None else LOOK_SECONDS)

    def show(self, one: Verification, options: dict[str, Any]) -> None:
        answer = answer_of(one)
        if options["json"]:
            self.stdout.write(json.dumps(answer, ensure_ascii=False))
            return
        for key in ("mapping", "state", "reason", "pairs", "equal", "waiting", "agreed", "drift", "missing"):
            if answer[key] != "":
                self.stdout.write(f"{key}: {answer[key]}")
        for side, told in answer["overwrites"].items():
            self.stdout.write(f"overwritten edits on the {side}: {told['what']} {told['meaning']}")
        rows = VerifiedDifference.objects.filter(verification=one).exclude(kind=VerifiedDifference.Kind.AGREED)
        for row in rows.select_related("link").order_by("pk")[:MOST_PRINTED]:
            if row.kind == VerifiedDifference.Kind.MISSING:
                self.stdout.write(f"  {row.link}: not there on the {row.side}")
            else:
                self.stdout.write(f"  {row.link}: {row.field_label}: {row.left_value!r} | {row.right_value!r}")

    def fail(self, message: str, code: int, options: dict[str, Any]) -> NoReturn:
        if options["json"]:
            self.stdout.write(json.dumps({"error": message}, ensure_ascii=False))
        else:
            self.stderr.write(message)
        sys.exit(code)


def exit_code(one: Verification) -> int:
    if one.state == Verification.State.FAILED:
        return EXIT_FAILED
    if one.state == Verification.State.STOPPED:
        return EXIT_STOPPED
    return EXIT_DIFFERS if one.counts["drift"] or one.counts["missing"] else EXIT_EQUAL


def answer_of(one: Verification) -> dict[str, Any]:
    """A verification as other programs see it."""
    counts = one.counts
    return {
        "mapping": one.mapping.slug,
        "verification": one.pk,
        "kind": one.kind,
        "state": one.state,
        "reason": sentence(one.reason["code"], one.reason.get("params")) if one.reason else "",
        **{name: counts[name] for name in ("pairs", "equal", "waiting", "agreed", "drift", "missing")},
        "waits": counts["waits"],
        "lacking": counts["lacking"],
        "fields": counts["fields"],
        "apart": counts["apart"],
        "overwrites": {
            side: {"system": system, "what": told.what, "meaning": told.meaning}
            for side, system, told in overwrites_of(one)
        },
        "calls": one.calls,
        "seconds": one.seconds,
    }


def _number(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 10**9:
        raise ArgumentTypeError("a sample needs a number of pairs, at least 1")
    return int(text)
