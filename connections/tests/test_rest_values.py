"""Values of a described API as tables: in, out, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from connections.connectors.base import Refused
from connections.connectors.rest_definition import FieldDefinition, OptionDefinition, Times
from connections.connectors.rest_paths import fill, fill_all, is_id, look, put
from connections.connectors.rest_values import as_sent, incoming, moment, outgoing

ISO, EPOCH, MILLIS = Times(), Times("epoch"), Times("epoch_ms")
PATTERN = Times("pattern", "%Y-%m-%d.%H:%M:%S")
OPTIONS = (OptionDefinition(1, "New"), OptionDefinition("x", ""))
WHO = {"7": "ana@acme.example", "8": ""}


@pytest.mark.parametrize(
    ("raw", "times", "normal"),
    [
        ("2026-01-01T00:00:00Z", ISO, "2026-01-01T00:00:00Z"),
        ("2026-01-01T05:30:00+0530", ISO, "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00.120-01:00", ISO, "2026-01-01T01:00:00.120000Z"),
        ("2026-01-01 00:00:00", ISO, "2026-01-01T00:00:00Z"),
        (1767225600, EPOCH, "2026-01-01T00:00:00Z"),
        ("1767225600", EPOCH, "2026-01-01T00:00:00Z"),
        (1767225600123, MILLIS, "2026-01-01T00:00:00.123000Z"),
        ("2026-01-01.00:00:00", PATTERN, "2026-01-01T00:00:00Z"),
        (None, ISO, None),
        ("", ISO, None),
    ],
)
def test_a_time_is_read_in_every_form(raw: Any, times: Times, normal: str | None):
    assert moment(raw, times) == normal


@pytest.mark.parametrize(("raw", "times"), [("soon", ISO), (5, ISO), (True, EPOCH), (10**30, EPOCH), ("x", PATTERN)])
def test_what_is_no_time_is_refused(raw: Any, times: Times):
    with pytest.raises(ValueError):
        moment(raw, times)


@pytest.mark.parametrize(
    ("times", "sent"),
    [
        (ISO, "2026-01-01T00:00:00.500000Z"),
        (EPOCH, 1767225600),
        (MILLIS, 1767225600500),
        (Times("epoch_ms", as_text=True), "1767225600500"),
        (PATTERN, "2026-01-01.00:00:00"),
    ],
)
def test_a_time_is_sent_in_every_form_and_never_later_than_it_is(times: Times, sent: Any):
    assert as_sent("2026-01-01T00:00:00.5Z", times) == sent


@pytest.mark.parametrize(
    ("field", "raw", "normal"),
    [
        ({"kind": "text"}, "a\r\nb\rc", "a\nb\nc"),
        ({"kind": "text"}, 5, "5"),
        ({"kind": "text"}, "", None),
        ({"kind": "option"}, 1, "New"),
        ({"kind": "option"}, "1", "New"),
        ({"kind": "option"}, 9, "9"),
        ({"kind": "set"}, ["b", "a", "b", None, ""], ["a", "b"]),
        ({"kind": "set"}, None, []),
        ({"kind": "set", "separator": ";"}, "b; a;", ["a", "b"]),
        ({"kind": "person"}, 7, "ana@acme.example"),
        ({"kind": "person"}, 8, "id:8"),
        ({"kind": "person"}, "Bob@Acme.example", "bob@acme.example"),
        ({"kind": "number"}, "2.50", 2.5),
        ({"kind": "number"}, 3.0, 3),
        ({"kind": "boolean"}, "TRUE", True),
        ({"kind": "boolean"}, 0, False),
        ({"kind": "date"}, "2026-02-03T10:00:00Z", "2026-02-03"),
        ({"kind": "date", "times": MILLIS}, 1767225600000, "2026-01-01"),
        ({"kind": "reference"}, 12, "12"),
    ],
)
def test_a_value_is_read_in_its_normal_form(field: dict[str, Any], raw: Any, normal: Any):
    assert (
        incoming(FieldDefinition("f", **field), raw, ISO, OPTIONS if field["kind"] == "option" else (), WHO) == normal
    )


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("text", {}),
        ("number", "many"),
        ("number", "12345678901234567.89"),  # a floating number would be another one
        ("number", True),
        ("boolean", "perhaps"),
        ("date", "soon"),
        ("set", "a"),
        ("set", 1),
    ],
)
def test_a_value_of_another_kind_is_no_value(kind: Any, raw: Any):
    with pytest.raises(ValueError):
        incoming(FieldDefinition("f", kind=kind), raw, ISO, (), {})


@pytest.mark.parametrize(
    ("field", "value", "sent"),
    [
        ({"kind": "text"}, None, None),
        ({"kind": "text", "empty": ""}, None, ""),
        ({"kind": "set"}, [], []),
        ({"kind": "set", "separator": ";"}, ["a", "b"], "a;b"),
        ({"kind": "option", "options": OPTIONS}, "New", 1),
        ({"kind": "option", "options": OPTIONS}, "x", "x"),
        ({"kind": "option"}, "Anything", "Anything"),
        ({"kind": "person", "send_as": "number"}, "ana@acme.example", 7),
        ({"kind": "person"}, "id:8", "8"),
        ({"kind": "number", "send_as": "text"}, 2.5, "2.5"),
        ({"kind": "boolean", "send_as": "text"}, True, "true"),
        ({"kind": "reference", "send_as": "number"}, "12", 12),
        ({"kind": "datetime", "times": EPOCH}, "2026-01-01T00:00:00Z", 1767225600),
        ({"kind": "date", "times": MILLIS}, "2026-01-01", 1767225600000),
    ],
)
def test_a_value_is_sent_in_the_systems_form(field: dict[str, Any], value: Any, sent: Any):
    own = FieldDefinition("f", **field)
    assert outgoing(own, value, ISO, own.options, WHO) == sent


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ({"required": True}, None, "must not be empty"),
        ({"clearable": False}, None, "must not be empty"),
        ({"max_length": 3}, "four", "longer than 3"),
        ({"kind": "option", "options": OPTIONS}, "Old", "there is no “Old”; there are New, x"),
        ({"kind": "set", "separator": ";"}, ["a;b"], "stands between the parts"),
        ({"kind": "person"}, "nobody@acme.example", "nobody active"),
        ({"kind": "person"}, "queue:Two", "a group cannot"),
        ({"kind": "number"}, "5", "is no number"),
        ({"kind": "reference", "send_as": "number"}, "x", "is no number"),
        ({"kind": "boolean"}, "yes", "is no yes or no"),
    ],
)
def test_a_value_that_cannot_be_sent_names_its_field(field: dict[str, Any], value: Any, said: str):
    own = FieldDefinition("f", **field)
    with pytest.raises(Refused) as caught:
        outgoing(own, value, ISO, own.options, WHO)
    assert set(caught.value.fields) == {"f"} and said in caught.value.fields["f"]


# Templates and expressions -----------------------------------------------------------------------------------------


def test_a_template_only_places_values_and_quotes_them_in_a_path():
    names = {"id": "a/b?c#d é", "x": "1"}
    assert fill("/things/{id}/{x}", names, quoted=True) == "/things/a%2Fb%3Fc%23d%20%C3%A9/1"
    assert fill(">={x} {{literal}}", names) == ">=1 {literal}"
    assert fill_all({"a": ["{ids}", "x{x}"], "n": 5}, {"ids": [1, 2], "x": "1"}) == {"a": [[1, 2], "x1"], "n": 5}


@pytest.mark.parametrize("expression", ["a.b.c", "a[0]", "length(a)", "sort(a)", "to_number(a)", "a || `5` > b"])
@pytest.mark.parametrize("value", [None, 5, "x", [], {}, {"a": None}, {"a": [1, "x", None]}])
def test_no_answer_makes_an_expression_fail(expression: str, value: Any):
    look(expression, value)


def test_a_value_is_put_at_its_place_whatever_is_there():
    body: dict[str, Any] = {"a": {"keep": 1}, "b": "text"}
    put(body, "a.b.c", 2)
    put(body, "b.d", 3)
    assert body == {"a": {"keep": 1, "b": {"c": 2}}, "b": {"d": 3}}


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "a\\b", "a?b", "a#b", " a", "a\n", "x" * 501])
def test_an_id_that_could_reach_another_record_is_none(id: str):
    assert not is_id(id)
    assert is_id("a-1_b:c.d e@f")
