"""What ServiceNow's refusals ask us to do next. Pure.

A refusal is {"error": {"message", "detail"}, "status": "failure"}, as recorded (payloads/servicenow/unauthorized). One
and the same 403 says "no role", "no right to this record", "a mandatory field is empty" and "a business rule stopped
it": only the detail tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from connections.connectors.base import (
    ConnectorError,
    Gone,
    NeedsAuthorization,
    NotAllowed,
    RateLimited,
    Refused,
    Retry,
    Uncertain,
)
from connections.connectors.http import http_date

# The hourly count is kept per node and written down every 30 s.
LIMIT_WAIT = 60.0
LONGEST_LIMIT_WAIT = 3600.0  # rules count by the hour
ASLEEP_WAIT = 300.0  # somebody has to wake the instance in a browser
LOGIN_WAIT = 60.0

NOT_READ = "Nothing was read or written."

_ASLEEP = re.compile(r"hibernat", re.IGNORECASE)
_ASLEEP_ADDRESS = re.compile(r"//developer\.servicenow\.com", re.IGNORECASE)
_LOGIN_ADDRESS = re.compile(r"login|saml|sso|auth", re.IGNORECASE)
_ACL = ("security constraints", "User Not Authorized", "Failed API level ACL", "ACL Exception", "Insufficient rights")
_RULE = re.compile(r"aborted by Business Rule '([^'^]+)")


def said_in(body: Any) -> tuple[str, str]:
    """(message, detail) of an error answer, "" where it holds none."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if isinstance(error, Mapping):
        return _text(error.get("message")), _text(error.get("detail"))
    return (_text(error), _text(body.get("error_description"))) if isinstance(error, str) else ("", "")


def as_error(
    status: int,
    body: Any,
    headers: Mapping[str, str],
    *,
    write: bool,
    sent: Sequence[str] = (),
    named: Callable[[str], Sequence[str]] = lambda text: (),
) -> ConnectorError | None:
    """The contract's error for one answer, or None where the status alone has to tell.

    sent: the fields that were written. named: the fields whose labels a text mentions.
    """
    message, detail = said_in(body)
    said = ": ".join(part for part in (message, detail) if part) or f"status {status}"
    told = f"ServiceNow says: {said.rstrip('.')}."
    if status == 429:
        return RateLimited(f"{told} Nothing is lost. We go on by ourselves.", after=_limit_wait(headers))
    if status == 401:
        return NeedsAuthorization(f"{told} {NOT_READ} Enter new credentials in the connection.")
    if status == 404:
        return Gone(
            f"{told} Nothing was changed. The record was deleted, or is hidden from our account.", certain=False
        )
    if status == 400 and "invalid table" in said.lower():
        return NotAllowed(f"{told} {NOT_READ} Check the tables named in the connection.")
    if status == 403 and any(sign in said for sign in _ACL):
        return NotAllowed(f"{told} {NOT_READ} Give our account a role that may do this, like itil.")
    if status in (400, 403) and (message or detail):
        rule = _RULE.search(said)
        why = f"Its business rule “{rule[1]}” stopped the write." if rule else ""
        text = " ".join(part for part in (told, why, "Nothing was written.") if part)
        return Refused(text, _fields(said, sent, named)) if write else NotAllowed(f"{told} {NOT_READ}")
    if status == 503 and _ASLEEP.search(said):
        return asleep()
    return None


def sub_error(status: int, body: Any, headers: Mapping[str, str], **more: Any) -> ConnectorError:
    """The error of a part of a batch: what the call's own status would say must come from the part's."""
    found = as_error(status, body, headers, **more)
    if found:
        return found
    message, detail = said_in(body)
    told = f"ServiceNow answered a part of the call with status {status}. {message} {detail}".strip()
    if not refuses(status) and more.get("write"):
        return Uncertain(f"{told} It may have taken our change or not; we look before anything is sent again.")
    if not refuses(status):
        return Retry(f"{told} Nothing is lost; we read again.")
    if status in (402, 403):
        return NotAllowed(f"{told} {NOT_READ}")
    return Refused(f"{told} Nothing was written.")


