"""Mappings between systems in memory, made without pages: documents of versions, and rows to run them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connections.connectors.memory import US
from connections.models import Connection
from mappings.models import Mapping, MappingVersion


def field_spec(path: str, label: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "label": label, "kind": kind, **more}


def rule(rule_id: str, path: str, kind: str = "text", **more: Any) -> dict[str, Any]:
    """A rule between two fields of the same name; `more` overrides any part of it."""
    policy = more.pop("policy", "review")
    left = field_spec(path, path.title(), kind, **more.pop("left", {}))
    right = field_spec(path, path.title(), kind, **more.pop("right", {}))
    return {
        "id": rule_id,
        "left": left,
        "right": right,
        "direction": "both",
        "transform": "same",
        "params": {},
        "entries": [],
        "policy": {"name": policy, "kind": policy, "tolerance": 1.0},
        "one_way_target": "keep",
        "initial": "fill_empty",
        **more,
    }


def side(connection: Connection, **more: Any) -> dict[str, Any]:
    return {
        "connection": connection.pk,
        "connection_name": connection.name,
        "kind": "memory",
        "object_type": "thing",
        "object_label": "Thing",
        "scope": {},
        "create": True,
        "create_defaults": {},
        "on_delete": "review",
        "close_values": {},
        **more,
    }


def connect(name: str) -> Connection:
    """The connection to the world of this name."""
    return Connection.objects.get_or_create(
        name=name,
        defaults={
            "kind": "memory",
            "address": f"https://{name.lower()}.example.com",
            "settings": {"world": name},
            "key_space": name,  # chance would make another history of the same seed
            "state": "ok",
            "account_id": US,
        },
    )[0]


def build_mapping(
    name: str, left: Connection, right: Connection, rules: Sequence[dict[str, Any]], /, **document: Any
) -> Mapping:
    """A mapping with its first version published."""
    mapping = Mapping.objects.create(
        name=name,
        slug=name.lower(),
        left_connection=left,
        left_object_type="thing",
        right_connection=right,
        right_object_type="thing",
    )
    publish(
        mapping,
        **{
            "left": side(left),
            "right": side(right),
            "match_keys": [[{"left": "ref", "right": "ref"}]],
            "initial": "fill_empty",
            "poll_seconds": 15,
            "brakes": {},
            "rules": list(rules),
            **document,
        },
    )
    return mapping


def publish(mapping: Mapping, **changes: Any) -> MappingVersion:
    """A new version: the last document with `changes`."""
    last = mapping.versions.order_by("-number").first()
    version = MappingVersion.objects.create(
        mapping=mapping,
        number=(last.number if last else 0) + 1,
        document={**(last.document if last else {}), **changes},
    )
    mapping.published = version
    mapping.state = Mapping.State.ACTIVE
    mapping.save()
    return version
