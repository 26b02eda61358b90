"""A value before and after, made ready to be shown: which kind of difference, and both values as text or sets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mappings.transforms.base import FieldSpec
from mappings.transforms.render import as_plain

# Longer texts are compared line by line: a page of struck and underlined words cannot be read.
MOST_CHARACTERS = 240
# In a list a text longer than this is named, not shown.
MOST_IN_A_LIST = 160


@dataclass(frozen=True, slots=True)
class Shown:
    """kind: "words", "lines" or "set"; for a set both values are lists of text, else text. `side` as in the rule."""

    kind: str
    before: Any
    after: Any
    side: str = ""
    label: str = ""
    hidden: bool = False  # too long for a list


def readable(value: Any) -> Any:
    """A normalised value as text, or as a list of texts for a set."""
    if isinstance(value, list):
        return [str(readable(member)) for member in value]
    if isinstance(value, dict) and value.get("type") == "doc":
        return as_plain(value, FieldSpec("", "", "rich_text", format="adf"))
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
    return as_plain(value, FieldSpec("", "", "text"))


def shown(before: Any, after: Any, side: str = "", label: str = "", brief: bool = False) -> Shown:
    """How to show that `before` became `after`; `brief` for a line of a list."""
    old, new = readable(before), readable(after)
    if isinstance(old, list) or isinstance(new, list):
        return Shown("set", old or [], new or [], side, label)
    long = max(len(old), len(new))
    if brief and (long > MOST_IN_A_LIST or isinstance(before, dict) or isinstance(after, dict)) and long > 0:
        return Shown("words", old, new, side, label, hidden=long > MOST_IN_A_LIST)
    by_line = long > MOST_CHARACTERS or "\n" in old or "\n" in new
    return Shown("lines" if by_line and not brief else "words", old, new, side, label)


def changes_of(values: Any, side: str = "", brief: bool = False) -> list[Shown]:
    """The differences an audit entry keeps: one, or one per side where it tells of both."""
    if not isinstance(values, dict):
        return []
    before, after = values.get("before"), values.get("after")
    if all(value is None or _per_side(value) for value in (before, after)) and (before or after):
        pairs = [(one, (before or {}).get(one), (after or {}).get(one)) for one in ("left", "right")]
        return [shown(old, new, one, brief=brief) for one, old, new in pairs if old is not None or new is not None]
    return [shown(before, after, side, brief=brief)]


def _per_side(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and set(value) <= {"left", "right"}
