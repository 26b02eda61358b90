"""Which parts of two sequences are the same, in time that does not explode with their length."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher

# Beyond so many pairs within the edited stretch it counts as rewritten: comparing costs up to the cube of its length.
MOST_PAIRS = 1_000_000

Opcode = tuple[str, int, int, int, int]


def opcodes(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[Opcode]:
    """As difflib's get_opcodes: (what, old start, old end, new start, new end), "what" being "equal" or an edit."""
    shorter = min(len(old), len(new))
    head = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    tail = next((at for at in range(shorter - head) if old[-1 - at] != new[-1 - at]), shorter - head)
    result: list[Opcode] = [("equal", 0, head, 0, head)] if head else []
    rest_old, rest_new = old[head : len(old) - tail], new[head : len(new) - tail]
    if len(rest_old) * len(rest_new) > MOST_PAIRS:
        result.append(("replace", head, len(old) - tail, head, len(new) - tail))
    else:
        matcher = SequenceMatcher(None, rest_old, rest_new, autojunk=False)
        result += [(what, i1 + head, i2 + head, j1 + head, j2 + head) for what, i1, i2, j1, j2 in matcher.get_opcodes()]
    if tail:
        result.append(("equal", len(old) - tail, len(old), len(new) - tail, len(new)))
    return result
