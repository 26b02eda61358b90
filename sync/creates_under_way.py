"""Creates whose end is not known yet, and whether an unlinked record may be what one of them made.

⚑ Such a record waits: a twin made of it would be the second record of its thing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from connections.connectors.base import Record
from mappings.models import Mapping as SyncMapping
from sync import hints
from sync.merge import OTHER
from sync.models import Conflict, IdentityRecord, Instruction, Link, Operation
from sync.plan import PlannedConflict
from sync.session import SIDES, Session
from sync.state import seconds_of

if TYPE_CHECKING:
    from sync.matching import Unlinked

Sent = set[tuple[str, str]]  # {(field, text)}

# Clock difference allowed for when looking through the other system's own records of the time of our write.
CLOCK_SLACK_SECONDS = 120

# ⚑ Whether a create happened is not known, for which reason, and the kind of question: never a second one until a
# person says so.
WAITS_FOR_A_PERSON: Mapping[str, str] = {
    "created_or_not": Conflict.Kind.UNCERTAIN_CREATE,
    "key_twice": Conflict.Kind.DUPLICATE,
}


def unanswered(link: Link) -> PlannedConflict | None:
    """What a create of unknown end asks as long as nobody answers, also where the pair was left unlinked meanwhile."""
    parked = link.parked.get("") or {}
    code = str(parked.get("code"))
    if code not in WAITS_FOR_A_PERSON:
        return None
    told = parked.get("params") or {"side": "right" if link.left_id else "left"}
    return PlannedConflict("", WAITS_FOR_A_PERSON[code], code, told)


# What a create made whose link found another record shows itself soon; later its text is anybody's.
REMEMBERED = timedelta(days=1)


@dataclass
class Creates:
    """Creates under way in one place, by any mapping."""

    things: set[int] = field(default_factory=set)
    records: set[str] = field(default_factory=set)  # as far as known
    sent: Sent = field(default_factory=set)


def open_creates(session: Session, texts: bool) -> dict[str, Creates]:
    """By side. `texts`: with those that were sent."""
    found = {side: Creates() for side in SIDES}
    for side in SIDES:
        creates = _creates_into(session, side).filter(state__in=Operation.OPEN)
        for pk, external_id in creates.values_list("link__identity_id", "external_id"):
            found[side].things.add(pk or 0)
            found[side].records.add(external_id)
        if texts:
            found[side].sent = _texts_of(creates)
    return found


def _creates_into(session: Session, side: str) -> QuerySet[Operation]:
    """The creates of any mapping in the place of this side."""
    into = Q()
    for one in SIDES:
        into |= Q(side=one) & _place(session, side, one)
    return Operation.objects.filter(into, kind=Operation.Kind.CREATE)


def _place(session: Session, side: str, other: str) -> Q:
    """Rows of mappings whose `other` side is the system and the kind of records of our `side`."""
    place = {"connection": session.connection(side), "object_type": session.object_type(side)}
    return Q(**{f"mapping__{other}_{name}": value for name, value in place.items()})


@dataclass(frozen=True, slots=True)
class Unclear:
    """A create of which nobody said yet whether it happened, of the twin of the record that people call `label`.

    `asked`: a person is asked at its link; else that was left unlinked, or ended, without an answer.
    """

    label: str
    asked: bool
    sent: Sent
    named: str  # the record that its answer named, if it named one
    since: datetime  # nothing was sent before

    def may_have_made(self, session: Session, one: Unlinked) -> bool:
        if one.record.external_id == self.named:
            return True
        return not made_before(session, one.side, one.record, self.since) and may_be_made_by(session, one, self.sent)


def unclear_creates(session: Session, texts: bool) -> dict[str, list[Unclear]]:
    """By the side on which they may have made a record, by any mapping. `texts`: with those that were sent."""
    found: dict[str, list[Unclear]] = {side: [] for side in SIDES}
    for side in SIDES:
        creates = _creates_into(session, side)
        given_up = creates.filter(state=Operation.State.DEAD, result__code="created_or_not").select_related("link")
        links = {one.link: one for one in given_up.order_by("pk") if _is_unclear(one.link) or _found_another(one)}
        sent: dict[int, Sent] = {}
        for pk, fields in creates.filter(link__in=links).values_list("link_id", "fields") if texts and links else ():
            sent.setdefault(pk, set()).update(_texts(fields))
        for link, create in links.items():
            label, asked = label_of_twin(link, create.side), link.state == Link.State.CREATING
            found[side].append(Unclear(label, asked, sent.get(link.pk, set()), create.external_id, link.created_at))
    return found


def made_before(session: Session, side: str, record: Record, moment: datetime) -> bool:
    """Whether the record was there before this moment of ours, as its system tells."""
    if record.created_at is None:
        return False
    offset = session.connection(side).clock_offset or 0.0
    return seconds_of(record.created_at) - offset + CLOCK_SLACK_SECONDS < moment.timestamp()


def label_of_twin(link: Link, side: str) -> str:
    """What people call the record whose twin on `side` is still to be made."""
    return getattr(link, f"{OTHER[side]}_key") or link.record_id(OTHER[side]) or "?"


def _is_unclear(link: Link) -> bool:
    question = unanswered(link)
    return question is not None and question.code == "created_or_not"


def _found_another(create: Operation) -> bool:
    """Whether its link was bound to a record that fits, while nobody said what became of the create. ⚑ What that may
    have made is still there, and would be copied back as a stranger."""
    link, since = create.link, timezone.now() - REMEMBERED
    if link.record_id(create.side) in (None, create.external_id) or (create.finished_at or since) <= since:
        return False
    said = link.instructions.filter(kind=Instruction.Kind.RELINK, state=Instruction.State.DONE)
    made = link.operations.filter(kind=Operation.Kind.CREATE, state=Operation.State.CONFIRMED, pk__gt=create.pk)
    return not (said.exists() or made.exists())


def asked_which(session: Session, side: str, things: Collection[int]) -> set[int]:
    """⚑ The things of which a person is asked, by any mapping, which of several records that carry their key is theirs:
    the first one that rings is not."""
    links = [link for link in _without_answer(session, side, things) if link.state == Link.State.CREATING]
    return {link.identity_id or 0 for link in links if (asked := unanswered(link)) and asked.code == "key_twice"}


def asked_elsewhere(session: Session, side: str, things: Collection[int]) -> dict[int, Link]:
    """⚑ {thing: link of another mapping at which nobody said yet what became of the create of its record on `side`}:
    until then none is made here. One at which a person is asked comes before one that was left without an answer."""
    theirs = [link for link in _without_answer(session, side, things) if link.mapping_id != session.mapping.pk]
    return {link.identity_id or 0: link for link in sorted(theirs, key=lambda link: link.state == Link.State.CREATING)}


def _without_answer(session: Session, side: str, things: Collection[int]) -> list[Link]:
    if not things:
        return []
    there = Q()
    for one in SIDES:
        there |= Q(**{f"{one}_id": None}) & _place(session, side, one)
    links = Link.objects.filter(there, identity__in=things).select_related("mapping").order_by("pk")
    return [link for link in links if unanswered(link) is not None]


def ring_others(session: Session, answered: Iterable[Link]) -> None:
    """What a person was asked at these links has ended: other mappings look at the records of their things.

    Each mapping is locked by itself, after our own commit; what a crash in between does not ring is looked at anyhow
    once PERSON_WAIT_SECONDS have passed.
    """
    things = {link.identity_id for link in answered if link.identity_id}
    if things:
        transaction.on_commit(partial(_ring_others, session.mapping.pk, things), robust=True)


def _ring_others(mapping_id: int, things: Collection[int]) -> None:
    for row in IdentityRecord.objects.filter(identity__in=things):
        for side in SIDES:
            place = {f"{side}_connection": row.connection_id, f"{side}_object_type": row.object_type}
            others = SyncMapping.objects.filter(**place, published__isnull=False).exclude(pk=mapping_id)
            for pk in others.values_list("pk", flat=True):
                hints.try_again(pk, side, [row.external_id])


def _texts_of(creates: QuerySet[Operation]) -> Sent:
    return {sent for fields in creates.values_list("fields", flat=True) for sent in _texts(fields)}


def _texts(fields: Mapping[str, Any]) -> Sent:
    values = {(sent["path"], sent["value"]) for sent in fields.values() if isinstance(sent["value"], str)}
    return {(path, text) for path, text in values if text}


def anonymous(one: Unlinked) -> bool:
    return one.record.created_by is None and one.record.correlation_key is None


def may_be_made_by(session: Session, one: Unlinked, sent: Sent) -> bool:
    """⚑ Whether the record may be what these creates made: our account made it or, where neither an author nor a key is
    told, one of its texts is one that was sent."""
    if anonymous(one):
        return any((path, text) in sent for path, text in one.record.values.items() if isinstance(text, str))
    return one.record.created_by == session.connection(one.side).account_id
