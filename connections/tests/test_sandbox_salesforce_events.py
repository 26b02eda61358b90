"""The Salesforce stand-in's change events: their form, their replay, and the sessions that carry them."""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from connections.sandbox.salesforce_schema import Field
from connections.tests.evidence import needs_evidence, payload, same_shape
from connections.tests.salesforce_client import Client

CASES = "/data/CaseChangeEvent"


@pytest.fixture
def org():
    return Client()


def header(event):
    return event["data"]["payload"]["ChangeEventHeader"]


def body(event):
    return {k: v for k, v in event["data"]["payload"].items() if k != "ChangeEventHeader"}


def replay(event):
    return event["data"]["event"]["replayId"]


def test_an_api_write_is_announced_with_its_client_and_new_values_only(org):
    case = org.case(Description="text")
    client = org.subscribe()
    org.clock.tick(5)
    org.call("PATCH", f"sobjects/Case/{case}", {"Priority": "P1", "Description": None})
    [event] = org.poll(client)
    assert event["channel"] == CASES
    told = header(event)
    assert (told["entityName"], told["changeType"], told["recordIds"]) == ("Case", "UPDATE", [case])
    assert told["changeOrigin"] == "com/salesforce/api/rest/62.0;client=SyncAdmin"
    assert told["commitUser"] == org.api
    assert told["commitTimestamp"] == int(org.clock.at) * 1000
    assert set(told["changedFields"]) == {"Priority", "Description", "LastModifiedById", "LastModifiedDate"}
    assert body(event) == {
        "LastModifiedDate": "2026-01-01T00:00:05Z",
        "Priority": "P1",
        "Description": None,
        "LastModifiedById": org.api,
    }


def test_a_person_in_the_pages_has_the_vendors_own_origin_and_a_nameless_client_none(org):
    case = org.case()
    client = org.subscribe()
    org.org.edit(case, org.ana, Subject="By hand")
    org.call("PATCH", f"sobjects/Case/{case}", {"Subject": "By program"}, Sforce_Call_Options="")
    origins = [header(e)["changeOrigin"] for e in org.poll(client)]
    assert origins == ["com/salesforce/api/soap/62.0;client=SfdcInternalAPI/", "com/salesforce/api/rest/62.0"]


def test_creates_deletes_and_undeletes_are_told(org):
    client = org.subscribe("/data/ChangeEvents")
    case = org.case(Effort__c=2)
    comment = org.org.create("CaseComment", {"ParentId": case, "CommentBody": "hi"}, org.ana)["Id"]
    org.org.delete(case, org.ana)
    org.org.undelete(case, org.ana)
    events = org.poll(client)
    assert [(header(e)["changeType"], header(e)["recordIds"]) for e in events] == [
        ("CREATE", [case]),
        ("CREATE", [comment]),
        ("DELETE", [case]),
        ("DELETE", [comment]),
        ("UNDELETE", [case]),
        ("UNDELETE", [comment]),
    ]
    assert body(events[0])["Effort__c"] == 2.0
    assert "Description" not in body(events[0])  # empty fields are left out
    assert "SystemModstamp" not in body(events[0])
    assert body(events[2]) == {}
    assert [replay(e) for e in events] == sorted({replay(e) for e in events})


def test_equal_changes_of_one_transaction_are_merged_into_one_event(org):
    cases = [org.case() for _ in range(3)]
    client = org.subscribe()
    records = [{"attributes": {"type": "Case"}, "id": c, "Priority": "P1"} for c in cases]
    org.call("PATCH", "composite/sobjects", {"records": records})
    [event] = org.poll(client)
    assert header(event)["recordIds"] == cases


def test_a_small_edit_of_a_long_text_comes_as_a_difference(org):
    lines = [f"line {n} " + "x" * 60 for n in range(40)]
    case = org.case(Description="\n".join(lines))
    client = org.subscribe()
    lines[3] = "changed"
    new = "\n".join(lines)
    org.org.edit(case, org.ana, Description=new)
    org.org.edit(case, org.ana, Description="short now")
    small, large = org.poll(client)
    text = body(small)["Description"]["diff"]
    assert text.startswith(f"--- \n+++ {hashlib.sha256(new.encode()).hexdigest()}\n@@ -4")
    assert "\n+changed" in text
    assert body(large)["Description"] == "short now"


