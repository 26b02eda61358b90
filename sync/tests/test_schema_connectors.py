"""Fields that change at the stand-ins of Salesforce and Jira, seen through their connectors and the comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from connections.connectors.base import Connector, Field, Refused
from connections.connectors.jira import Jira
from connections.tests.jira_client import SCOPE, US, CheckedJira, jira_site_running, new_issue
from connections.tests.salesforce_world import World, world
from mappings.document import field_snapshot
from sync.schema import Finding, compare

JIRA_FIELDS = ("summary", "customfield_10050", "customfield_10051", "customfield_10053")


def version(fields: Sequence[Field], paths: Sequence[str], **side: Any) -> dict[str, Any]:
    """A document that pairs each of these fields with its like; the system is on the right."""
    known = {one.path: one for one in fields}
    given = {"create": True, "create_defaults": {}, "scope": {}, **side}
    rules = [
        {
            "id": path,
            "left": field_snapshot(path, known),
            "right": field_snapshot(path, known),
            "direction": "both",
            "entries": [],
        }
        for path in paths
    ]
    return {"left": given, "right": given, "rules": rules, "match_keys": []}


def found(connector: Connector, object_type: str, doc: dict[str, Any], scope: Any = None) -> list[Finding]:
    return compare(doc, {"right": connector.described(object_type, scope or {})})


# Salesforce. -----------------------------------------------------------------------------------------------------

CASE_FIELDS = ("Subject", "Description", "Priority", "OwnerId")


@pytest.fixture
def org() -> Iterator[tuple[World, dict[str, Any]]]:
    with world() as one:
        yield one, version(one.connector.described("Case", {}), CASE_FIELDS)


def test_salesforce_as_it_was_published_has_no_findings(org: tuple[World, dict[str, Any]]) -> None:
    one, doc = org
    assert found(one.connector, "Case", doc) == []


def test_a_field_that_salesforce_hides_is_found_and_reads_go_on_without_it(org: tuple[World, dict[str, Any]]) -> None:
    """A query that names the field would be refused as a whole."""
    one, doc = org
    case = one.case(Description="secret")
    one.connector.get_many("Case", [case], CASE_FIELDS)
    one.org.set_field("Case", "Description", hidden=True)
    record = one.connector.get_many("Case", [case], CASE_FIELDS)[case]
    assert "Description" in record.unreadable and record.values["Subject"] == "Printer on fire"
    (finding,) = found(one.connector, "Case", doc)
    assert (finding.code, finding.rule, finding.side) == ("field_removed", "Description", "right")
    with pytest.raises(Refused) as refusal:
        one.connector.update("Case", case, {"Description": "new"}, None, CASE_FIELDS)
    assert "Description" in refusal.value.fields, "a write names the field, so that the schema is looked at"
    one.org.set_field("Case", "Description", hidden=False)
    assert found(one.connector, "Case", doc) == []


def test_what_else_can_change_at_salesforce(org: tuple[World, dict[str, Any]]) -> None:
    one, doc = org
    one.org.set_field("Case", "Description", read_only=True)
    one.org.set_field("Case", "Priority", values=("P1", "P2"))
    one.org.set_field("Case", "Subject", length=40)
    codes = {(finding.rule, finding.code) for finding in found(one.connector, "Case", doc)}
    wanted = {("Description", "read_only"), ("Priority", "option_removed"), ("Subject", "shortened")}
    assert codes == wanted
    case = one.case()
    with pytest.raises(Refused) as refusal:
        one.connector.update("Case", case, {"Description": "new"}, None, CASE_FIELDS)
    assert set(refusal.value.fields) == {"Description"}


def test_a_field_that_salesforce_demands_now_holds_new_cases(org: tuple[World, dict[str, Any]]) -> None:
    one, doc = org
    one.org.set_field("Case", "SuppliedName", nillable=False)
    (finding,) = found(one.connector, "Case", doc)
    assert (finding.code, finding.subject, finding.path) == ("newly_required", "create:right", "SuppliedName")


def test_a_filter_by_a_field_that_is_gone_names_it(org: tuple[World, dict[str, Any]]) -> None:
    one, _ = org
    one.org.set_field("Case", "SuppliedName", hidden=True)
    with pytest.raises(Refused) as refusal:
        next(one.connector.changed_since("Case", None, ["Subject"], {"where": "SuppliedName = 'x'"}))
    assert set(refusal.value.fields) == {"SuppliedName"}


# Jira. -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def site() -> Iterator[tuple[CheckedJira, Jira, dict[str, Any]]]:
    with jira_site_running() as (standin, jira):
        new_issue(standin)
        new_issue(standin, issuetype="Bug")
        yield standin, jira, version(jira.described("issue", SCOPE), JIRA_FIELDS, scope=SCOPE)


Site = tuple[CheckedJira, Jira, dict[str, Any]]


def test_jira_as_it_was_published_has_no_findings_whatever_issue_is_newest(site: Site) -> None:
    standin, jira, doc = site
    assert found(jira, "issue", doc, SCOPE) == []
    published = version(jira.fields("issue", SCOPE), JIRA_FIELDS, scope=SCOPE)
    assert found(jira, "issue", published, SCOPE) == [], "what the editor saw fits what is compared with it"
    new_issue(standin, issuetype="Bug")
    assert found(jira, "issue", doc, SCOPE) == []


def test_a_field_that_jira_hides_is_found_and_read_as_hidden(site: Site) -> None:
    standin, jira, doc = site
    issue = new_issue(standin, **{"Case number": "77"})
    standin.update_user(US, hidden_fields=["customfield_10053"])
    record = jira.get_many("issue", [issue["id"]], JIRA_FIELDS)[issue["id"]]
    assert record.unreadable == {"customfield_10053"} and record.values["summary"] == "Printer on fire"
    (finding,) = found(jira, "issue", doc, SCOPE)
    assert (finding.code, finding.rule) == ("field_removed", "customfield_10053")
    standin.update_user(US, hidden_fields=[])
    assert found(jira, "issue", doc, SCOPE) == []


def test_a_field_that_jira_removed_under_its_name_is_found_with_its_namesake(site: Site) -> None:
    standin, jira, doc = site
    del standin.site.fields["customfield_10053"]
    standin.add_field("Case number", "line", field_id="customfield_10099")
    (finding,) = found(jira, "issue", doc, SCOPE)
    assert (finding.code, finding.params["suggestion"]) == ("field_renamed", "customfield_10099")


def test_a_filter_that_names_a_field_which_jira_has_not_names_it(site: Site) -> None:
    _, jira, _ = site
    with pytest.raises(Refused) as refusal:
        next(jira.changed_since("issue", None, ["summary"], {**SCOPE, "jql": "Nowhere = x"}))
    assert set(refusal.value.fields) == {"Nowhere"}
