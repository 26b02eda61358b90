"""Builds a connector from a Connection row, with everything it may use of the world outside.

What connectors keep from call to call is in kept.py.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

from connections import calls
from connections.budget import Budget
from connections.call_gate import GuardedCalls
from connections.connectors import connector_class
from connections.connectors.base import (
    CheckResult,
    Connector,
    ConnectorError,
    Context,
    Field,
    NeedsAuthorization,
    NotAllowed,
    RateLimited,
    Retry,
)
from connections.connectors.http import Session
from connections.credentials import Secrets
from connections.kept import STATE, Passing, State, Tokens, database_work, secret_texts, stored_tokens
from connections.models import Connection
from connections.pauses import note_state

BUDGETED = ("read", "write")  # signing in and long polls are rare, and must not wait behind a backfill
FIELDS_SECONDS = 600.0  # how long field metadata is believed; "refresh" in the UI asks anew

CallHook = Callable[[str, int, float], None]

_paused: dict[int, float] = {}  # connection id → time.time() before which this process makes no call
_fields: dict[tuple[int, str, str], tuple[float, Sequence[Field]]] = {}


def open_connector(
    connection: Connection,
    *,
    lane: str = "live",
    on_call: CallHook | None = None,
    may_write: Callable[[], bool] = lambda: True,
    session: type[Session] = Session,
    keeps: bool = True,
) -> Connector:
    """A connector ready to be called.

    lane: "live", "retry", "backfill" or "verify", see budget.py. on_call: (kind, status, seconds) after each remote
    call, possibly from a thread. may_write: asked right before each writing call leaves. session: the class of its HTTP
    client. keeps: False where it tries what is not saved yet, so that it neither uses nor leaves tokens and facts.
    Raises NotAllowed where the connector's file is gone.
    """
    kind = _kind_of(connection)
    owner = threading.get_ident()
    able = kind.capabilities_for(connection.settings or {})
    budget = Budget(str(connection.pk), able.rate_per_second, lane)
    # Writes that the system wants apart go one by one: a burst is what it asks us not to do.
    paced = Budget(f"{connection.pk}:write", able.writes_per_second, lane, burst=1) if able.writes_per_second else None
    connection_id = connection.pk
    if connection.retry_after:
        _pause(connection_id, connection.retry_after.timestamp())

    def before_call(call_kind: str) -> None:
        wait = _paused.get(connection_id, 0.0) - time.time()
        if wait > 0:
            raise RateLimited(
                f"{connection.name} asked us to wait; {wait:.0f} s are left. Nothing is lost. We go on by ourselves.",
                after=wait,
            )
        if call_kind in BUDGETED:
            budget.spend()
        if paced and call_kind == "write":
            try:
                paced.spend()
            except RateLimited:
                budget.answered(0)  # it does not go, so it must not hold up others
                raise
        if (paced or call_kind not in BUDGETED) and (wait := budget.asked_to_wait()) > 0:
            raise RateLimited(
                f"{connection.name} asked us to wait; {wait:.0f} s are left. Nothing is lost.", after=wait
            )
        # ⚑ Last of all: whoever waited for a token, or stood still, may have been replaced meanwhile.
        if call_kind == "write" and not may_write():
            budget.answered(0)
            raise Retry("This worker stood still for a while. Nothing was sent; we try again.", after=0)

    def note(call_kind: str, status: int, headers: Mapping[str, str]) -> None:
        if call_kind in BUDGETED:
            budget.answered(status)
        if call_kind != "bell":  # a long poll that waits for changes is none of the calls that are budgeted
            calls.count(connection_id, lane, kind.quota(headers))

    def asked_to_wait(after: float) -> None:
        budget.wait(after)  # first of all: other workers are calling
        store_retry_after(connection_id, after, owner)

    held: dict[str, Any] = connection.secrets or {}  # type: ignore[assignment]  # decrypted JSON, not the column's text
    secrets = Secrets({name: value for name, value in held.items() if isinstance(value, str)})
    tokens = Tokens(connection, owner) if keeps else Passing()
    context = Context(
        name=connection.name,
        address=connection.address.rstrip("/"),
        settings=dict(connection.settings or {}),
        secrets=secrets,
        http=session(
            connection.address,
            name=connection.name,
            read_timeout=settings.REMOTE_TIMEOUT_SECONDS,
            secrets=[*secrets.values(), *secret_texts(tokens.current())],
            before_call=before_call,
            on_call=on_call,
            on_limit=asked_to_wait,
            on_headers=note,
        ),
        tokens=tokens,
        state=State(connection_id, owner) if keeps else Passing(),
        calls=GuardedCalls(before_call, on_call, asked_to_wait, note),
    )
    tokens.on_new = context.http.hide
    return kind(context)


def _kind_of(connection: Connection) -> type[Connector]:
    try:
        return connector_class(connection.kind)
    except KeyError:
        raise NotAllowed(
            f"There is no connector “{connection.kind}” in this installation. Nothing was read or written. "
            "Install the version that has it."
        ) from None


class _Nothing:
    """In place of what reading a webhook must not use: a call would hold up the answer."""

    def __getattr__(self, name: str) -> Any:
        raise NotAllowed("Reading a webhook makes no call and keeps nothing.")


class _Known(_Nothing):
    """The facts a connector kept, as they were when the connection was read."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self._facts = facts

    def get(self, key: str, default: Any = None) -> Any:
        return self._facts.get(key, default)


