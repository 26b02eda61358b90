"""A history before it is played: what people do, what fails, and how the two systems are made, all from one seed.

Pure. Every step carries what it needs, so that leaving one out does not change the others: that is how a failing
history is made small.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

LINKS = 3  # pairs both systems have from the start, at least
EDITS = 30  # people's edits, most of them in the middle of a run
# So many histories side by side in one world, under the same crashes and faults: batches get full and answers come in
# groups, and what every run costs is paid once for all of them.
CROWDS = (1, 12, 40, 40)
CRASHES = 2
FAULTS = 3
# Where more than so many share a world, a run that meets faults meets one for each of them.
SHARE_A_FAULT = 8
# In every so many worlds two mappings share records; every second of those closes a circle of three systems.
SHARED_EVERY = 20
SOME = ("still", "create", "delete", "hide", "pause")  # what only some worlds meet
EXTRA = 4  # more of what happens, drawn from all of it
LONGEST_RUN = 9  # remote calls into a run at which something may happen; most runs are shorter
LONGEST_KILL = 80  # statements into a run at which a worker may die
LONGEST_REQUEST = 12  # statements into what a person asks, or a bell says, at which the process may die
# Share of worlds with two systems that bring back what people deleted, of those in which they delete. With three, one
# of them may have a new record of the thing by then, made for another mapping.
RESTORED = 0.5
KILLED_REQUESTS = 0.1  # share of requests that meet that
# Turns kept ready for histories that met less than they must: edits left over by short runs, answers to no question. Of
# 60 one world in 250 had too few, since something in it had failed for long.
SPARE_TURNS = 150
# More of them, in which long waits let pass what keeps a system from being called, and an edit that crosses under every
# version is met by a run in whose middle nobody edits: of 2,000 worlds one was cut off in all others, and one knew two
# fields alone, whose rules were off, so that nothing was written that could have failed.
CALM_TURNS = 60
EARLY = 4  # remote calls into a spare run at which edits happen: nearly every run makes so many

TEXT_POLICIES = ("review", "review", "left", "right", "newest")
FIRST_POLICIES = ("fill_empty", "left", "review")  # for values that differ when a pair is first compared
FIELDS = ("title", "body", "amount", "labels", "note")
BELLS = ("now", "now", "late", "twice", "lost")
WAITS = (0.2, 1.0, 1.0, 3.0, 16.0, 40.0, 700.0)  # seconds
LONG_WAIT = 40.0  # a lease is over by then
RECORDS = 8  # records of one history, with those that are made meanwhile
NARROW = 0.5  # share of worlds that know only some of what may happen
FAULT_KINDS = (
    "lost answer",
    "lost answer",
    "never arrived",
    "cut",
    "quota",
    "refused",
    "part",
    "unseen",
    "forbidden",
    "signed out",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens. `inside`: what happens during it, each at the n-th remote call."""

    kind: str
    args: dict[str, Any] = field(default_factory=dict)
    inside: tuple[tuple[int, Step], ...] = ()

    def __str__(self) -> str:
        told = " ".join(f"{name}={value}" for name, value in self.args.items())
        return f"{self.kind} {told}".strip()


@dataclass(frozen=True, slots=True)
class Nature:
    """How one system behaves."""

    exact_version: bool
    conditional: bool
    history: bool
    lookup_consistent: bool
    idempotent_create: bool
    lists_lag: bool
    gone_means_gone: bool
    lists_deletions: bool
    lag: float  # seconds its lists and look-ups are behind
    granularity: float  # seconds its stamps are cut to
    clock: float  # seconds its clock is ahead of ours
    bulk_write: int
    trims: bool  # cuts white space off what is written
    automation: bool  # answers some of our writes with an edit of its own


@dataclass(frozen=True, slots=True)
class Habits:
    """What happens in a world. Some know only a little of it, and meet that all the more: what takes three rare things
    at once is met there (swarm testing: Groce, Zhang, Eide, Chen and Regehr, ISSTA 2012)."""

    faults: tuple[str, ...] = FAULT_KINDS
    fields: tuple[str, ...] = FIELDS
    bells: tuple[str, ...] = BELLS
    waits: tuple[float, ...] = WAITS
    records: int = RECORDS  # so many of a history are edited


@dataclass(frozen=True, slots=True)
class Script:
    seed: int
    systems: tuple[Nature, ...]
    mappings: tuple[tuple[int, int], ...]  # (left system, right system)
    policies: dict[str, str]
    initial: str
    on_delete: str
    crowd: int
    steps: tuple[Step, ...]
    spare: tuple[Step, ...] = ()  # played one by one after `steps`, until the histories have met what they must

    def only(self, steps: Sequence[Step]) -> Script:
        return replace(self, steps=tuple(steps))

    def as_played(self, spared: int) -> Script:
        """The same with nothing kept ready: the first `spared` spare steps were needed."""
        return replace(self, steps=(*self.steps, *self.spare[:spared]), spare=())


