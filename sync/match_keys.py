"""What records say in the fields by which they are recognised as the same thing. Pure.

⚑ A part that a record does not show is not empty: by that way it may fit anybody.
"""

from __future__ import annotations

import hashlib
from typing import Any

from connections.connectors.base import Record
from mappings.compiled import CompiledMapping
from sync.merge import OTHER


def match_text(value: Any) -> str:
    """A match value without what people do not mean: case and white space."""
    return " ".join(str(value).split()).casefold() if value is not None else ""


def ways(mapping: CompiledMapping, side: str) -> list[list[str]]:
    """The paths of each alternative, the strongest first."""
    index = 0 if side == "left" else 1
    return [[pair[index] for pair in pairs] for pairs in mapping.match_keys]


def digests(mapping: CompiledMapping, side: str, record: Record) -> dict[int, str]:
    """{alternative: digest} of the record's match keys; an alternative with an empty part does not count."""
    found = {}
    for number, paths in enumerate(ways(mapping, side)):
        texts = [match_text(record.values.get(path)) for path in paths]
        if all(texts):
            found[number] = hashlib.sha256("\x1f".join(texts).encode()).hexdigest()
    return found


def comparable(mapping: CompiledMapping, left: Record, right: Record) -> bool:
    """Whether both records fill in one of the match keys."""
    return not digests(mapping, "left", left).keys().isdisjoint(digests(mapping, "right", right))


def unread_ways(mapping: CompiledMapping, side: str, record: Record) -> frozenset[int]:
    """Alternatives of which the record hides a part and shows no other one empty."""
    hidden = _hidden(mapping, side, record)
    return frozenset(
        number
        for number, paths in enumerate(ways(mapping, side))
        if not hidden.isdisjoint(paths) and all(path in hidden or match_text(record.values.get(path)) for path in paths)
    )


def may_fit(mapping: CompiledMapping, number: int, side: str, record: Record, other: Record) -> bool:
    """Whether `other`, of the other side, says what `record` says in every part of the alternative that it shows."""
    hidden = _hidden(mapping, OTHER[side], other)
    pairs = zip(ways(mapping, side)[number], ways(mapping, OTHER[side])[number], strict=True)
    return all(
        theirs in hidden or match_text(record.values.get(ours)) == match_text(other.values.get(theirs))
        for ours, theirs in pairs
    )


def _hidden(mapping: CompiledMapping, side: str, record: Record) -> frozenset[str]:
    return record.unreadable | mapping.missing.get(side, frozenset())
