"""One document model for rich text. Each format has a reader into it and a writer from it.

Blocks hold blocks or inlines, as tuples. A node that was read remembers what it was read from (`raw`), so that a
writer of the same format gives back untouched nodes exactly as they were. Two nodes are equal if they say the same,
whatever they were read from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar


@dataclass(frozen=True, slots=True)
class Raw:
    """What a node was read from, in its format's own terms."""

    format: str
    data: Any
    whole: bool = True  # False: the content was edited since, only the shell around it still holds


# Inlines ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mark:
    """`kind`: strong, em, code, strike, underline, sub, sup, link (value: address), colour, background (value:
    "#rrggbb"), or "<format>:<name>" for a mark that only its own format knows."""

    kind: str
    value: str | None = None
    raw: Raw | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    marks: tuple[Mark, ...] = ()

    def link(self) -> str | None:
        return next((mark.value for mark in self.marks if mark.kind == "link"), None)


@dataclass(frozen=True, slots=True)
class Break:
    """A new line within a paragraph."""

    raw: Raw | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Atom:
    """Something in the line that is more than its text.

    `kind`: mention (ref: account id), emoji (ref: short name), status (ref: colour), date (ref: "YYYY-MM-DD"),
    card (ref: address), other.
    """

    kind: str
    text: str  # what people read
    ref: str | None = None
    raw: Raw | None = field(default=None, compare=False, repr=False)


Inline = Text | Break | Atom


# Blocks -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Paragraph:
    inlines: tuple[Inline, ...] = ()
    raw: Raw | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Heading:
    level: int
    inlines: tuple[Inline, ...] = ()
    raw: Raw | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Code:
    text: str
    language: str | None = None
    raw: Raw | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Item:
    blocks: tuple[Block, ...] = ()
    checked: bool | None = None  # of a task list; None: not a task
    raw: Raw | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Listing:
    """A bullet, numbered or task list."""

    items: tuple[Item, ...]
    ordered: bool = False
    start: int = 1
    raw: Raw | None = field(default=None, compare=False, repr=False)

    def is_tasks(self) -> bool:
        return bool(self.items) and all(item.checked is not None for item in self.items)


@dataclass(frozen=True, slots=True)
class Quote:
    blocks: tuple[Block, ...] = ()
    raw: Raw | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Panel:
    """A box around blocks; `kind`: info, note, warning, success, error, expand."""

    kind: str
    blocks: tuple[Block, ...] = ()
    raw: Raw | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Cell:
    blocks: tuple[Block, ...] = ()
    header: bool = False
    raw: Raw | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Row:
    cells: tuple[Cell, ...] = ()
    raw: Raw | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Table:
    rows: tuple[Row, ...] = ()
    raw: Raw | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """A horizontal line."""

    raw: Raw | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Opaque:
    """A block only its own format knows (media, macros); elsewhere it is its text."""

    text: str
    raw: Raw | None = field(default=None, compare=False, repr=False)


Block = Paragraph | Heading | Code | Listing | Quote | Panel | Table | Rule | Opaque


@dataclass(frozen=True, slots=True)
class Document:
    blocks: tuple[Block, ...] = ()
    raw: Raw | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Format:
    """How one system writes rich text.

    `read` takes any value of the field, None included; `write` gives None for a document without blocks. `marks` and
    `atoms` name what the format can express by itself; the rest is lost there, or kept only as `raw`.
    """

    name: str
    read: Callable[[Any], Document]
    write: Callable[[Document], Any]
    key: Callable[[Document], str]  # equal for two documents that say the same in this format
    marks: frozenset[str]
    atoms: frozenset[str] = frozenset()


Node = TypeVar("Node", bound=Any)


def changed(node: Node, **fields: Any) -> Node:
    """The node with other content; what lay around the content stays."""
    shell = replace(node.raw, whole=False) if node.raw is not None else None
    return replace(node, **fields, raw=shell)


def whole(node: Any, format_name: str) -> Any:
    """What the node was read from if that is this format and the node is untouched, else None."""
    raw = node.raw
    return raw.data if raw is not None and raw.format == format_name and raw.whole else None


def shell(node: Any, format_name: str) -> Any:
    """What the node was read from if that is this format, else None."""
    raw = node.raw
    return raw.data if raw is not None and raw.format == format_name else None


def joined(inlines: Iterable[Inline]) -> tuple[Inline, ...]:
    """The inlines with neighbouring texts of the same marks made one, and empty ones left out."""
    result: list[Inline] = []
    for inline in inlines:
        if isinstance(inline, Text):
            if not inline.text:
                continue
            last = result[-1] if result else None
            if isinstance(last, Text) and set(last.marks) == set(inline.marks):
                result[-1] = Text(last.text + inline.text, last.marks)
                continue
        result.append(inline)
    return tuple(result)


def inline_text(inlines: Iterable[Inline]) -> str:
    """The bare words, a new line for a break, links without their address."""
    return "".join("\n" if isinstance(inline, Break) else inline.text for inline in inlines)
