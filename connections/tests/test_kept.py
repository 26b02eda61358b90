"""What connectors keep: facts key by key, and tokens that one worker renews for all."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from connections import kept
from connections.connectors.base import NeedsAuthorization, Retry
from connections.kept import State, Tokens
from connections.models import Connection

pytestmark = pytest.mark.django_db


@pytest.fixture
def row():
    return Connection.objects.create(name="A", kind="jira", address="https://a.example", tokens={"access_token": "old"})


def test_facts_are_kept_key_by_key(row):
    State(row.pk, threading.get_ident()).put("a", {"x": 1})
    State(row.pk, threading.get_ident()).put("b", 2)
    state = State(row.pk, threading.get_ident())
    assert (state.get("a"), state.get("b"), state.get("c", "none")) == ({"x": 1}, 2, "none")


def test_a_change_of_a_fact_is_made_from_what_it_is_under_the_lock(row):
    """⚑ Two workers that each add something must not drop what the other added."""
    state = State(row.pk, threading.get_ident())
    state.put("jobs", {"a": 1})
    with CaptureQueriesContext(connection) as asked:
        state.change("jobs", lambda jobs: {**(jobs or {}), "b": 2})
    state.change("new", lambda nothing: [nothing])
    assert (state.get("jobs"), state.get("new")) == ({"a": 1, "b": 2}, [None])
    [read] = [query["sql"] for query in asked if query["sql"].startswith("SELECT")]
    assert "FOR NO KEY UPDATE" in read or not connection.features.has_select_for_update


def tokens_of(row):
    return Tokens(Connection.objects.get(pk=row.pk), threading.get_ident())


def test_a_new_token_is_stored_encrypted_and_seen_by_the_next_worker(row):
    tokens = tokens_of(row)
    hidden = []
    tokens.on_new = hidden.append
    stale = tokens.current()
    assert tokens.renew(stale, lambda: {"access_token": "a-new-long-token"}) == {"access_token": "a-new-long-token"}
    assert tokens.current() == tokens_of(row).current() == {"access_token": "a-new-long-token"}
    assert hidden == ["a-new-long-token"]
    assert kept.LEASE not in Connection.objects.get(pk=row.pk).facts


def test_a_token_another_worker_stored_is_taken_without_a_sign_in(row):
    early, late = tokens_of(row), tokens_of(row)
    stale = early.current()
    late.renew(stale, lambda: {"access_token": "theirs"})

    def never():
        raise AssertionError("signed in twice")

    assert early.renew(stale, never) == {"access_token": "theirs"}


def test_a_failed_sign_in_gives_the_turn_back(row):
    def refused():
        raise NeedsAuthorization("no")

    tokens = tokens_of(row)
    with pytest.raises(NeedsAuthorization):
        tokens.renew(tokens.current(), refused)
    assert tokens.renew(tokens.current(), lambda: {"access_token": "x"}) == {"access_token": "x"}


def test_who_cannot_get_the_turn_waits_and_then_says_so(row, monkeypatch):
    monkeypatch.setattr(kept, "WAIT_FOR_TOKEN", 0.0)
    monkeypatch.setattr(kept, "POLL_SECONDS", 0.001)
    row.facts = {kept.LEASE: {"mark": "other", "until": time.time() + 30}}
    row.save()
    tokens = tokens_of(row)
    with pytest.raises(Retry, match="signing in"):
        tokens.renew(tokens.current(), lambda: {"access_token": "x"})
    row.facts = {kept.LEASE: {"mark": "dead worker", "until": time.time() - 1}, "state": {"kept": 1}}
    row.save()
    assert tokens.renew(tokens.current(), lambda: {"access_token": "x"}) == {"access_token": "x"}
    assert Connection.objects.get(pk=row.pk).facts == {"state": {"kept": 1}}


def test_while_one_worker_signs_in_no_other_does(row, monkeypatch):
    monkeypatch.setattr(kept, "WAIT_FOR_TOKEN", 0.0)
    monkeypatch.setattr(kept, "POLL_SECONDS", 0.001)
    first, second = tokens_of(row), tokens_of(row)
    stale = first.current()
    fetched = []

    def fetch():
        fetched.append(1)
        with pytest.raises(Retry, match="signing in"):
            second.renew(stale, fetch)
        return {"access_token": "new"}

    first.renew(stale, fetch)
    assert second.renew(stale, fetch) == {"access_token": "new"}
    assert fetched == [1]


def test_a_sign_in_that_took_too_long_is_kept_but_does_not_end_the_next_ones_turn(row):
    first, second = tokens_of(row), tokens_of(row)
    stale = first.current()

    def slow():
        Connection.objects.update(facts={kept.LEASE: {"mark": "second", "until": time.time() + 30}})
        return {"refresh_token": "rotated"}

    assert first.renew(stale, slow) == {"refresh_token": "rotated"}
    assert Connection.objects.get().facts[kept.LEASE]["mark"] == "second"
    assert second.renew(stale, slow) == {"refresh_token": "rotated"}


def test_a_worker_with_the_former_secrets_neither_leaves_a_token_nor_takes_one(row):
    """The test of the new ones would meet the former account, and find nothing changed."""
    during, after = tokens_of(row), tokens_of(row)
    stale = during.current()

    def set_up_anew():
        Connection.objects.update(secrets={"api_token": "of another account"}, tokens={})
        return {"access_token": "got with the former ones"}

    assert during.renew(stale, set_up_anew) == {"access_token": "got with the former ones"}
    stored = Connection.objects.get()
    assert not stored.tokens and kept.LEASE not in stored.facts
    tokens_of(row).renew(None, lambda: {"access_token": "got with the new ones"})
    with pytest.raises(Retry, match="set up anew"):
        after.renew(stale, set_up_anew)


def test_a_token_is_kept_where_only_those_who_may_send_to_us_changed(row):
    tokens = tokens_of(row)

    def meanwhile():
        Connection.objects.update(settings={"webhook_senders": "203.0.113.0/24"})
        return {"refresh_token": "rotated"}

    tokens.renew(tokens.current(), meanwhile)
    assert tokens_of(row).current() == {"refresh_token": "rotated"}
