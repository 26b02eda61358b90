"""Rows read: which columns a query asks for, and what of a row becomes a Record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from connections.connectors import sql_keys as keys
from connections.connectors import sql_values as values
from connections.connectors.base import Record
from connections.connectors.sql_helpers import KEYS
from connections.connectors.sql_room import SINGLE, Padded
from connections.connectors.sql_shape import COUNTER, NONE, WHOLE, XMIN, Shape
from connections.connectors.sql_values import Column

# Labels in a result; no column of a table begins like that.
_VERSION, _OUR_KEY, _LET_IN = "syncadmin__version", "syncadmin__key", "syncadmin__let_in"
_KEY_PART, _PERSON = "syncadmin__id_", "syncadmin__person_"
HASH_CHARACTERS = 32


@dataclass(frozen=True)
class Row:
    """One row as read. `key`: the values of its key, as the database told them. `let_in`: whether the scope does."""

    record: Record
    key: tuple[Any, ...]
    let_in: bool


class Selection:
    """What is asked of a table for records with these fields, and how an answer is read.

    keys_table: whether our key is looked for in the side table (its column, where declared, needs no table).
    """

    def __init__(
        self,
        shape: Shape,
        fields: Sequence[str],
        dialect: str,
        keys_table: bool,
        let_in: sa.ColumnElement[bool] | None = None,
    ) -> None:
        self.shape, self.fields, self.dialect = shape, list(dict.fromkeys(fields)), dialect
        self._columns = self._needed()
        self._our_key = bool(shape.declared.correlation) or keys_table
        self._judged = let_in is not None
        self.columns = [column.sa.label(f"{_KEY_PART}{n}") for n, column in enumerate(shape.key)]
        self.columns += [self._raw(column) for column in self._columns]
        if shape.version == XMIN:
            self.columns.append(sa.cast(sa.literal_column(_qualified(shape, "xmin")), sa.Text).label(_VERSION))
        if shape.declared.correlation:
            self.columns.append(_as_told(shape.table.c[shape.declared.correlation], sa.Text()).label(_OUR_KEY))
        elif keys_table:
            self.columns.append(self._key_in_side_table().label(_OUR_KEY))
        if let_in is not None:
            self.columns.append(sa.case((let_in, 1), else_=0).label(_LET_IN))

    def select(self) -> sa.Select[Any]:
        return sa.select(*self.columns).select_from(self.shape.table)

    def read(self, answer: Any) -> Row | None:
        """A row of the result; None for one that has no id."""
        told = answer._mapping
        shape = self.shape
        key = tuple(told[f"{_KEY_PART}{n}"] for n in range(len(shape.key)))
        external_id = keys.id_of(shape.key, key)
        if external_id is None:
            return None
        unreadable = {path for path in self.fields if path in shape.unreadable}
        seen: dict[str, Any] = {}
        for path in self.fields:
            column = shape.columns.get(path)
            if column is None or path in unreadable:
                continue
            try:
                seen[path] = self._value(column, told)
            except values.Untellable:
                unreadable.add(path)  # it holds something, which is not empty
        return Row(
            Record(
                external_id=external_id,
                version=self._version(told),
                values=seen,
                updated_at=self._moment(shape.declared.changed, told),
                updated_by=self._said(shape.declared.changed_by, told),
                updated_by_name=self._said(shape.declared.changed_by, told),
                created_at=self._moment(shape.declared.created, told),
                created_by=self._said(shape.declared.created_by, told),
                key=external_id,
                title=self._said(shape.title, told),
                correlation_key=(told[_OUR_KEY] or None) if self._our_key else None,
                unreadable=frozenset(unreadable),
            ),
            key,
            bool(told[_LET_IN]) if self._judged else True,
        )

    def _needed(self) -> list[Column]:
        """The fields asked for, and what else a record says; every field where the row itself is the version."""
        shape, said = self.shape, self.shape.declared
        names = [*self.fields, said.changed, said.created, said.changed_by, said.created_by, shape.title]
        if shape.version == COUNTER:
            names.append(said.version)
        elif shape.version == WHOLE:
            names += shape.columns
        there = [name for name in dict.fromkeys(names) if name in shape.columns and name not in shape.unreadable]
        return [shape.columns[name] for name in there]

    def _raw(self, column: Column) -> Any:
        """The column as the driver gives it: one odd value must not break the page."""
        if column.shown.kind == "person" and self.shape.people:
            return self._person(column).label(column.name)
        as_text = (values.DATE, values.TIME, values.INSTANT, values.LOCAL, values.JSON, values.DECIMAL)
        if self.dialect == "postgresql" and (column.stored in as_text or column.stored == values.LIST):
            if column.stored == values.LIST:
                return sa.type_coerce(sa.cast(column.sa, sa.ARRAY(sa.Text)), sa.types.NullType()).label(column.name)
            return sa.cast(column.sa, sa.Text).label(column.name)
        if self.dialect == "mysql" and column.room.binary == SINGLE:
            # Told as it is, it comes with six digits; a sum is one of double precision and has them all.
            return sa.type_coerce(column.sa.op("+")(sa.literal_column("0e0")), sa.types.NullType()).label(column.name)
        return _as_told(column.sa, sa.types.NullType()).label(column.name)

    def _person(self, column: Column) -> Any:
        """The e-mail address behind a reference to a person, or "id:…" where there is none."""
        people = self.shape.people
        assert people is not None
        there = people.table.alias("syncadmin__people")
        found = (
            sa.select(sa.func.lower(there.c[people.email.name]))
            .where(there.c[people.id.name] == column.sa)
            .scalar_subquery()
        )
        nobody = sa.literal("id:").concat(sa.cast(column.sa, sa.CHAR(64) if self.dialect == "mysql" else sa.Text))
        return sa.case((column.sa.is_(None), None), else_=sa.func.coalesce(sa.func.nullif(found, ""), nobody))

    def _key_in_side_table(self) -> Any:
        shape = self.shape
        return (
            sa.select(KEYS.c.sync_key)
            .where(
                KEYS.c.table_name == shape.name,
                KEYS.c.row_key == keys.id_expression(shape.key, shape.table, self.dialect),
            )
            .scalar_subquery()
        )

    def _value(self, column: Column, told: Mapping[str, Any]) -> Any:
        raw = told[column.name]
        return raw if column.shown.kind == "person" and self.shape.people else _in_kind(column, raw)

    def _version(self, told: Mapping[str, Any]) -> str:
        if self.shape.version == NONE:
            return ""
        if self.shape.version == XMIN:
            return str(told[_VERSION])
        if self.shape.version == COUNTER:
            raw = told[self.shape.declared.version]
            return bytes(raw).hex() if isinstance(raw, bytes | memoryview) else str(raw)
        names = [column.name for column in self._columns if column.name in self.shape.columns]
        said = "\x1f".join(f"{name}\x1e{told[name]!r}" for name in sorted(names))
        return hashlib.sha256(said.encode("utf-8", "backslashreplace")).hexdigest()[:HASH_CHARACTERS]

    def _moment(self, name: str, told: Mapping[str, Any]) -> str | None:
        column = self.shape.columns.get(name)
        if column is None or column.shown.kind != "datetime" or name in self.shape.unreadable:
            return None
        try:
            found: str | None = values.normal(column, told[name])
        except values.Untellable:
            return None
        return found

    def _said(self, name: str, told: Mapping[str, Any]) -> str | None:
        if name not in self.shape.columns or name in self.shape.unreadable or told[name] is None:
            return None
        return str(told[name]) or None


def _as_told(column: Any, type_: Any) -> Any:
    """The column as a value of a type that converts less; blanks that fill a CHAR are no part of what it says."""
    return column if isinstance(column.type, Padded) else sa.type_coerce(column, type_)


def _in_kind(column: Column, raw: Any) -> Any:
    if column.shown.kind == "reference":
        return None if raw is None else keys.id_of([column], [raw])
    return values.normal(column, raw)


def _qualified(shape: Shape, name: str) -> str:
    from sqlalchemy.dialects import postgresql

    preparer = postgresql.dialect().identifier_preparer
    return f"{preparer.format_table(shape.table)}.{name}"
