"""The id of a row: its key's columns as one text, the same in Python, in our queries and in our triggers."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from connections.connectors.sql_room import Padded
from connections.connectors.sql_values import ENUM, INTEGER, TEXT, UUID, Column

# How a column may be stored whose value can be (part of) an id: its text must be the same everywhere.
KEY_STORES = (INTEGER, TEXT, UUID, ENUM)
JOINT = "~"  # between the parts of a composite key
# The ledger keeps ids of at most this many characters.
LONGEST_ID = 200


def id_of(key: Sequence[Column], raw: Sequence[Any]) -> str | None:
    """The id of a row from the values of its key as read; None where it has none (an empty part, or too long)."""
    parts = []
    for column, value in zip(key, raw, strict=True):
        if value is None:
            return None
        text = str(value).lower() if column.stored == UUID else str(value)
        parts.append(_escaped(text) if len(key) > 1 else text)
    joined = JOINT.join(parts)
    return joined if joined and len(joined) <= LONGEST_ID else None


def parsed(key: Sequence[Column], external_id: str, dialect: str) -> tuple[Any, ...] | None:
    """The key's values as the driver takes them; None for a text that is the id of no row."""
    parts = external_id.split(JOINT) if len(key) > 1 else [external_id]
    if len(parts) != len(key) or "\x00" in external_id or not external_id or len(external_id) > LONGEST_ID:
        return None
    found = []
    for column, part in zip(key, parts, strict=True):
        text = _unescaped(part) if len(key) > 1 else part
        value = _value(column, text, dialect)
        if value is None:
            return None
        found.append(value)
    return tuple(found) if id_of(key, found) == external_id else None


def _value(column: Column, text: str, dialect: str) -> Any:
    if column.stored == INTEGER:
        # Nineteen digits are the longest whole number any of these databases has for a key.
        return int(text) if re.fullmatch(r"-?\d{1,19}", text) and -(2**63) <= int(text) < 2**63 else None
    if column.stored == UUID:
        try:
            found = uuid.UUID(text)
        except ValueError:
            return None
        return str(found) if dialect == "sqlite" else found
    if isinstance(column.sa.type, Padded) and text.endswith(" "):
        return None
    return None if column.stored == ENUM and column.options and text not in column.options else text


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace(JOINT, "%7E")


def _unescaped(text: str) -> str:
    return text.replace("%7E", JOINT).replace("%25", "%")


def id_expression(key: Sequence[Column], table: Any, dialect: str) -> sa.ColumnElement[str]:
    """The id of a row of `table` (a table, an alias, NEW or OLD) as the database computes it."""
    parts = [_part(column, table.c[column.name], dialect, len(key) > 1) for column in key]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.concat(JOINT).concat(part)
    return joined


def _part(column: Column, source: Any, dialect: str, many: bool) -> sa.ColumnElement[str]:
    text: Any = sa.cast(source, sa.CHAR(LONGEST_ID) if dialect == "mysql" else sa.Text)
    if column.stored == UUID:
        text = sa.func.lower(text)
    if many and column.stored in (TEXT, ENUM):
        text = sa.func.replace(sa.func.replace(text, "%", "%25"), JOINT, "%7E")
    return text


def where(key: Sequence[Column], wanted: Sequence[tuple[Any, ...]]) -> sa.ColumnElement[bool]:
    """Rows whose key is among `wanted`."""
    if not wanted:
        return sa.false()
    if len(key) == 1:
        return key[0].sa.in_([values[0] for values in wanted])
    return sa.or_(*(sa.and_(*(c.sa == value for c, value in zip(key, one, strict=True))) for one in wanted))


def after(columns: Sequence[sa.ColumnElement[Any]], last: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Rows that come after `last` in the order of `columns`."""
    found: list[sa.ColumnElement[bool]] = []
    for number, column in enumerate(columns):
        same = [c == value for c, value in zip(columns[:number], last, strict=False)]
        found.append(sa.and_(*same, column > last[number]))
    return sa.or_(*found)
