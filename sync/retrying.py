"""What people do about failures: try again, edit what is sent, ignore with a reason. Audited; nothing here writes.

A retry only rings: questions are marked, hints are made due behind live edits, and the next plan does the rest under
the lease, the brakes and the rate budget. One statement for a thousand records, not a thousand. Where a field is not
what the mapping knows no record helps: the next run reads the fields.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from mappings.models import Mapping as SyncMapping
from sync import audit, causes, failures, hints, instructions, jobs, parking, schema_watch
from sync.failures import QUESTION, RECORD, WRITE, Standing
from sync.merge import OTHER
from sync.models import AuditEntry, Conflict, Ignoring, Instruction, Link

# Entries of one statement: what both databases take at once.
CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of it. `number`: what is tried again; `left_out`: entries that cannot be repeated without a person's
    word on what happened; `fields`: entries about fields, which the next run reads again."""

    number: int = 0
    left_out: int = 0
    fields: int = 0


def _name(user: Any) -> str:
    return user.get_username() if hasattr(user, "get_username") else str(user)


def _mappings(those: Standing) -> list[SyncMapping]:
    ids: set[int] = set()
    for rows in those.lists.values():
        ids |= set(rows.order_by().values_list("mapping_id", flat=True).distinct())
    return list(SyncMapping.objects.filter(pk__in=ids).order_by("pk"))


def _chunks(rows: QuerySet[Any]) -> Iterator[list[Any]]:
    """The rows in pieces, by key; each is read afresh, so that what changed meanwhile is not acted on."""
    after = 0
    rows = rows.select_related("link").defer("link__left_bases", "link__right_bases", "link__parked")
    while part := list(rows.filter(pk__gt=after).order_by("pk")[:CHUNK]):
        after = part[-1].pk
        yield part


def retry(those: Standing, user: Any) -> Asked:
    """Try these failures again. Those about a write that may have happened are left out: a person says which it is."""
    number = left_out = fields = 0
    request_id = str(uuid.uuid4())
    for mapping in _mappings(those):
        mine = those.where(mapping=mapping)
        left_out += mine.questions.filter(code__in=causes.UNSURE_CODES).count()
        sure = mine.questions.filter(state=Conflict.State.OPEN).exclude(code__in=causes.UNSURE_CODES)
        with transaction.atomic():
            hints.lock(mapping.pk)
            for part in _chunks(sure.filter(failures.ABOUT_FIELDS)):
                schema_watch.look_soon(mapping)
                told = {"by": _name(user), "number": len(part)}
                _tell(mapping, part, "look", "schema_look_asked", user, request_id, told)
                fields += len(part)
            sure = sure.exclude(failures.ABOUT_FIELDS)
            for source, rows in {QUESTION: sure, WRITE: mine.writes, RECORD: mine.records}.items():
                for part in _chunks(rows):
                    _ring(mapping, source, part)
                    told = {"by": _name(user), "number": len(part)}
                    _tell(mapping, part, "retry", "failure_retried", user, request_id, told)
                    number += len(part)
            jobs.wake(mapping.pk)
    return Asked(number, left_out, fields)


def _ring(mapping: SyncMapping, source: str, part: Sequence[Any]) -> None:
    if source == QUESTION:
        Conflict.objects.filter(pk__in=[one.pk for one in part if one.link_id]).update(
            retry=parking.ASKED, state=Conflict.State.RESOLVING
        )
        parking.ring(mapping.pk, [one.link_id for one in part if one.link_id], [one.subject for one in part])
    elif source == WRITE:
        parking.ring(mapping.pk, [one.link_id for one in part])
    else:
        for side in ("left", "right"):
            hints.try_again(mapping.pk, side, [one.external_id for one in part if one.side == side])


