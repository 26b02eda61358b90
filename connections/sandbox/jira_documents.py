"""Atlassian documents (ADF) as the Jira stand-in accepts, stores and shows them.

Pure functions: a document is {"type": "doc", "version": 1, "content": [nodes]}.
"""

from __future__ import annotations

import difflib
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


def _atom(node: Node) -> str:
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


def _inline_text(nodes: list[Node], mark: Callable[[str, list[Node]], str]) -> str:
    parts = []
    for node in nodes:
        if node["type"] == "text":
            parts.append(mark(node["text"], node.get("marks", [])))
        else:
            parts.append("\n" if node["type"] == "hardBreak" else _atom(node))
    return "".join(parts)


def _markdown_marks(text: str, marks: list[Node]) -> str:
    for mark in marks:
        match mark["type"]:
            case "strong":
                text = f"**{text}**"
            case "em":
                text = f"_{text}_"
            case "code":
                text = f"`{text}`"
            case "strike":
                text = f"~~{text}~~"
            case "link":
                text = f"[{text}]({mark['attrs']['href']})"
    return text


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
    return "\n\n".join(_wiki_block(b, "") for b in (document or {}).get("content", []))


def _wiki_block(node: Node, bullets: str) -> str:
    inner = node.get("content", [])
    match node["type"]:
        case "heading":
            return f"h{node['attrs']['level']}. " + _inline_text(inner, _wiki_marks)
        case "codeBlock":
            language = node.get("attrs", {}).get("language")
            return "{code%s}\n%s\n{code}" % (f":{language}" if language else "", "".join(n["text"] for n in inner))  # noqa: UP031
        case "bulletList" | "orderedList":
            sign = bullets + ("*" if node["type"] == "bulletList" else "#")
            lines = []
            for item in inner:
                for child in item.get("content", []):
                    text = _wiki_block(child, sign)
                    lines.append(text if child["type"] in LISTS else f"{sign} {text}")
            return "\n".join(lines)
        case "blockquote":
            return "{quote}\n" + "\n".join(_wiki_block(n, "") for n in inner) + "\n{quote}"
        case "panel":
            return "{panel}\n" + "\n".join(_wiki_block(n, "") for n in inner) + "\n{panel}"
        case "rule":
            return "----"
        case "taskList" | "decisionList":
            return "\n".join("* " + _inline_text(n.get("content", []), _wiki_marks) for n in inner)
        case kind if (kind in CHILDREN and CHILDREN[kind] & BLOCKS) or kind in ("table", "tableRow"):
            return "\n".join(_wiki_block(n, "") for n in inner)
        case _:
            return _inline_text([n for n in inner if n["type"] in INLINE], _wiki_marks)


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
        return f'<span class="atom">{html.escape(_atom(node))}</span>'
    if kind == "taskItem":
        inner = ("☑ " if node["attrs"]["state"] == "DONE" else "☐ ") + inner
    tag = HTML_TAGS.get(kind, "div")
    return f"<{tag}>{inner}</{tag}>"


# ---- the simple editor of the pages -----------------------------------------------------------------------


def to_text(document: Node | None) -> str:
    """The document as light Markdown for a textarea; blocks the editor cannot show become one {{…}} line."""
    return "\n\n".join(_text_block(b) for b in (document or {}).get("content", []))


def _text_block(node: Node) -> str:
    inner = node.get("content", [])
    match node["type"]:
        case "paragraph":
            return _inline_text(inner, _markdown_marks)
        case "heading":
            return "#" * int(node["attrs"]["level"]) + " " + _inline_text(inner, _markdown_marks)
        case "codeBlock":
            return f"```{node.get('attrs', {}).get('language') or ''}\n{''.join(n['text'] for n in inner)}\n```"
        case "bulletList" | "orderedList" if all(_is_plain_item(i) for i in inner):
            first = int(node.get("attrs", {}).get("order", 1))
            signs = ["-"] * len(inner) if node["type"] == "bulletList" else [f"{first + n}." for n in range(len(inner))]
            return "\n".join(
                f"{s} {_inline_text(i['content'][0].get('content', []), _markdown_marks)}"
                for s, i in zip(signs, inner, strict=True)
            )
        case "rule":
            return "----"
        case kind:
            return "{{" + kind + ": " + " ".join(_wiki_block(node, "").split()) + "}}"


def _is_plain_item(item: Node) -> bool:
    content = item.get("content", [])
    if len(content) != 1 or content[0]["type"] != "paragraph":
        return False
    return all(n["type"] != "hardBreak" for n in content[0].get("content", []))


