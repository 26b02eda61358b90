"""The Attachment API: files of records. What is known of them are rows of sys_attachment, as the Table API shows.

A file may be read by whoever may read its record, and added by whoever may write that. The API description gives no
words for a file that is too large: those here are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connections.sandbox.base import Request, Response, Stop
from connections.sandbox.servicenow_records import Row
from connections.sandbox.servicenow_table_api import failed

if TYPE_CHECKING:
    from connections.sandbox.servicenow import ServiceNowStandin
    from connections.sandbox.servicenow_table_api import TableApi

TABLE = "sys_attachment"


class AttachmentApi:
    def __init__(self, app: ServiceNowStandin, tables: TableApi) -> None:
        self.app = app
        self.records = app.records
        self.tables = tables
        path = r"/api/now(?:/v\d)?/attachment"
        app.route("GET", path, self.listing)
        app.route("POST", path + "/file", self.upload)
        app.route("GET", path + r"/(?P<id>[^/]+)", self.one)
        app.route("GET", path + r"/(?P<id>[^/]+)/file", self.file)
        app.route("DELETE", path + r"/(?P<id>[^/]+)", self.delete)

    def listing(self, request: Request) -> Response:
        found = self.tables.listing(request, TABLE)
        found.body = {"result": [self._linked(row) for row in found.body["result"]]}
        return found

    def one(self, request: Request, id: str) -> Response:
        found = self.tables.one(request, TABLE, id)
        return Response(200, {"result": self._linked(found.body["result"])})

    def file(self, request: Request, id: str) -> Response:
        self.tables.may("read", TABLE)
        row = self.tables.found(TABLE, id)
        return Response(200, self.records.content(id), {"Content-Type": row["content_type"]})

    def upload(self, request: Request) -> Response:
        me = self.app.caller(request)
        asked = {name: request.query.get(name, "") for name in ("table_name", "table_sys_id", "file_name")}
        missing = [name for name, value in asked.items() if not value]
        if missing or not request.body:
            return failed(400, "Exception while reading request", f"Missing: {', '.join(missing) or 'the file'}")
        self.tables.known(asked["table_name"])
        self.tables.found(asked["table_name"], asked["table_sys_id"])
        self.tables.may("create", TABLE)
        self.tables.may("write", asked["table_name"])
        if len(request.body) > self.app.largest_file:
            raise Stop(failed(413, "Operation Failed", f"The file exceeds {self.app.largest_file} bytes"))
        type_ = request.headers.get("content-type", "")
        row = self.records.attach(
            asked["table_name"], asked["table_sys_id"], asked["file_name"], request.body, me["user_name"], type_
        )
        shown = self._linked(row)
        return Response(201, {"result": shown}, {"Location": shown["download_link"]})

    def delete(self, request: Request, id: str) -> Response:
        return self.tables.delete(request, TABLE, id)

    def _linked(self, row: Row) -> dict[str, Any]:
        return {**row, "download_link": f"{self.app.base}/api/now/attachment/{row['sys_id']}/file"}
