"""One transaction per batch: operations, conflicts, bases, links and consumed hints together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from connections.connectors.base import Change, Record
from mappings.compiled import CompiledRule
from sync import audit, causes, clobbers, hints
from sync.edit_times import pending_edits
from sync.identities import forget_record, note_records
from sync.matching import forget
from sync.merge import MISSING
from sync.models import AuditEntry, ChangedRecord, Conflict, Instruction, Link, Operation
from sync.plan import LinkPlan, PlannedConflict, PlannedOperation
from sync.read import settled_mark
from sync.rows import add_rows_with_keys, save_rows, select
from sync.session import SIDES, Session
from sync.state import Batch


@dataclass
class Decided:
    """One link with the reads it was decided from."""

    link: Link
    plan: LinkPlan
    records: dict[str, Record | None]
    history: Mapping[str, Sequence[Change]] = field(default_factory=dict)  # by side
    entries: list[AuditEntry] = field(default_factory=list)  # what else is to be told of it
    bound: str = ""  # side whose record was found for a link that had none, or took the place of another
    replaced: str = ""  # the record whose place it took


def commit_links(
    session: Session, batch: Batch, decided: Sequence[Decided], consumed: Sequence[ChangedRecord]
) -> list[Operation]:
    """Save all decisions about links; returns the operations to send. Raises LeaseLost."""
    entries: list[AuditEntry] = []
    operations: list[Operation] = []
    with transaction.atomic():
        session.lease.renew()
        for one in decided:
            _take_over_reads(session, one)
            entries += one.entries
            entries += _agree(session, one, batch)
        add_rows_with_keys(
            operations := [
                operation_row(session, one.link, planned) for one in decided for planned in one.plan.operations
            ]
        )
        _end_failures(decided)
        _take_up(decided, batch)
        for one in decided:
            entries += _conflicts(session, one, batch)
            entries += _instructions(session, one, batch)
        save_questions(batch.asked)
        for one in decided:
            if one.replaced and one.link.identity_id:
                forget_record(session, one.bound, one.link.identity_id, one.replaced)
        note_records(
            (one.link.identity, session.connection(one.bound), session.object_type(one.bound), external_id)
            for one in decided
            if one.bound and one.link.identity and (external_id := one.link.record_id(one.bound))
        )
        for one in decided:
            if one.bound:
                forget(session, one.bound, [one.link.record_id(one.bound) or ""])
        save_links([one.link for one in decided], [one.link for one in decided if one.plan.state])
        audit.append(entries)
        # Hints stay where a second person's choices wait: they are looked at once the first's are carried out.
        waits = [one.link for one in decided if one.link.pk in batch.asked_later]
        kept = {(side, link.record_id(side)) for link in waits for side in SIDES}
        hints.consume([hint for hint in consumed if (hint.side, hint.external_id) not in kept])
    return operations


def _end_failures(decided: Sequence[Decided]) -> None:
    """A write that failed is over once it is not planned again: the values agree, a person is asked, the pair ended."""
    planned = {(one.link.pk, call.side, call.part) for one in decided for call in one.plan.operations}
    failing = "SELECT id, link_id, side, part FROM sync_operation WHERE link_id IN %s AND failing_since IS NOT NULL"
    rows = select(failing, [one.link.pk for one in decided])
    over = [pk for pk, *write in rows if tuple(write) not in planned]
    if over:
        Operation.objects.filter(pk__in=over).update(failing_since=None, ignored=None)


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


def _take_up(decided: Sequence[Decided], batch: Batch) -> None:
    """What was asked to be tried again is tried with this plan."""
    links = {one.link.pk for one in decided}
    if taken := [pk for pk, link in batch.lifted.items() if link in links]:
        Conflict.objects.filter(pk__in=taken).update(retry="")


def save_links(links: Iterable[Link], moved: Iterable[Link]) -> None:
    """Save what was learnt about `links`, and the state of those that `moved`: a page may have changed the others'."""
    save_rows(list(links), LINK_FIELDS)
    save_rows(list(moved), ["state"])


LINK_FIELDS = [
    "left_id",
    "right_id",
    "left_key",
    "right_key",
    "title",
    "left_bases",
    "right_bases",
    "left_version",
    "right_version",
    "left_updated_at",
    "right_updated_at",
    "left_read_at",
    "right_read_at",
    "left_settled",
    "right_settled",
    "parked",
    "typed",
    "agreed_differences",
    "pending_edits",
    "deleted_left",
    "deleted_right",
    "may_return",
    "out_of_scope",
    "changed_at",
]


