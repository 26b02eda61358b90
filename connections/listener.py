"""Listens to the live feeds of connections whose connector has a change stream.

One thread a connection. A lease in Connection.facts lets one process at a time listen to it: taken, renewed and
checked under the row's lock, so that it works the same on SQLite and PostgreSQL. Hints are rung in the transaction
that finds the lease still ours, and only then does the connector store its position: a crash repeats hints and never
skips them.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, close_old_connections, transaction
from django.db import connections as databases
from django.utils import timezone

from connections import hooks
from connections.connectors import connector_class
from connections.connectors.base import (
    ConnectorError,
    Hint,
    NeedsAuthorization,
    NotAllowed,
    RateLimited,
    Refused,
    Retry,
)
from connections.models import Connection
from connections.open import open_connector
from connections.pauses import in_window

log = logging.getLogger("connections.listener")

LEASE = "listener"  # key of Connection.facts: {"holder", "until"}
# Four times the heartbeat of a stream: a slow network does not cost the lease, a killed process frees it in a minute.
LEASE_SECONDS = 60.0
RENEW_SECONDS = 10.0  # also how often bell_seen_at is written
LOOK_SECONDS = 10.0  # how often the list of connections is read
TICK_SECONDS = 0.5
HELD_SECONDS = 5.0  # how often a lease held elsewhere is asked for
PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # after failures in a row
JITTER = 0.3  # many listeners must not come back in one instant
# Only a person can end these; a try now and then notices that somebody did.
PERSON_SECONDS = 60.0
JOIN_SECONDS = 5.0

Stop = Callable[[], bool]


class LeaseLost(Exception):
    """Another process listens now: ring nothing, store nothing."""


@dataclass(eq=False)
class Ear:
    """One connection being listened to. `looks`: what it was started for; anything else needs another ear."""

    connection_id: int
    object_types: tuple[str, ...]
    looks: tuple[Any, ...]
    holder: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}")
    stopping: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def start(self) -> None:
        self.thread = threading.Thread(target=hear, args=(self,), name=f"ear {self.connection_id}", daemon=True)
        self.thread.start()

    @property
    def alive(self) -> bool:
        return self.thread is not None and self.thread.is_alive()


def run_listener(stop: Stop) -> None:
    """Listen until `stop()`. Several processes may run this: each connection is listened to by one of them."""
    ears: dict[int, Ear] = {}
    looked = float("-inf")
    try:
        while not stop():
            if time.monotonic() - looked >= LOOK_SECONDS:
                looked = time.monotonic()
                try:
                    close_old_connections()
                    keep_listening(ears)
                except DatabaseError as error:
                    log.warning("The connections cannot be read: %s. The ears there are go on listening.", error)
            time.sleep(TICK_SECONDS)
    finally:
        for ear in ears.values():
            ear.stopping.set()
        for ear in ears.values():
            if ear.thread:
                ear.thread.join(JOIN_SECONDS)


def keep_listening(ears: dict[int, Ear]) -> None:
    """Start an ear for every connection that needs one, end those that nobody needs."""
    wanted = {ear.connection_id: ear for ear in wanted_ears()}
    for connection_id, ear in list(ears.items()):
        known = wanted.get(connection_id)
        if known is None or known.looks != ear.looks:
            ear.stopping.set()
        # A changed connection gets its new ear at a later look, when the old one has let go of the lease.
        if not ear.alive:
            del ears[connection_id]
    for connection_id, ear in wanted.items():
        if connection_id not in ears:
            ears[connection_id] = ear
            ear.start()


def wanted_ears() -> list[Ear]:
    """Ears, not started, for all usable connections with a change stream that a published mapping needs.

    None during a maintenance window: afterwards the stream is replayed from where we stopped.
    """
    ears = []
    now = timezone.now()
    for connection in Connection.objects.all():
        on = connection.usable and not in_window(connection, now) and _streams(connection)
        object_types = tuple(hooks.object_types(connection.pk)) if on else ()
        if object_types:
            looks = (object_types, connection.kind, connection.address, connection.updated_at)
            ears.append(Ear(connection.pk, object_types, looks))
    return ears


def _streams(connection: Connection) -> bool:
    """Whether the connection as it is set up has a stream: not every account of a system with one need have it."""
    try:
        kind = connector_class(connection.kind)
    except KeyError:
        return False
    return kind.capabilities_for(connection.settings).bell == "stream"


def hear(ear: Ear) -> None:
    """Listen to one connection until told to stop, through all troubles. The body of a thread."""
    failures = 0
    while not ear.stopping.is_set():
        started = time.monotonic()
        try:
            close_old_connections()
            pause = 0.0 if hear_once(ear) else HELD_SECONDS
        except LeaseLost:
            pause = HELD_SECONDS
        except (ConnectorError, DatabaseError, OSError) as error:
            if time.monotonic() - started > PAUSES[-1]:
                failures = 0  # it worked for a while: this is a first failure again
            pause = pause_after(error, failures)
            failures += 1
            log.warning("Connection %s: %s We listen again in %.0f s.", ear.connection_id, error, pause)
        except Exception:
            pause = PERSON_SECONDS
            log.exception("Connection %s: the listener failed. Edits are found by asking.", ear.connection_id)
        finally:
            databases.close_all()
        ear.stopping.wait(pause)


def hear_once(ear: Ear) -> bool:
    """Listen until told to stop or the stream ends; False if another process listens to the connection."""
    connection = Connection.objects.filter(pk=ear.connection_id).first()
    if connection is None or not take_lease(ear):
        return False
    stream = open_connector(connection).listen(list(ear.object_types), ear.stopping.is_set)
    renewed = time.monotonic()
    try:
        for hints in stream:
            if hints or time.monotonic() - renewed >= RENEW_SECONDS:
                close_old_connections()
                take(ear, hints)
                renewed = time.monotonic()
    finally:
        # Closing the generator first: it must not store a position after the lease has gone.
        close = getattr(stream, "close", None)
        if close:
            close()
        release_lease(ear)
    return True


def take(ear: Ear, hints: Sequence[Hint]) -> None:
    """Ring for `hints`, under a lease that is still ours. Raises LeaseLost."""
    with transaction.atomic():
        row = _locked(ear.connection_id)
        if not row or (row.facts.get(LEASE) or {}).get("holder") != ear.holder:
            raise LeaseLost(f"Another process listens to connection {ear.connection_id}.")
        _write_lease(row, ear.holder)
        _seen(ear.connection_id)
        if hints:
            hooks.ring(ear.connection_id, hints)


def take_lease(ear: Ear) -> bool:
    with transaction.atomic():
        row = _locked(ear.connection_id)
        held = (row.facts.get(LEASE) or {}) if row else {}
        if row is None or (held.get("holder") != ear.holder and held.get("until", 0) > time.time()):
            return False
        _write_lease(row, ear.holder)
        return True


def release_lease(ear: Ear) -> None:
    with transaction.atomic():
        row = _locked(ear.connection_id)
        if row and (row.facts.get(LEASE) or {}).get("holder") == ear.holder:
            row.facts = {key: value for key, value in row.facts.items() if key != LEASE}
            row.save(update_fields=["facts"])


def pause_after(error: Exception, failures: int) -> float:
    """Seconds until the next try after `failures` failures in a row."""
    if isinstance(error, NeedsAuthorization | NotAllowed | Refused):
        return PERSON_SECONDS
    pause = PAUSES[min(failures, len(PAUSES) - 1)]
    pause *= 1 + random.uniform(-JITTER, JITTER)  # noqa: S311  spreading, not a secret
    # A plain Retry names the pause of a single call; a longer one, or a limit, is meant for us.
    if isinstance(error, RateLimited) or (isinstance(error, Retry) and error.after > Retry().after):
        pause = max(pause, error.after)
    return pause


def _locked(connection_id: int) -> Connection | None:
    """The row under lock: FOR NO KEY UPDATE on PostgreSQL, the IMMEDIATE transaction itself on SQLite.

    A full FOR UPDATE would hold up every commit that refers to the connection, and deadlock with a run's.
    """
    return Connection.objects.select_for_update(no_key=True).only("pk", "facts").filter(pk=connection_id).first()


def _write_lease(row: Connection, holder: str) -> None:
    row.facts = {**row.facts, LEASE: {"holder": holder, "until": time.time() + LEASE_SECONDS}}
    row.save(update_fields=["facts"])


def _seen(connection_id: int) -> None:
    """Say that the feed is alive; hints may come far faster than anybody looks."""
    now = timezone.now()
    stale = now - timedelta(seconds=RENEW_SECONDS)
    Connection.objects.filter(pk=connection_id).exclude(bell_seen_at__gt=stale).update(bell_seen_at=now)
