"""The engine between two described APIs: one that helps wherever it can, one that hardly does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections import open as opening
from connections.models import Connection
from connections.sandbox.base import Request, Response
from connections.sandbox.rest_habits import Habits
from connections.tests.rest_documents import things_document
from connections.tests.rest_world import SECRETS, SETTINGS, RestWorld, rest_world
from mappings.compiled import compile_document
from mappings.models import Mapping
from sync import engine, jobs
from sync.merge import OTHER
from sync.models import ChangedRecord, Conflict, Cursor, Link, MappingState, Operation, SchemaLook
from sync.simulation.setting import build_mapping, publish, rule, side
from sync.tests.call_cases import System, assert_at_most, at_full_speed, costs, moving_on
from sync.tests.conftest import Pair
from sync.views._why import known_of, why

HELPFUL = Habits(deleted="tombstone", idempotent=True)
BARE = Habits(
    paging="offset", changes=False, condition="none", write="PUT", answers=False, wrap="thing", many=False, quiet=True
)
LIMIT = {"required": True, "max_length": 120}
RULES = [
    rule("title", "title", left=LIMIT, right=LIMIT),
    rule("body", "body"),
    rule("status", "status", "option"),
    rule("labels", "labels", "set", policy="merge_sets"),
    rule("amount", "amount", "number"),
]


@dataclass
class Two:
    left: RestWorld
    right: RestWorld
    mapping: Mapping

    def add(self, world: RestWorld, **values: Any) -> str:
        return str(world.things.create({"title": "Thing", **values}, "7")["id"])

    def value(self, world: RestWorld, id: str, path: str) -> Any:
        return world.app.store.get("thing", id)[path]

    def run(self) -> None:
        Cursor.objects.update(read_at=None)
        ChangedRecord.objects.filter(attempts=0).update(not_before=timezone.now() - timedelta(seconds=1))
        engine.run(self.mapping.pk, kind="manual")

    def settle(self) -> None:
        """Poll both sides and run until nothing waits."""
        for _ in range(6):
            self.run()
        waiting = ChangedRecord.objects.filter(attempts=0)
        assert not waiting.exists(), list(waiting.values())

    def calls(self, world: RestWorld) -> list[str]:
        made = world.calls()
        world.app.log.clear()
        return made


@contextmanager
def between(
    monkeypatch: pytest.MonkeyPatch, right: Habits, describe: Callable[[Habits], dict[str, Any]] = things_document
) -> Iterator[Two]:
    """The helpful system and another one, which `describe` describes."""
    monkeypatch.setattr(jobs, "enqueue", lambda *args: None)
    monkeypatch.setattr(opening, "_paused", {})
    monkeypatch.setattr(opening.Budget, "spend", lambda self: None)
    with ExitStack() as stack:
        worlds = [stack.enter_context(rest_world(habits)) for habits in (HELPFUL, right)]
        documents_of = (things_document, describe)
        rows = []
        for name, world, document_of in zip(("Left", "Right"), worlds, documents_of, strict=True):
            settings: dict[str, Any] = {**SETTINGS, "definition": document_of(world.app.habits)}
            rows.append(
                Connection.objects.create(
                    name=name, kind="rest", address=world.address, settings=settings, secrets=SECRETS, state="ok"
                )
            )
        documents = {"left": side(rows[0], kind="rest"), "right": side(rows[1], kind="rest")}
        mapping = build_mapping("Rest", *rows, RULES, match_keys=[[{"left": "title", "right": "title"}]], **documents)
        MappingState.objects.update_or_create(
            mapping=mapping, defaults={"approved_at": timezone.now(), "surveyed_at": timezone.now()}
        )
        yield Two(*worlds, mapping)


@pytest.fixture
def two(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Two]:
    with between(monkeypatch, BARE) as made:
        yield made


def made_elsewhere(habits: Habits) -> dict[str, Any]:
    document = things_document(habits)
    document["object_types"][0]["create"]["path"] = "/api/nothing-there"
    return document


@pytest.mark.django_db
def test_a_create_that_is_answered_by_not_found_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    with between(monkeypatch, Habits(), made_elsewhere) as two:
        two.add(two.left)
        two.settle()
        [question] = Conflict.objects.all()
        assert (question.kind, question.state) == ("refused", "open")


def with_an_archive(habits: Habits) -> dict[str, Any]:
    """As Freshdesk is described: what is not found may lie in the archive."""
    document = things_document(habits)
    document["object_types"][0]["trust"] = {"not_found_tells_nothing": True}
    return document


def test_a_record_that_went_into_an_archive_is_never_taken_for_deleted(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with between(monkeypatch, Habits(deleted="404"), with_an_archive) as two:
        twin, _ = two.add(two.left), two.add(two.left, title="Another")
        two.settle()
        link = Link.objects.get(left_id=twin)
        two.right.things.delete(link.right_id, "7")
        for _ in range(3):
            Cursor.objects.update(swept_at=None)
            ChangedRecord.objects.update(first_rung_at=timezone.now() - timedelta(hours=2), not_before=timezone.now())
            two.run()
        link.refresh_from_db()
        assert (link.state, link.out_of_scope, link.deleted_right) == ("active", "right", False)
        assert not Conflict.objects.exists() and not two.value(two.left, twin, "_gone")
        assert "archive" in why(link, known_of(link), {"left": "Left", "right": "Right"}, None).head


def without_a_key(habits: Habits) -> dict[str, Any]:
    """As Freshdesk is described: no place for our key, and nobody tells who made a record."""
    document = things_document(habits)
    [thing] = [one for one in document["object_types"] if one["name"] == "thing"]
    del thing["key"], thing["place"]["created_by"]
    return document


def key_in_the_header_alone(habits: Habits) -> dict[str, Any]:
    """The same key twice makes one record; the key itself is not shown, nor who made a record."""
    document = things_document(habits)
    [thing] = [one for one in document["object_types"] if one["name"] == "thing"]
    thing["key"] = {"header": "Idempotency-Key"}
    del thing["place"]["created_by"]
    return document


def test_a_record_is_created_once_and_edits_cross_both_ways_between_unequal_systems(two: Two):
    left = two.add(two.left, body="one\ntwo", status=2, labels=["b", "a"], amount=2.5)
    two.settle()
    link = Link.objects.get()
    right = str(link.right_id)
    assert (link.left_id, two.value(two.right, right, "title")) == (left, "Thing")
    assert (two.value(two.right, right, "status"), two.value(two.right, right, "amount")) == (2, 2.5)
    two.left.things.update(left, {"title": "Edited left"}, "7")
    two.right.things.update(right, {"body": "edited right", "labels": ["c"]}, "7")
    two.settle()
    assert two.value(two.right, right, "title") == "Edited left"
    assert two.value(two.left, left, "body") == "edited right"
    assert two.value(two.left, left, "labels") == ["c"]
    assert len(two.left.things.all()) == len(two.right.things.all()) == 1
    assert not Conflict.objects.exists()


MERGING = Habits(many=False, deleted="404")


def merging(habits: Habits) -> dict[str, Any]:
    """An id that was merged away answers with the record it went into, as HubSpot's do."""
    document = things_document(habits)
    [thing] = [one for one in document["object_types"] if one["name"] == "thing"]
    thing["read"]["merged"] = True
    return document


