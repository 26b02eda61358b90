"""Fields and documents that the tests of this folder share."""

from __future__ import annotations

from typing import Any

from connections.connectors.base import Field, Option


def options(*values: str, retired: tuple[str, ...] = ()) -> tuple[Option, ...]:
    return tuple(Option(value, value, value not in retired) for value in values)


LEFT_FIELDS = (
    Field("summary", "Summary", "text", required=True, max_length=255, matchable=True),
    Field("description", "Description", "text"),
    Field("priority", "Priority", "option", options=options("Highest", "High", "Low", "Lowest")),
    Field("labels", "Labels", "set"),
    Field("duedate", "Due date", "date"),
    Field("status", "Status", "option", options=options("Open", "Done"), creatable=False, separate_write=True),
    Field("created", "Created", "datetime", writable=False, creatable=False),
    Field("points", "Points", "number"),
)
RIGHT_FIELDS = (
    Field("Subject", "Subject", "text", required=True, max_length=255, matchable=True),
    Field("Description", "Description", "text", max_length=32_000),
    Field("Priority", "Priority", "option", options=options("P1", "P2", "P3", "P9", retired=("P9",))),
    Field("Tags__c", "Tags", "set"),
    Field("Due__c", "Due date", "date"),
    Field("Status", "Status", "option", options=options("New", "Closed")),
    Field("CaseNumber", "Case number", "text", writable=False, creatable=False),
    Field("Effort__c", "Effort", "number"),
)
PRIORITY_ENTRIES = [
    {"left": "Highest", "right": "P1"},
    {"left": "High", "right": "P2"},
    {"left": "Low", "right": "P3"},
    {"left": "Lowest", "right": "P3"},
]


def snapshot(side: str, path: str) -> dict[str, Any]:
    from mappings.document import field_snapshot

    fields = LEFT_FIELDS if side == "left" else RIGHT_FIELDS
    return field_snapshot(path, {field.path: field for field in fields})


def rule(left: str, right: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"{left}-{right}"[:12],
        "left": snapshot("left", left),
        "right": snapshot("right", right),
        "direction": "both",
        "transform": "same",
        "params": {},
        "entries": [],
        "policy": {"name": "Ask a person", "kind": "review", "tolerance": 2.0},
        "one_way_target": "keep",
        "initial": "fill_empty",
        **changes,
    }


def side(connection: int, **changes: Any) -> dict[str, Any]:
    return {
        "connection": connection,
        "connection_name": "Jira" if connection == 1 else "Salesforce",
        "kind": "memory",
        "object_type": "issue" if connection == 1 else "Case",
        "object_label": "Issue" if connection == 1 else "Case",
        "scope": {},
        "create": True,
        "create_defaults": {},
        "on_delete": "review",
        "close_values": {},
        **changes,
    }


def document(*rules: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "left": side(1),
        "right": side(2),
        "match_keys": [[{"left": "summary", "right": "Subject"}]],
        "initial": "fill_empty",
        "poll_seconds": 15,
        "brakes": {},
        "rules": [rule("summary", "Subject"), *rules],
        **changes,
    }
