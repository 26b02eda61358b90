"""A stand-in for one GitHub Enterprise Server: sign-in, REST interface for issues, webhooks, pages.

`GitHubStandin.records` is the server itself (accounts, repositories, issues); tests and a demo use it directly.
Imitated where it matters: pull requests among the issues, ETags and answers of 304 that are not counted, both rate
limits, lists that are behind, transferred and deleted issues, renamed repositories, what is dropped without a word.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from connections.sandbox.accepted import difference
from connections.sandbox.base import Request, Response, Standin, Stop
from connections.sandbox.github_documents import Documents
from connections.sandbox.github_issues_api import IssuesApi
from connections.sandbox.github_meta_api import MetaApi
from connections.sandbox.github_pages import Pages
from connections.sandbox.github_records import Doc, Records, Refusal
from connections.sandbox.github_webhooks import Webhooks

HOUR = 3600
DEFAULT_ROWS, MOST_ROWS = 30, 100
API = "/api/v3"
# What an app asks as itself, with a token that its key signed.
AS_APP = re.compile(rf"{API}/(app|app/installations/\d+/access_tokens|repos/[^/]+/[^/]+/installation)")


class GitHubStandin(Standin):
    """`path`: SQLite file or ":memory:". `latency`: seconds. `now`: the server's clock.

    What a test may set: `hourly_limit`, `writes_a_minute` (the secondary limit; None for none), `hidden` (repositories
    in lower case that answer 404), `may_push`, `may_hook`, `list_lag` (seconds), `token_seconds` (life of an app's
    token), `installed` (the app: id, slug, installation, public_key). `charged` counts what the limit counts.
    """

    api_prefixes = ("/api/",)
    docs = "https://docs.github.com/rest"

    def __init__(
        self,
        path: str = ":memory:",
        latency: float = 0.0,
        now: Callable[[], float] = time.time,
        hourly_limit: int = 5000,
    ) -> None:
        super().__init__(path, latency, now)
        # The functions look the clock up each time, so that a test may put another in its place.
        self.records = Records(self.store, lambda: self.now())
        self.documents = Documents(self)
        self.webhooks = Webhooks(self)
        self.records.on_change = self._changed
        self.hourly_limit = hourly_limit
        self.writes_a_minute: int | None = None
        self.hidden: set[str] = set()
        self.may_push = self.may_hook = True
        self.token_seconds = float(HOUR)
        self.installed: dict[str, Any] | None = None
        self.tokens: dict[str, tuple[str, float]] = {}  # {token: (login, end)}
        self.charged = 0
        self.base = "http://github.test"
        self._spent: dict[int, int] = {}
        self._writes: list[float] = []
        IssuesApi(self)
        MetaApi(self)
        Pages(self)

    @property
    def list_lag(self) -> float:
        return self.records.lag

    @list_lag.setter
    def list_lag(self, seconds: float) -> None:
        self.records.lag = seconds

    def _changed(self, event: str, action: str, doc: Doc, by: str, more: dict[str, Any]) -> None:
        if event == "issues" and action in ("opened", "deleted"):
            verb = "create" if action == "opened" else "delete"
            fields = difference({}, {"title": doc["title"], "body": doc["body"]}) if verb == "create" else {}
            self.accepted.note(by, doc["key"], verb, fields)
        elif event == "issues" and "changes" in more:
            self.accepted.note(by, doc["key"], "update", {p: (c["from"], doc[p]) for p, c in more["changes"].items()})
        self.webhooks.on_change(event, action, doc, by, more)

    # Who asks ----------------------------------------------------------------------------------------------

    def sign_in(self, login: str, token: str) -> None:
        self.tokens[token] = (login, float("inf"))

    def caller(self, request: Request) -> Doc:
        login, end = self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "), ("", 0.0))
        account = self.records.get("account", login.lower()) if self.now() < end else None
        if account is None:
            raise Stop(Response(401, {"message": "Bad credentials", "documentation_url": self.docs, "status": "401"}))
        return account

    def authorize(self, request: Request) -> None:
        if AS_APP.fullmatch(request.path):
            return
        self.caller(request)
        if self.rate()["remaining"] <= 0 and not request.path.endswith("/rate_limit"):
            said = {"message": "API rate limit exceeded for user ID 1001.", "documentation_url": self.docs}
            raise Stop(Response(403, said))
        if request.method != "GET":
            self._secondary()

    def _secondary(self) -> None:
        self._writes = [at for at in self._writes if at > self.now() - 60]
        if self.writes_a_minute is not None and len(self._writes) >= self.writes_a_minute:
            said = {"message": "You have exceeded a secondary rate limit.", "documentation_url": self.docs}
            raise Stop(Response(403, said, {"Retry-After": "60"}))
        self._writes.append(self.now())

    def rate(self) -> dict[str, int]:
        hour = int(self.now() // HOUR)
        used = self._spent.get(hour, 0)
        left = max(0, self.hourly_limit - used)
        return {"limit": self.hourly_limit, "remaining": left, "used": used, "reset": (hour + 1) * HOUR}

    # Answers -----------------------------------------------------------------------------------------------

    def handle(self, request: Request) -> Response:
        self.base = f"http://{request.headers.get('host', 'github.test')}"
        with self.store.lock:  # one transaction a request, so that a list and its pages fit together
            response = super().handle(request)
            if request.path.startswith(API):
                self._tagged(request, response)
                self._counted(request, response)
        return response

    def _tagged(self, request: Request, response: Response) -> None:
        if request.method != "GET" or response.status != 200 or request.path.endswith("/rate_limit"):
            return
        seen = response.encoded()[0] + request.headers.get("authorization", "").encode()
        tag = f'W/"{hashlib.sha256(seen).hexdigest()}"'
        response.headers["ETag"] = tag
        if request.headers.get("if-none-match") == tag:
            response.status, response.body = 304, None

    def _counted(self, request: Request, response: Response) -> None:
        free = response.status == 304 or request.path == f"{API}/rate_limit" or AS_APP.fullmatch(request.path)
        if not free:
            hour = int(self.now() // HOUR)
            self._spent[hour] = self._spent.get(hour, 0) + 1
            self.charged += 1
        told = self.rate()
        response.headers |= {f"X-RateLimit-{name.capitalize()}": str(value) for name, value in told.items()}
        response.headers |= {"X-RateLimit-Resource": "core", "X-GitHub-Media-Type": "github.v3; format=json"}

    def repository(self, request: Request, owner: str, repo: str, write: bool = False) -> Doc:
        """Raises Stop where the caller sees none, or it has another name now."""
        key = f"{owner}/{repo}".lower()
        found = self.records.get("repository", key)
        if found is None:
            for doc in self.records.all("repository"):
                if str(doc.get("was", "")).lower() == key:
                    rest = request.path.split("/", 6)[6:]  # /api/v3/repos/owner/repo/rest
                    where = f"{self.documents.api}/repositories/{doc['id']}{''.join('/' + part for part in rest)}"
                    raise Stop(self.sent_on(where))
        if found is None or key in self.hidden:
            raise Stop(self.missing())
        if write and found["archived"]:
            raise Stop(Response(403, {"message": "Repository was archived so is read-only."}))
        return found

    def missing(self) -> Response:
        return Response(404, {"message": "Not Found", "documentation_url": self.docs, "status": "404"})

    def sent_on(self, url: str) -> Response:
        body = {"message": "Moved Permanently", "url": url, "documentation_url": self.docs}
        return Response(301, body, {"Location": url})

    def refused(self, refusal: Refusal) -> Response:
        body = {"message": "Validation Failed", "errors": refusal.errors, "documentation_url": self.docs}
        return Response(422, {**body, "status": "422"})

    def not_found(self, request: Request) -> Response:
        if request.path.startswith("/api/"):
            return self.missing()
        return Response(404, "<html><body><h1>Page not found</h1></body></html>")

    # Pages of a list ---------------------------------------------------------------------------------------

    def _window(self, request: Request) -> tuple[int, int]:
        size = min(MOST_ROWS, int(request.query.get("per_page", DEFAULT_ROWS)))
        return size, max(1, int(request.query.get("page", 1)))

    def page_of(self, request: Request, rows: Sequence[Any]) -> list[Any]:
        size, page = self._window(request)
        return list(rows[(page - 1) * size : page * size])

    def paged(self, request: Request, shown: list[Any], total: int) -> Response:
        size, page = self._window(request)

        def to(number: int, rel: str) -> str:
            query = urlencode({**request.query, "page": str(number)})
            return f'<{self.base}{request.path}?{query}>; rel="{rel}"'

        last = max(1, -(-total // size))
        links = [to(page - 1, "prev")] if page > 1 else []
        links += [to(page + 1, "next"), to(last, "last")] if page < last else []
        links += [to(1, "first")] if page > 1 else []
        return Response(200, shown, {"Link": ", ".join(links)} if links else {})
