"""Our helper tables and triggers in a database: what is there, and the statements that make and remove them.

A trigger writes into the outbox in the transaction of the change itself, whoever makes it; PostgreSQL rings too, when
that transaction commits. Triggers run with the rights of our account, so that other accounts need none of ours.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import sqlalchemy as sa

from connections.connectors import sql_clock as clock
from connections.connectors.base import NotAllowed
from connections.connectors.sql_helpers import KEYS, TABLES
from connections.connectors.sql_keys import id_expression
from connections.connectors.sql_shape import Shape, split

CHANNEL = "syncadmin_changes"
OPS = ("insert", "update", "delete")
_ONCE = re.compile(r"\bAUTOINCREMENT\b", re.I)
# What is no keyword in the text of a statement: comments, and quoted names and texts.
_NO_WORDS = re.compile(r"""--[^\n]*|/\*.*?\*/|'[^']*'|"[^"]*"|`[^`]*`|\[[^\]]*\]""", re.S)


def has_keys(session: sa.Connection) -> bool:
    return sa.inspect(session).has_table(KEYS.name)


def installed(session: sa.Connection) -> dict[str, str]:
    """{watched table: since when}, as the helper table says."""
    if not sa.inspect(session).has_table(TABLES.name):
        return {}
    return {row.table_name: row.since for row in session.execute(sa.select(TABLES))}


def missing_triggers(session: sa.Connection, shape: Shape) -> list[str]:
    """The triggers of a table that are not there or switched off, whatever the helper table says."""
    names = [_name(shape, op) for op in _ops(session.dialect.name)]
    schema, table = split(shape.name)
    match session.dialect.name:
        case "postgresql":
            full = session.dialect.identifier_preparer.format_table(shape.table)
            question = sa.text(
                "SELECT tgname FROM pg_catalog.pg_trigger "
                "WHERE tgrelid = CAST(:t AS regclass) AND tgenabled IN ('O', 'A')"
            ).bindparams(t=full)
        case "mysql":
            question = sa.text(
                "SELECT trigger_name FROM information_schema.triggers WHERE event_object_table = :t "
                "AND event_object_schema = COALESCE(:s, DATABASE())"
            ).bindparams(t=table, s=schema)
        case _:
            question = sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :t").bindparams(
                t=table
            )
    there = set(session.execute(question).scalars())
    return [name for name in names if name not in there]


def why_not(session: sa.Connection, shape: Shape) -> str:
    """Why triggers on this table would not see everything; "" where they do."""
    if session.dialect.name not in _MAKERS:
        return "Triggers are offered for PostgreSQL, MySQL, MariaDB and SQLite. Let changes be found by a column."
    if shape.is_view:
        return "A view has no triggers. Map its table, or let changes be found by a column."
    if session.dialect.name == "mysql":
        schema, table = split(shape.name)
        for one in sa.inspect(session).get_foreign_keys(table, schema):
            done = {str(one["options"].get(rule, "")).upper() for rule in ("ondelete", "onupdate")}
            if done & {"CASCADE", "SET NULL"}:
                return (
                    f"Its foreign key to {one['referred_table']} changes rows without running triggers, as this "
                    "database does. Let changes be found by a column."
                )
    return ids_return(session, shape)


def ids_return(session: sa.Connection, shape: Shape) -> str:
    """Why a new row may have the id of a deleted one; "" where none has, or the admin answers for it.

    ⚑ The deletion and the new row look like an edit then, and the twin of what was deleted would be written over.
    """
    if session.dialect.name != "sqlite" or shape.is_view or shape.declared.key:
        return ""
    parts = {"t": split(shape.name)[1]}
    keyed = session.execute(sa.text("SELECT type FROM pragma_table_info(:t) WHERE pk > 0"), parts).scalars().all()
    statement = sa.text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :t COLLATE NOCASE")
    made = session.execute(statement, parts).scalar()
    if [kind.upper() for kind in keyed] != ["INTEGER"] or _ONCE.search(_NO_WORDS.sub(" ", made or "")):
        return ""
    [key] = shape.key
    return (
        "SQLite may give a new row the id of a deleted one, which would be taken for an edit and written over the "
        "deleted row's twin. Make the table anew with AUTOINCREMENT. Only if the application itself never gives an id "
        f"twice, say so under Tables: {shape.name}: key={key.name}."
    )


