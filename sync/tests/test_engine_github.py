"""GitHub issues and things in memory, kept in agreement over HTTP: the whole way through the engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections import open as opening
from connections.connectors.memory import World as Memory
from connections.models import Connection
from connections.sandbox.base import Response
from connections.tests.github_world import REPOSITORY, SECRET, TOKEN, World, world
from mappings.models import Mapping
from sync import hints, jobs
from sync.models import ChangedRecord, Cursor, Link, Operation
from sync.simulation.setting import side
from sync.tests.call_cases import System, assert_at_most, at_full_speed, costs, in_bulk, moving_on
from sync.tests.conftest import Pair, rule

pytestmark = pytest.mark.django_db(transaction=True)


def pairing(rule_id: str, field: str, path: str, left: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A rule between a field of issues and a text in memory."""
    made = rule(rule_id, path, **more)
    made["left"] |= {"path": field, "label": field, **left}
    return made


STATES = [{"left": "Open", "right": "open"}, {"left": "Closed", "right": "done"}]
RULES = [
    pairing("title", "title", "title", left={"required": True, "max_length": 256}),
    pairing("body", "body", "body", transform="rich_text", left={"kind": "rich_text", "format": "markdown"}),
    pairing(
        "state", "state", "status", kind="option", transform="value_map", entries=STATES, left={"creatable": False}
    ),
]


class Between:
    """A mapping of issues (left) to things in memory (right)."""

    def __init__(self, w: World) -> None:
        self.w = w
        self.memory = Memory("Memory")
        left = Connection.objects.create(
            name="GitHub",
            kind="github",
            address=w.address,
            settings={"repositories": REPOSITORY},
            secrets={"token": TOKEN, "webhook_secret": SECRET},
            state="ok",
            account_id=str(w.us["id"]),
        )
        right = Connection.objects.create(
            name="Memory",
            kind="memory",
            address="https://memory.example.com",
            settings={"world": "Memory"},
            state="ok",
            account_id="syncadmin",
        )
        mapping = Mapping.objects.create(
            name="Issues",
            slug="issues",
            left_connection=left,
            left_object_type=REPOSITORY,
            right_connection=right,
            right_object_type="thing",
        )
        self.pair = Pair(self.memory, self.memory, mapping)
        self.pair.publish(
            left=side(left, kind="github", object_type=REPOSITORY, object_label="Issue"),
            right=side(right),
            match_keys=[],
            initial="fill_empty",
            poll_seconds=15,
            brakes={},
            rules=RULES,
        )
        self.pair.approve()

    def quiet(self) -> None:
        """Poll both sides, and run until nothing waits."""
        self.pair.quiet()

    def linked(self, **values: str) -> tuple[str, str]:
        issue = self.w.issue(**values)
        self.quiet()
        return issue, Link.objects.get(left_id=issue).right_id

    def live(self, side_: str, id: str) -> None:
        """A run that a bell rang."""
        hints.mark(self.pair.mapping.pk, side_, [id])
        self.pair.run()


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    monkeypatch.setattr(jobs, "enqueue", lambda *args: None)
    monkeypatch.setattr(opening.Budget, "spend", lambda self: None)
    os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with world() as w:
        yield Between(w)
    Memory.registry.clear()


def test_records_are_made_on_both_sides_and_the_key_is_nobodys_edit(between: Between) -> None:
    issue, thing = between.linked(body="Smoke")
    assert (between.memory.value(thing, "title"), between.memory.value(thing, "body")) == ("Printer on fire", "Smoke")
    other = between.memory.add(title="Screen dark", body="No light")
    between.quiet()
    made = between.w.stored(Link.objects.get(right_id=other).left_id)
    assert made["body"].startswith("No light\n\n<!-- syncadmin:") and made["user"] == "syncadmin"
    between.memory.edit(other, body="Still none")
    between.quiet()
    made = between.w.stored(str(made["number"]))
    assert made["body"].startswith("Still none\n\n<!-- syncadmin:")
    writes = Operation.objects.filter(state="confirmed").count()
    between.quiet()
    assert Operation.objects.filter(state="confirmed").count() == writes and issue != str(made["number"])
    assert not between.pair.open_conflicts()


