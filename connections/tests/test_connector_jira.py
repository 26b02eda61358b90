"""The Jira connector against the stand-in; every request and answer is checked against the vendor's description."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from datetime import UTC, datetime

import pytest

from connections.connectors.base import (
    DeliveryRequest,
    Gone,
    NeedsAuthorization,
    NotAllowed,
    Record,
    Refused,
    Retry,
    Uncertain,
    VersionMismatch,
)
from connections.connectors.jira_scope import scope_jql, tidy
from connections.connectors.jira_values import epoch_ms, spec_of
from connections.connectors.jira_workflow import next_step
from connections.sandbox.jira_fields import Transition
from connections.tests.evidence import needs_evidence, payload
from connections.tests.jira_client import SCOPE, SECRET, US, connect, jira_site_running, new_issue

PATHS = [
    "key", "summary", "description", "status", "priority", "labels", "assignee", "duedate", "issuetype", "resolution",
    "customfield_10050", "customfield_10052", "customfield_10053", "customfield_10054", "customfield_10055",
]  # fmt: skip


@pytest.fixture
def site():
    with jira_site_running() as running:
        yield running


def paragraph(text):
    return {
        "type": "doc",
        "version": 1,
        "content": [{"type": "paragraph", "content": [{"type": "text", "text": text}]}],
    }


def read(jira, id, paths=PATHS):
    return jira.get_many("issue", [id], paths)[id]


# Reading


def test_a_record_comes_in_normalised_form(site):
    standin, jira = site
    issue = new_issue(
        standin,
        description="Smoke\n\nand flames",
        priority="High",
        labels=["zebra", "ant"],
        assignee="ben@acme.example",
        duedate="2026-03-01",
        Severity="High",
        Points=3.0,
        Regions=["US", "EU"],
        **{"Seen at": "2026-01-02T03:04:05.678+0200"},
    )
    record = read(jira, issue["id"])
    assert record.values["priority"] == "High"
    assert record.values["labels"] == ["ant", "zebra"]
    assert record.values["assignee"] == "ben@acme.example"
    assert record.values["duedate"] == "2026-03-01"
    assert record.values["customfield_10050"] == "High"
    assert record.values["customfield_10052"] == 3
    assert record.values["customfield_10053"] is None
    assert record.values["customfield_10054"] == ["EU", "US"]
    assert record.values["customfield_10055"] == "2026-01-02T01:04:05.678000Z"
    assert record.values["description"]["type"] == "doc"
    assert record.values["key"] == record.key == issue["key"]
    assert (record.title, record.created_by, record.unreadable) == ("Printer on fire", "acc-ana", frozenset())
    assert record.version == record.updated_at
    assert len(record.version) == len("2026-01-02T01:04:05.678Z")


def test_a_hidden_address_is_shown_as_the_account(site):
    standin, jira = site
    issue = new_issue(standin, assignee="acc-hal")
    assert read(jira, issue["id"]).values["assignee"] == "id:acc-hal"


def test_a_hidden_field_is_unreadable_and_not_empty(site):
    standin, jira = site
    issue = new_issue(standin, priority="High")
    standin.update_user(US, hidden_fields=["priority"])
    record = read(jira, issue["id"])
    assert record.unreadable == {"priority"}
    assert "priority" not in record.values


@pytest.mark.parametrize(
    ("type_", "items", "odd", "usual"),
    [
        ("number", None, "12 h", 12),
        ("user", None, {"displayName": "Ana"}, {"accountId": "a"}),
        ("option", None, {"label": "Red"}, {"value": "Red"}),
        ("option", None, ["Red"], {"value": "Red"}),
        ("array", "option", [{"value": "Red"}, {"label": "Blue"}], [{"value": "Red"}]),
        ("array", "string", "red,blue", ["red"]),
        ("datetime", None, "+20000-01-01T00:00:00Z", "2026-01-01T00:00:00.000+0000"),
        ("date", None, "12026-01-01", "2026-01-01"),
        ("string", None, {"type": "doc", "version": 1, "content": []}, "text"),
    ],
)
def test_a_value_of_an_unknown_form_is_unreadable_and_not_empty(site, type_, items, odd, usual):
    _, jira = site
    spec = spec_of({"id": "customfield_1", "name": "Odd", "schema": {"type": type_, "items": items}})
    for raw, readable in ((odd, False), (usual, True), (None, True)):
        record = jira.site.record({"id": "1", "fields": {spec.id: raw}}, [spec.id], {spec.id: spec})
        assert (spec.id in record.values, spec.id in record.unreadable) == (readable, not readable)


def test_a_hundred_and_more_issues_are_read_in_two_calls(site):
    standin, jira = site
    ids = [new_issue(standin)["id"] for _ in range(120)]
    read(jira, ids[0], ["summary"])
    standin.calls()
    assert set(jira.get_many("issue", ids, ["summary"])) == set(ids)
    assert standin.calls() == ["POST issue/bulkfetch"] * 2


def test_a_deleted_issue_is_absent_and_its_update_is_not_a_certain_deletion(site):
    standin, jira = site
    issue = new_issue(standin)
    standin.delete(issue["key"], "ana@acme.example")
    assert jira.get_many("issue", [issue["id"]], PATHS) == {}
    with pytest.raises(Gone) as caught:
        jira.update("issue", issue["id"], {"summary": "x"}, None, PATHS)
    assert caught.value.certain is False


def test_a_404_in_other_words_than_jiras_is_not_taken_for_a_record_that_is_gone(site):
    standin, jira = site
    issue = new_issue(standin)
    standin.fault("status", status=404, body="<html>Your site is unavailable.</html>", times=2)
    with pytest.raises(Retry, match="check the address"):
        jira.update("issue", issue["id"], {"summary": "x"}, None, PATHS)
    with pytest.raises(Retry, match="check the address"):
        jira.get_many("issue", [issue["id"]], PATHS)


def test_an_issue_jira_cannot_show_just_now_is_not_taken_for_gone(site):
    standin, jira = site
    issue = new_issue(standin)
    standin.api.unfetchable[issue["id"]] = "busy"
    [record] = jira.get_many("issue", [issue["id"]], PATHS).values()
    assert not record.deleted and not record.values and record.unreadable == set(PATHS)


def test_an_issue_jira_cannot_show_holds_no_other_up(site):
    standin, jira = site
    odd, *others = (new_issue(standin)["id"] for _ in range(3))
    standin.api.unfetchable[odd] = "broken for good"
    found = jira.get_many("issue", [odd, *others], ["summary"])
    assert {id for id, record in found.items() if record.values} == set(others)
    assert found[odd].unreadable == {"summary"}
    standin.api.unfetchable |= dict.fromkeys(others, "busy")
    with pytest.raises(Retry, match="could not show 3 issues just now"):
        jira.get_many("issue", [odd, *others], ["summary"])


def test_issues_that_one_answer_has_no_room_for_are_asked_for_again_alone(site):
    standin, jira = site
    ids = [new_issue(standin)["id"] for _ in range(5)]
    standin.api.room = 2
    read(jira, ids[0], ["summary"])
    standin.calls()
    assert set(jira.get_many("issue", ids, ["summary"])) == set(ids)
    assert standin.calls() == ["POST issue/bulkfetch"] * 3
    standin.api.unfetchable[ids[4]] = "busy"
    assert not jira.get_many("issue", ids, ["summary"])[ids[4]].values


def test_an_issue_asked_for_by_key_that_cannot_be_shown_just_now_is_not_taken_for_no_match(site):
    standin, jira = site
    issue = new_issue(standin)
    standin.api.unfetchable[issue["id"]] = "busy"
    with pytest.raises(Retry, match="busy"):
        jira.find_by_values("issue", "key", [issue["key"]], ["summary"], SCOPE)


# Lists


def changed(jira, watermark, scope=SCOPE):
    pages = list(jira.changed_since("issue", watermark, PATHS, scope))
    return [record.external_id for page in pages for record in page.records], pages


def test_a_first_listing_names_all_issues_in_scope_and_a_second_one_what_changed(site):
    standin, jira = site
    first, second = new_issue(standin), new_issue(standin)
    new_issue(standin, project="OPS")
    ids, pages = changed(jira, None)
    assert ids == [first["id"], second["id"]]
    assert pages[-1].last
    assert all(not record.values for page in pages for record in page.records)
    later = str(int(time.time() * 1000) + 120_000)
    assert changed(jira, later)[0] == []
    assert changed(jira, jira.shift_watermark(later, 300))[0] == ids


def test_a_position_is_inclusive(site):
    standin, jira = site
    issue = new_issue(standin)["id"]
    moment = epoch_ms(jira.get_many("issue", [issue], ["summary"])[issue].updated_at)
    assert changed(jira, str(moment))[0] == [issue]
    assert changed(jira, str(moment + 1))[0] == []


def test_the_watermark_is_the_servers_clock_and_never_moves_back(site):
    standin, jira = site
    _, pages = changed(jira, None)
    now = time.time() * 1000
    assert abs(int(pages[-1].watermark) - now) < 60_000
    # It never moves back.
    assert changed(jira, "99999999999999")[1][-1].watermark == "99999999999999"


def test_a_listing_goes_over_all_pages_and_only_the_last_says_so(site):
    standin, jira = site
    ids = [new_issue(standin)["id"] for _ in range(205)]
    found, pages = changed(jira, None)
    assert found == ids
    assert [page.last for page in pages] == [False, False, True]
    assert [id for page in jira.list_ids("issue", SCOPE) for id in page] == ids


def test_a_scope_filters_by_type_and_jql_and_is_checked_as_of_now(site):
    standin, jira = site
    standin.search_lag = 3600
    bug = new_issue(standin, issuetype="Bug", labels=["vip"])["id"]
    task = new_issue(standin, labels=["vip"])["id"]
    other = new_issue(standin, issuetype="Bug")["id"]
    scope = {"project": "SUP", "issue_types": "Bug, Story", "jql": "labels = vip"}
    assert jira.in_scope("issue", [bug, task, other], scope) == {bug}
    standin.delete(other, "ana@acme.example")
    assert jira.in_scope("issue", [bug, task, other, "999999"], scope) == {bug}


def test_a_record_alone_tells_whether_a_simple_scope_lets_it_in(site):
    _, jira = site
    record = Record("1", "", {"issuetype": "Bug"}, key="SUP-1")
    assert jira.admits("issue", record, SCOPE) is True
    assert jira.admits("issue", record, {"project": "OPS"}) is None
    assert jira.admits("issue", record, {**SCOPE, "issue_types": ["Bug"]}) is True
    assert jira.admits("issue", record, {**SCOPE, "issue_types": ["Task"]}) is None
    assert jira.admits("issue", record, {**SCOPE, "jql": "labels = vip"}) is None


@pytest.mark.parametrize("named", ["bug", "BUG", "10004"])
def test_what_a_scope_lists_it_lets_in_in_whatever_letters_the_type_is_named(site, named):
    standin, jira = site
    scope = {**SCOPE, "issue_types": [named]}
    bug, task = (new_issue(standin, issuetype=kind)["id"] for kind in ("Bug", "Task"))
    assert changed(jira, None, scope)[0] == [bug]
    read_now = jira.get_many("issue", [bug, task], ["issuetype"])
    assert [jira.admits("issue", read_now[id], scope) for id in (bug, task)] == [None, None]
    assert jira.in_scope("issue", [bug, task], scope) == {bug}
    assert next(field for field in jira.fields("issue", scope) if field.path == "status").options


def test_a_scope_cannot_break_out_of_its_place():
    assert scope_jql({"project": 'A" OR "B', "jql": "a = 1 OR b = 2"}) == (
        'project = "A\\" OR \\"B" AND (a = 1 OR b = 2)'
    )
    assert scope_jql({"jql": 'summary ~ "order by"'}) == '(summary ~ "order by")'
    with pytest.raises(Refused, match="ORDER BY"):
        scope_jql({"jql": "labels = x ORDER BY created"})
    for jql in ("a = 1) OR (b = 2", "(a = 1", 'a = "x', "a = 'x", ")("):
        with pytest.raises(Refused, match="without its partner"):
            scope_jql({"project": "SUP", "jql": jql})
    assert scope_jql({"jql": """(a = ")") AND b = '('"""}) == """((a = ")") AND b = '(')"""
    assert tidy({"project": " sup ", "issue_types": "", "jql": None}) == {"project": "SUP"}


# Writing


def test_an_edit_is_one_call_and_returns_the_record(site):
    standin, jira = site
    issue = new_issue(standin, priority="Low", labels=["old"])
    read(jira, issue["id"])
    standin.calls()
    values = {
        "summary": "Printer is fine",
        "description": paragraph("All good"),
        "priority": "High",
        "labels": ["a", "b"],
        "duedate": "2026-04-01",
        "customfield_10050": "Low",
        "customfield_10052": 5,
        "customfield_10053": "00103952",
        "customfield_10054": ["Asia"],
        "customfield_10055": "2026-01-02T01:04:05.678000Z",
    }
    result = jira.update("issue", issue["id"], values, None, PATHS)
    assert standin.calls() == [f"PUT issue/{issue['id']}"]
    assert {path: result.record.values[path] for path in values if path != "description"} == {
        path: value for path, value in values.items() if path != "description"
    }
    assert "All good" in json.dumps(result.record.values["description"])
    assert result.record.version > read(jira, issue["id"]).created_at


def test_fields_are_emptied(site):
    standin, jira = site
    issue = new_issue(
        standin, description="x", labels=["a"], assignee="ben@acme.example", duedate="2026-01-01", Severity="Low"
    )
    empty = {"description": None, "labels": [], "assignee": None, "duedate": None, "customfield_10050": None}
    record = jira.update("issue", issue["id"], empty, None, PATHS).record
    assert {path: record.values[path] for path in empty} == empty


def test_a_person_is_written_by_address_and_asked_for_once(site):
    standin, jira = site
    issue = new_issue(standin)
    for _ in range(2):
        record = jira.update("issue", issue["id"], {"assignee": "ben@acme.example"}, None, PATHS).record
        assert record.values["assignee"] == "ben@acme.example"
    assert standin.calls().count("GET user/search") == 1
    record = jira.update("issue", issue["id"], {"assignee": "id:acc-hal"}, None, PATHS).record
    assert record.values["assignee"] == "id:acc-hal"


@pytest.mark.parametrize("person", ["gil@acme.example", "nobody@acme.example", "queue:Support"])
def test_a_person_who_cannot_be_assigned_is_refused_by_name(site, person):
    standin, jira = site
    issue = new_issue(standin)
    with pytest.raises(Refused) as caught:
        jira.update("issue", issue["id"], {"assignee": person}, None, PATHS)
    assert set(caught.value.fields) == {"assignee"}
    assert person.removeprefix("queue:") in caught.value.message


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"summary": "x" * 300}, "summary"),
        ({"summary": "two\nlines"}, "summary"),
        ({"labels": ["has space"]}, "labels"),
        ({"priority": "Unheard of"}, "priority"),
        ({"customfield_10050": "Unheard of"}, "customfield_10050"),
        ({"description": "plain text"}, "description"),
        ({"customfield_99999": "x"}, "customfield_99999"),
    ],
)
def test_a_refused_value_names_its_field(site, values, path):
    standin, jira = site
    issue = new_issue(standin)
    with pytest.raises(Refused) as caught:
        jira.update("issue", issue["id"], values, None, PATHS)
    assert set(caught.value.fields) == {path}
    assert caught.value.fields[path]


def test_a_lost_answer_to_an_edit_is_uncertain(site):
    standin, jira = site
    issue = new_issue(standin)
    read(jira, issue["id"])
    standin.fault("drop_after", method="PUT")
    with pytest.raises(Uncertain):
        jira.update("issue", issue["id"], {"summary": "x"}, None, PATHS)
    assert read(jira, issue["id"]).values["summary"] == "x"


def test_a_create_carries_its_key_and_is_read_back(site):
    _, jira = site
    result = jira.create("issue", {"summary": "New", "priority": "Low", "labels": ["x"]}, "key-1", SCOPE)
    assert result.created
    assert result.record.correlation_key == "key-1"
    assert result.record.created_by == "acc-sync"
    assert result.record.values["priority"] == "Low"
    assert result.record.values["issuetype"] == "Task"
    assert result.record.values["status"] == "To Do"
    assert "comment" not in result.record.values
    assert read(jira, result.record.external_id).correlation_key == "key-1"


def test_a_create_takes_the_type_from_a_rule_or_from_the_scope(site):
    _, jira = site
    scope = {**SCOPE, "issue_types": "Bug,Story"}
    assert jira.create("issue", {"summary": "a"}, "k1", scope).record.values["issuetype"] == "Bug"
    values = {"summary": "b", "issuetype": "Story"}
    assert jira.create("issue", values, "k2", scope).record.values["issuetype"] == "Story"


@pytest.mark.parametrize(
    "answer", [{"status": 503}, {"status": 401}, {"status": 200, "body": {"issues": [], "issueErrors": []}}]
)
def test_a_create_whose_read_back_fails_is_told_with_its_id_and_not_as_holding_what_was_sent(site, answer):
    """What Jira made of the texts nobody knows yet: taken for sent, they would come back as somebody's edit."""
    standin, jira = site
    jira.create("issue", {"summary": "a"}, "k1", SCOPE)
    standin.fault("status", path="bulkfetch", **answer)
    with pytest.raises(Uncertain, match=r"Jira made .* before anything is sent again") as caught:
        jira.create("issue", {"summary": "b"}, "k2", SCOPE)
    assert len(standin.issues("SUP")) == 2
    made = jira.get_many("issue", [caught.value.external_id], ["summary"])[caught.value.external_id]
    assert (made.values["summary"], made.correlation_key) == ("b", "k2")


