"""A connection that was set up anew: who answers there is asked before a run calls it.

The same ids may mean other records at another site.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from connections import breaker, retest
from connections.connectors.base import CheckResult, NeedsAuthorization, NotAllowed, Refused, Retry
from connections.connectors.memory import MemoryConnector, World
from connections.models import Connection
from connections.open import accept_account, test_connection
from connections.pauses import note_set_up_anew, pause_connection, resume_connection
from mappings import config
from sync import engine, restored, schedule, verify
from sync.models import ChangedRecord, MappingState, Verification
from sync.tests.conftest import Pair
from sync.tests.engine_cases import once
from sync.tests.test_breaker import outage
from sync.tests.verify_cases import begun
from sync.wording import sentence

pytestmark = pytest.mark.django_db


def left() -> Connection:
    return Connection.objects.get(name="Left")


def set_up_anew(**settings: str) -> None:
    """As the form of a connection, a description and a configuration file save it."""
    Connection.objects.filter(name="Left").update(settings={"world": "Left", **settings})
    note_set_up_anew(left())


@pytest.fixture
def tests(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The worlds whose connection was tested. The left one was, at the beginning: its account and site are known."""
    original, made = MemoryConnector.check, []

    def check(self: MemoryConnector) -> CheckResult:
        made.append(self.world.name)
        return original(self)

    test_connection(left())
    monkeypatch.setattr(MemoryConnector, "check", check)
    return made


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[str]:
    """Tests end so from now on; returns those made."""
    made: list[str] = []

    def check(self: MemoryConnector) -> CheckResult:
        made.append(self.world.name)
        raise error

    monkeypatch.setattr(MemoryConnector, "check", check)
    return made


def other_site(record: str) -> None:
    """Another site in which the id of a linked record is somebody else's."""
    other = World("Other")
    there = other.records.pop(other.add(title="Somebody else's", ref="X9", body="theirs"))
    other.records[record] = replace(there, external_id=record, key=record)


def edited(pair: Pair) -> tuple[str, str]:
    """A pair with an edit on the left that waits."""
    record, twin, _ = pair.linked(body="agreed")
    pair.left.edit(record, body="new")
    pair.ring("left", record)
    return record, twin


def waited() -> None:
    Connection.objects.update(retry_after=None)


# What is found. --------------------------------------------------------------------------------------------------


def test_another_site_behind_a_new_address_halts_before_a_run_writes(pair: Pair, tests: list[str]) -> None:
    record, twin, _ = pair.linked(body="ours")
    other_site(record)
    set_up_anew(world="Other")
    pair.ring("left", record)
    assert pair.run() == engine.Outcome("halted", "connection_unusable")
    assert left().state == "account_changed" and "another site now (Other, it was Left)" in left().state_reason
    assert MappingState.objects.get().halt == "connection"
    assert pair.right.value(twin, "body") == "ours"


def test_the_site_that_is_known_is_asked_once_and_the_same_run_goes_on(pair: Pair, tests: list[str]) -> None:
    record, twin = edited(pair)
    set_up_anew(note="a new account name")
    pair.run()
    assert (left().state, left().test_due) == ("ok", False)
    assert pair.both(record, twin, "body") == ("new", "new")
    pair.quiet()
    assert tests == ["Left"], "once for the change, never for a run"


def test_what_was_never_tested_has_no_account_to_compare_with(pair: Pair, tests: list[str]) -> None:
    record, twin = edited(pair)
    Connection.objects.filter(name="Left").update(tenant="", account_id="")
    set_up_anew()
    pair.run()
    assert tests == [] and pair.both(record, twin, "body") == ("new", "new")


