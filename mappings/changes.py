"""What differs between two versions of a mapping, field by field, in words for people.

Pure: no Django, no HTTP library, no clock. Works on documents as described in mappings/compiled.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mappings import brakes, schedules

Document = Mapping[str, Any]

MAPPING_LABELS = {
    "match_keys": "Ways to find the same thing",
    "initial": "First agreement",
    "poll_seconds": "Seconds between polls",
    "poll_seconds_idle": "Seconds between polls when idle",
    "schedule": "Runs",
    "brakes": "Brakes",
}
SIDE_LABELS = {
    "connection": "Connection number",
    "connection_name": "Connection",
    "kind": "System",
    "object_type": "Object type",
    "scope": "Scope",
    "create": "Create records here",
    "create_defaults": "Values for records we create",
    "on_delete": "When a record here is deleted",
    "close_values": "What closing writes here",
}
RULE_LABELS = {
    "direction": "Direction",
    "transform": "Transform",
    "params": "Transform settings",
    "value_map": "Value map",
    "entries": "Value map entries",
    "policy": "When both sides changed",
    "one_way_target": "When the target is edited",
    "initial": "First agreement",
}
FIELD_LABELS = {
    "path": "field",
    "kind": "kind",
    "format": "format",
    "options": "options",
    "writable": "writable",
    "creatable": "settable at creation",
    "required": "required",
    "max_length": "longest text",
    "separate_write": "a call of its own",
    "step": "microseconds between two moments",
}
# As the choices of mappings.models, which a pure file may not import; test_publish compares the two.
WORDS = {
    "direction": {"both": "Both ways", "to_right": "Left to right", "to_left": "Right to left"},
    "one_way_target": {"keep": "Leave it", "enforce": "Write ours again"},
    "initial": {
        "fill_empty": "Fill empty fields, ask about the rest",
        "left": "Left decides",
        "right": "Right decides",
        "newest": "Newest record decides",
        "review": "Ask a person",
    },
    "on_delete": {
        "review": "Ask a person",
        "ignore": "Do nothing",
        "unlink": "Unlink",
        "close": "Close the twin",
        "delete": "Delete the twin",
    },
}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `kind`: "added", "removed" (a whole rule) or "changed"; `before` and `after` are for reading."""

    kind: str
    where: str  # "Priority ↔ Priority", "Left side", "Mapping"
    what: str  # "Direction"; empty where the whole rule came or went
    before: str
    after: str
    rule_id: str = ""  # of the newer version, of the older one for a removed rule


def diff_versions(before: Document | None, after: Document | None) -> list[Change]:
    """All differences from document `before` to document `after`; None stands for "nothing published yet"."""
    before, after = before or {}, after or {}
    changes: list[Change] = []
    if before and after:
        changes += _differences("Mapping", before, after, MAPPING_LABELS)
        for side in ("left", "right"):
            changes += _differences(f"{side.title()} side", before[side], after[side], SIDE_LABELS)
    pairs = _paired_rules(before.get("rules") or [], after.get("rules") or [])
    for old, new in pairs:
        if old is None and new is not None:
            changes.append(Change("added", rule_label(new), "", "", rule_summary(new), new["id"]))
        elif new is None and old is not None:
            changes.append(Change("removed", rule_label(old), "", rule_summary(old), "", old["id"]))
        elif old is not None and new is not None:
            changes += _rule_differences(old, new)
    kept_before = [old["id"] for old, new in pairs if old and new]
    kept_after = [rule["id"] for rule in after.get("rules") or []]
    matched = {new["id"]: old["id"] for old, new in pairs if old and new}
    if [matched[rule_id] for rule_id in kept_after if rule_id in matched] != kept_before:
        changes.append(Change("changed", "Mapping", "Order of the rules", "", "as listed"))
    return changes


