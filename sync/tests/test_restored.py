"""A restored backup loses nothing, doubles nothing, invents nothing, and writes nothing before it is approved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import Uncertain
from sync import after_restore, instructions, restored, schedule
from sync.approval import NotWaiting, approve, approve_restored
from sync.models import Allowance, AuditEntry, ChangedRecord, Conflict, Cursor, Link, MappingState, Operation, Run
from sync.tests.conftest import Pair, build_pair
from sync.tests.test_engine_running import once, pairs
from sync.tests.time_warp import Backup

pytestmark = pytest.mark.django_db

WRITES = ("create", "update", "delete", "mark")


def writes(pair: Pair) -> Counter[str]:
    """Writing calls so far, by side and verb."""
    return Counter(
        f"{world.name} {verb}" for world in (pair.left, pair.right) for verb, _ in world.calls if verb in WRITES
    )


def values(pair: Pair) -> dict[str, Any]:
    return {id: record.values for world in (pair.left, pair.right) for id, record in world.alive().items()}


def warp(pair: Pair, meanwhile: Callable[[], None], backup: Backup | None = None) -> dict[str, Any]:
    """Back up, go on with `meanwhile`, restore, compare; returns what the comparison found."""
    backup = backup or Backup()
    meanwhile()
    backup.restore()
    restored.halt_all("restored_declared", {"by": "ana"}, by="ana")
    before, was = writes(pair), values(pair)
    outcome = pair.run()
    assert (outcome.state, outcome.code) == ("approval", "restored")
    assert writes(pair) == before and values(pair) == was, "nothing is written before the approval"
    assert pair.run().state == "halted"
    assert pair.mapping.pk not in dict(schedule.due_mappings()), "it waits for a person"
    assert writes(pair) == before
    return dict(Run.objects.get(kind="restored", state="approval").preview)


def to_write(found: dict[str, Any]) -> int:
    return sum(row["write_left"] + row["write_right"] for row in found["differences"])


def go_on(pair: Pair) -> None:
    approve_restored(pair.mapping, "looked right", "ana")
    pair.quiet()


def one_to_one(pair: Pair, number: int) -> None:
    """So many things, each of them once on both sides and linked."""
    assert len(pair.left.alive()) == len(pair.right.alive()) == number
    active = Link.objects.filter(state="active")
    assert active.count() == number and {link.left_id for link in active} == set(pair.left.alive())
    assert {link.right_id for link in active} == set(pair.right.alive())


# What was written after the backup. ------------------------------------------------------------------------------


def test_writes_made_after_the_backup_are_recognised_and_not_made_again(pair: Pair) -> None:
    made = pairs(pair, 3)

    def meanwhile() -> None:
        pair.left.edit(made[0][0], body="to the right")
        pair.right.edit(made[1][1], body="to the left")
        pair.quiet()

    found = warp(pair, meanwhile)
    assert (to_write(found), found["agreed"], found["create"]) == (0, 2, {"left": 0, "right": 0})
    before = writes(pair)
    go_on(pair)
    assert writes(pair) == before, "both sides said the same already"
    link = Link.objects.get(left_id=made[0][0])
    assert link.left_bases["body"] == link.right_bases["body"] == "to the right"
    pair.left.edit(made[0][0], body="later")
    pair.quiet()
    assert pair.right.value(made[0][1], "body") == "later" and not pair.open_conflicts()


def test_what_was_edited_on_one_side_is_shown_with_a_sample_and_written_after_the_approval(pair: Pair) -> None:
    made = pairs(pair, 2)
    found = warp(pair, lambda: pair.left.edit(made[0][0], body="not yet carried over"))
    row = next(row for row in found["differences"] if row["rule"] == "body")
    assert (row["write_right"], row["write_left"], row["review"]) == (1, 0, 0)
    assert row["samples"][0]["value"] == "not yet carried over" and row["samples"][0]["side"] == "right"
    go_on(pair)
    assert pair.right.value(made[0][1], "body") == "not yet carried over"


def test_edits_on_both_sides_are_asked_about_and_overwrite_nothing(pair: Pair) -> None:
    made = pairs(pair, 1)

    def meanwhile() -> None:
        pair.left.edit(made[0][0], body="carried")
        pair.quiet()  # the backup does not know it
        pair.left.edit(made[0][0], body="L")
        pair.right.edit(made[0][1], body="R")

    found = warp(pair, meanwhile)
    assert to_write(found) == 0 and sum(row["review"] for row in found["differences"]) == 1
    go_on(pair)
    assert pair.both(*made[0], "body") == ("L", "R") and len(pair.open_conflicts()) == 1


# Records that the backup does not know. --------------------------------------------------------------------------


def test_records_created_after_the_backup_are_found_by_our_key_and_not_created_again(pair: Pair) -> None:
    pair.publish(match_keys=[])
    pairs_before = pairs(pair, 0)
    assert not pairs_before

    def meanwhile() -> None:
        for number in range(3):
            pair.left.add(title=f"new on the left {number}")
            pair.right.add(title=f"new on the right {number}")
        pair.quiet()
        one_to_one(pair, 6)

    found = warp(pair, meanwhile)
    assert found["linked"] == 6 and found["create"] == {"left": 0, "right": 0} and to_write(found) == 0
    before = writes(pair)
    go_on(pair)
    one_to_one(pair, 6)
    assert writes(pair) == before and not pair.open_conflicts()


def test_records_linked_after_the_backup_are_found_by_their_match_keys(pair: Pair) -> None:
    found = warp(pair, lambda: pairs(pair, 3) and None)
    assert found["linked"] == 3 and found["create"] == {"left": 0, "right": 0}
    go_on(pair)
    one_to_one(pair, 3)


def test_what_nobody_had_seen_yet_is_counted_and_created_once_after_the_approval(pair: Pair) -> None:
    pairs(pair, 1)
    found = warp(pair, lambda: pair.left.add(title="brand new", ref="new") and None)
    assert found["create"] == {"left": 0, "right": 1} and found["names"]["create"]
    go_on(pair)
    one_to_one(pair, 2)


@pytest.mark.parametrize("listing", ["under way", "asked for by a version since"])
def test_what_is_noted_for_a_version_is_noted_before_anything_is_linked_or_counted(
    pair: Pair, listing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup may be of the time when a side was listed for a version; and one is published while it is compared."""
    monkeypatch.setattr(after_restore, "BATCH", 1)
    pair.linked()
    pair.left.add(title="New", ref="N1")
    Cursor.objects.update(to_note=listing == "under way")
    backup = Backup()
    if listing == "asked for by a version since":
        assert pair.mapping.published
        alone = {side: {**pair.mapping.published.document[side], "create": False} for side in ("left", "right")}
        pair.publish(match_keys=[[{"left": "title", "right": "title"}]], **alone)
    for world in (pair.left, pair.left if listing == "under way" else pair.right, pair.right):
        world.add(title="Same", ref="N2")
    found = warp(pair, lambda: None, backup)
    assert found["create"] == {"left": 0, "right": 1 if listing == "under way" else 0}
    assert {one.kind for one in pair.open_conflicts()} == {"ambiguous_match"} and Link.objects.count() == 1


