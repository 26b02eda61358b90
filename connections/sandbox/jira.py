"""A local stand-in for one Jira Cloud site: REST version 3, webhooks, and small pages for people.

It imitates what a sync has to survive: search that lags behind writes, minute resolution in JQL, workflows, documents
rewritten on saving, hidden fields and e-mail addresses, rate limits, signed webhooks that come twice or late.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from connections.sandbox import jira_editor as editor
from connections.sandbox import jira_fields as fields_of
from connections.sandbox.accepted import difference
from connections.sandbox.base import Request, Response, Standin, Stop
from connections.sandbox.jira_fields import FieldDef, Refusal, Transition
from connections.sandbox.jira_issues_api import Issues
from connections.sandbox.jira_limits import Limits
from connections.sandbox.jira_metadata_api import Metadata
from connections.sandbox.jira_pages import Pages
from connections.sandbox.jira_parts_api import Parts
from connections.sandbox.jira_records import PERMISSIONS, Doc, User, new_account_id
from connections.sandbox.jira_resource import Resource
from connections.sandbox.jira_site import Site
from connections.sandbox.jira_views import View
from connections.sandbox.jira_webhook_api import WebhookAdmin
from connections.sandbox.jira_webhooks import EVENTS, Webhooks

# What Jira says to a wrong token: text, not JSON.
UNAUTHORIZED = "Client must be authenticated to access this resource."
# Follow from a write and are none of their own.
STAMPS = frozenset({"updated", "statuscategorychangedate", "resolutiondate"})


class JiraStandin(Standin):
    """One site below its address.

    `path`: SQLite file or ":memory:". `latency`: seconds per API call. `now`: the machine's clock; the site's clock
    is ahead of it by `clock_offset` seconds. `search_lag`: seconds the search index is behind.
    `rate_per_second`: API calls per second and user, bursts of twice that; None: unlimited.
    `writes_per_issue`: (writes, seconds) a single issue takes. `base_url`: "" means as the request's Host says.
    All of these can be changed at run time.
    """

    api_prefixes = ("/rest/",)

    def __init__(
        self,
        path: str = ":memory:",
        latency: float = 0.0,
        now: Callable[[], float] = time.time,
        search_lag: float = 0.0,
        rate_per_second: float | None = None,
        clock_offset: float = 0.0,
        base_url: str = "",
        writes_per_issue: tuple[int, float] | None = None,
    ) -> None:
        super().__init__(path, latency, now)
        self.clock_offset = clock_offset
        self.base_url = base_url
        self._seen_base = "http://localhost"
        self.site = Site(self.store, self.clock)
        self.site.search_lag = search_lag
        self.webhooks = Webhooks(self.site, lambda: self.base_url or self._seen_base)
        self.webhooks.unlucky = lambda: self.luck.of_delivery(self.faults)
        self._logged = {id: {**issue["fields"], "key": issue["key"]} for id, issue in self.site.documents.items()}
        self.site.listeners.append(self._log_accepted)
        self.limits = Limits(self.site, lambda: self.now(), rate_per_second, writes_per_issue)
        whose = (self.site, self.caller, self.base)
        self.api = Issues(*whose)
        self.pages = Pages(self.site, self.webhooks, self.base)
        resources: list[Resource | Pages] = [
            Metadata(*whose),
            self.api,
            Parts(*whose),
            WebhookAdmin(*whose, self.webhooks),
            self.pages,
        ]
        for resource in resources:
            for method, pattern, handler in resource.routes():
                self.route(method, pattern, handler)

    def _log_accepted(self, event: str, type_name: str, actor: User, issue: Doc, more: Mapping[str, Any]) -> None:
        old = self._logged.get(issue["id"], {})
        if event == "jira:issue_deleted":
            self._logged.pop(issue["id"], None)
            self.accepted.note(actor["emailAddress"], issue["id"], "delete", {})
            return
        self._logged[issue["id"]] = new = {**issue["fields"], "key": issue["key"]}
        changed = {path: values for path, values in difference(old, new).items() if path not in STAMPS}
        if changed:
            self.accepted.note(actor["emailAddress"], issue["id"], "update" if old else "create", changed)

    def clock(self) -> float:
        return self.now() + self.clock_offset

    @property
    def search_lag(self) -> float:
        return self.site.search_lag

    @search_lag.setter
    def search_lag(self, seconds: float) -> None:
        self.site.search_lag = seconds

    @property
    def rate_per_second(self) -> float | None:
        return self.limits.per_second

    @rate_per_second.setter
    def rate_per_second(self, calls: float | None) -> None:
        self.limits.per_second = calls

    @property
    def writes_per_issue(self) -> tuple[int, float] | None:
        return self.limits.writes_per_issue

    @writes_per_issue.setter
    def writes_per_issue(self, allowed: tuple[int, float] | None) -> None:
        self.limits.writes_per_issue = allowed

    # ---- requests -----------------------------------------------------------------------------------------

    def base(self, request: Request) -> str:
        if not self.base_url and request.headers.get("host"):
            self._seen_base = "http://" + request.headers["host"]
        return self.base_url or self._seen_base

    def caller(self, request: Request) -> User:
        """The user of a request's Basic credentials. Raises Stop(401)."""
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                email, _, token = base64.b64decode(rest, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                email, token = "", ""
            user = self.site.user(email)
            if user and user["token"] and token == user["token"] and user["active"]:
                return user
        raise Stop(Response(401, UNAUTHORIZED, {"Content-Type": "text/plain"}))

    def authorize(self, request: Request) -> None:
        user = self.caller(request)
        self.limits.check(request, user["accountId"])

    def _dispatch(self, request: Request) -> Response:
        self.base(request)
        with self.store.lock:
            response = super()._dispatch(request)
        if self.rate_per_second is not None and request.path.startswith(self.api_prefixes):
            response.headers |= self.limits.headers(self.caller(request)["accountId"])
        return response

    # ---- from Python: seeding, tests, the demo's office -----------------------------------------------------

    def create_user(
        self,
        name: str,
        email: str,
        token: str = "",
        *,
        active: bool = True,
        time_zone: str = "UTC",
        permissions: Iterable[str] = PERMISSIONS,
        projects: Iterable[str] | None = None,
        hidden_fields: Iterable[str] = (),
        email_hidden: bool = False,
        account_type: str = "atlassian",
        account_id: str = "",
    ) -> str:
        """A person, or an account for an integration (with `token`); the account id.

        `projects`: keys it may see, None: all. `hidden_fields`: ids it does not get to see.
        """
        user: User = {
            "accountId": account_id or new_account_id(),
            "accountType": account_type,
            "displayName": name,
            "emailAddress": email,
            "token": token,
            "active": active,
            "timeZone": time_zone,
            "permissions": list(permissions),
            "projects": None if projects is None else list(projects),
            "hidden_fields": list(hidden_fields),
            "email_hidden": email_hidden,
        }
        with self.store.lock:
            self.site.put_user(user)
        return str(user["accountId"])

    def update_user(self, user: str, **changes: Any) -> None:
        """Change a user's keys as stored: active, permissions, hidden_fields, token, timeZone, displayName …"""
        with self.store.lock:
            self.site.put_user({**self._user(user), **changes})

    def create_project(self, key: str, name: str, lead: str = "", workflow: Iterable[Transition] | None = None) -> str:
        """A project with the default workflow or its own; issues start where the first transition starts."""
        with self.store.lock:
            id = str(self.store.next_number("project", 10000))
            own = [vars(t) for t in workflow] if workflow else None
            account = self._user(lead)["accountId"] if lead else None
            self.site.put_project({"id": id, "key": key, "name": name, "lead": account, "workflow": own})
        return id

    def add_field(
        self,
        name: str,
        kind: str,
        options: Iterable[str] = (),
        *,
        field_id: str = "",
        required: bool = False,
        writable: bool = True,
        projects: Iterable[str] = (),
    ) -> str:
        """A custom field; its id.

        `kind`: line, text (document), number, option, options, user, day, moment, labels. `projects`: keys, empty: all.
        """
        if kind not in fields_of.CUSTOM_TYPES:
            raise ValueError(f"kind must be one of {', '.join(fields_of.CUSTOM_TYPES)}, not {kind!r}")
        with self.store.lock:
            id = field_id or f"customfield_{self.store.next_number('field', 10100)}"
            pairs = tuple((str(self.store.next_number("option", 10200)), o) for o in options)
            definition = FieldDef(id, name, kind, pairs, required, writable, True, (), tuple(projects))
            self.site.put_field(definition)
        return id

    def add_parts(self, field_id: str, names: Iterable[str]) -> None:
        """What components, fixVersions or versions offers, in every project; without any the field is on no screen."""
        with self.store.lock:
            pairs = tuple((str(self.store.next_number("part", 10300)), name) for name in names)
            self.site.put_field(replace(self.site.fields[field_id], options=pairs, writable=True))

    def create(self, user: str, fields: Mapping[str, Any], properties: Mapping[str, Any] | None = None) -> str:
        """A new issue; its key. `fields` in plain Python values, see `edit`; "project" is a key."""
        given = [{"key": k, "value": v} for k, v in (properties or {}).items()]
        with self.store.lock:
            values = {"issuetype": {"name": "Task"}, **self.plain(fields)}
            return str(self.site.create(self._user(user), values, given)["key"])

    def edit(self, issue: str, user: str, **fields: Any) -> Doc:
        """Change fields as this user; the stored issue. Raises Refusal.

        Plain values: text for options, priority and type, an e-mail address or account id for people, plain text or
        a document for documents, a list for sets; the API's own forms are taken too. Custom fields by id or name.
        """
        with self.store.lock:
            return self.site.edit(self._user(user), self._issue(issue), self.plain(fields))

    def transition(self, issue: str, user: str, to: str, **fields: Any) -> Doc:
        """One step of the workflow, by the name of the transition or of its target status. Raises Refusal."""
        with self.store.lock:
            found = self._issue(issue)
            actor = self._user(user)
            step = next((t for t in self.site.transitions(found, actor) if to in (t.name, t.target)), None)
            if step is None:
                raise Refusal(400, [f"{issue} cannot go to {to!r} from its present status."])
            given = self.plain(fields)
            if "resolution" in step.required:
                given.setdefault("resolution", {"name": "Done"})
            return self.site.transition(actor, found, step.id, given, {})

    def comment(self, issue: str, user: str, text: str | Doc, visibility: Doc | None = None) -> str:
        """A comment; its id. visibility: the group or role that it is shown to."""
        body = editor.from_text(text) if isinstance(text, str) else text
        with self.store.lock:
            return str(self.site.comment(self._user(user), self._issue(issue), body, None, visibility)[1]["id"])

    def delete(self, issue: str, user: str) -> None:
        with self.store.lock:
            self.site.delete(self._user(user), self._issue(issue))

    def move(self, issue: str, user: str, project: str) -> str:
        """To another project; the new key. The old one still resolves."""
        with self.store.lock:
            return str(self.site.move(self._user(user), self._issue(issue), project)["key"])

    def issues(self, project: str = "") -> list[Doc]:
        """Stored issues {id, key, old_keys, project, fields, properties, comments}; not to be changed by the caller."""
        with self.store.lock:
            found = self.site.project(project) if project else None
            return [i for i in self.site.documents.values() if found is None or i["project"] == found["id"]]

    def issue(self, issue: str) -> Doc:
        """The issue as the API shows it to someone who may see everything."""
        nobody: User = {"accountId": "", "permissions": PERMISSIONS, "projects": None, "hidden_fields": []}
        with self.store.lock:
            view = View(self.site, nobody | {"timeZone": "UTC"}, self.base_url or self._seen_base)
            return view.issue(self._issue(issue))

    def history(self, issue: str = "") -> list[Doc]:
        """Accepted changes, oldest first: {id, issue, author, created, items}. Deleted issues keep theirs (by id)."""
        with self.store.lock:
            if not issue:
                return list(self.site.entries)
            found = self.site.find(issue)
            return list(self.site.entries_of.get(found["id"] if found else issue, []))

    def add_webhook(
        self, url: str, secret: str = "", events: Iterable[str] = EVENTS, filter: str = "", name: str = ""
    ) -> str:
        with self.store.lock:
            return self.webhooks.add(url, secret, events, filter, name)

    def remove_webhook(self, id: str) -> None:
        self.webhooks.remove(id)

    def plain(self, fields: Mapping[str, Any]) -> Doc:
        """Plain Python values in the forms the API takes."""
        by_name = {f.name: f for f in self.site.fields.values() if f.custom}
        result = {}
        for name, value in fields.items():
            definition = self.site.fields.get(name) or by_name.get(name)
            if definition is None:
                result[name] = value
            else:
                result[definition.id] = self._plain_value(definition, value)
        return result

    def _plain_value(self, definition: FieldDef, value: Any) -> Any:
        if isinstance(value, list | tuple | set) and definition.kind in ("options", "components", "versions"):
            name = "value" if definition.kind == "options" else "name"
            return [{name: v} if isinstance(v, str) else v for v in value]
        if isinstance(value, tuple | set):
            return sorted(value)
        if not isinstance(value, str):
            return value
        match definition.kind:
            case "text":
                return editor.from_text(value)
            case "user":
                return {"accountId": self._user(value)["accountId"]} if value else None
            case "option":
                return {"value": value} if value else None
            case "project" | "parent":
                return {"key": value}
            case "priority" | "resolution" | "issuetype":
                return {"name": value} if value else None
        return value

    def _user(self, account_or_email: str) -> User:
        found = self.site.user(account_or_email)
        if found is None:
            raise KeyError(f"no user {account_or_email!r} in this site")
        return found

    def _issue(self, id_or_key: str) -> Doc:
        found = self.site.find(id_or_key)
        if found is None:
            raise KeyError(f"no issue {id_or_key!r} in this site")
        return found
