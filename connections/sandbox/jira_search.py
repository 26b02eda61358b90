"""Search of the Jira stand-in: which JQL fields there are, pages, tokens, and reading behind the writes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from typing import Any
from zoneinfo import ZoneInfo

from connections.sandbox import jira_documents as documents
from connections.sandbox import jira_fields as fields_of
from connections.sandbox import jira_jql as jql
from connections.sandbox.jira_fields import FieldDef, Refusal
from connections.sandbox.jira_jql import Call, Clause, JqlError
from connections.sandbox.jira_records import Doc, User
from connections.sandbox.jira_site import Site

# As the API description says: 5000 with ids or keys only; about 100 where fields are asked for.
MAX_IDS = 5000
MAX_WITH_FIELDS = 100
MAX_PROPERTIES = 5
MAX_RECONCILED = 50
TOKEN_SECONDS = 7 * 24 * 3600.0

UNBOUNDED = "Unbounded JQL queries are not allowed here. Please add a search restriction to your query."


def clauses(site: Site, viewer: User) -> Any:
    """A function from a field's name in a query to its Clause, as this viewer may ask."""
    zone = ZoneInfo(viewer["timeZone"])
    by_name: dict[str, FieldDef] = {}
    for definition in site.visible_fields(viewer):
        for name in definition.clauses:
            by_name.setdefault(name.lower(), definition)
        if definition.custom:
            by_name.setdefault(definition.name.lower(), definition)
            by_name[f"cf[{definition.id.removeprefix('customfield_')}]"] = definition

    def missing(value: Any, field: str) -> JqlError:
        return JqlError(f"The value '{value}' does not exist for the field '{field}'.")

    def moments(field: str) -> Any:
        def resolve(value: Any) -> list[int]:
            if isinstance(value, Call) and value.name.lower() == "now":
                return [int(site.clock() * 1000)]
            return [jql.date_value(field, value, site.clock(), zone)]

        return resolve

    def project(value: Any) -> list[str]:
        found = next(
            (p for p in site.projects.values() if str(value).lower() in (p["key"].lower(), p["id"], p["name"].lower())),
            None,
        )
        if found is None or not site.may(viewer, "browse", found["id"]):
            raise missing(value, "project")
        return [found["id"]]

    def person(field: str) -> Any:
        def resolve(value: Any) -> list[str]:
            if isinstance(value, Call):
                if value.name.lower() != "currentuser":
                    raise JqlError(f"Unable to find JQL function '{value.name}({', '.join(value.arguments)})'.")
                return [viewer["accountId"]]
            wanted = str(value).lower()
            found = [
                u for u in site.users.values() if wanted in (u["accountId"].lower(), (u["emailAddress"] or "").lower())
            ]
            if not found:
                raise missing(value, field)
            return [u["accountId"] for u in found]

        return resolve

    def named(field: str, known: list[tuple[str, str]]) -> Any:
        def resolve(value: Any) -> list[str]:
            found = [id for id, name in known if str(value).lower() in (id, name.lower())]
            if not found:
                raise missing(value, field)
            return found

        return resolve

    def key_or_id(value: Any) -> list[str]:
        found = site.find(str(value))
        if found is None or not site.may(viewer, "browse", found["project"]):
            raise JqlError(f"An issue with key '{value}' does not exist for field 'key'.")
        return [found["id"]]

    def clause(name: str) -> Clause:
        lower = name.lower()
        if lower in ("key", "id", "issue", "issuekey"):
            return Clause("exact", lambda i: i["id"], key_or_id)
        if lower.startswith("issue.property["):
            match = re.fullmatch(r"issue\.property\[([^\]]+)\](?:\.([\w.]+))?", name)
            indexed = site.indexed_properties
            if match is None or (indexed is not None and match[1].strip("\"'") not in indexed):
                raise JqlError(f"Field '{name}' does not exist or you do not have permission to view it.")
            return Clause("exact", _property(match[1].strip("\"'"), match[2]), lambda v: [str(v)])
        if lower == "statuscategory":
            known = [(str(c["id"]), str(c["name"])) for c in fields_of.STATUS_CATEGORIES.values()]
            keys = {key: str(c["id"]) for key, c in fields_of.STATUS_CATEGORIES.items()}
            category = {s[0]: keys[s[2]] for s in fields_of.STATUSES}
            return Clause("exact", lambda i: category[i["fields"]["status"]], named(name, known))
        if lower == "text":
            return Clause(
                "text", lambda i: [i["fields"].get("summary"), documents.to_wiki(i["fields"].get("description"))]
            )
        definition = by_name.get(lower)
        if definition is None:
            raise JqlError(f"Field '{name}' does not exist or you do not have permission to view it.")
        return _field_clause(definition)

    def _field_clause(definition: FieldDef) -> Clause:
        id = definition.id
        match definition.kind:
            case "project":
                return Clause("exact", lambda i: i["project"], project)
            case "moment":
                return Clause("date", lambda i: _ms(i["fields"].get(id)), moments(id))
            case "day":
                return Clause("day", lambda i: i["fields"].get(id), lambda v: [str(v)])
            case "number":
                return Clause("number", lambda i: i["fields"].get(id), lambda v: [_number(v, definition)])
            case "user":
                return Clause("exact", lambda i: i["fields"].get(id), person(id))
            case "status":
                return Clause(
                    "exact", lambda i: i["fields"].get(id), named(id, [(s[0], s[1]) for s in fields_of.STATUSES])
                )
            case "priority":
                return Clause("exact", lambda i: i["fields"].get(id), named(id, list(fields_of.PRIORITIES)))
            case "resolution":
                known = [(r[0], r[1]) for r in fields_of.RESOLUTIONS]
                return Clause("exact", lambda i: i["fields"].get(id), named(id, known))
            case "issuetype":
                return Clause(
                    "exact", lambda i: i["fields"].get(id), named(id, [(t[0], t[1]) for t in fields_of.ISSUE_TYPES])
                )
            case "option" | "options" | "components" | "versions":
                return Clause("exact", lambda i: i["fields"].get(id), named(definition.name, list(definition.options)))
            case "labels":
                return Clause("exact", lambda i: i["fields"].get(id), lambda v: [str(v)])
            case "parent":
                return Clause("exact", lambda i: i["fields"].get(id), key_or_id)
            case "text":
                return Clause("text", lambda i: documents.to_wiki(i["fields"].get(id)))
            case "line":
                return Clause("text", lambda i: i["fields"].get(id))
        raise JqlError(f"Field '{definition.name}' is not searchable.")

    return clause


