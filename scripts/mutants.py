#!/usr/bin/env python3
"""Break the code on purpose, one seeded bug after the other, and see that the tests notice: `make mutants [NAME=…]`.

    mutants.py [NAME …]

The bugs are listed in seeded_bugs.py. Each is applied in a temporary copy of the tree, never in the working tree, and
the tests named for it must fail there while they pass without it. Exits with 1 if a bug survives, if its place in the
code has moved, or if its tests fail for another reason; with 2 for a name that is not in the list.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from seeded_bugs import BUGS, Bug

ROOT = Path(__file__).resolve().parent.parent
# What a copy does without: environments, data of installations, caches, history.
LEFT_OUT = shutil.ignore_patterns(
    ".venv", ".git", ".demo", ".data", ".*_cache", "__pycache__", "*.sqlite3*", ".hypothesis"
)
# All the tests together take a minute of one core; a machine that is busy otherwise gives them a tenth of one.
HANGING_SECONDS = 900
# How pytest ends, and what stands for one that did not.
PASSED, FAILED, HANGING = 0, 1, -1


@dataclass(frozen=True)
class Verdict:
    bug: Bug
    caught: bool
    by: str  # the test that noticed, or why nobody did
    seconds: float


def main(names: Sequence[str]) -> int:
    unknown = set(names) - {bug.name for bug in BUGS}
    if unknown:
        print(f"There is no seeded bug {', '.join(sorted(unknown))}. There are:")
        print(*(f"  {bug.name:<42} {bug.says}" for bug in BUGS), sep="\n")
        return 2
    chosen = [bug for bug in BUGS if not names or bug.name in names]
    with tempfile.TemporaryDirectory(prefix="syncadmin-mutants-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
        started = time.monotonic()
        sound, told = run(tree, sorted({test for bug in chosen for test in bug.tests}))
        print(f"{'without a bug':<44} {time.monotonic() - started:6.1f} s  {'all pass' if sound == PASSED else told}")
        if sound != PASSED:
            return 1
        verdicts = [show(judge(tree, bug)) for bug in chosen]
    survived = [verdict.bug.name for verdict in verdicts if not verdict.caught]
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = spent.ru_utime + spent.ru_stime
    caught, seconds = len(verdicts) - len(survived), time.monotonic() - started
    print(f"{caught} of {len(verdicts)} seeded bugs caught, {seconds:.0f} s, {processor:.0f} s of one core.")
    if survived:
        print("Not caught: " + ", ".join(survived))
    return 1 if survived else 0


def show(verdict: Verdict) -> Verdict:
    name = f"{'' if verdict.caught else 'NOT CAUGHT '}{verdict.bug.name}"
    print(f"{name:<44} {verdict.seconds:6.1f} s  {verdict.by}", flush=True)
    return verdict


def judge(tree: Path, bug: Bug) -> Verdict:
    """Apply the bug, run its tests, take it out again."""
    started = time.monotonic()
    try:
        with applied(tree, bug):
            code, told = run(tree, bug.tests)
    except ValueError as moved:
        return Verdict(bug, False, str(moved), time.monotonic() - started)
    caught = code == FAILED and not told.startswith("ERROR")
    return Verdict(bug, caught, told if code != PASSED else "every test passed", time.monotonic() - started)


@contextmanager
def applied(tree: Path, bug: Bug) -> Iterator[None]:
    """The tree with the bug. Raises ValueError if its place cannot be told, or what it leaves is no Python."""
    path = tree / bug.file
    sound = path.read_text()
    if sound.count(bug.find) != 1:
        raise ValueError(f"{bug.file} has its text {sound.count(bug.find)} times: the code has moved")
    broken = sound.replace(bug.find, bug.put)
    try:
        compile(broken, bug.file, "exec")
    except SyntaxError as problem:
        raise ValueError(f"{bug.file} is no Python any more: {problem}") from problem
    path.write_text(broken)
    try:
        yield
    finally:
        path.write_text(sound)


def run(tree: Path, tests: Sequence[str]) -> tuple[int, str]:
    """(how pytest ended, the first test that failed or what else it said)."""
    # Without migrations and without plugins that no test here needs a run takes half the time.
    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-rfE", "--no-migrations"]
    pytest += ["-p", "pytest_django.plugin", "-p", "no:cacheprovider"]
    environment = {**os.environ, "ENV_FILE": os.devnull, "DATA_DIR": str(tree / ".data"), "REDIS_URL": ""}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "HYPOTHESIS_PROFILE": "unshrunk"}
    try:
        done = subprocess.run(
            [*pytest, *tests], cwd=tree, env=environment, capture_output=True, text=True, timeout=HANGING_SECONDS
        )
    except subprocess.TimeoutExpired:
        return HANGING, f"no end within {HANGING_SECONDS} s"
    summary = done.stdout.rpartition("short test summary info")[2]  # before it, a log may speak of errors
    failed = re.search(r"^(?:FAILED [^:]*::(.+?)(?: - .*)?|(ERROR .*))$", summary, re.MULTILINE)
    if failed:
        return done.returncode, failed.group(1) or failed.group(2)
    return done.returncode, " / ".join((done.stdout + done.stderr).strip().splitlines()[-2:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
