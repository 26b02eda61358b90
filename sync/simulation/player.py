"""Plays a script against the real engine: people edit and workers die in the middle of runs."""

from __future__ import annotations

import hashlib
import logging
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from unittest import mock

from django.core.management.color import no_style
from django.db import connection as database

from connections.connectors.base import Hint, NeedsAuthorization, NotAllowed, RateLimited, Refused, Retry, Uncertain
from connections.connectors.memory import US, LogLine, World
from connections.models import Connection
from mappings.models import Mapping, MappingVersion
from sync import approval, clobbers, engine, failures, instructions, jobs, retrying
from sync.models import AuditEntry, ChangedRecord, Conflict, Link, MappingState, Operation
from sync.simulation import setting
from sync.simulation.clock import VirtualClock, installed
from sync.simulation.crash import Killed, Killer, one_thread
from sync.simulation.evidence import Entry, Evidence
from sync.simulation.remote import SimulatedWorld
from sync.simulation.script import (
    CRASHES,
    EDITS,
    FAULTS,
    FIRST_POLICIES,
    LONGEST_REQUEST,
    TEXT_POLICIES,
    Script,
    Step,
    faults_of,
)

BY_THEMSELVES = ("initial_fill", "initial_union")  # of what one side alone says, whatever the policy
WRITES = ("create", "update", "delete")
BULK_WRITES = ("create", "update")
# Seconds from one look to the next once people have stopped: past leases, time-outs, settle times, second sightings,
# and in the end complete listings (read.COMPLETE).
CALM = (40.0, 130.0, 1000.0, 4000.0, 90000.0, 90000.0)
LAST_RUNS = 12  # to let what is armed happen
MOST_ROUNDS = 40  # more would be a loop
QUIET_ROUNDS = 2  # in a row, without a write of ours
BELLS_KILLED = 25  # every so many bells kill who notes them, if it takes statements enough
PAUSED_RUNS = 2  # runs that meet a pause, or a lost sign-in, before somebody ends it
RELEASED = 20  # writes that go on after a brake; some crowds pass one more than once
UNSEEN_SECONDS = 1500.0  # shorter than the second sighting of a missing record
NAMES = ("Left", "Right", "Third")
PERSON = SimpleNamespace(get_username=lambda: "rita", pk=None)


@dataclass
class Played:
    """What is left of a history: all that the oracle may look at, and what happened on the way."""

    evidence: Evidence
    trace: list[str]
    mix: Counter[str]
    loop: str = ""  # why it did not become quiet
    short: str = ""  # what it met less of than it must, although all that was kept ready was played
    spared: int = 0  # spare steps that were needed

    def hash(self) -> str:
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


class _Log(list[LogLine]):
    """One system's log; every line is noted in the journal of all as well."""

    def __init__(self, note: Callable[[LogLine], None]) -> None:
        super().__init__()
        self._note = note

    def append(self, line: LogLine) -> None:
        super().append(line)
        self._note(line)


@dataclass
class _Frame:
    """A run under way: its remote calls so far and what is still to happen inside it."""

    inside: list[tuple[int, Step]]
    calls: int = 0
    began: int = 0  # lines of the journal before its latest call
    looked: int = 0  # reads before that
    latest: tuple[str, str] = ("", "")  # that call: system and verb


