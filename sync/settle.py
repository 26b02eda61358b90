"""What the answer to an operation means: result, bases, version, conflicts, hints and audit in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from connections.connectors.base import (
    ConnectorError,
    Record,
    WriteResult,
)
from mappings.compiled import CompiledRule
from mappings.transforms.base import CannotExpress
from mappings.transforms.merging import merge_sets
from sync import audit, clobbers, outcomes
from sync.aftermath import Aftermath
from sync.commit import save_links, take_over_read
from sync.decided import audit_entry, label_of, rule_of
from sync.earlier_creates import as_found, as_sent_then, is_repeated
from sync.echo import proves_echo
from sync.edit_times import shows_all
from sync.identities import note_records
from sync.matching import forget
from sync.merge import MISSING, OTHER, counterpart, is_empty
from sync.models import AuditEntry, Conflict, Instruction, Link, Operation
from sync.overwritten import ask_about, edits_overwritten
from sync.questions import end_question
from sync.read import settled_mark, settles
from sync.read_back import base_after_write
from sync.rows import save_rows
from sync.session import SIDES, Session
from sync.setbacks import OPERATION_FIELDS, create_unclear, failed, finish, park


def settle(
    session: Session, answers: Sequence[tuple[Operation, WriteResult | ConnectorError | None]], *, late: bool = False
) -> None:
    """Commit these answers. Nothing may fail between the remote success and this commit. Raises LeaseLost.

    `late`: the records were read some time after the write, and may have been edited since.
    """
    with transaction.atomic():
        session.lease.renew()
        entries: list[AuditEntry] = []
        before = {operation.link_id: operation.link.state for operation, _ in answers}
        made = [(o, r.record) for o, r in answers if isinstance(r, WriteResult) and o.kind == Operation.Kind.CREATE]
        taken = _linked_elsewhere(session, made) if made else set()
        read_back = [result.record.external_id for _, result in answers if isinstance(result, WriteResult)]
        after = Aftermath.of(session, [operation for operation, _ in answers], read_back)
        for operation, result in answers:
            if operation.pk in taken and isinstance(result, WriteResult):
                key = result.record.key or result.record.external_id
                entries += create_unclear(session, operation, "key_twice", [key], after)
            elif isinstance(result, WriteResult):
                entries += _confirmed(session, operation, result, after, late)
            elif result is None:
                entries += _deleted(session, operation, after)
            else:
                entries += failed(session, operation, result, after)
        after.give_way()
        save_rows([operation for operation, _ in answers], OPERATION_FIELDS)
        links = {o.link_id: o.link for o, _ in answers}
        save_links(links.values(), [link for pk, link in links.items() if link.state != before[pk]])
        note_records(
            (o.link.identity, session.connection(o.side), session.object_type(o.side), record.external_id)
            for o, record in made
            if o.pk not in taken and o.link.identity
        )
        for side in SIDES:
            forget(session, side, [o.link.record_id(side) or "" for o, _ in made if o.pk not in taken])
        after.carry_out()
        audit.append(entries)


def _linked_elsewhere(session: Session, made: Sequence[tuple[Operation, Record]]) -> set[int]:
    """Creates that were answered with a record which another link of the mapping has already."""
    there = Q()
    for operation, record in made:
        there |= Q(**{f"{operation.side}_id": record.external_id})
    rows = Link.objects.filter(there, mapping=session.mapping)
    owners = {(side, link.record_id(side)): link.pk for link in rows for side in SIDES}
    return {
        operation.pk
        for operation, record in made
        if owners.get((operation.side, record.external_id), operation.link_id) != operation.link_id
    }


def _confirmed(
    session: Session, operation: Operation, result: WriteResult, after: Aftermath, late: bool
) -> list[AuditEntry]:
    side, link, record = operation.side, operation.link, result.record
    creating, closing = operation.kind == Operation.Kind.CREATE, operation.result.get("code") == "twin_closed"
    reached = {path: result.on_the_way.get(path, value) for path, value in operation.extra.items()}
    if creating:
        setattr(link, f"{side}_id", record.external_id)
        link.state, link.typed = Link.State.ACTIVE, {}
        link.parked.pop("", None)
        operation.external_id = record.external_id
    if creating and not result.created and is_repeated(operation):
        # ⚑ It was there before: what it says otherwise may be somebody's edit, and not only what its system left out.
        result, late = as_found(session, operation, record), True
    older, entries = as_sent_then(session, operation, record) if creating and late else (False, [])
    moved = not creating and _edited_meanwhile(session, operation, record)
    whole = shows_all(session, link, side, record) and not moved
    take_over_read(link, side, record, operation.claimed_at if whole else None)
    link.left_settled = link.right_settled = ""
    link.changed_at = timezone.now()
    again = (
        bool(result.on_the_way)
        or older
        or (not creating and _edited_meanwhile(session, operation, record, moving=True))
    )
    for rule_id, sent in operation.fields.items():
        again = settle_field(session, operation, rule_id, sent, record, result.on_the_way, late) or again
        if not _left_out(sent, result.on_the_way):
            entries.append(write_entry(session, operation, rule_id, sent))
        if _taken_as_it_stands(operation, rule_id, sent):
            entries.append(_left_apart(session, operation, rule_id, sent, "made_of_it"))
        elif sent["code"] == "resolved" and sent["settle"] == "current" and rule_id in link.agreed_differences:
            entries.append(_left_apart(session, operation, rule_id, sent, "agreed_to_differ"))
    if creating:
        again = _bases_of_new_record(session, operation, record, late) or again
        entries.append(
            audit_entry(
                session,
                "create",
                "created",
                link,
                operation_id=operation.pk,
                side=side,
                params={"system": session.system(side), "key": record.key or record.external_id},
            )
        )
    elif operation.extra:
        entries.append(
            audit_entry(
                session,
                "write",
                operation.result.get("code", "edited"),
                link,
                operation_id=operation.pk,
                side=side,
                before=dict(operation.unsent) or None,
                after=reached,
                params={"system": session.system(side)},
            )
        )
    if closing:
        _bases_of_closed_twin(session, operation, record, reached)
    if closing and reached == operation.extra:  # else it is on the way, and goes on
        link.state = Link.State.DELETED
        link.parked.pop("", None)
    finish(operation, Operation.State.CONFIRMED, "confirmed", **operation.result.get("params", {}))
    session.counts["created" if creating else "updated"] += 1
    entries += _close_settled(session, operation, after, exclude=set(result.on_the_way))
    entries += ask_about(session, operation, edits_overwritten(operation, result), after)
    if not (again or link.parked or after.open_questions(link)) and settles(session, link, side, record):
        setattr(link, f"{side}_settled", settled_mark(session, record))
    rung = after.rang_alone(side, record.external_id)
    # An echo costs no call: a verified delivery that rang alone and tells exactly what we just did.
    if rung and proves_echo(rung.proof or {}, created=creating, sent=operation.read_back(), version=record.version):
        after.drop(rung)
    after.end(link)
    if again:
        after.again(link)
    return entries


def settle_field(
    session: Session,
    operation: Operation,
    rule_id: str,
    sent: dict[str, Any],
    record: Record,
    on_the_way: Mapping[str, Any],
    late: bool,
) -> bool:
    """⚑ Move the bases of one field we sent. Returns whether the link must be planned again at once.

    `late`: see settle.
    """
    side, source_side, link = operation.side, OTHER[operation.side], operation.link
    rule = rule_of(session, rule_id)
    if rule is None:
        _without_rule(operation, rule_id, sent, on_the_way)
        return False
    read_back = record.values.get(sent["path"], sent["value"])
    if (still := session.compiled.still.get(rule_id)) is not None and still.whole:
        read_back = sent["value"]  # what the field says now may have another form; it is judged once the rule goes on
    written = base_after_write(rule, side, sent["value"], read_back, sent["source"])
    # What we wrote, as the system keeps it: what somebody wrote before our look is theirs and not told as ours.
    sent["read_back"] = written.base
    bases, source_bases = link.bases(side), link.bases(source_side)
    if sent["path"] in on_the_way:
        _step(rule, operation, rule_id, sent, on_the_way[sent["path"]])
        return True
    if written.cut_short and sent["settle"] == "other":
        # ⚑ The rest of a merged or typed value is nowhere else: what is left of it goes nowhere before a person chose.
        park(session, operation, rule_id, sent, "cut_short", "")
        return True
    link.agreed_differences.pop(rule_id, None)
    link.parked.pop(rule_id, None)  # a refused value waits until another one of its field has arrived
    for edits in link.pending_edits.values():
        edits.pop(rule_id, None)
    if sent["settle"] == "other":
        try:
            bases[rule_id] = rule.lens.put(side, sent["source"], sent["before"], None)
        except CannotExpress:
            bases[rule_id] = sent["before"]
        source_bases[rule_id] = sent["source"]
        return True
    if sent["settle"] == "members":
        bases[rule_id], source_bases[rule_id] = _without_own(written.base, bases.get(rule_id), sent), sent["source"]
        link.agreed_differences[rule_id] = True
        return True
    current = sent["settle"] == "current"
    # ⚑ A value for this side alone is none for the other one, whatever the system makes of it.
    bases[rule_id], source_bases[rule_id] = (read_back if current and not late else written.base), sent["source"]
    may_differ = current or sent["code"] == "kept_apart"
    if may_differ and not rule.lens.equal(link.left_bases[rule_id], link.right_bases[rule_id]):
        link.agreed_differences[rule_id] = True
    if written.cut_short:
        park(session, operation, rule_id, sent, "cut_short", "")
    return written.cut_short or (written.edited and (late or not current))


def _without_own(members: list[str] | None, base: list[str] | None, sent: Mapping[str, Any]) -> list[str]:
    """The members of a set as we wrote it, without what its own side's edit did, which is carried next."""
    return merge_sets(members, base, None, sent["before"] or [])


