"""Three-way merges of values of one form. Pure; the engine's merge asks for them when both sides changed."""

from __future__ import annotations

from collections.abc import Sequence

from merge3 import Merge3

NEWLINE = "\n"


def merge_sets(
    left: Sequence[str] | None,
    right_as_left: Sequence[str] | None,
    base: Sequence[str] | None,
    right_base_as_left: Sequence[str] | None,
) -> list[str]:
    """(left ∪ added on the right) − removed on the right, sorted; all four in the left's form.

    Added and removed are judged against the right's own base (the left's where the right has none); without any
    base nothing counts as removed. A plain union would bring removed members back.
    """
    known = set((base if right_base_as_left is None else right_base_as_left) or ())
    there = set(right_as_left or ())
    return sorted((set(left or ()) | (there - known)) - (known - there))


def merge_text(left: str, right: str, base: str) -> str | None:
    """The hunks of the right applied to the left, line by line; None where hunks of both sides touch."""
    merged: list[str] = []
    # Split without line ends: a last line must not look edited because a line was added below it.
    old, mine, theirs = (text.replace("\r\n", NEWLINE).split(NEWLINE) for text in (base, left, right))
    for group in Merge3(old, mine, theirs).merge_groups():
        if group[0] == "conflict":
            return None
        merged.extend(group[1])
    return NEWLINE.join(merged)