def sides_to_list(before: Document, after: Document) -> list[str]:
    """The sides of which records are to be found that the version before did not let in, or not match like this."""
    matched_otherwise = before["match_keys"] != after["match_keys"]
    return [side for side in ("left", "right") if matched_otherwise or before[side]["scope"] != after[side]["scope"]]


def changed_rules(changes: list[Change]) -> set[str]:
    """Ids of the rules that differ."""
    return {change.rule_id for change in changes if change.rule_id}


def rule_label(rule: Mapping[str, Any]) -> str:
    return f"{rule['left']['label']} ↔ {rule['right']['label']}"


def rule_summary(rule: Mapping[str, Any]) -> str:
    """One line: direction, transform, policy."""
    parts = [WORDS["direction"].get(rule["direction"], rule["direction"]), rule["transform"]]
    if rule["direction"] == "both":
        parts.append(rule["policy"]["name"])
    return ", ".join(parts)


def shown(value: Any) -> str:
    """A JSON value as people read it."""
    if value is None or value == "" or value == {} or value == []:
        return "empty"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list | tuple) and all(isinstance(item, str | int | float) for item in value):
        return ", ".join(str(item) for item in value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _paired_rules(old: list[Any], new: list[Any]) -> list[tuple[Any, Any]]:
    """Old and new state of each rule, in the old order and then the new ones: by id, else by the pair of fields."""
    by_id = {rule["id"]: rule for rule in new}
    taken = {rule["id"] for rule in old if rule["id"] in by_id}
    by_paths = {_paths(rule): rule for rule in new if rule["id"] not in taken}
    pairs: list[tuple[Any, Any]] = []
    for rule in old:
        twin = by_id.get(rule["id"]) or by_paths.get(_paths(rule))
        if twin is not None:
            taken.add(twin["id"])
        pairs.append((rule, twin))
    return pairs + [(None, rule) for rule in new if rule["id"] not in taken]


def _paths(rule: Mapping[str, Any]) -> tuple[str, str]:
    return rule["left"]["path"], rule["right"]["path"]


def _rule_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    where = rule_label(new)
    yield from _differences(where, old, new, RULE_LABELS, new["id"])
    for side in ("left", "right"):
        labels = {key: f"{side.title()} field: {label}" for key, label in FIELD_LABELS.items()}
        yield from _differences(where, old[side], new[side], labels, new["id"])


def _differences(
    where: str, old: Mapping[str, Any], new: Mapping[str, Any], labels: Mapping[str, str], rule_id: str = ""
) -> Iterator[Change]:
    for key, label in labels.items():
        before, after = _value(old, key), _value(new, key)
        if _plain(before) != _plain(after):
            yield Change("changed", where, label, _words(key, before), _words(key, after), rule_id)


def _value(document: Mapping[str, Any], key: str) -> Any:
    """A version from before there was an idle pace is polled at one pace."""
    return document.get(key, document.get("poll_seconds") if key == "poll_seconds_idle" else None)


def _plain(value: Any) -> Any:
    """Tuples and lists, and absent and empty, are the same thing here."""
    return json.loads(json.dumps(value)) or (value if value in (0, False) else None)


def _words(key: str, value: Any) -> str:
    if key == "policy" and isinstance(value, Mapping):
        return str(value["name"])
    if key == "brakes":
        return brakes.words(value or {})
    if key == "schedule":
        return schedules.words(value or {})
    if key == "entries":
        return "; ".join(f"{shown(entry['left'])} = {shown(entry['right'])}" for entry in value or []) or "empty"
    if key == "match_keys":
        return (
            "; then ".join(
                " and ".join(f"{pair['left']} = {pair['right']}" for pair in alternative) for alternative in value or []
            )
            or "empty"
        )
    if isinstance(value, str):
        return WORDS.get(key, {}).get(value) or shown(value)
    if isinstance(value, Mapping) and value:
        return "; ".join(f"{name}: {shown(one)}" for name, one in sorted(value.items()))
    return shown(value)