def _without_rule(operation: Operation, rule_id: str, sent: Mapping[str, Any], on_the_way: Mapping[str, Any]) -> None:
    """⚑ The rule was taken out meanwhile: should it come back, what we wrote is not somebody's edit."""
    side, source_side, link = operation.side, OTHER[operation.side], operation.link
    if sent["path"] in on_the_way:
        if sent["code"] != "one_way_enforced" and sent["settle"] not in ("other", "members"):
            link.bases(side)[rule_id] = on_the_way[sent["path"]]
        return
    base = sent["before"] if sent["settle"] == "other" else sent["value"]
    if sent["settle"] == "members":
        base = _without_own(base, link.bases(side).get(rule_id), sent)
    link.bases(side)[rule_id], link.bases(source_side)[rule_id] = base, sent["source"]
    if sent["settle"] in ("current", "members"):
        link.agreed_differences[rule_id] = True


def _left_out(sent: Mapping[str, Any], on_the_way: Mapping[str, Any]) -> bool:
    """Whether the field was sent and nothing of it written: it is sent once more, and no write is told."""
    if sent["path"] not in on_the_way:
        return False
    reached, before = on_the_way[sent["path"]], sent["before"]
    return bool(reached == before or not (reached or before))  # a new record had nothing before, not even an empty set


