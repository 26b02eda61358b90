"""A rule that was out of force for a while: time stood still, and nothing people wrote meanwhile is lost."""

from __future__ import annotations

import pytest

from connections.connectors.base import Refused, Retry
from mappings import publish as publishing
from mappings.models import ConflictPolicy, FieldMapping, Mapping
from sync.models import AuditEntry, Conflict, Link
from sync.tests.conftest import DEFAULT_RULES, Pair
from sync.tests.engine_cases import live

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


def asked_about(pair: Pair) -> list[tuple[str, str, str]]:
    return list(Conflict.objects.order_by("pk").values_list("rule_id", "state", "closed_code"))


def test_a_question_waits_while_its_rule_is_off_and_ends_when_it_is_removed(pair: Pair) -> None:
    left, right, link = pair.linked(body="agreed")
    pair.left.edit(left, body="left")
    pair.right.edit(right, body="right")
    pair.quiet()
    pair.publish(rules=WITHOUT_BODY, off=["body"])
    pair.run()
    assert asked_about(pair) == [("body", "open", "")], "it is only off"
    pair.publish(rules=WITHOUT_BODY, off=[])
    pair.run()
    assert asked_about(pair) == [("body", "closed", "rule_removed")]
    assert AuditEntry.objects.get(code="rule_removed").values["before"] == {"left": "left", "right": "right"}
    assert pair.both(left, right, "body") == ("left", "right")
    pair.publish(rules=DEFAULT_RULES, off=[])
    pair.quiet()
    assert asked_about(pair)[1:] == [("body", "open", "")], "an older version brought it back: it asks again"


def draft(pair: Pair) -> Mapping:
    return Mapping.objects.get(pk=pair.mapping.pk)


def published(pair: Pair) -> int:
    return publishing.publish(draft(pair), None, left_fields=pair.left.fields, right_fields=pair.right.fields).number


def drafted(pair: Pair, path: str) -> FieldMapping:
    return FieldMapping.objects.create(mapping=pair.mapping, rule_id=path, left_field=path, right_field=path)


def asked(pair: Pair) -> tuple[str, str]:
    """A pair whose body a person is asked about."""
    left, right, _ = pair.linked(body="agreed")
    pair.left.edit(left, body="left")
    pair.right.edit(right, body="right")
    pair.quiet()
    return left, right


@pytest.fixture
def drafting(pair: Pair) -> Pair:
    """Nothing is published yet; one rule is drafted."""
    Mapping.objects.update(published=None, match_keys=[[{"left": "ref", "right": "ref"}]])
    pair.mapping.versions.all().delete()
    drafted(pair, "title")
    return pair


def left_decides() -> ConflictPolicy:
    return ConflictPolicy.objects.create(name="Left decides", kind="left")


def test_a_question_about_a_rule_that_is_off_survives_a_roll_back(drafting: Pair) -> None:
    """The rule stays in the draft: switched on again, its policy must not decide what a person was asked about."""
    pair = drafting
    first = published(pair)
    body = FieldMapping.objects.filter(pk=drafted(pair, "body").pk)
    published(pair)
    left, right = asked(pair)
    body.update(enabled=False)
    published(pair)
    pair.quiet()
    publishing.roll_back(draft(pair), first, None)
    pair.quiet()
    assert asked_about(pair) == [("body", "open", "")]
    body.update(enabled=True, policy=left_decides())
    published(pair)
    pair.ring("left", left)
    pair.ring("right", right)
    pair.quiet()
    assert asked_about(pair) == [("body", "open", "")]
    assert pair.both(left, right, "body") == ("left", "right")


def test_a_question_survives_a_roll_back_to_a_version_in_which_its_rule_was_off(drafting: Pair) -> None:
    pair = drafting
    body = FieldMapping.objects.filter(pk=drafted(pair, "body").pk)
    body.update(policy=left_decides())
    decides = published(pair)
    body.update(policy=None)
    published(pair)
    left, right = asked(pair)
    body.update(enabled=False)
    off = published(pair)
    body.update(enabled=True)
    published(pair)
    pair.quiet()
    publishing.roll_back(draft(pair), off, None)
    assert not body.get().enabled, "off as in that version, and not gone"
    pair.quiet()
    publishing.roll_back(draft(pair), decides, None)
    pair.ring("left", left)
    pair.quiet()
    assert asked_about(pair) == [("body", "open", "")]
    assert pair.both(left, right, "body") == ("left", "right")


def test_a_value_that_was_refused_under_a_removed_rule_is_no_longer_kept_back(pair: Pair) -> None:
    left, right, link = pair.linked(body="b")
    pair.right.before = lambda verb, ids: refuses(verb)
    pair.left.edit(left, body="refused")
    pair.quiet()
    link.refresh_from_db()
    assert "body" in link.parked
    pair.publish(rules=WITHOUT_BODY, off=[])
    pair.run()
    link.refresh_from_db()
    assert not link.parked and not pair.open_conflicts()


def refuses(verb: str) -> None:
    if verb == "update":
        raise Refused("No.", {"body": "Not this."})


def test_a_twin_that_waited_while_no_twins_were_made_is_made_once_they_are_again(pair: Pair) -> None:
    pair.right.before = lambda verb, ids: busy(verb)
    left = pair.left.add(title="One", ref="R1")
    pair.ring("left", left)
    pair.run("live")
    assert Link.objects.get(left_id=left).state == "creating"
    makes_twins(pair, False)
    live(pair)
    pair.right.before = lambda *_: None
    live(pair)
    assert not pair.right.alive()
    makes_twins(pair, True)
    live(pair)
    assert Link.objects.get(left_id=left).state == "active" and len(pair.right.alive()) == 1


def busy(verb: str) -> None:
    if verb == "create":
        raise Retry("busy")


def makes_twins(pair: Pair, create: bool) -> None:
    """Whether the right gets what is new on the left."""
    assert pair.mapping.published
    pair.publish(right={**pair.mapping.published.document["right"], "create": create})


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
