"""The Zendesk connector against the stand-in over HTTP, each request checked against the description."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from connections.connectors import http as client
from connections.connectors import zendesk_errors as errors
from connections.connectors import zendesk_export as export
from connections.connectors import zendesk_jobs as jobs
from connections.connectors.base import (
    ConnectorError,
    Creation,
    DeliveryRequest,
    Gone,
    NeedsAuthorization,
    NotAllowed,
    RateLimited,
    Refused,
    Retry,
    Uncertain,
    Update,
    VersionMismatch,
    WriteResult,
)
from connections.connectors.zendesk_errors import OneLimited
from connections.connectors.zendesk_fields import record_of, shape_of
from connections.tests.evidence import EVIDENCE, needs_evidence, payload, payload_body
from connections.tests.salesforce_world import State
from connections.tests.zendesk_world import BEARER, TOKEN, World, check_all_requests, world

FIELDS = ["subject", "status", "priority", "assignee_id", "group_id", "tags"]
LONG_AGO = "2000-01-01T00:00:00Z"
LOGIN = "<!DOCTYPE html><html><head><title>Sign in to Acme</title></head><body>E-mail, password</body></html>"
URL = "https://sync.example/hooks/abc"


@pytest.fixture
def w():
    with world() as found:
        yield found
        if (EVIDENCE / "specs").is_dir():
            check_all_requests(found)


@pytest.fixture
def clock(w):
    """The account's clock, in the test's hands."""

    class Clock:
        at = time.time() - 3600

        def tick(self, seconds: float) -> None:
            self.at += seconds

    made = Clock()
    w.app.now = lambda: made.at
    return made


def read(w: World, *ids: str, fields: list[str] | None = None):
    return w.connector.get_many("ticket", ids, FIELDS if fields is None else fields)


def changed(w: World, watermark: str | None = None, scope: dict[str, str] | None = None):
    pages = list(w.connector.changed_since("ticket", watermark, FIELDS, scope or {}))
    return [record for page in pages for record in page.records]


def position(w: World) -> str:
    *_, last = w.connector.changed_since("ticket", None, [], {})
    return str(last.watermark)


def api_calls(w: World, act) -> list[str]:
    before = len(w.app.calls())
    act()
    return w.app.calls()[before:]


def refused(act) -> dict[str, str]:
    with pytest.raises(Refused) as caught:
        act()
    return caught.value.fields


def plan(w: World) -> int:
    return w.records.field("tagger", "Plan", {"plan_gold": "Gold", "plan_silver": "Silver"})


# Sign-in, rights, wrong answers --------------------------------------------------------------------------------------


def test_wrong_credentials_say_so_and_keep_the_token_out(w):
    with pytest.raises(NeedsAuthorization) as caught:
        w.open(secrets={"api_token": "a-wrong-api-token"}).check()
    assert "credentials" in caught.value.message and "a-wrong-api-token" not in caught.value.message


def test_an_oauth_token_signs_in(w):
    found = w.open(secrets={"access_token": BEARER}, sign_in="oauth").check()
    assert (found.account_id, found.account_name) == (str(w.us), "Sync Admin (sync@acme.example)")
    assert w.app.requests[-1].headers["authorization"] == f"Bearer {BEARER}"


def test_a_missing_right_is_named_by_the_check_and_stops_the_poll(w):
    told = {"error": "Forbidden", "description": "You do not have access to this page."}
    w.app.fault("status", path="/incremental/", status=403, body=told, times=2)
    found = w.connector.check()
    assert [one.split(":")[0] for one in found.missing] == ["Incremental export of tickets, for administrators"]
    with pytest.raises(NotAllowed, match="do not have access"):
        changed(w)


def test_an_account_that_is_no_agent_is_told(w):
    w.app.tokens["another-long-token"] = "end@acme.example"
    w.records.user("End User", "end@acme.example", "end-user")
    found = w.open(secrets={"api_token": "another-long-token"}, email="end@acme.example").check()
    assert any(one.startswith("Agent:") for one in found.missing)


def test_an_account_with_work_assigned_seems_to_be_a_persons(w):
    assert not w.connector.check().personal_account
    w.ticket(assignee_id=w.us)
    assert w.connector.check().personal_account


def test_a_login_page_instead_of_data_says_what_to_check(w):
    w.app.fault("status", status=200, body=LOGIN, headers={"Content-Type": "text/html"}, times=9)
    with pytest.raises(Retry, match="login page"):
        read(w, "4001")


def test_a_wrong_address_says_so(w):
    w.app.fault("status", status=404, body="<html>No such page</html>", times=9)
    for act in (lambda: read(w, "4001"), lambda: changed(w), lambda: w.connector.check()):
        with pytest.raises(Retry, match="Check the address"):
            act()


def test_no_call_is_made_when_none_is_left_in_the_minute(w, clock):
    paused: list[float] = []
    w.connector.context.http.on_limit = paused.append
    w.app.calls_a_minute = 2
    w.connector.desk.groups()
    assert paused == []
    w.connector.desk.me()
    assert len(paused) == 1 and 0 < paused[0] <= 60


# Reading -------------------------------------------------------------------------------------------------------------


def test_a_broken_value_is_unreadable_and_holds_nothing_else_up(w):
    field = w.records.field("date", "Due")
    good, odd = w.ticket(), w.ticket(priority="high")
    row = w.records.ticket(odd)
    w.records.store.put("ticket", odd, {**row, "custom_fields": [{"id": field, "value": ["soon"]}], "tags": 7})
    fields = ["subject", "priority", "tags", f"custom_{field}"]
    found = read(w, good, odd, fields=fields)
    assert found[odd].unreadable == {"tags", f"custom_{field}"} and found[odd].values["priority"] == "High"
    assert not found[good].unreadable


def test_a_number_of_many_digits_is_read_to_the_last(w):
    order, effort = w.records.field("integer", "Order"), w.records.field("decimal", "Effort")
    for told in ("12345678901234567", 12345678901234567):
        id = w.ticket(custom_fields=[{"id": order, "value": told}, {"id": effort, "value": 2.5}])
        w.connector.desk.forget()
        values = read(w, id, fields=[f"custom_{order}", f"custom_{effort}"])[id].values
        assert values == {f"custom_{order}": 12345678901234567, f"custom_{effort}": 2.5}


def test_an_id_that_comes_as_text_is_the_same_and_another_is_no_record(w):
    id = w.ticket()
    row = w.app.shown(w.records.ticket(id), export=False)
    w.app.fault("status", path="show_many", status=200, body={"tickets": [{**row, "id": id}]})
    assert set(read(w, id)) == {id}
    for other in (None, True, -1, 1.5, "../1", {"a": 1}):
        w.app.fault("status", path="show_many", status=200, body={"tickets": [{**row, "id": other}]})
        with pytest.raises(Retry):
            read(w, id)


def test_a_record_of_ten_megabytes_is_read_beside_the_others(w):
    field = w.records.field("textarea", "Report")
    huge = w.ticket(custom_fields=[{"id": field, "value": "x" * 10_000_000}])
    other = w.ticket()
    found = read(w, huge, other, fields=[f"custom_{field}"])
    assert len(found[huge].values[f"custom_{field}"]) == 10_000_000 and other in found


def test_records_too_large_to_come_together_come_in_smaller_pages(w, clock, monkeypatch):
    ids = [w.ticket(comment={"body": "x" * 10_000}) for _ in range(150)]
    clock.tick(90)
    monkeypatch.setattr(client, "MAX_ANSWER_BYTES", 1_200_000)
    pages = [len(page.records) for page in w.connector.changed_since("ticket", None, [], {})]
    assert pages == [100, 50] and len(ids) == 150


def test_a_hidden_ticket_is_absent_and_not_deleted(w):
    id = w.ticket()
    w.app.hidden_tickets.add(int(id))
    assert read(w, id) == {}
    with pytest.raises(Gone) as caught:
        w.connector.update("ticket", id, {"subject": "x"}, None, [])
    assert not caught.value.certain


def test_names_of_options_custom_statuses_and_forms_are_shown_and_written(w):
    w.records.form("Default")
    statuses = [
        {"id": 71, "agent_label": "With supplier", "status_category": "pending", "active": True},
        {"id": 72, "agent_label": "Old", "status_category": "open", "active": False},
    ]
    w.records.field("custom_status", "Ticket status", custom_statuses=statuses)
    twins = w.records.field("tagger", "Twins", {"a": "Same", "b": "Same"})
    fields = {field.path: field for field in w.connector.fields("ticket", {})}
    assert [option.value for option in fields["custom_status_id"].options] == ["With supplier"]
    assert [option.value for option in fields[f"custom_{twins}"].options] == ["Same (a)", "Same (b)"]
    assert not fields["ticket_form_id"].writable and fields["status"].options[3].value == "On-hold"
    id = w.ticket()
    values = {"custom_status_id": "With supplier", "status": "On-hold", f"custom_{twins}": "Same (b)"}
    record = w.connector.update("ticket", id, values, None, ["ticket_form_id"]).record
    assert dict(record.values) == {**values, "ticket_form_id": "Default"}
    assert (w.value(id, "custom_status_id"), w.value(id, twins)) == (71, "b")


@needs_evidence
def test_recorded_tickets_and_answers_are_read(w):
    shape = shape_of([], {}, {})
    for row in payload_body("zendesk/incremental_tickets_cursor")["tickets"]:
        record = record_of(shape, row, ["subject", "tags", "assignee_id", "due_at"], {})
        assert record.external_id == str(row["id"]) and record.created_by == "6130907993114"
        assert dict(record.values) == {"subject": "test", "tags": [], "assignee_id": None, "due_at": None}
        assert record.version == row["updated_at"] <= str(export.changed_at(row))
    id = w.ticket()
    w.app.fault("status", method="PUT", status=200, body=payload_body("zendesk/ticket_update"))
    with pytest.raises(Uncertain):  # it is another ticket's answer
        w.connector.update("ticket", id, {"subject": "x"}, None, [])
    w.app.fault("status", method="PUT", status=200, body=payload_body("zendesk/ticket_update"))
    written = w.connector.update("ticket", "4016", {"subject": "x"}, None, ["subject"])
    assert written.record.values["subject"].startswith("testa94a8")
    assert written.replaced == {"subject": "test"}
    closed = payload("zendesk/validation_error_closed_ticket_422")
    w.app.fault("status", method="PUT", status=422, body=closed, times=2)
    assert refused(lambda: w.connector.update("ticket", id, {"subject": "x"}, None, [])) == {}
    told = refused(lambda: w.connector.update("ticket", id, {"status": "Open"}, None, []))
    assert told == {"status": "Status: closed prevents ticket update"}


# Lists and positions -------------------------------------------------------------------------------------------------


def test_a_position_never_comes_closer_than_the_hidden_minute_and_nothing_is_lost(w, clock):
    seen: set[str] = set()
    made: set[str] = set()
    mark = None
    for _ in range(30):  # polls at odd moments while tickets come, some of them edited again and again
        made.add(w.ticket())
        w.records.update(min(made), {"subject": f"Edited at {clock.at}"}, w.jane)
        clock.tick(17)
        *_, page = pages = list(w.connector.changed_since("ticket", mark, [], {}))
        seen |= {record.external_id for each in pages for record in each.records}
        assert page.watermark and export.seconds_of(page.watermark) <= clock.at - 59
        mark = page.watermark
    clock.tick(90)
    assert seen | {record.external_id for record in changed(w, mark)} == made
    assert min(made) in {record.external_id for record in changed(w, mark)}


def test_a_change_of_the_systems_own_is_listed_though_people_see_no_new_time(w, clock):
    id = w.ticket()
    clock.tick(600)
    mark = position(w)
    clock.tick(60)
    w.records.touch(id)
    clock.tick(90)
    assert [record.external_id for record in changed(w, mark)] == [id]


def test_a_start_that_is_too_recent_is_moved_back(w, clock):
    id = w.ticket()
    clock.tick(60)
    soon = export.text_of(clock.at)
    assert [record.external_id for record in changed(w, soon)] == [id]


def test_a_full_list_has_what_the_export_hides(w, clock):
    old = [w.ticket() for _ in range(3)]
    clock.tick(600)
    w.records.update(old[0], {"subject": "Edited just now"}, w.jane)
    new, gone = w.ticket(), w.ticket()
    w.records.delete(gone, w.jane)
    assert {record.external_id for record in changed(w)} == set(old[1:])
    listed = [id for page in w.connector.list_ids("ticket", {}) for id in page]
    assert sorted(listed) == sorted([*old, new])


def test_a_long_list_waits_for_the_exports_limit_and_live_edits_go_on(w, clock, monkeypatch):
    monkeypatch.setattr(export, "pause", clock.tick)
    ids = [w.ticket() for _ in range(30)]
    clock.tick(90 + 60 - clock.at % 60)
    w.app.export_page, w.app.exports_a_minute = 2, 10
    pages = list(w.connector.changed_since("ticket", None, [], {}))
    assert [record.external_id for page in pages for record in page.records] == ids
    waited = [page for page in pages if not page.records]
    assert len(waited) > 60 and not any(page.last for page in waited)  # a minute in steps of half a second
    assert pages[-1].last


def test_the_exports_limit_is_no_limit_of_the_connection(w, clock, monkeypatch):
    paused: list[float] = []
    w.connector.context.http.on_limit = paused.append
    monkeypatch.setattr(export, "pause", clock.tick)
    w.app.exports_a_minute = 1
    position(w)
    first = next(iter(w.connector.changed_since("ticket", None, [], {})))
    assert not first.records and not first.last and paused == []
    assert w.connector.check().missing == []
    w.app.exports_a_minute = 0  # others use it up
    with pytest.raises(RateLimited, match="ten calls a minute"):
        changed(w)
    assert paused == []


def test_a_cursor_that_loops_and_a_list_that_never_ends_are_noticed(w, clock):
    id = w.ticket()
    row = w.app.shown(w.records.ticket(id), export=True)
    page: dict[str, Any] = {"tickets": [row], "end_of_stream": False, "after_cursor": "same"}
    w.app.fault("status", path="/incremental/", status=200, body=page, times=99)
    with pytest.raises(Retry, match="leads back"):
        changed(w)
    endless = {"comments": [], "meta": {"has_more": True, "after_cursor": "same"}}
    w.app.fault("status", path="/comments", status=200, body=endless, times=99)
    with pytest.raises(Retry, match="leads back"):
        w.connector.children("ticket.comment", [id], [])
    w.app.faults.clear()
    for number in range(30):  # other cursors each time, and the same page for ever
        fresh = {**page, "after_cursor": f"cursor {number}"}
        w.app.fault("status", path="/incremental/", status=200, body=fresh)
    with pytest.raises(Retry, match="leads back"):
        changed(w)
    assert len(w.app.calls()) < 20


def test_a_deleted_ticket_is_told_of_whatever_the_scope(w, clock):
    tier = w.records.group("Tier 2")
    inside, outside = w.ticket(group_id=tier), w.ticket()
    clock.tick(600)
    scope = {"group": "Tier 2"}
    mark = position(w)
    w.records.delete(inside, w.jane)
    w.records.delete(outside, w.jane, permanently=True)
    clock.tick(90)
    told = changed(w, mark, scope)
    assert {record.external_id: record.deleted for record in told} == {inside: True, outside: True}


# Scope ---------------------------------------------------------------------------------------------------------------


def test_a_scope_is_judged_from_what_was_read_and_gives_new_tickets_what_it_asks_for(w):
    tier = w.records.group("Tier 2")
    w.records.form("Default")
    w.connector.desk.forget()
    scope = {"group": "tier 2", "form": "Default", "tag": "VIP", "type": "Task"}
    made = w.connector.create("ticket", {"subject": "New", "tags": ["hot"]}, "key", scope).record
    row = w.records.ticket(made.external_id)
    assert (row["group_id"], row["tags"], row["type"]) == (tier, ["hot", "vip"], "task")
    other = w.ticket()
    found = read(w, made.external_id, other, fields=["subject"])

    def judge() -> None:
        assert w.connector.admits("ticket", found[made.external_id], scope) is True
        assert w.connector.admits("ticket", found[other], scope) is False

    assert api_calls(w, judge) == []
    assert w.connector.admits("ticket", replace(found[other], version="later"), scope) is None


@pytest.mark.parametrize("scope", [{"group": "Nobody"}, {"form": "None"}, {"type": "Wish"}])
def test_a_scope_that_names_what_is_not_there_is_refused_in_words(w, scope):
    w.ticket()
    for act in (lambda: changed(w, None, scope), lambda: w.connector.create("ticket", {"subject": "x"}, "k", scope)):
        with pytest.raises(Refused, match="Correct the mapping's scope"):
            act()
    assert not any("POST" in call for call in w.app.calls())


# Writing -------------------------------------------------------------------------------------------------------------


def test_a_write_tells_what_it_replaced_also_an_edit_of_the_same_second(w, clock):
    id = w.ticket(priority="low")
    seen = read(w, id)[id]
    w.records.update(id, {"subject": "Somebody's edit", "priority": "high"}, w.jane)
    written = w.connector.update("ticket", id, {"subject": "Ours", "priority": "Urgent"}, seen.version, FIELDS)
    assert written.replaced == {"subject": "Somebody's edit", "priority": "High"}
    clock.tick(2)
    w.records.update(id, {"subject": "Later"}, w.jane)
    with pytest.raises(VersionMismatch):
        w.connector.update("ticket", id, {"subject": "Ours again"}, written.record.version, FIELDS)
    assert w.value(id, "subject") == "Later"


def test_what_a_trigger_changes_within_our_write_is_not_taken_for_replaced(w, clock):
    id = w.ticket()
    w.records.triggers.append(lambda row, given: {"subject": "Triggered"} if given.get("subject") else {})
    written = w.connector.update("ticket", id, {"subject": "Ours"}, None, ["subject"])
    assert (written.replaced, written.record.values["subject"]) == ({"subject": "Printer on fire"}, "Triggered")
    told = w.connector.history("ticket", [id], ["subject"], LONG_AGO)[id][-2:]
    assert [(change.after, change.by, change.by_name) for change in told] == [
        ("Ours", str(w.us), "Sync Admin"),
        ("Triggered", None, "A trigger"),
    ]


def test_tags_of_drop_downs_and_boxes_belong_to_their_fields(w):
    field = plan(w)
    box = w.records.field("checkbox", "Known", tag="known")
    multi = w.records.field("multiselect", "Areas", {"area_a": "A", "area_b": "B"})
    given = [{"id": field, "value": "plan_gold"}, {"id": box, "value": True}, {"id": multi, "value": ["area_b"]}]
    id = w.ticket(tags=["hot"], custom_fields=given)
    assert read(w, id)[id].values["tags"] == ["hot"]
    record = w.connector.update("ticket", id, {"tags": ["cold"], f"custom_{field}": "Silver"}, None, FIELDS).record
    assert record.values["tags"] == ["cold"]
    assert w.value(id, "tags") == ["area_b", "cold", "known", "plan_silver"]
    assert (w.value(id, field), w.value(id, box), w.value(id, multi)) == ("plan_silver", True, ["area_b"])
    for tags in (["plan_gold"], ["Hot"], ["two words"], ["a,b"]):
        assert set(refused(lambda tags=tags: w.connector.update("ticket", id, {"tags": tags}, None, []))) == {"tags"}


def test_tags_are_written_on_the_state_that_they_were_read_in(w, clock):
    id = w.ticket(tags=["a"])
    old = read(w, id)[id].version
    clock.tick(2)
    w.records.update(id, {"tags": ["a", "b"]}, w.jane)
    with pytest.raises(VersionMismatch):
        w.connector.update("ticket", id, {"tags": ["a", "c"]}, old, FIELDS)
    assert w.value(id, "tags") == ["a", "b"]


def test_only_agents_are_assigned_and_a_group_is_no_person(w):
    w.records.user("Customer", "customer@example.com", "end-user")
    tier = w.records.group("Tier 2")
    w.connector.desk.forget()
    id = w.ticket()
    update = w.connector.update
    told = refused(lambda: update("ticket", id, {"assignee_id": "customer@example.com"}, None, []))
    assert "no agent" in told["assignee_id"]
    for path, value in (("assignee_id", "queue:Tier 2"), ("group_id", "jane.doe@acme.example"), ("requester_id", None)):
        assert set(refused(lambda p=path, v=value: update("ticket", id, {p: v}, None, []))) == {path}
    values = {
        "requester_id": "customer@example.com",
        "group_id": "queue:tier 2",
        "assignee_id": "JANE.DOE@acme.example",
    }
    record = update("ticket", id, values, None, []).record
    assert dict(record.values) == {
        "requester_id": "customer@example.com",
        "group_id": "queue:Tier 2",
        "assignee_id": "jane.doe@acme.example",
    }
    assert w.value(id, "group_id") == tier


def test_a_due_date_needs_a_task_and_is_never_lost_unsaid(w):
    id, due = w.ticket(), "2026-12-24T18:00:00Z"
    assert set(refused(lambda: w.connector.update("ticket", id, {"due_at": due}, None, []))) == {"due_at"}
    assert set(refused(lambda: w.connector.create("ticket", {"subject": "x", "due_at": due}, "k", {}))) == {"due_at"}
    updates = [Update(w.ticket(), {"due_at": due}) for _ in range(7)]
    assert {type(result) for result in w.connector.update_many("ticket", updates, [])} == {Refused}
    record = w.connector.update("ticket", id, {"type": "Task", "due_at": due}, None, []).record
    assert record.values["due_at"] == due


def test_a_closed_ticket_says_so_and_a_missing_option_names_its_field(w):
    id = w.ticket()
    w.records.update(id, {"status": "closed"}, w.jane)
    with pytest.raises(Refused, match="closed prevents") as caught:
        w.connector.update("ticket", id, {"subject": "x"}, None, [])
    assert caught.value.fields == {}
    field = plan(w)
    w.connector.desk.forget()
    other = w.ticket()
    told = {"error": "RecordInvalid", "details": {"base": [{"description": "Plan: needed for solving"}]}}
    w.app.fault("status", method="PUT", status=422, body=told)
    values = {f"custom_{field}": "Gold", "status": "Solved"}
    assert set(refused(lambda: w.connector.update("ticket", other, values, None, []))) == {f"custom_{field}"}


def test_a_ticket_without_a_text_gets_its_subject_and_another_its_own(w):
    one = w.connector.create("ticket", {"subject": "Title"}, "k1", {}).record.external_id
    two = w.connector.create("ticket", {"subject": "Title", "description": "Text\nmore"}, "k2", {}).record
    assert w.value(one, "description") == "Title" and two.values["description"] == "Text\nmore"
    assert set(refused(lambda: w.connector.update("ticket", one, {"description": "x"}, None, []))) == {"description"}


def test_a_key_that_was_used_for_other_values_leads_to_its_ticket(w):
    made = w.connector.create("ticket", {"subject": "One"}, "key", {})
    again = w.connector.create("ticket", {"subject": "Another"}, "key", {})
    assert (again.created, again.record.external_id) == (False, made.record.external_id)
    w.app.index_lag = 600
    with pytest.raises(Retry):
        w.connector.create("ticket", {"subject": "Third"}, "key", {})


def test_a_repeated_create_tells_what_became_of_its_ticket(w):
    first = w.connector.create("ticket", {"subject": "One"}, "key", {}).record
    w.records.update(first.external_id, {"subject": "Edited"}, w.jane)
    again = w.connector.create("ticket", {"subject": "One"}, "key", {})
    assert (again.created, again.record.values["subject"]) == (False, "Edited")
    w.records.delete(first.external_id, w.jane)
    anew = w.connector.create("ticket", {"subject": "One"}, "key", {})
    assert anew.created and anew.record.external_id != first.external_id
    assert len(w.connector.find_by_correlation_key("ticket", ["key"], [], {})["key"]) == 1


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_a_create_whose_people_cannot_be_asked_for_is_made_and_not_told_as_undone(w, status):
    """Nor is one that an earlier answer already told as made."""
    for subject in ("One", "One", "Another"):  # made, answered as before, refused under the same key
        w.connector.desk.forget()
        w.connector.fields("ticket", {})
        w.app.fault("status", method="GET", path="/users/show_many", status=status, body={"error": "no"}, times=2)
        with pytest.raises(Uncertain) as caught:
            w.connector.create("ticket", {"subject": subject}, "key", {}, fields=["requester_id"])
        w.app.faults.clear()
        assert list(read(w, caught.value.external_id)) == [caught.value.external_id]
    assert len(w.records.tickets()) == 1


def test_a_repeated_create_that_cannot_be_looked_at_is_made_and_not_told_as_undone(w):
    made = w.connector.create("ticket", {"subject": "One"}, "key", {}).record
    w.app.fault("status", method="GET", path="/tickets/show_many", status=429, body={})
    with pytest.raises(Uncertain) as caught:
        w.connector.create("ticket", {"subject": "One"}, "key", {})
    assert caught.value.external_id == made.external_id


# Jobs ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def looks(w, monkeypatch):
    """What is kept of jobs at each look, in place of waiting."""
    kept: list[dict[str, Any]] = []
    monkeypatch.setattr(jobs, "pause", lambda seconds: kept.append(w.state.get(jobs.STATE, {})))
    return kept


def many(w: World, count: int = 12) -> list[Update]:
    return [Update(w.ticket(), {"subject": f"New {n}"}) for n in range(count)]


def test_a_job_is_noted_before_it_is_asked_about_and_forgotten_when_done(w, looks):
    w.app.jobs.looks = 3
    updates = many(w)
    results = w.connector.update_many("ticket", updates, ["subject"])
    assert [r.record.values["subject"] for r in results if isinstance(r, WriteResult)] == [
        f"New {n}" for n in range(12)
    ]
    [noted] = looks[0].values()
    assert noted["names"] == [update.external_id for update in updates] and len(looks) == 4
    assert w.state.get(jobs.STATE) == {}


class Busy(State):
    """Another worker notes a job of its own after each look at what is kept, and before each change of it."""

    def __init__(self) -> None:
        super().__init__()
        self.others: set[str] = set()

    def other(self) -> None:
        id = f"V3-other-{len(self.others)}"
        self.others.add(id)
        self.put(jobs.STATE, {**self.kept.get(jobs.STATE, {}), id: {"at": time.time(), "names": ["of another"]}})

    def get(self, key: str, default: Any = None) -> Any:
        told = super().get(key, default)
        if key == jobs.STATE:
            self.other()
        return told

    def change(self, key: str, act: Callable[[Any], Any]) -> None:
        self.other()
        super().change(key, act)


def test_a_job_that_another_worker_notes_meanwhile_stays_noted(w, monkeypatch):
    """⚑ What is not noted could be sent again while it waits in Zendesk's queue."""
    monkeypatch.setattr(jobs, "pause", lambda seconds: None)
    w.state = busy = Busy()
    updates = many(w)
    results = w.open().update_many("ticket", updates, ["subject"])
    assert {type(result) for result in results} == {WriteResult}
    w.app.jobs.held = True
    assert {type(r) for r in w.open().update_many("ticket", updates, [])} == {Uncertain}
    kept = busy.kept[jobs.STATE]
    [own] = kept.keys() - busy.others
    assert busy.others <= kept.keys() and kept[own]["names"] == [update.external_id for update in updates]


