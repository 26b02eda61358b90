"""The Atlassian document format: writer.

Untouched nodes are given back as they were read; new ones are built so that Jira accepts them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from mappings.transforms.document import (
    Block,
    Break,
    Code,
    Document,
    Heading,
    Inline,
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
    inline_text,
    shell,
    whole,
)

NAME = "adf"
TITLE = "title"  # marks the paragraph that is the title of an expand
COLOURS = {"textColor": "colour", "backgroundColor": "background"}
# `code` stands alone: Jira refuses it together with any mark but these.
_BESIDE_CODE = ("link", "code", "adf:annotation")
Json = dict[str, Any]


def attributes(node: Mapping[str, Any]) -> Json:
    attrs = node.get("attrs")
    return attrs if isinstance(attrs, dict) else {}


def write(document: Document) -> Json | None:
    raw = whole(document, NAME)
    if raw is not None:
        return dict(raw)
    if not document.blocks:
        return None
    content = [_write_block(block) for block in document.blocks if not _is_unseen(block)]
    return _with_content(shell(document, NAME) or {"version": 1, "type": "doc"}, content)


def _is_unseen(block: Block) -> bool:
    # What only another format knows and does not show has no place here.
    return isinstance(block, Opaque) and not block.text and whole(block, NAME) is None


def _with_content(outer: Mapping[str, Any], content: list[Json]) -> Json:
    # In place, so that the order of the keys stays.
    if "content" in outer:
        return {name: content if name == "content" else value for name, value in outer.items()}
    return {**outer, "content": content} if content else dict(outer)


# What may lie directly in what; Jira refuses the whole document otherwise. None: anything.
_IN_ITEM = frozenset({"paragraph", "bulletList", "orderedList", "taskList", "codeBlock", "mediaSingle", "extension"})
_IN_QUOTE = frozenset({"paragraph", "bulletList", "orderedList", "codeBlock", "mediaSingle", "mediaGroup", "extension"})
_IN_PANEL = _IN_QUOTE | {"heading", "taskList", "rule", "blockCard", "decisionList"}
_IN_CELL = _IN_PANEL | {"panel", "blockquote", "embedCard", "nestedExpand"}
_IN_EXPAND = _IN_CELL | {"table", "expand"}


def _write_block(block: Block) -> Json:
    if (raw := whole(block, NAME)) is not None and isinstance(raw, Mapping):
        return dict(raw)
    outer = shell(block, NAME)
    outer = outer if isinstance(outer, Mapping) else {}
    match block:
        case Paragraph():
            outer = outer if outer.get("type") == "paragraph" else {"type": "paragraph"}
            return _with_content(outer, _write_inlines(block.inlines))
        case Heading():
            attrs = {**attributes(outer), "level": block.level}
            return _with_content({"type": "heading", **outer, "attrs": attrs}, _write_inlines(block.inlines))
        case Code():
            attrs = {**attributes(outer), **({"language": block.language} if block.language else {})}
            inner = [{"type": "text", "text": block.text}] if block.text else []
            return _with_content({"type": "codeBlock", **outer, **({"attrs": attrs} if attrs else {})}, inner)
        case Listing():
            return _write_tasks(block, outer) if _fits_tasks(block) else _write_list(block, outer)
        case Quote():
            return _with_content({"type": "blockquote", **outer}, _children(block.blocks, _IN_QUOTE))
        case Panel():
            return _write_panel(block, outer)
        case Table():
            rows = [_write_row(row) for row in block.rows]
            return _with_content({"type": "table", **outer}, rows)
        case Rule():
            return {"type": "rule"}
        case Opaque():
            return {"type": "paragraph", "content": _write_inlines(_lines(block.text))}


def _write_list(block: Listing, outer: Mapping[str, Any]) -> Json:
    kind = "orderedList" if block.ordered else "bulletList"
    if outer.get("type") != kind:
        outer = {"type": kind}
    if block.ordered and block.start != attributes(outer).get("order", 1):
        outer = {"type": kind, **outer, "attrs": {**attributes(outer), "order": block.start}}
    items = []
    for item in block.items:
        raw = whole(item, NAME)
        if raw is not None and raw.get("type") == "listItem":
            items.append(dict(raw))
            continue
        children = _children(_boxed(item), _IN_ITEM)
        if children[0]["type"] not in ("paragraph", "codeBlock", "mediaSingle"):
            children.insert(0, {"type": "paragraph", "content": []})
        old = shell(item, NAME) or {}
        items.append(_with_content(old if old.get("type") == "listItem" else {"type": "listItem"}, children))
    return _with_content(outer, items)


def _boxed(item: Item) -> tuple[Block, ...]:
    """The blocks of an item; a task that cannot be one gets its box as text."""
    if item.checked is None:
        return item.blocks
    box = Text("[x] " if item.checked else "[ ] ")
    if item.blocks and isinstance(first := item.blocks[0], Paragraph):
        return (Paragraph((box, *first.inlines)), *item.blocks[1:])
    return (Paragraph((box,)), *item.blocks)


def _fits_tasks(listing: Listing) -> bool:
    """Whether Jira can hold this as a task list: its tasks hold one line and further task lists, nothing else."""
    return listing.is_tasks() and all(
        all(isinstance(child, Listing) and _fits_tasks(child) for child in item.blocks[1:])
        and (not item.blocks or isinstance(item.blocks[0], Paragraph))
        for item in listing.items
    )


def _write_tasks(block: Listing, outer: Mapping[str, Any], path: str = "task") -> Json:
    if outer.get("type") != "taskList":
        outer = {"type": "taskList", "attrs": {"localId": path}}
    content: list[Json] = []
    for number, item in enumerate(block.items, start=1):
        name = f"{path}-{number}"  # Jira wants an id, unique within the document
        old = shell(item, NAME) or {}
        old = old if old.get("type") == "taskItem" else {"type": "taskItem", "attrs": {"localId": name}}
        attrs = {**attributes(old), "state": "DONE" if item.checked else "TODO"}
        line = item.blocks[0].inlines if item.blocks and isinstance(item.blocks[0], Paragraph) else ()
        content.append(_with_content({**old, "attrs": attrs}, _write_inlines(line)))
        lists = [child for child in item.blocks if isinstance(child, Listing)]
        content += [_write_tasks(child, shell(child, NAME) or {}, name) for child in lists]
    return _with_content(outer, content)


def _write_panel(block: Panel, outer: Mapping[str, Any]) -> Json:
    blocks = block.blocks
    if block.kind != "expand":
        outer = outer if outer.get("type") == "panel" else {"type": "panel", "attrs": {"panelType": block.kind}}
        return _with_content(outer, _children(blocks, _IN_PANEL))
    title = ""
    if blocks and isinstance(first := blocks[0], Paragraph) and shell(first, NAME) == TITLE:
        title, blocks = inline_text(first.inlines).replace("\n", " "), blocks[1:]
    outer = outer if outer.get("type") in ("expand", "nestedExpand") else {"type": "expand", "attrs": {}}
    attrs = {**attributes(outer), "title": title} if title or "title" in attributes(outer) else attributes(outer)
    return _with_content({**outer, "attrs": attrs}, _children(blocks, _IN_EXPAND))


def _write_row(row: Row) -> Json:
    if (raw := whole(row, NAME)) is not None:
        return dict(raw)
    cells = []
    for cell in row.cells:
        raw = whole(cell, NAME)
        if raw is not None:
            cells.append(dict(raw))
            continue
        kind = "tableHeader" if cell.header else "tableCell"
        outer = {**(shell(cell, NAME) or {}), "type": kind}
        cells.append(_with_content(outer, _children(cell.blocks, _IN_CELL)))
    return _with_content({"type": "tableRow", **(shell(row, NAME) or {})}, cells)


def _children(blocks: Iterable[Block], allowed: frozenset[str]) -> list[Json]:
    """The blocks as `allowed` nodes; what may not lie here is taken apart until it may."""
    result: list[Json] = []
    for block in blocks:
        if _is_unseen(block):
            continue
        node = _write_block(block)
        if node["type"] in allowed:
            result.append(node)
            continue
        match block:
            case Table():
                parts = [cell.blocks for row in block.rows for cell in row.cells]
            case Listing():
                parts = [item.blocks for item in block.items]
            case Quote() | Panel():
                parts = [block.blocks]
            case _:
                result.append({"type": "paragraph", "content": _write_inlines(_inlines_of(block))})
                continue
        for part in parts:
            result += _children(part, allowed)
    return result or [{"type": "paragraph", "content": []}]


def _inlines_of(block: Paragraph | Heading | Code | Opaque | Rule) -> tuple[Inline, ...]:
    if isinstance(block, Paragraph | Heading):
        return block.inlines
    return _lines("---" if isinstance(block, Rule) else block.text)


def _lines(text: str) -> tuple[Inline, ...]:
    result: list[Inline] = []
    for line in text.split("\n"):
        result += ([Break()] if result else []) + [Text(line)]
    return tuple(result)


def _write_inlines(inlines: Iterable[Inline]) -> list[Json]:
    return [node for inline in inlines if (node := _write_inline(inline)) is not None]


def _write_inline(inline: Inline) -> Json | None:
    if isinstance(inline, Text):
        return _write_text(inline) if inline.text else None
    if (raw := whole(inline, NAME)) is not None:
        return dict(raw)
    if isinstance(inline, Break):
        return {"type": "hardBreak"}
    if inline.kind == "emoji" and inline.ref:
        return {"type": "emoji", "attrs": {"shortName": inline.ref, "text": inline.text}}
    if inline.kind == "date" and inline.ref:
        midnight = datetime.combine(date.fromisoformat(inline.ref), datetime.min.time(), UTC)
        return {"type": "date", "attrs": {"timestamp": str(int(midnight.timestamp() * 1000))}}
    if inline.kind == "card" and inline.ref:
        return {"type": "inlineCard", "attrs": {"url": inline.ref}}
    return {"type": "text", "text": inline.text} if inline.text else None


def _write_text(text: Text) -> Json:
    kinds = {mark.kind for mark in text.marks}
    marks = [
        _write_mark(mark)
        for mark in text.marks
        if ("code" not in kinds or mark.kind in _BESIDE_CODE) and (shell(mark, NAME) or ":" not in mark.kind)
    ]
    return {"type": "text", "text": text.text, **({"marks": marks} if marks else {})}


def _write_mark(mark: Mark) -> Json:
    if (raw := whole(mark, NAME)) is not None:
        return dict(raw)
    if mark.kind == "link":
        return {"type": "link", "attrs": {"href": mark.value}}
    if mark.kind in COLOURS.values():
        kind = next(name for name, colour in COLOURS.items() if colour == mark.kind)
        return {"type": kind, "attrs": {"color": mark.value}}
    if mark.kind in ("sub", "sup"):
        return {"type": "subsup", "attrs": {"type": mark.kind}}
    return {"type": mark.kind}
