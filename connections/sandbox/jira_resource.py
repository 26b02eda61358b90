"""What the REST resources of the Jira stand-in share: who asks, pages, lists of parameters, refusals as answers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from connections.sandbox.base import Request, Response
from connections.sandbox.jira_fields import Refusal
from connections.sandbox.jira_jql import JqlError
from connections.sandbox.jira_records import Doc, User
from connections.sandbox.jira_site import Site
from connections.sandbox.jira_views import View

API = "/rest/api/3"
ISSUE = API + r"/issue/(?P<key>[^/]+)"
Route = tuple[str, str, Callable[..., Response]]


def split(values: Any) -> list[str]:
    """A comma-separated text, or a list of them, as a list."""
    parts = [values] if isinstance(values, str) else list(values or [])
    return [p.strip() for v in parts for p in str(v).split(",") if p.strip()]


def asked(request: Request, name: str) -> list[str]:
    """A list parameter, comma-separated or repeated."""
    return split(request.query_lists.get(name) or request.query.get(name, ""))


def number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query.get(name) or str(default)
    if not text.lstrip("-").isdigit():
        raise Refusal(400, [f"The parameter '{name}' must be a whole number."])
    return max(0, min(int(text), most))


def body_of(request: Request) -> Any:
    try:
        body = request.json()
    except ValueError:
        raise Refusal(400, ["There was an error parsing JSON. Check that your request body is valid."]) from None
    if not isinstance(body, dict):
        raise Refusal(400, ["Request body is missing or is not a JSON object."])
    return body


def answering(handler: Callable[..., Response]) -> Callable[..., Response]:
    """The handler with refusals turned into answers of the vendor's form."""

    @functools.wraps(handler)
    def answer(request: Request, **arguments: str) -> Response:
        try:
            return handler(request, **arguments)
        except Refusal as refusal:
            return Response(refusal.status, refusal.body())
        except JqlError as error:
            return Response(400, {"errorMessages": [str(error)], "warningMessages": []})

    return answer


class Resource:
    """`caller`: the user a request is made as. `base`: the site's address for it."""

    def __init__(self, site: Site, caller: Callable[[Request], User], base: Callable[[Request], str]) -> None:
        self.site = site
        self.caller = caller
        self.base = base

    def table(self) -> Iterable[Route]:
        """(method, pattern of the path, handler)"""
        return []

    def routes(self) -> Iterable[Route]:
        return [(method, pattern, answering(handler)) for method, pattern, handler in self.table()]

    def view(self, request: Request) -> View:
        return View(self.site, self.caller(request), self.base(request))

    def visible_project(self, request: Request, key: str) -> Doc:
        found = self.site.project(key, self.caller(request))
        if found is None:
            word = "id" if key.isdigit() else "key"
            raise Refusal(404, [f"No project could be found with {word} '{key}'."])
        return found

    def page_bean(self, request: Request, values: list[Any], size: int, path: str, most: int = 100) -> Doc:
        start, size = number(request, "startAt", 0, 10**9), number(request, "maxResults", size, most)
        rows = values[start : start + size]
        page = {
            "self": self.base(request) + path,
            "maxResults": size,
            "startAt": start,
            "total": len(values),
            "isLast": start + size >= len(values),
            "values": rows,
        }
        if not page["isLast"]:
            page["nextPage"] = f"{self.base(request)}{path}?startAt={start + size}&maxResults={size}"
        return page
