"""Who changed which field of a record and when, from the history that Salesforce keeps where it was switched on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from connections.connectors import salesforce_people as people
from connections.connectors import salesforce_soql as soql
from connections.connectors.base import (
    Change,
    ConnectorError,
    Gone,
    NotAllowed,
    Record,
    Refused,
    Update,
)
from connections.connectors.salesforce_fields import Shape, moment, plain_value
from connections.connectors.salesforce_org import Org

# Objects whose history of fields has a name of its own; OpportunityHistory is that of the stages.
TABLES = {"Opportunity": "OpportunityFieldHistory"}
# Kinds whose history values are ids.
ID_KINDS = ("person", "reference")
# No write leaves so long after the read it was decided from: a version older than this was read after its second.
DECIDED_WITHIN_SECONDS = 30.0


def of_records(
    org: Org, object_type: str, ids: Sequence[str], fields: Sequence[str], since: str
) -> dict[str, list[Change]]:
    """Oldest first, by record. Empty where the org keeps no history of the object or the account may not read it."""
    shape = org.shape(object_type)
    custom = object_type.endswith("__c")
    table = object_type[:-3] + "__History" if custom else TABLES.get(object_type, object_type + "History")
    owner = "ParentId" if custom else object_type + "Id"
    asked = {soql.long_id(i): i for i in ids if soql.is_id(i)}
    # Salesforce names a look-up by its relationship there: OwnerId is "Owner", Agent__c is itself.
    paths = {f: f for f in fields} | {f[:-2]: f for f in fields if f.endswith("Id")}
    found: dict[str, list[Change]] = {}
    for chunk in soql.chunks(asked, around=400):
        query = (
            f"SELECT {owner}, Field, OldValue, NewValue, CreatedById, CreatedBy.Name, CreatedDate FROM {table}"  # noqa: S608
            f" WHERE {soql.one_of(owner, chunk)} AND CreatedDate >= {soql.moment(since)} ORDER BY CreatedDate, Id"
        )
        try:
            rows = org.rows(query, needs=(owner, "Field", "CreatedById", "CreatedDate"))
        except (NotAllowed, Refused, Gone):
            return {}
        for row in rows:
            path = paths.get(str(row["Field"]))
            change = _change(org, shape, path, row) if path else None
            if change and (id := soql.long_id(row[owner])) in asked:
                found.setdefault(asked[id], []).append(change)
    return found


def replaced(org: Org, object_type: str, written: Sequence[tuple[Update, Record]]) -> dict[str, dict[str, Any]]:
    """By record: what its write replaced, where the condition of the write could not tell. One call for all at most.

    written: what was sent, with the read-back. The condition compares whole seconds: an edit in the very second of the
    expected version went by it.
    """
    close = {update.external_id: update for update, record in written if _within_a_second(update, record)}
    if not close:
        return {}
    fields = [*dict.fromkeys(path for update in close.values() for path in update.values)]
    since = min(str(update.expected_version) for update in close.values())
    try:
        told, us = of_records(org, object_type, list(close), fields, since), org.user_id
    except (ConnectorError, ValueError, TypeError):
        return {}  # the writes are done all the same
    return {id: overwritten(told.get(id, ()), update, us) for id, update in close.items()}


def overwritten(changes: Sequence[Change], update: Update, us: str) -> dict[str, Any]:
    """{path: value} that others gave a field since the expected version and our write replaced. Pure.

    The order of changes within one second is not told, so the values decide: ours follows upon theirs.
    """
    found = {}
    for path in update.values:
        of_field = [c for c in changes if c.field == path and c.at >= str(update.expected_version)]
        ours = [c for c in of_field if c.by == us and (c.before, c.after) != (None, None)]
        if ours and any(c.by != us and c.after == ours[-1].before != c.before for c in of_field):
            found[path] = ours[-1].before
    return found


def _within_a_second(update: Update, record: Record) -> bool:
    """Whether our read may have been in the second of the expected version, by the org's own clock."""
    if not update.expected_version or not record.updated_at:
        return False
    passed = datetime.fromisoformat(record.updated_at) - datetime.fromisoformat(update.expected_version)
    return passed.total_seconds() < DECIDED_WITHIN_SECONDS


def _change(org: Org, shape: Shape, path: str, row: Mapping[str, Any]) -> Change | None:
    column = shape.columns.get(path)
    before, after = row.get("OldValue"), row.get("NewValue")
    if column and column.shown.kind in ID_KINDS:
        # Each change of a look-up is kept twice, with names and with ids; only the ids tell who is meant.
        if not all(v is None or soql.is_id(str(v)) for v in (before, after)):
            return None
        if column.shown.kind == "person":
            values = people.account_values(org, [str(v) for v in (before, after) if v])
            before, after = (values[str(v)] if v else None for v in (before, after))
    elif column and (before, after) != (None, None):  # else it says that the field changed, and not how
        before, after = plain_value(column, before), plain_value(column, after)
    return Change(
        field=path,
        at=moment(row["CreatedDate"]) or "",
        by=soql.long_id(str(row["CreatedById"])),
        by_name=(row.get("CreatedBy") or {}).get("Name"),
        before=before,
        after=after,
    )
