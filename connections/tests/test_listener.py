"""The listener: who listens to what, one process a connection, hints before positions, pauses after troubles."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.core.management import call_command
from django.db import DatabaseError
from django.utils import timezone

from connections import listener
from connections.connectors.base import Hint, NeedsAuthorization, RateLimited, Retry
from connections.models import Connection
from connections.tests.salesforce_world import world
from mappings.models import Mapping

pytestmark = pytest.mark.django_db

RUNG: list[tuple[int, list[Hint]]] = []
HINT = Hint("Case", "500000000000001AAA")


def ring(connection_id: int, hints: Sequence[Hint]) -> None:
    RUNG.append((connection_id, list(hints)))


def ring_and_fail(connection_id: int, hints: Sequence[Hint]) -> None:
    raise DatabaseError("the database went away")


@pytest.fixture(autouse=True)
def bell(settings):
    RUNG.clear()
    settings.BELL = "connections.tests.test_listener.ring"


@pytest.fixture(autouse=True)
def the_tests_own_connection_stays(monkeypatch):
    """The test's transaction lives on the connection that the loop would replace as an old one."""
    monkeypatch.setattr(listener, "close_old_connections", lambda: None)


@pytest.fixture
def salesforce():
    return Connection.objects.create(name="acme", kind="salesforce", address="https://acme.my.salesforce.com")


@pytest.fixture
def mapping(salesforce):
    other = Connection.objects.create(name="other", kind="memory", address="https://other.example")
    return Mapping.objects.create(
        name="Support",
        slug="support",
        state=Mapping.State.ACTIVE,
        left_connection=other,
        left_object_type="issue",
        right_connection=salesforce,
        right_object_type="Case",
    )


def ear_of(connection: Connection, *object_types: str) -> listener.Ear:
    return listener.Ear(connection.pk, object_types or ("Case",), ())


def streaming(monkeypatch, *batches: Sequence[Hint], kept: list[str] | None = None) -> None:
    """A connector whose stream gives these batches and says when it stores its position."""

    def listen(object_types: Sequence[str], stop: Callable[[], bool]) -> Iterator[Sequence[Hint]]:
        for number, batch in enumerate(batches):
            yield batch
            if kept is not None:
                kept.append(f"position {number} after {len(RUNG)} rings")

    monkeypatch.setattr(listener, "open_connector", lambda connection: SimpleNamespace(listen=listen))


# Who listens to what -------------------------------------------------------------------------------------------------


def test_only_usable_connections_with_a_stream_and_a_published_mapping_are_listened_to(salesforce, mapping):
    assert [(e.connection_id, e.object_types) for e in listener.wanted_ears()] == [(salesforce.pk, ("Case",))]
    Connection.objects.filter(pk=salesforce.pk).update(state=Connection.State.PAUSED)
    assert listener.wanted_ears() == []
    Connection.objects.filter(pk=salesforce.pk).update(state=Connection.State.OK)
    Mapping.objects.update(state=Mapping.State.PAUSED)
    assert len(listener.wanted_ears()) == 1, "what is told meanwhile waits for a paused mapping"
    Mapping.objects.update(state=Mapping.State.DRAFT)
    assert listener.wanted_ears() == []


def test_nobody_listens_during_a_maintenance_window(salesforce, mapping):
    now = timezone.now()
    window = {"id": "w", "start": now.isoformat(), "end": (now + timedelta(hours=1)).isoformat(), "note": ""}
    Connection.objects.filter(pk=salesforce.pk).update(windows=[window])
    assert listener.wanted_ears() == []
    window["end"] = (now + timedelta(microseconds=1)).isoformat()
    Connection.objects.filter(pk=salesforce.pk).update(windows=[window])
    assert len(listener.wanted_ears()) == 1


def test_a_connection_whose_connector_is_gone_is_passed_over(salesforce, mapping):
    Connection.objects.filter(pk=salesforce.pk).update(kind="no longer there")
    assert listener.wanted_ears() == []


