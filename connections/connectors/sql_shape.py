"""What a table is to us: its key, its columns as fields, where version, times and our key are found.

Read from the database's own catalogue by SQLAlchemy, and from what the admin declared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

from connections.connectors import sql_values as values
from connections.connectors.base import Field, NotAllowed, Option
from connections.connectors.sql_declared import Declared, PeopleTable
from connections.connectors.sql_keys import KEY_STORES
from connections.connectors.sql_room import Padded, room_of
from connections.connectors.sql_values import Column

# How the version of a row is told, see sql_rows.py; NONE where only ids are asked for.
XMIN, COUNTER, WHOLE, NONE = "xmin", "counter", "whole", ""
TITLES = ("title", "name", "subject", "summary", "label")
OWN_TABLES = ("syncadmin_changes", "syncadmin_keys", "syncadmin_tables")
COLUMNS_AT_MOST = 500


@dataclass(frozen=True)
class Shape:
    """One table or view. `unreadable`: columns our account may not read. `why_fixed`: why nothing may be written."""

    name: str  # the object type: "tickets", or "sales.tickets" outside of the default schema
    table: sa.Table
    key: tuple[Column, ...]
    columns: Mapping[str, Column]
    declared: Declared
    version: str
    title: str
    unreadable: frozenset[str]
    is_view: bool
    people: PeopleShape | None = None
    why_fixed: str = ""
    row_security: bool = False  # the database shows our account those rows alone that its policies let it see

    def column(self, name: str) -> Column | None:
        return self.columns.get(name)

    @property
    def changed(self) -> Column | None:
        return self.columns.get(self.declared.changed)

    @property
    def hides_rows(self) -> bool:
        """Whether a row that is not found may be there all the same."""
        return self.is_view or self.row_security


@dataclass(frozen=True)
class PeopleShape:
    table: sa.Table
    id: sa.Column[Any]
    email: sa.Column[Any]
    name: sa.Column[Any]
    active: sa.Column[Any] | None


def split(object_type: str) -> tuple[str | None, str]:
    """(schema, table): a schema other than the default one stands before a dot."""
    schema, dot, table = object_type.rpartition(".")
    return (schema, table) if dot else (None, object_type)


def names(session: sa.Connection) -> list[tuple[str, bool]]:
    """(name, whether it is a view) of every table and view of the default schema."""
    inspector = sa.inspect(session)
    found = [(name, False) for name in inspector.get_table_names()]
    found += [(name, True) for name in _views(inspector, None)]
    return sorted((name, view) for name, view in found if name not in OWN_TABLES)


def _views(inspector: Any, schema: str | None) -> list[str]:
    views = [*inspector.get_view_names(schema)]
    if inspector.dialect.name == "postgresql":
        views += inspector.get_materialized_view_names(schema)
    return views


def _is_view(inspector: Any, name: str, schema: str | None) -> bool:
    views = _views(inspector, schema)
    if inspector.dialect.name in ("postgresql", "oracle"):
        return name in views
    return name.casefold() in {view.casefold() for view in views}  # to the others names in any case are one


def row_security(session: sa.Connection, table: sa.Table) -> bool:
    """Whether policies decide which rows of a table our account is shown. Only PostgreSQL tells."""
    if session.dialect.name != "postgresql":
        return False
    full = session.dialect.identifier_preparer.format_table(table)
    question = sa.text("SELECT row_security_active(CAST(:t AS regclass))")
    return bool(session.execute(question, {"t": full}).scalar())


def read_shape(
    session: sa.Connection, object_type: str, declared: Declared, people: PeopleTable | None, zone: ZoneInfo
) -> Shape:
    """Raises NotAllowed where the table is not there, or has no key that tells its rows apart."""
    schema, name = split(object_type)
    inspector = sa.inspect(session)
    try:
        found = inspector.get_columns(name, schema)
    except sa.exc.NoSuchTableError:
        raise NotAllowed(
            f"There is no table {object_type}, or our account may not see it. Nothing was read. Choose another one "
            "in the mapping, or give our account the right."
        ) from None
    is_view = not inspector.has_table(name, schema) or _is_view(inspector, name, schema)
    key_names = _key_names(inspector, object_type, declared, schema, name)
    table = sa.Table(
        name,
        sa.MetaData(),
        *(_plain(session, one, one["name"] in key_names) for one in found[:COLUMNS_AT_MOST]),
        schema=schema,
    )
    hidden = frozenset(declared.hidden) | _forbidden(session, table)
    checks = _options(inspector, name, schema, is_view)
    references = _references(inspector, name, schema, is_view)
    person = people_shape(session, people) if people else None
    columns: dict[str, Column] = {}
    for one in found[:COLUMNS_AT_MOST]:
        column = _column(session, table, one, zone, checks, references, people, key_names, declared)
        if column is not None:
            columns[column.name] = column
    lacking = [key for key in key_names if key not in columns or columns[key].stored not in KEY_STORES]
    if lacking or set(key_names) & hidden:
        raise NotAllowed(
            f"Rows of {object_type} cannot be told apart: its key {', '.join(lacking or key_names)} cannot be read, or "
            "is neither a whole number nor a text. Nothing was read. Declare another key under Tables."
        )
    why = _why_fixed(session, inspector, name, schema, is_view)
    if why:
        columns = {n: replace(c, shown=replace(c.shown, writable=False, creatable=False)) for n, c in columns.items()}
    title = declared.title if declared.title in columns else _title(columns)
    return Shape(
        name=object_type,
        table=table,
        key=tuple(columns[key] for key in key_names),
        columns=columns,
        declared=declared,
        version=_version(session, table, declared, is_view, hidden),
        title=title,
        unreadable=hidden & {one["name"] for one in found},
        is_view=is_view,
        people=person,
        why_fixed=why,
        row_security=not is_view and row_security(session, table),
    )


class AsGiven(sa.types.UserDefinedType[Any]):
    """A type that converts nothing: what sql_values.py makes is what the driver takes, and the other way round."""

    cache_ok = True

    def get_col_spec(self, **options: Any) -> str:
        return "TEXT"


def _plain(session: sa.Connection, described: Any, key: bool = False) -> sa.Column[Any]:
    """PostgreSQL is told each type; the others convert by themselves, and better than SQLAlchemy for them."""
    type_: Any = described["type"]
    plain = isinstance(type_, sa.Integer) or (isinstance(type_, sa.String) and not isinstance(type_, sa.Enum))
    if session.dialect.name != "postgresql" and not plain:
        type_ = AsGiven()
    elif session.dialect.name == "postgresql" and isinstance(type_, sa.CHAR):
        type_ = Padded(type_.length)
    nullable = described.get("nullable", True) and not key
    return sa.Column(described["name"], type_, nullable=nullable, primary_key=key)


def _key_names(inspector: Any, object_type: str, declared: Declared, schema: str | None, name: str) -> tuple[str, ...]:
    if declared.key:
        return declared.key
    try:
        found = inspector.get_pk_constraint(name, schema).get("constrained_columns") or ()
    except (sa.exc.SQLAlchemyError, NotImplementedError):
        found = ()
    if not found:
        raise NotAllowed(
            f"{object_type} has no primary key, so its rows cannot be told apart. Nothing was read. Declare under "
            f"Tables which columns do, like {object_type}: key=id."
        )
    return tuple(found)


def _forbidden(session: sa.Connection, table: sa.Table) -> frozenset[str]:
    """Columns our account may not read. Only PostgreSQL lists those: others leave them out of the catalogue."""
    if session.dialect.name != "postgresql":
        return frozenset()
    full = session.dialect.identifier_preparer.format_table(table)
    rows = session.execute(
        sa.text(
            "SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = CAST(:t AS regclass) AND a.attnum > 0 "
            "AND NOT a.attisdropped AND NOT has_column_privilege(a.attrelid, a.attnum, 'SELECT')"
        ),
        {"t": full},
    )
    return frozenset(rows.scalars())


_QUOTED = re.compile(r"'((?:[^']|'')*)'")
_IN_LIST = re.compile(
    r"""^[\s(]*["`\[]?(\w+)["`\]]?\)?(?:::[\w ]+)?\s*(?:IN\s*\(|=\s*ANY\s*\(+\s*ARRAY\[)(.*)""", re.I | re.S
)
_ONLY_TEXTS = re.compile(r"^[\s,()\[\]]*(?:::(?:character varying|text|varchar|bpchar)(?:\[\])?[\s,()\[\]]*)*$", re.I)


def options_in(check: str) -> tuple[str, tuple[str, ...]] | None:
    """(column, texts) of a check like `status IN ('open', 'done')`; None for a check that says anything else."""
    found = _IN_LIST.match(check)
    if not found:
        return None
    rest = _QUOTED.sub("", found.group(2))
    if not all(_ONLY_TEXTS.match(part) for part in rest.split(",")):
        return None
    texts = tuple(text.replace("''", "'") for text in _QUOTED.findall(found.group(2)))
    return (found.group(1), texts) if texts else None


def _options(inspector: Any, name: str, schema: str | None, is_view: bool) -> dict[str, tuple[str, ...]]:
    """{column: texts}, and {column: ("json",)} under "json:…" where a check says that a text is JSON (MariaDB)."""
    if is_view:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    try:
        checks = inspector.get_check_constraints(name, schema)
    except (sa.exc.SQLAlchemyError, NotImplementedError):
        return {}
    for one in checks:
        text = str(one.get("sqltext") or "")
        if listed := options_in(text):
            found[listed[0]] = listed[1]
        elif json_of := re.match(r"^[\s(]*json_valid\([`\"]?(\w+)", text, re.I):
            found["json:" + json_of.group(1)] = ("json",)
    return found


def _references(inspector: Any, name: str, schema: str | None, is_view: bool) -> dict[str, str]:
    """{column: table it refers to}, for keys of one column."""
    if is_view:
        return {}
    found = {}
    for one in inspector.get_foreign_keys(name, schema):
        if len(one["constrained_columns"]) == 1:
            there = f"{one['referred_schema']}." if one.get("referred_schema") else ""
            found[one["constrained_columns"][0]] = there + one["referred_table"]
    return found


def people_shape(session: sa.Connection, people: PeopleTable) -> PeopleShape:
    """Raises NotAllowed where the table is not as declared."""
    inspector = sa.inspect(session)
    schema, name = split(people.table)
    try:
        found = {one["name"]: one for one in inspector.get_columns(name, schema)}
        key = inspector.get_pk_constraint(name, schema).get("constrained_columns") or ()
    except sa.exc.NoSuchTableError:
        found, key = {}, ()
    wanted = [one for one in (people.email, people.name, people.active) if one]
    if len(key) != 1 or any(one not in found for one in wanted):
        raise NotAllowed(
            f"The table of people, {people.table}, is not as the connection says: it needs a primary key of one column "
            f"and the columns {', '.join(wanted)}. Nothing was read. Correct People in the connection."
        )
    table = sa.Table(name, sa.MetaData(), *(_plain(session, one) for one in found.values()), schema=schema)
    return PeopleShape(
        table=table,
        id=table.c[key[0]],
        email=table.c[people.email],
        name=table.c[people.name or people.email],
        active=table.c[people.active] if people.active else None,
    )


def _stored_as(dialect: str, type_: Any, json: bool) -> tuple[str, str] | None:
    """(how it is stored, what a list holds) of a column's type; None for one we leave out."""
    if json:
        return values.JSON, values.TEXT
    match type_:
        case sa.ARRAY():
            inner = _stored_as(dialect, type_.item_type, False)
            held = inner[0] if inner else ""
            return (values.LIST, held) if held in (values.TEXT, values.INTEGER, values.ENUM, values.UUID) else None
        case mysql.SET():
            return values.SET, values.TEXT
        case sa.Enum() | mysql.ENUM():
            return values.ENUM, values.TEXT
        case mysql.TINYINT() if getattr(type_, "display_width", None) == 1:
            return values.BOOLEAN, ""
        case sa.Boolean():
            return values.BOOLEAN, ""
        case sa.Integer():
            return values.INTEGER, ""
        case sa.Float():
            return values.FLOAT, ""
        case sa.Numeric():
            return values.DECIMAL, ""
        case sa.JSON():
            return values.JSON, ""
        case sa.Uuid() | postgresql.UUID():
            return values.UUID, ""
        case mysql.TIMESTAMP():
            return values.INSTANT, ""
        case sa.DateTime():
            return (values.INSTANT if getattr(type_, "timezone", False) else values.LOCAL), ""
        case sa.Date():
            return values.DATE, ""
        case sa.Time():
            return values.TIME, ""
        case sa.LargeBinary():
            return values.BYTES, ""
        case sa.String():
            return values.TEXT, ""
    return None


def _column(
    session: sa.Connection,
    table: sa.Table,
    described: Any,
    zone: ZoneInfo,
    checks: Mapping[str, tuple[str, ...]],
    references: Mapping[str, str],
    people: PeopleTable | None,
    key_names: Sequence[str],
    declared: Declared,
) -> Column | None:
    name, type_ = described["name"], described["type"]
    stored = _stored_as(session.dialect.name, type_, f"json:{name}" in checks)
    if stored is None or (stored[0] == values.BYTES and name not in (declared.version, declared.changed)):
        return None
    kind = values.KIND_OF.get(stored[0], "text")
    listed = tuple(getattr(type_, "enums", None) or getattr(type_, "values", None) or ())
    if isinstance(type_, sa.ARRAY):
        listed = tuple(getattr(type_.item_type, "enums", None) or ())
    if not listed and stored[0] == values.TEXT and name in checks:
        listed, kind = checks[name], "option"
        stored = (values.ENUM, "")
    refers = references.get(name)
    is_person = people is not None and refers == people.table
    if refers and stored[0] in KEY_STORES:
        kind = "person" if is_person else "reference"
    generated = bool(described.get("computed")) or bool((described.get("identity") or {}).get("always"))
    by_itself = (
        generated
        or described.get("autoincrement") is True
        or bool(described.get("identity"))
        or described.get("default") is not None
        or (session.dialect.name == "sqlite" and list(key_names) == [name] and stored[0] == values.INTEGER)
    )
    ours = name in (
        declared.version,
        declared.correlation,
        declared.changed,
        declared.created,
        declared.changed_by,
        declared.created_by,
    )
    cuts = session.dialect.name == "postgresql" and type(type_) is sa.String  # "char" and name, without a word
    fixed = generated or ours or cuts or stored[0] == values.BYTES
    room = room_of(session.dialect.name, type_)
    shown = Field(
        path=name,
        label=name.replace("_", " ").strip().capitalize() or name,
        kind=kind,
        options=tuple(Option(text, text) for text in listed if text),
        writable=not fixed and name not in key_names,
        creatable=not fixed,
        required=not described.get("nullable", True) and not by_itself and not fixed,
        max_length=_length(type_) if stored[0] in (values.TEXT, values.ENUM) and not listed else None,
        matchable=kind in ("text", "option", "reference") and stored[0] in (values.TEXT, values.ENUM, *KEY_STORES),
        step=room.step if kind == "datetime" else None,
    )
    return Column(
        name=name,
        stored=stored[0],
        shown=shown,
        sa=table.c[name],
        zone=ZoneInfo("UTC") if stored[0] == values.INSTANT else zone,  # MySQL tells a TIMESTAMP by our session's zone
        room=room,
        items=stored[1],
        options=listed,
        people=is_person,
        generated=generated,
    )


def _length(type_: Any) -> int | None:
    length = getattr(type_, "length", None)
    return int(length) if length and length < 2**24 else None  # more is no limit a person meets


def _title(columns: Mapping[str, Column]) -> str:
    texts = [name for name, column in columns.items() if column.shown.kind == "text" and column.stored == values.TEXT]
    return next((name for name in TITLES if name in texts), texts[0] if texts else "")


def _version(session: sa.Connection, table: sa.Table, declared: Declared, is_view: bool, hidden: frozenset[str]) -> str:
    if declared.version:
        return COUNTER
    if session.dialect.name != "postgresql" or is_view:
        return WHOLE
    full = session.dialect.identifier_preparer.format_table(table)
    question = sa.text(
        "SELECT has_table_privilege(CAST(:t AS regclass), 'SELECT') AND c.relkind = 'r' "
        "FROM pg_catalog.pg_class c WHERE c.oid = CAST(:t AS regclass)"
    )
    return XMIN if session.execute(question, {"t": full}).scalar() else WHOLE


def _why_fixed(session: sa.Connection, inspector: Any, name: str, schema: str | None, is_view: bool) -> str:
    if is_view:
        return "It is a view, which is read and not written."
    if session.dialect.name == "mysql":
        engine = inspector.get_table_options(name, schema).get("mysql_engine") or ""
        if engine.lower() not in ("innodb", ""):
            return f"Its engine {engine} knows no transactions, so a write could not be made safely."
    return ""
