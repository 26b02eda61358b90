"""A run and what happens around it: pauses, publishing, other workers, poison, lost leases, silent deletions."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import Gone, NotAllowed, RateLimited, Refused, Retry, Uncertain
from connections.connectors.memory import MemoryConnector
from connections.models import Connection
from mappings.models import Mapping
from sync import apply, commit, hints, lease, recover, schedule
from sync.approval import release
from sync.models import Allowance, ChangedRecord, Cursor, Link, MappingState, Operation, Run
from sync.tests.conftest import Pair, build_pair
from sync.tests.engine_cases import once

pytestmark = pytest.mark.django_db


def pairs(pair: Pair, number: int) -> list[tuple[str, str]]:
    """So many linked pairs."""
    made = [
        (pair.left.add(title=f"T{n}", ref=f"N{n}"), pair.right.add(title=f"T{n}", ref=f"N{n}")) for n in range(number)
    ]
    pair.quiet()
    assert Link.objects.count() == number
    return made


def edit_all(pair: Pair, made: list[tuple[str, str]], **values: Any) -> None:
    for left, _ in made:
        pair.left.edit(left, **values)
        pair.ring("left", left)


# Pauses and new versions in the middle of a run. -----------------------------------------------------------------


def test_pausing_a_mapping_stops_its_run_before_the_next_write(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, concurrency=1)
    made = pairs(pair, 12)
    edit_all(pair, made, body="new")
    once(pair.right, "update", lambda: Mapping.objects.update(state="paused"))
    pair.run("live")
    assert [verb for verb, _ in pair.right.calls].count("update") == 1
    assert ChangedRecord.objects.filter(side="left").count() == 11, "what was not sent waits"
    Mapping.objects.update(state="active")
    pair.quiet()
    assert all(pair.right.value(right, "body") == "new" for _, right in made)


def test_what_was_decided_under_an_older_version_is_not_sent(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, concurrency=1)
    made = pairs(pair, 8)
    edit_all(pair, made, body="new")
    rules = [one for one in pair.mapping.published.document["rules"] if one["id"] != "body"]
    once(pair.right, "update", lambda: pair.publish(rules=rules))
    pair.run("live")
    pair.quiet()
    assert [verb for verb, _ in pair.right.calls].count("update") == 1, "the new version has no such rule"


def test_pausing_a_connection_stops_the_run_before_its_next_write(pair: Pair) -> None:
    made = pairs(pair, hints.LIVE_BATCH + 5)
    edit_all(pair, made, body="new")
    once(pair.left, "get", lambda: Connection.objects.filter(name="Right").update(state="paused"))
    pair.run("live")
    assert "update" not in [verb for verb, _ in pair.right.calls], "not even what was decided already"
    assert ChangedRecord.objects.filter(side="left").count() == hints.LIVE_BATCH + 5
    pair.mapping.refresh_from_db()
    assert pair.run("live").code == "connection_unusable"


# Other workers. --------------------------------------------------------------------------------------------------


def test_what_is_claimed_is_sent_at_once_and_the_rest_is_claimed_later(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, concurrency=3)
    made = pairs(pair, 10)
    edit_all(pair, made, body="new")
    sizes: list[int] = []
    real = apply.send

    def note(session: Any, operations: Any) -> Any:
        sizes.append(len(operations))
        return real(session, operations)

    monkeypatch.setattr(apply, "send", note)
    pair.run("live")
    assert sizes == [3, 3, 3, 1]


def test_a_worker_that_stood_still_sends_nothing_more(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    real = apply.claim

    def stopped_after_the_claim(session: Any, operations: Any) -> Any:
        claimed = real(session, operations)
        monkeypatch.setattr(apply, "claim", real)
        session.lease.sure_until = time.monotonic() - 1
        return claimed

    monkeypatch.setattr(apply, "claim", stopped_after_the_claim)
    pair.run("live")
    assert ("update", right) not in pair.right.calls
    pair.quiet()
    ChangedRecord.objects.update(not_before=timezone.now())
    pair.run("live")
    assert pair.right.value(right, "body") == "new"


def test_nothing_more_is_sent_once_the_lease_is_lost(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, concurrency=1)
    made = pairs(pair, 5)
    edit_all(pair, made, body="new")
    once(pair.right, "update", lambda: MappingState.objects.update(fence=999), when="after")
    assert pair.run("live").state == "lost"
    assert [verb for verb, _ in pair.right.calls].count("update") == 1


def test_many_slow_reads_do_not_cost_the_lease(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.left.capabilities = replace(pair.left.capabilities, bulk_read=1)
    made = pairs(pair, 4)
    edit_all(pair, made, body="new")
    ends: list[Any] = []

    def note(verb: str, ids: Any) -> None:
        if verb == "get":
            ends.append(MappingState.objects.values_list("lease_until", flat=True).get())
            MappingState.objects.update(lease_until=timezone.now() + timedelta(seconds=1))

    pair.left.before = note
    pair.run("live")
    assert len(ends) == 4 and min(ends[1:]) > timezone.now() + timedelta(seconds=lease.LEASE_SECONDS - 10)


def test_a_record_that_another_mapping_is_writing_is_left_alone_and_leaves_no_trail(pair: Pair) -> None:
    left, right, link = pair.linked(body="b")
    other = build_pair("Other", pair.left, pair.right)
    foreign = Link.objects.create(mapping=other.mapping, left_id=left, right_id=right)
    connection = pair.mapping.right_connection.pk
    blocking = Operation.objects.create(
        mapping=other.mapping,
        version=other.mapping.published,
        link=foreign,
        side="right",
        kind="update",
        state="uncertain",
        external_id=right,
        claim=f"{connection}:thing:{right}",
    )
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    for _ in range(4):
        ChangedRecord.objects.update(not_before=timezone.now())
        pair.run("live")
    assert not Operation.objects.filter(mapping=pair.mapping).exists()
    assert ChangedRecord.objects.get(side="left", mapping=pair.mapping).not_before > timezone.now()
    blocking.delete()
    pair.quiet()
    assert pair.right.value(right, "body") == "new"


# A record that fails blocks only itself. -------------------------------------------------------------------------


def test_a_record_that_cannot_be_saved_delays_no_other(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    (bad, _), (good, right) = pairs(pair, 2)
    edit_all(pair, [(bad, ""), (good, "")], body="new")
    real = commit.operation_row

    def cannot_be_stored(session: Any, link: Link, *more: Any) -> Operation:
        if link.left_id == bad:
            raise ValueError("a NUL byte")
        return real(session, link, *more)

    monkeypatch.setattr(commit, "operation_row", cannot_be_stored)
    pair.run("live")
    assert pair.right.value(right, "body") == "new"
    hint = ChangedRecord.objects.get()
    assert hint.external_id == bad and "NUL" in hint.error and hint.attempts == 1


def test_a_record_that_cannot_be_read_delays_no_other(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    (bad, _), (good, right) = pairs(pair, 2)
    edit_all(pair, [(bad, ""), (good, "")], body="new")
    real = MemoryConnector.get_many

    def cannot_be_parsed(connector: MemoryConnector, object_type: str, ids: Any, fields: Any) -> Any:
        if bad in ids:
            raise KeyError("no such key in the answer")
        return real(connector, object_type, ids, fields)

    monkeypatch.setattr(MemoryConnector, "get_many", cannot_be_parsed)
    pair.run("live")
    assert pair.right.value(right, "body") == "new"
    assert ChangedRecord.objects.get().external_id == bad


@pytest.mark.parametrize(
    "error", [KeyError("strange answer"), NotAllowed("Hidden."), Refused("No such field."), Gone("Not found.")]
)
def test_an_operation_that_cannot_be_probed_blocks_only_its_record(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    (stuck, _), (good, right) = pairs(pair, 2)
    pair.left.edit(stuck, body="new")
    pair.ring("left", stuck)
    once(pair.right, "update", lambda: _raise(Uncertain("no answer")), when="after")
    pair.run("live")
    monkeypatch.setattr(recover, "_probe", lambda *_: _raise(error))
    pair.left.edit(good, body="new")
    pair.ring("left", good)
    assert pair.run("live").state == "done"
    assert pair.right.value(right, "body") == "new"
    operation = Operation.objects.get(state="uncertain")
    assert operation.not_before > timezone.now() + timedelta(minutes=4) and operation.claim


def test_a_probe_that_is_asked_to_wait_waits_alone(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    (stuck, _), (good, right) = pairs(pair, 2)
    pair.left.edit(stuck, body="new")
    pair.ring("left", stuck)
    once(pair.right, "update", lambda: _raise(Uncertain("no answer")), when="after")
    pair.run("live")
    monkeypatch.setattr(recover, "_probe", lambda *_: _raise(RateLimited("Its job is queued.", after=30)))
    pair.left.edit(good, body="new")
    pair.ring("left", good)
    assert pair.run("live").state == "done"
    assert pair.right.value(right, "body") == "new"
    operation = Operation.objects.get(state="uncertain")
    assert timezone.now() + timedelta(seconds=25) < operation.not_before < timezone.now() + timedelta(seconds=35)


def _raise(error: Exception) -> None:
    raise error


def test_a_connector_that_breaks_off_in_the_middle_of_a_write_is_looked_up(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    once(pair.right, "update", lambda: _raise(KeyError("strange answer")), when="after")
    pair.run("live")
    assert Operation.objects.get().state == "uncertain"
    pair.quiet()
    assert Operation.objects.get().state == "confirmed"


@pytest.mark.parametrize("error", [Refused("There is no such project."), NotAllowed("No right to browse.")])
def test_what_is_refused_to_one_mapping_does_not_stop_the_others_of_the_connection(
    pair: Pair, error: Exception
) -> None:
    pair.linked()
    pair.left.before = lambda verb, ids: _raise(error) if verb == "list" else None
    assert pair.run().state == "failed"
    connection = Connection.objects.get(name="Left")
    assert (connection.state, connection.retry_after) == ("ok", None)
    assert Run.objects.first().state == "failed"
    assert (pair.mapping.pk, "live") not in schedule.due_mappings(), "nothing changes by asking again every second"


def test_a_call_that_fails_does_not_shorten_what_the_vendor_asked_for_meanwhile(pair: Pair) -> None:
    pair.linked()
    asked = timezone.now() + timedelta(hours=1)

    def cut() -> None:
        Connection.objects.filter(name="Left").update(retry_after=asked)  # another worker was told to wait
        raise Retry("cut", after=0)

    once(pair.left, "list", cut)
    assert pair.run().state == "failed"
    assert Connection.objects.get(name="Left").retry_after == asked


# Silent deletions, long lists. -----------------------------------------------------------------------------------


def tells_of_no_deletions(pair: Pair) -> None:
    pair.left.capabilities = replace(pair.left.capabilities, lists_deletions=False)


def test_a_deletion_that_no_list_tells_is_found_by_a_complete_listing_once_an_hour(pair: Pair) -> None:
    tells_of_no_deletions(pair)
    made = pairs(pair, 3)
    gone = made[1][0]
    del pair.left.records[gone]
    pair.run()
    assert not pair.open_conflicts(), "the last listing was a moment ago"
    Cursor.objects.filter(side="left").update(swept_at=timezone.now() - timedelta(hours=2))
    pair.quiet()
    assert [one.link.left_id for one in pair.open_conflicts()] == [gone]
    listings = [verb for verb, _ in pair.left.calls].count("list_ids")
    pair.run()
    assert [verb for verb, _ in pair.left.calls].count("list_ids") == listings
    assert "list_ids" not in [verb for verb, _ in pair.right.calls], "the right lists its deletions"


def test_a_side_that_suddenly_lists_nothing_halts_until_a_person_says_it_is_true(pair: Pair) -> None:
    tells_of_no_deletions(pair)
    pairs(pair, 3)
    pair.left.records.clear()
    Cursor.objects.update(swept_at=None)
    assert pair.run().code == "side_empty"
    state = MappingState.objects.get(mapping=pair.mapping)
    assert (state.halt, state.halt_reason["code"]) == ("brake", "side_empty")
    assert state.halt_reason["params"]["links"] == 3 and not pair.open_conflicts()
    release(pair.mapping, 3, "the project was emptied", "ana")
    pair.quiet()
    assert len(pair.open_conflicts()) == 3
    Allowance.objects.update(expires_at=timezone.now())
    Cursor.objects.update(swept_at=None)
    assert pair.run().code != "side_empty", "what is known to be gone is not missed every hour"


def test_a_side_whose_records_all_left_the_scope_is_not_empty(pair: Pair) -> None:
    tells_of_no_deletions(pair)
    pair.publish(left={**pair.mapping.published.document["left"], "scope": {"status": "open"}})
    left, _, link = pair.linked(status="open")
    pair.left.edit(left, status="closed")
    pair.ring("left", left)
    pair.run("live")
    link.refresh_from_db()
    assert link.out_of_scope == "left" and left in pair.left.alive()
    Cursor.objects.update(swept_at=None)
    assert pair.run().code != "side_empty"


def test_live_edits_do_not_wait_for_a_long_list(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right, _ = pair.linked(body="b")
    for number in range(120):
        pair.left.add(title=f"T{number}", ref=f"N{number}")
    Cursor.objects.filter(side="left").update(watermark=None)
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    seen: list[bool] = []
    real = hints.mark

    def note(mapping_id: int, side: str, ids: Any, *more: Any, **how: Any) -> Any:
        seen.append(pair.right.value(right, "body") == "new")
        return real(mapping_id, side, ids, *more, **how)

    monkeypatch.setattr(hints, "mark", note)
    pair.run()
    assert seen[0] is False and seen[-1] is True, "written between the first page and the last"


def test_a_worker_that_waits_for_a_time_out_is_not_rung_for_every_second(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, update_timeout=60)
    left, _, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    once(pair.right, "update", lambda: MappingState.objects.update(fence=999), when="after")
    pair.run("live")
    MappingState.objects.update(lease_until=None, next_poll_at=timezone.now() + timedelta(minutes=1))
    ChangedRecord.objects.all().delete()
    assert (pair.mapping.pk, "live") in schedule.due_mappings()
    pair.run("live")
    assert (pair.mapping.pk, "live") not in schedule.due_mappings()
    Operation.objects.update(not_before=timezone.now())
    assert (pair.mapping.pk, "live") in schedule.due_mappings()


def test_nothing_is_rung_for_while_a_system_asked_to_wait_or_a_person_is_needed(pair: Pair) -> None:
    left, _, _ = pair.linked()
    pair.ring("left", left)
    assert (pair.mapping.pk, "live") in schedule.due_mappings()
    Connection.objects.filter(name="Left").update(retry_after=timezone.now() + timedelta(minutes=1))
    assert schedule.due_mappings() == []
    Connection.objects.update(retry_after=None, state="sign_in")
    assert schedule.due_mappings(), "the run says why it cannot go on"
    pair.run("live")
    assert schedule.due_mappings() == []
    Connection.objects.update(state="ok")
    assert schedule.due_mappings()


def test_a_dry_run_is_not_taken_for_a_lost_one(pair: Pair) -> None:
    dry = Run.objects.create(mapping=pair.mapping, version=pair.mapping.published, kind="dry")
    pair.run()
    dry.refresh_from_db()
    assert dry.state == "running"
