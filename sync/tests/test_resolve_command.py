"""`manage.py resolve`: the exit codes and the JSON that docs/commands.md promises."""

from __future__ import annotations

from typing import Any

import pytest

from connections.connectors.base import Refused, Retry
from mappings.models import Mapping
from sync.lease import take
from sync.management.commands import resolve
from sync.models import AuditEntry, Conflict, Instruction, Operation
from sync.tests.conftest import DEFAULT_RULES, Pair, rule
from sync.tests.test_commands import asked, command, conflict_of

pytestmark = pytest.mark.django_db


def bodies(pair: Pair, conflict: Conflict) -> tuple[Any, Any]:
    assert conflict.link is not None
    return pair.both(conflict.link.left_id, conflict.link.right_id, "body")


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
        "open": None,
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
        "open": conflict.pk,
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


def on_update_of_the_right(pair: Pair, error: Exception) -> None:
    def fail(verb: str, ids: Any) -> None:
        if verb == "update":
            raise error

    pair.right.before = fail


def test_a_typed_value_that_the_second_system_refuses_ends_with_4_and_names_the_question(pair: Pair) -> None:
    conflict = conflict_of(pair)
    on_update_of_the_right(pair, Refused("Too rude.", {"body": "Too rude."}))
    code, answer = asked("resolve", conflict.pk, "--value", '"typed"', "--force")
    (refused,) = pair.open_conflicts()
    assert (code, answer["state"], answer["open"]) == (4, "done", refused.pk)
    assert (answer["left"], answer["right"]) == ("typed", "right says") == bodies(pair, conflict)


def test_a_typed_value_for_which_the_second_system_gives_no_answer_ends_with_5(pair: Pair) -> None:
    conflict = conflict_of(pair)
    on_update_of_the_right(pair, Retry("No route to host."))
    code, answer = asked("resolve", conflict.pk, "--value", '"typed"', "--force")
    assert (code, answer["state"], answer["open"]) == (5, "done", None)
    assert (answer["left"], answer["right"]) == ("typed", "right says") == bodies(pair, conflict)


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


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("body", '{"a": 1}'),
        ("body", "12"),
        ("body", '["a"]'),
        ("body", "true"),
        ("amount", '"2026"'),
        ("amount", "true"),
        ("amount", "NaN"),
        ("labels", '"a"'),
        ("labels", "[1]"),
    ],
)
def test_a_value_of_another_kind_than_the_field_ends_with_1_and_changes_nothing(
    pair: Pair, path: str, value: str
) -> None:
    review = {"kind": "review", "name": "Ask", "tolerance": 1.0}
    pair.publish(rules=[{**one, "policy": review} for one in DEFAULT_RULES])
    said: dict[str, Any] = {"body": "s", "amount": 1, "labels": ["a"]}
    left, right, _ = pair.linked(**said)
    said = {"body": ("l", "r"), "amount": (2, 3), "labels": (["a", "l"], ["a", "r"])}
    pair.left.edit(left, **{path: said[path][0]})
    pair.right.edit(right, **{path: said[path][1]})
    pair.quiet()
    (conflict,) = pair.open_conflicts()
    code, answer = asked("resolve", conflict.pk, "--value", value, "--force")
    assert (code, list(answer)) == (1, ["error"])
    assert f"{value} is not a value of {conflict.field_label}" in answer["error"]
    assert not Instruction.objects.exists()
    assert pair.both(left, right, path) == said[path]


def test_a_question_about_the_record_as_a_whole_is_left_to_the_review_queue_with_1(pair: Pair) -> None:
    left_id, _, _ = pair.linked(body="agreed")
    pair.left.remove(left_id)
    pair.quiet()
    (conflict,) = pair.open_conflicts()
    code, answer = asked("resolve", conflict.pk, "--take", "left", "--force")
    assert code == 1
    assert "review queue" in answer["error"]
