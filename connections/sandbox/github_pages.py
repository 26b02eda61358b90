"""Small pages in the vendor's manner, so that a person can be "the GitHub user": issues of all repositories."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from connections.sandbox.base import Request
from connections.sandbox.github_records import MAX_BODY, MAX_TITLE, Doc, Refusal, iso
from connections.sandbox.pages import Entry, Input, Look, Person, RecordPages, Refused, Shown, go

if TYPE_CHECKING:
    from connections.sandbox.github import GitHubStandin

LIST = "/issues"
ISSUE = r"/(?P<owner>[^/]+)/(?P<repo>[^/]+)/issues/(?P<number>\d+)"
# A closed issue is told by why it was closed.
STATES = (
    ("open", "Open"),
    ("completed", "Closed as completed"),
    ("not_planned", "Closed as not planned"),
    ("duplicate", "Closed as duplicate"),
)
WORDS = {
    "labeled": "Added the label {label}.",
    "unlabeled": "Removed the label {label}.",
    "assigned": "Assigned {assignee}.",
    "unassigned": "Unassigned {assignee}.",
    "milestoned": "Added this to the milestone {milestone}.",
    "demilestoned": "Removed this from the milestone {milestone}.",
    "closed": "Closed this as {state_reason}.",
    "reopened": "Reopened this.",
    "issue_type_added": "Made this a {issue_type}.",
    "issue_type_changed": "Made this a {issue_type}.",
    "issue_type_removed": "Removed the type {issue_type}.",
}


class Pages(RecordPages):
    look = Look(
        product="GitHub",
        brand="Code host",
        noun="issue",
        nouns="issues",
        list_url=LIST,
        new_url="/issues/new",
        accent=("#0550ae", "#79b8ff"),
        solid=("#1a7f37", "#237a3b"),
        bar=("#24292f", "#0d1117"),
        soft="#d0d7de",
        sign="#fd8c73",
        search="Number or title",
    )
    views = {"open": "Open", "mine": "Assigned to me", "closed": "Closed", "all": "All"}
    columns = (
        ("State", "state"),
        ("Labels", "labels"),
        ("Milestone", "milestone"),
        ("Assignees", "assignees"),
        ("Updated", "updated"),
    )
    highlights = columns[:4]
    details = (("Type", "type"), ("Labels", "labels"), ("Milestone", "milestone"), ("Assignees", "assignees"))
    system = (("Repository", "repository"), ("Author", "author"), ("Created", "created"), ("Updated", "updated"))
    text = "body"
    kinds = {"comment": "Comment"}
    warning = "The issue goes for good, with its comments. GitHub keeps that it was there."
    acts = {"view": ISSUE, "edit": f"{ISSUE}/edit", "comment": f"{ISSUE}/comment", "delete": f"{ISSUE}/delete"}

    def __init__(self, app: GitHubStandin) -> None:
        super().__init__(app)
        self.app = app
        self.records = app.records
        for pattern in ("/?", "/[^/]+/[^/]+/issues/?"):
            app.route("GET", pattern, lambda request: go(LIST))

    def people(self) -> list[Person]:
        machines = {login for login, _ in self.app.tokens.values()}
        accounts = [one for one in self.records.all("account") if one["type"] == "User"]
        owners = {doc["key"].partition("/")[0] for doc in self.records.all("repository")}
        people = [one for one in accounts if one["login"] not in machines and one["key"] not in owners]
        return [Person(one["key"], one["name"] or one["login"], one["login"]) for one in people]

    def rows(self, view: str, me: Person) -> list[Doc]:
        issues = [
            doc
            for repository in self.records.all("repository")
            for doc in self.records.issues(repository)
            if not doc["pull_request"] and _in_view(doc, view, me.by)
        ]
        return sorted(issues, key=lambda doc: (doc["updated_at"], doc["id"]), reverse=True)

    def find(self, request: Request, **named: str) -> Doc | None:
        repository = self.records.get("repository", f"{named['owner']}/{named['repo']}".lower())
        issue = self.records.issue(repository, named["number"]) if repository else None
        return None if issue is None or issue.get("gone") else issue

    def _home(self, row: Doc) -> Doc:
        return self.app.documents.home(row)

    def url(self, row: Doc, act: str) -> str:
        below = "" if act == "view" else f"/{act}"
        return f"/{self._home(row)['full_name']}/issues/{row['number']}{below}"

    def shown(self, row: Doc) -> Shown:
        repository = self._home(row)
        titles = {one["number"]: one["title"] for one in repository["milestones"]}
        values = {
            "state": dict(STATES)[self.held(row)["state"]],
            "labels": ", ".join(row["labels"]),
            "milestone": titles.get(row["milestone"], ""),
            "assignees": ", ".join(row["assignees"]),
            "type": row["type"] or "",
            "repository": repository["full_name"],
            "author": row["user"],
            "created": _when(row["created_at"]),
            "updated": _when(row["updated_at"]),
            # What is a comment in the text is not shown, as GitHub does it.
            "body": _unhidden(row["body"] or ""),
        }
        key = f"{repository['full_name']}#{row['number']}"
        return Shown(key, row["title"], self.url(row, "view"), row["state"] == "closed", values)

    def comments(self, row: Doc) -> list[Entry]:
        return [
            Entry(_when(one["created_at"]), one["user"], text=_unhidden(one["body"]), label="comment")
            for one in reversed(self.records.comments(row))
        ]

    def history(self, row: Doc) -> list[Entry]:
        return [self._told(event) for event in reversed(self.records.events(row))]

    def _told(self, event: Doc) -> Entry:
        at, by = _when(event["at"]), event["actor"]
        if event["event"] == "renamed":
            return Entry(at, by, label="title", old=event["rename"]["from"], new=event["rename"]["to"])
        return Entry(at, by, text=WORDS[event["event"]].format(**event))

    def inputs(self, values: Mapping[str, str]) -> list[Input]:
        repositories = [doc["full_name"] for doc in self.records.all("repository")]
        chosen = values.get("repository", "")
        home = self.records.get("repository", (chosen or next(iter(repositories), "")).lower())
        milestones = [(str(one["number"]), one["title"]) for one in home["milestones"]] if home else []
        names = [chosen] if chosen else repositories
        return [
            Input("title", "Title", length=MAX_TITLE, required=True, wide=True),
            Input("repository", "Repository", "choice", [(name, name) for name in names], blank=False),
            Input("state", "State", "choice", STATES, blank=False),
            Input("type", "Type", "choice", [(name, name) for name in home["types"]] if home else []),
            Input("milestone", "Milestone", "choice", milestones),
            Input("labels", "Labels, separated by commas"),
            Input("assignees", "Assignees, separated by commas"),
            Input("body", "Description (Markdown)", "long", length=MAX_BODY),
        ]

    def held(self, row: Doc | None) -> dict[str, str]:
        if row is None:
            return {"state": "open"}
        closed = row["state"] == "closed"
        return {
            "title": row["title"],
            "repository": self._home(row)["full_name"],
            "state": (row["state_reason"] or "completed") if closed else "open",
            "type": row["type"] or "",
            "milestone": str(row["milestone"] or ""),
            "labels": ", ".join(row["labels"]),
            "assignees": ", ".join(row["assignees"]),
            "body": row["body"] or "",
        }

    def write(self, row: Doc | None, values: Mapping[str, str], by: str) -> Doc:
        stored = _stored(values)
        try:
            if row is None:
                row = self.records.create(values.get("repository", ""), by, {"title": "", **stored})
                return self.records.edit(values["repository"], row["number"], by, stored)
            return self.records.edit(self._home(row)["full_name"], row["number"], by, stored)
        except Refusal as refusal:
            told = [str(one.get("message") or f"{one['field']} {one['code']}") for one in refusal.errors]
            raise Refused("; ".join(told)) from None

    def say(self, row: Doc, kind: str, text: str, by: str) -> None:
        self.records.comment(row, by, text)

    def remove(self, row: Doc, by: str) -> None:
        self.records.remove(self._home(row)["full_name"], row["number"], by)


def _stored(values: Mapping[str, str]) -> dict[str, Any]:
    stored: dict[str, Any] = {name: values[name] for name in ("title", "body") if name in values}
    for name in ("labels", "assignees"):
        if name in values:
            stored[name] = _parts(values[name])
    if "milestone" in values:
        stored["milestone"] = int(values["milestone"]) if values["milestone"].isdecimal() else None
    if "type" in values:
        stored["type"] = values["type"] or None
    if "state" in values:
        closed = values["state"] != "open"
        stored |= {"state": "closed" if closed else "open", "state_reason": values["state"] if closed else None}
    return stored


def _parts(text: str) -> Sequence[str]:
    return [part for one in text.split(",") if (part := one.strip())]


def _in_view(doc: Doc, view: str, me: str) -> bool:
    if view == "mine":
        return doc["state"] == "open" and me in doc["assignees"]
    return view in ("all", doc["state"])


def _when(at: float) -> str:
    return str(iso(at)).replace("T", " ")[:16]


def _unhidden(text: str) -> str:
    return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL).strip()
