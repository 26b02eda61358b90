"""ServiceNow incidents and things in memory, kept in agreement over HTTP: the whole way through the engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections import open as opening
from connections.connectors.memory import World as Memory
from connections.models import Connection
from connections.tests.servicenow_world import PASSWORD, Recording, World, world
from mappings.models import Mapping
from sync import jobs
from sync.models import AuditEntry, Link, Operation
from sync.simulation.setting import side
from sync.tests.call_cases import System, assert_at_most, at_full_speed, costs, in_bulk
from sync.tests.conftest import Pair, rule

pytestmark = pytest.mark.django_db(transaction=True)


def pairing(rule_id: str, column: str, path: str, kind: str = "text", **more: Any) -> dict[str, Any]:
    """A rule between a ServiceNow column and a field in memory."""
    made = rule(rule_id, path, kind, **more)
    made["left"] |= {"path": column, "label": column}
    return made


RULES = [
    pairing("title", "short_description", "title", left={"required": True, "max_length": 160}),
    pairing("body", "description", "body", left={"max_length": 4000}),
    pairing("amount", "u_effort", "amount", "number"),
]


class Between:
    """A mapping of incidents (left) to things in memory (right)."""

    def __init__(self, w: World) -> None:
        self.w = w
        self.app: Recording = w.app
        self.memory = Memory("Memory")
        left = Connection.objects.create(
            name="ServiceNow",
            kind="servicenow",
            address=w.address,
            settings={"username": "syncadmin", "tables": "incident"},
            secrets={"password": PASSWORD},
            state="ok",
            account_id="syncadmin",
        )
        right = Connection.objects.create(
            name="Memory",
            kind="memory",
            address="https://memory.example.com",
            settings={"world": "Memory"},
            state="ok",
            account_id="syncadmin",
        )
        mapping = Mapping.objects.create(
            name="Incidents",
            slug="incidents",
            left_connection=left,
            left_object_type="incident",
            right_connection=right,
            right_object_type="thing",
        )
        self.pair = Pair(self.memory, self.memory, mapping)
        self.pair.publish(
            left=side(left, kind="servicenow", object_type="incident", object_label="Incident"),
            right=side(right),
            match_keys=[[{"left": "u_reference", "right": "ref"}]],
            initial="fill_empty",
            poll_seconds=15,
            brakes={},
            rules=RULES,
        )
        self.pair.approve()

    def quiet(self) -> None:
        """Poll both sides, and run until nothing waits."""
        self.pair.quiet()

    def linked(self, **values: str) -> tuple[str, str]:
        incident = self.w.incident(**values)
        self.quiet()
        return incident, Link.objects.get(left_id=incident).right_id


def race(between: Between, monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> list[str]:
    """Jane edits an incident right before our next write of it; returns those she was in time for."""
    real = between.w.records.edit
    raced: list[str] = []

    def edit(table: str, id: str, given: dict[str, str], by: str) -> dict[str, str]:
        if by == "syncadmin" and not raced:
            raced.append(id)
            real(table, id, values, "jane.doe")
        return real(table, id, given, by)

    monkeypatch.setattr(between.w.records, "edit", edit)
    return raced


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    monkeypatch.setattr(jobs, "enqueue", lambda *args: None)
    monkeypatch.setattr(opening.Budget, "spend", lambda self: None)
    os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with world() as w:
        yield Between(w)
    Memory.registry.clear()


def test_a_new_incident_becomes_a_thing_and_a_new_thing_an_incident_that_carries_its_key(between: Between) -> None:
    incident, thing = between.linked(description="Smoke", u_effort="2.50")
    assert between.memory.value(thing, "title") == "Printer on fire"
    assert between.memory.value(thing, "amount") == 2.5
    other = between.memory.add(title="Screen dark", body="No light")
    between.quiet()
    link = Link.objects.get(right_id=other)
    row = between.w.records.rows("incident")[link.left_id]
    assert (row["short_description"], row["description"]) == ("Screen dark", "No light")
    assert row["correlation_id"] and row["sys_created_by"] == "syncadmin"
    between.quiet()
    assert len(between.w.records.rows("incident")) == 2 and len(between.memory.alive()) == 2
    assert incident != link.left_id


def test_edits_cross_in_both_directions_and_then_all_is_quiet(between: Between) -> None:
    incident, thing = between.linked(description="one")
    between.w.records.edit("incident", incident, {"description": "two"}, "jane.doe")
    between.quiet()
    assert between.memory.value(thing, "body") == "two"
    between.memory.edit(thing, body="three", amount=4)
    between.quiet()
    assert (between.w.value(incident, "description"), between.w.value(incident, "u_effort")) == ("three", "4")
    writes = Operation.objects.filter(state="confirmed").count()
    between.quiet()
    assert Operation.objects.filter(state="confirmed").count() == writes


def test_an_edit_between_our_read_and_our_write_is_asked_about_with_its_value(
    between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ServiceNow takes no condition with a write; its audit tells what the write replaced."""
    incident, thing = between.linked(description="one")
    raced = race(between, monkeypatch, {"description": "Jane's own"})
    between.memory.edit(thing, body="two")
    between.quiet()
    assert raced == [incident]
    [question] = between.pair.open_conflicts()
    assert (question.kind, question.params["overwritten"]) == ("clobber", "Jane's own")


