"""Fields of the Jira stand-in: how a value sent becomes a value stored, with Jira's refusals.

What is stored: text as str, documents as ADF, people as account ids, options, priorities and the like as their
id, sets as sorted lists, numbers as numbers, days as "YYYY-MM-DD", moments as epoch seconds.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from connections.sandbox import jira_documents as documents

# Jira's limits.
SUMMARY_LENGTH = 255
TEXT_LENGTH = 32767
LINE_LENGTH = 255
LABEL_LENGTH = 255

PRIORITIES = [("1", "Highest"), ("2", "High"), ("3", "Medium"), ("4", "Low"), ("5", "Lowest")]
RESOLUTIONS = [
    ("10000", "Done", "Work has been completed on this issue."),
    ("10001", "Won't Do", "This issue won't be actioned."),
    ("10002", "Duplicate", "The problem is a duplicate of an existing issue."),
    ("10003", "Cannot Reproduce", "All attempts at reproducing this issue failed."),
]
ISSUE_TYPES = [
    ("10001", "Story", "Functionality or a feature expressed as a user goal.", 10315, 0),
    ("10002", "Task", "A small, distinct piece of work.", 10318, 0),
    ("10004", "Bug", "A problem or error.", 10303, 0),
    ("10003", "Sub-task", "A small piece of work that's part of a larger task.", 10316, -1),
]
# id, name, category key; categories as Jira numbers them
STATUSES = [
    ("10000", "To Do", "new"),
    ("3", "In Progress", "indeterminate"),
    ("10001", "In Review", "indeterminate"),
    ("10003", "Blocked", "indeterminate"),
    ("10002", "Done", "done"),
]
STATUS_CATEGORIES = {
    "new": {"id": 2, "key": "new", "colorName": "blue-gray", "name": "To Do"},
    "indeterminate": {"id": 4, "key": "indeterminate", "colorName": "yellow", "name": "In Progress"},
    "done": {"id": 3, "key": "done", "colorName": "green", "name": "Done"},
}


@dataclass(frozen=True)
class Transition:
    id: str
    name: str
    sources: tuple[str, ...]  # status names
    target: str
    required: tuple[str, ...] = ()  # fields its screen asks for


WORKFLOW = (
    Transition("11", "Start progress", ("To Do",), "In Progress"),
    Transition("21", "Send to review", ("In Progress",), "In Review"),
    Transition("31", "Done", ("In Review",), "Done", ("resolution",)),
    Transition("41", "Block", ("To Do", "In Progress", "In Review"), "Blocked"),
    Transition("51", "Unblock", ("Blocked",), "In Progress"),
    Transition("61", "Reopen", ("Done",), "To Do"),
    Transition("71", "Stop progress", ("In Progress",), "To Do"),
    Transition("81", "Request changes", ("In Review",), "In Progress"),
)


@dataclass(frozen=True)
class FieldDef:
    """`kind`: line, text (document), number, option, options, user, day, moment, labels, or a system kind."""

    id: str
    name: str
    kind: str
    options: tuple[tuple[str, str], ...] = ()  # (id, value); of components and versions: (id, name)
    required: bool = False
    writable: bool = True
    navigable: bool = True
    clauses: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()  # keys; empty: all

    @property
    def custom(self) -> bool:
        return self.id.startswith("customfield_")


def _system(id: str, name: str, kind: str, *clauses: str, **more: Any) -> FieldDef:
    return FieldDef(id, name, kind, clauses=clauses or (id,), **more)


SYSTEM_FIELDS = [
    _system("summary", "Summary", "line", required=True),
    _system("description", "Description", "text"),
    _system("environment", "Environment", "text"),
    _system("issuetype", "Issue Type", "issuetype", "issuetype", "type", required=True),
    _system("project", "Project", "project", required=True),
    _system("priority", "Priority", "priority"),
    _system("assignee", "Assignee", "user"),
    _system("reporter", "Reporter", "user"),
    _system("labels", "Labels", "labels"),
    _system("duedate", "Due date", "day", "due", "duedate"),
    _system("parent", "Parent", "parent"),
    _system("status", "Status", "status", writable=False),
    _system("resolution", "Resolution", "resolution", writable=False),
    _system("creator", "Creator", "user", writable=False),
    _system("created", "Created", "moment", "created", "createdDate", writable=False),
    _system("updated", "Updated", "moment", "updated", "updatedDate", writable=False),
    _system("resolutiondate", "Resolved", "moment", "resolutiondate", "resolved", writable=False),
    _system(
        "statuscategorychangedate", "Status Category Changed", "moment", "statusCategoryChangedDate", writable=False
    ),
    _system("comment", "Comment", "comments", writable=False, navigable=False),
    _system("components", "Components", "components", "component", writable=False),
    _system("fixVersions", "Fix versions", "versions", "fixVersion", writable=False),
    _system("versions", "Affects versions", "versions", "affectedVersion", writable=False),
    _system("attachment", "Attachment", "attachments", "attachments", writable=False, navigable=False),
    _system("issuelinks", "Linked Issues", "issuelinks", writable=False),
    _system("subtasks", "Sub-tasks", "subtasks", writable=False),
    _system("workratio", "Work Ratio", "workratio", writable=False),
    _system("votes", "Votes", "votes", writable=False),
    _system("watches", "Watchers", "watches", "watchers", writable=False),
    _system("progress", "Progress", "progress", writable=False),
]

# JSON schema types as Jira names them: kind → (type, items)
SCHEMAS: dict[str, tuple[str, str | None]] = {
    "line": ("string", None),
    "text": ("string", None),
    "number": ("number", None),
    "option": ("option", None),
    "options": ("array", "option"),
    "user": ("user", None),
    "day": ("date", None),
    "moment": ("datetime", None),
    "labels": ("array", "string"),
    "comments": ("comments-page", None),
    "components": ("array", "component"),
    "versions": ("array", "version"),
    "attachments": ("array", "attachment"),
    "issuelinks": ("array", "issuelinks"),
    "subtasks": ("array", "issuelinks"),
    "workratio": ("number", None),
    "parent": ("issuelink", None),
}
CUSTOM_TYPES = {
    "line": "textfield",
    "text": "textarea",
    "number": "float",
    "option": "select",
    "options": "multiselect",
    "user": "userpicker",
    "day": "datepicker",
    "moment": "datetime",
    "labels": "labels",
}
SETS = ("labels", "options", "components", "versions")
OPERATIONS = {kind: ["add", "set", "remove"] for kind in SETS}
# Components and versions, which the changelog tells one by one under names of their own.
PARTS = {"components": "Component", "fixVersions": "Fix Version", "versions": "Version"}


def schema(definition: FieldDef) -> dict[str, Any]:
    """The field's "schema" in Jira's metadata."""
    type_, items = SCHEMAS.get(definition.kind, (definition.kind, None))
    result: dict[str, Any] = {"type": type_}
    if items:
        result["items"] = items
    if definition.custom:
        result["custom"] = "com.atlassian.jira.plugin.system.customfieldtypes:" + CUSTOM_TYPES[definition.kind]
        result["customId"] = int(definition.id.removeprefix("customfield_"))
    else:
        result["system"] = definition.id
    return result


@dataclass
class Refusal(Exception):
    """A request Jira refuses: {errorMessages, errors} with a status."""

    status: int = 400
    messages: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        return {"errorMessages": self.messages, "errors": self.errors}


def _pick(value: Any, known: Sequence[tuple[str, ...]], message: str, names: tuple[str, ...]) -> str:
    """The id of one of `known` (id, name, …) that `value`, {"id": …} or {"name": …}, points at."""
    if isinstance(value, dict):
        if value.get("id") is not None:
            if any(str(value["id"]) == k[0] for k in known):
                return str(value["id"])
        else:
            wanted = [str(value[n]).lower() for n in names if value.get(n) is not None]
            for entry in known:
                if wanted and entry[1].lower() == wanted[0]:
                    return entry[0]
    raise ValueError(message)


def stored(definition: FieldDef, value: Any) -> Any:
    """The stored form of a value sent; people and parents are checked by the site. Raises ValueError, Refusal."""
    if value is None:
        return [] if definition.kind in SETS else None
    match definition.kind:
        case "line":
            return _line(definition, value)
        case "text":
            if not isinstance(value, dict):
                raise ValueError("Operation value must be an Atlassian Document (see the Atlassian Document Format)")
            try:
                document = documents.normalised(value, lambda: str(uuid.uuid4()))
            except documents.InvalidDocument:
                raise Refusal(400, ["INVALID_INPUT"]) from None
            if documents.text_length(document) > TEXT_LENGTH:
                raise ValueError("The entered text is too long. It exceeds the allowed limit of 32,767 characters.")
            return document
        case "number":
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError("Operation value must be a number")
            return value
        case "priority":
            return _pick(value, list(PRIORITIES), "Specify a valid 'id' or 'name' for Priority", ("name",))
        case "resolution":
            known = [(r[0], r[1]) for r in RESOLUTIONS]
            return _pick(value, known, "Specify a valid 'id' or 'name' for Resolution", ("name",))
        case "option":
            message = f"Specify a valid 'id' or 'value' for {definition.name}"
            return _pick(value, list(definition.options), message, ("value",))
        case "options" | "components" | "versions":
            if not isinstance(value, list):
                raise ValueError("data was not an array")
            name = "value" if definition.kind == "options" else "name"
            message = f"Specify a valid 'id' or '{name}' for {definition.name}"
            order = [o[0] for o in definition.options]
            return sorted({_pick(v, list(definition.options), message, (name,)) for v in value}, key=order.index)
        case "labels":
            return _labels(value)
        case "day":
            try:
                return date.fromisoformat(value).isoformat()
            except (TypeError, ValueError):
                raise ValueError(f"Error parsing date string: {value}") from None
        case "moment":
            try:
                return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
            except (TypeError, ValueError):
                raise ValueError(f"Error parsing time: {value}") from None
    raise ValueError(f"Field '{definition.id}' cannot be set. It is not on the appropriate screen, or unknown.")


def _line(definition: FieldDef, value: Any) -> str | None:
    if not isinstance(value, str):
        raise ValueError("Operation value must be a string")
    if definition.id == "summary":
        value = value.strip()
        if "\n" in value or "\r" in value:
            raise ValueError("The summary is invalid because it contains newline characters.")
        if len(value) > SUMMARY_LENGTH:
            raise ValueError(f"Summary can't exceed {SUMMARY_LENGTH} characters.")
    elif len(value) > LINE_LENGTH:
        raise ValueError(f"The entered text is too long. It exceeds the allowed limit of {LINE_LENGTH} characters.")
    return value or None


def _labels(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise ValueError("data was not an array")
    for label in value:
        if not isinstance(label, str):
            raise ValueError("string expected at index 0")
        if any(c.isspace() for c in label):
            raise ValueError(f"The label '{label}' contains spaces which is invalid.")
        if len(label) > LABEL_LENGTH:
            raise ValueError(f"The label '{label[:30]}…' is too long.")
    return sorted({label for label in value if label})
