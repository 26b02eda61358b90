"""Values of a described API: its own form ↔ the normalised one. Pure.

`incoming` raises ValueError where a value is not of its field's kind: the caller names the field as unreadable, so that
one broken value stops neither its record nor its page. `outgoing` raises Refused, which names the field.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from connections.connectors.base import Refused
from connections.connectors.numbers import plain
from connections.connectors.rest_definition import FieldDefinition, OptionDefinition, Times

MOMENT = "%Y-%m-%dT%H:%M:%S"
# Shown in a refusal; a list of thousands would hide what is wrong.
OPTIONS_NAMED = 12

Accounts = Mapping[str, str]  # account id → e-mail address, "" where it is hidden


def moment(value: Any, times: Times) -> str | None:
    """The normalised datetime of an API's value; None for nothing. Raises ValueError."""
    if value is None or value == "":
        return None
    if times.format in ("epoch", "epoch_ms"):
        number = _number(value)
        seconds = number / 1000 if times.format == "epoch_ms" else number
        try:
            return normal(datetime.fromtimestamp(0, UTC) + timedelta(microseconds=round(seconds * 1_000_000)))
        except OverflowError:
            raise ValueError(f"{value} is no time") from None
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no time")
    if times.format == "pattern":
        return normal(datetime.strptime(value, times.pattern))
    return normal(datetime.fromisoformat(_with_colon(value.strip())))


def _with_colon(text: str) -> str:
    """+0530 as +05:30, which some systems write in the middle of an ISO time."""
    return re.sub(r"([+-]\d\d)(\d\d)\Z", r"\1:\2", text) if "T" in text else text


def normal(when: datetime) -> str:
    """A datetime in the contract's form; one without a zone is UTC."""
    try:
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except OverflowError:
        raise ValueError("the time is out of range") from None
    text = when.strftime(MOMENT) if when.year >= 1000 else f"{when.year:04}" + when.strftime(MOMENT)[4:]
    return text + (f".{when.microsecond:06}" if when.microsecond else "") + "Z"


def parsed(normalised: str) -> datetime:
    return datetime.fromisoformat(normalised).astimezone(UTC)


def as_sent(normalised: str, times: Times) -> Any:
    """A normalised datetime in the form that an API wants."""
    when = parsed(normalised)
    if times.format in ("epoch", "epoch_ms"):
        seconds = (when - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1)
        number = math.floor(seconds * 1000) if times.format == "epoch_ms" else math.floor(seconds)
        return str(number) if times.as_text else number
    if times.format == "pattern":
        return when.strftime(times.pattern)
    return normal(when)


def incoming(field: FieldDefinition, raw: Any, times: Times, options: Sequence[OptionDefinition], who: Accounts) -> Any:
    """The normalised value. `who`: the accounts that are known. Raises ValueError."""
    match field.kind:
        case "set":
            return _set(field, raw, options)
        case _ if raw is None or raw == "":
            return None
        case "text" | "rich_text":
            return _text(raw).replace("\r\n", "\n").replace("\r", "\n") or None
        case "option":
            return _name_of(raw, options)
        case "person":
            return _person(raw, who)
        case "number":
            return _number(raw)
        case "boolean":
            return _boolean(raw)
        case "date":
            return _date(raw, field.times)
        case "datetime":
            return moment(raw, field.times or times)
    return _text(raw)


def _text(raw: Any) -> str:
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, str | int | float):
        return str(raw)
    raise ValueError(f"{_short(raw)} is no text")


def _number(raw: Any) -> int | float:
    if isinstance(raw, str):
        text = raw.strip()
        if not re.fullmatch(r"[+-]?\d{1,300}(\.\d{1,300})?([eE][+-]?\d{1,3})?", text):
            raise ValueError(f"{_short(raw)} is no number")
        exact = Decimal(text)
        raw = int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
        if math.isfinite(raw) and Decimal(repr(raw)) != exact:
            raise ValueError(f"{_short(text)} has more digits than a number can carry")
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        raise ValueError(f"{_short(raw)} is no number")
    return plain(raw)


def _boolean(raw: Any) -> bool:
    found = {"true": True, "false": False, "1": True, "0": False}.get(_text(raw).lower())
    if found is None:
        raise ValueError(f"{_short(raw)} is neither true nor false")
    return found


def _date(raw: Any, times: Times | None) -> str:
    if times:
        return str(moment(raw, times))[:10]
    return date.fromisoformat(_text(raw)[:10]).isoformat()


