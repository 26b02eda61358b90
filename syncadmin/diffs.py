"""Differences for people, as lists of (change, text): words of a text, members of a set, lines of a document.

Pure: the template tags turn them into <ins> and <del>.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

Part = tuple[str, str]  # ("same" | "added" | "removed" | "skipped", text)

CONTEXT_LINES = 3  # unchanged lines kept around a change, as patch tools do
# SequenceMatcher is quadratic at worst; above this many words a text is compared line by line instead.
MOST_WORDS = 4000


def _split_words(text: str) -> list[str]:
    return re.findall(r"\w+|\s+|[^\w\s]", text)


def _opcodes(before: Sequence[str], after: Sequence[str]) -> Iterator[Part]:
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            yield "same", "".join(before[i1:i2])
        else:
            if i2 > i1:
                yield "removed", "".join(before[i1:i2])
            if j2 > j1:
                yield "added", "".join(after[j1:j2])


def words(before: str, after: str) -> list[Part]:
    """Word by word. A gap of one blank between two changes joins them, so that replaced phrases read as one."""
    left, right = _split_words(before), _split_words(after)
    if max(len(left), len(right)) > MOST_WORDS:
        left, right = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return _joined(list(_opcodes(left, right)))


def _joined(parts: list[Part]) -> list[Part]:
    """Removed and added stretches with only blanks between them become one removed and one added stretch."""
    result: list[Part] = []
    removed = added = ""
    for index, (change, text) in enumerate(parts):
        between = change == "same" and not text.strip() and (removed or added) and index + 1 < len(parts)
        if change == "removed" or between:
            removed += text
        if change == "added" or between:
            added += text
        if change == "same" and not between:
            result += _flushed(removed, added)
            removed = added = ""
            result.append((change, text))
    return result + _flushed(removed, added)


def _flushed(removed: str, added: str) -> list[Part]:
    return [part for part in (("removed", removed), ("added", added)) if part[1]]


def sets(before: Sequence[str], after: Sequence[str]) -> list[Part]:
    """Members that stayed, then came, then left; each in its given order."""
    stayed = [("same", item) for item in before if item in after]
    came = [("added", item) for item in after if item not in before]
    left = [("removed", item) for item in before if item not in after]
    return stayed + came + left


def lines(before: str, after: str) -> list[Part]:
    """Line by line; long unchanged stretches become one "skipped" part with the number of lines."""
    left, right = before.splitlines(), after.splitlines()
    result: list[Part] = []
    for group_number, group in enumerate(
        SequenceMatcher(None, left, right, autojunk=False).get_grouped_opcodes(CONTEXT_LINES)
    ):
        if group_number or group[0][1] > 0:
            result.append(("skipped", "unchanged lines"))
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                result += [("same", line) for line in left[i1:i2]]
            else:
                result += [("removed", line) for line in left[i1:i2]]
                result += [("added", line) for line in right[j1:j2]]
    return result
