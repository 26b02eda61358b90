"""Salesforce's describe and rows in SyncAdmin's words, and values back in Salesforce's. Pure.

Facts: REST API Developer Guide, "sObject Describe"; Object Reference, "Field Types"; recorded rows in the tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from connections.connectors import salesforce_soql as soql
from connections.connectors.base import Field, Option, Record, Refused, Retry, Values
from connections.connectors.numbers import plain

KINDS = {
    "boolean": "boolean",
    "combobox": "text",
    "currency": "number",
    "date": "date",
    "datetime": "datetime",
    "double": "number",
    "email": "text",
    "encryptedstring": "text",
    "id": "reference",
    "int": "number",
    "long": "number",
    "multipicklist": "set",
    "percent": "number",
    "phone": "text",
    "picklist": "option",
    "reference": "reference",
    "string": "text",
    "textarea": "text",
    "time": "text",
    "url": "text",
}
# Compound and binary types (address, location, base64, …) are left out: their parts are fields of their own.

# Whose records own these; the describe does not say it for standard objects.
PARENTS = {
    "CaseComment": ("Case", "ParentId"),
    "EmailMessage": ("Case", "ParentId"),
    "OpportunityLineItem": ("Opportunity", "OpportunityId"),
    "ContractLineItem": ("ServiceContract", "ServiceContractId"),
}
# What people recognise a record by, where it is not the object's name field.
TITLES = ("Subject", "Title", "Name")
PEOPLE = {"User", "Group"}
# An encrypted text as an account sees it that may not view it: hidden but for its last characters, "XXX-XX-1234".
MASKED = re.compile(r"([*X])(?:[ -]*\1)+[ -]*.{0,4}")
QUEUE = "queue:"
ACCOUNT = "id:"


@dataclass(frozen=True, slots=True)
class Column:
    """One field with what is needed to read and write it."""

    shown: Field
    type: str  # as describe says
    relationship: str | None = None  # for people: the name of the relationship in SOQL
    polymorphic: bool = False  # the person may be a queue as well
    filterable: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """One object type as the account sees it."""

    name: str
    label: str
    columns: Mapping[str, Column]
    present: frozenset[str]  # every field the account may read, also those without a kind
    stamp: str  # the field that says when a record last changed
    key_field: str | None = None  # the external id field for the correlation key, if the object has it
    key_unique: bool = False
    name_field: str | None = None
    title_field: str | None = None
    parent: str | None = None
    parent_field: str | None = None

    @property
    def archives(self) -> bool:
        """Whether Salesforce archives such records (activities older than a year). They can be edited all the same, and
        only a query that finds deleted ones finds them."""
        return {"IsArchived", "IsDeleted"} <= self.present

    @property
    def alive(self) -> str:
        """What a query asks beside, so that it finds all records but deleted ones."""
        return "IsDeleted = false" if self.archives else ""

    @property
    def base(self) -> tuple[str, ...]:
        """The columns read with every record."""
        wanted = [
            "Id",
            self.stamp,
            "IsDeleted",
            "MasterRecordId",  # of those kinds of which records can be merged
            "CreatedDate",
            "CreatedById",
            "LastModifiedById",
            self.name_field,
            self.title_field,
            self.parent_field,
            self.key_field,
        ]
        columns = [w for w in wanted if w and w in self.present]
        if "LastModifiedById" in self.present:
            columns.append("LastModifiedBy.Name")
        return tuple(dict.fromkeys(columns))


def shape_of(describe: Mapping[str, Any], key_field: str) -> Shape:
    """The object type that a describe answer tells of. `key_field`: the name of the field for the correlation key."""
    columns: dict[str, Column] = {}
    present: set[str] = set()
    name_field = None
    key: Mapping[str, Any] | None = None
    for raw in describe["fields"]:
        present.add(raw["name"])
        if raw.get("nameField"):
            name_field = raw["name"]
        # SOQL field names ignore case, and so may the setting.
        if raw["name"].lower() == key_field.lower() and raw.get("externalId"):
            key = raw
        column = _column(raw)
        if column:
            columns[raw["name"]] = column
    name = str(describe["name"])
    parent, parent_field = _parent(name, describe["fields"], present)
    titles = [t for t in TITLES if t in present and t != name_field]
    return Shape(
        name=name,
        label=str(describe.get("label") or name),
        columns=columns,
        present=frozenset(present),
        stamp=next((s for s in ("SystemModstamp", "LastModifiedDate", "CreatedDate") if s in present), "CreatedDate"),
        key_field=key["name"] if key else None,
        key_unique=bool(key and key.get("unique")),
        name_field=name_field,
        title_field=titles[0] if titles else name_field,
        parent=parent,
        parent_field=parent_field,
    )


def select_list(shape: Shape, paths: Sequence[str]) -> list[str]:
    """The columns of a SOQL SELECT that reads the readable ones of `paths`, and what every Record carries."""
    wanted = list(shape.base)
    for path in paths:
        column = shape.columns.get(path)
        if not column:
            continue
        wanted.append(path)
        if column.shown.kind == "person" and column.relationship:
            wanted += [f"{column.relationship}.Name", f"{column.relationship}.Email"]
            if column.polymorphic:
                wanted.append(f"{column.relationship}.Type")
    return list(dict.fromkeys(wanted))


def record_of(shape: Shape, row: Mapping[str, Any], paths: Sequence[str]) -> Record:
    """One row of an answer as a Record. Paths the account may not read are named as unreadable.

    Raises Retry where a value is of another form than its field's type has.
    """
    try:
        return _record_of(shape, row, paths)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Retry(
            f"Salesforce tells a {shape.label} in a form we do not know. Nothing was taken over. We read again."
        ) from None


def _record_of(shape: Shape, row: Mapping[str, Any], paths: Sequence[str]) -> Record:
    # A column that a row lacks was hidden after its object was described: that is not empty either.
    readable = [path for path in paths if path in shape.columns and path in row and not _masked(shape, row, path)]
    stamp = moment(row.get(shape.stamp)) or ""
    return Record(
        external_id=soql.long_id(str(row["Id"])),
        version=stamp,
        values={path: value_of(shape.columns[path], row, path) for path in readable},
        updated_at=stamp or None,
        updated_by=_id(row.get("LastModifiedById")),
        updated_by_name=(row.get("LastModifiedBy") or {}).get("Name"),
        created_at=moment(row.get("CreatedDate")),
        created_by=_id(row.get("CreatedById")),
        key=_text(row.get(shape.name_field)) if shape.name_field else None,
        title=_text(row.get(shape.title_field)) if shape.title_field else None,
        parent_id=_id(row.get(shape.parent_field)) if shape.parent_field else None,
        correlation_key=row.get(shape.key_field) if shape.key_field else None,
        deleted=bool(row.get("IsDeleted")),
        merged_into=_id(row.get("MasterRecordId")),
        unreadable=frozenset(paths) - set(readable),
    )


def _masked(shape: Shape, row: Mapping[str, Any], path: str) -> bool:
    return shape.columns[path].type == "encryptedstring" and bool(MASKED.fullmatch(str(row[path] or "")))


def value_of(column: Column, row: Mapping[str, Any], path: str) -> Any:
    """The normalised value of one field of a row."""
    if column.shown.kind == "person":
        return person(row.get(path), row.get(column.relationship or "") or {})
    return plain_value(column, row.get(path))


def plain_value(column: Column, raw: Any) -> Any:
    """The normalised value of a field that needs no look-up."""
    kind = column.shown.kind
    if kind == "boolean":
        return bool(raw)  # a checkbox is never empty
    if kind == "set":
        return sorted({part for part in str(raw or "").split(";") if part})
    if raw is None or raw == "":
        return None  # Salesforce stores no empty text
    if kind == "number":
        return plain(raw if isinstance(raw, int | float) else float(raw))
    if kind == "datetime":
        return moment(raw)
    if kind == "date":
        return str(raw)[:10]
    if kind == "reference":
        return soql.long_id(str(raw))
    return _text(raw)


def person(owner_id: Any, owner: Mapping[str, Any]) -> str | None:
    """The person value of a user or queue: `owner` is its related row, which may be hidden."""
    if not owner_id:
        return None
    kind = owner.get("Type") or ("Queue" if str(owner_id).startswith("00G") else "User")
    if kind in ("Queue", "Group") and owner.get("Name"):
        return QUEUE + str(owner["Name"])
    return str(owner["Email"]).lower() if owner.get("Email") else ACCOUNT + soql.long_id(str(owner_id))


def moment(raw: Any) -> str | None:
    """Any of Salesforce's times (text with offset, milliseconds since 1970) as a normalised datetime."""
    if raw in (None, ""):
        return None
    if isinstance(raw, int | float):
        when = datetime.fromtimestamp(raw / 1000, UTC)
    else:
        text = str(raw)
        if len(text) > 5 and text[-5] in "+-" and text[-3] != ":":
            text = f"{text[:-2]}:{text[-2:]}"  # +0000, which older Pythons cannot read
        when = datetime.fromisoformat(text)
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%S") + (f".{when.microsecond:06d}" if when.microsecond else "") + "Z"