def _taken_as_it_stands(operation: Operation, rule_id: str, sent: Mapping[str, Any]) -> bool:
    """Whether a value for this side alone became another one there, its system's form of it or an automation's answer,
    which goes nowhere."""
    link, stands = operation.link, operation.link.bases(operation.side).get(rule_id)
    alone = sent["settle"] == "current" and rule_id in link.agreed_differences and rule_id not in link.parked
    return alone and "read_back" in sent and stands != sent["read_back"]


def _left_apart(session: Session, operation: Operation, rule_id: str, sent: Mapping[str, Any], code: str) -> AuditEntry:
    by = sent["params"].get("by", "")
    return audit_entry(
        session,
        "agree",
        code,
        operation.link,
        operation_id=operation.pk,
        field_label=label_of(session, rule_id, sent["path"]),
        before={operation.side: sent["value"], OTHER[operation.side]: sent["source"]},
        after={side: operation.link.bases(side).get(rule_id) for side in SIDES},
        params={"system": session.system(operation.side), "by": by},
        actor=by,
        actor_kind=AuditEntry.ActorKind.PERSON if by else AuditEntry.ActorKind.SYSTEM,
    )


def _step(rule: CompiledRule, operation: Operation, rule_id: str, sent: dict[str, Any], reached: Any) -> None:
    """⚑ One step along the way: this side's base follows our own step, whatever the record says by now, and the
    source's is what that means there, so that the rest is an ordinary edit of the source, also where somebody sets it
    back meanwhile. An undo goes on only while the other side says what it said."""
    side, source_side, link = operation.side, OTHER[operation.side], operation.link
    sent["read_back"], sent["on_the_way"] = reached, True
    outcomes.goes_on(operation, rule_id, reached)
    base = link.bases(side).get(rule_id, MISSING)
    if sent["code"] != "one_way_enforced":  # there what we met is still not what the rule wants
        base = _stepped(rule, base, sent, reached)
    if base is MISSING:
        return
    link.bases(side)[rule_id] = base
    ordinary = sent["settle"] == "source" and sent["code"] != "one_way_enforced"
    if ordinary or rule_id not in link.bases(source_side):
        link.bases(source_side)[rule_id] = counterpart(rule, source_side, reached)


