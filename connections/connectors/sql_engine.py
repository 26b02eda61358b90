"""Sessions at databases: opened by each driver to a checked address, with time-outs, and kept for a short while.

Each place has two pools: one whose statements stand alone (reads), one with transactions (writes).
"""

from __future__ import annotations

import importlib
import os
import socket
import sqlite3
import ssl
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from django.conf import settings
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from connections.connectors.base import NotAllowed
from connections.connectors.sql_files import checked_file
from connections.connectors.sql_place import Place
from connections.guard import ADDRESSES_TRIED
from connections.guard_database import resolve_database

CONNECT_SECONDS = 5
LOCK_SECONDS = 5  # somebody else edits the row: we try again later, and hold nobody up
IDLE_SECONDS = 60  # a session of ours that breaks off in the middle must not hold locks for longer
KEPT_SECONDS = 60  # a pooled session older than this is replaced: firewalls and servers forget silent ones
POOL_SIZE, POOL_OVERFLOW = 4, 8  # calls at once, see Capabilities.concurrency, and as many for other runs
PLACES_KEPT = 30
APPLICATION = "SyncAdmin"

# Drivers that are no part of SyncAdmin: (module, what to install).
EXTRA_DRIVERS = {"oracle": ("oracledb", "oracledb"), "sqlserver": ("pymssql", "pymssql")}
_DIALECTS = {
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "sqlite": "sqlite+pysqlite",
    "oracle": "oracle+oracledb",
    "sqlserver": "mssql+pymssql",
}

_lock = threading.Lock()
_engines: dict[tuple[Any, ...], tuple[sa.Engine, sa.Engine]] = {}


def engines(place: Place) -> tuple[sa.Engine, sa.Engine]:
    """(for reads, for writes). Raises NotAllowed where the driver's package is missing."""
    _need_driver(place.scheme)
    key = (os.getpid(), *place.key)  # a forked child must not write to its parent's sockets
    with _lock:
        found = _engines.pop(key, None) or (_made(place, writes=False), _made(place, writes=True))
        _engines[key] = found
        while len(_engines) > PLACES_KEPT:
            oldest = next(iter(_engines))
            for engine in _engines.pop(oldest):
                engine.dispose(close=oldest[0] == os.getpid())
    return found


def forget(place: Place) -> None:
    """Close the sessions kept for a place."""
    with _lock:
        for engine in _engines.pop((os.getpid(), *place.key), ()):
            engine.dispose()


def connect(place: Place) -> Any:
    """One session of the driver itself, outside of every pool."""
    return _CREATORS[place.scheme](place)


def _need_driver(scheme: str) -> None:
    if scheme not in EXTRA_DRIVERS:
        return
    module, package = EXTRA_DRIVERS[scheme]
    try:
        importlib.import_module(module)
    except ImportError:
        raise NotAllowed(
            f"The driver for this kind of database is not installed here. Nothing was read or written. Whoever runs "
            f"SyncAdmin installs it with: .venv/bin/pip install {package}"
        ) from None


def _made(place: Place, writes: bool) -> sa.Engine:
    options: dict[str, Any] = {
        "creator": lambda: _CREATORS[place.scheme](place),
        "pool_size": POOL_SIZE,
        "max_overflow": POOL_OVERFLOW,
        "pool_recycle": KEPT_SECONDS,
        "pool_timeout": CONNECT_SECONDS,
    }
    if place.scheme == "sqlite":
        # No pool: a file that another one took the place of must not be written any more, and opening is cheap.
        engine = sa.create_engine("sqlite+pysqlite://", poolclass=sa.NullPool, creator=options["creator"])
        begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine
    if not writes:
        options["pool_reset_on_return"] = None  # nothing to take back: every statement stood alone
    level = "READ COMMITTED" if writes else "AUTOCOMMIT"
    return sa.create_engine(f"{_DIALECTS[place.scheme]}://", isolation_level=level, **options)


# One function a driver. Each raises AddressRefused, OSError or the driver's own error. -------------------------------


def _statement_seconds() -> float:
    return float(settings.REMOTE_TIMEOUT_SECONDS)


def _first_reachable(place: Place, attempt: Callable[[str], Any]) -> Any:
    """What `attempt` makes of the first of the checked addresses that answers."""
    failure: Exception | None = None
    for address in resolve_database(place.scheme, place.host, place.port, place.encrypted)[:ADDRESSES_TRIED]:
        try:
            return attempt(str(address))
        except OSError as error:
            failure = error
    raise failure or OSError(f"{place.host} has no address")


