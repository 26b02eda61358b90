"""Edits made between our last look and our write: prevented where the system can, told where it has a history."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import Refused, Uncertain
from connections.connectors.memory import US, MemoryConnector
from sync import instructions
from sync.models import AuditEntry, Conflict, MappingState, Operation
from sync.tests.conftest import Pair
from sync.tests.engine_cases import no_answer, once

pytestmark = pytest.mark.django_db


def edit_just_before_our_write(pair: Pair, right: str, lost: bool = False, **values: Any) -> None:
    """The next update on the right meets an edit made a moment before it; `lost`: nor is it answered."""

    def before(verb: str, ids: Any) -> None:
        if verb == "update":
            pair.right.before = lambda *_: None
            pair.right.edit(right, by="bob", **values)

    def after(verb: str, ids: Any) -> None:
        if verb == "update" and lost:
            pair.right.after = lambda *_: None
            raise Uncertain("no answer")

    pair.right.before, pair.right.after = before, after


def refuse_body() -> None:
    raise Refused("no", {"body": "no"})


def overwritten(pair: Pair, lost: bool = False) -> tuple[str, str, Conflict]:
    left, right, link = pair.linked(body="agreed")
    pair.left.edit(left, body="ana's")
    edit_just_before_our_write(pair, right, lost, body="bob's")
    pair.quiet()
    return left, right, Conflict.objects.get(link=link, kind="clobber")


@pytest.mark.parametrize("lost", [False, True])
def test_an_edit_that_our_write_replaced_is_asked_about_with_its_value(pair: Pair, lost: bool) -> None:
    left, right, conflict = overwritten(pair, lost)
    assert pair.both(left, right, "body") == ("ana's", "ana's")
    assert (conflict.state, conflict.code) == ("open", "overwrote_an_edit")
    assert conflict.params["overwritten"] == "bob's"
    entry = AuditEntry.objects.get(action="conflict", code="overwrote_an_edit")
    assert entry.values == {"before": "bob's", "after": "ana's"}


def test_the_question_stays_while_later_edits_flow(pair: Pair) -> None:
    left, right, conflict = overwritten(pair)
    pair.left.edit(left, body="later")
    pair.quiet()
    assert pair.both(left, right, "body") == ("later", "later")
    conflict.refresh_from_db()
    assert conflict.state == "open"
    assert conflict.params["overwritten"] == "bob's"


def test_a_conflict_about_the_same_field_keeps_the_overwritten_value(pair: Pair) -> None:
    left, right, conflict = overwritten(pair)
    pair.left.edit(left, body="left again")
    pair.right.edit(right, body="right again")
    pair.quiet()
    conflict.refresh_from_db()
    assert (conflict.state, conflict.kind, conflict.params["overwritten"]) == ("open", "field", "bob's")
    asked = AuditEntry.objects.filter(action="conflict").order_by("pk").last()
    assert asked is not None, "that the question became another one is in the log"
    assert (asked.code, asked.values["after"]) == ("both_changed", {"left": "left again", "right": "right again"})


@pytest.mark.parametrize("answered", [False, True])
def test_the_overwritten_edit_is_asked_about_again_once_a_conflict_over_it_has_ended(
    pair: Pair, answered: bool
) -> None:
    left, right, conflict = overwritten(pair)
    pair.left.edit(left, body="left again")
    pair.right.edit(right, body="right again")
    pair.quiet()
    conflict.refresh_from_db()
    if answered:
        seen = {"left": "left again", "right": "right again"}
        instructions.resolve(conflict, {"take": "left", "seen": seen}, "rita")
    else:
        pair.right.edit(right, body="left again")
    pair.quiet()
    assert pair.both(left, right, "body") == ("left again", "left again")
    conflict.refresh_from_db()
    assert (conflict.state, conflict.kind, conflict.params["overwritten"]) == ("open", "clobber", "bob's")
    ended = AuditEntry.objects.filter(action="resolve" if answered else "conflict_closed")
    assert ended.count() == 1, "that the conflict has ended is in the log"


def test_a_refusal_over_an_overwritten_edit_does_not_end_its_question(pair: Pair) -> None:
    left, right, conflict = overwritten(pair)
    once(pair.right, "update", refuse_body)
    pair.left.edit(left, body="refused")
    pair.quiet()
    conflict.refresh_from_db()
    assert (conflict.kind, conflict.params["overwritten"]) == ("refused", "bob's")
    pair.left.edit(left, body="taken")
    pair.quiet()
    assert pair.both(left, right, "body") == ("taken", "taken")
    conflict.refresh_from_db()
    assert (conflict.state, conflict.kind, conflict.params["overwritten"]) == ("open", "clobber", "bob's")


def test_an_edit_overwritten_later_comes_in_addition(pair: Pair) -> None:
    left, right, conflict = overwritten(pair)
    pair.left.edit(left, body="ana's second")
    edit_just_before_our_write(pair, right, body="bob's second")
    pair.quiet()
    conflict.refresh_from_db()
    assert (conflict.params["overwritten"], conflict.params["overwritten_before"]) == ("bob's second", ["bob's"])


def test_restoring_writes_the_value_back_and_the_other_side_follows(pair: Pair) -> None:
    left, right, conflict = overwritten(pair)
    choice = {"take": "value", "value": "bob's", "in": "right", "seen": {"left": "ana's", "right": "ana's"}}
    instructions.resolve(conflict, choice, "rita")
    pair.quiet()
    assert pair.both(left, right, "body") == ("bob's", "bob's")
    conflict.refresh_from_db()
    assert (conflict.state, conflict.closed_by) == ("closed", "rita")


def test_leaving_it_ends_the_question_without_a_write(pair: Pair) -> None:
    left, right, conflict = overwritten(pair)
    writes = pair.writes()
    instructions.resolve(conflict, {"take": "ignore", "seen": {"left": "ana's", "right": "ana's"}}, "rita")
    pair.quiet()
    assert pair.writes() == writes
    conflict.refresh_from_db()
    assert (conflict.state, conflict.closed_by) == ("closed", "rita")
    assert AuditEntry.objects.filter(code="left_as_it_is").exists()


def test_a_version_that_is_checked_prevents_it(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, conditional_write=True, exact_version=True)
    left, right, _ = pair.linked(body="agreed")
    pair.left.edit(left, body="ana's")
    edit_just_before_our_write(pair, right, body="bob's")
    pair.quiet()
    assert pair.both(left, right, "body") == ("ana's", "bob's"), "asked before anything was overwritten"
    assert [one.kind for one in pair.open_conflicts()] == ["field"]


def test_an_edit_of_another_field_is_not_touched(pair: Pair) -> None:
    left, right, _ = pair.linked(body="agreed")
    pair.left.edit(left, body="ana's")
    edit_just_before_our_write(pair, right, title="Bob's title")
    pair.quiet()
    assert pair.both(left, right, "body") == ("ana's", "ana's")
    assert pair.both(left, right, "title") == ("Bob's title", "Bob's title")
    assert not pair.open_conflicts()


def test_what_somebody_wrote_after_us_is_not_told_as_ours(pair: Pair) -> None:
    left, right, link = pair.linked(body="agreed")
    pair.left.edit(left, body="ana's")

    def after(verb: str, ids: Any) -> None:
        if verb == "update":
            pair.right.after = lambda *_: None
            pair.right.edit(right, by="bob", body="bob's")
            raise Uncertain("no answer")

    pair.right.after = after
    pair.quiet()
    MappingState.objects.update(lease_until=None)
    pair.quiet()
    written = Operation.objects.filter(link=link, side="right", state="confirmed").latest("pk")
    assert [sent["read_back"] for sent in written.fields.values()] == ["ana's"]
    assert pair.both(left, right, "body") == ("bob's", "bob's")


@pytest.mark.parametrize("rewrites", [False, True])
def test_a_history_in_another_form_still_tells_that_an_edit_lies_under_an_unanswered_write(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, rewrites: bool
) -> None:
    plain = MemoryConnector.history

    def marked_up(self: MemoryConnector, *args: Any) -> Any:
        return {
            id: [replace(one, before=f"*{one.before}*", after=f"*{one.after}*") for one in changes]
            for id, changes in plain(self, *args).items()
        }

    monkeypatch.setattr(MemoryConnector, "history", marked_up)
    if rewrites:  # what is read back is not what was sent: nobody can tell whether our write happened
        pair.right.on_write = lambda id, values, by: {**values, "body": values["body"].upper()} if by == US else values
    left, right, link = pair.linked(body="agreed")
    pair.left.edit(left, body="ana's")
    edit_just_before_our_write(pair, right, lost=True, body="bob's")
    pair.quiet()
    (asked,) = pair.open_conflicts()
    assert asked.params["overwritten"] == "*bob's*"
    assert asked.kind == ("field" if rewrites else "clobber")
    assert AuditEntry.objects.filter(code="maybe_written").exists() == rewrites
    assert AuditEntry.objects.get(code="overwrote_an_edit").values["before"] == "*bob's*"


def test_an_edit_whose_value_no_history_tells_is_not_offered_to_be_restored_as_if_it_had_been_empty(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = MemoryConnector.history

    def untold(self: MemoryConnector, *args: Any) -> Any:
        told = plain(self, *args)
        return {id: [replace(one, before=None, after=None) for one in changes] for id, changes in told.items()}

    monkeypatch.setattr(MemoryConnector, "history", untold)
    left, right, link = pair.linked(body="agreed")
    pair.left.edit(left, body="ana's")
    edit_just_before_our_write(pair, right, lost=True, body="bob's")
    pair.quiet()
    assert pair.both(left, right, "body") == ("ana's", "ana's")
    assert pair.open_conflicts() == []


def test_of_a_write_that_nobody_can_vouch_for_the_edit_under_the_field_that_arrived_is_asked_about_too(
    pair: Pair,
) -> None:
    minute = timezone.now().replace(second=0, microsecond=0)
    pair.right.now = lambda: minute  # its stamps tell no order
    left, right, link = pair.linked(body="agreed")
    pair.left.edit(left, body="ana's", title="Ana's")

    def after(verb: str, ids: Any) -> None:
        if verb == "update":
            pair.right.after = lambda *_: None
            pair.right.edit(right, by="eve", title="Eve's")
            raise Uncertain("no answer")

    edit_just_before_our_write(pair, right, body="bob's")
    pair.right.after = after
    pair.quiet()
    told = AuditEntry.objects.filter(code="maybe_written").values_list("field_label", flat=True)
    assert {*told} == {"Title"}
    asked = Conflict.objects.get(link=link, rule_id="body", state="open")
    assert (asked.code, asked.params["overwritten"]) == ("overwrote_an_edit", "bob's")
    assert AuditEntry.objects.get(code="overwrote_an_edit").values == {"before": "bob's", "after": "ana's"}


def others_take_over() -> None:
    """The lease is free, and what has no answer may be looked up."""
    MappingState.objects.update(lease_until=None)
    Operation.objects.update(claimed_at=timezone.now() - timedelta(hours=1), not_before=timezone.now())


def test_a_write_that_wakes_up_late_tells_what_it_replaced(pair: Pair) -> None:
    """The worker slept in its call; others gave the write up, made it again, and somebody has edited since."""
    left, right, link = pair.linked(body="agreed", amount=1)
    pair.left.edit(left, body="ana's")

    def others_go_on() -> None:
        others_take_over()
        pair.quiet()
        pair.right.edit(right, by="bob", body="bob's")

    once(pair.right, "update", others_go_on)
    assert pair.run().state == "lost"
    late = Operation.objects.get(state=Operation.State.LATE)
    pair.quiet()
    conflict = Conflict.objects.get(link=link, kind="clobber", state="open")
    assert conflict.params["overwritten"] == "bob's"
    assert AuditEntry.objects.filter(action="write", operation_id=late.pk, side="right").count() == 1
    late.refresh_from_db()
    assert (late.state, late.result["code"]) == (Operation.State.SUPERSEDED, "arrived_late")
    assert pair.both(left, right, "body") == ("ana's", "ana's")


def test_what_a_late_write_replaced_is_told_once(pair: Pair) -> None:
    """Its system's history told of it before the worker woke up."""
    left, right, link = pair.linked(body="agreed")
    pair.left.edit(left, body="ana's")
    edit_just_before_our_write(pair, right, lost=True, body="bob's")
    pair.quiet()
    told = Operation.objects.get(side="right", kind="update")
    note = {"code": "arrived_late", "overwritten": {"body": "bob's"}}
    Operation.objects.filter(pk=told.pk).update(state=Operation.State.LATE, result=note)
    pair.quiet()
    assert AuditEntry.objects.filter(code="overwrote_an_edit").count() == 1
    assert Conflict.objects.filter(link=link, kind="clobber").count() == 1


