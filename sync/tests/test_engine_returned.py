"""Records that are back after a deletion, hidden at a bad moment, or told as deleted while their pair stands still."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from sync import approval, instructions
from sync.models import AuditEntry, ChangedRecord, Link
from sync.tests.conftest import Pair
from sync.tests.engine_cases import LONG_AGO, live, once
from sync.tests.test_engine_deletions import alive, bring_back, hides_records, later, on_delete, some_runs

pytestmark = pytest.mark.django_db


def test_a_record_that_was_read_alive_is_not_deleted_by_what_was_told_before(pair: Pair) -> None:
    """The hint of its edit stays, since a field is hidden; by then the record is hidden as well."""
    on_delete(pair, "delete")
    hides_records(pair)
    left, right, link = pair.linked(title="One", body="b")
    pair.left.hidden.add("body")
    pair.ring("left", left, deleted=True)
    pair.left.edit(left, title="Two")
    some_runs(pair)
    pair.left.unseen.add(left)
    some_runs(pair)
    assert alive(pair.right) == [right] and pair.right.value(right, "title") == "Two"
    pair.left.unseen.clear()
    pair.left.hidden.clear()
    some_runs(pair)
    link.refresh_from_db()
    assert link.state == "active"


def test_a_deletion_told_while_its_record_is_read_is_believed(pair: Pair) -> None:
    hides_records(pair)
    left, right, link = pair.linked(body="b")
    on_delete(pair, "ignore")
    pair.ring("left", left, deleted=True)  # of one that was taken back since

    def gone() -> None:
        del pair.left.records[left]
        pair.ring("left", left, deleted=True)

    once(pair.left, "get", gone, when="after")
    some_runs(pair)
    link.refresh_from_db()
    assert (link.state, link.deleted_left) == ("deleted", True)


def test_a_deletion_is_not_denied_by_a_copy_that_lags_behind(pair: Pair) -> None:
    on_delete(pair, "delete")
    hides_records(pair)
    left, right, _ = pair.linked(body="b")
    pair.left.records[left] = replace(pair.left.records[left], updated_at=LONG_AGO)
    pair.ring("left", left, deleted=True)
    live(pair, rounds=1)
    del pair.left.records[left]
    live(pair)
    assert not alive(pair.right)


def test_a_twin_that_people_deleted_is_not_made_again_because_one_before_it_was_ours_to_delete(pair: Pair) -> None:
    on_delete(pair, "delete")
    left, _, link = pair.linked(body="b")
    pair.left.remove(left)
    pair.quiet()
    bring_back(pair.left, left)
    pair.quiet()
    link.refresh_from_db()
    second = link.right_id or ""
    pair.right.remove(second)
    pair.left.remove(left)
    pair.quiet()
    bring_back(pair.left, left)
    pair.quiet()
    assert not alive(pair.right) and len(pair.right.records) == 2
    told = AuditEntry.objects.filter(code__startswith="returned").order_by("pk").values_list("code", flat=True)
    assert list(told) == ["returned_to_a_new_twin", "returned_alone"]


@pytest.mark.parametrize("state", ["held", "unlinked"])
def test_a_deletion_of_which_is_told_while_a_pair_stands_still_is_remembered(
    pair: Pair, state: str, admin_user: Any
) -> None:
    """A record that is not found is out of scope in this system: nothing else tells of the deletion."""
    on_delete(pair, "delete")
    left, right, link = pair.linked(body="b")
    tells_nothing = {"not_found_means_gone": False, "not_found_tells_nothing": True}
    pair.left.capabilities = replace(pair.left.capabilities, **tells_nothing)
    Link.objects.update(state=state)
    pair.left.remove(left)
    pair.ring("left", left, deleted=True)
    some_runs(pair)
    link.refresh_from_db()
    assert (link.state, link.deleted_left, alive(pair.right)) == (state, True, [right])
    if state == "held":
        approval.include(link, admin_user)
    else:
        instructions.ask(link, "relink", {}, admin_user)
    some_runs(pair)
    assert not alive(pair.right)


def test_a_record_that_is_back_while_none_is_made_gets_its_first_twin_once_they_are(pair: Pair) -> None:
    on_delete(pair, "ignore", create=False)
    new = pair.left.add(title="New", ref="R9")
    pair.quiet()
    link = Link.objects.create(mapping=pair.mapping, state="deleted", left_id=new, deleted_left=True)
    pair.ring("left", new)
    some_runs(pair)
    link.refresh_from_db()
    assert link.state == "creating" and not pair.right.records
    on_delete(pair, "ignore", create=True)
    pair.left.edit(new, title="Newer")
    some_runs(pair)
    link.refresh_from_db()
    assert link.state == "active" and pair.right.value(link.right_id or "", "title") == "Newer"


@pytest.mark.parametrize("hidden", ["left", "right"])
@pytest.mark.parametrize("lists_deletions", [False, True])
def test_a_pair_of_which_one_record_comes_back_while_one_is_hidden_resumes_once_that_is_shown(
    pair: Pair, hidden: str, lists_deletions: bool
) -> None:
    on_delete(pair, "ignore")
    for world in (pair.left, pair.right):
        world.capabilities = replace(world.capabilities, not_found_means_gone=False, lists_deletions=lists_deletions)
    left, right, link = pair.linked(body="b")
    pair.left.remove(left)
    pair.ring("left", left, deleted=True)
    some_runs(pair)
    link.refresh_from_db()
    assert (link.state, link.deleted_left) == ("deleted", True)
    bring_back(pair.left, left, body="back")
    world, record = (pair.left, left) if hidden == "left" else (pair.right, right)
    world.unseen.add(record)
    pair.ring("left", left)
    pair.run("live")
    world.unseen.clear()
    later(pair, 1.1)
    pair.run("live")
    pair.run("live")
    link.refresh_from_db()
    assert (link.state, pair.right.value(right, "body")) == ("active", "back")


def test_a_tombstone_for_which_something_rings_is_looked_at_twice_and_no_more(pair: Pair) -> None:
    on_delete(pair, "ignore")
    hides_records(pair)
    left, right, link = pair.linked(body="b")
    del pair.left.records[left]
    pair.ring("left", left, deleted=True)
    some_runs(pair)
    pair.ring("left", left)
    pair.run("live")
    assert ChangedRecord.objects.get().not_before > timezone.now() + timedelta(minutes=50)
    later(pair, 1.1)
    pair.run("live")
    assert not ChangedRecord.objects.exists()