def test_an_account_accepted_for_former_settings_is_compared_with_the_present_ones(
    pair: Pair, tests: list[str]
) -> None:
    record, twin, _ = pair.linked(body="ours")
    other_site(record)
    World("Third")
    set_up_anew(world="Third")
    test_connection(left())
    set_up_anew(world="Other")  # while a person looks at the page and accepts what it says
    accept_account(left(), left().check_result)
    assert (left().state, left().tenant) == ("ok", "Third")
    pair.ring("left", record)
    assert pair.run().state == "halted"
    assert left().state == "account_changed" and pair.right.value(twin, "body") == "ours"


@pytest.mark.parametrize("way", ["saved", "file"])
def test_a_halt_for_another_account_is_not_ended_by_saving_a_setting(pair: Pair, tests: list[str], way: str) -> None:
    record, twin, _ = pair.linked(body="ours")
    other_site(record)
    Connection.objects.filter(name="Left").update(settings={"world": "Other"})  # a name, a proxy, a cloned site
    test_connection(left())
    if way == "saved":
        set_up_anew(world="Other", note="new")
    else:
        wanted = config.stored()["connections"]["Left"]
        wanted["settings"]["webhook_senders"] = "10.0.0.0/8"
        config._write_connection(config.ConfigChange("update", "connections", "Left"), wanted, {})
    assert left().state == "account_changed"
    pair.ring("left", record)
    assert pair.run().state == "halted"
    assert pair.right.value(twin, "body") == "ours"


# When it is asked. -----------------------------------------------------------------------------------------------


def test_while_one_worker_tests_no_other_runs_or_tests(pair: Pair, tests: list[str]) -> None:
    record, twin = edited(pair)
    set_up_anew()
    Connection.objects.filter(name="Left").update(probing_until=timezone.now() + breaker.CLAIM)
    assert pair.run() == engine.Outcome("waiting", "quota")
    assert schedule.due_mappings() == [] and tests == []
    assert pair.both(record, twin, "body") == ("new", "agreed")
    Connection.objects.update(probing_until=timezone.now() - timedelta(seconds=1))  # that worker died
    pair.run()
    assert tests == ["Left"] and pair.both(record, twin, "body") == ("new", "new")


def test_what_was_tested_meanwhile_is_not_tested_again(pair: Pair, tests: list[str]) -> None:
    set_up_anew()
    stale = left()
    test_connection(left())
    retest.before_run(stale)
    assert tests == ["Left"] and stale.state == "ok"


def test_a_paused_connection_is_tested_once_it_is_resumed(pair: Pair, tests: list[str], admin_user: Any) -> None:
    record, _, _ = pair.linked(body="ours")
    other_site(record)
    pause_connection(left(), "they move", None, admin_user)
    set_up_anew(world="Other")
    assert pair.run().state == "halted" and tests == []
    resume_connection(left(), admin_user)
    assert pair.run().state == "halted"
    assert tests == ["Other"] and left().state == "account_changed"


@pytest.mark.parametrize("why", ["retry_after", "down_since"])
def test_what_waits_is_not_tested_before_its_time(pair: Pair, tests: list[str], why: str) -> None:
    set_up_anew()
    later = timezone.now() + timedelta(minutes=1)
    columns = {"retry_after": {"retry_after": later}, "down_since": {"down_since": timezone.now(), "probe_at": later}}
    Connection.objects.filter(name="Left").update(**columns[why])
    assert pair.run().state == "waiting" and tests == []


def test_a_run_ends_where_its_connection_is_set_up_anew_and_the_next_one_asks(pair: Pair, tests: list[str]) -> None:
    record, twin = edited(pair)
    MappingState.objects.update(next_poll_at=timezone.now() + timedelta(hours=1))

    def meanwhile() -> None:
        set_up_anew()
        pair.ring("right", twin)

    once(pair.left, "get", meanwhile)
    pair.run("live")
    assert tests == [] and ChangedRecord.objects.filter(external_id=twin).exists()
    pair.quiet()
    assert tests == ["Left"] and pair.both(record, twin, "body") == ("new", "new")


