"""Issues and their search, over REST version 3 of the Jira stand-in."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from connections.sandbox import jira_fields as fields_of
from connections.sandbox import jira_search as search
from connections.sandbox.base import Request, Response
from connections.sandbox.jira_fields import Refusal
from connections.sandbox.jira_records import Doc, User
from connections.sandbox.jira_resource import API, ISSUE, Resource, Route, asked, body_of, number, split
from connections.sandbox.jira_site import Site
from connections.sandbox.jira_views import View

BULK_FETCH = 100
BULK_CREATE = 50
BULK_CHANGELOG_ISSUES = 1000
COMMENT_LIST = 1000
BULK_CHANGELOG_FIELDS = 10


class Issues(Resource):
    """For tests: `unfetchable`: issues bulkfetch reports as not to be had just now, {id: message}; `room`: how many fit
    into one answer of it, which reports the rest like that."""

    def __init__(self, site: Site, caller: Callable[[Request], User], base: Callable[[Request], str]) -> None:
        super().__init__(site, caller, base)
        self.unfetchable: dict[str, str] = {}
        self.room = BULK_FETCH

    def table(self) -> Iterable[Route]:
        return [
            ("GET", f"{API}/search/jql", self.search_get),
            ("POST", f"{API}/search/jql", self.search_post),
            ("POST", f"{API}/search/approximate-count", self.count),
            ("POST", f"{API}/issue", self.create),
            ("POST", f"{API}/issue/bulk", self.bulk_create),
            ("POST", f"{API}/issue/bulkfetch", self.bulk_fetch),
            ("POST", f"{API}/changelog/bulkfetch", self.bulk_changelog),
            ("GET", ISSUE, self.issue),
            ("PUT", ISSUE, self.edit),
            ("DELETE", ISSUE, self.delete),
            ("PUT", f"{ISSUE}/assignee", self.assign),
            ("GET", f"{ISSUE}/editmeta", self.editmeta),
            ("GET", f"{ISSUE}/transitions", self.transitions),
            ("POST", f"{ISSUE}/transitions", self.transition),
            ("GET", f"{ISSUE}/changelog", self.changelog),
        ]

    # ---- search -------------------------------------------------------------------------------------------

    def search_get(self, request: Request) -> Response:
        query: Doc = dict(request.query)
        for name in ("fields", "properties", "reconcileIssues"):
            query[name] = asked(request, name)
        query["maxResults"] = number(request, "maxResults", 50, search.MAX_IDS)
        return self._search(request, query)

    def search_post(self, request: Request) -> Response:
        return self._search(request, body_of(request))

    def _search(self, request: Request, query: Doc) -> Response:
        view = self.view(request)
        wanted = split(query.get("fields")) or ["id"]
        properties = split(query.get("properties"))
        if len(properties) > search.MAX_PROPERTIES:
            raise Refusal(400, [f"A maximum of {search.MAX_PROPERTIES} issue properties can be requested."])
        reconcile = [str(i) for i in query.get("reconcileIssues") or []]
        if len(reconcile) > search.MAX_RECONCILED:
            raise Refusal(400, [f"A maximum of {search.MAX_RECONCILED} issues can be reconciled."])
        ids_only = not set(wanted) - {"id", "key"} and not properties
        size = query.get("maxResults", 50)
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise Refusal(400, ["The maxResults parameter must be a whole number from 0."])
        size = min(size, search.MAX_IDS if ids_only else search.MAX_WITH_FIELDS)
        text = str(query.get("jql") or "")
        found, token = search.page(self.site, view.viewer, text, size, query.get("nextPageToken"), reconcile)
        expand = split(query.get("expand"))
        per_issue = [e for e in expand if e not in ("names", "schema")]
        page: Doc = {"issues": [view.issue(i, wanted, per_issue, properties) for i in found], "isLast": token is None}
        if ids_only:
            for issue in page["issues"]:
                if "key" not in wanted:
                    del issue["key"], issue["self"]
        if token:
            page["nextPageToken"] = token
        shown = {d.id: d for i in found for d in view.chosen(i, wanted)}
        if "names" in expand:
            page["names"] = {id: d.name for id, d in shown.items()}
        if "schema" in expand:
            page["schema"] = {id: fields_of.schema(d) for id, d in shown.items()}
        return Response(200, page)

    def count(self, request: Request) -> Response:
        found, _ = search.find(self.site, self.caller(request), str(body_of(request).get("jql") or ""), [])
        return Response(200, {"count": len(found)})

    # ---- issues -------------------------------------------------------------------------------------------

    def _create(self, actor: User, body: Doc) -> Doc:
        fields, update = body.get("fields") or {}, body.get("update") or {}
        plain = {k: v for k, v in update.items() if k not in fields}
        for id, verbs in plain.items():
            sets = [v["set"] if "set" in v else v.get("add") for v in verbs]
            many = "add" in verbs[0] if verbs else False
            fields = {**fields, id: sets if many else sets[-1]}
        return self.site.create(actor, fields, body.get("properties"))

    def created(self, view: View, issue: Doc) -> Doc:
        return {"id": issue["id"], "key": issue["key"], "self": f"{view.rest}/issue/{issue['id']}"}

    def create(self, request: Request) -> Response:
        view = self.view(request)
        return Response(201, self.created(view, self._create(view.viewer, body_of(request))))

    def bulk_create(self, request: Request) -> Response:
        view = self.view(request)
        updates = body_of(request).get("issueUpdates")
        if not isinstance(updates, list) or not 0 < len(updates) <= BULK_CREATE:
            refusal = Refusal(400, [f"The number of issues must be between 1 and {BULK_CREATE}."])
            whole = {"status": 400, "elementErrors": refusal.body(), "failedElementNumber": 0}
            return Response(400, {"issues": [], "errors": [whole]})
        issues, errors = [], []
        for position, one in enumerate(updates):
            try:
                issues.append(self.created(view, self._create(view.viewer, one)))
            except Refusal as refusal:
                failed = {"status": refusal.status, "elementErrors": refusal.body(), "failedElementNumber": position}
                errors.append(failed)
        return Response(201 if issues else 400, {"issues": issues, "errors": errors})

    def bulk_fetch(self, request: Request) -> Response:
        view = self.view(request)
        body = body_of(request)
        wanted = body.get("issueIdsOrKeys")
        if not isinstance(wanted, list) or not 0 < len(wanted) <= BULK_FETCH:
            raise Refusal(400, [f"The number of issue ids or keys must be between 1 and {BULK_FETCH}."])
        found: dict[str, Doc] = {}
        errors = []
        for reference in wanted:
            issue = self.site.find(str(reference))
            # As described by the vendor: issues that are not found or not visible are left out without an error.
            if issue is None or not self.site.may(view.viewer, "browse", issue["project"]):
                continue
            if issue["id"] in self.unfetchable:
                errors.append({"id": issue["id"], "errorMessage": self.unfetchable[issue["id"]]})
            elif len(found) >= self.room:
                errors.append({"id": issue["id"], "errorMessage": "The response would be too large."})
            else:
                found[issue["id"]] = issue
        fields, expand = split(body.get("fields")) or ["*navigable"], split(body.get("expand"))
        properties = split(body.get("properties"))
        if len(properties) > search.MAX_PROPERTIES:
            raise Refusal(400, [f"A maximum of {search.MAX_PROPERTIES} issue properties can be requested."])
        issues = [view.issue(found[id], fields, expand, properties) for id in sorted(found, key=int)]
        return Response(200, {"issues": issues, "issueErrors": errors})

    def issue(self, request: Request, key: str) -> Response:
        view = self.view(request)
        issue = self.site.issue(key, view.viewer)
        fields = asked(request, "fields") or ["*all"]
        expand = split(request.query.get("expand", ""))
        return Response(200, view.issue(issue, fields, expand, asked(request, "properties")))

    def edit(self, request: Request, key: str) -> Response:
        view = self.view(request)
        body = body_of(request)
        issue = self.site.issue(key, view.viewer)
        changed = self.site.edit(
            view.viewer, issue, body.get("fields") or {}, body.get("update") or {}, body.get("properties")
        )
        if request.query.get("returnIssue") == "true":
            return Response(200, view.issue(changed, ["*all"], split(request.query.get("expand", ""))))
        return Response(204)

    def assign(self, request: Request, key: str) -> Response:
        actor = self.caller(request)
        issue = self.site.issue(key, actor)
        self.site.edit(actor, issue, {"assignee": {"accountId": body_of(request).get("accountId")}})
        return Response(204)

    def delete(self, request: Request, key: str) -> Response:
        actor = self.caller(request)
        issue = self.site.issue(key, actor)
        children = [c for c in self.site.children.get(issue["id"], ()) if c in self.site.documents]
        if children and request.query.get("deleteSubtasks") != "true":
            raise Refusal(400, [f"The issue '{issue['key']}' has subtasks. You must specify the 'deleteSubtasks' "
                                "parameter to delete this issue and all its subtasks."])  # fmt: skip
        for child in children:
            self.site.delete(actor, self.site.documents[child])
        self.site.delete(actor, issue)
        return Response(204)

    def editmeta(self, request: Request, key: str) -> Response:
        view = self.view(request)
        return Response(200, {"fields": view.editmeta(self.site.issue(key, view.viewer))})

    def transitions(self, request: Request, key: str) -> Response:
        view = self.view(request)
        issue = self.site.issue(key, view.viewer)
        wanted = request.query.get("transitionId")
        with_fields = "transitions.fields" in split(request.query.get("expand", ""))
        steps = [t for t in self.site.transitions(issue, view.viewer) if wanted in (None, t.id)]
        return Response(200, {"expand": "transitions", "transitions": [view.transition(t, with_fields) for t in steps]})

    def transition(self, request: Request, key: str) -> Response:
        actor = self.caller(request)
        body = body_of(request)
        issue = self.site.issue(key, actor)
        id = (body.get("transition") or {}).get("id")
        if id is None:
            raise Refusal(400, ["Missing 'transition' identifier"])
        self.site.transition(actor, issue, str(id), body.get("fields") or {}, body.get("update") or {})
        return Response(204)

    def changelog(self, request: Request, key: str) -> Response:
        view = self.view(request)
        issue = self.site.issue(key, view.viewer)
        entries = [view.entry(e) for e in self.site.entries_of.get(issue["id"], [])]
        return Response(200, self.page_bean(request, entries, 100, f"/rest/api/3/issue/{key}/changelog"))

    def bulk_changelog(self, request: Request) -> Response:
        view = self.view(request)
        body = body_of(request)
        wanted = body.get("issueIdsOrKeys")
        if not isinstance(wanted, list) or not 0 < len(wanted) <= BULK_CHANGELOG_ISSUES:
            raise Refusal(400, [f"The number of issue ids or keys must be between 1 and {BULK_CHANGELOG_ISSUES}."])
        field_ids = body.get("fieldIds") or []
        if len(field_ids) > BULK_CHANGELOG_FIELDS:
            raise Refusal(400, [f"A maximum of {BULK_CHANGELOG_FIELDS} field ids can be requested."])
        ids = {
            i["id"]
            for w in wanted
            if (i := self.site.find(str(w))) and self.site.may(view.viewer, "browse", i["project"])
        }
        entries = [e for id in ids for e in self.site.entries_of.get(id, [])]
        if field_ids:
            entries = [e for e in entries if any(i["fieldId"] in field_ids for i in e["items"])]
        entries.sort(key=lambda e: (e["created"], int(e["issue"]), int(e["id"])))
        start, size = int(body.get("nextPageToken") or 0), int(body.get("maxResults", 1000))
        grouped: dict[str, list[Doc]] = {}
        for entry in entries[start : start + size]:
            shown = view.entry(entry)
            if field_ids:
                shown["items"] = [i for i in shown["items"] if i["fieldId"] in field_ids]
            grouped.setdefault(entry["issue"], []).append(shown)
        page: Doc = {"issueChangeLogs": [{"issueId": k, "changeHistories": v} for k, v in grouped.items()]}
        if start + size < len(entries):
            page["nextPageToken"] = str(start + size)
        return Response(200, page)
