"""Records that people merged into another one of their system: the pair follows, or a person is asked about the twin.

⚑ A merge is no deletion of the thing. What was agreed stays the base, so that whatever the remaining record says
otherwise is an ordinary edit of its side.
"""

from __future__ import annotations

from sync import asked
from sync.decided import Decided, audit_entry
from sync.identities import known_things
from sync.merge import OTHER
from sync.models import Link
from sync.session import Session


def remaining(one: Decided, gone: set[str]) -> tuple[str, str] | None:
    """(side, id of the record that is left) where one record of a pair was merged into another one."""
    for side in gone:
        record = one.records[side]
        if len(gone) == 1 and record is not None and record.merged_into:
            return side, record.merged_into
    return None


def keeper(session: Session, side: str, external_id: str) -> Link | None:
    """The pair of this mapping that the remaining record belongs to already."""
    return Link.objects.filter(**{"mapping": session.mapping, f"{side}_id": external_id}).first()


def may_follow(session: Session, link: Link, side: str, external_id: str) -> bool:
    """Whether nothing else is known of the remaining record: neither a pair nor, through another mapping, a thing."""
    known = known_things(session, side, [external_id]).get(external_id)
    return keeper(session, side, external_id) is None and (known is None or known.pk == link.identity_id)


def follow(session: Session, one: Decided, side: str, external_id: str) -> None:
    """From now on the remaining record is this side of the pair; both are read again and planned in the next batch."""
    link = one.link
    was, one.replaced = getattr(link, f"{side}_key"), link.record_id(side) or ""
    one.records = {**one.records, side: None}
    asked.bind(one, side, external_id)
    for name in ("version", "updated_at", "settled"):
        setattr(link, f"{side}_{name}", "")
    setattr(link, f"{side}_read_at", None)
    link.pending_edits.pop(side, None)
    setattr(link, f"deleted_{side}", False)
    one.plan.closed.append("")
    asked.look_again(session, link)
    told = {"system": session.system(side), "was": was, "now": external_id}
    one.entries.append(audit_entry(session, "link", "merge_followed", link, params=told, side=side))


def twin_of(keeper: Link | None, side: str, external_id: str) -> dict[str, str]:
    """What a person is told of the remaining record and of the record it is kept in agreement with."""
    other, own = OTHER[side], "a record of its own"
    if keeper is None:
        return {"into": external_id, "twin": own}
    return {
        "into": getattr(keeper, f"{side}_key") or external_id,
        "twin": getattr(keeper, f"{other}_key") or keeper.record_id(other) or own,
    }
