"""Creates whose end is not known yet, and whether an unlinked record may be what one of them made.

⚑ Such a record waits: a twin made of it would be the second record of its thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db.models import Q, QuerySet

from sync.matching import Unlinked
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


def unclear_creates(session: Session, texts: bool) -> dict[str, Sent]:
    """{side on which a person is asked whether a create of ours happened: the texts that were sent, if `texts`}"""
    asked = Conflict.objects.filter(
        mapping=session.mapping, kind=Conflict.Kind.UNCERTAIN_CREATE, state__in=("open", "resolving")
    )
    sides: dict[str, list[int | None]] = {}
    for params, link_id in asked.values_list("params", "link_id"):
        sides.setdefault(str(params.get("side", "")), []).append(link_id)
    creates = Operation.objects.filter(mapping=session.mapping, kind=Operation.Kind.CREATE)
    return {side: _texts_of(creates.filter(link__in=links)) if texts else set() for side, links in sides.items()}


def _texts_of(creates: QuerySet[Operation]) -> Sent:
    sent = (one for fields in creates.values_list("fields", flat=True) for one in fields.values())
    return {(one["path"], one["value"]) for one in sent if isinstance(one["value"], str) and one["value"]}


def anonymous(one: Unlinked) -> bool:
    return one.record.created_by is None and one.record.correlation_key is None


def may_be_made_by(session: Session, one: Unlinked, sent: Sent) -> bool:
    """⚑ Whether the record may be what these creates made: our account made it or, where neither an author nor a key is
    told, one of its texts is one that was sent."""
    if anonymous(one):
        return any((path, text) in sent for path, text in one.record.values.items() if isinstance(text, str))
    return one.record.created_by == session.connection(one.side).account_id
