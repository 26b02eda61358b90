"""The newer edit wins only where the times say so: intervals from reads, clock offsets, histories."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from connections.connectors.base import Retry
from connections.connectors.memory import World
from connections.models import Connection
from sync import approval
from sync.models import Link
from sync.tests.conftest import DEFAULT_RULES, Pair
from sync.tests.test_engine_setbacks import fails, runs

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


def test_an_edit_that_was_read_while_the_pair_was_held_keeps_its_time(
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
    assert pair.both(link.left_id or "", link.right_id or "", "amount") == (3, 3), "the left amount is the older one"


@pytest.mark.parametrize("known", [True, False], ids=["read before", "never read without a question"])
def test_while_another_field_waits_each_edit_keeps_the_time_of_the_first_read_that_showed_it(
    pair: Pair, link: Link, known: bool
) -> None:
    edit(pair.left, link.left_id, 110, title="mine")
    edit(pair.right, link.right_id, 110, title="yours")
    if not known:
        Link.objects.update(left_read_at=None, right_read_at=None)
    edit(pair.left, link.left_id, 60, amount=2)
    fails(pair.right, "update", lambda: Retry("busy", after=0), times=2)  # what the left says was read, not carried
    look(pair, link)
    assert [one.rule_id for one in pair.open_conflicts()] == ["title"]
    assert pair.both(link.left_id or "", link.right_id or "", "amount") == (2, 1)
    edit(pair.right, link.right_id, 30, amount=3)
    edit(pair.left, link.left_id, 10, body="another field")  # its stamp is the newest, its amount is not
    Link.objects.update(right_read_at=NOW - timedelta(minutes=45))
    runs(pair, 2)
    assert pair.both(link.left_id or "", link.right_id or "", "amount") == (3, 3)


def test_a_value_that_comes_back_is_a_new_edit(pair: Pair, link: Link) -> None:
    edit(pair.left, link.left_id, 110, amount=2)
    look(pair, link)
    for world, record, amount in ((pair.right, link.right_id, 5), (pair.left, link.left_id, 2)):
        world.edit(record or "", amount=amount)
        look(pair, link)
    assert pair.both(link.left_id or "", link.right_id or "", "amount") == (2, 2)
    assert not any(Link.objects.get().pending_edits.values())


def test_an_edit_of_a_pair_of_which_no_read_is_known_has_no_known_beginning(pair: Pair, link: Link) -> None:
    Link.objects.update(left_read_at=None, right_read_at=None)
    edit(pair.left, link.left_id, 60, amount=2)
    edit(pair.right, link.right_id, 30, amount=3)
    look(pair, link)
    assert [one.code for one in pair.open_conflicts()] == ["times_overlap"]


@pytest.mark.parametrize("away", ["hidden", "off"])
def test_a_field_that_reads_did_not_show_may_have_been_edited_since_the_last_one_that_did(
    pair: Pair, link: Link, away: str
) -> None:
    unseen(pair, away)
    edit(pair.right, link.right_id, 60, amount=3)  # the older edit, which nobody sees
    look(pair, link)
    Link.objects.update(left_read_at=NOW - timedelta(minutes=45), right_read_at=NOW - timedelta(minutes=20))
    seen_again(pair, away)
    edit(pair.left, link.left_id, 30, amount=2)
    edit(pair.right, link.right_id, 10, title="another field")
    look(pair, link)
    assert [one.rule_id for one in pair.open_conflicts()] == ["amount"]


def unseen(pair: Pair, away: str) -> None:
    if away == "hidden":
        pair.left.hidden = pair.right.hidden = {"amount"}
    else:
        pair.publish(rules=[one for one in DEFAULT_RULES if one["id"] != "amount"])


def seen_again(pair: Pair, away: str) -> None:
    pair.left.hidden = pair.right.hidden = set()
    if away == "off":
        pair.publish(rules=DEFAULT_RULES)


@pytest.mark.parametrize("coarse, ends", [(0.000001, 3), (60.0, None)])
def test_what_a_coarse_stamp_says_may_have_happened_until_its_end(
    pair: Pair, link: Link, coarse: float, ends: int | None
) -> None:
    pair.left.capabilities = replace(pair.left.capabilities, stamp_granularity=coarse)
    edit(pair.left, link.left_id, 31, amount=2)  # cut to the minute: half a minute ago, or right now
    edit(pair.right, link.right_id, 30.25, amount=3)
    Link.objects.update(right_read_at=NOW - timedelta(minutes=30.5))
    look(pair, link)
    if ends:
        assert pair.both(link.left_id or "", link.right_id or "", "amount") == (ends, ends)
    else:
        assert [one.code for one in pair.open_conflicts()] == ["times_overlap"]


def test_a_history_is_asked_for_the_time_since_the_agreed_value_was_read(pair: Pair, link: Link) -> None:
    """And not since the last read: that one may have shown the edit already."""
    pair.left.capabilities = replace(pair.left.capabilities, field_history=True)
    pair.right.capabilities = replace(pair.right.capabilities, field_history=True)
    edit(pair.left, link.left_id, 60, amount=2)
    fails(pair.right, "update", lambda: Retry("busy", after=0), times=2)
    look(pair, link)
    edit(pair.right, link.right_id, 30, amount=3)
    pair.left.log = [replace(one, at=stamp_of(60)) for one in pair.left.log if one.after == 2]
    pair.right.log = [replace(one, at=stamp_of(30)) for one in pair.right.log if one.after == 3]
    Link.objects.update(right_read_at=NOW - timedelta(minutes=100))
    runs(pair, 2)
    assert pair.both(link.left_id or "", link.right_id or "", "amount") == (3, 3)


def test_what_a_history_tells_of_the_time_since_the_read_is_not_what_was_read(pair: Pair, link: Link) -> None:
    for world in (pair.left, pair.right):
        world.capabilities = replace(world.capabilities, field_history=True)
    edit(pair.right, link.right_id, 60, amount=3)
    edit(pair.left, link.left_id, 30, amount=2)
    pair.left.log = [replace(one, at=stamp_of(30)) for one in pair.left.log if one.after == 2]
    pair.right.log = [replace(one, at=stamp_of(60)) for one in pair.right.log if one.after == 3]

    def edited(verb: str, ids: object) -> None:
        if verb == "history":
            pair.right.before = lambda *_: None
            pair.right.edit(link.right_id or "", amount=9)

    pair.right.before = edited
    look(pair, link)
    told = [one.after for one in pair.left.log if one.field == "amount"]
    assert told == [2], "the 3 was older; the 9 came after the read, and is asked about"
    assert [one.kind for one in pair.open_conflicts()] == ["clobber"]


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
