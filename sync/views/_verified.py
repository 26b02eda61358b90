"""What a verification's page shows: its answer in a sentence, what waits and for what, fields, and lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.safestring import SafeString

from connections.overwrites import Detection, detection_in
from connections.views.kinds import kind_of
from mappings.compiled import field_spec
from mappings.transforms.base import FieldSpec
from sync import repair
from sync.compare import REASONS
from sync.models import Verification, VerifiedDifference
from sync.views._questions import rules_of
from sync.views._values import EMPTY, brief, difference, system_names
from sync.wording import sentence

# What became of a repair: (badge kind, icon, word).
OUTCOMES: Mapping[str, tuple[str, str, str]] = {
    "waiting": ("info", "clock", "Asked for"),
    "applying": ("info", "run", "Being written"),
    "done": ("ok", "check", "Repaired"),
    "stale": ("warn", "redo", "Moved meanwhile"),
    "refused": ("bad", "xc", "Could not be done"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """The first line of the page, and what it means."""

    head: str
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One difference as listed. left, right: its values, None where there is none to show."""

    difference: VerifiedDifference
    left: SafeString | None
    right: SafeString | None
    outcome: tuple[str, str, str] | None
    can_choose: bool
    pending: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One repair before it is asked for."""

    repair: repair.Repair
    change: SafeString
    nothing: bool  # both mean the same by the rule: nothing would be written


def _s(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def answer(one: Verification) -> Answer:
    counts = one.counts
    apart, pairs = counts["drift"] + counts["missing"], counts["pairs"]
    if one.state in Verification.OPEN:
        return Answer(f"{one.mapping}: comparing {_s(one.total, 'pair')}", "It reads both sides and writes nothing.")
    whole = one.kind == Verification.Kind.COMPLETE and one.state == Verification.State.DONE
    if not pairs:
        return Answer(f"{one.mapping}: nothing was compared", "There was no pair to look at.")
    if not apart:
        head = f"{one.mapping}: {'no pair drifted' if whole else 'no drift in ' + _s(pairs, 'pair')}"
        rest = _s(counts["waiting"], "pair") + " waited, each with its reason below." if counts["waiting"] else ""
        return Answer(head, f"{_s(counts['equal'], 'pair')} said the same on both sides. {rest}".strip())
    parts = [
        f"{_s(counts['drift'], 'pair')} drifted" if counts["drift"] else "",
        f"{_s(counts['missing'], 'pair')} lack{'s' if counts['missing'] == 1 else ''} a record"
        if counts["missing"]
        else "",
    ]
    return Answer(
        f"{one.mapping}: {' and '.join(part for part in parts if part)}",
        f"Of {_s(pairs, 'pair')} looked at. Drift is what differs although neither side was edited since both agreed; "
        "nothing writes it by itself.",
    )


def trouble_of(one: Verification) -> tuple[str, str, str] | None:
    """Why it waits or ended early: what happened, what it means, what to do."""
    if not one.reason:
        return None
    said = sentence(one.reason["code"], one.reason.get("params"))
    if one.state in Verification.OPEN:
        return said, "Nothing is lost, and nothing is written.", ""
    return said, "Nothing was written. The numbers below hold for the pairs that were looked at.", "Verify again."


def progress_of(one: Verification, now: datetime) -> dict[str, Any]:
    waits = one.state == Verification.State.WAITING
    still = waits and one.reason.get("code") == "verification_stands_still"
    waiting = waits and one.not_before > now
    return {"waiting": waiting, "still": still, "queued": waits and not waiting and not still}


def waits_of(one: Verification) -> list[tuple[str, int]]:
    """(what pairs waited for, how many), most first."""
    waits = one.counts.get("waits", {})
    return sorted(((REASONS.get(code, code), number) for code, number in waits.items()), key=lambda row: -row[1])


def fields_of(one: Verification) -> list[dict[str, Any]]:
    """Fields that did not agree everywhere, those with most drift first."""
    rows = [{"rule": rule, **row} for rule, row in one.counts.get("fields", {}).items()]
    return sorted(rows, key=lambda row: (-row["drift"], -row["agreed"], row["label"]))


def calls_of(one: Verification) -> list[tuple[str, str, int]]:
    """(side, system, calls)"""
    names = system_names(one.mapping)
    return [(side, names[side], sum(one.calls.get(side, {}).values())) for side in names]


def overwrites_of(one: Verification) -> list[tuple[str, str, Detection]]:
    """(side, system, whether an edit that our write replaces is noticed there)"""
    found = [
        (side, system, kind_of(one.mapping.connection(side))) for side, system in system_names(one.mapping).items()
    ]
    return [
        (side, system, detection_in(kind.capabilities, kind.blind_in, one.mapping.object_type(side), kind.looks_at))
        for side, system, kind in found
        if kind is not None
    ]


def _specs(document: Mapping[str, Any]) -> dict[tuple[str, str], FieldSpec]:
    rules = rules_of(document)
    return {(rule, side): field_spec(found[side]) for rule, found in rules.items() for side in ("left", "right")}


def rows_of(one: Verification, differences: Sequence[VerifiedDifference]) -> list[Row]:
    specs = _specs(one.version.document)
    rows = []
    for found in differences:
        outcome = repair.outcome_of(found)
        values = {
            side: brief(getattr(found, f"{side}_value"), specs.get((found.rule_id, side)))
            for side in ("left", "right")
            if found.kind != VerifiedDifference.Kind.MISSING
        }
        rows.append(
            Row(
                found,
                values.get("left"),
                values.get("right"),
                OUTCOMES.get(outcome),
                repair.can_choose(found),
                outcome in ("waiting", "applying"),
            )
        )
    return rows


def line_of(one: repair.Repair) -> Line:
    nothing = not one.why_not and not one.writes
    if one.rule is None or one.why_not:
        return Line(one, EMPTY, nothing)
    return Line(one, difference(one.before, one.after, one.rule.field(one.side)), nothing)
