"""What a run says about itself: phases, pace, what it waits for, what went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sync.models import Run
from sync.wording import deed, sentence

# Count of a run → its word, in the order in which people look for them.
COUNTS: dict[str, str] = {
    "updated": "written",
    "created": "created",
    "deleted": "deleted",
    "linked": "linked",
    "agreed": "already equal",
    "conflicts": "need a person",
    "failed": "not crossed yet",
}
TITLES: dict[str, str] = {
    Run.Kind.FIRST: "first run",
    Run.Kind.LIVE: "live run",
    Run.Kind.POLL: "run after a look at the lists",
    Run.Kind.MANUAL: "run by hand",
    Run.Kind.RESTORED: "comparison after a restore",
    Run.Kind.DRY: "dry run",
}
FIRST_PHASES = (("read", "Read", "lists both sides"), ("match", "Match", "finds the pairs"))
LIVE_PHASES = (("read", "Read", "looks for changes"), ("write", "Decide and write", "in small batches"))

# code → (what happened, what it means for the data, what to do); the code's own sentence where it is not here.
TROUBLES: dict[str, tuple[str, str, str]] = {
    "lease_lost": (
        "Another worker took this run over",
        "Nothing was lost; it goes on from what was written down before each write.",
        "Nothing to do. If it happens often, look at the workers.",
    ),
    "failed": (
        "The run stopped: {message}",
        "Nothing was lost; what was not confirmed is looked up before anything is sent again.",
        "It is tried again by itself. If it stays, test the connection.",
    ),
    "retry": (
        "{system} asked us to slow down: {message}",
        "Nothing was lost; the remaining changes wait.",
        "Nothing to do: it goes on by itself.",
    ),
    "brake": (
        "A brake stopped a batch that would make {deed} on the {side}; the limit is {limit} an hour",
        "Nothing of that batch was written; what it would have changed waits.",
        "Look how many wait, then hold the records, or release a number of them with a reason.",
    ),
    "connection_unusable": (
        "{connection} cannot be used: {reason}",
        "Nothing was lost; changes on both sides wait.",
        "Open the connection and set it right; the mapping then goes on by itself.",
    ),
    "waits_for_approval": (
        "The first run waits for approval",
        "Nothing was written.",
        "Look at what it would do, then approve it.",
    ),
}

_AFTER = "Nothing is written; everything is compared, and what changes meanwhile is kept."
_THEN = "Look at what would be written, then approve it. In a copy for trials do not: switch its connections first."
for _code, _what in (
    ("restored_from_backup", "The database was restored from a backup"),
    ("restored_declared", "{by} said that the database was restored from a backup"),
    ("restored_elsewhere", "The database is a copy or has moved: it was at {was}, now it is at {here}"),
):
    TROUBLES[_code] = (_what, _AFTER, _THEN)


@dataclass(frozen=True, slots=True)
class Phase:
    state: str  # done, now, halt or "" (to come)
    icon: str
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Calls:
    side: str
    system: str
    numbers: list[tuple[str, int]]  # (kind of call, number)

    @property
    def total(self) -> int:
        return sum(number for _, number in self.numbers)


@dataclass(frozen=True, slots=True)
class Progress:
    """All that the live part of the run page shows."""

    phases: list[Phase]
    counts: list[tuple[str, int]]
    calls: list[Calls]
    seconds: float
    rate: float | None  # records a second
    left_seconds: float | None
    waiting: bool


def counts_of(run: Run) -> list[tuple[str, int]]:
    """(word, number) of everything the run counted, nothings left out."""
    return [(word, run.counts[name]) for name, word in COUNTS.items() if run.counts.get(name)]


def written_by(run: Run) -> int:
    """Writes of the run that were confirmed: what a brake stopped came after them."""
    return sum(run.counts.get(name, 0) for name in ("updated", "created", "deleted"))


def seconds_of(run: Run, now: datetime) -> float:
    return ((run.finished_at or now) - run.started_at).total_seconds()


def is_waiting(run: Run, now: datetime) -> bool:
    """Waiting is not stuck: a system told us when we may ask again."""
    return run.waiting_until is not None and run.waiting_until > now and run.state in ("running", "done")


def progress_of(run: Run, now: datetime) -> Progress:
    seconds = seconds_of(run, now)
    waiting = is_waiting(run, now)
    moving = run.state == Run.State.RUNNING and not waiting  # the pace before a wait foretells nothing
    rate = run.done / seconds if moving and run.done and seconds >= 1 else None
    left = (run.total - run.done) / rate if rate and run.total and run.total > run.done else None
    return Progress(
        phases=phases_of(run),
        counts=counts_of(run),
        calls=[
            Calls(side, run.mapping.connection(side).name, sorted(run.calls.get(side, {}).items()))
            for side in ("left", "right")
        ],
        seconds=seconds,
        rate=rate,
        left_seconds=left,
        waiting=waiting,
    )


def phases_of(run: Run) -> list[Phase]:
    """The phases as a bar. A run that ended well did all of them; one that did not stopped in the last it told of."""
    first = run.kind in (Run.Kind.FIRST, Run.Kind.RESTORED)
    plan = FIRST_PHASES if first else LIVE_PHASES
    names = [name for name, _, _ in plan]
    if run.state == Run.State.RUNNING:
        at = names.index(run.phase) if run.phase in names else 0
    else:
        at = len(names) if run.state in (Run.State.DONE, Run.State.APPROVAL) else len(names) - 1
    stopped = run.state in (Run.State.HALTED, Run.State.FAILED)
    phases = []
    for index, (_, label, text) in enumerate(plan):
        open_state = "halt" if stopped else "now" if run.state == Run.State.RUNNING else ""
        state = "done" if index < at else "" if index > at else open_state
        phases.append(Phase(state, {"done": "check", "halt": "stop", "now": "swap"}.get(state, ""), label, text))
    return [*phases, _end(run)]


def _end(run: Run) -> Phase:
    if run.state == Run.State.APPROVAL:
        return Phase("now", "hand", "Approval", "a person decides")
    if run.kind in (Run.Kind.FIRST, Run.Kind.RESTORED):
        done = run.state == Run.State.DONE
        return Phase("done" if done else "", "check" if done else "", "Approval", "given" if done else "to come")
    endings = {
        Run.State.DONE: Phase("done", "check", "Done", "nothing more to do"),
        Run.State.HALTED: Phase("halt", "hand", "Halted", "before the rest" if written_by(run) else "before the write"),
        Run.State.FAILED: Phase("halt", "xc", "Failed", "tried again"),
        Run.State.LOST: Phase("", "redo", "Taken over", "by another worker"),
    }
    return endings.get(Run.State(run.state), Phase("", "", "Done", "to come"))


def trouble_of(reason: dict[str, Any]) -> tuple[str, str, str] | None:
    """The three parts of a stored reason; None where there is none."""
    code, params = reason.get("code", ""), reason.get("params") or {}
    if not code:
        return None
    if code not in TROUBLES:
        return sentence(code, params), "", ""
    what, meaning, todo = TROUBLES[code]
    shown = {name: str(value).rstrip(".") for name, value in {**params, "deed": deed(params)}.items()}
    try:
        return what.format(**shown), meaning, todo
    except KeyError:
        return sentence(code, params), meaning, todo
