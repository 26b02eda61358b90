"""The Jira stand-in answers as the vendor's description and recorded answers say, and hurts where Jira does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlencode

import pytest

from connections.sandbox import jira_jql
from connections.sandbox.base import Request, Server
from connections.sandbox.jira import JiraStandin
from connections.sandbox.jira_documents import to_wiki
from connections.sandbox.jira_editor import from_text, to_text
from connections.sandbox.jira_fields import Refusal
from connections.tests.evidence import (
    EVIDENCE,
    check_answer,
    check_request,
    needs_evidence,
    payload,
    payload_body,
    same_shape,
)

HAS_EVIDENCE = (EVIDENCE / "specs").is_dir()
START = 1_767_225_600.0  # 2026-01-01T00:00:00Z


class Clock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> float:
        return self.time


class Client:
    """Calls the stand-in in process; every exchange is checked against the API description."""

    def __init__(self, standin, email="bot@example.com", token="secret") -> None:
        self.standin = standin
        self.login = "Basic " + base64.b64encode(f"{email}:{token}".encode()).decode()

    def call(self, method, path, query=None, body=None, described=True):
        path = path if path.startswith("/rest") else "/rest/api/3/" + path
        lists = parse_qs(urlencode(query or {}, doseq=True), keep_blank_values=True)
        headers = {"authorization": self.login, "host": "jira.test", "content-type": "application/json"}
        text = b"" if body is None else json.dumps(body).encode()
        request = Request(method, path, {k: v[-1] for k, v in lists.items()}, headers, text, lists)
        response = self.standin.handle(request)
        if described and HAS_EVIDENCE:
            check_request("jira_cloud", method, path, query, headers, body)
            check_answer("jira_cloud", method, path, response.status, response.body)
        json.dumps(response.body)
        return response

    def get(self, path, described=True, **query):
        return self.call("GET", path, query, described=described)

    def post(self, path, body, described=True):
        return self.call("POST", path, None, body, described)

    def put(self, path, body, described=True, **query):
        return self.call("PUT", path, query, body, described)

    def search(self, jql, **more):
        response = self.post("search/jql", {"jql": jql, "fields": ["summary", "updated"], **more})
        assert response.status == 200, response.body
        return [i["key"] for i in response.body["issues"]]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def jira(clock):
    standin = JiraStandin(now=clock, base_url="http://jira.test")
    standin.create_user("Ann Lee", "ann@example.com", account_id="ann", time_zone="America/New_York")
    standin.create_user("Bob Ray", "bob@example.com", account_id="bob")
    standin.create_user("Gone Guy", "gone@example.com", account_id="gone", active=False)
    standin.create_user("SyncAdmin", "bot@example.com", "secret", account_id="bot")
    standin.create_project("SUP", "Support", lead="ann")
    standin.create_project("OPS", "Operations")
    standin.add_field("Severity", "option", ["S1", "S2"], field_id="customfield_10201")
    standin.add_field("Areas", "options", ["API", "UI"], field_id="customfield_10202")
    standin.add_field("Points", "number", field_id="customfield_10203")
    standin.add_field("Case number", "line", field_id="customfield_10204")
    standin.add_field("Origin", "line", field_id="customfield_10205", writable=False)
    standin.add_field("Owner", "user", field_id="customfield_10206")
    standin.add_field("Go live", "day", field_id="customfield_10207")
    return standin


@pytest.fixture
def api(jira):
    return Client(jira)


def doc(*texts):
    content = [{"type": "paragraph", "content": [{"type": "text", "text": t}]} for t in texts]
    return {"type": "doc", "version": 1, "content": content}


def fields(**more):
    return {"project": {"key": "SUP"}, "issuetype": {"name": "Task"}, "summary": "A printer", **more}


# ---- login, site, metadata ---------------------------------------------------------------------------------


def test_a_wrong_token_is_answered_with_text(jira):
    response = Client(jira, token="wrong").get("myself")
    assert response.status == 401
    assert response.headers["Content-Type"] == "text/plain"
    assert isinstance(response.body, str)


def test_a_deactivated_account_cannot_log_in(jira, api):
    jira.update_user("bot", active=False)
    assert api.get("myself").status == 401


@needs_evidence
def test_server_info_has_the_recorded_shape_and_follows_the_clock_offset(jira, api):
    info = api.get("serverInfo").body
    assert same_shape(payload_body("jira/serverinfo"), info, missing=True) == []
    jira.clock_offset = 90
    assert info["serverTime"] == "2026-01-01T00:00:00.000+0000"
    assert api.get("serverInfo").body["serverTime"] == "2026-01-01T00:01:30.000+0000"


@needs_evidence
def test_fields_have_the_recorded_shape(api):
    recorded = payload_body("jira/fields_metadata")
    answered = {f["id"]: f for f in api.get("field").body}
    for one in recorded:
        if one["id"] in answered and "schema" in one:
            assert same_shape(one, answered[one["id"]], missing=True) == []
    assert answered["customfield_10203"]["clauseNames"] == ["cf[10203]", "Points"]
    assert same_shape(next(f for f in recorded if f["custom"]), answered["customfield_10203"], missing=True) == []


METADATA = """
myself project/search project/SUP project/SUP/statuses issuetype priority priority/search resolution/search status
statuscategory field field/search users/search issue/createmeta/SUP/issuetypes
issue/createmeta/SUP/issuetypes/10002
"""


@pytest.mark.parametrize("path", METADATA.split())
def test_metadata_answers_as_described(api, path):
    response = api.get(path)
    assert response.status == 200
    assert response.body


def test_a_project_without_components_and_versions_lists_none(api):
    assert api.get("project/SUP/components").body == []
    assert api.get("project/SUP/versions").body == []


def test_statuses_of_a_project_are_those_of_its_workflow(api):
    names = {s["name"] for s in api.get("project/SUP/statuses").body[0]["statuses"]}
    assert names == {"To Do", "In Progress", "In Review", "Blocked", "Done"}


@needs_evidence
def test_an_unknown_project_is_refused_as_recorded(api):
    recorded = payload("jira/project_not_found")["response"]
    response = api.get("project/PROJECTNAMEBAD")
    assert (response.status, response.body) == (recorded["status"], recorded["body"])


def test_createmeta_tells_options_and_required_fields(api):
    metas = {m["fieldId"]: m for m in api.get("issue/createmeta/SUP/issuetypes/10002").body["fields"]}
    assert [o["value"] for o in metas["customfield_10201"]["allowedValues"]] == ["S1", "S2"]
    assert metas["summary"]["required"]
    assert "customfield_10205" not in metas


# ---- people -------------------------------------------------------------------------------------------------


def test_users_are_listed_with_inactive_ones(api):
    listed = {u["accountId"]: u for u in api.get("users/search").body}
    assert listed["gone"]["active"] is False
    assert listed["ann"]["emailAddress"] == "ann@example.com"


def test_emails_are_hidden_without_the_permission_and_by_choice(jira, api):
    jira.update_user("ann", email_hidden=True)
    assert "emailAddress" not in api.get("user", accountId="ann").body
    jira.update_user("bot", permissions=["browse"])
    assert "emailAddress" not in api.get("user", accountId="bob").body
    assert "emailAddress" in api.get("myself").body
    assert api.get("users/search").status == 403


def test_people_are_found_by_the_start_of_name_or_visible_email(jira, api):
    assert [u["accountId"] for u in api.get("user/search", query="bob@ex").body] == ["bob"]
    assert [u["accountId"] for u in api.get("user/search", query="lee").body] == ["ann"]
    jira.update_user("bob", email_hidden=True)
    assert api.get("user/search", query="bob@ex").body == []
    assert api.get("user/search").status == 400


def test_only_active_people_can_be_assigned(api):
    assert "gone" not in [u["accountId"] for u in api.get("user/assignable/search", project="SUP", query="").body]
    refused = api.post("issue", {"fields": fields(assignee={"accountId": "gone"})})
    assert refused.status == 400
    assert "assignee" in refused.body["errors"]


def test_users_are_fetched_in_bulk_by_repeated_parameter(api):
    page = api.get("user/bulk", accountId=["ann", "gone", "nobody"]).body
    assert [u["accountId"] for u in page["values"]] == ["ann", "gone"]
    assert api.get("user", accountId="nobody").status == 404


# ---- create and edit ----------------------------------------------------------------------------------------


@needs_evidence
def test_the_recorded_create_works_and_answers_with_the_recorded_shape(api):
    recorded = payload("jira/issue_create")
    request = recorded["request"]["body"]
    response = api.post("issue", request)
    assert response.status == recorded["response"]["status"]
    assert same_shape(recorded["response"]["body"], response.body, missing=True) == []
    issue = api.get("issue/" + response.body["key"]).body
    assert issue["fields"]["description"] == request["fields"]["description"]


@needs_evidence
def test_the_recorded_bad_create_is_refused_as_recorded(api):
    recorded = payload("jira/issue_create_validation_error")
    response = api.post("issue", recorded["request"]["body"])
    assert (response.status, response.body) == (recorded["response"]["status"], recorded["response"]["body"])


@needs_evidence
def test_an_issue_has_the_recorded_shape(jira, api):
    recorded = payload_body("jira/search_updated_since")["issues"][0]
    jira.create("ann", {"project": "SUP", "summary": "x", "description": "text"})
    found = api.post("search/jql", {"jql": "project='SUP'", "fields": ["*all"]}).body["issues"][0]
    assert same_shape(recorded, found) == []
    left_out = {e.split(":")[0] for e in same_shape(recorded, found, missing=True)}
    # time tracking, security levels and recently-viewed lists do not concern a sync
    known = {"timespent", "aggregatetimespent", "lastViewed", "timeestimate", "aggregatetimeoriginalestimate",
             "timeoriginalestimate", "security", "aggregatetimeestimate", "aggregateprogress"}  # fmt: skip
    assert {p for p in left_out if "customfield" not in p} <= {f"fields.{k}" for k in known}


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"summary": ""}, "summary"),
        ({"summary": "   "}, "summary"),
        ({"summary": "x" * 256}, "summary"),
        ({"summary": "two\nlines"}, "summary"),
        ({"summary": 5}, "summary"),
        ({"issuetype": {"name": "Nonsense"}}, "issuetype"),
        ({"description": "plain text"}, "description"),
        ({"description": doc("x" * 32768)}, "description"),
        ({"labels": ["two words"]}, "labels"),
        ({"labels": "vip"}, "labels"),
        ({"priority": {"name": "Urgent"}}, "priority"),
        ({"duedate": "31.12.2026"}, "duedate"),
        ({"customfield_10201": {"value": "S9"}}, "customfield_10201"),
        ({"customfield_10201": "S1"}, "customfield_10201"),
        ({"customfield_10202": [{"value": "nope"}]}, "customfield_10202"),
        ({"customfield_10203": "7"}, "customfield_10203"),
        ({"customfield_10204": "x" * 256}, "customfield_10204"),
        ({"customfield_10205": "read only"}, "customfield_10205"),
        ({"customfield_10206": {"accountId": "nobody"}}, "customfield_10206"),
        ({"customfield_99999": 1}, "customfield_99999"),
        ({"status": {"name": "Done"}}, "status"),
        ({"assignee": "ann"}, "assignee"),
    ],
)
def test_a_bad_value_is_refused_by_field_and_nothing_is_created(jira, api, sent, field):
    response = api.post("issue", {"fields": fields(**sent)}, described=False)
    assert response.status == 400
    assert list(response.body["errors"]) == [field]
    assert jira.issues() == []


def test_values_come_back_in_the_vendors_forms(api):
    key = api.post(
        "issue",
        {
            "fields": fields(
                summary="  Trimmed  ",
                labels=["b", "a", "b"],
                duedate="2026-02-03",
                priority={"id": "1"},
                assignee={"accountId": "bob"},
                customfield_10201={"value": "S2"},
                customfield_10202=[{"value": "UI"}, {"value": "API"}],
                customfield_10203=2.5,
                customfield_10204="00103",
                customfield_10206={"accountId": "ann"},
            )
        },
    ).body["key"]
    got = api.get(f"issue/{key}").body["fields"]
    assert got["summary"] == "Trimmed"
    assert got["labels"] == ["a", "b"]
    assert (got["duedate"], got["priority"]["name"], got["customfield_10203"]) == ("2026-02-03", "Highest", 2.5)
    assert got["customfield_10201"]["value"] == "S2"
    assert [o["value"] for o in got["customfield_10202"]] == ["API", "UI"]
    assert (got["assignee"]["accountId"], got["customfield_10206"]["accountId"]) == ("bob", "ann")
    assert re.fullmatch(r"2026-01-01T00:00:00\.000\+0000", got["created"])


def test_edit_uses_fields_and_verbs_and_ignores_status(jira, api, clock):
    key = jira.create("ann", {"project": "SUP", "summary": "x", "labels": ["a", "b"]})
    clock.time += 5.25
    body = {
        "fields": {"summary": "y", "status": {"name": "Done"}},
        "update": {"labels": [{"add": "c"}, {"remove": "a"}], "priority": [{"set": {"name": "Low"}}]},
        "properties": [{"key": "sync", "value": {"id": 1}}],
    }
    response = api.put(f"issue/{key}", body, returnIssue="true", notifyUsers="false")
    assert response.status == 200
    got = response.body["fields"]
    assert (got["summary"], got["labels"], got["priority"]["name"]) == ("y", ["b", "c"], "Low")
    assert got["status"]["name"] == "To Do"
    assert got["updated"] == "2026-01-01T00:00:05.250+0000"
    assert api.get(f"issue/{key}/properties/sync").body["value"] == {"id": 1}
    both = api.put(f"issue/{key}", {"fields": {"labels": []}, "update": {"labels": [{"add": "z"}]}})
    assert "labels" in both.body["errors"]


def test_an_edit_that_changes_nothing_leaves_no_trace(jira, api, clock):
    key = jira.create("ann", {"project": "SUP", "summary": "x", "description": "Some text"})
    before = api.get(f"issue/{key}").body
    clock.time += 60
    assert api.put(f"issue/{key}", {"fields": {"summary": "x ", "description": doc("Some text")}}).status == 204
    assert api.get(f"issue/{key}").body == before
    assert jira.history(key) == []


def test_bulk_create_reports_each_failure(api):
    updates = [{"fields": fields()}, {"fields": fields(summary="")}, {"fields": fields(summary="third")}]
    response = api.post("issue/bulk", {"issueUpdates": updates})
    assert response.status == 201
    assert [i["key"] for i in response.body["issues"]] == ["SUP-1", "SUP-2"]
    assert [e["failedElementNumber"] for e in response.body["errors"]] == [1]
    assert api.post("issue/bulk", {"issueUpdates": updates[1:2]}).status == 400
    assert api.post("issue/bulk", {"issueUpdates": updates[:1] * 51}).status == 400


def test_a_property_sent_with_a_create_is_there(api):
    body = {"fields": fields(), "properties": [{"key": "syncadmin", "value": {"key": "abc"}}]}
    key = api.post("issue", body).body["key"]
    assert api.get(f"issue/{key}", properties="syncadmin", fields="summary").body["properties"] == {
        "syncadmin": {"key": "abc"}
    }


def test_bulkfetch_resolves_moved_keys_leaves_unknown_ones_out_and_orders_by_id(jira, api):
    first = jira.create("ann", {"project": "SUP", "summary": "one"})
    second = jira.create("ann", {"project": "SUP", "summary": "two"})
    new = jira.move(first, "ann", "OPS")
    body = {"issueIdsOrKeys": [second, first.lower(), "SUP-99"], "fields": ["summary"], "properties": ["p"]}
    answer = api.post("issue/bulkfetch", body).body
    assert [i["key"] for i in answer["issues"]] == [new, second]
    assert answer["issueErrors"] == []
    jira.api.unfetchable[jira.issue(second)["id"]] = "Try again later."
    answer = api.post("issue/bulkfetch", body).body
    assert [e["errorMessage"] for e in answer["issueErrors"]] == ["Try again later."]
    assert api.post("issue/bulkfetch", {"issueIdsOrKeys": [str(n) for n in range(101)]}).status == 400


def test_fields_can_be_chosen_excluded_and_named(jira, api):
    key = jira.create("ann", {"project": "SUP", "summary": "x"})
    assert set(api.get(f"issue/{key}", fields="summary,status").body["fields"]) == {"summary", "status"}
    assert "description" not in api.get(f"issue/{key}", fields="*all,-description").body["fields"]
    rich = api.get(f"issue/{key}", fields="summary", expand="names,schema,transitions,editmeta,changelog").body
    assert rich["names"] == {"summary": "Summary"}
    assert rich["schema"]["summary"]["type"] == "string"
    assert {"transitions", "editmeta", "changelog"} <= set(rich)


# ---- permissions --------------------------------------------------------------------------------------------


def test_what_may_not_be_seen_does_not_exist(jira, api):
    key = jira.create("ann", {"project": "OPS", "summary": "secret"})
    jira.update_user("bot", projects=["SUP"])
    assert api.get(f"issue/{key}").status == 404
    assert api.get(f"issue/{key}").body["errorMessages"] == [
        "Issue does not exist or you do not have permission to see it."
    ]
    assert api.post("issue/bulkfetch", {"issueIdsOrKeys": [key]}).body["issues"] == []
    assert api.post("search/jql", {"jql": "project = OPS"}).status == 400
    assert api.search("created > 0") == []


def test_each_write_needs_its_permission(jira, api):
    key = jira.create("ann", {"project": "SUP", "summary": "x"})
    jira.update_user("bot", permissions=["browse"])
    assert api.post("issue", {"fields": fields()}).status == 403
    assert api.put(f"issue/{key}", {"fields": {"summary": "y"}}).body["errors"] == {
        "summary": "Field 'summary' cannot be set. It is not on the appropriate screen, or unknown."
    }
    assert api.call("DELETE", f"issue/{key}").status == 403
    assert api.get(f"issue/{key}/transitions").body["transitions"] == []
    assert api.post(f"issue/{key}/transitions", {"transition": {"id": "11"}}).status == 400
    assert api.post(f"issue/{key}/comment", {"body": doc("hi")}).status == 400
    assert jira.issue(key)["fields"]["summary"] == "x"


def test_a_hidden_field_is_absent_everywhere(jira, api):
    key = jira.create("ann", {"project": "SUP", "summary": "x", "Points": 3})
    jira.edit(key, "ann", Points=4)
    jira.update_user("bot", hidden_fields=["customfield_10203"])
    assert "customfield_10203" not in api.get(f"issue/{key}").body["fields"]
    assert "customfield_10203" not in api.get(f"issue/{key}/editmeta").body["fields"]
    assert "customfield_10203" not in {f["id"] for f in api.get("field").body}
    assert api.get(f"issue/{key}/changelog").body["values"][0]["items"] == []
    assert api.put(f"issue/{key}", {"fields": {"customfield_10203": 5}}).status == 400
    assert api.post("search/jql", {"jql": "cf[10203] = 4"}).status == 400


# ---- workflow -----------------------------------------------------------------------------------------------


def test_a_status_is_only_reached_along_the_workflow(jira, api):
    key = jira.create("ann", {"project": "SUP", "summary": "x"})
    assert [t["to"]["name"] for t in api.get(f"issue/{key}/transitions").body["transitions"]] == [
        "In Progress",
        "Blocked",
    ]
    refused = api.post(f"issue/{key}/transitions", {"transition": {"id": "31"}})
    assert (refused.status, refused.body["errors"]) == (400, {})
    assert api.post(f"issue/{key}/transitions", {}).status == 400
    for id in ("11", "21"):
        assert api.post(f"issue/{key}/transitions", {"transition": {"id": id}}).status == 204
    expanded = api.get(f"issue/{key}/transitions", expand="transitions.fields").body["transitions"]
    done = next(t for t in expanded if t["name"] == "Done")
    assert done["fields"]["resolution"]["required"]
    assert api.post(f"issue/{key}/transitions", {"transition": {"id": "31"}}).body["errors"] == {
        "resolution": "Resolution is required."
    }
    extra = {"transition": {"id": "31"}, "fields": {"resolution": {"name": "Done"}, "summary": "no"}}
    assert "summary" in api.post(f"issue/{key}/transitions", extra).body["errors"]
    del extra["fields"]["summary"]
    assert api.post(f"issue/{key}/transitions", extra).status == 204
    done = api.get(f"issue/{key}").body["fields"]
    assert (done["status"]["name"], done["resolution"]["name"]) == ("Done", "Done")
    assert done["resolutiondate"]
    assert api.post(f"issue/{key}/transitions", {"transition": {"id": "61"}}).status == 204
    again = api.get(f"issue/{key}").body["fields"]
    assert (again["status"]["name"], again["resolution"], again["resolutiondate"]) == ("To Do", None, None)


@needs_evidence
def test_a_recorded_transition_request_is_understood(jira, api):
    key = jira.create("ann", {"project": "SUP", "summary": "x"})
    body = payload("jira/datacenter_issue_transition_done")["request"]["body"]
    assert api.post(f"issue/{key}/transitions", body).status == 204
    assert jira.issue(key)["fields"]["status"]["name"] == "Blocked"


# ---- documents ----------------------------------------------------------------------------------------------


def test_a_document_is_rewritten_on_saving(api):
    sent = {
        "type": "doc",
        "version": 1,
        "content": [
            {
                "type": "paragraph",
                "content": [
                    {"type": "text", "text": "one "},
                    {"type": "text", "text": ""},
                    {"type": "text", "text": "two"},
                    {"type": "text", "text": " bold", "marks": [{"type": "strong"}]},
                ],
            },
            {"type": "panel", "attrs": {"panelType": "info"}, "content": doc("inside")["content"]},
        ],
    }
    key = api.post("issue", {"fields": fields(description=sent)}).body["key"]
    got = api.get(f"issue/{key}").body["fields"]["description"]["content"]
    assert [n["text"] for n in got[0]["content"]] == ["one two", " bold"]
    assert got[1]["attrs"]["localId"]
    before = api.get(f"issue/{key}").body
    api.put(f"issue/{key}", {"fields": {"description": before["fields"]["description"]}})
    assert api.get(f"issue/{key}").body == before


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "blink"}],
        [{"type": "paragraph", "content": [{"type": "paragraph"}]}],
        [{"type": "heading", "content": []}],
        [{"type": "bulletList", "content": []}],
        [{"type": "paragraph", "content": [{"type": "text", "text": "x", "marks": [{"type": "loud"}]}]}],
        [{"type": "paragraph", "content": [{"type": "text"}]}],
        "text",
    ],
)
def test_what_is_no_document_is_invalid_input(api, content):
    response = api.post("issue", {"fields": fields(description={"type": "doc", "version": 1, "content": content})})
    assert (response.status, response.body["errorMessages"]) == (400, ["INVALID_INPUT"])


def test_an_empty_document_is_stored_as_null(api):
    empty = {"type": "doc", "version": 1, "content": []}
    key = api.post("issue", {"fields": fields(description=empty)}).body["key"]
    assert api.get(f"issue/{key}").body["fields"]["description"] is None


def test_the_editor_keeps_the_nodes_of_untouched_blocks_and_mentions():
    mention = {"type": "mention", "attrs": {"id": "ann", "text": "@Ann Lee"}}
    panel = {"type": "panel", "attrs": {"panelType": "info"}, "content": doc("kept")["content"]}
    old = {
        "type": "doc",
        "version": 1,
        "content": [
            {
                "type": "paragraph",
                "content": [{"type": "text", "text": "Ask "}, mention, {"type": "text", "text": "!"}],
            },
            panel,
            {"type": "paragraph", "content": [{"type": "text", "text": "x", "marks": [{"type": "underline"}]}]},
        ],
    }
    assert from_text(to_text(old), old) == old
    new = from_text(to_text(old).replace("Ask", "Please ask"), old)
    assert new["content"][1:] == old["content"][1:]
    assert mention in new["content"][0]["content"]


def test_light_markdown_becomes_a_document_and_wiki_text():
    text = "# Title\n\nA **bold** and [link](https://x.test)\n\n- a\n- b\n\n1. one\n\n```py\nx = 1\n\ny\n```\n\n----"
    document = from_text(text)
    assert [n["type"] for n in document["content"]] == [
        "heading", "paragraph", "bulletList", "orderedList", "codeBlock", "rule",
    ]  # fmt: skip
    assert to_text(document) == text
    assert to_wiki(document).startswith(
        "h1. Title\n\nA *bold* and [link|https://x.test]\n\n* a\n* b\n\n# one\n\n{code:py}"
    )


# ---- search -------------------------------------------------------------------------------------------------


@pytest.fixture
def searchable(jira, clock):
    for number, (summary, labels, points) in enumerate(
        [("Red printer", ["vip"], 1), ("Blue printer", [], None), ("Green scanner", ["vip", "eu"], 3)]
    ):
        clock.time = START + 60 * number
        values = {
            "project": "SUP",
            "summary": summary,
            "labels": labels,
            "Points": points,
            "Case number": f"C-{number}",
        }
        jira.create("ann" if number else "bot", values, {"sync": {"key": f"k{number}"}})
    jira.edit("SUP-2", "ann", assignee="bob@example.com", priority="High", duedate="2026-05-01")
    return Client(jira)


@pytest.mark.parametrize(
    ("jql", "found"),
    [
        ("project = SUP", "321"),
        ("project = sup ORDER BY key", "123"),
        ("project in (SUP, OPS) order by created desc", "321"),
        ("key in (SUP-1, 'SUP-3')", "31"),
        ('summary ~ "printer"', "21"),
        ('summary ~ "printer" AND NOT summary ~ red', "2"),
        ("labels in (vip)", "31"),
        ("labels = eu OR assignee = 'bob@example.com'", "32"),
        ("project = SUP AND labels is EMPTY", "2"),
        ("labels != vip", ""),
        ("labels not in (eu)", "1"),
        ("creator = currentUser()", "1"),
        ("cf[10203] >= 2", "3"),
        ("Points = 1", "1"),
        ('cf[10204] ~ "C-1"', "2"),
        ('"Case number" ~ "C-2"', "3"),
        ("priority = High", "2"),
        ("status = 'To Do' and statusCategory = new", None),
        ("status = 'To Do' and statusCategory = 'To Do' and due < '2026-06-01'", "2"),
        ('issue.property[sync].key = "k2"', "3"),
        ("(summary ~ red or summary ~ blue) and points is not empty", "1"),
        ("project = SUP ORDER BY cf[10203] ASC, key DESC", "132"),
        ("created >= '2026-01-01 00:02'", "3"),
        ('updated >= "2026-01-01 00:01" AND updated < "2026/01/01 00:02"', ""),
        (f"updated > {int(START * 1000) + 60_000}", "32"),
        ("updated >= -1w", "321"),
    ],
)
def test_queries_find_what_they_say(searchable, jql, found):
    if found is None:
        assert searchable.post("search/jql", {"jql": jql}).status == 400
    else:
        assert searchable.search(jql) == [f"SUP-{n}" for n in found]


def test_dates_in_queries_are_read_in_the_callers_time_zone(searchable, jira):
    jira.update_user("bot", timeZone="America/New_York")
    assert searchable.search('created >= "2025-12-31 19:02"') == ["SUP-3"]
    assert searchable.get("issue/SUP-3").body["fields"]["created"] == "2025-12-31T19:02:00.000-0500"


@pytest.mark.parametrize(
    ("jql", "message"),
    [
        ("", "Unbounded JQL queries are not allowed here"),
        ("order by key desc", "Unbounded JQL queries are not allowed here"),
        ("project = 'NotExistedProject'", "The value 'NotExistedProject' does not exist for the field 'project'."),
        ("nonsense = 1", "Field 'nonsense' does not exist"),
        ("project = SUP AND", "The query ends before it is complete"),
        ("project = SUP )", "Expecting operator or value but got ')'"),
        ("project ~ SUP", "The operator '~' is not supported by the 'project' field."),
        ("summary = 'x'", "The operator '=' is not supported by the 'summary' field."),
        ("project = SUP ORDER BY " + ",".join(["key"] * 8), "maximum of 7"),
        ('updated >= "2026-01-01 00:00:30"', "Date value '2026-01-01 00:00:30' for field 'updated' is invalid."),
    ],
)
def test_bad_queries_are_refused_in_the_vendors_form(api, jql, message):
    response = api.post("search/jql", {"jql": jql})
    assert response.status == 400
    assert message in response.body["errorMessages"][0]
    assert response.body["warningMessages"] == []


@needs_evidence
def test_recorded_search_errors_come_back_word_for_word(api):
    recorded = payload("jira/search_error_unknown_project")
    response = api.post("search/jql", recorded["request"]["body"])
    assert (response.status, response.body) == (recorded["response"]["status"], recorded["response"]["body"])
    assert api.post("search/jql", {"jql": "updated >= -53s"}).body == payload_body("jira/jql_date_error")


@needs_evidence
def test_a_search_page_has_the_recorded_shape(searchable):
    body = {"jql": "project = SUP", "fields": ["summary", "status"], "maxResults": 1}
    page = searchable.post("search/jql", body).body
    assert same_shape(payload_body("jira/search_jql_page"), page, missing=True) == []
    assert "total" not in page


def test_pages_are_walked_by_token_to_the_last(jira, api, clock):
    for number in range(7):
        jira.create("ann", {"project": "SUP", "summary": f"n{number}"})
    query = {"jql": "project = SUP ORDER BY updated ASC", "maxResults": 3, "fields": "summary"}
    seen, token = [], None
    while True:
        page = api.get("search/jql", **query, **({"nextPageToken": token} if token else {})).body
        seen += [i["key"] for i in page["issues"]]
        token = page.get("nextPageToken")
        assert page["isLast"] is (token is None)
        if not token:
            break
    assert seen == [f"SUP-{n}" for n in range(1, 8)]


def test_an_issue_edited_during_the_walk_moves_on_in_it(jira, api, clock):
    for number in range(4):
        clock.time += 1
        jira.create("ann", {"project": "SUP", "summary": f"n{number}"})
    query = {"jql": "project = SUP ORDER BY updated ASC", "maxResults": 2, "fields": ["summary"]}
    page = api.post("search/jql", query).body
    clock.time += 1
    jira.edit("SUP-1", "ann", summary="again")
    rest = api.post("search/jql", {**query, "maxResults": 9, "nextPageToken": page["nextPageToken"]}).body
    assert [i["key"] for i in rest["issues"]] == ["SUP-3", "SUP-4", "SUP-1"]


def test_a_token_expires_and_belongs_to_its_query(jira, api, clock):
    for number in range(2):
        jira.create("ann", {"project": "SUP", "summary": f"n{number}"})
    token = api.post("search/jql", {"jql": "project = SUP", "maxResults": 1}).body["nextPageToken"]
    assert api.post("search/jql", {"jql": "project = OPS", "nextPageToken": token}).status == 400
    assert api.post("search/jql", {"jql": "project = SUP", "nextPageToken": "junk"}).status == 400
    clock.time += 8 * 24 * 3600
    assert api.post("search/jql", {"jql": "project = SUP", "nextPageToken": token}).status == 400


def test_without_fields_only_ids_come_and_many_of_them(jira, api):
    for number in range(120):
        jira.create("ann", {"project": "SUP", "summary": f"n{number}"})
    page = api.post("search/jql", {"jql": "project = SUP", "maxResults": 5000}).body
    assert len(page["issues"]) == 120
    assert set(page["issues"][0]) == {"id"}
    whole = api.post("search/jql", {"jql": "project = SUP", "maxResults": 5000, "fields": ["summary"]}).body
    assert len(whole["issues"]) == 100
    assert api.post("search/approximate-count", {"jql": "project = SUP"}).body == {"count": 120}


def test_the_index_lags_and_reconciling_does_not(jira, api, clock):
    jira.search_lag = 30
    key = jira.create("ann", {"project": "SUP", "summary": "old words"})
    id = jira.issue(key)["id"]
    assert api.search("project = SUP") == []
    assert api.search("project = SUP", reconcileIssues=[int(id)]) == [key]
    assert api.get(f"issue/{key}").status == 200
    clock.time += 31
    assert api.search("summary ~ old") == [key]
    jira.edit(key, "ann", summary="new words")
    assert api.search("summary ~ new") == []
    assert api.search("summary ~ new", reconcileIssues=[int(id)]) == [key]
    jira.delete(key, "ann")
    assert api.search("project = SUP") == [key]
    assert api.search("project = SUP", reconcileIssues=[int(id)]) == []
    clock.time += 31
    assert api.search("project = SUP") == []
    assert api.post("search/jql", {"jql": "project = SUP", "reconcileIssues": list(range(51))}).status == 400


def test_properties_come_with_a_search_but_at_most_five(searchable):
    page = searchable.post("search/jql", {"jql": "key = SUP-2", "fields": ["summary"], "properties": ["sync"]}).body
    assert page["issues"][0]["properties"] == {"sync": {"key": "k1"}}
    many = searchable.post("search/jql", {"jql": "key = SUP-2", "properties": list("abcdef")})
    assert many.status == 400


def test_only_indexed_properties_are_searchable_where_an_app_declared_none(searchable, jira):
    jira.site.indexed_properties = frozenset()
    assert searchable.post("search/jql", {"jql": 'issue.property[sync].key = "k2"'}).status == 400


def test_a_parsed_query_keeps_its_structure():
    query = jira_jql.parse("a = 1 or b = 2 and not c in (3, x)")
    assert isinstance(query.where, jira_jql.Either)
    assert isinstance(query.where.parts[1], jira_jql.Both)
    assert query.where.parts[1].parts[1].part.values == (3, "x")


# ---- history, comments, properties --------------------------------------------------------------------------


def test_every_accepted_write_is_in_the_changelog(jira, api, clock):
    key = jira.create("ann", {"project": "SUP", "summary": "x", "labels": ["a"]})
    clock.time += 1
    jira.edit(key, "bob", summary="y", labels=["a", "b"], Severity="S1")
    clock.time += 1
    jira.transition(key, "ann", "In Progress")
    page = api.get(f"issue/{key}/changelog").body
    assert [e["author"]["accountId"] for e in page["values"]] == ["bob", "ann"]
    first = {i["fieldId"]: (i["fromString"], i["toString"]) for i in page["values"][0]["items"]}
    assert first == {"summary": ("x", "y"), "labels": ("a", "a b"), "customfield_10201": (None, "S1")}
    assert page["values"][1]["items"][0]["to"] == "3"
    wanted = {"issueIdsOrKeys": [key], "fieldIds": ["status"]}
    bulk = api.post("changelog/bulkfetch", wanted).body["issueChangeLogs"]
    assert [i["fieldId"] for h in bulk[0]["changeHistories"] for i in h["items"]] == ["status"]
    part = api.post("changelog/bulkfetch", {"issueIdsOrKeys": [key], "maxResults": 1}).body
    assert part["nextPageToken"]


def test_comments_are_added_changed_and_removed(jira, api, clock):
    key = jira.create("ann", {"project": "SUP", "summary": "x"})
    clock.time += 10
    body = {"body": doc("hello"), "properties": [{"key": "mark", "value": {"a": 1}}]}
    made = api.post(f"issue/{key}/comment", body)
    assert made.status == 201
    id = made.body["id"]
    assert api.get(f"issue/{key}").body["fields"]["updated"] == "2026-01-01T00:00:10.000+0000"
    changed = api.put(f"issue/{key}/comment/{id}", {"body": doc("changed")}).body
    assert changed["body"] == doc("changed")
    page = api.get(f"issue/{key}/comment", expand="properties").body
    assert page["comments"][0]["properties"] == [{"key": "mark", "value": {"a": 1}}]
    other = jira.comment(key, "ann", "not yours")
    jira.update_user("bot", permissions=["browse", "comment"])
    assert api.call("DELETE", f"issue/{key}/comment/{other}").status == 400
    assert api.call("DELETE", f"issue/{key}/comment/{id}").status == 204
    assert api.get(f"issue/{key}/comment/{id}").status == 404
    assert api.post(f"issue/{key}/comment", {"body": "text"}, described=False).status == 400


def test_comments_are_read_by_id_and_carry_properties(jira, api):
    key = jira.create("ann", {"project": "SUP", "summary": "x"})
    id = jira.comment(key, "ann", "hello")
    assert api.put(f"comment/{id}/properties/mark", {"k": 1}).status in (200, 201)
    page = api.call("POST", "comment/list", {"expand": "properties"}, {"ids": [int(id), 99999]}).body
    assert [(c["id"], c["properties"]) for c in page["values"]] == [(id, [{"key": "mark", "value": {"k": 1}}])]
    assert api.post("comment/list", {"ids": []}).status == 400


def test_properties_do_not_touch_the_time_of_the_issue(jira, api, clock):
    key = jira.create("ann", {"project": "SUP", "summary": "x"})
    before = api.get(f"issue/{key}").body["fields"]["updated"]
    clock.time += 10
    assert api.put(f"issue/{key}/properties/sync", {"k": "v"}).status == 201
    assert api.put(f"issue/{key}/properties/sync", {"k": "w"}).status == 200
    assert [k["key"] for k in api.get(f"issue/{key}/properties").body["keys"]] == ["sync"]
    assert api.get(f"issue/{key}").body["fields"]["updated"] == before
    id = int(jira.issue(key)["id"])
    many = {"issues": [{"issueID": id, "properties": {"other": {"value": 1}}}]}
    assert api.post("issue/properties/multi", many).status == 303
    assert api.call("DELETE", f"issue/{key}/properties/sync").status == 204
    assert api.get(f"issue/{key}/properties/sync").status == 404


def test_remote_links_are_kept_once_by_global_id(jira, api):
    key = jira.create("ann", {"project": "SUP", "summary": "x"})
    link = {"globalId": "case=1", "object": {"url": "https://crm.test/1", "title": "Case 1"}}
    assert api.post(f"issue/{key}/remotelink", link).status == 201
    assert api.post(f"issue/{key}/remotelink", link).status == 200
    assert api.get(f"issue/{key}/remotelink", globalId="case=1").body["object"]["title"] == "Case 1"
    assert api.call("DELETE", f"issue/{key}/remotelink", {"globalId": "case=1"}).status == 204


def test_deleting_leaves_a_404_and_the_history(jira, api):
    key = jira.create("ann", {"project": "SUP", "summary": "x"})
    child = jira.create("ann", {"project": "SUP", "summary": "child", "issuetype": {"name": "Sub-task"}, "parent": key})
    id = jira.issue(key)["id"]
    assert api.get(f"issue/{child}").body["fields"]["parent"]["key"] == key
    assert api.call("DELETE", f"issue/{key}").status == 400
    assert api.call("DELETE", f"issue/{key}", {"deleteSubtasks": "true"}).status == 204
    assert api.get(f"issue/{key}").status == 404
    assert jira.issues() == []
    assert jira.history(id)[-1]["items"][0]["field"] == "deleted"


def test_dynamic_webhooks_are_for_apps_only(api):
    assert api.get("webhook").status == 403


# ---- limits, faults, keeping --------------------------------------------------------------------------------


def test_too_many_calls_are_refused_with_the_vendors_headers(jira, api, clock):
    jira.rate_per_second = 1
    first = api.get("myself")
    assert first.headers["X-RateLimit-Limit"] == "2"
    assert api.get("myself").headers["X-RateLimit-NearLimit"] == "true"
    refused = api.get("myself")
    assert refused.status == 429
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["RateLimit-Reason"] == "jira-burst-based"
    assert refused.headers["X-RateLimit-Reset"] == "2026-01-01T00:00Z"
    clock.time += 1
    assert api.get("myself").status == 200


def test_one_issue_takes_only_so_many_writes(jira, api, clock):
    key = jira.create("ann", {"project": "SUP", "summary": "x"})
    jira.writes_per_issue = (1, 10.0)
    assert api.put(f"issue/{key}", {"fields": {"summary": "y"}}).status == 204
    refused = api.put(f"issue/{key}", {"fields": {"summary": "z"}})
    assert refused.headers["RateLimit-Reason"] == "jira-per-issue-on-write"
    assert refused.headers["Retry-After"] == "10"
    clock.time += 10
    assert api.put(f"issue/{key}", {"fields": {"summary": "z"}}).status == 204


def test_a_conflicting_update_can_be_asked_for(jira, api):
    key = jira.create("ann", {"project": "SUP", "summary": "x"})
    jira.fault("status", method="PUT", status=409, body={"errorMessages": ["Conflict"], "errors": {}})
    assert api.put(f"issue/{key}", {"fields": {"summary": "y"}}).status == 409
    assert api.put(f"issue/{key}", {"fields": {"summary": "y"}}).status == 204


def test_everything_is_there_after_a_restart(tmp_path, clock):
    path = str(tmp_path / "jira.sqlite3")
    first = JiraStandin(path, now=clock)
    first.create_user("Ann", "ann@example.com", account_id="ann")
    first.create_project("SUP", "Support")
    first.add_field("Severity", "option", ["S1"])
    key = first.create("ann", {"project": "SUP", "summary": "x", "Severity": "S1"}, {"p": 1})
    first.edit(key, "ann", summary="y")
    first.add_webhook("http://127.0.0.1:1/")
    whole = first.issue(key)
    first.store.db.close()
    second = JiraStandin(path, now=clock)
    assert second.issue(key) == whole
    assert len(second.history(key)) == 1
    assert [h["url"] for h in second.webhooks.all()] == ["http://127.0.0.1:1/"]
    assert second.create("ann", {"project": "SUP", "summary": "next"}) == "SUP-2"


def test_python_callers_get_the_same_refusals(jira):
    key = jira.create("ann", {"project": "SUP", "summary": "x"})
    with pytest.raises(Refusal) as refused:
        jira.edit(key, "ann", labels=["two words"])
    assert list(refused.value.errors) == ["labels"]
    with pytest.raises(Refusal):
        jira.transition(key, "ann", "Done")
    with pytest.raises(KeyError):
        jira.edit(key, "nobody@example.com", summary="y")


# ---- webhooks -----------------------------------------------------------------------------------------------


class Receiver:
    """A small server that keeps what is posted to it and answers with the next of `answers`, else 200."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.end_headers()

            def log_message(self, *args) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def bodies(self):
        return [json.loads(b) for _, b in self.got]


