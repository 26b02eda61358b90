"""The simple editor of the Jira stand-in's pages: a document as light Markdown, and back.

Pure. Going back, blocks whose text was not touched keep their nodes, so a panel or a mention survives an edit.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from connections.sandbox.jira_documents import INLINE, Node, atom, inline_text, wiki_block


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


def to_text(document: Node | None) -> str:
    """The document as light Markdown for a textarea; blocks the editor cannot show become one {{…}} line."""
    return "\n\n".join(_text_block(b) for b in (document or {}).get("content", []))


def _text_block(node: Node) -> str:
    inner = node.get("content", [])
    match node["type"]:
        case "paragraph":
            return inline_text(inner, _markdown_marks)
        case "heading":
            return "#" * int(node["attrs"]["level"]) + " " + inline_text(inner, _markdown_marks)
        case "codeBlock":
            return f"```{node.get('attrs', {}).get('language') or ''}\n{''.join(n['text'] for n in inner)}\n```"
        case "bulletList" | "orderedList" if all(_is_plain_item(i) for i in inner):
            first = int(node.get("attrs", {}).get("order", 1))
            signs = ["-"] * len(inner) if node["type"] == "bulletList" else [f"{first + n}." for n in range(len(inner))]
            return "\n".join(
                f"{s} {inline_text(i['content'][0].get('content', []), _markdown_marks)}"
                for s, i in zip(signs, inner, strict=True)
            )
        case "rule":
            return "----"
        case kind:
            return "{{" + kind + ": " + " ".join(wiki_block(node, "").split()) + "}}"


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
    atoms = {atom(n): n for n in _all_nodes(old or {}) if n.get("type") in INLINE and atom(n)}
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
