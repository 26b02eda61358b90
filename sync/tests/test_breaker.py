"""The circuit breaker: what opens it, who probes, what closes it, and that nothing waits longer than it must."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections import breaker
from connections.connectors.base import NeedsAuthorization, NotAllowed, RateLimited, Refused, Retry, Uncertain
from connections.connectors.memory import MemoryConnector
from connections.models import Connection
from connections.pauses import note_state
from sync import schedule
from sync.models import AuditEntry, ChangedRecord, Operation
from sync.tests.conftest import Pair
from sync.tests.engine_cases import live

pytestmark = pytest.mark.django_db


def outage(kind: type[Retry] | type[Uncertain] = Retry) -> Any:
    error = kind("No route to host.")
    error.outage = True
    return error


def left() -> Connection:
    return Connection.objects.get(name="Left")


@pytest.fixture
def silent(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The left system answers nothing while the list is not empty; its tests are noted in it."""
    tries = ["down"]

    def hook(verb: str, ids: object) -> None:
        if tries:
            raise outage()

    original = MemoryConnector.check

    def check(self: MemoryConnector) -> Any:
        if tries and self.world is pair.left:
            tries.append("tried")
            raise outage()
        return original(self)

    pair.left.before = hook
    monkeypatch.setattr(MemoryConnector, "check", check)
    return tries


def opened(pair: Pair) -> None:
    for _ in range(breaker.OPEN_AFTER):
        Connection.objects.update(retry_after=None)
        pair.run()
    assert left().down_since is not None


@pytest.mark.parametrize(("failures", "seconds"), [(0, 5), (5, 5), (6, 10), (7, 20), (8, 30), (9, 30), (500, 30)])
def test_a_system_is_probed_ever_more_rarely_but_twice_a_minute_at_least(failures: int, seconds: float) -> None:
    assert breaker.probe_after(failures) == seconds


def test_several_reads_in_a_row_without_an_answer_open_it_and_one_says_only_that_it_is_away(
    pair: Pair, silent: list[str]
) -> None:
    pair.run()
    row = left()
    assert (row.state, row.failures, row.down_since) == ("unreachable", 1, None)
    opened(pair)
    row = left()
    assert row.probe_at is not None and row.probe_at > timezone.now() and "No route" in row.state_reason
    assert AuditEntry.objects.filter(code="connection_down", connection_id=row.pk).count() == 1


def test_while_it_is_open_no_run_calls_and_nothing_is_rung(pair: Pair, silent: list[str]) -> None:
    opened(pair)
    pair.ring("left", "L1")
    pair.left.calls.clear()
    pair.right.calls.clear()
    assert pair.run().state == "waiting"
    assert not pair.left.calls and not pair.right.calls and silent == ["down"]
    assert schedule.due_mappings() == []


def test_when_its_time_has_come_one_call_at_a_time_probes(pair: Pair, silent: list[str]) -> None:
    opened(pair)
    Connection.objects.update(probe_at=timezone.now())
    assert schedule.due_mappings() == [(pair.mapping.pk, "live")]
    row = left()
    assert breaker._claim(row, by_person=False)
    assert schedule.due_mappings() == [], "nobody else is rung for it"
    assert breaker.probe(row) is None and breaker.probe(row, by_person=True) is None
    assert silent == ["down"]
    Connection.objects.update(probing_until=timezone.now() - timedelta(seconds=1))  # its worker died
    assert pair.run().state == "waiting"
    assert silent == ["down", "tried"]
    row = left()
    assert row.failures == breaker.OPEN_AFTER + 1 and row.probing_until is None
    assert row.probe_at is not None and row.probe_at > timezone.now() + timedelta(seconds=8)


def test_an_answered_probe_closes_it_and_the_same_run_goes_on(pair: Pair, silent: list[str]) -> None:
    silent.clear()
    one, other, _ = pair.linked(body="b")
    silent.append("down")
    pair.left.edit(one, body="new")
    pair.ring("left", one)
    opened(pair)
    waiting = ChangedRecord.objects.get(external_id=one)
    assert (waiting.attempts, waiting.error) == (0, ""), "no record is counted as failing"
    silent.clear()
    Connection.objects.update(probe_at=timezone.now())
    assert pair.run("live").state == "done"
    assert pair.right.value(other, "body") == "new"
    row = left()
    assert (row.state, row.failures, row.down_since, row.state_reason) == ("ok", 0, None, "")
    assert AuditEntry.objects.filter(code="connection_back").count() == 1


