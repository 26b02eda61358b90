"""Several processes run as one: started in order, restarted when they crash, ended together.

Every child is a fork of the process that supervises, which has loaded the application once: a dozen processes
are up in the time of one, and share its memory. So the supervisor holds no database connection and no thread
while it forks. On Linux a child is told by the kernel when its supervisor is gone, even by kill -9.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import BinaryIO

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # linux/prctl.h
FIRST_PAUSE = 0.5  # seconds before the first restart; doubled with each crash in a row
LONGEST_PAUSE = 30.0  # a child that cannot start must not keep the machine busy
STEADY = 60.0  # seconds after which a child counts as running, so that its next crash is a first one again
GRACE = 10.0  # seconds a child has to finish what it does; a job's batch takes about one
HEARTBEAT = 0.2  # seconds between looks at the children: how late a crash or a signal is noticed
WAITABLE = 65536  # bytes read from a child's output at once

Run = Callable[[], None] | Sequence[str]  # a function, or a command to become


class Stopping(Exception):
    """A person or the system asked us to stop."""


class GaveUp(Exception):
    """A part did not come up."""


@dataclass
class Child:
    name: str
    run: Run
    restart: bool = True
    foundation: bool = False  # others need it until they have ended: stopped last
    pid: int = 0
    output: int = -1  # our end of its output
    rest: bytes = b""  # of an unfinished line
    status: int | None = None  # exit code of a child that ended and stays so; -9: killed by signal 9
    started: float = 0.0
    pause: float = field(default_factory=lambda: FIRST_PAUSE)
    due: float | None = None  # when to start it again

    @property
    def alive(self) -> bool:
        return self.pid > 0


@dataclass
class Supervisor:
    """`with Supervisor() as supervisor:` start children, then `forever()`. Everything happens in this thread."""

    out: BinaryIO = field(default_factory=lambda: sys.stdout.buffer)
    before_fork: Callable[[], None] = lambda: None  # close what must not be shared
    children: dict[str, Child] = field(default_factory=dict)
    asked_to_stop: int = 0
    width: int = 10

    def __enter__(self) -> Supervisor:
        self.selector = selectors.DefaultSelector()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._asked_to_stop)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        self.stop()
        return kind is Stopping

    def start(self, name: str, run: Run, restart: bool = True, foundation: bool = False) -> None:
        self.children[name] = child = Child(name, run, restart, foundation)
        self.width = max(self.width, len(name))
        self._fork(child)

    def wait(self, ready: Callable[[], bool], what: str, seconds: float) -> None:
        """Look after the children until `ready`. Raises GaveUp after `seconds`, Stopping when asked to."""
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                raise GaveUp(f"{what} did not come up within {seconds:.0f} s. Its output is above.")
            self._look_after()

    def run_to_end(self, name: str, run: Run, seconds: float = 600.0) -> int:
        """Run a child once and give its exit code."""
        self.start(name, run, restart=False)
        child = self.children[name]
        self.wait(lambda: child.status is not None, name, seconds)
        self._read(child)
        return child.status or 0

    def forever(self) -> None:
        """Look after the children until asked to stop (raises Stopping)."""
        while True:
            self._look_after()

    def stop(self) -> None:
        """End all children: politely, then after GRACE seconds (or at a second request) at once."""
        for foundation in (False, True):
            members = [child for child in self.children.values() if child.foundation is foundation]
            for child in members:
                child.due = None
                child.restart = False
                self._signal(child, signal.SIGTERM)
            end, requests = time.monotonic() + GRACE, self.asked_to_stop
            while any(child.alive for child in members):
                if time.monotonic() > end or self.asked_to_stop > requests + 1:
                    for child in members:
                        self._signal(child, signal.SIGKILL)
                self._step()

    # -- inside ---------------------------------------------------------------------------------------------

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.asked_to_stop += 1

    def _look_after(self) -> None:
        if self.asked_to_stop:
            raise Stopping
        self._step()

    def _step(self) -> None:
        """Pass on output, take note of ended children, start again those that are due."""
        if self.selector.get_map():
            for key, _ in self.selector.select(HEARTBEAT):
                self._read(key.data)
        else:
            time.sleep(HEARTBEAT)
        for child in self.children.values():
            if child.alive:
                self._reap(child)
            elif child.due is not None and time.monotonic() >= child.due:
                self._fork(child)

    def _reap(self, child: Child) -> None:
        pid, code = os.waitpid(child.pid, os.WNOHANG)
        if not pid:
            return
        child.pid = 0
        self._read(child)
        status = os.waitstatus_to_exitcode(code)
        if not child.restart:
            child.status = status
            return
        if time.monotonic() - child.started > STEADY:
            child.pause = FIRST_PAUSE
        child.due = time.monotonic() + child.pause
        how = f"was ended by signal {-status}" if status < 0 else f"ended with code {status}"
        self._say(child, f"{how}; started again in {child.pause:g} s".encode())
        child.pause = min(child.pause * 2, LONGEST_PAUSE)

    def _signal(self, child: Child, number: int) -> None:
        if child.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, number)

    def _fork(self, child: Child) -> None:
        self._forget_output(child)
        self.before_fork()
        self.out.flush()
        parent = os.getpid()
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            for other in self.children.values():
                if other.output >= 0:
                    os.close(other.output)
            os.close(reading)
            become(child, parent, writing)
        os.close(writing)
        os.set_blocking(reading, False)
        child.pid, child.output, child.rest, child.due, child.started = pid, reading, b"", None, time.monotonic()
        self.selector.register(reading, selectors.EVENT_READ, child)

    def _read(self, child: Child) -> None:
        if child.output < 0:
            return
        try:
            data = os.read(child.output, WAITABLE)
        except BlockingIOError:
            return
        *lines, child.rest = (child.rest + data).split(b"\n")
        if not data:
            lines += [child.rest] if child.rest else []
            self._forget_output(child)
        for line in lines:
            self._say(child, line)

    def _forget_output(self, child: Child) -> None:
        if child.output >= 0:
            self.selector.unregister(child.output)
            os.close(child.output)
            child.output, child.rest = -1, b""

    def _say(self, child: Child, line: bytes) -> None:
        # The terminal may be gone (SIGHUP) while children still end: that must not stop us from ending them.
        with contextlib.suppress(OSError, ValueError):
            self.out.write(f"{child.name:<{self.width}} | ".encode() + line + b"\n")
            self.out.flush()


def die_with(parent: int, number: int = signal.SIGTERM) -> None:
    """Be sent `number` when the process `parent`, which forked us, ends in any way (Linux; elsewhere: no effect)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel knew our wish
        os._exit(0)


def name_process(name: str) -> None:
    """What `ps -o comm` and `top` show, so that a person can tell forks of one command apart (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def become(child: Child, parent: int, output: int) -> None:
    """In a fresh fork: leave the parent's state behind, run, and never return."""
    code, run = 1, child.run
    try:
        die_with(parent)
        name_process(child.name)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)  # Ctrl-C reaches the supervisor alone, which ends the others in order
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
        if callable(run):
            run()
            code = 0
        else:
            os.execvp(run[0], list(run))  # noqa: S606 - an argument list of our own, no shell
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:  # whatever it is, a fork must not return into the supervisor's code
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
