"""Sets that somebody let differ and that are edited on both sides: each edit crosses, what one side has alone stays."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import Refused, Uncertain, VersionMismatch
from connections.connectors.memory import World
from sync import instructions
from sync.models import Link, Operation
from sync.tests.conftest import DEFAULT_RULES, Pair
from sync.tests.engine_cases import ours

pytestmark = pytest.mark.django_db


class Crash(BaseException):
    """Of the worker; nothing catches it."""


@pytest.fixture
def apart(pair: Pair, admin_user: Any) -> tuple[Pair, str, str]:
    """Labels ["a"] on the left, ["a", "r"] on the right, and an undo that let them differ."""
    left, right, link = pair.linked(labels=["a", "r"])
    pair.left.edit(left, labels=["a"])
    pair.quiet()
    instructions.undo(Operation.objects.get(state="confirmed"), admin_user)
    pair.quiet()
    assert pair.both(left, right, "labels") == (["a"], ["a", "r"])
    for world in (pair.left, pair.right):
        world.log.clear()
    return pair, left, right


def edited(apart: tuple[Pair, str, str], on_left: list[str], on_right: list[str]) -> tuple[Pair, str, str]:
    pair, left, right = apart
    pair.left.edit(left, labels=on_left)
    pair.right.edit(right, labels=on_right)
    return pair, left, right


def bases_are_what_they_say(pair: Pair, left: str, right: str) -> None:
    link = Link.objects.get()
    assert (link.left_bases["labels"], link.right_bases["labels"]) == pair.both(left, right, "labels")
    assert not pair.open_conflicts() and not link.parked


@pytest.mark.parametrize(
    "on_left, on_right, expected, writes",
    [
        (["a", "x"], ["a", "r", "y"], (["a", "x", "y"], ["a", "r", "x", "y"]), (1, 1)),
        ([], ["a"], ([], []), (0, 1)),
        (["a", "x"], ["r", "x"], (["x"], ["r", "x"]), (1, 0)),
        (["a", "x", "y"], ["a", "r", "x", "y"], (["a", "x", "y"], ["a", "r", "x", "y"]), (0, 0)),
        (["a", "r", "x"], ["a"], (["a", "x"], ["a", "x"]), (1, 1)),  # r: added on the left, taken away on the right
        ([], ["a", "r", "y"], (["y"], ["r", "y"]), (1, 1)),
    ],
)
def test_each_side_gets_the_others_edit_and_keeps_what_it_has_alone(
    apart: tuple[Pair, str, str], on_left: list[str], on_right: list[str], expected: Any, writes: tuple[int, int]
) -> None:
    pair, left, right = edited(apart, on_left, on_right)
    pair.quiet()
    assert pair.both(left, right, "labels") == expected
    assert (len(ours(pair.left, "labels")), len(ours(pair.right, "labels"))) == writes
    bases_are_what_they_say(pair, left, right)
    differ = {"labels": True} if expected[0] != expected[1] else {}
    assert Link.objects.get().agreed_differences == differ
    pair.right.edit(right, labels=[*expected[1], "z"])
    pair.quiet()
    assert pair.both(left, right, "labels") == ([*expected[0], "z"], [*expected[1], "z"])


def at_update(world: World, act: Callable[[], None], *, happened: bool) -> None:
    """At the next update: before it, or once it happened."""

    def hook(verb: str, ids: Any) -> None:
        if verb == "update":
            world.before = world.after = lambda *_: None
            act()

    setattr(world, "after" if happened else "before", hook)


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def settled_later(pair: Pair) -> None:
    for _ in range(3):
        Operation.objects.filter(state__in=("sending", "uncertain")).update(
            not_before=timezone.now(), claimed_at=timezone.now() - timedelta(hours=1)
        )
        pair.quiet()


FATES = [
    pytest.param(Crash(), False, id="crash before it is sent"),
    pytest.param(Crash(), True, id="crash after it was written"),
    pytest.param(Uncertain("no answer"), False, id="unanswered and not written"),
    pytest.param(Uncertain("no answer"), True, id="unanswered and written"),
    pytest.param(VersionMismatch("moved"), False, id="superseded"),
]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("error, happened", FATES)
def test_nothing_is_lost_whatever_becomes_of_either_write(
    apart: tuple[Pair, str, str], error: BaseException, happened: bool, side: str
) -> None:
    pair, left, right = edited(apart, ["a", "x"], ["a", "r", "y"])
    at_update(pair.left if side == "left" else pair.right, raising(error), happened=happened)
    with suppress(Crash):
        pair.quiet()
    settled_later(pair)
    assert pair.both(left, right, "labels") == (["a", "x", "y"], ["a", "r", "x", "y"])
    bases_are_what_they_say(pair, left, right)


@pytest.mark.parametrize("happened", [False, True])
def test_an_edit_at_the_moment_of_the_first_write_crosses_too(apart: tuple[Pair, str, str], happened: bool) -> None:
    pair, left, right = edited(apart, ["a", "x"], ["a", "r", "y"])
    pair.left.capabilities = replace(pair.left.capabilities, conditional_write=True, exact_version=True)

    def edit() -> None:
        pair.left.edit(left, labels=["a", "late", "x", *(["y"] if happened else [])])
        pair.right.edit(right, labels=["r", "y"])

    at_update(pair.left, edit, happened=happened)
    settled_later(pair)
    assert pair.both(left, right, "labels") == (["late", "x", "y"], ["late", "r", "x", "y"])
    bases_are_what_they_say(pair, left, right)


def test_a_refused_write_leaves_both_as_they_are_until_somebody_edits_again(apart: tuple[Pair, str, str]) -> None:
    pair, left, right = edited(apart, ["a", "x"], ["a", "r", "y"])
    at_update(pair.left, raising(Refused("No.", {"labels": "not y"})), happened=False)
    pair.quiet()
    assert pair.both(left, right, "labels") == (["a", "x"], ["a", "r", "y"])
    assert [one.kind for one in pair.open_conflicts()] == ["refused"]
    pair.left.edit(left, labels=["a", "x", "z"])
    pair.quiet()
    assert pair.both(left, right, "labels") == (["a", "x", "y", "z"], ["a", "r", "x", "y", "z"])
    bases_are_what_they_say(pair, left, right)


def once_left_out(world: World, part: list[str] | None = None) -> Callable[[Any, Any], Any]:
    """A system that leaves the next write of a field as it was, but for these members of a set."""

    def reach(now: Any, wanted: Any) -> Any:
        world.ways.clear()
        return sorted({*now, *part}) if part else now

    return reach


def test_a_write_that_the_system_left_out_makes_nobodys_edit_agreed(apart: tuple[Pair, str, str]) -> None:
    pair, left, right = edited(apart, ["a", "x"], ["a", "r", "y"])

    pair.left.ways["labels"] = once_left_out(pair.left)
    pair.quiet()
    assert pair.both(left, right, "labels") == (["a", "x", "y"], ["a", "r", "x", "y"])
    bases_are_what_they_say(pair, left, right)


@pytest.mark.parametrize("part", [[], ["y"]], ids=["all of it", "a part"])
def test_a_merged_set_that_the_system_left_out_takes_nothing_from_either_side(pair: Pair, part: list[str]) -> None:
    left, right, _ = pair.linked(labels=["a"])
    pair.left.ways["labels"] = once_left_out(pair.left, part)
    pair.left.edit(left, labels=["a", "x"])
    pair.right.edit(right, labels=["a", "y", "z"])
    pair.quiet()
    assert pair.both(left, right, "labels") == (["a", "x", "y", "z"], ["a", "x", "y", "z"])


def test_sets_that_met_for_the_first_time_lose_nothing_where_their_union_was_left_out(pair: Pair) -> None:
    pair.left.ways["labels"] = once_left_out(pair.left)
    left, right = (world.add(title="One", ref="R1", labels=[world.name]) for world in (pair.left, pair.right))
    pair.quiet()
    assert pair.both(left, right, "labels") == (["Left", "Right"], ["Left", "Right"])


def test_a_merged_text_that_the_system_left_out_takes_no_line_from_either_side(pair: Pair) -> None:
    rules = [{**one, "policy": {"kind": "merge_text", "name": "Merge"}} for one in DEFAULT_RULES if one["id"] == "body"]
    pair.publish(rules=[*[one for one in DEFAULT_RULES if one["id"] != "body"], *rules])
    left, right, _ = pair.linked(body="a\nb\nc")
    pair.left.ways["body"] = once_left_out(pair.left)
    pair.left.edit(left, body="a\nb\nC")
    pair.right.edit(right, body="A\nb\nc")
    pair.quiet()
    assert pair.both(left, right, "body") == ("A\nb\nC", "A\nb\nC")


def test_a_rule_that_was_off_when_the_first_write_was_answered_goes_on_with_the_left_sides_edit(
    apart: tuple[Pair, str, str],
) -> None:
    pair, left, right = edited(apart, ["a", "x"], ["a", "r", "y"])
    rules = pair.mapping.published.document["rules"]
    at_update(pair.left, raising(Uncertain("no answer")), happened=True)
    pair.run()
    pair.publish_as_is(rules=[one for one in rules if one["id"] != "labels"])
    settled_later(pair)
    pair.right.edit(right, labels=["a", "r"])  # y is taken away again
    pair.publish_as_is(rules=rules)
    settled_later(pair)
    assert pair.both(left, right, "labels") == (["a", "x"], ["a", "r", "x"])
