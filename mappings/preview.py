"""What a rule would do with one pair of records, for the editor. Writes nothing.

Pure: no Django, no HTTP library, no clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mappings.changes import shown
from mappings.compiled import compile_rule
from mappings.problems import writes
from mappings.transforms.base import CannotExpress, Lens

SHOWN_LENGTH = 120  # two lines of a column; the record page shows values whole

LEAD_LENGTH = 30  # of it before the first difference: enough to find the place

# What a transform says when a value has no counterpart; other codes are told by the last sentence.
REFUSALS = {
    "value_not_in_map": "“{value}” has no line in the value map",
    "not_a_number": "“{value}” is not a number",
    "not_a_date": "“{value}” is not a date",
    "edited_shortened_copy": "the shortened copy was edited",
    "member_with_separator": "“{value}” contains the separator",
    "member_with_space": "“{value}” contains a space",
}
OTHER_REFUSAL = "“{value}” has no counterpart"


@dataclass(frozen=True, slots=True)
class SampleSide:
    """One side of the sample pair."""

    external_id: str
    key: str
    values: Mapping[str, Any]
    unreadable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Sample:
    """The two records whose values the editor shows; a side is None where there is no record to show."""

    left: SampleSide | None = None
    right: SampleSide | None = None
    trouble: str = ""  # why there is none, in three parts

    def side(self, name: str) -> SampleSide | None:
        return self.left if name == "left" else self.right

    @property
    def label(self) -> str:
        return " = ".join(side.key for side in (self.left, self.right) if side is not None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One side of a rule with the sample: what is there, and what the other side's value would make of it."""

    value: str
    gets: str = ""  # empty: nothing flows here, or it stays as it is
    refused: str = ""  # why the other side's value cannot be said here


def outcomes(rule: Mapping[str, Any], sample: Sample) -> dict[str, Outcome]:
    """{"left": Outcome, "right": Outcome} of a rule's document; empty where the rule cannot be built."""
    try:
        lens = compile_rule(rule).lens
    except (ValueError, TypeError, KeyError):
        lens = None
    result = {}
    for side, other in (("left", "right"), ("right", "left")):
        there, source = sample.side(side), sample.side(other)
        path, source_path = rule[side]["path"], rule[other]["path"]
        if there is None and source is None:
            continue
        old = there.values.get(path) if there is not None else None
        hidden = there is not None and path in there.unreadable
        value = "hidden from our account" if hidden else text(old) if there is not None else "no record"
        gets = refused = ""
        if lens is not None and source is not None and writes(rule, side) and source_path in source.values:
            new, refused = _put(lens.put, side, source.values[source_path], old)
            if not refused and (there is None or (new != old and not _agree(lens, rule, sample))):
                gets = text(new, old)
        result[side] = Outcome(value, gets, refused)
    return result


def _agree(lens: Lens, rule: Mapping[str, Any], sample: Sample) -> bool:
    """Whether both sides say the same, each in its own form: then neither gets anything."""
    if sample.left is None or sample.right is None:
        return False
    try:
        return lens.equal(sample.left.values.get(rule["left"]["path"]), sample.right.values.get(rule["right"]["path"]))
    except Exception:
        return False  # see _put


def _put(put: Any, side: str, source: Any, old: Any) -> tuple[Any, str]:
    try:
        return put(side, source, old, None), ""
    except CannotExpress as refusal:
        said = {"value": text(refusal.params.get("value", source))}
        return None, REFUSALS.get(refusal.code, OTHER_REFUSAL).format(**said)
    except Exception:
        # A sample is any record of theirs; one that a transform stumbles over must not close the editor, which is
        # where the rule gets corrected.
        return None, f"“{text(source)}” cannot be carried over by this transform"


def text(value: Any, other: Any = None) -> str:
    """A value on one or two lines; of a document its words. Cut around what differs from `other`, if that is given."""
    words, there = _line(value), _line(other)
    if len(words) <= SHOWN_LENGTH:
        return words
    differing = (place for place, (a, b) in enumerate(zip(words, there, strict=False)) if a != b)
    same = next(differing, min(len(words), len(there))) if other is not None else 0
    start = max(0, same - LEAD_LENGTH) if same < len(words) else 0
    part = words[start : start + SHOWN_LENGTH]
    return ("…" if start else "") + part + ("…" if start + SHOWN_LENGTH < len(words) else "")


def _line(value: Any) -> str:
    words = " ".join(_words(value)) if isinstance(value, dict) else shown(value)
    return " ".join(words.split())


def _words(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("text"), str):
            yield node["text"]
        attributes = node.get("attrs")
        if isinstance(attributes, dict) and isinstance(attributes.get("text"), str):
            yield attributes["text"]
        yield from _words(node.get("content"))
    elif isinstance(node, list):
        for item in node:
            yield from _words(item)
