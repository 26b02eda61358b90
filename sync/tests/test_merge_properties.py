"""The laws of the merge: whatever the values, bases, policies, directions, parked values, questions and times are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from mappings.tests.properties import MERGE, cases
from mappings.transforms.base import CannotExpress
from sync.merge import (
    MISSING,
    OTHER,
    Agree,
    Ask,
    Drift,
    Field,
    Nothing,
    Skip,
    Stale,
    Write,
    is_empty,
    merge_field,
    resolve_field,
    sets_apart,
)
from sync.read_back import base_after_write
from sync.tests.property_cases import (
    AGES,
    FAMILIES,
    POLICIES,
    SIDES,
    Case,
    Family,
    Picks,
    carried_out,
    case_of,
    cases_of,
    choice_of,
    mirror,
    mirrored,
    picks,
    rule_of,
)

TWO_WAY = ("both",)
ONE_WAY = ("to_left", "to_right")
BOTH = ("left", "right")
POLICY, AGE = st.sampled_from(POLICIES), st.sampled_from(AGES)
# Edited on both sides and merged: among any rules and values chance makes none of these.
LINES = ("x\ny\nz", "X\ny\nz", "x\ny\nZ", "x\nq\ny\nz")
MERGED = st.one_of(
    cases_of(families, TWO_WAY, (policy,), agreed=True, hidden=False, parked=False, edited=BOTH)
    for families, policy in (
        (tuple(family for family in FAMILIES if family.name in ("set", "picklist")), "merge_sets"),
        ((Family("lines", ("text", "text"), "same", (LINES, LINES)),), "merge_text"),
    )
)
# After a merged value was written to one side and carried to the other one, the third look finds nothing to do.
ROUNDS = 3


def members(value: Any) -> set[str]:
    return set(value.split(";") if isinstance(value, str) else value or ())


@cases(MERGE)
@given(cases_of())
def test_hidden_is_skipped_and_nothing_else_is(case: Case) -> None:
    outcome = merge_field(case.rule, case.field)
    assert isinstance(outcome, Skip) == (case.field.left is MISSING or case.field.right is MISSING)
    if isinstance(outcome, Skip):
        assert case.field.value(outcome.side) is MISSING


@cases(MERGE)
@given(cases_of(agreed=True, hidden=False))
def test_nothing_is_written_where_nobody_edited(case: Case) -> None:
    field = replace(case.field, left_base=case.field.left, right_base=case.field.right)
    outcome = merge_field(case.rule, field)
    assert isinstance(outcome, Nothing | Drift | Ask)
    if isinstance(outcome, Ask):
        assert outcome.kind == "refused" and field.parked is not None, "only a value that was cut short is asked about"
    if case.rule.direction == "both" and isinstance(outcome, Nothing | Drift):
        assert isinstance(outcome, Nothing) == case.rule.lens.equal(field.left, field.right)


def one_sided() -> st.SearchStrategy[tuple[Case, str]]:
    def draw(pick: Picks) -> tuple[Case, str]:
        side = pick.of(SIDES)
        rule = rule_of(pick, directions=TWO_WAY)
        return case_of(pick, rule, agreed=True, hidden=False, edited=[side]), side

    return picks().map(draw)


def members_crossed(case: Case, edited: str, outcome: Any) -> None:
    """Of sets that may differ only what was added and taken away crosses; what one side alone has stays there."""
    field, other = case.field, OTHER[edited]
    if not isinstance(outcome, Write | Agree):
        assert isinstance(outcome, Ask) and outcome.kind in ("unmapped", "refused")
        return
    there, before = (set(case.rule.lens.put(other, one) or ()) for one in (field.value(edited), field.base(edited)))
    was = set(field.value(other) or ())
    now = set((outcome.value if isinstance(outcome, Write) else field.value(other)) or ())
    assert now == (was | (there - before)) - (before - there)


@cases(MERGE)
@given(one_sided())
def test_an_edit_of_one_side_crosses_unless_it_cannot(drawn: tuple[Case, str]) -> None:
    """It is asked about only where it has no counterpart, would empty a required field, or was refused before."""
    case, edited = drawn
    field, other = case.field, OTHER[edited]
    outcome = merge_field(case.rule, field)
    if sets_apart(case.rule, field):
        members_crossed(case, edited, outcome)
    elif isinstance(outcome, Write):
        assert outcome.side == other and outcome.settle == "source"
        assert outcome.value == case.rule.lens.put(other, field.value(edited), field.value(other), field.base(edited))
    elif isinstance(outcome, Ask) and outcome.kind == "refused":
        assert field.parked is not None
    elif isinstance(outcome, Ask):
        assert outcome.kind == "unmapped" and outcome.params["side"] == other
        try:
            wanted = case.rule.lens.put(other, field.value(edited), field.value(other), field.base(edited))
        except CannotExpress:
            return
        assert case.rule.field(other).required and is_empty(wanted)
    else:
        assert isinstance(outcome, Agree)
        there = case.rule.lens.put(other, field.value(edited), field.value(other), field.base(edited))
        assert case.rule.lens.equal(field.left, field.right) or there == field.value(other)


@cases(MERGE)
@given(
    cases_of(directions=TWO_WAY, hidden=False), st.sampled_from(POLICIES), st.sampled_from(AGES), st.sampled_from(AGES)
)
def test_a_policy_is_asked_only_where_both_sides_changed(case: Case, policy: str, left: Any, right: Any) -> None:
    """Neither policy, edit times nor an open question move anything as long as one side is what was agreed."""
    rule, field = case.rule, case.field
    assume(MISSING not in (field.left_base, field.right_base))
    assume(not (field.changed("left") and field.changed("right")))
    other = replace(rule, policy=replace(rule.policy, kind=policy))
    moved = replace(field, left_edit=left, right_edit=right, open_conflict=not field.open_conflict)
    assert merge_field(rule, field) == merge_field(other, moved)


@cases(MERGE)
@given(
    cases_of(directions=ONE_WAY, hidden=False), st.sampled_from(POLICIES), st.sampled_from(AGES), st.sampled_from(AGES)
)
def test_a_one_way_rule_never_asks_the_policy_and_writes_only_its_target(
    case: Case, policy: str, left: Any, right: Any
) -> None:
    rule, field = case.rule, case.field
    outcome = merge_field(rule, field)
    other = replace(rule, policy=replace(rule.policy, kind=policy), initial="review")
    moved = replace(field, left_edit=left, right_edit=right, open_conflict=not field.open_conflict)
    assert outcome == merge_field(other, moved)
    if isinstance(outcome, Write):
        assert f"to_{outcome.side}" == rule.direction
    if isinstance(outcome, Ask):
        assert outcome.kind in ("unmapped", "refused")


@cases(MERGE)
@given(st.one_of(cases_of(hidden=False), MERGED))
def test_a_written_value_comes_from_values_that_people_accepted(case: Case) -> None:
    """It is what the source says in the target's form, or made of members or lines that one of the sides holds."""
    rule, field = case.rule, case.field
    outcome = merge_field(rule, field)
    if not isinstance(outcome, Write):
        return
    side = outcome.side
    source, base = field.value(OTHER[side]), field.base(OTHER[side])
    if outcome.code == "kept_apart":
        accepted = set(field.value(side) or ()) | set(rule.lens.put(side, source) or ())
        assert set(outcome.value) <= accepted
        return
    if outcome.settle == "source":
        assert outcome.value == rule.lens.put(side, source, field.value(side), None if base is MISSING else base)
        return
    assert outcome.settle in ("other", "members") and rule.policy.kind in ("merge_sets", "merge_text")
    there = rule.lens.put(side, source, field.value(side), None)
    if rule.policy.kind == "merge_sets":
        assert members(outcome.value) <= members(field.value(side)) | members(there)
    else:
        assert set(outcome.value.split("\n")) <= set(f"{field.value(side)}\n{there}".split("\n"))