def take_over_read(link: Link, side: str, record: Record, read_at: datetime | None) -> None:
    """What the link remembers of a fresh read, whatever was decided from it.

    `read_at`: when the read began, if what it says of each field is agreed or noted among the pending edits: any other
    edit was made after it.
    """
    setattr(link, f"{side}_version", record.version)
    setattr(link, f"{side}_updated_at", record.updated_at or "")
    if read_at is not None:
        setattr(link, f"{side}_read_at", read_at)
    if record.key:
        setattr(link, f"{side}_key", record.key[:200])
    if record.title and (side == "left" or not link.title):
        link.title = record.title[:500]


def _take_over_reads(session: Session, one: Decided) -> None:
    one.link.pending_edits = pending_edits(session, one.link, one.records, one.plan.agreed)
    for side in SIDES:
        record = one.records[side]
        if record is None:
            continue
        take_over_read(one.link, side, record, session.reading_since)
        settled = settled_mark(session, record) if one.plan.settled else ""
        setattr(one.link, f"{side}_settled", settled)
    if one.plan.state:
        one.link.state = one.plan.state
    for rule in one.plan.unparked:
        one.link.parked.pop(rule, None)


def rule_of(session: Session, rule_id: str) -> CompiledRule | None:
    return next((rule for rule in session.compiled.rules if rule.id == rule_id), None)


def label_of(session: Session, rule_id: str, otherwise: str) -> str:
    """What people call the rule's field; `otherwise`, such as its path, where the rule was taken out since."""
    rule = rule_of(session, rule_id)
    return rule.label if rule else otherwise


def current(one: Decided, rule: CompiledRule, side: str) -> Any:
    record = one.records[side]
    return MISSING if record is None else record.values.get(rule.field(side).path, MISSING)


def audit_entry(session: Session, action: str, code: str, link: Link, **details: Any) -> AuditEntry:
    """An entry about a link in this run."""
    return audit.entry(
        action,
        code,
        mapping=session.mapping,
        mapping_version=session.version.number,
        run_id=session.ensure_run().pk,
        link_id=link.pk,
        object_label=str(link),
        **details,
    )


# Adopting equal values at the first meeting is one line per link, not one per field.
QUIET_AGREEMENTS = frozenset({"initially_equal", "one_way_source_empty"})


def _agree(session: Session, one: Decided, batch: Batch) -> list[AuditEntry]:
    """Both bases take the current values; nothing is written."""
    entries = []
    for rule_id, agreed in one.plan.agreed.items():
        rule = rule_of(session, rule_id)
        assert rule is not None
        before = {side: one.link.bases(side).get(rule_id) for side in SIDES}
        after = {side: current(one, rule, side) for side in SIDES}
        for side in SIDES:
            one.link.bases(side)[rule_id] = after[side]
        if agreed.differ:
            one.link.agreed_differences[rule_id] = True
        else:
            one.link.agreed_differences.pop(rule_id, None)
        session.counts["agreed"] += 1
        if agreed.code not in QUIET_AGREEMENTS:
            entries.append(
                audit_entry(
                    session,
                    "agree",
                    agreed.code,
                    one.link,
                    field_label=rule.label,
                    before=before,
                    after=after,
                    **_asker(batch, one, rule_id),
                )
            )
    return entries


def _asker(batch: Batch, one: Decided, rule_id: str) -> dict[str, Any]:
    """Whose choice the agreement is; nobody's, where the values moved before the choice could apply."""
    for instruction in batch.instructions.get(one.link.pk, []):
        if _carried_out(instruction, one, rule_id):
            return {
                "actor": instruction.by_name,
                "actor_kind": AuditEntry.ActorKind.PERSON,
                "request_id": instruction.request_id,
                "params": {"by": instruction.by_name},
            }
    return {"params": {}}


