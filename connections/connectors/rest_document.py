"""Plain data read into dataclasses, and written back; every error names its place in plain words. Pure."""

from __future__ import annotations

import functools
import re
import string
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import jmespath
from jmespath.exceptions import JMESPathError

EXPRESSION, TEMPLATE = "expression", "template"
Expression = Annotated[str, EXPRESSION]  # JMESPath; "" where there is none
Template = Annotated[str, TEMPLATE]  # text with {placeholders}

# Far above what a description of an API holds; an input of some megabytes is no description.
LONGEST_TEXT = 5_000
MOST_ITEMS = 500
DEEPEST_BODY = 20
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class DefinitionError(ValueError):
    """What is wrong with a definition. `place`: keys and item names from the outside in; `what`: for people."""

    def __init__(self, place: Sequence[str], what: str) -> None:
        self.place = tuple(place)
        self.what = what
        super().__init__(f"{', '.join(_words(part) for part in self.place) or 'The definition'}: {what}.")


def _words(part: str) -> str:
    return part.replace("_", " ")


@functools.cache
def _shape(section: Any) -> tuple[tuple[Field[Any], Any], ...]:
    hints = get_type_hints(section, include_extras=True)
    return tuple((each, hints[each.name]) for each in fields(section))


def read_section(section: type, document: Any, place: tuple[str, ...] = ()) -> Any:
    """A dataclass of plain data. Raises DefinitionError."""
    if not isinstance(document, Mapping):
        raise DefinitionError(place, f"a group of settings is expected, not {_kind(document)}")
    shape = _shape(section)
    known = {each.name for each, _ in shape}
    for key in document:
        if key not in known:
            raise DefinitionError(place, f"“{key}” is not known here; known are {', '.join(sorted(known))}")
    values = {}
    for each, hint in shape:
        if each.name in document:
            values[each.name] = _value(hint, document[each.name], (*place, each.name))
        elif each.default is MISSING and each.default_factory is MISSING:
            raise DefinitionError((*place, each.name), "this is needed")
    return section(**values)


def _value(hint: Any, value: Any, place: tuple[str, ...]) -> Any:
    origin = get_origin(hint)
    if origin is Annotated:
        return _marked(get_args(hint)[1], _text(value, place), place)
    if origin in (Union, types.UnionType):
        [inner] = [each for each in get_args(hint) if each is not type(None)]
        return None if value is None else _value(inner, value, place)
    if origin is Literal:
        choices = get_args(hint)
        if value not in choices:
            raise DefinitionError(place, f"one of {', '.join(str(c) or 'nothing' for c in choices)} is expected")
        return value
    if origin is tuple:
        return _items(get_args(hint)[0], value, place)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise DefinitionError(place, f"names with values are expected, not {_kind(value)}")
        inner = get_args(hint)[1]
        return {_text(key, place): _value(inner, each, (*place, str(key))) for key, each in value.items()}
    if hint is Any:
        return _plain(value, place)
    if is_dataclass(hint):
        return read_section(hint, value, place)  # type: ignore[arg-type]
    return _scalar(hint, value, place)


def _items(inner: Any, value: Any, place: tuple[str, ...]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise DefinitionError(place, f"a list is expected, not {_kind(value)}")
    if len(value) > MOST_ITEMS:
        raise DefinitionError(place, f"more than {MOST_ITEMS} entries")
    found = []
    for number, each in enumerate(value, 1):
        named = each.get("name") if isinstance(each, Mapping) else None
        found.append(_value(inner, each, (*place, f"“{named}”" if named else f"entry {number}")))
    return tuple(found)


def _scalar(hint: Any, value: Any, place: tuple[str, ...]) -> Any:
    if hint is str:
        return _text(value, place)
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9:
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 10**9:
        return float(value)
    wanted = {bool: "yes or no", int: "a whole number", float: "a number"}[hint]
    raise DefinitionError(place, f"{wanted} is expected, not {_kind(value)}")


def _text(value: Any, place: tuple[str, ...]) -> str:
    if not isinstance(value, str):
        raise DefinitionError(place, f"a text is expected, not {_kind(value)}")
    if len(value) > LONGEST_TEXT:
        raise DefinitionError(place, f"the text is longer than {LONGEST_TEXT} characters")
    if any(ord(sign) < 32 and sign not in "\n\t" for sign in value):
        raise DefinitionError(place, "the text holds control characters")
    return value


def _marked(mark: str, text: str, place: tuple[str, ...]) -> str:
    if mark == EXPRESSION and text:
        try:
            jmespath.compile(text)
        except (JMESPathError, ValueError) as error:
            column = getattr(error, "lex_position", None)
            where = f", from character {column + 1} on" if isinstance(column, int) else ""
            raise DefinitionError(place, f"“{text}” is no JMESPath expression{where}") from None
    if mark == TEMPLATE:
        placeholders(text, place)
    return text


def _plain(value: Any, place: tuple[str, ...], depth: int = 0) -> Any:
    """A JSON value; its texts are templates."""
    if depth > DEEPEST_BODY:
        raise DefinitionError(place, f"nested deeper than {DEEPEST_BODY} levels")
    if isinstance(value, Mapping):
        return {_text(key, place): _plain(each, (*place, str(key)), depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, place, depth + 1) for each in value]
    if isinstance(value, str):
        placeholders(_text(value, place), place)
        return value
    if value is None or isinstance(value, bool | int | float):
        return value
    raise DefinitionError(place, f"plain values are expected, not {_kind(value)}")


def placeholders(text: str, place: Sequence[str] = ()) -> frozenset[str]:
    """The names in a template. Raises DefinitionError for anything but `{name}`: no attributes, indexes or formats."""
    found = set()
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        raise DefinitionError(
            place, f"“{text}” has a brace too many or too few; a brace itself is {{{{ or }}}}"
        ) from None
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if form or conversion or not NAME.fullmatch(name):
            raise DefinitionError(place, f"“{{{name}}}” is no placeholder; only plain names like {{id}} are")
        found.add(name)
    return frozenset(found)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "yes or no"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case Mapping():
            return "a group of settings"
        case list() | tuple():
            return "a list"
    return f"a {type(value).__name__}"


def written(section: Any) -> dict[str, Any]:
    """A dataclass as plain data, without what is at its default."""
    found = {}
    for each, _ in _shape(section.__class__):
        value = getattr(section, each.name)
        default = each.default if each.default_factory is MISSING else each.default_factory()
        if default is MISSING or value != default:
            found[each.name] = _plainly(value)
    return found


def _plainly(value: Any) -> Any:
    if is_dataclass(value):
        return written(value)
    if isinstance(value, Mapping):
        return {key: _plainly(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plainly(each) for each in value]
    return value
