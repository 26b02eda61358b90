"""Positions in a list of changes, as texts: by time, by a growing number, or by place in the outbox.

time     "2026-01-01T09:00:00Z": rows whose column says so or later
number   "<time>=<number>,…", newest first: what the column had reached when; the oldest entry may have no number,
         which is the beginning
outbox   "<at>|<place>|<seen>|<after>": lines at `place` or later, and those written at `at` or later. `seen`: when it
         was read. `after`: the last row of a complete listing that goes on, JSON; empty otherwise
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

LONG_AGO = "1970-01-01T00:00:00Z"
# Entries of a number position: so many lookbacks of it fit the ledger's column, and no more are looked at.
ENTRIES = 6
ENTRY_SECONDS = 300.0


def shifted_time(at: str, seconds: float) -> str:
    moved = datetime.fromisoformat(at) - timedelta(seconds=seconds)
    return moved.astimezone(UTC).isoformat().replace("+00:00", "Z")


def shifted(watermark: str, seconds: float) -> str:
    """Moved back by `seconds`; 0 leaves the position what it is."""
    if "|" in watermark:
        position = Outbox.read(watermark)
        if position.after or not position.at:
            return watermark
        return replace(position, at=shifted_time(position.at, seconds)).text()
    if "=" in watermark:
        return Numbers.read(watermark).shifted(seconds).text()
    return shifted_time(watermark, seconds)


@dataclass(frozen=True, slots=True)
class Outbox:
    at: str = ""
    place: int | None = None
    seen: str = ""
    after: tuple[Any, ...] = ()

    @classmethod
    def read(cls, text: str) -> Outbox:
        at, place, seen, after = [*text.split("|", 3), "", "", ""][:4]
        return cls(at, int(place) if place else None, seen, tuple(json.loads(after)) if after else ())

    @property
    def overlap(self) -> str:
        """The time from which lines are read once more; "" where the place alone decides."""
        if not self.at or (self.seen and datetime.fromisoformat(self.at) >= datetime.fromisoformat(self.seen)):
            return ""
        return self.at

    def text(self) -> str:
        after = json.dumps(self.after, separators=(",", ":")) if self.after else ""
        return f"{self.at}|{'' if self.place is None else self.place}|{self.seen}|{after}"


@dataclass(frozen=True, slots=True)
class Numbers:
    """entries: (time, number or ""), newest first."""

    entries: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, text: str) -> Numbers:
        pairs = (part.partition("=") for part in text.split(","))
        return cls(tuple((at, number) for at, _, number in pairs))

    def text(self) -> str:
        return ",".join(f"{at}={number}" for at, number in self.entries)

    @property
    def number(self) -> str:
        return self.entries[0][1]

    def shifted(self, seconds: float) -> Numbers:
        """As it was `seconds` before its newest entry; the beginning, where nothing is known of then."""
        if not seconds:
            return self
        then = datetime.fromisoformat(self.entries[0][0]) - timedelta(seconds=seconds)
        older = [entry for entry in self.entries if datetime.fromisoformat(entry[0]) <= then]
        return Numbers((older[0],)) if older else Numbers(((shifted_time(self.entries[0][0], seconds), ""),))

    def moved(self, at: str, number: str) -> Numbers:
        """On to a newer number, keeping what older entries tell of the time before."""
        kept = [self.entries[-1]]
        for entry in reversed(self.entries[:-1]):
            apart = datetime.fromisoformat(entry[0]) - datetime.fromisoformat(kept[-1][0])
            if apart.total_seconds() >= ENTRY_SECONDS:
                kept.append(entry)
        kept.reverse()
        return Numbers(((at, number), *kept[: ENTRIES - 1]))
