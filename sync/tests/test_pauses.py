"""A pause or a maintenance window loses nothing: hints are kept, in order, nothing is read or written meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import Hint
from connections.models import Connection
from connections.pauses import pause_connection, resume_connection
from mappings.models import Mapping
from mappings.pauses import pause_mapping, resume_mapping
from sync import hints, jobs, schedule
from sync.models import AuditEntry, ChangedRecord, Link, MappingState
from sync.tests.conftest import Pair
from sync.tests.test_engine_running import edit_all, once, pairs
from sync.wording import sentence

pytestmark = pytest.mark.django_db


def bell(pair: Pair, side: str, *ids: str, deleted: bool = False) -> None:
    """The side's system tells of these records."""
    told = [Hint("thing", external_id, verified=True, deleted=deleted) for external_id in ids]
    jobs.bell(pair.mapping.connection(side).pk, told)


def window(start: timedelta, end: timedelta, note: str = "upgrade") -> dict[str, Any]:
    now = timezone.now()
    return {"id": "w", "start": (now + start).isoformat(), "end": (now + end).isoformat(), "note": note}


OPEN = (timedelta(hours=-1), timedelta(hours=1))


def touched(pair: Pair) -> int:
    return len(pair.left.calls) + len(pair.right.calls)


# What happens while it stands still waits, in order. -------------------------------------------------------------


def test_what_both_sides_do_during_a_pause_is_kept_and_only_edits_on_both_sides_conflict(
    pair: Pair, admin_user: Any
) -> None:
    made = pairs(pair, 4)
    assert pause_mapping(pair.mapping, "month-end closing", None, admin_user)
    before = touched(pair)
    pair.left.edit(made[0][0], body="left alone")
    bell(pair, "left", made[0][0])
    pair.right.edit(made[1][1], body="right alone")
    bell(pair, "right", made[1][1])
    pair.left.edit(made[2][0], body="L")
    pair.right.edit(made[2][1], body="R")
    bell(pair, "left", made[2][0])
    bell(pair, "right", made[2][1])
    pair.left.remove(made[3][0])
    bell(pair, "left", made[3][0], deleted=True)
    new = pair.left.add(title="new", ref="new")
    bell(pair, "left", new)
    rung = list(ChangedRecord.objects.order_by("first_rung_at").values_list("external_id", flat=True))
    assert rung == [made[0][0], made[1][1], made[2][0], made[2][1], made[3][0], new], "all of them, in order"
    assert pair.run("live").state == pair.run("manual").state == "inactive"
    assert touched(pair) == before, "nothing is read or written while it is paused"
    assert resume_mapping(Mapping.objects.get(pk=pair.mapping.pk), admin_user)
    pair.mapping.refresh_from_db()
    pair.quiet()
    assert pair.both(*made[0], "body") == ("left alone", "left alone")
    assert pair.both(*made[1], "body") == ("right alone", "right alone")
    assert pair.both(*made[2], "body") == ("L", "R")
    twin = Link.objects.get(left_id=new).right_id
    assert pair.right.value(twin, "title") == "new"
    assert {(one.kind, one.rule_id) for one in pair.open_conflicts()} == {("field", "body"), ("delete_update", "")}


def test_hints_of_a_pause_are_looked_at_in_the_order_in_which_they_came(pair: Pair, admin_user: Any) -> None:
    made = pairs(pair, 5)
    pause_mapping(pair.mapping, "moving house", None, admin_user)
    order = [made[index][0] for index in (3, 0, 4, 1, 2)]
    for number, external_id in enumerate(order):
        pair.left.edit(external_id, body=f"edit {number}")
        bell(pair, "left", external_id)
    ChangedRecord.objects.update(not_before=timezone.now())  # those collected for a second are due as well
    assert [hint.external_id for hint in hints.due(pair.mapping.pk)] == order
    resume_mapping(Mapping.objects.get(pk=pair.mapping.pk), admin_user)
    pair.quiet()
    assert [pair.right.value(right, "body") for _, right in made] == ["edit 1", "edit 3", "edit 4", "edit 0", "edit 2"]


def test_bells_of_a_draft_that_never_ran_are_left_alone(pair: Pair) -> None:
    Mapping.objects.update(state=Mapping.State.DRAFT)
    bell(pair, "left", pair.left.add(title="x"))
    assert not ChangedRecord.objects.exists()


def test_no_poll_is_rung_while_a_mapping_or_one_of_its_connections_stands_still(pair: Pair, admin_user: Any) -> None:
    pairs(pair, 1)
    MappingState.objects.update(next_poll_at=None)
    rung = (pair.mapping.pk, "live")
    assert schedule.due_mappings() == [rung]
    right = pair.mapping.right_connection
    pause_connection(right, "their upgrade", None, admin_user)
    assert schedule.due_mappings() == []
    resume_connection(right, admin_user)
    assert schedule.due_mappings() == [rung]
    Mapping.objects.update(windows=[window(*OPEN)])
    assert schedule.due_mappings() == []
    Mapping.objects.update(windows=[window(timedelta(hours=1), timedelta(hours=2))])
    assert schedule.due_mappings() == [rung]


# A run that is under way notices. --------------------------------------------------------------------------------


def stop(pair: Pair, how: str, user: Any) -> None:
    right = Connection.objects.get(name="Right")
    if how == "mapping":
        pause_mapping(pair.mapping, "stop", None, user)
    elif how == "connection":
        pause_connection(right, "stop", None, user)
    elif how == "mapping window":
        Mapping.objects.update(windows=[window(*OPEN)])
    else:
        Connection.objects.filter(pk=right.pk).update(windows=[window(*OPEN)])


