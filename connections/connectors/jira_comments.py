"""Comments of issues, as records with a parent. Their ids are unique on the site; writing one needs its issue too."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from connections.connectors.base import Gone, Record, Refused, Retry, Uncertain, Values, WriteResult
from connections.connectors.jira_site import PAGE, PROPERTY, Site, key_in, property_body, segment
from connections.connectors.jira_values import document, epoch_ms, moment, person, stamp

BULK_READ = 50  # 1000 ids are taken, but the answer has pages and names no way to the second
TITLE_LENGTH = 80


def record(comment: Mapping[str, Any], parent_id: str | None, fields: Sequence[str]) -> Record:
    author = comment.get("author") or {}
    editor = comment.get("updateAuthor") or {}
    values = {
        "body": document(comment.get("body")),
        "author": person(author),
        "created": moment(comment.get("created")),
        # ⚑ Jira tells the customers' portal and the circle of a group or role apart: both have to let customers in.
        "public": bool(comment.get("jsdPublic", True)) and not comment.get("visibility"),
    }
    properties = {p.get("key"): p.get("value") for p in comment.get("properties") or [] if isinstance(p, Mapping)}
    updated = stamp(comment.get("updated"))
    return Record(
        external_id=str(comment["id"]),
        version=updated or "",
        values={path: values[path] for path in fields if path in values},
        updated_at=updated,
        updated_by=editor.get("accountId"),
        updated_by_name=editor.get("displayName"),
        created_at=stamp(comment.get("created")),
        created_by=author.get("accountId"),
        title=f"Comment by {author.get('displayName') or 'somebody'}"[:TITLE_LENGTH],
        parent_id=parent_id or _issue_in(comment),
        correlation_key=key_in(properties.get(PROPERTY)),
        unreadable=frozenset(path for path in fields if path not in values),
    )


def _issue_in(comment: Mapping[str, Any]) -> str | None:
    found = re.search(r"/issue/(\d+)/comment/", str(comment.get("self") or ""))
    return found[1] if found else None


def read(site: Site, ids: Sequence[str], fields: Sequence[str]) -> dict[str, Record]:
    return {str(comment["id"]): record(comment, None, fields) for comment in _shown(site, ids)}


def _shown(site: Site, ids: Sequence[str]) -> list[Mapping[str, Any]]:
    wanted = [int(id) for id in ids if id.isdigit()]
    found: list[Mapping[str, Any]] = []
    for start in range(0, len(wanted), BULK_READ):
        body = {"ids": wanted[start : start + BULK_READ]}
        answer = site.call("POST", "comment/list", params={"expand": "properties"}, json=body)
        if site.body(answer).get("isLast") is False:
            raise Retry("Jira showed only some of the comments. Nothing was taken over. We read again.")
        found += site.objects(answer, "values")
    return found


def of_issues(site: Site, issue_ids: Sequence[str], fields: Sequence[str]) -> list[Record]:
    """Comments of each issue, oldest first."""
    found = []
    for issue_id in issue_ids:
        path = f"issue/{segment(issue_id)}/comment"
        try:
            comments = list(site.pages(path, "comments", orderBy="created", expand="properties"))
        except Gone:
            continue  # a comment without an issue is no comment
        found += [record(comment, issue_id, fields) for comment in comments]
    return found


def create(site: Site, values: Values, correlation_key: str, parent_id: str | None) -> WriteResult:
    if not parent_id:
        raise Refused("A comment needs its issue. Nothing was written. Link the issue first.")
    body = {"body": _body(values), "properties": property_body(correlation_key)}
    made = site.body(site.call("POST", f"issue/{segment(parent_id)}/comment", json=body, write=True))
    if not made.get("id"):
        raise Uncertain("Jira did not say which comment it made. We look for it before anything is sent again.")
    return WriteResult(
        replace(record(made, parent_id, ("body", "author", "created", "public")), correlation_key=correlation_key),
        created=True,
    )


def update(site: Site, external_id: str, values: Values, fields: Sequence[str]) -> WriteResult:
    body = {"body": _body(values)}
    path, circle = _path(site, external_id)
    if circle:
        body["visibility"] = circle  # ⚑ a comment is sent whole: without its circle it may be opened to all
    written = site.body(site.call("PUT", path, json=body, write=True))
    if not written.get("id"):
        raise Uncertain("Jira did not show the comment it changed. We look at it before anything is sent again.")
    return WriteResult(record(written, None, sorted({*fields, *values})))


def delete(site: Site, external_id: str) -> None:
    site.call("DELETE", _path(site, external_id)[0], write=True)


def own_recent(site: Site, account: str, since: str, fields: Sequence[str], where: str) -> list[Record]:
    """Comments of our account on issues changed since then."""
    from_ms = epoch_ms(since)
    jql = " AND ".join(filter(None, (where, f"updated >= {from_ms - 60_000}")))
    found: list[Record] = []
    for issues, _ in site.search(jql, size=PAGE):
        found += of_issues(site, [str(issue["id"]) for issue in issues], fields)
    return [
        one for one in found if one.created_by == account and one.created_at and epoch_ms(one.created_at) >= from_ms
    ]


def _path(site: Site, external_id: str) -> tuple[str, Any]:
    """(the path of a comment, the group or role that it is shown to)"""
    found = next((one for one in _shown(site, [external_id]) if str(one["id"]) == external_id), {})
    issue_id = _issue_in(found)
    if not issue_id:
        raise Gone("Jira shows no such comment. Nothing was changed. It was deleted, or is hidden.", certain=False)
    return f"issue/{segment(issue_id)}/comment/{segment(external_id)}", found.get("visibility")


def _body(values: Values) -> Any:
    others = sorted(set(values) - {"body"})
    if others:
        raise Refused("Only the text of a comment can be written.", dict.fromkeys(others, "It is read-only."))
    if not isinstance(values.get("body"), Mapping):
        raise Refused("A comment cannot be empty. Nothing was written.", {"body": "It cannot be empty."})
    return values["body"]
