"""Templates filled in, JMESPath looked up, bodies built. Pure: nothing here can do more than pick and place values."""

from __future__ import annotations

import functools
import string
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import jmespath
from jmespath.exceptions import JMESPathError

LONGEST_ID = 500

Names = Mapping[str, Any]


@functools.lru_cache(maxsize=4096)
def compiled(expression: str) -> Any:
    """Raises JMESPathError for what is no expression."""
    return jmespath.compile(expression)


def look(expression: str, value: Any) -> Any:
    """What an expression finds; None where it finds nothing, does not fit the value, or is empty itself."""
    if not expression:
        return None
    if expression == "@":
        return value
    try:
        return compiled(expression).search(value)
    except (JMESPathError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):
        return None


def truth(expression: str, value: Any) -> bool:
    """Whether an expression is true, as JMESPath has it: false, null and everything empty are not. 0 is not either."""
    return bool(look(expression, value))


@functools.lru_cache(maxsize=4096)
def _parts(template: str) -> tuple[tuple[str, str | None], ...]:
    return tuple((text, name) for text, name, _, _ in string.Formatter().parse(template))


def fill(template: str, names: Names, quoted: bool = False) -> str:
    """The template with its placeholders replaced; `quoted` makes each value one part of a path."""
    found = []
    for text, name in _parts(template):
        found.append(text)
        if name is not None:
            value = str(names.get(name, ""))
            found.append(quote(value, safe="") if quoted else value)
    return "".join(found)


def fill_all(body: Any, names: Names) -> Any:
    """Every text of a body filled in; a text that is one placeholder becomes its value, whatever that is."""
    if isinstance(body, str):
        parts = _parts(body)
        if len(parts) == 1 and parts[0][0] == "" and parts[0][1]:
            return names.get(parts[0][1], "")
        return fill(body, names)
    if isinstance(body, Mapping):
        return {key: fill_all(each, names) for key, each in body.items()}
    if isinstance(body, list | tuple):
        return [fill_all(each, names) for each in body]
    return body


def put(body: dict[str, Any], path: str, value: Any) -> None:
    """Set a value at keys joined by dots, making what is missing on the way."""
    *way, last = path.split(".")
    for key in way:
        inner = body.get(key)
        if not isinstance(inner, dict):
            inner = body[key] = {}
        body = inner
    body[last] = value


def wrapped(body: dict[str, Any], wrap: str) -> dict[str, Any]:
    for key in reversed(wrap.split(".") if wrap else []):
        body = {key: body}
    return body


def id_of(value: Any) -> str:
    """The text of an id, whether the API gives a number or a text. Raises ValueError for what is none.

    A slash is refused: servers disagree on what an escaped one means, and another record could be hit.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{value!r} is no id")
    text = str(value)
    if not is_id(text):
        raise ValueError(f"{text[:60]!r} is no id")
    return text


def is_id(text: str) -> bool:
    if not text or len(text) > LONGEST_ID or text in (".", "..") or text != text.strip():
        return False
    return not any(sign in "/\\?#" or ord(sign) < 32 for sign in text)
