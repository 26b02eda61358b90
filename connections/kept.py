"""What a connector keeps from call to call, in the row of its connection: tokens, and what it learned.

Connectors may be called from threads. Everything goes to the database in short transactions, never while a remote call
is open.
"""

from __future__ import annotations

import contextlib
import secrets as random_secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.db import connections as databases
from django.db import transaction

from connections.connectors.base import Retry
from connections.models import Connection

LEASE_SECONDS = 30.0  # longer than a sign-in with its time-outs; a worker that died holds it no longer
WAIT_FOR_TOKEN = 15.0  # how long others wait for the one that signs in
POLL_SECONDS = 0.2
STATE, LEASE = "state", "renewing"  # keys of Connection.facts
TOKEN_COLUMNS = ("kind", "address", "settings", "secrets", "tokens", "facts")


@contextlib.contextmanager
def database_work(owner: int) -> Iterator[None]:
    """Database work for a connector, which may run in a thread that nobody closes connections for."""
    try:
        yield
    finally:
        if threading.get_ident() != owner:
            databases.close_all()


class State:
    """What the connector keeps, in Connection.facts. Each `put` or `change` is of one key, under the row's lock."""

    def __init__(self, connection_id: int, owner: int) -> None:
        self._id = connection_id
        self._owner = owner

    def get(self, key: str, default: Any = None) -> Any:
        with database_work(self._owner):
            facts = Connection.objects.values_list("facts", flat=True).get(pk=self._id)
        return (facts or {}).get(STATE, {}).get(key, default)

    def put(self, key: str, value: Any) -> None:
        self.change(key, lambda former: value)

    def change(self, key: str, act: Callable[[Any], Any]) -> None:
        with database_work(self._owner), _locked(self._id, "facts") as row:
            state = row.facts.get(STATE, {})
            row.facts = {**row.facts, STATE: {**state, key: act(state.get(key))}}
            row.save(update_fields=["facts"])


class Tokens:
    """Access tokens in Connection.tokens. One worker at a time signs in; the others wait and take what it got.

    No transaction may be open during the remote call, so the turn is a marker with an expiry in Connection.facts,
    set and cleared in transactions of their own.

    ⚑ A worker that still has the former settings neither leaves its token nor takes one: the test of the new settings
    would meet the former account and let runs go on, as another one once that token ends.
    """

    def __init__(self, connection: Connection, owner: int) -> None:
        self._id = connection.pk
        self._name = connection.name
        self._owner = owner
        self._tokens = stored_tokens(connection)
        self._signs_in_with = connection.signs_in_with
        self.on_new: Callable[[str], None] = lambda secret: None

    def current(self) -> dict[str, Any] | None:
        return self._tokens

    def renew(self, stale: dict[str, Any] | None, fetch: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Tokens other than `stale`: those another worker just stored, or what `fetch` brings.

        Raises its errors, and Retry where the connection was set up anew meanwhile.
        """
        end = time.monotonic() + WAIT_FOR_TOKEN
        mark = random_secrets.token_hex(8)
        while True:
            with database_work(self._owner):
                fresh, mine = self._claim(stale, mark)
            if fresh:
                return self._take_over(fresh)
            if mine:
                break
            if time.monotonic() > end:
                raise Retry(f"Another worker has been signing in to {self._name}. Nothing was sent. We try again.")
            time.sleep(POLL_SECONDS)
        tokens = None
        try:
            tokens = fetch()
        finally:
            with database_work(self._owner), _locked(self._id, *TOKEN_COLUMNS) as row:
                self._release(row, mark, tokens)
        return self._take_over(tokens)

    def _claim(self, stale: dict[str, Any] | None, mark: str) -> tuple[dict[str, Any] | None, bool]:
        """(tokens somebody else stored meanwhile or None, whether it is our turn to sign in)."""
        with _locked(self._id, *TOKEN_COLUMNS) as row:
            if row.signs_in_with != self._signs_in_with:
                raise Retry(f"{self._name} was set up anew meanwhile. Nothing was sent. We go on as it is set up now.")
            stored = stored_tokens(row)
            if stored and stored != stale:
                return stored, False
            lease = row.facts.get(LEASE) or {}
            if lease.get("until", 0) > time.time():
                return None, False
            row.facts = {**row.facts, LEASE: {"mark": mark, "until": time.time() + LEASE_SECONDS}}
            row.save(update_fields=["facts"])
            return None, True

    def _release(self, row: Connection, mark: str, tokens: dict[str, Any] | None) -> None:
        changed = []
        if (row.facts.get(LEASE) or {}).get("mark") == mark:
            row.facts = {key: value for key, value in row.facts.items() if key != LEASE}
            changed.append("facts")
        if tokens is not None and row.signs_in_with == self._signs_in_with:
            # Kept even if our turn expired: a rotated refresh token that is thrown away locks us out.
            row.tokens = tokens  # type: ignore[assignment]
            changed.append("tokens")
        if changed:
            row.save(update_fields=changed)

    def _take_over(self, tokens: dict[str, Any]) -> dict[str, Any]:
        self._tokens = dict(tokens)
        for secret in secret_texts(tokens):
            self.on_new(secret)
        return self._tokens


class Passing:
    """Tokens and state of a connector that keeps nothing."""

    def __init__(self) -> None:
        self._tokens: dict[str, Any] | None = None
        self._facts: dict[str, Any] = {}
        self.on_new: Callable[[str], None] = lambda secret: None

    def current(self) -> dict[str, Any] | None:
        return self._tokens

    def renew(self, stale: dict[str, Any] | None, fetch: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        self._tokens = fetch()
        for secret in secret_texts(self._tokens):
            self.on_new(secret)
        return self._tokens

    def get(self, key: str, default: Any = None) -> Any:
        return self._facts.get(key, default)

    def put(self, key: str, value: Any) -> None:
        self._facts[key] = value

    def change(self, key: str, act: Callable[[Any], Any]) -> None:
        self._facts[key] = act(self._facts.get(key))


@contextlib.contextmanager
def _locked(connection_id: int, *columns: str) -> Iterator[Connection]:
    """These columns of the row under lock: FOR NO KEY UPDATE on PostgreSQL, on SQLite the IMMEDIATE transaction itself.

    A full FOR UPDATE would hold up every commit that refers to the connection, and deadlock with a run's.
    """
    with transaction.atomic():
        yield Connection.objects.select_for_update(no_key=True).only("pk", *columns).get(pk=connection_id)


def stored_tokens(connection: Connection) -> dict[str, Any] | None:
    tokens: dict[str, Any] = connection.tokens  # type: ignore[assignment]  # decrypted JSON, not the column's text
    return dict(tokens) if tokens else None


def secret_texts(tokens: dict[str, Any] | None) -> list[str]:
    """The texts in a token answer that are secret: which ones is for the vendor to say, so all but plain words."""
    return [v for v in (tokens or {}).values() if isinstance(v, str) and len(v) >= 16 and not v.startswith("http")]
