"""The ServiceNow stand-in's API: sign-in, rows, rules and refusals, limits, and its shapes against recorded ones."""

from __future__ import annotations

import base64
import json

import pytest

from connections.sandbox.servicenow import ServiceNowStandin
from connections.tests.evidence import check_answer, needs_evidence, payload, payload_body, same_shape
from connections.tests.servicenow_client import START, TABLE, Client


@pytest.fixture
def site():
    return Client()


def numbers(rows):
    return [row["number"] for row in rows]


# Sign-in -------------------------------------------------------------------------------------------------------------


@needs_evidence
def test_without_credentials_the_answer_is_the_recorded_one(site):
    recorded = payload("servicenow/unauthorized")["response"]
    for headers in ({}, {"Authorization": "Basic bm9ib2R5OngK"}, {"Authorization": "Bearer x"}, {"Authorization": "?"}):
        answer = site.send("GET", TABLE + "sys_user", headers=headers)
        assert (answer.status, answer.body) == (recorded["status"], recorded["body"])
        assert answer.headers["WWW-Authenticate"] == recorded["headers"]["www-authenticate"]


def test_a_token_is_given_for_each_grant_and_ends(site):
    client = site.app.oauth.client("api")
    password = site.token(grant_type="password", username="api", password="password-of-api", **client).body
    assert password["token_type"] == "Bearer" and password["expires_in"] == 1800
    again = site.token(grant_type="refresh_token", refresh_token=password["refresh_token"], **client).body
    own = site.token(grant_type="client_credentials", **client).body
    assert "refresh_token" not in own
    for token in (password, again, own):
        bearer = {"Authorization": f"Bearer {token['access_token']}"}
        assert site.send("GET", TABLE + "incident", headers=bearer).status == 200
    site.clock.tick(1801)
    assert site.send("GET", TABLE + "incident", headers=bearer).status == 401


@pytest.mark.parametrize(
    "form",
    [
        {"grant_type": "password", "username": "api", "password": "wrong"},
        {"grant_type": "client_credentials", "client_secret": "wrong"},
        {"grant_type": "refresh_token", "refresh_token": "old"},
        {"grant_type": "magic"},
        {},
    ],
)
def test_wrong_sign_in_is_refused(site, form):
    answer = site.token(**{**site.app.oauth.client("api"), **form})
    assert answer.status == 401 and answer.body["error"]
    assert site.send("POST", "/oauth_token.do", body=b"{}", headers={"Content-Type": "application/json"}).status == 401


def test_a_user_who_left_signs_in_no_more(site):
    site.records.edit("sys_user", site.api, {"active": "false"}, "admin")
    assert site.call("GET", "incident").status == 401


# Rows ----------------------------------------------------------------------------------------------------------------


@needs_evidence
@pytest.mark.parametrize(
    ("table", "recording"),
    [
        ("incident", "incident_list"),
        ("sys_user_group", "group_list"),
        ("sys_user", "user_list_with_link_header"),
    ],
)
def test_rows_have_the_recorded_shape(site, table, recording):
    site.incident(assigned_to=site.ana, assignment_group=site.group)
    answer = site.call("GET", table)
    check_answer("servicenow", "GET", TABLE + table, 200, answer.body)
    recorded = payload_body(f"servicenow/{recording}")["result"]
    shared = [{k: v for k, v in row.items() if k in answer.body["result"][0]} for row in recorded]
    # What nobody filled in is "" in one and a reference in the other.
    mixed = {f"[].{k}" for row in (*recorded, *answer.body["result"]) for k, v in row.items() if isinstance(v, dict)}
    assert not same_shape(shared, answer.body["result"], ignore=mixed)
    assert len(shared[0]) > 15
    if table == "incident":
        assert not same_shape(recorded, answer.body["result"], missing=True, ignore=mixed)


@needs_evidence
def test_lists_count_and_link_as_recorded(site):
    for _ in range(5):
        site.incident()
    answer = site.call("GET", "incident", limit="2", offset="2")
    assert answer.headers["X-Total-Count"] == "5"
    rels = [part.split(";")[1] for part in answer.headers["Link"].split(",")]
    assert rels == ['rel="first"', 'rel="prev"', 'rel="next"', 'rel="last"']
    recorded = payload("servicenow/user_list_with_link_header")["response"]["headers"]["link"]
    assert recorded.split(";")[0].startswith("<https://") and answer.headers["Link"].startswith("<http://acme.test/")
    assert "Link" not in site.call("GET", "incident", limit="10").headers


