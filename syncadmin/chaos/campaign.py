"""One chaos run: a company starts up, people edit, the nemesis strikes, all is let go, the oracle judges."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from syncadmin.chaos import database, logs, oracle
from syncadmin.chaos.editors import People
from syncadmin.chaos.line import Line
from syncadmin.chaos.nemesis import Nemesis
from syncadmin.chaos.oracle import Evidence, Finding
from syncadmin.chaos.reviewer import Reviewers
from syncadmin.demo.child import SYSTEMS, Demo, Ended, free_ports, running_demo
from syncadmin.demo.credentials import INTEGRATION_EMAIL

# We give up waiting for an answer sooner than in earnest, so that a minute has many unanswered writes.
REMOTE_TIMEOUT = 3.0
# And the vendors promise to have dropped a call without an answer sooner than the real ones do (two minutes): longer
# than anything here is held back.
UPDATE_TIMEOUT = 10.0
BEFORE = """
from dataclasses import replace
from syncadmin.demo import world
world.BOTH, world.ONLY_JIRA, world.ONLY_SALESFORCE = {both}, {only}, {only}
from connections.connectors import connector_class
for kind in map(connector_class, ("jira", "salesforce")):
    kind.capabilities = replace(kind.capabilities, update_timeout={update_timeout})
from sync import limits
limits.DEFAULT_BRAKES = {{kind: (10**9, 1.0) for kind in limits.DEFAULT_BRAKES}}
"""
ONLY = 4  # records that are in one system alone when we meet them
START_SECONDS = 300.0
# Time for what waits after failures: a hint that failed five times in a row waits five minutes, one that failed six
# times fifteen. Most runs are quiet within one.
QUIET_SECONDS = 1200.0
LOOK_SECONDS = 3.0
SOON_SECONDS = 20  # a hint that is due later than this waits on purpose
# What is still amiss after this long, with nothing due for much longer, stays so. Lists are read four times meanwhile,
# those of a system whose lists lag once as far back as they may lag.
STUBBORN_SECONDS = 150.0
MUCH_LATER_SECONDS = 1000
# Once all is well nothing may be written any more for this long.
STILL_SECONDS = 10.0
# Each waits for what it asked for, up to half a minute while a killed worker holds the mapping.
REVIEWERS, REVIEW_SECONDS = 3, 5.0

# A write whose record may only be hidden waits up to an hour for it, and what is told of its pair waits for that.
WAITS_FOR_HIDDEN = "state = 'uncertain' AND kind = 'update' AND not_before > {soon}"
UNDER_WAY = (
    "SELECT (SELECT count(*) FROM sync_operation WHERE state IN ('planned', 'sending', 'uncertain')"
    " AND NOT ({hidden}))"
    " + (SELECT count(*) FROM sync_changedrecord hint WHERE not_before <= {soon} AND NOT EXISTS"
    " (SELECT 1 FROM sync_link link WHERE hint.external_id IN (link.left_id, link.right_id) AND link.id IN"
    " (SELECT link_id FROM sync_operation WHERE {hidden})))"
)
SOON = {
    "sqlite": f"datetime('now', '+{SOON_SECONDS:.0f} seconds')",
    "": f"now() + interval '{SOON_SECONDS:.0f} seconds'",
}


@dataclass(frozen=True, slots=True)
class Options:
    minutes: float = 10.0
    database: str = "sqlite"  # or "postgresql"
    seed: int = 0
    records: int = 120  # pairs of the company
    people: int = 6
    per_second: float = 5.0  # edits, all people together
    pause: float | None = None  # seconds between deeds; None: see Nemesis.pause
    unanswered: float = 0.5  # chance that a call of ours that writes is not answered
    quiet_seconds: float = QUIET_SECONDS


@dataclass
class Outcome:
    options: Options
    edits: Counter[str] = field(default_factory=Counter)
    deeds: Counter[str] = field(default_factory=Counter)
    never_played: Sequence[str] = ()  # deeds that this database allows
    reviewed: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0  # writes of ours whose outcome we could not know
    ours: int = 0  # fields written by us and accepted
    quiet_after: float = 0.0  # seconds from the last fault until everything agreed
    asked: int = 0  # questions that wait in the end
    findings: Sequence[Finding] = ()
    problems: list[str] = field(default_factory=list)  # what is wrong beside the findings
    output: str = ""

    @property
    def good(self) -> bool:
        return not self.findings and not self.problems


def run(options: Options, say: Callable[[str], None]) -> Outcome:
    outcome = Outcome(options)
    before = BEFORE.format(both=options.records - 2 * ONLY, only=ONLY, update_timeout=UPDATE_TIMEOUT)
    environment = {"DEMO_APPROVE": "1", "REMOTE_TIMEOUT_SECONDS": str(REMOTE_TIMEOUT)}
    with (
        _server(options.database) as server,
        _lines() as (port, lines),
        running_demo(server.url if server else "", before, ports=port, lines=True, **environment) as demo,
        _watched(outcome.problems),
    ):
        try:
            _campaign(options, demo, lines, server, outcome, say)
        except Ended as error:
            outcome.problems.append(str(error))
        outcome.output = (demo.folder / "output.log").read_text(errors="replace")
    return outcome


@contextlib.contextmanager
def _server(kind: str) -> Iterator[database.PostgreSQL | None]:
    if kind == "sqlite":
        yield None
        return
    with database.own_postgresql() as server:
        yield server


@contextlib.contextmanager
def _watched(problems: list[str]) -> Iterator[None]:
    """⚑ What a thread did not foresee is a problem of the run: without its nemesis or people it would prove less."""
    before = threading.excepthook

    def noted(broken: threading.ExceptHookArgs) -> None:
        name = broken.thread.name if broken.thread else "A thread"
        told = "".join(traceback.format_exception(broken.exc_type, broken.exc_value, broken.exc_traceback))
        problems.append(f"{name} broke off.\n{told}")

    threading.excepthook = noted
    try:
        yield
    finally:
        threading.excepthook = before


@contextlib.contextmanager
def _lines() -> Iterator[tuple[int, dict[str, Line]]]:
    """(our port, the lines by system): see `running_demo`."""
    port = free_ports()
    with contextlib.ExitStack() as stack:
        yield port, {kind: stack.enter_context(Line(port + 1 + at, port + 3 + at)) for at, kind in enumerate(SYSTEMS)}


def _campaign(
    options: Options,
    demo: Demo,
    lines: dict[str, Line],
    server: database.PostgreSQL | None,
    outcome: Outcome,
    say: Callable[[str], None],
) -> None:
    demo.wait(lambda: _known_cases(demo) >= options.records, "the first run has written", START_SECONDS, LOOK_SECONDS)
    demo.wait(lambda: _quiet(demo), "the first run is over", START_SECONDS, LOOK_SECONDS)
    since = {side: len(demo.accepted(system)) for side, system in logs.SIDES.items()}
    people = People(demo, options.seed, options.people, options.per_second)
    reviewers = Reviewers(demo, options.seed, REVIEWERS, REVIEW_SECONDS)
    started = time.monotonic()

    def told(what: str) -> None:
        say(f"{time.monotonic() - started:6.1f} s  {what}")

    seconds = options.minutes * 60
    nemesis = Nemesis(
        demo, lines, server, options.seed, seconds, options.pause, REMOTE_TIMEOUT, options.unanswered, told
    )
    parts = (people, reviewers, nemesis)
    for part in parts:
        part.begin()
    try:
        _sleep(demo, seconds, outcome.problems)
    finally:
        people.stop.set()
        nemesis.end()
        people.end()
        reviewers.end()
    told("people stop, faults end")
    outcome.edits, outcome.deeds, outcome.reviewed = people.done, nemesis.done, reviewers.done
    outcome.never_played = nemesis.never_played
    met = [demo.faults_met(system) for system in SYSTEMS]
    outcome.faults = sum((Counter(one["hits"]) for one in met), Counter())
    cut = sum(line.waiting_when_cut + line.held_back for line in lines.values())
    outcome.faults["cut or held back while we waited"] = cut
    outcome.unanswered = sum(one["unanswered"] for one in met)
    calm = time.monotonic()
    demo.wait(demo.healthy, "every part works again", START_SECONDS, LOOK_SECONDS)
    outcome.findings, outcome.asked, outcome.ours = _settled(demo, since, told, options.quiet_seconds)
    outcome.quiet_after = time.monotonic() - calm
    written = _written(demo)
    _sleep(demo, STILL_SECONDS)
    if _written(demo) != written:
        outcome.problems.append("We went on writing after all was quiet.")
    verified = demo.command("audit", "verify", "--json")
    if verified.returncode or not json.loads(verified.stdout)["intact"]:
        outcome.problems.append(f"The audit log is broken: {verified.stdout}{verified.stderr}")


def _settled(
    demo: Demo, since: dict[str, int], told: Callable[[str], None], patience: float
) -> tuple[Sequence[Finding], int, int]:
    """What the oracle finds once all is quiet and well, or after `patience` seconds; questions; fields we wrote."""
    end = time.monotonic() + patience
    seen, since_when = -1, time.monotonic()
    while True:
        still = time.monotonic() - since_when > STUBBORN_SECONDS and _quiet(demo, MUCH_LATER_SECONDS)
        late = time.monotonic() > end or still
        if late or _quiet(demo):
            evidence = _evidence(demo, since)
            findings = oracle.judge(evidence)
            if not findings or late:
                own = [one for one in [*evidence.left, *evidence.right] if one.account == INTEGRATION_EMAIL]
                return findings, len(evidence.asked), len([one for one in own if evidence.judged(one)])
            if len(findings) != seen:
                seen, since_when = len(findings), time.monotonic()
                told(f"{seen} are still on their way, or lost: {findings[0].what}")
        _sleep(demo, LOOK_SECONDS)


def _evidence(demo: Demo, since: dict[str, int]) -> Evidence:
    return Evidence(
        left=logs.accepted(demo, "left"),
        right=logs.accepted(demo, "right"),
        audit=logs.audit(demo),
        asked=logs.asked(demo),
        ours=INTEGRATION_EMAIL,
        since=since,
    )


def _quiet(demo: Demo, seconds: int = SOON_SECONDS) -> bool:
    """Whether nothing is under way, and no record is to be looked at within these seconds."""
    soon = SOON["" if demo.database else "sqlite"].format(seconds)
    try:
        hidden = WAITS_FOR_HIDDEN.format(soon=soon)
        return database.rows(demo, UNDER_WAY.format(soon=soon, hidden=hidden))[0][0] == 0
    except OSError:
        return False


def _written(demo: Demo) -> int:
    """Fields written by us so far."""
    return sum(line["account"] == INTEGRATION_EMAIL for system in SYSTEMS for line in demo.accepted(system))


def _known_cases(demo: Demo) -> int:
    query = "SELECT Id FROM Case WHERE Jira_Key__c != null"
    return len(demo.salesforce.call(demo.person("salesforce"), "GET", f"query?q={quote(query)}")["records"])


def _sleep(demo: Demo, seconds: float, problems: Sequence[str] = ()) -> None:
    """Or until the first of `problems`. Raises Ended if the demo's own process ends: its parts may, it may not."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not problems:
        if demo.process.poll() is not None:
            raise Ended(f"The supervisor ended.\n{demo.output()}")
        time.sleep(min(left, 0.5))
