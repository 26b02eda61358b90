"""A rule that was out of force for a while: time stood still, and nothing people wrote meanwhile is lost."""

from __future__ import annotations

import pytest

from sync.models import Link
from sync.tests.conftest import DEFAULT_RULES, Pair

pytestmark = pytest.mark.django_db

WITHOUT_BODY = [one for one in DEFAULT_RULES if one["id"] != "body"]


def test_an_edit_made_while_its_rule_was_off_crosses_once_the_rule_is_back(pair: Pair) -> None:
    left, right, _ = pair.linked(body="agreed")
    pair.publish(rules=WITHOUT_BODY)
    pair.left.edit(left, body="meanwhile")
    pair.quiet()
    assert pair.both(left, right, "body") == ("meanwhile", "agreed")
    pair.publish(rules=DEFAULT_RULES)
    pair.quiet()
    assert pair.both(left, right, "body") == ("meanwhile", "meanwhile")


def test_edits_of_both_sides_made_meanwhile_are_asked_about(pair: Pair) -> None:
    left, right, _ = pair.linked(body="agreed")
    pair.publish(rules=WITHOUT_BODY)
    pair.left.edit(left, body="left")
    pair.right.edit(right, body="right")
    pair.quiet()
    pair.publish(rules=DEFAULT_RULES)
    pair.quiet()
    assert [(one.rule_id, one.kind) for one in pair.open_conflicts()] == [("body", "field")]


def test_a_new_rule_leaves_what_nobody_edits_as_it_is(pair: Pair) -> None:
    pair.publish(rules=WITHOUT_BODY)
    left, right, _ = pair.linked(body="same")
    pair.left.edit(left, body="differs")
    pair.quiet()
    new = [*WITHOUT_BODY, {**next(one for one in DEFAULT_RULES if one["id"] == "body"), "id": "new"}]
    pair.publish(rules=new)
    pair.quiet()
    assert pair.both(left, right, "body") == ("differs", "same")


def test_a_twin_that_holds_an_unanswered_question_is_not_deleted(pair: Pair) -> None:
    document = pair.mapping.published.document
    pair.publish(left={**document["left"], "on_delete": "delete"})
    left = pair.left.add(title="One", ref="R1", body="left's")
    pair.right.add(title="One", ref="R1", body="right's")
    pair.quiet()
    assert [one.code for one in pair.open_conflicts()] == ["initially_different"]
    pair.left.remove(left)
    pair.quiet()
    assert len(pair.right.alive()) == 1
    assert "deleted_and_edited" in [one.code for one in pair.open_conflicts()]
    assert Link.objects.get().state == "active"
