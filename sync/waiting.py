"""What waits behind a brake, as far as hints tell: how much it is, and the records that holding takes out."""

from __future__ import annotations

from collections.abc import Mapping as Params
from typing import Any

from django.db.models import Q

from mappings.models import Mapping
from sync.merge import OTHER
from sync.models import ChangedRecord, Link, Operation
from sync.session import SIDES


def changes(mapping: Mapping) -> int:
    """Records that may have changed and are not decided yet."""
    return ChangedRecord.objects.filter(mapping=mapping).count()


def calls(mapping: Mapping, side: str) -> int:
    """How many writes one change may take there at once: a field that is a call of its own, like a status, is one."""
    rules = mapping.published.document["rules"] if mapping.published else []
    return 1 + sum(bool(rule[side].get("separate_write")) for rule in rules)


def records(mapping: Mapping, params: Params[str, Any]) -> int:
    """How many records a person would hold. `params`: of the brake, see brakes.py."""
    if params["kind"] == "create":
        side = OTHER[params["side"]]
        return tried(mapping, side).count() + new(mapping, side).count()
    return links(mapping, params).count()


def links(mapping: Mapping, params: Params[str, Any]) -> Any:
    """The links whose changes wait; those alone whose record is reported deleted, where the brake is about these."""
    waiting = ChangedRecord.objects.filter(mapping=mapping)
    if params.get("told"):
        waiting = waiting.filter(side=OTHER[params["side"]], deleted=True)
    ids = {side: waiting.filter(side=side).values("external_id") for side in SIDES}
    theirs = Q(left_id__in=ids["left"]) | Q(right_id__in=ids["right"])
    return Link.objects.filter(theirs, mapping=mapping, state=Link.State.ACTIVE)


def tried(mapping: Mapping, side: str) -> Any:
    """Links with one record, of `side`, that goes on waiting for its twin."""
    waiting = ChangedRecord.objects.filter(mapping=mapping, side=side).values("external_id")
    half = Link.objects.filter(**{f"{side}_id__in": waiting}, mapping=mapping, state=Link.State.CREATING)
    return half.exclude(operations__state__in=Operation.OPEN)


def new(mapping: Mapping, side: str) -> Any:
    """Hints of the records of `side` that no link knows."""
    column = f"{side}_id"
    linked = Link.objects.filter(**{f"{column}__isnull": False}, mapping=mapping).values(column)
    return ChangedRecord.objects.filter(mapping=mapping, side=side).exclude(external_id__in=linked).order_by("pk")
