"""A refused create, and what a person sends instead: it goes with the record, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import Refused, Retry, Uncertain
from connections.connectors.memory import MemoryConnector, World
from sync import failures, instructions, retrying
from sync.models import AuditEntry, ChangedRecord, Conflict, Instruction, Link, Operation
from sync.tests.conftest import Pair, rule

pytestmark = pytest.mark.django_db

LONG, SHORT = "much too long", "short"
REQUIRED = {"required": True, "max_length": 5}


@pytest.fixture
def refused(pair: Pair) -> Link:
    """A record whose required title is too long for the right."""
    pair.publish(rules=[rule("title", "title", right=REQUIRED), rule("body", "body", right=REQUIRED)])
    pair.left.add(title=LONG, body="b")
    pair.quiet()
    return Link.objects.get()


def send(link: Link, value: Any, user: Any, path: str = "title", seen: Any = LONG) -> Instruction:
    link.refresh_from_db()
    return retrying.edit(link, path, "right", value, {"left": seen, "right": None}, user)


def creates(world: World) -> int:
    return [verb for verb, _ in world.calls].count("create")


def the_right(pair: Pair) -> dict[str, Any]:
    (record,) = pair.right.alive().values()
    return {path: record.values.get(path) for path in ("title", "body")}


def test_the_record_is_made_with_the_edited_value_and_the_two_differ_by_agreement(
    pair: Pair, refused: Link, admin_user: Any
) -> None:
    asked = send(refused, SHORT, admin_user)
    assert Conflict.objects.get().state == "resolving"
    pair.quiet()
    asked.refresh_from_db()
    refused.refresh_from_db()
    assert the_right(pair) == {"title": SHORT, "body": "b"}
    assert pair.left.value(refused.left_id or "", "title") == LONG
    assert (asked.state, refused.state, refused.agreed_differences) == ("done", "active", {"title": True})
    assert not refused.parked and Conflict.objects.get().closed_by == "admin"
    assert AuditEntry.objects.filter(action="write", code="retried", actor="admin").count() == 1
    made = creates(pair.right)
    pair.left.edit(refused.left_id or "", title="next")
    pair.quiet()
    assert the_right(pair)["title"] == "next" and creates(pair.right) == made


def test_an_edited_value_that_means_the_same_is_no_difference(pair: Pair, refused: Link, admin_user: Any) -> None:
    pair.right.change("title", max_length=None)
    send(refused, LONG, admin_user)
    pair.quiet()
    refused.refresh_from_db()
    assert the_right(pair)["title"] == LONG and not refused.agreed_differences and not pair.open_conflicts()


def test_it_is_not_sent_where_the_source_moved_meanwhile(pair: Pair, refused: Link, admin_user: Any) -> None:
    asked = send(refused, SHORT, admin_user)
    pair.left.edit(refused.left_id or "", title="moved")
    pair.quiet()
    asked.refresh_from_db()
    assert asked.state == "stale" and the_right(pair)["title"] == "moved"


def test_one_that_is_refused_too_starts_no_new_tries(pair: Pair, refused: Link, admin_user: Any) -> None:
    before = creates(pair.right)
    asked = send(refused, "still too long", admin_user)
    for _ in range(3):
        pair.ring("left", refused.left_id or "")
        pair.quiet()
    asked.refresh_from_db()
    assert (asked.state, creates(pair.right)) == ("refused", before + 1)
    assert [one.code for one in pair.open_conflicts()] == ["create_refused"]
    pair.left.edit(refused.left_id or "", title="fits")
    pair.quiet()
    assert the_right(pair)["title"] == "fits" and not pair.open_conflicts()


def test_of_two_refused_fields_the_first_edit_goes_with_the_second(pair: Pair, admin_user: Any) -> None:
    pair.publish(rules=[rule("title", "title", right=REQUIRED), rule("body", "body", right=REQUIRED)])
    pair.left.add(title=LONG, body=LONG)
    pair.quiet()
    link = Link.objects.get()
    send(link, SHORT, admin_user)
    pair.quiet()
    assert not pair.right.records and [one.code for one in pair.open_conflicts()] == ["create_refused"]
    send(link, "tiny", admin_user, "body")
    pair.quiet()
    assert the_right(pair) == {"title": SHORT, "body": "tiny"} and not pair.open_conflicts()


def test_an_optional_field_that_is_refused_with_it_waits_alone(pair: Pair, admin_user: Any) -> None:
    pair.publish(rules=[rule("title", "title", right=REQUIRED), rule("body", "body", right={"max_length": 5})])
    pair.left.add(title=LONG, body=LONG)
    pair.quiet()
    asked = send(Link.objects.get(), SHORT, admin_user)
    pair.quiet()
    asked.refresh_from_db()
    assert the_right(pair) == {"title": SHORT, "body": None} and asked.state == "done"
    assert [(one.code, one.rule_id) for one in pair.open_conflicts()] == [("refused", "body")]
    assert Conflict.objects.get(rule_id="").closed_by == "admin"


def test_a_create_that_was_not_answered_keeps_the_edited_value(pair: Pair, refused: Link, admin_user: Any) -> None:
    def lost(verb: str, ids: Any) -> None:
        if verb == "create":
            pair.right.before = lambda *_: None
            raise Uncertain("no answer")

    asked = send(refused, SHORT, admin_user)
    pair.right.before = lost
    pair.run()
    Operation.objects.update(claimed_at=timezone.now() - timedelta(hours=1), not_before=timezone.now())
    ChangedRecord.objects.update(not_before=timezone.now())
    pair.quiet()
    asked.refresh_from_db()
    assert the_right(pair)["title"] == SHORT and asked.state == "done"


def test_it_makes_no_second_record_where_a_person_has_to_say_whether_there_is_one(
    pair: Pair, refused: Link, admin_user: Any
) -> None:
    before = creates(pair.right)
    Link.objects.update(parked={"": {"code": "created_or_not"}})
    asked = send(refused, SHORT, admin_user)
    pair.quiet()
    asked.refresh_from_db()
    assert (asked.state, creates(pair.right)) == ("refused", before)


def test_a_field_that_stands_still_is_not_sent(pair: Pair, refused: Link, admin_user: Any) -> None:
    asked = send(refused, SHORT, admin_user)
    pair.right.fields = [one for one in pair.right.fields if one.path != "title"]
    pair.run()
    pair.quiet()
    asked.refresh_from_db()
    assert asked.state == "refused" and not pair.right.records


# What was sent stands. -----------------------------------------------------------------------------------------------


def refusing(pair: Pair, *answers: Exception) -> None:
    """The next creates on the right are answered like this, before anything happened."""
    left = list(answers)

    def before(verb: str, ids: Any) -> None:
        if verb == "create" and left:
            raise left.pop(0)

    pair.right.before = before


def both_refused(pair: Pair, **more: Any) -> Link:
    """A record of whose fields two required ones are too long for the right."""
    amount = [rule("amount", "amount", "number")]
    pair.publish(rules=[rule("title", "title", right=REQUIRED), rule("body", "body", right=REQUIRED), *amount])
    pair.left.add(title=LONG, body=LONG, **more)
    pair.quiet()
    return Link.objects.get()


def due() -> None:
    ChangedRecord.objects.update(not_before=timezone.now())
    Operation.objects.update(not_before=timezone.now())


def failing(pair: Pair) -> None:
    """Its create fails until it is listed."""
    for _ in range(3):
        due()
        pair.run()
    assert failures.standing().writes.exists()


def test_what_was_sent_stands_until_its_source_is_edited(pair: Pair, admin_user: Any) -> None:
    link = both_refused(pair, amount=1)
    send(link, SHORT, admin_user)
    pair.quiet()
    pair.left.edit(link.left_id or "", amount=2)
    pair.quiet()
    send(link, "tiny", admin_user, "body")
    pair.left.edit(link.left_id or "", title="new")
    pair.quiet()
    link.refresh_from_db()
    assert the_right(pair) == {"title": "new", "body": "tiny"} and not link.typed


def test_an_edit_that_does_not_fit_any_more_takes_no_other_one_with_it(pair: Pair, admin_user: Any) -> None:
    link = both_refused(pair)
    first = send(link, SHORT, admin_user)
    second = send(link, "tiny", admin_user, "body")
    pair.left.edit(link.left_id or "", body="fits")
    pair.quiet()
    first.refresh_from_db()
    second.refresh_from_db()
    assert the_right(pair) == {"title": SHORT, "body": "fits"}
    assert ("superseded" in first.outcome.values(), second.state) == (True, "stale")


def test_what_was_sent_is_for_the_field_it_was_sent_to(pair: Pair, admin_user: Any) -> None:
    pair.publish(rules=[rule("title", "title"), rule("body", "body", right=REQUIRED)])
    pair.left.add(title="t", body=LONG)
    pair.quiet()
    link = Link.objects.get()
    send(link, "still too long", admin_user, "body")
    pair.quiet()
    pair.publish(rules=[rule("title", "title"), {**rule("body", "body"), "right": rule("ref", "ref")["right"]}])
    pair.quiet()
    link.refresh_from_db()
    assert pair.right.value(link.right_id or "", "ref") == LONG and not link.agreed_differences


def test_a_source_that_is_edited_back_says_what_it_says(pair: Pair, refused: Link, admin_user: Any) -> None:
    send(refused, "still too long", admin_user)
    pair.quiet()
    for title in ("moved on, too", LONG):
        pair.left.edit(refused.left_id or "", title=title)
        pair.quiet()
    pair.right.change("title", max_length=None)
    retrying.retry(failures.standing(), admin_user)
    pair.quiet()
    assert the_right(pair)["title"] == LONG


def test_a_record_that_is_left_alone_forgets_it(pair: Pair, refused: Link, admin_user: Any) -> None:
    send(refused, "still too long", admin_user)
    pair.quiet()
    instructions.ask(refused, Instruction.Kind.UNLINK, {}, admin_user)
    pair.quiet()
    instructions.match_again(refused, admin_user)
    refused.refresh_from_db()
    assert (refused.state, refused.typed) == ("creating", {})


def test_a_retry_sends_it_too(pair: Pair, admin_user: Any) -> None:
    link = both_refused(pair)
    send(link, SHORT, admin_user)
    pair.quiet()
    pair.right.change("body", max_length=None)
    retrying.retry(failures.standing(), admin_user)
    pair.quiet()
    assert the_right(pair) == {"title": SHORT, "body": LONG}


def test_an_outage_does_not_take_it_away(pair: Pair, admin_user: Any) -> None:
    link = both_refused(pair)
    send(link, SHORT, admin_user)
    pair.quiet()
    refusing(pair, *[Retry("503", after=0)] * 3)
    send(link, "tiny", admin_user, "body")
    failing(pair)
    send(link, "tin", admin_user, "body")
    due()
    pair.quiet()
    assert the_right(pair) == {"title": SHORT, "body": "tin"}


def test_the_last_word_counts_though_an_earlier_one_is_under_way(pair: Pair, admin_user: Any) -> None:
    refusing(pair, *[Retry("503", after=0)] * 3, Uncertain("no answer"))
    pair.publish(rules=[rule("title", "title"), rule("body", "body")])
    pair.left.add(title="x", body="b")
    failing(pair)
    link = Link.objects.get()
    first = send(link, "v1", admin_user, "body", seen="b")
    due()
    pair.run()
    second = send(link, "v2", admin_user, "body", seen="b")
    Operation.objects.filter(state="uncertain").update(claimed_at=timezone.now() - timedelta(hours=1))
    due()
    pair.quiet()
    first.refresh_from_db()
    second.refresh_from_db()
    assert the_right(pair)["body"] == "v2"
    assert (first.state, first.outcome, second.state) == ("stale", {"": "superseded"}, "done")


@pytest.mark.parametrize("edited", [False, True])
def test_the_last_word_counts_though_the_record_was_made_meanwhile(pair: Pair, admin_user: Any, edited: bool) -> None:
    """Unless somebody edited the new record, which the person has not seen."""
    refusing(pair, *[Retry("503", after=0)] * 3)
    pair.publish(rules=[rule("title", "title"), rule("body", "body")])
    pair.left.add(title="x", body="b")
    failing(pair)
    link = Link.objects.get()

    def lost(verb: str, ids: Any) -> None:
        if verb == "create":
            pair.right.after = lambda *_: None
            raise Uncertain("no answer")

    pair.right.after = lost
    send(link, "v1", admin_user, "body", seen="b")
    due()
    pair.run()
    if edited:
        pair.right.edit(next(iter(pair.right.alive())), body="ana's")
    asked = send(link, "v2", admin_user, "body", seen="b")
    Operation.objects.filter(state="uncertain").update(claimed_at=timezone.now() - timedelta(hours=1))
    due()
    pair.quiet()
    asked.refresh_from_db()
    assert (the_right(pair)["body"], asked.state) == (("ana's", "stale") if edited else ("v2", "done"))


def test_what_is_refused_by_turns_is_not_sent_for_ever(pair: Pair, admin_user: Any) -> None:
    """The system names one field at a time; two optional ones that a person sent are refused after the required one."""
    fields = [rule("title", "title", right={"required": True}), rule("body", "body"), rule("status", "status")]
    pair.publish(rules=fields)
    refusing(
        pair,
        Refused("no", {"title": "no"}),
        Refused("no", {"title": "no"}),
        Refused("no", {"title": "no"}),
        Refused("no", {"body": "no"}),
        Refused("no", {"status": "no"}),
    )
    pair.left.add(title=LONG, body="b", status="s")
    pair.quiet()
    link = Link.objects.get()
    for path, value, seen in (("body", "X", "b"), ("status", "Y", "s")):
        send(link, value, admin_user, path, seen)
        pair.quiet()
    before = creates(pair.right)
    send(link, SHORT, admin_user)
    pair.quiet()
    assert creates(pair.right) == before + 3
    (record,) = pair.right.alive().values()
    assert [record.values.get(path) for path in ("title", "body", "status")] == [SHORT, None, None]
    asked = {(one.code, one.rule_id, one.params["sent"]) for one in pair.open_conflicts()}
    assert asked == {("refused", "body", "X"), ("refused", "status", "Y")}


def test_a_required_field_is_not_emptied(pair: Pair, refused: Link, admin_user: Any) -> None:
    before = creates(pair.right)
    asked = send(refused, None, admin_user)
    pair.quiet()
    asked.refresh_from_db()
    assert (asked.state, asked.outcome["why"]) == ("refused", "required_would_be_emptied")
    assert creates(pair.right) == before and [one.state for one in Conflict.objects.all()] == ["open"]


# One thing, one record. ----------------------------------------------------------------------------------------------


def by_title(pair: Pair) -> Link:
    """A record whose match key is too long for the right, where another one has the key that a person will send."""
    left = {**pair.mapping.published.document["left"], "create": False} if pair.mapping.published else {}
    keys = [[{"left": "title", "right": "title"}]]
    pair.publish(rules=[rule("title", "title", right=REQUIRED), rule("body", "body")], match_keys=keys, left=left)
    pair.right.add(title=SHORT, body="theirs")
    pair.left.add(title=LONG, body="b")
    pair.quiet()
    return Link.objects.get()


def test_a_match_key_that_is_sent_is_looked_up(pair: Pair, admin_user: Any) -> None:
    link = by_title(pair)
    asked = send(link, SHORT, admin_user)
    pair.quiet()
    asked.refresh_from_db()
    assert len(pair.right.alive()) == 1 and (asked.state, asked.outcome["why"]) == ("refused", "asked")
    (question,) = pair.open_conflicts()
    assert (question.code, question.params["fit"]) == ("fits_what_was_sent", list(pair.right.alive()))
    send(link, "other", admin_user)
    pair.quiet()
    assert len(pair.right.alive()) == 2 and not pair.open_conflicts()


def test_a_match_key_of_a_record_that_is_linked_is_asked_about(pair: Pair, admin_user: Any) -> None:
    link = by_title(pair)
    pair.left.add(title=SHORT, body="ours")
    pair.quiet()
    send(link, SHORT, admin_user)
    pair.quiet()
    assert len(pair.right.alive()) == 1
    assert [one.code for one in pair.open_conflicts() if one.link_id == link.pk] == ["fits_what_was_sent"]
    send(link, "other", admin_user)
    pair.quiet()
    assert len(pair.right.alive()) == 2 and not link.conflicts.exclude(state="closed").exists()


def test_a_twin_that_is_found_meanwhile_is_linked_and_the_answer_says_so(pair: Pair, admin_user: Any) -> None:
    pair.publish(rules=[rule("title", "title", right=REQUIRED), rule("ref", "ref")])
    pair.left.add(title=LONG, ref="R9")
    pair.quiet()
    link = Link.objects.get()
    asked = send(link, SHORT, admin_user)
    pair.right.add(title="other", ref="R9")
    pair.quiet()
    asked.refresh_from_db()
    link.refresh_from_db()
    assert (asked.state, asked.outcome["why"], link.state, link.typed) == ("refused", "found", "active", {})
    assert not AuditEntry.objects.filter(action="resolve").exists()


def test_an_answer_about_a_record_that_is_gone_says_so(pair: Pair, refused: Link, admin_user: Any) -> None:
    asked = send(refused, SHORT, admin_user)
    pair.left.remove(refused.left_id or "")
    pair.quiet()
    asked.refresh_from_db()
    assert (asked.state, asked.outcome["why"]) == ("refused", "deleted") and not pair.right.records
    assert not AuditEntry.objects.filter(action="resolve").exists()


# A create that is found later. ---------------------------------------------------------------------------------------


def test_what_was_edited_in_a_record_that_we_found_later_is_an_edit(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the list of our own records shows what we made, and somebody edited a field that a create cannot carry."""
    pair.publish(rules=[rule("title", "title"), rule("status", "status", right={"creatable": False}, initial="ask")])
    pair.right.capabilities = replace(pair.right.capabilities, create_lookup_consistent=False, settle_seconds=0)
    pair.left.add(title="x", status="open")

    def lost(verb: str, ids: Any) -> None:
        if verb == "create":
            pair.right.after = lambda *_: None
            raise Uncertain("no answer")

    pair.right.after = lost
    with monkeypatch.context() as lagging:
        lagging.setattr(MemoryConnector, "find_by_correlation_key", lambda *_: {})
        pair.run()
        (made,) = pair.right.alive()
        pair.right.edit(made, status="taken by ana")
        Operation.objects.update(claimed_at=timezone.now() - timedelta(seconds=1), not_before=timezone.now())
        pair.quiet()
    assert pair.right.value(made, "status") == "taken by ana"
    assert [(one.code, one.rule_id) for one in pair.open_conflicts()] == [("initially_different", "status")]
