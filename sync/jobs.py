"""RQ entry points, and the one place that enqueues. Jobs get primary keys, may run twice, and may be lost:
the database is the ledger, the queues are only the doorbell."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import django_rq
from django.db import transaction
from django.utils import timezone
from redis.exceptions import RedisError

from connections.connectors.base import Hint
from mappings.models import Mapping
from sync import audit, hints
from sync.echo import ECHO_SECONDS, proves_echo, told_by
from sync.models import Link, MappingState, Operation, Run
from sync.read import noted_ids
from sync.rows import fetch
from sync.session import SIDES
from sync.standing import reads_everything

log = logging.getLogger("sync")

# While a ring waits in the queue another one adds nothing. Shorter than the sweep, so a lost job costs no more.
RING_SECONDS = 3
# First runs, comparisons after a restore and complete listings read everything in one job, a million records too: they
# keep no place to go on from. Another worker takes over what died as soon as its lease ends; this only ends what hangs.
LONGEST_RUN_SECONDS = 24 * 3600
# The first edit of a record goes at once; further ones within this time of our last look are looked at together.
COLLECT = timedelta(seconds=1)


def wake(mapping_id: int, queue: str = "live", after: float = 0.0) -> None:
    """Ask for a run of a mapping once the current transaction is committed, or `after` seconds later.

    A ring that waits lives in this process alone. Where that ends, the scheduler rings within a second of its time.
    """

    ring = partial(enqueue, queue, "sync.jobs.run_mapping", mapping_id, queue)
    transaction.on_commit(ring if after <= 0 else lambda: _ring_later(mapping_id, after, ring))


_later: set[int] = set()  # mappings that are rung in a moment; another ring until then adds nothing


def _ring_later(mapping_id: int, after: float, ring: Callable[[], None]) -> None:
    if mapping_id in _later:
        return
    _later.add(mapping_id)

    def now() -> None:
        _later.discard(mapping_id)
        ring()

    timer = threading.Timer(after, now)
    timer.daemon = True
    timer.start()


def enqueue(queue: str, function: str, *args: Any) -> None:
    """Ring. A queue that cannot be reached loses nothing: the sweep rings again."""
    try:
        target = django_rq.get_queue(queue)
        mark = f"rung:{function}:{':'.join(map(str, args))}"
        if target.connection.set(mark, 1, nx=True, ex=RING_SECONDS):
            longest = LONGEST_RUN_SECONDS if function == "sync.jobs.run_mapping" else None
            target.enqueue_call(function, args=args, timeout=longest, result_ttl=0, failure_ttl=86400)
    except (RedisError, OSError) as problem:
        log.warning("the queue %s cannot be reached: %s", queue, problem)


def _heard(function: str, *args: Any) -> None:
    """From here on a new ring is news again."""
    with contextlib.suppress(RedisError, OSError):
        django_rq.get_queue("live").connection.delete(f"rung:{function}:{':'.join(map(str, args))}")


def run_mapping(mapping_id: int, queue: str = "live") -> str:
    """Run a mapping; ⚑ after the lease is released look for hints once more and ring again."""
    from sync import engine

    _heard("sync.jobs.run_mapping", mapping_id, queue)
    if queue == "live" and reads_everything(MappingState.objects.filter(mapping=mapping_id).first()):
        wake(mapping_id, "bulk")  # nobody's live edits wait behind it, and it may take as long as it needs
        return "handed on"
    kind = Run.Kind.LIVE if queue == "live" else Run.Kind.POLL
    outcome = engine.run(mapping_id, kind=kind, lane="live" if queue == "live" else "backfill")
    if outcome.state in ("done", "lost") and hints.any_due(mapping_id):
        wake(mapping_id, queue)
    seal()
    return outcome.state


def verify_soon(verification_id: int) -> None:
    """Ask for a worker for a verification once the current transaction is committed."""
    transaction.on_commit(lambda: enqueue("housekeeping", "sync.jobs.carry_on_verification", verification_id))


def carry_on_verification(verification_id: int) -> str:
    """A slice of a verification, in the queue that nothing else waits behind."""
    from sync import verify

    _heard("sync.jobs.carry_on_verification", verification_id)
    return verify.work(verification_id)


def seal() -> None:
    """Let the sequencer number and seal what was audited."""
    audit.seal()


# All that a bell needs to know of those whose record rang.
OF_A_MAPPING = (
    "id",
    "state",
    "left_connection_id",
    "left_object_type",
    "right_connection_id",
    "right_object_type",
)
OF_A_LINK = ("id", "left_id", "right_id", "left_version", "right_version", "left_read_at", "right_read_at")


def bell(connection_id: int, rung: Sequence[Hint]) -> None:
    """A connection rang: mark its records in every mapping that has them, unless the ledger proves an echo.

    ⚑ Paused mappings too: their hints wait, in order, until somebody or the clock resumes them.
    """
    theirs = "(left_connection_id = %s OR right_connection_id = %s) AND published_id IS NOT NULL AND state <> %s"
    for mapping in fetch(
        Mapping, f"{theirs} ORDER BY name", connection_id, connection_id, Mapping.State.DRAFT, only=OF_A_MAPPING
    ):
        waits: list[float] = []
        for side in SIDES:
            if getattr(mapping, f"{side}_connection_id") != connection_id:
                continue
            mine = [hint for hint in rung if hint.object_type == mapping.object_type(side)]
            if any(hint.external_id == "*" for hint in mine):
                _poll_now(mapping)
                waits.append(0.0)
            waits += _mark(mapping, side, [hint for hint in mine if hint.external_id != "*"])
        if waits and mapping.state == Mapping.State.ACTIVE:
            wake(mapping.pk, after=min(waits))


def _poll_now(mapping: Mapping) -> None:
    from sync.models import MappingState

    MappingState.objects.filter(mapping=mapping).update(next_poll_at=None)


def _mark(mapping: Mapping, side: str, rung: Sequence[Hint]) -> list[float]:
    """Mark hints of one side, those of a kind together. Returns in how many seconds each kind may be looked at.

    A record that we looked at within the last second waits until that second is over, and a ring in between does not
    make it wait longer: nothing waits more than `COLLECT`, however often it is edited.
    """
    if not rung:
        return []
    ids = [hint.external_id for hint in rung]
    theirs = fetch(Link, f"mapping_id = %s AND {side}_id IN %s", mapping.pk, ids, only=OF_A_LINK)
    links = {link.record_id(side): link for link in theirs}
    own = {hint.external_id for hint in rung if told_by(hint)}
    written = _last_written(side, [link.pk for external_id, link in links.items() if external_id in own])
    noted = noted_ids(
        mapping.pk, side, [hint.external_id for hint in rung if hint.deleted and hint.external_id not in links]
    )
    now = timezone.now()
    kinds: dict[tuple[int, bool, bool], dict[str, Any]] = {}
    until = now  # when the second is over for those that wait: they go together
    for hint in rung:
        link = links.get(hint.external_id)
        if link is None and hint.deleted and hint.external_id not in noted:
            continue  # it concerns nobody
        if link is not None and _echo(link, side, hint, written):
            continue
        lane = hints.Lane.LIVE if link is not None else hints.Lane.BACKFILL
        read_at: datetime | None = getattr(link, f"{side}_read_at", None)
        collected = read_at is not None and now < read_at + COLLECT
        if collected and read_at is not None:
            until = max(until, min(read_at, now) + COLLECT)
        told = kinds.setdefault((lane, hint.deleted and hint.verified, collected), {})
        # Told of twice, it takes a look: only a ring that came alone can be proved an echo.
        told[hint.external_id] = None if hint.external_id in told else told_by(hint)
    for (kind, deleted, collected), told in kinds.items():
        hints.mark(mapping.pk, side, told, kind, deleted=deleted, proofs=told, not_before=until if collected else None)
    return [(until - now).total_seconds() if collected else 0.0 for _, _, collected in kinds]


def _last_written(side: str, links: Sequence[int]) -> dict[int, Operation]:
    """{link: our last write to its record on this side that can still come back}, in one statement."""
    if not links:
        return {}
    since = timezone.now() - timedelta(seconds=ECHO_SECONDS)
    confirmed = "link_id IN %s AND side = %s AND state = %s AND finished_at > %s ORDER BY finished_at"
    found = fetch(Operation, confirmed, links, side, Operation.State.CONFIRMED, since)
    return {operation.link_id: operation for operation in found}


def _echo(link: Link, side: str, hint: Hint, written: dict[int, Operation]) -> bool:
    """Whether the ledger proves that the hint is our own write coming back."""
    told, last = told_by(hint), written.get(link.pk)
    return (
        told is not None
        and last is not None
        and proves_echo(
            told,
            created=last.kind == Operation.Kind.CREATE,
            sent=last.read_back(),
            version=getattr(link, f"{side}_version"),
        )
    )