def test_each_record_of_a_job_has_its_own_end(w, clock, looks):
    updates = many(w)
    old = read(w, updates[1].external_id)[updates[1].external_id].version
    clock.tick(2)
    w.records.update(updates[1].external_id, {"priority": "high"}, w.jane)
    w.records.update(updates[2].external_id, {"status": "closed"}, w.jane)
    w.records.delete(updates[3].external_id, w.jane)
    updates[1] = replace(updates[1], expected_version=old)
    updates[4] = replace(updates[4], external_id="no id")
    kinds = [type(result) for result in w.connector.update_many("ticket", updates, ["subject"])]
    assert kinds[:6] == [WriteResult, VersionMismatch, Refused, Gone, Gone, WriteResult]
    assert w.value(updates[1].external_id, "subject") == "Printer on fire"


@pytest.mark.parametrize("text", ["Conflict of interest: 'x' is invalid", "Assignee: user not found"])
def test_a_refused_value_of_a_job_is_told_whatever_words_its_reason_holds(text):
    """Taken for a ticket that changed, or is gone, it would be sent again for ever and nobody told."""
    result = {"index": 0, "id": 1, "error": "RecordInvalid", "details": text, "success": False}
    error = errors.item_error(result, lambda field, about: "custom_1")
    assert isinstance(error, Refused) and error.fields == {"custom_1": text}