@pytest.fixture
def receiver(jira):
    jira.webhooks.backoff = (0.0,)
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_webhook_is_signed_and_names_who_changed_what(jira, receiver):
    key = jira.create("ann", {"project": "SUP", "summary": "x", "description": "Hello **you**"})
    jira.add_webhook(receiver.url, "s3cret")
    jira.edit(key, "bob", summary="y", Points=12)
    assert jira.webhooks.flush()
    headers, body = receiver.got[0]
    assert headers["x-hub-signature"] == "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert headers["x-atlassian-webhook-identifier"]
    event = json.loads(body)
    assert (event["webhookEvent"], event["issue_event_type_name"]) == ("jira:issue_updated", "issue_updated")
    assert event["user"]["accountId"] == "bob"
    assert event["issue"]["fields"]["description"] == "Hello *you*"
    assert {i["fieldId"]: i["toString"] for i in event["changelog"]["items"]} == {
        "summary": "y",
        "customfield_10203": "12",
    }
    assert re.search(r"\.\d{3}\+0000$", event["issue"]["fields"]["updated"])


@needs_evidence
def test_a_webhook_has_the_recorded_shape(jira, receiver):
    key = jira.create("ann", {"project": "SUP", "summary": "x", "description": "text", "assignee": "bob"})
    jira.add_webhook(receiver.url)
    jira.edit(key, "bob", Points=12)
    assert jira.webhooks.flush()
    recorded = payload_body("jira/webhook_issue_updated_custom_field")
    event = receiver.bodies()[0]
    own = [f"issue.fields.{f}" for f in jira.site.fields if f.startswith("customfield")]
    assert same_shape(recorded, event, ignore=own) == []
    missing = same_shape(recorded, event, missing=True, ignore=own)
    top = {m.split(":")[0] for m in missing if not m.startswith("issue.fields.")}
    assert top <= {"user.name", "user.key"}  # gone from Jira since the privacy changes of 2019
    assert same_shape(recorded["changelog"]["items"][0], event["changelog"]["items"][0], missing=True) == []


