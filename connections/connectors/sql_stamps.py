"""What our writes leave in a row beside its values, as an application would: when, by whom, and that it changed."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from connections.connectors import sql_clock as clock
from connections.connectors import sql_values as values
from connections.connectors.sql_shape import XMIN, Shape
from connections.connectors.sql_values import Column

_TIMES, _NUMBERS = (values.LOCAL, values.INSTANT), (values.INTEGER, values.DECIMAL)


def stamps(shape: Shape, dialect: str, account: str, sent: Collection[str], creating: bool) -> dict[Any, Any]:
    """{column: value} of those that were declared and not `sent`. Triggers of the table go first."""
    said, found = shape.declared, dict[Any, Any]()
    for name in (said.changed, said.version, *([said.created] if creating else [])):
        if column := _kept_by_us(shape, name, _TIMES):
            found[column.sa] = _now(column, dialect)
    for name in (said.changed_by, *([said.created_by] if creating else [])):
        if column := _kept_by_us(shape, name, (values.TEXT,)):
            found[column.sa] = account[: column.shown.max_length or None]
    return {column: value for column, value in found.items() if column.name not in sent}


def counter(shape: Shape) -> Column | None:
    """The version column that a write of ours counts up where the database does not: a number of the row alone.

    A number that tells what changed is one of the whole table, and whoever gives it gives each once.
    """
    said = shape.declared
    return None if said.version == said.changed else _kept_by_us(shape, said.version, _NUMBERS)


def version_comes_back(shape: Shape) -> bool:
    """Whether a row that is put back as it was may have its old version again.

    ⚑ Not where each write moves what nobody puts back: PostgreSQL's number of the transaction, a rowversion, a number
    that we count up. A digest does come back, and so do two times of one second.
    """
    if shape.version == XMIN:
        return False
    column = shape.columns.get(shape.declared.version)
    return column is None or (column.stored != values.BYTES and counter(shape) is None)


def _kept_by_us(shape: Shape, name: str, stored: Collection[str]) -> Column | None:
    column = shape.columns.get(name)
    return column if column is not None and column.stored in stored and not column.generated else None


def _now(column: Column, dialect: str) -> Any:
    now = clock.now_expression(dialect)
    if dialect == "postgresql" and column.stored == values.LOCAL:
        return sa.func.timezone(column.zone.key, now)
    if dialect == "sqlite":
        return sa.func.strftime("%Y-%m-%d %H:%M:%f", now) if column.zone.key == "UTC" else _here(column, dialect)
    if column.stored == values.LOCAL and column.zone.key != "UTC":
        return _here(column, dialect)
    return now


def _here(column: Column, dialect: str) -> Any:
    """By our own clock, where the database does not know the zone's rules."""
    return values.compared(column, values.stamp(datetime.now(UTC)), dialect)
