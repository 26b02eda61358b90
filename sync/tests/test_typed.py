"""What is typed is what is written, and what a control shows is what it reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mappings.transforms.base import FieldSpec
from sync.views._values import CannotRead, control_for, typed

SET = FieldSpec("components", "Components", "set")
NUMBER = FieldSpec("amount", "Amount", "number")
OPTION = FieldSpec("status", "Status", "option", options=("Open", "Closed"))


@pytest.mark.parametrize(
    ("entries", "box"),
    [
        ([], ""),
        (["API"], "API"),
        (["API", "UI"], "API, UI"),
        (["API, public", "UI"], '"API, public", UI'),
        (['5" pipes', "UI"], '"5"" pipes", UI'),
    ],
)
def test_a_box_that_nobody_touched_says_the_same_entries(entries: list[str], box: str) -> None:
    assert control_for(SET, entries).text == box
    assert typed(box, SET, None) == entries


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("b,a", ["a", "b"]),
        (" a , , b ,", ["a", "b"]),
        ("a\r\nb, c", ["a", "b", "c"]),
        ('12" rack, a', ['12" rack', "a"]),
        ("", []),
    ],
)
def test_entries_are_separated_by_commas_or_lines(text: str, entries: list[str]) -> None:
    assert typed(text, SET, None) == entries


def test_a_quotation_mark_left_open_is_said_and_nothing_guessed() -> None:
    with pytest.raises(CannotRead, match="not closed"):
        typed('"API, UI', SET, None)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5", 5),
        ("-7", -7),
        ("5.0", 5),
        ("1e3", 1000),
        ("0.1", 0.1),
        (" 2.50 ", 2.5),
        ("9007199254740993", 9007199254740993),  # the first whole number that a float does not have
        ("12345678901234567890123456789012345", 12345678901234567890123456789012345),
    ],
)
def test_a_number_is_written_to_the_last_digit(text: str, number: Any) -> None:
    read = typed(text, NUMBER, None)
    assert (read, type(read)) == (number, type(number))


@pytest.mark.parametrize("text", ["many", "1_000", "1,5", "0x10", "١٢", "inf", "nan", "1e999", "5 6", "9" * 5000])
def test_what_is_not_a_number_is_said_and_nothing_guessed(text: str) -> None:
    with pytest.raises(CannotRead, match="is not a number"):
        typed(text, NUMBER, None)


def test_a_fraction_with_more_digits_than_are_kept_is_said_and_not_rounded_unseen() -> None:
    with pytest.raises(CannotRead, match="has more digits than are kept; write it"):
        typed("0.12345678901234567890", NUMBER, None)


@pytest.mark.parametrize(
    ("spec", "value", "chosen"),
    [
        (OPTION, "Open", "Open"),
        (OPTION, "Newer than the version", "Newer than the version"),
        (OPTION, None, ""),
        (replace(OPTION, required=True), None, ""),
        (FieldSpec("done", "Done", "boolean"), None, ""),
        (FieldSpec("done", "Done", "boolean"), False, "no"),
    ],
)
def test_a_select_that_nobody_touched_says_what_is_there(spec: FieldSpec, value: Any, chosen: str) -> None:
    control = control_for(spec, value)
    assert control.text == chosen
    assert chosen in [option for option, _ in control.options]
    assert typed(chosen, spec, value) == value


def test_a_required_field_that_is_filled_is_not_offered_to_be_emptied() -> None:
    assert "" not in dict(control_for(replace(OPTION, required=True), "Open").options)