def watching(session: sa.Connection, shape: Shape) -> list[str]:
    """The statements that begin to watch a table."""
    dialect = session.dialect.name
    name = _literal(shape.name)
    return [
        *unwatching(session, shape, last=False),
        *_tables(dialect),
        *_MAKERS[dialect](session, shape),
        f"DELETE FROM syncadmin_tables WHERE table_name = {name}",  # noqa: S608 - a quoted literal
        f"INSERT INTO syncadmin_tables (table_name, since) VALUES ({name}, {_since(dialect)})",  # noqa: S608
    ]


def key_table(dialect: str) -> list[str]:
    """The statement that makes the place for our keys alone."""
    return [_tables(dialect)[1]]


def unwatching(session: sa.Connection, shape: Shape, last: bool) -> list[str]:
    """The statements that end it. `last`: no other table is watched, so that nothing of ours stays behind."""
    dialect, table = session.dialect.name, _table(session, shape)
    made = []
    for op in _ops(dialect):
        trigger = _quoted(session, _name(shape, op))
        made.append(f"DROP TRIGGER IF EXISTS {trigger}" + (f" ON {table}" if dialect == "postgresql" else ""))
    if dialect == "postgresql":
        made.append(f"DROP FUNCTION IF EXISTS {_function(session, shape)}()")
    if last:
        made += [f"DROP TABLE IF EXISTS {name}" for name in ("syncadmin_changes", "syncadmin_keys", "syncadmin_tables")]
    return made


def run(session: sa.Connection, statements: Sequence[str]) -> None:
    for statement in statements:
        session.exec_driver_sql(statement.replace("%", "%%") if session.dialect.name != "sqlite" else statement)


# Names and literals. -------------------------------------------------------------------------------------------------


def _ops(dialect: str) -> tuple[str, ...]:
    return (*OPS, "truncate") if dialect == "postgresql" else OPS


def _name(shape: Shape, op: str) -> str:
    """A name of at most 63 characters that no two tables share and people can read."""
    digest = hashlib.sha256(shape.name.encode()).hexdigest()[:8]
    readable = re.sub(r"\W+", "_", shape.name, flags=re.ASCII)[:32]
    return f"syncadmin_{readable}_{digest}_{op}"


def _quoted(session: sa.Connection, name: str) -> str:
    return session.dialect.identifier_preparer.quote_identifier(name)


def _table(session: sa.Connection, shape: Shape) -> str:
    return session.dialect.identifier_preparer.format_table(shape.table)


def _function(session: sa.Connection, shape: Shape) -> str:
    return f"{_helper_schema(session)}.{_quoted(session, _name(shape, 'note'))}"


def _helper_schema(session: sa.Connection) -> str:
    return _quoted(session, str(sa.inspect(session).default_schema_name))


def _literal(text: str) -> str:
    if not re.fullmatch(r"[^\x00-\x1f\\]+", text):
        raise NotAllowed(f"“{text}” is no name that triggers can be made for. Nothing was changed.")
    return "'" + text.replace("'", "''") + "'"


def _id(session: sa.Connection, shape: Shape, row: str) -> str:
    """The id of the trigger's row, by the one expression all queries use."""
    alias = sa.table("syncadmin_row_", *(sa.column(column.name) for column in shape.key))
    made = id_expression(shape.key, alias, session.dialect.name)
    compiled = str(made.compile(dialect=session.dialect, compile_kwargs={"literal_binds": True}))
    return compiled.replace("syncadmin_row_", row).replace("%%", "%")


def _since(dialect: str) -> str:
    now = clock.NOW[dialect]
    return {
        "postgresql": f"to_char({now} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
        "mysql": f"DATE_FORMAT({now}, '%Y-%m-%dT%H:%i:%s.%fZ')",
    }.get(dialect, now)


