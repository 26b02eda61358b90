"""Three-way merges: what both sides added is there, what one removed is gone, touching hunks go to review."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.tests.properties import LENS, cases
from mappings.transforms.merging import merge_sets, merge_text

members = st.lists(st.sampled_from("abcd"), unique=True).map(sorted)


@pytest.mark.parametrize(
    ("left", "right", "base", "right_base", "merged"),
    [
        (["a", "l"], ["a", "r"], ["a"], ["a"], ["a", "l", "r"]),
        (["a"], ["a", "b"], ["a", "b"], ["a", "b"], ["a"]),  # a plain union would bring b back
        (["a", "b"], ["a"], ["a", "b"], ["a", "b"], ["a"]),
        ([], ["a"], ["a"], ["a"], []),
        (["a"], ["b"], None, None, ["a", "b"]),  # never agreed: nothing counts as removed
        (["a"], ["b"], ["b"], None, ["a"]),
        (None, None, None, None, []),
        (None, ["a"], None, [], ["a"]),
        (["new"], ["kept", "x"], [], ["x"], ["kept", "new"]),
    ],
)
def test_sets_merge_by_what_was_added_and_removed(
    left: Any, right: Any, base: Any, right_base: Any, merged: Any
) -> None:
    assert merge_sets(left, right, base, right_base) == merged


@cases(LENS)
@given(members, members, members)
def test_no_member_is_invented_and_none_untouched_is_lost(left: list[str], right: list[str], base: list[str]) -> None:
    merged = set(merge_sets(left, right, base, base))
    assert merged <= set(left) | set(right)
    assert set(left) & set(right) <= merged
    assert merge_sets(left, base, base, base) == left
    assert merge_sets(base, right, base, base) == right


@pytest.mark.parametrize(
    ("left", "right", "base", "merged"),
    [
        ("A\nb\nc", "a\nb\nC", "a\nb\nc", "A\nb\nC"),
        ("a\nb\nc\nd", "z\na\nb\nc", "a\nb\nc", "z\na\nb\nc\nd"),  # a line added below does not touch the last line
        ("a\nX\nc", "a\nY\nc", "a\nb\nc", None),
        ("X\nb", "a\nY", "a\nb", None),  # neighbouring lines touch
        ("a\nX\nc", "a\nX\nc", "a\nb\nc", "a\nX\nc"),
        ("a\r\nb\r\nC", "A\nb\nc", "a\nb\nc", "A\nb\nC"),
        ("", "", "a", ""),
    ],
)
def test_texts_merge_line_by_line(left: str, right: str, base: str, merged: str | None) -> None:
    assert merge_text(left, right, base) == merged


@cases(LENS)
@given(*[st.lists(st.sampled_from("abc"), max_size=5).map("\n".join)] * 2)
def test_an_edit_on_one_side_only_is_the_result(one: str, base: str) -> None:
    assert merge_text(one, base, base) == one
    assert merge_text(base, one, base) == one
