"""Failures as pages and commands show them: each cause in plain words with its fix, each entry with what was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from connections.access import can
from mappings.compiled import CompiledRule, compile_rule, field_spec
from mappings.models import Mapping as SyncMapping
from sync import causes, failures
from sync.failures import RECORD, WRITE, Entry, Group
from sync.merge import OTHER
from sync.models import ChangedRecord, Conflict, Link, Operation
from sync.remedies import Remedy, remedy
from sync.session import SIDES
from sync.views import _schema
from sync.views._questions import rules_of
from sync.views._values import Control, brief, control_for, system_names
from sync.wording import sentence

# Field names of a write in one line; the others are on the record's page.
MOST_FIELDS = 3
EMPTY = SafeString("")


@dataclass(frozen=True, slots=True)
class Cause:
    """One group in words. `said`: the newest entry's reason; `place`: (address, label) where it is put right;
    `about_fields`: to try again is to read the fields."""

    group: Group
    names: Mapping[str, str]
    side: str
    field: str
    words: Remedy
    said: str
    place: tuple[str, str] | None
    repeatable: bool
    about_fields: bool

    @property
    def mapping(self) -> Any:
        return self.group.sample.mapping

    @property
    def gave_up(self) -> bool:
        return isinstance(self.group.sample, Operation) and self.group.sample.state == Operation.State.DEAD


def cause_of(group: Group, user: Any = None) -> Cause:
    entry = group.sample
    names, side = system_names(entry.mapping), failures.side_of(entry)
    code, params = failures.code_of(entry)
    field = field_of(entry)
    if failures.about_fields(entry):
        words = Remedy(_schema.title(entry), _schema.fix(entry))
        place = next(((way.url, way.label) for way in _schema.ways(entry, user)), None) if user is not None else None
    else:
        system, other = names.get(side, ""), names.get(OTHER.get(side, ""), "")
        words = remedy(remedy_code(entry), _message(entry), system, other, field)
        place = _place(words.place, entry, side, user) if user is not None else None
    return Cause(
        group,
        names,
        side,
        field,
        words,
        sentence(code, params),
        place,
        code not in causes.UNSURE_CODES,
        failures.about_fields(entry),
    )


def remedy_code(entry: Entry) -> str:
    """The code by which the remedies know it."""
    if isinstance(entry, Conflict):
        return entry.code
    if isinstance(entry, Operation):
        return "write_failed"
    return entry.failed_code or "not_planned"


def _message(entry: Entry) -> str:
    if isinstance(entry, ChangedRecord):
        return entry.error
    return str(failures.code_of(entry)[1].get("message") or "")


def field_of(entry: Entry) -> str:
    """What people call the field, or the fields, in question; "" for a record as a whole."""
    if isinstance(entry, Conflict):
        return entry.field_label
    if isinstance(entry, ChangedRecord):
        return ""
    rules = rules_of(entry.mapping.published.document) if entry.mapping.published else {}
    labels = [
        str(rules[rule_id][entry.side].get("label") or sent["path"]) if rule_id in rules else sent["path"]
        for rule_id, sent in entry.fields.items()
    ]
    more = len(labels) - MOST_FIELDS
    return ", ".join(labels[:MOST_FIELDS]) + (f" and {more} more" if more > 0 else "")


def _place(place: str, entry: Entry, side: str, user: Any) -> tuple[str, str] | None:
    mapping = entry.mapping
    if place == "value_map" and can(user, "value_maps.read"):
        return reverse("value-maps"), "See the value maps"
    if place == "mapping" and can(user, "mappings.read", mapping):
        return reverse("mapping-settings", args=[mapping.slug]), "See the mapping's settings"
    if place == "connection" and side in OTHER and can(user, "connections.read"):
        return reverse("connection", args=[mapping.connection(side).pk]), "See the connection"
    if place == "queue" and isinstance(entry, Conflict):
        return f"{reverse('review-queue')}?mapping={mapping.slug}&kind={entry.kind}", "See them in the review queue"
    return None


# Entries of one group. -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One entry. `sent`: what would not be taken; `next_at`: the next try by itself, None where a person is asked."""

    key: str
    entry: Entry
    link: Link | None
    label: str
    title: str
    sent: SafeString
    said: str
    since: datetime | None
    tries: int
    next_at: datetime | None
    under_way: bool
    editable: bool


