"""“Test now” for a database: who we are, where, what we may do, and what stands in the way of seeing every change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from connections.connectors import sql_clock as clock
from connections.connectors import sql_install as install
from connections.connectors.base import CheckResult
from connections.connectors.sql_place import Place

# The first that answers names the server: the same ids may mean other rows on another one.
_SERVER = {
    "postgresql": ("SELECT CAST(system_identifier AS text) FROM pg_catalog.pg_control_system()",),
    "mysql": ("SELECT @@server_uid", "SELECT @@server_uuid"),
    "mssql": ("SELECT @@SERVERNAME",),
    "oracle": ("SELECT SYS_CONTEXT('USERENV', 'DB_UNIQUE_NAME') FROM dual",),
}
_ACCOUNT = {
    "postgresql": "SELECT session_user",
    "mysql": "SELECT CURRENT_USER()",
    "mssql": "SELECT SUSER_SNAME()",
    "oracle": "SELECT USER FROM dual",
}
FILE_ACCOUNT = "SyncAdmin"


def account_of(session: sa.Connection) -> str:
    """The name under which we write; a file knows no accounts."""
    question = _ACCOUNT.get(session.dialect.name)
    return str(session.exec_driver_sql(question).scalar()).strip() if question else FILE_ACCOUNT


def check(
    session: sa.Connection,
    place: Place,
    tables: Sequence[str],
    missing: Callable[[str], Sequence[str]],
    hides: Callable[[str], str],
) -> CheckResult:
    """tables: those the admin or mappings name. missing: the triggers a table lacks. hides: why it may hide rows."""
    asked = datetime.now(UTC)
    told = datetime.fromisoformat(clock.now(session))
    offset = (told - asked).total_seconds()
    account = account_of(session)
    return CheckResult(
        account_id=account,
        account_name=account,
        missing=_missing_rights(session, tables),
        clock_offset=offset,
        rate_limit="A database has no limit of its own; we keep to ours, so that its other users do not wait.",
        notes=[*_notes(session, place, tables, missing), *filter(None, map(hides, tables))],
        tenant=f"{place.database} at {_server(session, place)}",
    )


def _server(session: sa.Connection, place: Place) -> str:
    for question in _SERVER.get(session.dialect.name, ()):
        try:
            return str(session.exec_driver_sql(question).scalar())
        except sa.exc.DBAPIError:
            continue  # not every version has it, nor may every account ask
    return place.host or "SQLite"


def _missing_rights(session: sa.Connection, tables: Sequence[str]) -> list[str]:
    """Rights on the tables in question, where the database tells them."""
    if session.dialect.name != "postgresql":
        return []
    found = []
    for name in tables:
        row: Any = session.execute(
            sa.text(
                "SELECT to_regclass(:t) IS NOT NULL AS there, "
                "COALESCE(has_any_column_privilege(to_regclass(:t), 'SELECT'), false) AS readable"
            ),
            {"t": ".".join(f'"{part}"' for part in name.split("."))},
        ).one()
        if not row.there:
            found.append(f"table {name}, which is not there for our account")
        elif not row.readable:
            found.append(f"SELECT on {name} (GRANT SELECT ON {name} TO {account_of(session)})")
    return found


def _notes(
    session: sa.Connection, place: Place, tables: Sequence[str], missing: Callable[[str], Sequence[str]]
) -> list[str]:
    notes = []
    if place.read_only:
        notes.append("Read only: the database takes no write of ours.")
    if not place.encrypted and place.host:
        notes.append("Not encrypted; the address is one of our own network.")
    watched = install.installed(session)
    if place.triggers:
        for name in [*watched]:
            if gone := missing(name):
                notes.append(f"Triggers of {name} are not there any more: {', '.join(gone)}. Install them again.")
        notes += [
            f"{name} has no triggers yet: install them under “Triggers”." for name in tables if name not in watched
        ]
        if not watched and not tables:
            notes.append("No table has triggers yet: install them under “Triggers” for those you map.")
    elif not install.has_keys(session):
        notes.append("There is no place for our keys yet: install it under “Triggers”, or name a column for them.")
    return notes
