"""Proposals for field pairs, each with a reason and a confidence.

Pure: no Django, no HTTP library, no clock. Nothing here looks at records: names, kinds and options are enough to
propose, and a person decides.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from connections.connectors.base import Field

# Below this a proposal is wrong more often than right and only costs reading.
WORTH_PROPOSING = 0.5
# How much alike two labels must be to count as evidence: "Due date" and "Due on" are 0.71 alike.
SIMILAR_LABEL = 0.7
# Shares of the evidence in the confidence; they add up to 1.
NAME_WEIGHT, KIND_WEIGHT, OPTION_WEIGHT = 0.6, 0.25, 0.15
# The usual names of one thing in different systems, lower case, no punctuation.
SYNONYMS = (
    frozenset({"summary", "subject", "title", "name", "short description", "headline"}),
    frozenset({"description", "body", "details", "notes"}),
    frozenset({"assignee", "owner", "owner id", "assigned to", "case owner", "responsible"}),
    frozenset({"reporter", "requester", "created by", "contact", "caller"}),
    frozenset({"labels", "tags", "keywords"}),
    frozenset({"due date", "due on", "due", "deadline", "target date"}),
    frozenset({"status", "state", "stage"}),
    frozenset({"priority", "urgency", "severity", "impact"}),
    frozenset({"type", "issue type", "category", "case type"}),
    frozenset({"e mail", "email", "email address", "mail"}),
    frozenset({"phone", "telephone", "phone number"}),
)
# Kinds that become each other without loss worth speaking of.
NEAR_KINDS = frozenset(
    {
        frozenset({"text", "rich_text"}),
        frozenset({"text", "option"}),
        frozenset({"date", "datetime"}),
        frozenset({"text", "number"}),
    }
)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One proposed pair. `confidence`: 0 to 1. `direction` leaves out sides that cannot be written."""

    left: str  # field path
    right: str
    left_label: str
    right_label: str
    direction: str
    reason: str
    confidence: float


def suggest(
    left_fields: Sequence[Field],
    right_fields: Sequence[Field],
    paired_left: Collection[str] = (),
    paired_right: Collection[str] = (),
) -> list[Suggestion]:
    """The best pairs among fields that have no rule yet, surest first; each field is proposed once."""
    candidates = [
        suggestion
        for left in left_fields
        if left.path not in paired_left
        for right in right_fields
        if right.path not in paired_right
        if (suggestion := _judge(left, right)) is not None
    ]
    candidates.sort(key=lambda s: (-s.confidence, s.left, s.right))
    chosen: list[Suggestion] = []
    taken_left: set[str] = set()
    taken_right: set[str] = set()
    for candidate in candidates:
        if candidate.left not in taken_left and candidate.right not in taken_right:
            chosen.append(candidate)
            taken_left.add(candidate.left)
            taken_right.add(candidate.right)
    return chosen


def _judge(left: Field, right: Field) -> Suggestion | None:
    if not (left.writable or right.writable):
        return None  # neither can follow the other
    name, name_reason = _names(left, right)
    kind, kind_reason = _kinds(left, right)
    options, option_reason = _options(left, right)
    if kind == 0 or (name == 0 and options == 0):
        return None
    if option_reason:
        total = NAME_WEIGHT * name + KIND_WEIGHT * kind + OPTION_WEIGHT * options
    else:  # nothing to say about options: the other evidence shares their weight
        total = (NAME_WEIGHT * name + KIND_WEIGHT * kind) / (NAME_WEIGHT + KIND_WEIGHT)
    if total < WORTH_PROPOSING:
        return None
    direction = "both" if left.writable and right.writable else "to_right" if right.writable else "to_left"
    reason = "; ".join(part for part in (name_reason, kind_reason, option_reason) if part)
    return Suggestion(left.path, right.path, left.label, right.label, direction, _capital(reason), round(total, 2))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _words(text: str) -> str:
    """ "Due_Date__c", "dueDate" and "Due date" as "due date"."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text.removesuffix("__c"))
    return re.sub(r"[^0-9a-z]+", " ", spaced.lower()).strip()


def _names(left: Field, right: Field) -> tuple[float, str]:
    if _words(left.label) == _words(right.label):
        return 1.0, "same label"
    if _words(left.path) == _words(right.path):
        return 0.95, "same name"
    lefts, rights = ({_words(field.label), _words(field.path)} for field in (left, right))
    if lefts & rights:
        return 0.9, "the label of one is the name of the other"
    if any(lefts & group and rights & group for group in SYNONYMS):
        return 0.85, "usual names of the same thing"
    alike = max(SequenceMatcher(None, a, b, autojunk=False).ratio() for a in lefts for b in rights)
    if alike >= SIMILAR_LABEL:
        return alike * 0.8, f"labels are {alike:.0%} alike"
    return 0.0, ""


def _kinds(left: Field, right: Field) -> tuple[float, str]:
    if left.kind == right.kind:
        return 1.0, f"both are {left.kind.replace('_', ' ')}"
    if frozenset({left.kind, right.kind}) in NEAR_KINDS:
        return 0.5, f"{left.kind.replace('_', ' ')} and {right.kind.replace('_', ' ')} fit"
    return 0.0, ""


def _options(left: Field, right: Field) -> tuple[float, str]:
    lefts, rights = ({_words(option.label): option for option in field.options} for field in (left, right))
    if not lefts or not rights:
        return 0.0, ""
    shared = set(lefts) & set(rights)
    fewer = min(len(lefts), len(rights))
    return len(shared) / fewer, f"{len(shared)} of {fewer} options are the same" if shared else "no option is the same"


def entries_for(left: Field, right: Field) -> list[dict[str, str]]:
    """A first value map for two fields with options: the options that read the same."""
    rights = {_words(option.label): option.value for option in right.options}
    return [
        {"left": option.value, "right": rights[_words(option.label)]}
        for option in left.options
        if _words(option.label) in rights
    ]