def go(pair: Pair, user: Any) -> None:
    Mapping.objects.update(windows=[])
    Connection.objects.update(windows=[])
    resume_mapping(Mapping.objects.get(pk=pair.mapping.pk), user)
    resume_connection(Connection.objects.get(name="Right"), user)


@pytest.mark.parametrize("how", ["mapping", "connection", "mapping window", "connection window"])
def test_a_pause_in_the_middle_of_a_batch_stops_before_the_next_send(pair: Pair, how: str, admin_user: Any) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, concurrency=1)
    made = pairs(pair, 12)
    edit_all(pair, made, body="new")
    once(pair.right, "update", lambda: stop(pair, how, admin_user))
    pair.run("live")
    assert [verb for verb, _ in pair.right.calls].count("update") == 1
    assert ChangedRecord.objects.filter(side="left").count() == 11, "what was not sent waits"
    calls = touched(pair)
    pair.run("live")
    assert touched(pair) == calls
    go(pair, admin_user)
    pair.quiet()
    assert all(pair.right.value(right, "body") == "new" for _, right in made)


@pytest.mark.parametrize("how", ["mapping", "connection window"])
def test_a_pause_between_two_pages_of_a_list_stops_the_listing_which_is_made_again(
    pair: Pair, how: str, admin_user: Any
) -> None:
    pair.quiet()
    ids = [pair.left.add(title=f"T{n}", ref=f"R{n}") for n in range(120)]
    once(pair.left, "list", lambda: stop(pair, how, admin_user), when="after")
    assert pair.run().state == "waiting"
    assert not pair.right.records and ChangedRecord.objects.count() == 50, "one page was taken over"
    go(pair, admin_user)
    pair.publish(brakes={"create": [1000, 1.0]})
    pair.quiet(rounds=20)
    assert set(Link.objects.values_list("left_id", flat=True)) == set(ids)


# Ended by the clock. ---------------------------------------------------------------------------------------------


def test_a_pause_until_a_time_ends_by_itself_and_the_log_says_so(pair: Pair, admin_user: Any) -> None:
    soon = timezone.now() + timedelta(hours=1)
    pause_mapping(pair.mapping, "closing", soon, admin_user)
    pause_connection(pair.mapping.right_connection, "upgrade", soon, admin_user)
    schedule.end_pauses()
    assert Mapping.objects.get().state == "paused" and Connection.objects.get(name="Right").state == "paused"
    past = timezone.now() - timedelta(seconds=1)
    Mapping.objects.update(paused_until=past)
    Connection.objects.filter(name="Right").update(paused_until=past)
    schedule.end_pauses()
    schedule.end_pauses()
    mapping, right = Mapping.objects.get(), Connection.objects.get(name="Right")
    assert (mapping.state, mapping.pause_reason, mapping.paused_until) == ("active", "", None)
    assert (right.state, right.state_reason, right.paused_until) == ("untested", "", None)
    told = list(AuditEntry.objects.filter(action="config").order_by("pk").values_list("code", "actor_kind"))
    assert told == [
        ("mapping_paused_until", "person"),
        ("connection_paused_until", "person"),
        ("mapping_resumed_by_clock", "system"),
        ("connection_resumed_by_clock", "system"),
    ]


def test_the_clock_does_not_end_a_pause_without_an_end(pair: Pair, admin_user: Any) -> None:
    pause_mapping(pair.mapping, "for good", None, admin_user)
    pause_connection(pair.mapping.right_connection, "for good", None, admin_user)
    schedule.end_pauses()
    assert not resume_connection(Connection.objects.get(name="Right")), "only a person"
    assert Mapping.objects.get().state == "paused"


def test_the_reason_of_a_pause_is_audited_in_words(pair: Pair, admin_user: Any) -> None:
    pause_mapping(pair.mapping, "month-end closing", None, admin_user)
    assert not pause_mapping(pair.mapping, "another reason", None, admin_user), "it is paused already"
    entry = AuditEntry.objects.get(code="mapping_paused_for")
    assert "month-end closing" in sentence(entry.code, entry.params) and entry.actor == admin_user.get_username()


def test_within_a_window_nothing_is_called_and_it_starts_again_by_itself(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right, _ = pair.linked(body="b")
    connection = pair.mapping.left_connection
    Connection.objects.filter(pk=connection.pk).update(windows=[window(*OPEN)])
    pair.left.edit(left, body="new")
    bell(pair, "left", left)
    calls = touched(pair)
    assert pair.run("live").state == "waiting" and touched(pair) == calls
    assert schedule.due_mappings() == []
    later = timezone.now() + timedelta(hours=1, seconds=1)
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    assert schedule.due_mappings() == [(pair.mapping.pk, "live")], "nobody has to do anything"
    monkeypatch.undo()
    Connection.objects.update(windows=[])
    pair.quiet()
    assert pair.right.value(right, "body") == "new"


def test_a_vendor_that_asked_us_to_wait_is_not_paused(pair: Pair) -> None:
    until: datetime = timezone.now() + timedelta(minutes=5)
    Connection.objects.filter(name="Right").update(retry_after=until)
    outcome = pair.run("live")
    assert (outcome.state, outcome.code) == ("waiting", "quota")
    Connection.objects.filter(name="Right").update(retry_after=None, windows=[window(*OPEN)])
    outcome = pair.run("live")
    assert (outcome.state, outcome.code) == ("waiting", "window")
