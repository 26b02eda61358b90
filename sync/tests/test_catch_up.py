"""After a silence longer than a system keeps its changes, a complete listing comes before any deletion is believed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from sync.models import AuditEntry, ChangedRecord, Cursor, Link, MappingState, Run
from sync.tests.conftest import Pair
from sync.tests.test_engine_running import once, pairs
from sync.wording import sentence

pytestmark = pytest.mark.django_db

KEPT = 72 * 3600.0


@pytest.fixture
def kept(pair: Pair) -> Pair:
    """The left's feed goes back three days, and tells deletions."""
    pair.left.capabilities = replace(pair.left.capabilities, feed_retention=KEPT)
    return pair


def silent(hours: float) -> None:
    """Nothing was read for so long."""
    then = timezone.now() - timedelta(hours=hours)
    Cursor.objects.update(read_at=then, swept_at=then)
    MappingState.objects.update(last_poll_at=then, next_poll_at=None)


def listings(pair: Pair) -> int:
    return sum(verb == "list_ids" for verb, _ in pair.left.calls)


def vanish(pair: Pair, external_id: str) -> None:
    """Deleted so long ago that the list tells of it no more."""
    del pair.left.records[external_id]


def test_a_silence_within_the_retention_needs_no_listing(kept: Pair) -> None:
    pairs(kept, 2)
    silent(71)
    kept.quiet()
    assert not listings(kept) and not Run.objects.exclude(notice={}).exists()


def test_a_deletion_that_the_feed_no_longer_tells_is_found_by_the_listing(kept: Pair) -> None:
    made = pairs(kept, 3)
    vanish(kept, made[0][0])
    silent(80)
    kept.left.edit(made[1][0], body="edited meanwhile")
    new = kept.left.add(title="new", ref="new")
    kept.quiet()
    assert listings(kept) == 1
    assert [one.link.left_id for one in kept.open_conflicts()] == [made[0][0]], "it is asked about"
    assert kept.right.value(made[1][1], "body") == "edited meanwhile"
    assert Link.objects.filter(left_id=new, state="active").exists()
    notice = Run.objects.exclude(notice={}).get().notice
    said = sentence(notice["code"], notice["params"])
    assert "80 h" in said and "72 h" in said and "compared completely" in said
    assert AuditEntry.objects.get(action="catch_up").params == notice["params"]
    assert not Cursor.objects.exclude(behind_since=None).exists(), "caught up"
    kept.quiet()
    assert listings(kept) == 1, "once is enough"


def test_nothing_is_believed_deleted_before_the_listing_is_complete(kept: Pair) -> None:
    made = pairs(kept, 2)
    vanish(kept, made[0][0])
    silent(80)
    kept.ring("left", made[0][0], deleted=True)
    believed: list[int] = []
    once(kept.left, "list_ids", lambda: believed.append(len(kept.open_conflicts())))
    kept.quiet()
    assert believed == [0] and len(kept.open_conflicts()) == 1


def test_an_interrupted_listing_is_made_again_before_a_deletion_is_believed(kept: Pair) -> None:
    made = pairs(kept, 2)
    vanish(kept, made[0][0])
    silent(80)
    kept.ring("left", made[0][0], deleted=True)

    def cut() -> None:
        raise RuntimeError("the worker died")

    once(kept.left, "list_ids", cut)
    with pytest.raises(RuntimeError):
        kept.run()
    assert Cursor.objects.filter(side="left", behind_since__isnull=False).exists()
    assert not kept.open_conflicts()
    MappingState.objects.update(next_poll_at=timezone.now() + timedelta(hours=1))
    ChangedRecord.objects.update(not_before=timezone.now())
    kept.run("live")
    assert not kept.open_conflicts(), "a run that only looks at hints does not believe it either"
    kept.quiet()
    assert len(kept.open_conflicts()) == 1


def test_a_side_that_lists_nothing_after_the_silence_is_a_brake_and_no_wave_of_deletions(kept: Pair) -> None:
    made = pairs(kept, 5)
    for left, _ in made:
        vanish(kept, left)
        kept.ring("left", left, deleted=True)
    silent(80)
    kept.run()
    assert MappingState.objects.get().halt == "brake" and not kept.open_conflicts()
    assert all(link.state == "active" for link in Link.objects.all())


def test_a_position_that_the_system_forgot_leads_to_everything_being_listed(kept: Pair) -> None:
    made = pairs(kept, 3)
    kept.left.capabilities = replace(kept.left.capabilities, feed_retention=None)
    kept.left.forgets = 3600
    Cursor.objects.filter(side="left").update(watermark="2020-01-01T00:00:00.000000Z")
    MappingState.objects.update(next_poll_at=None)
    vanish(kept, made[0][0])
    kept.left.edit(made[1][0], body="edited meanwhile")
    calls: list[Any] = []
    kept.left.calls = calls
    kept.quiet()
    lists = [since for verb, since in calls if verb == "list"]
    assert lists[0] is not None and lists[1] is None, "refused, then everything"
    assert kept.right.value(made[1][1], "body") == "edited meanwhile"
    assert [one.link.left_id for one in kept.open_conflicts()] == [made[0][0]]
    assert Run.objects.exclude(notice={}).get().notice["code"] == "position_expired"
