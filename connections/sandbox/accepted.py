"""What a stand-in accepted, write by write: for an oracle that trusts nobody else. No part of any vendor's API.

Append-only: the database refuses to change or delete a line.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from connections.sandbox.store import Store

# A GET answers {"lines": [{"number", "at", "account", "record", "verb", "field", "before", "after"}, …]} beyond the
# number in the parameter `after`, at most LINES of them.
ACCEPTED_PATH = "/_accepted"
LINES = 5000
TABLE = """
CREATE TABLE IF NOT EXISTS accepted (
    number INTEGER PRIMARY KEY, at REAL, account TEXT, record TEXT, verb TEXT, field TEXT, before TEXT, after TEXT);
CREATE TRIGGER IF NOT EXISTS accepted_stays BEFORE UPDATE ON accepted BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER IF NOT EXISTS accepted_is_kept BEFORE DELETE ON accepted BEGIN SELECT RAISE(ABORT, 'append only'); END;
"""
COLUMNS = ("number", "at", "account", "record", "verb", "field", "before", "after")


class AcceptedWrites:
    """The log of one stand-in, in its store: within a transaction of the store, a line is kept or undone with it."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self.store, self.clock = store, clock
        self._own = threading.local()
        with store.lock:
            store.db.executescript(TABLE)

    @property
    def mine(self) -> int:
        """Records written by the calling thread so far: how many a request wrote."""
        return getattr(self._own, "records", 0)

    def note(self, account: str, record: str, verb: str, fields: Mapping[str, tuple[Any, Any]]) -> None:
        """verb: "create", "update", "delete" or "undelete"; fields: {path: (before, after)} in the vendor's form."""
        rows = [
            (self.clock(), account, record, verb, path, json.dumps(before), json.dumps(after))
            for path, (before, after) in (fields or {"": (None, None)}).items()
        ]
        columns = ", ".join(COLUMNS[1:])
        with self.store.lock:
            self.store.db.executemany(f"INSERT INTO accepted ({columns}) VALUES (?,?,?,?,?,?,?)", rows)  # noqa: S608
        self._own.records = self.mine + 1

    def lines(self, after: int = 0) -> list[dict[str, Any]]:
        query = f"SELECT {', '.join(COLUMNS)} FROM accepted WHERE number > ? ORDER BY number LIMIT ?"  # noqa: S608
        with self.store.lock:
            rows = self.store.db.execute(query, (after, LINES)).fetchall()
        found = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        return [{**line, "before": json.loads(line["before"]), "after": json.loads(line["after"])} for line in found]


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """{path: (before, after)} of what differs."""
    paths = sorted({*old, *new})
    return {path: (old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path)}
