"""Reading both sides: polls that mark hints, and direct reads of hinted records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import connections as databases
from django.db import transaction
from django.db.models import Max, Min, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from connections.connectors.base import Capabilities, Connector, ConnectorError, Record
from sync import hints, polling
from sync.lease import RENEW_SECONDS
from sync.merge import OTHER
from sync.models import Allowance, ChangedRecord, Conflict, Cursor, Link, MatchKey
from sync.pace import BELL_SECONDS
from sync.rows import fetch, save_changes
from sync.session import SIDES, Session
from sync.state import differs_from_bases, seconds_of

# A poll that finds more than this was no ordinary edit: the rest waits behind live edits.
LIVE_PAGE_RECORDS = 100


class SideFailed(Exception):
    """A remote call failed on one side; the run stops there and keeps its hints."""

    def __init__(self, side: str, error: ConnectorError) -> None:
        super().__init__(f"{side}: {error}")
        self.side = side
        self.error = error
        self.looked_into = False  # whether it is about a field that is gone, see schema_watch.py


@dataclass
class Reading:
    """Fresh reads of one batch. `absent`: ids the system did not return."""

    records: dict[str, dict[str, Record]] = field(default_factory=lambda: {side: {} for side in SIDES})
    absent: dict[str, set[str]] = field(default_factory=lambda: {side: set() for side in SIDES})

    def get(self, side: str, external_id: str | None) -> Record | None:
        return self.records[side].get(external_id or "")


def read_into(session: Session, reading: Reading, ids: Mapping[str, Iterable[str]]) -> None:
    """Read these records directly, both sides at once, adding to `reading`. Raises SideFailed."""
    wanted = {side: sorted(set(ids.get(side, ())) - set(reading.records[side])) for side in SIDES}
    busy = [side for side in SIDES if wanted[side]]
    if len(busy) == 2:
        # The second side in a thread of its own: half the wait for a batch that needs both.
        with ThreadPoolExecutor(1) as pool:
            later = pool.submit(_read_side_in_thread, session, "right", wanted["right"])
            found = {"left": _read_side(session, "left", wanted["left"], session.lease.renew)}
            while not wait([later], RENEW_SECONDS).done:
                session.lease.renew()
            found["right"] = later.result()
    else:
        found = {side: _read_side(session, side, wanted[side], session.lease.renew) for side in busy}
    for side, records in found.items():
        reading.records[side].update(records)
        reading.absent[side].update(set(wanted[side]) - set(records))


def _read_side_in_thread(session: Session, side: str, ids: Sequence[str]) -> dict[str, Record]:
    try:
        return _read_side(session, side, ids)
    finally:
        databases.close_all()


def _read_side(
    session: Session, side: str, ids: Sequence[str], between: Callable[[], None] = lambda: None
) -> dict[str, Record]:
    """`between`: called before every call but the first; many slow calls must not cost the lease."""
    connector = session.connectors[side]
    found: dict[str, Record] = {}
    try:
        size = session.able(side).bulk_read
        for start in range(0, len(ids), size):
            part = ids[start : start + size]
            if start:
                between()
            found.update(connector.get_many(session.object_type(side), part, session.paths(side)))
    except ConnectorError as error:
        raise SideFailed(side, error) from error
    return found


def able(session: Session, side: str) -> Capabilities:
    """What holds for the object type of `side`. Raises SideFailed."""
    try:
        return session.able(side)
    except ConnectorError as error:
        raise SideFailed(side, error) from error


def outside_scope(session: Session, side: str, records: Sequence[Record]) -> set[str]:
    """Ids of those records that the side's scope does not let in. At most one call. Raises SideFailed."""
    connector, object_type, scope = session.connectors[side], session.object_type(side), session.scope(side)
    judged = {record.external_id: connector.admits(object_type, record, scope) for record in records}
    unclear = [external_id for external_id, inside in judged.items() if inside is None]
    try:
        let_in = connector.in_scope(object_type, unclear, scope) if unclear else set()
    except ConnectorError as error:
        raise SideFailed(side, error) from error
    return {
        external_id
        for external_id, inside in judged.items()
        if inside is False or (inside is None and external_id not in let_in)
    }


