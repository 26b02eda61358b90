"""A clock that stands still unless told: everything the engine knows of time comes from here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from types import SimpleNamespace
from unittest import mock

from django.utils import timezone

# A Monday at noon; any moment does, as long as it is always the same one.
START = datetime(2030, 1, 7, 12, 0, tzinfo=UTC)
# Between two looks at the clock something has happened: no two of our own moments are equal.
TICK = timedelta(microseconds=50)
# Modules that read `time.monotonic()`.
MONOTONIC_IN = ("sync.lease", "sync.engine")


class VirtualClock:
    def __init__(self) -> None:
        self.moment = START

    def now(self) -> datetime:
        self.moment += TICK
        return self.moment

    def monotonic(self) -> float:
        return (self.now() - START).total_seconds()

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@contextmanager
def installed(clock: VirtualClock) -> Iterator[None]:
    """Django's idea of now, and every monotonic clock of the engine, come from `clock`."""

    class Moment(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return clock.now()

    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(timezone, "datetime", Moment))
        for module in MONOTONIC_IN:
            patches.enter_context(mock.patch(f"{module}.time", SimpleNamespace(monotonic=clock.monotonic)))
        yield
