"""The contract's promises about records that belong to another one: comments, attachments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pytest

from connections.connectors.base import ConnectorError, Gone, NotAllowed, Record, Refused, Update, Values
from connections.tests.contract_reading import MANY, assert_normal, assert_record
from connections.tests.contract_telling import LONG_AGO
from connections.tests.contract_vendor import Vendor

# Names of files and texts in any script, with signs that addresses, queries and headers use for themselves.
NAMES = ("Grüße aus Köln.txt", "日本語 ✓.txt", "50% & more=#1?.txt", 'say "no".txt', "a^b.txt", "../up;x=1.txt")


class ChildVendor(Vendor):
    """A system whose `children` are put to the test."""

    children: str
    deletes_children = False  # whether our account can delete one

    def written(self, text: str) -> Values:
        """What our account writes to add what `add_child` adds."""
        raise NotImplementedError

    def forbid_children(self) -> None:
        """Take every right to them from our account."""
        raise NotImplementedError

    def child_ids(self) -> set[str]:
        raise NotImplementedError

    # Shorthand -------------------------------------------------------------------------------------------------------

    @property
    def child_paths(self) -> list[str]:
        return [field.path for field in self.connector.fields(self.children, self.scope)]

    def make(self, parent: str | None, text: str) -> Record:
        return self.connector.create(self.children, self.written(text), "k", self.scope, parent).record

    def child(self, id: str) -> Record:
        return self.connector.get_many(self.children, [id], self.child_paths)[id]

    def of(self, parent: str) -> Sequence[Record]:
        return self.connector.children(self.children, [parent], self.child_paths)[parent]

    def child_changes(self, watermark: str | None) -> list[Record]:
        pages = self.connector.changed_since(self.children, watermark, self.child_paths, self.scope)
        return [record for page in pages for record in page.records]

    def all_child_ids(self) -> set[str]:
        return {id for page in self.connector.list_ids(self.children, self.scope) for id in page}


class ChildrenContract:
    def test_children_are_listed_oldest_first_over_all_pages(self, vendor: ChildVendor):
        parents = [vendor.add(), vendor.add()]
        made = []
        for number in range(MANY):
            vendor.tick(number % 2)  # two of each moment
            made.append(vendor.add_child(parents[number % 2], f"Child {number}"))
        pages = list(vendor.connector.changed_since(vendor.children, None, vendor.child_paths, vendor.scope))
        records = [record for page in pages for record in page.records]
        assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
        assert sorted(r.external_id for r in records) == sorted(made) == sorted(vendor.all_child_ids())
        stamps = [datetime.fromisoformat(str(record.updated_at)) for record in records]
        assert stamps == sorted(stamps)
        kinds = {field.path: field.kind for field in vendor.connector.fields(vendor.children, vendor.scope)}
        for record in records:
            assert_record(record)
            assert record.parent_id in parents and record.created_by == vendor.ana.account
            for path, value in record.values.items():
                assert_normal(kinds[path], value)
        for number, page in enumerate(pages):
            rest = {r.external_id for r in vendor.child_changes(page.watermark)}
            assert rest >= {r.external_id for later in pages[number + 1 :] for r in later.records}
        assert {r.external_id for r in vendor.of(parents[0])} == set(made[::2])

    def test_the_boundary_is_inclusive_and_a_child_reads_the_same_everywhere(self, vendor: ChildVendor):
        parent = vendor.add()
        first = vendor.add_child(parent, "one")
        vendor.tick(60)
        second = vendor.add_child(parent, "two")
        position = vendor.position_of(vendor.child(second).updated_at)
        assert [record.external_id for record in vendor.child_changes(position)] == [second]
        assert vendor.child_changes(None) == list(vendor.of(parent)) == [vendor.child(first), vendor.child(second)]
        assert vendor.connector.in_scope(vendor.children, [first, vendor.unknown_id], vendor.scope) == {first}
        assert vendor.connector.get_many(vendor.children, [vendor.unknown_id, "", "../x"], []) == {}

    @pytest.mark.parametrize("text", NAMES)
    def test_texts_in_any_script_are_read_and_written_as_they_are(self, vendor: ChildVendor, text: str):
        parent = vendor.add()
        theirs = vendor.child(vendor.add_child(parent, text))
        made = vendor.make(parent, text)
        wanted = vendor.written(text)
        for record in (theirs, made, vendor.child(made.external_id)):
            assert {path: record.values[path] for path in wanted} == dict(wanted)
            assert record.parent_id == parent

    def test_a_create_without_an_answer_is_told_by_the_number_of_equal_ones(self, vendor: ChildVendor):
        parent = vendor.add()
        vendor.add_child(parent, "Same")
        since = str(vendor.of(parent)[0].created_at)
        one = vendor.make(parent, "Same").external_id
        vendor.tick(2)
        made = {one, vendor.make(parent, "Same").external_id}
        assert len(made) == 2
        own = vendor.connector.own_recent(vendor.children, since, vendor.child_paths, vendor.scope)
        assert {record.external_id for record in own} == made
        assert all(record.correlation_key is None for record in own)
        assert vendor.connector.find_by_correlation_key(vendor.children, ["k"], [], vendor.scope) == {}
        assert not vendor.connector.capabilities_of(vendor.children).create_lookup_consistent

    def test_a_child_needs_its_parent(self, vendor: ChildVendor):
        vendor.add()
        with pytest.raises(Refused):
            vendor.make(None, "Nobody's")
        with pytest.raises(Gone):
            vendor.make(vendor.unknown_id, "Nobody's")
        assert vendor.child_ids() == set()

    def test_a_child_cannot_be_changed_and_its_fields_say_so(self, vendor: ChildVendor):
        id = vendor.add_child(vendor.add(), "Stays")
        before = vendor.child(id)
        values = vendor.written("Changed")
        with pytest.raises(Refused):
            vendor.connector.update(vendor.children, id, values, None, [])
        [many] = vendor.connector.update_many(vendor.children, [Update(id, values)], [])
        assert isinstance(many, Refused) and set(many.fields) >= set(values)
        with pytest.raises(Gone):
            vendor.connector.update(vendor.children, vendor.unknown_id, values, None, [])
        assert vendor.child(id) == before

    def test_a_deleted_child_is_gone_from_everything_or_the_deletion_is_refused(self, vendor: ChildVendor):
        parent = vendor.add()
        id, other = vendor.add_child(parent, "Goes"), vendor.add_child(parent, "Stays")
        vendor.tick(60)
        position = vendor.position_of(vendor.stamp())
        if not vendor.deletes_children:
            with pytest.raises(Refused):
                vendor.connector.delete(vendor.children, id)
            assert vendor.child_ids() == {id, other}
            return
        vendor.connector.delete(vendor.children, id)
        assert vendor.child_ids() == vendor.all_child_ids() == {other}
        assert set(vendor.connector.get_many(vendor.children, [id, other], [])) == {other}
        assert [record.external_id for record in vendor.of(parent)] == [other]
        gone = {record.external_id for record in vendor.child_changes(position) if record.deleted}
        assert gone == ({id} if vendor.connector.capabilities_of(vendor.children).lists_deletions else set())
        for odd in (id, vendor.unknown_id, "", f"{other}/../{other}", f"{other}?x=1"):
            with pytest.raises(Gone):
                vendor.connector.delete(vendor.children, odd)
        assert vendor.child_ids() == {other}

    def test_a_right_that_is_missing_is_said_and_never_looks_like_nothing(self, vendor: ChildVendor):
        parent = vendor.add()
        id = vendor.add_child(parent, "Hidden")
        vendor.child(id)
        vendor.forbid_children()
        for act in (
            lambda: vendor.child(id),
            lambda: vendor.child_changes(None),
            lambda: vendor.of(parent),
            vendor.all_child_ids,
            lambda: vendor.connector.own_recent(vendor.children, LONG_AGO, [], vendor.scope),
            lambda: vendor.make(parent, "Not allowed"),
        ):
            with pytest.raises(NotAllowed):
                act()
        with pytest.raises(ConnectorError):
            vendor.connector.delete(vendor.children, id)
        assert vendor.child_ids() == {id}
