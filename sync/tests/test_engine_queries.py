"""A batch takes a fixed number of statements, however many records it holds.

SQLite takes a limited number of values in one statement, and a slow machine takes smaller batches, so that the many
come in a few pieces: a statement a record would be 35 more, beyond `PIECES`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from connections.connectors.base import RateLimited, Refused
from sync import failures, hints, retrying
from sync.models import ChangedRecord, Link
from sync.tests.conftest import Pair

pytestmark = pytest.mark.django_db

FEW, MANY, PIECES = 5, 40, 30


@pytest.fixture
def bulk(pair: Pair) -> Pair:
    """Both systems write in bulk, so that one answer settles a whole batch."""
    for world in (pair.left, pair.right):
        world.capabilities = replace(world.capabilities, bulk_write=200, bulk_read=500)
    pair.publish(brakes={"create": [1000, 1.0], "update": [1000, 1.0], "delete": [1000, 1.0]})
    return pair


def linked(pair: Pair, number: int) -> list[str]:
    have = len(pair.left.records)
    ids = [pair.left.add(title=f"T{have + n}", ref=f"N{have + n}") for n in range(number)]
    for n in range(number):
        pair.right.add(title=f"T{have + n}", ref=f"N{have + n}")
    pair.quiet()
    return ids


def statements(pair: Pair, prepare: Callable[[int], None]) -> tuple[int, int, str]:
    """Statements of a run after `prepare` for few and for many records, and what there is more of."""
    taken = []
    for number in (FEW, MANY):
        prepare(number)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            pair.run("live")
        taken.append(
            Counter(query["sql"].split(" WHERE ")[0].split(" VALUES ")[0][:120] for query in queries.captured_queries)
        )
        pair.quiet()
    more = taken[1] - taken[0]
    return sum(taken[0].values()), sum(taken[1].values()), "\n".join(f"+{n} {sql}" for sql, n in more.most_common(12))


def test_edits(bulk: Pair) -> None:
    def prepare(number: int) -> None:
        for external_id in linked(bulk, number):
            bulk.left.edit(external_id, body="new")
            bulk.ring("left", external_id)

    few, many, more = statements(bulk, prepare)
    assert many <= few + PIECES, more


@pytest.mark.parametrize(("at_once", "reads"), [(200, 2), (1, 3)])
def test_live_edits_share_a_read_as_far_as_they_are_written_together(bulk: Pair, at_once: int, reads: int) -> None:
    """A hundred go into one batch; of those that are written one by one fifty, so that the first leaves soon."""
    bulk.right.capabilities = replace(bulk.right.capabilities, bulk_write=at_once)
    for external_id in linked(bulk, 120):
        bulk.left.edit(external_id, body="new")
        bulk.ring("left", external_id)
    ahead = {world.name: len(world.calls) for world in (bulk.left, bulk.right)}
    bulk.run("live")
    for world in (bulk.left, bulk.right):
        assert [verb for verb, _ in world.calls[ahead[world.name] :]].count("get") == reads
    assert bulk.writes() == 120


@pytest.mark.parametrize(
    ("size", "seconds", "whole_call", "following"),
    [
        (20, 0.1, 1, 40),  # twice as many, until a batch takes a second
        (20, 2.0, 1, 10),
        (4, 60.0, 1, 4),
        (20, 0.1, 100, 100),  # a whole call at once
        (100, 2.0, 100, 100),  # half of it would cost as many calls
        (100, 6.0, 100, 50),  # but live edits do not wait for longer than three seconds
        (100, 0.1, 100, 200),
        (200, 0.1, 100, 200),
    ],
)
def test_the_next_batch(size: int, seconds: float, whole_call: int, following: int) -> None:
    assert hints.next_batch(size, seconds, whole_call) == following


def test_edits_on_both_sides(bulk: Pair) -> None:
    def prepare(number: int) -> None:
        for external_id in linked(bulk, number):
            bulk.left.edit(external_id, status="closed")
            bulk.right.edit(Link.objects.get(left_id=external_id).right_id or "", body="theirs", status="open")
            bulk.ring("left", external_id)

    few, many, more = statements(bulk, prepare)
    assert many <= few + PIECES, more


def test_new_records_that_are_linked(bulk: Pair) -> None:
    def prepare(number: int) -> None:
        have = len(bulk.left.records)
        for n in range(number):
            bulk.right.add(title="x", ref=f"N{have + n}")
            bulk.ring("left", bulk.left.add(title="x", ref=f"N{have + n}"))

    few, many, more = statements(bulk, prepare)
    assert many <= few + PIECES, more


def test_new_records_that_are_created(bulk: Pair) -> None:
    def prepare(number: int) -> None:
        for _ in range(number):
            bulk.ring("left", bulk.left.add(title="x", body="y"))

    few, many, more = statements(bulk, prepare)
    assert many <= few + PIECES, more


def test_deletions(bulk: Pair) -> None:
    bulk.publish(left={**bulk.mapping.published.document["left"], "on_delete": "unlink"})

    def prepare(number: int) -> None:
        for external_id in linked(bulk, number):
            bulk.left.remove(external_id)
            bulk.ring("left", external_id)

    few, many, more = statements(bulk, prepare)
    assert many <= few + PIECES, more


def test_records_out_of_scope_are_asked_about_in_one_call(bulk: Pair) -> None:
    bulk.publish(left={**bulk.mapping.published.document["left"], "scope": {"status": "open"}})
    for number in range(10):
        bulk.left.add(title=f"T{number}", ref=f"N{number}", status="open")
        bulk.right.add(title=f"T{number}", ref=f"N{number}", status="open")
    bulk.quiet()
    for external_id in bulk.left.records:
        bulk.left.edit(external_id, body="new")
        bulk.ring("left", external_id)
    asked = [verb for verb, _ in bulk.left.calls].count("scope")
    bulk.run("live")
    assert [verb for verb, _ in bulk.left.calls].count("scope") == asked + 1


def test_writes_that_have_to_wait(bulk: Pair) -> None:
    def prepare(number: int) -> None:
        def limited(verb: str, ids: object) -> None:
            if verb == "update":
                raise RateLimited("slow down", after=60)

        bulk.right.before = lambda *_: None
        for external_id in linked(bulk, number):
            bulk.left.edit(external_id, body="new")
            bulk.ring("left", external_id)
        bulk.right.before = limited

    taken = []
    for number in (FEW, MANY):
        prepare(number)
        with CaptureQueriesContext(connection) as queries:
            bulk.run("live")
        taken.append(len(queries))
        bulk.right.before = lambda *_: None
        ChangedRecord.objects.all().delete()
    assert taken[1] <= taken[0] + PIECES


def test_refusals_that_are_tried_again(bulk: Pair) -> None:
    def prepare(number: int) -> None:
        bulk.right.before = lambda *_: None
        ids = linked(bulk, number)
        bulk.right.before = refuse
        for external_id in ids:
            bulk.left.edit(external_id, body="new")
            bulk.ring("left", external_id)
        bulk.run("live")
        bulk.right.before = lambda *_: None
        assert retrying.retry(failures.standing(), "ana").number == number
        ChangedRecord.objects.update(lane=ChangedRecord.Lane.LIVE)  # in one batch: other lanes begin with small ones

    def refuse(verb: str, ids: object) -> None:
        if verb == "update":
            raise Refused("No.", {"body": "not this"})

    few, many, more = statements(bulk, prepare)
    assert many <= few + PIECES, more


def test_values_that_are_refused(bulk: Pair) -> None:
    def refuse(verb: str, ids: object) -> None:
        if verb == "update":
            raise Refused("No.", {"body": "not this"})

    def prepare(number: int) -> None:
        bulk.right.before = lambda *_: None
        ids = linked(bulk, number)
        bulk.right.before = refuse
        for external_id in ids:
            bulk.left.edit(external_id, body="new")
            bulk.ring("left", external_id)

    few, many, more = statements(bulk, prepare)
    assert many <= few + PIECES, more


def test_records_that_cannot_be_planned(bulk: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **more: object) -> None:
        raise ValueError("no")

    def prepare(number: int) -> None:
        monkeypatch.undo()
        monkeypatch.setattr("sync.jobs.enqueue", lambda *args: None)
        ids = linked(bulk, number)
        for external_id in ids:
            bulk.left.edit(external_id, body="new")
            bulk.ring("left", external_id)
        monkeypatch.setattr("sync.decide.plan_link", broken)

    few, many, more = statements(bulk, prepare)
    assert many <= few + PIECES, more
