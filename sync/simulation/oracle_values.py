"""What became of what people wrote: nothing may be lost, doubled, brought back, flipped, invented or left unsaid.

Every value a person writes is a word that occurs once, so that its way can be followed. For each of them one must hold
in the end (reference: the definition of a lost update in docs/guarantees.md): it is there, or somebody who saw it wrote
over it, or it lies in the audit log beside the question or the named policy that set it aside.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from connections.connectors.memory import US
from sync.simulation.evidence import DIFFER, TEXTS, Case, parts, words
from sync.simulation.remote import SimulatedWorld
from sync.simulation.verdict import Verdict

BOTH_WAYS = ("title", "body", "amount", "labels")
ALL = (*BOTH_WAYS, "note")
MAYBE_WRITTEN = frozenset({"maybe_written", "gone_unanswered"})


def nothing_is_lost(case: Case, verdict: Verdict) -> None:
    there: dict[str, set[str]] = defaultdict(set)  # ref -> words that are there or were seen gone
    for world, external_id, values, _ in case.last_values():
        found = there[case.thing.get((world.name, external_id), external_id)]
        for path in TEXTS:
            for word in parts(path, values.get(path)).values():
                found |= {word} | case.older.get(word, set())
        found |= set(values.get("labels") or ())
    for word, (world, external_id) in case.by_people.items():
        ref = case.thing.get((world.name, external_id), external_id)
        if word in there[ref] or word in case.kept or word in case.removed:
            continue
        over_it = [later for later, older in case.older.items() if word in older]  # whose writers saw it
        if any(_nobody_could_tell(case, one) for one in (word, *over_it)) or _gone_with_its_record(
            case, world, external_id
        ):
            verdict.undetectable += 1
            continue
        verdict.findings.append(f"lost: {word} of {ref}, written to {world.name} {external_id}")


def _gone_with_its_record(case: Case, world: SimulatedWorld, external_id: str) -> bool:
    """Whether somebody deleted the record before we knew what became of our write to it, and the log says that."""
    told = (entry for entry in case.evidence.entries if entry.action == "unclear" and external_id in entry.label)
    return (world.name, external_id) in case.deleted_by_people and any(told)


def _nobody_could_tell(case: Case, word: str) -> bool:
    """Whether we overwrote the word between our last read and our write, in a system without versions and history, or
    deleted the record it was written to: no system takes a condition with that."""
    for index, (world, line) in enumerate(case.evidence.journal):
        deleting = line.field == "" and line.after == "deleted"
        if line.by != US or (not deleting and (word not in words(line.before) or word in words(line.after))):
            continue
        nature = world.nature
        if not deleting and (nature.history or (nature.conditional and nature.exact_version)):
            return False
        before = [
            number
            for number, (where, one) in enumerate(case.evidence.journal[:index])
            if where is world and one.external_id == line.external_id and word in words(one.after)
        ]
        if not before:
            continue
        written = max(before)
        # What another mapping of ours has brought is not to be written over, whoever of us has looked.
        return case.read_before(index, by_any=case.evidence.journal[written][1].by == US) <= written
    return False


def sets_are_merged(case: Case, verdict: Verdict) -> None:
    """What somebody took away stays away, unless the record it was taken from is gone, or nobody could tell, or a
    person's undo brought it back."""
    for world, external_id, values, alive in case.last_values():
        if not alive or _explained(case, [external_id], "labels") or _unlinked(case, [external_id]):
            continue
        for word in (set(values.get("labels") or ()) & case.removed.keys()) - case.kept - case.undone - case.chosen:
            where, record = case.removed[word]
            if record not in where.alive():  # its pairs end with it, or ask
                continue
            if _cut_off(case, where, record) or _explained(case, [record], "labels"):
                continue
            nobody_could_tell = (_removal_overwritten, _met_in_a_circle, _carried_by_one_that_slept)
            if any(one(case, word, where, record) for one in nobody_could_tell):
                verdict.undetectable += 1
                continue
            verdict.findings.append(f"resurrected: label {word} on {world.name} {external_id}")


