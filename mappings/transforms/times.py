"""Dates and times: a date keeps the time of day that the other side has."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mappings.transforms.base import CannotExpress, FieldSpec, Lens, Put, Transform
from mappings.transforms.table import is_empty

SECOND = 1_000_000  # in microseconds, as all steps


def _parsed(value: Any, zone: ZoneInfo) -> date | datetime | None:
    """A date, or a moment in UTC. Raises CannotExpress for anything else."""
    if is_empty(value):
        return None
    text = str(value).strip()
    try:
        if len(text) == len("YYYY-MM-DD"):
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=moment.tzinfo or zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise CannotExpress("not_a_date", value=value) from None


def _day(value: date | datetime, zone: ZoneInfo) -> date:
    try:
        return value.astimezone(zone).date() if isinstance(value, datetime) else value
    except OverflowError:
        raise CannotExpress("not_a_date", value=value.isoformat()) from None


def _written(value: date | datetime) -> str:
    return value.replace(tzinfo=None).isoformat() + "Z" if isinstance(value, datetime) else value.isoformat()


def _says_the_same(
    one: date | datetime | None, other: date | datetime | None, zone: ZoneInfo, steps: tuple[int | None, int | None]
) -> bool:
    """⚑ Whether one of two moments is what the other one's field keeps of it; by a guess only where nobody says how
    exact that field is. An edit within a second says something where both fields keep it."""
    if one is None or other is None:
        return one is other
    if not isinstance(one, datetime) or not isinstance(other, datetime):
        return _day(one, zone) == _day(other, zone)
    return _cut(one, steps[1] or _step(other)) == other or _cut(other, steps[0] or _step(one)) == one


def _step(moment: datetime) -> int:
    """The coarsest step that fits this moment: many fields keep whole seconds only, or milliseconds."""
    return next(step for step in (SECOND, 1_000, 1) if not moment.microsecond % step)


def _cut(moment: datetime, step: int) -> datetime:
    return moment.replace(microsecond=moment.microsecond - moment.microsecond % min(step, SECOND))


def build_date_time(
    params: Mapping[str, Any], left: FieldSpec, right: FieldSpec, entries: list[dict[str, Any]]
) -> Lens:
    """`timezone`: IANA name of the place whose calendar the date side means; UTC where it is empty."""
    try:
        zone = ZoneInfo(params.get("timezone") or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"The time zone {params['timezone']!r} of {left.label} ↔ {right.label} is not known; "
            "give a name such as Europe/Berlin."
        ) from None

    def to(source_spec: FieldSpec, target_spec: FieldSpec) -> Put:
        kind, steps = target_spec.kind, (source_spec.step, target_spec.step)

        def put(source: Any, old: Any, base: Any) -> Any:
            wanted = _parsed(source, zone)
            try:
                there = _parsed(old, zone)
                if _says_the_same(wanted, there, zone, steps):
                    return old
            except CannotExpress:
                there = None
            if wanted is None:
                return None
            if kind == "date":
                return _day(wanted, zone).isoformat()
            if kind == "datetime" and not isinstance(wanted, datetime):
                at = there.astimezone(zone).time() if isinstance(there, datetime) else time()
                try:
                    wanted = _at(wanted, at, zone)
                except OverflowError:
                    raise CannotExpress("not_a_date", value=source) from None
            return _written(wanted)

        return put

    lossy = {f"to_{side}" for side, spec in (("left", left), ("right", right)) if spec.kind == "date"}
    return Lens(to(left, right), to(right, left), frozenset(lossy) if left.kind != right.kind else frozenset())


def _at(day: date, at: time, zone: ZoneInfo) -> datetime:
    moment = datetime.combine(day, at, zone).astimezone(UTC)
    if moment.astimezone(zone).date() != day:  # a day that the place skipped when it changed its time zone
        raise OverflowError
    return moment


_KINDS = ("date", "datetime", "text")

DATE_TIME = Transform(
    name="date_time",
    label="Date or time",
    help="A date and a point in time; the time of day on the other side is kept.",
    build=build_date_time,
    kinds=frozenset((a, b) for a in _KINDS for b in _KINDS) - {("text", "text")},
    params=(("timezone", "Time zone of the date"),),
)