def _split_blocks(text: str) -> list[str]:
    blocks: list[list[str]] = [[]]
    fenced = False
    for line in text.replace("\r\n", "\n").split("\n"):
        if line.startswith("```"):
            fenced = not fenced
        if not line.strip() and not fenced:
            blocks.append([])
        else:
            blocks[-1].append(line)
    return ["\n".join(b) for b in blocks if b]


def from_text(text: str, old: Node | None = None) -> Node:
    """A document from light Markdown; blocks of `old` whose text was not touched keep their nodes."""
    old_blocks = (old or {}).get("content", [])
    old_texts = [_text_block(b).strip("\n") for b in old_blocks]
    new_texts = _split_blocks(text)
    atoms = {_atom(n): n for n in _all_nodes(old or {}) if n.get("type") in INLINE and _atom(n)}
    content: list[Node] = []
    matcher = difflib.SequenceMatcher(a=old_texts, b=new_texts, autojunk=False)
    for tag, a1, a2, b1, b2 in matcher.get_opcodes():
        if tag == "equal":
            content += old_blocks[a1:a2]
        else:
            content += [_parse_block(t, atoms) for t in new_texts[b1:b2]]
    return {"type": "doc", "version": 1, "content": content}


def _all_nodes(node: Node) -> list[Node]:
    return [node] + [n for c in node.get("content", []) for n in _all_nodes(c)]


def _parse_block(text: str, atoms: Mapping[str, Node]) -> Node:
    lines = text.split("\n")
    if lines[0].startswith("```"):
        body = "\n".join(lines[1:-1] if lines[-1].startswith("```") and len(lines) > 1 else lines[1:])
        node: Node = {"type": "codeBlock", "content": [{"type": "text", "text": body}] if body else []}
        language = lines[0][3:].strip()
        return {**node, "attrs": {"language": language}} if language else node
    if heading := re.fullmatch(r"(#{1,6}) (.*)", text):
        return {"type": "heading", "attrs": {"level": len(heading[1])}, "content": _parse_inline(heading[2], atoms)}
    if text.strip() == "----":
        return {"type": "rule"}
    for kind, sign in (("bulletList", r"[-*] "), ("orderedList", r"\d+\. ")):
        if all(re.match(sign, line) for line in lines):
            items = [re.sub(sign, "", line, count=1) for line in lines]
            return {"type": kind, "content": [_list_item(i, atoms) for i in items]}
    return {"type": "paragraph", "content": _parse_inline(text, atoms)}


def _list_item(text: str, atoms: Mapping[str, Node]) -> Node:
    return {"type": "listItem", "content": [{"type": "paragraph", "content": _parse_inline(text, atoms)}]}


MARKDOWN = re.compile(
    r"\*\*(?P<strong>[^*\n]+)\*\*|(?<!\w)_(?P<em>[^_\n]+)_(?!\w)|`(?P<code>[^`\n]+)`|~~(?P<strike>[^~\n]+)~~"
    r"|\[(?P<link>[^\]\n]+)\]\((?P<href>[^)\s]+)\)|(?P<br>\n)"
)


def _parse_inline(text: str, atoms: Mapping[str, Node]) -> list[Node]:
    """Inline nodes; mentions, emoji and cards of the old document are found again by their text."""
    if atoms:
        names = sorted(atoms, key=len, reverse=True)
        pieces = re.split("(" + "|".join(re.escape(n) for n in names) + ")", text)
    else:
        pieces = [text]
    nodes: list[Node] = []
    for piece in pieces:
        nodes += [atoms[piece]] if piece in atoms else _parse_marks(piece)
    return nodes


def _parse_marks(text: str) -> list[Node]:
    nodes: list[Node] = []
    position = 0
    for match in MARKDOWN.finditer(text):
        if match.start() > position:
            nodes.append({"type": "text", "text": text[position : match.start()]})
        position = match.end()
        kind = match.lastgroup
        if kind == "br":
            nodes.append({"type": "hardBreak"})
        elif kind == "href":
            mark = {"type": "link", "attrs": {"href": match["href"]}}
            nodes.append({"type": "text", "text": match["link"], "marks": [mark]})
        elif kind:
            nodes.append({"type": "text", "text": match[kind], "marks": [{"type": kind}]})
    if position < len(text):
        nodes.append({"type": "text", "text": text[position:]})
    return nodes
