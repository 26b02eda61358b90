"""Which unlinked record over there could be the same thing: match keys, noted locally and asked for remotely."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from connections.connectors.base import ConnectorError, Record
from connections.open import cached_fields
from sync import hints, schema_watch
from sync.creates_under_way import WAITS_FOR_A_PERSON
from sync.identities import key_of
from sync.match_keys import digests, may_fit, unread_ways, ways
from sync.merge import OTHER
from sync.models import ChangedRecord, Conflict, Link, MatchKey
from sync.plan_unlinked import BY_KEY, TWIN_UNREAD, UNSURE, Candidate
from sync.read import Reading, SideFailed, outside_scope, read_into
from sync.session import SIDES, Session


@dataclass(eq=False)
class Unlinked:
    """One record without a twin, with the hint that named it."""

    side: str
    record: Record
    hint: ChangedRecord | None = None

    @property
    def subject(self) -> str:
        return f"{self.side}:{self.record.external_id}"


@dataclass
class Fits:
    """What could be the twin of one record."""

    candidates: Sequence[Candidate] = ()
    rivals: int = 0  # other unlinked records of its own side that fit the same candidates
    bound: bool = False  # a record that fits is linked already
    unread: str = ""  # why nobody can tell whether another one fits, as Hold.code


@dataclass
class Unread:
    """⚑ What records hide of their match keys: one that may fit is never taken for something else."""

    ways: dict[tuple[str, str], frozenset[int]] = field(default_factory=dict)  # by side and id
    unsure: set[str] = field(default_factory=set)  # the sides where nobody knows yet why

    def look_into(self, session: Session, reading: Reading) -> None:
        """Raises LeaseLost."""
        paths = {side: set().union(*ways(session.compiled, side)) for side in SIDES}
        self.unsure |= schema_watch.noticed(session, reading, paths).keys()
        for side in SIDES:
            self.add(session, side, reading.records[side].values())

    def add(self, session: Session, side: str, records: Iterable[Record]) -> None:
        for record in records:
            self.ways[(side, record.external_id)] = unread_ways(session.compiled, side, record)

    def hides(self, side: str, external_id: str, alternative: int) -> bool:
        return alternative in self.ways.get((side, external_id), ())

    def why(self, side: str) -> str:
        return UNSURE if side in self.unsure else TWIN_UNREAD


def same_thing(session: Session, link: Link, left: Record, right: Record) -> bool | None:
    """Whether two records that were linked once still are the same thing: by our key or by their match keys. None
    where one of them hides what would tell."""
    if link.identity and link.identity.key in (left.correlation_key, right.correlation_key):
        return True
    mapping = session.compiled
    ours, theirs = digests(mapping, "left", left), digests(mapping, "right", right)
    if not mapping.match_keys or any(theirs.get(number) == digest for number, digest in ours.items()):
        return True
    hidden = unread_ways(mapping, "left", left) | unread_ways(mapping, "right", right)
    return None if hidden else False


# What is noted. --------------------------------------------------------------------------------------------------


def note_match_keys(session: Session, side: str, records: Sequence[Record]) -> None:
    """Remember the match keys of unlinked records, so that the other side's records can find them.

    ⚑ While a match field is gone, or a record hides its own, what was noted before stays: a key that is not shown is
    not empty.
    """
    if not records or session.compiled.matching_waits:
        return
    rows = [
        MatchKey(
            mapping=session.mapping,
            side=side,
            external_id=record.external_id,
            alternative=alternative,
            digest=digest,
            label=(record.key or record.external_id)[:200],
        )
        for record in records
        for alternative, digest in {**digests(session.compiled, side, record), **_carried(record)}.items()
    ]
    unread = {record.external_id: unread_ways(session.compiled, side, record) for record in records}
    says = {(row.external_id, row.alternative, row.digest) for row in rows}
    with transaction.atomic():
        before = [row for row in _of(session, side, list(unread)) if row.alternative not in unread[row.external_id]]
        MatchKey.objects.filter(pk__in=[row.pk for row in before]).delete()
        MatchKey.objects.bulk_create(rows, ignore_conflicts=True)
        given_up = [row.digest for row in before if (row.external_id, row.alternative, row.digest) not in says]
        _ring_asked(session.mapping.pk, given_up)


def _carried(record: Record) -> dict[int, str]:
    return {BY_KEY: record.correlation_key} if record.correlation_key else {}


def forget(session: Session, side: str, ids: Sequence[str]) -> None:
    """These records cannot be matched any more; questions that they were part of are looked at again."""
    if ids:
        forget_keys(session.mapping.pk, side, ids)
        close_subjects(session, [f"{side}:{external_id}" for external_id in ids])


def forget_keys(mapping_id: int, side: str, ids: Sequence[str]) -> None:
    """⚑ These records fit nobody any more: others that are asked about and fitted the same are looked at again, since
    nothing else would tell them."""
    gone = MatchKey.objects.filter(mapping=mapping_id, side=side, external_id__in=list(ids))
    digests_gone = list(gone.values_list("digest", flat=True))
    gone.delete()
    _ring_asked(mapping_id, digests_gone)


def _ring_asked(mapping_id: int, digests_gone: Sequence[str]) -> None:
    """Some records say this no more: those that still do, and that a person is asked about, are looked at again."""
    wanted = [digest for digest in digests_gone if digest not in SIDES]  # see noting.UNSEEN
    if not wanted:
        return
    left = MatchKey.objects.filter(mapping=mapping_id, digest__in=wanted).values_list("side", "external_id")
    open_questions = list(
        Conflict.objects.filter(
            mapping=mapping_id, state="open", subject__in=[f"{one}:{external_id}" for one, external_id in left]
        )
        .order_by("pk")
        .values_list("subject", flat=True)
    )
    for one in SIDES:
        asked = [subject.removeprefix(f"{one}:") for subject in open_questions if subject.startswith(f"{one}:")]
        hints.mark(mapping_id, one, asked, hints.Lane.BACKFILL)


def close_subjects(session: Session, subjects: Iterable[str]) -> None:
    """The questions about these records ("left:10042") answered themselves."""
    Conflict.objects.filter(
        mapping=session.mapping, subject__in=list(subjects), state__in=("open", "resolving")
    ).update(state=Conflict.State.CLOSED, closed_at=timezone.now(), closed_code="moved")


def _of(session: Session, side: str, ids: Sequence[str]) -> Any:
    return MatchKey.objects.filter(mapping=session.mapping, side=side, external_id__in=list(ids))


# What fits. ------------------------------------------------------------------------------------------------------


def noted(session: Session, records: Sequence[Unlinked]) -> Mapping[int, Fits]:
    """For each record, by `id()`: what could be its twin, as far as it was noted earlier. Reads the database only."""
    wanted = _wanted(session, records)
    rows = _rows(session, wanted)
    return {id(one): _noted(one, wanted[id(one)], rows, Unread()) for one in records}


def look_up(session: Session, records: Sequence[Unlinked]) -> Mapping[int, Fits]:
    """⚑ For each record, by `id()`: what could be its twin, in the database and in the other system itself.

    What was noted earlier is read afresh. Raises SideFailed, LeaseLost.
    """
    wanted = _wanted(session, records)
    rows = _rows(session, wanted)
    unread = Unread()
    if _correct(session, records, rows, unread):
        rows = _rows(session, wanted)
    for one in records:
        unread.add(session, one.side, [one.record])
    found = {id(one): _noted(one, wanted[id(one)], rows, unread) for one in records}
    lonely = [
        one
        for one in records
        if not (found[id(one)].candidates or found[id(one)].unread) and session.compiled.side(OTHER[one.side]).create
    ]
    if session.compiled.matching_waits:
        return found  # nothing is made now, and a field that is gone cannot be asked by
    _ask_over_there(session, lonely, wanted, rows, found, unread)
    return found


def _wanted(session: Session, records: Sequence[Unlinked]) -> dict[int, dict[int, str]]:
    """{id of each: {way to match: digest}}; a record that carries no key would have given its own to a twin."""
    return {id(one): {**digests(session.compiled, one.side, one.record), BY_KEY: _key(session, one)} for one in records}


def _key(session: Session, one: Unlinked) -> str:
    carried = one.record.correlation_key
    return carried or key_of(session.connection(one.side), session.object_type(one.side), one.record.external_id)


Rows = dict[tuple[str, int, str], list[MatchKey]]


def _rows(session: Session, wanted: Mapping[int, Mapping[int, str]]) -> Rows:
    every = {digest for mine in wanted.values() for digest in mine.values()}
    rows: Rows = {}
    for row in MatchKey.objects.filter(mapping=session.mapping, digest__in=every):
        rows.setdefault((row.side, row.alternative, row.digest), []).append(row)
    return rows


def _correct(session: Session, records: Sequence[Unlinked], rows: Rows, unread: Unread) -> bool:
    """Read what was noted earlier once more: it may be gone, outside, linked, or say something else by now."""
    fresh = {(one.side, one.record.external_id) for one in records}
    noted = {(row.side, row.external_id) for group in rows.values() for row in group} - fresh
    if not noted:
        return False
    ids = {side: [external_id for one, external_id in noted if one == side] for side in SIDES}
    reading = Reading()
    read_into(session, reading, ids)
    unread.look_into(session, reading)
    for side in SIDES:
        there = [record for record in reading.records[side].values() if not record.deleted]
        outside = outside_scope(session, side, there)
        linked = _linked(session, side, ids[side])
        good = [r for r in there if r.external_id not in outside and r.external_id not in linked]
        kept = {record.external_id for record in good}
        note_match_keys(session, side, good)
        forget(session, side, [external_id for external_id in ids[side] if external_id not in kept])
    return True


def _linked(session: Session, side: str, ids: Iterable[str]) -> set[str]:
    """Those of these records that cannot be linked. ⚑ One whose twin is still to be made can: somebody may have made
    it by hand. But not while a person is asked whether, or which, record is that twin."""
    column = f"{side}_id"
    links = Link.objects.filter(Q(**{f"{column}__in": list(ids)}), mapping=session.mapping)
    return {
        external_id
        for external_id, state, parked in links.values_list(column, "state", "parked")
        if state != Link.State.CREATING or parked.get("", {}).get("code") in WAITS_FOR_A_PERSON
    }


def _noted(one: Unlinked, mine: Mapping[int, str], rows: Rows, unread: Unread) -> Fits:
    for alternative, digest in sorted(mine.items(), key=lambda way: (way[0] != BY_KEY, way[0])):
        fit = rows.get((OTHER[one.side], alternative, digest), [])
        if fit:  # a stronger key that fits outweighs all weaker ones
            rivals = _rivals(one, alternative, digest, rows)
            hiding = [row for row in [*fit, *rivals] if unread.hides(row.side, row.external_id, alternative)]
            if hiding:  # what they said when they were noted may be true no more
                return Fits(unread=unread.why(hiding[0].side))
            return Fits([Candidate(row.external_id, alternative, row.label) for row in fit], len(rivals))
    return Fits()


def _rivals(one: Unlinked, alternative: int, digest: str, rows: Rows) -> list[MatchKey]:
    same = rows.get((one.side, alternative, digest), [])
    return [row for row in same if row.external_id != one.record.external_id]


def _ask_over_there(
    session: Session,
    records: Sequence[Unlinked],
    wanted: Mapping[int, Mapping[int, str]],
    rows: Rows,
    found: dict[int, Fits],
    unread: Unread,
) -> None:
    """Ask the other system itself: it may know a record that no list has shown us yet. One call per match key; where
    what is found hides that field, one per record, so that only those wait that it may fit."""
    for side in SIDES:
        target, index = OTHER[side], 0 if side == "left" else 1
        these = [one for one in records if one.side == side]
        if not these:
            continue
        try:
            searchable = _searchable(session, target)
            for number, pairs in enumerate(session.compiled.match_keys):
                # By any of its parts: all of them are compared with what is found.
                asked_by = next((pair for pair in pairs if searchable.get(pair[1 - index])), pairs[0])
                own, theirs = asked_by[index], asked_by[1 - index]
                asking = [one for one in these if number in wanted[id(one)]]
                if session.compiled.matching_waits:
                    return
                if any(pair[1 - index] not in searchable for pair in pairs):
                    for one in asking:
                        if not found[id(one)].candidates:
                            found[id(one)].unread = UNSURE
                elif searchable[theirs] and asking:
                    for those, there in _found_by(session, number, target, own, theirs, asking, unread):
                        _compare(session, those, number, target, there, wanted, rows, found, unread)
        except ConnectorError as error:
            raise SideFailed(target, error) from error


def _searchable(session: Session, target: str) -> dict[str, bool]:
    """{field over there: whether records can be asked for by it}. Raises ConnectorError."""
    fields = cached_fields(session.connection(target), session.object_type(target), session.scope(target))
    found = {spec.path: spec.matchable for spec in fields}
    if all(path in found for way in ways(session.compiled, target) for path in way):
        return found
    # ⚑ What a list from a while ago lacks may be hidden no more.
    return {spec.path: spec.matchable for spec in schema_watch.fields_now(session, target)} | found


def _found_by(
    session: Session, number: int, target: str, own: str, theirs: str, asking: Sequence[Unlinked], unread: Unread
) -> Iterator[tuple[Sequence[Unlinked], Sequence[Record]]]:
    """Some of those that ask, and the records over there that hold what they say. Raises ConnectorError, LeaseLost."""
    there = _find(session, target, own, theirs, asking, unread)
    hidden = any(unread.hides(target, record.external_id, number) for record in there)
    known = target not in unread.unsure and not session.compiled.matching_waits
    if not hidden or not known or len(asking) == 1:
        yield asking, there
        return
    for one in asking:
        session.lease.renew()
        yield [one], _find(session, target, own, theirs, [one], unread)


def _find(
    session: Session, target: str, own: str, theirs: str, asking: Sequence[Unlinked], unread: Unread
) -> Sequence[Record]:
    """The records over there whose field `theirs` holds what these say in `own`. Raises ConnectorError, LeaseLost."""
    connector, object_type, scope = session.connectors[target], session.object_type(target), session.scope(target)
    values = [one.record.values[own] for one in asking]
    found = connector.find_by_values(object_type, theirs, values, session.paths(target), scope)
    reading = Reading()
    reading.records[target] = {record.external_id: record for record in found}
    unread.look_into(session, reading)
    return list(reading.records[target].values())


def _compare(
    session: Session,
    these: Sequence[Unlinked],
    number: int,
    target: str,
    there: Sequence[Record],
    wanted: Mapping[int, Mapping[int, str]],
    rows: Rows,
    found: dict[int, Fits],
    unread: Unread,
) -> None:
    linked = _linked(session, target, [record.external_id for record in there])
    note_match_keys(session, target, [record for record in there if record.external_id not in linked])
    for one in these:
        mine, fits = wanted[id(one)].get(number), found[id(one)]
        if mine is None or fits.unread or (fits.candidates and fits.candidates[0].alternative != number):
            continue
        for record in there:
            hidden = unread.hides(target, record.external_id, number) and record.external_id not in linked
            if hidden and may_fit(session.compiled, number, one.side, one.record, record):
                fits.unread = unread.why(target)
            if digests(session.compiled, target, record).get(number) != mine:
                continue
            if record.external_id in linked:
                fits.bound = True
            else:
                fits.candidates = [
                    *fits.candidates,
                    Candidate(record.external_id, number, record.key or record.external_id),
                ]
                fits.rivals = len(_rivals(one, number, mine, rows))
