"""The Table API and the Batch API: rows as the caller's rights show them, refusals in the vendor's words."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from connections.sandbox import servicenow_query as encoded
from connections.sandbox.base import Request, Response, Stop
from connections.sandbox.servicenow_records import Refusal, Row
from connections.sandbox.servicenow_schema import Column

if TYPE_CHECKING:
    from connections.sandbox.servicenow import ServiceNowStandin

DEFAULT_LIMIT = 10_000
ACL = "ACL Exception {} Failed due to security constraints"
TIMES = ("glide_date_time", "due_date")


class TableApi:
    def __init__(self, app: ServiceNowStandin) -> None:
        self.app = app
        self.records = app.records
        path = r"/api/now(?:/v\d)?/table/(?P<table>\w+)"
        app.route("GET", path, self.listing)
        app.route("POST", path, self.create)
        for method, handler in (
            ("GET", self.one),
            ("PATCH", self.update),
            ("PUT", self.update),
            ("DELETE", self.delete),
        ):
            app.route(method, path + r"/(?P<id>[^/]+)", handler)
        app.route("POST", r"/api/now(?:/v\d)?/batch", self.batch)

    # Reading -----------------------------------------------------------------------------------------------

    def listing(self, request: Request, table: str) -> Response:
        self.known(table)
        me = self.app.caller(request)
        self.may("read", table)
        query = encoded.parse(
            request.query.get("sysparm_query", ""),
            lambda path: self.records.knows(table, path),
            lambda text: self._script(text, me),
        )
        rows = [
            row
            for row in self.records.rows(table).values()
            if not query.invalid or not self.app.strict_queries
            if encoded.matches(
                query,
                lambda path, row=row: self.records.follow(table, row, path),  # type: ignore[misc]
                lambda path, value: self._clock(table, path, value, me),
            )
        ]
        rows = encoded.ordered(rows, query, lambda row, path: self.records.follow(table, row, path))
        limit = _number(request.query.get("sysparm_limit"), DEFAULT_LIMIT)
        offset = _number(request.query.get("sysparm_offset"), 0)
        # Rights are looked at after the query: hidden rows leave a shorter page, and are counted all the same.
        window = rows[offset : offset + limit]
        shown = [self._shown(request, table, row, me) for row in window if not self.app.hides(row)]
        headers = {"X-Total-Count": str(len(rows))}
        link = self._links(request, table, len(rows), limit, offset)
        return Response(200, {"result": shown}, headers | ({"Link": link} if link else {}))

    def one(self, request: Request, table: str, id: str) -> Response:
        self.known(table)
        me = self.app.caller(request)
        self.may("read", table)
        return Response(200, {"result": self._shown(request, table, self.found(table, id), me)})

    def _shown(self, request: Request, table: str, row: Row, me: Row) -> dict[str, Any]:
        """A row as asked for. Columns that are not there, or are hidden from the caller, are left out."""
        asked = request.query.get("sysparm_fields", "")
        paths = [path.strip() for path in asked.split(",") if path.strip()] or list(row)
        found: dict[str, Any] = {}
        for path in paths:
            element = path.partition(".")[0]
            if not self.records.knows(table, path):
                continue
            value = self.records.follow(table, row, path)
            if (table, element) in self.app.hidden_columns:
                if not self.app.blanks_hidden:
                    continue
                value = ""
            found[path] = self._value(request, table, path, value, me)
        return found

    def _value(self, request: Request, table: str, path: str, value: str, me: Row) -> Any:
        column = self._column(table, path)
        display = request.query.get("sysparm_display_value", "false")
        linked = column is not None and column.type in ("reference", "domain_id") and bool(value)
        target = column.reference if column and column.reference else "sys_user_group"
        link = f"{self.app.base}/api/now/table/{target}/{value}"
        shown = self._display(column, value, me)
        if display == "all":
            return {"display_value": shown, "value": value, **({"link": link} if linked else {})}
        if not linked or request.query.get("sysparm_exclude_reference_link") == "true":
            return shown if display == "true" else value
        return {"display_value": shown, "link": link} if display == "true" else {"link": link, "value": value}

    def _display(self, column: Column | None, value: str, me: Row) -> str:
        """As the caller's language, time zone and rights would show it."""
        if column is None or not value:
            return value
        if column.choices:
            return dict(column.choices).get(value, value)
        if column.type == "reference":
            target = self.records.get(column.reference, value)
            return (target.get("name") or target.get("number") or value) if target else ""
        if column.type in TIMES:
            when = datetime.fromisoformat(value).replace(tzinfo=UTC)
            return when.astimezone(ZoneInfo(me["time_zone"] or "GMT")).strftime("%Y-%m-%d %H:%M:%S")
        return value

    def _column(self, table: str, path: str) -> Column | None:
        element, _, rest = path.partition(".")
        column = self.records.columns(table).get(element)
        return self._column(column.reference, rest) if column and rest else column

    def _clock(self, table: str, path: str, value: str, me: Row) -> str:
        """A time in a query as this instance reads it: as UTC, or in the caller's time zone."""
        column = self._column(table, path)
        if not self.app.zoned_queries or column is None or column.type not in TIMES or not value or not me["time_zone"]:
            return value
        try:
            local = datetime.fromisoformat(value).replace(tzinfo=ZoneInfo(me["time_zone"]))
        except ValueError:
            return value
        return local.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")

    def _script(self, text: str, me: Row) -> str:
        known = {"javascript:gs.getUserID()": me["sys_id"], "javascript:gs.getUserName()": me["user_name"]}
        return known.get(text, "")

    def _links(self, request: Request, table: str, total: int, limit: int, offset: int) -> str:
        if total <= limit:
            return ""

        def to(start: int, rel: str) -> str:
            query = {**request.query, "sysparm_limit": str(limit), "sysparm_offset": str(start)}
            pairs = "&".join(f"{name}={value}" for name, value in query.items())
            return f'<{self.app.base}/api/now/table/{table}?{pairs}>;rel="{rel}"'

        links = [to(0, "first")]
        if offset:
            links.append(to(max(0, offset - limit), "prev"))
        if offset + limit < total:
            links.append(to(offset + limit, "next"))
        return ",".join([*links, to((total - 1) // limit * limit, "last")])

    # Writing -----------------------------------------------------------------------------------------------

    def create(self, request: Request, table: str) -> Response:
        self.known(table)
        me = self.app.caller(request)
        self.may("create", table)
        values = self._sent(request, table)
        try:
            row = self.records.create(table, values, me["user_name"])
        except Refusal as refusal:
            return failed(403, "Operation Failed", refusal.detail)
        headers = {"Location": f"{self.app.base}/api/now/table/{table}/{row['sys_id']}"}
        shown = {} if self.app.hides(row) else self._shown(request, table, row, me)
        return Response(201, {"result": shown}, headers)

    def update(self, request: Request, table: str, id: str) -> Response:
        self.known(table)
        me = self.app.caller(request)
        self.found(table, id)
        self.may("write", table)
        try:
            row = self.records.edit(table, id, self._sent(request, table), me["user_name"])
        except Refusal as refusal:
            return failed(403, "Operation Failed", refusal.detail)
        return Response(200, {"result": self._shown(request, table, row, me)})

    def delete(self, request: Request, table: str, id: str) -> Response:
        self.known(table)
        me = self.app.caller(request)
        self.found(table, id)
        self.may("delete", table)
        self.records.delete(table, id, me["user_name"])
        return Response(204)

    def _sent(self, request: Request, table: str) -> dict[str, str]:
        """What of the body is written: columns the caller may not write are left out without a word."""
        try:
            body = request.json()
        except ValueError:
            raise Stop(failed(400, "Exception while reading request", "The payload is not valid JSON.")) from None
        if not isinstance(body, Mapping):
            raise Stop(failed(400, "Exception while reading request", "The payload is not a JSON object."))
        return {
            name: "" if value is None else str(value)
            for name, value in body.items()
            if (table, name) not in self.app.fixed_columns
        }

    # Rights ------------------------------------------------------------------------------------------------

    def known(self, table: str) -> None:
        if not self.records.columns(table):
            raise Stop(failed(400, f"Invalid table {table}", None))

    def may(self, act: str, table: str) -> None:
        if (act, table) in self.app.forbidden:
            names = {"read": "Read", "create": "Insert", "write": "Update", "delete": "Delete"}
            if act == "read":
                raise Stop(failed(403, "User Not Authorized", "Failed API level ACL Validation"))
            raise Stop(failed(403, "Operation Failed", ACL.format(names[act])))

    def found(self, table: str, id: str) -> Row:
        row = self.records.get(table, id)
        if row is None or self.app.hides(row):
            raise Stop(failed(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval"))
        return row

    # Batches -----------------------------------------------------------------------------------------------

    def batch(self, request: Request) -> Response:
        """Each part as if it came alone, one after the other, until the time is over."""
        body = request.json()
        parts = body.get("rest_requests") if isinstance(body, Mapping) else None
        if not isinstance(parts, list):
            return failed(400, "Exception while reading request", "rest_requests is missing")
        serviced, left = [], []
        for number, part in enumerate(parts):
            if self.app.batch_stops_after is not None and number >= self.app.batch_stops_after:
                left.append(str(part["id"]))
                continue
            answer = self._part(request, part)
            text, kind = answer.encoded()
            if len(text) > self.app.largest_part:
                left.append(str(part["id"]))
                continue
            headers = [
                {"name": name, "value": value} for name, value in {**answer.headers, "Content-Type": kind}.items()
            ]
            told = {
                "id": str(part["id"]),
                "body": base64.b64encode(text).decode(),
                "status_code": answer.status,
                "status_text": HTTPStatus(answer.status).phrase,
                "headers": headers,
                "execution_time": 3,
            }
            serviced.append(told)
        id = str(body.get("batch_request_id", ""))
        return Response(200, {"batch_request_id": id, "serviced_requests": serviced, "unserviced_requests": left})

    def _part(self, request: Request, part: Mapping[str, Any]) -> Response:
        address = urlsplit(str(part.get("url", "")))
        headers = {str(h["name"]).lower(): str(h["value"]) for h in part.get("headers", [])}
        headers["authorization"] = request.headers.get("authorization", "")
        own = Request(
            str(part.get("method", "GET")).upper(),
            address.path,
            dict(parse_qsl(address.query, keep_blank_values=True)),
            headers,
            base64.b64decode(part.get("body") or ""),
        )
        self.app.parts.append(own)
        if re.search(r"/batch\Z", own.path):
            return failed(400, "Invalid request", "A batch cannot hold a batch")
        try:
            return self.app.dispatch(own)
        except Stop as stop:
            return stop.response


def failed(status: int, message: str, detail: str | None) -> Response:
    return Response(status, {"error": {"message": message, "detail": detail}, "status": "failure"})


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text and re.fullmatch(r"\d+", text) else otherwise
