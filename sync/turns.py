"""Turns of mappings that do not run live: when one begins, whether one goes on, and when it has done its work.

Between its turns nothing of such a mapping is read or written; hints wait in their order. A turn goes on until nothing
that was there when it began is left to do, however many runs that takes, and until what it wrote is known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from mappings import schedules
from mappings.models import Mapping as SyncMapping
from sync.models import ChangedRecord, MappingState, Operation
from sync.probes import LOOKS_AT_LEAST

# A hint that comes due within this belongs to what goes on: further edits of a record, or one that was planned again.
SOON = timedelta(seconds=2)
# A turn ends after this long although new edits keep coming: they are for the next one.
LONGEST = timedelta(minutes=30)
# Nor does a write hold it that was sent this long ago and is not about to be given up: its system cannot be asked now,
# and the next turn looks again.
LOOKED_UP_WITHIN = timedelta(hours=2)


def off_schedule(schedule: Mapping[str, Any] | None, state: MappingState, now: datetime) -> bool:
    """Whether a mapping waits for its schedule. `schedule`: of its published version."""
    if not schedule:
        return False
    if state.turn_at is not None:
        return False
    return schedules.takes_turns(schedule) or schedules.shut(schedule, now, settings.TIME_ZONE)


def begin_due() -> None:
    """Begin the turns whose time has come, and note when those of a new schedule do. Each by a conditional UPDATE.

    What was noted of a schedule is forgotten with it: the same one in force again begins no turn of a time in between.
    """
    now, zone = timezone.now(), settings.TIME_ZONE
    rows = SyncMapping.objects.filter(state=SyncMapping.State.ACTIVE, published__document__schedule__kind__isnull=False)
    columns = ("pk", "published__document__schedule")
    found = {pk: schedule for pk, schedule in rows.values_list(*columns) if schedules.takes_turns(schedule)}
    out_of_force = MappingState.objects.filter(mapping__state=SyncMapping.State.ACTIVE).exclude(turn_rule="")
    if over := list(out_of_force.exclude(mapping__in=found).values_list("pk", flat=True)):
        MappingState.objects.filter(pk__in=over).update(turn_rule="", next_turn_at=None)
    for state in MappingState.objects.filter(mapping__in=found):
        schedule = found[state.mapping_id]
        rule = json.dumps([schedule, zone], sort_keys=True)[:200]
        same = MappingState.objects.filter(pk=state.pk, turn_rule=state.turn_rule, next_turn_at=state.next_turn_at)
        if state.turn_rule != rule:
            same.update(turn_rule=rule, next_turn_at=schedules.first_turn(schedule, now, zone))
        elif state.next_turn_at is not None and state.next_turn_at <= now:
            same.update(next_turn_at=schedules.next_turn(schedule, now, zone), turn_at=now, next_poll_at=None)


def begin(mapping: SyncMapping) -> None:
    """A person asks for a run now: it reads both lists; where the mapping does not run live, a turn begins.

    One that goes on begins anew, so that the run under way does not end it before the lists were read once more.
    """
    schedule = mapping.published.document.get("schedule") if mapping.published is not None else None
    turn = {"turn_at": timezone.now()} if schedule else {}
    MappingState.objects.filter(mapping=mapping).update(next_poll_at=None, **turn)


def end(state: MappingState) -> None:
    """End the turn if it has done its work; called when a run found nothing more to do."""
    if state.turn_at is None:
        return
    now = timezone.now()
    waiting = ChangedRecord.objects.filter(mapping=state.mapping_id, attempts=0, not_before__lte=now + SOON)
    under_way = Operation.objects.filter(mapping=state.mapping_id, state__in=Operation.OPEN)
    if now - state.turn_at > LONGEST:
        waiting = waiting.filter(first_rung_at__lte=state.turn_at)
        sent_lately = Q(claimed_at__gt=now - LOOKED_UP_WITHIN)
        about_to_be_told = Q(result__looks__lt=LOOKS_AT_LEAST)
        under_way = under_way.filter(Q(state=Operation.State.PLANNED) | sent_lately | about_to_be_told)
    if waiting.exists() or under_way.exists():
        return
    MappingState.objects.filter(pk=state.pk, turn_at=state.turn_at).update(turn_at=None)


def scheduled() -> Any:
    """The schedule of a mapping's published version, as an annotation of mappings."""
    return F("published__document__schedule")
