"""REST version 3 of the Jira stand-in: one method a resource; what it answers follows the vendor's description."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from typing import Any

from connections.sandbox import jira_fields as fields_of
from connections.sandbox import jira_search as search
from connections.sandbox.base import Request, Response
from connections.sandbox.jira_fields import Refusal
from connections.sandbox.jira_jql import JqlError
from connections.sandbox.jira_records import Doc, User
from connections.sandbox.jira_site import Site
from connections.sandbox.jira_views import View

BULK_FETCH = 100
BULK_CREATE = 50
BULK_CHANGELOG_ISSUES = 1000
COMMENT_LIST = 1000
BULK_CHANGELOG_FIELDS = 10
MULTI_PROPERTIES_ISSUES = 100
ISSUE = r"/rest/api/3/issue/(?P<key>[^/]+)"


def split(values: Any) -> list[str]:
    """A comma-separated text, or a list of them, as a list."""
    parts = [values] if isinstance(values, str) else list(values or [])
    return [p.strip() for v in parts for p in str(v).split(",") if p.strip()]


def asked(request: Request, name: str) -> list[str]:
    """A list parameter, comma-separated or repeated."""
    return split(request.query_lists.get(name) or request.query.get(name, ""))


def number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query.get(name) or str(default)
    if not text.lstrip("-").isdigit():
        raise Refusal(400, [f"The parameter '{name}' must be a whole number."])
    return max(0, min(int(text), most))


def body_of(request: Request) -> Any:
    try:
        body = request.json()
    except ValueError:
        raise Refusal(400, ["There was an error parsing JSON. Check that your request body is valid."]) from None
    if not isinstance(body, dict):
        raise Refusal(400, ["Request body is missing or is not a JSON object."])
    return body


class Api:
    """`caller`: the user a request is made as. `base`: the site's address for it."""

    def __init__(
        self, site: Site, caller: Callable[[Request], User], base: Callable[[Request], str], build: Callable[[], Doc]
    ) -> None:
        self.site = site
        self.caller = caller
        self.base = base
        self.build = build
        # Issues bulkfetch reports as not fetchable just now, for tests: {id: message}.
        self.unfetchable: dict[str, str] = {}

    def view(self, request: Request) -> View:
        return View(self.site, self.caller(request), self.base(request))

    def routes(self) -> Iterable[tuple[str, str, Callable[..., Response]]]:
        api = "/rest/api/3"
        table: list[tuple[str, str, Callable[..., Response]]] = [
            ("GET", f"{api}/myself", self.myself),
            ("GET", f"{api}/serverInfo", self.server_info),
            ("GET", f"{api}/project/search", self.project_search),
            ("GET", f"{api}/project/(?P<key>[^/]+)", self.project),
            ("GET", f"{api}/project/(?P<key>[^/]+)/statuses", self.project_statuses),
            ("GET", f"{api}/project/(?P<key>[^/]+)/(?:components|versions)", self.project_parts),
            ("GET", f"{api}/issuetype", self.issue_types),
            ("GET", f"{api}/issuetype/project", self.project_issue_types),
            ("GET", f"{api}/priority", self.priorities),
            ("GET", f"{api}/priority/search", self.priority_search),
            ("GET", f"{api}/resolution/search", self.resolution_search),
            ("GET", f"{api}/status", self.statuses),
            ("GET", f"{api}/statuscategory", self.status_categories),
            ("GET", f"{api}/field", self.fields),
            ("GET", f"{api}/field/search", self.field_search),
            ("GET", f"{api}/users/search", self.users),
            ("GET", f"{api}/user/search", self.user_search),
            ("GET", f"{api}/user/bulk", self.user_bulk),
            ("GET", f"{api}/user/assignable/search", self.assignable),
            ("GET", f"{api}/user", self.user),
            ("GET", f"{api}/search/jql", self.search_get),
            ("POST", f"{api}/search/jql", self.search_post),
            ("POST", f"{api}/search/approximate-count", self.count),
            ("POST", f"{api}/issue", self.create),
            ("POST", f"{api}/issue/bulk", self.bulk_create),
            ("POST", f"{api}/issue/bulkfetch", self.bulk_fetch),
            ("POST", f"{api}/issue/properties/multi", self.multi_properties),
            ("POST", f"{api}/changelog/bulkfetch", self.bulk_changelog),
            ("GET", f"{api}/issue/createmeta/(?P<key>[^/]+)/issuetypes", self.create_types),
            ("GET", f"{api}/issue/createmeta/(?P<key>[^/]+)/issuetypes/(?P<type_id>[^/]+)", self.create_fields),
            ("GET", ISSUE, self.issue),
            ("PUT", ISSUE, self.edit),
            ("DELETE", ISSUE, self.delete),
            ("PUT", f"{ISSUE}/assignee", self.assign),
            ("GET", f"{ISSUE}/editmeta", self.editmeta),
            ("GET", f"{ISSUE}/transitions", self.transitions),
            ("POST", f"{ISSUE}/transitions", self.transition),
            ("GET", f"{ISSUE}/changelog", self.changelog),
            ("GET", f"{ISSUE}/comment", self.comments),
            ("POST", f"{ISSUE}/comment", self.add_comment),
            ("GET", f"{ISSUE}/comment/(?P<id>[^/]+)", self.comment),
            ("PUT", f"{ISSUE}/comment/(?P<id>[^/]+)", self.edit_comment),
            ("DELETE", f"{ISSUE}/comment/(?P<id>[^/]+)", self.delete_comment),
            ("POST", f"{api}/comment/list", self.comment_list),
            ("PUT", f"{api}/comment/(?P<id>[^/]+)/properties/(?P<name>[^/]+)", self.put_comment_property),
            ("GET", f"{ISSUE}/properties", self.property_keys),
            ("GET", f"{ISSUE}/properties/(?P<name>[^/]+)", self.get_property),
            ("PUT", f"{ISSUE}/properties/(?P<name>[^/]+)", self.put_property),
            ("DELETE", f"{ISSUE}/properties/(?P<name>[^/]+)", self.delete_property),
            ("GET", f"{ISSUE}/remotelink", self.remote_links),
            ("POST", f"{ISSUE}/remotelink", self.add_remote_link),
            ("DELETE", f"{ISSUE}/remotelink", self.delete_remote_link),
            *[(m, f"{api}/webhook", self.dynamic_webhooks) for m in ("GET", "POST", "DELETE")],
        ]
        return [(method, pattern, answering(handler)) for method, pattern, handler in table]

    # ---- site and metadata --------------------------------------------------------------------------------

    def myself(self, request: Request) -> Response:
        view = self.view(request)
        return Response(200, view.user(view.viewer["accountId"], whole=True))

    def server_info(self, request: Request) -> Response:
        view = self.view(request)
        info = {"baseUrl": view.base, "serverTime": view.stamp(self.site.clock()), **self.build()}
        return Response(200, info)

    def visible_project(self, request: Request, key: str) -> Doc:
        found = self.site.project(key, self.caller(request))
        if found is None:
            word = "id" if key.isdigit() else "key"
            raise Refusal(404, [f"No project could be found with {word} '{key}'."])
        return found

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

    def page_bean(self, request: Request, values: list[Any], size: int, path: str, most: int = 100) -> Doc:
        start, size = number(request, "startAt", 0, 10**9), number(request, "maxResults", size, most)
        rows = values[start : start + size]
        page = {
            "self": self.base(request) + path,
            "maxResults": size,
            "startAt": start,
            "total": len(values),
            "isLast": start + size >= len(values),
            "values": rows,
        }
        if not page["isLast"]:
            page["nextPage"] = f"{self.base(request)}{path}?startAt={start + size}&maxResults={size}"
        return page

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

    # ---- comments -----------------------------------------------------------------------------------------

    def comments(self, request: Request, key: str) -> Response:
        view = self.view(request)
        issue = self.site.issue(key, view.viewer)
        newest_first = request.query.get("orderBy", "created").startswith("-")
        ordered = sorted(issue["comments"], key=lambda c: c["created"], reverse=newest_first)
        start, size = number(request, "startAt", 0, 10**9), number(request, "maxResults", 100, 5000)
        expand = split(request.query.get("expand", ""))
        return Response(200, view.comment_page(issue, ordered, start, size, expand))

    def comment(self, request: Request, key: str, id: str) -> Response:
        view = self.view(request)
        issue = self.site.issue(key, view.viewer)
        expand = split(request.query.get("expand", ""))
        return Response(200, view.comment(issue, self.site.comment_of(issue, id), expand))

    def comment_list(self, request: Request) -> Response:
        view = self.view(request)
        ids = body_of(request).get("ids")
        if not isinstance(ids, list) or not 0 < len(ids) <= COMMENT_LIST:
            raise Refusal(400, [f"The number of comment ids must be between 1 and {COMMENT_LIST}."])
        wanted, expand = {str(id) for id in ids}, split(request.query.get("expand", ""))
        found = [
            view.comment(issue, comment, expand)
            for issue in self.site.documents.values()
            if self.site.may(view.viewer, "browse", issue["project"])
            for comment in issue["comments"]
            if comment["id"] in wanted
        ]
        return Response(200, self.page_bean(request, found, COMMENT_LIST, "/rest/api/3/comment/list", COMMENT_LIST))

    def put_comment_property(self, request: Request, id: str, name: str) -> Response:
        viewer = self.caller(request)
        for issue in list(self.site.documents.values()):
            comment = next((c for c in issue["comments"] if c["id"] == id), None)
            if comment is not None and self.site.may(viewer, "browse", issue["project"]):
                known = name in comment["properties"]
                self.site.set_comment_property(issue, comment, name, request.json())
                return Response(200 if known else 201, {})
        raise Refusal(404, [f"Can not find a comment for the id: {id}."])

    def add_comment(self, request: Request, key: str) -> Response:
        view = self.view(request)
        body = body_of(request)
        issue = self.site.issue(key, view.viewer)
        issue, comment = self.site.comment(view.viewer, issue, body.get("body"), body.get("properties"))
        return Response(201, view.comment(issue, comment))

    def edit_comment(self, request: Request, key: str, id: str) -> Response:
        view = self.view(request)
        issue = self.site.issue(key, view.viewer)
        comment = self.site.edit_comment(view.viewer, issue, id, body_of(request).get("body"))
        return Response(200, view.comment(issue, comment))

    def delete_comment(self, request: Request, key: str, id: str) -> Response:
        actor = self.caller(request)
        self.site.delete_comment(actor, self.site.issue(key, actor), id)
        return Response(204)

    # ---- properties and remote links ----------------------------------------------------------------------

    def property_keys(self, request: Request, key: str) -> Response:
        view = self.view(request)
        issue = self.site.issue(key, view.viewer)
        base = f"{view.rest}/issue/{issue['id']}/properties/"
        return Response(200, {"keys": [{"self": base + k, "key": k} for k in issue["properties"]]})

    def _property(self, issue: Doc, name: str) -> Any:
        if name not in issue["properties"]:
            raise Refusal(404, [f"The property with key '{name}' does not exist."])
        return issue["properties"][name]

    def get_property(self, request: Request, key: str, name: str) -> Response:
        issue = self.site.issue(key, self.caller(request))
        return Response(200, {"key": name, "value": self._property(issue, name)})

    def _editable(self, request: Request, key: str) -> Doc:
        actor = self.caller(request)
        issue = self.site.issue(key, actor)
        if not self.site.may(actor, "edit", issue["project"]):
            raise Refusal(403, ["You do not have permission to edit this issue."])
        return issue

    def put_property(self, request: Request, key: str, name: str) -> Response:
        issue = self._editable(request, key)
        try:
            value = json.loads(request.body)
        except ValueError:
            raise Refusal(400, ["The property value must be a valid, non-empty JSON."]) from None
        existed = name in issue["properties"]
        self.site.set_property(issue, name, value)
        return Response(200 if existed else 201)

    def delete_property(self, request: Request, key: str, name: str) -> Response:
        issue = self._editable(request, key)
        self._property(issue, name)
        self.site.set_property(issue, name, None, remove=True)
        return Response(204)

    def multi_properties(self, request: Request) -> Response:
        actor = self.caller(request)
        entries = body_of(request).get("issues")
        if not isinstance(entries, list) or not 0 < len(entries) <= MULTI_PROPERTIES_ISSUES:
            raise Refusal(400, [f"The number of issues must be between 1 and {MULTI_PROPERTIES_ISSUES}."])
        # Not one transaction, as described: what cannot be set is passed over by the task.
        for entry in entries:
            issue = self.site.find(str(entry.get("issueID")))
            if issue is not None and self.site.may(actor, "edit", issue["project"]):
                for name, value in (entry.get("properties") or {}).items():
                    issue = self.site.set_property(issue, name, value)
        return Response(303, None, {"Location": f"{self.base(request)}/rest/api/3/task/1"})

    def remote_links(self, request: Request, key: str) -> Response:
        view = self.view(request)
        issue = self.site.issue(key, view.viewer)
        wanted = request.query.get("globalId")
        base = f"{view.rest}/issue/{issue['id']}/remotelink/"
        links = [{**link, "self": base + str(link["id"])} for link in issue["remotelinks"]]
        if wanted is None:
            return Response(200, links)
        found = next((link for link in links if link.get("globalId") == wanted), None)
        if found is None:
            raise Refusal(404, [f"Remote link with global id '{wanted}' does not exist."])
        return Response(200, found)

    def add_remote_link(self, request: Request, key: str) -> Response:
        view = self.view(request)
        issue = self._editable(request, key)
        body = body_of(request)
        target = body.get("object") or {}
        if not target.get("url") or not target.get("title"):
            raise Refusal(400, errors={"object": "'url' and 'title' are required."})
        same = [x for x in issue["remotelinks"] if body.get("globalId") and x.get("globalId") == body["globalId"]]
        id = same[0]["id"] if same else self.site.store.next_number("remotelink", 10000)
        link = {k: body[k] for k in ("globalId", "application", "relationship", "object") if k in body} | {"id": id}
        kept = [x for x in issue["remotelinks"] if x["id"] != id]
        self.site.put_issue({**issue, "remotelinks": [*kept, link]}, issue["id"])
        answer = {"id": id, "self": f"{view.rest}/issue/{issue['id']}/remotelink/{id}"}
        return Response(200 if same else 201, answer)

    def delete_remote_link(self, request: Request, key: str) -> Response:
        issue = self._editable(request, key)
        wanted = request.query.get("globalId")
        kept = [x for x in issue["remotelinks"] if x.get("globalId") != wanted]
        if len(kept) == len(issue["remotelinks"]):
            raise Refusal(404, [f"Remote link with global id '{wanted}' does not exist."])
        self.site.put_issue({**issue, "remotelinks": kept}, issue["id"])
        return Response(204)

    def dynamic_webhooks(self, request: Request) -> Response:
        raise Refusal(403, ["Only Connect and OAuth 2.0 apps can use this operation."])


def answering(handler: Callable[..., Response]) -> Callable[..., Response]:
    """The handler with refusals turned into answers of the vendor's form."""

    @functools.wraps(handler)
    def answer(request: Request, **arguments: str) -> Response:
        try:
            return handler(request, **arguments)
        except Refusal as refusal:
            return Response(refusal.status, refusal.body())
        except JqlError as error:
            return Response(400, {"errorMessages": [str(error)], "warningMessages": []})

    return answer
