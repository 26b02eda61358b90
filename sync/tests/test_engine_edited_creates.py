"""A refused create, and what a person sends instead: it goes with the record, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import Uncertain
from connections.connectors.memory import MemoryConnector, World
from sync import retrying
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
    send(Link.objects.get(), SHORT, admin_user)
    pair.quiet()
    assert the_right(pair) == {"title": SHORT, "body": None}
    assert [(one.code, one.rule_id) for one in pair.open_conflicts()] == [("refused", "body")]


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
    Link.objects.update(parked={"": {"code": "created_or_not", "fields": {"": "waits for a person"}}})
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
