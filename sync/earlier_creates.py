"""A create that led to a record which an earlier create of the same key made: what was sent *then* is what was written.

A look for an unanswered create may come too early: then it is sent again, with what the source says by then, and the
system answers with the record of the first one. Systems that make one record of a key are told twice on purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from connections.connectors.base import Record, WriteResult
from sync import outcomes
from sync.decided import rule_of
from sync.merge import MISSING, is_empty
from sync.models import AuditEntry, Instruction, Operation
from sync.probes import NOT_APPLIED
from sync.read_back import base_after_write
from sync.session import Session
from sync.setbacks import sent_entry

# How creates end that may have made a record all the same. ⚑ Of one that a look proved to have made none, a worker that
# woke up late may have sent it since: it counts where nothing else explains what the record says.
MAYBE_MADE = (NOT_APPLIED, "created_or_not")

SAME, MEANS_THE_SAME, CUT_SHORT, OTHER_VALUE = range(4)


def is_repeated(operation: Operation) -> bool:
    """Whether a create of the same key went before, whose record this one may have been answered with."""
    return bool(_earlier(operation))


def as_found(session: Session, operation: Operation, record: Record) -> WriteResult:
    """What a create led to, told by the record found.

    ⚑ A field that is empty although nobody wrote to the record since it was made was left out by the system, unsaid. It
    is sent once more and refused then; taken as it stands, the emptiness would be carried to the source.
    """
    untouched = record.updated_at is not None and record.updated_at == record.created_at
    if not untouched or record.updated_by not in (None, session.connection(operation.side).account_id):
        return WriteResult(record, created=True)
    empty = {
        sent["path"]: record.values[sent["path"]]
        for sent in operation.fields.values()
        if not is_empty(sent["value"]) and is_empty(record.values.get(sent["path"], sent["value"]))
    }
    return WriteResult(record, created=True, on_the_way=empty)


def as_sent_then(session: Session, operation: Operation, record: Record) -> tuple[bool, list[AuditEntry]]:
    """⚑ Let `operation` say what the create sent that made `record`. Returns whether that was another one, and lines
    about what `operation` itself sent where nobody can say if it was ever there.

    With what is sent now as its base, the older value in the record would be somebody's edit, and go back over the
    newer one of the source. Where no create fits, somebody wrote to the record since: the latest earlier one counts
    that nothing proves to have made none, so that an edit of the source since then meets theirs.
    """
    rules = [*operation.fields, *operation.unsent]
    if all(_fits(session, record, rule_id, operation) == SAME for rule_id in operation.fields) and not any(
        _filled(session, record, operation, rule_id) for rule_id in operation.unsent
    ):
        return False, []
    earlier = _earlier(operation)
    if not earlier:
        return False, []
    able = session.connectors[operation.side].capabilities_of(session.object_type(operation.side))
    proved = [one for one in earlier if able.create_lookup_consistent and one.result.get("code") == NOT_APPLIED]
    likely_first = [*(one for one in earlier if one not in proved), operation, *proved]
    before = (operation.fields, operation.unsent)
    fields, unsent, unclear = dict[str, Any](), dict[str, Any](), list[AuditEntry]()
    for rule_id in dict.fromkeys([*rules, *(rule_id for one in earlier for rule_id in [*one.fields, *one.unsent])]):
        paths = {one.fields[rule_id]["path"] for one in likely_first if rule_id in one.fields}
        # Of a field that is not read, since its rule is off by now, what was answered is told.
        told = [operation] if paths - record.values.keys() and rule_id in rules else likely_first
        made = min(told, key=partial(_fits, session, record, rule_id))
        if rule_id in made.fields:
            fields[rule_id] = made.fields[rule_id]
        elif rule_id in made.unsent:
            unsent[rule_id] = made.unsent[rule_id]
        own = operation.fields.get(rule_id)
        if own and made.fields.get(rule_id) != own and _fits(session, record, rule_id, made) == OTHER_VALUE:
            unclear.append(sent_entry(session, "unclear", "several_creates", operation, rule_id))
    _put_off_what_a_person_sent(operation, fields)
    operation.fields, operation.unsent = fields, unsent
    return before != (fields, unsent), unclear


def _earlier(operation: Operation) -> Sequence[Operation]:
    """The creates of this key that may have made a record, the latest first."""
    rows = Operation.objects.filter(
        link=operation.link_id, side=operation.side, kind=Operation.Kind.CREATE, pk__lt=operation.pk
    ).order_by("-pk")
    key = operation.correlation_key
    return [one for one in rows if one.correlation_key == key and one.result.get("code") in MAYBE_MADE]


def _fits(session: Session, record: Record, rule_id: str, create: Operation) -> int:
    """How well a create explains what the record says in a field; the less the better."""
    sent, rule = create.fields.get(rule_id), rule_of(session, rule_id)
    path = sent["path"] if sent else rule.field(create.side).path if rule else ""
    now = record.values.get(path, MISSING)
    if sent is None:
        return SAME if now is not MISSING and is_empty(now) else OTHER_VALUE
    if now == sent["value"]:
        return SAME
    if rule is None or now is MISSING:
        return OTHER_VALUE
    written = base_after_write(rule, create.side, sent["value"], now, sent["source"])
    return CUT_SHORT if written.cut_short else OTHER_VALUE if written.edited else MEANS_THE_SAME


def _filled(session: Session, record: Record, operation: Operation, rule_id: str) -> bool:
    """Whether the record says something in a field of which the source says nothing."""
    return is_empty(operation.unsent[rule_id]) and _fits(session, record, rule_id, operation) != SAME


def _put_off_what_a_person_sent(operation: Operation, fields: dict[str, Any]) -> None:
    """What a person sent with this create was not written: it goes with the next plan of the pair."""
    own = {rule_id: sent for rule_id, sent in operation.fields.items() if sent["code"] == "retried"}
    if any(fields.get(rule_id) != sent for rule_id, sent in own.items()):
        outcomes.tell([operation], Instruction.State.WAITING)
