"""Writes that were given up while their record could not be read: once it is shown again they are looked up after all.

⚑ The system's history may tell of somebody's edit under ours. Nobody else asks it: the next plan takes what the record
says for an edit of its own side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from sync.models import Link, Operation
from sync.read import Reading
from sync.rows import save_rows
from sync.session import Session

CODE = "gone_unanswered"


def look_up_again(session: Session, links: Sequence[Link], reading: Reading) -> list[Link]:
    """Open the given up writes of these links whose record is read again; returns the links, which wait for that.

    Raises LeaseLost.
    """
    shown = {link: pks for link in links if (pks := _shown(session, link, reading))}
    if not shown:
        return []
    with transaction.atomic():
        session.lease.renew()
        given_up = Operation.objects.filter(pk__in={pk for pks in shown.values() for pk in pks}, result__code=CODE)
        given_up = given_up.filter(state=Operation.State.SUPERSEDED)
        opened = set(given_up.values_list("pk", flat=True))
        given_up.update(state=Operation.State.UNCERTAIN, not_before=timezone.now(), finished_at=None)
        for link in shown:
            parked = {rule: _parked(one, opened) for rule, one in link.parked.items()}
            link.parked = {rule: one for rule, one in parked.items() if one}
        save_rows([*shown], ["parked"])
    return [*shown]


def _shown(session: Session, link: Link, reading: Reading) -> set[int]:
    """The given up writes of the link to a record that is read now, in a system whose history may tell of them."""
    if link.state != Link.State.ACTIVE:
        return set()
    found = set()
    for parked in link.parked.values():
        if (pk := parked.get("operation")) and session.connectors[parked["side"]].capabilities.field_history:
            record = reading.get(parked["side"], link.record_id(parked["side"]))
            if record is not None and not record.deleted:
                found.add(pk)
    return found


def _parked(parked: dict[str, Any], opened: set[int]) -> dict[str, Any]:
    """What stays parked: not what is found out now. ⚑ What an earlier write may have brought to a set stays known."""
    if parked.get("operation") in opened and "members" not in parked:
        return {}
    return {name: told for name, told in parked.items() if name != "operation"}