def _cut_off(case: Case, world: SimulatedWorld, external_id: str) -> bool:
    """Whether people deleted every twin of the record: what is done to it goes no further, and its pairs ask."""
    systems = case.evidence.worlds
    here = systems.index(world)
    joined = {systems[one].name for pair in case.evidence.pairs if here in pair for one in pair if one != here}
    ref = case.thing.get((world.name, external_id))
    twins = {(name, record) for (name, record), thing in case.thing.items() if thing == ref and name in joined}
    return bool(twins) and twins <= case.deleted_by_people


def _removal_overwritten(case: Case, word: str, world: SimulatedWorld, external_id: str) -> bool:
    """Whether we put the word back between our last read and our write, in a system without versions and history."""
    nature = world.nature
    if nature.history or (nature.conditional and nature.exact_version):
        return False
    removed_at = None
    for index, (where, line) in enumerate(case.evidence.journal):
        if where is not world or line.external_id != external_id or line.field != "labels":
            continue
        before, after = set(line.before or ()), set(line.after or ())
        if line.by != US and word in before - after:
            removed_at = index
        elif line.by == US and word in after - before and removed_at is not None:
            return case.read_before(index) <= removed_at
    return False


def _met_in_a_circle(case: Case, word: str, world: SimulatedWorld, external_id: str) -> bool:
    """Whether the label was taken away in a circle before each of its pairs had it: the last one met it as new."""
    evidence = case.evidence
    if not case.circle:
        return False
    removed_at = _removed_at(case, word, world, external_id)
    ref = case.thing.get((world.name, external_id), external_id)
    records = {record for (_, record), thing in case.thing.items() if thing == ref}
    met = {
        entry.label
        for entry in evidence.entries
        if entry.field == "Labels"
        and entry.action in ("write", "agree")  # what was refused in a pair has not come to it
        and entry.at_line <= removed_at
        and word in words(entry.after)
        and records & set(entry.label.split(" = "))
    }
    return len(met) < len(evidence.pairs)


def _carried_by_one_that_slept(case: Case, word: str, world: SimulatedWorld, external_id: str) -> bool:
    """Whether a worker that had sent the label to a twin before it was taken away stood still meanwhile: its write came
    after others had looked there, found nothing and given it up, so that it reads like somebody's own."""
    evidence, removed_at = case.evidence, _removed_at(case, word, world, external_id)
    ref = case.thing.get((world.name, external_id), external_id)
    for index, (where, line) in enumerate(evidence.journal):
        if line.by != US or word not in words(line.after) - words(line.before) or index < removed_at:
            continue
        if case.thing.get((where.name, line.external_id)) != ref or evidence.began[index] > removed_at:
            continue
        if any(removed_at < at <= index for at in case.looks_at(where, line.external_id)):
            return True
    return False


def _removed_at(case: Case, word: str, world: SimulatedWorld, external_id: str) -> int:
    """Where in the journal somebody took the label away there for the last time."""
    return max(
        index
        for index, (where, line) in enumerate(case.evidence.journal)
        if (where, line.external_id, line.field) == (world, external_id, "labels")
        and line.by != US
        and word in words(line.before) - words(line.after)
    )


def both_sides_agree_or_say_why(case: Case, verdict: Verdict) -> None:
    records: dict[str, dict[str, tuple[str, dict[str, Any]]]] = defaultdict(dict)
    for world, external_id, values, alive in case.last_values():
        if alive:
            records[case.thing.get((world.name, external_id), external_id)][world.name] = (external_id, values)
    for ref, by_world in records.items():
        for left, right in case.evidence.pairs:
            names = [case.evidence.worlds[side].name for side in (left, right)]
            if not all(name in by_world for name in names):
                continue
            (left_id, ours), (right_id, theirs) = (by_world[name] for name in names)
            if _unlinked(case, [left_id, right_id]):
                continue
            for path in ALL:
                if words(ours.get(path)) == words(theirs.get(path)) or _explained(case, [left_id, right_id], path):
                    continue
                if path in BOTH_WAYS or not _nothing_to_carry(case, left_id, path):
                    verdict.findings.append(
                        f"unequal: {path} of {ref}: {left_id} {ours.get(path)!r}, {right_id} {theirs.get(path)!r}"
                    )


