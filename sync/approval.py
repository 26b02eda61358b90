"""What people let through: the first run, a brake's release, records held back."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from mappings.models import Mapping
from sync import audit, hints, jobs, turns, waiting
from sync.matching import forget_keys
from sync.merge import OTHER
from sync.models import Allowance, ChangedRecord, Conflict, Link, MappingState, MatchKey, Run
from sync.session import SIDES
from sync.standing import outdated

ALLOWANCE_TIME = timedelta(hours=1)
# The first run's numbers were shown and approved; edits made meanwhile may add to them.
FIRST_RUN_SLACK = 1.2


class NotWaiting(Exception):
    """There is nothing to approve or release."""


class CannotHold(Exception):
    """Holding would not do what it says; the brake stays."""


def _name(user: Any) -> str:
    return user.get_username() if hasattr(user, "get_username") else str(user)


def approve(mapping: Mapping, user: Any) -> None:
    """Approve the first run: writes begin. Raises NotWaiting if none waits, or it shows another version's numbers."""
    with transaction.atomic():
        waiting = MappingState.objects.select_for_update().filter(
            mapping=mapping, halt=MappingState.Halt.APPROVAL, approved_at__isnull=True
        )
        state = waiting.first()
        if state is None:
            raise NotWaiting(f"No first run of {mapping} waits for approval.")
        if outdated(state):
            raise NotWaiting(f"{mapping} was published anew since: its first run is made again and waits then.")
        now = timezone.now()
        MappingState.objects.filter(pk=state.pk).update(
            halt="", halt_reason={}, halted_at=None, approved_at=now, approved_by=_name(user)
        )
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
        turns.begin(mapping)
        jobs.wake(mapping.pk, queue="bulk")


def approve_restored(mapping: Mapping, reason: str, user: Any) -> None:
    """Let a mapping write again after a restore was compared.

    Raises NotWaiting if none waits, or it shows another version's numbers. Nothing is allowed beyond the brakes: what
    the comparison showed is written up to their limits, then they halt.
    """
    with transaction.atomic():
        waiting = MappingState.objects.select_for_update().filter(
            mapping=mapping, halt=MappingState.Halt.RESTORED, compared_at__isnull=False
        )
        state = waiting.first()
        if state is None:
            raise NotWaiting(f"No comparison of {mapping} waits for approval.")
        if outdated(state):
            raise NotWaiting(f"{mapping} was published anew since: it is compared again and waits then.")
        MappingState.objects.filter(pk=state.pk).update(
            halt="", halt_reason={}, halted_at=None, compared_at=None, next_poll_at=None
        )
        runs = Run.objects.filter(mapping=mapping, kind=Run.Kind.RESTORED, state=Run.State.APPROVAL)
        run = runs.order_by("-pk").first()
        runs.update(state=Run.State.DONE)
        audit.write(
            "approve",
            "restore_approved",
            actor=_name(user),
            actor_kind="person",
            mapping=mapping,
            run_id=run.pk if run else None,
            params={"reason": reason, **({"numbers": totals(run.preview)} if run else {})},
        )
        turns.begin(mapping)
        jobs.wake(mapping.pk, queue="bulk")


def totals(preview: dict[str, Any]) -> dict[str, int]:
    """What a comparison after a restore found, in numbers."""
    rows = preview.get("differences", [])
    return {
        "write": sum(row["write_left"] + row["write_right"] for row in rows),
        "create": sum(preview.get("create", {}).values()),
        "delete": sum(preview.get("delete", {}).values()),
        "review": sum(row["review"] for row in rows),
    }


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
    """Allow `number` more of what the brake stopped, for one hour, and let a run begin now. Raises NotWaiting."""
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
            of_empty_side=side_is_empty(state),
        )
        _end_halt(state)
        audit.write(
            "release",
            "allowance",
            actor=_name(user),
            actor_kind="person",
            mapping=mapping,
            params={"number": number, "kind": params["kind"], "side": params["side"], "reason": reason},
        )
        turns.begin(mapping)  # else the hour may pass before the next turn of the schedule
        jobs.wake(mapping.pk, queue="bulk")
    return allowance


def list_again(mapping: Mapping, user: Any) -> None:
    """Have a side that came back empty listed once more, with nothing allowed. Raises NotWaiting."""
    with transaction.atomic():
        state = MappingState.objects.select_for_update().get(mapping=mapping)
        if state.halt != MappingState.Halt.BRAKE or not side_is_empty(state):
            raise NotWaiting(f"No side of {mapping} waits to be listed again.")
        told = {"system": state.halt_reason["params"]["system"], "by": _name(user)}
        _end_halt(state)
        audit.write("start", "list_again", actor=_name(user), actor_kind="person", mapping=mapping, params=told)
        turns.begin(mapping)
        jobs.wake(mapping.pk, queue="bulk")