def test_a_record_with_a_key_that_cannot_be_traced_is_asked_about_and_never_copied(pair: Pair) -> None:
    def meanwhile() -> None:
        pair.right.add(by="syncadmin", correlation_key="syncadmin-of-an-older-release", title="whose?")

    found = warp(pair, meanwhile)
    assert found["create"] == {"left": 0, "right": 0}
    go_on(pair)
    assert not pair.left.records and [one.code for one in pair.open_conflicts()] == ["made_by_us"]


def test_a_key_is_the_same_after_the_restore_and_another_for_another_record(pair: Pair) -> None:
    from sync.identities import key_of

    one, other = pair.mapping.left_connection, pair.mapping.right_connection
    keys = {key_of(one, "thing", "1"), key_of(one, "thing", "2"), key_of(other, "thing", "1"), key_of(one, "x", "1")}
    assert len(keys) == 4 and key_of(one, "thing", "1") in keys and all(len(key) <= 64 for key in keys)
    one.key_space = "11111111-2222-4333-8444-555555555555"
    assert key_of(one, "thing", "1") == "syncadmin-6e8d2d1a61d8563f8d5a9399e16c64cb", "records carry it for years"


# Operations in flight in the backup. -----------------------------------------------------------------------------


def test_a_write_in_flight_in_the_backup_that_arrived_is_confirmed_and_not_repeated(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="on its way")
    kept: list[Backup] = []
    once(pair.right, "update", lambda: kept.append(Backup()))
    pair.quiet()
    found = warp(pair, lambda: None, kept[0])
    assert Operation.objects.get(kind="update").state == "confirmed" and to_write(found) == 0
    before = writes(pair)
    go_on(pair)
    assert writes(pair) == before and pair.both(left, right, "body") == ("on its way", "on its way")
    assert not pair.open_conflicts()


