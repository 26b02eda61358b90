"""A connection that was set up anew is tested before a run calls it: another site or account may answer now.

The same record ids mean other records there, so whoever runs first would write strangers' values over people's.
"""

from __future__ import annotations

import logging

from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone

from connections import breaker
from connections.connectors.base import ConnectorError, NeedsAuthorization, Retry
from connections.models import Connection
from connections.open import store_retry_after, test_connection
from connections.pauses import note_state

# A test that failed otherwise than by silence fails again most likely: a person has to look.
AGAIN_SECONDS = 60.0

log = logging.getLogger("connections.retest")


def before_run(connection: Connection) -> None:
    """Test it where that is due and may be done now; it is as stored afterwards, `to_be_tested` where it still is.

    Once per change, by one worker at a time. What a failed test means stands in its row: another account, sign in
    again, or no answer, and then the moment from which on it is tried again.
    """
    if not connection.to_be_tested or connection.down_since is not None or connection.waits_until(timezone.now()):
        return
    if _claim(connection):
        # ⚑ What breaks off here leaves the claim until its time is over: no run tries it every second.
        _test(connection)
        Connection.objects.filter(pk=connection.pk).update(probing_until=None)
    connection.refresh_from_db()


def _claim(connection: Connection) -> bool:
    now = timezone.now()
    free = Connection.objects.filter(Q(probing_until=None) | Q(probing_until__lt=now), pk=connection.pk)
    due = free.filter(Q(test_due=True) | Q(state=Connection.State.UNTESTED), down_since=None)
    return bool(due.exclude(state=Connection.State.PAUSED).update(probing_until=now + breaker.CLAIM))


def _test(connection: Connection) -> None:
    connection.refresh_from_db()
    try:
        test_connection(connection)
    except NeedsAuthorization:
        return  # its state keeps runs away
    except ConnectorError as error:
        if not (error.outage and breaker.unanswered(connection, error.message)):
            store_retry_after(connection.pk, error.after if isinstance(error, Retry) else AGAIN_SECONDS)
    except DatabaseError:
        raise
    except Exception as problem:
        log.exception("the test of connection %s broke off", connection.pk)
        note_state(connection, Connection.State.UNREACHABLE, _broken_off(problem), [Connection.State.ACCOUNT_CHANGED])
        store_retry_after(connection.pk, AGAIN_SECONDS)


def _broken_off(problem: Exception) -> str:
    return (
        f"Its test broke off with an error of ours ({problem.__class__.__name__}). Nothing is synced until it is "
        "tested, and nothing is lost. It is tried again every minute; the log of the worker says more."
    )
