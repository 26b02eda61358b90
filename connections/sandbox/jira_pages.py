"""Small pages in Jira's manner, for a person who plays the Jira user in demo and tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from django.template.loader import render_to_string
from django.utils.safestring import mark_safe

from connections.sandbox import jira_documents as documents
from connections.sandbox import jira_editor as editor
from connections.sandbox import jira_fields as fields_of
from connections.sandbox import jira_forms as forms
from connections.sandbox import jira_search as search
from connections.sandbox.base import Request, Response, Stop
from connections.sandbox.jira_fields import FieldDef, Refusal
from connections.sandbox.jira_jql import JqlError
from connections.sandbox.jira_records import Doc, User, category_of, status_name
from connections.sandbox.jira_site import Site
from connections.sandbox.jira_views import View
from connections.sandbox.jira_webhooks import EVENTS, Webhooks

PAGE_SIZE = 50
COOKIE = "jira_user"
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
AVATAR = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><rect width="24" height="24" rx="12" fill="#8590a2"/>'
    '<circle cx="12" cy="9" r="4" fill="#fff"/><path d="M4 21a8 8 0 0 1 16 0z" fill="#fff"/></svg>'
)


class Pages:
    def __init__(self, site: Site, webhooks: Webhooks, base: Callable[[Request], str]) -> None:
        self.site = site
        self.webhooks = webhooks
        self.base = base

    def routes(self) -> Iterable[tuple[str, str, Callable[..., Response]]]:
        issue = r"/browse/(?P<key>[^/]+)"
        project = r"/projects/(?P<key>[^/]+)"
        return [
            ("GET", "/_static/jira.css", self.css),
            ("GET", "/_static/avatar.svg", self.avatar),
            ("GET", "/", self.projects),
            ("GET", project, self.project),
            ("GET", f"{project}/create", self.create_form),
            ("POST", f"{project}/create", self.guarded(self.create)),
            ("GET", issue, self.issue),
            ("GET", f"{issue}/edit", self.edit_form),
            ("POST", f"{issue}/edit", self.guarded(self.edit)),
            ("GET", f"{issue}/delete", self.delete_form),
            ("POST", f"{issue}/delete", self.guarded(self.delete)),
            ("POST", f"{issue}/transition", self.guarded(self.transition)),
            ("POST", f"{issue}/comment", self.guarded(self.comment)),
            ("GET", "/settings/webhooks", self.webhook_page),
            ("POST", "/settings/webhooks", self.guarded(self.add_webhook)),
            ("POST", r"/settings/webhooks/(?P<id>\d+)/delete", self.guarded(self.remove_webhook)),
            ("POST", "/whoami", self.guarded(self.become)),
        ]

    # ---- the frame ----------------------------------------------------------------------------------------

    def guarded(self, handler: Callable[..., Response]) -> Callable[..., Response]:
        """Only for forms of our own pages: another site's form carries another Origin."""

        def answer(request: Request, **arguments: str) -> Response:
            source = request.headers.get("origin") or request.headers.get("referer", "")
            if not source or urlsplit(source).netloc != request.headers.get("host"):
                text = (
                    "This form was sent from another site. Nothing was changed. Open the page here and send it again."
                )
                return self.render(request, "message", 403, title="Refused", text=text)
            return handler(request, **arguments)

        return answer

    def people(self) -> list[User]:
        """Whom one can be: people with an account that is in use, integration accounts last."""
        able = [u for u in self.site.users.values() if u["active"] and u["accountType"] == "atlassian"]
        return sorted(able, key=lambda u: (bool(u["token"]), u["displayName"]))

    def viewer(self, request: Request) -> User:
        try:
            morsel = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            morsel = None
        chosen = self.site.users.get(morsel.value) if morsel else None
        people = self.people()
        if chosen and chosen in people:
            return chosen
        if not people:
            raise Stop(Response(503, "This site has no people yet.", {"Content-Type": "text/plain"}))
        return people[0]

    def view(self, request: Request) -> View:
        return View(self.site, self.viewer(request), self.base(request))

    def render(self, request: Request, template: str, status: int = 200, **context: Any) -> Response:
        viewer = self.viewer(request)
        query = "?" + urlencode(request.query) if request.query else ""
        shown = context | {"viewer": viewer, "people": self.people(), "here": request.path + query}
        text = render_to_string(f"sandbox/jira/{template}.html", shown)
        return Response(status, text, {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"})

    def refused(self, request: Request, refusal: Refusal) -> Response:
        reasons = [*refusal.messages, *refusal.errors.values()]
        return self.render(request, "message", refusal.status, title="That did not work", text=" ".join(reasons))

    def css(self, request: Request) -> Response:
        headers = {"Content-Type": "text/css; charset=utf-8", "Cache-Control": "no-cache"}
        return Response(200, render_to_string("sandbox/jira/jira.css"), headers)

    def avatar(self, request: Request) -> Response:
        return Response(200, AVATAR, {"Content-Type": "image/svg+xml", "Cache-Control": "max-age=3600"})

    def see_other(self, path: str) -> Response:
        return Response(303, "", {"Location": path})

    def become(self, request: Request) -> Response:
        form = request.form()
        back = form.get("next", "/")
        response = self.see_other(back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/")
        if form.get("account") in self.site.users:
            response.headers["Set-Cookie"] = f"{COOKIE}={form['account']}; Path=/; HttpOnly; SameSite=Lax"
        return response

    # ---- projects and lists -------------------------------------------------------------------------------

    def projects(self, request: Request) -> Response:
        viewer = self.viewer(request)
        counts: dict[str, int] = {}
        for issue in self.site.documents.values():
            counts[issue["project"]] = counts.get(issue["project"], 0) + 1
        shown = [
            {**p, "count": counts.get(p["id"], 0)}
            for p in sorted(self.site.projects.values(), key=lambda p: p["name"])
            if self.site.may(viewer, "browse", p["id"])
        ]
        return self.render(request, "projects", projects=shown)

    def _project(self, request: Request, key: str) -> Doc:
        found = self.site.project(key, self.viewer(request))
        if found is None:
            text = f"There is no project {key}, or you may not see it."
            raise Stop(self.render(request, "message", 404, title="Not found", text=text))
        return found

    def project(self, request: Request, key: str) -> Response:
        project = self._project(request, key)
        view = self.view(request)
        query = request.query
        text, status, assignee = (query.get(n, "").strip() for n in ("q", "status", "assignee"))
        error = ""
        found = [i for i in self.site.documents.values() if i["project"] == project["id"]]
        if query.get("jql", "").strip():
            try:
                fitting, _ = search.find(self.site, view.viewer, query["jql"], list(self.site.documents))
                ids = {i["id"] for i in fitting}
                found = [i for i in found if i["id"] in ids]
            except JqlError as problem:
                error = str(problem)
        if text:
            low = text.lower()
            found = [i for i in found if low in i["key"].lower() or low in i["fields"]["summary"].lower()]
        if status:
            found = [i for i in found if status_name(i["fields"]["status"]) == status]
        if assignee:
            found = [i for i in found if (i["fields"].get("assignee") or "none") == assignee]
        found.sort(key=lambda i: (i["fields"]["updated"], int(i["id"])), reverse=True)
        number = int(query["page"]) if query.get("page", "").isdigit() else 1
        pages = max(1, -(-len(found) // PAGE_SIZE))
        number = min(max(number, 1), pages)
        kept = {k: v for k, v in query.items() if k != "page" and v}
        return self.render(
            request,
            "project",
            project=project,
            rows=[self._row(view, i) for i in found[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]],
            total=len(found),
            number=number,
            pages=pages,
            query=query,
            rest=urlencode(kept),
            error=error,
            statuses=[s[1] for s in fields_of.STATUSES],
            assignees=sorted(self.site.users.values(), key=lambda u: u["displayName"]),
            may_create=self.site.may(view.viewer, "create", project["id"]),
        )

    def _row(self, view: View, issue: Doc) -> Doc:
        values = issue["fields"]
        assignee = self.site.users.get(values.get("assignee") or "")
        return {
            "key": issue["key"],
            "type": view.issue_type(values["issuetype"])["name"],
            "summary": values["summary"],
            "status": status_name(values["status"]),
            "category": category_of(values["status"]),
            "priority": dict(fields_of.PRIORITIES).get(values.get("priority") or "", ""),
            "assignee": assignee["displayName"] if assignee else "Unassigned",
            "updated": (view.stamp(values["updated"]) or "")[:16].replace("T", " "),
        }

    # ---- an issue -----------------------------------------------------------------------------------------

    def _issue(self, request: Request, key: str) -> Doc:
        try:
            return self.site.issue(key, self.viewer(request))
        except Refusal as refusal:
            raise Stop(self.refused(request, refusal)) from None

    def issue(self, request: Request, key: str) -> Response:
        issue = self._issue(request, key)
        view = self.view(request)
        shown = [
            {"name": d.name, "value": self._readable(d, issue)}
            for d in self.site.fields_in(issue["project"], view.viewer)
            if d.custom or d.id in ("priority", "assignee", "reporter", "labels", "duedate", "resolution")
        ]
        hidden = view.viewer["hidden_fields"]
        return self.render(
            request,
            "issue",
            issue=issue,
            row=self._row(view, issue),
            project=self.site.projects[issue["project"]],
            fields=shown,
            description=""
            if "description" in hidden
            else mark_safe(documents.to_html(issue["fields"].get("description"))),  # noqa: S308 (to_html escapes)
            transitions=self.site.transitions(issue, view.viewer),
            resolutions=[r[1] for r in fields_of.RESOLUTIONS],
            comments=[self._comment(view, c) for c in issue["comments"]],
            history=[self._entry(view, e) for e in self.site.entries_of.get(issue["id"], [])[::-1]],
            tab="history" if request.query.get("tab") == "history" else "comments",
            created=(view.stamp(issue["fields"]["created"]) or "")[:16].replace("T", " "),
            may={p: self.site.may(view.viewer, p, issue["project"]) for p in ("edit", "delete", "comment")},
        )

    def _readable(self, definition: FieldDef, issue: Doc) -> str:
        value = issue["fields"].get(definition.id)
        match definition.kind:
            case "user":
                user = self.site.users.get(value or "")
                return user["displayName"] + ("" if user["active"] else " (deactivated)") if user else "None"
            case "labels":
                return ", ".join(value or []) or "None"
            case "options":
                names = dict(definition.options)
                return ", ".join(names[v] for v in value or []) or "None"
            case "text":
                return documents.to_wiki(value) or "None"
            case "day":
                return value or "None"
        return self.site.shown(definition, value)[1] or "None"

    def _comment(self, view: View, comment: Doc) -> Doc:
        author = self.site.users.get(comment["author"])
        return {
            "author": author["displayName"] if author else "Former user",
            "created": (view.stamp(comment["created"]) or "")[:16].replace("T", " "),
            "body": mark_safe(documents.to_html(comment["body"])),  # noqa: S308 (to_html escapes)
        }

    def _entry(self, view: View, entry: Doc) -> Doc:
        shown = view.entry(entry)
        author = self.site.users.get(entry["author"])
        items = [
            {"field": i["field"], "before": i["fromString"] or "None", "after": i["toString"] or "None"}
            for i in shown["items"]
        ]
        when = (shown["created"] or "")[:19].replace("T", " ")
        return {"author": author["displayName"] if author else "Former user", "created": when, "items": items}

    # ---- forms --------------------------------------------------------------------------------------------

    def create_form(self, request: Request, key: str) -> Response:
        project = self._project(request, key)
        defaults = {"priority": "3", "issuetype": "10002"}
        inputs = forms.inputs(self.site, project["id"], self.viewer(request), defaults)
        return self.render(request, "form", project=project, issue=None, inputs=inputs)

    def create(self, request: Request, key: str) -> Response:
        project = self._project(request, key)
        viewer = self.viewer(request)
        try:
            values = {
                k: v
                for k, v in forms.sent_changes(self.site, request, project["id"], viewer, {}).items()
                if v is not None
            }
            issue = self.site.create(viewer, {**values, "project": {"id": project["id"]}})
        except Refusal as refusal:
            inputs = forms.inputs(self.site, project["id"], viewer, {}, request.form_lists())
            return self._form_again(request, refusal, project, None, inputs)
        return self.see_other(f"/browse/{quote(issue['key'])}")

    def _form_again(
        self, request: Request, refusal: Refusal, project: Doc, issue: Doc | None, inputs: list[Doc]
    ) -> Response:
        for one in inputs:
            one["error"] = refusal.errors.get(one["id"], "")
        shown = {i["id"] for i in inputs}
        rest = [*refusal.messages, *(v for k, v in refusal.errors.items() if k not in shown)]
        return self.render(request, "form", 400, project=project, issue=issue, inputs=inputs, errors=rest)

    def edit_form(self, request: Request, key: str) -> Response:
        issue = self._issue(request, key)
        inputs = forms.inputs(self.site, issue["project"], self.viewer(request), issue["fields"])
        return self.render(request, "form", project=self.site.projects[issue["project"]], issue=issue, inputs=inputs)

    def edit(self, request: Request, key: str) -> Response:
        issue = self._issue(request, key)
        viewer = self.viewer(request)
        try:
            self.site.edit(
                viewer, issue, forms.sent_changes(self.site, request, issue["project"], viewer, issue["fields"])
            )
        except Refusal as refusal:
            inputs = forms.inputs(self.site, issue["project"], viewer, issue["fields"], request.form_lists())
            return self._form_again(request, refusal, self.site.projects[issue["project"]], issue, inputs)
        return self.see_other(f"/browse/{quote(issue['key'])}")

    def delete_form(self, request: Request, key: str) -> Response:
        return self.render(request, "delete", issue=self._issue(request, key))

    def delete(self, request: Request, key: str) -> Response:
        issue = self._issue(request, key)
        try:
            self.site.delete(self.viewer(request), issue)
        except Refusal as refusal:
            return self.refused(request, refusal)
        return self.see_other(f"/projects/{quote(self.site.projects[issue['project']]['key'])}")

    def transition(self, request: Request, key: str) -> Response:
        issue = self._issue(request, key)
        form = request.form()
        fields = {"resolution": {"name": form["resolution"]}} if form.get("resolution") else {}
        try:
            self.site.transition(self.viewer(request), issue, form.get("transition", ""), fields, {})
        except Refusal as refusal:
            return self.refused(request, refusal)
        return self.see_other(f"/browse/{quote(issue['key'])}")

    def comment(self, request: Request, key: str) -> Response:
        issue = self._issue(request, key)
        try:
            self.site.comment(self.viewer(request), issue, editor.from_text(request.form().get("body", "")))
        except Refusal as refusal:
            return self.refused(request, refusal)
        return self.see_other(f"/browse/{quote(issue['key'])}#comments")

    # ---- webhooks -----------------------------------------------------------------------------------------

    def webhook_page(self, request: Request, error: str = "", status: int = 200) -> Response:
        names = {h["id"]: h["name"] for h in self.webhooks.all()}
        sent = [
            {"name": names.get(id, "removed"), "identifier": identifier, "status": code}
            for id, identifier, code in self.webhooks.sent[-20:][::-1]
        ]
        hooks = self.webhooks.all()
        return self.render(request, "webhooks", status, hooks=hooks, events=EVENTS, sent=sent, error=error)

    def add_webhook(self, request: Request) -> Response:
        form = request.form_lists()
        url, secret, filter, name = (form.get(n, [""])[-1].strip() for n in ("url", "secret", "filter", "name"))
        events = [e for e in form.get("events", []) if e in EVENTS]
        if not self.site.may(self.viewer(request), "admin"):
            return self.webhook_page(request, "You need the permission to administer Jira.", 403)
        if not url.startswith(("http://", "https://")) or not events:
            return self.webhook_page(request, "A webhook needs an address (http or https) and at least one event.", 400)
        try:
            self.webhooks.add(url, secret, events, filter, name)
        except JqlError as problem:
            return self.webhook_page(request, str(problem), 400)
        return self.see_other("/settings/webhooks")

    def remove_webhook(self, request: Request, id: str) -> Response:
        if not self.site.may(self.viewer(request), "admin"):
            return self.webhook_page(request, "You need the permission to administer Jira.", 403)
        self.webhooks.remove(id)
        return self.see_other("/settings/webhooks")
