"""What the mapping pages ask of the connected systems: fields, forms and sample records. Nothing here writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.core.cache import cache

from connections.connectors import connector_class
from connections.connectors.base import Connector, ConnectorError, Field, FormField, ObjectType, Option, Record
from connections.forms import form_of
from connections.models import Connection
from connections.open import cached_fields, open_connector
from mappings import models
from mappings.models import Side
from mappings.preview import Sample, SampleSide
from mappings.problems import SideFacts

# A sample is looked at while one person edits; older values would mislead more than they help.
SAMPLE_SECONDS = 300
CANDIDATES = 20  # records looked at to find a pair where nothing is linked yet: one bulk read everywhere


def connection_form(kind: str, settings: Any) -> Sequence[FormField]:
    """The settings and secrets a connection of this kind has. Raises LookupError for an unknown kind."""
    return form_of(connector_class(kind), settings)


def secrets_go_to(kind: str, settings: Any) -> frozenset[str]:
    """Where its secrets are sent beside its address; nowhere for an unknown kind."""
    try:
        return connector_class(kind).secrets_go_to(settings)
    except LookupError:
        return frozenset()


def scope_form(connection: Connection) -> Sequence[FormField]:
    """The settings of a scope; none for a connector that this installation does not have."""
    try:
        return connector_class(connection.kind).scope_form_for(connection.settings)
    except LookupError:
        return ()


def scope_help(kind: str) -> str:
    try:
        return connector_class(kind).scope_help
    except LookupError:
        return ""


def object_types(connection: Connection) -> Sequence[ObjectType]:
    """Raises ConnectorError."""
    return open_connector(connection).object_types()


def scope_of(mapping: models.Mapping, side: str) -> dict[str, Any]:
    return mapping.left_scope if side == Side.LEFT else mapping.right_scope


def facts_of(mapping: models.Mapping, side: str, fields: Sequence[Field] | None = None) -> SideFacts:
    """What validation must know of a side. Raises ConnectorError where the fields must be asked and cannot."""
    connection = mapping.connection(side)
    if fields is None:
        fields = cached_fields(connection, mapping.object_type(side), scope_of(mapping, side))
    return SideFacts(connection.name, fields, scope_form(connection), _feed_retention(connection.kind))


def _feed_retention(kind: str) -> float | None:
    try:
        return connector_class(kind).capabilities.feed_retention
    except KeyError:
        return None


def facts_or_snapshot(mapping: models.Mapping, side: str) -> tuple[SideFacts, str]:
    """The facts of a side and "", or, where the system does not answer, those of the published version and why."""
    try:
        return facts_of(mapping, side), ""
    except ConnectorError as error:
        published = mapping.published
        rules = published.document["rules"] if published is not None else []
        fields = [_field_of(rule[side]) for rule in rules]
        name = mapping.connection(side).name
        shown = (
            f"Its fields are shown as version {published.number} knows them"
            if published is not None
            else "Its fields cannot be shown"
        )
        why = error.message.rstrip(".") or "no reason was given"
        return facts_of(mapping, side, fields), (
            f"{name} did not tell us its fields: {why}. · {shown}; the draft is safe. · "
            "Test the connection, then load this page again."
        )


def _field_of(snapshot: Mapping[str, Any]) -> Field:
    return Field(**{**snapshot, "options": tuple(Option(value, value) for value in snapshot["options"])})


# Sample records. ---------------------------------------------------------------------------------------------


def sample_choices(mapping: models.Mapping) -> list[tuple[str, str]]:
    """(value, label) of linked pairs to look at, newest first. The value is "left id|right id"."""
    # The links belong to an upper app; Django's registry gives them by their reverse name.
    links: Any = mapping.links
    newest = links.filter(state="active", left_id__isnull=False, right_id__isnull=False).order_by("-changed_at")[:20]
    return [(f"{link.left_id}|{link.right_id}", str(link)) for link in newest]


def sample(mapping: models.Mapping, wanted: str, paths: Mapping[str, Iterable[str]]) -> Sample:
    """The pair `wanted` ("left id|right id"; "" for any) with the values of `paths` by side. Never raises for remote
    trouble: then the sample says what happened."""
    needed = {side: sorted(set(paths[side])) for side in Side.values}
    digest = hashlib.sha256(json.dumps([wanted, needed]).encode()).hexdigest()
    key = f"mapping-sample:{mapping.pk}:{digest}"
    kept: Sample | None = cache.get(key)
    if kept is not None:
        return kept
    try:
        found = _read_sample(mapping, wanted, needed)
    except ConnectorError as error:
        return Sample(
            trouble=f"No sample record could be read: {error.message.rstrip('.') or 'no reason was given'}. · "
            "Nothing was written; the rules can be edited without one. · Test the connection."
        )
    cache.set(key, found, SAMPLE_SECONDS)
    return found


def _read_sample(mapping: models.Mapping, wanted: str, needed: Mapping[str, list[str]]) -> Sample:
    left, right = (open_connector(mapping.connection(side)) for side in Side.values)
    left_type, right_type = mapping.left_object_type, mapping.right_object_type
    if "|" in wanted:
        left_id, right_id = wanted.split("|", 1)
        return Sample(
            _sample_side(left.get_many(left_type, [left_id], needed["left"]).get(left_id)),
            _sample_side(right.get_many(right_type, [right_id], needed["right"]).get(right_id)),
        )
    keys = {side: [pair[side] for way in mapping.match_keys for pair in way] for side in Side.values}
    candidates = _some(left, left_type, [*needed["left"], *keys["left"]], mapping.left_scope, CANDIDATES)
    pair = _matching(mapping, candidates, right, [*needed["right"], *keys["right"]])
    if pair is not None:
        return Sample(_sample_side(pair[0]), _sample_side(pair[1]))
    others = _some(right, right_type, needed["right"], mapping.right_scope, 1)
    return Sample(_sample_side(next(iter(candidates), None)), _sample_side(next(iter(others), None)))


def _some(connector: Connector, object_type: str, paths: list[str], scope: dict[str, Any], number: int) -> list[Record]:
    """The first records of a listing."""
    for ids in connector.list_ids(object_type, scope):
        if ids:
            return list(connector.get_many(object_type, ids[:number], sorted(set(paths))).values())
    return []


def _matching(
    mapping: models.Mapping, candidates: list[Record], right: Connector, paths: list[str]
) -> tuple[Record, Record] | None:
    """The first of `candidates` that has its like on the right by a match key: a pair says more than two strangers."""
    matchable = {field.path for field in facts_of(mapping, Side.RIGHT).fields if field.matchable}
    for way in mapping.match_keys:
        first = way[0]
        by_value = {
            str(record.values[first["left"]]): record for record in candidates if record.values.get(first["left"])
        }
        if first["right"] not in matchable or not by_value:
            continue
        found = right.find_by_values(
            mapping.right_object_type, first["right"], list(by_value), sorted(set(paths)), mapping.right_scope
        )
        for record in found:
            like = by_value.get(str(record.values.get(first["right"])))
            if like and all(like.values.get(pair["left"]) == record.values.get(pair["right"]) for pair in way):
                return like, record
    return None


def _sample_side(record: Record | None) -> SampleSide | None:
    if record is None:
        return None
    return SampleSide(record.external_id, record.key or record.external_id, dict(record.values), record.unreadable)
