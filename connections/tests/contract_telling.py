"""The contract's promises about what a system tells by itself: field history, webhooks, change streams; and the
declarations themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from connections.connectors.base import Connector, Hint
from connections.tests.contract_vendor import Vendor

LONG_AGO = "2000-01-01T00:00:00Z"
# Far above what a poll on loopback takes; reached only where a hint never comes.
PATIENCE = 10.0
GARBAGE = (b"", b"null", b"[]", b"{}", b"\xff\xfe", b"{", b'"text"', b"[" * 100_000, b'{"webhookEvent": 1}')


class Ears:
    """A listening connector in the test's own hands."""

    def __init__(self, vendor: Vendor) -> None:
        self.stopped = threading.Event()
        self.stream: Iterator[Sequence[Hint]] = vendor.connector.listen([vendor.object_type], self.stopped.is_set)

    def hear(self, wanted: Callable[[Hint], bool]) -> Hint:
        """The next hint that is wanted."""
        end = time.monotonic() + PATIENCE
        for hints in self.stream:
            for hint in hints:
                if wanted(hint):
                    return hint
            assert time.monotonic() < end, "no such hint came"
        raise AssertionError("the stream ended")

    def close(self) -> None:
        self.stopped.set()
        self.stream.close()  # type: ignore[attr-defined]


class NoTokens:
    """As if the system had given us nothing."""

    def current(self) -> None:
        return None

    def renew(self, stale: object, fetch: object) -> dict[str, object]:
        raise AssertionError("reading a webhook makes no call")


def overridden(vendor: Vendor, method: str) -> bool:
    """Whether the connector has it for this system; one for many systems may have it for others only."""
    return method not in vendor.unused and getattr(type(vendor.connector), method) is not getattr(Connector, method)


def tells(vendor: Vendor, hint: Hint, title: str) -> bool:
    """Whether a hint is of the edit that gave a record this title: by the values it names, or by the exact version."""
    if hint.changes is not None:
        return bool(hint.changes.get(vendor.title) == title)
    if hint.external_id == "*" or hint.deleted or not vendor.connector.capabilities.exact_version:
        return False
    record = vendor.read(hint.external_id)
    return record.values[vendor.title] == title and record.version == hint.version


