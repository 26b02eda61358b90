"""Connectors as templates see them: a template would call a class instead of reading it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connections.connectors import connector_class
from connections.connectors.base import Capabilities, Connector
from connections.models import Connection


@dataclass(frozen=True, slots=True)
class Kind:
    kind: str
    label: str
    address_help: str
    capabilities: Capabilities
    watches: bool
    blind_in: Mapping[str, str]
    looks_at: str


def described(connector: type[Connector], settings: Mapping[str, Any] | None = None) -> Kind:
    """What a connector can do: for any connection, or for one with these settings."""
    able = connector.capabilities if settings is None else connector.capabilities_for(settings)
    return Kind(
        connector.kind,
        connector.label,
        connector.address_help,
        able,
        connector.watches,
        connector.blind_in,
        connector.looks_at,
    )


def kind_of(connection: Connection) -> Kind | None:
    """None where the connector's file is gone."""
    try:
        return described(connector_class(connection.kind), connection.settings or {})
    except KeyError:
        return None
