"""`manage.py sync`, `verify`, `conflicts`: the exit codes and the JSON that docs/commands.md promises."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import call_command, execute_from_command_line
from django.utils import timezone

from connections.connectors.base import RateLimited, Retry
from mappings.models import Mapping
from sync.lease import take
from sync.management.commands import sync
from sync.models import ChangedRecord, Conflict, Cursor, MappingState
from sync.tests.conftest import Pair

pytestmark = pytest.mark.django_db


def command(*arguments: Any) -> tuple[int, str, str]:
    """(exit code, standard output, standard error)"""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    try:
        call_command(*map(str, arguments), stdout=out, stderr=err)
    except SystemExit as end:
        code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


def asked(*arguments: Any) -> tuple[int, Any]:
    """(exit code, the one JSON answer)"""
    code, out, err = command(*arguments, "--json")
    assert err == ""
    return code, json.loads(out)


def conflict_of(pair: Pair, left: Any = "left says", right: Any = "right says") -> Conflict:
    """Both sides changed the body after they agreed on it."""
    left_id, right_id, _ = pair.linked(body="agreed")
    pair.left.edit(left_id, by="ana", body=left)
    pair.right.edit(right_id, by="bo", body=right)
    pair.ring("left", left_id)
    pair.quiet()
    (conflict,) = pair.open_conflicts()
    return conflict


@pytest.mark.parametrize(
    "arguments",
    [
        ["sync"],
        ["sync", "pair", "--fast"],
        ["verify"],
        ["verify", "pair", "--sample", "0"],
        ["verify", "pair", "--sample", "some"],
        ["verify", "pair", "--repair"],
        ["conflicts", "pair"],
        ["resolve"],
        ["resolve", "seven", "--take", "left", "--force"],
        ["resolve", "7", "--force"],
        ["resolve", "7", "--take", "middle", "--force"],
        ["resolve", "7", "--take", "left", "--value", '"x"', "--force"],
        ["resolve", "7", "--take", "left"],
        ["resolve", "7", "--take", "left", "--seen", '"x"', '"y"', "--force"],
        ["resolve", "7", "--take", "left", "--seen", '"x"'],
    ],
)
def test_wrong_arguments_end_with_2_and_a_usage_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        execute_from_command_line(["manage.py", *arguments])
    assert end.value.code == 2
    assert f"usage: manage.py {arguments[0]}" in capsys.readouterr().err


# sync ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pair", "Pair"])
def test_sync_runs_the_mapping_by_slug_or_name_and_counts_what_it_did(pair: Pair, name: str) -> None:
    left, right, _ = pair.linked(body="old")
    pair.left.edit(left, body="new")
    code, answer = asked("sync", name)
    assert code == 0
    assert pair.both(left, right, "body") == ("new", "new")
    assert list(answer) == ["mapping", "outcome", "reason", "run", "counts", "calls", "waiting", "conflicts"]
    assert (answer["mapping"], answer["outcome"], answer["reason"]) == ("pair", "done", "")
    assert isinstance(answer["run"], int)
    assert answer["counts"]["updated"] == 1
    assert set(answer["calls"]) == {"left", "right"}
    assert answer["conflicts"] == 0


def test_sync_reads_the_lists_although_no_poll_is_due(pair: Pair) -> None:
    left, right, _ = pair.linked(body="old")
    MappingState.objects.update(next_poll_at=timezone.now() + timezone.timedelta(hours=1))
    pair.left.edit(left, body="new")
    assert command("sync", "pair")[0] == 0
    assert pair.right.value(right, "body") == "new"


def test_sync_counts_the_conflicts_that_are_open(pair: Pair) -> None:
    conflict_of(pair)
    code, answer = asked("sync", "pair")
    assert (code, answer["conflicts"]) == (0, 1)


def test_without_json_sync_prints_one_line_a_fact(pair: Pair) -> None:
    pair.linked(body="same")
    code, out, _ = command("sync", "pair")
    assert code == 0
    assert out.splitlines()[:2] == ["mapping: pair", "outcome: done"]


def test_a_dry_run_shows_what_a_run_would_do_and_moves_nothing(pair: Pair) -> None:
    left, right, _ = pair.linked(body="old")
    pair.left.edit(left, body="new")
    before = list(Cursor.objects.values_list("side", "watermark")), ChangedRecord.objects.count()
    writes, log = pair.writes(), len(pair.right.log)
    code, answer = asked("sync", "pair", "--dry-run")
    assert code == 0
    assert (answer["mapping"], answer["outcome"]) == ("pair", "dry")
    assert {"run", "looked_at", "update", "create", "link", "agree", "review", "samples"} == set(answer) - {
        "mapping",
        "outcome",
    }
    assert answer["update"] == {"left": 0, "right": 1}
    assert answer["create"] == {"left": 0, "right": 0}
    assert (list(Cursor.objects.values_list("side", "watermark")), ChangedRecord.objects.count()) == before
    assert (pair.writes(), len(pair.right.log), pair.right.value(right, "body")) == (writes, log, "old")


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_system_that_does_not_answer_ends_with_1_and_loses_nothing(pair: Pair, options: tuple[str, ...]) -> None:
    left, right, _ = pair.linked(body="old")
    pair.left.edit(left, body="new")

    def silent(verb: str, ids: Any) -> None:
        raise Retry("It does not answer.", after=1)

    pair.left.before = silent
    code, answer = asked("sync", "pair", *options)
    assert code == 1
    assert "It does not answer." in (answer["error"] if options else answer["reason"])
    if not options:
        assert answer["outcome"] == "failed"
    pair.left.before = lambda verb, ids: None
    pair.mapping.left_connection.refresh_from_db()
    pair.mapping.left_connection.retry_after = None
    pair.mapping.left_connection.save()
    assert command("sync", "pair")[0] == 0
    assert pair.right.value(right, "body") == "new"


def test_a_mapping_that_is_not_there_or_was_never_published_ends_with_1(pair: Pair) -> None:
    code, answer = asked("sync", "nobody")
    assert code == 1
    assert list(answer) == ["error"]
    assert "nobody" in answer["error"]
    pair.mapping.published = None
    pair.mapping.save()
    code, out, err = command("sync", "pair")
    assert (code, out) == (1, "")
    assert "never published" in err


def test_a_first_run_waits_for_approval_and_later_ones_are_halted_by_it_with_3(pair: Pair) -> None:
    MappingState.objects.update(approved_at=None)
    pair.left.add(title="One")
    code, answer = asked("sync", "pair")
    assert (code, answer["outcome"]) == (3, "approval")
    assert "approval" in answer["reason"]
    code, answer = asked("sync", "pair")
    assert (code, answer["outcome"]) == (3, "halted")
    assert "approval" in answer["reason"]
    assert not pair.right.records


def test_a_brake_halts_with_3_and_says_how_many(pair: Pair) -> None:
    pair.linked(body="same")
    pair.publish(brakes={"create": [1, 0.01]})
    for number in range(5):
        pair.left.add(title=f"New {number}")
    code, answer = asked("sync", "pair")
    assert (code, answer["outcome"]) == (3, "halted")
    assert "5 writes that create records" in answer["reason"]
    assert answer["waiting"] > 0


def test_a_paused_mapping_ends_with_3(pair: Pair) -> None:
    Mapping.objects.update(state=Mapping.State.PAUSED)
    code, answer = asked("sync", "pair")
    assert (code, answer["outcome"]) == (3, "inactive")


def test_a_connection_that_needs_a_person_ends_with_3_and_is_named(pair: Pair) -> None:
    pair.mapping.right_connection.state = "sign_in"
    pair.mapping.right_connection.state_reason = "The token was withdrawn."
    pair.mapping.right_connection.save()
    code, answer = asked("sync", "pair")
    assert (code, answer["outcome"]) == (3, "halted")
    assert "Right" in answer["reason"] and "The token was withdrawn." in answer["reason"]


def test_used_up_quota_ends_with_3(pair: Pair) -> None:
    pair.linked(body="old")

    def slow_down(verb: str, ids: Any) -> None:
        raise RateLimited("Too many calls.", after=30)

    pair.right.before = slow_down
    code, answer = asked("sync", "pair")
    assert (code, answer["outcome"]) == (3, "waiting")


def test_a_mapping_that_another_run_holds_ends_with_4(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "WAIT_FOR_LEASE_SECONDS", 0)
    pair.linked(body="old")
    lease = take(pair.mapping.pk)
    assert lease is not None
    code, answer = asked("sync", "pair")
    assert (code, answer["outcome"], answer["run"]) == (4, "busy", None)
    lease.release()
    assert command("sync", "pair")[0] == 0


# conflicts ---------------------------------------------------------------------------------------------------------


def test_no_conflict_is_an_empty_list_and_0(pair: Pair) -> None:
    assert asked("conflicts") == (0, [])
    assert command("conflicts") == (0, "Nothing waits for you.\n", "")


def test_a_conflict_is_listed_with_both_values_who_and_why(pair: Pair) -> None:
    conflict = conflict_of(pair)
    code, (found,) = asked("conflicts")
    assert code == 0
    link = conflict.link
    assert link is not None
    assert found == {
        "id": conflict.pk,
        "kind": "field",
        "state": "open",
        "mapping": "pair",
        "record": {
            "label": str(link),
            "left_id": link.left_id,
            "right_id": link.right_id,
            "left_key": link.left_key,
            "right_key": link.right_key,
        },
        "rule": "body",
        "field": "Body",
        "base": {"left": "agreed", "right": "agreed"},
        "left": {"value": "left says", "by": "Ana", "at": conflict.left_at},
        "right": {"value": "right says", "by": "Bo", "at": conflict.right_at},
        "overwritten": None,
        "overwritten_before": [],
        "code": "both_changed",
        "reason": "Both sides changed it after they last agreed. The policy “review” leaves it to you.",
        "opened_at": conflict.opened_at.isoformat(),
    }
    assert conflict.left_at and conflict.right_at
    text = command("conflicts")[1]
    for word in ("Body", "left says", "right says", "Ana", "Bo"):
        assert word in text


def test_without_an_agreed_value_the_base_is_null(pair: Pair) -> None:
    pair.publish(initial="review")
    pair.left.add(title="One", ref="R1", body="left says")
    pair.right.add(title="One", ref="R1", body="right says")
    pair.quiet()
    (found,) = asked("conflicts")[1]
    assert found["base"] is None
    assert found["code"] == "initially_different"


def test_conflicts_come_oldest_first_and_by_mapping(pair: Pair) -> None:
    first, second = conflict_of(pair), None
    left_id, right_id = pair.left.add(title="Two", ref="R2"), pair.right.add(title="Two", ref="R2")
    pair.quiet()
    pair.left.edit(left_id, body="x")
    pair.right.edit(right_id, body="y")
    pair.ring("left", left_id)
    pair.quiet()
    second = Conflict.objects.exclude(pk=first.pk).get()
    for name in ("pair", "Pair"):
        assert [one["id"] for one in asked("conflicts", "--mapping", name)[1]] == [first.pk, second.pk]
    assert asked("conflicts", "--mapping", "other") == (0, [])
