"""The comparison of a version with the fields as they are now: every code, both sides, one-way rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from connections.connectors.base import Field, Option
from mappings.compiled import compile_document
from mappings.document import field_snapshot
from mappings.transforms.base import FieldSpec
from sync.schema import Finding, compare, fits, gravest, may_hold, standing
from sync.tests.conftest import rule

OTHER = {"left": "right", "right": "left"}
HIGH, LOW = Option("High", "High"), Option("Low", "Low")
FIELDS = (
    Field("title", "Title", "text", required=True, max_length=255, matchable=True),
    Field("body", "Body", "text", max_length=1000),
    Field("status", "Status", "option", options=(HIGH, LOW)),
    Field("labels", "Labels", "set"),
    Field("ref", "Reference", "text", matchable=True),
)
BOX = {"required": True, "max_length": 255}
RULES = [
    rule("title", "title", left=BOX, right=BOX),
    rule("body", "body", left={"max_length": 1000}, right={"max_length": 1000}),
    rule("status", "status", "option", left={"options": ["High", "Low"]}, right={"options": ["High", "Low"]}),
    rule("labels", "labels", "set"),
]


def document(direction: str = "both", **changes: Any) -> dict[str, Any]:
    """Where all rules run one way, nothing is made on the side they come from."""
    side = {
        "connection": 1,
        "connection_name": "One",
        "kind": "memory",
        "object_type": "thing",
        "object_label": "Thing",
        "scope": {},
        "create": True,
        "create_defaults": {},
        "on_delete": "review",
        "close_values": {},
    }
    return {
        "left": {**side, "create": direction != "to_right", **changes.pop("left", {})},
        "right": {**side, "create": direction != "to_left", **changes.pop("right", {})},
        "match_keys": changes.pop("match_keys", [[{"left": "ref", "right": "ref"}]]),
        "initial": "fill_empty",
        "poll_seconds": 15,
        "brakes": {},
        "rules": [{**one, "direction": direction} for one in changes.pop("rules", RULES)],
        **changes,
    }


def with_field(path: str, /, **changes: Any) -> list[Field]:
    return [replace(one, **changes) if one.path == path else one for one in FIELDS]


def without(path: str) -> list[Field]:
    return [one for one in FIELDS if one.path != path]


def found(side: str, fields: Sequence[Field], doc: dict[str, Any], **more: Any) -> list[Finding]:
    return compare(doc, {side: fields, OTHER[side]: FIELDS}, **more)


def test_nothing_is_found_where_nothing_changed() -> None:
    for direction in ("both", "to_left", "to_right"):
        assert compare(document(direction), {"left": FIELDS, "right": FIELDS}) == []


# (name, fields of the changed side, code, stops, whether it matters where the rule only reads that side)
CASES = [
    ("removed", without("body"), "field_removed", "rule", True),
    ("renamed", with_field("body", path="body_2"), "field_renamed", "rule", True),
    ("another type", with_field("body", kind="number"), "type_changed", "rule", True),
    ("another format", with_field("body", kind="rich_text", format="html"), "type_changed", "rule", True),
    ("an option less", with_field("status", options=(HIGH,)), "option_removed", "values", False),
    (
        "switched off",
        with_field("status", options=(HIGH, replace(LOW, active=False))),
        "option_removed",
        "values",
        False,
    ),
    ("shorter", with_field("body", max_length=100), "shortened", "values", False),
    ("read only", with_field("body", writable=False), "read_only", "writes", False),
]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("name", "fields", "code", "stops", "reading"), CASES, ids=[case[0] for case in CASES])
def test_each_change_is_found_on_the_side_where_it_is(
    name: str, fields: list[Field], code: str, stops: str, reading: bool, side: str
) -> None:
    (one,) = found(side, fields, document())
    assert (one.code, one.stops, one.side) == (code, stops, side)
    assert one.subject == f"rule:{one.rule}" and one.label in ("Body", "Status")
    (to_it,) = found(side, fields, document(f"to_{side}"))
    assert to_it == one, "a one-way rule writes there"
    from_it = found(side, fields, document(f"to_{OTHER[side]}"))
    assert from_it == ([one] if reading else []), "a one-way rule only reads there"


def test_a_side_that_was_not_listed_is_not_judged() -> None:
    assert compare(document(), {"left": FIELDS}) == []


def test_a_field_that_reads_named_as_hidden_is_told_from_one_that_is_gone() -> None:
    (one,) = found("right", without("body"), document(), unreadable={"right": {"body"}})
    assert one.code == "field_hidden"


def test_a_rename_is_named_as_a_guess_only_where_one_field_fits() -> None:
    (one,) = found("left", with_field("body", path="body_2"), document())
    assert one.params == {"suggestion": "body_2"}
    twice = [*with_field("body", path="body_2"), Field("body_3", "Body", "text")]
    assert [f.code for f in found("left", twice, document())] == ["field_removed"]
    other_kind = with_field("body", path="body_2", kind="number")
    assert [f.code for f in found("left", other_kind, document())] == ["field_removed"]


def test_a_label_that_changed_is_no_finding() -> None:
    assert found("left", with_field("body", label="Text"), document()) == []


def test_options_that_no_rule_writes_may_go() -> None:
    entries = [{"left": "High", "right": "P1"}]
    mapped = [rule("status", "status", "option", left={"options": ["High", "Low"]}, entries=entries)]
    assert found("left", with_field("status", options=(HIGH,)), document(rules=mapped)) == [
        one for one in found("left", with_field("status", options=(HIGH,)), document(rules=mapped)) if one.rule == ""
    ]
    (gone,) = found("left", with_field("status", options=(LOW,)), document(rules=[RULES[0], *mapped]))
    assert gone.params["values"] == ["High"]


def test_where_no_options_are_told_none_are_gone() -> None:
    assert found("left", with_field("status", options=()), document()) == []


def test_a_longer_field_and_a_new_option_are_no_findings() -> None:
    assert found("left", with_field("body", max_length=5000), document()) == []
    assert found("left", with_field("status", options=(HIGH, LOW, Option("Top", "Top"))), document()) == []


def test_where_no_limit_was_told_none_is_known_to_be_shorter() -> None:
    unlimited = [RULES[0], rule("body", "body")]
    assert found("left", FIELDS, document(rules=unlimited)) == []


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_required_field_that_no_rule_fills_stops_creates_alone(side: str) -> None:
    fields = [*FIELDS, Field("team", "Team", "text", required=True)]
    (one,) = found(side, fields, document())
    assert (one.subject, one.code, one.stops, one.path) == (f"create:{side}", "newly_required", "creates", "team")
    assert found(side, fields, document(**{side: {"create": False}})) == [], "nothing is made there"
    assert found(side, fields, document(**{side: {"create_defaults": {"team": "ours"}}})) == []
    assert found(side, fields, document(**{side: {"scope": {"team": "ours"}}})) == []
    assert found(side, [*FIELDS, replace(fields[-1], creatable=False)], document()) == []


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_field_that_became_required_stops_creates_where_its_rule_may_send_nothing(side: str) -> None:
    (one,) = found(side, with_field("body", required=True), document())
    assert (one.subject, one.code, one.path, one.rule) == (f"create:{side}", "newly_required", "body", "body")
    both = with_field("body", required=True)
    assert compare(document(), {"left": both, "right": both}) == [], "neither side can say nothing"
    one_way = [{**RULES[0], "direction": "both"}, {**RULES[1], "direction": f"to_{OTHER[side]}"}]
    (read_only,) = found(side, with_field("body", required=True), {**document(), "rules": one_way})
    assert read_only.rule == "", "a rule that does not write it fills nothing"


def test_a_value_for_new_records_that_cannot_be_given_any_more_holds_every_create() -> None:
    doc = document(right={"create_defaults": {"team": "ours"}})
    (one,) = found("right", FIELDS, doc)
    assert (one.code, one.stops, one.path, one.params["path"]) == ("create_value_unusable", "creates", "", "team")
    assert standing(compile_document(doc), [one]).creates_wait["right"] == {"": "create_value_unusable"}


TEAM = Field("team", "Team", "option", options=(Option("Ours", "Ours"), Option("Theirs", "Theirs")), max_length=20)
NOTE = Field("note", "Note", "text", max_length=20)
TAGS = Field("tags", "Tags", "set", options=(Option("new", "New"), Option("web", "Web")))


def with_create_value(path: str, value: Any, side: str = "right") -> dict[str, Any]:
    """A version that gives `value` to new records, with its field as it was when it was published."""
    known = [field_snapshot(path, {"team": TEAM, "tags": TAGS, "note": NOTE})]
    return document(**{side: {"create_defaults": {path: value}}, "create_fields": {side: known}})


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    ("path", "value", "now", "code", "told"),
    [
        ("team", "Ours", replace(TEAM, options=TEAM.options[1:]), "create_option_removed", {"values": ["Ours"]}),
        (
            "team",
            "Ours",
            replace(TEAM, options=(Option("Ours", "Ours", active=False), TEAM.options[1])),
            "create_option_removed",
            {"values": ["Ours"]},
        ),
        ("tags", ["new", "web"], replace(TAGS, options=TAGS.options[1:]), "create_option_removed", {"values": ["new"]}),
        ("team", "Ours", replace(TEAM, kind="number"), "create_type_changed", {"was": "option", "now": "number"}),
        ("note", "A long note", replace(NOTE, max_length=5), "create_shortened", {"was": 20, "limit": 5}),
    ],
)
def test_a_value_for_new_records_that_its_field_does_not_take_any_more_holds_every_create(
    path: str, value: Any, now: Field, code: str, told: dict[str, Any], side: str
) -> None:
    doc = with_create_value(path, value, side)
    (one,) = found(side, [*FIELDS, now], doc)
    assert (one.code, one.stops, one.subject, one.path) == (code, "creates", f"create:{side}", "")
    assert one.params == {"path": path, **told}
    assert standing(compile_document(doc), [one]).creates_wait[side] == {"": code}


@pytest.mark.parametrize(
    ("path", "value", "now"),
    [
        ("team", "Ours", TEAM),
        ("team", "Ours", replace(TEAM, options=TEAM.options[:1])),
        ("team", "Ours", replace(TEAM, options=())),
        ("team", "A team that was never offered", TEAM),
        ("tags", ["web"], replace(TAGS, options=TAGS.options[1:])),
        ("note", "Note", replace(NOTE, max_length=5)),
        ("note", None, replace(NOTE, max_length=5)),
        ("note", "A long note", replace(NOTE, max_length=None)),
    ],
)
def test_a_value_for_new_records_that_still_fits_is_no_finding(path: str, value: Any, now: Field) -> None:
    assert found("right", [*FIELDS, now], with_create_value(path, value)) == []


def test_a_value_whose_field_the_version_does_not_remember_is_not_judged() -> None:
    doc = document(right={"create_defaults": {"team": "Gone"}})
    assert found("right", [*FIELDS, TEAM], doc) == []


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (without("ref"), "match_field_removed"),
        (with_field("ref", kind="rich_text"), "match_field_changed"),
        (with_field("ref", matchable=False), "match_field_unsearchable"),
    ],
)
def test_a_match_field_that_is_gone_holds_what_looks_new(fields: list[Field], code: str, side: str) -> None:
    (one,) = found(side, fields, document())
    assert (one.subject, one.code, one.stops) == (f"match:{side}", code, "matching")
    compiled = standing(compile_document(document()), [one])
    assert compiled.matching_waits and ("ref" in compiled.paths(side)) is (code != "match_field_removed")


def test_a_rule_that_stands_still_is_not_asked_for_where_its_field_is_gone() -> None:
    compiled = standing(compile_document(document()), found("right", without("body"), document()))
    assert "body" not in compiled.paths("right") and "body" in compiled.paths("left")
    assert compiled.still["body"].whole and compiled.still.keys() == {"body"}


def test_only_the_writes_that_cannot_be_done_wait() -> None:
    compiled = compile_document(document())
    read_only = standing(compiled, found("right", with_field("body", writable=False), document())).still["body"]
    assert read_only.holds("right", "x") and not read_only.holds("left", "x")
    option = standing(compiled, found("right", with_field("status", options=(HIGH,)), document())).still["status"]
    assert option.holds("right", "Low") and not option.holds("right", "High") and not option.holds("left", "Low")
    assert option.holds("right", ["High", "Low"]), "a set with a member that is gone"
    shorter = standing(compiled, found("right", with_field("body", max_length=5), document())).still["body"]
    assert shorter.holds("right", "123456") and not shorter.holds("right", "12345") and not shorter.holds("right", None)


def test_what_cannot_go_with_a_create_any_more_is_written_after_it_and_nobody_is_asked() -> None:
    (one,) = found("right", with_field("body", creatable=False), document())
    assert (one.code, one.stops) == ("not_creatable", "later")
    compiled = standing(compile_document(document()), [one])
    assert not compiled.still and not next(r for r in compiled.rules if r.id == "body").right.creatable


def test_a_field_that_became_required_is_not_emptied_by_its_rule() -> None:
    compiled = standing(compile_document(document()), found("right", with_field("body", required=True), document()))
    assert next(r for r in compiled.rules if r.id == "body").right.required and not compiled.still


def test_a_required_field_whose_rule_stands_still_holds_the_creates() -> None:
    compiled = standing(compile_document(document()), found("left", without("title"), document()))
    assert compiled.creates_wait == {"left": {}, "right": {"title": "field_removed"}}, "what is gone demands nothing"


def test_several_findings_of_one_rule_are_one_entry_named_by_the_gravest() -> None:
    doc = document()
    both = compare(doc, {"left": without("body"), "right": with_field("body", max_length=5)})
    assert {one.subject for one in both} == {"rule:body"} and gravest(both).code == "field_removed"


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("text", "a", 1),
        ("number", 1.5, "1.5"),
        ("boolean", False, 0),
        ("number", 1, True),
        ("set", [], "a"),
        ("rich_text", {"type": "doc"}, ["a"]),
    ],
)
def test_a_value_of_another_form_is_noticed(kind: str, good: Any, bad: Any) -> None:
    assert fits(kind, good) and fits(kind, None) and not fits(kind, bad)


@pytest.mark.parametrize(
    ("kind", "form", "good", "bad"),
    [
        ("text", None, ["a", "", None], [1, True, ["a"], {"a": 1}]),
        ("rich_text", "adf", [{"type": "doc"}, None], ["a", ["a"]]),
        ("rich_text", "html", ["<p>a</p>"], [{"type": "doc"}]),
        ("number", None, [1, 1.5], ["1", True, float("nan"), float("inf")]),
        ("boolean", None, [True, False], ["yes", 1]),
        ("set", None, [["a"], []], ["a", [1], [["a"]]]),
        ("date", None, ["2026-09-24"], ["tomorrow", "2026-13-01", 5]),
        ("datetime", None, ["2026-09-24T09:41:00Z"], ["soon", "2026-09-24T25:00:00Z"]),
    ],
)
def test_a_value_that_a_person_gives_has_the_form_of_the_field(
    kind: str, form: str | None, good: list[Any], bad: list[Any]
) -> None:
    spec = FieldSpec("x", "X", kind, format=form)
    assert [value for value in [*good, *bad] if may_hold(spec, value)] == good
