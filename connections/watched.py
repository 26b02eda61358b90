"""The HTTP client of a try: the ordinary one with its guard and its limits, which also notes what went to and fro."""

from __future__ import annotations

import json as jsonlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus

import requests

from connections.connectors.base import Retry
from connections.connectors.http import BLANK, Answer, Session

# A try of one section takes a few; a description that makes more of it (a list of options by pages) is stopped here.
MOST_CALLS = 15
SHOWN_TEXT = 4_000  # characters of an answer that are shown
SHOWN_URL = 600
# Headers that tell something about a description; the definition's own are added.
TELLING = ("content-type", "link", "location", "etag", "retry-after", "last-modified", "next-page", "date")
TELLING_PARTS = ("ratelimit", "rate-limit", "backoff", "total")


@dataclass(slots=True)
class Exchange:
    """One call as it went. `status` 0: no answer. `sent`, `text`: bodies, without secrets once shown."""

    method: str
    url: str
    kind: str
    sent: Any = None
    status: int = 0
    seconds: float = 0.0
    headers: list[tuple[str, str]] = field(default_factory=list)
    text: str = ""
    json: Any = None
    cut: bool = False


class Held(Exception):
    """A writing call that was not sent, because a person is asked first. `exchange`: what would go."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange.url)
        self.exchange = exchange


class WatchedSession(Session):
    """`holds`: writing calls are not sent; each raises `Held`. `telling`: more headers to show, in lower case."""

    holds: bool = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.exchanges: list[Exchange] = []
        self.telling: set[str] = set()
        self._kind = "read"

    def request(self, method: str, path: str, **options: Any) -> Answer:
        if len(self.exchanges) >= MOST_CALLS:
            raise Retry(f"The try was stopped after {MOST_CALLS} calls. Nothing is wrong with that; it saw enough.")
        self._kind = options.get("kind") or ("write" if options.get("write") else "read")
        return super().request(method, path, **options)

    def _send(self, method: str, url: str, params: Any, json: Any, data: Any, *rest: Any) -> requests.Response:
        prepared = requests.models.PreparedRequest()
        prepared.prepare_url(url, params)
        exchange = Exchange(method, str(prepared.url), self._kind, json if json is not None else data)
        if self.holds and self._kind == "write":
            raise Held(exchange)
        self.exchanges.append(exchange)
        started = time.monotonic()
        try:
            response = super()._send(method, url, params, json, data, *rest)
        finally:
            exchange.seconds = time.monotonic() - started
        exchange.status = response.status_code
        exchange.headers = [(n, v) for n, v in response.headers.items() if self._tells(n)]
        return response

    def _read(self, response: requests.Response, *rest: Any) -> Answer:
        answer = super()._read(response, *rest)
        if self.exchanges:
            self.exchanges[-1].text, self.exchanges[-1].json = answer.text, answer.json
        return answer

    def _tells(self, name: str) -> bool:
        low = name.lower()
        return low in TELLING or low in self.telling or any(part in low for part in TELLING_PARTS)

    def hide(self, secret: str) -> None:
        """In every form in which an address or an answer may repeat it."""
        for text in {secret, quote(secret, safe=""), quote_plus(secret), jsonlib.dumps(secret)[1:-1]}:
            super().hide(text)

    def shown(self, exchange: Exchange) -> Exchange:
        """The call without its secrets, its answer cut to what a person reads."""
        told, sent = exchange.json, exchange.sent
        if exchange.kind == "auth":
            told, sent = _blanked(told), _blanked(sent)
        text = jsonlib.dumps(told, indent=2, ensure_ascii=False) if told is not None else exchange.text
        if exchange.kind == "auth" and told is None:
            text = BLANK if exchange.text else ""
        text = self.redact(text)
        return Exchange(
            exchange.method,
            self.redact(exchange.url)[:SHOWN_URL],
            exchange.kind,
            self.redact(jsonlib.dumps(sent, indent=2, ensure_ascii=False)) if sent is not None else None,
            exchange.status,
            exchange.seconds,
            [(name, self.redact(value)[:SHOWN_URL]) for name, value in exchange.headers],
            text[:SHOWN_TEXT],
            None,
            len(text) > SHOWN_TEXT,
        )


class HoldingSession(WatchedSession):
    holds = True


def _blanked(value: Any) -> Any:
    """The shape of a sign-in's answer: where something is, not what."""
    if isinstance(value, Mapping):
        return {key: _blanked(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_blanked(each) for each in value]
    return BLANK if isinstance(value, str) else value
