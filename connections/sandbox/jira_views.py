"""How the Jira stand-in shows what it holds: the JSON of REST version 3 (and of version 2, for webhooks)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from connections.sandbox import jira_documents as documents
from connections.sandbox import jira_fields as fields_of
from connections.sandbox.jira_fields import FieldDef, Transition
from connections.sandbox.jira_records import Doc, User
from connections.sandbox.jira_site import Site

ISSUE_EXPAND = "operations,versionedRepresentations,editmeta,changelog,renderedFields"
AVATAR_SIZES = {"48x48": "", "24x24": "?size=small", "16x16": "?size=xsmall", "32x32": "?size=medium"}
EMPTY_PROGRESS = {"progress": 0, "total": 0}


def stamp(seconds: float | None, zone: tzinfo) -> str | None:
    """2022-01-15T20:44:55.445-0500: milliseconds, offset without a colon."""
    if seconds is None:
        return None
    moment = datetime.fromtimestamp(seconds, zone)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}" + moment.strftime("%z")


class View:
    """What one viewer sees. `base`: the site's address. `version`: of the API."""

    def __init__(self, site: Site, viewer: User, base: str, version: int = 3) -> None:
        self.site = site
        self.viewer = viewer
        self.base = base
        self.rest = f"{base}/rest/api/{version}"
        self.version = version
        self.zone = ZoneInfo(viewer["timeZone"])

    def stamp(self, seconds: float | None) -> str | None:
        return stamp(seconds, self.zone)

    # ---- people -------------------------------------------------------------------------------------------

    def user(self, account: str | None, whole: bool = False) -> Doc | None:
        user = self.site.users.get(account or "")
        if user is None:
            return None
        shown: Doc = {
            "self": f"{self.rest}/user?accountId={user['accountId']}",
            "accountId": user["accountId"],
            "accountType": user["accountType"],
            "avatarUrls": {k: f"{self.base}/_static/avatar.svg{v}" for k, v in AVATAR_SIZES.items()},
            "displayName": user["displayName"],
            "active": user["active"],
            "timeZone": user["timeZone"],
        }
        if self.sees_email(user):
            shown["emailAddress"] = user["emailAddress"]
        if whole:
            shown |= {
                "locale": "en_US",
                "groups": {"size": 0, "items": []},
                "applicationRoles": {"size": 0, "items": []},
            }
            shown["expand"] = "groups,applicationRoles"
        return shown

    def sees_email(self, user: User) -> bool:
        if not user["emailAddress"]:
            return False
        is_self = user["accountId"] == self.viewer["accountId"]
        return is_self or (self.site.may(self.viewer, "browse_users") and not user["email_hidden"])

    # ---- small things -------------------------------------------------------------------------------------

    def status(self, id: str) -> Doc:
        _, name, category = next(s for s in fields_of.STATUSES if s[0] == id)
        data = fields_of.STATUS_CATEGORIES[category]
        return {
            "self": f"{self.rest}/status/{id}",
            "description": "",
            "iconUrl": f"{self.base}/",
            "name": name,
            "id": id,
            "statusCategory": {"self": f"{self.rest}/statuscategory/{data['id']}", **data},
        }

    def priority(self, id: str | None) -> Doc | None:
        name = dict(fields_of.PRIORITIES).get(id or "")
        if name is None:
            return None
        icon = f"{self.base}/images/icons/priorities/{name.lower()}.svg"
        return {"self": f"{self.rest}/priority/{id}", "iconUrl": icon, "name": name, "id": id}

    def resolution(self, id: str | None) -> Doc | None:
        found = next((r for r in fields_of.RESOLUTIONS if r[0] == id), None)
        if found is None:
            return None
        return {"self": f"{self.rest}/resolution/{id}", "id": id, "description": found[2], "name": found[1]}

    def issue_type(self, id: str) -> Doc:
        _, name, description, avatar, level = next(t for t in fields_of.ISSUE_TYPES if t[0] == id)
        return {
            "self": f"{self.rest}/issuetype/{id}",
            "id": id,
            "description": description,
            "iconUrl": f"{self.rest}/universal_avatar/view/type/issuetype/avatar/{avatar}?size=medium",
            "name": name,
            "subtask": level < 0,
            "avatarId": avatar,
            "hierarchyLevel": level,
        }

    def project(self, id: str) -> Doc:
        project = self.site.projects[id]
        avatar = f"{self.rest}/universal_avatar/view/type/project/avatar/10421"
        return {
            "self": f"{self.rest}/project/{id}",
            "id": id,
            "key": project["key"],
            "name": project["name"],
            "projectTypeKey": "software",
            "simplified": False,
            "avatarUrls": {k: avatar + v for k, v in AVATAR_SIZES.items()},
        }

    def option(self, definition: FieldDef, id: str) -> Doc | None:
        value = dict(definition.options).get(id)
        if value is None:
            return None
        return {"self": f"{self.rest}/customFieldOption/{id}", "value": value, "id": id}

    def part(self, definition: FieldDef, id: str) -> Doc:
        """A component or a version."""
        path = "component" if definition.kind == "components" else "version"
        return {"self": f"{self.rest}/{path}/{id}", "id": id, "name": dict(definition.options)[id]}

    # ---- issues -------------------------------------------------------------------------------------------

    def text(self, document: Doc | None) -> Any:
        """A document as this version shows it: itself, or wiki text."""
        return document if self.version == 3 else (documents.to_wiki(document) if document else None)

    def value(self, definition: FieldDef, issue: Doc) -> Any:
        raw = issue["fields"].get(definition.id)
        match definition.kind:
            case "text":
                return self.text(raw)
            case "user":
                return self.user(raw)
            case "moment":
                return self.stamp(raw)
            case "option":
                return self.option(definition, raw) if raw else None
            case "options":
                return [self.option(definition, v) for v in raw] if raw else None
            case "labels":
                return raw or []
            case "issuetype":
                return self.issue_type(raw)
            case "project":
                return self.project(issue["project"])
            case "priority":
                return self.priority(raw)
            case "resolution":
                return self.resolution(raw)
            case "status":
                return self.status(raw)
            case "comments":
                return self.comment_page(issue, issue["comments"], 0, len(issue["comments"]))
            case "components" | "versions":
                return [self.part(definition, v) for v in raw or []]
            case "attachments" | "issuelinks":
                return []
            case "subtasks":
                children = [self.site.documents.get(c) for c in sorted(self.site.children.get(issue["id"], ()))]
                return [self.issue_stub(c) for c in children if c and c["fields"].get("parent") == issue["id"]]
            case "parent":
                parent = self.site.documents.get(raw or "")
                return self.issue_stub(parent) if parent else None
            case "workratio":
                return -1
            case "votes":
                return {"self": f"{self.rest}/issue/{issue['key']}/votes", "votes": 0, "hasVoted": False}
            case "watches":
                return {"self": f"{self.rest}/issue/{issue['key']}/watchers", "watchCount": 0, "isWatching": False}
            case "progress":
                return EMPTY_PROGRESS
        return raw

    def issue_stub(self, issue: Doc) -> Doc:
        fields = {
            "summary": issue["fields"]["summary"],
            "status": self.status(issue["fields"]["status"]),
            "priority": self.priority(issue["fields"]["priority"]),
            "issuetype": self.issue_type(issue["fields"]["issuetype"]),
        }
        return {"id": issue["id"], "key": issue["key"], "self": f"{self.rest}/issue/{issue['id']}", "fields": fields}

    def chosen(self, issue: Doc, wanted: Iterable[str]) -> list[FieldDef]:
        """Definitions of the fields asked for: ids, *all, *navigable, -id."""
        names = list(wanted)
        definitions = self.site.fields_in(issue["project"], self.viewer)
        minus = {n[1:] for n in names if n.startswith("-")}
        plus = {n for n in names if not n.startswith("-")}
        if not plus:
            plus = {"*navigable"}
        return [
            d
            for d in definitions
            if d.id not in minus and ("*all" in plus or d.id in plus or ("*navigable" in plus and d.navigable))
        ]

    def issue(
        self, issue: Doc, wanted: Iterable[str] = ("*all",), expand: Iterable[str] = (), properties: Iterable[str] = ()
    ) -> Doc:
        shown: Doc = {"id": issue["id"], "self": f"{self.rest}/issue/{issue['id']}", "key": issue["key"]}
        wanted = list(wanted)
        plain = {n for n in wanted if not n.startswith("-")}
        if not plain or plain - {"id", "key"}:
            definitions = self.chosen(issue, wanted)
            shown["expand"] = ISSUE_EXPAND
            # a parent is only shown where there is one
            shown["fields"] = {
                d.id: self.value(d, issue) for d in definitions if d.kind != "parent" or issue["fields"].get("parent")
            }
        else:
            definitions = []
        options = set(expand)
        if "renderedFields" in options:
            shown["renderedFields"] = {
                d.id: documents.to_html(issue["fields"].get(d.id)) if d.kind == "text" else None for d in definitions
            }
        if "names" in options:
            shown["names"] = {d.id: d.name for d in definitions}
        if "schema" in options:
            shown["schema"] = {d.id: fields_of.schema(d) for d in definitions}
        if "transitions" in options:
            shown["transitions"] = [self.transition(t) for t in self.site.transitions(issue, self.viewer)]
        if "editmeta" in options:
            shown["editmeta"] = {"fields": self.editmeta(issue)}
        if "changelog" in options:
            entries = self.site.entries_of.get(issue["id"], [])[::-1]
            page = {"startAt": 0, "maxResults": len(entries), "total": len(entries)}
            shown["changelog"] = {**page, "histories": [self.entry(e) for e in entries]}
        asked = list(properties)
        if asked:
            everything = "*all" in asked
            shown["properties"] = {k: v for k, v in issue["properties"].items() if everything or k in asked}
        return shown

    def entry(self, entry: Doc) -> Doc:
        hidden = self.viewer["hidden_fields"]
        return {
            "id": entry["id"],
            "author": self.user(entry["author"]),
            "created": self.stamp(entry["created"]),
            "items": [i for i in entry["items"] if i["fieldId"] not in hidden],
        }

    def transition(self, step: Transition, with_fields: bool = False) -> Doc:
        shown: Doc = {
            "id": step.id,
            "name": step.name,
            "to": self.status(next(s[0] for s in fields_of.STATUSES if s[1] == step.target)),
            "hasScreen": bool(step.required),
            "isGlobal": False,
            "isInitial": False,
            "isAvailable": True,
            "isConditional": False,
            "isLooped": False,
        }
        if with_fields:
            shown["fields"] = {f: self.field_meta(self.site.fields[f], required=True) for f in step.required}
        return shown

    # ---- metadata -----------------------------------------------------------------------------------------

    def field_meta(self, definition: FieldDef, required: bool | None = None) -> Doc:
        meta: Doc = {
            "required": definition.required if required is None else required,
            "schema": fields_of.schema(definition),
            "name": definition.name,
            "key": definition.id,
            "operations": fields_of.OPERATIONS.get(definition.kind, ["set"]),
            "hasDefaultValue": definition.id in ("priority", "reporter"),
        }
        allowed = self.allowed(definition)
        if allowed is not None:
            meta["allowedValues"] = allowed
        if definition.kind == "user":
            meta["autoCompleteUrl"] = f"{self.rest}/user/assignable/search?issueKey=&query="
        return meta

    def allowed(self, definition: FieldDef) -> list[Any] | None:
        match definition.kind:
            case "priority":
                return [self.priority(p[0]) for p in fields_of.PRIORITIES]
            case "resolution":
                return [self.resolution(r[0]) for r in fields_of.RESOLUTIONS]
            case "issuetype":
                return [self.issue_type(t[0]) for t in fields_of.ISSUE_TYPES]
            case "option" | "options":
                return [self.option(definition, o[0]) for o in definition.options]
            case "components" | "versions":
                return [self.part(definition, o[0]) for o in definition.options]
        return None

    def editmeta(self, issue: Doc) -> Doc:
        if not self.site.may(self.viewer, "edit", issue["project"]):
            return {}
        screen = [f for f in self.site.fields_in(issue["project"], self.viewer) if f.writable and f.kind != "project"]
        return {f.id: self.field_meta(f) for f in screen}

    def field(self, definition: FieldDef) -> Doc:
        """An entry of the list of all fields."""
        clauses = list(definition.clauses)
        if definition.custom:
            clauses = [f"cf[{definition.id.removeprefix('customfield_')}]", definition.name]
        shown: Doc = {
            "id": definition.id,
            "key": definition.id,
            "name": definition.name,
            "custom": definition.custom,
            "orderable": definition.writable,
            "navigable": definition.navigable,
            "searchable": bool(clauses),
            "clauseNames": clauses,
            "schema": fields_of.schema(definition),
        }
        if definition.custom:
            shown["untranslatedName"] = definition.name
        return shown

    # ---- comments -----------------------------------------------------------------------------------------

    def comment(self, issue: Doc, comment: Doc, expand: Iterable[str] = ()) -> Doc:
        shown: Doc = {
            "self": f"{self.rest}/issue/{issue['id']}/comment/{comment['id']}",
            "id": comment["id"],
            "author": self.user(comment["author"]),
            "body": self.text(comment["body"]),
            "updateAuthor": self.user(comment["updateAuthor"]),
            "created": self.stamp(comment["created"]),
            "updated": self.stamp(comment["updated"]),
            "jsdPublic": True,
        }
        if comment.get("visibility"):
            shown["visibility"] = comment["visibility"]
        if "renderedBody" in expand:
            shown["renderedBody"] = documents.to_html(comment["body"])
        if "properties" in expand:
            shown["properties"] = [{"key": k, "value": v} for k, v in comment["properties"].items()]
        return shown

    def comment_page(self, issue: Doc, comments: list[Doc], start: int, size: int, expand: Iterable[str] = ()) -> Doc:
        page = [self.comment(issue, c, expand) for c in comments[start : start + size]]
        return {"comments": page, "startAt": start, "maxResults": size, "total": len(comments)}


def utc_minute(seconds: float) -> str:
    """2024-05-01T10:31Z, as the rate limit headers name a moment."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%MZ")
