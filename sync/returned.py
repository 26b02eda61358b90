"""A deleted record that is back while its twin is not."""

from __future__ import annotations

from sync import asked
from sync.decided import Decided, audit_entry
from sync.merge import OTHER
from sync.models import Link, Operation
from sync.rows import select
from sync.session import SIDES, Session


def one_returned(session: Session, one: Decided) -> None:
    """One of two deleted records is back. Where we deleted its twin with it and make twins there, it gets a new one.

    ⚑ Where none had been made yet it goes on waiting for the first: nothing else would ever look for it.
    """
    back = [side for side in SIDES if _is_back(one, side)]
    if len(back) != 1:
        return
    side, other, link = back[0], OTHER[back[0]], one.link
    was = link.record_id(other)
    setattr(link, f"deleted_{side}", False)
    if was is not None and not (session.compiled.side(other).create and _we_deleted(link, other)):
        setattr(link, f"deleted_{other}", True)
        one.entries.append(audit_entry(session, "deletion", "returned_alone", link, params={"side": side}, side=side))
        return
    if was is None:
        one.entries.append(audit_entry(session, "deletion", "returned_first", link, params={"side": side}, side=side))
    else:
        told = {"side": side, "system": session.system(other), "was": getattr(link, f"{other}_key") or was}
        one.entries.append(audit_entry(session, "deletion", "returned_to_a_new_twin", link, params=told, side=side))
        one.bound, one.replaced = other, was
        one.records = {**one.records, other: None}
        _forget_twin(link, other)
    one.plan.state = Link.State.CREATING
    asked.look_again(session, link)


def _is_back(one: Decided, side: str) -> bool:
    record = one.records[side]
    return bool(getattr(one.link, f"deleted_{side}")) and record is not None and not record.deleted


def _we_deleted(link: Link, side: str) -> bool:
    """⚑ This twin: one before it may have been ours to delete, and this one have been deleted by people."""
    ours = "SELECT external_id FROM sync_operation WHERE link_id = %s AND side = %s AND kind = %s AND state = %s"
    deleted = select(ours, link.pk, side, Operation.Kind.DELETE, Operation.State.CONFIRMED)
    return (link.record_id(side),) in deleted


def _forget_twin(link: Link, side: str) -> None:
    """⚑ What was agreed with a record that is no more says nothing about the next one."""
    for name in ("id", "read_at"):
        setattr(link, f"{side}_{name}", None)
    for name in ("key", "version", "updated_at"):
        setattr(link, f"{side}_{name}", "")
    link.left_settled = link.right_settled = ""
    link.left_bases, link.right_bases, link.parked = {}, {}, {}
    link.agreed_differences, link.pending_edits = {}, {}
    setattr(link, f"deleted_{side}", False)
