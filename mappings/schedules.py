"""When a mapping runs: live, every n minutes, by a cron expression, live within hours, or only by hand.

Pure: no Django, the time and its zone are inputs. A schedule is a JSON object, kept in the draft and its versions:

    {}                                                              live: as soon as something changes
    {"kind": "every", "minutes": 30}
    {"kind": "cron", "expression": "0 6 * * 1-5"}
    {"kind": "hours", "days": [0, 4], "from": "22:00", "to": "06:00"}   live within these
    {"kind": "manual"}

Days are those on which the hours begin, 0 = Monday. Cron and hours mean the server's time zone. Whatever the
schedule, bells go on marking hints, in their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter

from connections import windows

Schedule = Mapping[str, Any]
KINDS: Mapping[str, str] = {
    "live": "Live",
    "every": "Every so many minutes",
    "cron": "By a cron expression",
    "hours": "Live within certain hours",
    "manual": "Only by hand",
}
# Kinds whose runs are turns with a beginning and an end; the others go on as long as something changes.
TURNS = frozenset({"every", "cron", "manual"})
MOST_MINUTES = 7 * 24 * 60  # more rarely than once a week is a cron expression, or by hand
CRON_FIELDS = 5  # minute, hour, day, month, weekday: seconds would be the live path
DRAWN = frozenset("hHrR")  # parts that would be drawn by lot, anew by every process
# Times looked at for the longest gap between two: more than a year of days, or an hour of minutes.
LOOKED_AT = 400
CHANGES_LOOKED_AT = 2 * 15  # hours that begin every day, for two weeks
# Gaps are measured from here, so that the same expression always has the same one.
REFERENCE = datetime(2026, 1, 1, tzinfo=UTC)


def kind_of(schedule: Schedule) -> str:
    return str(schedule.get("kind") or "live")


def takes_turns(schedule: Schedule) -> bool:
    """Whether it runs at certain times only, and not as soon as something changes."""
    return kind_of(schedule) in TURNS


def problem(schedule: Any) -> str:
    """Why this schedule cannot be used, for people; "" if it can."""
    if not isinstance(schedule, Mapping):
        return "must be a mapping, like {kind: every, minutes: 30}"
    kind = kind_of(schedule)
    keys: dict[str, set[str]] = {"every": {"minutes"}, "cron": {"expression"}, "hours": {"days", "from", "to"}}
    if kind not in KINDS:
        return f"knows no {kind}: it is one of {', '.join(KINDS)}"
    unknown = sorted(set(schedule) - {"kind"} - keys.get(kind, set()))
    if unknown:
        return f"does not take {', '.join(unknown)} with the kind {kind}"
    if kind == "every":
        minutes = schedule.get("minutes")
        if type(minutes) is not int or not 1 <= minutes <= MOST_MINUTES:
            return f"needs a whole number of minutes from 1 to {MOST_MINUTES:,}"
    if kind == "cron":
        return _cron_problem(schedule.get("expression"))
    if kind == "hours":
        return _hours_problem(schedule)
    return ""


def _cron_problem(expression: Any) -> str:
    parts = expression.split() if isinstance(expression, str) else []
    if len(parts) != CRON_FIELDS or any(part[0] in DRAWN for part in parts):
        return "needs a cron expression of five parts: minute, hour, day, month, weekday, like “0 6 * * 1-5”"
    try:
        croniter(expression, REFERENCE).get_next(datetime)
    except (CroniterError, ValueError, KeyError) as error:
        return f"cannot be used: “{expression}” is no cron expression, or its time never comes ({error})"
    return ""


def _hours_problem(schedule: Schedule) -> str:
    if not schedule.get("days"):
        return "needs the weekdays on which the hours begin, 0 (Monday) to 6 (Sunday), with from and to like 22:00"
    wrong = windows.problem([_window(schedule, "UTC")])
    if wrong and not windows.well_formed(_window(schedule, "UTC")):
        return "needs weekdays, 0 (Monday) to 6 (Sunday), and times from and to like 22:00"
    return "never ends with these hours: that is the kind live" if wrong else ""


def words(schedule: Schedule) -> str:
    """The schedule for people, without its zone."""
    kind = kind_of(schedule)
    if kind == "every":
        minutes = schedule["minutes"]
        return "Every minute" if minutes == 1 else f"Every {minutes:,} minutes"
    if kind == "cron":
        return f"By the cron expression “{schedule['expression']}”"
    if kind == "hours":
        return "Live " + windows.words(_window(schedule, "-")).removesuffix(" (-)")
    return KINDS[kind]


def shut(schedule: Schedule, now: datetime, zone: str) -> bool:
    """Whether `now` is outside the hours within which it is live."""
    return kind_of(schedule) == "hours" and not windows.is_open([_window(schedule, zone)], now)


def first_turn(schedule: Schedule, now: datetime, zone: str) -> datetime | None:
    """When the first turn of a new schedule begins; None where a person begins it."""
    return now if kind_of(schedule) == "every" else next_turn(schedule, now, zone)


def next_turn(schedule: Schedule, after: datetime, zone: str) -> datetime | None:
    """When the turn after one that began at `after` begins. Turns that were missed meanwhile are one."""
    kind = kind_of(schedule)
    if kind == "every":
        return after + timedelta(minutes=schedule["minutes"])
    if kind == "cron":
        return _next_by_cron(schedule["expression"], after, ZoneInfo(zone))
    return None


def _next_by_cron(expression: str, after: datetime, zone: ZoneInfo) -> datetime:
    """The next time it names. In the hour that comes twice when clocks go back, a fixed hour means the first."""
    times, every_hour = croniter(expression, after.astimezone(zone)), expression.split()[1].startswith("*")
    while True:
        found: datetime = times.get_next(datetime).astimezone(UTC)
        if every_hour or not found.astimezone(zone).fold:
            return found


def next_runs(
    schedule: Schedule, now: datetime, zone: str, begins: datetime | None = None, number: int = 3
) -> list[datetime]:
    """The next times it begins to run; none where it is live, or only by hand. `begins`: its next turn, where known."""
    if kind_of(schedule) == "hours":
        return _openings(schedule, now, zone, number)
    first = begins if begins is not None and begins > now else first_turn(schedule, now, zone)
    found = [first] if first is not None else []
    while found and len(found) < number:
        following = next_turn(schedule, found[-1], zone)
        if following is None:
            break
        found.append(following)
    return found


def _openings(schedule: Schedule, now: datetime, zone: str, number: int) -> list[datetime]:
    window, moment = [_window(schedule, zone)], now
    found: list[datetime] = []
    for _ in range(2 * number + 1):
        change = windows.next_change(window, moment)
        if change is None or len(found) == number:
            break
        if not windows.is_open(window, moment):
            found.append(change)
        moment = change
    return found


def longest_gap(schedule: Schedule) -> float:
    """The longest time between the beginnings of two runs, in seconds; 0.0 where it is live or nobody can say."""
    kind = kind_of(schedule)
    if kind == "every":
        return float(schedule["minutes"] * 60)
    if kind == "cron":
        times = croniter(schedule["expression"], REFERENCE)
        found: Sequence[datetime] = [times.get_next(datetime) for _ in range(LOOKED_AT)]
        return max((later - sooner).total_seconds() for sooner, later in pairwise(found))
    return _longest_shut(schedule) if kind == "hours" else 0.0


def _longest_shut(schedule: Schedule) -> float:
    window, moment, shut_at, longest = [_window(schedule, "UTC")], REFERENCE, None, 0.0
    for _ in range(CHANGES_LOOKED_AT):
        change = windows.next_change(window, moment)
        if change is None:
            break
        if not windows.is_open(window, change):
            shut_at = change
        elif shut_at is not None:
            longest = max(longest, (change - shut_at).total_seconds())
        moment = change
    return longest


def _window(schedule: Schedule, zone: str) -> dict[str, Any]:
    return {"days": schedule.get("days"), "from": schedule.get("from"), "to": schedule.get("to"), "zone": zone}
