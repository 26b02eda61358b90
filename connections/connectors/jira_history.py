"""Who changed which field of an issue, and when, from Jira's changelog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from connections.connectors.base import Change
from connections.connectors.jira_site import Site
from connections.connectors.jira_values import epoch_ms, history_field, history_value, stamp

ISSUES = 1000  # per call
FIELDS = 10  # per call; above it the filter is left out and we choose ourselves
PAGE = 1000


def of_issues(site: Site, ids: Sequence[str], fields: Sequence[str], since: str) -> dict[str, list[Change]]:
    """Changes of `fields` at or after `since`, oldest first, by issue."""
    specs = site.specs()
    wanted = set(fields) - {"key"}
    found: dict[str, list[Change]] = {id: [] for id in ids}
    for start in range(0, len(ids), ISSUES):
        body: dict[str, Any] = {"issueIdsOrKeys": list(ids[start : start + ISSUES]), "maxResults": PAGE}
        if 0 < len(wanted) <= FIELDS:
            body["fieldIds"] = sorted(wanted)
        while True:
            answer = site.call("POST", "changelog/bulkfetch", json=body)
            page = site.body(answer)
            for log in site.objects(answer, "issueChangeLogs", "issueId"):
                changes = found.setdefault(str(log["issueId"]), [])
                for entry in log.get("changeHistories") or []:
                    at = stamp(entry.get("created"))
                    if at and epoch_ms(at) >= epoch_ms(since):
                        changes += _changes(specs, entry, at, wanted)
            if not page.get("nextPageToken"):
                break
            body["nextPageToken"] = page["nextPageToken"]
    _name_people(site, found)
    return {id: [_in_form(specs, one) for one in sorted(changes, key=_moment)] for id, changes in found.items()}


def _moment(change: Change) -> str:
    return change.at


def _in_form(specs: Mapping[str, Any], change: Change) -> Change:
    spec = specs.get(change.field)
    return replace(change, before=_as_read(spec, change.before), after=_as_read(spec, change.after))


def overwritten(site: Site, issue: Any, account: str | None, version: str, fields: Sequence[str]) -> dict[str, Any]:
    """{field: value} that others wrote after `version` (the issue's time at our read) and our write replaced.

    issue: as a write by `account` answered, with its changelog.
    """
    if not account or not version:
        return {}
    specs, since = site.specs(), epoch_ms(version)
    changes = [change for change in _shown_with(specs, issue, fields) if epoch_ms(change.at) > since]
    found = {}
    for path in fields:
        of_field = [change for change in changes if change.field == path]
        ours = max((at for at, change in enumerate(of_field) if change.by == account), default=-1)
        if any(change.by != account for change in of_field[: max(ours, 0)]):
            found[path] = _as_read(specs.get(path), of_field[ours].before)
    return found


def written_last(site: Site, issue: Any, account: str | None, path: str) -> Any:
    """The value that `account` gave a field last, by the changelog that an issue was shown with; None if not told."""
    told = _shown_with(site.specs(), issue, [path]) if account else []
    return next((change.after for change in reversed(told) if change.by == account), None)


def _shown_with(specs: Mapping[str, Any], issue: Any, fields: Sequence[str]) -> list[Change]:
    """Changes of `fields` that an issue was shown with, oldest first."""
    log = issue.get("changelog") if isinstance(issue, Mapping) else None
    entries = log.get("histories") if isinstance(log, Mapping) else None
    changes: list[Change] = []
    # Newest first, as Jira tells them; the order of its numbers where two bear the same time.
    for entry in sorted((e for e in entries or [] if isinstance(e, Mapping)), key=_number):
        at = stamp(entry.get("created"))
        changes += _changes(specs, entry, at, set(fields)) if at else []
    return changes


def _number(entry: Mapping[str, Any]) -> int:
    return int(entry["id"]) if str(entry.get("id")).isdigit() else 0


def _as_read(spec: Any, value: Any) -> Any:
    """The changelog tells rich text as wiki text: the words are kept, their form is not."""
    if spec is None or spec.kind != "rich_text" or not value:
        return value
    lines = [line for line in str(value).splitlines() if line.strip()]
    paragraphs = [{"type": "paragraph", "content": [{"type": "text", "text": line}]} for line in lines]
    return {"type": "doc", "version": 1, "content": paragraphs}


def _changes(specs: Mapping[str, Any], entry: Mapping[str, Any], at: str, wanted: set[str]) -> list[Change]:
    author = entry.get("author") or {}
    changes = []
    for item in entry.get("items") or []:
        path = history_field(item)
        if path not in wanted:
            continue
        spec = specs.get(path)
        changes.append(
            Change(
                field=path,
                at=at,
                by=author.get("accountId"),
                by_name=author.get("displayName"),
                before=history_value(spec, item.get("from"), item.get("fromString")),
                after=history_value(spec, item.get("to"), item.get("toString")),
            )
        )
    return changes


def _name_people(site: Site, found: dict[str, list[Change]]) -> None:
    """Accounts in histories of person fields become the person values that reads give."""
    kinds = {path: spec.kind for path, spec in site.specs().items()}
    accounts = {
        value.removeprefix("id:")
        for changes in found.values()
        for change in changes
        if kinds.get(change.field) == "person"
        for value in (change.before, change.after)
        if value
    }
    if not accounts:
        return
    names = site.persons(accounts)

    def named(value: Any) -> Any:
        return names.get(value.removeprefix("id:"), value) if value else value

    for id, changes in found.items():
        found[id] = [
            Change(c.field, c.at, c.by, c.by_name, named(c.before), named(c.after))
            if kinds.get(c.field) == "person"
            else c
            for c in changes
        ]