def edit(
    link: Link,
    rule_id: str,
    side: str,
    value: Any,
    seen: Mapping[str, Any],
    user: Any,
) -> Instruction:
    """Send `value` to `side` instead of what failed. ⚑ It applies if the field's values are still those in `seen`.

    Of a twin that is still to be made it stands at the link from then on and goes with the create.
    """
    choice: dict[str, Any] = {"take": "send", "in": side}
    choices = {rule_id: {**choice, "value": value, "seen": dict(seen)}}
    with transaction.atomic():
        hints.lock(link.mapping_id)  # ⚑ what others sent with the twin stands in theirs, and this one takes its place
        if link.state == Link.State.CREATING:
            path = next(rule[side]["path"] for rule in _rules(link.mapping) if rule["id"] == rule_id)
            typed = {"value": value, "seen": seen[OTHER[side]], "path": path, "by": _name(user)}
            choices = {"": {**choice, "rule": rule_id, "values": {**_under_way(link), rule_id: typed}}}
        asked = instructions.ask(link, Instruction.Kind.RETRY, choices, user)
        parking.ring(link.mapping_id, [link.pk])
    return asked


def _rules(mapping: SyncMapping) -> list[dict[str, Any]]:
    return list(mapping.published.document["rules"]) if mapping.published else []


def _under_way(link: Link) -> dict[str, Any]:
    """What was sent of other fields and is not taken up yet: the newest instruction takes the place of all others."""
    states = (Instruction.State.WAITING, Instruction.State.APPLYING)
    before = (
        Instruction.objects.filter(link=link, kind=Instruction.Kind.RETRY, state__in=states).order_by("-pk").first()
    )
    values: dict[str, Any] = before.choices.get("", {}).get("values", {}) if before else {}
    return values


def ignore(those: Standing, reason: str, user: Any) -> int:
    """List these apart until their value or cause changes. Returns their number."""
    return _mark(those.listed(), reason, user)


def heed(those: Standing, user: Any) -> int:
    """Take back `ignore`. Returns their number."""
    return _mark(those.listed(ignored=True), None, user)


def _mark(those: Standing, reason: str | None, user: Any) -> int:
    number, request_id = 0, str(uuid.uuid4())
    made: dict[str, Ignoring] = {}
    for mapping in _mappings(those):
        mine = those.where(mapping=mapping)
        with transaction.atomic():
            hints.lock(mapping.pk)
            for rows in mine.lists.values():
                for part in _chunks(rows):
                    for fingerprint in sorted({one.fingerprint for one in part}):
                        same = [one for one in part if one.fingerprint == fingerprint]
                        mark = None
                        if reason is not None:
                            mark = made.get(fingerprint) or Ignoring.objects.create(
                                mapping=mapping, fingerprint=fingerprint, reason=reason, by_name=_name(user)
                            )
                            made[fingerprint] = mark
                        rows.model._default_manager.filter(pk__in=[one.pk for one in same]).update(ignored=mark)
                    code = "failure_heeded" if reason is None else "failure_ignored"
                    told = {"by": _name(user), "reason": reason or "", "number": len(part)}
                    _tell(mapping, part, "heed" if reason is None else "ignore", code, user, request_id, told)
                    number += len(part)
    return number


def _tell(
    mapping: SyncMapping,
    part: Sequence[Any],
    action: str,
    code: str,
    user: Any,
    request_id: str,
    params: dict[str, Any],
) -> None:
    """A line for each record, so that its own page tells it; one statement."""
    audit.append(
        [
            audit.entry(
                action,
                code,
                actor=_name(user),
                actor_kind=AuditEntry.ActorKind.PERSON,
                mapping=mapping,
                link_id=one.link_id,
                object_label=_label(one),
                field_label=getattr(one, "field_label", ""),
                side=failures.side_of(one),
                request_id=request_id,
                params=params,
            )
            for one in part
        ]
    )


def _label(entry: Any) -> str:
    if entry.link is not None:
        return str(entry.link)
    return entry.external_id if hasattr(entry, "external_id") else entry.title
