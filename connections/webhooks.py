"""Receive webhooks: verify, store the Delivery, ring the bell. Nothing else happens before the answer.

A sender learns nothing by trying: an unknown address, a wrong signature and garbage get the same answer. A refused
delivery rings no bell; polling finds what it may have told. It is stored, so that people see it on the connection's
page, but not endlessly: whoever knows an address could otherwise fill the database.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import DatabaseError, IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from connections import hooks
from connections.connectors import connector_class
from connections.connectors.base import ConnectorError, DeliveryRequest, ParsedDelivery
from connections.models import Connection, Delivery
from connections.open import open_connector

logger = logging.getLogger(__name__)

# Below Django's own limit (2.5 MB), above the largest issue events: Jira limits a description to 32,767 characters
# and sends it twice, beside the fields.
MOST_BYTES = 1_000_000
# Refused deliveries kept per connection and minute; further ones are answered and forgotten.
MOST_REFUSED_A_MINUTE = 30
AGAIN_SECONDS = 30  # vendors retry for minutes at least


@csrf_exempt
@require_POST
def receive(request: HttpRequest, webhook_token: str) -> HttpResponse:
    """200 taken over (or known already), 401 refused, 413 too large, 503 not stored: send it again."""
    size = request.META.get("CONTENT_LENGTH") or "0"
    if not size.isdecimal() or int(size) > MOST_BYTES:
        return _answer(413, "too large")
    try:
        body = request.body
    except UnreadablePostError:
        return _answer(400, "incomplete")
    try:
        connection = Connection.objects.filter(webhook_token=webhook_token).first()
        if connection is None:
            return _refused()
        delivery = _parse(connection, request, body)
        if not delivery.verified:
            _store_refused(connection, request, delivery, len(body))
            return _refused()
        _take_over(connection, delivery, len(body))
    except DatabaseError:
        logger.exception("a webhook delivery could not be stored")
        answer = _answer(503, "not stored, send it again")
        answer["Retry-After"] = str(AGAIN_SECONDS)
        return answer
    return _answer(200, "ok")


def _answer(status: int, text: str) -> JsonResponse:
    return JsonResponse({"status": text}, status=status)


def _refused() -> JsonResponse:
    return _answer(401, "refused")


def _parse(connection: Connection, request: HttpRequest, body: bytes) -> ParsedDelivery:
    """What the connector makes of the request; what it cannot read is unverified."""
    try:
        if connector_class(connection.kind).capabilities.bell != "webhook":
            return _unread("This system sends no webhooks to SyncAdmin.")
        given = DeliveryRequest(
            method=request.method or "",
            path=request.get_full_path(),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
        )
        return open_connector(connection).parse_delivery(given)
    except KeyError:
        return _unread("The connector of this connection is not installed.")
    except (ValueError, ConnectorError) as error:
        return _unread(f"It could not be read: {error}")


def _unread(reason: str) -> ParsedDelivery:
    return ParsedDelivery(delivery_id=None, event="", verified=False, reason=reason, hints=())


def _store_refused(connection: Connection, request: HttpRequest, delivery: ParsedDelivery, size: int) -> None:
    minute = timezone.now() - timedelta(minutes=1)
    if connection.deliveries.filter(verified=False, received_at__gte=minute).count() >= MOST_REFUSED_A_MINUTE:
        return
    Delivery.objects.create(
        connection=connection,
        event=delivery.event[:100],
        reason=f"{delivery.reason} Sent from {request.META.get('REMOTE_ADDR', '?')}."[:300],
        size=size,
    )


def _take_over(connection: Connection, delivery: ParsedDelivery, size: int) -> None:
    """Store and ring in one transaction. A delivery known by its id has had its effect already."""
    hints = [{"object_type": h.object_type, "external_id": h.external_id, "deleted": h.deleted} for h in delivery.hints]
    with transaction.atomic():
        row = Delivery(
            connection=connection,
            delivery_id=delivery.delivery_id[:200] if delivery.delivery_id else None,
            event=delivery.event[:100],
            verified=True,
            size=size,
            hints=hints,
        )
        try:
            with transaction.atomic():
                row.save(force_insert=True)
        except IntegrityError:
            return
        Connection.objects.filter(pk=connection.pk).update(bell_seen_at=timezone.now())
        if delivery.hints:
            hooks.ring(connection.pk, delivery.hints)