def _explained(case: Case, records: Sequence[str], path: str) -> bool:
    """A question about the field stands, or the last word of the audit log about it says why it may differ."""
    told = case.entries_of(records, path)
    asking = ("conflict", "resolve", "conflict_closed")
    if next((one.action for one in reversed(told) if one.action in asking), "") == "conflict":
        return True
    last = next((one for one in reversed(told) if one.action in ("conflict", "agree", "write", "resolve")), None)
    if last is None or _changed_since(case, records, path, last.at_line):
        return False
    if last.action == "resolve":
        return any(one.code in (*DIFFER, "undone") for one in told[-3:])
    return last.action == "conflict" or last.code in DIFFER or last.code == "undone"


def _unlinked(case: Case, records: Sequence[str]) -> bool:
    """Whether the log says that the pair ended with a deletion, which somebody took back."""
    ended = (entry.label.split(" = ") for entry in case.told[""] if entry.code == "deletion_unlinked")
    return any({*records} <= {*label} for label in ended)


def _nothing_to_carry(case: Case, source: str, path: str) -> bool:
    """Whether the source of a one-way rule never said anything there."""
    return not any(words(line.after) for _, line in case.lines[source, path])


def _changed_since(case: Case, records: Sequence[str], path: str, at_line: int) -> bool:
    """Whether the field of one of the records says something else than when the log was written last: what was said
    then explains nothing now."""
    for record in records:
        lines = case.lines[record, path]
        then = next((line.after for index, line in reversed(lines) if index < at_line), None)
        if lines and words(lines[-1][1].after) != words(then):
            return True
    return False


def every_record_has_its_twin(case: Case, verdict: Verdict) -> None:
    """What somebody made on one side is on the other, or was deleted there, or a question about it stands."""
    there: dict[tuple[str, str], str] = {}  # (system, thing) -> record
    for world, external_id, _, alive in case.last_values():
        if alive:
            there[world.name, case.thing.get((world.name, external_id), external_id)] = external_id
    for left, right in case.evidence.pairs:
        for here, other in ((left, right), (right, left)):
            names = [case.evidence.worlds[side].name for side in (here, other)]
            for (name, ref), external_id in there.items():
                if name != names[0] or (names[1], ref) in there:
                    continue
                twins = {
                    (world, record)
                    for (world, record), thing in case.thing.items()
                    if (world, thing) == (names[1], ref)
                }
                if twins & case.deleted_by_people or _asked_about(case, external_id):
                    continue
                verdict.findings.append(f"not copied: {ref}, {external_id} in {name}, to {names[1]}")


def _asked_about(case: Case, record: str) -> bool:
    """Whether a question about the record stands."""
    about = [entry for entry in case.evidence.entries if record in entry.label.split(" = ")]
    asking = [entry for entry in about if entry.action in ("conflict", "resolve", "conflict_closed")]
    return bool(asking) and asking[-1].action == "conflict"


def nothing_is_there_twice(case: Case, verdict: Verdict) -> None:
    made_by_people = {
        (world.name, line.external_id)
        for world, line in case.evidence.journal
        if line.by != US and line.field == "ref" and line.before is None
    }
    for world in case.evidence.worlds:
        seen: dict[str, list[str]] = defaultdict(list)
        for external_id in world.alive():
            if (world.name, external_id) in case.gone_unknown:  # made again by then, and brought back by people
                continue
            seen[case.thing.get((world.name, external_id), external_id)].append(external_id)
        for ref, ids in seen.items():
            ours = [one for one in ids if (world.name, one) not in made_by_people]
            if len(ids) > 1 and ours:
                verdict.findings.append(f"duplicated: {ref} in {world.name}: {ids}")


def nothing_comes_back_to_life(case: Case, verdict: Verdict) -> None:
    """What somebody deleted stays away, unless nobody of us ever knew that it was made: its create had no answer. A
    record that is back gets a new twin for one that was to be deleted with it, by us or by people."""
    back = {
        case.refs.get(record, record)
        for entry in case.told[""]
        if entry.code == "returned_to_a_new_twin"
        for record in entry.label.split(" = ")
    }
    gone: set[tuple[str, str]] = set()
    unknown: set[tuple[str, str]] = set()
    for world, line in case.evidence.journal:
        record = (world.name, line.external_id)
        ref = case.thing.get(record, "")
        if line.by != US and line.field == "" and line.after == "deleted":
            (unknown if record in case.gone_unknown else gone).add((world.name, ref))
        elif line.by != US and line.field == "":
            gone.discard((world.name, ref))
        if line.by != US or line.field != "ref" or line.before is not None:
            continue
        if (world.name, ref) in gone and ref not in back:
            verdict.findings.append(f"resurrected: {ref} in {world.name} as {line.external_id}")
        elif (world.name, ref) in unknown:
            verdict.undetectable += 1


