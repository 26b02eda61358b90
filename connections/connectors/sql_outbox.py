"""The outbox read so that no position passes a transaction that is still open.

Lines are written in the transactions of the changes, so they become visible in another order than they were numbered.
⚑ A position never passes what may still appear before it:

PostgreSQL   lines carry the number of their transaction; everything below the oldest one still running in the
             statement's own snapshot is decided, so that is where the next read begins.
MariaDB,     lines are read once uncommitted and once committed: what only the first read shows is open. A number that
MySQL        neither shows was given out and is not written yet, or was rolled back: it is waited for, GAP_SECONDS long.
SQLite       one transaction writes at a time, so lines appear in the order of their numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from connections.connectors import sql_clock as clock
from connections.connectors.base import Expired, NotAllowed
from connections.connectors.sql_errors import SchemaMoved
from connections.connectors.sql_positions import Outbox

# A number is written within microseconds of being given out; a server under load may take seconds.
GAP_SECONDS = 60.0
RETENTION = timedelta(days=7)
NOWHERE, NEVER = 2**62, "9999-01-01T00:00:00Z"  # a place and a time that no line has
PAGE_OF_BEGINNING = 5000
EMPTIED = "T"


@dataclass(frozen=True, slots=True)
class Line:
    """One change. `row_key`: the id of the row. `place`: its transaction (PostgreSQL) or its number."""

    id: int
    row_key: str | None
    op: str
    place: int
    at: str
    by_user: str = ""
    by_app: str = ""


@dataclass(frozen=True, slots=True)
class Lines:
    """One page. `horizon`: where the next read has to begin, were this the last page."""

    lines: Sequence[Line]
    horizon: int
    now: str
    top: tuple[int, int] | None = None  # (place, id) of the last line read, where there may be more


def read_lines(session: sa.Connection, table: str, position: Outbox, after: tuple[int, int] | None, size: int) -> Lines:
    """A page of lines at or after `position`; `after`: (place, id) of the last line of the page before.

    Raises NotAllowed where the table is not watched, Expired where lines may be missing.
    """
    try:
        read = _READERS[session.dialect.name](session, table, position, after, size)
    except SchemaMoved:
        raise not_watched(table) from None
    except sa.exc.DBAPIError as error:
        if missing_table(error):
            raise not_watched(table) from None
        raise
    if any(line.op == EMPTIED and line.place >= (position.place or 0) for line in read.lines):
        raise Expired(f"{table} was emptied at once, which names no rows. Everything is compared.")
    return read


def missing_table(error: sa.exc.DBAPIError) -> bool:
    cause = error.orig
    code = getattr(cause, "sqlstate", None) or (cause.args[0] if cause is not None and cause.args else "")
    return code in ("42P01", 1146) or "no such table" in str(cause)


def not_watched(table: str) -> NotAllowed:
    return NotAllowed(
        f"Changes of {table} are not written down by triggers. Nothing was read, or changes would be missed. Install "
        "them on the connection's page under “Triggers”, or let changes be found by a column."
    )


def check_seen(table: str, position: Outbox, now: str, since: str | None) -> None:
    """Raise where the triggers were not there all the time since the position was read, or its lines are swept."""
    if since is None:
        raise not_watched(table)
    if position.seen and datetime.fromisoformat(position.seen) <= datetime.fromisoformat(since):
        raise Expired(f"The triggers of {table} were installed anew. Everything is compared.")
    if position.seen and datetime.fromisoformat(position.seen) < datetime.fromisoformat(now) - RETENTION:
        raise Expired(f"Changes of {table} are kept for {RETENTION.days} days. Everything is compared.")


def sweep(session: sa.Connection) -> None:
    """Forget lines that no position needs any more, but for the last: numbers must not begin anew."""
    dialect = session.dialect.name
    session.execute(
        sa.text(
            "DELETE FROM syncadmin_changes WHERE at < :old AND id < (SELECT newest FROM "
            "(SELECT MAX(id) AS newest FROM syncadmin_changes) syncadmin_newest)"
        ),
        {"old": clock.bound(_before(clock.now(session), RETENTION), dialect)},
    )


def _before(at: str, span: timedelta) -> str:
    return (datetime.fromisoformat(at) - span).isoformat().replace("+00:00", "Z")


# Each dialect's own way. ---------------------------------------------------------------------------------------------

_SINCE = "(SELECT since FROM syncadmin_tables WHERE table_name = :table)"


def _postgresql(
    session: sa.Connection, table: str, position: Outbox, after: tuple[int, int] | None, size: int
) -> Lines:
    """One statement, so that lines and horizon come of one snapshot; without lines one row tells of the horizon."""
    from_line = "AND (xid, id) > (CAST(CAST(:last_place AS text) AS xid8), :last_id)" if after else ""
    rows = session.execute(
        sa.text(
            f"""
            SELECT CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS horizon, {clock.NOW["postgresql"]} AS now,
                   {_SINCE} AS since, line.*
            FROM (SELECT 1) AS one LEFT JOIN LATERAL (
                SELECT id, row_key, op, CAST(xid AS text) AS place, at, by_user, by_app FROM syncadmin_changes
                WHERE table_name = :table AND (xid >= CAST(CAST(:place AS text) AS xid8) OR at >= :at) {from_line}
                ORDER BY xid, id LIMIT :size
            ) AS line ON true ORDER BY CAST(line.place AS numeric), line.id
            """  # noqa: S608 - nothing of a person is in it
        ),
        {
            "table": table,
            "place": str(position.place if position.place is not None else NOWHERE),
            "at": clock.bound(position.overlap or NEVER, "postgresql"),
            "size": size,
            **({"last_place": str(after[0]), "last_id": after[1]} if after else {}),
        },
    ).all()
    now = clock.told(rows[0].now)
    check_seen(table, position, now, rows[0].since)
    lines = [
        Line(r.id, r.row_key, r.op.strip(), int(r.place), clock.told(r.at), r.by_user or "", r.by_app or "")
        for r in rows
        if r.id is not None
    ]
    top = (lines[-1].place, lines[-1].id) if len(lines) == size else None
    return Lines(lines, int(rows[0].horizon), now, top)


def _numbered(
    session: sa.Connection, position: Outbox, after: tuple[int, int] | None, size: int
) -> tuple[Sequence[Any], Any]:
    """(lines of all tables at or after `position` in the order of their numbers, the statement for them)"""
    statement = sa.text(
        "SELECT id, table_name, row_key, op, at FROM syncadmin_changes "
        "WHERE (id >= :place OR at >= :at) AND id > :last ORDER BY id LIMIT :size"
    ).bindparams(
        place=position.place if position.place is not None else NOWHERE,
        at=clock.bound(position.overlap or NEVER, session.dialect.name),
        last=after[1] if after else 0,
        size=size,
    )
    return session.execute(statement).all(), statement


def _begin(session: sa.Connection, table: str, position: Outbox) -> tuple[str, int]:
    """(now, the highest number so far) by the database. Raises where the table is not watched."""
    row = session.execute(
        sa.text(
            f"SELECT {clock.NOW[session.dialect.name]} AS now, {_SINCE} AS since, "  # noqa: S608 - our own names
            "(SELECT MAX(id) FROM syncadmin_changes) AS newest"
        ),
        {"table": table},
    ).one()
    now = clock.told(row.now)
    check_seen(table, position, now, row.since)
    return now, row.newest or 0


def _nothing_new(position: Outbox, newest: int, after: tuple[int, int] | None) -> bool:
    return position.place is not None and newest < position.place and not position.overlap and after is None


def _lines_of(table: str, rows: Sequence[Any]) -> list[Line]:
    return [
        Line(row.id, row.row_key, row.op.strip(), row.id, clock.told(row.at)) for row in rows if row.table_name == table
    ]


def _mysql(session: sa.Connection, table: str, position: Outbox, after: tuple[int, int] | None, size: int) -> Lines:
    now, newest = _begin(session, table, position)
    if _nothing_new(position, newest, after):
        return Lines([], position.place or 0, now)
    session.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")  # of the next statement alone
    written, statement = _numbered(session, position, after, size)
    committed = session.execute(statement).all() if written else []
    at = {row.id: clock.told(row.at) for row in (*written, *committed)}
    start = max(position.place or 1, after[1] + 1 if after else 1)
    horizon = horizon_of(start, [row.id for row in written], {row.id for row in committed}, at, now)
    if len(written) < size:
        return Lines(_lines_of(table, committed), horizon, now)
    top = written[-1].id  # what was committed beyond the page belongs to the next one
    return Lines(_lines_of(table, [row for row in committed if row.id <= top]), horizon, now, (top, top))


def horizon_of(start: int, written: Sequence[int], committed: set[int], at: dict[int, str], now: str) -> int:
    """The number at which the next read begins. `written`: also what is not committed, in order; `at`: when.

    ⚑ It passes neither an open line nor a number nobody has written yet, unless a later line is so old that whoever
    was given the number must have given up. What only the second read shows counts as written; it is no open line.
    """
    waited = datetime.fromisoformat(now) - timedelta(seconds=GAP_SECONDS)
    known = sorted({start - 1, *(number for number in {*written, *committed} if number >= start)})
    top = max((number for number in written if number >= start), default=start - 1)
    for before, number in pairwise(known):
        if number > top:
            break
        if number > before + 1 and datetime.fromisoformat(at[number]) > waited:
            return before + 1
        if number not in committed:
            return number
    return top + 1


def _sqlite(session: sa.Connection, table: str, position: Outbox, after: tuple[int, int] | None, size: int) -> Lines:
    now, newest = _begin(session, table, position)
    if _nothing_new(position, newest, after):
        return Lines([], position.place or 0, now)
    rows, _ = _numbered(session, position, after, size)
    top = rows[-1].id if len(rows) == size else None
    return Lines(_lines_of(table, rows), (top or newest) + 1, now, (top, top) if top else None)


_READERS = {"postgresql": _postgresql, "mysql": _mysql, "sqlite": _sqlite}


def beginning(session: sa.Connection, table: str) -> tuple[str, int]:
    """(now, the place from which nothing is missed by somebody who lists the whole table afterwards)."""
    dialect = session.dialect.name
    first = read_lines(session, table, Outbox(), None, 1)
    if dialect != "mysql":
        return first.now, first.horizon
    start = session.execute(sa.text("SELECT MIN(id) FROM syncadmin_changes")).scalar() or 1
    after: tuple[int, int] | None = None
    while True:
        page = read_lines(session, table, Outbox(place=start), after, PAGE_OF_BEGINNING)
        if page.top is None or page.horizon <= page.top[1]:
            return first.now, page.horizon
        after = page.top
