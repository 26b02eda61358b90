"""What one Jira site holds: people, projects, fields, issues, comments and the history of every accepted write.

Documents lie in SQLite and in memory; stored documents are never changed in place, so the memory copy, the lagging
search index and an answer being written can share them.
"""

from __future__ import annotations

import contextlib
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from connections.sandbox import jira_documents as documents
from connections.sandbox import jira_fields as fields_of
from connections.sandbox.base import Store
from connections.sandbox.jira_fields import FieldDef, Refusal, Transition

Doc = dict[str, Any]
User = dict[str, Any]

PERMISSIONS = ("browse", "create", "edit", "transition", "delete", "comment", "browse_users", "admin")
NOT_SEEN = "Issue does not exist or you do not have permission to see it."


class Site:
    """`clock`: seconds since the epoch as the site sees them. `search_lag`: seconds the index is behind."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self.store = store
        self.clock = clock
        self.search_lag = 0.0
        self.indexed_properties: frozenset[str] | None = None  # None: JQL finds all; else only those an app declared
        # Called after each write: (event, event type name, actor, issue, {"items": …, "comment": …, "history": …}).
        self.listeners: list[Callable[[str, str, User, Doc, Mapping[str, Any]], None]] = []
        self.users: dict[str, User] = {u["accountId"]: u for u in store.all("user")}
        self.projects: dict[str, Doc] = {p["id"]: p for p in store.all("project")}
        self.fields: dict[str, FieldDef] = {f.id: f for f in fields_of.SYSTEM_FIELDS}
        for saved in store.all("field"):
            options = tuple((o[0], o[1]) for o in saved["options"])
            self.fields[saved["id"]] = FieldDef(**{**saved, "options": options, **_tuples(saved)})
        self.documents: dict[str, Doc] = {}
        self.keys: dict[str, str] = {}
        self.children: dict[str, set[str]] = {}  # parent id → ids
        for issue in store.all("issue"):
            self._remember(issue)
        self.entries: list[Doc] = store.all("history")
        self.entries_of: dict[str, list[Doc]] = {}
        for entry in self.entries:
            self.entries_of.setdefault(entry["issue"], []).append(entry)
        self._index = dict(self.documents)
        self._unindexed: deque[tuple[float, str, Doc | None]] = deque()
        self._depth = 0

    # ---- looking up ---------------------------------------------------------------------------------------

    def _remember(self, issue: Doc) -> None:
        self.documents[issue["id"]] = issue
        for key in (issue["key"], *issue["old_keys"]):
            self.keys[key.upper()] = issue["id"]
        parent = issue["fields"].get("parent")
        if parent:
            self.children.setdefault(parent, set()).add(issue["id"])

    def find(self, id_or_key: str) -> Doc | None:
        """The issue with this id or key; former keys of moved issues count, case does not."""
        return self.documents.get(id_or_key) or self.documents.get(self.keys.get(id_or_key.upper(), ""))

    def issue(self, id_or_key: str, viewer: User) -> Doc:
        found = self.find(str(id_or_key))
        if found is None or not self.may(viewer, "browse", found["project"]):
            raise Refusal(404, [NOT_SEEN])
        return found

    def indexed(self) -> dict[str, Doc]:
        """Issues by id as the search index knows them: the state of `search_lag` seconds ago."""
        due = self.clock() - self.search_lag
        while self._unindexed and self._unindexed[0][0] <= due:
            _, id, issue = self._unindexed.popleft()
            if issue is None:
                self._index.pop(id, None)
            else:
                self._index[id] = issue
        return self._index

    def project(self, id_or_key: str | int, viewer: User | None = None) -> Doc | None:
        text = str(id_or_key)
        found = self.projects.get(text) or next((p for p in self.projects.values() if p["key"] == text), None)
        return found if found and (viewer is None or self.may(viewer, "browse", found["id"])) else None

    def user(self, account_or_email: str) -> User | None:
        found = self.users.get(account_or_email)
        wanted = account_or_email.lower()
        return found or next((u for u in self.users.values() if (u["emailAddress"] or "").lower() == wanted), None)

    def may(self, user: User, permission: str, project_id: str | None = None) -> bool:
        if permission not in user["permissions"]:
            return False
        allowed = user["projects"]
        return project_id is None or allowed is None or self.projects[project_id]["key"] in allowed

    def fields_in(self, project_id: str, viewer: User) -> list[FieldDef]:
        key = self.projects[project_id]["key"]
        hidden = viewer["hidden_fields"]
        return [f for f in self.fields.values() if f.id not in hidden and (not f.projects or key in f.projects)]

    def visible_fields(self, viewer: User) -> list[FieldDef]:
        return [f for f in self.fields.values() if f.id not in viewer["hidden_fields"]]

    def workflow(self, project_id: str) -> tuple[Transition, ...]:
        own = self.projects[project_id].get("workflow")
        return tuple(Transition(**{**t, **_tuples(t)}) for t in own) if own else fields_of.WORKFLOW

    def transitions(self, issue: Doc, user: User) -> list[Transition]:
        """What can be done from the issue's present status, by this user."""
        if not self.may(user, "transition", issue["project"]):
            return []
        name = status_name(issue["fields"]["status"])
        return [t for t in self.workflow(issue["project"]) if name in t.sources]

    # ---- writing ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing on disk: a killed process leaves no issue without its history."""
        with self.store.lock:
            self._depth += 1
            try:
                if self._depth == 1:
                    self.store.db.execute("BEGIN")
                yield
            except BaseException:
                if self._depth == 1:
                    self.store.db.execute("ROLLBACK")
                raise
            else:
                if self._depth == 1:
                    self.store.db.execute("COMMIT")
            finally:
                self._depth -= 1

    def moment(self) -> float:
        return round(self.clock(), 3)

    def put_user(self, user: User) -> None:
        self.store.put("user", user["accountId"], user)
        self.users[user["accountId"]] = user

    def put_project(self, project: Doc) -> None:
        self.store.put("project", project["id"], project)
        self.projects[project["id"]] = project

    def put_field(self, definition: FieldDef) -> None:
        self.store.put("field", definition.id, vars(definition))
        self.fields[definition.id] = definition

    def put_issue(self, issue: Doc | None, id: str) -> None:
        """Store an issue's new state (None: gone) and queue it for the search index."""
        if issue is None:
            gone = self.documents.pop(id)
            for key in (gone["key"], *gone["old_keys"]):
                self.keys.pop(key.upper(), None)
            self.store.remove("issue", id)
        else:
            self._remember(issue)
            self.store.put("issue", id, issue)
        self._unindexed.append((self.clock(), id, issue))

    def record(self, issue_id: str, actor: User, items: list[Doc], created: float) -> Doc:
        """Append to the history; entries are never changed or removed."""
        number = self.store.next_number("history", 10000)
        entry = {
            "id": str(number),
            "issue": issue_id,
            "author": actor["accountId"],
            "created": created,
            "items": items,
        }
        self.store.put("history", f"{number:012d}", entry)
        self.entries.append(entry)
        self.entries_of.setdefault(issue_id, []).append(entry)
        return entry

    def tell(self, event: str, type_name: str, actor: User, issue: Doc, **more: Any) -> None:
        for listener in self.listeners:
            listener(event, type_name, actor, issue, more)

    # ---- issues -------------------------------------------------------------------------------------------

    def create(self, actor: User, values: Mapping[str, Any], properties: list[Doc] | None = None) -> Doc:
        """A new issue from "fields" as the API takes them. Raises Refusal."""
        given = dict(values)
        sent = given.pop("project", None)
        reference = (sent.get("id") or sent.get("key")) if isinstance(sent, dict) else None
        project = self.project(reference, actor) if reference is not None else None
        if project is None:
            raise Refusal(400, errors={"project": "Specify a valid project ID or key"})
        if not self.may(actor, "create", project["id"]):
            raise Refusal(403, ["You do not have permission to create issues in this project."])
        errors: dict[str, str] = {}
        issue_type = self._issue_type(given.pop("issuetype", None), errors)
        now = self.moment()
        start = self.workflow_start(project["id"])
        stored: Doc = {f.id: [] for f in self.fields_in(project["id"], actor) if f.kind in ("labels", "options")}
        stored |= {
            "issuetype": issue_type,
            "priority": "3",
            "status": start,
            "reporter": actor["accountId"],
            "creator": actor["accountId"],
            "created": now,
            "updated": now,
            "statuscategorychangedate": now,
        }
        stored |= self.checked(actor, project["id"], given, {}, errors)
        for needed in self.fields_in(project["id"], actor):
            if (
                needed.required
                and needed.id not in ("project", "issuetype")
                and stored.get(needed.id) in (None, [], "")
            ):
                summary = needed.id == "summary"
                text = "You must specify a summary of the issue." if summary else f"{needed.name} is required."
                errors.setdefault(needed.id, text)
        if errors:
            raise Refusal(400, errors=errors)
        with self.transaction():
            number = self.store.next_number("issue-" + project["id"])
            id = str(self.store.next_number("issue", 10000))
            issue: Doc = {
                "id": id,
                "key": f"{project['key']}-{number}",
                "old_keys": [],
                "project": project["id"],
                "fields": stored,
                "properties": self.checked_properties(properties),
                "comments": [],
                "remotelinks": [],
            }
            self.put_issue(issue, id)
        self.tell("jira:issue_created", "issue_created", actor, issue)
        return issue

    def workflow_start(self, project_id: str) -> str:
        return status_id(self.workflow(project_id)[0].sources[0])

    def _issue_type(self, value: Any, errors: dict[str, str]) -> str | None:
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
                    result[id] = self._stored(definition, given[id], project_id)
                else:
                    before = (current or {}).get(id)
                    result[id] = self._updated(definition, update[id], before, project_id)
            except ValueError as error:
                errors[id] = str(error)
        return result

    def _stored(self, definition: FieldDef, value: Any, project_id: str) -> Any:
        if definition.kind == "user":
            return self._person(definition, value)
        if definition.kind == "parent":
            parent = self.find(str(value.get("id") or value.get("key"))) if isinstance(value, dict) else None
            if value is not None and (parent is None or parent["project"] != project_id):
                raise ValueError("Could not find valid 'id' or 'key' for the parent issue.")
            return parent["id"] if parent else None
        if definition.kind == "issuetype":
            errors: dict[str, str] = {}
            id = self._issue_type(value, errors)
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
                value = self._stored(definition, sent, project_id)
            elif verb in ("add", "remove") and definition.kind in fields_of.OPERATIONS:
                changed = self._stored(definition, [sent], project_id)
                kept = [v for v in value or [] if v not in changed]
                value = sorted({*kept, *changed}) if verb == "add" else kept
            else:
                raise ValueError(f"Field with id '{definition.id}' and name '{definition.name}' does not support "
                                 f"operation '{verb}'. Supported operation(s) are: 'set'")  # fmt: skip
        return value

    def edit(
        self, actor: User, issue: Doc, given: Mapping[str, Any], update: Mapping[str, Any] | None = None,
        properties: list[Doc] | None = None,
    ) -> Doc:  # fmt: skip
        """Change fields; a status sent is passed over, as Jira does. Raises Refusal."""
        given = {k: v for k, v in given.items() if k != "status"}
        update = dict(update or {})
        comments = update.pop("comment", [])
        errors: dict[str, str] = {}
        if not self.may(actor, "edit", issue["project"]):
            missing = "Field '{}' cannot be set. It is not on the appropriate screen, or unknown."
            raise Refusal(400, errors={k: missing.format(k) for k in (*given, *update)})
        given.pop("project", None)
        changes = self.checked(actor, issue["project"], given, update, errors, issue["fields"])
        for id in changes:
            if self.fields[id].required and changes[id] in (None, "", []):
                summary = id == "summary"
                errors[id] = (
                    "You must specify a summary of the issue." if summary else f"{self.fields[id].name} is required."
                )
        if errors:
            raise Refusal(400, errors=errors)
        with self.transaction():
            new_properties = self.checked_properties(properties)
            if new_properties:
                issue = {**issue, "properties": {**issue["properties"], **new_properties}}
                self.put_issue(issue, issue["id"])
            issue = self._change(actor, issue, changes, "issue_updated")
        return self._with_comments(actor, issue, comments)

    def _with_comments(self, actor: User, issue: Doc, comments: list[Doc]) -> Doc:
        for step in comments:
            issue = self.comment(actor, issue, step.get("add", {}).get("body"))[0]
        return issue

    def _change(self, actor: User, issue: Doc, changes: Doc, type_name: str) -> Doc:
        """Write what differs; no difference, no write. One history entry, one event."""
        old = issue["fields"]
        differing = {k: v for k, v in changes.items() if old.get(k) != v}
        if not differing:
            return issue
        now = self.moment()
        items = [self.item(self.fields[k], old.get(k), v) for k, v in differing.items() if k in self.fields]
        changed = {**issue, "fields": {**old, **differing, "updated": now}}
        with self.transaction():
            self.put_issue(changed, issue["id"])
            entry = self.record(issue["id"], actor, items, now)
        self.tell("jira:issue_updated", type_name, actor, changed, history=entry)
        return changed

    def item(self, definition: FieldDef, old: Any, new: Any) -> Doc:
        """A change as the changelog shows it."""
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
            case "parent":
                parent = self.find(value)
                return value, parent["key"] if parent else None
            case _:
                return None, str(value)

    def transition(
        self, actor: User, issue: Doc, transition_id: str, given: Mapping[str, Any], update: Mapping[str, Any]
    ) -> Doc:
        step = next((t for t in self.transitions(issue, actor) if t.id == str(transition_id)), None)
        if step is None:
            raise Refusal(400, [f"Transition id '{transition_id}' is not valid for this issue."])
        update = dict(update)
        comments = update.pop("comment", [])
        errors: dict[str, str] = {}
        changes = self.checked(actor, issue["project"], given, update, errors, issue["fields"], only=step.required)
        for needed in step.required:
            if changes.get(needed) is None:
                errors.setdefault(needed, f"{self.fields[needed].name} is required.")
        if errors:
            raise Refusal(400, errors=errors)
        now = self.moment()
        target = status_id(step.target)
        old_category, new_category = category_of(issue["fields"]["status"]), category_of(target)
        if new_category != old_category:
            changes["statuscategorychangedate"] = now
        if new_category == "done":
            changes["resolutiondate"] = now
            changes.setdefault("resolution", "10000")
        elif old_category == "done":
            changes |= {"resolution": None, "resolutiondate": None}
        changes["status"] = target
        with self.transaction():
            silent = {k: changes.pop(k) for k in ("statuscategorychangedate", "resolutiondate") if k in changes}
            stamped = {**issue, "fields": {**issue["fields"], **silent}}
            issue = self._change(actor, stamped, changes, "issue_generic")
        return self._with_comments(actor, issue, comments)

    def move(self, actor: User, issue: Doc, project_key: str) -> Doc:
        """To another project: the key changes, the id stays, the old key still resolves."""
        target = self.project(project_key)
        if target is None:
            raise Refusal(404, [f"No project could be found with key '{project_key}'."])
        now = self.moment()
        with self.transaction():
            key = f"{target['key']}-{self.store.next_number('issue-' + target['id'])}"
            moved = {
                **issue,
                "key": key,
                "old_keys": [*issue["old_keys"], issue["key"]],
                "project": target["id"],
                "fields": {**issue["fields"], "updated": now},
            }
            old = self.projects[issue["project"]]
            items = [
                _plain_item("project", old["id"], old["name"], target["id"], target["name"]),
                _plain_item("Key", None, issue["key"], None, key),
            ]
            self.put_issue(moved, issue["id"])
            entry = self.record(issue["id"], actor, items, now)
        self.tell("jira:issue_updated", "issue_moved", actor, moved, history=entry)
        return moved

    def delete(self, actor: User, issue: Doc) -> None:
        if not self.may(actor, "delete", issue["project"]):
            raise Refusal(403, ["You do not have permission to delete issues in this project."])
        with self.transaction():
            self.put_issue(None, issue["id"])
            self.record(issue["id"], actor, [_plain_item("deleted", None, issue["key"], None, None)], self.moment())
        self.tell("jira:issue_deleted", "issue_deleted", actor, issue)

    # ---- comments and properties --------------------------------------------------------------------------

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

    def comment(self, actor: User, issue: Doc, body: Any, properties: list[Doc] | None = None) -> tuple[Doc, Doc]:
        """(issue, the new comment)"""
        if not self.may(actor, "comment", issue["project"]):
            raise Refusal(400, [f"{actor['displayName']}, you do not have the permission to comment on this issue."])
        document = self.checked_body(body)
        now = self.moment()
        with self.transaction():
            comment = {
                "id": str(self.store.next_number("comment", 10000)),
                "author": actor["accountId"],
                "updateAuthor": actor["accountId"],
                "body": document,
                "created": now,
                "updated": now,
                "properties": self.checked_properties(properties),
            }
            issue = self._with_comment_list(issue, [*issue["comments"], comment], now)
        self.tell("comment_created", "", actor, issue, comment=comment)
        self.tell("jira:issue_updated", "issue_commented", actor, issue, comment=comment)
        return issue, comment

    def _with_comment_list(self, issue: Doc, comments: list[Doc], now: float) -> Doc:
        changed = {**issue, "comments": comments, "fields": {**issue["fields"], "updated": now}}
        self.put_issue(changed, issue["id"])
        return changed

    def comment_of(self, issue: Doc, id: str) -> Doc:
        found = next((c for c in issue["comments"] if c["id"] == id), None)
        if found is None:
            raise Refusal(404, [f"Can not find a comment for the id: {id}."])
        return found

    def edit_comment(self, actor: User, issue: Doc, id: str, body: Any) -> Doc:
        old = self.comment_of(issue, id)
        if old["author"] != actor["accountId"] and not self.may(actor, "admin"):
            raise Refusal(400, [f"{actor['displayName']}, you do not have the permission to edit this comment."])
        now = self.moment()
        new = {**old, "body": self.checked_body(body), "updated": now, "updateAuthor": actor["accountId"]}
        with self.transaction():
            issue = self._with_comment_list(issue, [new if c["id"] == id else c for c in issue["comments"]], now)
        self.tell("comment_updated", "", actor, issue, comment=new)
        return new

    def delete_comment(self, actor: User, issue: Doc, id: str) -> None:
        old = self.comment_of(issue, id)
        if old["author"] != actor["accountId"] and not self.may(actor, "admin"):
            raise Refusal(400, [f"{actor['displayName']}, you do not have the permission to delete this comment."])
        with self.transaction():
            issue = self._with_comment_list(issue, [c for c in issue["comments"] if c["id"] != id], self.moment())
        self.tell("comment_deleted", "", actor, issue, comment=old)

    def set_property(self, issue: Doc, key: str, value: Any, remove: bool = False) -> Doc:
        """Properties are not part of the issue's `updated` time."""
        properties = {k: v for k, v in issue["properties"].items() if k != key}
        if not remove:
            properties[key] = value
        changed = {**issue, "properties": properties}
        with self.transaction():
            self.put_issue(changed, issue["id"])
        return changed


def _tuples(saved: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {
        k: tuple(saved[k]) for k in ("clauses", "projects", "sources", "required") if isinstance(saved.get(k), list)
    }


def _plain_item(field: str, old: str | None, old_text: str | None, new: str | None, new_text: str | None) -> Doc:
    item = {"field": field, "fieldtype": "jira", "from": old, "fromString": old_text, "to": new, "toString": new_text}
    return {**item, "fieldId": field}


def status_name(id: str) -> str:
    return next(s[1] for s in fields_of.STATUSES if s[0] == id)


def status_id(name: str) -> str:
    return next(s[0] for s in fields_of.STATUSES if s[1] == name)


def category_of(id: str) -> str:
    return next(s[2] for s in fields_of.STATUSES if s[0] == id)


def new_account_id() -> str:
    return "5" + secrets.token_hex(11)