def nothing_flips_back_and_forth(case: Case, verdict: Verdict) -> None:
    """v2 → v1 → v2 by us, though nobody wrote v1 anew; a sleeper's write reads like somebody's."""
    ours: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    undone = {str(entry.after) for entry in case.evidence.entries if entry.code in ("undone", "resolved")}
    undone.update(_answers_that_may_have_arrived(case))
    if case.circle:  # what an answer or undo took away in one mapping comes over by the other way
        undone |= {str(entry.before) for entry in case.evidence.entries if entry.code in ("undone", "resolved")}
        # The last pair of a circle meets its records as they are: the policy for first differences decides, and what it
        # took away comes over by the other way.
        first = [entry for entry in case.evidence.entries if entry.code.startswith("initial_")]
        undone |= {str(value) for entry in first for value in (entry.before, entry.after)}
        # An answer in one pair goes round to where another one still asks: the two go on until a question stops them.
        asked = [entry for entry in case.evidence.entries if entry.action == "conflict" and entry.field]
        undone |= {str(value) for entry in asked for value in _both(entry.after)}
    undone = {value.strip() for value in undone}  # as a system that cuts white space keeps it
    differing = _let_differ(case) if case.circle else set()
    for index, (world, line) in enumerate(case.evidence.journal):
        if line.field not in TEXTS or (case.circle and line.field not in BOTH_WAYS):
            continue  # one-way rules in a circle carry an edit round to where somebody has written since
        if (case.thing.get((world.name, line.external_id)), line.field) in differing:
            continue  # what one pair was let differ by comes over by the other way, and is the next edit there
        key = (world.name, line.external_id, line.field)
        if line.by != US:
            ours[key].clear()
            continue
        if case.slept(index):
            continue
        value = str(line.after).strip()
        if value in ours[key][:-1] and line.after is not None and value not in undone:
            verdict.findings.append(f"flip-flop: {line.field} of {world.name} {line.external_id} back to {value!r}")
        ours[key].append(value)


def _let_differ(case: Case) -> set[tuple[str | None, str]]:
    """(thing, field) that somebody let differ in one of its pairs."""
    agreed = [entry for entry in case.evidence.entries if (entry.action, entry.code) == ("agree", "agreed_to_differ")]
    return {(case.refs.get(entry.label.split(" = ")[0]), entry.field.lower()) for entry in agreed}


def _both(told: Any) -> list[Any]:
    """The two values that a question names."""
    return [told.get("left"), told.get("right")] if isinstance(told, dict) else []


def _answers_that_may_have_arrived(case: Case) -> Iterator[str]:
    """What somebody asked for in a pair, undo or answer, and a system took without telling: asked of a person again."""
    instructed: set[str] = set()
    for entry in case.evidence.entries:
        if entry.action == "ask":
            instructed.add(entry.label)
        elif entry.code in MAYBE_WRITTEN and entry.label in instructed:
            yield str(entry.after)


def nothing_is_invented(case: Case, verdict: Verdict) -> None:
    """What we write into a field, people wrote into this field of this thing, in one of its systems or here."""
    for world, line in case.evidence.journal:
        if line.by != US or line.field not in (*TEXTS, "labels"):
            continue
        place = case.place(line)
        strange = {word for word in words(line.after) if place not in case.said.get(word, ())}
        if strange:
            verdict.findings.append(f"invented: {sorted(strange)} in {line.field} of {world.name} {line.external_id}")


def what_only_reads_is_never_written(case: Case, verdict: Verdict) -> None:
    targets = {case.evidence.worlds[right].name for _, right in case.evidence.pairs}
    for world, line in case.evidence.journal:
        if line.by == US and line.field == "note" and line.before is not None and world.name not in targets:
            verdict.findings.append(f"written against the direction: note of {world.name} {line.external_id}")


CHECKS = (
    nothing_is_lost,
    sets_are_merged,
    both_sides_agree_or_say_why,
    every_record_has_its_twin,
    nothing_is_there_twice,
    nothing_comes_back_to_life,
    nothing_flips_back_and_forth,
    nothing_is_invented,
    what_only_reads_is_never_written,
)
