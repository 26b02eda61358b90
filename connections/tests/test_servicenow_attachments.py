"""Attachments of ServiceNow's tasks: contents, limits, refusals, deletions; and the stand-in's Attachment API."""

from __future__ import annotations

import base64
import time

import pytest

from connections.connectors import servicenow_attachments as attachments
from connections.connectors.base import Gone, NotAllowed, Refused, Retry, Uncertain
from connections.connectors.servicenow_attachments import FILES_AT_ONCE, LARGEST_CONTENT
from connections.tests.evidence import EVIDENCE, check_answer, needs_evidence, spec
from connections.tests.servicenow_client import Client
from connections.tests.servicenow_world import World, check_all_requests, world

FILES = "incident.attachment"
KNOWN = ["file_name", "content_type", "size_bytes", "author", "created"]
API = "/api/now/v1/attachment"
UNKNOWN = "0" * 32
PICTURE = bytes(range(256)) * 4  # no text in any encoding


@pytest.fixture
def w():
    with world() as found:
        yield found
        if (EVIDENCE / "specs").is_dir():
            check_all_requests(found)


def attach(w: World, incident: str, content: bytes = PICTURE, name: str = "picture.png") -> str:
    return w.records.attach("incident", incident, name, content, "jane.doe", "image/png")["sys_id"]


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def file_calls(w: World) -> list[str]:
    return w.app.calls("/attachment")


def written(data: bytes = b"log", **more: str) -> dict[str, str]:
    return {"file_name": "log.txt", "content": encoded(data), **more}


# What there is -------------------------------------------------------------------------------------------------------


def test_fields_say_that_a_file_is_added_and_never_changed(w):
    fields = {field.path: field for field in w.connector.fields(FILES, {})}
    assert not any(field.writable for field in fields.values())
    assert {path for path, field in fields.items() if field.creatable} == {"file_name", "content_type", "content"}
    assert fields["content"].max_length == len(encoded(b"x" * LARGEST_CONTENT))


def test_a_file_tells_what_is_known_of_it_in_one_call_and_its_content_in_another(w):
    incident = w.incident()
    id = attach(w, incident)
    [record] = w.connector.children(FILES, [incident], KNOWN)[incident]
    assert dict(record.values) == {
        "file_name": "picture.png",
        "content_type": "image/png",
        "size_bytes": 1024,
        "author": "jane.doe",
        "created": record.created_at,
    }
    assert (record.external_id, record.title, record.parent_id) == (id, "picture.png", incident)
    assert file_calls(w) == []
    [record] = w.connector.children(FILES, [incident], ["content"])[incident]
    assert dict(record.values) == {"content": encoded(PICTURE)}
    assert file_calls(w) == [f"GET {API}/{id}/file"]


def test_the_files_of_a_hundred_tasks_are_one_call(w):
    parents = [w.incident() for _ in range(100)]
    ids = [attach(w, parent) for parent in parents]
    before = len(w.app.requests)
    found = w.connector.children(FILES, parents, KNOWN)
    assert [found[parent][0].external_id for parent in parents] == ids
    assert len(w.app.requests) - before == 1


def test_files_of_another_table_are_no_records_of_this_one(w):
    incident, user = w.incident(), w.jane
    own, photo = attach(w, incident), w.records.attach("ZZ_YYsys_user", user, "photo", b"x", "jane.doe")["sys_id"]
    assert set(w.connector.get_many(FILES, [own, photo], KNOWN)) == {own}
    assert [r.external_id for page in w.connector.changed_since(FILES, None, KNOWN, {}) for r in page.records] == [own]


def test_a_link_leads_to_the_file(w):
    assert w.connector.url_of(FILES, UNKNOWN, None) == f"{w.address}/sys_attachment.do?sys_id={UNKNOWN}"


# Contents ------------------------------------------------------------------------------------------------------------


def test_a_content_up_to_the_limit_is_read_and_a_larger_one_is_unreadable_and_not_asked_for(w):
    incident = w.incident()
    fits, larger = attach(w, incident, b"x" * LARGEST_CONTENT), attach(w, incident, b"x" * (LARGEST_CONTENT + 1))
    found = w.connector.get_many(FILES, [fits, larger], ["file_name", "content"])
    assert found[fits].values["content"] == encoded(b"x" * LARGEST_CONTENT)
    assert found[larger].unreadable == {"content"} and found[larger].values == {"file_name": "picture.png"}
    assert file_calls(w) == [f"GET {API}/{fits}/file"]


