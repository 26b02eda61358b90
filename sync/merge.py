"""The merge of one field of one link: bases + current values + rule → what to do. The heart.

Pure. What is known: each side's base is the value that side had when both last agreed, in that side's own form.
A change is judged on each side against its own base alone, so a lossy or re-rendered copy never looks like an edit.
The last editor never decides, nor does the time of our own read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mappings.compiled import CompiledRule
from mappings.transforms.base import CannotExpress
from mappings.transforms.merging import merge_sets, merge_text

OTHER = {"left": "right", "right": "left"}


class _Missing:
    """No base yet (never agreed), or a value the account may not read. Not the same as empty."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


@dataclass(frozen=True, slots=True)
class EditTime:
    """When a side's edit happened, as an interval in seconds on one clock; exact where the vendor keeps a history."""

    earliest: float
    latest: float


@dataclass(frozen=True, slots=True)
class Field:
    """Everything the merge may know of one field of one link."""

    left: Any
    right: Any
    left_base: Any = MISSING
    right_base: Any = MISSING
    left_edit: EditTime | None = None
    right_edit: EditTime | None = None
    open_conflict: bool = False  # a person was asked: no later policy settles it
    parked: Mapping[str, Any] | None = None  # {"side", "value", "code", "params"}: refused before

    def value(self, side: str) -> Any:
        return self.left if side == "left" else self.right

    def base(self, side: str) -> Any:
        return self.left_base if side == "left" else self.right_base

    def changed(self, side: str) -> bool:
        return self.base(side) is MISSING or self.value(side) != self.base(side)


# The outcomes. Every decision is one of these, and none has two writes. ----------------------------------------


@dataclass(frozen=True, slots=True)
class Skip:
    """Unreadable or absent on a side, or it stands still: bases stay, the page says so."""

    side: str
    code: str = ""  # why it stands still, where a field is not what the version knows


@dataclass(frozen=True, slots=True)
class Nothing:
    """Neither side changed and both say the same."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Neither side changed, yet they differ: reported, never written."""


@dataclass(frozen=True, slots=True)
class Agree:
    """Move both bases to the current values and write nothing. `code` says why."""

    code: str = "converged"
    differ: bool = False  # agreed to differ


@dataclass(frozen=True, slots=True)
class Write:
    """Write `value` to `side`. `settle` says what the bases become once it is confirmed:

    "source": the ordinary write: the written side's base follows `base_after_write`, the source's base is the
              value decided from;
    "other":  the value equals neither side: both bases take the other side's value, the rest is an ordinary edit;
    "members": of two sets that may differ one took what was done to the other: its base does that too, the rest is an
              ordinary edit;
    "current": an undo: both bases take the then current values.
    """

    side: str
    value: Any
    code: str
    settle: str = "source"
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """A person must settle it."""

    kind: str  # a Conflict kind
    code: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stale:
    """The field moved since the person saw it: nothing is written, the page shows the new values."""


Outcome = Skip | Nothing | Drift | Agree | Write | Ask | Stale


def is_empty(value: Any) -> bool:
    """Whether people would call the value empty; an empty document counts."""
    if isinstance(value, dict) and "content" in value:
        return not value["content"]
    return value is None or value == "" or value == [] or value == {}


def says_the_same(rule: CompiledRule, f: Field) -> bool:
    """Whether both sides mean the same; for a one-way rule it is enough that the target says what the source means."""
    if rule.direction == "both":
        return rule.lens.equal(f.left, f.right)
    target = "right" if rule.direction == "to_right" else "left"
    try:
        return bool(rule.lens.put(target, f.value(OTHER[target]), f.value(target), None) == f.value(target))
    except CannotExpress:
        return False


def merge_field(rule: CompiledRule, f: Field) -> Outcome:
    """What to do about one field."""
    for side in ("left", "right"):
        if f.value(side) is MISSING:
            return Skip(side)
    outcome = _decide(rule, f)
    if isinstance(outcome, Write | Nothing | Drift):
        for parked in (f.parked, (f.parked or {}).get("unsure")):
            if parked and _still_parked(rule, f, parked, outcome):
                return Ask("refused", parked["code"], parked.get("params", {}))
    return outcome


def _decide(rule: CompiledRule, f: Field) -> Outcome:
    f = _agreed_by_our_write(rule, f) or f
    if f.left_base is MISSING or f.right_base is MISSING:
        return _never_agreed(rule, f)
    if rule.direction != "both":
        return _one_way(rule, f)
    left_changed, right_changed = f.changed("left"), f.changed("right")
    equal = rule.lens.equal(f.left, f.right)
    if not left_changed and not right_changed:
        return Nothing() if equal else Drift()
    if equal:
        return Agree()
    if left_changed and right_changed:
        return _both_changed(rule, f)
    side = "left" if right_changed else "right"
    if sets_apart(rule, f):
        return _members_carried(rule, f, side)
    return carry(rule, f, side, "edited")


