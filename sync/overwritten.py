"""Edits that we overwrote: made after our last read and before our write, in a system that could not refuse it.

Nobody can prevent them where a system takes no condition with a write. Where its own history tells what a write
replaced, a person is asked, with the overwritten value and one click to restore it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connections.connectors.base import Change, WriteResult
from connections.overwrites import over_others
from sync import clobbers
from sync.aftermath import Aftermath
from sync.decided import audit_entry, label_of
from sync.merge import OTHER
from sync.models import AuditEntry, Conflict, Operation
from sync.session import Session


def edits_overwritten(operation: Operation, result: WriteResult) -> dict[str, Any]:
    """{rule id: value that was there} of fields that no longer held what the write was decided from."""
    found = {}
    for rule_id, sent in operation.fields.items():
        replaced = result.replaced.get(sent["path"], sent["before"])
        if replaced not in (sent["before"], sent["value"], sent.get("read_back")):
            found[rule_id] = replaced
    return found


def replaced_by(operation: Operation, history: Sequence[Change], account: str) -> dict[str, Any]:
    """{path: value} of others' edits that our write replaced, for a write whose answer was lost.

    history: changes since the read it was decided from, oldest first.
    """
    paths = {one["path"] for one in operation.fields.values()}
    return {path: over.before for path in paths if (over := over_others(history, path, account))}


def ask_about(
    session: Session, operation: Operation, overwritten: Mapping[str, Any], after: Aftermath
) -> list[AuditEntry]:
    """The questions, one a field; what the pair's two sides say by now does not end them.

    Of one write each is asked once: a worker that woke up late tells what the history may have told before.
    """
    entries = []
    side, other = operation.side, OTHER[operation.side]
    lines = AuditEntry.objects.filter(link_id=operation.link_id, operation_id=operation.pk, code=clobbers.CODE)
    told = {*lines.values_list("field_label", flat=True)} if overwritten else set()
    for rule_id, value in overwritten.items():
        sent = operation.fields[rule_id]
        if label_of(session, rule_id, sent["path"]) in told:
            continue
        named = {"system": session.system(side), "side": side, "sent": sent["value"]}
        values = {f"{side}_value": sent.get("read_back", sent["value"]), f"{other}_value": sent["source"]}
        conflict = after.question(operation.link_id, rule_id) or Conflict(
            mapping=session.mapping,
            link_id=operation.link_id,
            rule_id=rule_id,
            version=session.version,
            title=operation.link.title,
            field_label=label_of(session, rule_id, sent["path"]),
            left_base=operation.link.left_bases.get(rule_id),
            right_base=operation.link.right_bases.get(rule_id),
            has_base=rule_id in operation.link.left_bases,
        )
        conflict.params = named | clobbers.with_one_more(conflict, side, value)
        conflict.state, conflict.kind, conflict.code = Conflict.State.OPEN, Conflict.Kind.CLOBBER, clobbers.CODE
        for name, shown in values.items():
            setattr(conflict, name, shown)
        after.ask(conflict)
        session.counts["conflicts"] += 1
        entries.append(entry_about(session, operation, rule_id, value))
    return entries


def entry_about(session: Session, operation: Operation, rule_id: str, value: Any) -> AuditEntry:
    """The line in the log that keeps an overwritten value."""
    sent, side = operation.fields[rule_id], operation.side
    return audit_entry(
        session,
        "conflict",
        clobbers.CODE,
        operation.link,
        operation_id=operation.pk,
        side=side,
        field_label=label_of(session, rule_id, sent["path"]),
        before=value,
        after=sent.get("read_back", sent["value"]),
        params={"system": session.system(side), "side": side},
    )
