"""One thing is one record over there: nothing is copied twice, linked to a ghost, or left out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import Hint, Refused, Retry, Uncertain, WriteResult
from connections.connectors.memory import US, MemoryConnector, World
from sync import instructions, jobs
from sync.models import (
    ChangedRecord,
    Conflict,
    Cursor,
    Identity,
    IdentityRecord,
    Link,
    MatchKey,
    Operation,
)
from sync.tests.conftest import DEFAULT_RULES, Pair, rule
from sync.tests.engine_cases import no_answer, once
from sync.tests.test_engine_deletions import AN_HOUR_AGO

pytestmark = pytest.mark.django_db


def due(pair: Pair) -> None:
    ChangedRecord.objects.update(not_before=timezone.now())
    Operation.objects.update(not_before=timezone.now())


def fails(world: World, error: Exception, when: str = "before") -> None:
    """The next create over there ends with this error, before or after it happened."""

    def fault(verb: str, ids: Any) -> None:
        if verb == "create":
            setattr(world, when, lambda *_: None)
            raise error

    setattr(world, when, fault)


def timed_out(pair: Pair) -> None:
    """What was sent can no longer take effect."""
    Operation.objects.update(claimed_at=timezone.now() - timedelta(hours=1), not_before=timezone.now())


@pytest.mark.parametrize("source, target", [("left", "right"), ("right", "left")])
def test_a_bell_for_the_record_we_made_waits_until_our_create_is_known(pair: Pair, source: str, target: str) -> None:
    there: World = getattr(pair, target)
    there.capabilities = replace(there.capabilities, update_timeout=60)
    getattr(pair, source).add(title="Alone")
    fails(there, Uncertain("no answer"), "after")
    pair.run()
    pair.ring(target, max(there.records))
    pair.run("live")
    due(pair)
    pair.run("live")
    assert Identity.objects.count() == 1 and IdentityRecord.objects.count() == 1
    timed_out(pair)
    pair.quiet()
    assert Link.objects.get().state == "active"
    assert len(pair.left.alive()) == len(pair.right.alive()) == 1


def test_a_record_with_our_key_is_bound_to_the_link_that_waits_for_it(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, create_lookup_consistent=False)
    left = pair.left.add(title="Alone")
    fails(pair.right, Uncertain("no answer"))
    pair.run()
    pair.right.before = lambda *_: None
    key = Identity.objects.get().key
    # It arrives after all, later than any look-up could know.
    late = pair.right.add(by=US, correlation_key=key, title="Alone")
    Operation.objects.update(state="dead", claim=None)
    pair.ring("right", late)
    pair.run("live")
    link = Link.objects.get()
    assert (link.left_id, link.right_id, link.state) == (left, late, "active")
    pair.quiet()
    assert len(pair.right.alive()) == 1


def test_two_records_that_are_known_as_two_things_can_be_linked(pair: Pair) -> None:
    left = pair.left.add(title="A", ref="X")
    right = pair.right.add(title="A", ref="X")
    for connection, record in ((pair.mapping.left_connection, left), (pair.mapping.right_connection, right)):
        thing = Identity.objects.create(key=f"key of {record}")
        IdentityRecord.objects.create(identity=thing, connection=connection, object_type="thing", external_id=record)
    pair.quiet()
    link = Link.objects.get()
    assert (link.left_id, link.right_id, link.state) == (left, right, "active")


def no_creates(pair: Pair, **left: Any) -> None:
    document = pair.mapping.published.document
    pair.publish(left={**document["left"], "create": False, **left}, right={**document["right"], "create": False})


@pytest.mark.parametrize("what", ["gone", "other key", "out of scope"])
def test_a_candidate_is_looked_at_again_before_it_is_linked(pair: Pair, what: str) -> None:
    no_creates(pair, on_delete="delete", scope={"status": "open"})
    noted = pair.left.add(title="Noted", ref="R7", status="open")
    pair.quiet()
    assert MatchKey.objects.filter(external_id=noted).exists()
    if what == "gone":
        del pair.left.records[noted]
    elif what == "other key":
        pair.left.edit(noted, ref="R8")
    else:
        pair.left.edit(noted, status="closed")
    right = pair.right.add(title="Here", ref="R7")
    pair.ring("right", right)
    pair.run("live")
    assert right in pair.right.alive() and not Link.objects.exists()


def test_a_match_key_that_was_emptied_finds_nobody_any_more(pair: Pair) -> None:
    no_creates(pair)
    left = pair.left.add(title="A", ref="R1")
    pair.quiet()
    pair.left.edit(left, ref=None)
    pair.quiet()
    assert not MatchKey.objects.exists()


def test_a_question_about_who_is_meant_ends_when_the_others_are_gone(pair: Pair) -> None:
    first = pair.right.add(title="A", ref="R9")
    pair.right.add(title="A", ref="R9")
    left = pair.left.add(title="A", ref="R9")
    pair.quiet()
    assert len(pair.open_conflicts()) == 3
    pair.right.remove(first)
    pair.quiet()
    assert not pair.open_conflicts() and Link.objects.get().left_id == left


def listed_no_more(pair: Pair) -> None:
    """Lists of changes show none of the records that are there; complete ones are due."""
    for world in (pair.left, pair.right):
        world.records = {key: replace(record, updated_at=AN_HOUR_AGO) for key, record in world.records.items()}
    Cursor.objects.update(swept_at=None)


@pytest.mark.parametrize("told", ["a bell", "a complete listing"])
def test_a_question_ends_when_its_record_is_deleted_whoever_tells(pair: Pair, told: str) -> None:
    """Where lists of changes tell of no deletions."""
    pair.left.capabilities = replace(
        pair.left.capabilities, lists_deletions=False, not_found_means_gone=told != "a bell"
    )
    one, other = (pair.left.add(title=title, ref="R1", body="a") for title in ("One", "Two"))
    right = pair.right.add(title="One", ref="R1", body="b")
    pair.quiet()
    assert pair.open_conflicts() and not Link.objects.exists()
    del pair.left.records[other]
    listed_no_more(pair)
    if told == "a bell":
        jobs.bell(pair.mapping.left_connection_id, [Hint("thing", other, deleted=True, verified=True)])
    pair.quiet()
    assert Link.objects.get().left_id == one and Link.objects.get().right_id == right
    assert not [asked for asked in pair.open_conflicts() if asked.link is None]


def test_a_record_that_a_listing_lacks_and_that_may_be_hidden_stays_asked_about(pair: Pair) -> None:
    pair.left.capabilities = replace(pair.left.capabilities, lists_deletions=False, not_found_means_gone=False)
    _, other = (pair.left.add(title=title, ref="R1") for title in ("One", "Two"))
    pair.right.add(title="One", ref="R1")
    pair.quiet()
    del pair.left.records[other]
    listed_no_more(pair)
    pair.quiet()
    assert len(pair.open_conflicts()) == 3 and not Link.objects.exists()


def test_two_new_records_that_fit_the_same_unlisted_one_are_left_to_a_person(pair: Pair) -> None:
    pair.left.add(title="One", ref="R5")
    pair.left.add(title="Two", ref="R5")
    there = pair.right.add(title="There", ref="R5")
    for external_id in pair.left.records:
        pair.ring("left", external_id)
    pair.run("live")
    ChangedRecord.objects.filter(side="right").delete()
    assert not Link.objects.filter(right_id=there).exists()
    assert {one.kind for one in pair.open_conflicts()} == {"ambiguous_match"}


def test_a_match_is_looked_up_again_before_a_create_is_repeated(pair: Pair) -> None:
    left = pair.left.add(title="Mine", ref="R3")
    fails(pair.right, Retry("busy", after=0))
    pair.run()
    assert Link.objects.get().state == "creating"
    made_by_hand = pair.right.add(title="Made by hand", ref="R3", body="theirs")
    due(pair)
    pair.run("live")
    pair.quiet()
    link = Link.objects.get()
    assert (link.left_id, link.right_id, link.state) == (left, made_by_hand, "active")
    assert len(pair.right.alive()) == 1 and pair.left.value(left, "body") == "theirs"


def test_a_create_is_not_repeated_once_its_record_left_the_scope_or_creating_is_off(pair: Pair) -> None:
    left = pair.left.add(title="Mine", status="open")
    fails(pair.right, Retry("busy", after=0))
    pair.run()
    document = pair.mapping.published.document
    pair.publish(left={**document["left"], "scope": {"status": "open"}})
    pair.left.edit(left, status="closed")
    due(pair)
    pair.quiet()
    assert not pair.right.records
    pair.publish(left=document["left"], right={**document["right"], "create": False})
    pair.ring("left", left)
    pair.quiet()
    assert not pair.right.records
    pair.publish(**document)
    pair.ring("left", left)
    pair.quiet()
    assert len(pair.right.alive()) == 1


def test_a_create_that_cannot_be_repeated_says_why(pair: Pair) -> None:
    rules = pair.mapping.published.document["rules"]
    left = pair.left.add(title="Mine", status="open")
    fails(pair.right, Retry("busy", after=0))
    pair.run()
    entries = [{"left": "open", "right": "Open"}]
    mapped = rule("status", "status", "option", transform="value_map", entries=entries, right={"required": True})
    pair.publish(rules=[mapped if one["id"] == "status" else one for one in rules])
    pair.left.edit(left, status="unheard of")
    due(pair)
    pair.quiet()
    assert [(one.kind, one.code) for one in pair.open_conflicts()] == [("unmapped", "value_not_in_map")]
    pair.left.edit(left, status="open")
    pair.quiet()
    assert not pair.open_conflicts() and pair.right.value(Link.objects.get().right_id, "status") == "Open"


def test_the_source_of_a_create_that_was_never_sent_may_be_deleted(pair: Pair) -> None:
    left = pair.left.add(title="Short life")
    fails(pair.right, Retry("busy", after=0))
    pair.run()
    pair.left.remove(left)
    due(pair)
    pair.quiet()
    assert not pair.right.records and Link.objects.get().state == "deleted" and not pair.open_conflicts()


def test_a_refused_create_stays_a_question_however_often_its_record_rings(pair: Pair) -> None:
    def refuse(verb: str, ids: Any) -> None:
        if verb == "create":
            raise Refused("No creates today.")

    pair.right.before = refuse
    left = pair.left.add(title="x")
    for _ in range(3):
        pair.ring("left", left)
        pair.quiet()
    assert [one.code for one in pair.open_conflicts()] == ["create_refused"]
    assert [verb for verb, _ in pair.right.calls].count("create") == 1


def refuses_long_bodies(pair: Pair) -> None:
    short = rule("body", "body", right={"max_length": 5})
    pair.publish(rules=[short if one["id"] == "body" else one for one in DEFAULT_RULES])


def test_a_record_is_created_at_once_without_the_value_that_was_refused(pair: Pair) -> None:
    refuses_long_bodies(pair)
    left = pair.left.add(title="x", body="much too long", status="open")
    pair.ring("left", left)
    pair.run("live")
    pair.quiet()
    link = Link.objects.get()
    assert link.state == "active"
    assert pair.right.value(link.right_id, "status") == "open" and pair.right.value(link.right_id, "body") is None
    (question,) = pair.open_conflicts()
    assert (question.kind, question.rule_id, question.params["sent"]) == ("refused", "body", "much too long")
    writes = len(pair.right.calls)
    pair.ring("left", left)
    pair.quiet()
    assert "update" not in [verb for verb, _ in pair.right.calls[writes:]], "a refused value is not sent again"
    pair.left.edit(left, body="short")
    pair.quiet()
    assert pair.right.value(link.right_id, "body") == "short" and not pair.open_conflicts()


def test_a_value_that_was_corrected_before_the_record_is_there_goes_with_the_create(pair: Pair) -> None:
    refuses_long_bodies(pair)
    left = pair.left.add(title="x", body="much too long")

    def correct(verb: str, ids: Any) -> None:
        if verb == "create":
            pair.right.before = lambda *_: None
            pair.left.edit(left, body="short")
            pair.ring("left", left)

    pair.right.before = correct
    pair.run()
    pair.quiet()
    assert pair.right.value(Link.objects.get().right_id, "body") == "short" and not pair.open_conflicts()


def test_a_record_whose_required_value_is_refused_is_not_created(pair: Pair) -> None:
    pair.publish(rules=[rule("title", "title", right={"required": True, "max_length": 5})])
    left = pair.left.add(title="much too long")
    pair.quiet()
    assert not pair.right.records and [one.code for one in pair.open_conflicts()] == ["create_refused"]
    pair.left.edit(left, title="short")
    pair.quiet()
    assert len(pair.right.alive()) == 1 and not pair.open_conflicts()


def test_our_key_on_a_record_older_than_the_key_is_a_duplicate(pair: Pair) -> None:
    pair.left.add(title="Alone")
    fails(pair.right, Uncertain("no answer"))
    pair.run()
    old = pair.right.add(correlation_key=Identity.objects.get().key, title="A clone")
    pair.right.records[old] = replace(pair.right.records[old], created_at="2020-01-01T00:00:00Z")
    timed_out(pair)
    pair.run("live")
    assert [one.kind for one in pair.open_conflicts()] == ["duplicate"]
    assert Link.objects.get().right_id is None


@pytest.mark.parametrize("made", [False, True], ids=["one that is older", "the clone beside ours"])
def test_of_records_that_carry_one_key_a_person_chooses_and_not_the_first_one_that_rings(
    pair: Pair, made: bool, admin_user: Any
) -> None:
    left = pair.left.add(title="Alone")
    once(pair.right, "create", no_answer, when="after" if made else "before")
    pair.run()
    ours = list(pair.right.alive())
    clone = pair.right.add(correlation_key=Identity.objects.get().key, title="A clone")
    if not made:
        pair.right.records[clone] = replace(pair.right.records[clone], created_at="2020-01-01T00:00:00Z")
    timed_out(pair)
    for _ in range(2):
        ChangedRecord.objects.update(not_before=timezone.now())
        pair.run()
    [question] = pair.open_conflicts()
    assert (question.kind, question.code, Link.objects.get().right_id) == ("duplicate", "key_twice", None)
    assert list(pair.left.alive()) == [left], "neither is copied"
    chosen = ours[0] if made else clone
    instructions.ask(question.link, "relink", {}, admin_user, {"side": "right", "id": chosen, "key": chosen})
    pair.quiet()
    assert Link.objects.get(left_id=left).right_id == chosen


def test_a_create_that_is_answered_with_a_linked_record_asks_and_goes_on(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, right, _ = pair.linked()
    pair.left.add(title="Another")

    def same_again(connector: MemoryConnector, *call: Any, **more: Any) -> WriteResult:
        return WriteResult(connector.world.records[right])

    monkeypatch.setattr(MemoryConnector, "create", same_again)
    pair.run()
    assert [one.kind for one in pair.open_conflicts()] == ["duplicate"]
    assert Link.objects.filter(state="creating", right_id=None).count() == 1
    assert Conflict.objects.get().params["keys"] == [right]
