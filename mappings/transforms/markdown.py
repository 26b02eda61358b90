"""Markdown as issue trackers keep it (CommonMark with tables, strike-through and task lists): reader and writer.

A line break in a paragraph is a line break, as GitHub shows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

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
    whole,
)

NAME = "markdown"
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])

_NODES = {"strong": "strong", "em": "em", "s": "strike"}
# Markdown has no sign for these, but every tracker takes the tags; the others where the signs would be misread.
_TAGS = {"underline": "ins", "sub": "sub", "sup": "sup", "strong": "strong", "em": "em", "strike": "del"}
_KINDS = {**{tag: kind for kind, tag in _TAGS.items()}, "b": "strong", "i": "em", "u": "underline", "s": "strike"}
_SIGNS = {"strike": "~~", "strong": "**", "em": "_"}
_NESTING = ("link", "strike", "strong", "em", "underline", "sub", "sup")  # outermost first
APART = "<!-- -->"  # between two lists that would else be one
TAG = re.compile(r"^<(/?)([a-z]+)\s*/?>$", re.IGNORECASE)
TASK = re.compile(r"^\[([ xX])\](?: |$)")
SPECIAL = re.compile(r"[\\`*\[<~|]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)")
AT_START = re.compile(r"^(#{1,6}(?=\s|$)|[>+=-]|:(?=-))|^(\d{1,9})([.)])(?=\s|$)")


# Reading ------------------------------------------------------------------------------------------------------


def read(value: Any) -> Document:
    text = "" if value is None else str(value).replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        return Document()
    lines = text.split("\n")
    tree = SyntaxTreeNode(PARSER.parse(text))
    blocks: list[Block] = []
    done = 0
    for node in tree.children:
        first, last = node.map or (done, done)
        blocks += _unseen(lines[done:first])
        source = "\n".join(lines[first:last]).rstrip()
        blocks += [_with_raw(block, source) for block in _block(node)]
        done = last
    return Document((*blocks, *_unseen(lines[done:])), Raw(NAME, text))


def _unseen(lines: Sequence[str]) -> list[Block]:
    """Lines that show nothing (where links lead to): kept as they are."""
    source = "\n".join(lines).strip("\n")
    return [Opaque("", Raw(NAME, source))] if source.strip() else []


def _with_raw(block: Block, source: str) -> Block:
    fields = {name: getattr(block, name) for name in block.__slots__}
    return type(block)(**{**fields, "raw": Raw(NAME, source)})


def _block(node: SyntaxTreeNode) -> list[Block]:
    match node.type:
        case "paragraph":
            return [Paragraph(_inlines(node))]
        case "heading":
            return [Heading(int(node.tag[1]), _inlines(node))]
        case "fence" | "code_block":
            language = node.info.split()
            return [Code(node.content.removesuffix("\n"), language[0] if language else None)]
        case "bullet_list" | "ordered_list":
            items = _tasks([Item(_children(item)) for item in node.children])
            return [Listing(items, node.type == "ordered_list", int(node.attrs.get("start", 1)))]
        case "blockquote":
            return [Quote(_children(node))]
        case "hr":
            return [Rule()]
        case "table":
            return [_table(node)]
    if node.content.strip() == APART:
        return []
    return [Opaque(re.sub(r"<!--.*?-->|<[^>]*>", "", node.content, flags=re.DOTALL).strip())]


def _children(node: SyntaxTreeNode) -> tuple[Block, ...]:
    return tuple(block for child in node.children for block in _block(child))


def _tasks(items: list[Item]) -> tuple[Item, ...]:
    """The items as tasks, if each begins with a box."""
    tasks = []
    for item in items:
        first = item.blocks[0] if item.blocks else None
        words = first.inlines[0] if isinstance(first, Paragraph) and first.inlines else None
        box = TASK.match(words.text) if isinstance(words, Text) and not words.marks else None
        if box is None or not isinstance(first, Paragraph) or not isinstance(words, Text):
            return tuple(items)
        inlines = joined((Text(words.text[box.end() :]), *first.inlines[1:]))
        tasks.append(Item((Paragraph(inlines), *item.blocks[1:]), box[1] != " "))
    return tuple(tasks)


def _table(node: SyntaxTreeNode) -> Table:
    rows = []
    for part in node.children:
        for row in part.children:
            header = part.type == "thead"
            cells = tuple(
                Cell((Paragraph(words),) if (words := _inlines(cell)) else (), header) for cell in row.children
            )
            if not header or any(cell.blocks for cell in cells):  # an empty header stands for none
                rows.append(Row(cells))
    return Table(tuple(rows))


def _inlines(node: SyntaxTreeNode) -> tuple[Inline, ...]:
    result: list[Inline] = []
    for child in node.children:
        result += _line(child.children, ())
    while result and isinstance(result[-1], Break):
        result.pop()
    return joined(result)


def _line(nodes: Sequence[SyntaxTreeNode], marks: tuple[Mark, ...]) -> list[Inline]:
    result: list[Inline] = []
    opened: list[Mark] = []  # by tags
    for node in nodes:
        now = (*marks, *(mark for mark in opened if mark not in marks))
        if node.type in ("text", "text_special"):
            result.append(Text(node.content, now))
        elif node.type == "code_inline":
            result.append(Text(node.content, (*now, Mark("code"))))
        elif node.type in ("softbreak", "hardbreak"):
            # "<br>" and the end of its line are one break.
            if not (
                result and isinstance(result[-1], Break) and result[-1].raw is not None and node.type == "softbreak"
            ):
                result.append(Break())
        elif node.type in _NODES:
            result += _line(node.children, (*now, Mark(_NODES[node.type])))
        elif node.type == "link":
            result += _line(node.children, (*now, Mark("link", str(node.attrs.get("href", "")))))
        elif node.type == "image":
            result.append(Atom("other", f"[{node.content or 'image'}]", None, Raw(NAME, _image(node))))
        else:
            result += _tag(node.content, opened)
    return result


def _image(node: SyntaxTreeNode) -> str:
    title = str(node.attrs.get("title", "")).replace('"', '\\"')
    alt = SPECIAL.sub(lambda found: "\\" + found[0], node.content)
    behind = f' "{title}"' if title else ""
    return f"![{alt}](<{node.attrs.get('src', '')}>{behind})"


def _tag(source: str, opened: list[Mark]) -> list[Inline]:
    """A tag in the line: a break, a mark that opens or closes, or something kept as it is."""
    tag = TAG.match(source)
    name = tag[2].lower() if tag else ""
    if name == "br":
        return [Break(Raw(NAME, source, whole=False))]
    mark = Mark(_KINDS[name]) if name in _KINDS else None
    if tag and mark and not tag[1]:
        opened.append(mark)
        return []
    if mark in opened:
        opened.remove(mark)
        return []
    return [Atom("other", "", None, Raw(NAME, source))]


# Writing ------------------------------------------------------------------------------------------------------


def write(document: Document) -> str | None:
    raw = whole(document, NAME)
    return raw if raw is not None else _written(document.blocks, keep=True) or None


def key(document: Document) -> str:
    return _written(read(_written(document.blocks, keep=False)).blocks, keep=False)


def _written(blocks: Iterable[Block], keep: bool, between: str = "\n\n") -> str:
    """`keep`: give back untouched blocks as they were read."""
    result: list[str] = []
    last: Block | None = None
    for block in blocks:
        text = (whole(block, NAME) if keep else None) or _block_text(block)
        if not text.strip():
            continue
        if isinstance(block, Listing) and isinstance(last, Listing):
            result.append(APART)
        result.append(text)
        last = block
    return between.join(result)


def _block_text(block: Block) -> str:
    match block:
        case Paragraph():
            return _paragraph(block.inlines)
        case Heading():
            words = _paragraph(Text(" ") if isinstance(one, Break) else one for one in block.inlines)
            return f"{'#' * block.level} {re.sub(r'(#+)$', _escaped_end, words)}" if words else ""
        case Code():
            longest = max((len(ticks) for ticks in re.findall(r"`{3,}", block.text)), default=2)
            fence = "`" * (longest + 1)
            language = "".join((block.language or "").replace("`", "").split())
            return f"{fence}{language}\n{block.text}\n{fence}" if block.text else f"{fence}{language}\n{fence}"
        case Listing():
            return "\n".join(_item(item, number, block) for number, item in enumerate(block.items, start=block.start))
        case Quote() | Panel():
            inner = _written(block.blocks, keep=False)
            return "\n".join(f"> {line}" if line else ">" for line in inner.split("\n")) if inner else ""
        case Table():
            return _table_text(block)
        case Rule():
            return "---"
        case Opaque():
            lines = block.text.split("\n")
            return _paragraph([part for line in lines for part in (Break(), Text(line))][1:])


def _escaped_end(found: re.Match[str]) -> str:
    return "\\" + found[1]


def _item(item: Item, number: int, listing: Listing) -> str:
    marker = f"{number}. " if listing.ordered else "- "
    box = "" if item.checked is None else "[x] " if item.checked else "[ ] "
    # A list right below its words keeps the outer list tight.
    loose = any(not isinstance(block, Listing) for block in item.blocks[1:])
    inner = box + _written(item.blocks, keep=False, between="\n\n" if loose else "\n")
    first, *rest = inner.split("\n")
    indent = " " * len(marker)
    return "\n".join([f"{marker}{first}".rstrip(), *(indent + line if line else "" for line in rest)])


def _table_text(table: Table) -> str:
    width = max((len(row.cells) for row in table.rows), default=0)
    if not width:
        return ""
    rows = [[_cell(cell) for cell in row.cells] + [""] * (width - len(row.cells)) for row in table.rows]
    if not all(cell.header for cell in table.rows[0].cells):
        rows.insert(0, [""] * width)
    rows.insert(1, ["---"] * width)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _cell(cell: Cell) -> str:
    parts = [_words(tuple(_cell_inlines(block))) for block in cell.blocks]
    return re.sub(r"(?:<br>)?\n", "<br>", "\n".join(part for part in parts if part)).strip()


def _cell_inlines(block: Block) -> Iterable[Inline]:
    if isinstance(block, Paragraph | Heading):
        return block.inlines
    text = inline_text([Text(block.text)]) if isinstance(block, Code | Opaque) else _block_text(block)
    return [part for line in text.split("\n") for part in (Break(), Text(line))][1:]


def _paragraph(inlines: Iterable[Inline]) -> str:
    """The words with what would begin another block at the start of a line escaped."""
    lines = _words(tuple(inlines)).split("\n")
    return "\n".join(AT_START.sub(_escaped_start, line.strip(" \t")) for line in lines).strip("\n")


def _escaped_start(found: re.Match[str]) -> str:
    return f"\\{found[1]}" if found[1] else f"{found[2]}\\{found[3]}"


def _words(inlines: tuple[Inline, ...]) -> str:
    parts = list(joined(inlines))
    while parts and isinstance(parts[0], Break):
        parts.pop(0)
    while parts and isinstance(parts[-1], Break):
        parts.pop()
    return _nested(parts, _NESTING, "", "")


def _nested(parts: Sequence[Inline], kinds: Sequence[str], before: str, after: str) -> str:
    """The parts with their marks, from the outermost kind inwards. `before`, `after`: the characters around."""
    if not kinds:
        return _plain_parts(parts, before)
    result = ""
    at = 0
    while at < len(parts):
        mark = _mark(parts[at], kinds[0])
        end = at + 1
        while end < len(parts) and _mark(parts[end], kinds[0]) == mark:
            end += 1
        behind = _first_character(parts[end]) if end < len(parts) else after
        ahead = result[-1:] or before
        run = parts[at:end]
        if mark is None:
            result += _nested(run, kinds[1:], ahead, behind)
        else:
            result += _marked(run, mark, kinds[1:], ahead, behind)
        at = end
    return result


def _mark(inline: Inline, kind: str) -> Mark | None:
    if isinstance(inline, Text):
        return next((mark for mark in inline.marks if mark.kind == kind), None)
    if kind == "link" and isinstance(inline, Atom) and inline.kind == "card" and inline.ref:
        return Mark("link", inline.ref)
    return None


def _first_character(inline: Inline) -> str:
    if isinstance(inline, Break):
        return "\n"
    if isinstance(inline, Text) and inline.marks:
        return "*"  # some sign or tag
    return inline.text[:1] or "<"


def _marked(run: Sequence[Inline], mark: Mark, kinds: Sequence[str], before: str, after: str) -> str:
    words = inline_text(run)
    if mark.kind == "link":
        address = mark.value or ""
        if words == address and re.fullmatch(r"[a-z][a-z0-9+.-]{1,30}:[^\s<>]*", address, re.IGNORECASE):
            return f"<{address}>"
        target = re.sub(r"([\\<>])", r"\\\1", address.replace("\n", ""))
        return f"[{_nested(run, kinds, '[', ']')}](<{target}>)"
    sign = _SIGNS.get(mark.kind)
    apart = not (before.isalnum() or after.isalnum() or before == "_" or words != words.strip() or not words)
    if sign and apart and before != sign[0] and (_first_of(run) and after != sign[0]):
        return f"{sign}{_nested(run, kinds, sign[0], sign[0])}{sign}"
    return f"<{_TAGS[mark.kind]}>{_nested(run, kinds, '>', '<')}</{_TAGS[mark.kind]}>"


def _first_of(run: Sequence[Inline]) -> bool:
    # Signs hold only around words: an image or a break at the edge could turn them into text.
    return isinstance(run[0], Text) and isinstance(run[-1], Text)


def _plain_parts(parts: Sequence[Inline], before: str) -> str:
    result: list[str] = []
    for number, part in enumerate(parts):
        if isinstance(part, Break):
            blank = not number or isinstance(parts[number - 1], Break)
            blank = blank or (number + 1 < len(parts) and isinstance(parts[number + 1], Break))
            result.append("<br>\n" if blank else "\n")
        elif isinstance(part, Text) and any(mark.kind == "code" for mark in part.marks):
            result.append(_inline_code(part.text))
        elif isinstance(part, Text):
            result.append(_escaped(part.text))
        else:
            raw = whole(part, NAME)
            result.append(str(raw) if raw is not None else _escaped(part.text))
    return "".join(result)


def _escaped(text: str) -> str:
    return SPECIAL.sub(lambda found: "\\" + found[0], text)


def _inline_code(text: str) -> str:
    text = text.replace("\n", " ")
    longest = max((len(ticks) for ticks in re.findall(r"`+", text)), default=0)
    ticks = "`" * (longest + 1)
    edge = " " if text.strip() and (text.startswith(("`", " ")) or text.endswith(("`", " "))) else ""
    return f"{ticks}{edge}{text}{edge}{ticks}"


MARKDOWN = Format(
    NAME,
    read,
    write,
    key,
    marks=frozenset({"strong", "em", "code", "strike", "underline", "sub", "sup", "link"}),
)
