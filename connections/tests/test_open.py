"""Connectors built from rows: tokens renewed by one worker, facts kept, waits obeyed, accounts watched."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.utils import timezone

from connections import open as opening
from connections.connectors import all_connectors, connector_class
from connections.connectors.base import NeedsAuthorization, NotAllowed, RateLimited, Retry
from connections.kept import State
from connections.models import Connection
from connections.open import (
    FoundAnother,
    accept_account,
    cached_fields,
    open_connector,
    store_retry_after,
    test_connection,
)
from connections.tests.jira_client import SCOPE, SECRET, TOKEN, US, jira_site_running, new_issue

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(opening, "_paused", {})
    monkeypatch.setattr(opening, "_fields", {})
    monkeypatch.setattr(opening.Budget, "spend", lambda self: None)


@pytest.fixture
def site():
    with jira_site_running() as (standin, jira):
        row = Connection.objects.create(
            name="Jira",
            kind="jira",
            address=jira.context.address,
            settings={"email": US},
            secrets={"api_token": TOKEN, "webhook_secret": SECRET},
        )
        yield standin, row


@pytest.fixture
def row():
    return Connection.objects.create(name="A", kind="jira", address="https://a.example", tokens={"access_token": "old"})


# The registry


def test_connectors_are_found_by_their_files():
    assert connector_class("jira").label == "Jira Cloud"
    kinds = [connector.kind for connector in all_connectors()]
    assert "jira" in kinds
    assert "memory" not in kinds
    assert "memory" in [connector.kind for connector in all_connectors(hidden=True)]
    with pytest.raises(KeyError):
        connector_class("nothing")


def test_a_connection_whose_connector_is_gone_says_so(row):
    row.kind = "gone"
    with pytest.raises(NotAllowed, match="no connector “gone”"):
        open_connector(row)


# Opening


def test_a_connector_calls_with_the_rows_address_and_secrets_and_counts(site):
    standin, row = site
    issue = new_issue(standin)
    calls = []
    jira = open_connector(row, on_call=lambda *call: calls.append(call[:2]))
    assert jira.get_many("issue", [issue["id"]], ["summary"])[issue["id"]].title == "Printer on fire"
    assert calls == [("read", 200)] * 2


def test_whoever_may_not_write_any_more_by_the_time_of_its_token_sends_nothing(site, monkeypatch):
    standin, row = site
    issue = new_issue(standin)
    replaced = []
    monkeypatch.setattr(opening.Budget, "spend", lambda self: replaced.append(True))
    jira = open_connector(row, may_write=lambda: not replaced)
    assert jira.get_many("issue", [issue["id"]], ["summary"])[issue["id"]].title == "Printer on fire"
    with pytest.raises(Retry, match="Nothing was sent"):
        jira.update("issue", issue["id"], {"summary": "Too late"}, None, ["summary"])
    assert not standin.history(issue["id"])


def test_a_wait_the_system_asked_for_holds_for_every_worker_and_is_never_shortened(site):
    standin, row = site
    standin.fault("status", path="myself", status=429, headers={"Retry-After": "600"}, body={})
    with pytest.raises(RateLimited):
        open_connector(row).check()
    row.refresh_from_db()
    until = row.retry_after
    assert timedelta(seconds=590) < until - timezone.now() < timedelta(seconds=601)
    store_retry_after(row.pk, 5)
    row.refresh_from_db()
    assert row.retry_after == until
    opening._paused.clear()  # as in another process
    standin.calls()
    with pytest.raises(RateLimited) as caught:
        open_connector(row).check()
    assert caught.value.after > 500
    assert standin.calls() == []


def test_a_wait_that_is_over_holds_nobody(site):
    _, row = site
    row.retry_after = timezone.now() - timedelta(seconds=1)
    row.save()
    open_connector(row).check()


# Test connection


def test_a_test_stores_what_it_found(site):
    _, row = site
    result = test_connection(row)
    row = Connection.objects.get(pk=row.pk)
    assert (row.state, row.account_id, row.account_name) == ("ok", "acc-sync", "Sync")
    assert row.tenant == result.tenant
    assert row.check_result["account_id"] == "acc-sync"
    assert abs(row.clock_offset) < 2
    assert row.checked_at
    assert row.state_since


def test_a_refused_sign_in_and_a_dead_site_are_different_states(site):
    standin, row = site
    standin.update_user(US, token="changed")
    with pytest.raises(NeedsAuthorization):
        test_connection(row)
    assert Connection.objects.get(pk=row.pk).state == "sign_in"
    standin.fault("status", path="myself", status=500)
    with pytest.raises(Retry):
        test_connection(row)
    row = Connection.objects.get(pk=row.pk)
    assert row.state == "unreachable"
    assert "status 500" in row.state_reason


def test_an_account_that_another_connection_uses_is_noticed(site):
    _, row = site
    test_connection(row)
    second = Connection.objects.create(
        name="Second", kind="jira", address=row.address, settings=row.settings, secrets=row.secrets
    )
    assert "The connection Jira uses the same account" in " ".join(test_connection(second).notes)
    assert "The connection Jira" in " ".join(Connection.objects.get(pk=second.pk).check_result["notes"])


def test_another_account_halts_until_a_person_accepts_it(site):
    _, row = site
    test_connection(row)
    row.settings = {"email": "ana@acme.example"}
    row.secrets = {"api_token": "t"}
    row.save()
    test_connection(row)
    row = Connection.objects.get(pk=row.pk)
    assert (row.state, row.account_id, row.usable) == ("account_changed", "acc-sync", False)
    assert "it was Sync" in row.state_reason
    accept_account(row, row.check_result)
    row = Connection.objects.get(pk=row.pk)
    assert (row.state, row.account_id, row.account_name, row.state_reason) == ("ok", "acc-ana", "Ana", "")


def test_only_the_account_that_a_person_saw_is_accepted(site):
    _, row = site
    test_connection(row)
    row.settings, row.secrets = {"email": "ana@acme.example"}, {"api_token": "t"}
    row.save()
    test_connection(row)
    for seen in ({}, {"account_id": "acc-sync", "tenant": row.tenant}, {"account_id": "acc-ana", "tenant": "another"}):
        with pytest.raises(FoundAnother):
            accept_account(row, seen)
    row = Connection.objects.get(pk=row.pk)
    assert (row.state, row.account_id) == ("account_changed", "acc-sync")


def test_another_site_behind_the_address_halts(site):
    standin, row = site
    test_connection(row)
    standin.base_url = "https://other.example"
    test_connection(row)
    row = Connection.objects.get(pk=row.pk)
    assert row.state == "account_changed"
    assert "other.example" in row.state_reason


def test_a_test_does_not_end_a_pause(site):
    _, row = site
    row.state = Connection.State.PAUSED
    row.save()
    test_connection(row)
    assert Connection.objects.get(pk=row.pk).state == "paused"


def test_a_test_leaves_what_others_stored_meanwhile(site):
    _, row = site
    stale = Connection.objects.get(pk=row.pk)
    State(row.pk, threading.get_ident()).put("kept", 1)
    test_connection(stale)
    assert State(row.pk, threading.get_ident()).get("kept") == 1


# Fields


def test_fields_are_asked_for_once_and_anew_on_demand(site):
    standin, row = site
    found = cached_fields(row, "issue", SCOPE)
    assert "summary" in {field.path for field in found}
    standin.calls()
    assert cached_fields(row, "issue", SCOPE) is found
    assert standin.calls() == []
    standin.add_field("Brand new", "line", field_id="customfield_10099")
    fresh = cached_fields(row, "issue", SCOPE, fresh=True)
    assert "customfield_10099" in {field.path for field in fresh}
    assert "customfield_10099" in {field.path for field in cached_fields(row, "issue", SCOPE)}


def test_secrets_show_nowhere(site):
    standin, row = site
    connector = open_connector(row)
    standin.fault("status", path="myself", status=400, body={"errorMessages": [f"bad token {TOKEN}"]})
    with pytest.raises(Exception, match="•••") as caught:
        connector.check()
    assert TOKEN not in str(caught.value)
    assert TOKEN not in repr(connector)
    assert SECRET not in repr(connector.context)


def test_writes_that_a_system_wants_apart_draw_on_a_budget_of_their_own(monkeypatch):
    spent = []
    monkeypatch.setattr(
        opening.Budget, "spend", lambda self: spent.append((self.key.rpartition("budget:")[2], self.rate))
    )
    hub = Connection.objects.create(name="Hub", kind="github", address="https://git.acme.example")
    before_call = open_connector(hub).context.http.before_call
    before_call("read")
    before_call("write")
    able = connector_class("github").capabilities
    calls, writes = (str(hub.pk), able.rate_per_second), (f"{hub.pk}:write", able.writes_per_second)
    assert spent == [calls, calls, writes]