def write_script(seed: int) -> Script:
    dice = random.Random(seed)  # noqa: S311 - a test's dice
    shared = seed % SHARED_EVERY == 0
    circle = seed % (2 * SHARED_EVERY) == 0
    systems = tuple(_nature(dice) for _ in range(3 if shared else 2))
    mappings = ((0, 1), (1, 2), (2, 0)) if circle else ((0, 1), (1, 2)) if shared else ((0, 1),)
    body = dice.choice((*TEXT_POLICIES, "merge_text"))
    policies = {"title": dice.choice(TEXT_POLICIES), "body": body, "amount": dice.choice(TEXT_POLICIES)}
    if shared:  # who decides in a chain of systems is a question of its own
        policies = dict.fromkeys(policies, "review")
    crowd = dice.choice(CROWDS)
    initial = dice.choice(("fill_empty", "fill_empty", "left", "review"))
    on_delete = dice.choice(("review", "ignore", "unlink", "delete"))
    writer = _Writer(dice, _habits(dice), len(systems), len(mappings), crowd, on_delete != "delete")
    return Script(
        seed=seed,
        systems=systems,
        mappings=mappings,
        policies=policies,
        initial=initial,
        on_delete=on_delete,
        crowd=crowd,
        steps=tuple(writer.steps()),
        spare=tuple(writer.spare()),
    )


def _nature(dice: random.Random) -> Nature:
    exact = dice.random() < 0.5
    return Nature(
        exact_version=exact,
        conditional=dice.random() < 0.4,
        history=dice.random() < 0.6,
        lookup_consistent=dice.random() < 0.5,
        idempotent_create=dice.random() < 0.3,
        lists_lag=dice.random() < 0.3,
        gone_means_gone=dice.random() < 0.5,
        lists_deletions=dice.random() < 0.6,
        lag=dice.choice((0.0, 0.0, 1.0, 20.0)),
        granularity=dice.choice((0.0, 0.0, 1.0, 60.0)),
        clock=dice.choice((0.0, 0.0, 2.5, -40.0)),
        bulk_write=dice.choice((1, 1, 10)),
        trims=dice.random() < 0.2,
        automation=dice.random() < 0.2,
    )


def _habits(dice: random.Random) -> Habits:
    if dice.random() >= NARROW:
        return Habits()
    others = [kind for kind in dict.fromkeys(FAULT_KINDS) if kind != "lost answer"]
    return Habits(
        faults=("lost answer", *[dice.choice(others)] * 2),
        fields=tuple(dice.sample(FIELDS, dice.choice((2, 3)))),
        bells=dice.choice((BELLS, ("lost",), ("late", "twice"))),
        waits=(*dice.sample(WAITS, 2), dice.choice([wait for wait in WAITS if wait >= LONG_WAIT])),
        records=dice.choice((1, 2, 3, RECORDS)),
    )


