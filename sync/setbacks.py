"""Answers that are not results: refused, moved, not now, not answered. Nothing is lost; each says what comes next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

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
from connections.pauses import note_state
from sync import causes, clobbers, hints, outcomes
from sync.aftermath import Aftermath, ring
from sync.creates_under_way import WAITS_FOR_A_PERSON
from sync.decided import audit_entry, label_of, rule_of
from sync.merge import OTHER, unsure_of
from sync.models import AuditEntry, Conflict, Instruction, Operation
from sync.questions import heed
from sync.rows import save_rows
from sync.session import Session

OPERATION_FIELDS = [
    "state",
    "claim",
    "finished_at",
    "not_before",
    "external_id",
    "fields",
    "result",
    "failing_since",
    "fingerprint",
    "ignored",
]


def finish(operation: Operation, state: str, code: str, **params: Any) -> None:
    operation.state = state
    operation.claim = None
    operation.finished_at = timezone.now()
    operation.result = {"code": code, "params": params}
    operation.failing_since = operation.ignored = None


# Tries after which an operation is listed as given up; by then about two hours have passed.
DEAD_AFTER = 10
# How a write ended that was tried and did not go through.
FAILED = ("retry", "gave_up", "unreachable")
# A sign-in that a person must renew: the runs stop at it, the write waits.
SIGN_IN_SECONDS = 5.0


def failed(session: Session, operation: Operation, error: ConnectorError, after: Aftermath) -> list[AuditEntry]:
    """What an answer that is no result leads to; what it leaves to do is noted in `after`."""
    side, system, link = operation.side, session.system(operation.side), operation.link
    session.counts["failed"] += 1
    if isinstance(error, Uncertain):
        # The claim stays: nobody else writes this record before it is known what became of ours.
        operation.state = Operation.State.UNCERTAIN
        operation.external_id = error.external_id or operation.external_id
        wait = session.connectors[side].capabilities.update_timeout
        operation.not_before = timezone.now() + timedelta(seconds=wait)
        operation.result = {"code": "not_answered", "params": {"system": system}}
        return []
    if isinstance(error, Refused | NotAllowed):
        return _refused(session, operation, error, after)
    told = {"system": system, "message": error.message}
    outcomes.tell([operation], Instruction.State.WAITING)  # a person's choice goes with the next plan
    if isinstance(error, Gone) and operation.kind != Operation.Kind.CREATE:
        after.gone(side, operation.external_id, error.certain)
    if isinstance(error, VersionMismatch):
        # The first one is a race that a fresh read settles; a version that never fits must not be tried without end.
        before = after.earlier_tries(operation, "version_moved")
        finish(operation, Operation.State.SUPERSEDED, "version_moved")
        after.again(link, hints.backoff(before - 1) if before else 0)
    elif isinstance(error, Gone) and not after.earlier_tries(operation, *FAILED):
        # ⚑ Should the record be read all the same, nothing else rings for the edit: it is tried like any other write.
        finish(operation, Operation.State.SUPERSEDED, "unreachable")
        after.again(link)
    elif isinstance(error, NeedsAuthorization):
        lost_sign_in(session.connection(side), error.message)
        finish(operation, Operation.State.SUPERSEDED, "sign_in", **told)  # of which no number of tries tells anything
        after.later(link, SIGN_IN_SECONDS)
    elif isinstance(error, RateLimited):
        finish(operation, Operation.State.SUPERSEDED, "quota", **told)
        after.later(link, error.after)
    else:
        tries = after.earlier_tries(operation, *FAILED) + 1
        dead = tries >= DEAD_AFTER
        finish(
            operation, *((Operation.State.DEAD, "gave_up") if dead else (Operation.State.SUPERSEDED, "retry")), **told
        )
        if tries >= hints.LISTED_AFTER:
            _list(operation, error.message, after.failing(operation))
        after.fail(link, error.message, error.after if isinstance(error, Retry) else SIGN_IN_SECONDS, tries)
    return []


def _list(operation: Operation, message: str, before: Operation | None) -> None:
    """A write that keeps failing is listed, in the place of its failure `before`; ignored while nothing changes."""
    mapping, side, part = operation.mapping_id, operation.side, operation.part
    operation.fingerprint = causes.fingerprint(mapping, causes.WRITE, side, part, "write_failed", message)
    operation.failing_since = operation.finished_at
    if before is not None:
        operation.failing_since = before.failing_since
        if before.fingerprint == operation.fingerprint and values_of(before) == values_of(operation):
            operation.ignored_id = before.ignored_id


def values_of(operation: Operation) -> dict[str, Any]:
    """{path: value} as sent."""
    return {**operation.extra, **{sent["path"]: sent["value"] for sent in operation.fields.values()}}


def supersede(
    session: Session,
    operations: Sequence[Operation],
    code: str,
    again_in: float,
    **params: Any,
) -> None:
    """End planned operations without sending them; their links are planned again after `again_in` seconds."""
    for operation in operations:
        finish(operation, Operation.State.SUPERSEDED, code, **params)
    ring(session, [operation.link for operation in operations], hints.Lane.LIVE, again_in)
    outcomes.tell(operations, Instruction.State.WAITING)
    save_rows(operations, OPERATION_FIELDS)


def _refused(session: Session, operation: Operation, error: Refused | NotAllowed, after: Aftermath) -> list[AuditEntry]:
    """⚑ Park (link, rule, value) of the fields named; the rest is planned and sent again at once."""
    named = error.fields if isinstance(error, Refused) else {}
    code = "refused" if isinstance(error, Refused) else "not_allowed"
    message = "; ".join(named.values()) or error.message
    system = session.system(operation.side)
    finish(operation, Operation.State.REFUSED, code, system=system, message=message)
    creating = operation.kind == Operation.Kind.CREATE
    hit = {rule: named[sent["path"]] for rule, sent in operation.fields.items() if sent["path"] in named}
    if operation.kind != Operation.Kind.DELETE and _stands_still(session, operation, named):
        # One entry of the mapping says it for all records; the next plan leaves the field out, the rest flows.
        after.again(operation.link)
        after.end(operation.link)
        outcomes.tell([operation], Instruction.State.WAITING)
        return []
    entries = []
    if operation.kind == Operation.Kind.DELETE or (not creating and not operation.fields):
        # Not sent again until a person says so; the plan keeps asking.
        closing = operation.kind != Operation.Kind.DELETE
        told = {"system": system, "message": message, "side": OTHER[operation.side] if closing else operation.side}
        operation.link.parked[""] = {"code": "close_refused" if closing else "delete_refused", "params": told}
        after.again(operation.link)
    elif creating and _can_do_without(session, operation, hit):
        # The record is made at once without what was refused; these fields wait for a person.
        for rule_id, message in hit.items():
            park(session, operation, rule_id, operation.fields[rule_id], code, message)
            entries.append(refusal_conflict(session, operation, rule_id, code, message, system, after=after))
        after.again(operation.link)
        sent = operation.instruction.choices.get("") if operation.instruction else None
        if sent and sent["rule"] not in hit:
            outcomes.tell([operation], Instruction.State.WAITING)  # what they sent goes with the next create
    elif creating:
        operation.link.parked[""] = {"code": "create_refused", "fields": _sent(operation), "message": message}
        entries.append(refusal_conflict(session, operation, "", "create_refused", message, system, after=after))
    else:
        refused = hit or operation.fields
        for rule_id in refused:
            sent = operation.fields[rule_id]
            said = hit.get(rule_id, error.message)
            park(session, operation, rule_id, sent, code, said)
            entries.append(refusal_conflict(session, operation, rule_id, code, said, system, after=after))
        if len(refused) < len(operation.fields):
            after.again(operation.link)
            # ⚑ Nothing was said against the others: what a person chose there goes with the next plan.
            outcomes.tell([operation], Instruction.State.WAITING, operation.fields.keys() - refused.keys())
    outcomes.tell([operation], Instruction.State.REFUSED)
    after.end(operation.link)
    return entries


def _stands_still(session: Session, operation: Operation, named: Mapping[str, str]) -> bool:
    """Whether all that the refusal names has come to a standstill meanwhile, and would not be sent again."""
    side, compiled = operation.side, session.compiled
    waiting = {
        sent["path"]
        for rule, sent in operation.fields.items()
        if rule in compiled.still and compiled.still[rule].holds(side, sent["value"])
    }
    if operation.kind == Operation.Kind.CREATE:
        waiting |= set(compiled.creates_wait.get(side, {}))
        if "" in compiled.creates_wait.get(side, {}):
            return bool(named)
    return bool(named) and set(named) <= waiting


def _can_do_without(session: Session, operation: Operation, hit: Mapping[str, str]) -> bool:
    rules = [rule_of(session, rule_id) for rule_id in hit]
    return bool(rules) and not any(rule is None or rule.field(operation.side).required for rule in rules)


def _sent(operation: Operation) -> dict[str, Any]:
    return {sent["path"]: sent["value"] for sent in operation.fields.values()}


def park(session: Session, operation: Operation, rule_id: str, sent: dict[str, Any], code: str, message: str) -> None:
    """⚑ What may have been written before stays known: the refusal of another value tells nothing of it."""
    before = operation.link.parked.get(rule_id)
    maybe = unsure_of(before) if before and code != "maybe_written" else None
    operation.link.parked[rule_id] = {
        "side": operation.side,
        "value": sent["value"],
        "source": sent["source"],
        "typed": sent["settle"] not in ("source", "members"),
        "code": code,
        "params": {"system": session.system(operation.side), "message": message, "side": operation.side},
        **({"unsure": maybe} if maybe else {}),
    }


def refusal_conflict(
    session: Session,
    operation: Operation,
    rule_id: str,
    code: str,
    message: str,
    system: str,
    kind: str = Conflict.Kind.REFUSED,
    params: Mapping[str, Any] | None = None,
    after: Aftermath | None = None,
) -> AuditEntry:
    """The refusal as a question for a person; an open one of the same rule turns into it.

    With `after` it is saved together with all others of the answers, else at once.
    """
    sent = operation.fields.get(rule_id, {})
    label = label_of(session, rule_id, sent.get("path", ""))
    source_side = OTHER[operation.side]
    told = {"system": system, "message": message, "side": operation.side, "sent": sent.get("value"), **(params or {})}
    conflict = _open_question(operation, rule_id, after) or Conflict(
        mapping=session.mapping,
        link_id=operation.link_id,
        rule_id=rule_id,
        version=session.version,
        title=operation.link.title,
        field_label=label,
        left_base=operation.link.left_bases.get(rule_id),
        right_base=operation.link.right_bases.get(rule_id),
        has_base=rule_id in operation.link.left_bases,
    )
    told |= (
        clobbers.with_one_more(conflict, operation.side, told[clobbers.LATEST])
        if clobbers.LATEST in told
        else clobbers.kept(conflict.params)
    )
    before = (conflict.params.get("sent"), conflict.left_value, conflict.right_value)
    conflict.state, conflict.kind, conflict.code, conflict.params = Conflict.State.OPEN, kind, code, told
    setattr(conflict, f"{operation.side}_value", sent.get("before"))
    setattr(conflict, f"{source_side}_value", sent.get("source"))
    moved = before != (sent.get("value"), conflict.left_value, conflict.right_value)
    if conflict.pk and moved:
        conflict.moved_at = timezone.now()
    if moved or conflict.fingerprint != causes.of_conflict(session.mapping.pk, kind, rule_id, code, told):
        heed(conflict)
    if after is None:
        conflict.save()
    else:
        after.ask(conflict)
    session.counts["conflicts"] += 1
    return audit_entry(
        session,
        "conflict",
        code,
        operation.link,
        operation_id=operation.pk,
        side=operation.side,
        field_label=label,
        before=sent.get("before"),
        after=sent.get("value") if rule_id else by_label(session, operation),
        params={"system": system, "message": message, "why": sent.get("code", ""), **_named(params or {})},
    )


def _named(params: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry's sentence names besides: records, never a value, which the log keeps apart."""
    return {name: params[name] for name in ("count", "keys") if name in params}


