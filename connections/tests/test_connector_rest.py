"""What is particular to described APIs: sign-ins, pagings, conditions, deletions, false successes, bad input."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from connections.connectors import proofs
from connections.connectors.base import (
    Context,
    DeliveryRequest,
    Gone,
    NeedsAuthorization,
    NotAllowed,
    ParsedDelivery,
    RateLimited,
    Refused,
    Retry,
    Uncertain,
    VersionMismatch,
)
from connections.connectors.rest import Rest
from connections.connectors.rest_definition import parse
from connections.connectors.rest_library import from_yaml
from connections.connectors.rest_webhook import parse as parse_webhook
from connections.connectors.rest_webhook import proof_of
from connections.sandbox.base import Request
from connections.sandbox.rest import RestStandin
from connections.sandbox.rest_habits import Habits
from connections.tests.rest_documents import changed, things_document
from connections.tests.rest_world import SECRETS, SETTINGS
from connections.tests.salesforce_world import State, Tokens
from connections.tests.scripted_http import Asked, Said, Scripted

ADDRESS = "https://things.example.com"
START = 1_767_225_600.0  # 2026-01-01T00:00:00Z
LATER = "2026-01-01T00:00:00Z"


class Wired:
    """The small API and a connector on it, without a network between them."""

    def __init__(self, habits: Habits | None = None, document: Any = None, **secrets: str) -> None:
        self.app = RestStandin(habits)
        self.at = START
        self.app.now = lambda: self.at
        self.things = self.app.things
        self.http = Scripted(ADDRESS, *((method, "", self._answer) for method in METHODS), name="Things")
        self.http.on_limit = lambda seconds: self.waits.append(seconds)
        self.waits: list[float] = []
        self.before: Callable[[Asked], None] = lambda asked: None
        self.tokens = Tokens()
        settings = {**SETTINGS, "definition": document or things_document(self.app.habits)}
        held = {**SECRETS, **secrets}
        self.connector = Rest(Context("things", ADDRESS, settings, held, self.http, self.tokens, State()))
        self.connector.lookups.forget()

    def _answer(self, asked: Asked) -> Said:
        self.before(asked)
        headers = dict(asked.headers)
        body = b""
        if isinstance(asked.body, dict) and asked.path.startswith("/auth/token"):
            body = urlencode(asked.body).encode()
        elif asked.body is not None:
            body = json.dumps(asked.body).encode()
        if asked.auth:
            headers["authorization"] = "Basic " + base64.b64encode(":".join(asked.auth).encode()).decode()
        query = {name: str(value) for name, value in asked.query}
        found = self.app.handle(Request(asked.method, asked.path, query, headers, body))
        return Said(found.body, found.status, found.headers)

    def add(self, **values: Any) -> str:
        return str(self.things.create({"title": "Thing", **values}, "ana")["id"])

    def many(self, count: int, apart: float = 0.0) -> list[str]:
        found = []
        for _ in range(count):
            self.at += apart
            found.append(self.add())
        return found

    def changed(self, since: str | None = None) -> list[str]:
        pages = self.connector.changed_since("thing", since, ["title"], {})
        return [record.external_id for page in pages for record in page.records]

    def calls(self) -> int:
        count = len(self.http.asked)
        self.http.asked.clear()
        return count


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


# Signing in --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["none", "header", "query", "basic", "bearer", "login", "client_credentials"])
def test_every_sign_in_is_accepted_and_named_by_the_check(way: str):
    wired = Wired(Habits(sign_in=way))
    wired.add()
    found = wired.connector.check()
    assert (found.account_id, found.tenant, found.missing) == ("sync", "acme", [])


@pytest.mark.parametrize("way", ["header", "query", "basic", "bearer", "login", "client_credentials"])
def test_wrong_credentials_ask_for_new_ones_and_are_not_quoted(way: str):
    wrong = dict.fromkeys(("key", "password", "client_secret"), "something-else-entirely")
    wired = Wired(Habits(sign_in=way), **wrong)
    with pytest.raises(NeedsAuthorization) as caught:
        wired.connector.check()
    assert "something-else" not in caught.value.message


@pytest.mark.parametrize("way", ["login", "client_credentials"])
def test_a_token_is_kept_for_all_calls_and_fetched_anew_when_it_ends_or_is_withdrawn(way: str):
    wired = Wired(Habits(sign_in=way))
    id = wired.add()
    for _ in range(3):
        wired.connector.get_many("thing", [id], ["title"])
    assert wired.tokens.renewals == 1
    wired.app.tokens.clear()
    assert id in wired.connector.get_many("thing", [id], ["title"])
    assert wired.tokens.renewals == 2
    assert wired.tokens.token
    wired.tokens.token = {**wired.tokens.token, "ends_at": 0}
    assert id in wired.connector.get_many("thing", [id], ["title"])
    assert wired.tokens.renewals == 3


def test_a_connection_without_its_key_says_so_before_anything_is_sent():
    wired = Wired(key="")
    with pytest.raises(NeedsAuthorization, match="has no api key"):
        wired.connector.get_many("thing", ["1"], [])
    assert wired.calls() == 0


def test_an_answer_for_nobody_is_no_sign_in():
    document = changed(things_document(Habits()), "account.anonymous", "id == 'sync'")
    with pytest.raises(NeedsAuthorization, match="takes us for nobody"):
        Wired(document=document).connector.check()


# Lists -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("paging", ["page", "offset", "cursor", "link_header", "next_url"])
@pytest.mark.parametrize("counts", [True, False])
def test_every_paging_is_read_to_its_end_whatever_it_counts(paging: str, counts: bool):
    wired = Wired(Habits(paging=paging, counts=counts))
    ids = wired.many(120, apart=0.4)
    assert sorted(wired.changed()) == sorted(ids)
    assert sorted(id for page in wired.connector.list_ids("thing", {}) for id in page) == sorted(ids)


def test_a_page_that_is_cut_shorter_than_asked_for_is_no_end():
    wired = Wired(Habits(page_size=20, counts=False))  # we ask for 50
    ids = wired.many(65, apart=1)
    assert sorted(wired.changed()) == sorted(ids)


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_moment_itself_is_listed_even_where_the_system_leaves_it_out(exclusive: bool):
    wired = Wired(Habits(exclusive=exclusive))
    wired.many(3)
    wired.at += 100
    id = wired.add()
    [record] = wired.connector.get_many("thing", [id], []).values()
    assert id in wired.changed(record.updated_at)


@pytest.mark.parametrize("paging", ["page", "offset", "link_header", "next_url"])
def test_a_record_that_moves_while_pages_of_one_moment_are_counted_makes_no_other_be_left_out(paging: str):
    """The record that was edited leaves its place, and the next page begins one record too late."""
    wired = Wired(Habits(paging=paging))
    ids = wired.many(120)
    asked = 0

    def edit_meanwhile(request: Asked) -> None:
        nonlocal asked
        asked += request.path == "/api/things"
        if asked == 2 and request.path == "/api/things":
            asked += 1
            wired.at += 5
            wired.things.update(ids[0], {"title": "Moved"}, "ana")

    wired.before = edit_meanwhile
    assert set(wired.changed()) == set(ids)


def test_a_list_that_is_not_in_the_order_that_was_described_is_not_believed():
    """Newest first and taken for oldest first, all but its first page would be passed over."""
    wired = Wired()
    rows = [{"id": n, "lock": 1, "updated": f"2026-01-01T00:00:{59 - n:02}Z"} for n in range(1, 51)]
    wired.http.script.insert(0, ("GET", "/api/things$", Said({"items": rows, "total": 80})))
    with pytest.raises(Retry, match="not in the order of its times"):
        wired.changed()


def test_a_list_that_does_not_know_its_changed_since_is_not_believed():
    document = changed(things_document(Habits()), "object_types.0.list.changed.parameter", "updatedd")
    wired = Wired(document=document)
    wired.many(120, apart=10)
    with pytest.raises(Retry, match="from before the time that was asked for"):
        wired.changed()


def test_an_index_that_is_late_is_gone_on_from_the_earliest_time_of_a_page():
    """HubSpot's search answers an old question with new values: one of them must not make the walk jump."""
    document = things_document(Habits(paging="cursor", page_size=10))
    document["object_types"][0]["list"] |= {"lag": 60.0}
    document["object_types"][0]["list"]["paging"] |= {"max_pages": 2, "size": 10}
    wired = Wired(Habits(paging="cursor", page_size=10), document)
    ids = wired.many(70, apart=1)
    shown = wired.things.shown

    def fresher(thing: Any) -> dict[str, Any]:
        late = {"updated": "2026-01-01T01:00:00Z"} if str(thing["id"]) == ids[14] else {}
        return {**shown(thing), **late}

    wired.things.shown = fresher  # type: ignore[method-assign]
    assert set(wired.changed()) == set(ids)


