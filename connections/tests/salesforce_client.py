"""A client for tests of the Salesforce stand-in: a clock to turn, a small org, and requests without a socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from connections.sandbox.base import Request, Response
from connections.sandbox.salesforce import SalesforceStandin

DATA = "/services/data/v62.0"
START = 1_767_225_600.0  # 2026-01-01T00:00:00Z


class Clock:
    def __init__(self, at: float = START) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    def tick(self, seconds: float) -> None:
        self.at += seconds


class Client:
    """A stand-in with Ana, Bob (who left), a queue, and an API user, signed in by client credentials."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.app = SalesforceStandin(now=self.clock, connect_seconds=0.05, **options)
        self.org = self.app.org
        self.ana = self.org.create_user("Ana Ruiz")["Id"]
        self.bob = self.org.create_user("Bob Lindqvist", active=False)["Id"]
        self.api = self.org.create_user("Sync Admin", "sync@example.com")["Id"]
        self.queue = self.org.create_queue("Tier 2")["Id"]
        self.keys = self.app.oauth.create_app(run_as=self.api)
        self.token = ""
        self.sign_in()

    def send(
        self, method: str, path: str, query: Any = None, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Response:
        path, _, inline = path.partition("?")
        pairs = dict(parse_qsl(inline)) | dict(query or {})
        lower = {k.lower(): v for k, v in (headers or {}).items()}
        return self.app.handle(Request(method, path, pairs, {"host": "org.test", **lower}, body))

    def token_request(self, **form: str) -> Response:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.send("POST", "/services/oauth2/token", body=urlencode(form).encode(), headers=kind)

    def sign_in(self) -> None:
        secret = {k: self.keys[k] for k in ("client_id", "client_secret")}
        self.token = self.token_request(grant_type="client_credentials", **secret).body["access_token"]

    def call(self, method: str, path: str, body: Any = None, query: Any = None, **headers: str) -> Response:
        """An API call; `path` below the data root unless it starts with "/"; headers with _ for -."""
        path = path if path.startswith("/") else f"{DATA}/{path}"
        sent = b"" if body is None else json.dumps(body).encode()
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        all_headers = {"Authorization": f"Bearer {self.token}", "Sforce-Call-Options": "client=SyncAdmin", **named}
        return self.send(method, path, query, sent, all_headers)

    def soql(self, text: str, **headers: str) -> Response:
        return self.call("GET", "query", query={"q": text}, **headers)

    def rows(self, text: str) -> list[dict[str, Any]]:
        answer = self.soql(text)
        assert answer.status == 200, answer.body
        return answer.body["records"]

    def case(self, **fields: Any) -> str:
        return self.org.create("Case", {"Subject": "Broken", **fields}, self.ana)["Id"]

    def stream(self, **message: Any) -> list[dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.send("POST", "/cometd/62.0", body=json.dumps([message]).encode(), headers=headers).body

    def subscribe(self, channel: str = "/data/CaseChangeEvent", replay: int = -1) -> str:
        """Handshake, first poll and subscription. Returns the client id."""
        kinds = ["long-polling"]
        [hello] = self.stream(channel="/meta/handshake", version="1.0", supportedConnectionTypes=kinds, id="1")
        client = hello["clientId"]
        self.stream(channel="/meta/connect", clientId=client, connectionType="long-polling", id="2")
        answer = self.ask_for(client, channel, replay)
        assert answer["successful"], answer
        return client

    def ask_for(self, client: str, channel: str, replay: int) -> dict[str, Any]:
        ext = {"replay": {channel: replay}}
        return self.stream(channel="/meta/subscribe", clientId=client, subscription=channel, ext=ext, id="3")[-1]

    def poll(self, client: str) -> list[dict[str, Any]]:
        """The events of one long poll."""
        messages = self.stream(channel="/meta/connect", clientId=client, connectionType="long-polling", id="4")
        return [m for m in messages if m["channel"].startswith("/data/")]
