"""Fields that reach a value in several calls, and several calls for one record: crashes and edits in between."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import Refused, Retry, Uncertain
from sync import instructions
from sync.models import AuditEntry, ChangedRecord, Conflict, Link, MappingState, Operation
from sync.tests.conftest import DEFAULT_RULES, Pair, rule
from sync.tests.engine_cases import once

pytestmark = pytest.mark.django_db

WAY = ["new", "open", "doing", "done"]


def step(now: Any, wanted: Any) -> Any:
    """The next status on the way; an unknown one begins at the front."""
    here, there = (WAY.index(one) if one in WAY else 0 for one in (now, wanted))
    return WAY[here + (there > here) - (there < here)]


def with_steps(pair: Pair, **status: Any) -> None:
    """On the right the status is a call of its own and moves one step at a time."""
    mine = rule("status", "status", "option", right={"separate_write": True}, **status)
    pair.publish(rules=[mine if one["id"] == "status" else one for one in DEFAULT_RULES])
    pair.right.ways = {"status": step}


def runs(pair: Pair, times: int = 8) -> None:
    """Runs that read no lists: only hints bring a record back."""
    for _ in range(times):
        ChangedRecord.objects.filter(attempts=0).update(not_before=timezone.now())
        pair.run("live")


def statuses(pair: Pair, right: str) -> list[Any]:
    return [line.after for line in pair.right.log if (line.external_id, line.field) == (right, "status")][1:]


def test_a_status_goes_its_way_step_by_step(pair: Pair) -> None:
    with_steps(pair)
    left, right, _ = pair.linked(status="new")
    pair.left.edit(left, status="done", body="with it")
    pair.ring("left", left)
    runs(pair)
    assert statuses(pair, right) == ["open", "doing", "done"]
    assert pair.left.value(left, "status") == "done" and pair.right.value(right, "body") == "with it"
    assert not ChangedRecord.objects.exists() and not Conflict.objects.exists()


def test_a_new_record_gets_its_status_without_a_poll(pair: Pair) -> None:
    with_steps(pair)
    left = pair.left.add(title="x", status="doing")
    pair.ring("left", left)
    runs(pair)
    link = Link.objects.get()
    assert pair.right.value(link.right_id, "status") == "doing" and pair.left.value(left, "status") == "doing"


def test_a_worker_killed_between_two_steps_goes_on_from_where_it_was(pair: Pair) -> None:
    with_steps(pair)
    left, right, _ = pair.linked(status="new")
    pair.left.edit(left, status="done")
    pair.ring("left", left)

    def lose(verb: str, ids: Any) -> None:
        if verb == "update":
            pair.right.after = lambda *_: None
            MappingState.objects.update(fence=999)

    pair.right.after = lose
    assert pair.run("live").state == "lost"
    MappingState.objects.update(lease_until=None)
    runs(pair)
    assert statuses(pair, right) == ["open", "doing", "done"] and not Conflict.objects.exists()


def test_an_edit_after_the_lost_step_is_not_taken_for_our_own(pair: Pair) -> None:
    with_steps(pair)
    left, right, _ = pair.linked(status="new")
    pair.left.edit(left, status="done")
    pair.ring("left", left)

    def lose(verb: str, ids: Any) -> None:
        if verb == "update":
            pair.right.after = lambda *_: None
            pair.right.edit(right, by="bob", status="new")
            raise Uncertain("no answer")

    pair.right.after = lose
    runs(pair)
    assert pair.right.value(right, "status") == "new", "somebody set it back on purpose"
    assert [(one.left_value, one.right_value) for one in pair.open_conflicts()] == [("done", "new")]


def test_an_edit_between_two_steps_asks(pair: Pair) -> None:
    with_steps(pair)
    left, right, _ = pair.linked(status="new")
    pair.left.edit(left, status="done")
    pair.ring("left", left)

    def edit(verb: str, ids: Any) -> None:
        if verb == "update":
            pair.right.after = lambda *_: None
            pair.right.edit(right, by="bob", status="new")

    pair.right.after = edit
    runs(pair)
    assert statuses(pair, right) == ["open", "new"] and len(pair.open_conflicts()) == 1


@pytest.mark.parametrize(
    "choice, left_in_the_end, right_in_the_end",
    [
        ({"take": "left"}, "done", "done"),
        ({"take": "value", "value": "doing", "in": "right"}, "doing", "doing"),
    ],
)
def test_a_persons_choice_goes_the_whole_way(
    pair: Pair, admin_user: Any, choice: dict[str, Any], left_in_the_end: str, right_in_the_end: str
) -> None:
    with_steps(pair)
    left, right, _ = pair.linked(status="open")
    pair.left.edit(left, status="done")
    pair.right.edit(right, status="new")
    pair.quiet()
    (conflict,) = pair.open_conflicts()
    asked = instructions.resolve(conflict, {**choice, "seen": {"left": "done", "right": "new"}}, admin_user)
    runs(pair)
    conflict.refresh_from_db()
    asked.refresh_from_db()
    assert pair.both(left, right, "status") == (left_in_the_end, right_in_the_end)
    assert (asked.state, conflict.state, conflict.closed_by) == ("done", "closed", "admin")


def test_an_undo_goes_the_whole_way_back(pair: Pair, admin_user: Any) -> None:
    with_steps(pair)
    left, right, _ = pair.linked(status="new")
    pair.left.edit(left, status="done")
    pair.quiet()
    last = Operation.objects.filter(state="confirmed").order_by("-pk")[0]
    last.fields["status"]["before"] = "new"
    last.save()
    asked = instructions.undo(last, admin_user)
    runs(pair)
    asked.refresh_from_db()
    assert pair.both(left, right, "status") == ("done", "new") and asked.state == "done"


def test_a_one_way_rule_that_writes_again_goes_the_whole_way(pair: Pair) -> None:
    with_steps(pair, direction="to_right", one_way_target="enforce")
    left, right, _ = pair.linked(status="done")
    pair.right.edit(right, status="new")
    pair.ring("right", right)
    runs(pair)
    assert pair.right.value(right, "status") == "done"


def test_a_first_meeting_goes_the_whole_way(pair: Pair) -> None:
    with_steps(pair, initial="left")
    left = pair.left.add(title="x", ref="R1", status="done")
    right = pair.right.add(title="x", ref="R1", status="new")
    pair.ring("left", left)
    pair.ring("right", right)
    runs(pair)
    assert pair.both(left, right, "status") == ("done", "done") and not Conflict.objects.exists()


def test_many_steps_there_and_back_are_no_oscillation(pair: Pair) -> None:
    with_steps(pair)
    left, right, _ = pair.linked(status="new")
    for wanted in ("done", "new", "done"):
        pair.left.edit(left, status=wanted)
        pair.ring("left", left)
        runs(pair)
        assert pair.right.value(right, "status") == wanted
    assert not Conflict.objects.exists()


# Several calls for one record. -----------------------------------------------------------------------------------


def test_a_refused_part_does_not_hold_up_the_other(pair: Pair) -> None:
    with_steps(pair)
    left, right, _ = pair.linked(status="new", body="b")

    def refuse(verb: str, ids: Any) -> None:
        if verb == "update":
            pair.right.before = lambda *_: None
            raise Refused("No.", {"body": "not this body"})

    pair.right.before = refuse
    pair.left.edit(left, status="open", body="refused")
    pair.ring("left", left)
    runs(pair)
    assert pair.right.value(right, "status") == "open"
    assert [(one.rule_id, one.kind) for one in pair.open_conflicts()] == [("body", "refused")]


def test_a_part_that_has_to_wait_does_not_forget_the_other(pair: Pair) -> None:
    with_steps(pair)
    left, right, _ = pair.linked(status="new", body="b")

    def busy(verb: str, ids: Any) -> None:
        if verb == "update":
            pair.right.before = lambda *_: None
            raise Retry("busy", after=0)

    pair.right.before = busy
    pair.left.edit(left, status="open", body="new")
    pair.ring("left", left)
    runs(pair, 2)
    ChangedRecord.objects.update(attempts=0)
    runs(pair)
    assert pair.both(left, right, "status") == ("open", "open") and pair.right.value(right, "body") == "new"


def test_the_second_part_expects_the_version_that_the_first_one_left(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, conditional_write=True, exact_version=True)
    with_steps(pair)
    left, right, _ = pair.linked(status="new", body="b")
    pair.left.edit(left, status="open", body="new")
    pair.ring("left", left)
    runs(pair)
    assert pair.both(left, right, "status") == ("open", "open") and pair.right.value(right, "body") == "new"
    assert not Operation.objects.filter(result__code="version_moved").exists()


def test_an_edit_seen_only_in_a_read_back_is_carried_without_a_bell(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b", title="t")
    pair.left.edit(left, body="new")
    pair.ring("left", left)

    def edit(verb: str, ids: Any) -> None:
        if verb == "update":
            pair.right.before = lambda *_: None
            pair.right.edit(right, title="theirs")

    pair.right.before = edit
    runs(pair)
    assert pair.both(left, right, "title") == ("theirs", "theirs")


# What a history proves. ------------------------------------------------------------------------------------------


def test_an_older_own_write_of_the_same_value_proves_nothing(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="A")
    pair.quiet()
    pair.right.edit(right, by="bob", body="B")
    pair.quiet()
    pair.left.edit(left, body="A")
    pair.ring("left", left)

    def never_arrived(verb: str, ids: Any) -> None:
        if verb == "update":
            pair.right.before = lambda *_: None
            raise Uncertain("no answer")

    pair.right.before = never_arrived
    runs(pair)
    assert pair.both(left, right, "body") == ("A", "A"), "the older A on the right was not this write"


def answer_lost_and_then_edited(pair: Pair, right: str, **values: Any) -> None:
    """The next update on the right takes effect without an answer, and somebody edits the field right after."""

    def lost(verb: str, ids: Any) -> None:
        if verb == "update":
            pair.right.after = lambda *_: None
            pair.right.edit(right, by="ana", **values)
            raise Uncertain("no answer")

    pair.right.after = lost


def written(link: Link, field: str) -> list[tuple[Any, Any]]:
    """(before, after) of our writes to a field on the right, as the audit log tells them."""
    entries = AuditEntry.objects.filter(link_id=link.pk, action="write", side="right", field_label=field).order_by("pk")
    return [(entry.values["before"], entry.values["after"]) for entry in entries]


def test_the_log_tells_what_we_wrote_and_not_what_somebody_wrote_before_we_looked(pair: Pair) -> None:
    left, right, link = pair.linked(body="b")
    pair.left.edit(left, body="ours")
    pair.ring("left", left)
    answer_lost_and_then_edited(pair, right, body="hers")
    pair.run("live")
    Operation.objects.update(claimed_at=timezone.now() - timedelta(minutes=5))
    runs(pair)
    assert written(link, "Body") == [("b", "ours")]
    assert pair.both(left, right, "body") == ("hers", "hers")


def test_an_edit_right_after_an_undo_crosses(pair: Pair) -> None:
    left, right, link = pair.linked(body="b")
    pair.left.edit(left, body="ours")
    pair.quiet()
    instructions.undo(Operation.objects.get(state="confirmed", side="right"), "ana")
    answer_lost_and_then_edited(pair, right, body="hers")
    pair.run("live")
    Operation.objects.update(claimed_at=timezone.now() - timedelta(minutes=5))
    runs(pair)
    assert written(link, "Body") == [("b", "ours"), ("ours", "b")]
    assert pair.both(left, right, "body") == ("hers", "hers")


def test_closing_a_twin_that_was_not_answered_is_done_in_the_end(pair: Pair) -> None:
    document = pair.mapping.published.document
    pair.publish(
        left={**document["left"], "on_delete": "close"}, right={**document["right"], "close_values": {"status": "shut"}}
    )
    left, right, link = pair.linked(status="open")
    pair.left.remove(left)
    pair.ring("left", left)

    def never_arrived(verb: str, ids: Any) -> None:
        if verb == "update":
            pair.right.before = lambda *_: None
            raise Uncertain("no answer")

    pair.right.before = never_arrived
    pair.run("live")
    Operation.objects.update(claimed_at=timezone.now() - timedelta(minutes=5))
    runs(pair)
    link.refresh_from_db()
    assert pair.right.value(right, "status") == "shut" and link.state == "deleted"


@pytest.mark.parametrize("direction", ["both", "to_right"])
@pytest.mark.parametrize("refused", [False, True])
def test_what_is_set_back_between_two_steps_is_set_back_over_there(pair: Pair, direction: str, refused: bool) -> None:
    with_steps(pair, direction=direction)
    left, right, _ = pair.linked(status="new")

    def refuse(verb: str, ids: Any) -> None:
        if verb == "update" and pair.right.value(right, "status") == "doing":
            raise Refused("Set a resolution first.", {"status": "set a resolution first"})

    if refused:
        pair.right.before = refuse
    else:
        once(pair.right, "update", lambda: pair.left.edit(left, status="new"), when="after")
    pair.left.edit(left, status="done")
    pair.ring("left", left)
    runs(pair)
    if refused:
        assert pair.right.value(right, "status") == "doing"
        pair.right.before = lambda *_: None
        pair.left.edit(left, status="new")
        pair.ring("left", left)
        runs(pair)
    assert pair.both(left, right, "status") == ("new", "new") and not pair.open_conflicts()