class _KnownTokens(_Nothing):
    """What a system gave us, a signing secret among it."""

    def __init__(self, stored: dict[str, Any] | None) -> None:
        self._stored = stored

    def current(self) -> dict[str, Any] | None:
        return self._stored


def delivery_reader(connection: Connection) -> Connector:
    """A connector that reads webhook requests and can do nothing else: made without a query, a call or a session.

    Raises NotAllowed where the connector's file is gone.
    """
    kind = _kind_of(connection)
    held: dict[str, Any] = connection.secrets or {}  # type: ignore[assignment]  # decrypted JSON, not the column's text
    nothing: Any = _Nothing()
    tokens: Any = _KnownTokens(stored_tokens(connection))
    return kind(
        Context(
            name=connection.name,
            address=connection.address.rstrip("/"),
            settings=dict(connection.settings or {}),
            secrets=Secrets({name: value for name, value in held.items() if isinstance(value, str)}),
            http=nothing,
            tokens=tokens,
            state=_Known((connection.facts or {}).get(STATE, {})),
        )
    )


def _pause(connection_id: int, until: float) -> None:
    _paused[connection_id] = max(until, _paused.get(connection_id, 0.0))


def store_retry_after(connection_id: int, after: float, owner: int | None = None) -> None:
    """Let no worker call this connection for `after` seconds. A wait is never shortened."""
    _pause(connection_id, time.time() + after)
    until = timezone.now() + timedelta(seconds=after)
    with database_work(owner or threading.get_ident()):
        Connection.objects.filter(pk=connection_id).filter(
            models.Q(retry_after__isnull=True) | models.Q(retry_after__lt=until)
        ).update(retry_after=until)


# Test connection, fields -------------------------------------------------------------------------------------


