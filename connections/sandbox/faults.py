"""How a stand-in misbehaves when a test asks for it; no part of any vendor's API."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connections.sandbox.base import Request

# Where a test that runs a stand-in as a process of its own asks for misbehaviour: a POST of [{Fault's fields}, …],
# which replaces what was asked for before; a GET tells how often it happened, and with ?moments=1 also when.
FAULTS_PATH = "/_faults"
DELIVERY = "delivery_"
MOST_MOMENTS = 20_000  # an hour of five requests a second
# Kinds after which the caller cannot know whether its request took effect.
UNANSWERED = frozenset({"drop_before", "drop_after", "status_after", "delay", "delay_after"})


@dataclass
class Fault:
    """One misbehaviour, asked for by a test: applied to requests that fit, `times` times, each with this `chance`.

    kind: "status" (answer `status` instead), "drop_before" (close without acting), "drop_after" (act, then close
    without an answer), "status_after" (act, then answer `status`), "delay" (wait `seconds` first), "delay_after" (act,
    then wait `seconds`); "delivery_drop", "delivery_duplicate", "delivery_late": of what the vendor sends by itself.
    """

    kind: str
    method: str = ""  # "" fits every method
    path: str = ""  # regular expression; "" fits every path
    agent: str = ""  # beginning of the User-Agent; "" fits every caller
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    seconds: float = 0.0
    times: int = 1
    chance: float = 1.0

    def fits(self, request: Request) -> bool:
        if self.times <= 0 or self.kind.startswith(DELIVERY) or self.method not in ("", request.method):
            return False
        caller = request.headers.get("user-agent", "")
        return caller.startswith(self.agent) and bool(re.search(self.path, request.path))


class Luck:
    """Which fault meets a request or delivery, and how often each kind did."""

    def __init__(self) -> None:
        self.dice = random.Random(0)  # noqa: S311 - no secret
        self.hits: Counter[str] = Counter()
        self.unanswered = 0  # writes of a record whose caller cannot know their outcome
        self.moments: list[tuple[str, float, float]] = []  # (kind, arrived, answered) of the last requests that met one

    def of_request(self, faults: Sequence[Fault], request: Request) -> Fault | None:
        return self._take([fault for fault in faults if fault.fits(request)])

    def of_delivery(self, faults: Sequence[Fault]) -> str:
        """ "drop", "duplicate", "late" or ""."""
        found = self._take([fault for fault in faults if fault.kind.startswith(DELIVERY) and fault.times > 0])
        return found.kind.removeprefix(DELIVERY) if found else ""

    def _take(self, candidates: Sequence[Fault]) -> Fault | None:
        for fault in candidates:
            if fault.chance >= 1.0 or self.dice.random() < fault.chance:
                fault.times -= 1
                self.hits[fault.kind] += 1
                return fault
        return None

    def met(self, fault: Fault, writes: int) -> None:
        """`writes`: of how many records the caller does not know the outcome, if the fault is of that kind."""
        if fault.kind in UNANSWERED:
            self.unanswered += writes

    def note(self, fault: Fault, arrived: float) -> None:
        """When a request came that met `fault`, and when it was answered: now."""
        self.moments.append((fault.kind, arrived, time.time()))
        del self.moments[:-MOST_MOMENTS]

    def document(self, moments: bool = False) -> dict[str, Any]:
        told = {"hits": dict(self.hits), "unanswered": self.unanswered}
        return {**told, "moments": self.moments} if moments else told
