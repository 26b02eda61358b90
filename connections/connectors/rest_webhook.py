"""Webhooks of a described API: the sender proves itself by the connection's secret, the events name records. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from connections.connectors.base import DeliveryRequest, Hint, ParsedDelivery, Step
from connections.connectors.proofs import Proof, Verdict
from connections.connectors.rest_definition import Definition, ObjectType, Webhook
from connections.connectors.rest_paths import id_of, look, truth
from connections.connectors.untrusted_json import parse_json

# A delivery with more events is no delivery but an attack on the inbox.
MOST_EVENTS = 1000
UNITS = {"seconds": "s", "milliseconds": "ms", "iso": "iso"}


def parse(definition: Definition, request: DeliveryRequest, verdict: Verdict) -> ParsedDelivery:
    """Raises ValueError on what is no delivery."""
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
    types = {each.name: each for each in definition.object_types}
    hints = [hint for each in events if (hint := _hint(bell, types, each, verdict.verified))]
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
        verified=verdict.verified,
        reason=verdict.reason,
        hints=tuple(dict.fromkeys(hints)),
        provable=verdict.provable,
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


def proof_of(bell: Webhook | None) -> Proof | None:
    """How its requests prove their sender; None where nothing does."""
    if bell is None or not bell.signature_header:
        return None
    header = bell.signature_header.lower()
    if bell.algorithm == "secret":
        return Proof(header=header, how="token", prefix=bell.prefix)
    before, _, after = bell.signed.partition("{body}")
    return Proof(
        header=header,
        digest=bell.algorithm.removeprefix("hmac-"),
        encoding=bell.encoding,
        prefix=bell.prefix,
        signed=(*_parts(before), "body", *_parts(after)),
        timestamp=bell.timestamp_header.lower() if "{timestamp}" in bell.signed else "",
        unit=UNITS[bell.timestamp_as],
    )


def _parts(text: str) -> list[str]:
    """The pieces around the body in the proof's own words."""
    found = []
    for number, part in enumerate(text.split("{timestamp}")):
        found += ["timestamp"] if number else []
        found += [part.replace("{{", "{").replace("}}", "}")] if part else []
    return found


def by_hand(definition: Definition, url: str) -> list[Step]:
    """What an administrator does there."""
    bell = definition.webhook
    assert bell
    own = bell.help or "Make a webhook there for changes, creations and deletions of the records that are mapped."
    proof = (
        f"Have it prove itself in the header {bell.signature_header} with this connection's webhook secret."
        if bell.signature_header
        else "Nothing proves who sends its requests, so that each is at most a reason to look."
    )
    return [Step(own), Step("Let it send to this address:", url), Step(proof)]