def _agreed_by_our_write(rule: CompiledRule, f: Field) -> Field | None:
    """The field with the bases of a write that was given up, where that side says what the other one said then; None
    elsewhere.

    ⚑ Nobody edited there: a policy that let it decide would put our old value over the edit made since, and an edit
    that takes the sent one back would look like none. Its system may have put it in another form, such as without
    white space at the end. A value that was not the other side's own, such as a merged one, is no agreement.
    """
    maybe = unsure_of(f.parked or {})
    if not maybe or "operation" not in maybe or "members" in maybe:
        return None
    side = maybe["side"]
    agreed = replace(f, **{f"{side}_base": f.value(side), f"{OTHER[side]}_base": maybe["source"]})
    then = replace(agreed, left=agreed.left_base, right=agreed.right_base)
    return agreed if says_the_same(rule, then) and agreed.changed(OTHER[side]) else None


def sets_apart(rule: CompiledRule, f: Field) -> bool:
    """Whether the two sides are sets that somebody let differ."""
    return rule.is_set and not rule.lens.equal(f.left_base, f.right_base)


def _members_carried(rule: CompiledRule, f: Field, side: str) -> Outcome:
    """Two sets that may differ: what was added and taken away over there is done to `side`, the rest of it stays.

    ⚑ To copy the whole set would take away, unasked, what somebody added on `side` alone.
    """
    source = OTHER[side]
    try:
        there, before = (rule.lens.put(side, value) or [] for value in (f.value(source), f.base(source)))
    except CannotExpress as problem:
        return Ask("unmapped", problem.code, {**problem.params, "side": side})
    value = merge_sets(f.value(side), there, f.base(side), before)
    if value == f.value(side) or (not value and is_empty(f.value(side))):
        return Agree("kept_apart", differ=True)
    if rule.field(side).required and not value:
        return Ask("unmapped", "required_would_be_emptied", {"side": side})
    return Write(side, value, "kept_apart")


def _members_met(rule: CompiledRule, f: Field) -> Outcome:
    """Two sets that may differ, both edited: each takes what was added and taken away on the other, the left first.

    ⚑ With equal bases from then on, as any other merge has, what one side alone may have would be taken away from it.
    """
    outcome = _members_carried(rule, f, "left")
    if isinstance(outcome, Agree):  # the left did the same
        return _members_carried(rule, f, "right")
    return replace(outcome, code="policy_merge_sets", settle="members") if isinstance(outcome, Write) else outcome


def carry(rule: CompiledRule, f: Field, side: str, code: str, **params: Any) -> Outcome:
    """Write to `side` what the other side says, keeping what the edit did not touch."""
    source = OTHER[side]
    base = f.base(source)
    try:
        value = rule.lens.put(side, f.value(source), f.value(side), None if base is MISSING else base)
    except CannotExpress as problem:
        return Ask("unmapped", problem.code, {**problem.params, "side": side})
    if value == f.value(side):
        return Agree()
    if rule.field(side).required and is_empty(value):
        return Ask("unmapped", "required_would_be_emptied", {"side": side})
    return Write(side, value, code, params=params)


def _one_way(rule: CompiledRule, f: Field) -> Outcome:
    """The policy is never asked: the source decides, and an edit of the target is left or overwritten."""
    target = "right" if rule.direction == "to_right" else "left"
    if f.changed(OTHER[target]):
        return carry(rule, f, target, "source_edited")
    if f.changed(target):
        if rule.one_way_target == "enforce":
            return carry(rule, f, target, "one_way_enforced")
        return Agree("one_way_target_kept", differ=not says_the_same(rule, f))
    return Nothing()


def _never_agreed(rule: CompiledRule, f: Field) -> Outcome:
    """First meeting of two values. Nothing that is filled is overwritten unless the rule says who decides."""
    if rule.direction != "both":
        target = "right" if rule.direction == "to_right" else "left"
        if is_empty(f.value(OTHER[target])):
            return Agree("one_way_source_empty", differ=not is_empty(f.value(target)))
        return carry(rule, f, target, "initial_one_way")
    if rule.lens.equal(f.left, f.right):
        return Agree("initially_equal")
    if rule.policy.kind == "merge_sets" and rule.is_set:
        return _merged_sets(rule, f, "initial_union")
    if rule.initial in ("left", "right"):
        return carry(rule, f, OTHER[rule.initial], f"initial_{rule.initial}")
    if rule.initial == "fill_empty":
        if is_empty(f.left):
            return carry(rule, f, "left", "initial_fill")
        if is_empty(f.right):
            return carry(rule, f, "right", "initial_fill")
    if rule.initial == "newest":
        return _newest(rule, f, "initial_newest")
    return Ask("field", "initially_different")


