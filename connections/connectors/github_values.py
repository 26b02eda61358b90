"""GitHub's issues and comments as records: normal forms, versions, and the hidden mark that carries our key. Pure.

GitHub gives an issue no version. Ours is a digest of everything a mapping can see of it, with the time of its last
change: it differs whenever a read would, wherever the issue is told (list, read, answer to a write, webhook).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

from connections.connectors.base import Record

# What GitHub takes: "title is too long (maximum is 256 characters)", 65,536 for a body, and our mark needs room.
TITLE_LENGTH = 256
BODY_LENGTH = 65_536 - 136
LABEL_LENGTH = 50
SHOWN_LENGTH = 80  # of a comment, as its title
ACCOUNT = "id:"
UNREADABLE = "unreadable"
STATES = {"open": "Open", "closed": "Closed"}
REASONS = {"completed": "Completed", "not_planned": "Not planned", "duplicate": "Duplicate"}
ISSUE_PEOPLE = ("assignee", "assignees", "author")
COMMENT_FIELDS = ("body", "author", "created", "edited")

_OF_PULL = re.compile(r"/pull/\d+(#|\Z)")  # a repository may be called "pull" as well
_MARK = re.compile(r"(?:\n\n)?<!-- syncadmin:(\S+) -->")


class Malformed(ValueError):
    """A part of an answer that is not what GitHub sends."""


# The hidden mark ------------------------------------------------------------------------------------------------


def marked(text: str | None, key: str | None) -> str:
    """`text` with the mark that names `key` below it; people see it only when they edit."""
    if not key:
        return text or ""
    mark = f"<!-- syncadmin:{quote(key, safe='').replace('--', '%2D%2D')} -->"
    return f"{text}\n\n{mark}" if text else mark


def unmarked(body: Any) -> tuple[str | None, str | None]:
    """(text without marks, key or None). Raises Malformed where it is no text."""
    if body is None:
        return None, None
    if not isinstance(body, str):
        raise Malformed("the body is no text")
    lines = one_sign(body)
    if "<!-- syncadmin:" not in lines:
        return lines or None, None
    keys = _MARK.findall(lines)
    return _MARK.sub("", lines) or None, unquote(keys[-1]) if keys else None


def one_sign(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


# Parts ----------------------------------------------------------------------------------------------------------


def moment(value: Any) -> str | None:
    """Raises Malformed for what is no time."""
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        raise Malformed("no time") from None
    if at.tzinfo is None:
        raise Malformed("a time without zone")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp(value: Any) -> str | None:
    try:
        return moment(value)
    except Malformed:
        return None


def label_names(issue: Mapping[str, Any]) -> list[str]:
    labels = issue.get("labels")
    if not isinstance(labels, list):
        raise Malformed("labels")
    return sorted({_text(one.get("name") if isinstance(one, Mapping) else one) for one in labels})


def assignees(issue: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Accounts, the one GitHub calls the assignee first."""
    found = issue.get("assignees")
    if not isinstance(found, list):
        if "assignee" not in issue:
            raise Malformed("assignees")
        only = issue["assignee"]
        found = [only] if only else []
    if not all(is_account(one) for one in found):
        raise Malformed("assignees")
    return found


def is_account(value: Any) -> bool:
    return isinstance(value, Mapping) and type(value.get("id")) is int and isinstance(value.get("login"), str)


def account_id(value: Any) -> str | None:
    return str(value["id"]) if is_account(value) else None


def login(value: Any) -> str | None:
    return str(value["login"]) if is_account(value) else None


def is_pull_request(issue: Mapping[str, Any]) -> bool:
    """GitHub lists pull requests among issues. Old servers name the key on each issue, with nothing in it."""
    told = issue.get("pull_request")
    return any(told.values()) if isinstance(told, Mapping) else bool(told)


def number_of(issue: Any) -> int | None:
    number = issue.get("number") if isinstance(issue, Mapping) else None
    return number if type(number) is int and number > 0 else None


def reason_of(issue: Mapping[str, Any]) -> str | None:
    """Why it was closed; an open issue has no such reason ("reopened" only says how it became open)."""
    if issue.get("state") != "closed" or issue.get("state_reason") is None:
        return None
    return REASONS.get(str(issue["state_reason"]), str(issue["state_reason"]))


