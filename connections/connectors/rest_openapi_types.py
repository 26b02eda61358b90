"""A collection of an OpenAPI document as an object type of a description: its list, reads, writes and fields. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connections.connectors.rest_document import NAME
from connections.connectors.rest_guess import NAMES, key_of
from connections.connectors.rest_openapi_schema import Document, Schema, fields_of, name_like, type_of
from connections.connectors.rest_rules import RESERVED

DEFAULT_SIZE = 100
VERBS = ("get", "post", "put", "patch", "delete")
# Parameters of lists, by the names they usually have.
PAGE, OFFSET = r"page|page_?(number|num|no|index)|pageno", r"offset|skip|start|start_?(at|index)|\$skip|sysparm_offset"
CURSOR = r"cursor|after|page_?token|next_?(page_?)?token|continuation(_?token)?|starting_after|page\[after\]|offset"
SIZE = r"per_?page|page_?size|limit|size|count|max_?results|\$top|page\[size\]|sysparm_limit|_limit|top"
SINCE = (
    r"(last_?)?(updat|modif|chang)(ed|e)?(_?(on|at|date))?_?(since|after|from|gte|min|start(_?date)?)"
    r"|_?since|if_?modified_?since|updated_at\[gte\]|since_?(date|time)?|changed_?since"
)
NEXT_CURSOR = r"next_?(cursor|page_?token|token|offset)|(after|end)_?cursor|cursor|offset|after|continuation"
NEXT_URL = r"next|next_?(url|link|href|page|page_url)|@odata\.nextLink|uri|href"
TOTAL = r"total|total_?(count|records|results|items|size)|count"
INSIDE = (
    "paging",
    "pagination",
    "meta",
    "links",
    "_links",
    "page",
    "next_page",
    "next",
    "cursors",
    "response_metadata",
)


@dataclass(slots=True)
class Collection:
    """A path that lists records, with the path of one of them."""

    path: str
    item: str  # "" where none is there
    parent: str = ""  # path of the collection whose records own these


@dataclass(slots=True)
class Made:
    """An object type as plain data, and what the document does not say about it."""

    type: dict[str, Any]
    gaps: list[str] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)  # parameters that every connection gives: name → help


def placeholder(name: str) -> str:
    """The name of a connection's parameter for a name of the document's."""
    own = re.sub(r"\W+", "_", name).strip("_")
    own = own if NAME.fullmatch(own) else f"p_{own}"
    return f"{own}_" if own in RESERVED else own


def operation(document: Document, path: str, verb: str) -> Mapping[str, Any]:
    """An operation with the parameters of its path; {} where there is none."""
    whole = document.at(document.at(document.whole.get("paths")).get(path))
    found = whole.get(verb)
    if not isinstance(found, Mapping):
        return {}
    shared = whole.get("parameters") if isinstance(whole.get("parameters"), list) else []
    own = found.get("parameters") if isinstance(found.get("parameters"), list) else []
    return {**found, "parameters": [*own, *shared]}  # type: ignore[misc]


def answer_of(document: Document, found: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """(schema of the first success with JSON, its headers)."""
    for status, answer in sorted(document.at(found.get("responses")).items(), key=lambda pair: str(pair[0])):
        if str(status)[:1] == "2":
            whole = document.at(answer)
            schema = whole.get("schema") or _json_schema(document, whole)
            if schema:
                return document.schema(schema), document.at(whole.get("headers"))
    return {}, {}


def _json_schema(document: Document, whole: Mapping[str, Any]) -> Any:
    for kind, content in document.at(whole.get("content")).items():
        if "json" in str(kind) or kind == "*/*":
            return document.at(content).get("schema")
    return None


def body_of(document: Document, found: Mapping[str, Any]) -> tuple[dict[str, Any], str] | None:
    """(schema of what is sent, its content type). None where it takes no JSON."""
    for parameter in map(document.at, found.get("parameters", [])):
        if parameter.get("in") == "body":
            return document.schema(parameter.get("schema")), "application/json"
    content = document.at(document.at(found.get("requestBody")).get("content"))
    kinds = [str(kind) for kind in content if "json" in str(kind) or kind == "*/*"]
    kinds.sort(key=lambda kind: "merge-patch" in kind)
    if not kinds:
        return None
    merge = kinds[0] == "application/merge-patch+json"
    schema = document.schema(document.at(content[kinds[0]]).get("schema"))
    return schema, kinds[0] if merge else "application/json"


def type_of_collection(document: Document, one: Collection, name: str, label: str, names: Mapping[str, str]) -> Made:
    """names: path parameter → placeholder, for those above the record."""
    made = Made({"name": name, "label": label})
    listing = operation(document, one.path, "get")
    answer, headers = answer_of(document, listing)
    where = document.list_in(answer, one.path.rstrip("/").rsplit("/", 1)[-1])
    reading = operation(document, one.item, "get") if one.item else {}
    single, _ = answer_of(document, reading)
    at, record = document.record_in(single, NAMES["id"])
    if where and len(document.properties(where[1])) > len(document.properties(record)):
        record = where[1]
    made.type["place"] = place = _place(document, record, one.item, made)
    made.type["list"] = _list(document, one, listing, answer, headers, where[0] if where else "@", names, made)
    if not where:
        made.gaps.append("where the list has its records")
    _changed(document, listing, record, place, made)
    below = _filled(one.item, names) if one.item else ""
    if reading:
        made.type["read"] = {"path": below, "record": at}
    elif not one.parent:
        made.gaps.append("how one record is read")
    created = _create(document, one, names, made)
    updated = _update(document, one, below, made)
    if operation(document, one.item, "delete"):
        made.type["delete"] = {"path": below}
    known = [place.get("id", "id"), *(place[part] for part in ("updated_at", "created_at", "version") if part in place)]
    made.type["fields"] = fields_of(document, record, created, updated, known)
    if not made.type["fields"]:
        made.gaps.append("which fields a record has")
    return made


def _filled(path: str, names: Mapping[str, str]) -> str:
    """A path with our placeholders; the last parameter of an item's path is {id}."""
    return re.sub(r"\{([^}]+)\}", lambda found: "{" + names.get(found[1], "id") + "}", path)


