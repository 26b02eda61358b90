"""A Zendesk account itself: people, groups, fields, tickets with their audits. No HTTP.

Tickets are kept as the API shows them (payloads/zendesk/ticket_create). Each update is one audit, whose Change events
hold the values before; a comment is an event of it. Ids in audits are texts, as recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from connections.sandbox.store import Store

Row = dict[str, Any]
STATUSES = {
    "new": "New",
    "open": "Open",
    "pending": "Pending",
    "hold": "On-hold",
    "solved": "Solved",
    "closed": "Closed",
}
PRIORITIES = {"low": "Low", "normal": "Normal", "high": "High", "urgent": "Urgent"}
TYPES = {"question": "Question", "incident": "Incident", "problem": "Problem", "task": "Task"}
LISTS = {"status": STATUSES, "priority": PRIORITIES, "type": TYPES}
SUBJECT_LENGTH = 255
KEPT = ("subject", "status", "priority", "type", "assignee_id", "group_id", "requester_id", "problem_id")
PLAIN = (*KEPT, "due_at", "external_id", "ticket_form_id", "custom_status_id", "organization_id")
AGENTS = ("agent", "admin")
COUPLED = ("tagger", "multiselect", "checkbox")


class Invalid(Exception):
    """A record that is not saved: {field: what is wrong}."""

    def __init__(self, details: Mapping[str, str]) -> None:
        super().__init__(str(dict(details)))
        self.details = dict(details)

    def document(self) -> Row:
        return {
            "error": "RecordInvalid",
            "description": "Record validation errors",
            "details": {field: [{"description": text}] for field, text in self.details.items()},
        }


class Conflict(Exception):
    """The ticket changed since the stamp that a safe update names."""


class Records:
    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self.store = store
        self.now = now
        # (event without "zen:event-type:ticket.", ticket) after each change; what it returns is of no interest.
        self.on_change: Callable[[str, Row], None] = lambda event, ticket: None
        # (account, ticket, verb, {field: (before, after)}) of each write that was accepted.
        self.on_write: Callable[[str, str, str, Mapping[str, tuple[Any, Any]]], None] = lambda *told: None
        # Triggers: from a ticket and its changed fields to further changes, made in the same audit.
        self.triggers: list[Callable[[Row, Mapping[str, Any]], Mapping[str, Any]]] = []

    # People, groups, fields ------------------------------------------------------------------------------------

    def user(self, name: str, email: str | None, role: str = "agent", **more: Any) -> int:
        id = self.store.next_number("user", 6_130_907_000_001)
        row = {
            "id": id,
            "url": f"/api/v2/users/{id}.json",
            "name": name,
            "email": email,
            "role": role,
            "active": True,
            "suspended": False,
            "created_at": self.stamp(),
            "updated_at": self.stamp(),
            "default_group_id": None,
            "organization_id": None,
            "phone": None,
            "notes": None,
            "details": None,
            "external_id": None,
            "tags": [],
            "user_fields": {},
            **more,
        }
        self.store.put("user", str(id), row)
        return id

    def group(self, name: str) -> int:
        id = self.store.next_number("group", 6_130_852_000_001)
        self.store.put("group", str(id), {"id": id, "name": name, "deleted": False, "created_at": self.stamp()})
        return id

    def form(self, name: str) -> int:
        id = self.store.next_number("form", 6_130_830_000_001)
        row = {"id": id, "name": name, "active": True, "default": id == 6_130_830_000_001, "position": 1}
        self.store.put("form", str(id), row)
        return id

    def field(self, type: str, title: str, options: Mapping[str, str] | None = None, **more: Any) -> int:
        """A ticket field, of the system or of somebody's own. options: {value: name}."""
        id = self.store.next_number("field", 360_000_001)
        row: Row = {"id": id, "type": type, "title": title, "active": True, "required": False, "removable": True}
        row |= {"created_at": self.stamp(), "updated_at": self.stamp(), "tag": None, **more}
        if options is not None:
            key = "custom_field_options" if type in COUPLED else "system_field_options"
            row[key] = [{"name": name, "value": value} for value, name in options.items()]
        self.store.put("field", str(id), row)
        return id

    def system_fields(self) -> None:
        """The fields every account has."""
        for type, title, options in (
            ("subject", "Subject", None),
            ("description", "Description", None),
            ("status", "Status", STATUSES),
            ("tickettype", "Type", TYPES),
            ("priority", "Priority", PRIORITIES),
            ("group", "Group", None),
            ("assignee", "Assignee", None),
        ):
            self.field(type, title, options, removable=False)

    def fields(self) -> list[Row]:
        return self.store.all("field")

    def custom_fields(self) -> list[Row]:
        known = {"subject", "description", "status", "tickettype", "priority", "group", "assignee"}
        return [row for row in self.fields() if row["type"] not in known and row["active"]]

    # Tickets ---------------------------------------------------------------------------------------------------

    def tickets(self) -> list[Row]:
        return sorted(self.store.all("ticket"), key=lambda row: row["id"])

    def ticket(self, id: Any) -> Row | None:
        """None where it was deleted, or never was."""
        row: Row | None = self.store.get("ticket", str(id))
        return None if row is None or row["status"] == "deleted" else row

    def audits(self, id: Any) -> list[Row]:
        return self.store.get("audits", str(id)) or []

    def comments(self, id: Any) -> list[Row]:
        return [
            {**event, "audit_id": audit["id"], "created_at": audit["created_at"], "metadata": audit["metadata"]}
            for audit in self.audits(id)
            for event in audit["events"]
            if event["type"] == "Comment"
        ]

    def create(self, given: Mapping[str, Any], by: int) -> tuple[Row, Row]:
        """The new ticket and its audit. Raises Invalid."""
        comment = given.get("comment") or {"body": given.get("description")}
        if not isinstance(comment, Mapping) or not str(comment.get("body") or "").strip():
            raise Invalid({"base": "Description: cannot be blank"})
        id = self.store.next_number("ticket", 4001)
        row: Row = dict.fromkeys(PLAIN)
        row |= {
            "url": f"/api/v2/tickets/{id}.json",
            "id": id,
            "via": {"channel": "api", "source": {"from": {}, "to": {}, "rel": None}},
            "created_at": self.stamp(),
            "updated_at": self.stamp(),
            "description": _lines(str(comment["body"])),
            "raw_subject": None,
            "status": "new",
            "recipient": None,
            "submitter_id": by,
            "requester_id": by,
            "collaborator_ids": [],
            "follower_ids": [],
            "email_cc_ids": [],
            "forum_topic_id": None,
            "has_incidents": False,
            "is_public": comment.get("public", True) is not False,
            "tags": [],
            "custom_fields": [],
            "satisfaction_rating": None,
            "sharing_agreement_ids": [],
            "fields": [],
            "followup_ids": [],
            "brand_id": 1,
            "allow_channelback": False,
            "allow_attachments": True,
            "from_messaging_channel": False,
            "generated_timestamp": int(self.now()),
        }
        row["custom_fields"] = [{"id": one["id"], "value": _nothing(one)} for one in self.custom_fields()]
        forms = self.store.all("form")
        row["ticket_form_id"] = next((one["id"] for one in forms if one["default"]), None)
        empty = dict(row)
        self._take(row, given)
        self._check(row, given)
        audit = self._audit(id, by, self._events(empty, row, "Create"), comment)
        self._save(row, [audit])
        self.on_write(str(by), str(id), "create", _differences(empty, row))
        self.on_change("created", row)
        return row, audit

    def update(self, id: Any, given: Mapping[str, Any], by: int) -> tuple[Row, Row]:
        """The ticket after its update, and the audit. Raises KeyError, Invalid, Conflict."""
        old = self.ticket(id)
        if old is None:
            raise KeyError(id)
        # The mere presence of safe_update asks for it, also as false.
        if "safe_update" in given and _second(given.get("updated_stamp")) != _second(old["updated_at"]):
            raise Conflict
        if old["status"] == "closed":
            raise Invalid({"status": "Status: closed prevents ticket update"})
        row = {**old, "custom_fields": [dict(one) for one in old["custom_fields"]]}
        self._take(row, given)
        self._check(row, given)
        if row["assignee_id"] and row["status"] == "new":
            row["status"] = "open"
        events = self._events(old, row, "Change")
        for trigger in self.triggers:
            before = {**row, "custom_fields": [dict(one) for one in row["custom_fields"]]}
            self._take(row, trigger(row, given))
            rule = {"via": {"channel": "rule", "source": {"from": {"id": 1, "title": "A trigger"}, "rel": "trigger"}}}
            events += [{**event, **rule} for event in self._events(before, row, "Change")]
        comment = given.get("comment")
        audit = self._audit(int(row["id"]), by, events, comment if isinstance(comment, Mapping) else None)
        if audit["events"]:
            row |= {"updated_at": self.stamp(), "generated_timestamp": int(self.now())}
        self._save(row, [*self.audits(id), audit] if audit["events"] else self.audits(id))
        self.on_write(str(by), str(row["id"]), "update", _differences(old, row))
        for event in dict.fromkeys(_event_name(one) for one in audit["events"]):
            self.on_change(event, row)
        return row, audit

    def touch(self, id: Any) -> None:
        """A system's own update: it moves the export's clock and not the time people see."""
        self.store.put("ticket", str(id), {**self.store.get("ticket", str(id)), "generated_timestamp": int(self.now())})

    def delete(self, id: Any, by: int, permanently: bool = False) -> None:
        """Raises KeyError where there is no such ticket."""
        row = self.ticket(id)
        if row is None:
            raise KeyError(id)
        gone = {**row, "status": "deleted", "updated_at": self.stamp(), "generated_timestamp": int(self.now())}
        gone |= {"subject": "SCRUBBED", "description": "SCRUBBED"} if permanently else {}
        self.store.put("ticket", str(id), gone)
        who = self.store.get("user", str(by)) or {}
        told = {"id": row["id"], "subject": row["subject"], "previous_state": row["status"]}
        told |= {"deleted_at": self.stamp(), "actor": {"id": by, "name": who.get("name")}}
        self.store.put("deleted", str(id), told)
        self.on_write(str(by), str(row["id"]), "delete", {})
        self.on_change("permanently_deleted" if permanently else "soft_deleted", gone)

    # How a ticket changes --------------------------------------------------------------------------------------

    def _take(self, row: Row, given: Mapping[str, Any]) -> None:
        """Put the given values into the ticket, with what Zendesk makes of them."""
        for key in PLAIN:
            if key in given:
                row[key] = given[key] or None
        row["raw_subject"] = row["subject"]
        row["due_at"] = row["due_at"] if row["type"] == "task" else None
        if row["assignee_id"] and not row["group_id"]:
            row["group_id"] = (self.store.get("user", str(row["assignee_id"])) or {}).get("default_group_id")
        fields = {one["id"]: one for one in self.custom_fields()}
        if "tags" in given:
            row["tags"] = sorted({_tag(tag) for tag in given["tags"] or []})
            for entry in row["custom_fields"]:
                _follow_tags(fields.get(entry["id"]), entry, row["tags"])
        for one in given.get("custom_fields") or []:
            field = fields.get(one.get("id"))
            if field is None:
                continue  # unknown fields are left out unsaid
            entry = next((e for e in row["custom_fields"] if e["id"] == field["id"]), None)
            if entry is None:
                row["custom_fields"].append(entry := {"id": field["id"], "value": None})
            entry["value"] = _kept(field, one.get("value"))
            row["tags"] = _with_tags(field, entry["value"], row["tags"])
        row["fields"] = row["custom_fields"]

    def _check(self, row: Row, given: Mapping[str, Any]) -> None:
        wrong: dict[str, str] = {}
        for key, allowed in LISTS.items():
            if row[key] is not None and row[key] not in allowed:
                wrong[key] = f"{key.capitalize()}: {row[key]} is not a valid {key}"
        if len(row["subject"] or "") > SUBJECT_LENGTH:
            wrong["subject"] = f"Subject: is too long (maximum is {SUBJECT_LENGTH} characters)"
        if row["requester_id"] is None:
            wrong["requester"] = "Requester: cannot be blank"
        assignee = self.store.get("user", str(row["assignee_id"])) if row["assignee_id"] else None
        if row["assignee_id"] and (not assignee or assignee["role"] not in AGENTS or not assignee["active"]):
            wrong["assignee"] = "Assignee: is not an agent"
        if row["group_id"] and not self.store.get("group", str(row["group_id"])):
            wrong["group"] = "Group: is invalid"
        fields = {one["id"]: one for one in self.custom_fields()}
        for entry in row["custom_fields"]:
            field = fields.get(entry["id"])
            if field and not _fits(field, entry["value"]):
                wrong["base"] = f"{field['title']}: '{entry['value']}' is invalid"
        if wrong:
            raise Invalid(wrong)

    def _events(self, old: Row, new: Row, type: str) -> list[Row]:
        found = []
        for key, (before, after) in _differences(old, new).items():
            event = {"id": self.store.next_number("event", 6_164_000_000_001), "type": type, "field_name": key}
            event["value"] = _told(after)
            found.append(event | ({"previous_value": _told(before)} if type == "Change" else {}))
        return found

    def _audit(self, id: int, by: int, events: list[Row], comment: Mapping[str, Any] | None) -> Row:
        number = self.store.next_number("audit", 6_164_000_000_001)
        if comment:
            body = _lines(str(comment.get("body") or ""))
            said: Row = {
                "id": self.store.next_number("event", 6_164_000_000_001),
                "type": "Comment",
                "author_id": comment.get("author_id") or by,
                "body": body,
                "html_body": f'<div class="zd-comment" dir="auto"><p dir="auto">{body}</p></div>',
                "plain_body": body,
                "public": comment.get("public", True) is not False,
                "attachments": [],
                "audit_id": number,
            }
            events = [said, *events]
        return {
            "id": number,
            "ticket_id": id,
            "created_at": self.stamp(),
            "author_id": by,
            "metadata": {"system": {"client": "stand-in"}, "custom": {}},
            "events": events,
            "via": {"channel": "api", "source": {"from": {}, "to": {}, "rel": None}},
        }

    def _save(self, row: Row, audits: Sequence[Row]) -> None:
        self.store.put("ticket", str(row["id"]), row)
        self.store.put("audits", str(row["id"]), list(audits))

    def stamp(self) -> str:
        return datetime.fromtimestamp(int(self.now()), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _differences(old: Row, new: Row) -> dict[str, tuple[Any, Any]]:
    """{field: (before, after)}; a custom field is named by its id."""
    found = {key: (old[key], new[key]) for key in (*PLAIN, "tags") if old[key] != new[key]}
    before = {str(one["id"]): one["value"] for one in old["custom_fields"]}
    after = {str(one["id"]): one["value"] for one in new["custom_fields"]}
    return found | {id: (before.get(id), value) for id, value in after.items() if value != before.get(id)}


def _told(value: Any) -> Any:
    """Numbers are texts in audits, as recorded."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _event_name(event: Row) -> str:
    if event["type"] == "Comment":
        return "comment_added"
    key = event["field_name"]
    if key.isdecimal():
        return "custom_field_changed"
    named = {"assignee_id": "agent_assignment", "group_id": "group_assignment", "due_at": "task_due_at"}
    return f"{named.get(key, key.removesuffix('_id'))}_changed"


def _second(text: Any) -> str:
    return str(text or "")[:19]


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _tag(text: str) -> str:
    return re.sub(r"\s+", "_", text.strip().lower())


def _options(field: Row) -> list[str]:
    return [one["value"] for one in field.get("custom_field_options") or []]


def _nothing(field: Row) -> Any:
    return False if field["type"] == "checkbox" else [] if field["type"] == "multiselect" else None


def _kept(field: Row, value: Any) -> Any:
    if value is None or value == "":
        return _nothing(field)
    if field["type"] == "multiselect":
        return sorted(value)
    return _lines(value) if field["type"] == "textarea" and isinstance(value, str) else value


def _fits(field: Row, value: Any) -> bool:
    if value is None or value == []:
        return True
    match field["type"]:
        case "tagger":
            return value in _options(field)
        case "multiselect":
            return isinstance(value, list) and set(value) <= set(_options(field))
        case "checkbox":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) or str(value).lstrip("-").isdecimal()
        case "decimal":
            return isinstance(value, int | float)
        case "date":
            return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", str(value)))
    return True


def _coupled(field: Row) -> list[str]:
    return [field["tag"]] if field["type"] == "checkbox" and field.get("tag") else _options(field)


def _with_tags(field: Row, value: Any, tags: Sequence[str]) -> list[str]:
    """The option of a drop-down is a tag, and so is a ticked box."""
    if field["type"] not in COUPLED:
        return list(tags)
    chosen = _coupled(field) if value is True else value if isinstance(value, list) else [value]
    return sorted({*(tag for tag in tags if tag not in _coupled(field)), *(one for one in chosen if one)})


def _follow_tags(field: Row | None, entry: Row, tags: Sequence[str]) -> None:
    """A tag that is taken away, or added, changes the field that it belongs to."""
    if field is None or field["type"] not in COUPLED:
        return
    there = [tag for tag in _coupled(field) if tag in tags]
    if field["type"] == "multiselect":
        entry["value"] = sorted(there)
    elif field["type"] == "tagger":
        entry["value"] = there[0] if there else None
    elif field.get("tag"):
        entry["value"] = bool(there)