@cases(MERGE)
@given(cases_of(hidden=False))
def test_no_write_empties_a_required_field_or_repeats_what_is_there_or_what_was_refused(case: Case) -> None:
    outcome = merge_field(case.rule, case.field)
    if isinstance(outcome, Write):
        assert outcome.value != case.field.value(outcome.side)
        assert not (case.rule.field(outcome.side).required and is_empty(outcome.value))
        parked = case.field.parked or {}
        assert (outcome.side, outcome.value) != (parked.get("side"), parked.get("value", MISSING))


@cases(MERGE)
@given(cases_of(directions=TWO_WAY, agreed=True, hidden=False, edited=BOTH), st.sampled_from(POLICIES))
def test_an_open_question_is_settled_by_no_policy(case: Case, policy: str) -> None:
    rule = replace(case.rule, policy=replace(case.rule.policy, kind=policy))
    field = replace(case.field, open_conflict=True, parked=None)
    outcome = merge_field(rule, field)
    if rule.lens.equal(field.left, field.right):
        assert outcome == Agree()
    else:
        assert isinstance(outcome, Ask) and outcome.kind == "field"


@cases(MERGE)
@given(cases_of(directions=TWO_WAY, policies=POLICIES[:4], hidden=False))
def test_at_a_first_meeting_nothing_filled_is_overwritten_unless_the_rule_says_who_decides(case: Case) -> None:
    rule, field = case.rule, replace(case.field, left_base=MISSING, right_base=MISSING)
    outcome = merge_field(rule, field)
    if isinstance(outcome, Write) and rule.initial == "fill_empty":
        assert is_empty(field.value(outcome.side))
    if rule.initial in SIDES and isinstance(outcome, Write):
        assert outcome.side == OTHER[rule.initial]
    if rule.initial == "review":
        assert not isinstance(outcome, Write)


