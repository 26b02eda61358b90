"""Is a delivery our own write coming back? Pure.

The account alone proves nothing: a person may use it too. A verified delivery by our account proves an echo if it tells
of the record we made, names the very version we read back, or says of every changed field what the ledger sent. What
is wrongly taken for an echo is still found by the next poll.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connections.connectors.base import Hint

# An own write comes back within moments; later the same values may be somebody's decision.
ECHO_SECONDS = 60


def told_by(hint: Hint) -> dict[str, Any] | None:
    """What of a hint can prove an echo, as JSON; None if nothing can."""
    if not hint.verified or not hint.own_account or hint.deleted:
        return None
    return {"version": hint.version, "created": hint.created, "changes": dict(hint.changes) if hint.changes else None}


def proves_echo(told: Mapping[str, Any], *, created: bool, sent: Mapping[str, Any], version: str) -> bool:
    """`created`: our last write made the record; `sent`: {path: value read back}; `version`: as read back."""
    if told.get("created"):
        return created
    if told.get("version") is not None and told["version"] == version:
        return True
    changes = told.get("changes") or {}
    return bool(changes) and all(path in sent and sent[path] == value for path, value in changes.items())
