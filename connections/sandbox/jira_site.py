"""The writes of one Jira site: each is checked, stored with its history in one go, and told to the listeners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connections.sandbox.jira_changes import Changes
from connections.sandbox.jira_fields import SETS, Refusal
from connections.sandbox.jira_records import Doc, User, category_of, status_id


class Site(Changes):
    """One site; `actor` is who writes, and needs the permission."""

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
        issue_type = self.issue_type(given.pop("issuetype", None), errors)
        now = self.moment()
        start = self.workflow_start(project["id"])
        stored: Doc = {f.id: [] for f in self.fields_in(project["id"], actor) if f.kind in SETS}
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
        told = [self.items(self.fields[k], old.get(k), v) for k, v in differing.items() if k in self.fields]
        items = [item for of_field in told for item in of_field]
        changed = {**issue, "fields": {**old, **differing, "updated": now}}
        with self.transaction():
            self.put_issue(changed, issue["id"])
            entry = self.record(issue["id"], actor, items, now)
        self.tell("jira:issue_updated", type_name, actor, changed, history=entry)
        return changed

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

    def comment(
        self, actor: User, issue: Doc, body: Any, properties: list[Doc] | None = None, visibility: Doc | None = None
    ) -> tuple[Doc, Doc]:
        """(issue, the new comment). visibility: the group or role that it is shown to."""
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
                "visibility": visibility,
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

    def edit_comment(self, actor: User, issue: Doc, id: str, body: Any, visibility: Doc | None = None) -> Doc:
        old = self.comment_of(issue, id)
        if old["author"] != actor["accountId"] and not self.may(actor, "admin"):
            raise Refusal(400, [f"{actor['displayName']}, you do not have the permission to edit this comment."])
        now = self.moment()
        text = self.checked_body(body)
        new = {**old, "body": text, "updated": now, "updateAuthor": actor["accountId"], "visibility": visibility}
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

    def set_comment_property(self, issue: Doc, comment: Doc, key: str, value: Any) -> None:
        marked = {**comment, "properties": {**comment["properties"], key: value}}
        comments = [marked if c["id"] == comment["id"] else c for c in issue["comments"]]
        with self.transaction():
            self.put_issue({**issue, "comments": comments}, issue["id"])

    def set_property(self, issue: Doc, key: str, value: Any, remove: bool = False) -> Doc:
        """Properties are not part of the issue's `updated` time."""
        properties = {k: v for k, v in issue["properties"].items() if k != key}
        if not remove:
            properties[key] = value
        changed = {**issue, "properties": properties}
        with self.transaction():
            self.put_issue(changed, issue["id"])
        return changed


def _plain_item(field: str, old: str | None, old_text: str | None, new: str | None, new_text: str | None) -> Doc:
    item = {"field": field, "fieldtype": "jira", "from": old, "fromString": old_text, "to": new, "toString": new_text}
    return {**item, "fieldId": field}