class _Writer:
    """Puts the steps of one history together; it counts what must be in it."""

    def __init__(
        self, dice: random.Random, habits: Habits, systems: int, mappings: int, crowd: int, rules_end: bool
    ) -> None:
        self.dice, self.habits, self.systems, self.mappings, self.crowd = dice, habits, systems, mappings, crowd
        # Where a twin is deleted, what somebody wrote into a field without a rule goes with it, as the mapping says.
        self.changes = ("policy", "off") if rules_end else ("policy",)
        self.token = 0
        self.edits = 0

    def steps(self) -> list[Step]:
        dice = self.dice
        found = [self._pair(number) for number in range(LINKS * self.crowd + dice.randrange(2))]
        found.append(Step("run", {"mapping": 0, "poll": True}))
        found += [Step("run", {"mapping": number, "poll": True}) for number in range(1, self.mappings)]
        must = ["crash"] * CRASHES + ["fault"] * FAULTS + ["change", "instruct"]
        must += dice.choices([*SOME, "crash", "fault", "change", "instruct"], k=EXTRA)
        dice.shuffle(must)
        while self.edits < EDITS * self.crowd or must:
            if dice.random() < 0.3:
                found.append(self._edit())
            found.append(self._wait())
            what = must.pop() if must and dice.random() < 0.9 else ""
            if what == "delete" and self.mappings == 1 and dice.random() < RESTORED:
                must.insert(0, "restore")
            if what in ("change", "pause", "instruct", "create", "delete", "restore", "hide"):
                often = 1 if what in ("change", "pause", "hide") else self.crowd
                found += [getattr(self, f"_{what}")() for _ in range(often)]
                what = ""
            found.append(self._run(what))
        return found

    def spare(self) -> list[Step]:
        found = []
        for turn in range(SPARE_TURNS):
            found += [self._wait(), *(self._instruct() for _ in range(1 + self.crowd // 8))]
            found.append(self._run(("", "fault", "crash")[turn % 3], longest=EARLY))
        for turn in range(CALM_TURNS):
            found += [Step("wait", {"seconds": WAITS[-1]}), *(self._instruct() for _ in range(1 + self.crowd // 8))]
            found += [self._labels() for _ in range(self.crowd)]
            quiet = Step("run", {"mapping": self.dice.randrange(self.mappings), "poll": True})
            found.append(quiet if turn % 4 else self._run("crash", longest=EARLY))
        return found

    def _word(self) -> str:
        self.token += 1
        return f"w{self.token}"

    def _pair(self, number: int) -> Step:
        """The same thing in the first two systems; some of its fields differ already."""
        return Step("pair", {"ref": f"R{number}", "word": self._word(), "differ": self.dice.random() < 0.3})

    def _edit(self) -> Step:
        self.edits += 1
        dice = self.dice
        return Step(
            "edit",
            {
                "system": dice.randrange(self.systems),
                "record": self._record(),
                "field": dice.choice(self.habits.fields),
                "word": self._word() + (" " if dice.random() < 0.1 else ""),
                "line": dice.randrange(3),
                "remove": dice.random() < 0.4,
                "bell": dice.choice(self.habits.bells),
            },
        )

    def _labels(self) -> Step:
        """An edit that crosses under every version."""
        step = self._edit()
        return replace(step, args={**step.args, "field": "labels"})

    def _create(self) -> Step:
        return Step("create", {"system": self.dice.randrange(self.systems), "word": self._word(), "bell": "now"})

    def _record(self) -> int:
        return self.dice.randrange(max(LINKS, self.habits.records * self.crowd))

    def _delete(self) -> Step:
        return Step("delete", {"system": self.dice.randrange(self.systems), "record": self._record()})

    def _restore(self) -> Step:
        return Step("restore", {"record": self._record()})

    def _wait(self) -> Step:
        return Step("wait", {"seconds": self.dice.choice(self.habits.waits)})

    def _hide(self) -> Step:
        """A field our account may not read for a while."""
        return Step("hide", {"system": self.dice.randrange(self.systems), "field": self.dice.choice(FIELDS[:3])})

    def _change(self) -> Step:
        """A new version in which a field's rule decides in another way, ends, or is back."""
        dice = self.dice
        what = dice.choice(self.changes)
        if what == "policy" and self.mappings > 1:  # who decides in a chain of systems is a question of its own
            what = "first"
        kinds = FIRST_POLICIES if what == "first" else TEXT_POLICIES
        field = dice.choice(("title", "body", "amount"))
        mapping = dice.randrange(self.mappings)
        return Step("change", {"mapping": mapping, "what": what, "field": field, "policy": dice.choice(kinds)})

    def _pause(self) -> Step:
        return Step("pause", {"mapping": self.dice.randrange(self.mappings)})

    def _instruct(self) -> Step:
        take = self.dice.choice(("left", "right", "value", "ignore", "base", "undo", "send", "retry"))
        args: dict[str, Any] = {"which": self.dice.randrange(RECORDS * self.crowd), "take": take, "word": self._word()}
        if self.dice.random() < KILLED_REQUESTS:
            args["kill"] = self.dice.randrange(LONGEST_REQUEST)
        return Step("instruct", args)

    def _run(self, what: str, longest: int = 0) -> Step:
        """One run; edits happen within its first `longest` remote calls, by themselves all over a long run."""
        dice = self.dice
        edits = dice.choice((1, 2, 2, 3, 4, 5)) * self.crowd
        longest = longest or LONGEST_RUN * max(1, self.crowd // 3)
        inside = [(dice.randrange(longest), self._edit()) for _ in range(edits)]
        if self.mappings > 1 and dice.random() < 0.3:
            other = {"mapping": dice.randrange(self.mappings), "poll": dice.random() < 0.5}
            inside.append((dice.randrange(LONGEST_RUN), Step("run", other)))
        if what == "fault":
            inside += [(dice.randrange(longest), self._fault()) for _ in range(faults_of(self.crowd))]
        if what == "still":
            inside.append((dice.randrange(LONGEST_RUN), Step("still", {"seconds": dice.choice((12.0, 35.0, 600.0))})))
        args: dict[str, Any] = {"mapping": dice.randrange(self.mappings), "poll": dice.random() < 0.5}
        if what == "crash":
            if dice.random() < 0.5:
                args["kill"] = dice.randrange(LONGEST_KILL * max(1, self.crowd // 3))
            else:
                kill = Step("kill", {"when": dice.choice(("before", "after", "after")), "verb": "write"})
                inside.append((0, kill))
        return Step("run", args, tuple(sorted(inside, key=lambda one: one[0])))

    def _fault(self) -> Step:
        return Step(
            "fault", {"kind": self.dice.choice(self.habits.faults), "system": self.dice.randrange(self.systems)}
        )


def faults_of(crowd: int) -> int:
    """Faults in a run that meets some, where so many histories share a world."""
    return max(1, crowd // SHARE_A_FAULT)