def _stepped(rule: CompiledRule, base: Any, sent: Mapping[str, Any], reached: Any) -> Any:
    """This side's base after a step. ⚑ Of a value that was made with this side's own edit only our step is agreed: the
    edit still is one."""
    if sent["settle"] not in ("other", "members"):
        return reached
    if base is MISSING or reached == sent["before"]:
        return base
    return merge_sets(base, reached, base, sent["before"] or []) if rule.is_set else reached


def _edited_meanwhile(session: Session, operation: Operation, record: Record, moving: bool = False) -> bool:
    """Whether the read-back shows fields that we did not send and that no longer are what was agreed.

    `moving`: only those that can be carried over now.
    """
    bases = operation.link.bases(operation.side)
    return any(
        rule.id in bases
        and rule.id not in operation.fields
        and not (moving and rule.id in session.compiled.still)
        and record.values.get(rule.field(operation.side).path, bases[rule.id]) != bases[rule.id]
        for rule in session.compiled.rules
    )


def _bases_of_new_record(session: Session, operation: Operation, record: Record, late: bool) -> bool:
    """Bases of the fields a create did not send; returns whether the pair is to be planned at once.

    An empty source counts as sent: whatever the new record says is its own side's edit. Where the source says
    something that a create cannot carry (a status), the new record's start is the agreed one, and the source an
    ordinary edit. A record read `late` may have been edited since it was made: there nothing is assumed agreed.
    """
    side, source_side, link = operation.side, OTHER[operation.side], operation.link
    agreed = set(operation.fields)
    for rule in session.compiled.rules:
        path = rule.field(side).path
        still = session.compiled.still.get(rule.id)
        if rule.id not in operation.unsent or path not in record.values or (still is not None and still.whole):
            continue
        source, now = operation.unsent[rule.id], record.values[path]
        bases, source_bases = link.bases(side), link.bases(source_side)
        if is_empty(source):
            bases[rule.id], source_bases[rule.id] = (now if is_empty(now) else None), source
        elif not late:
            bases[rule.id] = now
            source_bases[rule.id] = counterpart(rule, source_side, now)
        if (bases.get(rule.id, MISSING), source_bases.get(rule.id, MISSING)) == (now, source):
            agreed.add(rule.id)
    return any(rule.id not in agreed for rule in session.compiled.rules)


