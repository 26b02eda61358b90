"""One batch decided: links and records in, a plan out.

Pure: keys, times and ledger counts are inputs. Every decision about a link is made here, from one read of both sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connections.connectors.base import Record
from mappings.compiled import CompiledMapping, CompiledRule, Standstill
from sync.merge import (
    MISSING,
    OTHER,
    Agree,
    Ask,
    EditTime,
    Field,
    Outcome,
    Skip,
    Stale,
    Write,
    is_empty,
    merge_field,
    repair_field,
    resolve_field,
)

# More own writes than this to one field within the window, coming back to values already sent, is a flip-flop.
OSCILLATION_WRITES = 5
OSCILLATION_WINDOW_SECONDS = 600


@dataclass(frozen=True, slots=True)
class OwnWrite:
    """One confirmed write of ours to a field, newest last."""

    operation: int
    value: Any
    hops: int
    at: float  # seconds
    arrived: bool = True  # False: one step along a way of several
    source: Any = MISSING  # what the other side said, where this mapping wrote it


@dataclass(frozen=True, slots=True)
class LinkView:
    """What the plan knows of a link; an unsaved copy, so that planning cannot write."""

    id: int
    left_id: str | None
    right_id: str | None
    bases: Mapping[str, Mapping[str, Any]]  # {side: {rule id: value}}
    parked: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    agreed_differences: Mapping[str, bool] = field(default_factory=dict)
    open_conflicts: Mapping[str, str] = field(default_factory=dict)  # {rule id, "" for the record: kind}
    own_writes: Mapping[tuple[str, str], Sequence[OwnWrite]] = field(default_factory=dict)  # by (side, path)
    edits: Mapping[tuple[str, str], EditTime] = field(default_factory=dict)  # by (side, rule id)
    gone: frozenset[str] = frozenset()  # sides whose record is certainly deleted


@dataclass(frozen=True, slots=True)
class InstructionView:
    id: int
    kind: str
    choices: Mapping[str, Mapping[str, Any]]  # by rule id
    by: str = ""


@dataclass(frozen=True, slots=True)
class PlannedField:
    """One field of a planned write: what, over what, from what, and why."""

    rule: str
    path: str
    value: Any
    before: Any
    source: Any
    code: str
    settle: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PlannedOperation:
    side: str
    kind: str  # create, update, delete
    fields: tuple[PlannedField, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    # {rule id: value}; of a create what the source says and is not sent, of a delete what the record says, of what
    # closes a twin {path: value} that it replaces
    unsent: Mapping[str, Any] = field(default_factory=dict)
    part: str = ""
    cause: int | None = None
    hops: int = 0
    instruction: int | None = None
    code: str = ""  # for creates and deletes

    def clears(self) -> bool:
        """Whether it empties a filled field: counted with the deletes by the brakes."""
        return any(is_empty(f.value) and not is_empty(f.before) for f in self.fields)


@dataclass(frozen=True, slots=True)
class PlannedConflict:
    rule: str  # "" for the record
    kind: str
    code: str
    params: Mapping[str, Any]
    # {side: {rule id: value}} of the record that a deletion leaves
    said: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass
class LinkPlan:
    """The decisions about one link."""

    operations: list[PlannedOperation] = field(default_factory=list)
    agreed: dict[str, Agree] = field(default_factory=dict)  # rule id -> both bases take the current values
    conflicts: list[PlannedConflict] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)  # rule ids whose conflict is none any more
    unparked: list[str] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    instructions: dict[int, dict[str, str]] = field(default_factory=dict)  # id -> {rule id: outcome code}
    settled: bool = False  # every readable mapped field of both sides equals its base and the other side
    waiting: bool = False  # an edit that shows on one side cannot be judged or carried over now
    unread: bool = False  # it cannot since the other record alone does not show the field
    state: str = ""  # new link state, "" for unchanged

    def wants_history(self) -> list[str]:
        """Rules for which it matters when and by whom the field was edited."""
        return [
            rule
            for rule, outcome in self.outcomes.items()
            if isinstance(outcome, Ask) and outcome.kind == "field" and outcome.code != "initially_different"
        ]


def plan_link(
    mapping: CompiledMapping,
    link: LinkView,
    left: Record,
    right: Record,
    instructions: Sequence[InstructionView] = (),
    *,
    now: float = 0.0,
    max_hops: int = 2,
    chosen_only: bool = False,
) -> LinkPlan:
    """Decide about one link from fresh reads of both records.

    `now`: seconds, the clock of `own_writes`. `max_hops`: mappings that can be connected in a row. `chosen_only`: the
    link is held; only the fields about which a person asked are looked at.
    """
    plan = LinkPlan()
    writes: list[tuple[CompiledRule, Write, Field, InstructionView | None]] = []
    choices = {rule: (one, choice) for one in instructions for rule, choice in one.choices.items()}
    known = {rule.id for rule in mapping.rules}
    for rule_id, (one, _) in choices.items():
        if rule_id not in known:  # the rule is off or gone: its field waits with its base
            plan.instructions.setdefault(one.id, {})[rule_id] = "refused"
    for rule in mapping.rules:
        if chosen_only and rule.id not in choices:
            continue
        f = field_of(rule, link, left, right)
        instruction, choice = choices.get(rule.id, (None, None))
        still = mapping.still.get(rule.id)
        outcome: Outcome
        if still is not None and still.whole:
            outcome = Skip(_changed_side(f), still.code)
            if instruction is not None:
                plan.instructions.setdefault(instruction.id, {}).update({rule.id: "refused", "why": "stands_still"})
        elif choice is not None and instruction is not None:
            outcome = repair_field(rule, f, choice) if instruction.kind == "repair" else resolve_field(rule, f, choice)
            answers = plan.instructions.setdefault(instruction.id, {})
            answers[rule.id] = _instruction_code(outcome)
            # What cannot be undone or repaired says why, and leaves no question behind.
            refused = isinstance(outcome, Ask) and instruction.kind in ("repair", "undo")
            if isinstance(outcome, Ask) and refused:
                answers["why"] = outcome.code
            if isinstance(outcome, Stale) or refused:
                instruction, outcome = None, merge_field(rule, f)
        else:
            outcome = merge_field(rule, f)
        if isinstance(outcome, Write) and not rule.may_write(outcome.side):
            # The direction forbids it and no one-way rule brought it here: leave both as they are.
            outcome = Agree("direction_keeps")
        if isinstance(outcome, Write) and instruction is None:
            outcome = _without_oscillation(rule, link, f, outcome, now, max_hops)
        if still is not None and (side := _held_side(still, outcome, f)):
            outcome = Skip(side, still.code)
            if instruction is not None:
                plan.instructions.setdefault(instruction.id, {}).update({rule.id: "refused", "why": "stands_still"})
        plan.outcomes[rule.id] = outcome
        if isinstance(outcome, Skip) and _shows_an_edit(f):
            plan.waiting = True
            whole = still is not None and still.whole
            plan.unread = plan.unread or (not whole and MISSING in (f.left, f.right) and _was_agreed(f))
        if isinstance(outcome, Write):
            writes.append((rule, outcome, f, instruction))
        elif isinstance(outcome, Agree):
            plan.agreed[rule.id] = outcome
        elif isinstance(outcome, Ask):
            plan.conflicts.append(PlannedConflict(rule.id, outcome.kind, outcome.code, outcome.params))
        # A field that cannot be read now says nothing about its question, and that an edit was overwritten stays true
        # whatever the field says by now: only a person ends that question.
        asked_only = link.open_conflicts.get(rule.id) == "clobber" and instruction is None
        if rule.id in link.open_conflicts and not asked_only and not isinstance(outcome, Ask | Write | Skip):
            plan.closed.append(rule.id)
        # ⚑ A refused value waits until something else has arrived or both agree: a write that is only planned may never
        # be sent, and another question about the field may end by values that bring back what the refusal was about.
        if rule.id in link.parked and not isinstance(outcome, Skip | Write | Ask):
            plan.unparked.append(rule.id)
    plan.operations = _operations(link, writes)
    plan.settled = not (writes or plan.agreed or plan.conflicts or plan.waiting or chosen_only)
    if not chosen_only:
        _both_are_there(link, plan)
    return plan


def _held_side(still: Standstill, outcome: Outcome, f: Field) -> str:
    """The side to which this write, or one that was refused before, has to wait; "" where nothing holds it."""
    if isinstance(outcome, Write):
        return outcome.side if still.holds(outcome.side, outcome.value) else ""
    if f.parked is not None and _is_refusal(outcome) and still.holds(f.parked["side"], f.parked["value"]):
        return str(f.parked["side"])
    return ""


def _shows_an_edit(f: Field) -> bool:
    """Whether a side that can be read says something else than was agreed."""
    return any(f.value(side) is not MISSING and f.changed(side) for side in OTHER)


def _was_agreed(f: Field) -> bool:
    return f.left_base is not MISSING and f.right_base is not MISSING


def _changed_side(f: Field) -> str:
    """The side that cannot be judged: the one that is not there, if one is."""
    return "right" if f.right is MISSING else "left"


def _is_refusal(outcome: Outcome) -> bool:
    return isinstance(outcome, Ask) and outcome.kind == "refused"


def _both_are_there(link: LinkView, plan: LinkPlan) -> None:
    """Questions about a missing record are answered by its return."""
    if link.open_conflicts.get("") in ("delete_update", "refused", "unmapped"):
        plan.closed.append("")
    if "" in link.parked:
        plan.unparked.append("")


def field_of(rule: CompiledRule, link: LinkView, left: Record, right: Record) -> Field:
    """The merge's view of one rule on one link."""
    return Field(
        left=left.values.get(rule.left.path, MISSING) if rule.left.path not in left.unreadable else MISSING,
        right=right.values.get(rule.right.path, MISSING) if rule.right.path not in right.unreadable else MISSING,
        left_base=link.bases["left"].get(rule.id, MISSING),
        right_base=link.bases["right"].get(rule.id, MISSING),
        left_edit=link.edits.get(("left", rule.id)),
        right_edit=link.edits.get(("right", rule.id)),
        open_conflict=link.open_conflicts.get(rule.id) in ("field", "oscillation"),
        parked=link.parked.get(rule.id),
    )


