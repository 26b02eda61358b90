"""Answers that are not results: refused, moved, not now, not answered. Nothing is lost; each says what comes next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from connections.connectors.base import (
    ConnectorError,
    Gone,
    NeedsAuthorization,
    NotAllowed,
    RateLimited,
    Refused,
    Retry,
    Uncertain,
    VersionMismatch,
)
from connections.models import Connection
from sync import hints
from sync.commit import audit_entry, rule_of
from sync.merge import OTHER
from sync.models import AuditEntry, ChangedRecord, Conflict, Instruction, Link, Operation
from sync.session import SIDES, Session

OPERATION_FIELDS = ["state", "claim", "finished_at", "not_before", "external_id", "fields", "result"]


def finish(operation: Operation, state: str, code: str, **params: Any) -> None:
    operation.state = state
    operation.claim = None
    operation.finished_at = timezone.now()
    operation.result = {"code": code, "params": params}


def release_hints(session: Session, link: Link) -> None:
    """Hints that waited for the link's operation are due now."""
    these = Q()
    for one in SIDES:
        if link.record_id(one):
            these |= Q(side=one, external_id=link.record_id(one))
    ChangedRecord.objects.filter(these, mapping=session.mapping, attempts=0).update(not_before=timezone.now())


def ring_again(session: Session, link: Link, **how: Any) -> None:
    """Plan the link again. Both records are named: which of them holds the edit is not known here."""
    for side in SIDES:
        hints.mark(
            session.mapping.pk, side, [external_id for external_id in [link.record_id(side)] if external_id], **how
        )


def tell_asker(operations: Sequence[Operation], state: str) -> None:
    """What became of the instructions these operations carried out: they wait for the next plan, or are refused."""
    asked = [operation.instruction_id for operation in operations if operation.instruction_id]
    if asked:
        ended = timezone.now() if state == Instruction.State.REFUSED else None
        Instruction.objects.filter(pk__in=asked, state=Instruction.State.APPLYING).update(
            state=state, finished_at=ended
        )


def failed(session: Session, operation: Operation, error: ConnectorError) -> list[AuditEntry]:
    side, system = operation.side, session.system(operation.side)
    session.counts["failed"] += 1
    if isinstance(error, Uncertain):
        # The claim stays: nobody else writes this record before it is known what became of ours.
        operation.state = Operation.State.UNCERTAIN
        wait = session.connectors[side].capabilities.update_timeout
        operation.not_before = timezone.now() + timedelta(seconds=wait)
        operation.result = {"code": "not_answered", "params": {"system": system}}
        return []
    if isinstance(error, Refused | NotAllowed):
        return _refused(session, operation, error)
    if isinstance(error, VersionMismatch):
        # The first one is a race that a fresh read settles; a version that never fits must not be tried without end.
        before = earlier_tries(operation, "version_moved")
        supersede(
            session, [operation], "version_moved", again_in=hints.backoff(before - 1) if before else 0, save=False
        )
        return []
    if isinstance(error, Gone):
        finish(operation, Operation.State.SUPERSEDED, "unreachable")
        tell_asker([operation], Instruction.State.WAITING)
        hints.mark(session.mapping.pk, side, [operation.external_id], hints.Lane.RETRY, deleted=error.certain)
        return []
    if isinstance(error, NeedsAuthorization):
        lost_sign_in(session.connection(side), error.message)
        supersede(session, [operation], "retry", again_in=5, save=False, system=system, message=error.message)
        return []
    after = error.after if isinstance(error, Retry) else 5.0
    _try_again(session, operation, error.message, after, counts=not isinstance(error, RateLimited))
    return []


# Tries after which an operation is listed as given up; by then about two hours have passed.
DEAD_AFTER = 10