def test_an_empty_file_has_no_content(w):
    id = attach(w, w.incident(), b"")
    assert w.connector.get_many(FILES, [id], ["content", "size_bytes"])[id].values == {"content": None, "size_bytes": 0}


@pytest.mark.parametrize(
    "content", [b'{"error": {"message": "kept"}, "status": "failure"}', b"<html>Log in</html>", b"null"]
)
def test_a_file_may_say_anything(w, content):
    id = attach(w, w.incident(), content)
    assert w.connector.get_many(FILES, [id], ["content"])[id].values == {"content": encoded(content)}


@pytest.mark.parametrize(
    "answer",
    [
        {"kind": "status", "status": 404, "body": {"error": {"message": "No Record found", "detail": None}}},
        {"kind": "status", "status": 403, "body": {"error": {"message": "User Not Authorized", "detail": None}}},
        {"kind": "status", "status": 200, "body": b"half of i"},
    ],
)
def test_a_content_that_is_hidden_or_not_whole_is_unreadable_and_holds_nothing_up(w, answer):
    incident = w.incident()
    first, second = attach(w, incident), attach(w, incident)
    w.app.fault(path=f"{first}/file", **answer)
    found = w.connector.get_many(FILES, [first, second], ["file_name", "content"])
    assert found[first].unreadable == {"content"} and found[first].values["file_name"] == "picture.png"
    assert found[second].values["content"] == encoded(PICTURE)


@pytest.mark.parametrize(
    "answer",
    [
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 200, "body": "<html><title>Log in</title><body>password</body></html>"},
        {"kind": "status", "status": 302, "headers": {"Location": "/login.do"}},
        {"kind": "drop_after"},
    ],
)
def test_a_content_that_could_not_be_asked_for_is_asked_for_again(w, answer):
    id = attach(w, w.incident())
    w.app.fault(path=f"{id}/file", **answer)
    with pytest.raises(Retry):
        w.connector.get_many(FILES, [id], ["content"])


def test_pages_with_contents_are_short(w):
    incident = w.incident()
    w.app.now = lambda: time.time() - 60
    for _ in range(FILES_AT_ONCE + 1):
        attach(w, incident)
    w.app.now = time.time
    pages = [page.records for page in w.connector.changed_since(FILES, None, ["content"], {})]
    assert [len(page) for page in pages] == [FILES_AT_ONCE, 1]
    assert w.connector.capabilities_of(FILES).bulk_read == FILES_AT_ONCE
    assert [len(page.records) for page in w.connector.changed_since(FILES, None, KNOWN, {})] == [FILES_AT_ONCE + 1]


def test_a_hidden_column_is_unreadable_and_a_file_without_its_task_is_not_believed(w):
    id = attach(w, w.incident())
    w.app.hidden_columns.add(("sys_attachment", "content_type"))
    assert w.connector.get_many(FILES, [id], KNOWN)[id].unreadable == {"content_type"}
    w.app.hidden_columns.add(("sys_attachment", "table_sys_id"))
    with pytest.raises(Retry, match="read access to sys_attachment"):
        w.connector.get_many(FILES, [id], KNOWN)


# Writes --------------------------------------------------------------------------------------------------------------


def test_a_file_is_sent_as_it_is_in_one_call_and_read_back(w):
    incident = w.incident()
    values = {"file_name": "a b+c.png", "content_type": "image/png", "content": encoded(PICTURE)}
    made = w.connector.create(FILES, values, "k", {}, incident)
    assert made.created and made.record.created_by == "syncadmin" and made.record.parent_id == incident
    assert {path: made.record.values[path] for path in values} == values
    assert file_calls(w) == [f"POST {API}/file"]
    assert w.records.content(made.record.external_id) == PICTURE
    assert w.connector.get_many(FILES, [made.record.external_id], list(values)).popitem()[1].values == values


