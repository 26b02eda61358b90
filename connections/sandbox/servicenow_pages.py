"""Small pages in the vendor's manner, so that a person can be "the ServiceNow user": incidents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from connections.sandbox.base import Request
from connections.sandbox.pages import LONG, Entry, Input, Look, Person, RecordPages, Refused, Shown, go
from connections.sandbox.servicenow_records import Refusal, Row
from connections.sandbox.servicenow_schema import Column, columns_of

if TYPE_CHECKING:
    from connections.sandbox.servicenow import ServiceNowStandin

TABLE = "incident"
LIST = "/incident_list.do"
# Each act has an address of its own, as ServiceNow has it.
ACTS = {
    "view": "/incident.do",
    "edit": "/incident_edit.do",
    "comment": "/incident_note.do",
    "delete": "/incident_delete.do",
}
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
INPUTS = {"glide_date": "date", "decimal": "number"}


def _titled(names: Sequence[str]) -> list[tuple[str, str]]:
    columns = columns_of(TABLE)
    return [(columns[name].title, name) for name in names]


class Pages(RecordPages):
    look = Look(
        product="ServiceNow",
        brand="Service desk",
        noun="incident",
        nouns="incidents",
        list_url=LIST,
        new_url="/incident_new.do",
        accent=("#0f6270", "#7fd6e4"),
        solid=("#0f6270", "#1c7484"),
        bar=("#12343b", "#0b2024"),
        soft="#cfe6ea",
        sign="#62d84e",
        search="Number or short description",
    )
    views = {"open": "Open", "mine": "Assigned to me", "unassigned": "Unassigned", "all": "All"}
    columns = (
        ("State", "state"),
        ("Priority", "priority"),
        ("Assigned to", "assigned_to"),
        ("Group", "assignment_group"),
        ("Updated", "sys_updated_on"),
    )
    highlights = columns[:4]
    details = _titled([name for name in FORM if name != "description"])
    system = _titled(READ_ONLY)
    text = "description"
    kinds = {"comments": "Additional comments (customer visible)", "work_notes": "Work notes"}
    warning = "The incident goes for good, with its comments and work notes. The delete log keeps that it was there."
    acts = ACTS

    def __init__(self, app: ServiceNowStandin) -> None:
        super().__init__(app)
        self.records = app.records
        app.route("GET", "/(?:nav_to.do|navpage.do)?", lambda request: go(LIST))

    def people(self) -> list[Person]:
        users = self.records.rows("sys_user").values()
        people = [u for u in users if u["active"] == "true" and u["web_service_access_only"] != "true"]
        return [Person(u["sys_id"], u["name"], u["user_name"]) for u in sorted(people, key=lambda user: user["name"])]

    def rows(self, view: str, me: Person) -> list[Row]:
        rows = [row for row in self.records.rows(TABLE).values() if _in_view(row, view, me.id)]
        return sorted(rows, key=lambda row: (row["sys_updated_on"], row["number"]), reverse=True)

    def find(self, request: Request, **named: str) -> Row | None:
        return self.records.get(TABLE, request.query.get("sys_id", ""))

    def url(self, row: Row, act: str) -> str:
        return f"{ACTS[act]}?sys_id={row['sys_id']}"

    def shown(self, row: Row) -> Shown:
        """With what people see in place of stored values."""
        values = {element: self._text(column, row.get(element, "")) for element, column in self._columns().items()}
        done = row["active"] == "false"
        return Shown(row["number"], row["short_description"], self.url(row, "view"), done, values)

    def _columns(self) -> dict[str, Column]:
        return self.records.columns(TABLE)

    def _text(self, column: Column, value: str) -> str:
        if column.choices:
            return dict(column.choices).get(value, value)
        if column.type == "reference" and value:
            target = self.records.get(column.reference, value)
            return (target.get("name") or target.get("number") or value) if target else value
        return value

    def _names(self) -> dict[str, str]:
        return {user["user_name"]: user["name"] for user in self.records.rows("sys_user").values()}

    def comments(self, row: Row) -> list[Entry]:
        names, labels = self._names(), {"comments": "comment", "work_notes": "work note"}
        return [
            Entry(
                entry["sys_created_on"],
                names.get(entry["sys_created_by"], entry["sys_created_by"]),
                text=entry["value"],
                kind=entry["element"],
                label=labels[entry["element"]],
            )
            for entry in reversed(self.records.journal(row["sys_id"]))
        ]

    def history(self, row: Row) -> list[Entry]:
        names, columns = self._names(), self._columns()
        return [
            Entry(
                change["sys_created_on"],
                names.get(change["user"], change["user"]),
                label=column.title,
                old=self._text(column, change["oldvalue"]),
                new=self._text(column, change["newvalue"]),
            )
            for change in reversed(self.records.history(row["sys_id"]))
            for column in [columns[change["fieldname"]]]
        ]

    def inputs(self, values: Mapping[str, str]) -> list[Input]:
        columns = self._columns()
        return [self._input(columns[name], values.get(name, "")) for name in FORM]

    def _input(self, column: Column, value: str) -> Input:
        options = list(column.choices)
        if column.reference:
            rows = self.records.rows(column.reference).values()
            options = sorted(((r["sys_id"], r["name"]) for r in rows if r.get("active") != "false"), key=lambda o: o[1])
        if options and value and value not in dict(options):
            options.append((value, self._text(column, value)))  # retired values and people who left stay choosable
        kind = "choice" if options else "long" if column.length > LONG else INPUTS.get(column.type, "text")
        return Input(
            column.element,
            column.title,
            kind,
            options,
            blank=column.element not in ("state", "impact", "urgency"),
            length=column.length if column.type == "string" else 0,
            required=column.mandatory,
            wide=column.element == "short_description",
        )

    def held(self, row: Row | None) -> dict[str, str]:
        if row is None:
            return {element: column.default for element, column in self._columns().items()}
        return row

    def write(self, row: Row | None, values: Mapping[str, str], by: str) -> Row:
        try:
            if row is None:
                return self.records.create(TABLE, dict(values), by)
            return self.records.edit(TABLE, row["sys_id"], dict(values), by)
        except Refusal as refusal:
            raise Refused(refusal.detail) from None

    def say(self, row: Row, kind: str, text: str, by: str) -> None:
        self.records.edit(TABLE, row["sys_id"], {kind: text}, by)

    def remove(self, row: Row, by: str) -> None:
        self.records.delete(TABLE, row["sys_id"], by)


def _in_view(row: Row, view: str, me: str) -> bool:
    if view == "all":
        return True
    if row["active"] != "true":
        return False
    return view == "open" or row["assigned_to"] == (me if view == "mine" else "")
