"""The supervisor, driven as people drive it: a process of its own, signals, and what is left afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
# Children write their process ids to files, so that tests can look at them and end them.
FAMILY = """
import os, sys, time
from pathlib import Path
from syncadmin import processes
from syncadmin.processes import GaveUp, Supervisor

folder = Path(sys.argv[1])

def note(name):
    (folder / name).write_text(str(os.getpid()))

def sleeper(name):
    def run():
        note(name)
        print("hello from", name)
        time.sleep(60)
    return run

def stubborn():
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note("stubborn")
    time.sleep(60)

processes.FIRST_PAUSE = 0.05
processes.GRACE = 0.3
processes.HEARTBEAT = 0.02
"""
PATIENCE = 15.0  # seconds; the machine may be busy


@contextlib.contextmanager
def family(folder: Path, body: str) -> Iterator[subprocess.Popen[str]]:
    code = FAMILY + "note('parent')\nwith Supervisor() as family:\n" + body
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        for path in folder.iterdir():
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(path.read_text()), signal.SIGKILL)


def eventually(check: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not check():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def pid(folder: Path, name: str) -> int:
    path = folder / name
    assert eventually(lambda: path.exists() and path.read_text() != ""), f"{name} never started"
    return int(path.read_text())


def lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


TWO = """
    family.start("first", sleeper("first"))
    family.start("second", sleeper("second"))
    family.forever()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_children_and_the_exit_code_is_good(tmp_path: Path, number: int) -> None:
    with family(tmp_path, TWO) as process:
        children = [pid(tmp_path, "first"), pid(tmp_path, "second")]
        process.send_signal(number)
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert not [child for child in children if lives(child)]
    assert "first      | hello from first" in output


def test_a_killed_supervisor_takes_its_children_along(tmp_path: Path) -> None:
    with family(tmp_path, TWO) as process:
        children = [pid(tmp_path, "first"), pid(tmp_path, "second")]
        process.send_signal(signal.SIGKILL)
        assert eventually(lambda: not any(lives(child) for child in children))


def test_a_killed_child_is_started_again_and_the_output_says_so(tmp_path: Path) -> None:
    with family(tmp_path, TWO) as process:
        first = pid(tmp_path, "first")
        os.kill(first, signal.SIGKILL)
        assert eventually(lambda: pid(tmp_path, "first") != first)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=PATIENCE)
    assert "first      | was ended by signal 9; started again in 0.05 s" in output


def test_a_child_that_crashes_each_time_is_started_after_ever_longer_pauses(tmp_path: Path) -> None:
    body = """
    (folder / "count").write_text("")
    def crash():
        with (folder / "count").open("a") as file:
            file.write("x")
        raise RuntimeError("cannot start")
    family.start("crash", crash)
    family.wait(lambda: len((folder / "count").read_text()) >= 4, "four starts", 10)
"""
    with family(tmp_path, body) as process:
        output, _ = process.communicate(timeout=PATIENCE)
        (tmp_path / "count").unlink()
    assert process.returncode == 0
    assert [line for line in output.splitlines() if "started again in" in line][:3] == [
        f"crash      | ended with code 1; started again in {pause} s" for pause in ("0.05", "0.1", "0.2")
    ]
    assert "RuntimeError: cannot start" in output


def test_a_child_that_ignores_the_request_is_killed_after_the_grace_period(tmp_path: Path) -> None:
    with family(tmp_path, '    family.start("stubborn", stubborn)\n    family.forever()\n') as process:
        child = pid(tmp_path, "stubborn")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert not lives(child)


def test_foundations_end_after_those_that_stand_on_them(tmp_path: Path) -> None:
    body = """
    def ends(name):
        def run():
            import signal
            def told(*_):
                with (folder / "order").open("a") as file:
                    file.write(name + " ")
                os._exit(0)
            signal.signal(signal.SIGTERM, told)
            note(name)
            time.sleep(60)
        return run
    family.start("store", ends("store"), foundation=True)
    family.start("worker", ends("worker"))
    family.forever()
"""
    with family(tmp_path, body) as process:
        pid(tmp_path, "store"), pid(tmp_path, "worker")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert (tmp_path / "order").read_text().split() == ["worker", "store"]


def test_run_to_end_gives_the_exit_code_and_a_part_that_stays_away_is_named(tmp_path: Path) -> None:
    body = """
    assert family.run_to_end("fine", ["true"]) == 0
    assert family.run_to_end("refused", lambda: sys.exit("no such thing")) == 1
    try:
        family.wait(lambda: False, "The moon", 0.05)
    except GaveUp as error:
        print(error)
"""
    with family(tmp_path, body) as process:
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert "refused    | no such thing" in output
    assert "The moon did not come up within 0 s." in output
