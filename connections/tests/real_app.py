"""A real application behind a door of ours: its requests are counted, and its answers can be disturbed."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from connections.sandbox.base import Request, Response, Standin

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Any]


class Door(Standin):
    """Hands every request on to `app`, a WSGI application that nobody made for us."""

    api_prefixes = ("/",)

    def __init__(self, app: Wsgi | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.app = app
        self.host = "127.0.0.1"

    def _dispatch(self, request: Request) -> Response:
        return self.ask(
            request.method, request.path, request.query_lists or request.query, request.body, request.headers
        )

    def ask(
        self, method: str, path: str, query: Mapping[str, Any], body: bytes, headers: Mapping[str, str]
    ) -> Response:
        assert self.app
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path.encode().decode("latin-1"),
            "QUERY_STRING": urlencode(query, doseq=True),
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": self.host.partition(":")[2] or "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": None,
        }
        environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        environ["HTTP_HOST"] = self.host
        environ.pop("HTTP_ACCEPT_ENCODING", None)
        if "content-type" in headers:
            environ["CONTENT_TYPE"] = headers["content-type"]
        said: dict[str, Any] = {}
        written: list[bytes] = []

        def start_response(status: str, answered: list[tuple[str, str]], exc_info: Any = None) -> Any:
            said.update(status=int(status.split()[0]), headers=dict(answered))
            return written.append

        parts = self.app(environ, start_response)
        text = b"".join([*written, *parts])
        kept = {n: v for n, v in said["headers"].items() if n.lower() not in ("content-length", "date")}
        return Response(said["status"], text, kept)

    def person(self, method: str, path: str, body: Any, headers: Mapping[str, str], **query: str) -> Any:
        """A person's own request, beside the connection; its JSON."""
        sent = b"" if body is None else json.dumps(body).encode()
        answer = self.ask(method, path, query, sent, {"content-type": "application/json", **headers})
        assert answer.status < 300, (answer.status, answer.body)
        return json.loads(answer.body or b"null")


# Redmine: a Ruby application in a process of its own ----------------------------------------------------------------

REDMINE = Path("/usr/share/redmine/config/environment.rb")
NO_REDMINE = "Debian's packages redmine, redmine-sqlite and puma are not installed"
HOP_BY_HOP = ("content-length", "date", "connection", "transfer-encoding")


class RedmineDoor(Door):
    """Hands every request on to a running Redmine. `keys` and `ids`: those of its people, by login."""

    def __init__(self, process: subprocess.Popen[str], **options: Any) -> None:
        super().__init__(**options)
        self.process = process
        told = json.loads(self._line())
        self.port: int = told["port"]
        self.keys: dict[str, str] = told["keys"]
        self.ids: dict[str, int] = told["ids"]

    def _line(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "Redmine ended, and said why"
        return line

    def tell(self, what: str) -> None:
        """See redmine_server.rb."""
        assert self.process.stdin
        print(what, file=self.process.stdin, flush=True)
        self._line()

    def ask(
        self, method: str, path: str, query: Mapping[str, Any], body: bytes, headers: Mapping[str, str]
    ) -> Response:
        sent = {name: value for name, value in headers.items() if name not in ("host", "accept-encoding", *HOP_BY_HOP)}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, f"{quote(path)}?{urlencode(query, doseq=True)}", body, sent)
            answer = connection.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP}
            return Response(answer.status, answer.read(), kept)
        finally:
            connection.close()


@contextmanager
def redmine(**options: Any) -> Iterator[RedmineDoor]:
    """A Redmine of its own with a project and four people; skips the test where there is none to start."""
    if not (REDMINE.exists() and shutil.which("puma") and shutil.which("ruby")):
        pytest.skip(NO_REDMINE)
    server = Path(__file__).with_name("redmine_server.rb")
    # Rails reads this one too, and would take our database, or none where it is empty.
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    with tempfile.TemporaryDirectory(prefix="redmine-") as home:
        process = subprocess.Popen(
            ["ruby", str(server), home], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        with process:  # it ends with its standard input
            yield RedmineDoor(process, **options)
