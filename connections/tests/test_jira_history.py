"""What Jira's changelog tells of sets, and what a write says of itself once Jira has taken it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connections.connectors.base import Record, Uncertain
from connections.connectors.jira import Jira
from connections.connectors.jira_values import history_value, spec_of
from connections.sandbox.base import Request, Response
from connections.tests.jira_client import CheckedJira, jira_site_running, new_issue

REGIONS = "customfield_10054"  # EU, US or Asia
ANA = "ana@acme.example"


@pytest.fixture
def site():
    with jira_site_running() as (standin, jira):
        standin.add_parts("components", ["API", "DB", "UI"])
        standin.add_parts("fixVersions", ["1.0", "2.0"])
        jira.check()
        yield standin, jira


def read(jira: Jira, id: str, *paths: str) -> Record:
    return jira.get_many("issue", [id], paths)[id]


# What a write replaced


@pytest.mark.parametrize(
    ("path", "read_by_us", "by_ana", "by_us"),
    [
        (REGIONS, ["EU"], ["EU", "US"], ["Asia", "EU"]),
        (REGIONS, ["EU"], [], ["Asia", "EU"]),
        (REGIONS, ["EU"], ["Asia", "US"], []),
        ("labels", ["a"], ["a", "b"], ["c"]),
        ("components", ["API"], ["API", "UI"], ["API", "DB"]),
        ("components", ["API"], [], ["API", "DB"]),
        ("components", ["API"], ["DB", "UI"], []),
        ("fixVersions", [], ["1.0", "2.0"], ["1.0"]),
    ],
)
def test_the_overwritten_edit_of_a_set_is_told_as_the_whole_set(site, path, read_by_us, by_ana, by_us):
    standin, jira = site
    issue = new_issue(standin, **{path: read_by_us})
    seen = read(jira, issue["id"], path)
    assert seen.values[path] == read_by_us
    standin.edit(issue["key"], ANA, **{path: by_ana})
    written = jira.update("issue", issue["id"], {path: by_us}, seen.version, [path])
    assert written.replaced == {path: by_ana}
    restored = jira.update("issue", issue["id"], written.replaced, written.record.version, [path])
    assert restored.record.values[path] == by_ana, "what was told can be written back"


def test_an_overwritten_person_is_told_as_a_read_tells_them(site):
    standin, jira = site
    issue = new_issue(standin)
    seen = read(jira, issue["id"], "assignee")
    standin.edit(issue["key"], ANA, assignee="ben@acme.example")
    written = jira.update("issue", issue["id"], {"assignee": ANA}, seen.version, ["assignee"])
    assert written.replaced == {"assignee": "ben@acme.example"}


# What a changelog tells


@pytest.mark.parametrize("path", [REGIONS, "labels", "components"])
def test_the_history_of_a_set_tells_whole_sets_one_change_for_each_edit(site, path):
    first, second, third = (["a", "b"], ["b", "c"], []) if path == "labels" else (
        (["EU", "US"], ["Asia", "US"], []) if path == REGIONS else (["API", "UI"], ["DB", "UI"], [])
    )  # fmt: skip
    standin, jira = site
    issue = new_issue(standin, **{path: first})
    start = read(jira, issue["id"], path).version
    for value in (second, third, first):
        standin.edit(issue["key"], ANA, **{path: value})
    told = jira.history("issue", [issue["id"]], [path], start)[issue["id"]]
    assert [(change.before, change.after) for change in told] == [(first, second), (second, third), (third, first)]


def test_changes_of_members_that_do_not_lead_to_what_the_issue_holds_are_told_without_values(site):
    standin, jira = site
    issue = new_issue(standin, components=["API"])
    start = read(jira, issue["id"], "components").version
    standin.edit(issue["key"], ANA, components=["API", "UI"])
    standin.edit(issue["key"], ANA, components=["API", "DB"])
    standin.edit(issue["key"], ANA, components=["API"])
    newest = standin.site.entries_of[issue["id"]][-1]["items"][0]
    middle = standin.site.entries_of[issue["id"]][1]["items"][0]
    assert (newest["fromString"], middle["fromString"]) == ("DB", "UI")
    middle["fromString"] = "User interface"  # the name it had before somebody renamed it
    standin.site.entries_of[issue["id"]][0]["items"][0]["toString"] = "UI"
    told = jira.history("issue", [issue["id"]], ["components"], start)[issue["id"]]
    assert [(change.before, change.after) for change in told] == [
        (None, None),
        (["API", "User interface"], ["API", "DB"]),
        (["API", "DB"], ["API"]),
    ]


def test_what_cannot_be_told_of_an_overwritten_set_is_left_out_and_the_write_told_as_written(site):
    standin, jira = site
    issue = new_issue(standin, components=["API"])
    seen = read(jira, issue["id"], "components")
    standin.edit(issue["key"], ANA, components=["API", "UI"])
    real = standin.handle

    def handle(request: Request) -> Response:
        answer = real(request)
        if request.method == "PUT":
            answer.body["changelog"]["histories"][0]["items"] = [{"fieldId": "components"}, None, "odd"]
        return answer

    standin.handle = handle
    written = jira.update("issue", issue["id"], {"components": ["DB"], "summary": "x"}, seen.version, ["components"])
    assert written.record.values["components"] == ["DB"]
    assert written.replaced == {}
    standin.handle = real
    standin.objections.clear()  # of the broken items


MULTISELECT = {
    "type": "array",
    "items": "option",
    "custom": "com.atlassian.jira.plugin.system.customfieldtypes:multiselect",
}


@pytest.mark.parametrize(
    ("ids", "shown", "value"),
    [
        (None, None, []),
        ("", "", []),
        ("[]", "", []),
        ("[10244]", "Supply", ["Supply"]),
        ("[10218, 10244]", "Supply,Fulfilment", ["Fulfilment", "Supply"]),
        ("[10218]", "Supply, fast", ["Supply, fast"]),
        ("[10218]", "1,000", ["1,000"]),
        ("[10218, 10244]", "Supply, fast,Fulfilment", ["Fulfilment", "Supply, fast"]),
        (None, "Supply", ["Supply"]),
        ("[10218, 10244]", "1,000,Supply", None),  # three names, or two of which one holds a comma
        ("[10218, 10244]", "Supply", None),
        ("[10218]", "", None),
        (None, "Supply,Fulfilment", None),
        ("[a, b]", "[a, b]", None),
    ],
)
def test_joined_names_are_told_apart_by_the_count_of_their_ids_or_not_at_all(ids, shown, value):
    spec = spec_of({"id": "customfield_1", "name": "Teams", "schema": MULTISELECT})
    assert history_value(spec, ids, shown) == value


def test_a_list_of_texts_of_an_app_is_not_taken_for_labels():
    """An app joins its texts as it likes, and they may hold spaces."""
    schema = {"type": "array", "items": "string", "custom": "com.example.app:list"}
    spec = spec_of({"id": "customfield_1", "name": "Tags", "schema": schema})
    assert history_value(spec, None, "two words, three") is None
    labels = {**schema, "custom": "com.atlassian.jira.plugin.system.customfieldtypes:labels"}
    assert history_value(spec_of({"id": "customfield_1", "schema": labels}), None, "b a") == ["a", "b"]


# What was written is told as written


def metadata_lost_with_the_write(standin: CheckedJira, jira: Jira, method: str, path: str = "") -> None:
    """While this write is under way, what we knew of the site's fields and people gets old, and no more is told."""
    real, refusing = standin.handle, []

    def handle(request: Request) -> Response:
        if refusing and request.method == "GET":
            return Response(429, {}, {"Retry-After": "5"})
        if request.method == method and request.path.endswith(path):
            jira.site._cache.clear()
            refusing.append(True)
        return real(request)

    standin.handle = handle


