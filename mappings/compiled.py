"""A published version turned into functions.

Pure: no Django, no HTTP library, no clock. The document (MappingVersion.document) is:

{"left": SIDE, "right": SIDE, "match_keys": [[{"left": path, "right": path}, ...], ...], "initial": "fill_empty",
 "poll_seconds": 15, "poll_seconds_idle": 60, "schedule": {}, "brakes": {}, "rules": [RULE, ...],
 "create_fields": {"left": [FIELD, ...], "right": [FIELD, ...]} (those that `create_defaults` fill: see sync/schema.py)}

Versions from before there were an idle pace and schedules lack them: they are polled at one pace, and live. Where
`create_fields` is missing, a value for new records is not judged by the options, type and length of its field.

SIDE = {"connection": id, "connection_name": str, "kind": str, "object_type": str, "object_label": str,
        "scope": {}, "create": bool (make here what is new on the other side), "create_defaults": {path: value},
        "on_delete": "review|ignore|unlink|close|delete" (what happens to the other side when a record here is
        deleted), "close_values": {path: value} (what "close" writes here)}
RULE = {"id": str, "left": FIELD, "right": FIELD, "direction": "both|to_right|to_left", "transform": str,
        "params": {}, "value_map": str, "entries": [{"left": v, "right": v}],
        "policy": {"name", "kind", "tolerance"}, "own_policy": bool, "one_way_target": "keep|enforce",
        "initial": "fill_empty|left|right|newest|review", "own_initial": str}; what is called "own" and the value map's
        name let a roll back restore the draft, a run does not read them
FIELD = the attributes of transforms.base.FieldSpec
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mappings.transforms import TRANSFORMS
from mappings.transforms.base import FieldSpec, Lens


@dataclass(frozen=True, slots=True)
class Policy:
    kind: str = "review"
    name: str = "Ask a person"
    tolerance: float = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class CompiledRule:
    id: str
    left: FieldSpec
    right: FieldSpec
    direction: str
    lens: Lens
    policy: Policy = field(default_factory=Policy)
    one_way_target: str = "keep"
    initial: str = "fill_empty"

    @property
    def label(self) -> str:
        return self.left.label

    def field(self, side: str) -> FieldSpec:
        return self.left if side == "left" else self.right

    def may_write(self, side: str) -> bool:
        """Whether the direction lets values flow to `side`."""
        return self.direction == "both" or self.direction == f"to_{side}"

    @property
    def is_set(self) -> bool:
        return self.left.kind == "set" and self.right.kind == "set"


@dataclass(frozen=True, slots=True)
class Standstill:
    """What of a rule stands still because a field of it is not what the version knows: see sync/schema.py.

    `whole`: neither side is looked at. `sides`: nothing is written there. `values`: options by side that are gone;
    `lengths`: how many characters fit by side. Whatever stands still keeps its bases.
    """

    code: str
    whole: bool = False
    sides: frozenset[str] = frozenset()
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)

    def holds(self, side: str, value: Any) -> bool:
        """Whether a write of `value` to `side` has to wait."""
        if self.whole or side in self.sides:
            return True
        named = value if isinstance(value, list) else [value]
        gone, limit = self.values.get(side, frozenset()), self.lengths.get(side)
        too_long = limit is not None and isinstance(value, str) and len(value) > limit
        return too_long or any(isinstance(one, str) and one in gone for one in named)


@dataclass(frozen=True, slots=True)
class CompiledSide:
    connection: int
    connection_name: str
    kind: str
    object_type: str
    object_label: str
    scope: Mapping[str, Any]
    create: bool
    create_defaults: Mapping[str, Any]
    on_delete: str
    close_values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CompiledMapping:
    left: CompiledSide
    right: CompiledSide
    rules: tuple[CompiledRule, ...]
    match_keys: tuple[tuple[tuple[str, str], ...], ...]  # alternatives of (left path, right path) pairs
    initial: str
    poll_seconds: int
    brakes: Mapping[str, Any]
    poll_seconds_idle: int = 0
    schedule: Mapping[str, Any] = field(default_factory=dict)
    # What the systems' fields, as they are now, take back of it for the time being. Empty where nothing changed.
    still: Mapping[str, Standstill] = field(default_factory=dict)  # by rule id
    missing: Mapping[str, frozenset[str]] = field(default_factory=dict)  # by side: paths that must not be asked for
    # By side: {path: why} without which no record is made there; the path "" holds every create.
    creates_wait: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    matching_waits: bool = False  # a match field is gone: what looks new may exist over there

    def side(self, side: str) -> CompiledSide:
        return self.left if side == "left" else self.right

    def paths(self, side: str) -> list[str]:
        """All fields to read on `side`: those of the rules and of the match keys, as far as the system has them."""
        index = 0 if side == "left" else 1
        wanted = [rule.field(side).path for rule in self.rules]
        wanted += [pair[index] for alternative in self.match_keys for pair in alternative]
        return sorted(set(wanted) - self.missing.get(side, frozenset()))


def compile_document(document: Mapping[str, Any]) -> CompiledMapping:
    """The functions of a published version. Raises ValueError naming the rule that cannot be built."""
    return CompiledMapping(
        left=CompiledSide(**document["left"]),
        right=CompiledSide(**document["right"]),
        rules=tuple(compile_rule(rule) for rule in document["rules"]),
        match_keys=tuple(
            tuple((pair["left"], pair["right"]) for pair in alternative) for alternative in document["match_keys"]
        ),
        initial=document["initial"],
        poll_seconds=document["poll_seconds"],
        poll_seconds_idle=document.get("poll_seconds_idle", document["poll_seconds"]),
        schedule=document.get("schedule", {}),
        brakes=document["brakes"],
    )


def compile_rule(rule: Mapping[str, Any]) -> CompiledRule:
    left, right = field_spec(rule["left"]), field_spec(rule["right"])
    transform = TRANSFORMS.get(rule["transform"])
    if transform is None:
        raise ValueError(f"Rule {left.label} ↔ {right.label} names the unknown transform {rule['transform']!r}.")
    try:
        lens = transform.build(rule.get("params") or {}, left, right, rule.get("entries") or [])
    except ValueError as problem:
        raise ValueError(f"Rule {left.label} ↔ {right.label} cannot be built: {problem}") from problem
    return CompiledRule(
        id=rule["id"],
        left=left,
        right=right,
        direction=rule["direction"],
        lens=lens,
        policy=Policy(**rule["policy"]),
        one_way_target=rule["one_way_target"],
        initial=rule["initial"],
    )


def field_spec(data: Mapping[str, Any]) -> FieldSpec:
    return FieldSpec(**{**data, "options": tuple(data.get("options") or ())})
