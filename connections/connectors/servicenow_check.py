"""What "Test connection" finds out about a ServiceNow account."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from connections.connectors import servicenow_attachments as attachments
from connections.connectors import servicenow_journal as journal
from connections.connectors import servicenow_query as query
from connections.connectors.base import CheckResult, ConnectorError, Gone, NotAllowed, Refused, Retry
from connections.connectors.http import Answer
from connections.connectors.servicenow_fields import KEY, plain
from connections.connectors.servicenow_instance import WHO_AM_I, Instance
from connections.connectors.servicenow_listing import Part, list_params, part_rows, table_path

ROLES = "User Administration → Users → our account → Roles"
ACLS = "System Security → Access Control (ACL)"
# What the connector reads beside the tables of a mapping: (table, what for).
BESIDE = (
    ("sys_db_object", "names of tables"),
    ("sys_dictionary", "their fields"),
    ("sys_choice", "their choice lists"),
    (journal.TABLE, "comments and work notes"),
    (attachments.TABLE, "attachments"),
)
HISTORY = ("sys_audit", "field history, by which the policy Newest decides")


def check(instance: Instance, log: bool, has_webhook_secret: bool) -> CheckResult:
    """log: whether deletions are read from the delete log. Raises NeedsAuthorization where the sign-in fails."""
    instance.forget()
    started = time.time()
    columns = ("sys_id", "user_name", "name", "email", "time_zone")
    answer = instance.call("GET", table_path("sys_user"), params=list_params(WHO_AM_I, columns, 2))
    offset = _clock_offset(answer, started)
    me = instance.me()
    tables = instance.tables()
    missing, readable = _missing(instance, tables, log)
    notes = [
        "ServiceNow cannot refuse a write to a record that somebody else just changed: we read again right before "
        "writing, and where a write of ours replaced an edit all the same, field history tells and a person is asked.",
    ]
    for table in readable:
        shape = instance.shape(table)
        if "sys_mod_count" not in shape.references:
            missing.append(f"sys_mod_count of {table}: without it no change is seen for certain. ({ACLS})")
        if not shape.key_field:
            notes.append(f"{shape.label} has no column {KEY}: a create without an answer is looked for among our own.")
        if log and shape.extended:
            notes.append(
                f"Other tables extend {shape.label} and log deletions by their own names: a complete listing every "
                "hour finds them."
            )
        elif log and not shape.audited:
            missing.append(
                f"“Audit” for {table}, or its deletions are not logged: System Definition → Dictionary → {table} → its "
                "entry of type Collection. Or choose “a complete listing every hour” under Deletions in the connection."
            )
    if readable:
        instance.prove_clock(readable[0])
    if not has_webhook_secret:
        notes.append(
            "No webhook secret is set: a webhook that proves nothing is a hint at most. Set one here and in ServiceNow."
        )
    return CheckResult(
        account_id=me["user_name"],
        account_name=f"{me['name']} ({me['email']})" if me["name"] and me["email"] else me["name"] or me["user_name"],
        missing=missing,
        clock_offset=offset,
        rate_limit=_rate_limit(answer),
        notes=notes,
        personal_account=_used_by_a_person(instance, readable, me["sys_id"]),
        tenant=urlsplit(instance.context.address).netloc.lower(),
    )


def _missing(instance: Instance, tables: Sequence[str], log: bool) -> tuple[list[str], list[str]]:
    """What cannot be read, and the tables that can."""
    beside = [*BESIDE, HISTORY, *([("sys_audit_delete", "deleted records")] if log else [])]
    asked = [*((table, "") for table in tables), *beside]
    # Files are hidden with the records they belong to: those of tables that we do not use say nothing.
    narrowed = {attachments.TABLE: query.one_of("table_name", tables)}
    parts = [Part("GET", table_path(table), list_params(narrowed.get(table, ""), ("sys_id",), 1)) for table, _ in asked]
    answers, _ = instance.batch(parts, write=False)
    missing: list[str] = []
    readable: list[str] = []
    for (table, purpose), answer in zip(asked, answers, strict=True):
        try:
            found = part_rows(answer, ids=False)
        except Retry:
            raise
        except (NotAllowed, Gone, Refused) as error:
            where = ROLES if not purpose else ACLS
            missing.append(f"Read {table}{f' ({purpose})' if purpose else ''}: {where}. {error.message}")
            continue
        if found.total and not found.rows:
            missing.append(f"Read {table}{f' ({purpose})' if purpose else ''}: its rows are hidden from us. {ACLS}")
            continue
        if not purpose:
            readable.append(table)
    described = not any(entry.startswith(tuple(f"Read {table}" for table, _ in BESIDE[:3])) for entry in missing)
    return missing, readable if described else []


def hidden_columns(instance: Instance, table: str, columns: Sequence[str]) -> list[str]:
    """Those of `columns` that our account may not read, as the newest record shows: left out of it, or shown empty
    while records can be found by a value in them. Empty where there is no record yet."""
    newest = instance.some(table, "ORDERBYDESCsys_updated_on", ("sys_id", *columns), 1)
    if not newest:
        return []
    absent = [column for column in columns if column not in newest[0]]
    empty = [column for column in columns if column not in absent and not plain(newest[0][column])]
    parts = [
        Part("GET", table_path(table), list_params(f"{column}ISNOTEMPTY", ("sys_id", column), 1)) for column in empty
    ]
    blanked = []
    if parts:
        answers, _ = instance.batch(parts, write=False)
        for column, answer in zip(empty, answers, strict=True):
            try:
                found = part_rows(answer, ids=False).rows
            except ConnectorError:
                continue  # a column with no value in a large table takes long to search: then nobody knows
            if found and not plain(found[0].get(column)):
                blanked.append(column)
    return absent + blanked


def _clock_offset(answer: Answer, started: float) -> float | None:
    """Seconds their clock is ahead. Their time has whole seconds, cut off, hence the half."""
    if answer.date is None:
        return None
    return round(answer.date.timestamp() + 0.5 - (started + time.time()) / 2, 1)


def _rate_limit(answer: Answer) -> str:
    most: Any = answer.headers.get("X-RateLimit-Limit")
    if most:
        return f"A rule of the instance allows our account {most} calls an hour."
    return "The instance sets our account no limit of calls; it says so with each refusal if that changes."


def _used_by_a_person(instance: Instance, tables: Sequence[str], account: str) -> bool:
    """Work is assigned to people, not to an integration's account."""
    for table in tables:
        try:
            if "assigned_to" not in instance.shape(table).references:
                continue
            if instance.some(table, f"active=true^assigned_to={account}", ("sys_id",), 1):
                return True
        except (NotAllowed, Gone, Refused):
            continue
        except ConnectorError:
            return False
    return False