def inside_success(body: Any, write: bool) -> ConnectorError | None:
    """An error in an answer that calls itself a success: a list cut short by the time limit ends so."""
    message, detail = said_in(body)
    failed = isinstance(body, Mapping) and body.get("status") == "failure"
    if not (message or detail or failed):
        return None
    told = f"ServiceNow says: {': '.join(part for part in (message, detail) if part) or 'failure'}."
    if write:
        return Uncertain(f"{told} It may have taken our change or not; we look before anything is sent again.")
    return Retry(f"{told} Its answer is not complete. Nothing was taken over. We read again.")


def refuses(status: int) -> bool:
    """Whether a status that is no success denies what was asked: a failure or a redirect may come after a write."""
    return 400 <= status < 500


def sent_on(address: str, unsure: bool = False) -> ConnectorError | None:
    """A redirect to a sign-in page or to the developer site; None for others.

    unsure: a write that may have happened; only an instance that is asleep has done nothing for sure.
    """
    if _ASLEEP_ADDRESS.search(address):
        return asleep()
    if _LOGIN_ADDRESS.search(address) and not unsure:
        return Retry(_LOGIN_PAGE, after=LOGIN_WAIT)
    return None


def not_json(text: str, unsure: bool = False) -> ConnectorError | None:
    """A page where JSON was expected, told by the beginning of its text; None where it is no page we know.

    unsure: see sent_on.
    """
    if _ASLEEP.search(text):
        return asleep()
    page = re.search(r"<\s*(!doctype|html|head|body)", text, re.IGNORECASE)
    if page and not unsure and re.search(r"log ?in|sign ?in|sso|password", text, re.IGNORECASE):
        return Retry(_LOGIN_PAGE, after=LOGIN_WAIT)
    return None


def asleep() -> Retry:
    return Retry(
        "This ServiceNow developer instance is asleep (hibernating). Nothing was read or written, and nothing is lost. "
        "Wake it at developer.servicenow.com; we try again by ourselves.",
        after=ASLEEP_WAIT,
    )


_LOGIN_PAGE = (
    "ServiceNow answered with a log-in page instead of data. Nothing was read or written. Check that the address is "
    "that of the instance, like https://acme.service-now.com, and that our account may use its API without single "
    "sign-on."
)


def _fields(said: str, sent: Sequence[str], named: Callable[[str], Sequence[str]]) -> dict[str, str]:
    """Which of the sent fields a refusal is about: those it mentions, the only one, or the state that asks for more."""
    mentioned = [path for path in named(said) if path in sent]
    if not mentioned and len(sent) == 1:
        mentioned = list(sent)
    if not mentioned and "state" in sent and "Data Policy" in said:
        mentioned = ["state"]
    return dict.fromkeys(mentioned, said)


def _limit_wait(headers: Mapping[str, str]) -> float:
    lower = {name.lower(): value for name, value in headers.items()}
    wait, reset = lower.get("retry-after", "").strip(), lower.get("x-ratelimit-reset", "").strip()
    asked_at = http_date(lower.get("date", ""))
    if wait.isdecimal():
        return min(float(wait), LONGEST_LIMIT_WAIT)
    if reset.isdecimal() and asked_at:
        return min(max(float(reset) - asked_at.timestamp(), 1.0), LONGEST_LIMIT_WAIT)
    return LIMIT_WAIT


def too_large(error: ConnectorError) -> bool:
    """Whether an answer was given up because of its size, as http.py says it: fewer rows may still fit."""
    return isinstance(error, Retry) and "answered with more than" in error.message


def _text(value: Any) -> str:
    return " ".join(str(value).split()) if isinstance(value, str | int | float) else ""
