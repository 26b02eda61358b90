"""What a look at the fields tells, and for whom: nothing is merged, taken or given up before it was judged here."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from connections.connectors.base import Retry
from connections.connectors.memory import MemoryConnector, World
from sync import schema_watch
from sync.models import Link, SchemaLook
from sync.session import Session
from sync.tests.conftest import Pair, build_pair
from sync.tests.engine_cases import live
from sync.tests.schema_cases import entry, knowing, later, linked, much_later

pytestmark = pytest.mark.django_db


@pytest.fixture
def known(pair: Pair) -> Pair:
    return knowing(pair)


def unanswered(*where: object) -> None:
    raise Retry("no answer")


def test_what_another_mapping_looked_into_is_judged_before_it_is_merged(known: Pair) -> None:
    other = build_pair("Other", known.left, World("Third"))
    other.approve()
    known.publish(rules=known.mapping.published.document["rules"])
    ids, _ = linked(known)
    other.quiet()
    third = Link.objects.get(mapping=other.mapping).right_id
    assert third
    later(known)
    known.left.change("body", kind="number")
    known.left.edit(ids["left"], body=5)
    for one in (known, other):
        one.run()
        assert entry(one).code == "type_changed"
    assert other.right.value(third, "body") == known.right.value(ids["right"], "body") == "b"


def test_a_look_that_broke_off_before_it_was_judged_is_judged_by_the_next_run(
    known: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, _ = linked(known)
    known.left.change("body", kind="number")
    known.left.edit(ids["left"], body=5)

    def killed(*judged: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(schema_watch, "judge", killed)
        known.run()
    known.run()
    assert known.right.value(ids["right"], "body") == "b" and entry(known).code == "type_changed"


@pytest.mark.parametrize("why", ["another run is at it", "not answered"])
def test_a_look_without_a_list_tells_nothing_and_the_edit_waits(
    known: Pair, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    ids, _ = linked(known)
    looks = schema_watch._looks

    def claimed_by_another(session: Session) -> dict[str, SchemaLook]:
        found = looks(session)
        SchemaLook.objects.update(due_at=timezone.now() + timedelta(minutes=10))
        return found

    with monkeypatch.context() as patch:
        if why == "not answered":
            patch.setattr(MemoryConnector, "described", unanswered)
        else:
            patch.setattr(schema_watch, "_looks", claimed_by_another)
        known.left.hidden = {"body"}
        known.left.edit(ids["left"], body="meanwhile")
        known.run()
    known.left.hidden = set()
    live(known, rounds=1)
    assert known.right.value(ids["right"], "body") == "meanwhile", "no bell and no list tells of it again"


def looked_into_for_a_bare_record(pair: Pair) -> str:
    """Another pair than the one that is returned never had the field, and the list says that this is all."""
    ids, _ = linked(pair)
    bare = pair.left.add(title="Bare", ref="B1")
    del pair.left.records[bare].values["body"]
    pair.quiet()
    later(pair)
    pair.left.edit(bare, status="done")
    pair.ring("left", bare)
    live(pair)
    later(pair)
    return ids["left"]


def test_an_edit_in_a_hidden_field_waits_although_a_look_found_that_other_records_lack_it(known: Pair) -> None:
    edited = looked_into_for_a_bare_record(known)
    known.left.hidden = {"body"}
    known.left.edit(edited, body="meanwhile")
    known.ring("left", edited)
    live(known, rounds=1)
    known.left.hidden = set()
    much_later(known)
    live(known)
    assert known.right.value(Link.objects.get(left_id=edited).right_id or "", "body") == "meanwhile"


def test_another_form_is_looked_into_although_a_look_found_that_other_records_lack_the_field(known: Pair) -> None:
    edited = looked_into_for_a_bare_record(known)
    known.left.change("body", kind="number")
    known.left.edit(edited, body=5)
    known.ring("left", edited)
    live(known, rounds=1)
    assert known.right.value(Link.objects.get(left_id=edited).right_id or "", "body") == "b"
    assert entry(known).code == "type_changed"


def test_what_was_found_stays_while_the_list_for_another_scope_is_not_answered(
    known: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, _ = linked(known)
    known.left.change("body", kind="number")
    much_later(known)
    known.run()
    with monkeypatch.context() as patch:
        patch.setattr(MemoryConnector, "described", unanswered)
        known.publish_as_is(left={**known.mapping.published.document["left"], "scope": {"ref": "R1"}})
        known.right.edit(ids["right"], body="meanwhile", status="done")
        for _ in range(2):
            known.run()
            assert entry(known).code == "type_changed"
    assert known.left.value(ids["left"], "body") == "b" and known.left.value(ids["left"], "status") == "done"
    known.left.change("body", kind="text")
    much_later(known)
    known.quiet()
    assert known.left.value(ids["left"], "body") == "meanwhile" and not known.open_conflicts()


@pytest.mark.parametrize("why", ["a moment ago", "not answered"])
def test_a_value_of_another_form_waits_for_the_next_look(
    known: Pair, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    ids, _ = linked(known)
    known.left.change("body", kind="number")
    known.left.edit(ids["left"], body=5, status="done")
    with monkeypatch.context() as patch:
        if why == "not answered":
            patch.setattr(MemoryConnector, "described", unanswered)
        else:
            SchemaLook.objects.update(looked_at=timezone.now())
        known.run()
    assert known.right.value(ids["right"], "body") == "b" and known.right.value(ids["right"], "status") == "done"
    later(known)
    live(known)
    assert known.right.value(ids["right"], "body") == "b" and entry(known).code == "type_changed"
    known.left.change("body", kind="text")
    known.left.edit(ids["left"], body="five")
    much_later(known)
    known.quiet()
    assert known.right.value(ids["right"], "body") == "five" and not known.open_conflicts()
