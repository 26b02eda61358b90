"""What Jira says about fields: which there are, which can be written, and what they can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from connections.connectors.base import ConnectorError, Field, Option, Values
from connections.connectors.jira_site import Site, segment
from connections.connectors.jira_values import KEY, READ_ONLY, Spec, named, quoted

COMMENT_FIELDS = (
    Field("body", "Text", "rich_text", format="adf", required=True, max_length=32_767),
    Field("author", "Author", "person", writable=False, creatable=False),
    Field("created", "Created", "datetime", writable=False, creatable=False),
    Field("public", "Visible to customers", "boolean", writable=False, creatable=False),
)
# Lists that people read first; the rest follows by label.
FIRST = ("key", "summary", "description", "status", "priority", "issuetype", "assignee", "reporter", "labels")


def fields_of_issues(site: Site, scope: Values) -> list[Field]:
    """Fields of the issues in scope. Without a project, Jira tells neither options nor what is required."""
    specs = site.specs(fresh=True)
    project = str(scope.get("project") or "")
    create = _create_fields(site, project, scope.get("issue_types") or ()) if project else []
    edit = _edit_fields(site, project) if project else None
    statuses = _statuses(site, project, scope.get("issue_types") or ()) if project else ()
    found = []
    for spec in specs.values():
        metas = [fields[spec.id] for fields in create if spec.id in fields]
        if project and spec.custom and not metas and spec.id not in (edit or {}):
            continue  # a field of other projects
        found.append(_field(spec, metas, len(create), edit, statuses, bool(project)))
    order = {path: position for position, path in enumerate(FIRST)}
    return sorted(found, key=lambda field: (order.get(field.path, len(order)), field.label.casefold()))


def described_issues(site: Site, scope: Values) -> list[Field]:
    """Every field of the site as it is now, for a comparison: none is left out because an example does not have it.

    Screens differ from issue type to issue type, so the newest issue of each is asked. Where a type has none, nobody
    can tell what its screen lacks: there everything counts as writable.
    """
    specs = site.specs(fresh=True)
    project, wanted = str(scope.get("project") or ""), scope.get("issue_types") or ()
    create = _create_fields(site, project, wanted) if project else []
    screens, complete = _screens(site, project, wanted) if project else ({}, False)
    statuses = _statuses(site, project, wanted) if project else ()
    found = []
    for spec in specs.values():
        metas = [fields[spec.id] for fields in create if spec.id in fields]
        told = _field(spec, metas, len(create), screens, statuses, bool(project))
        fixed = spec.id in READ_ONLY or spec.id in (KEY.id, "resolution")
        found.append(told if complete or fixed else replace(told, writable=True))
    return found


def _screens(site: Site, project: str, wanted: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """({field id: metadata} of the edit screens, whether an issue of every type could be asked)."""
    found: dict[str, Any] = {}
    complete = True
    for one in issue_types(site, project):
        if (wanted and not _named(one, wanted)) or (not wanted and one.get("subtask")):
            continue
        shown = _edit_fields(site, project, f" AND issuetype = {segment(str(one['id']))}")
        complete = complete and bool(shown)  # an empty screen is that of an issue which its workflow closed to edits
        for path, meta in (shown or {}).items():
            found.setdefault(path, meta)
    return found, complete and bool(found)


def _field(
    spec: Spec,
    metas: Sequence[Mapping[str, Any]],
    types: int,
    edit: Mapping[str, Any] | None,
    statuses: Sequence[str],
    in_project: bool,
) -> Field:
    read_only = spec.id in READ_ONLY or spec.id == KEY.id
    is_status = spec.id == "status"
    # Without an issue to ask, what can be set at the creation is taken to be editable.
    editable = (spec.id in edit) if edit is not None else bool(metas) or not in_project
    allowed = [value for meta in [*metas, (edit or {}).get(spec.id) or {}] for value in meta.get("allowedValues") or []]
    options = {str(named(value, spec.name_key)): value for value in allowed if named(value, spec.name_key)}
    required = bool(metas) and any(m.get("required") and not m.get("hasDefaultValue") for m in metas)
    return Field(
        path=spec.id,
        label=spec.label,
        kind=spec.kind,
        format=spec.format,
        options=tuple(
            Option(name, name)
            for name in (statuses if is_status else options if spec.kind in ("option", "set") else ())
        ),
        writable=is_status or (editable and not read_only and spec.id != "resolution"),
        creatable=not read_only and not is_status and (bool(metas) or not in_project),
        required=required and spec.id not in ("issuetype", "reporter"),  # filled by the connector, and by Jira
        max_length=spec.max_length,
        separate_write=is_status,
        matchable=spec.id == KEY.id or (spec.kind == "text" and (spec.custom or spec.id == "summary")),
    )


def issue_types(site: Site, project: str) -> list[Mapping[str, Any]]:
    """Issue types of a project in which our account can create."""
    return site.cached(
        f"types {project}",
        lambda: list(site.pages(f"issue/createmeta/{segment(project)}/issuetypes", "issueTypes")),
    )


def _create_fields(site: Site, project: str, wanted: Sequence[str]) -> list[dict[str, Mapping[str, Any]]]:
    """{field id: metadata} for each issue type in scope."""
    found = []
    for one in issue_types(site, project):
        if (wanted and not _named(one, wanted)) or (not wanted and one.get("subtask")):
            continue
        path = f"issue/createmeta/{segment(project)}/issuetypes/{segment(one['id'])}"
        found.append({str(m.get("fieldId") or m.get("key")): m for m in site.pages(path, "fields", id_key="")})
    return found


def _edit_fields(site: Site, project: str, where: str = "") -> Mapping[str, Any] | None:
    """{field id: metadata} of the edit screen of the newest issue; None where there is no issue to ask."""
    issues, _ = next(site.search(f"project = {quoted(project)}{where} ORDER BY created DESC", size=1))
    if not issues:
        return None
    try:
        return dict(site.get(f"issue/{segment(issues[0]['id'])}/editmeta").get("fields") or {})
    except ConnectorError:
        return None  # deleted since, or hidden: the creation's metadata has to do


def _named(issue_type: Mapping[str, Any], wanted: Sequence[str]) -> bool:
    """Whether the scope names this issue type: Jira's search takes its name in any letters, or its id."""
    names = {name.casefold() for name in wanted}
    return not names.isdisjoint({str(issue_type.get("name")).casefold(), str(issue_type.get("id"))})


def _statuses(site: Site, project: str, wanted: Sequence[str]) -> list[str]:
    found: dict[str, None] = {}
    for one in site.entries(f"project/{segment(project)}/statuses"):
        if wanted and not _named(one, wanted):
            continue
        found.update(dict.fromkeys(str(status["name"]) for status in one.get("statuses") or []))
    return list(found)


def default_issue_type(site: Site, scope: Values) -> str:
    """The issue type of new issues where no rule says one."""
    chosen = scope.get("issue_types") or ()
    if chosen:
        return str(chosen[0])
    names = [str(one["name"]) for one in issue_types(site, str(scope.get("project"))) if not one.get("subtask")]
    return "Task" if "Task" in names or not names else names[0]