def test_a_list_without_an_order_is_gone_on_from_its_beginning():
    """A record on a page read already may be edited while later pages are read."""
    document = changed(things_document(Habits()), "object_types.0.list.changed.oldest_first", False)
    wired = Wired(document=document)
    wired.many(60, apart=1)
    wired.at += 12 * 3600  # later than the Date of every scripted answer
    wired.add()
    pages = list(wired.connector.changed_since("thing", None, [], {}))
    assert [page.watermark for page in pages] == [None, "2026-01-01T09:00:00Z"]


@pytest.mark.parametrize(
    ("lists", "paging", "said"),
    [
        ("again", "page", "goes in circles"),
        ("circle", "cursor", "goes in circles"),
        ("circle", "next_url", "in circles"),
    ],
)
def test_a_list_that_never_ends_is_stopped_and_says_so(lists: str, paging: str, said: str):
    wired = Wired(Habits(lists=lists, paging=paging, counts=False, page_size=10))
    wired.many(40)
    with pytest.raises(Retry, match=said):
        wired.changed()
    assert wired.calls() < 20


def test_a_list_that_ends_before_its_own_count_is_not_believed():
    wired = Wired(Habits(lists="short"))
    wired.many(80)
    with pytest.raises(Retry, match="counts 80 records and gives 50"):
        wired.changed()


