"""Deletions are believed late, carried out carefully, and never made up."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import NotAllowed, Retry
from connections.connectors.memory import World
from sync import instructions
from sync.models import AuditEntry, ChangedRecord, Cursor, IdentityRecord, Link, Operation
from sync.tests.conftest import Pair
from sync.tests.engine_cases import LONG_AGO, once

pytestmark = pytest.mark.django_db
AN_HOUR_AGO = (timezone.now() - timedelta(hours=1)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def on_delete(pair: Pair, policy: str, **right: Any) -> None:
    document = pair.mapping.published.document
    pair.publish(left={**document["left"], "on_delete": policy}, right={**document["right"], **right})


def bring_back(world: World, external_id: str, **values: Any) -> None:
    record = world.records[external_id]
    version = str(int(record.version) + 1)
    world.records[external_id] = replace(
        record, deleted=False, updated_at=world.stamp(), version=version, values={**record.values, **values}
    )


def hides_records(pair: Pair) -> None:
    """On the left a 404 may mean hidden."""
    pair.left.capabilities = replace(pair.left.capabilities, not_found_means_gone=False, lists_deletions=False)


def later(pair: Pair, hours: float) -> None:
    """Hints were rung and postponed so much earlier."""
    for hint in ChangedRecord.objects.all():
        hint.first_rung_at -= timedelta(hours=hours)
        hint.not_before -= timedelta(hours=hours)
        hint.save()


def tombstone(pair: Pair) -> tuple[str, str, Link]:
    """A pair whose left record was deleted, which the mapping ignores."""
    on_delete(pair, "ignore")
    left, right, link = pair.linked(body="b")
    pair.left.remove(left)
    pair.quiet()
    return left, right, link


def some_runs(pair: Pair) -> None:
    """Runs that look at every hint, due or not."""
    for _ in range(4):
        ChangedRecord.objects.update(not_before=timezone.now())
        pair.run()


def busy() -> None:
    raise Retry("Not now.", after=0)


@pytest.mark.parametrize("policy", ["ignore", "unlink"])
def test_with_the_pair_its_questions_end(pair: Pair, policy: str) -> None:
    on_delete(pair, policy)
    left, right, link = pair.linked(body="b")
    pair.left.edit(left, body="L")
    pair.right.edit(right, body="R")
    pair.quiet()
    assert len(pair.open_conflicts()) == 1
    pair.right.edit(right, body="b")
    pair.left.edit(left, body="b")
    pair.left.remove(left)
    pair.quiet()
    link.refresh_from_db()
    assert link.state == {"ignore": "deleted", "unlink": "unlinked"}[policy]
    assert not pair.open_conflicts()
    assert AuditEntry.objects.filter(action="deletion").count() == 1


def test_a_tombstone_resumes_when_its_record_is_back(pair: Pair) -> None:
    left, right, link = tombstone(pair)
    bring_back(pair.left, left, body="back")
    pair.quiet()
    link.refresh_from_db()
    assert (link.state, link.deleted_left) == ("active", False)
    assert pair.right.value(right, "body") == "back"


def test_an_id_that_returns_as_another_thing_does_not_resume(pair: Pair) -> None:
    left, right, link = tombstone(pair)
    bring_back(pair.left, left, ref="another", body="of another thing")
    pair.quiet()
    pair.ring("left", left)
    pair.quiet()
    link.refresh_from_db()
    assert link.state == "deleted" and pair.right.value(right, "body") == "b"
    assert AuditEntry.objects.filter(code="returned_as_another").count() == 1


@pytest.mark.parametrize(("ref", "code"), [("another", "returned_as_another"), ("", "returned_untold")])
def test_a_person_links_again_what_is_back_and_is_not_known_to_be_the_same(
    pair: Pair, admin_user: Any, ref: str, code: str
) -> None:
    left, right, link = tombstone(pair)
    bring_back(pair.left, left, ref=ref, body="back")
    pair.quiet()
    link.refresh_from_db()
    assert link.state == "deleted" and AuditEntry.objects.filter(action="deletion").latest("pk").code == code
    asked = instructions.ask(link, "relink", {}, admin_user)
    pair.quiet()
    link.refresh_from_db()
    asked.refresh_from_db()
    assert (asked.state, link.state, link.deleted_left, link.parked) == ("done", "active", False, {})
    assert pair.both(left, right, "body") == ("back", "back")
    assert AuditEntry.objects.filter(code="relinked", actor="admin").count() == 1


def test_a_record_that_went_again_is_not_linked_again(pair: Pair, admin_user: Any) -> None:
    left, right, link = tombstone(pair)
    bring_back(pair.left, left, ref="another")
    pair.quiet()
    link.refresh_from_db()
    on_delete(pair, "delete")
    pair.left.remove(left)
    asked = instructions.ask(link, "relink", {}, admin_user)
    pair.quiet()
    link.refresh_from_db()
    asked.refresh_from_db()
    assert (asked.state, asked.outcome["why"], link.state) == ("refused", "unreachable", "deleted")
    assert right in pair.right.alive()


def test_a_record_that_is_back_before_anybody_decided_closes_the_question(pair: Pair) -> None:
    left, right, link = pair.linked(body="b")
    pair.left.remove(left)
    pair.quiet()
    bring_back(pair.left, left, body="back")
    pair.quiet()
    link.refresh_from_db()
    assert not pair.open_conflicts() and not link.deleted_left
    assert pair.right.value(right, "body") == "back"


def test_a_twin_that_we_closed_is_opened_again_when_the_deleted_record_is_back(pair: Pair) -> None:
    on_delete(pair, "close", close_values={"status": "closed"})
    left, right, link = pair.linked(status="open")
    pair.left.remove(left)
    pair.quiet()
    told = AuditEntry.objects.get(code="twin_closed")
    assert told.values == {"before": {"status": "open"}, "after": {"status": "closed"}}
    bring_back(pair.left, left)
    pair.quiet()
    link.refresh_from_db()
    assert link.state == "active" and not pair.open_conflicts()
    assert pair.both(left, right, "status") == ("open", "open"), "our closing is nobody's edit"


def test_a_twin_whose_closing_takes_steps_is_closed_to_the_end(pair: Pair) -> None:
    on_delete(pair, "close", close_values={"status": "closed"})
    left, right, link = pair.linked(status="open")
    pair.right.ways["status"] = lambda now, wanted: {"open": "in progress", "in progress": wanted}.get(now, wanted)
    pair.left.remove(left)
    pair.quiet()
    link.refresh_from_db()
    assert (pair.right.value(right, "status"), link.state) == ("closed", "deleted")
    told = AuditEntry.objects.filter(code="twin_closed").order_by("pk")
    assert [entry.values["after"]["status"] for entry in told] == ["in progress", "closed"]


def test_an_edit_of_a_twin_that_we_closed_is_kept_when_the_deleted_record_is_back(pair: Pair) -> None:
    on_delete(pair, "close", close_values={"status": "closed"})
    left, right, _ = pair.linked(status="open", body="b")
    pair.left.remove(left)
    pair.quiet()
    pair.right.edit(right, body="R")
    bring_back(pair.left, left)
    pair.quiet()
    assert pair.both(left, right, "body") == ("R", "R")
    assert pair.both(left, right, "status") == ("open", "open")


def test_a_record_that_is_back_gets_a_new_twin_where_we_deleted_the_old_one(pair: Pair) -> None:
    on_delete(pair, "delete")
    left, old, link = pair.linked(body="b")
    pair.left.remove(left)
    pair.quiet()
    assert old not in alive(pair.right)
    bring_back(pair.left, left, body="back")
    pair.quiet()
    link.refresh_from_db()
    assert (link.state, link.deleted_left, link.deleted_right) == ("active", False, False)
    assert link.right_id != old and alive(pair.right) == [link.right_id]
    assert pair.right.value(link.right_id, "body") == "back"
    assert AuditEntry.objects.filter(code="returned_to_a_new_twin").count() == 1
    pair.right.edit(link.right_id, body="R")
    pair.quiet()
    assert pair.left.value(left, "body") == "R" and not pair.open_conflicts()


@pytest.mark.parametrize("how", ["deleted", "hidden", "not shown"])
def test_a_record_that_went_before_its_twin_was_made_gets_one_once_it_is_back(pair: Pair, how: str) -> None:
    pair.linked(body="b")
    if how != "deleted":
        hides_records(pair)
    if how == "not shown":
        pair.left.capabilities = replace(pair.left.capabilities, not_found_tells_nothing=True)
    new = pair.left.add(title="New", ref="N9")
    once(pair.right, "create", busy)
    pair.run()
    link = Link.objects.get(left_id=new)
    assert link.state == "creating"
    if how == "deleted":
        pair.left.remove(new)
        pair.ring("left", new, deleted=True)
        some_runs(pair)
        bring_back(pair.left, new)
    else:
        hidden = replace(pair.left.records.pop(new), updated_at=LONG_AGO)
        Link.objects.filter(pk=link.pk).update(left_updated_at=LONG_AGO, left_version=LONG_AGO)
        for _ in range(3):
            later(pair, hours=1.2)
            pair.run()
        pair.left.records[new] = hidden
        Cursor.objects.update(swept_at=None)
    assert len(pair.right.records) == 1
    some_runs(pair)
    link.refresh_from_db()
    assert link.state == "active" and pair.right.value(link.right_id or "", "title") == "New"
    told = AuditEntry.objects.filter(action="deletion").order_by("pk").values_list("code", flat=True)
    gone = {"deleted": "deletion_noted", "hidden": "not_found_noted"}
    assert list(told) == ([gone[how], "returned_first"] if how in gone else [])


def test_an_old_twin_that_is_back_first_is_taken_and_no_new_one_made(pair: Pair) -> None:
    on_delete(pair, "delete")
    left, old, link = pair.linked(body="b")
    pair.left.remove(left)
    pair.quiet()
    bring_back(pair.right, old)
    bring_back(pair.left, left, body="back")
    pair.quiet()
    link.refresh_from_db()
    assert (link.state, link.right_id, alive(pair.right)) == ("active", old, [old])
    assert pair.right.value(old, "body") == "back"


def test_a_record_that_is_back_alone_where_no_twins_are_made_stays_a_tombstone_of_the_other_one(pair: Pair) -> None:
    on_delete(pair, "delete", create=False)
    left, old, link = pair.linked(body="b")
    pair.left.remove(left)
    pair.quiet()
    bring_back(pair.left, left, body="back")
    pair.quiet()
    link.refresh_from_db()
    assert (link.state, link.deleted_left, link.deleted_right) == ("deleted", False, True)
    assert AuditEntry.objects.filter(code="returned_alone").count() == 1
    bring_back(pair.right, old)
    pair.quiet()
    link.refresh_from_db()
    assert link.state == "active" and pair.right.value(old, "body") == "back"


def alive(world: World) -> list[str]:
    return [external_id for external_id, record in world.records.items() if not record.deleted]


def test_closing_the_twin_is_not_forgotten_when_the_system_is_busy(pair: Pair) -> None:
    on_delete(pair, "close", close_values={"status": "closed"})
    left, right, link = pair.linked(status="open")
    pair.left.remove(left)
    pair.ring("left", left)

    def busy(verb: str, ids: Any) -> None:
        if verb == "update":
            pair.right.before = lambda *_: None
            raise Retry("busy", after=0)

    pair.right.before = busy
    for _ in range(3):
        ChangedRecord.objects.update(not_before=timezone.now())
        pair.run("live")
    link.refresh_from_db()
    assert pair.right.value(right, "status") == "closed" and link.state == "deleted"


def test_a_twin_that_says_closed_already_is_not_written(pair: Pair) -> None:
    on_delete(pair, "close", close_values={"status": "closed"})
    left, _, link = pair.linked(status="closed")
    pair.left.remove(left)
    pair.quiet()
    link.refresh_from_db()
    assert link.state == "deleted" and pair.writes() == 0


@pytest.mark.parametrize("policy, verb", [("delete", "delete"), ("close", "update")])
def test_what_the_system_refused_to_do_to_the_twin_is_asked_and_not_repeated(
    pair: Pair, policy: str, verb: str
) -> None:
    on_delete(pair, policy, close_values={"status": "closed"})
    left, right, _ = pair.linked()

    def forbid(called: str, ids: Any) -> None:
        if called == verb:
            raise NotAllowed("Only administrators may.")

    pair.right.before = forbid
    pair.left.remove(left)
    for _ in range(3):
        pair.ring("left", left)
        pair.quiet()
    assert pair.right.calls.count((verb, right)) == 1
    (question,) = pair.open_conflicts()
    assert question.code == f"{policy}_refused" and "administrators" in question.params["message"]
    bring_back(pair.left, left)
    pair.quiet()
    assert not pair.open_conflicts() and Link.objects.get().parked == {}


def test_the_survivor_of_a_pair_that_never_agreed_is_left_to_a_person(pair: Pair) -> None:
    on_delete(pair, "delete")
    left, right, link = pair.linked()
    Link.objects.update(left_bases={}, right_bases={})
    pair.left.remove(left)
    pair.quiet()
    assert right in pair.right.alive() and len(pair.open_conflicts()) == 1


def test_an_edit_of_a_one_way_target_saves_it_from_deletion(pair: Pair) -> None:
    on_delete(pair, "delete")
    rules = [
        {**rule, "direction": "to_right"} if rule["id"] == "body" else rule
        for rule in pair.mapping.published.document["rules"]
    ]
    pair.publish(rules=rules)
    left, right, _ = pair.linked(body="b")
    pair.right.edit(right, body="a note of ours")
    pair.left.remove(left)
    pair.quiet()
    assert right in pair.right.alive() and pair.open_conflicts()[0].code == "deleted_and_edited"


def test_a_twin_with_a_hidden_field_is_not_deleted_unasked(pair: Pair) -> None:
    """It may have been edited just there. Once the field shows again and was not edited, the deletion goes on."""
    on_delete(pair, "delete")
    left, right, _ = pair.linked(body="b")
    pair.right.hidden = {"body"}
    pair.right.edit(right, body="written where we cannot look")
    pair.left.remove(left)
    pair.run()
    (asked,) = pair.open_conflicts()
    assert (asked.code, asked.params["fields"]) == ("deleted_and_unread", ["body"])
    assert right in pair.right.alive()
    pair.right.hidden = set()
    pair.right.edit(right, body="b")
    pair.quiet()
    assert right not in pair.right.alive() and not pair.open_conflicts()


@pytest.mark.parametrize(("hidden", "code"), [("left", "deleted_and_edited"), ("right", "deleted_and_unread")])
def test_a_twin_with_a_field_that_was_never_compared_is_not_deleted_unasked(pair: Pair, hidden: str, code: str) -> None:
    """Our account could not read it on one side from the start, so that nothing was agreed about it."""
    on_delete(pair, "delete")
    world = {"left": pair.left, "right": pair.right}[hidden]
    world.hidden = {"body"}
    left, right, link = pair.linked(body=None)
    assert "body" not in link.right_bases
    pair.right.edit(right, body="written by somebody")
    pair.left.remove(left)
    pair.run()
    assert [one.code for one in pair.open_conflicts() if not one.rule_id] == [code]
    assert right in pair.right.alive()


def test_a_field_that_the_twin_never_had_keeps_it_from_nothing(pair: Pair) -> None:
    """Such as one that is not on the form of its kind: there is nothing in it to lose."""
    on_delete(pair, "delete")
    made = [world.add(title="One", ref="R1") for world in (pair.left, pair.right)]
    for world, external_id in zip((pair.left, pair.right), made, strict=True):
        del world.records[external_id].values["body"]
    pair.quiet()
    left, right = made
    assert "body" not in Link.objects.get().right_bases
    pair.left.remove(left)
    pair.quiet()
    assert right not in pair.right.alive() and not pair.open_conflicts()


def test_a_record_that_may_be_hidden_is_believed_gone_after_a_second_look_an_hour_later(pair: Pair) -> None:
    hides_records(pair)
    left, _, link = pair.linked()
    pair.left.add(title="Still readable", ref="R2")
    pair.right.add(title="Still readable", ref="R2")
    pair.quiet()
    del pair.left.records[left]
    pair.ring("left", left)
    pair.run("live")
    hint = ChangedRecord.objects.get(side="left", external_id=left)
    assert (hint.not_before - timezone.now()).total_seconds() > 3500 and not pair.open_conflicts()
    later(pair, 1.1)
    pair.run("live")
    assert [one.code for one in pair.open_conflicts()] == ["deleted_ask"]


def test_an_earlier_failure_of_another_kind_is_no_first_sighting(pair: Pair) -> None:
    hides_records(pair)
    left, _, _ = pair.linked()
    pair.left.add(title="Still readable")
    pair.quiet()
    pair.ring("left", left)
    ChangedRecord.objects.update(attempts=3, error="It could not be planned.", first_rung_at=timezone.now())
    later(pair, 2)
    del pair.left.records[left]
    pair.run("live")
    assert not pair.open_conflicts()


def test_where_nothing_can_be_listed_any_more_nothing_is_believed_gone(pair: Pair) -> None:
    hides_records(pair)
    left, _, _ = pair.linked()
    pair.left.records.clear()
    pair.ring("left", left)
    pair.run("live")
    later(pair, 1.1)
    pair.run("live")
    assert not pair.open_conflicts() and Link.objects.get().state == "active"


def test_an_edit_of_the_survivor_waits_with_the_first_sighting_and_is_not_lost(pair: Pair) -> None:
    hides_records(pair)
    left, right, _ = pair.linked(body="b")
    hidden = pair.left.records.pop(left)
    pair.right.edit(right, body="new")
    pair.ring("right", right)
    pair.run("live")
    assert set(ChangedRecord.objects.values_list("side", flat=True)) == {"left", "right"}
    pair.left.records[left] = hidden
    later(pair, 1.1)
    pair.run("live")
    assert pair.both(left, right, "body") == ("new", "new") and not ChangedRecord.objects.exists()


def test_a_batch_that_a_brake_stops_tells_of_no_deletion(pair: Pair) -> None:
    on_delete(pair, "ignore")
    pair.publish(brakes={"update": [0, 0.0]})
    left, right, _ = pair.linked()
    other_left = pair.left.add(title="Two", ref="R2")
    pair.right.add(title="Two", ref="R2")
    pair.quiet()
    pair.left.remove(left)
    pair.left.edit(other_left, body="new")
    assert pair.run().code == "brake"
    assert not AuditEntry.objects.filter(action="deletion").exists() and not Operation.objects.exists()
    assert Link.objects.get(left_id=left).state == "active"


# Merges. ---------------------------------------------------------------------------------------------------------


def test_a_pair_follows_a_record_into_the_one_it_was_merged_into(pair: Pair) -> None:
    """What was agreed stays agreed: what that one says otherwise is an edit, and an edit over there is one as well."""
    pair.publish(left={**pair.mapping.published.document["left"], "scope": {"status": "open"}})
    left, right, link = pair.linked(body="b", amount=1, status="open")
    elsewhere = pair.left.add(title="One", ref="R1", body="b", amount=1, status="done")
    pair.quiet()
    pair.left.edit(elsewhere, amount=2, status="open")
    pair.right.edit(right, body="theirs")
    pair.left.merge(left, elsewhere)
    pair.ring("left", left)
    pair.quiet()
    link.refresh_from_db()
    assert (link.state, link.left_id, link.right_id) == ("active", elsewhere, right)
    assert pair.both(elsewhere, right, "amount") == (2, 2)
    assert pair.both(elsewhere, right, "body") == ("theirs", "theirs")
    assert not pair.open_conflicts() and len(pair.right.alive()) == 1
    assert AuditEntry.objects.get(code="merge_followed").params["now"] == elsewhere
    assert set(IdentityRecord.objects.filter(identity=link.identity).values_list("external_id", flat=True)) == {
        elsewhere,
        right,
    }


def test_a_record_merged_into_one_with_a_twin_of_its_own_is_asked_about(pair: Pair) -> None:
    on_delete(pair, "delete")
    left, right, link = pair.linked()
    master, twin, _ = pair.linked(title="Two", ref="R2")
    pair.left.merge(left, master)
    pair.ring("left", left)
    pair.quiet()
    (question,) = pair.open_conflicts()
    assert (question.kind, question.code, question.link_id) == ("delete_update", "merged_away", link.pk)
    assert (question.params["into"], question.params["twin"]) == (master, twin)
    assert set(pair.right.alive()) == {right, twin}, "nothing is deleted unasked"


def test_a_merge_is_a_deletion_where_the_mapping_lets_pairs_go(pair: Pair) -> None:
    on_delete(pair, "unlink")
    left, _, link = pair.linked()
    master, *_ = pair.linked(title="Two", ref="R2")
    pair.left.merge(left, master)
    pair.ring("left", left)
    pair.quiet()
    link.refresh_from_db()
    assert link.state == "unlinked" and not pair.open_conflicts()


def test_what_a_deleted_twin_said_stays_in_the_log(pair: Pair) -> None:
    on_delete(pair, "delete")
    left, right, _ = pair.linked(body="all of this")
    pair.left.remove(left)
    pair.quiet()
    assert right not in pair.right.alive()
    entry = AuditEntry.objects.get(action="delete")
    assert entry.values["before"]["Body"] == "all of this" and entry.values["after"] is None


@pytest.mark.parametrize("lists_deletions", [False, True])
@pytest.mark.parametrize(
    ("hidden", "policy", "state"),
    [
        (("left",), "ignore", "deleted"),
        (("left",), "review", "active"),
        (("left", "right"), "review", "deleted"),
    ],
)
def test_what_was_edited_while_its_record_was_believed_gone_is_found_once_it_is_shown_again(
    pair: Pair, hidden: tuple[str, ...], policy: str, state: str, lists_deletions: bool
) -> None:
    on_delete(pair, policy)
    left, right, link = pair.linked(body="b")
    worlds = {"left": pair.left, "right": pair.right}
    for world in worlds.values():
        world.capabilities = replace(world.capabilities, not_found_means_gone=False, lists_deletions=lists_deletions)
        world.add(title="Still readable", ref="R2")
    pair.quiet()
    away = {side: worlds[side].records.pop(link.record_id(side) or "") for side in hidden}
    pair.ring("left", left)
    pair.run("live")
    later(pair, 1.1)
    pair.run("live")
    link.refresh_from_db()
    assert (link.state, link.may_return) == (state, True)
    codes = {("left",): "not_found_noted", ("left", "right"): "not_found_on_both"}
    told = AuditEntry.objects.filter(action="deletion").values_list("code", flat=True)
    assert list(told) == ([codes[hidden]] if state == "deleted" else [])
    Cursor.objects.update(swept_at=timezone.now() - timedelta(hours=1))
    pair.quiet()
    assert not ChangedRecord.objects.exists(), "it is looked for, and nothing waits for that"
    for side, record in away.items():
        worlds[side].records[record.external_id] = record
    pair.left.edit(left, body="new")
    for world in worlds.values():  # long before the time that the next poll asks about
        world.records |= {path: replace(one, updated_at=AN_HOUR_AGO) for path, one in world.records.items()}
    Link.objects.update(left_updated_at="", right_updated_at="")
    pair.quiet()
    assert pair.right.value(right, "body") == "b", "nothing rang"
    Cursor.objects.update(swept_at=timezone.now() - timedelta(hours=1))
    pair.quiet()
    link.refresh_from_db()
    assert link.state == "active" and not pair.open_conflicts()
    assert pair.both(left, right, "body") == ("new", "new")


@pytest.mark.parametrize(("policy", "state"), [("ignore", "deleted"), ("review", "active")])
def test_what_was_told_to_be_deleted_is_not_looked_for_every_hour(pair: Pair, policy: str, state: str) -> None:
    on_delete(pair, policy)
    pair.left.capabilities = replace(pair.left.capabilities, not_found_means_gone=False)
    left, right, link = pair.linked()
    pair.left.remove(left)
    pair.quiet()
    del pair.left.records[left]  # and the system forgets it
    pair.right.edit(right, body="edited meanwhile")
    pair.quiet()
    link.refresh_from_db()
    assert (link.state, link.deleted_left, link.may_return) == (state, True, False)
    pair.right.records[right] = replace(pair.right.records[right], updated_at=AN_HOUR_AGO)  # no poll lists it again
    Cursor.objects.update(swept_at=None)
    calls = len(pair.left.calls)
    pair.run()
    assert "get" not in [verb for verb, _ in pair.left.calls[calls:]]


def test_a_person_who_lets_the_twin_be_deleted_waits_for_no_third_look(pair: Pair, admin_user: Any) -> None:
    hides_records(pair)
    left, right, link = pair.linked()
    for world in (pair.left, pair.right):
        world.add(title="Still readable", ref="R2")
    pair.quiet()
    del pair.left.records[left]
    pair.ring("left", left)
    pair.run("live")
    later(pair, 1.1)
    pair.run("live")
    assert right in pair.right.alive() and pair.open_conflicts()
    instructions.ask(link, "delete_twin", {}, admin_user, {})
    pair.quiet()
    assert right not in pair.right.alive() and not pair.open_conflicts()
