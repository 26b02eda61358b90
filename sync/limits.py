"""The limits of the brakes. Pure: counts of the ledger, releases and the time are inputs.

Per side and kind over a sliding hour: more than max(number, share of all links) halts until a person releases an
allowance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mappings.brakes import DEFAULT_BRAKES

Key = tuple[str, str]  # (side, kind)


@dataclass(frozen=True, slots=True)
class Brake:
    """A limit that is passed: nothing of the plan is written."""

    side: str
    kind: str
    planned: int
    already: int  # in the last hour
    limit: int
    room: int = 0  # how many writes a release still lets through


@dataclass(frozen=True, slots=True)
class Released:
    """A person's allowance; times in seconds."""

    number: int
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Span:
    """Operations decided in a stretch of time that lies within or outside of each release as a whole."""

    start: float
    end: float
    number: int
    recent: int  # of them, in the last hour


def bounds(released: Sequence[Released], now: float) -> list[tuple[float, float]]:
    """The stretches into which releases divide the time before `now`, oldest first."""
    marks = sorted({mark for one in released for mark in (one.since, one.until) if mark < now})
    return list(zip([float("-inf"), *marks], [*marks, now], strict=True))


def used(released: Sequence[Released], spans: Sequence[Span], now: float) -> tuple[int, int]:
    """(operations of the last hour that no release covers, what is left of the releases).

    An operation draws on a release before it counts against the limit, and each release is drawn on once: it is no
    higher limit for an hour.
    """
    left = [one.number for one in released]
    soonest = sorted(range(len(released)), key=lambda index: released[index].until)
    counted = 0
    for span in spans:
        rest = span.number
        for index in soonest:
            if released[index].since <= span.start and span.end <= released[index].until:
                drawn = min(rest, left[index])
                left[index] -= drawn
                rest -= drawn
        counted += min(rest, span.recent)
    return counted, sum(number for one, number in zip(released, left, strict=True) if one.until > now)


def limit_of(kind: str, links: int, limits: Mapping[str, Any]) -> int:
    least, share = limits.get(kind) or DEFAULT_BRAKES[kind]
    return max(least, int(share * links))


def check(
    planned: Mapping[Key, int],
    counted: Mapping[Key, int],
    left: Mapping[Key, int],
    links: int,
    limits: Mapping[str, Any],
) -> Brake | None:
    """The first limit that `planned` would pass. `counted`: last hour's operations; `left`: of the releases."""
    for (side, kind), number in sorted(planned.items()):
        limit, before, allowed = limit_of(kind, links, limits), counted.get((side, kind), 0), left.get((side, kind), 0)
        beyond = number - min(number, allowed)
        if beyond and before + beyond > limit:
            room = max(limit - before, 0) + allowed if allowed else 0
            return Brake(side, kind, number, before, limit + allowed, room)
    return None
