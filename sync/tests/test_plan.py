"""The plan of one link, from records and rules alone: what a flip-flop is, and what a direction forbids."""

from __future__ import annotations

from typing import Any

from connections.connectors.base import Record
from mappings.compiled import CompiledMapping, compile_document
from sync.plan import InstructionView, LinkPlan, LinkView, OwnWrite, plan_link
from sync.plan_unlinked import MakeTwin, plan_creation
from sync.tests.conftest import rule

SIDE = {
    "connection": 1,
    "connection_name": "One",
    "kind": "memory",
    "object_type": "thing",
    "object_label": "Thing",
    "scope": {},
    "create": True,
    "create_defaults": {},
    "on_delete": "review",
    "close_values": {},
}


def mapping(*rules: dict[str, Any]) -> CompiledMapping:
    document = {
        "left": SIDE,
        "right": SIDE,
        "match_keys": [],
        "initial": "fill_empty",
        "poll_seconds": 15,
        "brakes": {},
    }
    return compile_document({**document, "rules": list(rules)})


def record(external_id: str, **values: Any) -> Record:
    return Record(external_id, "1", values)


def link(base: Any, writes: dict[tuple[str, str], list[OwnWrite]] | None = None) -> LinkView:
    bases = {"left": {"body": base}, "right": {"body": base}}
    return LinkView(1, "L1", "R1", bases, own_writes=writes or {})


def planned(view: LinkView, left: Any, right: Any, *asked: InstructionView, **rule_parts: Any) -> LinkPlan:
    compiled = mapping(rule("body", "body", **rule_parts))
    return plan_link(compiled, view, record("L1", body=left), record("R1", body=right), asked, now=1000.0, max_hops=2)


def test_an_ordinary_edit_is_one_operation_with_its_source_and_before_image() -> None:
    (operation,) = planned(link("a"), "b", "a").operations
    (field,) = operation.fields
    assert (operation.side, field.value, field.before, field.source, field.code) == ("right", "b", "a", "b", "edited")
    assert (operation.cause, operation.hops) == (None, 0)


def test_a_value_we_wrote_ourselves_is_carried_on_and_its_hops_are_counted() -> None:
    view = link("a", {("left", "body"): [OwnWrite(7, "b", 0, 990.0)]})
    (operation,) = planned(view, "b", "a").operations
    assert (operation.cause, operation.hops) == (7, 1)


def test_own_writes_that_go_round_in_a_circle_are_a_question() -> None:
    view = link("a", {("left", "body"): [OwnWrite(7, "b", 2, 990.0)]})
    plan = planned(view, "b", "a")
    assert not plan.operations and plan.conflicts[0].code == "too_many_hops"


def test_a_merged_value_begins_a_new_way() -> None:
    """However far what it was made of has come, it is a new value and goes on."""
    ours = {("right", "labels"): [OwnWrite(7, ["a", "c"], 2, 990.0)]}
    bases: dict[str, dict[str, Any]] = {"left": {"labels": ["a"]}, "right": {"labels": ["a"]}}
    view = LinkView(1, "L1", "R1", bases, own_writes=ours)
    compiled = mapping(rule("labels", "labels", kind="set", policy="merge_sets"))
    plan = plan_link(compiled, view, record("L1", labels=["a", "b"]), record("R1", labels=["a", "c"]), now=1000.0)
    (operation,) = plan.operations
    assert (operation.fields[0].value, operation.cause, operation.hops) == (["a", "b", "c"], None, 0)


def test_what_somebody_put_back_is_an_edit_of_theirs_and_not_the_old_write_going_on() -> None:
    """What we wrote to the left was left again since: we carried another value over from there."""
    ours = OwnWrite(7, "b", 2, 100.0)
    carried = OwnWrite(8, "c", 0, 900.0, source="c")
    (operation,) = planned(link("a", {("left", "body"): [ours], ("right", "body"): [carried]}), "b", "a").operations
    assert (operation.cause, operation.hops) == (None, 0)
    earlier = OwnWrite(6, "c", 0, 90.0, source="c")
    plan = planned(link("a", {("left", "body"): [ours], ("right", "body"): [earlier]}), "b", "a")
    assert plan.conflicts[0].code == "too_many_hops"


def flips(count: int, at: float = 990.0) -> LinkView:
    writes = [OwnWrite(n, "b" if n % 2 else "a", 0, at) for n in range(count)]
    return link("a", {("right", "body"): writes})


def test_coming_back_to_values_already_written_is_an_oscillation() -> None:
    plan = planned(flips(6), "b", "a")
    assert not plan.operations and (plan.conflicts[0].kind, plan.conflicts[0].code) == ("oscillation", "flip_flop")


def test_few_writes_old_writes_and_new_values_are_none() -> None:
    assert planned(flips(3), "b", "a").operations
    assert planned(flips(6, at=10.0), "b", "a").operations
    assert planned(flips(6), "new", "a").operations


def test_a_person_may_write_what_would_look_like_an_oscillation() -> None:
    asked = InstructionView(5, "resolve", {"body": {"take": "left"}})
    plan = planned(flips(6), "b", "a", asked)
    assert plan.operations[0].instruction == 5 and plan.instructions == {5: {"body": "applying"}}


def test_a_direction_that_forbids_the_write_leaves_both_values() -> None:
    asked = InstructionView(5, "resolve", {"body": {"take": "value", "value": "r", "in": "right"}})
    plan = planned(link("a"), "l", "r", asked, direction="to_right")
    assert not plan.operations and plan.agreed["body"].code == "direction_keeps"


def test_a_twin_gets_the_fields_the_rules_may_write() -> None:
    compiled = mapping(rule("body", "body"), rule("key", "key", direction="to_left"))
    made = plan_creation(compiled, "left", record("L1", body="text", key="K"))
    assert isinstance(made, MakeTwin)
    assert {field.path: field.value for field in made.fields} == {"body": "text"}
