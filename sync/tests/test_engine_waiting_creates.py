"""A record whose twin is still to be made can be found: a twin that somebody makes by hand is linked, never copied."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import ConnectorError, Refused, Retry
from connections.connectors.memory import MemoryConnector
from sync.models import ChangedRecord, Link
from sync.tests.conftest import Pair
from sync.tests.engine_cases import live, once

pytestmark = pytest.mark.django_db

REFUSED, BUSY = Refused("No creates today."), Retry("busy", after=0)


@pytest.fixture(params=["searched", "search lags"])
def search(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a search by match key finds what is there, or what was noted has to tell."""
    if request.param == "search lags":
        monkeypatch.setattr(MemoryConnector, "find_by_values", lambda *_: [])


def waiting(pair: Pair, error: ConnectorError, **values: Any) -> str:
    """A record on the left whose create failed."""
    external_id = pair.left.add(**values)

    def fail() -> None:
        raise error

    once(pair.right, "create", fail)
    pair.run()
    assert Link.objects.get(left_id=external_id).state == "creating"
    return external_id


def linked(pair: Pair, left: str, right: str) -> None:
    """These two records are all there is, and one pair."""
    assert list(pair.left.alive()) == [left] and list(pair.right.alive()) == [right]
    link = Link.objects.get()
    assert (link.left_id, link.right_id, link.state) == (left, right, "active")
    assert not pair.open_conflicts()


@pytest.mark.usefixtures("search")
@pytest.mark.parametrize("error", [REFUSED, BUSY], ids=["refused", "busy"])
@pytest.mark.parametrize("creates", [True, False], ids=["both ways", "one way"])
def test_who_makes_the_twin_by_hand_of_a_record_whose_create_failed_is_linked(
    pair: Pair, error: ConnectorError, creates: bool
) -> None:
    document = pair.mapping.published.document
    pair.publish(left={**document["left"], "create": creates})
    left = waiting(pair, error, title="Mine", ref="R3", body="ours")
    ChangedRecord.objects.all().delete()  # it is not its turn yet
    by_hand = pair.right.add(title="Mine", ref="R3")
    pair.ring("right", by_hand)
    live(pair)
    linked(pair, left, by_hand)
    assert pair.right.value(by_hand, "body") == "ours"


@pytest.mark.usefixtures("search")
def test_a_twin_made_by_hand_that_is_looked_at_together_with_its_record_is_linked(pair: Pair) -> None:
    left = waiting(pair, BUSY, title="Mine", ref="R3")
    by_hand = pair.right.add(title="Mine", ref="R3")
    pair.ring("right", by_hand, lane=ChangedRecord.Lane.RETRY)
    ChangedRecord.objects.update(not_before=timezone.now())
    live(pair)
    linked(pair, left, by_hand)


@pytest.mark.usefixtures("search")
@pytest.mark.parametrize("first", ["the other record", "the edit"])
def test_a_waiting_record_whose_key_was_edited_is_linked_to_the_one_that_it_fits_now(pair: Pair, first: str) -> None:
    document = pair.mapping.published.document
    pair.publish(left={**document["left"], "create": False})
    left = waiting(pair, REFUSED, title="Mine", ref="R3")
    pair.right.before = refuse
    for step in (0, 1) if first == "the other record" else (1, 0):
        if step:
            pair.left.edit(left, ref="R8")
            pair.ring("left", left)
        else:
            there = pair.right.add(title="Mine", ref="R8")
            pair.ring("right", there)
        live(pair)
    linked(pair, left, there)


def refuse(verb: str, ids: Any) -> None:
    if verb == "create":
        raise REFUSED


@pytest.mark.usefixtures("search")
def test_two_records_that_both_wait_for_a_twin_and_fit_by_an_edit_are_not_copied(pair: Pair) -> None:
    left = waiting(pair, REFUSED, title="A", ref="R3")
    right = pair.right.add(title="A", ref="R4")
    pair.left.before = refuse
    pair.ring("right", right)
    live(pair)
    assert {one.state for one in Link.objects.all()} == {"creating"}
    pair.left.edit(left, ref="R4")
    pair.ring("left", left)
    live(pair)
    pair.right.edit(right, body="again")
    pair.ring("right", right)
    live(pair)
    assert list(pair.left.alive()) == [left] and list(pair.right.alive()) == [right]
    assert "fits_a_linked_record" in [one.code for one in pair.open_conflicts()]


def test_a_match_key_of_several_fields_is_asked_for_by_one_that_can_be_searched(pair: Pair) -> None:
    for world in (pair.left, pair.right):
        world.fields = [replace(one, matchable=one.path == "ref") for one in world.fields]
    pair.publish(match_keys=[[{"left": path, "right": path} for path in ("title", "ref")]])
    right = pair.right.add(title="Mine", ref="R3")
    left = pair.left.add(title="Mine", ref="R3")
    pair.ring("left", left)
    live(pair)
    linked(pair, left, right)


@pytest.mark.usefixtures("search")
@pytest.mark.parametrize("link", [False, True], ids=["new", "waits for its twin"])
def test_a_question_about_who_is_meant_ends_once_a_key_was_edited_so_that_one_is_left(pair: Pair, link: bool) -> None:
    left = waiting(pair, REFUSED, title="A", ref="R3") if link else pair.left.add(title="A", ref="R9")
    first, other = (pair.right.add(title="A", ref="R9") for _ in range(2))
    if link:
        pair.right.before = refuse
        pair.left.edit(left, ref="R9")
    for side, record in (("right", first), ("right", other), ("left", left)):
        pair.ring(side, record)
    live(pair)
    pair.right.before = lambda *_: None
    assert {one.code for one in pair.open_conflicts()} == {"several_fit"}
    pair.right.edit(other, ref="R10")
    pair.ring("right", other)
    live(pair)
    assert not pair.open_conflicts()
    assert Link.objects.get(left_id=left).right_id == first
    assert len(pair.left.alive()) == len(pair.right.alive()) == 2
