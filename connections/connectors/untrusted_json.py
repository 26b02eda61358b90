"""JSON from systems we do not control: what cannot be kept or would hurt is not taken for JSON. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_DEPTH = 200  # rich text nests some dozens deep; Python's own limit is near 1000
MAX_DIGITS = 400  # no system has longer numbers, and converting thousands of digits is quadratic


def parse_json(text: str) -> Any:
    """The JSON value of `text`, or None where it holds none that we could keep.

    Refused as if not JSON: NaN and Infinity, numbers too big for a float or too long, nesting too deep. NUL and
    lone surrogates, which no database takes, are replaced.
    """
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_bounded)
    except (ValueError, RecursionError):
        return None
    if _deep(value):
        return None
    return _storable(value) if "\\u0000" in text or re.search(r"\\u[dD][89a-fA-F]", text) else value


def _deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        containers = [item for item in level if isinstance(item, dict | list)]
        if not containers:
            return False
        level = [inner for item in containers for inner in (item.values() if isinstance(item, dict) else item)]
    return True


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number too big")
    return value


def _bounded(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("a number too long")
    return int(text)


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return value
