"""The statements that every run repeats, written once instead of being composed anew by the ORM each time.

To compose a query takes the ORM some ten times as long as SQLite takes to answer it, and `bulk_update` writes a CASE
for each column and row. Here the text of a statement is kept. Many rows are saved or added by one, which SQLite runs
once per row within our own process; PostgreSQL, which would read and plan it anew each time, is given all rows at once.
Conditions are plain SQL that both read; values are always bound.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from django.db import connection, connections, models
from django.db.models.base import ModelState

Row = TypeVar("Row", bound=models.Model)


def fetch(model: type[Row], where: str, *values: Any, only: tuple[str, ...] = ()) -> list[Row]:
    """Rows of `model` by a condition in SQL, ORDER BY and LIMIT included: what the ORM gives, sooner.

    `values` fill the `%s` of `where`; a list fills its own with all its members, as IN wants it. `only`: attributes
    to load, in the order of the model, where not all are wanted.
    """
    database = connections[connection.alias]  # looked up once: the proxy costs more than the values
    selection, names, converters = _shape(model, only, database.vendor)
    found = []
    for values_of_row in select(f"{selection} WHERE {where}", *values):
        loaded = dict(zip(names, values_of_row, strict=True))
        for name, convert, expression in converters:
            loaded[name] = convert(loaded[name], expression, database)
        found.append(_row(model, loaded, database.alias))
    return found


def _row(model: type[Row], loaded: dict[str, Any], alias: str | None) -> Row:
    """A row as `from_db` makes it, without the descriptors and signals of `__init__`, which none of ours needs.

    `alias`: the database that it is in, None while it is in none.
    """
    row = model.__new__(model)
    row.__dict__.update(loaded)
    row._state = ModelState()
    row._state.adding, row._state.db = alias is None, alias
    return row


def unsaved(model: type[Row], **values: Any) -> Row:
    """An unsaved row of these values and the model's defaults, as `model(**values)` makes it, sooner; `values` name
    attributes (link_id, not link) and are not checked."""
    given = {name: default() for name, default in _defaults(model) if name not in values}
    return _row(model, given | values, None)


@cache
def _defaults(model: type[models.Model]) -> list[tuple[str, Callable[[], Any]]]:
    return [(column.attname, column.get_default) for column in model._meta.concrete_fields]


def select(sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """What a query answers, as the driver gives it; `values` as above."""
    with connection.cursor() as cursor:
        cursor.execute(*_bound(sql, values))
        return cursor.fetchall()


def change(sql: str, *values: Any) -> int:
    """Run a statement that changes rows; returns how many. `values` as above."""
    with connection.cursor() as cursor:
        cursor.execute(*_bound(sql, values))
        return cursor.rowcount


def change_each(sql: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run a statement once for the values of each row."""
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)


