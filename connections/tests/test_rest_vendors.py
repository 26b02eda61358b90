"""The definitions that come with SyncAdmin, held to the vendors' descriptions and recorded answers."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from connections.connectors import connector_class
from connections.connectors.base import Context, Gone, NotAllowed, RateLimited, Record, Refused, Uncertain
from connections.connectors.rest import Rest
from connections.connectors.rest_definition import gaps
from connections.connectors.rest_library import from_yaml, shipped, to_yaml
from connections.tests.evidence import needs_evidence, payload, payload_body, request_errors, same_shape
from connections.tests.salesforce_world import State, Tokens
from connections.tests.scripted_http import Asked, Said, Scripted

# Where a path of ours begins below the address, and the vendor's description below its server.
BASES = {"freshdesk": "/api/v2", "freshservice": "/api/v2", "asana": "/api/1.0", "hubspot_contacts": ""}
SPECS = {"hubspot_contacts": "hubspot"}
SINCE = "2026-01-01T00:00:00Z"
LATE = "2026-02-01T00:00:10Z"
# HubSpot's description calls a sort a text; the recorded request has an object, as ours (compared below).
OVERRULED = "body sorts/0"


def opened(kind: str, *script: Any) -> Any:
    """A connector of a kind that comes with its definition, on scripted answers."""
    cls = connector_class(kind)
    address = f"https://{kind.replace('_', '-')}.example.com"
    http = Scripted(address, *script, name=kind)
    settings = {"workspace": "1200"}
    connector = cls(Context(kind, address, settings, {"key": "a-long-api-key"}, http, Tokens(), State()))
    assert isinstance(connector, Rest)
    connector.lookups.forget()
    return connector


def check_requests(kind: str, connector: Any) -> None:
    """Every request made is one that the vendor's description allows."""
    for asked in connector.context.http.asked:
        body = None if asked.body is None else json.dumps(asked.body).encode()
        headers = {"content-type": "application/json", **asked.headers}
        path = asked.path.removeprefix(BASES[kind])
        found = request_errors(SPECS.get(kind, kind), asked.method, path, asked.query, headers, body)
        found = [error for error in found if not error.startswith(OVERRULED)]
        assert not found, (asked, found)


@pytest.mark.parametrize("definition", shipped(), ids=lambda each: each.kind)
def test_each_is_complete_and_comes_back_from_its_export(definition: Any):
    assert gaps(definition) == []
    assert definition.notes
    again = from_yaml(to_yaml(definition))
    assert (again.kind, again.object_types, again.notes) == ("", definition.object_types, definition.notes)


def test_each_is_a_system_like_any_other_in_the_list():
    for definition in shipped():
        kind = connector_class(definition.kind)
        assert kind.label == definition.name
        assert {each.name for each in kind.form if each.secret} == {"key"}


# Freshdesk and Freshservice ----------------------------------------------------------------------------------------

FRESH = ("freshdesk", "freshservice")


def fresh(kind: str, tickets: list[dict[str, Any]], *more: Any) -> Any:
    wrapped = kind == "freshservice"

    def one(ticket: Any) -> Any:
        return {"ticket": ticket} if wrapped else ticket

    def listed(asked: Asked) -> Said:
        page = int(dict(asked.query)["page"])
        found = tickets if page == 1 else []
        return Said({"tickets": found} if wrapped else found)

    return opened(
        kind,
        *more,
        ("GET", r"/tickets$", listed),
        ("GET", r"/tickets/\d+$", Said(one(tickets[0]))),
        ("POST", r"/tickets$", lambda asked: Said(one({**tickets[0], **asked.body, "id": 77}), 201)),
        ("PUT", r"/tickets/\d+$", lambda asked: Said(one({**tickets[0], **asked.body}))),
        ("DELETE", r"/tickets/\d+$", Said(None, 204)),
        ("GET", r"/agents$", Said({"agents": []} if wrapped else payload_body("freshdesk/agents"))),
    )