def test_a_ticket_that_changed_just_now_goes_by_itself_and_tells_what_was_replaced(w, clock, looks):
    """Nothing is lost behind a stamp that two edits share: a job would not tell."""
    updates = many(w)
    clock.tick(60)
    busy = updates[3].external_id
    w.records.update(busy, {"priority": "low"}, w.jane)
    versions = {id: record.version for id, record in read(w, *(update.external_id for update in updates)).items()}
    w.records.update(busy, {"subject": "Edited in the second of our read"}, w.jane)
    results = w.connector.update_many(
        "ticket", [replace(update, expected_version=versions[update.external_id]) for update in updates], []
    )
    assert {type(result) for result in results} == {WriteResult}
    assert [r.replaced for r in results if isinstance(r, WriteResult) and r.replaced] == [
        {"subject": "Edited in the second of our read"}
    ]
    assert w.app.calls().count("PUT tickets/update_many") == w.app.calls().count(f"PUT tickets/{busy}") == 1


def test_while_a_job_is_at_work_nothing_is_decided_about_its_records(w, looks):
    w.app.jobs.held = True
    updates = many(w)
    assert {type(r) for r in w.connector.update_many("ticket", updates, [])} == {Uncertain}
    ids = [update.external_id for update in updates]
    after_a_crash = w.open()
    with pytest.raises(RateLimited, match="still at work"):
        after_a_crash.history("ticket", ids[:1], ["subject"], LONG_AGO)
    assert w.open().history("ticket", [w.ticket()], ["subject"], LONG_AGO)  # others may be looked into
    w.app.jobs.work()
    told = after_a_crash.history("ticket", ids[:1], ["subject"], LONG_AGO)
    assert told[ids[0]][-1].after == "New 0" and w.state.get(jobs.STATE) == {}