def _bound(sql: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
    """The statement with one hole for each member of a list, and all values as the driver takes them."""
    bound: list[Any] = []
    holes = []
    for value in values:
        if isinstance(value, list | tuple | set):
            bound += value
            # No row is IN (NULL): what IN () would say if SQL had it.
            holes.append(f"({', '.join(['%s'] * len(value)) or 'NULL'})")
            continue
        bound.append(_adapted(value))
        holes.append("%s")
    return sql % tuple(holes), bound


def _adapted(value: Any) -> Any:
    return connection.ops.adapt_datetimefield_value(value) if isinstance(value, datetime) else value


# (attribute, how its value is converted, the column as an expression), what needs the database's own form first.
Converters = list[tuple[str, Callable[[Any, Any, Any], Any], Any]]


@cache
def _shape(model: type[models.Model], only: tuple[str, ...], vendor: str) -> tuple[str, list[str], Converters]:
    """The SELECT without its condition, the attributes it loads, and how values that need it are converted. `vendor`
    is part of the key: each has its own quotes."""
    database = connections[connection.alias]
    columns = [column for column in model._meta.concrete_fields if not only or column.attname in only]
    listed = ", ".join(database.ops.quote_name(str(column.column)) for column in columns)
    converters: Converters = []
    for column in columns:
        expression = column.get_col(model._meta.db_table)
        for convert in [*database.ops.get_db_converters(expression), *expression.get_db_converters(database)]:
            converters.append((column.attname, convert, expression))
    table = database.ops.quote_name(model._meta.db_table)
    return f"SELECT {listed} FROM {table}", [column.attname for column in columns], converters  # noqa: S608


def save_rows(rows: Sequence[models.Model], fields: Sequence[str]) -> None:
    """Save these fields of saved `rows`, all of one model. Raises IntegrityError like any other UPDATE."""
    if not rows:
        return
    model = type(rows[0])
    database = connections[connection.alias]
    with connection.cursor() as cursor:
        if database.vendor == "postgresql":
            columns = [*(_column(model, name) for name in fields), _column(model, "pk")]
            cursor.execute(_update_from_given(model, tuple(fields)), [_as_json(rows, columns)])
        else:
            forms = [_form(_column(model, name)) for name in fields]
            values = [[*_values(row, forms, database), row.pk] for row in rows]
            cursor.executemany(_update(model, tuple(fields)), values)


# (attribute, the type of its values that the driver takes as they are, what brings others into its form).
Form = tuple[str, type | None, Callable[[Any, Any], Any]]


def _values(row: models.Model, columns: Sequence[Form], database: Any) -> list[Any]:
    """A row's values as the driver takes them."""
    values = row.__dict__
    return [
        value if (value := values[name]) is None or type(value) is plain else prepare(value, database)
        for name, plain, prepare in columns
    ]


def _form(column: Any) -> Form:
    return column.attname, _plain(column), column.get_db_prep_save


@cache
def _plain(column: Any) -> type | None:
    """The type of the values that go into this column as they are."""
    if isinstance(column, models.IntegerField | models.ForeignKey):  # every key here is a number
        return int
    return {models.CharField: str, models.TextField: str, models.BooleanField: bool}.get(type(column))


def save_changes(row: models.Model, **changes: Any) -> None:
    """Save these fields of one saved row with these values."""
    for name, value in changes.items():
        setattr(row, name, value)
    save_rows([row], list(changes))


@cache
def _update(model: type[models.Model], fields: tuple[str, ...]) -> str:
    """An UPDATE for the values of one row."""
    quote = connection.ops.quote_name
    assigned = ", ".join(f"{quote(_column(model, name).column)} = %s" for name in fields)
    key = quote(_column(model, "pk").column)
    return f"UPDATE {quote(model._meta.db_table)} SET {assigned} WHERE {key} = %s"  # noqa: S608


def _column(model: type[models.Model], name: str) -> Any:
    return model._meta.pk if name == "pk" else model._meta.get_field(name)


def add_rows(rows: Sequence[models.Model], on_conflict: str = "") -> None:
    """Insert unsaved `rows`, all of one model without times that Django sets; their primary keys are not told.

    `on_conflict`: what follows ON CONFLICT in SQL, for a row that is there already; else IntegrityError.
    """
    if not rows:
        return
    model = type(rows[0])
    database = connections[connection.alias]
    columns = _new_columns(model)
    with connection.cursor() as cursor:
        if database.vendor == "postgresql":
            cursor.execute(_insert_given(model, on_conflict), [_as_json(rows, columns)])
        else:
            forms = [_form(column) for column in columns]
            cursor.executemany(_insert(model, on_conflict), [_values(row, forms, database) for row in rows])


def add_rows_with_keys(rows: Sequence[models.Model]) -> None:
    """Insert unsaved `rows` as add_rows does; each gets its primary key."""
    if not rows:
        return
    model, alias = type(rows[0]), connection.alias
    if connections[alias].vendor != "postgresql":
        model._default_manager.bulk_create(rows)
        return
    key = connection.ops.quote_name(_column(model, "pk").column)
    with connection.cursor() as cursor:
        cursor.execute(f"{_insert_given(model, '')} RETURNING {key}", [_as_json(rows, _new_columns(model))])
        keys = cursor.fetchall()
    for row, (pk,) in zip(rows, keys, strict=True):
        row.pk, row._state.adding, row._state.db = pk, False, alias


def _new_columns(model: type[models.Model]) -> list[Any]:
    return [column for column in model._meta.concrete_fields if not column.primary_key]


@cache
def _insert(model: type[models.Model], on_conflict: str) -> str:
    """An INSERT for the values of one row."""
    names = _listed(_new_columns(model))
    ending = f" ON CONFLICT {on_conflict}" if on_conflict else ""
    holes = ", ".join(["%s"] * len(_new_columns(model)))
    return f"INSERT INTO {connection.ops.quote_name(model._meta.db_table)} ({names}) VALUES ({holes}){ending}"  # noqa: S608


def _listed(columns: Sequence[Any]) -> str:
    return ", ".join(connection.ops.quote_name(str(column.column)) for column in columns)


# PostgreSQL: all rows at once, as one JSON text. ------------------------------------------------------------------


def _as_json(rows: Sequence[models.Model], columns: Sequence[Any]) -> str:
    """`rows` as a JSON list of objects: the columns' values by c0, c1, …"""
    names = [(f"c{index}", column.attname) for index, column in enumerate(columns)]
    given = [{short: row.__dict__[name] for short, name in names} for row in rows]
    return json.dumps(given, default=datetime.isoformat, separators=(",", ":"))


@cache
def _insert_given(model: type[models.Model], on_conflict: str) -> str:
    columns = _new_columns(model)
    table, names = connection.ops.quote_name(model._meta.db_table), _listed(columns)
    holders = ", ".join(f"given.c{index}" for index in range(len(columns)))
    ending = f" ON CONFLICT {on_conflict}" if on_conflict else ""
    source = "WHERE true" if on_conflict else ""  # else PostgreSQL reads ON as the beginning of a join
    return f"INSERT INTO {table} ({names}) SELECT {holders} FROM {_given(columns)} {source}{ending}"  # noqa: S608


@cache
def _update_from_given(model: type[models.Model], fields: tuple[str, ...]) -> str:
    columns = [*(_column(model, name) for name in fields), _column(model, "pk")]
    quote, table = connection.ops.quote_name, connection.ops.quote_name(model._meta.db_table)
    assigned = ", ".join(f"{quote(column.column)} = given.c{index}" for index, column in enumerate(columns[:-1]))
    key = f"{table}.{quote(columns[-1].column)} = given.c{len(fields)}"
    return f"UPDATE {table} SET {assigned} FROM {_given(columns)} WHERE {key}"  # noqa: S608


def _given(columns: Sequence[Any]) -> str:
    """The rows of `_as_json`, of the columns' own types. A text has no length here: it would be cut to what fits, where
    storing it refuses it."""
    types = [str(column.db_type(connection)) for column in columns]
    typed = [f"c{index} {'text' if type_.startswith('varchar') else type_}" for index, type_ in enumerate(types)]
    return f"jsonb_to_recordset(%s::jsonb) AS given({', '.join(typed)})"
