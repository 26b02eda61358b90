"""Encoded queries as an instance reads them: leniently. What it cannot read it leaves out, and answers the rest.

That is the trap for callers: `sysparm_query=no_such_field=1` lets every row through (unless the property
glide.invalid_query.returns_no_rows is set). Comparisons of texts ignore case, as the vendor's databases do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, str]
# Longest first: "NOT LIKE" before "LIKE", ">=" before ">".
OPERATORS = (
    *("ISNOTEMPTY", "STARTSWITH", "ENDSWITH", "NOT LIKE", "CONTAINS", "ISEMPTY", "NOT IN", "BETWEEN", "LIKE", "IN"),
    *("!=", ">=", "<=", "=", ">", "<"),
)
TERM = re.compile(rf"([a-z_0-9.]+?)({'|'.join(map(re.escape, OPERATORS))})(.*)", re.DOTALL)


@dataclass
class Term:
    path: str
    operator: str
    value: str


@dataclass
class Query:
    """groups: alternatives, each of conditions that all must hold, each of terms one of which must."""

    groups: list[list[list[Term]]] = field(default_factory=lambda: [[]])
    order: list[tuple[str, bool]] = field(default_factory=list)  # (column, descending)
    invalid: bool = False


def parse(text: str, known: Callable[[str], bool], script: Callable[[str], str]) -> Query:
    """known: whether a path can be compared. script: the value of "javascript:…"."""
    found = Query()
    for piece in text.split("^"):
        if not piece:
            continue
        if piece.startswith("ORDERBY"):
            column = piece.removeprefix("ORDERBY")
            found.order.append((column.removeprefix("DESC"), column.startswith("DESC")))
            continue
        if piece.startswith("NQ"):
            found.groups.append([])
            piece = piece[2:]
        alternative = piece.startswith("OR")
        match = TERM.fullmatch(piece[2:] if alternative else piece)
        if not match or not known(match[1]):
            found.invalid = True
            continue
        value = script(match[3]) if match[3].startswith("javascript:") else match[3]
        term = Term(match[1], match[2], value)
        if alternative and found.groups[-1]:
            found.groups[-1][-1].append(term)
        else:
            found.groups[-1].append([term])
    return found


def matches(query: Query, value_of: Callable[[str], str], clock: Callable[[str, str], str]) -> bool:
    """value_of: a path's stored value. clock: (path, value asked for) → the value as the instance reads it."""
    return any(
        all(any(_holds(term, value_of(term.path), clock(term.path, term.value)) for term in terms) for terms in group)
        for group in query.groups
    )


def ordered(rows: Sequence[Any], query: Query, value_of: Callable[[Any, str], str]) -> list[Any]:
    found = list(rows)
    for column, descending in reversed(query.order):
        found.sort(key=lambda row: value_of(row, column), reverse=descending)
    return found


def _holds(term: Term, held: str, asked: str) -> bool:
    low, wanted = held.lower(), asked.lower()
    match term.operator:
        case "=":
            return low == wanted
        case "!=":
            return low != wanted
        case "LIKE" | "CONTAINS":
            return _like(low, wanted)
        case "NOT LIKE":
            return not _like(low, wanted)
        case "STARTSWITH":
            return low.startswith(wanted)
        case "ENDSWITH":
            return low.endswith(wanted)
        case "ISEMPTY":
            return held == ""
        case "ISNOTEMPTY":
            return held != ""
        case "IN":
            return low in wanted.split(",")
        case "NOT IN":
            return low not in wanted.split(",")
        case "BETWEEN":
            first, _, last = asked.partition("@")
            return first <= held <= last
    if held == "":
        return False
    return {">": held > asked, "<": held < asked, ">=": held >= asked, "<=": held <= asked}[term.operator]


def _like(text: str, wanted: str) -> bool:
    """A percent sign is a wildcard there."""
    return bool(re.search(".*".join(re.escape(part) for part in wanted.split("%")), text, re.DOTALL))
