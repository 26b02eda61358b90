"""SQL databases: PostgreSQL, MySQL and MariaDB, SQLite, and by their own drivers Oracle and SQL Server.

Each kind adds its form, and what it can do beyond the others, to what sql_database.py does for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from connections.connectors import sql_bell as bell
from connections.connectors import sql_outbox as outbox
from connections.connectors.base import FormField, Hint, Step, Values
from connections.connectors.sql_database import CAPABILITIES, COLUMN_LOOKBACK, COLUMN_OVERLAP, SqlDatabase
from connections.connectors.sql_place import COLUMN, FORM_CHANGES, FORM_MODE, FORM_SIGN_IN, FORM_TABLES


class PostgreSQL(SqlDatabase):
    kind = "postgresql"
    label = "PostgreSQL"
    schemes = ("postgresql",)
    form: ClassVar[Sequence[FormField]] = (*FORM_SIGN_IN, FORM_MODE, FORM_CHANGES, *FORM_TABLES)
    capabilities = replace(CAPABILITIES, bell="stream", feed_retention=outbox.RETENTION.total_seconds())

    def listen(self, object_types: Sequence[str], stop: Callable[[], bool]) -> Iterator[Sequence[Hint]]:
        yield from bell.listen(self.db, self.shape, object_types, self.context.state, stop)

    def steps_by_hand(self, object_types: Sequence[str], scope: Values, callback_url: str) -> Sequence[Step]:
        where = "Install the triggers of these tables on the connection's page, under “Triggers”: they ring by NOTIFY."
        return (Step(where, "\n".join(object_types)),)


class MySQL(SqlDatabase):
    kind = "mysql"
    label = "MySQL, MariaDB"
    schemes = ("mysql", "mariadb")
    address_help = "Like mysql://db.example.com:3306/shop."
    form: ClassVar[Sequence[FormField]] = (*FORM_SIGN_IN, FORM_MODE, FORM_CHANGES, *FORM_TABLES)


class SQLite(SqlDatabase):
    kind = "sqlite"
    label = "SQLite"
    schemes = ("sqlite",)
    address_help = "Like sqlite:///shop.db, a file in the folder that SQLITE_FOLDER names."
    form: ClassVar[Sequence[FormField]] = (FORM_MODE, FORM_CHANGES, *FORM_TABLES)
    capabilities = replace(CAPABILITIES, concurrency=2)  # one writes at a time


class OtherSql(SqlDatabase):
    kind = "othersql"
    label = "Oracle, SQL Server"
    schemes = ("oracle", "sqlserver")
    address_help = "Like oracle://db.internal:1521/service or sqlserver://db.internal:1433/shop."
    form: ClassVar[Sequence[FormField]] = (
        *FORM_SIGN_IN,
        FORM_MODE,
        FormField(
            "changes",
            "Changes are found by",
            choices=((COLUMN, "A column that changes with a row"),),
            default=COLUMN,
            help="Named below. Deletions are found by a complete listing every hour.",
        ),
        *FORM_TABLES,
    )
    capabilities = replace(CAPABILITIES, lists_deletions=False, overlap=COLUMN_OVERLAP, lookback=COLUMN_LOOKBACK)
