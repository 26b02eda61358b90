"""What is known of a record that has no link: a question about it, a change that waits and why, a match key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db.models import Q, QuerySet
from django.urls import reverse

from mappings.models import Mapping as SyncMapping
from sync.merge import OTHER
from sync.models import ChangedRecord, Conflict, MappingState, MatchKey
from sync.noting import UNSEEN, to_be_noted
from sync.session import SIDES
from sync.views import _schema
from sync.views._halts import Why, failed_look, for_its_run, halt_of, url_of

# Lines about one record: it is searched by its id, which several systems may have given.
MOST_SHOWN = 5
OF_MAPPING = ("mapping__left_connection", "mapping__right_connection", "mapping__published", "mapping__run_state")


def known_of_unlinked(user: Any, text: str) -> list[Why]:
    """The lines about the record with this id, what asks somebody first; none where nobody knows it."""
    mappings = SyncMapping.objects.visible_to(user)
    return _questions(user, text) or _changes(mappings, text) or _keys(mappings, text)


def _questions(user: Any, text: str) -> list[Why]:
    found = Conflict.objects.visible_to(user).filter(
        Q(subject__in=[f"{side}:{text}" for side in SIDES])
        | Q(left_value=text, link=None)
        | Q(right_value=text, link=None),
        state=Conflict.State.OPEN,
    )
    return [
        Why(
            "warn",
            f"A question is open: {one.get_kind_display()}.",
            "Nothing is linked until a person decides.",
            url_of("conflict", one.pk),
            "Open it",
        )
        for one in found[:MOST_SHOWN]
    ]


def _changes(mappings: QuerySet[SyncMapping], text: str) -> list[Why]:
    hints = ChangedRecord.objects.filter(mapping__in=mappings, external_id=text).select_related(*OF_MAPPING)
    lines = []
    for hint in hints[:MOST_SHOWN]:
        why = _why_it_waits(hint)
        head = f"A change of it waits in {hint.mapping}. {why.head}."
        lines.append(replace(why, head=head))
    return lines


def _why_it_waits(hint: ChangedRecord) -> Why:
    mapping, state = hint.mapping, _state(hint.mapping)
    return (
        halt_of(mapping, state)
        or (failed_look(hint, mapping, state, hint.fingerprint) if hint.error else None)
        or _of_a_field(hint)
        or _of_a_version(hint)
        or for_its_run(mapping, state, "It waits for a run")
        or Why("info", "It was noticed and is looked at next")
    )


def _of_a_field(hint: ChangedRecord) -> Why | None:
    """A field that changed keeps what looks new from being matched or copied."""
    entries = Conflict.objects.filter(
        mapping=hint.mapping_id, link=None, kind=Conflict.Kind.SCHEMA, state=Conflict.State.OPEN
    )
    one = _schema.creates_wait(list(entries.order_by("pk")), OTHER[hint.side])
    if one is None:
        return None
    url = reverse("conflict", args=[one.pk])
    return Why("warn", _schema.title(one), f"{_schema.what(one)} {_schema.meaning(one)}", url, "See what to do")


def _of_a_version(hint: ChangedRecord) -> Why | None:
    """Another scope, or other match keys: nothing new is linked or made before all that may fit is known."""
    if not to_be_noted(hint.mapping_id):
        return None
    text = "Another scope, or other ways to find the same thing, bring in more. Nothing new is linked or made before."
    return Why("info", f"The records of {hint.mapping} are listed once for its newest version", text)


def _keys(mappings: QuerySet[SyncMapping], text: str) -> list[Why]:
    rows = MatchKey.objects.filter(Q(external_id=text) | Q(label=text), mapping__in=mappings)
    rows = rows.exclude(alternative=UNSEEN)  # those wait to be looked at, as their hints say
    return [_key(row) for row in rows.select_related(*OF_MAPPING)[:MOST_SHOWN]]


def _key(row: MatchKey) -> Why:
    name, state = row.label or row.external_id, _state(row.mapping)
    # Before its first run is approved a mapping has linked nothing: not to be linked says nothing about the record.
    early = halt_of(row.mapping, state) if state is None or state.approved_at is None else None
    if early is not None:
        head = f"{name} is known in {row.mapping} and not linked yet. {early.head}."
        return Why("warn", head, early.text, early.url, early.button)
    return Why(
        "info",
        f"{name} is known and not linked: nothing fits it, and the mapping {row.mapping} makes no twin of it.",
    )


def _state(mapping: SyncMapping) -> MappingState | None:
    return getattr(mapping, "run_state", None)
