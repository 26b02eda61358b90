"""What a question keeps of edits that we overwrote, whatever else is asked about the field meanwhile.

⚑ There is one open question per pair and field. An overwritten edit stays in it, with those before it, until a person
who was shown it answers: a refusal, a conflict or a second overwritten edit only comes in addition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sync.models import Conflict, Instruction

CODE = "overwrote_an_edit"
LATEST, SIDE = "overwritten", "overwritten_side"
BEFORE, BEFORE_SIDES = "overwritten_before", "overwritten_before_sides"  # lists of the same length, the oldest first

NAMES = (LATEST, SIDE, BEFORE, BEFORE_SIDES)


def kept(params: Mapping[str, Any]) -> dict[str, Any]:
    """What the params of a question hold of overwritten edits."""
    return {name: params[name] for name in NAMES if name in params}


def edits(params: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """(side, value in that side's form) of every overwritten edit that a question holds, the latest first."""
    if LATEST not in params:
        return []
    side, before = params.get(SIDE) or params.get("side") or "left", params.get(BEFORE, ())
    sides = params.get(BEFORE_SIDES) or [side] * len(before)
    return [(side, params[LATEST]), *reversed(list(zip(sides, before, strict=True)))]


def with_one_more(question: Conflict, side: str, value: Any) -> dict[str, Any]:
    """The same once `value` was overwritten on `side` as well. A question answered just now keeps nothing."""
    if question.state == Conflict.State.CLOSED or LATEST not in question.params:
        return {LATEST: value, SIDE: side}
    earlier = [one for one in reversed(edits(question.params)) if one != (side, value)]
    sides, values = [of for of, _ in earlier], [said for _, said in earlier]
    return {LATEST: value, SIDE: side, BEFORE: values, BEFORE_SIDES: sides}


def named(question: Conflict) -> dict[str, Any]:
    """The overwritten edits that a question shows, for the `seen` of an answer; {} for one about something else."""
    if question.kind != Conflict.Kind.CLOBBER or LATEST not in question.params:
        return {}
    return {SIDE: question.params.get("side", "left"), **kept(question.params)}


def may_end(question: Conflict, instruction: Instruction | None) -> bool:
    """Whether what is carried out ends the question: one about an overwritten edit only who was shown that edit."""
    return question.kind != Conflict.Kind.CLOBBER or _answered(question, instruction)


def goes_on(question: Conflict, instruction: Instruction | None) -> bool:
    """Whether the question is about the overwritten edit from now on, since all else that it asked has ended."""
    if LATEST not in question.params or _answered(question, instruction):
        return False
    question.params = {**question.params, "side": question.params.get(SIDE, question.params.get("side", ""))}
    question.kind, question.code, question.state = Conflict.Kind.CLOBBER, CODE, Conflict.State.OPEN
    return True


def _answered(question: Conflict, instruction: Instruction | None) -> bool:
    """Whether a person asked for this who was shown the latest overwritten edit: who undoes or repairs was not."""
    seen = (instruction.choices.get(question.rule_id, {}).get("seen") or {}) if instruction is not None else {}
    return LATEST in seen and seen[LATEST] == question.params.get(LATEST)
