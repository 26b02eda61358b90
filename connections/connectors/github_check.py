"""What "Test connection" finds out about a GitHub account."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from connections.connectors import github_auth as auth
from connections.connectors.base import CheckResult, Gone, NotAllowed, Refused
from connections.connectors.github_site import MOVED, Site, rows_in
from connections.connectors.http import Answer

ONE_ROW = {"state": "all", "per_page": "1"}


def check(site: Site, has_webhook_secret: bool) -> CheckResult:
    """Raises NeedsAuthorization where the sign-in fails."""
    site.forget()
    started = time.time()
    me = site.me()
    repositories = site.repositories()
    missing: list[str] = []
    notes = [
        "GitHub cannot refuse a write to an issue that somebody else just changed: we read again right before writing."
    ]
    personal = False
    answer = site.call("GET", "/rate_limit", ok=(404,))  # a server of one's own may have no limits, and says 404
    offset = _clock_offset(answer, started)
    for name in repositories:
        try:
            repository = site.repository(name)
            listed = site.call("GET", site.path(name, "issues"), params=ONE_ROW)
            if listed.status not in MOVED:
                rows_in(listed)
        except (NotAllowed, Gone, Refused) as error:
            missing.append(f"Issues of {name}: {error.message}")
            continue
        missing += _rights(site, name, repository)
        ours = {"assignee": str(me["login"]), "state": "open", "per_page": "1"}
        personal = personal or bool(me.get("type") != "Bot" and _assigned(site, name, ours))
    if not has_webhook_secret:
        notes.append(
            "No webhook secret is set: a webhook that proves nothing is a hint at most. Set one here and at GitHub."
        )
    ends = answer.headers.get("GitHub-Authentication-Token-Expiration", "")
    if ends:
        notes.append(f"The token ends on {ends[:10]}. Make a new one before, or syncing stops that day.")
    return CheckResult(
        account_id=str(me["id"]),
        account_name=f"{me['name']} ({me['login']})" if me.get("name") else str(me["login"]),
        missing=missing,
        clock_offset=offset,
        rate_limit=_rate_limit(answer),
        notes=notes,
        personal_account=personal,
        tenant=urlsplit(site.base).netloc.lower(),
    )


def _assigned(site: Site, name: str, params: Mapping[str, str]) -> bool:
    """Work is assigned to people, not to an integration's account."""
    try:
        answer = site.call("GET", site.path(name, "issues"), params=params)
    except (NotAllowed, Gone, Refused):
        return False  # accounts that cannot be assigned to anything
    return isinstance(answer.json, list) and bool(answer.json)


def _rights(site: Site, name: str, repository: Mapping[str, Any]) -> list[str]:
    found = []
    if repository.get("has_issues") is False:
        found.append(f"Issues in {name}: Settings → General → Features → Issues")
    if repository.get("archived"):
        found.append(f"{name} is archived, so nothing can be written: Settings → General → Danger zone → Unarchive")
    if not auth.may_triage(site.context, repository):
        found.append(
            f"Role Triage or Write in {name} (Settings → Collaborators and teams): without it GitHub leaves out "
            "labels, milestone and assignees, and takes edits of our own issues only"
        )
    return found


def _clock_offset(answer: Answer, started: float) -> float | None:
    """Seconds their clock is ahead. Their time has whole seconds, cut off, hence the half."""
    if answer.date is None:
        return None
    return round(answer.date.timestamp() + 0.5 - (started + time.time()) / 2, 1)


def _rate_limit(answer: Answer) -> str:
    most, left = answer.headers.get("X-RateLimit-Limit"), answer.headers.get("X-RateLimit-Remaining")
    if not most:
        return "This server sets our account no limit of calls."
    return f"{most} calls an hour, of which {left} are left; answers that nothing changed are not counted."
