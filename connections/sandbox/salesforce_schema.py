"""What the imitated org is made of: record ids, fields and objects."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Doc = dict[str, Any]

ID_LENGTH = 15
FULL_ID_LENGTH = 18
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_CHECKSUM = string.ascii_uppercase + "012345"
_POD = "Hs00"  # the part of an id that names the instance; any four characters do

# A text area up to this length is filterable; a longer one is not.
LONG_TEXT = 255


def full_id(short: str) -> str:
    """The 18-character form of a 15-character id: three characters record which letters are upper case."""
    suffix = ""
    for start in range(0, ID_LENGTH, 5):
        bits = sum(1 << i for i, c in enumerate(short[start : start + 5]) if c in string.ascii_uppercase)
        suffix += _CHECKSUM[bits]
    return short + suffix


def make_id(prefix: str, number: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, len(_DIGITS))
        digits = _DIGITS[rest] + digits
    return full_id(prefix + _POD + digits.rjust(ID_LENGTH - len(prefix) - len(_POD), "0"))


def normal_id(value: Any) -> str | None:
    """A 15- or 18-character id in its 18-character form; None if it is no id."""
    if not isinstance(value, str) or not value.isascii() or not value.isalnum():
        return None
    if len(value) == ID_LENGTH:
        return full_id(value)
    if len(value) == FULL_ID_LENGTH and full_id(value[:ID_LENGTH]) == value:
        return value
    return None


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object. `type` is the vendor's: string, textarea, picklist, multipicklist, reference ..."""

    name: str
    type: str = "string"
    label: str = ""
    length: int = 0
    nillable: bool = True
    createable: bool = True
    updateable: bool = True
    external_id: bool = False
    unique: bool = False
    case_sensitive: bool = False
    auto_number: bool = False
    default: Any = None
    values: tuple[str, ...] = ()  # active picklist values, in their order
    retired: tuple[str, ...] = ()  # values kept on old records, no longer to be chosen
    restricted: bool = False
    precision: int = 18
    scale: int = 0
    reference_to: tuple[str, ...] = ()
    relationship: str | None = None
    name_field: bool = False
    byte_limit: bool = False  # the length counts UTF-8 bytes
    formula: Callable[[Doc], Any] | None = None
    hidden: bool = False  # by field-level security, from every API user
    read_only: bool = False  # by field-level security, for every API user

    @property
    def custom(self) -> bool:
        return self.name.endswith("__c")

    @property
    def title(self) -> str:
        return self.label or self.name.removesuffix("__c").replace("_", " ")

    @property
    def long_text(self) -> bool:
        return self.type == "textarea" and self.length > LONG_TEXT

    @property
    def api_createable(self) -> bool:
        return self.createable and not self.read_only and self.formula is None

    @property
    def api_updateable(self) -> bool:
        return self.updateable and not self.read_only and self.formula is None


@dataclass(slots=True)
class SObject:
    name: str
    label: str
    plural: str
    prefix: str
    fields: dict[str, Field] = field(default_factory=dict)
    writable: bool = True
    history: bool = False
    denied: set[str] = field(default_factory=set)  # of "read", "create", "edit", "delete": refused to API users

    def find(self, name: str) -> Field | None:
        """The field of that name, in any case of letters, as the vendor takes them."""
        return self.fields.get(name) or next((f for n, f in self.fields.items() if n.lower() == name.lower()), None)

    def by_relationship(self, name: str) -> Field | None:
        return next(
            (f for f in self.fields.values() if f.relationship and f.relationship.lower() == name.lower()), None
        )


# An owner may be a person or a queue: such a reference is read through this object, which has no table.
OWNER_NAME = SObject(
    "Name",
    "Name",
    "Names",
    "",
    {
        f.name: f
        for f in (
            Field("Id", "id"),
            Field("Name", name_field=True),
            Field("Type", "picklist"),
            Field("Email", "email"),
            Field("Username"),
            Field("FirstName"),
            Field("LastName"),
            Field("Alias"),
            Field("IsActive", "boolean"),
        )
    },
)
