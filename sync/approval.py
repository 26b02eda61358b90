"""What people let through: the first run, a brake's release, records held back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from mappings.models import Mapping
from sync import audit, hints, jobs
from sync.models import Allowance, ChangedRecord, Link, MappingState, Run
from sync.session import SIDES

ALLOWANCE_TIME = timedelta(hours=1)
# The first run's numbers were shown and approved; edits made meanwhile may add to them.
FIRST_RUN_SLACK = 1.2


class NotWaiting(Exception):
    """There is nothing to approve or release."""


def _name(user: Any) -> str:
    return user.get_username() if hasattr(user, "get_username") else str(user)


def approve(mapping: Mapping, user: Any) -> None:
    """Approve the first run: writes begin. Raises NotWaiting if none waits."""
    with transaction.atomic():
        waiting = MappingState.objects.filter(
            mapping=mapping, halt=MappingState.Halt.APPROVAL, approved_at__isnull=True
        )
        now = timezone.now()
        if not waiting.update(halt="", halt_reason={}, halted_at=None, approved_at=now, approved_by=_name(user)):
            raise NotWaiting(f"No first run of {mapping} waits for approval.")
        run = Run.objects.filter(mapping=mapping, kind=Run.Kind.FIRST, state=Run.State.APPROVAL).first()
        preview = run.preview if run else {}
        _allow_first_run(mapping, preview, user)
        if run:
            run.state = Run.State.DONE
            run.save(update_fields=["state"])
        audit.write(
            "approve",
            "first_run_approved",
            actor=_name(user),
            actor_kind="person",
            mapping=mapping,
            run_id=run.pk if run else None,
            params={key: preview.get(key) for key in ("matched", "create", "ambiguous")},
        )
        jobs.wake(mapping.pk, queue="bulk")


def _allow_first_run(mapping: Mapping, preview: dict[str, Any], user: Any) -> None:
    expires = timezone.now() + timedelta(hours=24)  # a large first run takes longer than an hour
    updates = {
        side: sum(row[f"write_{side}"] for row in preview.get("differences", []))
        + preview.get("create", {}).get(side, 0)
        + preview.get("create", {}).get("left" if side == "right" else "right", 0)
        for side in SIDES
    }
    for side in SIDES:
        numbers = {"create": preview.get("create", {}).get(side, 0), "update": updates[side]}
        for kind, number in numbers.items():
            if number:
                Allowance.objects.create(
                    mapping=mapping,
                    side=side,
                    kind=kind,
                    number=int(number * FIRST_RUN_SLACK) + 1,
                    reason="first run approved",
                    by_name=_name(user),
                    expires_at=expires,
                )


def release(mapping: Mapping, number: int, reason: str, user: Any) -> Allowance:
    """Allow `number` more of what the brake stopped, for one hour. Raises NotWaiting."""
    with transaction.atomic():
        state = MappingState.objects.select_for_update().get(mapping=mapping)
        if state.halt != MappingState.Halt.BRAKE:
            raise NotWaiting(f"{mapping} is not halted by a brake.")
        params = state.halt_reason["params"]
        allowance = Allowance.objects.create(
            mapping=mapping,
            side=params["side"],
            kind=params["kind"],
            number=number,
            reason=reason,
            by_name=_name(user),
            expires_at=timezone.now() + ALLOWANCE_TIME,
        )
        MappingState.objects.filter(pk=state.pk).update(halt="", halt_reason={}, halted_at=None)
        audit.write(
            "release",
            "allowance",
            actor=_name(user),
            actor_kind="person",
            mapping=mapping,
            params={"number": number, "kind": params["kind"], "side": params["side"], "reason": reason},
        )
        jobs.wake(mapping.pk, queue="bulk")
    return allowance


def hold(mapping: Mapping, reason: str, user: Any) -> int:
    """Take the records whose changes wait out of the run: held, listed, re-includable. Returns their number."""
    with transaction.atomic():
        state = MappingState.objects.select_for_update().get(mapping=mapping)
        if state.halt != MappingState.Halt.BRAKE:
            raise NotWaiting(f"{mapping} is not halted by a brake.")
        number = 0
        for side in SIDES:
            ids = ChangedRecord.objects.filter(mapping=mapping, side=side).values("external_id")
            number += Link.objects.filter(
                **{"mapping": mapping, f"{side}_id__in": ids, "state": Link.State.ACTIVE}
            ).update(state=Link.State.HELD)
        MappingState.objects.filter(pk=state.pk).update(halt="", halt_reason={}, halted_at=None)
        audit.write(
            "hold",
            "held",
            actor=_name(user),
            actor_kind="person",
            mapping=mapping,
            params={"number": number, "reason": reason},
        )
        jobs.wake(mapping.pk)
    return number


def include(link: Link, user: Any) -> None:
    """Sync a held record again."""
    with transaction.atomic():
        if not Link.objects.filter(pk=link.pk, state=Link.State.HELD).update(state=Link.State.ACTIVE):
            raise NotWaiting(f"{link} is not held.")
        for side in SIDES:
            hints.mark(link.mapping_id, side, [one for one in [link.record_id(side)] if one])
        audit.write(
            "include",
            "included",
            actor=_name(user),
            actor_kind="person",
            mapping=link.mapping,
            link_id=link.pk,
            object_label=str(link),
        )
        jobs.wake(link.mapping_id)
