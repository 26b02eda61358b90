"""Field history of cases: the vendor's rows, each with the whole truth beside it for tests and pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from connections.sandbox.salesforce_schema import Doc, make_id
from connections.sandbox.salesforce_values import stamp

if TYPE_CHECKING:
    from connections.sandbox.salesforce_org import Org

# Follow from other fields, and are not told as changes of their own.
_DERIVED = frozenset({"IsClosed", "ClosedDate"})


def history_rows(org: Org, id: str, user: str, changes: Iterable[tuple[str, Any, Any]]) -> Iterator[Doc]:
    """Rows for the changes (field, old, new) of one case. `full` holds what the vendor does not tell."""
    for name, old, new in changes:
        if name in _DERIVED:
            continue
        item = org.objects["Case"].fields.get(name)
        # Long texts and multi-select picklists are said to have changed, not from what to what.
        untold = item is not None and (item.long_text or item.type == "multipicklist")
        shown = (None, None) if untold else (old, new)
        kind = "EntityId" if item and item.type == "reference" else "Text"
        label = "Owner" if name == "OwnerId" else name
        yield {**_row(org, id, user, label, kind, shown), "full": {"field": name, "old": old, "new": new}}
        if name == "OwnerId":  # a second row, with the names
            yield _row(org, id, user, label, "Text", (_name_of(org, old), _name_of(org, new)))


def _row(org: Org, id: str, user: str, label: str, kind: str, values: tuple[Any, Any]) -> Doc:
    now = stamp(org.now())
    return {
        "Id": make_id(org.objects["CaseHistory"].prefix, org.store.next_number("id:CaseHistory")),
        "IsDeleted": False,
        "CaseId": id,
        "Field": label,
        "DataType": kind,
        "OldValue": values[0],
        "NewValue": values[1],
        "CreatedById": user,
        "CreatedDate": now,
        "LastModifiedById": user,
        "LastModifiedDate": now,
        "SystemModstamp": now,
    }


def _name_of(org: Org, id: str | None) -> str | None:
    doc = org.get(id) if id else None
    return doc["Name"] if doc else None
