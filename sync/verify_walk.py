"""One worker's turn at a verification: chunk by chunk through the pairs, counted a stretch at a time.

⚑ Counts, the differences found and the position are one commit, conditional on the fence: a killed worker's
verification goes on where it was and counts no pair twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from django.db import transaction
from django.utils import timezone

from connections.connectors.base import RateLimited
from mappings.models import Mapping
from sync import hints
from sync.compare import AGREED, DRIFT, EQUAL, LACKING, WAITING, sample
from sync.models import Link, Verification, VerifiedDifference
from sync.read import SideFailed
from sync.session import SIDES, Session
from sync.standing import StandsStill, may_compare
from sync.verify_pairs import APART, Looked, count, first_look, second_look

T = TypeVar("T")

# A worker hands on after this long, far inside RQ's 600 s, so that other housekeeping gets its turn.
SLICE_SECONDS = 120.0
# Longer than one slow remote call with all its time-outs: a killed worker's verification goes on this much later.
LEASE = timedelta(seconds=120)
# Pairs read at once, unless a system takes fewer; more would only hold memory.
LARGEST_CHUNK = 500
# Pairs counted with one commit: what a crash makes us read again.
STRETCH = 1000
# Differences listed; the counts go on. A list that nobody can read to its end needs no more.
MOST_LISTED = 2000
# A budget that is short for less than this is waited for on the spot, in small steps that notice a stop.
PATIENCE_SECONDS = 60.0
STEP_SECONDS = 2.0

State, Kind = Verification.State, Verification.Kind


class Lost(Exception):
    """Another worker holds the verification, or it ended: commit nothing."""


class Stopped(Exception):
    """A person asked to stop."""


def pairs_of(mapping: Mapping) -> Any:
    """The links a verification looks at."""
    return Link.objects.filter(mapping=mapping).exclude(state__in=APART)


@dataclass
class Walk:
    """One worker's turn at a verification."""

    one: Verification
    session: Session
    started: float = field(default_factory=time.monotonic)
    looked_at: int = 0  # pairs read since the last commit

    def __post_init__(self) -> None:
        self.calls_before = self.one.calls
        self.seconds_before = self.one.seconds

    def spent(self) -> dict[str, Any]:
        """What is told of the work whenever a row is written."""
        calls = {
            side: {kind: self.calls_before.get(side, {}).get(kind, 0) + now.get(kind, 0) for kind in kinds}
            for side, now in self.session.calls.items()
            for kinds in [{*self.calls_before.get(side, {}), *now}]
        }
        return {"calls": calls, "seconds": round(self.seconds_before + time.monotonic() - self.started, 3)}

    def held(self) -> Any:
        return Verification.objects.filter(pk=self.one.pk, fence=self.one.fence, state=State.RUNNING)

    def beat(self) -> None:
        """A sign of life. Raises Lost, Stopped."""
        now = timezone.now()
        alive = {"heartbeat_at": now, "lease_until": now + LEASE, "done": self.one.counts["pairs"] + self.looked_at}
        if not self.held().filter(stop_asked_by="").update(**alive, **self.spent()):
            raise Stopped if self.held().exists() else Lost

    def look_out(self) -> None:
        """Raises StandsStill where a window opened, or somebody paused what it reads."""
        if not may_compare(self.session, by_clock=not self.one.started_by):
            raise StandsStill

    def call(self, act: Callable[[], T]) -> T:
        """One remote call. A budget that is short for a moment is waited for here: live edits go first."""
        while True:
            self.beat()
            self.look_out()
            try:
                return act()
            except (RateLimited, SideFailed) as problem:
                error = problem.error if isinstance(problem, SideFailed) else problem
                if not isinstance(error, RateLimited) or error.after > PATIENCE_SECONDS or self.over():
                    raise
            self.wait(error.after)

    def wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, STEP_SECONDS))
            self.beat()

    def over(self) -> bool:
        return time.monotonic() - self.started > SLICE_SECONDS


def pairs_left(walk: Walk) -> Iterator[list[Link]]:
    """The links that are still to be looked at, a chunk at a time, by key: memory stays flat."""
    one, session = walk.one, walk.session
    # After a setback in the smallest pieces, so that a narrow quota still gets on.
    some = min if one.tries > 1 else max
    size = min(LARGEST_CHUNK, some(session.connectors[side].capabilities.bulk_read for side in SIDES))
    links = pairs_of(one.mapping).order_by("pk")
    if one.kind == Kind.SAMPLE:
        chosen = [pk for pk in sample(_keys(one), one.size, one.seed) if pk > one.cursor]
        for start in range(0, len(chosen), size):
            yield list(links.filter(pk__in=chosen[start : start + size]))
        return
    after = one.cursor
    while chunk := list(links.filter(pk__gt=after, pk__lte=one.last)[:size]):
        after = chunk[-1].pk
        yield chunk


