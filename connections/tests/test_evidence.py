"""The evidence helper finds what it must find: a helper that lets everything pass proves nothing."""

from __future__ import annotations

import pytest

from connections.tests.evidence import (
    answer_errors,
    check_answer,
    check_request,
    needs_evidence,
    payload,
    payload_body,
    request_errors,
    same_shape,
    spec,
)

pytestmark = needs_evidence

SEARCH = "/rest/api/3/search/jql"


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "part"),
    [
        ("GET", "/rest/api/3/search", {}, None, "not described"),
        ("DELETE", SEARCH, {}, None, "not described"),
        ("GET", SEARCH, {"jqll": "x"}, None, "'jqll'"),
        ("GET", SEARCH, {"maxResults": "many"}, None, "type integer"),
        ("POST", SEARCH, {}, {"maxResults": "5"}, "maxResults"),
        ("POST", SEARCH, {}, {"maxResult": 5}, "maxResult"),
        ("POST", SEARCH, {}, b"{", "not JSON"),
        ("POST", "/rest/api/3/issue/bulkfetch", {}, {}, "issueIdsOrKeys"),
        ("GET", "/rest/api/3/user/bulk", {}, None, "required"),
        ("POST", "/rest/api/3/issue", {}, None, "body is required"),
    ],
)
def test_a_request_the_description_does_not_allow_is_refused(method, path, query, body, part):
    errors = request_errors("jira_cloud", method, path, query, {"Content-Type": "application/json"}, body)
    assert any(part in e for e in errors), errors


def test_a_described_request_passes():
    check_request("jira_cloud", "GET", SEARCH, [("jql", "a=1"), ("fields", "summary"), ("maxResults", 5)])
    check_request("jira_cloud", "PUT", "/rest/api/3/issue/K-1", "returnIssue=true", {}, {"fields": {"summary": "x"}})
    check_request("salesforce", "GET", "/services/data/v60.0/query", {"q": "SELECT Id FROM Case"})
    check_request("salesforce", "GET", "/services/data/v60.0/query/01g000-2000")


def test_a_literal_path_wins_over_a_variable_one():
    methods = spec("jira_cloud").find("/rest/api/3/issue/bulk")
    assert methods["post"].template == "/rest/api/3/issue/bulk"


def test_an_answer_of_the_wrong_type_is_refused_and_null_is_not():
    path = "/rest/api/3/issue/K-1"
    assert answer_errors("jira_cloud", "GET", path, 200, {"id": 7})
    assert not answer_errors("jira_cloud", "GET", path, 200, {"id": None, "unheard": 1})
    assert answer_errors("jira_cloud", "GET", path, 299, {})
    assert answer_errors("jira_cloud", "DELETE", path, 204, {"a": 1})


RECORDED = [
    ("jira/search_jql_page", "jira_cloud", "GET", SEARCH, 200),
    ("jira/issue_create", "jira_cloud", "POST", "/rest/api/3/issue", 201),
    ("jira/serverinfo", "jira_cloud", "GET", "/rest/api/3/serverInfo", 200),
    ("jira/fields_metadata", "jira_cloud", "GET", "/rest/api/3/field", 200),
    ("zendesk/ticket_create", "zendesk", "POST", "/api/v2/tickets", 201),
    ("servicenow/incident_list", "servicenow", "GET", "/api/now/table/incident", 200),
]


@pytest.mark.parametrize(("name", "spec_name", "method", "path", "status"), RECORDED)
def test_recorded_answers_pass(name, spec_name, method, path, status):
    check_answer(spec_name, method, path, status, payload_body(name))


def test_shapes_are_compared_by_key_and_type():
    assert same_shape({"a": [{"b": 1}]}, {"a": [{"b": "1"}]}) == ["a[].b: recorded number, answered string"]
    assert same_shape({"a": None, "b": 1}, {"a": 1}) == []
    assert same_shape({"b": 1}, {"a": 1}, missing=True) == ["b: recorded, not answered"]
    assert payload("jira/serverinfo")["response"]["status"] == 200