def poll(session: Session, side: str, lane: int = hints.Lane.LIVE, between: Callable[[], None] = lambda: None) -> int:
    """Mark every record the list shows as changed; the cursor moves in the same transaction. Returns their number.

    `between`: called after each page, so that live edits do not wait for a long list.

    The list names ids only: the batch reads the records itself. The time filter saves work; it decides nothing.
    Raises SideFailed; its error is Expired where the system no longer knows our position.
    """
    connector = session.connectors[side]
    cursor = cursor_of(session, side)
    now = timezone.now()
    since, deep = since_of(cursor, connector, now)
    seen = 0
    untold: list[Record] = []
    try:
        for page in connector.changed_since(session.object_type(side), since, session.paths(side), session.scope(side)):
            with transaction.atomic():
                session.lease.renew()
                links = _links_of(session, side, page.records)
                fresh = _unsettled(session, side, page.records, links)
                behind = lane if seen < LIVE_PAGE_RECORDS else hints.Lane.BACKFILL
                untold += _untold(session, side, fresh, links)
                mark_changed(session.mapping.pk, side, fresh, links, behind)
                if page.last:
                    # Only a complete listing moves the cursor: an interrupted one is read again.
                    moved: dict[str, object] = {"read_at": now}
                    if page.watermark is not None:
                        moved |= {"watermark": page.watermark, **({"deep_at": now} if deep else {})}
                    save_changes(cursor, **moved)
            seen += len(page.records)
            between()
    except ConnectorError as error:
        raise SideFailed(side, error) from error
    if untold:
        session.listed_edits = True
        late = now.timestamp() + (session.connection(side).clock_offset or 0.0) - BELL_SECONDS
        if any(record.updated_at and seconds_of(record.updated_at) < late for record in untold):
            polling.note_missed(session, side)
    return seen


def cursor_of(session: Session, side: str) -> Cursor:
    """Where the side was read up to; made when it is read for the first time."""
    found = fetch(Cursor, "mapping_id = %s AND side = %s", session.mapping.pk, side)
    return found[0] if found else Cursor.objects.get_or_create(mapping=session.mapping, side=side)[0]


def _links_of(session: Session, side: str, records: Sequence[Record]) -> dict[str, Link]:
    """The links of listed records by id, with no more of them than a poll has to know."""
    if not records:
        return {}
    ids = [record.external_id for record in records]
    wanted = ("id", f"{side}_id", f"{side}_settled", f"{side}_updated_at")
    links = fetch(Link, f"mapping_id = %s AND {side}_id IN %s", session.mapping.pk, ids, only=wanted)
    return {getattr(link, f"{side}_id"): link for link in links}


def _untold(session: Session, side: str, records: Sequence[Record], links: Mapping[str, Link]) -> list[Record]:
    """Those whose linked record changed since our last read of it, and that nobody has rung for."""
    known = {external_id: getattr(link, f"{side}_updated_at") for external_id, link in links.items()}
    changed = [
        record
        for record in records
        if record.updated_at
        and (before := known.get(record.external_id))
        and seconds_of(record.updated_at) > seconds_of(before)
    ]
    if not changed:
        return []
    rung = ChangedRecord.objects.filter(
        mapping=session.mapping, side=side, external_id__in=[record.external_id for record in changed]
    )
    told = set(rung.values_list("external_id", flat=True))
    return [record for record in changed if record.external_id not in told]


def since_of(cursor: Cursor, connector: Connector, now: datetime) -> tuple[str | None, bool]:
    """Where a poll begins, inclusive, and whether it looks back far.

    Every poll re-reads a short overlap. A change may become visible late: stamped s, listed only at s + lookback.
    Once a lookback has passed, a poll re-reads twice the lookback, so it begins before s whenever it comes after
    s + lookback: nothing is missed, and the polls in between stay cheap.
    """
    if not cursor.watermark:
        return None, True
    limits = connector.capabilities
    deep = cursor.deep_at is None or now - cursor.deep_at >= timedelta(seconds=limits.lookback)
    return connector.shift_watermark(cursor.watermark, 2 * limits.lookback if deep else limits.overlap), deep


def _unsettled(session: Session, side: str, records: Sequence[Record], links: Mapping[str, Link]) -> list[Record]:
    """⚑ A record is skipped unmerged only with an exact version or a digest (never a time), and only where (version,
    mapping version) is the link's settled pair: every readable mapped field in that very read equalled its base."""
    if not _tells_changes(session, side):
        return list(records)
    settled = {external_id: getattr(link, f"{side}_settled") for external_id, link in links.items()}
    return [r for r in records if settled.get(r.external_id) != settled_mark(session, r)]


def _tells_changes(session: Session, side: str) -> bool:
    """Whether an equal version is an equal record: an exact one, or a digest; never a time."""
    able = session.connectors[side].capabilities
    return able.exact_version or not able.lists_changes


def settled_mark(session: Session, record: Record) -> str:
    return f"{record.version}|{session.version.pk}"


