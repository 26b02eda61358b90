"""Laws of every transform in the table, besides the two of a lens (`test_the_laws_hold`): whatever values meet."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.tests.lens_cases import LENSES, build, members
from mappings.tests.properties import LENS, cases
from mappings.transforms import TRANSFORMS
from mappings.transforms.base import CannotExpress, Lens

every_lens = pytest.mark.parametrize(
    ("lens", "left", "right"), [case[1:] for case in LENSES], ids=[case[0] for case in LENSES]
)


def test_every_plain_transform_is_among_the_cases() -> None:
    """Rich text has laws of its own, between any two formats."""
    built = {name.split()[0] for name, *_ in LENSES}
    assert {"same", "value_map", "boolean", "number", "date", "text_limited", "set", "person"} <= built
    assert len(TRANSFORMS) == 9, "a new transform needs a row in lens_cases.py"


@every_lens
def test_carrying_over_twice_changes_nothing_more_whatever_the_base(lens: Lens, left: Any, right: Any) -> None:
    @cases(LENS)
    @given(left, right, left, right)
    def law(one: Any, other: Any, base: Any, base_there: Any) -> None:
        for put, back, source, old, was in (
            (lens.to_right, lens.to_left, one, other, base),
            (lens.to_left, lens.to_right, other, one, base_there),
        ):
            try:
                there = put(source, old, was)
            except CannotExpress:
                continue
            assert put(source, there, source) == there
            assert back(there, source, old) == source

    law()


@every_lens
def test_what_was_carried_over_says_the_same_on_both_sides(lens: Lens, left: Any, right: Any) -> None:
    @cases(LENS)
    @given(left, right)
    def law(one: Any, other: Any) -> None:
        for side in ("left", "right"):
            source, old = (one, other) if side == "right" else (other, one)
            try:
                there = lens.put(side, source, old)
            except CannotExpress:
                continue
            assert lens.equal(*((one, there) if side == "right" else (there, other)))
            if lens.equal(one, other) and there != old:
                # Equal by the other way round: then that way changes nothing, and this one no meaning.
                assert lens.put("left" if side == "right" else "right", old, source) == source

    law()


@every_lens
def test_a_lens_keeps_its_hands_off_what_it_is_given(lens: Lens, left: Any, right: Any) -> None:
    @cases(LENS)
    @given(left, right)
    def law(one: Any, other: Any) -> None:
        before = copy.deepcopy((one, other))
        for side, source, old in (("right", one, other), ("left", other, one)):
            for _ in range(2):
                try:
                    first = lens.put(side, source, old)
                    assert lens.put(side, source, old) == first, "the same question, the same answer"
                except CannotExpress as problem:
                    assert problem.code
        assert (one, other) == before

    law()


@cases(LENS)
@given(members, members)
def test_a_carried_set_has_every_member_of_its_source_and_no_other(source: list[str], old: list[str]) -> None:
    lens = build("set", "set", "set")
    assert lens.to_right(source, old, None) == source or set(source) == set(old)


@cases(LENS)
@given(members, members, st.sampled_from((";", ", ")))
def test_a_set_in_a_text_loses_no_member(source: list[str], old: list[str], separator: str) -> None:
    lens = build("set", "set", "text", {"right_separator": separator})
    there = lens.to_right(source, separator.join(old) or None, None)
    assert sorted((there or "").split(separator) if there else []) == sorted(source)


@pytest.mark.parametrize("name", ["same", "number", "text_limited", "set", "person", "boolean", "date_time"])
def test_a_rule_read_the_other_way_round_means_the_same(name: str) -> None:
    kind = {"same": "text", "text_limited": "text", "set": "set", "person": "person", "boolean": "boolean"}.get(name)
    one = {"kind": kind or {"number": "number", "date_time": "date"}[name]}
    other = {"kind": {"date_time": "datetime"}.get(name, one["kind"])}
    limits = ({"max_length": 9}, {"max_length": 5}) if name == "text_limited" else ({}, {})
    params = {"places": 2, "rounded_side": "right"} if name == "number" else {}
    turned = {"places": 2, "rounded_side": "left"} if name == "number" else {}
    lens = build(name, {**one, **limits[0]}, {**other, **limits[1]}, params)
    mirror = build(name, {**other, **limits[1]}, {**one, **limits[0]}, turned)
    values = {
        "set": members,
        "boolean": st.sampled_from((None, True, False)),
        "number": st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-99, 99)),
        "date_time": st.sampled_from((None, "2026-01-01", "2026-01-01T10:00:00Z", "2026-02-03T00:00:00Z")),
    }.get(name, st.sampled_from((None, "", "a", "a@b.example", "long enough", "long…")))

    @cases(LENS)
    @given(values, values)
    def law(source: Any, old: Any) -> None:
        def outcome(put: Any) -> Any:
            try:
                return put(source, old, None)
            except CannotExpress as problem:
                return problem.code

        assert outcome(lens.to_right) == outcome(mirror.to_left)
        assert outcome(lens.to_left) == outcome(mirror.to_right)

    law()
