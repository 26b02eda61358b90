"""A record that lacks what an expression looks at does not say that it is empty: as a table, and as a reader has it."""

from __future__ import annotations

from typing import Any

import pytest

from connections.connectors.rest_absent import lacks
from connections.connectors.rest_definition import parse
from connections.connectors.rest_library import shipped
from connections.connectors.rest_records import Reader
from connections.tests.evidence import needs_evidence, payload_body
from connections.tests.rest_documents import WHOLE, changed

# (expression, a record that lacks what it looks at, one that has it and says nothing there)
EMPTY = [
    ("a", {}, {"a": None}),
    ('"first-name"', {"a": 1}, {"first-name": None}),
    ("@.a", {}, {"a": ""}),
    ("a.b", {"a": {}}, {"a": {"b": None}}),
    ("a.b", {}, {"a": None}),
    ("a[0]", {}, {"a": []}),
    ("a[0].b", {"a": [{}]}, {"a": []}),
    ("a[1:3]", {}, {"a": [1]}),
    ("tags[].name", {}, {"tags": []}),
    ("tags[].name", {"tags": [{"name": "x"}, {"id": 2}]}, {"tags": None}),
    ("tags[*].name.text", {"tags": [{"name": {}}]}, {"tags": [{"name": None}]}),
    ("a[].b[].c", {"a": [{"b": [{}]}]}, {"a": [{"b": []}]}),
    ("a.*.b", {"a": {"x": {}}}, {"a": {}}),
    ("more[?id==`1`].value | [0]", {}, {"more": [{"id": 2}]}),
    ("more[?id==`1`].value | [0]", {"more": [{"id": 1}]}, {"more": [{"id": 1, "value": None}, {"id": 2}]}),
    ("more[?id==`1`].value | [0]", {"more": [{"value": 5}]}, {"more": []}),
    ("more[?!off].value", {"more": [{"value": 5, "off": True}, {}]}, {"more": [{"off": True}]}),
    ("a || b", {}, {"a": None, "b": None}),
    ("a || b", {"a": None}, {"a": "", "b": ""}),
    ("a || b || 'none'", {}, {"a": None, "b": []}),
    ("a || ''", {}, {"a": None}),
    ("not_null(a, b)", {"a": None}, {"a": None, "b": None}),
    ("a && b", {"a": 1}, {"a": None}),
    ("a.b && 'yes'", {"a": {}}, {"a": {"b": False}}),
    ("!a", {}, {"a": True}),
    ("a == `1`", {}, {"a": 2}),
    ("join(' ', [first || '', last || ''])", {"last": "Smith"}, {"first": None, "last": ""}),
    ("join(', ', tags)", {}, {"tags": []}),
    ("[a, b]", {"a": 1}, {"a": None, "b": None}),
    ("{x: a, y: b}", {"a": 1}, {"a": None, "b": None}),
    ("sort_by(tags, &rank)[].name", {"tags": [{"name": "x"}]}, {"tags": []}),
    ("map(&name, tags)", {"tags": [{}]}, {"tags": [{"name": None}]}),
    ("a[", {}, None),  # an expression that cannot be read finds nothing, and nobody knows what is there
]  # fmt: skip


@pytest.mark.parametrize(("expression", "lacking", "empty"), EMPTY)
def test_what_a_record_lacks_is_told_from_what_it_says_is_empty(expression: str, lacking: Any, empty: Any):
    assert lacks(expression, lacking)
    assert empty is None or not lacks(expression, empty)


@pytest.mark.parametrize(
    ("expression", "record"),
    [
        ("a || b", {"b": "x"}),  # one of the places is enough where it says something
        ("a || b", {"a": "x"}),
        ("a || b || c", {"b": "x"}),
        ("not_null(a, b)", {"b": ""}),
        ("a || `0`", {"a": 0}),  # for JMESPath 0 is something
        ("more[?!off].value", {"more": [{"value": 5}]}),  # it asks whether the key is there
        ("tags[].name", {"tags": ["x"]}),  # no object: what it is instead is for the value's kind to judge
        ("@", {}),
        ("'constant'", {}),
    ],
)
def test_what_gives_a_value_is_there(expression: str, record: Any):
    assert not lacks(expression, record)


def reader(**field: Any) -> Reader:
    definition = parse(changed(WHOLE, "object_types.0.fields", [{"name": "labels", **field}]))
    return Reader(definition, definition.object_types[0], lambda field: (), dict)


@pytest.mark.parametrize(
    "field",
    [
        {"kind": "set", "read": "tags[].name"},
        {"read": "join(' ', [first || '', last || ''])"},
        {"read": "nick || first"},
    ],
)
def test_a_field_whose_place_a_record_lacks_is_unreadable_unless_that_means_empty(field: dict[str, Any]):
    assert reader(**field).values({"id": 1}, ["labels"]) == ({}, {"labels"})
    values, unreadable = reader(**field, absent="empty").values({"id": 1}, ["labels"])
    assert values["labels"] in (None, [], " ") and not unreadable


def test_a_text_made_of_two_is_unreadable_where_one_of_them_is_missing():
    field = {"read": "join(' ', [first || '', last || ''])"}
    assert reader(**field).values({"last": "Smith"}, ["labels"]) == ({}, {"labels"}), "half of it is no edit"
    assert reader(**field).values({"first": None, "last": "Smith"}, ["labels"]) == ({"labels": " Smith"}, frozenset())


# Fields that no record of the vendor's has at all, since they are given to new ones only.
FOR_NEW_ONES = {"email"}
RECORDED = {"freshdesk": "freshdesk/ticket", "freshservice": "freshservice/ticket_list"}
RECORDED |= {"hubspot_contacts": "hubspot/search_first_page"}


@needs_evidence
@pytest.mark.parametrize("kind", RECORDED)
def test_no_field_of_a_shipped_definition_is_missing_from_what_the_vendor_answered(kind: str):
    [definition] = [each for each in shipped() if each.kind == kind]
    body = payload_body(RECORDED[kind])
    records = body.get("tickets") or body.get("results") or [body]
    for record in records:
        known = set(record.get("properties", record))
        asked = [field for field in definition.object_types[0].fields if field.name not in FOR_NEW_ONES]
        # HubSpot gives the properties that are asked for; the recording asked for some of ours.
        there = [field for field in asked if kind != "hubspot_contacts" or field.name in known]
        assert len(there) > 4
        assert [field.name for field in there if lacks(field.read or field.name, record)] == []
