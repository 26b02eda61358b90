"""Schedules and the pace of polls in the engine: what waits, in which order it goes on, and that nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import ConnectorError, Hint, NotAllowed, Retry
from connections.models import Connection
from sync import jobs, schedule, turns
from sync.models import ChangedRecord, Link, MappingState, Operation
from sync.tests.conftest import Pair
from sync.tests.engine_cases import live, once

pytestmark = pytest.mark.django_db

HALF_HOURLY = {"kind": "every", "minutes": 30}
BY_HAND = {"kind": "manual"}


def state() -> MappingState:
    return MappingState.objects.get()


def closed(pair: Pair, plan: dict[str, Any]) -> None:
    """The pair runs by `plan`, and no turn goes on."""
    pair.publish(schedule=plan)
    turns.begin_due()
    MappingState.objects.update(turn_at=None, next_poll_at=None)


def test_between_its_turns_nothing_is_called_and_hints_wait_in_their_order(pair: Pair) -> None:
    one, other, _ = pair.linked(body="b")
    closed(pair, HALF_HOURLY)
    MappingState.objects.update(next_turn_at=timezone.now() + timedelta(minutes=10))
    pair.left.edit(one, body="new")
    connection = Connection.objects.get(name="Left")
    for _ in range(2):
        jobs.bell(connection.pk, [Hint("thing", one)])
    jobs.bell(connection.pk, [Hint("thing", pair.left.add(title="Two"))])
    waiting = list(ChangedRecord.objects.order_by("pk").values_list("external_id", "counter"))
    pair.left.calls.clear()
    assert schedule.due_mappings() == []
    assert pair.run("live").code == "schedule"
    assert not pair.left.calls
    assert list(ChangedRecord.objects.order_by("pk").values_list("external_id", "counter")) == waiting
    assert waiting == [(one, 2), ("L00002", 1)]
    assert pair.right.value(other, "body") == "b"


def test_a_turn_begins_at_its_time_does_all_that_waits_and_ends(pair: Pair) -> None:
    one, other, _ = pair.linked(body="b")
    pair.publish(schedule=HALF_HOURLY)
    turns.begin_due()  # notes when: a new schedule of this kind begins at once
    turns.begin_due()
    assert state().turn_at is not None and state().next_poll_at is None
    assert state().next_turn_at == pytest.approx(timezone.now() + timedelta(minutes=30), abs=timedelta(seconds=5))
    assert schedule.due_mappings() == [(pair.mapping.pk, "live")]
    pair.left.edit(one, body="new")  # no bell: the lists are read at the beginning of a turn
    for _ in range(4):
        ChangedRecord.objects.filter(attempts=0).update(not_before=timezone.now())
        pair.run("live")
    assert pair.right.value(other, "body") == "new"
    assert state().turn_at is None
    turns.begin_due()
    assert state().turn_at is None and schedule.due_mappings() == []


def test_several_schedulers_begin_a_turn_once(pair: Pair) -> None:
    closed(pair, HALF_HOURLY)
    MappingState.objects.update(next_turn_at=timezone.now() - timedelta(hours=5))
    stale = state()
    turns.begin_due()
    begun = state()
    assert begun.turn_at is not None and begun.next_turn_at > timezone.now(), "turns missed meanwhile are one"
    same = MappingState.objects.filter(pk=stale.pk, turn_rule=stale.turn_rule, next_turn_at=stale.next_turn_at)
    assert not same.exists()
    turns.begin_due()
    assert state().turn_at == begun.turn_at


def test_only_by_hand_means_only_by_hand(pair: Pair) -> None:
    one, other, _ = pair.linked(body="b")
    closed(pair, BY_HAND)
    pair.left.edit(one, body="new")
    pair.ring("left", one)
    turns.begin_due()
    assert state().next_turn_at is None and schedule.due_mappings() == []
    pair.mapping.refresh_from_db()
    turns.begin(pair.mapping)
    assert schedule.due_mappings() == [(pair.mapping.pk, "live")]
    for _ in range(4):
        ChangedRecord.objects.filter(attempts=0).update(not_before=timezone.now())
        pair.run("live")
    assert pair.right.value(other, "body") == "new" and state().turn_at is None


@pytest.mark.parametrize("polled", ["both sides", "what is due"])
def test_a_run_asked_for_while_lists_are_read_reads_both_once_more(pair: Pair, polled: str) -> None:
    one, other, _ = pair.linked(body="b")
    closed(pair, BY_HAND)
    pair.mapping.refresh_from_db()
    turns.begin(pair.mapping)
    if polled == "what is due":
        MappingState.objects.update(next_poll_at=timezone.now())

    def meanwhile() -> None:
        pair.left.edit(one, body="new")  # after the left list was read
        turns.begin(pair.mapping)

    once(pair.right, "list", meanwhile)
    for _ in range(6):
        ChangedRecord.objects.filter(attempts=0).update(not_before=timezone.now())
        if schedule.due_mappings():
            pair.run("live")
    assert pair.right.value(other, "body") == "new" and state().turn_at is None


def test_a_turn_waits_for_what_a_write_without_an_answer_led_to(pair: Pair) -> None:
    _, _, link = pair.linked(body="b")
    closed(pair, BY_HAND)
    pair.mapping.refresh_from_db()
    turns.begin(pair.mapping)
    late = timezone.now() + timedelta(seconds=30)
    Operation.objects.create(
        mapping=pair.mapping,
        version=pair.mapping.published,
        link=link,
        side="right",
        state="uncertain",
        not_before=late,
    )
    pair.run("live")
    assert state().turn_at is not None
    Operation.objects.update(state="confirmed")
    pair.run("live")
    assert state().turn_at is None


@pytest.mark.parametrize(
    ("looks", "sent", "goes_on"),
    [(0, timedelta(minutes=5), True), (0, timedelta(days=3), False), (1, timedelta(days=3), True)],
    ids=["sent lately", "never looked up", "about to be told"],
)
def test_a_write_that_cannot_be_looked_up_keeps_no_turn_open_for_ever(
    pair: Pair, looks: int, sent: timedelta, goes_on: bool
) -> None:
    _, _, link = pair.linked(body="b")
    closed(pair, BY_HAND)
    now = timezone.now()
    MappingState.objects.update(turn_at=now - timedelta(days=4))
    told = {"state": "uncertain", "claimed_at": now - sent, "result": {"looks": looks} if looks else {}}
    Operation.objects.create(mapping=pair.mapping, version=pair.mapping.published, link=link, side="right", **told)
    turns.end(state())
    assert (state().turn_at is not None) == goes_on


def test_a_turn_ends_though_people_go_on_editing(pair: Pair) -> None:
    one, _, _ = pair.linked(body="b")
    closed(pair, BY_HAND)
    MappingState.objects.update(turn_at=timezone.now() - turns.LONGEST - timedelta(minutes=1))
    pair.ring("left", one)
    turns.end(state())
    assert state().turn_at is None


def test_a_failing_record_keeps_no_turn_open(pair: Pair) -> None:
    one, _, _ = pair.linked(body="b")
    closed(pair, BY_HAND)
    MappingState.objects.update(turn_at=timezone.now())
    pair.ring("left", one)
    ChangedRecord.objects.update(attempts=3)
    turns.end(state())
    assert state().turn_at is None


def hours(begin: int, end: int) -> dict[str, Any]:
    """Every day from `begin` to `end` hours from now."""
    at = [f"{datetime.now(UTC) + timedelta(hours=one):%H:%M}" for one in (begin, end)]
    return {"kind": "hours", "days": list(range(7)), "from": at[0], "to": at[1]}


def test_within_its_hours_it_is_live_and_outside_it_stands_still(pair: Pair) -> None:
    one, other, _ = pair.linked(body="b")
    pair.left.edit(one, body="new")
    pair.ring("left", one)
    pair.publish(schedule=hours(2, 3))
    assert schedule.due_mappings() == [] and pair.run("live").code == "schedule"
    pair.publish(schedule=hours(-1, 1))
    assert schedule.due_mappings() == [(pair.mapping.pk, "live")]
    live(pair)
    assert pair.right.value(other, "body") == "new"


def test_a_first_run_comes_before_any_schedule(pair: Pair) -> None:
    closed(pair, BY_HAND)
    MappingState.objects.update(approved_at=None)
    assert schedule.due_mappings() == [(pair.mapping.pk, "bulk")]
    assert pair.run("live").state == "approval"


def test_a_new_schedule_takes_the_place_of_the_old_one(pair: Pair) -> None:
    closed(pair, {"kind": "cron", "expression": "0 0 1 1 *"})
    assert state().next_turn_at > timezone.now()
    pair.publish(schedule=HALF_HOURLY)
    turns.begin_due()
    assert state().next_turn_at <= timezone.now()
    pair.publish(schedule={})
    assert schedule.due_mappings(), "live again"


def test_a_schedule_that_was_in_force_before_begins_no_turn_of_a_time_in_between(pair: Pair) -> None:
    yearly = {"kind": "cron", "expression": "0 3 1 1 *"}
    closed(pair, yearly)
    pair.publish(schedule={})
    turns.begin_due()
    assert (state().turn_rule, state().next_turn_at) == ("", None)
    MappingState.objects.filter(next_turn_at__isnull=False).update(next_turn_at=timezone.now() - timedelta(hours=9))
    pair.publish(schedule=yearly)
    turns.begin_due()
    turns.begin_due()
    assert state().turn_at is None and state().next_turn_at > timezone.now()


def test_a_pause_forgets_no_turn(pair: Pair) -> None:
    closed(pair, {"kind": "cron", "expression": "0 3 1 1 *"})
    noted = state().next_turn_at
    pair.mapping.state = "paused"
    pair.mapping.save()
    turns.begin_due()
    assert state().next_turn_at == noted is not None


# The pace of polls. ----------------------------------------------------------------------------------------------


def poll_times() -> list[Any]:
    """Seconds until the next poll of the left and of the right side: about, since some have passed since the run."""
    row, now = state(), timezone.now()
    return [pytest.approx((moment - now).total_seconds(), abs=7) for moment in (row.left_poll_at, row.right_poll_at)]


def bells(pair: Pair, left: str, right: str) -> None:
    pair.left.capabilities = replace(pair.left.capabilities, bell=left)
    pair.right.capabilities = replace(pair.right.capabilities, bell=right)


def test_each_side_is_polled_at_its_own_pace(pair: Pair) -> None:
    pair.linked(body="b")
    pair.publish(poll_seconds=15, poll_seconds_idle=60)
    bells(pair, "webhook", "none")
    Connection.objects.filter(name="Left").update(bell_seen_at=timezone.now())
    MappingState.objects.update(changed_at=timezone.now() - timedelta(minutes=5), next_poll_at=None)
    pair.run("live")
    assert poll_times() == [60, 30]
    pair.left.calls.clear()
    pair.right.calls.clear()
    now = timezone.now()
    MappingState.objects.update(next_poll_at=now, right_poll_at=now)
    pair.run("live")
    assert not [verb for verb, _ in pair.left.calls if verb == "list"]
    assert [verb for verb, _ in pair.right.calls if verb == "list"]
    assert state().next_poll_at == min(state().left_poll_at, state().right_poll_at)


def test_an_edit_that_a_bell_did_not_tell_of_makes_its_side_polled_more_often(pair: Pair) -> None:
    one, _, _ = pair.linked(body="b")
    pair.publish(poll_seconds=15, poll_seconds_idle=60)
    bells(pair, "webhook", "none")
    Connection.objects.update(bell_seen_at=timezone.now() - timedelta(minutes=10))
    pair.left.now = lambda: datetime.now(UTC) + timedelta(seconds=1)
    pair.left.edit(one, body="new")
    Connection.objects.filter(name="Left").update(clock_offset=60)  # it happened a minute ago by their clock
    MappingState.objects.update(next_poll_at=None)
    pair.run("live")
    assert Connection.objects.get(name="Left").bell_missed_at is not None
    assert Connection.objects.get(name="Right").bell_missed_at is None
    assert poll_times()[0] == 15


def test_an_edit_that_a_bell_told_of_or_may_still_tell_of_was_not_missed(pair: Pair) -> None:
    one, _, _ = pair.linked(body="b")
    bells(pair, "webhook", "none")
    pair.left.now = lambda: datetime.now(UTC) + timedelta(seconds=1)
    pair.left.edit(one, body="new")
    pair.ring("left", one)
    MappingState.objects.update(next_poll_at=None)
    Connection.objects.filter(name="Left").update(clock_offset=60)
    pair.run("live")
    assert Connection.objects.get(name="Left").bell_missed_at is None
    Connection.objects.filter(name="Left").update(clock_offset=0)
    pair.left.edit(one, body="newer")
    ChangedRecord.objects.all().delete()
    MappingState.objects.update(next_poll_at=None)
    pair.run("live")
    assert Connection.objects.get(name="Left").bell_missed_at is None
    assert Link.objects.get().left_bases


def test_people_at_work_are_polled_for_at_the_shortest_interval(pair: Pair) -> None:
    one, _, _ = pair.linked(body="b")
    pair.publish(poll_seconds=15, poll_seconds_idle=60)
    MappingState.objects.update(changed_at=timezone.now() - timedelta(days=1), next_poll_at=None)
    pair.run("live")
    assert poll_times()[0] == 60
    pair.left.edit(one, body="new")
    MappingState.objects.update(next_poll_at=None)
    live_run = pair.run("live")
    assert live_run.state == "done" and poll_times()[0] == 15
    assert timezone.now() - state().changed_at < timedelta(seconds=5)


def test_a_version_from_before_there_was_an_idle_pace_is_polled_at_one(pair: Pair) -> None:
    MappingState.objects.update(changed_at=None, next_poll_at=None)
    pair.run("live")
    assert poll_times()[0] == 15


@pytest.mark.parametrize("asked", ["before", "meanwhile"])
@pytest.mark.parametrize("error", [Retry("No route."), NotAllowed("No such list.")])
def test_a_poll_that_fails_leaves_both_sides_due_to_whoever_asked(
    pair: Pair, error: ConnectorError, asked: str
) -> None:
    def fail() -> None:
        if asked == "meanwhile":
            turns.begin(pair.mapping)
        raise error

    now = timezone.now()
    due = None if asked == "before" else now
    MappingState.objects.update(next_poll_at=due, left_poll_at=now + timedelta(hours=1), right_poll_at=now)
    once(pair.right, "list", fail)
    assert pair.run("live").state == "failed"
    Connection.objects.update(state=Connection.State.OK, retry_after=None)
    MappingState.objects.filter(next_poll_at__gt=timezone.now()).update(next_poll_at=timezone.now())  # a pause passes
    pair.left.calls.clear()
    pair.run("live")
    assert [verb for verb, _ in pair.left.calls if verb == "list"]
