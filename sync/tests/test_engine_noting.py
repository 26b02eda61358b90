"""What another scope lets in, and what other match keys could match, is listed and noted before anything is matched."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import Refused
from sync import approval
from sync.models import ChangedRecord, Cursor, Link, MappingState, MatchKey
from sync.tests.conftest import Pair
from sync.tests.engine_cases import live, once

pytestmark = pytest.mark.django_db

BY_TITLE = [[{"left": "title", "right": "title"}]]


def settings(pair: Pair, **changes: Any) -> dict[str, Any]:
    """Both sides with these settings."""
    assert pair.mapping.published
    return {side: {**pair.mapping.published.document[side], **changes} for side in ("left", "right")}


def makes_no_twins(pair: Pair) -> None:
    pair.publish(**settings(pair, create=False))


def nothing_changes(pair: Pair) -> None:
    """From here on no list of changes shows the records without a twin that are there already."""
    linked = {one for ids in Link.objects.values_list("left_id", "right_id") for one in ids}
    for world in (pair.left, pair.right):
        for external_id in world.records.keys() - linked:
            world.records[external_id] = replace(world.records[external_id], updated_at="2020-01-01T00:00:00.000Z")
    after = (timezone.now() + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    Cursor.objects.update(watermark=after, deep_at=timezone.now() + timedelta(hours=1))


# Another scope. --------------------------------------------------------------------------------------------------


@pytest.fixture
def scoped(pair: Pair) -> Pair:
    """Only records of owner x belong, on both sides; one pair is linked."""
    pair.publish(**settings(pair, scope={"owner": "x"}))
    pair.linked(owner="x")
    return pair


def test_what_a_wider_scope_lets_in_comes_in(scoped: Pair) -> None:
    outside = scoped.left.add(title="Outside", ref="R2", owner="y")
    scoped.quiet()
    nothing_changes(scoped)
    reads = len(scoped.right.calls)
    scoped.publish(**settings(scoped, scope={}))
    scoped.quiet()
    assert Link.objects.get(left_id=outside).state == "active"
    assert "get" not in [verb for verb, _ in scoped.right.calls[reads:]], "no linked record is read"
    assert not Cursor.objects.filter(to_note=True) and not MatchKey.objects.exists()


def test_what_comes_in_on_both_sides_is_linked_and_not_doubled(scoped: Pair) -> None:
    """More than a batch takes, so that the first one would see none of its twins."""
    number = 50
    for world in (scoped.left, scoped.right):
        for n in range(number):
            world.add(title=f"T{n}", ref=f"N{n}", owner="y")
    scoped.quiet()
    nothing_changes(scoped)
    scoped.publish(**settings(scoped, scope={}))
    scoped.quiet()
    assert Link.objects.filter(state="active").count() == number + 1
    assert len(scoped.left.alive()) == len(scoped.right.alive()) == number + 1


def test_a_brake_stops_when_too_many_would_be_made(scoped: Pair) -> None:
    for n in range(10):
        scoped.left.add(title=f"T{n}", ref=f"N{n}", owner="y")
    scoped.quiet()
    nothing_changes(scoped)
    scoped.publish(**settings(scoped, scope={}), brakes={"create": [5, 0.2]})
    live(scoped)
    state = MappingState.objects.get(mapping=scoped.mapping)
    assert (state.halt, state.halt_reason["params"]["kind"]) == ("brake", "create") and len(scoped.right.alive()) == 1


def test_nothing_is_matched_before_what_comes_in_was_listed_and_looked_at(scoped: Pair) -> None:
    makes_no_twins(scoped)
    scoped.left.add(title="Same", ref="R2", owner="x")
    scoped.left.add(title="Same too", ref="R2", owner="y")
    scoped.quiet()
    nothing_changes(scoped)
    once(scoped.left, "list_ids", refuse)
    new = scoped.right.add(title="Same", ref="R2", owner="x")
    scoped.ring("right", new)
    scoped.publish(**settings(scoped, scope={}))
    assert scoped.run().state == "failed", "the listing breaks off"
    MappingState.objects.update(next_poll_at=timezone.now() + timedelta(hours=1))
    ChangedRecord.objects.update(not_before=timezone.now())
    scoped.run("live")
    assert not Link.objects.filter(right_id=new) and not scoped.open_conflicts(), "it waits"
    scoped.quiet()
    assert not Link.objects.filter(right_id=new)
    assert {one.kind for one in scoped.open_conflicts()} == {"ambiguous_match"}


def refuse() -> None:
    raise Refused("Not now.", {})


def test_a_record_that_cannot_be_read_keeps_no_other_waiting_for_good(scoped: Pair) -> None:
    broken = scoped.left.add(title="Broken", ref="R2", owner="y")
    other = scoped.left.add(title="Other", ref="R3", owner="y")
    scoped.quiet()
    nothing_changes(scoped)
    scoped.left.before = lambda verb, ids: refuse() if verb == "get" and broken in ids else None
    scoped.publish(**settings(scoped, scope={}))
    live(scoped, 8)
    assert Link.objects.get(left_id=other).state == "active"
    assert ChangedRecord.objects.get(external_id=broken).error


# Other match keys. -----------------------------------------------------------------------------------------------


def test_new_match_keys_find_what_was_noted_under_the_old_ones(pair: Pair) -> None:
    makes_no_twins(pair)
    left = pair.left.add(title="Same", ref="A1")
    pair.quiet()
    pair.publish(match_keys=BY_TITLE)
    right = pair.right.add(title="Same", ref="B1")
    pair.ring("right", right)
    live(pair)
    assert Link.objects.get(left_id=left).right_id == right


def test_new_match_keys_ask_where_several_records_fit_that_were_noted_before(pair: Pair) -> None:
    makes_no_twins(pair)
    first, _ = (pair.left.add(title="Same", ref=ref) for ref in ("A1", "A2"))
    pair.quiet()
    nothing_changes(pair)
    pair.publish(match_keys=BY_TITLE)
    pair.left.edit(first, body="b")
    right = pair.right.add(title="Same", ref="B1")
    pair.ring("left", first)
    pair.ring("right", right)
    live(pair)
    assert not Link.objects.exists()
    assert {one.kind for one in pair.open_conflicts()} == {"ambiguous_match"}


def test_new_match_keys_find_what_had_none_before(pair: Pair) -> None:
    makes_no_twins(pair)
    left = pair.left.add(title="Same")
    pair.quiet()
    assert not MatchKey.objects.exists()
    nothing_changes(pair)
    pair.publish(match_keys=BY_TITLE)
    right = pair.right.add(title="Same", ref="B1")
    pair.ring("right", right)
    live(pair)
    assert Link.objects.get(left_id=left).right_id == right


def test_a_version_published_right_after_the_approval_notes_anew_too(pair: Pair) -> None:
    MappingState.objects.update(approved_at=None, surveyed_at=None)
    makes_no_twins(pair)
    left = pair.left.add(title="Same", ref="A1")
    pair.run()
    approval.approve(pair.mapping, "ana")
    pair.publish(match_keys=BY_TITLE)
    right = pair.right.add(title="Same", ref="B1")
    ChangedRecord.objects.filter(side="left").delete()
    nothing_changes(pair)
    pair.ring("right", right)
    live(pair)
    assert Link.objects.get(left_id=left).right_id == right
