"""Pause and resume of a mapping, by a person or by the clock. What both sides change meanwhile is kept as hints."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from connections import hooks
from connections.pauses import NOT_PAUSED, paused_values
from mappings.models import Mapping

State = Mapping.State


def pause_mapping(mapping: Mapping, reason: str, until: datetime | None, user: Any) -> bool:
    """Pause it; True unless it does not run anyway. Writes that were sent already finish."""
    told = {"reason": reason, **({"until": until.isoformat()} if until else {})}
    with transaction.atomic():
        running = Mapping.objects.filter(pk=mapping.pk, state=State.ACTIVE, published__isnull=False)
        changed = running.update(state=State.PAUSED, **paused_values(reason, until, user.get_username()))
        if changed:
            code = "mapping_paused_until" if until else "mapping_paused_for"
            hooks.audit("config", code, user=user, mapping=mapping, params=told)
    return bool(changed)


def resume_mapping(mapping: Mapping, user: Any = None) -> bool:
    """End the pause, by a person or (without one) by the clock, and ask for a run."""
    with transaction.atomic():
        paused = Mapping.objects.filter(pk=mapping.pk, state=State.PAUSED, published__isnull=False)
        if user is None:
            paused = paused.filter(paused_until__lte=timezone.now())
        changed = paused.update(state=State.ACTIVE, **NOT_PAUSED)
        if changed:
            code = "mapping_resumed" if user is not None else "mapping_resumed_by_clock"
            hooks.audit("config", code, user=user, mapping=mapping)
            hooks.wake(mapping.pk)
    return bool(changed)


def due_mappings(now: datetime) -> list[Mapping]:
    """Mappings whose pause the clock ends."""
    return list(Mapping.objects.filter(state=State.PAUSED, paused_until__lte=now))
