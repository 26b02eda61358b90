"""What Salesforce's error codes ask us to do next. Pure.

Source: Salesforce REST API Developer Guide, "Status Codes and Error Responses"; SOAP API Developer Guide, "StatusCode".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from connections.connectors.base import (
    ConnectorError,
    Gone,
    NeedsAuthorization,
    NotAllowed,
    RateLimited,
    Refused,
    Retry,
    VersionMismatch,
)

# The daily total is a sliding window of 24 h without a Retry-After: some calls come free every few minutes.
DAILY_LIMIT_WAIT = 600.0
# Concurrent requests are freed as soon as the slow ones end; those are counted from 20 s of run time.
CONCURRENT_LIMIT_WAIT = 20.0
# A lock is held by another transaction, which ends in seconds or by a time-out of 10 s.
LOCK_WAIT = 3.0

GONE = {"ENTITY_IS_DELETED"}
MISSING = {"NOT_FOUND", "INVALID_ID_FIELD"}  # deleted for good, or hidden from the account: the answer is the same
SIGN_IN = {"INVALID_SESSION_ID", "INVALID_AUTH_HEADER"}
LATER = {
    "UNABLE_TO_LOCK_ROW": LOCK_WAIT,
    "SERVER_UNAVAILABLE": 10.0,
    "QUERY_TIMEOUT": 30.0,
    "INVALID_QUERY_LOCATOR": 1.0,  # a listing's cursor expired: the listing starts again
    "QUERY_TOO_COMPLICATED": 60.0,
    "ALL_OR_NONE_OPERATION_ROLLED_BACK": 1.0,
    "PROCESSING_HALTED": 1.0,
    "REQUEST_RUNNING_TOO_LONG": 30.0,
}
FORBIDDEN = {
    "INSUFFICIENT_ACCESS",
    "INSUFFICIENT_ACCESS_OR_READONLY",
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
    "API_DISABLED_FOR_ORG",
    "API_CURRENTLY_DISABLED",
    "FUNCTIONALITY_NOT_ENABLED",
    "FORBIDDEN",
    "INVALID_TYPE",
    "CANNOT_DELETE_OR_CLONE",
    "OPERATION_NOT_ALLOWED",
}
_COLUMN = re.compile(r"[Nn]o such column '([\w.]+)'")
_UNABLE = re.compile(r"Unable to create/update fields: ([\w, ]+)")
_TAKEN = re.compile(r"duplicate value found: (\w+) duplicates")


class Taken(Refused):
    """A unique value is taken: by our own earlier create, or by somebody else's record."""


class Outdated(Refused):
    """A field that was asked for is no longer there for us: the description we go by is outdated."""


def errors_in(body: Any) -> list[dict[str, Any]]:
    """The errors of an answer's body as [{"code", "message", "fields"}]; Salesforce has two spellings of them."""
    found = body if isinstance(body, list) else [body]
    return [
        {
            "code": str(item.get("errorCode") or item.get("statusCode") or item.get("error") or ""),
            "message": str(item.get("message") or item.get("error_description") or ""),
            "fields": [str(f) for f in item.get("fields") or () if f],
        }
        for item in found
        if isinstance(item, Mapping) and ("errorCode" in item or "statusCode" in item or "error" in item)
    ]


def as_error(status: int, body: Any, sent: Sequence[str] = ()) -> ConnectorError | None:
    """The contract's error for one answer or sub-answer, or None where the status alone has to tell.

    `sent`: the fields that were written, to find the one meant where the vendor names none.
    """
    errors = errors_in(body)
    if not errors:
        return VersionMismatch("The record changed since it was read; nothing was written.") if status == 412 else None
    code, message = errors[0]["code"], errors[0]["message"]
    said = f"Salesforce says: {message or code}"
    if status == 412 and code not in LATER:
        return VersionMismatch("The record changed since it was read; nothing was written.")
    if code in SIGN_IN:
        return NeedsAuthorization(f"{said}. Nothing was read or written. Sign in again on the connection's page.")
    if code == "REQUEST_LIMIT_EXCEEDED":
        wait = CONCURRENT_LIMIT_WAIT if "concurrent" in message.lower() else DAILY_LIMIT_WAIT
        return RateLimited(f"{said} Nothing is lost; we go on when calls are free again.", after=wait)
    if code in LATER:
        return Retry(said, after=LATER[code])
    # ⚑ It may be a record that ours refers to: only a path that leads to nothing is answered with 404.
    if code in GONE and (status == 404 or not _refers(sent)):
        return Gone(said, certain=True)
    if code in MISSING:
        return Gone(said, certain=False)
    if code == "INVALID_CROSS_REFERENCE_KEY" and not any(e["fields"] for e in errors) and not _refers(sent):
        return Gone(said, certain=False)  # in a collection this is how an unknown record id is answered
    if code in FORBIDDEN:
        return NotAllowed(f"{said} Give the integration user that permission under Setup → Users → Permission Sets.")
    if status >= 500 or status in (401, 403):
        return None
    fields = _refused_fields(errors, sent)
    if code == "DUPLICATE_VALUE":
        return Taken(said, fields)
    if code == "INVALID_FIELD" and fields and not set(fields) & set(sent):
        return Outdated(said, fields)
    return Refused(said, fields)


def _refers(sent: Sequence[str]) -> bool:
    return any(field.endswith(("Id", "__c")) for field in sent)


def _refused_fields(errors: Sequence[Mapping[str, Any]], sent: Sequence[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for error in errors:
        named = list(error["fields"])
        if not named and (match := _COLUMN.search(error["message"])):
            named = [match[1]]
        if not named and (match := _UNABLE.search(error["message"])):
            named = [part.strip() for part in match[1].split(",")]
        if not named and (match := _TAKEN.search(error["message"])):
            named = [match[1]]
        if not named and error["code"] == "INACTIVE_OWNER_OR_USER" and "OwnerId" in sent:
            named = ["OwnerId"]
        for field in named:
            fields.setdefault(field, error["message"] or error["code"])
    return fields
