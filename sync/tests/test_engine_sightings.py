"""A record that a look does not find may be hidden: believed gone after two looks of its own, an hour apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import Record
from sync import instructions
from sync.models import ChangedRecord, Link
from sync.tests.conftest import Pair
from sync.tests.engine_cases import live
from sync.tests.test_engine_deletions import later, on_delete

pytestmark = pytest.mark.django_db


@pytest.fixture
def hiding(pair: Pair) -> Pair:
    """On both sides a 404 may mean hidden; a second pair stays readable."""
    on_delete(pair, "delete", on_delete="delete")
    for world in (pair.left, pair.right):
        world.capabilities = replace(world.capabilities, not_found_means_gone=False, lists_deletions=False)
        world.add(title="Still readable", ref="R2")
    return pair


def test_a_twin_that_waited_beside_a_hidden_record_is_not_gone_at_its_first_sighting(hiding: Pair) -> None:
    pair = hiding
    left, right, link = pair.linked(body="b")
    hidden = pair.left.records.pop(left)
    pair.right.edit(right, body="new")
    pair.ring("left", left)
    pair.ring("right", right)
    pair.run("live")
    later(pair, 1.1)
    pair.left.records[left] = hidden
    hidden = pair.right.records.pop(right)
    pair.run("live")
    link.refresh_from_db()
    assert not link.deleted_right and left in pair.left.alive()
    pair.right.records[right] = hidden
    later(pair, 1.1)
    pair.run("live")
    assert pair.both(left, right, "body") == ("new", "new") and not ChangedRecord.objects.exists()
    assert not pair.open_conflicts()


def test_a_record_that_was_there_between_two_looks_that_did_not_find_it_is_not_gone(hiding: Pair) -> None:
    pair = hiding
    left, right, link = pair.linked(body="b")
    hidden = pair.left.records.pop(left)
    pair.ring("left", left)
    pair.run("live")
    pair.left.records[left] = hidden
    pair.right.edit(right, body="new")
    pair.ring("right", right)
    pair.run("live")
    assert pair.both(left, right, "body") == ("new", "new")
    later(pair, 1.1)
    del pair.left.records[left]
    pair.ring("left", left)
    pair.run("live")
    link.refresh_from_db()
    assert not link.deleted_left and right in pair.right.alive()
    later(pair, 1.1)
    pair.run("live")
    assert right not in pair.right.alive(), "not found a second time, an hour later"


@pytest.fixture
def believed_gone(hiding: Pair) -> tuple[str, str, Link, Record]:
    """A pair whose left record was not found twice, its id, its twin's, and what it said: a person is asked."""
    pair = hiding
    on_delete(pair, "review", on_delete="review")
    left, right, link = pair.linked(body="b")
    said = pair.left.records.pop(left)
    pair.ring("left", left)
    pair.run("live")
    later(pair, 1.1)
    pair.run("live")
    link.refresh_from_db()
    assert link.deleted_left and [one.code for one in pair.open_conflicts()] == ["deleted_ask"]
    return left, right, link, said


def test_one_that_was_there_beside_a_hidden_twin_is_not_gone_any_more(
    hiding: Pair, believed_gone: tuple[str, str, Link, Record], admin_user: Any
) -> None:
    pair, (left, right, link, said) = hiding, believed_gone
    pair.left.records[left] = said
    twin = pair.right.records.pop(right)
    pair.ring("left", left)
    pair.run("live")
    pair.right.records[right] = twin
    del pair.left.records[left]
    [question] = pair.open_conflicts()
    instructions.ask(link, "delete_twin", {}, admin_user, {"seen": question.right_value})
    ChangedRecord.objects.update(not_before=timezone.now())
    pair.run("live")
    assert right in pair.right.alive(), "nor is its twin deleted at the first look that does not find it again"


def test_one_that_was_there_while_its_pair_was_held_is_not_gone_any_more(
    hiding: Pair, believed_gone: tuple[str, str, Link, Record]
) -> None:
    pair, (left, right, link, said) = hiding, believed_gone
    Link.objects.filter(pk=link.pk).update(state=Link.State.HELD)
    pair.left.records[left] = said
    pair.ring("left", left)
    pair.run("live")
    Link.objects.filter(pk=link.pk).update(state=Link.State.ACTIVE)
    on_delete(pair, "delete", on_delete="delete")
    del pair.left.records[left]
    pair.ring("left", left)
    live(pair)
    assert right in pair.right.alive()
