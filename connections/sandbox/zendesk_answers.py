"""How Zendesk's answers are built: lists by cursor, refusals."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from connections.sandbox.base import Request, Response

MOST = 100


def failed(status: int, error: str, description: str) -> Response:
    return Response(status, {"error": error, "description": description})


def paged(request: Request, base: str, key: str, rows: Sequence[Any], most: int = MOST, **more: Any) -> Response:
    """One page by cursor (page[size], page[after]); without page[size] the list by offset, a hundred at most.

    links.next is set on the last page too, as recorded: has_more decides.
    """
    size = request.query.get("page[size]")
    if size is None:
        return Response(200, {key: list(rows[:most]), "count": len(rows), "next_page": None, "previous_page": None})
    try:
        wanted = min(max(1, int(size)), most)
        begin = decoded(request.query["page[after]"]) if "page[after]" in request.query else 0
    except ValueError:
        return failed(400, "InvalidPaginationParameter", "page is not valid")
    end = begin + wanted
    after = encoded(min(end, len(rows)))
    following = urlencode({**request.query, "page[size]": wanted, "page[after]": after})
    meta = {"has_more": end < len(rows), "after_cursor": after, "before_cursor": encoded(begin)}
    links = {"next": f"{base}{request.path}?{following}", "prev": None}
    return Response(200, {key: list(rows[begin:end]), "meta": meta, "links": links, **more})


def encoded(place: int) -> str:
    return base64.urlsafe_b64encode(f"{place}|".encode()).decode()


def decoded(cursor: str) -> int:
    """Raises ValueError on what is no cursor."""
    return int(base64.urlsafe_b64decode(cursor.encode()).decode().removesuffix("|"))
