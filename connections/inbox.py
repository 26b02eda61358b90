"""Where received deliveries are kept first. On PostgreSQL that is their table. SQLite lets one write at a time, and a
run that commits would hold up the answer to a webhook: there they go to a file of their own beside the database, in
the order of their arrival, and are moved to the table by whoever takes them in.

The file is written as durably as the database (WAL, synchronous=FULL) and holds what arrived within about a second.
Requests that arrive together share one commit: whoever gets to write writes for all who wait. Each arrival has a name,
so that a crash between the two files moves nothing twice.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DatabaseError, IntegrityError, transaction

from connections.models import Connection, Delivery

# Moved in one transaction: some 30 ms of work.
MOVED_AT_ONCE = 500
BUSY_SECONDS = 5.0  # until a writer that finds the file locked gives up; others hold it for a millisecond
COLUMNS = (
    "connection_id",
    "arrival",
    "received_at",
    "delivery_id",
    "fingerprint",
    "event",
    "verified",
    "outcome",
    "reason",
    "sender",
    "unlisted",
    "size",
    "hints",
    "told",
)

_local = threading.local()


def put(row: Delivery) -> None:
    """Keep a delivery. Raises DatabaseError."""
    row.arrival = secrets.token_hex(16)
    if not settings.INBOX_FILE:
        _store_one(row)
        return
    values = {name: getattr(row, name) for name in COLUMNS}
    values["received_at"] = row.received_at.isoformat()
    _write(_Arrival(json.dumps(values)))


@dataclass(eq=False, slots=True)
class _Arrival:
    body: str
    kept: bool = False
    error: sqlite3.Error | None = None


_waiting: list[_Arrival] = []
_writing = threading.Lock()


def _write(arrival: _Arrival) -> None:
    """Return once the arrival is kept. Raises DatabaseError."""
    _waiting.append(arrival)
    with _writing:
        if not arrival.kept and arrival.error is None:  # else whoever wrote before us wrote ours too
            _write_all()
    if arrival.error is not None:
        raise DatabaseError(*arrival.error.args) from arrival.error


def _write_all() -> None:
    these = _waiting[:]
    del _waiting[: len(these)]
    try:
        file = _file("FULL")
        file.execute("BEGIN IMMEDIATE")
        file.executemany("INSERT INTO arrivals (body) VALUES (?)", [(one.body,) for one in these])
        file.execute("COMMIT")
    except sqlite3.Error as error:
        _forget()
        for one in these:
            one.error = error
    else:
        for one in these:
            one.kept = True


def move() -> int:
    """Move what lies in the file to the table. Returns the number of deliveries moved."""
    if not settings.INBOX_FILE:
        return 0
    try:
        # Not waiting for the disk: what is deleted twice was moved once.
        file = _file("NORMAL")
        found = file.execute("SELECT id, body FROM arrivals ORDER BY id LIMIT ?", [MOVED_AT_ONCE]).fetchall()
        if not found:
            return 0
        _store([_row(json.loads(body)) for _, body in found])
        file.execute("DELETE FROM arrivals WHERE id <= ?", [found[-1][0]])
        if len(found) < MOVED_AT_ONCE:
            file.execute("PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.Error as error:
        _forget()
        raise DatabaseError(*error.args) from error
    return len(found)


def _store_one(row: Delivery) -> None:
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        _came_again(row)
        row.save(force_insert=True)


def _came_again(row: Delivery) -> None:
    """It was stored before, and had its effect. A replayed one looks no different."""
    row.pk, row.fingerprint, row.told, row.hints = None, None, None, []
    row.outcome, row.reason = Delivery.Outcome.DUPLICATE, "It was received before, and has no second effect."


@transaction.atomic
def _store(rows: Sequence[Delivery]) -> None:
    """Insert what came from the file; only SQLite has one, so nobody else writes meanwhile."""
    known = Delivery.objects.order_by()
    moved = set(known.filter(arrival__in=[row.arrival for row in rows]).values_list("arrival", flat=True))
    prints = [row.fingerprint for row in rows if row.fingerprint]
    seen = set(known.filter(fingerprint__in=prints).values_list("connection", "fingerprint"))
    there = set(Connection.objects.values_list("pk", flat=True))  # one may have been deleted meanwhile
    fresh = [row for row in rows if row.arrival not in moved and row.connection_id in there]
    for row in fresh:
        mark = (row.connection_id, row.fingerprint)
        if row.fingerprint and mark in seen:
            _came_again(row)
        seen.add(mark)
    Delivery.objects.bulk_create(fresh)


def _row(values: dict[str, Any]) -> Delivery:
    return Delivery(**{**values, "received_at": datetime.fromisoformat(values["received_at"])})


def _file(synchronous: str) -> sqlite3.Connection:
    """This thread's connection to the file; a process that forked opens its own.

    Nobody who keeps a delivery tidies the log up on the way: whoever moves does.
    """
    place = (settings.INBOX_FILE, synchronous, os.getpid())
    if getattr(_local, "place", None) != place:
        made = sqlite3.connect(settings.INBOX_FILE, timeout=BUSY_SECONDS, isolation_level=None)
        made.execute("PRAGMA journal_mode=WAL")
        made.execute(f"PRAGMA synchronous={synchronous}")
        made.execute("PRAGMA wal_autocheckpoint=0")
        made.execute("CREATE TABLE IF NOT EXISTS arrivals (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL)")
        _local.connection, _local.place = made, place
    found: sqlite3.Connection = _local.connection
    return found


def _forget() -> None:
    _local.place = None
