"""While a side is listed for a version: what is noted already waits behind what is not, and nothing waits for good."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.memory import MemoryConnector, World
from sync import hints, noting
from sync.models import ChangedRecord, Cursor, Link, MappingState, MatchKey, Operation, SchemaFinding, SchemaLook
from sync.tests.conftest import Pair
from sync.tests.engine_cases import no_answer, once
from sync.tests.test_engine_hidden_keys import Hide, create_failed, hide
from sync.tests.test_engine_noting import BY_TITLE, makes_no_twins, nothing_changes, refuse, settings

__all__ = ["hide"]  # a fixture

pytestmark = pytest.mark.django_db

A_WHILE = timedelta(seconds=30)


def no_list_is_read() -> None:
    MappingState.objects.update(next_poll_at=timezone.now() + timedelta(hours=1))


def shows_only(monkeypatch: pytest.MonkeyPatch, world: World, shown: list[str], breaks: bool = False) -> None:
    """The complete listing of this system."""
    list_ids = MemoryConnector.list_ids

    def pages(connector: MemoryConnector, *args: Any) -> Iterator[list[str]]:
        if connector.world is not world:
            yield from list_ids(connector, *args)
            return
        yield shown
        if breaks:
            refuse()

    monkeypatch.setattr(MemoryConnector, "list_ids", pages)


@pytest.mark.parametrize("lane", [hints.Lane.LIVE, hints.Lane.RETRY])
@pytest.mark.parametrize("twin", ["none", "still to be made"])
def test_what_is_noted_takes_no_turn_of_what_is_not(pair: Pair, twin: str, lane: int) -> None:
    """Else, where there is much of it, it would be read again and again, and the rest never."""
    if twin == "none":
        makes_no_twins(pair)
        one = pair.left.add(title="New", ref="N1")
        pair.quiet()
    else:
        one = create_failed(pair)
    Cursor.objects.update(to_note=True)
    no_list_is_read()
    ChangedRecord.objects.all().delete()
    pair.ring("left", one, lane=lane)
    pair.run("live")
    hint = ChangedRecord.objects.get(side="left", external_id=one)
    assert hint.lane == hints.Lane.BACKFILL and hint.not_before > timezone.now() + A_WHILE


def test_what_waits_for_something_else_is_looked_at_at_once(pair: Pair, hide: Hide) -> None:
    """All others wait for it."""
    makes_no_twins(pair)
    hidden = pair.left.add(title="Same", ref="A1")
    hide(hidden)
    pair.quiet()
    assert ChangedRecord.objects.get(external_id=hidden).not_before > timezone.now() + A_WHILE
    hide()
    pair.publish(match_keys=BY_TITLE)
    right = pair.right.add(title="Same", ref="B1")
    pair.run()
    ChangedRecord.objects.filter(external_id=right).update(not_before=timezone.now())
    pair.run("live")
    assert Link.objects.get(left_id=hidden).right_id == right


@pytest.mark.parametrize("twin", ["none", "still to be made"])
def test_while_a_match_field_is_gone_a_record_waits_for_whoever_mends_that(pair: Pair, twin: str) -> None:
    pair.linked()
    one = pair.left.add(title="New", ref="N1") if twin == "none" else create_failed(pair)
    pair.left.hidden = {"ref"}
    pair.publish(**settings(pair, scope={"owner": None}))
    SchemaLook.objects.update(looked_at=timezone.now() - timedelta(hours=1), due_at=timezone.now())
    for _ in range(3):
        ChangedRecord.objects.update(not_before=timezone.now())
        pair.run()
    assert SchemaFinding.objects.filter(subject="match:left").exists()
    soon = timezone.now() + timedelta(minutes=10)
    assert not ChangedRecord.objects.filter(external_id=one, not_before__lt=soon) and len(pair.right.alive()) == 1
    pair.left.hidden = set()
    SchemaLook.objects.update(looked_at=timezone.now() - timedelta(hours=1), due_at=timezone.now())
    pair.quiet()
    assert Link.objects.get(left_id=one).state == "active"


def test_a_listed_record_that_our_create_made_keeps_nothing_waiting(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is bound by its probe, and never looked at as a new one."""
    pair.linked()
    once(pair.right, "create", no_answer, when="after")
    new = pair.left.add(title="New", ref="N1")
    nothing_changes(pair)
    pair.ring("left", new)
    no_list_is_read()
    pair.run("live")
    [made] = [key for key in pair.right.alive() if pair.right.value(key, "title") == "New"]
    Operation.objects.update(not_before=timezone.now() + timedelta(minutes=1))
    pair.publish(match_keys=BY_TITLE)
    with monkeypatch.context() as patch:
        shows_only(patch, pair.right, [made], breaks=True)
        assert pair.run().state == "failed"
    assert MatchKey.objects.filter(external_id=made, alternative=noting.UNSEEN).exists()
    Operation.objects.update(not_before=timezone.now())
    ChangedRecord.objects.update(not_before=timezone.now())
    pair.quiet()
    assert Link.objects.get(left_id=new).right_id == made
    pair.ring("right", made)
    ChangedRecord.objects.update(not_before=timezone.now() + timedelta(minutes=15))  # whatever it waits for
    other = pair.left.add(title="Other", ref="N2")
    pair.ring("left", other)
    pair.run("live")
    assert Link.objects.filter(left_id=other).exists()
    assert not MatchKey.objects.filter(alternative=noting.UNSEEN)


def test_a_listing_that_shows_nothing_while_records_are_linked_is_none(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it did not show would never be noted, nor found."""
    pair.linked()
    makes_no_twins(pair)
    pair.right.add(title="Same", ref="B1")
    pair.quiet()
    nothing_changes(pair)
    pair.publish(match_keys=BY_TITLE)
    with monkeypatch.context() as patch:
        shows_only(patch, pair.right, [])
        pair.run()
    assert MappingState.objects.get(mapping=pair.mapping).halt_reason["code"] == "side_empty"
    MappingState.objects.update(halt="", halt_reason={})
    new = pair.left.add(title="Same", ref="A1")
    pair.ring("left", new)
    pair.quiet()
    assert Link.objects.get(left_id=new).state == "active"
