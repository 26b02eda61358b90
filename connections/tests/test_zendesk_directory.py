"""Users and organizations of Zendesk as records of their own, each request checked against the description."""

from __future__ import annotations

import time

import pytest

from connections.connectors import zendesk_export as export
from connections.connectors.base import Creation, Gone, Refused, Retry, Update, VersionMismatch, WriteResult
from connections.tests.evidence import EVIDENCE
from connections.tests.zendesk_world import World, check_all_requests, world

KINDS = ("user", "organization")


class Clock:
    at = time.time() - 3600

    def tick(self, seconds: float) -> None:
        self.at += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def w(clock):
    with world() as found:
        found.app.now = lambda: clock.at
        for kind in KINDS:
            found.app.directory.field(kind, "dropdown", "plan", "Plan", {"plan_gold": "Gold"})
            found.app.directory.field(kind, "decimal", "effort", "Effort")
        yield found
        if (EVIDENCE / "specs").is_dir():
            check_all_requests(found)


def made(w: World, kind: str, **values: object) -> str:
    given = {"name": f"{kind} {time.monotonic()}", **values}
    return str(w.app.directory.add(kind, given)["id"])


def create(w: World, kind: str, key: str = "key", **values: object):
    given = {"name": "Ana Ruiz", **({"email": "ana@acme.example"} if kind == "user" else {}), **values}
    return w.connector.create(kind, given, key, {})


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_is_made_under_its_key_written_and_read(w, kind):
    own = f"{kind}_fields"
    result = create(w, kind, notes="One\ntwo", **{f"{own}.plan": "Gold", f"{own}.effort": 2.5})
    id = result.record.external_id
    assert result.created and result.record.correlation_key == "key"
    fields = ["name", "notes", f"{own}.plan", f"{own}.effort"]
    assert dict(w.connector.get_many(kind, [id], fields)[id].values) == {
        "name": "Ana Ruiz",
        "notes": "One\ntwo",
        f"{own}.plan": "Gold",
        f"{own}.effort": 2.5,
    }
    written = w.connector.update(kind, id, {f"{own}.plan": None, "name": "Ana R."}, result.record.version, ["name"])
    assert dict(written.record.values) == {"name": "Ana R.", f"{own}.plan": None}
    assert w.app.store.get(kind, id)[own] == {"plan": None, "effort": 2.5}
    found = w.connector.find_by_correlation_key(kind, ["key", "other"], [], {})
    assert {key: [record.external_id for record in records] for key, records in found.items()} == {"key": [id]}
    w.connector.write_correlation_key(kind, id, "key-2")
    assert set(w.connector.find_by_correlation_key(kind, ["key-2"], [], {})) == {"key-2"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_shown_has_its_form_and_only_those_that_may_be_written_are(w, kind):
    id = made(w, kind, tags=["vip"])
    fields = {field.path: field for field in w.connector.fields(kind, {})}
    record = w.connector.get_many(kind, [id], list(fields))[id]
    assert record.values["tags"] == ["vip"] and record.values["created_at"].endswith("Z")
    for path, value in (("tags", ["x"]), ("created_at", "2026-01-01T00:00:00Z"), ("nothing", "x"), ("name", None)):
        for act in (
            lambda p=path, v=value: w.connector.update(kind, id, {p: v}, None, []),
            lambda p=path, v=value: w.connector.create(kind, {"name": "x", p: v}, "k", {}),
        ):
            with pytest.raises(Refused) as caught:
                act()
            assert set(caught.value.fields) == {path}
    if kind == "user":
        assert not fields["role"].writable and record.values["role"] == "End user"


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_that_changed_meanwhile_is_not_written(w, clock, kind):
    id = made(w, kind)
    old = w.connector.get_many(kind, [id], [])[id].version
    clock.tick(2)
    w.app.directory.edit(kind, id, {"notes": "Somebody's"})
    with pytest.raises(VersionMismatch):
        w.connector.update(kind, id, {"name": "Ours"}, old, [])
    assert w.connector.get_many(kind, [id], ["notes"])[id].values["notes"] == "Somebody's"


@pytest.mark.parametrize("kind", KINDS)
def test_changes_and_deletions_are_listed_over_all_pages(w, clock, kind):
    ids = [made(w, kind) for _ in range(3)]
    clock.tick(300)
    *_, page = w.connector.changed_since(kind, None, [], {})
    assert page.watermark and page.server_time
    later = []
    for _ in range(7):
        clock.tick(1)
        later.append(made(w, kind))
    w.connector.delete(kind, ids[0])
    clock.tick(90)
    w.app.export_page = 3
    told = {
        r.external_id: r.deleted for p in w.connector.changed_since(kind, page.watermark, [], {}) for r in p.records
    }
    assert told == {ids[0]: True, **dict.fromkeys(later, False)}
    listed = {id for page in w.connector.list_ids(kind, {}) for id in page}
    assert ids[0] not in listed and {*ids[1:], *later} <= listed
    assert w.connector.in_scope(kind, [ids[0], ids[1]], {}) == {ids[1]}
    for act in (
        lambda: w.connector.delete(kind, ids[0]),
        lambda: w.connector.update(kind, "1", {"name": "x"}, None, []),
    ):
        with pytest.raises(Gone):
            act()


@pytest.mark.parametrize("from_the_start", [True, False])
def test_organizations_of_one_second_that_fill_a_page_stop_nothing(w, clock, from_the_start):
    """Zendesk's list by time cannot go on within a second: a list of all there are stands in for it."""
    mark = None if from_the_start else export.text_of(clock.at)
    ids = [made(w, "organization") for _ in range(5)]
    clock.tick(1)
    later = [made(w, "organization") for _ in range(5)]
    clock.tick(5)
    last = [made(w, "organization"), made(w, "organization")]
    w.connector.delete("organization", last[0])
    clock.tick(90)
    w.app.export_page = 2
    before = len(w.app.calls())
    *_, page = pages = list(w.connector.changed_since("organization", mark, [], {}))
    told = {r.external_id: r.deleted for p in pages for r in p.records}
    assert told == {**dict.fromkeys([*ids, *later, last[1]], False), last[0]: True}
    assert page.last and page.watermark == export.complete_until(str(page.server_time))
    assert w.app.calls()[before:].count("GET organizations") == 1


def test_a_position_does_not_follow_the_list_that_stands_in_for_a_second(w, clock):
    """It shows what the export still hides: another change of that minute comes later, with an earlier time."""
    for _ in range(3):
        made(w, "organization")
    clock.tick(90)
    made(w, "organization")
    w.app.export_page = 2
    for page in w.connector.changed_since("organization", None, [], {}):
        assert page.watermark is None or export.seconds_of(page.watermark) <= clock.at - 59


def test_a_list_by_time_that_does_not_go_on_is_noticed(w, clock):
    made(w, "organization")
    clock.tick(90)
    row = w.app.store.all("organization")[0]
    same = {"organizations": [row], "end_of_stream": False, "end_time": 1_700_000_000}
    w.app.fault("status", path="/incremental/", status=200, body=same, times=20)
    with pytest.raises(Retry, match="does not go on"):
        list(w.connector.changed_since("organization", None, [], {}))


def test_a_list_waits_for_the_exports_limit(w, clock, monkeypatch):
    monkeypatch.setattr(export, "pause", clock.tick)
    for _ in range(4):
        clock.tick(1)
        made(w, "organization")
    clock.tick(90)
    w.app.export_page, w.app.exports_a_minute = 2, 1
    pages = list(w.connector.changed_since("organization", None, [], {}))
    assert {r.external_id for p in pages for r in p.records} and any(not page.records for page in pages)


def test_users_are_found_by_address_and_organizations_by_name(w):
    user, other = made(w, "user", email="ana@acme.example"), made(w, "user", email="bob@acme.example")
    org = made(w, "organization", name="Acme Ltd")
    look = w.connector.find_by_values
    assert [r.external_id for r in look("user", "email", ["ANA@acme.example", ""], [], {})] == [user]
    assert [r.external_id for r in look("organization", "name", ["ACME ltd", "Nobody"], [], {})] == [org]
    assert look("user", "email", ["bob@acme.example"], [], {"tag": "vip"}) == [] and other
    with pytest.raises(Refused):
        look("user", "phone", ["1"], [], {})


def test_the_address_of_a_user_who_is_there_is_not_written(w):
    """Zendesk would add a second one, and the first, still shown, be taken over as an edit made there."""
    user = create(w, "user", email="ana@acme.example").record.external_id
    with pytest.raises(Refused) as caught:
        w.connector.update("user", user, {"email": "ana.ruiz@acme.example"}, None, [])
    assert set(caught.value.fields) == {"email"}
    field = next(one for one in w.connector.fields("user", {}) if one.path == "email")
    assert field.creatable and not field.writable and field.matchable


def test_a_value_that_is_taken_names_its_field(w):
    made(w, "user", email="ana@acme.example")
    made(w, "organization", name="Ana Ruiz")
    for kind, path in (("user", "email"), ("organization", "name")):
        with pytest.raises(Refused) as caught:
            create(w, kind)
        assert set(caught.value.fields) == {path}


def test_new_people_get_no_mail_and_a_tag_is_their_whole_scope(w):
    record = w.connector.create("user", {"name": "Ana", "email": "ana@acme.example"}, "key", {"tag": "VIP"}).record
    assert w.connector.in_scope("user", [record.external_id, str(w.jane)], {"tag": "vip"}) == {record.external_id}
    assert b'"skip_verify_email": true' in w.app.requests[-2].body
    assert w.connector.admits("user", record, {"tag": "vip"}) is None and w.connector.admits("user", record, {}) is True
    with pytest.raises(Refused, match="has no group"):
        list(w.connector.list_ids("user", {"group": "Tier 2"}))


def test_many_are_written_one_by_one_each_with_its_result(w):
    creations = [Creation({"name": f"Org {n}"}, f"k{n}") for n in range(3)] + [Creation({"notes": "x"}, "k9")]
    results = w.connector.create_many("organization", creations, [], {})
    assert [type(result) for result in results] == [WriteResult, WriteResult, WriteResult, Refused]
    ids = [result.record.external_id for result in results if isinstance(result, WriteResult)]
    updates = [Update(ids[0], {"name": "New"}), Update("999", {"name": "x"})]
    assert [type(one) for one in w.connector.update_many("organization", updates, [])] == [WriteResult, Gone]
    assert w.connector.history("organization", ids, ["name"], "2000-01-01T00:00:00Z") == {}
    recent = w.connector.own_recent("organization", "2000-01-01T00:00:00Z", [], {})
    assert recent == []  # their list hides the last minute, too
    assert w.connector.url_of("organization", ids[0], None).endswith(f"/agent/organizations/{ids[0]}")