def test_one_entry_without_an_id_leaves_the_others_flowing_and_is_told():
    wired = Wired(Habits(lists="broken", paging="cursor"))
    ids = wired.many(3)
    assert wired.changed() == ids[1:]
    assert any("1 entries on the first page of Thing have no id" in note for note in wired.connector.check().notes)


def test_a_record_with_a_broken_value_or_time_is_read_without_it_and_stops_nobody():
    row = {"id": 5, "lock": 1, "updated": LATER, "title": {"not": "a text"}, "amount": "many", "due": "soon"}
    good = {"id": 6, "lock": 1, "updated": LATER, "title": "Fine"}
    late = {"id": 7, "lock": 1, "updated": "yesterday", "title": "Late"}
    wired = Wired()
    wired.http.script.insert(0, ("GET", "/api/things$", Said({"items": [row, good, late], "total": 3})))
    [page] = wired.connector.changed_since("thing", None, ["title", "amount", "due"], {})
    broken, fine, timeless = page.records
    assert broken.unreadable == {"title", "amount", "due"} and broken.version == "1"
    assert fine.values["title"] == "Fine"
    assert (timeless.external_id, timeless.version, timeless.values) == ("7", "unreadable", {})
    assert any("1 of 3 records on the first page" in note for note in wired.connector.check().notes)


def test_an_id_that_changes_its_type_is_the_same_id():
    wired = Wired()
    rows = [{"id": 5, "lock": 1, "updated": LATER}], [{"id": "5", "lock": 1, "updated": LATER}]
    found = []
    for items in rows:
        wired.http.script.insert(0, ("GET", "/api/things$", Said({"items": items, "total": 1})))
        found += wired.changed()
    assert found == ["5", "5"]


def test_a_record_of_ten_megabytes_is_read_and_written():
    wired = Wired()
    text = "x" * 10_000_000
    id = wired.add(body=text)
    assert len(wired.connector.get_many("thing", [id], ["body"])[id].values["body"]) == 10_000_000
    written = wired.connector.update("thing", id, {"body": text + "y"}, None, []).record
    assert written.values["body"].endswith("xy")


