"""The pure parts of the ServiceNow connector: queries, descriptions, values, refusals; and its bell, end to end."""

from __future__ import annotations

import json

import pytest
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from connections.connectors import servicenow_query as query
from connections.connectors.base import Gone, NeedsAuthorization, NotAllowed, RateLimited, Refused, Retry, Uncertain
from connections.connectors.servicenow_errors import as_error, inside_success, not_json, sent_on, sub_error
from connections.connectors.servicenow_fields import Shape, normal, outgoing, record_of, shape_of
from connections.models import Connection, Delivery
from connections.sandbox import servicenow_query as theirs
from connections.sandbox.servicenow import ASLEEP
from connections.tests.servicenow_client import Client
from connections.tests.servicenow_world import SECRET


def column(element: str, type: str = "string", table: str = "incident", **more: str) -> dict[str, str]:
    usual = {"name": table, "element": element, "internal_type": type, "column_label": element.title()}
    return {
        **usual,
        "max_length": "40",
        "mandatory": "false",
        "read_only": "false",
        "reference": "",
        "choice": "0",
        **more,
    }


def shape(*columns: dict[str, str], choices: list[dict[str, str]] | None = None) -> Shape:
    usual = [column("sys_id", "GUID"), column("sys_mod_count", "integer"), column("sys_updated_on", "glide_date_time")]
    return shape_of("incident", "Incident", ["incident", "task"], [*usual, *columns], choices or [], frozenset())


def choice(value: str, label: str, table: str = "incident", **more: str) -> dict[str, str]:
    return {"name": table, "element": "kind", "value": value, "label": label, "language": "en", "inactive": "", **more}


# Queries -------------------------------------------------------------------------------------------------------------


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_a_value_in_a_query_never_widens_its_condition_beyond_its_own_field(value, other):
    """As ServiceNow reads it, the query stays one condition on one field, whatever the value."""
    try:
        text = query.combine(["active=true"], query.term("short_description", value), order=["sys_id"])
    except ValueError:
        return
    parsed = theirs.parse(text, lambda path: True, lambda script: "SCRIPT")
    assert len(parsed.groups) == 1 and len(parsed.groups[0]) == 2 and not parsed.invalid
    assert parsed.groups[0][0] == [theirs.Term("active", "=", "true")]
    assert [term.path for term in parsed.groups[0][1]] == ["short_description"]
    assert parsed.groups[0][1][0].value != "SCRIPT" and parsed.order == [("sys_id", False)]
    row = {"active": "true", "short_description": value}
    assert theirs.matches(parsed, row.__getitem__, lambda path, asked: asked)


def test_alternatives_are_written_out_with_each_group():
    made = query.combine(["a=1", "b=2"], "s>5", "s=5^sys_id>x", order=["s", "sys_id"])
    assert made == "a=1^s>5^NQa=1^s=5^sys_id>x^NQb=2^s>5^NQb=2^s=5^sys_id>x^ORDERBYs^ORDERBYsys_id"
    assert query.combine([""], order=["sys_id"]) == "ORDERBYsys_id"
    assert query.combine(["a=1"]) == "a=1" and query.combine([""], "") == ""


def test_a_persons_filter_is_taken_apart_and_its_fields_are_asked_for():
    asked: list[str] = []

    def known(path: str) -> bool:
        asked.append(path)
        return True

    assert query.condition("^active=true^caller_id.vipISNOTEMPTY^ORx>=5^NQy!=javascript:gs.x()^EQ", known) == [
        "active=true^caller_id.vipISNOTEMPTY^ORx>=5",
        "y!=javascript:gs.x()",
    ]
    assert asked == ["active", "caller_id.vip", "x", "y"]
    assert query.condition("  ", known) == [""]


def test_chunks_fit_into_a_query():
    values = [f"{'é' * 100}{number}" for number in range(60)]
    parts = list(query.chunks(values, around=500))
    assert [value for part in parts for value in part] == values
    assert all(sum(len(value.encode()) * 3 for value in part) < query.MAX_QUERY_BYTES + 700 for part in parts)
    assert [len(part) for part in query.chunks(["a" * 32] * 250)] == [100, 100, 50]


