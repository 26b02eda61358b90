"""What databases say, turned into the contract's errors: one table a driver, by the codes they document.

PostgreSQL: "Appendix A. PostgreSQL Error Codes". MariaDB and MySQL: "Error Code Reference". SQLite: the texts of
sqlite3ext, which name table and column.
"""

from __future__ import annotations

import re
import sqlite3
import ssl
from collections.abc import Callable
from typing import Any

import pymysql
import sqlalchemy as sa

from connections.connectors.base import (
    ConnectorError,
    NeedsAuthorization,
    NotAllowed,
    RateLimited,
    Refused,
    Retry,
    Uncertain,
)
from connections.guard import AddressRefused

WAIT_FOR_ADMIN = 60.0
WAIT_WHEN_FULL = 10.0
QUOTED = 300
COMPLETION_UNKNOWN = "40003"  # of its class alone it does not say that the transaction was rolled back
NOTHING = "Nothing was read or written."


class SchemaMoved(ConnectorError):
    """A table or column is not (any more) as we knew it: what is kept of it has to be asked for again."""


def error_of(name: str, error: BaseException, secret: str = "") -> ConnectorError:
    """The contract's error for a failure before the commit, when nothing was changed."""
    if isinstance(error, ConnectorError):
        return error
    if isinstance(error, AddressRefused):
        return Retry(str(error), after=WAIT_FOR_ADMIN)
    said = _quote(str(getattr(error, "orig", None) or error), secret)
    if isinstance(error, sa.exc.TimeoutError):
        return Retry(f"All our sessions at {name} are busy. Nothing was sent; we try again.")
    if isinstance(error, sa.exc.DBAPIError):
        cause = error.orig
        if isinstance(cause, sqlite3.Error):
            return _sqlite(name, said)
        if isinstance(cause, pymysql.MySQLError):
            return _mysql(name, cause, said)
        state = str(getattr(cause, "sqlstate", None) or "")
        if state:
            return _postgresql(name, state, cause, said)
        return _unspoken(name, error, said)
    if isinstance(error, sa.exc.ArgumentError | ValueError | TypeError | UnicodeError):
        return Refused(f"{name} cannot be asked that: {said}. {NOTHING}")
    if isinstance(error, ssl.SSLError):
        return Retry(f"{name} could not prove who it is: {said}. Nothing was sent. Check its certificate.", 60.0)
    return Retry(f"{name} could not be reached: {said}. Nothing was sent; we try again. Check the address.")


def error_of_commit(name: str, error: BaseException, secret: str = "") -> ConnectorError:
    """The same for a failure of the commit itself: only an answer says that nothing happened."""
    state = str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")
    answered = isinstance(error, sa.exc.IntegrityError) or state[:2] in ("23", "40", "25") or state == "53100"
    answered = answered and state != COMPLETION_UNKNOWN
    if answered or isinstance(getattr(error, "orig", None), sqlite3.Error):
        return error_of(name, error, secret)
    return Uncertain(
        f"{name} broke the connection off while it took our change. It may have taken it or not; we look before "
        "anything is sent again."
    )


def _quote(text: str, secret: str) -> str:
    text = " ".join(text.split()).rstrip(".")
    if len(secret) >= 4:
        text = text.replace(secret, "•••")
    return text if len(text) <= QUOTED else text[:QUOTED] + "…"


def _says(name: str, said: str) -> str:
    return f"{name} says: {said}"


def _unspoken(name: str, error: sa.exc.DBAPIError, said: str) -> ConnectorError:
    """A driver's error without the server's code: no answer came, or the driver itself refuses."""
    low = said.lower()
    if "certificate" in low or "ssl" in low or "tls" in low:
        return Retry(
            f"{name} could not prove who it is, or speaks no encryption: {said}. Nothing was sent. Check its "
            "certificate, or enter its authority in the connection.",
            after=WAIT_FOR_ADMIN,
        )
    if "password" in low or "authentication" in low or "role" in low:
        return NeedsAuthorization(
            f"{_says(name, said)}. {NOTHING} Enter user name and password again in the connection."
        )
    if isinstance(error, sa.exc.DataError | sa.exc.ProgrammingError):
        return Refused(f"{_says(name, said)}. Nothing was written. Change the value or the mapping.")
    return Retry(f"{name} does not answer: {said}. Nothing was changed; we try again. Check the address.")


