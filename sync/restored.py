"""A database that went back in time, or that is a copy, writes nothing before everything was compared and approved.

Noticed by the number that is kept outside of it (epoch.py), or declared by `manage.py restored`. Every mapping that
writes is halted: its open operations are probed, all its pairs are read and compared (after_restore.py), and a person
sees in numbers what would be written.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from mappings.models import Mapping as SyncMapping
from sync import audit, first_run, hints, outside
from sync.epoch import MOVED, RESTORED, SAME, Inside, after, judge
from sync.models import Allowance, Epoch, MappingState

# How often the number moves: a backup younger than this is not told from the state before the restore.
EPOCH_SECONDS = 60
CODES: Mapping[str, str] = {RESTORED: "restored_from_backup", MOVED: "restored_elsewhere"}


def look_outside() -> str:
    """Compare the database with what is noted outside of it; halts everything where it went back or moved.

    Returns the verdict. Costs one query and one file; asked before every run, since a worker may be up before anybody
    else after a restore.
    """
    if not outside.enabled():
        return SAME
    row = Epoch.objects.first() or Epoch.objects.get_or_create(only=True)[0]
    notes = outside.read()
    verdict = judge(_inside(row), notes, outside.here())
    if verdict == SAME:
        if not row.place:
            Epoch.objects.filter(pk=row.pk, place={}).update(place=outside.here())
    else:
        verdict = _went_back(notes)
        row.refresh_from_db()
    outside.remember(str(row.database), row.number, notes)
    return verdict


def move_on() -> str:
    """Look, then count on if a minute has passed; for every scheduler, of which the first one counts."""
    verdict = look_outside()
    if outside.enabled():
        now = timezone.now()
        early = now - timedelta(seconds=EPOCH_SECONDS - 1)
        Epoch.objects.filter(moved_at__lt=early).update(number=F("number") + 1, moved_at=now)
        row = Epoch.objects.get()
        outside.remember(str(row.database), row.number, outside.read())
    return verdict


def _inside(row: Epoch) -> Inside:
    live = row.number == 0 and _live().exists()
    return Inside(str(row.database), row.number, row.place, live)


def _live() -> Any:
    """States of the mappings that write."""
    return MappingState.objects.filter(approved_at__isnull=False)


def _went_back(notes: Mapping[str, int]) -> str:
    """Judge once more under the row's lock, halt, and go on from a number beyond every note: it is told once."""
    with transaction.atomic():
        row = Epoch.objects.select_for_update().get()
        verdict = judge(_inside(row), notes, outside.here())
        if verdict == SAME:
            return SAME  # another process was first
        told = {"was": _words(row.place), "here": _words(outside.here())}
        row.number, row.place, row.moved_at = after(_inside(row), notes), outside.here(), timezone.now()
        row.save(update_fields=["number", "place", "moved_at"])
        halt_all(CODES[verdict], told)
    return verdict


def accept_place() -> None:
    """A person says that this is the one installation, at a new place: nothing is compared for that."""
    row = Epoch.objects.first() or Epoch.objects.get_or_create(only=True)[0]
    told = {"was": _words(row.place), "here": _words(outside.here())}
    with transaction.atomic():
        Epoch.objects.filter(pk=row.pk).update(place=outside.here())
        audit.write("restored", "place_accepted", params=told)


def halt_all(code: str, params: Mapping[str, Any], by: str = "") -> list[SyncMapping]:
    """Halt every mapping that writes until it was compared and approved; returns them. Raises nothing.

    ⚑ A run under way loses its lease with it. A first run that nobody had approved is made again: its lists are as
    old as the backup, and what it matched may have been approved and written since. Those come first: one that is
    approved in this moment is halted with the others.
    """
    reason = {"code": code, "params": dict(params)}
    now = timezone.now()
    with transaction.atomic():
        for mapping in SyncMapping.objects.filter(run_state__approved_at__isnull=True):
            MappingState.objects.filter(mapping=mapping).update(fence=F("fence") + 1, lease_until=None, holder="")
            first_run.forget(mapping, "preview_too_old")
        halted = list(SyncMapping.objects.filter(run_state__in=_live()))
        for mapping in halted:
            hints.lock(mapping.pk)
        _live().update(
            halt=MappingState.Halt.RESTORED,
            halt_reason=reason,
            halted_at=now,
            compared_at=None,
            fence=F("fence") + 1,
            lease_until=None,
            holder="",
        )
        # What was released before the backup was released for a plan that is no more.
        Allowance.objects.filter(expires_at__gt=now).update(expires_at=now)
        kind = "person" if by else "system"
        audit.write(
            "restored", code, actor=by, actor_kind=kind, params={**params, "mappings": [one.name for one in halted]}
        )
    return halted


def _words(place: Mapping[str, str]) -> str:
    return ", ".join(value for value in place.values() if value) or "unknown"
