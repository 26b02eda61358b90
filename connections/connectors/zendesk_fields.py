"""A ticket's fields, and values between Zendesk's form and the normalised one. Pure.

Facts: the vendor's description (TicketObject, TicketFieldObject) and "Setting custom field values". The option of a
drop-down is also a tag of the ticket, and so is a ticked box that has one: those tags belong to their fields and are no
part of `tags` here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from connections.connectors.base import Field, Option, Record
from connections.connectors.numbers import plain

CUSTOM = "custom_"  # a custom field's path: custom_360001234
ACCOUNT, QUEUE = "id:", "queue:"
UNREADABLE = "unreadable"  # the version of a record whose time cannot be read
GROUP, FORM, STATUS_ID = "group_id", "ticket_form_id", "custom_status_id"
PEOPLE = ("assignee_id", "requester_id")
# Nobody tells how long a subject may be; what Zendesk cuts or refuses beyond its own limit is shown to people.
SUBJECT_LENGTH = 255
# The vendor's "Zendesk ticket field types": text fields hold 65,536 characters.
TEXT_LENGTH = 65_536
TITLE_LENGTH = 150
DEFAULTS: Mapping[str, Sequence[tuple[str, str]]] = {
    "status": (
        ("new", "New"),
        ("open", "Open"),
        ("pending", "Pending"),
        ("hold", "On-hold"),
        ("solved", "Solved"),
        ("closed", "Closed"),
    ),
    "priority": (("low", "Low"), ("normal", "Normal"), ("high", "High"), ("urgent", "Urgent")),
    "type": (("question", "Question"), ("incident", "Incident"), ("problem", "Problem"), ("task", "Task")),
}
# Zendesk's type of a system field → its key in a ticket.
SYSTEM = {"tickettype": "type", "basic_priority": "priority"}
KINDS = {
    "text": "text",
    "regexp": "text",
    "partialcreditcard": "text",
    "textarea": "rich_text",
    "checkbox": "boolean",
    "date": "date",
    "integer": "number",
    "decimal": "number",
    "tagger": "option",
    "multiselect": "set",
    "lookup": "reference",
}
COUPLED = ("tagger", "multiselect", "checkbox")
MATCHABLE = ("text", "regexp")


@dataclass(frozen=True, slots=True)
class Column:
    """One field of tickets. `options`: {stored value: name as people see it}; a checkbox has at most its tag there."""

    shown: Field
    type: str  # as Zendesk calls it; "" for what is no ticket field
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def custom_id(self) -> int | None:
        id = self.shown.path.removeprefix(CUSTOM)
        return int(id) if id.isdecimal() else None  # custom_status_id is none


@dataclass(frozen=True, slots=True)
class Shape:
    """Tickets as our account sees them. `coupled`: tags that belong to the value of a field."""

    columns: Mapping[str, Column]
    coupled: frozenset[str]

    def named(self, sent: Iterable[str], key: str, text: str) -> str | None:
        """The path among `sent` that a refusal means by `key`, or mentions by its title."""
        paths = list(sent)
        for path in (key, f"{key}_id", CUSTOM + key, {"tickettype": "type"}.get(key, key)):
            if path in paths:
                return path
        labels = [(self.columns[path].shown.label, path) for path in paths if path in self.columns]
        fitting = [(len(label), path) for label, path in labels if label and label.lower() in text.lower()]
        return max(fitting)[1] if fitting else None


def shape_of(fields: Sequence[Mapping[str, Any]], forms: Mapping[str, str], groups: Mapping[str, str]) -> Shape:
    """fields: active and inactive ticket fields; forms, groups: {id: name}. Raises ValueError on what is no field."""
    columns = {path: Column(shown, "") for path, shown in _FIXED.items()}
    columns[GROUP] = Column(_FIXED[GROUP], "group", groups)
    if forms:
        shown = Field(FORM, "Form", "option", options=options_of(forms), writable=False)
        columns[FORM] = Column(shown, "", forms)
    titles: dict[str, str] = {}
    coupled: set[str] = set()
    for one in fields:
        kind, id = one.get("type"), plain_id(one.get("id"))
        if not isinstance(kind, str) or not id:
            raise ValueError("a ticket field without type or id")
        if not one.get("active", True):
            continue
        title = str(one.get("title") or id)
        path = SYSTEM.get(kind, kind)
        if path in DEFAULTS:
            told = pairs_of(one.get("system_field_options"))
            options = {**dict(DEFAULTS[path]), **told}
            columns[path] = Column(Field(path, title, "option", options=options_of(options)), kind, options)
        elif path == "custom_status":
            options = _statuses(one.get("custom_statuses"))
            columns[STATUS_ID] = Column(Field(STATUS_ID, title, "option", options=options_of(options)), kind, options)
        elif path in ("subject", "description"):
            titles[path] = title
        elif kind in KINDS:
            column = _custom(one, id, title)
            columns[column.shown.path] = column
            coupled |= set(column.options) if kind in COUPLED else set()
    return Shape(columns, frozenset(coupled))


_FIXED = {
    one.path: one
    for one in (
        # Required by us: a new ticket's first comment cannot be empty, and its subject takes a missing text's place.
        Field("subject", "Subject", "text", required=True, max_length=SUBJECT_LENGTH, matchable=True),
        Field("description", "Description", "rich_text", format="plain", writable=False, max_length=TEXT_LENGTH),
        Field("tags", "Tags", "set"),
        Field("assignee_id", "Assignee", "person"),
        Field("requester_id", "Requester", "person", required=False),
        Field(GROUP, "Group", "person"),
        Field("due_at", "Due date (of a task)", "datetime"),
        Field("problem_id", "Problem (of an incident)", "reference"),
        Field("organization_id", "Organization", "reference", writable=False, creatable=False),
        Field("created_at", "Created", "datetime", writable=False, creatable=False),
    )
}


def _custom(one: Mapping[str, Any], id: str, title: str) -> Column:
    type = str(one["type"])
    kind = KINDS[type]
    tag = one.get("tag") if type == "checkbox" else None
    options = {tag: title} if isinstance(tag, str) and tag else pairs_of(one.get("custom_field_options"))
    fixed = type == "partialcreditcard"
    shown = Field(
        CUSTOM + id,
        title,
        kind,
        format="plain" if kind == "rich_text" else None,
        options=options_of(options) if kind in ("option", "set") else (),
        writable=not fixed,
        creatable=not fixed,
        max_length=TEXT_LENGTH if kind in ("text", "rich_text") else None,
        matchable=type in MATCHABLE,
    )
    return Column(shown, type, options)


def pairs_of(told: Any) -> dict[str, str]:
    """{stored value: name}; a name that two options share gets its value behind it."""
    entries = [one for one in told if isinstance(one, Mapping)] if isinstance(told, list) else []
    pairs = {str(one["value"]): str(one.get("name") or one["value"]) for one in entries if one.get("value")}
    names = list(pairs.values())
    return {value: name if names.count(name) == 1 else f"{name} ({value})" for value, name in pairs.items()}


def _statuses(told: Any) -> dict[str, str]:
    entries = [one for one in told if isinstance(one, Mapping)] if isinstance(told, list) else []
    return {
        id: str(one.get("agent_label") or id)
        for one in entries
        if (id := plain_id(one.get("id"))) and one.get("active", True)
    }


def options_of(pairs: Mapping[str, str]) -> tuple[Option, ...]:
    return tuple(Option(name, name) for name in pairs.values())


# Values -------------------------------------------------------------------------------------------------------------


def normal(shape: Shape, path: str, raw: Any, names: Mapping[str, str]) -> Any:
    """names: {user id: person value}. Raises ValueError on what the field cannot hold."""
    column = shape.columns[path]
    kind = column.shown.kind
    if kind == "set":
        return _set(shape, column, raw)
    if kind == "boolean":
        return _boolean(raw)
    if raw is None or raw == "":
        return None
    if kind in ("text", "rich_text"):
        return _text(raw) or None
    if kind == "option":
        return column.options.get(_text(raw), _text(raw))
    if kind == "number":
        return _number(raw)
    if kind == "date":
        return datetime.fromisoformat(_text(raw)[:10]).date().isoformat()
    if kind == "datetime":
        return _needed(moment(raw))
    id = _needed(plain_id(raw))
    if path == GROUP:
        return QUEUE + column.options[id] if id in column.options else ACCOUNT + id
    return names.get(id, ACCOUNT + id) if kind == "person" else id


def _set(shape: Shape, column: Column, raw: Any) -> list[str]:
    if raw is None:
        return []
    if not isinstance(raw, list) or not all(isinstance(one, str) for one in raw):
        raise ValueError("not a list of texts")
    if column.shown.path == "tags":
        return sorted({one for one in raw if one and one not in shape.coupled})
    return sorted({column.options.get(one, one) for one in raw})


def _boolean(raw: Any) -> bool:
    if raw in (None, "", False, "false", "0"):
        return False
    if raw in (True, "true", "1"):
        return True
    raise ValueError("neither true nor false")


def _number(raw: Any) -> int | float:
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise ValueError("no number")
    if re.fullmatch(r"-?[0-9]+", str(raw)):
        return int(raw)  # a float would round what has more than fifteen digits
    return plain(float(raw))


def _text(raw: Any) -> str:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise ValueError("no text")
    return str(raw).replace("\r\n", "\n").replace("\r", "\n")


def _needed(value: str | None) -> str:
    if not value:
        raise ValueError("neither a time nor an id")
    return value


def outgoing(shape: Shape, path: str, value: Any) -> Any:
    """What Zendesk stores for a value of a field that names no person. Raises ValueError where it cannot hold it."""
    column = shape.columns[path]
    label, kind = column.shown.label, column.shown.kind
    if kind == "set":
        wanted = [str(one) for one in value or []]
        if path == "tags":
            return _tags(shape, wanted)
        return [_stored(column, name) for name in wanted] if column.options else sorted(set(wanted))
    if kind == "boolean":
        return bool(value)
    if value in (None, ""):
        return None
    if kind == "option":
        stored = _stored(column, str(value))
        return int(stored) if path in (FORM, STATUS_ID) else stored
    if kind == "number":
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{label} takes a number, and {value} is none")
        if column.type == "integer" and value != int(value):
            raise ValueError(f"{label} takes whole numbers, and {value} is none")
        return value
    if kind == "date":
        return str(value)[:10]
    if kind == "reference":
        if not plain_id(str(value)):
            raise ValueError(f"{label} takes the id of a record, and {value} is none")
        return int(value) if column.custom_id is None else str(value)
    return str(value)


def _stored(column: Column, name: str) -> str:
    for stored, shown in column.options.items():
        if shown == name:
            return stored
    raise ValueError(f"{column.shown.label} has no option {name}")


def _tags(shape: Shape, wanted: Sequence[str]) -> list[str]:
    """Zendesk keeps tags in lower case and ends one at a space; another spelling would come back as somebody's edit."""
    for tag in wanted:
        if tag in shape.coupled:
            raise ValueError(f"{tag} is no tag of its own: it is set by a drop-down or checkbox")
        if not re.fullmatch(r"[^\s,\"<>]+", tag) or tag != tag.lower():
            raise ValueError(f"“{tag}” cannot be a tag: Zendesk's tags are in lower case and without spaces")
    return sorted(set(wanted))


