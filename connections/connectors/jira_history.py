"""Who changed which field of an issue, and when, from Jira's changelog.

It tells most values whole. Components and versions it tells by the members that came and went, so the sets are walked
back from what the issue holds now; what does not lead there is not believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from connections.connectors.base import Change, ConnectorError
from connections.connectors.jira_site import Site
from connections.connectors.jira_values import MEMBERS, Spec, epoch_ms, history_field, history_value, normal, stamp
from connections.overwrites import over_others

ISSUES = 1000  # per call
FIELDS = 10  # per call; above it the filter is left out and we choose ourselves
PAGE = 1000
UNTOLD = (None, None)  # "it changed", and no more

Entry = Mapping[str, Any]


def of_issues(site: Site, ids: Sequence[str], fields: Sequence[str], since: str) -> dict[str, list[Change]]:
    """Changes of `fields` at or after `since`, oldest first, by issue."""
    specs = site.specs()
    wanted = set(fields) - {"key"}
    # Before the log: what changed in between then shows in the log alone, which contradicts and is not believed.
    now = _now(site, ids, [path for path in wanted if _by_member(specs.get(path))])
    entries: dict[str, list[Entry]] = {id: [] for id in ids}
    for start in range(0, len(ids), ISSUES):
        body: dict[str, Any] = {"issueIdsOrKeys": list(ids[start : start + ISSUES]), "maxResults": PAGE}
        if 0 < len(wanted) <= FIELDS:
            body["fieldIds"] = sorted(wanted)
        while True:
            answer = site.call("POST", "changelog/bulkfetch", json=body)
            page = site.body(answer)
            for log in site.objects(answer, "issueChangeLogs", "issueId"):
                entries.setdefault(str(log["issueId"]), []).extend(log.get("changeHistories") or [])
            if not page.get("nextPageToken"):
                break
            body["nextPageToken"] = page["nextPageToken"]
    told = {id: _changes(specs, log, now.get(id), wanted) for id, log in entries.items()}
    found = {id: [one for one in log if epoch_ms(one.at) >= epoch_ms(since)] for id, log in told.items()}
    people = _people(site, specs, [one for log in found.values() for one in log])
    return {id: [_in_form(specs, people, one) for one in log] for id, log in found.items()}


def _now(site: Site, ids: Sequence[str], paths: Sequence[str]) -> dict[str, Any]:
    """What issues hold in these fields, as Jira shows it; no call where there are none."""
    return {str(issue["id"]): issue.get("fields") for issue in site.bulk_fetch(ids, paths)} if paths else {}


def overwritten(
    site: Site, specs: Mapping[str, Spec], issue: Any, account: str | None, version: str, fields: Sequence[str]
) -> dict[str, Any]:
    """{field: value} that others wrote after `version` (the issue's time at our read) and our write replaced.

    issue: as a write by `account` answered, with its changelog. specs: as they were before it. The write is done, so
    that no error of Jira's comes out, and a value that cannot be told is left out.
    """
    if not account or not version:
        return {}
    since = epoch_ms(version)
    changes = [change for change in _shown_with(specs, issue, fields) if epoch_ms(change.at) > since]
    found = {path: over for path in fields if (over := over_others(changes, path, account))}
    try:
        people = _people(site, specs, found.values())
    except ConnectorError:
        people = {}  # they are told by their accounts, which can be written as well
    return {path: _in_form(specs, people, one).before for path, one in found.items()}


def written_last(specs: Mapping[str, Spec], issue: Any, account: str | None, path: str) -> Any:
    """The value that `account` gave a field last, by the changelog that an issue was shown with; None if not told."""
    told = _shown_with(specs, issue, [path]) if account else []
    return next((change.after for change in reversed(told) if change.by == account), None)


def _shown_with(specs: Mapping[str, Spec], issue: Any, fields: Sequence[str]) -> list[Change]:
    """Changes of `fields` that an issue was shown with, oldest first."""
    shown = issue if isinstance(issue, Mapping) else {}
    log = shown.get("changelog")
    entries = log.get("histories") if isinstance(log, Mapping) else None
    return _changes(specs, entries or [], shown.get("fields"), set(fields))


def _changes(specs: Mapping[str, Spec], entries: Iterable[Any], now: Any, wanted: set[str]) -> list[Change]:
    """One for each entry and field, oldest first. now: what the issue holds after all of them, as Jira shows it."""
    known = [entry for entry in entries if isinstance(entry, Mapping) and stamp(entry.get("created"))]
    held = {path: set(normal(specs[path], now[path])) for path in wanted if _walkable(specs.get(path), path, now)}
    changes = []
    for entry in sorted(known, key=_moment, reverse=True):
        author = entry.get("author")
        by, by_name = (
            (author.get("accountId"), author.get("displayName")) if isinstance(author, Mapping) else (None, None)
        )
        for path, items in _by_field(entry, wanted).items():
            spec = specs.get(path)
            before, after = _walked_back(held, path, items) if _by_member(spec) else _told_whole(spec, items)
            changes.append(Change(path, str(stamp(entry["created"])), by, by_name, before, after))
    return changes[::-1]


def _moment(entry: Entry) -> tuple[str, int]:
    """The order of the changelog's numbers where two bear the same time."""
    return str(stamp(entry["created"])), int(entry["id"]) if str(entry.get("id")).isdigit() else 0


def _by_field(entry: Entry, wanted: set[str]) -> dict[str, list[Entry]]:
    items = entry.get("items")
    found: dict[str, list[Entry]] = {}
    for item in items if isinstance(items, list) else []:
        if isinstance(item, Mapping) and (path := history_field(item)) in wanted:
            found.setdefault(path, []).append(item)
    return found


def _told_whole(spec: Spec | None, items: Sequence[Entry]) -> tuple[Any, Any]:
    before = history_value(spec, items[0].get("from"), items[0].get("fromString"))
    after = history_value(spec, items[-1].get("to"), items[-1].get("toString"))
    return UNTOLD if spec and spec.kind == "set" and (before is None or after is None) else (before, after)


def _by_member(spec: Spec | None) -> bool:
    return spec is not None and spec.told == MEMBERS


def _walkable(spec: Spec | None, path: str, now: Any) -> bool:
    return _by_member(spec) and isinstance(now, Mapping) and path in now


def _walked_back(held: dict[str, set[str]], path: str, items: Sequence[Entry]) -> tuple[Any, Any]:
    """What a set held before and after one entry. held: the sets after it; then those before it."""
    after = held.pop(path, None)
    if after is None:
        return UNTOLD
    before = set(after)
    for item in reversed(items):
        added, removed = item.get("toString"), item.get("fromString")
        if not (added or removed) or (added and added not in before):
            return UNTOLD  # the member was renamed since, or an entry is missing: nor are earlier sets known
        before.discard(added)
        if removed in before:
            return UNTOLD
        before |= {removed} if removed else set()
    held[path] = before
    return sorted(before), sorted(after)


def _in_form(specs: Mapping[str, Spec], people: Mapping[str, str], change: Change) -> Change:
    """A change with the values that reads give, as far as the changelog tells them."""
    spec = specs.get(change.field)
    return replace(change, before=_as_read(spec, people, change.before), after=_as_read(spec, people, change.after))


def _as_read(spec: Spec | None, people: Mapping[str, str], value: Any) -> Any:
    if spec is None or not value:
        return value
    if spec.kind == "person":
        return people.get(value.removeprefix("id:"), value)
    return _document(str(value)) if spec.kind == "rich_text" else value


def _document(wiki: str) -> dict[str, Any]:
    """The changelog tells rich text as wiki text: the words are kept, their form is not."""
    lines = [line for line in wiki.splitlines() if line.strip()]
    paragraphs = [{"type": "paragraph", "content": [{"type": "text", "text": line}]} for line in lines]
    return {"type": "doc", "version": 1, "content": paragraphs}


def _people(site: Site, specs: Mapping[str, Spec], changes: Iterable[Change]) -> Mapping[str, str]:
    """The person values that reads give, by account, of all in these changes."""
    accounts = {
        value.removeprefix("id:")
        for change in changes
        if (spec := specs.get(change.field)) and spec.kind == "person"
        for value in (change.before, change.after)
        if value
    }
    return site.persons(accounts) if accounts else {}
