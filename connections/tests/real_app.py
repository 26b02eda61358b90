"""A real application behind a door of ours: its requests are counted, and its answers can be disturbed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

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
