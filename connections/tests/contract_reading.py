"""The contract's promises about reading: what there is, normal forms, changes, scopes, look-ups."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

import pytest

from connections.connectors.base import Record
from connections.tests.contract_vendor import Vendor

KINDS = ("text", "rich_text", "option", "set", "person", "number", "boolean", "date", "datetime", "reference")
FORMATS = ("adf", "html", "markdown", "plain")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
# More than a page of any list: memory 50, Jira 100; Salesforce's pages of 2,000 are read in its own tests.
MANY = 120
# Texts that mean something to query languages, and some that a careless comparison changes.
NASTY = (
    "O'Brien's printer",
    'says "no" twice',
    "back\\slash and tail\\",
    "100% of_all",
    "x' OR Id != '",
    'x" OR key != "',
    "printer) OR (summary ~ fire",
    "Grüße aus Köln, 日本語 too",
    "{braces} [brackets] ~tilde ^hat",
    "a -- b; DROP TABLE things /* c */",
    "a &amp; b <script>c</script>",
)


def assert_normal(kind: str, value: Any) -> None:
    """`value` has the normalised form of `kind`, see `connections.connectors.base`."""
    if kind == "set":
        assert isinstance(value, list)
        assert value == sorted(set(value))
        assert all(isinstance(item, str) and item for item in value)
        return
    if value is None:
        return
    match kind:
        case "number":
            assert isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            assert isinstance(value, bool)
        case "date":
            assert date.fromisoformat(value).isoformat() == value
        case "datetime":
            assert MOMENT.fullmatch(value)
        case "rich_text":
            assert isinstance(value, dict | str)
        case _:
            assert isinstance(value, str)
            assert value != ""
            assert "\r" not in value
    if kind == "person":
        assert value.startswith(("id:", "queue:")) or ("@" in value and value == value.lower())


def assert_record(record: Record) -> None:
    assert record.external_id and record.version
    for stamp in (record.updated_at, record.created_at):
        assert stamp is None or MOMENT.fullmatch(stamp)
    assert not set(record.values) & record.unreadable


class ReadingContract:
    # What there is -----------------------------------------------------------------------------------------------

    def test_the_check_names_the_account_and_the_tenant_and_finds_nothing_missing(self, vendor: Vendor):
        vendor.add()
        found = vendor.connector.check()
        assert found.account_id and found.account_name and found.tenant
        assert found.tenant == vendor.connector.check().tenant
        assert list(found.missing) == []
        assert not found.personal_account

    def test_the_account_of_the_check_is_the_author_of_our_records(self, vendor: Vendor):
        made = vendor.create({vendor.title: "Ours"}, "k1").record
        assert vendor.read(made.external_id).created_by == vendor.connector.check().account_id

    def test_object_types_are_named_and_parents_exist(self, vendor: Vendor):
        found = {one.name: one for one in vendor.connector.object_types()}
        assert found[vendor.object_type].label
        assert all(one.label and (one.parent is None or one.parent in found) for one in found.values())
        if vendor.children:
            assert found[vendor.children].parent == vendor.object_type
        else:
            assert not any(one.parent for one in found.values())

    def test_fields_are_of_known_kinds_and_each_path_is_named_once(self, vendor: Vendor):
        listed = vendor.connector.fields(vendor.object_type, vendor.scope)
        assert len({field.path for field in listed}) == len(listed)
        for field in listed:
            assert field.path and field.label
            assert field.kind in KINDS
            assert (field.format in FORMATS) if field.kind == "rich_text" else field.format is None
            assert all(isinstance(option.value, str) and option.value for option in field.options)

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_field_says_its_kind_and_that_it_can_be_written(self, vendor: Vendor, kind: str):
        vendor.add()
        fields = vendor.fields()
        if kind not in vendor.samples:
            own = [f.path for f in fields.values() if f.kind == kind and f.writable and f.path != vendor.title]
            assert own == []
            return
        field = fields[vendor.samples[kind].path]
        assert field.kind == kind
        assert field.writable and field.creatable and not field.separate_write

    def test_the_title_is_a_text_of_limited_length_to_match_by(self, vendor: Vendor):
        field = vendor.fields()[vendor.title]
        assert field.kind == "text" and field.max_length and field.matchable

    # Normal forms ------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_value_is_read_in_its_normal_form(self, vendor: Vendor, kind: str):
        if kind not in vendor.samples:
            assert kind not in {f.kind for f in vendor.fields().values() if f.writable and f.path != vendor.title}
            return
        sample = vendor.samples[kind]
        for value in (sample.first, sample.second):
            record = vendor.read(vendor.add({sample.path: value}))
            assert_record(record)
            assert_normal(kind, record.values[sample.path])
            assert record.values[sample.path] == value

    def test_every_field_the_system_shows_has_its_normal_form(self, vendor: Vendor):
        for values in ({}, vendor.firsts()):
            id = vendor.add(values)
            fields = vendor.fields()
            record = vendor.read(id, list(fields))
            assert set(record.values) | record.unreadable == set(fields)
            for path, value in record.values.items():
                assert_normal(fields[path].kind, value)

    def test_empty_is_none_and_an_empty_set_is_a_list(self, vendor: Vendor):
        record = vendor.read(vendor.add())
        for sample in vendor.samples.values():
            if sample.clearable:
                assert record.values[sample.path] == sample.empty
                assert type(record.values[sample.path]) is type(sample.empty)

    def test_a_hidden_field_is_named_unreadable_and_is_not_empty(self, vendor: Vendor):
        id = vendor.add(vendor.firsts())
        if not vendor.hides_fields:
            assert vendor.read(id, list(vendor.fields())).unreadable == frozenset()
            return
        hidden = vendor.samples["number"].path
        vendor.read(id)
        vendor.hide(hidden)
        for record in (vendor.read(id), *(vendor.changed(None) if not vendor.connector.capabilities.lists_lag else ())):
            assert record.unreadable == {hidden}
            assert set(record.values) == set(vendor.paths) - {hidden}
        assert hidden not in vendor.fields()

    def test_a_field_that_was_removed_is_absent_and_no_reason_to_fail(self, vendor: Vendor):
        record = vendor.read(vendor.add(vendor.firsts()), [vendor.other.path, "field_that_was_removed"])
        assert dict(record.values) == {vendor.other.path: vendor.other.first}

    def test_only_the_fields_asked_for_are_read(self, vendor: Vendor):
        record = vendor.read(vendor.add(vendor.firsts()), [vendor.other.path])
        assert dict(record.values) == {vendor.other.path: vendor.other.first}

    def test_a_record_tells_its_title_times_and_a_name_for_people(self, vendor: Vendor):
        record = vendor.read(vendor.add({vendor.title: "Printer on fire"}))
        assert record.title == "Printer on fire"
        assert record.key and record.updated_at and record.created_at
        assert record.created_by == vendor.ana.account
        assert record.correlation_key is None and not record.deleted

    # Direct reads --------------------------------------------------------------------------------------------------

    def test_unknown_and_malformed_ids_are_absent(self, vendor: Vendor):
        id = vendor.add()
        asked = [vendor.unknown_id, id, "", "no id'); --", 'x" OR id != "', "../../myself", "0"]
        assert set(vendor.connector.get_many(vendor.object_type, asked, vendor.paths)) == {id}
        assert vendor.connector.get_many(vendor.object_type, [], vendor.paths) == {}

    def test_an_id_asked_for_twice_is_read_once(self, vendor: Vendor):
        id = vendor.add()
        assert list(vendor.connector.get_many(vendor.object_type, [id, id], [])) == [id]

    def test_more_ids_than_one_call_takes_are_all_read(self, vendor: Vendor):
        ids = [vendor.add() for _ in range(vendor.connector.capabilities.bulk_read + 3)]
        found = vendor.connector.get_many(vendor.object_type, [*ids, vendor.unknown_id], [vendor.title])
        assert set(found) == set(ids)
        assert all(found[id].external_id == id for id in ids)

    def test_a_deleted_record_is_absent_or_says_that_it_is_deleted(self, vendor: Vendor):
        id, other = vendor.add(), vendor.add()
        vendor.remove(id)
        found = vendor.connector.get_many(vendor.object_type, [id, other], [])
        assert id not in found or found[id].deleted
        assert not found[other].deleted

    # Changes ---------------------------------------------------------------------------------------------------------

    def test_without_a_watermark_all_records_come_oldest_first_over_all_pages(self, vendor: Vendor):
        ids = []
        for _ in range(MANY):
            vendor.tick(1)
            ids.append(vendor.add())
        vendor.edit(ids[0], {vendor.title: "Edited last"})
        pages = list(vendor.connector.changed_since(vendor.object_type, None, vendor.paths, vendor.scope))
        assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
        records = [record for page in pages for record in page.records]
        assert sorted(r.external_id for r in records) == sorted(ids)
        stamps = [str(record.updated_at) for record in records]
        assert stamps == sorted(stamps, key=datetime.fromisoformat) or not vendor.connector.capabilities.lists_changes
        for record in records:
            assert_record(record)

    def test_lists_tell_the_values_of_a_direct_read_or_none_where_they_lag(self, vendor: Vendor):
        id = vendor.add(vendor.firsts())
        [record] = vendor.changed(None)
        if vendor.connector.capabilities.lists_lag:
            assert not record.values
        else:
            assert record == vendor.read(id)

    def test_any_pages_watermark_leads_to_all_that_came_after_it(self, vendor: Vendor):
        ids = set()
        for _ in range(MANY):
            vendor.tick(1)
            ids.add(vendor.add())
        seen: set[str] = set()
        for page in vendor.connector.changed_since(vendor.object_type, None, [], vendor.scope):
            seen |= {record.external_id for record in page.records}
            rest = {record.external_id for record in vendor.changed(page.watermark)}
            assert seen | rest == ids

    def test_the_boundary_is_inclusive(self, vendor: Vendor):
        first = vendor.add()
        watermark = vendor.watermark()
        second = vendor.add()
        assert {r.external_id for r in vendor.changed(watermark)} >= {second}
        last = vendor.watermark()
        assert {r.external_id for r in vendor.changed(vendor.connector.shift_watermark(last, 0))} <= {first, second}
        stamp = vendor.read(second).updated_at
        position = vendor.position_of(stamp)
        assert second in {r.external_id for r in vendor.changed(position)}

    def test_a_page_full_of_one_moment_is_read_to_its_end(self, vendor: Vendor):
        ids = {vendor.add() for _ in range(MANY)}
        assert len({vendor.read(id, []).updated_at for id in sorted(ids)[:3]}) == 1
        found = [record.external_id for record in vendor.changed(None)]
        assert len(found) == len(ids)
        assert set(found) == ids
        moment = vendor.position_of(vendor.read(min(ids), []).updated_at)
        assert {record.external_id for record in vendor.changed(moment)} == ids

    def test_an_edit_after_the_last_page_is_found_from_its_watermark(self, vendor: Vendor):
        id, other = vendor.add(), vendor.add()
        vendor.tick(120)
        watermark = vendor.watermark()
        vendor.edit(id, {vendor.title: "Edited in the same moment"})
        assert id in {record.external_id for record in vendor.changed(watermark)}
        vendor.tick(120)
        vendor.edit(other, {vendor.title: "Edited later"})
        assert other in {record.external_id for record in vendor.changed(watermark)}

    def test_an_edit_while_pages_are_read_is_not_lost(self, vendor: Vendor):
        ids = []
        for _ in range(MANY):
            vendor.tick(1)
            ids.append(vendor.add())
        watermark = None
        after = []
        for number, page in enumerate(
            vendor.connector.changed_since(vendor.object_type, None, [vendor.title], vendor.scope)
        ):
            if number == 0:
                vendor.tick(1)
                vendor.edit(ids[0], {vendor.title: "Already read"})
                vendor.edit(ids[-1], {vendor.title: "Still to come"})
            else:
                after += [record.external_id for record in page.records]
            watermark = page.watermark
        again = after + [record.external_id for record in vendor.changed(watermark)]
        assert {ids[0], ids[-1]} <= set(again)

    def test_an_empty_listing_is_one_last_page_that_leads_on(self, vendor: Vendor):
        for id in vendor.ids():
            vendor.remove(id)
        *_, page = vendor.connector.changed_since(vendor.object_type, None, [], vendor.narrow)
        assert page.last and not [record for record in page.records if not record.deleted]
        assert page.watermark
        vendor.tick(5)
        id = vendor.add()
        assert id in {record.external_id for record in vendor.changed(page.watermark, vendor.narrow)}

    def test_a_watermark_moves_back_by_seconds_and_forth_again(self, vendor: Vendor):
        old = vendor.add()
        vendor.tick(300)
        vendor.add()
        shift = vendor.connector.shift_watermark
        moment = vendor.position_of(vendor.read(old, []).updated_at)
        later = shift(moment, -120)
        everything = not vendor.connector.capabilities.lists_changes
        assert (old in {record.external_id for record in vendor.changed(later)}) is everything
        assert old in {record.external_id for record in vendor.changed(shift(later, 180))}
        assert shift(shift(later, 300), -300) == shift(later, 0)

    def test_deletions_are_listed_only_where_declared(self, vendor: Vendor):
        id, other = vendor.add(), vendor.add()
        vendor.tick(120)
        watermark = vendor.watermark()
        vendor.tick(5)
        vendor.remove(id)
        told = {record.external_id: record.deleted for record in vendor.changed(watermark)}
        assert told.get(id) is (True if vendor.connector.capabilities.lists_deletions else None)
        assert told.get(other, False) is False

    def test_lists_that_lag_catch_up_within_the_lookback_and_others_know_an_edit_at_once(self, vendor: Vendor):
        able = vendor.connector.capabilities
        id = vendor.add()
        vendor.tick(600)
        if not able.lists_lag:
            watermark = vendor.watermark()
            vendor.edit(id, {vendor.title: "At once"})
            [record] = [r for r in vendor.changed(watermark) if r.external_id == id]
            assert record.values[vendor.title] == "At once"
            return
        vendor.lag(able.lookback * 0.9)
        version = vendor.read(id).version
        vendor.edit(id, {vendor.title: "Late"})
        vendor.tick(able.lookback * 0.45)
        before = vendor.watermark()
        told = vendor.changed(vendor.connector.shift_watermark(before, able.overlap))
        assert {record.version for record in told} <= {version}
        vendor.tick(able.lookback * 0.5)
        again = vendor.connector.shift_watermark(vendor.watermark(), 2 * able.lookback)
        assert id in {record.external_id for record in vendor.changed(again)}
        assert vendor.read(id).values[vendor.title] == "Late"

    # Scopes ----------------------------------------------------------------------------------------------------------

    def test_all_ways_to_ask_for_the_scope_agree(self, vendor: Vendor):
        inside, outside = {vendor.add() for _ in range(2)}, {vendor.add(inside=False) for _ in range(2)}
        everything = sorted(inside | outside)
        for scope, wanted in ((vendor.scope, inside | outside), (vendor.narrow, inside)):
            assert vendor.connector.in_scope(vendor.object_type, everything, scope) == wanted
            assert sorted(vendor.listed(scope)) == sorted(wanted)
            assert {record.external_id for record in vendor.changed(None, scope)} == wanted
            fields = list(vendor.fields())
            for id, record in vendor.connector.get_many(vendor.object_type, everything, fields).items():
                assert vendor.connector.admits(vendor.object_type, record, scope) in (None, id in wanted)

    def test_a_record_that_left_the_scope_is_out_of_it_at_once(self, vendor: Vendor):
        id, other = vendor.add(), vendor.add()
        if vendor.connector.capabilities.lists_lag:
            vendor.lag(600)
        vendor.edit(id, vendor.leaving)
        late = vendor.add()
        assert vendor.connector.in_scope(vendor.object_type, [id, other, late], vendor.narrow) == {other, late}
        record = vendor.read(id, list(vendor.fields()))
        assert vendor.connector.admits(vendor.object_type, record, vendor.narrow) in (None, False)

    def test_without_a_scope_every_record_is_let_in(self, vendor: Vendor):
        ids = {vendor.add(), vendor.add(inside=False)}
        assert vendor.connector.in_scope(vendor.object_type, sorted(ids), {}) == ids
        assert ids <= set(vendor.listed({}))
        records = vendor.connector.get_many(vendor.object_type, sorted(ids), vendor.paths).values()
        assert all(vendor.connector.admits(vendor.object_type, record, {}) in (None, True) for record in records)

    def test_unknown_and_deleted_records_are_in_no_scope(self, vendor: Vendor):
        id, gone = vendor.add(), vendor.add()
        vendor.remove(gone)
        asked = [id, gone, vendor.unknown_id, "no id'); --", ""]
        for scope in ({}, vendor.scope, vendor.narrow):
            assert vendor.connector.in_scope(vendor.object_type, asked, scope) == {id}
            assert vendor.connector.in_scope(vendor.object_type, [gone], scope) == set()
        assert vendor.connector.in_scope(vendor.object_type, [], vendor.scope) == set()

    def test_a_complete_listing_names_each_record_once_and_no_deleted_one(self, vendor: Vendor):
        ids = {vendor.add() for _ in range(MANY)}
        gone = min(ids)
        vendor.remove(gone)
        assert sorted(vendor.listed()) == sorted(ids - {gone})

    def test_the_scope_of_many_records_is_asked_at_once(self, vendor: Vendor):
        inside, outside = {vendor.add() for _ in range(MANY)}, {vendor.add(inside=False) for _ in range(3)}
        assert vendor.connector.in_scope(vendor.object_type, sorted(inside | outside), vendor.narrow) == inside

    # Look-ups by value ---------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("text", NASTY)
    def test_a_text_is_found_whatever_signs_it_holds_and_nothing_beside_it(self, vendor: Vendor, text: str):
        id = vendor.add({vendor.title: text})
        vendor.add({vendor.title: text + " again"})
        vendor.add({vendor.title: "Another thing"})
        assert vendor.find(vendor.title, text) == [id]

    def test_a_look_up_ignores_case_and_takes_many_values(self, vendor: Vendor):
        ids = {vendor.add({vendor.title: f"Thing number {n}"}) for n in range(25)}
        assert set(vendor.find(vendor.title, *[f"THING Number {n}" for n in range(25)])) == ids

    def test_a_look_up_stays_within_the_scope_and_leaves_deleted_records_out(self, vendor: Vendor):
        inside, outside = vendor.add({vendor.title: "Twin"}), vendor.add({vendor.title: "Twin"}, inside=False)
        assert vendor.find(vendor.title, "Twin", scope=vendor.narrow) == [inside]
        assert set(vendor.find(vendor.title, "Twin")) == {inside, outside}
        vendor.remove(inside)
        assert vendor.find(vendor.title, "Twin") == [outside]

    def test_nothing_is_found_by_nothing(self, vendor: Vendor):
        vendor.add()
        assert vendor.find(vendor.title) == []
        assert vendor.find(vendor.title, None, "") == []
        assert vendor.find(vendor.title, "Nobody wrote this") == []

    def test_a_look_up_reads_the_fields_asked_for(self, vendor: Vendor):
        vendor.add({**vendor.firsts(), vendor.title: "Whole"})
        [record] = vendor.connector.find_by_values(
            vendor.object_type, vendor.title, ["Whole"], vendor.paths, vendor.scope
        )
        assert {path: record.values[path] for path in vendor.firsts()} == vendor.firsts()

    def test_every_matchable_field_finds_its_record(self, vendor: Vendor):
        id = vendor.add({vendor.title: "Thing", **vendor.matches})
        vendor.add()
        fields = vendor.fields()
        for path, value in vendor.matches.items():
            assert fields[path].matchable
            assert vendor.find(path, value) == [id]

    # People, links, children -----------------------------------------------------------------------------------------

    def test_people_are_found_by_a_part_of_their_name_and_can_be_written(self, vendor: Vendor):
        found = dict(vendor.connector.people(vendor.ana.name))
        assert vendor.ana.name.lower() in found[vendor.ana.value].lower()
        assert vendor.inactive_person not in found
        person = vendor.samples["person"].path
        assert vendor.update(vendor.add(), {person: vendor.ana.value}).record.values[person] == vendor.ana.value

    @pytest.mark.parametrize("query", ["%", "'", '"', "\\", "nobody of this name", "x' OR Name != '"])
    def test_odd_questions_for_people_are_answered(self, vendor: Vendor, query: str):
        everybody = {value for value, _ in vendor.connector.people("")}
        found = {value for value, _ in vendor.connector.people(query)}
        assert vendor.ana.value not in found or not query.strip()
        assert vendor.inactive_person not in found | everybody

    def test_a_link_leads_to_the_record_at_the_systems_own_address(self, vendor: Vendor):
        record = vendor.read(vendor.add())
        link = vendor.connector.url_of(vendor.object_type, record.external_id, record.key)
        if not link:
            assert not vendor.has_pages
            return
        assert link.startswith(vendor.connector.context.address + "/")
        assert record.external_id in link or str(record.key) in link

    def test_children_come_by_parent_oldest_first(self, vendor: Vendor):
        if vendor.children is None:
            assert not any(one.parent for one in vendor.connector.object_types())
            return
        parent, childless = vendor.add(), vendor.add()
        first = vendor.add_child(parent, "one")
        vendor.tick(1)
        second = vendor.add_child(parent, "two")
        paths = [field.path for field in vendor.connector.fields(vendor.children, vendor.scope)]
        found = vendor.connector.children(vendor.children, [parent, childless], paths)
        assert [record.external_id for record in found[parent]] == [first, second]
        assert {record.parent_id for record in found[parent]} == {parent}
        assert list(found[childless]) == []
        assert set(vendor.connector.get_many(vendor.children, [first, second], paths)) == {first, second}