def test_the_log_has_a_late_write_of_which_nobody_hears(pair: Pair) -> None:
    """The worker slept in its call; others gave the write up, and it arrives when the record is about to go."""
    left, right, _ = pair.linked(body="agreed")
    pair.left.edit(left, body="ana's")

    def others_go_on() -> None:
        others_take_over()
        once(pair.right, "update", no_answer)  # theirs
        pair.run()

    def gone() -> None:
        pair.right.remove(right)
        no_answer()

    once(pair.right, "update", others_go_on)
    once(pair.right, "update", gone, when="after")
    assert pair.run().state == "lost"
    assert pair.right.records[right].values["body"] == "ana's"
    others_take_over()
    pair.quiet()
    told = AuditEntry.objects.filter(action="not_written", field_label="Body", side="right")
    assert [one.values for one in told] == [{"before": "agreed", "after": "ana's"}]
    assert not AuditEntry.objects.filter(action="write", field_label="Body").exists(), "nothing else tells"


def test_a_write_that_wakes_up_late_does_not_vouch_for_another_one(pair: Pair) -> None:
    """Only one field of the second write is there, by the first: the other was not written, and nobody emptied it."""
    left, right, _ = pair.linked(body="agreed", amount=1)
    pair.left.edit(left, body="ana's")

    def others_go_on() -> None:
        others_take_over()
        pair.left.edit(left, amount=2)
        once(pair.right, "update", no_answer)
        pair.run()

    once(pair.right, "update", others_go_on)
    assert pair.run().state == "lost"
    others_take_over()
    pair.quiet()
    assert pair.both(left, right, "amount") == (2, 1)
    assert [one.rule_id for one in pair.open_conflicts()] == ["amount"]
