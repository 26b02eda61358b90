"""One row per finding: what is changed in a sound draft, and what is found for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connections.connectors.base import Field, FormField
from mappings.problems import SideFacts
from mappings.tests.examples import LEFT_FIELDS, PRIORITY_ENTRIES, RIGHT_FIELDS, document, rule, side, snapshot
from mappings.validation import check

LEFT, RIGHT = SideFacts("Jira", LEFT_FIELDS), SideFacts("Salesforce", RIGHT_FIELDS)
SCOPED = replace(LEFT, scope_form=(FormField("project", "Project"), FormField("jql", "JQL", required=False)))
POLICY = {"name": "Mine", "tolerance": 2.0}


def codes(draft, left=LEFT, right=RIGHT, others=()):
    return [(problem.level, problem.code, problem.side) for problem in check(draft, left, right, others)]


def priority(entries=PRIORITY_ENTRIES, **changes):
    return rule("priority", "Priority", transform="value_map", entries=entries, **changes)


def test_a_sound_draft_has_no_problem():
    assert check(document(rule("duedate", "Due__c"), rule("labels", "Tags__c")), LEFT, RIGHT) == []


TABLE = [
    ("no rules", document(rules=[]), ("error", "no_rules", "")),
    ("unknown field on the left", document(rule("nope", "Effort__c")), ("error", "unknown_field", "left")),
    ("unknown field on the right", document(rule("points", "nope")), ("error", "unknown_field", "right")),
    ("read-only side is written", document(rule("created", "Due__c")), ("error", "read_only", "left")),
    ("read-only right side is written", document(rule("points", "CaseNumber")), ("error", "read_only", "right")),
    (
        "unknown transform",
        document(rule("duedate", "Due__c", transform="magic")),
        ("error", "unknown_transform", ""),
    ),
    (
        "unknown transform setting",
        document(rule("duedate", "Due__c", params={"colour": 1})),
        ("error", "unknown_params", ""),
    ),
    (
        "a transform for other kinds",
        document(rule("points", "Tags__c")),
        ("error", "type_mismatch", ""),
    ),
    (
        "a transform that needs a value map has none",
        document(priority([])),
        ("error", "no_value_map", ""),
    ),
    (
        "a value map beside a transform that uses none",
        document(rule("points", "Effort__c", entries=[{"left": 1, "right": 2}])),
        ("warning", "map_ignored", ""),
    ),
    (
        "a transform setting that cannot be",
        document(rule("points", "Effort__c", transform="number", params={"places": "many"})),
        ("error", "bad_params", ""),
    ),
    (
        "a choice does not offer what the plain rule would write",
        document(rule("priority", "Priority")),
        ("warning", "option_not_offered", "right"),
    ),
    (
        "a value has no entry",
        document(priority(PRIORITY_ENTRIES[:2])),
        ("warning", "map_not_total", "left"),
    ),
    (
        "a value of the right has no entry on the way back",
        document(priority(PRIORITY_ENTRIES[:2])),
        ("warning", "map_not_total", "right"),
    ),
    ("the way back is not one to one", document(priority()), ("warning", "map_not_reversible", "left")),
    (
        "a line stands twice",
        document(priority([*PRIORITY_ENTRIES, PRIORITY_ENTRIES[0]])),
        ("warning", "map_entry_twice", ""),
    ),
    (
        "an option that does not exist would be written",
        document(priority([*PRIORITY_ENTRIES, {"left": "Low", "right": "P7"}])),
        ("error", "option_missing", "right"),
    ),
    (
        "an option that does not exist is only read",
        document(priority([*PRIORITY_ENTRIES, {"left": "Odd", "right": "P1"}], direction="to_right")),
        ("warning", "option_missing", "left"),
    ),
    (
        "a retired option would be written",
        document(priority([*PRIORITY_ENTRIES, {"left": "High", "right": "P9"}])),
        ("warning", "option_retired", "right"),
    ),
    (
        "merge sets on what is no set",
        document(rule("duedate", "Due__c", policy={**POLICY, "kind": "merge_sets"})),
        ("error", "policy_unsuited", ""),
    ),
    (
        "merge text on what is no text",
        document(rule("labels", "Tags__c", policy={**POLICY, "kind": "merge_text"})),
        ("error", "policy_unsuited", ""),
    ),
    (
        "the other side is shorter",
        document(rule("description", "Description")),
        ("warning", "shorter", "right"),
    ),
    (
        "two rules write one field",
        document(rule("description", "Subject")),
        ("error", "two_writers", "right"),
    ),
    (
        "a required field has no source",
        document(rules=[rule("points", "Effort__c")]),
        ("error", "required_unmapped", "right"),
    ),
    (
        "a rule that does not write the required field is no source",
        document(rules=[rule("summary", "Subject", direction="to_left")]),
        ("error", "required_unmapped", "right"),
    ),
    (
        "a value for new records that cannot be set then",
        document(left=side(1, create_defaults={"status": "Open"})),
        ("error", "bad_create_default", "left"),
    ),
    (
        "a value for new records that is no option",
        document(right=side(2, create_defaults={"Priority": "P9"})),
        ("warning", "unfit_create_default", "right"),
    ),
    (
        "a value for new records that is too long",
        document(right=side(2, create_defaults={"Subject": "x" * 256})),
        ("warning", "unfit_create_default", "right"),
    ),
    (
        "closing without values",
        document(left=side(1, on_delete="close")),
        ("error", "no_close_values", "right"),
    ),
    (
        "closing writes what is read only",
        document(left=side(1, on_delete="close"), right=side(2, close_values={"CaseNumber": "x"})),
        ("error", "bad_close_value", "right"),
    ),
    (
        "closing takes a call of its own",
        document(right=side(2, on_delete="close"), left=side(1, close_values={"status": "Done", "points": 1})),
        ("warning", "separate_write", "left"),
    ),
    ("no match keys", document(match_keys=[]), ("warning", "no_match_keys", "")),
    (
        "a match key that does not exist",
        document(match_keys=[[{"left": "nope", "right": "Subject"}]]),
        ("error", "match_key_unusable", "left"),
    ),
    (
        "a set cannot identify a thing",
        document(match_keys=[[{"left": "summary", "right": "Tags__c"}]]),
        ("error", "match_key_unusable", "right"),
    ),
    (
        "a match key that cannot be searched where we create",
        document(match_keys=[[{"left": "summary", "right": "Effort__c"}]]),
        ("error", "match_key_not_searchable", "right"),
    ),
]


@pytest.mark.parametrize(("draft", "finding"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_finding(draft, finding):
    assert finding in codes(draft)


def test_every_finding_says_what_happened_what_it_means_and_what_to_do():
    for _, draft, _ in TABLE:
        for problem in check(draft, LEFT, RIGHT):
            for part in (problem.what, problem.means, problem.todo):
                assert part.strip() == part
                assert part.endswith(".")


def test_errors_come_before_warnings():
    levels = [level for level, _, _ in codes(document(priority(), rule("nope", "Effort__c")))]
    assert levels == sorted(levels)
    assert set(levels) == {"error", "warning"}


def test_values_without_entry_are_named():
    found = check(document(priority(PRIORITY_ENTRIES[:2], direction="to_right")), LEFT, RIGHT)
    assert found[0].what == "“Low”, “Lowest” of Priority in Jira have no value in Salesforce."
    assert not [problem for problem in found if problem.side == "right"]  # nothing flows back


def test_a_one_way_rule_may_read_a_read_only_field():
    assert codes(document(rule("created", "Due__c", direction="to_right", transform="date_time"))) == []


def test_the_policy_of_a_one_way_rule_is_never_asked_so_it_may_be_any():
    draft = document(rule("duedate", "Due__c", direction="to_right", policy={**POLICY, "kind": "merge_sets"}))
    assert codes(draft) == []


def test_a_required_field_may_come_from_the_values_for_new_records_or_from_the_scope():
    one_way = [rule("summary", "Subject", direction="to_left")]
    for given in ({"create_defaults": {"Subject": "New"}}, {"scope": {"Subject": "x"}}, {"create": False}):
        assert codes(document(rules=one_way, right=side(2, **given))) == []


def test_a_value_for_new_records_that_fits_is_no_finding():
    fitting = ({"Priority": "P1"}, {"Priority": None}, {"Subject": "x" * 255}, {"Tags__c": ["a"]}, {"Effort__c": 3})
    for given in fitting:
        assert codes(document(right=side(2, create_defaults=given))) == []


def test_two_rules_may_read_one_field():
    extra = (*RIGHT_FIELDS, Field("Copy__c", "Copy", "text", max_length=255))
    copy = rule("summary", "Subject", direction="to_right")
    copy = {**copy, "id": "copy", "right": {**snapshot("right", "Subject"), "path": "Copy__c", "label": "Copy"}}
    assert codes(document(copy), right=SideFacts("Salesforce", extra)) == []


def test_a_required_scope_setting_must_be_filled():
    assert ("error", "scope_missing", "left") in codes(document(), left=SCOPED)
    assert codes(document(left=side(1, scope={"project": "SUP"})), left=SCOPED) == []


def test_an_unknown_scope_setting_is_named():
    assert ("error", "scope_unknown", "left") in codes(
        document(left=side(1, scope={"project": "SUP", "projekt": "X"})), left=SCOPED
    )


def test_an_empty_scope_means_everything_and_says_so():
    free = replace(LEFT, scope_form=(FormField("jql", "JQL", required=False),))
    assert codes(document(), left=free) == [("warning", "scope_everything", "left")]


def test_a_key_the_system_makes_is_not_suspected_of_being_too_long():
    right = tuple(replace(field, max_length=40) if field.path == "Description" else field for field in RIGHT_FIELDS)
    key = Field("key", "Key", "text", writable=False, creatable=False)
    copy = rule("description", "Description", direction="to_right")
    copy = {**copy, "left": {**copy["left"], "path": "key", "label": "Key", "writable": False}}
    assert codes(document(copy), SideFacts("Jira", (*LEFT_FIELDS, key)), SideFacts("Salesforce", right)) == []


def test_a_transform_that_shortens_makes_the_warning_of_a_shorter_side_silent():
    assert codes(document(rule("description", "Description", transform="text_limited"))) == []


def test_a_circle_through_other_mappings_is_named_with_them():
    others = [("Jira to Zendesk", (1, "issue"), (3, "ticket")), ("Cases to Zendesk", (2, "Case"), (3, "ticket"))]
    found = check(document(), LEFT, RIGHT, others)
    assert [(p.level, p.code) for p in found] == [("warning", "cycle")]
    assert "“Jira to Zendesk”, “Cases to Zendesk”" in found[0].what


def test_a_tree_of_mappings_is_no_circle():
    assert codes(document(), others=[("Jira to Zendesk", (1, "issue"), (3, "ticket"))]) == []
