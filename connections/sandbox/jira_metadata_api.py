"""The site, its metadata and its people, over REST version 3 of the Jira stand-in."""

from __future__ import annotations

from collections.abc import Iterable

from connections.sandbox import jira_fields as fields_of
from connections.sandbox.base import Request, Response
from connections.sandbox.jira_fields import Refusal
from connections.sandbox.jira_records import Doc
from connections.sandbox.jira_resource import API, Resource, Route, asked, number
from connections.sandbox.jira_views import View

BUILD = {
    "version": "1001.0.0-SNAPSHOT",
    "versionNumbers": [1001, 0, 0],
    "deploymentType": "Cloud",
    "buildNumber": 100187,
    "buildDate": "2024-01-05T08:01:29.000+0000",
    "scmInfo": "07b4f58ec2724461528057c7cbdf73a2f653f223",
    "serverTitle": "Jira",
    "defaultLocale": {"locale": "en_US"},
}


class Metadata(Resource):
    """What exists at this site: projects, types, statuses, fields, people."""

    def table(self) -> Iterable[Route]:
        return [
            ("GET", f"{API}/myself", self.myself),
            ("GET", f"{API}/serverInfo", self.server_info),
            ("GET", f"{API}/project/search", self.project_search),
            ("GET", f"{API}/project/(?P<key>[^/]+)", self.project),
            ("GET", f"{API}/project/(?P<key>[^/]+)/statuses", self.project_statuses),
            ("GET", f"{API}/project/(?P<key>[^/]+)/(?:components|versions)", self.project_parts),
            ("GET", f"{API}/issuetype", self.issue_types),
            ("GET", f"{API}/issuetype/project", self.project_issue_types),
            ("GET", f"{API}/priority", self.priorities),
            ("GET", f"{API}/priority/search", self.priority_search),
            ("GET", f"{API}/resolution/search", self.resolution_search),
            ("GET", f"{API}/status", self.statuses),
            ("GET", f"{API}/statuscategory", self.status_categories),
            ("GET", f"{API}/field", self.fields),
            ("GET", f"{API}/field/search", self.field_search),
            ("GET", f"{API}/users/search", self.users),
            ("GET", f"{API}/user/search", self.user_search),
            ("GET", f"{API}/user/bulk", self.user_bulk),
            ("GET", f"{API}/user/assignable/search", self.assignable),
            ("GET", f"{API}/user", self.user),
            ("GET", f"{API}/issue/createmeta/(?P<key>[^/]+)/issuetypes", self.create_types),
            ("GET", f"{API}/issue/createmeta/(?P<key>[^/]+)/issuetypes/(?P<type_id>[^/]+)", self.create_fields),
        ]

    # ---- site and metadata --------------------------------------------------------------------------------

    def myself(self, request: Request) -> Response:
        view = self.view(request)
        return Response(200, view.user(view.viewer["accountId"], whole=True))

    def server_info(self, request: Request) -> Response:
        view = self.view(request)
        info = {"baseUrl": view.base, "serverTime": view.stamp(self.site.clock()), **BUILD}
        return Response(200, info)

    def project_search(self, request: Request) -> Response:
        view = self.view(request)
        wanted = request.query.get("query", "").lower()
        keys, ids = asked(request, "keys"), asked(request, "id")
        found = [
            view.project(p["id"])
            for p in sorted(self.site.projects.values(), key=lambda p: p["key"])
            if self.site.may(view.viewer, "browse", p["id"])
            and (wanted in p["key"].lower() or wanted in p["name"].lower())
            and (not keys or p["key"] in keys)
            and (not ids or p["id"] in ids)
        ]
        return Response(200, self.page_bean(request, found, 50, "/rest/api/3/project/search"))

    def project(self, request: Request, key: str) -> Response:
        view = self.view(request)
        project = self.visible_project(request, key)
        shown = view.project(project["id"]) | {
            "expand": "description,lead,issueTypes,url,projectKeys,permissions,insight",
            "description": "",
            "lead": view.user(project["lead"]),
            "components": [],
            "versions": [],
            "issueTypes": [view.issue_type(t[0]) for t in fields_of.ISSUE_TYPES],
            "assigneeType": "UNASSIGNED",
            "roles": {},
            "style": "classic",
            "isPrivate": False,
            "properties": {},
        }
        return Response(200, shown)

    def project_statuses(self, request: Request, key: str) -> Response:
        view = self.view(request)
        project = self.visible_project(request, key)
        steps = self.site.workflow(project["id"])
        names = dict.fromkeys(name for t in steps for name in (*t.sources, t.target))
        statuses = [view.status(s[0]) for s in fields_of.STATUSES if s[1] in names]
        types = [view.issue_type(t[0]) for t in fields_of.ISSUE_TYPES]
        fields = ("self", "id", "name", "subtask")
        return Response(200, [{**{k: t[k] for k in fields}, "statuses": statuses} for t in types])

    def project_parts(self, request: Request, key: str) -> Response:
        self.visible_project(request, key)
        return Response(200, [])

    def issue_types(self, request: Request) -> Response:
        view = self.view(request)
        return Response(200, [view.issue_type(t[0]) for t in fields_of.ISSUE_TYPES])

    def project_issue_types(self, request: Request) -> Response:
        self.visible_project(request, request.query.get("projectId", ""))
        return self.issue_types(request)

    def priorities(self, request: Request) -> Response:
        view = self.view(request)
        return Response(200, [self._priority(view, p[0]) for p in fields_of.PRIORITIES])

    def _priority(self, view: View, id: str) -> Doc:
        return {**(view.priority(id) or {}), "description": "", "statusColor": "#ffab00"}

    def priority_search(self, request: Request) -> Response:
        view = self.view(request)
        values = [{**self._priority(view, p[0]), "isDefault": p[0] == "3"} for p in fields_of.PRIORITIES]
        return Response(200, self.page_bean(request, values, 50, "/rest/api/3/priority/search"))

    def resolution_search(self, request: Request) -> Response:
        view = self.view(request)
        values = [{**(view.resolution(r[0]) or {}), "isDefault": False} for r in fields_of.RESOLUTIONS]
        return Response(200, self.page_bean(request, values, 50, "/rest/api/3/resolution/search"))

    def statuses(self, request: Request) -> Response:
        view = self.view(request)
        return Response(200, [view.status(s[0]) for s in fields_of.STATUSES])

    def status_categories(self, request: Request) -> Response:
        rest = self.view(request).rest
        categories = fields_of.STATUS_CATEGORIES.values()
        return Response(200, [{"self": f"{rest}/statuscategory/{c['id']}", **c} for c in categories])

    def fields(self, request: Request) -> Response:
        view = self.view(request)
        return Response(200, [view.field(f) for f in self.site.visible_fields(view.viewer)])

    def field_search(self, request: Request) -> Response:
        view = self.view(request)
        kinds, ids, text = asked(request, "type"), asked(request, "id"), request.query.get("query", "").lower()
        found = []
        for definition in self.site.visible_fields(view.viewer):
            wrong_kind = kinds and ("custom" if definition.custom else "system") not in kinds
            if wrong_kind or (ids and definition.id not in ids) or text not in definition.name.lower():
                continue
            entry = {"id": definition.id, "name": definition.name, "schema": fields_of.schema(definition)}
            found.append({**entry, "key": definition.id, "isLocked": False, "description": ""})
        return Response(200, self.page_bean(request, found, 50, "/rest/api/3/field/search"))

    def create_types(self, request: Request, key: str) -> Response:
        view = self.view(request)
        self.creatable_project(request, key)
        types = [view.issue_type(t[0]) for t in fields_of.ISSUE_TYPES]
        start, size = number(request, "startAt", 0, 10**9), number(request, "maxResults", 50, 200)
        page = {"startAt": start, "maxResults": size, "total": len(types), "issueTypes": types[start : start + size]}
        return Response(200, page)

    def creatable_project(self, request: Request, key: str) -> Doc:
        found = self.site.project(key, self.caller(request))
        if found is None or not self.site.may(self.caller(request), "create", found["id"]):
            raise Refusal(400, ["Project does not exist or you do not have permission to create issues in it."])
        return found

    def create_fields(self, request: Request, key: str, type_id: str) -> Response:
        view = self.view(request)
        project = self.creatable_project(request, key)
        if type_id not in {t[0] for t in fields_of.ISSUE_TYPES}:
            raise Refusal(400, ["The issue type does not exist in this project."])
        metas = []
        for definition in self.site.fields_in(project["id"], view.viewer):
            if not definition.writable:
                continue
            meta = {**view.field_meta(definition), "fieldId": definition.id}
            if definition.kind == "project":
                meta["allowedValues"] = [view.project(project["id"])]
            if definition.kind == "issuetype":
                meta["allowedValues"] = [view.issue_type(type_id)]
            metas.append(meta)
        start, size = number(request, "startAt", 0, 10**9), number(request, "maxResults", 50, 200)
        page = {"startAt": start, "maxResults": size, "total": len(metas), "fields": metas[start : start + size]}
        return Response(200, page)

    # ---- people -------------------------------------------------------------------------------------------

    def users(self, request: Request) -> Response:
        view = self.view(request)
        if not self.site.may(view.viewer, "browse_users"):
            raise Refusal(403, ["You do not have permission to browse users and groups."])
        start, size = number(request, "startAt", 0, 10**9), number(request, "maxResults", 50, 1000)
        found = [view.user(u) for u in sorted(self.site.users)]
        return Response(200, found[start : start + size])

    def matching(self, view: View, query: str) -> list[Doc]:
        wanted = query.lower()
        found = []
        for user in sorted(self.site.users.values(), key=lambda u: u["accountId"]):
            words = [user["displayName"].lower(), *user["displayName"].lower().split()]
            if view.sees_email(user):
                words.append(user["emailAddress"].lower())
            if any(w.startswith(wanted) for w in words):
                found.append(user)
        return found

    def user_search(self, request: Request) -> Response:
        view = self.view(request)
        if "query" not in request.query and "accountId" not in request.query:
            raise Refusal(400, ["The query parameter, accountId or property must be present."])
        if "accountId" in request.query:
            found = [u for u in [self.site.users.get(request.query["accountId"])] if u]
        else:
            found = self.matching(view, request.query["query"])
        start, size = number(request, "startAt", 0, 10**9), number(request, "maxResults", 50, 1000)
        return Response(200, [view.user(u["accountId"]) for u in found[start : start + size]])

    def user_bulk(self, request: Request) -> Response:
        view = self.view(request)
        accounts = asked(request, "accountId")
        if not accounts:
            raise Refusal(400, ["The accountId parameter is required."])
        found = [view.user(a) for a in accounts if a in self.site.users]
        return Response(200, self.page_bean(request, found, 10, "/rest/api/3/user/bulk", most=200))

    def user(self, request: Request) -> Response:
        view = self.view(request)
        shown = view.user(request.query.get("accountId"), whole=True)
        if shown is None:
            raise Refusal(404, ["Specified user does not exist or you do not have required permissions"])
        return Response(200, shown)

    def assignable(self, request: Request) -> Response:
        view = self.view(request)
        reference = request.query.get("issueKey") or request.query.get("issueId")
        if reference:
            project_id = self.site.issue(reference, view.viewer)["project"]
        elif request.query.get("project"):
            project_id = self.visible_project(request, request.query["project"])["id"]
        else:
            raise Refusal(400, ["Either issueKey, issueId or project must be present."])
        if "accountId" in request.query:
            found = [u for u in [self.site.users.get(request.query["accountId"])] if u]
        else:
            found = self.matching(view, request.query.get("query", ""))
        able = [u for u in found if u["active"] and self.site.may(u, "browse", project_id)]
        start, size = number(request, "startAt", 0, 10**9), number(request, "maxResults", 50, 1000)
        return Response(200, [view.user(u["accountId"]) for u in able[start : start + size]])
