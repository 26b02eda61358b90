"""One field that a person must settle: the values, the choices, and what each of them would write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from mappings.compiled import CompiledRule, Policy, compile_rule
from mappings.models import ConflictPolicy
from mappings.transforms.base import CannotExpress, FieldSpec
from mappings.transforms.merging import merge_sets, merge_text
from sync import clobbers
from sync.merge import MISSING, OTHER, Agree, Ask, EditTime, Field, Outcome, Write, merge_field, resolve_field
from sync.models import Conflict
from sync.state import seconds_of
from sync.views._values import Control, brief, control_for, difference, full
from sync.wording import sentence

# A choice with the number of an overwritten edit, the latest first.
RESTORE = "restore-"
TYPE_WORDS = {
    "rich_text": "rich text",
    "option": "choice",
    "set": "set",
    "boolean": "yes or no",
    "datetime": "time",
}


@dataclass(frozen=True, slots=True)
class Effect:
    """What happens on one side."""

    side: str
    writes: bool
    text: SafeString | str


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to settle it. `impossible`: why it cannot be chosen."""

    take: str
    title: str
    effects: Sequence[Effect] = ()
    note: str = ""
    impossible: str = ""


@dataclass(frozen=True, slots=True)
class Overwritten:
    """An edit that we overwrote, to read, and the choice that writes it back as it was."""

    side: str
    value: SafeString
    choice: Choice


@dataclass(slots=True)
class Question:
    """A conflict about a field, ready to be shown. `lost`: the rule is not part of the version that runs."""

    conflict: Conflict
    rule: CompiledRule | None
    names: Mapping[str, str]
    stored: Field
    columns: dict[str, SafeString] = field(default_factory=dict)
    rendered: dict[str, SafeString] = field(default_factory=dict)
    choices: dict[str, Choice] = field(default_factory=dict)
    edits: list[Overwritten] = field(default_factory=list)  # overwritten ones that are asked about here, latest first
    control: Control | None = None
    typed_side: str = "left"
    merged: bool = False  # the control holds both edits, merged
    error: str = ""
    taken: str = ""  # what was chosen, where the page is shown again

    @property
    def lost(self) -> bool:
        return self.rule is None

    @property
    def restores(self) -> bool:
        """Whether it is about an edit that we overwrote: there is nothing to choose between, only to restore."""
        return self.conflict.kind == Conflict.Kind.CLOBBER

    @property
    def overwritten(self) -> list[SafeString]:
        """Edits that we overwrote and that are asked about later, the latest first."""
        if self.rule is None or self.restores:
            return []
        return [brief(value, self.rule.field(side)) for side, value in clobbers.edits(self.conflict.params)]

    @property
    def kind_word(self) -> str:
        return TYPE_WORDS.get(self.rule.left.kind, self.rule.left.kind) if self.rule else ""

    @property
    def typed_name(self) -> str:
        return self.names[self.typed_side]


