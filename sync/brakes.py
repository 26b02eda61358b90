"""Brakes: count what was decided in the last hour, and halt before the write where a limit would be passed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from sync import audit, limits
from sync.limits import Brake, Key, Released, Span
from sync.merge import OTHER
from sync.models import Allowance, ChangedRecord, Link, MappingState, Operation, Run
from sync.read import SideEmpty
from sync.rows import select
from sync.session import Session

HOUR = timedelta(hours=1)
# Records named as examples of what a brake stopped.
SAMPLES = 5


# Phase of a halted run whose lists were not read to their end yet: more may wait than is known.
STILL_READING = "read"


class Halted(Exception):
    """A brake stopped the run before the write."""


def passed(session: Session, planned: Mapping[Key, int]) -> Brake | None:
    """The first limit that `planned` ({(side, kind): number}) would pass."""
    if not planned:
        return None
    active = "SELECT COUNT(*) FROM sync_link WHERE mapping_id = %s AND state = %s"
    [(links,)] = select(active, session.mapping.pk, Link.State.ACTIVE)
    counted = _last_hour(session)
    brake = limits.check(planned, counted, {}, links, session.compiled.brakes)
    if brake is None:
        return None
    # Only where the limit is reached do releases matter: what they cover is counted from their beginning.
    left: Counter[Key] = Counter()
    for key in planned:
        counted[key], left[key] = _with_releases(session, key, counted[key])
    return limits.check(planned, counted, left, links, session.compiled.brakes)


def _ledger(session: Session, since: datetime) -> Any:
    operations = Operation.objects.filter(mapping=session.mapping, decided_at__gt=since)
    return operations.exclude(state=Operation.State.SUPERSEDED)


BY_KIND = """SELECT side, kind, clears, COUNT(*) FROM sync_operation
    WHERE mapping_id = %s AND decided_at > %s AND state <> %s GROUP BY side, kind, clears"""
SUPERSEDED = Operation.State.SUPERSEDED


def _last_hour(session: Session) -> Counter[Key]:
    counted: Counter[Key] = Counter()
    for side, kind, clears, number in select(BY_KIND, session.mapping.pk, timezone.now() - HOUR, SUPERSEDED):
        counted[(side, "delete" if clears else kind)] += number
    return counted


def _with_releases(session: Session, key: Key, counted: int) -> tuple[int, int]:
    """(operations of the last hour that no release covers, what is left of the releases) of one side and kind."""
    side, kind = key
    now = timezone.now()
    rows = Allowance.objects.filter(mapping=session.mapping, side=side, kind=kind, expires_at__gt=now - HOUR)
    released = [Released(one.number, one.created_at.timestamp(), one.expires_at.timestamp()) for one in rows]
    if not released:
        return counted, 0
    stretches = limits.bounds(released, now.timestamp())
    first = min(now - HOUR, min(one.created_at for one in rows))
    wanted: dict[str, Count] = {}
    for index, (start, end) in enumerate(stretches):
        inside = Q(decided_at__lte=_moment(end))
        if start > float("-inf"):
            inside &= Q(decided_at__gt=_moment(start))
        wanted[f"all_{index}"] = Count("pk", filter=inside)
        wanted[f"recent_{index}"] = Count("pk", filter=inside & Q(decided_at__gt=now - HOUR))
    of_kind = Q(kind="delete") | Q(clears=True) if kind == "delete" else Q(kind=kind, clears=False)
    found = _ledger(session, first).filter(of_kind, side=side).aggregate(**wanted)
    spans = [
        Span(start, end, found[f"all_{index}"], found[f"recent_{index}"])
        for index, (start, end) in enumerate(stretches)
    ]
    return limits.used(released, spans, now.timestamp())


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# Halting. --------------------------------------------------------------------------------------------------------


def halt(
    session: Session, brake: Brake, sample: Sequence[str], looked: int, needs: Collection[int], told: bool
) -> None:
    """Nothing of the plan is written; the hints stay, and a person releases or holds.

    The plan is one batch: `looked` of the hints that wait. `needs`: the writes that each of its records takes; `told`:
    it is about records that their hints say are gone.
    """
    params = {
        "side": brake.side,
        "kind": brake.kind,
        "planned": brake.planned,
        "records": len(needs),
        "least": min(needs),
        "already": brake.already,
        "limit": brake.limit,
        "room": brake.room,
        "sample": list(sample),
        "looked": looked,
        "told": told,
    }
    _halt(session, "brake", params)


def halt_empty(session: Session, empty: SideEmpty) -> None:
    """A side that suddenly lists nothing: released, it is believed, and its links are looked at one by one."""
    linked = Link.objects.filter(mapping=session.mapping, state=Link.State.ACTIVE).order_by("pk")
    params = {
        "side": OTHER[empty.side],
        "kind": "delete",
        "planned": empty.links,
        "already": 0,
        "limit": 0,
        "sample": [str(link) for link in linked[:SAMPLES]],
        "system": session.system(empty.side),
        "links": empty.links,
    }
    _halt(session, "side_empty", params)


def _halt(session: Session, code: str, params: dict[str, Any]) -> None:
    run = session.ensure_run()
    params["waiting"] = ChangedRecord.objects.filter(mapping=session.mapping).count()
    params["run"] = run.pk
    reason = {"code": code, "params": params}
    with transaction.atomic():
        session.lease.renew()
        MappingState.objects.filter(mapping=session.mapping).update(
            halt=MappingState.Halt.BRAKE, halt_reason=reason, halted_at=timezone.now()
        )
        number = session.version.number
        told = {"mapping_version": number, "run_id": run.pk, "side": params["side"], "params": params}
        audit.append([audit.entry("brake", code, mapping=session.mapping, **told)])
    session.progress(state=Run.State.HALTED, finished_at=timezone.now(), error=reason, phase="")
