"""What the engine takes care of so quietly that only its absence would show; each has lost an edit somewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import Hint, Refused, Uncertain
from connections.connectors.memory import US, MemoryConnector, World
from connections.models import Connection
from sync import audit, engine, instructions, jobs, read
from sync.lease import LeaseLost
from sync.models import ChangedRecord, Conflict, Cursor, Link, MappingState, Operation
from sync.read import since_of
from sync.tests.conftest import Pair, build_pair, rule

pytestmark = pytest.mark.django_db


def once(world: World, verb: str, act: Callable[[], None], when: str = "before") -> None:
    """Do something at the first call of `verb`."""

    def hook(called: str, ids: Any) -> None:
        if called == verb:
            setattr(world, when, lambda *_: None)
            act()

    setattr(world, when, hook)


def no_answer() -> None:
    raise Uncertain("no answer")


def live(pair: Pair, rounds: int = 4) -> None:
    """Runs that look at every hint and read no list: nothing but hints brings a record back."""
    MappingState.objects.update(next_poll_at=timezone.now() + timedelta(hours=1))
    for _ in range(rounds):
        ChangedRecord.objects.update(not_before=timezone.now())
        pair.run("live")


def ours(world: World, path: str) -> list[Any]:
    """What we wrote to this field, as the system's own log tells."""
    return [line.after for line in world.log if line.by == US and line.field == path]


# Lists and cursors. --------------------------------------------------------------------------------------------------


