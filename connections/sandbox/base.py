"""What all stand-ins share: a WSGI router, a JSON document store, faults, and a server.

A stand-in imitates one vendor's API for demo and tests. It shares no code with the connector that talks to it.
State lies in SQLite (a file, so that the next start keeps the data, or ":memory:"); one lock makes each request
atomic, as a vendor's transaction would.
"""

from __future__ import annotations

import functools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import waitress.server
from waitress.channel import ClientDisconnected

from connections.sandbox.accepted import ACCEPTED_PATH, AcceptedWrites
from connections.sandbox.faults import FAULTS_PATH, Fault, Luck
from connections.sandbox.store import Store

# Long polls hold a thread each; pages and API calls need the others.
SERVER_THREADS = 24
# A handler that takes longer is hanging; the test that stops the server must not.
STOP_SECONDS = 5.0


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # lower-case names
    body: bytes
    query_lists: dict[str, list[str]] = field(default_factory=dict)  # parameters given more than once

    def json(self) -> Any:
        return json.loads(self.body or b"null")

    def form(self) -> dict[str, str]:
        return {k: v[-1] for k, v in parse_qs(self.body.decode(), keep_blank_values=True).items()}

    def form_lists(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode(), keep_blank_values=True)


@dataclass
class Response:
    status: int = 200
    body: Any = None  # JSON value, str (HTML or text), bytes or None
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> tuple[bytes, str]:
        if self.body is None:
            return b"", self.headers.get("Content-Type", "application/json")
        if isinstance(self.body, bytes):
            return self.body, self.headers.get("Content-Type", "application/octet-stream")
        if isinstance(self.body, str):
            return self.body.encode(), self.headers.get("Content-Type", "text/html; charset=utf-8")
        return json.dumps(self.body).encode(), self.headers.get("Content-Type", "application/json;charset=UTF-8")