@pytest.mark.parametrize("history", [True, False])
def test_a_write_in_flight_in_the_backup_is_no_question_where_both_sides_moved_on_and_agree(
    pair: Pair, history: bool
) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, field_history=history)
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="on its way")
    kept: list[Backup] = []
    once(pair.right, "update", lambda: kept.append(Backup()))
    pair.quiet()

    def meanwhile() -> None:
        pair.right.edit(right, body="later")
        pair.quiet()

    warp(pair, meanwhile, kept[0])
    go_on(pair)
    assert pair.both(left, right, "body") == ("later", "later") and not pair.open_conflicts()


def test_a_create_in_flight_in_the_backup_is_bound_by_its_key(pair: Pair) -> None:
    left = pair.left.add(title="new")
    kept: list[Backup] = []
    once(pair.right, "create", lambda: kept.append(Backup()))
    pair.quiet()
    found = warp(pair, lambda: None, kept[0])
    assert found["create"] == {"left": 0, "right": 0}
    go_on(pair)
    one_to_one(pair, 1)
    assert Link.objects.get().left_id == left


def test_a_write_that_was_never_answered_before_the_backup_is_still_not_sent_blindly(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, field_history=False)
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="maybe")
    pair.right.before = lambda verb, ids: (_ for _ in ()).throw(Uncertain("cut")) if verb == "update" else None
    pair.run()
    pair.right.before = lambda verb, ids: None
    pair.right.edit(right, body="theirs")
    warp(pair, lambda: None)
    go_on(pair)
    assert pair.both(left, right, "body") == ("maybe", "theirs") and len(pair.open_conflicts()) == 1


# What people did after the backup. -------------------------------------------------------------------------------


def test_a_conflict_that_was_settled_after_the_backup_closes_by_itself(pair: Pair, admin_user: Any) -> None:
    left, right, link = pair.linked(body="b")
    pair.left.edit(left, body="L")
    pair.right.edit(right, body="R")
    pair.quiet()
    conflict = Conflict.objects.get(state="open")

    def meanwhile() -> None:
        instructions.resolve(conflict, {"take": "left"}, admin_user)
        pair.quiet()
        assert pair.both(left, right, "body") == ("L", "L")

    found = warp(pair, meanwhile)
    assert to_write(found) == 0 and not pair.open_conflicts()
    go_on(pair)
    assert pair.both(left, right, "body") == ("L", "L") and not pair.open_conflicts()


def test_a_pair_that_was_deleted_on_both_sides_after_the_backup_is_not_created_again(pair: Pair) -> None:
    made = pairs(pair, 2)

    def meanwhile() -> None:
        pair.left.remove(made[0][0])
        pair.right.remove(made[0][1])
        pair.quiet()

    found = warp(pair, meanwhile)
    assert found["create"] == found["delete"] == {"left": 0, "right": 0}
    go_on(pair)
    one_to_one(pair, 1)


def test_a_pair_that_was_unlinked_after_the_backup_is_shown_before_anything_is_written_to_it(
    pair: Pair, admin_user: Any
) -> None:
    left, right, link = pair.linked(body="b")

    def meanwhile() -> None:
        instructions.ask(link, "unlink", {}, admin_user)
        pair.quiet()
        pair.left.edit(left, body="goes its own way")
        pair.quiet()
        assert pair.right.value(right, "body") == "b"

    found = warp(pair, meanwhile)
    assert to_write(found) == 1 and pair.right.value(right, "body") == "b"


