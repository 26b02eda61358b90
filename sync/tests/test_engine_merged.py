"""Values that are neither side's: merged, typed, or of sets that may differ; nothing of either side goes missing."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.memory import World
from sync import instructions
from sync.models import AuditEntry, Link, Operation
from sync.tests.conftest import DEFAULT_RULES, Pair, rule
from sync.tests.engine_cases import no_answer, once
from sync.tests.test_engine_steps import runs, statuses, with_steps

pytestmark = pytest.mark.django_db


def keeps(world: World, length: int) -> None:
    """Bodies are cut to so many characters, unsaid."""
    world.on_write = lambda id, values, by: {
        path: value[:length] if path == "body" and value else value for path, value in values.items()
    }


def without(name: str) -> list[dict[str, Any]]:
    return [one for one in DEFAULT_RULES if one["id"] != name]


def probed(pair: Pair) -> None:
    """What was not answered is looked up."""
    Operation.objects.filter(state="uncertain").update(not_before=timezone.now())
    pair.quiet()
    assert not Operation.objects.filter(state__in=Operation.OPEN).exists()


def test_a_merged_text_that_is_cut_short_takes_nothing_away_on_the_other_side(pair: Pair) -> None:
    merged = rule("body", "body", policy="merge_text")
    pair.publish(rules=[merged if one["id"] == "body" else one for one in DEFAULT_RULES])
    left, right, link = pair.linked(body="one\ntwo\nthree")
    keeps(pair.left, 24)
    pair.left.edit(left, body="one and a half\ntwo\nthree")
    pair.right.edit(right, body="one\ntwo\nthree and a word of mine")
    pair.quiet()
    assert pair.right.value(right, "body") == "one\ntwo\nthree and a word of mine"
    assert [one.code for one in pair.open_conflicts()] == ["cut_short"]
    link.refresh_from_db()
    assert link.parked["body"]["value"] == "one and a half\ntwo\nthree and a word of mine", "all of it is kept"


def test_a_typed_answer_that_is_cut_short_is_asked_about_and_goes_nowhere(pair: Pair, admin_user: Any) -> None:
    left, right, _ = pair.linked(body="short")
    pair.left.edit(left, body="mine")
    pair.right.edit(right, body="theirs")
    pair.quiet()
    [question] = pair.open_conflicts()
    keeps(pair.left, 12)
    typed = {"take": "value", "in": "left", "value": "a long answer", "seen": {"left": "mine", "right": "theirs"}}
    instructions.resolve(question, typed, admin_user)
    pair.quiet()
    assert pair.both(left, right, "body") == ("a long answe", "theirs")
    assert [one.rule_id for one in pair.open_conflicts()] == ["body"]
    assert Link.objects.get().parked["body"]["value"] == "a long answer", "all of it is kept"


@pytest.mark.parametrize("lost", [False, True], ids=["answered", "not answered"])
@pytest.mark.parametrize("off", [False, True], ids=["", "rule off meanwhile"])
def test_of_sets_that_may_differ_both_edits_cross_and_the_rest_stays(
    pair: Pair, admin_user: Any, lost: bool, off: bool
) -> None:
    left, right, _ = pair.linked(labels=["a"])
    pair.right.edit(right, labels=["a", "r"])
    pair.quiet()
    instructions.undo(Operation.objects.get(state="confirmed"), admin_user)
    pair.quiet()
    assert pair.both(left, right, "labels") == (["a"], ["a", "r"])
    pair.left.edit(left, labels=["x"])
    pair.right.edit(right, labels=["a", "r", "y"])

    def meanwhile() -> None:
        if off:
            pair.publish(rules=without("labels"), off=["labels"])
        if lost:
            no_answer()

    once(pair.left, "update", meanwhile, when="after")
    pair.run()
    probed(pair)
    pair.publish(rules=DEFAULT_RULES, off=[])
    pair.quiet()
    assert pair.both(left, right, "labels") == (["x", "y"], ["r", "x", "y"])
    assert not pair.open_conflicts()


def test_an_undo_that_is_confirmed_while_its_rule_is_off_is_nobodys_edit_once_it_is_back(
    pair: Pair, admin_user: Any
) -> None:
    left, right, link = pair.linked(body="A")
    pair.left.edit(left, body="B")
    pair.quiet()
    instructions.undo(Operation.objects.get(state="confirmed"), admin_user)
    once(pair.right, "update", no_answer, when="after")
    pair.run()
    pair.publish(rules=without("body"), off=["body"])
    probed(pair)
    pair.publish(rules=DEFAULT_RULES, off=[])
    pair.quiet()
    link.refresh_from_db()
    assert pair.both(left, right, "body") == ("B", "A") and link.agreed_differences == {"body": True}


def test_a_step_that_is_confirmed_while_its_rule_is_off_is_nobodys_edit_once_it_is_back(pair: Pair) -> None:
    with_steps(pair, policy="right")
    rules = pair.mapping.published.document["rules"]
    left, right, _ = pair.linked(status="new")
    pair.left.edit(left, status="done")
    pair.ring("left", left)
    once(pair.right, "update", no_answer, when="after")
    pair.run("live")
    assert pair.both(left, right, "status") == ("done", "open")
    pair.publish(rules=[one for one in rules if one["id"] != "status"], off=["status"])
    runs(pair)
    probed(pair)
    pair.publish(rules=rules, off=[])
    pair.quiet()
    assert statuses(pair, right) == ["open", "doing", "done"] and pair.left.value(left, "status") == "done"


def test_a_value_that_a_person_typed_for_an_enforced_target_stays(pair: Pair, admin_user: Any) -> None:
    entries = [{"left": "open", "right": "o"}]
    mapped = {"transform": "value_map", "direction": "to_left", "one_way_target": "enforce", "entries": entries}
    status = rule("status", "status", "option", **mapped)
    pair.publish(rules=[status if one["id"] == "status" else one for one in DEFAULT_RULES])
    left, right, _ = pair.linked(status=None)
    pair.right.edit(right, status="x")
    pair.quiet()
    [question] = pair.open_conflicts()
    typed = {"take": "value", "in": "left", "value": "special", "seen": {"left": None, "right": "x"}}
    instructions.resolve(question, typed, admin_user)
    pair.quiet()
    assert pair.both(left, right, "status") == ("special", "x") and not pair.open_conflicts()
    assert Link.objects.get().agreed_differences == {"status": True}
    assert AuditEntry.objects.get(code="agreed_to_differ").values["after"] == {"left": "special", "right": "x"}
    pair.right.edit(right, status="o")
    pair.quiet()
    assert pair.left.value(left, "status") == "open"
