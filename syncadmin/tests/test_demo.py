"""The demo's company: what a newcomer is promised, counted in the stand-ins themselves."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from connections.sandbox.base import Request
from connections.sandbox.github import GitHubStandin
from connections.sandbox.jira import JiraStandin
from connections.sandbox.salesforce import SalesforceStandin
from connections.sandbox.servicenow import ServiceNowStandin
from connections.sandbox.zendesk import ZendeskStandin
from mappings.transforms import TRANSFORMS
from mappings.transforms.base import FieldSpec
from syncadmin.demo import (
    notes,
    seed_config,
    seed_github,
    seed_jira,
    seed_salesforce,
    seed_servicenow,
    seed_zendesk,
    standins,
    world,
)
from syncadmin.demo.credentials import INTEGRATION_EMAIL, Credentials

WORD = Credentials("a word")


@pytest.fixture(scope="module")
def jira() -> JiraStandin:
    standin = standins.make("jira", ":memory:", 0.0, WORD)
    assert isinstance(standin, JiraStandin)
    return standin


@pytest.fixture(scope="module")
def salesforce() -> SalesforceStandin:
    standin = standins.make("salesforce", ":memory:", 0.0, WORD)
    assert isinstance(standin, SalesforceStandin)
    return standin


def test_there_are_240_issues_and_220_cases_and_a_second_start_adds_none(
    jira: JiraStandin, salesforce: SalesforceStandin
) -> None:
    seed_jira.seed(jira, WORD)
    seed_salesforce.seed(salesforce, WORD)
    assert len(jira.issues(world.PROJECT_KEY)) == 240
    assert len(salesforce.org.cases()) == 220


@pytest.mark.parametrize("kind", sorted(standins.KINDS))
def test_each_stand_in_can_be_started_filled_and_shows_its_records_to_a_person(kind: str, tmp_path: Path) -> None:
    path = str(tmp_path / "standin.sqlite3")
    for _ in range(2):  # the second start finds what the first one made
        standin = standins.make(kind, path, 0.0, WORD)
    headers = {"host": "standin.test"}
    page = Request("GET", "/", {}, headers, b"")
    for _ in range(3):
        answer = standin.handle(page)
        if answer.status not in (302, 303):
            break
        page = Request("GET", answer.headers["Location"], {"view": "all"}, headers, b"")
    assert answer.status == 200 and "Ana Ruiz" in str(answer.body)


@pytest.mark.parametrize("kind", ["github", "servicenow", "zendesk"])
def test_a_few_records_are_there_once_and_the_sign_in_holds_after_a_restart(kind: str, tmp_path: Path) -> None:
    path = str(tmp_path / "standin.sqlite3")
    standins.make(kind, path, 0.0, WORD)
    again = standins.make(kind, path, 0.0, WORD)
    if isinstance(again, GitHubStandin):
        assert len(again.records.issues(again.records.found(seed_github.REPOSITORY))) == seed_github.ISSUES
        asked = Request("GET", "/api/v3/user", {}, {"authorization": f"Bearer {WORD.github_token()}"}, b"")
        assert again.handle(asked).status == 200
    elif isinstance(again, ZendeskStandin):
        assert len(again.records.tickets()) == seed_zendesk.TICKETS
        sent = base64.b64encode(f"{INTEGRATION_EMAIL}/token:{WORD.zendesk_token()}".encode()).decode()
        asked = Request("GET", "/api/v2/users/me", {}, {"authorization": f"Basic {sent}"}, b"")
        assert again.handle(asked).status == 200
    else:
        assert isinstance(again, ServiceNowStandin)
        assert len(again.records.rows("incident")) == seed_servicenow.INCIDENTS
        sent = base64.b64encode(f"syncadmin:{WORD.servicenow_password()}".encode()).decode()
        asked = Request("GET", "/api/now/table/incident", {}, {"authorization": f"Basic {sent}"}, b"")
        assert again.handle(asked).status == 200


def test_150_are_the_same_things_by_reference_or_else_by_summary(
    jira: JiraStandin, salesforce: SalesforceStandin
) -> None:
    reference = seed_jira.CUSTOM_FIELDS["reference"].id
    issues = [issue["fields"] for issue in jira.issues()]
    cases = salesforce.org.cases()
    by_reference = {case["Reference__c"]: case["Id"] for case in cases if case["Reference__c"]}
    by_subject = {case["Subject"]: case["Id"] for case in cases}
    assert len(by_subject) == len(cases)
    found = [by_reference.get(issue.get(reference)) or by_subject.get(issue["summary"]) for issue in issues]
    matched = [id for id in found if id]
    assert len(matched) == len(set(matched)) == 150
    assert 90 <= sum(1 for issue in issues if issue.get(reference) in by_reference) < 150


def test_people_who_left_still_hold_records_and_cannot_sign_in(
    jira: JiraStandin, salesforce: SalesforceStandin
) -> None:
    gone = {person.email for person in world.GONE}
    left_jira = {user["accountId"] for user in jira.site.users.values() if not user["active"]}
    left_org = {user["Id"] for user in salesforce.org.tables["User"].values() if not user["IsActive"]}
    assert {jira.site.users[account]["emailAddress"] for account in left_jira} == gone
    assert {issue["fields"].get("assignee") for issue in jira.issues()} & left_jira
    assert {case["OwnerId"] for case in salesforce.org.cases()} & left_org
    assert not any(jira.site.users[account]["token"] for account in left_jira)


def test_a_description_says_the_same_on_both_sides_although_one_is_a_document() -> None:
    left = FieldSpec("description", "Description", "rich_text", format="adf")
    right = FieldSpec("Description", "Description", "rich_text", format="plain", max_length=32000)
    lens = TRANSFORMS["rich_text"].build({}, left, right, [])
    accounts = {person.email: f"account of {person.name}" for person in world.PEOPLE}
    described = [ticket.description for ticket in world.world().both if ticket.description]
    assert {block.kind for blocks in described for block in blocks} == {"text", "bullets", "steps", "code"}
    assert any(block.who for blocks in described for block in blocks)
    for blocks in described:
        document, text = world.document(blocks, accounts), world.plain(blocks)
        assert lens.to_right(document, text, None) == text


def test_the_value_maps_name_only_values_that_the_stand_ins_offer(salesforce: SalesforceStandin) -> None:
    fields = salesforce.org.objects["Case"].fields
    assert {there for _, there in world.PRIORITIES} == set(fields["Priority"].values)
    assert {there for _, there in world.STATUSES} == set(fields["Status"].values)
    assert {there for _, there in world.SEVERITIES} == set(fields["Severity_Area__c"].values)
    assert set(world.LABELS) == set(fields["Labels__c"].values)
    assert set(world.AREAS) == set(fields["Product_Area__c"].values)
    assert {here for here, _ in world.STATUSES} == set(seed_jira.WAYS)


def test_the_mapping_has_ten_rules_a_key_in_each_direction_and_different_policies() -> None:
    rules = seed_config._rules()
    assert len(rules) >= 10
    directions = [options.get("direction", "both") for _, _, options in rules]
    assert {"to_right", "to_left", "both"} == set(directions)
    assert len({options.get("policy") for _, _, options in rules}) >= 5


def test_notes_keep_passwords_and_sign_ins_and_follow_the_addresses(tmp_path: Path) -> None:
    first = notes.keep(tmp_path, "http://127.0.0.1:8000", "http://127.0.0.1:8001", "http://127.0.0.1:8002")
    second = notes.keep(tmp_path, "http://127.0.0.1:8123", "http://127.0.0.1:8124", "http://127.0.0.1:8125")
    assert first.new
    assert not second.new
    assert second.users == first.users
    assert {user["role"] for user in first.users} == {"admin", "operator", "reviewer", "auditor"}
    written = json.loads((tmp_path / "demo.json").read_text())
    assert written["url"] == "http://127.0.0.1:8123"
    assert written["mapping"] == notes.MAPPING_SLUG
    assert written["jira"] == {
        "url": "http://127.0.0.1:8124",
        "email": INTEGRATION_EMAIL,
        "token": first.credentials.jira_token(INTEGRATION_EMAIL),
    }
    assert set(written["salesforce"]) == {"url", "client_id", "client_secret"}
    assert (tmp_path / "demo.json").stat().st_mode & 0o777 == 0o600


def test_notes_that_were_deleted_make_new_passwords_valid(tmp_path: Path) -> None:
    first = notes.keep(tmp_path, "http://a", "http://b", "http://c")
    (tmp_path / "demo.json").unlink()
    again = notes.keep(tmp_path, "http://a", "http://b", "http://c")
    assert again.new  # so that seeding sets the passwords of users that exist already
    assert again.users != first.users
    assert again.credentials == first.credentials  # the stand-ins know these
