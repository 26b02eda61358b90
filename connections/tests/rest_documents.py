"""Definitions for tests, as plain data."""

from __future__ import annotations

import copy
from typing import Any

from connections.sandbox.rest_habits import Habits

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


def things_document(habits: Habits) -> dict[str, Any]:
    """The description of the small JSON API of `connections.sandbox.rest`, as it behaves with these habits."""
    row: dict[str, Any] = {
        "name": "thing",
        "label": "Thing",
        "link": "/things/{id}",
        "place": _place(habits),
        "fields": copy.deepcopy(FIELDS),
        "scope": [{"name": "team", "label": "Team", "parameter": "team", "read": "team", "write": "team"}],
        "list": _list(habits),
        "read": {"path": "/api/things/{id}", "record": habits.wrap or "@"},
        "create": {"path": "/api/things", "wrap": habits.wrap},
        "update": {"path": "/api/things/{id}", "wrap": habits.wrap, "method": habits.write},
        "delete": {"path": "/api/things/{id}"},
        "key": {"read": "ext", "write": "ext", "search": "ext"},
        "trust": {"not_found_is_gone": True, "look_first": habits.deleted == "retired"},
    }
    if habits.answers:
        row["create"]["record"] = row["update"]["record"] = habits.wrap or "@"
    if habits.many:
        row["read_many"] = {"path": "/api/things", "parameters": {"ids": "{ids}", "size": "100"}, "records": "items"}
    if habits.deleted == "retired":
        del row["read"]
    if habits.write == "PUT":
        bookkeeping = ["id", "lock", "created", "updated", "created_by", "updated_by", "deleted"]
        row["update"] |= {"whole": True, "whole_without": bookkeeping}
    match habits.condition:
        case "etag" | "required":
            row["condition"] = {"value": '"{version}"', "deletes": True, "required": habits.condition == "required"}
            row["condition"]["refused_status"] = [habits.mismatch_status]
        case "lock":
            row["condition"] = {"style": "body", "field": "lock", "refused_status": [habits.mismatch_status]}
    if habits.idempotent:
        row["key"]["header"] = "Idempotency-Key"
    note = {
        "name": "note",
        "parent": "thing",
        "place": {"created_at": "created", "created_by": "author", "parent_id": "thing", "version": "id"},
        "fields": [{"name": "text", "kind": "text", "required": True}],
        "list": {"path": "/api/things/{parent}/notes", "records": "notes"},
        "read": {"path": "/api/notes/{id}"},
        "create": {"path": "/api/things/{parent}/notes", "record": "@"},
    }
    return {
        "name": "Things",
        "authentication": SIGN_INS[habits.sign_in],
        "account": {"path": "/api/me", "tenant": "site"},
        "people": {"path": "/api/people", "email": "email", "active": "active"},
        "errors": {"message": "error.message", "fields": "error.fields", "field_name": "name", "field_message": "said"},
        "limits": {"per_second": 1000.0},
        "object_types": [row, note],
        "webhook": {
            "events": "events",
            "object_type": "type",
            "deleted": "what == 'deleted'",
            "event": "what",
            "delivery_header": "X-Delivery",
            "signature_header": "X-Signature",
            "prefix": "sha256=",
            "signed": "{timestamp}.{body}",
            "timestamp_header": "X-Sent",
        },
    }


SIGN_INS: dict[str, dict[str, Any]] = {
    "none": {},
    "header": {"method": "header", "name": "X-Api-Key", "prefix": ""},
    "query": {"method": "query", "name": "api_key"},
    "basic": {"method": "basic"},
    "bearer": {"method": "bearer"},
    "client_credentials": {"method": "client_credentials", "token_path": "/auth/token"},
    "login": {
        "method": "login",
        "token_path": "/auth/login",
        "body": {"user": "{user}", "password": "{password}"},
        "token": "session.token",
    },
}

FIELDS: list[dict[str, Any]] = [
    {"name": "title", "label": "Title", "required": True, "max_length": 120, "search": "title"},
    {"name": "body", "label": "Body"},
    {"name": "story", "label": "Story", "kind": "rich_text", "format": "markdown"},
    {"name": "reference", "label": "Reference", "kind": "reference"},
    {"name": "team", "label": "Team"},
    {
        "name": "status",
        "label": "Status",
        "kind": "option",
        "clearable": False,
        "options": [{"value": 1, "name": "New"}, {"value": 2, "name": "Open"}, {"value": 3, "name": "Done"}],
    },
    {"name": "labels", "label": "Labels", "kind": "set"},
    {"name": "owner", "label": "Owner", "kind": "person", "send_as": "number"},
    {"name": "amount", "label": "Amount", "kind": "number"},
    {"name": "urgent", "label": "Urgent", "kind": "boolean", "clearable": False},
    {"name": "due", "label": "Due", "kind": "date"},
    {"name": "seen", "label": "Seen", "kind": "datetime"},
]


def _place(habits: Habits) -> dict[str, Any]:
    found = {
        "updated_at": "updated",
        "created_at": "created",
        "created_by": "created_by",
        "updated_by": "updated_by",
        "key": "id",
        "title": "title",
    }
    if habits.condition != "none":
        found["version"] = "lock"
    if habits.deleted in ("flag", "tombstone"):
        found["deleted"] = "deleted"
    return found


def _list(habits: Habits) -> dict[str, Any]:
    paging: dict[str, Any] = {"style": habits.paging, "size_parameter": "size", "size": 50}
    match habits.paging:
        case "page":
            paging["parameter"] = "page"
        case "offset":
            paging["parameter"] = "offset"
        case "cursor":
            paging |= {"parameter": "cursor", "cursor": "next"}
        case "next_url":
            paging["next"] = "next"
    if habits.counts and habits.paging in ("page", "offset"):
        paging["total"] = "total"
    found: dict[str, Any] = {"path": "/api/things", "records": "items", "paging": paging}
    if habits.changes:
        value = habits.prefix + "{since}"
        found["changed"] = {"parameter": "updated", "value": value, "inclusive": not habits.exclusive}
    found["deleted"] = habits.deleted in ("flag", "tombstone")
    return found
