"""Comments of issues, as records with a parent. GitHub lists those of pull requests among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connections.connectors import github_people as people
from connections.connectors.base import Gone, Page, Record, Refused, Values, WriteResult
from connections.connectors.github_listing import changes as listed_changes
from connections.connectors.github_site import MOVED, Site, unknown
from connections.connectors.github_values import (
    BODY_LENGTH,
    bare_record,
    comment_id,
    comment_record,
    comment_version,
    is_account,
    marked,
    of_pull_request,
    stamp,
    unmarked,
)
from connections.connectors.github_writes import number

PATH = ("issues", "comments")
NEWEST = {"sort": "created", "direction": "desc"}


def read(site: Site, repository: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for id in dict.fromkeys(ids):
        try:
            comment = _now(site, repository, id)
        except Gone:
            continue
        if not of_pull_request(comment):
            found[id] = _record(site, comment, fields)
    return found


def of_issues(site: Site, repository: str, parents: Sequence[str], fields: Sequence[str]) -> dict[str, list[Record]]:
    """Oldest first."""
    found: dict[str, list[Record]] = {}
    for parent in parents:
        try:
            issue = number(parent)
            pages = site.pages(repository, "issues", issue, "comments", one=f"issue {repository}#{issue}")
            found[parent] = [_record(site, _checked(row), fields) for page in pages for row in page]
        except Gone:
            found[parent] = []
    return found


def changes(site: Site, repository: str, watermark: str | None) -> Iterator[Page]:
    def record(row: Mapping[str, Any]) -> Record | None:
        if of_pull_request(row):
            return None
        return bare_record(row, str(_checked(row)["id"]), comment_version(row))

    yield from listed_changes(site, repository, PATH, {}, watermark, record)


def ids(site: Site, repository: str) -> Iterator[list[str]]:
    for page in site.pages(repository, *PATH):
        yield [str(_checked(row)["id"]) for row in page if not of_pull_request(row)]


def recent(site: Site, repository: str, since: str, fields: Sequence[str]) -> Iterator[Record]:
    """Those made since then, newest first."""
    for page in site.pages(repository, *PATH, params=NEWEST):
        for row in page:
            if (stamp(row.get("created_at")) or since) < since[:19]:
                return
            if not of_pull_request(row):
                yield _record(site, _checked(row), fields)


def create(site: Site, repository: str, values: Values, key: str, parent_id: str | None) -> WriteResult:
    if not parent_id:
        raise Refused("A comment needs its issue. Nothing was written. Link the issue first.")
    issue = number(parent_id)
    body = {"body": marked(_text(values), key)}
    one = f"issue {repository}#{issue}"
    made = site.write("POST", repository, "issues", issue, "comments", json=body, one=one, sent=["body"]).json
    if comment_id(made) is None:
        raise unknown(True)
    return WriteResult(comment_record(made, ("body", "author", "created"), {}), created=True)


def update(site: Site, repository: str, external_id: str, values: Values, fields: Sequence[str]) -> WriteResult:
    text = _text(values)
    before = _now(site, repository, external_id)
    held, key = unmarked(before.get("body"))
    # ⚑ Asked for now: what fails after the write would tell of it as if it were not.
    known = _known(site, before) if "author" in fields else {}
    answer = _write(site, repository, external_id, "PATCH", {"body": marked(text, key)})
    if str(comment_id(answer)) != external_id:
        raise unknown(True)
    record = comment_record(answer, [*dict.fromkeys([*fields, *values])], known)
    return WriteResult(record, replaced={"body": held})


def write_key(site: Site, repository: str, external_id: str, key: str) -> None:
    held, _ = unmarked(_now(site, repository, external_id).get("body"))
    _write(site, repository, external_id, "PATCH", {"body": marked(held, key)})


def delete(site: Site, repository: str, external_id: str) -> None:
    _write(site, repository, external_id, "DELETE", None)


def _write(site: Site, repository: str, external_id: str, method: str, body: Any) -> Any:
    id = number(external_id)
    return site.write(
        method, repository, *PATH, id, json=body, one=f"comment {external_id}", sent=["body"] if body else []
    ).json


def _now(site: Site, repository: str, external_id: str) -> Mapping[str, Any]:
    one = f"comment {external_id}"
    path = (*PATH, number(external_id))
    answer = site.read(site.path(repository, *path), one=one)
    if answer.status in MOVED and site.renamed(repository):
        answer = site.read(site.path(repository, *path), one=one)
    if answer.status in MOVED:
        raise site.moved(one)
    if str(comment_id(answer.json)) != external_id:
        raise unknown(False)
    found: Mapping[str, Any] = answer.json
    return found


def _checked(row: Mapping[str, Any]) -> Mapping[str, Any]:
    if comment_id(row) is None:
        raise unknown(False)
    return row


def _record(site: Site, comment: Mapping[str, Any], fields: Sequence[str]) -> Record:
    return comment_record(comment, fields, _known(site, comment) if "author" in fields else {})


def _known(site: Site, comment: Mapping[str, Any]) -> dict[str, str]:
    author = comment.get("user")
    return people.values(site, [author] if isinstance(author, Mapping) and is_account(author) else [])


def _text(values: Values) -> str:
    others = sorted(set(values) - {"body"})
    if others:
        raise Refused("Only the text of a comment can be written.", dict.fromkeys(others, "It is read-only."))
    text = values.get("body")
    if not isinstance(text, str) or not text.strip():
        raise Refused("A comment cannot be empty. Nothing was written.", {"body": "It cannot be empty."})
    if len(text) > BODY_LENGTH:
        why = f"A comment holds {BODY_LENGTH} characters; the text has {len(text)}."
        raise Refused(f"{why} Nothing was written.", {"body": why})
    return text