def rows_of(entries: Sequence[Entry]) -> list[Row]:
    """Rows of one source, in at most two queries besides the entries themselves."""
    if not entries:
        return []
    source = failures.source_of(entries[0])
    if source == RECORD:
        links = failures.links_of([one for one in entries if isinstance(one, ChangedRecord)])
        return [_record_row(one, links.get(one.pk)) for one in entries if isinstance(one, ChangedRecord)]
    if source == WRITE:
        writes = [one for one in entries if isinstance(one, Operation)]
        waiting = _waiting(writes)
        return [_write_row(one, waiting) for one in writes]
    creates = _refused_creates(entries)
    return [_question_row(one, creates) for one in entries if isinstance(one, Conflict)]


def _question_row(one: Conflict, creates: Mapping[int, Operation]) -> Row:
    sent = one.params.get("sent", one.params.get("value"))
    spec = _specs(one).get(failures.side_of(one))
    return Row(
        failures.key_of(one),
        one,
        one.link,
        str(one.link) if one.link else one.title or one.subject,
        one.title if one.link else "",
        EMPTY if sent is None else brief(sent, spec),
        sentence(one.code, one.params),
        one.opened_at,
        0,
        None,
        one.state == Conflict.State.RESOLVING,
        editable(one, creates=creates) is not None,
    )


def _specs(one: Conflict) -> dict[str, Any]:
    rule = rules_of(one.mapping.published.document).get(one.rule_id) if one.mapping.published else None
    return {side: field_spec(rule[side]) for side in SIDES} if rule else {}


def _write_row(one: Operation, waiting: Mapping[tuple[int, str, str], ChangedRecord]) -> Row:
    hints = [
        hint
        for side in SIDES
        if (hint := waiting.get((one.mapping_id, side, one.link.record_id(side) or ""))) is not None
    ]
    sent = next(iter(one.fields.values()), None) if len(one.fields) == 1 else None
    next_at = min((hint.not_before for hint in hints), default=None)
    code, params = failures.code_of(one)
    return Row(
        failures.key_of(one),
        one,
        one.link,
        str(one.link),
        one.link.title,
        brief(sent["value"], None) if sent else EMPTY,
        sentence(code, params),
        one.failing_since,
        max((hint.attempts for hint in hints), default=0),
        next_at,
        next_at is None or next_at <= timezone.now(),
        editable(one) is not None,
    )


def _record_row(one: ChangedRecord, link: Link | None) -> Row:
    return Row(
        failures.key_of(one),
        one,
        link,
        str(link) if link else one.external_id,
        link.title if link else "",
        EMPTY,
        one.error,
        one.failing_since,
        one.attempts,
        one.not_before,
        one.not_before <= timezone.now(),
        False,
    )


def _waiting(writes: Sequence[Operation]) -> dict[tuple[int, str, str], ChangedRecord]:
    """The hints of these writes' records: when each is tried again. One query."""
    these = Q(pk__in=())
    for side in SIDES:
        these |= Q(side=side, external_id__in=[id_ for one in writes if (id_ := one.link.record_id(side))])
    rows = ChangedRecord.objects.filter(these, mapping__in={one.mapping_id for one in writes})
    return {(one.mapping_id, one.side, one.external_id): one for one in rows}


# Editing what is sent. -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Editable:
    """A value that can be sent instead. `seen`: the field's values that the failure is about, by side; `choices`:
    (rule id, label) of every field of the same write that can be edited."""

    link: Link
    rule: CompiledRule
    side: str
    sent: Any
    seen: Mapping[str, Any]
    control: Control
    choices: Sequence[tuple[str, str]] = ()


