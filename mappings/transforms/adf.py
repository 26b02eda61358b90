"""The Atlassian document format (Jira Cloud descriptions and comments): reader and writer.

Nodes: https://developer.atlassian.com/cloud/jira/platform/apis/document/structure. A node this file does not know is
kept as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

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
    shell,
    whole,
)
from mappings.transforms.table import is_empty

NAME = "adf"
Json = dict[str, Any]

_MARKS = {"strong": "strong", "em": "em", "code": "code", "strike": "strike", "underline": "underline"}
_COLOURS = {"textColor": "colour", "backgroundColor": "background"}
# `code` stands alone: Jira refuses it together with any mark but these.
_BESIDE_CODE = ("link", "code", "adf:annotation")
TITLE = "title"  # marks the paragraph that is the title of an expand


# Reading ------------------------------------------------------------------------------------------------------


def read(value: Any) -> Document:
    if not isinstance(value, Mapping):
        # Some systems give a text where they would take a document.
        lines = () if is_empty(value) else str(value).split("\n")
        return Document(tuple(Paragraph((Text(line),)) for line in lines if line))
    return Document(_blocks(value), _raw(value))


def _raw(node: Mapping[str, Any]) -> Raw:
    return Raw(NAME, node)


def _content(node: Mapping[str, Any]) -> Sequence[Json]:
    content = node.get("content")
    return [child for child in content if isinstance(child, dict)] if isinstance(content, list) else []


def _attrs(node: Mapping[str, Any]) -> Json:
    attrs = node.get("attrs")
    return attrs if isinstance(attrs, dict) else {}


def _blocks(node: Mapping[str, Any]) -> tuple[Block, ...]:
    return tuple(_block(child) for child in _content(node))


def _block(node: Json) -> Block:
    attrs, raw = _attrs(node), _raw(node)
    match node.get("type"):
        case "paragraph":
            return Paragraph(_inlines(node), raw)
        case "heading":
            level = attrs.get("level")
            return Heading(level if isinstance(level, int) and 1 <= level <= 6 else 1, _inlines(node), raw)
        case "codeBlock":
            text = "".join(str(child.get("text", "")) for child in _content(node))
            return Code(text, attrs.get("language") or None, raw)
        case "bulletList" | "orderedList" as kind:
            if all(child.get("type") == "listItem" for child in _content(node)):
                items = tuple(Item(_blocks(child), None, _raw(child)) for child in _content(node))
                start = attrs.get("order")
                return Listing(items, kind == "orderedList", start if isinstance(start, int) else 1, raw)
        case "taskList":
            if tasks := _tasks(node):
                return Listing(tasks, raw=raw)
        case "blockquote":
            return Quote(_blocks(node), raw)
        case "panel":
            return Panel(str(attrs.get("panelType", "info")), _blocks(node), raw)
        case "expand" | "nestedExpand":
            title = str(attrs.get("title") or "")
            first = (Paragraph((Text(title),), Raw(NAME, TITLE)),) if title else ()
            return Panel("expand", (*first, *_blocks(node)), raw)
        case "table":
            rows = _content(node)
            cells = [cell for row in rows for cell in _content(row)]
            known = all(row.get("type") == "tableRow" for row in rows)
            if known and all(cell.get("type") in ("tableCell", "tableHeader") for cell in cells):
                return Table(tuple(_row(row) for row in rows), raw)
        case "rule":
            return Rule(raw)
    return Opaque(_readable(node), raw)


def _row(node: Json) -> Row:
    cells = (Cell(_blocks(cell), cell.get("type") == "tableHeader", _raw(cell)) for cell in _content(node))
    return Row(tuple(cells), _raw(node))


def _tasks(node: Json) -> tuple[Item, ...]:
    """The items of a task list; a list within it belongs to the item before it. Empty where it is built otherwise."""
    items: list[Item] = []
    for child in _content(node):
        if child.get("type") == "taskItem":
            state = _attrs(child).get("state") == "DONE"
            items.append(Item((Paragraph(_inlines(child)),), state, _raw(child)))
        elif child.get("type") == "taskList" and items and (nested := _tasks(child)):
            last = items[-1]
            items[-1] = Item((*last.blocks, Listing(nested, raw=_raw(child))), last.checked, last.raw)
        else:
            return ()
    return tuple(items)


def _inlines(node: Mapping[str, Any]) -> tuple[Inline, ...]:
    return tuple(_inline(child) for child in _content(node))


def _inline(node: Json) -> Inline:
    attrs, raw = _attrs(node), _raw(node)
    text = str(attrs.get("text") or "")
    match node.get("type"):
        case "text":
            marks = node.get("marks")
            return Text(str(node.get("text", "")), tuple(_mark(mark) for mark in marks or ()))
        case "hardBreak":
            return Break(raw)
        case "mention":
            name = text or str(attrs.get("id") or "")
            return Atom("mention", name if name.startswith("@") else f"@{name}", attrs.get("id"), raw)
        case "emoji":
            return Atom("emoji", text or str(attrs.get("shortName") or ""), attrs.get("shortName"), raw)
        case "status":
            return Atom("status", f"[{text}]", attrs.get("color"), raw)
        case "date":
            day = _day(attrs.get("timestamp"))
            return Atom("date", day or str(attrs.get("timestamp") or ""), day, raw)
        case "inlineCard":
            address = attrs.get("url")
            return Atom("card", str(address or "[link]"), address, raw)
        case "mediaInline":
            return Atom("other", f"[{attrs.get('alt') or 'file'}]", None, raw)
    return Atom("other", _readable(node), None, raw)


def _mark(mark: Json) -> Mark:
    kind, attrs, raw = str(mark.get("type")), _attrs(mark), _raw(mark)
    if kind in _MARKS:
        return Mark(_MARKS[kind], None, raw)
    if kind == "link":
        return Mark("link", str(attrs.get("href", "")), raw)
    if kind in _COLOURS:
        return Mark(_COLOURS[kind], attrs.get("color"), raw)
    if kind == "subsup" and attrs.get("type") in ("sub", "sup"):
        return Mark(attrs["type"], None, raw)
    return Mark(f"adf:{kind}", json.dumps(attrs, sort_keys=True), raw)


def _day(timestamp: Any) -> str | None:
    """Jira keeps a date as milliseconds of its midnight in UTC, in a string."""
    try:
        return datetime.fromtimestamp(int(timestamp) / 1000, UTC).date().isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _readable(node: Json) -> str:
    """What people read in place of a node that only this format knows."""
    attrs, kind = _attrs(node), str(node.get("type", ""))
    if kind in ("media", "mediaSingle", "mediaGroup"):
        media = [node] if kind == "media" else _content(node)
        return "\n".join(f"[{_attrs(one).get('alt') or 'attachment'}]" for one in media)
    if kind in ("blockCard", "embedCard"):
        return str(attrs.get("url") or "[link]")
    inner = [text for child in _content(node) if (text := _readable(child))]
    own = node.get("text") or attrs.get("text") or attrs.get("title")
    between = "" if any(child.get("type") == "text" for child in _content(node)) else "\n"
    return between.join([str(own)] if own else inner) if own or inner else f"[{kind}]" if not _content(node) else ""


# Writing ------------------------------------------------------------------------------------------------------


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
            attrs = {**_attrs(outer), "level": block.level}
            return _with_content({"type": "heading", **outer, "attrs": attrs}, _write_inlines(block.inlines))
        case Code():
            attrs = {**_attrs(outer), **({"language": block.language} if block.language else {})}
            inner = [{"type": "text", "text": block.text}] if block.text else []
            return _with_content({"type": "codeBlock", **outer, **({"attrs": attrs} if attrs else {})}, inner)
        case Listing():
            return _write_tasks(block, outer) if block.is_tasks() else _write_list(block, outer)
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
    if block.ordered and block.start != _attrs(outer).get("order", 1):
        outer = {"type": kind, **outer, "attrs": {**_attrs(outer), "order": block.start}}
    items = []
    for item in block.items:
        raw = whole(item, NAME)
        if raw is not None and raw.get("type") == "listItem":
            items.append(dict(raw))
            continue
        blocks = item.blocks
        if item.checked is not None:  # one list cannot mix tasks and items
            blocks = (Paragraph((Text("[x] " if item.checked else "[ ] "),)), *blocks)
        children = _children(blocks, _IN_ITEM)
        if children[0]["type"] not in ("paragraph", "codeBlock", "mediaSingle"):
            children.insert(0, {"type": "paragraph", "content": []})
        old = shell(item, NAME) or {}
        items.append(_with_content(old if old.get("type") == "listItem" else {"type": "listItem"}, children))
    return _with_content(outer, items)


def _write_tasks(block: Listing, outer: Mapping[str, Any], path: str = "task") -> Json:
    if outer.get("type") != "taskList":
        outer = {"type": "taskList", "attrs": {"localId": path}}
    content: list[Json] = []
    for number, item in enumerate(block.items, start=1):
        name = f"{path}-{number}"  # Jira wants an id, unique within the document
        old = shell(item, NAME) or {}
        old = old if old.get("type") == "taskItem" else {"type": "taskItem", "attrs": {"localId": name}}
        attrs = {**_attrs(old), "state": "DONE" if item.checked else "TODO"}
        lists = [child for child in item.blocks if isinstance(child, Listing) and child.is_tasks()]
        inlines: list[Inline] = []
        for child in item.blocks:
            if child not in lists:
                inlines += ([Break()] if inlines else []) + list(_inlines_of(child))
        content.append(_with_content({**old, "attrs": attrs}, _write_inlines(inlines)))
        content += [_write_tasks(child, shell(child, NAME) or {}, name) for child in lists]
    return _with_content(outer, content)


def _write_panel(block: Panel, outer: Mapping[str, Any]) -> Json:
    blocks = block.blocks
    if block.kind != "expand":
        outer = outer if outer.get("type") == "panel" else {"type": "panel", "attrs": {"panelType": block.kind}}
        return _with_content(outer, _children(blocks, _IN_PANEL))
    title = ""
    if blocks and shell(blocks[0], NAME) == TITLE:
        title, blocks = inline_text(_inlines_of(blocks[0])).replace("\n", " "), blocks[1:]
    outer = outer if outer.get("type") in ("expand", "nestedExpand") else {"type": "expand", "attrs": {}}
    attrs = {**_attrs(outer), "title": title} if title or "title" in _attrs(outer) else _attrs(outer)
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
        inner = [*(row_cell for row in block.rows for row_cell in row.cells)] if isinstance(block, Table) else [block]
        for one in inner:
            if isinstance(one, Quote | Panel | Cell | Item):
                result += _children(one.blocks, allowed)
            elif isinstance(one, Listing):
                for item in one.items:
                    result += _children(item.blocks, allowed)
            else:
                result.append({"type": "paragraph", "content": _write_inlines(_inlines_of(one))})
    return result or [{"type": "paragraph", "content": []}]


def _inlines_of(block: Block) -> tuple[Inline, ...]:
    match block:
        case Paragraph() | Heading():
            return block.inlines
        case Code() | Opaque():
            return _lines(block.text)
        case Rule():
            return (Text("---"),)
    children = [child for part in _parts(block) for child in part]
    result: list[Inline] = []
    for child in children:
        result += ([Break()] if result else []) + list(_inlines_of(child))
    return tuple(result)


def _parts(block: Listing | Quote | Panel | Table) -> list[tuple[Block, ...]]:
    if isinstance(block, Listing):
        return [item.blocks for item in block.items]
    if isinstance(block, Table):
        return [cell.blocks for row in block.rows for cell in row.cells]
    return [block.blocks]


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
    if mark.kind in _COLOURS.values():
        kind = next(name for name, colour in _COLOURS.items() if colour == mark.kind)
        return {"type": kind, "attrs": {"color": mark.value}}
    if mark.kind in ("sub", "sup"):
        return {"type": "subsup", "attrs": {"type": mark.kind}}
    return {"type": mark.kind}


# Comparing ----------------------------------------------------------------------------------------------------

# Attributes that Jira adds and changes by itself; they mean nothing to people.
_OWN_ATTRS = ("localId", "__confluenceMetadata", "occurrenceKey", "accessLevel")


def normalised(value: Any) -> Any:
    """The document without what Jira adds, drops and joins by itself when it stores one. For comparing only."""
    if isinstance(value, list):
        return _joined([normalised(one) for one in value])
    if not isinstance(value, Mapping):
        return value
    node = {name: normalised(one) for name, one in value.items() if name not in ("version", "attrs", "marks")}
    attrs = {
        name: normalised(one)
        for name, one in _attrs(value).items()
        if name not in _OWN_ATTRS and one not in (None, "", {}, [])
    }
    if value.get("type") == "orderedList" and attrs.get("order") == 1:
        del attrs["order"]
    if attrs:
        node["attrs"] = attrs
    if value.get("marks"):
        node["marks"] = sorted((normalised(mark) for mark in value["marks"]), key=lambda mark: json.dumps(mark))
    if node.get("content") == []:
        del node["content"]
    return node


def _joined(nodes: list[Any]) -> list[Any]:
    result: list[Any] = []
    for node in nodes:
        if isinstance(node, dict) and node.get("type") == "text":
            if not node.get("text"):
                continue
            last = result[-1] if result else None
            if isinstance(last, dict) and last.get("type") == "text" and last.get("marks") == node.get("marks"):
                result[-1] = {**last, "text": last["text"] + node["text"]}
                continue
        result.append(node)
    return result


def key(document: Document) -> str:
    value = normalised(write(document))
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if value and value.get("content") else ""


ADF = Format(
    NAME,
    read,
    write,
    key,
    marks=frozenset({"strong", "em", "code", "strike", "underline", "sub", "sup", "link", "colour", "background"}),
    atoms=frozenset({"mention", "emoji", "status", "date", "card"}),
)