def _place(document: Document, record: Schema, item: str, made: Made) -> dict[str, Any]:
    properties = document.properties(record)
    lower = {name.lower(): name for name in properties}
    place: dict[str, Any] = {}
    # The id is what the path of one record is filled with: GitHub's issues are asked for by their number.
    asked = item.rstrip("/").rpartition("{")[2].removesuffix("}")
    for name in (asked, re.sub(r".*_|.*[a-z](?=[A-Z])", "", asked)):
        if name.lower() in lower:
            place.setdefault("id", key_of(lower[name.lower()]))
    for part, names in NAMES.items():
        found = next((lower[name] for name in names if name in lower), None)
        if part not in place and found is not None and (not part.endswith("_at") or _is_time(properties[found])):
            place[part] = key_of(found)
    if "id" not in place:
        made.gaps.append("where a record has its id")
    if "updated_at" not in place and "version" not in place:
        made.gaps.append("where a record has its version or the time of its last change")
    if place.get("id") == "id":
        del place["id"]
    return place


def _is_time(schema: Schema) -> bool:
    return type_of(schema) in ("string", "integer", "number", "")


def _list(
    document: Document, one: Collection, found: Mapping[str, Any], answer: Schema, headers: Mapping[str, Any],
    records: str, names: Mapping[str, str], made: Made,
) -> dict[str, Any]:  # fmt: skip
    listing: dict[str, Any] = {"path": _filled(one.path, names), "records": records}
    queries = {str(each.get("name")): each for each in _queries(document, found)}
    paging = _paging(document, queries, answer, headers)
    if paging["style"] == "none":
        made.gaps.append("how its list goes on after the first page")
    listing["paging"] = paging
    fixed = {}
    taken = {paging.get("parameter"), paging.get("size_parameter")}
    for name, each in queries.items():
        if each.get("required") and name not in taken:
            fixed[name] = _fixed(name, each, made)
    if fixed:
        listing["parameters"] = fixed
    return listing


def _queries(document: Document, found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in map(document.at, found.get("parameters", [])) if each.get("in") == "query"]


def _fixed(name: str, each: Mapping[str, Any], made: Made) -> str:
    """The value of a parameter that the list needs; where the document has none, each connection gives it."""
    schema = each.get("schema") if isinstance(each.get("schema"), Mapping) else each
    value = schema.get("default") if schema else None
    if value is None and schema and isinstance(schema.get("enum"), list) and schema["enum"]:
        value = schema["enum"][0]
    if value is not None and not isinstance(value, dict | list):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return text.replace("{", "{{").replace("}", "}}")
    own = placeholder(name)
    made.asked[own] = str(each.get("description") or "")[:300]
    return "{" + own + "}"


