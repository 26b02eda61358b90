"""What "Test connection" finds out about a Jira account."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from connections.connectors.base import CheckResult, ConnectorError, NeedsAuthorization, NotAllowed, Refused
from connections.connectors.jira_site import Site, segment
from connections.connectors.jira_values import parsed_time

PROJECT_MENU = "Project settings → Permissions"
GLOBAL_MENU = "Jira settings → System → Global permissions"
# project/search tells only these of a project's permissions apart.
ACTIONS = {"create": "Create issues"}


def check(site: Site, has_webhook_secret: bool) -> CheckResult:
    """Raises the error of the sign-in; permissions that cannot be asked for are left out, never guessed."""
    myself = site.get("myself")
    account = str(myself.get("accountId") or "")
    before = time.time()
    info = site.get("serverInfo")
    ours = (before + time.time()) / 2
    theirs = parsed_time(info.get("serverTime"))
    missing = _missing(site)
    notes = [
        "Jira cannot refuse a write to an issue that somebody else just changed: we read again right before writing, "
        "and where a write of ours replaced an edit all the same, Jira's history tells and a person is asked.",
    ]
    if not has_webhook_secret:
        notes.append(
            "No webhook secret is set: a webhook that proves nothing is a hint at most, and a deletion is not believed "
            "at once. Set one here and in Jira settings → System → WebHooks."
        )
    return CheckResult(
        account_id=account,
        account_name=str(myself.get("displayName") or account),
        missing=missing,
        clock_offset=round(theirs.timestamp() - ours, 3) if theirs else None,
        rate_limit="Jira allows bursts and says in each refusal how long to wait; we keep to 10 calls a second.",
        notes=notes,
        personal_account=myself.get("accountType") == "atlassian" and _used_by_a_person(site),
        tenant=urlsplit(str(info.get("baseUrl") or site.context.address)).netloc.lower(),
    )


def _missing(site: Site) -> list[str]:
    missing = []
    if not site.get("project/search", maxResults=1).get("values"):
        return [f"Browse projects ({PROJECT_MENU})"]
    for action, name in ACTIONS.items():
        try:
            if not site.get("project/search", maxResults=1, action=action).get("values"):
                missing.append(f"{name} ({PROJECT_MENU})")
        except Refused:
            continue  # this site does not know the filter
    try:
        if not site.entries("users/search", maxResults=2):
            missing.append(f"Browse users and groups ({GLOBAL_MENU})")
    except NotAllowed:
        missing.append(f"Browse users and groups ({GLOBAL_MENU})")
    return missing + _missing_on_an_issue(site)


def _missing_on_an_issue(site: Site) -> list[str]:
    """Editing and transitions, as the newest issue we see offers them."""
    issues, _ = next(site.search("created >= 0 ORDER BY created DESC", ["status"], size=1, expand="transitions"))
    if not issues:
        return []
    missing = []
    try:
        if not site.get(f"issue/{segment(issues[0]['id'])}/editmeta").get("fields"):
            missing.append(f"Edit issues ({PROJECT_MENU})")
    except NotAllowed:
        missing.append(f"Edit issues ({PROJECT_MENU})")
    if not issues[0].get("transitions"):
        missing.append(f"Transition issues ({PROJECT_MENU})")
    return missing


def _used_by_a_person(site: Site) -> bool:
    """Work is assigned to people, not to an integration's account."""
    try:
        issues, _ = next(site.search("assignee = currentUser() AND statusCategory != Done", size=1))
    except NeedsAuthorization:
        raise
    except ConnectorError:
        return False
    return bool(issues)