@needs_evidence
@pytest.mark.parametrize("kind", FRESH)
def test_fresh_tickets_are_listed_read_and_written_as_the_vendor_describes(kind: str):
    recorded = payload_body(f"{kind}/ticket_list")
    tickets = recorded["tickets"] if kind == "freshservice" else recorded
    connector = fresh(kind, tickets)
    [page] = connector.changed_since("ticket", "2010-01-01T00:00:00Z", [], {})
    assert page.last and {record.external_id for record in page.records} == {str(t["id"]) for t in tickets}
    assert not any(record.values for record in page.records), "the list leaves out what a direct read has"
    id = str(tickets[0]["id"])
    paths = [field.name for field in connector.definition.object_types[0].fields]
    record: Record = connector.get_many("ticket", [id], paths)[id]
    assert (record.values["subject"], record.values["status"]) == (tickets[0]["subject"], "Open")
    assert record.values["priority"] == "Low"
    assert record.updated_at and not record.deleted
    assert datetime.fromisoformat(record.updated_at) == datetime.fromisoformat(tickets[0]["updated_at"])
    written = connector.update("ticket", id, {"subject": "New", "status": "Resolved"}, None, paths).record
    assert (written.values["subject"], written.values["status"]) == ("New", "Resolved")
    values = {
        "subject": "Made",
        "description": "<p>x</p>",
        "status": "Open",
        "priority": "High",
        "email": "a@example.com",
    }
    assert connector.create("ticket", values, "key", {}).record.external_id == "77"
    connector.delete("ticket", id)
    check_requests(kind, connector)
    assert all(asked.auth == ("a-long-api-key", "X") for asked in connector.context.http.asked)


@needs_evidence
def test_freshdesk_tells_agents_by_their_address_and_notes_by_their_ticket():
    ticket = {**payload_body("freshdesk/ticket"), "responder_id": 432}
    notes = payload_body("freshdesk/conversations")
    connector = fresh("freshdesk", [ticket], ("GET", r"/conversations$", lambda a: Said(notes)))
    assert connector.get_many("ticket", ["1"], ["responder_id"])["1"].values == {
        "responder_id": "superman@freshdesk.com"
    }
    with pytest.raises(Refused) as caught:
        connector.update("ticket", "1", {"responder_id": "superman@freshdesk.com"}, None, [])
    assert "nobody active" in caught.value.fields["responder_id"], "the recorded agent is not active"
    children = connector.children("note", ["1"], ["body", "private"])["1"]
    assert [child.external_id for child in children] == ["1", "2"]
    assert children[0].values == {"body": "<div>This is a private note</div>", "private": True}
    check_requests("freshdesk", connector)


def test_freshdesk_names_the_field_it_refuses_and_a_ticket_not_found_may_only_be_archived():
    errors = {"description": "Validation failed", "errors": [{"field": "type", "message": "It should be one of these"}]}
    refusing = opened("freshdesk", ("GET", "/tickets/1", Said(TICKET)), ("PUT", "/tickets/1", Said(errors, 400)))
    with pytest.raises(Refused) as caught:
        refusing.update("ticket", "1", {"type": "Nothing"}, None, [])
    assert caught.value.fields == {"type": "It should be one of these"}
    gone = opened("freshdesk", ("GET", "/tickets/1", Said(TICKET)), ("DELETE", "/tickets/1", Said(None, 404)))
    with pytest.raises(Gone) as absent:
        gone.delete("ticket", "1")
    assert not absent.value.certain
    assert gone.capabilities_of("ticket").not_found_tells_nothing
    binned = opened("freshdesk", ("GET", "/tickets/1", Said({**TICKET, "deleted": True})))
    assert binned.get_many("ticket", ["1"], ["subject"])["1"].deleted


TICKET = {"id": 1, "subject": "x", "type": "Question", "updated_at": SINCE, "created_at": SINCE}


def test_freshdesk_asks_us_to_wait_and_is_waited_for():
    limited = opened("freshdesk", ("GET", "/tickets", Said({"message": "x"}, 429, {"Retry-After": "17"})))
    with pytest.raises(RateLimited) as caught:
        list(limited.changed_since("ticket", None, [], {}))
    assert caught.value.after == 17


# Asana -------------------------------------------------------------------------------------------------------------

