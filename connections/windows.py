"""Maintenance windows by the clock: when a system or a mapping stands still, and when that changes next.

Pure: the time is an input. A window is a JSON object, recurring or once:

    {"id": "a1b2c3", "days": [0, 4], "from": "22:00", "to": "02:00", "zone": "Europe/Berlin", "note": "backup there"}
    {"id": "d4e5f6", "start": "2026-12-24T08:00:00+00:00", "end": "2026-12-26T08:00:00+00:00", "note": "upgrade"}

`days`: weekdays on which it begins, 0 = Monday. One whose end is not after its beginning ends on the next day. On the
night in which clocks go back it lasts until the later of the two readings of its end. Where they skip its beginning it
begins as they jump and is at least as long as ever; an end that they skip is as much later as they jump: a window is
never shorter than somebody who reads the clock expects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Window = Mapping[str, Any]
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# Recurring windows repeat after a week: whatever opens next does so within this.
AHEAD = timedelta(days=8)
# Windows that follow one another without a gap; more of them, two months of whole days, never close.
MOST_IN_A_ROW = 60


def is_open(windows: Iterable[Window], now: datetime) -> bool:
    """Whether any of the windows is open at `now` (aware)."""
    return any(start <= now < end for window in windows for start, end in _spans(window, now, timedelta(0)))


def open_window(windows: Iterable[Window], now: datetime) -> Window | None:
    """The window that is open at `now`; of several the one that closes last."""
    found = [(end, w) for w in windows for start, end in _spans(w, now, timedelta(0)) if start <= now < end]
    return max(found, key=lambda one: one[0])[1] if found else None


def next_change(windows: Sequence[Window], now: datetime) -> datetime | None:
    """When it opens if it is closed, when it closes if it is open; None where that never comes.

    Windows that touch or overlap are one: it closes when the last of them does.
    """
    if not is_open(windows, now):
        spans = [span for window in windows for span in _spans(window, now, AHEAD)]
        return min((start for start, _ in spans if start > now), default=None)
    until = now
    for _ in range(MOST_IN_A_ROW):
        ends = [end for w in windows for start, end in _spans(w, until, timedelta(0)) if start <= until < end]
        if not ends:
            return until
        until = max(ends)
    return None


def problem(windows: Sequence[Window]) -> str:
    """Why these windows cannot be used, for people; "" if they can."""
    for window in windows:
        wrong = _problem_of(window)
        if wrong:
            return wrong
    recurring = [window for window in windows if "days" in window]
    monday = datetime(2026, 1, 5, tzinfo=UTC)  # any week will do: what recurs is the same in each
    if is_open(recurring, monday) and next_change(recurring, monday) is None:
        return "These windows leave no time in between, so nothing would ever be synced."
    return ""


def well_formed(window: Window) -> bool:
    """Whether it has all that a window needs."""
    return not _problem_of(window)


def _problem_of(window: Window) -> str:
    if not isinstance(window, Mapping):
        return "A window is an object with days, from and to, or with start and end."
    try:
        if "days" in window:
            days = window["days"]
            if not days or any(type(day) is not int or not 0 <= day <= 6 for day in days):
                return "A recurring window needs weekdays, 0 (Monday) to 6 (Sunday)."
            time.fromisoformat(window["from"])
            time.fromisoformat(window["to"])
            ZoneInfo(window["zone"])
            return ""
        start, end = _moment(window["start"]), _moment(window["end"])
    except ZoneInfoNotFoundError:
        return f"“{window.get('zone')}” is no time zone. Write it like Europe/Berlin."
    except (KeyError, TypeError, ValueError):
        return "A window needs times: from and to like 22:00 with a zone, or start and end with date, time and offset."
    return "" if end > start else "A window that ends before it begins is never open."


def is_over(window: Window, now: datetime) -> bool:
    """Whether it never opens again."""
    return "days" not in window and _moment(window["end"]) <= now


def words(window: Window) -> str:
    """The window for people: "Mon to Fri, 22:00 to 02:00 (Europe/Berlin)"."""
    if "days" in window:
        return f"{_days(sorted(set(window['days'])))}, {window['from']} to {window['to']} ({window['zone']})"
    start, end = _moment(window["start"]), _moment(window["end"])
    return f"{start:%-d %b %Y %H:%M} to {end:%-d %b %Y %H:%M} (UTC{start:%z})".replace("UTC+0000", "UTC")


def _days(days: Sequence[int]) -> str:
    if len(days) == 7:
        return "Every day"
    if len(days) > 2 and days[-1] - days[0] == len(days) - 1:
        return f"{DAYS[days[0]]} to {DAYS[days[-1]]}"
    return ", ".join(DAYS[day] for day in days)


def _spans(window: Window, now: datetime, ahead: timedelta) -> list[tuple[datetime, datetime]]:
    """(start, end) in UTC of every time the window is open from a day before `now` to `ahead` of it."""
    if "days" not in window:
        return [(_moment(window["start"]), _moment(window["end"]))]
    zone = ZoneInfo(window["zone"])
    begins, ends = time.fromisoformat(window["from"]), time.fromisoformat(window["to"])
    first = now.astimezone(zone).date() - timedelta(days=2)  # a day can be 25 hours long
    found = []
    for number in range((ahead + timedelta(days=4)).days):
        day = first + timedelta(days=number)
        if day.weekday() not in window["days"]:
            continue
        said = datetime.combine(day, begins, zone)
        start = _not_skipped(said)
        last = datetime.combine(day if ends > begins else day + timedelta(days=1), ends, zone)
        readings = (last, last.replace(fold=1), last + (start - said))
        found.append((start.astimezone(UTC), max(reading.astimezone(UTC) for reading in readings)))
    return found


def _not_skipped(moment: datetime) -> datetime:
    """The same time on the wall, or, where the clocks skip it, the one they jump to."""
    # Of a time that is not there the reading by the offset from before the jump is the later one.
    while moment.astimezone(UTC) > moment.replace(fold=1).astimezone(UTC):
        moment = moment.replace(second=0) + timedelta(minutes=1)
    return moment


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a moment without an offset")
    return moment
