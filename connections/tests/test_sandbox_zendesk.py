"""The Zendesk stand-in: sign-in, tickets, jobs, the export, limits, bells, and its shapes against recorded ones."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from connections.sandbox.base import Request, Response
from connections.sandbox.zendesk import ZendeskStandin
from connections.tests.evidence import check_answer, needs_evidence, payload, payload_body, same_shape

START = 1_767_225_600.0  # 2026-01-01T00:00:00Z
# What the recorded account had and ours has not, or the other way round.
OTHER = ("audit.metadata.system", "ticket.satisfaction_rating")


class Client:
    """A stand-in with an agent whose token signs in, and a clock to turn."""

    def __init__(self) -> None:
        self.at = START
        self.app = ZendeskStandin(now=lambda: self.at)
        self.records = self.app.records
        self.agent = self.records.user("Ana Ruiz", "ana@acme.example", "admin")
        self.app.tokens["token"] = "ana@acme.example"
        self.credentials = "Basic " + base64.b64encode(b"ana@acme.example/token:token").decode()

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Response:
        headers = {"authorization": self.credentials, **more.pop("headers", {})}
        sent = b"" if body is None else json.dumps(body).encode()
        query = {name: str(value) for name, value in more.pop("query", {}).items()}
        return self.app.handle(Request(method, f"/api/v2/{path}", query, headers, sent))

    def ticket(self, **values: Any) -> int:
        given = {"subject": "Printer", "comment": {"body": "It burns."}, "status": "open", **values}
        return int(self.records.create(given, self.agent)[0]["id"])

    def export(self, **query: Any) -> Any:
        return self.call("GET", "incremental/tickets/cursor", query=query).body


@pytest.fixture
def desk() -> Client:
    return Client()


# Sign-in and limits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["", "Basic x", "Bearer x", "Basic " + base64.b64encode(b"ana@acme.example:token").decode()]
)
def test_without_a_token_of_its_agent_nothing_is_told(desk, header):
    answer = desk.call("GET", "users/me", headers={"authorization": header})
    assert (answer.status, answer.body) == (401, {"error": "Couldn't authenticate you"})


def test_an_oauth_token_signs_in_as_its_agent(desk):
    desk.app.bearers["b"] = "ana@acme.example"
    answer = desk.call("GET", "users/me", headers={"authorization": "Bearer b"})
    assert answer.body["user"]["id"] == desk.agent


def test_the_export_has_a_limit_of_its_own_in_the_recorded_words(desk):
    for _ in range(10):
        assert desk.call("GET", "incremental/tickets/cursor", query={"start_time": 0}).status == 200
    refused = desk.call("GET", "incremental/tickets/cursor", query={"start_time": 0})
    assert (refused.status, refused.headers["Retry-After"]) == (429, "60")
    assert "incremental export API requests" in refused.body["description"]
    assert desk.call("GET", "groups").status == 200
    desk.at += 60
    assert desk.call("GET", "incremental/tickets/cursor", query={"start_time": 0}).status == 200


def test_every_answer_tells_what_is_left_of_the_minute(desk):
    desk.app.calls_a_minute = 2
    left = [desk.call("GET", "groups").headers["ratelimit-remaining"] for _ in range(2)]
    assert left == ["1", "0"] and desk.call("GET", "groups").status == 429


# Tickets -------------------------------------------------------------------------------------------------------------


def test_a_drop_downs_option_is_a_tag_and_the_tag_is_the_option(desk):
    plan = desk.records.field("tagger", "Plan", {"gold": "Gold", "silver": "Silver"})
    id = desk.ticket(tags=["hot"], custom_fields=[{"id": plan, "value": "gold"}])
    assert desk.records.ticket(id)["tags"] == ["gold", "hot"]
    row, _ = desk.records.update(id, {"custom_fields": [{"id": plan, "value": "silver"}]}, desk.agent)
    assert row["tags"] == ["hot", "silver"]
    row, _ = desk.records.update(id, {"tags": ["hot"]}, desk.agent)
    assert row["custom_fields"] == [{"id": plan, "value": None}]


def test_an_assignment_opens_a_new_ticket_and_gives_it_a_group(desk):
    tier = desk.records.group("Tier 2")
    bob = desk.records.user("Bob", "bob@acme.example", default_group_id=tier)
    row, audit = desk.records.update(desk.ticket(status="new"), {"assignee_id": bob}, desk.agent)
    assert (row["status"], row["group_id"]) == ("open", tier)
    assert {event["field_name"] for event in audit["events"]} == {"status", "group_id", "assignee_id"}


@pytest.mark.parametrize("asked", [True, False])
def test_a_safe_update_with_an_old_stamp_is_refused_whatever_it_says(desk, asked):
    id = desk.ticket()
    stamp = desk.records.ticket(id)["updated_at"]
    desk.at += 2
    desk.records.update(id, {"priority": "high"}, desk.agent)
    body = {"ticket": {"subject": "x", "safe_update": asked, "updated_stamp": stamp}}
    refused = desk.call("PUT", f"tickets/{id}", body)
    assert (refused.status, refused.body["error"]) == (409, "UpdateConflict")
    body["ticket"]["updated_stamp"] = desk.records.ticket(id)["updated_at"]
    assert desk.call("PUT", f"tickets/{id}", body).status == 200


def test_an_idempotency_key_makes_one_ticket_within_two_hours(desk):
    body = {"ticket": {"subject": "x", "comment": {"body": "y"}}}
    one, two = (desk.call("POST", "tickets", body, headers={"idempotency-key": "k"}) for _ in range(2))
    assert [a.headers["x-idempotency-lookup"] for a in (one, two)] == ["miss", "hit"]
    assert one.body["ticket"]["id"] == two.body["ticket"]["id"]
    other = {"ticket": {"subject": "other", "comment": {"body": "y"}}}
    assert desk.call("POST", "tickets", other, headers={"idempotency-key": "k"}).status == 400
    desk.at += 7201
    assert desk.call("POST", "tickets", other, headers={"idempotency-key": "k"}).status == 201


def test_a_job_tells_of_each_record_when_it_is_done(desk):
    desk.app.jobs.looks = 1
    id = desk.ticket()
    tickets = [{"id": id, "subject": "new"}, {"id": 1, "subject": "x"}, {"id": id, "priority": "huge"}]
    job = desk.call("PUT", "tickets/update_many", {"tickets": tickets}).body["job_status"]
    assert (job["status"], job["results"]) == ("queued", None)
    looks = [desk.call("GET", f"job_statuses/{job['id']}").body["job_status"] for _ in range(2)]
    assert [one["status"] for one in looks] == ["working", "completed"]
    assert [one.get("error") for one in looks[1]["results"]] == [None, "TicketNotFound", "RecordInvalid"]


def test_a_trigger_changes_more_within_the_same_audit(desk):
    id = desk.ticket()
    desk.records.triggers.append(lambda row, given: {"priority": "urgent"} if given.get("subject") else {})
    _, audit = desk.records.update(id, {"subject": "Fire"}, desk.agent)
    assert [(e["field_name"], "via" in e) for e in audit["events"]] == [("subject", False), ("priority", True)]


# The export ----------------------------------------------------------------------------------------------------------


def test_the_export_hides_what_changed_within_the_last_minute(desk):
    old = desk.ticket()
    desk.at += 120
    new = desk.ticket()
    assert [row["id"] for row in desk.export(start_time=0)["tickets"]] == [old]
    desk.records.update(old, {"subject": "x"}, desk.agent)
    assert desk.export(start_time=0)["tickets"] == []  # it shows again when a minute has passed
    desk.at += 61
    assert [row["id"] for row in desk.export(start_time=0)["tickets"]] == [old, new]


def test_the_export_goes_on_by_its_cursor_and_shows_deleted_tickets(desk):
    desk.app.export_page = 2
    ids = [desk.ticket() for _ in range(5)]
    desk.records.delete(ids[4], desk.agent)
    desk.at += 61
    page = desk.export(start_time=0)
    seen = [*page["tickets"]]
    while not page["end_of_stream"]:
        page = desk.export(cursor=page["after_cursor"])
        seen += page["tickets"]
    assert [row["id"] for row in seen] == ids and seen[-1]["status"] == "deleted"
    assert desk.call("GET", f"tickets/{ids[4]}").status == 404


def test_a_systems_own_change_moves_the_exports_clock_alone(desk):
    id = desk.ticket()
    before = desk.records.ticket(id)["updated_at"]
    desk.at += 500
    desk.records.touch(id)
    desk.at += 61
    [row] = desk.export(start_time=int(START) + 500)["tickets"]
    assert (row["id"], row["updated_at"]) == (id, before)


def test_a_start_closer_than_a_minute_is_refused(desk):
    refused = desk.call("GET", "incremental/tickets/cursor", query={"start_time": int(START) - 59})
    assert (refused.status, refused.body["error"]) == (400, "StartTimeTooRecent")


# The bell ------------------------------------------------------------------------------------------------------------


def test_a_webhook_is_told_of_its_events_and_a_trigger_of_all_but_deletions(desk):
    hook = {"name": "x", "endpoint": "http://127.0.0.1:9/", "http_method": "POST", "request_format": "json"}
    events = ["zen:event-type:ticket.soft_deleted"]
    desk.call("POST", "webhooks", {"webhook": {**hook, "subscriptions": events}})
    made = desk.call("POST", "webhooks", {"webhook": {**hook, "subscriptions": ["conditional_ticket_events"]}})
    action = {"field": "notification_webhook", "value": [made.body["webhook"]["id"], '{"ticket_id": "{{ticket.id}}"}']}
    desk.call("POST", "triggers", {"trigger": {"title": "x", "conditions": {}, "actions": [action]}})
    id = desk.ticket()
    desk.records.delete(id, desk.agent)
    told = [json.loads(body) for _, _, body in desk.app.webhooks.sent]
    assert told[0] == {"ticket_id": str(id)}
    assert [one.get("type") for one in told] == [None, *events]


# Against what was recorded -------------------------------------------------------------------------------------------


@needs_evidence
def test_answers_have_the_recorded_shapes(desk):
    id = desk.ticket(subject="test")
    create = desk.call("POST", "tickets", {"ticket": {"description": "test", "subject": "test"}})
    update = desk.call("PUT", f"tickets/{id}", {"ticket": {"subject": "changed", "description": "ignored"}})
    desk.at += 120
    hook = payload("zendesk/webhook_create")["request"]["body"]
    queued = desk.call("PUT", "tickets/update_many", {"tickets": [{"id": id, "subject": "x"}]})
    job = queued.body["job_status"]["id"]
    for name, answer in (
        ("ticket_create", create),
        ("ticket_update", update),
        ("ticket_update_not_found", desk.call("PUT", "tickets/9223372036854775807", {"ticket": {"subject": "x"}})),
        ("incremental_tickets_cursor", desk.call("GET", "incremental/tickets/cursor", query={"start_time": 0})),
        ("tickets_update_many_job_queued", queued),
        ("job_status_create_done", desk.call("GET", f"job_statuses/{job}")),
        ("user_me", desk.call("GET", "users/me")),
        ("webhook_create", desk.call("POST", "webhooks", hook)),
    ):
        recorded = payload(f"zendesk/{name}")["response"]
        assert answer.status == recorded["status"], name
        assert same_shape(recorded["body"], answer.body, ignore=OTHER) == [], name
        assert {h for h in recorded["headers"] if "remaining" in h and h.startswith("x-")} <= set(answer.headers), name


@needs_evidence
def test_bodies_have_the_recorded_shapes(desk):
    id = desk.ticket()
    desk.records.update(id, {"comment": {"body": "Looking into it.", "public": False}}, desk.agent)
    comments = desk.call("GET", f"tickets/{id}/comments", query={"page[size]": 100})
    assert (
        same_shape(payload_body("zendesk/ticket_comments_list"), comments.body, ignore=("comments[].metadata",)) == []
    )
    desk.records.update(id, {"status": "closed"}, desk.agent)
    refused = desk.call("PUT", f"tickets/{id}", {"ticket": {"subject": "x"}})
    assert (refused.status, refused.body) == (422, payload("zendesk/validation_error_closed_ticket_422"))
    event = json.loads(desk.app.webhooks.event("subject_changed", desk.records.ticket(id)))
    recorded = payload("zendesk/webhook_user_event")
    assert same_shape(recorded, event, ignore=("event", "detail")) == [] and set(event) == set(recorded)


@needs_evidence
def test_answers_agree_with_the_description(desk):
    desk.records.field("tagger", "Plan", {"gold": "Gold"})
    desk.records.form("Default")
    desk.records.group("Tier 2")
    id = desk.ticket()
    desk.records.delete(desk.ticket(), desk.agent)
    desk.at += 120
    for path, query in (
        (f"tickets/{id}", {}),
        ("tickets/show_many", {"ids": str(id)}),
        ("tickets", {"page[size]": 1}),
        (f"tickets/{id}/comments", {}),
        (f"tickets/{id}/audits", {}),
        ("incremental/tickets/cursor", {"start_time": 0}),
        ("search/export", {"query": 'subject:"printer"', "filter[type]": "ticket"}),
        ("deleted_tickets", {}),
        ("ticket_fields", {}),
        ("ticket_forms", {}),
        ("groups", {}),
        ("users/me", {}),
        ("users/show_many", {"ids": str(desk.agent)}),
        ("users/search", {"query": "ana"}),
    ):
        answer = desk.call("GET", path, query=query)
        assert answer.status == 200
        check_answer("zendesk", "GET", f"/api/v2/{path}", 200, json.loads(json.dumps(answer.body)))
