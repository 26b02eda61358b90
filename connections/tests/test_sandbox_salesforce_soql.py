"""The Salesforce stand-in's queries: what they find, in which order, in which pages, and how they fail."""

from __future__ import annotations

import pytest

from connections.sandbox.salesforce_schema import Field
from connections.tests.salesforce_client import Client


@pytest.fixture
def org():
    org = Client()
    org.case(Subject="Alpha's login", Priority="P2", Effort__c=3, Due_Date__c="2026-01-05", Labels__c="api;login")
    org.clock.tick(60)
    org.case(Subject="beta", Priority="P1", Effort__c=1.5, OwnerId=org.queue, Labels__c="api")
    org.clock.tick(60)
    org.case(Subject=None, Priority=None, Status="Closed", Due_Date__c="2025-12-24")
    return org


def subjects(org, condition):
    return [r["Subject"] for r in org.rows(f"SELECT Subject FROM Case WHERE {condition} ORDER BY CreatedDate")]


A, B = "Alpha's login", "beta"


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (r"Subject = 'ALPHA\'s login'", [A]),
        ("subject = 'Beta' and priority = 'p1'", [B]),
        ("Subject != 'beta'", [A, None]),
        ("Subject = null", [None]),
        ("Subject <> null", [A, B]),
        ("Subject LIKE '%LOG_N'", [A]),
        (r"Subject LIKE '%LOG\_N'", []),
        (r"Subject LIKE '\%'", []),
        ("Subject IN ('beta', 'gamma')", [B]),
        ("Subject NOT IN ('beta')", [A, None]),
        ("Effort__c > 1.5", [A]),
        ("Effort__c >= 1.5", [A, B]),
        ("Effort__c < 2", [B]),
        ("Effort__c <= null", []),
        ("IsClosed = true", [None]),
        ("NOT IsClosed = true", [A, B]),
        ("(NOT (Priority = 'P1' OR Priority = 'P2'))", [None]),
        ("Priority = 'P1' OR (Priority = 'P2' AND Effort__c = 3)", [A, B]),
        ("CreatedDate >= 2026-01-01T00:01:00Z", [B, None]),
        ("CreatedDate > 2026-01-01T01:01:00+01:00", [None]),
        ("SystemModstamp < 2026-01-01T00:00:30.500Z", [A]),
        ("Due_Date__c = 2026-01-05", [A]),
        ("Due_Date__c < TODAY", [None]),
        ("Due_Date__c = NEXT_N_DAYS:7", [A]),
        ("CreatedDate = TODAY", [A, B, None]),
        ("CreatedDate != LAST_N_DAYS:2", []),
        ("Labels__c INCLUDES ('api;login')", [A]),
        ("Labels__c INCLUDES ('login', 'api')", [A, B]),
        ("Labels__c EXCLUDES ('login')", [B, None]),
        ("Owner.Type = 'Queue'", [B]),
        ("Owner.Name = 'ana ruiz'", [A, None]),
        ("CreatedBy.Email LIKE 'ana%' AND LastModifiedBy.Name != null", [A, B, None]),
    ],
)
def test_a_condition_finds_what_the_vendor_would(org, condition, found):
    assert subjects(org, condition) == found


def test_order_puts_nulls_first_unless_told_and_picklists_in_their_own_order(org):
    def ordered(by):
        return [r["Subject"] for r in org.rows(f"SELECT Subject FROM Case ORDER BY {by}")]

    assert ordered("Subject") == [None, A, B]
    assert ordered("Subject DESC NULLS LAST") == [B, A, None]
    assert ordered("Priority DESC NULLS LAST, Id") == [A, B, None]
    assert ordered("Owner.Name, CreatedDate DESC") == [None, A, B]


def test_limit_offset_and_count(org):
    assert [r["Subject"] for r in org.rows("SELECT Subject FROM Case ORDER BY CreatedDate LIMIT 1 OFFSET 1")] == [B]
    answer = org.soql("SELECT COUNT() FROM Case WHERE IsClosed = false").body
    assert answer == {"totalSize": 2, "done": True, "records": []}


def test_relationships_come_nested_with_their_own_attributes(org):
    rows = org.rows("SELECT Owner.Name, Owner.Type, Owner.Email, LastModifiedBy.Name FROM Case ORDER BY CreatedDate")
    assert rows[0]["Owner"]["Type"] == "User"
    assert rows[0]["Owner"]["Email"] == "ana.ruiz@example.com"
    assert (rows[1]["Owner"]["Name"], rows[1]["Owner"]["Type"]) == ("Tier 2", "Queue")
    assert rows[1]["Owner"]["Email"] is None
    assert rows[0]["Owner"]["attributes"]["url"].endswith("/User/" + org.ana)
    assert rows[0]["LastModifiedBy"]["attributes"]["type"] == "User"
    assert org.rows("SELECT Account.Name FROM Case")[0]["Account"] is None


