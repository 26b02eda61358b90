"""What people ask about a record as a whole: delete the twin, unlink, link, it exists, create it again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from connections.connectors.base import Capabilities, NotAllowed, Uncertain
from sync import instructions
from sync.approval import NotWaiting
from sync.models import AuditEntry, ChangedRecord, Conflict, Instruction, Link, Operation
from sync.tests.conftest import Pair
from sync.tests.engine_cases import live

pytestmark = pytest.mark.django_db


@pytest.fixture
def orphan(pair: Pair) -> Link:
    """A linked pair whose left record was deleted; a person is asked."""
    left, _, link = pair.linked(body="b")
    pair.left.remove(left)
    pair.quiet()
    assert [one.kind for one in pair.open_conflicts()] == ["delete_update"]
    link.refresh_from_db()
    return link


def ask(pair: Pair, link: Link, kind: str, user: Any, **params: Any) -> Instruction:
    asked = instructions.ask(link, kind, {}, user, params)
    pair.quiet()
    asked.refresh_from_db()
    link.refresh_from_db()
    return asked


def test_deleting_the_twin_is_done_once_it_is_gone_and_names_the_person(
    pair: Pair, orphan: Link, admin_user: Any
) -> None:
    asked = ask(pair, orphan, "delete_twin", admin_user)
    assert (asked.state, orphan.state) == ("done", "deleted")
    assert orphan.right_id not in pair.right.alive()
    conflict = Conflict.objects.get()
    assert (conflict.state, conflict.closed_by) == ("closed", "admin")
    assert AuditEntry.objects.get(action="resolve").request_id == str(asked.request_id)


def test_a_twin_that_may_not_be_deleted_stays_and_the_question_opens_again(
    pair: Pair, orphan: Link, admin_user: Any
) -> None:
    def forbid(verb: str, ids: object) -> None:
        if verb == "delete":
            raise NotAllowed("Deleting needs an administrator.")

    pair.right.before = forbid
    asked = ask(pair, orphan, "delete_twin", admin_user)
    assert asked.state == "refused" and orphan.right_id in pair.right.alive()
    (conflict,) = pair.open_conflicts()
    assert conflict.code == "delete_refused" and "administrator" in conflict.params["message"]


def test_a_twin_is_not_deleted_once_the_deleted_record_is_back(pair: Pair, orphan: Link, admin_user: Any) -> None:
    pair.left.records[orphan.left_id] = replace(
        pair.left.records[orphan.left_id], deleted=False, updated_at=pair.left.stamp()
    )
    asked = ask(pair, orphan, "delete_twin", admin_user)
    assert asked.state == "stale" and orphan.right_id in pair.right.alive()


def test_a_twin_that_was_edited_since_the_person_looked_is_not_deleted(
    pair: Pair, orphan: Link, admin_user: Any
) -> None:
    pair.right.edit(orphan.right_id, body="bob still works on it")
    asked = ask(pair, orphan, "delete_twin", admin_user)
    assert asked.state == "stale" and orphan.right_id in pair.right.alive()
    (conflict,) = pair.open_conflicts()
    assert (conflict.code, conflict.right_value["body"]) == ("deleted_and_edited", "bob still works on it")
    pair.right.edit(orphan.right_id, body="and goes on")
    asked = ask(pair, orphan, "delete_twin", admin_user, seen=conflict.right_value)
    assert asked.state == "stale" and orphan.right_id in pair.right.alive()


def test_a_twin_is_not_deleted_once_a_field_that_the_person_saw_is_hidden(
    pair: Pair, orphan: Link, admin_user: Any
) -> None:
    (conflict,) = pair.open_conflicts()
    pair.right.hidden = {"body"}
    asked = instructions.ask(orphan, "delete_twin", {}, admin_user, {"seen": conflict.right_value})
    pair.run()
    asked.refresh_from_db()
    assert asked.state == "stale" and orphan.right_id in pair.right.alive()


def test_an_edited_twin_is_deleted_for_who_saw_the_edit(pair: Pair, orphan: Link, admin_user: Any) -> None:
    pair.right.edit(orphan.right_id, body="not needed")
    pair.quiet()
    (conflict,) = pair.open_conflicts()
    asked = ask(pair, orphan, "delete_twin", admin_user, seen=conflict.right_value)
    assert (asked.state, orphan.state) == ("done", "deleted")
    told = AuditEntry.objects.get(action="delete")
    assert told.values["before"]["Body"] == "not needed", "the log keeps what it said"


def test_keeping_the_survivor_unlinks_and_closes_the_question_in_the_persons_name(
    pair: Pair, orphan: Link, admin_user: Any
) -> None:
    asked = ask(pair, orphan, "unlink", admin_user)
    assert (asked.state, orphan.state) == ("done", "unlinked")
    assert orphan.right_id in pair.right.alive() and not pair.open_conflicts()
    assert Conflict.objects.get().closed_by == "admin"
    assert AuditEntry.objects.get(action="unlink").actor == "admin"


def test_an_unlinked_pair_is_left_alone_and_linked_again_goes_on_where_it_was(pair: Pair, admin_user: Any) -> None:
    left, right, link = pair.linked(body="b")
    pair.left.edit(left, body="L")
    pair.right.edit(right, body="R")
    pair.quiet()
    asked = ask(pair, link, "unlink", admin_user)
    assert (asked.state, link.state, pair.open_conflicts()) == ("done", "unlinked", [])
    pair.right.edit(right, body="b")
    pair.quiet()
    assert pair.both(left, right, "body") == ("L", "b")
    asked = ask(pair, link, "relink", admin_user)
    assert (asked.state, link.state) == ("done", "active")
    assert pair.both(left, right, "body") == ("L", "L")


def unclear_create(pair: Pair) -> Link:
    """A create without an answer in a system where it cannot be found out what became of it."""
    pair.right.capabilities = Capabilities(bulk_read=100, settle_seconds=0, update_timeout=0)

    def lose(verb: str, ids: object) -> None:
        if verb == "create":
            pair.right.after = lambda *_: None
            made = max(pair.right.records)
            pair.right.records[made] = replace(pair.right.records[made], correlation_key=None)
            raise Uncertain("no answer")

    pair.right.after = lose
    pair.left.add(title="Alone")
    pair.run()
    pair.run()
    (conflict,) = pair.open_conflicts()
    assert conflict.kind == "uncertain_create" and conflict.link is not None
    return conflict.link


def test_a_create_of_unknown_fate_is_never_repeated_by_itself(pair: Pair) -> None:
    link = unclear_create(pair)
    pair.left.edit(link.left_id or "", body="edited meanwhile")
    pair.run()
    pair.run()
    assert len(pair.right.records) == 1 and len(pair.open_conflicts()) == 1
    assert len(pair.left.records) == 1, "what may be the record we made is not copied back either"


def test_it_exists_binds_the_record_and_the_pair_agrees(pair: Pair, admin_user: Any) -> None:
    link = unclear_create(pair)
    (made,) = pair.right.records
    asked = ask(pair, link, "relink", admin_user, side="right", id=made)
    assert (asked.state, link.state, link.right_id) == ("done", "active", made)
    assert not pair.open_conflicts() and Conflict.objects.get().closed_by == "admin"
    pair.left.edit(link.left_id or "", body="follows")
    pair.quiet()
    assert pair.right.value(made, "body") == "follows" and len(pair.right.records) == 1


def test_it_exists_is_refused_for_a_record_that_is_linked_already(pair: Pair, admin_user: Any) -> None:
    _, right, _ = pair.linked()
    link = unclear_create(pair)
    asked = instructions.ask(link, "relink", {}, admin_user, {"side": "right", "id": right})
    pair.run()
    asked.refresh_from_db()
    link.refresh_from_db()
    assert (asked.state, link.state, link.right_id) == ("refused", "creating", None)


def test_it_does_not_exist_creates_it_again_and_closes_the_question(pair: Pair, admin_user: Any) -> None:
    link = unclear_create(pair)
    pair.right.records.clear()
    asked = ask(pair, link, "recreate", admin_user)
    assert (asked.state, link.state) == ("done", "active")
    assert len(pair.right.alive()) == 1 and not pair.open_conflicts()
    assert Operation.objects.filter(kind="create", state="confirmed").count() == 1


def test_a_create_of_unknown_fate_left_unlinked_is_asked_about_again_when_it_is_matched_again(
    pair: Pair, admin_user: Any
) -> None:
    link = unclear_create(pair)
    ask(pair, link, "unlink", admin_user)
    assert link.state == "unlinked"
    instructions.match_again(link, admin_user)
    live(pair)
    assert len(pair.right.alive()) == 1, "nobody said that the first one is not there"
    (conflict,) = [one for one in pair.open_conflicts() if one.link == link]
    assert (conflict.kind, conflict.code, conflict.params["side"]) == ("uncertain_create", "created_or_not", "right")


def test_what_an_unanswered_create_may_have_made_is_asked_about_once_its_record_was_left_unlinked(
    pair: Pair, admin_user: Any
) -> None:
    link = unclear_create(pair)
    ask(pair, link, "unlink", admin_user)
    live(pair)
    (made,) = pair.right.records
    assert len(pair.left.alive()) == 1, "what we made ourselves is not copied back"
    (conflict,) = pair.open_conflicts()
    assert (conflict.subject, conflict.code) == (f"right:{made}", "may_be_made_by_us")
    assert conflict.params["of"] == [link.left_key]
    asked = ask(pair, link, "relink", admin_user, side="right", id=made)
    assert (asked.state, link.state, link.right_id, pair.open_conflicts()) == ("done", "active", made, [])


def test_another_record_is_copied_whatever_a_create_of_unknown_fate_may_have_made(pair: Pair, admin_user: Any) -> None:
    ask(pair, unclear_create(pair), "unlink", admin_user)
    pair.right.add(by="ana", title="Alone")
    pair.quiet()
    assert sorted(pair.left.value(one, "title") for one in pair.left.alive()) == ["Alone", "Alone"]


@pytest.fixture
def which(pair: Pair) -> Conflict:
    """One left record that two right ones fit."""
    pair.right.add(title="A", ref="R9", body="a")
    pair.right.add(title="B", ref="R9")
    left = pair.left.add(title="C", ref="R9")
    pair.quiet()
    return next(one for one in pair.open_conflicts() if one.subject == f"left:{left}")


def test_a_person_says_which_record_is_meant(pair: Pair, which: Conflict, admin_user: Any) -> None:
    left = which.subject.removeprefix("left:")
    link = instructions.link_by_hand(which, left, "R00001", admin_user)
    pair.quiet()
    link.refresh_from_db()
    assert (link.state, link.left_id, link.right_id, link.right_key) == ("active", left, "R00001", "R00001")
    assert pair.left.value(left, "body") == "a", "the pair is planned at once"
    which.refresh_from_db()
    assert (which.state, which.closed_by) == ("closed", "admin")
    assert AuditEntry.objects.get(action="link").code == "linked_by_hand"


def test_the_second_answer_to_the_same_question_is_not_taken(pair: Pair, which: Conflict, admin_user: Any) -> None:
    left = which.subject.removeprefix("left:")
    instructions.link_by_hand(which, left, "R00001", admin_user)
    with pytest.raises(NotWaiting):
        instructions.link_by_hand(which, left, "R00002", admin_user)
    with pytest.raises(NotWaiting):
        instructions.leave_unlinked(which, admin_user)


def test_a_record_linked_meanwhile_is_not_linked_twice(pair: Pair, which: Conflict, admin_user: Any) -> None:
    other = next(one for one in pair.open_conflicts() if one.subject == "right:R00002")
    left = which.subject.removeprefix("left:")
    instructions.link_by_hand(which, left, "R00001", admin_user)
    with pytest.raises(NotWaiting):
        instructions.link_by_hand(other, left, "R00002", admin_user)
    assert Link.objects.count() == 1


@pytest.mark.parametrize("answer", ["link", "leave"])
def test_the_others_that_fitted_are_looked_at_again_once_it_is_answered(
    pair: Pair, which: Conflict, admin_user: Any, answer: str
) -> None:
    left = which.subject.removeprefix("left:")
    if answer == "link":
        instructions.link_by_hand(which, left, "R00001", admin_user)
    else:
        instructions.leave_unlinked(which, admin_user)
    live(pair, 8)  # no list shows them again: they were not edited for long
    assert "several_fit" not in [one.code for one in pair.open_conflicts()], "nothing unlinked fits them any more"


def test_a_record_left_alone_is_neither_matched_nor_copied_until_it_is_matched_again(
    pair: Pair, which: Conflict, admin_user: Any
) -> None:
    link = instructions.leave_unlinked(which, admin_user)
    pair.left.edit(link.left_id or "", title="C2")
    pair.quiet()
    assert len(pair.right.alive()) == 2
    pair.left.edit(link.left_id or "", ref="other")
    instructions.match_again(link, admin_user)
    assert ChangedRecord.objects.filter(side="left").exists()
    pair.quiet()
    assert Link.objects.get(left_id=link.left_id).right_id, "now it fits nothing and gets a twin"
    with pytest.raises(NotWaiting):
        instructions.match_again(Link.objects.get(left_id=link.left_id), admin_user)
