"""What GitHub's refusals ask us to do next. Pure.

A refusal is {"message", "errors": [{"resource", "field", "code", "message"}]}, as recorded
(payloads/github/validation_error). A limit is a 403 or a 429, told by its headers or its words, and 404 also means
"hidden from you". Facts: GitHub Docs, "Rate limits for the REST API", "Troubleshooting the REST API".
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
    VersionMismatch,
)
from connections.connectors.http import Answer, retry_after

# "Otherwise, wait for at least one minute before retrying."
LIMIT_WAIT = 60.0
LONGEST_LIMIT_WAIT = 3600.0  # the primary limit is counted by the hour
HTTP_FORBIDDEN, HTTP_TOO_MANY = 403, 429

# ⚑ A repository whose issues are turned off answers 410 for each of them, too; none was deleted.
_DELETED = re.compile(r"\bdeleted\b", re.IGNORECASE)
_LIMIT = re.compile(r"rate limit|abuse detection", re.IGNORECASE)


def as_error(answer: Answer, *, one: str = "", sent: Sequence[str] = ()) -> ConnectorError | None:
    """The contract's error, or None where the status alone has to tell.

    one: what the path names, like "issue 12", where it is a single record. sent: the fields that were written.
    """
    status = answer.status
    said = said_in(answer.json) or f"status {status}"
    told = f"GitHub says: {said.rstrip('.')}."
    nothing = "Nothing was written." if answer.write else "Nothing was read."
    if status in (HTTP_FORBIDDEN, HTTP_TOO_MANY) and (wait := limit_wait(answer)) is not None:
        return RateLimited(f"{told} We wait {wait:.0f} s, as GitHub asks. Nothing is lost.", after=wait)
    if status == 401:
        return NeedsAuthorization(
            f"{told} {nothing} The token was revoked or has ended. Make a new one at GitHub and enter it in the "
            "connection."
        )
    if status == HTTP_FORBIDDEN:
        needs = answer.headers.get("X-Accepted-GitHub-Permissions", "")
        wanted = f" GitHub asks for the permission {needs.replace('=', ': ')}." if needs else ""
        return NotAllowed(f"{told} {nothing}{wanted} Give our token or app that permission.")
    if status in (404, 410):
        return _missing(answer, told, one)
    if status == 412:
        return VersionMismatch(f"{told} {nothing} We read it again.")
    if status == 422 and answer.write:
        return Refused(f"{told} {nothing} Change the value or the mapping.", _fields(answer.json, said, sent))
    if status in (400, 422):
        return NotAllowed(f"{told} {nothing} Check the mapping's scope and the connection.")
    return None


def _missing(answer: Answer, told: str, one: str) -> ConnectorError:
    if one and answer.status == 410 and _DELETED.search(said_in(answer.json)):
        return Gone(f"GitHub says that {one} was deleted. Nothing was changed.", certain=True)
    if one and answer.status == 404:
        return Gone(
            f"GitHub shows no {one}. Nothing was changed. It was deleted, or is hidden from our account.", certain=False
        )
    if answer.status == 410:
        return NotAllowed(f"{told} Nothing was read or written. Issues are turned off in this repository's settings.")
    return NotAllowed(
        f"{told} GitHub says so also for what our account may not see. Nothing was read or written. Check the "
        "repository's name in the connection, and give our token or app access to it (Issues, Metadata)."
    )


def said_in(body: Any) -> str:
    """The message of a refusal with its details, "" where it holds none."""
    if not isinstance(body, Mapping):
        return ""
    parts = [str(body.get("message") or "")]
    errors = body.get("errors")
    for one in errors if isinstance(errors, list) else []:
        if isinstance(one, Mapping):
            words = one.get("message") or " ".join(str(one.get(k)) for k in ("field", "code") if one.get(k))
            parts.append(str(words))
        elif isinstance(one, str):
            parts.append(one)
    return "; ".join(part for part in parts if part)


def limit_wait(answer: Answer) -> float | None:
    """Seconds to wait where the refusal is one of a limit, else None."""
    headers = answer.headers
    if headers.get("Retry-After", "").strip():
        return min(retry_after(answer), LONGEST_LIMIT_WAIT)
    reset = headers.get("X-RateLimit-Reset", "").strip()
    if headers.get("X-RateLimit-Remaining", "").strip() == "0":
        if reset.isdecimal() and answer.date:
            # Against GitHub's own clock; one second more, because the reset is a whole second.
            return min(max(float(reset) - answer.date.timestamp() + 1.0, 1.0), LONGEST_LIMIT_WAIT)
        return LIMIT_WAIT
    limited = answer.status == HTTP_TOO_MANY or _LIMIT.search(said_in(answer.json) or answer.text[:1000])
    return LIMIT_WAIT if limited else None


def _fields(body: Any, said: str, sent: Sequence[str]) -> dict[str, str]:
    """Which of the sent fields a refusal is about: those it names, or the only one."""
    errors = body.get("errors") if isinstance(body, Mapping) else None
    found: dict[str, str] = {}
    for one in errors if isinstance(errors, list) else []:
        field = str(one.get("field") or "") if isinstance(one, Mapping) else ""
        for path in (field, field.removesuffix("s"), f"{field}s"):
            if path in sent:
                found[path] = said
                break
    if not found and len(sent) == 1:
        found = dict.fromkeys(sent, said)
    return found
