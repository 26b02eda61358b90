"""Browse: which kinds of record a system has, their fields, and what stands in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from connections.access import requires
from connections.connectors.base import Connector, ConnectorError, Field, ObjectType, Record
from connections.open import cached_fields, open_connector
from connections.usage import uses_of, visible_connections

SAMPLES = 3  # records looked at for sample values
LONGEST_SAMPLE = 300  # characters shown of one value


@dataclass(frozen=True, slots=True)
class Row:
    field: Field
    samples: list[Any]
    unreadable: bool


@requires("connections.test")
def page(request: HttpRequest, pk: int) -> HttpResponse:
    connection = get_object_or_404(visible_connections(request.user), pk=pk)
    scopes = {use.object_type: use.scope for use in uses_of(connection)}
    context: dict[str, Any] = {"connection": connection, "types": [], "rows": [], "records": [], "trouble": ""}
    try:
        connector = open_connector(connection)
        types = list(connector.object_types())
        context["types"] = types
        chosen = _chosen(types, request.GET.get("type", ""), list(scopes))
        if chosen is not None:
            scope = scopes.get(chosen.name, {})
            fields = cached_fields(connection, chosen.name, scope, fresh="refresh" in request.GET)
            records = [] if chosen.parent else samples(connector, chosen.name, fields, scope)
            context |= {"chosen": chosen, "records": records, "rows": rows(fields, records)}
    except ConnectorError as error:
        context["trouble"] = error.message or "The system did not answer."
    return render(request, "connections/browse.html", context)


def _chosen(types: Sequence[ObjectType], wanted: str, used: Sequence[str]) -> ObjectType | None:
    """The type asked for, else one that a mapping uses, else the first."""
    by_name = {one.name: one for one in types}
    for name in (wanted, *used):
        if name in by_name:
            return by_name[name]
    return types[0] if types else None


def samples(connector: Connector, object_type: str, fields: Sequence[Field], scope: dict[str, Any]) -> list[Record]:
    """A few records with all their fields. Raises ConnectorError."""
    paths = [field.path for field in fields]
    for listed in connector.changed_since(object_type, None, paths, scope):
        ids = [record.external_id for record in listed.records[:SAMPLES]]
        return list(connector.get_many(object_type, ids, paths).values()) if ids else []
    return []


def rows(fields: Sequence[Field], records: Sequence[Record]) -> list[Row]:
    """One row per field: its values in the sample records, empty ones left out, long ones shortened."""
    found = []
    for field in fields:
        values = [record.values.get(field.path) for record in records]
        shown = [_short(value) for value in values if value not in (None, "", [])]
        found.append(Row(field, shown, any(field.path in record.unreadable for record in records)))
    return found


def _short(value: Any) -> Any:
    return value[:LONGEST_SAMPLE] + "…" if isinstance(value, str) and len(value) > LONGEST_SAMPLE else value
