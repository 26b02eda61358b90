"""Whoever stops something while others are at work on it finds it stopped afterwards.

A test of a connection, a call or a run takes its time. What it knew when it began ends no pause, no halt and no
approval that somebody else asked for meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections import breaker
from connections.connectors.base import CheckResult, ConnectorError, NeedsAuthorization, NotAllowed, Retry
from connections.connectors.memory import US, MemoryConnector
from connections.models import Connection
from connections.open import accept_account, test_connection
from connections.pauses import pause_connection, resume_connection
from sync import engine, first_run, restored, schedule
from sync.approval import NotWaiting, approve, approve_restored
from sync.models import ChangedRecord, MappingState, Run
from sync.tests.conftest import Pair
from sync.tests.engine_cases import once
from sync.tests.test_engine_running import pairs

pytestmark = pytest.mark.django_db

SAME = CheckResult(account_id=US, account_name="SyncAdmin", tenant="Right")
OTHER = CheckResult(account_id="somebody", account_name="Somebody Else", tenant="Right")
ERRORS = [Retry("silent"), NeedsAuthorization("who?"), NotAllowed("no")]


def right() -> Connection:
    return Connection.objects.get(name="Right")


def pause(user: Any) -> None:
    assert pause_connection(right(), "month-end closing", None, user)


def answers(
    monkeypatch: pytest.MonkeyPatch, what: CheckResult | ConnectorError, meanwhile: Callable[[], Any] = lambda: None
) -> None:
    """What the next tests of a connection find, and what happens while they are under way."""

    def check(self: MemoryConnector) -> CheckResult:
        meanwhile()
        if isinstance(what, ConnectorError):
            raise what
        return what

    monkeypatch.setattr(MemoryConnector, "check", check)


def try_it(connection: Connection) -> ConnectorError | None:
    try:
        test_connection(connection)
    except ConnectorError as error:
        return error
    return None


# A test of a connection. -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("found", [SAME, OTHER, *ERRORS])
def test_a_pause_while_a_test_is_under_way_stays_whatever_the_test_finds(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, admin_user: Any, found: CheckResult | ConnectorError
) -> None:
    answers(monkeypatch, found, lambda: pause(admin_user))
    row = right()
    try_it(row)
    assert (row.state, right().state) == ("paused", "paused"), "and whoever tested is told"
    assert right().state_reason == "admin paused it: month-end closing"
    assert pair.run("live").state == "halted"
    resume_connection(right(), admin_user)
    assert right().state == ("account_changed" if found is OTHER else "untested")


@pytest.mark.parametrize("found", [SAME, *ERRORS])
def test_a_pause_while_the_breaker_probes_stays(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, admin_user: Any, found: CheckResult | ConnectorError
) -> None:
    now = timezone.now()
    Connection.objects.filter(name="Right").update(state="unreachable", down_since=now, probe_at=now, failures=5)
    answers(monkeypatch, found, lambda: pause(admin_user))
    breaker.probe(right())
    assert right().state == "paused"


def test_a_failed_test_does_not_end_the_halt_because_of_another_account(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs(pair, 1)
    answers(monkeypatch, OTHER)
    try_it(right())
    assert right().state == "account_changed"
    for error in ERRORS:  # nobody learned whose account it is: the same ids may still mean other records
        answers(monkeypatch, error)
        assert try_it(right()) is error and right().state == "account_changed"
    assert pair.run("live").state == "halted"


def test_a_test_of_former_settings_tells_nothing_of_the_present_ones(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile() -> None:
        Connection.objects.filter(name="Right").update(
            settings={"world": "Right", "as": "somebody"}, state="account_changed", state_reason="another account"
        )

    for found in (SAME, *ERRORS):
        Connection.objects.filter(name="Right").update(settings={"world": "Right"}, state="ok")
        answers(monkeypatch, found, meanwhile)
        assert try_it(right()) is not None
        assert right().state == "account_changed"
    Connection.objects.filter(name="Right").update(settings={"world": "Right"}, state="ok")
    answers(monkeypatch, SAME, meanwhile)
    assert "settings of Right were changed while it was tested" in str(try_it(right()))


def test_a_test_is_judged_by_the_account_that_was_accepted_meanwhile(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, OTHER)
    try_it(right())
    answers(monkeypatch, SAME, lambda: accept_account(right(), right().check_result))
    try_it(right())
    assert (right().state, right().account_id) == ("account_changed", "somebody")


def test_an_account_that_is_accepted_ends_no_pause_that_came_meanwhile(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, admin_user: Any
) -> None:
    answers(monkeypatch, OTHER)
    try_it(right())
    row = right()
    pause(admin_user)
    accept_account(row, row.check_result)
    assert (row.state, row.account_id) == ("paused", "somebody")
    resume_connection(right(), admin_user)
    assert right().state == "untested", "that account is the right one now"


# A call. ---------------------------------------------------------------------------------------------------------


def pause_and_fail(user: Any, error: ConnectorError) -> Callable[[], None]:
    def act() -> None:
        pause(user)
        raise error

    return act


@pytest.mark.parametrize("verb", ["list", "update"])
@pytest.mark.parametrize("error", [NeedsAuthorization("who?"), Retry("silent")])
def test_a_pause_while_a_call_fails_stays_with_its_reason(
    pair: Pair, admin_user: Any, verb: str, error: ConnectorError
) -> None:
    left, _, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    MappingState.objects.update(next_poll_at=None)
    once(pair.right, verb, pause_and_fail(admin_user, error))
    pair.run("live")
    assert (right().state, right().state_reason) == ("paused", "admin paused it: month-end closing")


def test_a_sign_in_that_was_lost_during_a_pause_is_known_again_by_the_first_call_after_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, admin_user: Any
) -> None:
    left, twin, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    once(pair.right, "update", pause_and_fail(admin_user, NeedsAuthorization("who?")))
    pair.run("live")
    assert right().state == "paused"
    resume_connection(right(), admin_user)
    assert right().state == "untested"

    def refuse(verb: str, ids: Any) -> None:
        raise NeedsAuthorization("who?")

    pair.right.before = refuse
    ChangedRecord.objects.update(not_before=timezone.now())
    pair.run("live")
    assert (right().state, right().state_reason) == ("sign_in", "who?")
    assert pair.run("live").state == "halted" and MappingState.objects.get().halt == "connection"
    assert pair.right.value(twin, "body") == "b" and ChangedRecord.objects.filter(external_id=left).exists()
    pair.right.before = lambda *_: None
    answers(monkeypatch, SAME)
    try_it(right())
    pair.quiet()
    assert pair.right.value(twin, "body") == "new"


def test_a_lost_sign_in_does_not_hide_that_another_account_answers(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    left, _, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    answers(monkeypatch, OTHER)

    def meanwhile() -> None:
        try_it(right())
        raise NeedsAuthorization("who?")

    once(pair.right, "update", meanwhile)
    pair.run("live")
    assert right().state == "account_changed"


# A run. ----------------------------------------------------------------------------------------------------------


def declare() -> None:
    restored.halt_all("restored_declared", {"by": "ana"}, by="ana")


def test_a_connection_that_needs_a_person_takes_no_comparison_after_a_restore_away(pair: Pair) -> None:
    left, twin, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")
    declare()
    Connection.objects.filter(name="Right").update(state="sign_in")
    calls = len(pair.left.calls) + len(pair.right.calls)
    assert pair.run().state == "halted"
    state = MappingState.objects.get()
    assert (state.halt, state.halt_reason["code"], state.compared_at) == ("restored", "restored_declared", None)
    assert len(pair.left.calls) + len(pair.right.calls) == calls
    assert schedule.due_mappings() == [], "it is not rung for every second"
    Connection.objects.filter(name="Right").update(state="ok")
    assert schedule.due_mappings() == [(pair.mapping.pk, "bulk")]
    assert pair.run().state == "approval" and pair.right.value(twin, "body") == "b"
    approve_restored(pair.mapping, "looked right", "ana")
    pair.quiet()
    assert pair.right.value(twin, "body") == "new"


def test_a_restore_that_is_declared_while_a_run_begins_is_compared_first(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, twin, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")
    Connection.objects.filter(name="Right").update(state="sign_in")
    pair.run()
    assert MappingState.objects.get().halt == "connection"
    Connection.objects.filter(name="Right").update(state="ok")
    open_session = engine.open_session

    def meanwhile(*args: Any, **options: Any) -> Any:
        declare()
        return open_session(*args, **options)

    monkeypatch.setattr(engine, "open_session", meanwhile)
    assert pair.run().state == "lost"
    assert MappingState.objects.get().halt == "restored" and pair.right.value(twin, "body") == "b"


# A first run. ----------------------------------------------------------------------------------------------------


@pytest.fixture
def surveyed(pair: Pair) -> Pair:
    MappingState.objects.all().delete()
    pair.left.add(title="one", ref="1")
    assert pair.run().state == "approval"
    return pair


def test_the_numbers_of_an_older_version_approve_nothing(surveyed: Pair) -> None:
    surveyed.publish(brakes={"create": [1, 0.0]})
    with pytest.raises(NotWaiting, match="published anew"):
        approve(surveyed.mapping, "ana")
    state = MappingState.objects.get()
    assert (state.halt, state.approved_at) == ("approval", None)
    assert surveyed.run().state == "approval"
    approve(surveyed.mapping, "ana")
    surveyed.quiet()
    assert len(surveyed.right.alive()) == 1


def test_an_approval_is_not_forgotten_by_a_run_that_took_its_numbers_for_outdated(
    surveyed: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(state: MappingState) -> bool:
        approve(state.mapping, "ana")
        return True

    monkeypatch.setattr(engine, "outdated", meanwhile)
    assert surveyed.run().state == "done"
    state = MappingState.objects.get()
    assert (state.halt, state.approved_at is not None) == ("", True)
    assert len(surveyed.right.alive()) == 1 and Run.objects.filter(kind="first", state="done").exists()


def test_a_first_run_that_is_approved_while_a_restore_is_declared_is_compared_as_well(
    surveyed: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget = first_run.forget

    def approved(mapping: Any, why: str) -> None:
        approve(mapping, "ana")
        forget(mapping, why)

    monkeypatch.setattr(first_run, "forget", approved)
    declare()
    state = MappingState.objects.get()
    assert (state.halt, state.approved_at is not None) == ("restored", True)
    assert surveyed.run().state == "approval" and not surveyed.right.alive()


def test_a_pause_that_the_clock_ends_does_not_end_the_one_that_came_after_it(pair: Pair, admin_user: Any) -> None:
    past = timezone.now() - timedelta(seconds=1)
    assert pause_connection(right(), "an hour", past, admin_user)
    stale = right()
    resume_connection(right(), admin_user)
    pause(admin_user)
    assert not resume_connection(stale) and right().state == "paused"
