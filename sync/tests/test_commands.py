"""`manage.py sync`, `verify`, `conflicts`, `resolve`: the exit codes and the JSON that docs/commands.md promises."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import call_command, execute_from_command_line
from django.utils import timezone

from connections.connectors.base import RateLimited, Refused, Retry
from mappings.models import Mapping
from sync.lease import take
from sync.management.commands import resolve, sync
from sync.models import AuditEntry, ChangedRecord, Conflict, Cursor, Instruction, MappingState, Operation
from sync.tests.conftest import Pair, rule

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


def bodies(pair: Pair, conflict: Conflict) -> tuple[Any, Any]:
    assert conflict.link is not None
    return pair.both(conflict.link.left_id, conflict.link.right_id, "body")


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
    assert "create 5 records" in answer["reason"]
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


# resolve -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "left", "right"),
    [
        (("--take", "left"), "left says", "left says"),
        (("--take", "right"), "right says", "right says"),
        (("--take", "base"), "agreed", "agreed"),
        (("--take", "ignore"), "left says", "right says"),
        (("--value", '"both"'), "both", "both"),
        (("--value", '"both"', "--in", "right"), "both", "both"),
        (("--value", "null"), None, None),
    ],
)
def test_resolve_ends_with_0_once_both_systems_have_it(pair: Pair, how: tuple[str, ...], left: Any, right: Any) -> None:
    conflict = conflict_of(pair)
    code, answer = asked("resolve", conflict.pk, *how, "--seen", '"left says"', '"right says"')
    assert code == 0
    assert answer == {
        "conflict": conflict.pk,
        "state": "done",
        "conflict_state": "closed",
        "left": left,
        "right": right,
    }
    assert bodies(pair, conflict) == (left, right)
    assert asked("conflicts") == (0, [])


def test_resolve_is_done_in_the_name_of_the_user_given_or_of_the_account_that_runs_it(
    pair: Pair, admin_user: Any
) -> None:
    conflict = conflict_of(pair)
    assert command("resolve", conflict.pk, "--take", "left", "--force", "--user", "admin")[0] == 0
    assert Conflict.objects.get().closed_by == "admin"
    assert AuditEntry.objects.get(action="resolve").actor == "admin"


def test_without_a_user_the_account_that_runs_the_command_is_named(pair: Pair) -> None:
    conflict = conflict_of(pair)
    code, out, _ = command("resolve", conflict.pk, "--take", "left", "--force")
    assert (code, out) == (0, f"Conflict {conflict.pk}: done.\n")
    assert Conflict.objects.get().closed_by.endswith("(command line)")


def test_a_field_that_moved_meanwhile_is_stale_with_3_and_shows_the_new_values(pair: Pair) -> None:
    conflict = conflict_of(pair)
    assert conflict.link is not None
    pair.left.edit(conflict.link.left_id, by="ana", body="left again")
    code, answer = asked("resolve", conflict.pk, "--take", "right", "--seen", '"left says"', '"right says"')
    assert code == 3
    assert answer == {
        "conflict": conflict.pk,
        "state": "stale",
        "conflict_state": "open",
        "left": "left again",
        "right": "right says",
    }
    assert bodies(pair, conflict) == ("left again", "right says")
    assert command("resolve", conflict.pk, "--take", "right", "--force")[0] == 0
    assert bodies(pair, conflict) == ("right says", "right says")


def test_a_refusal_of_the_system_ends_with_4_and_the_conflict_is_open_again(pair: Pair) -> None:
    conflict = conflict_of(pair)

    def refuse(verb: str, ids: Any) -> None:
        if verb == "update":
            raise Refused("Too rude.", {"body": "Too rude."})

    pair.right.before = refuse
    code, answer = asked("resolve", conflict.pk, "--take", "left", "--force")
    assert code == 4
    assert (answer["state"], answer["conflict_state"]) == ("refused", "open")
    assert (answer["left"], answer["right"]) == ("left says", "right says")
    assert bodies(pair, conflict) == ("left says", "right says")


def test_a_value_without_a_counterpart_ends_with_4(pair: Pair) -> None:
    entries = [{"left": "High", "right": "P1"}, {"left": "Low", "right": "P2"}]
    pair.publish(rules=[rule("body", "body", "option", transform="value_map", entries=entries)])
    left_id, right_id = pair.left.add(body="High", ref="R1"), pair.right.add(body="P1", ref="R1")
    pair.quiet()
    pair.left.edit(left_id, body="Strange")
    pair.ring("left", left_id)
    pair.quiet()
    (conflict,) = pair.open_conflicts()
    code, answer = asked("resolve", conflict.pk, "--take", "left", "--force")
    assert (code, answer["state"], answer["conflict_state"]) == (4, "refused", "open")
    assert pair.both(left_id, right_id, "body") == ("Strange", "P1")


def test_an_answer_that_could_not_be_applied_in_time_ends_with_5_and_the_next_run_applies_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    conflict = conflict_of(pair)
    monkeypatch.setattr(resolve, "APPLY_SECONDS", 0)
    lease = take(pair.mapping.pk)
    assert lease is not None
    code, answer = asked("resolve", conflict.pk, "--take", "left", "--force")
    assert code == 5
    assert (answer["state"], answer["conflict_state"]) == ("waiting", "resolving")
    assert bodies(pair, conflict) == ("left says", "right says")
    lease.release()
    pair.quiet()
    assert bodies(pair, conflict) == ("left says", "left says")
    assert Instruction.objects.get().state == "done"


def test_a_paused_mapping_notes_the_answer_and_ends_with_5_at_once(pair: Pair) -> None:
    conflict = conflict_of(pair)
    Mapping.objects.update(state=Mapping.State.PAUSED)
    assert command("resolve", conflict.pk, "--take", "left", "--force")[0] == 5


def test_what_cannot_be_settled_ends_with_1_says_why_and_changes_nothing(pair: Pair) -> None:
    conflict = conflict_of(pair)
    writes = Operation.objects.count()
    for arguments, why in (
        ((conflict.pk + 1, "--take", "left", "--force"), f"no conflict {conflict.pk + 1}"),
        ((conflict.pk, "--value", "High", "--force"), "Not JSON: High."),
        ((conflict.pk, "--take", "left", "--seen", "High", '"P1"'), "Not JSON: High."),
        ((conflict.pk, "--take", "left", "--force", "--user", "nobody"), "no user “nobody”"),
    ):
        code, answer = asked("resolve", *arguments)
        assert code == 1
        assert list(answer) == ["error"]
        assert why in answer["error"]
        assert "Nothing was changed." in answer["error"]
        code, out, err = command("resolve", *arguments)
        assert (code, out) == (1, "")
        assert why in err
    assert not Instruction.objects.exists()
    assert Operation.objects.count() == writes
    assert command("resolve", conflict.pk, "--take", "left", "--force")[0] == 0
    code, answer = asked("resolve", conflict.pk, "--take", "left", "--force")
    assert code == 1
    assert "settled already" in answer["error"]


def test_a_question_about_the_record_as_a_whole_is_left_to_the_review_queue_with_1(pair: Pair) -> None:
    left_id, _, _ = pair.linked(body="agreed")
    pair.left.remove(left_id)
    pair.quiet()
    (conflict,) = pair.open_conflicts()
    code, answer = asked("resolve", conflict.pk, "--take", "left", "--force")
    assert code == 1
    assert "review queue" in answer["error"]
