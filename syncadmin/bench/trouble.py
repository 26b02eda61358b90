"""How the demo gets through trouble: a system that is away, one that says "too many", one record that always fails.

The stand-ins misbehave towards SyncAdmin alone (`agent`); their people go on editing. What is told was counted at the
stand-ins, or is SyncAdmin's own ledger.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import requests
from django.utils import timezone

from connections.connectors.http import USER_AGENT
from connections.sandbox.faults import FAULTS_PATH
from syncadmin.bench.latency import Vendors

ALWAYS = 10**9  # times a fault happens: until another is asked for
LOOK_SECONDS = 0.5
GIVE_UP_SECONDS = 1800.0
# A call that comes so soon after the answer "too many" had left before the answer came.
ON_ITS_WAY_SECONDS = 0.05
WAIT_SECONDS = 4  # what the stand-in asks for
POISON_EVERY = 5  # edits of others between two of the record that always fails
# An edit counts as delayed that takes this much longer than the slowest one did without the poison record.
DELAYED_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Bench:
    vendors: Vendors
    mapping: Any
    say: Callable[[str], Any]

    # The stand-ins and the ledger. ------------------------------------------------------------------------------

    def ask(self, url: str, *faults: dict[str, Any]) -> None:
        asked = [{"agent": USER_AGENT, "times": ALWAYS, **fault} for fault in faults]
        requests.post(url + FAULTS_PATH, json=asked, timeout=10).raise_for_status()

    def met(self, url: str, since: float) -> list[tuple[float, float]]:
        """(arrived, answered) of the calls that met a fault since then."""
        moments = requests.get(url + FAULTS_PATH, params={"moments": "1"}, timeout=30).json()["moments"]
        return sorted((arrived, answered) for _, arrived, answered in moments if arrived >= since)

    def pairs(self) -> list[tuple[str, str]]:
        """(case id, issue key) of the pairs about which no question is open: what waits for a person never arrives."""
        from sync.models import Conflict, Link

        asked = Conflict.objects.filter(mapping=self.mapping, state=Conflict.State.OPEN, link__isnull=False)
        quiet = Link.objects.filter(mapping=self.mapping, state=Link.State.ACTIVE).exclude(pk__in=asked.values("link"))
        ids = set(quiet.values_list("right_id" if self.is_right("salesforce") else "left_id", flat=True))
        return [pair for pair in self.vendors.pairs() if pair[0] in ids]

    def waiting(self) -> int:
        """Hints and open operations of the mapping."""
        from sync.models import ChangedRecord, Operation

        hints = ChangedRecord.objects.filter(mapping=self.mapping).count()
        return hints + Operation.objects.filter(mapping=self.mapping, state__in=Operation.OPEN).count()

    def until_done(self, differing: Callable[[], int]) -> float | None:
        """Seconds until nothing waits and nothing differs; None if that does not come."""
        started = time.monotonic()
        while time.monotonic() - started < GIVE_UP_SECONDS:
            if not self.waiting() and not differing():
                return time.monotonic() - started
            time.sleep(LOOK_SECONDS)
        return None

    def allow(self) -> None:
        """Let thousands of edits past the brakes."""
        from sync.models import Allowance

        for side in ("left", "right"):
            Allowance.objects.create(
                mapping=self.mapping,
                side=side,
                kind="update",
                number=100_000,
                reason="benchmark of trouble",
                by_name="bench",
                expires_at=timezone.now() + timedelta(hours=6),
            )

    # Trouble. ---------------------------------------------------------------------------------------------------

    def outage(self, seconds: float, rate: float) -> None:
        """`seconds` without Salesforce, at `rate` edits a second in Jira: how long until the backlog is gone?"""
        url, vendors = self.vendors.salesforce.url, self.vendors
        self.allow()
        pairs, wanted = self.pairs(), dict[str, str]()
        began = time.time()
        self.ask(url, {"kind": "drop_before"})
        for number in paced(seconds, rate):
            case, key = pairs[number % len(pairs)]
            wanted[case] = f"Outage {began:.0f} {number}"
            vendors.jira.edit(vendors.jira_person, key, summary=wanted[case])
        edits, waited = number + 1, self.waiting()
        calls = len(self.met(url, began))
        connection = self.mapping.right_connection if self.is_right("salesforce") else self.mapping.left_connection
        connection.refresh_from_db()
        breaker = "open" if connection.down_since else "not open"
        self.say(
            f"Outage: {seconds:.0f} s without Salesforce, {edits} edits of {len(wanted)} issues in Jira. {calls} calls "
            f"met it; the breaker is {breaker}; {waited} hints and operations wait."
        )
        self.ask(url)
        took = self.until_done(lambda: self.differing(wanted))
        self.say(
            f"Backlog: not gone after {GIVE_UP_SECONDS:.0f} s"
            if took is None
            else f"Backlog: gone {took:.1f} s after Salesforce was back; every case says what its issue says."
        )

    def is_right(self, kind: str) -> bool:
        return bool(self.mapping.right_connection.kind == kind)

    def differing(self, wanted: dict[str, str]) -> int:
        """How many cases do not say what was last written into their issue."""
        query = "SELECT Id, Subject FROM Case WHERE Jira_Key__c != null"
        vendors = self.vendors
        found = vendors.salesforce.call(vendors.salesforce_person, "GET", f"query?q={query.replace(' ', '+')}")
        subjects = {row["Id"]: row["Subject"] for row in found["records"]}
        return sum(subjects.get(case) != subject for case, subject in wanted.items())

    def storm(self, seconds: float, rate: float) -> None:
        """`seconds` in which Jira answers every call with 429 and Retry-After, while two workers have work there."""
        from sync import verify
        from sync.models import Verification

        url, vendors = self.vendors.jira.url, self.vendors
        self.allow()
        pairs, wanted = self.pairs(), dict[str, str]()
        try:
            verify.begin(self.mapping, Verification.Kind.COMPLETE)
        except verify.CannotBegin:
            self.say("A verification goes on already; it takes part as it is.")
        began = time.time()
        self.ask(
            url, {"kind": "status", "path": "^/rest/", "status": 429, "headers": {"Retry-After": str(WAIT_SECONDS)}}
        )
        for number in paced(seconds, rate):
            case, key = pairs[number % len(pairs)]
            wanted[key] = f"Storm {began:.0f} {number}"
            vendors.salesforce.edit(vendors.salesforce_person, case, Subject=wanted[key])
        moments = self.met(url, began)
        self.ask(url)
        early, on_their_way = too_early(moments, WAIT_SECONDS)
        self.say(
            f"Storm: {seconds:.0f} s of 429, Retry-After {WAIT_SECONDS} s, at Jira; {number + 1} edits in Salesforce "
            f"and a verification. {len(moments)} calls; before Retry-After had passed: {early}; on their way when the "
            f"first 429 was answered: {on_their_way}."
        )
        took = self.until_done(lambda: 0)
        self.say(f"Backlog: gone {took:.1f} s after the storm." if took is not None else "Backlog: not gone.")

    def poison(self, edits: int, pause: float) -> None:
        """`edits` edits in Salesforce without and with one issue whose every write Jira answers with 500."""
        vendors, url = self.vendors, self.vendors.jira.url
        self.allow()
        (poison_case, poison_key), *pairs = self.pairs()
        issue = vendors.jira.call(vendors.jira_person, "GET", f"issue/{poison_key}")["id"]
        without = list(self.times(pairs, edits, pause, lambda number: None))
        began = time.time()
        self.ask(url, {"kind": "status", "method": "PUT", "path": f"issue/({issue}|{poison_key})$", "status": 500})

        def spoil(number: int) -> None:
            if number % POISON_EVERY == 0:
                subject = f"Poison {began:.0f} {number}"
                vendors.salesforce.edit(vendors.salesforce_person, poison_case, Subject=subject)

        beside = list(self.times(pairs, edits, pause, spoil))
        failed = len(self.met(url, began))
        self.ask(url)
        slowest = max(without)
        delayed = sum(took > slowest + DELAYED_SECONDS for took in beside)
        for name, times in (("without a poison record", without), ("beside a poison record", beside)):
            self.say(f"{name}: {edits} edits, " + figures(times))
        self.say(f"Poison: {failed} writes of it failed; edits of other records delayed by it: {delayed}.")
        took = self.until_done(lambda: 0)
        self.say(
            f"The record itself was taken over {took:.1f} s after its writes were answered." if took else "It waits."
        )

    def times(
        self, pairs: Sequence[tuple[str, str]], edits: int, pause: float, before: Callable[[int], None]
    ) -> Iterator[float]:
        """Seconds from each edit to its value in Jira; one that does not come counts as the time waited for it."""
        dice = random.Random(edits)  # noqa: S311 - a sample, not a secret
        for number in range(edits):
            before(number)
            case, key = pairs[number % len(pairs)]
            started = time.monotonic()
            took = self.vendors.salesforce_to_jira(
                case, key, f"Measured {number} {dice.random():.9f} {time.time():.3f}"
            )
            yield time.monotonic() - started if took is None else took
            time.sleep(pause)


def paced(seconds: float, rate: float) -> Iterator[int]:
    """Numbers from 0, `rate` a second for `seconds`; what fell behind is made up for."""
    started = time.monotonic()
    for number in range(max(1, round(seconds * rate))):
        time.sleep(max(0.0, started + number / rate - time.monotonic()))
        yield number


def too_early(moments: Sequence[tuple[float, float]], wait: float) -> tuple[int, int]:
    """(calls before the time that an answered 429 asked for had passed, calls on their way when it was answered).

    moments: (arrived, answered) of each 429, by time. The first of a group opens a wait from its answer on.
    """
    early = on_their_way = 0
    answered = float("-inf")
    for arrived, done in moments:
        if arrived >= answered + wait:
            answered = done
        elif arrived <= answered + ON_ITS_WAY_SECONDS:
            on_their_way += 1
        else:
            early += 1
    return early, on_their_way


def figures(times: Sequence[float]) -> str:
    ordered = sorted(times)
    late = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return f"median {statistics.median(ordered):.2f} s, p95 {late:.2f} s, worst {ordered[-1]:.2f} s"
