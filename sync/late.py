"""Writes of a worker that slept in the middle of a call and woke up after others had given them up.

⚑ It cannot commit what its answer means: others have decided since. It notes at its own operation that the write
happened, and the run that holds the mapping puts it into the log, and asks about an edit that it replaced where the
answer tells of one. What the record says by now is merged like anybody's edit.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction

from connections.connectors.base import ConnectorError, WriteResult
from sync import audit, hints
from sync.aftermath import Aftermath
from sync.models import Link, Operation
from sync.overwritten import ask_about, edits_overwritten
from sync.rows import save_rows
from sync.session import Session
from sync.setbacks import OPERATION_FIELDS, finish
from sync.settle import write_entry

CODE = "arrived_late"


def note(session: Session, answers: Iterable[tuple[Operation, WriteResult | ConnectorError | None]]) -> None:
    """Note what was written although the lease is lost. Creates are found by their key, deletions by their record."""
    for operation, result in answers:
        if not isinstance(result, WriteResult) or operation.kind != Operation.Kind.UPDATE:
            continue
        told = {"code": CODE, "overwritten": edits_overwritten(operation, result)}
        given_up = Operation.objects.filter(pk=operation.pk, state__in=("superseded", "dead"))
        if given_up.update(state=Operation.State.LATE, result=told):
            hints.try_again(session.mapping.pk, operation.side, [operation.external_id])


def take_up(session: Session, operation: Operation) -> None:
    """Put a late write into the log, and ask about what it replaced. Raises LeaseLost."""
    overwritten = operation.result.get("overwritten", {})
    with transaction.atomic():
        session.lease.renew()
        after = Aftermath.of(session, [operation], [])
        finish(operation, Operation.State.SUPERSEDED, CODE, system=session.system(operation.side))
        entries = [write_entry(session, operation, rule_id, sent) for rule_id, sent in operation.fields.items()]
        if operation.link.state == Link.State.ACTIVE:
            entries += ask_about(session, operation, overwritten, after)
            after.again(operation.link)
        save_rows([operation], OPERATION_FIELDS)
        after.carry_out()
        audit.append(entries)
