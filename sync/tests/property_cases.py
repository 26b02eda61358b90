"""Any rule, any field, any link: what the property tests of the merge and the plan draw from.

Values come from small pools, so that equal, edited and agreed ones meet often. `carried_out` is the table "Base after a
write" of docs/architecture.md as a model: what a decision leaves once a system has answered it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from mappings.compiled import CompiledRule, Policy
from mappings.tests.lens_cases import PRIORITIES, TEAM
from mappings.transforms import TRANSFORMS
from mappings.transforms.base import CannotExpress, FieldSpec, Lens
from mappings.transforms.merging import merge_sets
from sync.merge import MISSING, OTHER, Agree, Ask, EditTime, Field, Outcome, Write
from sync.read_back import base_after_write

SIDES = ("left", "right")
POLICIES = ("review", "left", "right", "newest", "merge_sets", "merge_text")
INITIALS = ("fill_empty", "left", "right", "newest", "review")
DIRECTIONS = ("both", "to_right", "to_left")


@dataclass(frozen=True)
class Family:
    """One transform between two fields, with values that its two sides may hold."""

    name: str
    kinds: tuple[str, str]
    transform: str
    values: tuple[tuple[Any, ...], tuple[Any, ...]]
    params: Any = None
    entries: tuple[dict[str, Any], ...] = ()

    def lens(self, left: FieldSpec, right: FieldSpec) -> Lens:
        return TRANSFORMS[self.transform].build(self.params or {}, left, right, list(self.entries))


TEXTS = (None, "", "a", "a ", "b", "x\ny\nz", "X\ny\nz", "x\ny\nZ", "x\nq\ny\nz")
LONG = (None, "abcdef", "abcd…", "abc", "uvwxyz", "uv")
DAYS = (None, "2026-01-01", "2026-01-02")
MOMENTS = (None, "2026-01-01T09:00:00Z", "2026-01-01T23:30:00Z", "2026-01-02T00:00:00Z")
NUMBERS = (None, 0, 1, 1.004, 1.01, 2)
SETS = (None, [], ["a"], ["b"], ["a", "b"], ["a", "c"], ["a", "b", "c"])
PICKLISTS = (None, "a", "b", "a;b", "a;c", "a;b;c")
PEOPLE = (None, "ann@example.com", "Ann@example.com", "bob@example.com", "bob@example.org", "id:1", "queue:Support")

FAMILIES = (
    Family("text", ("text", "text"), "same", (TEXTS, TEXTS)),
    Family(
        "value map",
        ("option", "option"),
        "value_map",
        ((None, "Highest", "High", "Medium", "?"), (None, "P1", "P2", "P3", "P4", "?")),
        entries=tuple(PRIORITIES),
    ),
    Family("boolean", ("boolean", "boolean"), "boolean", ((None, True, False),) * 2),
    Family("rounded number", ("number", "number"), "number", (NUMBERS, NUMBERS), {"places": 2}),
    Family("date", ("date", "datetime"), "date_time", (DAYS, MOMENTS), {"timezone": "America/New_York"}),
    Family("short text", ("text", "text"), "text_limited", (LONG, LONG), {"right_limit": "5"}),
    Family("set", ("set", "set"), "set", (SETS, SETS)),
    Family("picklist", ("set", "text"), "set", (SETS, PICKLISTS)),
    Family("person", ("person", "person"), "person", (PEOPLE, PEOPLE), entries=tuple(TEAM)),
)


@dataclass(frozen=True)
class Case:
    """One rule and what the merge may know of its field."""

    family: Family
    rule: CompiledRule
    field: Field


class Picks:
    """Choices out of one drawn string of bytes, one byte each: many times faster than a draw for each, and it shrinks
    well, since the first of every sequence is the plainest."""

    def __init__(self, drawn: bytes) -> None:
        self._bytes = iter(drawn)

    def of(self, options: Sequence[Any]) -> Any:
        return options[next(self._bytes) % len(options)]

    def once_in(self, number: int) -> bool:
        return next(self._bytes) % number == number - 1


# More than a rule with its field takes; a case that took more would end in StopIteration.
BYTES = 40


def picks(number: int = BYTES) -> st.SearchStrategy[Picks]:
    return st.binary(min_size=number, max_size=number).map(Picks)


REQUIRED = ((False, False), (False, False), (True, False), (False, True), (True, True))


def rule_of(
    pick: Picks,
    families: Sequence[Family] = FAMILIES,
    directions: Sequence[str] = DIRECTIONS,
    policies: Sequence[str] = POLICIES,
    rule_id: str = "rule",
) -> tuple[Family, CompiledRule]:
    family = pick.of(families)
    required = pick.of(REQUIRED)
    left, right = (
        FieldSpec(f"{side}_{rule_id}", side.title(), kind, required=must)
        for side, kind, must in zip(SIDES, family.kinds, required, strict=True)
    )
    policy = Policy(pick.of(policies), "policy", 1.0)
    lens = family.lens(left, right)
    more = pick.of(("keep", "enforce")), pick.of(INITIALS)
    return family, CompiledRule(rule_id, left, right, pick.of(directions), lens, policy, *more)


AGES = (None, EditTime(10, 11), EditTime(10, 15), EditTime(12, 12), EditTime(20, 21))


def case_of(
    pick: Picks,
    drawn: tuple[Family, CompiledRule],
    *,
    agreed: bool = False,
    hidden: bool = True,
    parked: bool = True,
    edited: Sequence[str] | None = None,
) -> Case:
    """`agreed`: both sides have a base; `hidden`: a side may be unreadable; `parked`: a value may have been refused;
    `edited`: exactly these sides differ from their bases."""
    family, rule = drawn
    bases = [pick.of(pool) for pool in family.values]
    if pick.once_in(2):  # a pair that says the same, as most do
        bases[1] = carried(rule.lens, "right", bases[0], bases[1])
    values = []
    for side, base, pool in zip(SIDES, bases, family.values, strict=True):
        others = [value for value in pool if value != base]
        if edited is not None:
            values.append(pick.of(others) if side in edited else base)
        else:
            values.append(pick.of(others) if pick.once_in(2) else base)
    if not agreed and pick.once_in(4):
        gone = pick.of(((0, 1), (0, 1), (0,), (1,)))
        bases = [MISSING if i in gone else base for i, base in enumerate(bases)]
    if hidden and pick.once_in(12):
        values[pick.of((0, 1))] = MISSING
    refused = None
    if parked and pick.once_in(4):
        index = pick.of((0, 1))
        refused = {
            "side": SIDES[index],
            "value": pick.of(family.values[index]),
            "source": pick.of(family.values[1 - index]),
            "code": pick.of(("refused", "cut_short")),
            "params": {},
        }
    return Case(family, rule, Field(*values, *bases, pick.of(AGES), pick.of(AGES), pick.once_in(4), refused))


def cases_of(
    families: Sequence[Family] = FAMILIES,
    directions: Sequence[str] = DIRECTIONS,
    policies: Sequence[str] = POLICIES,
    **limits: Any,
) -> st.SearchStrategy[Case]:
    return picks().map(lambda pick: case_of(pick, rule_of(pick, families, directions, policies), **limits))


def choice_of(pick: Picks, case: Case) -> dict[str, Any]:
    """What a person may choose, having seen the values, or others."""
    side = pick.of(SIDES)
    pools = dict(zip(SIDES, case.family.values, strict=True))
    seen = {one: case.field.value(one) for one in SIDES if pick.once_in(2)}
    if seen and pick.once_in(2):
        moved = pick.of(sorted(seen))
        seen[moved] = pick.of(pools[moved])
    return {
        "take": pick.of(("left", "right", "base", "ignore", "value", "before")),
        "value": pick.of(pools[side]),
        "in": side,
        "seen": seen,
        "force": pick.once_in(6),
    }


def carried(lens: Lens, side: str, source: Any, old: Any) -> Any:
    """What the lens makes of `source` for `side`; `old` where it cannot be expressed there."""
    try:
        return lens.put(side, source, old)
    except CannotExpress:
        return old


# The mirror: the same rule and field with left and right exchanged. ------------------------------------------------


def mirror(case: Case) -> Case:
    rule, field = case.rule, case.field
    lens = Lens(rule.lens.to_left, rule.lens.to_right)
    swapped = {**OTHER, "to_left": "to_right", "to_right": "to_left"}
    kind = swapped.get(rule.policy.kind, rule.policy.kind)
    other_rule = replace(
        rule,
        left=rule.right,
        right=rule.left,
        lens=lens,
        direction=swapped.get(rule.direction, rule.direction),
        initial=swapped.get(rule.initial, rule.initial),
        policy=replace(rule.policy, kind=kind),
    )
    refused = field.parked and {**field.parked, "side": OTHER[field.parked["side"]]}
    other_field = Field(
        field.right,
        field.left,
        field.right_base,
        field.left_base,
        field.right_edit,
        field.left_edit,
        field.open_conflict,
        refused,
    )
    return Case(case.family, other_rule, other_field)


def mirrored(outcome: Outcome) -> Outcome:
    """The outcome as the mirror must give it."""

    def swap(text: Any) -> Any:
        if text in OTHER:
            return OTHER[text]
        for code, other in (("_left", "_right"), ("_right", "_left")):
            if isinstance(text, str) and text.endswith(code):
                return text.removesuffix(code) + other
        return text

    changes: dict[str, Any] = {}
    if hasattr(outcome, "side"):
        changes["side"] = OTHER[outcome.side]
    if isinstance(outcome, Write | Agree | Ask):
        changes["code"] = swap(outcome.code)
    if isinstance(outcome, Write | Ask):
        changes["params"] = {key: swap(value) for key, value in outcome.params.items()}
    return replace(outcome, **changes)


# Carrying out. -----------------------------------------------------------------------------------------------------


def as_sent(value: Any) -> Any:
    return value


def carried_out(rule: CompiledRule, f: Field, outcome: Outcome, keeps: Callable[[Any], Any] = as_sent) -> Field:
    """The field once the outcome was carried out. `keeps`: what the written system makes of a value it is sent."""
    if isinstance(outcome, Agree):
        return replace(f, left_base=f.left, right_base=f.right, open_conflict=False, parked=None)
    if isinstance(outcome, Ask):
        return replace(f, open_conflict=f.open_conflict or outcome.kind in ("field", "oscillation"))
    if not isinstance(outcome, Write):
        return f
    side, source_side = outcome.side, OTHER[outcome.side]
    source, read_back = f.value(source_side), keeps(outcome.value)
    parked: dict[str, Any] | None = None
    if outcome.settle == "other":
        base = carried(rule.lens, side, source, f.value(side))
    elif outcome.settle == "members":
        base = merge_sets(read_back, f.base(side), None, f.value(side) or [])
    elif outcome.settle == "current":
        base = read_back
    else:
        written = base_after_write(rule, side, outcome.value, read_back, source)
        base = written.base
        if written.cut_short:
            parked = {"side": side, "value": outcome.value, "source": source, "code": "cut_short", "params": {}}
    changes = {side: read_back, f"{side}_base": base, f"{source_side}_base": source}
    return replace(f, **changes, open_conflict=False, parked=parked)