def settles(session: Session, link: Link, side: str, record: Record) -> bool:
    """⚑ Whether the read-back of a write settles its side as another read would: nothing stands still, and every
    mapped field was read and equals its base. So our own write coming back in a list costs no read."""
    rules = session.compiled.rules
    if link.state != Link.State.ACTIVE or session.compiled.still or not _tells_changes(session, side):
        return False
    whole = all(rule.field(side).path in record.values for rule in rules)
    return whole and not differs_from_bases(session, link, side, record)


def mark_changed(mapping_id: int, side: str, records: Sequence[Record], links: Mapping[str, Link], lane: int) -> None:
    """Hints for listed records; those that are not linked yet wait behind edits of linked ones."""
    deleted = [record.external_id for record in records if record.deleted]
    present = [record.external_id for record in records if not record.deleted]
    hints.mark(mapping_id, side, [id for id in present if id in links], lane)
    hints.mark(mapping_id, side, [id for id in present if id not in links], max(lane, hints.Lane.BACKFILL))
    # A deleted record that was neither linked nor noted for matching concerns nobody.
    hints.mark(mapping_id, side, [id for id in deleted if id in links], lane, deleted=True)
    hints.mark(mapping_id, side, noted_ids(mapping_id, side, deleted), hints.Lane.BACKFILL, deleted=True)


def noted_ids(mapping_id: int, side: str, ids: Sequence[str]) -> set[str]:
    """Those of these unlinked records that others may be matched with, or that a person is asked about."""
    if not ids:
        return set()
    rows = MatchKey.objects.filter(mapping_id=mapping_id, side=side, external_id__in=list(ids))
    asked = Conflict.objects.filter(
        mapping_id=mapping_id, subject__in=[f"{side}:{external_id}" for external_id in ids], state=Conflict.State.OPEN
    )
    subjects = {subject.removeprefix(f"{side}:") for subject in asked.values_list("subject", flat=True)}
    return set(rows.values_list("external_id", flat=True)) | subjects


# A complete listing is expensive; a deletion that no feed tells is found this late at most.
SWEEP = timedelta(hours=1)
# One that breaks off is made again this much later: what it would tell waits no hour, and not every run ends there.
SWEEP_AGAIN = timedelta(minutes=15)
# Where the lists tell of deletions a complete one finds only what was hidden while they told of it: rare, so daily.
COMPLETE = timedelta(days=1)
# Links compared with the listing at once.
SWEEP_CHUNK = 1000


def look_for_missed(session: Session, side: str, now: datetime, between: Callable[[], None]) -> None:
    """Once in a while, hint what no list tells: deletions, and records that are shown again. Raises like `sweep`."""
    cursor, limits = cursor_of(session, side), able(session, side)
    if side not in session.behind and cursor.swept_at is not None and now - cursor.swept_at < SWEEP:
        return
    listed_at = cursor.listed_at or now  # the first list of changes has told of every record
    told = limits.lists_deletions and not limits.not_found_tells_nothing
    if side in session.behind or not told or now - listed_at >= COMPLETE:
        sweep(session, side, between=between)
        return
    _note_swept(session, side, now, listed_at)
    hidden = Link.objects.filter(
        mapping=session.mapping,
        state__in=(Link.State.ACTIVE, Link.State.DELETED),
        may_return=True,
        **{f"deleted_{side}": True},
    )
    hints.mark(session.mapping.pk, side, hidden.values_list(f"{side}_id", flat=True), hints.Lane.VERIFY)


