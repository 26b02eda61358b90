"""Take stored deliveries in: mark the records they name, in batches. What webhooks.py leaves until after the answer.

Deliveries of a connection are rung for in one go, in the transaction that says what became of each: a crash leaves them
waiting. Any number of processes may do this; rows under somebody else's hands are passed by.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from django.db import DatabaseError, OperationalError, close_old_connections, transaction
from django.db import connections as databases
from django.db.models import Value
from django.db.models.functions import Coalesce

from connections import doorbell, hooks, inbox
from connections.connectors.base import Hint
from connections.models import Connection, Delivery

log = logging.getLogger("connections.take_in")
Outcome = Delivery.Outcome

# Of one connection at once: some 25 ms of work, during which SQLite takes no other write.
BATCH = 200
LOOK_SECONDS = 1.0  # how often we look although nobody rang
# The first delivery is taken in at once; what comes in this time after it is taken in together.
COLLECT_SECONDS = 0.05


def take_in() -> int:
    """Ring for everything that waits. Returns the number of deliveries taken in."""
    while inbox.move() >= inbox.MOVED_AT_ONCE:
        pass
    waiting = Delivery.objects.filter(outcome=Outcome.WAITING).order_by()
    total = 0
    for connection_id in list(waiting.values_list("connection", flat=True).distinct()):
        again = True
        while again:
            number, again = _take(connection_id)
            total += number
    return total


def serve(stop: Callable[[], bool]) -> None:
    """Take in until `stop()`: at each ring, and every second in any case."""
    try:
        with doorbell.ears() as wait:
            while not stop():
                try:
                    close_old_connections()
                    take_in()
                except DatabaseError as error:
                    log.warning("Deliveries cannot be taken in: %s. They wait; the next try comes by itself.", error)
                time.sleep(COLLECT_SECONDS)
                wait(LOOK_SECONDS)
    finally:
        databases.close_all()


def _take(connection_id: int) -> tuple[int, bool]:
    """(how many were taken in, whether more may wait)"""
    try:
        number = _take_rows(connection_id, BATCH)
        return number, number == BATCH
    except OperationalError:
        raise  # the database is away or locked: nothing is wrong with the deliveries
    except Exception:
        log.exception("Deliveries of connection %s could not be taken in together.", connection_id)
    # One by one, so that the others do not wait for the one that cannot be.
    try:
        number = _take_rows(connection_id, 1)
        return number, number == 1
    except OperationalError:
        raise
    except Exception as error:
        reason = f"It could not be taken in ({type(error).__name__}). Polls find what it told of."
        first = Delivery.objects.filter(connection=connection_id, outcome=Outcome.WAITING).order_by("pk")[:1]
        failed = Delivery.objects.filter(pk__in=list(first.values_list("pk", flat=True)))
        return 0, bool(failed.update(outcome=Outcome.FAILED, reason=reason, told=None))


def _take_rows(connection_id: int, number: int) -> int:
    with transaction.atomic():
        waiting = Delivery.objects.select_for_update(skip_locked=True).filter(
            connection=connection_id, outcome=Outcome.WAITING
        )
        rows = list(waiting.order_by("pk")[:number])
        if not rows:
            return 0
        hints = [hint for row in rows for hint in hints_of(row)]
        if hints:
            hooks.ring(connection_id, hints)
        synced = set(hooks.object_types(connection_id))
        became: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            became[outcome_of(row, synced)].append(row.pk)
        for outcome, pks in became.items():
            Delivery.objects.filter(pk__in=pks).update(outcome=outcome, told=None)
        seen = rows[-1].received_at
        Connection.objects.filter(pk=connection_id).update(
            bell_seen_at=seen, bell_first_at=Coalesce("bell_first_at", Value(rows[0].received_at))
        )
    return len(rows)


def outcome_of(row: Delivery, synced: set[str]) -> str:
    """What became of a delivery that was rung for. `synced`: the object types that mappings have."""
    named = {hint["object_type"] for hint in row.hints}
    if not named:
        return Outcome.NO_RECORD
    if not synced:
        return Outcome.NO_MAPPING
    if not named & synced:
        return Outcome.OTHER_TYPE
    return Outcome.ACCEPTED if row.verified else Outcome.HINT


def hints_of(row: Delivery) -> list[Hint]:
    """⚑ Only a verified delivery can prove anything: whatever its hints say of themselves."""
    told: Sequence[dict[str, Any]] = row.told or [
        {name: hint.get(name) for name in ("object_type", "external_id", "deleted")} for hint in row.hints
    ]
    return [Hint(**{**one, "verified": row.verified}) for one in told]
