"""What "Test connection" finds out about a Zendesk account."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from connections.connectors.base import CheckResult, ConnectorError, Gone, NotAllowed, Refused
from connections.connectors.http import Answer
from connections.connectors.zendesk_desk import Desk
from connections.connectors.zendesk_errors import ExportLimited
from connections.connectors.zendesk_export import TICKETS, TOO_RECENT_SECONDS

TEAM = "Admin Center → People → Team members → our account → Role"


def check(desk: Desk, signed: bool) -> CheckResult:
    """signed: whether a signing secret of the webhook is known. Raises NeedsAuthorization where the sign-in fails."""
    desk.forget()
    started = time.time()
    answer = desk.call("GET", "users/me")
    me = desk.me()
    missing = []
    if me["role"] not in ("admin", "agent"):
        missing.append(f"Agent: our account is {me['role'] or 'no agent'}, and only agents see tickets. ({TEAM})")
    now = int(answer.date.timestamp()) if answer.date else int(started)
    for path, params, what in (
        (TICKETS, {"start_time": str(now - TOO_RECENT_SECONDS)}, "Incremental export of tickets, for administrators"),
        ("ticket_fields", {"page[size]": "1"}, "List ticket fields"),
        ("groups", {"page[size]": "1"}, "List groups"),
    ):
        try:
            desk.call("GET", path, params=params)
        except ExportLimited:
            continue  # it may be called, only not now
        except (NotAllowed, Gone, Refused) as error:
            missing.append(f"{what}: {error.message} ({TEAM})")
    notes = [
        "Zendesk hides changes of the last minute from its list: live updates come by the webhook.",
        "Zendesk refuses a write to a ticket that changed since we read it; it compares whole seconds.",
    ]
    if not signed:
        notes.append(
            "No webhook is registered: changes are found by polling alone, a minute late. Set one up on “Live changes”."
        )
    return CheckResult(
        account_id=me["id"],
        account_name=f"{me['name']} ({me['email']})" if me["name"] and me["email"] else me["name"] or me["id"],
        missing=missing,
        clock_offset=_clock_offset(answer, started),
        rate_limit=_rate_limit(answer),
        notes=notes,
        personal_account=_used_by_a_person(desk),
        tenant=urlsplit(desk.context.address).netloc.lower(),
    )


def _clock_offset(answer: Answer, started: float) -> float | None:
    """Seconds their clock is ahead. Their time has whole seconds, cut off, hence the half."""
    if answer.date is None:
        return None
    return round(answer.date.timestamp() + 0.5 - (started + started + answer.elapsed) / 2, 1)


def _rate_limit(answer: Answer) -> str:
    most = answer.headers.get("ratelimit-limit") or answer.headers.get("x-rate-limit")
    if most:
        return f"Zendesk takes {most} calls a minute from all who use this account, and ten for its list of changes."
    return "Zendesk names no limit of calls; it says so with each refusal."


def _used_by_a_person(desk: Desk) -> bool:
    """Tickets are assigned to people, not to an integration's account."""
    try:
        body = desk.call("GET", "search/count", params={"query": "type:ticket assignee:me status<solved"}).json
        return bool(body["count"] > 0)
    except (ConnectorError, KeyError, TypeError):
        return False
