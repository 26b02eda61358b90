"""A verification in a maintenance window or a pause: it reads nothing there, and what a system hides is not missing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import Refused
from connections.models import Connection
from connections.pauses import pause_connection
from mappings.models import Mapping
from mappings.pauses import pause_mapping, resume_mapping
from sync import repair, schedule, verify, verify_walk
from sync.models import ChangedRecord, MappingState, Verification, VerifiedDifference
from sync.tests.conftest import Pair
from sync.tests.test_pauses import OPEN, touched, window
from sync.tests.verify_cases import COMPLETE, before_call, begun, drift, pairs, reads, verified
from sync.wording import sentence

pytestmark = pytest.mark.django_db

WHERE = ["mapping", "left", "right"]


def stand_still(where: str) -> None:
    """A window of the mapping or of one side opens."""
    if where == "mapping":
        Mapping.objects.update(windows=[window(*OPEN)])
    else:
        Connection.objects.filter(name=where.capitalize()).update(windows=[window(*OPEN)])


def over() -> None:
    """The windows are over, and the time has come to look again."""
    Mapping.objects.update(windows=[])
    Connection.objects.update(windows=[])
    look_again()


def look_again() -> None:
    Verification.objects.update(not_before=timezone.now())


def upgrade(pair: Pair, where: str, hidden: str) -> Callable[[], None]:
    """A window opens, and the upgrade in it hides a record of the right."""

    def act() -> None:
        stand_still(where)
        pair.right.records.pop(hidden)

    return act


# While it goes on. -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", WHERE)
def test_a_window_that_opens_before_its_turn_makes_it_wait_and_it_goes_on_afterwards(pair: Pair, where: str) -> None:
    pairs(pair, 3)
    one = begun(pair)
    stand_still(where)
    assert verify.work(one.pk) == "waiting" and touched(pair) == 0
    one.refresh_from_db()
    assert one.lease_until is None and one.reason["code"] == "verification_stands_still"
    assert " is in a maintenance window until " in sentence(one.reason["code"], one.reason["params"])
    assert verify.work(one.pk) == "busy", "not before its time"
    over()
    assert verify.work(one.pk) == "done"
    one.refresh_from_db()
    assert (one.counts["equal"], one.reason) == (3, {})


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("call", [1, 2])
def test_what_an_upgrade_hides_while_pairs_are_read_is_not_told_as_missing(pair: Pair, where: str, call: int) -> None:
    """At the first look or the second: a read that was on its way already is not believed."""
    links = pairs(pair, 3, body="b")
    drift(pair, links[2])
    hidden = links[0].right_id or ""
    record = pair.right.records[hidden]
    one = begun(pair)
    before_call(pair.right, call, upgrade(pair, where, hidden))
    assert verify.work(one.pk) == "waiting"
    assert len(reads(pair.right)) == call, "nothing is read once it is open"
    one.refresh_from_db()
    assert one.counts["pairs"] == 0
    assert not VerifiedDifference.objects.exists() and not ChangedRecord.objects.exists()
    pair.right.records[hidden] = record
    over()
    assert verify.work(one.pk) == "done"
    one.refresh_from_db()
    assert (one.counts["equal"], one.counts["drift"], one.counts["missing"]) == (2, 1, 0)


def test_what_the_very_last_read_brings_is_not_counted_if_a_window_opened_meanwhile(pair: Pair) -> None:
    pairs(pair, 1)
    one = begun(pair)
    before_call(pair.right, 1, lambda: stand_still("right"))
    assert verify.work(one.pk) == "waiting"
    one.refresh_from_db()
    assert one.counts["pairs"] == 0


def test_what_was_counted_before_the_window_stays(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_walk, "STRETCH", 100)
    pairs(pair, 250)
    one = begun(pair)
    before_call(pair.left, 2, lambda: stand_still("left"))
    assert verify.work(one.pk) == "waiting"
    one.refresh_from_db()
    assert (one.counts["pairs"], one.done) == (100, 100)
    over()
    verify.work(one.pk)
    one.refresh_from_db()
    assert (one.state, one.counts["equal"]) == ("done", 250)
    assert [len(ids) for ids in reads(pair.left)] == [100, 100, 100, 50], "in no smaller pieces than before"


def test_a_system_that_refuses_as_its_window_begins_does_not_end_it(pair: Pair) -> None:
    pairs(pair, 1)
    one = begun(pair)

    def down() -> None:
        stand_still("right")
        raise Refused("we are being upgraded")

    before_call(pair.right, 1, down)
    assert verify.work(one.pk) == "waiting"
    one.refresh_from_db()
    assert one.reason["code"] == "verification_stands_still"


def test_a_window_that_closed_before_the_end_was_counted_is_read_again_at_once(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs(pair, 1)
    one = begun(pair)
    monkeypatch.setattr(verify_walk, "may_compare", lambda *a, **m: False)
    assert verify.work(one.pk) == "waiting"
    monkeypatch.undo()
    assert verify.work(one.pk) == "done"


def test_a_long_window_neither_wears_it_out_nor_counts_as_a_budget_without_room(pair: Pair) -> None:
    pairs(pair, 1)
    one = begun(pair)
    stand_still("right")
    long_ago = timezone.now() - verify.GIVE_UP_AFTER - timedelta(hours=1)
    Verification.objects.update(moved_at=long_ago)
    for _ in range(verify.MOST_TRIES + 2):
        assert verify.work(one.pk) == "waiting"
        look_again()
    Connection.objects.update(windows=[], retry_after=timezone.now() + timedelta(minutes=5))
    assert verify.work(one.pk) == "waiting"
    one.refresh_from_db()
    assert one.reason["code"] == "verification_waits"


def test_it_looks_again_each_minute_and_at_the_end_of_the_window(pair: Pair) -> None:
    one = begun(pair)

    def next_look(left: timedelta) -> datetime:
        Mapping.objects.update(windows=[window(timedelta(hours=-1), left)])
        look_again()
        verify.work(one.pk)
        return Verification.objects.get().not_before

    minute = timedelta(seconds=60)
    assert abs(next_look(timedelta(hours=1)) - timezone.now() - minute) < timedelta(seconds=5)
    assert abs(next_look(timedelta(seconds=30)) - timezone.now() - minute / 2) < timedelta(seconds=5)


def test_one_that_stands_still_is_stopped_at_once(pair: Pair) -> None:
    pairs(pair, 1)
    one = begun(pair)
    stand_still("left")
    verify.work(one.pk)
    assert verify.stop(one, "olga")
    one.refresh_from_db()
    assert one.state == "stopped"


# Begin. ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("by", ["", "olga"])
def test_none_begins_in_a_window_and_the_person_is_told_until_when(pair: Pair, where: str, by: str) -> None:
    stand_still(where)
    with pytest.raises(verify.CannotBegin, match=r"is in a maintenance window until .+ upgrade\. · Nothing was read"):
        begun(pair, by=by)
    assert not Verification.objects.exists()


def test_the_clock_begins_one_after_the_window(pair: Pair) -> None:
    MappingState.objects.update(approved_at=timezone.now() - timedelta(days=2))
    stand_still("left")
    assert schedule.begin_verifications() == 0
    over()
    assert schedule.begin_verifications() == 1


# Pauses. ---------------------------------------------------------------------------------------------------------


def test_one_by_the_clock_waits_while_the_mapping_is_paused(pair: Pair, admin_user: Any) -> None:
    pairs(pair, 1)
    one = begun(pair)
    before_call(pair.left, 1, lambda: pause_mapping(pair.mapping, "closing", None, admin_user))
    assert verify.work(one.pk) == "waiting"
    assert (len(reads(pair.left)), len(reads(pair.right))) == (1, 0)
    one.refresh_from_db()
    assert one.reason["params"]["head"] == "Pair is paused until somebody resumes it"
    resume_mapping(pair.mapping, admin_user)
    look_again()
    assert verify.work(one.pk) == "done"


def test_one_that_a_person_asked_for_goes_on_while_the_mapping_is_paused(pair: Pair, admin_user: Any) -> None:
    pairs(pair, 1)
    one = begun(pair, by="olga")
    before_call(pair.left, 1, lambda: pause_mapping(pair.mapping, "closing", None, admin_user))
    assert verify.work(one.pk) == "done"
    assert verified(pair, by="olga").state == "done"


def test_a_window_of_a_paused_mapping_holds_for_a_person_as_well(pair: Pair, admin_user: Any) -> None:
    pause_mapping(pair.mapping, "closing", None, admin_user)
    stand_still("mapping")
    with pytest.raises(verify.CannotBegin, match="maintenance window"):
        begun(pair, by="olga")


def test_a_connection_that_is_paused_ends_it_before_the_next_read(pair: Pair, admin_user: Any) -> None:
    pairs(pair, 1)
    one = begun(pair, by="olga")
    right = pair.mapping.right_connection
    before_call(pair.left, 1, lambda: pause_connection(right, "their upgrade", None, admin_user))
    assert verify.work(one.pk) == "stopped"
    assert not reads(pair.right)
    with pytest.raises(verify.CannotBegin, match=r"Right is paused until .+ their upgrade\."):
        verify.begin(Mapping.objects.get(), COMPLETE, "olga")


# Repair. ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", WHERE)
def test_a_repair_waits_for_the_end_of_the_window(pair: Pair, where: str, admin_user: Any) -> None:
    (link,) = pairs(pair, 1, body="b")
    drift(pair, link)
    one = verified(pair)
    stand_still(where)
    found = VerifiedDifference.objects.get()
    assert repair.ask_repairs(one, [found.pk], "left", admin_user) == (1, 0)
    calls = touched(pair)
    assert pair.run("live").state == "waiting" and touched(pair) == calls
    assert repair.outcome_of(VerifiedDifference.objects.get()) == "waiting"
    over()
    pair.quiet()
    assert pair.both(link.left_id or "", link.right_id or "", "body") == ("b", "b")
    assert repair.outcome_of(VerifiedDifference.objects.get()) == "done"
