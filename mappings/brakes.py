"""The limits of a mapping's brakes as people set them: per kind of write a number and a share of the links.

Pure: no Django, no clock. Stored as {"update": [500, 0.5]}: in an hour and per side at most 500 or half of the links,
whichever is more. What is not stored is as in `DEFAULT_BRAKES`; how they are counted: sync/limits.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The numbers pass an ordinary busy hour and stop a mistaken bulk edit early.
DEFAULT_BRAKES: Mapping[str, tuple[int, float]] = {"delete": (20, 0.05), "create": (100, 0.20), "update": (500, 0.50)}
LABELS: Mapping[str, str] = {"delete": "Deletions and emptied fields", "create": "Creations", "update": "Changes"}
# More would be no limit: the largest mapping we measured has a million links.
MOST = 1_000_000


def problem(brakes: Any) -> str:
    """Why these limits cannot be used, for people; "" if they can."""
    if not isinstance(brakes, Mapping):
        return "must be a mapping, like {update: [2000, 0.5]}"
    for kind, limit in brakes.items():
        if kind not in DEFAULT_BRAKES:
            return f"knows no {kind}: it is one of {', '.join(sorted(DEFAULT_BRAKES))}"
        if not isinstance(limit, list | tuple) or len(limit) != 2:
            return f"needs a number and a share for {kind}, like [2000, 0.5]"
        number, share = limit
        if type(number) is not int or not 0 <= number <= MOST:
            return f"needs a whole number from 0 to {MOST:,} for {kind}"
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            return f"needs a share from 0 to 1 for {kind}"
    return ""


def words(brakes: Mapping[str, Any]) -> str:
    """The limits that differ from the default, for people."""
    parts = [f"{LABELS[kind]} {number:,} or {percent(share)} %" for kind, (number, share) in sorted(brakes.items())]
    return "; ".join(parts) or "as by default"


def percent(share: float) -> str:
    """0.05 → "5", 0.125 → "12.5"."""
    return f"{share * 100:.2f}".rstrip("0").rstrip(".")
