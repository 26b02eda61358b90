"""The business rule an administrator pastes in, as the instance runs it: a signed request after each change.

`sent`: (url, headers, body) of what went out, in order; deliveries go out at once, from the thread of the change.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import requests

from connections.sandbox.servicenow_records import Row

SEND_SECONDS = 5.0


@dataclass
class Rule:
    url: str
    table: str
    secret: str


class Rules:
    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.active: list[Rule] = []
        self.sent: list[tuple[str, dict[str, str], bytes]] = []
        self._session = requests.Session()
        self._session.trust_env = False

    def paste(self, table: str, url: str, secret: str) -> None:
        self.active.append(Rule(url, table, secret))

    def on_change(self, operation: str, table: str, row: Row, by: str) -> None:
        for rule in self.active:
            if rule.table == table:
                headers, body = self.signed(rule.secret, self.body(operation, table, row, by))
                self.sent.append((rule.url, headers, body))
                try:
                    self._session.post(rule.url, data=body, headers=headers, timeout=SEND_SECONDS)
                except requests.RequestException:
                    continue  # nobody sends it again

    def body(self, operation: str, table: str, row: Row, by: str) -> bytes:
        told = {
            "delivery": uuid.uuid4().hex,
            "table": table,
            "sys_id": row["sys_id"],
            "operation": operation,
            "by": by,
            "sys_mod_count": row["sys_mod_count"],
            "sys_updated_on": row["sys_updated_on"],
            "title": f"{row.get('number', '')} {row.get('short_description', '')}",
        }
        return json.dumps(told).encode()

    def signed(self, secret: str, body: bytes) -> tuple[dict[str, str], bytes]:
        at = str(int(self.clock()))
        mac = hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).digest()
        signature = base64.b64encode(mac).decode()
        return {
            "Content-Type": "application/json",
            "X-SyncAdmin-Timestamp": at,
            "X-SyncAdmin-Signature": signature,
        }, body
