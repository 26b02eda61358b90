"""Connectors as templates see them: a template would call a class instead of reading it."""

from __future__ import annotations

from dataclasses import dataclass

from connections.connectors import connector_class
from connections.connectors.base import Capabilities, Connector


@dataclass(frozen=True, slots=True)
class Kind:
    kind: str
    label: str
    address_help: str
    capabilities: Capabilities
    watches: bool


def described(connector: type[Connector]) -> Kind:
    return Kind(connector.kind, connector.label, connector.address_help, connector.capabilities, connector.watches)


def kind_of(name: str) -> Kind | None:
    """None where the connector's file is gone."""
    try:
        return described(connector_class(name))
    except KeyError:
        return None
