"""A stand-in for one ServiceNow instance: sign-in, Table, Batch and Attachment API, a business rule, pages.

`ServiceNowStandin.records` is the instance itself (people, tables, rules); tests and a demo use it directly. Imitated
where it matters: everything a text, UTC stamps of one second, references as links, hidden columns left out, hidden rows
in short pages, unknown conditions and columns ignored, cut texts, data policies, rules that change values, the delete
log, hourly limits with their headers, an instance asleep.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from connections.sandbox.base import Request, Response, Standin, Stop
from connections.sandbox.servicenow_attachments import AttachmentApi
from connections.sandbox.servicenow_oauth import OAuth
from connections.sandbox.servicenow_pages import Pages
from connections.sandbox.servicenow_records import Records, Row
from connections.sandbox.servicenow_rules import Rules
from connections.sandbox.servicenow_table_api import TableApi, failed

HOUR = 3600
ASLEEP = (
    "<html><head><title>Instance Hibernating page</title></head><body><div class='instance-hibernating-page'>"
    "<h1>Your instance is hibernating</h1><p>Sign in to developer.servicenow.com to wake it.</p></div></body></html>"
)
LARGEST_PART = 10 * 1024 * 1024  # bytes of one part of a batch's answer
LARGEST_FILE = 1024 * 1024 * 1024  # com.glide.attachment.max_size


class ServiceNowStandin(Standin):
    """`path`: SQLite file or ":memory:". `latency`, `token_seconds`: seconds. `now`: the instance's clock.

    What a test may set: `hourly_limit` (calls an hour, None for no rule), `hidden_columns` and `fixed_columns`
    ((table, column): not readable, not writable), `blanks_hidden` (hidden columns are shown empty instead of left
    out), `hidden_rows` (sys_ids), `forbidden` (("read" | "create" | "write" | "delete", table)), `strict_queries`
    (glide.invalid_query.returns_no_rows), `zoned_queries` (times in queries are read in the caller's time zone),
    `asleep`, `batch_stops_after` (parts), `largest_part`, `largest_file` (bytes).
    """

    api_prefixes = ("/api/", "/oauth_token.do")

    def __init__(
        self,
        path: str = ":memory:",
        latency: float = 0.0,
        now: Callable[[], float] = time.time,
        token_seconds: float = 1800,
        hourly_limit: int | None = None,
    ) -> None:
        super().__init__(path, latency, now)
        # The functions look the clock up each time, so that a test may put another in its place.
        self.records = Records(self.store, lambda: self.now())
        self.oauth = OAuth(self.records, lambda: self.now(), token_seconds)
        self.rules = Rules(lambda: time.time())
        self.records.on_change = self.rules.on_change
        self.hourly_limit = hourly_limit
        self.hidden_columns: set[tuple[str, str]] = set()
        self.fixed_columns: set[tuple[str, str]] = set()
        self.hidden_rows: set[str] = set()
        self.forbidden: set[tuple[str, str]] = set()
        self.blanks_hidden = False
        self.strict_queries = False
        self.zoned_queries = False
        self.asleep = False
        self.batch_stops_after: int | None = None
        self.largest_part = LARGEST_PART
        self.largest_file = LARGEST_FILE
        self.base = "http://servicenow.test"
        self.parts: list[Request] = []  # of batches, for tests that look at requests
        self._counts: dict[tuple[str, int], int] = {}
        self._rule_id = secrets.token_hex(16)
        self.route("POST", "/oauth_token.do", self.oauth.token)
        AttachmentApi(self, TableApi(self))
        Pages(self)

    def caller(self, request: Request) -> Row:
        me = self.oauth.user_of(request)
        if me is None:
            unknown = failed(401, "User Not Authenticated", "Required to provide Auth information")
            unknown.headers["WWW-Authenticate"] = 'Basic realm="Service-now"'
            raise Stop(unknown)
        return me

    def hides(self, row: Row) -> bool:
        """Whether the row is hidden from the caller: a file is, if its record is."""
        return row["sys_id"] in self.hidden_rows or row.get("table_sys_id") in self.hidden_rows

    def authorize(self, request: Request) -> None:
        if not request.path.startswith("/api/"):
            return
        me = self.caller(request)
        if self.hourly_limit is None:
            return
        hour = int(self.now() // HOUR)
        count = self._counts[me["user_name"], hour] = self._counts.get((me["user_name"], hour), 0) + 1
        if count > self.hourly_limit:
            message = f"Rate limit of {self.hourly_limit} requests per hour exceeded"
            refused = failed(429, "Rate limit exceeded", message)
            refused.headers |= self._limit_headers() | {"Retry-After": str(int((hour + 1) * HOUR - self.now()))}
            raise Stop(refused)

    def _limit_headers(self) -> dict[str, str]:
        end = (int(self.now() // HOUR) + 1) * HOUR
        limit = str(self.hourly_limit)
        return {"X-RateLimit-Limit": limit, "X-RateLimit-Reset": str(end), "X-RateLimit-Rule": self._rule_id}

    def handle(self, request: Request) -> Response:
        if self.asleep:
            return Response(200, ASLEEP, {"Content-Type": "text/html;charset=UTF-8"})
        self.base = f"http://{request.headers.get('host', 'servicenow.test')}"
        with self.store.lock:  # one transaction a request, so that a list and its total fit together
            response = super().handle(request)
        if request.path.startswith("/api/"):
            response.headers.setdefault("X-Is-Logged-In", "true")
            if self.hourly_limit is not None:
                response.headers |= self._limit_headers()
        return response

    def dispatch(self, request: Request) -> Response:
        """A part of a batch comes back through here."""
        return self._dispatch(request)

    def not_found(self, request: Request) -> Response:
        if request.path.startswith("/api/"):
            return failed(400, f"Requested URI does not represent any resource: {request.path}", None)
        return Response(404, "<html><body><h1>Page not found</h1></body></html>")
