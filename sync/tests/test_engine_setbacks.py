"""Writes that do not go through: what is tried again, how often, and what becomes of the person who asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import (
    CheckResult,
    ConnectorError,
    Gone,
    NeedsAuthorization,
    NotAllowed,
    RateLimited,
    Record,
    Refused,
    Retry,
    Uncertain,
    VersionMismatch,
)
from connections.connectors.memory import US, MemoryConnector, World
from connections.models import Connection
from connections.open import test_connection
from sync import hints, instructions, retrying, schedule, setbacks
from sync.models import AuditEntry, ChangedRecord, Conflict, Instruction, Link, Operation
from sync.probes import HIDDEN_AT_MOST
from sync.tests.conftest import Pair, rule
from sync.tests.test_engine_deletions import bring_back
from sync.tests.test_engine_overwritten import edit_just_before_our_write

pytestmark = pytest.mark.django_db


def fails(world: World, verb: str, error: Callable[[], ConnectorError], times: int = 1) -> None:
    """The next `times` calls of `verb` end with this error, before anything happened."""
    left = [times]

    def before(called: str, ids: Any) -> None:
        if called == verb and left[0]:
            left[0] -= 1
            raise error()

    world.before = before


def loses_answer(world: World) -> None:
    """The next update happens and is not answered."""

    def after(called: str, ids: Any) -> None:
        if called == "update":
            world.after = lambda *_: None
            raise Uncertain("no answer")

    world.after = after


def loses_to_an_edit(world: World, record: str, **values: Any) -> None:
    """The next update is not answered, and somebody has edited the record since."""

    def after(called: str, ids: Any) -> None:
        if called == "update":
            world.after = lambda *_: None
            world.edit(record, **values)
            raise Uncertain("no answer")

    world.after = after


def runs(pair: Pair, times: int) -> None:
    """Runs that look at every hint, due or not, and read no lists: nothing but hints brings a record back."""
    for _ in range(times):
        ChangedRecord.objects.update(not_before=timezone.now())
        pair.run("live")


def test_a_write_that_keeps_failing_is_tried_ever_more_rarely_and_then_listed(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    fails(pair.right, "update", lambda: Retry("busy", after=0), times=20)
    runs(pair, 3)
    hint = ChangedRecord.objects.get(side="left")
    assert (hint.attempts, hint.error) == (3, "busy")
    assert (hint.not_before - timezone.now()).total_seconds() > hints.BACKOFF[1], "longer than after the second try"
    runs(pair, 8)
    assert Operation.objects.filter(state="dead").count() == 2, "the tenth and the eleventh"
    pair.right.before = lambda *_: None
    runs(pair, 1)
    assert pair.right.value(right, "body") == "new" and not ChangedRecord.objects.exists()


@pytest.mark.parametrize(("rested", "tries"), [(timedelta(hours=23), 4), (timedelta(hours=25), 1)])
def test_a_write_that_was_not_tried_for_a_day_begins_its_count_anew(pair: Pair, rested: timedelta, tries: int) -> None:
    left, _, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    fails(pair.right, "update", lambda: Retry("busy", after=0), times=20)
    runs(pair, 3)
    Operation.objects.update(decided_at=timezone.now() - rested)
    runs(pair, 1)
    assert set(ChangedRecord.objects.values_list("attempts", flat=True)) == {tries}


def test_a_lost_sign_in_is_no_try_of_the_write(pair: Pair) -> None:
    left, _, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    for tries in (1, 2):
        for _ in range(2):
            fails(pair.right, "update", lambda: NeedsAuthorization("The token was revoked."))
            runs(pair, 1)
            Connection.objects.update(state="ok")
        fails(pair.right, "update", lambda: Retry("busy", after=0))
        runs(pair, 1)
        assert set(ChangedRecord.objects.values_list("attempts", flat=True)) == {tries}
        assert not Operation.objects.exclude(failing_since=None).exists()


@pytest.mark.parametrize("verb", ["update", "create"])
def test_an_edit_whose_write_found_the_sign_in_lost_comes_back_once_a_person_has_signed_in(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    record, _, _ = pair.linked(body="b")
    if verb == "update":
        pair.left.edit(record, body="new")
    else:
        record = pair.left.add(title="Two", body="new")
    pair.ring("left", record)
    fails(pair.right, verb, lambda: NeedsAuthorization("The token was revoked."))
    pair.run("live")
    connection, calls = Connection.objects.get(name="Right"), len(pair.right.calls)
    assert (connection.state, Operation.objects.get().state) == ("sign_in", "superseded")
    at_once = timezone.now() + timedelta(seconds=setbacks.SIGN_IN_SECONDS)
    assert all(hint.not_before <= at_once and not hint.attempts for hint in ChangedRecord.objects.all())
    runs(pair, 12)
    assert len(pair.right.calls) == calls and schedule.due_mappings() == []
    signed_in = CheckResult(account_id=US, account_name="SyncAdmin", tenant="Right")
    monkeypatch.setattr(MemoryConnector, "check", lambda _: signed_in)
    test_connection(connection)
    assert schedule.due_mappings() == [(pair.mapping.pk, "live")]
    runs(pair, 1)
    twin = Link.objects.get(left_id=record).right_id
    assert pair.both(record, twin or "", "body") == ("new", "new")


def test_waiting_for_quota_is_no_failure(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    fails(pair.right, "update", lambda: RateLimited("slow down", after=60), times=3)
    runs(pair, 3)
    assert set(ChangedRecord.objects.values_list("attempts", flat=True)) == {0}
    assert set(Operation.objects.values_list("result__code", flat=True)) == {"quota"}
    runs(pair, 1)
    assert pair.right.value(right, "body") == "new"


def test_a_version_that_never_fits_is_not_tried_without_end(pair: Pair) -> None:
    left, _, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    fails(pair.right, "update", lambda: VersionMismatch("It changed."), times=50)
    pair.run("live")
    assert Operation.objects.count() == 2, "the first mismatch is planned again at once, the second one waits"
    assert ChangedRecord.objects.filter(not_before__gt=timezone.now()).count() == 2


@pytest.mark.parametrize("edited", ["left", "right"])
@pytest.mark.parametrize(
    "error",
    [
        lambda: Retry("busy", after=0),
        lambda: VersionMismatch("It changed."),
        lambda: Gone("There is no such record."),
        lambda: Gone("There is no such record.", certain=False),
    ],
)
def test_an_edit_whose_write_failed_comes_back_without_a_poll(
    pair: Pair, edited: str, error: Callable[[], ConnectorError]
) -> None:
    left, right, _ = pair.linked(body="b")
    source, record, target = (pair.left, left, pair.right) if edited == "left" else (pair.right, right, pair.left)
    source.edit(record, body="new")
    pair.ring(edited, record)
    fails(target, "update", error)
    runs(pair, 3)
    assert pair.both(left, right, "body") == ("new", "new")


def test_a_write_to_a_record_that_is_there_and_told_gone_is_listed_like_any_that_keeps_failing(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    fails(pair.right, "update", lambda: Gone("There is no such record."), times=20)
    runs(pair, 12)
    assert Operation.objects.filter(state="dead").exists() and Operation.objects.exclude(failing_since=None).exists()
    assert ChangedRecord.objects.filter(attempts__gt=3, not_before__gt=timezone.now()).exists(), "ever more rarely"
    pair.right.before = lambda *_: None
    runs(pair, 1)
    assert pair.right.value(right, "body") == "new" and not ChangedRecord.objects.exists()


def test_a_create_that_is_told_of_something_gone_is_tried_again(pair: Pair) -> None:
    pair.left.add(title="New", ref="R2")
    fails(pair.right, "create", lambda: Gone("There is no such project."))
    pair.run()
    runs(pair, 3)
    assert [record.values["title"] for record in pair.right.records.values()] == ["New"]


def test_what_somebody_rang_for_before_the_write_is_planned_again_with_the_edit(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    pair.right.edit(right, body="new")
    pair.ring("right", right)

    def ring_meanwhile(verb: str, ids: Any) -> None:
        if verb == "get":
            pair.left.after = lambda *_: None
            pair.ring("left", left)

    pair.left.after = ring_meanwhile
    runs(pair, 3)
    assert pair.both(left, right, "body") == ("new", "new")
    assert Operation.objects.filter(result__code="planned_again").count() == 1


def test_a_refused_value_waits_until_something_else_has_arrived(pair: Pair) -> None:
    """⚑ A write to the other side that was only planned frees nothing: it may never be sent."""
    left, right, _ = pair.linked(status="open")
    pair.right.edit(right, status="closed")
    pair.ring("right", right)
    fails(pair.left, "update", lambda: Refused("No."))
    runs(pair, 2)
    assert [one.kind for one in pair.open_conflicts()] == ["refused"]
    pair.left.edit(left, status="new")  # the left decides: its value is to be written to the right
    pair.ring("left", left)
    fails(pair.right, "update", lambda: Retry("busy", after=0))
    pair.left.before = lambda *_: None
    pair.run("live")
    pair.left.edit(left, status="open")  # only the right's edit is left: the refused value
    runs(pair, 3)
    assert pair.both(left, right, "status") == ("open", "closed")
    assert [one.kind for one in pair.open_conflicts()] == ["refused"]
    pair.left.edit(left, status="new")
    pair.ring("left", left)
    runs(pair, 3)
    assert pair.both(left, right, "status") == ("new", "new") and not pair.open_conflicts()


@pytest.fixture
def conflict(pair: Pair) -> Conflict:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="L")
    pair.right.edit(right, body="R")
    pair.quiet()
    return pair.open_conflicts()[0]


def settle_left(pair: Pair, conflict: Conflict, user: Any) -> Instruction:
    return instructions.resolve(conflict, {"take": "left", "seen": {"left": "L", "right": "R"}}, user)


@pytest.mark.parametrize(
    "error",
    [lambda: Retry("busy", after=0), lambda: RateLimited("slow", after=0), lambda: VersionMismatch("It changed.")],
)
def test_a_choice_outlives_a_write_that_has_to_be_tried_again(
    pair: Pair, conflict: Conflict, admin_user: Any, error: Callable[[], ConnectorError]
) -> None:
    asked = settle_left(pair, conflict, admin_user)
    fails(pair.right, "update", error)
    runs(pair, 3)
    asked.refresh_from_db()
    conflict.refresh_from_db()
    assert (asked.state, conflict.state, conflict.closed_by) == ("done", "closed", "admin")
    assert pair.right.value(conflict.link.right_id, "body") == "L"


@pytest.mark.parametrize("error", [lambda: Refused("No."), lambda: NotAllowed("No right.")])
def test_a_choice_that_is_refused_says_so_and_the_question_is_open_again(
    pair: Pair, conflict: Conflict, admin_user: Any, error: Callable[[], ConnectorError]
) -> None:
    asked = settle_left(pair, conflict, admin_user)
    fails(pair.right, "update", error)
    runs(pair, 2)
    asked.refresh_from_db()
    conflict.refresh_from_db()
    assert (asked.state, conflict.state, conflict.kind) == ("refused", "open", "refused")


def test_a_choice_whose_write_may_have_happened_is_refused_and_asked_again(
    pair: Pair, conflict: Conflict, admin_user: Any
) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, field_history=False)
    asked = settle_left(pair, conflict, admin_user)
    loses_to_an_edit(pair.right, conflict.link.right_id or "", body="somebody else's")
    runs(pair, 2)
    asked.refresh_from_db()
    conflict.refresh_from_db()
    assert (asked.state, conflict.state, conflict.code) == ("refused", "open", "maybe_written")


def test_a_choice_that_arrived_is_told_as_answered_though_another_field_of_its_write_did_not(
    pair: Pair, conflict: Conflict, admin_user: Any
) -> None:
    left, right = conflict.link.left_id or "", conflict.link.right_id or ""
    pair.right.capabilities = replace(pair.right.capabilities, field_history=False, complete_history=False)
    asked = settle_left(pair, conflict, admin_user)
    pair.left.edit(left, title="ours")
    loses_to_an_edit(pair.right, right, title="somebody else's")
    runs(pair, 2)
    asked.refresh_from_db()
    conflict.refresh_from_db()
    assert pair.both(left, right, "body") == ("L", "L")
    assert (asked.state, conflict.state, conflict.closed_code) == ("done", "closed", "resolved")
    told = AuditEntry.objects.get(action="resolve", code="resolved")
    assert (told.values or {})["before"] == {"left": "L", "right": "R"}, "what was set aside stands beside who did it"
    assert [(one.rule_id, one.code) for one in pair.open_conflicts()] == [("title", "maybe_written")]


def test_what_went_in_the_unanswered_call_of_an_answer_is_not_told_as_answered_by_its_person(pair: Pair) -> None:
    pair.publish(rules=[{**one, "policy": {"kind": "review"}} for one in pair.mapping.published.document["rules"]])
    pair.right.capabilities = replace(pair.right.capabilities, field_history=False, complete_history=False)
    left, right, link = pair.linked(body="b", status="s")
    pair.left.edit(left, body="L", status="SL")
    pair.right.edit(right, body="R", status="SR")
    pair.quiet()
    pair.right.edit(right, body="b")  # of the two edits of the text one is left
    pair.left.edit(left, title="ours")
    instructions.ask(link, "resolve", {"status": {"take": "left", "seen": {"left": "SL", "right": "SR"}}}, "rita")
    loses_to_an_edit(pair.right, right, title="somebody else's")
    runs(pair, 2)
    assert (pair.right.value(right, "body"), pair.right.value(right, "status")) == ("L", "SL")
    told = {one.field_label: one for one in AuditEntry.objects.filter(action__in=("resolve", "conflict_closed"))}
    assert (told["Status"].action, told["Status"].actor) == ("resolve", "rita")
    assert (told["Body"].action, told["Body"].actor) == ("conflict_closed", "")


def test_two_unanswered_writes_of_one_pair_are_both_remembered(pair: Pair) -> None:
    for world in (pair.left, pair.right):
        world.capabilities = replace(world.capabilities, field_history=False, complete_history=False)
    left, right, link = pair.linked(title="One", body="b")
    pair.left.edit(left, body="to the right")
    pair.right.edit(right, title="To the left")
    for world in (pair.left, pair.right):
        fails(world, "update", lambda: Uncertain("no answer"))
    pair.run()
    runs(pair, 3)
    link.refresh_from_db()
    assert set(link.parked) == {"title", "body"}
    assert pair.both(left, right, "title") == ("One", "To the left"), "what may have been written is not sent again"
    assert pair.both(left, right, "body") == ("to the right", "b")


def test_a_write_whose_record_is_gone_before_its_fate_is_known_is_told_as_unknown(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="on its way")
    fails(pair.right, "update", lambda: Uncertain("no answer"))
    pair.run()
    pair.right.remove(right)
    runs(pair, 2)
    assert Operation.objects.get(kind="update").result["code"] == "gone_unanswered"
    told = AuditEntry.objects.get(action="unclear")
    assert (told.side, told.field_label, told.params["why"]) == ("right", "Body", "edited")
    assert told.values == {"before": "b", "after": "on its way"}, "the log keeps what it may have replaced"


def test_a_write_whose_record_is_hidden_waits_for_it_an_hour_at_most(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, not_found_means_gone=False)
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="on its way")
    loses_answer(pair.right)
    pair.run()
    hidden = pair.right.records.pop(right)
    runs(pair, 2)
    operation = Operation.objects.get(kind="update")
    assert (operation.state, operation.not_before > timezone.now()) == ("uncertain", True)
    pair.right.records[right] = hidden
    Operation.objects.update(not_before=timezone.now())
    runs(pair, 2)
    operation.refresh_from_db()
    assert (operation.state, operation.result["code"]) == ("confirmed", "confirmed")
    assert pair.both(left, right, "body") == ("on its way", "on its way")
    assert not AuditEntry.objects.filter(action="unclear").exists() and not pair.open_conflicts()

    pair.left.edit(left, body="and again")
    loses_answer(pair.right)
    pair.run()
    del pair.right.records[right]
    runs(pair, 1)
    waits_no_longer()
    runs(pair, 1)
    assert AuditEntry.objects.get(action="unclear").values["after"] == "and again", "told, and the pair goes on"


def waits_no_longer() -> None:
    """What was not answered was sent so long ago that it is given up if its record cannot be read."""
    now = timezone.now()
    Operation.objects.filter(state="uncertain").update(not_before=now, claimed_at=now - HIDDEN_AT_MOST)


def hidden_until_it_is_given_up(pair: Pair, right: str) -> Record:
    """The right hides the record until our unanswered write to it is given up. Returns the record."""
    hidden = pair.right.records.pop(right)
    waits_no_longer()
    runs(pair, 2)
    return hidden


def given_up_without_a_history(pair: Pair) -> tuple[str, str, Link, Record]:
    """The write arrived, and nothing tells so; (left, right, link, the hidden record)."""
    hides = {"field_history": False, "complete_history": False, "not_found_means_gone": False}
    pair.right.capabilities = replace(pair.right.capabilities, **hides)
    left, right, link = pair.linked(title="t", body="b")
    pair.left.edit(left, title="ana's", body="ana's")
    loses_answer(pair.right)
    pair.run()
    return left, right, link, hidden_until_it_is_given_up(pair, right)


def test_an_edit_under_a_write_that_was_given_up_is_asked_about_once_the_record_is_shown(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, not_found_means_gone=False, conditional_write=False)
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="ana's")
    edit_just_before_our_write(pair, right, lost=True, body="bob's")
    pair.run()
    hidden = hidden_until_it_is_given_up(pair, right)
    assert Operation.objects.get(kind="update").result["code"] == "gone_unanswered"
    pair.right.records[right] = hidden
    pair.right.edit(right, by="bob", body="bob's next")
    pair.left.edit(left, body="ana's next")
    pair.ring("right", right)
    pair.ring("left", left)
    runs(pair, 3)
    assert Operation.objects.get(kind="update").result["code"] == "confirmed"
    [question] = pair.open_conflicts()
    assert question.params["overwritten"] == "bob's"
    assert pair.both(left, right, "body") == ("ana's next", "bob's next"), "and nothing is sent before it is answered"


def test_a_deleted_record_that_is_back_has_its_given_up_write_looked_up_before_its_pair_goes_on(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, conditional_write=False)
    pair.publish(right=pair.mapping.published.document["right"] | {"on_delete": "ignore"})
    left, right, link = pair.linked(body="b")
    pair.left.edit(left, body="ana's")
    edit_just_before_our_write(pair, right, lost=True, body="bob's")
    pair.run()
    pair.left.edit(left, body="b")
    pair.right.remove(right)
    pair.ring("right", right, deleted=True)
    waits_no_longer()
    runs(pair, 2)
    link.refresh_from_db()
    assert link.state == "deleted" and link.parked["body"]["operation"]
    bring_back(pair.right, right)
    pair.ring("right", right)
    runs(pair, 3)
    link.refresh_from_db()
    [question] = pair.open_conflicts()
    assert (link.state, question.params["overwritten"]) == ("active", "bob's")


@pytest.mark.parametrize("policy", ["review", "left", "right", "newest"])
def test_a_record_that_is_shown_again_and_says_what_we_sent_is_no_edit_where_no_history_tells(
    pair: Pair, policy: str
) -> None:
    pair.publish(rules=[{**one, "policy": {"kind": policy}} for one in pair.mapping.published.document["rules"]])
    left, right, link, hidden = given_up_without_a_history(pair)
    link.refresh_from_db()
    assert set(link.parked) == {"title", "body"}
    pair.right.records[right] = hidden
    pair.left.edit(left, body="ana's next")
    pair.ring("right", right)
    pair.ring("left", left)
    runs(pair, 3)
    assert not pair.open_conflicts()
    assert pair.both(left, right, "title") == ("ana's", "ana's")
    assert pair.both(left, right, "body") == ("ana's next", "ana's next")
    link.refresh_from_db()
    assert not link.parked


@pytest.mark.parametrize("direction", ["both", "to_right"])
def test_what_takes_back_a_write_that_was_given_up_is_an_edit(pair: Pair, direction: str) -> None:
    """The source says again what was agreed before: without the given up write nobody would see an edit."""
    pair.publish(rules=[{**one, "direction": direction} for one in pair.mapping.published.document["rules"]])
    left, right, _, hidden = given_up_without_a_history(pair)
    pair.right.records[right] = hidden
    pair.left.edit(left, body="b")
    pair.ring("right", right)
    pair.ring("left", left)
    runs(pair, 3)
    assert pair.both(left, right, "body") == ("b", "b")
    assert pair.both(left, right, "title") == ("ana's", "ana's")
    assert not [one for one in pair.open_conflicts() if one.link]


def test_a_record_that_is_shown_again_and_says_something_else_than_we_sent_is_read_as_an_edit(pair: Pair) -> None:
    left, right, _, hidden = given_up_without_a_history(pair)
    pair.right.records[right] = hidden
    pair.right.edit(right, by="bob", body="bob's")
    pair.left.edit(left, body="ana's next")
    pair.ring("right", right)
    pair.ring("left", left)
    runs(pair, 3)
    [question] = pair.open_conflicts()
    assert (question.left_value, question.right_value) == ("ana's next", "bob's")
    assert pair.both(left, right, "body") == ("ana's next", "bob's")


@pytest.mark.parametrize("history", [False, True], ids=["no history", "a history that does not tell"])
@pytest.mark.parametrize("put_back", [False, True], ids=["it arrived", "and was put back"])
def test_an_answer_whose_write_was_given_up_is_not_sent_again_unasked(
    pair: Pair, history: bool, put_back: bool, admin_user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hides = {"field_history": history, "complete_history": False, "not_found_means_gone": False}
    pair.right.capabilities = replace(pair.right.capabilities, **hides)
    monkeypatch.setattr(MemoryConnector, "history", lambda _, kind, ids, *more: {one: [] for one in ids})
    left, right, link = pair.linked(body="b")
    pair.left.edit(left, body="ana's")
    pair.right.edit(right, by="bob", body="bob's")
    pair.quiet()
    [question] = pair.open_conflicts()
    loses_answer(pair.right)
    asked = instructions.resolve(question, {"take": "left", "seen": {"left": "ana's", "right": "bob's"}}, admin_user)
    pair.run()
    if put_back:
        pair.right.edit(right, by="bob", body="bob's")
    hidden = hidden_until_it_is_given_up(pair, right)
    asked.refresh_from_db()
    assert asked.state == "refused", "the question is theirs again"
    pair.right.records[right] = hidden
    pair.ring("right", right)
    runs(pair, 6)
    asked.refresh_from_db()
    question.refresh_from_db()
    assert pair.right.value(right, "body") == ("bob's" if put_back else "ana's")
    assert asked.state == ("done" if history and not put_back else "refused")
    assert question.state == ("open" if put_back else "closed")
    assert not AuditEntry.objects.filter(code="stale").exists(), "nothing says that nothing was written"
    assert AuditEntry.objects.filter(action="resolve").count() == (asked.state == "done")


def test_an_answer_that_was_given_up_does_not_go_on_where_a_later_one_was_given(pair: Pair, admin_user: Any) -> None:
    hides = {"field_history": True, "complete_history": False, "not_found_means_gone": False}
    pair.right.capabilities = replace(pair.right.capabilities, **hides)
    left, right, link = pair.linked(body="b")
    pair.left.edit(left, body="ana's")
    pair.right.edit(right, by="bob", body="bob's")
    pair.quiet()
    [question] = pair.open_conflicts()
    loses_answer(pair.right)
    seen = {"left": "ana's", "right": "bob's"}
    first = instructions.resolve(question, {"take": "left", "seen": seen}, "ana")
    pair.run()
    hidden = hidden_until_it_is_given_up(pair, right)
    later = instructions.resolve(question, {"take": "value", "value": "v", "in": "left", "seen": {}}, admin_user)
    pair.right.records[right] = hidden
    runs(pair, 6)
    first.refresh_from_db()
    later.refresh_from_db()
    assert (first.state, later.state) == ("refused", "done")
    assert pair.both(left, right, "body") == ("v", "v")


def test_a_write_whose_record_was_told_deleted_waits_no_longer(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, not_found_means_gone=False)
    left, right, link = pair.linked(body="b")
    pair.left.edit(left, body="on its way")
    loses_answer(pair.right)
    pair.run()
    del pair.right.records[right]
    pair.run()
    operation = Operation.objects.get(kind="update")
    assert operation.state == "uncertain", "it may be hidden"
    hints.mark(pair.mapping.pk, "right", [right], deleted=True)
    Operation.objects.update(not_before=timezone.now())
    runs(pair, 2)
    operation.refresh_from_db()
    link.refresh_from_db()
    assert (operation.state, operation.result["code"]) == ("superseded", "gone_unanswered")
    assert AuditEntry.objects.get(action="unclear").values["after"] == "on its way"
    assert link.deleted_right, "and the deletion is seen"


@pytest.mark.parametrize("history", [True, False])
def test_a_record_that_is_back_after_an_unanswered_write_is_asked_about_where_no_history_tells(
    pair: Pair, history: bool
) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, field_history=history, complete_history=history)
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="ana's")
    loses_answer(pair.right)
    pair.run()
    pair.right.edit(right, by="bob", body="b")
    deleted = pair.right.records[right]
    pair.right.remove(right)
    runs(pair, 2)
    assert Operation.objects.get(kind="update").result["code"] == "gone_unanswered"
    pair.right.records[right] = replace(deleted, updated_at=pair.right.stamp())
    pair.ring("right", right)
    runs(pair, 2)
    assert pair.both(left, right, "body") == ("b" if history else "ana's", "b"), "what Bob put back is not overwritten"
    asked = [(one.rule_id, one.code) for one in pair.open_conflicts()]
    assert asked == ([] if history else [("body", "maybe_written")])


def label_taken_away(pair: Pair, instead: Sequence[str] = ()) -> tuple[str, str, Link]:
    """An unanswered write brought a label to the left, where somebody took it away; nothing tells what became of it."""
    pair.left.capabilities = replace(pair.left.capabilities, field_history=False, complete_history=False)
    left, right, link = pair.linked(labels=[])
    pair.right.edit(right, labels=["a"])
    loses_answer(pair.left)
    pair.run()
    assert pair.left.value(left, "labels") == ["a"]
    pair.left.edit(left, labels=[])
    if instead:
        pair.left.edit(left, labels=[*instead])
    runs(pair, 2)
    assert [one.code for one in pair.open_conflicts()] == ["maybe_written"]
    return left, right, link


def test_a_member_that_one_of_two_unanswered_writes_brought_is_not_sent_again(pair: Pair, admin_user: Any) -> None:
    """The first brought it and somebody took it away; the second, which a person asked for, does not hide that."""
    left, right, link = label_taken_away(pair, instead=["b"])
    seen = {"left": ["b"], "right": ["a"]}
    loses_answer(pair.left)
    retrying.edit(link, "labels", "left", ["x"], seen, admin_user)
    pair.run()
    pair.left.edit(left, labels=["x", "y"])
    runs(pair, 2)
    pair.right.edit(right, labels=["a", "c"])
    pair.ring("right", right)
    runs(pair, 2)
    assert pair.both(left, right, "labels") == (["x", "y"], ["a", "c"])
    link.refresh_from_db()
    assert (link.parked["labels"]["value"], link.parked["labels"]["members"]) == (["x"], ["a", "x"])


@pytest.mark.parametrize("lifted", [False, True])
def test_what_an_unanswered_write_may_have_brought_outlives_the_refusal_of_another_value(
    pair: Pair, admin_user: Any, lifted: bool
) -> None:
    left, right, link = label_taken_away(pair)
    fails(pair.left, "update", lambda: Refused("Not this.", {"labels": "not allowed"}))
    retrying.edit(link, "labels", "left", ["x"], {"left": [], "right": ["a"]}, admin_user)
    runs(pair, 2)
    link.refresh_from_db()
    assert (link.parked["labels"]["code"], link.parked["labels"]["unsure"]["value"]) == ("refused", ["a"])
    if lifted:
        Conflict.objects.update(retry="asked")
    else:
        pair.right.edit(right, labels=["a", "b"])
    pair.ring("right", right)
    runs(pair, 2)
    assert pair.left.value(left, "labels") == [], "somebody took it away"
    assert [one.code for one in pair.open_conflicts()] == ["maybe_written"]


def test_what_an_unanswered_write_may_have_brought_outlives_another_question_about_the_field(pair: Pair) -> None:
    rules = [one for one in pair.mapping.published.document["rules"] if one["id"] != "labels"]
    pair.publish(rules=[*rules, rule("labels", "labels", "set", policy="review")])
    left, right, _ = label_taken_away(pair)
    for labels, code in ((["z"], "both_changed"), ([], "maybe_written")):
        pair.left.edit(left, labels=labels)
        pair.ring("left", left)
        runs(pair, 2)
        assert [one.code for one in pair.open_conflicts()] == [code]
    assert pair.both(left, right, "labels") == ([], ["a"]), "what somebody took away does not come back"


def test_what_was_asked_about_a_field_without_a_rule_names_its_path(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, field_history=False, complete_history=False)
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="on its way")
    fails(pair.right, "update", lambda: Uncertain("no answer"))
    pair.run()
    pair.publish(rules=[one for one in pair.mapping.published.document["rules"] if one["id"] != "body"])
    pair.right.edit(right, title="Moved")
    runs(pair, 1)
    asked = AuditEntry.objects.get(code="maybe_written")
    assert asked.field_label == Conflict.objects.get(code="maybe_written").field_label == "body"
