"""The first run of a mapping: list both sides completely, show what would happen, write nothing before approval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Count
from django.utils import timezone

from mappings.models import Mapping
from sync import hints
from sync.lease import Lease
from sync.matching import note_match_keys
from sync.merge import Ask, Field, Write, merge_field
from sync.models import ChangedRecord, Cursor, Link, MappingState, MatchKey, Run
from sync.plan import LinkView, field_of
from sync.plan_unlinked import plan_creation
from sync.read import Reading, poll, read_into
from sync.session import SIDES, Session

# Records compared at once for the preview; a page of each side at a time keeps memory flat.
PREVIEW_BATCH = 100
# Names shown as examples for each number of the preview.
SAMPLES = 5


def survey(session: Session) -> None:
    """List both sides, note match keys, and leave the preview on the run for approval. Raises SideFailed."""
    run = session.ensure_run()
    state = MappingState.objects.get(mapping=session.mapping)
    if state.version_id != session.version.pk:
        # ⚑ One that broke off listed what another version looks at.
        with transaction.atomic():
            session.lease.renew()
            forget(session.mapping)
            MappingState.objects.filter(pk=state.pk).update(version=session.version)
        state.surveyed_at = None
    if state.surveyed_at is None:
        session.progress(phase="read")
        for side in SIDES:
            session.progress()
            poll(session, side, hints.Lane.BACKFILL)
        MappingState.objects.filter(pk=state.pk).update(surveyed_at=timezone.now())
    session.progress(phase="match", total=_waiting(session).count(), done=0)
    preview = _preview(session)
    with transaction.atomic():
        session.lease.renew()
        MappingState.objects.filter(pk=state.pk).update(
            halt=MappingState.Halt.APPROVAL,
            halt_reason={"code": "waits_for_approval", "params": {"run": run.pk}},
            halted_at=timezone.now(),
        )
        session.to_approve(preview)  # ⚑ with the halt: a halt whose numbers no run shows, nobody could end


def begin_again(mapping: Mapping, lease: Lease) -> None:
    """Forget a survey that nobody approved: the new version may look at other records. Nothing was written by it."""
    with transaction.atomic():
        lease.renew()
        if MappingState.objects.filter(mapping=mapping, halt=MappingState.Halt.APPROVAL).exists():
            forget(mapping)  # else somebody approved it meanwhile: what it noted is being synced


def forget(mapping: Mapping, why: str = "version_moved_on") -> None:
    """Whatever a survey noted; the next run lists both sides anew. `why`: a reason code for its run."""
    with transaction.atomic():
        Run.objects.filter(mapping=mapping, kind=Run.Kind.FIRST, state=Run.State.APPROVAL).update(
            state=Run.State.LOST, error={"code": why, "params": {}}
        )
        ChangedRecord.objects.filter(mapping=mapping).delete()
        MatchKey.objects.filter(mapping=mapping).delete()
        Cursor.objects.filter(mapping=mapping).delete()
        MappingState.objects.filter(mapping=mapping).update(halt="", halt_reason={}, halted_at=None, surveyed_at=None)


def _waiting(session: Session) -> Any:
    return ChangedRecord.objects.filter(mapping=session.mapping)


def _batches(session: Session, side: str) -> Iterator[list[str]]:
    last = 0
    while True:
        rows = list(_waiting(session).filter(side=side, pk__gt=last).order_by("pk")[:PREVIEW_BATCH])
        if not rows:
            return
        last = rows[-1].pk
        yield [row.external_id for row in rows]


def _preview(session: Session) -> dict[str, Any]:
    """Counts of what approval would lead to; nothing but match keys is stored.

    {"matched", "ambiguous", "create": {"left", "right"}, "listed": {"left", "right"},
     "differences": [{"rule", "label", "write_left", "write_right", "review", "equal"}], "samples": {...}}
    """
    listed: Counter[str] = Counter()
    for side in SIDES:
        for ids in _batches(session, side):
            reading = Reading()
            read_into(session, reading, {side: ids})
            note_match_keys(session, side, [r for r in reading.records[side].values() if not r.deleted])
            listed[side] += len(ids)
            session.done += len(ids)
            session.lease.renew()
            session.progress()
    pairs, ambiguous = _pairs(session)
    matched = {side: {pair[index] for pair in pairs} for index, side in enumerate(SIDES)}
    create, refusals = _creations(session, matched, ambiguous)
    return {
        "matched": len(pairs),
        "ambiguous": len(ambiguous["left"]) + len(ambiguous["right"]),
        "create": create,
        "listed": dict(listed),
        "differences": _differences(session, pairs),
        "samples": {"cannot_create": refusals},
    }


def _pairs(session: Session) -> tuple[list[tuple[str, str]], dict[str, set[str]]]:
    """Records that fit exactly one another by their strongest match key, and those with more than one fit."""
    pairs: list[tuple[str, str]] = []
    done: dict[str, set[str]] = {side: set() for side in SIDES}
    ambiguous: dict[str, set[str]] = {side: set() for side in SIDES}
    linked = Link.objects.filter(mapping=session.mapping)
    for side in SIDES:
        done[side].update(id for id in linked.values_list(f"{side}_id", flat=True) if id)
    for alternative in range(len(session.compiled.match_keys)):
        rows = MatchKey.objects.filter(mapping=session.mapping, alternative=alternative)
        shared = rows.values("digest").annotate(sides=Count("side", distinct=True)).filter(sides=2)
        groups: dict[str, dict[str, list[str]]] = {}
        for digest, side, external_id in rows.filter(digest__in=shared.values("digest")).values_list(
            "digest", "side", "external_id"
        ):
            if external_id not in done[side] and external_id not in ambiguous[side]:
                groups.setdefault(digest, {one: [] for one in SIDES})[side].append(external_id)
        for group in groups.values():
            if len(group["left"]) == 1 and len(group["right"]) == 1:
                pairs.append((group["left"][0], group["right"][0]))
                for side in SIDES:
                    done[side].update(group[side])
            elif group["left"] and group["right"]:
                for side in SIDES:
                    ambiguous[side].update(group[side])
    return pairs, ambiguous


def _creations(
    session: Session, matched: dict[str, set[str]], ambiguous: dict[str, set[str]]
) -> tuple[dict[str, int], list[str]]:
    """How many twins would be made on each side, and names of records that cannot get one."""
    numbers = dict.fromkeys(SIDES, 0)
    refusals: list[str] = []
    for source, target in (("left", "right"), ("right", "left")):
        if not session.compiled.side(target).create:
            continue
        for ids in _batches(session, source):
            alone = [id for id in ids if id not in matched[source] and id not in ambiguous[source]]
            reading = Reading()
            read_into(session, reading, {source: alone})
            for record in reading.records[source].values():
                if record.deleted:
                    continue
                if hasattr(plan_creation(session.compiled, source, record), "fields"):
                    numbers[target] += 1
                elif len(refusals) < SAMPLES:
                    refusals.append(record.key or record.external_id)
    return numbers, refusals


def _differences(session: Session, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Per rule: how many matched pairs say the same, and what the first meeting would do to the others."""
    counts: dict[str, Counter[str]] = {rule.id: Counter() for rule in session.compiled.rules}
    for start in range(0, len(pairs), PREVIEW_BATCH):
        part = pairs[start : start + PREVIEW_BATCH]
        reading = Reading()
        read_into(session, reading, {side: [pair[index] for pair in part] for index, side in enumerate(SIDES)})
        for left_id, right_id in part:
            left, right = reading.get("left", left_id), reading.get("right", right_id)
            if left is None or right is None:
                continue
            view = LinkView(0, left_id, right_id, {"left": {}, "right": {}})
            for rule in session.compiled.rules:
                f: Field = field_of(rule, view, left, right)
                outcome = merge_field(rule, f)
                if isinstance(outcome, Write):
                    counts[rule.id][f"write_{outcome.side}"] += 1
                else:
                    counts[rule.id]["review" if isinstance(outcome, Ask) else "equal"] += 1
        session.lease.renew()
    return [
        {
            "rule": rule.id,
            "label": rule.label,
            **{name: counts[rule.id][name] for name in ("equal", "write_left", "write_right", "review")},
        }
        for rule in session.compiled.rules
    ]
