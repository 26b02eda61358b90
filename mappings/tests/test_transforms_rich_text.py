"""Rich text between any two formats: the laws of the lens, and what an edit leaves as it was."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.tests import rich_text_samples as samples
from mappings.tests.properties import DOCUMENT_PAIRS, LENS, cases
from mappings.tests.rich_text_samples import ADA, DOCS, RICH, SMILE, STRONG, bullets, code, doc, numbers, para, text
from mappings.transforms import TRANSFORMS
from mappings.transforms.adf import ADF, normalised
from mappings.transforms.base import CannotExpress, FieldSpec, Lens
from mappings.transforms.html import HTML
from mappings.transforms.markdown import MARKDOWN
from mappings.transforms.plain import PLAIN, normal
from mappings.transforms.rich_text import FORMATS, carrier


def lens(left: str, right: str) -> Lens:
    specs = (FieldSpec(name, name, "rich_text", name) for name in (left, right))
    return TRANSFORMS["rich_text"].build({}, *specs, [])


def value(format_name: str) -> st.SearchStrategy[Any]:
    if format_name == "plain":
        return samples.texts
    return samples.documents.map(lambda one: FORMATS[format_name].write(ADF.read(one)) if format_name != "adf" else one)


PAIRS = [*itertools.combinations(sorted(FORMATS), 2), ("adf", "adf"), ("html", "html"), ("markdown", "markdown")]


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_the_laws_hold_between_any_two_formats(left: str, right: str) -> None:
    pair = lens(left, right)

    @cases(DOCUMENT_PAIRS)
    @given(value(left), value(right))
    def laws(one: Any, other: Any) -> None:
        assert pair.to_left(pair.to_right(one, None, None), one, None) == one  # nothing edited, nothing touched
        assert pair.to_right(pair.to_left(other, None, None), other, None) == other
        arrived = pair.to_left(other, one, None)
        assert pair.to_right(arrived, other, None) == other  # what was written arrives
        assert pair.equal(arrived, other)
        arrived = pair.to_right(one, other, None)
        assert pair.to_left(arrived, one, None) == one
        assert pair.equal(one, arrived)

    laws()


@cases(LENS)
@given(samples.texts)
def test_an_edited_text_arrives_in_its_normal_form(edited: str) -> None:
    written = carrier(PLAIN, ADF)(edited, RICH, None)
    assert carrier(ADF, PLAIN)(written, None, None) == normal(edited)


# What an edit in Salesforce does to the Jira document ---------------------------------------------------------


def asked(whom: Any, what: str, between: str, link: Any) -> Any:
    return para("Ask ", whom, " about the ", text(what, STRONG), between, link, ".")


AS_TEXT = carrier(ADF, PLAIN)(RICH, None, None)


def edited(before: str, after: str, document: Any = RICH) -> Any:
    """The Jira document after `before` became `after` in the plain copy; what was edited must have arrived."""
    copy = carrier(ADF, PLAIN)(document, None, None)
    assert before in copy
    result = carrier(PLAIN, ADF)(copy.replace(before, after), document, None)
    assert carrier(ADF, PLAIN)(result, None, None) == normal(copy.replace(before, after))
    return result


def changes(before: Any, after: Any) -> list[Any]:
    """The blocks of `after` that are not, byte for byte, blocks of `before`."""
    old = [json.dumps(block) for block in before["content"]]
    return [block for block in after["content"] if json.dumps(block) not in old]


def test_the_copy_is_pleasant_to_read() -> None:
    assert AS_TEXT == (
        "## Steps to reproduce\n\n"
        "Ask @Ada Lovelace about the very important export, see the docs <https://example.com/docs>.\n\n"
        "- one\n- two bold\n  1. nested\n\n"
        "```python\ndef f():\n\n    return 1\n```\n\n"
        "[screen.png]\n\n> Careful 😄\n\n"
        "| A | B\\| |\n| --- | --- |\n| 1 / 2 | x |\n\n> More\n>\n> inside\n\n---"
    )


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            "very important export",
            "extremely important export now",
            para(
                "Ask ",
                ADA,
                " about the ",
                text("extremely important", STRONG),
                " export now, see ",
                text("the docs", DOCS),
                ".",
            ),
        ),
        (
            "the docs <",
            "our docs page <",
            para(
                "Ask ",
                ADA,
                " about the ",
                text("very important", STRONG),
                " export, see ",
                text("our docs page", DOCS),
                ".",
            ),
        ),
        (
            "@Ada Lovelace about",
            "@Ada Byron about",
            para(
                "Ask @Ada Byron about the ",
                text("very important", STRONG),
                " export, see ",
                text("the docs", DOCS),
                ".",
            ),
        ),
        (
            "see the docs <https://example.com/docs>",
            "see the docs",
            para("Ask ", ADA, " about the ", text("very important", STRONG), " export, see the docs."),
        ),
        ("nested", "nestled", bullets(para("one"), (para("two ", text("bold", STRONG)), numbers(para("nestled"))))),
        ("return 1", "return 2\n\n\n    # done", code("def f():\n\n    return 2\n\n\n    # done")),
        ("Careful", "Be careful", samples.box("warning", para("Be careful ", SMILE))),
        ("## Steps", "### All steps", samples.heading(3, "All steps to reproduce")),
        ("> inside", "> outside", {**RICH["content"][8], "content": [para("outside")]}),
        ("> More", "> Less", {**RICH["content"][8], "attrs": {"title": "Less"}}),
    ],
)
def test_an_edit_changes_only_the_edited_block(before: str, after: str, expected: Any) -> None:
    result = edited(before, after)
    assert changes(RICH, result) == [expected]
    assert len(result["content"]) == len(RICH["content"])


def test_a_new_item_leaves_the_others_as_they_were() -> None:
    [changed] = changes(RICH, edited("- one", "- zero\n- one"))
    assert changed["content"][1:] == RICH["content"][2]["content"]


def test_an_item_typed_above_a_nested_list_takes_it_over() -> None:
    [changed] = changes(RICH, edited("- two bold", "- two very bold\n- three"))
    assert [len(one["content"]) for one in changed["content"]] == [1, 1, 2]
    assert changed["content"][2]["content"][1]["content"] == numbers(para("nested"))["content"]


def test_an_edited_table_keeps_its_other_cells() -> None:
    [changed] = changes(RICH, edited("| 1 / 2 | x |", "| 1 / 2 | x and y |"))
    rows = RICH["content"][7]["content"]
    assert changed["content"][0] == rows[0]
    assert changed["content"][1]["content"][0] == rows[1]["content"][0]


def test_new_rows_and_columns_arrive() -> None:
    assert len(changes(RICH, edited("| 1 / 2 | x |", "| 1 / 2 | x |\n| 3 | z |"))[0]["content"]) == 3
    wider = edited(
        "| A | B\\| |\n| --- | --- |\n| 1 / 2 | x |", "| A | B\\| | C |\n| --- | --- | --- |\n| 1 / 2 | x | 9 |"
    )
    assert [len(row["content"]) for row in changes(RICH, wider)[0]["content"]] == [3, 3]


def test_a_new_paragraph_is_read_as_it_was_typed() -> None:
    result = edited("inside\n\n---", "inside\n\n---\n\nSee https://example.com/new.\n- a\n- b")
    assert changes(RICH, result) == [
        para(
            "See ", text("https://example.com/new", {"type": "link", "attrs": {"href": "https://example.com/new"}}), "."
        ),
        bullets(para("a"), para("b")),
    ]


def test_a_deleted_paragraph_takes_nothing_else_along() -> None:
    result = edited("> Careful 😄\n\n", "")
    assert result["content"] == [block for block in RICH["content"] if block["type"] != "panel"]


def test_what_a_text_does_not_show_survives_any_edit() -> None:
    invisible = para()
    document = doc(para("a"), invisible, para("b"), invisible)
    assert edited("b", "c", document)["content"] == [para("a"), invisible, para("c"), invisible]


def test_a_paragraph_with_blank_lines_in_it_stays_one_while_another_is_edited() -> None:
    odd = para("first", samples.BREAK, samples.BREAK, text("second", STRONG))
    assert edited("plain", "plainer", doc(odd, para("plain")))["content"] == [odd, para("plainer")]


def test_a_document_rewritten_altogether_keeps_only_what_nobody_saw() -> None:
    result = carrier(PLAIN, ADF)("Something else entirely", RICH, None)
    assert result["content"] == [para(), para("Something else entirely")]


def test_long_rewritten_documents_are_not_paired_word_by_word() -> None:
    long = doc(*(para(f"line {number} alpha") for number in range(90)))
    new = "\n\n".join(f"other {number} beta" for number in range(90))
    assert len(carrier(PLAIN, ADF)(new, long, None)["content"]) == 90


# Empty, odd, and re-rendered ----------------------------------------------------------------------------------


def test_empty_is_empty_in_every_form() -> None:
    pair = lens("adf", "plain")
    assert pair.to_right(None, None, None) is None
    assert pair.to_right(doc(), "", None) == ""
    assert pair.to_left("", doc(para()), None) == doc(para())
    assert pair.to_left(None, None, None) is None
    assert pair.to_left(None, RICH, None) is None
    assert pair.equal(doc(), None)
    assert not pair.equal(RICH, None)


def test_windows_newlines_and_blanks_at_line_ends_are_no_edit() -> None:
    pair = lens("adf", "plain")
    copy = AS_TEXT.replace("\n", "\r\n").replace("- one", "- one  ")
    assert pair.to_left(copy, RICH, None) is RICH
    assert pair.to_right(RICH, copy, None) is copy


def test_what_jira_adds_when_it_stores_a_document_is_no_edit() -> None:
    sent = carrier(PLAIN, ADF)("one two\n\n1. three", None, None)
    stored = doc(
        {"type": "paragraph", "attrs": {"localId": "p1"}, "content": [text("one "), text("two")]},
        {"type": "orderedList", "attrs": {"order": 1, "localId": "l"}, "content": [samples.item(para("three"))]},
    )
    assert stored != sent
    assert normalised(stored) == normalised(sent)
    assert lens("adf", "adf").to_right(stored, sent, None) is sent
    assert lens("adf", "plain").to_left("one two\n\n1. three", stored, None) is stored


def test_html_is_patched_in_place_too() -> None:
    old = '<div style="x">Hi <b>you</b>,</div><div><br></div><div class="c">see <img src="a.png"> soon</div>tail'
    copy = carrier(HTML, PLAIN)(old, None, None)
    assert copy == "Hi you,\n\nsee [image] soon\n\ntail"
    assert carrier(PLAIN, HTML)(copy.replace("soon", "now"), old, None) == (
        '<div style="x">Hi <b>you</b>,</div><div><br></div><div class="c">see <img src="a.png"> now</div>tail'
    )


def test_an_edit_within_an_html_list_or_table_keeps_the_rest_of_it() -> None:
    mention = '<a href="#" data-vss-mention="version:2.0,1">@Bob X</a>'
    old = (
        f'<p>{mention} hi</p><ul class="u"><li class="a">one</li><li class="b">two</li></ul>'
        '<table border="1"><tbody><tr id="r"><td class="c">x</td><td>y</td></tr><tr id="s"><td>z</td><td>w</td></tr></tbody></table>'  # noqa: E501
    )
    copy = carrier(HTML, PLAIN)(old, None, None)
    assert copy == "@Bob X hi\n\n- one\n- two\n\n| x | y |\n| z | w |"
    edited_copy = copy.replace("hi", "hello").replace("two", "two more").replace("| y |", "| why |")
    assert carrier(PLAIN, HTML)(edited_copy, old, None) == (
        f'<p>{mention} hello</p><ul class="u"><li class="a">one</li><li class="b">two more</li></ul>'
        '<table border="1"><tbody><tr id="r"><td class="c">x</td><td>why</td></tr><tr id="s"><td>z</td><td>w</td></tr></tbody></table>'  # noqa: E501
    )


def test_markdown_is_patched_in_place_too() -> None:
    old = "Hi  **you**,\nbye\n\n[ref]: http://example.com\n\n* see ![im](a.png)\n* soon\n\n\nlast"
    copy = carrier(MARKDOWN, PLAIN)(old, None, None)
    result = carrier(PLAIN, MARKDOWN)(copy.replace("last", "at last"), old, None)
    assert result == "Hi  **you**,\nbye\n\n[ref]: http://example.com\n\n* see ![im](a.png)\n* soon\n\nat last"


def test_a_document_nested_without_end_goes_to_review() -> None:
    deep: Any = para("x")
    for _ in range(5000):
        deep = {"type": "blockquote", "content": [deep]}
    with pytest.raises(CannotExpress, match="nested_too_deeply"):
        carrier(ADF, PLAIN)(doc(deep), None, None)


def test_long_texts_take_no_long_time() -> None:
    started = time.process_time()
    steps = "\n".join("  " * depth + "- deeper" for depth in range(40))
    log = " ".join(f"{number % 7} error in module {number % 13}" for number in range(5000))
    other = " ".join(f"{number % 5} fault at place {number % 11}" for number in range(5000))
    result = carrier(PLAIN, ADF)(
        f"{steps}\n\nfirst {other} last", doc(para(text("first ", STRONG), log, " last")), None
    )
    assert result["content"][1]["content"][0] == text("first ", STRONG)
    assert time.process_time() - started < 10  # seconds; comparing every word with every other takes minutes


def test_the_lens_says_where_it_loses_detail() -> None:
    assert lens("adf", "plain").lossy == {"to_right"}
    assert lens("plain", "html").lossy == {"to_left"}
    assert lens("adf", "adf").lossy == frozenset()


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(ValueError, match="wiki"):
        lens("wiki", "plain")
