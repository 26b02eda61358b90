"""Lists, cursors, hints and bells: what the engine hears of, and that it hears of everything."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connections.connectors.base import Hint
from connections.connectors.memory import US, MemoryConnector
from connections.models import Connection
from sync import engine, hints, jobs, read
from sync.lease import LeaseLost
from sync.models import ChangedRecord, Cursor, Link, MappingState, Operation
from sync.read import since_of
from sync.tests.conftest import Pair
from sync.tests.engine_cases import live, no_answer, once, ours

pytestmark = pytest.mark.django_db


# Lists and cursors. --------------------------------------------------------------------------------------------------


def test_a_worker_that_loses_its_lease_while_it_lists_moves_no_cursor(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    before = Cursor.objects.get(side="left").watermark
    pair.left.edit(left, body="new")
    once(pair.left, "list", lambda: MappingState.objects.update(fence=999), "after")
    assert pair.run().state == "lost"
    assert Cursor.objects.get(side="left").watermark == before
    assert not ChangedRecord.objects.exists()
    MappingState.objects.update(lease_until=None)
    pair.quiet()
    assert pair.right.value(right, "body") == "new"


def test_a_list_that_breaks_off_is_read_again_from_where_it_began(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(60):
        pair.left.add(title=f"T{number}")
    real, calls = read.mark_changed, [0]

    def second_page_breaks_off(*args: Any) -> None:
        calls[0] += 1
        if calls[0] == 2:
            raise LeaseLost("stolen")
        real(*args)

    monkeypatch.setattr(read, "mark_changed", second_page_breaks_off)
    assert pair.run().state == "lost"
    assert not Cursor.objects.get(side="left").watermark


def test_a_change_that_shows_in_lists_late_is_listed_by_a_look_further_back(pair: Pair) -> None:
    """Stamped now, listed half a minute later: by then the polls have passed it by."""
    began, passed = timezone.now(), [0.0]
    pair.left.now = lambda: began + timedelta(seconds=passed[0])
    pair.left.capabilities = replace(pair.left.capabilities, lookback=60, overlap=5)
    left, right, _ = pair.linked(body="b")
    passed[0] = 100
    pair.left.lag = 30
    pair.left.edit(left, body="late")
    for passed[0] in (110, 120, 135):
        pair.run()
    assert pair.right.value(right, "body") == "b", "the stamp is older than what a poll re-reads"
    Cursor.objects.filter(side="left").update(deep_at=timezone.now() - timedelta(seconds=61))
    pair.quiet()
    assert pair.right.value(right, "body") == "late"


def test_a_look_further_back_begins_before_anything_that_may_show_only_now(pair: Pair) -> None:
    connector = MemoryConnector.__new__(MemoryConnector)
    connector.capabilities = replace(pair.left.capabilities, lookback=60, overlap=5)  # type: ignore[misc]
    now = timezone.now()
    cursor = Cursor(watermark="2026-01-01T00:10:00Z", deep_at=now - timedelta(seconds=59))
    assert since_of(cursor, connector, now) == ("2026-01-01T00:09:55.000000Z", False)
    cursor.deep_at = now - timedelta(seconds=60)
    assert since_of(cursor, connector, now) == ("2026-01-01T00:08:00.000000Z", True)


def test_a_time_stamp_is_no_version_two_edits_can_share_one(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    pair.ring("left", left)
    pair.ring("right", right)
    pair.quiet()
    assert Link.objects.get().left_settled, "a read in which all was agreed"
    record = pair.left.records[left]
    pair.left.records[left] = replace(record, values={**record.values, "body": "in the same second"})
    pair.run()
    pair.quiet()
    assert pair.right.value(right, "body") == "in the same second"


@pytest.mark.parametrize("promise", [{"exact_version": True}, {"lists_changes": False}], ids=["exact", "digest"])
def test_an_exact_version_or_a_digest_that_is_settled_is_not_read_again(pair: Pair, promise: dict[str, bool]) -> None:
    pair.left.capabilities = replace(pair.left.capabilities, **promise)
    left, right, _ = pair.linked(body="b")
    pair.ring("left", left)
    pair.quiet()
    gets = len([verb for verb, _ in pair.left.calls if verb == "get"])
    pair.run()
    assert len([verb for verb, _ in pair.left.calls if verb == "get"]) == gets
    pair.left.edit(left, body="new")
    pair.quiet()
    assert pair.right.value(right, "body") == "new"


@pytest.mark.parametrize("promise", [{"exact_version": True}, {"lists_changes": False}], ids=["exact", "digest"])
@pytest.mark.parametrize("made", ["update", "create"])
def test_our_own_write_in_a_list_is_not_read_again(pair: Pair, promise: dict[str, bool], made: str) -> None:
    """⚑ What was read back settles the record as another read would."""
    pair.right.capabilities = replace(pair.right.capabilities, **promise)
    left = pair.left.add(title="One", body="b")
    if made == "update":
        pair.quiet()
        pair.left.edit(left, body="ours")
    pair.quiet()
    right = str(Link.objects.get(left_id=left).right_id)
    gets = [verb for verb, _ in pair.right.calls].count("get")
    pair.run()
    assert [verb for verb, _ in pair.right.calls].count("get") == gets
    pair.right.edit(right, body="theirs")
    pair.quiet()
    assert pair.left.value(left, "body") == "theirs"


def test_what_a_read_back_shows_of_others_is_never_settled(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, exact_version=True)
    left, right, _ = pair.linked(body="b")
    once(pair.right, "update", lambda: pair.right.edit(right, status="theirs"))
    pair.left.edit(left, body="ours")
    pair.quiet()
    assert pair.left.value(left, "status") == "theirs"


def test_a_write_beside_an_edit_that_waits_settles_nothing(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, exact_version=True)
    left, right, _ = pair.linked(body="b", status="open")
    pair.left.hidden = {"status"}
    pair.right.edit(right, status="waits")
    pair.left.edit(left, body="ours")
    for _ in range(3):
        pair.run()
    assert Link.objects.get().right_settled == ""


def test_a_field_that_was_never_agreed_is_not_settled_by_a_write_beside_it(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, exact_version=True)
    left, right, link = pair.linked(body="b", status="open")
    for side in ("left", "right"):
        link.bases(side).pop("status")
    link.save()
    pair.left.hidden = {"status"}
    pair.left.edit(left, body="ours")
    pair.run()
    assert pair.right.value(right, "body") == "ours" and Link.objects.get().right_settled == ""


def test_a_record_older_than_what_was_seen_decides_nothing(pair: Pair) -> None:
    """A replica that lags shows the state before our last read: that is nobody's edit."""
    left, right, _ = pair.linked(body="b")
    old = pair.left.records[left]
    pair.left.edit(left, body="new")
    pair.quiet()
    new = pair.left.records[left]
    pair.left.records[left] = old
    pair.ring("left", left)
    pair.run("live")
    assert pair.right.value(right, "body") == "new" and ours(pair.right, "body") == ["new"]
    assert ChangedRecord.objects.filter(side="left", external_id=left).exists(), "it is read again"
    pair.left.records[left] = new
    live(pair)
    assert pair.both(left, right, "body") == ("new", "new") and not ChangedRecord.objects.exists()


