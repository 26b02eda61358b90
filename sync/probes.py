"""Probes that leave a write open: it is looked for again later, or planned again since it never happened."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from sync import audit, hints
from sync.aftermath import release
from sync.decided import audit_entry
from sync.models import AuditEntry, Operation
from sync.session import Session
from sync.setbacks import by_label, sent_entry, supersede

NOT_APPLIED = "not_applied"  # how an operation ends that a look proved to have done nothing
NOT_WRITTEN = "not_written"  # the action in the log
# A probe that broke off is made again after this long.
PROBE_AGAIN = timedelta(minutes=5)
# A record that may only be hidden from our account is looked for again this long before its write is given up; then
# the pair goes on without knowing what became of it.
HIDDEN_AT_MOST = timedelta(hours=1)
# One that cannot be looked up is not given up before so many looks failed, however long ago it was sent.
LOOKS_AT_LEAST = 3


def waits_for_hidden(session: Session, operation: Operation, is_there: bool) -> bool:
    """Whether the record, or all that was sent to one that `is_there`, may only be hidden, and is looked for again."""
    now, sent_at = timezone.now(), operation.claimed_at or operation.decided_at
    if not (is_there or _may_be_hidden(session, operation)) or now >= sent_at + HIDDEN_AT_MOST:
        return False
    Operation.objects.filter(pk=operation.pk).update(state=Operation.State.UNCERTAIN, not_before=now + PROBE_AGAIN)
    return True


def _may_be_hidden(session: Session, operation: Operation) -> bool:
    """Whether a record that is not found may be there: its system does not tell hidden from gone, and did not tell of a
    deletion either. The plan that follows believes the same hint (see decide.py)."""
    certain = session.able(operation.side).not_found_means_gone
    return not certain and not hints.told_deleted(session.mapping.pk, operation.side, operation.external_id)


def plan_again(session: Session, operation: Operation, code: str = NOT_APPLIED) -> None:
    """It did not happen, or may be sent again whether it did or not: its pair is planned anew at once."""
    with transaction.atomic():
        session.lease.renew()
        supersede(session, [operation], code, again_in=0)
        if code == NOT_APPLIED:
            audit.append(_not_written(session, operation))
        release(session, [operation.link])


def _not_written(session: Session, operation: Operation) -> list[AuditEntry]:
    """What was sent, had no answer and had not happened.

    ⚑ A worker that wakes up late may do it all the same, and die, or get no answer either: then the log has it by this
    alone.
    """
    if operation.kind == Operation.Kind.UPDATE and operation.fields:
        return [sent_entry(session, NOT_WRITTEN, NOT_APPLIED, operation, rule_id) for rule_id in operation.fields]
    return [
        audit_entry(
            session,
            NOT_WRITTEN,
            NOT_APPLIED,
            operation.link,
            operation_id=operation.pk,
            side=operation.side,
            after=by_label(session, operation),
            params={"system": session.system(operation.side)},
        )
    ]