def test_a_column_that_a_create_leaves_out_never_empties_the_source(between: Between) -> None:
    """Our account may not write it, and ServiceNow says nothing of that."""
    between.app.fixed_columns.add(("incident", "description"))
    thing = between.memory.add(title="Screen dark", body="No light at all")
    between.quiet()
    assert between.memory.value(thing, "body") == "No light at all"
    assert between.w.value(Link.objects.get(right_id=thing).left_id, "short_description") == "Screen dark"
    [question] = between.pair.open_conflicts()
    assert (question.kind, question.rule_id) == ("refused", "body")
    assert not AuditEntry.objects.filter(action="write", field_label="description").exists(), "it was not written"


def test_a_column_that_an_update_leaves_out_beside_others_never_brings_the_old_value_back(between: Between) -> None:
    incident, thing = between.linked(description="one")
    between.app.fixed_columns.add(("incident", "description"))
    between.memory.edit(thing, title="New title", body="two")
    between.quiet()
    assert between.w.value(incident, "short_description") == "New title"
    assert (between.w.value(incident, "description"), between.memory.value(thing, "body")) == ("one", "two")
    [question] = between.pair.open_conflicts()
    assert (question.kind, question.rule_id) == ("refused", "body")
    told = AuditEntry.objects.filter(action="write", side="left")
    assert [entry.field_label for entry in told] == ["short_description"], "only what was written is told as written"
    writes = Operation.objects.count()
    between.quiet()
    assert Operation.objects.count() == writes, "it is not sent again"


