"""Check HTTP traffic against evidence the project does not own: vendors' API descriptions and recorded answers.

The evidence lies outside the repository (`SYNCADMIN_EVIDENCE`, default `../shared`) and is never copied into it.
Tests that need it carry `needs_evidence` and are skipped with a visible reason where the folder is absent.

Requests are checked strictly: path, method, parameters and body must be what the description allows. Answers are
checked for names and types only, because live answers of these vendors are full of nulls and leave out keys their
own descriptions call required.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import jsonschema
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4, DRAFT202012

EVIDENCE = Path(os.environ.get("SYNCADMIN_EVIDENCE") or Path(__file__).resolve().parents[3] / "shared")

needs_evidence = pytest.mark.skipif(
    not (EVIDENCE / "specs").is_dir(),
    reason=f"the evidence folder is absent: no API descriptions under {EVIDENCE} (set SYNCADMIN_EVIDENCE)",
)

METHODS = {"get", "put", "post", "delete", "patch", "options", "head"}

# Set by the HTTP client or checked by the login, never part of what an operation declares.
CLIENT_HEADERS = {"authorization", "accept", "content-type", "content-length", "user-agent", "host", "connection"}

# Operations that recorded answers prove although the description leaves them out: {spec: {template: methods}}.
RECORDED_OPERATIONS: dict[str, dict[str, set[str]]] = {
    "salesforce": {
        # nextRecordsUrl in payloads/salesforce/query_first_page_next_url.json
        "/services/data/v{version}/query/{locator}": {"get"},
        # upsert by external id, payloads/salesforce/upsert_created.json
        "/services/data/v{version}/sobjects/{SOBJECT_API_NAME}/{FIELD_NAME}/{FIELD_VALUE}": {"patch"},
        "/services/data/v{version}/composite/sobjects/{SOBJECT_API_NAME}/{FIELD_NAME}": {"patch"},
    },
    "github": {
        # the vendor's documentation: the description holds the parts about issues alone ("Get a repository", "Get the
        # authenticated app", "Generating an installation access token for a GitHub App"); where a 301 leads to
        "/repos/{owner}/{repo}": {"get"},
        "/repositories/{repository_id}": {"get"},
        "/repositories/{repository_id}/issues": {"get"},
        "/repositories/{repository_id}/issues/{issue_number}": {"get"},
        "/repos/{owner}/{repo}/installation": {"get"},
        "/app": {"get"},
        "/app/installations/{installation_id}/access_tokens": {"post"},
    },
    "servicenow": {
        # the vendor's documentation, "Batch API" and "OAuth API request parameters": the transcription lacks them
        "/api/now/v1/batch": {"post"},
        "/oauth_token.do": {"post"},
    },
    "zendesk": {
        # payloads/zendesk/webhook_create, and the vendor's "Webhooks" for the others: its description is another one
        "/api/v2/webhooks": {"post"},
        "/api/v2/webhooks/{webhook_id}": {"delete"},
        "/api/v2/webhooks/{webhook_id}/signing_secret": {"get"},
    },
}
# Query parameters of the same standing: {spec: names}.
RECORDED_PARAMETERS: dict[str, set[str]] = {
    # the description was converted from examples that never name the columns of one record
    "salesforce": {"fields"},
    # "Pagination" and payloads/zendesk/ticket_comments_list; the export's size of a page
    "zendesk": {"page[size]", "page[after]", "sort", "per_page"},
}
# Schemas that describe something else than what travels: {spec: names}.
WRONG_SCHEMAS: dict[str, set[str]] = {
    # lists the getters of a Java class; any JSON value is meant
    "jira_cloud": {"JsonNode"},
    # the definition of a custom field, where its value on a ticket is meant
    "zendesk": {"CustomFieldObject"},
}


class Operation:
    """One method of one path template: its parameters, request body schemas and answers."""

    def __init__(self, spec: Spec, template: str, method: str, node: Mapping[str, Any], shared: list[Any]) -> None:
        self.spec = spec
        self.template = template
        self.method = method
        self.pointer = ["paths", template, method]
        self.recorded_only = not node
        self.node = node
        parameters = [spec.resolve(p) for p in [*shared, *node.get("parameters", [])]]
        self.parameters = {(p["in"], p["name"].lower() if p["in"] == "header" else p["name"]): p for p in parameters}

    def parameter_schema(self, parameter: Mapping[str, Any]) -> dict[str, Any]:
        return self.spec.resolve(parameter.get("schema") or parameter)

    def body_schemas(self) -> tuple[dict[str, Any], bool]:
        """({media type: JSON schema}, required); the schema is None where any body goes."""
        if self.spec.swagger2:
            body = next((p for (place, _), p in self.parameters.items() if place == "body"), None)
            form = [p for (place, _), p in self.parameters.items() if place == "formData"]
            if form:
                return {"application/x-www-form-urlencoded": None}, any(p.get("required") for p in form)
            return ({"": body.get("schema")}, bool(body.get("required"))) if body else ({}, False)
        body = self.spec.resolve(self.node.get("requestBody") or {})
        return {k: v.get("schema") for k, v in body.get("content", {}).items()}, bool(body.get("required"))

    def answer(self, status: int) -> Mapping[str, Any] | None:
        answers = self.node.get("responses", {})
        for key in (str(status), f"{status // 100}XX", "default"):
            if key in answers:
                return self.spec.resolve(answers[key])
        return None

    def answer_schema(self, answer: Mapping[str, Any]) -> Any:
        if self.spec.swagger2:
            return answer.get("schema")
        content = answer.get("content", {})
        return next((v.get("schema") for k, v in content.items() if "json" in k or k == "*/*"), None)


class Spec:
    """One API description, found by request path; schemas are resolved when first needed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.document = json.loads((EVIDENCE / "specs" / f"{name}.json").read_text())
        self.swagger2 = "swagger" in self.document
        for wrong in WRONG_SCHEMAS.get(name, ()):
            self.document["components"]["schemas"][wrong] = {}
        self.bases = self._bases()
        self.operations: list[tuple[re.Pattern[str], int, dict[str, Operation]]] = []
        templates = dict(self.document["paths"])
        for template in RECORDED_OPERATIONS.get(name, {}):
            templates.setdefault(template, {})
        for template, item in templates.items():
            methods = {
                m: Operation(self, template, m, n, item.get("parameters", [])) for m, n in item.items() if m in METHODS
            }
            for method in RECORDED_OPERATIONS.get(name, {}).get(template, set()) - set(methods):
                methods[method] = Operation(self, template, method, {}, [])
            self.operations.append((_template_pattern(template), template.count("{"), methods))
        # A literal path wins over one with a variable in the same place.
        self.operations.sort(key=lambda entry: entry[1])

    def _bases(self) -> list[str]:
        if self.swagger2:
            return [self.document.get("basePath", "").rstrip("/")]
        urls = [s["url"] for s in self.document.get("servers") or [{"url": ""}]]
        return [re.sub(r"^https?://[^/]+", "", u).rstrip("/") for u in urls]

    def resolve(self, node: Any) -> Any:
        while isinstance(node, Mapping) and "$ref" in node:
            target: Any = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node

    def find(self, path: str) -> dict[str, Operation] | None:
        candidates = [path] + [path[len(b) :] for b in self.bases if b and path.startswith(b + "/")]
        for candidate in candidates:
            for pattern, _, methods in self.operations:
                if pattern.match(candidate):
                    return methods
        return None

    @functools.cached_property
    def _dialect(self) -> tuple[Any, Any]:
        modern = str(self.document.get("openapi", "")).startswith("3.1")
        return (DRAFT202012, jsonschema.Draft202012Validator) if modern else (DRAFT4, jsonschema.Draft4Validator)

    @functools.cached_property
    def _strict(self) -> Registry:
        return Registry().with_resource("urn:s", Resource(_strict_schema(self.document), self._dialect[0]))

    @functools.cached_property
    def _lenient(self) -> Registry:
        return Registry().with_resource("urn:s", Resource(_lenient_schema(self.document), self._dialect[0]))

    def errors(self, schema: Any, value: Any, strict: bool) -> list[str]:
        rewritten = _strict_schema(schema) if strict else _lenient_schema(schema)
        validator = self._dialect[1](rewritten, registry=self._strict if strict else self._lenient)
        return [
            f"{'/'.join(map(str, e.absolute_path)) or '(all)'}: {e.message[:300]}" for e in validator.iter_errors(value)
        ]


