"""Two records of a link compared under the rules of a version: what is equal, what waits and for what, what drifted.

Pure: no Django, no HTTP, no clock. It judges as the merge does, but decides nothing: the engine acts on edits, while
what nobody edited and yet differs (drift) is only ever told.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from connections.connectors.base import Record
from mappings.compiled import CompiledMapping, CompiledRule
from sync.merge import MISSING, OTHER, Field, says_the_same
from sync.plan import LinkView, field_of

# How a pair or a field can stand.
EQUAL, AGREED, WAITING, DRIFT, LACKING = "equal", "agreed", "waiting", "drift", "missing"

# What a pair waits for, the one that explains most first: a pair that waits for several is counted under the first.
REASONS: Mapping[str, str] = {
    "held": "held by a person",
    "creating": "its twin is still to be made",
    "out_of_scope": "a record is out of scope",
    "operation": "a write is on its way",
    "asked": "a person's request waits",
    "hint": "a change is noticed and looked at next",
    "moved": "it changed while it was read",
    "edited": "an edit is not taken over yet",
    "question": "a question is open",
    "parked": "a value was refused",
    "unagreed": "a rule has not agreed on it yet",
    "unreadable": "a field or record cannot be read",
    "failed": "it could not be compared",
}
# A verdict for which the records are read a second time before it is believed: it may be an edit on its way.
_DOUBTFUL = frozenset({"edited"})


@dataclass(frozen=True, slots=True)
class FieldVerdict:
    """How one rule of one link stands. kind: EQUAL, AGREED, DRIFT, or a key of REASONS."""

    rule: str
    label: str
    kind: str
    left: Any = None
    right: Any = None


@dataclass(frozen=True, slots=True)
class PairVerdict:
    """How one link stands. kind: EQUAL, AGREED, WAITING, DRIFT or LACKING; `reason`: why it waits; `lacking`: sides."""

    kind: str
    reason: str = ""
    fields: tuple[FieldVerdict, ...] = ()
    lacking: tuple[str, ...] = ()

    @property
    def doubtful(self) -> bool:
        """Whether only a second look, a moment later, can tell this from an edit on its way."""
        return self.kind in (DRIFT, LACKING) or self.reason in _DOUBTFUL

    @property
    def differing(self) -> list[FieldVerdict]:
        return [one for one in self.fields if one.kind != EQUAL]


def waits(reason: str, fields: tuple[FieldVerdict, ...] = ()) -> PairVerdict:
    return PairVerdict(WAITING, reason, fields)


def compare(
    mapping: CompiledMapping, link: LinkView, left: Record | None, right: Record | None, waiting: str = ""
) -> PairVerdict:
    """The verdict on a link. `waiting`: a key of REASONS that is known to keep the pair apart, "" for none.

    A pair that says the same is equal, whatever waits: a hint may be no more than the echo of our own write.
    """
    lacking = tuple(side for side, record in (("left", left), ("right", right)) if record is None or record.deleted)
    if lacking:
        reason = waiting or ("question" if "" in link.open_conflicts else "")
        return PairVerdict(WAITING, reason) if reason else PairVerdict(LACKING, lacking=lacking)
    assert left is not None and right is not None
    fields = tuple(_verdict(rule, link, left, right) for rule in mapping.rules)
    kinds = {one.kind for one in fields}
    if kinds <= {EQUAL}:
        return PairVerdict(EQUAL, fields=fields)
    if waiting and kinds - {EQUAL, AGREED}:
        return waits(waiting, fields)
    if DRIFT in kinds:
        return PairVerdict(DRIFT, fields=fields)
    reason = next((one for one in REASONS if one in kinds), "")
    return waits(reason, fields) if reason else PairVerdict(AGREED, fields=fields)


def _verdict(rule: CompiledRule, link: LinkView, left: Record, right: Record) -> FieldVerdict:
    f = field_of(rule, link, left, right)
    values = {side: None if (value := f.value(side)) is MISSING else value for side in OTHER}
    kind = compare_field(rule, f, asked=rule.id in link.open_conflicts, agreed=rule.id in link.agreed_differences)
    return FieldVerdict(rule.id, rule.label, kind, values["left"], values["right"])


def compare_field(rule: CompiledRule, f: Field, *, asked: bool = False, agreed: bool = False) -> str:
    """How one field stands. `asked`: a question about it is open; `agreed`: it was agreed that the two may differ.

    Drift is what differs although either side still says what it said at the last agreement: nobody's edit.
    """
    if f.left is MISSING or f.right is MISSING:
        return "unreadable"
    if says_the_same(rule, f):
        return EQUAL
    if asked:
        return "question"
    if f.parked is not None:
        return "parked"
    if f.left_base is MISSING or f.right_base is MISSING:
        return "unagreed"
    if f.changed("left") or f.changed("right"):
        return "edited"
    return AGREED if agreed else DRIFT


def compare_bases(rule: CompiledRule, left: Any, right: Any, *, agreed: bool = False, parked: Any = None) -> str:
    """How one field stands by what both sides said at the last agreement (MISSING: never), without a read.

    A rule or value map that changed since then may call different what it called the same.
    """
    if left is MISSING or right is MISSING:
        return "unagreed"
    f = Field(left=left, right=right, left_base=left, right_base=right, parked=parked)
    return compare_field(rule, f, agreed=agreed)


# Sampling. -------------------------------------------------------------------------------------------------------


def sample(keys: Iterable[int], size: int, seed: int) -> list[int]:
    """`size` of these keys, in order, as good as drawn by lot, and the same ones whenever it is asked again.

    Each key's place depends on it and the seed alone: keys that came or went meanwhile do not move the others, so a
    verification that was taken up again goes on with the same pairs. Holds `size` keys, however many pass by.
    """
    return sorted(heapq.nsmallest(size, keys, key=lambda key: (_mixed(seed, key), key)))


def _mixed(seed: int, key: int) -> int:
    """A number that looks random (the finaliser of splitmix64; Steele, Lea and Flood, 2014)."""
    x = (seed * 0x9E3779B97F4A7C15 + key) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return x ^ (x >> 31)
