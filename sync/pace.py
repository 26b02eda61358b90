"""How often the lists of a side are read: a busy mapping more often, an idle one less, a side with a living bell least.

Pure: no Django, no clock. Whatever it says, no change is missed: a poll looks back from its own watermark, and the deep
look (read.since_of) is counted from the poll before, however long ago that was. Only what a system keeps of its
changes must not be outrun.
"""

from __future__ import annotations

from datetime import datetime, timedelta

# A side that has been quiet for a time is asked again after this part of it: an edit out of the blue waits no longer
# than a tenth of the silence before it, and people who work get the shortest interval.
SHARE_OF_QUIET = 0.1
# Polls between two losses of a feed: several may fail before a change is forgotten there.
POLLS_PER_RETENTION = 4
# A stream gives a sign of life every few seconds (connections/listener.py); this many without one and it is silent.
STREAM_SECONDS = 60.0
# A webhook that rang within this time is believed to ring again; without one since, activity decides.
WEBHOOK_SECONDS = 3600.0
# After a poll found an edit that a stream had not told of, the stream is not believed for this long.
DOUBT_SECONDS = 600.0
# A bell may be this late; what a poll finds before was not missed by it.
BELL_SECONDS = 15.0


def bell_state(kind: str, seen_at: datetime | None, missed_at: datetime | None, now: datetime) -> str:
    """ "alive", "silent" or "unproven". `kind`: as the connector declares it; `missed_at`: a poll last found an edit
    that the bell had not told of."""
    if kind == "none" or seen_at is None:
        return "unproven"
    if kind == "stream":
        doubted = missed_at is not None and now - missed_at < timedelta(seconds=DOUBT_SECONDS)
        return "silent" if doubted or now - seen_at > timedelta(seconds=STREAM_SECONDS) else "alive"
    if missed_at is not None and missed_at >= seen_at:
        return "silent"
    return "alive" if now - seen_at <= timedelta(seconds=WEBHOOK_SECONDS) else "unproven"


def seconds_to_next(
    quiet: float | None, shortest: float, longest: float, bell: str = "unproven", retention: float | None = None
) -> float:
    """Seconds from one poll of a side to the next.

    quiet: seconds since the mapping last saw an edit, None where it never did; shortest, longest: the admin's bounds;
    retention: seconds for which the system keeps its changes, where it forgets them.
    """
    longest = max(shortest, longest)
    if bell == "alive":
        wait = longest
    elif bell == "silent":
        wait = shortest
    else:
        wait = longest if quiet is None else min(max(quiet * SHARE_OF_QUIET, shortest), longest)
    return wait if retention is None else min(wait, retention / POLLS_PER_RETENTION)
