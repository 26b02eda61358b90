"""An OpenAPI document (Swagger 2, OpenAPI 3, JSON or YAML) as the beginning of a description. Pure.

`described` fills in what the document says and lists what it does not. References out of the document are not followed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import yaml

from connections.connectors.rest_definition import DefinitionError, dump, parse
from connections.connectors.rest_guess import key_of, label_of
from connections.connectors.rest_library import Plain
from connections.connectors.rest_openapi_schema import Document, type_of
from connections.connectors.rest_openapi_types import (
    Collection,
    Made,
    answer_of,
    operation,
    placeholder,
    type_of_collection,
)

LONGEST = 5_000_000  # characters; the largest vendors' documents that are worth reading whole have about this
LONGEST_YAML = 1_000_000  # YAML is read a hundred times more slowly than JSON
MOST_TYPES = 12  # object types that are filled in; a form of hundreds helps nobody
CHILDREN = re.compile(r"comments|notes|conversations|replies|messages|stories", re.IGNORECASE)
MESSAGE = ("message", "detail", "description", "title", "error_description", "error", "errorMessage")


@dataclass(frozen=True, slots=True)
class Begun:
    """A description that can be parsed. `address`: "" where the document does not say it; `gaps`: sentences."""

    document: dict[str, Any]
    address: str
    gaps: tuple[str, ...]


def read(text: str) -> dict[str, Any]:
    """The document. Raises DefinitionError for what is none."""
    if len(text) > LONGEST:
        raise DefinitionError((), f"the document is longer than {LONGEST // 1_000_000} million characters")
    whole: Any = None
    try:
        whole = json.loads(text)
    except ValueError:
        if text.lstrip().startswith("<"):
            raise DefinitionError((), "this is a page for people and no OpenAPI document") from None
        if len(text) > LONGEST_YAML:
            raise DefinitionError((), "a YAML document of this size is not read; convert it to JSON") from None
        whole = _from_yaml(text)
    except RecursionError:
        raise DefinitionError((), "it is nested too deeply") from None
    version = str(whole.get("openapi") or whole.get("swagger") or "") if isinstance(whole, dict) else ""
    if not re.match(r"[23]\.", version) or not isinstance(whole.get("paths"), dict):
        raise DefinitionError((), "this is no OpenAPI document of version 2 or 3: “openapi” and “paths” are expected")
    return dict(whole)


def _from_yaml(text: str) -> Any:
    try:
        return yaml.load(text, Plain)  # noqa: S506 - a safe loader without aliases
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise DefinitionError((), f"{where}{getattr(error, 'problem', None) or 'this is no YAML'}") from None
    except RecursionError:
        raise DefinitionError((), "it is nested too deeply") from None


def described(whole: Mapping[str, Any], name: str, base: str = "") -> Begun:
    """name: of the system, where the document has none. base: the address that the document was read from."""
    document, gaps = Document(whole), []
    title = str(document.at(whole.get("info")).get("title") or "").strip()
    made: dict[str, Any] = {"version": 1, "name": (title or name)[:100]}
    address = _address(document, base)
    if not address:
        gaps.append("The document does not say the address of the API.")
    made["authentication"] = _authentication(document, gaps)
    if errors := _errors(document):
        made["errors"] = errors
    types, asked = _types(document, gaps)
    if asked:
        made["parameters"] = [
            {"name": each, "label": label_of(each), **({"help": help} if help else {})} for each, help in asked.items()
        ]
    made["object_types"] = types
    return Begun(_valid(made, gaps), address, tuple(gaps))


# Where it is. ----------------------------------------------------------------------------------------------------


def _address(document: Document, base: str) -> str:
    whole = document.whole
    if "swagger" in whole:
        host = str(whole.get("host") or urlsplit(base).netloc)
        schemes = whole.get("schemes") if isinstance(whole.get("schemes"), list) else []
        scheme = "https" if not schemes or "https" in schemes else str(schemes[0])
        return f"{scheme}://{host}{whole.get('basePath') or ''}".rstrip("/") if host else ""
    servers = whole.get("servers")
    first = document.at(servers[0]) if isinstance(servers, list) and servers else {}
    url = str(first.get("url") or "")
    for variable, each in document.at(first.get("variables")).items():
        url = url.replace("{" + str(variable) + "}", str(document.at(each).get("default", "")))
    url = urljoin(base, url) if base else url
    return url.rstrip("/") if url.startswith(("http://", "https://")) and "{" not in url else ""


# How it is signed in. --------------------------------------------------------------------------------------------


def _authentication(document: Document, gaps: list[str]) -> dict[str, Any]:
    components = document.at(document.whole.get("components"))
    schemes = document.at(components.get("securitySchemes")) or document.at(document.whole.get("securityDefinitions"))
    asked = document.whole.get("security")
    first = [str(name) for each in asked for name in each] if isinstance(asked, list) else []
    order = [name for name in first if name in schemes] + [name for name in schemes if name not in first]
    for name in order:
        found = _sign_in(document, document.at(schemes[name]))
        if found:
            if document.at(schemes[name]).get("type") == "oauth2" and found["method"] == "bearer":
                gaps.append(
                    "Sign-in: OAuth asks a person there. Make a token for an account of ours, and enter it as a key."
                )
            return found
    what = (
        "The document's ways to sign in cannot be used here" if schemes else "The document does not say how to sign in"
    )
    gaps.append(f"Sign-in: {what.lower() if not schemes else what}. Choose one.")
    return {"method": "none"}


def _sign_in(document: Document, scheme: Mapping[str, Any]) -> dict[str, Any]:
    kind, how = str(scheme.get("type") or ""), str(scheme.get("scheme") or "").lower()
    if kind == "basic" or (kind == "http" and how == "basic"):
        return {"method": "basic"}
    if kind == "http" and how == "bearer":
        return {"method": "bearer"}
    if kind == "apiKey" and scheme.get("in") in ("header", "query") and scheme.get("name"):
        place = str(scheme["in"])
        return {"method": place, "name": str(scheme["name"]), **({"prefix": ""} if place == "header" else {})}
    if kind == "oauth2":
        flow = document.at(document.at(scheme.get("flows")).get("clientCredentials"))
        token = flow.get("tokenUrl") or (scheme.get("tokenUrl") if scheme.get("flow") == "application" else None)
        return {"method": "client_credentials", "token_path": str(token)} if token else {"method": "bearer"}
    return {}


def _errors(document: Document) -> dict[str, Any]:
    """Where an error says what is wrong, as the first error of the document that has a shape says."""
    for path in document.at(document.whole.get("paths")):
        for status, answer in document.at(operation(document, path, "get").get("responses")).items():
            if str(status)[:1] not in ("4", "5") and status != "default":
                continue
            schema, _ = answer_of(document, {"responses": {"200": answer}})
            if where := _message(document, schema):
                return {"message": where}
    return {}


def _message(document: Document, schema: Mapping[str, Any], depth: int = 0) -> str:
    properties = document.properties(schema)
    for name in MESSAGE:
        if name in properties and type_of(properties[name]) == "string":
            return key_of(name)
    for name in ("error", "errors"):
        inner = properties.get(name, {})
        if type_of(inner) == "array":
            below, step = document.schema(inner.get("items")), "[0]"
        else:
            below, step = inner, ""
        if depth == 0 and (where := _message(document, below, 1)):
            return f"{name}{step}.{where}"
    return ""


# What it has. ----------------------------------------------------------------------------------------------------


def _types(document: Document, gaps: list[str]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    found = sorted(collections_of(document), key=lambda each: -_worth(document, each))
    own = [each for each in found if not each.parent and each.item and operation(document, each.item, "get")][
        :MOST_TYPES
    ]
    kept = {each.path for each in own}
    children = [each for each in found if each.parent in kept and CHILDREN.fullmatch(_last(each.path))]
    left = [each.path for each in found if not each.parent and each.path not in kept]
    if left:
        more = f" and {len(left) - 10} more" if len(left) > 10 else ""
        what = (
            f"Lists that were left out, for their number or because one record cannot be read: {', '.join(left[:10])}"
        )
        gaps.append(f"{what}{more}. Add what you need as object types.")
    if not own:
        gaps.append("No path of the document looks like a list of records. Add an object type.")
    types: list[dict[str, Any]] = []
    asked: dict[str, str] = {}
    names: dict[str, str] = {}  # path → name of its object type
    for one in [*own, *children]:
        placed = _placeholders(one)
        name = _name(one.path, set(names.values()))
        names[one.path] = name
        made: Made = type_of_collection(document, one, name, label_of(singular(_last(one.path))), placed)
        if one.parent:
            made.type["parent"] = names[one.parent]
            made.type.get("list", {}).pop("changed", None)
        asked |= {own: "" for own in placed.values() if own not in ("id", "parent")} | made.asked
        types.append(made.type)
        if made.gaps:
            gaps.append(f"{made.type['label']}: the document does not say {'; '.join(made.gaps)}.")
    return types, asked


def collections_of(document: Document) -> list[Collection]:
    """Paths whose GET gives a list of records, each with the path of one record."""
    paths = [str(path) for path in document.at(document.whole.get("paths"))]
    items: dict[str, str] = {}
    for path in paths:
        above, _, last = path.rstrip("/").rpartition("/")
        if re.fullmatch(r"\{[^{}]+\}", last):
            items.setdefault(above, path)
    found = []
    for path in paths:
        plain = path.rstrip("/")
        listing = operation(document, path, "get")
        if not listing or plain.endswith("}") or "?" in path or ":" in path:
            continue
        answer, _ = answer_of(document, listing)
        item = items.get(plain, "")
        if document.list_in(answer, _last(path)) or (item and operation(document, item, "get") and not answer):
            above = plain.rpartition("/")[0]
            parent = next((each for each, one in items.items() if one.rstrip("/") == above), "")
            found.append(Collection(path, item, parent if parent in paths else ""))
    return found


def _worth(document: Document, one: Collection) -> int:
    """How much of a collection can be kept in agreement."""
    verbs = [operation(document, one.item, verb) for verb in ("get", "patch", "put", "delete")] if one.item else []
    able = sum(bool(each) for each in verbs) + bool(operation(document, one.path, "post"))
    return 3 * able - one.path.count("{")


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(sses|uses|xes|ches|shes)$", word):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _name(path: str, taken: set[str]) -> str:
    parts = [part for part in path.strip("/").split("/") if not part.startswith("{")]
    name = singular(parts[-1]) if parts else "record"
    for above in reversed(parts[:-1]):
        if name not in taken:
            break
        name = f"{singular(above)}_{name}"
    number, plain = 2, name
    while name in taken:
        name, number = f"{plain}_{number}", number + 1
    return name[:100]


def _placeholders(one: Collection) -> dict[str, str]:
    """What stands for each parameter of the path above the records: {parent}, or one that a connection fills in."""
    names = re.findall(r"\{([^}]+)\}", one.path)
    found = {}
    for place, name in enumerate(names):
        last = place == len(names) - 1
        found[name] = "parent" if one.parent and last else placeholder(name)
    return found


# What can be parsed. ---------------------------------------------------------------------------------------------


def _valid(made: dict[str, Any], gaps: list[str]) -> dict[str, Any]:
    """The document without what its own rules refuse, each named as a gap."""
    for _ in range(3 * MOST_TYPES + 10):
        try:
            return dump(parse(made))
        except DefinitionError as error:
            gaps.append(f"Left out, because it cannot be used as the document has it: {error}")
            _leave_out(made, error.place)
    return {"version": 1, "name": made["name"]}


def _leave_out(made: dict[str, Any], place: Sequence[str]) -> None:
    key, *rest = [*place, ""]
    if key != "object_types" or not rest[0]:
        made.pop(key, None)
        return
    types = made["object_types"]
    one = next((each for each in types if f"“{each['name']}”" == rest[0]), None)
    if one is None or len(rest) < 2 or rest[1] not in one:
        made["object_types"] = [each for each in types if each is not one] if one else []
    elif rest[1] == "fields" and len(rest) > 2 and any(f"“{each['name']}”" == rest[2] for each in one["fields"]):
        one["fields"] = [each for each in one["fields"] if f"“{each['name']}”" != rest[2]]
    else:
        del one[rest[1]]
