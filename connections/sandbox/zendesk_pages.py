"""Small pages in the vendor's manner, so that a person can be "the Zendesk agent": tickets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from connections.sandbox.base import Request
from connections.sandbox.pages import Entry, Input, Look, Person, RecordPages, Refused, Shown, go
from connections.sandbox.zendesk_records import PRIORITIES, STATUSES, TYPES, Invalid, Row

if TYPE_CHECKING:
    from connections.sandbox.zendesk import ZendeskStandin

LIST = "/agent/tickets"
TICKET = r"/agent/tickets/(?P<id>\d+)"
ENDED = ("solved", "closed")
# What the form holds under another name than the ticket: ids are texts, and tags one line.
IDS = {"assignee": "assignee_id", "group": "group_id"}


class Pages(RecordPages):
    look = Look(
        product="Zendesk",
        brand="Support",
        noun="ticket",
        nouns="tickets",
        list_url=LIST,
        new_url="/agent/tickets/new",
        accent=("#1f5f6b", "#8fd3c8"),
        solid=("#1f5f6b", "#23707d"),
        bar=("#03363d", "#021d21"),
        soft="#d3e5e5",
        sign="#78a300",
        search="Number or subject",
    )
    views = {"open": "Unsolved", "mine": "Assigned to me", "solved": "Solved", "all": "All"}
    columns = (
        ("State", "state"),
        ("Priority", "priority"),
        ("Assignee", "assignee"),
        ("Group", "group"),
        ("Updated", "updated"),
    )
    highlights = columns[:4]
    details = (("Type", "type"), ("Tags", "tags"), ("Requester", "requester"), ("External id", "external_id"))
    system = (("Created", "created"), ("Updated", "updated"))
    text = "description"
    kinds = {"public": "Public reply", "internal": "Internal note"}
    warning = "The ticket goes, with its comments. The list of changes keeps that it was there."
    acts = {"view": TICKET, "edit": f"{TICKET}/edit", "comment": f"{TICKET}/comment", "delete": f"{TICKET}/delete"}

    def __init__(self, app: ZendeskStandin) -> None:
        super().__init__(app)
        self.app = app
        self.records = app.records
        app.route("GET", "/?(?:agent/?)?", lambda request: go(LIST))

    def people(self) -> list[Person]:
        machines = {*self.app.tokens.values(), *self.app.bearers.values()}
        users = [user for user in self.records.store.all("user") if user["role"] != "end-user" and user["active"]]
        people = [user for user in users if user["email"] not in machines and not user["suspended"]]
        return [Person(str(one["id"]), one["name"], str(one["id"])) for one in sorted(people, key=lambda u: u["name"])]

    def rows(self, view: str, me: Person) -> list[Row]:
        rows = [row for row in self.records.tickets() if row["status"] != "deleted" and _in_view(row, view, me.id)]
        return sorted(rows, key=lambda row: (row["updated_at"], row["id"]), reverse=True)

    def find(self, request: Request, **named: str) -> Row | None:
        return self.records.ticket(named["id"])

    def url(self, row: Row, act: str) -> str:
        return f"{LIST}/{row['id']}{'' if act == 'view' else f'/{act}'}"

    def shown(self, row: Row) -> Shown:
        values = {
            "state": STATUSES.get(row["status"], row["status"]),
            "priority": PRIORITIES.get(row["priority"] or "", ""),
            "type": TYPES.get(row["type"] or "", ""),
            "assignee": self._name("user", row["assignee_id"]),
            "group": self._name("group", row["group_id"]),
            "requester": self._name("user", row["requester_id"]),
            "tags": ", ".join(row["tags"]),
            "external_id": str(row["external_id"] or ""),
            "description": row["description"],
            "created": row["created_at"],
            "updated": row["updated_at"],
        }
        done = row["status"] in ENDED
        return Shown(f"#{row['id']}", row["subject"] or "", self.url(row, "view"), done, values)

    def _name(self, kind: str, id: Any) -> str:
        found = self.records.store.get(kind, str(id)) if id else None
        return str(found["name"]) if found else ""

    def comments(self, row: Row) -> list[Entry]:
        kinds = {True: ("public", "public reply"), False: ("work_notes", "internal note")}
        return [
            Entry(one["created_at"], self._name("user", one["author_id"]), one["body"], *kinds[one["public"]])
            for one in reversed(self.records.comments(row["id"]))
        ]

    def history(self, row: Row) -> list[Entry]:
        fields = {str(one["id"]): one["title"] for one in self.records.fields()}
        return [
            Entry(
                audit["created_at"],
                self._name("user", audit["author_id"]),
                label=fields.get(event["field_name"], event["field_name"]),
                old=_words(event.get("previous_value")),
                new=_words(event["value"]),
            )
            for audit in reversed(self.records.audits(row["id"]))
            for event in audit["events"]
            if event["type"] == "Change"
        ]

    def inputs(self, values: Mapping[str, str]) -> list[Input]:
        agents = [(one.id, one.name) for one in self.people()]
        held = values.get("assignee", "")
        if held and held not in dict(agents):
            agents.append((held, self._name("user", held)))  # who left stays choosable
        groups = [(str(one["id"]), one["name"]) for one in self.records.store.all("group")]
        found = [
            Input("subject", "Subject", wide=True),
            Input("status", "Status", "choice", list(STATUSES.items()), blank=False),
            Input("type", "Type", "choice", list(TYPES.items())),
            Input("priority", "Priority", "choice", list(PRIORITIES.items())),
            Input("assignee", "Assignee", "choice", agents),
            Input("group", "Group", "choice", groups),
            Input("tags", "Tags, separated by commas"),
        ]
        # The description is a ticket's first comment and never changes.
        return found if "id" in values else [*found, Input("description", "Description", "long")]

    def held(self, row: Row | None) -> dict[str, str]:
        if row is None:
            return {"status": "new"}
        held = {name: str(row[name] or "") for name in ("id", "subject", "status", "type", "priority")}
        return held | {n: str(row[key] or "") for n, key in IDS.items()} | {"tags": ", ".join(row["tags"])}

    def write(self, row: Row | None, values: Mapping[str, str], by: str) -> Row:
        given: dict[str, Any] = {n: values[n] for n in ("subject", "status", "type", "priority") if n in values}
        given |= {key: int(values[n]) if values[n] else None for n, key in IDS.items() if n in values}
        if "tags" in values:
            given["tags"] = [tag for one in values["tags"].split(",") if (tag := one.strip())]
        try:
            if row is None:
                return self.records.create({**given, "description": values.get("description", "")}, int(by))[0]
            return self.records.update(row["id"], given, int(by))[0]
        except Invalid as invalid:
            raise Refused("; ".join(invalid.details.values())) from None

    def say(self, row: Row, kind: str, text: str, by: str) -> None:
        self.records.update(row["id"], {"comment": {"body": text, "public": kind == "public"}}, int(by))

    def remove(self, row: Row, by: str) -> None:
        self.records.delete(row["id"], int(by))


def _in_view(row: Row, view: str, me: str) -> bool:
    if view == "all":
        return True
    if view == "solved":
        return row["status"] in ENDED
    return row["status"] not in ENDED and (view == "open" or str(row["assignee_id"]) == me)


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")