TASK: dict[str, Any] = {
    "gid": "1206234446219801",
    "name": "Printer",
    "notes": "on fire",
    "completed": False,
    "assignee": {"gid": "12", "resource_type": "user"},
    "due_on": "2026-02-03",
    "start_on": None,
    "tags": [{"gid": "5", "name": "b"}, {"gid": "6", "name": "a"}],
    "projects": [{"gid": "77", "resource_type": "project"}],
    "modified_at": "2026-01-01T08:30:00.123Z",
    "created_at": "2026-01-01T09:00:00.000Z",
    "created_by": {"gid": "12", "resource_type": "user"},
}
STORIES = [
    {"gid": "1", "resource_subtype": "assigned", "text": "assigned to", "created_at": TASK["created_at"]},
    {"gid": "2", "resource_subtype": "comment_added", "text": "Hello", "created_at": TASK["created_at"]},
]


def asana() -> Any:
    def listed(asked: Asked) -> Said:
        more = {"offset": "abc", "path": "/tasks", "uri": "https://x"} if "offset" not in dict(asked.query) else None
        gid = "1206234446219801" if more else "1206234446219802"
        return Said({"data": [{**TASK, "gid": gid}], "next_page": more})

    return opened(
        "asana",
        ("GET", "/users/me", Said({"data": {"gid": "12", "name": "Ana", "email": "ana@example.com"}})),
        ("GET", "/workspaces/1200/users", Said({"data": [{"gid": "12", "name": "Ana", "email": "Ana@example.com"}]})),
        ("GET", "/stories$", Said({"data": STORIES, "next_page": None})),
        ("POST", "/stories$", lambda asked: Said({"data": {**STORIES[1], **asked.body["data"], "gid": "3"}}, 201)),
        ("GET", "/tasks$", listed),
        ("GET", r"/tasks/\d+$", Said({"data": TASK})),
        ("POST", "/tasks$", Said({"data": {"gid": TASK["gid"]}}, 201)),
        ("PUT", r"/tasks/\d+$", Said({"data": TASK})),
        ("DELETE", r"/tasks/\d+$", Said({"data": {}})),
    )


@needs_evidence
def test_asana_tasks_of_a_project_are_listed_read_and_written_as_the_vendor_describes():
    connector = asana()
    scope = {"project": "77"}
    assert connector.check().account_id == "12"
    pages = list(connector.changed_since("task", SINCE, ["name"], scope))
    assert [record.external_id[-1] for page in pages for record in page.records] == ["1", "2"]
    assert [page.watermark for page in pages] == [SINCE, "2026-01-01T08:30:00.123000Z"], (
        "no order, no position before the end"
    )
    paths = [field.name for field in connector.definition.object_types[0].fields]
    record = connector.get_many("task", [TASK["gid"]], paths)[TASK["gid"]]
    assert record.values == {
        "name": "Printer",
        "notes": "on fire",
        "completed": False,
        "assignee": "ana@example.com",
        "due_on": "2026-02-03",
        "start_on": None,
        "tags": ["a", "b"],
    }
    assert connector.admits("task", record, scope) is True
    assert connector.admits("task", record, {"project": "78"}) is False
    connector.update("task", TASK["gid"], {"notes": "on fire", "assignee": "ana@example.com"}, None, paths)
    made = connector.create("task", {"name": "Printer", "due_on": "2026-02-03"}, "key", scope)
    assert made.record.external_id == TASK["gid"]
    connector.delete("task", TASK["gid"])
    assert connector.people("an") == [("ana@example.com", "Ana (ana@example.com)")]
    [comment] = connector.children("comment", [TASK["gid"]], ["text"])[TASK["gid"]]
    assert (comment.external_id, comment.values) == ("2", {"text": "Hello"}), (
        "what the system itself notes is no comment"
    )
    assert connector.create("comment", {"text": "Hi"}, "key", {}, TASK["gid"]).record.external_id == "3"
    check_requests("asana", connector)
    sent = [asked.body for asked in connector.context.http.asked if asked.method == "POST"]
    assert sent[0] == {"data": {"projects": ["77"], "name": "Printer", "due_on": "2026-02-03"}}


@needs_evidence
def test_a_recorded_asana_event_names_the_task_that_the_list_names():
    event = payload("asana/webhook_task_name_changed")["events"][0]
    assert event["resource"]["gid"] == TASK["gid"]


