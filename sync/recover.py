"""After a crash or an unanswered write: find out what happened before anything is sent again.

⚑ An operation found in "sending" is probed after all time-outs have passed, never blindly sent again. For an update:
read = sent → confirmed; an exact version that never comes back still the expected one → planned again; the vendor's
field history tells → believed; anything else → the sent fields go to a person, naming what we may have written.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from connections.connectors.base import (
    Change,
    ConnectorError,
    Gone,
    NotAllowed,
    RateLimited,
    Record,
    Refused,
    WriteResult,
)
from sync import audit, clobbers, given_up, late, outcomes
from sync.aftermath import Aftermath, release
from sync.commit import save_links
from sync.decided import rule_of
from sync.lease import LeaseLost
from sync.merge import MISSING, counterpart, unsure_of
from sync.models import AuditEntry, Conflict, Instruction, Operation, Run
from sync.overwritten import ask_about, edits_overwritten, entry_about, replaced_by
from sync.probes import HIDDEN_AT_MOST, LOOKS_AT_LEAST, PROBE_AGAIN, plan_again, waits_for_hidden
from sync.questions import end_question, save_questions
from sync.read import SideFailed
from sync.recover_creates import create_not_looked_up, probe_create
from sync.rows import save_rows, select
from sync.session import Session
from sync.setbacks import (
    OPERATION_FIELDS,
    finish,
    park,
    refusal_conflict,
    sent_entry,
    supersede,
    values_of,
)
from sync.settle import asked_for, settle, settle_field, write_entry
from sync.state import seconds_of

# One whose system asked us to wait, no sooner than after this: less would ring the mapping without a pause.
WAIT_AT_LEAST = timedelta(seconds=1)
# Answers about one record; whatever is amiss with the system as a whole, the reads that follow find out.
OF_THE_RECORD = (Refused, NotAllowed, Gone)

log = logging.getLogger("sync")


def leftovers(session: Session) -> None:
    """Settle what earlier runs of this mapping left behind. Raises SideFailed, LeaseLost."""
    running = "SELECT id FROM sync_run WHERE mapping_id = %s AND state = %s AND kind <> %s"
    if held := select(running, session.mapping.pk, Run.State.RUNNING, Run.Kind.DRY):
        lost: dict[str, Any] = {"state": Run.State.LOST, "error": {"code": "lease_lost", "params": {}}}
        Run.objects.filter(pk__in=[pk for (pk,) in held]).update(finished_at=timezone.now(), **lost)
    unsettled = "SELECT 1 FROM sync_operation WHERE mapping_id = %s AND state IN %s"
    if not select(unsettled, session.mapping.pk, [*Operation.OPEN, Operation.State.LATE]):
        return
    for written in _ledger(session).filter(state=Operation.State.LATE):
        late.take_up(session, written)
    planned = list(_ledger(session).filter(state=Operation.State.PLANNED))
    if planned:
        with transaction.atomic():
            session.lease.renew()
            supersede(session, planned, "planned_again", again_in=0)
    now = timezone.now()
    unanswered = _ledger(session).filter(
        state__in=(Operation.State.SENDING, Operation.State.UNCERTAIN), not_before__lte=now
    )
    for pk in list(unanswered.values_list("pk", flat=True)):
        # ⚑ Each is read when its turn comes: two of one link must not save what the link was before the other.
        operation = unanswered.filter(pk=pk).first()
        if operation is None:
            continue
        wait = timedelta(seconds=session.connectors[operation.side].capabilities.update_timeout)
        if operation.claimed_at and operation.claimed_at + wait > now:
            # It can still take effect; look later, and do not let the scheduler ring every second until then.
            Operation.objects.filter(pk=operation.pk).update(not_before=operation.claimed_at + wait)
            continue
        try:
            _probe(session, operation)
        # ⚑ An operation whose fate cannot be looked up blocks only its own record.
        except RateLimited as error:
            log.warning("operation %s cannot be probed now: %s", pk, error)
            wait = max(timedelta(seconds=error.after), WAIT_AT_LEAST)
            Operation.objects.filter(pk=pk).update(not_before=timezone.now() + wait)
        except OF_THE_RECORD as error:
            log.warning("operation %s cannot be probed: %s", pk, error)
            _not_looked_up(session, pk, error.message or error.__class__.__name__)
        except ConnectorError as error:
            raise SideFailed(operation.side, error) from error
        except (LeaseLost, SideFailed, OperationalError, InterfaceError):
            raise
        except Exception as problem:
            log.exception("operation %s cannot be probed", pk)
            _not_looked_up(session, pk, f"{problem.__class__.__name__}: {problem}")


def _not_looked_up(session: Session, pk: int, message: str) -> None:
    """Look again later; ⚑ what fails for as long as a hidden record is waited for is told to a person, with the reason,
    and holds neither its pair nor its turn up any more. Raises LeaseLost."""
    operation = _ledger(session).get(pk=pk)  # as it was before the probe broke off
    now, looks = timezone.now(), operation.result.get("looks", 0) + 1
    again = {"not_before": now + PROBE_AGAIN, "result": {**operation.result, "looks": looks}}
    Operation.objects.filter(pk=pk).update(**again)
    if looks < LOOKS_AT_LEAST or now < (operation.claimed_at or operation.decided_at) + HIDDEN_AT_MOST:
        return
    try:
        if operation.kind == Operation.Kind.CREATE:
            create_not_looked_up(session, operation, message)
        elif operation.kind == Operation.Kind.DELETE or not operation.fields:
            # It says the same however often it is said; the plan reads both first, and what it cannot read is listed.
            plan_again(session, operation, "planned_again")
        else:
            _ask_a_person(session, operation, Record(operation.external_id, version="", values={}), {}, message)
    except (LeaseLost, OperationalError, InterfaceError):
        raise
    except Exception:
        log.exception("nobody can be asked about operation %s", pk)


def _ledger(session: Session) -> QuerySet[Operation]:
    return (
        Operation.objects.filter(mapping=session.mapping)
        .select_related("link", "link__identity", "instruction")
        .order_by("pk")
    )


def _probe(session: Session, operation: Operation) -> None:
    if operation.kind == Operation.Kind.CREATE:
        probe_create(session, operation)
    elif operation.kind == Operation.Kind.DELETE:
        found = session.connectors[operation.side].get_many(
            session.object_type(operation.side), [operation.external_id], session.paths(operation.side)
        )
        record = found.get(operation.external_id)
        if record is None or record.deleted:
            settle(session, [(operation, None)])
        else:
            plan_again(session, operation)
    else:
        _probe_update(session, operation)


def _probe_update(session: Session, operation: Operation) -> None:
    side = operation.side
    connector = session.connectors[side]
    # Rules may have been taken out since: what was sent is asked for all the same.
    paths = sorted({*session.paths(side), *(one["path"] for one in operation.fields.values())})
    record = connector.get_many(session.object_type(side), [operation.external_id], paths).get(operation.external_id)
    sent = values_of(operation)
    shown = record is not None and (record.deleted or bool(sent.keys() & record.values.keys()))
    if not shown and waits_for_hidden(session, operation, is_there=record is not None):
        return
    if record is None or record.deleted or not shown:
        _give_up(session, operation)
        return
    if all(path in record.values and record.values[path] == value for path, value in sent.items()):
        replaced = replaced_by(operation, _history(session, operation) or (), _account(session, operation))
        settle(session, [(operation, WriteResult(record, replaced=replaced))], late=True)
        return
    if _proves_absence(session, operation, record):
        plan_again(session, operation)
        return
    if not operation.fields:  # closing a twin says the same however often it is said; the plan looks first
        plan_again(session, operation)
        return
    history = _history(session, operation)
    written = None if history is None else _our_changes(session, operation, record, history)
    replaced = replaced_by(operation, history or (), _account(session, operation))
    if written:
        written_so = WriteResult(record, on_the_way=_reached(operation, written), replaced=replaced)
        settle(session, [(operation, written_so)], late=True)
    elif written is not None:
        plan_again(session, operation)
    else:
        _ask_a_person(session, operation, record, replaced)


def _proves_absence(session: Session, operation: Operation, record: Record) -> bool:
    """Whether the version is still the one the write was decided from, so that nobody wrote since.

    ⚑ A digest of the values is that one too where the write arrived and somebody put the old value back.
    """
    connector, object_type = session.connectors[operation.side], session.object_type(operation.side)
    if not connector.capabilities.exact_version or record.version != operation.expected_version:
        return False
    return not connector.capabilities_of(object_type).version_comes_back


def _reached(operation: Operation, written: Sequence[Change]) -> dict[str, object]:
    """A separate write whose step happened but did not arrive: it goes on from where our step led."""
    return {
        one["path"]: written[-1].after
        for one in operation.fields.values()
        if operation.part == one["path"] and written[-1].after != one["value"]
    }


def _account(session: Session, operation: Operation) -> str:
    return session.connection(operation.side).account_id


def _seen_at(operation: Operation) -> str:
    """The stamp of the read the operation was decided from, as the system wrote it."""
    given_up_since = operation.result.get("params", {}).get("seen_at")  # the link was looked at meanwhile
    return str(given_up_since or getattr(operation.link, f"{operation.side}_updated_at"))


def _history(session: Session, operation: Operation) -> Sequence[Change] | None:
    """Who changed the fields we sent since the read they were decided from, oldest first; None where it is not kept."""
    connector, stamp = session.connectors[operation.side], _seen_at(operation)
    if not connector.capabilities.field_history or not _account(session, operation) or not stamp:
        return None
    paths = [one["path"] for one in operation.fields.values()]
    return connector.history(session.object_type(operation.side), [operation.external_id], paths, stamp).get(
        operation.external_id
    )


def _our_changes(
    session: Session, operation: Operation, record: Record, changes: Sequence[Change]
) -> Sequence[Change] | None:
    """⚑ What the vendor's history shows of our write since the read it was decided from; None where it cannot tell.

    The account alone proves nothing: what we wrote before that read, or in its very moment, is not this write.
    """
    connector, stamp = session.connectors[operation.side], _seen_at(operation)
    sent = {one["path"]: one["value"] for one in operation.fields.values()}
    own = [change for change in changes if change.by == _account(session, operation) and change.field in sent]
    later = [change for change in own if seconds_of(change.at) > seconds_of(stamp)]
    if operation.part and later:
        return later  # we alone write this field, one step after the other
    if any(change.after == sent[change.field] for change in later):
        # ⚑ A write happens as a whole: where a field of it neither was changed by us nor says what we sent, those that
        # were are of another write, which woke up late.
        wanted = {path for path, value in sent.items() if record.values.get(path, MISSING) != value}
        return later if wanted <= {change.field for change in later} else None
    # A history without gaps that shows nothing of ours proves that it did not happen; any other proves nothing.
    return [] if connector.capabilities.complete_history and not own else None


def _give_up(session: Session, operation: Operation) -> None:
    """Nobody can read any more what became of this write.

    ⚑ Its values stay parked: should the record come back, what it says may be ours or an edit made since, and nothing
    is sent again before the system's history (see given_up.py) or a person says so. Nor is what a person had asked for:
    the question is theirs again.
    """
    with transaction.atomic():
        session.lease.renew()
        # Before its end is told as a wait for the next plan.
        if operation.fields:
            outcomes.tell([operation], Instruction.State.REFUSED)
        supersede(session, [operation], given_up.CODE, again_in=0, seen_at=_seen_at(operation))
        for rule_id, sent in operation.fields.items():
            _park_maybe_written(session, operation, rule_id, sent)
            operation.link.parked[rule_id]["operation"] = operation.pk
        save_links([operation.link], [])
        audit.append(
            [sent_entry(session, "unclear", given_up.CODE, operation, rule_id) for rule_id in operation.fields]
        )
        release(session, [operation.link])


def _park_maybe_written(
    session: Session, operation: Operation, rule_id: str, sent: dict[str, Any], message: str = ""
) -> None:
    before, rule = unsure_of(operation.link.parked.get(rule_id, {})), rule_of(session, rule_id)
    park(session, operation, rule_id, sent, "maybe_written", message)
    parked = operation.link.parked[rule_id]
    parked["params"]["value"] = sent["value"]
    if rule is not None and rule.is_set and before:
        # ⚑ What an earlier one may have brought is not forgotten: taken away since, it would be sent again.
        earlier = before.get("members", before["value"])
        if before["side"] != operation.side:
            earlier = counterpart(rule, operation.side, earlier)
        parked["members"] = list(dict.fromkeys([*(earlier or ()), *(sent["value"] or ())]))


def _ask_a_person(
    session: Session, operation: Operation, record: Record, replaced: Mapping[str, Any], message: str = ""
) -> None:
    """We may have written these values: a person decides, nothing is sent again. `message`: why nobody could look.

    Fields of `record` that say what we sent are agreed, whoever wrote them, and questions about them answered.
    ⚑ `replaced`: others' edits that lie under ours, by path; they are asked about, whatever the field says.
    """
    system = session.system(operation.side)
    with transaction.atomic():
        session.lease.renew()
        finish(operation, Operation.State.DEAD, "not_answered", system=system)
        entries, agreed = list[AuditEntry](), set[str]()
        overwritten = edits_overwritten(operation, WriteResult(record, replaced=replaced))
        for rule_id, sent in operation.fields.items():
            if record.values.get(sent["path"], MISSING) == sent["value"]:
                settle_field(session, operation, rule_id, sent, record, {}, late=True)
                entries.append(write_entry(session, operation, rule_id, sent))
                agreed.add(rule_id)
                continue
            _park_maybe_written(session, operation, rule_id, sent, message)
            told = {"value": sent["value"]}
            if rule_id in overwritten:
                told["overwritten"] = overwritten[rule_id]
                entries.append(entry_about(session, operation, rule_id, overwritten[rule_id]))
            entries.append(refusal_conflict(session, operation, rule_id, "maybe_written", message, system, params=told))
        entries += _end_questions(session, operation, agreed - overwritten.keys())
        after = Aftermath.of(session, [operation], [])
        under = {rule_id: value for rule_id, value in overwritten.items() if rule_id in agreed}
        entries += ask_about(session, operation, under, after)
        if message:
            after.again(operation.link)  # once the record is shown, what it says may answer the question
        after.carry_out()
        outcomes.tell([operation], Instruction.State.DONE, agreed)
        outcomes.tell([operation], Instruction.State.REFUSED)
        save_rows([operation], OPERATION_FIELDS)
        save_links([operation.link], [])
        audit.append(entries)
        release(session, [operation.link])


def _end_questions(session: Session, operation: Operation, agreed: Collection[str]) -> list[AuditEntry]:
    """The open questions about these rules are over; that an edit was overwritten only a person ends."""
    agreed = [rule_id for rule_id in agreed if rule_id not in operation.link.parked]
    open_states = (Conflict.State.OPEN, Conflict.State.RESOLVING)
    asked = Conflict.objects.filter(link=operation.link, rule_id__in=agreed, state__in=open_states)
    answered = [(one, asked_for(operation, one.rule_id)) for one in asked]
    ended = [(one, answer) for one, answer in answered if clobbers.may_end(one, answer)]
    entries = [end_question(session, operation.link, one, answer, over=False) for one, answer in ended]
    save_questions([one for one, _ in ended])
    return entries
