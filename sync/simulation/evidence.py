"""What is known of a history once it was played: the systems' own logs and the audit log, put in order.

Every value a person writes is a word that occurs once, so that its way can be followed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connections.connectors.memory import US, LogLine
from sync.simulation.remote import SimulatedWorld

TEXTS = ("title", "body", "amount", "note")
ONE_WAY = "Note"  # its label
# Writes that by their nature replace what nobody agreed to lose: only an older value may go that way.
PLAIN_WRITES = frozenset({"edited", "kept_apart", "created", "initial_fill", "initial_union"})
DIFFER = frozenset(
    {
        "agreed_to_differ",
        "made_of_it",
        "kept_apart",
        "one_way_target_kept",
        "direction_keeps",
        "one_way_source_empty",
        "retried",  # sent to one side alone
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What the oracle reads of an audit line."""

    action: str
    code: str
    label: str  # "L00001 = R00001"
    field: str
    before: Any
    after: Any
    at_line: int  # accepted writes before it
    why: str = ""  # of a write that may have happened: the code of its decision
    mapping: str = ""


@dataclass
class Evidence:
    worlds: Sequence[SimulatedWorld]
    journal: Sequence[tuple[SimulatedWorld, LogLine]]
    moments: Sequence[datetime]  # when each line of the journal was accepted, on one right clock
    began: Sequence[int]  # for each line of the journal: those before the call that wrote it
    looked: Sequence[int]  # for each line of the journal: reads before that call
    writers: Sequence[int]  # for each line of the journal: the mapping that wrote it; -1: people
    reads: Sequence[tuple[int, str, frozenset[str], int]]  # (accepted writes before it, system, records read, mapping)
    entries: Sequence[Entry]
    typed: Mapping[str, tuple[str, str]]  # words that people typed here, for a field of the pair of a record
    pairs: Sequence[tuple[int, int]]  # systems that mappings join
    published: Sequence[int]  # versions of mappings: accepted writes before each
    named: Set[tuple[str, str, str]]  # (mapping, field, policy) that some version of the mapping named
    asked: Sequence[tuple[int, str, str, str]]  # what people asked for: accepted writes before it, what, record, field


def words(value: Any) -> set[str]:
    """Every word in a value of any shape."""
    if isinstance(value, str):
        return {part.strip() for part in value.split("\n") if part.strip()}
    if isinstance(value, dict):
        return set().union(*(words(one) for one in value.values()), set())
    if isinstance(value, list):
        return set().union(*(words(one) for one in value), set())
    return set()


def parts(path: str, value: Any) -> dict[str, str]:
    """What of a value can be followed on its own: a text's lines."""
    if not isinstance(value, str):
        return {path: ""} if path != "body" else {}
    lines = value.split("\n") if path == "body" else [value]
    return {f"{path}.{number}": line.strip() for number, line in enumerate(lines)}