def side_is_empty(state: MappingState) -> bool:
    """Whether the brake is about a side that suddenly lists nothing, not about a number of writes."""
    return bool(state.halt_reason.get("code") == "side_empty")


def _end_halt(state: MappingState) -> None:
    MappingState.objects.filter(pk=state.pk).update(halt="", halt_reason={}, halted_at=None)


def hold(mapping: Mapping, reason: str, user: Any) -> int:
    """Take the records that the brake is about out of the run: held, listed, re-includable. Returns their number.

    Creates: the new records that wait for a twin. Anything else: the linked records whose changes wait, see waiting.py.
    Raises NotWaiting; CannotHold where there is none, and for an empty side, where to hold every record would be to
    halt under another name.
    """
    with transaction.atomic():
        state = MappingState.objects.select_for_update().get(mapping=mapping)
        if state.halt != MappingState.Halt.BRAKE:
            raise NotWaiting(f"{mapping} is not halted by a brake.")
        params = state.halt_reason["params"]
        if side_is_empty(state):
            raise CannotHold(f"{params['system']} lists no records, so there are none to take out one by one.")
        told: dict[str, Any] = {"actor": _name(user), "actor_kind": "person", "mapping": mapping}
        told["request_id"] = str(uuid.uuid4())
        why, number = {"reason": reason}, 0
        for part in _hold_each(mapping, params):
            number += len(part)
            audit.append(
                [
                    audit.entry("hold", "taken_out", **told, link_id=one.pk, object_label=str(one), params=why)
                    for one in part
                ]
            )
        if not number:
            raise CannotHold("None of the records that wait can be taken out.")
        _end_halt(state)
        audit.write("hold", "held", **told, params={**why, "number": number})
        jobs.wake(mapping.pk)
    return number


# Links saved at once.
HOLD_CHUNK = 1000


def _hold_each(mapping: Mapping, params: dict[str, Any]) -> Iterator[list[Link]]:
    """Hold what the brake is about; yields the links."""
    if params["kind"] == "create":
        side = OTHER[params["side"]]
        yield from _hold_links(waiting.tried(mapping, side))
        yield from _hold_new(mapping, side)
    else:
        yield from _hold_links(waiting.links(mapping, params))


def _hold_links(links: QuerySet[Link]) -> Iterator[list[Link]]:
    links = links.defer("left_bases", "right_bases", "parked").order_by("pk")
    after = 0
    while part := list(links.filter(pk__gt=after)[:HOLD_CHUNK]):
        after = part[-1].pk
        Link.objects.filter(pk__in=[one.pk for one in part]).update(state=Link.State.HELD)
        yield part


def _hold_new(mapping: Mapping, side: str) -> Iterator[list[Link]]:
    """Hold the records of `side` that no link knows: a link with one record, that nobody matches or copies."""
    column = f"{side}_id"
    after = 0
    while rows := list(waiting.new(mapping, side).filter(pk__gt=after)[:HOLD_CHUNK]):
        after = rows[-1].pk
        # What a person is asked about is theirs: nothing is made of it before they answer.
        subjects = [f"{side}:{row.external_id}" for row in rows]
        open_ones = Conflict.objects.filter(mapping=mapping, subject__in=subjects, state=Conflict.State.OPEN)
        asked = set(open_ones.values_list("subject", flat=True))
        ids = [row.external_id for row in rows if f"{side}:{row.external_id}" not in asked]
        noted = MatchKey.objects.filter(mapping=mapping, side=side, external_id__in=ids).exclude(label="")
        labels = dict(noted.values_list("external_id", "label"))
        forget_keys(mapping.pk, side, ids)
        held = Link.objects.bulk_create(
            [
                Link(mapping=mapping, state=Link.State.HELD, **{column: one, f"{side}_key": labels.get(one, "")})
                for one in ids
            ]
        )
        ChangedRecord.objects.filter(mapping=mapping, side=side, external_id__in=ids).delete()
        yield held


def include(link: Link, user: Any) -> None:
    """Sync a held record again; one that was new when it was held is new again, and its link is no more."""
    with transaction.atomic():
        hints.lock(link.mapping_id)
        held = Link.objects.filter(pk=link.pk, state=Link.State.HELD)
        if link.left_id and link.right_id:
            changed = held.update(state=Link.State.ACTIVE)
        elif link.operations.exists():  # it goes on waiting for its twin
            changed = held.update(state=Link.State.CREATING)
        else:
            # ⚑ It is met as any new record: it may have a twin by now, or be one that we made.
            changed = held.delete()[0]
        if not changed:
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
