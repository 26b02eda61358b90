"""A record, or a field of it, that cannot be shown for a while: its hint waits, and what was known of it stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import Record
from connections.connectors.memory import MemoryConnector
from sync.models import ChangedRecord, Operation, SchemaLook
from sync.probes import HIDDEN_AT_MOST
from sync.tests.conftest import Pair
from sync.tests.engine_cases import live, no_answer, once

pytestmark = pytest.mark.django_db

Shown = Callable[[Record, Any], Record]


def nothing(record: Record, fields: Any) -> Record:
    """As several systems answer of a record that they cannot show."""
    return Record(record.external_id, "unreadable", {}, unreadable=frozenset(fields))


def no_body(record: Record, fields: Any) -> Record:
    values = {path: value for path, value in record.values.items() if path != "body"}
    return replace(record, values=values, unreadable=record.unreadable | {"body"})


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, Shown]:
    """How records are shown, by id, while they are in here."""
    so: dict[str, Shown] = {}
    seen = MemoryConnector._seen

    def some(self: MemoryConnector, record: Record, fields: Any) -> Record:
        found = seen(self, record, fields)
        return so[record.external_id](found, fields) if record.external_id in so else found

    monkeypatch.setattr(MemoryConnector, "_seen", some)
    return so


@pytest.mark.parametrize("how", [nothing, no_body])
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("exact", [True, False])
def test_an_edit_made_while_its_record_cannot_be_shown_crosses_once_it_is_shown(
    pair: Pair, shown: dict[str, Shown], how: Shown, alone: bool, exact: bool
) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, exact_version=exact)
    left, right, _ = pair.linked(body="A")
    pair.left.add(title="Two", ref="R2", body="z")
    other = pair.right.add(title="Two", ref="R2", body="z")
    pair.quiet()
    SchemaLook.objects.update(looked_at=timezone.now() - timedelta(minutes=5))
    shown[right] = how
    pair.right.edit(right, body="edited")
    pair.ring("right", right)
    if not alone:
        pair.right.edit(other, title="Two, edited")
        pair.ring("right", other)
    live(pair)
    assert ChangedRecord.objects.filter(external_id=right).exists(), "nothing rings when it is shown again"
    shown.clear()
    live(pair)
    assert pair.left.value(left, "body") == "edited"
    assert not ChangedRecord.objects.exists()


def test_a_copy_that_lags_behind_does_not_pass_for_new_after_a_look_that_showed_nothing(
    pair: Pair, shown: dict[str, Shown]
) -> None:
    left, right, _ = pair.linked(body="A")
    lagging = pair.right.records[right]
    pair.right.edit(right, body="B")
    pair.quiet()
    shown[right] = nothing
    pair.ring("right", right)
    live(pair)
    shown.clear()
    now, pair.right.records[right] = pair.right.records[right], lagging
    pair.ring("right", right)
    live(pair)
    pair.right.records[right] = now
    live(pair)
    assert pair.both(left, right, "body") == ("B", "B")


@pytest.mark.parametrize("arrived", [True, False])
def test_an_unanswered_write_waits_for_what_was_sent_to_be_shown_an_hour_at_most(
    pair: Pair, shown: dict[str, Shown], arrived: bool
) -> None:
    exact = {"complete_history": False, "field_history": False, "exact_version": True}
    pair.right.capabilities = replace(pair.right.capabilities, **exact)
    left, right, _ = pair.linked(body="A")
    pair.left.edit(left, body="B")
    once(pair.right, "update", no_answer, when="after" if arrived else "before")
    pair.run()
    shown[right] = nothing
    live(pair, 2)
    assert Operation.objects.filter(state="uncertain").exists() and not pair.open_conflicts()
    shown.clear()
    Operation.objects.update(not_before=timezone.now())
    pair.quiet()
    assert pair.both(left, right, "body") == ("B", "B") and not pair.open_conflicts()

    pair.left.edit(left, body="C")
    once(pair.right, "update", no_answer)
    pair.run()
    shown[right] = no_body
    now = timezone.now()
    Operation.objects.filter(state="uncertain").update(not_before=now, claimed_at=now - HIDDEN_AT_MOST)
    live(pair, 2)
    assert Operation.objects.filter(result__code="gone_unanswered").count() == 1, "given up; the pair goes on"
