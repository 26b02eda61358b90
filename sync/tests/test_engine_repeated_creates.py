"""Creates that are sent again under their key, and lead to the record that an earlier one of theirs made."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from sync import retrying
from sync.models import AuditEntry, Link, Operation
from sync.tests.conftest import Pair, rule
from sync.tests.engine_cases import no_answer, once

pytestmark = pytest.mark.django_db

LAG = 3600.0


@pytest.fixture
def slow(pair: Pair) -> Pair:
    """The same key twice makes one record on the right, whose lists and look-ups show it much later."""
    pair.right.capabilities = replace(
        pair.right.capabilities, idempotent_create=True, create_lookup_consistent=False, settle_seconds=0
    )
    pair.right.lag = pair.right.key_lag = LAG
    return pair


def lost(pair: Pair) -> None:
    """The record is made, tells no author, and its answer does not arrive."""
    [made] = pair.right.alive()
    pair.right.records[made] = replace(pair.right.records[made], created_by=None)
    no_answer()


def made_unseen(pair: Pair, **values: Any) -> tuple[str, str]:
    """(record of the left, its twin): the create had no answer, and a look does not show what it made yet."""

    once(pair.right, "create", lambda: lost(pair), when="after")
    left = pair.left.add(**values)
    pair.run()
    [right] = pair.right.alive()
    return left, right


def second_made_unseen(pair: Pair) -> tuple[str, str]:
    """(record of the left, its twin): the first create was lost on its way there, the second on its way back."""
    once(pair.right, "create", no_answer)
    left = pair.left.add(title="Printer", body="first")
    pair.run()
    pair.left.edit(left, body="second")
    once(pair.right, "create", lambda: lost(pair), when="after")
    timed_out()
    pair.run()
    [right] = pair.right.alive()
    return left, right


def timed_out() -> None:
    past = timezone.now() - timedelta(minutes=5)
    assert Operation.objects.filter(state="uncertain").update(claimed_at=past, not_before=timezone.now()) == 1


def sent_again(pair: Pair) -> None:
    timed_out()
    pair.quiet()
    assert len(pair.right.alive()) == 1 and Link.objects.get().state == "active"


def test_what_the_source_says_since_is_written_and_the_older_value_never_goes_back(slow: Pair) -> None:
    left, right = made_unseen(slow, title="Printer", body="then")
    slow.left.edit(left, body="now")
    sent_again(slow)
    assert slow.both(left, right, "body") == ("now", "now")
    assert slow.both(left, right, "title") == ("Printer", "Printer")
    assert not slow.open_conflicts()
    told = AuditEntry.objects.filter(action="write", field_label="Body").order_by("pk")
    assert [(entry.values or {})["after"] for entry in told] == ["then", "now"], "each is told as written when it was"


def test_a_longer_text_is_not_taken_for_one_that_was_cut_short(slow: Pair) -> None:
    left, right = made_unseen(slow, title="Printer", body="It burns.")
    slow.left.edit(left, title="Printer on fire")
    sent_again(slow)
    assert slow.both(left, right, "title") == ("Printer on fire", "Printer on fire")
    assert not slow.open_conflicts()


def test_a_field_that_was_filled_since_is_not_emptied(slow: Pair) -> None:
    left, right = made_unseen(slow, title="Printer")
    slow.left.edit(left, body="filled", labels=["urgent"])
    sent_again(slow)
    assert slow.both(left, right, "body") == ("filled", "filled")
    assert slow.both(left, right, "labels") == (["urgent"], ["urgent"])


def test_a_field_that_was_emptied_since_is_not_filled_again(slow: Pair) -> None:
    left, right = made_unseen(slow, title="Printer", body="then", labels=["urgent"])
    slow.left.edit(left, body=None, labels=[])
    sent_again(slow)
    assert slow.both(left, right, "body") == (None, None)
    assert slow.both(left, right, "labels") == ([], [])


def test_edits_of_both_sides_since_are_asked_about(slow: Pair) -> None:
    left, right = made_unseen(slow, title="Printer", body="then")
    slow.left.edit(left, body="now")
    slow.right.edit(right, body="ana's")
    sent_again(slow)
    assert slow.both(left, right, "body") == ("now", "ana's")
    [question] = slow.open_conflicts()
    assert (question.rule_id, question.code) == ("body", "both_changed")
    assert (question.left_base, question.right_base) == ("then", "then")


def test_an_edit_of_the_twin_alone_is_carried(slow: Pair) -> None:
    left, right = made_unseen(slow, title="Printer", body="then")
    slow.right.edit(right, body="ana's")
    sent_again(slow)
    assert slow.both(left, right, "body") == ("ana's", "ana's")


@pytest.mark.parametrize("body", ["then", "now"])
def test_what_a_create_cannot_carry_and_somebody_set_in_the_unseen_record_is_not_written_over(
    slow: Pair, body: str
) -> None:
    apart = {"creatable": False, "separate_write": True}
    slow.publish(rules=[rule("title", "title"), rule("body", "body"), rule("status", "status", "option", right=apart)])
    left, right = made_unseen(slow, title="Printer", body="then", status="open")
    slow.right.edit(right, status="closed")
    slow.left.edit(left, body=body)
    sent_again(slow)
    assert slow.right.value(right, "status") == "closed"
    [question] = slow.open_conflicts()
    assert question.rule_id == "status"


@pytest.mark.parametrize("policy", ["left", "review"])
def test_a_create_that_a_look_proved_not_to_have_happened_is_not_what_was_written(pair: Pair, policy: str) -> None:
    """The look-up by key is consistent. The second create made the record, and somebody edits it before it is found."""
    pair.publish(rules=[rule("title", "title"), rule("body", "body", policy=policy)])
    once(pair.right, "create", no_answer)
    left = pair.left.add(title="Printer", body="then")
    pair.run()
    pair.left.edit(left, body="now")
    once(pair.right, "create", no_answer, when="after")
    timed_out()
    pair.run()
    [right] = pair.right.alive()
    assert pair.right.value(right, "body") == "now"
    pair.right.edit(right, body="ana's")
    timed_out()
    pair.quiet()
    assert pair.both(left, right, "body") == ("ana's", "ana's") and not pair.open_conflicts()


def test_of_several_creates_without_an_answer_the_one_that_fits_counts(slow: Pair) -> None:
    """The first was lost on its way there, the second on its way back; then the source said the first again."""
    left, right = second_made_unseen(slow)
    slow.left.edit(left, body="first")
    sent_again(slow)
    assert slow.both(left, right, "body") == ("first", "first")


def test_a_record_found_after_a_second_try_is_told_from_one_that_the_first_made(slow: Pair) -> None:
    """The second create had no answer either; then a look shows what the first one made."""
    left, right = made_unseen(slow, title="Printer", body="then")
    slow.left.edit(left, body="now")
    once(slow.right, "create", no_answer, when="after")
    timed_out()
    slow.run()
    slow.right.key_lag = 0
    sent_again(slow)
    assert slow.both(left, right, "body") == ("now", "now")


def test_the_log_has_whatever_may_have_been_in_a_record_that_was_edited_before_it_was_found(slow: Pair) -> None:
    """The first create never arrived, the second did: nobody can tell that from what the record says by then."""
    left, right = second_made_unseen(slow)
    slow.right.edit(right, body="ana's")
    slow.right.key_lag = 0
    sent_again(slow)
    entry = AuditEntry.objects.get(action="unclear")
    assert (entry.field_label, entry.code, entry.values["after"]) == ("Body", "several_creates", "second")
    told = AuditEntry.objects.filter(action="write", field_label="Body").order_by("pk").first()
    assert told is not None and (told.values or {})["after"] == "first"


def test_what_a_person_sends_with_the_second_goes_with_the_next_write(slow: Pair, admin_user: Any) -> None:
    short = {"required": True, "max_length": 5}
    slow.publish(rules=[rule("title", "title", right=short)])
    left = slow.left.add(title="much too long")
    slow.quiet()
    link = Link.objects.get()
    seen = {"left": "much too long", "right": None}
    retrying.edit(link, "title", "right", "first", seen, admin_user)
    once(slow.right, "create", lambda: lost(slow), when="after")
    slow.run()
    [right] = slow.right.alive()
    link.refresh_from_db()
    asked = retrying.edit(link, "title", "right", "other", seen, admin_user)
    sent_again(slow)
    asked.refresh_from_db()
    assert slow.both(left, right, "title") == ("much too long", "other")
    assert asked.state == "done" and not slow.open_conflicts()
