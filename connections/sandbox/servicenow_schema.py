"""What a ServiceNow stand-in knows at first: tables, their columns and choice lists, in the vendor's names.

The columns of task and incident are those of recorded rows; a few made by "us" (u_…) stand for a customer's own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column of a table. `choice`: "1", "3" a list, "0" none. `reference`: the table it leads to."""

    element: str
    type: str = "string"
    label: str = ""
    length: int = 40
    reference: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    mandatory: bool = False
    read_only: bool = False
    default: str = ""

    @property
    def title(self) -> str:
        return self.label or self.element.replace("_", " ").capitalize()


@dataclass(frozen=True)
class Table:
    name: str
    label: str
    columns: dict[str, Column]
    extends: str = ""
    audit: bool = False
    prefix: str = ""  # of its numbers


def _columns(*columns: Column) -> dict[str, Column]:
    return {column.element: column for column in columns}


def _plain(names: str, type: str = "string", **more: object) -> list[Column]:
    return [Column(name, type, **more) for name in names.split()]  # type: ignore[arg-type]


SYSTEM = (
    Column("sys_id", "GUID", "Sys ID", 32, read_only=True),
    Column("sys_created_on", "glide_date_time", "Created", read_only=True),
    Column("sys_created_by", "string", "Created by", read_only=True),
    Column("sys_updated_on", "glide_date_time", "Updated", read_only=True),
    Column("sys_updated_by", "string", "Updated by", read_only=True),
    Column("sys_mod_count", "integer", "Updates", read_only=True),
    Column("sys_tags", "related_tags", "Tags", read_only=True),
)
STATES = (
    ("1", "New"),
    ("2", "In Progress"),
    ("3", "On Hold"),
    ("6", "Resolved"),
    ("7", "Closed"),
    ("8", "Canceled"),
)
THREE = (("1", "1 - High"), ("2", "2 - Medium"), ("3", "3 - Low"))
PRIORITIES = (
    ("1", "1 - Critical"),
    ("2", "2 - High"),
    ("3", "3 - Moderate"),
    ("4", "4 - Low"),
    ("5", "5 - Planning"),
)
CONTACTS = (("email", "Email"), ("phone", "Phone"), ("self-service", "Self-service"), ("walk-in", "Walk-in"))
CATEGORIES = (
    ("inquiry", "Inquiry / Help"),
    ("software", "Software"),
    ("hardware", "Hardware"),
    ("network", "Network"),
    ("database", "Database"),
)
CLOSE_CODES = (
    ("Solved (Permanently)", "Solved (Permanently)"),
    ("Solved (Work Around)", "Solved (Work Around)"),
    ("Not Solved (Not Reproducible)", "Not Solved (Not Reproducible)"),
    ("Closed/Resolved by Caller", "Closed/Resolved by Caller"),
)

