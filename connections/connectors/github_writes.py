"""Writes to issues: each answers with the issue. Some have to look first, which an ETag makes free.

GitHub leaves out without a word what our account may not set, and ignores a reason where the state does not change.
So what can be known before is refused before, by name, and what comes back is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from connections.connectors import github_auth as auth
from connections.connectors import github_fields as described
from connections.connectors import github_history as history
from connections.connectors import github_people as people
from connections.connectors.base import Gone, NotAllowed, RateLimited, Record, Refused, Uncertain, Values, WriteResult
from connections.connectors.github_errors import LIMIT_WAIT
from connections.connectors.github_site import Site, graphql_address, unknown
from connections.connectors.github_values import (
    BODY_LENGTH,
    LABEL_LENGTH,
    REASONS,
    STATES,
    TITLE_LENGTH,
    UNREADABLE,
    Malformed,
    assignees,
    issue_record,
    label_names,
    marked,
    named,
    number_of,
    one_sign,
    people_in,
    told,
    unmarked,
    values_of,
    version_of,
)

WRITABLE = ("title", "body", "state", "state_reason", "labels", "milestone", "assignee", "assignees", "type")
# What a new issue is told with: the caller compares also what it did not send.
TOLD_OF_NEW = (*WRITABLE, "number", "created", "closed", "locked")
# The body has our mark in it, a reason goes with a change of state, one of several assignees cannot be replaced.
LOOK_FIRST = frozenset({"body", "state_reason", "assignee"})
LEFT_OUT = (
    "GitHub answered as if it had written this, and left it as it was: so it does with what our account may not set. "
    "Give our account the role Triage or Write in the repository."
)
DELETE = "mutation($id: ID!) { deleteIssue(input: {issueId: $id}) { clientMutationId } }"


def number(external_id: str) -> int:
    """Raises Gone for what is no issue's number."""
    if not (external_id.isascii() and external_id.isdecimal() and not external_id.startswith("0")):
        raise Gone(f"“{external_id}” is no issue number; there can be no such issue.", certain=False)
    return int(external_id)


def create(
    site: Site, repository: str, values: Values, key: str, labels: Sequence[str], kind: str, fields: Sequence[str]
) -> WriteResult:
    """labels, kind: those by which the mapping's scope finds the issue again."""
    site.repository(repository)
    if labels or kind:
        _check_filter(site, repository)
    paths = [*dict.fromkeys([*fields, *values, *TOLD_OF_NEW])]
    sent = _body(site, repository, values, creating=True)
    body = {**sent, "body": marked(sent.get("body"), key)}
    if labels:
        body["labels"] = sorted({*body.get("labels", []), *labels})
    if kind and not body.get("type"):
        body["type"] = kind
    if "author" in paths:
        people.values(site, [site.me()])  # asked for now: what fails after the write makes it uncertain
    answer = site.write("POST", repository, "issues", json=body, sent=list(values))
    if number_of(answer.json) is None or version_of(answer.json) == UNREADABLE:
        raise unknown(True)
    record = _record(site, repository, answer.json, paths)
    missing = _left_out(answer.json, values, sent, creating=True)
    return WriteResult(record, created=True, on_the_way=_still(record, missing))


def update(site: Site, repository: str, external_id: str, values: Values, fields: Sequence[str]) -> WriteResult:
    issue = number(external_id)
    site.repository(repository)
    body = _body(site, repository, values)
    paths = [*dict.fromkeys([*fields, *values])]
    one = f"issue {repository}#{issue}"
    replaced: Values = {}
    # ⚑ All that has to be asked for is asked now: what fails after the write would tell of it as if it were not.
    told_after = [path for path in values if path in history.TOLD]
    me = site.my_id() if told_after else ""
    if LOOK_FIRST & set(values):
        before = _now(site, repository, issue)
        _reason(before, values, body)
        _only_assignee(before, values)
        if "body" in values:
            body["body"] = marked(values["body"], unmarked(before.get("body"))[1])
        replaced = told(values_of(before, people.values(site, people_in(before, paths))), list(values))[0]
    answer = site.write("PATCH", repository, "issues", issue, json=body, one=one, sent=list(values))
    if number_of(answer.json) != issue or version_of(answer.json) == UNREADABLE:
        raise unknown(True)
    record = _record(site, repository, answer.json, paths)  # what of it cannot be understood is uncertain, not refused
    missing = _left_out(answer.json, values, body)
    if missing and len(missing) == len(values):
        raise Refused(LEFT_OUT, dict.fromkeys(missing, LEFT_OUT))
    if told_after:
        replaced = {**replaced, **_overwritten(site, repository, issue, answer.json, told_after, me)}
    return WriteResult(record, on_the_way=_still(record, missing), replaced=replaced)


