"""What people ask is carried out, or they are told that it was not; nothing they ask waits for ever."""

from __future__ import annotations

from typing import Any

import pytest

from connections.connectors.base import Refused
from sync import approval, instructions
from sync.models import AuditEntry, Conflict, Instruction, Link, Operation
from sync.tests.conftest import DEFAULT_RULES, Pair
from sync.tests.engine_cases import once

pytestmark = pytest.mark.django_db


@pytest.fixture
def conflict(pair: Pair) -> Conflict:
    left, right, _ = pair.linked(body="b", status="open")
    pair.left.edit(left, body="L")
    pair.right.edit(right, body="R")
    pair.quiet()
    return pair.open_conflicts()[0]


def ended(pair: Pair, asked: Instruction, conflict: Conflict) -> tuple[str, str]:
    pair.quiet()
    asked.refresh_from_db()
    conflict.refresh_from_db()
    return asked.state, conflict.state


def refused() -> None:
    raise Refused("no", {"title": "no"})


TAKE_LEFT = {"take": "left", "seen": {"left": "L", "right": "R"}}


def test_a_choice_about_a_record_out_of_scope_is_refused_and_the_question_stays(
    pair: Pair, conflict: Conflict, admin_user: Any
) -> None:
    pair.publish(left={**pair.mapping.published.document["left"], "scope": {"status": "open"}})
    pair.left.edit(conflict.link.left_id, status="closed")
    asked = instructions.resolve(conflict, TAKE_LEFT, admin_user)
    assert ended(pair, asked, conflict) == ("refused", "open")
    assert asked.outcome["why"] == "out_of_scope"


def test_a_choice_about_a_deleted_record_is_refused_and_the_question_stays(
    pair: Pair, conflict: Conflict, admin_user: Any
) -> None:
    pair.left.remove(conflict.link.left_id)
    asked = instructions.resolve(conflict, TAKE_LEFT, admin_user)
    assert ended(pair, asked, conflict) == ("refused", "open")
    assert pair.right.value(conflict.link.right_id, "body") == "R"


def test_a_choice_about_a_rule_that_is_off_is_refused_and_the_question_stays(
    pair: Pair, conflict: Conflict, admin_user: Any
) -> None:
    rules = [rule for rule in pair.mapping.published.document["rules"] if rule["id"] != "body"]
    pair.publish(rules=rules)
    asked = instructions.resolve(conflict, TAKE_LEFT, admin_user)
    assert ended(pair, asked, conflict) == ("refused", "open")


def test_a_choice_about_a_held_pair_writes_that_field_and_nothing_else(
    pair: Pair, conflict: Conflict, admin_user: Any
) -> None:
    Link.objects.update(state="held")
    pair.left.edit(conflict.link.left_id, title="waits")
    asked = instructions.resolve(conflict, TAKE_LEFT, admin_user)
    assert ended(pair, asked, conflict) == ("done", "closed")
    right = conflict.link.right_id or ""
    assert (pair.right.value(right, "body"), pair.right.value(right, "title")) == ("L", "One")
    link = Link.objects.get()
    assert link.state == "held"
    approval.include(link, admin_user)
    pair.quiet()
    assert pair.right.value(right, "title") == "waits"


def test_a_choice_that_waits_when_the_pair_is_unlinked_is_refused(
    pair: Pair, conflict: Conflict, admin_user: Any
) -> None:
    asked = instructions.resolve(conflict, TAKE_LEFT, admin_user)
    unlinked = [instructions.ask(conflict.link, "unlink", {}, admin_user) for _ in range(2)]
    assert ended(pair, asked, conflict) == ("refused", "closed")
    for one in unlinked:
        one.refresh_from_db()
    assert [one.state for one in unlinked] == ["done", "done"]
    assert pair.right.value(conflict.link.right_id, "body") == "R"


