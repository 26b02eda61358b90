"""Receive webhooks: check, store the Delivery, ring. Nothing else happens before the answer; take_in.py does the rest.

A sender learns nothing by trying: an unknown address, a sender that is not on the list and a wrong signature get the
same answer, and none of them rings. What is refused is stored, so that people see it on the connection's page, but not
endlessly: whoever knows an address could otherwise fill the database. What nothing could have proved (no secret is
agreed, or the system signs nothing) is at most a hint, and limited in the same way: polls find the rest.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from connections import doorbell, inbox, senders
from connections.connectors.base import Connector, ConnectorError, DeliveryRequest, Hint, ParsedDelivery
from connections.models import Connection, Delivery
from connections.open import delivery_reader

logger = logging.getLogger(__name__)
Outcome = Delivery.Outcome

# Below Django's own limit (2.5 MB), above the largest issue events: Jira limits a description to 32,767 characters
# and sends it twice, beside the fields.
MOST_BYTES = 1_000_000
# Deliveries that nothing proves, listed (and rung for, where they may) per connection, kind, minute and web process;
# further ones are answered and counted. One a second on average is more than a person or a quiet system causes.
MOST_UNPROVED_A_MINUTE = 60
AGAIN_SECONDS = 30  # vendors retry for minutes at least
MOST_HINTS = 1000  # of one delivery; the longest known list has a hundred
COUNT_SECONDS = 10.0  # beyond that, one in so many seconds is listed with the number of the others
# What a hint's ids may be: as long as the columns that keep them.
LONGEST_TYPE, LONGEST_ID = 100, 200
# How long a connection is known without asking: a replaced address, secret or list of senders counts after so long.
KNOWN_SECONDS = 1.0

_known: dict[str, tuple[float, Connection]] = {}  # by webhook token; as many as there are connections


@csrf_exempt
@require_POST
def receive(request: HttpRequest, webhook_token: str) -> HttpResponse:
    """200 taken (or known already), 400 signed but unreadable, 401 refused, 413 too large, 503 not stored: again."""
    try:
        connection = _connection(webhook_token)
        sender = senders.sender_of(
            request.META.get("REMOTE_ADDR", ""),
            request.META.get("HTTP_X_FORWARDED_FOR", ""),
            settings.TRUSTED_PROXIES,
        )
        body = _body(request)
        if connection is None:
            return _answer(413, "too large") if body is None else _refused()
        answer, delivery, hints = _judge(connection, request, sender, body)
        _store(connection, delivery, hints)
    except UnreadablePostError:
        return _answer(400, "incomplete")
    except DatabaseError:
        logger.exception("a webhook delivery could not be stored")
        again = _answer(503, "not stored, send it again")
        again["Retry-After"] = str(AGAIN_SECONDS)
        return again
    return answer


def _answer(status: int, text: str) -> JsonResponse:
    return JsonResponse({"status": text}, status=status)


def _refused() -> JsonResponse:
    return _answer(401, "refused")


def _connection(webhook_token: str) -> Connection | None:
    """Only what reading a delivery takes; known for a moment, so that a burst asks the database once."""
    kept = _known.get(webhook_token)
    if kept and time.monotonic() - kept[0] < KNOWN_SECONDS:
        return kept[1]
    columns = ("pk", "name", "kind", "address", "settings", "secrets", "tokens", "facts")
    found = Connection.objects.filter(webhook_token=webhook_token).only(*columns).first()
    if found is None:
        _known.pop(webhook_token, None)
    else:
        _known[webhook_token] = (time.monotonic(), found)
    return found


def _body(request: HttpRequest) -> bytes | None:
    """The body; None if it is too large. No more than the limit is read, whatever the sender says its length is."""
    size = request.META.get("CONTENT_LENGTH") or ""
    if size and (not size.isdecimal() or int(size) > MOST_BYTES):
        return None
    if size:
        return request.body
    # Sent in chunks: Django takes no stated length for an empty body, the server's stream knows where it ends.
    if not request.META.get("wsgi.input_terminated"):
        return b""
    try:
        body: bytes = request.META["wsgi.input"].read(MOST_BYTES + 1)
    except OSError as error:
        raise UnreadablePostError(*error.args) from error
    return body if len(body) <= MOST_BYTES else None


def _judge(
    connection: Connection, request: HttpRequest, sender: str, body: bytes | None
) -> tuple[HttpResponse, Delivery, Sequence[Hint]]:
    """(answer, what is stored, its hints): decides, and changes nothing."""
    row = Delivery(connection=connection, sender=sender, size=len(body or b""))
    if refusal := _not_from_there(connection, request, sender):
        return _refused(), _with(row, Outcome.REFUSED, refusal), ()
    if body is None:
        said = request.META.get("CONTENT_LENGTH") or ""
        row.size = min(int(said), 2**31 - 1) if said.isdecimal() else MOST_BYTES
        return _answer(413, "too large"), _with(row, Outcome.TOO_LARGE, f"More than {MOST_BYTES:,} bytes."), ()
    given = DeliveryRequest(
        method=request.method or "",
        path=request.get_full_path(),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        received_at=time.time(),
    )
    try:
        connector = delivery_reader(connection)
    except ConnectorError as error:
        return _refused(), _with(row, Outcome.REFUSED, error.message), ()
    if connector.capabilities.bell != "webhook":
        return _refused(), _with(row, Outcome.REFUSED, "This system sends no webhooks to SyncAdmin."), ()
    try:
        parsed = connector.parse_delivery(given)
    except (ValueError, ConnectorError) as error:
        return _unreadable(connector, given, row, error)
    row.event = _text(parsed.event, 100)
    row.delivery_id = _text(parsed.delivery_id or "", 200) or None
    if not parsed.verified and parsed.provable:
        return _refused(), _with(row, Outcome.REFUSED, parsed.reason), ()
    row.verified = parsed.verified
    if not parsed.verified:
        return _answer(200, "ok"), _with(row, Outcome.HINT, parsed.reason), _sound(parsed)
    if parsed.delivery_id:
        row.fingerprint = hashlib.sha256(parsed.delivery_id.encode() + b"\0" + body).hexdigest()
    return _answer(200, "ok"), row, _sound(parsed)


def _not_from_there(connection: Connection, request: HttpRequest, sender: str) -> str:
    """Why a request from this address is not taken; "" if it may be."""
    listed = str((connection.settings or {}).get("webhook_senders") or "")
    try:
        if not listed or senders.within(sender, senders.networks(listed)):
            return ""
    except ValueError:
        return "The connection's list of senders cannot be read, so nobody is on it."
    where = sender or "an unknown address"
    if senders.is_private(sender or "127.0.0.1") and "HTTP_X_FORWARDED_FOR" in request.META:
        return f"It came from {where}, which seems to be our own proxy: TRUSTED_PROXIES does not name it."
    return f"{where} is not on the connection's list of senders."


def _unreadable(
    connector: Connector, given: DeliveryRequest, row: Delivery, error: Exception
) -> tuple[HttpResponse, Delivery, Sequence[Hint]]:
    """What is signed and still says nothing is the sender's fault, and he may know; all others learn nothing."""
    verdict = connector.verdict(given)
    if verdict.verified:
        row.verified = True
        return _answer(400, "cannot be read"), _with(row, Outcome.UNREADABLE, f"It is signed, but {error}."), ()
    if verdict.provable:
        return _refused(), _with(row, Outcome.REFUSED, verdict.reason), ()
    return _refused(), _with(row, Outcome.UNREADABLE, str(error)), ()


