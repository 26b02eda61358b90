from mappings.preview import SHOWN_LENGTH, Sample, SampleSide, outcomes, text
from mappings.tests.examples import PRIORITY_ENTRIES, rule


def pair(left, right, **changes):
    return Sample(SampleSide("1", "SUP-1", left), SampleSide("2", "103", right), **changes)


def told(document, sample):
    return {side: (o.value, o.gets, o.refused) for side, o in outcomes(document, sample).items()}


def test_equal_values_get_nothing():
    assert told(rule("duedate", "Due__c"), pair({"duedate": "2026-10-01"}, {"Due__c": "2026-10-01"})) == {
        "left": ("2026-10-01", "", ""),
        "right": ("2026-10-01", "", ""),
    }


def test_each_side_shows_what_the_other_would_make_of_it():
    document = rule("priority", "Priority", transform="value_map", entries=PRIORITY_ENTRIES)
    assert told(document, pair({"priority": "Highest"}, {"Priority": "P3"})) == {
        "left": ("Highest", "Low", ""),
        "right": ("P3", "P1", ""),
    }


def test_a_one_way_rule_gives_to_its_target_only():
    document = rule("duedate", "Due__c", direction="to_right")
    found = told(document, pair({"duedate": "2026-10-01"}, {"Due__c": None}))
    assert found == {"left": ("2026-10-01", "", ""), "right": ("empty", "2026-10-01", "")}


def test_a_value_without_counterpart_says_why():
    document = rule("priority", "Priority", transform="value_map", entries=PRIORITY_ENTRIES[:1])
    found = told(document, pair({"priority": "Low"}, {"Priority": "P1"}))
    assert found["right"] == ("P1", "", "“Low” has no line in the value map")


def test_a_record_on_one_side_only_shows_what_would_be_created():
    sample = Sample(left=SampleSide("1", "SUP-1", {"duedate": "2026-10-01"}))
    assert told(rule("duedate", "Due__c"), sample)["right"] == ("no record", "2026-10-01", "")


def test_hidden_is_not_empty():
    sample = Sample(SampleSide("1", "SUP-1", {}, frozenset({"duedate"})), SampleSide("2", "103", {"Due__c": None}))
    assert told(rule("duedate", "Due__c"), sample) == {
        "left": ("hidden from our account", "", ""),
        "right": ("empty", "", ""),
    }


def test_a_rule_that_cannot_be_built_still_shows_the_values():
    document = rule("duedate", "Due__c", transform="magic")
    assert told(document, pair({"duedate": "x"}, {"Due__c": None})) == {
        "left": ("x", "", ""),
        "right": ("empty", "", ""),
    }


def test_a_value_a_transform_stumbles_over_does_not_close_the_editor():
    document = rule("labels", "Tags__c", transform="set")
    found = told(document, pair({"labels": 5}, {"Tags__c": ["a"]}))
    assert "5" in found["left"][0]
    assert found["right"][0] == "a"


def test_no_sample_shows_nothing():
    assert outcomes(rule("duedate", "Due__c"), Sample()) == {}


def test_documents_are_shown_by_their_words_and_long_texts_are_cut():
    mention = {"type": "mention", "attrs": {"text": "@Ana"}}
    paragraph = {"type": "paragraph", "content": [{"type": "text", "text": "Hello"}, mention]}
    assert text({"type": "doc", "content": [paragraph]}) == "Hello @Ana"
    assert text("x" * 1000) == "x" * SHOWN_LENGTH + "…"


def test_long_texts_are_cut_around_what_differs():
    start = "The same beginning. " * 20
    assert text(start + "New end.", start + "Old end.") == "…eginning. The same beginning. New end."


def test_values_that_say_the_same_in_two_forms_get_nothing():
    document = rule("description", "Description", transform="rich_text")
    document["left"] = {**document["left"], "kind": "rich_text", "format": "adf"}
    paragraph = {"type": "paragraph", "content": [{"type": "text", "text": "Hello"}]}
    same = pair({"description": {"type": "doc", "version": 1, "content": [paragraph]}}, {"Description": "Hello"})
    assert told(document, same) == {"left": ("Hello", "", ""), "right": ("Hello", "", "")}
