"""Creates that were answered with the id of their record, and with no more that could be understood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from unittest import mock

import pytest
from django.utils import timezone

from connections.connectors.base import Uncertain
from connections.connectors.memory import MemoryConnector
from sync.models import AuditEntry, Conflict, Link, Operation
from sync.probes import HIDDEN_AT_MOST
from sync.tests.conftest import Pair
from sync.tests.engine_cases import live, no_answer, once

pytestmark = pytest.mark.django_db


def answered_with_an_id(pair: Pair, then: Callable[[str], None] = lambda made: None) -> str:
    """A record of the left whose twin is made, named and not understood; `then` happens to the twin. Its id.

    The right side keeps no key of ours and tells no author, so that nothing but the id tells what was made.
    """
    pair.right.capabilities = replace(
        pair.right.capabilities, create_lookup_consistent=False, update_timeout=60, not_found_means_gone=False
    )

    def answer() -> None:
        [made] = pair.right.alive()
        record = pair.right.records[made]
        pair.right.records[made] = replace(record, correlation_key=None, created_by=None)
        then(made)
        raise Uncertain("who its people are could not be asked", made)

    once(pair.right, "create", answer, when="after")
    pair.left.add(title="Alone", body="sent")
    pair.run()
    return next(iter(pair.right.records))


def timed_out(ago: timedelta = timedelta(minutes=5)) -> None:
    Operation.objects.filter(state="uncertain").update(claimed_at=timezone.now() - ago, not_before=timezone.now())


def test_the_pair_is_bound_by_the_id_and_nobody_is_asked(pair: Pair) -> None:
    made = answered_with_an_id(pair)
    timed_out()
    pair.quiet()
    link = Link.objects.get()
    assert (link.state, link.right_id) == ("active", made)
    assert len(pair.left.alive()) == len(pair.right.alive()) == 1
    assert Operation.objects.get().state == "confirmed" and not Conflict.objects.exists()


@pytest.mark.parametrize("edits", [{}, {"title": "Another", "body": "ana's"}], ids=["as sent", "edited since"])
def test_until_it_is_read_a_bell_for_it_makes_no_twin_of_it(pair: Pair, edits: dict[str, str]) -> None:
    """Its id tells that it is ours, also where nothing of what we sent stands there any more."""
    made = answered_with_an_id(pair, lambda made: pair.right.edit(made, **edits))
    pair.ring("right", made)
    live(pair)
    assert Operation.objects.get().state == "uncertain"
    assert len(pair.left.alive()) == 1 and Link.objects.count() == 1


def test_what_somebody_wrote_before_it_is_read_is_their_edit(pair: Pair) -> None:
    made = answered_with_an_id(pair, lambda made: pair.right.edit(made, body="ana's"))
    timed_out()
    pair.quiet()
    [left] = pair.left.alive()
    assert pair.both(left, made, "body") == ("ana's", "ana's")


def test_what_the_system_cut_short_is_not_taken_for_an_edit(pair: Pair) -> None:
    made = answered_with_an_id(pair, lambda made: pair.right.edit(made, body="se"))
    timed_out()
    pair.quiet()
    [left] = pair.left.alive()
    assert pair.both(left, made, "body") == ("sent", "se"), "what the source says is not lost"


def test_one_that_somebody_deleted_before_it_is_read_is_not_made_again(pair: Pair) -> None:
    made = answered_with_an_id(pair, pair.right.remove)
    timed_out()
    pair.quiet()
    assert not pair.right.alive() and len(pair.left.alive()) == 1
    assert Link.objects.get().right_id == made
    assert [(one.kind, one.code) for one in pair.open_conflicts()] == [("delete_update", "deleted_ask")]


def test_one_that_is_hidden_is_waited_for_an_hour_and_not_made_again(pair: Pair) -> None:
    made = answered_with_an_id(pair, pair.right.unseen.add)
    timed_out()
    live(pair)
    assert Operation.objects.get().state == "uncertain"
    timed_out(HIDDEN_AT_MOST)
    live(pair)
    assert Operation.objects.get(kind="create").state == "confirmed"
    assert Link.objects.get().right_id == made and len(pair.right.records) == 1


# Without an id, a key or an author. -------------------------------------------------------------------------------


def test_a_record_that_says_what_an_unanswered_create_sent_gets_no_twin(pair: Pair) -> None:
    """Polls and bells show it like anybody's: its system keeps no key of ours, and tells no author."""
    pair.right.capabilities = replace(pair.right.capabilities, create_lookup_consistent=False, update_timeout=60)

    def lost() -> None:
        [made] = pair.right.alive()
        pair.right.records[made] = replace(pair.right.records[made], correlation_key=None, created_by=None)
        no_answer()

    once(pair.right, "create", lost, when="after")
    pair.left.add(title="Alone", body="sent")
    pair.run()
    [made] = pair.right.alive()
    other = pair.right.add(title="Somebody's")
    pair.right.records[other] = replace(pair.right.records[other], created_by=None)
    for external_id in (made, other):
        pair.ring("right", external_id)
    live(pair)
    assert sorted(record.title for record in pair.left.alive().values()) == ["Alone", "Somebody's"]
    with mock.patch.object(MemoryConnector, "own_recent", lambda *_: [pair.right.records[made]]):
        timed_out()
        pair.run()
    assert [one.code for one in pair.open_conflicts()] == ["created_or_not"]
    pair.ring("right", made)
    live(pair)
    assert len(pair.left.alive()) == 2, "nor while a person is asked about it"


# Found with fields that were left out. ---------------------------------------------------------------------------


def unanswered_with_a_field_left_out(pair: Pair, then: Callable[[str], None] = lambda made: None) -> tuple[str, str]:
    """(record of the left, its twin): of a create without an answer the system left out body and labels, unsaid."""

    def lost() -> None:
        [made] = pair.right.alive()
        record = pair.right.records[made]
        pair.right.records[made] = replace(record, values={**record.values, "body": None, "labels": []})
        then(made)
        no_answer()

    once(pair.right, "create", lost, when="after")
    alone = pair.left.add(title="Alone", body="sent", labels=["urgent"])
    pair.run()
    timed_out()
    pair.quiet()
    return alone, next(iter(pair.right.records))


def test_what_a_new_record_was_left_without_is_sent_again_and_never_taken_from_the_source(pair: Pair) -> None:
    left, right = unanswered_with_a_field_left_out(pair)
    assert pair.both(left, right, "body") == ("sent", "sent")
    assert pair.both(left, right, "labels") == (["urgent"], ["urgent"])
    told = [entry.field_label for entry in AuditEntry.objects.filter(action="write").order_by("pk")]
    assert sorted(told) == ["Body", "Labels", "Title"], "what was left out is told as written once, when it was"


def test_what_is_empty_in_a_new_record_that_somebody_wrote_to_counts_as_theirs(pair: Pair) -> None:
    left, right = unanswered_with_a_field_left_out(pair, lambda made: pair.right.edit(made, title="theirs"))
    assert pair.both(left, right, "title") == ("theirs", "theirs")
    assert pair.both(left, right, "body") == (None, None), "emptied or left out: nobody can tell"
