"""Salesforce's bell: Change Data Capture over CometD long polling.

Handshake, subscribe with the stored replay position, then one long poll after the other. The poll runs in a thread
of its own, because Salesforce may hold it for two minutes and the listener must neither miss its heartbeat nor its
stop; the thread uses nothing but HTTP and the token it was given.
Facts: Streaming API Developer Guide, "Handling Streaming API Errors", "Message Durability"; Change Data Capture
Developer Guide, "Change Event Header Fields", "Gap Events", "Overflow Events"; Bayeux protocol 1.0.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from connections.connectors import salesforce_people as people
from connections.connectors import salesforce_soql as soql
from connections.connectors.base import (
    ConnectorError,
    Hint,
    NeedsAuthorization,
    NotAllowed,
    Retry,
    Values,
)
from connections.connectors.salesforce_fields import Shape, moment, plain_value
from connections.connectors.salesforce_org import Org

NEW_EVENTS = -1
# Salesforce holds a poll for up to 110 s; an answer on its way then needs some more.
POLL_SECONDS = 130.0
CALL_SECONDS = 20.0
GOODBYE_SECONDS = 3.0  # a stop must not wait for an org that does not answer
HEARTBEAT_SECONDS = 15.0
# How often the stop is looked at.
TICK_SECONDS = 0.25
# The longest pause between polls we let Salesforce ask for: its sessions end after 40 s without a poll.
LONGEST_INTERVAL = 30.0
# Answers waiting to be taken; a full queue stops the polling, and Salesforce keeps the events.
BACKLOG = 100
# Limits on listeners and events are daily or need an administrator; a try now and then is enough.
LIMIT_WAIT = 300.0
ALL = "*"
REFUSED_STATE = "bell_refused"  # object types whose channel does not exist

_SYSTEM = {"LastModifiedDate", "LastModifiedById", "SystemModstamp", "CreatedDate", "CreatedById"}
_DELETES = ("DELETE", "GAP_DELETE")


class _Rehandshake(Exception):
    """Salesforce forgot our session; positions are kept, so nothing is missed."""


def listen(org: Org, object_types: Sequence[str], stop: Callable[[], bool]) -> Iterator[Sequence[Hint]]:
    """Hints until `stop()`. Raises Retry where the connection broke, NotAllowed where no channel exists."""
    stale: dict[str, Any] | None = None
    while not stop():
        token = org.renewed(stale) if stale else org.token()
        fresh, stale = stale is not None, None
        session = _Session(org, token)
        try:
            session.handshake()
            gaps = _subscribe(session, object_types)
            if gaps:
                yield gaps
            yield from _follow(session, {channel_of(o): o for o in object_types}, stop)
        except _Rehandshake:
            if not session.connected:
                raise Retry("Salesforce's live feed keeps forgetting us. Edits are found by asking.") from None
        except NeedsAuthorization:
            if fresh and not session.connected:
                raise
            stale = token
        finally:
            session.close()


def channel_of(object_type: str) -> str:
    """Case → /data/CaseChangeEvent, Asset__c → /data/Asset__ChangeEvent."""
    name = soql.name(object_type)
    return f"/data/{name[:-1]}ChangeEvent" if name.endswith("__c") else f"/data/{name}ChangeEvent"


def hints_of(org: Org, message: Mapping[str, Any], object_type: str) -> list[Hint]:
    """What one event on the channel of `object_type` tells."""
    try:
        return _hints(org, message)
    except (KeyError, TypeError, ValueError, AttributeError):
        # An event we cannot read must neither be lost nor stop those behind it.
        return [Hint(object_type, ALL, verified=True)]


def _hints(org: Org, message: Mapping[str, Any]) -> list[Hint]:
    payload = message["data"]["payload"]
    header = payload["ChangeEventHeader"]
    object_type = str(header["entityName"])
    ids = [str(i) for i in header.get("recordIds") or ()]
    # An overflow names no record, and a field's new type names them by prefix ("500*").
    if header["changeType"] == "GAP_OVERFLOW" or not ids or not all(map(soql.is_id, ids)):
        return [Hint(object_type, ALL, at=moment(header.get("commitTimestamp")), verified=True)]
    return [
        Hint(
            object_type,
            soql.long_id(record_id),
            version=moment(payload.get("LastModifiedDate")),
            own_account=_is_ours(org, header),
            changes=_changes(org, object_type, header, payload),
            deleted=header["changeType"] in _DELETES,
            verified=True,  # it came over our own, signed-in connection
            at=moment(header.get("commitTimestamp")),
            created=header["changeType"] == "CREATE",
        )
        for record_id in ids
    ]


def changes_of(shape: Shape, header: Mapping[str, Any], payload: Mapping[str, Any]) -> dict[str, Any] | None:
    """The vendor's new value of every changed field, or None where the event does not tell all of them exactly."""
    if header["changeType"] not in ("CREATE", "UPDATE") or header.get("diffFields"):
        return None
    told: dict[str, Any] = {}
    for name, value in payload.items():
        if name == "ChangeEventHeader":
            continue
        # A compound field holds its parts; a long text may come as the difference only.
        if isinstance(value, Mapping) and "diff" in value:
            return None
        told |= dict(value) if isinstance(value, Mapping) else {name: value}
    for name in header.get("nulledFields") or ():
        told.setdefault(name.rpartition(".")[2], None)
    changed = {n.rpartition(".")[2] for n in header.get("changedFields") or ()} | set(told)
    names = changed - _SYSTEM
    if any(n not in told or n not in shape.columns for n in names):
        return None
    return {n: told[n] for n in names}


