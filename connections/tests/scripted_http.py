"""The HTTP session with answers from a script instead of a network: what was asked is kept for the checks."""

from __future__ import annotations

import io
import json as jsonlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.structures import CaseInsensitiveDict

from connections.connectors.http import Session

DATE = "Thu, 01 Jan 2026 09:00:00 GMT"


@dataclass
class Asked:
    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: Any
    auth: tuple[str, str] | None


@dataclass
class Said:
    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Script = Callable[[Asked], Said]


class Scripted(Session):
    """`script`: [(method, regular expression for the path, answer or function of the request)], first fit first."""

    def __init__(self, address: str, *script: tuple[str, str, Said | Script], name: str = "") -> None:
        super().__init__(address, name=name)
        self.script = list(script)
        self.asked: list[Asked] = []

    def _send(
        self,
        method: str,
        url: str,
        params: Any,
        json: Any,
        data: Any,
        headers: Mapping[str, str] | None,
        auth: tuple[str, str] | None,
        write: bool,
        read_timeout: float | None,
    ) -> requests.Response:
        parts = urlsplit(url)
        query = [*parse_qsl(parts.query, keep_blank_values=True), *(params or {}).items()]
        body = json if json is not None else data
        asked = Asked(method, parts.path, query, {n.lower(): v for n, v in (headers or {}).items()}, body, auth)
        self.asked.append(asked)
        for wanted, pattern, answer in self.script:
            if wanted == method and re.search(pattern, parts.path):
                said = answer if isinstance(answer, Said) else answer(asked)
                break
        else:
            said = Said({"message": "not in the script"}, 404)
        response = requests.Response()
        response.status_code = said.status
        response.headers = CaseInsensitiveDict({"Date": DATE, **said.headers})
        text = (
            said.body
            if isinstance(said.body, bytes)
            else b""
            if said.body is None
            else jsonlib.dumps(said.body).encode()
        )
        response.raw = io.BytesIO(text)
        return response
