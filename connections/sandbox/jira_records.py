"""What one Jira site holds: people, projects, fields, issues and the history of every accepted write.

Documents lie in SQLite and in memory; stored documents are never changed in place, so the memory copy, the lagging
search index and an answer being written can share them.
"""

from __future__ import annotations

import contextlib
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from connections.sandbox import jira_fields as fields_of
from connections.sandbox.jira_fields import FieldDef, Refusal, Transition
from connections.sandbox.store import Store

Doc = dict[str, Any]
User = dict[str, Any]

PERMISSIONS = ("browse", "create", "edit", "transition", "delete", "comment", "browse_users", "admin")
NOT_SEEN = "Issue does not exist or you do not have permission to see it."


class Records:
    """Looking up and storing; what may be written is decided in Site.

    `clock`: seconds since the epoch as the site sees them. `search_lag`: seconds the index is behind."""

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


def _tuples(saved: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {
        k: tuple(saved[k]) for k in ("clauses", "projects", "sources", "required") if isinstance(saved.get(k), list)
    }


def status_name(id: str) -> str:
    return next(s[1] for s in fields_of.STATUSES if s[0] == id)


def status_id(name: str) -> str:
    return next(s[0] for s in fields_of.STATUSES if s[1] == name)


def category_of(id: str) -> str:
    return next(s[2] for s in fields_of.STATUSES if s[0] == id)


def new_account_id() -> str:
    return "5" + secrets.token_hex(11)