def test_other_events_have_their_own_names(jira, receiver):
    jira.add_webhook(receiver.url)
    key = jira.create("ann", {"project": "SUP", "summary": "x"})
    jira.transition(key, "ann", "Start progress")
    jira.comment(key, "bob", "hi")
    key = jira.move(key, "ann", "OPS")
    jira.delete(key, "ann")
    assert jira.webhooks.flush()
    named = [(e["webhookEvent"], e.get("issue_event_type_name")) for e in receiver.bodies()]
    assert named == [
        ("jira:issue_created", "issue_created"),
        ("jira:issue_updated", "issue_generic"),
        ("comment_created", None),
        ("jira:issue_updated", "issue_commented"),
        ("jira:issue_updated", "issue_moved"),
        ("jira:issue_deleted", "issue_deleted"),
    ]
    comment = receiver.bodies()[2]
    assert "user" not in comment
    assert comment["comment"]["author"]["accountId"] == "bob"


def test_a_failed_delivery_is_tried_again_with_the_same_identifier(jira, receiver):
    jira.add_webhook(receiver.url)
    receiver.answers = [500, 503]
    jira.create("ann", {"project": "SUP", "summary": "x"})
    assert jira.webhooks.flush()
    assert [h.get("x-atlassian-webhook-retry") for h, _ in receiver.got] == [None, "1", "2"]
    assert len({h["x-atlassian-webhook-identifier"] for h, _ in receiver.got}) == 1


