"""What a save must pass: known and writable fields, required values, references, unique keys, validation rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connections.sandbox import salesforce_schema as schema
from connections.sandbox.salesforce_schema import Doc, Field, SObject
from connections.sandbox.salesforce_values import Problem, clean

if TYPE_CHECKING:
    from connections.sandbox.salesforce_org import Org


def taken(kind: SObject, fields: Doc, *, creating: bool, api: bool, force: bool) -> Doc:
    """The values of a write as they would be stored, by the org's field names. `force`: the system itself writes."""
    if creating and api and (not kind.writable or "create" in kind.denied):
        raise Problem("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", f"entity type cannot be inserted: {kind.label}")
    values: Doc = {}
    refused = []
    for name, value in fields.items():
        item = kind.find(name)
        if item is None or (api and item.hidden):
            raise Problem("INVALID_FIELD", f"No such column '{name}' on sobject of type {kind.name}")
        for_api = item.api_createable if creating else item.api_updateable
        for_people = item.createable if creating else item.updateable
        if not (for_api if api else force or for_people):
            refused.append(item.name)
        values[item.name] = clean(item, value)
    if refused:
        message = (
            f"Unable to create/update fields: {', '.join(refused)}. Please check the security settings of this "
            "field and verify that it is read/write for your profile or permission set."
        )
        raise Problem("INVALID_FIELD_FOR_INSERT_UPDATE", message, tuple(refused))
    return values


def check(org: Org, kind: SObject, new: Doc, old: Doc | None, written: set[str]) -> None:
    """Raises Problem; writes references in their 18-character form into `new`. `written`: names of the fields given."""
    missing = [
        f.name
        for f in kind.fields.values()
        if not f.nillable
        and new.get(f.name) is None
        and (f.createable or f.updateable)
        and (old is None or f.name in written)
    ]
    if missing:
        message = f"Required fields are missing: [{', '.join(missing)}]"
        raise Problem("REQUIRED_FIELD_MISSING", message, tuple(missing))
    if "OwnerId" in written and new.get("OwnerId") is None:
        raise Problem("FIELD_INTEGRITY_EXCEPTION", "Owner ID: owner cannot be blank", ("OwnerId",))
    for item in kind.fields.values():
        value = new.get(item.name)
        if value is None:
            continue
        if item.reference_to and item.name in written:
            new[item.name] = _reference(org, kind, item, value)
        if item.unique:
            _check_unique(org, kind, item, new["Id"], value)
    for rule in org.rules.get(kind.name, ()):
        found = rule(new, old)
        if found:
            message, where = (found, "") if isinstance(found, str) else found
            raise Problem("FIELD_CUSTOM_VALIDATION_EXCEPTION", message, (where,) if where else ())


def _reference(org: Org, kind: SObject, item: Field, value: str) -> str:
    target = schema.normal_id(value)
    if target is None:
        raise Problem("MALFORMED_ID", f"{item.title}: id value of incorrect type: {value}", (item.name,))
    other = org.kind_of(target)
    if other is None or other.name not in item.reference_to:
        raise Problem("FIELD_INTEGRITY_EXCEPTION", f"{item.title}: id value of incorrect type: {target}", (item.name,))
    doc = org.tables[other.name].get(target)
    if doc is None:
        raise Problem("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
    if doc["IsDeleted"]:
        raise Problem("ENTITY_IS_DELETED", "entity is deleted", (item.name,))
    if item.name == "OwnerId" and other.name == "User" and not doc["IsActive"]:
        message = f"operation performed with inactive user [{target}] as owner of {kind.name.lower()}"
        raise Problem("INACTIVE_OWNER_OR_USER", message)
    return target


def _check_unique(org: Org, kind: SObject, item: Field, own_id: str, value: str) -> None:
    for other in org.find_by(kind.name, item, value):
        if other["Id"] != own_id:
            message = f"duplicate value found: {item.name} duplicates value on record with id: {other['Id']}"
            raise Problem("DUPLICATE_VALUE", message)