def with_coupled(shape: Shape, tags: Sequence[str], row: Mapping[str, Any], sent: Mapping[str, Any]) -> list[str]:
    """`tags` with those that belong to the ticket's fields: left out, they would empty these fields.

    row: the ticket as it is; sent: {path: stored value} of the same write.
    """
    kept = {tag for tag in row.get("tags") or [] if tag in shape.coupled}
    for path, value in sent.items():
        column = shape.columns[path]
        if column.type in COUPLED:
            kept -= set(column.options)
            chosen = list(column.options) if value is True else value if isinstance(value, list) else [value]
            kept |= {one for one in chosen if one in column.options}
    return sorted({*tags, *kept})


# Records ------------------------------------------------------------------------------------------------------------


def raw_value(shape: Shape, row: Mapping[str, Any], path: str) -> Any:
    """What a ticket holds for a path. Raises KeyError where it does not show the field: hidden is not empty."""
    column = shape.columns.get(path)
    if column is None:
        raise KeyError(path)
    if column.custom_id is None:
        return row[path]
    entries = row.get("custom_fields")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, Mapping) and entry.get("id") == column.custom_id and "value" in entry:
            return entry["value"]
    raise KeyError(path)


def people_in(shape: Shape, rows: Iterable[Mapping[str, Any]], paths: Sequence[str]) -> set[str]:
    """Ids of the users that the wanted fields of these tickets name."""
    wanted = [path for path in paths if path in PEOPLE]
    return {id for row in rows for path in wanted if (id := plain_id(row.get(path)))}


