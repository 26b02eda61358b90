"""The Salesforce stand-in's REST API: sign-in, records, collections, limits, and its shapes against recorded ones."""

from __future__ import annotations

import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from connections.sandbox.salesforce import SalesforceStandin
from connections.sandbox.salesforce_schema import Field, full_id, normal_id
from connections.sandbox.salesforce_values import Problem
from connections.tests.evidence import check_request, needs_evidence, payload, same_shape
from connections.tests.salesforce_client import DATA, Client


@pytest.fixture
def org():
    return Client()


def code(answer):
    """(status, errorCode, fields) of a refusal."""
    [error] = answer.body
    return answer.status, error["errorCode"], error.get("fields")


# Sign-in ---------------------------------------------------------------------------------------------------------


def test_client_credentials_answer_has_no_expiry_and_tells_the_instance(org):
    answer = org.token_request(
        grant_type="client_credentials", client_id=org.keys["client_id"], client_secret=org.keys["client_secret"]
    )
    assert answer.status == 200
    assert "expires_in" not in answer.body
    assert answer.body["instance_url"] == "http://org.test"
    assert answer.body["issued_at"] == str(int(org.clock.at * 1000))


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "client_credentials", "client_id": "x", "client_secret": "y"}, "invalid_client_id"),
        ({"grant_type": "client_credentials", "client_secret": "wrong"}, "invalid_client"),
        ({"grant_type": "password"}, "invalid_grant"),
        ({"grant_type": "magic"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "old"}, "invalid_grant"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "junk"}, "invalid_grant"),
    ],
)
def test_wrong_sign_in_is_refused_by_name(org, form, error):
    known = {"client_id": org.keys["client_id"], "client_secret": org.keys["client_secret"]}
    answer = org.token_request(**{**known, **form})
    assert (answer.status, answer.body["error"]) == (400, error)


def test_jwt_bearer_is_verified_with_the_apps_key(org):
    ours, other = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    public = ours.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    app = org.app.oauth.create_app(run_as=None, public_key=public.decode())
    claims = {"iss": app["client_id"], "sub": "sync@example.com", "aud": "https://login.salesforce.com"}

    def ask(key, **changes):
        exp = int(org.clock.at) + 120
        assertion = jwt.encode({**claims, "exp": exp, **changes}, key, algorithm="RS256")
        grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
        return org.token_request(grant_type=grant, assertion=assertion)

    good = ask(ours)
    assert good.status == 200
    org.token = good.body["access_token"]
    assert org.call("GET", "limits").status == 200
    assert ask(other).body == {"error": "invalid_grant", "error_description": "invalid assertion"}
    assert ask(ours, aud="https://elsewhere").body["error_description"] == "audience is invalid"
    assert ask(ours, sub="nobody@example.com").body["error_description"] == "user hasn't approved this consumer"
    assert ask(ours, exp=int(org.clock.at) - 1).body["error"] == "invalid_grant"
    assert ask(ours, exp=int(org.clock.at) + 3600).body["error"] == "invalid_grant"


def test_refresh_token_gives_access_until_it_is_revoked(org):
    refresh = org.app.oauth.issue("refresh", org.keys["client_id"], org.api)
    keys = {k: org.keys[k] for k in ("client_id", "client_secret")}
    answer = org.token_request(grant_type="refresh_token", refresh_token=refresh, **keys)
    assert answer.status == 200
    assert org.send("POST", "/services/oauth2/revoke", body=b"token=" + refresh.encode()).status == 200
    org.token = answer.body["access_token"]
    assert org.call("GET", "limits").status == 401
    assert org.token_request(grant_type="refresh_token", refresh_token=refresh, **keys).body["error"] == "invalid_grant"


def test_an_access_token_expires_in_the_middle(org):
    assert org.call("GET", "limits").status == 200
    org.clock.tick(7200)
    answer = org.call("GET", "limits")
    assert answer.status == 401
    assert answer.body == [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]
    org.sign_in()
    assert org.call("GET", "limits").status == 200


def test_a_deactivated_user_cannot_sign_in(org):
    org.org.deactivate(org.api)
    answer = org.token_request(
        grant_type="client_credentials", client_id=org.keys["client_id"], client_secret=org.keys["client_secret"]
    )
    assert answer.body["error"] == "invalid_grant"


def test_userinfo_names_the_account_and_the_org(org):
    info = org.call("GET", "/services/oauth2/userinfo").body
    assert (info["user_id"], info["organization_id"]) == (org.api, org.org.id)
    assert info["email"] == "sync@example.com"
    assert org.send("GET", "/services/oauth2/userinfo").status == 403


