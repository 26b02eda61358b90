"""The edit form of the Jira stand-in's pages: issue values to inputs, and what was sent back to changes."""

from __future__ import annotations

from typing import Any

from connections.sandbox import jira_editor as editor
from connections.sandbox import jira_fields as fields_of
from connections.sandbox.base import Request
from connections.sandbox.jira_fields import FieldDef, Refusal
from connections.sandbox.jira_records import Doc, User
from connections.sandbox.jira_site import Site

FORM_KINDS = ("line", "text", "number", "option", "options", "user", "day", "labels", "priority", "issuetype")


def inputs(
    site: Site, project_id: str, viewer: User, values: Doc, sent: dict[str, list[str]] | None = None
) -> list[Doc]:
    """What the form shows: one entry a field, with the value as text or the texts chosen."""
    shown = []
    for definition in site.fields_in(project_id, viewer):
        if definition.kind not in FORM_KINDS or not definition.writable or definition.id == "environment":
            continue
        kind, chosen = "line", form_value(definition, values.get(definition.id))
        choices: list[tuple[str, str]] = []
        match definition.kind:
            case "text":
                kind = "text"
            case "option" | "options":
                kind, choices = "choice", list(definition.options)
            case "priority":
                kind, choices = "choice", fields_of.PRIORITIES
            case "issuetype":
                kind, choices = "choice", [(t[0], t[1]) for t in fields_of.ISSUE_TYPES if t[4] == 0]
            case "user":
                people = [u for u in site.users.values() if u["active"] or [u["accountId"]] == chosen]
                kind = "choice"
                choices = [(u["accountId"], u["displayName"]) for u in sorted(people, key=lambda u: u["displayName"])]
            case "day":
                kind = "date"
            case "number":
                kind = "number"
        shown_first = chosen
        if sent is not None:
            chosen, shown_first = sent.get(definition.id, []), sent.get("was_" + definition.id, [])
        shown.append(
            {
                "id": definition.id,
                "name": definition.name,
                "kind": kind,
                "many": definition.kind == "options",
                "choices": choices,
                "chosen": chosen,
                "was": shown_first,
                "value": chosen[0] if chosen else "",
                "required": definition.required,
                "hint": "Separated by spaces" if definition.kind == "labels" else "",
            }
        )
    return shown


def form_value(definition: FieldDef, value: Any) -> list[str]:
    if value in (None, []):
        return []
    match definition.kind:
        case "text":
            return [editor.to_text(value)]
        case "labels":
            return [" ".join(value)]
        case "options":
            return list(value)
    return [str(value)]


def sent_changes(site: Site, request: Request, project_id: str, viewer: User, values: Doc) -> Doc:
    """The fields the person changed in the form, in the API's forms. Raises Refusal.

    Compared with what the form showed, not with the issue: what somebody else changed meanwhile stays.
    """
    form = request.form_lists()
    changes: Doc = {}
    for one in inputs(site, project_id, viewer, values):
        definition = site.fields[one["id"]]
        texts, before = (
            [t.replace("\r\n", "\n") for t in form.get(n, []) if t] for n in (one["id"], "was_" + one["id"])
        )
        if texts == before:
            continue
        changes[definition.id] = parsed(definition, texts, values.get(definition.id))
    return changes


def parsed(definition: FieldDef, texts: list[str], old: Any) -> Any:
    text = texts[0] if texts else ""
    match definition.kind:
        case "labels":
            return text.split()
        case "options":
            return [{"id": t} for t in texts]
        case _ if not text:
            return None
        case "text":
            return editor.from_text(text, old)
        case "number":
            try:
                number = float(text)
            except ValueError:
                raise Refusal(400, errors={definition.id: f"{definition.name} must be a number."}) from None
            return int(number) if number.is_integer() else number
        case "user":
            return {"accountId": text}
        case "option" | "priority" | "issuetype":
            return {"id": text}
    return text