def operation_row(session: Session, link: Link, planned: PlannedOperation) -> Operation:
    """The ledger row of one decided remote call."""
    connection = session.connection(planned.side)
    return Operation(
        mapping=session.mapping,
        version=session.version,
        run=session.ensure_run(),
        link=link,
        side=planned.side,
        kind=planned.kind,
        part=planned.part,
        external_id=link.record_id(planned.side) or "",
        correlation_key=link.identity.key if link.identity and planned.kind == "create" else "",
        fields={
            f.rule: {
                "path": f.path,
                "value": f.value,
                "before": f.before,
                "source": f.source,
                "code": f.code,
                "settle": f.settle,
                "params": dict(f.params),
            }
            for f in planned.fields
        },
        extra=dict(planned.extra),
        unsent=dict(planned.unsent),
        expected_version=getattr(link, f"{planned.side}_version"),
        instruction_id=planned.instruction,
        cause_id=planned.cause,
        hops=planned.hops,
        decided_at=session.reading_since,
        clears=planned.clears(),
        result={"code": planned.code, "params": {"system": connection.name}} if planned.code else {},
    )


def _conflicts(session: Session, one: Decided, batch: Batch) -> list[AuditEntry]:
    """Open, follow or close the questions about a link."""
    entries = []
    known = batch.conflicts.get(one.link.pk, {})
    # Answered by a person whose turn comes once the choices of another one are carried out.
    later = batch.asked_later.get(one.link.pk, ())
    for planned in one.plan.conflicts:
        if planned.rule not in known or planned.rule not in later:
            entries += open_conflict(session, one, planned, known.get(planned.rule), batch)
    written = {rule: planned.instruction for planned in one.plan.operations for rule in _rules(planned)}
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


def _rules(planned: PlannedOperation) -> list[str]:
    """What the call answers, once confirmed: the rules it sends, and the record as a whole where it is about that."""
    whole = planned.kind in ("create", "delete") or not planned.fields
    return [*(f.rule for f in planned.fields), *([""] if whole else [])]


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


def _carried_out(instruction: Instruction, one: Decided, rule_id: str) -> bool:
    """Whether the plan does what a person chose for this rule."""
    outcomes = one.plan.instructions.get(instruction.pk, {})
    return rule_id in instruction.choices and outcomes.get(rule_id, outcomes.get("")) not in ("refused", "stale")


def _answers(instruction: Instruction, one: Decided, conflict: Conflict) -> bool:
    """Whether what a person asked is about this question; without choices it is about the link as a whole."""
    if instruction.choices:
        return _carried_out(instruction, one, conflict.rule_id)
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


# What a person did to a link as a whole, by the instruction's kind.
LINK_CODES: Mapping[str, str] = {"unlink": "unlinked", "relink": "relinked"}


def _instructions(session: Session, one: Decided, batch: Batch) -> list[AuditEntry]:
    """What became of what people asked: done at once, being applied, or stale."""
    entries = []
    for instruction in batch.instructions.get(one.link.pk, []):
        outcomes = one.plan.instructions.get(instruction.pk)
        if outcomes is None:
            continue
        instruction.outcome = outcomes
        kinds = set(outcomes.values())
        if "applying" in kinds:
            instruction.state = Instruction.State.APPLYING
        elif "stale" in kinds:
            instruction.state = Instruction.State.STALE
        elif "refused" in kinds:
            instruction.state = Instruction.State.REFUSED
        else:
            instruction.state = Instruction.State.DONE
        if instruction.state != Instruction.State.APPLYING:
            instruction.finished_at = timezone.now()
        instruction.save(update_fields=["state", "outcome", "finished_at", "choices"])
        if instruction.state == Instruction.State.DONE and instruction.kind in LINK_CODES:
            entries.append(
                audit_entry(
                    session,
                    instruction.kind,
                    LINK_CODES[instruction.kind],
                    one.link,
                    actor=instruction.by_name,
                    actor_kind=AuditEntry.ActorKind.PERSON,
                    request_id=instruction.request_id,
                    params={"by": instruction.by_name, "key": instruction.params.get("key", "")},
                )
            )
        if "stale" in kinds:
            moved = [label_of(session, rule, rule) for rule, outcome in outcomes.items() if outcome == "stale" and rule]
            partly = instruction.state != Instruction.State.STALE
            entries.append(
                audit_entry(
                    session,
                    "instruction",
                    "partly_stale" if partly else "stale",
                    one.link,
                    actor=instruction.by_name,
                    actor_kind=AuditEntry.ActorKind.PERSON,
                    request_id=instruction.request_id,
                    params={"fields": moved} if partly else {},
                )
            )
    return entries
