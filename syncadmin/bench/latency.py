"""From a person's edit at one vendor to the value at the other: the time people feel."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from syncadmin.demo.office import Jira, Salesforce
from syncadmin.demo.world import Person

# How often the other side is asked whether the value is there; the resolution of the figures, in seconds.
LOOK_SECONDS = 0.02
GIVE_UP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds."""

    name: str
    times: list[float]
    lost: int

    def line(self) -> str:
        if not self.times:
            return f"{self.name}: nothing arrived within {GIVE_UP_SECONDS:.0f} s ({self.lost} edits)"
        return (
            f"{self.name}: {len(self.times)} edits, median {statistics.median(self.times):.2f} s, "
            f"worst {max(self.times):.2f} s, not arrived {self.lost}"
        )


@dataclass
class Vendors:
    jira: Jira
    salesforce: Salesforce
    jira_person: Person
    salesforce_person: Person

    def pairs(self) -> list[tuple[str, str]]:
        return self.salesforce.pairs(self.salesforce_person)

    def jira_to_salesforce(self, case: str, key: str, word: str) -> float | None:
        self.jira.edit(self.jira_person, key, summary=word)
        return _arrives(lambda: self.salesforce.case(self.salesforce_person, case)["Subject"], word)

    def salesforce_to_jira(self, case: str, key: str, word: str) -> float | None:
        self.salesforce.edit(self.salesforce_person, case, Subject=word)
        return _arrives(lambda: self.jira.issue(self.jira_person, key)["summary"], word)


def _arrives(look: Callable[[], Any], wanted: str) -> float | None:
    """Seconds until `look` says `wanted`; None if it does not in time. The edit was answered just before."""
    started = time.perf_counter()
    while (passed := time.perf_counter() - started) < GIVE_UP_SECONDS:
        if look() == wanted:
            return passed
        time.sleep(LOOK_SECONDS)
    return None


def measure(vendors: Vendors, edits: int, pause: float, seed: int = 1) -> Iterator[Figures]:
    """`edits` single edits in each direction, `pause` seconds apart, each on another record."""
    dice = random.Random(seed)  # noqa: S311 - a sample, not a secret
    pairs = vendors.pairs()
    chosen = dice.sample(pairs, min(2 * edits, len(pairs)))
    ways = (("Jira → Salesforce", vendors.jira_to_salesforce), ("Salesforce → Jira", vendors.salesforce_to_jira))
    for number, (name, way) in enumerate(ways):
        times: list[float] = []
        lost = 0
        for count in range(edits):
            case, key = chosen[(number * edits + count) % len(chosen)]
            took = way(case, key, f"Measured {seed}-{number}-{count} {dice.random():.6f}")
            if took is None:
                lost += 1
            else:
                times.append(took)
            time.sleep(pause)
        yield Figures(name, times, lost)