def record_of(shape: Shape, row: Mapping[str, Any], paths: Sequence[str], names: Mapping[str, str]) -> Record:
    """A ticket as a record. What it does not show, or shows in an odd form, is unreadable."""
    values: dict[str, Any] = {}
    version = moment(row.get("updated_at"))
    for path in paths:
        try:
            if version:
                values[path] = normal(shape, path, raw_value(shape, row, path), names)
        except (KeyError, ValueError, TypeError, OverflowError):
            continue
    id = str(plain_id(row.get("id")))
    subject = row.get("subject")
    key = row.get("external_id")
    return Record(
        external_id=id,
        version=version or UNREADABLE,
        values=values,
        updated_at=version,
        created_at=moment(row.get("created_at")),
        created_by=plain_id(row.get("submitter_id")),
        key=f"#{id}",
        title=subject[:TITLE_LENGTH] if isinstance(subject, str) and subject else None,
        correlation_key=key if isinstance(key, str) and key else None,
        deleted=row.get("status") == "deleted",
        unreadable=frozenset(path for path in paths if path not in values),
    )


def rule_of(event: Mapping[str, Any]) -> str | None:
    """The title of the trigger that made the change, None where a person did."""
    via = event.get("via")
    if not isinstance(via, Mapping) or via.get("channel") != "rule":
        return None
    source = via.get("source")
    origin = source.get("from") if isinstance(source, Mapping) else None
    return str(origin.get("title") or "a trigger") if isinstance(origin, Mapping) else "a trigger"


def plain_id(value: Any) -> str | None:
    """An id as text: REST tells numbers, webhooks and audits tell texts. None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value)
    return text if re.fullmatch(r"[1-9][0-9]{0,18}", text) else None


def moment(value: Any) -> str | None:
    """A time as a normalised datetime, UTC; None where it is none."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    form = "%Y-%m-%dT%H:%M:%S.%fZ" if found.microsecond else "%Y-%m-%dT%H:%M:%SZ"
    return found.astimezone(UTC).strftime(form)
