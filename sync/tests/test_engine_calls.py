"""Calls of one run that are out together, in bulk and in threads: what leaves, what is looked up, what is told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.memory import MemoryConnector
from sync import apply, lease
from sync.models import AuditEntry, Conflict, Link, MappingState, Operation
from sync.tests.conftest import Pair
from sync.tests.engine_cases import live, ours
from sync.tests.test_engine_overwritten import others_take_over
from sync.tests.test_engine_running import edit_all, pairs

pytestmark = pytest.mark.django_db

# Nothing waits for so long but where the code is broken: then the test fails, and does not hang.
HANGING_SECONDS = 10


def writes(pair: Pair) -> list[str]:
    """The writing calls to the right so far."""
    return [verb for verb, _ in pair.right.calls if verb in ("create", "update", "delete")]


def in_bulk(pair: Pair, number: int) -> None:
    """The right takes so many writes in a call, one call at a time."""
    pair.right.capabilities = replace(pair.right.capabilities, bulk_write=number, concurrency=1)


# In bulk. --------------------------------------------------------------------------------------------------------


def test_a_worker_that_stood_still_sends_no_bulk_either(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    made = pairs(pair, 3)
    edit_all(pair, made, body="new")
    in_bulk(pair, 10)
    real = apply.claim

    def stopped_after_the_claim(session: Any, operations: Any) -> Any:
        monkeypatch.setattr(apply, "claim", real)
        claimed = real(session, operations)
        session.lease.sure_until = 0.0
        return claimed

    monkeypatch.setattr(apply, "claim", stopped_after_the_claim)
    pair.run("live")
    assert writes(pair) == [] and {one.result["code"] for one in Operation.objects.all()} == {"retry"}
    live(pair)
    assert [pair.right.value(right, "body") for _, right in made] == ["new"] * 3


def answers_one_too_few(results: list[Any]) -> list[Any]:
    return results[1:]


def answers_one_too_many(results: list[Any]) -> list[Any]:
    return [results[0], *results]


def breaks_off(results: list[Any]) -> list[Any]:
    raise KeyError("strange answer")


ANSWERS = [answers_one_too_few, answers_one_too_many, breaks_off]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("verb", ["create", "update"])
def test_a_bulk_whose_answer_cannot_be_told_apart_is_looked_up_and_not_sent_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, verb: str, answer: Callable[[list[Any]], list[Any]]
) -> None:
    if verb == "update":
        edit_all(pair, pairs(pair, 3), body="new")
    else:
        for number in range(3):
            pair.ring("left", pair.left.add(title=f"New {number}"))
    in_bulk(pair, 10)
    real = getattr(MemoryConnector, f"{verb}_many")
    monkeypatch.setattr(MemoryConnector, f"{verb}_many", lambda *more: answer(list(real(*more))))
    pair.run("live")
    assert [one.state for one in Operation.objects.all()] == ["uncertain"] * 3
    assert not any(link.right_bases.get("body") == "new" for link in Link.objects.all()), "nothing is taken for agreed"
    pair.quiet()
    assert writes(pair) == [verb] * 3 and len(pair.right.alive()) == 3
    assert [one.state for one in Operation.objects.all()] == ["confirmed"] * 3
    twins = [pair.both(link.left_id or "", link.right_id or "", "title") for link in Link.objects.all()]
    assert len(twins) == 3 and all(left == right for left, right in twins), "no answer is taken for that of another"


def test_of_a_bulk_that_broke_off_in_the_middle_only_what_did_not_happen_is_sent_again(pair: Pair) -> None:
    made = pairs(pair, 3)
    edit_all(pair, made, body="new")
    in_bulk(pair, 10)

    def break_off(verb: str, ids: Any) -> None:
        if writes(pair) == ["update"] * 2:
            raise KeyError("strange answer")

    pair.right.after = break_off
    pair.run("live")
    assert [one.state for one in Operation.objects.all()] == ["uncertain"] * 3
    assert ours(pair.right, "body") == ["new"] * 2
    pair.right.after = lambda *_: None
    pair.quiet()
    written = [ids for verb, ids in pair.right.calls if verb == "update"]
    assert sorted(written) == sorted(right for _, right in made)
    assert [pair.right.value(right, "body") for _, right in made] == ["new"] * 3 and not pair.open_conflicts()


# In threads. -----------------------------------------------------------------------------------------------------


def while_out(pair: Pair, monkeypatch: pytest.MonkeyPatch, number: int, *acts: Callable[[], Any]) -> None:
    """Let `number` writes leave for the right and do `acts` before any is answered, one in each look of the run at its
    calls; then they are answered one after the other."""
    left, answering, real = threading.Semaphore(0), threading.Semaphore(0), apply.wait
    to_do = [*acts]

    def held(verb: str, ids: Any) -> None:
        if verb in ("create", "update"):
            left.release()
            assert answering.acquire(timeout=HANGING_SECONDS)

    def look(futures: Any, seconds: float, **how: Any) -> Any:
        assert seconds == lease.RENEW_SECONDS
        if len(to_do) == len(acts):
            assert all(left.acquire(timeout=HANGING_SECONDS) for _ in range(number))
            pair.right.before = lambda *_: None
        if not to_do:
            answering.release()
            return real(futures, HANGING_SECONDS, **how)
        monkeypatch.setattr(apply, "wait", real)  # for the runs of others
        to_do.pop(0)()
        monkeypatch.setattr(apply, "wait", look)
        return set(), futures

    pair.right.before = held
    monkeypatch.setattr(apply, "wait", look)


def test_slow_writes_do_not_cost_the_lease(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_all(pair, pairs(pair, 3), body="new")
    over = timezone.now() + timedelta(seconds=1)
    ends: list[Any] = []
    while_out(
        pair,
        monkeypatch,
        3,
        lambda: MappingState.objects.update(lease_until=over),
        lambda: ends.append(MappingState.objects.get().lease_until),
    )
    assert pair.run("live").state == "done"
    assert ends[0] > over, "renewed while nothing was answered"
    assert ours(pair.right, "body") == ["new"] * 3


def test_what_waits_for_a_thread_does_not_leave_once_the_lease_is_lost(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The create is out, the update waits behind it: the one is found by the next run, the other is sent by it."""
    [(left, right)] = pairs(pair, 1)
    in_bulk(pair, 2)
    pair.left.edit(left, body="new")
    new = pair.left.add(title="New")
    for external_id in (left, new):
        pair.ring("left", external_id)
    while_out(pair, monkeypatch, 1, lambda: MappingState.objects.update(fence=999))
    assert pair.run("live").state == "lost"
    assert writes(pair) == ["create"]
    assert {one.state for one in Operation.objects.all()} == {"sending"}, "their fate is for the next run to find out"
    others_take_over()
    pair.quiet()
    assert writes(pair) == ["create", "update"] and pair.right.value(right, "body") == "new"
    assert Link.objects.get(left_id=new).right_id in pair.right.alive() and len(pair.right.alive()) == 2


def test_all_that_was_out_when_the_lease_was_lost_is_told_of_by_the_next_run(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others gave the three writes up and made them again; Bob has edited since, and is overwritten three times."""
    made = pairs(pair, 3)
    edit_all(pair, made, body="ana's")

    def others_go_on() -> None:
        others_take_over()
        pair.quiet()
        for _, right in made:
            pair.right.edit(right, by="bob", body="bob's")

    while_out(pair, monkeypatch, 3, others_go_on)
    assert pair.run("live").state == "lost"
    late = {one.pk for one in Operation.objects.filter(state=Operation.State.LATE)}
    assert len(late) == 3
    pair.quiet()
    told = AuditEntry.objects.filter(action="write", operation_id__in=late, side="right")
    assert {one.operation_id for one in told} == late and len(told) == 3, "each once"
    asked = Conflict.objects.filter(kind="clobber", state="open", params__overwritten="bob's")
    assert {*asked.values_list("link__right_id", flat=True)} == {right for _, right in made}
    assert writes(pair) == ["update"] * 6, "three of each worker, and no third time"
