"""Each format by itself: what is read, what is written, and that writing and reading again says the same."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from mappings.tests import rich_text_samples as samples
from mappings.tests.properties import DOCUMENTS, LENS, cases
from mappings.tests.rich_text_samples import (
    BREAK,
    DOCS,
    RICH,
    STRONG,
    bullets,
    doc,
    numbers,
    para,
    text,
)
from mappings.transforms import adf, html, markdown, plain
from mappings.transforms.base import FieldSpec
from mappings.transforms.document import (
    Atom,
    Document,
    Heading,
    Item,
    Listing,
    Mark,
    Opaque,
    Panel,
    Paragraph,
    Quote,
    Row,
    Rule,
    Table,
    Text,
)
from mappings.transforms.document import Break as LineBreak
from mappings.transforms.document import Cell as TableCell
from mappings.transforms.document import Code as Source
from mappings.transforms.render import as_html, as_plain
from mappings.transforms.rich_text import FORMATS

EVIDENCE = Path(os.environ.get("SYNCADMIN_EVIDENCE", Path(__file__).parents[3] / "shared")) / "payloads" / "jira"


def only(*inlines: Any) -> Document:
    return Document((Paragraph(inlines),))


# Jira documents -----------------------------------------------------------------------------------------------


def recorded(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value] if value.get("type") == "doc" else [one for child in value.values() for one in recorded(child)]
    return [one for child in value for one in recorded(child)] if isinstance(value, list) else []


@pytest.mark.skipif(not EVIDENCE.is_dir(), reason=f"the recorded payloads are not at {EVIDENCE}")
def test_recorded_descriptions_survive_byte_for_byte() -> None:
    found = [one for path in sorted(EVIDENCE.glob("*.json")) for one in recorded(json.loads(path.read_text()))]
    assert found
    for one in found:
        assert json.dumps(adf.write(adf.read(one))) == json.dumps(one)


ODD = [
    {
        "type": "mediaGroup",
        "content": [{"type": "media", "attrs": {"id": "1"}}, {"type": "media", "attrs": {"alt": "b"}}],
    },
    {"type": "blockCard", "attrs": {"url": "https://example.com/1"}},
    {"type": "extension", "attrs": {"extensionKey": "toc", "text": "Contents"}},
    {"type": "layoutSection", "content": [{"type": "layoutColumn", "content": [para("left "), para("column")]}]},
    {"type": "decisionList", "content": [{"type": "decisionItem", "content": [text("so be "), text("it")]}]},
    {
        "type": "taskList",
        "attrs": {"localId": "t"},
        "content": [
            {"type": "taskItem", "attrs": {"localId": "1", "state": "DONE"}, "content": [text("done")]},
            {
                "type": "taskList",
                "attrs": {"localId": "u"},
                "content": [
                    {"type": "taskItem", "attrs": {"localId": "2", "state": "TODO"}, "content": [text("below")]}
                ],
            },
            {"type": "taskItem", "attrs": {"localId": "3", "state": "TODO"}, "content": [text("open")]},
        ],
    },
    {"type": "taskList", "attrs": {"localId": "t"}, "content": [para("no task")]},
    {"type": "bulletList", "content": [para("no item")]},
    {"type": "table", "content": [para("no row")]},
    {"type": "codeBlock"},
    {"type": "heading", "attrs": {"level": 9}, "content": [text("deep")]},
    {"type": "expand", "content": [para("no title")]},
    {"type": "unknown"},
    para({"type": "mediaInline", "attrs": {"alt": "log.txt"}}, {"type": "placeholder", "attrs": {"text": "type here"}}),
    para({"type": "date", "attrs": {"timestamp": "soon"}}, {"type": "mention", "attrs": {"id": "7"}}, {"type": "what"}),
    para(
        text("note", {"type": "annotation", "attrs": {"id": "a"}}),
        text("2", {"type": "subsup", "attrs": {"type": "sup"}}),
    ),
    para(text("x", {"type": "subsup", "attrs": {"type": "odd"}})),
]


@pytest.mark.parametrize("document", [RICH, doc(*ODD), doc(), {"type": "doc", "version": 1}, {**RICH, "extra": True}])
def test_a_document_that_is_only_read_is_given_back_as_it_was(document: Any) -> None:
    assert json.dumps(adf.write(adf.read(document))) == json.dumps(document)


@cases(DOCUMENTS)
@given(samples.documents)
def test_a_generated_document_is_given_back_as_it_was(document: Any) -> None:
    assert json.dumps(adf.write(adf.read(document))) == json.dumps(document)


def test_nodes_that_only_jira_knows_have_a_readable_text() -> None:
    lines = (plain.write(adf.read(doc(*ODD))) or "").split("\n\n")
    assert lines == [
        "[attachment]\n[b]",
        "https://example.com/1",
        "Contents",
        "left\ncolumn",
        "so be it",
        "- [x] done\n  - [ ] below\n- [ ] open",
        "no task",
        "no item",
        "no row",
        "```\n```",
        "# deep",
        "> no title",
        "[unknown]",
        "[log.txt]type here",
        "soon@7[what]",
        "note2",
        "x",
    ]


def test_a_text_where_a_document_should_be_is_read_line_by_line() -> None:
    assert adf.write(adf.read("a\n\nb")) == doc(para("a"), para("b"))
    assert adf.write(adf.read(None)) is None
    assert adf.read({"type": "doc", "content": "broken"}).blocks == ()


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            Document((Rule(), Source("", None), Opaque("a\nb"), Opaque(""))),
            [{"type": "rule"}, {"type": "codeBlock"}, para("a", BREAK, "b")],
        ),
        # Jira refuses a quote in a quote, a heading in a quote, a table in a list, a list without a paragraph above.
        (
            Document((Quote((Quote((Paragraph((Text("in"),)),)), Heading(1, (Text("h"),)), Rule(), Opaque(""))),)),
            [{"type": "blockquote", "content": [para("in"), para("h"), para("---")]}],
        ),
        (
            Document((Listing((Item((Table((Row((TableCell((Paragraph((Text("t"),)),)),)),)),)),)),)),
            [bullets(para("t"))],
        ),
        (
            Document((Listing((Item((Listing((Item((Paragraph((Text("n"),)),)),)),)),)),)),
            [bullets((para(), bullets(para("n"))))],
        ),
        (Document((Listing((Item(()),), ordered=True, start=3),)), [numbers(para(), order=3)]),
        (
            Document((Panel("note", (Quote((Listing((Item((Paragraph((Text("q"),)),)),)),)),)),)),
            [samples.box("note", bullets(para("q")))],
        ),
        (
            Document((Panel("expand", (Paragraph((Text("e"),)),)),)),
            [{"type": "expand", "attrs": {}, "content": [para("e")]}],
        ),
        (
            Document((Quote((Listing((Item((Paragraph((Text("k"),)),), True),)),)),)),
            [{"type": "blockquote", "content": [para("k")]}],
        ),
        # One list cannot mix tasks and items.
        (
            Document((Listing((Item((Paragraph((Text("d"),)),), True), Item((Paragraph((Text("e"),)),)))),)),
            [bullets(para("[x] ", "d"), para("e"))],
        ),
        (only(Text("c", (Mark("strong"), Mark("code"))), Text("", ())), [para(text("c", {"type": "code"}))]),
        (
            only(Text("x", (Mark("html:font"),)), Text("2", (Mark("sub"),)), Text("r", (Mark("colour", "#ff0000"),))),
            [para("x", text("2", {"type": "subsup", "attrs": {"type": "sub"}}), text("r", samples.RED))],
        ),
        (
            only(
                Atom("emoji", "😄", ":smile:"),
                Atom("date", "2026-11-20", "2026-11-20"),
                Atom("card", "u", "u"),
                Atom("mention", "@A", "1"),
            ),
            [
                para(
                    {"type": "emoji", "attrs": {"shortName": ":smile:", "text": "😄"}},
                    {"type": "date", "attrs": {"timestamp": "1795132800000"}},
                    {"type": "inlineCard", "attrs": {"url": "u"}},
                    "@A",
                )
            ],
        ),
        (only(Atom("other", "")), [{"type": "paragraph"}]),
    ],
)
def test_what_is_written_new_is_what_jira_accepts(document: Document, expected: Any) -> None:
    assert (adf.write(document) or {})["content"] == expected


def test_a_new_task_list_gives_each_task_an_id() -> None:
    below = Listing((Item((Paragraph((Text("b"),)),), False), Item((), False)))
    written = adf.write(Document((Listing((Item((Paragraph((Text("a"),)), below), True),)),)))
    tasks = [
        {"type": "taskItem", "attrs": {"localId": f"task-1-{number}", "state": "TODO"}, **more}
        for number, more in ((1, {"content": [text("b")]}), (2, {}))
    ]
    assert written
    assert written["content"][0] == {
        "type": "taskList",
        "attrs": {"localId": "task"},
        "content": [
            {"type": "taskItem", "attrs": {"localId": "task-1", "state": "DONE"}, "content": [text("a")]},
            {"type": "taskList", "attrs": {"localId": "task-1"}, "content": tasks},
        ],
    }


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (
            Item((Paragraph((Text("a"),)), Listing((Item((Paragraph((Text("b"),)),)),))), True),
            (para("[x] ", "a"), bullets(para("b"))),
        ),
        (Item((Source("c"),), False), (para("[ ] "), {"type": "codeBlock", "content": [text("c")]})),
        (Item((Rule(),), True), (para("[x] "), para("---"))),
    ],
)
def test_a_task_that_holds_more_than_jira_allows_keeps_its_box_as_text(item: Item, expected: Any) -> None:
    document = Document((Listing((item,)),))
    written = adf.write(document)
    assert written == doc(bullets(expected))
    assert plain.normal(plain.write(adf.read(written))) == plain.normal(plain.write(document))


def test_documents_that_differ_only_in_what_jira_adds_are_the_same() -> None:
    stored = doc(
        para(text("a", STRONG, DOCS), text("", STRONG), text("b", DOCS, STRONG)), para(), {"type": "rule", "marks": []}
    )
    sent = doc(
        para(text("ab", DOCS, STRONG)), {"type": "paragraph", "attrs": {"localId": "x"}}, {"type": "rule", "attrs": {}}
    )
    assert adf.normalised(stored) == adf.normalised(sent)
    assert adf.key(adf.read(doc())) == ""
    assert adf.normalised(doc(para("a"))) != adf.normalised(doc(para("b")))


# Plain text ---------------------------------------------------------------------------------------------------


@cases(LENS)
@given(samples.texts)
def test_the_normal_form_of_a_text_is_its_own_normal_form(value: str) -> None:
    assert plain.normal(plain.normal(value)) == plain.normal(value)


@pytest.mark.parametrize(
    "value",
    [
        "-",
        "2026. is no list",
        "> > nested quote",
        "> # no heading in a quote",
        ">",
        "| a |\n| b | c |",
        "a ```b",
        "```\nnever closed",
        "#no heading",
        "# ",
        "1. ",
        "a_b*c",
        "-5 degrees",
        "text <b>",
        "-----",
        "http://",
    ],
)
def test_what_only_looks_like_a_sign_stays_a_text(value: str) -> None:
    assert plain.normal(value) == value.strip()
    assert all(isinstance(block, Paragraph) for block in plain.read(value).blocks)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("* a\n• b\n+ c", "- a\n- b\n\n+ c"),
        ("3) a\n3) b", "3. a\n4. b"),
        ("Intro:\n- a\nOutro", "Intro:\n\n- a\n\nOutro"),
        ("1. a\n  - b\n\t- c", "1. a\n   - b\n   - c"),
        ("a\r\n\r\n\r\n\r\nb\rc  ", "a\n\nb\nc"),
        ("text\n```py\nx\n\n\ny  \n```\nmore", "text\n\n```py\nx\n\n\ny  \n```\n\nmore"),
        ("- a\n  ```\n  x\n\n  y\n  ```\n- b", "- a\n  ```\n  x\n\n  y\n  ```\n- b"),
        ("- [ ] a\n- [X] b\n- [ ]", "- [ ] a\n- [x] b\n- [ ]"),
        ("- [ ] a\n- b", "- [ ] a\n- b"),
        ("- ```\n  never closed\nout", "- ```\n  never closed\n\nout"),
        ("> a\n>\n> - b", "> a\n>\n> - b"),
        ("| a \\| b | \\\\ |", "| a \\| b | \\\\ |"),
        ("| |", "|  |"),
        ("# a   b  ", "# a   b"),
        (" \n ", None),
        (None, None),
    ],
)
def test_the_normal_form_of_a_text(value: Any, expected: Any) -> None:
    assert plain.normal(value) == expected


def test_code_with_ticks_gets_a_longer_fence() -> None:
    assert plain.write(Document((Source("```\nx\n```", "a b`c"),))) == "````abc\n```\nx\n```\n````"
    assert plain.write(Document((Source("", "py"),))) == "```\n```"
    assert plain.write(Document((Heading(2, ()), Quote(()), Listing((Item(()),))))) == "-"


def test_a_link_that_shows_its_address_is_not_written_twice() -> None:
    mail = Text("a@example.com", (Mark("link", "mailto:a@example.com"),))
    two = (
        Text("one", (Mark("link", "u1"),)),
        Text("two", (Mark("link", "u2"), Mark("strong"))),
        Text("!", (Mark("link", "u2"),)),
    )
    assert plain.inlines_text((mail, Text(" "), *two)) == "a@example.com one <u1>two! <u2>"


# HTML ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a<br>b<br>", "a\nb"),
        ("<p>a\n  b&nbsp;&nbsp;c</p><p><br></p><div>d</div>", "a b  c\n\nd"),
        ("<b>x</b> <span style='font-weight: bold; color:red'>y</span><!-- no --><script>alert(1)</script>", "x y"),
        ("<ol start='3'><li>a<li><p>b</p><p>c</p></ol>", "3. a\n4. b\n   c"),
        ("<ul><li>a</li><ul><li>b</li></ul><!-- c --></ul><ul></ul>", "- a\n  - b"),
        ("<ul><li>☑ a</li><li><b>☐ b</b></li></ul>", "- [x] a\n- [ ] b"),
        ("<pre class='brush-sql'>select\n\n1</pre>", "```sql\nselect\n\n1\n```"),
        ("<blockquote>a<hr></blockquote><h2>h</h2>", "> a\n>\n> ---\n\n## h"),
        ("<table><thead><tr><th>a</th></tr></thead><tr><td>b</td></tr></table>", "| a |\n| --- |\n| b |"),
        ("<table><caption>c</caption><tr><td>b</td></tr></table>", "c b"),
        ("<section><p>a</p>b</section><a href='javascript:x()'>c</a>", "a\n\nb\n\nc"),
        (
            "<img src='x'><img alt='y' src='x'> <a href='https://example.com'>z</a>",
            "[image][y] z <https://example.com>",
        ),
        ("  ", None),
        (None, None),
    ],
)
def test_html_is_read_as_a_browser_shows_it(value: Any, expected: Any) -> None:
    assert plain.write(html.read(value)) == expected


@cases(DOCUMENTS)
@given(samples.documents)
def test_html_says_the_same_when_read_again(document: Any) -> None:
    written = html.write(adf.read(document)) or ""
    assert html.write(html.read(written)) == (written or None)
    assert html.key(html.read(written)) == html.key(adf.read(document))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (only(Text("  a  b "), LineBreak(), Text(" c")), "<p>&nbsp;&nbsp;a &nbsp;b&nbsp;<br>&nbsp;c</p>"),
        (
            only(Text("<&>", (Mark("strong"), Mark("link", "https://example.com?a&b")))),
            '<p><a href="https://example.com?a&amp;b"><strong>&lt;&amp;&gt;</strong></a></p>',
        ),
        (
            only(Text("r", (Mark("colour", "#f00"),)), Text("b", (Mark("background", "rgb(0, 0, 300)"),))),
            '<p><span style="color: #ff0000;">r</span><span style="background-color: #0000ff;">b</span></p>',
        ),
        (
            only(Text("x", (Mark("link", "javascript:alert(1)"),)), Text("y", (Mark("link", "http://[bad"),))),
            "<p>xy</p>",
        ),
        (
            only(Atom("card", "u", "https://example.com"), Atom("mention", "@<A>")),
            '<p><a href="https://example.com">u</a>@&lt;A&gt;</p>',
        ),
        (
            Document((Rule(), Opaque("a\nb"), Opaque(""), Heading(3, ()), Source("<", "c++"))),
            '<hr><p>a<br>b</p><pre><code class="language-c++">&lt;</code></pre>',
        ),
        (
            Document((Listing((Item((Paragraph((Text("a"),)),), True), Item((), False)), True, 4),)),
            '<ol start="4"><li>☑ a</li><li>☐ </li></ol>',
        ),
    ],
)
def test_html_is_written_in_the_subset_all_accept(document: Document, expected: str) -> None:
    assert html.write(document) == expected


# Markdown -----------------------------------------------------------------------------------------------------


@cases(DOCUMENTS)
@given(samples.documents)
def test_markdown_says_the_same_when_read_again(document: Any) -> None:
    written = markdown.write(adf.read(document)) or ""
    assert markdown.write(markdown.read(written)) == (written or None)
    assert markdown.key(markdown.read(written)) == markdown.key(adf.read(document))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\nb<br>\nc\\\nd", "a\nb\nc\nd"),
        ("**a** _b_ ~~c~~ `d` <ins>e</ins> ![f](g)", "a b c d e [f]"),
        ("# h #\n\nSetext\n===", "# h\n\n# Setext"),
        ("- [x] a\n- [ ] b", "- [x] a\n- [ ] b"),
        ("- [x] a\n- b", "- [x] a\n- b"),
        ("    indented\n\n~~~js run\nx\n~~~", "```\nindented\n```\n\n```js\nx\n```"),
        ("> a\n\n---\n\n3. b", "> a\n\n---\n\n3. b"),
        ("|a|b|\n|-|-|\n|1|2<br>3|", "| a | b |\n| --- | --- |\n| 1 | 2 / 3 |"),
        ("|||\n|-|-|\n|1|2|", "| 1 | 2 |"),
        (
            "<div>x</div>\n\n[r]: https://example.com\n\n[z][r] <b>y</b></i><kbd>k</kbd>",
            "x\n\nz <https://example.com> yk",
        ),
        ("- a\n\n<!-- -->\n\n- b", "- a\n\n- b"),
        (" ", None),
        (None, None),
    ],
)
def test_markdown_is_read_as_trackers_show_it(value: Any, expected: Any) -> None:
    assert plain.write(markdown.read(value)) == expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            only(Text("# 1. *a* [b] snake_case _c_ <d> &amp; ~")),
            "\\# 1. \\*a\\* \\[b] snake_case \\_c\\_ \\<d> \\&amp; \\~",
        ),
        (
            only(Text("1. a"), LineBreak(), Text("- b"), LineBreak(), LineBreak(), Text("+ c")),
            "1\\. a\n\\- b<br>\n<br>\n\\+ c",
        ),
        (only(Text("a"), Text("b", (Mark("strong"),)), Text(" c ", (Mark("em"),))), "a<strong>b</strong><em> c </em>"),
        (only(Text("a", (Mark("strong"), Mark("em"))), Text(" ", ()), Text("b", (Mark("strike"),))), "**_a_** ~~b~~"),
        (
            only(
                Text("https://example.com", (Mark("link", "https://example.com"),)), Text("w", (Mark("link", "/a b>"),))
            ),
            "<https://example.com>[w](</a b\\>>)",
        ),
        (
            only(Text("a`b", (Mark("code"),)), Text(" ", (Mark("code"),)), Atom("card", "u", "https://example.com")),
            None,
        ),
        (
            Document(
                (Listing((Item((Paragraph((Text("a"),)),)),)), Listing((Item((Paragraph((Text("b"),)), Source("c"))),)))
            ),
            "- a\n\n<!-- -->\n\n- b\n\n  ```\n  c\n  ```",
        ),
        (Document((Table(()), Heading(1, ()), Opaque("x\ny"), Quote(()), Source("", "py"))), "x\ny\n\n```py\n```"),
        (Document((Heading(2, (Text("a"), LineBreak(), Text("b #"))),)), "## a b \\#"),
        (
            Document(
                (
                    Table(
                        (
                            Row(
                                (
                                    TableCell((Source("x|y\nz"), Listing((Item((Paragraph((Text("l"),)),)),)))),
                                    TableCell(()),
                                )
                            ),
                            Row(()),
                        )
                    ),
                )
            ),
            "|  |  |\n| --- | --- |\n| x\\|y<br>z<br>- l |  |\n|  |  |",
        ),
    ],
)
def test_markdown_is_written_so_that_it_reads_the_same(document: Document, expected: str | None) -> None:
    written = markdown.write(document)
    if expected is not None:
        assert written == expected
    assert markdown.key(markdown.read(written)) == markdown.key(document)


# On pages -----------------------------------------------------------------------------------------------------

DESCRIPTION = FieldSpec("d", "Description", "rich_text", "adf")
TITLE = FieldSpec("t", "Title", "text")


@pytest.mark.parametrize(
    ("value", "spec", "expected"),
    [
        (None, TITLE, ""),
        ("a", TITLE, "a"),
        (True, TITLE, "Yes"),
        (False, TITLE, "No"),
        (2.5, TITLE, "2.5"),
        (["b", "a"], TITLE, "b\na"),
        ({"b": "é"}, TITLE, '{\n  "b": "é"\n}'),
        (doc(para("a ", text("b", STRONG))), DESCRIPTION, "a b"),
        (doc(), DESCRIPTION, ""),
    ],
)
def test_any_value_has_a_readable_text(value: Any, spec: FieldSpec, expected: str) -> None:
    assert as_plain(value, spec) == expected


def test_rich_text_is_shown_with_its_form() -> None:
    shown = as_html(RICH, DESCRIPTION)
    assert "<h2>Steps to reproduce</h2>" in shown
    assert "<strong>very important</strong>" in shown
    assert '<a href="https://example.com/docs" rel="noopener noreferrer nofollow">the docs</a>' in shown


@pytest.mark.parametrize(
    "value",
    [
        "<img src=x onerror=alert(1)>",
        "<svg onload=alert(1)>",
        "<a href='javascript:alert(1)'>x</a>",
        "<style>*{}</style>",
        "<form action=//evil><input></form>",
        "<p style='background:url(//evil)' onclick=x>y</p>",
        "<base href=//evil>",
    ],
)
def test_nothing_that_runs_reaches_a_page(value: str) -> None:
    for spec in (
        FieldSpec("d", "D", "rich_text", "html"),
        FieldSpec("d", "D", "rich_text", "markdown"),
        TITLE,
        DESCRIPTION,
    ):
        shown = as_html(value, spec).lower()
        for danger in (
            "<img",
            "<svg",
            "<style",
            "<form",
            "<input",
            "<base",
            'href="javascript',
            "<p style",
            "<p onclick",
        ):
            assert danger not in shown


def test_every_format_reads_nothing_as_an_empty_document() -> None:
    for form in FORMATS.values():
        assert form.read(None).blocks == ()
        assert form.write(Document()) is None
        assert form.key(Document()) == ""
