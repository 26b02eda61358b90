"""The objects and fields of a fresh org: cases with the demo's custom fields, and what surrounds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connections.sandbox.salesforce_schema import Field, SObject


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
