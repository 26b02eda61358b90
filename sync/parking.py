"""When a parked value is sent again: its value or its rule changed, or a person asks; for fields: schema_entries.py.

A value changes by an edit, which the merge sees. Everything else is noted at the open question (`Conflict.retry`) and
taken up by the next plan under the lease, so that no page and no run overwrites what the other one says of a link.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from mappings.compiled import CompiledRule
from mappings.models import Mapping as SyncMapping
from sync import causes, hints
from sync.merge import OTHER, counterpart, unsure_of
from sync.models import Conflict, Link
from sync.session import SIDES
from sync.state import Batch

# Why a parked value is tried once more.
ASKED, VERSION_CHANGED = "asked", "version_changed"
# Records rung at once: a statement takes so many ids on both databases.
CHUNK = 1000


def retryable(mapping_id: int) -> QuerySet[Conflict]:
    """Open questions of a mapping that a repetition may answer. ⚑ Never those about a write that may have happened."""
    failed = Conflict.objects.filter(mapping=mapping_id, state=Conflict.State.OPEN).exclude(fingerprint="")
    return failed.exclude(code__in=causes.UNSURE_CODES)


def unpark(mapping: SyncMapping, rule_ids: Iterable[str]) -> int:
    """Try what waits on these rules of a new version once more ("" stands for records as a whole). Returns the number
    of questions.

    They stay open until the next plan has tried; hints for their records are marked behind live edits, so brakes and
    rate budget hold.
    """
    with transaction.atomic():
        hints.lock(mapping.pk)
        waiting = retryable(mapping.pk).filter(rule_id__in=list(rule_ids))
        found = list(waiting.values_list("pk", "link_id", "subject"))
        for start in range(0, len(found), CHUNK):
            part = found[start : start + CHUNK]
            Conflict.objects.filter(pk__in=[pk for pk, *_ in part]).update(retry=VERSION_CHANGED)
            ring(mapping.pk, [link_id for _, link_id, _ in part if link_id], [subject for *_, subject in part])
    return len(found)


def ring(mapping_id: int, links: Sequence[int], subjects: Iterable[str] = ()) -> None:
    """Look at the records of these links, and at those that questions without a link are about ("left:10042")."""
    ids: dict[str, list[str]] = {side: [] for side in SIDES}
    for left, right in Link.objects.filter(pk__in=links).values_list("left_id", "right_id"):
        ids["left"] += [left] if left else []
        ids["right"] += [right] if right else []
    for subject in subjects:
        side, _, external_id = subject.partition(":")
        if side in ids and external_id:
            ids[side].append(external_id)
    for side in SIDES:
        hints.try_again(mapping_id, side, ids[side])


# A new version. --------------------------------------------------------------------------------------------------


def changed_rules(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Ids of the rules of `new` that `old` says otherwise or does not have; "" where creating or closing changed."""
    before = {rule["id"]: rule for rule in old.get("rules", ())}
    found = [rule["id"] for rule in new.get("rules", ()) if before.get(rule["id"]) != rule]
    sides = ("create", "create_defaults", "on_delete", "close_values")
    whole = any(old.get(side, {}).get(name) != new.get(side, {}).get(name) for side in SIDES for name in sides)
    return [*found, ""] if found or whole else []


# Under the lease. ------------------------------------------------------------------------------------------------


def lift(known: Batch, rules: Sequence[CompiledRule]) -> None:
    """Take what is to be tried once more out of the links' parked values, before anything is decided about them.

    ⚑ A write that may have happened stays parked. Nothing is saved here: the commit of the plan does.
    """
    by_id = {rule.id: rule for rule in rules}
    for link in known.links:
        for rule_id, conflict in known.conflicts.get(link.pk, {}).items():
            if not conflict.retry or link.pk in known.busy:
                continue
            known.lifted[conflict.pk], conflict.retry = link.pk, ""
            parked = link.parked.get(rule_id)
            if parked is None or parked.get("code") in causes.UNSURE_CODES:
                continue
            let_go(link, rule_id)
            if parked.get("code") == "cut_short" and rule_id in by_id:
                _send_whole(link, by_id[rule_id], parked["side"])


def let_go(link: Link, rule_id: str) -> None:
    """What was refused is parked no longer; ⚑ a write that may have happened before it still is."""
    maybe = unsure_of(link.parked.pop(rule_id, {}))
    if maybe:
        link.parked[rule_id] = dict(maybe)


def _send_whole(link: Link, rule: CompiledRule, side: str) -> None:
    """Only the beginning of a text was kept, and that was agreed: what the source says is an edit of it again."""
    source = OTHER[side]
    link.bases(source)[rule.id] = counterpart(rule, source, link.bases(side).get(rule.id))