def _paging(
    document: Document, queries: Mapping[str, Any], answer: Schema, headers: Mapping[str, Any]
) -> dict[str, Any]:
    names = list(queries)
    size_name = name_like(names, SIZE)
    paging: dict[str, Any] = {"style": "none"}
    cursor, next_cursor = name_like(names, CURSOR), _inside(document, answer, NEXT_CURSOR, ("string",))
    address = _inside(document, answer, NEXT_URL, ("string",))
    page, offset = name_like(names, PAGE), name_like(names, OFFSET)
    if any(str(name).lower() == "link" for name in headers):
        paging["style"] = "link_header"
    elif cursor and next_cursor and next_cursor != cursor:
        paging |= {"style": "cursor", "parameter": cursor, "cursor": next_cursor}
    elif address:
        paging |= {"style": "next_url", "next": address}
    elif page or offset:
        paging |= {"style": "page" if page else "offset", "parameter": page or offset}
        if total := _inside(document, answer, TOTAL, ("integer", "number")):
            paging["total"] = total
    if size_name and size_name != paging.get("parameter"):
        schema = document.schema(queries[size_name].get("schema") or queries[size_name])
        most = schema.get("maximum")
        paging |= {"size_parameter": size_name}
        if isinstance(most, int) and 0 < most < DEFAULT_SIZE:
            paging["size"] = most
    return paging


def _inside(document: Document, answer: Schema, pattern: str, kinds: tuple[str, ...], depth: int = 0) -> str:
    """Where an answer has a value of such a name: on top, or within its groups about paging."""
    properties = document.properties(answer) if type_of(answer) == "object" else {}
    fitting = [name for name, each in properties.items() if type_of(each) in kinds]
    if found := name_like(fitting, pattern):
        return key_of(found)
    for name in INSIDE:
        if (
            depth < 3
            and name in properties
            and (inner := _inside(document, properties[name], pattern, kinds, depth + 1))
        ):
            return f"{key_of(name)}.{inner}"
    return ""


def _changed(
    document: Document, found: Mapping[str, Any], record: Schema, place: Mapping[str, Any], made: Made
) -> None:
    queries = {str(each.get("name")): each for each in _queries(document, found)}
    name = name_like(list(queries), SINCE)
    if not name or "updated_at" not in place:
        made.gaps.append("how its list is asked for what changed (until then every poll reads all of it)")
        return
    # Nothing says in which order it comes; an order that is taken for granted would lose changes.
    changed: dict[str, Any] = {"parameter": name, "oldest_first": False}
    schema = document.schema(queries[name].get("schema") or queries[name])
    if type_of(schema) in ("integer", "number"):
        changed["times"] = {"format": "epoch"}
    made.type["list"]["changed"] = changed


def _create(document: Document, one: Collection, names: Mapping[str, str], made: Made) -> dict[str, Any]:
    found = operation(document, one.path, "post")
    body = body_of(document, found) if found else None
    if not found or body is None:
        return {}
    wrap, sent = _unwrapped(document, body[0])
    answer, _ = answer_of(document, found)
    create: dict[str, Any] = {"path": _filled(one.path, names)}
    if wrap:
        create["wrap"] = wrap
    if document.properties(answer):
        create["record"] = document.record_in(answer, NAMES["id"])[0]
    made.type["create"] = create
    return sent


def _update(document: Document, one: Collection, below: str, made: Made) -> dict[str, Any]:
    for verb in ("patch", "put", "post"):
        found = operation(document, one.item, verb) if one.item else {}
        body = body_of(document, found) if found else None
        if body is None:
            continue
        wrap, sent = _unwrapped(document, body[0])
        answer, _ = answer_of(document, found)
        update: dict[str, Any] = {"path": below, "method": verb.upper()}
        if wrap:
            update["wrap"] = wrap
        if body[1] != "application/json":
            update["content_type"] = body[1]
        if document.properties(answer):
            update["record"] = document.record_in(answer, NAMES["id"])[0]
        made.type["update"] = {key: value for key, value in update.items() if (key, value) != ("method", "PATCH")}
        if verb == "put":
            made.gaps.append("whether a PUT wants the whole record (then tick it under Write)")
        return sent
    return {}


def _unwrapped(document: Document, schema: Schema) -> tuple[str, dict[str, Any]]:
    """(what the values lie in, the schema of the values)."""
    properties = document.properties(schema)
    if len(properties) == 1:
        [(name, inner)] = properties.items()
        if type_of(inner) == "object" and document.properties(inner):
            return name, inner
    return "", dict(schema)
