"""Parts of a running SyncAdmin fail while people edit: nothing is lost, nothing is made twice, all of it comes back."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import redis

from syncadmin import embedded
from syncadmin.demo.child import Demo, running_demo

# A smaller company, so that the first run is over soon. And vendors that promise to have dropped a call without an
# answer sooner than the real ones do, which take up to two minutes: so long an update found in "sending" is left alone.
BEFORE = """
from dataclasses import replace
from syncadmin.demo import world
world.BOTH, world.ONLY_JIRA, world.ONLY_SALESFORCE = 45, 3, 2
from connections.connectors import connector_class
for kind in map(connector_class, ("jira", "salesforce")):
    kind.capabilities = replace(kind.capabilities, update_timeout=5.0)
"""
RECORDS = 50  # on each side after the first run
EDITS = 40
DOWN = {"kind": "status", "status": 503, "headers": {"Retry-After": "2"}, "path": "^/services/data", "times": 10**6}
CATCH_SECONDS = 0.005  # between looks at who holds the mapping: a run takes some tenths of a second
COMING_BACK_SECONDS = 240.0  # most of it is the half minute for which a killed worker holds its mapping


@pytest.fixture
def demo() -> Iterator[Demo]:
    with running_demo(before=BEFORE, DEMO_APPROVE="1") as running:
        running.wait(lambda: len(known_cases(running)) == RECORDS, "the first run has written", 180)
        yield running


def known_cases(demo: Demo) -> list[dict[str, str]]:
    """The cases that know their issue."""
    query = "SELECT Id, Subject, Jira_Key__c FROM Case WHERE Jira_Key__c != null"
    found = demo.salesforce.call(demo.person("salesforce"), "GET", f"query?q={quote(query)}")["records"]
    return list(found)


def issues(demo: Demo) -> dict[str, str]:
    """{key: summary}"""
    path = f"search/jql?jql={quote('project = SUP')}&maxResults=100&fields=summary"
    answer = demo.jira.call(demo.person("jira"), "GET", path)
    assert answer.get("isLast", True)
    return {issue["key"]: issue["fields"]["summary"] for issue in answer["issues"]}


def from_database(demo: Demo, query: str) -> str:
    database = sqlite3.connect(f"file:{demo.folder / 'syncadmin.sqlite3'}?mode=ro", uri=True, timeout=20)
    try:
        (answer,) = database.execute(query).fetchone()
    finally:
        database.close()
    return str(answer)


class Burst:
    """40 people's edits, each of another pair, every second one in Salesforce.

    Only pairs that agree on their title: a question that was open before goes on waiting for its answer.
    """

    def __init__(self, demo: Demo) -> None:
        self.demo = demo
        said = issues(demo)
        pairs = sorted((c["Jira_Key__c"], c["Id"]) for c in known_cases(demo) if said[c["Jira_Key__c"]] == c["Subject"])
        self.pairs = pairs[:EDITS]
        self.wanted: dict[str, str] = {}  # key: what both sides must say in the end

    def edit(self, numbers: range, only_jira: bool = False) -> None:
        for number in numbers:
            key, case = self.pairs[number]
            self.wanted[key] = word = f"Edit {number} of {key}"
            if number % 2 and not only_jira:
                self.demo.salesforce.edit(self.demo.person("salesforce"), case, Subject=word)
            else:
                self.demo.jira.edit(self.demo.person("jira"), key, summary=word)

    def missing(self) -> dict[str, tuple[str, str, str]]:
        """{key: (in Jira, in Salesforce, wanted)} of what has not arrived."""
        left = issues(self.demo)
        right = {case["Jira_Key__c"]: case["Subject"] for case in known_cases(self.demo)}
        found = {key: (left[key], right[key], word) for key, word in self.wanted.items()}
        return {key: said for key, said in found.items() if len(set(said)) > 1}


def test_a_killed_worker_a_flushed_queue_and_a_vendor_that_is_down_lose_nothing_and_double_nothing(demo: Demo) -> None:
    burst = Burst(demo)
    asked_before = {one["id"] for one in conflicts(demo)}

    burst.edit(range(10))
    redis.Redis(unix_socket_path=str(embedded.socket_path(demo.folder))).flushall()

    burst.edit(range(10, 16))
    demo.ask_for_faults("salesforce", DOWN)
    burst.edit(range(16, 22), only_jira=True)
    noticed = "SELECT count(*) FROM connections_connection WHERE kind = 'salesforce' AND retry_after IS NOT NULL"
    demo.wait(lambda: from_database(demo, noticed) == "1", "the outage is noticed")
    demo.ask_for_faults("salesforce")

    editing = threading.Thread(target=burst.edit, args=(range(22, EDITS),))
    editing.start()
    live = {pid for name in ("live-1", "live-2") if (pid := demo.pid_of(name))}
    killed = demo.wait(lambda: live & {holder(demo)}, "a worker runs the mapping", every=CATCH_SECONDS).pop()
    os.kill(killed, signal.SIGKILL)
    editing.join()

    # A write that was cut off, and of which the vendor cannot tell whether it happened, is asked of a person.
    come_back(demo, burst)
    for key, number in unclear(conflicts(demo)).items():
        side = "left" if issues(demo)[key] == burst.wanted[key] else "right"
        assert demo.command("resolve", str(number), "--take", side, "--force").returncode == 0
    demo.wait(lambda: not burst.missing(), "every edit is on both sides")
    assert len(burst.wanted) == EDITS
    assert len(issues(demo)) == RECORDS
    keys = [case["Jira_Key__c"] for case in known_cases(demo)]
    assert len(keys) == len(set(keys)) == RECORDS
    demo.wait(demo.healthy, "every part works again")
    back = {demo.pid_of("live-1"), demo.pid_of("live-2")}
    assert None not in back and killed not in back
    under_way = "SELECT count(*) FROM sync_operation WHERE state IN ('planned', 'sending', 'uncertain')"
    demo.wait(lambda: from_database(demo, under_way) == "0", "nothing is under way")
    assert {one["id"] for one in conflicts(demo)} <= asked_before, "a person was asked needlessly"
    assert json.loads(demo.command("audit", "verify", "--json").stdout)["intact"]


def come_back(demo: Demo, burst: Burst) -> None:
    """Wait until every edit is on both sides or asked of a person; names what is not."""
    end = time.monotonic() + COMING_BACK_SECONDS
    while waiting := burst.missing():
        asked = conflicts(demo)  # a process of its own: once a round
        if waiting.keys() <= unclear(asked).keys():
            return
        told = [(one["record"]["label"], one["field"], one["code"]) for one in asked]
        assert time.monotonic() < end, f"not on both sides: {waiting}\nasked: {told}\n{demo.output()}"
        time.sleep(1)


def conflicts(demo: Demo) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(demo.command("conflicts", "--json").stdout)
    return found


def unclear(asked: list[dict[str, Any]]) -> dict[str, int]:
    """{issue key: conflict} of the writes that may have happened."""
    return {one["record"]["left_key"]: one["id"] for one in asked if one["code"] == "maybe_written"}


def holder(demo: Demo) -> int:
    """The process that runs the mapping now; 0 where none does."""
    return int(from_database(demo, "SELECT holder FROM sync_mappingstate").rpartition(":")[2] or 0)
