"""The pure parts of the Salesforce connector: SOQL text, descriptions, values, errors, change events."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections.connectors import salesforce_soql as soql
from connections.connectors.base import Gone, NotAllowed, RateLimited, Refused, Retry, VersionMismatch
from connections.connectors.salesforce_bell import changes_of, channel_of
from connections.connectors.salesforce_errors import Taken, as_error
from connections.connectors.salesforce_fields import moment, outgoing, person, record_of, shape_of
from connections.connectors.salesforce_org import next_path
from connections.sandbox.salesforce_soql import run
from connections.tests.evidence import needs_evidence, payload
from connections.tests.salesforce_world import Recording


def raw(name: str, type: str = "string", **more: object) -> dict[str, object]:
    return {"name": name, "label": name, "type": type, "createable": True, "updateable": True, "nillable": True} | more


def describe(*fields: dict[str, object], name: str = "Case") -> dict[str, object]:
    usual = [raw("Id", "id"), raw("SystemModstamp", "datetime"), raw("IsDeleted", "boolean")]
    return {"name": name, "label": name, "fields": [*usual, *fields]}


# SOQL ----------------------------------------------------------------------------------------------------------------


@given(st.text(min_size=1))
def test_any_text_in_a_literal_is_that_text_again_and_ends_where_it_ends(text):
    literal = soql.text(text)
    assert soql.condition(f"Subject = {literal}") == f"(Subject = {literal})"
    undone = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
    assert re.sub(r"\\(.)", lambda m: undone.get(m[1], m[1]), literal[1:-1]) == text.replace("\0", "")


HOSTILE = [
    "O'Brien",
    "back\\slash",
    "a\\' OR Name != '",
    "100% _sure_",
    "Straße 日本 🔥",
    "') OR (Id != '",
    "line\nbreak\ttab",
    "+&=#?;--/*",
    '"double"',
]


@pytest.fixture(scope="module")
def org():
    app = Recording()
    user = app.org.create_user("Jane Doe", "jane@acme.example")["Id"]
    app.org.create("Case", {"Subject": "innocent"}, user)
    for text in HOSTILE:
        app.org.create("Case", {"Subject": text}, user)
    return app.org


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_value_is_looked_for_and_not_obeyed(org, text):
    _, rows = run(org, f"SELECT Id, Subject FROM Case WHERE {soql.one_of('Subject', [text])}", deleted=False)
    assert [r["Subject"] for r in rows] == [text]
    _, rows = run(org, f"SELECT Id, Subject FROM Case WHERE Subject LIKE {soql.contains(text)}", deleted=False)
    assert [r["Subject"] for r in rows] == [text]


def test_percent_and_underscore_are_no_wildcards_in_a_search(org):
    assert run(org, f"SELECT Id FROM Case WHERE Subject LIKE {soql.contains('%')}", deleted=False)[1] != []
    _, rows = run(org, f"SELECT Id, Subject FROM Case WHERE Subject LIKE {soql.contains('_sure')}", deleted=False)
    assert [r["Subject"] for r in rows] == ["100% _sure_"]


@pytest.mark.parametrize(
    "where",
    [
        "RecordType.Name = 'Support'",
        "Origin IN ('Web', 'Email') AND (Priority = 'P1' OR IsEscalated = true)",
        "Order__c = 'LIMIT 5; --' AND Limit__c > 3",
        "CreatedDate = LAST_N_DAYS:30",
        "CreatedDate >= 2024-01-01T00:00:00Z",
        "Id IN (SELECT CaseId FROM CaseArticle WHERE Title = 'x')",
        r"Subject = 'O\'Brien'",
    ],
)
def test_a_condition_stays_as_it_was_written(where):
    assert soql.condition(where) == f"({where})"


@pytest.mark.parametrize(
    "where",
    [
        "Subject = 'a' ORDER BY Id",
        "Subject = 'a' limit 1",
        "Subject = 'a') OR (Id != null",
        "Subject = 'a",
        "(Subject = 'a'",
        "Subject = 'a'; DELETE",
        "Subject = 'a' -- comment",
        "Subject = 'a' /* comment */",
        "SELECT Id FROM User",
        "Subject = 'a' ALL ROWS",
        "Subject = 'a' FOR UPDATE",
        "Subject = 'a' WITH SECURITY_ENFORCED",
        "Subject = :input",
        "(Id IN (SELECT Id FROM Case)) WHERE Id != null",
    ],
)
def test_a_condition_that_is_more_than_a_condition_is_refused(where):
    with pytest.raises(ValueError, match=r"condition"):
        soql.condition(where)


def test_ids_come_in_lists_that_fit_an_address():
    ids = [f"500{n:012d}" for n in range(450)]
    assert [len(c) for c in soql.chunks(ids, around=500)] == [200, 200, 50]
    wide = ["ü" * 255 for _ in range(60)]
    chunks = list(soql.chunks(wide, around=500))
    assert sum(map(len, chunks)) == 60
    assert all(sum(len(soql.text(t)) * 6 for t in c) < 16_000 for c in chunks)


def test_a_short_id_and_its_long_form_are_the_same_record():
    assert soql.long_id("005x00000012Q9P") == "005x00000012Q9PAAU"
    assert soql.long_id("005x00000012Q9PAAU") == "005x00000012Q9PAAU"
    assert soql.long_id("no id") == "no id"


@pytest.mark.parametrize(
    ("value", "kind"), [("1 OR 1=1", "number"), ("NaN", "number"), ("x", "date"), ("now", "datetime")]
)
def test_a_value_that_is_not_of_its_kind_makes_no_literal(value, kind):
    with pytest.raises(ValueError):
        soql.literal(value, kind)


def test_a_listing_may_not_lead_us_to_another_host():
    assert next_path("/services/data/v26.0/query/01gD") == "/services/data/v26.0/query/01gD"
    for url in ("https://evil.example/x", "//evil.example/services/data/v62.0/query/01g", "/services/oauth2/token"):
        with pytest.raises(Retry):
            next_path(url)


# Fields and values ---------------------------------------------------------------------------------------------------


def test_every_type_has_its_kind():
    shape = shape_of(
        describe(
            raw("Subject", length=255, filterable=True),
            raw("Description", "textarea", length=32000, extraTypeInfo="plaintextarea"),
            raw("Story__c", "textarea", length=32768, extraTypeInfo="richtextarea", htmlFormatted=True),
            raw("Labels__c", "multipicklist", picklistValues=[{"value": "a", "label": "A", "active": False}]),
            raw("OwnerId", "reference", referenceTo=["Group", "User"], relationshipName="Owner", nillable=False),
            raw("AccountId", "reference", referenceTo=["Account"], relationshipName="Account"),
            raw("Score__c", "double", scale=0),
            raw("IsHot__c", "boolean", nillable=False),
            raw("MailingAddress", "address"),
            raw("Sum__c", "currency", createable=False, updateable=False, calculated=True),
            raw("LastName", nillable=False, length=80),
            raw("SyncAdmin_Key__c", externalId=True, unique=True),
        ),
        "syncadmin_key__c",
    )
    shown = {path: column.shown for path, column in shape.columns.items()}
    assert shown["Subject"].kind == "text" and shown["Subject"].max_length == 255 and shown["Subject"].matchable
    assert (shown["Description"].kind, shown["Description"].matchable) == ("text", False)
    assert (shown["Story__c"].kind, shown["Story__c"].format) == ("rich_text", "html")
    assert shown["Labels__c"].kind == "set" and not shown["Labels__c"].options[0].active
    assert shown["OwnerId"].kind == "person" and shape.columns["OwnerId"].polymorphic
    assert shown["AccountId"].kind == "reference"
    assert "MailingAddress" not in shown
    assert not shown["Sum__c"].writable and not shown["Sum__c"].creatable
    assert shown["LastName"].required and not shown["IsHot__c"].required
    assert shape.key_field == "SyncAdmin_Key__c" and shape.key_unique


@needs_evidence
def test_a_recorded_row_is_read_in_normalised_values():
    shape = shape_of(
        describe(
            raw("Name", nameField=True),
            raw("Checkbox_Label", "boolean"),
            raw("Date_Label", "date"),
            raw("DateTime_Label", "datetime"),
            raw("OtherDateTime_Label", "datetime"),
            raw("Picklist_Multiselect_Label", "multipicklist"),
            raw("Number_Label", "double", scale=0),
            raw("Currency_Label", "currency", scale=2),
            raw("TextArea_Label", "textarea"),
            raw("CreatedById", "reference", referenceTo=["User"], relationshipName="CreatedBy"),
            name="Whizbang",
        ),
        "Key__c",
    )
    paths = [
        "Checkbox_Label", "Date_Label", "DateTime_Label", "OtherDateTime_Label", "Picklist_Multiselect_Label",
        "Number_Label", "Currency_Label", "TextArea_Label", "Secret__c",
    ]  # fmt: skip
    record = record_of(shape, payload("salesforce/record"), paths)
    assert record.values == {
        "Checkbox_Label": True,
        "Date_Label": "2010-01-01",
        "DateTime_Label": "2011-07-07T00:37:00Z",
        "OtherDateTime_Label": None,
        "Picklist_Multiselect_Label": ["four", "six"],
        "Number_Label": 23,
        "Currency_Label": 23.0,
        "TextArea_Label": "a text area",
    }
    assert record.unreadable == {"Secret__c"} and record.key == "My First Whizbang" and not record.deleted


@pytest.mark.parametrize(
    ("told", "normal"),
    [
        ("2011-07-07T00:37:00.000+0000", "2011-07-07T00:37:00Z"),
        ("2019-05-02T11:27:36Z", "2019-05-02T11:27:36Z"),
        ("2019-05-02T13:27:36.250+0200", "2019-05-02T11:27:36.250000Z"),
        (1556796456000, "2019-05-02T11:27:36Z"),
        ("", None),
    ],
)
def test_all_of_salesforces_times_become_one_form(told, normal):
    assert moment(told) == normal


@pytest.mark.parametrize(
    ("told", "hidden"),
    [
        ("********", True),
        ("XXX-XX-1234", True),
        ("XXXX-XXXX-XXXX-1234", True),
        ("**1234", True),
        ("XX XX XX XX X", True),
        ("123-45-1234", False),
        ("Xaver", False),
        (None, False),
    ],
)
def test_an_encrypted_text_that_is_not_shown_whole_is_unreadable(told, hidden):
    shape = shape_of(describe(raw("Card__c", "encryptedstring"), raw("Note__c")), "Key__c")
    row = {"Id": "500000000000001AAA", "Card__c": told, "Note__c": told}
    record = record_of(shape, row, ["Card__c", "Note__c"])
    assert record.unreadable == ({"Card__c"} if hidden else frozenset())
    assert record.values == ({} if hidden else {"Card__c": told}) | {"Note__c": told}


def test_people_are_told_by_address_queue_or_account():
    assert person("005000000000001", {"Email": "Jane@Acme.example", "Type": "User"}) == "jane@acme.example"
    assert person("00G000000000001", {"Name": "Tier 2", "Type": "Queue", "Email": "t2@x.example"}) == "queue:Tier 2"
    assert person("005x00000012Q9P", {}) == "id:005x00000012Q9PAAU"
    assert person(None, {}) is None


def test_empty_values_are_written_as_salesforce_keeps_them():
    shape = shape_of(describe(raw("A"), raw("B", "multipicklist"), raw("C", "boolean")), "Key__c")
    values = {"A": "", "B": [], "C": None}
    assert outgoing(shape, values, lambda path, who: who) == {"A": None, "B": None, "C": False}
    assert outgoing(shape, {"B": ["x", "y"]}, lambda path, who: who) == {"B": "x;y"}


# Errors --------------------------------------------------------------------------------------------------------------


def error(code: str, message: str = "said", fields: tuple[str, ...] = ()) -> list[dict[str, object]]:
    return [{"errorCode": code, "message": message, "fields": list(fields)}]


@pytest.mark.parametrize(
    ("code", "fields", "named"),
    [
        ("FIELD_CUSTOM_VALIDATION_EXCEPTION", ("Subject",), ["Subject"]),
        ("FIELD_CUSTOM_VALIDATION_EXCEPTION", (), []),
        ("STRING_TOO_LONG", ("Subject",), ["Subject"]),
        ("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", ("Priority",), ["Priority"]),
        ("REQUIRED_FIELD_MISSING", ("LastName", "Company"), ["LastName", "Company"]),
        ("INACTIVE_OWNER_OR_USER", (), ["OwnerId"]),
        ("SOMETHING_NEW", (), []),
    ],
)
def test_refused_values_name_their_fields(code, fields, named):
    found = as_error(400, error(code, fields=fields), ["OwnerId", "Subject"])
    assert isinstance(found, Refused) and list(found.fields) == named


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "ENTITY_IS_DELETED", Gone),
        (404, "NOT_FOUND", Gone),
        (400, "UNABLE_TO_LOCK_ROW", Retry),
        (400, "INVALID_QUERY_LOCATOR", Retry),
        (403, "INSUFFICIENT_ACCESS_OR_READONLY", NotAllowed),
        (403, "API_DISABLED_FOR_ORG", NotAllowed),
        (412, "PRECONDITION_FAILED", VersionMismatch),
    ],
)
def test_vendor_codes_say_what_to_do_next(status, code, kind):
    assert type(as_error(status, error(code), [])) is kind


def test_the_daily_limit_waits_long_and_the_concurrent_one_short():
    daily = as_error(403, error("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), [])
    busy = as_error(403, error("REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests Limit exceeded."), [])
    assert isinstance(daily, RateLimited) and isinstance(busy, RateLimited) and daily.after > 10 * busy.after


def test_a_deletion_is_certain_only_where_salesforce_says_so():
    deleted, missing = as_error(404, error("ENTITY_IS_DELETED"), []), as_error(404, error("NOT_FOUND"), [])
    assert isinstance(deleted, Gone) and deleted.certain
    assert isinstance(missing, Gone) and not missing.certain


@needs_evidence
def test_recorded_errors_are_understood():
    assert isinstance(as_error(404, payload("salesforce/record_not_found"), []), Gone)
    refused = as_error(400, payload("salesforce/write_error"), ["foo"])
    assert isinstance(refused, Refused) and list(refused.fields) == ["foo"]
    rolled_back, cause = payload("salesforce/collections_update_all_or_none_error")
    assert isinstance(as_error(400, rolled_back["errors"], []), Retry)
    assert list(as_error(400, cause["errors"], []).fields) == ["unknownField_LastName"]
    assert isinstance(as_error(400, payload("salesforce/query_error"), []), Refused)


def test_a_taken_unique_value_is_told_apart():
    body = error("DUPLICATE_VALUE", "duplicate value found: Key__c duplicates value on record with id: 500Hs0000000001")
    found = as_error(400, body, [])
    assert isinstance(found, Taken) and list(found.fields) == ["Key__c"]
    assert not isinstance(as_error(400, error("STRING_TOO_LONG"), []), Taken)


# Change events -------------------------------------------------------------------------------------------------------


def event_shape():
    names = ("First_Name__c", "Last_Name__c", "Tenure__c", "Name", "OwnerId", "Note__c", "FirstName")
    return shape_of(describe(*(raw(n) for n in names)), "Key__c")


@needs_evidence
@pytest.mark.parametrize("name", ["cdc_create", "cdc_update"])
def test_a_recorded_event_tells_the_new_values(name):
    payload_ = payload(f"salesforce/{name}")["data"]["payload"]
    told = changes_of(event_shape(), payload_["ChangeEventHeader"], payload_)
    assert told is not None and told["Tenure__c"] in (20, 22) and "LastModifiedDate" not in told


def test_nulled_fields_and_the_parts_of_a_compound_are_told():
    header = {"changeType": "UPDATE", "nulledFields": ["Note__c"], "changedFields": ["Note__c", "Name.FirstName"]}
    assert changes_of(event_shape(), header, {"Name": {"FirstName": "Jo"}}) == {"Note__c": None, "FirstName": "Jo"}


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ({"changeType": "UPDATE", "changedFields": ["Note__c"]}, {"Note__c": {"diff": "--- \n+++ 12\n"}}),
        ({"changeType": "UPDATE", "diffFields": ["Note__c"]}, {"Note__c": "--- \n+++ 12\n"}),
        ({"changeType": "UPDATE", "changedFields": ["Note__c", "Tenure__c"]}, {"Note__c": "x"}),
        ({"changeType": "UPDATE", "changedFields": ["Unknown__c"]}, {"Unknown__c": "x"}),
        ({"changeType": "GAP_UPDATE"}, {}),
        ({"changeType": "DELETE"}, {}),
    ],
)
def test_an_event_that_does_not_tell_all_exactly_tells_nothing(header, body):
    assert changes_of(event_shape(), header, body) is None


def test_channels_are_named_after_their_objects():
    assert channel_of("Case") == "/data/CaseChangeEvent"
    assert channel_of("Asset__c") == "/data/Asset__ChangeEvent"
    with pytest.raises(ValueError):
        channel_of("Case/../x")
