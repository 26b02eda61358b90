"""Workers that die: at any statement or remote call, nothing after it runs, not even what cleans up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

from django.db import connection

# What a database does by itself once the process is gone.
ENDS_A_TRANSACTION = ("ROLLBACK", "RELEASE", "SAVEPOINT")


class Killed(BaseException):
    """The worker dies here."""


class Killer:
    """Kills the worker at a statement to come; a dead worker sends nothing more."""

    def __init__(self) -> None:
        self.dead = False
        self.armed: list[int] = []  # statements until death, of each death to come
        self._others = 1  # nobody to kill before the worker is at work

    def arm(self, statements: int) -> None:
        self.armed.append(statements)

    def kill(self) -> None:
        self.dead = True
        raise Killed

    def disarm(self) -> None:
        self.dead = False
        self.armed.clear()

    def look(self) -> None:
        """Before anything the worker does outside."""
        if self.dead and not self._others:
            raise Killed

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """What happens here is done by the worker that may die. Within `others_act` it is still another's work."""
        others, self._others = self._others, 0
        try:
            yield
        finally:
            self._others = others
            self.dead = False

    @contextmanager
    def short_work(self, statements: int | None) -> Iterator[None]:
        """As at_work, for a process that dies at this statement alone, if it comes so far: None: at none."""
        armed, self.armed = self.armed, [] if statements is None else [statements]
        try:
            with self.at_work():
                yield
        finally:
            self.armed = armed

    @contextmanager
    def others_act(self) -> Iterator[None]:
        """What happens here is done by another process."""
        self._others += 1
        try:
            yield
        finally:
            self._others -= 1

    def statement(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if not self._others and not sql.startswith(ENDS_A_TRANSACTION):
            self.look()
            if self.armed:
                self.armed[0] -= 1
                if self.armed[0] < 0:
                    self.armed.pop(0)
                    self.kill()
        return execute(sql, params, many, context)

    @contextmanager
    def watching(self) -> Iterator[None]:
        with connection.execute_wrapper(self.statement):
            yield


class InOrder:
    """An executor that does at once what it is given: the same seed takes the same way."""

    def __init__(self, *_: Any) -> None:
        pass

    def submit(self, act: Callable[..., Any], *args: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(act(*args))
        except Exception as problem:
            done.set_exception(problem)
        return done

    def shutdown(self, **_: Any) -> None:
        pass

    def __enter__(self) -> InOrder:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@contextmanager
def one_thread() -> Iterator[None]:
    """Remote calls of a run go one after the other, in the thread that runs it."""
    with ExitStack() as patches:
        for module in ("sync.read", "sync.apply"):
            patches.enter_context(mock.patch(f"{module}.ThreadPoolExecutor", InOrder))
            patches.enter_context(mock.patch(f"{module}.databases", SimpleNamespace(close_all=lambda: None)))
        yield