def outgoing(shape: Shape, values: Values, account_of: Callable[[str, str], str]) -> dict[str, Any]:
    """`values` as Salesforce wants them written. `account_of(path, person)` gives the id of a user or queue.

    Raises Refused, naming the field, on a value that it cannot hold.
    """
    return {path: _outgoing(shape.columns.get(path), path, value, account_of) for path, value in values.items()}


def _outgoing(column: Column | None, path: str, value: Any, account_of: Callable[[str, str], str]) -> Any:
    kind = column.shown.kind if column else ""
    if value is None or (value == "" and kind != "boolean"):
        return False if kind == "boolean" else None
    if kind == "set":
        parted = [one for one in value if ";" in one]
        if parted:
            # ⚑ Salesforce would keep its parts, and tell them as members that somebody added.
            reason = f"“{parted[0]}” holds a semicolon, which parts the values of a Salesforce multi-select picklist."
            raise Refused(f"{reason} Nothing was written. Change the value, or map it.", {path: reason})
        return ";".join(value) or None
    if kind == "person":
        return account_of(path, str(value))
    return value


def _column(raw: Mapping[str, Any]) -> Column | None:
    type_ = str(raw["type"])
    kind = KINDS.get(type_)
    if not kind or raw.get("deprecatedAndHidden"):
        return None
    targets = set(raw.get("referenceTo") or ())
    relationship = raw.get("relationshipName")
    if type_ == "reference" and targets and targets <= PEOPLE and relationship:
        kind = "person"
    rich = type_ == "textarea" and (raw.get("extraTypeInfo") == "richtextarea" or raw.get("htmlFormatted"))
    if rich:
        kind = "rich_text"
    options = [
        Option(str(o["value"]), str(o.get("label") or o["value"]), bool(o.get("active", True)))
        for o in raw.get("picklistValues") or ()
    ]
    length = raw.get("length") or None
    texty = kind in ("text", "rich_text")
    filterable = bool(raw.get("filterable"))
    shown = Field(
        path=str(raw["name"]),
        label=str(raw.get("label") or raw["name"]),
        kind=kind,
        format="html" if rich else None,
        options=tuple(options),
        writable=bool(raw.get("updateable")),
        creatable=bool(raw.get("createable")),
        required=(
            not raw.get("nillable", True)
            and not raw.get("defaultedOnCreate")
            and kind != "boolean"
            and bool(raw.get("createable") or raw.get("updateable"))
        ),
        max_length=int(length) if length and texty else None,
        matchable=filterable and kind in ("text", "option", "number", "date", "datetime", "reference"),
    )
    return Column(
        shown,
        type_,
        relationship,
        polymorphic=len(targets) > 1,
        filterable=filterable,
    )


def _parent(name: str, fields: Sequence[Mapping[str, Any]], present: set[str]) -> tuple[str | None, str | None]:
    if name in PARENTS and PARENTS[name][1] in present:
        return PARENTS[name]
    for raw in fields:
        # A master-detail relationship; its order is 0 for the master that also decides who may see the record.
        if raw.get("relationshipOrder") == 0 and raw.get("referenceTo"):
            return str(raw["referenceTo"][0]), str(raw["name"])
    return None, None


def _text(raw: Any) -> str | None:
    return str(raw).replace("\r\n", "\n").replace("\r", "\n") if raw not in (None, "") else None


def _id(raw: Any) -> str | None:
    return soql.long_id(str(raw)) if raw else None
