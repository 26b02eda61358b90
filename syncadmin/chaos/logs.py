"""What the oracle may read: the stand-ins' logs of accepted writes, our audit log, and what people are asked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from syncadmin.chaos import database
from syncadmin.demo.child import Demo

SIDES = {"left": "jira", "right": "salesforce"}
# Every value an editor writes holds one: what it is of, who wrote it, its number.
TOKEN = re.compile(r"\b(?:title|text|ref|typed)-[lrx]-\d+\b")
AUDIT = (
    'SELECT id, action, code, link_id, operation_id, object_label, field_label, side, "values", params, actor_kind '
    "FROM sync_auditentry ORDER BY id"
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """One accepted write of one field."""

    side: str
    number: int  # order within the side
    at: float
    account: str
    record: str
    verb: str
    field: str
    before: str  # as `said`
    after: str

    def line(self) -> str:
        return (
            f"{self.side} #{self.number} {self.at:.3f} {self.account} {self.verb} {self.record}.{self.field}: "
            f"{self.before!r} → {self.after!r}"
        )


@dataclass(frozen=True, slots=True)
class Told:
    """One line of our audit log."""

    number: int
    action: str
    code: str
    link: int | None
    operation: int | None
    label: str
    field: str
    side: str
    before: Any
    after: Any
    params: Mapping[str, Any]
    by_person: bool

    def line(self) -> str:
        values = f"{said(self.before)!r} → {said(self.after)!r}"
        return f"audit #{self.number} {self.action}/{self.code} {self.label} {self.field} {self.side}: {values}"


def said(value: Any) -> str:
    """What a value says, the same for every system's form: a token if it holds one, else its text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return f"{value:.12g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    found = TOKEN.search(text)
    return found.group() if found else text


def accepted(demo: Demo, side: str) -> list[Accepted]:
    return [
        Accepted(
            side,
            line["number"],
            line["at"],
            line["account"],
            line["record"],
            line["verb"],
            line["field"],
            said(line["before"]),
            said(line["after"]),
        )
        for line in demo.accepted(SIDES[side])
    ]


def audit(demo: Demo) -> list[Told]:
    return [_told(row) for row in database.rows(demo, AUDIT)]


def _told(row: database.Row) -> Told:
    number, action, code, link, operation, label, field, side, values, params, kind = row
    both = _document(values) or {}
    told = _document(params) or {}
    return Told(
        number,
        action,
        code,
        link,
        operation,
        label,
        field,
        side,
        both.get("before"),
        both.get("after"),
        told,
        kind == "person",
    )


def _document(value: Any) -> Any:
    """JSON columns are text in SQLite and documents in PostgreSQL."""
    return json.loads(value) if isinstance(value, str | bytes) else value


def asked(demo: Demo) -> list[dict[str, Any]]:
    """What people are shown as waiting for them: `manage.py conflicts --json`."""
    done = demo.command("conflicts", "--json")
    if done.returncode:
        raise OSError(done.stderr or done.stdout)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found
