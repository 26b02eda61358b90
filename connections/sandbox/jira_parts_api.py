"""What hangs on an issue, over REST version 3 of the Jira stand-in: comments, properties, remote links."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from connections.sandbox.base import Request, Response
from connections.sandbox.jira_fields import Refusal
from connections.sandbox.jira_records import Doc
from connections.sandbox.jira_resource import API, ISSUE, Resource, Route, body_of, number, split

MULTI_PROPERTIES_ISSUES = 100
COMMENT_LIST = 1000


class Parts(Resource):
    """Comments, properties and remote links of an issue."""

    def table(self) -> Iterable[Route]:
        return [
            ("POST", f"{API}/issue/properties/multi", self.multi_properties),
            ("GET", f"{ISSUE}/comment", self.comments),
            ("POST", f"{ISSUE}/comment", self.add_comment),
            ("GET", f"{ISSUE}/comment/(?P<id>[^/]+)", self.comment),
            ("PUT", f"{ISSUE}/comment/(?P<id>[^/]+)", self.edit_comment),
            ("DELETE", f"{ISSUE}/comment/(?P<id>[^/]+)", self.delete_comment),
            ("POST", f"{API}/comment/list", self.comment_list),
            ("PUT", f"{API}/comment/(?P<id>[^/]+)/properties/(?P<name>[^/]+)", self.put_comment_property),
            ("GET", f"{ISSUE}/properties", self.property_keys),
            ("GET", f"{ISSUE}/properties/(?P<name>[^/]+)", self.get_property),
            ("PUT", f"{ISSUE}/properties/(?P<name>[^/]+)", self.put_property),
            ("DELETE", f"{ISSUE}/properties/(?P<name>[^/]+)", self.delete_property),
            ("GET", f"{ISSUE}/remotelink", self.remote_links),
            ("POST", f"{ISSUE}/remotelink", self.add_remote_link),
            ("DELETE", f"{ISSUE}/remotelink", self.delete_remote_link),
            *[(m, f"{API}/webhook", self.dynamic_webhooks) for m in ("GET", "POST", "DELETE")],
        ]

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
        given = (body.get("body"), body.get("properties"), body.get("visibility"))
        issue, comment = self.site.comment(view.viewer, issue, *given)
        return Response(201, view.comment(issue, comment))

    def edit_comment(self, request: Request, key: str, id: str) -> Response:
        view = self.view(request)
        issue = self.site.issue(key, view.viewer)
        body = body_of(request)
        comment = self.site.edit_comment(view.viewer, issue, id, body.get("body"), body.get("visibility"))
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