def test_every_value_is_a_text_and_a_reference_a_link(site):
    site.incident(assigned_to=site.ana, u_effort="2.5")
    [row] = site.rows()
    assert row["assigned_to"] == {"link": f"http://acme.test/api/now/table/sys_user/{site.ana}", "value": site.ana}
    assert all(isinstance(value, str | dict) for value in row.values())
    assert (row["active"], row["sys_mod_count"], row["u_effort"], row["cmdb_ci"]) == ("true", "0", "2.5", "")
    [plain] = site.rows(exclude_reference_link="true", fields="assigned_to,assigned_to.email,state")
    assert plain == {"assigned_to": site.ana, "assigned_to.email": "ana@acme.example", "state": "1"}


def test_display_values_follow_choices_references_and_the_callers_zone(site):
    site.incident(assigned_to=site.ana, follow_up="2026-01-01 12:00:00")
    site.records.edit("sys_user", site.api, {"time_zone": "America/Los_Angeles"}, "admin")
    [row] = site.rows(display_value="true", fields="state,assigned_to,follow_up")
    assert (row["state"], row["follow_up"]) == ("New", "2026-01-01 04:00:00")
    assert row["assigned_to"]["display_value"] == "Ana Ruiz" and "value" not in row["assigned_to"]
    [row] = site.rows(display_value="all", fields="state,follow_up")
    assert row["state"] == {"display_value": "New", "value": "1"}
    assert row["follow_up"]["value"] == "2026-01-01 12:00:00"


def test_unknown_and_hidden_columns_are_left_out(site):
    site.incident(description="x")
    site.app.hidden_columns.add(("incident", "description"))
    assert site.rows(fields="number,description,nonsense") == [{"number": "INC0010001"}]
    assert "description" not in site.rows()[0]
    site.app.blanks_hidden = True
    assert site.rows(fields="description") == [{"description": ""}]


def test_rows_that_are_hidden_leave_short_pages_and_are_counted(site):
    ids = [site.incident() for _ in range(4)]
    site.app.hidden_rows |= set(ids[:3])
    answer = site.call("GET", "incident", query="ORDERBYnumber", limit="3")
    assert (answer.body["result"], answer.headers["X-Total-Count"]) == ([], "4")
    refused = site.call("GET", f"incident/{ids[0]}")
    assert (refused.status, refused.body["error"]["message"]) == (404, "No Record found")
    assert site.call("PATCH", f"incident/{ids[0]}", {"short_description": "x"}).status == 404


# Queries -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("category=network", "1"),
        ("category=NETWORK", "1"),
        ("category=network^ORcategory=software", "12"),
        ("active=true^category=network^ORcategory=software^impact=1", "2"),
        ("category=network^NQcategory=database", "13"),
        ("categoryINnetwork,database", "13"),
        ("category!=network", "23"),
        ("short_descriptionLIKEtwo", "2"),
        ("short_descriptionLIKEt%o", "12"),
        ("short_descriptionSTARTSWITHthing t", "23"),
        ("short_descriptionENDSWITHone", "1"),
        ("assigned_toISEMPTY", "23"),
        ("assigned_toISNOTEMPTY", "1"),
        ("assigned_to.email=ana@acme.example", "1"),
        ("sys_updated_on>=2026-01-01 00:00:10", "23"),
        ("sys_updated_on>2026-01-01 00:00:10", "3"),
        ("sys_updated_on<2026-01-01 00:00:10", "1"),
        ("sys_created_onBETWEEN2026-01-01 00:00:05@2026-01-01 00:00:15", "2"),
        ("assigned_to=javascript:gs.getUserID()", ""),
        ("no_such_column=1", "123"),
        ("category=network^no_such_column=1", "1"),
        ("what is this", "123"),
        ("ORDERBYDESCsys_updated_on", "321"),
        ("ORDERBYimpact^ORDERBYnumber", "213"),
    ],
)
def test_a_query_is_read_as_servicenow_reads_it_and_what_is_wrong_is_dropped(site, query, found):
    for name, category, impact in (("one", "network", "2"), ("two", "software", "1"), ("three", "database", "3")):
        owner = site.ana if name == "one" else ""
        site.incident(short_description=f"Thing {name}", category=category, impact=impact, assigned_to=owner)
        site.clock.tick(10)
    told = "".join(str(int(number[-2:])) for number in numbers(site.rows(query)))
    assert told == found if "ORDERBY" in query else sorted(told) == sorted(found)


def test_an_instance_may_be_strict_about_wrong_queries(site):
    site.incident()
    site.app.strict_queries = True
    assert site.rows("no_such_column=1") == []


def test_times_in_queries_are_read_in_the_callers_zone_where_the_instance_does_so(site):
    site.incident()
    site.records.edit("sys_user", site.api, {"time_zone": "America/Los_Angeles"}, "admin")
    asked = "sys_updated_on>=2026-01-01 00:00:00"
    assert len(site.rows(asked)) == 1
    site.app.zoned_queries = True
    assert site.rows(asked) == []
    assert len(site.rows("sys_updated_on>=2025-12-31 16:00:00")) == 1


