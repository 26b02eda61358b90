"""The scope of a mapping's Jira side: {"project": "SUP", "issue_types": ["Bug"], "jql": "labels = customer"}. Pure."""

from __future__ import annotations

import re
from typing import Any

from connections.connectors.base import Record, Refused, Values
from connections.connectors.jira_values import quoted

STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')


def tidy(scope: Values) -> dict[str, Any]:
    """The scope without what says nothing; issue types as a list (forms send text)."""
    types = scope.get("issue_types") or []
    if isinstance(types, str):
        types = [part.strip() for part in types.split(",") if part.strip()]
    found = {"project": str(scope.get("project") or "").strip().upper(), "issue_types": list(types)}
    found["jql"] = str(scope.get("jql") or "").strip()
    return {name: value for name, value in found.items() if value}


def scope_jql(scope: Values) -> str:
    """The scope as a JQL condition; "" for everything. Raises Refused on JQL that would reach beyond its place."""
    scope = tidy(scope)
    parts = []
    if "project" in scope:
        parts.append(f"project = {quoted(scope['project'])}")
    if "issue_types" in scope:
        parts.append(f"issuetype in ({', '.join(quoted(name) for name in scope['issue_types'])})")
    if "jql" in scope:
        bare = STRINGS.sub("", scope["jql"])
        if not _closed(bare):
            raise Refused(
                "The scope's JQL has a quote or bracket without its partner, so it would reach beyond the project. "
                "Nothing was read. Correct the condition."
            )
        if re.search(r"\border\s+by\b", bare, re.IGNORECASE):
            raise Refused("The scope's JQL holds ORDER BY. Nothing was read. Take it out: the order is ours to choose.")
        parts.append(f"({scope['jql']})")
    return " AND ".join(parts)


def _closed(bare: str) -> bool:
    depth = 0
    for sign in re.findall(r"[()\"']", bare):
        depth += {"(": 1, ")": -1}.get(sign, -len(bare))
        if depth < 0:
            return False
    return depth == 0


def admits(record: Record, scope: Values) -> bool | None:
    """Whether the scope lets an issue in, judged from its record alone; None if only Jira can tell.

    ⚑ That another word stands there tells nothing: Jira takes the name of a type in any letters, or its id, and a
    project may have got another key since the scope was written.
    """
    scope = tidy(scope)
    if not scope:
        return True
    if scope.get("jql") or not record.key:
        return None
    if scope.get("project") and record.key.rpartition("-")[0] != scope["project"]:
        return None
    if scope.get("issue_types") and record.values.get("issuetype") not in scope["issue_types"]:
        return None
    return True