# Hints and bells. ----------------------------------------------------------------------------------------------------


def test_what_rings_between_the_read_and_the_commit_is_looked_at_again(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    pair.ring("left", left)

    def edited() -> None:
        pair.left.edit(left, body="new")
        pair.ring("left", left)

    once(pair.left, "get", edited, "after")
    live(pair)
    assert pair.right.value(right, "body") == "new"


def test_what_rang_after_the_last_look_of_a_run_is_rung_for(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    left, _, _ = pair.linked()
    woken: list[tuple[int, str]] = []
    real = engine.run

    def rung_at_the_end(*args: Any, **kwargs: Any) -> Any:
        outcome = real(*args, **kwargs)
        pair.ring("left", left)
        return outcome

    monkeypatch.setattr(engine, "run", rung_at_the_end)
    monkeypatch.setattr(jobs, "wake", lambda mapping_id, queue="live": woken.append((mapping_id, queue)))
    assert jobs.run_mapping(pair.mapping.pk) == "done"
    assert woken == [(pair.mapping.pk, "live")]


def test_an_edit_that_waits_for_an_open_operation_waits_for_seconds(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, update_timeout=60)
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="one")
    once(pair.right, "update", no_answer, "after")
    pair.run()
    assert Operation.objects.get().state == "uncertain"
    pair.left.edit(left, body="two")
    pair.ring("left", left)
    pair.run("live")
    hint = ChangedRecord.objects.get(side="left")
    assert hint.not_before - timezone.now() < timedelta(seconds=10)
    assert pair.right.value(right, "body") == "one", "a link with an open operation is not planned"


def waiting() -> ChangedRecord:
    return ChangedRecord.objects.get()


def test_a_hint_that_failed_keeps_waiting_though_it_rings_again(pair: Pair) -> None:
    """Else a record that is edited every second would be tried every second."""
    pair.ring("left", "L1")
    hints.fail(waiting(), "It cannot be read.")
    hints.fail(waiting(), "It cannot be read.")
    until = waiting().not_before
    assert until > timezone.now()
    pair.ring("left", "L1")
    assert (waiting().not_before, waiting().attempts, waiting().counter) == (until, 2, 2)
    assert waiting().error == "It cannot be read."


def test_a_hint_that_did_not_fail_is_looked_at_when_the_first_of_its_rings_wants_it(pair: Pair) -> None:
    now = timezone.now()
    for seconds in (60, 5, 30):
        pair.ring("left", "L1", not_before=now + timedelta(seconds=seconds))
    assert waiting().not_before == now + timedelta(seconds=5)


@pytest.mark.parametrize(
    ("lane", "ring", "lane_then"),
    [
        (hints.Lane.LIVE, hints.Lane.BACKFILL, hints.Lane.LIVE),
        (hints.Lane.LIVE, hints.Lane.RETRY, hints.Lane.LIVE),
        (hints.Lane.BACKFILL, hints.Lane.LIVE, hints.Lane.LIVE),
        (hints.Lane.RETRY, hints.Lane.LIVE, hints.Lane.LIVE),
    ],
)
def test_of_two_rings_the_live_one_says_where_a_hint_waits(pair: Pair, lane: int, ring: int, lane_then: int) -> None:
    pair.ring("left", "L1", lane=lane)
    pair.ring("left", "L1", lane=ring)
    assert waiting().lane == lane_then


@pytest.mark.parametrize("told_first", [True, False])
def test_that_a_record_was_deleted_is_not_forgotten_over_another_ring(pair: Pair, told_first: bool) -> None:
    """The system does not tell gone from hidden: the ring alone says that it was deleted."""
    pair.right.capabilities = replace(pair.right.capabilities, not_found_means_gone=False)
    _, right, link = pair.linked(body="b")
    del pair.right.records[right]
    pair.ring("right", right, deleted=told_first)
    pair.ring("right", right, deleted=not told_first)
    live(pair)
    link.refresh_from_db()
    assert link.deleted_right


def told(pair: Pair, external_id: str, **more: Any) -> None:
    """A delivery about a record of the right side, by our account, reaches us."""
    hint = Hint("thing", external_id, **{"own_account": True, "verified": True, **more})
    jobs.bell(Connection.objects.get(name="Right").pk, [hint])


@pytest.fixture
def written(pair: Pair) -> tuple[str, str]:
    """A pair of which we have just written the right side."""
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    live(pair)
    assert ours(pair.right, "body") == ["new"] and not ChangedRecord.objects.exists()
    return left, right


def test_a_verified_delivery_that_tells_exactly_what_we_wrote_costs_no_call(
    pair: Pair, written: tuple[str, str]
) -> None:
    _, right = written
    told(pair, right, changes={"body": "new"})
    assert not ChangedRecord.objects.exists()


def test_a_person_who_uses_our_account_is_heard(pair: Pair, written: tuple[str, str]) -> None:
    left, right = written
    pair.right.edit(right, by=US, body="by hand")
    told(pair, right, changes={"body": "by hand"})
    live(pair)
    assert pair.left.value(left, "body") == "by hand"


def test_an_unverified_delivery_silences_nothing(pair: Pair, written: tuple[str, str]) -> None:
    _, right = written
    told(pair, right, changes={"body": "new"}, verified=False)
    assert ChangedRecord.objects.filter(side="right", external_id=right).exists()


def test_a_delivery_that_nothing_proves_discards_no_hint_whatever_it_says_of_itself(
    pair: Pair, written: tuple[str, str]
) -> None:
    left, right = written
    pair.right.edit(right, by="ana", body="by a person")
    pair.ring("right", right)
    for claim in ({"created": True}, {"version": Link.objects.get().right_version}, {"changes": {"body": "new"}}):
        told(pair, right, verified=False, **claim)
    hint = ChangedRecord.objects.get(side="right", external_id=right)
    assert hint.proof is None and hint.counter == 4
    live(pair)
    assert pair.left.value(left, "body") == "by a person"


def test_a_hint_that_rang_before_is_not_dropped_by_a_proved_echo(pair: Pair, written: tuple[str, str]) -> None:
    left, right = written
    pair.right.edit(right, by="ana", body="by a person")
    pair.ring("right", right)
    told(pair, right, changes={"body": "new"})  # our own write coming back, after somebody's edit rang
    live(pair)
    assert pair.left.value(left, "body") == "by a person"


def test_many_own_writes_that_come_back_together_are_proved_in_one_statement(pair: Pair) -> None:
    ids = []
    for number in range(6):
        left, right, _ = pair.linked(body="b")
        pair.left.edit(left, body=f"new {number}")
        pair.ring("left", left)
        ids.append(right)
    live(pair)
    right = Connection.objects.get(name="Right").pk
    counts = []
    for some in (range(1), range(1, 6)):
        rung = [Hint("thing", ids[n], own_account=True, verified=True, changes={"body": f"new {n}"}) for n in some]
        with CaptureQueriesContext(database) as queries:
            jobs.bell(right, rung)
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert not ChangedRecord.objects.exists()
