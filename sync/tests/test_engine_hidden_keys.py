"""While a field by which records are recognised is hidden: what cannot be matched waits, and nothing is doubled."""

from __future__ import annotations

import pytest
from django.utils import timezone

from connections.connectors.base import Retry
from sync.models import ChangedRecord, Link, Operation, SchemaLook
from sync.tests.conftest import Pair
from sync.tests.engine_cases import live, once
from sync.tests.schema_cases import knowing, linked

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


def rung_alone(pair: Pair, side: str, external_id: str) -> None:
    """One look at this record, of which no list has told yet."""
    ChangedRecord.objects.all().delete()
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


def test_a_create_is_not_repeated_while_nobody_knows_why_its_record_lacks_the_match_field(known: Pair) -> None:
    linked(known)
    new = create_failed(known)
    twin = known.right.add(title="Made by hand", ref="N1")
    looked_a_moment_ago(known)
    known.left.hidden = {"ref"}
    rung_alone(known, "left", new)
    assert Link.objects.get(left_id=new).state == "creating" and len(known.right.alive()) == 2
    known.left.hidden = set()
    live(known)
    assert Link.objects.get(left_id=new).right_id == twin and len(known.right.alive()) == 2
