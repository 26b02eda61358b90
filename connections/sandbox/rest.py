"""A small JSON API with habits to choose: things with notes, people, sign-ins of every kind, webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

from connections.sandbox.base import Request, Response, Standin, Stop
from connections.sandbox.rest_habits import Habits
from connections.sandbox.rest_list import listed
from connections.sandbox.rest_things import Problem, Things

KEY, USER, PASSWORD = "a-long-api-key", "sync", "a-long-password"
CLIENT, SECRET, WEBHOOK_SECRET = "a-client", "a-long-client-secret", "a-long-webhook-secret"
TOKEN_SECONDS = 600


class RestStandin(Standin):
    api_prefixes = ("/api/", "/auth/")

    def __init__(self, habits: Habits | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.habits = habits or Habits()
        self.things = Things(self.store, self.habits, self.clock)
        self.tokens: dict[str, float] = {}
        self.seen_queries: list[dict[str, str]] = []
        self.route("POST", "/auth/(?P<way>login|token)", self.token)
        self.route("GET", "/api/me", lambda request: Response(200, {"id": USER, "name": "Sync", "site": "acme"}))
        self.route("GET", "/api/people", lambda request: Response(200, self.things.people))
        self.route("GET", "/api/things", self.list)
        self.route("POST", "/api/things", self.create)
        self.route("GET", "/api/things/(?P<id>[^/]+)", self.read)
        self.route("PATCH", "/api/things/(?P<id>[^/]+)", self.update)
        self.route("PUT", "/api/things/(?P<id>[^/]+)", self.update)
        self.route("DELETE", "/api/things/(?P<id>[^/]+)", self.delete)
        self.route("GET", "/api/things/(?P<id>[^/]+)/notes", self.notes)
        self.route("POST", "/api/things/(?P<id>[^/]+)/notes", self.add_note)
        self.route("GET", "/api/notes/(?P<id>[^/]+)", self.note)

    def not_found(self, request: Request) -> Response:
        return Response(404, {"error": {"message": f"nothing at {request.path}"}})

    # Signing in. ------------------------------------------------------------------------------------------------

    def authorize(self, request: Request) -> None:
        if not request.path.startswith("/auth/") and not self._is_known(request):
            raise Stop(Response(401, {"error": {"message": "who are you?"}}))

    def _is_known(self, request: Request) -> bool:
        given = request.headers.get("authorization", "")
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        token = given.removeprefix("Bearer ")
        return {
            "none": lambda: True,
            "header": lambda: request.headers.get("x-api-key") == KEY,
            "query": lambda: request.query.get("api_key") == KEY,
            "basic": lambda: given == f"Basic {pair}",
            "bearer": lambda: given == f"Bearer {KEY}",
        }.get(self.habits.sign_in, lambda: self.tokens.get(token, 0) > self.clock())()

    def token(self, request: Request, way: str) -> Response:
        if way == "login":
            body = request.json()
            fits = isinstance(body, dict) and (body.get("user"), body.get("password")) == (USER, PASSWORD)
        else:
            form = request.form()
            fits = (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)
            fits = fits and form.get("grant_type") == "client_credentials"
        if not fits:
            return Response(401, {"error": {"message": "wrong user or password"}})
        token = f"token-{len(self.tokens)}-{hashlib.sha256(str(self.clock()).encode()).hexdigest()}"
        self.tokens[token] = self.clock() + TOKEN_SECONDS
        if way == "login":
            return Response(200, {"session": {"token": token}})
        return Response(200, {"access_token": token, "expires_in": TOKEN_SECONDS, "token_type": "Bearer"})

    # Things. ----------------------------------------------------------------------------------------------------

    def list(self, request: Request) -> Response:
        self.seen_queries.append(dict(request.query))
        return listed(self.things, self.habits, request)

    def read(self, request: Request, id: str) -> Response:
        return self._answered(lambda: self.things.shown(self.things.present(id)))

    def create(self, request: Request) -> Response:
        key = request.headers.get("idempotency-key", "")
        with self.store.lock:
            if self.habits.idempotent and key and (known := self.things.by_idempotency_key(key)):
                return self._thing(200, known)
            try:
                thing = self.things.create(self._body(request), USER, key)
            except Problem as problem:
                return problem.response
        if self.habits.answers:
            return self._thing(201, thing)
        return Response(201, None, {"Location": f"/api/things/{thing['id']}"})

    def update(self, request: Request, id: str) -> Response:
        if request.method != self.habits.write:
            return Response(405, {"error": {"message": "use another method"}})
        with self.store.lock:
            try:
                self.things.check_condition(id, request.headers, self._body(request))
                thing = self.things.update(id, self._body(request), USER, whole=request.method == "PUT")
            except Problem as problem:
                return problem.response
        return self._thing(200, thing) if self.habits.answers else Response(204)

    def delete(self, request: Request, id: str) -> Response:
        with self.store.lock:
            try:
                self.things.check_condition(id, request.headers, None)
                self.things.delete(id, USER)
            except Problem as problem:
                return problem.response
        return Response(204)

    def _body(self, request: Request) -> dict[str, Any]:
        try:
            body = request.json()
        except ValueError:
            raise Problem(400, "no JSON") from None
        if self.habits.wrap:
            body = body.get(self.habits.wrap) if isinstance(body, dict) else None
        if not isinstance(body, dict):
            raise Problem(400, "a thing is expected")
        return body

    def _answered(self, act: Callable[[], dict[str, Any]]) -> Response:
        try:
            with self.store.lock:
                thing = act()
        except Problem as problem:
            return problem.response
        return self._thing(200, thing)

    def _thing(self, status: int, thing: dict[str, Any]) -> Response:
        shown = self.things.shown(thing) if "_gone" in thing else thing
        body = {self.habits.wrap: shown} if self.habits.wrap else shown
        etag = {"ETag": f'"{thing["lock"]}"'} if self.habits.condition in ("etag", "required") else {}
        return Response(status, body, etag)

    # Notes. -----------------------------------------------------------------------------------------------------

    def notes(self, request: Request, id: str) -> Response:
        try:
            self.things.present(id)
        except Problem as problem:
            return problem.response
        return Response(200, {"notes": self.things.notes_of(id)})

    def note(self, request: Request, id: str) -> Response:
        found = self.store.get("note", id)
        return Response(200, found) if found else self.not_found(request)

    def add_note(self, request: Request, id: str) -> Response:
        try:
            self.things.present(id)
            return Response(201, self.things.add_note(id, str(self._body(request).get("text", "")), USER))
        except Problem as problem:
            return problem.response

    # Webhooks. --------------------------------------------------------------------------------------------------

    def signed(self, id: str, event: str = "changed") -> tuple[dict[str, str], bytes]:
        """(headers, body) of the webhook request that tells of a thing."""
        thing = self.store.get("thing", id) or {}
        sent = str(int(self.clock()))
        body = {"events": [{"type": "thing", "id": id, "what": event, "title": thing.get("title")}]}
        text = json.dumps(body).encode()
        made = hmac.new(WEBHOOK_SECRET.encode(), sent.encode() + b"." + text, hashlib.sha256).hexdigest()
        delivery = f"{id}-{thing.get('lock')}"
        return {"X-Signature": f"sha256={made}", "X-Sent": sent, "X-Delivery": delivery}, text