def _both_changed(rule: CompiledRule, f: Field) -> Outcome:
    if f.open_conflict:
        return Ask("field", "both_changed", {"policy": rule.policy.name})
    kind = rule.policy.kind
    if kind in ("left", "right"):
        return carry(rule, f, OTHER[kind], f"policy_{kind}", policy=rule.policy.name)
    if kind == "newest":
        return _newest(rule, f, "policy_newest", policy=rule.policy.name)
    if kind == "merge_sets" and rule.is_set:
        return _members_met(rule, f) if sets_apart(rule, f) else _merged_sets(rule, f, "policy_merge_sets")
    if kind == "merge_text":
        return _merged_text(rule, f)
    return Ask("field", "both_changed", {"policy": rule.policy.name})


def _newest(rule: CompiledRule, f: Field, code: str, **told: Any) -> Outcome:
    """The later edit wins only where the two intervals lie clearly apart."""
    left, right, apart = f.left_edit, f.right_edit, rule.policy.tolerance
    if left is not None and right is not None:
        if left.earliest > right.latest + apart:
            return carry(rule, f, "right", code, newest="left", **told)
        if right.earliest > left.latest + apart:
            return carry(rule, f, "left", code, newest="right", **told)
    return Ask("field", "times_overlap", {"policy": rule.policy.name, "tolerance": apart})


def _merged_sets(rule: CompiledRule, f: Field, code: str) -> Outcome:
    """(left ∪ added on the right) − removed on the right, against the right's own base, in the left's form."""
    try:
        right_as_left = rule.lens.put("left", f.right)
        # An empty base is a base: what the right never had it cannot have removed.
        base_as_left = None if f.right_base is MISSING else rule.lens.put("left", f.right_base) or []
    except CannotExpress as problem:
        return Ask("unmapped", problem.code, {**problem.params, "side": "left"})
    left_base = None if f.left_base is MISSING else f.left_base
    merged = merge_sets(f.left, right_as_left, left_base, base_as_left)
    return settle_on(rule, f, "left", merged, code)


def _merged_text(rule: CompiledRule, f: Field) -> Outcome:
    try:
        right_as_left = rule.lens.put("left", f.right, f.left, None)
    except CannotExpress as problem:
        return Ask("unmapped", problem.code, {**problem.params, "side": "left"})
    if not all(isinstance(text, str) for text in (f.left, right_as_left, f.left_base)):
        return Ask("field", "both_changed", {"policy": rule.policy.name})
    merged = merge_text(f.left, right_as_left, f.left_base)
    if merged is None:
        return Ask("field", "edits_touch", {"policy": rule.policy.name})
    return settle_on(rule, f, "left", merged, "policy_merge_text")


def settle_on(rule: CompiledRule, f: Field, side: str, value: Any, code: str) -> Outcome:
    """Bring both sides to `value`, given in `side`'s form, in one write; where that needs two, the first of them.

    ⚑ A value that equals neither side goes to one side; then both bases take the other side's value, and what is
    left to do is an ordinary one-sided edit. A crash in between loses nothing.
    """
    if value == f.value(side) or (is_empty(value) and is_empty(f.value(side))):
        return carry(rule, f, OTHER[side], code)
    if rule.lens.equal(*((value, f.right) if side == "left" else (f.left, value))):
        return carry(rule, f, side, code)
    if not rule.may_write(side):
        return Ask("field", "direction_forbids", {"side": side})
    if rule.field(side).required and is_empty(value):
        return Ask("unmapped", "required_would_be_emptied", {"side": side})
    # Where the other side may not be written nothing follows: the two differ by agreement.
    return Write(side, value, code, settle="other" if rule.may_write(OTHER[side]) else "current")


