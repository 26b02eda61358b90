"""Which records are one thing: said by people, met in one batch, or left open by a create; none is made twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from connections.connectors.base import Refused
from connections.connectors.memory import MemoryConnector, World
from mappings.models import Mapping
from sync import instructions
from sync.models import Conflict, Link
from sync.tests.conftest import Pair, build_pair
from sync.tests.engine_cases import live, no_answer, once
from sync.tests.test_engine_answered_creates import timed_out

pytestmark = pytest.mark.django_db


def circle(pair: Pair) -> tuple[Pair, Pair]:
    """Right–Third, and Third–Left, which does not run yet."""
    between = build_pair("Between", pair.right, World("Third"))
    between.approve()
    return between, build_pair("Last", between.right, pair.left)


def starts(last: Pair, third: str) -> Link:
    """Third–Left looks at this record for the first time, and fits nothing by what it says."""
    last.publish(match_keys=[])
    last.approve()
    last.ring("left", third)
    live(last)
    return Link.objects.get(mapping=last.mapping, left_id=third)


def about(pair: Pair, side: str, external_id: str) -> Conflict:
    [found] = [one for one in pair.open_conflicts() if one.subject == f"{side}:{external_id}"]
    return found


def test_a_record_that_is_linked_by_hand_is_the_thing_that_its_twin_is_known_as(pair: Pair, admin_user: Any) -> None:
    between, last = circle(pair)
    one = pair.left.add(title="L", ref="R9", body="x")
    pair.left.add(title="L2", ref="R9", body="y")
    right = pair.right.add(title="R", ref="R9", body="x")
    between.quiet()
    pair.quiet()
    instructions.link_by_hand(about(pair, "right", right), one, right, admin_user)
    pair.left.edit(one, ref="its own by now")
    pair.quiet()
    [third] = between.right.alive()
    assert starts(last, third).right_id == one


def test_a_record_that_was_left_alone_becomes_a_thing_once_it_is_linked(pair: Pair, admin_user: Any) -> None:
    between, last = circle(pair)
    one = pair.left.add(title="L", ref="R9", body="x")
    for title in ("L2", "L3"):
        pair.left.add(title=title, ref="R9", body="y")
    right = pair.right.add(title="R", ref="R9", body="x")
    between.quiet()
    pair.quiet()
    half = instructions.leave_unlinked(about(pair, "left", one), admin_user)
    pair.quiet()
    instructions.ask(half, "relink", {}, admin_user, {"side": "right", "id": right, "key": right})
    pair.quiet()
    half.refresh_from_db()
    assert (half.left_id, half.right_id, half.state) == (one, right, "active")
    [third] = between.right.alive()
    assert starts(last, third).right_id == one


@pytest.mark.parametrize("how", ["it fits", "a person says so", "its twin rings"])
def test_two_things_of_which_one_waited_for_its_twin_are_one_once_that_is_found(
    pair: Pair, how: str, admin_user: Any
) -> None:
    between, last = circle(pair)
    one = pair.left.add(title="L", ref="R9", body="x")
    once(pair.right, "create", refused)
    pair.run()
    [link] = Link.objects.all()
    assert link.state == "creating"
    right = pair.right.add(title="R", ref="ZZ" if how == "a person says so" else "R9", body="x")
    between.quiet()
    if how == "a person says so":
        instructions.ask(link, "relink", {}, admin_user, {"side": "right", "id": right, "key": right})
    elif how == "it fits":
        pair.ring("left", one)
    pair.quiet()
    link.refresh_from_db()
    assert (link.left_id, link.right_id) == (one, right)
    [third] = between.right.alive()
    assert starts(last, third).right_id == one


def refused() -> None:
    raise Refused("no")


def test_a_record_that_fits_one_which_is_bound_in_the_same_batch_is_asked_about(pair: Pair) -> None:
    Mapping.objects.filter(pk=pair.mapping.pk).update(state="paused")
    between, last = circle(pair)
    last.approve()
    right = pair.right.add(title="R", ref="X")
    for one in (between, last, between):
        one.quiet()
    [left] = pair.left.alive()
    another = pair.left.add(title="Another", ref="X")
    Mapping.objects.exclude(pk=pair.mapping.pk).update(state="paused")
    Mapping.objects.filter(pk=pair.mapping.pk).update(state="active")
    pair.quiet()
    assert Link.objects.get(mapping=pair.mapping, right_id=right).left_id == left
    assert about(pair, "left", another).code == "fits_a_linked_record"


def test_a_record_whose_twin_has_another_one_here_is_asked_about(pair: Pair) -> None:
    between, last = circle(pair)
    last.approve()
    Mapping.objects.filter(pk=pair.mapping.pk).update(state="paused")
    right = pair.right.add(title="R", ref="X")
    for one in (between, last):
        one.quiet()
    [left] = pair.left.alive()
    another = pair.left.add(title="Another")
    Link.objects.create(mapping=pair.mapping, left_id=another, right_id=right)
    Mapping.objects.filter(pk=pair.mapping.pk).update(state="active")
    pair.ring("left", left)
    live(pair)
    assert about(pair, "left", left).code == "key_twice"


@pytest.mark.parametrize("what", ["edited", "deleted"])
def test_a_second_wish_to_link_again_uses_up_nothing(pair: Pair, admin_user: Any, what: str) -> None:
    left, right, link = pair.linked(body="b")
    instructions.ask(link, "unlink", {}, admin_user)
    live(pair)
    if what == "edited":
        pair.left.edit(left, body="while unlinked")
        live(pair)
    else:
        pair.left.remove(left)
    asked = [instructions.ask(link, "relink", {}, admin_user)]
    once(pair.left, "get", lambda: asked.append(instructions.ask(link, "relink", {}, admin_user)))
    live(pair, 8)
    link.refresh_from_db()
    for one in asked:
        one.refresh_from_db()
    assert [one.state for one in asked] == ["done", "refused"]
    if what == "edited":
        assert (link.state, pair.right.value(right, "body")) == ("active", "while unlinked")
    else:
        assert pair.open_conflicts()


def test_what_an_unanswered_create_may_have_made_is_not_copied_once_its_link_found_another_record(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, create_lookup_consistent=False, update_timeout=60)

    def lost() -> None:
        [made] = pair.right.alive()
        pair.right.records[made] = replace(pair.right.records[made], correlation_key=None, created_by=None)
        no_answer()

    left = pair.left.add(title="Alone", body="sent", ref="R1")
    once(pair.right, "create", lost, when="after")
    pair.run()
    [made] = pair.right.alive()
    with mock.patch.object(MemoryConnector, "own_recent", lambda *_: list(pair.right.alive().values())):
        timed_out()
        live(pair, 1)
    pair.ring("right", made)
    live(pair, 2)
    by_hand = pair.right.add(title="By hand", ref="R1")
    pair.left.edit(left, body="somebody edits it")
    pair.ring("left", left)
    live(pair, 8)
    assert Link.objects.get(left_id=left).right_id == by_hand
    assert len(pair.left.alive()) == 1
    assert about(pair, "right", made).code == "may_be_made_by_us"
