"""A client for tests of the ServiceNow stand-in: a clock to turn, a few people, and requests without a socket."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from connections.sandbox.base import Request, Response
from connections.sandbox.servicenow import ServiceNowStandin

START = 1_767_225_600.0  # 2026-01-01T00:00:00Z
TABLE = "/api/now/table/"
PASSWORD = "password-of-api"


class Clock:
    def __init__(self, at: float = START) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    def tick(self, seconds: float) -> None:
        self.at += seconds


class Client:
    """A stand-in with Ana, Bob (who left), a group, and an API user."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.app = ServiceNowStandin(now=self.clock, **options)
        self.records = self.app.records
        self.ana = self.records.user("Ana Ruiz", "ana@acme.example")
        self.bob = self.records.user("Bob Lindqvist", "bob@acme.example", active="false")
        self.api = self.records.user("Sync Admin", "sync@acme.example", "api", web_service_access_only="true")
        self.group = self.records.group("Tier 2")
        self.app.oauth.passwords["api"] = PASSWORD
        self.credentials = "Basic " + base64.b64encode(f"api:{PASSWORD}".encode()).decode()

    def send(
        self, method: str, path: str, query: Any = None, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Response:
        path, _, inline = path.partition("?")
        pairs = dict(parse_qsl(inline, keep_blank_values=True)) | dict(query or {})
        lower = {k.lower(): v for k, v in (headers or {}).items()}
        return self.app.handle(Request(method, path, pairs, {"host": "acme.test", **lower}, body))

    def call(self, method: str, path: str, body: Any = None, **query: str) -> Response:
        """An API call below the Table API's root, unless the path begins with "/"."""
        path = path if path.startswith("/") else TABLE + path
        sent = b"" if body is None else json.dumps(body).encode()
        headers = {"Authorization": self.credentials, "Content-Type": "application/json"}
        return self.send(method, path, {f"sysparm_{name}": value for name, value in query.items()}, sent, headers)

    def rows(self, query: str = "", table: str = "incident", **more: str) -> list[dict[str, Any]]:
        answer = self.call("GET", table, query=query, **more)
        assert answer.status == 200, answer.body
        rows: list[dict[str, Any]] = answer.body["result"]
        return rows

    def token(self, **form: str) -> Response:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.send("POST", "/oauth_token.do", body=urlencode(form).encode(), headers=kind)

    def incident(self, **values: str) -> str:
        given = {"short_description": "Broken", **values}
        return self.records.create("incident", given, "ana.ruiz")["sys_id"]
