"""What a transform is: a lens between two field values.

Pure: no Django, no HTTP library, no clock, no randomness. A transform family is one file beside this one.

Laws, property-tested for every transform (Foster et al., "Combinators for bidirectional tree transformations",
2007), for every `right` and `left` the transform can express:

    to_right(to_left(right, left), right) == right      what was written arrives
    to_left(to_right(left), left)         == left       nothing edited, nothing touched
    and the same with left and right exchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


class CannotExpress(Exception):
    """The value has no counterpart on the other side. `code` and `params` name the sentence for people."""

    def __init__(self, code: str, **params: Any) -> None:
        super().__init__(code, params)
        self.code = code
        self.params = params


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """What a transform may know of a field; a snapshot taken when the version was published."""

    path: str
    label: str
    kind: str  # as in connections.connectors.base
    format: str | None = None
    options: tuple[str, ...] = ()
    writable: bool = True
    creatable: bool = True
    required: bool = False
    max_length: int | None = None
    separate_write: bool = False
    step: int | None = None  # of a moment, in microseconds; None: not known


# (value of the source, old value of the target, base of the source) -> value of the target. The old target value
# is what the write replaces: the lens keeps from it what the edit did not touch. The base is the source value at the
# last agreement, or None; both are None where there is nothing yet. Raises CannotExpress.
Put = Callable[[Any, Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Lens:
    to_right: Put
    to_left: Put
    lossy: frozenset[str] = field(default_factory=frozenset)  # directions ("to_right", "to_left") that lose detail

    def put(self, side: str, source: Any, old: Any = None, base: Any = None) -> Any:
        """The value for `side` that `source` (of the other side) means."""
        return (self.to_right if side == "right" else self.to_left)(source, old, base)

    def equal(self, left: Any, right: Any) -> bool:
        """Whether both sides say the same: either way of carrying over would change nothing."""
        for side, source, old in (("right", left, right), ("left", right, left)):
            try:
                if self.put(side, source, old, None) == old:
                    return True
            except CannotExpress:
                continue
        return False


# params, left field, right field, value map entries -> Lens. Raises ValueError with a sentence for the admin.
Builder = Callable[[Mapping[str, Any], FieldSpec, FieldSpec, list[dict[str, Any]]], Lens]


@dataclass(frozen=True, slots=True)
class Transform:
    """One entry of the transform table."""

    name: str
    label: str
    help: str  # one sentence for the editor
    build: Builder
    kinds: frozenset[tuple[str, str]]  # (left kind, right kind) it fits; ("*", "*") fits all
    needs_value_map: bool = False
    takes_value_map: bool = False  # for the values that it says; others go over by a rule of its own
    params: tuple[tuple[str, str], ...] = ()  # (name, label) of the parameters the editor asks for