def test_a_later_answer_to_one_field_leaves_what_was_asked_about_another(pair: Pair, admin_user: Any) -> None:
    pair.publish(rules=[{**one, "policy": {"kind": "review"}} for one in pair.mapping.published.document["rules"]])
    left, right, link = pair.linked(body="b", status="s")
    pair.left.edit(left, body="L", status="SL")
    pair.right.edit(right, body="R", status="SR")
    pair.quiet()
    status = {"take": "left", "seen": {"left": "SL", "right": "SR"}}
    first = instructions.ask(link, "resolve", {"body": TAKE_LEFT, "status": status}, "ana")
    instructions.ask(link, "resolve", {"body": {**TAKE_LEFT, "take": "right"}}, admin_user)
    told = AuditEntry.objects.get(code="answered_again")
    assert (told.actor, told.link_id) == ("admin", link.pk) and told.params == {"by": "ana", "fields": ["Body"]}
    pair.quiet()
    first.refresh_from_db()
    assert pair.both(left, right, "body") == ("R", "R")
    assert pair.both(left, right, "status") == ("SL", "SL"), "nobody took back what was said of the status"
    assert first.state == "done" and not pair.open_conflicts()


def test_a_later_answer_to_all_of_it_takes_the_place_of_an_earlier_one(
    pair: Pair, conflict: Conflict, admin_user: Any
) -> None:
    first = instructions.resolve(conflict, TAKE_LEFT, "ana")
    instructions.resolve(conflict, {**TAKE_LEFT, "take": "right"}, admin_user)
    first.refresh_from_db()
    assert (first.state, first.outcome) == ("stale", {"body": "superseded"})
    assert AuditEntry.objects.filter(code="answered_again").count() == 1
    pair.quiet()
    assert pair.left.value(conflict.link.left_id, "body") == "R"


def test_an_undo_of_one_field_leaves_what_was_asked_about_another(pair: Pair, admin_user: Any) -> None:
    pair.publish(rules=[{**one, "policy": {"kind": "review"}} for one in pair.mapping.published.document["rules"]])
    left, right, link = pair.linked(body="b", status="s")
    pair.left.edit(left, body="w")
    pair.quiet()
    write = Operation.objects.get(state="confirmed")
    pair.left.edit(left, body="L", status="SL")
    pair.right.edit(right, body="R", status="SR")
    pair.quiet()
    status = {"take": "left", "seen": {"left": "SL", "right": "SR"}}
    instructions.ask(link, "resolve", {"body": TAKE_LEFT, "status": status}, "ana")
    instructions.undo(write, admin_user)
    pair.quiet()
    assert pair.both(left, right, "status") == ("SL", "SL")


def test_what_goes_in_the_same_call_as_an_answer_is_not_told_as_answered_by_its_person(pair: Pair) -> None:
    pair.publish(rules=[{**one, "policy": {"kind": "review"}} for one in pair.mapping.published.document["rules"]])
    left, right, link = pair.linked(body="b", status="s")
    pair.left.edit(left, body="L", status="SL")
    pair.right.edit(right, body="R", status="SR")
    pair.quiet()
    pair.right.edit(right, body="b")  # of the two edits of the text one is left
    instructions.ask(link, "resolve", {"status": {"take": "left", "seen": {"left": "SL", "right": "SR"}}}, "rita")
    pair.quiet()
    write = Operation.objects.get(state="confirmed")
    assert {*write.fields} == {"body", "status"}, "one call"
    told = {one.field_label: one for one in AuditEntry.objects.filter(action__in=("resolve", "conflict_closed"))}
    assert (told["Status"].action, told["Status"].actor) == ("resolve", "rita")
    assert (told["Body"].action, told["Body"].code, told["Body"].actor) == ("conflict_closed", "moved", "")
    assert Conflict.objects.get(rule_id="body").closed_by == ""
    written = {one.field_label: one.request_id for one in AuditEntry.objects.filter(action="write")}
    assert written["Status"] and not written["Body"]


