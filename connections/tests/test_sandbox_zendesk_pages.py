"""The Zendesk stand-in's pages: an agent lists, edits, comments, makes and deletes tickets."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from connections.sandbox.base import Request
from connections.sandbox.zendesk import ZendeskStandin

LIST = "/agent/tickets"


class Browser:
    def __init__(self) -> None:
        self.app = ZendeskStandin()
        self.records = self.app.records
        self.ana, self.ben = (self.records.user(name, f"{name}@acme.example".lower()) for name in ("Ana", "Ben"))
        self.group = self.records.group("Tier 2")
        given = {"subject": "Printer <on> fire", "description": "Smoke\nand flames", "tags": ["a", "b"]}
        self.ticket = self.records.create(given, self.ana)[0]["id"]
        self.at = f"{LIST}/{self.ticket}"

    def get(self, path, **query):
        return self.app.handle(Request("GET", path, query, {"host": "z.test"}, b""))

    def post(self, path, fields, origin="http://z.test", user=""):
        headers = {"host": "z.test", "origin": origin, "cookie": f"standin_user={user}"}
        return self.app.handle(Request("POST", path, {}, headers, urlencode(fields).encode()))


@pytest.fixture
def person():
    return Browser()


def test_a_ticket_is_listed_and_shown_with_its_comments_and_history_escaped(person):
    person.records.update(person.ticket, {"priority": "high", "assignee_id": person.ben}, person.ana)
    person.post(f"{person.at}/comment", {"kind": "internal", "text": "aside <b>"})
    assert "Printer &lt;on&gt; fire" in person.get(LIST).body
    page = person.get(person.at).body
    assert "aside &lt;b&gt;" in page and "internal note" in page and "to <q>high</q>" in page and "Ben" in page
    assert "Printer" not in person.get(LIST, view="solved").body
    assert person.get("/").headers["Location"] == LIST and person.get(f"{LIST}/9").status == 404


def test_a_person_changes_only_the_fields_they_touched(person):
    fields = {"subject": "Mine", "was-subject": "Printer <on> fire", "tags": "a, b", "was-tags": "a, b"}
    fields |= {"status": "new", "was-status": "new", "group": str(person.group), "was-group": ""}
    assert person.post(f"{person.at}/edit", fields, user=person.ben).headers["Location"] == person.at
    row = person.records.ticket(person.ticket)
    assert (row["subject"], row["group_id"], row["tags"]) == ("Mine", person.group, ["a", "b"])
    assert person.records.audits(person.ticket)[-1]["author_id"] == person.ben
    assert 'name="description"' not in person.get(f"{person.at}/edit").body


def test_a_ticket_is_made_or_refused_in_words_and_deleting_asks_first(person):
    refused = person.post(f"{LIST}/new", {"subject": "Typed", "description": ""})
    assert refused.status == 422 and "Nothing was saved." in refused.body and 'value="Typed"' in refused.body
    made = person.post(f"{LIST}/new", {"subject": "Fresh", "description": "Why", "status": "new"})
    assert "Fresh" in person.get(made.headers["Location"]).body
    assert "goes" in person.get(f"{person.at}/delete").body
    assert person.post(f"{person.at}/delete", {}, "http://evil.test").status == 403
    person.post(f"{person.at}/delete", {})
    assert person.get(person.at).status == 404