# Writes --------------------------------------------------------------------------------------------------------------


@needs_evidence
def test_writes_answer_as_described(site):
    made = site.call("POST", "incident", {"short_description": "New", "correlation_id": "k"})
    assert made.status == 201 and made.headers["Location"].endswith(made.body["result"]["sys_id"])
    check_answer("servicenow", "POST", TABLE + "incident", 201, made.body)
    id = made.body["result"]["sys_id"]
    changed = site.call("PATCH", f"incident/{id}", {"impact": "1"}, fields="impact,priority")
    assert changed.body == {"result": {"impact": "1", "priority": "3"}}
    check_answer("servicenow", "PATCH", f"{TABLE}incident/{id}", 200, changed.body)
    assert site.call("DELETE", f"incident/{id}").status == 204
    assert site.call("GET", f"incident/{id}").status == 404


def test_a_change_moves_stamp_and_count_and_nothing_changed_moves_nothing(site):
    id = site.incident()
    site.clock.tick(60)
    row = site.call("PATCH", f"incident/{id}", {"description": "x"}).body["result"]
    assert (row["sys_mod_count"], row["sys_updated_on"], row["sys_updated_by"]) == ("1", "2026-01-01 00:01:00", "api")
    site.clock.tick(60)
    row = site.call("PATCH", f"incident/{id}", {"description": "x"}).body["result"]
    assert (row["sys_mod_count"], row["sys_updated_on"]) == ("1", "2026-01-01 00:01:00")
    site.call("PATCH", f"incident/{id}", {"comments": "hello"})
    [row] = site.rows()
    assert row["sys_mod_count"] == "2" and row["comments"] == ""
    [entry] = site.rows(f"element_id={id}", "sys_journal_field", exclude_reference_link="true")
    assert (entry["name"], entry["element"], entry["value"]) == ("incident", "comments", "hello")


def test_long_texts_are_cut_and_unknown_and_own_columns_ignored(site):
    body = {"short_description": "x" * 200, "nonsense": "1", "sys_mod_count": "99", "sys_id": "a" * 32}
    row = site.call("POST", "incident", body).body["result"]
    assert len(row["short_description"]) == 160 and "nonsense" not in row
    assert row["sys_mod_count"] == "0" and row["sys_id"] != "a" * 32


def test_refusals_have_the_vendors_words(site):
    id = site.incident()
    policy = site.call("PATCH", f"incident/{id}", {"state": "6"})
    assert policy.status == 403 and policy.body["status"] == "failure"
    assert policy.body["error"]["message"] == "Operation Failed"
    assert policy.body["error"]["detail"].startswith("Data Policy Exception: The following fields are mandatory: Reso")
    site.app.fixed_columns.add(("incident", "category"))
    kept = site.call("PATCH", f"incident/{id}", {"category": "network"})
    assert (kept.status, kept.body["result"]["category"]) == (200, "inquiry")
    site.app.forbidden.add(("write", "incident"))
    acl = site.call("PATCH", f"incident/{id}", {"category": "network"}).body["error"]["detail"]
    assert acl == "ACL Exception Update Failed due to security constraints"
    assert site.call("GET", "no_such").body["error"]["message"] == "Invalid table no_such"
    assert site.call("GET", "/api/now/nothing").status == 400
    assert site.send("POST", TABLE + "incident", body=b"{", headers={"Authorization": site.credentials}).status == 400


def test_resolving_and_closing_follow_the_rules_and_closed_is_final(site):
    id = site.incident()
    done = {"state": "6", "close_code": "Solved (Permanently)", "close_notes": "Done"}
    row = site.call("PATCH", f"incident/{id}", done).body["result"]
    assert row["resolved_by"]["value"] == site.api and row["resolved_at"] == "2026-01-01 00:00:00"
    row = site.call("PATCH", f"incident/{id}", {"state": "7"}).body["result"]
    assert (row["active"], row["incident_state"], row["closed_at"]) == ("false", "7", "2026-01-01 00:00:00")
    refused = site.call("PATCH", f"incident/{id}", {"state": "1"})
    assert refused.status == 403 and "aborted by Business Rule" in refused.body["error"]["detail"]


def test_changes_and_deletions_are_logged(site):
    id = site.incident()
    site.call("PATCH", f"incident/{id}", {"category": "network"})
    [change] = site.rows(f"documentkey={id}^fieldname=category", "sys_audit")
    assert (change["oldvalue"], change["newvalue"], change["user"]) == ("inquiry", "network", "api")
    site.call("DELETE", f"incident/{id}")
    [gone] = site.rows("tablename=incident", "sys_audit_delete")
    assert (gone["documentkey"], gone["display_value"]) == (id, "INC0010001")


