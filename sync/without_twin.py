"""Links whose twin is still to be made, since an earlier create was refused or had not happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from connections.connectors.base import Record
from sync import noting
from sync.creates_under_way import WAITS_FOR_A_PERSON
from sync.identities import known_twins
from sync.matching import Fits, Unlinked, look_up, note_match_keys
from sync.merge import OTHER
from sync.models import Link
from sync.plan_unlinked import GONE, Bind, Hold, MakeTwin, Wonder
from sync.session import SIDES, Session
from sync.unlinked import Decision, decision_about


def twins_of_links(session: Session, links: Iterable[tuple[Link, str, Record]]) -> dict[int, Decision]:
    """What to do about links whose earlier create was refused or had not happened: {link's primary key: decision}.

    `links`: (link, side of its record, that record). ⚑ Time has passed: the thing may have been found or made
    meanwhile, so everything is looked up once more. The key stays. Raises SideFailed.
    """
    ones = {link.pk: (link, Unlinked(side, record)) for link, side, record in links}
    things = [link.identity_id for link, _ in ones.values() if link.identity_id]
    twins = {side: known_twins(session, side, things) for side in SIDES}
    found: dict[int, Decision] = {}
    for pk, (link, one) in ones.items():
        twin = twins[OTHER[one.side]].get(link.identity_id or 0)
        if twin is not None:
            ids = (one.record.external_id, twin) if one.side == "left" else (twin, one.record.external_id)
            found[pk] = Bind(*ids, "correlation_key", thing=link.identity_id)
    rest = [one for pk, (_, one) in ones.items() if pk not in found]
    for side in SIDES:
        note_match_keys(session, side, [one.record for one in rest if one.side == side])
    if rest and noting.under_way(session):  # the others wait
        return found | {pk: Hold(GONE) for pk in ones if pk not in found and session.compiled.matching_waits}
    fits = look_up(session, rest) if rest else {}
    _without_linked(session, [(one.side, fits[id(one)]) for one in rest])
    taken: set[str] = set()
    for pk, (link, one) in ones.items():
        if pk in found or any(f"{one.side}:{c.external_id}" in taken for c in fits[id(one)].candidates):
            continue
        found[pk] = decision = decision_about(session, one, fits[id(one)], link)
        taken |= {f"{one.side}:{c.external_id}" for c in fits[id(one)].candidates if isinstance(decision, Bind)}
    return found | _fits_what_was_sent(session, {pk: (one, found.get(pk)) for pk, (_, one) in ones.items()})


def _without_linked(session: Session, found: Sequence[tuple[str, Fits]]) -> None:
    """A record that waits for a twin of its own, at another link, is nobody's twin."""
    for side in SIDES:
        mine = [fits for one, fits in found if one == side]
        column = f"{OTHER[side]}_id"
        ids = {candidate.external_id for fits in mine for candidate in fits.candidates}
        links = Link.objects.filter(**{f"{column}__in": ids}, mapping=session.mapping) if ids else Link.objects.none()
        linked = set(links.values_list(column, flat=True))
        for fits in mine:
            free = [candidate for candidate in fits.candidates if candidate.external_id not in linked]
            fits.bound = fits.bound or len(free) < len(fits.candidates)
            fits.candidates = free


def _fits_what_was_sent(session: Session, twins: Mapping[int, tuple[Unlinked, Decision | None]]) -> dict[int, Decision]:
    """⚑ Twins that would have the match key of a record that is there, since a person sends another value with them:
    asked about, not made, and not linked either, since the record itself does not fit. Raises SideFailed."""
    sent = {}
    for pk, (one, twin) in twins.items():
        if isinstance(twin, MakeTwin) and (values := _keys_sent(session, one, twin)):
            sent[pk] = Unlinked(one.side, replace(one.record, values={**one.record.values, **values}))
    fits = look_up(session, list(sent.values())) if sent else {}
    found: dict[int, Decision] = {}
    for pk, one in sent.items():
        if fits[id(one)].unread:
            found[pk] = Hold(fits[id(one)].unread)
            continue
        names = [candidate.label or candidate.external_id for candidate in fits[id(one)].candidates]
        if fits[id(one)].bound and not names:
            names = ["a record that is linked already"]
        if names:
            told = {"fit": names, "side": OTHER[one.side]}
            found[pk] = Wonder(one.side, one.record.external_id, "duplicate", "fits_what_was_sent", told)
    return found


def _keys_sent(session: Session, one: Unlinked, twin: MakeTwin) -> dict[str, Any]:
    """{path of the record: what the twin will say in its place} of match fields for which a person sends a value."""
    index = 0 if one.side == "left" else 1
    sent = {planned.path: planned.value for planned in twin.fields if planned.code == "retried"}
    return {
        pair[index]: sent[pair[1 - index]]
        for pairs in session.compiled.match_keys
        for pair in pairs
        if pair[1 - index] in sent
    }


def may_create(link: Link, twin: MakeTwin) -> bool:
    """Whether a create may be sent (again): not while a person is asked, nor what was refused and did not change."""
    parked = link.parked.get("") or {}
    if parked.get("code") in WAITS_FOR_A_PERSON:
        return False
    return parked.get("fields") != {one.path: one.value for one in twin.fields}