def test_an_edit_that_jira_took_is_told_as_written_with_what_it_replaced_though_nothing_more_can_be_asked(site):
    standin, jira = site
    issue = new_issue(standin)
    paths = ["summary", "assignee", REGIONS]
    seen = read(jira, issue["id"], *paths)
    standin.edit(issue["key"], ANA, summary="Ana's", assignee="ben@acme.example")
    metadata_lost_with_the_write(standin, jira, "PUT")
    values: dict[str, Any] = {"summary": "Ours", "assignee": "id:acc-hal"}
    written = jira.update("issue", issue["id"], values, seen.version, paths)
    assert (written.record.values["summary"], written.record.values[REGIONS]) == ("Ours", [])
    assert written.replaced == {"summary": "Ana's", "assignee": "id:acc-ben"}, "the person as the changelog has them"


def test_a_step_that_jira_took_is_told_as_taken_though_nothing_more_can_be_asked(site):
    standin, jira = site
    issue = new_issue(standin)
    metadata_lost_with_the_write(standin, jira, "POST", "/transitions")
    written = jira.update("issue", issue["id"], {"status": "In Progress"}, None, ["status", "labels"])
    assert written.record.values == {"status": "In Progress", "labels": []}


def test_an_edit_answered_without_the_issue_is_read_back_and_told_as_written_where_that_fails(site):
    standin, jira = site
    issue = new_issue(standin)
    standin.fault("status", path="bulkfetch", status=503)
    real = standin.handle

    def handle(request: Request) -> Response:
        answer = real(request)
        return Response(204) if request.method == "PUT" else answer

    standin.handle = handle
    written = jira.update("issue", issue["id"], {"summary": "Ours"}, None, ["summary"])
    assert (written.record.external_id, written.record.version, written.record.values) == (issue["id"], "", {})


