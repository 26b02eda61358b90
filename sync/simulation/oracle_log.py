"""What the audit log says must be so, and be asked of people only where they are needed."""

from __future__ import annotations

from collections import Counter, defaultdict

from connections.connectors.memory import US
from sync.simulation.evidence import TEXTS, Case, Entry, words
from sync.simulation.oracle_values import BOTH_WAYS
from sync.simulation.verdict import Verdict

BY_REQUEST = frozenset({"resolved", "undone", "retried", "repaired"})
# How questions end that may be asked once more: the field cannot be read for a while, or a deletion was taken back.
GOES_ON = frozenset({"superseded", "pair_ended"})
ASKED_OF_BOTH = frozenset({"both_changed", "times_overlap", "edits_touch"})


def only_what_was_named_decides(case: Case, verdict: Verdict) -> None:
    """A policy decided where a version of the mapping names it for the field, and a request where somebody asked."""
    for entry in case.evidence.entries:
        if entry.action not in ("write", "agree", "conflict", "unclear"):
            continue
        code = entry.code if entry.action in ("write", "agree") else entry.why
        if code.startswith(("policy_", "initial_")) and (entry.mapping, entry.field, code) not in case.evidence.named:
            verdict.findings.append(f"decided by {code}, which nobody named: {entry.field} of {entry.label}")


def nobody_answered_for_a_person(case: Case, verdict: Verdict) -> None:
    """What the log tells as somebody's answer, undo or second try, somebody asked for: of this pair and field."""
    for entry in case.evidence.entries:
        code = entry.code if entry.action in ("write", "resolve") else entry.why
        if code not in BY_REQUEST:
            continue
        # A question ends by whatever somebody asked for about its field.
        fitting = BY_REQUEST if entry.action == "resolve" else {code}
        records = entry.label.split(" = ")
        if not any(
            at <= entry.at_line and what in fitting and record in records and entry.field in ("", path)
            for at, what, record, path in case.evidence.asked
        ):
            verdict.findings.append(f"nobody asked: {entry.action} {code} of {entry.field} of {entry.label}")


def every_write_is_audited(case: Case, verdict: Verdict) -> None:
    """The log names what we write at this field of this thing."""
    told: dict[tuple[str, str], set[str]] = defaultdict(set)  # by ref and field
    for entry in case.evidence.entries:
        # What a worker wrote long after it was given up is met as the record's own value, and told as such.
        if entry.action not in ("write", "create", "conflict", "unclear", "not_written", "agree"):
            continue
        for ref in {case.refs.get(record, record) for record in entry.label.split(" = ")}:
            for value in (entry.before, entry.after):
                by_field = {entry.field: value} if entry.field else value if isinstance(value, dict) else {}
                for name, one in by_field.items():
                    told[ref, name.lower()] |= words(one)
    for world, line in case.evidence.journal:
        if line.by != US or line.field not in TEXTS:
            continue
        if missing := words(line.after) - words(line.before) - told[case.place(line)]:
            verdict.findings.append(
                f"not audited: {sorted(missing)} in {line.field} of {world.name} {line.external_id}"
            )


def nobody_is_asked_needlessly(case: Case, verdict: Verdict) -> None:
    """Where both are said to have edited, both did, since they last said the same."""
    if case.circle:
        return  # in a circle one system's two edits may meet each other on their two ways: asked, and nothing lost
    asked: set[tuple[str, str]] = set()  # pairs and fields about which a question stands
    # What another mapping decided where it first met its pair, which may say nothing: like an edit to this one.
    first = [entry for entry in case.evidence.entries if entry.code.startswith("initial_")]
    decided = {
        (record, entry.field.lower(), frozenset(words(entry.after)))
        for entry in first
        for record in entry.label.split(" = ")
    }
    by_answers = {*case.evidence.typed, *case.undone, *case.chosen}
    emptied = {  # by what a person asked for, which leaves no word to know it by
        (record, entry.field.lower())
        for entry in case.evidence.entries
        if entry.action == "write" and entry.code in BY_REQUEST and not words(entry.after)
        for record in entry.label.split(" = ")
    }
    unknown: dict[tuple[str, str], int] = {}  # lines before the log said that nobody knows if we wrote there
    for entry in case.evidence.entries:
        place, stands = (entry.label, entry.field), (entry.label, entry.field) in asked
        if entry.action == "unclear" or entry.code == "maybe_written":
            unknown[place] = entry.at_line
        if entry.action == "resolve" or (entry.action == "conflict_closed" and entry.code not in GOES_ON):
            asked.discard(place)  # one that waits for its field to be readable again is asked as another, later
        if entry.action != "conflict":
            continue
        asked.add(place)
        # A question that only became another one asks nobody once more.
        if stands or entry.code not in ASKED_OF_BOTH or entry.field.lower() not in BOTH_WAYS:
            continue
        path = entry.field.lower()
        ids = [part.strip() for part in entry.label.split("=")]
        things = {ref for (_, record), ref in case.thing.items() if record in ids}
        now: dict[str, frozenset[str]] = {}
        edited: set[str] = set()  # systems; another mapping may have carried an edit of a third one
        met = -1  # the last line that made both say the same
        for index, (world, line) in enumerate(case.evidence.journal[: entry.at_line]):
            if line.field != path or case.thing.get((world.name, line.external_id)) not in things:
                continue
            now[line.external_id] = frozenset(words(line.after))
            like_an_edit = line.by == US and case.slept(index)
            # What a person typed or undid is an edit too.
            by_first = line.by == US and (line.external_id, path, now[line.external_id]) in decided
            by_request = now[line.external_id] & by_answers or (
                not now[line.external_id] and (line.external_id, path) in emptied
            )
            if line.by != US or like_an_edit or by_first or by_request:
                edited.add(world.name)
            if all(record in now for record in ids) and len(set(now.values())) == 1 and not like_an_edit:
                edited, met = set(), index
        if len(edited) < 2 and unknown.get(place, -1) <= met:  # who cannot know what was there asks of need
            verdict.findings.append(f"needless question: {path} of {entry.label}, edited only in {sorted(edited)}")


