"""The newer edit wins only where the times say so: intervals from reads, clock offsets, histories."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from connections.connectors.memory import World
from connections.models import Connection
from sync import approval
from sync.models import Link
from sync.tests.conftest import Pair

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC)


@pytest.fixture
def link(pair: Pair) -> Link:
    """A pair in systems without histories, read for the last time two hours ago."""
    for world in (pair.left, pair.right):
        world.capabilities = replace(world.capabilities, field_history=False, complete_history=False)
    _, _, made = pair.linked(amount=1)
    long_ago, stamp = NOW - timedelta(hours=2), stamp_of(180)
    for world in (pair.left, pair.right):
        world.records = {one: replace(record, updated_at=stamp) for one, record in world.records.items()}
    Link.objects.update(left_read_at=long_ago, right_read_at=long_ago, left_updated_at=stamp, right_updated_at=stamp)
    return made


def stamp_of(minutes_ago: float) -> str:
    return (NOW - timedelta(minutes=minutes_ago)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def edit(world: World, record: str | None, minutes_ago: float, **values: object) -> None:
    """An edit that the system stamped so long ago."""
    world.edit(record or "", **values)
    world.records[record or ""] = replace(world.records[record or ""], updated_at=stamp_of(minutes_ago))


def look(pair: Pair, link: Link) -> None:
    pair.ring("left", link.left_id or "")
    pair.ring("right", link.right_id or "")
    pair.run("live")
    pair.run("live")


def test_two_edits_that_may_have_happened_in_either_order_are_asked_about(pair: Pair, link: Link) -> None:
    edit(pair.left, link.left_id, 60, amount=2)
    edit(pair.right, link.right_id, 30, amount=3)
    look(pair, link)
    assert [one.code for one in pair.open_conflicts()] == ["times_overlap"]


def test_the_edit_made_after_the_other_one_was_read_without_it_is_newer(pair: Pair, link: Link) -> None:
    edit(pair.left, link.left_id, 60, amount=2)
    edit(pair.right, link.right_id, 30, amount=3)
    Link.objects.update(right_read_at=NOW - timedelta(minutes=45))  # the right still said 1 then
    look(pair, link)
    assert pair.both(link.left_id or "", link.right_id or "", "amount") == (3, 3)


@pytest.mark.parametrize("offset, ends", [(0.0, (3, 3)), (-2700.0, None)])
def test_a_clock_that_is_ahead_or_behind_is_allowed_for(
    pair: Pair, link: Link, offset: float, ends: tuple[int, int] | None
) -> None:
    edit(pair.left, link.left_id, 60, amount=2)
    edit(pair.right, link.right_id, 30, amount=3)
    Link.objects.update(right_read_at=NOW - timedelta(minutes=45))
    Connection.objects.filter(name="Left").update(clock_offset=offset)  # what it calls 60 minutes ago was 15 ago
    look(pair, link)
    if ends:
        assert pair.both(link.left_id or "", link.right_id or "", "amount") == ends
    else:
        assert [one.code for one in pair.open_conflicts()] == ["times_overlap"]


def test_what_was_read_while_a_pair_was_held_is_no_read_of_the_old_value(
    pair: Pair, link: Link, admin_user: object
) -> None:
    Link.objects.update(state="held")
    edit(pair.left, link.left_id, 100, amount=2)
    look(pair, link)
    edit(pair.right, link.right_id, 50, amount=3)
    edit(pair.left, link.left_id, 10, body="another field")
    link.refresh_from_db()
    approval.include(link, admin_user)
    look(pair, link)
    assert [one.rule_id for one in pair.open_conflicts()] == ["amount"], "the left amount is the older one"


def test_a_held_look_does_not_move_the_last_read(pair: Pair, link: Link) -> None:
    Link.objects.update(state="held")
    edit(pair.left, link.left_id, 100, amount=2)
    before = Link.objects.get().left_read_at
    look(pair, link)
    assert Link.objects.get().left_read_at == before


def test_a_read_counts_from_its_beginning(pair: Pair, link: Link) -> None:
    started: list[datetime] = []
    pair.left.after = lambda verb, ids: started.append(datetime.now(UTC)) if verb == "get" else None
    look(pair, link)
    read_at = Link.objects.get().left_read_at
    assert read_at is not None and read_at <= started[0]


def test_a_value_that_changed_without_a_new_stamp_has_no_known_time(pair: Pair, link: Link) -> None:
    left = pair.left.records[link.left_id or ""]
    pair.left.records[left.external_id] = replace(left, values={**left.values, "amount": 2}, updated_at=stamp_of(180))
    edit(pair.right, link.right_id, 30, amount=3)
    Link.objects.update(right_read_at=NOW - timedelta(minutes=45), left_updated_at=stamp_of(180))
    look(pair, link)
    assert [one.code for one in pair.open_conflicts()] == ["times_overlap"]
