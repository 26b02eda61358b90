"""Pairs looked at for a verification: read in bulk, compared, and read once more where they differ.

It only reads, takes no lease, and holds no transaction during a call. What is known of a pair is loaded *after* it was
read, and a difference is believed only if a second look, between two loads of the same bases, sees the same values:
what changed meanwhile is an edit on its way and never called drift.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from django.db.models import Q

from connections.connectors.base import ConnectorError, Gone, NotAllowed, Record, Refused
from sync.compare import AGREED, DRIFT, EQUAL, LACKING, WAITING, PairVerdict, compare, waits
from sync.models import ChangedRecord, Conflict, Instruction, Link
from sync.plan import LinkView
from sync.read import SideFailed, outside_scope
from sync.session import SIDES, Session
from sync.state import busy

log = logging.getLogger("sync")

# Answers to a read that may be about one of its records alone.
OF_A_RECORD = (Refused, NotAllowed, Gone)
# To find one bad record among some hundred takes as many refusals as they can be halved, and a few more; after this
# many without a single record the whole side is refused.
MOST_REFUSALS = 12
# Links of which nothing is compared: they are apart on purpose, or one of the records is gone.
APART = (Link.State.UNLINKED, Link.State.DELETED)

T = TypeVar("T")


class Caller(Protocol):
    """Makes one remote call: shows a sign of life before it, and may wait for room in the rate budget."""

    def __call__(self, act: Callable[[], T]) -> T: ...


@dataclass(slots=True)
class Looked:
    """One link with the verdict on it. `returned`: the scope that its record had left lets it in again."""

    link: Link
    verdict: PairVerdict
    returned: bool = False


@dataclass(slots=True)
class Reading:
    """{side: {id: Record}} as read, and the ids that could not be read although others could."""

    records: dict[str, dict[str, Record]] = field(default_factory=lambda: {side: {} for side in SIDES})
    refused: dict[str, set[str]] = field(default_factory=lambda: {side: set() for side in SIDES})

    def pair(self, link: Link) -> tuple[Record | None, Record | None]:
        left, right = (self.records[side].get(link.record_id(side) or "") for side in SIDES)
        return left, right

    def unreadable(self, link: Link) -> bool:
        return any(link.record_id(side) in self.refused[side] for side in SIDES)


def first_look(session: Session, links: Sequence[Link], call: Caller) -> list[Looked]:
    """The verdicts on these links; a doubtful one needs a second look. Raises SideFailed."""
    moving = [link for link in links if not stands_still(link)]
    aside = [link for link in links if stands_still(link) == "out_of_scope"]
    reading = read(session, [*moving, *aside], call)
    verdicts = _verdicts(session, moving, reading)
    outside = _outside(session, aside, reading, call)
    returned = {link.pk for link in aside if _returned(link, reading, outside)}
    return [
        Looked(link, verdicts.get(link.pk) or waits(stands_still(link)), returned=link.pk in returned) for link in links
    ]


def _returned(link: Link, reading: Reading, outside: Mapping[str, set[str]]) -> bool:
    side = link.out_of_scope
    record = reading.records[side].get(link.record_id(side) or "")
    return record is not None and not record.deleted and record.external_id not in outside[side]


def second_look(session: Session, doubtful: Sequence[Looked], call: Caller) -> list[Looked]:
    """The last word on doubtful pairs: the same difference as before, or what they turned out to wait for.

    Raises SideFailed.
    """
    if not doubtful:
        return []
    reading = read(session, [one.link for one in doubtful], call)
    fresh = Link.objects.exclude(state__in=APART).in_bulk([one.link.pk for one in doubtful])
    verdicts = _verdicts(session, [link for link in fresh.values() if not stands_still(link)], reading)
    unsure = [fresh[pk] for pk, verdict in verdicts.items() if verdict.doubtful]
    outside = _outside(session, unsure, reading, call)
    looked = []
    for before in doubtful:
        link = fresh.get(before.link.pk)
        if link is None:
            looked.append(Looked(before.link, waits("moved")))
            continue
        verdict = verdicts.get(link.pk) or waits(stands_still(link))
        if verdict.doubtful and any(link.record_id(side) in outside[side] for side in SIDES):
            verdict = waits("out_of_scope", verdict.fields)
        elif verdict.doubtful and not _same(before, Looked(link, verdict)):
            verdict = waits("moved", verdict.fields)
        looked.append(Looked(link, verdict))
    return looked


def stands_still(link: Link) -> str:
    """Why the pair is not compared: time stands still for it; "" if it is."""
    if link.state == Link.State.HELD:
        return "held"
    if link.state == Link.State.CREATING or not (link.left_id and link.right_id):
        return "creating"
    return "out_of_scope" if link.out_of_scope else ""


def _same(before: Looked, now: Looked) -> bool:
    """Whether nothing moved between the two looks: neither a value nor what was last agreed."""
    return before.verdict == now.verdict and all(before.link.bases(side) == now.link.bases(side) for side in SIDES)


def _verdicts(session: Session, links: Sequence[Link], reading: Reading) -> dict[int, PairVerdict]:
    """The verdict on each link; what is not equal is judged with what the database knows by now, in four queries."""
    found = {link.pk: _judge(session, link, reading) for link in links}
    apart = [link for link in links if found[link.pk].kind != EQUAL]
    if apart:
        reasons, asked = what_waits(session, apart)
        for link in apart:
            if link.pk in reasons or link.pk in asked:
                found[link.pk] = _judge(session, link, reading, reasons.get(link.pk, ""), asked.get(link.pk))
    return found


def _judge(
    session: Session, link: Link, reading: Reading, waiting: str = "", asked: Mapping[str, str] | None = None
) -> PairVerdict:
    """The verdict on one link. A pair that breaks the comparison breaks only its own."""
    if reading.unreadable(link):
        return waits("unreadable")
    view = LinkView(
        id=link.pk,
        left_id=link.left_id,
        right_id=link.right_id,
        bases={side: link.bases(side) for side in SIDES},
        parked=link.parked,
        agreed_differences=link.agreed_differences,
        open_conflicts=asked or {},
    )
    try:
        return compare(session.compiled, view, *reading.pair(link), waiting=waiting)
    except Exception:
        log.exception("link %s cannot be compared", link.pk)
        return waits("failed")


def what_waits(session: Session, links: Sequence[Link]) -> tuple[dict[int, str], dict[int, dict[str, str]]]:
    """({link: what keeps it apart, a key of compare.REASONS}, {link: {rule: kind of its open question}})."""
    keys = [link.pk for link in links]
    of_record = {
        (side, external_id): link.pk for link in links for side in SIDES if (external_id := link.record_id(side))
    }
    rung = Q(pk__in=[])
    for side in SIDES:
        rung |= Q(side=side, external_id__in=[link.record_id(side) or "" for link in links])
    reasons: dict[int, str] = {}
    hinted = ChangedRecord.objects.filter(rung, mapping=session.mapping).values_list("side", "external_id")
    for record in hinted:
        if record in of_record:
            reasons[of_record[record]] = "hint"
    waiting = Instruction.objects.filter(
        link__in=keys, state__in=(Instruction.State.WAITING, Instruction.State.APPLYING)
    )
    reasons.update(dict.fromkeys((pk for pk in waiting.values_list("link_id", flat=True) if pk is not None), "asked"))
    reasons.update(dict.fromkeys(busy(session, links), "operation"))
    asked: dict[int, dict[str, str]] = {}
    questions = Conflict.objects.filter(link__in=keys).exclude(state=Conflict.State.CLOSED)
    for pk, rule, kind in questions.values_list("link_id", "rule_id", "kind"):
        if pk is not None:
            asked.setdefault(pk, {})[rule] = kind
    return reasons, asked


def _outside(session: Session, links: Sequence[Link], reading: Reading, call: Caller) -> dict[str, set[str]]:
    """Ids of their records that the scope leaves out now."""
    found: dict[str, set[str]] = {side: set() for side in SIDES}
    for side in SIDES:
        there = [r for link in links if (r := reading.records[side].get(link.record_id(side) or "")) and not r.deleted]
        if there:
            found[side] = call(partial(outside_scope, session, side, there))
    return found


# Reading. --------------------------------------------------------------------------------------------------------


def read(session: Session, links: Sequence[Link], call: Caller) -> Reading:
    """Both records of these links, one side after the other: nothing here is in a hurry. Raises SideFailed."""
    reading = Reading()
    for side in SIDES:
        ids = sorted({external_id for link in links if (external_id := link.record_id(side))})
        size = max(1, session.connectors[side].capabilities.bulk_read)
        refusals: list[ConnectorError] = []
        try:
            for start in range(0, len(ids), size):
                _read(session, side, ids[start : start + size], reading, refusals, call)
        except ConnectorError as error:
            raise SideFailed(side, error) from error
        if refusals and not reading.records[side]:  # not one could be read: it is no matter of single records
            raise SideFailed(side, refusals[-1])
    return reading


def _read(
    session: Session,
    side: str,
    ids: Sequence[str],
    reading: Reading,
    refusals: list[ConnectorError],
    call: Caller,
) -> None:
    """One bulk read. Where it is refused its halves are tried: ⚑ a record that fails blocks only itself."""
    connector = session.connectors[side]
    try:
        found = call(lambda: connector.get_many(session.object_type(side), ids, session.paths(side)))
    except OF_A_RECORD as error:
        refusals.append(error)
        if len(refusals) > MOST_REFUSALS and not reading.records[side]:
            raise
        if len(ids) == 1:
            reading.refused[side].add(ids[0])
            return
        for half in (ids[: len(ids) // 2], ids[len(ids) // 2 :]):
            _read(session, side, half, reading, refusals, call)
        return
    reading.records[side].update(found)


# Counting. -------------------------------------------------------------------------------------------------------

Counts = dict[str, Any]


def no_counts() -> Counts:
    """{"pairs", "equal", "agreed", "waiting", "drift", "missing": pairs, "waits": {reason: pairs}, "lacking": {side:
    pairs}, "fields": {rule id: {"label", "drift", "agreed", "waiting": pairs}}, "kept": differences listed, "found":
    all of them}"""
    kinds = dict.fromkeys(("pairs", "equal", "agreed", "waiting", "drift", "missing", "kept", "found"), 0)
    return {**kinds, "waits": {}, "lacking": {}, "fields": {}}


def count(counts: Counts, verdict: PairVerdict) -> None:
    counts["pairs"] += 1
    counts[verdict.kind] += 1
    if verdict.kind == WAITING:
        counts["waits"][verdict.reason] = counts["waits"].get(verdict.reason, 0) + 1
    if verdict.kind == LACKING:
        for side in verdict.lacking:
            counts["lacking"][side] = counts["lacking"].get(side, 0) + 1
    for one in verdict.differing:
        row = counts["fields"].setdefault(one.rule, {"label": one.label, DRIFT: 0, AGREED: 0, WAITING: 0})
        row[one.kind if verdict.kind in (DRIFT, AGREED) and one.kind in (DRIFT, AGREED) else WAITING] += 1
