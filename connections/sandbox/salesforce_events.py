"""Change Data Capture: what the org announces, kept for three days to be replayed."""

from __future__ import annotations

import difflib
import hashlib
import secrets
import threading
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from connections.sandbox.salesforce_org import Change
from connections.sandbox.salesforce_schema import Doc, Field, SObject
from connections.sandbox.store import Store

# Events can be replayed for three days.
RETENTION_SECONDS = 72 * 3600
# Below this length an updated text is sent whole, above it as a difference where that is much shorter.
DIFF_LENGTH = 1000
_FIRST_REPLAY_ID = 32872942
_FIRST_COMMIT = 10426208028536
_SYSTEM = frozenset({"Id", "IsDeleted", "SystemModstamp", "CreatedDate", "CreatedById", "LastModifiedDate"})
_GAP_RECORD = "000000000000000AAA"


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