def test_a_file_of_no_known_type_is_one_of_bytes(w):
    made = w.connector.create(FILES, written(), "k", {}, w.incident())
    assert made.record.values["content_type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (written(b""), {"content"}),
        (written(content="not base64"), {"content"}),
        (written(content="YWJj\nZGVm"), {"content"}),
        (written(content="Größe"), {"content"}),
        (written(b"x" * (LARGEST_CONTENT + 1)), {"content"}),
        (written(file_name=" "), {"file_name"}),
        (written(content_type="text"), {"content_type"}),
        (written(content_type="text/plain\r\nX-Other: 1"), {"content_type"}),
        (written(size_bytes="3", author="me"), {"size_bytes", "author"}),
        ({"content_type": "?"}, {"content", "content_type", "file_name"}),
    ],
)
def test_what_can_be_no_file_is_refused_by_name_before_anything_is_sent(w, values, named):
    with pytest.raises(Refused, match="Nothing was written") as caught:
        w.connector.create(FILES, values, "k", {}, w.incident())
    assert set(caught.value.fields) == named
    assert file_calls(w) == []


def test_a_file_that_the_instance_finds_too_large_is_refused_by_name(w):
    incident = w.incident()
    w.app.largest_file = 2
    with pytest.raises(Refused, match="exceeds 2 bytes") as caught:
        w.connector.create(FILES, written(), "k", {}, incident)
    assert set(caught.value.fields) == {"content"}
    assert w.records.rows("sys_attachment") == {}


def test_a_task_that_may_not_be_written_takes_no_file(w):
    incident = w.incident()
    w.app.forbidden.add(("write", "incident"))
    with pytest.raises(NotAllowed, match="security constraints"):
        w.connector.create(FILES, written(), "k", {}, incident)


def test_a_file_that_is_not_shown_after_its_upload_is_uncertain_and_one_cut_short_is_not_believed(w):
    incident = w.incident()
    for answer in ({"result": None}, {"result": {"sys_id": UNKNOWN}}, {}):
        w.app.fault("status_after", method="POST", path="/file$", status=201, body=answer)
        with pytest.raises(Uncertain):
            w.connector.create(FILES, written(), "k", {}, incident)
    w.app.fault("drop_after", method="POST", path="/file$")
    with pytest.raises(Uncertain):
        w.connector.create(FILES, written(), "k", {}, incident)
    assert len(w.connector.own_recent(FILES, "2000-01-01T00:00:00Z", ["content"], {})) == 4
    row = dict(next(iter(w.records.rows("sys_attachment").values())))
    w.app.fault("status", method="POST", path="/file$", status=201, body={"result": {**row, "size_bytes": "2"}})
    assert w.connector.create(FILES, written(), "k", {}, incident).record.unreadable == {"content"}


def test_an_update_says_what_to_do_instead(w):
    id = attach(w, w.incident())
    with pytest.raises(Refused, match=r"cannot be changed.*Let the rule be one-way"):
        w.connector.update(FILES, id, {"file_name": "other"}, None, [])


# Deletions -----------------------------------------------------------------------------------------------------------


def test_deletions_of_people_are_told_by_the_delete_log_in_the_same_call(w):
    incident = w.incident()
    id, other = attach(w, incident), attach(w, incident)
    *_, last = w.connector.changed_since(FILES, None, [], {})
    w.records.delete("sys_attachment", id, "jane.doe")
    before = len(w.app.requests)
    back = w.connector.shift_watermark(last.watermark, 5)
    found = {r.external_id: r for page in w.connector.changed_since(FILES, back, [], {}) for r in page.records}
    assert found[id].deleted and found[id].updated_by == "jane.doe" and not found[other].deleted
    assert len(w.app.requests) - before == 1
    assert w.connector.capabilities_of(FILES).lists_deletions


def test_where_files_are_not_audited_deletions_are_not_promised_and_changes_flow(w):
    dictionary = w.records.rows("sys_dictionary")
    own = next(r for r in dictionary.values() if r["name"] == "sys_attachment" and not r.get("element"))
    w.records.edit("sys_dictionary", own["sys_id"], {"audit": "false"}, "admin")
    w.connector.instance.forget()
    assert not w.connector.capabilities_of(FILES).lists_deletions
    id = attach(w, w.incident())
    *_, last = w.connector.changed_since(FILES, None, [], {})
    assert [r.external_id for page in w.connector.changed_since(FILES, last.watermark, [], {}) for r in page.records]
    w.connector.delete(FILES, id)
    assert w.records.rows("sys_attachment") == {}


