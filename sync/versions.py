"""A mapping under a new version: what was out of force meanwhile is looked at again."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from sync import audit, hints, parking
from sync.models import Conflict, Link, MappingState
from sync.questions import end_with_its_rule, save_questions
from sync.rows import save_rows
from sync.session import SIDES, Session

# Links whose records are marked, and questions that end, at once.
CHUNK = 1000


def take_up(session: Session, state: MappingState) -> None:
    """⚑ While a rule is off or a record out of scope time stands still: once it is back, or the scope is another one,
    the pairs are looked at, so that what people wrote meanwhile is an ordinary edit. What waits on a rule that changed
    is tried again.

    Done again from the beginning where a run breaks off. Raises LeaseLost.
    """
    if state.version_id == session.version.pk:
        return
    if state.version is not None:
        if _returned(session, state.version.document):
            look_at_all(session)
        if _another_scope(session, state.version.document):
            look_at_all(session, Link.State.CREATING, out_of_scope=True)
        if changed := parking.changed_rules(state.version.document, session.version.document):
            session.lease.renew()
            parking.unpark(session.mapping, changed, parking.VERSION_CHANGED)
    _end_questions(session)
    MappingState.objects.filter(pk=state.pk).update(version=session.version)


def _end_questions(session: Session) -> None:
    """What is asked about a rule that was removed, or made anew, nobody can answer: the new one asks for itself.

    ⚑ A value that we may have written stays parked: an older version may bring the rule back.
    """
    document = session.version.document
    if "off" not in document:  # a version from before it was noted
        return
    there = {*(rule["id"] for rule in document["rules"]), *document["off"], ""}
    asked = Conflict.objects.filter(mapping=session.mapping, link__isnull=False).exclude(state=Conflict.State.CLOSED)
    asked = asked.exclude(rule_id__in=there).select_related("link").order_by("pk")
    while questions := list(asked[:CHUNK]):
        with transaction.atomic():
            session.lease.renew()
            links = {one.link.pk: one.link for one in questions if one.link}
            for one in questions:
                one.link = links[one.link_id or 0]
                parking.let_go(one.link, one.rule_id)
            entries = [end_with_its_rule(session, one) for one in questions]
            save_questions(questions)
            save_rows(list(links.values()), ["parked"])
            audit.append(entries)


def _returned(session: Session, before: dict[str, Any]) -> bool:
    """Whether a rule is in force again that was not in the version before, but in an older one."""
    new = {rule.id for rule in session.compiled.rules} - {rule["id"] for rule in before["rules"]}
    if not new:
        return False
    older = session.mapping.versions.exclude(pk=session.version.pk).values_list("document", flat=True)
    return any(rule["id"] in new for document in older.iterator() for rule in document["rules"])


def _another_scope(session: Session, before: dict[str, Any]) -> bool:
    return any(before[side].get("scope") != session.version.document[side].get("scope") for side in SIDES)


def look_at_all(session: Session, *others: str, out_of_scope: bool = False) -> None:
    """Mark both records of every pair, behind everything else. `others`: states beside the linked ones.

    `out_of_scope`: of those alone that the scope left out.
    """
    after = 0
    links = Link.objects.filter(mapping=session.mapping, state__in=[Link.State.ACTIVE, *others]).order_by("pk")
    links = links.exclude(out_of_scope="") if out_of_scope else links
    while rows := list(links.filter(pk__gt=after).values_list("pk", "left_id", "right_id")[:CHUNK]):
        after = rows[-1][0]
        session.lease.renew()
        for side, ids in zip(SIDES, ([row[1] for row in rows], [row[2] for row in rows]), strict=True):
            hints.mark(session.mapping.pk, side, [one for one in ids if one], hints.Lane.BACKFILL)
