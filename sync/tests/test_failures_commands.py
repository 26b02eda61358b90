"""`manage.py failures` and `retry`: the exit codes and the JSON that docs/commands.md promises."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import execute_from_command_line
from django.utils import timezone

from connections.connectors.base import Refused
from sync import failures, retrying
from sync.failures import groups, standing
from sync.models import AuditEntry, ChangedRecord, Conflict, Link
from sync.tests.conftest import Pair
from sync.tests.schema_cases import later, much_later
from sync.tests.test_commands import asked, command

pytestmark = pytest.mark.django_db


@pytest.fixture
def refused(pair: Pair) -> list[tuple[str, str]]:
    """Two pairs whose new body the right refuses."""
    made = []

    def refuse(verb: str, ids: Any) -> None:
        if verb == "update":
            raise Refused("No.", {"body": "longer than 5 characters"})

    for number in range(2):
        left, right = (world.add(title=f"T{number}", ref=f"N{number}", body="b") for world in (pair.left, pair.right))
        pair.quiet()
        made.append((left, right))
    pair.right.before = refuse
    for left, _ in made:
        pair.left.edit(left, body="too long")
        pair.ring("left", left)
    pair.run("live")
    return made


def settle(pair: Pair) -> None:
    pair.right.before = lambda *_: None
    ChangedRecord.objects.update(not_before=timezone.now())
    pair.run("live")


@pytest.mark.parametrize(
    "arguments",
    [
        ["failures", "pair"],
        ["failures", "--group"],
        ["retry"],
        ["retry", "q1", "--group", "abc"],
        ["retry", "--group", "abc", "--all", "pair"],
        ["retry", "--everything"],
    ],
)
def test_wrong_arguments_end_with_2_and_a_usage_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        execute_from_command_line(["manage.py", *arguments])
    assert end.value.code == 2
    assert f"usage: manage.py {arguments[0]}" in capsys.readouterr().err


def test_causes_are_listed_with_their_fix(pair: Pair, refused: list[tuple[str, str]]) -> None:
    code, (one,) = asked("failures")
    assert code == 0
    assert (one["count"], one["mapping"], one["side"], one["field"]) == (2, "pair", "right", "Body")
    assert (one["source"], one["code"], one["repeatable"], one["under_way"]) == ("question", "refused", True, 0)
    assert "less room for Body" in one["cause"] and one["fix"] and one["sample"]["reason"]
    assert set(one) == {
        "fingerprint", "source", "mapping", "side", "field", "code", "cause", "fix", "count", "under_way", "first",
        "last", "sample", "repeatable",
    }  # fmt: skip
    code, out, _ = command("failures", "--mapping", "Pair")
    assert code == 0 and one["fingerprint"] in out and one["fix"] in out


def test_the_entries_of_a_cause_are_listed(pair: Pair, refused: list[tuple[str, str]]) -> None:
    fingerprint = groups(standing())[0].fingerprint
    code, rows = asked("failures", "--group", fingerprint)
    assert code == 0 and len(rows) == 2
    assert set(rows[0]) == {
        "id", "record", "left_id", "right_id", "reason", "since", "tries", "next", "under_way", "conflict", "ignored",
    }  # fmt: skip
    assert rows[0]["id"] == f"q{rows[0]['conflict']}"
    _, out, _ = command("failures", "--group", fingerprint)
    assert out.count("too long") + out.count("longer than") == 2


def test_what_is_ignored_is_listed_when_asked_for(pair: Pair, refused: list[tuple[str, str]], admin_user: Any) -> None:
    retrying.ignore(standing(), "Known", admin_user)
    assert asked("failures") == (0, [])
    code, (one,) = asked("failures", "--ignored")
    assert one["count"] == 2
    _, rows = asked("failures", "--ignored", "--group", one["fingerprint"])
    assert rows[0]["ignored"] == {"by": "admin", "reason": "Known"}


def test_nothing_fails(pair: Pair) -> None:
    assert command("failures")[:2] == (0, "Nothing fails.\n")
    assert command("failures", "--ignored")[1] == "Nothing is ignored.\n"
    assert command("failures", "--group", "abc")[1] == "Nothing fails for this cause.\n"


@pytest.mark.parametrize("arguments", [["failures", "--mapping", "Nowhere"], ["retry", "--all", "Nowhere"]])
def test_an_unknown_mapping_ends_with_1(pair: Pair, arguments: list[str]) -> None:
    code, answer = asked(*arguments)
    assert code == 1 and "no mapping" in answer["error"]
    assert command(*arguments)[0] == 1


def test_one_is_tried_again_by_its_number(pair: Pair, refused: list[tuple[str, str]], admin_user: Any) -> None:
    key = failures.key_of(Conflict.objects.order_by("pk")[0])
    assert asked("retry", key, "--user", "admin") == (0, {"retried": 1, "left_out": 0, "fields": 0})
    settle(pair)
    assert standing().count() == 1
    assert AuditEntry.objects.get(code="failure_retried").actor == "admin"


def test_a_group_and_a_mapping_are_tried_again(pair: Pair, refused: list[tuple[str, str]]) -> None:
    fingerprint = groups(standing())[0].fingerprint
    code, out, _ = command("retry", "--group", fingerprint)
    assert code == 0 and out.startswith("2 rung.")
    ChangedRecord.objects.update(not_before=timezone.now())
    pair.run("live")
    assert asked("retry", "--all", "pair") == (0, {"retried": 2, "left_out": 0, "fields": 0})
    settle(pair)
    assert standing().count() == 0
    assert "(command line)" in AuditEntry.objects.filter(code="failure_retried")[0].actor


def test_what_stands_no_more_ends_with_3(pair: Pair) -> None:
    assert asked("retry", "q7") == (3, {"retried": 0, "left_out": 0, "fields": 0})
    assert command("retry", "--group", "abc")[0] == 3
    assert command("retry", "--all", "Pair")[0] == 3


def test_a_create_that_may_have_happened_ends_with_4(pair: Pair) -> None:
    link = Link.objects.create(mapping=pair.mapping, left_id="L1", state="creating")
    Conflict.objects.create(mapping=pair.mapping, link=link, kind="uncertain_create", code="created_or_not")
    assert asked("retry", "--all", "pair") == (4, {"retried": 0, "left_out": 1, "fields": 0})
    assert "could make another one" in " ".join(command("retry", "--all", "pair")[1].split())


def test_entries_about_fields_have_the_fields_read_again(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    pair.linked(body="b")
    pair.right.hidden = {"body"}
    much_later(pair)
    pair.quiet()
    later(pair)
    code, causes = asked("failures", "--mapping", "pair")
    assert (code, causes[0]["cause"]) == (0, "Body stands still")
    assert "Give our account the right to see it" in causes[0]["fix"]
    assert asked("retry", "--all", "pair") == (0, {"retried": 0, "left_out": 0, "fields": 1})
    pair.right.hidden = set()
    pair.run("live")
    assert not pair.open_conflicts()


def test_an_unknown_user_ends_with_1(pair: Pair, refused: list[tuple[str, str]]) -> None:
    code, answer = asked("retry", "--all", "pair", "--user", "nobody")
    assert code == 1 and "no user" in answer["error"]
    assert not Conflict.objects.exclude(retry="").exists()
