"""Brakes stop a mistake early, let an ordinary hour pass, and a release lets through what was released, once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from sync import instructions
from sync.approval import approve, hold, include, release
from sync.limits import Released, Span, bounds, check, used
from sync.models import Allowance, AuditEntry, ChangedRecord, Link, MappingState, Operation
from sync.tests.conftest import Pair
from sync.tests.engine_cases import once
from sync.tests.test_engine_overwritten import refuse_body
from sync.tests.test_engine_steps import with_steps

HOUR = 3600.0


# The counting. ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "planned, counted, left, halts",
    [
        (5, 0, 0, False),
        (6, 0, 0, True),
        (3, 3, 0, True),
        (2, 3, 0, False),
        (8, 0, 3, False),
        (8, 5, 8, False),
        (9, 5, 8, True),
        (0, 99, 0, False),
    ],
)
def test_a_limit_halts_what_no_release_covers(planned: int, counted: int, left: int, halts: bool) -> None:
    key = ("left", "update")
    assert (check({key: planned}, {key: counted}, {key: left}, 0, {"update": [5, 0.0]}) is not None) is halts


def test_a_share_of_many_links_is_more_than_the_least_number() -> None:
    key = ("left", "delete")
    assert check({key: 50}, {}, {}, 1000, {}) is None and check({key: 51}, {}, {}, 1000, {}) is not None


def counts(released: list[Released], decided: list[float], now: float) -> tuple[int, int]:
    """Operations decided at these times, sorted into the stretches as the ledger is."""
    spans = []
    for start, end in bounds(released, now):
        inside = [at for at in decided if start < at <= end]
        spans.append(Span(start, end, len(inside), sum(at > now - HOUR for at in inside)))
    return used(released, spans, now)


def test_a_release_is_drawn_on_once() -> None:
    release = Released(10, since=100.0, until=100.0 + HOUR)
    assert counts([release], [], 200.0) == (0, 10)
    assert counts([release], [50.0] * 5 + [150.0] * 4, 200.0) == (5, 6)
    assert counts([release], [150.0] * 12, 200.0) == (2, 0)


def test_what_a_release_covered_stays_covered_when_it_has_ended() -> None:
    release = Released(5000, since=0.0, until=HOUR)
    assert counts([release], [3000.0] * 5000, HOUR + 100) == (0, 0)


def test_a_second_release_is_not_used_up_by_what_came_before_it() -> None:
    first, second = Released(4, 0.0, HOUR), Released(3, 1000.0, 1000.0 + HOUR)
    assert counts([first, second], [500.0] * 6, 1500.0) == (2, 3)
    assert counts([first, second], [500.0] * 6 + [1200.0] * 2, 1500.0) == (2, 1)


def test_a_release_for_a_day_is_no_higher_limit_for_every_hour_of_it() -> None:
    release = Released(100, since=0.0, until=24 * HOUR)
    morning = [60.0] * 100
    assert counts([release], morning, 10 * HOUR) == (0, 0)
    assert counts([release], [*morning, *[9.5 * HOUR] * 7], 10 * HOUR) == (7, 0)


# In runs. --------------------------------------------------------------------------------------------------------


def pairs(pair: Pair, number: int) -> list[str]:
    ids = [pair.left.add(title=f"T{n}", ref=f"N{n}") for n in range(number)]
    for n in range(number):
        pair.right.add(title=f"T{n}", ref=f"N{n}")
    pair.quiet()
    return ids


def halted(pair: Pair) -> str:
    return MappingState.objects.get(mapping=pair.mapping).halt


@pytest.mark.django_db
def test_a_used_release_lets_nothing_more_through(pair: Pair) -> None:
    pair.publish(brakes={"update": [2, 0.0]})
    ids = pairs(pair, 4)
    for external_id in ids:
        pair.left.edit(external_id, body="mass edit")
    pair.run()
    assert halted(pair) == "brake"
    release(pair.mapping, 4, "asked for by the team", "ana")
    pair.quiet()
    assert pair.writes() == 4
    for external_id in ids[:3]:
        pair.left.edit(external_id, body="another one")
    pair.run()
    assert halted(pair) == "brake" and pair.writes() == 4
    Operation.objects.update(decided_at=timezone.now() - timedelta(minutes=61))
    Allowance.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    MappingState.objects.update(halt="")
    for external_id in ids[2:3]:
        pair.left.edit(external_id, body="mass edit")
    pair.quiet()
    assert pair.writes() == 6, "two edits are an ordinary hour again"


@pytest.mark.django_db
def test_a_release_of_fewer_than_a_batch_lets_so_many_through_and_halts_again(pair: Pair) -> None:
    pair.publish(brakes={"update": [0, 0.0]})
    for external_id in pairs(pair, 6):
        pair.left.edit(external_id, body="mass edit")
    pair.run()
    release(pair.mapping, 2, "try two first", "ana")
    ChangedRecord.objects.update(not_before=timezone.now())
    pair.run()
    assert pair.writes() == 2 and halted(pair) == "brake"


def two_writes_each(pair: Pair, number: int) -> list[tuple[str, str]]:
    """Pairs, (left, right), each with an edit that takes two writes on the right, under a brake that lets none pass."""
    with_steps(pair)
    known = [{"title": f"T{n}", "ref": f"N{n}", "status": "new"} for n in range(number)]
    both = [(pair.left.add(**values), pair.right.add(**values)) for values in known]
    pair.quiet(20)
    pair.publish(brakes={"update": [0, 0.0]})
    for left, _ in both:
        pair.left.edit(left, status="open", body="mass edit")
    return both


def written(pair: Pair, both: list[tuple[str, str]]) -> tuple[int, int]:
    """(records with both edits, records with one of them) on the right."""
    edits = [[pair.right.value(right, "status") == "open", bool(pair.right.value(right, "body"))] for _, right in both]
    return sum(all(one) for one in edits), sum(any(one) and not all(one) for one in edits)


@pytest.mark.django_db
def test_a_release_lets_through_the_records_of_which_all_writes_fit(pair: Pair) -> None:
    both = two_writes_each(pair, 8)
    pair.run()
    assert halted(pair) == "brake" and written(pair, both) == (0, 0)
    for number, goes in ((4, 2), (1, 2), (4, 4), (1, 5), (6, 8)):
        release(pair.mapping, number, "some of them", "ana")
        ChangedRecord.objects.update(not_before=timezone.now())
        pair.run()
        assert written(pair, both) == (goes, 0), f"after {number} more"
        assert halted(pair) == ("brake" if goes < 8 else "")


@pytest.mark.django_db
def test_a_brake_tells_what_is_left_of_a_release_and_too_little_for_a_record(pair: Pair) -> None:
    two_writes_each(pair, 2)
    pair.run()
    release(pair.mapping, 1, "one write", "ana")
    ChangedRecord.objects.update(not_before=timezone.now())
    pair.run()
    params = MappingState.objects.get().halt_reason["params"]
    assert (params["planned"], params["records"], params["room"], params["least"]) == (4, 2, 1, 2)


@pytest.mark.django_db
def test_a_record_that_needs_more_than_the_release_does_not_hold_up_one_that_fits(pair: Pair) -> None:
    both = two_writes_each(pair, 2)
    pair.run()
    pair.left.edit(both[1][0], status="new")
    release(pair.mapping, 1, "the one that fits", "ana")
    ChangedRecord.objects.update(not_before=timezone.now())
    pair.run()
    assert [pair.right.value(right, "body") for _, right in both] == [None, "mass edit"]
    assert halted(pair) == "brake", "the other one waits"


@pytest.mark.django_db
def test_an_approved_first_run_releases_its_own_numbers_only(pair: Pair) -> None:
    pair.publish(brakes={"create": [1, 0.0]})
    MappingState.objects.all().delete()
    for number in range(5):
        pair.left.add(title=f"new {number}")
    assert pair.run().state == "approval"
    approve(pair.mapping, "ana")
    pair.quiet()
    assert len(pair.right.alive()) == 5
    for number in range(9):
        pair.left.add(title=f"later {number}")
    pair.run()
    assert halted(pair) == "brake"


@pytest.mark.django_db
def test_emptying_rich_text_is_a_clear(pair: Pair) -> None:
    from sync.plan import PlannedField, PlannedOperation

    document = {"type": "doc", "content": [{"type": "paragraph"}]}
    field = PlannedField("r", "p", {"type": "doc", "content": []}, document, None, "edited", "source", {})
    assert PlannedOperation("left", "update", (field,)).clears()


@pytest.mark.django_db
def test_holding_new_records_creates_none_of_them_until_they_are_included(pair: Pair, admin_user: Any) -> None:
    pair.publish(brakes={"create": [2, 0.0]})
    linked = pairs(pair, 1)[0]
    new = [pair.left.add(title=f"new {number}", ref=f"new {number}") for number in range(4)]
    pair.left.edit(linked, body="goes on")
    pair.run()
    assert halted(pair) == "brake"
    assert hold(pair.mapping, "not these", admin_user) == 4
    named = AuditEntry.objects.filter(code="taken_out").values_list("link_id", "object_label")
    assert dict(named) == {link.pk: str(link) for link in Link.objects.filter(state="held")}
    pair.left.edit(new[0], title="edited while held")
    pair.quiet()
    assert len(pair.right.alive()) == 1 and not pair.open_conflicts()
    assert "goes on" in [record.values["body"] for record in pair.right.alive().values()], "others go on"
    assert set(Link.objects.filter(state="held").values_list("left_id", flat=True)) == set(new)
    include(Link.objects.get(left_id=new[0]), admin_user)
    pair.quiet()
    link = Link.objects.get(left_id=new[0])
    assert link.state == "active" and pair.right.value(link.right_id, "title") == "edited while held"
    assert len(pair.right.alive()) == 2


@pytest.mark.django_db
def test_a_held_new_record_that_exists_over_there_by_now_is_linked_when_it_is_included(
    pair: Pair, admin_user: Any
) -> None:
    pair.publish(brakes={"create": [0, 0.0]})
    left = pair.left.add(title="new", ref="R1")
    pair.run()
    hold(pair.mapping, "not yet", admin_user)
    right = pair.right.add(title="new", ref="R1")
    pair.quiet()
    assert Link.objects.count() == 1, "what is held is not matched either"
    include(Link.objects.get(left_id=left), admin_user)
    pair.quiet()
    assert Link.objects.get(left_id=left).right_id == right and not pair.open_conflicts()


@pytest.mark.django_db
def test_an_answer_about_a_held_pair_whose_record_is_deleted_leaves_its_twin_alone(pair: Pair, admin_user: Any) -> None:
    """A brake halts for a deletion; a reviewer answers a question meanwhile; an operator holds the record."""
    on_delete = {**pair.mapping.published.document["left"], "on_delete": "delete"}
    pair.publish(left=on_delete, brakes={"delete": [0, 0.0]})
    left, right, link = pair.linked(body="b")
    once(pair.right, "update", refuse_body)
    pair.left.edit(left, body="rude")
    pair.quiet()
    (asked,) = pair.open_conflicts()
    pair.left.remove(left)
    assert pair.run().code == "brake"
    answer = instructions.resolve(asked, {"take": "ignore", "seen": {"left": "rude", "right": "b"}}, admin_user)
    assert hold(pair.mapping, "a mistake over there", admin_user) == 1
    pair.quiet()
    link.refresh_from_db()
    answer.refresh_from_db()
    assert (link.state, right in pair.right.alive()) == ("held", True)
    assert (answer.state, answer.outcome["why"]) == ("refused", "held")
