"""The GitHub stand-in's pages: a person lists, edits, comments, makes and deletes issues."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urlencode

import pytest

from connections.sandbox.base import Request
from connections.sandbox.github import GitHubStandin

LIST, ISSUE = "/issues", "/acme/app/issues/1"


class Browser:
    """Sends forms as a browser would: cookies, Origin, CR LF in texts, the hidden fields of the page."""

    def __init__(self) -> None:
        self.app = GitHubStandin()
        self.records = self.app.records
        for login in ("ana", "ben", "sync"):
            self.records.account(login, name=login.title())
        self.app.sign_in("sync", "t")
        self.records.repository("acme/app", ["ana", "ben"], types=["Bug"])
        self.records.milestone("acme/app", "1.0")
        self.cookie = ""

    def send(self, method, path, query=None, body=b"", **headers):
        given = {"host": "github.test", "cookie": self.cookie, **headers}
        return self.app.handle(Request(method, path, query or {}, given, body))

    def get(self, path, **query):
        return self.send("GET", path, query)

    def post(self, path, fields, origin="http://github.test"):
        pairs = [(name, value.replace("\n", "\r\n")) for name, value in fields.items()]
        answer = self.send("POST", path, body=urlencode(pairs).encode(), origin=origin)
        self.cookie = answer.headers.get("Set-Cookie", self.cookie).split(";")[0]
        return answer

    def form(self, path):
        """The form of a page as it would be sent untouched."""
        html = self.get(path).body
        pairs = re.findall(r'<input type="hidden" name="(was-[^"]+)" value="([^"]*)"', html)
        pairs += re.findall(r'<input id="i-\w+" type="\w+"[^>]*? name="(\w+)" value="([^"]*)"', html)
        pairs += re.findall(r'<textarea id="i-\w+" name="(\w+)"[^>]*>\n(.*?)</textarea>', html, re.DOTALL)
        for name, options in re.findall(r'<select id="i-\w+" name="(\w+)">(.*?)</select>', html, re.DOTALL):
            chosen = re.search(r'<option value="([^"]*)" selected', options) or re.search(r'value="([^"]*)"', options)
            pairs.append((name, chosen[1] if chosen else ""))
        return {name: unescape(value) for name, value in pairs}

    def issue(self, **values):
        return self.records.create("acme/app", "ana", {"title": "Broken", **values})

    def stored(self):
        return self.records.issue(self.records.found("acme/app"), 1)


@pytest.fixture
def person():
    return Browser()


def test_the_list_shows_issues_of_the_view_and_no_pull_requests(person):
    person.issue(title="Printer on fire", assignees=["ana"])
    person.issue(title="Nobody's")
    person.records.edit("acme/app", person.issue(title="Old story")["number"], "ana", {"state": "closed"})
    person.records.create("acme/app", "ana", {"title": "A change"}, pull_request=True)

    def seen(**query):
        html = unescape(person.get(LIST, **query).body)
        return {s for s in ("Printer on fire", "Nobody's", "Old story", "A change") if s in html}

    assert seen() == {"Printer on fire", "Nobody's"}
    assert seen(view="mine") == {"Printer on fire"}
    assert seen(view="closed") == {"Old story"}
    assert seen(view="all", q="OLD") == {"Old story"}
    assert person.get("/acme/app/issues").headers["Location"] == person.get("/").headers["Location"] == LIST


def test_an_issue_shows_its_text_without_what_is_hidden_and_its_history_escaped(person):
    person.issue(title="<script>alert(1)</script>", body="Smoke\n\n<!-- syncadmin:k -->", labels=["<b>"], milestone=1)
    person.records.edit("acme/app", 1, "ben", {"title": "Mended", "state": "closed", "assignees": ["ana"]})
    person.records.comment(person.stored(), "ben", "Well <i>done</i>")
    answer = person.get(ISSUE)
    assert "<script" not in answer.body and "syncadmin:k" not in answer.body and "Smoke" in answer.body
    assert "Well &lt;i&gt;done&lt;/i&gt;" in answer.body and "Added the label &lt;b&gt;." in answer.body
    assert "Closed this as completed." in answer.body and "to <q>Mended</q>" in answer.body
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert person.get("/acme/app/issues/99").status == 404


def test_an_untouched_form_writes_nothing_and_a_touched_one_what_was_touched(person):
    person.issue(body="a\nb\n\n<!-- syncadmin:k -->", labels=["x", "y"], assignees=["ana"], milestone=1, type="Bug")
    before = person.stored()
    form = person.form(f"{ISSUE}/edit")
    assert person.post(f"{ISSUE}/edit", form).headers["Location"] == ISSUE
    assert person.stored() == before
    person.records.edit("acme/app", 1, "ben", {"labels": ["z"]})  # meanwhile, elsewhere
    person.post(f"{ISSUE}/edit", {**form, "title": "Mine", "state": "not_planned"})
    now = person.stored()
    assert (now["title"], now["labels"], now["state"], now["state_reason"]) == ("Mine", ["z"], "closed", "not_planned")
    assert now["body"] == before["body"]


def test_a_new_issue_is_made_by_the_person_who_is_played(person):
    person.post("/switch-user", {"user": "ben", "back": LIST})
    fields = {"title": "Fresh", "repository": "acme/app", "labels": "a, b", "assignees": "ana", "state": "open"}
    assert person.post("/issues/new", fields).headers["Location"] == ISSUE
    made = person.stored()
    assert (made["title"], made["user"], made["labels"], made["assignees"]) == ("Fresh", "ben", ["a", "b"], ["ana"])
    assert "Sync" not in person.get(LIST).body  # SyncAdmin's own account is nobody to play


def test_a_refused_form_keeps_what_was_typed(person):
    answer = person.post("/issues/new", {"title": "", "repository": "acme/app", "labels": "typed"})
    assert answer.status == 422 and "Nothing was saved." in answer.body and 'value="typed"' in answer.body


def test_comments_are_posted_and_deleting_asks_first(person):
    person.issue()
    person.post(f"{ISSUE}/comment", {"kind": "comment", "text": "hello\nthere"})
    person.post(f"{ISSUE}/comment", {"kind": "other", "text": "no"})
    assert [one["body"] for one in person.records.comments(person.stored())] == ["hello\nthere"]
    assert "goes for good" in person.get(f"{ISSUE}/delete").body
    person.post(f"{ISSUE}/delete", {})
    assert person.get(ISSUE).status == 404


def test_a_form_from_another_site_changes_nothing(person):
    person.issue()
    for path in (f"{ISSUE}/edit", f"{ISSUE}/comment", f"{ISSUE}/delete", "/issues/new", "/switch-user"):
        fields = {"title": "stolen", "kind": "comment", "text": "x", "repository": "acme/app"}
        assert person.post(path, fields, "http://evil.test").status == 403
    assert person.stored()["title"] == "Broken" and not person.records.comments(person.stored())


def test_the_style_is_served_from_here(person):
    css = person.get("/_static/github.css")
    assert css.headers["Content-Type"].startswith("text/css") and "{{" not in css.body and "@import" not in css.body