def test_ears_start_stop_and_change_with_their_connections(salesforce, mapping, monkeypatch):
    heard: list[listener.Ear] = []

    def hear(ear: listener.Ear) -> None:
        heard.append(ear)
        ear.stopping.wait(10)

    monkeypatch.setattr(listener, "hear", hear)
    ears: dict[int, listener.Ear] = {}
    listener.keep_listening(ears)
    first = ears[salesforce.pk]
    listener.keep_listening(ears)
    assert ears == {salesforce.pk: first} and first.alive

    salesforce.address = "https://acme2.my.salesforce.com"
    salesforce.save()
    listener.keep_listening(ears)
    first.thread.join(5)
    listener.keep_listening(ears)
    second = ears[salesforce.pk]
    assert second is not first and first.stopping.is_set() and not second.stopping.is_set()

    Mapping.objects.update(state=Mapping.State.DRAFT)
    listener.keep_listening(ears)
    second.thread.join(5)
    listener.keep_listening(ears)
    assert ears == {} and heard == [first, second]


def test_a_stopped_listener_stops_its_ears(salesforce, mapping, monkeypatch):
    heard: list[listener.Ear] = []

    def hear(ear: listener.Ear) -> None:
        heard.append(ear)
        ear.stopping.wait(10)

    monkeypatch.setattr(listener, "hear", hear)
    monkeypatch.setattr(listener, "TICK_SECONDS", 0.01)
    listener.run_listener(lambda: bool(heard))
    assert heard[0].stopping.is_set() and not heard[0].alive


def test_the_command_listens_until_it_is_told_to_stop(monkeypatch):
    called: list[bool] = []
    ended: list[bool] = []

    def take_in_until(stop: Callable[[], bool]) -> None:
        while not stop():
            time.sleep(0.01)
        ended.append(True)

    monkeypatch.setattr("connections.management.commands.listen.run_listener", lambda stop: called.append(stop()))
    monkeypatch.setattr("connections.management.commands.listen.take_in.serve", take_in_until)
    monkeypatch.setattr("connections.management.commands.listen.signal.signal", lambda *args: None)
    call_command("listen")
    assert called == [False] and ended == [True], "what is being taken in is finished first"


# Hints and positions -------------------------------------------------------------------------------------------------


def test_hints_are_rung_before_their_position_is_kept(salesforce, monkeypatch):
    kept: list[str] = []
    streaming(monkeypatch, [HINT], [HINT, HINT], kept=kept)
    assert listener.hear_once(ear_of(salesforce))
    assert [len(hints) for _, hints in RUNG] == [1, 2]
    assert kept == ["position 0 after 1 rings", "position 1 after 2 rings"]


def test_a_ring_that_fails_keeps_no_position_and_frees_the_lease(salesforce, monkeypatch, settings):
    settings.BELL = "connections.tests.test_listener.ring_and_fail"
    kept: list[str] = []
    streaming(monkeypatch, [HINT], kept=kept)
    with pytest.raises(DatabaseError):
        listener.hear_once(ear_of(salesforce))
    assert kept == []
    salesforce.refresh_from_db()
    assert listener.LEASE not in salesforce.facts


def test_a_sign_of_life_is_written_and_rings_nothing(salesforce, monkeypatch):
    monkeypatch.setattr(listener, "RENEW_SECONDS", 0.0)
    streaming(monkeypatch, [], [])
    listener.hear_once(ear_of(salesforce))
    salesforce.refresh_from_db()
    assert RUNG == [] and salesforce.bell_seen_at is not None


def test_the_sign_of_life_is_written_at_most_every_ten_seconds(salesforce):
    ear = ear_of(salesforce)
    assert listener.take_lease(ear)
    listener.take(ear, [HINT])
    salesforce.refresh_from_db()
    first = salesforce.bell_seen_at
    listener.take(ear, [HINT])
    salesforce.refresh_from_db()
    assert salesforce.bell_seen_at == first and len(RUNG) == 2


# The lease -----------------------------------------------------------------------------------------------------------


def test_one_process_at_a_time_listens_to_a_connection(salesforce, monkeypatch):
    streaming(monkeypatch, [HINT])
    first, second = ear_of(salesforce), ear_of(salesforce)
    assert listener.take_lease(first)
    assert not listener.hear_once(second)
    assert RUNG == []
    listener.release_lease(first)
    assert listener.hear_once(second)


def test_a_dead_processes_lease_runs_out(salesforce, monkeypatch):
    dead, alive = ear_of(salesforce), ear_of(salesforce)
    assert listener.take_lease(dead)
    now = time.time()
    monkeypatch.setattr(listener.time, "time", lambda: now + listener.LEASE_SECONDS + 1)
    assert listener.take_lease(alive)