class TellingContract:
    # Declarations ----------------------------------------------------------------------------------------------------

    def test_the_declared_numbers_can_be_worked_with(self, vendor: Vendor):
        able = vendor.connector.capabilities
        assert able.bulk_read >= 1 and able.bulk_write >= 1 and able.concurrency >= 1
        assert able.rate_per_second > 0
        assert able.watermark_granularity > 0
        assert able.stamp_granularity > 0
        assert able.overlap >= 0
        assert able.lookback > 0 and able.settle_seconds >= 0 and able.update_timeout >= 0
        assert able.bell in ("webhook", "stream", "none")
        assert able.conditional_write or not able.conditional_resolution
        assert able.field_history or not able.complete_history
        assert (able.feed_retention is not None) is (able.bell == "stream")

    def test_what_is_declared_is_there_and_what_is_not_declared_is_not_half_there(self, vendor: Vendor):
        able = vendor.connector.capabilities
        assert overridden(vendor, "history") is able.field_history
        assert overridden(vendor, "parse_delivery") is (able.bell == "webhook")
        assert overridden(vendor, "listen") is (able.bell == "stream")
        if able.bulk_write > 1:
            assert overridden(vendor, "create_many") and overridden(vendor, "update_many")

    def test_an_object_type_can_do_no_more_than_its_connector(self, vendor: Vendor):
        able = vendor.connector.capabilities
        of_type = vendor.connector.capabilities_of(vendor.object_type)
        own = {"idempotent_create": False, "create_lookup_consistent": False, "version_comes_back": False}
        assert replace(of_type, **own) == replace(able, **own)
        assert of_type.idempotent_create <= able.idempotent_create
        assert of_type.version_comes_back >= able.version_comes_back
        assert of_type.create_lookup_consistent <= able.create_lookup_consistent

    # History ---------------------------------------------------------------------------------------------------------

    def test_history_tells_who_changed_what_and_when(self, vendor: Vendor):
        id = vendor.add({**vendor.firsts(), vendor.title: "Before"})
        text, option = vendor.told, vendor.samples["option"]
        vendor.tick(2)
        vendor.edit(id, {text.path: text.second})
        vendor.tick(2)
        vendor.edit(id, {option.path: option.second})
        if not vendor.connector.capabilities.field_history:
            assert not overridden(vendor, "history")
            return
        paths = [text.path, option.path]
        changes = [
            c for c in vendor.connector.history(vendor.object_type, [id], paths, LONG_AGO)[id] if c.before is not None
        ]
        assert [(c.field, c.before, c.after) for c in changes] == [
            (text.path, text.first, text.second),
            (option.path, option.first, option.second),
        ]
        assert {c.by for c in changes} == {vendor.ana.account}
        assert all(vendor.ana.name.lower() in (c.by_name or "").lower() for c in changes)
        assert changes[0].at < changes[1].at <= str(vendor.read(id).updated_at)

    def test_history_names_people_as_records_do(self, vendor: Vendor):
        if not vendor.connector.capabilities.field_history:
            assert not overridden(vendor, "history")
            return
        person = vendor.samples["person"]
        id = vendor.add({person.path: person.first})
        vendor.tick(2)
        since = vendor.stamp()
        vendor.edit(id, {person.path: person.second})
        [change] = vendor.connector.history(vendor.object_type, [id], [person.path], since)[id]
        assert (change.before, change.after) == (person.first, person.second)

    def test_history_holds_what_was_asked_for_and_nothing_older(self, vendor: Vendor):
        if not vendor.connector.capabilities.field_history:
            assert not overridden(vendor, "history")
            return
        id, other = vendor.add(), vendor.add()
        text, beside = vendor.told, vendor.samples.get("number") or vendor.samples["option"]
        vendor.edit(id, {text.path: text.first, beside.path: beside.first})
        vendor.tick(120)
        since = vendor.stamp()
        vendor.edit(id, {text.path: text.second, beside.path: beside.second})
        vendor.edit(other, {text.path: text.first})
        asked = [id, vendor.unknown_id]
        found = vendor.connector.history(vendor.object_type, asked, [text.path], since)
        assert [(c.field, c.after) for c in found[id]] == [(text.path, text.second)]
        assert other not in found and not found.get(vendor.unknown_id)
        assert not any(vendor.connector.history(vendor.object_type, [], [text.path], since).values())

    @pytest.mark.parametrize("kind", ["text", "option", "number", "date", "datetime", "person", "set"])
    def test_a_complete_history_has_every_change_and_another_at_least_no_wrong_one(self, vendor: Vendor, kind: str):
        if not vendor.connector.capabilities.field_history:
            assert not overridden(vendor, "history")
            return
        sample = vendor.samples.get(kind) or vendor.told
        id = vendor.add({sample.path: sample.first})
        vendor.tick(2)
        since = vendor.stamp()
        for value in (sample.second, sample.first, sample.second):
            vendor.edit(id, {sample.path: value})
        told = vendor.connector.history(vendor.object_type, [id], [sample.path], since)[id]
        if vendor.connector.capabilities.complete_history:
            assert len(told) == 3
        truth = [(sample.first, sample.second), (sample.second, sample.first), (sample.first, sample.second)]
        untold = (None, None)  # "it changed", and no more
        assert all((change.before, change.after) in (*truth, untold) for change in told)

    # Webhooks --------------------------------------------------------------------------------------------------------

    def test_a_signed_delivery_is_verified_and_names_its_record(self, vendor: Vendor):
        if vendor.connector.capabilities.bell != "webhook":
            assert not overridden(vendor, "parse_delivery")
            return
        id = vendor.add()
        vendor.tick(2)
        vendor.edit(id, {vendor.title: "Edited"})
        request = vendor.delivery(id)
        parsed = vendor.connector.parse_delivery(request)
        assert (parsed.verified, parsed.reason) == (True, "")
        assert parsed.delivery_id and parsed.event
        assert vendor.connector.parse_delivery(request).delivery_id == parsed.delivery_id
        [hint] = parsed.hints
        assert (hint.object_type, hint.external_id, hint.verified) == (vendor.object_type, id, True)
        assert not hint.own_account and not hint.deleted
        assert hint.version in (None, vendor.read(id).version)
        for path, value in (hint.changes or {}).items():
            assert vendor.read(id, [path]).values[path] == value

    def test_a_delivery_whose_sender_is_not_proved_is_not_verified(self, vendor: Vendor):
        if vendor.connector.capabilities.bell != "webhook":
            assert not overridden(vendor, "parse_delivery")
            return
        id = vendor.add()
        vendor.edit(id, {vendor.title: "Edited"})
        request = vendor.delivery(id)
        proof = vendor.connector.delivery_proof()
        if proof is None:
            parsed = vendor.connector.parse_delivery(request)
            assert not parsed.verified and not parsed.provable
            return
        given = request.headers[proof.header]
        bare = {name: value for name, value in request.headers.items() if name != proof.header}
        wrong = {**request.headers, proof.header: given[:-2] + ("00" if given[-2:] != "00" else "11")}
        forgeries = [replace(request, headers=bare), replace(request, headers=wrong)]
        if proof.how == "hmac":  # a secret or a password that is sent along covers no body
            forgeries.append(replace(request, body=request.body.replace(b"Edited", b"Forged")))
            forgeries.append(replace(request, body=request.body + b" "))
        for forged in forgeries:
            parsed = vendor.connector.parse_delivery(forged)
            assert not parsed.verified and parsed.reason and parsed.provable
            assert not any(hint.verified for hint in parsed.hints)

    def test_a_delivery_replayed_much_later_is_refused_or_known_by_its_id(
        self, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
    ):
        if vendor.connector.capabilities.bell != "webhook":
            assert not overridden(vendor, "parse_delivery")
            return
        id = vendor.add()
        vendor.edit(id, {vendor.title: "Edited"})
        request = vendor.delivery(id)
        first = vendor.connector.parse_delivery(request)
        later = time.time() + 7200
        monkeypatch.setattr(time, "time", lambda: later)
        parsed = vendor.connector.parse_delivery(replace(request, received_at=later))
        proof = vendor.connector.delivery_proof()
        assert parsed.verified is (first.verified and (proof is None or not proof.timestamp))
        assert parsed.delivery_id == first.delivery_id

    def test_without_an_agreed_secret_a_delivery_proves_nothing_and_says_so(self, vendor: Vendor):
        proof = vendor.connector.delivery_proof()
        if vendor.connector.capabilities.bell != "webhook" or proof is None:
            return
        id = vendor.add()
        vendor.edit(id, {vendor.title: "Edited"})
        request, context = vendor.delivery(id), vendor.connector.context
        without = {name: value for name, value in context.secrets.items() if name != proof.secret}
        vendor.connector.context = replace(context, secrets=without, tokens=NoTokens())
        try:
            parsed = vendor.connector.parse_delivery(request)
        finally:
            vendor.connector.context = context
        assert (parsed.verified, parsed.provable) == (False, False) and parsed.reason
        assert parsed.hints and not any(hint.verified for hint in parsed.hints)

    @pytest.mark.parametrize("body", GARBAGE)
    def test_garbage_is_no_delivery(self, vendor: Vendor, body: bytes):
        if vendor.connector.capabilities.bell != "webhook":
            assert not overridden(vendor, "parse_delivery")
            return
        id = vendor.add()
        vendor.edit(id, {vendor.title: "Edited"})
        with pytest.raises(ValueError):
            vendor.connector.parse_delivery(replace(vendor.delivery(id), body=body))

    def test_subscribing_registers_our_address_and_ending_it_leaves_nothing(self, vendor: Vendor):
        able = vendor.connector.capabilities
        assert overridden(vendor, "subscribe") is overridden(vendor, "unsubscribe") is able.subscribes
        if not able.subscribes:
            return
        vendor.connector.subscribe([vendor.object_type], vendor.scope, "https://sync.example/hooks/abc")
        vendor.connector.subscribe([vendor.object_type], vendor.scope, "https://sync.example/hooks/abc")  # more scopes
        vendor.connector.unsubscribe()
        vendor.connector.unsubscribe()  # nothing left to end, and no error

    def test_what_an_administrator_does_by_hand_is_said_and_no_secret_in_it(self, vendor: Vendor):
        able = vendor.connector.capabilities
        assert overridden(vendor, "steps_by_hand") is (able.bell != "none")
        if able.bell == "none":
            return
        steps = vendor.connector.steps_by_hand([vendor.object_type], vendor.scope, "https://sync.example/hooks/abc")
        said = " ".join(f"{step.text} {step.code}" for step in steps)
        assert steps and all(step.text for step in steps)
        assert able.bell != "webhook" or "https://sync.example/hooks/abc" in said
        assert not any(secret in said for secret in vendor.connector.context.secrets.values())

    @pytest.fixture
    def ears(self, vendor: Vendor) -> Iterator[Callable[[], Ears]]:
        opened: list[Ears] = []

        def listen() -> Ears:
            opened.append(Ears(vendor))
            return opened[-1]

        yield listen
        for each in opened:
            each.close()

    # Streams ---------------------------------------------------------------------------------------------------------

    def test_a_stream_rings_for_edits_creations_and_deletions(self, vendor: Vendor, ears: Callable[[], Ears]):
        if vendor.connector.capabilities.bell != "stream":
            assert not overridden(vendor, "listen")
            return
        heard = ears()
        assert heard.hear(lambda hint: hint.external_id == "*").object_type == vendor.object_type
        id = vendor.add()
        assert heard.hear(lambda hint: hint.external_id == id).verified
        vendor.edit(id, {vendor.title: "Edited"})
        hint = heard.hear(lambda hint: tells(vendor, hint, "Edited"))
        assert (hint.external_id, hint.own_account, hint.deleted) == (id, False, False)
        vendor.update(id, {vendor.title: "By us"})
        assert heard.hear(lambda hint: tells(vendor, hint, "By us")).own_account
        vendor.remove(id)
        assert heard.hear(lambda hint: hint.deleted).external_id == id

    def test_hints_a_crash_kept_from_being_stored_come_again(self, vendor: Vendor, ears: Callable[[], Ears]):
        if vendor.connector.capabilities.bell != "stream":
            assert not overridden(vendor, "listen")
            return
        heard = ears()
        heard.hear(lambda hint: hint.external_id == "*")
        first, second = vendor.add(), vendor.add()
        heard.hear(lambda hint: hint.external_id == first)
        third = vendor.add()
        heard.hear(lambda hint: hint.external_id == third)
        heard.close()  # the hints with the third were handed out; the caller did not come back for more
        again = ears()
        assert again.hear(lambda hint: hint.external_id in (second, third, "*")).external_id != "*"

    def test_a_gap_in_the_stream_is_told(self, vendor: Vendor, ears: Callable[[], Ears]):
        if vendor.connector.capabilities.bell != "stream":
            assert not overridden(vendor, "listen")
            return
        heard = ears()
        heard.hear(lambda hint: hint.external_id == "*")
        for _ in range(2):  # the second is asked for only when the first has been taken
            id = vendor.add()
            heard.hear(lambda hint: hint.external_id == id)  # noqa: B023
        heard.close()
        vendor.break_stream()
        gap = ears().hear(lambda hint: hint.external_id == "*")
        assert gap.object_type == vendor.object_type

    def test_the_systems_clock_is_known(self, vendor: Vendor):
        """Every page tells the system's time, by which our own clock is judged."""
        vendor.add()
        pages = list(vendor.connector.changed_since(vendor.object_type, None, [], vendor.scope))
        assert all(page.server_time and datetime.fromisoformat(page.server_time).tzinfo for page in pages)
