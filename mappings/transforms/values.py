"""Plain values: carried over as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mappings.transforms.base import FieldSpec, Lens, Transform


def _same(source: Any, old: Any, base: Any) -> Any:
    return source


def build_same(params: Mapping[str, Any], left: FieldSpec, right: FieldSpec, entries: list[dict[str, Any]]) -> Lens:
    return Lens(_same, _same)


SAME = Transform(
    name="same",
    label="Same value",
    help="The value is carried over unchanged.",
    build=build_same,
    kinds=frozenset({("*", "*")}),
)