def test_an_edit_that_was_overwritten_is_asked_about_though_another_column_was_left_out(
    between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident, thing = between.linked(description="one")
    between.app.fixed_columns.add(("incident", "description"))
    raced = race(between, monkeypatch, {"short_description": "Jane's own"})
    between.memory.edit(thing, title="New title", body="two")
    between.quiet()
    assert raced == [incident]
    asked = {question.rule_id: question for question in between.pair.open_conflicts()}
    assert (asked["title"].kind, asked["title"].params["overwritten"]) == ("clobber", "Jane's own")
    assert asked["body"].kind == "refused"
    assert between.memory.value(thing, "body") == "two"


def test_a_column_left_out_right_after_an_edit_of_another_is_asked_about(between: Between) -> None:
    incident, thing = between.linked(description="one")
    between.app.fixed_columns.add(("incident", "description"))
    between.w.records.edit("incident", incident, {"short_description": "Jane's own"}, "jane.doe")
    between.memory.edit(thing, body="two")
    between.quiet()
    assert (between.memory.value(thing, "title"), between.memory.value(thing, "body")) == ("Jane's own", "two")
    [question] = between.pair.open_conflicts()
    assert (question.kind, question.rule_id) == ("refused", "body")


def test_a_twin_whose_closing_was_left_out_in_part_is_not_told_as_closed(between: Between) -> None:
    closing = {"state": "Closed", "close_code": "Solved (Permanently)", "close_notes": "Gone"}
    document = between.pair.mapping.published.document
    left, right = {**document["left"], "close_values": closing}, {**document["right"], "on_delete": "close"}
    between.pair.publish(left=left, right=right)
    incident, thing = between.linked()
    between.app.fixed_columns.add(("incident", "state"))
    between.memory.remove(thing)
    between.quiet()
    assert (between.w.value(incident, "state"), between.w.value(incident, "close_notes")) == ("1", "Gone")
    assert Link.objects.get().state == "active"
    [question] = between.pair.open_conflicts()
    assert question.code == "close_refused"


def test_what_a_business_rule_makes_of_a_value_comes_back_and_is_no_question(between: Between) -> None:
    def rule(table: str, before: Any, after: dict[str, str]) -> None:
        if table == "incident":
            after["description"] = after["description"].upper()

    between.w.records.before_rules.append(rule)
    thing = between.memory.add(title="Screen dark", body="No light at all")
    between.quiet()
    incident = Link.objects.get(right_id=thing).left_id
    assert between.w.value(incident, "description") == between.memory.value(thing, "body") == "NO LIGHT AT ALL"
    between.memory.edit(thing, title="New title", body="two")
    between.quiet()
    assert between.w.value(incident, "description") == between.memory.value(thing, "body") == "TWO"
    assert not between.pair.open_conflicts()


def test_a_hidden_column_clears_nothing_on_the_other_side(between: Between) -> None:
    incident, thing = between.linked(description="precious")
    between.app.hidden_columns.add(("incident", "description"))
    between.w.records.edit("incident", incident, {"short_description": "edited"}, "jane.doe")
    for _ in range(3):  # its hint waits until it is known why the field is not shown
        between.pair.run()
    assert (between.memory.value(thing, "title"), between.memory.value(thing, "body")) == ("edited", "precious")


def test_a_deletion_in_the_log_asks_a_person_and_deletes_nothing(between: Between) -> None:
    incident, thing = between.linked()
    between.w.records.delete("incident", incident, "jane.doe")
    between.quiet()
    assert [one.kind for one in between.pair.open_conflicts()] == ["delete_update"]
    assert thing in between.memory.alive()


def test_a_create_whose_answer_is_lost_makes_one_incident(between: Between) -> None:
    between.linked()
    between.app.fault("drop_after", method="POST", path="/table/incident$")
    thing = between.memory.add(title="Lost")
    between.pair.run()
    assert not between.app.faults[0].times
    # Our own record without a link waits until it is known what became of the write: after the system's time-out.
    past = timezone.now() - timedelta(hours=1)
    assert Operation.objects.filter(state="uncertain").update(claimed_at=past, not_before=past) == 1
    between.pair.run()
    between.quiet()
    made = [r for r in between.w.records.rows("incident").values() if r["short_description"] == "Lost"]
    assert len(made) == 1
    assert Link.objects.get(right_id=thing).left_id == made[0]["sys_id"]


def test_a_pair_that_rests_costs_one_call_a_poll(between: Between) -> None:
    between.linked()
    between.quiet()
    before = len(between.app.requests)
    between.pair.run()
    assert [r.path for r in between.app.requests[before:]] == ["/api/now/v1/batch"]


@pytest.mark.same_everywhere
def test_what_changes_cost(between: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    at_full_speed(monkeypatch)
    incidents = System(
        between.w.incident,
        lambda id, text: between.w.records.edit("incident", id, {"short_description": text}, "jane.doe"),
    )
    other = in_bulk(between.memory)
    told = costs(between.pair, "left", incidents, other, between.app.calls, between.quiet)
    # A hundred updates are a read and two batches.
    assert_at_most(
        told,
        idle=1,
        live_from=1,
        live_to=2,
        create_from=0.02,
        poll_from=0.02,
        update_from=0.02,
        create_to=0.04,
        poll_to=0.04,
        update_to=0.04,
    )
