"""Plain text that people like to read: reader and writer.

    # Heading          - item          1. item          > quote          ```python          | cell | cell |
    @Mention           - [x] task        - nested       ---              code              | --- | --- |
    words <address>                                                    ```

Lines of a paragraph stay lines, blank lines part blocks. The normal form of a text is what the writer makes of what
the reader read: without blanks at the end of lines, one blank line between blocks, numbered lists counted through.
Whatever does not come out the same when written and read again is no list, table or quote: it is just lines of text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from mappings.transforms.document import (
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
    Row,
    Rule,
    Table,
    Text,
)

FENCE = re.compile(r"^(`{3,})([^`\s]*)$")
# Up to three digits: "2026. " begins a sentence, not a list.
MARKER = re.compile(r"^(?:(?P<bullet>[-*•])|(?P<number>\d{1,3})[.)])(?:[ \t]+(?P<rest>.*))?$")
FENCE_IN_ITEM = re.compile(r"^(?P<indent>\s*(?:(?:[-*•]|\d{1,3}[.)])[ \t]+(?:\[[ xX]\] )?)*)(?P<ticks>`{3,})[^`\s]*$")
TASK = re.compile(r"^\[(?P<box>[ xX])\](?: (?P<rest>.*))?$")
HEADING = re.compile(r"^(#{1,6}) (\S.*)$")
HEADER_LINE = re.compile(r"^\|( --- \|)+$")
CELL_BORDER = re.compile(r"(?<!\\)\|")
ADDRESS = re.compile(r"https?://[^\s<>\"|]+")
CLOSING = ".,;:!?)]}'*_"  # at the end of an address these belong to the sentence
RULE = "---"


# Writing ------------------------------------------------------------------------------------------------------


def write(document: Document) -> str | None:
    return "\n\n".join(text for block in document.blocks if (text := block_text(block)).strip()).strip("\n") or None


def block_text(block: Block) -> str:
    """The lines of one block."""
    match block:
        case Paragraph():
            return _lines(inlines_text(block.inlines))
        case Heading():
            words = inlines_text(block.inlines).replace("\n", " ").strip()
            return f"{'#' * block.level} {words}" if words else ""
        case Code():
            fence = _fence(block.text)
            return f"{fence}{_language(block.language)}\n{block.text}\n{fence}" if block.text else f"{fence}\n{fence}"
        case Listing():
            return _list_text(block)
        case Quote() | Panel():
            inner = "\n\n".join(text for child in block.blocks if (text := block_text(child)).strip())
            return "\n".join(f"> {line}" if line.strip() else ">" for line in inner.split("\n")) if inner else ""
        case Table():
            return _table_text(block)
        case Rule():
            return RULE
        case Opaque():
            return _lines(block.text)


def inlines_text(inlines: Iterable[Inline]) -> str:
    """The words; a link whose words are not its address is followed by it in angle brackets."""
    parts: list[str] = []
    words, link = "", None  # of the link that is being written
    for inline in (*inlines, None):
        address = inline.link() if isinstance(inline, Text) else None
        if link is not None and address != link:
            parts.append(words if is_address(words, link) else f"{words} <{link}>")
            words = ""
        link = address
        if link is not None and isinstance(inline, Text):
            words += inline.text
        elif isinstance(inline, Break):
            parts.append("\n")
        elif inline is not None:
            parts.append(inline.text)
    return "".join(parts)


def is_address(words: str, link: str) -> bool:
    """Whether the words of a link show where it goes."""
    return words.strip() in (link, link.removeprefix("mailto:"), link.rstrip("/"))


def _lines(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")


def _fence(code: str) -> str:
    longest = max((len(ticks) for ticks in re.findall(r"`{3,}", code)), default=2)
    return "`" * (longest + 1)


def _language(language: str | None) -> str:
    return "".join((language or "").replace("`", "").split())


def _list_text(listing: Listing) -> str:
    lines: list[str] = []
    for number, item in enumerate(listing.items, start=listing.start):
        marker = f"{number}." if listing.ordered else "-"
        box = "" if item.checked is None else "[x] " if item.checked else "[ ] "
        texts = [text for block in item.blocks if (text := _tight(block)).strip()]
        first, *rest = "\n".join(texts).split("\n")
        lines.append(f"{marker} {box}{first}".rstrip())
        indent = " " * (len(marker) + 1)
        lines += [indent + line if line else "" for line in rest]
    return "\n".join(lines)


def _tight(block: Block) -> str:
    # Within an item a blank line would end the list, except in code.
    text = block_text(block)
    return text if isinstance(block, Code | Listing) else re.sub(r"\n{2,}", "\n", text)


def _table_text(table: Table) -> str:
    lines = []
    for number, row in enumerate(table.rows):
        cells = [_cell_text(cell) for cell in row.cells]
        lines.append(f"| {' | '.join(cells)} |")
        if number == 0 and all(cell.header for cell in row.cells):
            lines.append("|" + " --- |" * len(cells))
    return "\n".join(lines)


def _cell_text(cell: Cell) -> str:
    text = " / ".join(line.strip() for block in cell.blocks for line in block_text(block).split("\n") if line.strip())
    return text.replace("\\", "\\\\").replace("|", "\\|")


# Reading ------------------------------------------------------------------------------------------------------


def read(value: Any) -> Document:
    text = "" if value is None else str(value).replace("\r\n", "\n").replace("\r", "\n")
    return Document(tuple(block for chunk in _chunks(text.split("\n")) for block in _blocks(chunk, nested=False)))


def _chunks(lines: Sequence[str]) -> list[list[str]]:
    """The lines parted at blank lines, except those in code."""
    chunks: list[list[str]] = [[]]
    at = 0
    while at < len(lines):
        if fenced := _fenced(lines, at):
            chunks[-1] += [lines[at].rstrip(), *lines[at + 1 : at + fenced - 1], lines[at + fenced - 1].rstrip()]
            at += fenced
            continue
        if line := lines[at].rstrip():
            chunks[-1].append(line)
        elif chunks[-1]:
            chunks.append([])
        at += 1
    return [chunk for chunk in chunks if chunk]


def _fenced(lines: Sequence[str], at: int) -> int:
    """How many lines the code that begins here takes, its fences included; 0 where none begins."""
    opening = FENCE_IN_ITEM.match(lines[at].rstrip())
    if opening is None:
        return 0
    closing = " " * len(opening["indent"]) + opening["ticks"]
    for end in range(at + 1, len(lines)):
        if lines[end].rstrip() == closing:
            return end - at + 1
        if lines[end].strip() and not lines[end].startswith(" " * len(opening["indent"])):
            return 0
    return 0


def _kind(line: str) -> str:
    if line.startswith(">"):
        return "quote"
    if line.startswith("|") and line.endswith("|") and len(line) > 1:
        return "table"
    if HEADING.match(line):
        return "heading"
    if line == RULE:
        return "rule"
    return "list" if MARKER.match(line) else "text"


def _blocks(lines: Sequence[str], nested: bool) -> list[Block]:
    """The blocks of lines without a blank line. `nested`: in an item or a quote, where headings, tables and further
    quotes are just text (no format but ours lets everything hold everything)."""
    result: list[Block] = []
    text: list[str] = []  # lines of the paragraph that is being gathered

    def flush() -> None:
        if text:
            result.append(Paragraph(line_inlines(text)))
            text.clear()

    at = 0
    while at < len(lines):
        run, block = _structure(lines, at, nested)
        if block is None:
            text.extend(lines[at : at + run])
        else:
            flush()
            result.append(block)
        at += run
    flush()
    return result


def _structure(lines: Sequence[str], at: int, nested: bool) -> tuple[int, Block | None]:
    """How many lines from here belong together, and the block they are; None where they are just text."""
    if FENCE.match(lines[at]) and (fenced := _fenced(lines, at)):
        return fenced, _code(lines[at : at + fenced])
    kind = _kind(lines[at])
    if kind == "text" or (nested and kind != "list"):
        return 1, None
    if kind == "rule":
        return 1, Rule()
    if kind == "heading":
        level, words = HEADING.match(lines[at]).groups()  # type: ignore[union-attr]
        return 1, _stable(Heading(len(level), line_inlines([words])), nested)
    end = at + 1
    if kind == "list":
        end = _list_end(lines, at)
        return end - at, _stable(_list(lines[at:end]), nested)
    while end < len(lines) and _kind(lines[end]) == kind:
        end += 1
    run = lines[at:end]
    return end - at, _stable(_quote(run) if kind == "quote" else _table(run), nested)


def _stable(block: Block | None, nested: bool) -> Block | None:
    """The block, if it reads the same again once written."""
    if block is None or nested:
        return block  # what lies around it is tested as a whole; testing every level would double the work at each
    lines = block_text(block).split("\n")
    if not lines[0] or len(_chunks(lines)) != 1:
        return None
    run, again = _read_once(lines)
    return block if run == len(lines) and again == block else None


def _read_once(lines: Sequence[str]) -> tuple[int, Block | None]:
    kind = _kind(lines[0])
    if kind == "list":
        return _list_end(lines, 0), _list(lines)
    if kind == "quote":
        return len(lines), _quote(lines)
    if kind == "table":
        return len(lines), _table(lines)
    found = HEADING.match(lines[0])
    return 1, Heading(len(found[1]), line_inlines([found[2]])) if found else None


def _code(lines: Sequence[str]) -> Code:
    opening = FENCE.match(lines[0])
    return Code("\n".join(lines[1:-1]), (opening[2] or None) if opening else None)


def _list_end(lines: Sequence[str], at: int) -> int:
    """Where the list that begins here ends: at the first line that is neither marked alike nor indented."""
    ordered = MARKER.match(lines[at])["number"] is not None  # type: ignore[index]
    end = at
    while end < len(lines):
        if fenced := _fenced(lines, end) if end > at or not FENCE.match(lines[end]) else 0:
            end += fenced
            continue
        marker = MARKER.match(lines[end])
        if (marker and (marker["number"] is not None) == ordered) or (end > at and lines[end][0] in " \t"):
            end += 1
        else:
            break
    return end


def _list(lines: Sequence[str]) -> Listing | None:
    items: list[list[str]] = []
    start, ordered, indent = 1, False, 2
    for line in lines:
        marker = MARKER.match(line)
        if marker and (not items or (marker["number"] is not None) == ordered):
            if not items:
                ordered = marker["number"] is not None
                start = int(marker["number"] or 1)
            rest = marker["rest"] or ""
            indent = len(line) - len(rest) if rest else len(line) + 1
            items.append([rest])
        else:
            leading = len(line) - len(line.lstrip(" "))
            items[-1].append(line[min(indent, leading) :].removeprefix("\t"))
    if not any(rest for item in items for rest in item):
        return None
    boxes = [TASK.match(item[0]) for item in items]
    if all(boxes):
        return Listing(tuple(_task(item, box) for item, box in zip(items, boxes, strict=True) if box), ordered, start)
    return Listing(tuple(Item(tuple(_item_blocks(item))) for item in items), ordered, start)


def _task(lines: list[str], box: re.Match[str]) -> Item:
    return Item(tuple(_item_blocks([box["rest"] or "", *lines[1:]])), checked=box["box"] != " ")


def _item_blocks(lines: Sequence[str]) -> list[Block]:
    return [block for chunk in _chunks(lines) for block in _blocks(chunk, nested=True)]


def _quote(lines: Sequence[str]) -> Quote | None:
    inner = [line[1:].removeprefix(" ") for line in lines]
    if any(_kind(line) in ("quote", "heading", "rule", "table") for line in inner if line):
        return None
    blocks = tuple(block for chunk in _chunks(inner) for block in _blocks(chunk, nested=True))
    return Quote(blocks) if blocks else None


def _table(lines: Sequence[str]) -> Table | None:
    headed = len(lines) > 1 and HEADER_LINE.match(lines[1]) is not None
    rows = []
    for number, line in enumerate(lines):
        if headed and number == 1:
            continue
        cells = [_unescaped(cell.strip()) for cell in CELL_BORDER.split(line[1:-1])]
        header = headed and number == 0
        rows.append(Row(tuple(Cell((Paragraph(line_inlines([cell])),) if cell else (), header) for cell in cells)))
    alike = len({len(row.cells) for row in rows}) == 1
    return Table(tuple(rows)) if alike else None


def _unescaped(cell: str) -> str:
    return re.sub(r"\\([\\|])", r"\1", cell)


def line_inlines(lines: Sequence[str]) -> tuple[Inline, ...]:
    """Lines of text as inlines; addresses become links."""
    result: list[Inline] = []
    for number, line in enumerate(lines):
        if number:
            result.append(Break())
        at = 0
        for found in ADDRESS.finditer(line):
            address = found[0].rstrip(CLOSING)
            if address.endswith("//"):
                continue
            if found.start() > at:
                result.append(Text(line[at : found.start()]))
            result.append(Text(address, (Mark("link", address),)))
            at = found.start() + len(address)
        if at < len(line):
            result.append(Text(line[at:]))
    return tuple(result)


def normal(text: str | None) -> str | None:
    """The normal form of a text."""
    return write(read(text))


def key(document: Document) -> str:
    return normal(write(document)) or ""


PLAIN = Format("plain", read, write, key, marks=frozenset())
