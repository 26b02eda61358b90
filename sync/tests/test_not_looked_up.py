"""Writes without an answer of which the system does not let us look up what became of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import Gone, NotAllowed, Refused
from connections.connectors.memory import World
from sync import recover
from sync.models import ChangedRecord, Operation
from sync.probes import HIDDEN_AT_MOST, LOOKS_AT_LEAST
from sync.tests.conftest import Pair
from sync.tests.engine_cases import live, no_answer, once, ours
from sync.tests.test_engine_answered_creates import answered_with_an_id, timed_out
from sync.tests.test_engine_deletions import on_delete
from sync.wording import sentence

pytestmark = pytest.mark.django_db


def refuse(world: World, error: Exception, *ids: str, verbs: tuple[str, ...] = ("get",)) -> None:
    """The system does not answer these verbs about these records any more."""

    def hook(verb: str, asked: Any) -> None:
        if verb in verbs and (not ids or set(ids) & set(asked or ())):
            raise error

    world.before = hook


def look(pair: Pair, times: int = LOOKS_AT_LEAST, ago: timedelta = HIDDEN_AT_MOST) -> None:
    for _ in range(times):
        timed_out(ago)
        pair.run("live")


def write() -> Operation:
    """The first write that was sent."""
    return Operation.objects.order_by("pk")[0]


@pytest.fixture
def unanswered(pair: Pair) -> tuple[str, str]:
    left, right, _ = pair.linked(body="b", status="open")
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    once(pair.right, "update", no_answer)
    pair.run("live")
    return left, right


@pytest.mark.parametrize(
    "error", [NotAllowed("No right to browse."), Refused("No such field."), Gone("Moved."), KeyError("strange answer")]
)
def test_a_person_is_told_why_nobody_can_look_and_nothing_is_sent_again(
    pair: Pair, unanswered: tuple[str, str], error: Exception
) -> None:
    refuse(pair.right, error, unanswered[1])
    look(pair)
    (asked,) = pair.open_conflicts()
    said = sentence(asked.code, asked.params)
    assert (asked.code, asked.rule_id) == ("maybe_written", "body") and "could not be looked up" in said
    assert str(error).strip("'") in said and "“new”" in said
    live(pair)
    assert write().state == "dead" and write().claim is None, "it stands in nobody's way"
    assert ours(pair.right, "body") == [] and Operation.objects.count() == 1


def test_nobody_is_asked_within_the_hour_nor_before_several_looks_failed(
    pair: Pair, unanswered: tuple[str, str]
) -> None:
    refuse(pair.right, NotAllowed("Hidden."), unanswered[1])
    look(pair, times=5, ago=timedelta(minutes=50))
    assert write().state == "uncertain" and not pair.open_conflicts()
    Operation.objects.update(result={})
    look(pair, times=LOOKS_AT_LEAST - 1, ago=timedelta(days=1))
    assert write().state == "uncertain" and not pair.open_conflicts()


@pytest.mark.parametrize("says", ["new", "b", "somebody's"])
def test_once_it_can_be_read_what_we_sent_is_agreed_and_anything_else_stays_with_the_person(
    pair: Pair, unanswered: tuple[str, str], says: str
) -> None:
    left, right = unanswered
    refuse(pair.right, NotAllowed("Hidden."), right)
    look(pair)
    pair.right.before = lambda *_: None
    pair.right.edit(right, body=says)  # no bell: the record is looked at until it is shown
    live(pair)
    assert bool(pair.open_conflicts()) == (says != "new")
    assert pair.both(left, right, "body") == ("new", says) and ours(pair.right, "body") == []


def test_other_fields_of_the_pair_flow_meanwhile_as_soon_as_it_can_be_read(
    pair: Pair, unanswered: tuple[str, str]
) -> None:
    left, right = unanswered
    refuse(pair.right, NotAllowed("Hidden."), right)
    look(pair)
    pair.right.before = lambda *_: None
    pair.left.edit(left, status="done")
    pair.ring("left", left)
    live(pair)
    assert pair.right.value(right, "status") == "done" and pair.right.value(right, "body") == "b"


@pytest.mark.parametrize("named", [False, True])
def test_a_create_becomes_the_question_whether_it_happened_and_is_not_sent_again(pair: Pair, named: bool) -> None:
    if named:
        made = answered_with_an_id(pair)
    else:
        pair.left.add(title="Alone")
        once(pair.right, "create", no_answer, when="after")
        pair.run()
        [made] = pair.right.alive()
    refuse(pair.right, NotAllowed("No right to search."), verbs=("get", "find_key"))
    look(pair)
    (asked,) = pair.open_conflicts()
    said = sentence(asked.code, asked.params)
    assert asked.code == "created_or_not" and "No right to search." in said and (made in said) == named
    pair.right.before = lambda *_: None
    pair.right.edit(made, title="Edited since", body="all of it")
    pair.ring("right", made)
    live(pair)
    assert len(pair.right.alive()) == 1, "nor is it made a second time"
    assert len(pair.left.alive()) == 1, "nor is the one that the answer named copied back"


def test_a_deletion_is_sent_again_only_once_the_record_was_read(pair: Pair) -> None:
    on_delete(pair, "delete", on_delete="delete")
    left, right, _ = pair.linked(body="b")
    pair.left.remove(left)
    pair.ring("left", left, deleted=True)
    once(pair.right, "delete", no_answer)
    pair.run("live")
    refuse(pair.right, NotAllowed("Hidden."), right)
    look(pair)
    live(pair)
    assert write().state == "superseded" and right in pair.right.alive()
    assert ChangedRecord.objects.exclude(fingerprint="").exists(), "somebody is told"
    pair.right.before = lambda *_: None
    live(pair)
    assert right not in pair.right.alive()


def test_one_about_which_nobody_can_even_be_asked_stops_no_other(
    pair: Pair, unanswered: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("strange value")

    refuse(pair.right, NotAllowed("Hidden."), unanswered[1])
    monkeypatch.setattr(recover, "_ask_a_person", broken)
    look(pair)
    assert pair.run("live").state == "done"
    assert write().state == "uncertain" and write().not_before > timezone.now()
