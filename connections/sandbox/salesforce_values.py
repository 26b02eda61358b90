"""How the imitated org takes values: types, trimming, lengths, picklists, and the vendor's words for refusals.

Newlines are kept as the API sent them; only a browser turns them into CR LF. Leading and trailing white space of
text is cut off. An empty text is null.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

from connections.sandbox.base import Response
from connections.sandbox.salesforce_schema import Doc, Field

_DATETIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(:\d\d)?(\.\d+)?(Z|[+-]\d\d:?\d\d)?\Z")


class Problem(Exception):
    """A refusal in the vendor's form: `code` is the errorCode or statusCode, `status` the HTTP status if alone."""

    def __init__(self, code: str, message: str, fields: tuple[str, ...] = (), status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.fields = fields
        self.status = status

    def body(self) -> list[Doc]:
        """As an answer's whole body."""
        item: Doc = {"message": self.message, "errorCode": self.code}
        if self.fields or self.code in _WITH_FIELDS:
            item["fields"] = list(self.fields)
        return [item]

    def response(self) -> Response:
        return Response(self.status, self.body())

    def item(self) -> Doc:
        """As one entry of a collection's `errors`."""
        return {"statusCode": self.code, "message": self.message, "fields": list(self.fields)}


# Refusals of a save list the fields, even when there are none; the others have no such key.
_WITH_FIELDS = frozenset(
    {
        "DUPLICATE_VALUE",
        "ENTITY_IS_DELETED",
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "FIELD_INTEGRITY_EXCEPTION",
        "INACTIVE_OWNER_OR_USER",
        "INSUFFICIENT_ACCESS_OR_READONLY",
        "INVALID_CROSS_REFERENCE_KEY",
        "REQUIRED_FIELD_MISSING",
        "UNABLE_TO_LOCK_ROW",
    }
)


def stamp(seconds: float) -> str:
    """Seconds since the epoch in the API's form; fractions are cut off, as the org keeps whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def moment(text: str) -> datetime | None:
    """A date and time as clients write it, in UTC; None if it is none."""
    match = _DATETIME.match(text.strip().replace(" ", "+"))
    if not match:
        return None
    day, minute, second, fraction, zone = match.groups()
    offset = "+00:00" if zone in (None, "Z") else zone if ":" in zone else zone[:3] + ":" + zone[3:]
    try:
        parsed = datetime.fromisoformat(f"{day}T{minute}{second or ':00'}{(fraction or '.0')[:7]:0<7}{offset}")
    except ValueError:
        return None
    return parsed.astimezone(UTC)


def stamp_of(text: str) -> str | None:
    """A date and time in the stored form, cut to whole seconds."""
    parsed = moment(text)
    return stamp(parsed.timestamp()) if parsed else None


def clean(item: Field, value: Any) -> Any:
    """`value` as the org would store it. Raises Problem."""
    if item.type == "boolean":
        if not isinstance(value, bool):
            raise _unreadable("boolean", value)
        return value
    if value is None:
        return None
    if item.type in ("double", "currency", "percent", "int"):
        return _number(item, value)
    if not isinstance(value, str):
        if item.type in ("date", "datetime", "reference", "multipicklist") or isinstance(value, list | dict | bool):
            raise _unreadable({"date": "date", "datetime": "datetime"}.get(item.type, "string"), value)
        value = str(value)
    value = value.strip()
    if not value:
        return None
    if item.type == "date":
        return _date(value)
    if item.type == "datetime":
        at = stamp_of(value)
        if at is None:
            raise _unreadable("datetime", value)
        return at
    if item.type == "multipicklist":
        return _multi(item, value)
    if item.type == "picklist" and item.restricted:
        return _choice(item, value)
    if item.type == "email" and not re.match(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z", value):
        raise Problem("INVALID_EMAIL_ADDRESS", f"{item.title}: invalid email address: {value}", (item.name,))
    size = len(value.encode()) if item.byte_limit else len(value)
    if item.length and size > item.length:
        shown = value if len(value) <= 80 else value[:80] + "..."
        raise Problem(
            "STRING_TOO_LONG",
            f"{item.title}: data value too large: {shown} (max length={item.length})",
            (item.name,),
        )
    return value


def _unreadable(kind: str, value: Any) -> Problem:
    token = "VALUE_STRING" if isinstance(value, str) else "START_ARRAY" if isinstance(value, list) else "VALUE"
    return Problem(
        "JSON_PARSER_ERROR",
        f"Cannot deserialize instance of {kind} from {token} value {value} or request may be missing a required "
        "field at [line:1, column:2]",
    )


def _number(item: Field, value: Any) -> float | int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise _unreadable("double", value) from None
    if isinstance(value, bool) or number != number or number in (float("inf"), float("-inf")):
        raise _unreadable("double", value)
    if item.type == "int":
        return int(number)
    if abs(number) >= 10 ** (item.precision - item.scale):
        raise Problem(
            "NUMBER_OUTSIDE_VALID_RANGE", f"{item.title}: value outside of valid range on numeric field: {value}",
            (item.name,),
        )  # fmt: skip
    return round(number, item.scale)


def _date(value: str) -> str:
    try:
        return date.fromisoformat(value[:10] if "T" in value else value).isoformat()
    except ValueError:
        raise _unreadable("date", value) from None


def _choice(item: Field, value: str) -> str:
    known = next((v for v in item.values if v.lower() == value.lower()), None)
    if known is None:
        raise Problem(
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            f"{item.title}: bad value for restricted picklist field: {value}",
            (item.name,),
        )
    return known


def _multi(item: Field, value: str) -> str | None:
    chosen = [part.strip() for part in value.split(";") if part.strip()]
    if item.restricted:
        chosen = [_choice(item, part) for part in chosen]
    rank = {v: i for i, v in enumerate(item.values)}
    ordered = sorted(dict.fromkeys(chosen), key=lambda v: rank.get(v, len(rank)))
    return ";".join(ordered) or None