@functools.cache
def spec(name: str) -> Spec:
    """The description `specs/<name>.json`; "jira" style short names are not guessed."""
    return Spec(name.removesuffix(".json"))


def _template_pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{[^}]+\}", template)
    return re.compile(r"[^/]+?".join(re.escape(p) for p in parts) + r"/?\Z")


def _strict_schema(node: Any, names: bool = False) -> Any:
    """The OpenAPI schema in JSON Schema's words: `nullable` becomes a type, references point into the registry.

    `names`: the keys of `node` are property names, not keywords.
    """
    if isinstance(node, list):
        return [_strict_schema(n) for n in node]
    if not isinstance(node, dict):
        return node
    if names:
        return {k: _strict_schema(v) for k, v in node.items()}
    dropped = ("example", "default", "nullable", "xml")
    changed = {k: _strict_schema(v, names=k == "properties") for k, v in node.items() if k not in dropped}
    if isinstance(node.get("$ref"), str) and node["$ref"].startswith("#"):
        changed["$ref"] = "urn:s" + node["$ref"]
    if node.get("nullable") is True and isinstance(node.get("type"), str):
        changed["type"] = [node["type"], "null"]
        if isinstance(node.get("enum"), list):
            changed["enum"] = [*node["enum"], None]
    elif node.get("nullable") is True and ("oneOf" in node or "anyOf" in node):
        return {"anyOf": [changed, {"type": "null"}]}
    return changed


