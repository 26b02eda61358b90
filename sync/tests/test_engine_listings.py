"""Complete listings compared with the links, while pairs go on changing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from connections.connectors.base import Refused
from sync.models import ChangedRecord, Cursor, Link
from sync.read import COMPLETE, SWEEP, SWEEP_AGAIN
from sync.tests.conftest import Pair
from sync.tests.engine_cases import LONG_AGO, once
from sync.tests.test_engine_deletions import bring_back, on_delete
from sync.tests.test_engine_running import pairs, tells_of_no_deletions

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("resumed, gone", [(-1, 3), (0, -1)])
def test_a_pair_that_becomes_active_during_a_listing_hides_no_deletion(pair: Pair, resumed: int, gone: int) -> None:
    tells_of_no_deletions(pair)
    pairs(pair, 9)  # one more than a byte has bits
    links = list(Link.objects.order_by("pk"))
    held = Link.objects.filter(pk=links[resumed].pk)
    held.update(state=Link.State.HELD)
    del pair.left.records[links[gone].record_id("left")]
    Cursor.objects.filter(side="left").update(swept_at=None)
    once(pair.left, "list_ids", lambda: held.update(state=Link.State.ACTIVE))
    pair.quiet()
    assert [one.link_id for one in pair.open_conflicts()] == [links[gone].pk]


def test_a_listing_that_breaks_off_is_made_again_soon_but_not_by_every_run(pair: Pair) -> None:
    tells_of_no_deletions(pair)
    (gone, _), _ = pairs(pair, 2)
    del pair.left.records[gone]
    Cursor.objects.filter(side="left").update(swept_at=None)
    once(pair.left, "list_ids", refuse)
    assert pair.run().state == "failed"
    pair.quiet()
    assert [verb for verb, _ in pair.left.calls].count("list_ids") == 1, "not by the runs after it"
    assert not pair.open_conflicts()
    pass_by(SWEEP_AGAIN)
    pair.quiet()
    assert [one.link.left_id for one in pair.open_conflicts()] == [gone]
    pass_by(SWEEP_AGAIN)
    pair.quiet()
    assert [verb for verb, _ in pair.left.calls].count("list_ids") == 2, "a whole one lasts an hour"


def test_one_that_was_hidden_is_found_where_no_pair_is_known(pair: Pair) -> None:
    tells_of_no_deletions(pair)
    hidden = replace(pair.left.records.pop(pair.left.add(title="New", ref="N9")), updated_at=LONG_AGO)
    pair.quiet()
    assert "list_ids" not in [verb for verb, _ in pair.left.calls], "the first list of changes told of all"
    pair.left.records[hidden.external_id] = hidden
    pass_by(SWEEP)
    pair.quiet()
    assert [one.values["title"] for one in pair.right.records.values()] == ["New"]


@pytest.mark.parametrize("copied", [True, False])
def test_a_new_record_that_was_hidden_while_the_lists_told_of_it_is_found_by_the_next_listing(
    pair: Pair, copied: bool
) -> None:
    tells_of_no_deletions(pair)
    pair.publish(right=pair.mapping.published.document["right"] | {"create": copied})
    pairs(pair, 2)
    new = pair.left.add(title="New", ref="N9")
    hidden = replace(pair.left.records.pop(new), updated_at=LONG_AGO)
    pair.quiet()
    pair.left.records[new] = hidden
    pair.quiet()
    assert not ChangedRecord.objects.exists() and len(pair.right.records) == 2, "nobody knows of it"
    pair.left.calls.clear()
    Cursor.objects.filter(side="left").update(swept_at=None)
    pair.quiet()
    assert {one.values["title"] for one in pair.right.records.values()} >= ({"New"} if copied else set())
    read = [ids for verb, ids in pair.left.calls if verb == "get"]
    assert any(new in ids for ids in read) == copied, "no call for what would not be copied"


def test_what_is_known_without_a_pair_is_not_read_again_by_every_listing(pair: Pair) -> None:
    tells_of_no_deletions(pair)
    pairs(pair, 2)
    pair.left.add(title="Twice", ref="N9")
    for _ in range(2):
        pair.right.add(title="Twice", ref="N9")
    pair.quiet()
    assert {one.kind for one in pair.open_conflicts()} == {"ambiguous_match"}
    for world in (pair.left, pair.right):
        world.records |= {id: replace(one, updated_at=LONG_AGO) for id, one in world.records.items()}
    pair.left.calls.clear()
    Cursor.objects.update(swept_at=None)
    pair.quiet()
    assert not [ids for verb, ids in pair.left.calls if verb == "get"]


def test_a_new_record_that_was_hidden_is_found_within_a_day_where_the_lists_tell_of_deletions(pair: Pair) -> None:
    pairs(pair, 2)
    new = pair.left.add(title="New", ref="N9")
    hidden = replace(pair.left.records.pop(new), updated_at=LONG_AGO)
    pair.quiet()
    pair.left.records[new] = hidden
    for _ in range(2):  # hourly looks list nothing
        pass_by(SWEEP)
        pair.quiet()
    assert "list_ids" not in verbs(pair) and len(pair.right.records) == 2
    a_day_passes()
    pair.quiet()
    assert "New" in {one.values["title"] for one in pair.right.records.values()}
    pass_by(SWEEP)
    pair.quiet()
    assert verbs(pair).count("list_ids") == 1, "once a day"


@pytest.mark.parametrize(("policy", "state"), [("review", "active"), ("ignore", "deleted")])
def test_a_record_that_is_back_from_a_deletion_and_was_hidden_then_is_found_within_a_day(
    pair: Pair, policy: str, state: str
) -> None:
    """What rings while it is hidden is looked at in vain, together with the deletion that was told before."""
    on_delete(pair, policy)
    pair.left.capabilities = replace(pair.left.capabilities, not_found_means_gone=False)
    left, right, link = pair.linked(body="b")
    pair.left.remove(left)
    pair.quiet()
    link.refresh_from_db()
    assert (link.state, link.deleted_left, link.may_return) == (state, True, False)
    bring_back(pair.left, left, body="back")
    pair.left.unseen.add(left)
    pair.ring("left", left, deleted=True)
    pair.quiet()
    assert not ChangedRecord.objects.exists()
    pair.left.unseen.clear()
    for world in (pair.left, pair.right):
        world.records |= {id: replace(one, updated_at=LONG_AGO) for id, one in world.records.items()}
    Link.objects.update(left_updated_at="", right_updated_at="")
    pass_by(SWEEP)
    pair.quiet()
    assert pair.right.value(right, "body") == "b", "nothing rang"
    a_day_passes()
    pair.quiet()
    link.refresh_from_db()
    assert (link.state, link.deleted_left, pair.right.value(right, "body")) == ("active", False, "back")
    assert not pair.open_conflicts()


def verbs(pair: Pair) -> list[str]:
    return [verb for verb, _ in pair.left.calls]


def a_day_passes() -> None:
    """Since the left was listed."""
    pass_by(SWEEP)
    cursor = Cursor.objects.get(side="left")
    assert cursor.listed_at is not None
    Cursor.objects.filter(pk=cursor.pk).update(listed_at=cursor.listed_at - COMPLETE)


def refuse() -> None:
    raise Refused("Not now.", {})


def pass_by(time: timedelta) -> None:
    """The left was listed that much longer ago."""
    cursor = Cursor.objects.get(side="left")
    assert cursor.swept_at is not None
    Cursor.objects.filter(pk=cursor.pk).update(swept_at=cursor.swept_at - time)