def write_key(site: Site, repository: str, external_id: str, key: str) -> None:
    issue = number(external_id)
    site.repository(repository)
    before = _now(site, repository, issue)
    body = marked(unmarked(before.get("body"))[0], key)
    site.write("PATCH", repository, "issues", issue, json={"body": body}, one=f"issue {repository}#{issue}")


def delete(site: Site, repository: str, external_id: str) -> None:
    """The REST interface deletes no issues; the other one does, for administrators of the repository."""
    site.repository(repository)
    issue = _now(site, repository, number(external_id))
    variables = {"id": str(issue.get("node_id") or "")}
    one = f"issue {repository}#{external_id}"
    body = {"query": DELETE, "variables": variables}
    answer = site.call("POST", graphql_address(site.base), json=body, write=True, one=one).json
    if not isinstance(answer, Mapping):
        raise unknown(True)
    errors = [error for error in answer.get("errors") or [] if isinstance(error, Mapping)]
    # This interface answers 200 also where it asks us to wait, and where it does not know how far it came.
    if any(error.get("type") == "RATE_LIMITED" for error in errors):
        raise RateLimited("GitHub asks us to wait. Nothing was deleted, and nothing is lost.", after=LIMIT_WAIT)
    if any(not error.get("type") and not error.get("extensions") for error in errors):
        raise unknown(True)
    said = "; ".join(str(error.get("message")) for error in errors)
    if any(error.get("type") == "NOT_FOUND" for error in errors):
        raise Gone(f"GitHub shows no {one}. Nothing was changed.", certain=False)
    if errors:
        raise NotAllowed(
            f"GitHub says: {said}. Nothing was deleted. Deleting issues needs an administrator of the repository; or "
            "let the mapping close them."
        )
    data = answer.get("data")
    if not isinstance(data, Mapping) or "deleteIssue" not in data:
        raise unknown(True)


# What is sent -------------------------------------------------------------------------------------------------------


def _body(site: Site, repository: str, values: Values, creating: bool = False) -> dict[str, Any]:
    """`values` in GitHub's words. Raises Refused, naming every field that it would not take as it is."""
    body: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for path, value in values.items():
        try:
            if path not in WRITABLE or (creating and path in ("state", "state_reason")):
                raise ValueError(f"{path} cannot be written.")
            name, sent = _sent(site, repository, path, value)
            body[name] = sent
        except ValueError as error:
            refused[path] = str(error)
    if {"assignee", "assignees"} <= set(values):
        refused["assignee"] = "Assignee and all assignees are one field at GitHub; map one of the two."
    if creating and not values.get("title"):
        refused["title"] = "The title must not be empty."
    if refused:
        raise Refused(f"{' '.join(refused.values())} Nothing was written. Change the value or the mapping.", refused)
    return body


def _check_filter(site: Site, repository: str) -> None:
    """⚑ Raises NotAllowed where a new issue would lie outside the mapping's scope, and nothing would flow any more."""
    if any(auth.may_triage(site.context, site.repository(repository, fresh)) for fresh in (False, True)):
        return
    raise NotAllowed(
        "The mapping's scope asks for labels or a type, and GitHub leaves out of a new issue what our account may not "
        f"set. Nothing was written. Give our account the role Triage or Write in {repository}, or take these out of "
        "the scope of the mapping."
    )


def _sent(site: Site, repository: str, path: str, value: Any) -> tuple[str, Any]:
    """(GitHub's name, value). Raises ValueError with the reason."""
    match path:
        case "title":
            return path, _title(value)
        case "body":
            if value is not None and not isinstance(value, str):
                raise ValueError("The description is Markdown, and this is no text.")
            if len(value or "") > BODY_LENGTH:
                raise ValueError(f"The description holds {BODY_LENGTH} characters; the text has {len(value or '')}.")
            return path, value or ""
        case "state":
            return path, _chosen(value, STATES, "State")
        case "state_reason":
            return path, _chosen(value, REASONS, "Reason for closing") if value is not None else None
        case "labels":
            return path, _labels(value)
        case "milestone":
            return path, _milestone(site, repository, value)
        case "type":
            if value is not None and value not in described.types(site, repository):
                raise ValueError(f"The organisation has no issue type {value}.")
            return path, value
    many = [value] if path == "assignee" and value is not None else value or []
    if not isinstance(many, list) or len(many) > people.MOST_ASSIGNEES:
        raise ValueError(f"An issue has {people.MOST_ASSIGNEES} assignees at most.")
    logins = []
    for one in many:
        login = people.login_of(site, repository, str(one))
        if isinstance(login, Refused):
            raise ValueError(login.message)
        logins.append(login)
    return "assignees", logins


