"""A pair as it is now: both records read live, each rule judged, beside what was last agreed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import connections as databases
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString

from connections.connectors.base import Connector, ConnectorError, Record
from mappings.compiled import CompiledMapping, CompiledRule, Standstill, compile_document
from mappings.models import Mapping as SyncMapping
from sync.merge import MISSING, Agree, Ask, Drift, Field, Nothing, Outcome, Skip, Write, merge_field
from sync.models import Conflict, Link
from sync.schema import standing
from sync.session import SIDES, stored_findings
from sync.views import _schema
from sync.views._values import brief

# (badge kind, icon, word) of what the merge says about a field.
AGREE = ("ok", "check", "Agree")
STILL = ("warn", "table", "Stands still")


@dataclass(frozen=True, slots=True)
class Row:
    """One rule. left, right: now, None where unknown; `same` says that both bases read alike."""

    label: str
    right_label: str
    left: SafeString | None
    right: SafeString | None
    left_base: SafeString | None
    right_base: SafeString | None
    kind: str = ""
    icon: str = ""
    word: str = ""
    conflict: Conflict | None = None

    @property
    def same(self) -> bool:
        return self.left_base == self.right_base


@dataclass(slots=True)
class Now:
    """Both sides. `trouble`: {side: why it could not be read}; `records`: {side: Record}; `urls`: deep links."""

    rows: list[Row] = field(default_factory=list)
    trouble: dict[str, str] = field(default_factory=dict)
    records: dict[str, Record | None] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)

    @property
    def differing(self) -> list[Row]:
        return [row for row in self.rows if row.word not in ("", STILL[2]) and row.kind != "ok"]

    @property
    def standing(self) -> list[Row]:
        return [row for row in self.rows if row.word == STILL[2]]

    @property
    def read(self) -> bool:
        return not self.trouble and all(self.records.values())


def compiled_of(mapping: SyncMapping) -> CompiledMapping | None:
    """The version that runs, with what stands still of it. One query."""
    if mapping.published is None or not mapping.published.document["rules"]:
        return None
    return standing(compile_document(mapping.published.document), stored_findings(mapping))


def as_agreed(link: Link, compiled: CompiledMapping | None, conflicts: Sequence[Conflict]) -> list[Row]:
    """The rows without a live read: what was last agreed, and what waits. `conflicts`: with the mapping's entries."""
    return [_row(link, rule, compiled, {}, conflicts) for rule in compiled.rules] if compiled else []


def look(link: Link, compiled: CompiledMapping | None, conflicts: Sequence[Conflict]) -> Now:
    """Read both records now. Remote trouble is told, not raised."""
    now = Now()
    connectors: dict[str, Connector] = {}
    for side in SIDES:
        try:
            connectors[side] = import_string(settings.OPEN_CONNECTOR)(link.mapping.connection(side), lane="live")
        except ConnectorError as error:
            now.trouble[side] = _reason(error)
            continue
        now.urls[side] = _url(connectors[side], link, side)
    wanted = [side for side in connectors if link.record_id(side)]
    with ThreadPoolExecutor(2) as pool:
        paths = {side: compiled.paths(side) if compiled else [] for side in wanted}
        answers = {side: pool.submit(_read, connectors[side], link, side, paths[side]) for side in wanted}
        for side, answer in answers.items():
            try:
                now.records[side] = answer.result()
            except ConnectorError as error:
                now.trouble[side] = _reason(error)
    if compiled:
        now.rows = [_row(link, rule, compiled, now.records, conflicts) for rule in compiled.rules]
    return now


def _reason(error: ConnectorError) -> str:
    return error.message.rstrip(".") or "no reason was given"


def _read(connector: Connector, link: Link, side: str, paths: Sequence[str]) -> Record | None:
    external_id = link.record_id(side) or ""
    try:
        found: Record | None = connector.get_many(link.mapping.object_type(side), [external_id], paths).get(external_id)
    finally:
        databases.close_all()  # of this thread: nobody else would
    return found


def _url(connector: Connector, link: Link, side: str) -> str:
    external_id = link.record_id(side)
    if external_id is None:
        return ""
    return connector.url_of(link.mapping.object_type(side), external_id, getattr(link, f"{side}_key") or None)


def _row(
    link: Link,
    rule: CompiledRule,
    compiled: CompiledMapping,
    records: Mapping[str, Record | None],
    conflicts: Sequence[Conflict],
) -> Row:
    values = {side: _value(records.get(side), rule, side) for side in SIDES}
    conflict = next((one for one in conflicts if one.rule_id == rule.id and one.link_id is not None), None)
    kind, icon, word = _state(link, rule, values, conflict, compiled.still.get(rule.id))
    if word == STILL[2]:
        conflict = _schema.about(conflicts, rule.id)
    shown = {side: None if values[side] is MISSING else brief(values[side], rule.field(side)) for side in SIDES}
    bases = {
        side: brief(link.bases(side)[rule.id], rule.field(side)) if rule.id in link.bases(side) else None
        for side in SIDES
    }
    right_label = rule.right.label if rule.right.label != rule.left.label else ""
    return Row(
        rule.left.label,
        right_label,
        shown["left"],
        shown["right"],
        bases["left"],
        bases["right"],
        kind,
        icon,
        word,
        conflict,
    )


def _value(record: Record | None, rule: CompiledRule, side: str) -> Any:
    if record is None or record.deleted or rule.field(side).path in record.unreadable:
        return MISSING
    return record.values.get(rule.field(side).path, MISSING)


def _state(
    link: Link, rule: CompiledRule, values: Mapping[str, Any], conflict: Conflict | None, still: Standstill | None
) -> tuple[str, str, str]:
    """The badge, by the very function that decides."""
    if conflict is not None:
        resolving = conflict.state == Conflict.State.RESOLVING
        return ("info", "clock", "Being settled") if resolving else ("warn", "warn", conflict.get_kind_display())
    if still is not None and still.whole:
        return STILL
    if values["left"] is MISSING and values["right"] is MISSING:
        return "", "", ""
    outcome: Outcome = merge_field(
        rule,
        Field(
            left=values["left"],
            right=values["right"],
            left_base=link.left_bases.get(rule.id, MISSING),
            right_base=link.right_bases.get(rule.id, MISSING),
            parked=link.parked.get(rule.id),
        ),
    )
    match outcome:
        case Skip():
            return "", "lock", "Not readable"
        case Drift() | Nothing() if link.agreed_differences.get(rule.id):
            return "info", "hand", "May differ"
        case Drift():
            return "warn", "fork", "Differs"
        case Write(side, value) if still is not None and still.holds(side, value):
            return STILL
        case Write() if link.state == Link.State.HELD:
            return "warn", "hand", "Held"
        case Write() if link.state in (Link.State.UNLINKED, Link.State.DELETED):
            return "warn", "fork", "Differs"
        case Write():
            return "info", "swap", "On its way"
        case Ask():
            return "warn", "inbox", "Will be asked"
        case Nothing() | Agree():
            return AGREE
        case _:
            return "", "", ""
