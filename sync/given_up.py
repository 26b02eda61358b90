"""Writes that were given up while their record could not be read: once it is shown again they are looked up after all.

⚑ The system's history may tell of somebody's edit under ours. Nobody else asks it: the next plan takes what the record
says for an edit of its own side, unless it is what we sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from connections.connectors.base import Record
from sync import outcomes
from sync.models import Link, Operation
from sync.read import Reading
from sync.rows import save_rows
from sync.session import Session

CODE = "gone_unanswered"


def look_up_again(session: Session, links: Sequence[Link], reading: Reading) -> list[Link]:
    """Open the given up writes of these links whose record is read again; returns the links, which wait for that.

    Raises LeaseLost.
    """
    waiting = {pk: link for link in links if link.state == Link.State.ACTIVE for pk in of(link)}
    if not waiting:
        return []
    given_up = Operation.objects.filter(pk__in=[*waiting], result__code=CODE, state=Operation.State.SUPERSEDED)
    found = [
        one for one in given_up if _tells(session, one, reading.get(one.side, waiting[one.pk].record_id(one.side)))
    ]
    if not found:
        return []
    told = {one.pk for one in found}
    shown = [*{waiting[pk].pk: waiting[pk] for pk in sorted(told)}.values()]
    with transaction.atomic():
        session.lease.renew()
        given_up.filter(pk__in=told).update(
            state=Operation.State.UNCERTAIN, not_before=timezone.now(), finished_at=None
        )
        for one in found:
            outcomes.apply_again(one)
        for link in shown:
            parked = {rule: _parked(one, told) for rule, one in link.parked.items()}
            link.parked = {rule: one for rule, one in parked.items() if one}
        save_rows(shown, ["parked"])
    return shown


def of(link: Link) -> set[int]:
    """The writes that were given up and that the link still remembers."""
    return {parked["operation"] for parked in link.parked.values() if parked.get("operation")}


def _tells(session: Session, operation: Operation, record: Record | None) -> bool:
    """Whether the record shows again what was sent, in a system whose history may tell what became of the write."""
    if record is None or record.deleted or not any(f["path"] in record.values for f in operation.fields.values()):
        return False
    return session.connectors[operation.side].capabilities.field_history


def _parked(parked: dict[str, Any], opened: set[int]) -> dict[str, Any]:
    """What stays parked: not what is found out now. ⚑ What an earlier write may have brought to a set stays known."""
    if parked.get("operation") not in opened:
        return parked
    if "members" not in parked:
        return {}
    return {name: told for name, told in parked.items() if name != "operation"}
