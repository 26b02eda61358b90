"""The number kept outside of the database: what it proves, what it does not, and what happens then."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from sync import engine, outside, restored
from sync.epoch import JUMP, MOVED, RESTORED, SAME, Inside, after, judge
from sync.models import AuditEntry, Epoch, MappingState
from sync.tests.conftest import Pair
from sync.tests.test_restored import writes
from sync.tests.time_warp import Backup

A, B = "database a", "database b"
HERE, THERE = {"address": "https://here"}, {"address": "https://there"}


@pytest.mark.parametrize(
    "number, place, live, noted, verdict",
    [
        # nothing noted: a new host, a flushed Redis, an ephemeral folder
        (0, {}, False, {}, SAME),
        (7, HERE, True, {}, SAME),
        (0, {}, True, {}, SAME),  # the first start after an upgrade
        # a note that lags, or is as high
        (7, HERE, True, {A: 6}, SAME),
        (7, HERE, True, {A: 7}, SAME),
        # the database is behind what it had reached
        (7, HERE, True, {A: 8}, RESTORED),
        (0, {}, False, {A: 1}, RESTORED),
        (7, HERE, True, {A: 900, B: 3}, RESTORED),
        # notes of another database tell nothing about one that counts
        (7, HERE, True, {B: 900}, SAME),
        (0, {}, False, {B: 900}, SAME),  # a new, empty one
        (0, {}, True, {B: 900}, RESTORED),  # from before it counted, with mappings that write
        # another place
        (7, THERE, True, {}, MOVED),
        (7, THERE, True, {A: 7}, MOVED),
        (7, THERE, False, {A: 6}, MOVED),
        (7, THERE, True, {A: 8}, RESTORED),
        (7, {}, True, {A: 7}, SAME),  # the place was never noted
    ],
)
def test_what_a_note_outside_proves(
    number: int, place: dict[str, str], live: bool, noted: dict[str, int], verdict: str
) -> None:
    assert judge(Inside(A, number, place, live), noted, HERE) == verdict


def test_after_a_restore_the_number_is_beyond_every_note() -> None:
    assert after(Inside(A, 7, HERE, True), {A: 20, B: 900}) == 20 + JUMP
    assert judge(Inside(A, 20 + JUMP, HERE, True), {A: 20}, HERE) == SAME


# With files. -----------------------------------------------------------------------------------------------------


@pytest.fixture
def noted(pair: Pair, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Epochs are kept: in a file, and in a Redis of our own."""
    settings.EPOCH_FILE = str(tmp_path / "host" / "epoch.json")
    redis: dict[str, dict[bytes, int]] = {}

    class Client:
        def hgetall(self, key: str) -> dict[bytes, int]:
            return dict(redis.get(key, {}))

        def hget(self, key: str, field: str) -> int | None:
            return redis.get(key, {}).get(field.encode())

        def hset(self, key: str, field: str, value: int) -> None:
            redis.setdefault(key, {})[field.encode()] = value

        def flush(self) -> None:
            redis.clear()

    monkeypatch.setattr(outside.django_rq, "get_connection", lambda name: Client())
    outside.here.cache_clear()
    monkeypatch.setattr(outside, "here", lambda: dict(HERE))
    return Path(settings.EPOCH_FILE)


def minutes(number: int) -> None:
    restored.look_outside()
    for _ in range(number):
        Epoch.objects.update(moved_at=timezone.now() - timedelta(minutes=1))
        restored.move_on()


def halt() -> str:
    return MappingState.objects.get().halt


@pytest.mark.django_db
def test_the_number_moves_once_a_minute_inside_first_and_then_outside(noted: Path) -> None:
    minutes(3)
    restored.move_on()  # another scheduler in the same minute
    row = Epoch.objects.get()
    assert row.number == 3 and json.loads(noted.read_text()) == {"epochs": {str(row.database): 3}}
    assert row.place == HERE and outside.read() == {str(row.database): 3}


@pytest.mark.django_db
def test_a_restored_database_is_noticed_before_the_first_run_writes(pair: Pair, noted: Path) -> None:
    left, right, _ = pair.linked(body="b")
    minutes(1)
    backup = Backup()
    minutes(2)
    pair.left.edit(left, body="before")
    pair.quiet()
    backup.restore()
    pair.left.edit(left, body="after")
    before = writes(pair)
    outcome = pair.run()  # a worker, before any scheduler looked
    assert (outcome.state, outcome.code) == ("approval", "restored") and writes(pair) == before
    assert AuditEntry.objects.filter(code="restored_from_backup").count() == 1
    minutes(2)
    assert AuditEntry.objects.filter(code="restored_from_backup").count() == 1, "it is told once"
    assert pair.right.value(right, "body") == "before"