def _changes(org: Org, object_type: str, header: Mapping[str, Any], payload: Mapping[str, Any]) -> Values | None:
    try:
        shape = org.shape(object_type)
        raw = changes_of(shape, header, payload)
        if raw is None:
            return None
        values = {}
        for name, value in raw.items():
            column = shape.columns[name]
            if column.shown.kind == "person" and value:
                values[name] = people.account_values(org, [str(value)])[str(value)]
            else:
                values[name] = plain_value(column, value)
        return values
    except (ConnectorError, ValueError, TypeError):
        return None  # the hint alone is worth ringing; the record will be read


def _is_ours(org: Org, header: Mapping[str, Any]) -> bool:
    """Our user alone proves nothing: a person or another program may use it as well."""
    client = str(header.get("changeOrigin") or "").partition(";client=")[2].rstrip("/")
    return client == org.client and soql.long_id(str(header.get("commitUser"))) == org.user_id


def _replay_id(event: Mapping[str, Any]) -> int | None:
    told = ((event.get("data") or {}).get("event") or {}).get("replayId")
    return told if isinstance(told, int) else None


def _position(channel: str) -> str:
    return f"replay {channel}"


def _subscribe(session: _Session, object_types: Sequence[str]) -> list[Hint]:
    """Subscribe to all channels; hints "*" for those whose past cannot be replayed."""
    state = session.org.context.state
    gaps: list[Hint] = []
    refused: list[str] = []
    for object_type in object_types:
        channel = channel_of(object_type)
        position = state.get(_position(channel))
        error = session.subscribe(channel, NEW_EVENTS if position is None else int(position))
        if error and "replayId" in error:
            position = None
            error = session.subscribe(channel, NEW_EVENTS)
        if error:
            refused.append(object_type)
        elif position is None:
            gaps.append(Hint(object_type, ALL, verified=True))
    if refused != state.get(REFUSED_STATE, []):
        state.put(REFUSED_STATE, refused)
    if len(refused) == len(object_types):
        raise NotAllowed(
            f"Salesforce announces no changes of {', '.join(refused)}. Edits are still found, by asking regularly. "
            "Select the objects in Setup → Integrations → Change Data Capture."
        )
    return gaps


def _follow(session: _Session, channels: Mapping[str, str], stop: Callable[[], bool]) -> Iterator[Sequence[Hint]]:
    state = session.org.context.state
    session.start()
    silent_since = time.monotonic()
    while not stop():
        messages = session.take()
        events = [m for m in messages if m.get("channel") in channels]
        if events:
            # Until the caller has taken the hints, a crash must lead to the same events again.
            yield [hint for event in events for hint in hints_of(session.org, event, channels[event["channel"]])]
            positions = {e["channel"]: p for e in events if (p := _replay_id(e)) is not None}
            for channel, position in positions.items():
                state.put(_position(channel), position)
        elif time.monotonic() - silent_since >= HEARTBEAT_SECONDS:
            yield []
        else:
            continue
        silent_since = time.monotonic()


