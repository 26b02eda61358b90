"""The ServiceNow stand-in's pages: a person lists, edits, comments, makes and deletes incidents."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urlencode

import pytest

from connections.tests.servicenow_client import Client

LIST = "/incident_list.do"


class Browser:
    """Sends forms as a browser would: cookies, Origin, CR LF in texts, the hidden fields of the page."""

    def __init__(self, client):
        self.client = client
        self.cookie = ""

    def get(self, path, query=None):
        return self.client.send("GET", path, query, headers={"Cookie": self.cookie})

    def post(self, path, fields, origin="http://acme.test"):
        headers = {"Cookie": self.cookie, "Origin": origin} if origin else {"Cookie": self.cookie}
        pairs = [(k, v.replace("\r\n", "\n").replace("\n", "\r\n")) for k, v in fields.items()]
        answer = self.client.send("POST", path, body=urlencode(pairs).encode(), headers=headers)
        self.cookie = answer.headers.get("Set-Cookie", self.cookie).split(";")[0]
        return answer

    def form(self, path):
        """The form of a page as it would be sent untouched."""
        html = self.get(path).body
        pairs = re.findall(r'<input type="hidden" name="(was-[^"]+)" value="([^"]*)"', html)
        pairs += re.findall(r'<input id="i-\w+" type="\w+"[^>]*? name="(\w+)" value="([^"]*)"', html)
        pairs += re.findall(r'<textarea id="i-\w+" name="(\w+)"[^>]*>\n(.*?)</textarea>', html, re.DOTALL)
        for name, options in re.findall(r'<select id="i-\w+" name="(\w+)">(.*?)</select>', html, re.DOTALL):
            chosen = re.search(r'<option value="([^"]*)" selected', options)
            pairs.append((name, chosen[1] if chosen else ""))
        return {name: unescape(value) for name, value in pairs}


@pytest.fixture
def site():
    return Client()


@pytest.fixture
def person(site):
    return Browser(site)


def at(page, id):
    return f"/{page}.do?sys_id={id}"


def test_the_list_shows_what_the_view_and_the_search_ask_for(site, person):
    site.incident(short_description="Printer on fire", assigned_to=site.ana)
    site.incident(short_description="Nobody's")
    closed = site.incident(short_description="Old story")
    site.records.edit("incident", closed, {"state": "8"}, "ana.ruiz")

    def seen(**query):
        html = unescape(person.get(LIST, query).body)
        return {s for s in ("Printer on fire", "Nobody's", "Old story") if s in html}

    assert seen() == {"Printer on fire", "Nobody's"}
    assert seen(view="mine") == {"Printer on fire"}
    assert seen(view="unassigned") == {"Nobody's"}
    assert seen(view="all", q="OLD") == {"Old story"}
    assert seen(q="nothing") == set() and "No record fits" in person.get(LIST, {"q": "nothing"}).body


def test_a_long_list_has_pages(site, person):
    for number in range(60):
        site.incident(short_description=f"Incident number {number:02}")
        site.clock.tick(1)
    first, second = person.get(LIST).body, person.get(LIST, {"page": "2"}).body
    assert "Incident number 59" in first and "Older" in first and "Newer" not in first
    assert "Incident number 00" in second and "Newer" in second and "Older" not in second


def test_a_record_shows_details_entries_and_history_escaped(site, person):
    id = site.incident(short_description="<script>alert(1)</script>")
    values = {"work_notes": "call <b>back</b>", "category": "network", "assigned_to": site.ana}
    site.records.edit("incident", id, values, "ana.ruiz")
    answer = person.get(at("incident", id))
    assert "<script" not in answer.body and "&lt;script&gt;alert(1)" in answer.body
    assert "call &lt;b&gt;back&lt;/b&gt;" in answer.body and "work note" in answer.body
    assert "from <q>Inquiry / Help</q> to <q>Network</q>" in answer.body
    assert "to <q>Ana Ruiz</q>" in answer.body
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert person.get(at("incident", "0" * 32)).status == 404
    assert person.get("/").headers["Location"] == LIST


def test_an_untouched_form_writes_nothing(site, person):
    id = site.incident(description="a\nb\n\n- c", u_effort="2.5", u_due="2026-02-03", assigned_to=site.ana)
    path = at("incident_edit", id)
    assert person.post(path, person.form(path)).status == 303
    assert site.records.rows("incident")[id]["sys_mod_count"] == "0"


def test_a_person_changes_only_the_fields_they_touched(site, person):
    id = site.incident(description="a\nb")
    path = at("incident_edit", id)
    form = person.form(path)
    site.call("PATCH", f"incident/{id}", {"contact_type": "phone"})  # meanwhile, elsewhere
    person.post(path, {**form, "short_description": "Mine", "assigned_to": site.ana})
    row = site.records.rows("incident")[id]
    assert (row["short_description"], row["contact_type"], row["assigned_to"]) == ("Mine", "phone", site.ana)
    assert (row["description"], row["sys_updated_by"]) == ("a\nb", "ana.ruiz")


def test_a_refused_form_keeps_what_was_typed(site, person):
    id = site.incident()
    path = at("incident_edit", id)
    answer = person.post(path, {**person.form(path), "short_description": "Typed", "state": "6"})
    assert answer.status == 422 and "Nothing was saved." in answer.body and 'value="Typed"' in answer.body
    assert site.records.rows("incident")[id]["short_description"] == "Broken"


def test_a_person_who_left_stays_choosable_where_they_are_assigned(site, person):
    id = site.incident(assigned_to=site.bob)
    assert person.form(at("incident_edit", id))["assigned_to"] == site.bob
    assert f'value="{site.bob}"' not in person.get("/incident_new.do").body


def test_a_new_incident_is_made_by_the_person(site, person):
    form = person.form("/incident_new.do")
    answer = person.post("/incident_new.do", {**form, "short_description": "Fresh", "contact_type": "phone"})
    [row] = site.records.rows("incident").values()
    assert answer.headers["Location"] == at("incident", row["sys_id"])
    assert (row["short_description"], row["contact_type"], row["sys_created_by"]) == ("Fresh", "phone", "ana.ruiz")


def test_the_switch_changes_who_acts(site, person):
    eva = site.records.user("Eva Lang")
    answer = person.post("/switch-user", {"user": eva, "back": LIST})
    assert answer.headers["Location"] == LIST
    assert "HttpOnly" in answer.headers["Set-Cookie"] and "SameSite=Lax" in answer.headers["Set-Cookie"]
    person.post("/incident_new.do", {"short_description": "By Eva"})
    assert [row["sys_created_by"] for row in site.records.rows("incident").values()] == ["eva.lang"]
    assert person.post("/switch-user", {"user": "x", "back": "//evil.test"}).headers["Location"] == LIST


def test_comments_and_work_notes_are_posted(site, person):
    id = site.incident()
    path = at("incident_note", id)
    person.post(path, {"kind": "comments", "text": "hello\nthere"})
    person.post(path, {"kind": "work_notes", "text": "aside"})
    person.post(path, {"kind": "comments", "text": "   "})
    person.post(path, {"kind": "short_description", "text": "stolen"})
    assert [(e["element"], e["value"]) for e in site.records.journal(id)] == [
        ("comments", "hello\nthere"),
        ("work_notes", "aside"),
    ]
    assert site.records.rows("incident")[id]["short_description"] == "Broken"


def test_deleting_asks_first(site, person):
    id = site.incident()
    assert "goes for good" in person.get(at("incident_delete", id)).body
    assert id in site.records.rows("incident")
    person.post(at("incident_delete", id), {})
    assert id not in site.records.rows("incident")


@pytest.mark.parametrize("origin", ["http://evil.test", "null"])
def test_a_form_from_another_site_changes_nothing(site, person, origin):
    id = site.incident()
    for path in (at("incident_delete", id), at("incident_edit", id), at("incident_note", id), "/switch-user"):
        assert person.post(path, {"short_description": "stolen", "kind": "comments", "text": "x"}, origin).status == 403
    assert site.records.rows("incident")[id]["short_description"] == "Broken" and not site.records.journal(id)


def test_the_style_is_served_from_here(person):
    answer = person.get("/_static/servicenow.css")
    assert answer.headers["Content-Type"].startswith("text/css")
    assert "http" not in answer.body and "@import" not in answer.body
