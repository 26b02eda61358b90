"""Our own three tables in a database we sync, as SQLAlchemy knows them.

syncadmin_changes: one line a changed row, written by triggers in the transaction of the change (the outbox).
syncadmin_keys: which row carries which correlation key, where the table has no column for it.
syncadmin_tables: which tables are watched, and since which place in the outbox.
"""

from __future__ import annotations

import sqlalchemy as sa

_METADATA = sa.MetaData()

CHANGES = sa.Table(
    "syncadmin_changes",
    _METADATA,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("table_name", sa.Text),
    sa.Column("row_key", sa.Text),  # empty: the whole table was emptied
    sa.Column("op", sa.Text),  # I, U, D, or T for TRUNCATE
    sa.Column("xid", sa.Text),  # PostgreSQL: the transaction
    sa.Column("at", sa.Text),
    sa.Column("by_user", sa.Text),
    sa.Column("by_app", sa.Text),
)
KEYS = sa.Table(
    "syncadmin_keys",
    _METADATA,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("row_key", sa.Text, primary_key=True),
    sa.Column("sync_key", sa.Text),
)
TABLES = sa.Table(
    "syncadmin_tables",
    _METADATA,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("since", sa.Text),
)
