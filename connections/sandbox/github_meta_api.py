"""Accounts, repositories with their labels, milestones, types and people, webhooks, and the sign-in of an app."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, cast

import jwt

from connections.sandbox.base import Request, Response, Stop
from connections.sandbox.github_records import Doc, iso

if TYPE_CHECKING:
    from connections.sandbox.github import GitHubStandin


class MetaApi:
    def __init__(self, app: GitHubStandin) -> None:
        self.app = app
        self.records, self.documents = app.records, app.documents
        repo = r"/api/v3/repos/(?P<owner>[^/]+)/(?P<repo>[^/]+)"
        for method, path, handler in (
            ("GET", "/api/v3/user", self.me),
            ("GET", r"/api/v3/user/(?P<id>\d+)", self.by_id),
            ("GET", r"/api/v3/users/(?P<login>[^/]+)", self.profile),
            ("GET", "/api/v3/rate_limit", self.limits),
            ("GET", "/api/v3/search/users", self.search_users),
            ("GET", repo, self.repository),
            ("GET", repo + "/labels", self.labels),
            ("GET", repo + "/milestones", self.milestones),
            ("GET", repo + "/assignees", self.assignees),
            ("GET", repo + "/assignees/(?P<login>[^/]+)", self.assignee),
            ("GET", r"/api/v3/orgs/(?P<org>[^/]+)/issue-types", self.types),
            ("GET", repo + "/hooks", self.hooks),
            ("POST", repo + "/hooks", self.hook),
            ("PATCH", repo + r"/hooks/(?P<id>\d+)", self.change_hook),
            ("DELETE", repo + r"/hooks/(?P<id>\d+)", self.remove_hook),
            ("GET", "/api/v3/app", self.the_app),
            ("GET", repo + "/installation", self.installation),
            ("POST", r"/api/v3/app/installations/(?P<id>\d+)/access_tokens", self.token),
            ("GET", r"/api/v3/repositories/(?P<id>\d+)", self.repository_by_id),
        ):
            app.route(method, path, handler)

    # Accounts ----------------------------------------------------------------------------------------------

    def me(self, request: Request) -> Response:
        caller = self.app.caller(request)
        if caller["type"] == "Bot":
            raise Stop(Response(403, {"message": "Resource not accessible by integration"}))
        return Response(200, self.documents.profile(caller))

    def by_id(self, request: Request, id: str) -> Response:
        return self._profile(next((doc for doc in self.records.all("account") if str(doc["id"]) == id), None))

    def profile(self, request: Request, login: str) -> Response:
        return self._profile(self.records.get("account", login.lower()))

    def _profile(self, account: Doc | None) -> Response:
        if account is None:
            raise Stop(self.app.missing())
        return Response(200, self.documents.profile(account))

    def search_users(self, request: Request) -> Response:
        """By a part of the shown address."""
        text = request.query.get("q", "").replace("in:email", "").replace('"', "").strip().lower()
        found = [doc for doc in self.records.all("account") if text and text in str(doc["email"] or "").lower()]
        items = [{**(self.documents.user(doc["login"]) or {}), "score": 1.0} for doc in found]
        return Response(200, {"total_count": len(items), "incomplete_results": False, "items": items})

    def limits(self, request: Request) -> Response:
        """Asking costs nothing."""
        self.app.caller(request)
        now = self.app.rate()
        return Response(200, {"resources": {"core": now, "search": {**now, "limit": 30, "remaining": 30}}, "rate": now})

    # Repositories ------------------------------------------------------------------------------------------

    def repository(self, request: Request, owner: str, repo: str) -> Response:
        doc = self.app.repository(request, owner, repo)
        shown = self.documents.repository(doc)
        if self.app.caller(request)["type"] != "Bot":
            rights = dict.fromkeys(("push", "triage"), self.app.may_push)
            shown["permissions"] = {"admin": False, "maintain": False, "pull": True, **rights}
        return Response(200, shown)

    def repository_by_id(self, request: Request, id: str) -> Response:
        doc = next((one for one in self.records.all("repository") if str(one["id"]) == id), None)
        if doc is None:
            raise Stop(self.app.missing())
        return self.repository(request, *doc["full_name"].split("/"))

    def labels(self, request: Request, owner: str, repo: str) -> Response:
        doc = self.app.repository(request, owner, repo)
        return self._listed(request, [self.documents.label(doc, one["name"]) for one in doc["labels"]])

    def milestones(self, request: Request, owner: str, repo: str) -> Response:
        doc = self.app.repository(request, owner, repo)
        return self._listed(request, [self.documents.milestone(doc, one["number"]) for one in doc["milestones"]])

    def assignees(self, request: Request, owner: str, repo: str) -> Response:
        members = self.app.repository(request, owner, repo)["members"]
        return self._listed(request, [self.documents.user(login) for login in members])

    def assignee(self, request: Request, owner: str, repo: str, login: str) -> Response:
        members = self.app.repository(request, owner, repo)["members"]
        if login.lower() not in map(str.lower, members):
            raise Stop(self.app.missing())
        return Response(204)

    def types(self, request: Request, org: str) -> Response:
        owned = [doc for doc in self.records.all("repository") if doc["key"].startswith(f"{org.lower()}/")]
        names = list(dict.fromkeys(name for doc in owned for name in doc["types"]))
        if not names:
            raise Stop(self.app.missing())
        return Response(200, [self.documents.type(name) for name in names])

    def _listed(self, request: Request, rows: list[Any]) -> Response:
        return self.app.paged(request, self.app.page_of(request, rows), len(rows))

    # Webhooks ----------------------------------------------------------------------------------------------

    def _hooks(self, request: Request, owner: str, repo: str) -> list[Doc]:
        doc = self.app.repository(request, owner, repo)
        if not self.app.may_hook:
            raise Stop(self.app.missing())
        return [hook for hook in self.records.all("hook") if hook["repository"] == doc["full_name"]]

    def hooks(self, request: Request, owner: str, repo: str) -> Response:
        return self._listed(request, [self.documents.hook(doc) for doc in self._hooks(request, owner, repo)])

    def hook(self, request: Request, owner: str, repo: str) -> Response:
        known, body = self._hooks(request, owner, repo), request.json()
        if any(one["config"]["url"] == body["config"]["url"] for one in known):
            said = {"resource": "Hook", "code": "custom", "message": "Hook already exists on this repository"}
            raise Stop(Response(422, {"message": "Validation Failed", "errors": [said]}))
        id = self.records.next("hook", 80_001)
        full_name = self.app.repository(request, owner, repo)["full_name"]
        kept = {name: body[name] for name in ("config", "events", "active")}
        doc = {"key": str(id), "id": id, "repository": full_name, "at": self.app.now(), **kept}
        return Response(201, self.documents.hook(self.records.put("hook", doc)))

    def _hook(self, request: Request, owner: str, repo: str, id: str) -> Doc:
        found = next((doc for doc in self._hooks(request, owner, repo) if str(doc["id"]) == id), None)
        if found is None:
            raise Stop(self.app.missing())
        return found

    def change_hook(self, request: Request, owner: str, repo: str, id: str) -> Response:
        doc = {**self._hook(request, owner, repo, id), **request.json()}
        return Response(200, self.documents.hook(self.records.put("hook", doc)))

    def remove_hook(self, request: Request, owner: str, repo: str, id: str) -> Response:
        self.records.drop("hook", self._hook(request, owner, repo, id)["key"])
        return Response(204)

    # An app ------------------------------------------------------------------------------------------------

    def _as_app(self, request: Request) -> Doc:
        """The app whose key signed the request."""
        app = self.app.installed
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            if app is None:
                raise jwt.InvalidTokenError
            # The clock of a test stands still, so only who signed is looked at.
            checks = {"verify_exp": False, "verify_iat": False}
            claims = jwt.decode(token, app["public_key"], algorithms=["RS256"], options=cast(Any, checks))
            if claims.get("iss") != app["id"] or claims["exp"] - claims["iat"] > 660:
                raise jwt.InvalidTokenError
        except (jwt.PyJWTError, KeyError):
            said = "A JSON web token could not be decoded"
            raise Stop(Response(401, {"message": said, "documentation_url": self.app.docs})) from None
        return app

    def the_app(self, request: Request) -> Response:
        app = self._as_app(request)
        return Response(200, {"id": 1, "slug": app["slug"], "name": app["slug"]})

    def installation(self, request: Request, owner: str, repo: str) -> Response:
        return Response(200, {"id": self._as_app(request)["installation"]})

    def token(self, request: Request, id: str) -> Response:
        app = self._as_app(request)
        if str(app["installation"]) != id:
            raise Stop(self.app.missing())
        token = f"ghs_{secrets.token_hex(20)}"
        self.app.tokens[token] = (f"{app['slug']}[bot]", self.app.now() + self.app.token_seconds)
        return Response(201, {"token": token, "expires_at": iso(self.app.now() + self.app.token_seconds)})