@pytest.mark.parametrize("id", ["", "0" * 31, "G" * 32, "../" + "0" * 29, "0" * 32 + "\n", 5, None])
def test_what_is_no_id_is_none(id):
    assert not query.is_id(id)


# Descriptions and values ---------------------------------------------------------------------------------------------


def test_a_tables_own_entry_and_choices_win_over_those_it_inherits():
    made = shape(
        column("kind", table="task", choice="3", column_label="Of task"),
        column("kind", choice="3", column_label="Own", max_length="20"),
        column("other", table="task"),
        choices=[choice("1", "Theirs", table="task"), choice("1", "Ours"), choice("2", "Unsere", language="de")],
    )
    kind = made.columns["kind"]
    assert (kind.shown.label, kind.shown.kind) == ("Own", "option")
    assert dict(kind.labels) == {"1": "Ours", "2": "Unsere"} and "other" in made.columns


def test_english_labels_are_taken_where_there_are_any_and_retired_ones_shown_as_such():
    made = shape(
        column("kind", "integer", choice="1"),
        choices=[
            choice("2", "Deutsch", language="de", sequence="1"),
            choice("2", "English", sequence="1"),
            choice("1", "First", sequence="9", inactive="true"),
        ],
    )
    options = made.columns["kind"].shown.options
    assert [(option.value, option.active) for option in options] == [("English", True), ("First", False)]


def test_suggestions_are_no_list():
    made = shape(column("kind", choice="2"), choices=[choice("1", "One")])
    assert made.columns["kind"].shown.kind == "text"


def test_what_has_no_common_form_is_left_out_and_journals_are_apart():
    made = shape(
        column("took", "glide_duration"),
        column("price", "currency"),
        column("secret", "password2"),
        column("comments", "journal_input"),
        column("sys_domain", "domain_id"),
        column("correlation_id"),
    )
    assert set(made.columns) == {"sys_updated_on", "correlation_id"}
    assert not made.columns["correlation_id"].shown.writable and made.journals == {"comments": "Comments"}


@pytest.mark.parametrize(
    ("type", "raw", "value"),
    [
        ("string", "a\r\nb\rc", "a\nb\nc"),
        ("integer", "5", 5),
        ("decimal", "2.50", 2.5),
        ("decimal", "1,234.5", 1234.5),
        ("longint", "9,007,199,254,740,993", 9007199254740993),
        ("boolean", "false", False),
        ("boolean", "1", True),
        ("glide_date", "2026-02-03", "2026-02-03"),
        ("glide_date_time", "2026-02-03 04:05:06", "2026-02-03T04:05:06Z"),
        ("glide_list", "b, a,b,", ["a", "b"]),
        ("glide_list", "", []),
        ("boolean", "", None),
        ("string", "", None),
    ],
)
def test_a_stored_value_has_one_normal_form(type, raw, value):
    assert normal(shape(column("x", type)).columns["x"], raw) == value


@pytest.mark.parametrize(
    ("type", "raw"),
    [
        ("integer", "many"),
        ("decimal", "nan"),
        ("boolean", "maybe"),
        ("glide_date", "03.02.2026"),
        ("glide_date_time", "2026-02-30 04:05:06"),
        ("glide_date_time", "02/03/2026 04:05 AM"),
    ],
)
def test_a_value_in_another_form_is_unreadable_and_not_guessed(type, raw):
    made = shape(column("x", type), column("y"))
    row = {"sys_id": "a" * 32, "sys_mod_count": "1", "sys_updated_on": "2026-01-01 00:00:00", "x": raw, "y": "fine"}
    record = record_of(made, row, ["x", "y"])
    assert record.unreadable == {"x"} and record.values == {"y": "fine"}


@pytest.mark.parametrize(
    ("type", "value", "stored"),
    [
        ("glide_date_time", "2026-02-03T06:05:06+02:00", "2026-02-03 04:05:06"),
        ("boolean", True, "true"),
        ("boolean", None, ""),
        ("glide_list", ["a", "b"], "a,b"),
        ("glide_list", [], ""),
        ("decimal", 2.5, "2.5"),
        ("string", None, ""),
    ],
)
def test_a_value_is_written_as_it_is_stored(type, value, stored):
    assert outgoing(shape(column("x", type)).columns["x"], value, {}) == stored


