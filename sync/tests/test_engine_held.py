"""What a person holds, includes again or releases, and what they are told of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import Retry
from connections.connectors.memory import US
from connections.models import Connection
from sync import approval, instructions, retrying, schema_watch
from sync.models import ChangedRecord, Conflict, Cursor, Link, MappingState, Operation
from sync.tests.conftest import Pair, rule
from sync.tests.engine_cases import LONG_AGO, no_answer, once
from sync.tests.test_asked import unclear_create
from sync.tests.test_engine_deletions import bring_back, on_delete, some_runs
from sync.tests.test_engine_edited_creates import LONG, REQUIRED

pytestmark = pytest.mark.django_db


def held_by_a_brake(pair: Pair, user: Any) -> None:
    """More new records than the brake lets through; somebody holds them all."""
    for number in range(3):
        pair.left.add(title=f"new {number}", ref=f"new {number}")
    pair.run()
    assert MappingState.objects.get().halt == "brake"
    approval.hold(pair.mapping, "not these", user)


def titles(pair: Pair) -> list[str]:
    return sorted(one.values["title"] for one in pair.right.alive().values())


def test_a_record_of_ours_that_was_forgotten_is_asked_about_once_it_is_included(pair: Pair, admin_user: Any) -> None:
    pair.publish(brakes={"create": [1, 0.0]})
    ours = pair.left.add(by=US, correlation_key="syncadmin-of-a-lost-row", title="forgotten")
    held_by_a_brake(pair, admin_user)
    approval.include(Link.objects.get(left_id=ours), admin_user)
    pair.quiet()
    assert titles(pair) == [] and [one.code for one in pair.open_conflicts()] == ["made_by_us"]


@pytest.mark.parametrize("ref", [None, "R9"])
def test_what_our_unanswered_create_made_is_not_copied_back_once_it_is_included(
    pair: Pair, admin_user: Any, ref: str | None
) -> None:
    pair.left.capabilities = replace(pair.left.capabilities, update_timeout=60)
    pair.publish(brakes={"create": [1, 0.0]})
    pair.right.add(title="nine", ref=ref)
    once(pair.left, "create", no_answer, "after")
    pair.run()
    [made] = pair.left.records
    pair.ring("left", made)
    held_by_a_brake(pair, admin_user)
    an_hour_ago = timezone.now() - timedelta(hours=1)
    Operation.objects.filter(state="uncertain").update(not_before=an_hour_ago, claimed_at=an_hour_ago)
    some_runs(pair)
    approval.include(Link.objects.get(left_id=made), admin_user)
    some_runs(pair)
    assert titles(pair) == ["nine"]


def test_a_record_that_a_person_is_asked_about_is_not_held_beside_its_question(pair: Pair, admin_user: Any) -> None:
    pair.publish(brakes={"create": [1, 0.0]})
    first, _ = (pair.right.add(title=title, ref="same") for title in "xy")
    left = pair.left.add(title="z", ref="same")
    pair.quiet()
    pair.left.edit(left, body="edited")
    held_by_a_brake(pair, admin_user)
    pair.quiet()
    [question] = [one for one in pair.open_conflicts() if one.subject == f"left:{left}"]
    instructions.link_by_hand(question, left, first, admin_user)
    pair.quiet()
    assert Link.objects.get(left_id=left).right_id == first


@pytest.mark.parametrize("released", [False, True])
def test_who_lets_some_deletions_go_does_not_say_that_a_side_is_empty(
    pair: Pair, admin_user: Any, released: bool
) -> None:
    on_delete(pair, "delete")
    pair.publish(brakes={"delete": [2, 0.0]})
    for number in range(5):
        pair.left.add(title=f"t{number}", ref=f"r{number}")
        pair.right.add(title=f"t{number}", ref=f"r{number}")
    pair.quiet()
    pair.left.capabilities = replace(pair.left.capabilities, lists_deletions=False)
    if released:
        for one in sorted(pair.left.alive())[:3]:
            pair.left.remove(one)
            pair.ring("left", one, deleted=True)
        pair.run()
        approval.release(pair.mapping, 3, "these three", admin_user)
        pair.quiet()
    there = len(pair.right.alive())
    pair.left.records.clear()  # the account does not see anything any more
    Cursor.objects.update(swept_at=None)
    MappingState.objects.update(next_poll_at=None)
    assert pair.run().code == "side_empty"
    assert len(pair.right.alive()) == there == (2 if released else 5)


def test_a_first_run_that_broke_off_lists_anew_under_another_version(pair: Pair, admin_user: Any) -> None:
    def scope(values: dict[str, Any]) -> None:
        pair.publish(left={**pair.mapping.published.document["left"], "scope": values})

    def broken() -> None:
        raise Retry("gone for a moment", after=0)

    MappingState.objects.all().delete()
    scope({"owner": "x"})
    pair.left.add(title="in", ref="1", owner="x")
    pair.left.add(title="let in later", ref="2", owner="y")
    for external_id, record in pair.left.records.items():
        pair.left.records[external_id] = replace(record, updated_at=LONG_AGO)
    once(pair.left, "get", broken)  # the lists were read, the preview breaks off
    pair.run()
    scope({})
    Connection.objects.update(retry_after=None, down_since=None, failures=0)
    assert pair.run().state == "approval"
    approval.approve(pair.mapping, admin_user)
    pair.quiet()
    assert titles(pair) == ["in", "let in later"]


def test_a_create_that_is_told_as_refused_is_not_made_later(pair: Pair, admin_user: Any) -> None:
    link = unclear_create(pair)
    pair.right.change("ref", required=True)  # nothing fills it: creates are held
    schema_watch.look_soon(pair.mapping)
    pair.left.edit(link.left_id or "", body="edit")
    some_runs(pair)
    asked = instructions.ask(link, "recreate", {}, admin_user)
    pair.run()
    asked.refresh_from_db()
    there = len(pair.right.records)
    assert asked.state == "refused"
    pair.right.change("ref", required=False)
    schema_watch.look_soon(pair.mapping)
    some_runs(pair)
    assert len(pair.right.records) == there
    assert [one.kind for one in pair.open_conflicts() if one.link_id] == [Conflict.Kind.UNCERTAIN_CREATE]


def test_a_refused_create_whose_record_was_deleted_and_is_back_is_tried_and_asked_about_again(pair: Pair) -> None:
    pair.publish(rules=[rule("title", "title", right=REQUIRED)])
    left = pair.left.add(title=LONG)
    pair.quiet()
    assert [one.code for one in pair.open_conflicts()] == ["create_refused"]
    pair.left.remove(left)
    pair.quiet()
    assert not pair.open_conflicts()
    bring_back(pair.left, left)
    pair.ring("left", left)
    pair.quiet()
    assert [one.code for one in pair.open_conflicts()] == ["create_refused"]


def test_what_goes_with_a_twin_and_an_answer_to_another_field_of_it_are_two_calls(pair: Pair, admin_user: Any) -> None:
    pair.publish(rules=[rule("title", "title"), rule("body", "body", right={"max_length": 5})])
    pair.left.add(title="t", body=LONG)
    answers = []

    def meanwhile(verb: str, ids: Any) -> None:
        if verb != "create" or Operation.objects.filter(kind="create").count() != 2 or answers:
            return
        [question] = [one for one in pair.open_conflicts() if one.rule_id == "body"]
        retrying.edit(Link.objects.get(), "title", "right", "typed", {"left": "t", "right": None}, "ana")
        seen = {"left": question.left_value, "right": question.right_value}
        fits = {"take": "value", "in": "right", "value": "fits", "seen": seen}
        answers.append((question, instructions.resolve(question, fits, admin_user)))

    pair.right.before = meanwhile
    pair.run()
    pair.right.before = lambda *_: None
    pair.quiet()
    [(question, answer)] = answers
    question.refresh_from_db()
    answer.refresh_from_db()
    assert (answer.state, question.closed_by) == ("done", "admin")
    [twin] = pair.right.records.values()
    assert (twin.values["title"], twin.values["body"]) == ("typed", "fits")


def test_an_undo_of_an_undo_leaves_no_difference(pair: Pair, admin_user: Any) -> None:
    left, right, link = pair.linked(body="b")
    pair.left.edit(left, body="L")
    pair.quiet()
    for said in (("L", "b"), ("L", "L")):
        instructions.undo(Operation.objects.filter(state="confirmed", kind="update").latest("pk"), admin_user)
        pair.quiet()
        link.refresh_from_db()
        assert pair.both(left, right, "body") == said
        assert link.agreed_differences == ({"body": True} if said == ("L", "b") else {})


def test_what_others_sent_with_a_twin_is_read_under_the_lock(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.publish(rules=[rule("title", "title", right=REQUIRED)])
    pair.left.add(title=LONG)
    pair.quiet()
    order: list[str] = []
    lock, read = retrying.hints.lock, retrying._under_way
    monkeypatch.setattr(retrying.hints, "lock", lambda pk: (order.append("lock"), lock(pk))[1])
    monkeypatch.setattr(retrying, "_under_way", lambda link: (order.append("read"), read(link))[1])
    retrying.edit(Link.objects.get(), "title", "right", "short", {"left": LONG, "right": None}, "ana")
    assert order[:2] == ["lock", "read"]
    assert ChangedRecord.objects.exists()
