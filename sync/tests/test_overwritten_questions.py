"""What ends the question about an edit that we overwrote, and what does not: whoever ends it was shown that edit."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from sync import instructions
from sync.models import AuditEntry, Conflict, Operation, SchemaLook
from sync.tests.conftest import Pair
from sync.tests.test_engine_overwritten import edit_just_before_our_write, overwritten

pytestmark = pytest.mark.django_db


def is_asked(one: Conflict, latest: str) -> bool:
    one.refresh_from_db()
    return (one.state, one.kind, one.params["overwritten"]) == ("open", "clobber", latest)


def looks_are_due() -> None:
    SchemaLook.objects.update(looked_at=timezone.now() - timedelta(hours=1), due_at=timezone.now())


def test_a_standstill_that_takes_a_refusal_over_does_not_end_it(pair: Pair) -> None:
    left, right, one = overwritten(pair)
    SchemaLook.objects.update(looked_at=timezone.now())  # what the refusal says is not looked into at once
    pair.right.change("body", writable=False)
    pair.left.edit(left, body="refused")
    pair.quiet()
    one.refresh_from_db()
    assert (one.kind, one.params["overwritten"]) == ("refused", "bob's")
    looks_are_due()
    pair.quiet()
    assert is_asked(one, "bob's")
    assert AuditEntry.objects.filter(action="conflict_closed", code="overwritten_still_asked").count() == 1
    pair.right.change("body", writable=True)
    looks_are_due()
    pair.quiet()
    assert pair.right.value(right, "body") == "refused" and is_asked(one, "bob's")


def test_an_undo_of_the_write_does_not_end_it(pair: Pair) -> None:
    left, right, one = overwritten(pair)
    undo = instructions.undo(Operation.objects.get(state="confirmed"), "rita")
    one.refresh_from_db()
    assert one.state == "open", "nor is it shown as being settled"
    pair.quiet()
    undo.refresh_from_db()
    assert (undo.state, pair.both(left, right, "body")) == ("done", ("ana's", "agreed"))
    assert is_asked(one, "bob's") and not AuditEntry.objects.filter(action="resolve").exists()


def test_a_repair_that_finds_nothing_to_write_does_not_end_it(pair: Pair) -> None:
    _, _, one = overwritten(pair)
    choice = {"take": "left", "seen": {"left": "ana's", "right": "ana's"}}
    repair = instructions.ask(one.link, "repair", {"body": choice}, "rita")
    pair.quiet()
    repair.refresh_from_db()
    assert repair.state == "done" and is_asked(one, "bob's")
    assert not AuditEntry.objects.filter(action__in=("resolve", "conflict_closed")).exists()


def test_an_answer_to_another_field_of_the_same_call_does_not_end_it(pair: Pair) -> None:
    left, right, one = overwritten(pair)
    pair.left.edit(left, body="later", status="L")
    pair.right.edit(right, status="R")
    choice = {"take": "left", "seen": {"left": "L", "right": "R"}}
    instructions.ask(one.link, "resolve", {"status": choice}, "rita")
    pair.quiet()
    assert (pair.right.value(right, "body"), pair.right.value(right, "status")) == ("later", "L")
    assert is_asked(one, "bob's")


@pytest.mark.parametrize("take", ["ignore", "value"])
def test_an_answer_of_who_was_shown_an_earlier_one_does_not_end_it(pair: Pair, take: str) -> None:
    left, right, one = overwritten(pair)
    edit_just_before_our_write(pair, right, body="bob's second")
    pair.left.edit(left, body="ana's second")
    pair.quiet()
    pair.left.edit(left, body="ana's")  # both say again what the person was shown
    pair.quiet()
    choice = {"take": take, "value": "bob's", "in": "right", "seen": {"left": "ana's", "right": "ana's"}}
    instructions.resolve(one, choice, "rita")
    pair.quiet()
    assert pair.right.value(right, "body") == ("bob's" if take == "value" else "ana's")
    assert is_asked(one, "bob's second")
