"""Webhook deliveries: what is proved is stored once and rings once, what nothing proves is at most a hint."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar
from unittest.mock import patch

from django.db import OperationalError
from django.test import Client, RequestFactory, TestCase, override_settings

from connections import inbox, senders, take_in, webhooks
from connections.connectors.base import (
    Capabilities,
    Connector,
    DeliveryRequest,
    Hint,
    ParsedDelivery,
)
from connections.connectors.proofs import Proof
from connections.models import Connection, Delivery

RUNG: list[tuple[int, list[Hint]]] = []
SYNCED: list[str] = []
Outcome = Delivery.Outcome


def record_ring(connection_id: int, hints: Any) -> None:
    if any(hint.external_id == "poison" for hint in hints):
        raise ValueError("no record has such an id")
    RUNG.append((connection_id, list(hints)))


def synced_types(connection_id: int) -> list[str]:
    return SYNCED


class Signed(Connector):
    """A system that signs its webhooks with a shared secret."""

    kind = "signed"
    label = "Signed"
    form: ClassVar = ()
    capabilities = Capabilities(bell="webhook")
    proof = Proof(header="x-signature")

    def parse_delivery(self, request: DeliveryRequest) -> ParsedDelivery:
        verdict = self.verdict(request)
        try:
            data = json.loads(request.body)
            ids, event = data["ids"], data["event"]
        except (ValueError, KeyError, TypeError):
            raise ValueError("the body is no event") from None
        kind, ours = data.get("type", "issue"), data.get("ours", False)
        hints = [
            Hint(kind, id, version="7", own_account=ours, verified=verdict.verified, deleted=data.get("gone", False))
            for id in ids
        ]
        id = request.headers.get("x-delivery")
        return ParsedDelivery(id, event, verdict.verified, verdict.reason, hints, verdict.provable)


class Silent(Connector):
    kind = "silent"
    label = "Silent"
    form: ClassVar = ()
    capabilities = Capabilities()


KINDS = {"signed": Signed, "silent": Silent}


@override_settings(
    BELL="connections.tests.test_webhooks.record_ring", OBJECT_TYPES="connections.tests.test_webhooks.synced_types"
)
class WebhookCase(TestCase):
    def setUp(self) -> None:
        RUNG.clear()
        SYNCED[:] = ["issue"]
        webhooks._known.clear()
        webhooks.tally.__init__()  # type: ignore[misc]  # as in a new process
        self.connection = Connection.objects.create(
            name="Left", kind="signed", address="https://left.example", secrets={"webhook_secret": "s3cret-s3cret"}
        )
        for name, fake in (
            ("connections.open.connector_class", KINDS.__getitem__),
            ("connections.webhooks.doorbell.ring", lambda: None),
        ):
            patcher = patch(name, fake)
            patcher.start()
            self.addCleanup(patcher.stop)
        self.client = Client(enforce_csrf_checks=True)

    def url(self, token: str = "") -> str:
        return f"/hooks/{token or self.connection.webhook_token}/"

    def send(
        self, data: Any, signature: str | None = None, delivery: str = "d-1", token: str = "", **headers: str
    ) -> Any:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        right = hmac.new(b"s3cret-s3cret", body, hashlib.sha256).hexdigest()
        headers = {"X-Signature": right if signature is None else signature, "X-Delivery": delivery, **headers}
        return self.client.post(self.url(token), body, content_type="application/json", headers=headers)

    def change(self, **columns: Any) -> None:
        Connection.objects.filter(pk=self.connection.pk).update(**columns)
        webhooks._known.clear()

    def forget_the_secret(self) -> None:
        self.connection.secrets = {}  # type: ignore[assignment]  # decrypted JSON, not the column's text
        self.connection.save()
        webhooks._known.clear()

    def rung(self) -> list[str]:
        return [hint.external_id for _, hints in RUNG for hint in hints]


EVENT = {"event": "updated", "ids": ["10", "11"]}


class ReceivingTests(WebhookCase):
    def test_a_verified_delivery_is_stored_before_the_answer_and_rings_right_after(self) -> None:
        self.assertEqual(self.send(EVENT).status_code, 200)
        row = Delivery.objects.get()
        self.assertEqual((row.verified, row.outcome), (True, Outcome.WAITING))
        self.assertEqual(RUNG, [])
        take_in.take_in()
        self.assertEqual([(pk, self.rung()) for pk, _ in RUNG], [(self.connection.pk, ["10", "11"])])
        row.refresh_from_db()
        self.assertEqual((row.outcome, row.told), (Outcome.ACCEPTED, None))
        self.connection.refresh_from_db()
        self.assertEqual(self.connection.bell_seen_at, row.received_at)
        self.assertEqual(self.connection.bell_first_at, row.received_at)

    def test_the_sender_s_retry_of_a_delivery_is_answered_and_has_no_second_effect(self) -> None:
        for _ in range(3):
            self.assertEqual(self.send(EVENT).status_code, 200)
        take_in.take_in()
        self.assertEqual(len(RUNG), 1)
        outcomes = Delivery.objects.order_by("pk").values_list("outcome", flat=True)
        self.assertEqual(list(outcomes), [Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.DUPLICATE])

    def test_another_body_under_a_known_delivery_id_is_another_delivery(self) -> None:
        """The id lies in a header, which no signature covers: who repeats it must not make us drop the genuine one."""
        self.send({"event": "updated", "ids": ["1"]}, delivery="d-9")
        self.send({"event": "updated", "ids": ["2"]}, delivery="d-9")
        take_in.take_in()
        self.assertEqual(self.rung(), ["1", "2"])

    def test_a_wrong_signature_is_refused_shown_and_rings_nothing(self) -> None:
        self.assertEqual(self.send(EVENT, signature="0" * 64).status_code, 401)
        take_in.take_in()
        row = Delivery.objects.get()
        self.assertEqual((row.verified, row.outcome, row.hints), (False, Outcome.REFUSED, []))
        self.assertEqual((row.reason, row.sender), ("The signature does not fit.", "127.0.0.1"))
        self.assertEqual(RUNG, [])

    def test_an_unverified_delivery_cannot_block_the_genuine_one_with_its_id(self) -> None:
        self.send(EVENT, signature="0" * 64, delivery="d-7")
        self.assertEqual(self.send(EVENT, delivery="d-7").status_code, 200)
        take_in.take_in()
        self.assertEqual(len(RUNG), 1)

    def test_garbage_a_wrong_signature_and_an_unknown_address_get_the_same_answer(self) -> None:
        answers = [
            self.send(b"\xff not json", signature="x"),
            self.send({"event": "updated", "ids": []}, signature="x"),
            self.send({"event": "updated", "ids": []}, token="unknown-token"),
        ]
        self.assertEqual(
            {(answer.status_code, answer.content) for answer in answers}, {(401, b'{"status": "refused"}')}
        )

    def test_what_is_signed_and_cannot_be_read_is_told_to_its_sender_and_listed(self) -> None:
        self.assertEqual(self.send(b"{").status_code, 400)
        row = Delivery.objects.get()
        self.assertEqual((row.outcome, row.reason), (Outcome.UNREADABLE, "It is signed, but the body is no event."))

    def test_a_system_without_webhooks_and_a_connector_that_was_removed_refuse_them_all(self) -> None:
        for kind in ("silent", "gone"):
            self.change(kind=kind)
            self.assertEqual(self.send(EVENT).status_code, 401, kind)
        self.assertEqual(set(Delivery.objects.values_list("outcome", flat=True)), {Outcome.REFUSED})

    def test_only_post_is_taken(self) -> None:
        self.assertEqual(self.client.get(self.url()).status_code, 405)

    def test_what_cannot_be_stored_asks_the_sender_to_come_again(self) -> None:
        with patch("connections.inbox.Delivery.save", side_effect=OperationalError("locked")):
            response = self.send(EVENT)
        self.assertEqual((response.status_code, response["Retry-After"]), (503, "30"))
        self.assertEqual(self.send(EVENT).status_code, 200)
        take_in.take_in()
        self.assertEqual(len(RUNG), 1)

    def test_the_answer_takes_one_question_and_one_insert(self) -> None:
        with self.assertNumQueries(4):  # connection; savepoint, insert, release
            self.send(EVENT)
        with self.assertNumQueries(3):  # the connection is known for a moment
            self.send(EVENT, delivery="d-2")

    def test_a_replaced_address_is_unknown_a_moment_later(self) -> None:
        self.send(EVENT)
        self.change(webhook_token="another")
        self.assertEqual(self.send(EVENT).status_code, 401)


class LimitTests(WebhookCase):
    def test_a_body_that_is_too_large_is_refused_before_it_is_read_and_listed(self) -> None:
        response = self.client.post(self.url(), b"x" * (webhooks.MOST_BYTES + 1), content_type="application/json")
        self.assertEqual(response.status_code, 413)
        row = Delivery.objects.get()
        self.assertEqual((row.outcome, row.size), (Outcome.TOO_LARGE, webhooks.MOST_BYTES + 1))

    def test_a_body_in_chunks_is_read_no_further_than_the_limit(self) -> None:
        class Endless:
            taken = 0

            def read(self, size: int) -> bytes:
                self.taken += size
                return b"x" * size

        endless = Endless()
        request = RequestFactory().post(self.url(), content_type="application/json")
        request.META.pop("CONTENT_LENGTH", None)
        request.META.update({"wsgi.input_terminated": True, "wsgi.input": endless})
        self.assertEqual(webhooks.receive(request, self.connection.webhook_token).status_code, 413)
        self.assertEqual(endless.taken, webhooks.MOST_BYTES + 1)

    def test_refused_deliveries_do_not_fill_the_database_and_are_counted(self) -> None:
        now = time.monotonic() // 60 * 60  # a minute begins, so that none ends on the way
        with patch("connections.webhooks.time.monotonic", lambda: now):
            for number in range(webhooks.MOST_UNPROVED_A_MINUTE + 5):
                answer = self.send({"event": "x", "ids": []}, signature="x", delivery=f"d-{number}")
                self.assertEqual(answer.status_code, 401)
        self.assertLessEqual(Delivery.objects.count(), webhooks.MOST_UNPROVED_A_MINUTE + 1)
        with patch("connections.webhooks.time.monotonic", lambda: now + 61):
            self.send({"event": "x", "ids": []}, signature="x")
        listed = Delivery.objects.count() + sum(Delivery.objects.values_list("unlisted", flat=True))
        self.assertEqual(listed, webhooks.MOST_UNPROVED_A_MINUTE + 6)

    def test_a_flood_of_refused_ones_does_not_keep_a_genuine_one_out(self) -> None:
        for number in range(webhooks.MOST_UNPROVED_A_MINUTE + 5):
            self.send({"event": "x", "ids": []}, signature="x", delivery=f"d-{number}")
        self.assertEqual(self.send(EVENT).status_code, 200)
        take_in.take_in()
        self.assertEqual(self.rung(), ["10", "11"])

    def test_a_list_of_senders_keeps_all_others_out(self) -> None:
        self.change(settings={"webhook_senders": "203.0.113.0/24\n2001:db8::1"})
        self.assertEqual(self.send(EVENT).status_code, 401)
        self.assertIn("127.0.0.1 is not on the connection's list", Delivery.objects.get().reason)
        self.change(settings={"webhook_senders": "127.0.0.0/8"})
        self.assertEqual(self.send(EVENT).status_code, 200)

    def test_behind_a_proxy_the_address_it_vouches_for_counts_and_no_other(self) -> None:
        self.change(settings={"webhook_senders": "203.0.113.7"})
        forged = {"X-Forwarded-For": "203.0.113.7"}
        self.assertEqual(self.send(EVENT, **forged).status_code, 401)
        self.assertIn("TRUSTED_PROXIES does not name it", Delivery.objects.get().reason)
        with override_settings(TRUSTED_PROXIES=senders.networks("127.0.0.1")):
            self.assertEqual(self.send(EVENT, **forged).status_code, 200)
            appended = {"X-Forwarded-For": "203.0.113.7, 198.51.100.9"}
            self.assertEqual(self.send(EVENT, delivery="d-2", **appended).status_code, 401)


class HintTests(WebhookCase):
    """Where no secret is agreed nothing can be proved: a delivery is at most a hint."""

    def setUp(self) -> None:
        super().setUp()
        self.forget_the_secret()

    def test_an_unsigned_delivery_is_a_hint_that_proves_nothing(self) -> None:
        self.assertEqual(self.send({**EVENT, "ours": True, "gone": True}).status_code, 200)
        take_in.take_in()
        self.assertEqual(self.rung(), ["10", "11"])
        self.assertFalse(any(hint.verified for _, hints in RUNG for hint in hints))
        self.assertEqual(Delivery.objects.get().outcome, Outcome.HINT)

    def test_a_flood_of_unsigned_ones_rings_for_a_few_and_counts_the_others(self) -> None:
        for number in range(webhooks.MOST_UNPROVED_A_MINUTE + 20):
            self.send({"event": "x", "ids": [str(number)]}, delivery=f"d-{number}")
        take_in.take_in()
        self.assertLessEqual(len(self.rung()), webhooks.MOST_UNPROVED_A_MINUTE + 1)


class TakingInTests(WebhookCase):
    def test_what_became_of_a_delivery_is_told_by_what_it_names(self) -> None:
        self.send({"event": "ping", "ids": []}, delivery="a")
        self.send({"event": "sprint", "ids": ["1"], "type": "sprint"}, delivery="b")
        take_in.take_in()
        SYNCED.clear()
        self.send(EVENT, delivery="c")
        take_in.take_in()
        outcomes = Delivery.objects.order_by("pk").values_list("outcome", flat=True)
        self.assertEqual(list(outcomes), [Outcome.NO_RECORD, Outcome.OTHER_TYPE, Outcome.NO_MAPPING])

    def test_many_are_taken_in_with_a_fixed_number_of_queries(self) -> None:
        def taken(number: int) -> int:
            for one in range(number):
                self.send({"event": "updated", "ids": [str(one)]}, delivery=f"{number}-{one}")
            with self.assertNumQueries(6 if number else 1):
                return take_in.take_in()

        self.assertEqual([taken(0), taken(1), taken(40)], [0, 1, 40])

    def test_a_bell_that_fails_in_the_database_leaves_them_waiting(self) -> None:
        self.send(EVENT)
        with patch("connections.hooks.ring", side_effect=OperationalError("locked")):
            self.assertRaises(OperationalError, take_in.take_in)
        self.assertEqual(Delivery.objects.get().outcome, Outcome.WAITING)
        self.assertEqual(take_in.take_in(), 1)

    def test_one_that_cannot_be_taken_in_holds_up_no_other(self) -> None:
        for number, id in enumerate(("1", "poison", "2")):
            self.send({"event": "updated", "ids": [id]}, delivery=f"d-{number}")
        with self.assertLogs("connections.take_in", "ERROR"):
            take_in.take_in()
        self.assertEqual(self.rung(), ["1", "2"])
        outcomes = Delivery.objects.order_by("pk").values_list("outcome", flat=True)
        self.assertEqual(list(outcomes), [Outcome.ACCEPTED, Outcome.FAILED, Outcome.ACCEPTED])

    def test_ids_that_no_column_can_keep_are_left_out_at_the_door(self) -> None:
        odd = ["", "x" * 201, "nul\0", "half \ud83d", "7"]
        self.assertEqual(self.send({"event": "up\0dated", "ids": odd}).status_code, 200)
        take_in.take_in()
        self.assertEqual(self.rung(), ["7"])

    def test_what_cannot_be_kept_as_told_proves_nothing(self) -> None:
        hint = Hint("issue", "1", own_account=True, verified=True, changes={"title": "half \ud83d"})
        self.assertIsNone(webhooks.told([hint]))
        self.assertEqual(webhooks.told([Hint("issue", "1")])[0]["external_id"], "1")  # type: ignore[index]


class InboxTests(WebhookCase):
    """Beside SQLite, deliveries lie in a file of their own until they are taken in."""

    def setUp(self) -> None:
        super().setUp()
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        setting = override_settings(INBOX_FILE=str(Path(folder.name) / "inbox.sqlite3"))
        setting.enable()
        self.addCleanup(setting.disable)

    def test_the_answer_waits_for_no_write_to_the_database(self) -> None:
        self.send(EVENT)
        with self.assertNumQueries(0):
            self.assertEqual(self.send(EVENT, delivery="d-2").status_code, 200)
        self.assertEqual(Delivery.objects.count(), 0)
        self.assertEqual(take_in.take_in(), 2)
        self.assertEqual(self.rung(), ["10", "11", "10", "11"])
        self.assertEqual(inbox.move(), 0)

    def test_a_crash_between_the_two_files_moves_nothing_twice(self) -> None:
        self.send(EVENT, delivery="")  # without an id nothing but its arrival tells it from another
        file = inbox._file("NORMAL")
        [(body,)] = file.execute("SELECT body FROM arrivals").fetchall()
        inbox.move()
        file.execute("INSERT INTO arrivals (body) VALUES (?)", [body])  # the deletion did not reach the disk
        take_in.take_in()
        self.assertEqual((Delivery.objects.count(), len(RUNG)), (1, 1))

    def test_a_retry_is_known_again_within_the_file_and_after_it(self) -> None:
        self.send(EVENT)
        self.send(EVENT)
        take_in.take_in()
        self.send(EVENT)
        take_in.take_in()
        self.assertEqual(len(RUNG), 1)
        self.assertEqual(Delivery.objects.filter(outcome=Outcome.DUPLICATE).count(), 2)

    def test_those_of_a_connection_that_is_gone_are_dropped_with_it(self) -> None:
        self.send(EVENT)
        self.connection.delete()
        self.assertEqual(inbox.move(), 1)
        self.assertEqual(Delivery.objects.count(), 0)

    def test_a_file_that_cannot_be_written_asks_the_sender_to_come_again(self) -> None:
        with override_settings(INBOX_FILE="/nowhere/inbox.sqlite3"):
            self.assertEqual(self.send(EVENT).status_code, 503)
