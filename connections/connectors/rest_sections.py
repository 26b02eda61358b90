"""The sections of the form of a description: what each edits, where it is in the document, and what follows. Pure.

A section has an address: "system", "type.0.list", "type.0.field.2"; "type.0.field.new" is one that is not there yet.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from connections.connectors import rest_definition as d
from connections.connectors.rest_guess import PLAIN_KEY
from connections.connectors.rest_inputs import Group, group_of, part_of, texts_of

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of section. keys: those of its group of settings that it edits; None: all of them."""

    title: str
    help: str
    of: type
    keys: tuple[str, ...] | None
    tries: bool = True


WHOLE: dict[str, Kind] = {
    "system": Kind(
        "System", "What it is called and where it is.", d.Definition, ("name", "address_help", "notes", "headers")
    ),
    "sign-in": Kind(
        "Sign-in",
        "How each call shows who we are. Secrets are kept apart from the description, encrypted, and never exported.",
        d.Definition,
        ("authentication",),
    ),
    "who": Kind(
        "Who we are",
        "Our own writes are told from people's by our account, so a call that names it is worth having.",
        d.Definition,
        ("account", "people"),
    ),
    "answers": Kind(
        "Answers",
        "What holds for all calls: errors, limits, and how times are written. The defaults fit most systems.",
        d.Definition,
        ("errors", "limits", "times"),
    ),
    "bell": Kind("Bell", "Webhooks, where the system can send them.", d.Definition, ("webhook",)),
}
OF_TYPE: dict[str, Kind] = {
    "": Kind(
        "Object type",
        "A kind of record, like tickets. Where something is in a record is said in JMESPath: a key, or keys joined by "
        "dots. The try beside the list proposes them.",
        d.ObjectType,
        ("name", "label", "parent", "link", "place"),
    ),
    "list": Kind(
        "List", "How its records are listed, page by page, and what changed since a moment.", d.ObjectType, ("list",)
    ),
    "read": Kind(
        "Read", "Each record is read again before anything is written to it.", d.ObjectType, ("read", "read_many")
    ),
    "write": Kind(
        "Write",
        "What is not ticked is not done: a mapping then reads only, or creates nothing.",
        d.ObjectType,
        ("create", "update", "delete", "condition", "key", "trust"),
    ),
}
ITEMS: dict[str, tuple[str, Kind]] = {  # in an address → (key of the list that holds it, what it is)
    "parameter": (
        "parameters",
        Kind("Parameter", "Something each connection fills in, for use as {name}.", d.Parameter, None, False),
    ),
    "field": ("fields", Kind("Field", "A field that rules of mappings can use.", d.FieldDefinition, None, False)),
    "scope": ("scope", Kind("Filter", "A filter that a mapping may set.", d.Scope, None, False)),
}
ADDRESS = re.compile(
    r"(system|sign-in|who|answers|bell)|parameter\.(\d{1,3}|new)|"
    r"type\.(\d{1,3}|new)(?:\.(list|read|write)|\.(field|scope)\.(\d{1,3}|new))?"
)
NEW = "new"
PLACES = frozenset(each.name for each in fields(d.Place))


@dataclass(frozen=True, slots=True)
class Section:
    """A section at its address. `way`: keys and numbers that lead to the group it edits; the last may be "new"."""

    where: str
    kind: Kind
    way: tuple[str | int, ...]

    @property
    def group(self) -> Group:
        return group_of(self.kind.of, self.kind.keys)

    @property
    def is_new(self) -> bool:
        return NEW in self.way

    @property
    def type_number(self) -> int | None:
        number = self.way[1] if self.way[:1] == ("object_types",) else None
        return number if isinstance(number, int) else None


def section_at(where: str) -> Section | None:
    """None for an address that means nothing."""
    found = ADDRESS.fullmatch(where)
    if not found:
        return None
    whole, parameter, type_number, part, item, item_number = found.groups()
    if whole:
        return Section(where, WHOLE[whole], ())
    if parameter:
        return Section(where, ITEMS["parameter"][1], ("parameters", _number(parameter)))
    way: tuple[str | int, ...] = ("object_types", _number(type_number))
    if item:
        key, kind = ITEMS[item]
        return Section(where, kind, (*way, key, _number(item_number)))
    return Section(where, OF_TYPE[part or ""], way)


def _number(text: str) -> str | int:
    return NEW if text == NEW else int(text)


def found_at(document: Document, section: Section) -> Any:
    """The group of settings that a section edits; None where there is none."""
    group: Any = document
    for step in section.way:
        if step == NEW:
            return {} if section.way[-1] == NEW else None
        if isinstance(step, int):
            if not isinstance(group, Sequence) or step >= len(group):
                return None
            group = group[step]
        else:
            group = group.get(step, [])
    return group


def texts_at(document: Document, section: Section) -> dict[str, Any]:
    return texts_of(section.group, {**suggested(document, section), **(found_at(document, section) or {})})


