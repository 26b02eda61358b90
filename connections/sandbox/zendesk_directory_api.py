"""Users and organizations: lists, exports, look-ups, and writes that take no condition."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from connections.sandbox.base import Request, Response, Stop
from connections.sandbox.zendesk_answers import failed, paged
from connections.sandbox.zendesk_records import Invalid, Row

if TYPE_CHECKING:
    from connections.sandbox.zendesk import ZendeskStandin

EXPORT_PAGE = 1000
PLURALS = {"user": "users", "organization": "organizations"}
WRITABLE = {
    "user": ("name", "email", "phone", "notes", "details", "organization_id", "external_id", "tags", "role"),
    "organization": ("name", "notes", "details", "domain_names", "external_id", "tags", "group_id"),
}


class DirectoryApi:
    def __init__(self, app: ZendeskStandin) -> None:
        self.app = app
        self.store = app.store
        for kind, many in PLURALS.items():
            one = rf"/api/v2/{many}/(?P<id>\d+)"
            for method, path, handler in (
                ("GET", f"/api/v2/{many}/show_many", self.show_many),
                ("POST", f"/api/v2/{many}", self.create),
                ("PUT", one, self.update),
                ("DELETE", one, self.delete),
                ("GET", f"/api/v2/{kind}_fields", self.fields),
            ):
                app.route(method, path, partial(handler, kind=kind))
        app.route("GET", "/api/v2/organizations", self.organizations)
        app.route("GET", "/api/v2/organizations/search", self.search)
        app.route("GET", "/api/v2/incremental/users/cursor", self.export_users)
        app.route("GET", "/api/v2/incremental/organizations", self.export_organizations)

    # Acts, also of people ------------------------------------------------------------------------------------------

    def field(self, kind: str, type: str, key: str, title: str, options: Mapping[str, str] | None = None) -> None:
        id = self.store.next_number("field", 360_000_001)
        row: Row = {"id": id, "type": type, "key": key, "title": title, "active": True}
        row["custom_field_options"] = [{"name": name, "value": value} for value, name in (options or {}).items()]
        self.store.put(f"{kind}_field", key, row)

    def add(self, kind: str, given: Mapping[str, Any]) -> Row:
        if kind == "user":
            id = self.app.records.user(str(given.get("name")), given.get("email"), "end-user")
            row: Row = self.store.get("user", str(id))
        else:
            id = self.store.next_number("organization", 6_130_869_000_001)
            row = {"id": id, "url": f"/api/v2/organizations/{id}.json", "created_at": self.app.records.stamp()}
            row |= {"deleted_at": None, "tags": [], "domain_names": [], "organization_fields": {}, "external_id": None}
            row |= {"shared_tickets": False, "shared_comments": False, "group_id": None}
        self._check(kind, row, given)
        return self._save(kind, row, given)

    def edit(self, kind: str, id: Any, given: Mapping[str, Any]) -> Row:
        row = self._there(kind, id)
        self._check(kind, row, given)
        return self._save(kind, row, given)

    def remove(self, kind: str, id: Any) -> Row:
        row = self._there(kind, id)
        gone = {"active": False, "email": None} if kind == "user" else {"deleted_at": self.app.records.stamp()}
        row |= {**gone, "updated_at": self.app.records.stamp()}
        self.store.put(kind, str(row["id"]), row)
        return row

    # Requests ------------------------------------------------------------------------------------------------------

    def show_many(self, request: Request, kind: str) -> Response:
        ids = set(request.query.get("ids", "").split(","))
        keys = set(request.query.get("external_ids", "").split(",")) - {""}
        rows = [row for row in self._all(kind) if str(row["id"]) in ids or row["external_id"] in keys]
        return self._list(PLURALS[kind], [row for row in rows if not row.get("deleted_at")])

    def create(self, request: Request, kind: str) -> Response:
        return Response(201, {kind: self._tried(lambda: self.add(kind, request.json()[kind]))})

    def update(self, request: Request, kind: str, id: str) -> Response:
        given = request.json()[kind]
        if kind == "user" and self._there(kind, id)["email"]:
            given.pop("email", None)  # it becomes a secondary address, which a user does not show
        return Response(200, {kind: self._tried(lambda: self.edit(kind, id, given))})

    def delete(self, request: Request, kind: str, id: str) -> Response:
        gone = self.remove(kind, id)
        return Response(200, {"user": gone}) if kind == "user" else Response(204)

    def fields(self, request: Request, kind: str) -> Response:
        return paged(request, self.app.base, f"{kind}_fields", self.store.all(f"{kind}_field"))

    def organizations(self, request: Request) -> Response:
        rows = [row for row in self._all("organization") if not row["deleted_at"]]
        return paged(request, self.app.base, "organizations", rows)

    def search(self, request: Request) -> Response:
        name = request.query.get("name", "").lower()
        rows = [row for row in self._all("organization") if row["name"].lower() == name and not row["deleted_at"]]
        return self._list("organizations", rows)

    def export_users(self, request: Request) -> Response:
        """By cursor, as that of tickets; its place is told apart from theirs by nothing."""
        self.app.count_export()
        query = request.query
        begin = query.get("cursor") or f"{query['start_time']}-0"
        stamp, _, id = begin.partition("-")
        left = [row for row in self._changed("user", int(stamp)) if (_at(row), row["id"]) > (int(stamp), int(id))]
        page = left[: self.app.export_page]
        last = page[-1] if page else None
        cursor = f"{_at(last)}-{last['id']}" if last else begin
        body = {"users": page, "end_of_stream": len(left) <= self.app.export_page, "after_cursor": cursor}
        return Response(200, {**body, "after_url": None, "before_url": None, "before_cursor": None})

    def export_organizations(self, request: Request) -> Response:
        """By time: the next page begins at the time of the last record, which comes once more."""
        self.app.count_export()
        left = self._changed("organization", int(request.query["start_time"]))
        page, end = left[: self.app.export_page], len(left) <= self.app.export_page
        reached = _at(page[-1]) if page else int(request.query["start_time"])
        body = {"organizations": page, "count": len(page), "end_of_stream": end, "end_time": reached}
        return Response(200, {**body, "next_page": f"{self.app.base}{request.path}?start_time={reached}"})

    # Helpers -------------------------------------------------------------------------------------------------------

    def _changed(self, kind: str, since: int) -> list[Row]:
        horizon = int(self.app.now() - self.app.hidden_seconds)
        rows = [row for row in self._all(kind) if since <= _at(row) <= horizon]
        return sorted(rows, key=lambda row: (_at(row), row["id"]))

    def _all(self, kind: str) -> list[Row]:
        rows: list[Row] = self.store.all(kind)
        return rows

    def _there(self, kind: str, id: Any) -> Row:
        row: Row | None = self.store.get(kind, str(id))
        if row is None or row.get("deleted_at") or row.get("active") is False:
            raise Stop(failed(404, "RecordNotFound", "Not found"))
        return row

    def _check(self, kind: str, row: Row, given: Mapping[str, Any]) -> None:
        others = [one for one in self._all(kind) if one["id"] != row["id"]]
        if "name" in given and not given["name"]:
            raise Invalid({"name": "Name: cannot be blank"})
        for key in ("email", "external_id") if kind == "user" else ("name", "external_id"):
            wanted = given.get(key)
            if wanted and any(str(one.get(key) or "").lower() == str(wanted).lower() for one in others):
                raise Invalid({key: f"{key.capitalize()}: {wanted} is already being used"})

    def _save(self, kind: str, row: Row, given: Mapping[str, Any]) -> Row:
        own = f"{kind}_fields"
        row |= {key: given[key] for key in WRITABLE[kind] if key in given}
        row[own] = {**row[own], **given.get(own, {})}
        row["updated_at"] = self.app.records.stamp()
        self.store.put(kind, str(row["id"]), row)
        return row

    def _tried(self, act: Any) -> Row:
        try:
            row: Row = act()
            return row
        except Invalid as problem:
            raise Stop(Response(422, problem.document())) from None

    @staticmethod
    def _list(key: str, rows: list[Row]) -> Response:
        return Response(200, {key: rows, "count": len(rows), "next_page": None, "previous_page": None})


def _at(row: Row) -> int:
    return int(datetime.fromisoformat(row["updated_at"]).timestamp())