def test_a_refused_create_names_the_field(site):
    _, jira = site
    with pytest.raises(Refused) as caught:
        jira.create("issue", {"priority": "Low"}, "k", SCOPE)
    assert set(caught.value.fields) == {"summary"}


def test_a_lost_create_is_found_by_its_key_and_among_own_recent_ones(site):
    standin, jira = site
    new_issue(standin)
    jira.site.specs()
    standin.fault("drop_after", method="POST", path="/issue$")
    with pytest.raises(Uncertain):
        jira.create("issue", {"summary": "Lost"}, "key-lost", SCOPE)
    found = jira.find_by_correlation_key("issue", ["key-lost", "key-other"], PATHS, SCOPE)
    assert [record.values["summary"] for record in found["key-lost"]] == ["Lost"]
    assert set(found) == {"key-lost"}
    since = datetime.fromtimestamp(time.time() - 30, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert [record.correlation_key for record in jira.own_recent("issue", since, PATHS, SCOPE)] == ["key-lost"]
    later = datetime.fromtimestamp(time.time() + 30, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert jira.own_recent("issue", later, PATHS, SCOPE) == []


def test_a_key_can_be_written_on_an_issue_of_somebody_else(site):
    standin, jira = site
    issue = new_issue(standin)
    jira.write_correlation_key("issue", issue["id"], "key-2")
    assert read(jira, issue["id"]).correlation_key == "key-2"


def test_records_are_found_by_text_exactly_and_by_key(site):
    standin, jira = site
    first = new_issue(standin, summary='Pump "A" (left) fails!', **{"Case number": "00103952"})
    new_issue(standin, summary="Pump A left fails again")
    new_issue(standin, project="OPS", summary='Pump "A" (left) fails!')

    def find(path, *wanted):
        return [record.external_id for record in jira.find_by_values("issue", path, wanted, PATHS, SCOPE)]

    assert find("summary", 'pump "a" (LEFT) fails!', "nothing like it", None, "!!!") == [first["id"]]
    assert find("customfield_10053", "00103952") == [first["id"]]
    assert find("key", first["key"].lower(), "not a key", "OPS-1", "SUP-999") == [first["id"]]


@pytest.mark.parametrize(
    "text", ["Customer can't log in", "O’Brien: 10.0.0.5 doesn't answer", "1,000 times foo::bar at acme.example."]
)
def test_a_text_is_found_whose_words_hold_signs_that_the_index_counts_to_them(site, text):
    standin, jira = site
    issue = new_issue(standin, summary=text)
    found = jira.find_by_values("issue", "summary", [text], PATHS, SCOPE)
    assert [record.external_id for record in found] == [issue["id"]]


def test_an_issue_is_deleted(site):
    standin, jira = site
    issue = new_issue(standin)
    jira.delete("issue", issue["id"])
    assert standin.issues() == []


# Status


def test_a_way_nobody_can_show_now_is_learnt_from_the_steps_of_others(site):
    standin, jira = site
    once = new_issue(standin)
    for status in ("In Progress", "In Review", "Done"):
        standin.transition(once["key"], "ana@acme.example", status)
    issue = new_issue(standin)
    result = jira.update("issue", issue["id"], {"status": "Done"}, None, PATHS)
    assert result.on_the_way == {"status": "In Progress"}


def test_a_way_nobody_has_gone_is_not_guessed(site):
    standin, jira = site
    issue = new_issue(standin)
    with pytest.raises(Refused, match=r"from “To Do” to “Done”\. It can reach: Blocked, In Progress\."):
        jira.update("issue", issue["id"], {"status": "Done"}, None, PATHS)
    assert not standin.history(issue["id"])


def everywhere(standin):
    """One issue in each status, so that the whole workflow can be learnt."""
    for way in ([], ["In Progress"], ["In Progress", "In Review"], ["In Progress", "In Review", "Done"], ["Blocked"]):
        issue = new_issue(standin)
        for status in way:
            standin.transition(issue["key"], "ana@acme.example", status)


def test_the_way_is_found_along_the_workflow_and_asked_fields_are_filled(site):
    standin, jira = site
    everywhere(standin)
    issue = new_issue(standin)
    reached = []
    for _ in range(3):
        result = jira.update("issue", issue["id"], {"status": "done"}, None, PATHS)
        reached.append((result.record.values["status"], dict(result.on_the_way)))
    assert reached == [
        ("In Progress", {"status": "In Progress"}),
        ("In Review", {"status": "In Review"}),
        ("Done", {}),
    ]
    assert result.record.values["resolution"] == "Done"
    standin.calls()
    assert jira.update("issue", issue["id"], {"status": "Done"}, None, PATHS).on_the_way == {}
    assert not [call for call in standin.calls() if call.endswith("transitions")]


def test_a_known_workflow_costs_three_calls_a_step(site):
    standin, jira = site
    everywhere(standin)
    first, second = new_issue(standin), new_issue(standin)
    jira.update("issue", first["id"], {"status": "In Review"}, None, PATHS)
    standin.calls()
    jira.update("issue", second["id"], {"status": "In Review"}, None, PATHS)
    assert standin.calls() == [
        "POST issue/bulkfetch",
        f"POST issue/{second['id']}/transitions",
        "POST issue/bulkfetch",
    ]


def test_a_status_without_a_way_is_refused_naming_those_that_can_be_reached(site):
    standin, jira = site
    standin.create_project("ONE", "One way", workflow=[Transition("1", "Start", ("To Do",), "In Progress")])
    issue = new_issue(standin, project="ONE")
    with pytest.raises(Refused) as caught:
        jira.update("issue", issue["id"], {"status": "Done"}, None, PATHS)
    assert set(caught.value.fields) == {"status"}
    assert "It can reach: In Progress." in caught.value.message


def test_a_step_that_asks_for_a_field_we_cannot_fill_names_it(site):
    standin, jira = site
    step = Transition("1", "Close", ("To Do",), "Done", required=("customfield_10051",))
    standin.create_project("ASK", "Asks", workflow=[step])
    issue = new_issue(standin, project="ASK")
    with pytest.raises(Refused, match="asks for “Root cause”"):
        jira.update("issue", issue["id"], {"status": "Done"}, None, PATHS)
    assert not standin.history(issue["id"])


def test_an_account_that_may_not_transition_is_told_so(site):
    standin, jira = site
    issue = new_issue(standin)
    standin.update_user(US, permissions=["browse", "create", "edit"])
    with pytest.raises(Refused, match="Our account can take no step"):
        jira.update("issue", issue["id"], {"status": "Done"}, None, PATHS)


def test_a_status_is_never_emptied(site):
    standin, jira = site
    with pytest.raises(Refused, match="always has a status"):
        jira.update("issue", new_issue(standin)["id"], {"status": None}, None, PATHS)


def test_a_lost_answer_to_a_step_is_uncertain(site):
    standin, jira = site
    issue = new_issue(standin)
    standin.fault("drop_after", method="POST", path="/transitions")
    with pytest.raises(Uncertain):
        jira.update("issue", issue["id"], {"status": "In Progress"}, None, PATHS)


def moved_beside_our_step(monkeypatch, standin, issue, to, after=False):
    """Ana moves the issue between our look and our next step, or right after the step."""
    real, waiting = standin.handle, [to]

    def handle(request):
        step = request.method == "POST" and request.path.endswith("/transitions") and waiting
        if step and not after:
            standin.transition(issue["key"], "ana@acme.example", waiting.pop())
        answer = real(request)
        if step and after:
            standin.transition(issue["key"], "ana@acme.example", waiting.pop())
        return answer

    monkeypatch.setattr(standin, "handle", handle)


def test_no_step_is_taken_from_a_status_that_somebody_chose_after_our_read(site):
    standin, jira = site
    jira.check()
    issue = new_issue(standin)
    seen = read(jira, issue["id"]).version
    standin.transition(issue["key"], "ana@acme.example", "In Progress")
    with pytest.raises(VersionMismatch):
        jira.update("issue", issue["id"], {"status": "In Review"}, seen, PATHS)
    assert read(jira, issue["id"]).values["status"] == "In Progress"
    there = jira.update("issue", issue["id"], {"status": "In Progress"}, seen, PATHS)
    assert (there.on_the_way, there.replaced) == ({}, {}), "what she chose is what we would write"


@pytest.mark.parametrize("target", ["Blocked", "Done"])
def test_a_step_tells_a_status_that_somebody_chose_right_before_it(site, monkeypatch, target):
    standin, jira = site
    jira.check()
    block = Transition("1", "Block", ("To Do", "In Progress"), "Blocked")
    way = [Transition("2", "Start", ("To Do",), "In Progress"), Transition("3", "Done", ("Blocked",), "Done")]
    standin.create_project("ANY", "Any way", workflow=[block, *way])
    done = new_issue(standin, project="ANY")
    for status in ("Blocked", "Done"):
        standin.transition(done["key"], "ana@acme.example", status)
    issue = new_issue(standin, project="ANY")
    seen = read(jira, issue["id"]).version
    moved_beside_our_step(monkeypatch, standin, issue, "In Progress")
    written = jira.update("issue", issue["id"], {"status": target}, seen, PATHS)
    assert (written.record.values["status"], written.replaced) == ("Blocked", {"status": "In Progress"})
    if target == "Done":
        assert written.on_the_way == {"status": "Blocked"}
        last = jira.update("issue", issue["id"], {"status": target}, written.record.version, PATHS)
        assert (last.record.values["status"], last.on_the_way, last.replaced) == ("Done", {}, {})


@pytest.mark.parametrize(("target", "reached"), [("In Review", "In Progress"), ("In Progress", None)])
def test_a_status_that_somebody_chose_right_after_our_step_is_not_taken_for_ours(site, monkeypatch, target, reached):
    standin, jira = site
    jira.check()
    issue = new_issue(standin)
    everywhere(standin)
    moved_beside_our_step(monkeypatch, standin, issue, "Blocked", after=True)
    written = jira.update("issue", issue["id"], {"status": target}, read(jira, issue["id"]).version, PATHS)
    assert (written.record.values["status"], written.replaced) == ("Blocked", {})
    assert written.on_the_way == ({"status": reached} if reached else {})


@pytest.mark.parametrize(
    ("graph", "target", "first"),
    [
        ({"A": ["B"], "B": ["C"], "C": ["D"]}, "D", "B"),
        ({"A": ["B", "C"], "B": ["D"], "C": ["E"], "E": ["D"]}, "d", "B"),
        ({"A": ["B"], "B": ["A"]}, "D", None),
        ({"A": []}, "D", None),
    ],
)
def test_the_shortest_way_is_taken(graph, target, first):
    assert next_step("A", target, graph["A"], lambda status: graph.get(status, []))[0] == first


# Fields and people


def test_fields_say_what_can_be_written_and_what_they_hold(site):
    standin, jira = site
    new_issue(standin)
    fields = {field.path: field for field in jira.fields("issue", SCOPE)}
    assert fields["summary"].required
    assert fields["summary"].max_length == 255
    assert (fields["description"].kind, fields["description"].format) == ("rich_text", "adf")
    assert [option.value for option in fields["priority"].options] == ["Highest", "High", "Medium", "Low", "Lowest"]
    status = fields["status"]
    assert (status.writable, status.creatable, status.separate_write) == (True, False, True)
    assert {"To Do", "In Progress", "In Review", "Blocked", "Done"} == {option.value for option in status.options}
    assert fields["labels"].kind == "set"
    assert fields["assignee"].kind == fields["reporter"].kind == "person"
    assert not fields["key"].writable
    assert not fields["created"].writable
    assert not fields["resolution"].creatable
    assert [option.value for option in fields["customfield_10050"].options] == ["Low", "High"]
    assert fields["customfield_10052"].kind == "number"
    assert fields["customfield_10053"].matchable
    assert fields["customfield_10054"].kind == "set"
    assert "project" not in fields


def test_fields_are_asked_for_once_a_run(site):
    standin, jira = site
    first = jira.fields("issue", SCOPE)
    standin.calls()
    assert jira.fields("issue", SCOPE) is first
    assert standin.calls() == []


def test_fields_are_shown_without_a_project_and_without_any_issue(site):
    _, jira = site
    assert {field.path: field.writable for field in jira.fields("issue", {})}["summary"]
    assert {field.path: field.writable for field in jira.fields("issue", SCOPE)}["summary"]


def test_people_are_found_by_name_and_the_inactive_are_left_out(site):
    _, jira = site
    assert jira.people("Ben") == [("ben@acme.example", "Ben")]
    assert jira.people("Gone") == []


# History


def test_history_tells_who_changed_what_with_normalised_values(site):
    standin, jira = site
    issue = new_issue(standin, labels=["a"])
    start = read(jira, issue["id"]).updated_at
    standin.edit(issue["key"], "ana@acme.example", summary="Second", labels=["b", "a"], assignee="ben@acme.example")
    standin.edit(issue["key"], "ana@acme.example", priority="High", Points=4, duedate="2026-05-01")
    standin.transition(issue["key"], "ben@acme.example", "In Progress")
    changes = jira.history("issue", [issue["id"]], PATHS, start)[issue["id"]]
    told = {change.field: (change.by, change.by_name, change.before, change.after) for change in changes}
    assert told["summary"] == ("acc-ana", "Ana", "Printer on fire", "Second")
    assert told["labels"] == ("acc-ana", "Ana", ["a"], ["a", "b"])
    assert told["assignee"] == ("acc-ana", "Ana", None, "ben@acme.example")
    assert told["customfield_10052"] == ("acc-ana", "Ana", None, 4)
    assert told["duedate"] == ("acc-ana", "Ana", None, "2026-05-01")
    assert told["status"] == ("acc-ben", "Ben", "To Do", "In Progress")
    assert [change.at for change in changes] == sorted(change.at for change in changes)
    assert jira.history("issue", [issue["id"]], ["summary"], "2999-01-01T00:00:00Z") == {issue["id"]: []}


def test_a_write_tells_what_others_wrote_after_our_read_and_it_overwrote(site):
    standin, jira = site
    jira.check()
    issue = new_issue(standin, description="Smoke")
    read_before = read(jira, issue["id"]).version
    standin.edit(issue["key"], "ana@acme.example", summary="Ana's", description="Fire", priority="High")
    values = {"summary": "Ours", "description": paragraph("Water"), "duedate": "2026-05-01"}
    written = jira.update("issue", issue["id"], values, read_before, PATHS)
    assert written.replaced == {"summary": "Ana's", "description": paragraph("Fire")}
    assert written.record.values["summary"] == "Ours"
    again = jira.update("issue", issue["id"], {"summary": "Ours, too"}, written.record.version, PATHS)
    assert again.replaced == {}, "our own earlier write is no edit of others"
    standin.edit(issue["key"], "ana@acme.example", summary="Ana again")
    assert jira.update("issue", issue["id"], {"duedate": None}, again.record.version, PATHS).replaced == {}
    unasked = jira.update("issue", issue["id"], {"summary": "Third"}, None, PATHS)
    assert unasked.replaced == {}, "without a version nobody knows what had been seen"


# Comments


def test_comments_are_records_with_a_parent(site):
    standin, jira = site
    issue = new_issue(standin)
    theirs = standin.comment(issue["key"], "ana@acme.example", "Hello")
    result = jira.create("comment", {"body": paragraph("Ours")}, "key-c", {}, parent_id=issue["id"])
    ours = result.record.external_id
    children = jira.children("comment", [issue["id"]], ["body", "author"])[issue["id"]]
    assert [(c.external_id, c.values["author"], c.parent_id) for c in children] == [
        (theirs, "ana@acme.example", issue["id"]),
        (ours, US, issue["id"]),
    ]
    assert children[1].correlation_key == "key-c"
    changed = jira.update("comment", ours, {"body": paragraph("Edited")}, None, ["body"]).record
    assert "Edited" in json.dumps(changed.values["body"])
    assert jira.get_many("comment", [ours, "424242"], ["body"]).keys() == {ours}
    mine = jira.own_recent("comment", "2020-01-01T00:00:00Z", ["body"], SCOPE)
    assert [record.external_id for record in mine] == [ours]
    jira.write_correlation_key("comment", theirs, "key-t")
    assert jira.get_many("comment", [theirs], ["body"])[theirs].correlation_key == "key-t"
    jira.delete("comment", ours)
    assert jira.get_many("comment", [ours], ["body"]) == {}
    with pytest.raises(Gone):
        jira.update("comment", ours, {"body": paragraph("x")}, None, ["body"])


def test_a_comment_for_a_group_or_role_is_not_public_and_stays_in_its_circle(site):
    standin, jira = site
    issue = new_issue(standin)
    circle = {"type": "role", "value": "Administrators", "identifier": "Administrators"}
    inside, open_ = (standin.comment(issue["key"], US, "Between us", shown_to) for shown_to in (circle, None))
    found = jira.get_many("comment", [inside, open_], ["public"])
    assert [found[id].values["public"] for id in (inside, open_)] == [False, True]
    jira.update("comment", inside, {"body": paragraph("Edited")}, None, ["body"])
    jira.update("comment", open_, {"body": paragraph("Edited")}, None, ["body"])
    found = jira.get_many("comment", [inside, open_], ["public", "body"])
    assert [found[id].values["public"] for id in (inside, open_)] == [False, True]
    assert all("Edited" in json.dumps(record.values["body"]) for record in found.values())


def test_a_comment_whose_issue_is_hidden_for_now_is_made_once_it_is_shown_again(site):
    standin, jira = site
    issue = new_issue(standin)
    standin.fault("status", method="POST", path="/comment$", status=404, body={"errorMessages": ["Not there."]})
    with pytest.raises(Retry, match="Not there"):
        jira.create("comment", {"body": paragraph("Ours")}, "key-c", {}, parent_id=issue["id"])
    assert jira.create("comment", {"body": paragraph("Ours")}, "key-c", {}, parent_id=issue["id"]).created


# Sign-in and check


def test_a_check_names_the_account_the_site_and_the_clock(site):
    standin, jira = site
    new_issue(standin)
    standin.clock_offset = 90.0
    result = jira.check()
    assert (result.account_id, result.account_name) == ("acc-sync", "Sync")
    assert result.tenant == jira.context.address.removeprefix("http://")
    assert abs(result.clock_offset - 90) < 2
    assert list(result.missing) == []
    assert not result.personal_account


def test_a_check_names_missing_permissions_with_their_menus(site):
    standin, jira = site
    new_issue(standin)
    standin.update_user(US, permissions=["browse"])
    missing = " ".join(jira.check().missing)
    assert "Edit issues (Project settings → Permissions)" in missing
    assert "Transition issues" in missing


def test_an_account_with_work_assigned_seems_to_be_a_persons(site):
    standin, jira = site
    new_issue(standin, assignee="ana@acme.example")
    ana = connect(jira.context.address, email="ana@acme.example", token="t")
    assert ana.check().personal_account


def test_a_wrong_token_asks_for_a_new_one(site):
    _, jira = site
    with pytest.raises(NeedsAuthorization):
        connect(jira.context.address, token="wrong-token").check()


def test_a_sign_in_that_jira_quietly_ignores_is_noticed(site):
    standin, jira = site
    headers = {"X-Seraph-LoginReason": "AUTHENTICATED_FAILED"}
    standin.fault("status", path="search/jql", status=200, headers=headers, body={"issues": [], "isLast": True})
    with pytest.raises(NeedsAuthorization):
        changed(jira, None)


def test_a_rate_limit_says_how_long_to_wait(site):
    standin, jira = site
    standin.fault("status", path="search/jql", status=429, headers={"Retry-After": "17"}, body={})
    with pytest.raises(Retry) as caught:
        changed(jira, None)
    assert caught.value.after == 17


@pytest.mark.parametrize("body", [[], "text", {"issues": None}, {"issues": [], "nextPageToken": "same"}])
def test_an_answer_of_another_shape_is_an_error_or_empty_but_never_a_crash(site, body):
    standin, jira = site
    standin.fault("status", path="search/jql", status=200, body=body, times=5)
    try:
        assert changed(jira, None)[0] == []
    except Retry as error:
        assert "again" in error.message or "login page" in error.message


# Webhooks


def delivered(jira, body, secret=SECRET, **headers):
    raw = json.dumps(body).encode()
    signature = "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    base = {"x-hub-signature": signature, "x-atlassian-webhook-identifier": "delivery-1"}
    return jira.parse_delivery(DeliveryRequest("POST", "/hooks/x", {**base, **headers}, raw))


def event(standin, issue, by, kind="jira:issue_updated"):
    """The body the site would post for the last change of an issue."""
    entries = standin.history(issue["id"])
    more = {"history": entries[-1]} if entries else {}
    return standin.webhooks.payload(kind, "", standin.site.user(by), standin.site.find(issue["id"]), more)


def test_a_delivery_of_our_own_write_proves_itself_an_echo(site):
    standin, jira = site
    jira.check()
    issue = new_issue(standin)
    values = {
        "summary": "Ours",
        "priority": "High",
        "labels": ["b", "a"],
        "duedate": "2026-01-01",
        "assignee": "ben@acme.example",
        "customfield_10050": "Low",
        "customfield_10052": 7.0,
    }
    record = jira.update("issue", issue["id"], values, None, PATHS).record
    parsed = delivered(jira, event(standin, issue, US))
    [hint] = parsed.hints
    assert (parsed.verified, parsed.delivery_id, parsed.event) == (True, "delivery-1", "jira:issue_updated")
    assert (hint.external_id, hint.own_account, hint.verified) == (issue["id"], True, True)
    assert hint.version == record.version
    assert hint.changes == {path: record.values[path] for path in values}


def test_a_step_of_the_workflow_is_told_as_the_new_status(site):
    standin, jira = site
    issue = new_issue(standin)
    jira.update("issue", issue["id"], {"status": "In Progress"}, None, PATHS)
    [hint] = delivered(jira, event(standin, issue, US)).hints
    assert hint.changes == {"status": "In Progress"}


def test_a_change_of_a_document_is_told_without_values(site):
    standin, jira = site
    issue = new_issue(standin)
    standin.edit(issue["key"], "ana@acme.example", description="new words", summary="x")
    [hint] = delivered(jira, event(standin, issue, "ana@acme.example")).hints
    assert hint.changes is None
    assert not hint.own_account


def test_a_deletion_is_told(site):
    standin, jira = site
    issue = new_issue(standin)
    [hint] = delivered(jira, event(standin, issue, "ana@acme.example", "jira:issue_deleted")).hints
    assert (hint.deleted, hint.external_id, hint.version) == (True, issue["id"], None)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"x-hub-signature": ""}, "not signed"),
        ({"x-hub-signature": "sha256=00"}, "does not fit"),
        ({"x-hub-signature": "sha1=00"}, "does not fit"),
        ({"x-hub-signature": "sha256=é"}, "does not fit"),
    ],
)
def test_a_delivery_with_a_wrong_signature_is_not_verified(site, headers, reason):
    standin, jira = site
    parsed = delivered(jira, event(standin, new_issue(standin), US), **headers)
    assert not parsed.verified
    assert reason in parsed.reason
    assert not any(hint.verified for hint in parsed.hints)