def _lenient_schema(node: Any, names: bool = False) -> Any:
    """Names and types only, null allowed everywhere. `names`: the keys of `node` are property names, not keywords."""
    if isinstance(node, list):
        return [_lenient_schema(n) for n in node]
    if not isinstance(node, dict):
        return node
    if names:
        return {k: _lenient_schema(v) for k, v in node.items()}
    changed: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("required", "additionalProperties", "enum", "format", "default", "example", "examples", "const"):
            continue
        if key.startswith(("min", "max", "exclusive")) or key in (
            "pattern",
            "uniqueItems",
            "discriminator",
            "multipleOf",
        ):
            continue
        if key == "$ref" and isinstance(value, str):
            changed[key] = "urn:s" + value
        elif key == "type" and isinstance(value, str | list):
            changed[key] = sorted({*([value] if isinstance(value, str) else value), "null"})
        elif key == "oneOf":
            # without required and enum several alternatives may fit
            changed["anyOf"] = _lenient_schema(value)
        else:
            changed[key] = _lenient_schema(value, names=key == "properties")
    return changed


def _pairs(query: Any) -> list[tuple[str, str]]:
    if not query:
        return []
    if isinstance(query, str | bytes):
        return parse_qsl(query.decode() if isinstance(query, bytes) else query, keep_blank_values=True)
    pairs = query.items() if isinstance(query, Mapping) else query
    flat = [(k, v) for k, values in pairs for v in (values if isinstance(values, list | tuple | set) else [values])]
    return [(k, str(v).lower() if isinstance(v, bool) else str(v)) for k, v in flat]


