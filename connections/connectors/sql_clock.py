"""The database's own clock, by which our stamps are made and its answers judged."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from connections.connectors.sql_values import moment, stamp

# UTC now. Of the statement, not of its transaction: what commits late must not look older than it has to.
NOW = {
    "postgresql": "clock_timestamp()",
    "mysql": "UTC_TIMESTAMP(6)",
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
    "oracle": "SYS_EXTRACT_UTC(SYSTIMESTAMP)",
    "mssql": "SYSUTCDATETIME()",
}


def now_expression(dialect: str) -> sa.ColumnElement[Any]:
    return sa.literal_column(NOW[dialect])


def told(raw: Any) -> str:
    """What NOW gave, as a normalised datetime."""
    return stamp(moment(raw, None))


def now(session: sa.Connection) -> str:
    return told(session.execute(sa.select(now_expression(session.dialect.name).label("now"))).scalar())


def bound(at: str, dialect: str) -> Any:
    """A normalised datetime to compare with what NOW wrote into a helper table."""
    read = datetime.fromisoformat(at)
    if dialect == "sqlite":
        return f"{read:%Y-%m-%dT%H:%M:%S}.{read.microsecond // 1000:03}Z"
    return read if dialect == "postgresql" else read.replace(tzinfo=None)
