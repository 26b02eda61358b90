"""Atlassian documents (ADF) as the Jira stand-in accepts, stores and shows them.

Pure functions: a document is {"type": "doc", "version": 1, "content": [nodes]}.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from typing import Any

Node = dict[str, Any]

INLINE = {
    "text", "hardBreak", "mention", "emoji", "inlineCard", "date", "status", "mediaInline", "inlineExtension",
    "placeholder",
}  # fmt: skip
LISTS = {"bulletList", "orderedList"}
BLOCKS = {
    "paragraph", "heading", "codeBlock", "blockquote", "panel", "rule", "table", "taskList", "decisionList",
    "mediaSingle", "mediaGroup", "expand", "blockCard", "embedCard", "layoutSection", "extension", "bodiedExtension",
} | LISTS  # fmt: skip
CHILDREN: dict[str, set[str]] = {
    "doc": BLOCKS,
    "paragraph": INLINE,
    "heading": INLINE,
    "taskItem": INLINE,
    "decisionItem": INLINE,
    "caption": INLINE,
    "codeBlock": {"text"},
    "bulletList": {"listItem"},
    "orderedList": {"listItem"},
    "listItem": {"paragraph", "codeBlock", "mediaSingle", "taskList"} | LISTS,
    "blockquote": {"paragraph", "codeBlock", "mediaSingle", "mediaGroup"} | LISTS,
    "panel": {"paragraph", "heading", "codeBlock", "rule", "taskList", "decisionList", "mediaSingle"} | LISTS,
    "table": {"tableRow"},
    "tableRow": {"tableCell", "tableHeader"},
    "tableCell": BLOCKS | {"nestedExpand"},
    "tableHeader": BLOCKS | {"nestedExpand"},
    "taskList": {"taskItem", "taskList"},
    "decisionList": {"decisionItem"},
    "mediaSingle": {"media", "caption"},
    "mediaGroup": {"media"},
    "expand": BLOCKS | {"nestedExpand"},
    "nestedExpand": BLOCKS,
    "layoutSection": {"layoutColumn"},
    "layoutColumn": BLOCKS,
    "bodiedExtension": BLOCKS,
}
MARKS = {
    "strong", "em", "code", "strike", "underline", "link", "textColor", "subsup", "backgroundColor", "annotation",
    "border", "alignment", "indentation", "breakout", "dataConsumer", "fragment",
}  # fmt: skip
REQUIRED_ATTRS = {
    "heading": "level", "mention": "id", "emoji": "shortName", "panel": "panelType", "taskItem": "state", "date":
    "timestamp", "status": "text",
}  # fmt: skip
# Nodes that Jira's editor gives an id of their own on saving.
WITH_LOCAL_ID = {"taskList", "taskItem", "decisionList", "decisionItem", "panel"}


class InvalidDocument(ValueError):
    """Not an Atlassian document: Jira answers INVALID_INPUT."""


def normalised(document: Any, new_id: Callable[[], str]) -> Node | None:
    """The document as Jira stores it; None for one without content. Raises InvalidDocument.

    Drops empty text nodes, joins neighbours with equal marks, gives ids to nodes that carry one.
    """
    if not isinstance(document, Mapping) or document.get("type") != "doc" or document.get("version") != 1:
        raise InvalidDocument("not a version 1 document")
    content = _normalised_children("doc", document.get("content", []), new_id)
    return {"type": "doc", "version": 1, "content": content} if content else None


def _normalised_children(parent: str, nodes: Any, new_id: Callable[[], str]) -> list[Node]:
    if not isinstance(nodes, list):
        raise InvalidDocument(f"content of {parent} is not a list")
    result: list[Node] = []
    for node in nodes:
        if not isinstance(node, Mapping) or node.get("type") not in CHILDREN.get(parent, set()):
            raise InvalidDocument(f"{node.get('type') if isinstance(node, Mapping) else node!r} in {parent}")
        changed = _normalised_node(dict(node), new_id)
        if changed is None:
            continue
        joins = changed["type"] == "text" and result and result[-1]["type"] == "text"
        if joins and result[-1].get("marks") == changed.get("marks"):
            result[-1] = {**result[-1], "text": result[-1]["text"] + changed["text"]}
        else:
            result.append(changed)
    return result


def _normalised_node(node: Node, new_id: Callable[[], str]) -> Node | None:
    kind = node["type"]
    attrs = node.get("attrs", {})
    if not isinstance(attrs, Mapping):
        raise InvalidDocument(f"attrs of {kind}")
    needed = REQUIRED_ATTRS.get(kind)
    if needed and needed not in attrs:
        raise InvalidDocument(f"{kind} without {needed}")
    for mark in node.get("marks", []):
        if not isinstance(mark, Mapping) or mark.get("type") not in MARKS:
            raise InvalidDocument(f"mark of {kind}")
        if mark["type"] == "link" and not mark.get("attrs", {}).get("href"):
            raise InvalidDocument("link without href")
    if kind == "text":
        if not isinstance(node.get("text"), str):
            raise InvalidDocument("text node without text")
        if not node["text"]:
            return None
        node = {**node, "text": node["text"].replace("\r\n", "\n")}
        if not node.get("marks"):
            node.pop("marks", None)
    if kind in CHILDREN and ("content" in node or kind in ("bulletList", "orderedList", "listItem", "table")):
        node = {**node, "content": _normalised_children(kind, node.get("content", []), new_id)}
        if kind in LISTS and not node["content"]:
            raise InvalidDocument(f"{kind} without items")
    if kind in WITH_LOCAL_ID and not attrs.get("localId"):
        node = {**node, "attrs": {**attrs, "localId": new_id()}}
    if kind == "orderedList" and "order" not in attrs:
        node = {**node, "attrs": {**attrs, "order": 1}}
    return node


def text_length(node: Node | None) -> int:
    if not node:
        return 0
    return len(node.get("text", "")) + sum(text_length(n) for n in node.get("content", []))


# ---- what people read -------------------------------------------------------------------------------------


def atom(node: Node) -> str:
    attrs = node.get("attrs", {})
    match node["type"]:
        case "mention":
            name = attrs.get("text") or attrs.get("id", "")
            return name if name.startswith("@") else "@" + name
        case "emoji":
            return attrs.get("text") or attrs.get("shortName", "")
        case "inlineCard":
            return attrs.get("url", "")
        case "status":
            return f"[{attrs.get('text', '')}]"
        case "date":
            return f"<date {attrs.get('timestamp', '')}>"
        case _:
            return ""


def inline_text(nodes: list[Node], mark: Callable[[str, list[Node]], str]) -> str:
    parts = []
    for node in nodes:
        if node["type"] == "text":
            parts.append(mark(node["text"], node.get("marks", [])))
        else:
            parts.append("\n" if node["type"] == "hardBreak" else atom(node))
    return "".join(parts)


def _wiki_marks(text: str, marks: list[Node]) -> str:
    for mark in marks:
        match mark["type"]:
            case "strong":
                text = f"*{text}*"
            case "em":
                text = f"_{text}_"
            case "code":
                text = "{{" + text + "}}"
            case "strike":
                text = f"-{text}-"
            case "link":
                text = f"[{text}|{mark['attrs']['href']}]"
    return text


def to_wiki(document: Node | None) -> str:
    """Wiki text, as version 2 of the API and webhooks show a document."""
    return "\n\n".join(wiki_block(b, "") for b in (document or {}).get("content", []))


def wiki_block(node: Node, bullets: str) -> str:
    inner = node.get("content", [])
    match node["type"]:
        case "heading":
            return f"h{node['attrs']['level']}. " + inline_text(inner, _wiki_marks)
        case "codeBlock":
            language = node.get("attrs", {}).get("language")
            return "{code%s}\n%s\n{code}" % (f":{language}" if language else "", "".join(n["text"] for n in inner))  # noqa: UP031
        case "bulletList" | "orderedList":
            sign = bullets + ("*" if node["type"] == "bulletList" else "#")
            lines = []
            for item in inner:
                for child in item.get("content", []):
                    text = wiki_block(child, sign)
                    lines.append(text if child["type"] in LISTS else f"{sign} {text}")
            return "\n".join(lines)
        case "blockquote":
            return "{quote}\n" + "\n".join(wiki_block(n, "") for n in inner) + "\n{quote}"
        case "panel":
            return "{panel}\n" + "\n".join(wiki_block(n, "") for n in inner) + "\n{panel}"
        case "rule":
            return "----"
        case "taskList" | "decisionList":
            return "\n".join("* " + inline_text(n.get("content", []), _wiki_marks) for n in inner)
        case kind if (kind in CHILDREN and CHILDREN[kind] & BLOCKS) or kind in ("table", "tableRow"):
            return "\n".join(wiki_block(n, "") for n in inner)
        case _:
            return inline_text([n for n in inner if n["type"] in INLINE], _wiki_marks)


def to_html(document: Node | None) -> str:
    """HTML with everything from the document escaped."""
    return "".join(_html(n) for n in (document or {}).get("content", []))


HTML_TAGS = {
    "paragraph": "p", "bulletList": "ul", "orderedList": "ol", "listItem": "li", "blockquote": "blockquote",
    "table": "table", "tableRow": "tr", "tableCell": "td", "tableHeader": "th", "taskList": "ul", "decisionList": "ul",
    "taskItem": "li", "decisionItem": "li",
}  # fmt: skip
MARK_TAGS = {"strong": "b", "em": "em", "code": "code", "strike": "del", "underline": "u"}


def _html(node: Node) -> str:
    kind = node["type"]
    inner = "".join(_html(n) for n in node.get("content", []))
    if kind == "text":
        text = html.escape(node["text"]).replace("\n", "<br>")
        for mark in node.get("marks", []):
            if mark["type"] in MARK_TAGS:
                text = f"<{MARK_TAGS[mark['type']]}>{text}</{MARK_TAGS[mark['type']]}>"
            elif mark["type"] == "link" and re.match(r"https?:|mailto:", mark["attrs"]["href"]):
                text = f'<a href="{html.escape(mark["attrs"]["href"])}" rel="noopener">{text}</a>'
        return text
    if kind == "hardBreak":
        return "<br>"
    if kind == "rule":
        return "<hr>"
    if kind == "heading":
        level = min(max(int(node["attrs"]["level"]), 1), 6)
        return f"<h{level}>{inner}</h{level}>"
    if kind == "codeBlock":
        return f"<pre><code>{inner.replace('<br>', chr(10))}</code></pre>"
    if kind == "panel":
        return f'<div class="panel panel-{html.escape(str(node["attrs"]["panelType"]))}">{inner}</div>'
    if kind in INLINE:
        return f'<span class="atom">{html.escape(atom(node))}</span>'
    if kind == "taskItem":
        inner = ("☑ " if node["attrs"]["state"] == "DONE" else "☐ ") + inner
    tag = HTML_TAGS.get(kind, "div")
    return f"<{tag}>{inner}</{tag}>"
