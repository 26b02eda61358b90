"""The merge as a table: one row a situation. A new case is a new row."""

from __future__ import annotations

from typing import Any

import pytest

from mappings.compiled import CompiledRule, Policy
from mappings.transforms import TRANSFORMS
from mappings.transforms.base import CannotExpress, FieldSpec, Lens
from sync.merge import (
    MISSING,
    Agree,
    Ask,
    Drift,
    EditTime,
    Field,
    Nothing,
    Skip,
    Stale,
    Write,
    is_empty,
    merge_field,
    resolve_field,
)
from sync.read_back import WrittenBase, base_after_write

PRIORITY = [{"left": "High", "right": "P1"}, {"left": "Highest", "right": "P1"}, {"left": "Low", "right": "P3"}]


def rule(
    policy: str = "review",
    direction: str = "both",
    target: str = "keep",
    initial: str = "fill_empty",
    kind: str = "text",
    transform: str = "same",
    required: bool = False,
    tolerance: float = 1.0,
) -> CompiledRule:
    left = FieldSpec("l", "Left field", kind, required=required)
    right = FieldSpec("r", "Right field", kind, required=required)
    lens = TRANSFORMS[transform].build({}, left, right, PRIORITY if transform == "value_map" else [])
    return CompiledRule("rule", left, right, direction, lens, Policy(policy, policy, tolerance), target, initial)


def f(left: Any, right: Any, left_base: Any = MISSING, right_base: Any = MISSING, **more: Any) -> Field:
    return Field(left, right, left_base, right_base, **more)


L, R = "left", "right"
EARLY, LATE = EditTime(10, 11), EditTime(20, 21)
A_SET = rule("merge_sets", kind="set", transform="set")
MAYBE = {"side": L, "code": "maybe_written"}
GIVEN_UP = {"side": R, "code": "maybe_written", "operation": 1}

