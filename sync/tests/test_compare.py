"""The comparison as a table: one row a situation of a field, one a situation of a pair."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from connections.connectors.base import Record
from mappings.compiled import CompiledMapping, compile_document
from sync.compare import REASONS, PairVerdict, compare, compare_field, sample
from sync.merge import MISSING, Ask, Drift, Field, Write, merge_field, repair_field
from sync.plan import InstructionView, LinkView, plan_link
from sync.tests.conftest import rule as rule_document


def compiled(*rules: dict[str, Any]) -> CompiledMapping:
    side = {
        "connection": 1,
        "connection_name": "S",
        "kind": "memory",
        "object_type": "thing",
        "object_label": "Thing",
        "scope": {},
        "create": True,
        "create_defaults": {},
        "on_delete": "review",
        "close_values": {},
    }
    rest = {"match_keys": [], "initial": "fill_empty", "poll_seconds": 15, "brakes": {}}
    return compile_document({"left": side, "right": side, "rules": list(rules), **rest})


def one_rule(**more: Any) -> Any:
    return compiled(rule_document("r", "body", **more)).rules[0]


MAP = {"transform": "value_map", "entries": [{"left": "High", "right": "P1"}, {"left": "Highest", "right": "P1"}]}
PARKED = {"side": "right", "value": "b", "code": "refused"}

FIELDS: list[tuple[str, Any, Field, dict[str, bool], str]] = [
    ("equal", one_rule(), Field("a", "a", "a", "a"), {}, "equal"),
    ("both edited to the same", one_rule(), Field("b", "b", "a", "a"), {}, "equal"),
    ("equal and never agreed", one_rule(), Field("a", "a"), {}, "equal"),
    ("equal in meaning", one_rule(**MAP), Field("Highest", "P1", "Highest", "P1"), {}, "equal"),
    ("nobody edited it, yet it differs", one_rule(), Field("a", "b", "a", "b"), {}, "drift"),
    ("agreed to differ", one_rule(), Field("a", "b", "a", "b"), {"agreed": True}, "agreed"),
    ("agreed to differ, then edited", one_rule(), Field("c", "b", "a", "b"), {"agreed": True}, "edited"),
    ("one side edited", one_rule(), Field("b", "a", "a", "a"), {}, "edited"),
    ("both edited apart", one_rule(), Field("b", "c", "a", "a"), {}, "edited"),
    ("a question about it is open", one_rule(), Field("b", "c", "a", "a"), {"asked": True}, "question"),
    ("a question about what agrees by now", one_rule(), Field("b", "b", "a", "a"), {"asked": True}, "equal"),
    ("a refused value", one_rule(), Field("b", "a", "a", "a", parked=PARKED), {}, "parked"),
    ("hidden on the left", one_rule(), Field(MISSING, "a", "a", "a"), {}, "unreadable"),
    ("absent on the right", one_rule(), Field("a", MISSING, "a", "a"), {}, "unreadable"),
    ("never agreed", one_rule(), Field("a", "b"), {}, "unagreed"),
    ("an empty base is not no base", one_rule(), Field("a", None, "a", None), {}, "drift"),
    ("empty on both sides", one_rule(), Field(None, None, None, None), {}, "equal"),
    ("without a counterpart, unedited", one_rule(**MAP), Field("Odd", "P1", "Odd", "P1"), {}, "drift"),
    ("one way, target says it", one_rule(direction="to_right", **MAP), Field("High", "P1", "High", "P1"), {}, "equal"),
    ("one way, target differs", one_rule(direction="to_right"), Field("a", "b", "a", "b"), {}, "drift"),
    ("one way, target kept", one_rule(direction="to_right"), Field("a", "b", "a", "b"), {"agreed": True}, "agreed"),
    ("one way to the left", one_rule(direction="to_left"), Field("a", "b", "a", "a"), {}, "edited"),
    ("sets in any order", one_rule(kind="set", transform="set"), Field(["a", "b"], ["a", "b"], [], []), {}, "equal"),
]  # fmt: skip


@pytest.mark.parametrize("rule, field, known, expected", [row[1:] for row in FIELDS], ids=[row[0] for row in FIELDS])
def test_a_field_stands_in_one_way(rule: Any, field: Field, known: dict[str, bool], expected: str) -> None:
    assert compare_field(rule, field, **known) == expected


@pytest.mark.parametrize("row", FIELDS, ids=[row[0] for row in FIELDS])
def test_what_is_called_drift_is_what_the_merge_would_leave_alone(row: Any) -> None:
    """The merge writes or asks about every difference that is an edit, and about none that is drift."""
    _, rule, field, _, kind = row
    outcome = merge_field(rule, field)
    if kind == "drift":
        assert not isinstance(outcome, Write | Ask)
    if kind in ("unagreed", "parked"):
        assert isinstance(outcome, Write | Ask)
    if isinstance(outcome, Drift):
        assert kind in ("drift", "agreed")


RULES = compiled(rule_document("t", "title"), rule_document("b", "body"))


def record(deleted: bool = False, hidden: str = "", **values: Any) -> Record:
    shown = {path: value for path, value in values.items() if path != hidden}
    return Record("1", "1", shown, deleted=deleted, unreadable=frozenset({hidden} if hidden else ()))


def link(**more: Any) -> LinkView:
    bases = {"left": {"t": "T", "b": "B"}, "right": {"t": "T", "b": "B"}}
    return replace(LinkView(1, "l", "r", bases), **more)


def bases(left: str, right: str) -> dict[str, dict[str, Any]]:
    return {"left": {"t": "T", "b": left}, "right": {"t": "T", "b": right}}


SAME = record(title="T", body="B")
PAIRS: list[tuple[str, LinkView, Any, Any, str, str, str]] = [
    ("equal", link(), SAME, SAME, "", "equal", ""),
    ("equal, though a hint waits", link(), SAME, SAME, "hint", "equal", ""),
    ("drift", link(bases=bases("B", "C")), SAME, record(title="T", body="C"), "", "drift", ""),
    ("drift while a hint waits", link(bases=bases("B", "C")), SAME, record(title="T", body="C"), "hint", "waiting", "hint"),
    ("drift while a write is on its way", link(bases=bases("B", "C")), SAME, record(title="T", body="C"), "operation", "waiting", "operation"),
    ("drift in one field, a question in the other", link(bases=bases("B", "C"), open_conflicts={"t": "field"}), record(title="X", body="B"), record(title="Y", body="C"), "", "drift", ""),
    ("agreed to differ", link(bases=bases("B", "C"), agreed_differences={"b": True}), SAME, record(title="T", body="C"), "", "agreed", ""),
    ("agreed to differ while a hint waits", link(bases=bases("B", "C"), agreed_differences={"b": True}), SAME, record(title="T", body="C"), "hint", "agreed", ""),
    ("edited", link(), record(title="T", body="new"), SAME, "", "waiting", "edited"),
    ("edited, and noticed", link(), record(title="T", body="new"), SAME, "hint", "waiting", "hint"),
    ("asked about", link(open_conflicts={"b": "field"}), record(title="T", body="new"), record(title="T", body="other"), "", "waiting", "question"),
    ("hidden", link(), record(hidden="body", title="T", body="B"), SAME, "", "waiting", "unreadable"),
    ("edited and hidden: the edit explains more", link(), record(hidden="body", title="X", body="B"), SAME, "", "waiting", "edited"),
    ("never agreed", link(bases={"left": {"t": "T"}, "right": {"t": "T"}}), SAME, record(title="T", body="C"), "", "waiting", "unagreed"),
    ("not there on the left", link(), None, SAME, "", "missing", ""),
    ("deleted on the right", link(), SAME, record(deleted=True), "", "missing", ""),
    ("not there, and asked about", link(open_conflicts={"": "delete_update"}), None, SAME, "", "waiting", "question"),
    ("not there, and noticed", link(), None, SAME, "hint", "waiting", "hint"),
]  # fmt: skip


@pytest.mark.parametrize("view, left, right, waiting, kind, reason", [p[1:] for p in PAIRS], ids=[p[0] for p in PAIRS])
def test_a_pair_stands_in_one_way(view: LinkView, left: Any, right: Any, waiting: str, kind: str, reason: str) -> None:
    verdict = compare(RULES, view, left, right, waiting)
    assert (verdict.kind, verdict.reason) == (kind, reason)
    assert not reason or reason in REASONS


def test_the_sides_that_lack_a_record_are_named() -> None:
    assert compare(RULES, link(), None, record(deleted=True)).lacking == ("left", "right")


def test_only_what_may_be_an_edit_on_its_way_is_looked_at_twice() -> None:
    doubtful = {
        name for name, view, left, right, waiting, *_ in PAIRS if compare(RULES, view, left, right, waiting).doubtful
    }
    assert doubtful == {
        "drift",
        "drift in one field, a question in the other",
        "edited",
        "edited and hidden: the edit explains more",
        "not there on the left",
        "deleted on the right",
    }


def test_a_verdict_keeps_the_values_it_was_made_from() -> None:
    verdict = compare(RULES, link(bases=bases("B", "C")), SAME, record(title="T", body="C"))
    assert isinstance(verdict, PairVerdict)
    assert [(one.label, one.kind, one.left, one.right) for one in verdict.differing] == [("Body", "drift", "B", "C")]


# Repairs as the plan decides them. -------------------------------------------------------------------------------

REPAIRS = [
    ("the left is taken", one_rule(), "left", Write("right", "a", "repaired")),
    ("the right is taken", one_rule(), "right", Write("left", "b", "repaired")),
    ("against the direction", one_rule(direction="to_right"), "right", Ask("field", "direction_forbids", {"side": "left"})),
    ("along the direction", one_rule(direction="to_right"), "left", Write("right", "a", "repaired")),
]  # fmt: skip


@pytest.mark.parametrize("rule, take, expected", [row[1:] for row in REPAIRS], ids=[row[0] for row in REPAIRS])
def test_a_repair_takes_one_side(rule: Any, take: str, expected: Any) -> None:
    choice = {"take": take, "seen": {"left": "a", "right": "b"}}
    assert repair_field(rule, Field("a", "b", "a", "b"), choice) == expected


def repaired(mapping: CompiledMapping, take: str, seen: dict[str, Any], left: Any, right: Any) -> Any:
    choice = {mapping.rules[0].id: {"take": take, "seen": seen}}
    view = LinkView(1, "l", "r", {"left": {"r": left}, "right": {"r": right}})
    return plan_link(mapping, view, record(body=left), record(body=right), [InstructionView(7, "repair", choice)])


def test_a_repair_that_cannot_be_done_is_refused_with_its_reason_and_asks_nothing() -> None:
    mapped = compiled(rule_document("r", "body", **MAP))
    plan = repaired(mapped, "left", {"left": "Odd", "right": "P1"}, "Odd", "P1")
    assert plan.instructions == {7: {"r": "refused", "why": "value_not_in_map"}}
    assert not plan.conflicts and not plan.operations
    one_way = compiled(rule_document("r", "body", direction="to_right"))
    plan = repaired(one_way, "right", {"left": "a", "right": "b"}, "a", "b")
    assert plan.instructions == {7: {"r": "refused", "why": "direction_forbids"}}
    assert not plan.agreed and not plan.operations


def test_a_repair_from_values_that_moved_writes_nothing() -> None:
    plan = repaired(compiled(rule_document("r", "body")), "left", {"left": "a", "right": "old"}, "a", "b")
    assert plan.instructions == {7: {"r": "stale"}}
    assert not plan.operations


# Samples. --------------------------------------------------------------------------------------------------------


def test_a_sample_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    keys = range(1, 1001)
    assert sample(keys, 50, 7) == sample(reversed(keys), 50, 7)
    assert sample(keys, 50, 7) != sample(keys, 50, 8)
    assert len(set(sample(keys, 50, 7))) == 50


def test_a_sample_of_more_than_there_is_holds_all() -> None:
    assert sample([3, 1, 2], 10, 1) == [1, 2, 3]


def test_keys_that_come_or_go_do_not_move_the_others() -> None:
    keys = list(range(1, 1001))
    before = sample(keys, 50, 3)
    gone = before[10]
    after = sample([key for key in keys if key != gone], 50, 3)
    assert set(before) - {gone} <= set(after)


def test_every_key_is_drawn_about_equally_often() -> None:
    drawn = Counter(key for seed in range(2000) for key in sample(range(20), 5, seed))
    assert min(drawn.values()) > 420 and max(drawn.values()) < 580  # 500 expected, 19 the standard deviation
