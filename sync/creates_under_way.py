"""Creates whose end is not known yet, and whether an unlinked record may be what one of them made.

⚑ Such a record waits: a twin made of it would be the second record of its thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q, QuerySet

from sync.matching import Unlinked
from sync.merge import OTHER
from sync.models import Conflict, Link, Operation
from sync.plan import PlannedConflict
from sync.session import SIDES, Session

Sent = set[tuple[str, str]]  # {(field, text)}

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
        place = {"connection": session.connection(side), "object_type": session.object_type(side)}
        into = Q()
        for one in SIDES:
            into |= Q(side=one, **{f"mapping__{one}_{name}": value for name, value in place.items()})
        creates = Operation.objects.filter(into, kind=Operation.Kind.CREATE, state__in=Operation.OPEN)
        for pk, external_id in creates.values_list("link__identity_id", "external_id"):
            found[side].things.add(pk or 0)
            found[side].records.add(external_id)
        if texts:
            found[side].sent = _texts_of(creates)
    return found


@dataclass(frozen=True, slots=True)
class Unclear:
    """A create of which nobody said yet whether it happened, of the twin of the record that people call `label`.

    `asked`: a person is asked at its link; else that was left unlinked, or ended, without an answer.
    """

    label: str
    asked: bool
    sent: Sent


def unclear_creates(session: Session, texts: bool) -> dict[str, list[Unclear]]:
    """By the side on which they may have made a record. `texts`: with those that were sent."""
    creates = Operation.objects.filter(mapping=session.mapping, kind=Operation.Kind.CREATE)
    given_up = creates.filter(state=Operation.State.DEAD, result__code="created_or_not").select_related("link")
    places = {one.link: one.side for one in given_up if _is_unclear(one.link)}
    sent: dict[int, Sent] = {}
    for link_id, fields in creates.filter(link__in=places).values_list("link_id", "fields") if texts and places else ():
        sent.setdefault(link_id, set()).update(_texts(fields))
    found: dict[str, list[Unclear]] = {side: [] for side in SIDES}
    for link, side in places.items():
        label = getattr(link, f"{OTHER[side]}_key") or link.record_id(OTHER[side]) or "?"
        found[side].append(Unclear(label, link.state == Link.State.CREATING, sent.get(link.pk, set())))
    return found


def _is_unclear(link: Link) -> bool:
    question = unanswered(link)
    return question is not None and question.code == "created_or_not"


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
