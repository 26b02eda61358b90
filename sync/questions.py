"""Questions about links: what a plan opens, follows or closes, and what ends one once its write is confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils import timezone

from mappings.compiled import CompiledRule
from sync import causes, clobbers
from sync.decided import Decided, audit_entry, current, rule_of
from sync.merge import MISSING
from sync.models import AuditEntry, Conflict, Instruction, Link
from sync.outcomes import waiting
from sync.plan import PlannedConflict, PlannedOperation
from sync.rows import save_rows
from sync.session import SIDES, Session
from sync.state import Batch


def save_questions(questions: Sequence[Conflict]) -> None:
    """Save these questions, new or known, in two statements; what ends makes room for what begins."""
    for question in questions:
        question.note_cause()
    save_rows([question for question in questions if question.pk], QUESTION_FIELDS)
    Conflict.objects.bulk_create([question for question in questions if not question.pk])


def heed(question: Conflict) -> None:
    """Its value or cause changed: it is listed again, if somebody ignored it."""
    if question.ignored_id:
        Conflict.objects.filter(pk=question.pk).update(ignored=None)
        question.ignored = None


# What an answer or a plan may change; what a person marked meanwhile (retry, ignored) is not theirs to take back.
QUESTION_FIELDS = [
    "kind",
    "field_label",
    "state",
    "left_value",
    "right_value",
    "left_by",
    "right_by",
    "left_at",
    "right_at",
    "code",
    "params",
    "fingerprint",
    "instruction",
    "moved_at",
    "closed_at",
    "closed_by",
    "closed_code",
]


def follow_plan(session: Session, one: Decided, batch: Batch) -> list[AuditEntry]:
    """Open, follow or close the questions about a link."""
    entries = []
    known = batch.conflicts.get(one.link.pk, {})
    # Answered by a person whose turn comes once the choices of another one are carried out.
    later = batch.asked_later.get(one.link.pk, ())
    for planned in one.plan.conflicts:
        if planned.rule not in known or planned.rule not in later:
            entries += open_conflict(session, one, planned, known.get(planned.rule), batch)
    written = {rule: asked for planned in one.plan.operations for rule, asked in _rules(planned).items()}
    over = one.plan.state in (Link.State.DELETED, Link.State.UNLINKED)
    asked = {planned.rule for planned in one.plan.conflicts}
    for rule_id, conflict in known.items():
        answer = next((i for i in batch.instructions.get(one.link.pk, []) if _answers(i, one, conflict)), None)
        may_end = clobbers.may_end(conflict, answer)
        if rule_id in written and may_end:
            # Settled once the write is confirmed; a refusal opens it again.
            conflict.state = Conflict.State.RESOLVING
            conflict.instruction_id = written[rule_id] or conflict.instruction_id
            batch.asked.append(conflict)
        elif over or (rule_id in one.plan.closed and may_end):
            entries.append(close_conflict(session, conflict, one, batch, answer))
        elif rule_id not in asked and conflict.state == Conflict.State.RESOLVING and rule_id not in later:
            # What a person asked for was not carried out: the question is theirs again.
            conflict.state = Conflict.State.OPEN
            batch.asked.append(conflict)
    return entries


def _rules(planned: PlannedOperation) -> dict[str, int | None]:
    """What the call answers, once confirmed, and by whose instruction: the rules it sends, and the record as a whole
    where it is about that. What nobody asked for may go in the same call as what somebody did."""
    whole = planned.kind in ("create", "delete") or not planned.fields
    found = {f.rule: planned.instruction if whole or f.params.get("by") else None for f in planned.fields}
    return found | ({"": planned.instruction} if whole else {})


def open_conflict(
    session: Session, one: Decided, planned: PlannedConflict, known: Conflict | None, batch: Batch
) -> list[AuditEntry]:
    """One open row per link and rule; it follows the live values."""
    rule = rule_of(session, planned.rule) if planned.rule else None
    values = {}
    for side in SIDES:
        value = planned.said.get(side) if rule is None else current(one, rule, side)
        values[side] = None if value is MISSING else value
    params = {"system": session.system(planned.params.get("side", "left")), **planned.params}
    if known is not None:
        moved = known.left_value != values["left"] or known.right_value != values["right"]
        if (
            not moved
            and known.kind == planned.kind
            and known.code == planned.code
            and known.state == Conflict.State.OPEN
        ):
            return []
        params |= clobbers.kept(known.params)
        cause = causes.of_conflict(session.mapping.pk, planned.kind, planned.rule, planned.code, params)
        if moved or known.fingerprint != cause:
            heed(known)
        another = (known.kind, known.code) != (planned.kind, planned.code)
        known.kind, known.code, known.params, known.state = planned.kind, planned.code, params, Conflict.State.OPEN
        known.left_value, known.right_value = values["left"], values["right"]
        known.field_label = rule.label if rule else known.field_label
        _name_editors(known, one, rule)
        if moved:
            known.moved_at = timezone.now()
        batch.asked.append(known)
        return [_asked(session, one, known)] if another else []
    has_base = rule is not None and rule.id in one.link.left_bases and rule.id in one.link.right_bases
    conflict = Conflict(
        mapping=session.mapping,
        link=one.link,
        rule_id=planned.rule,
        kind=planned.kind,
        code=planned.code,
        params=params,
        version=session.version,
        title=one.link.title,
        field_label=rule.label if rule else "",
        left_base=one.link.left_bases.get(planned.rule),
        right_base=one.link.right_bases.get(planned.rule),
        has_base=has_base,
        left_value=values["left"],
        right_value=values["right"],
        agreed_at=one.link.changed_at if has_base else None,
    )
    _name_editors(conflict, one, rule)
    batch.asked.append(conflict)
    session.counts["conflicts"] += 1
    return [_asked(session, one, conflict)]


def _asked(session: Session, one: Decided, conflict: Conflict) -> AuditEntry:
    """What a person is asked, anew or instead of something else."""
    return audit_entry(
        session,
        "conflict",
        conflict.code,
        one.link,
        params={name: told for name, told in conflict.params.items() if name not in clobbers.NAMES},
        field_label=conflict.field_label,
        before={"left": conflict.left_base, "right": conflict.right_base},
        after=_values(conflict),
    )


def _values(conflict: Conflict) -> dict[str, Any] | None:
    """For the log: what a whole record says is told once it is deleted."""
    return {"left": conflict.left_value, "right": conflict.right_value} if conflict.rule_id else None


def _name_editors(conflict: Conflict, one: Decided, rule: CompiledRule | None) -> None:
    """Who changed it and when: the vendor's field history where there is one, else the record's last editor."""
    for side in SIDES:
        record = one.records[side]
        if record is None:
            continue
        by, at = record.updated_by_name or record.updated_by or "", record.updated_at or ""
        if rule is not None:
            path = rule.field(side).path
            for change in one.history.get(side, ()):
                if change.field == path:
                    by, at = change.by_name or change.by or by, change.at
        setattr(conflict, f"{side}_by", by[:200])
        setattr(conflict, f"{side}_at", at)


def carried_out(instruction: Instruction, one: Decided, rule_id: str) -> bool:
    """Whether the plan does what a person chose for this rule."""
    told = one.plan.instructions.get(instruction.pk, {})
    return rule_id in waiting(instruction) and told.get(rule_id, told.get("")) not in ("refused", "stale")


def _answers(instruction: Instruction, one: Decided, conflict: Conflict) -> bool:
    """Whether what a person asked is about this question; without choices it is about the link as a whole."""
    if instruction.choices:
        return carried_out(instruction, one, conflict.rule_id)
    ended = conflict.rule_id in one.plan.closed or one.plan.state == Link.State.UNLINKED
    return ended and one.plan.instructions.get(instruction.pk, {}).get("") == "done"


def close_conflict(
    session: Session, conflict: Conflict, one: Decided, batch: Batch, instruction: Instruction | None
) -> AuditEntry:
    """A question that the live values, or a person's choice without a write, answered."""
    conflict.instruction_id = instruction.pk if instruction else conflict.instruction_id
    batch.asked.append(conflict)
    over = one.plan.state in (Link.State.DELETED, Link.State.UNLINKED)
    return end_question(session, one.link, conflict, instruction, over)


