"""Pages for people that a stand-in serves itself, in the vendor's manner: a list, a record, a form, comments.

`Frame` is what is around every page: who the browser plays, forms that only our own pages may send, the look.
`RecordPages` are pages of one kind of record; a subclass says what there is and how it is written. No scripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any, ClassVar
from urllib.parse import urlencode, urlsplit

from django.template.loader import render_to_string

from connections.sandbox.base import Request, Response, Standin, Stop

PAGE_SIZE = 50
COOKIE = "standin_user"
LONG = 1000  # texts that may be longer have several lines
# No scripts, nothing from outside, no framing.
POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


@dataclass(frozen=True)
class Look:
    """Words and colours of a vendor. Colours are pairs (light, dark); `soft` and `sign` stand on the bar."""

    product: str  # "ServiceNow"
    brand: str
    noun: str  # "incident"
    nouns: str
    list_url: str
    new_url: str
    accent: tuple[str, str]
    solid: tuple[str, str]
    bar: tuple[str, str]
    soft: str
    sign: str
    search: str = ""  # what can be searched for

    @property
    def css_url(self) -> str:
        return f"/_static/{self.product.lower()}.css"


@dataclass(frozen=True)
class Person:
    """Somebody the browser can play. by: as records name their author."""

    id: str
    name: str
    by: str


@dataclass(frozen=True)
class Input:
    """One field of the form. kind: "text", "long", "choice", "date" or "number"."""

    name: str
    label: str
    kind: str = "text"
    options: Sequence[tuple[str, str]] = ()
    blank: bool = True
    length: int = 0
    required: bool = False
    wide: bool = False


@dataclass(frozen=True)
class Entry:
    """A comment, or one change of the history."""

    at: str
    by: str
    text: str = ""
    kind: str = ""
    label: str = ""
    old: str = ""
    new: str = ""


@dataclass(frozen=True)
class Shown:
    """A record as people see it."""

    key: str
    title: str
    url: str
    done: bool = False
    values: Mapping[str, str] = field(default_factory=dict)  # by name


class Refused(Exception):
    """What was sent is not taken; the text says why."""


class Frame:
    """Around every page."""

    look: ClassVar[Look]

    def __init__(self, app: Standin) -> None:
        app.route("GET", self.look.css_url, self.style)
        app.route("POST", "/switch-user", self.switch_user)

    def people(self) -> Sequence[Person]:
        """Those the browser can play, the first unless it chooses."""
        raise NotImplementedError

    def me(self, request: Request) -> Person:
        """The person this browser plays."""
        cookie = SimpleCookie(request.headers.get("cookie", ""))
        people = self.people()
        chosen = [one for one in people if COOKIE in cookie and one.id == cookie[COOKIE].value]
        return next(iter([*chosen, *people]), Person("", "Nobody", "guest"))

    def page(self, request: Request, template: str, status: int = 200, **context: Any) -> Response:
        here = request.path + ("?" + urlencode(request.query) if request.query else "")
        shared = {"look": self.look, "me": self.me(request), "people": self.people(), "here": here}
        html = render_to_string(f"sandbox/{template}.html", {**shared, **context})
        return Response(status, html, {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"})

    def message(self, request: Request, status: int, title: str, text: str) -> Response:
        return self.page(request, "records/message", status, title=title, text=text)

    def check_origin(self, request: Request) -> None:
        """Raises Stop(403) unless one of our own pages sent the form."""
        origin = request.headers.get("origin")
        foreign = request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        if foreign or (origin is not None and urlsplit(origin).netloc != request.headers.get("host")):
            text = "The form came from another site, so nothing was changed. Open the page here and send it again."
            raise Stop(self.message(request, 403, "Not accepted", text))

    def style(self, request: Request) -> Response:
        css = render_to_string("sandbox/records/records.css", {"look": self.look})
        return Response(200, css, {"Content-Type": "text/css; charset=utf-8", "Cache-Control": "max-age=300"})

    def switch_user(self, request: Request) -> Response:
        self.check_origin(request)
        form = request.form()
        back, user = form.get("back", self.look.list_url), form.get("user", "")
        response = go(back if back.startswith("/") and not back.startswith("//") else self.look.list_url)
        if user in {person.id for person in self.people()}:
            response.headers["Set-Cookie"] = f"{COOKIE}={user}; Path=/; HttpOnly; SameSite=Lax"
        return response

    def paged(self, request: Request, rows: Sequence[Any], **query: str) -> tuple[list[Any], dict[str, Any]]:
        """(the rows of the page asked for, what the template says of the others)."""
        number = max(1, int(n)) if (n := request.query.get("page", "1")).isdecimal() else 1

        def at(page: int) -> str:
            return f"{self.look.list_url}?{urlencode({**query, 'page': page})}"

        more = number * PAGE_SIZE < len(rows)
        told = {"newer": at(number - 1) if number > 1 else "", "older": at(number + 1) if more else ""}
        return list(rows[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]), {**told, "total": len(rows)}


class RecordPages(Frame):
    """Pages of one kind of record. `Row` is whatever the stand-in keeps; a subclass reads and writes it.

    record: regular expression of a record's address; its named groups go to `find`. The pages of its acts lie
    `below` it: one address, or (as some vendors have it) one of its own for each act.
    """

    views: ClassVar[Mapping[str, str]]  # {name: heading}, the first is shown at first
    columns: ClassVar[Sequence[tuple[str, str]]]  # (heading, name of the value), beside key and title
    highlights: ClassVar[Sequence[tuple[str, str]]]
    details: ClassVar[Sequence[tuple[str, str]]]
    system: ClassVar[Sequence[tuple[str, str]]] = ()
    text: ClassVar[str]  # name of the long text
    kinds: ClassVar[Mapping[str, str]]  # {kind of comment: what it is called}
    warning: ClassVar[str]  # what deleting leads to
    acts: ClassVar[Mapping[str, str]]  # {"view" | "edit" | "comment" | "delete": regular expression of the address}

    def __init__(self, app: Standin) -> None:
        super().__init__(app)
        for method, pattern, handler in (
            ("GET", self.look.list_url, self.listing),
            ("GET", self.look.new_url, self.new),
            ("POST", self.look.new_url, self.create),
            ("GET", self.acts["view"], self.view),
            ("GET", self.acts["edit"], self.edit),
            ("POST", self.acts["edit"], self.save),
            ("POST", self.acts["comment"], self.comment),
            ("GET", self.acts["delete"], self.ask_delete),
            ("POST", self.acts["delete"], self.delete),
        ):
            app.route(method, pattern, handler)

    # What a subclass says --------------------------------------------------------------------------------------

    def rows(self, view: str, me: Person) -> Sequence[Any]:
        """Records of a view, last changed first."""
        raise NotImplementedError

    def find(self, request: Request, **named: str) -> Any | None:
        raise NotImplementedError

    def shown(self, row: Any) -> Shown:
        raise NotImplementedError

    def url(self, row: Any, act: str) -> str:
        raise NotImplementedError

    def comments(self, row: Any) -> Sequence[Entry]:
        """Newest first."""
        raise NotImplementedError

    def history(self, row: Any) -> Sequence[Entry]:
        """Newest first."""
        raise NotImplementedError

    def inputs(self, values: Mapping[str, str]) -> Sequence[Input]:
        """The form's fields; `values` are what they hold, so that it stays choosable."""
        raise NotImplementedError

    def held(self, row: Any | None) -> dict[str, str]:
        """What the form of a record (None: of a new one) holds, by name."""
        raise NotImplementedError

    def write(self, row: Any | None, values: Mapping[str, str], by: str) -> Any:
        """Make a record, or change one; the record. Raises Refused."""
        raise NotImplementedError

    def say(self, row: Any, kind: str, text: str, by: str) -> None:
        raise NotImplementedError

    def remove(self, row: Any, by: str) -> None:
        raise NotImplementedError

    # The pages -------------------------------------------------------------------------------------------------

    def _found(self, request: Request, **named: str) -> Any:
        row = self.find(request, **named)
        if row is None:
            text = f"There is no {self.look.noun} at this address. It may have been deleted."
            raise Stop(self.message(request, 404, "Record not found", text))
        return row

    def listing(self, request: Request) -> Response:
        view, text = request.query.get("view", ""), request.query.get("q", "").strip()
        view = view if view in self.views else next(iter(self.views))
        rows = [self.shown(row) for row in self.rows(view, self.me(request))]
        if text:
            rows = [row for row in rows if text.lower() in f"{row.key} {row.title}".lower()]
        shown, told = self.paged(request, rows, view=view, q=text)
        cells = [(row, [(heading, name, row.values.get(name, "")) for heading, name in self.columns]) for row in shown]
        told |= {"view": view, "views": self.views.items(), "title": self.views[view], "text": text}
        return self.page(request, "records/list", rows=cells, columns=self.columns, **told)

    def view(self, request: Request, **named: str) -> Response:
        row = self._found(request, **named)
        shown = self.shown(row)

        def valued(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
            return [(label, name, shown.values.get(name, "")) for label, name in pairs]

        return self.page(
            request,
            "records/record",
            row=shown,
            highlights=valued(self.highlights),
            details=valued(self.details),
            system=valued(self.system),
            text_name=self.text,
            long_text=shown.values.get(self.text, ""),
            comments=self.comments(row),
            history=self.history(row),
            kinds=self.kinds.items(),
            edit_url=self.url(row, "edit"),
            delete_url=self.url(row, "delete"),
            comment_url=self.url(row, "comment"),
        )

    def new(self, request: Request) -> Response:
        return self._form(request, None, self.held(None))

    def edit(self, request: Request, **named: str) -> Response:
        row = self._found(request, **named)
        return self._form(request, row, self.held(row))

    def create(self, request: Request) -> Response:
        self.check_origin(request)
        values = self._sent(request)
        try:
            row = self.write(None, values, self.me(request).by)
        except Refused as refused:
            return self._form(request, None, values, str(refused))
        return go(self.url(row, "view"))

    def save(self, request: Request, **named: str) -> Response:
        """Writes only what this person changed, so that an edit made meanwhile elsewhere stays."""
        self.check_origin(request)
        row, form = self._found(request, **named), request.form()
        values = self._sent(request)
        own = {name: value for name, value in values.items() if same(value) != same(form.get("was-" + name, ""))}
        try:
            self.write(row, own, self.me(request).by)
        except Refused as refused:
            return self._form(request, row, {**self.held(row), **values}, str(refused))
        return go(self.url(row, "view"))

    def _sent(self, request: Request) -> dict[str, str]:
        form = request.form()
        names = [one.name for one in self.inputs({})]
        return {name: form[name].replace("\r\n", "\n") for name in names if name in form}

    def _form(self, request: Request, row: Any | None, values: Mapping[str, str], problem: str = "") -> Response:
        was = self.held(row) if row is not None else {}
        return self.page(
            request,
            "records/form",
            422 if problem else 200,
            row=self.shown(row) if row is not None else None,
            problem=problem,
            action=self.look.new_url if row is None else self.url(row, "edit"),
            back=self.look.list_url if row is None else self.url(row, "view"),
            fields=[(one, values.get(one.name, ""), was.get(one.name, "")) for one in self.inputs(values)],
        )

    def comment(self, request: Request, **named: str) -> Response:
        self.check_origin(request)
        row, form = self._found(request, **named), request.form()
        kind, text = form.get("kind", ""), form.get("text", "").replace("\r\n", "\n")
        if kind in self.kinds and text.strip():
            self.say(row, kind, text, self.me(request).by)
        return go(self.url(row, "view") + "#activity")

    def ask_delete(self, request: Request, **named: str) -> Response:
        row = self._found(request, **named)
        return self.page(
            request,
            "records/delete",
            row=self.shown(row),
            warning=self.warning,
            action=self.url(row, "delete"),
            back=self.url(row, "view"),
        )

    def delete(self, request: Request, **named: str) -> Response:
        self.check_origin(request)
        self.remove(self._found(request, **named), self.me(request).by)
        return go(self.look.list_url)


def go(url: str) -> Response:
    return Response(303, None, {"Location": url})


def same(text: str) -> str:
    """Browsers send CR LF for each newline; what was not touched must compare equal."""
    return text.replace("\r\n", "\n").strip()
