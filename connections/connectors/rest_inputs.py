"""The form of a description: its inputs, made from the format's dataclasses, and the way there and back. Pure.

A section of the form edits some keys of one group of settings (`Section`). `texts_of` fills its inputs from the plain
data, `part_of` makes plain data of what was entered. Whether that makes sense is for `rest_definition.parse` to say.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from connections.connectors.rest_definition import OptionDefinition
from connections.connectors.rest_document import written
from connections.connectors.rest_words import CHOICES, ONLY_WHERE, TITLES, switch_of, words_of

JOIN = "__"  # between the keys of an input's name
KEPT_SPACES = {"prefix", "separator"}  # inputs whose outer spaces count

Texts = Mapping[str, Any]  # input name → text, or True and False


@dataclass(frozen=True, slots=True)
class Input:
    """One input. kind: text, code (an expression or template), yesno, whole, number, choice, lines, statuses, pairs,
    values (pairs with JSON values), json, options."""

    path: tuple[str, ...]  # in the data that the section edits
    kind: str
    label: str
    help: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    default: Any = None
    optional: bool = True
    rare: bool = False
    only: tuple[str, tuple[str, ...]] | None = None  # (name of another input, values with which this one counts)

    @property
    def name(self) -> str:
        return JOIN.join(self.path)


@dataclass(frozen=True, slots=True)
class Group:
    """Inputs that belong together. `switch`: the box that says whether the group is there at all."""

    path: tuple[str, ...]
    title: str
    help: str
    inputs: tuple[Input, ...]
    groups: tuple[Group, ...] = ()
    switch: Input | None = None
    rare: bool = False

    @property
    def all_inputs(self) -> tuple[Input, ...]:
        inner = [one for group in self.groups for one in group.all_inputs]
        return (*([self.switch] if self.switch else []), *self.inputs, *inner)


def group_of(
    section: type, keys: Sequence[str] | None = None, path: tuple[str, ...] = (), title: str = "", help: str = ""
) -> Group:
    """The inputs of a dataclass, or of some of its fields. Lists of named items are not among them: see sections."""
    hints = get_type_hints(section, include_extras=True)
    inputs, groups = [], []
    for each in fields(section):
        if keys is not None and each.name not in keys:
            continue
        hint, here = hints[each.name], (*path, each.name)
        inner = _bare(hint)
        if is_dataclass(inner):
            optional = inner is not hint
            groups.append(_inner(section, each.name, inner, here, optional))  # type: ignore[arg-type]
        elif not _is_items(hint):
            inputs.append(_input(section, each, hint, here))
    return Group(path, title, help, tuple(inputs), tuple(groups))


def _inner(section: type, name: str, inner: type, here: tuple[str, ...], optional: bool) -> Group:
    made = group_of(inner, None, here, TITLES.get(name, ""))
    if not optional:
        return made
    label, help = switch_of(name)
    rare = name in ("times", "options_from")
    switch = Input((*here, "on"), "yesno", label, help, default=False)
    return Group(here, "", "", made.inputs, made.groups, switch, rare)


def _bare(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        [inner] = [each for each in get_args(hint) if each is not type(None)]
        return inner
    return hint


def _is_items(hint: Any) -> bool:
    return get_origin(hint) is tuple and is_dataclass(get_args(hint)[0]) and get_args(hint)[0] is not OptionDefinition


def _input(section: type, each: Field[Any], hint: Any, path: tuple[str, ...]) -> Input:
    label, help, rare = words_of(section, each.name)
    default = each.default if each.default_factory is MISSING else each.default_factory()
    inner = _bare(hint)
    choices: tuple[tuple[str, str], ...] = ()
    origin = get_origin(inner)
    if origin is Annotated:
        kind = "code"
    elif origin is Literal:
        kind = "choice"
        choices = tuple((value, CHOICES.get(value, value.replace("_", " "))) for value in get_args(inner))
    elif origin is tuple:
        kind = {int: "statuses", str: "lines", OptionDefinition: "options"}[get_args(inner)[0]]
    elif origin is Mapping:
        kind = "values" if get_args(inner)[1] is Any else "pairs"
    else:
        kind = {str: "text", bool: "yesno", int: "whole", float: "number", Any: "json"}[inner]
    if section.__name__ == "Webhook" and each.name == "help":
        kind = "long"
    needed = default is MISSING
    only = ONLY_WHERE.get(section, {}).get(each.name)
    sibling = (JOIN.join((*path[:-1], only[0])), only[1]) if only else None
    return Input(path, kind, label, help, choices, None if needed else default, not needed, rare, sibling)


# There: plain data → texts. --------------------------------------------------------------------------------------


def texts_of(group: Group, part: Any) -> dict[str, Any]:
    """What stands in the inputs for `part`, the plain data that the section edits."""
    found: dict[str, Any] = {}
    for one in group.inputs:
        found[one.name] = _text(one, _look(part, one.path, one.default))
    if group.switch:
        found[group.switch.name] = _look(part, group.path, None) is not None
    for inner in group.groups:
        found |= texts_of(inner, part)
    return found


def default_text(one: Input) -> Any:
    """What stands in an input that nobody touched."""
    return _text(one, one.default)


def _look(part: Any, path: Sequence[str], default: Any) -> Any:
    for key in path:
        if not isinstance(part, Mapping) or key not in part:
            return default
        part = part[key]
    return part


def _text(one: Input, value: Any) -> Any:
    match one.kind:
        case "yesno":
            return bool(value)
        case "statuses":
            return ", ".join(str(each) for each in value or ())
        case "lines":
            return "\n".join(value or ())
        case "pairs" | "values":
            return "\n".join(f"{name} = {_one_line(each, one.kind)}" for name, each in (value or {}).items())
        case "options":
            return "\n".join(_option_line(each) for each in value or ())
        case "json":
            return "" if value is None else as_text(value)
        case "whole" | "number":
            return "" if value is None else str(value).removesuffix(".0")
    return "" if value is None else str(value)


def _one_line(value: Any, kind: str) -> str:
    if kind == "values":
        return as_text(value)
    odd = "\n" in value or value != value.strip() or value.startswith('"')
    return json.dumps(value, ensure_ascii=False) if odd else str(value)


def _option_line(option: Any) -> str:
    given = option if isinstance(option, Mapping) else written(option)
    value = as_text(given.get("value"))
    if isinstance(given.get("value"), str) and " = " in value and not value.startswith('"'):
        value = json.dumps(given["value"], ensure_ascii=False)
    return f"{value} = {given['name']}" if given.get("name") else value


def as_text(value: Any) -> str:
    """A JSON value as people type it: a text without quotes where it cannot be taken for anything else."""
    if isinstance(value, str) and value and value == value.strip() and "\n" not in value and _plain(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def as_value(text: str) -> Any:
    """The JSON value that was typed. Raises ValueError for what begins like JSON and is none."""
    text = text.strip()
    if text[:1] in ("{", "[", '"') and not _is_template(text):
        return json.loads(text)
    return _plain(text)


def _is_template(text: str) -> bool:
    """Whether it begins like JSON and is a text like {id}."""
    return text[:1] == "{" and text[1:2].isidentifier()


# And back: texts → plain data. -----------------------------------------------------------------------------------


def part_of(group: Group, texts: Texts) -> tuple[dict[str, Any], dict[str, str]]:
    """(plain data without what is at its default, {input name: what is wrong}). What a switch leaves out is absent."""
    part: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    _fill(group, texts, part, wrong)
    return part, wrong


def _fill(group: Group, texts: Texts, part: dict[str, Any], wrong: dict[str, str]) -> None:
    if group.switch:
        if not texts.get(group.switch.name):
            return
        _put(part, group.path, {})
    for one in group.inputs:
        if one.only and texts.get(one.only[0]) not in one.only[1]:
            continue
        try:
            value = _value(one, texts.get(one.name, False if one.kind == "yesno" else ""))
        except ValueError as error:
            wrong[one.name] = str(error)
            continue
        if not one.optional or value != _comparable(one.default):
            _put(part, one.path, value)
    for inner in group.groups:
        _fill(inner, texts, part, wrong)


def _comparable(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default


def _put(part: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for key in path[:-1]:
        part = part.setdefault(key, {})
    part[path[-1]] = value


def _value(one: Input, given: Any) -> Any:
    if one.kind == "yesno":
        return bool(given)
    text = str(given).replace("\r\n", "\n")
    if one.path[-1] not in KEPT_SPACES:
        text = text.strip()
    match one.kind:
        case "statuses":
            return [_whole(each) for each in text.replace(",", " ").split()]
        case "lines":
            return [line.strip() for line in text.split("\n") if line.strip()]
        case "pairs" | "values":
            return dict(_pair(line, one.kind) for line in text.split("\n") if line.strip())
        case "options":
            return [_option(line) for line in text.split("\n") if line.strip()]
        case "json":
            return one.default if not text else _json(text)
        case "whole":
            return one.default if not text and one.default is None else _whole(text)
        case "number":
            return _number(text)
    if not text and not one.optional:
        raise ValueError("This is needed.")
    return text


def _whole(text: str) -> int:
    if not text.strip().lstrip("-").isdecimal():
        raise ValueError(f"A whole number is expected, not “{text[:40]}”.")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"A number is expected, not “{text[:40]}”.") from None


def _json(text: str) -> Any:
    try:
        return as_value(text)
    except ValueError as error:
        raise ValueError(f"This is no JSON: {error}.") from None


def _pair(line: str, kind: str) -> tuple[str, Any]:
    name, sign, value = line.partition("=")
    if not sign or not name.strip():
        raise ValueError(f"“{line.strip()[:60]}”: a name, = and a value are expected.")
    value = value.strip()
    if kind == "values":
        return name.strip(), _json(value)
    if value.startswith('"'):
        found = _plain(value)
        value = found if isinstance(found, str) else value
    return name.strip(), value


def _option(line: str) -> dict[str, Any]:
    value, _, name = line.strip().partition(" = ")
    option = {"value": _json(value)}
    return {**option, "name": name.strip()} if name.strip() else option
