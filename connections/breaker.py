"""The circuit breaker of a connection, shared by all workers: a system that does not answer is left alone and probed.

It opens after several calls in a row that the system did not answer (network, status 5xx; `ConnectorError.outage`).
From then on no run calls it; hints wait as they are, so that no record is put off or counted as failing. When the time
of the probe has come, whoever wins a conditional UPDATE tries the sign-in, one at a time. An answer of any kind closes
it. What a system refuses never counts, nor does what a vendor asks for (`retry_after`). A person may probe at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from connections import hooks
from connections.connectors.base import ConnectorError, NeedsAuthorization, RateLimited, Retry, Uncertain
from connections.models import Connection
from connections.open import test_connection
from connections.usage import uses_of

State = Connection.State

# One call without an answer is a hiccup, and a batch has several under way at once when the line breaks.
OPEN_AFTER = 5
# Seconds until the next probe, by how many failed so far: an outage is mostly short, and its end must be noticed soon,
# since unanswered writes can only be looked up then. Two sign-ins a minute are no load.
PROBE_AFTER = (5.0, 10.0, 20.0, 30.0)
# Longer than a test with all its time-outs.
CLAIM = timedelta(seconds=120)
_CLOSED = {"failures": 0, "down_since": None, "probe_at": None, "probing_until": None}


def probe_after(failures: int) -> float:
    """Seconds from the last of `failures` unanswered calls in a row until the next probe."""
    return PROBE_AFTER[min(max(failures - OPEN_AFTER, 0), len(PROBE_AFTER) - 1)]


def unanswered(connection: Connection, message: str, calls: int = 1) -> bool:
    """Note `calls` more that it did not answer; True if it is open now. `message`: of the last one, for people."""
    now = timezone.now()
    row = Connection.objects.filter(pk=connection.pk)
    with transaction.atomic():
        row.update(failures=F("failures") + calls)
        usable = (State.OK, State.UNTESTED, State.UNREACHABLE)
        opens = row.filter(failures__gte=OPEN_AFTER, down_since=None, state__in=usable)
        opened = opens.update(
            down_since=now,
            probe_at=now + timedelta(seconds=PROBE_AFTER[0]),
            probing_until=None,
            state=State.UNREACHABLE,
            state_since=now,
            state_reason=message[:1000],
        )
        if opened:
            _audit("connection_down", connection, {"message": message})
    return bool(opened) or row.filter(down_since__isnull=False).exists()


def answered(connections: Iterable[Connection]) -> None:
    """Their systems answered a run: failures are counted anew, and what was out of reach no longer is."""
    up = Connection.objects.filter(pk__in=[one.pk for one in connections], down_since=None)
    up.filter(state=State.UNREACHABLE).update(failures=0, state=State.OK, state_reason="", state_since=timezone.now())
    # A test may have set the state right, and not the number: hiccups of days would open it together.
    up.filter(failures__gt=0).update(failures=0)


def probe(connection: Connection, by_person: bool = False) -> bool | None:
    """Try an open connection if it is time, or a person asks: True if it answered, False if not, None if it was not
    ours to try. `connection` is as stored afterwards."""
    if not _claim(connection, by_person):
        return None
    connection.refresh_from_db()
    try:
        test_connection(connection)
        error: ConnectorError | None = None
    except ConnectorError as problem:
        error = problem
    silent = isinstance(error, Retry | Uncertain)
    now = timezone.now()
    row = Connection.objects.filter(pk=connection.pk)
    with transaction.atomic():
        if isinstance(error, RateLimited):  # nothing was learned; the wait it asks for comes first
            row.update(probe_at=now + timedelta(seconds=error.after), probing_until=None)
        elif silent:
            after = timedelta(seconds=probe_after(connection.failures + 1))
            row.update(failures=F("failures") + 1, probe_at=now + after, probing_until=None)
        else:
            row.update(**_CLOSED)
            if error is not None and not isinstance(error, NeedsAuthorization):
                row.filter(state=State.UNREACHABLE).update(state=State.OK, state_reason="", state_since=now)
            _audit("connection_back", connection, {"seconds": _seconds(connection, now)})
            for use in uses_of(connection):
                hooks.wake(use.mapping.pk)
    connection.refresh_from_db()
    return not silent


def close(connection: Connection) -> None:
    """A person's test was answered."""
    if connection.down_since is not None:
        Connection.objects.filter(pk=connection.pk).update(**_CLOSED)
        _audit("connection_back", connection, {"seconds": _seconds(connection, timezone.now())})


def _claim(connection: Connection, by_person: bool) -> bool:
    """Whether the probe is ours. A person need not wait for its time, but for whoever probes just now."""
    now = timezone.now()
    free = Connection.objects.filter(pk=connection.pk, down_since__isnull=False).exclude(state=State.PAUSED)
    free = free.filter(Q(probing_until=None) | Q(probing_until__lt=now))
    if not by_person:
        free = free.filter(Q(probe_at=None) | Q(probe_at__lte=now), Q(retry_after=None) | Q(retry_after__lte=now))
    return bool(free.update(probing_until=now + CLAIM))


def _seconds(connection: Connection, now: datetime) -> int:
    return int((now - connection.down_since).total_seconds()) if connection.down_since is not None else 0


def _audit(code: str, connection: Connection, params: dict[str, object]) -> None:
    hooks.audit("config", code, connection_id=connection.pk, object_label=connection.name, params=params)
