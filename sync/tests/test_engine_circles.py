"""A circle of three systems: what one mapping made, or may have made, no other makes a second time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import pytest
from django.utils import timezone

from connections.connectors.memory import US, MemoryConnector, World
from sync import instructions
from sync.models import ChangedRecord, Link, Operation
from sync.tests.conftest import Pair, build_pair
from sync.tests.engine_cases import no_answer, once
from sync.tests.test_engine_answered_creates import timed_out

pytestmark = pytest.mark.django_db


@dataclass
class Circle:
    """Left and Third have a record of one thing; the mapping of Left and Right asks whether it made one in Right."""

    asks: Pair
    other: Pair  # of Third and Right

    def look(self) -> None:
        """The other mapping looks at all that waits."""
        for _ in range(4):
            ChangedRecord.objects.filter(mapping=self.other.mapping).update(not_before=timezone.now())
            self.other.run()

    def numbers(self) -> tuple[int, int, int]:
        return len(self.asks.left.alive()), len(self.other.left.alive()), len(self.asks.right.alive())

    def answer(self, kind: str, user: Any, **params: Any) -> None:
        instructions.ask(Link.objects.get(mapping=self.asks.mapping), kind, {}, user, params)
        self.asks.run()


def made_and_forgotten(right: World) -> None:
    [made] = right.alive()
    right.records[made] = replace(right.records[made], correlation_key=None, created_by=None)


def key_on_two(right: World) -> None:
    [made] = right.alive()
    copy = right.add(title="A copy of it")
    right.records[copy] = replace(right.records[copy], correlation_key=right.records[made].correlation_key)


def circle(pair: Pair, meanwhile: Callable[[World], None], code: str) -> Circle:
    other = build_pair("Other", World("Third"), pair.right)
    between = build_pair("Between", pair.left, other.left)
    for one in (pair, other, between):
        one.publish(match_keys=[])
        one.approve()
    pair.right.capabilities = replace(pair.right.capabilities, create_lookup_consistent=False, update_timeout=60)
    pair.left.add(title="Alone", body="sent")
    between.quiet()

    def lost() -> None:
        meanwhile(pair.right)
        no_answer()

    once(pair.right, "create", lost, when="after")
    pair.run()
    with mock.patch.object(MemoryConnector, "own_recent", lambda *_: list(pair.right.alive().values())):
        timed_out()
        pair.run()
    assert [one.code for one in pair.open_conflicts()] == [code]
    return Circle(pair, other)


@pytest.fixture
def asked(pair: Pair) -> Circle:
    return circle(pair, made_and_forgotten, "created_or_not")


def test_what_a_person_is_asked_about_is_neither_made_nor_copied_by_another_mapping(asked: Circle) -> None:
    asked.look()
    assert asked.numbers() == (1, 1, 1)
    assert not Link.objects.filter(mapping=asked.other.mapping).exists() and not asked.other.open_conflicts()


@pytest.mark.parametrize("made", ["long before", "meanwhile"])
def test_only_what_was_made_since_may_be_what_is_asked_about(asked: Circle, made: str) -> None:
    """Our account may have made very many records before, and others do with it."""
    right = asked.asks.right
    old = right.add(title="Made by our account")
    at = "2020-01-01T00:00:00Z" if made == "long before" else right.records[old].created_at
    right.records[old] = replace(right.records[old], created_by=US, created_at=at, correlation_key=None)
    asked.other.ring("right", old)
    asked.look()
    assert Link.objects.filter(mapping=asked.other.mapping, right_id=old).exists() == (made == "long before")


def test_a_create_planned_before_a_person_was_asked_is_not_sent(asked: Circle) -> None:
    with mock.patch("sync.unlinked.asked_elsewhere", return_value={}):
        asked.other.run()
    assert Operation.objects.get(mapping=asked.other.mapping).result["code"] == "planned_again"
    asked.look()
    assert asked.numbers() == (1, 1, 1), "nor is it planned again"


@pytest.mark.parametrize("how", ["new", "planned before"])
@pytest.mark.parametrize("kind", ["relink", "recreate"])
def test_once_it_is_answered_the_other_mapping_binds_what_there_is(
    asked: Circle, kind: str, how: str, admin_user: Any, django_capture_on_commit_callbacks: Any
) -> None:
    if how == "planned before":
        with mock.patch("sync.unlinked.asked_elsewhere", return_value={}):
            asked.other.run()
    asked.look()
    waiting = ChangedRecord.objects.filter(mapping=asked.other.mapping, side="left")
    assert waiting.get().not_before > timezone.now()
    [made] = asked.asks.right.alive()
    params = {"side": "right", "id": made} if kind == "relink" else {}
    if kind == "recreate":
        asked.asks.right.records.clear()
    with django_capture_on_commit_callbacks(execute=True):
        asked.answer(kind, admin_user, **params)
    assert waiting.get().not_before <= timezone.now(), "rung at once"
    asked.look()
    assert asked.numbers() == (1, 1, 1)
    [there] = asked.asks.right.alive()
    assert Link.objects.get(mapping=asked.other.mapping).right_id == there


def test_a_question_that_ends_by_itself_rings_as_well(asked: Circle, django_capture_on_commit_callbacks: Any) -> None:
    asked.look()
    [gone] = asked.asks.left.alive()
    asked.asks.left.remove(gone)
    asked.asks.ring("left", gone, deleted=True)
    with django_capture_on_commit_callbacks(execute=True):
        asked.asks.run()
    assert not [one for one in asked.asks.open_conflicts() if one.link]
    assert ChangedRecord.objects.get(mapping=asked.other.mapping, side="left").not_before <= timezone.now()


def test_left_unlinked_without_an_answer_the_other_mapping_asks(
    asked: Circle, admin_user: Any, django_capture_on_commit_callbacks: Any
) -> None:
    asked.answer("unlink", admin_user)
    asked.look()
    assert asked.numbers() == (1, 1, 1)
    [third] = asked.other.left.alive()
    [made] = asked.asks.right.alive()
    questions = {one.subject: one.code for one in asked.other.open_conflicts()}
    assert questions == {f"left:{third}": "may_have_a_twin", f"right:{made}": "may_be_made_by_us"}
    with django_capture_on_commit_callbacks(execute=True):
        asked.answer("relink", admin_user, side="right", id=made)
    asked.look()
    assert not asked.other.open_conflicts()
    assert Link.objects.get(mapping=asked.other.mapping).right_id == made


def test_which_of_several_is_ours_no_other_mapping_decides(pair: Pair) -> None:
    found = circle(pair, key_on_two, "key_twice")
    found.look()
    assert found.numbers() == (1, 1, 2)
    assert not Link.objects.filter(mapping=found.other.mapping).exists()
