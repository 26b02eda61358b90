"""An unanswered create: what it made is found by the id that its answer named, by its key, or by our account.

⚑ Nothing is made again before a look-up could have found it. Whatever fits and is not certainly ours, a person decides.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from connections.connectors.base import Record
from connections.models import Connection
from sync import audit
from sync.commit import save_links
from sync.creates_under_way import CLOCK_SLACK_SECONDS, made_before
from sync.earlier_creates import as_found
from sync.models import Operation
from sync.probes import plan_again, waits_for_hidden
from sync.rows import save_rows
from sync.session import Session
from sync.setbacks import OPERATION_FIELDS, create_unclear
from sync.settle import settle


def probe_create(session: Session, operation: Operation) -> None:
    if operation.external_id:
        _take_what_was_made(session, operation)
        return
    side = operation.side
    connector = session.connectors[side]
    object_type, paths, scope = session.object_type(side), session.paths(side), session.scope(side)
    key = operation.correlation_key
    found = list(connector.find_by_correlation_key(object_type, [key], paths, scope).get(key, ()))
    alive = [record for record in found if not record.deleted]
    if len(alive) == 1 and _is_older(session, operation, alive[0]):
        _create_unclear(session, operation, "key_twice", [alive[0].key or alive[0].external_id])
        return
    if len(alive) == 1:
        settle(session, [(operation, as_found(session, operation, alive[0]))], late=True)
        return
    if len(alive) > 1:
        _create_unclear(session, operation, "key_twice", [record.key or record.external_id for record in alive])
        return
    capabilities = connector.capabilities_of(object_type)
    if capabilities.create_lookup_consistent:
        plan_again(session, operation)
        return
    settled = _sent_at(operation) + timedelta(seconds=capabilities.settle_seconds)
    if timezone.now() < settled:
        Operation.objects.filter(pk=operation.pk).update(state=Operation.State.UNCERTAIN, not_before=settled)
        return
    own = connector.own_recent(object_type, earliest(operation, session.connection(side)), paths, scope)
    mine = [record for record in own if record.correlation_key == key]
    if len(mine) == 1:
        settle(session, [(operation, as_found(session, operation, mine[0]))], late=True)
    elif any(record.correlation_key is None and looks_like(operation, record) for record in own):
        _create_unclear(session, operation, "created_or_not", [])
    else:
        plan_again(session, operation)


def _take_what_was_made(session: Session, operation: Operation) -> None:
    """⚑ A create whose answer named its record, and told no more that could be understood: the pair is bound by the id.

    What the record says is read now. One that is gone by now is gone from its pair, and is not made again.
    """
    side, made = operation.side, operation.external_id
    connector = session.connectors[side]
    record = connector.get_many(session.object_type(side), [made], session.paths(side)).get(made)
    if record is None and waits_for_hidden(session, operation, is_there=False):
        return
    if record is None or record.deleted:
        record = Record(made, version="", values={})
    settle(session, [(operation, as_found(session, operation, record))], late=True)


def _is_older(session: Session, operation: Operation, record: Record) -> bool:
    """⚑ Whether the record was there before the key was made: then somebody copied the key."""
    identity = operation.link.identity
    return identity is not None and made_before(session, operation.side, record, identity.created_at)


def earliest(operation: Operation, connection: Connection) -> str:
    """When the create may have made its record at the earliest, by the system's clock, ISO 8601."""
    slack = timedelta(seconds=(connection.clock_offset or 0.0) - CLOCK_SLACK_SECONDS)
    return (_sent_at(operation) + slack).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _sent_at(operation: Operation) -> datetime:
    return operation.claimed_at or operation.decided_at


def looks_like(operation: Operation, record: Record) -> bool:
    """Whether the record says one of the texts that the create sent."""
    return any(
        isinstance(sent["value"], str) and sent["value"] and record.values.get(sent["path"]) == sent["value"]
        for sent in operation.fields.values()
    )


def create_not_looked_up(session: Session, operation: Operation, message: str) -> None:
    """`message`: why what became of it cannot be looked up."""
    named = f"{operation.external_id}: " if operation.external_id else ""
    _create_unclear(session, operation, "created_or_not", [], named + message)


def _create_unclear(session: Session, operation: Operation, code: str, keys: list[str], message: str = "") -> None:
    with transaction.atomic():
        session.lease.renew()
        entries = create_unclear(session, operation, code, keys, message=message)
        save_rows([operation], OPERATION_FIELDS)
        save_links([operation.link], [])
        audit.append(entries)