def test_asana_tags_that_a_task_does_not_show_are_not_known_to_be_none():
    hidden = {key: value for key, value in TASK.items() if key != "tags"}
    for task in (hidden, {**TASK, "tags": [{"gid": "5", "resource_type": "tag"}]}):
        connector = opened("asana", ("GET", r"/tasks/\d+$", Said({"data": task})))
        record = connector.get_many("task", [TASK["gid"]], ["name", "tags"])[TASK["gid"]]
        assert (record.values, record.unreadable) == ({"name": "Printer"}, {"tags"})
    none = opened("asana", ("GET", r"/tasks/\d+$", Said({"data": {**TASK, "tags": []}})))
    assert none.get_many("task", [TASK["gid"]], ["tags"])[TASK["gid"]].values == {"tags": []}


def test_asana_tags_are_read_only():
    with pytest.raises(Refused) as caught:
        asana().update("task", TASK["gid"], {"tags": ["x"]}, None, [])
    assert set(caught.value.fields) == {"tags"}


# HubSpot -----------------------------------------------------------------------------------------------------------


@needs_evidence
def test_hubspot_contacts_are_searched_read_and_written_as_the_vendor_describes():
    first = payload_body("hubspot/search_first_page")
    contact = first["results"][0]

    def searched(asked: Asked) -> Said:
        last = {**first, "paging": None, "results": []}
        return Said(first if asked.body["after"] == "0" else last)

    connector = opened(
        "hubspot_contacts",
        ("GET", "/owners", Said({"results": []})),
        ("POST", "/search$", searched),
        ("POST", "/batch/read$", lambda asked: Said({"results": [contact], "status": "COMPLETE"})),
        ("GET", r"/contacts/501$", Said(contact)),
        ("POST", "/contacts$", lambda asked: Said({**contact, "id": "501"}, 201)),
        ("PATCH", r"/contacts/\d+$", Said(contact)),
        ("DELETE", r"/contacts/\d+$", Said(None, 204)),
    )
    pages = list(connector.changed_since("contact", "2025-01-01T00:00:00.5Z", [], {}))
    assert [record.external_id for page in pages for record in page.records] == ["501"]
    assert pages[-1].last and pages[-1].watermark == "2025-01-27T19:53:15.581000Z"
    recorded = payload("hubspot/search_request_since")
    assert same_shape(recorded["sorts"], connector.context.http.asked[0].body["sorts"]) == []
    filters = connector.context.http.asked[0].body["filterGroups"][0]["filters"]
    assert filters == [{"propertyName": "lastmodifieddate", "operator": "GTE", "value": "1735689600500"}]
    paths = ["email", "firstname", "company"]
    found = connector.get_many("contact", ["501", "999"], paths)
    assert found["501"].values == {"email": "johnnie77@hotmail.com", "firstname": "Johnnie", "company": None}
    assert set(found) == {"501"}, "what a batch lacks is asked for alone before it counts as gone"
    connector.update("contact", "501", {"firstname": "Johnnie"}, None, paths)
    assert connector.create("contact", {"email": "a@example.com"}, "key", {}).record.external_id == "501"
    connector.delete("contact", "501")
    check_requests("hubspot_contacts", connector)


def test_a_contact_that_a_create_without_an_answer_made_is_recognised_by_what_it_says():
    """HubSpot's search names contacts only; what looks like the one that we sent must not be made again."""
    made = {"id": "5", "createdAt": LATE, "updatedAt": LATE, "properties": {"lastmodifieddate": LATE}}
    whole = {**made, "properties": {"firstname": "Ana", "lastname": "Ruiz"}}
    connector = opened(
        "hubspot_contacts",
        ("POST", "/search$", Said({"results": [made, {**made, "id": "4", "createdAt": SINCE}]})),
        ("POST", "/batch/read$", Said({"results": [whole, {**whole, "id": "4", "createdAt": SINCE}]})),
    )
    [own] = connector.own_recent("contact", "2026-02-01T00:00:00Z", ["firstname", "lastname"], {})
    assert (own.external_id, own.values) == ("5", {"firstname": "Ana", "lastname": "Ruiz"})


