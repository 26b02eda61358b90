"""Values of columns: read into the contract's normal forms and written back, each type keeping its meaning.

What cannot be told exactly in the normal form (a decimal with more digits than a JSON number carries, infinity, a date
that is none) is unreadable in that row, never rounded and never empty. What a column would tell again as another value
is refused, never written: see sql_room.py.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from connections.connectors.base import Field
from connections.connectors.numbers import plain
from connections.connectors.sql_room import DOUBLE, SINGLE, Room, shortest_single
from connections.connectors.untrusted_json import parse_json

# How a column stores its value; the contract's kind follows from it, see KIND_OF.
INTEGER, DECIMAL, FLOAT, TEXT, UUID = "integer", "decimal", "float", "text", "uuid"
BOOLEAN, DATE, TIME, INSTANT, LOCAL = "boolean", "date", "time", "instant", "local"  # local: a time without a zone
JSON, ENUM, LIST, SET, BYTES = "json", "enum", "list", "set", "bytes"  # list: an array; set: MySQL's own type

KIND_OF = {
    INTEGER: "number",
    DECIMAL: "number",
    FLOAT: "number",
    TEXT: "text",
    UUID: "text",
    BOOLEAN: "boolean",
    DATE: "date",
    TIME: "text",
    INSTANT: "datetime",
    LOCAL: "datetime",
    JSON: "text",
    ENUM: "option",
    LIST: "set",
    SET: "set",
}
DEEPEST_JSON = 64
LONGEST_NUMBER = 400  # digits: more than any floating number has


class Untellable(ValueError):
    """A stored value has no exact normal form."""


@dataclass(frozen=True)
class Column:
    """One column that is a field. `items`: what a list holds. `zone`: of times stored without one."""

    name: str
    stored: str
    shown: Field
    sa: sa.Column[Any]
    zone: ZoneInfo
    room: Room = field(default_factory=Room)
    items: str = TEXT
    options: tuple[str, ...] = ()
    people: bool = False  # refers to the table of people
    generated: bool = False


# Reading. ------------------------------------------------------------------------------------------------------------


def normal(column: Column, raw: Any) -> Any:
    """The normal form of a stored value. Raises Untellable."""
    if raw is None:
        return [] if column.shown.kind == "set" else None
    try:
        return _READ[column.stored](column, raw)
    except Untellable:
        raise
    except (ValueError, TypeError, ArithmeticError) as error:
        raise Untellable(str(error)) from None


def _text(column: Column, raw: Any) -> str | None:
    if not isinstance(raw, str):
        raw = str(raw)
    return raw.replace("\r\n", "\n").replace("\r", "\n") or None


def number(raw: Any) -> int | float:
    """A JSON number that says exactly what is stored. Raises Untellable."""
    if isinstance(raw, bool):
        return int(raw)
    if isinstance(raw, int):
        return raw
    if isinstance(raw, float):
        if not math.isfinite(raw):
            raise Untellable("not a finite number")
        return plain(raw)
    exact = Decimal(str(raw))
    if not exact.is_finite():
        raise Untellable("not a finite number")
    if exact == exact.to_integral_value():
        return int(exact)
    carried = float(exact)
    if Decimal(repr(carried)) != exact:
        raise Untellable("more digits than a number can carry")
    return carried


def _floating(column: Column, raw: Any) -> int | float:
    return number(shortest_single(float(raw)) if column.room.binary == SINGLE else raw)


def _boolean(column: Column, raw: Any) -> bool:
    if raw in (0, 1):  # True and False too
        return bool(raw)
    if str(raw).lower() in ("t", "true", "f", "false"):
        return str(raw).lower().startswith("t")
    raise Untellable("neither true nor false")


def _date(column: Column, raw: Any) -> str:
    if isinstance(raw, datetime):
        raw = raw.date()
    return (raw if isinstance(raw, date) else date.fromisoformat(str(raw)[:10])).isoformat()


def _time(column: Column, raw: Any) -> str:
    if isinstance(raw, timedelta):  # MySQL's TIME is a span
        if not timedelta(0) <= raw < timedelta(days=1):
            raise Untellable("a span of time, not a time of day")
        raw = (datetime.min + raw).time()
    return (raw if isinstance(raw, time) else time.fromisoformat(str(raw))).isoformat()


def moment(raw: Any, zone: ZoneInfo | None) -> datetime:
    """UTC. `zone`: of what is stored without one."""
    read = raw if isinstance(raw, datetime) else datetime.fromisoformat(_iso(str(raw)))
    if read.tzinfo is None:
        read = read.replace(tzinfo=zone or UTC)
    return read.astimezone(UTC)


def _iso(text: str) -> str:
    """PostgreSQL writes offsets as +00 and fractions of any length."""
    text = re.sub(r"([+-]\d\d)$", r"\1:00", text.strip())
    return re.sub(r"\.(\d{1,6})\d*", lambda found: "." + found.group(1).ljust(6, "0"), text)


def stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _moment(column: Column, raw: Any) -> str:
    return stamp(moment(raw, column.zone))


def _json(column: Column, raw: Any) -> str:
    found = canonical_json(raw if isinstance(raw, str) else json.dumps(raw))
    if found is None:
        raise Untellable("no JSON")
    return found


def canonical_json(text: str, doubles: bool = False) -> str | None:
    """Equal for texts that say the same; None for one that is no JSON. Numbers keep every digit they have.

    doubles: as a database tells it that keeps all but whole numbers of 64 bits as floating ones.
    """
    if parse_json(text) is None and text.strip() != "null":
        return None
    try:
        read = json.loads(text, parse_float=_double if doubles else Decimal, parse_int=_word if doubles else int)
    except (ValueError, ArithmeticError, RecursionError):
        return None
    return _written(read)


def _double(text: str) -> Decimal:
    return Decimal(repr(float(text)))


def _word(text: str) -> int | Decimal:
    return int(text) if -(2**63) <= int(text) < 2**64 else _double(text)


def _written(value: Any) -> str:
    if isinstance(value, dict):
        pairs = sorted(value.items())
        return "{" + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{_written(v)}" for k, v in pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return _digits(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


def _digits(value: Decimal) -> str:
    """Without an exponent and without a sign of zero, as PostgreSQL writes the numbers of its jsonb."""
    places = value.as_tuple().exponent
    if not isinstance(places, int) or abs(places) > LONGEST_NUMBER:
        return str(value)
    return format(value if value else Decimal((0, (0,), min(places, 0))), "f")


def _list(column: Column, raw: Any) -> list[str]:
    items = raw.split(",") if isinstance(raw, str) else raw
    if any(isinstance(item, list) for item in items):
        raise Untellable("an array of arrays")
    return sorted({str(item) for item in items if item not in (None, "")})


_READ: dict[str, Callable[[Column, Any], Any]] = {
    INTEGER: lambda column, raw: number(raw),
    DECIMAL: lambda column, raw: number(raw),
    FLOAT: _floating,
    TEXT: _text,
    UUID: lambda column, raw: str(raw).lower(),
    ENUM: _text,
    BOOLEAN: _boolean,
    DATE: _date,
    TIME: _time,
    INSTANT: _moment,
    LOCAL: _moment,
    JSON: _json,
    LIST: _list,
    SET: _list,
}


# Writing. ------------------------------------------------------------------------------------------------------------


def stored(column: Column, value: Any, dialect: str) -> Any:
    """What the driver is given to write a normal value. Raises ValueError, with words for people, on what does not fit.

    ⚑ What is written is read again as `value`, or as what is compared with it as equal.
    """
    if value is None or value == [] or value == "":
        return None
    return _given(column, _kept(column, _WRITE[column.stored](column, value), value), dialect)


def compared(column: Column, value: Any, dialect: str) -> Any:
    """What the driver is given to compare a column with: nothing is kept, so it need not fit. Raises ValueError."""
    return None if value in (None, "", []) else _given(column, _WRITE[column.stored](column, value), dialect)


def _given(column: Column, made: Any, dialect: str) -> Any:
    if dialect == "sqlite":
        return _for_sqlite(column, made)
    if dialect != "postgresql" and column.stored == SET:
        return ",".join(made)
    return made


def _kept(column: Column, made: Any, value: Any) -> Any:
    """`made`, which is `value` in Python, as the column keeps it. Raises ValueError where that says another thing."""
    match column.stored:
        case "integer" | "decimal" | "float":
            column.room.check(exact(value))
        case "text" if column.room.padded:
            return made.rstrip(" ")
        case "instant" | "local":
            made = column.room.floored(made)
            if moment(made, column.zone) != column.room.floored(moment(value, None)):
                raise ValueError(
                    "lies in an hour that comes twice there, as clocks go back: the column has no zone to say which"
                )
        case "time" | "uuid" | "date" | "json" | "list":
            made = column.room.time_of_day(made) if isinstance(made, time) else made
            told = normal(column, made)
            if told != (sorted(set(value)) if isinstance(value, list) else value):
                said = ", ".join(told) if isinstance(told, list) else str(told)
                raise ValueError(f"would be kept as “{said[:200]}”")
    return made


def _written_text(column: Column, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is no text")
    if "\x00" in value:
        raise ValueError("holds a zero character, which no database text can")
    limit = column.shown.max_length
    if limit and len(value) > limit:
        raise ValueError(f"is longer than {limit} characters")
    return value


def _written_option(column: Column, value: Any) -> str:
    text = _written_text(column, value)
    if column.options and text not in column.options:
        raise ValueError(f"“{text[:80]}” is not an option")
    return text


def exact(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("is no number")
    try:
        found = Decimal(repr(value) if isinstance(value, float) else str(value))
    except InvalidOperation:
        raise ValueError("is no number") from None
    if not found.is_finite():
        raise ValueError("is no finite number")
    return found


def _written_integer(column: Column, value: Any) -> int:
    found = exact(value)
    if found != found.to_integral_value():
        raise ValueError("is no whole number")
    return int(found)


def _written_boolean(column: Column, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")
    return value


def _written_moment(column: Column, value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError("is no time")
    at = moment(value, None)
    return at if column.stored == INSTANT else at.astimezone(column.zone).replace(tzinfo=None, fold=0)


def _written_json(column: Column, value: Any) -> str:
    found = canonical_json(value, column.room.binary == DOUBLE) if isinstance(value, str) else None
    if found is None:
        raise ValueError("is no JSON")
    return found


def _written_list(column: Column, value: Any) -> list[Any]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("is no list of texts")
    unknown = [item for item in value if column.options and item not in column.options]
    if unknown:
        raise ValueError(f"“{unknown[0][:80]}” is not an option")
    if column.stored == SET and any("," in item for item in value):
        raise ValueError("holds a comma, which such a set cannot")
    longest = column.room.length
    if longest and any(len(item) > longest for item in value):
        raise ValueError(f"holds a text that is longer than {longest} characters")
    if column.items == UUID:
        return [str(uuid.UUID(item)) for item in value]
    return [int(item) for item in value] if column.items == INTEGER else list(value)


_WRITE: dict[str, Callable[[Column, Any], Any]] = {
    INTEGER: _written_integer,
    DECIMAL: lambda column, value: exact(value),
    FLOAT: lambda column, value: float(exact(value)),
    TEXT: _written_text,
    UUID: lambda column, value: uuid.UUID(_written_text(column, value)),
    ENUM: _written_option,
    BOOLEAN: _written_boolean,
    DATE: lambda column, value: date.fromisoformat(_written_text(column, value)),
    TIME: lambda column, value: time.fromisoformat(_written_text(column, value)),
    INSTANT: _written_moment,
    LOCAL: _written_moment,
    JSON: _written_json,
    LIST: _written_list,
    SET: _written_list,
}


def _for_sqlite(column: Column, value: Any) -> Any:
    """SQLite stores texts and numbers; a decimal goes as text, which a NUMERIC column turns exactly or keeps."""
    if isinstance(value, Decimal | uuid.UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(" ")
    return value.isoformat() if isinstance(value, date | time) else value


def earliest_local(at: datetime, zone: ZoneInfo) -> datetime:
    """The smallest local time, without zone, of any moment from `at` on: where clocks go back, an hour comes twice."""
    here = at.astimezone(zone).replace(tzinfo=None)
    step = timedelta(minutes=15)
    ahead = min((at + n * step).astimezone(zone).replace(tzinfo=None) for n in range(1, 13))
    return here if ahead > here else ahead - step
