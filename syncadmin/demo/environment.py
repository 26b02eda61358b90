"""What the demo decides before Django is loaded: its folder, its ports, its settings.

Standard library only, and a syntax Python 3.9 can read: scripts/bootstrap.py asks before anything is installed.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = Path(os.environ.get("DEMO_FOLDER") or ROOT / ".demo").resolve()
LOOPBACK = "127.0.0.1"
# The parts of a demo that was just killed need a moment to finish what they were doing.
PATIENCE = 15.0
PORTS_TRIED = 50
# Settings that a person may set for the demo as for any installation; everything else is the demo's own.
PASSED_ON = ("DATABASE_URL", "REDIS_URL", "TIME_ZONE")


class Unusable(Exception):
    """The demo cannot start: what happened, what it means, what to do."""


def check_port_free(folder: Path, port: int, patience: float = PATIENCE) -> None:
    """Raise Unusable if something listens on `port`, or a demo already runs from `folder`."""
    if not 1 <= port <= 65533:
        raise Unusable(f"{port} is no port number. Nothing was started. Try: make demo PORT=8123")
    end = time.monotonic() + patience
    while (running := running_demo(folder)) == "ending" and time.monotonic() < end:
        time.sleep(0.1)
    if running is not None:
        raise Unusable(
            f"The demo already runs from this folder, at {known(folder).get('url', 'an address not known yet')}. "
            "Nothing was started.\nStop it with Ctrl-C in its window, or: kill " + lock_holder(folder)
        )
    try:
        listen(port)
    except PermissionError:
        raise Unusable(
            f"This user may not listen on port {port} (below 1024 that takes root). Nothing was started.\n"
            "Choose another one: make demo PORT=8123"
        ) from None
    except OSError:
        raise Unusable(
            f"Port {port} is in use by another program. Nothing was started.\n"
            f"Choose another one: make demo PORT={free_port(port + 1)}"
        ) from None


def listen(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((LOOPBACK, port))
        probe.listen(1)


def port_free(port: int) -> bool:
    try:
        listen(port)
    except OSError:
        return False
    return True


def free_port(first: int) -> int:
    for port in range(first, min(first + PORTS_TRIED, 65536)):
        if port_free(port):
            return port
    raise Unusable(f"No port from {first} on is free. Nothing was started. Try: make demo PORT=8123")


def running_demo(folder: Path) -> str | None:
    """ "up" while a demo holds the folder, "ending" while only its children still do, None if free."""
    path = folder / "running.lock"
    if not path.exists():
        return None
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return "up" if process_lives(lock_holder(folder)) else "ending"
        fcntl.flock(file, fcntl.LOCK_UN)
    return None


def lock_holder(folder: Path) -> str:
    try:
        return (folder / "running.lock").read_text().strip() or "?"
    except OSError:
        return "?"


def process_lives(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (ValueError, ProcessLookupError):
        return False
    return True


def known(folder: Path) -> dict[str, Any]:
    """What the last start noted for people and scripts."""
    try:
        return dict(json.loads((folder / "demo.json").read_text()))
    except (OSError, ValueError):
        return {}


def prepare(port: int, folder: Path = FOLDER) -> dict[str, str]:
    """The demo's settings, as environment variables; also written to .demo/env for other commands.

    Raises Unusable where the folder cannot be written or the port is taken.
    """
    check_port_free(folder, port)
    jira, salesforce = standin_ports(port)
    own = os.environ.get("ALLOWED_PRIVATE_ADDRESSES", "")  # of whoever tries a system of this machine with the demo
    settings = {
        "DATA_DIR": str(folder),
        "PUBLIC_URL": f"http://{LOOPBACK}:{port}",
        "EPOCH_FILE": "",  # a demo that starts at another port has not moved in any way that matters
        "ALLOWED_PRIVATE_ADDRESSES": ",".join(filter(None, (f"{LOOPBACK}:{jira},{LOOPBACK}:{salesforce}", own))),
        "DEMO_JIRA_URL": f"http://{LOOPBACK}:{jira}",
        "DEMO_SALESFORCE_URL": f"http://{LOOPBACK}:{salesforce}",
    }
    settings.update({name: os.environ[name] for name in PASSED_ON if os.environ.get(name)})
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        write_private(folder / "env", "".join(f"{name}={value}\n" for name, value in settings.items()))
    except OSError as error:
        raise Unusable(
            f"Files cannot be made in {folder} ({error.strerror}). Nothing was started.\n"
            f"Make it writable for you: chown -R $(id -un) {folder}"
        ) from None
    return settings


def standin_ports(port: int) -> tuple[int, int]:
    """Where we reach the two stand-ins: beside our own port, or where a line that can be cut leads to them."""
    given = os.environ.get("DEMO_LINES", "")
    if given:
        jira, salesforce = (int(part) for part in given.split(","))
        return jira, salesforce
    jira = free_port(port + 1)
    return jira, free_port(jira + 1)


def listening_port(kind: str, reached: int) -> int:
    """Where the stand-in "jira" or "salesforce" that is reached at port `reached` listens itself."""
    return int(os.environ.get(f"DEMO_{kind.upper()}_PORT") or reached)


def write_private(path: Path, text: str) -> None:
    """Write a file that only we may read, whole or not at all."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)