def test_a_worker_that_loses_its_lease_while_it_lists_moves_no_cursor(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    before = Cursor.objects.get(side="left").watermark
    pair.left.edit(left, body="new")
    once(pair.left, "list", lambda: MappingState.objects.update(fence=999), "after")
    assert pair.run().state == "lost"
    assert Cursor.objects.get(side="left").watermark == before
    assert not ChangedRecord.objects.exists()
    MappingState.objects.update(lease_until=None)
    pair.quiet()
    assert pair.right.value(right, "body") == "new"


def test_a_list_that_breaks_off_is_read_again_from_where_it_began(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(60):
        pair.left.add(title=f"T{number}")
    real, calls = read.mark_changed, [0]

    def second_page_breaks_off(*args: Any) -> None:
        calls[0] += 1
        if calls[0] == 2:
            raise LeaseLost("stolen")
        real(*args)

    monkeypatch.setattr(read, "mark_changed", second_page_breaks_off)
    assert pair.run().state == "lost"
    assert not Cursor.objects.get(side="left").watermark


def test_a_change_that_shows_in_lists_late_is_listed_by_a_look_further_back(pair: Pair) -> None:
    """Stamped now, listed half a minute later: by then the polls have passed it by."""
    began, passed = timezone.now(), [0.0]
    pair.left.now = lambda: began + timedelta(seconds=passed[0])
    pair.left.capabilities = replace(pair.left.capabilities, lookback=60, overlap=5)
    left, right, _ = pair.linked(body="b")
    passed[0] = 100
    pair.left.lag = 30
    pair.left.edit(left, body="late")
    for passed[0] in (110, 120, 135):
        pair.run()
    assert pair.right.value(right, "body") == "b", "the stamp is older than what a poll re-reads"
    Cursor.objects.filter(side="left").update(deep_at=timezone.now() - timedelta(seconds=61))
    pair.quiet()
    assert pair.right.value(right, "body") == "late"


def test_a_look_further_back_begins_before_anything_that_may_show_only_now(pair: Pair) -> None:
    connector = MemoryConnector.__new__(MemoryConnector)
    connector.capabilities = replace(pair.left.capabilities, lookback=60, overlap=5)  # type: ignore[misc]
    now = timezone.now()
    cursor = Cursor(watermark="2026-01-01T00:10:00Z", deep_at=now - timedelta(seconds=59))
    assert since_of(cursor, connector, now) == ("2026-01-01T00:09:55.000000Z", False)
    cursor.deep_at = now - timedelta(seconds=60)
    assert since_of(cursor, connector, now) == ("2026-01-01T00:08:00.000000Z", True)


def test_a_time_stamp_is_no_version_two_edits_can_share_one(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    pair.ring("left", left)
    pair.ring("right", right)
    pair.quiet()
    assert Link.objects.get().left_settled, "a read in which all was agreed"
    record = pair.left.records[left]
    pair.left.records[left] = replace(record, values={**record.values, "body": "in the same second"})
    pair.run()
    pair.quiet()
    assert pair.right.value(right, "body") == "in the same second"


def test_an_exact_version_that_is_settled_is_not_read_again(pair: Pair) -> None:
    pair.left.capabilities = replace(pair.left.capabilities, exact_version=True)
    left, _, _ = pair.linked(body="b")
    pair.ring("left", left)
    pair.quiet()
    gets = len([verb for verb, _ in pair.left.calls if verb == "get"])
    pair.run()
    assert len([verb for verb, _ in pair.left.calls if verb == "get"]) == gets


def test_a_record_older_than_what_was_seen_decides_nothing(pair: Pair) -> None:
    """A replica that lags shows the state before our last read: that is nobody's edit."""
    left, right, _ = pair.linked(body="b")
    old = pair.left.records[left]
    pair.left.edit(left, body="new")
    pair.quiet()
    new = pair.left.records[left]
    pair.left.records[left] = old
    pair.ring("left", left)
    pair.run("live")
    assert pair.right.value(right, "body") == "new" and ours(pair.right, "body") == ["new"]
    assert ChangedRecord.objects.filter(side="left", external_id=left).exists(), "it is read again"
    pair.left.records[left] = new
    live(pair)
    assert pair.both(left, right, "body") == ("new", "new") and not ChangedRecord.objects.exists()


# Hints and bells. ----------------------------------------------------------------------------------------------------


def test_what_rings_between_the_read_and_the_commit_is_looked_at_again(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    pair.ring("left", left)

    def edited() -> None:
        pair.left.edit(left, body="new")
        pair.ring("left", left)

    once(pair.left, "get", edited, "after")
    live(pair)
    assert pair.right.value(right, "body") == "new"


def test_what_rang_after_the_last_look_of_a_run_is_rung_for(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    left, _, _ = pair.linked()
    woken: list[tuple[int, str]] = []
    real = engine.run

    def rung_at_the_end(*args: Any, **kwargs: Any) -> Any:
        outcome = real(*args, **kwargs)
        pair.ring("left", left)
        return outcome

    monkeypatch.setattr(engine, "run", rung_at_the_end)
    monkeypatch.setattr(jobs, "wake", lambda mapping_id, queue="live": woken.append((mapping_id, queue)))
    assert jobs.run_mapping(pair.mapping.pk) == "done"
    assert woken == [(pair.mapping.pk, "live")]


def test_an_edit_that_waits_for_an_open_operation_waits_for_seconds(pair: Pair) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, update_timeout=60)
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="one")
    once(pair.right, "update", no_answer, "after")
    pair.run()
    assert Operation.objects.get().state == "uncertain"
    pair.left.edit(left, body="two")
    pair.ring("left", left)
    pair.run("live")
    hint = ChangedRecord.objects.get(side="left")
    assert hint.not_before - timezone.now() < timedelta(seconds=10)
    assert pair.right.value(right, "body") == "one", "a link with an open operation is not planned"


def told(pair: Pair, external_id: str, **more: Any) -> None:
    """A delivery about a record of the right side, by our account, reaches us."""
    hint = Hint("thing", external_id, **{"own_account": True, "verified": True, **more})
    jobs.bell(Connection.objects.get(name="Right").pk, [hint])


@pytest.fixture
def written(pair: Pair) -> tuple[str, str]:
    """A pair of which we have just written the right side."""
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    live(pair)
    assert ours(pair.right, "body") == ["new"] and not ChangedRecord.objects.exists()
    return left, right


def test_a_verified_delivery_that_tells_exactly_what_we_wrote_costs_no_call(
    pair: Pair, written: tuple[str, str]
) -> None:
    _, right = written
    told(pair, right, changes={"body": "new"})
    assert not ChangedRecord.objects.exists()


def test_a_person_who_uses_our_account_is_heard(pair: Pair, written: tuple[str, str]) -> None:
    left, right = written
    pair.right.edit(right, by=US, body="by hand")
    told(pair, right, changes={"body": "by hand"})
    live(pair)
    assert pair.left.value(left, "body") == "by hand"


def test_an_unverified_delivery_silences_nothing(pair: Pair, written: tuple[str, str]) -> None:
    _, right = written
    told(pair, right, changes={"body": "new"}, verified=False)
    assert ChangedRecord.objects.filter(side="right", external_id=right).exists()


# Deciding. -----------------------------------------------------------------------------------------------------------


def test_a_rule_that_comes_later_finds_no_agreement_and_no_edit(pair: Pair) -> None:
    """Never agreed is not agreed on nothing: what both sides hold is asked about, whatever the policy."""
    rules = list(pair.mapping.published.document["rules"])
    pair.publish(rules=[one for one in rules if one["id"] != "body"])
    left, right, link = pair.linked()
    pair.left.edit(left, body="long there")
    pair.right.edit(right, body="as long here")
    pair.publish(rules=[*(one for one in rules if one["id"] != "body"), rule("body", "body", policy="left")])
    pair.ring("left", left)
    pair.quiet()
    (question,) = pair.open_conflicts()
    assert (question.code, question.has_base) == ("initially_different", False)
    assert pair.both(left, right, "body") == ("long there", "as long here")


def test_what_an_automation_makes_of_our_write_is_an_edit_though_it_has_our_name(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")

    def automation(external_id: str, values: dict[str, Any], by: str) -> dict[str, Any]:
        return {**values, "body": f"[auto] {values['body']}"} if by == US and "body" in values else values

    pair.right.on_write = automation
    pair.left.edit(left, body="new")
    pair.quiet()
    assert pair.both(left, right, "body") == ("[auto] new", "[auto] new")
    assert not pair.open_conflicts()


def test_an_answer_applies_although_another_field_of_the_record_moved(pair: Pair, admin_user: object) -> None:
    left, right, _ = pair.linked(body="b", title="t")
    pair.left.edit(left, body="L")
    pair.right.edit(right, body="R")
    pair.quiet()
    pair.left.edit(left, title="another")
    asked = instructions.resolve(
        pair.open_conflicts()[0], {"take": "left", "seen": {"left": "L", "right": "R"}}, admin_user
    )
    live(pair)
    asked.refresh_from_db()
    assert asked.state == "done" and pair.both(left, right, "body") == ("L", "L")
    assert pair.right.value(right, "title") == "another"


def test_small_portions_pass_no_brake(pair: Pair) -> None:
    """The limit is counted over the ledger's last hour, not over one run."""
    pair.publish(brakes={"update": [2, 0.0]})
    made = [pair.left.add(title=f"T{n}", ref=f"N{n}") for n in range(4)]
    for n in range(4):
        pair.right.add(title=f"T{n}", ref=f"N{n}")
    pair.quiet()
    states = []
    for external_id in made:
        pair.left.edit(external_id, body="one at a time")
        pair.ring("left", external_id)
        states.append(pair.run("live").state)
    assert states == ["done", "done", "halted", "halted"] and pair.writes() == 2


# Sending. ------------------------------------------------------------------------------------------------------------


def before_sending(monkeypatch: pytest.MonkeyPatch, act: Callable[[Sequence[Operation]], None]) -> None:
    """Do something between the first decision and its claim."""
    real = engine.carry_out

    def late(session: Any, operations: Sequence[Operation]) -> None:
        monkeypatch.setattr(engine, "carry_out", real)
        act(operations)
        real(session, operations)

    monkeypatch.setattr(engine, "carry_out", late)


def test_what_rang_since_it_was_decided_is_decided_again(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="first")

    def edited(operations: Sequence[Operation]) -> None:
        pair.left.edit(left, body="second")
        pair.ring("left", left)

    before_sending(monkeypatch, edited)
    pair.quiet()
    assert ours(pair.right, "body") == ["second"]
    assert Operation.objects.filter(state="superseded").count() == 1


def test_a_decision_that_waited_too_long_is_made_again(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="first")

    def waited(operations: Sequence[Operation]) -> None:
        pair.left.edit(left, body="second")  # nothing rings
        for operation in operations:
            operation.not_before -= timedelta(seconds=11)

    before_sending(monkeypatch, waited)
    pair.run()
    live(pair)
    assert ours(pair.right, "body") == ["second"]


def test_a_record_that_another_mapping_writes_is_not_written(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right, _ = pair.linked(body="b")
    other = build_pair("Other", World("Third"), pair.right)
    other.approve()
    third = other.left.add(title="One", ref="R1", body="b")
    other.quiet()
    assert Link.objects.filter(mapping=other.mapping, left_id=third, right_id=right).exists()
    pair.left.edit(left, body="new")
    seen: list[str] = []

    def claims_too(operations: Sequence[Operation]) -> None:
        operation = operations[0]
        rival = Operation.objects.create(
            mapping=other.mapping,
            version=other.mapping.published,
            link=Link.objects.get(mapping=other.mapping),
            side="right",
            kind="update",
            external_id=operation.external_id,
            state="sending",
            claim=f"{Connection.objects.get(name='Right').pk}:thing:{operation.external_id}",
        )
        seen.append(str(rival.pk))

    before_sending(monkeypatch, claims_too)
    pair.run()
    assert seen and ours(pair.right, "body") == [], "one writer per remote record across mappings"
    Operation.objects.filter(pk=seen[0]).update(state="confirmed", claim=None)
    live(pair)
    assert ours(pair.right, "body") == ["new"]


def test_that_the_old_value_is_there_does_not_prove_that_a_write_did_not_happen(pair: Pair) -> None:
    """It arrived, and a person set the field back: sending it again would undo their edit."""
    pair.right.capabilities = replace(pair.right.capabilities, field_history=False, complete_history=False)
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")

    def set_back() -> None:
        pair.right.edit(right, by="bob", body="b")
        no_answer()

    once(pair.right, "update", set_back, "after")
    pair.run()
    pair.quiet()
    (question,) = pair.open_conflicts()
    assert (question.kind, question.code) == (Conflict.Kind.REFUSED, "maybe_written")
    assert ours(pair.right, "body") == ["new"] and pair.right.value(right, "body") == "b"


# Results. ------------------------------------------------------------------------------------------------------------


def test_an_edit_that_a_write_reads_back_is_not_taken_for_agreed(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b", title="t")
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    once(pair.right, "update", lambda: pair.right.edit(right, title="meanwhile"))
    live(pair)
    assert pair.both(left, right, "title") == ("meanwhile", "meanwhile")
    assert pair.both(left, right, "body") == ("new", "new")


def test_an_act_and_its_line_are_committed_together_or_not_at_all(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right, link = pair.linked(body="b")
    pair.left.edit(left, body="new")
    real = audit.append

    def broken(entries: list[Any]) -> None:
        if any(entry.action == "write" for entry in entries):
            raise RuntimeError("no room for the line")
        real(entries)

    monkeypatch.setattr(audit, "append", broken)
    with pytest.raises(RuntimeError):
        pair.run()
    link.refresh_from_db()
    assert Operation.objects.get().state == "sending" and link.right_bases["body"] == "b"
    monkeypatch.setattr(audit, "append", real)
    pair.quiet()
    assert Operation.objects.get().state == "confirmed" and ours(pair.right, "body") == ["new"]


def test_what_was_beside_a_refused_field_is_sent_without_a_poll(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b", title="t")
    pair.left.edit(left, body="fits", title="does not")
    pair.ring("left", left)

    def refuse() -> None:
        raise Refused("No.", {"title": "not this one"})

    once(pair.right, "update", refuse)
    live(pair)
    assert pair.right.value(right, "body") == "fits"
    assert [question.rule_id for question in pair.open_conflicts()] == ["title"]


# One thing, one record. ----------------------------------------------------------------------------------------------


def test_a_create_is_not_repeated_before_a_look_up_could_have_found_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index lags: neither the key nor the list of our own records shows yet what we made."""
    capabilities = replace(pair.right.capabilities, create_lookup_consistent=False, settle_seconds=30)
    pair.right.capabilities = capabilities
    pair.left.add(title="Alone")
    once(pair.right, "create", no_answer, "after")
    with monkeypatch.context() as lagging:
        lagging.setattr(MemoryConnector, "find_by_correlation_key", lambda *_: {})
        lagging.setattr(MemoryConnector, "own_recent", lambda *_: [])
        pair.run()
        live(pair)
        operation = Operation.objects.get(kind="create")
        assert operation.state == "uncertain" and operation.claimed_at is not None
        assert timedelta(seconds=20) < operation.not_before - timezone.now() < timedelta(seconds=31)
    ages_ago = operation.claimed_at - timedelta(seconds=31)
    Operation.objects.update(claimed_at=ages_ago, not_before=timezone.now())
    pair.quiet()
    assert len(pair.right.alive()) == 1 and Link.objects.get().state == "active"


def test_a_clone_that_carries_our_key_is_neither_bound_nor_copied(pair: Pair) -> None:
    left = pair.left.add(title="Original", ref="R1")
    pair.quiet()
    link = Link.objects.get(left_id=left)
    key = pair.right.records[link.right_id].correlation_key
    clone = pair.right.add(correlation_key=key, title="Clone of the original", ref="R1")
    pair.quiet()
    (question,) = pair.open_conflicts()
    assert (question.kind, question.subject) == (Conflict.Kind.DUPLICATE, f"right:{clone}")
    link.refresh_from_db()
    assert link.right_id != clone and len(pair.left.alive()) == 1 and Link.objects.count() == 1