def _with(row: Delivery, outcome: str, reason: str) -> Delivery:
    row.outcome = outcome
    sentence = _text(reason, 298).strip()
    row.reason = sentence[:1].upper() + sentence[1:] + ("" if sentence.endswith((".", "!", "?")) else ".")
    return row


def _text(given: Any, longest: int) -> str:
    """What a database column can keep of a sender's text: no NUL, no half characters, not too long."""
    return str(given).replace("\0", "").encode("utf-8", "replace").decode()[:longest]


def _sound(parsed: ParsedDelivery) -> list[Hint]:
    """The hints that name a record: one that no column can hold must not hold up the others later."""
    return [
        hint
        for hint in parsed.hints[:MOST_HINTS]
        if 0 < len(hint.external_id) <= LONGEST_ID
        and 0 < len(hint.object_type) <= LONGEST_TYPE
        and _text(hint.object_type + hint.external_id, LONGEST_ID + LONGEST_TYPE) == hint.object_type + hint.external_id
    ]


# Storing. ------------------------------------------------------------------------------------------------------------


def _store(connection: Connection, row: Delivery, hints: Sequence[Hint]) -> None:
    """One insert, and a ring where there is something to take in."""
    if row.outcome != Outcome.WAITING:
        unlisted = tally.listed(connection.pk, row.outcome)
        if unlisted is None:
            return
        row.unlisted = unlisted
    row.hints = [{"object_type": h.object_type, "external_id": h.external_id, "deleted": h.deleted} for h in hints]
    if row.outcome == Outcome.HINT:
        row.outcome = Outcome.WAITING  # it is taken in as well: `verified` tells the two apart
    if row.outcome == Outcome.WAITING:
        row.told = told(hints)
    inbox.put(row)
    doorbell.ring()


def told(hints: Sequence[Hint]) -> list[dict[str, Any]] | None:
    """The hints whole, as JSON; None where one cannot be kept so (it then proves nothing and is looked at)."""
    whole = [{**asdict(hint), "changes": dict(hint.changes) if hint.changes is not None else None} for hint in hints]
    return whole if _storable(whole) else None


def _storable(value: Any) -> bool:
    """PostgreSQL keeps no NUL in JSON, and no database half of a surrogate pair."""
    if isinstance(value, dict):
        return all(_storable(key) and _storable(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(_storable(item) for item in value)
    return not isinstance(value, str) or _text(value, len(value)) == value


@dataclass
class Tally:
    """How many deliveries that nothing proves were listed this minute, per (connection, outcome); in this process."""

    minute: int = 0
    counts: dict[tuple[int, str], int] = field(default_factory=dict)
    unlisted: dict[tuple[int, str], int] = field(default_factory=dict)
    told_at: float = 0.0
    lock: Any = field(default_factory=threading.Lock)

    def listed(self, connection_id: int, outcome: str) -> int | None:
        """None: one more is counted only. Else it is listed, with this number of others that were not."""
        key, now = (connection_id, outcome), time.monotonic()
        with self.lock:
            if int(now // 60) != self.minute:
                self.minute, self.counts = int(now // 60), {}
            self.counts[key] = self.counts.get(key, 0) + 1
            if self.counts[key] > MOST_UNPROVED_A_MINUTE:
                if now - self.told_at < COUNT_SECONDS:
                    self.unlisted[key] = self.unlisted.get(key, 0) + 1
                    return None
                self.told_at = now
            return self.unlisted.pop(key, 0)


tally = Tally()