def test_a_wrong_address_and_a_log_in_page_say_what_to_check():
    wired = Wired()
    wired.http.script.insert(0, ("GET", "", Said({"message": "no such page"}, 404)))
    with pytest.raises(NotAllowed, match="Check the address of the connection"):
        wired.changed()
    with pytest.raises(NotAllowed, match="Check the address"):
        wired.connector.check()


def test_a_list_our_account_may_not_read_is_named_as_missing():
    wired = Wired()
    wired.http.script.insert(0, ("GET", "/api/things$", Said({"error": {"message": "scope things.read"}}, 403)))
    [missing] = wired.connector.check().missing
    assert "Thing" in missing and "things.read" in missing


def test_without_changes_all_is_listed_and_two_edits_of_one_moment_are_two_versions():
    wired = Wired(Habits(changes=False, condition="none"))
    id = wired.add()
    one = wired.connector.get_many("thing", [id], [])[id]
    wired.things.update(id, {"title": "Edited"}, "ana")
    two = wired.connector.get_many("thing", [id], ["title"])[id]
    assert one.version != two.version and one.updated_at == two.updated_at
    [page] = wired.connector.changed_since("thing", "2030-01-01T00:00:00Z", [], {})
    assert [record.version for record in page.records] == [two.version]
    assert not wired.connector.capabilities.lists_changes


# Limits ------------------------------------------------------------------------------------------------------------


def test_the_last_call_that_is_left_makes_the_connection_wait():
    limits = {"remaining_header": "X-Left", "reset_header": "X-Reset", "wait_as": "epoch", "per_second": 5}
    wired = Wired(document=changed(things_document(Habits()), "limits", limits))
    answer = Said({"id": "sync", "name": "x"}, 200, {"X-Left": "0", "X-Reset": "1767258030"})  # 30 s after its Date
    wired.http.script.insert(0, ("GET", "/api/me$", answer))
    wired.add()
    wired.connector.check()
    assert wired.waits == [30.0]


@pytest.mark.parametrize(
    ("wait_as", "header", "seconds"),
    [
        ("seconds", "17", 17),
        ("milliseconds", "1500", 1.5),
        ("epoch", "1767258005", 5),
        ("seconds", "Thu, 01 Jan 2026 09:00:09 GMT", 9),
    ],
)
def test_a_wait_is_read_in_every_form(wait_as: str, header: str, seconds: float):
    limits = {"wait_header": "X-Wait", "wait_as": wait_as, "status": [420]}
    wired = Wired(document=changed(things_document(Habits()), "limits", limits))
    wired.http.script.insert(0, ("GET", "", Said({}, 420, {"X-Wait": header})))
    with pytest.raises(RateLimited) as caught:
        wired.changed()
    assert caught.value.after == seconds


# Writes ------------------------------------------------------------------------------------------------------------


def test_a_success_that_changed_nothing_is_a_refusal_that_names_the_field():
    document = things_document(Habits(quiet=True, answers=False))
    [status] = [field for field in document["object_types"][0]["fields"] if field["name"] == "status"]
    status["options"] = [{"value": 1, "name": "New"}, {"value": 9, "name": "Unheard of"}]
    wired = Wired(Habits(quiet=True, answers=False), document)
    id = wired.add(status=1)
    with pytest.raises(Refused) as caught:
        wired.connector.update("thing", id, {"status": "Unheard of", "title": "Written"}, None, [])
    assert set(caught.value.fields) == {"status"}
    assert wired.app.store.get("thing", id)["title"] == "Written"


def test_a_page_with_a_status_of_refusals_refuses_nothing():
    """An API may refuse a value with 500; what stands before it fails with 500 too, and with a page."""
    document = things_document(Habits())
    document.setdefault("errors", {})["refused_status"] = [400, 500]
    wired = Wired(Habits(), document)
    for said, wanted in ((Said({"error": {"message": "too long"}}, 500), Refused), (Said(b"<html/>", 500), Uncertain)):
        wired.http.script.insert(0, ("POST", "/api/things$", said))
        with pytest.raises(wanted):
            wired.connector.create("thing", {"title": "New"}, "k", {})


