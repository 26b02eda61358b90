"""Every transform with fields it fits, and strategies for the values of both sides."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mappings.transforms import TRANSFORMS
from mappings.transforms.base import FieldSpec, Lens

PRIORITIES = [
    {"left": "Highest", "right": "P1"},
    {"left": "High", "right": "P1"},
    {"left": "Medium", "right": "P2"},
    {"left": "Medium", "right": "P3"},
    {"left": None, "right": "P4"},
]


def build(name: str, left: Any = "text", right: Any = "text", params: Any = None, entries: Any = ()) -> Lens:
    specs = []
    for side, given_spec in (("left", left), ("right", right)):
        more = {"kind": given_spec} if isinstance(given_spec, str) else given_spec
        specs.append(FieldSpec(path=side, label=side.title(), **more))
    return TRANSFORMS[name].build(params or {}, *specs, list(entries))


words = st.text(st.sampled_from("abé 😄\n_;-…"), max_size=8)
numbers = st.one_of(st.none(), st.integers(-(10**9), 10**9), st.floats(-1e6, 1e6).map(lambda one: round(one, 4)))
members = st.lists(st.sampled_from(["a", "b c", "b_c", "d-e", "é"]), unique=True).map(sorted)
days = st.one_of(st.none(), st.dates().map(lambda one: one.isoformat()))
moments = st.one_of(st.none(), st.datetimes().map(lambda one: one.isoformat() + "Z"))
people = st.sampled_from(["ann@example.com", "bob@example.com", "bob@example.org", "id:1", "queue:Support"])
TEAM = [{"left": "bob@example.com", "right": "bob@example.org"}, {"left": None, "right": "queue:Support"}]
LABELS = [{"left": "bug", "right": "Bug"}, {"left": "defect", "right": "Bug"}, {"left": "internal", "right": None}]

LENSES: list[tuple[str, Lens, Any, Any]] = [
    ("same", build("same"), words, words),
    ("same, of moments", build("same", "datetime", "datetime"), moments, moments),
    (
        "value_map",
        build("value_map", entries=PRIORITIES),
        *(st.sampled_from(values) for values in (["Highest", "High", "Medium", None, "?"], ["P1", "P2", "P3", "P4"])),
    ),
    ("boolean", build("boolean", "boolean", "boolean"), *[st.sampled_from([True, False, None])] * 2),
    (
        "words",
        build("boolean", "option", "boolean"),
        st.sampled_from(["Yes", "No", None]),
        st.sampled_from([True, False]),
    ),
    ("number", build("number", "number", "number"), numbers, numbers),
    ("rounded", build("number", "number", "number", {"places": 2}), numbers, numbers),
    (
        "number as text",
        build("number", "number", "text", {"places": "0", "rounded_side": "left"}),
        numbers,
        st.sampled_from([None, "", "5", " 7.50", "many", "1e3"]),
    ),
    ("date", build("date_time", "date", "datetime", {"timezone": "America/New_York"}), days, moments),
    ("moments", build("date_time", "datetime", "datetime"), moments, moments),
    (
        "text_limited",
        build("text_limited", "text", {"kind": "text", "max_length": 5}),
        words,
        words.map(lambda one: one[:5]),
    ),
    ("set", build("set", "set", "set"), members, members),
    ("labels", build("set", "set", "set", {"left_spaces": "_", "right_spaces": "-"}), members, members),
    ("picklist", build("set", "set", "text"), members, members.map(lambda found: ";".join(found) or None)),
    (
        "label map",
        build("set", "set", "set", None, LABELS),
        st.lists(st.sampled_from(["bug", "defect", "internal", "?"]), unique=True).map(sorted),
        st.lists(st.sampled_from(["Bug", "?"]), unique=True).map(sorted),
    ),
    ("person", build("person", "person", "person", None, TEAM), people, people),
]