def test_a_receiver_that_stays_down_is_given_up_after_five_retries(jira, receiver):
    jira.add_webhook(receiver.url)
    receiver.answers = [500] * 20
    jira.create("ann", {"project": "SUP", "summary": "x"})
    assert jira.webhooks.flush()
    assert len(receiver.got) == 6


def test_deliveries_can_be_doubled_dropped_late_and_wrongly_signed(jira, receiver):
    jira.add_webhook(receiver.url, "s3cret")
    jira.webhooks.faults = ["duplicate", "drop", "late", "bad_signature"]
    for name in ("double", "dropped", "late", "forged"):
        jira.create("ann", {"project": "SUP", "summary": name})
    assert jira.webhooks.flush()
    names = [e["issue"]["fields"]["summary"] for e in receiver.bodies()]
    assert names == ["double", "double", "forged", "late"]
    headers, body = receiver.got[2]
    assert headers["x-hub-signature"] != "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()


def test_a_filter_and_the_chosen_events_limit_what_is_sent(jira, receiver):
    jira.add_webhook(receiver.url, events=["jira:issue_created"], filter="project = OPS")
    jira.create("ann", {"project": "SUP", "summary": "no"})
    key = jira.create("ann", {"project": "OPS", "summary": "yes"})
    jira.edit(key, "ann", summary="not this")
    assert jira.webhooks.flush()
    assert [e["issue"]["fields"]["summary"] for e in receiver.bodies()] == ["yes"]


