"""An edited line of text carried into the rich line it came from: what was not edited keeps its marks and mentions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mappings.transforms.align import opcodes
from mappings.transforms.document import Atom, Break, Format, Inline, Mark, Text, joined
from mappings.transforms.plain import is_address

# An address is one word, with its brackets where it follows a link: half an address leads nowhere.
WORD = re.compile(r" <[^\s<>]+>|https?://[^\s<>]+|\w+|\s|[^\w\s]")


@dataclass(frozen=True, slots=True)
class _Letter:
    """One character of a line as a format shows it, and the inline it belongs to."""

    character: str
    shown: frozenset[tuple[str, str | None]]  # marks that the format shows
    marks: tuple[Mark, ...]  # all marks
    owner: int = -1  # index of the atom, break or link it belongs to as a whole; -1: plain text
    place: int = 0  # within its owner
    tail: bool = False  # part of the address that follows a link in plain text


@dataclass(frozen=True, slots=True)
class _Owner:
    inline: Inline | None  # None: a link, whose words stay text
    size: int
    marks: tuple[Mark, ...] = ()
    tail: int = 0  # how many of its letters are the address behind a link


def patch_inlines(old: Sequence[Inline], new: Sequence[Inline], seen: Format) -> tuple[Inline, ...]:
    """`old` with the words that `new`, the edited line as `seen` shows it, brings."""
    owners: list[_Owner] = []
    before = _letters(old, seen, owners)
    after = _letters(new, seen, owners)
    words, other = _words(before), _words(after)
    result: list[_Letter] = []
    keys = [_word_key(before, word) for word in words], [_word_key(after, word) for word in other]
    for what, i1, i2, j1, j2 in opcodes(*keys):
        start, end = _span(words, i1, i2, len(before))
        if what == "equal":
            result += before[start:end]
        elif what != "delete":
            hidden = _hidden_marks(before, start, end)
            first, last = _span(other, j1, j2, len(after))
            result += [_with_marks(letter, hidden) for letter in after[first:last]]
    return joined(_inlines(result, owners))


def _letters(inlines: Iterable[Inline], seen: Format, owners: list[_Owner]) -> list[_Letter]:
    letters: list[_Letter] = []
    run: list[_Letter] = []  # the words of a link, where the format shows its address behind them
    run_marks: tuple[Mark, ...] = ()

    def close_run() -> None:
        if run:
            letters.extend(_link_letters(run, run_marks, owners))
            run.clear()

    for inline in inlines:
        marks = inline.marks if isinstance(inline, Text) else ()
        link = tuple(mark for mark in marks if mark.kind == "link")
        if "link" in seen.marks or link != run_marks:
            close_run()
        run_marks = link
        shown = frozenset((mark.kind, mark.value) for mark in marks if mark.kind in seen.marks)
        if isinstance(inline, Text):
            text = [_Letter(character, shown, marks) for character in inline.text]
            (run if link and "link" not in seen.marks else letters).extend(text)
            continue
        text_of = "\n" if isinstance(inline, Break) else inline.text
        if isinstance(inline, Atom) and inline.kind == "card" and "link" in seen.marks and "card" not in seen.atoms:
            shown = frozenset({("link", inline.ref)})
        owners.append(_Owner(inline, len(text_of)))
        letters += [_Letter(one, shown, (), len(owners) - 1, place) for place, one in enumerate(text_of)]
    close_run()
    return letters


def _link_letters(run: Sequence[_Letter], marks: tuple[Mark, ...], owners: list[_Owner]) -> list[_Letter]:
    """The letters of a link in plain text: its words, then its address in angle brackets if they do not show it."""
    words, address = "".join(letter.character for letter in run), marks[0].value or ""
    tail = "" if is_address(words, address) else f" <{address}>"
    owners.append(_Owner(None, len(run) + len(tail), marks, len(tail)))
    owner = len(owners) - 1
    letters = [_Letter(one.character, one.shown, one.marks, owner, place) for place, one in enumerate(run)]
    return letters + [
        _Letter(one, frozenset(), marks, owner, place, tail=True) for place, one in enumerate(tail, start=len(run))
    ]


def _words(letters: Sequence[_Letter]) -> list[tuple[int, int]]:
    return [found.span() for found in WORD.finditer("".join(letter.character for letter in letters))]


def _word_key(letters: Sequence[_Letter], word: tuple[int, int]) -> tuple[object, ...]:
    return tuple((letter.character, letter.shown) for letter in letters[slice(*word)])


def _span(words: Sequence[tuple[int, int]], first: int, last: int, end: int) -> tuple[int, int]:
    start = words[first][0] if first < len(words) else end
    return start, words[last - 1][1] if last > first else start


def _hidden_marks(letters: Sequence[_Letter], start: int, end: int) -> tuple[Mark, ...]:
    """The marks that new words get where they replace these letters: those that all of them, or for an insertion
    both neighbours, carry."""
    around = letters[start:end] if end > start else letters[max(start - 1, 0) : start + 1]
    if end == start and (start == 0 or start == len(letters)):
        return ()
    shared = [set(letter.marks) for letter in around]
    return tuple(mark for mark in around[0].marks if all(mark in marks for marks in shared)) if around else ()


def _with_marks(letter: _Letter, hidden: tuple[Mark, ...]) -> _Letter:
    """A new letter with the marks around it that the format of the edit cannot show."""
    shown = {kind for kind, _ in letter.shown}
    own = {mark.kind for mark in letter.marks}
    more = tuple(mark for mark in hidden if mark.kind not in own and mark.kind not in shown)
    return _Letter(letter.character, letter.shown, letter.marks + more, letter.owner, letter.place, letter.tail)


def _inlines(letters: Sequence[_Letter], owners: Sequence[_Owner]) -> list[Inline]:
    intact = _intact(letters, owners)
    result: list[Inline] = []
    for letter in letters:
        owner = owners[letter.owner] if letter.owner >= 0 else None
        if owner is None:
            result.append(Text(letter.character, letter.marks))
        elif letter.owner not in intact:
            # Its words were edited: what is left of it is text. A link loses its address.
            kept = tuple(mark for mark in letter.marks if mark not in owner.marks)
            result.append(Break() if isinstance(owner.inline, Break) else Text(letter.character, kept))
        elif owner.inline is None:
            if not letter.tail:
                result.append(Text(letter.character, letter.marks))
        elif letter.place == 0:
            result.append(owner.inline)
    return result


def _intact(letters: Sequence[_Letter], owners: Sequence[_Owner]) -> set[int]:
    """The owners all of whose letters are still there and still together, but for new words within a link."""
    places: dict[int, list[tuple[int, int]]] = {}
    for at, letter in enumerate(letters):
        if letter.owner >= 0:
            places.setdefault(letter.owner, []).append((at, letter.place))
    result = set()
    for number, found in places.items():
        owner = owners[number]
        if owner.tail:
            # New words may stand among the words of a link, as long as its address follows them.
            tail = [at for at, _ in found if letters[at].tail]
            before = letters[tail[0] - 1] if tail and tail[0] else None
            if len(tail) == owner.tail and before is not None and set(owner.marks) <= set(before.marks):
                result.add(number)
        elif [place for _, place in found] == list(range(owner.size)) and found[-1][0] - found[0][0] == owner.size - 1:
            result.add(number)
    return result
