"""A published version turned into functions."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from mappings.compiled import Policy, compile_document, compile_rule, field_spec


def field(path: str, kind: str = "text", **more: Any) -> dict[str, Any]:
    return {"path": path, "label": path.title(), "kind": kind, **more}


def side(name: str) -> dict[str, Any]:
    return {
        "connection": 1,
        "connection_name": name,
        "kind": "memory",
        "object_type": "issue",
        "object_label": "Issue",
        "scope": {},
        "create": True,
        "create_defaults": {},
        "on_delete": "review",
        "close_values": {},
    }


RULE: dict[str, Any] = {
    "id": "r1",
    "left": field("summary"),
    "right": field("Subject"),
    "direction": "both",
    "transform": "same",
    "params": {},
    "entries": [],
    "policy": {"name": "Ask", "kind": "review", "tolerance": 2.0},
    "one_way_target": "keep",
    "initial": "fill_empty",
}
DOCUMENT: dict[str, Any] = {
    "left": side("Jira"),
    "right": side("Salesforce"),
    "match_keys": [[{"left": "key", "right": "Reference"}], [{"left": "summary", "right": "Subject"}]],
    "initial": "fill_empty",
    "poll_seconds": 15,
    "brakes": {},
    "rules": [
        RULE,
        {**RULE, "id": "r2", "left": field("labels", "set"), "right": field("Tags", "set"), "transform": "set"},
    ],
}


def test_a_document_becomes_sides_rules_and_keys() -> None:
    mapping = compile_document(DOCUMENT)
    assert mapping.side("left").connection_name == "Jira"
    assert mapping.side("right").connection_name == "Salesforce"
    assert mapping.match_keys == ((("key", "Reference"),), (("summary", "Subject"),))
    assert mapping.paths("left") == ["key", "labels", "summary"]
    assert mapping.paths("right") == ["Reference", "Subject", "Tags"]
    assert [rule.is_set for rule in mapping.rules] == [False, True]
    assert mapping.rules[0].label == "Summary"
    assert mapping.rules[0].lens.put("right", "a") == "a"
    assert mapping.rules[0].policy == Policy("review", "Ask", 2.0)


def test_compiling_leaves_the_document_alone() -> None:
    before = copy.deepcopy(DOCUMENT)
    compile_document(DOCUMENT)
    assert before == DOCUMENT


@pytest.mark.parametrize(
    ("direction", "left", "right"), [("both", True, True), ("to_right", False, True), ("to_left", True, False)]
)
def test_the_direction_says_which_side_may_be_written(direction: str, left: bool, right: bool) -> None:
    rule = compile_rule({**RULE, "direction": direction})
    assert (rule.may_write("left"), rule.may_write("right")) == (left, right)
    assert rule.field("left").path == "summary"
    assert rule.field("right").path == "Subject"


def test_missing_params_and_entries_are_none_given() -> None:
    rule = compile_rule({key: value for key, value in RULE.items() if key not in ("params", "entries")})
    assert rule.lens.equal("a", "a")


def test_a_set_against_a_text_is_no_set_rule() -> None:
    rule = compile_rule({**RULE, "left": field("labels", "set"), "transform": "set"})
    assert not rule.is_set


def test_options_become_a_tuple() -> None:
    assert field_spec(field("p", "option", options=["a", "b"])).options == ("a", "b")
    assert field_spec(field("p", "option", options=None)).options == ()


def test_an_unknown_transform_is_named_with_its_rule() -> None:
    with pytest.raises(ValueError, match=r"Summary ↔ Subject names the unknown transform 'magic'"):
        compile_rule({**RULE, "transform": "magic"})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"transform": "value_map"}, "value map of Summary ↔ Subject has no entries"),
        ({"transform": "value_map", "entries": [{"left": "a"}]}, "Rule Summary ↔ Subject .*Entry 1"),
        ({"transform": "number", "params": {"places": "many"}}, "decimal places of Summary ↔ Subject"),
        ({"transform": "number", "params": {"places": 40}}, "must be 0 to 12"),
        ({"transform": "number", "params": {"rounded_side": "top"}}, "must be left or right"),
        ({"transform": "date_time", "params": {"timezone": "Mars/Base"}}, "'Mars/Base' of Summary ↔ Subject"),
        ({"transform": "text_limited", "params": {"left_limit": "0"}}, "length on the left of Summary ↔ Subject"),
        ({"transform": "set", "params": {"left_spaces": " "}}, "stands for a space on the left"),
        ({"left": field("d", "rich_text", format="wiki"), "transform": "rich_text"}, "D holds 'wiki'"),
    ],
)
def test_a_rule_that_cannot_be_built_says_which_and_why(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        compile_document({**DOCUMENT, "rules": [{**RULE, **changes}]})