def test_an_upper_case_signature_or_an_unset_secret_is_not_verified(site):
    standin, jira = site
    body = event(standin, new_issue(standin), US)
    raw = json.dumps(body).encode()
    upper = "sha256=" + hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest().upper()
    assert not delivered(jira, body, **{"x-hub-signature": upper}).verified
    assert not delivered(connect(jira.context.address, webhook_secret=""), body, secret="").verified


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{}", b"\xff", b'{"webhookEvent": 1}'])
def test_garbage_is_no_delivery(site, raw):
    _, jira = site
    with pytest.raises(ValueError, match="the body is no"):
        jira.parse_delivery(DeliveryRequest("POST", "/x", {}, raw))


@pytest.mark.parametrize("issue", [None, [], {}, {"id": None}, {"id": {}}, {"id": "1", "fields": []}])
def test_an_event_with_odd_parts_is_no_crash(site, issue):
    _, jira = site
    body = {"webhookEvent": "jira:issue_updated", "issue": issue, "changelog": {"items": [None]}, "timestamp": "x"}
    assert [hint.external_id for hint in delivered(jira, body).hints] in ([], ["1"])


@needs_evidence
def test_a_recorded_delivery_is_read(site):
    _, jira = site
    jira.context.state.put("account_id", "5cedcb4355a88a0fc86388ba")
    [hint] = delivered(jira, payload("jira/webhook_issue_updated_custom_field")).hints
    assert (hint.external_id, hint.own_account) == ("10368", True)
    assert hint.version == "2019-08-12T01:49:13.412Z"
    assert hint.changes == {"customfield_10072": 12}
    assert hint.at == "2019-08-12T01:49:13.414Z"


