"""Zendesk tickets and things in memory, kept in agreement over HTTP: the whole way through the engine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections import open as opening
from connections.connectors import zendesk_jobs
from connections.connectors.memory import World as Memory
from connections.models import Connection
from connections.tests.zendesk_world import TOKEN, Recording, World, world
from mappings.models import Mapping as MappingRow
from sync import jobs
from sync.models import ChangedRecord, Link, MappingState, Operation
from sync.simulation.setting import side
from sync.tests.call_cases import System, assert_at_most, at_full_speed, costs, in_bulk, moving_on
from sync.tests.conftest import Pair, rule

pytestmark = pytest.mark.django_db(transaction=True)


class Between:
    """A mapping of tickets (left) to things in memory (right): subject to title, a text field to body."""

    def __init__(self, w: World) -> None:
        self.w = w
        self.app: Recording = w.app
        self.app.hidden_seconds = 0  # the hidden minute has tests of its own; here polls shall find edits at once
        self.memory = Memory("Memory")
        self.field = w.records.field("text", "Report")
        left = Connection.objects.create(
            name="Zendesk",
            kind="zendesk",
            address=w.address,
            settings={"email": "sync@acme.example"},
            secrets={"api_token": TOKEN},
            state="ok",
            account_id=str(w.us),
        )
        right = Connection.objects.create(
            name="Memory",
            kind="memory",
            address="https://memory.example.com",
            settings={"world": "Memory"},
            state="ok",
            account_id="syncadmin",
        )
        mapping = MappingRow.objects.create(
            name="Tickets",
            slug="tickets",
            left_connection=left,
            left_object_type="ticket",
            right_connection=right,
            right_object_type="thing",
        )
        title, body = rule("title", "title", "text"), rule("body", "body", "text")
        title["left"] |= {"path": "subject", "label": "Subject", "required": True, "max_length": 255}
        body["left"] |= {"path": f"custom_{self.field}", "label": "Report"}
        self.pair = Pair(self.memory, self.memory, mapping)
        self.pair.publish(
            left=side(left, kind="zendesk", object_type="ticket", object_label="Ticket"),
            right=side(right),
            match_keys=[],
            initial="fill_empty",
            poll_seconds=15,
            brakes={},
            rules=[title, body],
        )
        self.pair.approve()

    def quiet(self) -> None:
        """Poll both sides, and run until nothing waits."""
        self.pair.quiet()

    def report(self, text: str) -> dict[str, Any]:
        return {"custom_fields": [{"id": self.field, "value": text}]}

    def linked(self, text: str = "one") -> tuple[str, str]:
        ticket = self.w.ticket(**self.report(text))
        self.quiet()
        return ticket, Link.objects.get(left_id=ticket).right_id

    def unanswered_long_ago(self, count: int) -> None:
        past = timezone.now() - timedelta(hours=1)
        unclear = Operation.objects.filter(state="uncertain")
        assert unclear.update(claimed_at=past, not_before=past) == count


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    monkeypatch.setattr(jobs, "enqueue", lambda *args: None)
    monkeypatch.setattr(opening.Budget, "spend", lambda self: None)
    monkeypatch.setattr(zendesk_jobs, "pause", lambda seconds: None)
    os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with world() as w:
        yield Between(w)
    Memory.registry.clear()


def test_records_cross_in_both_directions_and_then_all_is_quiet(between: Between) -> None:
    ticket, thing = between.linked()
    assert between.memory.value(thing, "title") == "Printer on fire"
    other = between.memory.add(title="Screen dark", body="No light")
    between.quiet()
    row = between.w.records.ticket(Link.objects.get(right_id=other).left_id) or {}
    assert (row["subject"], row["submitter_id"]) == ("Screen dark", between.w.us) and row["external_id"]
    between.w.records.update(ticket, between.report("two"), between.w.jane)
    between.quiet()
    assert between.memory.value(thing, "body") == "two"
    between.memory.edit(thing, body="three")
    between.quiet()
    assert between.w.value(ticket, between.field) == "three"
    writes = Operation.objects.filter(state="confirmed").count()
    between.quiet()
    assert Operation.objects.filter(state="confirmed").count() == writes
    assert len(between.w.records.tickets()) == 2 and len(between.memory.alive()) == 2


@pytest.mark.parametrize("seconds", [0, 5])
def test_an_edit_between_our_read_and_our_write_is_never_lost(
    between: Between, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    """Within the second of our read Zendesk cannot refuse the write, but tells what it replaced; later it refuses."""
    ticket, thing = between.linked()
    real, now = between.w.records.update, between.app.now
    raced: list[str] = []

    def update(id: Any, given: Mapping[str, Any], by: int) -> Any:
        if by == between.w.us and not raced:
            raced.append(str(id))
            if seconds:
                between.app.now = lambda: now() + seconds
            old = between.w.records.ticket(id) or {}
            real(id, between.report("Jane's own"), between.w.jane)
            if not seconds:  # her edit left the stamp that we read
                edited = between.w.records.ticket(id) or {}
                between.app.store.put("ticket", str(id), {**edited, "updated_at": old["updated_at"]})
        return real(id, given, by)

    monkeypatch.setattr(between.w.records, "update", update)
    between.memory.edit(thing, body="two")
    between.quiet()
    assert raced == [ticket]
    [question] = between.pair.open_conflicts()
    if seconds:
        assert question.kind == "field" and between.w.value(ticket, between.field) == "Jane's own"
    else:
        assert (question.kind, question.params["overwritten"]) == ("clobber", "Jane's own")


def test_a_listed_deletion_asks_a_person_and_deletes_nothing(between: Between) -> None:
    ticket, thing = between.linked()
    between.w.records.delete(ticket, between.w.jane)
    between.quiet()
    assert [one.kind for one in between.pair.open_conflicts()] == ["delete_update"]
    assert thing in between.memory.alive()


def test_a_create_whose_answer_is_lost_makes_one_ticket(between: Between) -> None:
    between.linked()
    between.app.fault("drop_after", method="POST", path="/tickets$")
    thing = between.memory.add(title="Lost")
    between.pair.run()
    assert not between.app.faults[0].times
    between.unanswered_long_ago(1)
    between.pair.run()
    between.quiet()
    [made] = [row for row in between.w.records.tickets() if row["subject"] == "Lost"]
    assert Link.objects.get(right_id=thing).left_id == str(made["id"])


def test_a_ticket_that_an_earlier_create_made_never_takes_its_source_back_to_what_it_was(between: Between) -> None:
    """The same key with other values is refused: the ticket of the first create stands, with the values of then."""
    between.app.fault("drop_after", method="POST", path="/tickets$")
    thing = between.memory.add(title="Screen dark", body="then")
    between.quiet()
    [made] = between.w.records.tickets()
    between.app.hidden_tickets.add(made["id"])  # no list shows it yet
    between.unanswered_long_ago(1)
    between.memory.edit(thing, body="now")
    between.quiet()
    between.app.hidden_tickets.clear()
    ChangedRecord.objects.update(not_before=timezone.now())
    between.quiet()
    between.quiet()
    link = Link.objects.get()
    assert len(between.w.records.tickets()) == 1 and link.state == "active"
    assert between.memory.value(thing, "body") == "now" == between.w.value(link.left_id, between.field)
    codes = [one.result["code"] for one in Operation.objects.filter(kind="create").order_by("pk")]
    assert codes == ["not_applied", "retry", "confirmed"]


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
def test_an_update_without_an_answer_is_settled_by_the_audits_and_nobody_is_asked(between: Between, fault: str) -> None:
    ticket, thing = between.linked()
    between.app.fault(fault, method="PUT", path=f"/tickets/{ticket}$")
    between.memory.edit(thing, body="two")
    between.pair.run()
    assert not between.app.faults[0].times
    between.w.records.update(ticket, {"subject": "Somebody's, meanwhile"}, between.w.jane)
    between.unanswered_long_ago(1)
    between.pair.run()
    between.quiet()
    assert between.w.value(ticket, between.field) == between.memory.value(thing, "body") == "two"
    assert between.memory.value(thing, "title") == "Somebody's, meanwhile"
    assert between.pair.open_conflicts() == []


def test_creates_that_wait_in_zendesks_queue_are_made_once(between: Between) -> None:
    """Nothing is concluded while the job may still make them, however long it takes."""
    between.linked()
    between.app.jobs.held = True
    things = [between.memory.add(title=f"Many {n}") for n in range(4)]
    between.pair.run()
    between.unanswered_long_ago(4)
    between.pair.run()
    assert len(between.w.records.tickets()) == 1 and Operation.objects.filter(state="uncertain").count() == 4
    between.app.jobs.held = False
    between.app.jobs.work()
    between.unanswered_long_ago(4)
    between.pair.run()
    between.quiet()
    assert len(between.w.records.tickets()) == 5
    assert Link.objects.filter(right_id__in=things, state="active").count() == 4


def test_a_pair_that_rests_costs_one_call_a_poll(between: Between) -> None:
    between.linked()
    between.app.now = lambda: time.time() + 600  # what was changed just now is read again for five minutes
    between.quiet()
    before = len(between.app.calls())
    between.pair.run()
    assert between.app.calls()[before:] == ["GET incremental/tickets/cursor"]


@pytest.mark.same_everywhere
def test_what_changes_cost(between: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    at_full_speed(monkeypatch)
    later = moving_on(600, between.app)
    tickets = System(
        lambda: between.w.ticket(**between.report("one")),
        lambda id, text: between.w.records.update(id, {"subject": text}, between.w.jane),
    )
    told = costs(between.pair, "left", tickets, in_bulk(between.memory), between.app.calls, between.quiet, later)
    # A hundred updates are a read, a job, a look at it and a read back; creates are not read before.
    assert_at_most(
        told,
        idle=1,
        live_from=1,
        live_to=2,
        create_from=0.02,
        poll_from=0.02,
        update_from=0.02,
        create_to=0.04,
        poll_to=0.05,
        update_to=0.05,
    )


def test_tags_are_written_without_another_read_once_the_ticket_has_rested(between: Between) -> None:
    tags = rule("labels", "labels", "set")
    tags["left"] |= {"path": "tags", "label": "Tags"}
    between.pair.publish(rules=[*between.pair.mapping.published.document["rules"], tags])
    ticket, thing = between.linked()
    for seconds, reads in ((0, 2), (600, 1)):
        between.app.now = lambda: time.time() + seconds  # noqa: B023
        between.quiet()
        between.memory.edit(thing, labels=[f"after_{seconds}"])
        between.pair.ring("right", thing)
        MappingState.objects.update(next_poll_at=timezone.now() + timedelta(hours=1))
        before = len(between.app.calls())
        between.pair.run("live")
        made = between.app.calls()[before:]
        assert made == ["GET tickets/show_many"] * reads + [f"PUT tickets/{ticket}"]
        assert between.w.value(ticket, "tags") == [f"after_{seconds}"]
