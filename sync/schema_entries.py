"""What people see of fields that changed, and what is looked at again once they are put right.

Called under the mapping's lease. One row and one queue entry a subject; both tables keep them unique.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from django.utils import timezone

from mappings.compiled import CompiledMapping
from sync import audit, clobbers, hints
from sync.models import AuditEntry, ChangedRecord, Conflict, Link, SchemaFinding
from sync.parking import let_go
from sync.questions import save_questions
from sync.rows import save_rows
from sync.schema import LATER, Finding, gravest
from sync.session import SIDES, Session
from sync.versions import look_at_all

# Records marked at once.
CHUNK = 1000
# Codes of refusals that another list of fields may make obsolete. What a system cut short has moved its bases: sent
# again it would only be cut again.
REFUSALS = ("refused", "not_allowed", "create_refused")


def tell(session: Session, before: Mapping[str, list[Finding]], after: Mapping[str, list[Finding]]) -> None:
    """Open, follow and close rows and entries, with their audit lines. Inside a transaction."""
    entries: list[AuditEntry] = []
    rows, mapping = SchemaFinding.objects.filter(mapping=session.mapping), session.mapping
    rows.filter(subject__in=[subject for subject in before if subject not in after]).delete()
    for subject, found in after.items():
        if before.get(subject) == found:
            continue
        stored = [asdict(one) for one in found]
        SchemaFinding.objects.update_or_create(mapping=mapping, subject=subject, defaults={"findings": stored})
        if any(one.stops != LATER for one in found):
            entries += _open(session, subject, [one for one in found if one.stops != LATER])
    told = [subject for subject, found in after.items() if any(one.stops != LATER for one in found)]
    entries += _close(session, [subject for subject in before if subject not in told])
    audit.append(entries)


def params_of(session: Session, found: Sequence[Finding]) -> dict[str, Any]:
    """What the entry of one subject says: of the gravest finding, with all of them beside it."""
    one = gravest(found)
    told = [
        {"code": f.code, "side": f.side, "system": session.system(f.side), "field": f.label, **f.params} for f in found
    ]
    return {**told[list(found).index(one)], "stops": one.stops, "rule": one.rule, "findings": told}


def _open(session: Session, subject: str, found: Sequence[Finding]) -> list[AuditEntry]:
    one, params = gravest(found), params_of(session, found)
    label = ", ".join(dict.fromkeys(f.label for f in found))[:200]
    told = {"kind": Conflict.Kind.SCHEMA, "code": one.code, "params": params, "field_label": label}
    now = timezone.now()
    _, created = Conflict.objects.update_or_create(
        mapping=session.mapping,
        subject=subject,
        link=None,
        state__in=("open", "resolving"),
        defaults={**told, "moved_at": now},
        create_defaults={
            **told,
            "mapping": session.mapping,
            "subject": subject,
            "rule_id": one.rule if subject.startswith("rule:") else "",
            "state": Conflict.State.OPEN,
            "version": session.version,
            "title": label,
        },
    )
    if created:
        session.counts["conflicts"] += 1
    return [_entry(session, "conflict", one.code, label, params, one.side)]


def _close(session: Session, subjects: Sequence[str]) -> list[AuditEntry]:
    entries = []
    ended = Conflict.objects.filter(mapping=session.mapping, subject__in=subjects, link=None, state__in=("open",))
    for conflict in ended.filter(kind=Conflict.Kind.SCHEMA):
        same_version = conflict.version_id == session.version.pk
        conflict.closed_code = "schema_put_right" if same_version else "schema_new_version"
        conflict.state, conflict.closed_at = Conflict.State.CLOSED, timezone.now()
        conflict.save(update_fields=["state", "closed_at", "closed_code"])
        params = {**conflict.params, "number": session.version.number}
        entries.append(
            _entry(
                session,
                "conflict_closed",
                conflict.closed_code,
                conflict.field_label,
                params,
                str(conflict.params.get("side", "")),
            )
        )
    return entries


def _entry(session: Session, action: str, code: str, label: str, params: dict[str, Any], side: str) -> AuditEntry:
    return audit.entry(
        action,
        code,
        mapping=session.mapping,
        mapping_version=session.version.number,
        run_id=session.run.pk if session.run is not None else None,
        connection_id=session.connection(side).pk if side else None,
        field_label=label,
        side=side,
        params=params,
    )


def look_again(session: Session, tombstones: bool = False) -> None:
    """Mark every pair of the mapping behind live edits: while a rule stood still, records moved on without it.

    New records that were held are due again. Short transactions, the lease renewed in between. Raises LeaseLost.
    """
    look_at_all(session, Link.State.CREATING, *([Link.State.DELETED] if tombstones else []))
    waiting = ChangedRecord.objects.filter(mapping=session.mapping, attempts=0, not_before__gt=timezone.now())
    waiting.update(not_before=timezone.now())


def supersede(session: Session, standing: CompiledMapping) -> None:
    """Questions about single values that a rule standing still has taken over: one entry says it for all of them.

    The values stay parked; they are tried again when the rule goes on. One that holds an edit that we overwrote goes on
    about that one.
    """
    asked = Conflict.objects.filter(
        mapping=session.mapping,
        kind=Conflict.Kind.REFUSED,
        state=Conflict.State.OPEN,
        rule_id__in=list(standing.still),
        link__isnull=False,
    ).select_related("link")
    over = [
        one
        for one in asked
        if standing.still[one.rule_id].holds(str(one.params.get("side", "")), one.params.get("sent"))
    ]
    now = timezone.now()
    for conflict in over:
        if not clobbers.goes_on(conflict, None):
            conflict.state, conflict.closed_at, conflict.closed_code = Conflict.State.CLOSED, now, "superseded"
    save_questions(over)
    audit.append(
        [
            audit.entry(
                "conflict_closed",
                conflict.closed_code or "overwritten_still_asked",
                mapping=session.mapping,
                mapping_version=session.version.number,
                link_id=conflict.link_id,
                object_label=str(conflict.link),
                field_label=conflict.field_label,
            )
            for conflict in over
        ]
    )


def values_may_fit_again(
    session: Session, sides: Collection[str], rules: Collection[str], standing: CompiledMapping
) -> bool:
    """⚑ A refused value is tried again once the fields of the system that refused it changed; returns whether any is.

    `sides`: whose list of fields changed; `rules`: that go on now, whatever their side. The questions stay open until
    the answer is there.
    """
    if not sides and not rules:
        return False
    freed: list[Link] = []
    parked = Link.objects.filter(mapping=session.mapping).exclude(parked={})
    for link in parked.only("pk", "parked", "left_id", "right_id").iterator(chunk_size=CHUNK):
        again = [
            rule
            for rule, held in link.parked.items()
            if held.get("code") in REFUSALS
            and rule not in standing.still
            and (rule in rules or held.get("side", "right" if link.left_id else "left") in sides)
        ]
        if again:
            for rule in again:
                let_go(link, rule)
            freed.append(link)
    save_rows(freed, ["parked"])
    if freed:
        audit.append([_entry(session, "retry", "fields_changed", "", {"number": len(freed)}, "")])
    for side in SIDES:
        ids = [external_id for link in freed if (external_id := link.record_id(side))]
        for start in range(0, len(ids), CHUNK):
            hints.mark(session.mapping.pk, side, ids[start : start + CHUNK], hints.Lane.RETRY)
    return bool(freed)