def test_after_a_restore_nothing_is_compared_with_another_site(pair: Pair, tests: list[str]) -> None:
    record, _, _ = pair.linked(body="ours")
    other_site(record)
    restored.halt_all("restored", {})
    set_up_anew(world="Other")
    assert pair.run().state == "halted"
    state = MappingState.objects.get()
    assert (state.halt, state.compared_at) == ("restored", None)


def test_a_verification_reads_nothing_of_another_site(pair: Pair, tests: list[str]) -> None:
    record, _, _ = pair.linked(body="ours")
    other_site(record)
    one = begun(pair)
    set_up_anew(world="Other")
    assert verify.work(one.pk) == "waiting"
    one.refresh_from_db()
    assert (one.counts["pairs"], sentence(one.reason["code"], one.reason["params"])) == (
        0,
        "Left was set up anew and is tested first, since another site or account may answer now. It goes on by itself.",
    )
    Verification.objects.update(not_before=timezone.now())
    assert verify.work(one.pk) == "stopped" and tests == ["Other"]
    one.refresh_from_db()
    assert (one.counts["pairs"], one.reason["code"]) == (0, "connection_unusable")


# A test that fails. ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "seconds"), [(NotAllowed("no"), 60), (Refused("what?"), 60), (Retry("later", after=7), 7)]
)
def test_a_failed_test_is_told_and_tried_again_and_no_run_goes_on_without_it(
    pair: Pair, tests: list[str], monkeypatch: pytest.MonkeyPatch, error: Exception, seconds: int
) -> None:
    record, twin = edited(pair)
    set_up_anew()
    with monkeypatch.context() as broken:
        made = failing(broken, error)
        before = timezone.now()
        for _ in range(3):
            assert pair.run().state == "waiting"
        row = left()
        assert (row.state, row.state_reason, len(made)) == ("unreachable", error.message, 1)
        assert row.retry_after is not None and abs((row.retry_after - before).total_seconds() - seconds) < 5
        waited()
        pair.run()
        assert len(made) == 2 and pair.both(record, twin, "body") == ("new", "agreed")
    waited()
    pair.run()
    assert left().state == "ok" and pair.both(record, twin, "body") == ("new", "new")


def test_tests_without_an_answer_open_the_breaker_whose_probe_is_the_test(
    pair: Pair, tests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, twin = edited(pair)
    set_up_anew()
    with monkeypatch.context() as broken:
        failing(broken, outage())
        for _ in range(breaker.OPEN_AFTER):
            waited()
            pair.run()
        assert left().down_since is not None
    Connection.objects.update(probe_at=timezone.now())
    pair.run()
    assert tests == ["Left"] and pair.both(record, twin, "body") == ("new", "new")


def test_a_refused_sign_in_is_not_tried_again_before_a_person_acts(
    pair: Pair, tests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    edited(pair)
    set_up_anew()
    made = failing(monkeypatch, NeedsAuthorization("who?"))
    for _ in range(3):
        assert pair.run().state == "halted"
    assert (left().state, len(made)) == ("sign_in", 1)


def test_a_test_that_breaks_off_is_told_and_tried_again(
    pair: Pair, tests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, twin = edited(pair)
    set_up_anew()
    with monkeypatch.context() as broken:
        made = failing(broken, KeyError("not in the answer"))
        for _ in range(3):
            assert pair.run().state == "waiting"
        assert (left().state, len(made)) == ("unreachable", 1) and "KeyError" in left().state_reason
    waited()
    pair.run()
    assert left().state == "ok" and pair.both(record, twin, "body") == ("new", "new")


def test_where_the_database_fails_no_run_tests_again_before_the_claim_ends(
    pair: Pair, tests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    edited(pair)
    set_up_anew()
    failing(monkeypatch, OperationalError("gone"))
    with pytest.raises(OperationalError):
        pair.run()
    assert schedule.due_mappings() == [] and pair.run().state == "waiting"
