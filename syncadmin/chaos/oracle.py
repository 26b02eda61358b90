"""The judge: was an update lost, invented or undone, a record made twice or brought back?

Pure, and it trusts nobody: it reads what the two systems accepted, what our audit log says of it, and what people are
asked; never the engine's state. Every value that editors write is unique, so a value names its write.

A write is kept if each side says in the end what it wrote or what came causally later: a person wrote over it where it
stood, a named policy or a person decided against it and the audit log says so with the value, or a question that waits
for a person holds it.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from syncadmin.chaos.logs import TOKEN, Accepted, Told, said

OTHER = {"left": "right", "right": "left"}
SAMPLE = "(a text of the sample data)"


@dataclass(frozen=True, slots=True)
class Judged:
    """A field whose every value can be traced: its path and its label on each side."""

    name: str
    paths: Mapping[str, str]
    labels: Mapping[str, str]

    def say(self, value: Any) -> str:
        """As `said`; formatted texts of the sample data, which look different on each side, are all one."""
        text = said(value)
        return SAMPLE if self.name == "text" and text and not TOKEN.fullmatch(text) else text


def _judged(name: str, left: str, right: str, left_label: str, right_label: str) -> Judged:
    return Judged(name, {"left": left, "right": right}, {"left": left_label, "right": right_label})


FIELDS = (
    _judged("title", "summary", "Subject", "Summary", "Subject"),
    _judged("text", "description", "Description", "Description", "Description"),
    _judged("reference", "customfield_10050", "Reference__c", "Customer reference", "Reference"),
    _judged("effort", "customfield_10051", "Effort__c", "Effort (hours)", "Effort"),
    _judged("due", "duedate", "Due_Date__c", "Due date", "Due Date"),
)
TITLE = FIELDS[0]
# By which each record names its twin, and the twin's own field it names.
TWIN = {"left": "customfield_10054", "right": "Jira_Key__c"}
NAME = {"left": "key", "right": "CaseNumber"}
# A question that holds a value which our write replaced unseen.
OVERWROTE = "overwrote_an_edit"
# Codes of the audit log by which a person or a named policy decided against the value that was there.
BY_PERSON = frozenset({"resolved", "undone"})
# Codes of a write whose answer was lost and whose fate nothing tells: a person is asked, or nobody can read the record.
MAYBE_WRITTEN = frozenset({"maybe_written", "gone_unanswered"})
KINDS = ("lost", "duplicated", "resurrected", "flip-flopped", "invented")
LINES_SHOWN = 20  # of the log, about a record that came back: more than a pair has as a whole
CLOCK_SECONDS = 0.05  # stamps of the two systems are rounded differently


@dataclass(frozen=True, slots=True)
class Finding:
    kind: str  # of KINDS
    what: str
    evidence: Sequence[str] = ()


@dataclass
class Record:
    side: str
    id: str
    writes: dict[str, list[Accepted]] = field(default_factory=lambda: defaultdict(list))  # by path
    made: Accepted | None = None
    gone: Accepted | None = None

    def now(self, path: str) -> str:
        return self.writes[path][-1].after if self.writes.get(path) else ""

    def ever(self, path: str) -> set[str]:
        return {value for one in self.writes.get(path, ()) for value in (one.before, one.after)} or {""}

    @property
    def name(self) -> str:
        return self.now(NAME[self.side]) or self.id


@dataclass
class Evidence:
    left: Sequence[Accepted]
    right: Sequence[Accepted]
    audit: Sequence[Told]
    asked: Sequence[Mapping[str, Any]]
    ours: str  # our account, as the logs name it
    since: Mapping[str, int]  # {side: number of the last line that is not judged}

    @cached_property
    def records(self) -> dict[str, dict[str, Record]]:
        """{side: {id: record}}"""
        found: dict[str, dict[str, Record]] = {"left": {}, "right": {}}
        for one in [*self.left, *self.right]:
            if one.side == "right" and not one.record.startswith("500"):  # comments have a life of their own
                continue
            record = found[one.side].setdefault(one.record, Record(one.side, one.record))
            if one.verb == "create":
                record.made = record.made or one
            if one.verb in ("delete", "undelete"):
                record.gone = one if one.verb == "delete" else None
                continue
            record.writes[one.field].append(one)
        return found

    @cached_property
    def by_name(self) -> dict[str, dict[str, Record]]:
        return {side: {record.name: record for record in records.values()} for side, records in self.records.items()}

    def twin(self, record: Record) -> Record | None:
        """Its record over there: by the name it holds, or by the title it was made with."""
        other = OTHER[record.side]
        named = self.by_name[other].get(record.now(TWIN[record.side]))
        if named is None:
            named = next((r for r in self.records[other].values() if r.now(TWIN[other]) == record.name), None)
        return named or self._by_title.get(other, {}).get(_first_title(record))

    @cached_property
    def _by_title(self) -> dict[str, dict[str, Record]]:
        """Who wrote which title first, people only."""
        found: dict[str, dict[str, Record]] = {"left": {}, "right": {}}
        for side, records in self.records.items():
            for record in records.values():
                for one in record.writes.get(TITLE.paths[side], ()):
                    if one.account != self.ours and TOKEN.fullmatch(one.after):
                        found[side][one.after] = record
        return found

    @cached_property
    def lines_of(self) -> dict[tuple[str, str, str], list[Told]]:
        """Audit lines of writes by (side, name of the record there, label of the field).

        A write that may have happened is told as such, with why it was sent.
        """
        found: dict[tuple[str, str, str], list[Told]] = defaultdict(list)
        for told in self.audit:
            if told.code in MAYBE_WRITTEN:
                told = replace(told, action="write", code=told.params.get("why", ""))
            if told.action in ("write", "create") and " = " in told.label:
                left, _, right = told.label.partition(" = ")
                found[(told.side, left if told.side == "left" else right, told.field)].append(told)
        return found

    def judged(self, one: Accepted) -> bool:
        return one.number > self.since[one.side]

    def told_of(self, one: Accepted, what: Judged) -> Told | None:
        """Our audit line of one of our writes; the one that knew what it replaced goes first."""
        name = self.records[one.side][one.record].name
        labels = dict.fromkeys(
            (what.labels[one.side], what.labels[OTHER[one.side]])
        )  # questions name a rule by its left
        lines = [
            t for label in labels for t in self.lines_of[(one.side, name, label)] if what.say(t.after) == one.after
        ]
        return next((t for t in lines if what.say(t.before) == one.before), lines[0] if lines else None)


def judge(evidence: Evidence) -> list[Finding]:
    """Everything that must not be; [] where there is nothing."""
    found = list(_records(evidence))
    for left in evidence.records["left"].values():
        right = evidence.twin(left)
        if right is not None:
            for what in FIELDS:
                found += _Story(evidence, left, right, what).findings()
    return found


def _records(evidence: Evidence) -> Iterable[Finding]:
    """Records made twice, brought back, deleted by us, or never carried over."""
    for side, records in evidence.records.items():
        of_twin: dict[str, list[Record]] = defaultdict(list)
        for record in records.values():
            if name := record.now(TWIN[side]):
                of_twin[name].append(record)
            if record.gone and record.gone.account == evidence.ours:
                yield Finding("lost", f"{record.name} was deleted by our account", [record.gone.line()])
        for name, claimants in of_twin.items():
            alive = [record for record in claimants if record.gone is None]
            if len(alive) > 1:
                names = ", ".join(record.name for record in alive)
                yield Finding("duplicated", f"{name} has {len(alive)} twins on the {side}: {names}", _made(alive))
            gone = [record for record in claimants if record.gone is not None]
            back = [r for r in alive if r.made and r.made.account == evidence.ours and any(_before(g, r) for g in gone)]
            if back:
                shown = _way_of(evidence, [*gone, *back], name)
                yield Finding("resurrected", f"the deleted twin of {name} came back as {back[0].name}", shown)
        for record in records.values():
            alone = record.gone is None and evidence.twin(record) is None
            if alone and _made_by_people(evidence, record) and not _asked_about(evidence, record):
                yield Finding("lost", f"{record.name} was never carried over", _made([record]))


def _before(gone: Record, made: Record) -> bool:
    return gone.gone is not None and made.made is not None and gone.gone.number < made.made.number


def _made(records: Sequence[Record]) -> list[str]:
    return [record.made.line() for record in records if record.made]


def _way_of(evidence: Evidence, records: Sequence[Record], twin: str) -> list[str]:
    """When they were made and deleted, and what the log says of them as a whole: whether we knew of them in time."""
    accepted = sorted(
        (one for record in records for one in (record.made, record.gone) if one), key=lambda one: one.number
    )
    names = {twin, *(name for record in records for name in (record.name, record.id))}
    told = [one for one in evidence.audit if names & set(one.label.split(" = ")) and not one.field]
    return [one.line() for one in accepted] + [one.line() for one in told[:LINES_SHOWN]]


def _made_by_people(evidence: Evidence, record: Record) -> bool:
    return record.made is not None and record.made.account != evidence.ours and evidence.judged(record.made)


def _first_title(record: Record) -> str:
    writes = record.writes.get(TITLE.paths[record.side])
    return writes[0].after if writes else ""


def _asked_about(evidence: Evidence, record: Record) -> bool:
    names = {record.name, record.id}
    return any(names & _names(one) or record.now(TITLE.paths[record.side]) in json.dumps(one) for one in evidence.asked)


def _names(asked: Mapping[str, Any]) -> set[str]:
    return {str(value) for value in asked["record"].values() if value} | set(asked["record"]["label"].split(" = "))


@dataclass
class _Story:
    """One field of one pair."""

    evidence: Evidence
    left: Record
    right: Record
    what: Judged
    later: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # value → what came causally later

    def __post_init__(self) -> None:
        self.ours = [one for one in self._all() if one.account == self.evidence.ours]
        for one in self._all():
            if one.account != self.evidence.ours:
                self.later[one.before].add(one.after)
            elif self._decided(one):
                self.later[one.before].add(one.after)
                if self._by_person(one):
                    self.later[self._value_at(OTHER[one.side], one.at)].add(one.after)
        for told in self._told:
            if told.code == "agreed_to_differ" and told.after:  # from here on, an edit of either is later than both
                left, right = (self.what.say(told.after.get(side)) for side in OTHER)
                self.later[left].add(right)
                self.later[right].add(left)

    def record(self, side: str) -> Record:
        return self.left if side == "left" else self.right

    def writes(self, side: str) -> list[Accepted]:
        ones, say = self.record(side).writes.get(self.what.paths[side], []), self.what.say
        return [replace(one, before=say(one.before), after=say(one.after)) for one in ones]

    def _all(self) -> list[Accepted]:
        return [*self.writes("left"), *self.writes("right")]

    def _by_person(self, one: Accepted) -> bool:
        told = self.evidence.told_of(one, self.what)
        return told is not None and told.code in BY_PERSON

    def _decided(self, one: Accepted) -> bool:
        """Whether somebody decided against the very value that our write replaced."""
        told = self.evidence.told_of(one, self.what)
        named = told is not None and (told.code in BY_PERSON or told.code.startswith(("policy_", "initial_")))
        return named and told is not None and self.what.say(told.before) == one.before

    def _value_at(self, side: str, at: float) -> str:
        before = [one.after for one in self.writes(side) if one.at <= at]
        return before[-1] if before else ""

    def findings(self) -> list[Finding]:
        return [*self._invented(), *self._flip_flops(), *self._lost()]

    def _invented(self) -> Iterable[Finding]:
        for one in self.ours:
            if not self.evidence.judged(one) or self._by_person(one) or not self._traceable(one.after):
                continue
            source = self.record(OTHER[one.side])
            known = {
                value
                for other in self.writes(source.side)
                if other.at <= one.at + CLOCK_SECONDS
                for value in (other.before, other.after)
            } or {""}
            if one.after not in known:
                yield self._finding("invented", f"{one.after!r} was never said on the {source.side}", [one])

    def _traceable(self, value: str) -> bool:
        return value != SAMPLE

    def _flip_flops(self) -> Iterable[Finding]:
        for side in ("left", "right"):
            replaced: dict[str, float] = {}  # value → when it was last replaced here
            for one in self.writes(side):
                gone = replaced.get(one.after)
                if gone is not None and one.account == self.evidence.ours and self.evidence.judged(one):
                    # Somebody may have written it over there again, or chosen it.
                    again = any(
                        o.after == one.after and o.at > gone and (o.account != self.evidence.ours or self._by_person(o))
                        for o in self._all()
                    )
                    if one.after and self._traceable(one.after) and not again:
                        yield self._finding("flip-flopped", f"{one.after!r} came back on the {side}", [one])
                replaced[one.before] = one.at

    def _lost(self) -> Iterable[Finding]:
        if self.left.gone or self.right.gone:
            return
        now = {side: self.what.say(self.record(side).now(self.what.paths[side])) for side in OTHER}
        waiting = self._questions()
        for one in self._all():
            person = one.account != self.evidence.ours or self._by_person(one)
            if not person or not one.after or not self._traceable(one.after) or not self.evidence.judged(one):
                continue
            successors = self._successors(one.after)
            if all(now[side] in successors for side in OTHER):
                continue
            if successors & waiting:
                continue
            gone = [side for side in OTHER if now[side] not in successors]
            over = [o for o in self.ours if o.before in successors and o.after not in successors]
            how = (
                "was overwritten between our read and our write"
                if any(not self._knew(o) for o in over)
                else "is not on the " + " and ".join(gone)
            )
            yield self._finding("lost", f"{one.after!r} {how}, and nobody is asked", [one])

    def _knew(self, one: Accepted) -> bool:
        told = self.evidence.told_of(one, self.what)
        return told is not None and self.what.say(told.before) == one.before

    def _successors(self, value: str) -> set[str]:
        found, new = {value}, [value]
        while new:
            for after in self.later.get(new.pop(), ()):
                if after not in found:
                    found.add(after)
                    new.append(after)
        return found - {""} if value else found

    def _questions(self) -> set[str]:
        """Values that questions about this field hold."""
        names = {self.left.name, self.left.id, self.right.name, self.right.id}
        found: set[str] = set()
        for one in self.evidence.asked:
            if one["rule"] and one["field"] == self.what.labels["left"] and names & _names(one):
                found |= {said(one["left"]["value"]), said(one["right"]["value"]), said(one.get("overwritten"))}
                found |= {said(value) for value in one.get("overwritten_before", ())}
                found |= {said(word) for word in re.findall(r"[\w.-]+", one["reason"])}
        return (found | self._let_go()) - {""}

    def _let_go(self) -> set[str]:
        """Values that we replaced unseen, and that a person was asked about and answered."""
        found: set[str] = set()
        asked: set[str] = set()
        for told in self._told:
            if told.code == OVERWROTE:
                asked.add(said(told.before))
            elif told.action == "resolve" and told.by_person:
                found |= asked
        return found

    @cached_property
    def _told(self) -> list[Told]:
        """Our audit lines about this field of this pair."""
        labels, names = set(self.what.labels.values()), {self.left.name, self.right.name}
        return [t for t in self.evidence.audit if t.field in labels and names & set(t.label.split(" = "))]

    def _finding(self, kind: str, what: str, ones: Sequence[Accepted]) -> Finding:
        lines = [one.line() for one in sorted(self._all(), key=lambda one: one.at)]
        record = f"{self.left.name} = {self.right.name}"
        told = [told.line() for told in self._told]
        return Finding(kind, f"{record}, {self.what.name}: {what}", [*lines, *told])
