"""The contract's promises about writing: exactly what was sent, refusals by field, keys, versions, deletions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from connections.connectors.base import (
    ConnectorError,
    Creation,
    Gone,
    Record,
    Refused,
    Update,
    VersionMismatch,
    WriteResult,
)
from connections.tests.contract_reading import KINDS, assert_record
from connections.tests.contract_vendor import Vendor, differing, outcome

# Steps a value may need along its workflow before something must be wrong.
MANY_STEPS = 10
ODD_TEXTS = ("'", '"', "\\n", "@{write.id}", "100%", "{{x}}", "日本語 🙂", "<b>&amp;</b>", "null")


def refused(act: Any) -> set[str]:
    """The fields named by the refusal of `act`."""
    with pytest.raises(Refused) as caught:
        act()
    assert caught.value.message
    assert all(caught.value.fields.values())
    return set(caught.value.fields)


def update_all(vendor: Vendor, updates: Sequence[Update]) -> list[WriteResult | ConnectorError]:
    """Many updates as a caller makes them: in bulk where that is declared, else one by one."""
    if vendor.connector.capabilities.bulk_write > 1:
        return list(vendor.connector.update_many(vendor.object_type, updates, vendor.paths))
    return [outcome(lambda u=u: vendor.update(u.external_id, u.values, u.expected_version)) for u in updates]


def create_all(vendor: Vendor, creations: Sequence[Creation]) -> list[WriteResult | ConnectorError]:
    if vendor.connector.capabilities.bulk_write > 1:
        return list(vendor.connector.create_many(vendor.object_type, creations, vendor.paths, vendor.scope))
    return [outcome(lambda c=c: vendor.create(c.values, c.correlation_key)) for c in creations]


class WritingContract:
    # Updates ---------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("kind", KINDS)
    def test_an_update_writes_its_value_and_nothing_else(self, vendor: Vendor, kind: str):
        id = vendor.add({**vendor.firsts(), vendor.title: "Untouched"})
        sample = vendor.samples.get(kind)
        path, value = (sample.path, sample.second) if sample else (vendor.title, f"No {kind} here")
        before = vendor.snapshot(id)
        result = vendor.update(id, {path: value})
        after = vendor.snapshot(id)
        assert differing(before, after) == {path}
        assert result.record.values[path] == value
        assert not result.created and not result.on_the_way

    def test_many_values_are_written_at_once_and_read_back_with_the_rest(self, vendor: Vendor):
        id = vendor.add({**vendor.firsts(), vendor.title: "Untouched"})
        vendor.tick(2)
        result = vendor.update(id, vendor.seconds())
        assert_record(result.record)
        assert dict(result.record.values) == {**vendor.seconds(), vendor.title: "Untouched"}
        assert result.record == vendor.read(id)

    def test_what_is_written_is_read_back_even_where_it_was_not_asked_for(self, vendor: Vendor):
        id, sample = vendor.add(), vendor.other
        result = vendor.connector.update(vendor.object_type, id, {sample.path: sample.second}, None, [vendor.title])
        assert result.record.values[sample.path] == sample.second
        assert vendor.title in result.record.values

    def test_writing_what_is_already_there_changes_no_value(self, vendor: Vendor):
        id = vendor.add({**vendor.firsts(), vendor.title: "Same"})
        before = vendor.snapshot(id)
        assert dict(vendor.update(id, vendor.firsts()).record.values) == {**vendor.firsts(), vendor.title: "Same"}
        assert vendor.snapshot(id) == before

    @pytest.mark.parametrize("kind", KINDS)
    def test_an_empty_value_clears_or_is_refused_by_name(self, vendor: Vendor, kind: str):
        id = vendor.add({**vendor.firsts(), vendor.title: "Full"})
        sample = vendor.samples.get(kind)
        if sample and sample.clearable:
            assert vendor.update(id, {sample.path: sample.empty}).record.values[sample.path] == sample.empty
            assert vendor.read(id).values[sample.path] == sample.empty
            return
        path = sample.path if sample else vendor.title
        before = vendor.snapshot(id)
        if path == vendor.title and not vendor.fields()[path].required:
            assert vendor.update(id, {path: None}).record.values[path] is None
            return
        assert refused(lambda: vendor.update(id, {path: None})) == {path}
        assert vendor.snapshot(id) == before

    def test_a_field_that_is_declared_required_cannot_be_emptied(self, vendor: Vendor):
        id = vendor.add()
        for path in [f.path for f in vendor.fields().values() if f.required and f.writable]:
            assert refused(lambda path=path: vendor.update(id, {path: None})) == {path}

    def test_line_ends_are_one_sign(self, vendor: Vendor):
        if vendor.lines is None:
            assert "text" in vendor.samples
            path = vendor.samples["text"].path
            with pytest.raises(Refused):
                vendor.update(vendor.add(), {vendor.title: "one\ntwo", path: "kept"})
            return
        id = vendor.add({vendor.lines: "one\r\ntwo\rthree"})
        assert vendor.read(id, [vendor.lines]).values[vendor.lines] == "one\ntwo\nthree"
        record = vendor.update(id, {vendor.lines: "four\nfive\n\nsix"}).record
        assert record.values[vendor.lines] == "four\nfive\n\nsix"

    @pytest.mark.parametrize("text", ODD_TEXTS)
    def test_odd_texts_are_written_as_they_are(self, vendor: Vendor, text: str):
        id = vendor.add()
        path = vendor.other.path
        assert vendor.update(id, {vendor.title: text, path: text}).record.values[path] == text
        assert vendor.read(id).values[vendor.title] == text
        made = vendor.create({vendor.title: text}, "key of " + text).record
        assert vendor.read(made.external_id).values[vendor.title] == text

    # Refusals --------------------------------------------------------------------------------------------------------

    def test_a_refused_value_names_its_field_and_the_others_are_not_written(self, vendor: Vendor):
        id = vendor.add({**vendor.firsts(), vendor.title: "Kept"})
        limit = vendor.fields()[vendor.title].max_length
        option, person = vendor.samples["option"].path, vendor.samples["person"].path
        text = {vendor.other.path: vendor.other.second}
        before, others = vendor.snapshot(id), vendor.ids()
        for path, value in (
            ("No_Such_Field__c", "x"),
            ("customfield_99999", "x"),
            (vendor.title, "x" * (limit + 1)),
            (option, "There is no such option"),
            (person, "nobody.at.all@example.com"),
            (person, vendor.inactive_person),
            (person, "queue:There is no such queue"),
        ):
            assert refused(lambda: vendor.update(id, {**text, path: value})) == {path}  # noqa: B023
            assert refused(lambda: vendor.create({vendor.title: "New", path: value}, "k")) == {path}  # noqa: B023
        assert vendor.snapshot(id) == before
        assert vendor.ids() == others

    def test_a_text_of_the_longest_length_is_taken(self, vendor: Vendor):
        limit = vendor.fields()[vendor.title].max_length
        assert vendor.update(vendor.add(), {vendor.title: "y" * limit}).record.values[vendor.title] == "y" * limit

    def test_a_create_without_what_is_required_names_the_field(self, vendor: Vendor):
        vendor.add()
        required = {f.path for f in vendor.fields().values() if f.required and f.creatable}
        if not required:
            assert vendor.create({vendor.other.path: "No title"}, "k").created
            return
        assert refused(lambda: vendor.create({vendor.other.path: "No title"}, "k")) == required

    def test_a_field_that_cannot_be_written_is_refused_by_name(self, vendor: Vendor):
        id = vendor.add()
        fixed = [f for f in vendor.fields().values() if not f.writable and f.kind in ("text", "datetime")]
        for field in fixed:
            value = "2026-01-01T00:00:00Z" if field.kind == "datetime" else "x"
            assert refused(lambda f=field, v=value: vendor.update(id, {f.path: v})) == {field.path}

    # A field with a way of its own -----------------------------------------------------------------------------------

    def test_a_field_with_a_way_of_its_own_arrives_step_by_step(self, vendor: Vendor):
        id = vendor.add()
        apart = {field.path for field in vendor.fields().values() if field.separate_write}
        if vendor.journey is None:
            assert apart == set()
            both = {vendor.samples["option"].path: vendor.samples["option"].second, vendor.title: "Together"}
            assert not vendor.update(id, both).on_the_way
            return
        path, target, steps = vendor.journey
        assert apart == {path}
        vendor.pave()
        before = vendor.snapshot(id)
        reached = []
        for _ in range(MANY_STEPS):
            result = vendor.update(id, {path: target})
            reached.append(result.record.values[path])
            if not result.on_the_way:
                break
            assert dict(result.on_the_way) == {path: reached[-1]}
        assert reached[-1] == target
        assert len(reached) == len(set(reached)) == steps
        after = vendor.snapshot(id)
        assert differing(before, after) - vendor.follows == {path}
        assert vendor.update(id, {path: target}).record.values[path] == target  # already there

    def test_a_way_that_leads_nowhere_is_refused_by_name(self, vendor: Vendor):
        id = vendor.add()
        path = vendor.journey[0] if vendor.journey else vendor.samples["option"].path
        assert refused(lambda: vendor.update(id, {path: "There is no such value"})) == {path}

    # Versions --------------------------------------------------------------------------------------------------------

    def test_an_edit_changes_the_version_and_a_read_does_not(self, vendor: Vendor):
        id = vendor.add()
        first = vendor.read(id).version
        vendor.tick(2)
        assert vendor.read(id).version == first
        vendor.edit(id, {vendor.title: "Edited"})
        second = vendor.read(id).version
        vendor.tick(2)
        third = vendor.update(id, {vendor.title: "Edited again"}).record.version
        assert len({first, second, third}) == 3
        assert vendor.read(id).version == third

    def test_an_exact_version_tells_two_edits_of_one_moment_apart_and_another_is_a_time(self, vendor: Vendor):
        id = vendor.add()
        vendor.edit(id, {vendor.title: "one"})
        one = vendor.read(id)
        vendor.edit(id, {vendor.title: "two"})
        two = vendor.read(id)
        if vendor.connector.capabilities.exact_version or not vendor.connector.capabilities.lists_changes:
            assert one.version != two.version
        else:
            assert two.version == two.updated_at == one.updated_at

    def test_a_record_that_is_put_back_has_no_old_version_again_unless_declared(self, vendor: Vendor):
        """An equal version proves then that a write of ours without an answer did not happen."""
        able = vendor.connector.capabilities_of(vendor.object_type)
        id = vendor.add({vendor.title: "Before"})
        old = vendor.read(id).version
        vendor.tick(2)
        vendor.update(id, {vendor.title: "Ours"}, old)
        vendor.tick(2)
        vendor.edit(id, {vendor.title: "Before"})
        assert vendor.read(id).version != old or able.version_comes_back or not able.exact_version

    def test_a_write_under_an_old_version_is_refused_only_where_declared(self, vendor: Vendor):
        able = vendor.connector.capabilities
        id = vendor.add({vendor.title: "Before"})
        old = vendor.read(id).version
        vendor.tick(max(2.0, 2 * able.conditional_resolution))
        vendor.edit(id, {vendor.other.path: "Somebody else's"})
        if able.conditional_write:
            before = vendor.snapshot(id)
            with pytest.raises(VersionMismatch):
                vendor.update(id, {vendor.title: "Ours"}, old)
            assert vendor.snapshot(id) == before
        else:
            # The caller has to read again itself: nothing stops the write, and it touches only its own field.
            record = vendor.update(id, {vendor.title: "Ours"}, old).record
            assert record.values[vendor.other.path] == "Somebody else's"
        assert vendor.update(id, {vendor.title: "Now"}, vendor.read(id).version).record.values[vendor.title] == "Now"

    def test_changes_closer_together_than_the_declared_resolution_may_pass_and_others_not(self, vendor: Vendor):
        able = vendor.connector.capabilities
        id = vendor.add()
        version = vendor.read(id).version
        vendor.edit(id, {vendor.other.path: "In the same moment"})
        found = outcome(lambda: vendor.update(id, {vendor.title: "Ours"}, version))
        exact = able.conditional_write and not able.conditional_resolution
        assert isinstance(found, VersionMismatch) is exact

    # Creates and keys ------------------------------------------------------------------------------------------------

    def test_a_create_writes_its_values_under_its_key_and_reads_them_back(self, vendor: Vendor):
        before = vendor.ids()
        values = {**vendor.firsts(), vendor.title: "New"}
        result = vendor.create(values, "key-1")
        assert_record(result.record)
        assert result.created
        assert result.record.correlation_key == "key-1"
        assert {path: result.record.values[path] for path in values} == values
        assert vendor.ids() - before == {result.record.external_id}
        read = vendor.read(result.record.external_id)
        assert dict(read.values) == values
        assert (read.correlation_key, read.version) == ("key-1", result.record.version)

    def test_a_create_reads_back_what_it_did_not_write(self, vendor: Vendor):
        values = {vendor.title: "New"}
        made = vendor.connector.create(vendor.object_type, values, "key-1", vendor.scope, fields=vendor.paths).record
        read = vendor.read(made.external_id)
        assert {path: made.values.get(path) for path in read.values} == read.values
        assert read.unreadable <= made.unreadable

    def test_a_created_record_lies_in_the_scope(self, vendor: Vendor):
        id = vendor.create({vendor.title: "New"}, "key-1").record.external_id
        assert vendor.connector.in_scope(vendor.object_type, [id], vendor.scope) == {id}

    def test_a_key_finds_its_record_at_once_or_after_the_declared_time(self, vendor: Vendor):
        able = vendor.connector.capabilities
        since = str(vendor.read(vendor.add()).updated_at)
        if not able.create_lookup_consistent:
            vendor.lag(able.settle_seconds * 0.9)
        id = vendor.create({**vendor.firsts(), vendor.title: "New"}, "key-1").record.external_id
        keys = ["key-1", "key-2", *(f"other-{n}" for n in range(300))]

        def look() -> dict[str, list[Record]]:
            found = vendor.connector.find_by_correlation_key(vendor.object_type, keys, vendor.paths, vendor.scope)
            return {key: list(records) for key, records in found.items() if records}

        if not able.create_lookup_consistent:
            assert look() == {}
            vendor.tick(able.settle_seconds)
        [(key, [record])] = look().items()
        assert (key, record.external_id, record.correlation_key) == ("key-1", id, "key-1")
        assert record == vendor.read(id)
        own = vendor.connector.own_recent(vendor.object_type, since, vendor.paths, vendor.scope)
        assert [(r.external_id, r.correlation_key) for r in own] == [(id, "key-1")]

    def test_own_recent_creations_are_ours_and_recent(self, vendor: Vendor):
        first = vendor.create({vendor.title: "Earlier"}, "key-1").record.external_id
        vendor.tick(120)
        theirs = vendor.add()
        since = str(vendor.read(theirs).created_at)
        second = vendor.create({vendor.title: "Later"}, "key-2").record.external_id
        vendor.tick(2)

        def recent(moment: str) -> set[str]:
            own = vendor.connector.own_recent(vendor.object_type, moment, [], vendor.scope)
            return {record.external_id for record in own}

        assert recent(since) == {second}
        assert recent(str(vendor.read(first).created_at)) == {first, second}

    def test_the_same_key_twice_makes_one_record_only_where_declared(self, vendor: Vendor):
        before = vendor.ids()
        values = {vendor.title: "New"}
        one, two = vendor.create(values, "key-1"), vendor.create(values, "key-1")
        made = vendor.ids() - before
        assert made == {one.record.external_id, two.record.external_id}
        once = vendor.connector.capabilities.idempotent_create
        assert len(made) == (1 if once else 2)
        assert (one.created, two.created) == (True, not once)
        found = vendor.connector.find_by_correlation_key(vendor.object_type, ["key-1"], [], vendor.scope)
        assert {record.external_id for record in found["key-1"]} == made

    def test_keys_that_differ_make_different_records(self, vendor: Vendor):
        keys = ["key-1", "key'2", 'key"3', "key/4", "key 5%", "key\\6", "key?7&x=#"]
        ids = {key: vendor.create({vendor.title: key}, key).record.external_id for key in keys}
        assert len(set(ids.values())) == len(keys)
        found = vendor.connector.find_by_correlation_key(vendor.object_type, keys, [], vendor.scope)
        assert {key: [record.external_id for record in found[key]] for key in keys} == {k: [v] for k, v in ids.items()}

    def test_a_record_of_somebody_else_can_be_given_a_key_and_keeps_all_else(self, vendor: Vendor):
        id = vendor.add({**vendor.firsts(), vendor.title: "Theirs"})
        values = dict(vendor.read(id).values)
        vendor.connector.write_correlation_key(vendor.object_type, id, "key-9")
        record = vendor.read(id)
        assert (record.correlation_key, dict(record.values)) == ("key-9", values)
        with pytest.raises(Gone):
            vendor.connector.write_correlation_key(vendor.object_type, vendor.unknown_id, "key-10")

    # Many at once ----------------------------------------------------------------------------------------------------

    def test_each_of_many_updates_has_its_own_result_in_order(self, vendor: Vendor):
        ids = [vendor.add({vendor.title: f"Thing {n}"}) for n in range(14)]
        limit = vendor.fields()[vendor.title].max_length
        updates = [Update(id, {vendor.title: f"New {n}"}) for n, id in enumerate(ids)]
        updates[3] = Update(ids[3], {vendor.title: "x" * (limit + 1)})
        updates[7] = Update(vendor.unknown_id, {vendor.title: "nobody"})
        results = update_all(vendor, updates)
        assert len(results) == len(updates)
        refusal, gone = results[3], results[7]
        assert isinstance(refusal, Refused) and set(refusal.fields) == {vendor.title}
        assert isinstance(gone, Gone)
        for number, result in enumerate(results):
            if number not in (3, 7):
                assert isinstance(result, WriteResult)
                assert result.record.external_id == ids[number]
                assert result.record.values[vendor.title] == f"New {number}"
        assert [vendor.read(ids[n]).values[vendor.title] for n in (3, 7)] == ["Thing 3", "Thing 7"]

    def test_each_of_many_creates_has_its_own_result_in_order(self, vendor: Vendor):
        before = vendor.ids()
        option = vendor.samples["option"].path
        creations = [Creation({vendor.title: f"New {n}"}, f"key-{n}") for n in range(5)]
        creations[2] = Creation({vendor.title: "Odd", option: "There is no such option"}, "key-2")
        results = create_all(vendor, creations)
        assert isinstance(results[2], Refused) and set(results[2].fields) == {option}
        made = [result for result in results if isinstance(result, WriteResult)]
        assert [result.record.correlation_key for result in made] == ["key-0", "key-1", "key-3", "key-4"]
        assert [result.record.values[vendor.title] for result in made] == ["New 0", "New 1", "New 3", "New 4"]
        assert all(result.created for result in made)
        assert vendor.ids() - before == {result.record.external_id for result in made}

    def test_many_conditional_updates_keep_their_conditions_one_by_one(self, vendor: Vendor):
        able = vendor.connector.capabilities
        ids = [vendor.add() for _ in range(3)]
        versions = {id: vendor.read(id).version for id in ids}
        vendor.tick(max(2.0, 2 * able.conditional_resolution))
        vendor.edit(ids[1], {vendor.other.path: "Somebody else's"})
        results = update_all(vendor, [Update(id, {vendor.title: "Ours"}, versions[id]) for id in ids])
        assert [isinstance(result, VersionMismatch) for result in results] == [False, able.conditional_write, False]
        assert vendor.read(ids[1]).values[vendor.other.path] == "Somebody else's"

    # Deletions -------------------------------------------------------------------------------------------------------

    def test_a_deleted_record_is_gone_from_everything(self, vendor: Vendor):
        id, other = vendor.add(), vendor.add()
        vendor.connector.delete(vendor.object_type, id)
        assert vendor.ids() == {other}
        found = vendor.connector.get_many(vendor.object_type, [id, other], [])
        assert id not in found or found[id].deleted
        assert vendor.listed() == [other]
        assert vendor.connector.in_scope(vendor.object_type, [id, other], vendor.scope) == {other}
        for act in (
            lambda: vendor.update(id, {vendor.title: "x"}),
            lambda: vendor.connector.delete(vendor.object_type, id),
            lambda: vendor.connector.write_correlation_key(vendor.object_type, id, "key-1"),
        ):
            with pytest.raises(Gone):
                act()
        assert vendor.ids() == {other}

    def test_a_record_that_is_not_found_is_gone_for_certain_only_where_declared(self, vendor: Vendor):
        certain = vendor.connector.capabilities.not_found_means_gone
        for act in (
            lambda: vendor.update(vendor.unknown_id, {vendor.title: "x"}),
            lambda: vendor.connector.delete(vendor.object_type, vendor.unknown_id),
        ):
            with pytest.raises(Gone) as caught:
                act()
            assert caught.value.certain is certain

    def test_malformed_ids_reach_no_other_record(self, vendor: Vendor):
        id = vendor.add()
        before = vendor.snapshot(id)
        for odd in (f"{id}/../{id}", f"{id}?x=1", f"{id}#", "../myself", "", "%2e%2e", f"{id}/comment"):
            with pytest.raises(ConnectorError):
                vendor.update(odd, {vendor.title: "x"})
            with pytest.raises(ConnectorError):
                vendor.connector.delete(vendor.object_type, odd)
        assert vendor.snapshot(id) == before
        assert vendor.ids() == {id}
