"""Rich text for the tests: a small builder of Jira documents, and strategies for documents and texts."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]


def text(words: str, *marks: Json) -> Json:
    return {"type": "text", "text": words, **({"marks": list(marks)} if marks else {})}


def para(*inlines: Json | str) -> Json:
    return {"type": "paragraph", "content": [text(one) if isinstance(one, str) else one for one in inlines]}


def doc(*blocks: Json) -> Json:
    return {"version": 1, "type": "doc", "content": list(blocks)}


def heading(level: int, words: str) -> Json:
    return {"type": "heading", "attrs": {"level": level}, "content": [text(words)]}


def bullets(*items: tuple[Json, ...] | Json) -> Json:
    return {"type": "bulletList", "content": [item(*(one if isinstance(one, tuple) else (one,))) for one in items]}


def numbers(*items: tuple[Json, ...] | Json, order: int = 1) -> Json:
    return {**bullets(*items), "type": "orderedList", "attrs": {"order": order}}


def item(*blocks: Json) -> Json:
    return {"type": "listItem", "content": list(blocks)}


def code(source: str, language: str = "python") -> Json:
    return {"type": "codeBlock", "attrs": {"language": language}, "content": [text(source)]}


def cell(*blocks: Json, header: bool = False) -> Json:
    return {"type": "tableHeader" if header else "tableCell", "attrs": {}, "content": list(blocks)}


def table(*rows: tuple[Json, ...]) -> Json:
    return {"type": "table", "content": [{"type": "tableRow", "content": list(row)} for row in rows]}


def box(kind: str, *blocks: Json) -> Json:
    return {"type": "panel", "attrs": {"panelType": kind}, "content": list(blocks)}


STRONG = {"type": "strong"}
EM = {"type": "em"}
RED = {"type": "textColor", "attrs": {"color": "#ff0000"}}
DOCS = {"type": "link", "attrs": {"href": "https://example.com/docs"}}
ADA = {"type": "mention", "attrs": {"id": "5b10", "text": "@Ada Lovelace", "accessLevel": ""}}
SMILE = {"type": "emoji", "attrs": {"shortName": ":smile:", "id": "1f604", "text": "😄"}}
BREAK = {"type": "hardBreak"}
MEDIA = {
    "type": "mediaSingle",
    "attrs": {"layout": "center"},
    "content": [{"type": "media", "attrs": {"id": "m1", "type": "file", "collection": "", "alt": "screen.png"}}],
}

RICH = doc(
    heading(2, "Steps to reproduce"),
    para("Ask ", ADA, " about the ", text("very important", STRONG), " export, see ", text("the docs", DOCS), "."),
    bullets(para("one"), (para("two ", text("bold", STRONG)), numbers(para("nested")))),
    code("def f():\n\n    return 1"),
    MEDIA,
    box("warning", para("Careful ", SMILE)),
    para(),
    table(
        (cell(para("A"), header=True), cell(para("B|"), header=True)),
        (cell(para("1"), para("2")), cell(para(text("x", STRONG)))),
    ),
    {"type": "expand", "attrs": {"title": "More"}, "content": [para("inside")]},
    {"type": "rule"},
)


# Strategies ---------------------------------------------------------------------------------------------------

# What trips readers: signs of the formats, blanks, letters beyond the basic plane, right to left, joined emoji.
_PIECES = ["a", "Zürich", "b c", " ", "  ", "1.", "- x", "# y", "> z", "*", "_", "**w**", "`", "```", "~~", "|", "\\"]
_PIECES += [
    "[x]",
    "[ ]",
    "<b>",
    "&amp;",
    "https://example.com/a_b?c=1",
    "😄",
    "👩‍👩‍👧",
    "مرحبا",
    "日本",
    "@Ada",
    "--",
    "---",
]
words = st.lists(st.sampled_from(_PIECES), min_size=1, max_size=4).map("".join)
marks = st.lists(st.sampled_from([STRONG, EM, RED, DOCS, {"type": "strike"}, {"type": "underline"}]), max_size=2).map(
    lambda found: [mark for number, mark in enumerate(found) if mark not in found[:number]]
)
inlines = st.one_of(
    st.builds(lambda one, with_marks: text(one, *with_marks), words, marks),
    words.map(lambda one: text(one, {"type": "code"})),
    st.sampled_from([ADA, SMILE, BREAK]),
    st.just({"type": "status", "attrs": {"text": "DONE", "color": "green", "localId": "s1"}}),
    st.just({"type": "date", "attrs": {"timestamp": "1795219200000"}}),
    st.just({"type": "inlineCard", "attrs": {"url": "https://example.com/card"}}),
)
paragraphs = st.lists(inlines, max_size=4).map(lambda found: para(*found))
codes = (
    st.lists(st.sampled_from(["x = 1", "", "  y", "```", "- z"]), min_size=1, max_size=4).map("\n".join).filter(bool)
)
leaves = st.one_of(
    paragraphs,
    st.builds(heading, st.integers(1, 6), words),
    codes.map(code),
    st.sampled_from([MEDIA, {"type": "rule"}]),
)
items = st.lists(
    st.one_of(
        paragraphs.map(lambda one: (one,)),
        st.tuples(paragraphs, st.lists(paragraphs, min_size=1, max_size=2).map(lambda found: bullets(*found))),
        st.tuples(paragraphs, codes.map(code)),
    ),
    min_size=1,
    max_size=3,
)
blocks = st.one_of(
    leaves,
    items.map(lambda found: bullets(*found)),
    st.builds(lambda found, order: numbers(*found, order=order), items, st.integers(1, 12)),
    st.lists(paragraphs, min_size=1, max_size=2).map(lambda found: {"type": "blockquote", "content": found}),
    st.lists(paragraphs, min_size=1, max_size=2).map(lambda found: box("info", *found)),
    st.lists(st.tuples(paragraphs, paragraphs), min_size=1, max_size=3).map(
        lambda rows: table(*(tuple(cell(one) for one in row) for row in rows))
    ),
)
documents = st.lists(blocks, min_size=1, max_size=3).map(lambda found: doc(*found))
_LINES = [
    "- a",
    "  - b",
    "* c",
    "1. d",
    "2) e",
    "   f",
    "> g",
    ">",
    "# h",
    "```",
    "```py",
    "| i | j |",
    "| --- | --- |",
]
_LINES += [
    "---",
    "",
    "",
    "plain words",
    "trailing  ",
    "\tk",
    "[ ] l",
    "- [x] m",
    "see https://example.com/n.",
    "😄 @Ada",
]
texts = st.lists(st.sampled_from(_LINES), max_size=8).map("\n".join)
