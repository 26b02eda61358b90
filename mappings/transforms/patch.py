"""An edited copy carried into the rich document it came from: only what was edited is replaced.

Another format shows the document in its own way (`seen`). The blocks it shows are compared with those of the edited
copy: a block that reads the same stays as it is, an edited one is patched inside, new ones are taken over.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mappings.transforms.align import opcodes
from mappings.transforms.document import (
    Block,
    Cell,
    Code,
    Document,
    Format,
    Heading,
    Item,
    Listing,
    Panel,
    Paragraph,
    Quote,
    Row,
    Table,
    changed,
)
from mappings.transforms.patch_inlines import patch_inlines

ALIKE = 0.3  # share of common words from which one block is taken for the edited form of another
BARELY = 0.01  # counts as alike, less than any common word
MOST_PAIRS = 4_000  # comparisons within one edited stretch; a rewritten document needs no finer pairing

Part = Any  # a block, an item of a list or a row of a table

_FAMILIES: tuple[tuple[type, ...], ...] = ((Paragraph, Heading), (Code,), (Listing,), (Quote, Panel), (Table,))


def patch_document(old: Document, new: Document, seen: Format) -> Document:
    """`old` with the edits that `new`, the edited copy in the format `seen`, brings."""
    return changed(old, blocks=patch_blocks(old.blocks, new.blocks, seen))


@dataclass(frozen=True, slots=True)
class _Kind:
    """How parts of one kind are compared and patched."""

    keys: Callable[[Any], list[str]]  # what the format shows of a part, in one or several pieces
    alike: Callable[[Any, Any], bool]  # whether one may be the edited form of the other
    patch: Callable[[Any, Any], Any]


def patch_blocks(old: Sequence[Block], new: Sequence[Block], seen: Format) -> tuple[Block, ...]:
    def keys(block: Block) -> list[str]:
        shown = seen.read(seen.write(Document((block,)))).blocks
        return [key for one in shown if (key := _key(seen, one))]

    return _patch(old, new, _Kind(keys, _same_family, lambda one, other: _patch_block(one, other, seen)))


def _key(seen: Format, *blocks: Block) -> str:
    return seen.key(Document(blocks))


def _same_family(old: Block, new: Block) -> bool:
    return any(isinstance(old, family) and isinstance(new, family) for family in _FAMILIES)


def _patch(old: Sequence[Part], new: Sequence[Part], kind: _Kind) -> tuple[Part, ...]:
    old_keys, new_keys = [kind.keys(part) for part in old], ["\n".join(kind.keys(part)) for part in new]
    unchanged = _unchanged(old_keys, new_keys)
    result: list[Part] = []
    done_old = done_new = 0
    # Each unchanged part parts the rest into stretches; the end closes the last one.
    for at, (first, last) in [*sorted(unchanged.items()), (len(old), (len(new), len(new)))]:
        result += _stretch(old[done_old:at], new[done_new:first], old_keys[done_old:at], new_keys[done_new:first], kind)
        result += old[at : at + 1]
        done_old, done_new = at + 1, last
    return tuple(result)


def _unchanged(old_keys: Sequence[Sequence[str]], new_keys: Sequence[str]) -> dict[int, tuple[int, int]]:
    """Which old parts still read the same: index -> (first, last + 1) of the new parts that show it."""
    pieces = [(number, key) for number, keys in enumerate(old_keys) for key in keys]
    found: dict[int, list[int]] = {}
    for what, i1, i2, j1, _ in opcodes([key for _, key in pieces], new_keys):
        if what == "equal":
            for offset in range(i2 - i1):
                found.setdefault(pieces[i1 + offset][0], []).append(j1 + offset)
    return {
        number: (places[0], places[-1] + 1)
        for number, places in found.items()
        if len(places) == len(old_keys[number]) and places[-1] - places[0] == len(places) - 1
    }


def _stretch(
    old: Sequence[Part], new: Sequence[Part], old_keys: Sequence[list[str]], new_keys: Sequence[str], kind: _Kind
) -> list[Part]:
    """The edited stretch between two unchanged parts. What the format does not show at all cannot have been edited
    and stays."""
    partners = _partners(old, new, old_keys, new_keys, kind)
    result: list[Part] = []
    done = 0
    for number, part in enumerate(old):
        if number in partners:
            at = partners[number]
            result += [*new[done:at], kind.patch(part, new[at])]
            done = at + 1
        elif not old_keys[number]:
            result.append(part)
    return result + list(new[done:])


def _partners(
    old: Sequence[Any], new: Sequence[Any], old_keys: Sequence[list[str]], new_keys: Sequence[str], kind: _Kind
) -> dict[int, int]:
    """Old index -> index of its edited form, in order; the pairing with the most words in common."""
    if not old or not new or len(old) * len(new) > MOST_PAIRS:
        return {}
    words = [_words("\n".join(keys)) for keys in old_keys], [_words(key) for key in new_keys]
    single = sum(1 for keys in old_keys if keys) == len(new) == 1
    best = [[0.0] * (len(new) + 1) for _ in range(len(old) + 1)]
    score = [[0.0] * len(new) for _ in old]
    for i in reversed(range(len(old))):
        for j in reversed(range(len(new))):
            if old_keys[i] and kind.alike(old[i], new[j]):
                common = _common(words[0][i], words[1][j])
                # What alone takes the place of one part is its edited form, whatever it says.
                score[i][j] = max(common, BARELY) if common >= ALIKE or single else 0.0
            best[i][j] = max(best[i + 1][j], best[i][j + 1], score[i][j] + best[i + 1][j + 1])
    partners, i, j = {}, 0, 0
    while i < len(old) and j < len(new):
        if score[i][j] and best[i][j] == score[i][j] + best[i + 1][j + 1]:
            partners[i] = j
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return partners


def _words(text: str) -> Counter[str]:
    # Beside words the symbols that carry meaning (emoji), not punctuation.
    return Counter(re.findall(r"\w+|[\u2000-\U0010ffff]", text.casefold()))


def _common(one: Counter[str], other: Counter[str]) -> float:
    return 2 * (one & other).total() / ((one.total() + other.total()) or 1)


# One part -----------------------------------------------------------------------------------------------------


def _patch_block(old: Block, new: Block, seen: Format) -> Block:
    """`old` with the edit, or `new` itself where the edit cannot be carried in exactly."""
    candidate = _candidate(old, new, seen)
    return candidate if _key(seen, candidate) == _key(seen, new) else new


def _candidate(old: Block, new: Block, seen: Format) -> Block:
    match old, new:
        case (Paragraph(), Paragraph()):
            return changed(old, inlines=patch_inlines(old.inlines, new.inlines, seen))
        case (Heading(), Heading()):
            return changed(old, level=new.level, inlines=patch_inlines(old.inlines, new.inlines, seen))
        case (Paragraph() | Heading(), Paragraph() | Heading()):
            return replace(new, inlines=patch_inlines(old.inlines, new.inlines, seen))
        case (Code(), Code()):
            return changed(old, text=new.text, language=new.language or old.language)
        case (Listing(), Listing()):
            items = _patch(old.items, new.items, _items(old, new, seen))
            return changed(old, items=items, ordered=new.ordered, start=new.start)
        case (Quote() | Panel(), Quote() | Panel()):
            return changed(old, blocks=patch_blocks(old.blocks, new.blocks, seen))
        case (Table(), Table()):
            return changed(old, rows=_patch(old.rows, new.rows, _rows(seen)))
    return new


def _items(old: Listing, new: Listing, seen: Format) -> _Kind:
    def keys(item: Item) -> list[str]:
        return [_key(seen, Listing((item,)))]

    def patch(one: Item, other: Item) -> Item:
        checked = one.checked if other.checked is None else other.checked
        return changed(one, blocks=patch_blocks(one.blocks, other.blocks, seen), checked=checked)

    return _Kind(keys, lambda one, other: True, patch)


def _rows(seen: Format) -> _Kind:
    def keys(row: Row) -> list[str]:
        return [_key(seen, Table((row,)))]

    def cell(one: Cell, other: Cell) -> Cell:
        if keys(Row((one,))) == keys(Row((other,))):
            return one
        return changed(one, blocks=patch_blocks(one.blocks, other.blocks, seen))

    def patch(one: Row, other: Row) -> Row:
        if len(one.cells) != len(other.cells):
            return other
        return changed(one, cells=tuple(cell(*pair) for pair in zip(one.cells, other.cells, strict=True)))

    return _Kind(keys, lambda one, other: True, patch)