def test_a_formula_field_is_computed_when_read_and_moves_no_stamp(org):
    org.org.add_field("Case", Field("Urgent__c", "boolean", formula=lambda doc: doc["Priority"] == "P1"))
    assert [r["Urgent__c"] for r in org.rows("SELECT Urgent__c FROM Case ORDER BY CreatedDate")] == [False, True, False]
    assert subjects(org, "Urgent__c = true") == [B]
    fields = {f["name"]: f for f in org.call("GET", "sobjects/Case/describe").body["fields"]}
    assert (fields["Urgent__c"]["calculated"], fields["Urgent__c"]["updateable"]) == (True, False)


@pytest.mark.parametrize(
    ("query", "error", "text"),
    [
        ("SELECT Id, Nope FROM Case", "INVALID_FIELD", "No such column 'Nope' on entity 'Case'."),
        ("SELECT Boss.Name FROM Case", "INVALID_FIELD", "Didn't understand relationship 'Boss' in field path."),
        ("SELECT Owner.Shoe FROM Case", "INVALID_FIELD", "No such column 'Shoe' on entity 'Name'."),
        ("SELECT Id FROM Nothing", "INVALID_TYPE", "sObject type 'Nothing' is not supported."),
        ("SELECT Id FORM Case", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
        ("SELECT Id FROM Case WHERE", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
        ("SELECT Id FROM Case WHERE Id ~ 'x'", "MALFORMED_QUERY", "unexpected char: '~'"),
        ("SELECT Id FROM Case WHERE Subject ='a' OR Id='b' AND Id='c'", "MALFORMED_QUERY", "unexpected token: 'AND'"),
        ("SELECT Id FROM Case LIMIT many", "MALFORMED_QUERY", "unexpected token: 'many'"),
        ("SELECT Id FROM Case WHERE Subject = 'a' nonsense", "MALFORMED_QUERY", "unexpected token: 'nonsense'"),
        ("SELECT Id, FROM Case", "MALFORMED_QUERY", "unexpected token: 'FROM'"),
        ("SELECT Id FROM Case WHERE Description = 'x'", "INVALID_FIELD", "can not be filtered in a query call"),
        ("SELECT Id FROM Case ORDER BY Description", "MALFORMED_QUERY", "can not be sorted in a query call"),
        ("SELECT Id FROM Case WHERE CreatedDate > '2026'", "INVALID_FIELD", "should not be enclosed in quotes"),
        ("SELECT Id FROM Case WHERE Subject = 5", "INVALID_FIELD", "should be enclosed in quotes"),
        ("", "MALFORMED_QUERY", "SOQL statements cannot be empty or null"),
    ],
)
def test_a_wrong_query_is_refused_in_the_vendors_words(org, query, error, text):
    answer = org.soql(query)
    assert (answer.status, answer.body[0]["errorCode"]) == (400, error)
    assert text in answer.body[0]["message"]


def test_an_error_shows_the_place_in_the_query(org):
    message = org.soql("SELECT Id, Nope FROM Case").body[0]["message"]
    _, line, mark, place, _ = message.split("\n")
    assert line == "SELECT Id, Nope FROM Case"
    assert mark == " " * 11 + "^"
    assert place == "ERROR at Row:1:Column:12"


def test_an_address_too_long_is_refused(org):
    assert org.soql("SELECT Id FROM Case WHERE Subject IN ('" + "x" * 17000 + "')").status == 414


def test_pages_follow_their_cursor_until_it_expires():
    org = Client(cursor_seconds=100, token_seconds=1e6)
    for number in range(450):
        org.case(Subject=str(number))
    small = {"Sforce_Query_Options": "batchSize=1"}  # the smallest page the vendor gives is 200
    first = org.soql("SELECT Id FROM Case ORDER BY Id", **small).body
    assert (first["totalSize"], first["done"], len(first["records"])) == (450, False, 200)
    second = org.call("GET", first["nextRecordsUrl"], **small).body
    third = org.call("GET", second["nextRecordsUrl"], **small).body
    assert (third["done"], "nextRecordsUrl" in third) == (True, False)
    ids = [r["Id"] for page in (first, second, third) for r in page["records"]]
    assert ids == sorted(c["Id"] for c in org.org.cases())
    org.clock.tick(101)
    late = org.call("GET", first["nextRecordsUrl"])
    assert (late.status, late.body[0]["errorCode"]) == (400, "INVALID_QUERY_LOCATOR")


def test_a_page_leaves_out_what_was_deleted_since_the_query():
    org = Client()
    cases = [org.case() for _ in range(201)]
    first = org.soql("SELECT Id FROM Case ORDER BY Id", Sforce_Query_Options="batchSize=200").body
    org.org.delete(max(cases))
    rest = org.call("GET", first["nextRecordsUrl"]).body
    assert (rest["done"], rest["records"]) == (True, [])