def test_a_scripts_silent_change_leaves_no_trace(site):
    id = site.incident()
    site.clock.tick(60)
    site.records.freeze("incident", id, {"description": "quiet"})
    [row] = site.rows()
    assert (row["description"], row["sys_mod_count"], row["sys_updated_on"]) == ("quiet", "0", "2026-01-01 00:00:00")


# Batches and limits --------------------------------------------------------------------------------------------------


def part(id, method, url, body=None):
    encoded = {"body": base64.b64encode(json.dumps(body).encode()).decode()} if body else {}
    headers = [{"name": "Content-Type", "value": "application/json"}]
    return {"id": id, "method": method, "url": url, "headers": headers, **encoded}


def test_a_batch_answers_part_by_part(site):
    id = site.incident()
    parts = [
        part("a", "GET", f"{TABLE}incident?sysparm_fields=number&sysparm_limit=1"),
        part("b", "PATCH", f"{TABLE}incident/{id}?sysparm_fields=category", {"category": "network"}),
        part("c", "PATCH", f"{TABLE}incident/{'0' * 32}", {"category": "network"}),
        part("d", "PATCH", f"{TABLE}incident/{id}", {"state": "7"}),
        part("e", "POST", "/api/now/v1/batch", {"rest_requests": []}),
    ]
    answer = site.call("POST", "/api/now/v1/batch", {"batch_request_id": "7", "rest_requests": parts})
    assert answer.status == 200 and answer.body["batch_request_id"] == "7"
    told = {one["id"]: one for one in answer.body["serviced_requests"]}
    assert [told[key]["status_code"] for key in "abcde"] == [200, 200, 404, 403, 400]
    assert json.loads(base64.b64decode(told["a"]["body"])) == {"result": [{"number": "INC0010001"}]}
    assert {"name": "X-Total-Count", "value": "1"} in told["a"]["headers"]
    assert answer.body["unserviced_requests"] == []
    site.app.batch_stops_after = 1
    answer = site.call("POST", "/api/now/v1/batch", {"rest_requests": parts})
    assert len(answer.body["serviced_requests"]) == 1 and answer.body["unserviced_requests"] == ["b", "c", "d", "e"]
    assert site.call("POST", "/api/now/v1/batch", {}).status == 400


def test_an_hourly_limit_tells_itself_and_ends_with_the_hour(site):
    site.app.hourly_limit = 2
    site.clock.tick(600)
    first = site.call("GET", "incident")
    assert (first.headers["X-RateLimit-Limit"], first.headers["X-RateLimit-Reset"]) == ("2", str(int(START) + 3600))
    site.call("GET", "incident")
    refused = site.call("GET", "incident")
    assert refused.status == 429 and refused.headers["Retry-After"] == "3000"
    assert refused.body["error"]["message"] == "Rate limit exceeded" and refused.headers["X-RateLimit-Rule"]
    site.clock.tick(3000)
    assert site.call("GET", "incident").status == 200


def test_an_instance_asleep_answers_every_call_with_its_page(site):
    site.app.asleep = True
    answer = site.call("GET", "incident")
    assert answer.status == 200 and "Your instance is hibernating" in answer.body


def test_the_records_are_there_again_after_a_restart(tmp_path):
    path = str(tmp_path / "instance.sqlite3")
    first = ServiceNowStandin(path)
    user = first.records.user("Ana Ruiz", "ana@acme.example")
    id = first.records.create("incident", {"short_description": "Kept"}, "ana.ruiz")["sys_id"]
    again = ServiceNowStandin(path)
    assert again.records.rows("incident")[id]["short_description"] == "Kept"
    assert again.records.by_name("sys_user", "ana.ruiz")["sys_id"] == user
    assert again.records.create("incident", {"short_description": "Next"}, "ana.ruiz")["number"] == "INC0010002"
    assert len(again.records.rows("sys_db_object")) == len(first.records.rows("sys_db_object"))


# The business rule ---------------------------------------------------------------------------------------------------


def test_a_pasted_rule_sends_a_signed_request_after_each_change(site):
    site.app.rules.paste("incident", "http://127.0.0.1:9/hooks/x", "secret")
    id = site.incident()
    site.call("PATCH", f"incident/{id}", {"category": "network"})
    site.call("DELETE", f"incident/{id}")
    told = [json.loads(body) for _, _, body in site.app.rules.sent]
    assert [one["operation"] for one in told] == ["insert", "update", "delete"]
    assert {one["sys_id"] for one in told} == {id} and told[1]["by"] == "api" and told[1]["sys_mod_count"] == "1"
    assert len({one["delivery"] for one in told}) == 3
    assert all(
        {"X-SyncAdmin-Signature", "X-SyncAdmin-Timestamp"} <= set(headers) for _, headers, _ in site.app.rules.sent
    )
