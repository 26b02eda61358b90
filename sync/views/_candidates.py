"""Records of which a person chooses one: those that may be the twin of the record in question, known or read live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString

from connections.connectors.base import Connector, Record
from mappings.compiled import field_spec
from mappings.models import Mapping as SyncMapping
from mappings.transforms.base import FieldSpec
from sync import recover_creates
from sync.merge import OTHER
from sync.models import Conflict, Link, MatchKey, Operation
from sync.views._values import brief

Kind = Conflict.Kind
MOST_CANDIDATES = 20
# A person tells two records apart by a few fields; all of them are behind the link.
FIELDS_SHOWN = 5
# Everything that our account made since is read to find what one create may have made: the calls of a day at most.
SEARCHED_FOR = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Candidate:
    """`external_id`: its id or, where that is not known, the key its system knows it by."""

    side: str
    external_id: str
    label: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One record as it is now. `fits`: it may be the twin of the one in question; `taken`: it has another twin."""

    side: str
    external_id: str
    label: str
    title: str
    url: str
    values: list[tuple[str, SafeString]]
    fits: bool
    taken: bool


def subject_of(conflict: Conflict) -> tuple[str, str]:
    """(side, external id) of the record in question."""
    if conflict.link is None:
        side, _, external_id = conflict.subject.partition(":")
        return side or "left", external_id
    if conflict.kind == Kind.DELETE_UPDATE or conflict.code == "delete_refused":
        gone = _gone(conflict, conflict.link)
        return OTHER[gone], conflict.link.record_id(OTHER[gone]) or ""
    side = "left" if conflict.link.left_id else "right"
    return side, conflict.link.record_id(side) or ""


def _gone(conflict: Conflict, link: Link) -> str:
    if conflict.code == "delete_refused":
        return OTHER[str(conflict.params.get("side", "right"))]
    return str(conflict.params.get("side") or ("left" if link.deleted_left else "right"))


def candidates(conflict: Conflict) -> list[Candidate]:
    """As far as they are known without asking: unlinked records of the other side with the strongest equal match key;
    of a create the records that were found to carry its key."""
    side, external_id = subject_of(conflict)
    if conflict.link is not None:
        return [Candidate(OTHER[side], str(key), str(key)) for key in conflict.params.get("keys") or ()]
    rows = MatchKey.objects.filter(mapping=conflict.mapping_id)
    mine = dict(rows.filter(side=side, external_id=external_id).values_list("alternative", "digest"))
    there = rows.filter(side=OTHER[side], digest__in=list(mine.values())).order_by("alternative", "label")
    fit = [row for row in there[: 10 * MOST_CANDIDATES] if mine.get(row.alternative) == row.digest]
    strongest = [row for row in fit if row.alternative == fit[0].alternative]
    return [Candidate(row.side, row.external_id, row.label or row.external_id) for row in strongest[:MOST_CANDIDATES]]


def can_be_looked_for(conflict: Conflict) -> bool:
    """Whether a person may have the other system searched for what a create without an answer made."""
    return conflict.link is not None and conflict.opened_at > timezone.now() - SEARCHED_FOR


def look(conflict: Conflict, known: Sequence[Candidate]) -> list[Seen]:
    """The record in question and those that may be its twin, read live. `known`: as `candidates` tells them. Raises
    ConnectorError."""
    side, external_id = subject_of(conflict)
    mapping = conflict.mapping
    if mapping.published is None:
        return []
    document, seen = mapping.published.document, []
    for where in (side, OTHER[side]):
        connector = import_string(settings.OPEN_CONNECTOR)(mapping.connection(where), lane="live")
        specs = [field_spec(rule[where]) for rule in document["rules"]]
        paths = [spec.path for spec in specs]
        if where == side:
            records: Sequence[Record] = _by_id(connector, mapping.object_type(where), [external_id], paths)
        else:
            ids = [one.external_id for one in known]
            records = _across(conflict, where, ids, connector, paths, document[where]["scope"])
        alive = [one for one in records if not one.deleted][:MOST_CANDIDATES]
        linked = _linked(mapping, where, alive) if where != side else set()
        for record in alive:
            fits, taken = where != side, record.external_id in linked
            seen.append(_seen(where, record, specs, connector, mapping, fits, taken))
    return seen


def _linked(mapping: SyncMapping, side: str, records: Sequence[Record]) -> set[str]:
    ids = [one.external_id for one in records]
    links = Link.objects.filter(**{"mapping": mapping, f"{side}_id__in": ids})
    return set(links.values_list(f"{side}_id", flat=True))


def _by_id(connector: Connector, object_type: str, ids: Sequence[str], paths: Sequence[str]) -> list[Record]:
    found = connector.get_many(object_type, ids, paths)
    return [found[one] for one in ids if one in found]


def _across(
    conflict: Conflict,
    side: str,
    known: Sequence[str],
    connector: Connector,
    paths: Sequence[str],
    scope: Mapping[str, Any],
) -> Sequence[Record]:
    """Those on `side` that fit or that carry our key; where nobody knows whether we made one, those that our account
    made since with a text that we sent."""
    mapping, link = conflict.mapping, conflict.link
    object_type = mapping.object_type(side)
    if link is None:
        return _by_id(connector, object_type, known, paths)
    if conflict.kind == Kind.DUPLICATE:
        key = link.identity.key if link.identity else ""
        carry = connector.find_by_correlation_key(object_type, [key], paths, scope).get(key)
        return carry or _by_id(connector, object_type, known, paths)
    if not can_be_looked_for(conflict):
        return []
    create = Operation.objects.filter(link=link, kind=Operation.Kind.CREATE).order_by("pk").last()
    if create is None:
        return []
    made = connector.own_recent(object_type, recover_creates.earliest(create, mapping.connection(side)), paths, scope)
    return [one for one in made if one.correlation_key is None and recover_creates.looks_like(create, one)]


def _seen(
    side: str,
    record: Record,
    specs: Sequence[FieldSpec],
    connector: Connector,
    mapping: SyncMapping,
    fits: bool,
    taken: bool,
) -> Seen:
    filled = [(spec, value) for spec in specs if (value := record.values.get(spec.path)) not in (None, "", [])]
    return Seen(
        side,
        record.external_id,
        record.key or record.external_id,
        record.title or "",
        connector.url_of(mapping.object_type(side), record.external_id, record.key),
        [(spec.label, brief(value, spec)) for spec, value in filled[:FIELDS_SHOWN]],
        fits,
        taken,
    )