def end_question(
    session: Session, link: Link, conflict: Conflict, instruction: Instruction | None, over: bool
) -> AuditEntry:
    """What was asked is answered, by a person's `instruction` or by values that moved; the caller saves the question.

    It goes on where it holds an edit that we overwrote, unless the pair is `over`.
    """
    by, code = (instruction.by_name, "resolved") if instruction else ("", "moved")
    if over or not clobbers.goes_on(conflict, instruction):
        conflict.state = Conflict.State.CLOSED
        code = "pair_ended" if over and instruction is None else code
        conflict.closed_at, conflict.closed_by, conflict.closed_code = timezone.now(), by, code
    elif instruction is None:
        code = "overwritten_still_asked"
    return audit_entry(
        session,
        "resolve" if instruction else "conflict_closed",
        code,
        link,
        actor=by,
        actor_kind=AuditEntry.ActorKind.PERSON if instruction else AuditEntry.ActorKind.SYSTEM,
        params={"by": by},
        before=_values(conflict),
        field_label=conflict.field_label,
        request_id=str(instruction.request_id) if instruction else "",
    )


def end_with_its_rule(session: Session, conflict: Conflict) -> AuditEntry:
    """The rule is no more, and with it what was asked about it; the caller saves the question."""
    assert conflict.link is not None
    conflict.state = Conflict.State.CLOSED
    conflict.closed_at, conflict.closed_by, conflict.closed_code = timezone.now(), "", "rule_removed"
    return audit_entry(
        session,
        "conflict_closed",
        "rule_removed",
        conflict.link,
        before=_values(conflict),
        field_label=conflict.field_label,
    )
