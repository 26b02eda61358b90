"""What a set's box shows is what it reads: an entry comes back as it was."""

from __future__ import annotations

import pytest

from mappings.transforms.base import FieldSpec
from sync.views._values import CannotRead, control_for, typed

SET = FieldSpec("components", "Components", "set")


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
