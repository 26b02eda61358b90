"""A demo as a child: the real processes on ports of their own; its folder and database vanish afterwards."""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests

from connections.sandbox.accepted import ACCEPTED_PATH
from connections.sandbox.faults import FAULTS_PATH
from syncadmin.demo.credentials import Credentials, office_people
from syncadmin.demo.environment import LOOPBACK, ROOT, known, port_free
from syncadmin.demo.office import Jira, Salesforce
from syncadmin.demo.world import PEOPLE, Person

T = TypeVar("T")

# The machine may have two busy cores and other tests on them.
START_SECONDS = 180.0
STOP_SECONDS = 40.0
PATIENCE = 60.0
LOOK_SECONDS = 0.1
# Below the range from which the system takes ports for outgoing connections.
FIRST_PORT, LAST_PORT, PORTS = 20000, 32000, 8
LOG_TAIL = 6000  # characters of the output shown when something fails
SYSTEMS = ("jira", "salesforce")
COMMAND = """
import sys
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""


class Ended(AssertionError):
    """The demo ended, or did not come to what was waited for."""


@dataclass
class Demo:
    folder: Path
    process: subprocess.Popen[bytes]
    url: str
    database: str = ""  # "": SQLite in the folder
    before: str = ""
    behind: dict[str, str] = field(default_factory=dict)  # where a line lies between: the stand-ins' own addresses

    @cached_property
    def notes(self) -> dict[str, Any]:
        """demo.json"""
        return known(self.folder)

    @property
    def standins(self) -> dict[str, str]:
        """{"jira": address, "salesforce": address} of the stand-ins themselves."""
        return self.behind or {kind: self.notes[kind]["url"] for kind in SYSTEMS}

    @cached_property
    def jira(self) -> Jira:
        return Jira(self.standins["jira"], self._credentials)

    @cached_property
    def salesforce(self) -> Salesforce:
        return Salesforce(self.standins["salesforce"], self._credentials)

    @cached_property
    def _credentials(self) -> Credentials:
        return Credentials((self.folder / "word").read_text())

    def person(self, system: str, number: int = 0) -> Person:
        """Somebody of the office with an account at "jira" or "salesforce"."""
        return office_people(PEOPLE, system)[number]

    def password(self, username: str) -> str:
        return next(str(user["password"]) for user in self.notes["users"] if user["username"] == username)

    def health(self) -> dict[str, Any]:
        """What /healthz says; {} where nothing answers."""
        try:
            answer = requests.get(f"{self.url}/healthz", timeout=5)
            return dict(answer.json())
        except (requests.RequestException, ValueError):
            return {}

    def healthy(self) -> bool:
        return self.health().get("status") == "ok"

    def ask_for_faults(self, system: str, *faults: dict[str, Any]) -> None:
        """Let the stand-in of "jira" or "salesforce" misbehave in these ways alone (see sandbox/faults.py)."""
        requests.post(self.standins[system] + FAULTS_PATH, json=list(faults), timeout=10).raise_for_status()

    def faults_met(self, system: str) -> dict[str, Any]:
        """{"hits": {kind: number}, "unanswered": writes of unknown outcome} since the start."""
        return dict(requests.get(self.standins[system] + FAULTS_PATH, timeout=10).json())

    def accepted(self, system: str, after: int = 0) -> list[dict[str, Any]]:
        """The stand-in's own log of accepted writes beyond that number (see sandbox/accepted.py)."""
        found: list[dict[str, Any]] = []
        while True:
            last = found[-1]["number"] if found else after
            url = f"{self.standins[system]}{ACCEPTED_PATH}?after={last}"
            lines = requests.get(url, timeout=30).json()["lines"]
            if not lines:
                return found
            found += lines

    def pid_of(self, name: str) -> int | None:
        """Process id of a part, as `ps` names it: "live-1", "scheduler" …"""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in children:
            try:
                if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                    return int(pid)
            except OSError:  # it ended meanwhile
                continue
        return None

    def output(self) -> str:
        return (self.folder / "output.log").read_text(errors="replace")[-LOG_TAIL:]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`manage.py …` on this demo, in a process that saw the same program before."""
        environment = {**_environment(self.folder, ""), "ENV_FILE": str(self.folder / "env")}
        environment.pop("DATABASE_URL")
        environment["DJANGO_SETTINGS_MODULE"] = "syncadmin.settings"
        return subprocess.run(  # noqa: S603 - ourselves
            [sys.executable, "-c", f"{self.before}\n{COMMAND}", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )

    def wait(self, look: Callable[[], T], what: str, seconds: float = PATIENCE, every: float = LOOK_SECONDS) -> T:
        """What `look` answers as soon as that is true. Raises Ended after `seconds`, with the demo's last output."""
        end = time.monotonic() + seconds
        while not (found := look()):
            if self.process.poll() is not None:
                raise Ended(f"The demo ended while waiting for: {what}\n{self.output()}")
            if time.monotonic() > end:
                raise Ended(f"Not within {seconds:.0f} s: {what}\n{self.output()}")
            time.sleep(every)
        return found