def rules_of(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The rules of a published version by id, not yet compiled: a page needs few of them."""
    return {rule["id"]: rule for rule in document["rules"]}


def stored_field(conflict: Conflict) -> Field:
    """The merge's view of the values that the conflict holds."""
    return Field(
        left=conflict.left_value,
        right=conflict.right_value,
        left_base=conflict.left_base if conflict.has_base else MISSING,
        right_base=conflict.right_base if conflict.has_base else MISSING,
        left_edit=_edit(conflict.left_at),
        right_edit=_edit(conflict.right_at),
    )


def _edit(stamp: str) -> EditTime | None:
    try:
        moment = seconds_of(stamp)
    except ValueError:
        return None
    return EditTime(moment, moment)


def question(
    conflict: Conflict, document: Mapping[str, Any], names: Mapping[str, str], settle: bool = True
) -> Question:
    """The conflict for its page. `settle`: with the choices; else just the values."""
    raw = rules_of(document).get(conflict.rule_id)
    rule = compile_rule(raw) if raw else None
    f = stored_field(conflict)
    shown = Question(conflict, rule, names, f)
    if rule is None:
        return shown
    shown.columns = {
        "base": _base_shown(rule, conflict)
        if conflict.has_base
        else format_html('<span class="dim">never agreed</span>'),
        **{side: _side_shown(rule, f, side) for side in ("left", "right")},
    }
    if "rich_text" in (rule.left.kind, rule.right.kind):
        shown.rendered = {side: full(f.value(side), rule.field(side)) for side in ("left", "right")}
        if conflict.has_base:
            shown.rendered = {"base": full(f.left_base, rule.left), **shown.rendered}
    if shown.restores:
        _with_edits(shown, rule, f)
    if settle:
        _with_choices(shown, rule, f, raw or {})
    return shown


def _side_shown(rule: CompiledRule, f: Field, side: str) -> SafeString:
    base, spec = f.base(side), rule.field(side)
    return difference(f.value(side) if base is MISSING else base, f.value(side), spec)


def _base_shown(rule: CompiledRule, conflict: Conflict) -> SafeString:
    left, right = brief(conflict.left_base, rule.left), brief(conflict.right_base, rule.right)
    if "rich_text" in (rule.left.kind, rule.right.kind) or "set" in (rule.left.kind, rule.right.kind) or left == right:
        return difference(conflict.left_base, conflict.left_base, rule.left)
    return format_html('{}<span class="dim"> / </span>{}', left, right)


# Choices ---------------------------------------------------------------------------------------------------------


def _with_choices(shown: Question, rule: CompiledRule, f: Field, raw: Mapping[str, Any]) -> None:
    takes = [take for take in ("base", "left", "right", "ignore") if take != "base" or f.left_base is not MISSING]
    for take in takes:
        shown.choices[take] = choice(rule, f, take, shown.names)
    if shown.restores:
        _with_restores(shown)
    side = shown.typed_side = _typed_side(rule, shown.conflict)
    spec = rule.field(side)
    if not rule.may_write(side) or not spec.writable:
        return
    both = None if shown.restores else merged(rule, f, side)
    shown.merged = both is not None
    entries = raw.get("entries") or []
    listed = list(dict.fromkeys(entry.get(side) for entry in entries)) if spec.kind == "option" else []
    shown.control = control_for(spec, f.value(side) if both is None else both, listed)
    title = "Both edits, merged" if shown.merged else "A value of your own"
    other = shown.names[OTHER[side]]
    goes_on = rule.may_write(OTHER[side])
    note = (
        f"{other} follows with what it means there." if goes_on else f"{other} keeps what it says: the two may differ."
    )
    effects = [
        Effect(side, True, "writes what you type"),
        Effect(OTHER[side], goes_on, "follows" if goes_on else "no write"),
    ]
    shown.choices["value"] = Choice("value", title, effects, note)


def _with_edits(shown: Question, rule: CompiledRule, f: Field) -> None:
    """What we overwrote, each in full and with what writing it back would do."""
    for number, (side, value) in enumerate(clobbers.edits(shown.conflict.params)):
        take, title = f"{RESTORE}{number}", f"Restore what we overwrote in {shown.names[side]}"
        outcome = resolve_field(rule, f, {"take": "value", "in": side, "value": value, "force": True})
        if isinstance(outcome, Ask):
            restore = Choice(take, title, impossible=sentence(outcome.code, outcome.params))
        elif not rule.field(side).writable:
            restore = Choice(take, title, impossible=sentence("direction_forbids"))
        else:
            restore = Choice(take, title, _effects(rule, f, outcome), "It is written back as it was.")
        shown.edits.append(Overwritten(side, full(value, rule.field(side)), restore))


def _with_restores(shown: Question) -> None:
    """The latest one is chosen beforehand: one click restores it."""
    shown.choices |= {edit.choice.take: edit.choice for edit in shown.edits}
    shown.taken = next((edit.choice.take for edit in shown.edits if not edit.choice.impossible), "")
    unchanged = [Effect(one, False, "no write") for one in OTHER]
    kept = "What we overwrote stays in the audit log."
    shown.choices["ignore"] = Choice("ignore", "Leave it as it is", unchanged, kept)


def restored(take: str, seen: Mapping[str, Any]) -> dict[str, Any]:
    """The choice that writes the overwritten edit `take` back, of those in `seen`; {} where that is no such choice."""
    for number, (side, value) in enumerate(clobbers.edits(seen)):
        if take == f"{RESTORE}{number}":
            return {"take": "value", "in": side, "value": value}
    return {}


def _typed_side(rule: CompiledRule, conflict: Conflict) -> str:
    """The side in whose form a value is typed: the one that could not take it; plain text before rich text."""
    named = conflict.kind in ("refused", "unmapped", "clobber")
    side = str(conflict.params.get("side", "")) if named else ""
    side = side if side in OTHER else "left"
    if conflict.kind == "clobber":
        return side
    if not rule.may_write(side):
        side = OTHER[side]
    if _formatted(rule.field(side)) and not _formatted(rule.field(OTHER[side])) and rule.may_write(OTHER[side]):
        side = OTHER[side]
    return side


def _formatted(spec: FieldSpec) -> bool:
    return spec.kind == "rich_text" and (spec.format or "plain") != "plain"


def merged(rule: CompiledRule, f: Field, side: str) -> Any:
    """Both edits in one value, in the form of `side`; None where they touch or cannot be told apart."""
    base, other_base = f.base(side), f.base(OTHER[side])
    if base is MISSING or other_base is MISSING or f.value(side) == base or f.value(OTHER[side]) == other_base:
        return None
    try:
        theirs = rule.lens.put(side, f.value(OTHER[side]), base, None)
        if rule.is_set:
            return merge_sets(f.value(side), theirs, base, rule.lens.put(side, other_base, None, None))
    except CannotExpress:
        return None
    if rule.field(side).kind in ("text", "rich_text") and all(
        isinstance(t, str) for t in (theirs, base, f.value(side))
    ):
        found = merge_text(f.value(side), theirs, base)
        return found if found not in (theirs, f.value(side)) else None
    return None


def choice(rule: CompiledRule, f: Field, take: str, names: Mapping[str, str]) -> Choice:
    """What one choice would do, by the very function that will decide it."""
    outcome = resolve_field(rule, f, {"take": take, "force": True})
    title = {
        "left": f"Take {names['left']}’s value",
        "right": f"Take {names['right']}’s value",
        "base": "Back to what was last agreed",
        "ignore": "Keep both as they are",
    }[take]
    if isinstance(outcome, Ask):
        return Choice(take, title, impossible=sentence(outcome.code, outcome.params))
    note = ""
    if take in names and f.base(OTHER[take]) is not MISSING:
        note = f"{names[OTHER[take]]}’s value is kept in the audit log and can be restored."
    if take == "ignore":
        note = "The next edit of either side flows again."
    elif isinstance(outcome, Agree) and outcome.differ:
        note = "The rule does not write to that side, so both values stay."
    return Choice(take, title, _effects(rule, f, outcome), note)


def _effects(rule: CompiledRule, f: Field, outcome: Outcome) -> list[Effect]:
    if not isinstance(outcome, Write):
        return [Effect(side, False, "no write") for side in OTHER]
    first = outcome.side
    found = {first: _writes(rule, f, first, outcome.value), OTHER[first]: Effect(OTHER[first], False, "no write")}
    if outcome.settle == "other":
        try:
            follows = rule.lens.put(OTHER[first], outcome.value, f.value(OTHER[first]), None)
            found[OTHER[first]] = _writes(rule, f, OTHER[first], follows)
        except CannotExpress:
            found[OTHER[first]] = Effect(OTHER[first], False, "cannot follow: it has no such value")
    return [found[side] for side in OTHER]


def _writes(rule: CompiledRule, f: Field, side: str, value: Any) -> Effect:
    spec = rule.field(side)
    if value == f.value(side):
        return Effect(side, False, "no write")
    return Effect(side, True, format_html("writes {} → {}", brief(f.value(side), spec), brief(value, spec)))


# Policies --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one policy would decide. `side`: the side whose value would stay, "" for a merge or a person."""

    label: str
    side: str
    text: SafeString | str
    now: bool


# From here on a value is named by its system: a table is no place to read it.
NAMED_FROM = 40
# Conflicts that a policy could have settled; a refused value is refused under every policy.
BY_POLICY = frozenset({Conflict.Kind.FIELD, Conflict.Kind.OSCILLATION, Conflict.Kind.CLOBBER})


def verdicts(shown: Question) -> list[Verdict]:
    """What each kind of policy would make of the stored values."""
    rule, f = shown.rule, shown.stored
    if rule is None or f.left_base is MISSING or rule.direction != "both" or shown.conflict.kind not in BY_POLICY:
        return []
    found = []
    for kind, label in ConflictPolicy.Kind.choices:
        if (kind == "merge_sets" and not rule.is_set) or (kind == "merge_text" and not _texts(rule, f)):
            continue
        tried = replace(rule, policy=Policy(kind, label, rule.policy.tolerance))
        outcome = merge_field(tried, f)
        side, text = _verdict(tried, f, outcome)
        if len(text) > NAMED_FROM and isinstance(outcome, Write):
            text = f"{shown.names[side]}’s {shown.conflict.field_label}" if side else "both edits, merged"
        found.append(Verdict(label, side, text, now=kind == rule.policy.kind))
    return found


def _texts(rule: CompiledRule, f: Field) -> bool:
    kinds = {rule.left.kind, rule.right.kind}
    return kinds <= {"text", "rich_text"} and isinstance(f.left, str) and isinstance(f.left_base, str)


def _verdict(rule: CompiledRule, f: Field, outcome: Outcome) -> tuple[str, SafeString | str]:
    if isinstance(outcome, Write) and outcome.settle == "source":
        stays = OTHER[outcome.side]
        pair = {stays: brief(f.value(stays), rule.field(stays))}
        pair[outcome.side] = brief(outcome.value, rule.field(outcome.side))
        if pair["left"] == pair["right"]:
            return stays, pair["left"]
        return stays, format_html('{}<span class="dim"> / </span>{}', pair["left"], pair["right"])
    if isinstance(outcome, Write):
        return "", brief(outcome.value, rule.field(outcome.side))
    if isinstance(outcome, Ask) and outcome.code not in ("both_changed", "never_agreed"):
        return "", f"you decide: {sentence(outcome.code, outcome.params)}"
    return "", "you decide" if isinstance(outcome, Ask) else "both agree"
