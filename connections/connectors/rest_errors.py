"""What a described API's answers ask us to do next. Pure but for the answer's type."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from connections.connectors.base import (
    ConnectorError,
    Gone,
    NotAllowed,
    RateLimited,
    Refused,
    Retry,
    Uncertain,
    VersionMismatch,
)
from connections.connectors.http import LONGEST_WAIT, WAIT_WHEN_LIMITED, Answer, http_date
from connections.connectors.rest_definition import Condition, Definition, Errors, Limits, ObjectType
from connections.connectors.rest_paths import look, truth

NOTHING_READ = "Nothing was read or written."
WRONG_ADDRESS = "Check the address of the connection, and the path in the description of the API."
SAID_LENGTH = 400


def as_error(
    definition: Definition,
    answer: Answer,
    *,
    about: str,
    object_type: ObjectType | None = None,
    condition: Condition | None = None,
) -> ConnectorError | None:
    """The contract's error for an answer that is no success, or None where the status alone has to tell.

    about: "list" (no record is named), "record" or "write" (of one record), or "create".
    """
    said = said_in(definition.errors, answer)
    system = definition.name
    if answer.status in definition.limits.status:
        after = wait_of(definition.limits, answer)
        return RateLimited(
            f"{system} asks us to wait {after:.0f} s. Nothing is lost. We go on by ourselves.", after=after
        )
    if condition and answer.status in condition.refused_status:
        return VersionMismatch(f"{_told(system, said, answer)} The record changed meanwhile; nothing was written.")
    # A page of what stands before the system, with a status by which it would refuse, refuses nothing.
    page = answer.status >= 500 and answer.json is None
    if answer.status in definition.errors.refused_status and not page:
        if condition and truth(condition.refused, answer.json):
            return VersionMismatch(f"{_told(system, said, answer)} The record changed meanwhile; nothing was written.")
        if about in ("write", "create"):
            fields = named_fields(definition.errors, answer.json, object_type)
            text = f"{_told(system, said, answer)} Nothing was written. Change the value or the mapping."
            return Refused(text, fields)
        return NotAllowed(f"{_told(system, said, answer)} {NOTHING_READ} Correct the description of the API.")
    if answer.status in (404, 410):
        if about == "list":
            return NotAllowed(f"{_told(system, said, answer)} {NOTHING_READ} {WRONG_ADDRESS}")
        if about == "create":
            # ⚑ There is no record yet that could be gone: told so, the new one would wait and nobody would know.
            return Refused(
                f"{_told(system, said, answer)} Nothing was written. What the new record refers to may not be there, "
                f"or our account may not make one. {WRONG_ADDRESS}"
            )
        certain = answer.status == 410 or bool(object_type and object_type.trust.not_found_is_gone)
        why = "The record was deleted." if certain else "The record was deleted, or is hidden from our account."
        return Gone(f"{_told(system, said, answer)} {why} Nothing was changed.", certain=certain)
    if answer.status == 405:
        return NotAllowed(f"{_told(system, said, answer)} {NOTHING_READ} {WRONG_ADDRESS}")
    return None


def inside_success(
    definition: Definition, answer: Answer, *, write: bool, object_type: ObjectType | None = None
) -> ConnectorError | None:
    """The failure that an answer with a success status tells of, if it does."""
    if not truth(definition.errors.failed, answer.json):
        return None
    said = said_in(definition.errors, answer)
    told = _told(definition.name, said, answer)
    if not write:
        return Retry(f"{told} {NOTHING_READ}")
    fields = named_fields(definition.errors, answer.json, object_type)
    if said or fields:
        return Refused(f"{told} Nothing was written. Change the value or the mapping.", fields)
    return Uncertain(f"{told} Whether it was written is looked up before anything is sent again.")


def said_in(errors: Errors, answer: Answer) -> str:
    """What an answer says to people, as far as the description tells where."""
    found = look(errors.message, answer.json)
    if isinstance(found, list):
        found = "; ".join(str(each) for each in found if each)
    if isinstance(found, Mapping):
        found = "; ".join(f"{name}: {_flat(each)}" for name, each in found.items())
    text = " ".join(str(found or "").split())
    return text if len(text) <= SAID_LENGTH else text[:SAID_LENGTH] + "…"


def _told(system: str, said: str, answer: Answer) -> str:
    return f"{system} says: {said.rstrip('.') or f'status {answer.status}'}."


def named_fields(errors: Errors, body: Any, object_type: ObjectType | None) -> dict[str, str]:
    """Our paths of the fields that an answer refuses, with what it says of each."""
    found = look(errors.fields, body)
    pairs: list[tuple[Any, Any]] = []
    if isinstance(found, Mapping):
        pairs = list(found.items())
    elif isinstance(found, list):
        pairs = [(look(errors.field_name, each), look(errors.field_message, each)) for each in found]
    known = _our_paths(object_type)
    named = {}
    for name, said in pairs:
        path = known.get(str(name).lower()) if name else None
        if path:
            named[path] = _flat(said) or "refused"
    return named


def _our_paths(object_type: ObjectType | None) -> dict[str, str]:
    """Our path by each way in which a system may name a field: as sent, the last part of that, and its label."""
    known: dict[str, str] = {}
    for field in object_type.fields if object_type else ():
        sent = field.write or field.name
        for name in (field.label, sent.rsplit(".", 1)[-1], field.name, sent):
            if name:
                known[name.lower()] = field.name
    return known


def _flat(said: Any) -> str:
    if isinstance(said, list):
        return "; ".join(str(each) for each in said)
    return str(said or "")


# Limits. ---------------------------------------------------------------------------------------------------------


def wait_of(limits: Limits, answer: Answer) -> float:
    """Seconds that an answer asks us to wait."""
    for header in (limits.wait_header, limits.reset_header):
        seconds = _seconds(limits, answer, header)
        if seconds is not None:
            return min(max(seconds, 0.0), LONGEST_WAIT)
    return WAIT_WHEN_LIMITED


def used_up(limits: Limits, answer: Answer) -> float | None:
    """Seconds to wait where a successful answer says that no calls are left."""
    left = answer.headers.get(limits.remaining_header, "") if limits.remaining_header else ""
    if not re.fullmatch(r"-?\d+(\.\d+)?", left.strip()) or float(left) > 0:
        return None
    seconds = _seconds(limits, answer, limits.reset_header)
    return WAIT_WHEN_LIMITED if seconds is None else min(max(seconds, 0.0), LONGEST_WAIT)


def _seconds(limits: Limits, answer: Answer, header: str) -> float | None:
    text = answer.headers.get(header, "").strip() if header else ""
    now = answer.date or datetime.fromtimestamp(time.time(), UTC)
    if re.fullmatch(r"\d{1,15}(\.\d+)?", text):
        number = float(text)
        if limits.wait_as == "epoch":
            return number - now.timestamp()
        return number / 1000 if limits.wait_as == "milliseconds" else number
    moment = http_date(text) if text else None
    return (moment - now).total_seconds() if moment else None
