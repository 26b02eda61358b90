"""The contract's promises about a system that is reached over HTTP and does not answer as it should."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from connections.connectors.base import (
    ConnectorError,
    Creation,
    NeedsAuthorization,
    RateLimited,
    Refused,
    Retry,
    Uncertain,
    Update,
)
from connections.tests.contract_telling import overridden
from connections.tests.contract_vendor import WiredVendor, outcome

LONG_AGO = "2026-01-01T00:00:00Z"
AFTER = 17  # seconds a refusal asks us to wait
ALWAYS = 99  # more calls than any verb makes

# What every read of records is; an answer that is none must never look like "there is nothing".
READS: dict[str, Callable[[WiredVendor, str], Any]] = {
    "get_many": lambda v, id: v.connector.get_many(v.object_type, [id], v.paths),
    "changed_since": lambda v, id: v.changed(None),
    "in_scope": lambda v, id: v.connector.in_scope(v.object_type, [id], v.narrow),
    "list_ids": lambda v, id: v.listed(),
    "find_by_correlation_key": lambda v, id: v.connector.find_by_correlation_key(v.object_type, ["k"], [], v.scope),
    "own_recent": lambda v, id: v.connector.own_recent(v.object_type, LONG_AGO, [], v.scope),
    "find_by_values": lambda v, id: v.find(v.title, "Thing"),
    "children": lambda v, id: v.connector.children(v.children or "", [id], []),
    "history": lambda v, id: v.connector.history(v.object_type, [id], [v.title], LONG_AGO),
}
OTHERS: dict[str, Callable[[WiredVendor, str], Any]] = {
    "check": lambda v, id: v.connector.check(),
    "object_types": lambda v, id: v.connector.object_types(),
    "fields": lambda v, id: (v.forget(), v.fields()),
    "people": lambda v, id: v.connector.people("ana"),
}
WRITES: dict[str, Callable[[WiredVendor, str], Any]] = {
    "update": lambda v, id: v.update(id, {v.title: "Written"}),
    "create": lambda v, id: v.create({v.title: "Written"}, "k2"),
    "delete": lambda v, id: v.connector.delete(v.object_type, id),
}
# Bodies with status 200 that are no answer to any question.
GARBAGE: tuple[Any, ...] = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b'"text"',
    b"<html><body>Log in</body></html>",
    b'{"records": [',
    b"NaN",
    b"[" * 400 + b"]" * 400,
    b"[1, null, {}]",
    b"\xff\xfe\x00",
)

LOGIN_PAGE = "<!DOCTYPE html><html><title>Log in</title><body>Sign in with your password</body></html>"


def ready(vendor: WiredVendor) -> str:
    """A record, with everything asked for once, so that what follows is the call itself."""
    id = vendor.add({vendor.title: "Thing"})
    vendor.read(id)
    made = vendor.create({vendor.title: "Thing"}, "k").record.external_id
    vendor.connector.in_scope(vendor.object_type, [made], vendor.narrow)
    vendor.requests()
    return id


def lacks(vendor: WiredVendor, verb: str) -> bool:
    """Whether the system has nothing to ask with this verb, and the connector says so."""
    if verb == "history" and not vendor.connector.capabilities.field_history:
        assert not overridden(vendor, "history")
        return True
    if verb == "children" and vendor.children is None:
        assert not any(one.parent for one in vendor.connector.object_types())
        return True
    return False


def wrote(vendor: WiredVendor, verb: str, id: str, before: set[str]) -> bool:
    """Whether the system did what `verb` asked."""
    if verb == "update":
        return bool(vendor.read(id).values[vendor.title] == "Written")
    return vendor.ids() != before


class WireContract:
    # What the system says ---------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("verb", [*READS, *OTHERS])
    def test_a_read_that_fails_says_what_to_do_next(self, vendor: WiredVendor, verb: str):
        if lacks(vendor, verb):
            return
        id = ready(vendor)
        act = {**READS, **OTHERS}[verb]
        for fault, options, wanted in (
            ("status", {"status": 401}, NeedsAuthorization),
            ("status", {"status": 429, "headers": {"Retry-After": str(AFTER)}, "body": {}}, RateLimited),
            ("status", {"status": 503}, Retry),
            ("status", {"status": 500, "body": "<html>oops</html>"}, Retry),
            ("status", {"status": 302, "headers": {"Location": "https://elsewhere.example/"}}, Retry),
            ("drop_before", {}, Retry),
            ("drop_after", {}, Retry),
        ):
            vendor.fault(fault, vendor.everything, times=ALWAYS, **options)
            found = outcome(lambda: act(vendor, id))
            if not vendor.heal():
                assert not isinstance(found, ConnectorError)  # it knew the answer without asking
                continue
            assert isinstance(found, wanted), (fault, options, found)
            assert found.message and vendor.secret not in found.message
            if wanted is RateLimited:
                assert found.after == AFTER
            elif wanted is Retry:
                assert not isinstance(found, RateLimited) and found.after >= 0

    @pytest.mark.parametrize("verb", WRITES)
    def test_a_write_the_system_refuses_to_hear_did_not_happen(self, vendor: WiredVendor, verb: str):
        id = ready(vendor)
        before = vendor.ids()
        for options, wanted in (
            ({"status": 401}, NeedsAuthorization),
            ({"status": 429, "headers": {"Retry-After": str(AFTER)}, "body": {}}, RateLimited),
        ):
            vendor.fault("status", vendor.writing[verb], times=ALWAYS, **options)
            found = outcome(lambda: WRITES[verb](vendor, id))
            assert vendor.heal()
            assert isinstance(found, wanted)
            assert vendor.secret not in found.message
            assert not wrote(vendor, verb, id, before)
            if isinstance(found, RateLimited):
                assert found.after == AFTER
        assert not isinstance(outcome(lambda: WRITES[verb](vendor, id)), ConnectorError)
        assert wrote(vendor, verb, id, before)

    @pytest.mark.parametrize("verb", WRITES)
    @pytest.mark.parametrize(
        ("fault", "options", "happened"),
        [
            ("drop_before", {}, False),
            ("drop_after", {}, True),
            ("status", {"status": 500}, False),
            ("status", {"status": 503}, False),
            ("status", {"status": 504, "body": "<html>time-out</html>"}, False),
            ("status", {"status": 502, "body": LOGIN_PAGE}, False),
            ("status", {"status": 303, "headers": {"Location": "/login"}, "body": LOGIN_PAGE}, False),
        ],
    )
    def test_a_write_without_an_answer_is_uncertain(
        self, vendor: WiredVendor, verb: str, fault: str, options: dict[str, Any], happened: bool
    ):
        id = ready(vendor)
        before = vendor.ids()
        vendor.fault(fault, vendor.writing[verb], **options)
        found = outcome(lambda: WRITES[verb](vendor, id))
        assert vendor.heal()
        assert type(found) is Uncertain and found.message
        assert wrote(vendor, verb, id, before) is happened

    def test_a_create_that_was_not_answered_carries_its_key_all_the_same(self, vendor: WiredVendor):
        ready(vendor)
        before = vendor.ids()
        since = vendor.stamp()
        vendor.fault("drop_after", vendor.writing["create"])
        assert isinstance(outcome(lambda: vendor.create({vendor.title: "Lost"}, "lost-key")), Uncertain)
        vendor.heal()
        [made] = vendor.ids() - before
        assert vendor.read(made).correlation_key == "lost-key"
        vendor.tick(vendor.connector.capabilities.settle_seconds)
        look = vendor.connector.find_by_correlation_key
        found = look(vendor.object_type, ["lost-key"], [vendor.title], vendor.scope)
        assert [record.external_id for record in found["lost-key"]] == [made]
        own = vendor.connector.own_recent(vendor.object_type, since, [], vendor.scope)
        assert made in {record.external_id for record in own if record.correlation_key == "lost-key"}

    def test_a_bulk_write_without_an_answer_is_uncertain_for_each_record(self, vendor: WiredVendor):
        able = vendor.connector.capabilities
        id = ready(vendor)
        if able.bulk_write == 1:
            vendor.fault("drop_after", vendor.writing["update"])
            assert isinstance(outcome(lambda: WRITES["update"](vendor, id)), Uncertain)
            assert not isinstance(outcome(lambda: WRITES["update"](vendor, id)), ConnectorError)
            return
        ids = [id, *(vendor.add() for _ in range(14))]
        updates = [Update(each, {vendor.title: "Written"}) for each in ids]
        creations = [Creation({vendor.title: "Written"}, f"bulk-{n}") for n in range(3)]
        connector = vendor.connector
        for act, count in (
            (lambda: connector.update_many(vendor.object_type, updates, []), len(updates)),
            (lambda: connector.create_many(vendor.object_type, creations, [], vendor.scope), len(creations)),
        ):
            vendor.fault("drop_after", vendor.writing["update"])
            results = outcome(act)
            assert vendor.heal()
            assert [type(result) for result in results] == [Uncertain] * count
        assert {vendor.read(each).values[vendor.title] for each in ids} == {"Written"}

    # Answers that are none --------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("verb", READS)
    def test_garbage_is_never_taken_for_an_answer_to_a_read(self, vendor: WiredVendor, verb: str):
        if lacks(vendor, verb):
            return
        id = ready(vendor)
        for body in (*GARBAGE, *vendor.odd_answers):
            vendor.fault("status", vendor.everything, status=200, body=body, times=ALWAYS)
            found = outcome(lambda: READS[verb](vendor, id))
            assert vendor.heal()
            # Odd answers may answer one question and not another; garbage answers none.
            known = isinstance(found, Retry) or (body in vendor.odd_answers and not isinstance(found, ConnectorError))
            assert known, (body, found)
        assert not isinstance(outcome(lambda: READS[verb](vendor, id)), ConnectorError)

    @pytest.mark.parametrize("verb", OTHERS)
    def test_garbage_is_an_error_or_nothing_where_no_record_depends_on_it(self, vendor: WiredVendor, verb: str):
        id = ready(vendor)
        for body in (*GARBAGE, *vendor.odd_answers):
            vendor.fault("status", vendor.everything, status=200, body=body, times=ALWAYS)
            found = outcome(lambda: OTHERS[verb](vendor, id))
            vendor.heal()
            assert not isinstance(found, Uncertain)
        assert not isinstance(outcome(lambda: OTHERS[verb](vendor, id)), ConnectorError)

    @pytest.mark.parametrize("verb", ["update", "create"])
    def test_garbage_after_a_write_never_says_that_nothing_happened(self, vendor: WiredVendor, verb: str):
        id = ready(vendor)
        for body in (*GARBAGE, *vendor.odd_answers):
            vendor.fault("status", vendor.writing[verb], status=200, body=body)
            found = outcome(lambda: WRITES[verb](vendor, id))
            assert vendor.heal()
            # Where writes have no answer, it is the record that tells: a value that is still the old one was refused.
            proved = isinstance(found, Refused) and set(found.fields) == {vendor.title}
            proved = proved and not vendor.connector.capabilities.write_returns_record
            unclear = isinstance(found, Uncertain) or not isinstance(found, ConnectorError)
            assert unclear or (proved and not wrote(vendor, verb, id, vendor.ids())), (body, found)
            if verb == "create":
                assert isinstance(found, Uncertain)

    # What it costs ----------------------------------------------------------------------------------------------------

    def test_a_write_is_one_call_where_it_returns_its_record(self, vendor: WiredVendor):
        id = ready(vendor)
        for text in ("with what is asked for once", "Written"):
            vendor.requests()
            vendor.update(id, {vendor.title: text})
        calls = len(vendor.requests()) - vendor.looks_after_a_write
        assert (calls == 1) is vendor.connector.capabilities.write_returns_record

    def test_as_many_records_as_declared_are_read_and_written_in_one_call(self, vendor: WiredVendor):
        able = vendor.connector.capabilities
        ready(vendor)
        ids = [vendor.add() for _ in range(max(able.bulk_read, able.bulk_write))]
        vendor.connector.get_many(vendor.object_type, ids[: able.bulk_read], vendor.paths)
        assert len(vendor.requests()) == 1
        if able.bulk_write == 1:
            return
        updates = [Update(id, {vendor.title: f"New {id}"}) for id in ids[: able.bulk_write]]
        results = vendor.connector.update_many(vendor.object_type, updates, [vendor.title])
        assert len(vendor.requests()) == vendor.bulk_write_calls
        assert not any(isinstance(result, ConnectorError) for result in results)
