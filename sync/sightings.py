"""Looks that do not find a record: the first is noted at its hint, and one that finds it begins anew."""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from connections.connectors.base import Record
from sync import hints
from sync.models import ChangedRecord, Link
from sync.read import Reading
from sync.rows import save_rows
from sync.session import SIDES, Session
from sync.state import both_ids, seconds_of

# ⚑ Where a 404 may mean hidden, the second sighting must be this much later.
SECOND_SIGHTING = timedelta(hours=1)
UNREADABLE = "This record cannot be read any more: deleted, or hidden from our account."
BESIDE_UNREADABLE = "The other record of this pair cannot be read any more; this one waits until that is certain."


def found_again(session: Session, links: Sequence[Link], reading: Reading, rung: Sequence[ChangedRecord]) -> None:
    """⚑ A record that is there was not gone: that an earlier look did not find it is no first sighting any more, and
    that it was believed gone, or told as deleted, spares no second one. A tombstone remembers, see `returned`."""
    sure = {(hint.side, hint.external_id) for hint in rung if hint.error != UNREADABLE}
    there = {side: [id for id in ids if reading.get(side, id)] for side, ids in both_ids(links).items()}
    doubted = {side: [id for id in ids if (side, id) not in sure] for side, ids in there.items()}
    hints.forget_error(session.mapping.pk, UNREADABLE, doubted)
    found = {(link.pk, side): link.record_id(side) for link in links for side in SIDES if _found(link, side, reading)}
    ids = {(side, external_id) for (_, side), external_id in found.items()}
    hints.deny_deletions([hint for hint in rung if (hint.side, hint.external_id) in ids])
    if back := [link for link in links if link.state != Link.State.DELETED and _take_back(link, found)]:
        with transaction.atomic():
            session.lease.renew()
            save_rows(back, ["deleted_left", "deleted_right"])


def _take_back(link: Link, found: Container[tuple[int, str]]) -> bool:
    """Take back that a record which is there was believed gone; whether there was such a one."""
    back = [side for side in SIDES if getattr(link, f"deleted_{side}") and (link.pk, side) in found]
    for side in back:
        setattr(link, f"deleted_{side}", False)
    return bool(back)


def _found(link: Link, side: str, reading: Reading) -> bool:
    record = reading.get(side, link.record_id(side))
    return alive(record) and not older(link, side, record)


def older(link: Link, side: str, record: Record | None) -> bool:
    """⚑ A record older than what the link has already seen decides nothing, nor that it is there."""
    seen = link.left_updated_at if side == "left" else link.right_updated_at
    if record is None or record.deleted or not seen or not record.updated_at:
        return False
    return seconds_of(record.updated_at) < seconds_of(seen)


def alive(record: Record | None) -> bool:
    """Whether a record was read and is there."""
    return record is not None and not record.deleted


def see_again(session: Session, link: Link, unsure: set[str]) -> None:
    """⚑ A first sighting is noted at the record itself; the link waits for the second one."""
    now = timezone.now()
    for side in unsure:
        hints.mark(session.mapping.pk, side, [str(link.record_id(side))], hints.Lane.VERIFY)
    failed = []
    for hint in sorted(hints.of_link(link), key=lambda hint: hint.side not in unsure):  # listed is what is not there
        error = BESIDE_UNREADABLE
        if hint.side in unsure:
            error = UNREADABLE
            first = hint.first_rung_at if hint.error == UNREADABLE else now
            again = first + SECOND_SIGHTING if first + SECOND_SIGHTING > now else now + SECOND_SIGHTING
            ChangedRecord.objects.filter(pk=hint.pk).update(first_rung_at=first)
        else:
            again = now + SECOND_SIGHTING
        failed.append(hints.Failed([hint], error, "unreadable", (again - now).total_seconds(), attempts=1))
    hints.fail_all(failed)
