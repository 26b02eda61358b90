"""While a field by which records are recognised is hidden: what cannot be matched waits, and nothing is doubled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from connections.connectors.base import Record, Retry
from connections.connectors.memory import MemoryConnector
from sync import failures
from sync.models import ChangedRecord, Link, MatchKey, Operation, SchemaLook
from sync.tests.conftest import Pair
from sync.tests.engine_cases import live, once
from sync.tests.schema_cases import knowing, later, linked, much_later

pytestmark = pytest.mark.django_db


@pytest.fixture
def known(pair: Pair) -> Pair:
    return knowing(pair)


# Nobody knows yet why. -------------------------------------------------------------------------------------------


def looked_a_moment_ago(pair: Pair) -> None:
    SchemaLook.objects.update(looked_at=timezone.now())


def create_failed(pair: Pair) -> str:
    """A record whose twin is still to be made, since the other system was busy."""

    def busy() -> None:
        raise Retry("busy", after=0)

    new = pair.left.add(title="New", ref="N1")
    once(pair.right, "create", busy)
    pair.run()
    assert Link.objects.get(left_id=new).state == "creating"
    Operation.objects.update(not_before=timezone.now())
    return new


def rung_alone(pair: Pair, side: str, *ids: str) -> None:
    """One look at these records, of which no list has told yet."""
    ChangedRecord.objects.all().delete()
    for external_id in ids:
        pair.ring(side, external_id)
    live(pair, rounds=1)


@pytest.mark.parametrize("hidden", ["ref", "body"])
def test_a_new_record_is_neither_matched_nor_copied_while_nobody_knows_why_it_lacks_a_field(
    known: Pair, hidden: str
) -> None:
    linked(known)
    twin = known.right.add(title="New", ref="N1", body="text")
    new = known.left.add(title="New", ref="N1", body="text")
    looked_a_moment_ago(known)
    known.left.hidden = {hidden}
    rung_alone(known, "left", new)
    assert not Link.objects.filter(left_id=new).exists()
    known.left.hidden = set()
    live(known)
    assert Link.objects.get(left_id=new).right_id == twin and len(known.right.alive()) == 2


def test_a_new_record_is_not_copied_with_a_value_of_another_form(known: Pair) -> None:
    linked(known)
    looked_a_moment_ago(known)
    known.left.change("body", kind="number")
    new = known.left.add(title="New", ref="N1", body=5)
    rung_alone(known, "left", new)
    assert len(known.right.alive()) == 1
    known.left.change("body", kind="text")
    known.left.edit(new, body="five")
    live(known)
    assert known.right.value(Link.objects.get(left_id=new).right_id or "", "body") == "five"


@pytest.mark.parametrize("hidden", ["ref", "body"])
def test_a_create_is_not_repeated_while_nobody_knows_why_its_record_lacks_a_field(known: Pair, hidden: str) -> None:
    linked(known)
    new = create_failed(known)
    twin = known.right.add(title="Made by hand", ref="N1")
    looked_a_moment_ago(known)
    known.left.hidden = {hidden}
    rung_alone(known, "left", new)
    assert Link.objects.get(left_id=new).state == "creating" and len(known.right.alive()) == 2
    known.left.hidden = set()
    live(known)
    assert Link.objects.get(left_id=new).right_id == twin and len(known.right.alive()) == 2


# One record alone hides it. --------------------------------------------------------------------------------------

Hide = Callable[..., None]


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Hide:
    """hide(*ids): from now on these records hide their match field, and no others do."""
    seen, hiding = MemoryConnector._seen, set[str]()

    def told(connector: MemoryConnector, record: Record, fields: Sequence[str]) -> Record:
        found = seen(connector, record, fields)
        if record.external_id not in hiding or "ref" not in fields:
            return found
        values = {path: value for path, value in found.values.items() if path != "ref"}
        return replace(found, values=values, unreadable=found.unreadable | {"ref"})

    def hidden(*ids: str) -> None:
        hiding.clear()
        hiding.update(ids)

    monkeypatch.setattr(MemoryConnector, "_seen", told)
    return hidden


def no_creates(pair: Pair) -> None:
    document = pair.mapping.published.document
    pair.publish(**{side: {**document[side], "create": False} for side in ("left", "right")})


def told() -> list[str]:
    """Why records wait, as the page of failures lists it."""
    return [row.failed_code for row in failures.standing().records]


def shown_again(pair: Pair, hide: Hide) -> None:
    hide()
    live(pair)
    assert not told()


@pytest.mark.parametrize("creates", [True, False])
def test_a_record_that_hides_its_match_field_waits_until_it_shows_it(pair: Pair, hide: Hide, creates: bool) -> None:
    twin = pair.right.add(title="New", ref="N1")
    if not creates:
        no_creates(pair)
        pair.quiet()
    new = pair.left.add(title="New", ref="N1")
    other = pair.left.add(title="Other", ref="N2")
    hide(new)
    rung_alone(pair, "left", new, other)
    assert told() == ["key_hidden"] and not Link.objects.filter(left_id=new).exists()
    assert Link.objects.filter(left_id=other).exists() is creates, "others go on"
    shown_again(pair, hide)
    assert Link.objects.get(left_id=new).right_id == twin


def test_a_record_that_hides_one_match_field_is_linked_by_another(pair: Pair, hide: Hide) -> None:
    ways = [[{"left": path, "right": path}] for path in ("ref", "title")]
    pair.publish(match_keys=ways)
    twin, new = pair.right.add(title="New", ref="N1"), pair.left.add(title="New", ref="N1")
    hide(new)
    pair.quiet()
    assert Link.objects.get(left_id=new).right_id == twin and not told()


def test_what_was_noted_of_a_record_stays_while_it_hides_its_match_field(pair: Pair, hide: Hide) -> None:
    no_creates(pair)
    alone = pair.right.add(title="Same", ref="S1")
    pair.quiet()
    hide(alone)
    later(pair)
    rung_alone(pair, "right", alone)
    assert MatchKey.objects.filter(external_id=alone).exists() and told() == ["key_hidden"]


def test_a_create_is_not_repeated_while_its_record_hides_the_match_field(known: Pair, hide: Hide) -> None:
    new = create_failed(known)
    twin = known.right.add(title="Made by hand", ref="N1")
    hide(new)
    later(known)
    rung_alone(known, "left", new)
    assert told() == ["key_hidden"] and len(known.right.alive()) == 1
    shown_again(known, hide)
    assert Link.objects.get(left_id=new).right_id == twin and len(known.right.alive()) == 1


def test_a_pair_that_is_back_waits_while_one_hides_what_tells_that_it_is_the_same(pair: Pair, hide: Hide) -> None:
    pair.publish(left={**pair.mapping.published.document["left"], "on_delete": "ignore"})
    left, _, link = pair.linked()
    pair.left.remove(left)
    pair.quiet()
    pair.left.records[left] = replace(pair.left.records[left], deleted=False, updated_at=pair.left.stamp())
    hide(left)
    later(pair)
    rung_alone(pair, "left", left)
    assert Link.objects.get(pk=link.pk).state == "deleted" and told() == ["key_hidden"]
    shown_again(pair, hide)
    link.refresh_from_db()
    assert link.state == "active" and not link.parked


# The record over there hides it. ---------------------------------------------------------------------------------


def not_answered(*where: object) -> None:
    raise Retry("no answer")


def right_alone(pair: Pair, noted: bool) -> str:
    """A right record that waits for its twin, which nobody makes on the left; `noted`: a list has shown it."""
    pair.publish(left={**pair.mapping.published.document["left"], "create": False})
    linked(pair)
    twin = pair.right.add(title="New", ref="N1")
    if noted:
        pair.quiet()
    later(pair)
    return twin


@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.parametrize("looked", ["a while ago", "a moment ago"])
def test_nothing_is_copied_while_what_it_may_fit_hides_the_match_field(known: Pair, noted: bool, looked: str) -> None:
    twin = right_alone(known, noted)
    if looked == "a moment ago":
        looked_a_moment_ago(known)
    known.right.hidden = {"ref"}
    new = known.left.add(title="New", ref="N1")
    rung_alone(known, "left", new)
    assert not Link.objects.filter(left_id=new).exists() and len(known.right.alive()) == 2
    assert MatchKey.objects.filter(external_id=twin).exists() is noted
    known.right.hidden = set()
    much_later(known)
    live(known)
    assert Link.objects.get(left_id=new).right_id == twin and len(known.right.alive()) == 2


@pytest.mark.parametrize("noted", [True, False])
def test_only_what_may_fit_a_record_that_hides_its_match_field_waits(known: Pair, hide: Hide, noted: bool) -> None:
    twin = right_alone(known, noted)
    hide(twin)
    new, other = known.left.add(title="New", ref="N1"), known.left.add(title="Other", ref="N2")
    rung_alone(known, "left", new, other)
    assert told() == ["key_hidden"] and not Link.objects.filter(left_id=new).exists()
    assert Link.objects.get(left_id=other).right_id not in (None, twin)
    shown_again(known, hide)
    assert Link.objects.get(left_id=new).right_id == twin


def test_a_linked_record_that_hides_a_part_of_its_key_keeps_no_other_waiting(known: Pair, hide: Hide) -> None:
    known.publish(match_keys=[[{"left": "title", "right": "title"}, {"left": "ref", "right": "ref"}]])
    ids, _ = linked(known, title="Same")
    hide(ids["right"])
    new = known.left.add(title="Same", ref="N1")
    known.ring("left", new)
    live(known)
    later(known)
    ChangedRecord.objects.update(not_before=timezone.now())
    live(known)
    assert Link.objects.get(left_id=new).state == "active"


def test_a_record_that_hides_its_match_field_is_looked_at_more_and_more_rarely(pair: Pair, hide: Hide) -> None:
    """Very many of them would take the time of others."""
    new = pair.left.add(title="New", ref="N1")
    hide(new)
    for waited, minutes in ((0, 15), (30, 30), (600, 60)):
        hint = ChangedRecord.objects.filter(external_id=new)
        hint.update(failing_since=timezone.now() - timedelta(minutes=waited), not_before=timezone.now())
        pair.run()
        assert round((hint.get().not_before - timezone.now()).total_seconds() / 60) == minutes


def test_a_create_is_not_repeated_while_what_it_may_fit_hides_the_match_field(known: Pair, hide: Hide) -> None:
    new = create_failed(known)
    twin = known.right.add(title="Made by hand", ref="N1")
    hide(twin)
    later(known)
    rung_alone(known, "left", new)
    assert told() == ["key_hidden"] and len(known.right.alive()) == 1
    shown_again(known, hide)
    assert Link.objects.get(left_id=new).right_id == twin


def test_nothing_is_copied_while_no_list_has_the_field_by_which_it_would_be_found(
    known: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = right_alone(known, noted=False)
    new = known.left.add(title="New", ref="N1")
    known.right.hidden = {"ref"}
    right = SchemaLook.objects.filter(connection=known.mapping.connection("right"))
    right.update(fields=[], digest="", looked_at=None)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryConnector, "described", not_answered)
        rung_alone(known, "left", new)
    assert not Link.objects.filter(left_id=new).exists() and len(known.right.alive()) == 2
    known.right.hidden = set()
    much_later(known)
    live(known)
    assert Link.objects.get(left_id=new).right_id == twin


def test_a_record_that_the_list_says_is_without_the_field_fits_nobody(known: Pair) -> None:
    twin = right_alone(known, noted=True)
    del known.right.records[twin].values["ref"]
    new = known.left.add(title="New", ref="N1")
    rung_alone(known, "left", new)
    assert Link.objects.get(left_id=new).right_id not in (None, twin)