@dataclass
class Player:
    script: Script
    clock: VirtualClock = field(default_factory=VirtualClock)
    killer: Killer = field(default_factory=Killer)

    def __post_init__(self) -> None:
        self.journal: list[tuple[SimulatedWorld, LogLine]] = []
        self.moments: list[datetime] = []  # when each line of the journal was accepted, on our clock
        self.began: list[int] = []  # lines of the journal before the call that wrote each
        self.looked: list[int] = []  # reads before that call
        self.writers: list[int] = []  # the mapping that wrote each line of the journal; -1: people
        self.reads: list[tuple[int, str, frozenset[str], int]] = []
        self.acting = -1  # the mapping whose run makes calls just now
        self.trace: list[str] = []
        self.mix: Counter[str] = Counter()
        self.typed: dict[str, tuple[str, str]] = {}  # word -> (record, field) of the pair it was typed for
        self.asked: list[tuple[int, str, str, str]] = []  # journal lines before it, what, record, field
        self.published: list[int] = []  # journal lines before each new version of a mapping
        self.frames: list[_Frame] = []
        self.faults: list[tuple[str, SimulatedWorld]] = []
        self.kills: list[str] = []  # at the next write: "before" or "after" it
        self.told = 0  # journal lines whose bells were dealt with
        self.bells: dict[int, str] = {}  # by the journal line of an edit: when its bell comes; else at once
        self.late: dict[int, list[Hint]] = defaultdict(list)
        self.rung = 0  # bells
        self.removed: list[tuple[SimulatedWorld, str]] = []  # records that people deleted
        self.hidden_until = 0.0
        self.paused_runs = 0  # runs that still find a mapping paused
        World.registry.clear()
        self.worlds = [self._world(name, nature) for name, nature in zip(NAMES, self.script.systems, strict=False)]

    def _world(self, name: str, nature: Any) -> SimulatedWorld:
        world = SimulatedWorld(name, nature, self.clock.now)
        world.log = _Log(lambda line: self._accepted(world, line))
        world.before = lambda verb, ids: self._called(world, verb, "before", ids)
        world.after = lambda verb, ids: self._called(world, verb, "after", ids)
        return world

    def _accepted(self, world: SimulatedWorld, line: LogLine) -> None:
        ours = line.by == US and self.frames
        self.began.append(self.frames[-1].began if ours else len(self.journal))
        self.looked.append(self.frames[-1].looked if ours else len(self.reads))
        self.writers.append(self.acting if line.by == US else -1)
        self.journal.append((world, line))
        self.moments.append(self.clock.now())

    # Playing. ----------------------------------------------------------------------------------------------------

    def play(self) -> Played:
        with _alone(self.clock, self.killer):
            empty_database()
            self._build()
            for step in self.script.steps:
                self._do(step)
            spared = self._make_up()
            self._finish_what_is_armed()
            short = self._missing() if self.script.spare else ""  # from a part of a history nothing is wanted
            loop = self._calm_down()
        return Played(self._evidence(), self.trace, self.mix, loop, short, spared)

    def _make_up(self) -> int:
        """Go on until each history has met what it must. Returns the number of spare steps it took."""
        for number, step in enumerate(self.script.spare):
            if not self._missing():
                return number
            self._do(step)
        return len(self.script.spare)

    def _missing(self) -> str:
        """What the histories met less of than they must."""
        crowd = self.script.crowd
        must = {"edits inside": EDITS * crowd, "asked": crowd, "crashes": CRASHES}
        must["faults met"] = FAULTS * faults_of(crowd)
        missing = [f"{self.mix[kind]} {kind} of {times}" for kind, times in must.items() if self.mix[kind] < times]
        return f"too little happened: {', '.join(missing)}" if missing else ""

    def _evidence(self) -> Evidence:
        entries = []
        rows = AuditEntry.objects.order_by("pk")
        for row in rows:
            values = row.values or {}
            entries.append(
                Entry(
                    row.action,
                    row.code,
                    row.object_label,
                    row.field_label.title(),  # a field without a rule is told by its path
                    values.get("before"),
                    values.get("after"),
                    bisect_right(self.moments, row.at),
                    str(row.params.get("why", "")),
                    row.mapping_name,
                )
            )
        return Evidence(
            self.worlds,
            self.journal,
            self.moments,
            self.began,
            self.looked,
            self.writers,
            self.reads,
            entries,
            self.typed,
            self.script.mappings,
            self.published,
            self._named(),
            self.asked,
        )

    def _named(self) -> set[tuple[str, str, str]]:
        """The policies that versions of the mappings name for their fields, as the log tells them."""
        named = set()
        for version in MappingVersion.objects.select_related("mapping"):
            for rule in version.document["rules"]:
                mapping, field = version.mapping.name, rule["left"]["label"]
                kinds = {f"policy_{rule['policy']['kind']}", f"initial_{rule['initial']}", *BY_THEMSELVES}
                if rule["direction"] != "both":
                    kinds.add("initial_one_way")
                named |= {(mapping, field, kind) for kind in kinds}
        return named

    def _finish_what_is_armed(self) -> None:
        """Crashes and faults that found no moment so far."""
        for number in range(LAST_RUNS):
            if not (self.faults or self.kills or self.killer.armed):
                return
            for world in self.worlds:
                alive = sorted(world.alive())
                if alive:
                    world.edit(alive[number % len(alive)], amount=f"last {world.name} {number}")
            self._ring()
            self.clock.advance(40)
            self._do(Step("run", {"mapping": number % len(self.mappings), "poll": True}))
        self.killer.disarm()
        self.kills.clear()
        self.faults.clear()

    def _build(self) -> None:
        connections = [setting.connect(world.name) for world in self.worlds]
        self.connections = {world.name: one.pk for world, one in zip(self.worlds, connections, strict=True)}
        for world, one in zip(self.worlds, connections, strict=True):
            Connection.objects.filter(pk=one.pk).update(clock_offset=world.nature.clock)
        self.mappings: list[int] = []
        for number, (left, right) in enumerate(self.script.mappings):
            mapping = setting.build_mapping(
                f"Mapping{number}",
                connections[left],
                connections[right],
                self._rules(),
                left=setting.side(connections[left], on_delete=self.script.on_delete),
                right=setting.side(connections[right], on_delete=self.script.on_delete),
                initial=self.script.initial,
            )
            self.mappings.append(mapping.pk)
            approved = self.clock.now()
            MappingState.objects.create(mapping=mapping, approved_at=approved, surveyed_at=approved)

    def _rules(self) -> list[dict[str, Any]]:
        initial = self.script.initial
        return [
            setting.rule(
                "title",
                "title",
                policy=self.script.policies["title"],
                initial=initial,
                left={"required": True},
                right={"required": True},
            ),
            setting.rule("body", "body", policy=self.script.policies["body"], initial=initial),
            setting.rule("amount", "amount", policy=self.script.policies["amount"], initial=initial),
            setting.rule("labels", "labels", "set", policy="merge_sets"),
            setting.rule("note", "note", direction="to_right"),
            setting.rule("ref", "ref"),
        ]

    def _say(self, text: str) -> None:
        self.trace.append(f"{self.clock.monotonic():.6f} {text}")

    def _do(self, step: Step) -> None:
        self.mix[step.kind] += 1
        self._say(str(step))
        getattr(self, f"_do_{step.kind}")(step)

    def _do_wait(self, step: Step) -> None:
        self._ring()
        self.clock.advance(step.args["seconds"])
        if self.hidden_until and self.clock.monotonic() > self.hidden_until:
            self._show_all()
        self._deliver_late()

    def _do_pair(self, step: Step) -> None:
        word, ref = step.args["word"], step.args["ref"]
        for number, world in enumerate(self.worlds[:2]):
            told = f"{word}{'ab'[number] if step.args['differ'] else ''}"
            world.add(title=told, body="\n".join(f"{told}.{line}" for line in range(3)), ref=ref)

    def _do_create(self, step: Step) -> None:
        world, word = self.worlds[step.args["system"]], step.args["word"]
        world.add(title=word, body="\n".join(f"{word}.{line}" for line in range(3)), ref=word)

    def _record(self, step: Step) -> tuple[SimulatedWorld, str | None]:
        world = self.worlds[step.args["system"]]
        alive = sorted(world.alive())
        return world, alive[step.args["record"] % len(alive)] if alive else None

    def _do_edit(self, step: Step) -> None:
        world, external_id = self._record(step)
        if external_id is None:
            return
        path, word = step.args["field"], step.args["word"]
        before = world.value(external_id, path)
        value: Any = word
        if path == "labels":
            kept = list(before or [])
            if step.args["remove"] and kept:
                kept.pop(step.args["line"] % len(kept))
            else:
                kept.append(word.strip())
            value = sorted(kept)
        elif path == "body":
            lines = (before or "\n\n").split("\n")
            lines[step.args["line"] % len(lines)] = word
            value = "\n".join(lines)
        self.bells[len(self.journal)] = step.args["bell"]
        world.edit(external_id, **{path: value})

    def _do_delete(self, step: Step) -> None:
        world, external_id = self._record(step)
        if external_id is not None:
            world.remove(external_id)
            self.removed.append((world, external_id))

    def _do_restore(self, step: Step) -> None:
        if self.removed:
            world, external_id = self.removed.pop(step.args["record"] % len(self.removed))
            world.restore(external_id)
            self.mix["restored"] += 1

    def _do_hide(self, step: Step) -> None:
        self.worlds[step.args["system"]].hidden.add(step.args["field"])
        self.hidden_until = self.clock.monotonic() + UNSEEN_SECONDS

    def _show_all(self) -> None:
        for world in self.worlds:
            world.hidden.clear()
            world.unseen.clear()
        self.hidden_until = 0.0

    def _do_still(self, step: Step) -> None:
        """The worker stands still in the middle of a call, and another one goes on with the mapping."""
        kept = [(frame, frame.began, frame.looked, frame.latest) for frame in self.frames]
        self.clock.advance(step.args["seconds"])
        with self.killer.others_act():
            self._engine_run(self.running, poll=True)
        for frame, began, looked, latest in kept:  # what the others called was not this worker's call
            frame.began, frame.looked, frame.latest = began, looked, latest

    def _do_change(self, step: Step) -> None:
        mapping = Mapping.objects.get(pk=self.mappings[step.args["mapping"]])
        assert mapping.published is not None
        document = mapping.published.document
        path, what, kind = step.args["field"], step.args["what"], step.args["policy"]
        self.published.append(len(self.journal))
        rules = [one for one in document["rules"] if one["id"] != path]
        present = next((one for one in document["rules"] if one["id"] == path), None)
        if what == "off" and present:
            setting.publish(mapping, rules=rules)
            return
        whole = present or next(one for one in self._rules() if one["id"] == path)
        if what == "first":
            changed = {**whole, "initial": _another(kind, FIRST_POLICIES, whole["initial"])}
        else:
            kind = _another(kind, TEXT_POLICIES, whole["policy"]["kind"])
            changed = {**whole, "policy": {**whole["policy"], "kind": kind}}
        setting.publish(mapping, rules=[*rules, changed])

    def _do_pause(self, step: Step) -> None:
        Mapping.objects.filter(pk=self.mappings[step.args["mapping"]]).update(state=Mapping.State.PAUSED)
        self.paused_runs = PAUSED_RUNS

    def _do_instruct(self, step: Step) -> None:
        try:
            with self.killer.short_work(step.args.get("kill")):
                self._instruct(step)
        except Killed:
            self._say("killed while asking")
            self.mix["requests killed"] += 1

    def _instruct(self, step: Step) -> None:
        take, word = step.args["take"], step.args["word"]
        if take == "undo":
            written = Operation.objects.filter(kind="update", state="confirmed").exclude(fields={}).order_by("-pk")
            if done := written.first():
                for rule_id in done.fields:
                    self._note("undone", done.link, rule_id)
                instructions.undo(done, PERSON)
                self.mix["asked"] += 1
            return
        if take == "retry":
            self.mix["asked"] += bool(retrying.retry(failures.standing(), PERSON).number)
            return
        if take == "send":
            self._send(step)
            return
        about_fields = Conflict.objects.filter(state="open", link__isnull=False).exclude(rule_id="").order_by("pk")
        asked = list(about_fields.values_list("pk", flat=True))
        if not asked:
            return
        which = step.args["which"]
        one = Conflict.objects.get(pk=asked[which % len(asked)])
        assert one.link is not None
        if take == "value" and one.rule_id == "labels":
            take = "left"
        choice = {"take": take, "seen": _shown(one)}
        if take == "value":
            choice |= {"value": self._type(one.link, one.rule_id, word), "in": "left"}
        choices = {one.rule_id: choice}
        if which % 2:  # all that is asked about the pair is answered at once, one field this way and the next one that
            for other in about_fields.filter(link=one.link).exclude(pk=one.pk):
                choices[other.rule_id] = {"take": ("left", "right")[len(choices) % 2], "seen": _shown(other)}
        for rule_id in choices:
            self._note("resolved", one.link, rule_id)
        instructions.ask(one.link, "resolve", choices, PERSON)
        self.mix["asked"] += 1
        self.mix["several answered at once"] += len(choices) > 1

    def _note(self, what: str, link: Link | None, path: str) -> None:
        """Somebody asked for this about a field of a pair."""
        assert link is not None
        self.asked.append((len(self.journal), what, link.left_id or link.right_id or "", path.title()))

    def _type(self, link: Link | None, path: str, word: str) -> Any:
        """A value that a person writes here, for a field of a pair."""
        assert link is not None
        typed = [f"{word}.{line}" for line in range(3)] if path == "body" else [word]
        self.typed |= dict.fromkeys(typed, (link.left_id or link.right_id or "", path))
        return typed if path == "labels" else "\n".join(typed)

    def _send(self, step: Step) -> None:
        """A person edits what a system refused, of a field or of a twin to be made, and sends it again."""
        refused = Conflict.objects.filter(state="open", kind="refused", link__state__in=("active", "creating"))
        asked = list(refused.filter(params__side__in=("left", "right")).order_by("pk"))
        if not asked:
            return
        one = asked[step.args["which"] % len(asked)]
        assert one.link is not None
        rule_id, seen = one.rule_id, {"left": one.left_value, "right": one.right_value}
        if not rule_id:
            create = Operation.objects.filter(link=one.link, kind="create").order_by("-pk").first()
            if create is None or one.link.state != "creating":
                return
            rules = {rule["id"] for rule in one.link.mapping.published.document["rules"]}
            sent = sorted(rules & create.fields.keys())
            if not sent:  # the page offers nothing either
                return
            rule_id = sent[step.args["which"] % len(sent)]
            seen = dict.fromkeys(seen, create.fields[rule_id]["source"])
            self.mix["creates edited"] += 1
        self._note("retried", one.link, rule_id)
        retrying.edit(
            one.link, rule_id, one.params["side"], self._type(one.link, rule_id, step.args["word"]), seen, PERSON
        )
        self.mix["asked"] += 1
        self.mix["edited and sent"] += 1

    def _do_fault(self, step: Step) -> None:
        world, kind = self.worlds[step.args["system"]], step.args["kind"]
        if kind != "unseen" or not world.nature.gone_means_gone:
            self.faults.append((kind, world))

    def _do_kill(self, step: Step) -> None:
        self.kills.append(step.args["when"])

    def _resume(self) -> None:
        Mapping.objects.filter(state=Mapping.State.PAUSED).update(state=Mapping.State.ACTIVE)
        signed_out = Connection.objects.filter(state=Connection.State.SIGN_IN)
        signed_out.update(state=Connection.State.OK, state_reason="", state_since=self.clock.now())

    def _do_run(self, step: Step) -> None:
        if self.paused_runs:
            self.paused_runs -= 1
            if not self.paused_runs:
                self._resume()
        self._ring()
        self.frames.append(_Frame(list(step.inside)))
        self.running = step.args["mapping"]
        if "kill" in step.args:
            self.killer.arm(step.args["kill"])
        try:
            with self.killer.others_act() if len(self.frames) > 1 else self.killer.at_work():
                self._engine_run(step.args["mapping"], step.args["poll"])
        except Killed:
            self._say("killed")
            self.mix["crashes"] += 1
        finally:
            frame = self.frames.pop()
        for _, late in frame.inside:  # the run was shorter
            self._do(late)

    def _engine_run(self, number: int, poll: bool) -> None:
        if poll:
            MappingState.objects.filter(mapping=self.mappings[number]).update(next_poll_at=None)
        before, self.acting = self.acting, number
        try:
            outcome = engine.run(self.mappings[number])
        finally:
            self.acting = before
        self._say(f"run of {number}: {outcome.state}")
        with self.killer.others_act():
            self._release(self.mappings[number])

    def _release(self, mapping: int) -> None:
        """What a brake stopped is meant: somebody releases it."""
        if MappingState.objects.filter(mapping=mapping, halt=MappingState.Halt.BRAKE).exists():
            approval.release(Mapping.objects.get(pk=mapping), RELEASED, "so many are meant", PERSON)
            self.mix["released"] += 1

    # Inside a run. -----------------------------------------------------------------------------------------------

    def _called(self, world: SimulatedWorld, verb: str, when: str, ids: Any) -> None:
        self.killer.look()
        self.clock.advance(0.05)
        if when == "before":
            self._say(f"{world.name} {verb} {ids}")
        if not self.frames:
            return
        if when == "before":
            frame = self.frames[-1]
            frame.calls += 1
            began, looked = len(self.journal), len(self.reads)
            while frame.inside and frame.inside[0][0] < frame.calls:
                _, step = frame.inside.pop(0)
                self.mix["edits inside"] += step.kind == "edit"
                with self.killer.others_act():
                    self._do(step)
            # Others made calls of their own meanwhile. A bulk is one call, although its records come one by one.
            bulk = world.nature.bulk_write > 1 and verb in BULK_WRITES and frame.latest == (world.name, verb)
            if not bulk:
                frame.began, frame.looked = began, looked
            frame.latest = (world.name, verb)
        with self.killer.others_act():
            self._ring()
        if when == "after" and verb == "get":
            self.reads.append((len(self.journal), world.name, frozenset(ids), self.acting))
        if len(self.frames) > 1:
            return
        if self.kills and self.kills[0] == when and verb in WRITES:
            self.kills.pop(0)
            self.killer.kill()
        for fault in self.faults:
            kind, where = fault
            if where is world and _fits(kind, verb, when):
                self.faults.remove(fault)
                self.mix[f"fault {kind}"] += 1
                self.mix["faults met"] += 1
                if kind == "signed out":
                    self.paused_runs = PAUSED_RUNS
                if kind != "unseen":
                    raise _error(kind)
                world.unseen.add(min(ids))
                self.hidden_until = self.clock.monotonic() + UNSEEN_SECONDS
                return

    # Bells. ------------------------------------------------------------------------------------------------------

    def _ring(self) -> None:
        """Tell of what was accepted since the last look, as the vendor would: now, late, twice or never. What a system
        tells at one time comes in one delivery."""
        now: dict[int, list[Hint]] = defaultdict(list)
        while self.told < len(self.journal):
            world, first = self.journal[self.told]
            how = self.bells.get(self.told, "now")
            lines: list[LogLine] = []
            while self.told < len(self.journal):
                other, line = self.journal[self.told]
                if other is not world or (line.external_id, line.by) != (first.external_id, first.by):
                    break
                if lines and self.told in self.bells:  # an edit of its own
                    break
                lines.append(line)
                self.told += 1
            if first.by == US:
                how = ("now", "late", "twice", "lost")[self.told % 4]
            connection = self.connections[world.name]
            if how in ("now", "twice"):
                now[connection].append(self._hint(lines))
            if how in ("late", "twice"):
                self.late[connection].append(self._hint(lines))
        for connection, hints in now.items():
            self._bell(connection, hints)

    def _bell(self, connection: int, hints: list[Hint]) -> None:
        """Some of those who note what a bell says die over it: it is told once more, later."""
        self.rung += 1
        dies = (self.rung // BELLS_KILLED) % LONGEST_REQUEST if self.rung % BELLS_KILLED == 0 else None
        try:
            with self.killer.short_work(dies):
                jobs.bell(connection, hints)
        except Killed:
            self._say("killed over a bell")
            self.mix["bells killed"] += 1
            self.late[connection] += hints

    def _hint(self, lines: Sequence[LogLine]) -> Hint:
        first = lines[0]
        gone = [line.after == "deleted" for line in lines if line.field == ""]
        deleted = bool(gone) and gone[-1]
        return Hint(
            "thing",
            first.external_id,
            own_account=first.by == US,
            changes=None if gone else {line.field: line.after for line in lines},
            deleted=deleted,
            verified=self.told % 3 > 0,
            at=first.at,
            created=first.before is None and all(line.before is None for line in lines),
        )

    def _deliver_late(self) -> None:
        late, self.late = self.late, defaultdict(list)
        for connection, hints in late.items():
            self._bell(connection, hints)

    # The end. ----------------------------------------------------------------------------------------------------

    def _calm_down(self) -> str:
        """Everything works again and nobody edits: until nothing is written any more. Says why if that never comes."""
        self._show_all()
        self._resume()
        for pk in self.mappings:
            mapping = Mapping.objects.get(pk=pk)
            assert mapping.published is not None
            present = {one["id"] for one in mapping.published.document["rules"]}
            missing = [one for one in self._rules() if one["id"] not in present]
            setting.publish(mapping, rules=[*mapping.published.document["rules"], *missing])
        self._deliver_late()
        quiet = released = 0
        for number in range(MOST_ROUNDS):
            # A release is good for an hour: what it lets through goes at once.
            waited = CALM[min(number, len(CALM) - 1)] if self.mix["released"] == released else CALM[0]
            self.clock.advance(waited)
            before, released = len(self.journal), self.mix["released"]
            for which in range(len(self.mappings)):
                self._engine_run(which, poll=True)
                self._ring()
            waits = Operation.objects.filter(state__in=Operation.OPEN).exists()
            busy = len(self.journal) > before or waits or self.mix["released"] > released
            quiet = 0 if busy or number < len(CALM) - 2 else quiet + 1
            if quiet >= QUIET_ROUNDS:
                return ""
        return f"still busy: {list(ChangedRecord.objects.values('side', 'external_id', 'error', 'attempts'))}"


def _fits(kind: str, verb: str, when: str) -> bool:
    writing = verb in WRITES
    if kind == "lost answer":
        return writing and when == "after"
    if kind in ("never arrived", "part"):
        return writing and when == "before"
    if kind == "unseen":  # one of the records that are read is hidden from then on
        return verb == "get" and when == "before"
    if kind == "refused":
        return verb in BULK_WRITES and when == "before"
    return when == "before"


def _shown(question: Conflict) -> dict[str, Any]:
    """What the page of a question shows to who answers it."""
    return {"left": question.left_value, "right": question.right_value, **clobbers.named(question)}


def _error(kind: str) -> Exception:
    if kind in ("lost answer", "never arrived"):
        return Uncertain("no answer")
    if kind == "quota":
        return RateLimited("wait", after=20)
    if kind == "refused":
        return Refused("not this", {"title": "not this"})
    if kind == "forbidden":
        return NotAllowed("not for us")
    if kind == "signed out":
        return NeedsAuthorization("sign in again")
    return Retry("cut", after=0)


def _another(kind: str, kinds: Sequence[str], present: str) -> str:
    """The policy drawn, or one of those after it where it is what decides already."""
    after = kinds.index(kind)
    return next(one for one in (*kinds[after:], *kinds) if one != present)


@contextmanager
def _alone(clock: VirtualClock, killer: Killer) -> Iterator[None]:
    """Nothing but the script happens: one thread, one clock, no queue."""
    logging.disable(logging.CRITICAL)
    try:
        with (
            installed(clock),
            one_thread(),
            killer.watching(),
            mock.patch.object(jobs, "enqueue", lambda *_: None),
        ):
            yield
    finally:
        logging.disable(logging.NOTSET)


def empty_database() -> None:
    """Every row of the three apps, and the counters of their keys."""
    tables = [
        name
        for name in database.introspection.django_table_names(only_existing=True, include_views=False)
        if name.startswith(("connections_", "mappings_", "sync_"))
    ]
    database.ops.execute_sql_flush(database.ops.sql_flush(no_style(), tables, reset_sequences=True))
