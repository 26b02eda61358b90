"""Reviewers who settle questions, by the commands a person would use."""

from __future__ import annotations

import itertools
import json
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from syncadmin.chaos import logs
from syncadmin.demo.child import Demo

# Fields for which any text will do.
TYPED = {"Summary", "Customer reference"}
HOW = ("left", "right", "left", "right", "base", "value", "value", "ignore")
STALE = 3  # `manage.py resolve`: the field moved
AT_ONCE = 3  # questions looked at before the list is read again


@dataclass
class Reviewers:
    demo: Demo
    seed: int
    number: int  # of people who sit at it
    every: float  # seconds between sittings
    done: Counter[str] = field(default_factory=Counter)  # by how it ended
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.moved: set[int] = set()
        self.typed = itertools.count(1)
        self.threads = []
        for number in range(self.number):
            dice = random.Random(f"{self.seed}-reviewer-{number}")  # noqa: S311 - no secret
            self.threads.append(threading.Thread(target=self._work, args=(dice,), daemon=True))

    def begin(self) -> None:
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def _work(self, dice: random.Random) -> None:
        while not self.stop.wait(self.every):
            try:
                waiting = [one for one in logs.asked(self.demo) if one["rule"] and one["state"] == "open"]
            except (OSError, ValueError):  # the database is away just now
                self.done["no answer"] += 1
                continue
            for one in dice.sample(waiting, min(AT_ONCE, len(waiting))):
                if not self.stop.is_set():
                    self._settle(one, dice)

    def _settle(self, one: dict[str, Any], dice: random.Random) -> None:
        how = dice.choice(HOW)
        if (how == "value" and one["field"] not in TYPED) or (how == "base" and one["base"] is None):
            how = "left"
        choice = ["--take", how]
        if how == "value":
            choice = ["--value", json.dumps(f"typed-x-{next(self.typed)}")]
        seen = ["--seen", json.dumps(one["left"]["value"]), json.dumps(one["right"]["value"])]
        # Where we may have written, the question shows what was known before our write: then a person insists.
        seen = ["--force"] if one["id"] in self.moved else seen
        code = self.demo.command("resolve", str(one["id"]), *choice, *seen).returncode
        if code == STALE:
            self.moved.add(one["id"])
        self.done[{0: "settled", STALE: "stale", 4: "refused", 5: "noted"}.get(code, "no answer")] += 1
