"""Verifications: what they find, what they cost, and that they stop, go on and end whatever happens."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connections.connectors.base import NeedsAuthorization, NotAllowed, RateLimited, Refused, Retry
from connections.models import Connection
from mappings.models import Mapping
from sync import hints, jobs, schedule, verify, verify_walk
from sync.models import (
    AuditEntry,
    ChangedRecord,
    Conflict,
    Link,
    MappingState,
    Operation,
    Verification,
    VerifiedDifference,
)
from sync.tests.conftest import Pair, rule
from sync.tests.verify_cases import (
    COMPLETE,
    SAMPLE,
    before_call,
    begun,
    document,
    drift,
    pairs,
    put,
    raising,
    reads,
    verified,
)

pytestmark = pytest.mark.django_db

# What it finds. --------------------------------------------------------------------------------------------------


def test_pairs_that_say_the_same_are_equal_and_nothing_is_written(pair: Pair) -> None:
    pairs(pair, 5, body="b")
    writes, told = len(pair.left.log) + len(pair.right.log), AuditEntry.objects.count()
    fence = MappingState.objects.get(mapping=pair.mapping).fence
    one = verified(pair)
    assert (one.state, one.total, one.done) == ("done", 5, 5)
    assert (one.counts["pairs"], one.counts["equal"], one.counts["drift"]) == (5, 5, 0)
    assert len(pair.left.log) + len(pair.right.log) == writes
    assert {verb for world in (pair.left, pair.right) for verb, _ in world.calls} == {"get"}
    assert not ChangedRecord.objects.exists() and AuditEntry.objects.count() == told
    assert MappingState.objects.get(mapping=pair.mapping).fence == fence


def test_drift_is_listed_with_both_values(pair: Pair) -> None:
    links = pairs(pair, 3, body="b")
    drift(pair, links[1])
    one = verified(pair)
    assert (one.counts["equal"], one.counts["drift"]) == (2, 1)
    assert one.counts["fields"] == {"body": {"label": "Body", "drift": 1, "agreed": 0, "waiting": 0}}
    (row,) = VerifiedDifference.objects.all()
    assert (row.link, row.kind, row.field_label) == (links[1], "drift", "Body")
    assert (row.left_value, row.right_value) == ("b", "drifted")


def test_drift_stays_drift_and_nobody_writes_it(pair: Pair) -> None:
    (link,) = pairs(pair, 1, body="b")
    drift(pair, link)
    verified(pair)
    pair.ring("left", link.left_id or "")
    pair.quiet()
    assert pair.both(link.left_id or "", link.right_id or "", "body") == ("b", "drifted")
    assert not ChangedRecord.objects.exists()


def test_each_reason_to_wait_is_told_apart(pair: Pair) -> None:
    names = ["agreed", "question", "hint", "parked", "unagreed", "operation", "held", "creating", "out_of_scope"]
    links = dict(zip(names, pairs(pair, len(names), body="b"), strict=True))
    for name, link in links.items():
        drift(pair, link, "body", f"other {name}")
    links["agreed"].agreed_differences = {"body": True}
    Conflict.objects.create(
        mapping=pair.mapping, link=links["question"], rule_id="body", kind="field", code="edits_touch"
    )
    hints.mark(pair.mapping.pk, "right", [links["hint"].right_id or ""], not_before=timezone.now() + timedelta(hours=1))
    links["parked"].parked = {"body": {"side": "right", "value": "b", "code": "refused", "params": {}}}
    links["unagreed"].left_bases.pop("body")
    Operation.objects.create(
        mapping=pair.mapping, version=pair.mapping.published, link=links["operation"], side="left", kind="update"
    )
    links["held"].state = Link.State.HELD
    links["creating"].state, links["creating"].right_id = Link.State.CREATING, None
    links["out_of_scope"].out_of_scope = "left"
    for link in links.values():
        link.save()
    one = verified(pair)
    reasons = {name: 1 for name in names if name != "agreed"}
    assert one.counts["waits"] == reasons
    assert (one.counts["agreed"], one.counts["waiting"], one.counts["drift"]) == (1, len(reasons), 0)
    assert [row.kind for row in VerifiedDifference.objects.all()] == ["agreed"]


def test_a_hidden_field_waits_and_is_never_called_empty(pair: Pair) -> None:
    pairs(pair, 2, body="b")
    pair.right.hidden.add("body")
    one = verified(pair)
    assert one.counts["waits"] == {"unreadable": 2}
    assert one.counts["fields"] == {"body": {"label": "Body", "drift": 0, "agreed": 0, "waiting": 2}}


def test_a_record_that_is_not_there_is_named_with_its_side_and_looked_at_by_the_ordinary_run(pair: Pair) -> None:
    links = pairs(pair, 2)
    del pair.right.records[links[0].right_id or ""]
    one = verified(pair)
    assert (one.counts["missing"], one.counts["lacking"]) == (1, {"right": 1})
    (row,) = VerifiedDifference.objects.all()
    assert (row.kind, row.side, row.link) == ("missing", "right", links[0])
    (hint,) = ChangedRecord.objects.all()
    assert (hint.side, hint.external_id, hint.lane) == ("right", links[0].right_id, hints.Lane.VERIFY)


def test_an_edit_that_nobody_told_of_waits_and_is_handed_to_the_ordinary_run(pair: Pair) -> None:
    left, right, link = pair.linked(body="b")
    put(pair.left, left, body="an edit without a stamp")
    one = verified(pair)
    assert (one.counts["drift"], one.counts["waits"]) == (0, {"edited": 1})
    assert [hint.external_id for hint in ChangedRecord.objects.all()] == [left]
    pair.quiet()
    assert pair.both(left, right, "body") == ("an edit without a stamp",) * 2
    assert verified(pair).counts["equal"] == 1


def test_a_paused_mapping_is_compared_if_a_person_asks_and_nothing_is_handed_on(pair: Pair) -> None:
    (link,) = pairs(pair, 1, body="b")
    put(pair.left, link.left_id, body="edited")
    Mapping.objects.update(state=Mapping.State.PAUSED)
    assert verified(pair, by="olga").counts["waits"] == {"edited": 1}
    assert not ChangedRecord.objects.exists()


def test_a_record_that_left_the_scope_unseen_is_out_of_scope(pair: Pair) -> None:
    (link,) = pairs(pair, 1, status="open", body="b")
    pair.publish(left={**document(pair)["left"], "scope": {"status": "open"}})
    put(pair.left, link.left_id, status="closed", body="edited since")
    assert verified(pair).counts["waits"] == {"out_of_scope": 1}
    assert not ChangedRecord.objects.exists()


def test_pairs_that_are_apart_on_purpose_are_counted_apart(pair: Pair) -> None:
    links = pairs(pair, 3)
    Link.objects.filter(pk=links[0].pk).update(state=Link.State.UNLINKED)
    Link.objects.filter(pk=links[1].pk).update(state=Link.State.DELETED)
    one = verified(pair)
    assert (one.counts["pairs"], one.counts["apart"]) == (1, {"unlinked": 1, "deleted": 1})


def test_a_target_that_a_one_way_rule_leaves_alone_is_no_drift(pair: Pair) -> None:
    pair.publish(rules=[rule("title", "title"), rule("body", "body", direction="to_right")])
    left, right, link = pair.linked(body="ours")
    pair.right.edit(right, body="theirs")
    pair.quiet()
    assert verified(pair).counts["agreed"] == 1
    pair.left.edit(left, body="ours again")
    pair.quiet()
    assert pair.both(left, right, "body") == ("ours again",) * 2
    assert verified(pair).counts["equal"] == 1


def test_a_pair_that_breaks_the_comparison_breaks_no_other(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    from sync import verify_pairs

    links = pairs(pair, 3)
    real = verify_pairs.compare

    def breaking(mapping: Any, view: Any, *records: Any, **more: Any) -> Any:
        if view.id == links[1].pk:
            raise TypeError("poison")
        return real(mapping, view, *records, **more)

    monkeypatch.setattr(verify_pairs, "compare", breaking)
    one = verified(pair)
    assert (one.counts["equal"], one.counts["waits"]) == (2, {"failed": 1})


# What changes while it reads. ------------------------------------------------------------------------------------


def test_a_difference_that_is_gone_at_the_second_look_is_none(pair: Pair) -> None:
    (link,) = pairs(pair, 1, body="b")
    drift(pair, link)
    before_call(pair.right, 2, lambda: put(pair.right, link.right_id, body="b"))
    one = verified(pair)
    assert (one.counts["equal"], one.counts["drift"]) == (1, 0)


def test_a_pair_whose_values_move_between_the_looks_waits(pair: Pair) -> None:
    (link,) = pairs(pair, 1, body="b")
    drift(pair, link)
    before_call(pair.right, 2, lambda: drift(pair, link, value="moved on"))
    assert verified(pair).counts["waits"] == {"moved": 1}
    assert not VerifiedDifference.objects.exists()


def test_a_pair_that_is_settled_between_the_looks_waits(pair: Pair) -> None:
    (link,) = pairs(pair, 1, body="b")
    drift(pair, link)
    before_call(
        pair.right, 2, lambda: Link.objects.filter(pk=link.pk).update(left_bases={**link.left_bases, "body": "x"})
    )
    assert verified(pair).counts["waits"] == {"moved": 1}
    assert not VerifiedDifference.objects.exists()


def test_a_bell_that_rings_between_the_looks_makes_the_pair_wait(pair: Pair) -> None:
    (link,) = pairs(pair, 1, body="b")
    drift(pair, link)
    before_call(pair.right, 2, lambda: pair.ring("left", link.left_id or ""))
    assert verified(pair).counts["waits"] == {"hint": 1}


def test_a_pair_that_is_unlinked_between_the_looks_waits(pair: Pair) -> None:
    (link,) = pairs(pair, 1, body="b")
    drift(pair, link)
    before_call(pair.right, 2, lambda: Link.objects.update(state=Link.State.UNLINKED))
    assert verified(pair).counts["waits"] == {"moved": 1}


def test_a_live_run_goes_on_while_pairs_are_compared(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    outcomes = []

    def edit() -> None:
        pair.right.before = lambda verb, ids: None
        pair.left.edit(left, body="live")
        pair.ring("left", left)
        outcomes.append(pair.run("live").state)

    before_call(pair.right, 1, edit)
    one = verified(pair)
    assert outcomes == ["done"]
    assert pair.right.value(right, "body") == "live"
    assert (one.state, one.counts["drift"]) == ("done", 0)


# What it costs. --------------------------------------------------------------------------------------------------


def test_ten_thousand_pairs_would_cost_two_hundred_calls(pair: Pair) -> None:
    """One call a hundred records and side; here with 430 pairs, and one more a side for a second look."""
    links = pairs(pair, 430)
    one = verified(pair)
    assert (len(reads(pair.left)), len(reads(pair.right))) == (5, 5)
    assert max(len(ids) for ids in reads(pair.left)) == 100
    for link in links[::50]:
        drift(pair, link)
    pair.left.calls.clear()
    one = verified(pair)
    assert one.counts["drift"] == 9
    assert [len(ids) for ids in reads(pair.left)] == [100, 100, 100, 100, 30, 9]


def test_systems_that_read_few_at_once_set_the_size_of_a_call(pair: Pair) -> None:
    pair.left.capabilities = replace(pair.left.capabilities, bulk_read=1)
    pair.right.capabilities = replace(pair.right.capabilities, bulk_read=10)
    pairs(pair, 25)
    assert verified(pair).counts["equal"] == 25
    assert (len(reads(pair.left)), len(reads(pair.right))) == (25, 3)


def test_held_pairs_cost_no_call(pair: Pair) -> None:
    pairs(pair, 5)
    Link.objects.update(state=Link.State.HELD)
    assert verified(pair).counts["waits"] == {"held": 5}
    assert not pair.left.calls and not pair.right.calls


def test_statements_do_not_grow_with_the_pairs(pair: Pair) -> None:
    taken = []
    for number in (5, 80):
        for link in pairs(pair, number):
            drift(pair, link)
        one = begun(pair)
        with CaptureQueriesContext(connection) as queries:
            verify.work(one.pk)
        taken.append(len(queries))
    assert taken[0] == taken[1] < 45


def test_a_sample_reads_so_many_pairs_and_the_same_ones_for_its_seed(pair: Pair) -> None:
    pairs(pair, 150)
    one = verified(pair, SAMPLE, size=40)
    assert (one.state, one.total, one.counts["pairs"]) == ("done", 40, 40)
    first = reads(pair.left)[-1]
    again = begun(pair, SAMPLE, size=40)
    Verification.objects.filter(pk=again.pk).update(seed=one.seed)
    verify.work(again.pk)
    assert reads(pair.left)[-1] == first
    verified(pair, SAMPLE, size=40)
    assert reads(pair.left)[-1] != first


def test_a_sample_larger_than_the_mapping_holds_every_pair(pair: Pair) -> None:
    pairs(pair, 3)
    one = verified(pair, SAMPLE, size=40)
    assert (one.total, one.counts["pairs"]) == (3, 3)


def test_a_mapping_without_pairs_is_done_at_once(pair: Pair) -> None:
    one = verified(pair)
    assert (one.state, one.counts["pairs"]) == ("done", 0)
    assert verified(pair, SAMPLE).state == "done"


def test_a_long_list_is_cut_and_the_counts_are_not(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_walk, "MOST_LISTED", 2)
    for link in pairs(pair, 5):
        drift(pair, link)
    one = verified(pair)
    assert (one.counts["drift"], one.counts["found"], one.counts["kept"]) == (5, 5, 2)
    assert VerifiedDifference.objects.count() == 2


def test_calls_are_made_on_the_lowest_lane_of_the_budget(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = verify.open_session
    monkeypatch.setattr(verify, "open_session", lambda *a, **m: opened.append(real(*a, **m)) or opened[-1])
    pairs(pair, 1)
    verified(pair)
    assert [session.lane for session in opened] == ["verify"]


# A budget that is short. -----------------------------------------------------------------------------------------


def test_without_room_in_the_budget_it_leaves_and_comes_back(pair: Pair) -> None:
    pairs(pair, 150)
    one = begun(pair)
    before_call(pair.left, 2, raising(RateLimited("slow down", after=300)))
    assert verify.work(one.pk) == "waiting"
    one.refresh_from_db()
    assert one.lease_until is None and one.reason["code"] == "verification_waits"
    assert timedelta(seconds=290) < one.not_before - timezone.now() <= timedelta(seconds=300)
    assert verify.work(one.pk) == "busy"  # not before its time
    Verification.objects.update(not_before=timezone.now())
    assert verify.work(one.pk) == "done"
    one.refresh_from_db()
    assert (one.counts["pairs"], one.counts["equal"], one.reason) == (150, 150, {})


def test_a_system_that_asked_everybody_to_wait_is_not_called(pair: Pair) -> None:
    pairs(pair, 1)
    until = timezone.now() + timedelta(minutes=10)
    Connection.objects.filter(name="Right").update(retry_after=until)
    one = verified(pair)
    assert (one.state, one.not_before) == ("waiting", until)
    assert not pair.left.calls


def test_a_moment_without_room_is_waited_for(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(verify_walk.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(verify_walk.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    pairs(pair, 1)
    before_call(pair.left, 1, raising(RateLimited("our own limit", after=5.0)))
    assert verified(pair).state == "done"
    assert 5.0 <= clock[0] < 6.0


def test_without_room_for_half_a_day_it_stops_itself(pair: Pair) -> None:
    pairs(pair, 1)
    one = begun(pair)
    Verification.objects.update(moved_at=timezone.now() - verify.GIVE_UP_AFTER - timedelta(minutes=1))
    pair.left.before = lambda verb, ids: raising(RateLimited("slow down", after=300))()
    assert verify.work(one.pk) == "stopped"
    one.refresh_from_db()
    assert one.reason["code"] == "verification_no_room"


def test_after_a_setback_it_goes_on_in_small_steps(pair: Pair) -> None:
    """A quota that lets a few calls through at a time must not make it begin again for ever."""
    pairs(pair, 250)
    one = begun(pair)
    rounds = 0
    while one.state in Verification.OPEN:
        rounds += 1
        left = [3]

        def limited(verb: str, ids: Any, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise RateLimited("slow down", after=300)

        pair.left.before = pair.right.before = limited
        Verification.objects.update(not_before=timezone.now())
        verify.work(one.pk)
        one.refresh_from_db()
        assert rounds < 9
    assert (one.state, one.counts["equal"]) == ("done", 250)


# Systems that fail. ----------------------------------------------------------------------------------------------


def test_a_system_that_does_not_answer_is_tried_again_and_given_up_in_the_end(pair: Pair) -> None:
    pairs(pair, 1)
    one = begun(pair)
    pair.right.before = lambda verb, ids: raising(Retry("no answer"))()
    for _ in range(verify.MOST_TRIES - 1):
        assert verify.work(one.pk) == "waiting"
        Verification.objects.update(not_before=timezone.now())
    assert verify.work(one.pk) == "failed"
    one.refresh_from_db()
    assert one.reason["params"]["message"] == "Right: no answer"


@pytest.mark.parametrize("error", [NeedsAuthorization("sign in"), NotAllowed("no right"), Refused("no such type")])
def test_what_waiting_does_not_cure_ends_it(pair: Pair, error: Exception) -> None:
    pairs(pair, 40)
    pair.right.before = lambda verb, ids: raising(error)()
    one = verified(pair)
    assert (one.state, one.reason["code"]) == ("failed", "verification_failed")
    assert len(reads(pair.right)) < 15


def test_a_record_whose_read_is_refused_waits_and_the_others_are_compared(pair: Pair) -> None:
    links = pairs(pair, 100)
    bad = links[37].right_id

    def refuse(verb: str, ids: Any) -> None:
        if bad in ids:
            raise Refused("this one breaks our page")

    pair.right.before = refuse
    one = verified(pair)
    assert (one.state, one.counts["equal"], one.counts["waits"]) == ("done", 99, {"unreadable": 1})
    assert len(reads(pair.right)) < 20


def test_a_connection_that_needs_a_person_keeps_it_from_beginning_and_ends_it(pair: Pair) -> None:
    pairs(pair, 1)
    one = begun(pair)
    Connection.objects.filter(name="Right").update(state="sign_in")
    assert verify.work(one.pk) == "stopped"
    with pytest.raises(verify.CannotBegin, match="cannot be used"):
        verify.begin(Mapping.objects.get(), COMPLETE)


def test_a_version_published_meanwhile_ends_it(pair: Pair) -> None:
    pairs(pair, 1)
    one = begun(pair)
    pair.publish(rules=[rule("title", "title")])
    assert verify.work(one.pk) == "stopped"
    one.refresh_from_db()
    assert one.reason["code"] == "verification_version_moved"


def test_what_was_never_published_cannot_be_verified(pair: Pair) -> None:
    pair.mapping.published = None
    pair.mapping.save()
    with pytest.raises(verify.CannotBegin, match="never published"):
        verify.begin(pair.mapping, COMPLETE)


# Stopping, dying, taking over. -----------------------------------------------------------------------------------


def test_a_person_stops_it_before_its_next_call(pair: Pair) -> None:
    pairs(pair, 250)
    one = begun(pair)
    before_call(pair.left, 2, lambda: verify.stop(one, "olga"))
    assert verify.work(one.pk) == "stopped"
    one.refresh_from_db()
    assert (one.state, one.reason["params"]) == ("stopped", {"by": "olga"})
    assert one.finished_at is not None
    assert len(reads(pair.left)) == 2
    assert AuditEntry.objects.get(code="verification_stopped").actor == "olga"
    assert not verify.stop(one, "olga")


def test_one_that_waits_is_stopped_at_once(pair: Pair) -> None:
    one = begun(pair)
    assert verify.stop(one, "olga")
    one.refresh_from_db()
    assert one.state == "stopped"
    assert verify.work(one.pk) == "busy"


class Killed(BaseException):
    """The worker is gone: nothing after this line runs."""


def killed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Verification:
    """A verification whose worker was killed at the second chunk of its second stretch."""
    monkeypatch.setattr(verify_walk, "STRETCH", 100)
    links = pairs(pair, 350)
    drift(pair, links[10])
    drift(pair, links[310])
    one = begun(pair)
    before_call(pair.left, 4, raising(Killed()))
    with pytest.raises(Killed):
        verify.work(one.pk)
    one.refresh_from_db()
    assert (one.state, one.counts["pairs"]) == ("running", 200)
    return one


def test_a_killed_worker_s_verification_goes_on_where_it_was(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    one = killed(pair, monkeypatch)
    pair.left.calls.clear()
    assert verify.work(one.pk) == "busy"
    assert schedule.due_verifications() == []
    Verification.objects.update(lease_until=timezone.now() - timedelta(seconds=1), rung_at=None)
    assert schedule.due_verifications() == [one.pk]
    assert schedule.due_verifications() == []  # rung once
    assert jobs.carry_on_verification(one.pk) == "done"
    one.refresh_from_db()
    assert (one.counts["pairs"], one.counts["equal"], one.counts["drift"]) == (350, 348, 2)
    assert VerifiedDifference.objects.count() == 2
    assert sum(len(ids) for ids in reads(pair.left)) == 150 + 1  # what was counted is not read again


def test_one_that_kills_its_workers_is_given_up(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs(pair, 1)
    one = begun(pair)
    pair.left.before = lambda verb, ids: raising(Killed())()
    for _ in range(verify.MOST_TRIES):
        with pytest.raises(Killed):
            verify.work(one.pk)
        Verification.objects.update(lease_until=None)
    assert verify.work(one.pk) == "failed"
    one.refresh_from_db()
    assert one.reason["code"] == "verification_broke_off"


def test_a_stop_reaches_one_whose_worker_is_dead(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    one = killed(pair, monkeypatch)
    assert verify.stop(one, "olga")
    Verification.objects.update(lease_until=timezone.now() - timedelta(seconds=1), rung_at=None)
    assert schedule.due_verifications() == [one.pk]
    assert verify.work(one.pk) == "stopped"


def test_a_worker_that_slept_through_its_turn_commits_nothing(pair: Pair) -> None:
    pairs(pair, 3)
    one = begun(pair)
    answers = []

    def taken_over() -> None:
        pair.left.before = lambda verb, ids: None
        Verification.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        answers.append(verify.work(one.pk))

    before_call(pair.left, 1, taken_over)
    assert verify.work(one.pk) == "lost"
    assert answers == ["done"]
    one.refresh_from_db()
    assert (one.state, one.counts["pairs"]) == ("done", 3)


def test_a_slice_of_time_ends_and_the_next_one_goes_on(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_walk, "SLICE_SECONDS", -1.0)
    monkeypatch.setattr(verify_walk, "STRETCH", 100)
    pairs(pair, 150)
    one = begun(pair)
    assert [verify.work(one.pk), verify.work(one.pk)] == ["waiting", "done"]
    one.refresh_from_db()
    assert one.counts["pairs"] == 150


def test_a_mapping_has_one_open_verification_at_most(pair: Pair) -> None:
    one = begun(pair)
    with pytest.raises(verify.CannotBegin, match="going on already"):
        begun(pair, SAMPLE)
    with pytest.raises(IntegrityError), transaction.atomic():
        Verification.objects.create(mapping=pair.mapping, version=one.version, kind=SAMPLE)
    verify.work(one.pk)
    assert begun(pair, SAMPLE).pk


def test_a_failure_of_our_own_ends_it_with_a_reason(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs(pair, 1)
    one = begun(pair)
    monkeypatch.setattr(verify, "stretch", lambda *a: raising(ZeroDivisionError())())
    with pytest.raises(ZeroDivisionError):
        verify.work(one.pk)
    one.refresh_from_db()
    assert (one.state, one.reason["params"]) == ("failed", {"message": "ZeroDivisionError."})


# By the clock. ---------------------------------------------------------------------------------------------------


def begin_after(pair: Pair, age: timedelta) -> list[str]:
    """What the clock begins if everything so far, the approval too, is this old; each is ended at once."""
    MappingState.objects.update(approved_at=timezone.now() - age)
    schedule.begin_verifications()
    begun = list(Verification.objects.filter(state="waiting").values_list("kind", flat=True))
    Verification.objects.filter(state="waiting").update(state="done")
    return begun


def test_a_mapping_in_force_is_sampled_daily_and_compared_completely_every_week(pair: Pair) -> None:
    day = timedelta(days=1, minutes=1)
    assert begin_after(pair, timedelta(hours=3)) == []
    assert begin_after(pair, day) == ["sample"]
    assert begin_after(pair, day) == []
    Verification.objects.update(created_at=timezone.now() - day)
    assert begin_after(pair, 7 * day) == ["complete"]
    assert begin_after(pair, 7 * day) == []
    Verification.objects.update(created_at=timezone.now() - day)
    assert begin_after(pair, 9 * day) == ["sample"]
    assert Verification.objects.filter(started_by="").count() == 3
    assert not AuditEntry.objects.filter(action="verification").exists()


def aged(by: timedelta) -> None:
    """So much time passes; what was begun ages."""
    for one in Verification.objects.all():
        Verification.objects.filter(pk=one.pk).update(created_at=one.created_at - by)


def test_a_complete_comparison_of_a_system_that_is_down_is_tried_again_after_a_day(pair: Pair) -> None:
    pairs(pair, 2)
    MappingState.objects.update(approved_at=timezone.now() - timedelta(days=8))
    pair.left.before = lambda verb, ids: raising(Retry("503 Service Unavailable", after=0))()
    assert schedule.begin_verifications() == 1
    one = Verification.objects.get()
    while one.state in Verification.OPEN:
        Verification.objects.update(not_before=timezone.now())
        verify.work(one.pk)
        one.refresh_from_db()
    assert (one.kind, one.state, one.tries) == ("complete", "failed", verify.MOST_TRIES)
    # It noticed nothing, so the sample of the day is due; nothing more is begun until the next day.
    assert begin_after(pair, timedelta(days=8)) == ["sample"]
    for _ in range(3):
        aged(timedelta(hours=7))
        assert begin_after(pair, timedelta(days=8)) == []
    aged(timedelta(hours=4))
    assert begin_after(pair, timedelta(days=8)) == ["complete"]
    assert begin_after(pair, timedelta(days=8)) == []
    aged(timedelta(days=6, hours=23))
    assert begin_after(pair, timedelta(days=16)) == ["sample"], "the one that came to its end holds for a week"


@pytest.mark.parametrize(
    "ended, begun_next",
    [
        ({"state": "failed"}, "complete"),
        ({"state": "stopped", "reason": {"code": "verification_no_room", "params": {}}}, "complete"),
        ({"state": "stopped", "stop_asked_by": "olga"}, "sample"),
    ],
)
def test_what_a_person_stopped_is_not_begun_again_before_its_week(
    pair: Pair, ended: dict[str, Any], begun_next: str
) -> None:
    one = begun(pair)
    Verification.objects.filter(pk=one.pk).update(created_at=timezone.now() - timedelta(days=1, hours=1), **ended)
    assert begin_after(pair, timedelta(days=30)) == [begun_next]


@pytest.mark.parametrize("change", [{"state": "paused"}, {"halt": "brake"}, {"approved_at": None}])
def test_a_mapping_that_is_not_in_force_is_left_alone(pair: Pair, change: dict[str, Any]) -> None:
    MappingState.objects.update(approved_at=timezone.now() - timedelta(days=30))
    rows = Mapping.objects if "state" in change else MappingState.objects
    rows.update(**change)
    assert schedule.begin_verifications() == 0


def test_the_tick_rings_open_verifications(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[tuple[Any, ...]] = []
    monkeypatch.setattr(schedule, "enqueue", lambda *a: rung.append(a))
    one = begun(pair)
    Verification.objects.update(rung_at=timezone.now() - timedelta(minutes=1))
    schedule.tick()
    assert ("housekeeping", "sync.jobs.carry_on_verification", one.pk) in rung


def test_old_verifications_go_and_the_newest_stays(pair: Pair) -> None:
    (link,) = pairs(pair, 1)
    drift(pair, link)
    old, newer, newest = (verified(pair) for _ in range(3))
    Verification.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=400))
    Verification.objects.filter(pk=newer.pk).update(created_at=timezone.now() - timedelta(days=40))
    Verification.objects.filter(pk=newest.pk).update(created_at=timezone.now() - timedelta(days=39))
    MappingState.objects.update(halt="brake")
    schedule.tidy()
    assert list(Verification.objects.values_list("pk", flat=True)) == [newest.pk, newer.pk]
    assert [row.verification_id for row in VerifiedDifference.objects.all()] == [newest.pk]


def test_whoever_begins_one_is_audited(pair: Pair) -> None:
    begun(pair, by="olga")
    entry = AuditEntry.objects.get(action="verification")
    assert (entry.code, entry.actor, entry.mapping_id) == ("verification_started", "olga", pair.mapping.pk)