@contextmanager
def running_demo(
    database: str = "", before: str = "", ports: int = 0, lines: bool = False, **environment: str
) -> Iterator[Demo]:
    """A demo without office and approval, on a fresh database of the server at `database` ("": SQLite), until the
    end of the block. Every part answers when it begins; every process is gone when it ends.

    before: a program that runs in the demo's process first; the parts are forks of it, so all of them see what it did.
    ports: the first of PORTS free ones in a row (0: some). lines: the demo reaches the stand-ins at the ports
    `ports` + 1 and + 2, where somebody passes everything on to `ports` + 3 and + 4.
    """
    with tempfile.TemporaryDirectory(prefix="story-", ignore_cleanup_errors=True) as name, _database(database) as url:
        folder = Path(name)
        port = ports or free_ports()
        if lines:
            environment |= {"DEMO_LINES": f"{port + 1},{port + 2}"}
            environment |= {"DEMO_JIRA_PORT": str(port + 3), "DEMO_SALESFORCE_PORT": str(port + 4)}
        with (folder / "output.log").open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, *_program(before), "--port", str(port)],
                cwd=ROOT,
                env={**_environment(folder, url), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        behind = {kind: f"http://{LOOPBACK}:{port + 3 + at}" for at, kind in enumerate(SYSTEMS)} if lines else {}
        demo = Demo(folder, process, f"http://{LOOPBACK}:{port}", url, before, behind)
        try:
            demo.wait(demo.healthy, "every part of the demo works", START_SECONDS)
            yield demo
        finally:
            _end(process)


def _program(before: str) -> list[str]:
    if not before:
        return ["-m", "syncadmin.demo"]
    return ["-c", f"{before}\nfrom syncadmin.demo.__main__ import main\nmain()\n"]


def _environment(folder: Path, database: str) -> dict[str, str]:
    """Ours, without what the test run's own settings put there."""
    kept = {name: value for name, value in os.environ.items() if name not in ("DATA_DIR", "ENV_FILE", "DEBUG")}
    return {
        **kept,
        "DEMO_FOLDER": str(folder),
        "DEMO_APPROVE": "0",
        "DEMO_LIFE": "0",
        "DATABASE_URL": database,
        "REDIS_URL": "",
        "PYTHONUNBUFFERED": "1",
    }


def free_ports() -> int:
    """The first of some free ports in a row: two demos at the same time must not want the same ones."""
    while True:
        first = random.randrange(FIRST_PORT, LAST_PORT, PORTS)  # noqa: S311 - no secret
        if all(port_free(port) for port in range(first, first + PORTS)):
            return first


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # its children are told by the kernel
        process.wait()


@contextmanager
def _database(url: str) -> Iterator[str]:
    """A new, empty database on the PostgreSQL server of `url`; "" stays "", which is SQLite in the demo's folder."""
    if not url:
        yield ""
        return
    import psycopg
    from psycopg import sql

    name = f"story_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(url, autocommit=True) as server:
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def words_of(document: dict[str, Any] | None) -> Sequence[str]:
    """The texts of a Jira document, in order."""
    if not document:
        return ()
    found = [document["text"]] if document.get("type") == "text" else []
    for node in document.get("content", []):
        found += words_of(node)
    return found