def test_writes_in_a_row_without_an_answer_open_it_and_are_looked_up_as_soon_as_it_answers(pair: Pair) -> None:
    ids = [pair.left.add(title=f"T{n}", ref=f"R{n}", body="b") for n in range(12)]
    for n in range(12):
        pair.right.add(title=f"T{n}", ref=f"R{n}", body="b")
    pair.quiet()
    for one in ids:
        pair.left.edit(one, body="new")
        pair.ring("left", one)
    sent: list[Any] = []

    def hook(verb: str, called: Any) -> None:
        if verb == "update":
            sent.append(called)
            raise outage(Uncertain)

    pair.right.before = hook
    pair.run("live")
    row = Connection.objects.get(name="Right")
    concurrency = pair.right.capabilities.concurrency
    assert row.down_since is not None and breaker.OPEN_AFTER <= len(sent) <= breaker.OPEN_AFTER + concurrency
    unclear = Operation.objects.filter(state="uncertain").count()
    assert unclear == len(sent)
    pair.right.before = lambda *_: None
    Connection.objects.update(probe_at=timezone.now())
    pair.run("live")
    assert not Operation.objects.filter(state="uncertain").exists(), "the first run looks up what was not answered"
    live(pair)
    assert {record.values["body"] for record in pair.right.records.values()} == {"new"}


@pytest.mark.parametrize(
    "error", [Refused("no"), NotAllowed("no"), RateLimited("later", after=1), Retry("busy"), NeedsAuthorization("who?")]
)
def test_what_a_system_answers_never_opens_it(pair: Pair, error: Exception) -> None:
    def hook(verb: str, ids: object) -> None:
        raise error

    pair.left.before = hook
    for _ in range(breaker.OPEN_AFTER + 2):
        Connection.objects.update(retry_after=None, state="ok")
        pair.run()
    assert left().down_since is None and left().failures == 0


def test_an_answer_in_between_counts_anew(pair: Pair, silent: list[str]) -> None:
    for _ in range(breaker.OPEN_AFTER - 1):
        Connection.objects.update(retry_after=None)
        pair.run()
    silent.clear()
    Connection.objects.update(retry_after=None)
    pair.run()
    assert (left().state, left().failures) == ("ok", 0)


def test_one_record_whose_writes_are_never_answered_opens_nothing(pair: Pair) -> None:
    one, _, _ = pair.linked(body="b")
    pair.left.edit(one, body="new")
    pair.ring("left", one)

    def hook(verb: str, ids: object) -> None:
        if verb == "update":
            raise outage(Uncertain)

    pair.right.before = hook
    live(pair, rounds=2 * breaker.OPEN_AFTER)
    row = Connection.objects.get(name="Right")
    assert row.down_since is None and row.state == "ok"


@pytest.mark.parametrize(
    ("error", "state"), [(NotAllowed("no"), "ok"), (NeedsAuthorization("who?"), "sign_in"), (Refused("no"), "ok")]
)
def test_a_probe_that_is_answered_at_all_closes_it(
    pair: Pair, silent: list[str], monkeypatch: pytest.MonkeyPatch, error: Exception, state: str
) -> None:
    opened(pair)

    def check(self: MemoryConnector) -> None:
        raise error

    monkeypatch.setattr(MemoryConnector, "check", check)
    assert breaker.probe(left(), by_person=True)
    assert (left().state, left().down_since) == (state, None)


def test_a_probe_that_is_asked_to_wait_learned_nothing_and_waits(
    pair: Pair, silent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(pair)

    def check(self: MemoryConnector) -> None:
        raise RateLimited("later", after=600)

    monkeypatch.setattr(MemoryConnector, "check", check)
    breaker.probe(left(), by_person=True)
    row = left()
    assert row.down_since is not None and row.probe_at is not None
    assert row.probe_at > timezone.now() + timedelta(seconds=500)


def test_a_pause_meanwhile_is_not_probed(pair: Pair, silent: list[str]) -> None:
    opened(pair)
    Connection.objects.update(state="paused", probe_at=timezone.now())
    assert breaker.probe(left()) is None and silent == ["down"]


def test_hiccups_of_days_with_answers_in_between_open_nothing(pair: Pair) -> None:
    """A test that was answered in between sets the state right, and not the number of failures."""
    row = Connection.objects.get(name="Left")
    for _ in range(breaker.OPEN_AFTER - 1):
        breaker.unanswered(row, "no answer")
    note_state(row, Connection.State.UNREACHABLE)
    note_state(row, Connection.State.OK)
    pair.run()
    assert not breaker.unanswered(row, "one hiccup, days later")