def test_connection(connection: Connection) -> CheckResult:
    """Run the connector's check and keep what it found: account, site, clock, state.

    A failed check sets the state too and raises the connector's error. Another account or site than last time halts
    the connection until `accept_account`: the same ids may mean other records there.
    """
    State_ = Connection.State
    try:
        result = open_connector(connection).check()
    except ConnectorError as error:
        state = State_.SIGN_IN if isinstance(error, NeedsAuthorization) else State_.UNREACHABLE
        with transaction.atomic():
            if _as_tested(connection):
                # Whose account it is was not learned: another one that was found before still halts.
                note_state(connection, state, error.message, but_for=[State_.ACCOUNT_CHANGED])
                connection.refresh_from_db()
        raise
    notes = [*result.notes, *_shared_account(connection, result)]
    account = {"account_id": result.account_id, "account_name": result.account_name, "tenant": result.tenant}
    with transaction.atomic():
        row = _as_tested(connection)
        if row is None:
            raise Retry(
                f"The settings of {connection.name} were changed while it was tested. What the test found is true of "
                "the former ones, so it is not kept. Test it again."
            )
        reason = _changed(row, result)
        Connection.objects.filter(pk=row.pk).update(
            check_result={**asdict(result), "notes": notes},
            clock_offset=result.clock_offset,
            checked_at=timezone.now(),
            test_due=False,
            updated_at=timezone.now(),
            **({} if reason else account),
        )
        note_state(row, State_.ACCOUNT_CHANGED if reason else State_.OK, reason)
        connection.refresh_from_db()
    return CheckResult(**{**asdict(result), "notes": notes})


test_connection.__test__ = False  # type: ignore[attr-defined]  # the name is not that of a pytest test


class FoundAnother(Exception):
    """By now a test found somebody else than the person saw; nothing was accepted."""


def accept_account(connection: Connection, seen: Mapping[str, Any]) -> None:
    """A person says that the account or site in `seen`, found by the last test, is meant. Raises FoundAnother.

    seen: {"account_id", "tenant"} as the page showed them.
    """
    with transaction.atomic():
        row = Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
        found = row.check_result or {}
        if any(found.get(name, "") != seen.get(name, "") for name in ("account_id", "tenant")):
            raise FoundAnother
        account = {name: found.get(name, "") for name in ("account_id", "account_name", "tenant")}
        Connection.objects.filter(pk=row.pk).update(updated_at=timezone.now(), **account)
        if row.state == Connection.State.ACCOUNT_CHANGED:  # what else it is meanwhile, it stays
            note_state(row, Connection.State.OK)
        connection.refresh_from_db()


def _as_tested(connection: Connection) -> Connection | None:
    """The row, locked; None where it is gone, or what was called and signed in with is not what is stored now."""
    row = Connection.objects.select_for_update(no_key=True).filter(pk=connection.pk).first()
    return row if row is not None and row.signs_in_with == connection.signs_in_with else None


def _changed(connection: Connection, result: CheckResult) -> str:
    """Why the result is not of the account and site we knew; "" if it is."""
    if connection.tenant and result.tenant != connection.tenant:
        return (
            f"Behind the address is another site now ({result.tenant}, it was {connection.tenant}). Syncing is halted, "
            "because record ids may mean other records there. Correct the address, or accept the new site."
        )
    if connection.account_id and result.account_id != connection.account_id:
        return (
            f"The sign-in belongs to another account now ({result.account_name}, it was {connection.account_name}). "
            "Syncing is halted, because our earlier writes would look like somebody else's. Correct the credentials, "
            "or accept the new account."
        )
    return ""


def _shared_account(connection: Connection, result: CheckResult) -> list[str]:
    others = Connection.objects.filter(kind=connection.kind, account_id=result.account_id, tenant=result.tenant)
    names = list(others.exclude(pk=connection.pk).values_list("name", flat=True)) if result.account_id else []
    if not names:
        return []
    return [
        f"The connection {', '.join(names)} uses the same account. Both share its rate limit, and the history at the "
        "system cannot tell them apart. Better give each connection an account of its own."
    ]


def cached_fields(
    connection: Connection, object_type: str, scope: dict[str, Any], fresh: bool = False
) -> Sequence[Field]:
    """The fields of an object type, asked for at most every ten minutes per process; `fresh` asks now."""
    key = (connection.pk, object_type, json.dumps([connection.address, scope], sort_keys=True))
    kept = _fields.get(key)
    if kept and not fresh and time.monotonic() - kept[0] < FIELDS_SECONDS:
        return kept[1]
    found = tuple(open_connector(connection).fields(object_type, scope))
    _fields[key] = (time.monotonic(), found)
    return found
