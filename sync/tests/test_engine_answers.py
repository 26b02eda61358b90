"""An answer to several fields: each of them is carried out once, and what became of one decides nothing of another."""

from __future__ import annotations

from typing import Any

import pytest

from connections.connectors.base import ConnectorError, Refused, Retry
from connections.connectors.memory import World
from sync import instructions
from sync.models import AuditEntry, Conflict, Instruction, Link
from sync.tests.conftest import DEFAULT_RULES, Pair
from sync.tests.engine_cases import live, once, ours

pytestmark = pytest.mark.django_db

SEEN = {"body": {"left": "L", "right": "R"}, "status": {"left": "SL", "right": "SR"}}


@pytest.fixture
def asked(pair: Pair) -> Link:
    """A pair with a question about its body and another one about its status."""
    pair.publish(rules=[{**one, "policy": {"kind": "review"}} for one in DEFAULT_RULES])
    left, right, link = pair.linked(body="b", status="s")
    pair.left.edit(left, body="L", status="SL")
    pair.right.edit(right, body="R", status="SR")
    pair.quiet()
    assert len(pair.open_conflicts()) == 2
    return link


def answer(link: Link, user: Any, **takes: str) -> Instruction:
    return instructions.ask(
        link, "resolve", {rule: {"take": take, "seen": SEEN[rule]} for rule, take in takes.items()}, user
    )


def said(pair: Pair, link: Link, rule: str) -> tuple[Any, Any]:
    return pair.both(link.left_id or "", link.right_id or "", rule)


def ends(world: World, *errors: ConnectorError) -> None:
    """The next updates end with these errors, before anything happened."""
    left = list(errors)

    def before(verb: str, ids: Any) -> None:
        if verb == "update" and left:
            raise left.pop(0)

    world.before = before


def test_a_field_that_was_carried_out_is_not_written_again_while_another_one_waits(
    pair: Pair, asked: Link, admin_user: Any
) -> None:
    one = answer(asked, admin_user, body="left", status="right")
    ends(pair.left, Retry("busy", after=0))
    pair.run("live")
    one.refresh_from_db()
    assert (one.state, one.outcome) == ("waiting", {"body": "done"})
    pair.right.edit(asked.right_id or "", body="R")  # what the person who answered saw there
    live(pair)
    one.refresh_from_db()
    assert (one.state, one.outcome) == ("done", {"body": "done", "status": "done"})
    assert said(pair, asked, "status") == ("SR", "SR")
    assert ours(pair.right, "body") == ["L"], "that was an edit made since"
    assert said(pair, asked, "body") == ("R", "R")


def test_a_field_that_was_carried_out_did_not_move(pair: Pair, asked: Link, admin_user: Any) -> None:
    one = answer(asked, admin_user, body="left", status="right")
    ends(pair.left, Retry("busy", after=0))
    live(pair)
    one.refresh_from_db()
    assert (one.state, one.outcome) == ("done", {"body": "done", "status": "done"})
    assert not AuditEntry.objects.filter(code__in=["stale", "partly_stale"]).exists()
    assert (said(pair, asked, "body"), said(pair, asked, "status")) == (("L", "L"), ("SR", "SR"))
    assert {conflict.closed_by for conflict in Conflict.objects.all()} == {"admin"}


def test_two_writes_of_one_answer_that_are_told_at_once_end_it(pair: Pair, asked: Link, admin_user: Any) -> None:
    one = answer(asked, admin_user, body="left", status="right")
    pair.quiet()
    one.refresh_from_db()
    assert (one.state, one.outcome) == ("done", {"body": "done", "status": "done"})


def test_the_refusal_of_one_field_leaves_what_was_chosen_for_another(pair: Pair, asked: Link, admin_user: Any) -> None:
    one = answer(asked, admin_user, body="left", status="left")
    ends(pair.right, Refused("No.", {"status": "not allowed"}))
    live(pair)
    one.refresh_from_db()
    assert (one.state, one.outcome) == ("done", {"body": "done", "status": "refused"})
    assert said(pair, asked, "body") == ("L", "L")
    assert [one.rule_id for one in pair.open_conflicts()] == ["status"]


def test_the_refusal_of_a_field_that_nobody_chose_leaves_the_choice(pair: Pair, asked: Link, admin_user: Any) -> None:
    pair.left.edit(asked.left_id or "", title="Two")
    one = answer(asked, admin_user, body="left")
    ends(pair.right, Refused("No.", {"title": "not allowed"}))
    live(pair)
    one.refresh_from_db()
    assert (one.state, said(pair, asked, "body")) == ("done", ("L", "L"))
    assert sorted((c.rule_id, c.kind) for c in pair.open_conflicts()) == [("status", "field"), ("title", "refused")]


@pytest.mark.parametrize("first", ["left", "right"])
def test_what_shows_of_an_answer_does_not_depend_on_which_write_ends_first(
    pair: Pair, asked: Link, admin_user: Any, first: str
) -> None:
    """One side refuses its field, the other one has no time."""
    one = answer(asked, admin_user, body="left", status="right")
    refuses, busy = (pair.left, pair.right) if first == "left" else (pair.right, pair.left)
    ends(refuses, Refused("No."))
    ends(busy, Retry("busy", after=0))
    live(pair)
    one.refresh_from_db()
    refused, written = ("status", "body") if first == "left" else ("body", "status")
    assert (one.state, one.outcome) == ("done", {refused: "refused", written: "done"})
    assert [one.rule_id for one in pair.open_conflicts()] == [refused]


def test_an_answer_that_was_given_while_an_earlier_one_failed_counts(pair: Pair, asked: Link, admin_user: Any) -> None:
    first = answer(asked, "ana", body="left", status="left")

    def another_answer() -> None:
        answer(asked, admin_user, body="right")
        raise Retry("busy", after=0)

    once(pair.right, "update", another_answer)
    live(pair, 6)
    first.refresh_from_db()
    assert (first.state, first.outcome) == ("done", {"body": "superseded", "status": "done"})
    assert (said(pair, asked, "body"), said(pair, asked, "status")) == (("R", "R"), ("SL", "SL"))
    told = AuditEntry.objects.get(code="answered_again")
    assert (told.actor, told.params) == ("admin", {"by": "ana", "fields": ["Body"]})
    assert not pair.open_conflicts() and not Instruction.objects.exclude(state="done").exists()