def _postgresql(place: Place) -> Any:
    import psycopg

    addresses = resolve_database(place.scheme, place.host, place.port, place.encrypted)[:ADDRESSES_TRIED]
    tls: dict[str, Any] = {"sslmode": "disable"}
    if place.encrypted:
        tls = {"sslmode": "verify-full", "sslrootcert": _authorities(place)}
    # The driver knocks at one address after the other; all belong to the one name that the certificate must prove.
    session = psycopg.connect(
        host=",".join([place.host] * len(addresses)),
        hostaddr=",".join(map(str, addresses)),
        port=str(place.port),
        dbname=place.database,
        user=place.user,
        password=place.password or None,
        passfile=f"{os.devnull}/none",  # nobody else's passwords
        connect_timeout=CONNECT_SECONDS,
        application_name=application_name(place),
        client_encoding="utf8",
        gssencmode="disable",
        keepalives_idle=30,
        autocommit=True,
        # A prepared statement outlives a change of its table and fails then; poolers lose it between transactions.
        prepare_threshold=None,
        **tls,
    )
    wanted = {
        "statement_timeout": f"{_statement_seconds() * 1000:.0f}",
        "lock_timeout": str(LOCK_SECONDS * 1000),
        "idle_in_transaction_session_timeout": str(IDLE_SECONDS * 1000),
        "timezone": "UTC",
        "datestyle": "ISO, YMD",
        "intervalstyle": "iso_8601",
        "bytea_output": "hex",
        "extra_float_digits": "1",
        "default_transaction_read_only": "on" if place.read_only else "off",
    }
    calls = ", ".join("set_config(%s, %s, false)" for _ in wanted)
    session.execute(f"SELECT {calls}", [part for pair in wanted.items() for part in pair])
    session.autocommit = False
    return session


def application_name(place: Place) -> str:
    """By this name the database knows our sessions, and the listener our own writes."""
    return f"{APPLICATION} {place.name}".encode("ascii", "replace").decode()[:63]  # longer ones PostgreSQL cuts


def _mysql(place: Place) -> Any:
    import pymysql
    from pymysql.constants import CLIENT

    seconds = _statement_seconds()
    tls: dict[str, Any] = {"ssl": ssl.create_default_context(cafile=_authorities(place))} if place.encrypted else {}

    def attempt(address: str) -> Any:
        session = pymysql.connect(
            host=place.host,
            port=place.port,
            user=place.user,
            password=place.password,
            database=place.database,
            charset="utf8mb4",
            connect_timeout=CONNECT_SECONDS,
            read_timeout=seconds + LOCK_SECONDS,
            write_timeout=seconds + LOCK_SECONDS,
            client_flag=CLIENT.FOUND_ROWS,  # rows that fit, also those that already hold the value
            local_infile=False,
            autocommit=False,
            program_name=application_name(place),
            defer_connect=True,
            **tls,
        )
        knocking = socket.create_connection((address, place.port), CONNECT_SECONDS)
        knocking.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        knocking.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        session.connect(knocking)
        return session

    session = _first_reachable(place, attempt)
    maria = "mariadb" in session.get_server_info().lower()
    limit = f"max_statement_time = {seconds:g}" if maria else f"max_execution_time = {seconds * 1000:.0f}"
    with session.cursor() as cursor:
        # Strict: a value that does not fit is refused, never cut short or set to zero.
        cursor.execute(
            "SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', "
            f"innodb_lock_wait_timeout = {LOCK_SECONDS}, {limit}"
        )
        if place.read_only:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
    return session


def _sqlite(place: Place) -> Any:
    path = checked_file(place.database)
    mode = "ro" if place.read_only else "rw"  # neither makes a file that is not there
    session = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        timeout=LOCK_SECONDS,
        check_same_thread=False,
        isolation_level=None,
    )
    session.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)  # no other file comes in by a statement
    session.execute("PRAGMA trusted_schema = OFF")
    session.execute("PRAGMA foreign_keys = ON")
    session.create_function(
        "syncadmin_fold", 1, lambda text: text.casefold() if isinstance(text, str) else text, deterministic=True
    )
    return session


def _oracle(place: Place) -> Any:
    import oracledb  # type: ignore[import-not-found,unused-ignore]

    _own_network_only(place)
    return _first_reachable(
        place,
        lambda address: oracledb.connect(
            user=place.user,
            password=place.password,
            host=address,
            port=place.port,
            service_name=place.database,
            tcp_connect_timeout=CONNECT_SECONDS,
        ),
    )


def _sqlserver(place: Place) -> Any:
    import pymssql  # type: ignore[import-not-found,unused-ignore]

    _own_network_only(place)
    return _first_reachable(
        place,
        lambda address: pymssql.connect(
            server=address,
            port=str(place.port),
            user=place.user,
            password=place.password,
            database=place.database,
            login_timeout=CONNECT_SECONDS,
            timeout=int(_statement_seconds()),
            appname=application_name(place),
        ),
    )


def _own_network_only(place: Place) -> None:
    """These drivers cannot prove a certificate for a name while they connect to the address we checked."""
    if place.encrypted:
        raise NotAllowed(
            "Oracle and SQL Server are reached in our own network only. Nothing was sent. Choose “None” under "
            "Encryption, and let the address be added to ALLOWED_PRIVATE_ADDRESSES."
        )


_CREATORS: dict[str, Callable[[Place], Any]] = {
    "postgresql": _postgresql,
    "mysql": _mysql,
    "sqlite": _sqlite,
    "oracle": _oracle,
    "sqlserver": _sqlserver,
}


def _authorities(place: Place) -> str:
    """Path of a file with the certificate authorities: the drivers take no text."""
    if not place.ca:
        return str(DEFAULT_CA_BUNDLE_PATH)
    with _lock_files:
        path = _ca_files.get(place.ca)
        if path is None or not path.exists():
            handle, name = tempfile.mkstemp(prefix="syncadmin-ca-", suffix=".pem")
            with os.fdopen(handle, "w") as file:
                file.write(place.ca + "\n")
            path = _ca_files[place.ca] = Path(name)
    return str(path)


_lock_files = threading.Lock()
_ca_files: dict[str, Path] = {}
