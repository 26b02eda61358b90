"""Who changed which field when, by an issue's events. They tell titles, states, labels, milestones and people.

Texts of bodies are told nowhere in this interface. Sets change by one element an event; events of one moment by one
person are one change. What events tell must lead to what the issue holds now, else it is not believed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from connections.connectors import github_people as people
from connections.connectors.base import Change, Gone
from connections.connectors.github_site import Site
from connections.connectors.github_values import (
    Malformed,
    account_id,
    assignees,
    is_account,
    label_names,
    login,
    named,
    number_of,
    people_in,
    stamp,
    told,
    values_of,
)
from connections.overwrites import over_others

TOLD = ("title", "state", "labels", "milestone", "assignee", "assignees", "type")
# {event: (what it adds to, what it takes from)}
SETS = {
    "labeled": ("labels", True),
    "unlabeled": ("labels", False),
    "assigned": ("people", True),
    "unassigned": ("people", False),
}
UNTOLD = (None, None)  # "it changed", and no more


@dataclass
class Group:
    """Events of one person in one moment."""

    at: str
    by: Mapping[str, Any] | None
    events: list[Mapping[str, Any]]
    told: dict[str, tuple[Any, Any]] = field(default_factory=dict)


def of_issue(site: Site, repository: str, number: int, fields: Sequence[str], since: str) -> list[Change] | None:
    """Oldest first; None where the issue is not there."""
    wanted = [path for path in fields if path in TOLD]
    try:
        issue, where = site.issue(repository, number)
        if where != repository or number_of(issue) != number:
            return None
        one = f"issue {repository}#{number}"
        events = [event for page in site.pages(repository, "issues", number, "events", one=one) for event in page]
    except Gone:
        return None
    return [change for change in _changes(site, issue, events, wanted) if change.at >= since[:19]]


def overwritten(
    site: Site, repository: str, number: int, issue: Mapping[str, Any], fields: Sequence[str], account: str
) -> dict[str, Any]:
    """{field: value} that others wrote and the last write by `account` replaced. issue: as that write was answered.

    What came after our last event is left out, so that the way back from the answer fits. ⚑ A change of ours that led
    to something else is of an earlier write: what that one replaced was told then.
    """
    one = f"issue {repository}#{number}"
    events = _in_order(site.newest(repository, "issues", number, "events", one=one))
    while events and account_id(events[-1].get("actor")) != account:
        events.pop()
    changes = _changes(site, issue, events, fields)
    found = {path: over for path in fields if (over := over_others(changes, path, account))}
    now = _changed_to(site, issue, list(found))
    return {path: over.before for path, over in found.items() if over.after == now.get(path)}


def _changed_to(site: Site, issue: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    return told(values_of(issue, people.values(site, people_in(issue, fields))), fields)[0]


def _changes(
    site: Site, issue: Mapping[str, Any], events: Sequence[Mapping[str, Any]], wanted: Sequence[str]
) -> list[Change]:
    """Oldest first. issue: as it is after all of the events."""
    if not wanted:
        return []
    groups = _groups(events)
    _single_values(groups)
    _sets(groups, issue)
    accounts: list[Any] = [one for event in events if is_account(one := event.get("assignee"))]
    names = people.values(site, accounts if {"assignee", "assignees"} & set(wanted) else [])
    found = []
    for group in groups:
        for path in wanted:
            before, after = _of(group, path, names)
            if (before, after) != (group, group):
                found.append(Change(path, group.at, account_id(group.by), login(group.by), before, after))
    return found


def _of(group: Group, path: str, names: Mapping[str, str]) -> tuple[Any, Any]:
    """What the group says of a field; (group, group) where it says nothing."""
    if path not in ("assignee", "assignees"):
        return group.told.get(path, (group, group))
    if "people" not in group.told:
        return group, group
    both = group.told["people"]
    if both == UNTOLD:
        return UNTOLD
    valued = [sorted(names.get(id, f"id:{id}") for id in ids) for ids in both]
    if path == "assignees":
        return valued[0], valued[1]
    if max(map(len, valued)) > 1:
        return UNTOLD  # which of several GitHub called the assignee is not told
    return next(iter(valued[0]), None), next(iter(valued[1]), None)


def _in_order(events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    known = [event for event in events if stamp(event.get("created_at"))]
    known.sort(key=lambda event: (str(stamp(event["created_at"])), event["id"] if type(event.get("id")) is int else 0))
    return known


def _groups(events: Sequence[Mapping[str, Any]]) -> list[Group]:
    def moment(event: Mapping[str, Any]) -> tuple[str, str | None]:
        return str(stamp(event["created_at"])), account_id(event.get("actor"))

    runs = [(at, list(run)) for (at, _), run in groupby(_in_order(events), key=moment)]
    return [Group(at, run[0].get("actor"), run) for at, run in runs]


def _single_values(groups: Sequence[Group]) -> None:
    """Fields whose events name a value each: title, state, milestone, type."""
    held: dict[str, Any] = {"milestone": None, "type": None}
    for group in groups:
        for event in group.events:
            try:
                for path, before, after in _steps(event, held):
                    first = group.told.get(path, (before, after))[0]
                    group.told[path] = (first, after)
                    held[path] = after
            except Malformed:
                continue


def _steps(event: Mapping[str, Any], held: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    match event.get("event"):
        case "renamed":
            rename = event.get("rename")
            return [("title", named(rename, "from"), named(rename, "to"))]
        case "closed":
            return [("state", "Open", "Closed")]
        case "reopened":
            return [("state", "Closed", "Open")]
        case "milestoned":
            return [("milestone", held["milestone"], named(event.get("milestone"), "title"))]
        case "demilestoned":
            return [("milestone", named(event.get("milestone"), "title"), None)]
        case "issue_type_added" | "issue_type_changed":
            before = named(event.get("prev_issue_type"), "name")
            return [("type", before or held["type"], named(event.get("issue_type"), "name"))]
        case "issue_type_removed":
            return [("type", held["type"], None)]
    return []


def _sets(groups: Sequence[Group], issue: Any) -> None:
    """Labels and people, walked back from what the issue holds now."""
    try:
        now = {"labels": set(label_names(issue)), "people": {str(one["id"]) for one in assignees(issue)}}
    except Malformed:
        return
    believed = {"labels": True, "people": True}
    for group in reversed(groups):
        after = {path: sorted(members) for path, members in now.items()}
        touched = set()
        for event in reversed(group.events):
            path, added = SETS.get(str(event.get("event")), ("", False))
            if not path:
                continue
            touched.add(path)
            member = _member(path, event)
            if member is None or (member in now[path]) is not added:
                believed[path] = False  # a label was renamed since, or an event is missing
            elif added:
                now[path].discard(member)
            else:
                now[path].add(member)
        for path in touched:
            group.told[path] = (sorted(now[path]), after[path]) if believed[path] else UNTOLD


def _member(path: str, event: Mapping[str, Any]) -> str | None:
    if path == "people":
        return account_id(event.get("assignee"))
    label = event.get("label")
    name = label.get("name") if isinstance(label, Mapping) else None
    return name if isinstance(name, str) else None
