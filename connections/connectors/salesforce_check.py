"""What "Test connection" finds out about a Salesforce org and the account we use there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from connections.connectors import salesforce_soql as soql
from connections.connectors.base import CheckResult, ConnectorError
from connections.connectors.http import Answer
from connections.connectors.salesforce_bell import REFUSED_STATE
from connections.connectors.salesforce_org import Org

# What is looked at where no mapping has told us yet which objects matter.
USUAL_OBJECTS = ("Case",)
# Below this share of the daily calls a busy day may stop the sync.
FEW_CALLS = 0.1
# A person who signed in with a browser this lately uses the account.
PERSONAL_DAYS = 30
OBJECT_SETTINGS = "Setup → Permission Sets → the integration user's set → Object Settings"


def check(org: Org) -> CheckResult:
    """Raises NeedsAuthorization where the sign-in fails, NotAllowed where the API is closed to the account."""
    started = time.time()
    limits = org.call("GET", f"{org.data}/limits")
    offset = _clock_offset(limits, started)
    account_id, account_name, tenant = _account(org)
    seen = {str(o["name"]): o for o in org.objects()}
    missing: list[str] = []
    notes: list[str] = []
    for name in [n for n in USUAL_OBJECTS if n in seen]:
        missing += _object_missing(org, name, seen[name])
        if f"{name}History" not in seen:
            notes.append(
                f"No history of {name} can be read, so the policy Newest goes by the times of whole records. Switch "
                f"field history on in Setup → Object Manager → {name} → Fields → Set History Tracking."
            )
    missing += [f"{n}: not visible. Give read access in {OBJECT_SETTINGS}." for n in USUAL_OBJECTS if n not in seen]
    for name in org.context.state.get(REFUSED_STATE, []):
        missing.append(f"Live changes of {name}: select it in Setup → Integrations → Change Data Capture.")
    notes.append("Edits are announced within a second or so; formula and roll-up fields change unannounced.")
    rate, few = _rate_limit(limits.json)
    if few:
        notes.append("Few API calls are left today. Nothing is lost when they run out; edits then wait.")
    return CheckResult(
        account_id=account_id,
        account_name=account_name,
        missing=missing,
        clock_offset=offset,
        rate_limit=rate,
        notes=notes,
        personal_account=_is_personal(org, account_id),
        tenant=tenant,
    )


def _account(org: Org) -> tuple[str, str, str]:
    """(user id, name with address, organization id)"""
    try:
        told = org.call("GET", "/services/oauth2/userinfo").json
        info: dict[str, Any] = told if isinstance(told, dict) else {}
    except ConnectorError:
        info = {}  # the connected app may leave this scope out; the token names user and org as well
    name = str(info.get("name") or "")
    login = str(info.get("preferred_username") or info.get("email") or "")
    shown = f"{name} ({login})" if name and login else name or login or org.user_id
    return (
        soql.long_id(str(info.get("user_id") or org.user_id)),
        shown,
        soql.long_id(str(info.get("organization_id") or org.organization_id)),
    )


def _object_missing(org: Org, name: str, seen: dict[str, Any]) -> list[str]:
    rights = {"createable": "Create", "updateable": "Edit"}
    missing = [f"{label} {name}: {OBJECT_SETTINGS} → {name}." for key, label in rights.items() if not seen.get(key)]
    shape = org.shape(name, fresh=True)
    key = shape.key_field
    if key is None:
        missing.append(
            f"Field {org.key_field} on {name}: in Setup → Object Manager → {name} → Fields & Relationships, make a "
            "text field of 64 characters with External ID and Unique ticked, and give the integration user edit "
            "access. Without it, a create that got no answer has to be looked for among our recent records."
        )
    elif key not in shape.columns or not shape.columns[key].shown.writable:
        missing.append(
            f"Edit access to {key} on {name}: Setup → Object Manager → {name} → Fields → Set Field-Level Security."
        )
    elif not shape.key_unique:
        missing.append(f"“Unique” on {key}: Setup → Object Manager → {name} → Fields & Relationships → {key} → Edit.")
    return missing


def _clock_offset(answer: Answer, started: float) -> float | None:
    """Seconds their clock is ahead. Their time has whole seconds, cut off, hence the half."""
    if answer.date is None:
        return None
    return round(answer.date.timestamp() + 0.5 - (started + time.time()) / 2, 1)


def _rate_limit(limits: Any) -> tuple[str, bool]:
    daily = limits.get("DailyApiRequests") if isinstance(limits, dict) else None
    most, left = (daily.get("Max"), daily.get("Remaining")) if isinstance(daily, dict) else (None, None)
    if not isinstance(most, int) or not isinstance(left, int):
        return "Salesforce does not tell this account its API limit.", False
    return f"{left:,} of {most:,} API calls are left in these 24 hours.", left < most * FEW_CALLS


def _is_personal(org: Org, account_id: str) -> bool:
    """Whether somebody signed in with a browser lately; unknown counts as no, because most accounts may not look."""
    query = (
        f"SELECT Id FROM LoginHistory WHERE UserId = {soql.text(account_id)} AND LoginType = 'Application'"  # noqa: S608
        f" AND LoginTime = LAST_N_DAYS:{PERSONAL_DAYS} LIMIT 1"
    )
    try:
        found: Sequence[Any] = org.rows(query)
    except ConnectorError:
        return False
    return bool(found)
