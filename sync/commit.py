"""One transaction per batch: operations, conflicts, bases, links and consumed hints together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from connections.connectors.base import Record
from sync import audit, hints, outcomes
from sync.creates_under_way import ring_others, unanswered
from sync.decided import Decided, audit_entry, current, label_of, rule_of
from sync.edit_times import pending_edits
from sync.identities import forget_record, note_records, thing_of_pair
from sync.matching import forget
from sync.models import AuditEntry, ChangedRecord, Conflict, Instruction, Link, Operation
from sync.plan import PlannedOperation
from sync.questions import carried_out, follow_plan, save_questions
from sync.read import settled_mark
from sync.rows import add_rows_with_keys, save_rows, select
from sync.session import SIDES, Session
from sync.state import Batch


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
        asked = [one for one in decided if one.link.pk in batch.unanswered]
        ring_others(session, [one.link for one in asked if one.plan.state or unanswered(one.link) is None])
        for one in decided:
            entries += follow_plan(session, one, batch)
            entries += _instructions(session, one, batch)
        save_questions(batch.asked)
        for one in decided:
            if one.replaced and one.link.identity_id:
                forget_record(session, one.bound, one.link.identity_id, one.replaced)
        bound = [one.link for one in decided if one.bound]
        for link in bound:
            link.identity = thing_of_pair(session.mapping, link.left_id or "", link.right_id or "")
            Link.objects.filter(pk=link.pk).update(identity=link.identity)
        note_records(
            (link.identity, session.connection(side), session.object_type(side), external_id)
            for link in bound
            for side in SIDES
            if link.identity and (external_id := link.record_id(side))
        )
        for side in SIDES:
            ended = [one.link for one in decided if one.bound or one.plan.state]
            forget(session, side, [external_id for link in ended if (external_id := link.record_id(side))])
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
    if record.updated_at:  # ⚑ one that could not be read as a whole does not make an older state a new one
        setattr(link, f"{side}_updated_at", record.updated_at)
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
        if carried_out(instruction, one, rule_id):
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


# What a person did to a link as a whole, by the instruction's kind.
LINK_CODES: Mapping[str, str] = {"unlink": "unlinked", "relink": "relinked"}


def _instructions(session: Session, one: Decided, batch: Batch) -> list[AuditEntry]:
    """What became of what people asked: done at once, being applied, or stale."""
    entries = []
    for instruction in batch.instructions.get(one.link.pk, []):
        told = one.plan.instructions.get(instruction.pk)
        if told is None:
            continue
        outcomes.note(instruction, told)
        instruction.save(update_fields=outcomes.SAVED)
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
        if "stale" in told.values():
            moved = [label_of(session, rule, rule) for rule, outcome in told.items() if outcome == "stale" and rule]
            partly = any(outcomes.of(instruction, rule) != "stale" for rule in instruction.choices)
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