def test_labels_in_a_refusal_name_their_fields_and_no_part_of_one_does():
    made = shape(
        column("a", column_label="State"), column("b", column_label="Incident state"), column("c", column_label="Code")
    )
    assert made.named_in("mandatory: Incident state") == ["b"]
    assert set(made.named_in("State, Incident state and Codes")) == {"a", "b"}


# Refusals ------------------------------------------------------------------------------------------------------------


def failure(message: str, detail: str | None = None) -> dict[str, object]:
    return {"error": {"message": message, "detail": detail}, "status": "failure"}


@pytest.mark.parametrize(
    ("status", "body", "wanted"),
    [
        (401, failure("User Not Authenticated", "Required to provide Auth information"), NeedsAuthorization),
        (403, failure("Operation Failed", "ACL Exception Update Failed due to security constraints"), NotAllowed),
        (403, failure("User Not Authorized", "Failed API level ACL Validation"), NotAllowed),
        (403, failure("Operation Failed", "Data Policy Exception: Code is mandatory"), Refused),
        (
            403,
            failure("Operation Failed", "Operation against file 'incident' was aborted by Business Rule 'X^1'"),
            Refused,
        ),
        (400, failure("Invalid table nothing"), NotAllowed),
        (400, failure("Exception while reading request"), Refused),
        (404, failure("No Record found", "Record doesn't exist or ACL restricts the record retrieval"), Gone),
        (429, failure("Rate limit exceeded"), RateLimited),
        (500, {}, Uncertain),
        (302, {}, Uncertain),
        (403, {}, NotAllowed),
        (418, {}, Refused),
    ],
)
def test_what_a_part_of_a_batch_answers_says_what_to_do_next(status, body, wanted):
    error = sub_error(status, body, {}, write=True, sent=["a"], named=lambda text: ["a"] if "Code" in text else [])
    assert type(error) is wanted and error.message
    if wanted is Gone:
        assert not error.certain  # hidden looks the same
    assert type(sub_error(500, {}, {}, write=False)) is Retry


def test_a_refused_read_blames_no_value():
    assert isinstance(as_error(403, failure("Operation Failed", "Something"), {}, write=False), NotAllowed)


def test_a_wait_is_what_the_header_says_at_most_an_hour():
    assert as_error(429, {}, {"Retry-After": "17"}, write=False).after == 17
    assert as_error(429, {}, {"retry-after": "999999"}, write=False).after == 3600
    assert as_error(429, {}, {}, write=False).after == 60


def test_pages_and_half_answers_are_told_apart():
    assert "asleep" in not_json(ASLEEP).message
    assert "log-in page" in not_json("<!DOCTYPE html><title>Log in | ServiceNow</title>").message
    assert not_json("<html>something else</html>") is None and not_json("oops") is None
    assert sent_on("https://elsewhere.example/") is None
    assert type(inside_success({"result": [], "error": {"message": "cancelled"}}, write=False)) is Retry
    assert type(inside_success({"status": "failure"}, write=True)) is Uncertain
    assert inside_success({"result": []}, write=False) is None


# The bell, end to end ------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_delivery_of_the_pasted_rule_is_taken_over_once_and_a_forged_one_refused(client):
    connection = Connection.objects.create(
        name="ServiceNow", kind="servicenow", address="https://acme.example", secrets={"webhook_secret": SECRET}
    )
    site = Client()
    site.app.rules.paste("incident", "http://127.0.0.1:9/hooks/x", SECRET)
    incident = site.incident()
    [(_, headers, body)] = site.app.rules.sent
    url = reverse("webhook", args=[connection.webhook_token])

    def deliver(sent: bytes) -> int:
        named = {name: value for name, value in headers.items() if name != "Content-Type"}
        return client.post(url, data=sent, content_type="application/json", headers=named).status_code

    assert deliver(body) == 200
    assert deliver(body) == 200  # sent again: known already
    assert Delivery.objects.filter(connection=connection, outcome="waiting").count() == 1
    assert deliver(body.replace(incident.encode(), b"0" * 32)) == 401
    assert Delivery.objects.filter(verified=False).count() == 1
    assert json.loads(body)["sys_id"] == incident
