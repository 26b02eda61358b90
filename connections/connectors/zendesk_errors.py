"""What Zendesk's refusals ask us to do next. Pure.

Forms, as recorded (payloads/zendesk): {"error": "RecordInvalid", "description", "details": {field: [{"description"}]}}
and {"error": "RecordNotFound", "description"}; others say {"error": {"title", "message"}}. The limit of the export is
told from the others by its text alone, that of some writes by the calls that the account has left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from connections.connectors.http import LONGEST_WAIT, WAIT_FOR_ADMIN, WAIT_WHEN_LIMITED

NOT_READ = "Nothing was read or written."
TOO_RECENT = "StartTimeTooRecent"
DATABASE = "DatabaseConflict"  # two saves met within Zendesk: no condition of ours failed
INVALID = "RecordInvalid"
IN_PROGRESS, OTHER_BODY = "IdempotentRequestInProgress", "IdempotentRequestError"
BUSY_SECONDS = 5.0
UNKNOWN_FORM = "Zendesk answered in a form we do not know."

Named = Callable[[str, str], str | None]


class ExportLimited(Retry):
    """The export takes ten calls a minute; everything else may go on."""


class WriteLimited(Retry):
    """A limit of writes, like that of the updates of one ticket in ten minutes; the account has calls left."""


class OneLimited(RateLimited):
    """What such a limit asks for: this write waits, and nothing else."""


def said_in(body: Any) -> tuple[str, str]:
    """(code, text) of an error answer, "" where it holds none."""
    if not isinstance(body, Mapping):
        return "", ""
    error = body.get("error")
    if isinstance(error, Mapping):
        return _text(error.get("title")), _text(error.get("message"))
    return _text(error), _text(body.get("description") or body.get("message"))


def details_in(body: Any) -> list[tuple[str, str]]:
    """[(field as Zendesk names it, what is wrong with it)] of a refused record."""
    details = body.get("details") if isinstance(body, Mapping) else None
    if not isinstance(details, Mapping):
        return []
    found = []
    for field, entries in details.items():
        for entry in entries if isinstance(entries, list) else [entries]:
            text = entry.get("description") if isinstance(entry, Mapping) else entry
            found.append((str(field), _text(text)))
    return found


def refusal(code: str, text: str, details: Sequence[tuple[str, str]], named: Named) -> Refused:
    """named: (Zendesk's name of a field, the text about it) → the path that was sent, or None."""
    fields: dict[str, str] = {}
    for field, about in details:
        path = named(field, about)
        if path:
            fields[path] = about
    told = " ".join(dict.fromkeys(about for _, about in details if about)) or text or code or "no reason"
    return Refused(
        f"Zendesk says: {told.rstrip('.')}. Nothing was written. Change the value or the mapping.",
        fields,
    )


def as_error(
    status: int,
    body: Any,
    headers: Mapping[str, str],
    *,
    write: bool,
    conditional: bool = False,
    named: Named = lambda field, text: None,
) -> ConnectorError | None:
    """The contract's error for one answer, or None where the status alone has to tell.

    conditional: whether the write went out with a condition that Zendesk checks.
    """
    code, text = said_in(body)
    told = f"Zendesk says: {(text or code or f'status {status}').rstrip('.')}."
    if status == 429 and "incremental export" in text:
        return ExportLimited(
            f"{told} Its list of changes takes ten calls a minute. Nothing is lost. We go on by ourselves.",
            after=_wait(headers),
        )
    if status == 429 and write and _left(headers):
        return WriteLimited(f"{told} Nothing is lost. We go on by ourselves.", after=_wait(headers))
    if status == 409 and code == IN_PROGRESS:
        return Uncertain(f"{told} We look before anything is sent again.")
    if status == 409 and conditional and code != DATABASE:
        return VersionMismatch(f"{told} The ticket changed meanwhile; nothing was written. We read it again.")
    if status == 403 and (code or text):
        return NotAllowed(
            f"{told} {NOT_READ} Give our account that permission in Zendesk's Admin Center → People → Team."
        )
    if status == 404 and not code:
        return Retry(
            "There is no Zendesk at this address. Nothing was read or written. Check the address of the connection.",
            after=WAIT_FOR_ADMIN,
        )
    if status == 404:
        return Gone(f"{told} Nothing was changed. It was deleted, or is hidden from our account.", certain=False)
    if status in (400, 422) and write and code != OTHER_BODY:
        return refusal(code, text, details_in(body), named)
    return None


def item_error(result: Mapping[str, Any], named: Named) -> ConnectorError | None:
    """The error of one item of a finished job; None where the item was done."""
    code, text = _text(result.get("error")), _text(result.get("details") or result.get("description"))
    if not code and result.get("success") is not False:
        return None
    said = f"{code} {text}".strip() or _text(result.get("status"))
    if DATABASE in said:
        return Retry(f"Zendesk says: {said}. Nothing was written. We try again.", after=BUSY_SECONDS)
    # ⚑ What is wrong with a value may hold the same words: as the name of a field, or of a person that is not found.
    about_a_value = code == INVALID
    if not about_a_value and ("conflict" in said.lower() or "updated_stamp" in said):
        return VersionMismatch(f"Zendesk says: {said}. The ticket changed meanwhile; nothing was written.")
    if not about_a_value and "notfound" in said.lower().replace(" ", ""):
        return Gone(f"Zendesk says: {said}. Nothing was changed. It was deleted, or is hidden.", certain=False)
    path = named("", text)
    return refusal(code, text, [(path, text)] if path else [], lambda field, about: field or None)


def unknown(write: bool) -> ConnectorError:
    if write:
        return Uncertain(f"{UNKNOWN_FORM} It may have taken our change or not; we look before anything is sent again.")
    return Retry(f"{UNKNOWN_FORM} Nothing was taken over. We read again.")


def _wait(headers: Mapping[str, str]) -> float:
    text = str(headers.get("Retry-After") or headers.get("ratelimit-reset") or "")
    return min(float(text), LONGEST_WAIT) if text.isdecimal() else WAIT_WHEN_LIMITED


def _left(headers: Mapping[str, str]) -> bool:
    """Whether the account has calls left in this minute, as far as it is told."""
    left = str(headers.get("ratelimit-remaining") or headers.get("x-rate-limit-remaining") or "")
    return left.isdecimal() and int(left) > 0


def _text(value: Any) -> str:
    return " ".join(str(value).split()) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
