"""Encoded queries, the text of `sysparm_query`: values that cannot break out, conditions that stay conditions. Pure.

ServiceNow leaves out what it cannot read of a query, an unknown field for example, and answers the rest: a filter that
is wrong lets everything through. So no condition is sent before its fields are known, and what comes back is compared.
Facts: ServiceNow Docs, "Encoded query strings"; SDK guide, "Encoded Queries" (^OR binds to the one condition before it,
^NQ starts a new query).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from urllib.parse import quote_plus

# Servers take 8 KB of request line; columns and the address need the rest.
MAX_QUERY_BYTES = 5_000
# Ids of 32 signs and their commas, encoded, fill 3.5 KB; an answer with 100 whole tasks stays below 1 MB.
MAX_IDS = 100

_ID = re.compile(r"[0-9a-z]{32}")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_OPERATORS = (
    *("ISNOTEMPTY", "ISEMPTY", "EMPTYSTRING", "ANYTHING", "STARTSWITH", "ENDSWITH", "DOES NOT CONTAIN", "CONTAINS"),
    *("NOT LIKE", "NOTLIKE", "LIKE", "NOT IN", "IN", "BETWEEN", "INSTANCEOF", "NSAMEAS", "SAMEAS", "DATEPART"),
    *("RELATIVEGE", "RELATIVEGT", "RELATIVELE", "RELATIVELT", "RELATIVEEE", "NOTON", "ON", "DYNAMIC"),
    *("!=", ">=", "<=", "=", ">", "<"),
)
_TERM = re.compile(rf"([a-z_][a-z0-9_]*(?:\.[a-z0-9_]+)*)({'|'.join(map(re.escape, _OPERATORS))})(.*)", re.DOTALL)
# Words that are no condition: they order, group, join or search, and would change the query around them.
_NOT_IN_CONDITION = ("ORDERBY", "GROUPBY", "TRENDBY", "RLQUERY", "ENDRLQUERY", "SUBQUERY", "ENDSUBQUERY", "JOIN", "123")
# What ServiceNow may take for more than a sign of a value: a separator, or a script to run.
_UNSAFE = re.compile(r"\^|[\r\n]|javascript:", re.IGNORECASE)


def is_id(value: object) -> bool:
    return isinstance(value, str) and bool(_ID.fullmatch(value))


def name(value: str) -> str:
    """`value` if it can be the name of a table or column. Raises ValueError."""
    if not _NAME.fullmatch(value):
        raise ValueError(f"“{value}” is no ServiceNow name")
    return value


def term(field: str, value: str) -> str:
    """A condition met by every record whose `field` is `value`, and perhaps by more: the caller compares.

    Nobody tells how a caret is escaped. So a value with a sign that means something is looked for by its longest part
    without any. Raises ValueError where no part is left.
    """
    if not _UNSAFE.search(value):
        return f"{field}={value}"
    part = max((part.strip() for part in _UNSAFE.split(value)), key=len)
    if not part:
        raise ValueError(f"“{value}” holds nothing that ServiceNow can be asked for")
    return f"{field}LIKE{part}"


def any_of(terms: Iterable[str]) -> str:
    return "^OR".join(terms)


def one_of(field: str, ids: Iterable[str]) -> str:
    """That `field` is one of these ids or names, which hold no comma."""
    return f"{field}IN{','.join(ids)}"


def plain(text: str) -> str:
    """What of `text` can stand in a search for a part of a name."""
    return max(_UNSAFE.split(text), key=len).strip()


def condition(where: str, known: Callable[[str], bool]) -> list[str]:
    """A person's encoded query as its alternatives (the parts between ^NQ). [""] where there is none.

    known: whether a field, perhaps one of a related record ("caller_id.vip"), is there. Raises ValueError, in words.
    """
    where = where.strip()
    where = where.removesuffix("^EQ").removeprefix("^")
    if not where:
        return [""]
    if "^^" in where:
        raise ValueError("The filter may not hold two carets in a row.")
    groups: list[list[str]] = [[]]
    for piece in where.split("^"):
        if piece.startswith(_NOT_IN_CONDITION) or not piece:
            raise ValueError(f"The filter may hold only conditions, and no “{piece[:20]}”.")
        text = piece
        if piece.startswith("NQ"):
            groups.append([])
            text = piece[2:]
        elif piece.startswith("OR"):
            text = piece[2:]
            if not groups[-1]:
                raise ValueError("The filter begins with OR.")
        match = _TERM.fullmatch(text)
        if not match:
            raise ValueError(f"The filter cannot be read at “{text[:40]}”.")
        if not known(match[1]):
            raise ValueError(f"The filter names a field that is not there: {match[1]}.")
        groups[-1].append(("OR" if piece.startswith("OR") else "") + text)
    return ["^".join(group) for group in groups]


def combine(groups: Sequence[str], *alternatives: str, order: Sequence[str] = ()) -> str:
    """Records that fit one of `groups` and one of `alternatives` (any record where there are none), in that order.

    ^NQ has no parentheses, so each group is written out with each alternative.
    """
    pairs = [[part for part in (group, other) if part] for group in groups or [""] for other in alternatives or ("",)]
    query = "^NQ".join("^".join(pair) for pair in pairs if pair)
    return (query + "".join(f"^ORDERBY{field}" for field in order)).removeprefix("^")


def chunks(values: Iterable[str], around: int = 0, copies: int = 1) -> Iterator[list[str]]:
    """`values` in lists that fit, written out `copies` times, into a query of which `around` bytes are taken.

    MAX_IDS at most.
    """
    chunk: list[str] = []
    used = around
    for value in values:
        size = (len(quote_plus(value)) + 9) * copies  # "^OR" and "%2C", encoded
        if chunk and (len(chunk) == MAX_IDS or used + size > MAX_QUERY_BYTES):
            yield chunk
            chunk, used = [], around
        chunk.append(value)
        used += size
    if chunk:
        yield chunk
