"""Webhook deliveries: verified ones are stored once and ring once; all others learn nothing and ring nothing."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, ClassVar
from unittest.mock import patch

from django.db import OperationalError
from django.test import Client, TestCase, override_settings

from connections import webhooks
from connections.connectors.base import (
    Capabilities,
    Connector,
    DeliveryRequest,
    Hint,
    ParsedDelivery,
)
from connections.models import Connection, Delivery

RUNG: list[tuple[int, list[Hint]]] = []


def record_ring(connection_id: int, hints: Any) -> None:
    RUNG.append((connection_id, list(hints)))


class Signed(Connector):
    """A system that signs its webhooks with a shared secret."""

    kind = "signed"
    label = "Signed"
    form: ClassVar = ()
    capabilities = Capabilities(bell="webhook")

    def parse_delivery(self, request: DeliveryRequest) -> ParsedDelivery:
        data = json.loads(request.body)
        key = self.context.secrets["webhook_secret"].encode()
        right = hmac.new(key, request.body, hashlib.sha256).hexdigest()
        verified = hmac.compare_digest(request.headers.get("x-signature", ""), right)
        hints = [Hint("issue", item, verified=verified, deleted=data.get("gone", False)) for item in data["ids"]]
        reason = "" if verified else "The signature does not match our secret."
        return ParsedDelivery(request.headers.get("x-delivery"), data["event"], verified, reason, hints)


class Silent(Connector):
    kind = "silent"
    label = "Silent"
    form: ClassVar = ()
    capabilities = Capabilities()


KINDS = {"signed": Signed, "silent": Silent}


@override_settings(BELL="connections.tests.test_webhooks.record_ring")
class WebhookTests(TestCase):
    def setUp(self) -> None:
        RUNG.clear()
        self.connection = Connection.objects.create(
            name="Left", kind="signed", address="https://left.example", secrets={"webhook_secret": "s3cret-s3cret"}
        )
        for module in ("connections.webhooks", "connections.open"):
            patcher = patch(f"{module}.connector_class", KINDS.__getitem__)
            patcher.start()
            self.addCleanup(patcher.stop)
        self.client = Client(enforce_csrf_checks=True)

    def url(self, token: str = "") -> str:
        return f"/hooks/{token or self.connection.webhook_token}/"

    def send(self, data: Any, signature: str | None = None, delivery: str = "d-1", token: str = "") -> Any:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        right = hmac.new(b"s3cret-s3cret", body, hashlib.sha256).hexdigest()
        headers = {"X-Signature": right if signature is None else signature, "X-Delivery": delivery}
        return self.client.post(self.url(token), body, content_type="application/json", headers=headers)

    def test_a_verified_delivery_is_stored_and_rings_in_one_go(self) -> None:
        response = self.send({"event": "updated", "ids": ["10", "11"]})
        self.assertEqual(response.status_code, 200)
        row = Delivery.objects.get()
        self.assertTrue(row.verified)
        self.assertEqual([hint["external_id"] for hint in row.hints], ["10", "11"])
        self.assertEqual(
            [(pk, [h.external_id for h in hints]) for pk, hints in RUNG], [(self.connection.pk, ["10", "11"])]
        )
        self.connection.refresh_from_db()
        self.assertIsNotNone(self.connection.bell_seen_at)

    def test_the_sender_s_retry_of_a_delivery_is_answered_and_has_no_second_effect(self) -> None:
        for _ in range(3):
            self.assertEqual(self.send({"event": "updated", "ids": ["10"]}).status_code, 200)
        self.assertEqual(Delivery.objects.count(), 1)
        self.assertEqual(len(RUNG), 1)

    def test_a_wrong_signature_is_refused_shown_and_rings_nothing(self) -> None:
        response = self.send({"event": "updated", "ids": ["10"]}, signature="0" * 64)
        self.assertEqual(response.status_code, 401)
        row = Delivery.objects.get()
        self.assertFalse(row.verified)
        self.assertIn("signature does not match", row.reason)
        self.assertEqual(row.hints, [])
        self.assertEqual(RUNG, [])

    def test_an_unverified_delivery_cannot_block_the_genuine_one_with_its_id(self) -> None:
        self.send({"event": "updated", "ids": ["10"]}, signature="0" * 64, delivery="d-7")
        self.assertEqual(self.send({"event": "updated", "ids": ["10"]}, delivery="d-7").status_code, 200)
        self.assertEqual(len(RUNG), 1)

    def test_garbage_a_wrong_signature_and_an_unknown_address_get_the_same_answer(self) -> None:
        answers = [
            self.send(b"\xff not json"),
            self.send({"event": "updated", "ids": []}, signature="x"),
            self.send({"event": "updated", "ids": []}, token="unknown-token"),
        ]
        self.assertEqual(
            {(answer.status_code, answer.content) for answer in answers}, {(401, b'{"status": "refused"}')}
        )

    def test_a_system_without_webhooks_refuses_them_all(self) -> None:
        Connection.objects.filter(pk=self.connection.pk).update(kind="silent")
        self.assertEqual(self.send({"event": "updated", "ids": ["10"]}).status_code, 401)
        self.assertEqual(RUNG, [])

    def test_a_connector_that_was_removed_refuses_without_failing(self) -> None:
        Connection.objects.filter(pk=self.connection.pk).update(kind="gone")
        self.assertEqual(self.send({"event": "updated", "ids": ["10"]}).status_code, 401)

    def test_a_body_that_is_too_large_is_refused_before_it_is_read(self) -> None:
        response = self.client.post(self.url(), b"x" * (webhooks.MOST_BYTES + 1), content_type="application/json")
        self.assertEqual(response.status_code, 413)
        self.assertEqual(Delivery.objects.count(), 0)

    def test_only_post_is_taken(self) -> None:
        self.assertEqual(self.client.get(self.url()).status_code, 405)

    def test_a_failing_database_asks_the_sender_to_come_again(self) -> None:
        with patch("connections.webhooks.Delivery.save", side_effect=OperationalError("locked")):
            response = self.send({"event": "updated", "ids": ["10"]})
        self.assertEqual(response.status_code, 503)
        self.assertEqual(response["Retry-After"], "30")
        self.assertEqual(RUNG, [])
        self.assertEqual(self.send({"event": "updated", "ids": ["10"]}).status_code, 200)
        self.assertEqual(len(RUNG), 1)

    def test_a_bell_that_fails_in_the_database_leaves_no_delivery_behind_so_that_the_retry_rings(self) -> None:
        with patch("connections.hooks.ring", side_effect=OperationalError("locked")):
            self.assertEqual(self.send({"event": "updated", "ids": ["10"]}).status_code, 503)
        self.assertEqual(Delivery.objects.count(), 0)

    def test_refused_deliveries_do_not_fill_the_database(self) -> None:
        for number in range(webhooks.MOST_REFUSED_A_MINUTE + 5):
            answer = self.send({"event": "x", "ids": []}, signature="x", delivery=f"d-{number}")
            self.assertEqual(answer.status_code, 401)
        self.assertEqual(Delivery.objects.count(), webhooks.MOST_REFUSED_A_MINUTE)

    def test_a_verified_delivery_takes_few_queries(self) -> None:
        with self.assertNumQueries(7):  # connection; begin, savepoint, insert, release, sign of life, commit
            self.send({"event": "updated", "ids": ["10"]})