def test_a_create_still_in_the_queue_is_not_taken_for_missing(w, looks):
    w.app.jobs.held = True
    creations = [Creation({"subject": f"n{n}"}, f"key-{n}") for n in range(3)]
    assert {type(r) for r in w.connector.create_many("ticket", creations, [], {})} == {Uncertain}
    with pytest.raises(RateLimited):
        w.open().find_by_correlation_key("ticket", ["key-1"], [], {})
    w.app.jobs.work()
    assert len(w.open().find_by_correlation_key("ticket", ["key-1"], [], {})["key-1"]) == 1


def test_a_ticket_that_a_job_made_and_that_is_gone_at_once_is_told_by_its_number(w, looks):
    """Else it would be made a second time: nobody finds it by its key."""

    def deleted_by_a_trigger(event: str, row: dict[str, Any]) -> None:
        if (event, row["subject"]) == ("created", "n1"):
            w.records.delete(row["id"], w.jane)

    w.records.on_change = deleted_by_a_trigger
    creations = [Creation({"subject": f"n{n}"}, f"key-{n}") for n in range(3)]
    first, made, last = w.connector.create_many("ticket", creations, [], {})
    assert isinstance(first, WriteResult) and isinstance(last, WriteResult)
    assert isinstance(made, Uncertain) and int(made.external_id) == int(first.record.external_id) + 1


