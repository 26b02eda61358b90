"""The REST resources for several records or requests at once: collections, composite and batch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from connections.sandbox import salesforce_soql as soql
from connections.sandbox.base import Request, Response, Stop
from connections.sandbox.salesforce_rest import Rest
from connections.sandbox.salesforce_schema import Doc, SObject, normal_id
from connections.sandbox.salesforce_values import Problem

if TYPE_CHECKING:
    from connections.sandbox.salesforce import SalesforceStandin

MAX_COLLECTION = 200
MAX_RETRIEVE = 2000
MAX_SUBREQUESTS = 25
_REFERENCE = re.compile(r"@\{([\w-]+)((?:\.\w+|\[\d+\])*)\}")

_ROLLED_BACK = {
    "statusCode": "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    "message": "Record rolled back because not all records were valid and the request was using AllOrNone header",
    "fields": [],
}
_HALTED = [
    {
        "errorCode": "PROCESSING_HALTED",
        "message": "The transaction was rolled back since another operation in the same transaction failed.",
    }
]


class _Failed(Exception):
    """Leaves a transaction that is all or none; the answer is already made."""


class Composite:
    def __init__(self, app: SalesforceStandin, rest: Rest) -> None:
        self.app = app
        self.rest = rest
        self.org = app.org
        root = r"/services/data/v(?P<version>\d+\.\d)/composite"
        named = root + r"/sobjects/(?P<name>\w+)/?"
        for method, pattern, handler in (
            ("POST", root + "/?", self.composite),
            ("POST", root + "/batch/?", self.batch),
            ("POST", root + "/sobjects/?", self.create),
            ("PATCH", root + "/sobjects/?", self.update),
            ("DELETE", root + "/sobjects/?", self.delete),
            ("PATCH", named, self.update),
            ("DELETE", named, self.delete),
            ("GET", named, self.retrieve),
            ("POST", named, self.retrieve),
            ("PATCH", root + r"/sobjects/(?P<name>\w+)/(?P<key>\w+)/?", self.upsert),
        ):
            app.route(method, pattern, handler)

    # Collections -----------------------------------------------------------------------------------------------

    def _records(self, body: Doc) -> list[Doc]:
        records = body.get("records")
        if not isinstance(records, list) or not records:
            raise Problem("INVALID_INPUT", "The records list is required and may not be empty.")
        return self._at_most(records)

    def _at_most(self, items: list[Any]) -> list[Any]:
        if len(items) > MAX_COLLECTION:
            message = f"record limit reached. cannot submit more than {MAX_COLLECTION} records in this call"
            raise Problem("EXCEEDED_ID_LIMIT", message)
        return items

    def _each(self, items: list[Any], all_or_none: bool, act: Callable[[Any], Doc]) -> Response:
        """`act` on each item in a transaction of its own; with `all_or_none` one failure undoes all."""
        results: list[Doc] = []
        failed = False
        try:
            with self.org.transaction():
                for item in items:
                    try:
                        with self.org.transaction():
                            results.append(act(item))
                    except Problem as problem:
                        failed = True
                        results.append({"success": False, "errors": [problem.item()]})
                if failed and all_or_none:
                    raise _Failed
        except _Failed:
            results = [{"success": False, "errors": [dict(_ROLLED_BACK)]} if r["success"] else r for r in results]
        return Response(200, results)

    def _kind(self, record: Doc) -> SObject:
        name = (record.get("attributes") or {}).get("type")
        kind = self.org.objects.get(name or "")
        if kind is None:
            raise Problem("INVALID_TYPE", f"sObject type '{name}' is not supported.")
        return kind

    def create(self, request: Request, version: str) -> Response:
        body, actor = self.rest.body(request), self.rest.actor(request, version)

        def act(record: Doc) -> Doc:
            doc = self.org.create(self._kind(record).name, _fields(record), actor)
            return {"id": doc["Id"], "success": True, "errors": []}

        return self._each(self._records(body), body.get("allOrNone") is True, act)

    def update(self, request: Request, version: str, name: str = "") -> Response:
        body, actor = self.rest.body(request), self.rest.actor(request, version)

        def act(record: Doc) -> Doc:
            id = next((v for k, v in record.items() if k.lower() == "id"), None)
            if not id:
                raise Problem("MISSING_ARGUMENT", "Id not specified in an update call")
            doc = self._row(self._kind(record), str(id))
            self.org.update(doc["Id"], _fields(record, "id"), actor)
            return {"id": doc["Id"], "success": True, "errors": []}

        return self._each(self._records(body), body.get("allOrNone") is True, act)

    def upsert(self, request: Request, version: str, name: str, key: str) -> Response:
        body, actor = self.rest.body(request), self.rest.actor(request, version)
        kind = self.rest.kind(name)
        field = self.rest.key_field(kind, key)

        def act(record: Doc) -> Doc:
            value = next((v for k, v in record.items() if k.lower() == field.name.lower()), None)
            if not value:
                raise Problem("MISSING_ARGUMENT", f"{field.name} not specified", (field.name,))
            found = self.org.find_by(kind.name, field, str(value))
            if len(found) > 1:
                message = f"{field.name}: more than one record found for external id field: {[d['Id'] for d in found]}"
                raise Problem("DUPLICATE_EXTERNAL_ID", message)
            if found:
                self.org.update(found[0]["Id"], _fields(record, field.name.lower()), actor)
                return {"id": found[0]["Id"], "success": True, "errors": [], "created": False}
            doc = self.org.create(kind.name, _fields(record), actor)
            return {"id": doc["Id"], "success": True, "errors": [], "created": True}

        return self._each(self._records(body), body.get("allOrNone") is True, act)

    def delete(self, request: Request, version: str, name: str = "") -> Response:
        actor = self.rest.actor(request, version)
        ids = [i for i in request.query.get("ids", "").split(",") if i]
        if not ids:
            raise Problem("MISSING_ARGUMENT", "The ids parameter is required.")

        def act(id: str) -> Doc:
            kind = self.org.kind_of(id)
            if kind is None:
                raise Problem("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
            doc = self._row(kind, id)
            self.org.delete(doc["Id"], actor)
            return {"id": doc["Id"], "success": True, "errors": []}

        return self._each(self._at_most(ids), request.query.get("allOrNone", "").lower() == "true", act)

    def _row(self, kind: SObject, id: str) -> Doc:
        doc = self.org.tables[kind.name].get(normal_id(id) or "")
        if doc is None or doc["Id"] in self.org.unshared:
            raise Problem("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        if doc["IsDeleted"]:
            raise Problem("ENTITY_IS_DELETED", "entity is deleted")
        return doc

    def retrieve(self, request: Request, version: str, name: str) -> Response:
        """Records in the order of the ids, null for those that are not there."""
        base, kind = self.rest.base(version), self.rest.kind(name)
        if request.method == "POST":
            body = self.rest.body(request)
            ids, fields = body.get("ids") or [], ",".join(body.get("fields") or [])
        else:
            ids, fields = request.query.get("ids", "").split(","), request.query.get("fields", "")
        if not fields or not any(ids):
            raise Problem("MISSING_ARGUMENT", "The ids and fields parameters are required.")
        if len(ids) > MAX_RETRIEVE:
            raise Problem(
                "EXCEEDED_ID_LIMIT", f"record limit reached. cannot retrieve more than {MAX_RETRIEVE} records"
            )
        paths, table = self.rest.paths(kind, fields), self.org.tables[kind.name]
        docs = [table.get(normal_id(i.strip()) or "") for i in ids]
        shown = [d if d and not d["IsDeleted"] and d["Id"] not in self.org.unshared else None for d in docs]
        return Response(200, [soql.render(self.org, kind, paths, d, base) if d else None for d in shown])

    # Requests within a request ---------------------------------------------------------------------------------

    def _inner(self, request: Request, method: str, url: str, headers: Doc, body: Any) -> Response:
        parts = urlsplit(url)
        query = {k: v[-1] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
        kept = ("authorization", "host", "sforce-call-options", "sforce-query-options")
        carried = {k: v for k, v in request.headers.items() if k in kept}
        lower = {k.lower(): str(v) for k, v in headers.items()}
        sent = b"" if body is None else json.dumps(body).encode()
        try:
            return self.app.dispatch(Request(method, unquote(parts.path), query, {**carried, **lower}, sent))
        except Stop as stop:
            return stop.response

    def composite(self, request: Request, version: str) -> Response:
        body = self.rest.body(request)
        subrequests = body.get("compositeRequest") or []
        if len(subrequests) > MAX_SUBREQUESTS:
            message = f"The composite request exceeds the maximum of {MAX_SUBREQUESTS} subrequests."
            raise Problem("LIMIT_EXCEEDED", message)
        answers: list[Doc] = []
        try:
            with self.org.transaction():
                self._run_all(request, subrequests, answers)
                if body.get("allOrNone") is True and any(a["httpStatusCode"] >= 400 for a in answers):
                    raise _Failed
        except _Failed:
            for answer in answers:
                if answer["httpStatusCode"] < 400:
                    answer |= {"body": _HALTED, "httpHeaders": {}, "httpStatusCode": 400}
        return Response(200, {"compositeResponse": answers})

    def _run_all(self, request: Request, subrequests: list[Doc], answers: list[Doc]) -> None:
        known: dict[str, Doc] = {}
        for sub in subrequests:
            name = sub.get("referenceId", "")
            try:
                url = _filled(sub["url"], known)
                response = self._inner(
                    request, sub["method"], url, sub.get("httpHeaders") or {}, _filled(sub.get("body"), known)
                )
            except KeyError as error:
                text = f"Invalid reference specified. No value for {error.args[0]} found in {name}"
                response = Response(400, [{"errorCode": "PROCESSING_HALTED", "message": text}])
            answer = {
                "body": response.body,
                "httpHeaders": dict(response.headers),
                "httpStatusCode": response.status,
                "referenceId": name,
            }
            answers.append(answer)
            if response.status < 400:
                known[name] = answer

    def batch(self, request: Request, version: str) -> Response:
        body = self.rest.body(request)
        subrequests = body.get("batchRequests") or []
        if len(subrequests) > MAX_SUBREQUESTS:
            raise Problem("LIMIT_EXCEEDED", f"The batch request exceeds the maximum of {MAX_SUBREQUESTS} subrequests.")
        results: list[Doc] = []
        halted = False
        for sub in subrequests:
            if halted:
                text = "Batch processing was halted: haltOnError was specified and a request before failed"
                results.append(
                    {"statusCode": 412, "result": [{"errorCode": "BATCH_PROCESSING_HALTED", "message": text}]}
                )
                continue
            url = "/services/data/" + sub["url"].removeprefix("/services/data/").lstrip("/")
            response = self._inner(request, sub["method"], url, {}, sub.get("richInput"))
            results.append({"statusCode": response.status, "result": response.body})
            halted = body.get("haltOnError") is True and response.status >= 400
        return Response(200, {"hasErrors": any(r["statusCode"] >= 400 for r in results), "results": results})


def _fields(record: Doc, *left_out: str) -> Doc:
    return {k: v for k, v in record.items() if k != "attributes" and k.lower() not in left_out}


def _filled(value: Any, known: dict[str, Doc]) -> Any:
    """`value` with each @{reference.path} replaced from earlier answers. Raises KeyError naming the reference."""
    if isinstance(value, dict):
        return {k: _filled(v, known) for k, v in value.items()}
    if isinstance(value, list):
        return [_filled(v, known) for v in value]
    if not isinstance(value, str):
        return value

    def look_up(match: re.Match[str]) -> str:
        found: Any = known[match[1]]["body"] if match[1] in known else None
        for key, index in re.findall(r"\.(\w+)|\[(\d+)\]", match[2]):
            try:
                found = found[int(index) if index else key]
            except (KeyError, IndexError, TypeError):
                found = None
        if found is None:
            raise KeyError(match[1] + match[2])
        return str(found)

    return _REFERENCE.sub(look_up, value)
