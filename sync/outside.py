"""What is remembered of the database outside of it: how far it had counted, in a file and in Redis; and where we are.

Both are aids: what cannot be read or written is left out, with a line in the log.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import django_rq
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from redis.exceptions import RedisError

log = logging.getLogger("sync")

REDIS_KEY = "syncadmin:epochs"  # hash: database → number


def enabled() -> bool:
    return bool(settings.EPOCH_FILE)


def read() -> dict[str, int]:
    """{database: highest number noted}, from the file of this host and from Redis."""
    notes = _file()
    for database, number in _redis().items():
        notes[database] = max(number, notes.get(database, 0))
    return notes


def remember(database: str, number: int, notes: Mapping[str, int]) -> None:
    """Note it wherever less is noted. `notes`: as just read. Call after the database has committed it."""
    if _file().get(database, -1) < number:
        _write_file({**notes, database: number})
    with contextlib.suppress(RedisError, OSError, ValueError):
        client = django_rq.get_connection("live")
        if int(client.hget(REDIS_KEY, database) or -1) < number:
            client.hset(REDIS_KEY, database, number)


def _file() -> dict[str, int]:
    try:
        noted = json.loads(Path(settings.EPOCH_FILE).read_text())["epochs"]
        return {str(database): int(number) for database, number in noted.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        log.warning("%s cannot be read (%s); a restored backup may go unnoticed.", settings.EPOCH_FILE, problem)
        return {}


def _write_file(notes: Mapping[str, int]) -> None:
    path = Path(settings.EPOCH_FILE)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps({"epochs": dict(notes)}))
        fresh.replace(path)
    except OSError as problem:
        log.warning("%s cannot be written (%s); a restored backup may go unnoticed.", path, problem)


def _redis() -> dict[str, int]:
    with contextlib.suppress(RedisError, OSError, ValueError):
        noted: Any = django_rq.get_connection("live").hgetall(REDIS_KEY)
        return {database.decode(): int(number) for database, number in noted.items()}
    return {}


@lru_cache(maxsize=1)
def here() -> dict[str, str]:
    """Where this database lives, in words that are the same on every host that uses it.

    The address of the installation; of PostgreSQL the cluster's and the database's own numbers (a dump that is loaded
    elsewhere gets others); of SQLite the machine, the path and the file's number (a copied file gets another).
    """
    place = {"address": settings.PUBLIC_URL}
    if connection.vendor == "postgresql":
        number = _row("SELECT oid FROM pg_database WHERE datname = current_database()")
        return {**place, "database": f"PostgreSQL {_cluster()}, database {number}"}
    path = Path(str(connection.settings_dict["NAME"])).resolve()
    inode = path.stat().st_ino if path.exists() else 0
    machine = Path("/etc/machine-id")
    name = machine.read_text().strip() if machine.exists() else ""
    return {**place, "database": f"{path}, file {inode}", "machine": name}


def _cluster() -> str:
    try:
        return _row("SELECT system_identifier FROM pg_control_system()")
    except DatabaseError:  # not everybody may ask
        return ""


def _row(query: str) -> str:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(query)
        return str(cursor.fetchone()[0])