class Case:
    """The evidence put in order."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.thing: dict[tuple[str, str], str] = {}  # (system, record) -> ref
        self.refs: dict[str, str] = {}  # the same by record alone: no two systems share an id
        for world, line in evidence.journal:
            if line.field == "ref":
                ref = str(line.after)
                if ref in evidence.typed:  # somebody sent a twin under another one: it is of the same thing
                    ref = self.refs.get(evidence.typed[ref][0], ref)
                self.thing[(world.name, line.external_id)] = self.refs[line.external_id] = ref
        self.said: dict[str, set[tuple[str, str]]] = defaultdict(set)  # word -> (ref, field) that people wrote it to
        self.older: dict[str, set[str]] = defaultdict(set)  # word -> words that its writer saw gone
        self.by_people: dict[str, tuple[SimulatedWorld, str]] = {}  # word -> where somebody wrote it first
        self.removed: dict[str, tuple[SimulatedWorld, str]] = {}  # labels that people took away, and where
        for world, line in evidence.journal:
            if line.by != US:
                self._follow(world, line)
        for word, (record, path) in evidence.typed.items():
            self.said[word].add((self.refs.get(record, record), path))
        self.deleted_by_people: set[tuple[str, str]] = set()  # and not brought back
        for world, line in evidence.journal:
            if line.field == "" and line.by != US:
                taken_back = line.after != "deleted"
                gone = {(world.name, line.external_id)}
                self.deleted_by_people = self.deleted_by_people - gone if taken_back else self.deleted_by_people | gone
        self.gone_unknown = self._gone_unknown()
        self.lines: dict[tuple[str, str], list[tuple[int, LogLine]]] = defaultdict(list)  # by record and field
        for index, (_, line) in enumerate(evidence.journal):
            self.lines[line.external_id, line.field].append((index, line))
        self.told: dict[str, list[Entry]] = defaultdict(list)  # by field
        for entry in evidence.entries:
            self.told[entry.field].append(entry)
        self.kept = self._kept()
        brought_back = (words(entry.after) for entry in evidence.entries if entry.code == "undone")
        self.undone: set[str] = set().union(*brought_back)  # words
        self.chosen: set[str] = set()  # words that a person's answer put somewhere, such as what was agreed before
        for entry in evidence.entries:
            if (entry.action, entry.code) == ("write", "resolved"):
                self.chosen |= words(entry.after)
        # Several ways lead from one system to another: an edit meets itself, later, on its other way.
        self.circle = len(evidence.pairs) >= len(evidence.worlds)

    def _gone_unknown(self) -> set[tuple[str, str]]:
        """(system, record) of what we made and somebody deleted before the log names it: its create had no answer."""
        named: dict[str, int] = {}
        for entry in self.evidence.entries:
            for external_id in entry.label.split(" = "):
                named.setdefault(external_id, entry.at_line)
        made: set[tuple[str, str]] = set()
        gone: set[tuple[str, str]] = set()
        for index, (world, line) in enumerate(self.evidence.journal):
            record = (world.name, line.external_id)
            if line.by == US and line.field == "ref" and line.before is None:
                made.add(record)
            elif line.by != US and line.field == "" and record in made and named.get(line.external_id, index) >= index:
                gone.add(record)
        return gone

    def place(self, line: LogLine) -> tuple[str, str]:
        """(ref, field) of what was written."""
        return self.refs.get(line.external_id, line.external_id), line.field

    def _follow(self, world: SimulatedWorld, line: LogLine) -> None:
        where = (world, line.external_id)
        if line.field in (*TEXTS, "labels"):
            for word in words(line.after) - words(line.before):
                self.said[word].add(self.place(line))
        if line.field == "labels":
            before, after = set(line.before or ()), set(line.after or ())
            self.removed |= dict.fromkeys(before - after, where)
            for word in after - before:
                self.by_people.setdefault(word, where)
        elif line.field in TEXTS:
            before_parts = parts(line.field, line.before)
            for name, word in parts(line.field, line.after).items():
                old = before_parts.get(name, "")
                if word and word != old:
                    self.by_people.setdefault(word, where)
                    self.older[word] |= {old, *self.older.get(old, ())} - {"", word}

    def _kept(self) -> set[str]:
        """Words that the audit log holds beside an answer, a policy, or a question that stands.

        ⚑ A question that nobody answered, and that values settled, keeps nothing: what it held must be there.
        """
        kept: set[str] = set()
        asked: dict[tuple[str, str], set[str]] = defaultdict(set)
        offered: dict[tuple[str, str], set[str]] = defaultdict(set)  # by record and field
        for entry in self.evidence.entries:
            place = (entry.label, entry.field)
            if entry.action == "conflict" and not entry.field:
                for name, value in (entry.after or {}).items():  # what the create said that was refused
                    for record in entry.label.split(" = "):
                        offered[record, name.title()] |= words(value)
            elif entry.action == "conflict":
                asked[place] |= words(entry.before) | words(entry.after)
                if entry.why and entry.why not in PLAIN_WRITES:  # decided against, whether or not the write arrived
                    kept |= words(entry.before)
            elif entry.action == "unclear" and entry.why not in PLAIN_WRITES:
                kept |= words(entry.before)
            elif (entry.action, entry.code) == ("conflict_closed", "moved"):
                asked.pop(place, None)
            elif (entry.action, entry.code) == ("conflict_closed", "pair_ended"):  # with its records
                kept |= asked.pop(place, set())
            elif entry.action == "resolve" or (entry.action == "agree" and entry.code in DIFFER):
                kept |= words(entry.before) | words(entry.after) | asked.pop(place, set())
            elif entry.action == "write" and entry.code not in PLAIN_WRITES:
                kept |= words(entry.before)
                if entry.code == "retried":  # what it was sent instead of
                    kept = kept.union(*(offered[record, entry.field] for record in entry.label.split(" = ")))
            elif entry.action == "delete" and isinstance(entry.before, dict):
                kept |= words(entry.before.get(ONE_WAY))  # what nobody carries over goes with its record
        kept = kept.union(*asked.values())
        return kept.union(*(self.older.get(word, set()) for word in kept))

    def last_values(self) -> Iterator[tuple[SimulatedWorld, str, dict[str, Any], bool]]:
        """(system, record, values, alive) of every record that people left as it is."""
        for world in self.evidence.worlds:
            for external_id, record in world.records.items():
                if not record.deleted or (world.name, external_id) in self.deleted_by_people:
                    yield world, external_id, dict(record.values), not record.deleted

    def read_before(self, index: int, by_any: bool = False) -> int:
        """Lines of the journal before the last look at its record that preceded the call of this line; -1: none did.

        A worker that stood still in the middle of a call made it before what others read meanwhile. `by_any`: looks of
        other mappings count, too.
        """
        world, line = self.evidence.journal[index]
        by = None if by_any else self.evidence.writers[index]
        return max(self.looks_at(world, line.external_id, by, until=self.evidence.looked[index]), default=-1)

    def looks_at(
        self,
        world: SimulatedWorld,
        external_id: str,
        mapping: int | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> Iterator[int]:
        """Lines of the journal before each look at the record, by one mapping or by all, of these reads."""
        return (
            at
            for at, name, ids, by in self.evidence.reads[since:until]
            if name == world.name and external_id in ids and mapping in (None, by)
        )

    def slept(self, index: int) -> bool:
        """Whether others looked at the record between the call of this line and its acceptance: the write came after
        they had found nothing and given it up, and reads like somebody's own."""
        world, line = self.evidence.journal[index]
        return any(at <= index for at in self.looks_at(world, line.external_id, since=self.evidence.looked[index]))

    def entries_of(self, records: Sequence[str], path: str) -> list[Entry]:
        """Lines about a field of what has these records; those from before a twin was made name one of them and "?"."""
        wanted, found = {*records}, []
        for entry in self.told[path.title()]:
            named = {*entry.label.split(" = ")}
            if wanted <= named or ("?" in named and named & wanted):
                found.append(entry)
        return found