NAMES_ONLY = "items[].{id: id, lock: lock, updated: updated}"


def named_only(**more: Any) -> Wired:
    """An API whose list names records and says nothing else of them."""
    document = changed(things_document(Habits()), "object_types.0.list.complete", False)
    document = changed(document, "object_types.0.list.records", NAMES_ONLY)
    return Wired(Habits(), changed(document, "object_types.0.key", {"read": "ext", "write": "ext", **more}))


def test_a_record_that_a_list_only_names_is_found_by_what_it_says():
    wired = named_only(search="ext")
    made = wired.connector.create("thing", {"title": "Printer"}, "k", {}).record.external_id
    wired.add(title="Printer two")
    [found] = wired.connector.find_by_values("thing", "title", ["printer"], ["title", "status"], {})
    assert (found.external_id, found.values) == (made, {"title": "Printer", "status": "New"})
    [keyed] = wired.connector.find_by_correlation_key("thing", ["k"], ["title"], {})["k"]
    assert (keyed.external_id, keyed.values) == (made, {"title": "Printer"})
    assert wired.connector.capabilities_of("thing").create_lookup_consistent


def test_without_a_search_a_key_that_the_list_does_not_show_is_found_among_our_recent_records():
    wired = named_only()
    made = wired.connector.create("thing", {"title": "Printer"}, "k", {}).record.external_id
    assert not wired.connector.capabilities_of("thing").create_lookup_consistent
    own = wired.connector.own_recent("thing", LATER, ["title"], {})
    assert [(one.external_id, one.correlation_key, one.values) for one in own] == [(made, "k", {"title": "Printer"})]


def test_a_value_that_a_create_did_not_take_is_sent_once_more():
    wired = Wired(Habits())
    wired.http.script.insert(
        0, ("POST", "/api/things$", Said({"id": 5, "lock": 1, "title": "New", "status": 1, "ext": "k"}, 201))
    )
    made = wired.connector.create("thing", {"title": "New", "status": "Done"}, "k", {})
    assert made.on_the_way == {"status": "New"}


@pytest.mark.parametrize("status", [401, 403, 429, 500])
@pytest.mark.parametrize("answers", [True, False])
def test_a_write_whose_people_cannot_be_asked_for_is_done_and_not_told_as_undone(answers: bool, status: int):
    wired = Wired(Habits(answers=answers))
    id = wired.add()
    wired.http.script.insert(0, ("GET", "/api/people$", Said({"error": {"message": "not now"}}, status)))
    with pytest.raises(Uncertain) as caught:
        wired.connector.create("thing", {"title": "New"}, "k", {}, fields=["title", "owner"])
    [made] = [str(one["id"]) for one in wired.things.all() if one["title"] == "New"]
    assert caught.value.external_id == made, "the answer named it, and that asks nobody"
    with pytest.raises(Uncertain):
        wired.connector.update("thing", id, {"title": "Edited"}, None, ["owner"])
    assert wired.app.store.get("thing", id)["title"] == "Edited"


@pytest.mark.parametrize(
    "habits",
    [
        Habits(condition="etag"),
        Habits(condition="required"),
        Habits(condition="lock", mismatch_status=409),
        Habits(condition="lock", write="PUT", wrap="thing", answers=False),
        Habits(condition="etag", write="PUT"),
    ],
    ids=lambda habits: f"{habits.condition}-{habits.write}",
)
def test_every_kind_of_condition_refuses_a_write_to_a_changed_record(habits: Habits):
    wired = Wired(habits)
    id = wired.add(body="Kept")
    old = wired.connector.get_many("thing", [id], [])[id].version
    wired.things.update(id, {"body": "Theirs"}, "ana")
    with pytest.raises(VersionMismatch):
        wired.connector.update("thing", id, {"title": "Ours"}, old, ["title"])
    assert wired.app.store.get("thing", id)["title"] == "Thing"
    now = wired.connector.get_many("thing", [id], [])[id].version
    record = wired.connector.update("thing", id, {"title": "Ours"}, now, ["title", "body"]).record
    assert record.values == {"title": "Ours", "body": "Theirs"}