def test_who_lost_the_lease_rings_nothing_and_keeps_no_position(salesforce, monkeypatch):
    kept: list[str] = []
    ear, other = ear_of(salesforce), ear_of(salesforce)

    def listen(object_types: Sequence[str], stop: Callable[[], bool]) -> Iterator[Sequence[Hint]]:
        listener.release_lease(ear)
        assert listener.take_lease(other)
        yield [HINT]
        kept.append("position")

    monkeypatch.setattr(listener, "open_connector", lambda connection: SimpleNamespace(listen=listen))
    with pytest.raises(listener.LeaseLost):
        listener.hear_once(ear)
    assert RUNG == [] and kept == []
    salesforce.refresh_from_db()
    assert salesforce.facts[listener.LEASE]["holder"] == other.holder


def test_the_lease_leaves_the_connectors_own_facts_alone(salesforce):
    salesforce.facts = {"state": {"replay": 7}}
    salesforce.save()
    ear = ear_of(salesforce)
    assert listener.take_lease(ear)
    listener.take(ear, [])
    listener.release_lease(ear)
    salesforce.refresh_from_db()
    assert salesforce.facts == {"state": {"replay": 7}}


# Troubles ------------------------------------------------------------------------------------------------------------


def test_pauses_grow_with_failures_in_a_row_and_vary_a_little():
    pauses = [listener.pause_after(Retry("cut"), n) for n in range(8)]
    for pause, middle in zip(pauses, [1, 2, 5, 10, 30, 60, 60, 60], strict=True):
        assert middle * 0.69 < pause < middle * 1.31
    assert len({listener.pause_after(Retry("cut"), 3) for _ in range(5)}) > 1


def test_a_limit_is_waited_for_and_a_person_is_not_hurried():
    assert listener.pause_after(RateLimited("wait", after=90), 0) >= 90
    assert listener.pause_after(Retry("limit", after=300), 0) >= 300
    assert listener.pause_after(NeedsAuthorization("sign in"), 0) == listener.PERSON_SECONDS


def test_an_ear_listens_again_after_every_kind_of_trouble(salesforce, monkeypatch):
    troubles = [Retry("cut"), listener.LeaseLost(), DatabaseError("away"), ValueError("a defect"), None]
    ear = ear_of(salesforce)
    waits: list[float] = []
    ear.stopping = SimpleNamespace(is_set=lambda: not troubles, wait=waits.append)

    def hear_once(_: listener.Ear) -> bool:
        trouble = troubles.pop(0)
        if trouble:
            raise trouble
        return True

    monkeypatch.setattr(listener, "hear_once", hear_once)
    monkeypatch.setattr(listener.databases, "close_all", lambda: None)
    listener.hear(ear)
    assert len(waits) == 5 and waits[1] == listener.HELD_SECONDS and waits[3] == listener.PERSON_SECONDS
    assert waits[4] == 0.0


# The whole way -------------------------------------------------------------------------------------------------------


def test_an_edit_in_salesforce_rings_through_the_listener_and_the_position_is_kept(db):
    with world(connect_seconds=0.3) as w:
        connection = Connection.objects.create(
            name="live",
            kind="salesforce",
            address=w.address,
            settings={"client_id": w.app_registration["client_id"]},
            secrets={"client_secret": w.app_registration["client_secret"]},
        )
        case = w.case()
        ear = ear_of(connection)
        seen: list[str] = []

        def watch(connection_id: int, hints: Sequence[Hint]) -> None:
            seen.extend(h.external_id for h in hints)
            if len(seen) == 1:
                w.org.edit(case, w.jane, Subject="first")
            elif len(seen) == 2:
                w.org.edit(case, w.jane, Subject="second")
            else:
                ear.stopping.set()

        guard = threading.Timer(10, ear.stopping.set)
        guard.start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(listener.hooks, "ring", watch)
            assert listener.hear_once(ear)
        guard.cancel()
        connection.refresh_from_db()
        assert seen == ["*", case, case]
        assert connection.facts["state"]["replay /data/CaseChangeEvent"] == w.app.bus.last
        assert connection.bell_seen_at is not None and listener.LEASE not in connection.facts