def test_twins_that_a_policy_would_delete_are_counted_and_wait_for_the_brake(pair: Pair) -> None:
    sides = pair.mapping.published.document
    pair.publish(left={**sides["left"], "on_delete": "delete"}, brakes={"delete": [1, 0.0]})
    made = pairs(pair, 4)
    found = warp(pair, lambda: [pair.left.remove(left) for left, _ in made[:3]] and None)
    assert found["delete"] == {"left": 0, "right": 3}
    approve_restored(pair.mapping, "they are gone", "ana")
    ChangedRecord.objects.update(not_before=timezone.now())
    pair.run()
    assert MappingState.objects.get().halt == "brake" and len(pair.right.alive()) == 4, "brakes apply afterwards"


# The mode itself. ------------------------------------------------------------------------------------------------


def test_a_run_under_way_commits_nothing_once_the_restore_is_declared(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")
    once(pair.left, "get", lambda: restored.halt_all("restored_declared", {"by": "ana"}, by="ana"))
    assert pair.run().state == "lost"
    assert pair.right.value(right, "body") == "b" and MappingState.objects.get().halt == "restored"


def test_releases_of_before_the_backup_are_over(pair: Pair) -> None:
    later = timezone.now() + timedelta(hours=20)
    Allowance.objects.create(
        mapping=pair.mapping, side="right", kind="create", number=900, reason="r", by_name="ana", expires_at=later
    )
    restored.halt_all("restored_declared", {"by": "ana"}, by="ana")
    assert not Allowance.objects.filter(expires_at__gt=timezone.now()).exists()


def test_a_first_run_that_waited_for_approval_in_the_backup_is_made_again(pair: Pair) -> None:
    MappingState.objects.all().delete()
    pair.left.add(title="one", ref="1")
    assert pair.run().state == "approval"
    backup = Backup()
    approve(pair.mapping, "ana")
    pair.quiet()
    one_to_one(pair, 1)
    backup.restore()
    restored.halt_all("restored_declared", {"by": "ana"}, by="ana")
    assert schedule.due_mappings() == [(pair.mapping.pk, "bulk")]
    before = writes(pair)
    assert pair.run().state == "approval" and writes(pair) == before
    approve(pair.mapping, "ana")
    pair.quiet()
    one_to_one(pair, 1)
    assert writes(pair) == before, "the twin was found by its key"


def test_an_approval_is_audited_with_its_reason_and_given_once(pair: Pair) -> None:
    pairs(pair, 1)
    warp(pair, lambda: None)
    go_on(pair)
    entry = AuditEntry.objects.get(code="restore_approved")
    assert (entry.params["reason"], entry.params["numbers"]["write"]) == ("looked right", 0)
    assert AuditEntry.objects.get(code="restored_declared").params["mappings"] == ["Pair"]
    with pytest.raises(NotWaiting):
        approve_restored(pair.mapping, "again", "ana")


def test_every_mapping_waits_for_its_own_approval(pair: Pair) -> None:
    other = build_pair("Other", pair.left, pair.right)
    other.approve()
    pairs(pair, 1)
    warp(pair, lambda: None)
    other.run()
    go_on(pair)
    states = dict(MappingState.objects.values_list("mapping__name", "halt"))
    assert states == {"Pair": "", "Other": "restored"}


def test_a_comparison_that_broke_off_is_made_again(pair: Pair) -> None:
    made = pairs(pair, 2)
    restored.halt_all("restored_declared", {"by": "ana"}, by="ana")

    def cut() -> None:
        raise RuntimeError("the worker died")

    once(pair.right, "list", cut)
    with pytest.raises(RuntimeError):
        pair.run()
    assert MappingState.objects.get().compared_at is None
    assert schedule.due_mappings() == [(pair.mapping.pk, "bulk")]
    pair.left.edit(made[0][0], body="new")
    assert pair.run().state == "approval" and pair.right.value(made[0][1], "body") is None
