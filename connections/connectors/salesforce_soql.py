"""SOQL text: literals that cannot break out, conditions that stay conditions, lists that fit into a URL.

Pure. Facts: Salesforce SOQL and SOSL Reference, "Quoted String Escape Sequences" and "Date Formats and Date Literals".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote_plus

# Salesforce answers 414 somewhere above 16,384 bytes of request line and headers; the rest is for headers.
MAX_QUERY_BYTES = 12_000
# One read of 200 rows fits one answer even with long texts, and the vendor's write limit is 200 as well.
MAX_IDS = 200

_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
_SUFFIX = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
# Words that end a condition. Inside it they can only be an attempt to change the query around it.
_NOT_IN_CONDITION = {"ORDER", "LIMIT", "OFFSET", "GROUP", "HAVING", "FOR", "WITH", "USING", "UPDATE", "TYPEOF"}
_ONLY_IN_SUBQUERY = {"SELECT", "FROM", "WHERE"}
_ALL_ROWS = ("ALL", "ROWS")
_TOKEN = re.compile(
    r"""\s+|'(?:[^'\\]|\\.)*'|[()]|[A-Za-z_][\w.]*(?::\d+)?"""
    r"""|\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))?"""
    r"""|[+-]?\d+(?:\.\d+)?|!=|<>|<=|>=|[=<>,]""",
    re.DOTALL,
)


def text(value: str) -> str:
    """`value` as a SOQL string literal; NUL, which SOQL cannot hold, is left out."""
    return "'" + "".join(_ESCAPES.get(char, char) for char in value.replace("\0", "")) + "'"


def contains(value: str) -> str:
    """`value` as the pattern of LIKE for "contains", its own wildcards taken literally."""
    inner = text(value)[1:-1].replace("%", "\\%").replace("_", "\\_")
    return f"'%{inner}%'"


def literal(value: object, kind: str) -> str:
    """A normalised value as a SOQL literal of that kind. Raises ValueError where it is not of the kind."""
    if value is None:
        return "null"
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "number":
        if isinstance(value, str):
            value = float(value) if "." in value else int(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{value!r} is not a number")
        return repr(value)
    if kind == "date":
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", str(value)):
            raise ValueError(f"{value!r} is not a date")
        return str(value)
    if kind == "datetime":
        return moment(str(value))
    return text(str(value))


def moment(value: str) -> str:
    """A normalised datetime as a SOQL literal in whole seconds, cut off, so that ">=" lets nothing slip by."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z", value):
        raise ValueError(f"{value!r} is not a point in time")
    return value[:19] + "Z"


def name(value: str) -> str:
    """`value` if it can be the API name of an object or field. Raises ValueError."""
    if not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} is no Salesforce name")
    return value


def is_id(value: str) -> bool:
    return bool(_ID.fullmatch(value))


def long_id(value: str) -> str:
    """The 18-character form of an id, which survives systems that ignore case; anything else as it is."""
    if len(value) != 15 or not is_id(value):
        return value
    suffix = ""
    for start in (0, 5, 10):
        bits = sum(1 << i for i, char in enumerate(value[start : start + 5]) if char.isupper())
        suffix += _SUFFIX[bits]
    return value + suffix


def condition(where: str) -> str:
    """A person's SOQL condition in parentheses, or "". Raises ValueError, in words, where it is more than that."""
    where = where.strip()
    if not where:
        return ""
    depth = 0
    subqueries: list[int] = []  # depths at which a SELECT was opened
    position = 0
    previous = ""
    while position < len(where):
        match = _TOKEN.match(where, position)
        if not match:
            raise ValueError(f"The condition cannot be read at “{where[position : position + 12]}”.")
        token = match[0]
        position = match.end()
        word = token.upper()
        if token.isspace():
            continue
        if token == "(":  # noqa: S105  a parenthesis, no password
            depth += 1
        elif token == ")":  # noqa: S105
            depth -= 1
            subqueries = [d for d in subqueries if d <= depth]
            if depth < 0:
                raise ValueError("The condition closes a parenthesis that it did not open.")
        elif word == "SELECT" and previous == "(":
            subqueries.append(depth)
        elif (
            (word in _ONLY_IN_SUBQUERY and not subqueries) or word in _NOT_IN_CONDITION or (previous, word) == _ALL_ROWS
        ):
            raise ValueError(f"The condition may not contain {word}; write only what would follow WHERE.")
        previous = word
    if depth:
        raise ValueError("The condition opens a parenthesis that it does not close.")
    return f"({where})"


def both(*conditions: str) -> str:
    """The WHERE of a query, of those conditions that are not empty; "" if none is."""
    given = [c for c in conditions if c]
    return " WHERE " + " AND ".join(given) if given else ""


def one_of(field: str, values: Iterable[str]) -> str:
    """The condition that a text field or id is one of `values`."""
    return f"{field} IN ({','.join(map(text, values))})"


def chunks(values: Iterable[str], around: int) -> Iterator[list[str]]:
    """`values` in lists that fit, as literals, one query of which `around` bytes are taken; MAX_IDS at most."""
    chunk: list[str] = []
    used = around
    for value in values:
        size = len(quote_plus(text(value))) + 3  # its comma, encoded
        if chunk and (len(chunk) == MAX_IDS or used + size > MAX_QUERY_BYTES):
            yield chunk
            chunk, used = [], around
        chunk.append(value)
        used += size
    if chunk:
        yield chunk
