"""What was decided about one link, with the reads it was decided from, and how its fields are named and told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connections.connectors.base import Change, Record
from mappings.compiled import CompiledRule
from sync import audit
from sync.merge import MISSING
from sync.models import AuditEntry, Link
from sync.plan import LinkPlan
from sync.session import Session


@dataclass
class Decided:
    """One link with the reads it was decided from."""

    link: Link
    plan: LinkPlan
    records: dict[str, Record | None]
    history: Mapping[str, Sequence[Change]] = field(default_factory=dict)  # by side
    entries: list[AuditEntry] = field(default_factory=list)  # what else is to be told of it
    bound: str = ""  # side whose record was found for a link that had none, or took the place of another
    replaced: str = ""  # the record whose place it took


def rule_of(session: Session, rule_id: str) -> CompiledRule | None:
    return next((rule for rule in session.compiled.rules if rule.id == rule_id), None)


def label_of(session: Session, rule_id: str, otherwise: str) -> str:
    """What people call the rule's field; `otherwise`, such as its path, where the rule was taken out since."""
    rule = rule_of(session, rule_id)
    return rule.label if rule else otherwise


def current(one: Decided, rule: CompiledRule, side: str) -> Any:
    record = one.records[side]
    return MISSING if record is None else record.values.get(rule.field(side).path, MISSING)


def audit_entry(session: Session, action: str, code: str, link: Link, **details: Any) -> AuditEntry:
    """An entry about a link in this run."""
    return audit.entry(
        action,
        code,
        mapping=session.mapping,
        mapping_version=session.version.number,
        run_id=session.ensure_run().pk,
        link_id=link.pk,
        object_label=str(link),
        **details,
    )
