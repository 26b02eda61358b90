"""A version with another scope, or other match keys: what it lets in is listed and noted before anything is matched.

⚑ Matching sees all that could be the same thing, or it binds the wrong one, and copies what is there. After a version
that matches by other fields nothing is noted as that one needs it; after one with another scope what came in is not
noted at all, and no list of changes will ever tell of it. So both are done as a first run does it: everything is listed
(ids only, linked pairs are not read), and nobody is bound or copied until the last new record was looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from connections.connectors.base import ConnectorError
from sync import hints
from sync.models import ChangedRecord, Cursor, Link, MappingState, MatchKey
from sync.read import SideEmpty, SideFailed, cursor_of, missed_if_none
from sync.session import SIDES, Session

# In the place of a match key: the record was listed, and is to be noted. No digest of another row equals its own.
UNSEEN = 31_999
# Listed records marked with one commit.
CHUNK = 1000
# What is noted already waits this long for the rest: less, and reading it again and again would take the rest's turn.
WAIT_SECONDS = 60.0


def begin(session: Session, state: MappingState, sides: Collection[str]) -> None:
    """From here on nothing is matched before these sides were listed, which the poll of this run does."""
    for side in sides:
        Cursor.objects.filter(pk=cursor_of(session, side).pk).update(to_note=True)
    if sides:
        state.next_poll_at = None
        MappingState.objects.filter(pk=state.pk).update(next_poll_at=None)


def list_side(session: Session, side: str, between: Callable[[], None]) -> None:
    """Mark all records of the side that no link knows, where a version asks for it. Raises SideFailed, SideEmpty.

    One that breaks off is made again by the next poll; ⚑ so is one that shows nothing while records are linked.
    """
    if not cursor_of(session, side).to_note:
        return
    connector, listed = session.connectors[side], 0
    try:
        for page in connector.list_ids(session.object_type(side), session.scope(side)):
            listed += len(page)
            for start in range(0, len(page), CHUNK):
                with transaction.atomic():
                    session.lease.renew()
                    _mark(session, side, page[start : start + CHUNK])
            between()
    except ConnectorError as error:
        raise SideFailed(side, error) from error
    if not listed and (missed := missed_if_none(session, side)):
        raise SideEmpty(side, missed)
    session.lease.renew()
    Cursor.objects.filter(mapping=session.mapping, side=side).update(to_note=False)


def _mark(session: Session, side: str, ids: Sequence[str]) -> None:
    column = f"{side}_id"
    links = Link.objects.filter(**{f"{column}__in": ids}, mapping=session.mapping)
    linked = set(links.values_list(column, flat=True))
    new = [external_id for external_id in ids if external_id not in linked]
    MatchKey.objects.bulk_create(
        [MatchKey(mapping=session.mapping, side=side, external_id=one, alternative=UNSEEN, digest=side) for one in new],
        ignore_conflicts=True,
    )
    # Also what waits for something else: all others wait for it.
    hints.try_again(session.mapping.pk, side, new, hints.Lane.BACKFILL)


def wait(noted: Sequence[ChangedRecord]) -> None:
    """⚑ Keep these hints behind those of what is still to be noted: in a better lane they would take its turn."""
    hints.postpone(noted, WAIT_SECONDS, hints.Lane.BACKFILL)


def seen(session: Session, side: str, ids: Collection[str]) -> None:
    """These were looked at, and noted where they may be matched. While a match field is gone nothing is noted."""
    if ids and not session.all_noted and not session.compiled.matching_waits:
        MatchKey.objects.filter(
            mapping=session.mapping, side=side, alternative=UNSEEN, external_id__in=list(ids)
        ).delete()


def to_be_noted(mapping_id: int) -> bool:
    """Whether a side of the mapping is still to be listed, or something that was listed to be looked at."""
    return _to_list(mapping_id) or _unseen(mapping_id).exists()


def _to_list(mapping_id: int) -> bool:
    return Cursor.objects.filter(mapping=mapping_id, to_note=True).exists()


def _unseen(mapping_id: int) -> QuerySet[MatchKey]:
    """All of them, found by digest: there is an index on that."""
    return MatchKey.objects.filter(mapping=mapping_id, digest__in=SIDES, alternative=UNSEEN)


def under_way(session: Session) -> bool:
    """Whether matching has to wait: a side is still to be listed, or a record that was listed to be looked at.

    ⚑ One that fails and fails blocks only itself: it is as unknown as any new record that cannot be read. One that was
    linked since, such as what an open create of ours made, is nobody's twin.
    """
    if session.all_noted:
        return False
    if _to_list(session.mapping.pk):
        return True
    unseen = _unseen(session.mapping.pk)
    if unseen.exists():
        if unseen.filter(_looked_at_soon(session)).exclude(_linked(session)).exists():
            return True
        unseen.delete()
    session.all_noted = True
    return False


def _looked_at_soon(session: Session) -> Q:
    waits = ChangedRecord.objects.filter(
        mapping=session.mapping,
        side=OuterRef("side"),
        external_id=OuterRef("external_id"),
        attempts__lt=hints.LISTED_AFTER,
    )
    return Q(Exists(waits))


def _linked(session: Session) -> Q:
    linked = Q()
    for side in SIDES:
        links = Link.objects.filter(**{f"{side}_id": OuterRef("external_id")}, mapping=session.mapping)
        linked |= Q(side=side) & Q(Exists(links))
    return linked