def _postgresql(name: str, state: str, cause: Any, said: str) -> ConnectorError:
    column = str(getattr(getattr(cause, "diag", None), "column_name", None) or "")
    says = _says(name, said)
    if state.startswith("28"):
        return NeedsAuthorization(f"{says}. {NOTHING} Enter user name and password again in the connection.")
    if state in ("3D000", "3F000"):
        return Retry(f"{says}. {NOTHING} Correct the database in the address.", after=WAIT_FOR_ADMIN)
    if state in ("42501", "25006"):
        return NotAllowed(f"{says}. {NOTHING} Give our account that right, or take the table out of the mapping.")
    if state in ("42703", "42P01", "0A000", "42804", "42883"):
        return SchemaMoved(f"{says}. {NOTHING} Look at the fields of the mapping again.")
    if state in ("53300", "53400", "57P03"):
        return RateLimited(f"{says}. Nothing is lost; we try again.", after=WAIT_WHEN_FULL)
    if state[:2] in ("23", "22"):
        named = column or ", ".join(_columns_of(said, getattr(getattr(cause, "diag", None), "message_detail", "")))
        return _refused(name, said, [named] if named and ", " not in named else _split(named))
    return Retry(f"{says}. Nothing was changed; we try again.")


def _columns_of(said: str, detail: Any) -> list[str]:
    """The columns of `Key (a, b)=(…)`, as violations of unique and foreign keys name them."""
    found = re.search(r"Key \(([^)]*)\)=", str(detail or said))
    return _split(found.group(1)) if found else []


def _split(names: str) -> list[str]:
    return [one.strip().strip('"') for one in names.split(",") if one.strip()]


_MYSQL_COLUMN = re.compile(r"(?:[Cc]olumn|Field) [`'](?:[^`']*\.)?([^`'.]+)['`]|FOREIGN KEY \(`([^`]+)`\)")
_MYSQL: dict[str, tuple[set[int], Callable[[str], ConnectorError]]] = {
    "sign-in": (
        {1044, 1045, 1698, 1130, 3118, 4151},
        lambda says: NeedsAuthorization(f"{says}. {NOTHING} Enter user name and password again in the connection."),
    ),
    "database": (
        {1049},
        lambda says: Retry(f"{says}. {NOTHING} Correct the database in the address.", after=WAIT_FOR_ADMIN),
    ),
    "rights": (
        {1142, 1143, 1227, 1290, 1370, 1419, 1792, 1836},
        lambda says: NotAllowed(f"{says}. {NOTHING} Give our account that right, or take the table out."),
    ),
    "schema": (
        {1054, 1146, 1109},
        lambda says: SchemaMoved(f"{says}. {NOTHING} Look at the fields of the mapping again."),
    ),
    "full": ({1040, 1203, 1226}, lambda says: RateLimited(f"{says}. Nothing is lost.", after=WAIT_WHEN_FULL)),
    "busy": (
        {1205, 1213, 1969, 3024, 1020, 1927, 2003, 2006, 2013, 1053, 1158, 1159, 1160, 1161},
        lambda says: Retry(f"{says}. Nothing was changed; we try again."),
    ),
}


def _mysql(name: str, cause: Any, said: str) -> ConnectorError:
    number = cause.args[0] if cause.args and isinstance(cause.args[0], int) else 0
    says = _says(name, said)
    for numbers, made in _MYSQL.values():
        if number in numbers:
            return made(says)
    if number in (0, 2026) or (isinstance(cause, pymysql.OperationalError) and number in range(2000, 3000)):
        low = said.lower()
        if "certificate" in low or "ssl" in low:
            return Retry(f"{name} could not prove who it is: {said}. Nothing was sent.", after=WAIT_FOR_ADMIN)
        return Retry(f"{name} does not answer: {said}. Nothing was changed; we try again.")
    found = _MYSQL_COLUMN.search(said)
    return _refused(name, said, [next(filter(None, found.groups()))] if found else [])


def _sqlite(name: str, said: str) -> ConnectorError:
    says = _says(name, said)
    if "locked" in said or "busy" in said or "interrupted" in said:
        return Retry(f"{says}. Nothing was changed; we try again.")
    if "readonly" in said or "not authorized" in said or "too many attached" in said:
        return NotAllowed(f"{says}. {NOTHING} Give our process the right to write the file, or read only.")
    if "no such" in said or "has no column" in said:
        return SchemaMoved(f"{says}. {NOTHING} Look at the fields of the mapping again.")
    if "constraint failed" in said or "datatype mismatch" in said:
        named = re.search(r"(?:NOT NULL|UNIQUE) constraint failed: (.*)", said)
        columns = [part.rpartition(".")[2].strip() for part in named.group(1).split(",")] if named else []
        return _refused(name, said, columns)
    return Retry(f"{says}. {NOTHING} We try again; look at the file if it stays so.", after=WAIT_FOR_ADMIN)


def _refused(name: str, said: str, columns: list[str]) -> Refused:
    return Refused(
        f"{_says(name, said)}. Nothing was written. Change the value or the mapping.",
        dict.fromkeys([column for column in columns if column], said),
    )
