"""A record that left the scope: time stands still for its pair, and nothing people wrote meanwhile is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from sync import instructions
from sync.models import ChangedRecord, Cursor, Link
from sync.tests.conftest import Pair
from sync.tests.engine_cases import live
from sync.tests.test_engine_deletions import later, on_delete
from sync.tests.verify_cases import put, verified

pytestmark = pytest.mark.django_db


def scoped(pair: Pair, side: str, **more: Any) -> None:
    """Only records of owner x belong on this side; no rule maps the owner."""
    assert pair.mapping.published
    pair.publish(**{side: {**pair.mapping.published.document[side], "scope": {"owner": "x"}, **more}})


def edited_beside(pair: Pair) -> tuple[str, str, Link]:
    """A pair whose left record left the scope, and whose right one was edited since, which waits."""
    scoped(pair, "left")
    left, right, link = pair.linked(body="agreed", owner="x")
    pair.left.edit(left, owner="y")
    pair.right.edit(right, body="meanwhile")
    pair.ring("right", right)
    live(pair)
    link.refresh_from_db()
    assert link.out_of_scope == "left"
    assert pair.both(left, right, "body") == ("agreed", "meanwhile")
    return left, right, link


def test_an_edit_of_the_twin_made_meanwhile_crosses_when_the_record_returns(pair: Pair) -> None:
    left, right, link = edited_beside(pair)
    pair.left.edit(left, owner="x")
    pair.ring("left", left)
    live(pair)
    link.refresh_from_db()
    assert link.out_of_scope == ""
    assert pair.both(left, right, "body") == ("meanwhile", "meanwhile")


@pytest.mark.parametrize("policy", ["delete", "close"])
def test_a_twin_out_of_scope_is_neither_deleted_nor_closed_unasked(pair: Pair, policy: str) -> None:
    """Back in the scope, the deletion goes on."""
    scoped(pair, "right", close_values={"status": "done"})
    on_delete(pair, policy)
    left, right, link = pair.linked(body="agreed", owner="x")
    pair.right.edit(right, owner="y")
    pair.left.remove(left)
    pair.quiet()
    link.refresh_from_db()
    (asked,) = pair.open_conflicts()
    assert (asked.code, link.out_of_scope, link.state) == ("deleted_out_of_scope", "right", "active")
    assert right in pair.right.alive() and pair.right.value(right, "status") is None
    pair.right.edit(right, owner="x")
    pair.quiet()
    link.refresh_from_db()
    assert not pair.open_conflicts() and link.state == "deleted"
    assert right not in pair.right.alive() or pair.right.value(right, "status") == "done"


def test_a_twin_out_of_scope_is_asked_about_where_its_record_is_not_found(pair: Pair) -> None:
    scoped(pair, "right")
    on_delete(pair, "delete")
    pair.left.capabilities = replace(pair.left.capabilities, not_found_means_gone=True)
    left, right, _ = pair.linked(body="agreed", owner="x")
    pair.right.edit(right, owner="y")
    del pair.left.records[left]
    pair.ring("left", left)
    pair.quiet()
    assert [one.code for one in pair.open_conflicts()] == ["deleted_out_of_scope"]
    assert right in pair.right.alive()


def test_a_twin_out_of_scope_is_deleted_once_a_person_says_so(pair: Pair, admin_user: Any) -> None:
    scoped(pair, "right")
    on_delete(pair, "delete")
    left, right, link = pair.linked(body="agreed", owner="x")
    pair.right.edit(right, owner="y")
    pair.left.remove(left)
    pair.quiet()
    assert right in pair.right.alive()
    instructions.ask(link, "delete_twin", {}, admin_user, {})
    pair.quiet()
    assert right not in pair.right.alive() and not pair.open_conflicts()


def test_a_record_deleted_after_it_left_the_scope_leaves_its_twin_to_a_person(pair: Pair) -> None:
    scoped(pair, "left")
    on_delete(pair, "delete")
    left, right, link = pair.linked(body="agreed", owner="x")
    pair.left.edit(left, owner="y", body="theirs")
    pair.ring("left", left)
    pair.quiet()
    link.refresh_from_db()
    assert link.out_of_scope == "left"
    pair.left.remove(left)
    pair.ring("left", left, deleted=True)
    pair.quiet()
    assert [one.code for one in pair.open_conflicts()] == ["deleted_out_of_scope"]
    assert right in pair.right.alive()


def test_a_record_that_is_back_without_an_edit_resumes_once_all_is_listed(pair: Pair) -> None:
    """A scope may hang on more than the record: nothing rings when that changes, and no list of changes tells of it."""
    pair.left.capabilities = replace(pair.left.capabilities, lists_deletions=False)
    left, right, link = edited_beside(pair)
    put(pair.left, left, owner="x")
    Cursor.objects.update(watermark=soon(), deep_at=timezone.now(), swept_at=None)
    pair.quiet()
    link.refresh_from_db()
    assert link.out_of_scope == ""
    assert pair.both(left, right, "body") == ("meanwhile", "meanwhile")


def soon() -> str:
    """A watermark after everything that was edited yet."""
    return (timezone.now() + timedelta(hours=1)).isoformat().replace("+00:00", "Z")


def test_a_record_that_is_back_without_an_edit_resumes_once_its_pair_is_verified(pair: Pair) -> None:
    left, right, link = edited_beside(pair)
    assert verified(pair).counts["waits"] == {"out_of_scope": 1}
    assert not ChangedRecord.objects.exists(), "it is out of scope still"
    put(pair.left, left, owner="x")
    verified(pair)
    live(pair)
    assert pair.both(left, right, "body") == ("meanwhile", "meanwhile")
    assert verified(pair).counts["equal"] == 1


def test_edits_that_waited_out_of_scope_cross_once_a_version_lets_them_in(pair: Pair) -> None:
    left, right, link = edited_beside(pair)
    Cursor.objects.update(watermark=soon(), deep_at=timezone.now(), swept_at=timezone.now())  # no list tells of it
    assert pair.mapping.published
    pair.publish(left={**pair.mapping.published.document["left"], "scope": {}})
    live(pair)
    link.refresh_from_db()
    assert link.out_of_scope == ""
    assert pair.both(left, right, "body") == ("meanwhile", "meanwhile")


@pytest.fixture
def veiled(pair: Pair) -> Pair:
    """The left system shows a part of its records, and one that is not found may be there all the same."""
    pair.left.capabilities = replace(pair.left.capabilities, not_found_means_gone=False, not_found_tells_nothing=True)
    pair.left.add(title="Stays", ref="R2")
    return pair


def look_again(pair: Pair, hours: float = 1.1) -> None:
    """That much later all is listed, and what waits is due."""
    Cursor.objects.update(swept_at=None)
    later(pair, hours)
    ChangedRecord.objects.update(not_before=timezone.now())
    pair.run()
    live(pair)


@pytest.mark.parametrize("policy", ["delete", "close", "unlink", "ignore", "review"])
def test_a_record_that_is_not_shown_any_more_is_never_taken_for_deleted(veiled: Pair, policy: str) -> None:
    pair = veiled
    on_delete(pair, policy, close_values={"status": "done"})
    left, right, link = pair.linked(body="b")
    hidden = pair.left.records.pop(left)
    for _ in range(3):
        look_again(pair)
    link.refresh_from_db()
    assert (link.state, link.out_of_scope, link.deleted_left) == ("active", "left", False)
    assert right in pair.right.alive() and pair.right.value(right, "status") is None
    assert not pair.open_conflicts() and not ChangedRecord.objects.exists()
    pair.right.edit(right, body="meanwhile")
    pair.quiet()
    pair.left.records[left] = hidden
    look_again(pair)
    link.refresh_from_db()
    assert link.out_of_scope == "" and pair.both(left, right, "body") == ("meanwhile", "meanwhile")


def test_one_that_was_looked_for_before_is_not_believed_gone_by_a_second_look(veiled: Pair) -> None:
    """What was found under the rule for hidden records ends with it."""
    pair, able = veiled, veiled.left.capabilities
    on_delete(pair, "delete")
    left, right, link = pair.linked(body="b")
    del pair.left.records[left]
    pair.left.capabilities = replace(able, not_found_tells_nothing=False)
    pair.ring("left", left)
    pair.run("live")
    pair.left.capabilities = able
    look_again(pair)
    link.refresh_from_db()
    assert right in pair.right.alive() and (link.out_of_scope, link.deleted_left) == ("left", False)


def test_a_deletion_that_is_told_of_is_believed_though_absence_tells_nothing(veiled: Pair) -> None:
    pair = veiled
    on_delete(pair, "delete")
    left, right, _ = pair.linked(body="b")
    del pair.left.records[left]
    pair.ring("left", left, deleted=True)
    live(pair)
    assert right not in pair.right.alive()


def test_the_deletion_of_its_twin_waits_until_the_record_is_shown(veiled: Pair) -> None:
    pair = veiled
    on_delete(pair, "review", on_delete="delete")
    left, right, link = pair.linked(body="b")
    hidden = pair.left.records.pop(left)
    pair.right.remove(right)
    pair.quiet()
    link.refresh_from_db()
    assert (link.state, link.out_of_scope, link.deleted_right) == ("active", "left", True)
    pair.left.records[left] = hidden
    look_again(pair)
    link.refresh_from_db()
    assert left not in pair.left.alive() and link.state == "deleted"
