"""Change Data Capture over CometD (Bayeux, long polling): the event bus and its subscribers.

A waiting poll holds no lock but the bus's own condition, which it gives up while it waits.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from connections.sandbox.base import Request, Response, Store
from connections.sandbox.salesforce_org import Change
from connections.sandbox.salesforce_schema import Doc, Field, SObject

# Events can be replayed for three days.
RETENTION_SECONDS = 72 * 3600
# A client that does not come back within this time is forgotten.
SESSION_SECONDS = 110
# How often a waiting poll looks whether its token still holds.
RECHECK_SECONDS = 1.0
# Below this length an updated text is sent whole, above it as a difference where that is much shorter.
DIFF_LENGTH = 1000
_FIRST_REPLAY_ID = 32872942
_FIRST_COMMIT = 10426208028536
_SYSTEM = frozenset({"Id", "IsDeleted", "SystemModstamp", "CreatedDate", "CreatedById", "LastModifiedDate"})
_GAP_RECORD = "000000000000000AAA"


@dataclass(slots=True)
class _Session:
    token: str
    seen: float
    positions: dict[str, int] = field(default_factory=dict)  # channel → last replay id handed out
    polls: int = 0


class Bus:
    """Events of the org in their order. `objects` are looked up when an event is written."""

    def __init__(self, store: Store, now: Callable[[], float], entities: Iterable[str]) -> None:
        self.store = store
        self.now = now
        self.entities = set(entities)  # selected for Change Data Capture
        self.muted = False  # a bell that is cut: changes happen, nothing is announced
        self.objects: dict[str, SObject] = {}
        self.news = threading.Condition()
        self.closed = False
        self.events: list[Doc] = store.all("event")  # {"replay", "at", "entity", "data"}
        self.last = store.get("bus", "last") or _FIRST_REPLAY_ID
        self.purged = store.get("bus", "purged") or 0  # highest replay id that can no longer be had
        self.first = _FIRST_REPLAY_ID

    def publish(self, changes: list[Change]) -> None:
        """Announce one transaction. Equal changes of several records make one event with several ids."""
        if self.muted:
            return
        merged: dict[str, tuple[Change, Doc, list[str]]] = {}
        for change in changes:
            if change.sobject not in self.entities:
                continue
            body = self._body(change)
            same = f"{change.sobject} {change.kind} {sorted(body.items(), key=str)}"
            merged.setdefault(same, (change, body, []))[2].append(change.id)
        key = str(uuid.UUID(bytes=secrets.token_bytes(16)))
        for number, (change, body, ids) in enumerate(merged.values(), 1):
            extra: Doc = {}
            if change.kind == "UPDATE":
                extra["changedFields"] = [n for n in body if n != "LastModifiedDate"] + ["LastModifiedDate"]
            self._add(
                change.sobject, ids, change.kind, change.actor.user, change.actor.origin, key, number, extra, body
            )

    def gap(self, sobject: str, ids: list[str], kind: str = "GAP_UPDATE", user: str = "") -> None:
        """An event without data: something happened to these records. `kind`: GAP_CREATE, GAP_UPDATE, ..."""
        self._add(sobject, ids, kind, user, "", str(uuid.uuid4()), 1, {}, {})

    def overflow(self, sobject: str, user: str = "") -> None:
        """More changes in one transaction than the bus carries; it does not say which."""
        self.gap(sobject, [_GAP_RECORD], "GAP_OVERFLOW", user)

    def forget_before(self, at: float) -> None:
        """Drop events older than `at`, as retention does."""
        # The store's lock first, always: a transaction that announces holds it when it asks for the bus.
        with self.store.lock, self.news:
            while self.events and self.events[0]["at"] < at:
                old = self.events.pop(0)
                self.purged = old["replay"]
                self.store.remove("event", f"{old['replay']:015d}")
            self.store.put("bus", "purged", self.purged)

    def expire(self) -> None:
        limit = self.now() - RETENTION_SECONDS
        if self.events and self.events[0]["at"] < limit:
            self.forget_before(limit)

    def _add(
        self,
        sobject: str,
        ids: list[str],
        kind: str,
        user: str,
        origin: str,
        key: str,
        number: int,
        extra: Doc,
        body: Doc,
    ) -> None:
        with self.store.lock, self.news:
            now = self.now()
            self.expire()
            # Replay ids grow, but not by one: subscribers must not count on it.
            self.last += 1 + self.last % 3
            header = {
                "commitNumber": _FIRST_COMMIT + self.last * 71,
                "commitUser": user,
                "sequenceNumber": number,
                "entityName": sobject,
                "changeType": kind,
                **extra,
                "changeOrigin": origin,
                "transactionKey": key,
                "commitTimestamp": int(now) * 1000,
                "recordIds": ids,
            }
            data = {
                "schema": self._schema(sobject),
                "payload": {"ChangeEventHeader": header, **body},
                "event": {"replayId": self.last},
            }
            event = {"replay": self.last, "at": now, "entity": sobject, "data": data}
            self.events.append(event)
            self.store.put("event", f"{self.last:015d}", event)
            self.store.put("bus", "last", self.last)
            self.news.notify_all()

    def _schema(self, sobject: str) -> str:
        """Changes with the object's fields, as the vendor's Avro schema id does."""
        names = ",".join(sorted(self.objects[sobject].fields))
        return hashlib.sha256(f"{sobject}:{names}".encode()).hexdigest()[:22]

    def _body(self, change: Change) -> Doc:
        new, fields = change.new, self.objects[change.sobject].fields
        if change.kind == "DELETE":
            return {}
        if change.kind != "UPDATE":
            held = {
                n: v
                for n, v in new.items()
                if v is not None and n in fields and n not in ("Id", "IsDeleted", "SystemModstamp")
            }
            return _nested({n: _event_value(fields[n], v) for n, v in held.items()})
        old = change.old or {}
        body: Doc = {"LastModifiedDate": _event_time(new["LastModifiedDate"])}
        for name in change.fields:
            if name not in _SYSTEM and name in fields:
                body[name] = _difference(fields[name], old.get(name), new.get(name))
        if old.get("LastModifiedById") != new["LastModifiedById"]:
            body["LastModifiedById"] = new["LastModifiedById"]
        return _nested(body)


def _event_time(text: str) -> str:
    return text.replace(".000+0000", "Z")


def _event_value(item: Field, value: Any) -> Any:
    return _event_time(value) if item.type == "datetime" and value else value


def _nested(body: Doc) -> Doc:
    """A person's name is one compound field in events."""
    if "Name" in body and ("LastName" in body or "FirstName" in body):
        body.pop("Name")
        body["Name"] = {n: body.pop(n) for n in ("FirstName", "LastName") if n in body}
    return body


def _difference(item: Field, old: Any, new: Any) -> Any:
    """The new value; for a long text with a small edit, {"diff": a unified difference with the text's SHA-256}."""
    if not item.long_text or not old or not new or len(new) < DIFF_LENGTH:
        return _event_value(item, new)
    before, after = old.splitlines(), new.splitlines()
    lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
    edited = sum(line[0] in "+-" for line in lines)
    diff = "\n".join(["--- ", "+++ " + hashlib.sha256(new.encode()).hexdigest(), *lines])
    if abs(len(new) - len(old)) > len(old) / 2 or edited > (len(before) + len(after)) / 4 or len(diff) > len(new):
        return new
    return {"diff": diff}


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