@cases(MERGE)
@given(cases_of(policies=POLICIES[:4], hidden=False))
def test_left_and_right_are_treated_alike(case: Case) -> None:
    other = mirror(case)
    assert merge_field(other.rule, other.field) == mirrored(merge_field(case.rule, case.field))


SET = tuple(family for family in FAMILIES if family.name == "set")


@cases(MERGE)
@given(cases_of(SET, TWO_WAY, ("merge_sets",), agreed=True, hidden=False, parked=False, edited=BOTH))
def test_sets_become_what_the_left_has_and_the_right_added_without_what_it_removed(case: Case) -> None:
    rule, field = case.rule, replace(case.field, open_conflict=False)
    left, right, base = (members(value) for value in (field.left, field.right, field.right_base))
    if sets_apart(rule, field):
        return
    expected = (left | (right - base)) - (base - right)
    after = settled(rule, field)
    if isinstance(question := merge_field(rule, after), Ask):
        assert question.code == "required_would_be_emptied" and not expected
        return
    assert members(after.left) == members(after.right) == expected


@cases(MERGE)
@given(cases_of(SET, TWO_WAY, ("merge_sets",), agreed=True, hidden=False, parked=False, edited=BOTH))
def test_of_sets_that_may_differ_each_takes_what_was_done_to_the_other_and_nothing_else(case: Case) -> None:
    rule, field = case.rule, replace(case.field, open_conflict=False)
    if not sets_apart(rule, field) or any(rule.field(side).required for side in SIDES):
        return
    own = {side: members(field.value(side)) for side in SIDES}
    base = {side: members(field.base(side)) for side in SIDES}
    after = settled(rule, field)
    for side, other in OTHER.items():
        # What one side did to a member that the other one did not touch; where both did, the right decides, as it does
        # where they are merged.
        added, removed = own[other] - base[other], base[other] - own[other]
        if rule.lens.equal(field.left, field.right):
            added = removed = set()
        expected = (own[side] | added) - removed
        disputed = (added & (base[side] - own[side])) | (removed & (own[side] - base[side]))
        assert members(after.value(side)) - disputed == expected - disputed


def settled(rule: Any, field: Field, rounds: int = ROUNDS) -> Field:
    """The field once there is nothing to do; fails if that takes more than `rounds` looks."""
    for _ in range(rounds):
        outcome = merge_field(rule, field)
        if not isinstance(outcome, Write | Agree):
            return field
        field = carried_out(rule, field, outcome)
    assert not isinstance(merge_field(rule, field), Write | Agree), "it goes on and on"
    return field


@cases(2 * MERGE)
@given(cases_of(hidden=False))
def test_whatever_is_decided_soon_there_is_nothing_more_to_do(case: Case) -> None:
    """Once written by an ideal system, both say the same, or a person is asked, or both keep what was agreed."""
    rule, field = case.rule, case.field
    after = settled(rule, field)
    last = merge_field(rule, after)
    assert isinstance(last, Nothing | Drift | Ask)
    if isinstance(last, Nothing | Drift):
        assert (after.left_base, after.right_base) == (after.left, after.right)


@cases(MERGE)
@given(cases_of(directions=TWO_WAY, agreed=True, hidden=False, parked=False, edited=BOTH), st.sampled_from(SIDES))
def test_what_an_owner_says_is_what_both_say_in_the_end(case: Case, owner: str) -> None:
    rule = replace(case.rule, policy=replace(case.rule.policy, kind=owner))
    field = replace(case.field, open_conflict=False)
    after = settled(rule, field)
    if not isinstance(merge_field(rule, after), Ask):
        assert after.value(owner) == field.value(owner)
        assert rule.lens.equal(after.left, after.right)


def upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


@cases(MERGE)
@given(
    cases_of(FAMILIES[:1], TWO_WAY, hidden=False, parked=False),
    st.sampled_from((upper, lambda value: "Z", lambda value: None, lambda value: value and value[:2])),
)
def test_a_system_that_keeps_something_else_is_not_fought(case: Case, keeps: Any) -> None:
    """What it made of our value is its own edit: that crosses, or a person is asked, and then there is quiet."""
    rule, field = case.rule, case.field
    for _ in range(ROUNDS + 2):
        outcome = merge_field(rule, field)
        if not isinstance(outcome, Write | Agree):
            return
        field = carried_out(
            rule, field, outcome, keeps if isinstance(outcome, Write) and outcome.side == "right" else lambda v: v
        )
    raise AssertionError(f"it goes on and on: {field}")


# What people choose. -----------------------------------------------------------------------------------------------


def choices() -> st.SearchStrategy[tuple[Case, dict[str, Any]]]:
    def draw(pick: Picks) -> tuple[Case, dict[str, Any]]:
        case = case_of(pick, rule_of(pick), parked=False)
        return case, choice_of(pick, case)

    return picks().map(draw)


@cases(MERGE)
@given(choices())
def test_a_choice_applies_to_the_values_that_were_seen_and_to_no_others(drawn: tuple[Case, dict[str, Any]]) -> None:
    case, choice = drawn
    hidden = MISSING in (case.field.left, case.field.right)
    moved = any(value != case.field.value(side) for side, value in choice["seen"].items())
    other = OTHER[choice["in"]]
    unseen = choice["take"] == "before" and case.field.value(other) != case.field.base(other) is not MISSING
    outcome = resolve_field(case.rule, case.field, choice)
    assert isinstance(outcome, Stale) == (hidden or (moved and not choice["force"]) or unseen)


@cases(MERGE)
@given(choices())
def test_a_choice_is_carried_out_in_one_direction_and_then_there_is_quiet(drawn: tuple[Case, dict[str, Any]]) -> None:
    case, choice = drawn
    rule, field = case.rule, replace(case.field, open_conflict=True)
    outcome = resolve_field(rule, field, choice)
    if isinstance(outcome, Write):
        assert not (rule.field(outcome.side).required and is_empty(outcome.value)) or choice["take"] == "before"
    if isinstance(outcome, Agree):
        assert choice["take"] == "ignore" or not rule.may_write(OTHER.get(choice["take"], "left")) or not outcome.differ
    if not isinstance(outcome, Write | Agree):
        return
    if isinstance(outcome, Write) and not rule.may_write(outcome.side):
        return  # the plan leaves both as they are
    after = settled(rule, carried_out(rule, field, outcome), ROUNDS - 1)
    if choice["take"] == "ignore":
        assert (after.left, after.right) == (field.left, field.right)
    if choice["take"] == "before":
        assert (after.value(choice["in"]), after.value(OTHER[choice["in"]])) == (
            choice["value"],
            field.value(OTHER[choice["in"]]),
        ), "an undo writes back on one side and is agreed"


# Bases after a write. ----------------------------------------------------------------------------------------------


def written() -> st.SearchStrategy[tuple[Case, str, Any, Any]]:
    def draw(pick: Picks) -> tuple[Case, str, Any, Any]:
        case, side = case_of(pick, rule_of(pick, directions=TWO_WAY), hidden=False), pick.of(SIDES)
        pool = case.family.values[SIDES.index(side)]
        return case, side, pick.of(pool), pick.of(pool)

    return picks().map(draw)


@cases(MERGE)
@given(written())
def test_the_written_sides_base_is_what_we_sent_or_what_it_answered(drawn: tuple[Case, str, Any, Any]) -> None:
    case, side, sent, read_back = drawn
    rule, source = case.rule, case.field.value(OTHER[side])
    written = base_after_write(rule, side, sent, read_back, source)
    if written.edited:
        assert written.base == sent != read_back, "the difference shows as the written side's edit"
        assert not written.cut_short
    else:
        assert written.base == read_back
    if written.cut_short and isinstance(sent, str):
        assert sent.startswith(read_back.rstrip("…. \n")) and len(read_back) < len(sent)
    if read_back == sent:
        assert not (written.edited or written.cut_short)
