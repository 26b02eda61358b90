"""Whether an edit that our write replaces is noticed: what the pages say, by what a system can do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from connections.connectors import all_connectors, connector_class
from connections.connectors.base import Capabilities, Change, Refused, Uncertain, WriteResult
from connections.connectors.github_history import TOLD
from connections.connectors.github_writes import WRITABLE
from connections.models import Connection
from connections.overwrites import ASKED, BLIND, LEFT_OUT, REPLACED, detection, detection_in, over_others
from connections.sandbox.base import Request, Response
from connections.tests.github_world import REPOSITORY, World, as_new, world
from connections.tests.rest_documents import Habits, things_document
from connections.views.kinds import kind_of
from connections.views.overview import behaviour

HISTORY = {"field_history": True, "complete_history": True}


@pytest.mark.parametrize(
    ("able", "what", "meaning"),
    [
        ({}, BLIND, REPLACED),
        ({"conditional_write": True}, "refuses our write", "Nothing is overwritten"),
        ({"conditional_write": True, **HISTORY}, "after our read.", "Nothing is overwritten"),
        ({"conditional_write": True, "conditional_resolution": 1.0}, "one less than 1 s away cannot be", REPLACED),
        (
            {"conditional_write": True, "conditional_resolution": 0.5, **HISTORY},
            "history tells of one less than 0.5 s away.",
            ASKED,
        ),
        (
            {"conditional_write": True, "conditional_resolution": 1.0, "field_history": True},
            "less than 1 s away, in the fields it covers.",
            f"{ASKED} {LEFT_OUT}",
        ),
        (HISTORY, "history tells of an edit that our write replaced.", ASKED),
        ({"field_history": True}, "our write replaced, in the fields it covers.", f"{ASKED} {LEFT_OUT}"),
    ],
)
def test_each_way_to_notice_is_told(able: dict[str, object], what: str, meaning: str) -> None:
    told = detection(Capabilities(**able))  # type: ignore[arg-type]
    assert what in told.what and told.meaning.startswith(meaning)
    assert ("Overwrite check", f"{told.what} {told.meaning}") in behaviour(Capabilities(**able), {})  # type: ignore[arg-type]


def test_where_there_is_neither_condition_nor_history_each_system_says_so() -> None:
    """The engine learns of an overwritten edit from `WriteResult.replaced` alone, and histories are what fills it."""
    blind = {one.kind for one in all_connectors() if detection(one.capabilities).what == BLIND}
    assert blind == {"asana", "freshdesk", "freshservice", "hubspot_contacts", "rest"}
    assert detection(connector_class("jira").capabilities).meaning == ASKED
    assert detection(connector_class("postgresql").capabilities).meaning.startswith("Nothing is overwritten")


@pytest.mark.parametrize(
    ("kind", "sees", "blind", "said"),
    [
        ("jira", ["issue"], ["comment"], "In comments such an edit cannot be detected here."),
        ("zendesk", ["ticket"], ["user", "organization"], "In users and organizations such an edit cannot be"),
    ],
)
def test_an_object_type_of_which_nobody_tells_is_told_apart(
    kind: str, sees: list[str], blind: list[str], said: str
) -> None:
    connector = connector_class(kind)

    def told(object_type: str) -> str:
        return detection_in(connector.capabilities, connector.blind_in, object_type).what

    assert {told(one) for one in sees} == {detection(connector.capabilities).what}
    assert {told(one) for one in blind} == {BLIND}
    assert said in dict(behaviour(connector.capabilities, connector.blind_in))["Overwrite check"]


def test_a_described_api_is_judged_as_it_is_described() -> None:
    def of(**habits: str) -> str:
        settings = {"definition": things_document(Habits(**habits))}  # type: ignore[arg-type]
        kind = kind_of(Connection(kind="rest", settings=settings))
        assert kind is not None
        return detection(kind.capabilities).what

    assert of(condition="none") == BLIND
    assert of().startswith("The system refuses our write")


def test_an_edit_under_two_writes_of_ours_is_told_and_not_the_first_of_ours() -> None:
    """The first of ours woke up late."""
    log = [
        Change("body", "1", "ana", None, "agreed", "Ana's"),
        Change("body", "2", "us", None, "Ana's", "ours, late"),
        Change("body", "3", "us", None, "ours, late", "ours"),
    ]
    over = over_others(log, "body", "us")
    assert over is not None and over.before == "Ana's"
    assert over_others(log[1:], "body", "us") is None and over_others(log[:1], "body", "us") is None


# What the sentence says of GitHub is what happens there. -----------------------------------------------------------


@pytest.fixture(scope="module")
def served() -> Iterator[World]:
    with world() as found:
        yield found


@pytest.fixture
def github(served: World) -> Iterator[World]:
    for fresh in as_new(served):
        for title in ("1.0", "2.0", "3.0"):
            fresh.records.milestone(REPOSITORY, title)
        yield fresh


ANA = "ana@acme.example"
# {field: (what was agreed, what a person writes, as GitHub keeps it, what we write)}
EDITS: dict[str, tuple[Any, dict[str, Any], Any, Any]] = {
    "title": ("agreed", {"title": "theirs"}, "theirs", "ours"),
    "labels": (["agreed"], {"labels": ["agreed", "theirs"]}, ["agreed", "theirs"], ["agreed", "ours"]),
    "milestone": ("1.0", {"milestone": 2}, "2.0", "3.0"),
    "assignees": ([], {"assignees": ["ben", "ana-ruiz"]}, [ANA, "id:ben"], [ANA]),
    "type": ("Bug", {"type": "Feature"}, "Feature", None),
}


def edited_right_before_our_write(w: World, monkeypatch: pytest.MonkeyPatch, id: str, edit: dict[str, Any]) -> None:
    """By a person, after whatever we look at first."""
    real, raced = w.app.handle, list[str]()

    def handle(request: Request) -> Response:
        if request.method == "PATCH" and not raced:
            raced.append(id)
            w.records.edit(REPOSITORY, id, "ana-ruiz", edit)
        return real(request)

    monkeypatch.setattr(w.app, "handle", handle)


def write(w: World, id: str, **values: Any) -> WriteResult:
    return w.connector.update(REPOSITORY, id, values, None, list(values))


def of_ana(w: World, **agreed: Any) -> str:
    """An issue that a person edited last, to what was agreed, after an earlier write of ours."""
    id = w.issue()
    write(w, id, title="ours of old", labels=["ours of old"])
    w.records.edit(REPOSITORY, id, "ana-ruiz", agreed)
    return id


def as_kept(path: str, value: Any) -> dict[str, Any]:
    return {path: int(value[0]) if path == "milestone" else value}


@pytest.mark.parametrize("path", EDITS)
@pytest.mark.parametrize("beside", [{}, {"body": "a text, which has to be looked at first"}])
def test_at_github_an_edit_that_our_write_replaced_is_told(github, monkeypatch, path, beside):
    w = github
    agreed, edit, theirs, ours = EDITS[path]
    theirs = sorted(one.replace("ben", str(w.ben["id"])) for one in theirs) if path == "assignees" else theirs
    id = of_ana(w, **as_kept(path, agreed))
    edited_right_before_our_write(w, monkeypatch, id, edit)
    assert write(w, id, **{path: ours}, **beside).replaced[path] == theirs


def test_at_github_a_text_and_a_reason_are_looked_at_right_before_the_write(github):
    id = github.issue(body="agreed")
    github.records.edit(REPOSITORY, id, "ana-ruiz", {"body": "theirs"})
    assert write(github, id, body="ours").replaced == {"body": "theirs"}
    github.records.edit(REPOSITORY, id, "ana-ruiz", {"state": "closed", "state_reason": "not_planned"})
    with pytest.raises(Refused, match="closed anew"):
        write(github, id, state="Closed", state_reason="Completed")


def test_every_field_that_the_sentence_promises_of_github_is_played() -> None:
    """A state has two values: a write that changes it goes over no edit to a third one. One person is among many."""
    assert set(EDITS) == set(TOLD) - {"state", "assignee"}
    assert set(WRITABLE) - set(TOLD) == {"body", "state_reason"}
    github = connector_class("github")
    told = dict(behaviour(github.capabilities, github.blind_in, github.looks_at))["Overwrite check"]
    assert "in all fields but descriptions, reasons for closing and comments, which we look at" in told
    assert "between that look and the write cannot be detected" in told


@pytest.mark.parametrize("path", EDITS)
def test_at_github_nothing_is_told_as_replaced_but_what_was_read(github, path):
    agreed, _, _, ours = EDITS[path]
    id = of_ana(github, **as_kept(path, agreed))
    assert write(github, id, **{path: ours}).replaced.get(path, agreed) == agreed


def test_at_github_what_an_earlier_write_of_ours_replaced_is_not_told_again(github, monkeypatch):
    id = of_ana(github, title="agreed")
    edited_right_before_our_write(github, monkeypatch, id, {"title": "theirs"})
    assert write(github, id, title="ours").replaced == {"title": "theirs"}
    github.records.edit(REPOSITORY, id, "ana-ruiz", {"title": "the same"})
    assert write(github, id, title="the same").replaced == {}, "ours changed nothing"


def test_at_github_an_edit_made_right_after_our_write_hides_none_that_lay_under_it(github, monkeypatch):
    w, id = github, of_ana(github, labels=["agreed"])
    edited_right_before_our_write(w, monkeypatch, id, {"labels": ["agreed", "theirs"]})
    before = w.app.handle

    def handle(request: Request) -> Response:
        if request.path.endswith("/events"):
            w.records.edit(REPOSITORY, id, "ana-ruiz", {"labels": ["later"]})
        return before(request)

    monkeypatch.setattr(w.app, "handle", handle)
    assert write(w, id, labels=["ours"]).replaced == {"labels": ["agreed", "theirs"]}


@pytest.mark.parametrize("many", [95, 130, 230])
def test_at_github_it_is_told_however_long_the_history(github, monkeypatch, many):
    w, id = github, of_ana(github, title="agreed")
    for number in range(many):
        w.records.edit(REPOSITORY, id, "ana-ruiz", {"title": f"draft {number}"})
    edited_right_before_our_write(w, monkeypatch, id, {"title": "theirs"})
    asked = len(w.app.requests)
    assert write(w, id, title="ours").replaced == {"title": "theirs"}
    assert len([call for call in w.calls(asked) if call.endswith("/events")]) <= 3


def test_at_github_a_look_that_fails_after_the_write_leaves_the_write_in_doubt(github, monkeypatch):
    """Whoever finds out what became of it asks the history as well."""
    w, id = github, of_ana(github, title="agreed")
    real = w.app.handle

    def handle(request: Request) -> Response:
        if request.path.endswith("/events"):
            return Response(403, {"message": "You have exceeded a secondary rate limit."}, {"Retry-After": "60"})
        return real(request)

    monkeypatch.setattr(w.app, "handle", handle)
    with pytest.raises(Uncertain):
        write(w, id, title="ours")
    assert w.stored(id)["title"] == "ours"
