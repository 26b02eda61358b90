"""The fields of a repository's issues: what they are called, what can be written, which values there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connections.connectors.base import Field, Gone, NotAllowed, Option
from connections.connectors.github_site import DESCRIBE_SECONDS, Site, remembered, rows_in
from connections.connectors.github_values import BODY_LENGTH, REASONS, STATES, TITLE_LENGTH

COMMENT = (
    Field("body", "Text", "rich_text", format="markdown", required=True, max_length=BODY_LENGTH),
    Field("author", "Author", "person", writable=False, creatable=False),
    Field("created", "Created", "datetime", writable=False, creatable=False),
    Field("edited", "Last edited", "datetime", writable=False, creatable=False),
)


def of_issues(site: Site, repository: str) -> list[Field]:
    fixed: dict[str, Any] = {"writable": False, "creatable": False}
    titles = tuple(Option(title, title) for title in milestones(site, repository))
    kinds = tuple(Option(name, name) for name in types(site, repository))
    found = [
        Field("title", "Title", "text", required=True, max_length=TITLE_LENGTH, matchable=True),
        Field("body", "Description", "rich_text", format="markdown", max_length=BODY_LENGTH),
        # An issue is made open; whatever closes it comes after.
        Field("state", "State", "option", options=_options(STATES), creatable=False, required=True),
        Field("state_reason", "Reason for closing", "option", options=_options(REASONS), creatable=False),
        # Any text makes a label, so there is no list to keep to.
        Field("labels", "Labels", "set"),
        Field("milestone", "Milestone", "option", options=titles),
        Field("assignee", "Assignee", "person"),
        Field("assignees", "Assignees (all)", "set"),
        Field("number", "Number", "number", **fixed),
        Field("author", "Author", "person", **fixed),
        Field("created", "Created", "datetime", **fixed),
        Field("closed", "Closed", "datetime", **fixed),
        Field("locked", "Conversation locked", "boolean", **fixed),
    ]
    return [*found, Field("type", "Type", "option", options=kinds)] if kinds else found


def _options(names: Mapping[str, str]) -> tuple[Option, ...]:
    return tuple(Option(name, name) for name in names.values())


def milestones(site: Site, repository: str, fresh: bool = False) -> dict[str, int]:
    """Their numbers by title."""
    known = remembered(site, "milestones", DESCRIBE_SECONDS)
    if fresh or repository not in known:
        known[repository] = {
            str(row["title"]): row["number"]
            for page in site.pages(repository, "milestones", params={"state": "all"})
            for row in page
            if type(row.get("number")) is int and row.get("title")
        }
    found: dict[str, int] = known[repository]
    return found


def types(site: Site, repository: str) -> list[str]:
    """The issue types of the organisation; people's own repositories have none."""
    known = remembered(site, "types", DESCRIBE_SECONDS)
    owner = site.repository(repository).get("owner")
    if not isinstance(owner, Mapping) or owner.get("type") != "Organization":
        return []
    if repository not in known:
        try:
            rows = rows_in(site.read(f"/orgs/{owner.get('login')}/issue-types"))
        except (Gone, NotAllowed):
            rows = []  # the organisation has none, or does not show them to our account
        known[repository] = [str(row["name"]) for row in rows if row.get("name") and row.get("is_enabled") is not False]
    names: list[str] = known[repository]
    return names
