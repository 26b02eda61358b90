"""What people ask about a link as a whole, taken up under the lease like every other decision.

Unlink, link again, "it exists", "create it again", "delete the twin". Choices about single fields are for the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from connections.connectors.base import Record
from mappings.compiled import CompiledRule
from sync import hints
from sync.creates_under_way import WAITS_FOR_A_PERSON
from sync.decided import Decided, rule_of
from sync.merge import OTHER, is_empty
from sync.models import Instruction, Link
from sync.outcomes import waiting
from sync.plan import LinkPlan
from sync.plan_unlinked import can_create
from sync.session import SIDES, Session
from sync.state import Batch

Kind = Instruction.Kind
Outcome = dict[str, str]  # as at LinkPlan.instructions

# Why a pair whose deleted records are both back stays apart: their match keys differ, or nothing is there to compare.
RETURNED = ("returned_as_another", "returned_untold")


def first_of(known: Batch, link: Link, kind: str) -> Instruction | None:
    """The oldest waiting instruction of this kind on the link."""
    return next((one for one in known.instructions.get(link.pk, []) if one.kind == kind), None)


def take_up(session: Session, link: Link, known: Batch, records: Mapping[str, Record | None]) -> Decided | None:
    """The answer to what was asked about the link as a whole; None where the ordinary decision goes on."""
    if first_of(known, link, Kind.UNLINK):
        # Every open question of the pair ends with it.
        same = [one for one in known.instructions[link.pk] if one.kind == Kind.UNLINK]
        link.typed = {}
        plan = LinkPlan(state=Link.State.UNLINKED, instructions={one.pk: {"": "done"} for one in same})
        return Decided(link, plan, {})
    if relink := first_of(known, link, Kind.RELINK):
        one = Decided(link, LinkPlan(), {})
        done = _bind(session, one, relink) if relink.params.get("id") else _link_again(link, records)
        if not done:
            return None  # ⚑ the pair's hints are not used up by this; `answer_rest` says why not
        one.plan.instructions[relink.pk] = {"": "done"}
        one.plan.state, one.plan.closed = Link.State.ACTIVE, [""]
        look_again(session, link)
        return one
    return None


def look_again(session: Session, link: Link) -> None:
    """The pair is planned in the next batch, from a fresh read of both sides."""
    for side in SIDES:
        if external_id := link.record_id(side):
            hints.mark(session.mapping.pk, side, [external_id])


def may_resume(link: Link) -> bool:
    """Whether a person may link the two again: unlinked, or back from a deletion and perhaps not the same thing."""
    back = link.state == Link.State.DELETED and link.parked.get("", {}).get("code") in RETURNED
    return (back or link.state == Link.State.UNLINKED) and bool(link.left_id and link.right_id)


def _link_again(link: Link, records: Mapping[str, Record | None]) -> bool:
    """Take the pair up again. ⚑ A tombstone does only while both records are there: what was believed of their deletion
    ends with it, and the loss of one begins anew."""
    if not may_resume(link):
        return False
    if link.state == Link.State.DELETED:
        if any(record is None or record.deleted for record in records.values()):
            return False
        link.deleted_left = link.deleted_right = False
        link.parked.pop("", None)
    return True


def _bind(session: Session, one: Decided, asked: Instruction) -> bool:
    """The twin whose create was not answered exists: bind it, also where its record was left unlinked since. Nothing is
    assumed agreed."""
    link, side, external_id = one.link, str(asked.params["side"]), str(asked.params["id"])
    if link.state not in (Link.State.CREATING, Link.State.UNLINKED) or link.record_id(side):
        return False
    if Link.objects.filter(**{"mapping": session.mapping, f"{side}_id": external_id}).exists():
        return False
    bind(one, side, external_id)
    return True


def bind(one: Decided, side: str, external_id: str) -> None:
    """The record of `side` was found for a link that had none."""
    setattr(one.link, f"{side}_id", external_id)
    one.link.parked.pop("", None)
    one.link.typed = {}
    one.bound = side


def send_with_twin(session: Session, link: Link, known: Batch, record: Record) -> tuple[Instruction, Outcome] | None:
    """What a person sends with the twin of `record` instead of what was refused: it stands at the link from now on.

    Returns their newest instruction and its outcome, empty where it is taken up; None where there is none. Nothing is
    saved here: the commit of the plan does.
    """
    waiting = [one for one in known.instructions.get(link.pk, []) if one.kind == Kind.RETRY and "" in one.choices]
    side = "left" if link.left_id else "right"
    nothing: dict[str, Any] = {"rule": "", "in": OTHER[side], "values": {}}
    choice = waiting[-1].choices[""] if waiting else nothing
    outcome: Outcome = {}
    rule = rule_of(session, choice["rule"])
    if waiting:
        outcome = _why_not_sent(session, rule, choice, record) if rule is not None else {"": "refused"}
    sent = {rule_id: one for rule_id, one in choice["values"].items() if rule_id != choice["rule"] or not outcome}
    # What a person saw is no longer said, or the field of their value is another one: it is theirs no more.
    link.typed = {
        rule_id: one
        for rule_id, one in {**link.typed, **sent}.items()
        if _stands(session, rule_id, one, choice["in"], record)
    }
    if not waiting:
        return None
    if not outcome and link.parked.get("", {}).get("code") not in WAITS_FOR_A_PERSON:
        link.parked.pop("", None)
    return waiting[-1], outcome


def _why_not_sent(session: Session, rule: CompiledRule, choice: Mapping[str, Any], record: Record) -> Outcome:
    target, sent, still = choice["in"], choice["values"][rule.id], session.compiled.still.get(rule.id)
    if not can_create(rule, target):
        return {"": "refused"}
    if still is not None and (still.whole or still.holds(target, sent["value"])):
        return {"": "refused", "why": "stands_still"}
    if rule.field(target).required and is_empty(sent["value"]):
        return {"": "refused", "why": "required_would_be_emptied"}
    return {} if _stands(session, rule.id, sent, target, record) else {"": "stale"}


def _stands(session: Session, rule_id: str, sent: Mapping[str, Any], target: str, record: Record) -> bool:
    """Whether the source still says what the person saw, and the field is the one they wrote for; what is not shown
    now says nothing."""
    rule = rule_of(session, rule_id)
    if rule is None or rule.field(target).path != sent.get("path"):
        return False
    path = rule.field(OTHER[target]).path
    return path not in record.values or bool(record.values[path] == sent["seen"])


def spell_out(known: Batch, link: Link) -> None:
    """The twin is there by now: what a person sends with it is about the fields of a pair like any other."""
    for one in known.instructions.get(link.pk, []):
        if one.kind == Kind.RETRY and (choice := one.choices.get("")):
            target = choice["in"]
            one.choices = {
                rule_id: {"take": "send", "in": target, "value": sent["value"], "seen": {OTHER[target]: sent["seen"]}}
                for rule_id, sent in choice["values"].items()
            }


def answering(plan: LinkPlan, asked: Instruction | None) -> LinkPlan:
    """The plan as the answer to `asked`: its calls carry the instruction, which is done once they are confirmed."""
    if asked is not None:
        plan.operations = [replace(operation, instruction=asked.pk) for operation in plan.operations]
        plan.instructions[asked.pk] = {"": "applying" if plan.operations else "done" if plan.state else "refused"}
    return plan


def answer_rest(plan: LinkPlan, link: Link, known: Batch) -> None:
    """Nothing that a person asked waits for ever: what this plan does not take up cannot be done, and says so."""
    newest = {(one.kind, rule): one.pk for one in known.instructions.get(link.pk, []) for rule in waiting(one)}
    for one in known.instructions.get(link.pk, []):
        if one.pk in plan.instructions:
            continue
        if one.choices and all(newest[one.kind, rule] != one.pk for rule in waiting(one)):
            plan.instructions[one.pk] = {"": "stale", "why": "superseded"}
        elif one.kind == Kind.RELINK and one.params.get("id"):
            plan.instructions[one.pk] = {"": "refused"}  # that record is linked by now
        else:
            plan.instructions[one.pk] = {"": "refused", "why": _why_not(link, plan)}


def _why_not(link: Link, plan: LinkPlan) -> str:
    if plan.state:
        return "found" if plan.state == Link.State.ACTIVE else plan.state
    if link.state == Link.State.CREATING and plan.conflicts:
        return "asked"
    if link.state != Link.State.HELD and (link.deleted_left or link.deleted_right):
        return "unreachable"
    return "out_of_scope" if link.out_of_scope else str(link.state)
