"""A value map as a relation: which value on the left means which on the right, many-to-one in either direction."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Passes = Callable[[Any], bool]  # whether a value that is not listed stands for itself


def is_empty(value: Any) -> bool:
    return value is None or value == ""


def _key(value: Any) -> str:
    # As JSON, because True and 1 are the same key to Python but not the same value to people.
    return json.dumps(None if value == "" else value, sort_keys=True)


@dataclass(frozen=True, slots=True)
class ValueTable:
    """`partners[side][key of the source]`: the values of `side` that the source may mean, in listed order."""

    partners: Mapping[str, Mapping[str, tuple[Any, ...]]]

    def related(self, side: str, source: Any, old: Any, passes: Passes = is_empty) -> bool:
        """Whether `old`, a value of `side`, still means `source`."""
        there, here = self.partners[side], self.partners["left" if side == "right" else "right"]
        if any(_key(partner) == _key(old) for partner in there.get(_key(source), ())):
            return True
        # Empty that is listed must not be left empty: a record without an owner goes to the queue named for that.
        if is_empty(source) and _key(source) in there:
            return False
        # A value not listed stands for itself; listed on both sides, it means what the lists say.
        listed_twice = _key(source) in there and _key(old) in here
        return _key(source) == _key(old) and passes(source) and not listed_twice

    def only_empty(self, side: str, source: Any) -> bool:
        """Whether the list says that `source` has no counterpart on `side`."""
        return self.partners[side].get(_key(source)) == (None,)

    def filled(self, side: str, source: Any) -> Any:
        """The first listed partner that is not empty. Raises LookupError."""
        for partner in self.partners[side].get(_key(source), ()):
            if partner is not None:
                return partner
        raise LookupError(source)

    def carry(self, side: str, source: Any, old: Any, passes: Passes = is_empty) -> Any:
        """The value for `side`: `old` while it still means `source`, else the first listed. Raises LookupError."""
        if self.related(side, source, old, passes):
            return old
        listed = self.partners[side].get(_key(source))
        if listed:
            return listed[0]
        if passes(source):
            return source
        raise LookupError(source)


def value_table(entries: Sequence[Mapping[str, Any]]) -> ValueTable:
    """The relation that `entries` [{"left": v, "right": v}] list. Raises ValueError naming a malformed entry."""
    partners: dict[str, dict[str, tuple[Any, ...]]] = {"left": {}, "right": {}}
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, Mapping) or set(entry) != {"left", "right"}:
            raise ValueError(f"Entry {number} of the value map needs a left and a right value.")
        left, right = (None if is_empty(entry[side]) else entry[side] for side in ("left", "right"))
        partners["right"][_key(left)] = (*partners["right"].get(_key(left), ()), right)
        partners["left"][_key(right)] = (*partners["left"].get(_key(right), ()), left)
    return ValueTable(partners)
