"""Many rows of a table saved or added with one statement, run once per row by the driver.

Django's `bulk_update` writes a CASE per column and row; building that took longer than everything else a batch does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.db import connection, connections, models


def save_rows(rows: Sequence[models.Model], fields: Sequence[str]) -> None:
    """Save these fields of saved `rows`, all of one model. Raises IntegrityError like any other UPDATE."""
    if not rows:
        return
    model = type(rows[0])
    columns = [_column(model, name) for name in fields]
    values = [
        [*(column.get_db_prep_save(getattr(row, column.attname), connection) for column in columns), row.pk]
        for row in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_statement(model, tuple(fields), connection.vendor), values)


@cache
def _statement(model: type[models.Model], fields: tuple[str, ...], vendor: str) -> str:
    """`vendor` is part of the key: each quotes names its own way."""
    quote = connection.ops.quote_name
    assigned = ", ".join(f"{quote(_column(model, name).column)} = %s" for name in fields)
    key = quote(_column(model, "pk").column)
    return f"UPDATE {quote(model._meta.db_table)} SET {assigned} WHERE {key} = %s"  # noqa: S608


def _column(model: type[models.Model], name: str) -> Any:
    return model._meta.pk if name == "pk" else model._meta.get_field(name)


def add_rows(rows: Sequence[models.Model], ignore_conflicts: bool = False) -> None:
    """Insert unsaved `rows`, all of one model; their primary keys are not told.

    `ignore_conflicts`: a row that is there already, by any unique constraint, is left as it is; else IntegrityError.
    """
    if not rows:
        return
    model = type(rows[0])
    columns = [column for column in model._meta.concrete_fields if not column.primary_key]
    database = connections[connection.alias]  # looked up once: the proxy costs more than the values
    values = [[column.get_db_prep_save(column.pre_save(row, True), database) for column in columns] for row in rows]
    with connection.cursor() as cursor:
        cursor.executemany(_insertion(model, ignore_conflicts, connection.vendor), values)


@cache
def _insertion(model: type[models.Model], ignore_conflicts: bool, vendor: str) -> str:
    """`vendor` is part of the key, as above."""
    quote = connection.ops.quote_name
    names = [str(column.column) for column in model._meta.concrete_fields if not column.primary_key]
    holes = ", ".join("%s" for _ in names)
    ending = " ON CONFLICT DO NOTHING" if ignore_conflicts else ""
    listed = ", ".join(quote(name) for name in names)
    return f"INSERT INTO {quote(model._meta.db_table)} ({listed}) VALUES ({holes}){ending}"  # noqa: S608
