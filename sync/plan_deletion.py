"""A certain deletion decided: what it does to the twin, read again just now. Pure, like plan.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from connections.connectors.base import Record
from mappings.compiled import CompiledMapping, CompiledRule
from sync.merge import MISSING, OTHER, is_empty
from sync.plan import LinkPlan, LinkView, PlannedConflict, PlannedOperation


def plan_deletion(
    mapping: CompiledMapping,
    link: LinkView,
    gone: str,
    survivor: Record | None,
    released: bool = False,
    merged: Mapping[str, str] | None = None,
    outside: bool = False,
) -> LinkPlan:
    """Decide what the certain deletion of the record on side `gone` does to its twin, read again just now.

    `released`: a person asked to delete the twin. Deleted here and edited there always goes to a person, and so does
    what was `merged` into a record that has a twin of its own: {"into", "twin"} for people to read. `outside`: the
    scope leaves the pair out, so that nothing is written there unasked.
    """
    other = OTHER[gone]
    plan = LinkPlan()
    if survivor is None or survivor.deleted:
        plan.state = "deleted"
        return plan
    said = {
        rule.id: survivor.values[rule.field(other).path]
        for rule in mapping.rules
        if not _unknown(rule, other, survivor)
    }
    edited = any(_says_more(rule, link.bases[other], other, survivor) for rule in mapping.rules)
    # Invariant: nothing is deleted of which we cannot tell whether somebody edited it since it was agreed.
    unread = [
        rule.field(other).path for rule in mapping.rules if _may_hide_an_edit(mapping, rule, link, other, survivor)
    ]
    policy = "delete" if released else mapping.side(gone).on_delete
    if policy in ("delete", "close") and not link.bases[other] and not released:
        policy = "review"  # linked a moment ago, never agreed: the survivor is no copy of what is gone
    parked = link.parked.get("", {})
    if parked.get("code") in ("delete_refused", "close_refused") and not released:
        kind = "refused" if parked["code"] == "delete_refused" else "delete_update"
        plan.conflicts.append(PlannedConflict("", kind, parked["code"], parked["params"]))
    elif merged and policy not in ("unlink", "ignore"):
        plan.conflicts.append(PlannedConflict("", "delete_update", "merged_away", {"side": gone, **merged}))
    elif edited and not released:
        plan.conflicts.append(PlannedConflict("", "delete_update", "deleted_and_edited", {"side": gone}))
    elif unread and not released and policy not in ("unlink", "ignore"):
        plan.conflicts.append(
            PlannedConflict("", "delete_update", "deleted_and_unread", {"side": gone, "fields": unread})
        )
    elif outside and policy in ("delete", "close") and not released:
        plan.conflicts.append(PlannedConflict("", "delete_update", "deleted_out_of_scope", {"side": gone}))
    elif policy == "review":
        plan.conflicts.append(PlannedConflict("", "delete_update", "deleted_ask", {"side": gone}))
    elif policy == "delete":
        held = {rule_id: value for rule_id, value in said.items() if not is_empty(value)}
        plan.operations.append(PlannedOperation(other, "delete", unsent=held, code="twin_deleted"))
    elif policy == "close" and not _says(survivor, mapping.side(other).close_values):
        # The link becomes a tombstone once this is confirmed.
        values = mapping.side(other).close_values
        replaced = {path: survivor.values.get(path) for path in values}
        plan.operations.append(PlannedOperation(other, "update", extra=values, unsent=replaced, code="twin_closed"))
    else:
        plan.state = "unlinked" if policy == "unlink" else "deleted"
    plan.conflicts = [replace(asked, said={other: said}) for asked in plan.conflicts]
    return plan


def moved_since(mapping: CompiledMapping, link: LinkView, gone: str, survivor: Record, seen: Mapping[str, Any]) -> bool:
    """Whether the survivor says something else than who asked to delete it was shown: `seen`, {rule id: value}.

    What they were not shown must still be as it was agreed.
    """
    other = OTHER[gone]
    known = {**link.bases[other], **seen}
    hidden = any(rule.id in seen and _unknown(rule, other, survivor) for rule in mapping.rules)
    return hidden or any(_says_more(rule, known, other, survivor) for rule in mapping.rules)


def _says_more(rule: CompiledRule, known: Mapping[str, Any], side: str, survivor: Record) -> bool:
    """Whether a field of the survivor holds what is not `known`: an edit, or a value from before the first look."""
    if _unknown(rule, side, survivor):
        return False
    value, base = survivor.values[rule.field(side).path], known.get(rule.id, MISSING)
    return not is_empty(value) if base is MISSING else bool(value != base)


def _unknown(rule: CompiledRule, side: str, record: Record) -> bool:
    """Whether the record's system did not tell the value of this field: hidden from our account, or removed."""
    path = rule.field(side).path
    return path in record.unreadable or path not in record.values


def _may_hide_an_edit(mapping: CompiledMapping, rule: CompiledRule, link: LinkView, side: str, record: Record) -> bool:
    """Whether the field is not told, and was agreed once, is asked about, is hidden or stands still: one that the
    record never had holds nothing."""
    held = rule.id in link.bases[side] or rule.id in link.open_conflicts or rule.id in mapping.still
    return rule.field(side).path in record.unreadable or (held and _unknown(rule, side, record))


def _says(record: Record, values: Mapping[str, Any]) -> bool:
    """Whether the record is known to have all these values already; no values count as said."""
    return all(path in record.values and record.values[path] == value for path, value in values.items())