def test_a_job_that_ends_early_or_is_forgotten_leaves_its_records_uncertain(w, looks):
    for status, body in (
        (200, {"job_status": {"id": "V3-1", "status": "failed"}}),
        (404, {"error": "RecordNotFound"}),
        (200, {"job_status": {"id": "V3-1", "status": "completed", "results": [{"odd": 1}, None, 7]}}),
    ):
        w.app.fault("status", path=r"/job_statuses/V3", status=status, body=body, times=1)
        assert {type(r) for r in w.connector.update_many("ticket", many(w), [])} == {Uncertain}


def test_a_refused_look_is_made_again(w, looks):
    w.app.fault("status", path=r"/job_statuses/V3", status=429, headers={"Retry-After": "1"}, body={})
    results = w.connector.update_many("ticket", many(w), [])
    assert {type(r) for r in results} == {WriteResult} and len(looks) == 2


def test_the_next_look_comes_when_the_progress_promises_the_end_or_after_as_long_again(w, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(jobs, "pause", waits.append)
    w.app.jobs.looks = 3
    w.connector.update_many("ticket", many(w), [])
    assert waits == pytest.approx([0.3, 0.3, 0.6, 1.2])
    waits.clear()
    w.app.jobs.looks = 0
    working = {"job_status": {"id": "V3-1", "status": "working", "progress": 2, "total": 12}}
    w.app.fault("status", path=r"/job_statuses/V3", status=200, body=working, times=1)
    assert {type(r) for r in w.connector.update_many("ticket", many(w), [])} == {WriteResult}
    assert waits == pytest.approx([0.3, 1.5])


def test_tags_known_from_a_read_go_out_on_its_condition(w, clock):
    """⚑ Left out, the tag of a field that somebody just chose would empty that field."""
    field = plan(w)
    rested, edited, busy = w.ticket(tags=["a"]), w.ticket(tags=["a"]), w.ticket(tags=["a"])
    clock.tick(60)
    w.records.update(busy, {"priority": "low"}, w.jane)
    versions = {id: one.version for id, one in read(w, rested, edited, busy, fields=["tags"]).items()}
    w.records.update(busy, {"custom_fields": [{"id": field, "value": "plan_gold"}]}, w.jane)  # in the same second
    clock.tick(5)
    w.records.update(edited, {"custom_fields": [{"id": field, "value": "plan_gold"}]}, w.jane)

    def write(id: str) -> list[str]:
        return api_calls(w, lambda: w.connector.update("ticket", id, {"tags": ["b"]}, versions[id], []))

    assert write(rested) == [f"PUT tickets/{rested}"]
    assert write(busy) == ["GET tickets/show_many", f"PUT tickets/{busy}"]
    with pytest.raises(VersionMismatch):
        write(edited)
    assert (w.value(rested, "tags"), w.value(edited, field), w.value(busy, field)) == (["b"], *["plan_gold"] * 2)


def test_a_limit_in_the_middle_of_few_writes_stops_the_rest(w):
    updates = many(w, 3)
    told = {"Retry-After": "9", "ratelimit-remaining": "0", "x-rate-limit-remaining": "0"}
    w.app.fault("status", method="PUT", path=updates[1].external_id, status=429, headers=told, body={})
    results = w.connector.update_many("ticket", updates, [])
    assert [type(r) for r in results] == [WriteResult, RateLimited, RateLimited]
    assert w.value(updates[2].external_id, "subject") == "Printer on fire"


def test_the_limit_of_one_busy_ticket_holds_up_nothing_else(w, clock):
    waits: list[float] = []
    w.connector.context.http.on_limit = waits.append
    ids = [w.ticket() for _ in range(3)]
    w.app.updates_of_a_ticket = 1
    w.connector.update("ticket", ids[1], {"subject": "First"}, None, [])
    results = w.connector.update_many("ticket", [Update(id, {"priority": "High"}) for id in ids], [])
    assert [type(result) for result in results] == [WriteResult, OneLimited, WriteResult]
    assert isinstance(results[1], RateLimited) and 0 < results[1].after <= 600 and waits == []
    w.app.calls_a_minute = 1  # the account's own limit stops all
    read(w, ids[0])
    waits.clear()
    with pytest.raises(RateLimited):
        w.connector.update("ticket", ids[0], {"subject": "x"}, None, [])
    assert len(waits) == 1


# Comments ------------------------------------------------------------------------------------------------------------


def test_public_comments_and_internal_notes_are_kept_apart(w):
    id = w.ticket()
    w.records.update(id, {"comment": {"body": "For customers", "public": True}}, w.jane)
    w.records.update(id, {"comment": {"body": "Among us", "public": False}}, w.jane)
    fields = ["body", "author"]
    for kind, body in (("ticket.comment", "For customers"), ("ticket.note", "Among us")):
        [entry] = w.connector.children(kind, [id], fields)[id]  # the description is none
        assert dict(entry.values) == {"body": body, "author": "jane.doe@acme.example"}
        assert entry.parent_id == id and set(w.connector.get_many(kind, [entry.external_id], fields)) == {
            entry.external_id
        }
        other = "ticket.note" if kind == "ticket.comment" else "ticket.comment"
        assert w.connector.get_many(other, [entry.external_id], fields) == {}


@pytest.mark.parametrize(("kind", "public"), [("ticket.comment", True), ("ticket.note", False)])
def test_an_entry_is_made_and_found_again_and_never_changed(w, kind, public):
    id = w.ticket()
    made = w.connector.create(kind, {"body": "Line\nline"}, "key", {}, id)
    assert made.created and made.record.created_by == str(w.us) and made.record.parent_id == id
    assert w.connector.get_many(kind, [made.record.external_id], ["body"])[made.record.external_id].values == {
        "body": "Line\nline"
    }
    assert w.records.comments(id)[-1]["public"] is public
    for act in (
        lambda: w.connector.update(kind, made.record.external_id, {"body": "x"}, None, []),
        lambda: w.connector.delete(kind, made.record.external_id),
    ):
        with pytest.raises(Refused, match="cannot be changed"):
            act()
    with pytest.raises(Gone):
        w.connector.update(kind, f"{id}:999", {"body": "x"}, None, [])
    for values, parent in (({"body": " "}, id), ({"body": "x", "author": "y"}, id), ({"body": "x"}, None)):
        with pytest.raises(Refused):
            w.connector.create(kind, values, "key", {}, parent)


def test_new_entries_are_listed_as_changes_with_what_made_them_ours(w, clock):
    id = w.ticket()
    clock.tick(300)
    mark = position(w)
    made = w.connector.create("ticket.note", {"body": "Ours"}, "key", {}, id).record
    w.records.update(id, {"comment": {"body": "Theirs", "public": False}}, w.jane)
    w.records.update(id, {"comment": {"body": "Public"}}, w.jane)
    clock.tick(90)
    pages = list(w.connector.changed_since("ticket.note", mark, ["body"], {}))
    assert [r.values["body"] for page in pages for r in page.records] == ["Ours", "Theirs"]
    assert [r.external_id for r in w.connector.own_recent("ticket.note", mark, [], {})] == [made.external_id]


def test_an_entry_of_ours_is_found_though_its_ticket_was_edited_just_now(w, clock):
    """Else a comment whose answer got lost would be made a second time."""
    id, other = w.ticket(), w.ticket()
    clock.tick(300)
    claimed = export.text_of(clock.at)
    w.connector.create("ticket.note", {"body": "Before"}, "key", {}, other)
    made = w.connector.create("ticket.comment", {"body": "Ours"}, "key", {}, id).record
    clock.tick(120)
    w.records.update(id, {"priority": "high"}, w.jane)
    assert [r.external_id for r in w.connector.own_recent("ticket.comment", claimed, [], {})] == [made.external_id]
    later = export.text_of(clock.at)
    assert w.connector.own_recent("ticket.comment", later, [], {}) == []


def test_an_entry_of_ours_is_found_though_its_ticket_moves_within_the_list(w, clock, monkeypatch):
    ids = [w.ticket() for _ in range(250)]
    clock.tick(300)
    claimed = export.text_of(clock.at)
    made = w.connector.create("ticket.comment", {"body": "Ours"}, "key", {}, ids[0]).record
    clock.tick(1)
    for id in ids[1:]:
        w.records.update(id, {"priority": "high"}, w.jane)
    clock.tick(1)
    read = w.connector.desk.call

    def meanwhile(method: str, path: str, **more: Any):
        answer = read(method, path, **more)
        if path == "tickets":
            w.records.update(ids[0], {"subject": f"Edited at {clock.at}"}, w.jane)
        return answer

    monkeypatch.setattr(w.connector.desk, "call", meanwhile)
    assert [r.external_id for r in w.connector.own_recent("ticket.comment", claimed, [], {})] == [made.external_id]


def test_an_entry_is_listed_though_its_ticket_does_not_rest_for_a_minute(w, clock):
    id = w.ticket()
    clock.tick(300)
    mark = position(w)
    entry = w.connector.create("ticket.comment", {"body": "First of many"}, "key", {}, id).record.external_id
    seen: list[str] = []
    for round in range(20):
        clock.tick(50)
        since = w.connector.shift_watermark(mark, 2 * w.connector.capabilities.lookback)
        *_, last = pages = list(w.connector.changed_since("ticket.comment", since, [], {}))
        seen += [record.external_id for page in pages for record in page.records]
        mark = str(last.watermark)
        if round < 15:
            w.records.update(id, {"subject": f"Edited {round} times"}, w.jane)
    assert entry in seen


def test_a_list_of_entries_lets_others_in_between_after_few_calls(w, clock):
    """A call a ticket: a thousand of them in one page would cost the caller its lease."""
    ids = [w.ticket() for _ in range(35)]
    for id in ids:
        w.records.update(id, {"comment": {"body": "Hello"}}, w.jane)
    clock.tick(90)
    w.connector.desk.shape()
    before, found, last = len(w.app.calls()), [], False
    for page in w.connector.changed_since("ticket.comment", None, ["body"], {}):
        assert not last and len(w.app.calls()) - before <= 12
        before, last = len(w.app.calls()), page.last
        found += [record.parent_id for record in page.records]
    assert last and sorted(found) == sorted(ids)


def test_a_list_of_entries_waits_for_calls_instead_of_beginning_anew(w, clock, monkeypatch):
    monkeypatch.setattr(export, "pause", clock.tick)
    ids = [w.ticket() for _ in range(25)]
    for id in ids:
        w.records.update(id, {"comment": {"body": "Hello"}}, w.jane)
    clock.tick(90 + 60 - clock.at % 60)
    w.connector.desk.shape()
    w.app.calls_a_minute = 10
    pages = list(w.connector.changed_since("ticket.comment", None, ["body"], {}))
    assert sorted(record.parent_id for page in pages for record in page.records) == sorted(ids)
    assert [page.last for page in pages].count(True) == 1 and any(not page.records for page in pages)
    w.app.calls_a_minute = None
    w.app.fault("status", path="/comments", status=429, headers={"Retry-After": "100"}, body={}, times=9)
    with pytest.raises(RateLimited):  # not for ever: others use up all there are
        list(w.connector.changed_since("ticket.comment", None, ["body"], {}))


# The bell ------------------------------------------------------------------------------------------------------------


def delivery(w: World, number: int = -1) -> DeliveryRequest:
    """A request that went out, as it arrives."""
    _, headers, body = w.app.webhooks.sent[number]
    named = {name.lower(): value for name, value in headers.items()}
    return DeliveryRequest("POST", "/hooks/x", named, body, received_at=time.time())


def test_subscribing_makes_the_webhook_and_keeps_its_secret_out_of_sight(w):
    w.connector.subscribe(["ticket", "ticket.note"], {}, URL)
    [hook] = w.app.store.all("webhook")
    assert hook["endpoint"] == URL and w.tokens.current() == {"signing_secret": hook["secret"]}
    assert hook["secret"] not in json.dumps(w.state.kept)
    id = w.ticket()
    parsed = w.connector.parse_delivery(delivery(w))
    assert parsed.verified and [(h.external_id, h.created) for h in parsed.hints] == [(id, True)]
    w.records.delete(id, w.jane)
    assert [h.deleted for h in w.open().parse_delivery(delivery(w)).hints] == [True]
    w.connector.subscribe(["ticket"], {}, URL)
    assert len(w.app.store.all("webhook")) == 1  # the old one is gone
    w.connector.unsubscribe()
    assert w.app.store.all("webhook") == []


def test_without_ticket_events_a_trigger_rings(w):
    w.app.webhooks.events = False
    w.connector.subscribe(["ticket"], {}, URL)
    id = w.ticket(subject='He said "no"')
    parsed = w.connector.parse_delivery(delivery(w))
    assert parsed.verified and [h.external_id for h in parsed.hints] == [id]
    w.connector.unsubscribe()
    assert w.app.store.all("webhook") == w.app.store.all("trigger") == []


def test_an_account_that_may_not_register_says_how_it_is_done_by_hand(w):
    w.app.fault("status", path="/webhooks", status=403, body={"error": "Forbidden"})
    with pytest.raises(NotAllowed, match="may not register"):
        w.connector.subscribe(["ticket"], {}, URL)
    steps = w.connector.steps_by_hand(["ticket"], {}, URL)
    assert steps[0].code == URL and "signing secret" in steps[1].text
    with pytest.raises(Refused, match="tickets only"):
        w.connector.subscribe(["user"], {}, URL)


def test_a_delivery_is_believed_for_five_minutes_and_not_in_another_form(w):
    w.connector.subscribe(["ticket"], {}, URL)
    id = w.ticket()
    good = delivery(w)
    for seconds, fits in ((-290, True), (-310, False), (310, False)):
        w.app.webhooks.clock = lambda seconds=seconds: time.time() + seconds
        w.records.update(id, {"subject": f"{seconds}"}, w.jane)
        assert w.connector.parse_delivery(delivery(w)).verified is fits
    later = {**good.headers, "x-zendesk-webhook-signature-timestamp": export.text_of(time.time() + 1)}
    for forged, reason in (
        (replace(good, headers=later), "does not fit"),  # the time is signed as well
        (replace(good, headers={}), "not signed"),
        (replace(good, body=good.body + b" "), "does not fit"),
    ):
        parsed = w.connector.parse_delivery(forged)
        assert not parsed.verified and reason in parsed.reason and not parsed.hints[0].verified
    w.tokens.token = None
    parsed = w.open().parse_delivery(good)
    assert "no webhook secret" in parsed.reason and not parsed.provable
    [hook] = w.app.store.all("webhook")
    by_hand = w.open(secrets={"api_token": TOKEN, "webhook_secret": hook["secret"]})
    assert by_hand.parse_delivery(good).verified
    told = [by_hand.parse_delivery(one).delivery_id for one in (good, good, delivery(w))]
    assert told[0] == told[1] == good.headers["x-zendesk-webhook-invocation-id"] != told[2]


@needs_evidence
def test_a_recorded_event_of_something_else_rings_for_nothing(w):
    body = json.dumps(payload("zendesk/webhook_user_event")).encode()
    parsed = w.connector.parse_delivery(DeliveryRequest("POST", "/hooks/x", {}, body))
    assert parsed.event == "zen:event-type:user.group_membership_created" and not parsed.hints


# What it costs -------------------------------------------------------------------------------------------------------


def test_the_calls_of_a_live_change_of_an_idle_poll_and_of_many_records(w, clock):
    """The figures of docs/connectors.md, once the account's fields and people are known."""
    ids = [w.ticket(assignee_id=w.jane) for _ in range(100)]
    clock.tick(90)
    mark = position(w)
    read(w, ids[0])
    assert len(api_calls(w, lambda: changed(w, mark))) == 1  # idle
    assert len(api_calls(w, lambda: read(w, ids[0]))) == 1  # a live change, read
    one = api_calls(w, lambda: w.connector.update("ticket", ids[0], {"subject": "x"}, None, FIELDS))
    assert len(one) == 1  # a live change, written
    for id in ids:
        w.records.update(id, {"priority": "high"}, w.jane)
    clock.tick(90)

    def poll() -> None:
        found = [record.external_id for record in changed(w, mark)]
        assert set(found) == set(ids) and len(read(w, *found)) == 100

    assert len(api_calls(w, poll)) == 2
    updates = [Update(id, {"subject": "bulk"}) for id in ids]
    assert len(api_calls(w, lambda: w.connector.update_many("ticket", updates, FIELDS))) == 3


def test_a_backfill_of_a_thousand_takes_eleven_calls_to_read_and_three_a_hundred_to_write(w, clock):
    ids = [w.ticket() for _ in range(1000)]
    clock.tick(90)
    w.connector.desk.shape()

    def backfill() -> None:
        found = [record.external_id for record in changed(w)]
        assert found == ids
        for start in range(0, len(found), 100):
            assert len(read(w, *found[start : start + 100])) == 100

    assert len(api_calls(w, backfill)) == 1 + 10
    creations = [Creation({"subject": f"n{n}"}, f"key-{n}") for n in range(100)]
    assert len(api_calls(w, lambda: w.connector.create_many("ticket", creations, FIELDS, {}))) == 3


def test_links_for_people(w):
    assert w.connector.url_of("ticket", "12", "#12") == f"{w.address}/agent/tickets/12"
    assert w.connector.url_of("ticket.note", "12:34", None) == f"{w.address}/agent/tickets/12"


def test_every_error_of_the_contract_is_one_of_the_contracts(w):
    for fault in ({"status": 400}, {"status": 422, "body": {"error": "x"}}, {"status": 409, "body": {"error": "x"}}):
        w.app.fault("status", path="/tickets", times=1, **fault)
        with pytest.raises(ConnectorError):
            w.connector.update("ticket", "4001", {"subject": "x"}, LONG_AGO, [])
