"""Sets of words: labels, tags, components, multi-picklists; one side may be a text with separators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mappings.transforms.base import CannotExpress, FieldSpec, Lens, Put, Transform
from mappings.transforms.table import value_table

DEFAULT_SEPARATOR = ";"  # of a Salesforce multi-picklist
REFUSE = "refuse"
OTHER = {"left": "right", "right": "left"}


def build_set(params: Mapping[str, Any], left: FieldSpec, right: FieldSpec, entries: list[dict[str, Any]]) -> Lens:
    """Per side: `<side>_separator` where it is a text, `<side>_spaces`: what stands there for a space in a member.

    A member mapped to None stays on its side: it is never carried over and never removed by the other side.
    """
    specs = {"left": left, "right": right}
    separators = {
        side: None if spec.kind == "set" else params.get(f"{side}_separator") or DEFAULT_SEPARATOR
        for side, spec in specs.items()
    }
    spaces = {side: params.get(f"{side}_spaces") or "" for side in specs}
    for side, stands in spaces.items():
        if " " in stands:
            raise ValueError(
                f"What stands for a space on the {side} of {left.label} ↔ {right.label} has a space itself."
            )
    table = value_table(entries)
    name = params.get("map") or f"{left.label} ↔ {right.label}"

    def meaning(side: str, member: str) -> str:
        return member.replace(spaces[side], " ") if spaces[side] not in ("", REFUSE) else member

    def spelled(side: str, source: str) -> str:
        word = meaning(OTHER[side], source)
        return word.replace(" ", spaces[side]) if spaces[side] not in ("", REFUSE) else word

    def means(side: str, source: str, old: str) -> bool:
        """Whether `old`, a member on `side`, is what the other side calls `source`."""
        if entries:
            return table.related(side, source, old)
        return spelled(side, source) == old or spelled(OTHER[side], old) == source

    def stays(side: str, member: str) -> bool:
        return table.only_empty(OTHER[side], member)

    def carried(side: str, source: str) -> str:
        there = spelled(side, source)
        if entries:
            try:
                there = str(table.filled(side, source))
            except LookupError:
                raise CannotExpress("value_not_in_map", value=source, map=name) from None
        if spaces[side] == REFUSE and " " in there:
            raise CannotExpress("member_with_space", value=there)
        separator = separators[side]
        if separator and separator in there:
            raise CannotExpress("member_with_separator", value=there, separator=separator)
        return there

    def to(side: str) -> Put:
        def put(source: Any, old: Any, base: Any) -> Any:
            wanted, there = members(source, separators[OTHER[side]]), members(old, separators[side])
            result = {member for member in there if stays(side, member)}
            for member in wanted:
                if stays(OTHER[side], member):
                    continue
                kept = {candidate for candidate in there if means(side, member, candidate)}
                result |= kept or {carried(side, member)}
            if result == set(there):
                return old
            separator = separators[side]
            if separator is None:
                return sorted(result)
            return separator.join(sorted(result)) or None

        return put

    return Lens(to("right"), to("left"))


def members(value: Any, separator: str | None) -> list[str]:
    """The distinct members of a set or of a text with separators, sorted."""
    found = value.split(separator) if isinstance(value, str) else value or []
    return sorted({member.strip() for member in found if member.strip()})


SET = Transform(
    name="set",
    label="Set of words",
    help="Labels, tags or several choices; their order does not count.",
    build=build_set,
    kinds=frozenset({("set", "set"), ("set", "text"), ("text", "set"), ("set", "option"), ("option", "set")}),
    takes_value_map=True,
    params=(
        ("left_separator", "Separator on the left, if it is a text"),
        ("right_separator", "Separator on the right, if it is a text"),
        ("left_spaces", "What stands for a space on the left ('refuse': spaces cannot be written)"),
        ("right_spaces", "What stands for a space on the right ('refuse': spaces cannot be written)"),
    ),
)
