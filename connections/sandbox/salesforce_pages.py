"""Small pages in the vendor's manner, so that a person can be "the Salesforce user": cases as a list, one by one,
edited, commented, deleted and restored. No script; everything is served by the stand-in itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connections.sandbox.base import Request, Response, Stop
from connections.sandbox.pages import Frame, Look, Person, go, same
from connections.sandbox.salesforce_schema import Doc, Field, normal_id
from connections.sandbox.salesforce_values import Problem

if TYPE_CHECKING:
    from connections.sandbox.salesforce import SalesforceStandin

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


class Pages(Frame):
    look = Look(
        product="Salesforce",
        brand="Service",
        noun="case",
        nouns="cases",
        list_url=LIST,
        new_url="/lightning/o/Case/new",
        accent=("#0b5cab", "#8ec2ff"),
        solid=("#0b5cab", "#1b6fc4"),
        bar=("#032d60", "#0b1a2e"),
        soft="#c9dcf2",
        sign="#5cb6ff",
    )

    def __init__(self, app: SalesforceStandin) -> None:
        super().__init__(app)
        self.org = app.org
        record = r"/lightning/r/(?:Case/)?(?P<id>\w{15,18})"
        for method, pattern, handler in (
            ("GET", "/?", self.home),
            ("GET", "/(?P<id>[0-9]\\w{14,17})", self.short_link),
            ("GET", LIST, self.listing),
            ("GET", self.look.new_url, self.new),
            ("POST", self.look.new_url, self.create),
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

    def people(self) -> list[Person]:
        users = self.org.users() or [self.org.tables["User"][self.org.system_user]]
        return [Person(user["Id"], user["Name"], user["Id"]) for user in users]

    def from_here(self, request: Request) -> dict[str, list[str]]:
        """The form of a POST that one of our own pages sent. Raises Stop(403)."""
        self.check_origin(request)
        return request.form_lists()

    def found(self, request: Request, id: str, *, deleted: bool = False) -> Doc:
        doc = self.org.tables["Case"].get(normal_id(id) or "")
        if doc is None or doc["IsDeleted"] is not deleted:
            gone = doc is not None and doc["IsDeleted"]
            text = "The case is in the recycle bin." if gone else "There is no case at this address."
            raise Stop(self.message(request, 404, "We couldn't find that case", text))
        return doc

    def home(self, request: Request) -> Response:
        return go(LIST)

    def short_link(self, request: Request, id: str) -> Response:
        return go(f"/lightning/r/Case/{id}/view")

    # The list --------------------------------------------------------------------------------------------------

    def listing(self, request: Request) -> Response:
        view = request.query.get("view", "open")
        text = request.query.get("q", "").strip()
        rows = self._in_view(view if view in VIEWS else "open", self.me(request).id)
        if text:
            rows = [r for r in rows if _contains(r, text.lower())]
        rows.sort(key=lambda r: (r["LastModifiedDate"], r["Id"]), reverse=True)
        shown, told = self.paged(request, rows, view=view, q=text)
        return self.page(
            request,
            "salesforce/list",
            view=view,
            views=VIEWS.items(),
            title=VIEWS.get(view, VIEWS["open"]),
            text=text,
            rows=[
                {
                    **r,
                    "owner": self._name(r["OwnerId"]),
                    "url": f"/lightning/r/Case/{r['Id']}",
                    "when": _when(r["LastModifiedDate"]),
                }
                for r in shown
            ],
            **told,
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
            "salesforce/record",
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
        return self._form(request, {**fresh, "OwnerId": self.me(request).id}, None)

    def edit(self, request: Request, id: str) -> Response:
        doc = self.found(request, id)
        return self._form(request, doc, doc)

    def create(self, request: Request) -> Response:
        form = self.from_here(request)
        values = self._sent(form)
        try:
            doc = self.org.create("Case", {k: v for k, v in values.items() if v is not None}, self.me(request).id)
        except Problem as problem:
            return self._form(request, values, None, problem)
        return go(f"/lightning/r/Case/{doc['Id']}/view")

    def save(self, request: Request, id: str) -> Response:
        """Writes only what this person changed, so that an edit made meanwhile elsewhere stays."""
        form = self.from_here(request)
        doc = self.found(request, id)
        values = self._sent(form)
        own = {k: v for k, v in values.items() if same(_text(v)) != same(form.get("was-" + k, [""])[-1])}
        try:
            if own:
                self.org.update(doc["Id"], own, self.me(request).id)
        except Problem as problem:
            return self._form(request, {**doc, **values}, doc, problem)
        return go(f"/lightning/r/Case/{doc['Id']}/view")

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
            "salesforce/form",
            422 if problem else 200,
            case=doc,
            problem=problem,
            action=f"{url}/edit" if doc else self.look.new_url,
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
                self.org.create("CaseComment", values, self.me(request).id)
            except Problem as problem:
                return self.message(request, 422, "The comment was not saved", problem.message)
        return go(f"/lightning/r/Case/{doc['Id']}/view#comments")

    def ask_delete(self, request: Request, id: str) -> Response:
        doc = self.found(request, id)
        return self.page(request, "salesforce/delete", case=doc, url=f"/lightning/r/Case/{doc['Id']}")

    def delete(self, request: Request, id: str) -> Response:
        self.from_here(request)
        self.org.delete(self.found(request, id)["Id"], self.me(request).id)
        return go(LIST)

    def undelete(self, request: Request, id: str) -> Response:
        self.from_here(request)
        doc = self.found(request, id, deleted=True)
        try:
            self.org.undelete(doc["Id"], self.me(request).id)
        except Problem as problem:
            return self.message(request, 422, "The case was not restored", problem.message)
        return go(f"/lightning/r/Case/{doc['Id']}/view")


def _when(text: str | None) -> str:
    return f"{text[:10]} {text[11:16]}" if text else ""


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _contains(doc: Doc, text: str) -> bool:
    places = ("CaseNumber", "Subject", "Jira_Key__c", "Reference__c", "Description")
    return any(text in str(doc.get(p) or "").lower() for p in places)
