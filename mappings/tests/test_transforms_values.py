"""Values, sets, people and times: the laws of each lens, and the tricky rows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mappings.tests.lens_cases import LABELS, LENSES, PRIORITIES, TEAM, build
from mappings.tests.properties import LENS, cases
from mappings.transforms import TRANSFORMS, fitting, suggested
from mappings.transforms.base import CannotExpress, FieldSpec, Lens


def refusal(call: Any, *args: Any) -> tuple[str, dict[str, Any]]:
    with pytest.raises(CannotExpress) as caught:
        call(*args)
    return caught.value.code, caught.value.params


@pytest.mark.parametrize(("lens", "left", "right"), [case[1:] for case in LENSES], ids=[case[0] for case in LENSES])
def test_the_laws_hold(lens: Lens, left: Any, right: Any) -> None:
    @cases(LENS)
    @given(left, right)
    def laws(one: Any, other: Any) -> None:
        for to, back, source, old in (
            (lens.to_right, lens.to_left, one, other),
            (lens.to_left, lens.to_right, other, one),
        ):
            for target in (old, None):
                try:
                    there = to(source, target, None)
                except CannotExpress:
                    continue
                assert back(there, source, None) == source  # what was written arrives, and nothing else moves
                assert to(source, there, None) == there

    laws()


# Same ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", ["a\r\nb", "a\nb  ", "a\rb\n"])
def test_newlines_and_blanks_at_the_end_are_no_edit(old: str) -> None:
    assert build("same").to_right("a\nb", old, None) == old


def test_a_text_is_written_with_plain_newlines() -> None:
    assert build("same").to_right("a\r\nb", "c", None) == "a\nb"
    assert build("same").to_right("", None, None) is None
    assert build("same").to_right(7, 8, None) == 7


# Value map ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "source", "old", "expected"),
    [
        ("right", "High", None, "P1"),
        ("left", "P1", "High", "High"),  # stays while it still means P1
        ("left", "P1", "Medium", "Highest"),  # the first entry listed
        ("right", "Medium", "P3", "P3"),
        ("right", "Medium", "P1", "P2"),
        ("right", None, None, "P4"),
        ("right", "", None, "P4"),
        ("left", None, "High", None),  # empty is not listed on the right
    ],
)
def test_a_value_keeps_its_partner_while_it_still_means_it(side: str, source: Any, old: Any, expected: Any) -> None:
    assert build("value_map", "option", "option", None, PRIORITIES).put(side, source, old) == expected


def test_two_empty_values_agree_although_a_create_would_fill_one() -> None:
    lens = build("value_map", "option", "option", None, PRIORITIES)
    assert lens.equal(None, None)


def test_a_value_that_is_not_in_the_map_names_value_and_map() -> None:
    lens = build("value_map", entries=PRIORITIES, params={"map": "Priorities"})
    assert refusal(lens.to_right, "Low", None, None) == ("value_not_in_map", {"value": "Low", "map": "Priorities"})
    assert not lens.equal("Low", "P9")
    unnamed = build("value_map", entries=PRIORITIES)
    assert refusal(unnamed.to_left, "P9", None, None)[1]["map"] == "Left ↔ Right"


def test_true_is_not_one() -> None:
    lens = build("value_map", "boolean", "number", None, [{"left": True, "right": 1}])
    assert refusal(lens.to_right, 1, None, None)[0] == "value_not_in_map"


def test_two_checkboxes_without_a_tick_agree_however_they_say_it() -> None:
    lens = build("boolean", "boolean", "boolean")
    assert all(lens.equal(left, right) for left in (None, False) for right in (None, False))
    assert lens.to_right(None, True, None) is lens.to_right(False, True, None) is False


def test_words_stand_for_yes_and_no() -> None:
    lens = build("boolean", "boolean", "option", {"yes": "Ja", "no": "Nein"})
    assert lens.to_right(True, None, None) == "Ja"
    assert lens.to_right(None, "Nein", None) == "Nein"
    assert lens.to_left("Nein", True, None) is False
    assert build("boolean", "boolean", "text", None, [{"left": True, "right": "on"}]).to_left("on", None, None) is True


# Number -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "old", "expected"),
    [(2.345, None, 2.35), (2.0, None, 2), (2.341, 2.344, 2.344), (None, 3, None), (1, "x", 1), (10**40, None, 10**40)],
)
def test_the_rounded_side_keeps_two_places(source: Any, old: Any, expected: Any) -> None:
    result = build("number", "number", "number", {"places": 2}).to_right(source, old, None)
    assert (result, type(result)) == (expected, type(expected))


@pytest.mark.parametrize("value", ["many", True, float("nan"), float("inf"), [1]])
def test_what_is_no_number_goes_to_review(value: Any) -> None:
    assert refusal(build("number", "number", "number").to_right, value, None, None)[0] == "not_a_number"


def test_a_number_in_a_text_field_is_written_without_exponent() -> None:
    lens = build("number", "number", "text")
    assert lens.to_right(1e-7, None, None) == "0.0000001"
    assert lens.to_right(12000000.0, None, None) == "12000000"
    assert lens.to_left("1e3", None, None) == 1000


# Dates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "params", "source", "old", "expected"),
    [
        (("date", "datetime"), {}, "2026-11-21", "2026-11-20T15:30:00Z", "2026-11-21T15:30:00Z"),
        (("date", "datetime"), {}, "2026-11-20", "2026-11-20T15:30:00Z", "2026-11-20T15:30:00Z"),
        (("date", "datetime"), {}, "2026-11-20", None, "2026-11-20T00:00:00Z"),
        (("date", "datetime"), {"timezone": "Europe/Berlin"}, "2026-11-20", None, "2026-11-19T23:00:00Z"),
        (("date", "datetime"), {}, "2026-11-20", "rubbish", "2026-11-20T00:00:00Z"),
        (("datetime", "date"), {"timezone": "Europe/Berlin"}, "2026-11-19T23:30:00Z", None, "2026-11-20"),
        (("datetime", "datetime"), {}, "2026-11-20T01:02:03Z", "2026-11-20T01:02:03.456Z", "2026-11-20T01:02:03.456Z"),
        (("datetime", "datetime"), {}, "2026-11-20T01:02:03+01:00", None, "2026-11-20T00:02:03Z"),
        (("text", "date"), {}, " 2026-11-20 ", None, "2026-11-20"),
        (("date", "date"), {}, None, "2026-11-20", None),
        (("date", "datetime"), {"timezone": "Pacific/Apia"}, "2011-12-31", None, "2011-12-30T10:00:00Z"),
    ],
)
def test_a_date_keeps_the_time_of_day(kinds: Any, params: Any, source: Any, old: Any, expected: Any) -> None:
    assert build("date_time", *kinds, params).to_right(source, old, None) == expected


@pytest.mark.parametrize("transform", ["same", "date_time"])
@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2026-11-20T10:00:00.789Z", "2026-11-20T10:00:00Z", True),
        ("2026-11-20T10:00:00.123987Z", "2026-11-20T10:00:00.123000Z", True),
        ("2026-11-20T10:00:00.123987Z", "2026-11-20T10:00:00.120000Z", False),
        ("2026-11-20T10:00:00.789Z", "2026-11-20T10:00:01Z", False),
        ("2026-11-20T10:00:00.123987Z", "2026-11-20T10:00:00.123900Z", False),
    ],
)
def test_moments_agree_as_exactly_as_the_side_that_keeps_less(transform: str, one: str, other: str, same: bool) -> None:
    """Seconds or milliseconds; what is more exact stays where it is."""
    lens = build(transform, "datetime", "datetime")
    assert lens.equal(one, other) is lens.equal(other, one) is same
    assert lens.to_left(other, one, None) == (one if same else other)


@pytest.mark.parametrize(
    ("steps", "one", "other", "same"),
    [
        ((1, 1), "2026-11-20T10:00:00.123456Z", "2026-11-20T10:00:00Z", False),
        ((1, 1), "2026-11-20T10:00:00.123456Z", "2026-11-20T10:00:00.123000Z", False),
        ((1, 1_000), "2026-11-20T10:00:00.123456Z", "2026-11-20T10:00:00.123000Z", True),
        ((1, 1_000), "2026-11-20T10:00:00.123000Z", "2026-11-20T10:00:00.123000Z", True),
        ((1, 1_000), "2026-11-20T10:00:00Z", "2026-11-20T10:00:00.123000Z", False),
        ((1, None), "2026-11-20T10:00:00.123456Z", "2026-11-20T10:00:00.123000Z", True),
        ((1, None), "2026-11-20T10:00:00Z", "2026-11-20T10:00:00.123000Z", False),
        ((1_000_000, None), "2026-11-20T10:00:00Z", "2026-11-20T10:00:00.123000Z", True),
        ((60_000_000, 1), "2026-11-20T10:00:00Z", "2026-11-20T10:00:00.123000Z", True),
    ],
)
def test_an_edit_within_a_second_says_something_where_both_sides_keep_it(
    steps: tuple[int | None, int | None], one: str, other: str, same: bool
) -> None:
    left, right = (FieldSpec("at", "At", "datetime", step=step) for step in steps)
    lens = TRANSFORMS["same"].build({}, left, right, [])
    assert lens.equal(one, other) is same


@pytest.mark.parametrize("value", ["tomorrow", "2026-13-01", "20261120T", 5])
def test_what_is_no_date_goes_to_review(value: Any) -> None:
    assert refusal(build("date_time", "date", "datetime").to_right, value, None, None) == (
        "not_a_date",
        {"value": value},
    )


def test_the_edges_of_the_calendar_go_to_review() -> None:
    east = build("date_time", "date", "datetime", {"timezone": "Asia/Tokyo"})
    assert refusal(east.to_right, "0001-01-01", None, None)[0] == "not_a_date"
    assert refusal(east.to_left, "9999-12-31T23:00:00Z", None, None)[0] == "not_a_date"


def test_a_day_that_never_was_goes_to_review() -> None:
    samoa = build("date_time", "date", "datetime", {"timezone": "Pacific/Apia"})
    assert refusal(samoa.to_right, "2011-12-30", None, None) == ("not_a_date", {"value": "2011-12-30"})


def test_only_a_change_of_kind_loses_the_time() -> None:
    assert build("date_time", "date", "datetime").lossy == {"to_left"}
    assert build("date_time", "date", "date").lossy == frozenset()


# Shortened text -----------------------------------------------------------------------------------------------

SHORT = {"kind": "text", "max_length": 8}


def test_an_unchanged_shortened_copy_changes_nothing() -> None:
    lens = build("text_limited", "text", SHORT)
    assert lens.to_right("a long story", None, None) == "a long…"
    assert lens.to_left("a long…", "a long story", None) == "a long story"
    assert lens.equal("a long story", "a long…")
    assert lens.lossy == {"to_right"}


@pytest.mark.parametrize(
    ("source", "old", "base"),
    [("a song…", "a long story", "a long…"), (None, "a long story", None), ("a long…", "cut", "a long…")],
)
def test_an_edit_of_a_shortened_copy_goes_to_review(source: Any, old: Any, base: Any) -> None:
    lens = build("text_limited", "text", SHORT)
    assert refusal(lens.to_left, source, old, base)[0] == "edited_shortened_copy"


@pytest.mark.parametrize(
    ("source", "old", "base", "expected"),
    [
        ("new", "short", "short", "new"),
        ("new", "short", "a long…", "new"),
        (None, "short", None, None),
        ("x…", "s", "…", "x…"),
    ],
)
def test_a_text_that_was_never_cut_is_edited_freely(source: Any, old: Any, base: Any, expected: Any) -> None:
    assert build("text_limited", "text", SHORT).to_left(source, old, base) == expected


def test_the_length_may_be_given_by_hand() -> None:
    assert build("text_limited", params={"right_limit": "4"}).to_right("abcdef", None, None) == "abc…"
    assert build("text_limited", "text", "text").lossy == frozenset()


# Sets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "entries", "side", "source", "old", "expected"),
    [
        ({}, (), "right", ["b", "a"], None, ["a", "b"]),
        ({}, (), "right", None, None, None),
        ({}, (), "right", None, ["a"], []),
        ({"left_spaces": "_"}, (), "left", ["on hold"], None, ["on_hold"]),
        ({"left_spaces": "_"}, (), "right", ["on_hold"], ["on hold"], ["on hold"]),
        ({"left_spaces": "_"}, (), "right", ["on_hold"], ["on_hold"], ["on_hold"]),
        ({"left_spaces": "_"}, (), "right", ["on_hold", "x"], None, ["on hold", "x"]),
        ({}, LABELS, "right", ["bug", "internal"], None, ["Bug"]),
        ({}, LABELS, "left", ["Bug"], ["defect", "internal"], ["defect", "internal"]),
        ({}, LABELS, "left", [], ["defect", "internal"], ["internal"]),
        ({}, [*LABELS, {"left": "internal", "right": "In"}], "right", ["internal"], None, ["In"]),
    ],
)
def test_sets_are_carried_member_by_member(
    params: Any, entries: Any, side: str, source: Any, old: Any, expected: Any
) -> None:
    assert build("set", "set", "set", params, entries).put(side, source, old) == expected


def test_a_multi_picklist_is_a_set_in_a_text() -> None:
    lens = build("set", "set", "text")
    assert lens.to_right(["b", "a"], "", None) == "a;b"
    assert lens.to_right(["b", "a"], "b; a", None) == "b; a"
    assert lens.to_right([], "a", None) is None
    assert lens.to_left(" b;;a ", None, None) == ["a", "b"]
    assert build("set", "text", "set", {"left_separator": ", "}).to_left(["a", "b"], None, None) == "a, b"


@pytest.mark.parametrize(
    ("kinds", "params", "entries", "source", "code"),
    [
        (("set", "set"), {"right_spaces": "refuse"}, (), ["on hold"], "member_with_space"),
        (("set", "text"), {}, (), ["a;b"], "member_with_separator"),
        (("set", "set"), {}, LABELS, ["unknown"], "value_not_in_map"),
    ],
)
def test_a_member_that_cannot_be_written_goes_to_review(
    kinds: Any, params: Any, entries: Any, source: Any, code: str
) -> None:
    assert refusal(build("set", *kinds, params, entries).to_right, source, None, None)[0] == code


# People -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "source", "old", "expected"),
    [
        ("right", "Ann@Example.com", None, "ann@example.com"),
        ("right", "ann@example.com", "ANN@example.com", "ANN@example.com"),
        ("right", "bob@example.com", None, "bob@example.org"),
        ("left", "bob@example.org", None, "bob@example.com"),
        ("right", None, None, "queue:Support"),
        ("left", "queue:Support", "ann@example.com", None),
        ("left", " ", "ann@example.com", None),
    ],
)
def test_the_same_address_is_the_same_person(side: str, source: Any, old: Any, expected: Any) -> None:
    assert build("person", "person", "person", None, TEAM).put(side, source, old) == expected


@pytest.mark.parametrize(
    ("person", "code"),
    [("id:5b10", "person_hidden"), ("queue:Sales", "queue_not_mapped"), ("ada", "person_unknown")],
)
def test_a_person_without_an_address_goes_to_review(person: str, code: str) -> None:
    assert refusal(build("person", "person", "person", None, TEAM).to_right, person, None, None) == (
        code,
        {"value": person},
    )


def test_a_malformed_entry_is_named() -> None:
    with pytest.raises(ValueError, match="Entry 1"):
        build("person", "person", "person", None, ["bob"])


# The table ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "name"),
    [
        ({"kind": "text"}, {"kind": "text"}, "same"),
        ({"kind": "text", "max_length": 255}, {"kind": "text"}, "text_limited"),
        ({"kind": "rich_text", "format": "adf"}, {"kind": "text"}, "rich_text"),
        ({"kind": "option", "options": ("a",)}, {"kind": "option", "options": ("b",)}, "value_map"),
        ({"kind": "option", "options": ("a",)}, {"kind": "option", "options": ("a",)}, "same"),
        ({"kind": "option", "options": ("a",)}, {"kind": "text"}, "value_map"),
        ({"kind": "boolean"}, {"kind": "option"}, "boolean"),
        ({"kind": "boolean"}, {"kind": "number"}, "value_map"),
        ({"kind": "set"}, {"kind": "text"}, "set"),
        ({"kind": "person"}, {"kind": "person"}, "person"),
        ({"kind": "date"}, {"kind": "datetime"}, "date_time"),
        ({"kind": "number"}, {"kind": "number"}, "number"),
        ({"kind": "rich_text"}, {"kind": "set"}, "same"),
    ],
)
def test_the_best_transform_is_suggested(left: dict[str, Any], right: dict[str, Any], name: str) -> None:
    specs = [FieldSpec(path=side, label=side, **more) for side, more in (("l", left), ("r", right))]
    assert suggested(*specs) == name
    offered = [transform.name for transform in fitting(left["kind"], right["kind"])]
    assert name in offered or not offered


def test_every_transform_says_what_it_is_for() -> None:
    for name, transform in TRANSFORMS.items():
        assert name == transform.name
        assert transform.label and transform.help.endswith(".") and transform.kinds


@cases(LENS)
@given(st.text(max_size=30), st.integers(1, 40))
def test_a_cut_text_never_exceeds_its_limit(text: str, limit: int) -> None:
    assume(text.strip())
    lens = build("text_limited", "text", {"kind": "text", "max_length": limit})
    assert len(lens.to_right(text, None, None)) <= limit