def _instruction_code(outcome: Outcome) -> str:
    if isinstance(outcome, Write):
        return "applying"
    if isinstance(outcome, Stale):
        return "stale"
    return "refused" if isinstance(outcome, Ask) else "done"


def _source_write(link: LinkView, rule: CompiledRule, side: str, source: Any) -> OwnWrite | None:
    """The own write that put the source's value where it is, if one did."""
    newest = link.own_writes.get((OTHER[side], rule.field(OTHER[side]).path), ())[-1:]
    carried = link.own_writes.get((side, rule.field(side).path), ())
    return next((own for own in newest if own.value == source and not _left_since(own, carried)), None)


def _cause(link: LinkView, rule: CompiledRule, write: Write, f: Field) -> OwnWrite | None:
    """The own write that this one passes on. A merged value is nobody's yet, like one that a person typed."""
    merged = write.settle in ("other", "members")
    return None if merged else _source_write(link, rule, write.side, f.value(OTHER[write.side]))


def _left_since(own: OwnWrite, carried: Sequence[OwnWrite]) -> bool:
    """Whether we carried another value over from there later: then somebody put this one back."""
    return any(later.at > own.at and later.source not in (MISSING, own.value) for later in carried)


def _without_oscillation(
    rule: CompiledRule, link: LinkView, f: Field, write: Write, now: float, max_hops: int
) -> Outcome:
    """The write, or a question to a person where our writes and an automation answer each other.

    The actor is never a filter: an automation may use any account. What shows a flip-flop is that we keep writing
    values we already wrote.
    """
    cause = _cause(link, rule, write, f)
    if cause is not None and cause.hops + 1 > max_hops:
        return Ask("oscillation", "too_many_hops", {"hops": cause.hops + 1, "operation": cause.operation})
    recent = [
        own.value
        for own in link.own_writes.get((write.side, rule.field(write.side).path), ())
        if own.arrived and own.at > now - OSCILLATION_WINDOW_SECONDS
    ]
    repeats = sum(1 for value in recent if value == write.value)
    if len(recent) >= OSCILLATION_WRITES and repeats >= 2:  # twice: once may be a person's change of mind
        return Ask("oscillation", "flip_flop", {"writes": len(recent), "minutes": OSCILLATION_WINDOW_SECONDS // 60})
    return write


def _operations(
    link: LinkView, writes: Iterable[tuple[CompiledRule, Write, Field, InstructionView | None]]
) -> list[PlannedOperation]:
    """One operation per remote call: a side's ordinary fields together, each `separate_write` field alone."""
    calls: dict[tuple[str, str], list[tuple[PlannedField, InstructionView | None, OwnWrite | None]]] = {}
    for rule, write, f, instruction in writes:
        spec = rule.field(write.side)
        source = f.value(OTHER[write.side])
        planned = PlannedField(
            rule=rule.id,
            path=spec.path,
            value=write.value,
            before=f.value(write.side),
            source=source,
            code=write.code,
            settle=write.settle,
            params={**write.params, **({"by": instruction.by} if instruction and instruction.by else {})},
        )
        part = spec.path if spec.separate_write else ""
        cause = _cause(link, rule, write, f)
        calls.setdefault((write.side, part), []).append((planned, instruction, cause))
    operations = []
    for (side, part), items in sorted(calls.items()):
        causes = [cause for _, _, cause in items if cause is not None]
        cause = max(causes, key=lambda own: own.hops) if causes else None
        operations.append(
            PlannedOperation(
                side=side,
                kind="update",
                fields=tuple(planned for planned, _, _ in items),
                part=part,
                cause=cause.operation if cause else None,
                hops=cause.hops + 1 if cause else 0,
                instruction=next((one.id for _, one, _ in items if one is not None), None),
            )
        )
    return operations