def test_webhooks_are_managed_over_rest_by_admins(jira, api):
    path = "/rest/webhooks/1.0/webhook"
    body = {"name": "sync", "url": "https://sync.test/hook", "events": ["jira:issue_updated"], "secret": "s"}
    made = api.call("POST", path, None, body, described=False)
    assert made.status == 201
    assert made.body["isSigned"]
    assert "s" not in made.body.values()
    one = made.body["self"].removeprefix("http://jira.test")
    assert api.call("PUT", one, None, {"enabled": False}, described=False).body["enabled"] is False
    assert [h["name"] for h in api.call("GET", path, described=False).body] == ["sync"]
    assert api.call("POST", path, None, {**body, "url": "ftp://x"}, described=False).status == 400
    assert api.call("DELETE", one, described=False).status == 204
    assert api.call("GET", one, described=False).status == 404
    jira.update_user("bot", permissions=["browse"])
    assert api.call("GET", path, described=False).status == 403


# ---- pages --------------------------------------------------------------------------------------------------


class Browser:
    def __init__(self, standin, account="ann") -> None:
        self.standin = standin
        self.cookie = f"jira_user={account}"

    def get(self, path, **query):
        headers = {"host": "jira.test", "cookie": self.cookie}
        return self.standin.handle(Request("GET", path, query, headers, b""))

    def post(self, path, origin="http://jira.test", **form):
        headers = {"host": "jira.test", "cookie": self.cookie} | ({"origin": origin} if origin else {})
        return self.standin.handle(Request("POST", path, {}, headers, urlencode(form, doseq=True).encode()))


