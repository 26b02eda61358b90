"""The way through the sections of a description: their names and their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connections.connectors.rest_sections import section_at

BEFORE, PARTS, LAST = ("system", "sign-in", "who", "answers"), ("", ".list", ".read", ".write"), ("bell",)


@dataclass(frozen=True, slots=True)
class Step:
    where: str
    title: str
    current: bool
    filled: bool


def order_of(document: Mapping[str, Any]) -> list[str]:
    """All sections, in the order in which they are filled in; a first object type is offered where there is none."""
    types = [f"type.{n}{part}" for n in range(len(document.get("object_types", []))) for part in PARTS]
    return [*BEFORE, *(types or ["type.new"]), *LAST]


def steps_of(document: Mapping[str, Any], current: str) -> list[Step]:
    """The sections as tabs: those around the object type that is looked at."""
    here = _section_of(current)
    return [
        Step(where, title_of(document, where), where == here, _filled(document, where)) for where in order_of(document)
    ]


def _section_of(where: str) -> str:
    """The tab that a field, filter or parameter belongs to."""
    for item in (".field.", ".scope."):
        if item in where:
            return where.partition(item)[0]
    return "system" if where.startswith("parameter.") else where


def after(document: Mapping[str, Any], where: str, again: bool) -> str:
    """The section that follows; "" after the last one. again: another one of the same sort."""
    order, here = order_of(document), _section_of(where)
    if here != where:
        return where.rpartition(".")[0] + ".new" if again else here
    if here not in order:
        return ""
    place = order.index(here) + 1
    return order[place] if place < len(order) else ""


def title_of(document: Mapping[str, Any], where: str) -> str:
    section = section_at(where)
    if section is None:
        return where
    title = section.kind.title
    types: Sequence[Any] = document.get("object_types", [])
    number = section.type_number
    label = ""
    if number is not None and number < len(types):
        label = types[number].get("label") or types[number].get("name", "")
    if where.count(".") == 1 and label:
        return str(label)
    if section.is_new:
        return f"New {title.lower()}"
    last = section.way[-1] if section.way else ""
    if where.count(".") == 3 and isinstance(last, int):
        items = types[number or 0].get(section.way[-2], [])
        return f"{title} {items[last].get('label') or items[last].get('name')}" if last < len(items) else title
    return f"{label}: {title}" if label and len(types) > 1 else title


def _filled(document: Mapping[str, Any], where: str) -> bool:
    section = section_at(where)
    if section is None or section.is_new:
        return False
    group: Any = document
    for step in section.way:
        group = group[step]
    return (
        where == "system"
        or (section.way != () and where.count(".") == 1)
        or any(key in group for key in section.kind.keys or ())
    )
