"""The GitHub connector against the stand-in over HTTP, each request checked against the description."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from connections.connectors.base import (
    DeliveryRequest,
    Gone,
    NeedsAuthorization,
    NotAllowed,
    RateLimited,
    Refused,
    Retry,
    Uncertain,
)
from connections.tests.github_world import REPOSITORY, SECRET, TOKEN, World, as_new, world

COMMENTS = f"{REPOSITORY}/comments"
FIELDS = ["title", "body", "state", "state_reason", "labels", "milestone", "assignee", "type"]
LONG_AGO = "2000-01-01T00:00:00Z"
HOOK = "https://sync.example/hooks/abc"


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with world() as found:
        yield found


@pytest.fixture
def w(shared: World) -> Iterator[World]:
    yield from as_new(shared)


def read(w: World, *ids: str, fields: list[str] | None = None) -> Any:
    return w.connector.get_many(REPOSITORY, ids, FIELDS if fields is None else fields)


def poll(w: World, watermark: str | None = None, object_type: str = REPOSITORY) -> tuple[list[str], str]:
    """(ids in order, the last page's watermark)."""
    pages = list(w.connector.changed_since(object_type, watermark, FIELDS, {}))
    return [record.external_id for page in pages for record in page.records], str(pages[-1].watermark)


def update(w: World, id: str, **values: Any) -> Any:
    return w.connector.update(REPOSITORY, id, values, None, FIELDS)


def calls_of(w: World, act: Any) -> list[str]:
    before = len(w.app.requests)
    act()
    return w.calls(before)


def charged_of(w: World, act: Any) -> int:
    before = w.app.charged
    act()
    return w.app.charged - before


# Signing in ------------------------------------------------------------------------------------------------------


def test_a_wrong_token_says_so_and_is_kept_out_of_the_message(w):
    with pytest.raises(NeedsAuthorization) as caught:
        w.open(secrets={"token": "ghp_not-the-token"}).check()
    assert "Bad credentials" in caught.value.message and "ghp_not" not in caught.value.message


@pytest.fixture(scope="module")
def key() -> Any:
    made = rsa.generate_private_key(65537, 2048)
    return made, made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def as_app(w: World, key: Any, **settings: str) -> Any:
    w.records.account("sync[bot]", type="Bot")
    w.app.installed = {"id": "Iv1.abc", "slug": "sync", "installation": 42, "public_key": key[0].public_key()}
    given = {"sign_in": "app", "app_id": "Iv1.abc", **settings}
    return w.open(secrets={"private_key": key[1], "webhook_secret": SECRET}, **given)


@pytest.mark.parametrize("settings", [{}, {"installation_id": "42"}])
def test_an_app_signs_in_once_for_many_calls_and_acts_as_its_bot(w, key, settings):
    connector = as_app(w, key, **settings)
    found = connector.check()
    assert (found.account_name, found.missing, found.personal_account) == ("sync[bot]", [], False)
    made = connector.create(REPOSITORY, {"title": "By the app"}, "k", {}).record
    assert made.created_by == found.account_id
    assert w.tokens.renewals == 1


def test_an_apps_token_that_ended_is_renewed_and_the_call_sent_again(w, key):
    connector = as_app(w, key)
    id = w.issue()
    connector.get_many(REPOSITORY, [id], ["title"])
    w.app.tokens.pop(w.tokens.token["token"])
    assert connector.update(REPOSITORY, id, {"title": "After an hour"}, None, []).record.title == "After an hour"
    assert w.tokens.renewals == 2


@pytest.mark.parametrize(
    ("secret", "settings", "words"),
    [
        ("no key at all", {}, "PEM"),
        (None, {"installation_id": "43"}, "installation"),
        (None, {"installation_id": "acme"}, "no number"),
        (None, {"app_id": "another"}, "JSON web token"),
    ],
)
def test_an_app_that_cannot_sign_in_says_what_to_check(w, key, secret, settings, words):
    connector = as_app(w, (key[0], secret or key[1]), **settings)
    with pytest.raises(NeedsAuthorization) as caught:
        connector.get_many(REPOSITORY, ["1"], [])
    assert words in caught.value.message and (secret or key[1]) not in caught.value.message


def test_a_login_page_and_another_address_are_told_in_words(w):
    page = "<!DOCTYPE html><html><body>Sign in to your account</body></html>"
    w.app.fault("status", path="/issues", status=200, body=page)
    with pytest.raises(Retry) as caught:
        poll(w)
    assert "login page" in caught.value.message
    w.app.fault("status", path="/issues", status=302, headers={"Location": "https://sso.example/login"})
    with pytest.raises(Retry) as caught:
        poll(w)
    assert "https://sso.example/login" in caught.value.message and "connection" in caught.value.message


# The check -------------------------------------------------------------------------------------------------------


def test_a_check_names_account_limit_and_the_tokens_end(w):
    w.app.fault(
        "status",
        path="/rate_limit",
        status=200,
        body={},
        headers={
            "GitHub-Authentication-Token-Expiration": "2026-03-01 10:00:00 +0100",
        },
    )
    found = w.connector.check()
    assert found.account_name == "Sync Admin (syncadmin)"
    assert re.match(r"1000000000 calls an hour, of which \d+ are left", found.rate_limit)
    assert any("2026-03-01" in note for note in found.notes)
    assert abs(found.clock_offset or 0) < 2


def test_what_is_missing_is_named_for_each_repository(w):
    w.app.may_push = False
    w.records.put("repository", {**w.records.found(REPOSITORY), "archived": True})
    connector = w.open(repositories=f"{REPOSITORY}, acme/hidden")
    first, second, third = connector.check().missing
    assert "archived" in first and "Role Triage or Write" in second
    assert "acme/hidden" in third and "Nothing was read" in third


def test_an_account_with_work_assigned_seems_to_be_a_persons(w):
    w.issue(assignees=["syncadmin"])
    assert w.connector.check().personal_account


@pytest.mark.parametrize("named", ["", "app", "acme/app/more", "../app", "acme/.."])
def test_what_is_no_repository_is_said_before_anything_is_asked(w, named):
    connector = w.open(repositories=named)
    before = len(w.app.requests)
    with pytest.raises(NotAllowed):
        connector.get_many(named or "x", ["1"], [])
    assert len(w.app.requests) == before


def test_another_repository_under_the_old_name_stops_everything(w):
    id = w.issue()
    read(w, id)
    w.records.drop("repository", REPOSITORY)
    w.records.repository(REPOSITORY)
    w.issue()
    other = w.open()
    for act in (
        lambda: other.get_many(REPOSITORY, [id], []),
        lambda: other.delete(REPOSITORY, id),
        lambda: other.write_correlation_key(REPOSITORY, id, "k"),
    ):
        with pytest.raises(NotAllowed) as caught:
            act()
        assert "another repository" in caught.value.message


def test_a_repository_that_another_worker_meets_meanwhile_stays_known(w, monkeypatch):
    w.state.put("repositories", {"acme/other": 7})
    monkeypatch.setattr(w.state, "get", lambda key, default=None: default)  # as it was a moment before
    read(w, w.issue())
    assert set(w.state.kept["repositories"]) == {"acme/other", REPOSITORY}


def test_a_renamed_repository_is_followed_and_its_issues_stay(w):
    id = w.issue()
    w.records.rename(REPOSITORY, "acme/application")
    assert poll(w)[0] == [id]
    assert w.open().get_many(REPOSITORY, [id], ["title"])[id].title == "Printer on fire"
    assert update(w, id, title="Written").record.title == "Written"


# Reading ---------------------------------------------------------------------------------------------------------


def test_pull_requests_are_no_issues_wherever_they_are_listed(w):
    id = w.issue()
    pull = str(w.records.create(REPOSITORY, "ana-ruiz", {"title": "A change"}, pull_request=True)["number"])
    w.records.comment(w.stored(pull), "ana-ruiz", "Looks good")
    said = str(w.records.comment(w.stored(id), "ana-ruiz", "It burns")["id"])
    assert poll(w)[0] == [id]
    assert set(read(w, id, pull)) == {id}
    assert [one for page in w.connector.list_ids(REPOSITORY, {}) for one in page] == [id]
    assert w.connector.in_scope(REPOSITORY, [id, pull], {}) == {id}
    assert poll(w, object_type=COMMENTS)[0] == [said]
    assert [one for page in w.connector.list_ids(COMMENTS, {}) for one in page] == [said]


def test_comments_of_a_repository_called_pull_are_none_of_pull_requests(w):
    w.records.repository("acme/pull")
    id = w.records.create("acme/pull", "ana-ruiz", {"title": "Printer on fire"})["number"]
    issue = w.records.issue(w.records.found("acme/pull"), id)
    said = str(w.records.comment(issue, "ana-ruiz", "It burns")["id"])
    w.connector = w.open(repositories="acme/pull")
    assert poll(w, object_type="acme/pull/comments")[0] == [said]
    assert set(w.connector.get_many("acme/pull/comments", [said], ["body"])) == {said}


def test_a_scope_of_labels_needs_all_of_them_and_new_issues_get_them(w):
    scope = {"labels": "Customer, p1", "type": "Bug"}
    id = w.issue(labels=["customer", "P1", "more"], type="Bug")
    w.issue(labels=["customer"], type="Bug")
    w.issue(labels=["customer", "P1"], type="Feature")
    made = w.connector.create(REPOSITORY, {"title": "New", "labels": ["mine"]}, "k", scope).record.external_id
    assert w.connector.in_scope(REPOSITORY, ["1", "2", "3", made], scope) == {id, made}
    assert {r.external_id for page in w.connector.changed_since(REPOSITORY, None, [], scope) for r in page.records} == {
        id,
        made,
    }
    assert w.stored(made)["labels"] == ["customer", "mine", "P1"]


def test_a_transferred_issue_has_left_the_scope_and_is_not_deleted(w):
    other = w.records.repository("acme/other")
    id = w.issue()
    w.records.transfer(REPOSITORY, id, "acme/other", "ana-ruiz")
    record = read(w, id)[id]
    assert (record.external_id, record.key, record.deleted) == (id, "acme/other#1", False)
    assert w.connector.admits(REPOSITORY, record, {}) is False
    assert w.connector.in_scope(REPOSITORY, [id], {}) == set()
    assert w.connector.url_of(REPOSITORY, id, record.key) == f"{w.address}/acme/other/issues/1"
    with pytest.raises(Gone) as caught:
        update(w, id, title="Too late")
    assert not caught.value.certain and "transferred" in caught.value.message
    w.app.hidden.add(other["key"])
    assert w.open().get_many(REPOSITORY, [id], []) == {}


def test_an_issue_that_was_transferred_on_and_back_is_another_one_and_stops_no_other(w):
    w.records.repository("acme/other")
    w.records.repository("acme/third")
    id, other = w.issue(), w.issue(title="Another")
    there = w.records.transfer(REPOSITORY, id, "acme/other", "ana-ruiz")
    there = w.records.transfer("acme/other", there["number"], "acme/third", "ana-ruiz")
    found = read(w, id, other)
    assert (found[id].key, found[other].title) == ("acme/third#1", "Another")
    assert w.connector.in_scope(REPOSITORY, [id, other], {}) == {other}
    back = str(w.records.transfer("acme/third", there["number"], REPOSITORY, "ana-ruiz")["number"])
    assert read(w, id)[id].key == f"{REPOSITORY}#{back}"
    assert w.connector.in_scope(REPOSITORY, [id, other, back], {}) == {other, back}
    for act in (lambda: update(w, id, body="Too late"), lambda: w.connector.delete(REPOSITORY, id)):
        with pytest.raises(Gone, match="transferred"):
            act()
    assert w.connector.history(REPOSITORY, [id], ["title"], LONG_AGO) == {}


def test_deleted_is_certain_and_hidden_is_not(w):
    id = w.issue()
    w.records.remove(REPOSITORY, id, "ana-ruiz")
    found = read(w, id, "999")
    assert set(found) == {id} and found[id].deleted


def test_issues_that_are_turned_off_for_a_while_are_not_deleted(w):
    id = w.issue()
    said = str(w.records.comment(w.stored(id), "ana-ruiz", "It burns")["id"])
    w.records.put("repository", {**w.records.found(REPOSITORY), "has_issues": False})
    for act in (lambda: read(w, id), lambda: update(w, id, title="T"), lambda: w.connector.delete(REPOSITORY, id)):
        with pytest.raises(NotAllowed) as caught:
            act()
        assert "turned off" in caught.value.message
    w.records.put("repository", {**w.records.found(REPOSITORY), "has_issues": True})
    assert read(w, id)[id].title == "Printer on fire" and w.connector.children(COMMENTS, [id], [])[id]
    assert w.connector.get_many(COMMENTS, [said], [])


def test_an_issue_that_is_not_found_is_never_taken_for_deleted_and_one_that_is_gone_says_so(w):
    """GitHub answers 404 for one that was transferred to where our account may not see it, 410 for a deleted one."""
    assert w.connector.capabilities_of(REPOSITORY).not_found_tells_nothing
    assert not w.connector.capabilities_of(COMMENTS).not_found_tells_nothing


def test_a_page_full_of_one_second_is_read_to_its_end(w):
    now = time.time()
    w.app.now = lambda: now
    ids = {w.issue() for _ in range(260)}
    before = len(w.app.requests)
    found, watermark = poll(w)
    assert set(found) == ids and len(found) == 260
    assert len(w.app.requests) - before <= 4
    assert set(poll(w, watermark)[0]) == ids


def test_an_issue_that_leaves_a_full_second_while_it_is_read_hides_no_other(w):
    now = time.time() - 600
    w.app.now = lambda: now
    ids = [w.issue() for _ in range(150)]
    pages = w.connector.changed_since(REPOSITORY, None, [], {})
    found = [record.external_id for record in next(pages).records]
    w.app.now = lambda: now + 60
    for id in ids[:20]:
        w.records.edit(REPOSITORY, id, "ana-ruiz", {"title": "Edited"})
    found += [record.external_id for page in pages for record in page.records]
    assert set(found) == set(ids)


@pytest.mark.parametrize("link", ['<{base}/api/v3/repos/acme/app/issues?page=2>; rel="next"'])
def test_a_list_that_never_ends_is_noticed(w, link):
    id = w.issue()
    row = w.app.documents.issue(w.stored(id))
    headers = {"Link": link.format(base=w.address)}
    w.app.fault("status", path="/issues$", status=200, body=[row], headers=headers, times=99)
    for act in (lambda: poll(w), lambda: list(w.connector.list_ids(REPOSITORY, {}))):
        with pytest.raises(Retry) as caught:
            act()
        assert "does not go on" in caught.value.message


def test_a_list_in_another_order_is_not_gone_on_from(w):
    rows = [{**w.app.documents.issue(w.stored(w.issue())), "updated_at": f"2026-01-0{day}T00:00:00Z"} for day in (2, 1)]
    w.app.fault("status", path="/issues$", status=200, body=rows)
    with pytest.raises(Retry):
        poll(w)


def test_a_page_with_one_broken_issue_lets_the_others_flow(w):
    good, bad = w.issue(), w.issue()
    rows = [w.app.documents.issue(w.stored(good)), {**w.app.documents.issue(w.stored(bad)), "updated_at": "soon"}]
    w.app.fault("status", path="/issues$", status=200, body=rows)
    assert poll(w)[0] == [good, bad]
    w.app.fault("status", path=f"/issues/{bad}$", status=200, body={"number": int(bad), "title": 7, "labels": None})
    assert read(w, bad)[bad].unreadable == {"title", "body", "labels", "state", "assignee"}
    assert read(w, good)[good].title == "Printer on fire"


def test_an_id_of_another_type_is_no_issue(w):
    id = w.issue()
    for odd in ({"number": id}, {"number": [1]}, {"number": True}, {"number": int(id) + 1}):
        w.app.fault("status", path=f"/issues/{id}$", status=200, body=odd)
        with pytest.raises(Retry):
            w.open().get_many(REPOSITORY, [id], [])


def test_an_issue_of_ten_megabytes_is_read_and_not_kept(w):
    id = w.issue()
    row = {**w.app.documents.issue(w.stored(id)), "body": "x" * 10_000_000}
    w.app.fault("status", path=f"/issues/{id}$", status=200, body=row, headers={"ETag": 'W/"1"'})
    assert len(str(read(w, id)[id].values["body"])) == 10_000_000
    assert read(w, id)[id].values["body"] is None


# What costs nothing ----------------------------------------------------------------------------------------------


def test_an_idle_poll_is_not_counted_also_with_the_long_look_back_and_in_another_process(w):
    for _ in range(3):
        w.issue()
    shift, able = w.connector.shift_watermark, w.connector.capabilities
    watermark = poll(w)[1]
    for seconds in (able.overlap, 2 * able.lookback):  # the first time each question is asked
        watermark = poll(w, shift(watermark, seconds))[1]
    w.connector = w.open()  # knows nothing but the watermark
    for seconds in (able.overlap, 2 * able.lookback, able.overlap):
        before = w.app.charged
        ids, watermark = poll(w, shift(watermark, seconds))
        assert (ids, w.app.charged - before) == ([], 0)
    id = w.issue()
    assert id in poll(w, shift(watermark, able.overlap))[0]


def test_what_comes_after_a_full_page_is_seen_though_the_page_is_the_same(w):
    """An ETag is one of a page's rows: that another page follows does not change it."""
    id = w.issue()
    for number in range(100):
        w.records.comment(w.stored(id), "ana-ruiz", f"Comment {number}")
    assert len(w.connector.children(COMMENTS, [id], [])[id]) == 100
    w.records.comment(w.stored(id), "ana-ruiz", "One more")
    assert len(w.connector.children(COMMENTS, [id], [])[id]) == 101


def test_a_change_behind_a_full_page_is_found_by_the_next_poll(w):
    start = time.time()
    w.app.now = lambda: start
    for _ in range(100):
        w.issue()
    back = w.connector.capabilities.overlap
    watermark = poll(w, w.connector.shift_watermark(poll(w)[1], back))[1]
    w.app.now = lambda: start + 1
    id = w.issue()
    assert id in poll(w, w.connector.shift_watermark(watermark, back))[0]


def test_the_newest_events_are_read_though_the_first_page_is_the_same(w):
    id = w.issue()
    for number in range(150):
        w.records.edit(REPOSITORY, id, "ana-ruiz", {"title": f"Title {number}"})
    w.connector.site.newest(REPOSITORY, "issues", id, "events")
    for number in range(150, 220):
        w.records.edit(REPOSITORY, id, "ana-ruiz", {"title": f"Title {number}"})
    assert w.connector.site.newest(REPOSITORY, "issues", id, "events")[-1]["rename"]["to"] == "Title 219"


def test_a_tag_answers_only_the_reader_who_has_the_position(w):
    """Another mapping at an older position must see what this one has taken over."""
    id = w.issue()
    older = poll(w)[1]
    w.records.edit(REPOSITORY, id, "ana-ruiz", {"title": "Edited"})
    newer = poll(w, w.connector.shift_watermark(older, 10))[1]
    poll(w, w.connector.shift_watermark(newer, 10))
    assert poll(w, w.connector.shift_watermark(older, 10))[0] == [id]


def test_an_issue_that_did_not_change_is_read_again_for_nothing(w):
    id = w.issue()
    first = read(w, id)[id]
    assert charged_of(w, lambda: read(w, id)) == 0
    w.records.edit(REPOSITORY, id, "ana-ruiz", {"title": "Edited"})
    assert read(w, id)[id].title == "Edited" != first.title


def test_looking_again_at_the_fields_costs_nothing_while_they_are_the_same(w):
    w.records.milestone(REPOSITORY, "1.0")
    w.connector.fields(REPOSITORY, {})
    assert charged_of(w, lambda: w.connector.fields(REPOSITORY, {})) == 0
    w.records.milestone(REPOSITORY, "2.0")
    [milestone] = [one for one in w.connector.fields(REPOSITORY, {}) if one.path == "milestone"]
    assert [option.value for option in milestone.options] == ["1.0", "2.0"]


def test_limits_make_the_connection_wait(w):
    id = w.issue()
    read(w, id)
    w.app.writes_a_minute = 0
    with pytest.raises(RateLimited) as caught:
        update(w, id, title="Now")
    assert caught.value.after == 60
    w.app.hourly_limit = 0
    with pytest.raises(RateLimited) as caught:
        poll(w)
    assert 1 <= caught.value.after <= 3600
    assert w.stored(id)["title"] == "Printer on fire"


# Writing ---------------------------------------------------------------------------------------------------------


def test_an_edit_of_the_text_keeps_the_hidden_mark_and_tells_what_it_replaced(w):
    made = w.connector.create(REPOSITORY, {"title": "T", "body": "one"}, "key-1", {}).record
    assert (made.values["body"], made.correlation_key) == ("one", "key-1")
    w.records.edit(REPOSITORY, made.external_id, "ana-ruiz", {"body": w.stored(made.external_id)["body"] + "\r\ntwo"})
    result = update(w, made.external_id, body="three")
    assert (result.record.values["body"], result.record.correlation_key) == ("three", "key-1")
    assert result.replaced == {"body": "one\ntwo"}
    assert w.stored(made.external_id)["body"] == "three\n\n<!-- syncadmin:key-1 -->"


def test_closing_takes_a_reason_and_reopening_loses_it(w):
    id = w.issue()
    closed = update(w, id, state="Closed", state_reason="Not planned").record
    assert (closed.values["state"], closed.values["state_reason"]) == ("Closed", "Not planned")
    opened = update(w, id, state="Open", state_reason=None).record
    assert (opened.values["state"], opened.values["state_reason"]) == ("Open", None)
    assert update(w, id, state="closed").record.values["state_reason"] == "Completed"


@pytest.mark.parametrize(
    "values",
    [{"state_reason": "Not planned"}, {"state": "Closed", "state_reason": "Duplicate"}, {"state_reason": None}],
)
def test_a_reason_that_github_would_ignore_is_refused_by_name(w, values):
    id = w.issue()
    update(w, id, state="Closed")
    with pytest.raises(Refused) as caught:
        update(w, id, **values)
    assert set(caught.value.fields) == {"state_reason"}
    assert update(w, id, state="Closed", state_reason="Completed").record.values["state"] == "Closed"


def test_several_assignees_are_written_together_and_never_lost_by_a_single_one(w):
    id = w.issue()
    both = sorted(["ana@acme.example", f"id:{w.ben['id']}"])
    assert update(w, id, assignees=both).record.values["assignee"] in both
    assert w.stored(id)["assignees"] and len(w.stored(id)["assignees"]) == 2
    with pytest.raises(Refused) as caught:
        update(w, id, assignee="ana@acme.example")
    assert set(caught.value.fields) == {"assignee"}
    assert update(w, id, assignees=both[:1]).record.values["assignee"] == both[0]


def test_people_who_hide_their_address_are_told_by_id_and_others_by_address(w):
    assert w.connector.people("BEN") == [(f"id:{w.ben['id']}", "ben")]
    assert w.connector.people("ana") == [("ana@acme.example", "ana-ruiz")]
    with pytest.raises(Refused) as caught:
        update(w, w.issue(), assignee="gil@acme.example")
    assert "assigned to gil" in caught.value.message


def test_people_keep_their_address_where_what_is_known_of_them_ends_in_the_middle_of_the_look(w, monkeypatch):
    id = w.issue(assignees=["ana-ruiz"])
    ask = w.connector.site.read

    def forgetting(path: str, **more: Any) -> Any:
        answer = ask(path, **more)
        w.connector.site.forget()
        return answer

    monkeypatch.setattr(w.connector.site, "read", forgetting)
    assert read(w, id)[id].values["assignee"] == "ana@acme.example"


def test_labels_and_people_that_github_drops_unsaid_are_noticed(w):
    id = w.connector.create(REPOSITORY, {"title": "Ours"}, "k", {}).record.external_id
    w.app.may_push = False
    for values in ({"labels": ["bug"]}, {"assignee": "ana@acme.example"}, {"type": "Bug"}):
        with pytest.raises(Refused) as caught:
            update(w, id, **values)
        assert set(values) <= set(caught.value.fields)
    both = update(w, id, type="Bug", title="Both")
    assert (dict(both.on_the_way), both.record.values["title"]) == ({"type": None}, "Both")
    assert w.stored(id)["title"] == "Both"


def test_a_label_in_another_case_is_the_label_there_is(w):
    id = w.issue(labels=["Bug"])
    assert update(w, id, labels=["bug", "new"]).record.values["labels"] == ["Bug", "new"]


def test_a_refusal_names_every_field_at_once(w):
    bad = {"title": " ", "milestone": "9.9", "type": "Epic", "labels": ["x" * 51], "number": 5, "state": "ajar"}
    with pytest.raises(Refused) as caught:
        update(w, w.issue(), **bad)
    assert set(caught.value.fields) == set(bad)


def test_a_milestone_made_after_we_looked_is_found(w):
    id = w.issue()
    w.connector.fields(REPOSITORY, {})
    w.records.milestone(REPOSITORY, "2.0")
    assert update(w, id, milestone="2.0").record.values["milestone"] == "2.0"


def test_deleting_needs_an_administrator_and_says_so(w):
    id = w.issue()
    w.app.may_push = False
    with pytest.raises(NotAllowed) as caught:
        w.connector.delete(REPOSITORY, id)
    assert "administrator" in caught.value.message and id in {str(d["number"]) for d in w.records.all("issue")}
    w.app.may_push = True
    w.connector.delete(REPOSITORY, id)
    assert read(w, id)[id].deleted


@pytest.mark.parametrize(
    ("error", "kind"), [({"type": "RATE_LIMITED"}, RateLimited), ({"message": "Something went wrong"}, Uncertain)]
)
def test_a_deletion_that_is_to_wait_or_may_have_happened_is_not_told_as_forbidden(w, monkeypatch, error, kind):
    id = w.issue()
    ask = w.connector.site.call

    def told(method: str, path: str, **more: Any) -> Any:
        if not path.endswith("/graphql"):
            return ask(method, path, **more)
        return replace(ask("GET", "/rate_limit"), json={"data": None, "errors": [{"message": "x", **error}]})

    monkeypatch.setattr(w.connector.site, "call", told)
    with pytest.raises(kind):
        w.connector.delete(REPOSITORY, id)


def test_what_cannot_be_read_back_after_a_write_is_uncertain(w):
    id = w.issue(assignees=["ben"])
    w.app.fault("status", path="/users/", status=500, times=9)
    with pytest.raises(Uncertain):
        update(w, id, title="Written")
    assert w.stored(id)["title"] == "Written"


# Comments --------------------------------------------------------------------------------------------------------


def test_comments_are_made_edited_and_deleted_and_keep_their_mark(w):
    id = w.issue()
    made = w.connector.create(COMMENTS, {"body": "one"}, "c-1", {}, id).record
    assert (made.parent_id, made.correlation_key, made.values["body"]) == (id, "c-1", "one")
    result = w.connector.update(COMMENTS, made.external_id, {"body": "two"}, None, ["body"])
    assert (result.record.values["body"], result.record.correlation_key) == ("two", "c-1")
    assert result.replaced == {"body": "one"} and result.record.version != made.version
    [found] = w.connector.find_by_correlation_key(COMMENTS, ["c-1"], ["body"], {})["c-1"]
    assert found == w.connector.get_many(COMMENTS, [made.external_id], ["body"])[made.external_id]
    assert [r.external_id for r in w.connector.own_recent(COMMENTS, LONG_AGO, [], {})] == [made.external_id]
    assert w.connector.url_of(COMMENTS, made.external_id, made.key).endswith(
        f"/{REPOSITORY}/issues/{id}#issuecomment-{made.external_id}"
    )
    w.connector.delete(COMMENTS, made.external_id)
    assert w.connector.get_many(COMMENTS, [made.external_id], []) == {}
    with pytest.raises(Gone):
        w.connector.update(COMMENTS, made.external_id, {"body": "three"}, None, [])


def test_an_edited_comment_is_listed_as_a_change(w):
    id = w.issue()
    now = time.time()
    w.app.now = lambda: now - 100
    one, two = (w.records.comment(w.stored(id), "ana-ruiz", text) for text in ("one", "two"))
    watermark = poll(w, object_type=COMMENTS)[1]
    w.app.now = lambda: now
    w.records.edit_comment(one, "ana-ruiz", "one, edited")
    assert poll(w, w.connector.shift_watermark(watermark, -2), COMMENTS)[0] == [str(one["id"])]
    assert two["id"]


@pytest.mark.parametrize(
    "values", [{"body": None}, {"body": " "}, {"body": "x", "author": "y"}, {"body": "x" * 70_000}]
)
def test_a_comment_that_cannot_be_is_refused_by_name(w, values):
    with pytest.raises(Refused) as caught:
        w.connector.create(COMMENTS, values, "k", {}, w.issue())
    assert caught.value.fields


# History ---------------------------------------------------------------------------------------------------------


def test_history_tells_sets_as_one_change_and_what_does_not_fit_not_at_all(w):
    now = time.time() - 100
    w.app.now = lambda: now
    id = w.issue(labels=["a", "b"])
    w.app.now = lambda: now + 10
    w.records.edit(REPOSITORY, id, "ana-ruiz", {"labels": ["c"], "state": "closed"})
    told = w.connector.history(
        REPOSITORY, [id], ["labels", "state"], w.connector.shift_watermark(read(w, id)[id].updated_at, 5)
    )[id]
    assert [(c.field, c.before, c.after, c.by_name) for c in told] == [
        ("labels", ["a", "b"], ["c"], "ana-ruiz"),
        ("state", "Open", "Closed", "ana-ruiz"),
    ]
    w.records.put("issue", {**w.stored(id), "labels": []})  # as if an event were missing
    [change] = w.open().history(REPOSITORY, [id], ["labels"], told[0].at)[id]
    assert (change.before, change.after) == (None, None)


# Webhooks --------------------------------------------------------------------------------------------------------


def test_the_webhook_is_made_once_changed_later_and_removed(w):
    w.connector.subscribe([REPOSITORY, COMMENTS], {}, HOOK)
    [hook] = w.records.all("hook")
    assert (hook["events"], hook["config"]["content_type"], hook["config"]["secret"]) == (
        ["issues", "issue_comment"],
        "json",
        SECRET,
    )
    w.open().subscribe([REPOSITORY], {}, HOOK)
    assert len(w.records.all("hook")) == 1
    w.connector.unsubscribe()
    assert w.records.all("hook") == []


def test_without_the_right_or_a_secret_nothing_is_registered_and_the_way_by_hand_is_told(w):
    w.app.may_hook = False
    with pytest.raises(NotAllowed, match="may not make webhooks in"):
        w.connector.subscribe([REPOSITORY], {}, HOOK)
    with pytest.raises(Refused, match="Set a webhook secret"):
        w.open(secrets={"token": TOKEN}).subscribe([REPOSITORY], {}, HOOK)
    assert w.records.all("hook") == []
    steps = w.connector.steps_by_hand([REPOSITORY, COMMENTS], {}, HOOK)
    assert "Settings → Webhooks" in steps[0].text and REPOSITORY in steps[0].code
    assert [step.code for step in steps].count(HOOK) == 1
    assert not any(SECRET in step.text + step.code for step in steps)


def test_the_delivery_of_our_own_write_names_the_version_we_read_back(w):
    w.connector.check()
    w.connector.subscribe([REPOSITORY], {}, "http://127.0.0.1:9/nobody")
    id = w.issue()
    w.app.webhooks.sent.clear()
    record = update(w, id, title="Ours", labels=["x"]).record
    for _, headers, body in w.app.webhooks.sent:
        request = DeliveryRequest("POST", "/", {name.lower(): value for name, value in headers.items()}, body)
        [hint] = w.connector.parse_delivery(request).hints
        assert (hint.version, hint.own_account, hint.verified) == (record.version, True, True)
    assert len(w.app.webhooks.sent) == 2


def test_a_repository_rings_under_its_new_name_and_another_one_under_the_old_name_does_not(w):
    id = w.issue()
    read(w, id)
    w.connector.subscribe([REPOSITORY], {}, "http://127.0.0.1:9/nobody")

    def rung(repository: str) -> list[str]:
        w.app.webhooks.sent.clear()
        number = w.records.create(repository, "ana-ruiz", {"title": "New"})["number"]
        w.records.edit(repository, number, "ana-ruiz", {"title": "Edited"})
        found = []
        for _, headers, body in w.app.webhooks.sent:
            request = DeliveryRequest("POST", "/", {name.lower(): value for name, value in headers.items()}, body)
            found += [hint.object_type for hint in w.open().parse_delivery(request).hints]
        return found

    w.records.rename(REPOSITORY, "acme/application")
    assert set(rung("acme/application")) == {REPOSITORY}
    w.records.repository(REPOSITORY, ["ana-ruiz"])
    w.open().subscribe([REPOSITORY], {}, "http://127.0.0.1:9/nobody")
    assert not rung(REPOSITORY)


# What it costs ---------------------------------------------------------------------------------------------------


def test_the_calls_of_a_live_change_a_poll_and_a_backfill(w):
    ids = [w.issue() for _ in range(1000)]
    assert len(calls_of(w, lambda: poll(w))) <= 14
    id = ids[0]
    read(w, id)
    w.records.edit(REPOSITORY, id, "ana-ruiz", {"title": "Edited"})
    assert len(calls_of(w, lambda: read(w, id))) == 1  # a live change found
    w.connector.site.my_id()
    assert len(calls_of(w, lambda: update(w, id, title="Ours"))) == 2  # a live change brought, and what it replaced
    assert charged_of(w, lambda: update(w, id, body="Ours")) <= 2  # a look before, and the write
