"""Fields that change, in tests: a version that knows what both systems say of them, and when they were looked at."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from connections.connectors.base import Option
from sync.models import Conflict, Link, SchemaLook
from sync.tests.conftest import Pair, rule

OPEN, DONE, LATE = (Option(name, name) for name in ("open", "done", "late"))


def knowing(pair: Pair) -> Pair:
    """The version knows everything that the systems say of their fields."""
    options = ["open", "done", "late"]
    rules = [
        rule("title", "title", left={"required": True}, right={"required": True}),
        rule("body", "body", left={"max_length": 1000}, right={"max_length": 1000}),
        rule("status", "status", "option", left={"options": options}, right={"options": options}),
        rule("labels", "labels", "set", policy="merge_sets"),
        rule("amount", "amount", "number", policy="newest"),
    ]
    pair.publish(rules=rules)
    for world in (pair.left, pair.right):
        world.change("status", options=(OPEN, DONE, LATE))
    return pair


def linked(pair: Pair, **values: Any) -> tuple[dict[str, str], Link]:
    """A pair that agrees; both systems were looked at a while ago."""
    known = {"body": "b", "status": "open", "amount": 1, "labels": ["x"], **values}
    left, right, link = pair.linked(**known)
    later(pair)
    return {"left": left, "right": right}, link


def later(pair: Pair) -> None:
    """Time has passed since the last look, and no look by the clock is due yet."""
    now = timezone.now()
    SchemaLook.objects.update(looked_at=now - timedelta(minutes=5), due_at=now + timedelta(minutes=5))


def much_later(pair: Pair) -> None:
    SchemaLook.objects.update(looked_at=timezone.now() - timedelta(hours=1), due_at=timezone.now())


def entry(pair: Pair) -> Conflict:
    (one,) = pair.open_conflicts()
    assert one.kind == "schema" and one.link is None
    return one