TASK = Table(
    "task",
    "Task",
    _columns(
        *SYSTEM,
        Column("number", "string", "Number", read_only=True),
        Column("sys_class_name", "sys_class_name", "Task type", 80, read_only=True),
        Column("short_description", "string", "Short description", 160, mandatory=True),
        Column("description", "string", "Description", 4000),
        Column("state", "integer", "State", choices=STATES, default="1"),
        Column("priority", "integer", "Priority", choices=PRIORITIES),
        Column("active", "boolean", "Active", default="true"),
        Column("assigned_to", "reference", "Assigned to", 32, "sys_user"),
        Column("assignment_group", "reference", "Assignment group", 32, "sys_user_group"),
        Column("opened_by", "reference", "Opened by", 32, "sys_user"),
        Column("closed_by", "reference", "Closed by", 32, "sys_user"),
        Column("cmdb_ci", "reference", "Configuration item", 32, "cmdb_ci"),
        Column("business_service", "reference", "Service", 32, "cmdb_ci_service"),
        Column("company", "reference", "Company", 32, "core_company"),
        Column("location", "reference", "Location", 32, "cmn_location"),
        Column("parent", "reference", "Parent", 32, "task"),
        Column("contact_type", "string", "Channel", choices=CONTACTS),
        Column("watch_list", "glide_list", "Watch list", 4000, "sys_user"),
        Column("correlation_id", "string", "Correlation ID", 100),
        Column("correlation_display", "string", "Correlation display", 100),
        Column("comments", "journal_input", "Additional comments", 4000),
        Column("work_notes", "journal_input", "Work notes", 4000),
        Column("comments_and_work_notes", "journal_list", "Comments and Work notes", 4000),
        Column("due_date", "glide_date_time", "Due date"),
        Column("follow_up", "glide_date_time", "Follow up"),
        Column("made_sla", "boolean", "Made SLA", default="true"),
        Column("knowledge", "boolean", "Knowledge", default="false"),
        Column("sys_domain", "domain_id", "Domain", 32, read_only=True),
        Column("sys_domain_path", "domain_path", "Domain Path", read_only=True),
        Column("close_notes", "string", "Close notes", 4000),
        *_plain("opened_at closed_at activity_due expected_start work_start work_end sla_due", "glide_date_time"),
        *_plain("business_duration calendar_duration time_worked", "glide_duration"),
        *_plain("impact urgency", "integer", choices=THREE, default="3"),
        *_plain("escalation reassignment_count order", "integer"),
        *_plain("upon_reject upon_approval approval approval_set approval_history user_input route_reason"),
        *_plain("task_effective_number delivery_plan delivery_task contract service_offering universal_request"),
        *_plain("group_list work_notes_list additional_assignee_list", "glide_list", reference="sys_user"),
    ),
    audit=True,
    prefix="TASK",
)
INCIDENT = Table(
    "incident",
    "Incident",
    _columns(
        Column("caller_id", "reference", "Caller", 32, "sys_user"),
        Column("category", "string", "Category", choices=CATEGORIES, default="inquiry"),
        Column("subcategory", "string", "Subcategory"),
        Column("severity", "integer", "Severity", choices=THREE, default="3"),
        Column("incident_state", "integer", "Incident state", choices=STATES, read_only=True),
        Column("close_code", "string", "Resolution code", choices=CLOSE_CODES),
        Column("resolved_by", "reference", "Resolved by", 32, "sys_user"),
        Column("resolved_at", "glide_date_time", "Resolved"),
        Column("reopened_by", "reference", "Last reopened by", 32, "sys_user"),
        Column("problem_id", "reference", "Problem", 32, "problem"),
        Column("rfc", "reference", "Change Request", 32, "change_request"),
        Column("caused_by", "reference", "Caused by Change", 32, "change_request"),
        Column("parent_incident", "reference", "Parent Incident", 32, "incident"),
        *_plain("business_stc calendar_stc reopen_count child_incidents", "integer"),
        *_plain("reopened_time", "glide_date_time"),
        *_plain("hold_reason origin_table origin_id business_impact cause notify"),
        Column("u_reference", "string", "Reference", 40),
        Column("u_effort", "decimal", "Effort"),
        Column("u_due", "glide_date", "Due"),
        Column("u_report", "html", "Report", 8000),
    ),
    extends="task",
    audit=True,
    prefix="INC",
)
USER = Table(
    "sys_user",
    "User",
    _columns(
        *SYSTEM,
        Column("user_name", "string", "User ID"),
        Column("name", "string", "Name", 151),
        Column("first_name", "string", "First name"),
        Column("last_name", "string", "Last name"),
        Column("email", "email", "Email", 100),
        Column("active", "boolean", "Active", default="true"),
        Column("time_zone", "string", "Time zone"),
        Column("last_login_time", "glide_date_time", "Last login time"),
        Column("web_service_access_only", "boolean", "Web service access only", default="false"),
        *_plain("title phone mobile_phone roles preferred_language employee_number"),
    ),
)
GROUP = Table(
    "sys_user_group",
    "Group",
    _columns(
        *SYSTEM,
        Column("name", "string", "Name", 80),
        Column("description", "string", "Description", 1000),
        Column("active", "boolean", "Active", default="true"),
        Column("email", "email", "Group email", 100),
        Column("manager", "reference", "Manager", 32, "sys_user"),
        Column("parent", "reference", "Parent", 32, "sys_user_group"),
        *_plain("roles source type cost_center default_assignee"),
        *_plain("exclude_manager include_members", "boolean", default="false"),
    ),
)


def _kept(name: str, label: str, names: str) -> Table:
    return Table(name, label, _columns(*SYSTEM, *_plain(names)))


TABLES = {
    table.name: table
    for table in (
        TASK,
        INCIDENT,
        Table("problem", "Problem", _columns(*_plain("cause_notes fix_notes")), "task", True, "PRB"),
        Table("change_request", "Change Request", _columns(*_plain("risk type")), "task", True, "CHG"),
        Table("sc_task", "Catalog Task", _columns(*_plain("request_item")), "task", True, "SCTASK"),
        USER,
        GROUP,
        _kept("cmdb_ci", "Configuration Item", "name"),
        _kept("cmdb_ci_service", "Service", "name"),
        _kept("core_company", "Company", "name"),
        _kept("cmn_location", "Location", "name"),
        _kept("sys_journal_field", "Journal Entry", "name element element_id value"),
        Table(
            "sys_attachment",
            "Attachment",
            _columns(
                *SYSTEM,
                *_plain("table_name table_sys_id file_name content_type average_image_color compressed"),
                *_plain("size_bytes size_compressed image_height image_width", "integer"),
            ),
            audit=True,
        ),
        _kept(
            "sys_audit",
            "Audit",
            "tablename documentkey fieldname oldvalue newvalue user record_checkpoint reason",
        ),
        _kept("sys_audit_delete", "Audit Deleted", "tablename documentkey display_value payload user"),
        Table(
            "sys_db_object",
            "Tables",
            _columns(
                *SYSTEM, *_plain("name label"), Column("super_class", "reference", "Extends table", 32, "sys_db_object")
            ),
        ),
        _kept(
            "sys_dictionary",
            "Dictionary",
            "name element column_label internal_type max_length mandatory read_only reference choice audit active "
            "default_value",
        ),
        _kept("sys_choice", "Choice", "name element value label language inactive sequence"),
    )
}


def chain(name: str) -> list[Table]:
    """The table and those it extends, itself first."""
    found = []
    table = TABLES.get(name)
    while table:
        found.append(table)
        table = TABLES.get(table.extends)
    return found


def columns_of(name: str) -> dict[str, Column]:
    found: dict[str, Column] = {}
    for table in reversed(chain(name)):
        found |= table.columns
    return found
