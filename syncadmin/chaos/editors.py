"""People who edit all the time, on both sides, through the vendors' APIs; they know nothing of SyncAdmin.

What they write is unique and names itself, so that an oracle can follow every value (logs.TOKEN).
"""

from __future__ import annotations

import datetime
import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests

from syncadmin.demo.child import Demo
from syncadmin.demo.office import Office
from syncadmin.demo.seed_jira import CUSTOM_FIELDS
from syncadmin.demo.world import PROJECT_KEY

FIRST_NUMBER = 1000  # above every effort of the sample data
FIRST_DAY = datetime.date(2030, 1, 1)
# Of a hundred deeds: so many are edits of one field on both sides at once, choices among fixed values, new records and
# deletions; the rest are edits of one field on one side.
CLASHES, CHOICES, CREATIONS, DELETIONS = 2, 15, 2, 1
PAIRS_SECONDS = 5.0  # between looks at which pairs there are
FEWEST_PAIRS = 12  # below, nobody deletes

# The fields whose values can be traced: (in Jira, in Salesforce).
PATHS = {
    "title": ("summary", "Subject"),
    "text": ("description", "Description"),
    "reference": (CUSTOM_FIELDS["reference"].id, "Reference__c"),
    "effort": (CUSTOM_FIELDS["effort"].id, "Effort__c"),
    "due": ("duedate", "Due_Date__c"),
}


@dataclass
class People:
    """`people` threads that edit `per_second` in all until `stop`."""

    demo: Demo
    seed: int
    people: int
    per_second: float
    done: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.numbers = itertools.count(FIRST_NUMBER)
        self.pairs: list[tuple[str, str]] = []  # (case id, issue key)
        self.threads = [threading.Thread(target=self._look, daemon=True)]
        for number in range(self.people):
            dice = random.Random(f"{self.seed}-{number}")  # noqa: S311 - no secret
            self.threads.append(threading.Thread(target=self._work, args=(dice,), daemon=True))

    @property
    def edits(self) -> int:
        return sum(self.done.values())

    def begin(self) -> None:
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def _look(self) -> None:
        who = self.demo.person("salesforce")
        while True:
            try:
                self.pairs = self.demo.salesforce.pairs(who)
            except requests.RequestException:
                self.refused += 1
            if self.stop.wait(PAIRS_SECONDS):
                return

    def _work(self, dice: random.Random) -> None:
        office = Office(self.demo.jira, self.demo.salesforce, dice)
        while not self.stop.wait(dice.uniform(0.5, 1.5) * self.people / self.per_second):
            pairs = self.pairs
            if not pairs:
                continue
            kind, deed = self._deed(dice, office, pairs)
            try:
                deed()
                self.done[kind] += 1
            except requests.RequestException:  # a record that was just deleted, a step that is no longer open
                self.refused += 1

    def _deed(
        self, dice: random.Random, office: Office, pairs: list[tuple[str, str]]
    ) -> tuple[str, Callable[[], object]]:
        case, key = dice.choice(pairs)
        name, side, what = dice.choice(sorted(PATHS)), dice.choice("lr"), dice.randrange(100)
        if what < CLASHES:
            return "clash", lambda: self.clash(case, key, name)
        if what < CLASHES + CHOICES:
            return "choice", lambda: office.choose([(case, key)])
        if what < CLASHES + CHOICES + CREATIONS:
            return "creation", lambda: self.create(side)
        if what < CLASHES + CHOICES + CREATIONS + DELETIONS and len(pairs) > FEWEST_PAIRS:
            return "deletion", lambda: self.delete(side, case, key)
        return "edit", lambda: self.edit(side, case, key, name)

    def value(self, side: str, name: str) -> Any:
        """A new value in the form of that side."""
        number = next(self.numbers)
        if name == "effort":
            return number
        if name == "due":
            return (FIRST_DAY + datetime.timedelta(days=number)).isoformat()
        if name == "reference":
            return f"ref-{side}-{number}"
        if name == "title":
            return f"title-{side}-{number}"
        text = f"text-{side}-{number}: what the customer said."
        return document(text) if side == "l" else text

    def edit(self, side: str, case: str, key: str, name: str) -> None:
        value = self.value(side, name)
        left, right = PATHS[name]
        if side == "l":
            self.demo.jira.edit(self.demo.person("jira"), key, **{left: value})
        else:
            self.demo.salesforce.edit(self.demo.person("salesforce"), case, **{right: value})

    def clash(self, case: str, key: str, name: str) -> None:
        for side in "lr":
            self.edit(side, case, key, name)

    def create(self, side: str) -> None:
        title, effort = self.value(side, "title"), self.value(side, "effort")
        body: dict[str, Any]
        if side == "l":
            fields = {"project": {"key": PROJECT_KEY}, "issuetype": {"name": "Task"}, "summary": title}
            body = {"fields": {**fields, CUSTOM_FIELDS["effort"].id: effort}}
            self.demo.jira.call(self.demo.person("jira"), "POST", "issue", body)
        else:
            body = {"Subject": title, "Effort__c": effort, "Origin": "Web"}
            self.demo.salesforce.call(self.demo.person("salesforce"), "POST", "sobjects/Case", body)

    def delete(self, side: str, case: str, key: str) -> None:
        if side == "l":
            self.demo.jira.call(self.demo.person("jira"), "DELETE", f"issue/{key}")
        else:
            self.demo.salesforce.call(self.demo.person("salesforce"), "DELETE", f"sobjects/Case/{case}")


def document(text: str) -> dict[str, Any]:
    """A text as Jira takes it."""
    return {
        "type": "doc",
        "version": 1,
        "content": [{"type": "paragraph", "content": [{"type": "text", "text": text}]}],
    }
