"""The server itself: accounts, repositories, issues with their events, comments. No HTTP.

Imitated where it matters: stamps of one second, numbers shared with pull requests, labels made by naming them,
assignments dropped without a word, an event for each element of a set, lists that are behind, transfers, deletions
that are remembered.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from connections.sandbox.base import Store

Doc = dict[str, Any]
MAX_TITLE, MAX_BODY, MAX_ASSIGNEES = 256, 65_536, 10
KEPT_STATES = 20  # of an issue, for lists that are behind
REASONS = ("completed", "not_planned", "duplicate")


class Refusal(Exception):
    """A write the server does not take: errors as its API tells them."""

    def __init__(self, *errors: Mapping[str, Any]) -> None:
        super().__init__(str(errors))
        self.errors = list(errors)


def iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Records:
    """`on_change(event, action, document, by, more)` is called after each change, event "issues" or "issue_comment"."""

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self.store = store
        self.now = now
        self.on_change: Callable[..., None] = lambda *told: None
        self.lag = 0.0  # seconds lists are behind
        kinds = ("account", "repository", "issue", "comment", "event", "hook")
        self._docs: dict[str, dict[str, Doc]] = {kind: {d["key"]: d for d in store.all(kind)} for kind in kinds}
        self._past: dict[str, list[tuple[float, Doc]]] = {}

    # Storage -------------------------------------------------------------------------------------------------

    def all(self, kind: str) -> list[Doc]:
        return list(self._docs[kind].values())

    def get(self, kind: str, key: str | int) -> Doc | None:
        return self._docs[kind].get(str(key))

    def put(self, kind: str, doc: Doc) -> Doc:
        self._docs[kind][str(doc["key"])] = doc
        self.store.put(kind, str(doc["key"]), doc)
        if kind == "issue":
            states = self._past.setdefault(doc["key"], [])
            states.append((self.now(), dict(doc)))
            del states[:-KEPT_STATES]
        return doc

    def drop(self, kind: str, key: str | int) -> None:
        self._docs[kind].pop(str(key), None)
        self.store.remove(kind, str(key))

    def next(self, name: str, start: int = 1) -> int:
        return self.store.next_number(name, start)

    # Making --------------------------------------------------------------------------------------------------

    def account(self, login: str, email: str | None = None, name: str | None = None, type: str = "User") -> Doc:
        id = self.next("account", 1001)
        return self.put(
            "account", {"key": login.lower(), "id": id, "login": login, "email": email, "name": name, "type": type}
        )

    def repository(self, full_name: str, members: Sequence[str] = (), types: Sequence[str] = ()) -> Doc:
        """members: logins issues can be assigned to; the owner is an organisation where there are types."""
        owner = full_name.partition("/")[0]
        if self.get("account", owner.lower()) is None:
            self.account(owner, type="Organization" if types else "User")
        doc = {
            "key": full_name.lower(),
            "id": self.next("repository", 500_001),
            "full_name": full_name,
            "members": list(members),
            "labels": [],
            "milestones": [],
            "types": list(types),
            "has_issues": True,
            "archived": False,
            "created_at": self.now(),
        }
        return self.put("repository", doc)

    def rename(self, full_name: str, new: str) -> None:
        repository = self.found(full_name)
        self.drop("repository", repository["key"])
        self.put("repository", {**repository, "key": new.lower(), "full_name": new, "was": full_name})
        for hook in self.all("hook"):
            if hook["repository"] == full_name:
                self.put("hook", {**hook, "repository": new})

    def found(self, full_name: str) -> Doc:
        repository = self.get("repository", full_name.lower())
        assert repository is not None, full_name
        return repository

    def milestone(self, full_name: str, title: str) -> int:
        repository = self.found(full_name)
        number = len(repository["milestones"]) + 1
        made = {"number": number, "title": title, "id": self.next("milestone", 900), "at": self.now()}
        self.put("repository", {**repository, "milestones": [*repository["milestones"], made]})
        return number

    # Reading -------------------------------------------------------------------------------------------------

    def issue(self, repository: Doc, number: int | str) -> Doc | None:
        return self.get("issue", f"{repository['id']}#{number}")

    def issues(self, repository: Doc) -> list[Doc]:
        return [doc for doc in self.all("issue") if doc["repository"] == repository["id"] and not doc.get("gone")]

    def listed(self, repository: Doc) -> list[Doc]:
        """Issues as the copy knows them that lists are read from."""
        if not self.lag:
            return self.issues(repository)
        due = self.now() - self.lag
        past = [[old for at, old in self._past.get(doc["key"], []) if at <= due] for doc in self.issues(repository)]
        return [states[-1] for states in past if states]

    def events(self, issue: Doc) -> list[Doc]:
        return [doc for doc in self.all("event") if doc["issue"] == issue["key"]]

    def comments(self, issue: Doc) -> list[Doc]:
        return [doc for doc in self.all("comment") if doc["issue"] == issue["key"]]

    def login(self, name: str) -> Doc:
        account = self.get("account", name.lower())
        assert account is not None, name
        return account

    # Issues --------------------------------------------------------------------------------------------------

    def create(self, full_name: str, by: str, values: Mapping[str, Any], pull_request: bool = False) -> Doc:
        repository = self.found(full_name)
        wanted = self._checked(repository, {"title": None, **values}, {})
        number, at = self.next(f"number of {repository['id']}"), int(self.now())
        doc = {
            "key": f"{repository['id']}#{number}",
            "repository": repository["id"],
            "number": number,
            "id": self.next("issue", 3_000_001),
            **{"title": "", "body": None, "state": "open", "state_reason": None, "labels": [], "assignees": []},
            **{"milestone": None, "type": None, "locked": False, "closed_at": None, "closed_by": None},
            **{"user": by, "created_at": at, "updated_at": at, "pull_request": pull_request},
            **wanted,
        }
        self.put("issue", doc)
        self._sets(doc, {"labels": [], "assignees": []}, by)
        if doc["milestone"]:
            self._event(doc, "milestoned", by, milestone=self._milestone(repository, doc["milestone"]))
        if doc["type"]:
            self._event(doc, "issue_type_added", by, issue_type=doc["type"])
        self.on_change("issues", "opened", doc, by, {})
        return doc

    def edit(self, full_name: str, number: int | str, by: str, values: Mapping[str, Any]) -> Doc:
        repository = self.found(full_name)
        before = self.issue(repository, number)
        assert before is not None
        wanted = self._checked(repository, values, before)
        after = {**before, **wanted}
        if after == before:
            return before
        after["updated_at"] = max(int(self.now()), before["updated_at"])
        if after["state"] != before["state"]:
            closed = after["state"] == "closed"
            after |= {"closed_at": after["updated_at"] if closed else None, "closed_by": by if closed else None}
        self.put("issue", after)
        for action, more in self._told(repository, before, after, by):
            self.on_change("issues", action, after, by, more)
        return after

    def _told(self, repository: Doc, before: Doc, after: Doc, by: str) -> list[tuple[str, Doc]]:
        """Events of the change; (action, more) of each webhook."""
        told: list[tuple[str, Doc]] = []
        edited = {name: {"from": before[name] or ""} for name in ("title", "body") if before[name] != after[name]}
        if "title" in edited:
            self._event(after, "renamed", by, rename={"from": before["title"], "to": after["title"]})
        if edited:
            told.append(("edited", {"changes": edited}))
        if after["state"] != before["state"]:
            name = "closed" if after["state"] == "closed" else "reopened"
            self._event(after, name, by, state_reason=after["state_reason"])
            told.append((name, {}))
        told += self._sets(after, before, by)
        if after["milestone"] != before["milestone"]:
            for name, milestone in (("demilestoned", before["milestone"]), ("milestoned", after["milestone"])):
                if milestone:
                    self._event(after, name, by, milestone=self._milestone(repository, milestone))
                    told.append((name, {}))
        if after["type"] != before["type"]:
            pair = (before["type"], after["type"])
            name = "added" if not pair[0] else "removed" if not pair[1] else "changed"
            self._event(after, f"issue_type_{name}", by, issue_type=pair[1] or pair[0], prev_issue_type=pair[0])
            told.append(("typed" if pair[1] else "untyped", {}))
        return told

    def _sets(self, after: Doc, before: Mapping[str, Any], by: str) -> list[tuple[str, Doc]]:
        told: list[tuple[str, Doc]] = []
        for path, word, name in (("labels", "label", "labeled"), ("assignees", "assignee", "assigned")):
            for gone in [one for one in before[path] if one not in after[path]]:
                self._event(after, f"un{name}", by, **{word: gone})
                told.append((f"un{name}", {word: gone}))
            for new in [one for one in after[path] if one not in before[path]]:
                self._event(after, name, by, **{word: new})
                told.append((name, {word: new}))
        return told

    def _event(self, issue: Doc, event: str, by: str, **more: Any) -> None:
        id = self.next("event", 7_000_001)
        doc = {"key": str(id), "id": id, "issue": issue["key"], "event": event, "actor": by, "at": int(self.now())}
        self.put("event", doc | more)

    def _milestone(self, repository: Doc, number: int) -> str:
        return next(m["title"] for m in repository["milestones"] if m["number"] == number)

    def _checked(self, repository: Doc, values: Mapping[str, Any], before: Mapping[str, Any]) -> Doc:
        """What is stored of what was sent. Raises Refusal."""
        wanted: Doc = {}
        if "title" in values:
            title = str(values["title"] or "").strip()
            if not title:
                raise Refusal({"resource": "Issue", "field": "title", "code": "missing_field"})
            if len(title) > MAX_TITLE:
                raise Refusal(_custom("title", f"title is too long (maximum is {MAX_TITLE} characters)"))
            wanted["title"] = title
        if "body" in values:
            body = values["body"]
            if len(body or "") > MAX_BODY:
                raise Refusal(_custom("body", f"body is too long (maximum is {MAX_BODY} characters)"))
            wanted["body"] = body or None
        if "labels" in values:
            wanted["labels"] = self._labels(repository, values["labels"])
        if "assignees" in values:
            known = {login.lower(): login for login in repository["members"]}
            asked = dict.fromkeys(known[one.lower()] for one in values["assignees"] or [] if one.lower() in known)
            wanted["assignees"] = list(asked)[:MAX_ASSIGNEES]
        if "milestone" in values:
            if values["milestone"] not in (None, *(m["number"] for m in repository["milestones"])):
                raise Refusal({"resource": "Issue", "field": "milestone", "code": "invalid"})
            wanted["milestone"] = values["milestone"]
        if "type" in values:
            if values["type"] not in (None, *repository["types"]):
                raise Refusal({"resource": "Issue", "field": "type", "code": "invalid"})
            wanted["type"] = values["type"]
        return wanted | self._state(values, before)

    def _state(self, values: Mapping[str, Any], before: Mapping[str, Any]) -> Doc:
        """A reason counts only where the state changes."""
        state = values.get("state")
        if not before or state in (None, before["state"]):
            return {}
        if state == "open":
            return {"state": state, "state_reason": "reopened"}
        reason = values.get("state_reason")
        return {"state": state, "state_reason": reason if reason in REASONS else "completed"}

    def _labels(self, repository: Doc, names: Sequence[Any]) -> list[str]:
        """As the repository spells them; those it has not are made."""
        wanted = [str(one["name"] if isinstance(one, dict) else one) for one in names or []]
        known = {label["name"].lower(): label["name"] for label in repository["labels"]}
        new = [one for one in dict.fromkeys(wanted) if one.lower() not in known]
        if new:
            made = [{"name": one, "id": self.next("label", 2001), "color": "ededed"} for one in new]
            repository["labels"] = [*repository["labels"], *made]
            self.put("repository", repository)
            known |= {one.lower(): one for one in new}
        return list(dict.fromkeys(known[one.lower()] for one in wanted))

    def remove(self, full_name: str, number: int | str, by: str) -> None:
        issue = self.issue(self.found(full_name), number)
        assert issue is not None
        for comment in self.comments(issue):
            self.drop("comment", comment["key"])
        self.put("issue", {**issue, "gone": "deleted"})
        self.on_change("issues", "deleted", issue, by, {})

    def transfer(self, full_name: str, number: int | str, to: str, by: str) -> Doc:
        """The issue as it goes on in the other repository, with another id and number."""
        source, target = self.found(full_name), self.found(to)
        issue = self.issue(source, number)
        assert issue is not None
        other = self.next(f"number of {target['id']}")
        ids = {"repository": target["id"], "number": other, "id": self.next("issue", 3_000_001)}
        new = self.put("issue", {**issue, **ids, "key": f"{target['id']}#{other}"})
        for comment in self.comments(issue):
            self.put("comment", {**comment, "issue": new["key"]})
        self.put("issue", {**issue, "gone": "moved", "moved_to": new["key"]})
        self.on_change("issues", "transferred", issue, by, {"new": new})
        return new

    # Comments ------------------------------------------------------------------------------------------------

    def comment(self, issue: Doc, by: str, body: str) -> Doc:
        if not body:
            raise Refusal({"resource": "IssueComment", "field": "body", "code": "missing_field"})
        id, at = self.next("comment", 5_000_001), int(self.now())
        doc = {"key": str(id), "id": id, "issue": issue["key"], "user": by, "body": body, "created_at": at}
        self.put("comment", {**doc, "updated_at": at})
        self.put("issue", {**issue, "updated_at": max(at, issue["updated_at"])})
        self.on_change("issue_comment", "created", {**doc, "updated_at": at}, by, {})
        return doc

    def edit_comment(self, comment: Doc, by: str, body: str) -> Doc:
        if not body:
            raise Refusal({"resource": "IssueComment", "field": "body", "code": "missing_field"})
        if body == comment["body"]:
            return comment
        new = self.put("comment", {**comment, "body": body, "updated_at": int(self.now())})
        self.on_change("issue_comment", "edited", new, by, {"changes": {"body": {"from": comment["body"]}}})
        return new

    def remove_comment(self, comment: Doc, by: str) -> None:
        self.drop("comment", comment["key"])
        self.on_change("issue_comment", "deleted", comment, by, {})


def node_id(kind: str, id: int) -> str:
    return f"{kind}_{base64.b64encode(str(id).encode()).decode().rstrip('=')}"


def _custom(field: str, message: str) -> Doc:
    return {"resource": "Issue", "field": field, "code": "custom", "message": message}