# The helper tables. --------------------------------------------------------------------------------------------------


def _tables(dialect: str) -> list[str]:
    match dialect:
        case "postgresql":
            return [
                "CREATE TABLE IF NOT EXISTS syncadmin_changes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
                "table_name text NOT NULL, row_key text, op text NOT NULL, "
                "xid xid8 NOT NULL DEFAULT pg_current_xact_id(), at timestamptz NOT NULL, "
                "by_user text NOT NULL DEFAULT session_user, "
                "by_app text DEFAULT current_setting('application_name'))",
                "CREATE TABLE IF NOT EXISTS syncadmin_keys (table_name text NOT NULL, row_key text NOT NULL, "
                "sync_key text NOT NULL, PRIMARY KEY (table_name, row_key), UNIQUE (table_name, sync_key))",
                "CREATE TABLE IF NOT EXISTS syncadmin_tables (table_name text PRIMARY KEY, since text NOT NULL)",
                "CREATE INDEX IF NOT EXISTS syncadmin_changes_place ON syncadmin_changes (table_name, xid, id)",
                "CREATE INDEX IF NOT EXISTS syncadmin_changes_at ON syncadmin_changes (at)",
            ]
        case "mysql":
            text = "VARCHAR({}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"
            return [
                "CREATE TABLE IF NOT EXISTS syncadmin_changes (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, "
                f"table_name {text.format(130)}, row_key {text.format(200)}, op CHAR(1) NOT NULL, "
                "at DATETIME(6) NOT NULL, by_user VARCHAR(200), KEY syncadmin_changes_at (at)) ENGINE=InnoDB",
                f"CREATE TABLE IF NOT EXISTS syncadmin_keys (table_name {text.format(130)}, row_key "
                f"{text.format(200)}, sync_key {text.format(200)}, PRIMARY KEY (table_name, row_key), "
                "UNIQUE KEY syncadmin_keys_key (table_name, sync_key)) ENGINE=InnoDB",
                f"CREATE TABLE IF NOT EXISTS syncadmin_tables (table_name {text.format(130)}, "
                "since VARCHAR(40) NOT NULL, PRIMARY KEY (table_name)) ENGINE=InnoDB",
            ]
        case "sqlite":
            return [
                "CREATE TABLE IF NOT EXISTS syncadmin_changes (id INTEGER PRIMARY KEY AUTOINCREMENT, "
                "table_name TEXT NOT NULL, row_key TEXT, op TEXT NOT NULL, at TEXT NOT NULL)",
                "CREATE TABLE IF NOT EXISTS syncadmin_keys (table_name TEXT NOT NULL, row_key TEXT NOT NULL, "
                "sync_key TEXT NOT NULL, PRIMARY KEY (table_name, row_key), UNIQUE (table_name, sync_key))",
                "CREATE TABLE IF NOT EXISTS syncadmin_tables (table_name TEXT NOT NULL PRIMARY KEY, "
                "since TEXT NOT NULL)",
                "CREATE INDEX IF NOT EXISTS syncadmin_changes_at ON syncadmin_changes (at)",
            ]
    return [  # others have no triggers of ours, but a place for the keys
        "",
        "CREATE TABLE syncadmin_keys (table_name VARCHAR(130) NOT NULL, row_key VARCHAR(200) NOT NULL, sync_key "
        "VARCHAR(200) NOT NULL, PRIMARY KEY (table_name, row_key), UNIQUE (table_name, sync_key))",
    ]


# The triggers. -------------------------------------------------------------------------------------------------------


