"""What GitHub answers with success: fields that it left out unsaid, and look-ups that fail after the write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from connections.connectors.base import NotAllowed, RateLimited, Refused, WriteResult
from connections.sandbox.base import Request, Response
from connections.tests.github_world import REPOSITORY, World, as_new, world

COMMENTS = f"{REPOSITORY}/comments"
FIELDS = ["title", "body", "state", "state_reason", "labels", "milestone", "assignee", "assignees", "type"]
ANA = "ana@acme.example"


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with world() as found:
        yield found


@pytest.fixture
def w(shared: World) -> Iterator[World]:
    for fresh in as_new(shared):
        fresh.records.milestone(REPOSITORY, "1.0")
        yield fresh


def create(
    w: World, scope: dict[str, str] | None = None, fields: list[str] | None = None, **values: Any
) -> WriteResult:
    wanted = FIELDS if fields is None else fields
    return w.connector.create(REPOSITORY, {"title": "Ours", **values}, "key-1", scope or {}, fields=wanted)


def update(w: World, id: str, **values: Any) -> WriteResult:
    return w.connector.update(REPOSITORY, id, values, None, FIELDS)


@pytest.fixture
def limit_after_a_write(w: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No profile is shown any more once something was written. Returns the methods of what was."""
    real, wrote = w.app.handle, list[str]()

    def handle(request: Request) -> Response:
        if wrote and "/users/" in request.path:
            return Response(403, {"message": "You have exceeded a secondary rate limit."}, {"Retry-After": "60"})
        if request.method in ("PATCH", "POST"):
            wrote.append(request.method)
        return real(request)

    monkeypatch.setattr(w.app, "handle", handle)
    return wrote


# Left out unsaid -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "left"),
    [
        ({"labels": ["urgent", "vip"]}, []),
        ({"milestone": "1.0"}, None),
        ({"type": "Bug"}, None),
        ({"assignee": ANA}, None),
        ({"assignees": [ANA]}, []),
    ],
)
def test_what_a_new_issue_was_not_given_is_on_the_way_and_refused_by_name_when_sent_alone(w, values, left):
    w.app.may_push = False
    made = create(w, **values)
    [path] = values
    assert (made.created, dict(made.on_the_way), made.record.values["title"]) == (True, {path: left}, "Ours")
    with pytest.raises(Refused) as caught:
        update(w, made.record.external_id, **values)
    assert set(caught.value.fields) == {path}
    assert "left it as it was" in caught.value.message and "role Triage or Write" in caught.value.message


def test_a_new_issue_that_was_given_everything_is_not_written_twice(w):
    w.issue(labels=["Bug"])  # so is it spelled there
    given = {"labels": ["bug", "vip"], "milestone": "1.0", "type": "Feature", "assignees": [ANA]}
    assert not create(w, **given).on_the_way
    assert not create(w, labels=[], milestone=None, type=None, assignee=None).on_the_way


def test_what_the_filter_adds_to_a_new_issue_is_no_value_that_was_left_out(w):
    scope = {"labels": "synced", "type": "Bug"}
    assert not create(w, scope, labels=["vip"], type=None).on_the_way


@pytest.mark.parametrize("scope", [{"labels": "synced"}, {"type": "Bug"}])
def test_no_issue_is_made_that_would_lie_outside_the_filter_until_we_have_the_role(w, scope):
    w.app.may_push = False
    with pytest.raises(NotAllowed, match="Give our account the role Triage or Write in acme/app"):
        create(w, scope)
    assert w.records.all("issue") == []
    w.app.may_push = True
    assert create(w, scope).created


def test_what_was_written_beside_a_field_that_was_left_out_is_told_with_what_it_replaced(w):
    """A refusal of the whole would keep silent about the text that lay under ours."""
    id = create(w, body="one").record.external_id
    w.records.edit(REPOSITORY, id, "ana-ruiz", {"body": "Ana's own"})
    w.app.may_push = False
    written = update(w, id, body="two", labels=["urgent"])
    assert written.record.values["body"] == "two"
    assert (dict(written.on_the_way), written.replaced["body"]) == ({"labels": []}, "Ana's own")


def test_a_reason_that_was_left_out_while_closing_is_on_the_way_and_then_refused(w, monkeypatch):
    """As by a server that does not know the reason yet."""
    id, real = w.issue(), w.records._state
    monkeypatch.setattr(w.records, "_state", lambda values, before: real({**values, "state_reason": None}, before))
    closed = update(w, id, state="Closed", state_reason="Duplicate")
    assert (closed.record.values["state"], dict(closed.on_the_way)) == ("Closed", {"state_reason": "Completed"})
    with pytest.raises(Refused) as caught:
        update(w, id, state_reason="Duplicate")
    assert set(caught.value.fields) == {"state_reason"}


def test_a_reason_for_an_issue_that_was_closed_without_one_is_refused_and_not_forgotten(w):
    id = w.issue()
    w.records.put("issue", {**w.stored(id), "state": "closed", "state_reason": None})
    with pytest.raises(Refused) as caught:
        update(w, id, state_reason="Not planned")
    assert set(caught.value.fields) == {"state_reason"}
    assert update(w, id, state_reason=None).record.values["state_reason"] is None


# What fails after a write ------------------------------------------------------------------------------------------


def test_who_was_replaced_is_looked_up_before_the_write(w, limit_after_a_write):
    id = w.issue(assignees=[])
    w.connector.people("ana")
    w.records.edit(REPOSITORY, id, "ana-ruiz", {"assignees": ["ben"]})
    written = update(w, id, assignee=ANA)
    assert (written.record.values["assignee"], written.replaced) == (ANA, {"assignee": f"id:{w.ben['id']}"})
    assert limit_after_a_write == ["PATCH"]


def test_who_stays_on_an_issue_is_looked_up_before_the_write_so_that_what_it_replaced_is_told(w, limit_after_a_write):
    id = w.issue(body="Ana's own", assignees=["ben"])
    written = update(w, id, body="two")
    assert (written.record.values["assignee"], written.replaced) == (f"id:{w.ben['id']}", {"body": "Ana's own"})


def test_where_nobody_can_be_looked_up_nothing_is_written(w):
    id = w.issue(body="one", assignees=["ben"])
    w.app.fault("status", path="/users/", status=403, body={"message": "secondary rate limit"}, times=9)
    with pytest.raises(RateLimited):
        update(w, id, body="two")
    assert w.stored(id)["body"] == "one"


def test_we_are_looked_up_before_we_make_an_issue(w, limit_after_a_write):
    made = create(w, fields=["title", "author"])
    assert made.record.values["author"] == f"id:{w.us['id']}" and limit_after_a_write == ["POST"]


def test_who_wrote_a_comment_is_looked_up_before_it_is_written(w, limit_after_a_write):
    comment = str(w.records.comment(w.stored(w.issue()), "ana-ruiz", "one")["id"])
    written = w.connector.update(COMMENTS, comment, {"body": "two"}, None, ["body", "author"])
    assert (written.record.values["author"], written.replaced) == (ANA, {"body": "one"})
    assert limit_after_a_write == ["PATCH"]
