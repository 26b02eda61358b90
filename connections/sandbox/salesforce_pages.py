"""Small pages in the vendor's manner, so that a person can be "the Salesforce user": cases as a list, one by one,
edited, commented, deleted and restored. No script; everything is served by the stand-in itself."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from django.template.loader import render_to_string

from connections.sandbox.base import Request, Response, Stop
from connections.sandbox.salesforce_schema import Doc, Field, normal_id
from connections.sandbox.salesforce_values import Problem

if TYPE_CHECKING:
    from connections.sandbox.salesforce import SalesforceStandin

PAGE_SIZE = 50
COOKIE = "standin_user"
LIST = "/lightning/o/Case/list"
VIEWS = {
    "open": "All open cases",
    "mine": "My open cases",
    "queues": "Cases in queues",
    "closed": "Closed cases",
    "all": "All cases",
    "deleted": "Recycle bin",
}
FORM = (
    "Subject",
    "Status",
    "Priority",
    "OwnerId",
    "Type",
    "Origin",
    "Description",
    "Product_Area__c",
    "Severity_Area__c",
    "Due_Date__c",
    "Effort__c",
    "Labels__c",
    "Reference__c",
)
# Shown on the record but not in the form: what programs and the org itself keep.
READ_ONLY = (
    "CaseNumber",
    "Jira_Key__c",
    "SyncAdmin_Key__c",
    "ClosedDate",
    "CreatedById",
    "CreatedDate",
    "LastModifiedById",
    "LastModifiedDate",
)
# No scripts, nothing from outside, no framing.
POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


class Pages:
    def __init__(self, app: SalesforceStandin) -> None:
        self.app = app
        self.org = app.org
        record = r"/lightning/r/(?:Case/)?(?P<id>\w{15,18})"
        for method, pattern, handler in (
            ("GET", "/?", self.home),
            ("GET", "/(?P<id>[0-9]\\w{14,17})", self.short_link),
            ("GET", "/_static/salesforce.css", self.style),
            ("POST", "/switch-user", self.switch_user),
            ("GET", LIST, self.listing),
            ("GET", "/lightning/o/Case/new", self.new),
            ("POST", "/lightning/o/Case/new", self.create),
            ("GET", record + "/view", self.view),
            ("GET", record + "/edit", self.edit),
            ("POST", record + "/edit", self.save),
            ("POST", record + "/comment", self.comment),
            ("GET", record + "/delete", self.ask_delete),
            ("POST", record + "/delete", self.delete),
            ("POST", record + "/undelete", self.undelete),
        ):
            app.route(method, pattern, handler)

    # Around every page -----------------------------------------------------------------------------------------

    def me(self, request: Request) -> Doc:
        """The person this browser plays; the first of the demo's people if it has not chosen."""
        cookie = SimpleCookie(request.headers.get("cookie", ""))
        chosen = self.org.tables["User"].get(cookie[COOKIE].value) if COOKIE in cookie else None
        if chosen and chosen["IsActive"]:
            return chosen
        people = self.org.users()
        return people[0] if people else self.org.tables["User"][self.org.system_user]

    def page(self, request: Request, template: str, status: int = 200, **context: Any) -> Response:
        shared = {"me": self.me(request), "people": self.org.users(), "here": _address(request), "list_url": LIST}
        html = render_to_string(f"sandbox/salesforce/{template}.html", {**shared, **context})
        return Response(status, html, {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"})

    def from_here(self, request: Request) -> dict[str, list[str]]:
        """The form of a POST that one of our own pages sent. Raises Stop(403)."""
        origin = request.headers.get("origin")
        foreign = request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        if foreign or (origin is not None and urlsplit(origin).netloc != request.headers.get("host")):
            text = "The form came from another site, so nothing was changed. Open the page here and send it again."
            raise Stop(self.page(request, "message", 403, title="Not accepted", text=text))
        return request.form_lists()

    def found(self, request: Request, id: str, *, deleted: bool = False) -> Doc:
        doc = self.org.tables["Case"].get(normal_id(id) or "")
        if doc is None or doc["IsDeleted"] is not deleted:
            gone = doc is not None and doc["IsDeleted"]
            text = "The case is in the recycle bin." if gone else "There is no case at this address."
            raise Stop(self.page(request, "message", 404, title="We couldn't find that case", text=text))
        return doc

    def style(self, request: Request) -> Response:
        css = render_to_string("sandbox/salesforce/salesforce.css")
        return Response(200, css, {"Content-Type": "text/css; charset=utf-8", "Cache-Control": "max-age=300"})

    def home(self, request: Request) -> Response:
        return _go(LIST)

    def short_link(self, request: Request, id: str) -> Response:
        return _go(f"/lightning/r/Case/{id}/view")

    def switch_user(self, request: Request) -> Response:
        form = self.from_here(request)
        back, user = form.get("back", [LIST])[-1], form.get("user", [""])[-1]
        response = _go(back if back.startswith("/") and not back.startswith("//") else LIST)
        if user in self.org.tables["User"]:
            response.headers["Set-Cookie"] = f"{COOKIE}={user}; Path=/; HttpOnly; SameSite=Lax"
        return response

    # The list --------------------------------------------------------------------------------------------------

    def listing(self, request: Request) -> Response:
        view = request.query.get("view", "open")
        text = request.query.get("q", "").strip()
        number = max(1, int(n)) if (n := request.query.get("page", "1")).isdigit() else 1
        rows = self._in_view(view if view in VIEWS else "open", self.me(request)["Id"])
        if text:
            rows = [r for r in rows if _contains(r, text.lower())]
        rows.sort(key=lambda r: (r["LastModifiedDate"], r["Id"]), reverse=True)
        shown = rows[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]

        def at(page: int) -> str:
            return LIST + "?" + urlencode({"view": view, "q": text, "page": page})

        return self.page(
            request,
            "list",
            view=view,
            views=VIEWS.items(),
            title=VIEWS.get(view, VIEWS["open"]),
            text=text,
            total=len(rows),
            newer=at(number - 1) if number > 1 else "",
            older=at(number + 1) if number * PAGE_SIZE < len(rows) else "",
            rows=[
                {
                    **r,
                    "owner": self._name(r["OwnerId"]),
                    "url": f"/lightning/r/Case/{r['Id']}",
                    "when": _when(r["LastModifiedDate"]),
                }
                for r in shown
            ],
        )

    def _in_view(self, view: str, me: str) -> list[Doc]:
        rows = self.org.cases(deleted=view == "deleted")
        if view in ("all", "deleted"):
            return rows
        if view == "closed":
            return [r for r in rows if r["IsClosed"]]
        rows = [r for r in rows if not r["IsClosed"]]
        if view == "mine":
            return [r for r in rows if r["OwnerId"] == me]
        if view == "queues":
            return [r for r in rows if r["OwnerId"].startswith("00G")]
        return rows

    # One case --------------------------------------------------------------------------------------------------

    def view(self, request: Request, id: str) -> Response:
        doc = self.found(request, id)
        fields = self.org.objects["Case"].fields
        return self.page(
            request,
            "record",
            case=doc,
            owner=self._name(doc["OwnerId"]),
            details=[self._shown(fields[n], doc) for n in FORM if n in fields and n != "Description"],
            more=[self._shown(f, doc) for n, f in fields.items() if f.custom and n not in FORM + READ_ONLY],
            system=[self._shown(fields[n], doc) for n in READ_ONLY],
            comments=[
                {**c, "by": self._name(c["CreatedById"]), "when": _when(c["CreatedDate"])}
                for c in reversed(self.org.comments(doc["Id"]))
            ],
            history=[self._told(h) for h in reversed(self.org.history(doc["Id"]))],
            url=f"/lightning/r/Case/{doc['Id']}",
        )

    def _shown(self, item: Field, doc: Doc) -> Doc:
        value = item.formula(doc) if item.formula else doc.get(item.name)
        if item.type == "reference":
            value = self._name(value)
        elif item.type == "datetime":
            value = _when(value)
        values = value.split(";") if value and item.type == "multipicklist" else None
        return {"name": item.name, "label": item.title.removesuffix(" ID"), "value": value, "values": values}

    def _told(self, entry: Doc) -> Doc:
        item = self.org.objects["Case"].fields.get(entry["field"])
        refers = item is not None and item.type == "reference"
        return {
            "when": _when(entry["at"]),
            "by": self._name(entry["by"]),
            "label": item.title.removesuffix(" ID") if item else entry["field"],
            "created": entry["field"] == "created",
            "long": item is not None and item.long_text,
            "old": self._name(entry["old"]) if refers else entry["old"],
            "new": self._name(entry["new"]) if refers else entry["new"],
        }

    def _name(self, id: str | None) -> str:
        doc = self.org.get(id) if id else None
        if doc is None:
            return ""
        return str(doc["Name"]) + ("" if doc.get("IsActive", True) else " (inactive)")

    def new(self, request: Request) -> Response:
        fresh = {f.name: f.default for f in self.org.objects["Case"].fields.values()}
        return self._form(request, {**fresh, "OwnerId": self.me(request)["Id"]}, None)

    def edit(self, request: Request, id: str) -> Response:
        doc = self.found(request, id)
        return self._form(request, doc, doc)

    def create(self, request: Request) -> Response:
        form = self.from_here(request)
        values = self._sent(form)
        try:
            doc = self.org.create("Case", {k: v for k, v in values.items() if v is not None}, self.me(request)["Id"])
        except Problem as problem:
            return self._form(request, values, None, problem)
        return _go(f"/lightning/r/Case/{doc['Id']}/view")

    def save(self, request: Request, id: str) -> Response:
        """Writes only what this person changed, so that an edit made meanwhile elsewhere stays."""
        form = self.from_here(request)
        doc = self.found(request, id)
        values = self._sent(form)
        own = {k: v for k, v in values.items() if _lines(_text(v)) != _lines(form.get("was-" + k, [""])[-1])}
        try:
            if own:
                self.org.update(doc["Id"], own, self.me(request)["Id"])
        except Problem as problem:
            return self._form(request, {**doc, **values}, doc, problem)
        return _go(f"/lightning/r/Case/{doc['Id']}/view")

    def _sent(self, form: dict[str, list[str]]) -> Doc:
        values: Doc = {}
        for name in FORM:
            item = self.org.objects["Case"].fields.get(name)
            if item is None:
                continue
            sent = [v for v in form.get(name, []) if v.strip()]
            values[name] = ";".join(sent) if item.type == "multipicklist" else sent[-1] if sent else None
            values[name] = values[name] or None
        return values

    def _form(self, request: Request, values: Doc, doc: Doc | None, problem: Problem | None = None) -> Response:
        fields = [self.org.objects["Case"].fields[n] for n in FORM if n in self.org.objects["Case"].fields]
        url = f"/lightning/r/Case/{doc['Id']}" if doc else ""
        return self.page(
            request,
            "form",
            422 if problem else 200,
            case=doc,
            problem=problem,
            action=f"{url}/edit" if doc else "/lightning/o/Case/new",
            back=f"{url}/view" if doc else LIST,
            fields=[self._input(f, values, doc, problem) for f in fields],
        )

    def _input(self, item: Field, values: Doc, doc: Doc | None, problem: Problem | None) -> Doc:
        value = values.get(item.name)
        held = str(value).split(";") if value and item.type == "multipicklist" else [value] if value else []
        options = [(v, v) for v in item.values]
        if item.name == "OwnerId":
            options = [(u["Id"], u["Name"]) for u in self.org.users()]
            options += [(q["Id"], f"{q['Name']} (queue)") for q in self.org.queues()]
        kinds = {"textarea": "long", "picklist": "choice", "reference": "choice", "multipicklist": "many"}
        kind = kinds.get(item.type, {"date": "date", "double": "number"}.get(item.type, "text"))
        if kind in ("choice", "many"):  # what the record holds stays choosable: retired values, people who left
            known = {v for v, _ in options}
            options += [(v, self._name(v) or v) for v in held if v not in known]
        return {
            "name": item.name,
            "label": item.title.removesuffix(" ID"),
            "kind": kind,
            "value": _text(value),
            "was": _text(doc.get(item.name)) if doc else "",
            "held": held,
            "options": options,
            "blank": item.nillable and item.name != "OwnerId",
            "length": item.length if item.type in ("string", "textarea") else 0,
            "step": f"{10**-item.scale:.{item.scale}f}" if item.scale else "1",
            "error": problem.message if problem and item.name in problem.fields else "",
        }

    def comment(self, request: Request, id: str) -> Response:
        form = self.from_here(request)
        doc = self.found(request, id)
        body = form.get("body", [""])[-1]
        if body.strip():
            values = {"ParentId": doc["Id"], "CommentBody": body, "IsPublished": "published" in form}
            try:
                self.org.create("CaseComment", values, self.me(request)["Id"])
            except Problem as problem:
                return self.page(request, "message", 422, title="The comment was not saved", text=problem.message)
        return _go(f"/lightning/r/Case/{doc['Id']}/view#comments")

    def ask_delete(self, request: Request, id: str) -> Response:
        doc = self.found(request, id)
        return self.page(request, "delete", case=doc, url=f"/lightning/r/Case/{doc['Id']}")

    def delete(self, request: Request, id: str) -> Response:
        self.from_here(request)
        self.org.delete(self.found(request, id)["Id"], self.me(request)["Id"])
        return _go(LIST)

    def undelete(self, request: Request, id: str) -> Response:
        self.from_here(request)
        doc = self.found(request, id, deleted=True)
        try:
            self.org.undelete(doc["Id"], self.me(request)["Id"])
        except Problem as problem:
            return self.page(request, "message", 422, title="The case was not restored", text=problem.message)
        return _go(f"/lightning/r/Case/{doc['Id']}/view")


def _go(url: str) -> Response:
    return Response(303, None, {"Location": url})


def _address(request: Request) -> str:
    return request.path + ("?" + urlencode(request.query) if request.query else "")


def _when(text: str | None) -> str:
    return f"{text[:10]} {text[11:16]}" if text else ""


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _lines(text: str) -> str:
    """Browsers send CR LF for each newline; what was not touched must compare equal."""
    return text.replace("\r\n", "\n").strip()


def _contains(doc: Doc, text: str) -> bool:
    places = ("CaseNumber", "Subject", "Jira_Key__c", "Reference__c", "Description")
    return any(text in str(doc.get(p) or "").lower() for p in places)
