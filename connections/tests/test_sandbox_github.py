"""The GitHub stand-in: its answers against the description and recorded ones, and what it imitates."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from connections.sandbox.base import Request, Response
from connections.sandbox.github import API, GitHubStandin
from connections.tests.evidence import answer_errors, needs_evidence, payload, payload_body, same_shape, spec

REPO = "/repos/acme/app"
START = 1_767_225_600.0  # 2026-01-01T00:00:00Z


class Client:
    """A stand-in with Ana, a repository, and requests without a socket."""

    def __init__(self) -> None:
        self.at = START
        self.app = GitHubStandin(now=lambda: self.at)
        self.records = self.app.records
        for login in ("ana", "sync"):
            self.records.account(login, f"{login}@acme.example", login.title())
        self.app.sign_in("sync", "t")
        self.records.repository("acme/app", ["ana", "sync"], types=["Bug"])
        self.records.milestone("acme/app", "1.0")

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **query: str):
        sent = {"authorization": "Bearer t", "host": "github.test", **(headers or {})}
        raw = b"" if body is None else json.dumps(body).encode()
        return self.app.handle(Request(method, API + path, query, sent, raw))

    def issue(self, **values: Any) -> int:
        number: int = self.records.create("acme/app", "ana", {"title": "Broken", **values})["number"]
        return number


@pytest.fixture
def site() -> Client:
    return Client()


def checked(site: Client, method: str, path: str, body: Any = None, **query: str) -> Response:
    answer = site.call(method, path, body, **query)
    assert answer_errors("github", method, path, answer.status, answer.body) == []
    return answer


@needs_evidence
def test_answers_are_as_described(site):
    number = site.issue(body="Text", labels=["bug"], assignees=["ana"], milestone=1, type="Bug")
    made = checked(site, "POST", f"{REPO}/issues", {"title": "New", "labels": ["new"]}).body
    site.records.comment(site.records.issue(site.records.found("acme/app"), number), "ana", "Hm")
    comment = checked(site, "POST", f"{REPO}/issues/{number}/comments", {"body": "Well"}).body
    checked(site, "PATCH", f"{REPO}/issues/{number}", {"state": "closed", "title": "Mended", "milestone": None})
    hook = {
        "name": "web",
        "config": {"url": "http://x.test", "content_type": "json"},
        "events": ["issues"],
        "active": True,
    }
    made_hook = checked(site, "POST", f"{REPO}/hooks", hook).body
    for path in (
        *(f"{REPO}/issues", f"{REPO}/issues/{made['number']}", f"{REPO}/issues/{number}/events"),
        *(f"{REPO}/issues/{number}/comments", f"{REPO}/issues/comments", f"{REPO}/issues/comments/{comment['id']}"),
        *(f"{REPO}/labels", f"{REPO}/milestones", f"{REPO}/assignees", f"{REPO}/assignees/ana", f"{REPO}/hooks"),
        *("/user", "/users/ana", "/user/1001", "/rate_limit", "/orgs/acme/issue-types"),
    ):
        assert checked(site, "GET", path).status in (200, 204)
    checked(site, "GET", "/search/users", q='"ana@acme" in:email')
    checked(site, "PATCH", f"{REPO}/hooks/{made_hook['id']}", {"active": False})
    checked(site, "PATCH", f"{REPO}/issues/comments/{comment['id']}", {"body": "Better"})
    checked(site, "DELETE", f"{REPO}/issues/comments/{comment['id']}")
    checked(site, "DELETE", f"{REPO}/hooks/{made_hook['id']}")
    repository = site.call("GET", REPO).body
    schema = {"$ref": "#/components/schemas/repository"}
    assert spec("github").errors(schema, repository, strict=False) == []


@needs_evidence
def test_answers_have_the_recorded_shape(site):
    number = site.issue(body="Text", labels=["bug"], assignees=["ana"], milestone=1, type="Bug")
    shown = site.call("GET", f"{REPO}/issues/{number}")
    left_out = ["reactions", "sub_issues_summary", "issue_dependencies_summary", "type.created_at", "type.updated_at"]
    recorded = payload_body("github/issue_get")
    assert same_shape(recorded, shown.body, missing=True, ignore=left_out) == []
    headers = {
        name.lower() for name in payload("github/issue_get")["response"]["headers"] if "ratelimit" in name.lower()
    }
    assert headers <= {name.lower() for name in shown.headers}
    assert same_shape(payload_body("github/issue_list_since"), site.call("GET", f"{REPO}/issues").body) == []
    refused = site.call("POST", f"{REPO}/issues", {"title": "x" * 257})
    assert same_shape(payload_body("github/validation_error"), refused.body) == []
    assert same_shape(payload_body("github/not_found"), site.call("GET", "/repos/no/thing").body) == []


@needs_evidence
@pytest.mark.parametrize(
    ("event", "name"), [("issues", "webhook_issues_edited"), ("issue_comment", "webhook_issue_comment_edited")]
)
def test_webhooks_have_the_recorded_shape(site, event, name):
    number = site.issue(labels=["bug"], assignees=["ana"], milestone=1)
    issue = site.records.issue(site.records.found("acme/app"), number)
    doc = issue if event == "issues" else site.records.comment(issue, "ana", "Hm")
    doc = doc if event == "issues" else site.records.get("comment", doc["id"])
    sent = site.app.webhooks.body(event, "edited", doc, "ana", {"changes": {"body": {"from": "x"}}})
    assert same_shape(payload(f"github/{name}"), sent) == []
    assert {*payload(f"github/{name}")} <= {*sent}


def test_pages_link_on_and_pull_requests_are_among_the_issues(site):
    for _ in range(4):
        site.issue()
    site.records.create("acme/app", "ana", {"title": "A change"}, pull_request=True)
    first = site.call("GET", f"{REPO}/issues", per_page="2", state="all")
    assert len(first.body) == 2 and "pull_request" in first.body[0]
    query = urlencode({"per_page": "2", "state": "all", "page": "2"})
    assert f'<http://github.test{API}{REPO}/issues?{query}>; rel="next"' in first.headers["Link"]
    last = site.call("GET", f"{REPO}/issues", per_page="2", state="all", page="3")
    assert len(last.body) == 1 and 'rel="next"' not in last.headers["Link"]


def test_what_did_not_change_is_answered_by_304_and_not_counted(site):
    number = site.issue()
    path = f"{REPO}/issues/{number}"
    tag = site.call("GET", path).headers["ETag"]
    before = site.app.charged
    again = site.call("GET", path, headers={"if-none-match": tag})
    assert (again.status, again.body, site.app.charged) == (304, None, before)
    site.records.edit("acme/app", number, "ana", {"title": "Edited"})
    assert site.call("GET", path, headers={"if-none-match": tag}).status == 200
    assert site.app.charged == before + 1


def test_both_limits_are_told_as_recorded(site):
    site.app.hourly_limit = 1
    site.call("GET", "/user")
    limited = site.call("GET", "/user")
    assert limited.status == 403 and "rate limit" in limited.body["message"].lower()
    assert (limited.headers["X-RateLimit-Remaining"], limited.headers["X-RateLimit-Reset"]) == (
        "0",
        str(int(START) + 3600),
    )
    site.at += 3600
    site.app.hourly_limit, site.app.writes_a_minute = 5000, 1
    assert site.call("POST", f"{REPO}/issues", {"title": "One"}).status == 201
    second = site.call("POST", f"{REPO}/issues", {"title": "Two"})
    assert (second.status, second.headers["Retry-After"]) == (403, "60")


def test_a_moved_and_a_deleted_issue_and_a_renamed_repository_are_told_apart(site):
    moved, deleted, kept = site.issue(), site.issue(), site.issue()
    site.records.repository("acme/other")
    site.records.transfer("acme/app", moved, "acme/other", "ana")
    site.records.remove("acme/app", deleted, "ana")
    answer = site.call("GET", f"{REPO}/issues/{moved}")
    assert answer.status == 301
    there = answer.headers["Location"].removeprefix(f"http://github.test{API}")
    assert site.call("GET", there).body["repository_url"].endswith("/acme/other")
    site.app.hidden.add("acme/other")
    assert site.call("GET", f"{REPO}/issues/{moved}").status == 404
    assert site.call("GET", f"{REPO}/issues/{deleted}").status == 410
    assert [row["number"] for row in site.call("GET", f"{REPO}/issues").body] == [kept]
    site.records.rename("acme/app", "acme/new")
    assert site.call("GET", f"{REPO}/issues").status == 301
    assert site.call("GET", "/repos/acme/new/issues").status == 200


def test_a_reason_counts_only_with_a_change_of_state(site):
    number = site.issue()
    path = f"{REPO}/issues/{number}"
    assert site.call("PATCH", path, {"state": "closed"}).body["state_reason"] == "completed"
    assert (
        site.call("PATCH", path, {"state": "closed", "state_reason": "not_planned"}).body["state_reason"] == "completed"
    )
    assert site.call("PATCH", path, {"state": "open"}).body["state_reason"] == "reopened"


def test_labels_are_made_by_naming_them_and_rights_that_lack_are_dropped_unsaid(site):
    made = site.call("POST", f"{REPO}/issues", {"title": "T", "labels": ["Bug"], "assignees": ["ana", "nobody"]}).body
    assert [one["login"] for one in made["assignees"]] == ["ana"]
    path = f"{REPO}/issues/{made['number']}"
    assert [one["name"] for one in site.call("PATCH", path, {"labels": ["bug", "new"]}).body["labels"]] == [
        "Bug",
        "new",
    ]
    site.app.may_push = False
    answer = site.call("PATCH", path, {"labels": [], "title": "Mine"})
    assert (answer.status, answer.body["title"], len(answer.body["labels"])) == (200, "Mine", 2)


def test_each_change_of_an_element_is_an_event(site):
    number = site.issue(labels=["a"])
    site.records.edit("acme/app", number, "ana", {"labels": ["b"], "title": "New", "milestone": 1, "state": "closed"})
    events = [one["event"] for one in site.call("GET", f"{REPO}/issues/{number}/events").body]
    assert events == ["labeled", "renamed", "closed", "unlabeled", "labeled", "milestoned"]


def test_lists_may_be_behind_while_the_issue_itself_is_not(site):
    number = site.issue()
    site.app.list_lag = 60
    assert site.call("GET", f"{REPO}/issues").body == []
    assert site.call("GET", f"{REPO}/issues/{number}").status == 200
    site.at += 61
    site.records.edit("acme/app", number, "ana", {"title": "Edited"})
    assert [row["title"] for row in site.call("GET", f"{REPO}/issues").body] == ["Broken"]


def test_the_records_are_there_again_after_a_restart(tmp_path):
    path = str(tmp_path / "github.sqlite3")
    app = GitHubStandin(path)
    app.records.account("ana")
    app.records.repository("acme/app")
    app.records.create("acme/app", "ana", {"title": "Kept"})
    again = GitHubStandin(path)
    [issue] = again.records.issues(again.records.found("acme/app"))
    assert issue["title"] == "Kept"
    assert again.records.create("acme/app", "ana", {"title": "Next"})["number"] == 2


def test_without_a_token_the_answer_is_401(site):
    answer = site.call("GET", "/user", headers={"authorization": "Bearer x"})
    assert (answer.status, answer.body["message"]) == (401, "Bad credentials")
