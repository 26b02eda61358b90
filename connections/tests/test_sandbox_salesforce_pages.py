"""The Salesforce stand-in's pages: a person lists, edits, comments, deletes and restores cases."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urlencode

import pytest

from connections.tests.salesforce_client import Client

LIST = "/lightning/o/Case/list"


class Browser:
    """Sends forms as a browser would: cookies, Origin, CR LF in texts, the hidden fields of the page."""

    def __init__(self, client):
        self.client = client
        self.cookie = ""

    def get(self, path, query=None):
        return self.client.send("GET", path, query, headers={"Cookie": self.cookie})

    def post(self, path, fields, origin="http://org.test"):
        headers = {"Cookie": self.cookie, "Origin": origin} if origin else {"Cookie": self.cookie}
        pairs = [(k, v.replace("\r\n", "\n").replace("\n", "\r\n")) for k, v in fields]
        answer = self.client.send("POST", path, body=urlencode(pairs).encode(), headers=headers)
        self.cookie = answer.headers.get("Set-Cookie", self.cookie).split(";")[0]
        return answer

    def form(self, path):
        """The form of a page as it would be sent untouched: (name, value) pairs."""
        html = self.get(path).body
        pairs = re.findall(r'<input type="hidden" name="(was-[^"]+)" value="([^"]*)"', html)
        pairs += re.findall(r'<input id="i-\w+" type="\w+"[^>]*? name="(\w+)" value="([^"]*)"', html)
        pairs += re.findall(r'<textarea id="i-\w+" name="(\w+)"[^>]*>\n(.*?)</textarea>', html, re.DOTALL)
        pairs += re.findall(r'<input type="checkbox" name="(\w+)" value="([^"]*)" checked', html)
        for name, options in re.findall(r'<select id="i-\w+" name="(\w+)">(.*?)</select>', html, re.DOTALL):
            chosen = re.search(r'<option value="([^"]*)" selected', options)
            pairs.append((name, chosen[1] if chosen else ""))
        return [(name, unescape(value)) for name, value in pairs]


@pytest.fixture
def org():
    return Client()


@pytest.fixture
def person(org):
    return Browser(org)


def changed(pairs, **values):
    """The pairs with single fields filled anew."""
    return [(n, v) for n, v in pairs if n not in values] + list(values.items())


def test_the_list_shows_what_the_view_and_the_search_ask_for(org, person):
    org.case(Subject="Printer on fire", Jira_Key__c="SUP-7")
    org.case(Subject="Queue stuck", OwnerId=org.queue)
    org.case(Subject="Old story", Status="Closed")
    gone = org.case(Subject="Thrown away")
    org.org.delete(gone)

    def seen(**query):
        html = person.get(LIST, query).body
        return {s for s in ("Printer on fire", "Queue stuck", "Old story", "Thrown away") if s in html}

    assert seen() == {"Printer on fire", "Queue stuck"}
    assert seen(view="mine") == {"Printer on fire"}
    assert seen(view="queues") == {"Queue stuck"}
    assert seen(view="closed") == {"Old story"}
    assert seen(view="all") == {"Printer on fire", "Queue stuck", "Old story"}
    assert seen(view="deleted") == {"Thrown away"}
    assert seen(q="sup-7") == {"Printer on fire"}
    assert seen(q="nothing") == set()


def test_a_long_list_has_pages(org, person):
    for number in range(60):
        org.case(Subject=f"Case number {number:02}")
        org.clock.tick(1)
    first, second = person.get(LIST).body, person.get(LIST, {"page": "2"}).body
    assert "Case number 59" in first and "Older" in first and "Newer" not in first
    assert "Case number 00" in second and "Newer" in second and "Older" not in second


def test_a_record_shows_details_comments_and_history_escaped(org, person):
    case = org.case(Subject="<script>alert(1)</script>", Labels__c="api;login")
    org.org.create("CaseComment", {"ParentId": case, "CommentBody": "call <b>back</b>"}, org.ana)
    org.org.edit(case, org.ana, Priority="P1", OwnerId=org.queue)
    answer = person.get(f"/lightning/r/Case/{case}/view")
    html = answer.body
    assert "<script" not in html and "&lt;script&gt;alert(1)" in html
    assert "call &lt;b&gt;back&lt;/b&gt;" in html
    assert "from <q>P3</q> to <q>P1</q>" in html
    assert "from <q>Ana Ruiz</q> to <q>Tier 2</q>" in html
    assert "script-src" not in answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_short_and_long_addresses_lead_to_the_record(org, person):
    case = org.case()
    assert person.get("/").headers["Location"] == LIST
    answer = person.get(f"/{case[:15]}")
    assert (answer.status, answer.headers["Location"]) == (303, f"/lightning/r/Case/{case[:15]}/view")
    for path in (answer.headers["Location"], f"/lightning/r/{case}/view"):
        assert person.get(path).status == 200
    assert person.get("/lightning/r/Case/500000000000zzz/view").status == 404


def test_an_untouched_form_writes_nothing(org, person):
    case = org.case(Description="a\nb\n\n- c", Effort__c=2.5, Due_Date__c="2026-02-03", Labels__c="api;login")
    before = org.org.get(case)
    path = f"/lightning/r/Case/{case}/edit"
    assert person.post(path, person.form(path)).status == 303
    assert org.org.get(case) is before


def test_a_person_changes_only_the_fields_they_touched(org, person):
    case = org.case(Description="a\nb", Effort__c=2.5)
    path = f"/lightning/r/Case/{case}/edit"
    form = person.form(path)
    org.clock.tick(9)
    org.call("PATCH", f"sobjects/Case/{case}", {"Priority": "P1"})  # meanwhile, elsewhere
    person.post(path, [*changed(form, Subject="Mine", Effort__c=""), ("Labels__c", "login"), ("Labels__c", "api")])
    doc = org.org.get(case)
    assert (doc["Subject"], doc["Effort__c"], doc["Labels__c"]) == ("Mine", None, "api;login")
    assert (doc["Priority"], doc["Description"]) == ("P1", "a\nb")
    assert doc["LastModifiedById"] == org.ana
    mine = {h["field"] for h in org.org.history(case) if h["by"] == org.ana}
    assert mine == {"created", "Subject", "Effort__c", "Labels__c"}


def test_a_text_typed_in_a_browser_has_cr_lf(org, person):
    case = org.case(Description="a\nb")
    path = f"/lightning/r/Case/{case}/edit"
    person.post(path, changed(person.form(path), Description="a\nb\nc"))
    assert org.org.get(case)["Description"] == "a\r\nb\r\nc"


def test_a_refused_form_keeps_what_was_typed(org, person):
    case = org.case()
    path = f"/lightning/r/Case/{case}/edit"
    answer = person.post(path, changed(person.form(path), Subject="Typed", Effort__c="99999999"))
    assert answer.status == 422
    assert "Nothing was saved." in answer.body and 'value="Typed"' in answer.body
    assert org.org.get(case)["Subject"] == "Broken"


def test_an_owner_who_left_and_a_retired_value_stay_choosable(org, person):
    org.org.set_field("Case", "Priority", values=("P1", "P2"), retired=("P3", "P4"))
    case = org.case(Priority="P2")
    org.org.get(case)["Priority"] = "P4"
    org.org.deactivate(org.ana)
    form = dict(person.form(f"/lightning/r/Case/{case}/edit"))
    assert (form["OwnerId"], form["Priority"]) == (org.ana, "P4")


def test_a_new_case_belongs_to_the_person_who_made_it(org, person):
    form = person.form("/lightning/o/Case/new")
    answer = person.post("/lightning/o/Case/new", changed(form, Subject="Fresh", Origin="Phone"))
    [doc] = org.org.cases()
    assert answer.headers["Location"] == f"/lightning/r/Case/{doc['Id']}/view"
    assert (doc["Subject"], doc["Origin"], doc["OwnerId"], doc["CreatedById"]) == ("Fresh", "Phone", org.ana, org.ana)


def test_the_switch_changes_who_acts(org, person):
    eva = org.org.create_user("Eva Lang")["Id"]
    answer = person.post("/switch-user", [("user", eva), ("back", LIST)])
    assert answer.headers["Location"] == LIST
    assert "HttpOnly" in answer.headers["Set-Cookie"] and "SameSite=Lax" in answer.headers["Set-Cookie"]
    person.post("/lightning/o/Case/new", [("Subject", "By Eva")])
    assert org.org.cases()[0]["CreatedById"] == eva
    org.org.deactivate(eva)
    person.post("/lightning/o/Case/new", [("Subject", "By the next one")])
    assert org.org.cases()[1]["CreatedById"] == org.ana
    assert person.post("/switch-user", [("user", "x"), ("back", "//evil.test")]).headers["Location"] == LIST


def test_comments_are_added_and_too_long_ones_refused(org, person):
    case = org.case()
    path = f"/lightning/r/Case/{case}/comment"
    person.post(path, [("body", "hello\nthere"), ("published", "on")])
    person.post(path, [("body", "   ")])
    assert person.post(path, [("body", "x" * 4001)]).status == 422
    [comment] = org.org.comments(case)
    assert (comment["CommentBody"], comment["IsPublished"]) == ("hello\r\nthere", True)


def test_deleting_asks_first_and_can_be_undone(org, person):
    case = org.case()
    assert "go to the recycle bin" in person.get(f"/lightning/r/Case/{case}/delete").body
    assert org.org.get(case)["IsDeleted"] is False
    person.post(f"/lightning/r/Case/{case}/delete", [])
    assert org.org.get(case)["IsDeleted"] is True
    assert "recycle bin" in person.get(f"/lightning/r/Case/{case}/view").body
    assert "Undelete" in person.get(LIST, {"view": "deleted"}).body
    person.post(f"/lightning/r/Case/{case}/undelete", [])
    assert org.org.get(case)["IsDeleted"] is False


def test_a_key_taken_meanwhile_stops_the_undelete(org, person):
    case = org.case(SyncAdmin_Key__c="k")
    org.org.delete(case)
    org.case(SyncAdmin_Key__c="k")
    answer = person.post(f"/lightning/r/Case/{case}/undelete", [])
    assert answer.status == 422
    assert "duplicate value found" in answer.body


@pytest.mark.parametrize("origin", ["http://evil.test", "null"])
def test_a_form_from_another_site_changes_nothing(org, person, origin):
    case = org.case()
    for path in (f"/lightning/r/Case/{case}/delete", f"/lightning/r/Case/{case}/edit", "/switch-user"):
        assert person.post(path, [("Subject", "stolen")], origin=origin).status == 403
    assert org.org.get(case)["Subject"] == "Broken"
    assert org.org.get(case)["IsDeleted"] is False


def test_the_style_is_served_from_here(person):
    answer = person.get("/_static/salesforce.css")
    assert answer.headers["Content-Type"].startswith("text/css")
    assert "http" not in answer.body and "@import" not in answer.body