def sweep(session: Session, side: str, between: Callable[[], None] = lambda: None) -> int:
    """Hint linked records that a complete listing lacks for a direct read, since a list proves no deletion.

    So are those it has although they were believed gone, or out of the scope: edits of a hidden record ring for nobody,
    nor does what brings a record back without an edit. ⚑ Nor does a new record that was hidden while the lists told of
    it: one that nobody knows is hinted where it would be copied. What was seen is one bit a link, so that memory stays
    flat. Returns how many were hinted. Raises SideFailed, SideEmpty.
    """
    connector, column, now = session.connectors[side], f"{side}_id", timezone.now()
    links = Link.objects.filter(mapping=session.mapping, created_at__lt=now).filter(
        Q(state=Link.State.ACTIVE)
        | Q(state=Link.State.DELETED, **{f"deleted_{side}": True})
        | Q(state=Link.State.CREATING, out_of_scope=side)
    )
    ends = links.aggregate(first=Coalesce(Min("pk"), 0), last=Coalesce(Max("pk"), -1))
    unlisted = _asked_about(session, side)
    copied = session.compiled.side(OTHER[side]).create
    if ends["last"] < 0 and not unlisted and not (copied and cursor_of(session, side).swept_at):
        # Nothing to compare; where records are copied, the first list of changes has told of all of them.
        _note_swept(session, side, now, now)
        return 0
    _note_swept(session, side, now - SWEEP + SWEEP_AGAIN)  # ⚑ it counts as made once its last link was compared
    links = links.filter(pk__gte=ends["first"], pk__lte=ends["last"])  # others may become active meanwhile
    seen = bytearray((ends["last"] - ends["first"]) // 8 + 1)
    listed = doubtful = 0
    try:
        for page in connector.list_ids(session.object_type(side), session.scope(side)):
            listed += len(page)
            unlisted.difference_update(page)
            for start in range(0, len(page), SWEEP_CHUNK):
                chunk = page[start : start + SWEEP_CHUNK]
                for pk in links.filter(**{f"{column}__in": chunk}).values_list("pk", flat=True):
                    seen[(pk - ends["first"]) // 8] |= 1 << (pk - ends["first"]) % 8
                unknown = _unknown(session, side, chunk) if copied else []
                hints.mark(session.mapping.pk, side, unknown, hints.Lane.BACKFILL)
                doubtful += len(unknown)
            session.lease.renew()
            between()
    except ConnectorError as error:
        raise SideFailed(side, error) from error
    # Records that are known to be gone or out of the scope are not missed a second time.
    if not listed and (expected := missed_if_none(session, side)):
        _note_swept(session, side, None)  # a release looks again at once
        raise SideEmpty(side, expected)
    hints.mark(session.mapping.pk, side, unlisted, hints.Lane.VERIFY)
    doubtful, after = doubtful + len(unlisted), ends["first"] - 1
    rows_of = links.order_by("pk").values_list("pk", column, f"deleted_{side}", "out_of_scope", "state")
    while rows := list(rows_of.filter(pk__gt=after)[:SWEEP_CHUNK]):
        after = rows[-1][0]
        doubted = [
            external_id
            for pk, external_id, gone, outside, state in rows
            if (
                gone or outside == side
                if seen[(pk - ends["first"]) // 8] & 1 << (pk - ends["first"]) % 8
                else state == Link.State.ACTIVE
            )
        ]
        hints.mark(session.mapping.pk, side, doubted, hints.Lane.VERIFY)
        doubtful += len(doubted)
        between()
    _note_swept(session, side, now, now)
    return doubtful


def _unknown(session: Session, side: str, ids: Sequence[str]) -> list[str]:
    """Those of these records that are neither linked nor noted, nor asked about, nor to be looked at."""
    links = Link.objects.filter(mapping=session.mapping, **{f"{side}_id__in": ids})
    rung = ChangedRecord.objects.filter(mapping=session.mapping, side=side, external_id__in=ids)
    known = {*links.values_list(f"{side}_id", flat=True), *rung.values_list("external_id", flat=True)}
    known |= noted_ids(session.mapping.pk, side, ids)
    return [external_id for external_id in ids if external_id not in known]


def _note_swept(session: Session, side: str, when: datetime | None, listed_at: datetime | None = None) -> None:
    """`listed_at`: of the last complete listing, where it is another one now."""
    moved = {"swept_at": when, **({"listed_at": listed_at} if listed_at else {})}
    Cursor.objects.filter(mapping=session.mapping, side=side).update(**moved)


def _asked_about(session: Session, side: str) -> set[str]:
    """Unlinked records of which a person is asked, and that are gone where they are not found. Others that were noted
    are read again before anything is matched with them; ⚑ one that may be hidden would not ring when it is shown again.
    """
    if not able(session, side).not_found_means_gone:
        return set()
    asked = Conflict.objects.filter(mapping=session.mapping, link=None, state=Conflict.State.OPEN)
    subjects = asked.filter(subject__startswith=f"{side}:").values_list("subject", flat=True)
    return {subject.removeprefix(f"{side}:") for subject in subjects}


def missed_if_none(session: Session, side: str) -> int:
    """How many linked records a listing that shows none would lack; 0 where a person said that it is true."""
    said = Allowance.objects.filter(
        mapping=session.mapping, side=OTHER[side], kind="delete", of_empty_side=True, expires_at__gt=timezone.now()
    )
    there = Link.objects.filter(mapping=session.mapping, state=Link.State.ACTIVE, out_of_scope="")
    return 0 if said.exists() else there.filter(**{f"deleted_{side}": False}).count()


class SideEmpty(Exception):
    """One side suddenly lists nothing: a brake, never a wave of deletions."""

    def __init__(self, side: str, links: int) -> None:
        super().__init__(f"{side} lists nothing while {links} records are linked")
        self.side = side
        self.links = links