def _bases_of_closed_twin(session: Session, operation: Operation, record: Record, reached: Mapping[str, Any]) -> None:
    """⚑ What we wrote to close the twin is nobody's edit: should the deleted record come back, its own value counts as
    the edit, and the twin is opened again."""
    side, source_side, link = operation.side, OTHER[operation.side], operation.link
    for rule in session.compiled.rules:
        path = rule.field(side).path
        if path not in reached or rule.id in session.compiled.still:
            continue
        closed = base_after_write(rule, side, reached[path], record.values.get(path), MISSING).base
        link.bases(side)[rule.id] = closed
        if rule.may_write(side):
            link.bases(source_side)[rule.id] = counterpart(rule, source_side, closed)


def write_entry(session: Session, operation: Operation, rule_id: str, sent: dict[str, Any]) -> AuditEntry:
    rule = rule_of(session, rule_id)
    by = sent["params"].get("by", "")
    return audit_entry(
        session,
        "write",
        sent["code"],
        operation.link,
        operation_id=operation.pk,
        side=operation.side,
        field_label=rule.field(operation.side).label if rule else sent["path"],
        before=sent["before"],
        after=sent.get("read_back", sent["value"]),
        params={**sent["params"], "system": session.system(operation.side)},
        actor=by,
        actor_kind=AuditEntry.ActorKind.PERSON if by else AuditEntry.ActorKind.SYSTEM,
        request_id=str(asked.request_id) if (asked := asked_for(operation, rule_id)) else "",
    )


def asked_for(operation: Operation, rule_id: str) -> Instruction | None:
    """The person's instruction that the write of this rule carries out: what nobody asked for may go in its call."""
    sent = operation.fields.get(rule_id)
    if operation.kind == Operation.Kind.UPDATE and sent is not None and not sent["params"].get("by"):
        return None
    return operation.instruction


def _close_settled(
    session: Session, operation: Operation, after: Aftermath, exclude: Collection[str] = ()
) -> list[AuditEntry]:
    """Conflicts whose write is confirmed are closed, and what a person asked is done."""
    rules = [rule for rule, sent in operation.fields.items() if sent["path"] not in exclude]
    if operation.kind != Operation.Kind.UPDATE or not operation.fields:
        rules.append("")  # it was about the record as a whole
    entries = []
    settled = [rule for rule in rules if rule not in operation.link.parked]
    over = operation.link.state == Link.State.DELETED  # with the twin every question of the pair ends
    for conflict in after.questions.get(operation.link_id, []):
        if conflict.state == Conflict.State.CLOSED or not (over or conflict.rule_id in settled):
            continue
        answer = operation.instruction if over else asked_for(operation, conflict.rule_id)
        if not (over or clobbers.may_end(conflict, answer)):
            continue  # a write says nothing about an edit that was overwritten before
        entries.append(end_question(session, operation.link, conflict, answer, over))
        after.ask(conflict)
    outcomes.tell([operation], Instruction.State.DONE)
    return entries


def _deleted(session: Session, operation: Operation, after: Aftermath) -> list[AuditEntry]:
    link = operation.link
    setattr(link, f"deleted_{operation.side}", True)
    link.state = Link.State.DELETED
    link.parked.pop("", None)
    finish(operation, Operation.State.CONFIRMED, operation.result.get("code", "confirmed"))
    session.counts["deleted"] += 1
    said = {label_of(session, rule_id, rule_id): value for rule_id, value in operation.unsent.items()}
    entries = [
        audit_entry(
            session,
            "delete",
            "twin_deleted",
            link,
            operation_id=operation.pk,
            side=operation.side,
            before=said or None,
            params={"system": session.system(operation.side)},
        )
    ]
    after.end(link)
    return entries + _close_settled(session, operation, after)
