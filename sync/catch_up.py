"""After a pause or outage that was longer than a system keeps its changes: both are compared completely.

A feed that can be replayed for three days tells nothing of what happened four days ago, deletions least of all. So
after a longer silence the linked records are looked for in a complete listing, and until that is done on both sides
nothing is believed deleted. The poll itself goes on from the last watermark, or from the beginning where the system
says that it knows that position no more: no change is missed either way.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.utils import timezone

from connections.connectors.base import Connector
from sync import audit
from sync.models import Cursor, MappingState
from sync.rows import fetch
from sync.session import SIDES, Session


def silence(cursor: Cursor, connector: Connector, last_poll: datetime | None, now: datetime) -> timedelta | None:
    """How long a side was not read, if that is longer than its system keeps changes; else None."""
    kept, read_at = connector.capabilities.feed_retention, cursor.read_at or last_poll
    if kept is None or read_at is None or not cursor.watermark:
        return None
    return now - read_at if now - read_at > timedelta(seconds=kept) else None


def look_for_silence(session: Session, state: MappingState) -> None:
    """Note the sides that are behind, in `session.behind` and in their cursors, before anything is read."""
    now = timezone.now()
    for cursor in fetch(Cursor, "mapping_id = %s", session.mapping.pk):
        if cursor.behind_since is not None:
            session.behind.add(cursor.side)
            continue
        connector = session.connectors[cursor.side]
        long = silence(cursor, connector, state.last_poll_at, now)
        if long is not None:
            hours = {"hours": _hours(long.total_seconds()), "kept": _hours(connector.capabilities.feed_retention or 0)}
            fall_behind(session, cursor.side, "feed_not_read", hours, cursor.read_at)


def fall_behind(
    session: Session, side: str, code: str, params: Mapping[str, str], since: datetime | None = None
) -> None:
    """From here on nothing on `side` is believed deleted until `caught_up`; the run and the audit log tell why."""
    session.behind.add(side)
    Cursor.objects.filter(mapping=session.mapping, side=side).update(behind_since=since or timezone.now())
    told = {"system": session.system(side), **params}
    run = session.ensure_run()
    session.progress(notice={"code": code, "params": told})
    audit.write("catch_up", code, mapping=session.mapping, run_id=run.pk, side=side, params=told)


def expired(session: Session, side: str) -> None:
    """The system no longer knows our position: the next poll lists everything."""
    Cursor.objects.filter(mapping=session.mapping, side=side).update(watermark=None)
    fall_behind(session, side, "position_expired", {})


def caught_up(session: Session) -> None:
    """Both sides were listed completely: deletions are believed again."""
    if session.behind:
        session.lease.renew()
        Cursor.objects.filter(mapping=session.mapping, side__in=SIDES).update(behind_since=None)
        session.behind.clear()


def _hours(seconds: float) -> str:
    """Hours for people: "80 h", "1.5 h"."""
    return f"{seconds / 3600:.1f}".removesuffix(".0") + " h"