TABLE = [
    # unreadable
    ("left unreadable", rule(), f(MISSING, "b", "a", "a"), Skip(L)),
    ("right unreadable", rule(), f("a", MISSING, "a", "a"), Skip(R)),
    # agreed before, two-way
    ("neither changed", rule(), f("a", "a", "a", "a"), Nothing()),
    ("neither changed, agreed to differ", rule(), f("a", "b", "a", "b"), Drift()),
    ("left edited", rule(), f("b", "a", "a", "a"), Write(R, "b", "edited")),
    ("right edited", rule(), f("a", "b", "a", "a"), Write(L, "b", "edited")),
    ("left cleared", rule(), f(None, "a", "a", "a"), Write(R, None, "edited")),
    ("left cleared, right required", rule(required=True), f(None, "a", "a", "a"), "unmapped"),
    ("both to the same value", rule(), f("b", "b", "a", "a"), Agree()),
    ("one edited back to what the other says", rule(), f("b", "b", "a", "b"), Agree()),
    ("both differ, review", rule(), f("b", "c", "a", "a"), Ask("field", "both_changed", {"policy": "review"})),
    ("both differ, left decides", rule("left"), f("b", "c", "a", "a"), Write(R, "b", "policy_left", params={"policy": "left"})),
    ("both differ, right decides", rule("right"), f("b", "c", "a", "a"), Write(L, "c", "policy_right", params={"policy": "right"})),
    ("a question once asked is not settled by a policy", rule("left"), f("b", "c", "a", "a", open_conflict=True), "field"),
    # newest
    ("left is newer", rule("newest"), f("b", "c", "a", "a", left_edit=LATE, right_edit=EARLY), Write(R, "b", "policy_newest", params={"newest": L, "policy": "newest"})),
    ("right is newer", rule("newest"), f("b", "c", "a", "a", left_edit=EARLY, right_edit=LATE), Write(L, "c", "policy_newest", params={"newest": R, "policy": "newest"})),
    ("intervals overlap", rule("newest"), f("b", "c", "a", "a", left_edit=EditTime(0, 30), right_edit=LATE), "field"),
    ("closer than the tolerance", rule("newest", tolerance=15), f("b", "c", "a", "a", left_edit=EARLY, right_edit=LATE), "field"),
    ("times unknown", rule("newest"), f("b", "c", "a", "a"), "field"),
    # sets
    ("added on both sides", rule("merge_sets", kind="set", transform="set"), f(["a", "b"], ["a", "c"], ["a"], ["a"]), Write(L, ["a", "b", "c"], "policy_merge_sets", settle="other")),
    ("removed there, added here", rule("merge_sets", kind="set", transform="set"), f(["a", "b", "c"], ["a"], ["a", "b"], ["a", "b"]), Write(L, ["a", "c"], "policy_merge_sets", settle="other")),
    ("merge equals the left", rule("merge_sets", kind="set", transform="set"), f(["a", "b", "c"], ["a", "b"], ["a"], ["a"]), Write(R, ["a", "b", "c"], "policy_merge_sets")),
    ("merge equals the right", rule("merge_sets", kind="set", transform="set"), f(["a", "b"], ["a", "b", "c"], ["a"], ["a"]), Write(L, ["a", "b", "c"], "policy_merge_sets")),
    ("agreed to differ: an empty base is a base", rule("merge_sets", kind="set", transform="set"), f(["a", "b"], ["c"], ["a"], None), Write(L, ["a", "b", "c"], "policy_merge_sets", settle="members")),
    ("a merge that empties what is empty writes nothing there", rule("merge_sets", kind="set", transform="set"), f(None, ["a"], ["a", "b"], ["b", "a"]), Write(R, [], "policy_merge_sets")),
    ("agreed to differ: both took the same away", rule("merge_sets", kind="set", transform="set"), f(None, ["a"], ["b"], ["a", "b"]), Agree("kept_apart", differ=True)),
    ("agreed to differ: the left did already what the right did", rule("merge_sets", kind="set", transform="set"), f(["a", "c", "x"], ["a", "c", "r"], ["a"], ["a", "r"]), Write(R, ["a", "c", "r", "x"], "kept_apart")),
    ("agreed to differ: what one side alone has stays with it", rule("merge_sets", kind="set", transform="set"), f(["a", "x"], ["a", "r", "y"], ["a"], ["a", "r"]), Write(L, ["a", "x", "y"], "policy_merge_sets", settle="members")),
    ("apart by agreement: an added member crosses, the rest stays", rule("review", kind="set", transform="set"), f(["a", "b"], ["c", "d"], ["a", "b"], ["c"]), Write(L, ["a", "b", "d"], "kept_apart")),
    ("apart by agreement: a removed member goes, the rest stays", rule("review", kind="set", transform="set"), f(["a"], ["b", "c"], ["a", "b"], ["b", "c"]), Write(R, ["c"], "kept_apart")),
    ("apart by agreement: what is there already is not written", rule("review", kind="set", transform="set"), f(["a", "b"], ["b"], ["a", "b"], []), Agree("kept_apart", differ=True)),
    ("sets that never agreed are united", rule("merge_sets", kind="set", transform="set"), f(["a"], ["b"]), Write(L, ["a", "b"], "initial_union", settle="other")),
    # text
    ("different lines", rule("merge_text"), f("a\nb\nC", "A\nb\nc", "a\nb\nc", "a\nb\nc"), Write(L, "A\nb\nC", "policy_merge_text", settle="other")),
    ("same line", rule("merge_text"), f("x", "y", "a", "a"), Ask("field", "edits_touch", {"policy": "merge_text"})),
    ("text merge of what is no text", rule("merge_text"), f(1, 2, 0, 0), Ask("field", "both_changed", {"policy": "merge_text"})),
    # one way
    ("source edited", rule(direction="to_right"), f("b", "a", "a", "a"), Write(R, "b", "source_edited")),
    ("source and target edited: never asked", rule(direction="to_right"), f("b", "c", "a", "a"), Write(R, "b", "source_edited")),
    ("target edited, kept", rule(direction="to_right"), f("a", "b", "a", "a"), Agree("one_way_target_kept", differ=True)),
    ("target edited to what the source means", rule(direction="to_right"), f("a", "a", "a", "b"), Agree("one_way_target_kept")),
    ("target edited, enforced", rule(direction="to_right", target="enforce"), f("a", "b", "a", "a"), Write(R, "a", "one_way_enforced")),
    ("one way, neither", rule(direction="to_left"), f("a", "b", "a", "b"), Nothing()),
    ("one way to the left", rule(direction="to_left"), f("a", "b", "a", "a"), Write(L, "b", "source_edited")),
    # never agreed
    ("equal at first", rule(), f("a", "a"), Agree("initially_equal")),
    ("left empty at first", rule(), f(None, "b"), Write(L, "b", "initial_fill")),
    ("right empty at first", rule(), f("a", ""), Write(R, "a", "initial_fill")),
    ("both filled at first", rule(), f("a", "b"), Ask("field", "initially_different")),
    ("an empty base is not no base", rule(), f("a", None, None, None), Write(R, "a", "edited")),
    ("left decides at first", rule(initial="left"), f("a", "b"), Write(R, "a", "initial_left")),
    ("right decides at first", rule(initial="right"), f("a", "b"), Write(L, "b", "initial_right")),
    ("review at first, even if empty", rule(initial="review"), f("a", None), Ask("field", "initially_different")),
    ("newest at first", rule(initial="newest"), f("a", "b", left_edit=LATE, right_edit=EARLY), Write(R, "a", "initial_newest", params={"newest": L})),
    ("one way at first", rule(direction="to_right"), f("a", "b"), Write(R, "a", "initial_one_way")),
    ("one way at first, source empty", rule(direction="to_right"), f(None, "b"), Agree("one_way_source_empty", differ=True)),
    ("one way at first, both empty", rule(direction="to_left"), f(None, None), Agree("one_way_source_empty")),
    # value maps: what the edit did not touch is kept
    ("the old value still means the same", rule(transform="value_map"), f("Highest", "P1", "Low", "P3"), Agree()),
    ("mapped", rule(transform="value_map"), f("Low", "P1", "Low", "P3"), Write(L, "High", "edited")),
    ("not in the map", rule(transform="value_map"), f("Odd", "P1", "High", "P1"), "unmapped"),
    # refused before
    ("a refused value is not sent again", rule(), f("b", "a", "a", "a", parked={"side": R, "value": "b", "code": "refused"}), Ask("refused", "refused")),
    ("a new value is sent", rule(), f("c", "a", "a", "a", parked={"side": R, "value": "b", "code": "refused"}), Write(R, "c", "edited")),
    ("a member that may have arrived, and been taken away, is not sent again", A_SET, f([], ["a", "b"], [], [], parked={**MAYBE, "value": ["a"]}), Ask("refused", "maybe_written")),
    ("a member that may be our own is nobody's addition", A_SET, f(["a", "b"], [], [], [], parked={**MAYBE, "value": ["a"]}), Ask("refused", "maybe_written")),
    ("nor one that an unanswered write before it may have brought", A_SET, f([], ["a", "b"], [], [], parked={**MAYBE, "value": ["x"], "members": ["a", "x"]}), Ask("refused", "maybe_written")),
    ("other members are sent meanwhile", A_SET, f([], ["b"], [], [], parked={**MAYBE, "value": ["a"]}), Write(L, ["b"], "edited")),
    ("members that are there are none to send again", A_SET, f(["a"], ["a", "b"], [], [], parked={**MAYBE, "value": ["a"]}), Write(L, ["a", "b"], "policy_merge_sets")),
    ("what a given up write brought is no edit", rule("right"), f("c", "b", "a", "a", parked={**GIVEN_UP, "value": "b", "source": "b"}), Write(R, "c", "edited")),
    ("and an edit that takes it back is one", rule(), f("a", "b", "a", "a", parked={**GIVEN_UP, "value": "b", "source": "b"}), Write(R, "a", "edited")),
    ("also of a one-way rule", rule(direction="to_right"), f("a", "b", "a", "a", parked={**GIVEN_UP, "value": "b", "source": "b"}), Write(R, "a", "source_edited")),
    ("and of two that had never agreed", rule(), f("c", "b", parked={**GIVEN_UP, "value": "b", "source": "b"}), Write(R, "c", "edited")),
    ("as well emptied again", rule(), f(None, "b", parked={**GIVEN_UP, "value": "b", "source": "b"}), Write(R, None, "edited")),
    ("nor is what its system made of it", rule("right"), f("c", "b", "a", "a", parked={**GIVEN_UP, "value": "b ", "source": "b "}), Write(R, "c", "edited")),
    ("what else is said there is one", rule("right"), f("c", "d", "a", "a", parked={**GIVEN_UP, "value": "b", "source": "b"}), Write(L, "d", "policy_right", params={"policy": "right"})),
    ("nor is a merged value that it brought an agreement", rule(), f("c", "ab", "a", "a", parked={**GIVEN_UP, "value": "ab", "source": "b"}), Ask("field", "both_changed", {"policy": "review"})),
    ("nor what may be of two writes", A_SET, f([], ["a"], ["b"], ["b"], parked={**GIVEN_UP, "value": ["a"], "source": ["a"], "members": ["a", "b"]}), Ask("refused", "maybe_written")),
    ("cut short stays asked", rule(), f("abc", "ab", "abc", "ab", parked={"side": R, "value": "abc", "source": "abc", "code": "cut_short"}), Ask("refused", "cut_short")),
    ("cut short is over once the source changed", rule(), f("ab", "ab", "ab", "ab", parked={"side": R, "value": "abc", "source": "abc", "code": "cut_short"}), Nothing()),
    ("no longer a write", rule(), f("a", "a", "a", "a", parked={"side": R, "value": "b", "code": "refused"}), Nothing()),
]  # fmt: skip