def test_including_a_held_pair_is_not_undone_by_a_run_that_looks_at_it(pair: Pair, admin_user: Any) -> None:
    left, right, link = pair.linked(body="b")
    Link.objects.update(state="held")
    link.refresh_from_db()
    pair.left.edit(left, body="new")

    def include_meanwhile(verb: str, ids: Any) -> None:
        if verb == "get":
            pair.left.before = lambda *_: None
            approval.include(link, admin_user)

    pair.left.before = include_meanwhile
    pair.quiet()
    assert Link.objects.get().state == "active" and pair.right.value(right, "body") == "new"


def test_a_field_that_cannot_be_read_for_a_while_keeps_its_question(pair: Pair, conflict: Conflict) -> None:
    pair.left.hidden = {"body"}
    pair.left.edit(conflict.link.left_id, title="other")
    for _ in range(3):
        pair.run()
    assert [one.pk for one in pair.open_conflicts()] == [conflict.pk]


def test_who_was_too_late_is_not_told_to_have_agreed(pair: Pair, conflict: Conflict, admin_user: Any) -> None:
    asked = instructions.resolve(conflict, TAKE_LEFT, admin_user)
    pair.left.edit(conflict.link.left_id, body="same")
    pair.right.edit(conflict.link.right_id, body="same")
    assert ended(pair, asked, conflict) == ("stale", "closed")
    told = AuditEntry.objects.get(action="agree", code="converged")
    assert (told.actor, told.actor_kind, told.params) == ("", "system", {})


def test_unlinking_a_pair_closes_all_its_questions(pair: Pair, conflict: Conflict, admin_user: Any) -> None:
    asked = instructions.ask(conflict.link, "unlink", {}, admin_user)
    assert ended(pair, asked, conflict) == ("done", "closed")


def test_a_pair_that_was_never_created_is_created_when_it_is_matched_again(pair: Pair, admin_user: Any) -> None:
    from connections.connectors.base import Refused

    def refuse(verb: str, ids: Any) -> None:
        if verb == "create":
            raise Refused("No creates today.")

    pair.right.before = refuse
    left = pair.left.add(title="x")
    pair.quiet()
    link = Link.objects.get()
    instructions.ask(link, "unlink", {}, admin_user)
    pair.quiet()
    link.refresh_from_db()
    assert (link.state, pair.open_conflicts()) == ("unlinked", [])
    pair.right.before = lambda *_: None
    refused = link.operations.count()
    instructions.match_again(link, admin_user)
    pair.quiet()
    link = Link.objects.get(left_id=left)
    assert link.state == "active" and link.right_id in pair.right.alive()
    assert link.operations.count() == refused + 1, "the ledger keeps what was refused before"


def test_an_undo_against_the_direction_is_refused_and_leaves_no_question(pair: Pair, admin_user: Any) -> None:
    left, right, _ = pair.linked(body="old", status="old")
    pair.right.edit(right, body="new", status="new")
    pair.quiet()
    rules = pair.mapping.published.document["rules"]
    pair.publish(rules=[{**one, "direction": "to_right"} if one["id"] == "body" else one for one in rules])
    undo = instructions.undo(Operation.objects.get(state="confirmed"), admin_user)
    pair.quiet()
    undo.refresh_from_db()
    assert (pair.left.value(left, "body"), pair.left.value(left, "status")) == ("new", "old"), "the other field is"
    assert undo.outcome == {"body": "refused", "why": "direction_forbids", "status": "done"}
    assert not pair.open_conflicts()


def lower_case(external_id: str, values: dict[str, Any], by: str) -> dict[str, Any]:
    """A system that keeps texts in lower case."""
    return {path: value.lower() if isinstance(value, str) else value for path, value in values.items()}


def test_what_the_system_makes_of_an_undo_stays_on_its_side(pair: Pair, admin_user: Any) -> None:
    left, right, link = pair.linked(body="Old")
    pair.left.edit(left, body="new")
    pair.quiet()
    pair.right.on_write = lower_case
    instructions.undo(Operation.objects.get(state="confirmed"), admin_user)
    pair.quiet()
    assert pair.both(left, right, "body") == ("new", "old"), "nobody asked for anything on the left"
    link.refresh_from_db()
    assert link.agreed_differences == {"body": True}
    pair.right.edit(right, body="newer")
    pair.quiet()
    assert pair.both(left, right, "body") == ("newer", "newer")