def _title(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    if not text.strip():
        raise ValueError("The title must not be empty.")
    if "\n" in one_sign(text):
        raise ValueError("A title is one line.")
    if len(text) > TITLE_LENGTH:
        raise ValueError(f"The title holds {TITLE_LENGTH} characters; the text has {len(text)}.")
    return text


def _chosen(value: Any, known: Mapping[str, str], label: str) -> str:
    for stored, name in known.items():
        if isinstance(value, str) and value.casefold() in (stored, name.casefold()):
            return stored
    raise ValueError(f"{label} can be {', '.join(known.values())}; it cannot be {value or 'empty'}.")


def _labels(value: Any) -> list[str]:
    names = value or []
    if not isinstance(names, list) or not all(isinstance(one, str) and one.strip() for one in names):
        raise ValueError("Labels are texts.")
    long = [one for one in names if len(one) > LABEL_LENGTH]
    if long:
        raise ValueError(f"A label holds {LABEL_LENGTH} characters: {long[0]}.")
    return list(names)


def _milestone(site: Site, repository: str, value: Any) -> int | None:
    if value is None:
        return None
    found = described.milestones(site, repository).get(str(value))
    found = found or described.milestones(site, repository, fresh=True).get(str(value))
    if found is None:
        raise ValueError(f"The repository has no milestone {value}. Make it at GitHub first.")
    return found


# What is there ------------------------------------------------------------------------------------------------------


def _now(site: Site, repository: str, issue: int) -> Mapping[str, Any]:
    """The issue right before we write. Raises Gone."""
    found, where = site.issue(repository, issue)
    if where != repository or number_of(found) != issue:
        raise site.moved(f"issue {repository}#{issue}")
    return found


def _reason(before: Mapping[str, Any], values: Values, body: dict[str, Any]) -> None:
    """GitHub takes a reason only with a change of state. Raises Refused where it would be ignored."""
    if "state_reason" not in values:
        return
    state = str(body.get("state", before.get("state")))
    changes = state != before.get("state")
    wanted, there = body.pop("state_reason"), before.get("state_reason")
    why = ""
    if state == "open" and wanted is not None:
        why = "An open issue has no reason for closing."
    elif state == "closed" and changes and wanted is not None:
        body["state_reason"] = wanted
    elif state == "closed" and not changes and wanted != there:
        why = "GitHub takes another reason only when an issue is closed anew. Reopen it first."
    if why:
        raise Refused(f"{why} Nothing was written.", {"state_reason": why})


def _only_assignee(before: Mapping[str, Any], values: Values) -> None:
    if "assignee" not in values:
        return
    try:
        there = assignees(before)
    except Malformed:
        there = []
    if len(there) > 1:
        why = f"{len(there)} people are assigned at GitHub, and all but one would be taken off. Map all assignees."
        raise Refused(f"{why} Nothing was written.", {"assignee": why})


def _left_out(issue: Mapping[str, Any], values: Values, body: Mapping[str, Any], creating: bool = False) -> list[str]:
    """The fields that GitHub did not set, though it answered as if it had. A new issue may hold more than was sent."""
    milestone = issue.get("milestone")
    there: dict[str, Callable[[], Any]] = {
        "labels": lambda: {name.casefold() for name in label_names(issue)},
        "assignees": lambda: {str(one["login"]).casefold() for one in assignees(issue)},
        "milestone": lambda: milestone.get("number") if isinstance(milestone, Mapping) else None,
        "type": lambda: named(issue.get("type"), "name"),
        "state": lambda: issue.get("state"),
        "state_reason": lambda: issue.get("state_reason"),
    }
    missing = []
    for path in values:
        name = "assignees" if path == "assignee" else path
        if name not in there or name not in body or (creating and not body[name]):
            continue
        wanted, held = body[name], there[name]()
        if isinstance(wanted, list):
            wanted = set(map(str.casefold, wanted))
            held = held & wanted if creating else held
        if wanted != held:
            missing.append(path)
    return missing


def _still(record: Record, missing: Sequence[str]) -> Values:
    """⚑ What the fields say that were left out. They are sent once more, alone, so that a person is asked; else their
    old values would look like edits made at GitHub, and go over those that were sent. What did arrive is told as
    written: a refusal of the whole would hide it, and what it replaced."""
    return {path: record.values[path] for path in missing if path in record.values}


def _overwritten(
    site: Site, repository: str, number: int, issue: Mapping[str, Any], paths: Sequence[str], me: str
) -> dict[str, Any]:
    """What others wrote and this write replaced. A look that fails leaves the write in doubt: whoever finds out what
    became of it asks the history as well."""
    try:
        return history.overwritten(site, repository, number, issue, paths, me)
    except Exception as error:
        raise _taken_and_then(error) from error


def _taken_and_then(error: Exception) -> Uncertain:
    return Uncertain(f"GitHub took the write, and then {error} We look before anything is sent again.")


def _record(site: Site, repository: str, issue: Mapping[str, Any], paths: Sequence[str]) -> Record:
    """The read-back. The write is done: what fails now must not look as if it were not."""
    try:
        return issue_record(repository, issue, paths, people.values(site, people_in(issue, paths)))
    except Exception as error:
        raise _taken_and_then(error) from error