def test_a_write_taken_as_that_of_a_stranger_is_not_told_as_not_done(site):
    """Where a site lets strangers write, Jira takes a write whose sign-in failed."""
    standin, jira = site
    issue = new_issue(standin)
    jira.site.specs()
    real = standin.handle

    def handle(request: Request) -> Response:
        answer = real(request)
        answer.headers["X-Seraph-LoginReason"] = "AUTHENTICATED_FAILED"
        return answer

    standin.handle = handle
    with pytest.raises(Uncertain, match="stranger"):
        jira.update("issue", issue["id"], {"summary": "Ours"}, None, ["summary"])


@pytest.mark.parametrize("status", [303, 502])
def test_a_failure_that_calls_us_a_stranger_leaves_a_write_open(site, status):
    standin, jira = site
    issue = new_issue(standin)
    jira.site.specs()
    headers = {"X-Seraph-LoginReason": "AUTHENTICATED_FAILED", "Location": "/login.jsp"}
    standin.fault("status", path="/issue/", status=status, headers=headers, body="<html>Log in</html>", times=9)
    with pytest.raises(Uncertain):
        jira.update("issue", issue["id"], {"summary": "Ours"}, None, ["summary"])


def test_a_comment_answered_in_another_form_is_not_told_as_not_written(site):
    standin, jira = site
    issue = new_issue(standin)
    body = {"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": [{"type": "text", "text": "x"}]}]}
    ours = jira.create("comment", {"body": body}, "key-c", {}, parent_id=issue["id"]).record.external_id
    real = standin.handle

    def handle(request: Request) -> Response:
        answer = real(request)
        return Response(200, {}) if request.method == "PUT" else answer

    standin.handle = handle
    with pytest.raises(Uncertain):
        jira.update("comment", ours, {"body": body}, None, ["body"])
    standin.handle = real
    standin.objections.clear()  # of the form that the test made up
    assert "x" in json.dumps(jira.get_many("comment", [ours], ["body"])[ours].values)
