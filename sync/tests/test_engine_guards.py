"""What the engine takes care of so quietly that only its absence would show; each has lost an edit somewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from connections.connectors.base import Record, Refused
from connections.connectors.memory import US, MemoryConnector, World
from connections.models import Connection
from sync import apply, audit, engine, hints, instructions
from sync.models import ChangedRecord, Conflict, Link, Operation
from sync.tests.conftest import DEFAULT_RULES, Pair, build_pair, rule
from sync.tests.engine_cases import live, no_answer, once, ours

pytestmark = pytest.mark.django_db


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


def test_of_two_mappings_that_claim_a_record_in_one_moment_the_second_sends_nothing_of_its_batch(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right, _ = pair.linked(body="b", title="t")
    other = build_pair("Other", World("Third"), pair.right)
    other.approve()
    third = other.left.add(title="t", ref="R1", body="b")
    other.quiet()
    beside, twin = (world.add(title="Beside", ref="R2") for world in (pair.left, pair.right))
    pair.quiet()
    for external_id in (left, beside):
        pair.left.edit(external_id, body="ana's")
        pair.ring("left", external_id)
    other.left.edit(third, title="Eve's")
    real = apply._made_meanwhile

    def claims_first(session: Any, operations: Sequence[Operation]) -> set[int]:
        """The other claims after we have looked for its claim, and its write has no answer yet."""
        monkeypatch.setattr(apply, "_made_meanwhile", real)
        once(pair.right, "update", no_answer, "after")
        other.run()
        return real(session, operations)

    monkeypatch.setattr(apply, "_made_meanwhile", claims_first)
    pair.run("live")
    assert [ids for verb, ids in pair.right.calls if verb == "update"] == [right], "what the other wrote"
    assert ours(pair.right, "title") == ["Eve's"] and ours(pair.right, "body") == []
    again = Operation.objects.filter(mapping=pair.mapping, state="superseded", result__code="planned_again")
    assert {one.external_id for one in again} == {right, twin}
    for one in (other, pair, other):
        one.quiet()
    assert pair.both(left, right, "body") == ("ana's", "ana's") and other.left.value(third, "body") == "ana's"
    assert pair.both(left, right, "title") == ("Eve's", "Eve's")
    assert pair.both(beside, twin, "body") == ("ana's", "ana's")
    assert not Conflict.objects.exists()


def test_a_claim_that_the_database_breaks_off_since_another_claims_the_same_is_planned_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="ana's")
    real = apply.save_rows

    def deadlock(*args: Any) -> None:
        monkeypatch.setattr(apply, "save_rows", real)
        raise OperationalError("deadlock detected")

    monkeypatch.setattr(apply, "save_rows", deadlock)
    assert pair.run().state == "done"
    pair.quiet()
    assert pair.both(left, right, "body") == ("ana's", "ana's")
    assert ours(pair.right, "body") == ["ana's"]


def test_a_record_that_another_mapping_wrote_since_it_was_read_is_read_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What that one carried would be replaced unread where the system takes no condition with a write."""
    pair.right.capabilities = replace(
        pair.right.capabilities, conditional_write=False, field_history=False, complete_history=False
    )
    left, right, _ = pair.linked(labels=["a"])
    other = build_pair("Other", World("Third"), pair.right)
    other.approve()
    third = other.left.add(title="One", ref="R1", labels=["a"])
    other.quiet()
    pair.left.edit(left, labels=["a", "left"])
    other.left.edit(third, labels=["a", "third"])

    def writes_too(operations: Sequence[Operation]) -> None:
        other.run()
        assert pair.right.value(right, "labels") == ["a", "third"]

    before_sending(monkeypatch, writes_too)
    pair.ring("left", left)
    pair.run("live")
    assert pair.right.value(right, "labels") == ["a", "third"], "not written over"
    pair.quiet()
    assert pair.both(left, right, "labels") == (["a", "left", "third"], ["a", "left", "third"])


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


