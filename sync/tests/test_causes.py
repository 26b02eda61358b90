"""What makes two failures one cause, and what is said of it."""

from __future__ import annotations

import pytest

from sync.causes import QUESTION, RECORD, WRITE, fingerprint, normalised, of_conflict
from sync.remedies import BY_CODE, remedy


@pytest.mark.parametrize(
    ("message", "same_as"),
    [
        ("Account 0015g00000XyZ1 is locked.", "Account 0015g00000Abc2 is locked."),
        ("longer than 32,768 characters", "longer than 255 characters"),
        ("“Won't do” is no option", "“Done” is no option"),
        ('"foo" is not allowed', '"bar baz" is not allowed'),
        ("'foo' is not an option", "'the other one' is not an option"),
        ("SUP-4812 cannot be moved", "OPS-1 cannot be moved"),
        ("Ask ana@example.com", "Ask bob.b@example.org"),
        ("See https://a.example/x?y=1", "See https://b.example/"),
        ("Failed at 2026-11-28T10:00:00Z", "Failed at 2025-01-02T23:59:59.123Z"),
        ("No  user\n known", "no user known."),
        ("id 5f0c1b2e-3a4d-4e5f-8a9b-0c1d2e3f4a5b", "id 99999999-3a4d-4e5f-8a9b-0c1d2e3f4a5b"),
        ("503 Service Unavailable", "502 Service Unavailable"),
    ],
)
def test_ids_numbers_and_quoted_values_make_no_difference(message: str, same_as: str) -> None:
    assert normalised(message) == normalised(same_as)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The field is too long", "The field is read-only"),
        ("it doesn't fit and can't be cut", "it doesn't matter and can't be cut"),  # apostrophes quote nothing
        ("Service Unavailable", "Bad Gateway"),
    ],
)
def test_other_words_are_another_cause(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


def test_a_cause_is_mapping_source_side_part_code_and_message() -> None:
    known = (1, QUESTION, "right", "prio", "refused", "no")
    others = [
        (2, QUESTION, "right", "prio", "refused", "no"),
        (1, WRITE, "right", "prio", "refused", "no"),
        (1, RECORD, "right", "prio", "refused", "no"),
        (1, QUESTION, "left", "prio", "refused", "no"),
        (1, QUESTION, "right", "title", "refused", "no"),
        (1, QUESTION, "right", "prio", "not_allowed", "no"),
        (1, QUESTION, "right", "prio", "refused", "yes"),
    ]
    assert len({fingerprint(*one) for one in [known, *others]}) == 8
    assert fingerprint(*known) == fingerprint(*known[:-1], "No.")


@pytest.mark.parametrize(
    ("kind", "code", "counts"),
    [
        ("refused", "refused", True),
        ("unmapped", "value_not_in_map", True),
        ("schema", "field_gone", True),
        ("uncertain_create", "created_or_not", True),
        ("duplicate", "key_twice", True),
        ("delete_update", "close_refused", True),
        ("delete_update", "deleted_ask", False),
        ("field", "both_changed", False),
        ("ambiguous_match", "several_fit", False),
        ("duplicate", "fits_a_linked_record", False),
        ("oscillation", "flip_flop", False),
    ],
)
def test_a_question_counts_where_something_could_not_be_done(kind: str, code: str, counts: bool) -> None:
    assert bool(of_conflict(1, kind, "prio", code, {})) is counts


@pytest.mark.parametrize(
    ("code", "message", "head", "fix"),
    [
        ("refused", "longer than 255 characters", "less room for Title", "Shorten Title in Jira"),
        ("refused", "STRING_TOO_LONG", "less room", "Shorten"),
        ("refused", "'x' is not an option", "does not know the value of Title", "value map"),
        ("refused", "must not be empty", "wants a value that we do not send", "Fill the field it names in Jira"),
        ("refused", "Anything else", "Salesforce refuses Title", "Read what Salesforce says"),
        ("create_refused", "Required fields are missing: [Origin]", "wants a value", "mapping's settings"),
        ("not_allowed", "No right", "Our account may not write Title in Salesforce", "Give our account the right"),
        ("refused", "bob is nobody here", "does not know the person", "active in Salesforce"),
        ("value_not_in_map", "", "values that the value map does not know", "publish"),
        ("created_or_not", "", "did not say whether it created", "only a person can say"),
        ("write_failed", "503 Service Unavailable", "Salesforce has trouble of its own", "nothing to correct"),
        ("write_failed", "The sky fell", "keeps failing to take our writes", "tried again by itself"),
        ("not_planned", "ValueError", "breaks our plan", "Nothing of it was written"),
        ("some_new_code", "", "Title cannot be carried over to Salesforce", "Open one of them"),
    ],
)
def test_a_cause_has_plain_words_and_a_fix(code: str, message: str, head: str, fix: str) -> None:
    said = remedy(code, message, "Salesforce", "Jira", "Title")
    assert head in said.head and fix in said.fix, said


def test_every_remedy_can_be_said_without_knowing_the_systems() -> None:
    for code in BY_CODE:
        said = remedy(code, "", "", "")
        assert said.head and said.fix and "{" not in said.head + said.fix
