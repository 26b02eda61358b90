"""Differences that a verification found, repaired: first what would be written where, then one Instruction a link.

The values of the list are those that are seen; ⚑ the plan applies a repair only if they still are the field's values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from mappings.compiled import CompiledRule, compile_document
from sync import instructions, outcomes
from sync.merge import MISSING, OTHER, Ask, Field, Write, repair_field
from sync.models import Instruction, Link, Verification, VerifiedDifference
from sync.wording import sentence

# One decision of a person; more are chosen once these are carried out. Brakes hold them like any other writes.
MOST_AT_ONCE = 500

Kind = VerifiedDifference.Kind


@dataclass(frozen=True, slots=True)
class Repair:
    """What taking one side's value would do to one difference. `why_not`: a sentence, "" where it can be done."""

    difference: VerifiedDifference
    side: str  # written to
    before: Any
    after: Any
    why_not: str = ""
    rule: CompiledRule | None = None

    @property
    def writes(self) -> bool:
        return not self.why_not and self.before != self.after


def outcome_of(difference: VerifiedDifference) -> str:
    """What became of a repair: "" (none asked for), waiting, applying, done, stale or refused."""
    asked = difference.instruction
    if asked is None:
        return ""
    said = outcomes.of(asked, difference.rule_id)
    return "stale" if said == outcomes.SUPERSEDED else said


def can_choose(difference: VerifiedDifference) -> bool:
    """Whether the difference may be repaired: a field, and not asked for already from these values."""
    return difference.kind != Kind.MISSING and outcome_of(difference) in ("", "refused")


def preview(one: Verification, differences: Sequence[VerifiedDifference], take: str) -> list[Repair]:
    """What taking the values of side `take` would do, by the version that is published now."""
    published = one.mapping.published
    rules = {rule.id: rule for rule in compile_document(published.document).rules} if published else {}
    return [_repair(difference, rules.get(difference.rule_id), take) for difference in differences]


def _repair(difference: VerifiedDifference, rule: CompiledRule | None, take: str) -> Repair:
    target = OTHER[take]
    values = {"left": difference.left_value, "right": difference.right_value}
    link, before = difference.link, values[target]
    why_not = ""
    if difference.kind == Kind.MISSING:
        why_not = "A record that is not there has no value to take; see the page of the pair."
    elif not can_choose(difference):
        why_not = "It was asked for already, from these values."
    elif link.state not in (Link.State.ACTIVE, Link.State.HELD):
        why_not = f"The pair is {link.get_state_display().lower()} by now."
    elif rule is None:
        why_not = "The published version has no such rule any more."
    if why_not or rule is None:
        return Repair(difference, target, before, before, why_not)
    f = Field(
        left=values["left"],
        right=values["right"],
        left_base=link.left_bases.get(rule.id, MISSING),
        right_base=link.right_bases.get(rule.id, MISSING),
    )
    outcome = repair_field(rule, f, _choice(difference, take))
    if isinstance(outcome, Ask):
        return Repair(difference, target, before, before, sentence(outcome.code, outcome.params), rule)
    return Repair(difference, target, before, outcome.value if isinstance(outcome, Write) else before, "", rule)


def _choice(difference: VerifiedDifference, take: str) -> dict[str, Any]:
    return {"take": take, "seen": {"left": difference.left_value, "right": difference.right_value}}


def ask_repairs(one: Verification, chosen: Sequence[int], take: str, user: Any) -> tuple[int, int]:
    """Ask for these differences to be repaired. Returns (how many were asked for, how many could not be)."""
    with transaction.atomic():
        # Locked, so that two people's answers come one after the other: the second finds the first one's.
        rows = one.differences.filter(pk__in=list(chosen)[:MOST_AT_ONCE]).select_for_update(of=("self",))
        found = list(rows.select_related("link", "instruction").order_by("pk"))
        possible = [repair.difference for repair in preview(one, found, take) if not repair.why_not]
        links: dict[int, Link] = {}
        choices: dict[int, dict[str, Mapping[str, Any]]] = {}
        for difference in possible:
            links[difference.link_id] = difference.link
            choices.setdefault(difference.link_id, {})[difference.rule_id] = _choice(difference, take)
        wishes = [(link, choices[pk]) for pk, link in links.items()]
        if not wishes:
            return 0, len(found)
        asked = instructions.ask_all(
            one.mapping, wishes, Instruction.Kind.REPAIR, user, {"verification": one.pk, "take": take}
        )
        by_link = {instruction.link_id: instruction for instruction in asked}
        for difference in possible:
            difference.instruction, difference.take = by_link[difference.link_id], take
        VerifiedDifference.objects.bulk_update(possible, ["instruction", "take"])
    return len(possible), len(found) - len(possible)