def _query_errors(operation: Operation, query: Any) -> list[str]:
    declared = {name: p for (place, name), p in operation.parameters.items() if place == "query"}
    pairs = _pairs(query)
    errors = []
    allowed_more = RECORDED_PARAMETERS.get(operation.spec.name, set())
    for name, value in pairs:
        parameter = declared.get(name)
        if parameter is None:
            if name not in allowed_more and not operation.recorded_only:
                errors.append(f"query parameter {name!r} is not described (described: {sorted(declared)})")
            continue
        schema = operation.parameter_schema(parameter)
        if schema.get("type") == "array":
            schema = operation.spec.resolve(schema.get("items", {}))
            values = value.split(",") if parameter.get("explode") is False else [value]
        else:
            values = [value]
        errors += [f"query parameter {name}: {v!r} is not {_wanted(schema)}" for v in values if not _fits(schema, v)]
    given = {name for name, _ in pairs}
    errors += [
        f"query parameter {n!r} is required" for n, p in declared.items() if p.get("required") and n not in given
    ]
    return errors


def _wanted(schema: Mapping[str, Any]) -> str:
    return f"one of {schema['enum']}" if "enum" in schema else f"of type {schema.get('type')}"


def _fits(schema: Mapping[str, Any], text: str) -> bool:
    kind = schema.get("type")
    if kind == "integer" and not re.fullmatch(r"-?\d+", text):
        return False
    if kind == "number" and not re.fullmatch(r"-?\d+(\.\d+)?", text):
        return False
    if kind == "boolean" and text not in ("true", "false"):
        return False
    return "enum" not in schema or text in {str(v) for v in schema["enum"]}


def _body_errors(operation: Operation, headers: Mapping[str, str], body: Any) -> list[str]:
    schemas, required = operation.body_schemas()
    if operation.recorded_only:
        return []
    if body is None or body in (b"", ""):
        return ["the body is required"] if required else []
    if not schemas and operation.method != "put":  # uploads are often described without their body
        return [f"a body is sent, but {operation.method.upper()} {operation.template} describes none"]
    media = headers.get("content-type", "").split(";")[0].strip().lower()
    if media and schemas and "" not in schemas and media not in schemas and "*/*" not in schemas:
        return [f"Content-Type {media!r} is not described (described: {sorted(schemas)})"]
    schema = schemas.get(media) or next((s for m, s in schemas.items() if "json" in m or m == ""), None)
    if media == "multipart/form-data" or not schema or schema.get("format") == "binary":
        return []
    if media == "application/x-www-form-urlencoded":
        text = body.decode() if isinstance(body, bytes) else body
        value = {k: v[-1] for k, v in parse_qs(text, keep_blank_values=True).items()} if isinstance(text, str) else text
    elif isinstance(body, bytes | str):
        try:
            value = json.loads(body)
        except ValueError as error:
            return [f"the body is not JSON: {error}"]
    else:
        value = body
    return [f"body {e}" for e in operation.spec.errors(schema, value, strict=True)]


def request_errors(
    spec_name: str,
    method: str,
    path: str,
    query: Any = None,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
) -> list[str]:
    """What the description does not allow in a request; an empty list means it is fine.

    `query`: text, mapping (values may be lists) or pairs. `body`: bytes, text or a JSON value; None means no body.
    """
    methods = spec(spec_name).find(path)
    if methods is None:
        return [f"path {path} is not described"]
    operation = methods.get(method.lower())
    if operation is None:
        return [f"{method.upper()} {path} is not described (described: {sorted(m.upper() for m in methods)})"]
    lower = {k.lower(): v for k, v in (headers or {}).items()}
    missing = [
        f"header {name!r} is required"
        for (place, name), p in operation.parameters.items()
        if place == "header" and p.get("required") and name not in lower and name not in CLIENT_HEADERS
    ]
    return _query_errors(operation, query) + missing + _body_errors(operation, lower, body)


def check_request(
    spec_name: str,
    method: str,
    path: str,
    query: Any = None,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
) -> None:
    """Fail unless the description allows this request, see request_errors."""
    errors = request_errors(spec_name, method, path, query, headers, body)
    assert not errors, f"{spec_name}: {method.upper()} {path}: " + "; ".join(errors)