@pytest.mark.django_db
@pytest.mark.parametrize("described", [True, False])
def test_a_merged_record_stops_no_other_and_its_pair_goes_on_where_the_description_says_so(
    monkeypatch: pytest.MonkeyPatch, described: bool
):
    with between(monkeypatch, MERGING, merging if described else things_document) as two:
        lefts = [two.add(two.left, title=f"Thing {number}", body="b") for number in range(3)]
        two.settle()
        links = [Link.objects.get(left_id=left) for left in lefts]
        master = two.add(two.right, title="Master", body="b")
        merged, other = str(links[0].right_id), str(links[1].right_id)
        two.right.things.merge(merged, master)
        for left in lefts:
            two.left.things.update(left, {"body": "edited"}, "7")
        for _ in range(6):
            two.run()
        assert two.value(two.right, other, "body") == "edited", "the others do not wait for it"
        assert Connection.objects.get(name="Right").state == "ok"
        links[0].refresh_from_db()
        followed = (master, "edited") if described else (merged, "b")
        assert (links[0].right_id, two.value(two.right, master, "body")) == followed
        assert links[0].state == "active", "a record that is answered oddly is not gone"


def lacking(world: RestWorld, monkeypatch: pytest.MonkeyPatch, *ids: str) -> None:
    """From now on these things have no body at all; without ids, no thing has."""
    shown = world.things.shown

    def less(thing: Any) -> dict[str, Any]:
        found = shown(thing)
        if not ids or str(thing["id"]) in ids:
            found.pop("body", None)
        return found

    monkeypatch.setattr(world.things, "shown", less)


@pytest.fixture
def parts(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Two]:
    """The other system takes what changed alone: a whole record would be sent without what it does not show."""
    with between(monkeypatch, replace(BARE, write="PATCH")) as made:
        yield made