def test_a_refused_write_is_not_announced(org):
    case = org.case()
    client = org.subscribe()
    org.call("PATCH", f"sobjects/Case/{case}", {"Priority": "P9"})
    assert org.poll(client) == []


def test_a_names_parts_come_nested(org):
    client = org.subscribe("/data/UserChangeEvent")
    org.org.create_user("Eva Maria Lang")
    [event] = org.poll(client)
    assert body(event)["Name"] == {"FirstName": "Eva Maria", "LastName": "Lang"}


def test_replay_starts_after_the_given_event(org):
    first, second, third = org.case(), org.case(), org.case()
    everything = org.poll(org.subscribe(replay=-2))
    assert [header(e)["recordIds"] for e in everything] == [[first], [second], [third]]
    later = org.poll(org.subscribe(replay=replay(everything[1])))
    assert [header(e)["recordIds"] for e in later] == [[third]]
    assert org.poll(org.subscribe(replay=replay(everything[2]))) == []
    assert org.poll(org.subscribe(replay=-1)) == []


def test_a_replay_id_older_than_three_days_is_invalid(org):
    org.case()
    [old] = org.poll(org.subscribe(replay=-2))
    org.clock.tick(73 * 3600)
    org.sign_in()
    client = org.subscribe(replay=-2)
    assert org.poll(client) == []
    for number in (replay(old), 1, 2**40, "soon"):
        answer = org.ask_for(client, CASES, number)
        assert answer["successful"] is False
        assert answer["error"].startswith(f"400::The replayId {{{number}}} you provided was invalid.")


def test_a_channel_that_does_not_exist_is_refused(org):
    client = org.subscribe()
    for channel in ("/data/GroupChangeEvent", "/data/Nope__ChangeEvent", "/event/Some__e"):
        assert "does not exist" in org.ask_for(client, channel, -1)["error"]


def test_gap_and_overflow_events_carry_no_data(org):
    case = org.case()
    client = org.subscribe()
    org.app.bus.gap("Case", [case])
    org.app.bus.overflow("Case")
    gap, overflow = org.poll(client)
    assert (header(gap)["changeType"], header(gap)["recordIds"], body(gap)) == ("GAP_UPDATE", [case], {})
    assert (header(overflow)["changeType"], body(overflow)) == ("GAP_OVERFLOW", {})


def test_a_cut_bell_loses_what_happens_meanwhile(org):
    case = org.case()
    client = org.subscribe()
    org.app.bus.muted = True
    org.org.edit(case, org.ana, Subject="unheard")
    org.app.bus.muted = False
    org.org.edit(case, org.ana, Subject="heard")
    assert [body(e)["Subject"] for e in org.poll(client)] == ["heard"]


def test_the_schema_id_changes_with_the_fields(org):
    case = org.case()
    client = org.subscribe()
    org.org.edit(case, org.ana, Subject="a")
    org.org.add_field("Case", Field("Team__c", length=40))
    org.org.edit(case, org.ana, Team__c="Red")
    before, after = org.poll(client)
    assert before["data"]["schema"] != after["data"]["schema"]
    assert body(after)["Team__c"] == "Red"


def test_a_forgotten_session_is_told_to_shake_hands_again(org):
    client = org.subscribe()
    org.app.cometd.forget_sessions()
    [answer] = org.stream(channel="/meta/connect", clientId=client, connectionType="long-polling")
    assert (answer["error"], answer["advice"]["reconnect"]) == ("403::Unknown client", "handshake")
    client = org.subscribe()
    org.clock.tick(111)
    assert org.ask_for(client, CASES, -1)["error"] == "403::Unknown client"


def test_an_ended_sign_in_stops_the_session_and_refuses_a_new_one(org):
    client = org.subscribe()
    org.app.oauth.expire_all()
    [answer] = org.stream(channel="/meta/connect", clientId=client, connectionType="long-polling")
    assert (answer["error"], answer["advice"]["reconnect"]) == ("401::Authentication invalid", "none")
    [answer] = org.stream(channel="/meta/handshake", version="1.0", supportedConnectionTypes=["long-polling"])
    assert answer["error"] == "403::Handshake denied"
    assert answer["ext"]["sfdc"]["failureReason"] == "401::Authentication invalid"