def named(value: Any, key: str) -> str | None:
    """A milestone's title, a type's name. Raises Malformed."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise Malformed(key)
    return _text(value.get(key))


def version_of(issue: Mapping[str, Any]) -> str:
    milestone = issue.get("milestone")
    try:
        seen = [
            issue.get("number"),
            moment(issue.get("updated_at")),
            *(issue.get("title"), issue.get("body") or "", issue.get("state"), reason_of(issue)),
            *(label_names(issue), [one["id"] for one in assignees(issue)], bool(issue.get("locked"))),
            *(named(milestone, "title"), named(issue.get("type"), "name"), account_id(issue.get("user"))),
        ]
    except Malformed:
        return UNREADABLE
    return _digest(seen)


def _digest(seen: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:24]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise Malformed("no text")
    return value


# Records --------------------------------------------------------------------------------------------------------


def people_in(issue: Mapping[str, Any], fields: Sequence[str]) -> list[Mapping[str, Any]]:
    """The accounts whose person values the fields need."""
    found: list[Any] = [issue.get("user")] if "author" in fields else []
    if "assignee" in fields or "assignees" in fields:
        listed = issue.get("assignees")
        found += listed if isinstance(listed, list) else [issue.get("assignee")]
    return [one for one in found if is_account(one)]


def values_of(issue: Mapping[str, Any], people: Mapping[str, str]) -> dict[str, Any]:
    """{path: a function of no arguments that raises Malformed}. people: {account id: person value}."""

    def person(account: Any) -> str | None:
        if account is None:
            return None  # "ghost": the account was deleted
        if not is_account(account):
            raise Malformed("no account")
        return people.get(str(account["id"]), f"{ACCOUNT}{account['id']}")

    def state() -> str:
        return STATES[_one_of(issue.get("state"), STATES)]

    return {
        "number": lambda: number_of(issue),
        "title": lambda: one_sign(_text(issue.get("title"))),
        "body": lambda: unmarked(issue.get("body", issue))[0],  # absent is not empty
        "state": state,
        "state_reason": lambda: reason_of(issue),
        "labels": lambda: label_names(issue),
        "milestone": lambda: named(issue.get("milestone"), "title"),
        "assignee": lambda: person(next(iter(assignees(issue)), None)),
        "assignees": lambda: sorted({str(person(one)) for one in assignees(issue)}),
        "type": lambda: named(issue.get("type"), "name"),
        "locked": lambda: bool(issue.get("locked")),
        "author": lambda: person(issue.get("user")),
        "created": lambda: moment(issue.get("created_at")),
        "closed": lambda: moment(issue.get("closed_at")),
    }


def _one_of(value: Any, known: Mapping[str, str]) -> str:
    if value not in known:
        raise Malformed("no such value")
    return str(value)


def told(parts: Mapping[str, Any], fields: Sequence[str]) -> tuple[dict[str, Any], frozenset[str]]:
    """(values, unreadable) of the fields asked for: what is not as GitHub sends it is never taken for empty."""
    values: dict[str, Any] = {}
    for path in fields:
        try:
            if path in parts:
                values[path] = parts[path]()
        except Malformed:
            continue
    return values, frozenset(path for path in fields if path not in values)


def issue_record(
    repository: str,
    issue: Mapping[str, Any],
    fields: Sequence[str],
    people: Mapping[str, str],
    external_id: str | None = None,
) -> Record:
    """external_id: the number it had here, where it has moved to another repository."""
    values, unreadable = told(values_of(issue, people), fields)
    try:
        key = unmarked(issue.get("body"))[1]
    except Malformed:
        key = None
    title = issue.get("title")
    return Record(
        external_id=external_id or str(issue["number"]),
        version=version_of(issue),
        values=values,
        updated_at=stamp(issue.get("updated_at")),
        created_at=stamp(issue.get("created_at")),
        created_by=account_id(issue.get("user")),
        key=f"{repository}#{issue['number']}",
        title=title if isinstance(title, str) else None,
        correlation_key=key,
        unreadable=unreadable,
    )


def bare_record(item: Mapping[str, Any], external_id: str, version: str) -> Record:
    """What a list tells: that it may have changed. Lists lag, so they tell no values."""
    return Record(external_id, version, {}, updated_at=stamp(item.get("updated_at")))


def gone_record(external_id: str) -> Record:
    """GitHub says that it was deleted, for good."""
    return Record(external_id, "deleted", {}, deleted=True)


# Comments -------------------------------------------------------------------------------------------------------


def comment_id(comment: Any) -> int | None:
    id = comment.get("id") if isinstance(comment, Mapping) else None
    return id if type(id) is int and id > 0 else None


def of_pull_request(comment: Mapping[str, Any]) -> bool:
    return bool(_OF_PULL.search(str(comment.get("html_url") or "")))


def comment_version(comment: Mapping[str, Any]) -> str:
    at = stamp(comment.get("updated_at"))
    return _digest([comment.get("id"), at, comment.get("body") or ""]) if at else UNREADABLE


def comment_record(comment: Mapping[str, Any], fields: Sequence[str], people: Mapping[str, str]) -> Record:
    user = comment.get("user")

    def author() -> str | None:
        if user is None:
            return None
        if not is_account(user):
            raise Malformed("no account")
        return people.get(str(user["id"]), f"{ACCOUNT}{user['id']}")

    parts = {
        "body": lambda: unmarked(comment.get("body"))[0],
        "author": author,
        "created": lambda: moment(comment.get("created_at")),
        "edited": lambda: moment(comment.get("updated_at")),
    }
    values, unreadable = told(parts, fields)
    try:
        text, key = unmarked(comment.get("body"))
    except Malformed:
        text, key = None, None
    issue = re.search(r"/repos/([^/]+/[^/]+)/issues/(\d+)\Z", str(comment.get("issue_url") or ""))
    return Record(
        external_id=str(comment["id"]),
        version=comment_version(comment),
        values=values,
        updated_at=stamp(comment.get("updated_at")),
        created_at=stamp(comment.get("created_at")),
        created_by=account_id(user),
        key=f"{issue[1]}#{issue[2]}" if issue else None,
        title=(text or "").replace("\n", " ")[:SHOWN_LENGTH] or None,
        parent_id=issue[2] if issue else None,
        correlation_key=key,
        unreadable=unreadable,
    )
