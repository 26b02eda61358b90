"""The REST resources for data: versions, limits, describe, query, records, upsert, deleted and updated feeds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from connections.sandbox import salesforce_soql as soql
from connections.sandbox.base import Request, Response, Stop
from connections.sandbox.salesforce_describe import describe, describe_short
from connections.sandbox.salesforce_org import Actor
from connections.sandbox.salesforce_schema import Doc, Field, SObject, make_id, normal_id
from connections.sandbox.salesforce_values import Problem, moment, stamp

if TYPE_CHECKING:
    from connections.sandbox.salesforce import SalesforceStandin

FIRST_VERSION, LAST_VERSION = 31, 66
PAGE_SIZE = 2000
SMALLEST_PAGE = 200
# An address longer than this is refused; a client must use POST, or shorter lists.
MAX_QUERY_STRING = 16384
# The feeds of deleted and updated records reach back this far.
FEED_DAYS = 30
_SEASONS = ("Winter '{}", "Spring '{}", "Summer '{}")


@dataclass(slots=True)
class _Cursor:
    sobject: SObject
    paths: list[str]
    ids: list[str]
    at: float
    deleted: bool


def missing(what: str = "The requested resource does not exist") -> Problem:
    return Problem("NOT_FOUND", what, status=404)


class Rest:
    """Routes below /services/data. State: the open query cursors, which die with the process, as sessions may."""

    def __init__(self, app: SalesforceStandin) -> None:
        self.app = app
        self.org = app.org
        self.cursors: dict[str, _Cursor] = {}
        self.cursor_seconds = app.cursor_seconds
        # A key may hold a slash, sent as %2F; the server has decoded it by the time it comes here.
        root, name = r"/services/data/v(?P<version>\d+\.\d)", r"(?P<name>\w+)"
        row, by_key = (
            root + f"/sobjects/{name}/(?P<id>[^/]+)",
            root + f"/sobjects/{name}/(?P<key>\\w+)/(?P<value>.+)",
        )
        for method, pattern, handler in (
            ("GET", r"/services/data/?", self.versions),
            ("GET", root + "/?", self.resources),
            ("GET", root + "/limits/?", self.limits),
            ("GET", root + "/limits/recordCount", self.record_count),
            ("GET", root + "/sobjects/?", self.sobjects),
            ("GET", root + f"/sobjects/{name}/?", self.basic),
            ("POST", root + f"/sobjects/{name}/?", self.insert),
            ("GET", root + f"/sobjects/{name}/describe/?", self.describe),
            ("GET", root + f"/sobjects/{name}/deleted/?", self.deleted),
            ("GET", root + f"/sobjects/{name}/updated/?", self.updated),
            ("GET", row, self.read),
            ("PATCH", row, self.patch),
            ("DELETE", row, self.remove),
            ("GET", by_key, self.read_by_key),
            ("PATCH", by_key, self.upsert),
            ("DELETE", by_key, self.remove_by_key),
            ("GET", root + "/query/?", self.query),
            ("GET", root + "/queryAll/?", self.query_all),
            ("GET", root + r"/query(?:All)?/(?P<locator>\w+)-(?P<start>\d+)", self.more),
        ):
            app.route(method, pattern, handler)

    # What is asked for, and by whom ----------------------------------------------------------------------------

    def base(self, version: str) -> str:
        if not FIRST_VERSION <= float(version) <= LAST_VERSION:
            raise missing()
        return f"/services/data/v{version}"

    def actor(self, request: Request, version: str) -> Actor:
        """Who writes, and what changeOrigin will say of it."""
        facts = self.app.oauth.of(request)
        assert facts is not None
        options = re.search(r"client=([^,;]+)", request.headers.get("sforce-call-options", ""))
        client = f";client={options[1].strip()}" if options else ""
        return Actor(facts["user"], f"com/salesforce/api/rest/{version}{client}", api=True)

    def kind(self, name: str) -> SObject:
        found = next((o for n, o in self.org.objects.items() if n.lower() == name.lower()), None)
        if found is None or "read" in found.denied:
            raise missing()
        return found

    def key_field(self, kind: SObject, key: str) -> Field:
        field = kind.find(key)
        if field is None or field.hidden or not (field.external_id or field.name == "Id"):
            raise missing(f"Provided external ID field does not exist or is not accessible: {key}")
        return field

    def body(self, request: Request) -> Doc:
        try:
            value = request.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise Problem("JSON_PARSER_ERROR", "The HTTP entity body is required, but this request has no entity body.")
        return {k: v for k, v in value.items() if k != "attributes"}

    def row(self, kind: SObject, id: str) -> Doc:
        """The record of that id as an API user sees it. Raises Problem."""
        full = normal_id(id)
        doc = self.org.tables[kind.name].get(full or "")
        if doc is None or doc["Id"] in self.org.unshared:
            raise missing(f"Provided external ID field does not exist or is not accessible: {id}")
        if doc["IsDeleted"]:
            raise Problem("ENTITY_IS_DELETED", "entity is deleted", status=404)
        return doc

    def paths(self, kind: SObject, fields: str | None) -> list[str]:
        if not fields:
            return [f.name for f in kind.fields.values() if not f.hidden]
        names = []
        for name in fields.split(","):
            field = kind.find(name.strip())
            if field is None or field.hidden:
                raise Problem("INVALID_FIELD", f"No such column '{name.strip()}' on sobject of type {kind.name}")
            names.append(field.name)
        return names

    # What the org offers ---------------------------------------------------------------------------------------

    def versions(self, request: Request) -> Response:
        listed = []
        for number in range(FIRST_VERSION, LAST_VERSION + 1):
            years, season = divmod(number - 62, 3)
            label = _SEASONS[season].format(25 + years)
            listed.append({"label": label, "url": f"/services/data/v{number}.0", "version": f"{number}.0"})
        return Response(200, listed)

    def resources(self, request: Request, version: str) -> Response:
        base = self.base(version)
        return Response(200, {n: f"{base}/{n}" for n in ("sobjects", "query", "queryAll", "limits", "composite")})

    def limits(self, request: Request, version: str) -> Response:
        self.base(version)
        used, most = self.app.calls_today(), self.app.daily_limit
        return Response(
            200,
            {
                "DailyApiRequests": {"Max": most, "Remaining": max(0, most - used)},
                "DailyBulkV2QueryJobs": {"Max": 10000, "Remaining": 10000},
                "DailyStreamingApiEvents": {"Max": 200000, "Remaining": 200000},
                "DataStorageMB": {"Max": 1073, "Remaining": 1048},
            },
        )

    def record_count(self, request: Request, version: str) -> Response:
        self.base(version)
        wanted = [n for n in request.query.get("sObjects", "").split(",") if n] or list(self.org.objects)
        known = [n for n in wanted if n in self.org.objects]
        counts = [{"count": sum(not d["IsDeleted"] for d in self.org.tables[n].values()), "name": n} for n in known]
        return Response(200, {"sObjects": counts})

    def sobjects(self, request: Request, version: str) -> Response:
        base = self.base(version)
        shown = [describe_short(o, base) for o in self.org.objects.values() if "read" not in o.denied]
        return Response(200, {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": shown})

    def basic(self, request: Request, version: str, name: str) -> Response:
        kind = self.kind(name)
        return Response(200, {"objectDescribe": describe_short(kind, self.base(version)), "recentItems": []})

    def describe(self, request: Request, version: str, name: str) -> Response:
        return Response(200, describe(self.kind(name), self.base(version)))

    # Records ---------------------------------------------------------------------------------------------------

    def read(self, request: Request, version: str, name: str, id: str) -> Response:
        kind = self.kind(name)
        return self._shown(request, version, kind, self.row(kind, id))

    def _shown(self, request: Request, version: str, kind: SObject, doc: Doc) -> Response:
        self._precondition(request, doc)
        modified = moment(doc["LastModifiedDate"])
        assert modified is not None
        body = soql.render(self.org, kind, self.paths(kind, request.query.get("fields")), doc, self.base(version))
        return Response(200, body, {"Last-Modified": format_datetime(modified, usegmt=True)})

    def _precondition(self, request: Request, doc: Doc) -> None:
        """Weak conditions: they compare the last modification, to the second. Raises Stop with 304 or 412."""
        modified = moment(doc["LastModifiedDate"])
        assert modified is not None
        for header in ("if-unmodified-since", "if-modified-since"):
            text = request.headers.get(header)
            if text is None:
                continue
            try:
                since = parsedate_to_datetime(text)
            except ValueError:
                raise Problem("INVALID_HEADER", f"Invalid value for header {header}") from None
            if header == "if-modified-since" and modified <= since:
                raise Stop(Response(304))
            if header == "if-unmodified-since" and modified > since:
                raise Problem("PRECONDITION_FAILED", "The record was modified since the given time", status=412)

    def insert(self, request: Request, version: str, name: str) -> Response:
        kind, base, fields = self.kind(name), self.base(version), self.body(request)
        doc = self.org.create(kind.name, fields, self.actor(request, version))
        location = {"Location": f"{base}/sobjects/{kind.name}/{doc['Id']}"}
        return Response(201, {"id": doc["Id"], "success": True, "errors": []}, location)

    def patch(self, request: Request, version: str, name: str, id: str) -> Response:
        kind, fields = self.kind(name), self.body(request)
        self.base(version)
        if any(f.lower() == "id" for f in fields):
            raise Problem("INVALID_FIELD", "The Id field should not be specified in the sobject data.")
        with self.org.transaction():
            doc = self.row(kind, id)
            self._precondition(request, doc)
            self.org.update(doc["Id"], fields, self.actor(request, version))
        return Response(204)

    def remove(self, request: Request, version: str, name: str, id: str) -> Response:
        self.base(version)
        with self.org.transaction():
            doc = self.row(self.kind(name), id)
            self.org.delete(doc["Id"], self.actor(request, version))
        return Response(204)

    def _by_key(self, version: str, name: str, key: str, value: str) -> tuple[SObject, Field, list[Doc]]:
        kind = self.kind(name)
        field = self.key_field(kind, key)
        if field.name == "Id":
            return kind, field, [self.row(kind, value)]
        found = [d for d in self.org.find_by(kind.name, field, value) if d["Id"] not in self.org.unshared]
        if len(found) > 1:
            urls = [f"{self.base(version)}/sobjects/{kind.name}/{d['Id']}" for d in found]
            raise Stop(Response(300, urls))
        return kind, field, found

    def read_by_key(self, request: Request, version: str, name: str, key: str, value: str) -> Response:
        kind, _, found = self._by_key(version, name, key, value)
        if not found:
            raise missing()
        return self._shown(request, version, kind, found[0])

    def remove_by_key(self, request: Request, version: str, name: str, key: str, value: str) -> Response:
        with self.org.transaction():
            _, _, found = self._by_key(version, name, key, value)
            if not found:
                raise missing()
            self.org.delete(found[0]["Id"], self.actor(request, version))
        return Response(204)

    def upsert(self, request: Request, version: str, name: str, key: str, value: str) -> Response:
        base, fields = self.base(version), self.body(request)
        with self.org.transaction():
            kind, field, found = self._by_key(version, name, key, value)
            if any(f.lower() == field.name.lower() for f in fields):
                raise Problem("INVALID_FIELD", f"The {field.name} field should not be specified in the sobject data.")
            actor = self.actor(request, version)
            if found:
                self._precondition(request, found[0])
                self.org.update(found[0]["Id"], fields, actor)
                doc, status = found[0], 200
            else:
                doc, status = self.org.create(kind.name, {**fields, field.name: value}, actor), 201
        if status == 200 and float(version) < 46:  # answers of an update without a body, in older versions
            return Response(204)
        body = {"id": doc["Id"], "success": True, "errors": [], "created": status == 201}
        return Response(status, body, {"Location": f"{base}/sobjects/{kind.name}/{doc['Id']}"} if status == 201 else {})

    # Queries ---------------------------------------------------------------------------------------------------

    def query(self, request: Request, version: str) -> Response:
        return self._query(request, version, deleted=False)

    def query_all(self, request: Request, version: str) -> Response:
        return self._query(request, version, deleted=True)

    def _query(self, request: Request, version: str, *, deleted: bool) -> Response:
        base = self.base(version)
        text = request.query.get("q")
        if not text:
            raise Problem("MALFORMED_QUERY", "SOQL statements cannot be empty or null")
        if len(quote(text)) > MAX_QUERY_STRING:
            raise Stop(Response(414, "<h1>URI Too Long</h1>"))
        parsed, rows = soql.run(self.org, text, deleted=deleted)
        if parsed.count:
            return Response(200, {"totalSize": len(rows), "done": True, "records": []})
        size = self._page_size(request)
        first = [soql.render(self.org, parsed.sobject, parsed.paths, r, base) for r in rows[:size]]
        body: Doc = {"totalSize": len(rows), "done": len(rows) <= size}
        if len(rows) > size:
            locator = make_id("01g", self.org.store.next_number("cursor"))
            ids = [r["Id"] for r in rows]
            self.cursors[locator] = _Cursor(parsed.sobject, parsed.paths, ids, self.app.now(), deleted)
            body["nextRecordsUrl"] = f"{base}/query/{locator}-{size}"
        return Response(200, body | {"records": first})

    def _page_size(self, request: Request) -> int:
        options = re.search(r"batchSize=(\d+)", request.headers.get("sforce-query-options", ""))
        return min(PAGE_SIZE, max(SMALLEST_PAGE, int(options[1]))) if options else PAGE_SIZE

    def more(self, request: Request, version: str, locator: str, start: str) -> Response:
        base, cursor = self.base(version), self.cursors.get(locator)
        if cursor is None or self.app.now() - cursor.at > self.cursor_seconds:
            self.cursors.pop(locator, None)
            raise Problem("INVALID_QUERY_LOCATOR", "invalid query locator")
        size, at = self._page_size(request), int(start)
        table = self.org.tables[cursor.sobject.name]
        docs = [table[i] for i in cursor.ids[at : at + size] if i in table]
        shown = [d for d in docs if cursor.deleted or not d["IsDeleted"]]
        body: Doc = {"totalSize": len(cursor.ids), "done": at + size >= len(cursor.ids)}
        if not body["done"]:
            body["nextRecordsUrl"] = f"{base}/query/{locator}-{at + size}"
        records = [soql.render(self.org, cursor.sobject, cursor.paths, d, base) for d in shown]
        return Response(200, body | {"records": records})

    # Feeds -----------------------------------------------------------------------------------------------------

    def _span(self, request: Request) -> tuple[str, str]:
        """Start and end as stored stamps; seconds are ignored. Raises Problem."""
        now = datetime.fromtimestamp(self.app.now(), UTC)
        ends: list[datetime] = []
        for name in ("start", "end"):
            at = moment(request.query.get(name, ""))
            if at is None:
                raise Problem("MALFORMED_QUERY", f"{name} is not a valid date/time: {request.query.get(name)}")
            ends.append(at.replace(second=0, microsecond=0))
        if ends[0] >= ends[1]:
            raise Problem("INVALID_REPLICATION_DATE", "startDate must be before endDate and more than a minute apart")
        if ends[0] < now - timedelta(days=FEED_DAYS):
            raise Problem("INVALID_REPLICATION_DATE", f"startDate cannot be more than {FEED_DAYS} days ago")
        return stamp(ends[0].timestamp()), stamp(min(ends[1], now.replace(second=0, microsecond=0)).timestamp())

    def _in_span(self, name: str, start: str, end: str, deleted: bool) -> list[Doc]:
        rows = [d for d in self.org.tables[self.kind(name).name].values() if d["IsDeleted"] is deleted]
        rows = [d for d in rows if start <= d["SystemModstamp"] < end and d["Id"] not in self.org.unshared]
        return sorted(rows, key=lambda d: (d["SystemModstamp"], d["Id"]))

    def updated(self, request: Request, version: str, name: str) -> Response:
        self.base(version)
        start, end = self._span(request)
        ids = [d["Id"] for d in self._in_span(name, start, end, False)]
        return Response(200, {"ids": ids, "latestDateCovered": end})

    def deleted(self, request: Request, version: str, name: str) -> Response:
        self.base(version)
        start, end = self._span(request)
        rows: list[Any] = [
            {"id": d["Id"], "deletedDate": d["SystemModstamp"]} for d in self._in_span(name, start, end, True)
        ]
        earliest = stamp(self.app.now() - FEED_DAYS * 86400)
        return Response(200, {"deletedRecords": rows, "earliestDateAvailable": earliest, "latestDateCovered": end})
