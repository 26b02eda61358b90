"""The Streaming API: Bayeux messages over long polling, as CometD clients speak them.

A waiting poll holds no lock but the bus's own condition, which it gives up while it waits.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from connections.sandbox.base import Request, Response
from connections.sandbox.salesforce_events import Bus
from connections.sandbox.salesforce_schema import Doc

# A client that does not come back within this time is forgotten.
SESSION_SECONDS = 110
# How often a waiting poll looks whether its token still holds.
RECHECK_SECONDS = 1.0


@dataclass(slots=True)
class _Session:
    token: str
    seen: float
    positions: dict[str, int] = field(default_factory=dict)  # channel → last replay id handed out
    polls: int = 0


class CometD:
    """The Bayeux side: handshake, connect, subscribe, disconnect. `connect_seconds`: how long an idle poll waits."""

    def __init__(self, bus: Bus, valid: Callable[[str], Any], connect_seconds: float) -> None:
        self.bus = bus
        self.valid = valid
        self.connect_seconds = connect_seconds
        self.sessions: dict[str, _Session] = {}

    def forget_sessions(self) -> None:
        """The server loses its sessions, as at a restart: clients meet 403::Unknown client."""
        with self.bus.news:
            self.sessions.clear()
            self.bus.news.notify_all()

    def close(self) -> None:
        """Let all waiting polls go."""
        with self.bus.news:
            self.bus.closed = True
            self.bus.news.notify_all()

    def handle(self, request: Request, version: str) -> Response:
        token = request.headers.get("authorization", "").partition(" ")[2]
        messages = request.json()
        answers: list[Doc] = []
        for message in messages if isinstance(messages, list) else [messages]:
            channel = message.get("channel", "")
            handler = {
                "/meta/handshake": self._handshake,
                "/meta/connect": self._connect,
                "/meta/subscribe": self._subscribe,
                "/meta/unsubscribe": self._unsubscribe,
                "/meta/disconnect": self._disconnect,
            }.get(channel)
            reply = {"channel": channel} | ({"id": message["id"]} if "id" in message else {})
            if handler is None:
                answers.append({**reply, "successful": False, "error": "403::Subscriptions to this channel only"})
            else:
                answers += handler(message, reply, token)
        return Response(200, answers)

    def _handshake(self, message: Doc, reply: Doc, token: str) -> list[Doc]:
        if not self.valid(token):
            reason = {"sfdc": {"failureReason": "401::Authentication invalid"}}
            refused = {"ext": reason, "advice": {"reconnect": "none"}, "error": "403::Handshake denied"}
            return [{**reply, **refused, "successful": False}]
        client = secrets.token_hex(14)
        with self.bus.news:
            self.sessions[client] = _Session(token, self.bus.now())
        return [
            {
                "ext": {"replay": True, "payload.format": True},
                "minimumVersion": "1.0",
                "clientId": client,
                "supportedConnectionTypes": ["long-polling"],
                **reply,
                "version": "1.0",
                "successful": True,
            }
        ]

    def _session(self, message: Doc) -> _Session | None:
        session = self.sessions.get(message.get("clientId", ""))
        if session and self.bus.now() - session.seen > SESSION_SECONDS:
            del self.sessions[message["clientId"]]
            return None
        return session

    def _unknown(self, reply: Doc) -> list[Doc]:
        advice = {"interval": 0, "reconnect": "handshake"}
        return [{**reply, "advice": advice, "error": "403::Unknown client", "successful": False}]

    def _unauthorized(self, message: Doc, reply: Doc) -> list[Doc]:
        advice = {"reconnect": "none", "interval": 0}
        told = {"clientId": message.get("clientId"), "advice": advice, "error": "401::Authentication invalid"}
        return [{**reply, **told, "successful": False}]

    def _connect(self, message: Doc, reply: Doc, token: str) -> list[Doc]:
        kind = message.get("connectionType")
        if kind != "long-polling":
            return [{**reply, "error": f"400::Invalid connection type {{{kind}}}", "successful": False}]
        client = message.get("clientId", "")
        with self.bus.news:
            session = self._session(message)
            if session is None:
                return self._unknown(reply)
            if not self.valid(token):
                return self._unauthorized(message, reply)
            session.polls += 1
            own = session.polls
            done = {"clientId": client, **reply, "successful": True}
            if own == 1:  # the first poll only tells the rules
                advice = {"interval": 0, "timeout": SESSION_SECONDS * 1000, "reconnect": "retry"}
                session.seen = self.bus.now()
                return [*self._take(session), {**done, "advice": advice}]
            deadline = time.monotonic() + self.connect_seconds
            while True:
                if self.sessions.get(client) is not session:
                    return self._unknown(reply)
                session.seen = self.bus.now()
                events = self._take(session) if session.polls == own else []
                left = deadline - time.monotonic()
                # A newer poll of the same client takes this one's place.
                if events or left <= 0 or session.polls != own or self.bus.closed:
                    return [*events, done]
                self.bus.news.wait(min(left, RECHECK_SECONDS))
                if not self.valid(token):
                    return self._unauthorized(message, reply)

    def _take(self, session: _Session) -> list[Doc]:
        found = []
        for channel, position in session.positions.items():
            entity = _entity(channel)
            for event in reversed(self.bus.events):
                if event["replay"] <= position:
                    break
                if entity in ("", event["entity"]):
                    found.append((event["replay"], {"data": event["data"], "channel": channel}))
            session.positions[channel] = max(position, self.bus.last)
        return [message for _, message in sorted(found, key=lambda pair: pair[0])]

    def _subscribe(self, message: Doc, reply: Doc, token: str) -> list[Doc]:
        channel = message.get("subscription", "")
        replay = (message.get("ext") or {}).get("replay", {}).get(channel, -1)
        reply = {"clientId": message.get("clientId"), **reply, "subscription": channel}
        self.bus.expire()
        with self.bus.news:
            session = self._session(message)
            if session is None:
                return self._unknown(reply)
            if not self.valid(token):
                return self._unauthorized(message, reply)
            entity = _entity(channel)
            if entity is None or (entity and entity not in self.bus.entities):
                error = f"400::The channel you requested to subscribe to does not exist {{{channel}}}"
                return [{**reply, "error": error, "successful": False}]
            start = self._start(replay)
            if start is None:
                error = (
                    f"400::The replayId {{{replay}}} you provided was invalid.  Please provide a valid ID, -2 to "
                    "replay all events, or -1 to replay only new events."
                )
                return [{**reply, "error": error, "successful": False}]
            session.positions[channel] = start
            session.seen = self.bus.now()
            return [{**reply, "successful": True}]

    def _start(self, replay: Any) -> int | None:
        """The position a subscription starts after; None for a replay id that is not, or no longer, held."""
        if not isinstance(replay, int):
            return None
        if replay == -1:
            return self.bus.last
        if replay == -2:
            return self.bus.purged
        return replay if self.bus.purged < replay <= self.bus.last and replay > self.bus.first else None

    def _unsubscribe(self, message: Doc, reply: Doc, token: str) -> list[Doc]:
        channel = message.get("subscription", "")
        with self.bus.news:
            session = self._session(message)
            if session is None:
                return self._unknown(reply)
            session.positions.pop(channel, None)
        return [{"clientId": message["clientId"], **reply, "subscription": channel, "successful": True}]

    def _disconnect(self, message: Doc, reply: Doc, token: str) -> list[Doc]:
        with self.bus.news:
            if self.sessions.pop(message.get("clientId", ""), None) is None:
                return self._unknown(reply)
            self.bus.news.notify_all()
        return [{"clientId": message["clientId"], **reply, "successful": True}]


def _entity(channel: str) -> str | None:
    """The object a channel tells of, "" for all; None for a channel that does not exist."""
    match = re.fullmatch(r"/data/(\w+?)(__)?ChangeEvent(s?)", channel)
    if channel == "/data/ChangeEvents":
        return ""
    if not match or match[3]:
        return None
    return match[1] + ("__c" if match[2] else "")
