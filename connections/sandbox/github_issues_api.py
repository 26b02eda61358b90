"""Issues, comments and events over REST, and the one mutation that deletes an issue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from connections.sandbox.base import Request, Response, Stop
from connections.sandbox.github_records import Doc, Refusal, iso, node_id

if TYPE_CHECKING:
    from connections.sandbox.github import GitHubStandin

SET_BY_WRITERS = ("labels", "assignees", "milestone", "type")


class IssuesApi:
    def __init__(self, app: GitHubStandin) -> None:
        self.app = app
        self.records, self.documents = app.records, app.documents
        repo = r"/api/v3/repos/(?P<owner>[^/]+)/(?P<repo>[^/]+)"
        one = repo + r"/issues/(?P<number>\d+)"
        for method, path, handler in (
            ("GET", repo + "/issues", self.listing),
            ("POST", repo + "/issues", self.create),
            ("GET", one, self.one),
            ("PATCH", one, self.update),
            ("GET", one + "/events", self.events),
            ("GET", one + "/comments", self.comments_of),
            ("POST", one + "/comments", self.comment),
            ("GET", repo + "/issues/comments", self.comments),
            ("GET", repo + r"/issues/comments/(?P<id>\d+)", self.one_comment),
            ("PATCH", repo + r"/issues/comments/(?P<id>\d+)", self.edit_comment),
            ("DELETE", repo + r"/issues/comments/(?P<id>\d+)", self.remove_comment),
            ("GET", r"/api/v3/repositories/(?P<id>\d+)/issues/(?P<number>\d+)", self.moved),
            ("POST", "/api/graphql", self.graphql),
        ):
            app.route(method, path, handler)

    # Reading -----------------------------------------------------------------------------------------------

    def listing(self, request: Request, owner: str, repo: str) -> Response:
        repository = self.app.repository(request, owner, repo)
        query = request.query
        rows = [doc for doc in self.records.listed(repository) if self._fits(doc, query, repository)]
        if not repository["has_issues"]:
            rows = [doc for doc in rows if doc["pull_request"]]
        return self._listed(request, rows, query, "created", "desc", self.documents.issue)

    def _fits(self, doc: Doc, query: dict[str, str], repository: Doc) -> bool:
        state = query.get("state", "open")
        labels = {name.lower() for name in query.get("labels", "").split(",") if name}
        held = {name.lower() for name in doc["labels"]}
        assigned = query.get("assignee", "").lower() in ("", *(login.lower() for login in doc["assignees"]))
        kind = query.get("type", "").lower() in ("", str(doc["type"]).lower())
        return state in ("all", doc["state"]) and labels <= held and assigned and kind

    def _listed(
        self,
        request: Request,
        rows: Sequence[Doc],
        query: dict[str, str],
        sort: str,
        direction: str,
        show: Callable[[Doc], Doc],
    ) -> Response:
        column = f"{query.get('sort', sort)}_at"
        since = query.get("since", "")
        inside = [doc for doc in rows if not since or str(iso(doc["updated_at"])) >= since]
        way = query.get("direction", direction)
        inside.sort(key=lambda doc: (doc.get(column, 0), doc["id"]), reverse=way == "desc")
        return self.app.paged(request, [show(doc) for doc in self.app.page_of(request, inside)], len(inside))

    def one(self, request: Request, owner: str, repo: str, number: str) -> Response:
        return Response(200, self.documents.issue(self._issue(request, owner, repo, number)))

    def moved(self, request: Request, id: str, number: str) -> Response:
        """Where an issue went, by the id of its repository."""
        home = next((doc for doc in self.records.all("repository") if str(doc["id"]) == id), None)
        if home is None or home["key"] in self.app.hidden:
            raise Stop(self.app.missing())
        owner, _, name = home["full_name"].partition("/")
        return self.one(request, owner, name, number)

    def _issue(self, request: Request, owner: str, repo: str, number: str) -> Doc:
        repository = self.app.repository(request, owner, repo)
        issue = self.records.issue(repository, number)
        if issue is None:
            raise Stop(self.app.missing())
        if not repository["has_issues"] and not issue["pull_request"]:
            raise Stop(Response(410, {"message": "Issues are disabled for this repo"}))
        if issue.get("gone") == "deleted":
            raise Stop(Response(410, {"message": "This issue was deleted", "documentation_url": self.app.docs}))
        if issue.get("gone") == "moved":
            target = self.records.get("issue", issue["moved_to"])
            assert target is not None
            home = self.documents.home(target)
            if home["key"] in self.app.hidden:
                raise Stop(self.app.missing())
            where = f"{self.documents.api}/repositories/{home['id']}/issues/{target['number']}"
            raise Stop(self.app.sent_on(where))
        return issue

    def events(self, request: Request, owner: str, repo: str, number: str) -> Response:
        issue = self._issue(request, owner, repo, number)
        home = self.documents.home(issue)
        rows = self.records.events(issue)
        shown = [self.documents.event(home, doc) for doc in self.app.page_of(request, rows)]
        return self.app.paged(request, shown, len(rows))

    # Writing -----------------------------------------------------------------------------------------------

    def create(self, request: Request, owner: str, repo: str) -> Response:
        repository = self.app.repository(request, owner, repo, write=True)
        if not repository["has_issues"]:
            raise Stop(Response(410, {"message": "Issues are disabled for this repo"}))
        me = self.app.caller(request)
        try:
            doc = self.records.create(repository["full_name"], me["login"], self._sent(request))
        except Refusal as refusal:
            raise Stop(self.app.refused(refusal)) from None
        return Response(201, self.documents.issue(doc), {"Location": self.documents.issue(doc)["url"]})

    def update(self, request: Request, owner: str, repo: str, number: str) -> Response:
        repository = self.app.repository(request, owner, repo, write=True)
        issue = self._issue(request, owner, repo, number)
        me = self.app.caller(request)
        if not self.app.may_push and issue["user"] != me["login"]:
            raise Stop(Response(403, {"message": "Must have admin rights to Repository."}))
        try:
            doc = self.records.edit(repository["full_name"], number, me["login"], self._sent(request))
        except Refusal as refusal:
            raise Stop(self.app.refused(refusal)) from None
        return Response(200, self.documents.issue(doc))

    def _sent(self, request: Request) -> dict[str, Any]:
        """What of the body is looked at: without push access some is dropped without a word."""
        body = request.json()
        if not isinstance(body, dict):
            raise Stop(Response(400, {"message": "Problems parsing JSON"}))
        return {k: v for k, v in body.items() if self.app.may_push or k not in SET_BY_WRITERS}

    def graphql(self, request: Request) -> Response:
        body = request.json()
        wanted = body.get("variables", {}).get("id")
        if "deleteIssue" not in body.get("query", ""):
            return Response(200, {"errors": [{"message": "Parse error"}]})
        for doc in self.records.all("issue"):
            if node_id("I", doc["id"]) == wanted and not doc.get("gone"):
                if not self.app.may_push:
                    said = {"type": "FORBIDDEN", "path": ["deleteIssue"], "message": "Viewer not authorized to delete"}
                    return Response(200, {"data": {"deleteIssue": None}, "errors": [said]})
                me = self.app.caller(request)
                self.records.remove(self.documents.home(doc)["full_name"], doc["number"], me["login"])
                return Response(200, {"data": {"deleteIssue": {"clientMutationId": None}}})
        said = {"type": "NOT_FOUND", "path": ["deleteIssue"], "message": "Could not resolve to a node"}
        return Response(200, {"data": {"deleteIssue": None}, "errors": [said]})

    # Comments ----------------------------------------------------------------------------------------------

    def comments(self, request: Request, owner: str, repo: str) -> Response:
        repository = self.app.repository(request, owner, repo)
        keys = {doc["key"] for doc in self.records.issues(repository)}
        rows = [doc for doc in self.records.all("comment") if doc["issue"] in keys]
        return self._listed(request, rows, request.query, "created", "asc", self.documents.comment)

    def comments_of(self, request: Request, owner: str, repo: str, number: str) -> Response:
        rows = self.records.comments(self._issue(request, owner, repo, number))
        return self._listed(request, rows, {}, "created", "asc", self.documents.comment)

    def comment(self, request: Request, owner: str, repo: str, number: str) -> Response:
        issue = self._issue(request, owner, repo, number)
        try:
            doc = self.records.comment(issue, self.app.caller(request)["login"], request.json().get("body"))
        except Refusal as refusal:
            raise Stop(self.app.refused(refusal)) from None
        stored = self.records.get("comment", doc["id"])
        assert stored is not None
        return Response(201, self.documents.comment(stored))

    def _comment(self, request: Request, owner: str, repo: str, id: str) -> Doc:
        repository = self.app.repository(request, owner, repo)
        doc = self.records.get("comment", id)
        issue = self.records.get("issue", doc["issue"]) if doc else None
        if doc is None or issue is None or issue["repository"] != repository["id"]:
            raise Stop(self.app.missing())
        return doc

    def one_comment(self, request: Request, owner: str, repo: str, id: str) -> Response:
        return Response(200, self.documents.comment(self._comment(request, owner, repo, id)))

    def edit_comment(self, request: Request, owner: str, repo: str, id: str) -> Response:
        doc = self._comment(request, owner, repo, id)
        try:
            new = self.records.edit_comment(doc, self.app.caller(request)["login"], request.json().get("body"))
        except Refusal as refusal:
            raise Stop(self.app.refused(refusal)) from None
        return Response(200, self.documents.comment(new))

    def remove_comment(self, request: Request, owner: str, repo: str, id: str) -> Response:
        self.records.remove_comment(self._comment(request, owner, repo, id), self.app.caller(request)["login"])
        return Response(204)
