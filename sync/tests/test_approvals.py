"""Numbers that wait for a person are always shown by a run, and are those of the version in force."""

from __future__ import annotations

from typing import Any

import pytest

from sync import restored, schedule
from sync.approval import NotWaiting, approve, approve_restored
from sync.models import MappingState, Run
from sync.session import Session
from sync.standing import waits_for_a_person
from sync.tests.conftest import Pair

pytestmark = pytest.mark.django_db


def state() -> MappingState:
    return MappingState.objects.get()


def never_ran(pair: Pair) -> None:
    """A record on the left, and a mapping whose first run is still to come."""
    MappingState.objects.all().delete()
    pair.left.add(title="one", ref="1")


def declared(pair: Pair) -> None:
    """A pair, and a restore that it is still to be compared for."""
    pair.linked(body="b")
    restored.halt_all("restored_declared", {"by": "ana"}, by="ana")


def dies_at_its_end(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose worker dies before the run's row says that its numbers wait for approval."""

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(Session, "to_approve", killed)
        with pytest.raises(KeyboardInterrupt):
            pair.run()
    assert not waits_for_a_person(state()), "nobody could end that"
    assert schedule.due_mappings() == [(pair.mapping.pk, "bulk")]


def test_a_first_run_whose_worker_died_at_its_end_is_made_again_and_can_be_approved(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_ran(pair)
    dies_at_its_end(pair, monkeypatch)
    assert pair.run().state == "approval"
    approve(pair.mapping, "ana")
    pair.quiet()
    assert len(pair.right.alive()) == 1


def test_a_comparison_whose_worker_died_at_its_end_is_made_again_and_can_be_approved(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared(pair)
    dies_at_its_end(pair, monkeypatch)
    assert pair.run().state == "approval"
    assert Run.objects.get(pk=state().halt_reason["params"]["run"]).state == "approval"
    approve_restored(pair.mapping, "looked right", "ana")
    assert state().halt == ""


@pytest.mark.parametrize("begin", [never_ran, declared])
def test_numbers_of_an_older_version_are_counted_again_although_its_ring_got_lost(pair: Pair, begin: Any) -> None:
    begin(pair)
    assert pair.run().state == "approval"
    assert schedule.due_mappings() == [], "they wait for a person"
    pair.publish(brakes={"create": [1, 0.0]})
    assert schedule.due_mappings() == [(pair.mapping.pk, "bulk")]
    assert pair.run().state == "approval" and schedule.due_mappings() == []
    old, new = Run.objects.exclude(kind="manual").order_by("pk")
    assert (old.state, new.state, new.version) == ("lost", "approval", pair.mapping.published)


def test_numbers_of_an_older_version_approve_nothing_after_a_restore(pair: Pair) -> None:
    declared(pair)
    assert pair.run().state == "approval"
    pair.publish(right={**pair.mapping.published.document["right"], "create": False})
    with pytest.raises(NotWaiting, match="compared again"):
        approve_restored(pair.mapping, "looked right", "ana")
    assert state().halt == "restored"
    assert pair.run().state == "approval"
    approve_restored(pair.mapping, "looked right", "ana")
    assert state().halt == ""
