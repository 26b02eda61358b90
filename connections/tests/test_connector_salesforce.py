"""The Salesforce connector against the stand-in over HTTP, each request checked against the vendor's description."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from connections.connectors import salesforce_auth, salesforce_org
from connections.connectors.base import (
    Creation,
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
from connections.sandbox.salesforce_schema import Field
from connections.tests import evidence
from connections.tests.evidence import EVIDENCE, payload, same_shape
from connections.tests.salesforce_world import World, check_all_requests, world

FIELDS = ["Subject", "Description", "Status", "Priority", "Labels__c", "OwnerId", "Effort__c", "Due_Date__c"]
LONG_AGO = "2000-01-01T00:00:00Z"


@pytest.fixture
def w():
    with world() as found:
        yield found
        if (EVIDENCE / "specs").is_dir():
            check_all_requests(found)


def version_of(w: World, case: str) -> str:
    return w.connector.get_many("Case", [case], [])[case].version


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# Signing in ----------------------------------------------------------------------------------------------------------


def test_client_credentials_sign_in_once_for_many_calls(w):
    w.case()
    w.connector.check()
    w.connector.list_ids("Case", {})
    assert w.tokens.renewals == 1
    assert len(w.app.calls("/oauth2/token")) == 1


def test_an_expired_session_is_renewed_once_and_the_call_sent_again(w):
    case = w.case()
    w.connector.get_many("Case", [case], FIELDS)
    w.app.oauth.expire_all()
    found = w.connector.update("Case", case, {"Subject": "after"}, None, FIELDS)
    assert found.record.values["Subject"] == "after"
    assert w.tokens.renewals == 2


def test_a_session_that_stays_refused_needs_a_person(w):
    w.connector.object_types()
    body = [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]
    w.app.fault("status", path="/services/data", status=401, body=body, times=5)
    with pytest.raises(NeedsAuthorization):
        w.connector.object_types()
    assert len(w.app.calls("/services/data")) == 3  # the good one, the refused one, the one after the renewal


def test_wrong_credentials_say_so_and_keep_the_secret_out(w):
    w.tokens.token = None
    connector = w.open(secrets={"client_secret": "wrong-secret-value"})
    with pytest.raises(NeedsAuthorization) as caught:
        connector.check()
    assert "invalid client credentials" in caught.value.message and "wrong-secret-value" not in caught.value.message


def test_jwt_bearer_signs_in_with_the_certificates_key(w):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    public = (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    app = w.app.oauth.create_app(run_as=None, public_key=public)
    username = w.org.get(w.us)["Username"]
    settings = {"client_id": app["client_id"], "sign_in": "jwt", "username": username}
    connector = w.open(secrets={"private_key": pem}, **settings)
    assert connector.check().account_id == w.us
    w.tokens.token = None
    with pytest.raises(NeedsAuthorization, match="private key"):
        w.open(secrets={"private_key": "-----BEGIN nonsense"}, **settings).check()


def test_a_rotated_refresh_token_is_used_the_next_time(w, monkeypatch):
    first = w.app.oauth.issue("refresh", w.app_registration["client_id"], w.us)
    second = w.app.oauth.issue("refresh", w.app_registration["client_id"], w.us)
    secret = w.app_registration["client_secret"]
    connector = w.open(secrets={"client_secret": secret, "refresh_token": first}, sign_in="refresh_token")
    connector.object_types()
    assert "refresh_token" not in w.tokens.token  # Salesforce leaves it out where it does not rotate
    w.tokens.token = {**w.tokens.token, "refresh_token": second}
    w.app.oauth.revoke(first)
    w.app.oauth.expire_all()
    connector = w.open(secrets={"client_secret": secret, "refresh_token": first}, sign_in="refresh_token")
    w.tokens.token["access_token"] = "ended"
    connector.object_types()
    assert w.tokens.token["refresh_token"] == second


def test_a_token_for_a_foreign_host_is_not_used():
    check = salesforce_auth._check_instance
    check("https://acme.my.salesforce.com", "https://acme--dev.sandbox.my.salesforce.com")
    check("http://127.0.0.1:9102", "http://127.0.0.1:9102")
    for instance in ("https://evil.example", "https://salesforce.com.evil.example", "http://na1.salesforce.com"):
        with pytest.raises(NeedsAuthorization):
            check("https://acme.my.salesforce.com", instance)


@evidence.needs_evidence
def test_the_recorded_token_answers_are_understood(w):
    w.connector.object_types()
    assert not same_shape(payload("salesforce/auth_success"), w.tokens.token)
    w.tokens.token = payload("salesforce/auth_success")
    assert w.connector.org.user_id == "005x00000012Q9PAAU"
    assert w.connector.org.organization_id.startswith("00Dx0000000BV7z")
    refusal = salesforce_auth._refusal(payload("salesforce/auth_error"))
    assert isinstance(refusal, NeedsAuthorization) and "Invalid Password" in refusal.message


# What there is -------------------------------------------------------------------------------------------------------


def test_check_names_account_org_clock_and_limit(w):
    found = w.connector.check()
    assert found.account_id == w.us and "sync@acme.example" in found.account_name
    assert found.tenant == w.org.id
    assert abs(found.clock_offset) <= 1.5
    assert "1,000,000" in found.rate_limit
    assert found.missing == [] and not found.personal_account


def test_check_names_what_is_missing_and_where_to_find_it(w):
    del w.org.objects["Case"].fields["SyncAdmin_Key__c"]
    del w.org.objects["CaseHistory"]
    w.state.put("bell_refused", ["Case"])
    w.connector.org.forget()
    found = w.connector.check()
    assert any("SyncAdmin_Key__c on Case" in m and "Object Manager" in m for m in found.missing)
    assert any("Change Data Capture" in m for m in found.missing)
    assert any("History Tracking" in n for n in found.notes)


def test_object_types_are_those_people_keep_records_in(w):
    found = {o.name: o for o in w.connector.object_types()}
    assert "CaseHistory" not in found and found["CaseComment"].parent == "Case" and found["Case"].parent is None


def test_fields_are_asked_for_afresh(w):
    before = {f.path for f in w.connector.fields("Case", {})}
    w.org.add_field("Case", Field("Region__c", "picklist", values=("North", "South")))
    after = {f.path: f for f in w.connector.fields("Case", {})}
    assert set(after) - before == {"Region__c"} and [o.value for o in after["Region__c"].options] == ["North", "South"]


def test_a_hidden_field_is_unreadable_and_not_empty(w):
    case = w.case(Description="secret")
    w.org.set_field("Case", "Description", hidden=True)
    w.connector.org.forget()
    record = w.connector.get_many("Case", [case], FIELDS)[case]
    assert "Description" in record.unreadable and "Description" not in record.values


def test_a_field_hidden_since_we_looked_is_asked_for_afresh(w):
    case = w.case(Description="secret")
    w.connector.get_many("Case", [case], FIELDS)
    w.org.set_field("Case", "Description", hidden=True)
    record = w.connector.get_many("Case", [case], FIELDS)[case]
    assert "Description" in record.unreadable


def test_an_unknown_object_is_not_allowed(w):
    with pytest.raises(NotAllowed, match="Nope__c"):
        w.connector.fields("Nope__c", {})
    with pytest.raises(NotAllowed):
        w.connector.fields("Case/../User", {})


def test_people_are_found_by_part_of_name_and_queues_too(w):
    w.org.create_queue("Doe handling")
    w.org.create_user("Gone Doe", "gone.doe@acme.example", active=False)
    assert w.connector.people("doe") == [
        ("jane.doe@acme.example", "Jane Doe"),
        ("queue:Doe handling", "Doe handling (queue)"),
    ]


# Reading -------------------------------------------------------------------------------------------------------------


def test_changes_come_in_order_with_deletions_and_a_position(w):
    first, second, third = w.case(), w.case(Subject="b"), w.case(Subject="c")
    w.org.delete(second, w.jane)
    pages = list(w.connector.changed_since("Case", LONG_AGO, FIELDS, {}))
    records = [r for p in pages for r in p.records]
    assert {r.external_id for r in records} == {first, second, third}
    assert [r.deleted for r in sorted(records, key=lambda r: r.external_id)] == [False, True, False]
    assert pages[-1].last and pages[-1].watermark <= max(r.version for r in records)
    assert pages[0].server_time <= now()


def test_a_position_is_inclusive_and_idle_polls_move_on_with_the_clock(w):
    clock = [1_800_000_000.0]
    w.app.now = lambda: clock[0]
    case = w.case()
    clock[0] += 3600
    page = list(w.connector.changed_since("Case", None, FIELDS, {}))[-1]
    again = list(w.connector.changed_since("Case", page.records[0].version, FIELDS, {}))
    assert [r.external_id for p in again for r in p.records] == [case]
    later = w.connector.shift_watermark(page.records[0].version, -1)
    empty = list(w.connector.changed_since("Case", later, FIELDS, {}))
    assert [list(p.records) for p in empty] == [[]] and empty[-1].watermark >= later and empty[-1].last


def test_a_page_full_of_one_second_is_read_to_its_end(w, monkeypatch):
    monkeypatch.setattr(salesforce_org, "_BATCH", {"Sforce-Query-Options": "batchSize=200"})
    clock = [1_800_000_000.0]
    w.app.now = lambda: clock[0]
    w.tokens.token = None
    ids = {w.case(Subject=f"case {n}") for n in range(450)}
    pages = list(w.connector.changed_since("Case", LONG_AGO, ["Subject"], {}))
    assert [len(p.records) for p in pages] == [200, 200, 50]
    assert {r.external_id for p in pages for r in p.records} == ids
    assert [p.last for p in pages] == [False, False, True]
    assert len({p.records[0].version for p in pages}) == 1


def test_a_record_that_changes_while_pages_are_read_moves_no_position_past_the_others(w, monkeypatch):
    monkeypatch.setattr(salesforce_org, "_BATCH", {"Sforce-Query-Options": "batchSize=200"})
    clock = [datetime.now(UTC).timestamp() - 86_400]
    w.app.now = lambda: clock[0]
    ids = []
    for number in range(401):
        clock[0] += 1
        ids.append(w.case(Subject=f"case {number}"))
    last_stamp = datetime.fromtimestamp(int(clock[0]), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    del w.app.now
    w.app.now = lambda: datetime.now(UTC).timestamp() + 5
    pages = w.connector.changed_since("Case", LONG_AGO, ["Subject"], {})
    first = next(pages)
    w.org.edit(ids[399], w.jane, Subject="moved")  # still to come, on the second page
    second = next(pages)
    assert second.records[-1].values["Subject"] == "moved"
    assert first.watermark < second.watermark < last_stamp
    rest = list(pages)
    assert rest[-1].watermark >= last_stamp, "read to the end: the moment of the question"


def test_an_expired_cursor_starts_the_listing_again(monkeypatch):
    monkeypatch.setattr(salesforce_org, "_BATCH", {"Sforce-Query-Options": "batchSize=200"})
    with world(cursor_seconds=-1) as w:
        for number in range(201):
            w.case(Subject=f"case {number}")
        with pytest.raises(Retry):
            list(w.connector.list_ids("Case", {}))


def test_the_scope_narrows_every_listing(w):
    inside, outside = w.case(Origin="Web"), w.case(Origin="Phone")
    scope = {"where": "Origin = 'Web' OR Origin = 'Email'"}
    records = [r for p in w.connector.changed_since("Case", LONG_AGO, [], scope) for r in p.records]
    assert [r.external_id for r in records] == [inside]
    assert [list(ids) for ids in w.connector.list_ids("Case", scope)] == [[inside]]
    assert w.connector.in_scope("Case", [inside, outside], scope) == {inside}
    found = w.connector.find_by_values("Case", "Subject", ["printer ON fire"], ["Subject"], scope)
    assert [r.external_id for r in found] == [inside]


def test_a_scope_that_is_no_condition_is_refused_before_anything_is_sent(w):
    w.connector.org.shape("Case")
    sent = len(w.app.requests)
    with pytest.raises(Refused, match="scope"):
        list(w.connector.list_ids("Case", {"where": "Id != null LIMIT 1"}))
    assert len(w.app.requests) == sent


def test_records_are_read_by_id_deleted_ones_included_and_absent_ones_left_out(w):
    case, deleted = w.case(Labels__c="login;api", OwnerId=w.jane, Effort__c=2.5, Due_Date__c="2026-12-24"), w.case()
    w.org.delete(deleted, w.jane)
    found = w.connector.get_many("Case", [case, deleted, "500000000000001", "no id'); --"], FIELDS)
    assert set(found) == {case, deleted} and found[deleted].deleted
    assert found[case].values["Labels__c"] == ["api", "login"]
    assert found[case].values["OwnerId"] == "jane.doe@acme.example"
    assert (found[case].values["Effort__c"], found[case].values["Due_Date__c"]) == (2.5, "2026-12-24")
    assert found[case].key == "00001001" and found[case].title == "Printer on fire"
    assert found[case].updated_by == w.jane and found[case].updated_by_name == "Jane Doe"


def test_a_short_id_is_answered_under_the_id_that_was_asked_for(w):
    case = w.case()
    assert set(w.connector.get_many("Case", [case[:15]], [])) == {case[:15]}


def test_two_hundred_records_are_one_call(w):
    ids = [w.case(Subject=f"case {n}") for n in range(200)]
    w.connector.org.shape("Case")
    before = len(w.app.calls())
    assert len(w.connector.get_many("Case", ids, FIELDS)) == 200
    assert len(w.app.calls()) == before + 1


def test_a_queue_as_owner_is_told_by_name(w):
    queue = w.org.create_queue("Tier 2")["Id"]
    case = w.case(OwnerId=queue)
    assert w.connector.get_many("Case", [case], ["OwnerId"])[case].values["OwnerId"] == "queue:Tier 2"


def test_comments_belong_to_their_case_oldest_first(w):
    case, other = w.case(), w.case()
    for text in ("one", "two"):
        w.org.create("CaseComment", {"ParentId": case, "CommentBody": text}, w.jane)
    found = w.connector.children("CaseComment", [case, other], ["CommentBody"])
    assert [r.values["CommentBody"] for r in found[case]] == ["one", "two"] and found[other] == []
    assert {r.parent_id for r in found[case]} == {case}


def test_lookups_by_value_ignore_case_and_survive_quotes(w):
    text = 'O\'Brien \\ 100% "x" ü'
    case = w.case(Reference__c=text)
    w.case(Reference__c="other")
    found = w.connector.find_by_values("Case", "Reference__c", [text.upper(), "' OR Id != '"], ["Reference__c"], {})
    assert [r.external_id for r in found] == [case]
    with pytest.raises(Refused):
        w.connector.find_by_values("Case", "Description", ["x"], [], {})
    with pytest.raises(Refused):
        w.connector.find_by_values("Case", "Effort__c", ["1) OR (Id != null"], [], {})


def test_history_tells_who_changed_what_with_people_by_address(w):
    case = w.case()
    w.org.edit(case, w.us, Priority="P1")
    w.org.edit(case, w.jane, OwnerId=w.us)
    found = w.connector.history("Case", [case], ["Priority", "OwnerId"], LONG_AGO)[case]
    by_field = {c.field: c for c in found}
    assert (by_field["Priority"].before, by_field["Priority"].after, by_field["Priority"].by) == ("P3", "P1", w.us)
    assert by_field["OwnerId"].after == "sync@acme.example" and by_field["OwnerId"].by_name == "Jane Doe"


def test_the_history_of_an_opportunity_is_asked_where_its_fields_are_and_not_its_stages(w):
    history = w.org.objects["CaseHistory"]
    of_case = {name: item for name, item in history.fields.items() if name != "CaseId"}
    owner = replace(history.fields["CaseId"], name="OpportunityId", reference_to=("Opportunity",))
    w.org.objects["Opportunity"] = replace(w.org.objects["Account"], name="Opportunity", prefix="006")
    w.org.objects["OpportunityFieldHistory"] = replace(
        history, name="OpportunityFieldHistory", fields={**of_case, "OpportunityId": owner}
    )
    w.org.tables |= {"Opportunity": {}, "OpportunityFieldHistory": {}}
    one = w.org.create("Opportunity", {"Name": "new"}, w.jane)["Id"]
    row = {"OpportunityId": one, "Field": "Name", "OldValue": "old", "NewValue": "new"}
    w.org.create("OpportunityFieldHistory", row, w.jane, force=True)
    (change,) = w.connector.history("Opportunity", [one], ["Name"], LONG_AGO)[one]
    assert (change.before, change.after, change.by) == ("old", "new", w.jane)


def test_without_history_there_is_none_and_no_error(w):
    assert w.connector.history("Account", [w.case()], ["Name"], LONG_AGO) == {}


# Writing -------------------------------------------------------------------------------------------------------------


def test_an_update_and_its_read_back_are_one_call(w):
    clock = [1_800_000_000.0]
    w.app.now = lambda: clock[0]
    case = w.case()
    clock[0] += 60
    version = version_of(w, case)
    before = len(w.app.calls())
    values = {"Subject": "O'Brien \\ %", "Labels__c": ["docs", "api"], "Description": "a\nb", "Effort__c": None}
    result = w.connector.update("Case", case, values, version, FIELDS)
    assert len(w.app.calls()) == before + 1
    assert {k: result.record.values[k] for k in values} == {**values, "Labels__c": ["api", "docs"]}
    assert result.record.updated_by == w.us
    assert w.org.get(case)["Description"] == "a\nb"


def test_an_update_under_an_old_version_writes_nothing(w):
    clock = [1_800_000_000.0]
    w.app.now = lambda: clock[0]
    case = w.case()
    version = version_of(w, case)
    clock[0] += 10
    w.org.edit(case, w.jane, Subject="Jane's")
    with pytest.raises(VersionMismatch):
        w.connector.update("Case", case, {"Subject": "ours"}, version, FIELDS)
    assert w.org.get(case)["Subject"] == "Jane's"


@pytest.mark.parametrize("many", [False, True])
def test_a_write_within_a_second_of_our_read_tells_an_edit_that_its_condition_could_not_see(w, many):
    clock = [1_800_000_000.0]
    w.app.now = lambda: clock[0]
    cases = [w.case(Priority="P1", Effort__c=1), w.case(Priority="P1")]
    clock[0] += 60
    for case in cases:  # a first edit, which we read
        w.org.edit(case, w.jane, Status="Working")
    versions = [version_of(w, case) for case in cases]
    w.org.edit(cases[0], w.jane, Priority="P2", Description="Hers", Effort__c=2, Subject="Hers")
    values = {"Subject": "Ours", "Priority": "P3", "Status": "New", "Description": "Ours"}
    before = len(w.app.calls())
    if many:
        updates = [Update(case, values, version) for case, version in zip(cases, versions, strict=True)]
        told = [result.replaced for result in w.connector.update_many("Case", updates, FIELDS)]
        assert len(w.app.calls()) == before + 2, "one look at the history for all"
    else:
        told = [w.connector.update("Case", c, values, v, FIELDS).replaced for c, v in zip(cases, versions, strict=True)]
        assert len(w.app.calls()) == before + 4
    # Where only her first edit was there to be replaced, it is told as well: the caller had read it.
    assert told == [{"Subject": "Hers", "Priority": "P2", "Status": "Working"}, {"Status": "Working"}]
    assert w.connector.update("Case", cases[0], {"Priority": "P1"}, version_of(w, cases[0]), FIELDS).replaced == {}


def test_a_write_whose_history_cannot_be_had_is_done_all_the_same(w):
    w.app.now = lambda: 1_800_000_000.0
    case = w.case()
    version = version_of(w, case)
    w.org.edit(case, w.jane, Priority="P2")
    w.app.fault("status", path="/query", status=500, times=9)
    result = w.connector.update("Case", case, {"Priority": "P3"}, version, FIELDS)
    assert (result.record.values["Priority"], result.replaced) == ("P3", {})


def test_text_that_looks_like_a_reference_is_written_as_text(w):
    case = w.case()
    text = "see @{read.body} and @{write.id}"
    assert w.connector.update("Case", case, {"Subject": text}, None, FIELDS).record.values["Subject"] == text
    created = w.connector.create("Case", {"Subject": text}, "key-1", {})
    assert created.record.values["Subject"] == text and created.record.correlation_key == "key-1"
    results = w.connector.update_many(
        "Case", [Update(case, {"Subject": text + "!"}), Update(w.case(), {"Subject": "x"})], FIELDS
    )
    assert [r.record.values["Subject"] for r in results] == [text + "!", "x"]


def test_a_404_in_other_words_than_salesforces_is_not_taken_for_a_record_that_is_gone(w):
    case = w.case()
    w.connector.get_many("Case", [case], [])
    w.app.fault("status", path="/services/data", status=404, body="<html>Down for maintenance.</html>", times=2)
    with pytest.raises(Retry, match="check the address"):
        w.connector.update("Case", case, {"Subject": "x"}, None, FIELDS)
    with pytest.raises(Retry, match="check the address"):
        w.connector.delete("Case", case)


def test_a_create_is_tried_again_where_its_object_is_hidden_for_now(w):
    w.case()
    hidden = [{"message": "The requested resource does not exist", "errorCode": "NOT_FOUND"}]
    w.app.fault("status", path="/composite", status=404, body=hidden, times=2)
    with pytest.raises(Retry, match="does not exist"):
        w.connector.create("Case", {"Subject": "x"}, "k1", {})
    (result,) = w.connector.create_many("Case", [Creation({"Subject": "x"}, "k1")], FIELDS, {})
    assert type(result) is Retry
    assert w.connector.create("Case", {"Subject": "x"}, "k1", {}).created


def test_archived_records_are_found_and_written_like_others_and_deleted_ones_are_not(w):
    w.org.add_field("Case", Field("IsArchived", "boolean", default=False, createable=False, updateable=False))
    w.connector.org.forget()
    old, gone = (w.case(Reference__c=name, SyncAdmin_Key__c=name) for name in ("old", "gone"))
    for one in (old, gone):
        w.org.tables["Case"][one]["IsArchived"] = True
    w.org.delete(gone, w.jane)
    keys, scope = ["old", "gone"], {"where": "Reference__c != null"}
    assert w.connector.in_scope("Case", [old, gone], scope) == {old}
    assert [id for page in w.connector.list_ids("Case", scope) for id in page] == [old]
    found = w.connector.find_by_values("Case", "Reference__c", keys, [], scope)
    assert [record.external_id for record in found] == [old]
    by_key = w.connector.find_by_correlation_key("Case", keys, [], {})
    assert {key: [record.external_id for record in records] for key, records in by_key.items()} == {"old": [old]}
    for subject in ("after", "a text with @{write.id}"):
        written = w.connector.update("Case", old, {"Subject": subject}, version_of(w, old), FIELDS)
        assert written.record.values["Subject"] == subject
    (many,) = w.connector.update_many("Case", [Update(old, {"Subject": "many"})], FIELDS)
    assert many.record.values["Subject"] == "many"
    assert w.connector.get_many("Case", [gone], [])[gone].deleted


def test_a_deleted_record_that_is_referred_to_is_a_refused_value_and_not_a_deletion(w):
    contact = w.org.create("Contact", {"LastName": "Doe"}, w.jane)["Id"]
    w.org.delete(contact, w.jane)
    case, values = w.case(), {"ContactId": contact, "Subject": "x"}
    with pytest.raises(Refused) as caught:
        w.connector.update("Case", case, values, version_of(w, case), FIELDS)
    assert list(caught.value.fields) == ["ContactId"]
    updates = [Update(case, values, version_of(w, case)), Update(w.case(), {"Subject": "y"}, None)]
    assert isinstance(w.connector.update_many("Case", updates, FIELDS)[0], Refused)
    with pytest.raises(Refused):
        w.connector.create("Case", values, "k1", {})
    assert isinstance(w.connector.create_many("Case", [Creation(values, "k2")], FIELDS, {})[0], Refused)
    w.org.delete(case, w.jane)
    with pytest.raises(Gone):
        w.connector.update("Case", case, {"ContactId": None, "Subject": "x"}, None, FIELDS)


def test_a_member_that_salesforce_would_part_is_refused_and_its_parts_are_not_set(w):
    case = w.case(Labels__c="vip")
    with pytest.raises(Refused, match="holds a semicolon") as caught:
        w.connector.update("Case", case, {"Labels__c": ["billing;customer", "vip"]}, None, FIELDS)
    assert list(caught.value.fields) == ["Labels__c"]
    refused, written = w.connector.update_many(
        "Case", [Update(case, {"Labels__c": ["a;b"]}), Update(w.case(), {"Labels__c": ["billing"]})], FIELDS
    )
    assert isinstance(refused, Refused) and written.record.values["Labels__c"] == ["billing"]
    assert w.org.get(case)["Labels__c"] == "vip"


def test_an_owner_is_written_by_address_or_queue(w):
    queue = w.org.create_queue("Tier 2")["Id"]
    case = w.case()
    w.connector.update("Case", case, {"OwnerId": "queue:Tier 2"}, None, FIELDS)
    assert w.org.get(case)["OwnerId"] == queue
    w.connector.update("Case", case, {"OwnerId": "JANE.doe@acme.example"}, None, FIELDS)
    assert w.org.get(case)["OwnerId"] == w.jane
    users = [r for r in w.app.calls("/query") if "FROM User" in r.query.get("q", "")]
    w.connector.update("Case", case, {"OwnerId": "jane.doe@acme.example"}, None, FIELDS)
    assert [r for r in w.app.calls("/query") if "FROM User" in r.query.get("q", "")] == users  # remembered


@pytest.mark.parametrize("who", ["nobody@acme.example", "gone@acme.example", "queue:Nope", "id:nonsense"])
def test_an_owner_salesforce_does_not_know_is_refused_by_name(w, who):
    w.org.create_user("Gone", "gone@acme.example", active=False)
    with pytest.raises(Refused) as caught:
        w.connector.update("Case", w.case(), {"OwnerId": who, "Subject": "x"}, None, FIELDS)
    assert list(caught.value.fields) == ["OwnerId"]


def test_two_people_of_one_address_are_told_apart_by_their_login_or_refused(w):
    for number in (1, 2):
        w.org.create_user(f"Twin {number}", "twin@acme.example", Username=f"twin{number}@acme.example")
    with pytest.raises(Refused, match="2 active"):
        w.connector.update("Case", w.case(), {"OwnerId": "twin@acme.example"}, None, FIELDS)


def test_of_two_queues_of_one_name_none_is_chosen(w):
    for name in ("Tier 2", "TIER 2"):
        w.org.create_queue(name)
    with pytest.raises(Refused, match="2 Salesforce queues") as caught:
        w.connector.update("Case", w.case(), {"OwnerId": "queue:Tier 2"}, None, FIELDS)
    assert list(caught.value.fields) == ["OwnerId"]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"Subject": "x" * 256}, "Subject"),
        ({"Priority": "P9"}, "Priority"),
        ({"Nope__c": "x"}, "Nope__c"),
    ],
)
def test_a_refused_value_names_its_field_and_nothing_is_written(w, values, field):
    case = w.case()
    with pytest.raises(Refused) as caught:
        w.connector.update("Case", case, {"Description": "also", **values}, None, FIELDS)
    assert list(caught.value.fields) == [field]
    assert w.org.get(case)["Description"] is None


def test_a_validation_rule_refuses_in_its_own_words(w):
    w.org.add_rule("Case", lambda new, old: ("Closed needs a reason", "Status") if new["Status"] == "Closed" else None)
    case = w.case()
    with pytest.raises(Refused, match="Closed needs a reason") as caught:
        w.connector.update("Case", case, {"Status": "Closed"}, None, FIELDS)
    assert list(caught.value.fields) == ["Status"]


def test_a_locked_row_is_tried_again_later(w):
    case = w.case()
    w.org.lock_row(case)
    with pytest.raises(Retry):
        w.connector.update("Case", case, {"Subject": "x"}, None, FIELDS)
    assert w.org.get(case)["Subject"] == "Printer on fire"


def test_a_deleted_record_is_gone_for_certain_and_an_unknown_one_is_not(w):
    case = w.case()
    w.org.delete(case, w.jane)
    with pytest.raises(Gone) as caught:
        w.connector.update("Case", case, {"Subject": "x"}, None, FIELDS)
    assert caught.value.certain
    with pytest.raises(Gone):
        w.connector.delete("Case", case)
    with pytest.raises(Gone) as caught:
        w.connector.update("Case", "500Hs00000zzzzz", {"Subject": "x"}, None, FIELDS)
    assert not caught.value.certain


def test_a_merged_record_names_the_one_that_is_left(w):
    master, loser = w.case(), w.case()
    w.org.delete(loser, w.jane)
    w.org.tables["Case"][loser]["MasterRecordId"] = master
    read = w.connector.get_many("Case", [loser, master], FIELDS)
    assert (read[loser].deleted, read[loser].merged_into) == (True, master)
    assert (read[master].deleted, read[master].merged_into) == (False, None)


def test_a_write_without_an_answer_is_uncertain_and_a_read_is_not(w):
    case = w.case()
    w.connector.org.shape("Case")
    w.app.fault("drop_after", method="POST", path="/composite")
    with pytest.raises(Uncertain):
        w.connector.update("Case", case, {"Subject": "written"}, None, FIELDS)
    assert w.org.get(case)["Subject"] == "written"
    w.app.fault("drop_before", path="/queryAll")
    with pytest.raises(Retry):
        w.connector.get_many("Case", [case], FIELDS)


def test_the_daily_limit_makes_the_whole_connection_wait(w):
    w.connector.object_types()
    w.app.daily_limit = 0
    with pytest.raises(RateLimited) as caught:
        w.connector.object_types()
    assert caught.value.after >= 300


def test_a_create_carries_its_key_and_the_same_key_makes_one_record(w):
    w.connector.org.shape("Case")
    before = len(w.app.calls())
    first = w.connector.create("Case", {"Subject": "new", "OwnerId": "sync@acme.example"}, "key 1 ü'", {})
    assert first.created and first.record.correlation_key == "key 1 ü'"
    assert len(w.app.calls()) == before + 2  # one of them looks the owner up
    second = w.connector.create("Case", {"Subject": "new"}, "key 1 ü'", {})
    assert not second.created and second.record.external_id == first.record.external_id
    assert len(w.org.cases()) == 1


def test_a_create_whose_answer_got_lost_is_found_by_its_key(w):
    w.connector.org.shape("Case")
    w.app.fault("drop_after", method="POST", path="/composite")
    with pytest.raises(Uncertain):
        w.connector.create("Case", {"Subject": "new"}, "key-1", {})
    found = w.connector.find_by_correlation_key("Case", ["KEY-1", "key-2"], ["Subject"], {})
    assert list(found) == ["KEY-1"] and found["KEY-1"][0].values["Subject"] == "new"
    assert [r.external_id for r in w.connector.own_recent("Case", LONG_AGO, [], {})] == [found["KEY-1"][0].external_id]


def test_a_taken_key_is_answered_with_the_record_that_has_it(w):
    case = w.case(SyncAdmin_Key__c="key-1")
    w.connector.org.shape("Case")
    result = w.connector.create("Case", {"Subject": "see @{x.y}"}, "key-1", {})  # goes as a plain create
    assert not result.created and result.record.external_id == case and len(w.org.cases()) == 1


def test_without_a_key_field_creates_are_made_and_looked_for_among_our_own(w):
    case = w.case()
    assert not w.connector.capabilities_of("CaseComment").create_lookup_consistent
    assert w.connector.capabilities_of("Case").create_lookup_consistent
    made = w.connector.create("CaseComment", {"CommentBody": "hello"}, "key-1", {}, parent_id=case)
    assert made.created and made.record.parent_id == case
    w.org.create("CaseComment", {"ParentId": case, "CommentBody": "hello"}, w.jane)
    own = w.connector.own_recent("CaseComment", LONG_AGO, ["CommentBody"], {})
    assert [r.external_id for r in own] == [made.record.external_id]
    assert w.connector.find_by_correlation_key("CaseComment", ["key-1"], [], {}) == {}
    w.connector.write_correlation_key("CaseComment", made.record.external_id, "key-1")


def test_without_a_key_field_a_create_that_cannot_be_read_back_names_its_record(w):
    case = w.case()
    w.connector.org.shape("CaseComment")
    w.app.fault("drop_before", method="GET", path="/query")
    with pytest.raises(Uncertain) as caught:
        w.connector.create("CaseComment", {"CommentBody": "hello"}, "key-1", {}, parent_id=case)
    assert list(w.connector.get_many("CaseComment", [caught.value.external_id], [])) == [caught.value.external_id]


def test_an_existing_record_is_given_its_key(w):
    case = w.case()
    w.connector.write_correlation_key("Case", case, "key-9")
    assert w.org.get(case)["SyncAdmin_Key__c"] == "key-9"


def test_a_delete_moves_the_record_to_the_bin(w):
    case = w.case()
    w.connector.delete("Case", case)
    assert w.connector.get_many("Case", [case], [])[case].deleted


def test_few_updates_are_each_under_their_version(w):
    clock = [1_800_000_000.0]
    w.app.now = lambda: clock[0]
    fresh, changed, refused, gone = (w.case(Subject=str(n)) for n in range(4))
    versions = {c: version_of(w, c) for c in (fresh, changed, refused, gone)}
    clock[0] += 60
    w.org.edit(changed, w.jane, Subject="Jane's")
    w.org.delete(gone, w.jane)
    updates = [
        Update(fresh, {"Subject": "ours"}, versions[fresh]),
        Update(changed, {"Subject": "ours"}, versions[changed]),
        Update(refused, {"Priority": "P9"}, versions[refused]),
        Update(gone, {"Subject": "ours"}, versions[gone]),
    ]
    before = len(w.app.calls())
    results = w.connector.update_many("Case", updates, FIELDS)
    assert len(w.app.calls()) == before + 1
    assert [type(r) for r in results] == [WriteResult, VersionMismatch, Refused, Gone]
    assert w.org.get(changed)["Subject"] == "Jane's" and w.org.get(fresh)["Subject"] == "ours"


def test_many_updates_overwrite_no_edit_made_after_our_read_either(w):
    clock = [1_800_000_000.0]
    w.app.now = lambda: clock[0]
    cases = [w.case(Subject=str(n)) for n in range(25)]
    updates = [Update(c, {"Subject": "ours"}, version_of(w, c)) for c in cases]
    clock[0] += 60
    w.org.edit(cases[17], w.jane, Subject="Jane's")
    before = len(w.app.calls())
    results = w.connector.update_many("Case", updates, FIELDS)
    assert len(w.app.calls()) == before + 3, "ten to a call"
    assert [n for n, r in enumerate(results) if isinstance(r, VersionMismatch)] == [17]
    assert [w.org.get(c)["Subject"] for c in cases] == ["Jane's" if n == 17 else "ours" for n in range(25)]


def test_many_updates_without_versions_are_one_call_with_a_result_for_each(w):
    cases = [w.case(Subject=f"case {n}") for n in range(200)]
    w.connector.org.shape("Case")
    w.org.delete(cases[7], w.jane)
    updates = [Update(c, {"Subject": "x" * (256 if n == 3 else 5)}) for n, c in enumerate(cases)]
    before = len(w.app.calls())
    results = w.connector.update_many("Case", updates, FIELDS)
    assert len(w.app.calls()) == before + 1
    assert isinstance(results[3], Refused) and list(results[3].fields) == ["Subject"]
    assert isinstance(results[7], Gone)
    assert sum(isinstance(r, WriteResult) and r.record.values["Subject"] == "xxxxx" for r in results) == 198


def test_many_creates_are_one_call_and_can_be_sent_again(w):
    creations = [Creation({"Subject": f"case {n}"}, f"key-{n}") for n in range(50)]
    creations[9] = Creation({"Priority": "P9"}, "key-9")
    w.connector.org.shape("Case")
    before = len(w.app.calls())
    results = w.connector.create_many("Case", creations, FIELDS, {})
    assert len(w.app.calls()) == before + 1
    assert isinstance(results[9], Refused)
    assert [r.record.values["Subject"] for n, r in enumerate(results) if n != 9] == [
        f"case {n}" for n in range(50) if n != 9
    ]
    again = w.connector.create_many("Case", creations[:3], FIELDS, {})
    assert [r.created for r in again] == [False, False, False] and len(w.org.cases()) == 49


def test_our_writes_carry_our_client_name_and_it_differs_between_connections(w):
    other = w.open("another")
    assert w.connector.org.client != other.org.client
    w.connector.update("Case", w.case(), {"Subject": "x"}, None, FIELDS)
    assert w.app.requests[-1].headers["sforce-call-options"] == f"client={w.connector.org.client}"
    assert json.loads(w.app.requests[-1].body)["allOrNone"] is True


def test_no_write_runs_the_assignment_rules(w):
    w.connector.update("Case", w.case(), {"Subject": "x"}, None, FIELDS)
    w.connector.create("Case", {"Subject": "y"}, "key-1", {})
    sent = w.app.calls("/composite")
    assert len(sent) == 2
    for request in sent:
        assert request.headers["sforce-auto-assign"] == "FALSE"
        assert request.json()["compositeRequest"][0]["httpHeaders"]["Sforce-Auto-Assign"] == "FALSE"


def test_no_bulk_write_runs_the_assignment_rules(w):
    """Neither a collection, nor conditional writes one by one in a call, nor new records."""
    cases = [w.case(), w.case()]
    for version in (None, "2099-01-01T00:00:00Z"):
        w.connector.update_many("Case", [Update(c, {"Subject": "x"}, version) for c in cases], FIELDS)
    w.connector.create_many("Case", [Creation({"Subject": "y"}, f"key-{n}") for n in range(2)], FIELDS, {})
    sent = w.app.calls("/composite")
    writes = [[one for one in r.json()["compositeRequest"] if one["method"] != "GET"] for r in sent]
    assert [len(one) for one in writes] == [1, 2, 1] and len(w.org.cases()) == 4
    assert {request.headers["sforce-auto-assign"] for request in sent} == {"FALSE"}
    assert {one["httpHeaders"].get("Sforce-Auto-Assign") for call in writes for one in call} == {"FALSE"}


def test_a_bulk_write_without_an_answer_is_uncertain_for_its_records_only(w):
    alone, together = w.case(), [w.case(), w.case()]
    w.connector.org.shape("Case")
    w.app.fault("drop_after", method="POST", path="/composite")
    updates = [Update(alone, {"Subject": "@{x.y}"}), *(Update(c, {"Subject": "x"}) for c in together)]
    results = w.connector.update_many("Case", updates, FIELDS)
    assert [type(r) for r in results] == [WriteResult, Uncertain, Uncertain]


def test_a_field_hidden_between_write_and_read_back_does_not_hide_the_write(w):
    cases = [w.case(), w.case()]
    w.connector.org.shape("Case")
    w.org.set_field("Case", "Description", hidden=True)
    results = w.connector.update_many("Case", [Update(c, {"Subject": "x"}) for c in cases], FIELDS)
    assert [r.record.values["Subject"] for r in results] == ["x", "x"]
    assert all("Description" in r.record.unreadable for r in results)


def test_a_deep_link_leads_to_the_record(w):
    assert w.connector.url_of("Case", "500x", None) == f"{w.address}/lightning/r/Case/500x/view"