# Keys read at once while a sample is drawn.
KEYS = 10_000


def _keys(one: Verification) -> Iterator[int]:
    after = 0
    keys = pairs_of(one.mapping).filter(pk__lte=one.last).order_by("pk").values_list("pk", flat=True)
    while chunk := list(keys.filter(pk__gt=after)[:KEYS]):
        after = chunk[-1]
        yield from chunk


def stretch(walk: Walk, pairs: Iterator[list[Link]]) -> bool:
    """Look at some pairs and count them. Returns whether there were no more.

    Raises SideFailed, Lost, Stopped, StandsStill; then none of these pairs is counted.
    """
    one, session = walk.one, walk.session
    looked: list[Looked] = []
    doubtful: list[Looked] = []
    over, after = True, one.cursor
    most = 1 if one.tries > 1 else STRETCH
    for chunk in pairs:
        for found in first_look(session, chunk, walk.call):
            (doubtful if found.verdict.doubtful else looked).append(found)
        walk.looked_at += len(chunk)
        after = max([after, *(link.pk for link in chunk)])
        if walk.looked_at >= most or len(doubtful) >= LARGEST_CHUNK:
            over = False
            break
    looked += second_look(session, doubtful, walk.call)
    walk.look_out()  # a window may have opened during the last read
    _commit(walk, looked, after)
    return over


def _commit(walk: Walk, looked: list[Looked], after: int) -> None:
    """Count these pairs, list what differs, move on. ⚑ One transaction, conditional on the fence."""
    one = walk.one
    counts = deepcopy(one.counts)
    differences = []
    for pair in sorted(looked, key=lambda pair: pair.link.pk):
        count(counts, pair.verdict)
        differences += _differences(one, pair)
    counts["found"] += len(differences)
    kept = differences[: MOST_LISTED - counts["kept"]]
    counts["kept"] += len(kept)
    now = timezone.now()
    moved = {"counts": counts, "cursor": after, "done": counts["pairs"], "moved_at": now, "tries": 0, "reason": {}}
    with transaction.atomic():
        _ring(walk, looked)
        if not walk.held().update(**moved, **walk.spent(), heartbeat_at=now, lease_until=now + LEASE):
            raise Lost
        VerifiedDifference.objects.bulk_create(kept)
    one.counts, one.cursor, one.tries, one.reason = counts, after, 1, {}
    walk.looked_at = 0


def _differences(one: Verification, pair: Looked) -> list[VerifiedDifference]:
    """The lines of a pair: fields that drifted or may differ, records that are not there."""
    verdict = pair.verdict
    if verdict.kind in (EQUAL, WAITING):
        return []
    if verdict.kind == LACKING:
        kind = VerifiedDifference.Kind.MISSING
        return [VerifiedDifference(verification=one, link=pair.link, kind=kind, side=side) for side in verdict.lacking]
    return [
        VerifiedDifference(
            verification=one,
            link=pair.link,
            kind=found.kind,
            rule_id=found.rule,
            field_label=found.label[:200],
            left_value=found.left,
            right_value=found.right,
        )
        for found in verdict.fields
        if found.kind in (DRIFT, AGREED)
    ]


def _ring(walk: Walk, looked: list[Looked]) -> None:
    """What no bell and no list told of, edits, losses and returns to the scope, is handed to the ordinary run, which
    decides about it."""
    if walk.one.mapping.state != Mapping.State.ACTIVE:
        return  # its next run reads the lists anyway
    for side in SIDES:
        ids = [pair.link.record_id(side) or "" for pair in looked if _untold(pair, side)]
        hints.mark(walk.one.mapping_id, side, ids, hints.Lane.VERIFY)


def _untold(pair: Looked, side: str) -> bool:
    verdict, bases = pair.verdict, pair.link.bases(side)
    if pair.returned:
        return side == pair.link.out_of_scope
    if verdict.kind == LACKING:
        return side in verdict.lacking
    edited = [one for one in verdict.fields if one.kind == "edited"] if verdict.doubtful else []
    return any(bases.get(one.rule) != (one.left if side == "left" else one.right) for one in edited)