@pytest.mark.parametrize(("comes_back", "written"), [(False, ["new"]), (True, [])], ids=["counter", "digest"])
def test_an_old_version_proves_that_a_write_did_not_happen_unless_it_comes_back(
    pair: Pair, comes_back: bool, written: list[str]
) -> None:
    promise = {"exact_version": True, "field_history": False, "complete_history": False}
    pair.right.capabilities = replace(pair.right.capabilities, **promise, version_comes_back=comes_back)
    left, _, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")
    once(pair.right, "update", no_answer, "before")
    pair.run()
    pair.quiet()
    assert ours(pair.right, "body") == written
    assert [question.code for question in pair.open_conflicts()] == ([] if written else ["maybe_written"])


def test_what_an_unanswered_write_brought_is_agreed_though_another_field_of_it_is_asked_about(pair: Pair) -> None:
    """One of the two was edited since; the rule of the other is taken out and comes back."""
    pair.right.capabilities = replace(pair.right.capabilities, field_history=False, complete_history=False)
    left, right, _ = pair.linked(body="b", amount=1)
    pair.left.edit(left, body="new", amount=2)

    def edited_at_once() -> None:
        pair.right.edit(right, by="bob", body="theirs")
        no_answer()

    once(pair.right, "update", edited_at_once, "after")
    pair.run()
    pair.publish(rules=[one for one in DEFAULT_RULES if one["id"] != "amount"])
    pair.quiet()
    assert [one.rule_id for one in pair.open_conflicts()] == ["body"]
    pair.left.edit(left, amount=3)
    pair.publish(rules=DEFAULT_RULES)
    pair.quiet()
    assert pair.both(left, right, "amount") == (3, 3)
    assert [one.rule_id for one in pair.open_conflicts()] == ["body"]


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


def test_a_circle_that_turns_once_in_hours_is_seen(pair: Pair) -> None:
    """The value on the right is our own write of long ago, which this mapping has not taken notice of."""
    left, right, link = pair.linked(body="b")
    pair.left.edit(left, body="round and round")
    pair.quiet()
    Operation.objects.filter(side="right").update(hops=2, finished_at=timezone.now() - timedelta(hours=5))
    pair.left.records[left] = replace(pair.left.records[left], values={**pair.left.records[left].values, "body": "b"})
    Link.objects.update(left_bases={**link.left_bases, "body": "b"}, right_bases={**link.right_bases, "body": "b"})
    Link.objects.update(left_settled="", right_settled="")
    pair.ring("right", right)
    live(pair)
    (question,) = pair.open_conflicts()
    assert (question.kind, question.code) == (Conflict.Kind.OSCILLATION, "too_many_hops")
    assert pair.both(left, right, "body") == ("b", "round and round")


def test_an_edit_whose_field_one_record_does_not_show_crosses_once_it_does(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other records show the field: nothing is amiss with the rule, and nothing rings when this one shows it again."""
    left, right, _ = pair.linked(body="b")
    other = pair.left.add(title="Two", ref="R2", body="b")
    pair.right.add(title="Two", ref="R2", body="b")
    pair.quiet()
    hidden = {right}

    def shown(self: MemoryConnector, *args: Any) -> dict[str, Record]:
        found = get_many(self, *args)
        lacking = {
            path: replace(one, values=without(one.values, "body")) for path, one in found.items() if path in hidden
        }
        return {**found, **lacking} if self.world is pair.right else found

    get_many = MemoryConnector.get_many
    monkeypatch.setattr(MemoryConnector, "get_many", shown)
    pair.left.edit(left, body="meanwhile")
    pair.left.edit(other, body="shown")
    hints.mark(pair.mapping.pk, "left", [left, other])
    pair.run("live")
    waiting = ChangedRecord.objects.get(side="left", external_id=left)
    assert waiting.not_before > timezone.now() + timedelta(minutes=10) and not waiting.error
    hidden.clear()
    ChangedRecord.objects.update(not_before=timezone.now())
    pair.quiet()
    assert pair.both(left, right, "body") == ("meanwhile", "meanwhile")


def without(values: Mapping[str, Any], path: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != path}