@pytest.mark.parametrize("one_rule, field, expected", [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_merge(one_rule: CompiledRule, field: Field, expected: Any) -> None:
    outcome = merge_field(one_rule, field)
    if isinstance(expected, str):
        assert isinstance(outcome, Ask) and outcome.kind == expected
    else:
        assert outcome == expected


def refusing_lens(*sides: str) -> Lens:
    def refuse(source: Any, old: Any, base: Any) -> Any:
        raise CannotExpress("value_not_in_map", value=source)

    def keep(source: Any, old: Any, base: Any) -> Any:
        return source

    return Lens(refuse if "right" in sides else keep, refuse if "left" in sides else keep)


@pytest.mark.parametrize("policy, kind", [("merge_sets", "set"), ("merge_text", "text")])
def test_what_cannot_be_carried_over_cannot_be_merged(policy: str, kind: str) -> None:
    spec = FieldSpec("p", "P", kind)
    one = CompiledRule("rule", spec, spec, "both", refusing_lens("left"), Policy(policy, policy))
    outcome = merge_field(one, f(["a"], ["b"], [], []) if kind == "set" else f("a", "b", "c", "c"))
    assert isinstance(outcome, Ask) and outcome.kind == "unmapped"


def test_a_merge_into_a_required_field_never_empties_it() -> None:
    one = rule("merge_sets", kind="set", transform="set", required=True)
    outcome = merge_field(one, f(["b"], ["a"], ["a", "b"], ["a", "b"]))
    assert outcome == Ask("unmapped", "required_would_be_emptied", {"side": "left"})


SEEN = {"left": "b", "right": "c"}
RESOLVE = [
    ("left", rule(), {"take": "left", "seen": SEEN}, Write(R, "b", "resolved")),
    ("right", rule(), {"take": "right", "seen": SEEN}, Write(L, "c", "resolved")),
    ("base", rule(), {"take": "base", "seen": SEEN}, Write(L, "a", "resolved", settle="other")),
    ("base of a one-way rule", rule(direction="to_right"), {"take": "base"}, Write(R, "a", "resolved", settle="current")),
    ("ignore", rule(), {"take": "ignore", "seen": SEEN}, Agree("agreed_to_differ", differ=True)),
    ("value", rule(), {"take": "value", "value": "x", "in": "left"}, Write(L, "x", "resolved", settle="other")),
    ("value in the right's form", rule(), {"take": "value", "value": "x", "in": "right"}, Write(R, "x", "resolved", settle="other")),
    ("value that the left says already", rule(), {"take": "value", "value": "b", "in": "left"}, Write(R, "b", "resolved")),
    ("value that the right says already", rule(), {"take": "value", "value": "c", "in": "left"}, Write(L, "c", "resolved")),
    ("value for a side the rule does not write", rule(direction="to_right"), {"take": "value", "value": "x", "in": "left"}, Ask("field", "direction_forbids", {"side": "left"})),
    ("taking the target of a one-way rule", rule(direction="to_right"), {"take": "right"}, Agree("agreed_to_differ", differ=True)),
    ("undo of a write whose other side moved", rule(), {"take": "before", "value": "z", "in": "right", "seen": {"right": "c"}}, Stale()),
    ("the left moved", rule(), {"take": "left", "seen": {"left": "old", "right": "c"}}, Stale()),
    ("the right moved", rule(), {"take": "left", "seen": {"left": "b", "right": "old"}}, Stale()),
    ("moved, but forced", rule(), {"take": "left", "seen": {"left": "old"}, "force": True}, Write(R, "b", "resolved")),
]  # fmt: skip


@pytest.mark.parametrize("one_rule, choice, expected", [row[1:] for row in RESOLVE], ids=[row[0] for row in RESOLVE])
def test_resolve(one_rule: CompiledRule, choice: dict[str, Any], expected: Any) -> None:
    assert resolve_field(one_rule, f("b", "c", "a", "a"), choice) == expected


def test_undo_writes_one_side_back_where_the_other_has_no_edit_of_its_own() -> None:
    choice = {"take": "before", "value": "z", "in": "right", "seen": {"right": "c"}}
    for field in (f("a", "c", "a", "c"), f("a", "c")):
        assert resolve_field(rule(), field, choice) == Write(R, "z", "undone", settle="current")
        forbidden = Ask("field", "direction_forbids", {"side": R})
        assert resolve_field(rule(direction="to_left"), field, choice) == forbidden


def test_there_is_no_base_to_take_before_the_sides_agreed() -> None:
    assert resolve_field(rule(), f("b", "c"), {"take": "base"}) == Ask("field", "never_agreed")


def test_a_choice_about_an_unreadable_field_is_stale() -> None:
    assert resolve_field(rule(), f(MISSING, "c", "a", "a"), {"take": "right"}) == Stale()


BASES = [
    ("as sent", rule(), "x", "x", "x", WrittenBase("x")),
    ("re-rendered, means the same to the source", rule(transform="value_map"), "P1", "P1", "High", WrittenBase("P1")),
    ("another value: the written side's edit", rule(), "x", "y", "x", WrittenBase("x", edited=True)),
    ("trimmed: means the same", rule(), "x ", "x", "x ", WrittenBase("x")),
    ("cut short", rule(), "a long text", "a long", "a long text", WrittenBase("a long", cut_short=True)),
    ("cut short with an ellipsis", rule(), "a long text", "a lon…", "a long text", WrittenBase("a lon…", cut_short=True)),
    ("source unknown", rule(), "x", "y", MISSING, WrittenBase("x", edited=True)),
    ("number rounded by the system", rule(), 1.25, 1.3, 1.25, WrittenBase(1.3, cut_short=True)),
    ("number rounded to a whole one", rule(), 2.5, 2, 2.5, WrittenBase(2, cut_short=True)),
    ("decimals cut off", rule(), -1.29, -1.2, -1.29, WrittenBase(-1.2, cut_short=True)),
    ("another number: the written side's edit", rule(), 1.25, 2, 1.25, WrittenBase(1.25, edited=True)),
    ("another number with as many decimals", rule(), 1.25, 1.26, 1.25, WrittenBase(1.25, edited=True)),
    ("a number made more exact", rule(), 1, 1.2, 1, WrittenBase(1, edited=True)),
]  # fmt: skip


@pytest.mark.parametrize(
    "one_rule, sent, back, source, expected", [row[1:] for row in BASES], ids=[r[0] for r in BASES]
)
def test_base_after_write(one_rule: CompiledRule, sent: Any, back: Any, source: Any, expected: WrittenBase) -> None:
    assert base_after_write(one_rule, "right", sent, back, source) == expected


def test_a_read_back_that_means_what_the_source_holds_is_the_base() -> None:
    spec = FieldSpec("p", "P", "text")
    loud = Lens(lambda s, o, b: s.upper(), lambda s, o, b: o if o and o.upper() == s.upper() else s.lower())
    one = CompiledRule("rule", spec, spec, "both", loud)
    assert base_after_write(one, "right", "ABC", "Abc", "abc") == WrittenBase("Abc")


def test_a_read_back_without_counterpart_is_an_edit() -> None:
    spec = FieldSpec("p", "P", "text")
    one = CompiledRule("rule", spec, spec, "both", refusing_lens("left"))
    assert base_after_write(one, "right", "a", "b", "a") == WrittenBase("a", edited=True)


@pytest.mark.parametrize("value, empty", [(None, True), ("", True), ([], True), ({"type": "doc", "content": []}, True), (0, False), (False, False), ("0", False), ({"type": "doc", "content": [1]}, False)])  # fmt: skip
def test_is_empty(value: Any, empty: bool) -> None:
    assert is_empty(value) is empty


def test_missing_is_named_in_failures() -> None:
    assert repr(MISSING) == "MISSING"