def resolve_field(rule: CompiledRule, f: Field, choice: Mapping[str, Any]) -> Outcome:
    """What a person's choice does to the field.

    `choice`: {"take": "left" | "right" | "base" | "ignore" | "value" | "before" | "send", "value": …, "in": side,
    "seen": {"left": …, "right": …}, "force": bool}; "send" writes the value to that side alone. ⚑ It applies if the
    *field's* values are still those the person saw; record versions do not matter. "before" undoes a write and applies
    if the other side was not edited since.
    """
    for side in ("left", "right"):
        if f.value(side) is MISSING:
            return Stale()
        if not choice.get("force") and side in (seen := choice.get("seen") or {}) and seen[side] != f.value(side):
            return Stale()
    take, side = choice["take"], choice.get("in", "left")
    if take == "ignore":
        differ = not rule.lens.equal(f.left, f.right)
        return Agree("agreed_to_differ" if differ else "left_as_it_is", differ=differ)
    if take == "before":
        # Invariant: what both bases take is known to people. An edit of the other side that has not come over is not:
        # who undoes our write has seen the written side alone.
        if f.base(OTHER[side]) is not MISSING and f.changed(OTHER[side]):
            return Stale()
        if not rule.may_write(side):
            return Ask("field", "direction_forbids", {"side": side})
        return Write(side, choice["value"], "undone", settle="current")
    if take == "send":
        # Invariant: nobody writes over what they have not seen: who sent it with the twin saw its source alone.
        if side not in (choice.get("seen") or {}) and f.changed(side):
            return Stale()
        return _send(rule, f, side, choice["value"])
    if take in ("left", "right"):
        if not rule.may_write(OTHER[take]):
            return Agree("agreed_to_differ", differ=True)
        return carry(rule, f, OTHER[take], "resolved")
    if take == "base":
        side = "left" if rule.may_write("left") else "right"
        if f.base(side) is MISSING:
            return Ask("field", "never_agreed")
        return settle_on(rule, f, side, f.base(side), "resolved")
    return settle_on(rule, f, side, choice["value"], "resolved")


def repair_field(rule: CompiledRule, f: Field, choice: Mapping[str, Any]) -> Outcome:
    """What a repair ({"take": "left" | "right", "seen": …}) does to the field: it writes what one side says to the
    other. An Ask says why it cannot; a repair neither agrees to differ nor leaves a question behind."""
    target = OTHER[choice["take"]]
    if not rule.may_write(target):
        return Ask("field", "direction_forbids", {"side": target})
    outcome = resolve_field(rule, f, choice)
    return replace(outcome, code="repaired") if isinstance(outcome, Write) else outcome


def _send(rule: CompiledRule, f: Field, side: str, value: Any) -> Outcome:
    """A person edited what is sent to `side`; the other side keeps its value, and the two differ by agreement."""
    if not rule.may_write(side):
        return Ask("field", "direction_forbids", {"side": side})
    if rule.field(side).required and is_empty(value):
        return Ask("unmapped", "required_would_be_emptied", {"side": side})
    equal = rule.lens.equal(*((value, f.right) if side == "left" else (f.left, value)))
    if value == f.value(side):
        return Agree("converged" if equal else "agreed_to_differ", differ=not equal)
    return Write(side, value, "retried", settle="source" if equal else "current")


def counterpart(rule: CompiledRule, side: str, value: Any) -> Any:
    """What `side` has to say for the other side's `value`, from nothing; None where it has no word for it."""
    try:
        return rule.lens.put(side, value, None, None)
    except CannotExpress:
        return None


def unsure_of(parked: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What is parked of a write that may have happened: this, or what a refusal of the same field came after."""
    return parked if parked.get("code") == "maybe_written" else parked.get("unsure")


def _adds_what_may_be_ours(rule: CompiledRule, f: Field, parked: Mapping[str, Any], write: Write) -> bool:
    """Whether the write adds a member to a set that an unanswered one, or one before it, may have brought.

    ⚑ Missing where that one went to, it may have been taken away since; there, it may be our own and nobody's edit.
    """
    maybe = parked.get("members", parked["value"])
    if not rule.is_set or maybe is None:
        return False
    if write.side != parked["side"]:
        maybe = counterpart(rule, write.side, maybe)
    return bool(({*(write.value or ())} - {*(f.value(write.side) or ())}) & {*(maybe or ())})


def _still_parked(rule: CompiledRule, f: Field, parked: Mapping[str, Any], outcome: Outcome) -> bool:
    """A refused value is not sent again until it changes, nor is a member of a set that may be our own."""
    maybe_written = parked["code"] == "maybe_written"
    if isinstance(outcome, Write) and maybe_written and _adds_what_may_be_ours(rule, f, parked, outcome):
        return True
    if isinstance(outcome, Write) and parked.get("typed") and outcome.side == parked["side"]:
        # A person's own value was refused after the ordinary one: neither is sent again for the same source.
        return outcome.value == parked["value"] or f.value(OTHER[outcome.side]) == parked.get("source")
    if isinstance(outcome, Write):
        return outcome.side == parked["side"] and outcome.value == parked["value"]
    # Cut short: bases moved, the sides still differ for as long as the source says what was cut.
    return parked["code"] == "cut_short" and f.value(OTHER[parked["side"]]) == parked.get("source")
