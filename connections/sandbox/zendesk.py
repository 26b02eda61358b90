"""A stand-in for one Zendesk account: sign-in, tickets, jobs, the incremental export, search, webhooks.

`ZendeskStandin.records` is the account itself (people, fields, tickets); tests use it directly. Imitated where it
matters: stamps of one second, the export's hidden minute and its own limit, safe updates, jobs that take their time,
tags that belong to drop-downs, what an assignment changes, triggers within the same audit, closed tickets, deleted
tickets in the export, idempotent creates, indexes that lag.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable

from connections.sandbox.base import Request, Response, Standin, Stop
from connections.sandbox.zendesk_answers import failed
from connections.sandbox.zendesk_directory_api import DirectoryApi
from connections.sandbox.zendesk_jobs import Jobs
from connections.sandbox.zendesk_lists_api import EXPORT_PAGE, ListsApi
from connections.sandbox.zendesk_pages import Pages
from connections.sandbox.zendesk_records import Records, Row
from connections.sandbox.zendesk_tickets_api import TicketsApi
from connections.sandbox.zendesk_webhooks import Webhooks

MINUTE = 60
HIDDEN_SECONDS = 60.0
EXPORTS_A_MINUTE = 10
CALLS_A_MINUTE = 700
TEN_MINUTES = 600


class ZendeskStandin(Standin):
    """`path`: SQLite file or ":memory:". `latency`: seconds. `now`: the account's clock.

    What a test may set: `calls_a_minute`, `exports_a_minute` (None for no limit), `updates_of_a_ticket` (in ten
    minutes), `hidden_seconds` (of the export),
    `index_lag` (seconds that search and the list by external_id are behind), `export_page` (tickets a page),
    `hidden_fields` (ids), `hidden_tickets` (ids), `jobs.looks`, `jobs.held`, `webhooks.events`.
    """

    api_prefixes = ("/api/",)

    def __init__(self, path: str = ":memory:", latency: float = 0.0, now: Callable[[], float] = time.time) -> None:
        super().__init__(path, latency, now)
        # The functions look the clock up each time, so that a test may put another in its place.
        self.records = Records(self.store, lambda: self.now())
        self.records.on_write = self.accepted.note
        self.tokens: dict[str, str] = {}  # API token → e-mail address of its agent
        self.bearers: dict[str, str] = {}  # OAuth access token → the same
        self.calls_a_minute: int | None = None
        self.exports_a_minute: int | None = EXPORTS_A_MINUTE
        self.updates_of_a_ticket: int | None = None  # in ten minutes
        self.hidden_seconds = HIDDEN_SECONDS
        self.index_lag = 0.0
        self.export_page = EXPORT_PAGE
        self.hidden_fields: set[int] = set()
        self.hidden_tickets: set[int] = set()
        self.base = "http://zendesk.test"
        self._counts: dict[tuple[str, int], int] = {}
        self.jobs = Jobs(self.records)
        TicketsApi(self)
        ListsApi(self)
        self.directory = DirectoryApi(self)
        self.webhooks = Webhooks(self, lambda: time.time())
        Pages(self)
        if not self.records.fields():
            self.records.system_fields()

    # Who asks, and how often ---------------------------------------------------------------------------------------

    def caller(self, request: Request) -> Row:
        email = self._email(request.headers.get("authorization", ""))
        everybody: list[Row] = self.store.all("user")
        for user in everybody:
            if email and (user["email"] or "").lower() == email.lower():
                return user
        raise Stop(Response(401, {"error": "Couldn't authenticate you"}, {"WWW-Authenticate": 'Basic realm="Web"'}))

    def _email(self, header: str) -> str:
        kind, _, given = header.partition(" ")
        if kind == "Bearer":
            return self.bearers.get(given, "")
        try:
            name, _, secret = base64.b64decode(given).decode().partition(":")
        except (binascii.Error, ValueError):
            return ""
        email, _, marker = name.rpartition("/")
        return email if kind == "Basic" and marker == "token" and self.tokens.get(secret) == email else ""

    def authorize(self, request: Request) -> None:
        self.caller(request)
        if self.calls_a_minute is not None and self._count("calls") > self.calls_a_minute:
            raise Stop(self._limited("Number of allowed API requests per minute exceeded"))

    def count_export(self) -> None:
        if self.exports_a_minute is not None and self._count("export") > self.exports_a_minute:
            raise Stop(self._limited("Number of allowed incremental export API requests per minute exceeded"))

    def count_update(self, ticket: str) -> None:
        """The limit of the updates of one ticket, which says nothing of the account's."""
        if self.updates_of_a_ticket is None:
            return
        key = (f"ticket {ticket}", int(self.now() // TEN_MINUTES))
        self._counts[key] = self._counts.get(key, 0) + 1
        if self._counts[key] > self.updates_of_a_ticket:
            refused = failed(429, "APIRateLimitExceeded", "Number of allowed updates of this ticket exceeded")
            refused.headers["Retry-After"] = str(int((key[1] + 1) * TEN_MINUTES - self.now()))
            raise Stop(refused)

    def _count(self, what: str) -> int:
        key = (what, int(self.now() // MINUTE))
        self._counts[key] = self._counts.get(key, 0) + 1
        return self._counts[key]

    def _limited(self, text: str) -> Response:
        refused = failed(429, "APIRateLimitExceeded", text)
        refused.headers["Retry-After"] = str(self._left())
        return refused

    def _left(self) -> int:
        return int((int(self.now() // MINUTE) + 1) * MINUTE - self.now())

    # Answers -------------------------------------------------------------------------------------------------------

    def handle(self, request: Request) -> Response:
        self.base = f"http://{request.headers.get('host', 'zendesk.test')}"
        with self.store.lock:  # one transaction a request, so that a page and its cursor fit together
            response = super().handle(request)
        if request.path.startswith("/api/"):
            most = self.calls_a_minute or CALLS_A_MINUTE
            used = self._counts.get(("calls", int(self.now() // MINUTE)), 0)
            left = str(max(0, most - used))
            told = {"x-rate-limit": str(most), "x-rate-limit-remaining": left, "ratelimit-limit": str(most)}
            told |= {"ratelimit-remaining": left, "ratelimit-reset": str(self._left())}
            response.headers = {**told, **response.headers}
        return response

    def shown(self, row: Row, export: bool) -> Row:
        """A ticket as the API shows it; the time that orders the export is told only there."""
        fields = [one for one in row["custom_fields"] if one["id"] not in self.hidden_fields]
        shown = {**row, "custom_fields": fields, "fields": fields, "url": self.base + row["url"]}
        if not export:
            shown.pop("generated_timestamp")
        return shown

    def not_found(self, request: Request) -> Response:
        if request.path.startswith("/api/"):
            return failed(404, "InvalidEndpoint", "Not found")
        return Response(404, "<html><body><h1>Page not found</h1></body></html>")
