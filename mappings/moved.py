"""Whether a mapping that was published is turned to other records: another connection, or another object type.

Pure: no Django, no HTTP library, no clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mappings.problems import SIDES, Problem


def moved_sides(published: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> Iterator[Problem]:
    """An error for each side of `wanted` that names other records than the document `published`, if there is one.

    ⚑ Links, last agreed values, cursors and the approval are of the mapping, and all of them go by record ids.
    """
    for side in SIDES:
        before, after = (published or {}).get(side), wanted[side]
        if before is None or _place(before) == _place(after):
            continue
        yield Problem(
            "error",
            "moved",
            f"The {side} side was published with {_words(before)}, and now names {_words(after)}.",
            "Pairs, last agreed values and the approval are of the records there. The same ids mean others here: those "
            "would be overwritten, and what is not here would be taken for deleted.",
            "Name again what it was published with, and make a new mapping for the other; this one can be paused.",
            side=side,
            field="mapping",
        )


def _place(side: Mapping[str, Any]) -> tuple[Any, Any]:
    return side["connection"], side["object_type"]


def _words(side: Mapping[str, Any]) -> str:
    return f"“{side['object_type']}” of {side['connection_name']}"