def answer_errors(spec_name: str, method: str, path: str, status: int, body: Any) -> list[str]:
    """Where an answer disagrees with the description in names or types; `body`: a JSON value, text, bytes or None.

    Refusals (4xx, 5xx) the description does not list are accepted: vendors leave most of them out.
    """
    operation = (spec(spec_name).find(path) or {}).get(method.lower())
    if operation is None:
        return [f"{method.upper()} {path} is not described"]
    if operation.recorded_only:
        return []
    answer = operation.answer(status)
    if answer is None:
        return (
            []
            if status >= 400
            else [f"status {status} is not described (described: {sorted(operation.node['responses'])})"]
        )
    if status == 204:
        return [] if body in (None, "", b"") else ["a 204 carries no body"]
    schema = operation.answer_schema(answer)
    if isinstance(body, bytes | str) and body and schema and status < 400:
        try:
            body = json.loads(body)
        except ValueError:
            return [f"the answer is not JSON: {body[:80]!r}"]
    if not schema or body is None or isinstance(body, bytes | str):
        return []
    return operation.spec.errors(schema, body, strict=False)


def check_answer(spec_name: str, method: str, path: str, status: int, body: Any) -> None:
    """Fail where an answer disagrees with the description in names or types, see answer_errors."""
    errors = answer_errors(spec_name, method, path, status, body)
    assert not errors, f"{spec_name}: {method.upper()} {path} -> {status}: " + "; ".join(errors[:10])


@functools.cache
def _payload_text(name: str) -> str:
    return (EVIDENCE / "payloads" / (name if name.endswith(".json") else name + ".json")).read_text()


def payload(name: str) -> Any:
    """A recorded payload, such as "jira/serverinfo"; a fresh copy each time.

    Exchanges are {"request": {method, url, …}, "response": {status, headers, body}}, others are the body itself.
    """
    return json.loads(_payload_text(name))


def payload_body(name: str) -> Any:
    """The answer body of a recorded payload, whether an exchange or a body was recorded."""
    value = payload(name)
    is_exchange = isinstance(value, dict) and isinstance(value.get("response"), dict) and "body" in value["response"]
    return value["response"]["body"] if is_exchange else value


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return {str: "string", list: "array", dict: "object"}.get(type(value), "null")


def _merged(values: Iterable[Any]) -> Any:
    """One value with the keys of all objects in a list, the first non-null value each."""
    merged: Any = None
    for value in values:
        if isinstance(value, dict):
            merged = merged if isinstance(merged, dict) else {}
            for key, inner in value.items():
                known = merged.get(key)
                merged[key] = (
                    _merged([known, inner]) if isinstance(known, dict) and isinstance(inner, dict) else known or inner
                )
        elif merged is None:
            merged = value
    return merged


def same_shape(recorded: Any, answered: Any, missing: bool = False, ignore: Iterable[str] = ()) -> list[str]:
    """Where an answer's JSON types disagree with a recorded one, as "path: recorded X, answered Y".

    Null agrees with everything; keys only one of them has are passed over, unless `missing` asks for the recorded
    keys that do not occur. `ignore`: dotted paths (list items as "[]") left out with all below them.
    """
    return _shape_errors(recorded, answered, "", missing, set(ignore))


def _shape_errors(recorded: Any, answered: Any, path: str, missing: bool, ignore: set[str]) -> list[str]:
    if path in ignore or recorded is None or answered is None:
        return []
    if _json_type(recorded) != _json_type(answered):
        return [f"{path or '(all)'}: recorded {_json_type(recorded)}, answered {_json_type(answered)}"]
    if isinstance(recorded, dict):
        errors = []
        for key, value in recorded.items():
            inner = f"{path}.{key}" if path else key
            if key in answered:
                errors += _shape_errors(value, answered[key], inner, missing, ignore)
            elif missing and inner not in ignore:
                errors.append(f"{inner}: recorded, not answered")
        return errors
    if isinstance(recorded, list) and recorded and answered:
        return _shape_errors(_merged(recorded), _merged(answered), path + "[]", missing, ignore)
    return []