def drifting(two: Two) -> tuple[str, str]:
    """Ten pairs that agree, and the ids of one of them whose left body was edited while the right one is not shown."""
    lefts = [two.add(two.left, title=f"Thing {number}", body="b") for number in range(10)]
    two.settle()
    SchemaLook.objects.update(odd={}, looked_at=timezone.now() - timedelta(hours=1))
    return lefts[0], str(Link.objects.get(left_id=lefts[0]).right_id)


def test_a_described_field_that_no_record_has_any_more_stands_still_with_an_entry_that_closes_by_itself(
    parts: Two, monkeypatch: pytest.MonkeyPatch
):
    two = parts
    left, right = drifting(two)
    with monkeypatch.context() as patch:
        lacking(two.right, patch)
        two.left.things.update(left, {"body": "edited", "amount": 5}, "7")
        for _ in range(3):
            two.run()
        entry = Conflict.objects.get()
        assert (entry.kind, entry.code, entry.params["field"]) == ("schema", "field_hidden", "Body")
        assert two.value(two.right, right, "amount") == 5, "the other fields flow"
        SchemaLook.objects.update(due_at=timezone.now())
        two.run()
        assert Conflict.objects.get().state == "open", "it stays as long as no record has it"
    SchemaLook.objects.update(due_at=timezone.now())
    for _ in range(4):
        two.run()
    assert Conflict.objects.get().state == "closed"
    assert two.value(two.right, right, "body") == "edited"


def test_a_field_that_one_record_alone_lacks_is_no_change_of_its_system(two: Two, monkeypatch: pytest.MonkeyPatch):
    left, right = drifting(two)
    with monkeypatch.context() as patch:
        lacking(two.right, patch, right)
        two.left.things.update(left, {"body": "edited"}, "7")
        for _ in range(3):
            two.run()
        assert not Conflict.objects.exists()
        compiled = compile_document(two.mapping.published.document)
        link = Link.objects.get(left_id=left)
        answer = why(link, known_of(link), {"left": "Left", "right": "Right"}, compiled)
        assert answer.head == "Body cannot be read in Right at the moment"
    ChangedRecord.objects.update(not_before=timezone.now())
    for _ in range(3):
        two.run()
    assert two.value(two.right, right, "body") == "edited", "the edit waited"


def test_when_nothing_happens_a_poll_costs_one_call_on_each_side(two: Two):
    for number in range(20):
        two.add(two.left, title=f"Thing {number}")
    two.settle()
    Cursor.objects.update(read_at=None, swept_at=timezone.now(), deep_at=timezone.now())
    for world in (two.left, two.right):
        two.calls(world)
    engine.run(two.mapping.pk, kind="manual")
    assert two.calls(two.left) == ["GET /api/things"]
    assert two.calls(two.right) == ["GET /api/things"], "all is listed and compared by digests; no record is read"


def test_a_write_that_is_ignored_with_success_never_brings_the_old_value_back(two: Two):
    left = two.add(two.left, status=1)
    two.settle()
    right = str(Link.objects.get().right_id)
    answered = two.right.things._checked
    two.right.things._checked = lambda values, before: {**answered(values, before), "status": 1}  # type: ignore
    two.left.things.update(left, {"status": 3, "title": "Both"}, "7")
    two.settle()
    assert two.value(two.left, left, "status") == 3, "the edit stands"
    assert two.value(two.right, right, "title") == "Both", "what else was sent was taken"
    [conflict] = Conflict.objects.filter(state="open")
    assert (conflict.kind, conflict.rule_id) == ("refused", "status")


def test_a_value_that_a_create_ignored_never_comes_back_as_an_edit(two: Two):
    answered = two.right.things._checked
    two.right.things._checked = lambda values, before: {**answered(values, before), "status": 1}  # type: ignore
    left = two.add(two.left, status=3)
    two.settle()
    right = str(Link.objects.get().right_id)
    assert two.value(two.left, left, "status") == 3
    assert two.value(two.right, right, "status") == 1
    [conflict] = Conflict.objects.filter(state="open")
    assert (conflict.kind, conflict.rule_id) == ("refused", "status")