def test_every_answer_tells_the_usage_and_the_daily_limit_refuses():
    org = Client(daily_limit=2)
    assert org.call("GET", "limits").headers["Sforce-Limit-Info"] == "api-usage=1/2"
    assert org.call("GET", "limits").body["DailyApiRequests"] == {"Max": 2, "Remaining": 0}
    answer = org.call("GET", "limits")
    assert answer.status == 403
    assert answer.body == [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
    org.clock.tick(86400)
    org.sign_in()
    assert org.call("GET", "limits").status == 200


# Ids -------------------------------------------------------------------------------------------------------------


def test_ids_have_the_vendors_checksum_and_the_short_form_is_accepted(org):
    assert full_id("003q000000KvQ1t") == "003q000000KvQ1tAAF"  # recorded in payloads/salesforce/get_updated.json
    assert normal_id("003q000000KvQ1tAAB") is None
    case = org.case()
    assert case.startswith("500")
    assert len(case) == 18
    assert org.call("GET", f"sobjects/Case/{case[:15]}").body["Id"] == case
    assert org.rows(f"SELECT Id FROM Case WHERE Id = '{case[:15]}'")[0]["Id"] == case


# Records ---------------------------------------------------------------------------------------------------------


def test_a_created_case_has_its_defaults_number_and_owner(org):
    answer = org.call("POST", "sobjects/Case", {"Subject": "  Broken  ", "Description": "\n one\ntwo\r\n"})
    assert answer.status == 201
    case = org.call("GET", f"sobjects/Case/{answer.body['id']}").body
    assert (case["Subject"], case["Description"]) == ("Broken", "one\ntwo")
    assert (case["Status"], case["Priority"], case["IsClosed"]) == ("New", "P3", False)
    assert (case["OwnerId"], case["CreatedById"]) == (org.api, org.api)
    assert case["CaseNumber"] == "00001001"
    assert case["CreatedDate"] == "2026-01-01T00:00:00.000+0000"
    assert case["attributes"] == {"type": "Case", "url": f"{DATA}/sobjects/Case/{case['Id']}"}


def test_newlines_of_the_api_are_kept_as_sent(org):
    case = org.case()
    assert org.call("PATCH", f"sobjects/Case/{case}", {"Description": "a\r\nb\nc"}).status == 204
    assert org.org.get(case)["Description"] == "a\r\nb\nc"


def test_stamps_have_whole_seconds_and_every_write_moves_them(org):
    case = org.case()
    org.clock.tick(1.9)
    org.call("PATCH", f"sobjects/Case/{case}", {"Subject": "Other"})
    doc = org.org.get(case)
    assert doc["SystemModstamp"] == doc["LastModifiedDate"] == "2026-01-01T00:00:01.000+0000"
    assert doc["LastModifiedById"] == org.api
    org.clock.tick(60)
    org.org.touch(case)
    assert org.org.get(case)["SystemModstamp"] > org.org.get(case)["LastModifiedDate"]


@pytest.mark.parametrize(
    ("fields", "error", "named"),
    [
        ({"Nope": 1}, "INVALID_FIELD", None),
        ({"CaseNumber": "1"}, "INVALID_FIELD_FOR_INSERT_UPDATE", ["CaseNumber"]),
        ({"Subject": "x" * 256}, "STRING_TOO_LONG", ["Subject"]),
        ({"Description": "x" * 32001}, "STRING_TOO_LONG", ["Description"]),
        ({"Priority": "Highest"}, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", ["Priority"]),
        ({"Status": None}, "REQUIRED_FIELD_MISSING", ["Status"]),
        ({"Due_Date__c": "2026-02-30"}, "JSON_PARSER_ERROR", None),
        ({"Effort__c": "many"}, "JSON_PARSER_ERROR", None),
        ({"Effort__c": 10_000_000}, "NUMBER_OUTSIDE_VALID_RANGE", ["Effort__c"]),
        ({"Effort__c": float("nan")}, "JSON_PARSER_ERROR", None),
        ({"IsEscalated": "yes"}, "JSON_PARSER_ERROR", None),
        ({"SuppliedEmail": "nobody"}, "INVALID_EMAIL_ADDRESS", ["SuppliedEmail"]),
        ({"OwnerId": "nobody"}, "MALFORMED_ID", ["OwnerId"]),
        ({"OwnerId": full_id("500000000000zzz")}, "FIELD_INTEGRITY_EXCEPTION", ["OwnerId"]),
        ({"OwnerId": full_id("005000000000zzz")}, "INVALID_CROSS_REFERENCE_KEY", []),
    ],
)
def test_a_bad_value_is_refused_in_the_vendors_words(org, fields, error, named):
    case = org.case()
    before = org.org.get(case)
    assert code(org.call("PATCH", f"sobjects/Case/{case}", fields)) == (400, error, named)
    assert org.org.get(case) is before


def test_values_are_kept_in_the_vendors_form(org):
    case = org.case()
    fields = {"Priority": "p1", "Effort__c": "2.456", "Labels__c": "search;login;api;login", "Subject": "   "}
    assert org.call("PATCH", f"sobjects/Case/{case}", fields).status == 204
    doc = org.org.get(case)
    assert (doc["Priority"], doc["Effort__c"]) == ("P1", 2.46)
    assert doc["Labels__c"] == "api;login;search"
    assert doc["Subject"] is None


def test_an_inactive_owner_is_refused_only_when_it_is_newly_chosen(org):
    case = org.case()
    assert code(org.call("PATCH", f"sobjects/Case/{case}", {"OwnerId": org.bob}))[1] == "INACTIVE_OWNER_OR_USER"
    org.org.deactivate(org.ana)
    assert org.call("PATCH", f"sobjects/Case/{case}", {"Subject": "Still hers"}).status == 204
    assert org.call("PATCH", f"sobjects/Case/{case}", {"OwnerId": org.queue}).status == 204


def test_closing_sets_the_fields_that_follow(org):
    case = org.case()
    org.call("PATCH", f"sobjects/Case/{case}", {"Status": "Closed"})
    assert org.org.get(case)["IsClosed"] is True
    assert org.org.get(case)["ClosedDate"]
    org.call("PATCH", f"sobjects/Case/{case}", {"Status": "Working"})
    assert (org.org.get(case)["IsClosed"], org.org.get(case)["ClosedDate"]) == (False, None)


def test_a_validation_rule_and_a_trigger_act_on_every_save(org):
    org.org.add_rule(
        "Case", lambda new, old: ("A reference is needed", "Reference__c") if new["Priority"] == "P1" else None
    )
    org.org.add_trigger("Case", lambda new, old: {"Type": "Problem"} if new["Origin"] == "Web" else None)
    case = org.case(Origin="Web")
    assert org.org.get(case)["Type"] == "Problem"
    refusal = code(org.call("PATCH", f"sobjects/Case/{case}", {"Priority": "P1"}))
    assert refusal == (400, "FIELD_CUSTOM_VALIDATION_EXCEPTION", ["Reference__c"])
    with pytest.raises(Problem, match="A reference is needed"):
        org.org.edit(case, org.ana, Priority="P1")


def test_hidden_fields_do_not_exist_for_the_api_and_read_only_ones_refuse(org):
    org.org.set_field("Case", "Effort__c", hidden=True)
    org.org.set_field("Case", "Reference__c", read_only=True)
    case = org.case(Effort__c=3, Reference__c="R-1")
    described = {f["name"]: f for f in org.call("GET", "sobjects/Case/describe").body["fields"]}
    assert "Effort__c" not in described
    assert (described["Reference__c"]["updateable"], described["Reference__c"]["createable"]) == (False, False)
    assert "Effort__c" not in org.call("GET", f"sobjects/Case/{case}").body
    assert code(org.soql("SELECT Effort__c FROM Case"))[1] == "INVALID_FIELD"
    assert code(org.call("PATCH", f"sobjects/Case/{case}", {"Effort__c": 4}))[1] == "INVALID_FIELD"
    refusal = code(org.call("PATCH", f"sobjects/Case/{case}", {"Reference__c": "R-2"}))
    assert refusal == (400, "INVALID_FIELD_FOR_INSERT_UPDATE", ["Reference__c"])
    assert org.org.edit(case, org.ana, Effort__c=5)["Effort__c"] == 5.0  # people see what the API user does not


def test_permissions_and_sharing_apply_to_the_api_user(org):
    case = org.case()
    org.org.locked.add(case)
    assert code(org.call("PATCH", f"sobjects/Case/{case}", {"Subject": "x"}))[1] == "INSUFFICIENT_ACCESS_OR_READONLY"
    org.org.locked.clear()
    org.org.objects["Case"].denied.add("delete")
    assert code(org.call("DELETE", f"sobjects/Case/{case}"))[:2] == (403, "INSUFFICIENT_ACCESS_OR_READONLY")
    org.org.unshared.add(case)
    assert code(org.call("GET", f"sobjects/Case/{case}"))[:2] == (404, "NOT_FOUND")
    assert org.rows("SELECT Id FROM Case") == []


def test_a_locked_row_refuses_once_and_then_lets_the_write_pass(org):
    case = org.case()
    org.org.lock_row(case)
    assert code(org.call("PATCH", f"sobjects/Case/{case}", {"Subject": "x"}))[1] == "UNABLE_TO_LOCK_ROW"
    assert org.call("PATCH", f"sobjects/Case/{case}", {"Subject": "x"}).status == 204


def test_a_deleted_case_waits_in_the_recycle_bin_with_its_comments(org):
    case = org.case()
    comment = org.org.create("CaseComment", {"ParentId": case, "CommentBody": "hi"}, org.ana)["Id"]
    assert org.call("DELETE", f"sobjects/Case/{case}").status == 204
    for method, body in (("GET", None), ("PATCH", {"Subject": "x"}), ("DELETE", None)):
        assert code(org.call(method, f"sobjects/Case/{case}", body))[:2] == (404, "ENTITY_IS_DELETED")
    assert org.rows("SELECT Id FROM Case") == []
    everything = org.call("GET", "queryAll", query={"q": "SELECT Id, IsDeleted FROM Case"}).body["records"]
    assert [(r["Id"], r["IsDeleted"]) for r in everything] == [(case, True)]
    org.org.undelete(case)
    assert [r["Id"] for r in org.rows("SELECT Id FROM CaseComment")] == [comment]
    org.org.delete(case)
    org.org.empty_recycle_bin()
    assert code(org.call("GET", f"sobjects/Case/{case}"))[:2] == (404, "NOT_FOUND")
    assert org.call("GET", "queryAll", query={"q": "SELECT Id FROM Case"}).body["totalSize"] == 0


def test_if_unmodified_since_compares_to_the_second(org):
    case = org.case()
    seen = org.call("GET", f"sobjects/Case/{case}").headers["Last-Modified"]
    path = f"sobjects/Case/{case}"
    assert org.call("PATCH", path, {"Subject": "same second"}, If_Unmodified_Since=seen).status == 204
    assert org.call("PATCH", path, {"Subject": "also"}, If_Unmodified_Since=seen).status == 204
    org.clock.tick(1)
    org.org.edit(case, org.ana, Subject="by a person")
    assert org.call("PATCH", path, {"Subject": "late"}, If_Unmodified_Since=seen).status == 412
    assert org.org.get(case)["Subject"] == "by a person"
    assert org.call("PATCH", path, {"Subject": "x"}, If_Unmodified_Since="yesterday").status == 400
    now = org.call("GET", path).headers["Last-Modified"]
    assert org.call("GET", path, If_Modified_Since=now).status == 304
    assert org.call("GET", path, If_Modified_Since=seen).status == 200


def test_upsert_makes_one_record_per_external_id(org):
    path = "sobjects/Case/SyncAdmin_Key__c/key-1"
    first = org.call("PATCH", path, {"Subject": "One"})
    again = org.call("PATCH", path, {"Subject": "Two"})
    assert (first.status, again.status) == (201, 200)
    assert first.body["id"] == again.body["id"]
    assert (first.body["created"], again.body["created"]) == (True, False)
    assert org.call("PATCH", path.replace("key-1", "KEY-1"), {"Subject": "Three"}).status == 200
    assert len(org.org.cases()) == 1
    assert org.call("GET", path).body["Subject"] == "Three"
    assert code(org.call("PATCH", path, {"SyncAdmin_Key__c": "key-1"}))[1] == "INVALID_FIELD"
    assert code(org.call("PATCH", "sobjects/Case/Subject/x", {}))[:2] == (404, "NOT_FOUND")
    assert org.call("PATCH", f"/services/data/v45.0/{path}", {"Subject": "Four"}).status == 204
    assert org.call("DELETE", path).status == 204
    assert org.call("GET", path).status == 404


def test_an_external_id_that_is_not_unique_answers_with_the_choices(org):
    one, two = org.case(Jira_Key__c="SUP-1"), org.case(Jira_Key__c="SUP-1")
    answer = org.call("GET", "sobjects/Case/Jira_Key__c/SUP-1")
    assert answer.status == 300
    assert answer.body == [f"{DATA}/sobjects/Case/{one}", f"{DATA}/sobjects/Case/{two}"]


def test_a_unique_key_taken_by_another_record_is_refused_by_its_id(org):
    one = org.case(SyncAdmin_Key__c="k")
    answer = org.call("POST", "sobjects/Case", {"SyncAdmin_Key__c": "K"})
    assert code(answer)[1] == "DUPLICATE_VALUE"
    assert one in answer.body[0]["message"]
    org.org.delete(one)
    assert org.call("POST", "sobjects/Case", {"SyncAdmin_Key__c": "k"}).status == 201
    with pytest.raises(Problem, match="DUPLICATE_VALUE"):
        org.org.undelete(one)
    assert org.org.get(one)["IsDeleted"] is True


def test_field_history_tells_who_changed_what_from_what(org):
    case = org.case(Description="old text")
    org.clock.tick(5)
    org.call("PATCH", f"sobjects/Case/{case}", {"Priority": "P1", "Description": "new", "OwnerId": org.queue})
    told = {h["field"]: (h["old"], h["new"], h["by"]) for h in org.org.history(case)}
    assert told["Priority"] == ("P3", "P1", org.api)
    assert told["Description"] == ("old text", "new", org.api)
    rows = org.rows(
        f"SELECT Field, OldValue, NewValue, CreatedById, CreatedBy.Name FROM CaseHistory WHERE CaseId='{case}'"
    )
    seen = [(r["Field"], r["OldValue"], r["NewValue"]) for r in rows]
    assert ("Priority", "P3", "P1") in seen
    assert ("Description", None, None) in seen  # long texts are not told
    assert ("Owner", "Ana Ruiz", "Tier 2") in seen
    assert ("Owner", org.ana, org.queue) in seen


def test_feeds_of_updated_and_deleted_records_ignore_seconds(org):
    kept, gone = org.case(), org.case()
    org.clock.tick(90)
    org.org.delete(gone)
    org.clock.tick(60)
    span = {"start": "2026-01-01T00:00:59Z", "end": "2026-01-01T00:05:00+00:00"}
    updated = org.call("GET", "sobjects/Case/updated/", query=span).body
    assert updated == {"ids": [kept], "latestDateCovered": "2026-01-01T00:02:00.000+0000"}
    deleted = org.call("GET", "sobjects/Case/deleted/", query=span).body
    assert deleted["deletedRecords"] == [{"id": gone, "deletedDate": "2026-01-01T00:01:30.000+0000"}]
    backwards = {"start": span["end"], "end": span["start"]}
    assert code(org.call("GET", "sobjects/Case/updated/", query=backwards))[1] == "INVALID_REPLICATION_DATE"
    old = {"start": "2025-11-01T00:00:00Z", "end": span["end"]}
    assert code(org.call("GET", "sobjects/Case/updated/", query=old))[1] == "INVALID_REPLICATION_DATE"


# Several at once -------------------------------------------------------------------------------------------------


def _records(*fields):
    return [{"attributes": {"type": "Case"}, **f} for f in fields]


def test_a_collection_tells_each_items_fate_and_keeps_the_good_ones(org):
    body = {"allOrNone": False, "records": _records({"Subject": "a"}, {"Priority": "P9"}, {"Subject": "c"})}
    results = org.call("POST", "composite/sobjects", body).body
    assert [r["success"] for r in results] == [True, False, True]
    assert results[1]["errors"][0]["statusCode"] == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    assert len(org.org.cases()) == 2


def test_all_or_none_undoes_everything_and_announces_nothing(org):
    one, two = org.case(), org.case()
    client = org.subscribe()
    records = _records({"id": one, "Subject": "changed"}, {"id": two, "Nope": 1})
    results = org.call("PATCH", "composite/sobjects", {"allOrNone": True, "records": records}).body
    assert [r["errors"][0]["statusCode"] for r in results] == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "INVALID_FIELD"]
    assert org.org.get(one)["Subject"] == "Broken"
    assert [h["field"] for h in org.org.history(one)] == ["created"]
    assert org.poll(client) == []
    assert org.rows("SELECT Id FROM CaseHistory WHERE Field = 'Subject'") == []


def test_more_than_two_hundred_records_are_refused(org):
    body = {"records": _records(*({"Subject": str(n)} for n in range(201)))}
    assert code(org.call("POST", "composite/sobjects", body))[1] == "EXCEEDED_ID_LIMIT"
    assert org.org.cases() == []


def test_collection_upsert_creates_and_updates_by_key(org):
    one = org.case(SyncAdmin_Key__c="k1")
    records = _records({"SyncAdmin_Key__c": "k1", "Subject": "x"}, {"SyncAdmin_Key__c": "k2", "Subject": "y"}, {})
    results = org.call("PATCH", "composite/sobjects/Case/SyncAdmin_Key__c", {"records": records}).body
    assert [(r.get("created"), r["success"]) for r in results] == [(False, True), (True, True), (None, False)]
    assert org.org.get(one)["Subject"] == "x"


def test_collection_retrieve_keeps_the_order_and_says_null_for_what_is_gone(org):
    one, two, gone = org.case(Subject="1"), org.case(Subject="2"), org.case()
    org.org.delete(gone)
    ids = [two, gone, full_id("500000000000zzz"), one[:15]]
    body = {"ids": ids, "fields": ["Subject"]}
    for answer in (
        org.call("POST", "composite/sobjects/Case", body),
        org.call("GET", "composite/sobjects/Case", query={"ids": ",".join(ids), "fields": "Subject"}),
    ):
        assert [r and r["Subject"] for r in answer.body] == ["2", None, None, "1"]
    assert code(org.call("POST", "composite/sobjects/Case", {**body, "fields": ["Nope"]}))[1] == "INVALID_FIELD"


def test_collection_delete_tells_each_items_fate(org):
    one, gone = org.case(), org.case()
    org.org.delete(gone)
    results = org.call("DELETE", "composite/sobjects", query={"ids": f"{one},{gone}", "allOrNone": "false"}).body
    assert [r["success"] for r in results] == [True, False]
    assert results[1]["errors"][0]["statusCode"] == "ENTITY_IS_DELETED"


def test_composite_requests_refer_to_each_other(org):
    body = {
        "compositeRequest": [
            {"method": "POST", "url": f"{DATA}/sobjects/Case", "referenceId": "new", "body": {"Subject": "s"}},
            {"method": "GET", "url": f"{DATA}/sobjects/Case/@{{new.id}}?fields=Subject", "referenceId": "read"},
            {
                "method": "POST",
                "url": f"{DATA}/sobjects/CaseComment",
                "referenceId": "say",
                "body": {"ParentId": "@{new.id}", "CommentBody": "hello"},
            },
            {"method": "GET", "url": f"{DATA}/query?q=SELECT+Id+FROM+Case+WHERE+Id='@{{new.id}}'", "referenceId": "q"},
            {"method": "GET", "url": f"{DATA}/sobjects/Case/@{{none.id}}", "referenceId": "lost"},
        ]
    }
    answers = org.call("POST", "composite", body).body["compositeResponse"]
    assert [a["httpStatusCode"] for a in answers] == [201, 200, 201, 200, 400]
    assert answers[1]["body"]["Subject"] == "s"
    assert answers[3]["body"]["totalSize"] == 1
    assert answers[4]["body"][0]["errorCode"] == "PROCESSING_HALTED"
    assert len(org.org.comments(answers[0]["body"]["id"])) == 1


def test_composite_all_or_none_halts_the_good_ones(org):
    case = org.case()
    body = {
        "allOrNone": True,
        "compositeRequest": [
            {"method": "PATCH", "url": f"{DATA}/sobjects/Case/{case}", "referenceId": "a", "body": {"Subject": "x"}},
            {"method": "PATCH", "url": f"{DATA}/sobjects/Case/{case}", "referenceId": "b", "body": {"Nope": "x"}},
        ],
    }
    first, second = org.call("POST", "composite", body).body["compositeResponse"]
    assert first["body"][0]["errorCode"] == "PROCESSING_HALTED"
    assert second["body"][0]["errorCode"] == "INVALID_FIELD"
    assert org.org.get(case)["Subject"] == "Broken"
    many = {"compositeRequest": body["compositeRequest"] * 13}
    assert code(org.call("POST", "composite", many))[1] == "LIMIT_EXCEEDED"


def test_batch_requests_stop_at_an_error_where_asked(org):
    requests = [{"method": "GET", "url": "v62.0/sobjects/Nope"}, {"method": "GET", "url": "v62.0/limits"}]
    answer = org.call("POST", "composite/batch", {"batchRequests": requests}).body
    assert [r["statusCode"] for r in answer["results"]] == [404, 200]
    halted = org.call("POST", "composite/batch", {"batchRequests": requests, "haltOnError": True}).body
    assert [r["statusCode"] for r in halted["results"]] == [404, 412]


# The org as a whole ----------------------------------------------------------------------------------------------


def test_describe_tells_types_lengths_and_choices(org):
    org.org.add_field("Case", Field("Team__c", "picklist", values=("Red", "Blue"), retired=("Grey",), length=255))
    fields = {f["name"]: f for f in org.call("GET", "sobjects/Case/describe").body["fields"]}
    assert (fields["Subject"]["type"], fields["Subject"]["length"]) == ("string", 255)
    assert fields["SyncAdmin_Key__c"]["externalId"] and fields["SyncAdmin_Key__c"]["unique"]
    assert fields["OwnerId"]["referenceTo"] == ["Group", "User"]
    assert fields["CaseNumber"]["updateable"] is False
    assert [(v["value"], v["active"]) for v in fields["Team__c"]["picklistValues"]] == [
        ("Red", True),
        ("Blue", True),
        ("Grey", False),
    ]
    names = [o["name"] for o in org.call("GET", "sobjects").body["sobjects"]]
    assert {"Case", "CaseComment", "User", "Group"} <= set(names)
    assert org.call("GET", "sobjects/Case").body["objectDescribe"]["keyPrefix"] == "500"


def test_unknown_paths_methods_and_versions_answer_as_the_vendor(org):
    assert code(org.call("GET", "nowhere"))[:2] == (404, "NOT_FOUND")
    assert code(org.call("PUT", "limits"))[:2] == (405, "METHOD_NOT_ALLOWED")
    assert code(org.call("GET", "/services/data/v99.0/limits"))[:2] == (404, "NOT_FOUND")
    versions = org.send("GET", "/services/data").body
    assert {"label": "Winter '25", "url": "/services/data/v62.0", "version": "62.0"} in versions


def test_the_next_start_finds_everything_again(tmp_path):
    file = str(tmp_path / "org.sqlite3")
    first = SalesforceStandin(file)
    user = first.org.create_user("Ana Ruiz")["Id"]
    first.org.add_field("Case", Field("Team__c", "picklist", values=("Red",), length=255))
    case = first.org.create("Case", {"Subject": "Kept", "SyncAdmin_Key__c": "k", "Team__c": "Red"}, user)
    app = first.oauth.create_app(run_as=user)
    first.org.edit(case["Id"], user, Priority="P1")
    second = SalesforceStandin(file)
    assert second.org.id == first.org.id
    assert second.org.get(case["Id"])["Team__c"] == "Red"
    assert second.org.find_by("Case", second.org.objects["Case"].fields["SyncAdmin_Key__c"], "k")
    assert second.org.history(case["Id"]) == first.org.history(case["Id"])
    assert second.oauth.apps == {app["client_id"]: app}
    assert [e["replay"] for e in second.bus.events] == [e["replay"] for e in first.bus.events]
    assert second.org.create("Case", {"Subject": "Next"}, user)["CaseNumber"] == "00001002"


def test_a_lost_answer_leaves_the_write_done(org):
    from waitress.channel import ClientDisconnected

    org.app.fault("drop_after", method="POST", path="/sobjects/Case")
    with pytest.raises(ClientDisconnected):
        org.call("POST", "sobjects/Case", {"Subject": "Twice?"})
    assert len(org.org.cases()) == 1


def test_five_thousand_cases_stay_usable(org):
    with org.org.transaction():
        for number in range(5000):
            org.case(SyncAdmin_Key__c=f"k{number}")
    started = time.process_time()
    assert org.soql("SELECT COUNT() FROM Case WHERE SystemModstamp >= 2026-01-01T00:00:00Z").body["totalSize"] == 5000
    assert len(org.rows("SELECT Id FROM Case WHERE SyncAdmin_Key__c IN ('k1', 'k4999')")) == 2
    assert time.process_time() - started < 1.0


# Evidence --------------------------------------------------------------------------------------------------------


@needs_evidence
def test_answers_have_the_recorded_shapes(org):
    keys = {k: org.keys[k] for k in ("client_id", "client_secret")}
    token = org.token_request(grant_type="client_credentials", **keys).body
    refused = org.token_request(grant_type="password").body
    created = org.call("POST", "sobjects/Case", {"Subject": "s"}).body
    for number in range(201):
        org.case(Subject=f"case {number}")
    page = org.soql("SELECT Id, Owner.Name FROM Case", Sforce_Query_Options="batchSize=200").body
    assert page["done"] is False
    rolled_back = org.call(
        "PATCH",
        "composite/sobjects/Case",
        {"allOrNone": True, "records": _records({"id": created["id"]}, {"id": created["id"], "Nope": 1})},
    ).body
    span = {"start": "2025-12-31T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
    pairs = {
        "auth_success": token,
        "auth_error": refused,
        "create": created,
        "upsert_created": org.call("PATCH", "sobjects/Case/SyncAdmin_Key__c/n", {}).body,
        "write_error": org.call("PATCH", f"sobjects/Case/{created['id']}", {"Nope": 1}).body,
        "query_error": org.soql("SELECT Nope FROM Case").body,
        "record_not_found": org.call("GET", "sobjects/Case/23foo").body,
        "query_first_page_next_url": {**page, "records": [{"attributes": r["attributes"]} for r in page["records"]]},
        "get_updated": org.call("GET", "sobjects/Case/updated/", query=span).body,
        "collections_update_all_or_none_error": rolled_back,
    }
    for name, answered in pairs.items():
        ignore = ("records[].Text_Label",)
        assert same_shape(payload(f"salesforce/{name}"), answered, missing=True, ignore=ignore) == [], name
    assert rolled_back == [
        {"success": False, "errors": [payload("salesforce/collections_update_all_or_none_error")[0]["errors"][0]]},
        {
            "success": False,
            "errors": [
                {
                    "statusCode": "INVALID_FIELD",
                    "message": "No such column 'Nope' on sobject of type Case",
                    "fields": [],
                }
            ],
        },
    ]
    assert org.call("GET", "sobjects/Case/23foo").body == payload("salesforce/record_not_found")


@needs_evidence
def test_a_query_page_and_a_record_look_as_recorded(org):
    org.case(Due_Date__c="2026-03-01", Labels__c="api;login", Effort__c=23)
    fields = "IsClosed, Subject, Due_Date__c, CreatedDate, Labels__c, Owner.Name"
    page = org.soql(f"SELECT {fields} FROM Case").body
    recorded = payload("salesforce/query_page")
    row, ours = recorded["records"][0], page["records"][0]
    twins = {
        "attributes": "attributes",
        "Checkbox_Label": "IsClosed",
        "Text_Label": "Subject",
        "Date_Label": "Due_Date__c",
        "DateTime_Label": "CreatedDate",
        "Picklist_Multiselect_Label": "Labels__c",
    }
    renamed = {theirs: ours[name] for theirs, name in twins.items()}
    renamed["ParentWhizbang__r"] = {**ours["Owner"], "Text_Label": ""}
    wanted = {**recorded, "records": [{k: v for k, v in row.items() if k != "Whizbangs__r"}]}
    assert same_shape(wanted, {**page, "records": [renamed]}, missing=True) == []
    assert len(ours["CreatedDate"]) == len(row["DateTime_Label"])
    full = org.call("GET", f"sobjects/Case/{org.org.cases()[0]['Id']}").body
    assert same_shape(payload("salesforce/record"), {**full, "Name": full["CaseNumber"]}) == []
    assert full["Effort__c"] == 23.0


@needs_evidence
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("GET", "/limits", None),
        ("GET", "/limits/recordCount", None),
        ("GET", "/sobjects", None),
        ("GET", "/sobjects/Case", None),
        ("GET", "/sobjects/Case/describe", None),
        ("POST", "/sobjects/Case", {"Subject": "x"}),
        ("GET", "/sobjects/Case/{case}", None),
        ("PATCH", "/sobjects/Case/{case}", {"Subject": "x"}),
        ("GET", "/sobjects/Case/SyncAdmin_Key__c/k", None),
        ("PATCH", "/sobjects/Case/SyncAdmin_Key__c/k", {"Subject": "x"}),
        ("GET", "/composite/sobjects/Case?ids={case}&fields=Id", None),
        ("PATCH", "/composite/sobjects/Case", {"records": [{"attributes": {"type": "Case"}, "id": "{case}"}]}),
        ("POST", "/composite/sobjects", {"records": [{"attributes": {"type": "Case"}}]}),
        ("POST", "/composite", {"compositeRequest": []}),
        ("POST", "/composite/batch", {"batchRequests": []}),
        ("DELETE", "/composite/sobjects/Case?ids={case}", None),
        ("GET", "/query?q=SELECT+Id+FROM+Case", None),
        ("GET", "/queryAll?q=SELECT+Id+FROM+Case", None),
        ("GET", "/sobjects/Case/updated?start=2025-12-31T00:00:00Z&end=2026-01-02T00:00:00Z", None),
        ("GET", "/sobjects/Case/deleted?start=2025-12-31T00:00:00Z&end=2026-01-02T00:00:00Z", None),
        ("DELETE", "/sobjects/Case/{case}", None),
    ],
)
def test_what_the_vendor_describes_is_answered(org, method, path, body):
    case = org.case(SyncAdmin_Key__c="k")
    full = DATA + path.replace("{case}", case)
    sent = None if body is None else eval(repr(body).replace("{case}", case))
    bare, _, query = full.partition("?")
    headers = {"Content-Type": "application/json"}
    check_request("salesforce", method, bare, query=query, headers=headers, body=sent)
    assert org.call(method, full, sent).status < 300