def test_hubspot_s_fields_are_told_from_contacts_and_not_from_a_search_that_names_them_only():
    found = {"id": "5", "updatedAt": SINCE, "properties": {"lastmodifieddate": SINCE, "hs_object_id": "5"}}
    whole = {**found, "properties": {"email": "a@example.com", "firstname": None, "company": "Acme"}}
    connector = opened(
        "hubspot_contacts",
        ("GET", "/owners", Said({"results": []})),
        ("POST", "/search$", Said({"results": [found]})),
        ("POST", "/batch/read$", Said({"results": [whole]})),
    )
    assert {field.path for field in connector.fields("contact", {})} == {"email", "firstname", "company"}
    assert set(connector.hidden_everywhere("contact", ["email", "lastname"], {})) == {"lastname"}


def test_what_only_new_freshdesk_tickets_are_given_is_not_missed_in_the_others():
    connector = opened("freshdesk", ("GET", "/tickets$", Said([TICKET])), ("GET", "/tickets/1$", Said(TICKET)))
    assert set(connector.hidden_everywhere("ticket", ["subject", "email", "tags"], {})) == {"tags"}


def test_records_that_are_not_understood_say_nothing_of_their_fields():
    connector = opened(
        "freshdesk", ("GET", "/tickets$", Said([TICKET])), ("GET", "/tickets/1$", Said({**TICKET, "id": 2}))
    )
    assert not connector.hidden_everywhere("ticket", ["subject"], {})


MERGED = {"id": "900", "updatedAt": SINCE, "createdAt": SINCE, "archived": False, "properties": {"firstname": "Ana"}}


def hubspot_after_a_merge() -> Any:
    """Contact 5 was merged into 900, which answers in its place; 6 is as it was."""
    other = {**MERGED, "id": "6", "properties": {"firstname": "Bob"}}
    return opened(
        "hubspot_contacts",
        ("POST", "/batch/read$", Said({"results": [MERGED, other], "status": "COMPLETE"})),
        ("GET", r"/contacts/5$", Said(MERGED)),
        ("PATCH", r"/contacts/5$", Said(MERGED)),
    )


def test_a_merged_hubspot_contact_is_told_with_the_one_it_went_into_and_stops_no_other():
    found = hubspot_after_a_merge().get_many("contact", ["5", "6"], ["firstname"])
    assert (found["5"].deleted, found["5"].merged_into, found["5"].values) == (True, "900", {})
    assert (found["6"].deleted, found["6"].values) == (False, {"firstname": "Bob"})
    with pytest.raises(Gone):
        hubspot_after_a_merge().update("contact", "5", {"firstname": "Eve"}, None, ["firstname"])


def test_a_hubspot_contact_that_was_merged_during_our_write_is_looked_at_before_anything_is_sent_again():
    answers = [Said({**MERGED, "id": "5"}), Said(MERGED)]
    racing = opened(
        "hubspot_contacts",
        ("GET", r"/contacts/5$", lambda asked: answers.pop(0)),
        ("PATCH", r"/contacts/5$", Said(MERGED)),
    )
    with pytest.raises(Uncertain, match="merged into 900"):
        racing.update("contact", "5", {"firstname": "Eve"}, None, ["firstname"])


@needs_evidence
def test_hubspot_says_which_property_it_refuses_and_its_search_limit_has_no_time():
    body = payload_body("hubspot/validation_error_many")
    body["errors"][0]["context"]["propertyName"] = ["firstname"]
    contact = {"id": "5", "updatedAt": SINCE, "properties": {"firstname": "x"}}
    refusing = opened("hubspot_contacts", ("GET", "/5", Said(contact)), ("PATCH", "/5", Said(body, 400)))
    with pytest.raises(Refused) as caught:
        refusing.update("contact", "5", {"firstname": "y"}, None, [])
    assert set(caught.value.fields) == {"firstname"}
    recorded = payload("hubspot/rate_limit_429_search")["response"]
    limited = opened("hubspot_contacts", ("POST", "/search", Said(recorded["body"], 429, recorded["headers"])))
    with pytest.raises(RateLimited) as wait:
        list(limited.changed_since("contact", None, [], {}))
    assert wait.value.after > 0


def test_an_address_that_is_not_the_vendor_s_is_told_and_not_taken_for_an_empty_list():
    nowhere = opened("hubspot_contacts")
    with pytest.raises(NotAllowed, match="Check the address"):
        list(nowhere.changed_since("contact", None, [], {}))
