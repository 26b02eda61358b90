"""What a write to the Jira stand-in sends, checked and brought into stored form; and how a change is told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from connections.sandbox import jira_documents as documents
from connections.sandbox import jira_fields as fields_of
from connections.sandbox.jira_fields import FieldDef, Refusal
from connections.sandbox.jira_records import Doc, Records, User, status_name

NOTHING = (None, None)  # one side of an item: what was added was not there before


class Changes(Records):
    """Values sent in, stored values out; stored values in, changelog texts out."""

    def issue_type(self, value: Any, errors: dict[str, str]) -> str | None:
        known = [(t[0], t[1]) for t in fields_of.ISSUE_TYPES]
        for id, name in known:
            if isinstance(value, dict) and (str(value.get("id")) == id or value.get("name") == name):
                return id
        errors["issuetype"] = "Specify a valid issue type" if value else "Specify an issue type"
        return None

    def checked_properties(self, properties: list[Doc] | None) -> Doc:
        result = {}
        for entry in properties or []:
            if not isinstance(entry, dict) or not entry.get("key") or len(str(entry["key"])) > 255:
                raise Refusal(400, ["The property key must be present and at most 255 characters long."])
            result[str(entry["key"])] = entry.get("value")
        return result

    def checked(
        self, actor: User, project_id: str, given: Mapping[str, Any], update: Mapping[str, Any], errors: dict[str, str],
        current: Doc | None = None, only: tuple[str, ...] | None = None,
    ) -> Doc:  # fmt: skip
        """Stored forms of the fields sent; what is wrong goes into `errors`. `only`: fields on the screen."""
        definitions = {f.id: f for f in self.fields_in(project_id, actor)}
        result: Doc = {}
        for id in dict.fromkeys([*given, *update]):
            definition = definitions.get(id)
            if (
                definition is None
                or (not definition.writable and only is None)
                or (only is not None and id not in only)
            ):
                errors[id] = f"Field '{id}' cannot be set. It is not on the appropriate screen, or unknown."
                continue
            if id in given and id in update:
                errors[id] = f"Field '{id}' cannot appear in both 'fields' and 'update'"
                continue
            try:
                if id in given:
                    result[id] = self.stored(definition, given[id], project_id)
                else:
                    before = (current or {}).get(id)
                    result[id] = self._updated(definition, update[id], before, project_id)
            except ValueError as error:
                errors[id] = str(error)
        return result

    def stored(self, definition: FieldDef, value: Any, project_id: str) -> Any:
        if definition.kind == "user":
            return self._person(definition, value)
        if definition.kind == "parent":
            parent = self.find(str(value.get("id") or value.get("key"))) if isinstance(value, dict) else None
            if value is not None and (parent is None or parent["project"] != project_id):
                raise ValueError("Could not find valid 'id' or 'key' for the parent issue.")
            return parent["id"] if parent else None
        if definition.kind == "issuetype":
            errors: dict[str, str] = {}
            id = self.issue_type(value, errors)
            if id is None:
                raise ValueError(errors["issuetype"])
            return id
        return fields_of.stored(definition, value)

    def _person(self, definition: FieldDef, value: Any) -> str | None:
        if value is None:
            return None
        if not isinstance(value, dict) or not ({"accountId", "id"} & set(value)):
            raise ValueError(f"Specify a valid value for {definition.id}")
        account = value.get("accountId", value.get("id"))
        if account is None:
            return None
        user = self.users.get(account)
        if user is None:
            raise ValueError(f"Specify a valid value for {definition.id}")
        if not user["active"]:
            raise ValueError(f"User '{user['displayName']}' cannot be assigned issues.")
        return user["accountId"]

    def _updated(self, definition: FieldDef, verbs: Any, before: Any, project_id: str) -> Any:
        if not isinstance(verbs, list):
            raise ValueError("data was not an array")
        value = before
        for step in verbs:
            verb, sent = next(iter(step.items())) if isinstance(step, dict) and len(step) == 1 else (None, None)
            if verb == "set":
                value = self.stored(definition, sent, project_id)
            elif verb in ("add", "remove") and definition.kind in fields_of.OPERATIONS:
                changed = self.stored(definition, [sent], project_id)
                kept = [v for v in value or [] if v not in changed]
                value = sorted({*kept, *changed}) if verb == "add" else kept
            else:
                raise ValueError(f"Field with id '{definition.id}' and name '{definition.name}' does not support "
                                 f"operation '{verb}'. Supported operation(s) are: 'set'")  # fmt: skip
        return value

    def checked_body(self, body: Any) -> Doc:
        if not isinstance(body, dict):
            raise Refusal(400, errors={"comment": "Comment body is not valid!"})
        definition = self.fields["description"]
        try:
            document = fields_of.stored(definition, body)
        except ValueError as error:
            raise Refusal(400, errors={"comment": str(error)}) from None
        if document is None:
            raise Refusal(400, errors={"comment": "Comment body can not be empty!"})
        return document

    def items(self, definition: FieldDef, old: Any, new: Any) -> list[Doc]:
        """A change as the changelog shows it: whole, but for components and versions, which have an item a member."""
        if definition.id not in fields_of.PARTS:
            return [self._item(definition, old, new)]
        names = dict(definition.options)
        gone, come = [v for v in old or [] if v not in new], [v for v in new if v not in (old or [])]
        steps = [*(((v, names[v]), NOTHING) for v in gone), *((NOTHING, (v, names[v])) for v in come)]
        name = fields_of.PARTS[definition.id]
        return [
            {
                "field": name, "fieldtype": "jira", "fieldId": definition.id,
                "from": before[0], "fromString": before[1], "to": after[0], "toString": after[1],
            }
            for before, after in steps
        ]  # fmt: skip

    def _item(self, definition: FieldDef, old: Any, new: Any) -> Doc:
        before, before_text = self.shown(definition, old)
        after, after_text = self.shown(definition, new)
        return {
            "field": definition.name if definition.custom else definition.id,
            "fieldtype": "custom" if definition.custom else "jira",
            "fieldId": definition.id,
            "from": before,
            "fromString": before_text,
            "to": after,
            "toString": after_text,
        }

    def shown(self, definition: FieldDef, value: Any) -> tuple[str | None, str | None]:
        """(id, text) of a stored value in the changelog."""
        if value is None:
            return None, None
        match definition.kind:
            case "user":
                user = self.users.get(value)
                return value, user["displayName"] if user else None
            case "text":
                return None, documents.to_wiki(value)
            case "labels":
                return None, " ".join(value)
            case "option":
                return value, dict(definition.options).get(value)
            case "components" | "versions":
                return None, ", ".join(dict(definition.options)[v] for v in value) or None
            case "options":
                names = dict(definition.options)
                return "[" + ", ".join(value) + "]", ",".join(names[v] for v in value)
            case "priority":
                return value, dict(fields_of.PRIORITIES)[value]
            case "status":
                return value, status_name(value)
            case "resolution":
                return value, next(r[1] for r in fields_of.RESOLUTIONS if r[0] == value)
            case "issuetype":
                return value, next(t[1] for t in fields_of.ISSUE_TYPES if t[0] == value)
            case "day":
                return value, value + " 00:00:00.0"
            case "moment":
                when = datetime.fromtimestamp(value, UTC)
                return when.strftime("%Y-%m-%dT%H:%M:%S%z"), when.strftime("%d/%b/%y %I:%M %p")
            case "parent":
                parent = self.find(value)
                return value, parent["key"] if parent else None
            case _:
                return None, str(value)
