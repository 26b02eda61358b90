"""People: the same e-mail address is the same person; a table names the exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mappings.transforms.base import CannotExpress, FieldSpec, Lens, Put, Transform
from mappings.transforms.table import is_empty, value_table

HIDDEN = "id:"  # an account whose address we may not see
QUEUE = "queue:"  # a group that owns the record


def _person(value: Any) -> Any:
    if not isinstance(value, str) or is_empty(value.strip()):
        return None
    text = value.strip()
    return text if text.startswith((HIDDEN, QUEUE)) else text.lower()


def _stands_for_itself(value: Any) -> bool:
    return value is None or ("@" in value and not value.startswith((HIDDEN, QUEUE)))


def build_person(params: Mapping[str, Any], left: FieldSpec, right: FieldSpec, entries: list[dict[str, Any]]) -> Lens:
    table = value_table(
        [
            {side: _person(value) for side, value in entry.items()} if isinstance(entry, dict) else entry
            for entry in entries
        ]
    )

    def to(side: str) -> Put:
        def put(source: Any, old: Any, base: Any) -> Any:
            wanted, there = _person(source), _person(old)
            if table.related(side, wanted, there, _stands_for_itself):
                return old
            try:
                return table.carry(side, wanted, there, _stands_for_itself)
            except LookupError:
                raise CannotExpress(_why(wanted), value=source) from None

        return put

    return Lens(to("right"), to("left"))


def _why(person: str) -> str:
    if person.startswith(HIDDEN):
        return "person_hidden"
    return "queue_not_mapped" if person.startswith(QUEUE) else "person_unknown"


PERSON = Transform(
    name="person",
    label="Person",
    help="The same e-mail address is the same person; a list names people with different addresses, and queues.",
    build=build_person,
    kinds=frozenset({("person", "person"), ("person", "text"), ("text", "person")}),
    takes_value_map=True,
)
