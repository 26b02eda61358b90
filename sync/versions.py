"""A mapping under a new version: what was out of force meanwhile is looked at again."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from mappings.changes import sides_to_list
from sync import audit, hints, noting, parking
from sync.models import Conflict, Link, MappingState
from sync.questions import end_with_its_rule, save_questions
from sync.rows import save_rows
from sync.session import SIDES, Session

# Links whose records are marked, and questions that end, at once.
CHUNK = 1000
# What of a side's settings says whether, and from what, a twin is made.
OF_TWINS = ("scope", "create", "create_defaults")


def take_up(session: Session, state: MappingState) -> None:
    """⚑ While a rule is off or a record out of scope time stands still: once it is back, or the scope is another one,
    the pairs are looked at, so that what people wrote meanwhile is an ordinary edit. So is what waits for its twin,
    where a version may make it that an earlier one did not. What waits on a rule that changed is tried again. What
    another scope lets in, or other match keys could match, is listed and noted.

    Done again from the beginning where a run breaks off. Raises LeaseLost.
    """
    if state.version_id == session.version.pk:
        return
    if state.version is not None:
        before = state.version.document
        if _returned(session, before):
            look_at_all(session)
        if _differ(session, before, "scope"):
            _look_at(session, _links(session, Link.State.ACTIVE).exclude(out_of_scope=""))
        noting.begin(session, state, sides_to_list(before, session.version.document))
        if _differ(session, before, *OF_TWINS):
            _look_at(session, _links(session, Link.State.CREATING))
        if changed := parking.changed_rules(before, session.version.document):
            session.lease.renew()
            parking.unpark(session.mapping, changed)
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


def _differ(session: Session, before: dict[str, Any], *settings: str) -> bool:
    """Whether one of these settings of a side is another one than in the version before."""
    now = session.version.document
    return any(before[side].get(name) != now[side].get(name) for side in SIDES for name in settings)


def look_at_all(session: Session, *others: str) -> None:
    """Mark both records of every pair, behind everything else. `others`: states beside the linked ones."""
    _look_at(session, _links(session, Link.State.ACTIVE, *others))


def _links(session: Session, *states: str) -> QuerySet[Link]:
    return Link.objects.filter(mapping=session.mapping, state__in=states)


def _look_at(session: Session, links: QuerySet[Link]) -> None:
    after = 0
    links = links.order_by("pk")
    while rows := list(links.filter(pk__gt=after).values_list("pk", "left_id", "right_id")[:CHUNK]):
        after = rows[-1][0]
        session.lease.renew()
        for side, ids in zip(SIDES, ([row[1] for row in rows], [row[2] for row in rows]), strict=True):
            hints.mark(session.mapping.pk, side, [one for one in ids if one], hints.Lane.BACKFILL)
