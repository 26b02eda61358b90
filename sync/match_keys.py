"""What records say in the fields by which they are recognised as the same thing. Pure.

⚑ A part that a record does not show is not empty: by that way it may fit anybody.
"""

from __future__ import annotations

import hashlib
from typing import Any

from connections.connectors.base import Record
from mappings.compiled import CompiledMapping


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


def unread_ways(mapping: CompiledMapping, side: str, record: Record) -> frozenset[int]:
    """Alternatives of which the record hides a part and shows no other one empty."""
    hidden = record.unreadable | mapping.missing.get(side, frozenset())
    return frozenset(
        number
        for number, paths in enumerate(ways(mapping, side))
        if not hidden.isdisjoint(paths) and all(path in hidden or match_text(record.values.get(path)) for path in paths)
    )
