"""Real database servers for tests: a PostgreSQL and a MariaDB of the test process's own, started when first needed.

They listen on loopback, as servers do, since the address guard and the drivers' own sockets are part of what is tested.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from syncadmin.bench.postgresql import CARELESS, free_port, postgresql_on_loopback

PASSWORD = "an-ordinary-password"
START_SECONDS = 60.0
NO_MARIADB = "mariadbd is not installed: apt install mariadb-server"
needs_mariadb = pytest.mark.skipif(shutil.which("mariadbd") is None, reason=NO_MARIADB)


@functools.cache
def postgresql_port() -> int:
    """The port of a PostgreSQL whose administrator is "postgres", without a password, on loopback."""
    server = postgresql_on_loopback(CARELESS)
    port = server.__enter__()
    atexit.register(server.__exit__, None, None, None)
    return port


@functools.cache
def mariadb_port() -> int:
    """The port of a MariaDB whose administrator is "root", without a password, on loopback."""
    folder = Path(tempfile.mkdtemp(prefix="syncadmin-sql-maria-"))
    data = folder / "data"
    me = ["--user=root"] if os.geteuid() == 0 else []
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"]
    subprocess.run([*install, "--skip-test-db", *me], check=True, **quiet)
    port = free_port()
    process = subprocess.Popen(
        [
            *("mariadbd", "--no-defaults", f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1", *me),
            *(f"--socket={folder}/socket", f"--pid-file={folder}/pid", "--skip-log-bin", "--innodb-log-file-size=8M"),
            *("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M", "--performance-schema=OFF"),
            *("--innodb-flush-method=nosync", "--innodb-doublewrite=0", f"--log-error={folder}/log"),
        ],
        **quiet,
    )

    def stop() -> None:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    import pymysql

    end = time.monotonic() + START_SECONDS
    while True:
        try:
            pymysql.connect(host="127.0.0.1", port=port, user="root").close()
            return port
        except pymysql.OperationalError:
            assert process.poll() is None and time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.05)


def administrator(kind: str, database: str = "") -> Any:
    """A session of whoever runs the server, each statement on its own."""
    if kind == "postgresql":
        import psycopg

        return psycopg.connect(
            host="127.0.0.1",
            port=postgresql_port(),
            user="postgres",
            dbname=database or "postgres",
            autocommit=True,
        )
    import pymysql
    from pymysql.constants import CLIENT

    return pymysql.connect(
        host="127.0.0.1",
        port=mariadb_port(),
        user="root",
        database=database or None,
        autocommit=True,
        client_flag=CLIENT.FOUND_ROWS,
        init_command="SET SESSION time_zone = '+00:00'",
    )


def run(session: Any, statement: str, values: Any = ()) -> list[Any]:
    """All rows of a statement; [] for one that gives none."""
    cursor = session.cursor()
    try:
        cursor.execute(statement, values or None)
        return list(cursor.fetchall()) if cursor.description else []
    finally:
        cursor.close()