def _property(key: str, path: str | None) -> Any:
    def get(issue: Any) -> Any:
        value = issue["properties"].get(key)
        for part in path.split(".") if path else []:
            value = value.get(part) if isinstance(value, dict) else None
        return [str(v) for v in value] if isinstance(value, list) else None if value is None else str(value)

    return get


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _number(value: Any, definition: FieldDef) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise JqlError(f"The value '{value}' for field '{definition.name}' is invalid - must be a number.") from None


def refused(error: JqlError) -> Refusal:
    return Refusal(400, [str(error)])


def find(site: Site, viewer: User, text: str, reconcile: list[str]) -> tuple[list[Doc], jql.Query]:
    """Issues that fit, unordered, from the index; those to reconcile as they are now. Raises Refusal, JqlError."""
    query = jql.parse(text)
    if query.where is None:
        raise JqlError(UNBOUNDED)
    fits = jql.predicate(query.where, clauses(site, viewer))
    seen = site.indexed()
    if reconcile:
        seen = dict(seen)
        for id in reconcile:
            seen.pop(id, None)
            if id in site.documents:
                seen[id] = site.documents[id]
    visible = {p for p in site.projects if site.may(viewer, "browse", p)}
    return [i for i in seen.values() if i["project"] in visible and fits(i)], query


def page(
    site: Site, viewer: User, text: str, size: int, token: str | None, reconcile: list[str]
) -> tuple[list[Doc], str | None]:
    """(issues of one page, token of the next or None). Raises Refusal, JqlError."""
    found, query = find(site, viewer, text, reconcile)
    position, sort_key = jql.ordering(query.order, clauses(site, viewer))
    entries = sorted(((position(i), i) for i in found), key=lambda entry: sort_key(entry[0]))
    if token:
        after = sort_key(_open_token(token, text, site.clock()))
        entries = [e for e in entries if sort_key(e[0]) > after]
    chosen = entries[:size]
    if len(entries) <= size:
        return [i for _, i in chosen], None
    return [i for _, i in chosen], _token(text, chosen[-1][0], site.clock())


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _token(text: str, position: list[Any], now: float) -> str:
    return base64.urlsafe_b64encode(json.dumps([_fingerprint(text), position, now + TOKEN_SECONDS]).encode()).decode()


def _open_token(token: str, text: str, now: float) -> list[Any]:
    try:
        fingerprint, position, expires = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, binascii.Error, TypeError):
        raise Refusal(400, ["The provided next page token is invalid."]) from None
    if fingerprint != _fingerprint(text):
        raise Refusal(400, ["The provided next page token is invalid for this query."])
    if expires < now:
        raise Refusal(400, ["The provided next page token has expired."])
    return list(position)