def test_a_delete_log_that_cannot_be_read_stops_the_poll(w):
    attach(w, w.incident())
    *_, last = w.connector.changed_since(FILES, None, [], {})
    w.app.forbidden.add(("read", "sys_audit_delete"))
    with pytest.raises(NotAllowed, match="delete log"):
        list(w.connector.changed_since(FILES, last.watermark, [], {}))
    swept = w.open(deletions="sweep")
    assert not swept.capabilities_of(FILES).lists_deletions
    assert list(swept.changed_since(FILES, last.watermark, [], {}))


# Rights --------------------------------------------------------------------------------------------------------------


def test_the_check_names_the_right_to_read_files_and_minds_no_files_of_other_tables(w):
    hidden = w.records.attach("sys_user", w.jane, "photo", b"x", "jane.doe")["sys_id"]
    w.app.hidden_rows.add(hidden)
    attach(w, w.incident())
    assert w.connector.check().missing == []
    w.app.forbidden.add(("read", "sys_attachment"))
    assert "Read sys_attachment (attachments)" in " ".join(w.connector.check().missing)


# The stand-in's own API ----------------------------------------------------------------------------------------------


@needs_evidence
def test_the_stand_in_answers_as_described():
    site = Client()
    incident = site.incident()
    headers = {"Authorization": site.credentials, "Content-Type": "text/plain"}
    where = {"table_name": "incident", "table_sys_id": incident, "file_name": "a.txt"}
    made = site.send("POST", f"{API}/file", where, b"abc", headers)
    assert made.status == 201
    check_answer("servicenow_attachments", "POST", f"{API}/file", 201, made.body)
    id = made.body["result"]["sys_id"]
    for path in (API, f"{API}/{id}"):
        found = site.call("GET", path, query=f"table_sys_id={incident}")
        check_answer("servicenow_attachments", "GET", path, 200, found.body)
    assert set(made.body["result"]) == described() == set(found.body["result"])
    file = site.call("GET", f"{API}/{id}/file")
    assert (file.status, file.body, file.headers["Content-Type"]) == (200, b"abc", "text/plain")
    assert site.call("GET", API, query=f"table_sys_id={UNKNOWN}").body == {"result": []}
    assert site.call("DELETE", f"{API}/{id}").status == 204
    for method, path in (("GET", f"{API}/{id}"), ("GET", f"{API}/{id}/file"), ("DELETE", f"{API}/{id}")):
        assert site.call(method, path).status == 404


def described() -> set[str]:
    answer = spec("servicenow_attachments").document["paths"][f"{API}/file"]["post"]["responses"]["201"]
    return set(answer["schema"]["properties"]["result"]["properties"])


def test_the_stand_in_refuses_what_names_no_record_and_hides_files_with_their_records():
    site = Client()
    incident = site.incident()
    headers = {"Authorization": site.credentials, "Content-Type": "text/plain"}
    where = {"table_name": "incident", "table_sys_id": incident, "file_name": "a.txt"}
    for odd, status in (({"file_name": ""}, 400), ({"table_sys_id": UNKNOWN}, 404), ({"table_name": "no_such"}, 400)):
        assert site.send("POST", f"{API}/file", where | odd, b"abc", headers).status == status
    assert site.send("POST", f"{API}/file", where, b"", headers).status == 400
    id = site.records.attach("incident", incident, "a.txt", b"abc", "ana.ruiz")["sys_id"]
    site.app.hidden_rows.add(incident)
    assert site.call("GET", f"{API}/{id}/file").status == 404
    site.app.hidden_rows.clear()
    site.records.delete("incident", incident, "ana.ruiz")
    assert site.records.rows("sys_attachment") == {}


def test_an_id_that_is_none_is_of_no_file(w):
    attach(w, w.incident())
    for odd in ("", "x", f"{UNKNOWN}/file", "../" + UNKNOWN):
        with pytest.raises(Gone):
            w.connector.delete(FILES, odd)
    assert len(w.records.rows(attachments.TABLE)) == 1
