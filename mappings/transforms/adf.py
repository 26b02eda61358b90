"""The Atlassian document format (Jira Cloud descriptions and comments): reader and comparison. The writer is beside it.

Nodes: https://developer.atlassian.com/cloud/jira/platform/apis/document/structure. A node this file does not know is
kept as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mappings.transforms.adf_write import COLOURS, NAME, TITLE, attributes, write
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
)
from mappings.transforms.table import is_empty

Json = dict[str, Any]

_MARKS = {"strong": "strong", "em": "em", "code": "code", "strike": "strike", "underline": "underline"}


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


def _blocks(node: Mapping[str, Any]) -> tuple[Block, ...]:
    return tuple(_block(child) for child in _content(node))


def _block(node: Json) -> Block:
    attrs, raw = attributes(node), _raw(node)
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
            state = attributes(child).get("state") == "DONE"
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
    attrs, raw = attributes(node), _raw(node)
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
    kind, attrs, raw = str(mark.get("type")), attributes(mark), _raw(mark)
    if kind in _MARKS:
        return Mark(_MARKS[kind], None, raw)
    if kind == "link":
        return Mark("link", str(attrs.get("href", "")), raw)
    if kind in COLOURS:
        return Mark(COLOURS[kind], attrs.get("color"), raw)
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
    attrs, kind = attributes(node), str(node.get("type", ""))
    if kind in ("media", "mediaSingle", "mediaGroup"):
        media = [node] if kind == "media" else _content(node)
        return "\n".join(f"[{attributes(one).get('alt') or 'attachment'}]" for one in media)
    if kind in ("blockCard", "embedCard"):
        return str(attrs.get("url") or "[link]")
    inner = [text for child in _content(node) if (text := _readable(child))]
    own = node.get("text") or attrs.get("text") or attrs.get("title")
    between = "" if any(child.get("type") == "text" for child in _content(node)) else "\n"
    return between.join([str(own)] if own else inner) if own or inner else f"[{kind}]" if not _content(node) else ""


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
        for name, one in attributes(value).items()
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
