"""What goes wrong: processes killed and stopped, queues emptied, databases restarted and filled, lines and vendors.

A deck of deeds, each once in an order of chance, then shuffled anew. A short run plays the first deck faster, and what
missed is tried again: a minute meets every one.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis
import requests

from syncadmin import embedded
from syncadmin.chaos import database
from syncadmin.chaos.database import PostgreSQL
from syncadmin.chaos.line import Line
from syncadmin.demo.child import SYSTEMS, Demo

US = "SyncAdmin"  # how our calls name themselves: people's own edits meet no faults
ALWAYS = 10**6  # times
# Longer than a lease of 30 s: the worker wakes up as a zombie.
ZOMBIE_SECONDS = (33.0, 45.0)
HOLDER_SECONDS, CATCH_SECONDS = 3.0, 0.01  # how long, how often to look who runs the mapping
WORKERS = ("live-1", "live-2", "bulk")
# Seconds between deeds, on average: a killed or stopped worker holds the mapping for half a minute.
PAUSE_SECONDS = 8.0
# The first deck takes at most this share of a run: the rest is for what missed, and for a machine that is busy.
FIRST_DECK, LEAST_PAUSE_SECONDS = 0.8, 0.5
TICK_SECONDS = 0.2
# What a deed wants to hit may be down: it did not happen then, and is tried again, so many times in all.
DOWN = (OSError, redis.RedisError, requests.RequestException)
MOST_TRIES = 4
# Calls that write, and so leave us without knowing what happened if they are not answered.
WRITES: Mapping[str, Sequence[tuple[str, str]]] = {
    "jira": (
        ("PUT", r"^/rest/api/3/issue/[A-Z0-9-]+$"),
        ("POST", r"^/rest/api/3/issue(/[A-Z0-9-]+/transitions)?$"),
    ),
    "salesforce": (("POST", r"/composite"), ("PATCH", r"/sobjects/Case")),
}
API = {"jira": "^/rest/api/3/", "salesforce": "^/services/data/"}


@dataclass
class Nemesis:
    demo: Demo
    lines: Mapping[str, Line]  # by system
    server: PostgreSQL | None
    seed: int
    seconds: float  # that it will last
    pause: float | None  # seconds between deeds, on average; None: PAUSE_SECONDS, less where the first deck needs it
    remote_timeout: float  # seconds after which we give up waiting for an answer
    unanswered: float  # chance that any one write is not answered
    say: Callable[[str], None]
    done: Counter[str] = field(default_factory=Counter)
    played: Counter[str] = field(default_factory=Counter)  # by deed: those that hit
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.dice = random.Random(f"{self.seed}-nemesis")  # noqa: S311 - no secret
        self.undo: list[tuple[float, Callable[[], None]]] = []  # (when, how)
        self.storms: dict[str, dict[str, list[dict[str, Any]]]] = {system: {} for system in SYSTEMS}
        self.stopped: set[int] = set()
        self.thread = threading.Thread(target=self._work, daemon=True)

    # ---- the course of things ---------------------------------------------------------------------------------

    @property
    def never_played(self) -> list[str]:
        return [name for deed in self._deeds() if not self.played[name := _name(deed)]]

    def begin(self) -> None:
        for system in SYSTEMS:
            self.storms[system]["always"] = self._unanswered(system, self.unanswered)
            self._ask(system)
        self.thread.start()

    def end(self) -> None:
        """No more harm: whatever was stopped goes on, whatever was broken works."""
        self.stop.set()
        self.thread.join()
        for _, how in self.undo:
            how()
        for pid in list(self.stopped):
            self._go_on(pid)
        for system in SYSTEMS:
            self.storms[system].clear()
            self._ask(system)
            self.lines[system].calm()

    def _work(self) -> None:
        deck: list[Callable[[], str]] = []
        tries: Counter[str] = Counter()
        due = time.monotonic()
        end = due + self.seconds * FIRST_DECK
        while not self.stop.wait(TICK_SECONDS):
            self._undo_what_is_over()
            if time.monotonic() < due:
                continue
            if not deck:
                deck = self._deeds()
                self.dice.shuffle(deck)
                tries.clear()
            deed = deck.pop()
            name = _name(deed)
            tries[name] += 1
            try:
                told = deed()
                self.played[name] += 1
            except DOWN as error:
                told = f"{name}: {error}"
                self.done["missed"] += 1
                if tries[name] < MOST_TRIES:
                    deck.insert(0, deed)
            self.say(told)
            now = time.monotonic()
            due = now + self._pause(len(deck), end - now) * self.dice.uniform(0.5, 1.5)

    def _pause(self, left: int, seconds: float) -> float:
        """Seconds until the next deed, on average; so many of the deck are left, and so many seconds for them."""
        if self.pause is not None:
            return self.pause
        if not self.never_played:
            return PAUSE_SECONDS
        return min(PAUSE_SECONDS, max(seconds / (left + 1), LEAST_PAUSE_SECONDS))

    def _undo_what_is_over(self) -> None:
        for entry in [one for one in self.undo if one[0] <= time.monotonic()]:
            with contextlib.suppress(*DOWN):  # then it is tried again in a moment
                entry[1]()
                self.undo.remove(entry)

    def _deeds(self) -> list[Callable[[], str]]:
        deeds = [
            self._kill_holder,
            self._kill_worker,
            self._stop_shortly,
            self._zombie,
            self._kill_scheduler,
            self._kill_listener,
            self._kill_web,
            self._flush,
            self._restart_valkey,
            self._fill_disk,
            self._slow_line,
            self._cut_line,
            self._silent_line,
            self._dead_line,
            self._too_many,
            self._too_many_without_a_word,
            self._fails_after_the_effect,
            self._deliveries_lost,
            self._deliveries_twice,
        ]
        return [*deeds, self._restart_database] if self.server else deeds

    def _later(self, seconds: float, how: Callable[[], None]) -> None:
        self.undo.append((time.monotonic() + seconds, how))

    # ---- processes --------------------------------------------------------------------------------------------

    def _holder(self) -> int:
        """The worker that runs the mapping now; where none does for a while, any."""
        end = time.monotonic() + HOLDER_SECONDS
        live = [pid for name in WORKERS if (pid := self.demo.pid_of(name))]
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                for (holder,) in database.rows(self.demo, "SELECT holder FROM sync_mappingstate WHERE holder <> ''"):
                    if (pid := int(str(holder).rpartition(":")[2])) in live:
                        return pid
            time.sleep(CATCH_SECONDS)
        return self.dice.choice(live) if live else 0

    def _signal(self, pid: int, number: int, count: str, what: str) -> str:
        """Raises ProcessLookupError where there is no such process, or no more."""
        if not pid:
            raise ProcessLookupError(f"{what}: not there")
        os.kill(pid, number)
        self.done[count] += 1
        return what

    def _kill_holder(self) -> str:
        pid = self._holder()
        return self._signal(pid, signal.SIGKILL, "kills", f"kill -9 the worker that runs the mapping ({pid})")

    def _kill_worker(self) -> str:
        name = self.dice.choice(WORKERS)
        return self._signal(self.demo.pid_of(name) or 0, signal.SIGKILL, "kills", f"kill -9 {name}")

    def _kill_scheduler(self) -> str:
        return self._signal(self.demo.pid_of("scheduler") or 0, signal.SIGKILL, "kills", "kill -9 the scheduler")

    def _kill_listener(self) -> str:
        return self._signal(self.demo.pid_of("listener") or 0, signal.SIGKILL, "kills", "kill -9 the listener")

    def _kill_web(self) -> str:
        return self._signal(self.demo.pid_of("web") or 0, signal.SIGKILL, "kills", "kill -9 the web server")

    def _stop_shortly(self) -> str:
        return self._stand_still(self.dice.uniform(2, 8), "stops")

    def _zombie(self) -> str:
        return self._stand_still(self.dice.uniform(*ZOMBIE_SECONDS), "zombies")

    def _stand_still(self, seconds: float, count: str) -> str:
        pid = self._holder()
        told = self._signal(pid, signal.SIGSTOP, count, f"stop the worker that runs the mapping for {seconds:.0f} s")
        self.stopped.add(pid)
        self._later(seconds, lambda: self._go_on(pid))
        return told

    def _go_on(self, pid: int) -> None:
        self.stopped.discard(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    # ---- queues and databases ---------------------------------------------------------------------------------

    def _flush(self) -> str:
        client = redis.Redis(unix_socket_path=str(embedded.socket_path(self.demo.folder)), socket_timeout=2)
        client.flushall()
        self.done["flushes"] += 1
        return "empty the queues"

    def _restart_valkey(self) -> str:
        pid = embedded.answering_pid(self.demo.folder) or 0
        return self._signal(pid, signal.SIGKILL, "restarts", "kill -9 the embedded Valkey")

    def _restart_database(self) -> str:
        assert self.server is not None
        self.server.restart()
        self.done["restarts"] += 1
        return "restart PostgreSQL, at once"

    def _fill_disk(self) -> str:
        """No file of the database grows any more: at once, or in the middle of the next commits."""
        if self.server:
            pids, room = self.server.pids()[1:], 1
        else:
            head = self.demo.process.pid
            spared = {pid for system in SYSTEMS if (pid := self.demo.pid_of(system))}
            pids = [pid for pid in database.children(head) if pid not in spared]
            wal = self.demo.folder / "syncadmin.sqlite3-wal"
            room = self.dice.choice((1, (wal.stat().st_size if wal.exists() else 0) + 6000))
        seconds = self.dice.uniform(2, 5)
        database.limit_files(pids, room)
        self._later(seconds, lambda: database.limit_files(pids, -1))
        self.done["full disks"] += 1
        return f"the disk is full for {seconds:.0f} s"

    # ---- lines ------------------------------------------------------------------------------------------------

    def _line(self) -> tuple[str, Line]:
        system = self.dice.choice(SYSTEMS)
        return system, self.lines[system]

    def _slow_line(self) -> str:
        system, line = self._line()
        line.delay = self.dice.uniform(0.3, self.remote_timeout + 1.0)
        self._later(self.dice.uniform(4, 8), lambda: setattr(line, "delay", 0.0))
        self.done["slow lines"] += 1
        return f"the line to {system} takes {line.delay:.1f} s each way"

    def _cut_line(self) -> str:
        system, line = self._line()
        line.cut()
        for after in (0.7, 1.5, 2.4):
            self._later(after, line.cut)
        self.done["cuts"] += 1
        return f"connections to {system} are reset"

    def _silent_line(self) -> str:
        system, line = self._line()
        line.silent = True
        self._later(self.dice.uniform(4, 8), lambda: setattr(line, "silent", False))
        self.done["silences"] += 1
        return f"answers of {system} are held back"

    def _dead_line(self) -> str:
        system, line = self._line()
        line.dead = True
        line.cut()
        self._later(self.dice.uniform(3, 8), lambda: setattr(line, "dead", False))
        self.done["outages"] += 1
        return f"{system} cannot be reached"

    # ---- vendors ----------------------------------------------------------------------------------------------

    def _unanswered(self, system: str, chance: float) -> list[dict[str, Any]]:
        """Writes of ours that take effect, or do not, and are not answered, or too late."""
        late = self.remote_timeout + 1.5
        # With its share: those that make us wait are rare, so that a minute holds many.
        kinds: list[tuple[float, dict[str, Any]]] = [
            (0.3, {"kind": "drop_after"}),
            (0.2, {"kind": "drop_before"}),
            (0.2, {"kind": "status_after", "status": 500}),
            (0.2, {"kind": "status_after", "status": 502}),
            (0.05, {"kind": "delay_after", "seconds": late}),
            (0.05, {"kind": "delay", "seconds": late}),
        ]
        return [
            {**kind, "method": method, "path": path, "agent": US, "chance": chance * share, "times": ALWAYS}
            for method, path in WRITES[system]
            for share, kind in kinds
        ]

    def _storm(self, name: str, seconds: float, faults: Sequence[dict[str, Any]], system: str) -> None:
        self.storms[system][name] = [dict(fault) for fault in faults]
        self._ask(system)

        def over() -> None:
            self.storms[system].pop(name, None)
            self._ask(system)

        self._later(seconds, over)

    def _ask(self, system: str) -> None:
        named = sorted(self.storms[system], reverse=True)  # "always" last: a storm goes first
        self.demo.ask_for_faults(system, *(fault for name in named for fault in self.storms[system][name]))

    def _too_many(self) -> str:
        return self._limit({"Retry-After": str(self.dice.randint(1, 4))}, "asking us to wait")

    def _too_many_without_a_word(self) -> str:
        return self._limit({}, "saying nothing of how long")

    def _limit(self, headers: dict[str, str], how: str) -> str:
        system, seconds = self.dice.choice(SYSTEMS), self.dice.uniform(3, 6)
        limit = {"kind": "status", "status": 429, "headers": headers, "agent": US, "path": API[system]}
        self._storm("too many", seconds, [{**limit, "times": ALWAYS, "chance": 0.7}], system)
        self.done["429 storms"] += 1
        return f"{system} answers 429 for {seconds:.0f} s, {how}"

    def _fails_after_the_effect(self) -> str:
        system, seconds = self.dice.choice(SYSTEMS), self.dice.uniform(4, 8)
        self._storm("unanswered", seconds, self._unanswered(system, 0.7), system)
        self.done["5xx storms"] += 1
        return f"most writes to {system} are not answered for {seconds:.0f} s"

    def _deliveries_lost(self) -> str:
        self._storm("lost", 10.0, [{"kind": "delivery_drop", "times": ALWAYS, "chance": 0.6}], "jira")
        self.done["deliveries lost for a while"] += 1
        return "most webhooks are lost for 10 s"

    def _deliveries_twice(self) -> str:
        twice = {"kind": "delivery_duplicate", "times": ALWAYS, "chance": 0.6}
        late = {"kind": "delivery_late", "times": ALWAYS, "chance": 0.6}
        self._storm("twice", 10.0, [twice, late], "jira")
        self.done["deliveries doubled for a while"] += 1
        return "most webhooks come twice or late for 10 s"


def _name(deed: Callable[[], str]) -> str:
    return deed.__name__.strip("_").replace("_", " ")