@pytest.mark.django_db
@pytest.mark.parametrize("left_over", ["file", "redis"])
def test_either_note_is_enough(noted: Path, left_over: str) -> None:
    minutes(1)
    backup = Backup()
    minutes(1)
    if left_over == "file":
        outside.django_rq.get_connection("live").flush()  # type: ignore[attr-defined]
    else:
        noted.unlink()
    backup.restore()
    assert restored.look_outside() == RESTORED and halt() == "restored"


@pytest.mark.django_db
def test_a_new_host_and_one_that_was_away_raise_no_alarm(noted: Path, settings: Any, tmp_path: Path) -> None:
    minutes(2)
    first = settings.EPOCH_FILE
    settings.EPOCH_FILE = str(tmp_path / "new" / "epoch.json")
    assert restored.look_outside() == SAME
    minutes(3)
    settings.EPOCH_FILE = first  # it was off for a while
    assert restored.look_outside() == SAME and halt() == ""
    assert json.loads(Path(first).read_text())["epochs"] == {str(Epoch.objects.get().database): 5}


@pytest.mark.django_db
def test_hosts_that_noted_it_a_little_later_do_not_tell_of_the_same_restore_again(
    noted: Path, settings: Any, tmp_path: Path
) -> None:
    minutes(1)
    backup = Backup()
    minutes(3)
    late = tmp_path / "late" / "epoch.json"
    late.parent.mkdir()
    late.write_text(json.dumps({"epochs": {str(Epoch.objects.get().database): 6}}))
    backup.restore()
    assert restored.look_outside() == RESTORED
    settings.EPOCH_FILE = str(late)
    assert restored.look_outside() == SAME


@pytest.mark.django_db
def test_a_copy_at_another_place_writes_nothing_and_says_where_it_came_from(
    pair: Pair, noted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right, _ = pair.linked(body="b")
    minutes(1)
    monkeypatch.setattr(outside, "here", lambda: dict(THERE))
    pair.left.edit(left, body="staging would write this")
    before = writes(pair)
    assert pair.run().state == "approval" and writes(pair) == before
    reason = MappingState.objects.get().halt_reason
    assert reason["code"] == "restored_elsewhere"
    assert (reason["params"]["was"], reason["params"]["here"]) == ("https://here", "https://there")
    assert restored.look_outside() == SAME, "it is told once"
    assert pair.right.value(right, "body") == "b"


@pytest.mark.django_db
def test_a_place_that_was_accepted_beforehand_halts_nothing(noted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minutes(1)
    monkeypatch.setattr(outside, "here", lambda: dict(THERE))
    call_command("restored", "--moved", "--yes", "--json")
    assert restored.look_outside() == SAME and halt() == ""
    assert AuditEntry.objects.filter(code="place_accepted").exists()


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["", "{", "[]", '{"epochs": {"x": "many"}}', '{"epochs": []}'])
def test_a_file_that_cannot_be_read_is_written_anew(noted: Path, text: str) -> None:
    noted.parent.mkdir(exist_ok=True)
    noted.write_text(text)
    assert restored.look_outside() == SAME
    assert json.loads(noted.read_text())["epochs"] == {str(Epoch.objects.get().database): 0}


@pytest.mark.django_db
def test_a_folder_that_cannot_be_written_stops_nothing(pair: Pair, noted: Path, settings: Any) -> None:
    settings.EPOCH_FILE = "/proc/none/epoch.json"
    minutes(1)
    assert pair.run().state == "done"


@pytest.mark.django_db
def test_the_place_is_the_same_for_every_process_and_names_no_secret(pair: Pair, settings: Any) -> None:
    outside.here.cache_clear()
    one = outside.here()
    outside.here.cache_clear()
    assert one == outside.here() and one["address"] == settings.PUBLIC_URL and one["database"]
    assert settings.SECRET_KEY not in str(one)


@pytest.mark.django_db
def test_looking_costs_one_query_a_run(noted: Path, django_assert_num_queries: Any) -> None:
    minutes(1)
    with django_assert_num_queries(1):
        assert restored.look_outside() == SAME


@pytest.mark.django_db
def test_a_run_looks_before_it_takes_the_lease(pair: Pair, noted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real = engine.take
    monkeypatch.setattr(restored, "look_outside", lambda: order.append("look"))
    monkeypatch.setattr(engine, "take", lambda pk: (order.append("take"), real(pk))[1])
    pair.run()
    assert order == ["look", "take"]
