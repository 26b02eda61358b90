"""Lists of a Zendesk account: the incremental export, search, tickets by key, fields, people."""

from __future__ import annotations

import base64
import re
from datetime import datetime
from typing import TYPE_CHECKING

from connections.sandbox.base import Request, Response, Stop
from connections.sandbox.zendesk_answers import failed, paged
from connections.sandbox.zendesk_records import Row

if TYPE_CHECKING:
    from connections.sandbox.zendesk import ZendeskStandin

MINUTE = 60
EXPORT_PAGE = 1000
SEARCH_PAGE = 1000
SORTS = ("id", "-id", "updated_at", "-updated_at", "status")


class ListsApi:
    def __init__(self, app: ZendeskStandin) -> None:
        self.app = app
        self.records = app.records
        for path, handler in (
            ("incremental/tickets/cursor", self.export),
            ("tickets", self.tickets),
            ("deleted_tickets", self.deleted),
            ("search/export", self.search),
            ("search/count", self.count),
            ("ticket_fields", self.fields),
            ("ticket_forms", self.forms),
            ("groups", self.groups),
            ("users", self.users),
            ("users/me", self.me),
            ("users/search", self.users_by_word),
        ):
            app.route("GET", f"/api/v2/{path}", handler)

    # Tickets -------------------------------------------------------------------------------------------------------

    def export(self, request: Request) -> Response:
        """Ordered by the system's own time of the last change. What changed within the last minute is left out."""
        self.app.count_export()
        query = request.query
        size = min(int(query.get("per_page", self.app.export_page)), EXPORT_PAGE)
        horizon = int(self.records.now() - self.app.hidden_seconds)
        if "cursor" in query:
            stamp, id = self._place(query["cursor"])
        elif query.get("start_time", "").isdecimal():
            stamp, id = int(query["start_time"]), -1
            if stamp > self.records.now() - min(self.app.hidden_seconds, MINUTE):
                raise Stop(failed(400, "StartTimeTooRecent", "Too recent start_time. Use a start_time older than 60 s"))
        else:
            raise Stop(failed(400, "InvalidValue", "start_time is required"))
        rows = [row for row in self.records.store.all("ticket") if row["generated_timestamp"] <= horizon]
        rows = [row for row in rows if row["id"] not in self.app.hidden_tickets]
        rows.sort(key=lambda row: (row["generated_timestamp"], row["id"]))
        left = [row for row in rows if (row["generated_timestamp"], row["id"]) > (stamp, id)]
        page, end = left[:size], len(left) <= size
        last = (page[-1]["generated_timestamp"], page[-1]["id"]) if page else (stamp, id)
        cursor = base64.b64encode(f"{last[0]}.0||{last[1]}|".encode()).decode()
        body = {
            "tickets": [self.app.shown(row, export=True) for row in page],
            "after_url": f"{self.app.base}{request.path}?cursor={cursor}",
            "before_url": None,
            "after_cursor": cursor,
            "before_cursor": None,
            "end_of_stream": end,
        }
        return Response(200, body)

    @staticmethod
    def _place(cursor: str) -> tuple[int, int]:
        try:
            stamp, _, id = base64.b64decode(cursor, validate=True).decode().removesuffix("|").partition(".0||")
            return int(stamp), int(id)
        except ValueError:
            raise Stop(failed(400, "InvalidCursor", "The cursor is not valid")) from None

    def tickets(self, request: Request) -> Response:
        rows = [row for row in self.records.tickets() if row["status"] != "deleted"]
        key, sort = request.query.get("external_id"), request.query.get("sort", "id")
        if key is not None:
            rows = [row for row in self._indexed(rows) if row["external_id"] == key]
        if sort not in SORTS:
            raise Stop(failed(400, "InvalidSort", "sort is not valid"))
        rows.sort(key=lambda row: (row[sort.removeprefix("-")], row["id"]), reverse=sort.startswith("-"))
        return paged(request, self.app.base, "tickets", self._visible(rows))

    def deleted(self, request: Request) -> Response:
        rows = self.records.store.all("deleted")
        return Response(200, {"deleted_tickets": rows, "count": len(rows), "next_page": None, "previous_page": None})

    def search(self, request: Request) -> Response:
        if request.query.get("filter[type]") != "ticket":
            raise Stop(failed(400, "invalid", "filter[type] is required"))
        terms = re.findall(r'(\w+):"([^"]*)"', request.query.get("query", ""))
        rows = [row for row in self._indexed(self.records.tickets()) if row["status"] != "deleted"]
        found = [row for row in rows if any(_holds(row, key, text) for key, text in terms)]
        results = [{**row, "result_type": "ticket"} for row in self._visible(found)]
        return paged(request, self.app.base, "results", results, SEARCH_PAGE, facets=None)

    def count(self, request: Request) -> Response:
        me = self.app.caller(request)["id"]
        rows = self._indexed(self.records.tickets())
        return Response(200, {"count": sum(row["assignee_id"] == me for row in rows)})

    def _indexed(self, rows: list[Row]) -> list[Row]:
        """What an index knows that lags behind: tickets that are older than the lag."""
        horizon = int(self.records.now() - self.app.index_lag)
        return [row for row in rows if _seconds(row["created_at"]) <= horizon]

    def _visible(self, rows: list[Row]) -> list[Row]:
        return [self.app.shown(row, export=False) for row in rows if row["id"] not in self.app.hidden_tickets]

    # Fields, people ------------------------------------------------------------------------------------------------

    def fields(self, request: Request) -> Response:
        rows = [row for row in self.records.fields() if row["id"] not in self.app.hidden_fields]
        return paged(request, self.app.base, "ticket_fields", rows)

    def forms(self, request: Request) -> Response:
        rows = self.records.store.all("form")
        return Response(200, {"ticket_forms": rows, "count": len(rows), "next_page": None, "previous_page": None})

    def groups(self, request: Request) -> Response:
        return paged(request, self.app.base, "groups", self.records.store.all("group"))

    def me(self, request: Request) -> Response:
        return Response(200, {"user": self.app.caller(request)})

    def users(self, request: Request) -> Response:
        return paged(request, self.app.base, "users", self.records.store.all("user"))

    def users_by_word(self, request: Request) -> Response:
        query = request.query.get("query", "")
        emails = {text.lower() for text in re.findall(r'email:"([^"]*)"', query)}
        words = re.findall(r"[\w@.+-]+", re.sub(r'email:"[^"]*"', "", query).lower())
        everybody = self.records.store.all("user")
        if emails:
            return self._people([row for row in everybody if (row["email"] or "").lower() in emails])
        said = [(row, f"{row['name']} {row['email']}".lower()) for row in everybody]
        return self._people([row for row, text in said if words and all(word in text for word in words)])

    @staticmethod
    def _people(rows: list[Row]) -> Response:
        return Response(200, {"users": rows, "count": len(rows), "next_page": None, "previous_page": None})


def _holds(row: Row, key: str, text: str) -> bool:
    """Whether a field's words hold these words one after the other; signs are no words."""
    if key.startswith("custom_field_"):
        id = int(key.removeprefix("custom_field_"))
        value = next((one["value"] for one in row["custom_fields"] if one["id"] == id), None)
    else:
        value = row.get(key)
    wanted, there = re.findall(r"\w+", text.lower()), re.findall(r"\w+", str(value or "").lower())
    return bool(wanted) and any(
        there[start : start + len(wanted)] == wanted for start in range(len(there) - len(wanted) + 1)
    )


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