def test_a_stale_version_told_by_the_answer_s_body_is_known_too():
    document = things_document(Habits())
    document["object_types"][0]["condition"] |= {"refused_status": [], "refused": "errors != null && errors == `[]`"}
    wired = Wired(document=document)
    id = wired.add()
    wired.http.script.insert(0, ("PATCH", "", Said({"errors": []}, 422)))
    with pytest.raises(VersionMismatch):
        wired.connector.update("thing", id, {"title": "Ours"}, "1", [])


def test_a_merge_patch_says_so():
    document = changed(things_document(Habits()), "object_types.0.update.content_type", "application/merge-patch+json")
    wired = Wired(document=document)
    wired.connector.update("thing", wired.add(), {"title": "Ours"}, None, [])
    [patch] = [asked for asked in wired.http.asked if asked.method == "PATCH"]
    assert patch.headers["content-type"] == "application/merge-patch+json"


def test_a_failure_inside_a_success_is_one():
    wired = Wired(document=changed(things_document(Habits()), "errors.failed", "error"))
    id = wired.add()
    failing = Said({"error": {"message": "no", "fields": [{"name": "title", "said": "taken"}]}})
    wired.http.script.insert(0, ("PATCH", "", failing))
    with pytest.raises(Refused) as caught:
        wired.connector.update("thing", id, {"title": "Ours"}, None, [])
    assert caught.value.fields == {"title": "taken"}


# Deletions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deleted", ["404", "410", "flag", "tombstone", "retired"])
def test_every_face_of_a_deletion_is_known(deleted: str):
    wired = Wired(Habits(deleted=deleted))
    id, other = wired.add(), wired.add()
    wired.things.delete(id, "ana")
    found = wired.connector.get_many("thing", [id, other], ["title"])
    assert id not in found or found[id].deleted
    assert not found[other].deleted
    assert [each for page in wired.connector.list_ids("thing", {}) for each in page] == [other]
    for act in (
        lambda: wired.connector.update("thing", id, {"title": "x"}, None, []),
        lambda: wired.connector.delete("thing", id),
    ):
        with pytest.raises(Gone):
            act()
    told = [r for p in wired.connector.changed_since("thing", None, [], {}) for r in p.records if r.external_id == id]
    assert [record.deleted for record in told] == ([True] if deleted in ("flag", "tombstone") else [])


def test_what_an_answer_for_many_lacks_is_asked_for_alone_before_it_counts_as_gone():
    wired = Wired()
    ids = wired.many(4)
    rows = [wired.things.shown(wired.app.store.get("thing", id)) for id in ids[:2]]
    wired.http.script.insert(0, ("GET", "/api/things$", Said({"items": rows})))  # cut off without a word
    assert set(wired.connector.get_many("thing", [*ids, "99999"], [])) == set(ids)


def nothing(path: str) -> Callable[[Wired], None]:
    """Of the first thing every answer is one without a record."""
    return lambda wired: wired.http.script.insert(0, ("GET", path, Said({"message": "no longer here"})))


def another(wired: Wired) -> None:
    shown = wired.things.shown(wired.app.store.get("thing", "3"))
    wired.http.script.insert(0, ("GET", "/api/things/1$", Said(shown)))


def entry_without_an_id(wired: Wired) -> None:
    def listed(asked: Asked) -> Said:
        ids = dict(asked.query)["ids"].split(",")
        rows = [wired.things.shown(wired.app.store.get("thing", id)) for id in ids]
        return Said({"items": [{**row, "id": None} if row["id"] == 1 else row for row in rows]})

    wired.http.script.insert(0, ("GET", "/api/things$", listed))