def _set(field: FieldDefinition, raw: Any, options: Sequence[OptionDefinition]) -> list[str]:
    if field.separator and isinstance(raw, str):
        raw = [part.strip() for part in raw.split(field.separator)]
    if raw is None or raw == "":
        return []
    if not isinstance(raw, list):
        raise ValueError(f"{_short(raw)} is no list")
    names = {_name_of(each, options) for each in raw if each is not None and each != ""}
    return sorted(names)


def _name_of(raw: Any, options: Sequence[OptionDefinition]) -> str:
    text = _text(raw)
    for option in options:
        if text == _text(option.value):
            return option.name or text
    return text


def _person(raw: Any, who: Accounts) -> str:
    text = _text(raw)
    if "@" in text:
        return text.lower()
    return who.get(text, "").lower() or f"id:{text}"


def _short(raw: Any) -> str:
    text = json.dumps(raw, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:60] + "…"


# The way out. ----------------------------------------------------------------------------------------------------


def outgoing(
    field: FieldDefinition, value: Any, times: Times, options: Sequence[OptionDefinition], who: Accounts | None
) -> Any:
    """What is sent for a normalised value. `who`: None where the API lists no accounts. Raises Refused."""
    if value is None or value == []:
        if field.required or not field.clearable:
            raise _refused(field, "it must not be empty")
        if field.kind == "set" and field.empty is None:
            return "" if field.separator else []
        return field.empty
    if field.max_length is not None and isinstance(value, str) and len(value) > field.max_length:
        raise _refused(field, f"it is longer than {field.max_length} characters")
    match field.kind:
        case "set":
            return _set_out(field, value, options)
        case "option":
            return _sent(field, _value_of(field, value, options))
        case "person":
            return _sent(field, _account_of(field, value, who))
        case "number":
            number = _checked(field, isinstance(value, int | float) and not isinstance(value, bool), value, "number")
            return str(number) if field.send_as == "text" else number
        case "boolean":
            flag = _checked(field, isinstance(value, bool), value, "yes or no")
            return str(flag).lower() if field.send_as == "text" else flag
        case "date" if field.times:
            return as_sent(f"{_checked(field, isinstance(value, str), value, 'date')}T00:00:00Z", field.times)
        case "datetime":
            return as_sent(_checked(field, isinstance(value, str), value, "time"), field.times or times)
        case "reference":
            return _sent(field, _checked(field, isinstance(value, str), value, "reference"))
    return _checked(field, isinstance(value, str), value, "text")


def _refused(field: FieldDefinition, why: str) -> Refused:
    label = field.label or field.name
    return Refused(f"“{label}” cannot be written: {why}. Nothing was written. Change the value.", {field.name: why})


def _checked(field: FieldDefinition, fits: bool, value: Any, wanted: str) -> Any:
    if not fits:
        raise _refused(field, f"{_short(value)} is no {wanted}")
    return value


def _sent(field: FieldDefinition, value: Any) -> Any:
    """An id as the API wants it: with quotes or without."""
    if field.send_as == "number" and isinstance(value, str):
        if not re.fullmatch(r"-?\d{1,30}", value):
            raise _refused(field, f"“{value}” is no number")
        return int(value)
    return str(value) if field.send_as == "text" and not isinstance(value, str) else value


def _value_of(field: FieldDefinition, name: Any, options: Sequence[OptionDefinition]) -> Any:
    for option in options:
        if name == (option.name or _text(option.value)):
            return option.value
    if options:
        known = [option.name or _text(option.value) for option in options]
        more = ", …" if len(known) > OPTIONS_NAMED else ""
        raise _refused(field, f"there is no “{name}”; there are {', '.join(known[:OPTIONS_NAMED])}{more}")
    return _checked(field, isinstance(name, str), name, "text")


def _set_out(field: FieldDefinition, value: Any, options: Sequence[OptionDefinition]) -> Any:
    _checked(field, isinstance(value, list), value, "list")
    parts = [_value_of(field, each, options) for each in value]
    if not field.separator:
        return parts
    texts = [_text(part) for part in parts]
    for text in texts:
        if field.separator in text:
            raise _refused(field, f"“{text}” holds “{field.separator}”, which stands between the parts")
    return field.separator.join(texts)


def _account_of(field: FieldDefinition, value: Any, who: Accounts | None) -> str:
    text = str(_checked(field, isinstance(value, str), value, "person"))
    if text.startswith("queue:"):
        raise _refused(field, "a group cannot be the person here")
    account = text.removeprefix("id:")
    if who is None:
        return account
    for id, email in who.items():
        if id == account or (email and email.lower() == text.lower()):
            return id
    raise _refused(field, f"nobody active there is “{text}”")