def earlier_tries(operation: Operation, *codes: str) -> int:
    """How many operations in a row before this one ended with one of `codes`: the hint of a failed write is a new one
    each time, the ledger remembers."""
    before = Operation.objects.filter(link_id=operation.link_id, side=operation.side, part=operation.part)
    number = 0
    for result in before.exclude(pk=operation.pk).order_by("-pk").values_list("result", flat=True)[: 2 * DEAD_AFTER]:
        if result.get("code") in codes:
            number += 1
        elif result.get("code") != "planned_again":
            break
    return number


def _try_again(session: Session, operation: Operation, message: str, after: float, counts: bool) -> None:
    """Plan again later, from fresh reads; a person's choice goes with it."""
    system, link = session.system(operation.side), operation.link
    tries = earlier_tries(operation, "retry", "gave_up") + 1 if counts else 0
    ring_again(session, link, lane=hints.Lane.RETRY)
    rung = hints.of_link(link)
    if counts:
        for hint in rung:
            hints.fail(hint, message, after, tries)
    else:
        hints.postpone(rung, after)
    if tries >= DEAD_AFTER:
        finish(operation, Operation.State.DEAD, "gave_up", system=system, message=message)
    else:
        finish(operation, Operation.State.SUPERSEDED, "retry" if counts else "quota", system=system, message=message)
    tell_asker([operation], Instruction.State.WAITING)


def supersede(
    session: Session,
    operations: Sequence[Operation],
    code: str,
    again_in: float,
    save: bool = True,
    **params: Any,
) -> None:
    """End planned operations without sending them; their links are planned again after `again_in` seconds."""
    when = timezone.now() + timedelta(seconds=again_in)
    again: dict[str, list[str]] = {side: [] for side in SIDES}
    for operation in operations:
        finish(operation, Operation.State.SUPERSEDED, code, **params)
        for side in SIDES:
            again[side] += [external_id for external_id in [operation.link.record_id(side)] if external_id]
    for side in SIDES:
        hints.mark(session.mapping.pk, side, again[side], not_before=when)
    tell_asker(operations, Instruction.State.WAITING)
    if save:
        Operation.objects.bulk_update(operations, OPERATION_FIELDS)


def _refused(session: Session, operation: Operation, error: Refused | NotAllowed) -> list[AuditEntry]:
    """⚑ Park (link, rule, value) of the fields named; the rest is planned and sent again at once."""
    named = error.fields if isinstance(error, Refused) else {}
    code = "refused" if isinstance(error, Refused) else "not_allowed"
    message = "; ".join(named.values()) or error.message
    system = session.system(operation.side)
    finish(operation, Operation.State.REFUSED, code, system=system, message=message)
    creating = operation.kind == Operation.Kind.CREATE
    hit = {rule: named[sent["path"]] for rule, sent in operation.fields.items() if sent["path"] in named}
    entries = []
    if operation.kind == Operation.Kind.DELETE or (not creating and not operation.fields):
        # Not sent again until a person says so; the plan keeps asking.
        closing = operation.kind != Operation.Kind.DELETE
        told = {"system": system, "message": message, "side": OTHER[operation.side] if closing else operation.side}
        operation.link.parked[""] = {"code": "close_refused" if closing else "delete_refused", "params": told}
        ring_again(session, operation.link)
    elif creating and _can_do_without(session, operation, hit):
        # The record is made at once without what was refused; these fields wait for a person.
        for rule_id, message in hit.items():
            park(session, operation, rule_id, operation.fields[rule_id], code, message)
            entries.append(refusal_conflict(session, operation, rule_id, code, message, system))
        ring_again(session, operation.link)
    elif creating:
        operation.link.parked[""] = {"code": "create_refused", "fields": _sent(operation), "message": message}
        entries.append(refusal_conflict(session, operation, "", "create_refused", message, system))
    else:
        for rule_id in hit or operation.fields:
            sent = operation.fields[rule_id]
            park(session, operation, rule_id, sent, code, hit.get(rule_id, error.message))
            entries.append(refusal_conflict(session, operation, rule_id, code, hit.get(rule_id, error.message), system))
        if hit and len(hit) < len(operation.fields):
            ring_again(session, operation.link)
    tell_asker([operation], Instruction.State.REFUSED)
    release_hints(session, operation.link)
    return entries


