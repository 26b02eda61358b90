"""Definitions for tests, as plain data."""

from __future__ import annotations

import copy
from typing import Any

WHOLE: dict[str, Any] = {
    "version": 1,
    "name": "Acme",
    "notes": ["It has no webhooks for comments."],
    "authentication": {"method": "header", "name": "X-Key", "prefix": ""},
    "headers": {"X-Requested-With": "rest", "Origin": "{address}"},
    "account": {"path": "/me"},
    "errors": {"message": "error.message"},
    "limits": {"per_second": 20.0},
    "object_types": [
        {
            "name": "thing",
            "label": "Thing",
            "link": "/things/{id}",
            "place": {"version": "lock", "updated_at": "updated", "title": "title"},
            "fields": [
                {"name": "title", "required": True, "max_length": 100},
                {"name": "status", "kind": "option", "options": [{"value": 1, "name": "New"}, {"value": 2}]},
            ],
            "scope": [{"name": "team", "parameter": "team", "read": "team"}],
            "list": {
                "path": "/things",
                "records": "items",
                "paging": {"style": "page", "parameter": "page", "size_parameter": "size", "total": "total"},
                "changed": {"parameter": "updated", "value": ">={since}", "parameters": {"sort": "updated"}},
            },
            "read": {"path": "/things/{id}"},
            "read_many": {"path": "/things", "parameters": {"ids": "{ids}"}, "records": "items"},
            "create": {"path": "/things", "wrap": "thing", "record": "@"},
            "update": {"path": "/things/{id}", "wrap": "thing", "record": "@"},
            "delete": {"path": "/things/{id}"},
            "condition": {"value": '"{version}"'},
            "key": {"read": "ext", "write": "ext", "search": "ext"},
            "trust": {"not_found_is_gone": True},
        },
        {
            "name": "note",
            "parent": "thing",
            "place": {"created_at": "created"},
            "fields": [{"name": "text", "kind": "rich_text", "format": "plain"}],
            "list": {"path": "/things/{parent}/notes"},
            "create": {"path": "/things/{parent}/notes"},
        },
    ],
    "webhook": {"object_type": "type", "signature_header": "X-Signature", "signed": "{timestamp}.{body}"}
    | {"timestamp_header": "X-Time"},
}


def changed(document: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """A copy of a document with another value at a place like "object_types.0.list"."""
    whole = copy.deepcopy(document)
    *way, last = place.split(".")
    inner: Any = whole
    for step in way:
        inner = inner[int(step)] if isinstance(inner, list) else inner[step]
    inner[last] = value
    return whole
