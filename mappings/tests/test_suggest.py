from connections.connectors.base import Field
from mappings.suggest import entries_for, suggest
from mappings.tests.examples import LEFT_FIELDS, RIGHT_FIELDS, options


def pairs(*args, **kwargs):
    return {(s.left, s.right): s for s in suggest(*args, **kwargs)}


def test_same_label_and_kind_is_the_surest_proposal():
    first = suggest(LEFT_FIELDS, RIGHT_FIELDS)[0]
    assert (first.left, first.right) in {("description", "Description"), ("duedate", "Due__c")}
    assert first.confidence == 1.0
    assert first.reason.startswith("Same label; both are ")


def test_usual_names_of_the_same_thing_are_proposed_with_their_reason():
    found = pairs(LEFT_FIELDS, RIGHT_FIELDS)[("summary", "Subject")]
    assert "usual names of the same thing" in found.reason.lower()
    assert 0.8 < found.confidence < 1


def test_labels_and_tags_are_the_same_thing():
    assert ("labels", "Tags__c") in pairs(LEFT_FIELDS, RIGHT_FIELDS)


def test_fields_with_a_rule_are_not_proposed_again():
    found = pairs(LEFT_FIELDS, RIGHT_FIELDS, paired_left={"summary"}, paired_right={"Due__c"})
    assert not [pair for pair in found if pair[0] == "summary" or pair[1] == "Due__c"]


def test_each_field_is_proposed_once():
    left = [Field("a", "Priority", "option"), Field("b", "Urgency", "option")]
    right = [Field("c", "Priority", "option")]
    assert list(pairs(left, right)) == [("a", "c")]


def test_a_read_only_field_is_proposed_as_source_only():
    left = [Field("key", "Reference", "text", writable=False)]
    right = [Field("Reference__c", "Reference", "text")]
    assert suggest(left, right)[0].direction == "to_right"
    assert suggest(right, left)[0].direction == "to_left"


def test_two_read_only_fields_are_no_pair():
    left = [Field("created", "Created", "datetime", writable=False)]
    right = [Field("CreatedDate", "Created", "datetime", writable=False)]
    assert suggest(left, right) == []


def test_kinds_that_cannot_become_each_other_are_no_pair_even_with_one_name():
    assert suggest([Field("x", "Amount", "number")], [Field("y", "Amount", "person")]) == []


def test_similar_labels_need_to_be_really_similar():
    close = suggest([Field("x1", "Customer name", "text")], [Field("y1", "Customers name", "text")])
    assert "alike" in close[0].reason
    assert suggest([Field("x1", "Customer name", "text")], [Field("y1", "Colour", "text")]) == []


def test_shared_options_raise_the_confidence_and_no_shared_option_lowers_it():
    left = Field("l", "Priority", "option", options=options("High", "Low"))
    same = Field("r", "Priority level", "option", options=options("high", "LOW"))
    other = Field("r", "Priority level", "option", options=options("P1", "P2"))
    sure, unsure = suggest([left], [same]), suggest([left], [other])
    assert "2 of 2 options are the same" in sure[0].reason
    assert not unsure or unsure[0].confidence < sure[0].confidence


def test_first_value_map_pairs_options_that_read_the_same():
    left = Field("l", "Priority", "option", options=options("High", "In progress", "Odd"))
    right = Field("r", "Priority", "option", options=options("high", "In-Progress"))
    assert entries_for(left, right) == [
        {"left": "High", "right": "high"},
        {"left": "In progress", "right": "In-Progress"},
    ]