class Stop(Exception):
    """Raised by a handler to answer at once."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


Handler = Callable[..., Response]


class Standin:
    """A WSGI application: subclasses add routes with `route` and keep their state in `self.store`.

    `latency`: seconds each API call takes. `now`: the vendor's clock, seconds since the epoch.
    `log` keeps the last API requests as (method, path, status) for tests that count calls.
    """

    api_prefixes: tuple[str, ...] = ("/rest/", "/services/")

    def __init__(self, path: str = ":memory:", latency: float = 0.0, now: Callable[[], float] = time.time) -> None:
        self.store = Store(path)
        self.latency = latency
        self.now = now
        self.faults: list[Fault] = []
        self.luck = Luck()
        self.accepted = AcceptedWrites(self.store, lambda: self.clock())
        self.log: list[tuple[str, str, int]] = []
        self.routes: list[tuple[str, re.Pattern[str], Handler]] = []

    def route(self, method: str, pattern: str, handler: Handler) -> None:
        """`pattern` is a regular expression for the whole path; its named groups become arguments."""
        self.routes.append((method, re.compile(pattern + r"\Z"), handler))

    def fault(self, kind: str, **options: Any) -> None:
        self.faults.append(Fault(kind, **options))

    def clock(self) -> float:
        """The vendor's time, as its answers tell it."""
        return self.now()

    def close(self) -> None:
        """Let requests go that wait for something to happen; the server stops."""

    def not_found(self, request: Request) -> Response:
        return Response(404, {"message": "null for uri: " + request.path})

    def authorize(self, request: Request) -> None:
        """Raise Stop(401…) for an API request without valid credentials."""

    def handle(self, request: Request) -> Response:
        if request.path in (FAULTS_PATH, ACCEPTED_PATH):
            return self._beside(request)
        is_api = request.path.startswith(self.api_prefixes)
        if is_api and self.latency:
            time.sleep(self.latency)
        arrived = time.time()
        fault = self.luck.of_request(self.faults, request)
        written = self.accepted.mine
        try:
            response = self._met(fault, request) if fault else self._answer(request, is_api)
        finally:
            if fault:
                unsent = fault.kind == "drop_before" and request.method != "GET"
                self.luck.met(fault, 1 if unsent else self.accepted.mine - written)
                self.luck.note(fault, arrived)
        if is_api and not (fault and fault.kind == "status"):
            self.log.append((request.method, request.path, response.status))
            del self.log[:-5000]
        return response

    def _answer(self, request: Request, is_api: bool) -> Response:
        try:
            if is_api:
                self.authorize(request)
            return self._dispatch(request)
        except Stop as stop:
            return stop.response

    def _met(self, fault: Fault, request: Request) -> Response:
        """What a request leads to that meets a fault."""
        if fault.kind == "status":
            return Response(fault.status, fault.body, dict(fault.headers))
        if fault.kind == "drop_before":
            raise ClientDisconnected
        if fault.kind == "delay":
            time.sleep(fault.seconds)
        response = self._answer(request, request.path.startswith(self.api_prefixes))
        if fault.kind == "drop_after":
            raise ClientDisconnected
        if fault.kind == "delay_after":
            time.sleep(fault.seconds)
        if fault.kind == "status_after":
            return Response(fault.status, fault.body, dict(fault.headers))
        return response

    def _beside(self, request: Request) -> Response:
        """Not the vendor's: faults asked for and met, and what was accepted."""
        if request.path == ACCEPTED_PATH and request.method == "GET":
            return Response(200, {"lines": self.accepted.lines(int(request.query.get("after", "0")))})
        if request.path == FAULTS_PATH and request.method == "GET":
            return Response(200, self.luck.document("moments" in request.query))
        if request.path != FAULTS_PATH or request.method != "POST":
            return Response(405)
        # Another site's form cannot send this type, and its script would have to ask first, which nobody answers.
        if request.headers.get("content-type") != "application/json":
            return Response(415)
        self.faults = [Fault(**wanted) for wanted in request.json()]
        return Response(204)

    def _dispatch(self, request: Request) -> Response:
        for method, pattern, handler in self.routes:
            match = pattern.match(request.path)
            if match and method == request.method:
                return handler(request, **match.groupdict())
        return self.not_found(request)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        headers = {k[5:].replace("_", "-").lower(): v for k, v in environ.items() if k.startswith("HTTP_")}
        if environ.get("CONTENT_TYPE"):
            headers["content-type"] = environ["CONTENT_TYPE"]
        length = int(environ.get("CONTENT_LENGTH") or 0)
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        request = Request(
            environ["REQUEST_METHOD"],
            environ.get("PATH_INFO", "/").encode("latin-1").decode("utf-8", "replace"),
            {k: v[-1] for k, v in query.items()},
            headers,
            environ["wsgi.input"].read(length) if length else b"",
            query,
        )
        response = self.handle(request)
        body, content_type = response.encoded()
        date = format_datetime(datetime.fromtimestamp(self.clock(), UTC), usegmt=True)
        answer = {"Date": date, **response.headers, "Content-Type": content_type, "Content-Length": str(len(body))}
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", list(answer.items()))
        return iter([body])


class Server:
    """Serve a stand-in on loopback from a thread: `with Server(app) as address:`."""

    def __init__(self, app: Standin, port: int = 0, threads: int = SERVER_THREADS) -> None:
        self.app = app
        self.server = waitress.server.create_server(app, host="127.0.0.1", port=port, threads=threads)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.effective_port}"

    def __enter__(self) -> str:
        self.thread.start()
        return self.address

    def __exit__(self, *exc: object) -> None:
        self.app.close()
        # Handlers first: each wakes the loop when it is done, through a pipe that must still be open then.
        self.server.task_dispatcher.shutdown(timeout=STOP_SECONDS)
        # Then the loop, which ends when it has nothing left to watch; last the sockets, which nobody uses any more.
        watched: list[Any] = []
        self.server.trigger.pull_trigger(functools.partial(_hand_over, self.server._map, watched))
        self.thread.join(STOP_SECONDS)
        for each in watched:
            each.close()


def _hand_over(source: dict[int, Any], target: list[Any]) -> None:
    target += source.values()
    source.clear()
