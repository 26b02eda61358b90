"""What people ask about a link as a whole, taken up under the lease like every other decision.

Unlink, link again, "it exists", "create it again", "delete the twin". Choices about single fields are for the plan.
"""

from __future__ import annotations

from dataclasses import replace

from connections.connectors.base import Record
from sync import hints
from sync.commit import Decided
from sync.merge import MISSING, is_empty
from sync.models import Instruction, Link
from sync.plan import LinkPlan
from sync.plan_unlinked import can_create
from sync.session import SIDES, Session
from sync.state import Batch
from sync.unlinked import WAITS_FOR_A_PERSON

Kind = Instruction.Kind
Outcome = dict[str, str]  # as at LinkPlan.instructions


def first_of(known: Batch, link: Link, kind: str) -> Instruction | None:
    """The oldest waiting instruction of this kind on the link."""
    return next((one for one in known.instructions.get(link.pk, []) if one.kind == kind), None)


def take_up(session: Session, link: Link, known: Batch) -> Decided | None:
    """The answer to what was asked about the link as a whole; None where the ordinary decision goes on."""
    if first_of(known, link, Kind.UNLINK):
        # Every open question of the pair ends with it.
        same = [one for one in known.instructions[link.pk] if one.kind == Kind.UNLINK]
        plan = LinkPlan(state=Link.State.UNLINKED, instructions={one.pk: {"": "done"} for one in same})
        return Decided(link, plan, {})
    if relink := first_of(known, link, Kind.RELINK):
        one = Decided(link, LinkPlan(), {})
        done = _bind(session, one, relink) if relink.params.get("id") else _may_resume(link)
        one.plan.instructions[relink.pk] = {"": "done" if done else "refused"}
        if done:
            one.plan.state, one.plan.closed = Link.State.ACTIVE, [""]
            look_again(session, link)
        return one
    return None


def look_again(session: Session, link: Link) -> None:
    """The pair is planned in the next batch, from a fresh read of both sides."""
    for side in SIDES:
        if external_id := link.record_id(side):
            hints.mark(session.mapping.pk, side, [external_id])


def _may_resume(link: Link) -> bool:
    return link.state == Link.State.UNLINKED and bool(link.left_id and link.right_id)


def _bind(session: Session, one: Decided, asked: Instruction) -> bool:
    """The twin whose create was not answered exists: bind it. Nothing is assumed agreed."""
    link, side, external_id = one.link, str(asked.params["side"]), str(asked.params["id"])
    if link.state != Link.State.CREATING or link.record_id(side):
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
    if not waiting:
        return None
    choice, side = waiting[-1].choices[""], "left" if link.left_id else "right"
    rule = next((one for one in session.compiled.rules if one.id == choice["rule"]), None)
    if rule is None or choice["in"] == side or not can_create(rule, choice["in"]):
        return waiting[-1], {"": "refused"}
    sent, still = choice["values"][rule.id], session.compiled.still.get(rule.id)
    if still is not None and (still.whole or still.holds(choice["in"], sent["value"])):
        return waiting[-1], {"": "refused", "why": "stands_still"}
    if rule.field(choice["in"]).required and is_empty(sent["value"]):
        return waiting[-1], {"": "refused", "why": "required_would_be_emptied"}
    if record.values.get(rule.field(side).path, MISSING) != sent["seen"]:
        return waiting[-1], {"": "stale"}
    link.typed = {**link.typed, **choice["values"]}
    if link.parked.get("", {}).get("code") not in WAITS_FOR_A_PERSON:
        link.parked.pop("", None)
    return waiting[-1], {}


def answering(plan: LinkPlan, asked: Instruction | None) -> LinkPlan:
    """The plan as the answer to `asked`: its calls carry the instruction, which is done once they are confirmed."""
    if asked is not None:
        plan.operations = [replace(operation, instruction=asked.pk) for operation in plan.operations]
        plan.instructions[asked.pk] = {"": "applying" if plan.operations else "done" if plan.state else "refused"}
    return plan


def answer_rest(plan: LinkPlan, link: Link, known: Batch) -> None:
    """Nothing that a person asked waits for ever: what this plan does not take up cannot be done, and says so."""
    newest = {(one.kind, rule): one.pk for one in known.instructions.get(link.pk, []) for rule in one.choices}
    for one in known.instructions.get(link.pk, []):
        if one.pk in plan.instructions:
            continue
        if one.choices and all(newest[one.kind, rule] != one.pk for rule in one.choices):
            plan.instructions[one.pk] = {"": "stale", "why": "superseded"}
        else:
            plan.instructions[one.pk] = {"": "refused", "why": _why_not(link, plan)}


def _why_not(link: Link, plan: LinkPlan) -> str:
    if link.state == Link.State.CREATING and (plan.state or plan.conflicts):
        return "found" if plan.state else "asked"
    if link.deleted_left or link.deleted_right:
        return "unreachable"
    return "out_of_scope" if link.out_of_scope else str(link.state)