@pytest.mark.parametrize(
    ("odd", "alone", "many"),
    [(nothing("/api/things/1$"), True, False), (another, True, False), (entry_without_an_id, False, True)],
    ids=["no record", "that of another id", "an entry without an id"],
)
def test_one_record_that_is_answered_oddly_is_unreadable_and_stops_no_other(odd: Any, alone: bool, many: bool):
    document = things_document(Habits(many=many))
    if not alone:
        del document["object_types"][0]["read"]
    wired = Wired(Habits(many=many), document)
    ids = wired.many(3)
    odd(wired)
    for asked in (ids, ids[:1]):
        found = wired.connector.get_many("thing", asked, ["title"])
        assert set(found) == set(asked), "neither gone nor out of the scope"
        assert (found["1"].deleted, found["1"].values, found["1"].unreadable) == (False, {}, {"title"})
        assert all(found[id].values == {"title": "Thing"} for id in asked[1:])
    assert wired.connector.in_scope("thing", ids, {"team": ""}) == set(ids)


def test_an_entry_without_an_id_has_those_that_are_missing_asked_for_alone():
    wired = Wired()
    ids = wired.many(3)
    entry_without_an_id(wired)
    assert {id: record.values for id, record in wired.connector.get_many("thing", ids, ["title"]).items()} == {
        id: {"title": "Thing"} for id in ids
    }


# Webhooks ----------------------------------------------------------------------------------------------------------

BODY = b'{"id": 5, "gone": false}'
SECRET = "a-long-webhook-secret"


def signed(algorithm: str, encoding: str, text: bytes) -> str:
    if algorithm == "secret":
        return SECRET
    made = hmac.new(SECRET.encode(), text, algorithm.removeprefix("hmac-"))
    return made.hexdigest() if encoding == "hex" else base64.b64encode(made.digest()).decode()


def heard(bell: dict[str, Any], secret: str = SECRET, **headers: str) -> ParsedDelivery:
    """What is made of BODY with these headers, whose names have _ for -."""
    document = things_document(Habits())
    definition = parse({**document, "object_types": document["object_types"][:1], "webhook": bell})
    request = DeliveryRequest("POST", "/", {name.replace("_", "-"): value for name, value in headers.items()}, BODY)
    verdict = proofs.check(proof_of(definition.webhook), {"webhook_secret": secret}, request, START)
    return parse_webhook(definition, request, verdict)


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "hmac-sha1", "hmac-sha512", "secret"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_every_way_to_sign_is_verified_and_a_wrong_one_is_not(algorithm: str, encoding: str):
    bell = {"signature_header": "X-Sig", "algorithm": algorithm, "encoding": encoding, "prefix": "v1="}
    given = "v1=" + signed(algorithm, encoding, BODY)
    for signature in (given, given[:-3] + "AAA", "", "v1=€"):
        found = heard({**bell, "deleted": "gone"}, x_sig=signature)
        assert found.verified is (signature == given) and bool(found.reason) is (signature != given)
        [hint] = found.hints
        assert (hint.object_type, hint.external_id, hint.deleted) == ("thing", "5", False)
        assert hint.verified is found.verified
    assert not heard(bell, "", x_sig=given).provable
    assert not heard({}, x_sig=given).provable


def test_two_equal_webhooks_are_two_edits_unless_something_says_that_they_are_one():
    plain = {"signature_header": "X-Sig"}
    timed = {**plain, "signed": "{timestamp}.{body}", "timestamp_header": "X-Sent"}
    assert heard(plain, x_sig="0").delivery_id is None
    first = heard(timed, x_sig="0", x_sent="1").delivery_id
    assert first == heard(timed, x_sig="0", x_sent="1").delivery_id != heard(timed, x_sig="0", x_sent="2").delivery_id


@pytest.mark.parametrize(
    ("sent", "form", "recent"),
    [
        ("1767225601", "seconds", True),
        ("1767225000", "seconds", False),
        ("1767225600000", "milliseconds", True),
        ("2026-01-01T00:00:10Z", "iso", True),
        ("soon", "seconds", False),
        ("", "seconds", False),
    ],
)
def test_a_signed_webhook_is_believed_for_some_minutes(sent: str, form: str, recent: bool):
    bell = {"signature_header": "X-Sig", "signed": "v0:{timestamp}:{body}", "timestamp_header": "X-Sent"}
    signature = signed("hmac-sha256", "hex", b"v0:" + sent.encode() + b":" + BODY)
    assert heard({**bell, "timestamp_as": form}, x_sig=signature, x_sent=sent).verified is recent