def form_of(html):
    """The names and values a browser would send for the page's edit form."""
    form = html[html.index('class="stack wide"') :]
    values = {}
    for tag in re.findall(r"<input[^>]*>", form):
        attrs = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        values.setdefault(attrs["name"], []).append(attrs.get("value", ""))
    for name, text in re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>\n?(.*?)</textarea>', form, re.S):
        values.setdefault(name, []).append(text)
    for name, inner in re.findall(r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', form, re.S):
        values[name] = re.findall(r'<option value="([^"]*)" selected', inner)
    return values


def test_the_list_is_searched_filtered_and_paged(jira):
    browser = Browser(jira)
    for number in range(60):
        jira.create("ann", {"project": "SUP", "summary": f"Thing {number}"})
    jira.edit("SUP-7", "ann", assignee="bob")
    assert "Support" in browser.get("/").body
    assert "Page 1 of 2" in browser.get("/projects/SUP").body
    assert "SUP-7<" in browser.get("/projects/SUP", assignee="bob").body
    assert "No issue fits" in browser.get("/projects/SUP", q="nowhere").body
    assert "1 issue," in browser.get("/projects/SUP", jql="key = SUP-3").body
    assert "does not exist" in browser.get("/projects/SUP", jql="nonsense = 1").body
    assert browser.get("/projects/NOPE").status == 404


def test_an_issue_is_created_edited_moved_on_commented_and_deleted_by_hand(jira):
    browser = Browser(jira)
    made = browser.post(
        "/projects/SUP/create", summary="By hand", priority="2", issuetype="10002", description="One\n\nTwo"
    )
    assert (made.status, made.headers["Location"]) == (303, "/browse/SUP-1")
    form = form_of(browser.get("/browse/SUP-1/edit").body)
    edited = browser.post(
        "/browse/SUP-1/edit", **{**form, "summary": "Edited", "labels": "b a", "customfield_10203": "4"}
    )
    assert edited.status == 303
    issue = jira.issue("SUP-1")["fields"]
    assert (issue["summary"], issue["labels"], issue["customfield_10203"]) == ("Edited", ["a", "b"], 4)
    assert {i["fieldId"] for i in jira.history("SUP-1")[-1]["items"]} == {"summary", "labels", "customfield_10203"}
    page = browser.get("/browse/SUP-1").body
    assert "Start progress" in page
    assert "Send to review" not in page
    assert browser.post("/browse/SUP-1/transition", transition="11").status == 303
    assert browser.post("/browse/SUP-1/comment", body="A **remark**").status == 303
    assert "<b>remark</b>" in browser.get("/browse/SUP-1").body
    assert "In Progress" in browser.get("/browse/SUP-1", tab="history").body
    assert "gone for good" in browser.get("/browse/SUP-1/delete").body
    assert browser.post("/browse/SUP-1/delete").status == 303
    assert browser.get("/browse/SUP-1").status == 404


def test_a_form_opened_before_somebody_elses_edit_does_not_undo_it(jira):
    key = jira.create("ann", {"project": "SUP", "summary": "x", "labels": ["old"], "description": "One\n\nTwo"})
    form = form_of(Browser(jira).get(f"/browse/{key}/edit").body)
    jira.edit(key, "bob", labels=["new"])
    Browser(jira).post(f"/browse/{key}/edit", **{**form, "summary": "y"})
    assert jira.issue(key)["fields"]["labels"] == ["new"]
    assert [i["fieldId"] for i in jira.history(key)[-1]["items"]] == ["summary"]


def test_a_refused_form_keeps_what_was_typed(jira):
    key = jira.create("ann", {"project": "SUP", "summary": "x", "labels": ["a"]})
    browser = Browser(jira)
    form = form_of(browser.get(f"/browse/{key}/edit").body)
    again = browser.post(f"/browse/{key}/edit", **{**form, "summary": "y" * 300, "labels": "a b"})
    assert again.status == 400
    assert "exceed 255 characters" in again.body
    form = form_of(again.body)
    assert browser.post(f"/browse/{key}/edit", **{**form, "summary": "short"}).status == 303
    fields = jira.issue(key)["fields"]
    assert (fields["summary"], fields["labels"]) == ("short", ["a", "b"])


@pytest.mark.parametrize("origin", ["https://evil.test", "null", ""])
def test_forms_of_other_sites_change_nothing(jira, origin):
    key = jira.create("ann", {"project": "SUP", "summary": "x"})
    for path in (
        f"/browse/{key}/delete",
        f"/browse/{key}/edit",
        "/settings/webhooks",
        "/whoami",
        "/projects/SUP/create",
    ):
        assert Browser(jira).post(path, origin=origin, summary="hacked", account="bob").status == 403
    assert [i["fields"]["summary"] for i in jira.issues()] == ["x"]


def test_what_people_typed_is_never_markup(jira):
    nasty = "<script>alert(1)</script>"
    link = {"type": "text", "text": "x", "marks": [{"type": "link", "attrs": {"href": "javascript:alert(1)"}}]}
    body = {
        "type": "doc",
        "version": 1,
        "content": [{"type": "paragraph", "content": [link, {"type": "text", "text": nasty}]}],
    }
    key = jira.create("ann", {"project": "SUP", "summary": nasty, "description": body, "Case number": nasty})
    for path in ("/projects/SUP", f"/browse/{key}", f"/browse/{key}/edit", f"/browse/{key}/delete"):
        page = Browser(jira).get(path)
        assert "<script" not in page.body
        assert 'href="javascript' not in page.body
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_one_can_be_somebody_else_but_not_the_deactivated(jira):
    browser = Browser(jira)
    switched = browser.post("/whoami", account="bob", next="/projects/SUP")
    assert switched.headers["Location"] == "/projects/SUP"
    assert switched.headers["Set-Cookie"].startswith("jira_user=bob;")
    assert browser.post("/whoami", account="bob", next="//evil.test").headers["Location"] == "/"
    assert "Gone Guy" not in browser.get("/").body


def test_webhooks_are_set_by_hand_and_filters_are_checked(jira):
    browser = Browser(jira)
    form = {
        "url": "http://127.0.0.1:1/x",
        "secret": "s3cret",
        "events": ["jira:issue_updated"],
        "filter": "project = SUP",
    }
    assert browser.post("/settings/webhooks", **form).status == 303
    page = browser.get("/settings/webhooks").body
    assert "http://127.0.0.1:1/x" in page
    assert "s3cret" not in page
    assert browser.post("/settings/webhooks", **{**form, "filter": "project = "}).status == 400
    assert browser.post("/settings/webhooks", **{**form, "url": "file:///etc"}).status == 400
    assert browser.post("/settings/webhooks/1/delete").status == 303
    assert jira.webhooks.all() == []


def test_it_serves_over_http(jira):
    import requests

    with Server(jira) as address:
        answer = requests.get(f"{address}/rest/api/3/myself", auth=("bot@example.com", "secret"), timeout=5)
        assert answer.json()["accountId"] == "bot"
        assert requests.get(f"{address}/_static/jira.css", timeout=5).headers["Content-Type"].startswith("text/css")
