"""Tickets one by one and many at once, their comments and audits."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from connections.sandbox.base import Request, Response, Stop
from connections.sandbox.zendesk_answers import failed, paged
from connections.sandbox.zendesk_records import Conflict, Invalid, Row

if TYPE_CHECKING:
    from connections.sandbox.zendesk import ZendeskStandin

MOST = 100
IDEMPOTENCY_SECONDS = 2 * 3600


class TicketsApi:
    def __init__(self, app: ZendeskStandin) -> None:
        self.app = app
        self.records = app.records
        tickets, one = r"/api/v2/tickets", r"/api/v2/tickets/(?P<id>\d+)"
        app.route("POST", tickets, self.create)
        app.route("GET", tickets + "/show_many", self.show_many)
        app.route("POST", tickets + "/create_many", self.create_many)
        app.route("PUT", tickets + "/update_many", self.update_many)
        app.route("GET", one, self.show)
        app.route("PUT", one, self.update)
        app.route("DELETE", one, self.delete)
        app.route("GET", one + "/comments", self.comments)
        app.route("GET", one + "/audits", self.audits)
        app.route("GET", r"/api/v2/job_statuses/show_many", self.jobs)
        app.route("GET", r"/api/v2/job_statuses/(?P<id>[\w-]+)", self.job)

    def show(self, request: Request, id: str) -> Response:
        return Response(200, {"ticket": self._shown(self._there(id))})

    def show_many(self, request: Request) -> Response:
        ids = [id for id in request.query.get("ids", "").split(",") if id]
        if len(ids) > MOST:
            raise Stop(failed(400, "TooManyValues", f"max_count {MOST}"))
        rows = [row for id in dict.fromkeys(ids) if id.isdecimal() and (row := self.records.ticket(int(id)))]
        visible = [self._shown(row) for row in rows if row["id"] not in self.app.hidden_tickets]
        return Response(200, {"tickets": visible, "count": len(visible), "next_page": None, "previous_page": None})

    def create(self, request: Request) -> Response:
        given = self._given(request, "ticket")
        key = request.headers.get("idempotency-key")
        kept = self.records.store.get("idempotency", key) if key else None
        body = json.dumps(given, sort_keys=True)
        if kept and self.records.now() - kept["at"] < IDEMPOTENCY_SECONDS:
            if kept["body"] != body:
                raise Stop(
                    failed(400, "IdempotentRequestError", "Request parameters don't match the given idempotency key")
                )
            return Response(201, kept["answer"], {"x-idempotency-lookup": "hit"})
        row, audit = self._tried(lambda: self.records.create(given, self.app.caller(request)["id"]))
        answer = {"ticket": self._shown(row), "audit": audit}
        if key:
            self.records.store.put("idempotency", key, {"at": self.records.now(), "body": body, "answer": answer})
        headers = {"Location": f"{self.app.base}/api/v2/tickets/{row['id']}.json"}
        return Response(201, answer, headers | ({"x-idempotency-lookup": "miss"} if key else {}))

    def update(self, request: Request, id: str) -> Response:
        self._there(id)
        self.app.count_update(id)
        given = self._given(request, "ticket")
        row, audit = self._tried(lambda: self.records.update(int(id), given, self.app.caller(request)["id"]))
        return Response(200, {"ticket": self._shown(row), "audit": audit})

    def delete(self, request: Request, id: str) -> Response:
        self._there(id)
        self.records.delete(int(id), self.app.caller(request)["id"])
        return Response(204)

    def create_many(self, request: Request) -> Response:
        return self._queue(request, "create")

    def update_many(self, request: Request) -> Response:
        return self._queue(request, "update")

    def _queue(self, request: Request, verb: str) -> Response:
        tasks = self._given(request, "tickets", list)
        if len(tasks) > MOST:
            raise Stop(failed(400, "TooManyValues", f"max_count {MOST}"))
        job = self.app.jobs.queue(self.app.base, tasks, verb, self.app.caller(request)["id"])
        return Response(200, {"job_status": job})

    def job(self, request: Request, id: str) -> Response:
        job = self.app.jobs.look(id)
        return Response(200, {"job_status": job}) if job else failed(404, "RecordNotFound", "Not found")

    def jobs(self, request: Request) -> Response:
        found = [job for id in request.query.get("ids", "").split(",") if (job := self.app.jobs.look(id))]
        return Response(200, {"job_statuses": found})

    def comments(self, request: Request, id: str) -> Response:
        self._there(id)
        return paged(request, self.app.base, "comments", self.records.comments(int(id)))

    def audits(self, request: Request, id: str) -> Response:
        self._there(id)
        return paged(request, self.app.base, "audits", self.records.audits(int(id)))

    # Helpers -----------------------------------------------------------------------------------------------------

    def _there(self, id: str) -> Row:
        row = self.records.ticket(int(id))
        if row is None or row["id"] in self.app.hidden_tickets:
            raise Stop(failed(404, "RecordNotFound", "Not found"))
        return row

    def _shown(self, row: Row) -> Row:
        return self.app.shown(row, export=False)

    def _given(self, request: Request, key: str, kind: type = dict) -> Any:
        try:
            given = request.json()[key]
        except (ValueError, KeyError, TypeError):
            given = None
        if not isinstance(given, kind):
            raise Stop(failed(400, "ParameterMissing", f"param is missing or the value is empty: {key}"))
        return given

    def _tried(self, act: Callable[[], tuple[Row, Row]]) -> tuple[Row, Row]:
        try:
            return act()
        except Invalid as problem:
            raise Stop(Response(422, problem.document())) from None
        except Conflict:
            told = "Safe Update prevented the update due to outdated ticket data. Please fetch the latest ticket data."
            raise Stop(failed(409, "UpdateConflict", told)) from None
