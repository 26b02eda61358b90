"""Field paths such as Owner.Name: which field they end at, and how a record is read along them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from connections.sandbox import salesforce_schema as schema
from connections.sandbox.salesforce_org import Org
from connections.sandbox.salesforce_schema import Doc, Field, SObject

Getter = Callable[[Doc], Any]


def table_of(org: Org, doc: Doc) -> SObject:
    kind = org.kind_of(doc["Id"])
    assert kind is not None
    return kind


def target_of(org: Org, item: Field) -> SObject:
    return schema.OWNER_NAME if len(item.reference_to) > 1 else org.objects[item.reference_to[0]]


def follow(org: Org, item: Field, doc: Doc) -> tuple[Doc, SObject] | None:
    id = doc.get(item.name)
    other = org.get(id) if id else None
    if other is None:
        return None
    kind = target_of(org, item)
    if kind is schema.OWNER_NAME:
        queue = table_of(org, other).name == "Group"
        other = {**other, "Type": "Queue" if queue else "User", "Email": None if queue else other.get("Email")}
    return other, kind


def getter(org: Org, sobject: SObject, path: str) -> Getter:
    first, _, rest = path.partition(".")
    if not rest:
        item = sobject.fields[first]
        name, formula = item.name, item.formula
        return formula if formula else lambda doc: doc.get(name)
    reference = sobject.by_relationship(first)
    assert reference is not None
    inner = getter(org, target_of(org, reference), rest)

    def get(doc: Doc) -> Any:
        found = follow(org, reference, doc)
        return inner(found[0]) if found else None

    return get


def field_at(org: Org, sobject: SObject, path: str) -> Field:
    while "." in path:
        first, _, path = path.partition(".")
        reference = sobject.by_relationship(first)
        assert reference is not None
        sobject = target_of(org, reference)
    return sobject.fields[path]