def no_question_comes_back_unchanged(case: Case, verdict: Verdict) -> None:
    last: dict[tuple[str, str], Entry] = {}
    requests: Counter[str] = Counter()  # by pair
    answered: Counter[tuple[str, str]] = Counter()  # questions about what was sent by request
    for entry in case.evidence.entries:
        key = (entry.label, entry.field)
        requests[entry.label] += entry.action == "ask"
        if entry.action in ("ask", "retry"):  # what a person answered is tried, and may end in the same question
            last = {other: one for other, one in last.items() if other[0] != entry.label}
        if entry.action == "retry" and not entry.label:  # so is what was refused, once its system's fields changed
            last = {other: one for other, one in last.items() if one.mapping != entry.mapping}
        if entry.action == "conflict_closed" and entry.code in GOES_ON:
            last.pop(key, None)
        if entry.action != "conflict" or not entry.field or not entry.label:  # without a pair it is about the mapping
            continue
        before = last.get(key)
        last[key] = entry
        answered[key] += entry.why in BY_REQUEST
        if before is None or (before.code, before.before, before.after) != (entry.code, entry.before, entry.after):
            continue
        ids = [part.strip() for part in entry.label.split("=")]
        moved = any(
            line.external_id in ids and line.field == entry.field.lower()
            for _, line in case.evidence.journal[before.at_line : entry.at_line]
        )
        # Under another version what was refused or not answered is tried once more.
        tried = any(before.at_line <= line <= entry.at_line for line in case.evidence.published)
        # Somebody asked for the same twice before it was known what became of the first.
        twice = entry.why in BY_REQUEST and answered[key] <= requests[entry.label]
        if not (moved or tried or twice):
            verdict.findings.append(f"asked again unchanged: {entry.field} of {entry.label} ({entry.code})")


def the_newer_edit_wins(case: Case, verdict: Verdict) -> None:
    """Where the policy let the newest decide, no edit that we had read was newer than the one it lost to."""
    journal, moments = case.evidence.journal, case.evidence.moments
    for entry in case.evidence.entries:
        if (entry.action, entry.code) != ("write", "policy_newest"):
            continue
        path, ids = entry.field.lower(), entry.label.split(" = ")
        lines = [
            (index, line)
            for index, (_, line) in enumerate(journal[: entry.at_line])
            if line.external_id in ids and line.field == path
        ]
        wrote = next((one for one in reversed(lines) if one[1].by == US and one[1].after == entry.after), None)
        if wrote is None:
            continue
        index, written = wrote
        seen = case.read_before(index)
        there = [at for at, line in lines if line.external_id == written.external_id and at < seen]
        over = [
            at
            for at, line in lines
            if line.external_id != written.external_id and at < index and words(line.after) == words(entry.after)
        ]
        if not there or not over or US in (journal[there[-1]][1].by, journal[over[-1]][1].by):
            continue
        if journal[there[-1]][1].after == written.before and moments[there[-1]] > moments[over[-1]]:
            verdict.findings.append(
                f"older edit won: {path} of {entry.label}: {written.before!r} lost to {entry.after!r}"
            )


CHECKS = (
    only_what_was_named_decides,
    nobody_answered_for_a_person,
    every_write_is_audited,
    nobody_is_asked_needlessly,
    no_question_comes_back_unchanged,
    the_newer_edit_wins,
)
