"""A mapping side's scope: conditions on columns, one a line, all of which must hold.

    status = open, waiting        one of these
    status != done                none of these; an empty value too is none of them
    amount >= 10
    closed_at is empty
    team is not empty

Values are bound, columns are looked up: no SQL of a person ever reaches a database. What needs more is a view.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from connections.connectors import sql_keys as keys
from connections.connectors import sql_values as values
from connections.connectors.base import Refused, Values
from connections.connectors.sql_shape import Shape

_LINE = re.compile(
    r"(?P<column>[^\s=!<>]+)\s*(?:(?P<empty>is\s+(?:not\s+)?empty)|(?P<sign>!=|>=|<=|=|>|<)\s*(?P<rest>.+))"
)
_SIGNS = {"=": "in", "!=": "not in", ">": "gt", ">=": "ge", "<": "lt", "<=": "le"}


def condition(shape: Shape, scope: Values, dialect: str) -> sa.ColumnElement[bool] | None:
    """The scope as a condition; None where everything is let in. Raises Refused on a line that cannot be read."""
    found = [_of_line(shape, line.strip(), dialect) for line in _lines(scope)]
    return sa.and_(*found) if found else None


def _lines(scope: Values) -> Sequence[str]:
    return [line for line in str(scope.get("where") or "").splitlines() if line.strip()]


def _of_line(shape: Shape, line: str, dialect: str) -> sa.ColumnElement[bool]:
    read = _LINE.fullmatch(line)
    column = shape.column(read["column"]) if read else None
    if read is None or column is None or column.name in shape.unreadable:
        raise _unreadable(line, f"“{read['column']}” is no column of {shape.name}" if read else "it is no condition")
    if read["empty"]:
        empty = column.sa.is_(None) | (column.sa == "") if column.stored == values.TEXT else column.sa.is_(None)
        return sa.not_(empty) if "not" in read["empty"] else empty
    sign = _SIGNS[read["sign"]]
    texts = [part.strip() for part in read["rest"].split(",")] if sign in ("in", "not in") else [read["rest"].strip()]
    try:
        wanted = [values.compared(column, _normal(column, text), dialect) for text in texts]
    except (ValueError, ArithmeticError) as error:
        raise _unreadable(line, str(error)) from None
    if any(one is None for one in wanted) or column.shown.kind == "set":
        raise _unreadable(line, "such a value cannot be compared with; use “is empty”")
    match sign:
        case "in":
            return column.sa.in_(wanted)
        case "not in":
            return column.sa.is_(None) | column.sa.not_in(wanted)
        case "gt":
            return column.sa > wanted[0]
        case "ge":
            return column.sa >= wanted[0]
        case "lt":
            return column.sa < wanted[0]
        case _:
            return column.sa <= wanted[0]


def _normal(column: values.Column, text: str) -> Any:
    """A value as people type it, in the normal form."""
    match column.stored:
        case values.BOOLEAN:
            if text.lower() not in ("true", "false", "yes", "no"):
                raise ValueError("write true or false")
            return text.lower() in ("true", "yes")
        case values.INTEGER | values.DECIMAL | values.FLOAT:
            return values.number(values.exact(text))
        case values.INSTANT | values.LOCAL:
            return values.stamp(values.moment(text, None))
    return text


def _unreadable(line: str, why: str) -> Refused:
    return Refused(
        f"The condition “{line[:100]}” cannot be read: {why}. Nothing was read or written, or records would be let in "
        "that should not. Write it like: status = open, waiting."
    )


def equals(column: values.Column, given: Sequence[str], folded: Sequence[str], dialect: str) -> Any:
    """Equal whatever the case. More than that may come back; the caller looks again."""
    if column.shown.kind == "reference":
        parsed = [key[0] for text in given if (key := keys.parsed([column], text, dialect)) is not None]
        return column.sa.in_(parsed)
    if column.options:
        wanted = [option for option in column.options if option.casefold() in set(folded)]
        return column.sa.in_(wanted)
    if column.stored == values.UUID:
        return sa.cast(column.sa, sa.Text).in_([text.lower() for text in given])
    text = sa.func.syncadmin_fold(column.sa) if dialect == "sqlite" else sa.func.lower(column.sa)
    if dialect == "oracle" and column.room.padded:
        text = sa.func.rtrim(text)  # with it alone a CHAR keeps its blanks when it is compared
    lowered = sorted({*folded, *(one.casefold() if dialect == "sqlite" else one.lower() for one in given)})
    return sa.or_(column.sa.in_(given), text.in_(lowered))
