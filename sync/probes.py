"""Probes that leave a write open: it is looked for again later, or planned again since it never happened."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from sync import hints
from sync.aftermath import release
from sync.models import Operation
from sync.session import Session
from sync.setbacks import supersede

# A probe that broke off is made again after this long.
PROBE_AGAIN = timedelta(minutes=5)
# A record that may only be hidden from our account is looked for again this long before its write is given up; then
# the pair goes on without knowing what became of it.
HIDDEN_AT_MOST = timedelta(hours=1)
# One that cannot be looked up is not given up before so many looks failed, however long ago it was sent.
LOOKS_AT_LEAST = 3


def waits_for_hidden(session: Session, operation: Operation) -> bool:
    """Whether the record may only be hidden, and is looked for again later."""
    now, sent_at = timezone.now(), operation.claimed_at or operation.decided_at
    if not _may_be_hidden(session, operation) or now >= sent_at + HIDDEN_AT_MOST:
        return False
    Operation.objects.filter(pk=operation.pk).update(state=Operation.State.UNCERTAIN, not_before=now + PROBE_AGAIN)
    return True


def _may_be_hidden(session: Session, operation: Operation) -> bool:
    """Whether a record that is not found may be there: its system does not tell hidden from gone, and did not tell of a
    deletion either. The plan that follows believes the same hint (see decide.py)."""
    certain = session.able(operation.side).not_found_means_gone
    return not certain and not hints.told_deleted(session.mapping.pk, operation.side, operation.external_id)


def plan_again(session: Session, operation: Operation, code: str = "not_applied") -> None:
    """It did not happen, or may be sent again whether it did or not: its pair is planned anew at once."""
    with transaction.atomic():
        session.lease.renew()
        supersede(session, [operation], code, again_in=0)
        release(session, [operation.link])
