"""Small pages in the vendor's manner, so that a person can be "the ServiceNow user": incidents as a list, one by one,
edited, commented and deleted. No script; everything is served by the stand-in itself."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from django.template.loader import render_to_string

from connections.sandbox.base import Request, Response, Stop
from connections.sandbox.servicenow_records import Refusal, Row
from connections.sandbox.servicenow_schema import Column

if TYPE_CHECKING:
    from connections.sandbox.servicenow import ServiceNowStandin

TABLE = "incident"
PAGE_SIZE = 50
COOKIE = "standin_user"
LIST, RECORD, NEW = "/incident_list.do", "/incident.do", "/incident_new.do"
VIEWS = {"open": "Open", "mine": "Assigned to me", "unassigned": "Unassigned", "all": "All"}
FORM = (
    "short_description",
    "state",
    "contact_type",
    "category",
    "impact",
    "urgency",
    "assigned_to",
    "assignment_group",
    "caller_id",
    "follow_up",
    "u_due",
    "u_effort",
    "u_reference",
    "close_code",
    "close_notes",
    "description",
)
READ_ONLY = (
    "priority",
    "correlation_id",
    "opened_at",
    "resolved_at",
    "sys_updated_on",
    "sys_updated_by",
    "sys_mod_count",
)
JOURNALS = {"comments": "Additional comments (customer visible)", "work_notes": "Work notes"}
# No scripts, nothing from outside, no framing.
POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


class Pages:
    def __init__(self, app: ServiceNowStandin) -> None:
        self.app = app
        self.records = app.records
        for method, pattern, handler in (
            ("GET", "/(?:nav_to.do|navpage.do)?", lambda request: _go(LIST)),
            ("GET", "/_static/servicenow.css", self.style),
            ("POST", "/switch-user", self.switch_user),
            ("GET", LIST, self.listing),
            ("GET", RECORD, self.view),
            ("GET", NEW, self.new),
            ("POST", NEW, self.create),
            ("GET", "/incident_edit.do", self.edit),
            ("POST", "/incident_edit.do", self.save),
            ("POST", "/incident_note.do", self.note),
            ("GET", "/incident_delete.do", self.ask_delete),
            ("POST", "/incident_delete.do", self.delete),
        ):
            app.route(method, pattern, handler)

    # Around every page -----------------------------------------------------------------------------------------

    def people(self) -> list[Row]:
        users = self.records.rows("sys_user").values()
        people = [u for u in users if u["active"] == "true" and u["web_service_access_only"] != "true"]
        return sorted(people, key=lambda user: user["name"])

    def me(self, request: Request) -> Row | None:
        """The person this browser plays; the first of the people if it has not chosen."""
        cookie = SimpleCookie(request.headers.get("cookie", ""))
        people = self.people()
        chosen = [p for p in people if COOKIE in cookie and p["sys_id"] == cookie[COOKIE].value]
        return next(iter(chosen or people), None)

    def by(self, request: Request) -> str:
        me = self.me(request)
        return me["user_name"] if me else "guest"

    def page(self, request: Request, template: str, status: int = 200, **context: Any) -> Response:
        here = request.path + ("?" + urlencode(request.query) if request.query else "")
        shared = {"me": self.me(request), "people": self.people(), "here": here, "list_url": LIST, "new_url": NEW}
        html = render_to_string(f"sandbox/servicenow/{template}.html", {**shared, **context})
        return Response(status, html, {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"})

    def from_here(self, request: Request) -> dict[str, str]:
        """The form of a POST that one of our own pages sent. Raises Stop(403)."""
        origin = request.headers.get("origin")
        foreign = request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        if foreign or (origin is not None and urlsplit(origin).netloc != request.headers.get("host")):
            text = "The form came from another site, so nothing was changed. Open the page here and send it again."
            raise Stop(self.page(request, "message", 403, title="Not accepted", text=text))
        return request.form()

    def found(self, request: Request) -> Row:
        row = self.records.get(TABLE, request.query.get("sys_id", ""))
        if row is None:
            text = "There is no incident at this address. It may have been deleted."
            raise Stop(self.page(request, "message", 404, title="Record not found", text=text))
        return row

    def style(self, request: Request) -> Response:
        css = render_to_string("sandbox/servicenow/servicenow.css")
        return Response(200, css, {"Content-Type": "text/css; charset=utf-8", "Cache-Control": "max-age=300"})

    def switch_user(self, request: Request) -> Response:
        form = self.from_here(request)
        back, user = form.get("back", LIST), form.get("user", "")
        response = _go(back if back.startswith("/") and not back.startswith("//") else LIST)
        if user in {person["sys_id"] for person in self.people()}:
            response.headers["Set-Cookie"] = f"{COOKIE}={user}; Path=/; HttpOnly; SameSite=Lax"
        return response

    # The list --------------------------------------------------------------------------------------------------

    def listing(self, request: Request) -> Response:
        view = request.query.get("view", "open")
        view = view if view in VIEWS else "open"
        text = request.query.get("q", "").strip()
        number = max(1, int(n)) if (n := request.query.get("page", "1")).isdecimal() else 1
        me = self.me(request)
        rows = [row for row in self.records.rows(TABLE).values() if _in_view(row, view, me["sys_id"] if me else "")]
        if text:
            rows = [row for row in rows if text.lower() in f"{row['number']} {row['short_description']}".lower()]
        rows.sort(key=lambda row: (row["sys_updated_on"], row["number"]), reverse=True)
        shown = rows[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]

        def at(page: int) -> str:
            return LIST + "?" + urlencode({"view": view, "q": text, "page": page})

        return self.page(
            request,
            "list",
            view=view,
            views=VIEWS.items(),
            title=VIEWS[view],
            text=text,
            total=len(rows),
            newer=at(number - 1) if number > 1 else "",
            older=at(number + 1) if number * PAGE_SIZE < len(rows) else "",
            rows=[{**self._told(row), "url": _url(RECORD, row)} for row in shown],
        )

    def _told(self, row: Row) -> dict[str, str]:
        """A row with what people see in place of stored values."""
        return {element: self._text(column, row.get(element, "")) for element, column in self._columns().items()}

    def _columns(self) -> dict[str, Column]:
        return self.records.columns(TABLE)

    def _text(self, column: Column, value: str) -> str:
        if column.choices:
            return dict(column.choices).get(value, value)
        if column.type == "reference" and value:
            target = self.records.get(column.reference, value)
            return (target.get("name") or target.get("number") or value) if target else value
        return value

    # One incident ----------------------------------------------------------------------------------------------

    def view(self, request: Request) -> Response:
        row = self.found(request)
        told, columns = self._told(row), self._columns()
        names = {user["user_name"]: user["name"] for user in self.records.rows("sys_user").values()}
        entries = [
            {**entry, "by": names.get(entry["sys_created_by"], entry["sys_created_by"]), "kind": entry["element"]}
            for entry in self.records.journal(row["sys_id"])
        ]
        history = [
            {
                **change,
                "label": columns[change["fieldname"]].title,
                "old": self._text(columns[change["fieldname"]], change["oldvalue"]),
                "new": self._text(columns[change["fieldname"]], change["newvalue"]),
                "by": names.get(change["user"], change["user"]),
            }
            for change in self.records.history(row["sys_id"])
        ]
        return self.page(
            request,
            "record",
            row=told,
            details=[(columns[name].title, name, told[name]) for name in FORM if name != "description"],
            system=[(columns[name].title, name, told[name]) for name in READ_ONLY],
            entries=entries[::-1],
            history=history[::-1],
            journals=JOURNALS.items(),
            edit_url=_url("/incident_edit.do", row),
            delete_url=_url("/incident_delete.do", row),
            note_url=_url("/incident_note.do", row),
        )

    def new(self, request: Request) -> Response:
        fresh = {element: column.default for element, column in self._columns().items()}
        return self._form(request, fresh, None)

    def edit(self, request: Request) -> Response:
        row = self.found(request)
        return self._form(request, row, row)

    def create(self, request: Request) -> Response:
        values = self._sent(self.from_here(request))
        try:
            row = self.records.create(TABLE, values, self.by(request))
        except Refusal as refusal:
            return self._form(request, values, None, refusal.detail)
        return _go(_url(RECORD, row))

    def save(self, request: Request) -> Response:
        """Writes only what this person changed, so that an edit made meanwhile elsewhere stays."""
        form = self.from_here(request)
        row = self.found(request)
        values = self._sent(form)
        own = {name: value for name, value in values.items() if _lines(value) != _lines(form.get("was-" + name, ""))}
        try:
            self.records.edit(TABLE, row["sys_id"], own, self.by(request))
        except Refusal as refusal:
            return self._form(request, {**row, **values}, row, refusal.detail)
        return _go(_url(RECORD, row))

    def _sent(self, form: dict[str, str]) -> Row:
        return {name: form.get(name, "").replace("\r\n", "\n") for name in FORM if name in form}

    def _form(self, request: Request, values: Row, row: Row | None, problem: str = "") -> Response:
        columns = self._columns()
        return self.page(
            request,
            "form",
            422 if problem else 200,
            row=row,
            problem=problem,
            action=_url("/incident_edit.do", row) if row else NEW,
            back=_url(RECORD, row) if row else LIST,
            fields=[self._input(columns[name], values.get(name, ""), row) for name in FORM],
        )

    def _input(self, column: Column, value: str, row: Row | None) -> dict[str, Any]:
        options = list(column.choices)
        if column.reference:
            rows = self.records.rows(column.reference).values()
            options = sorted(((r["sys_id"], r["name"]) for r in rows if r.get("active") != "false"), key=lambda o: o[1])
        if options and value and value not in dict(options):
            options.append((value, self._text(column, value)))  # retired values and people who left stay choosable
        kinds = {"glide_date": "date", "decimal": "number"}
        kind = "choice" if options else "long" if column.length > 1000 else kinds.get(column.type, "text")
        return {
            "name": column.element,
            "label": column.title,
            "kind": kind,
            "value": value,
            "was": row.get(column.element, "") if row else "",
            "options": options,
            "blank": column.element not in ("state", "impact", "urgency"),
            "length": column.length if column.type == "string" else 0,
            "required": column.mandatory,
        }

    def note(self, request: Request) -> Response:
        form = self.from_here(request)
        row = self.found(request)
        kind, text = form.get("kind", ""), form.get("text", "").replace("\r\n", "\n")
        if kind in JOURNALS and text.strip():
            self.records.edit(TABLE, row["sys_id"], {kind: text}, self.by(request))
        return _go(_url(RECORD, row) + "#activity")

    def ask_delete(self, request: Request) -> Response:
        row = self.found(request)
        return self.page(request, "delete", row=row, action=_url("/incident_delete.do", row), back=_url(RECORD, row))

    def delete(self, request: Request) -> Response:
        self.from_here(request)
        self.records.delete(TABLE, self.found(request)["sys_id"], self.by(request))
        return _go(LIST)


def _in_view(row: Row, view: str, me: str) -> bool:
    if view == "all":
        return True
    if row["active"] != "true":
        return False
    return view == "open" or row["assigned_to"] == (me if view == "mine" else "")


def _url(path: str, row: Row) -> str:
    return f"{path}?sys_id={row['sys_id']}"


def _go(url: str) -> Response:
    return Response(303, None, {"Location": url})


def _lines(text: str) -> str:
    """Browsers send CR LF for each newline; what was not touched must compare equal."""
    return text.replace("\r\n", "\n").strip()