def test_sets_that_may_differ_still_may_after_an_edit_that_was_carried_over(pair: Pair, admin_user: Any) -> None:
    left, right, link = pair.linked(labels=["a"])
    pair.publish(rules=[{**one, "policy": {"kind": "review"}} for one in pair.mapping.published.document["rules"]])
    pair.left.edit(left, labels=["b"])
    pair.right.edit(right, labels=["c"])
    pair.quiet()
    [question] = pair.open_conflicts()
    seen = {"left": question.left_value, "right": question.right_value}
    instructions.resolve(question, {"take": "ignore", "seen": seen}, admin_user)
    pair.quiet()
    pair.left.edit(left, labels=["b", "d"])
    pair.quiet()
    link.refresh_from_db()
    assert pair.both(left, right, "labels") == (["b", "d"], ["c", "d"])
    assert link.agreed_differences == {"labels": True}, "they were let differ, and still do"
    pair.right.edit(right, labels=["b", "d"])
    pair.quiet()
    link.refresh_from_db()
    assert pair.both(left, right, "labels")[0] == pair.both(left, right, "labels")[1] and not link.agreed_differences


def answered_by_two(pair: Pair) -> tuple[Link, Instruction, Instruction]:
    """Ana answers what the title should say, Bo the body; both writes go to the right, at the same time."""
    pair.publish(rules=[{**one, "policy": {"kind": "review", "name": "Ask"}} for one in DEFAULT_RULES])
    left, right, link = pair.linked(title="t", body="b")
    pair.left.edit(left, title="T1", body="L")
    pair.right.edit(right, title="T2", body="R")
    pair.quiet()
    asked = [
        instructions.ask(link, "resolve", {"title": {"take": "left", "seen": {"left": "T1", "right": "T2"}}}, "ana"),
        instructions.ask(link, "resolve", {"body": TAKE_LEFT}, "bo"),
    ]
    return link, asked[0], asked[1]


def test_two_people_who_answer_about_one_pair_are_both_carried_out_and_told_apart(pair: Pair) -> None:
    link, *asked = answered_by_two(pair)
    pair.quiet()
    for one in asked:
        one.refresh_from_db()
        assert one.state == "done"
    assert pair.both(link.left_id, link.right_id, "title") == ("T1", "T1")
    assert pair.both(link.left_id, link.right_id, "body") == ("L", "L")
    told = AuditEntry.objects.filter(action="resolve").order_by("pk").values_list("actor", "field_label")
    assert list(told) == [("ana", "Title"), ("bo", "Body")]


def test_what_is_refused_to_one_of_them_is_not_refused_to_the_other(pair: Pair) -> None:
    link, ana, bo = answered_by_two(pair)
    once(pair.right, "update", refused)
    pair.quiet()
    ana.refresh_from_db()
    bo.refresh_from_db()
    assert (ana.state, bo.state) == ("refused", "done")
    assert pair.right.value(link.right_id, "body") == "L"
    assert [one.rule_id for one in pair.open_conflicts()] == ["title"]


def test_the_log_says_which_part_of_an_answer_came_too_late(pair: Pair) -> None:
    pair.publish(rules=[{**one, "policy": {"kind": "review", "name": "Ask"}} for one in DEFAULT_RULES])
    left, right, link = pair.linked(title="t", body="b")
    pair.left.edit(left, title="T1", body="L")
    pair.right.edit(right, title="T2", body="R")
    pair.quiet()
    before = {"take": "left", "seen": {"left": "T1", "right": "T2"}}
    instructions.ask(link, "resolve", {"title": before, "body": TAKE_LEFT}, "ana")
    pair.right.edit(right, title="T3")
    pair.quiet()
    assert pair.both(left, right, "title") == ("T1", "T3") and pair.both(left, right, "body") == ("L", "L")
    told = AuditEntry.objects.get(code="partly_stale")
    assert (told.actor, told.params) == ("ana", {"fields": ["Title"]})