@pytest.mark.django_db
@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("status", [403, 429])
def test_a_create_whose_people_cannot_be_asked_for_is_made_once(
    monkeypatch: pytest.MonkeyPatch, status: int, answers: bool
):
    with between(monkeypatch, Habits(deleted="tombstone", answers=answers), without_a_key) as two:
        publish(two.mapping, rules=[*RULES, rule("owner", "owner", "person")])
        handle = two.right.app.handle

        def made_and_then_refusing(request: Request) -> Response:
            if request.path == "/api/people" and two.right.things.all():
                return Response(status, {"error": {"message": "not now"}}, {"Retry-After": "0"})
            return handle(request)

        two.right.app.handle = made_and_then_refusing  # type: ignore[method-assign]
        left = two.add(two.left, title="Alone")
        two.run()
        assert Operation.objects.get().state == "uncertain"
        two.right.app.handle = handle  # type: ignore[method-assign]
        opening._paused.clear()
        Connection.objects.update(retry_after=None)
        two.run()
        assert Operation.objects.get().state == "uncertain"
        assert len(two.left.things.all()) == 1, "what the list shows of it is not taken for somebody else's record"
        past = timezone.now() - timedelta(minutes=5)
        Operation.objects.filter(state="uncertain").update(claimed_at=past, not_before=past)
        two.settle()
        [right] = two.right.things.all()
        assert [str(one["id"]) for one in two.left.things.all()] == [left]
        link = Link.objects.get()
        assert (link.left_id, link.right_id, link.state) == (left, str(right["id"]), "active")
        assert Operation.objects.get().state == "confirmed" and not Conflict.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("field", ["status", "amount"])
def test_an_edit_of_the_twin_before_its_create_is_sent_again_is_not_written_over(
    monkeypatch: pytest.MonkeyPatch, field: str
):
    with between(monkeypatch, Habits(deleted="tombstone", idempotent=True), key_in_the_header_alone) as two:
        left = two.add(two.left, title="Alone", status=1, amount=1)
        handle, all_things = two.right.app.handle, two.right.things.all

        def answers_get_lost(request: Request) -> Response:
            answer = handle(request)
            return Response(502, None) if request.method == "POST" else answer

        def lists_lag(request: Request) -> Response:
            listing = request.method == "GET" and request.path == "/api/things"
            two.right.things.all = list if listing else all_things  # type: ignore
            return handle(request)

        two.right.app.handle = answers_get_lost  # type: ignore[method-assign]
        two.run()
        [right] = all_things()
        two.right.things.update(str(right["id"]), {field: 3}, "7")
        opening._paused.clear()
        Connection.objects.update(retry_after=None)
        past = timezone.now() - timedelta(minutes=5)
        Operation.objects.filter(state="uncertain").update(claimed_at=past, not_before=past)
        MappingState.objects.update(next_poll_at=timezone.now() + timedelta(hours=1))
        two.right.app.handle = lists_lag  # type: ignore[method-assign]
        for _ in range(2):
            ChangedRecord.objects.filter(attempts=0).update(not_before=timezone.now() - timedelta(seconds=1))
            engine.run(two.mapping.pk, kind="live")
        two.right.app.handle, two.right.things.all = handle, all_things  # type: ignore[method-assign]
        two.settle()
        assert Operation.objects.filter(kind="create").count() == 2 and len(all_things()) == 1
        assert two.value(two.right, str(right["id"]), field) == 3
        assert two.value(two.left, left, field) == 3 and not Conflict.objects.exists()


HELPED = {"create_from": 0.1, "poll_from": 0.1, "update_from": 0.1, "create_to": 2.1, "poll_to": 1.1, "update_to": 1.1}
ALONE = {"create_from": 1.1, "poll_from": 1.1, "update_from": 1.1, "create_to": 3.1, "poll_to": 4.1, "update_to": 4.1}


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("left", {"idle": 3, "live_from": 1, "live_to": 2, **HELPED}),
        ("right", {"idle": 9, "live_from": 1, "live_to": 4, **ALONE}),
    ],
)
def test_what_changes_cost(two: Two, monkeypatch: pytest.MonkeyPatch, name: str, limits: dict[str, float]):
    """Without a condition a record is read right before its write, and after it where the answer does not show it."""
    at_full_speed(monkeypatch)
    names = iter(range(10**6))

    def people_of(world: RestWorld) -> System:
        return System(
            lambda: two.add(world, title=f"Thing {next(names)}"),
            lambda id, text: world.things.update(id, {"body": text}, "7"),
        )

    worlds = {"left": two.left, "right": two.right}
    system, other = (people_of(worlds[one]) for one in (name, OTHER[name]))
    later = moving_on(3600, two.left.app, two.right.app)
    pair = Pair(None, None, two.mapping)  # type: ignore[arg-type]  # no worlds in memory
    told = costs(pair, name, system, other, worlds[name].calls, pair.quiet, later)
    assert_at_most(told, **limits)