def test_an_issue_that_is_done_elsewhere_is_made_and_then_closed(between: Between) -> None:
    done = between.memory.add(title="Done there", status="done")
    between.quiet()
    number = str(Link.objects.get(right_id=done).left_id)
    assert (between.w.stored(number)["state"], between.memory.value(done, "status")) == ("closed", "done")
    between.w.records.edit(REPOSITORY, number, "ana-ruiz", {"state": "open"})
    between.quiet()
    assert between.memory.value(done, "status") == "open" and not between.pair.open_conflicts()


def test_a_create_whose_answer_is_lost_makes_one_issue(between: Between) -> None:
    between.linked()
    between.w.app.fault("drop_after", method="POST", path="/issues$")
    thing = between.memory.add(title="Lost")
    between.pair.run()
    past = timezone.now() - timedelta(hours=1)
    assert Operation.objects.filter(state="uncertain").update(claimed_at=past, not_before=past) == 1
    between.pair.run()
    between.quiet()
    made = [doc for doc in between.w.records.all("issue") if doc["title"] == "Lost"]
    assert [str(one["number"]) for one in made] == [Link.objects.get(right_id=thing).left_id]


def test_an_edit_that_lay_under_our_text_is_asked_about_with_its_value(
    between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue, thing = between.linked(body="one")
    between.memory.edit(thing, body="two")
    real, raced = type(between.w.app).handle, list[str]()

    def handle(app: Any, request: Any) -> Any:
        reads = [path for path in between.w.calls() if path == f"GET /repos/{REPOSITORY}/issues/{issue}"]
        if (
            request.method == "GET"
            and request.path.endswith(f"/issues/{issue}")
            and len(reads) == seen + 1
            and not raced
        ):
            raced.append(issue)  # right before the look that precedes the write
            between.w.records.edit(REPOSITORY, issue, "ana-ruiz", {"body": "Ana's own"})
        return real(app, request)

    seen = len([path for path in between.w.calls() if path == f"GET /repos/{REPOSITORY}/issues/{issue}"])
    monkeypatch.setattr(type(between.w.app), "handle", handle)
    between.live("right", thing)
    assert raced == [issue]
    [question] = between.pair.open_conflicts()
    assert (question.kind, question.params["overwritten"]) == ("clobber", "Ana's own")


@pytest.mark.parametrize("seen", [True, False])
def test_an_edit_that_lay_under_our_title_is_asked_about_once_its_events_are_seen(
    between: Between, monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    """`seen`: at once, or only when it is found out what became of the write."""
    issue, thing = between.linked()
    between.memory.edit(thing, title="Ours")
    real, raced = type(between.w.app).handle, list[str]()

    def handle(app: Any, request: Any) -> Any:
        if request.method == "PATCH" and not raced:
            raced.append(issue)
            between.w.records.edit(REPOSITORY, issue, "ana-ruiz", {"title": "Ana's own"})
        if request.path.endswith("/events") and not seen:
            return Response(502, {"message": "Server Error"})
        return real(app, request)

    monkeypatch.setattr(type(between.w.app), "handle", handle)
    between.live("right", thing)
    assert raced == [issue] and between.w.stored(issue)["title"] == "Ours"
    if not seen:
        assert not between.pair.open_conflicts()
        seen, ago = True, timezone.now() - timedelta(minutes=5)
        Operation.objects.filter(state="uncertain").update(claimed_at=ago, not_before=ago)
        between.pair.run()
    [question] = between.pair.open_conflicts()
    assert (question.kind, question.params["overwritten"]) == ("clobber", "Ana's own")


def test_a_transferred_issue_leaves_its_twin_alone_and_a_deleted_one_asks(between: Between) -> None:
    between.w.records.repository("acme/other")
    moved, kept = between.linked()
    there = between.w.records.transfer(REPOSITORY, moved, "acme/other", "ana-ruiz")
    between.w.records.edit("acme/other", there["number"], "ana-ruiz", {"title": "Edited there"})
    between.live("left", moved)
    assert not between.pair.open_conflicts() and between.memory.value(kept, "title") == "Printer on fire"
    assert Link.objects.get(left_id=moved).out_of_scope == "left"
    deleted, asked = between.linked(title="Another")
    between.w.records.remove(REPOSITORY, deleted, "ana-ruiz")
    between.live("left", deleted)
    assert [one.kind for one in between.pair.open_conflicts()] == ["delete_update"]
    assert asked in between.memory.alive()


def look_for_deletions(between: Between) -> None:
    """An hour and more later: all is listed, and what waits is due."""
    Cursor.objects.update(swept_at=None)
    ChangedRecord.objects.update(
        first_rung_at=timezone.now() - timedelta(hours=2), not_before=timezone.now() - timedelta(seconds=1)
    )
    between.pair.run()
    between.quiet()


def test_an_issue_transferred_to_where_we_may_not_look_leaves_its_twin_alone(between: Between) -> None:
    other = between.w.records.repository("acme/other")
    moved, kept = between.linked()
    between.linked(title="Another")
    between.w.records.transfer(REPOSITORY, moved, "acme/other", "ana-ruiz")
    between.w.app.hidden.add(other["key"])
    for _ in range(4):
        look_for_deletions(between)
    link = Link.objects.get(left_id=moved)
    assert (link.state, link.out_of_scope, link.deleted_left) == ("active", "left", False)
    assert not between.pair.open_conflicts() and kept in between.memory.alive()


def test_an_issue_that_was_deleted_unseen_is_asked_about(between: Between) -> None:
    deleted, asked = between.linked()
    between.linked(title="Another")
    between.w.records.remove(REPOSITORY, deleted, "ana-ruiz")
    between.memory.edit(asked, title="Edited")
    look_for_deletions(between)
    assert [one.kind for one in between.pair.open_conflicts()] == ["delete_update"]


def test_a_pair_that_rests_costs_nothing_and_a_live_change_one_call(between: Between) -> None:
    issue, thing = between.linked()
    for _ in range(3):  # each of the two questions is asked once, and of what changed once more
        between.quiet()
        Cursor.objects.update(deep_at=None)
    charged, asked = between.w.app.charged, len(between.w.app.requests)
    for deep in (timezone.now(), None, timezone.now()):
        Cursor.objects.update(deep_at=deep)
        between.pair.run()
    assert between.w.app.charged == charged
    assert between.w.calls(asked) == [f"GET /repos/{REPOSITORY}/issues"] * 3
    assert not ChangedRecord.objects.exists()
    between.w.records.edit(REPOSITORY, issue, "ana-ruiz", {"title": "Edited"})
    charged = between.w.app.charged
    between.live("left", issue)
    assert between.memory.value(thing, "title") == "Edited"
    assert between.w.app.charged - charged <= 2


@pytest.mark.same_everywhere
def test_what_changes_cost(between: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    at_full_speed(monkeypatch)
    issues = System(
        between.w.issue, lambda id, text: between.w.records.edit(REPOSITORY, id, "ana-ruiz", {"title": text})
    )
    later = moving_on(3600, between.w.app)
    told = costs(between.pair, "left", issues, in_bulk(between.memory), between.w.calls, between.quiet, later)
    # There is no bulk: one read by id for each, one write, and a look at what it replaced. An idle poll lists here what
    # was made within minutes.
    assert_at_most(
        told,
        idle=3,
        live_from=1,
        live_to=3,
        create_from=1.03,
        poll_from=1.03,
        update_from=1.03,
        create_to=1.03,
        poll_to=3.03,
        update_to=3.03,
    )