def _can_do_without(session: Session, operation: Operation, hit: Mapping[str, str]) -> bool:
    rules = [rule_of(session, rule_id) for rule_id in hit]
    return bool(rules) and not any(rule is None or rule.field(operation.side).required for rule in rules)


def _sent(operation: Operation) -> dict[str, Any]:
    return {sent["path"]: sent["value"] for sent in operation.fields.values()}


def park(session: Session, operation: Operation, rule_id: str, sent: dict[str, Any], code: str, message: str) -> None:
    operation.link.parked[rule_id] = {
        "side": operation.side,
        "value": sent["value"],
        "source": sent["source"],
        "code": code,
        "params": {"system": session.system(operation.side), "message": message, "side": operation.side},
    }


def refusal_conflict(
    session: Session, operation: Operation, rule_id: str, code: str, message: str, system: str
) -> AuditEntry:
    """The refusal as a question for a person; an open one of the same rule turns into it."""
    rule = rule_of(session, rule_id)
    sent = operation.fields.get(rule_id, {})
    source_side = OTHER[operation.side]
    values: dict[str, Any] = {
        f"{operation.side}_value": sent.get("before"),
        f"{source_side}_value": sent.get("source"),
    }
    Conflict.objects.update_or_create(
        link_id=operation.link_id,
        rule_id=rule_id,
        state__in=("open", "resolving"),
        defaults={
            "state": Conflict.State.OPEN,
            "kind": Conflict.Kind.REFUSED,
            "code": code,
            "params": {"system": system, "message": message, "side": operation.side, "sent": sent.get("value")},
            **values,
        },
        create_defaults={
            "mapping": session.mapping,
            "state": Conflict.State.OPEN,
            "kind": Conflict.Kind.REFUSED,
            "code": code,
            "params": {"system": system, "message": message, "side": operation.side, "sent": sent.get("value")},
            "version": session.version,
            "title": operation.link.title,
            "field_label": rule.label if rule else "",
            "left_base": operation.link.left_bases.get(rule_id),
            "right_base": operation.link.right_bases.get(rule_id),
            "has_base": rule_id in operation.link.left_bases,
            **values,
        },
    )
    session.counts["conflicts"] += 1
    return audit_entry(
        session,
        "conflict",
        code,
        operation.link,
        operation_id=operation.pk,
        side=operation.side,
        field_label=rule.label if rule else "",
        before=sent.get("before"),
        after=sent.get("value"),
        params={"system": system, "message": message},
    )


def create_unclear(session: Session, operation: Operation, code: str, keys: Sequence[str]) -> list[AuditEntry]:
    """⚑ Never a second create: a person says whether the record exists, or which one it is."""
    system = session.system(operation.side)
    finish(operation, Operation.State.DEAD, code, system=system, count=len(keys), keys=list(keys))
    entry = refusal_conflict(session, operation, "", code, "", system)
    Conflict.objects.filter(link_id=operation.link_id, rule_id="", state=Conflict.State.OPEN).update(
        kind=Conflict.Kind.DUPLICATE if code == "key_twice" else Conflict.Kind.UNCERTAIN_CREATE,
        params={"system": system, "count": len(keys), "keys": list(keys), "side": operation.side},
    )
    operation.link.parked[""] = {"code": code, "fields": {"": "waits for a person"}}
    tell_asker([operation], Instruction.State.REFUSED)
    return [entry]


def lost_sign_in(connection: Connection, message: str) -> None:
    """The connection needs a person; its mappings stop until then, their hints wait."""
    Connection.objects.filter(pk=connection.pk).exclude(state=Connection.State.SIGN_IN).update(
        state=Connection.State.SIGN_IN, state_reason=message[:1000], state_since=timezone.now()
    )
