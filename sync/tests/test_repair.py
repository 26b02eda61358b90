"""Differences repaired: the preview tells what the plan then does, and only from values that are still there."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from sync import instructions, repair
from sync.models import AuditEntry, Conflict, Instruction, Link, Operation, Verification, VerifiedDifference
from sync.tests.conftest import Pair, rule
from sync.tests.pair_cases import PRIORITY
from sync.tests.verify_cases import drift, pairs, put, verified

pytestmark = pytest.mark.django_db


@pytest.fixture
def found(pair: Pair) -> VerifiedDifference:
    """One pair that drifted: the left says b, the right says drifted."""
    (link,) = pairs(pair, 1, body="b")
    drift(pair, link)
    verified(pair)
    return VerifiedDifference.objects.get()


def asked(one: VerifiedDifference, take: str, user: Any) -> tuple[int, int]:
    verification = Verification.objects.select_related("mapping__published").get(pk=one.verification_id)
    return repair.ask_repairs(verification, [one.pk], take, user)


def previewed(one: VerifiedDifference, take: str) -> repair.Repair:
    verification = Verification.objects.select_related("mapping__published").get(pk=one.verification_id)
    (shown,) = repair.preview(verification, [one], take)
    return shown


def outcome(one: VerifiedDifference) -> str:
    return repair.outcome_of(VerifiedDifference.objects.select_related("instruction").get(pk=one.pk))


def bodies(pair: Pair, one: VerifiedDifference) -> tuple[Any, Any]:
    return pair.both(one.link.left_id or "", one.link.right_id or "", "body")


@pytest.mark.parametrize("take, value", [("left", "b"), ("right", "drifted")])
def test_a_repair_writes_one_side_s_value_and_both_agree_again(
    pair: Pair, found: VerifiedDifference, admin_user: Any, take: str, value: str
) -> None:
    shown = previewed(found, take)
    assert (shown.side, shown.after, shown.why_not) == ("right" if take == "left" else "left", value, "")
    assert asked(found, take, admin_user) == (1, 0)
    assert outcome(found) == "waiting"
    assert bodies(pair, found) == ("b", "drifted")  # nothing is written but by the run
    pair.quiet()
    assert bodies(pair, found) == (value, value)
    assert outcome(found) == "done"
    assert verified(pair).counts["equal"] == 1


def test_a_repair_is_audited_with_its_author_and_the_values(
    pair: Pair, found: VerifiedDifference, admin_user: Any
) -> None:
    asked(found, "left", admin_user)
    pair.quiet()
    (request,) = AuditEntry.objects.filter(action="ask")
    (write,) = AuditEntry.objects.filter(action="write")
    assert request.request_id == write.request_id
    assert (write.code, write.actor, write.values) == ("repaired", "admin", {"before": "drifted", "after": "b"})


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_field_that_moved_since_is_not_repaired(
    pair: Pair, found: VerifiedDifference, admin_user: Any, side: str
) -> None:
    world = pair.left if side == "left" else pair.right
    put(world, found.link.record_id(side), body="somebody's newer edit")
    asked(found, "left", admin_user)
    pair.quiet()
    assert outcome(found) == "stale"
    assert "somebody's newer edit" in bodies(pair, found)
    assert not AuditEntry.objects.filter(code="repaired").exists()


def test_a_value_without_a_counterpart_is_not_offered_and_never_written(pair: Pair, admin_user: Any) -> None:
    pair.publish(rules=[rule("title", "title"), PRIORITY])
    (link,) = pairs(pair, 1)
    put(pair.left, link.left_id, status="Odd")
    put(pair.right, link.right_id, status="P1")
    link.left_bases["prio"], link.right_bases["prio"] = "Odd", "P1"
    link.save()
    verified(pair)
    one = VerifiedDifference.objects.get()
    assert previewed(one, "left").why_not == "“Odd” has no counterpart in the value map."
    assert asked(one, "left", admin_user) == (0, 1)
    assert previewed(one, "right").after == "High"
    assert asked(one, "right", admin_user) == (1, 0)
    pair.quiet()
    assert pair.both(link.left_id or "", link.right_id or "", "status") == ("High", "P1")


def test_a_one_way_rule_is_repaired_along_its_direction_only(pair: Pair, admin_user: Any) -> None:
    pair.publish(rules=[rule("title", "title"), rule("body", "body", direction="to_right")])
    (link,) = pairs(pair, 1, body="b")
    drift(pair, link)
    verified(pair)
    one = VerifiedDifference.objects.get()
    assert previewed(one, "right").why_not == "The rule does not write to that side."
    assert asked(one, "right", admin_user) == (0, 1)
    assert asked(one, "left", admin_user) == (1, 0)
    pair.quiet()
    assert bodies(pair, one) == ("b", "b")


def test_a_direction_taken_away_after_the_preview_is_refused_and_asks_nothing(
    pair: Pair, found: VerifiedDifference, admin_user: Any
) -> None:
    asked(found, "right", admin_user)
    pair.publish(rules=[rule("title", "title"), rule("body", "body", direction="to_right")])
    pair.quiet()
    assert outcome(found) == "refused"
    assert bodies(pair, found) == ("b", "drifted")
    assert not Conflict.objects.exists()
    assert Link.objects.get().agreed_differences == {}
    assert Instruction.objects.get().outcome == {"body": "refused", "why": "direction_forbids"}


def test_a_rule_that_is_gone_is_not_offered(pair: Pair, found: VerifiedDifference, admin_user: Any) -> None:
    pair.publish(rules=[rule("title", "title")])
    assert "no such rule" in previewed(found, "left").why_not
    assert asked(found, "left", admin_user) == (0, 1)


def test_an_agreed_difference_can_be_ended(pair: Pair, admin_user: Any) -> None:
    (link,) = pairs(pair, 1, body="b")
    drift(pair, link)
    Link.objects.update(agreed_differences={"body": True})
    verified(pair)
    one = VerifiedDifference.objects.get()
    assert one.kind == "agreed"
    asked(one, "left", admin_user)
    pair.quiet()
    assert bodies(pair, one) == ("b", "b")
    assert Link.objects.get().agreed_differences == {}


def test_what_was_asked_for_is_not_asked_for_twice(pair: Pair, found: VerifiedDifference, admin_user: Any) -> None:
    assert asked(found, "left", admin_user) == (1, 0)
    assert asked(found, "right", admin_user) == (0, 1)
    pair.quiet()
    assert asked(found, "right", admin_user) == (0, 1)
    assert Instruction.objects.count() == 1


def test_a_record_that_is_not_there_has_nothing_to_take(pair: Pair, admin_user: Any) -> None:
    (link,) = pairs(pair, 1)
    del pair.right.records[link.right_id or ""]
    verified(pair)
    one = VerifiedDifference.objects.get()
    assert "not there" in previewed(one, "left").why_not
    assert asked(one, "left", admin_user) == (0, 1)


def test_a_pair_unlinked_since_is_left_alone(pair: Pair, found: VerifiedDifference, admin_user: Any) -> None:
    Link.objects.update(state=Link.State.UNLINKED)
    found.link.refresh_from_db()
    assert previewed(found, "left").why_not == "The pair is unlinked by now."
    assert asked(found, "left", admin_user) == (0, 1)


def test_two_fields_of_a_pair_are_one_instruction(pair: Pair, admin_user: Any) -> None:
    (link,) = pairs(pair, 1, body="b", amount=1)
    drift(pair, link)
    drift(pair, link, "amount", 2)
    one = verified(pair)
    keys = list(VerifiedDifference.objects.values_list("pk", flat=True))
    assert repair.ask_repairs(one, keys, "right", admin_user) == (2, 0)
    assert set(Instruction.objects.get().choices) == {"body", "amount"}
    pair.quiet()
    assert pair.left.records[link.left_id or ""].values["body"] == "drifted"
    assert pair.left.records[link.left_id or ""].values["amount"] == 2


def test_a_repair_is_not_told_as_done_where_a_later_answer_took_its_place(pair: Pair, admin_user: Any) -> None:
    (link,) = pairs(pair, 1, body="b", amount=1)
    drift(pair, link)
    drift(pair, link, "amount", 2)
    one = verified(pair)
    found = list(VerifiedDifference.objects.order_by("rule_id"))
    repair.ask_repairs(one, [difference.pk for difference in found], "right", admin_user)
    choice = {"take": "left", "seen": {"left": "b", "right": "drifted"}}
    instructions.ask(link, "resolve", {"body": choice}, admin_user)
    pair.quiet()
    assert [(difference.rule_id, outcome(difference)) for difference in found] == [
        ("amount", "done"),
        ("body", "stale"),
    ]


def test_a_question_that_opened_meanwhile_is_answered_by_the_repair(
    pair: Pair, found: VerifiedDifference, admin_user: Any
) -> None:
    Conflict.objects.create(mapping=pair.mapping, link=found.link, rule_id="body", kind="field", code="both_changed")
    asked(found, "left", admin_user)
    assert Conflict.objects.get().state == "resolving"
    pair.quiet()
    assert Conflict.objects.get().state == "closed"


def test_brakes_hold_repairs_like_any_other_writes(pair: Pair, admin_user: Any) -> None:
    pair.publish(brakes={"update": [2, 0.0]})
    for link in pairs(pair, 5, body="b"):
        drift(pair, link)
    one = verified(pair)
    keys = list(VerifiedDifference.objects.values_list("pk", flat=True))
    repair.ask_repairs(one, keys, "left", admin_user)
    assert pair.run().state == "halted"
    assert not Operation.objects.exists()
    assert set(Instruction.objects.values_list("state", flat=True)) == {"waiting"}


def test_statements_do_not_grow_with_the_repairs(pair: Pair, admin_user: Any) -> None:
    for link in pairs(pair, 44, body="b"):
        drift(pair, link)
    one = verified(pair)
    keys = list(VerifiedDifference.objects.values_list("pk", flat=True))
    taken = []
    for chosen in (keys[:4], keys[4:]):
        with CaptureQueriesContext(connection) as queries:
            assert repair.ask_repairs(one, chosen, "left", admin_user) == (len(chosen), 0)
        taken.append(len(queries))
    assert taken[1] <= taken[0] < 30
