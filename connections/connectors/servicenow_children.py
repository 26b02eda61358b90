"""The object types whose records belong to a task, by their names: journals and attachments, each in its own file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from connections.connectors import servicenow_attachments as attachments
from connections.connectors import servicenow_journal as journal
from connections.connectors.base import ConnectorError, Field, ObjectType, Page, Record, Refused, Values, WriteResult
from connections.connectors.servicenow_fields import Shape
from connections.connectors.servicenow_instance import Instance

JOURNALS = ("comments", "work_notes")

Child = tuple[str, str]  # ("incident", "comments")


def split(object_type: str) -> Child | None:
    """("incident", "comments") of "incident.comments"; None for a table."""
    table, dot, element = object_type.partition(".")
    return (table, element) if dot else None


def types(shape: Shape) -> list[ObjectType]:
    """Those of one table: every task has journals."""
    labels = {element: shape.journals[element] for element in JOURNALS if element in shape.journals}
    if labels:
        labels[attachments.ELEMENT] = attachments.LABEL
    return [ObjectType(f"{shape.name}.{e}", f"{shape.label}: {label}", shape.name) for e, label in labels.items()]


def is_file(child: Child) -> bool:
    return child[1] == attachments.ELEMENT


def fields(child: Child) -> Sequence[Field]:
    return attachments.FIELDS if is_file(child) else journal.FIELDS


def page_of(child: Child) -> str:
    return attachments.TABLE if is_file(child) else journal.TABLE


def changes(
    instance: Instance, child: Child, watermark: str | None, fields: Sequence[str], log: bool
) -> Iterator[Page]:
    if is_file(child):
        return attachments.changes(instance, child[0], watermark, fields, log)
    return journal.changes(instance, *child, watermark, fields)


def read(instance: Instance, child: Child, ids: Sequence[str], fields: Sequence[str]) -> Mapping[str, Record]:
    if is_file(child):
        return attachments.read(instance, child[0], ids, fields)
    return journal.read(instance, *child, ids, fields)


def ids(instance: Instance, child: Child) -> Iterator[Sequence[str]]:
    return attachments.ids(instance, child[0]) if is_file(child) else journal.ids(instance, *child)


def of_parents(
    instance: Instance, child: Child, parents: Sequence[str], fields: Sequence[str]
) -> Mapping[str, Sequence[Record]]:
    if is_file(child):
        return attachments.of_parents(instance, child[0], parents, fields)
    return journal.of_parents(instance, *child, parents, fields)


def own_recent(instance: Instance, child: Child, since: str, fields: Sequence[str]) -> Sequence[Record]:
    if is_file(child):
        return attachments.own_recent(instance, child[0], since, fields)
    return journal.own_recent(instance, *child, since, fields)


def create(instance: Instance, child: Child, values: Values, parent_id: str | None) -> WriteResult:
    if is_file(child):
        return attachments.create(instance, child[0], values, parent_id)
    return journal.create(instance, *child, values, parent_id)


def unchangeable(instance: Instance, child: Child, external_id: str) -> ConnectorError:
    """Why no update can be made: the record is not there, or its kind is never changed."""
    if is_file(child):
        return attachments.missing(instance, child[0], external_id)
    return journal.missing(instance, *child, external_id)


def fixed(child: Child) -> Refused:
    return attachments.fixed() if is_file(child) else journal.fixed()


def delete(instance: Instance, child: Child, external_id: str) -> None:
    if not is_file(child):
        raise journal.missing(instance, *child, external_id)
    attachments.delete(instance, external_id)