def test_a_webhook_is_registered_for_each_scope_and_all_are_ended(site):
    standin, jira = site
    other = {**SCOPE, "project": "OPS"}
    for scope in (SCOPE, other):
        jira.subscribe(["issue"], scope, "https://sync.example/hooks/abc")
    assert [(hook["url"], hook["secret"], hook["filter"]) for hook in standin.webhooks.all()] == [
        ("https://sync.example/hooks/abc", SECRET, 'project = "SUP"'),
        ("https://sync.example/hooks/abc", SECRET, 'project = "OPS"'),
    ]
    jira.unsubscribe()
    assert standin.webhooks.all() == []


def test_one_that_an_earlier_version_registered_is_ended_too(site):
    standin, jira = site
    jira.subscribe(["issue"], SCOPE, "https://sync.example/hooks/abc")
    [id] = jira.context.state.get("webhooks")
    jira.context.state.put("webhooks", [])
    jira.context.state.put("webhook", id)
    jira.unsubscribe()
    assert standin.webhooks.all() == []


def test_registering_says_what_is_missing(site):
    standin, jira = site
    standin.update_user(US, permissions=["browse", "edit"])
    with pytest.raises(NotAllowed, match="Administer Jira"):
        jira.subscribe(["issue"], SCOPE, "https://sync.example/hooks/abc")
    with pytest.raises(Refused, match="webhook secret"):
        connect(jira.context.address, webhook_secret="").subscribe(["issue"], SCOPE, "https://sync.example/hooks/abc")
    steps = jira.steps_by_hand(["issue"], SCOPE, "https://sync.example/hooks/abc")
    assert "Jira settings → System → WebHooks" in steps[0].text and steps[2].code == 'project = "SUP"'


def test_links_for_people(site):
    _, jira = site
    assert jira.url_of("issue", "10000", "SUP-1") == f"{jira.context.address}/browse/SUP-1"
    assert jira.url_of("comment", "1", "SUP-1").endswith("/browse/SUP-1?focusedCommentId=1")
