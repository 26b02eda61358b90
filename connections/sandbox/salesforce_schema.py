"""What the imitated org is made of: record ids, objects, fields, and the describe answers drawn from them."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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


def _person(name: str, relationship: str, **options: Any) -> Field:
    return Field(name, "reference", length=18, reference_to=("User",), relationship=relationship, **options)


def _system(*own: Field) -> dict[str, Field]:
    fixed: dict[str, Any] = {"createable": False, "updateable": False, "nillable": False}
    fields = (
        Field("Id", "id", length=18, **fixed),
        Field("IsDeleted", "boolean", "Deleted", default=False, **fixed),
        *own,
        Field("CreatedDate", "datetime", "Created Date", **fixed),
        _person("CreatedById", "CreatedBy", label="Created By ID", **fixed),
        Field("LastModifiedDate", "datetime", "Last Modified Date", **fixed),
        _person("LastModifiedById", "LastModifiedBy", label="Last Modified By ID", **fixed),
        Field("SystemModstamp", "datetime", "System Modstamp", **fixed),
    )
    return {f.name: f for f in fields}


_FIXED: Mapping[str, Any] = {"createable": False, "updateable": False}
OPEN_STATUSES = ("New", "Working", "Waiting on Customer", "Escalated")
CLOSED_STATUSES = ("Closed",)
PRIORITIES = ("P1", "P2", "P3", "P4")
_LABELS = (
    "api",
    "billing",
    "customer",
    "data-loss",
    "docs",
    "login",
    "mobile",
    "performance",
    "regression",
    "security",
)
_AREAS = ("Accounts", "API", "Billing", "Mobile", "Reporting", "Search")
_SEVERITIES = ("Blocker", "Major", "Minor", "Cosmetic")


def _case_fields() -> dict[str, Field]:
    return _system(
        Field("MasterRecordId", "reference", length=18, reference_to=("Case",), relationship="MasterRecord", **_FIXED),
        Field("CaseNumber", "string", "Case Number", 30, auto_number=True, name_field=True, nillable=False, **_FIXED),
        Field("ContactId", "reference", "Contact ID", 18, reference_to=("Contact",), relationship="Contact"),
        Field("AccountId", "reference", "Account ID", 18, reference_to=("Account",), relationship="Account"),
        Field("SuppliedName", "string", "Name", 80),
        Field("SuppliedEmail", "email", "Email Address", 80),
        Field("Type", "picklist", "Case Type", 255, values=("Question", "Problem", "Feature Request")),
        Field(
            "Status",
            "picklist",
            "Status",
            255,
            values=OPEN_STATUSES + CLOSED_STATUSES,
            restricted=True,
            nillable=False,
            default="New",
        ),
        Field("Origin", "picklist", "Case Origin", 255, values=("Phone", "Email", "Web")),
        Field("Subject", "string", "Subject", 255),
        Field("Priority", "picklist", "Priority", 255, values=PRIORITIES, restricted=True, default="P3"),
        Field("Description", "textarea", "Description", 32000),
        Field("IsClosed", "boolean", "Closed", default=False, nillable=False, **_FIXED),
        Field("ClosedDate", "datetime", "Closed Date", **_FIXED),
        Field("IsEscalated", "boolean", "Escalated", default=False, nillable=False),
        Field("OwnerId", "reference", "Owner ID", 18, reference_to=("Group", "User"), relationship="Owner"),
        Field("Jira_Key__c", "string", "Jira Key", 40, external_id=True),
        Field("SyncAdmin_Key__c", "string", "SyncAdmin Key", 64, external_id=True, unique=True),
        Field("Reference__c", "string", "Reference", 80),
        Field("Labels__c", "multipicklist", "Labels", 4099, values=_LABELS),
        Field("Due_Date__c", "date", "Due Date"),
        Field("Effort__c", "double", "Effort", precision=8, scale=2),
        Field("Severity_Area__c", "picklist", "Severity Area", 255, values=_SEVERITIES, restricted=True),
        Field("Product_Area__c", "picklist", "Product Area", 255, values=_AREAS, restricted=True),
    )


def default_objects() -> dict[str, SObject]:
    """The objects of a fresh org, by name."""
    objects = (
        SObject("Case", "Case", "Cases", "500", _case_fields(), history=True),
        SObject(
            "CaseComment",
            "Case Comment",
            "Case Comments",
            "00a",
            _system(
                Field(
                    "ParentId",
                    "reference",
                    "Parent ID",
                    18,
                    reference_to=("Case",),
                    relationship="Parent",
                    nillable=False,
                    updateable=False,
                ),
                Field("IsPublished", "boolean", "Published", default=False, nillable=False),
                Field("CommentBody", "textarea", "Body", 4000, byte_limit=True),
            ),
        ),
        SObject(
            "CaseHistory",
            "Case History",
            "Case History",
            "017",
            _system(
                Field("CaseId", "reference", "Case ID", 18, reference_to=("Case",), relationship="Case", **_FIXED),
                Field("Field", "picklist", "Changed Field", 255, **_FIXED),
                Field("DataType", "picklist", "Datatype", 40, **_FIXED),
                Field("OldValue", "anyType", "Old Value", 255, **_FIXED),
                Field("NewValue", "anyType", "New Value", 255, **_FIXED),
            ),
            writable=False,
        ),
        SObject(
            "CaseStatus",
            "Case Status Value",
            "Case Status Value",
            "01J",
            _system(
                Field("MasterLabel", "string", "Master Label", 255, name_field=True, **_FIXED),
                Field("ApiName", "string", "API Name", 255, **_FIXED),
                Field("SortOrder", "int", "Sort Order", **_FIXED),
                Field("IsDefault", "boolean", "Default", default=False, **_FIXED),
                Field("IsClosed", "boolean", "Closed", default=False, **_FIXED),
            ),
            writable=False,
        ),
        SObject(
            "User",
            "User",
            "Users",
            "005",
            _system(
                Field("Username", "string", "Username", 80, nillable=False, unique=True),
                Field("FirstName", "string", "First Name", 40),
                Field("LastName", "string", "Last Name", 80, nillable=False),
                Field("Name", "string", "Full Name", 121, name_field=True, **_FIXED),
                Field("Email", "email", "Email", 128),
                Field("Alias", "string", "Alias", 8),
                Field("IsActive", "boolean", "Active", default=True, nillable=False),
                Field("UserType", "picklist", "User Type", 40, default="Standard", **_FIXED),
                Field("TimeZoneSidKey", "picklist", "Time Zone", 40, default="Europe/Berlin"),
            ),
        ),
        SObject(
            "Group",
            "Group",
            "Group",
            "00G",
            _system(
                Field("Name", "string", "Name", 40, name_field=True, nillable=False),
                Field("DeveloperName", "string", "Developer Name", 80),
                Field("Type", "picklist", "Type", 40, values=("Queue", "Regular"), default="Queue", updateable=False),
                Field("Email", "email", "Email", 255),
            ),
        ),
        SObject(
            "Account",
            "Account",
            "Accounts",
            "001",
            _system(
                Field("Name", "string", "Account Name", 255, name_field=True, nillable=False),
                Field("OwnerId", "reference", "Owner ID", 18, reference_to=("User",), relationship="Owner"),
            ),
        ),
        SObject(
            "Contact",
            "Contact",
            "Contacts",
            "003",
            _system(
                Field("AccountId", "reference", "Account ID", 18, reference_to=("Account",), relationship="Account"),
                Field("FirstName", "string", "First Name", 40),
                Field("LastName", "string", "Last Name", 80, nillable=False),
                Field("Name", "string", "Full Name", 121, name_field=True, **_FIXED),
                Field("Email", "email", "Email", 80),
                Field("OwnerId", "reference", "Owner ID", 18, reference_to=("User",), relationship="Owner"),
            ),
        ),
    )
    return {o.name: o for o in objects}


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

_SOAP_TYPES = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "int": "xsd:int",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "anyType": "xsd:anyType",
}


def describe_field(item: Field) -> Doc:
    number = item.type in ("double", "currency", "percent")
    values = [(v, True) for v in item.values] + [(v, False) for v in item.retired]
    return {
        "aggregatable": not item.long_text,
        "autoNumber": item.auto_number,
        "byteLength": item.length * (1 if item.byte_limit else 3),
        "calculated": item.formula is not None,
        "calculatedFormula": None,
        "cascadeDelete": False,
        "caseSensitive": item.case_sensitive,
        "compoundFieldName": None,
        "controllerName": None,
        "createable": item.api_createable,
        "custom": item.custom,
        "defaultValue": item.default if item.type == "boolean" else None,
        "defaultValueFormula": None,
        "defaultedOnCreate": item.default is not None or item.name == "OwnerId" or item.auto_number,
        "dependentPicklist": False,
        "deprecatedAndHidden": False,
        "digits": item.precision if item.type == "int" else 0,
        "displayLocationInDecimal": False,
        "encrypted": False,
        "externalId": item.external_id,
        "extraTypeInfo": "plaintextarea" if item.long_text else None,
        "filterable": not item.long_text,
        "filteredLookupInfo": None,
        "groupable": item.type not in ("textarea", "double", "datetime", "multipicklist"),
        "highScaleNumber": False,
        "htmlFormatted": False,
        "idLookup": item.name == "Id" or item.external_id,
        "inlineHelpText": None,
        "label": item.title,
        "length": item.length,
        "mask": None,
        "maskType": None,
        "name": item.name,
        "nameField": item.name_field,
        "namePointing": len(item.reference_to) > 1,
        "nillable": item.nillable,
        "permissionable": item.custom or item.nillable,
        "picklistValues": [
            {"active": active, "defaultValue": v == item.default, "label": v, "validFor": None, "value": v}
            for v, active in values
        ],
        "polymorphicForeignKey": len(item.reference_to) > 1,
        "precision": item.precision if number else 0,
        "queryByDistance": False,
        "referenceTargetField": None,
        "referenceTo": list(item.reference_to),
        "relationshipName": item.relationship,
        "relationshipOrder": None,
        "restrictedDelete": False,
        "restrictedPicklist": item.restricted,
        "scale": item.scale if number else 0,
        "searchPrefixFilterable": False,
        "soapType": _SOAP_TYPES.get(item.type, "xsd:string"),
        "sortable": not item.long_text and item.type != "multipicklist",
        "type": item.type,
        "unique": item.unique,
        "updateable": item.api_updateable,
        "writeRequiresMasterRead": False,
    }


def describe_short(item: SObject, base: str) -> Doc:
    """What the global describe says of an object; `base`: "/services/data/v62.0"."""
    may = {verb: verb not in item.denied for verb in ("create", "edit", "delete")}
    url = f"{base}/sobjects/{item.name}"
    return {
        "activateable": False,
        "associateEntityType": "History" if item.name.endswith("History") else None,
        "associateParentEntity": item.name.removesuffix("History") if item.name.endswith("History") else None,
        "createable": item.writable and may["create"],
        "custom": item.name.endswith("__c"),
        "customSetting": False,
        "deepCloneable": False,
        "deletable": item.writable and may["delete"],
        "deprecatedAndHidden": False,
        "feedEnabled": item.history,
        "hasSubtypes": False,
        "isInterface": False,
        "isSubtype": False,
        "keyPrefix": item.prefix,
        "label": item.label,
        "labelPlural": item.plural,
        "layoutable": item.writable,
        "mergeable": item.name in ("Account", "Contact", "Case"),
        "mruEnabled": item.writable,
        "name": item.name,
        "queryable": True,
        "replicateable": True,
        "retrieveable": True,
        "searchable": item.writable,
        "triggerable": item.writable,
        "undeletable": item.writable,
        "updateable": item.writable and may["edit"],
        "urls": {"sobject": url, "describe": url + "/describe", "rowTemplate": url + "/{ID}"},
    }


def describe(item: SObject, base: str) -> Doc:
    return {
        "actionOverrides": [],
        "childRelationships": [
            {
                "cascadeDelete": True,
                "childSObject": "CaseComment",
                "deprecatedAndHidden": False,
                "field": "ParentId",
                "junctionIdListNames": [],
                "junctionReferenceTo": [],
                "relationshipName": "CaseComments",
                "restrictedDelete": False,
            }
        ]
        if item.name == "Case"
        else [],
        "compactLayoutable": item.writable,
        **describe_short(item, base),
        "fields": [describe_field(f) for f in item.fields.values() if not f.hidden],
        "listviewable": None,
        "lookupLayoutable": None,
        "namedLayoutInfos": [],
        "networkScopeFieldName": None,
        "recordTypeInfos": [],
        "searchLayoutable": item.writable,
        "supportedScopes": [{"label": f"All {item.plural}", "name": "everything"}],
    }


def changed(item: Field, **changes: Any) -> Field:
    return replace(item, **changes)
