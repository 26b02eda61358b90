"""Everything that failed and still stands, by cause. Read from what the engine keeps anyway; there is no second book.

Three things can stand: a question in which something could not be done (a refused value, one without a counterpart, a
create that may have happened), a write that keeps failing, and a record that cannot be read or planned. Each is listed
until the engine closes it: the question by its answer, the write by the next plan or answer, the record with its hint.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeGuard

from django.db.models import Count, Max, Min, Q, QuerySet

from connections.access import mappings_for
from mappings.models import Mapping as SyncMapping
from sync import causes
from sync.models import ChangedRecord, Conflict, Link, Operation

QUESTION, WRITE, RECORD = causes.QUESTION, causes.WRITE, causes.RECORD
Entry = Conflict | Operation | ChangedRecord
# The key of one entry in addresses and commands: its letter and its number.
LETTERS = {QUESTION: "q", WRITE: "w", RECORD: "r"}
SOURCES = {letter: source for source, letter in LETTERS.items()}
# Questions about a field that is not what the mapping knows: what helps is to read the fields again.
ABOUT_FIELDS = Q(kind=Conflict.Kind.SCHEMA, link__isnull=True)
# Causes listed at once; more differ in their messages only, and a filter narrows them.
MOST_CAUSES = 100


@dataclass(frozen=True)
class Standing:
    """Failures as three lazy lists, narrowed step by step."""

    questions: QuerySet[Conflict]
    writes: QuerySet[Operation]
    records: QuerySet[ChangedRecord]

    @property
    def lists(self) -> dict[str, QuerySet[Any]]:
        return {QUESTION: self.questions, WRITE: self.writes, RECORD: self.records}

    def where(self, *conditions: Q, **more: Any) -> Standing:
        return Standing(
            self.questions.filter(*conditions, **more),
            self.writes.filter(*conditions, **more),
            self.records.filter(*conditions, **more),
        )

    def of_group(self, fingerprint: str) -> Standing:
        return self.where(fingerprint=fingerprint)

    def of_keys(self, keys: Iterable[str]) -> Standing:
        """Single entries, named by their keys; what is no key names nothing."""
        ids: dict[str, list[int]] = {source: [] for source in LETTERS}
        for key in keys:
            source, number = SOURCES.get(key[:1]), key[1:]
            if source and number.isdecimal() and len(number) < 19:
                ids[source].append(int(number))
        return Standing(
            self.questions.filter(pk__in=ids[QUESTION]),
            self.writes.filter(pk__in=ids[WRITE]),
            self.records.filter(pk__in=ids[RECORD]),
        )

    def listed(self, ignored: bool = False) -> Standing:
        """Those that nobody ignores, or those that somebody does."""
        return self.where(ignored__isnull=not ignored)

    def count(self) -> int:
        """How many there are, in one query."""
        keys = [rows.order_by().values("pk") for rows in self.lists.values()]
        return keys[0].union(*keys[1:], all=True).count()


def standing() -> Standing:
    """All failures, of all mappings."""
    return Standing(
        Conflict.objects.filter(state__in=(Conflict.State.OPEN, Conflict.State.RESOLVING)).exclude(fingerprint=""),
        Operation.objects.filter(failing_since__isnull=False),
        ChangedRecord.objects.exclude(fingerprint=""),
    )


def visible_to(user: Any) -> Standing:
    return standing().where(mapping__in=SyncMapping.objects.visible_to(user))


def within(every: Standing, user: Any, questions: str, others: str) -> Standing:
    """Those of `every` on which `user` may do the action `questions` or, for writes, records and fields, `others`."""

    def permitted(action: str) -> Q:
        mappings = mappings_for(user, action)
        return Q() if mappings is None else Q(mapping__in=mappings)

    return replace(
        every,
        questions=every.questions.filter(~ABOUT_FIELDS & permitted(questions) | ABOUT_FIELDS & permitted(others)),
        writes=every.writes.filter(permitted(others)),
        records=every.records.filter(permitted(others)),
    )


# Groups. ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """The failures of one cause. `under_way`: those of them that are being tried; `sample`: the newest entry."""

    fingerprint: str
    source: str
    mapping_id: int
    number: int
    under_way: int
    first: datetime
    last: datetime
    sample: Entry


# By source: (when an entry began, when it last failed, which of them are being tried).
TIMES: Mapping[str, tuple[str, str, Q]] = {
    QUESTION: ("opened_at", "moved_at", Q(state=Conflict.State.RESOLVING)),
    WRITE: ("failing_since", "finished_at", Q(pk__in=())),
    RECORD: ("failing_since", "failed_at", Q(pk__in=())),
}
RELATED: Mapping[str, Sequence[str]] = {
    QUESTION: ("link", "mapping__left_connection", "mapping__right_connection", "mapping__published", "ignored"),
    WRITE: ("link", "mapping__left_connection", "mapping__right_connection", "mapping__published", "ignored"),
    RECORD: ("link", "mapping__left_connection", "mapping__right_connection", "mapping__published", "ignored"),
}


def groups(those: Standing, most: int = MOST_CAUSES) -> list[Group]:
    """Their causes, the one with most entries first; at most `most` of each source. Two queries a source."""
    found: list[Group] = []
    for source, rows in those.lists.items():
        began, failed, under_way = TIMES[source]
        counted = list(
            rows.order_by()
            .values("fingerprint", "mapping_id")
            .annotate(
                number=Count("pk"),
                trying=Count("pk", filter=under_way),
                first=Min(began),
                last=Max(failed),
                newest=Max("pk"),
            )
            .order_by("-number", "-newest")[:most]
        )
        samples = with_related(source, rows.model._default_manager.all()).in_bulk([one["newest"] for one in counted])
        found += [
            Group(
                one["fingerprint"],
                source,
                one["mapping_id"],
                one["number"],
                one["trying"],
                one["first"],
                max(one["first"], one["last"] or one["first"]),
                samples[one["newest"]],
            )
            for one in counted
            if one["newest"] in samples
        ]
    return sorted(found, key=lambda group: (-group.number, group.fingerprint))


def with_related(source: str, rows: QuerySet[Any]) -> QuerySet[Any]:
    return rows.select_related(*RELATED[source])


def about_fields(entry: Entry) -> TypeGuard[Conflict]:
    return isinstance(entry, Conflict) and entry.kind == Conflict.Kind.SCHEMA and entry.link_id is None


def source_of(entry: Entry) -> str:
    return QUESTION if isinstance(entry, Conflict) else WRITE if isinstance(entry, Operation) else RECORD


def key_of(entry: Entry) -> str:
    return f"{LETTERS[source_of(entry)]}{entry.pk}"


# What is said of an entry. ---------------------------------------------------------------------------------------


def code_of(entry: Entry) -> tuple[str, dict[str, Any]]:
    """(reason code, its parameters): what sync/wording.py makes a sentence of."""
    if isinstance(entry, Conflict):
        return entry.code, dict(entry.params)
    if isinstance(entry, Operation):
        return str(entry.result.get("code", "gave_up")), dict(entry.result.get("params") or {})
    return "record_failed", {"message": entry.error}


def side_of(entry: Entry) -> str:
    """The side that would not take it, or whose record fails; "" where neither is."""
    return str(entry.params.get("side") or "") if isinstance(entry, Conflict) else str(entry.side)


def links_of(records: Collection[ChangedRecord]) -> dict[int, Link]:
    """{hint: its pair}: also of hints that stand for no pair because the other one does. One query."""
    these = Q(pk__in=())
    for side in ("left", "right"):
        these |= Q(**{f"{side}_id__in": [one.external_id for one in records if one.side == side]})
    rows = Link.objects.filter(these, mapping__in={one.mapping_id for one in records}) if records else ()
    by_record = {
        (link.mapping_id, side, external_id): link
        for link in rows
        for side in ("left", "right")
        if (external_id := link.record_id(side))
    }
    found = {one.pk: by_record.get((one.mapping_id, one.side, one.external_id)) for one in records}
    return {pk: link for pk, link in found.items() if link is not None}