def _postgresql(session: sa.Connection, shape: Shape) -> list[str]:
    """Once a statement, over all its rows: a bulk update of a million rows pays for one call.

    ⚑ But once a row where the table has partitions: what is written straight into one runs no statement's trigger of
    the table, and a row's trigger is there in each of them, also in those that are made later.
    """
    by_row = _has_partitions(session, table := _table(session, shape))
    these, those = ("(SELECT NEW.*)", "(SELECT OLD.*)") if by_row else ("syncadmin_new", "syncadmin_old")
    ours, name = _helper_schema(session), _literal(shape.name)
    new, old = _id(session, shape, "n"), _id(session, shape, "o")
    note = f"INSERT INTO {ours}.syncadmin_changes (table_name, row_key, op, at) SELECT {name}"
    now = clock.NOW["postgresql"]
    body = f"""
BEGIN
  IF TG_OP = 'INSERT' THEN {note}, {new}, 'I', {now} FROM {these} n;
  ELSIF TG_OP = 'UPDATE' THEN
    {note}, k, 'U', {now} FROM (SELECT {new} AS k FROM {these} n UNION SELECT {old} FROM {those} o) ids;
  ELSIF TG_OP = 'DELETE' THEN
    {note}, {old}, 'D', {now} FROM {those} o;
    DELETE FROM {ours}.syncadmin_keys k USING {those} o WHERE k.table_name = {name} AND k.row_key = {old};
  ELSE
    {note}, NULL, 'T', {now};
    DELETE FROM {ours}.syncadmin_keys WHERE table_name = {name};
  END IF;
  PERFORM pg_notify('{CHANNEL}', {name});
  RETURN NULL;
END
"""  # noqa: S608 - quoted identifiers and literals
    function = _function(session, shape)
    made = [
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
        f"SET search_path = pg_catalog, pg_temp AS $syncadmin${body}$syncadmin$"
    ]
    seen = {
        "insert": "REFERENCING NEW TABLE AS syncadmin_new ",
        "update": "REFERENCING NEW TABLE AS syncadmin_new OLD TABLE AS syncadmin_old ",
        "delete": "REFERENCING OLD TABLE AS syncadmin_old ",
        "truncate": "",
    }
    for op, rows in seen.items():
        when = "FOR EACH ROW" if by_row and rows else f"{rows}FOR EACH STATEMENT"
        made.append(
            f"CREATE TRIGGER {_quoted(session, _name(shape, op))} AFTER {op.upper()} ON {table} {when} "
            f"EXECUTE FUNCTION {function}()"
        )
    return made


def _has_partitions(session: sa.Connection, table: str) -> bool:
    question = sa.text("SELECT relkind = 'p' FROM pg_catalog.pg_class WHERE oid = CAST(:t AS regclass)")
    return bool(session.execute(question, {"t": table}).scalar())


def _rows(session: sa.Connection, shape: Shape) -> list[str]:
    """MySQL, MariaDB and SQLite: once a row."""
    dialect, table, name = session.dialect.name, _table(session, shape), _literal(shape.name)
    new, old = _id(session, shape, "NEW"), _id(session, shape, "OLD")
    now = clock.NOW[dialect]
    more, by = (", by_user", ", USER()") if dialect == "mysql" else ("", "")

    def note(row: str, op: str, only: str = "") -> str:
        begin = f"INSERT INTO syncadmin_changes (table_name, row_key, op, at{more}) "
        if dialect == "mysql" and only:
            return f"IF {only} THEN {begin}VALUES ({name}, {row}, '{op}', {now}{by}); END IF;"
        return f"{begin}SELECT {name}, {row}, '{op}', {now}{by}{' WHERE ' + only if only else ''};"

    differ = f"NOT ({new} <=> {old})" if dialect == "mysql" else f"{new} IS NOT {old}"
    forget = f"DELETE FROM syncadmin_keys WHERE table_name = {name} AND row_key = {old};"  # noqa: S608 - the same
    bodies = {
        "insert": note(new, "I"),
        "update": note(new, "U") + note(old, "D", differ),
        "delete": note(old, "D") + forget,
    }
    return [
        f"CREATE TRIGGER {_quoted(session, _name(shape, op))} AFTER {op.upper()} ON {table} FOR EACH ROW "
        f"BEGIN {body} END"
        for op, body in bodies.items()
    ]


_MAKERS = {"postgresql": _postgresql, "mysql": _rows, "sqlite": _rows}