def sent_entry(session: Session, action: str, code: str, operation: Operation, rule_id: str) -> AuditEntry:
    """The line about a field of a write without an answer: what was sent, why, and over what."""
    sent = operation.fields[rule_id]
    return audit_entry(
        session,
        action,
        code,
        operation.link,
        operation_id=operation.pk,
        side=operation.side,
        field_label=label_of(session, rule_id, sent["path"]),
        before=sent["before"],
        after=sent["value"],
        params={"system": session.system(operation.side), "why": sent["code"]},
    )


def by_label(session: Session, operation: Operation) -> dict[str, Any] | None:
    """What a create sent, by what people call the fields."""
    return {
        label_of(session, rule_id, sent["path"]): sent["value"] for rule_id, sent in operation.fields.items()
    } or None


def _open_question(operation: Operation, rule_id: str, after: Aftermath | None) -> Conflict | None:
    if after is not None:
        return after.question(operation.link_id, rule_id)
    rows = Conflict.objects.filter(link_id=operation.link_id, rule_id=rule_id, state__in=("open", "resolving"))
    return rows.first()


def create_unclear(
    session: Session,
    operation: Operation,
    code: str,
    keys: Sequence[str],
    after: Aftermath | None = None,
    message: str = "",
) -> list[AuditEntry]:
    """⚑ Never a second create: a person says whether the record exists, or which one it is.

    `message`: why nobody could look, if so.
    """
    system = session.system(operation.side)
    finish(operation, Operation.State.DEAD, code, system=system, count=len(keys), keys=list(keys))
    told = {"side": operation.side, "count": len(keys), "keys": list(keys), "message": message}
    entry = refusal_conflict(session, operation, "", code, message, system, WAITS_FOR_A_PERSON[code], told, after)
    operation.link.parked[""] = {"code": code, "params": told}
    outcomes.tell([operation], Instruction.State.REFUSED)
    return [entry]


def lost_sign_in(connection: Connection, message: str) -> None:
    """The connection needs a person; its mappings stop until then, their hints wait.

    A paused one stays paused: resumed, it counts as untested, and its first call is refused again and says so.
    """
    State = Connection.State
    note_state(connection, State.SIGN_IN, message[:1000], but_for=[State.SIGN_IN, State.ACCOUNT_CHANGED])
