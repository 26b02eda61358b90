"""What the GitHub connector decides without a call: marks, versions, positions, refusals, deliveries."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from connections.connectors import github_listing as listing
from connections.connectors.base import (
    DeliveryRequest,
    Gone,
    NeedsAuthorization,
    NotAllowed,
    ParsedDelivery,
    RateLimited,
    Refused,
    Retry,
)
from connections.connectors.github_errors import as_error
from connections.connectors.github_site import addresses, graphql_address, split
from connections.connectors.github_values import (
    comment_record,
    is_pull_request,
    issue_record,
    marked,
    unmarked,
    version_of,
)
from connections.connectors.github_webhook import PROOF, parse
from connections.connectors.http import Answer
from connections.connectors.proofs import check
from connections.tests.evidence import needs_evidence, payload, payload_body

AT = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


# The hidden mark -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["k", "a-b--c-->d", 'k"1', "key?7&x=#", "日本", "a b\n"])
@pytest.mark.parametrize("text", [None, "x", "x\n", "\n\nx", "one\n\ntwo", "<!-- not ours -->", "trailing  "])
def test_a_marked_text_is_read_as_it_was_with_its_key(text, key):
    assert unmarked(marked(text, key)) == (text, key)
    assert marked(text, key).count("-->") == (2 if text and "-->" in text else 1)


def test_a_text_without_a_key_gets_no_mark():
    assert marked("x", None) == "x"
    assert unmarked("x") == ("x", None)
    assert unmarked(None) == unmarked("") == (None, None)


def test_what_people_write_below_the_mark_stays_and_the_last_mark_counts():
    assert unmarked(marked("one", "k") + "\n\ntwo") == ("one\n\ntwo", "k")
    assert unmarked(marked(marked("one", "old"), "new")) == ("one", "new")


def test_line_ends_of_the_web_editor_are_one_sign_also_around_the_mark():
    assert unmarked("one\r\ntwo\r\n\r\n<!-- syncadmin:k -->") == ("one\ntwo", "k")


# Records ---------------------------------------------------------------------------------------------------------


def issue(**more: Any) -> dict[str, Any]:
    user = {"id": 7, "login": "ana"}
    given = {"number": 5, "title": "T", "body": "B", "state": "open", "labels": [{"name": "b"}, "a"], "user": user}
    return {**given, "assignees": [], "updated_at": "2026-01-01T00:00:00Z", **more}


@pytest.mark.parametrize(
    "change",
    [
        {"title": "U"},
        {"body": "C"},
        {"state": "closed", "state_reason": "completed"},
        {"labels": []},
        {"assignees": [{"id": 8, "login": "ben"}]},
        {"milestone": {"title": "1.0"}},
        {"type": {"name": "Bug"}},
        {"updated_at": "2026-01-01T00:00:01Z"},
    ],
)
def test_every_change_makes_another_version(change):
    assert version_of(issue(**change)) != version_of(issue())


def test_what_is_absent_and_what_is_empty_are_one_version():
    assert version_of(issue(milestone=None, type=None, locked=False, state_reason="reopened")) == version_of(issue())


def test_a_part_of_another_form_is_unreadable_and_not_empty():
    fields = ["title", "labels", "milestone", "assignee", "created", "state"]
    broken = issue(title=7, labels=5, milestone="1.0", assignees=[{}], created_at="soon", state="ajar")
    record = issue_record("acme/app", broken, fields, {})
    assert (dict(record.values), record.unreadable) == ({}, frozenset(fields))


def test_an_account_that_was_deleted_is_nobody():
    record = issue_record("acme/app", issue(user=None), ["author"], {})
    assert (record.created_by, record.values["author"]) == (None, None)


def test_a_pull_request_is_told_by_what_its_key_holds():
    assert is_pull_request(issue(pull_request={"url": "https://api.github.test/pulls/5"}))
    assert not is_pull_request(issue(pull_request={"html_url": None, "diff_url": None, "patch_url": None}))
    assert not is_pull_request(issue())


@needs_evidence
def test_recorded_issues_and_comments_are_read_in_normal_form():
    fields = ["title", "body", "state", "state_reason", "labels", "milestone", "assignee", "type", "closed", "author"]
    record = issue_record("PyGithub/PyGithub", payload_body("github/issue_get"), fields, {"327146": "v@example.org"})
    assert dict(record.values) == {
        "title": "Issue created by PyGithub",
        "body": "Body edited by PyGithub\n",
        "state": "Closed",
        "state_reason": "Completed",
        "labels": ["bug", "question"],
        "milestone": "Version 1.4",
        "assignee": "v@example.org",
        "type": "Bug",
        "closed": "2012-05-26T14:59:33Z",
        "author": "v@example.org",
    }
    assert (record.external_id, record.key) == ("28", "PyGithub/PyGithub#28")
    listed = payload_body("github/issue_list_since")
    assert not any(is_pull_request(row) for row in listed)
    assert all(not issue_record("x/y", row, ["title", "labels", "milestone"], {}).unreadable for row in listed)
    first = comment_record(payload_body("github/issue_comments_since")[0], ["body", "created"], {})
    assert "\r" not in str(first.values["body"]) and first.values["created"] == "2012-05-01T22:03:59Z"


# Positions -------------------------------------------------------------------------------------------------------


def test_a_watermark_keeps_its_position_and_its_tags_while_it_is_moved():
    mark = listing.Mark("2026-01-01T00:10:00Z", "2026-01-01T00:10:00Z", {"0a": 'W/"1"', "0b": '"2"'})
    moved = listing.shift(str(mark), 600)
    assert listing.parse(moved) == listing.Mark("2026-01-01T00:00:00Z", mark.origin, mark.tags)
    assert listing.shift(moved, -600) == str(mark)


def test_a_watermark_with_two_long_tags_fits_its_column():
    tag = f'W/"{"f" * 64}"'
    mark = listing.Mark("2026-01-01T00:10:00Z", "2026-01-01T00:20:00Z", {"0" * 8: tag, "1" * 8: tag})
    assert len(str(mark)) <= 300


def test_a_position_that_is_none_of_ours_is_refused():
    with pytest.raises(Retry):
        listing.parse("soon")


@pytest.mark.parametrize("read", [100, 190, 250, 1234, 10_000])
def test_a_page_in_the_middle_of_a_moment_begins_with_rows_seen_and_reaches_beyond_them(read):
    size, page = listing.window(read)
    begin = (page - 1) * size
    assert listing.SMALLEST_WINDOW <= size <= 100
    assert begin + listing.SHARED_ROWS <= read < begin + size


# Refusals --------------------------------------------------------------------------------------------------------


def answer(status: int, body: Any = None, write: bool = False, **headers: str) -> Answer:
    named = CaseInsensitiveDict({name.replace("_", "-"): value for name, value in headers.items()})
    return Answer(status, named, body, json.dumps(body), 0.1, AT, "https://api.github.test/x", write)


@pytest.mark.parametrize("status", [403, 429])
def test_the_hourly_limit_waits_until_it_ends_by_githubs_clock(status):
    end = str(int(AT.timestamp()) + 90)
    error = as_error(answer(status, {"message": "x"}, X_RateLimit_Remaining="0", X_RateLimit_Reset=end))
    assert isinstance(error, RateLimited) and error.after == 91


@pytest.mark.parametrize("status", [403, 429])
def test_the_secondary_limit_waits_as_told_or_a_minute(status):
    said = {"message": "You have exceeded a secondary rate limit. Please wait."}
    told = as_error(answer(status, said, Retry_After="17", X_RateLimit_Remaining="4000"))
    untold = as_error(answer(status, said, X_RateLimit_Remaining="4000"))
    assert isinstance(told, RateLimited) and told.after == 17
    assert isinstance(untold, RateLimited) and untold.after == 60


@needs_evidence
def test_the_recorded_limit_is_a_limit_and_the_recorded_refusals_are_none():
    limited = payload("github/rate_limit_exceeded_unauthenticated")["response"]
    headers = {name.replace("-", "_"): value for name, value in limited["headers"].items() if name != "status"}
    assert isinstance(as_error(answer(403, limited["body"], **headers)), RateLimited)
    refused = as_error(answer(422, payload_body("github/validation_error"), write=True), sent=["key", "title"])
    assert isinstance(refused, Refused) and set(refused.fields) == {"key"}
    assert isinstance(as_error(answer(404, payload_body("github/not_found")), one="issue x#1"), Gone)


def test_a_missing_right_is_named_as_github_names_it():
    said = {"message": "Resource not accessible by personal access token"}
    error = as_error(answer(403, said, write=True, X_Accepted_GitHub_Permissions="issues=write"))
    assert isinstance(error, NotAllowed) and "issues: write" in error.message


def test_not_found_is_a_hidden_or_deleted_issue_and_410_a_deletion():
    said = {404: "Not Found", 410: "This issue was deleted"}
    hidden, deleted = (as_error(answer(n, {"message": text}), one="issue a/b#1") for n, text in said.items())
    assert isinstance(hidden, Gone) and not hidden.certain
    assert isinstance(deleted, Gone) and deleted.certain


@pytest.mark.parametrize("said", ["Issues are disabled for this repo", "Issues has been disabled in this repository."])
def test_an_issue_of_a_repository_whose_issues_are_turned_off_is_not_deleted(said):
    error = as_error(answer(410, {"message": said}), one="issue a/b#1")
    assert isinstance(error, NotAllowed) and "turned off" in error.message


def test_not_found_for_a_list_is_a_missing_right_and_never_a_deletion():
    assert isinstance(as_error(answer(404, {"message": "Not Found"})), NotAllowed)
    assert isinstance(as_error(answer(410, {"message": "Issues are disabled"})), NotAllowed)
    assert isinstance(as_error(answer(401, {"message": "Bad credentials"})), NeedsAuthorization)


# Addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "web", "api", "graphql"),
    [
        ("https://github.com", "https://github.com", "https://api.github.com", "https://api.github.com/graphql"),
        ("https://www.github.com/", "https://github.com", "https://api.github.com", "https://api.github.com/graphql"),
        ("https://api.github.com", "https://github.com", "https://api.github.com", "https://api.github.com/graphql"),
        ("https://x.ghe.com", "https://x.ghe.com", "https://api.x.ghe.com", "https://api.x.ghe.com/graphql"),
        ("https://git.acme.example", "https://git.acme.example", "https://git.acme.example/api/v3", None),
        ("https://git.acme.example/api/v3", "https://git.acme.example", "https://git.acme.example/api/v3", None),
    ],
)
def test_the_address_entered_leads_to_that_of_the_api(given, web, api, graphql):
    assert addresses(given) == (web, api)
    assert graphql_address(api) == (graphql or "https://git.acme.example/api/graphql")


def test_a_repository_may_be_called_comments():
    assert split("acme/comments") == ("acme/comments", False)
    assert split("acme/comments/comments") == ("acme/comments", True)


# Deliveries ------------------------------------------------------------------------------------------------------


def delivery(event: str, body: Any, secret: str = "s", **headers: str) -> DeliveryRequest:
    raw = json.dumps(body).encode()
    signature = "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    given = {"x-github-event": event, "x-github-delivery": "d-1", "x-hub-signature-256": signature}
    return DeliveryRequest("POST", "/hooks/x", {**given, **headers}, raw)


def parsed_by(
    request: DeliveryRequest, secret: str, account: str | None, repositories: Sequence[str]
) -> ParsedDelivery:
    return parse(request, check(PROOF, {PROOF.secret: secret}, request, 0.0), account, repositories)


@needs_evidence
def test_recorded_deliveries_name_their_records_in_the_connections_spelling():
    edited = payload("github/webhook_issues_edited")
    parsed = parsed_by(delivery("issues", edited), "s", "21031067", ["codertocat/hello-world"])
    [hint] = parsed.hints
    assert (hint.object_type, hint.external_id, hint.verified) == ("codertocat/hello-world", "1", True)
    assert hint.own_account and hint.version == version_of(edited["issue"])
    commented = payload("github/webhook_issue_comment_edited")
    parsed = parsed_by(delivery("issue_comment", commented), "s", None, ["Codertocat/Hello-World"])
    assert [(h.object_type, h.external_id) for h in parsed.hints] == [
        ("Codertocat/Hello-World/comments", "492700400"),
        ("Codertocat/Hello-World", "1"),
    ]


def event(action: str, **more: Any) -> dict[str, Any]:
    sender = {"id": 7, "login": "ana"}
    return {"action": action, "issue": issue(), "repository": {"full_name": "acme/app"}, "sender": sender, **more}


def test_a_deletion_is_told_as_such_and_a_transfer_is_none():
    [deleted] = parsed_by(delivery("issues", event("deleted")), "s", None, ["acme/app"]).hints
    [moved] = parsed_by(delivery("issues", event("transferred")), "s", None, ["acme/app"]).hints
    assert (deleted.deleted, deleted.version, moved.deleted, moved.version) == (True, None, False, None)


def test_changes_are_told_where_all_of_them_are_known():
    told = parsed_by(delivery("issues", event("edited", changes={"title": {"from": "S"}})), "s", None, ["acme/app"])
    assert told.hints[0].changes == {"title": "T"}
    more = {"title": {"from": "S"}, "odd": {}}
    assert (
        parsed_by(delivery("issues", event("edited", changes=more)), "s", None, ["acme/app"]).hints[0].changes is None
    )


@pytest.mark.parametrize(
    "body",
    [
        event("edited", repository={"full_name": "acme/other"}),
        event("edited", issue=issue(pull_request={"url": "x"})),
        {"zen": "Design for failure.", "hook_id": 1, "hook": {}, "repository": {"full_name": "acme/app"}},
    ],
)
def test_deliveries_that_concern_no_issue_of_ours_are_taken_and_ring_for_nobody(body):
    name = "ping" if "zen" in body else "issues"
    parsed = parsed_by(delivery(name, body), "s", None, ["acme/app"])
    assert parsed.verified and list(parsed.hints) == []


def test_the_older_signature_is_not_looked_at():
    request = delivery("issues", event("edited"))
    old = "sha1=" + hmac.new(b"s", request.body, hashlib.sha1).hexdigest()
    headers = {n: v for n, v in request.headers.items() if n != "x-hub-signature-256"} | {"x-hub-signature": old}
    parsed = parsed_by(DeliveryRequest("POST", "/hooks/x", headers, request.body), "s", None, ["acme/app"])
    assert (parsed.verified, parsed.reason) == (False, "the request is not signed")


def test_without_a_secret_nothing_is_verified():
    assert not parsed_by(delivery("issues", event("edited"), ""), "", None, ["acme/app"]).verified
