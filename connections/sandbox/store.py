"""Where a stand-in keeps its state: JSON documents in SQLite."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from typing import Any


class Store:
    """JSON documents by (kind, id) in SQLite. Callers hold `lock` around a read-change-write."""

    def __init__(self, path: str = ":memory:") -> None:
        self.lock = threading.RLock()
        self.db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS doc (kind TEXT, id TEXT, data TEXT, PRIMARY KEY (kind, id)) WITHOUT ROWID"
        )

    def get(self, kind: str, id: str) -> Any:
        with self.lock:
            row = self.db.execute("SELECT data FROM doc WHERE kind=? AND id=?", (kind, str(id))).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, kind: str, id: str, data: Any) -> None:
        with self.lock:
            self.db.execute("INSERT OR REPLACE INTO doc VALUES (?,?,?)", (kind, str(id), json.dumps(data)))

    def remove(self, kind: str, id: str) -> None:
        with self.lock:
            self.db.execute("DELETE FROM doc WHERE kind=? AND id=?", (kind, str(id)))

    def all(self, kind: str) -> list[Any]:
        with self.lock:
            rows = self.db.execute("SELECT data FROM doc WHERE kind=? ORDER BY id", (kind,)).fetchall()
        return [json.loads(row[0]) for row in rows]

    def next_number(self, name: str, start: int = 1) -> int:
        with self.lock:
            number = (self.get("counter", name) or start - 1) + 1
            self.put("counter", name, number)
        return number

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is put within, or nothing of it. What a stand-in remembers beside the file is not undone."""
        with self.lock:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")
