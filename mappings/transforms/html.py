"""HTML as help desks and CRMs keep it: reader, and a writer of the plain subset that Salesforce and Azure accept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

import html5lib

from mappings.transforms.document import (
    Atom,
    Block,
    Break,
    Cell,
    Code,
    Document,
    Format,
    Heading,
    Inline,
    Item,
    Listing,
    Mark,
    Opaque,
    Panel,
    Paragraph,
    Quote,
    Raw,
    Row,
    Rule,
    Table,
    Text,
    inline_text,
    joined,
    shell,
    whole,
)

NAME = "html"

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset(
    {"p", "div", "ul", "ol", "li", "pre", "blockquote", "table", "hr", "dl", "dt", "dd", "section", "article", "header"}
    | {"footer", "main", "aside", "center", "details", "summary", "figure", "figcaption", "address", "form", "fieldset"}
    | set(_HEADINGS)
)
_UNSEEN = frozenset({"script", "style", "template", "title", "head", "noscript", "iframe", "object", "svg", "math"})
_MARKS = {"b": "strong", "strong": "strong", "i": "em", "em": "em", "cite": "em", "code": "code", "tt": "code"}
_MARKS |= {"kbd": "code", "samp": "code", "s": "strike", "strike": "strike", "del": "strike", "u": "underline"}
_MARKS |= {"ins": "underline", "sub": "sub", "sup": "sup"}
_TAGS = {"strong": "strong", "em": "em", "underline": "u", "strike": "s", "sub": "sub", "sup": "sup", "code": "code"}
_STYLES = {"colour": "color", "background": "background-color"}
_SAFE_SCHEMES = ("http", "https", "mailto", "tel", "ftp", "")
SPACES = re.compile(r"[ \t\r\n\f]+")
NBSP = "\u00a0"
BOXES = {"☐": False, "☑": True}  # a task; these formats have none of their own


# Reading ------------------------------------------------------------------------------------------------------


def read(value: Any) -> Document:
    text = "" if value is None else str(value)
    if not text.strip():
        return Document()
    return Document(_blocks(html5lib.parseFragment(text, namespaceHTMLElements=False)), Raw(NAME, text))


def _tag(element: Element) -> str:
    return element.tag if isinstance(element.tag, str) else "!"  # comments have a function for a tag


def _raw(element: Element) -> Raw:
    return Raw(NAME, (_outer(element), _tag(element), dict(element.attrib)))


def _has_blocks(element: Element) -> bool:
    return any(_tag(child) in _BLOCKS or _has_blocks(child) for child in element)


def _blocks(parent: Element) -> tuple[Block, ...]:
    result: list[Block] = []
    run = Element("span")  # inlines between two blocks: a paragraph without a tag
    run.text = parent.text

    def flush() -> None:
        nonlocal run
        inlines = _collapsed(_inlines(run, ()))
        if inlines:
            result.append(Paragraph(inlines, Raw(NAME, (_inner(run), None, {}))))
        run = Element("span")

    for child in parent:
        tag = _tag(child)
        if tag in _BLOCKS or (tag not in _UNSEEN and _has_blocks(child)):
            flush()
            result += _block(child)
            run.text = child.tail
        else:
            run.append(child)
    flush()
    return tuple(result)


def _block(element: Element) -> tuple[Block, ...]:
    tag = _tag(element)
    raw = _raw(element)
    if tag in _HEADINGS:
        return (Heading(_HEADINGS[tag], _collapsed(_inlines(element, ())), raw),)
    if tag in ("ul", "ol"):
        items = _items(element)
        start = element.get("start", "")
        return (Listing(items, tag == "ol", int(start) if start.isdecimal() else 1, raw),) if items else ()
    if tag == "pre":
        return (Code("".join(element.itertext()), _language(element), raw),)
    if tag == "blockquote":
        return (Quote(_blocks(element), raw),)
    if tag == "hr":
        return (Rule(raw),)
    if tag == "table":
        parts = [part for part in element if _tag(part) in ("thead", "tbody", "tfoot")]
        if len(parts) < len(element):  # a caption, columns
            parts = [element]
        rows = [row for part in parts for row in part]
        if any(_tag(row) != "tr" for row in rows) or element.find(".//table") is not None:
            return (Opaque(SPACES.sub(" ", " ".join(element.itertext())).strip(), raw),)
        return (Table(tuple(_row(row) for row in rows), raw),)
    if _has_blocks(element):
        return _blocks(element)
    return (Paragraph(_collapsed(_inlines(element, ())), raw),)


def _items(element: Element) -> tuple[Item, ...]:
    items: list[Item] = []
    for child in element:
        if _tag(child) in ("ul", "ol") and items:  # Azure puts a nested list beside its item
            last = items[-1]
            items[-1] = Item((*last.blocks, *_block(child)), last.checked)
        elif _tag(child) != "!":
            items.append(Item(_blocks(child), None, _raw(child)))
    ticked = [_ticked(item) for item in items]
    return tuple(ticked) if all(item.checked is not None for item in ticked) else tuple(items)


def _ticked(item: Item) -> Item:
    """The item as a task, if it begins with a box."""
    first = item.blocks[0] if item.blocks else None
    if isinstance(first, Paragraph) and first.inlines and isinstance(first.inlines[0], Text):
        words = first.inlines[0]
        if words.text[:1] in BOXES:
            rest = Text(words.text[1:].removeprefix(" "), words.marks)
            inlines = joined((rest, *first.inlines[1:]))
            return Item((Paragraph(inlines), *item.blocks[1:]), BOXES[words.text[0]], item.raw)
    return item


def _row(element: Element) -> Row:
    cells = [child for child in element if _tag(child) in ("td", "th")]
    return Row(tuple(Cell(_blocks(cell), _tag(cell) == "th", _raw(cell)) for cell in cells), _raw(element))


def _language(element: Element) -> str | None:
    classes = " ".join(one.get("class", "") for one in (element, *element.iter("code")))
    found = re.search(r"\b(?:language|lang|brush)-([\w+#.-]+)", classes)
    return found[1] if found else None


def _inlines(element: Element, marks: tuple[Mark, ...]) -> list[Inline]:
    result: list[Inline] = [Text(element.text or "", marks)]
    for child in element:
        tag = _tag(child)
        if tag == "br":
            result.append(Break())
        elif tag == "img":
            result.append(Atom("other", f"[{child.get('alt') or 'image'}]", None, Raw(NAME, _outer(child))))
        elif "data-vss-mention" in child.attrib or "data-mention" in child.attrib:
            words = SPACES.sub(" ", "".join(child.itertext())).strip()
            result.append(Atom("mention", words, child.get("data-vss-mention"), Raw(NAME, _outer(child))))
        elif tag not in _UNSEEN and tag != "!":
            result += _inlines(child, (*marks, *(mark for mark in _marks(child) if mark not in marks)))
        result.append(Text(child.tail or "", marks))
    return result


def _marks(element: Element) -> list[Mark]:
    tag, marks = _tag(element), []
    if tag in _MARKS:
        marks.append(Mark(_MARKS[tag]))
    if tag == "a" and (href := element.get("href")) and is_safe(href):
        marks.append(Mark("link", href))
    rules = [rule.split(":", 1) for rule in element.get("style", "").lower().split(";") if ":" in rule]
    style = {name.strip(): value.strip() for name, value in rules}
    colours = {"colour": style.get("color") or element.get("color"), "background": style.get("background-color")}
    marks += [Mark(kind, found) for kind, value in colours.items() if (found := _colour(value))]
    if style.get("font-weight") in ("bold", "700") and tag not in ("b", "strong"):
        marks.append(Mark("strong"))
    return marks


def _colour(value: str | None) -> str | None:
    """As "#rrggbb"; None for what is none."""
    value = (value or "").strip().lower()
    if re.fullmatch(r"#[0-9a-f]{6}", value):
        return value
    if re.fullmatch(r"#[0-9a-f]{3}", value):
        return "#" + "".join(digit * 2 for digit in value[1:])
    found = re.fullmatch(r"rgb\((\d{1,3}),\s*(\d{1,3}),\s*(\d{1,3})\)", value)
    return "#" + "".join(f"{min(int(part), 255):02x}" for part in found.groups()) if found else None


def _collapsed(inlines: Iterable[Inline]) -> tuple[Inline, ...]:
    """Blanks as a browser shows them: one for many, none at the ends of a line."""
    result: list[Inline] = []
    blank = True  # the line so far ends in a blank, or is empty
    for inline in inlines:
        if isinstance(inline, Text):
            text = SPACES.sub(" ", inline.text)
            if blank:
                text = text.removeprefix(" ")
            if text:
                blank = text.endswith(" ")
                result.append(Text(text, inline.marks))
            continue
        if isinstance(inline, Break):
            _trim(result)
        blank = isinstance(inline, Break)
        result.append(inline)
    _trim(result)
    while result and isinstance(result[-1], Break):  # a closing <br> only opens the line box
        result.pop()
        _trim(result)
    kept = (Text(one.text.replace(NBSP, " "), one.marks) if isinstance(one, Text) else one for one in result)
    return joined(kept)


def _trim(inlines: list[Inline]) -> None:
    if inlines and isinstance(last := inlines[-1], Text) and last.text.endswith(" "):
        inlines[-1] = Text(last.text[:-1], last.marks)


def _outer(element: Element) -> str:
    tail, element.tail = element.tail, None
    try:
        return str(
            html5lib.serialize(element, omit_optional_tags=False, quote_attr_values="always", resolve_entities=False)
        )
    finally:
        element.tail = tail


def _inner(element: Element) -> str:
    parts = [escape(element.text or "", quote=False)]
    for child in element:
        parts += [_outer(child), escape(child.tail or "", quote=False)]
    return "".join(parts)


# Writing ------------------------------------------------------------------------------------------------------


def write(document: Document) -> str | None:
    raw = whole(document, NAME)
    return raw if raw is not None else "".join(_written(block, True) for block in document.blocks) or None


def key(document: Document) -> str:
    fresh = _fresh(document)
    return _fresh(read(fresh)) if fresh else ""


def _fresh(document: Document) -> str:
    return "".join(_written(block, False) for block in document.blocks)


def _written(block: Block, keep: bool) -> str:
    """`keep`: give back untouched blocks as they were read."""
    raw = whole(block, NAME) if keep else None
    if raw is not None:
        return str(raw[0])
    tag, attrs = (shell(block, NAME) or (None, None, {}))[1:] if keep else (None, {})
    match block:
        case Paragraph():
            inner = _written_inlines(block.inlines)
            return _element(tag or "p", attrs, inner) if inner else ""
        case Heading():
            inner = _written_inlines(block.inlines)
            return _element(f"h{block.level}", attrs, inner) if inner else ""
        case Code():
            language = re.sub(r"[^\w+#.-]", "", block.language or "")
            kind = {"class": f"language-{language}"} if language else {}
            return _element("pre", attrs, _element("code", kind, escape(block.text, quote=False)))
        case Listing():
            own = {**attrs, "start": str(block.start)} if block.ordered and block.start != 1 else attrs
            items = "".join(_written_item(item, keep) for item in block.items)
            return _element("ol" if block.ordered else "ul", own, items)
        case Quote() | Panel():
            return _element("blockquote", attrs, "".join(_written(one, keep) for one in block.blocks))
        case Table():
            rows = "".join(_written_row(row, keep) for row in block.rows)
            return _element("table", attrs, _element("tbody", {}, rows))
        case Rule():
            return "<hr>"
        case Opaque():
            lines = escape(block.text, quote=False).replace("\n", "<br>")
            return _element("p", {}, lines) if lines else ""


def _element(tag: str, attrs: Mapping[str, str], inner: str) -> str:
    given = "".join(f' {name}="{escape(value)}"' for name, value in attrs.items())
    return f"<{tag}{given}>{inner}</{tag}>"


def _written_item(item: Item, keep: bool) -> str:
    raw = shell(item, NAME) if keep else None
    if raw is not None and whole(item, NAME) is not None:
        return str(raw[0])
    box = "" if item.checked is None else "☑ " if item.checked else "☐ "
    return _element("li", raw[2] if raw else {}, box + _bare(item.blocks, keep))


def _written_row(row: Row, keep: bool) -> str:
    raw = shell(row, NAME) if keep else None
    if raw is not None and whole(row, NAME) is not None:
        return str(raw[0])
    cells = []
    for cell in row.cells:
        old = shell(cell, NAME) if keep else None
        if old is not None and whole(cell, NAME) is not None:
            cells.append(str(old[0]))
        else:
            cells.append(_element("th" if cell.header else "td", old[2] if old else {}, _bare(cell.blocks, keep)))
    return _element("tr", raw[2] if raw else {}, "".join(cells))


def _bare(blocks: tuple[Block, ...], keep: bool) -> str:
    """The blocks of an item or a cell: its first paragraph needs no tag unless another one follows."""
    first = blocks[0] if blocks else None
    if isinstance(first, Paragraph) and not any(isinstance(one, Paragraph) for one in blocks[1:]):
        return _written_inlines(first.inlines) + "".join(_written(one, keep) for one in blocks[1:])
    return "".join(_written(one, keep) for one in blocks)


def _written_inlines(inlines: Iterable[Inline]) -> str:
    parts = joined(inlines)
    line = inline_text(parts)
    result: list[str] = []
    at, link = 0, None  # where in the line; the link that is open
    for part in parts:
        address = _address(part)
        if address != link:
            result.append(("</a>" if link else "") + (f'<a href="{escape(address)}">' if address else ""))
            link = address
        if isinstance(part, Text):
            result.append(_written_text(part, line, at))
            at += len(part.text)
        elif isinstance(part, Break):
            result.append("<br>")
            at += 1
        else:
            raw = whole(part, NAME)
            result.append(str(raw) if raw is not None else escape(part.text, quote=False))
            at += len(part.text)
    return "".join(result) + ("</a>" if link else "")


def _address(inline: Inline) -> str | None:
    """Where a click on the inline may lead."""
    if isinstance(inline, Text):
        address = inline.link()
    else:
        address = inline.ref if isinstance(inline, Atom) and inline.kind == "card" else None
    return address if address and is_safe(address) else None


def _written_text(text: Text, line: str, at: int) -> str:
    # A browser swallows every blank but one.
    letters = [
        NBSP if letter == " " and _is_swallowed(line, at + place) else letter for place, letter in enumerate(text.text)
    ]
    inner = escape("".join(letters), quote=False).replace(NBSP, "&nbsp;")
    kinds = {mark.kind: mark.value for mark in text.marks}
    for kind, name in reversed(_TAGS.items()):
        if kind in kinds:
            inner = f"<{name}>{inner}</{name}>"
    for kind, name in _STYLES.items():
        if colour := _colour(kinds.get(kind)):
            inner = f'<span style="{name}: {colour};">{inner}</span>'
    return inner


def _is_swallowed(line: str, place: int) -> bool:
    before, after = line[place - 1 : place], line[place + 1 : place + 2]
    return before in ("", " ", "\n") or after in ("", "\n")


def is_safe(address: str) -> bool:
    """Whether a link may be written: no script runs when somebody clicks it."""
    try:
        return urlsplit(re.sub(r"[\x00-\x20]", "", address)).scheme.lower() in _SAFE_SCHEMES
    except ValueError:
        return False


HTML = Format(
    NAME,
    read,
    write,
    key,
    marks=frozenset({"strong", "em", "code", "strike", "underline", "sub", "sup", "link", "colour", "background"}),
)
