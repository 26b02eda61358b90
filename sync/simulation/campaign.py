"""Many histories, one after the other: what they contained, how many failed, and each failure made small."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from sync.simulation.oracle import judge
from sync.simulation.player import Played, Player
from sync.simulation.script import Script, write_script
from sync.simulation.shrink import smallest

FAILURES_SHOWN = 3  # each takes a few hundred histories to make small,
SHRINK_SECONDS = 180  # or what gets done of them in this time: a crowded world takes seconds


# What happened, not what was planned: a fault whose call never comes and an answer to no question count for nothing.
MUST_MEET = ("crashes", "faults met", "change", "asked", "edits inside")
# What histories of one world have for themselves, so many on average; all else happens to all of them.
OF_ONE = frozenset(
    {
        "pair",
        "edit",
        "edits inside",
        "create",
        "delete",
        "restore",
        "restored",
        "instruct",
        "asked",
        "several answered at once",
        "edited and sent",
        "creates edited",
    }
)


@dataclass
class Failure:
    seed: int
    findings: list[str]
    script: Script
    trace: list[str]


@dataclass
class Result:
    histories: int = 0
    worlds: int = 0  # several histories can share one
    seconds: float = 0.0
    mix: Counter[str] = field(default_factory=Counter)  # what the histories met, all together
    least: dict[str, int] = field(default_factory=dict)  # what those of the world that met least of it met
    hashes: dict[int, str] = field(default_factory=dict)
    undetectable: int = 0
    failures: list[Failure] = field(default_factory=list)

    def hash(self) -> str:
        """One hash over all traces: the same seeds give the same."""
        text = "".join(self.hashes[seed] for seed in sorted(self.hashes))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def add(self, other: Result) -> None:
        self.histories += other.histories
        self.worlds += other.worlds
        self.seconds = max(self.seconds, other.seconds)
        self.mix += other.mix
        self.least = {kind: min(self.least[kind], other.least[kind]) for kind in MUST_MEET}
        self.hashes |= other.hashes
        self.undetectable += other.undetectable
        self.failures += other.failures


def findings_of(script: Script) -> tuple[Played, list[str], int]:
    """Play and judge: what was played, what is wrong with it, overwritten edits that nobody could tell of."""
    played = Player(script).play()
    verdict = judge(played.evidence)
    return played, [*verdict.findings, *filter(None, (played.loop, played.short))], verdict.undetectable


def run(seeds: Iterable[int]) -> Result:
    result = Result()
    started = time.monotonic()
    for seed in seeds:
        script = write_script(seed)
        played, findings, undetectable = findings_of(script)
        result.histories += script.crowd
        result.worlds += 1
        result.mix += Counter({k: n if k in OF_ONE else n * script.crowd for k, n in played.mix.items()})
        for kind in MUST_MEET:
            met = played.mix[kind] // (script.crowd if kind in OF_ONE else 1)
            result.least[kind] = min(met, result.least.get(kind, met))
        result.hashes[seed] = played.hash()
        result.undetectable += undetectable
        if findings:
            small = len(result.failures) < FAILURES_SHOWN
            result.failures.append(_failure(script.as_played(played.spared), findings, small))
    result.seconds = time.monotonic() - started
    return result


def _failure(script: Script, findings: list[str], small: bool) -> Failure:
    kind = findings[0].partition(":")[0]
    enough = time.monotonic() + SHRINK_SECONDS

    def fails(candidate: Script) -> bool:
        return time.monotonic() < enough and any(one.partition(":")[0] == kind for one in findings_of(candidate)[1])

    least = smallest(script, fails) if small else script
    played, found, _ = findings_of(least)
    return Failure(script.seed, found or findings, least, played.trace)
