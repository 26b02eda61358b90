"""A value before and after, made ready to be shown: which kind of difference, and both values as text or sets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mappings.transforms.render import as_text
from sync.merge import is_empty
from syncadmin import diffs

# Longer texts are compared line by line: a page of struck and underlined words cannot be read.
MOST_CHARACTERS = 240
# Up to this length a value is read as a whole: "In Progress" became "In Review", not one of its words.
WHOLE_CHARACTERS = 30
# In a list only what changed of a longer text is shown, with this much around each change, and this much in all.
AROUND, MOST_IN_A_LIST = 24, 200


@dataclass(frozen=True, slots=True)
class Shown:
    """kind: "whole", "words", "lines", "excerpt" or "set"; for a set both values are lists of text, else text.

    `side`: whose value it is, "" where that is clear. `parts`: of an excerpt, (change, text) as in syncadmin/diffs.py.
    """

    kind: str
    before: Any
    after: Any
    side: str = ""
    label: str = ""
    parts: Sequence[diffs.Part] = ()


def readable(value: Any) -> Any:
    """A normalised value as text, or as a list of texts for a set."""
    return [as_text(member) for member in value] if isinstance(value, list) else as_text(value)


def shown(before: Any, after: Any, side: str = "", label: str = "", brief: bool = False) -> Shown:
    """How to show that `before` became `after`; `brief` for a line of a list."""
    old, new = readable(before), readable(after)
    if isinstance(old, list) or isinstance(new, list):
        return Shown("set", old or [], new or [], side, label)
    long = max(len(old), len(new))
    if long <= WHOLE_CHARACTERS:
        return Shown("whole", old, new, side, label)
    if brief:
        return Shown("excerpt", old, new, side, label, parts=excerpt(old, new))
    by_line = long > MOST_CHARACTERS or "\n" in old or "\n" in new
    return Shown("lines" if by_line else "words", old, new, side, label)


def excerpt(before: str, after: str) -> list[diffs.Part]:
    """The changed words with a little around them; what is left out shows as "…"."""
    parts: list[diffs.Part] = []
    left = MOST_IN_A_LIST
    differences = diffs.words(before, after)
    for index, (change, text) in enumerate(differences):
        first, last = index == 0, index == len(differences) - 1
        if change == "same":
            text = _around(text, first, last)
        elif len(text) > left:
            text = text[:left].rstrip() + "…"
        parts.append((change, re.sub(r"\s+", " ", text)))
        left -= len(text)
        if left <= 0:
            return [*parts, ("same", "" if last else " …")]
    return parts


def _around(text: str, first: bool, last: bool) -> str:
    start = "" if first else text[:AROUND]
    end = "" if last else text[-AROUND:]
    if len(text) <= len(start) + len(end):
        return text
    return f"{start}…{end}"


def changes_of(values: Any, side: str = "", brief: bool = False, whole: bool = False) -> list[Shown]:
    """The differences an audit entry keeps: one, or one per side where it tells of both; of a whole record one per
    field, by its label."""
    if not isinstance(values, dict):
        return []
    before, after = values.get("before"), values.get("after")
    if all(value is None or _per_side(value) for value in (before, after)) and (before or after):
        pairs = [(one, (before or {}).get(one), (after or {}).get(one)) for one in ("left", "right")]
        return [shown(old, new, one, brief=brief) for one, old, new in pairs if old is not None or new is not None]
    if whole:
        was, now = before or {}, after or {}
        labels = [one for one in {**was, **now} if not (is_empty(was.get(one)) and is_empty(now.get(one)))]
        return [shown(was.get(label), now.get(label), side, label, brief) for label in labels]
    return [shown(before, after, side, brief=brief)]


def _per_side(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and set(value) <= {"left", "right"}