def editable(entry: Entry, field: str = "", creates: Mapping[int, Operation] | None = None) -> Editable | None:
    """What of an entry can be edited and sent: one field of a pair, on a side the rule writes to.

    `field`: the rule id of the one that was chosen, where a write has several; else the first of them. `creates`: the
    refused creates of a list of entries, read together.
    """
    link = entry.link if isinstance(entry, Conflict | Operation) else None
    side = failures.side_of(entry)
    if link is None or side not in OTHER:
        return None
    if isinstance(entry, Conflict) and entry.rule_id:
        values = {"left": entry.left_value, "right": entry.right_value}
        there = link.state == Link.State.ACTIVE and link.left_id and link.right_id
        if not there or entry.state != Conflict.State.OPEN:
            return None
        return _editable(link, entry.mapping, entry.rule_id, side, entry.params.get("sent"), values)
    write = _write_of(entry, link, _refused_creates([entry]) if creates is None else creates)
    found = [
        one
        for rule_id, sent in (write.fields if write else {}).items()
        if (one := _editable(link, entry.mapping, rule_id, side, sent["value"], _values(side, sent))) is not None
    ]
    here = next((one for one in found if one.rule.id == field), found[0] if found and not field else None)
    return replace(here, choices=[(one.rule.id, one.rule.field(side).label) for one in found]) if here else None


def _refused_creates(entries: Sequence[Entry]) -> dict[int, Operation]:
    """{link: its last create} of the open questions about twins that were refused. One query."""
    asked = [
        one.link_id
        for one in entries
        if isinstance(one, Conflict)
        and one.link is not None
        and one.code in ("create_refused", "fits_what_was_sent")
        and (one.state, one.link.state) == (Conflict.State.OPEN, Link.State.CREATING)
    ]
    creates = Operation.objects.filter(link__in=asked, kind=Operation.Kind.CREATE).order_by("pk")
    return {one.link_id: one for one in creates} if asked else {}


def _write_of(entry: Entry, link: Link, creates: Mapping[int, Operation]) -> Operation | None:
    """The write that failed: the last create of a twin that was refused, or one to a pair that is there."""
    if not isinstance(entry, Operation):
        return creates.get(link.pk)
    creating = entry.kind == Operation.Kind.CREATE
    there = link.state == (Link.State.CREATING if creating else Link.State.ACTIVE)
    return entry if there and entry.kind != Operation.Kind.DELETE else None


def _values(side: str, sent: Mapping[str, Any]) -> dict[str, Any]:
    return {side: sent["before"], OTHER[side]: sent["source"]}


def _editable(
    link: Link, mapping: SyncMapping, rule_id: str, side: str, sent: Any, seen: Mapping[str, Any]
) -> Editable | None:
    raw = rules_of(mapping.published.document).get(rule_id) if mapping.published else None
    rule = compile_rule(raw) if raw else None
    if rule is None or raw is None or not rule.may_write(side) or not rule.field(side).writable:
        return None
    spec = rule.field(side)
    listed = list(dict.fromkeys(one.get(side) for one in raw.get("entries") or ())) if spec.kind == "option" else []
    start = seen[side] if sent is None else sent
    return Editable(link, rule, side, sent, seen, control_for(spec, start, listed))


# For other programs. ---------------------------------------------------------------------------------------------


def described(cause: Cause) -> dict[str, Any]:
    group = cause.group
    return {
        "fingerprint": group.fingerprint,
        "source": group.source,
        "mapping": cause.mapping.slug,
        "side": cause.side,
        "field": cause.field,
        "code": remedy_code(group.sample),
        "cause": cause.words.head,
        "fix": cause.words.fix,
        "count": group.number,
        "under_way": group.under_way,
        "first": group.first.isoformat(),
        "last": group.last.isoformat(),
        "sample": {"record": rows_of([group.sample])[0].label, "reason": cause.said},
        "repeatable": cause.repeatable,
    }


def described_row(row: Row) -> dict[str, Any]:
    entry = row.entry
    return {
        "id": row.key,
        "record": row.label,
        "left_id": row.link.left_id if row.link else None,
        "right_id": row.link.right_id if row.link else None,
        "reason": row.said,
        "since": row.since.isoformat() if row.since else None,
        "tries": row.tries,
        "next": row.next_at.isoformat() if row.next_at else None,
        "under_way": row.under_way,
        "conflict": entry.pk if isinstance(entry, Conflict) else None,
        "ignored": {"by": entry.ignored.by_name, "reason": entry.ignored.reason} if entry.ignored else None,
    }
