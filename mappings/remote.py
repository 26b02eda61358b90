"""What the mapping pages ask of the connected systems: fields, forms and sample records. Nothing here writes."""

from __future__ import annotations

from collections.abc import Sequence

from connections.connectors import connector_class
from connections.connectors.base import Field, FormField
from connections.open import cached_fields
from mappings.models import Mapping, Side
from mappings.validation import SideFacts


def connection_form(kind: str) -> Sequence[FormField]:
    """The settings and secrets a connection of this kind has. Raises LookupError for an unknown kind."""
    return connector_class(kind).form


def scope_form(kind: str) -> Sequence[FormField]:
    return connector_class(kind).scope_form


def facts_of(mapping: Mapping, side: str, fields: Sequence[Field] | None = None) -> SideFacts:
    """What validation must know of a side. Raises ConnectorError where the fields must be asked and cannot."""
    connection = mapping.connection(side)
    if fields is None:
        scope = mapping.left_scope if side == Side.LEFT else mapping.right_scope
        fields = cached_fields(connection, mapping.object_type(side), scope)
    return SideFacts(connection.name, fields, scope_form(connection.kind))