def test_leaving_a_channel_or_the_server_ends_the_events(org):
    client = org.subscribe()
    org.stream(channel="/meta/unsubscribe", clientId=client, subscription=CASES)
    org.case()
    assert org.poll(client) == []
    assert org.stream(channel="/meta/disconnect", clientId=client)[0]["successful"] is True
    assert org.stream(channel="/meta/disconnect", clientId=client)[0]["error"] == "403::Unknown client"


def test_other_messages_are_refused(org):
    assert org.stream(channel="/chat/room", data="hi")[0]["successful"] is False
    client = org.subscribe()
    [answer] = org.stream(channel="/meta/connect", clientId=client, connectionType="websocket")
    assert answer["error"] == "400::Invalid connection type {websocket}"


def _waiting(org, client):
    """A poll in a thread of its own, and the list its events will be in; returns once it waits."""
    org.app.cometd.connect_seconds = 20
    events = []
    thread = threading.Thread(target=lambda: events.extend(org.poll(client)))
    thread.start()
    session = org.app.cometd.sessions[client]
    deadline = time.monotonic() + 5
    while session.polls < 2 and time.monotonic() < deadline:
        time.sleep(0.002)
    return thread, events


def test_a_waiting_poll_blocks_nobody_and_wakes_at_once(org):
    case = org.case()
    thread, events = _waiting(org, org.subscribe())
    started = time.monotonic()
    assert org.call("GET", f"sobjects/Case/{case}").status == 200
    assert org.call("PATCH", f"sobjects/Case/{case}", {"Subject": "news"}).status == 204
    thread.join(10)
    assert time.monotonic() - started < 10, "and not at the end of the poll"
    assert [body(e)["Subject"] for e in events] == ["news"]


def test_a_second_poll_takes_the_place_of_the_first(org):
    client = org.subscribe()
    thread, events = _waiting(org, client)
    org.app.cometd.connect_seconds = 0
    assert org.poll(client) == []
    org.case()
    thread.join(5)
    assert not thread.is_alive()
    assert events == []
    assert len(org.poll(client)) == 1


def test_closing_lets_waiting_polls_go(org):
    thread, events = _waiting(org, org.subscribe())
    org.app.close()
    thread.join(5)
    assert (thread.is_alive(), events) == (False, [])


def test_retention_and_writes_at_the_same_time_do_not_lock_each_other(org):
    for _ in range(5):
        org.case()
    org.clock.tick(73 * 3600)
    org.sign_in()
    with ThreadPoolExecutor(20) as pool:
        writes = [pool.submit(org.case) for _ in range(10)]
        subscriptions = [pool.submit(org.subscribe, replay=-2) for _ in range(10)]
        results = [future.result(timeout=10) for future in writes + subscriptions]
    assert len(set(results)) == 20
    assert len(org.app.bus.events) == 10


@needs_evidence
def test_events_have_the_recorded_form(org):
    client = org.subscribe()
    case = org.case()
    org.org.edit(case, org.ana, Subject="changed")
    created, updated = org.poll(client)
    own = {"First_Name__c", "Last_Name__c", "Tenure__c", "Name"}  # the recorded object's own fields
    for name, event in (("cdc_create", created), ("cdc_update", updated)):
        recorded = payload(f"salesforce/{name}")
        wanted = {k: v for k, v in recorded["data"]["payload"].items() if k not in own}
        recorded["data"]["payload"] = wanted
        assert same_shape(recorded, event, missing=True) == []
        assert set(header(recorded)) - set(header(event)) == set()
        assert set(header(event)) - set(header(recorded)) <= {"changedFields"}
        assert len(event["data"]["schema"]) == len(recorded["data"]["schema"])
        assert len(body(event)["LastModifiedDate"]) == len(body(recorded)["LastModifiedDate"])
        assert header(event)["changeType"] == header(recorded)["changeType"]
