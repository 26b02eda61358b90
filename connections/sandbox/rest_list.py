"""The list of the small JSON API: filters, order, and every way of paging."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any
from urllib.parse import urlencode

from connections.sandbox.base import Request, Response
from connections.sandbox.rest_habits import Habits
from connections.sandbox.rest_things import Things

SEARCHED = ("title", "ext", "reference")


def listed(things: Things, habits: Habits, request: Request) -> Response:
    query = request.query
    if "ids" in query:
        wanted = query["ids"].split(",") if habits.many else []
        rows = [thing for thing in things.all() if str(thing["id"]) in wanted and not thing["_gone"]]
        return _answer(things, rows, {"total": len(rows)})
    chosen = _chosen(things, habits, query)
    if chosen is None:
        return Response(400, {"error": {"message": "updated needs a time"}})
    rows = chosen
    size = min(int(query.get("size", "20")), habits.page_size)
    total = {"total": len(rows)} if habits.counts else {}
    match habits.paging:
        case "none":
            return _answer(things, rows, total)
        case "page":
            start = 0 if habits.lists == "again" else (int(query.get("page", "1")) - 1) * size
        case "offset":
            start = int(query.get("offset", "0"))
        case _:
            found = _start_of(query.get("cursor", ""))
            if found is None:
                return Response(400, {"error": {"message": "no such cursor"}})
            start = found
    part = rows[start : start + size]
    if habits.lists == "short" and start:
        part = []
    following = start + len(part)
    more: str | None = _cursor(following) if following < len(rows) else None
    if habits.lists == "circle":
        more = _cursor(0 if following >= len(rows) else following)
    headers: dict[str, str] = {}
    extra: dict[str, Any] = dict(total)
    address = f"{request.path}?{urlencode({**query, 'cursor': more or ''})}"
    if habits.paging == "cursor":
        extra["next"] = more
    elif habits.paging == "next_url":
        extra["next"] = address if more else None
    elif habits.paging == "link_header" and more:
        headers["Link"] = f'<{address}>; rel="next"'
    return _answer(things, part, extra, headers, habits.lists == "broken")


def _chosen(things: Things, habits: Habits, query: dict[str, str]) -> list[dict[str, Any]] | None:
    rows = [thing for thing in things.all() if not thing["_gone"] or habits.deleted in ("tombstone", "flag")]
    for name in SEARCHED:
        if name in query:
            wanted = query[name].casefold()
            rows = [row for row in rows if wanted in str(row.get(name) or "").casefold()]
    if "team" in query:
        rows = [row for row in rows if row["team"] == query["team"] or row["_gone"]]
    if not habits.changes:
        return sorted(rows, key=lambda row: row["id"])
    if "updated" in query:
        since = query["updated"]
        if not since.startswith(habits.prefix) or len(since) != len(habits.prefix) + 20:
            return None
        since = since.removeprefix(habits.prefix)
        rows = [row for row in rows if row["updated"] > since or (row["updated"] == since and not habits.exclusive)]
    return sorted(rows, key=lambda row: (row["updated"], row["id"]))


def _answer(
    things: Things,
    rows: list[dict[str, Any]],
    extra: dict[str, Any],
    headers: dict[str, str] | None = None,
    broken: bool = False,
) -> Response:
    shown: list[dict[str, Any]] = [things.shown(row) for row in rows]
    if broken and shown:
        shown[0] = {**shown[0], "id": None}
    return Response(200, {"items": shown, **extra}, headers or {})


def _cursor(start: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"start": start}).encode()).decode()


def _start_of(cursor: str) -> int | None:
    if not cursor:
        return 0
    try:
        return int(json.loads(base64.urlsafe_b64decode(cursor))["start"])
    except (ValueError, KeyError, TypeError, binascii.Error):
        return None
