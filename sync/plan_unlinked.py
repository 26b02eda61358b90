"""A record without a twin decided: bind it, make its twin, ask, or leave it.

Pure, like plan.py: candidates, refused values and what a person sends instead are inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from connections.connectors.base import Record
from mappings.compiled import CompiledMapping, CompiledRule
from sync.match_keys import unread_ways
from sync.merge import OTHER, Ask, Field, Write, carry
from sync.plan import PlannedField

NOTHING: Mapping[str, Mapping[str, Any]] = MappingProxyType({})

# ⚑ Our correlation key as a way to match, before all match keys: a record that carries a key which this database does
# not know was made by us and forgotten with a restore.
BY_KEY = 32_000

# Why a record is held: a match field is gone for all; the record itself hides one; one over there that may fit does;
# or nobody knows yet why it does.
GONE, UNREAD, TWIN_UNREAD, UNSURE = "match_field_gone", "match_field_unread", "twin_unread", "match_field_unsure"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An unlinked record of the other side that has an equal match key."""

    external_id: str
    alternative: int  # which of the mapping's match keys, smaller is stronger; or BY_KEY
    label: str = ""


@dataclass(frozen=True, slots=True)
class Bind:
    left_id: str
    right_id: str
    code: str  # match_key or correlation_key
    params: Mapping[str, Any] = field(default_factory=dict)
    thing: int | None = None  # the identity that joins them, where it is known

    def record(self, side: str) -> str:
        return self.left_id if side == "left" else self.right_id


@dataclass(frozen=True, slots=True)
class MakeTwin:
    """Create the twin of an unlinked record on the other side."""

    side: str  # where to create
    source: Record
    fields: tuple[PlannedField, ...]
    extra: Mapping[str, Any]
    unsent: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wonder:
    """A person must say which record is meant, or whether one may be made."""

    side: str
    external_id: str
    kind: str
    code: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Leave:
    """Not linked, on purpose; `code` says why."""

    code: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Not linked and not made now: a field is not what the version knows. It waits; `code` says why."""

    code: str


def plan_unlinked(
    mapping: CompiledMapping,
    side: str,
    record: Record,
    candidates: Sequence[Candidate],
    rivals: int,
    bound_elsewhere: bool = False,
    parked: Mapping[str, Mapping[str, Any]] = NOTHING,
    typed: Mapping[str, Mapping[str, Any]] = NOTHING,
    unread: str = "",
) -> Bind | MakeTwin | Wonder | Leave | Hold:
    """Decide about a record that has no link, or whose link has no twin yet.

    `candidates`: unlinked records of the other side with an equal match key; `rivals`: other unlinked records of
    the *same* side that fit the candidate equally well; `bound_elsewhere`: a fitting record is linked already;
    `parked`, `typed`: see plan_creation; `unread`: why nobody can tell whether a record over there fits, or "".
    """
    if unread:
        return Hold(GONE if mapping.matching_waits else unread)
    best = [c for c in candidates if c.alternative == min(other.alternative for other in candidates)]
    if len(best) == 1 and not rivals:
        ids = (record.external_id, best[0].external_id)
        left_id, right_id = ids if side == "left" else ids[::-1]
        if best[0].alternative == BY_KEY:
            return Bind(left_id, right_id, "correlation_key")
        return Bind(left_id, right_id, "match_key", {"alternative": best[0].alternative})
    if best:
        names = [c.label or c.external_id for c in best]
        return Wonder(side, record.external_id, "ambiguous_match", "several_fit", {"fit": names, "rivals": rivals})
    if bound_elsewhere:
        return Wonder(side, record.external_id, "duplicate", "fits_a_linked_record", {})
    target = OTHER[side]
    if mapping.matching_waits:
        return Hold(GONE)  # ⚑ it may exist over there: neither copied nor counted as alone
    if unread_ways(mapping, side, record):
        return Hold(UNREAD)
    if not mapping.side(target).create:
        return Leave("creation_off")
    return plan_creation(mapping, side, record, parked, typed)


def plan_creation(
    mapping: CompiledMapping,
    side: str,
    record: Record,
    parked: Mapping[str, Mapping[str, Any]] = NOTHING,
    typed: Mapping[str, Mapping[str, Any]] = NOTHING,
) -> MakeTwin | Wonder | Hold:
    """The fields of the twin of `record`, or a question where a required one cannot be filled.

    `parked`: values that an earlier create was refused for, by rule id; such a value is left out until it changes, and
    the field catches up once the record is there. `typed`: what a person sends instead of what the record says, by rule
    id, as at Link.typed.
    """
    target = OTHER[side]
    waits = mapping.creates_wait.get(target, {})
    if "" in waits:
        return Hold(waits[""])
    fields: list[PlannedField] = []
    for rule in mapping.rules:
        still = mapping.still.get(rule.id)
        if still is not None and still.whole:
            continue  # it starts as never agreed, once it goes on
        spec, source_path = rule.field(target), rule.field(side).path
        if not rule.may_write(target) or source_path not in record.values:
            continue
        says = record.values[source_path]
        f = Field(left=says if side == "left" else None, right=says if side == "right" else None)
        outcome = _as_typed(rule, target, typed.get(rule.id), says) or carry(rule, f, target, "created")
        if isinstance(outcome, Ask) and spec.required:
            return Wonder(
                side,
                record.external_id,
                "unmapped",
                outcome.code,
                {**outcome.params, "field": spec.label, "creating": True},
            )
        if isinstance(outcome, Write) and still is not None and still.holds(target, outcome.value):
            continue
        if isinstance(outcome, Write) and rule.id in parked and outcome.value == parked[rule.id].get("value"):
            continue
        if isinstance(outcome, Write) and can_create(rule, target):
            fields.append(
                PlannedField(
                    rule.id, spec.path, outcome.value, None, says, outcome.code, outcome.settle, outcome.params
                )
            )
    extra = {
        path: value
        for path, value in mapping.side(target).create_defaults.items()
        if path not in {planned.path for planned in fields}
    }
    filled = {planned.path for planned in fields} | set(extra)
    if unfilled := [path for path in waits if path not in filled]:
        return Hold(waits[unfilled[0]])
    sent = {planned.rule for planned in fields}
    unsent = {
        rule.id: record.values[rule.field(side).path]
        for rule in mapping.rules
        if rule.may_write(target)
        and rule.id not in sent
        and rule.field(side).path in record.values
        and not (rule.id in mapping.still and mapping.still[rule.id].whole)
    }
    return MakeTwin(target, record, tuple(fields), extra, unsent)


def _as_typed(rule: CompiledRule, target: str, typed: Mapping[str, Any] | None, says: Any) -> Write | None:
    """What a person sends instead of what the source says; the two sides differ by agreement."""
    if typed is None:
        return None
    value = typed["value"]
    equal = rule.lens.equal(*((value, says) if target == "left" else (says, value)))
    return Write(target, value, "retried", settle="source" if equal else "current", params={"by": typed["by"]})


def can_create(rule: CompiledRule, target: str) -> bool:
    """Whether a create can carry the field."""
    spec = rule.field(target)
    return rule.may_write(target) and spec.creatable and not spec.separate_write