class _Session:
    """One CometD session: its client id, its cookies (kept by the HTTP session) and its polling thread."""

    def __init__(self, org: Org, token: dict[str, Any]) -> None:
        self.org = org
        self.token = token
        self.client_id = ""
        self.connected = False  # a poll was answered
        self.answers: queue.Queue[list[dict[str, Any]] | Exception] = queue.Queue(BACKLOG)
        self.closing = threading.Event()
        self.thread: threading.Thread | None = None

    def handshake(self) -> None:
        answer = self._send(
            {
                "channel": "/meta/handshake",
                "version": "1.0",
                "minimumVersion": "1.0",
                "supportedConnectionTypes": ["long-polling"],
                "ext": {"replay": True},
            }
        )[-1]
        if not answer.get("successful"):
            raise _failure(answer)
        self.client_id = str(answer["clientId"])

    def subscribe(self, channel: str, position: int) -> str:
        """Why the channel cannot be had, or "". Raises where the session as a whole has failed."""
        answer = self._send(
            {
                "channel": "/meta/subscribe",
                "clientId": self.client_id,
                "subscription": channel,
                "ext": {"replay": {channel: position}},
            }
        )[-1]
        if answer.get("successful"):
            return ""
        error = str(answer.get("error") or "")
        if error.startswith(("400", "404")) or "does not exist" in error or "not enabled" in error:
            return error or "400"
        raise _failure(answer)

    def start(self) -> None:
        self.thread = threading.Thread(target=self._poll, name=f"{self.org.context.name} bell", daemon=True)
        self.thread.start()

    def take(self) -> list[dict[str, Any]]:
        """The next answer, or nothing after a short wait. Raises what ended the polling."""
        try:
            found = self.answers.get(timeout=TICK_SECONDS)
        except queue.Empty:
            return []
        if isinstance(found, Exception):
            raise found
        self.connected = True
        return found

    def close(self) -> None:
        self.closing.set()
        if self.client_id:
            # A courtesy that also ends the waiting poll; without it Salesforce forgets us by itself.
            with contextlib.suppress(ConnectorError):
                self._send({"channel": "/meta/disconnect", "clientId": self.client_id}, GOODBYE_SECONDS)
        if self.thread:
            self.thread.join(TICK_SECONDS)

    def _poll(self) -> None:
        connect = {"channel": "/meta/connect", "clientId": self.client_id, "connectionType": "long-polling"}
        while not self.closing.is_set():
            try:
                messages = self._send(connect, POLL_SECONDS)
                meta = next((m for m in messages if m.get("channel") == "/meta/connect"), {})
                failure = None if meta.get("successful", True) else _failure(meta)
            except ConnectorError as error:
                messages, meta, failure = [], {}, error
            except Exception as error:  # the listener must hear of it; a silent thread would look like a quiet org
                messages, meta, failure = [], {}, Retry(f"The live feed cannot be read ({type(error).__name__}).")
            if messages:
                self._put(messages)
            if failure:
                self._put(failure)
                return
            interval = float((meta.get("advice") or {}).get("interval") or 0) / 1000
            self.closing.wait(min(interval, LONGEST_INTERVAL))

    def _put(self, item: list[dict[str, Any]] | Exception) -> None:
        while not self.closing.is_set():
            try:
                self.answers.put(item, timeout=TICK_SECONDS)
                return
            except queue.Full:
                continue

    def _send(self, message: Mapping[str, Any], read_timeout: float = CALL_SECONDS) -> list[dict[str, Any]]:
        path = f"/cometd/{self.org.version}"
        answer = self.org.send(self.token, "POST", path, json=[message], kind="bell", read_timeout=read_timeout)
        if not isinstance(answer.json, list) or not answer.json:
            raise Retry("Salesforce's live feed answered with something that is no message. We connect again.")
        return answer.json


def _failure(answer: Mapping[str, Any]) -> Exception:
    """What an unsuccessful message asks us to do. The error reads like "403::Unknown client"."""
    error = str(answer.get("error") or "")
    reason = str(((answer.get("ext") or {}).get("sfdc") or {}).get("failureReason") or "")
    advice = (answer.get("advice") or {}).get("reconnect")
    said = reason or error or "no reason"
    if said.startswith("401"):
        return NeedsAuthorization(f"Salesforce's live feed refuses the sign-in: {said}. Sign in again.")
    if advice == "handshake" or "unknown client" in error.lower():
        return _Rehandshake()
    if "limit exceeded" in said.lower():
        return Retry(f"Salesforce's live feed has reached a limit: {said}. Edits are found by asking.", LIMIT_WAIT)
    return Retry(f"Salesforce's live feed failed: {said}. We connect again.")
