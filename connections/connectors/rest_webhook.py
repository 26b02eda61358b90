"""Webhooks of a described API: the sender proves itself by the connection's secret, the events name records. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from connections.connectors.base import DeliveryRequest, Hint, ParsedDelivery
from connections.connectors.http import http_date
from connections.connectors.rest_definition import Definition, ObjectType, Webhook
from connections.connectors.rest_paths import id_of, look, truth
from connections.connectors.untrusted_json import parse_json

# A signed request is believed for so long: clocks differ, and senders try again.
REPLAY_SECONDS = 300.0
# A delivery with more events is no delivery but an attack on the inbox.
MOST_EVENTS = 1000
ALGORITHMS = {"hmac-sha256": hashlib.sha256, "hmac-sha1": hashlib.sha1, "hmac-sha512": hashlib.sha512}


def parse(definition: Definition, request: DeliveryRequest, secret: str, now: float) -> ParsedDelivery:
    """now: seconds. Raises ValueError on what is no delivery."""
    bell = definition.webhook
    assert bell
    try:
        body = parse_json(request.body.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("the body is no text") from None
    if not isinstance(body, Mapping | list) or not body:
        raise ValueError("the body is no JSON with events")
    found = look(bell.events, body)
    events = found if isinstance(found, list) else [found]
    if not events or len(events) > MOST_EVENTS or not all(isinstance(each, Mapping) for each in events):
        raise ValueError(f"there are no events at “{bell.events}”")
    reason = why_unverified(bell, request, secret, now)
    types = {each.name: each for each in definition.object_types}
    hints = [hint for each in events if (hint := _hint(bell, types, each, not reason))]
    delivery = request.headers.get(bell.delivery_header.lower(), "") if bell.delivery_header else ""
    told = delivery or look(bell.delivery, body)
    sent = request.headers.get(bell.timestamp_header.lower(), "") if bell.timestamp_header else ""
    if not told and sent:
        # ⚑ Without a name of its own a retry is known by its text and time; by the text alone, a second edit would pass
        # for a retry of the first.
        told = hashlib.sha256(sent.encode() + b"." + request.body).hexdigest()
    return ParsedDelivery(
        delivery_id=str(told) if told else None,
        event=str(look(bell.event, events[0]) or "change"),
        verified=not reason,
        reason=reason,
        hints=tuple(dict.fromkeys(hints)),
    )


def _hint(bell: Webhook, types: Mapping[str, ObjectType], event: Any, verified: bool) -> Hint | None:
    """None for an event of an object type that is not described. Raises ValueError where it names no record."""
    name = look(bell.object_type, event) if bell.object_type else next(iter(types), "")
    if not isinstance(name, str):
        raise ValueError("an event names no object type")
    if name not in types:
        return None
    external_id = id_of(look(bell.id, event))
    return Hint(name, external_id, deleted=truth(bell.deleted, event), verified=verified)


def why_unverified(bell: Webhook, request: DeliveryRequest, secret: str, now: float) -> str:
    """Why the sender is not proved; "" if it is."""
    if not bell.signature_header:
        return "the description of the API says nothing of a signature"
    if not secret:
        return "the connection has no webhook secret"
    given = request.headers.get(bell.signature_header.lower(), "")
    if not given.startswith(bell.prefix) or not given:
        return "the request is not signed"
    given = given.removeprefix(bell.prefix)
    sent = request.headers.get(bell.timestamp_header.lower(), "") if bell.timestamp_header else ""
    if bell.algorithm == "secret":
        if not hmac.compare_digest(given.encode(), secret.encode()):
            return "the secret does not fit"
    else:
        before, _, after = bell.signed.partition("{body}")
        signed = _around(before, sent) + request.body + _around(after, sent)
        made = hmac.new(secret.encode(), signed, ALGORITHMS[bell.algorithm]).digest()
        if not hmac.compare_digest(_decoded(given, bell.encoding), made):
            return "the signature does not fit"
    if bell.timestamp_header and not _is_recent(sent, now):
        return "it was signed too long ago, or by a clock that is far off"
    return ""


def _around(text: str, sent: str) -> bytes:
    return text.replace("{timestamp}", sent).replace("{{", "{").replace("}}", "}").encode()


def _decoded(given: str, encoding: str) -> bytes:
    try:
        return bytes.fromhex(given) if encoding == "hex" else base64.b64decode(given, validate=True)
    except (ValueError, binascii.Error):
        return b""


def _is_recent(sent: str, now: float) -> bool:
    if sent.isdecimal() and len(sent) <= 15:
        seconds = float(sent)
        return abs(now - (seconds / 1000 if seconds > 1e11 else seconds)) <= REPLAY_SECONDS
    moment = http_date(sent)
    return bool(moment) and abs(now - moment.timestamp()) <= REPLAY_SECONDS  # type: ignore[union-attr]


def by_hand(definition: Definition, url: str) -> str:
    """How an administrator sets it up."""
    bell = definition.webhook
    assert bell
    own = bell.help or "Make a webhook there for changes, creations and deletions of the records that are mapped."
    proof = (
        f"It has to prove itself in the header {bell.signature_header} with this connection's webhook secret."
        if bell.signature_header
        else "Its requests are not believed, since nothing proves who sends them; polling finds the changes."
    )
    return f"{own} Its address is {url}. {proof}"