# What it costs -----------------------------------------------------------------------------------------------------


def test_a_live_change_costs_one_call_on_each_side_and_many_cost_a_page_of_them():
    wired = Wired(Habits(deleted="tombstone"))
    ids = wired.many(1000, apart=1)
    wired.calls()
    watermark = [page.watermark for page in wired.connector.changed_since("thing", None, [], {})][-1]
    assert wired.calls() <= 1000 / 49 + 1, "a page begins with the last record of the one before it"
    assert list(wired.connector.changed_since("thing", watermark, [], {}))[-1].last
    assert wired.calls() == 1, "an idle poll"
    for start in range(0, 100, 50):
        assert len(wired.connector.get_many("thing", ids[start : start + 50], ["title"])) == 50
    assert wired.calls() == 2, "a hundred changed records"
    version = wired.connector.get_many("thing", ids[:1], ["title"])[ids[0]].version
    wired.connector.update("thing", ids[0], {"title": "Written"}, version, ["title"])
    assert wired.calls() == 2, "read, and written under its version"


# Definitions in a connection ---------------------------------------------------------------------------------------


def test_a_connection_without_a_description_says_what_to_do_and_still_shows_on_its_page():
    context = Context("x", ADDRESS, {}, {}, None, Tokens(), State())
    with pytest.raises(NotAllowed, match="no description of its API yet"):
        Rest(context)
    assert Rest.capabilities_for({}) == Rest.capabilities
    assert Rest.scope_form_for({}) == ()


def test_capabilities_and_scope_come_from_the_description_of_the_connection():
    able = Rest.capabilities_for({"definition": things_document(Habits(deleted="tombstone", idempotent=True))})
    assert able.bell == "webhook" and able.bulk_read == 50
    assert able.lists_deletions and able.exact_version and able.conditional_write and able.idempotent_create
    assert not able.whole_records
    [team] = Rest.scope_form_for({"definition": things_document(Habits())})
    assert (team.name, team.label, team.required) == ("team", "Team", False)


def test_of_several_object_types_the_weakest_promise_holds():
    document = things_document(Habits())
    other = things_document(Habits(condition="none", changes=False, many=False))["object_types"][0]
    document["object_types"].append({**other, "name": "other"})
    able = Rest.capabilities_for({"definition": document})
    assert (able.bulk_read, able.conditional_write, able.exact_version, able.lists_changes) == (1, False, False, False)


def test_promises_that_people_should_know_of_are_told_by_the_check():
    wired = Wired(Habits(write="PUT", condition="none", changes=False))
    wired.add()
    notes = " ".join(wired.connector.check().notes)
    assert "sends the whole record" in notes and "reads all of it" in notes


def test_a_whole_record_of_which_a_field_is_hidden_is_not_written():
    wired = Wired(Habits(write="PUT"))
    id = wired.add(body="Theirs")
    wired.things.hidden.add("body")
    with pytest.raises(NotAllowed, match=r"does not show Body of this one.* Nothing was written"):
        wired.connector.update("thing", id, {"title": "Ours"}, None, ["title"])
    assert wired.things.present(id)["title"] == "Thing" and wired.things.present(id)["body"] == "Theirs"
    wired.things.hidden.clear()
    wired.connector.update("thing", id, {"title": "Ours"}, None, ["title"])
    assert wired.things.present(id)["title"] == "Ours" and wired.things.present(id)["body"] == "Theirs"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", "line 1"),
        ("a: &x [1]\nb: *x", "aliases are not taken"),
        ("name: !!python/object:os.system x", "could not determine a constructor"),
        ("- 1", "a group of settings is expected"),
        ("x" * 600_000, "longer than"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_definition_is_refused_in_words(text: str, said: str):
    with pytest.raises(ValueError, match=said):
        from_yaml(text)
