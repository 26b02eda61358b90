"""Schemas of an OpenAPI document: references followed within it, parts put together, and fields made of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connections.connectors.rest_guess import PLAIN_KEY, key_of, label_of

DEEPEST = 12  # references and parts followed below one another
MOST_FIELDS = 150
MOST_OPTIONS = 300
MOST_BESIDE = 3  # parts of an answer that wraps one record: the record, and what is said about the answer
# Where a list's answer usually has its records; the first that is there counts.
RECORDS = ("data", "items", "results", "records", "value", "values", "result", "entries", "rows")
WHOLE_RECORD = ("data", "result", "item", "record", "value")

Schema = Mapping[str, Any]


class Document:
    """An OpenAPI document whose references lead only to places within it."""

    def __init__(self, whole: Mapping[str, Any]) -> None:
        self.whole = whole

    def at(self, value: Any) -> Mapping[str, Any]:
        """What stands at a place, or what its reference names; {} where it leads nowhere or out of the document."""
        for _ in range(DEEPEST):
            if not isinstance(value, Mapping):
                return {}
            reference = value.get("$ref")
            if not isinstance(reference, str):
                return value
            if not reference.startswith("#/"):
                return {}
            value = self.whole
            for step in reference[2:].split("/"):
                step = step.replace("~1", "/").replace("~0", "~").replace("%7B", "{").replace("%7D", "}")
                value = value.get(step) if isinstance(value, Mapping) else None
        return {}

    def schema(self, value: Any, depth: int = 0) -> dict[str, Any]:
        """A schema with its `allOf` put together; of alternatives, the first that says something."""
        found = dict(self.at(value))
        if depth > DEEPEST:
            return {}
        for part in _listed(found.pop("allOf", [])):
            inner = self.schema(part, depth + 1)
            found = {
                **inner,
                **found,
                "properties": {**_mapped(inner.get("properties")), **_mapped(found.get("properties"))},
                "required": [*_listed(inner.get("required")), *_listed(found.get("required"))],
            }
        for word in ("oneOf", "anyOf"):
            for part in _listed(found.get(word)):
                inner = self.schema(part, depth + 1)
                if inner and type_of(inner) != "null" and not found.get("properties") and not found.get("type"):
                    found = {**inner, **{key: value for key, value in found.items() if key != word}}
        return found

    def properties(self, schema: Schema) -> dict[str, dict[str, Any]]:
        return {str(name): self.schema(each) for name, each in _mapped(schema.get("properties")).items()}

    def list_in(self, schema: Schema, hint: str = "") -> tuple[str, dict[str, Any]] | None:
        """(where an answer has its list of objects, one object's schema)."""
        return self._list_in(schema, hint, 0)

    def _list_in(self, schema: Schema, hint: str, depth: int) -> tuple[str, dict[str, Any]] | None:
        if type_of(schema) == "array":
            item = self.schema(schema.get("items"))
            return ("@", item) if type_of(item) == "object" else None
        properties = self.properties(schema) if depth < 3 else {}
        order = [name for name in (hint, *RECORDS) if name in properties]
        order += [name for name in properties if name not in order]
        for name in order:
            found = self._list_in(properties[name], "", 3) if type_of(properties[name]) == "array" else None
            if found:
                return key_of(name), found[1]
        for name in [name for name in order if name in WHOLE_RECORD and type_of(properties[name]) == "object"]:
            found = self._list_in(properties[name], hint, depth + 1)
            if found and found[0] != "@":
                return f"{key_of(name)}.{found[0]}", found[1]
        return None

    def record_in(self, schema: Schema, ids: Sequence[str]) -> tuple[str, dict[str, Any]]:
        """(where an answer has one record, "@" where it is the whole answer; its schema)."""
        properties = self.properties(schema)
        if not any(id in properties for id in ids):
            inner = [
                (name, each)
                for name, each in properties.items()
                if type_of(each) == "object" and each.get("properties") and not name.startswith("_")
            ]
            alone = len(inner) == 1 and len(properties) <= MOST_BESIDE
            if inner and (alone or inner[0][0] in WHOLE_RECORD):
                return key_of(inner[0][0]), inner[0][1]
        return "@", dict(schema)


def type_of(schema: Schema) -> str:
    """string, number, integer, boolean, array, object; "" where it is not said."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "")
    if not kind and schema.get("properties"):
        return "object"
    if not kind and schema.get("items"):
        return "array"
    return kind if isinstance(kind, str) else ""


def fields_of(document: Document, record: Schema, create: Schema, update: Schema, known: Sequence[str]) -> list[Any]:
    """Field definitions, as plain data, of what a record has. create, update: what may be sent; {}: not said."""
    needed = {str(name) for name in _listed(create.get("required"))}
    creatable, writable = _sendable(document, create), _sendable(document, update)
    found = []
    for way, schema in _leaves(document, record):
        name = ".".join(key_of(key) for key in way)
        made = _field(document, name, way, schema)
        if made is None or name in known:
            continue
        read_only = bool(schema.get("readOnly"))
        if read_only or (creatable is not None and way[0] not in creatable):
            made["creatable"] = False
        if read_only or (writable is not None and way[0] not in writable):
            made["writable"] = False
        if way[0] in needed and len(way) == 1 and made.get("creatable", True):
            made["required"] = True
        found.append(made)
    return found[:MOST_FIELDS]


def _sendable(document: Document, schema: Schema) -> set[str] | None:
    properties = document.properties(schema)
    return {name for name, each in properties.items() if not each.get("readOnly")} if properties else None


def _leaves(document: Document, record: Schema) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The parts of a record: its own, and those of groups that lie one level below."""
    for name, schema in document.properties(record).items():
        inner = document.properties(schema) if type_of(schema) == "object" else {}
        if not inner:
            yield (name,), schema
        for below, each in inner.items():
            if type_of(each) != "object":
                yield (name, below), each


def _field(document: Document, name: str, way: Sequence[str], schema: Schema) -> dict[str, Any] | None:
    """None for what no field can hold: lists of objects, and groups whose parts are not said."""
    made: dict[str, Any] = {"name": name, "label": label_of(".".join(way))}
    plain = all(PLAIN_KEY.fullmatch(key) for key in way)
    if not plain:
        made["write"] = ".".join(way)
    kind, options = type_of(schema), schema.get("enum")
    if kind == "array":
        item = document.schema(schema.get("items"))
        if type_of(item) in ("object", "array"):
            return None
        kind, options, made["kind"] = "string", item.get("enum"), "set"
    elif kind == "object":
        return None
    given = _options(options)
    if given and kind != "boolean":
        made |= {"kind": made.get("kind", "option"), "options": given}
    elif "kind" not in made:
        made["kind"] = _kind(kind, str(schema.get("format") or ""))
    longest = schema.get("maxLength")
    if made["kind"] == "text" and isinstance(longest, int) and 0 < longest < 10**9:
        made["max_length"] = longest
    if made["kind"] == "text":
        del made["kind"]
    return made


def _kind(kind: str, form: str) -> str:
    if kind in ("integer", "number"):
        return "number"
    if kind == "boolean":
        return "boolean"
    return {"date": "date", "date-time": "datetime"}.get(form, "text")


def _options(values: Any) -> list[dict[str, Any]]:
    seen = {str(each): each for each in _listed(values) if isinstance(each, str | int | float) and each != ""}
    return [{"value": each} for each in list(seen.values())[:MOST_OPTIONS]]


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else []


def _mapped(value: Any) -> dict[Any, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def name_like(names: Sequence[str], pattern: str) -> str:
    """The first of the names that is like a pattern, in any case; "" where none is."""
    expression = re.compile(pattern, re.IGNORECASE)
    return next((name for name in names if expression.fullmatch(name)), "")
