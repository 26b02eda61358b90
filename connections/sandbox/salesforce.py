"""A stand-in for one Salesforce org: OAuth, the REST API for data, Change Data Capture over CometD, and small pages.

`SalesforceStandin.org` is the org itself (people, fields, records); tests, demo seeding and the background office
use it directly. Imitated where it matters: ids with checksum, one-second stamps, expiring sessions and cursors, the
daily limit, validation, field-level security, recycle bin, replayable events.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from connections.sandbox.accepted import difference
from connections.sandbox.base import Request, Response, Standin, Stop
from connections.sandbox.salesforce_cometd import CometD
from connections.sandbox.salesforce_composite import Composite
from connections.sandbox.salesforce_events import Bus
from connections.sandbox.salesforce_oauth import Tokens
from connections.sandbox.salesforce_org import Change, Org
from connections.sandbox.salesforce_pages import Pages
from connections.sandbox.salesforce_rest import Rest
from connections.sandbox.salesforce_values import Problem

DAY = 86400
LOGGED = frozenset({"Case", "CaseComment"})  # whose accepted writes are logged
STAMPS = frozenset({"LastModifiedDate", "LastModifiedById", "SystemModstamp", "ClosedDate"})  # follow from a write
# Objects whose changes are announced, unless the constructor says otherwise.
CAPTURED = ("Case", "CaseComment", "User", "Account", "Contact")


class SalesforceStandin(Standin):
    """`path`: SQLite file or ":memory:". Times in seconds: `latency` of each API call, `token_seconds` an access token
    lives, `cursor_seconds` a query cursor lives, `connect_seconds` an idle event poll waits. `now`: the org's clock.
    `daily_limit`: API calls a day. `captured`: objects selected for Change Data Capture."""

    api_prefixes = ("/services/", "/cometd/")

    def __init__(
        self,
        path: str = ":memory:",
        latency: float = 0.0,
        now: Callable[[], float] = time.time,
        token_seconds: float = 7200,
        cursor_seconds: float = 2 * DAY,
        connect_seconds: float = 20.0,
        daily_limit: int = 1_000_000,
        captured: Iterable[str] = CAPTURED,
    ) -> None:
        super().__init__(path, latency, now)
        self.cursor_seconds = cursor_seconds
        self.daily_limit = daily_limit
        self._calls = (0, 0)  # day, calls on it
        # The functions look the clock up each time, so that a test may put another in its place.
        self.bus = Bus(self.store, lambda: self.now(), captured)
        self.org = Org(self.store, lambda: self.now(), self._announce)
        self.bus.objects = self.org.objects
        self.oauth = Tokens(self.org, lambda: self.now(), token_seconds)
        self.cometd = CometD(self.bus, self.oauth.valid, connect_seconds)
        self.route("POST", "/services/oauth2/token", self.oauth.token)
        self.route("POST", "/services/oauth2/revoke", self.oauth.revoke_request)
        self.route("GET", "/services/oauth2/userinfo", self.oauth.userinfo)
        self.route("POST", "/services/oauth2/userinfo", self.oauth.userinfo)
        self.route("GET", r"/id/(?P<org>\w+)/(?P<user>\w+)", self.oauth.identity)
        self.route("POST", r"/cometd/(?P<version>\d+\.\d)(?:/\w*)?", self.cometd.handle)
        Composite(self, Rest(self))
        Pages(self)

    def _announce(self, changes: list[Change]) -> None:
        # The org makes its first records before the bus knows its objects: nobody can listen yet.
        if self.bus.objects:
            self.bus.publish(changes)
        for change in changes:
            if change.sobject in LOGGED:
                self._log_accepted(change)

    def _log_accepted(self, change: Change) -> None:
        user = self.org.get(change.actor.user)
        account = str(user["Email"]) if user else change.actor.user
        fields = {}
        if change.kind in ("CREATE", "UPDATE"):
            found = difference(change.old or {}, change.new)
            fields = {path: values for path, values in found.items() if path not in STAMPS}
        self.accepted.note(account, change.id, change.kind.lower(), fields)

    def close(self) -> None:
        """Let waiting event polls go, before a server stops."""
        self.cometd.close()

    def calls_today(self) -> int:
        day, calls = self._calls
        return calls if day == int(self.now() // DAY) else 0

    def authorize(self, request: Request) -> None:
        if not request.path.startswith("/services/data/v"):
            return
        if self.oauth.of(request) is None:
            raise Stop(Problem("INVALID_SESSION_ID", "Session expired or invalid", status=401).response())
        with self.store.lock:
            calls = self.calls_today()
            if calls >= self.daily_limit:
                message = "TotalRequests Limit exceeded."
                raise Stop(Problem("REQUEST_LIMIT_EXCEEDED", message, status=403).response())
            self._calls = (int(self.now() // DAY), calls + 1)

    def handle(self, request: Request) -> Response:
        response = super().handle(request)
        if request.path.startswith("/services/data"):
            response.headers["Sforce-Limit-Info"] = f"api-usage={self.calls_today()}/{self.daily_limit}"
        return response

    def not_found(self, request: Request) -> Response:
        methods = sorted({m for m, pattern, _ in self.routes if pattern.match(request.path)})
        if methods:
            text = f"HTTP Method '{request.method}' not allowed. Allowed are {','.join(methods)}"
            return Problem("METHOD_NOT_ALLOWED", text, status=405).response()
        return Problem("NOT_FOUND", "The requested resource does not exist", status=404).response()

    def _dispatch(self, request: Request) -> Response:
        try:
            return super()._dispatch(request)
        except Problem as problem:
            return problem.response()

    # Composite requests come back through here.
    dispatch = _dispatch