def with_part(document: Document, section: Section, part: Mapping[str, Any]) -> dict[str, Any]:
    """The document with this section as entered; new ones come last."""
    whole: dict[str, Any] = copy.deepcopy(dict(document))
    own = section.kind.keys
    if not section.way:
        return {**{key: value for key, value in whole.items() if own and key not in own}, **part}
    *way, last = section.way
    holder: Any = whole
    for step in way:
        holder = holder[step] if isinstance(step, int) else holder.setdefault(step, [])
    if last == NEW:
        holder.append(dict(part))
    else:
        kept = {key: value for key, value in holder[last].items() if own and key not in own}
        holder[last] = {**kept, **part}
    return whole


def without(document: Document, section: Section) -> dict[str, Any]:
    """The document without this object type, field, filter or parameter."""
    whole: dict[str, Any] = copy.deepcopy(dict(document))
    *way, last = section.way
    holder: Any = whole
    for step in way:
        holder = holder[step]
    del holder[last]
    return whole


def entered(document: Document, section: Section, texts: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """(the document with what was entered, {input name: what is wrong with it})."""
    part, wrong = part_of(section.group, texts)
    return with_part(document, section, part), wrong


def suggested(document: Document, section: Section) -> dict[str, Any]:
    """What a section that is still empty begins with: what follows from the list's path, and from what lies around a
    record that is read. Nothing is kept unsaved."""
    one = found_at(document, section)
    if section.kind is OF_TYPE["list"] and one is not None and "list" not in one:
        return {"list": {}}
    path = ((one or {}).get("list") or {}).get("path", "") if section.type_number is not None else ""
    if not path or "?" in path or one.get("parent"):
        return {}
    stem = path.rstrip("/").removesuffix(".json")
    below = stem + "/{id}" + path.rstrip("/").removeprefix(stem)
    if section.kind is OF_TYPE["read"] and not {"read", "read_many"} & set(one):
        return {"read": {"path": below}}
    if section.kind is OF_TYPE["write"] and not {"create", "update", "delete"} & set(one):
        around = ((one.get("read") or {}).get("record") or "@").strip()
        wrap = {"wrap": around} if PLAIN_KEY.fullmatch(around) else {}
        # Not where the answer of an update has its record: many answer with nothing, and it is read then.
        record = {"record": around} if wrap else {}
        return {"create": {"path": path, **wrap, **record}, "update": {"path": below, **wrap}}
    return {}


# Where something is told. ----------------------------------------------------------------------------------------


def where_of(document: Document, place: Sequence[str]) -> str:
    """The section that holds a place of a DefinitionError; "system" for what is nowhere."""
    key, *rest = [*place, ""]
    for name, kind in WHOLE.items():
        if kind.keys and key in kind.keys:
            return name
    if key == "parameters":
        return _item("parameter", document.get("parameters", []), rest)
    if key != "object_types":
        return "system"
    number = _index(document.get("object_types", []), rest[0])
    if number is None:
        return "system"
    here = f"type.{number}"
    inner = rest[1] if len(rest) > 1 else ""
    for item, (items, _) in ITEMS.items():
        if inner == items:
            return _item(f"{here}.{item}", document["object_types"][number].get(items, []), rest[2:])
    for part, kind in OF_TYPE.items():
        if part and kind.keys and inner in kind.keys:
            return f"{here}.{part}"
    return here


def _item(prefix: str, items: Sequence[Any], rest: Sequence[str]) -> str:
    number = _index(items, rest[0] if rest else "")
    return f"{prefix}.{number}" if number is not None else prefix.rpartition(".")[0] or "system"


def _index(items: Sequence[Any], step: str) -> int | None:
    """Which entry “name” or “entry 3” of a place means."""
    for number, each in enumerate(items):
        if isinstance(each, Mapping) and step == f"“{each.get('name')}”":
            return number
    entry = step.removeprefix("entry ")
    return int(entry) - 1 if entry.isdecimal() and 0 < int(entry) <= len(items) else None


def input_of(section: Section, place: Sequence[str]) -> str:
    """The name of the input that a place means; "" where it means the whole section."""
    names = {one.path: one.name for one in section.group.all_inputs}
    steps = [step for step in place if step]
    for start in range(len(steps)):
        for end in range(len(steps), start, -1):
            part = tuple(steps[start:end])
            if part in names:
                return names[part]
            if (*part, "on") in names:
                return names[*part, "on"]
    return ""


def gaps_with_places(document: Document, definition: d.Definition) -> list[tuple[str, str]]:
    """[(what is missing, the section it is told at)]: what stops the use of a description."""
    if not definition.object_types:
        return [("There is no object type yet.", "type.new")]
    found = []
    for number, each in enumerate(definition.object_types):
        alone = d.Definition(name=definition.name, object_types=(each,))
        for gap in d.gaps(alone):
            part = ".list" if "no list" in gap else ".read" if "to read one" in gap else ""
            part = ".field.new" if "no fields" in gap and each.list else part
            part = ".list" if "no fields" in gap and each.list and each.list.path else part
            found.append((gap, f"type.{number}{part}"))
    return found
