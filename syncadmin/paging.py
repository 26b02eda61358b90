"""Keyset paging: "Newer" and "Older" by the last id seen, never page numbers, so that lists do not shift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class Pager:
    """`older` and `newer`: the id to continue from, or None at that end. Template: _pager.html."""

    rows: list[Any]
    older: int | None
    newer: int | None


def _id(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 19 else None  # 19 digits would not fit a 64-bit key


def page(request: HttpRequest, rows: QuerySet[Any], size: int = PAGE_SIZE) -> Pager:
    """The page of `rows`, newest id first, that `?after=` (older than) or `?before=` (newer than) asks for."""
    after, before = _id(request, "after"), _id(request, "before")
    if before is not None:
        found = list(rows.filter(pk__gt=before).order_by("pk")[: size + 1])
        more_newer = len(found) > size
        shown = found[:size][::-1]
        older = shown[-1].pk if shown else None
        return Pager(shown, older, shown[0].pk if more_newer else None)
    if after is not None:
        rows = rows.filter(pk__lt=after)
    found = list(rows.order_by("-pk")[: size + 1])
    shown = found[:size]
    older = shown[-1].pk if len(found) > size else None
    newer = shown[0].pk if shown and after is not None else None
    return Pager(shown, older, newer)
