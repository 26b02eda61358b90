"""Failures: each is listed once by its cause, closes by itself, and is sent again only when something changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connections.connectors.base import ConnectorError, Refused, Retry
from connections.connectors.memory import World
from sync import decide, failures, instructions, look, parking, retrying
from sync.failures import Group, Standing, groups, standing
from sync.models import AuditEntry, ChangedRecord, Conflict, Instruction, Link, Operation
from sync.tests.conftest import DEFAULT_RULES, Pair
from sync.tests.test_engine_setbacks import loses_to_an_edit

pytestmark = pytest.mark.django_db


def fails(world: World, verb: str, error: Callable[[], ConnectorError] | None) -> None:
    """Every call of `verb` ends with this error before anything happened; None: no more."""

    def before(called: str, ids: Any) -> None:
        if called == verb and error is not None:
            raise error()

    world.before = before


def runs(pair: Pair, times: int = 1) -> None:
    """Runs that look at every hint, due or not, and read no lists."""
    for _ in range(times):
        ChangedRecord.objects.update(not_before=timezone.now())
        pair.run("live")


def limit(world: World, path: str, length: int | None) -> None:
    world.fields = [replace(one, max_length=length) if one.path == path else one for one in world.fields]


def writes(world: World) -> int:
    return [verb for verb, _ in world.calls].count("update")


def only() -> Group:
    found = groups(standing().listed())
    assert len(found) == 1, found
    return found[0]


@pytest.fixture
def refused(pair: Pair) -> tuple[str, str, Link]:
    """A pair whose body is too long for the right."""
    limit(pair.right, "body", 10)
    left, right, link = pair.linked(body="b")
    pair.left.edit(left, body="far too long for it")
    pair.ring("left", left)
    runs(pair)
    return left, right, link


def changed_rule(**changes: Any) -> list[dict[str, Any]]:
    return [{**one, **changes} if one["id"] == "body" else one for one in DEFAULT_RULES]


# What is parked is sent again when something changed. ----------------------------------------------------------------


def test_a_refused_value_is_listed_once_by_its_cause(pair: Pair, refused: tuple[str, str, Link]) -> None:
    group = only()
    assert (group.source, group.number, group.sample.link) == ("question", 1, refused[2])
    runs(pair, 2)
    assert only().fingerprint == group.fingerprint and standing().count() == 1


def test_values_of_other_lengths_are_one_cause_and_other_fields_another(pair: Pair) -> None:
    limit(pair.right, "body", 10)
    for number in range(3):
        left, right = (world.add(title="T", ref=f"N{number}", body="b") for world in (pair.left, pair.right))
        pair.quiet()
        pair.left.edit(left, body="x" * (20 + number))
        if number == 2:
            limit(pair.right, "title", 3)
            pair.left.edit(left, title="long")
        pair.ring("left", left)
        runs(pair, 2)
    assert [group.number for group in groups(standing())] == [3, 1]


def test_a_parked_value_is_not_sent_again_by_rings_runs_or_a_version_that_leaves_its_rule(
    pair: Pair, refused: tuple[str, str, Link]
) -> None:
    before = writes(pair.right)
    pair.ring("left", refused[0])
    runs(pair, 3)
    pair.publish(poll_seconds=30)
    runs(pair, 2)
    pair.publish(rules=[{**one, "initial": "left"} if one["id"] == "title" else one for one in DEFAULT_RULES])
    runs(pair, 2)
    pair.run()
    assert writes(pair.right) == before


def test_a_changed_value_is_sent_and_closes_it(pair: Pair, refused: tuple[str, str, Link]) -> None:
    pair.left.edit(refused[0], body="short")
    pair.ring("left", refused[0])
    runs(pair)
    assert pair.right.value(refused[1], "body") == "short" and not standing().count()


def test_a_version_that_changes_the_rule_sends_it_again_without_an_edit(
    pair: Pair, refused: tuple[str, str, Link]
) -> None:
    before = writes(pair.right)
    limit(pair.right, "body", None)
    pair.publish(rules=changed_rule(one_way_target="enforce"))
    pair.run("live")
    assert (writes(pair.right), pair.right.value(refused[1], "body")) == (before + 1, "far too long for it")
    assert not standing().count()


def test_a_version_that_changes_the_rule_in_vain_costs_one_try(pair: Pair, refused: tuple[str, str, Link]) -> None:
    before = writes(pair.right)
    pair.publish_as_is(rules=changed_rule(one_way_target="enforce"))
    runs(pair, 4)
    assert writes(pair.right) == before + 1 and only().number == 1


def test_a_field_that_was_declared_anew_is_tried_again(pair: Pair, refused: tuple[str, str, Link]) -> None:
    before = writes(pair.right)
    limit(pair.right, "body", 100)
    assert parking.unpark(pair.mapping, ["title"]) == 0
    assert parking.unpark(pair.mapping, ["body"]) == 1
    assert set(ChangedRecord.objects.values_list("lane", flat=True)) == {ChangedRecord.Lane.RETRY}
    pair.run("live")
    assert writes(pair.right) == before + 1 and not standing().count()
    assert not Conflict.objects.exclude(retry="").exists()


def test_a_value_without_counterpart_crosses_once_a_version_knows_it(pair: Pair) -> None:
    mapped = {"transform": "value_map", "entries": [{"left": "open", "right": "1"}]}
    rules = [{**one, **mapped} if one["id"] == "status" else one for one in DEFAULT_RULES]
    pair.publish(rules=rules)
    left, right, _ = pair.linked()
    pair.left.edit(left, status="new")
    pair.ring("left", left)
    runs(pair)
    assert only().sample.code == "value_not_in_map"
    mapped["entries"] = [{"left": "open", "right": "1"}, {"left": "new", "right": "2"}]
    pair.publish(rules=[{**one, **mapped} if one["id"] == "status" else one for one in DEFAULT_RULES])
    pair.run("live")
    assert pair.right.value(right, "status") == "2" and not standing().count()


# A person asks. ------------------------------------------------------------------------------------------------------


def test_a_retry_sends_it_once_and_what_fails_again_is_listed_again(
    pair: Pair, refused: tuple[str, str, Link], admin_user: Any
) -> None:
    before = writes(pair.right)
    assert retrying.retry(standing(), admin_user).number == 1
    assert Conflict.objects.get().state == "resolving"
    runs(pair, 3)
    assert writes(pair.right) == before + 1 and Conflict.objects.get().state == "open" and only().number == 1
    limit(pair.right, "body", None)
    retrying.retry(standing().of_keys([failures.key_of(only().sample)]), admin_user)
    runs(pair)
    assert pair.right.value(refused[1], "body") == "far too long for it" and not standing().count()
    assert AuditEntry.objects.filter(code="failure_retried", link_id=refused[2].pk, actor="admin").count() == 2


def test_a_text_of_which_only_the_beginning_was_kept_is_sent_whole_when_a_person_asks(
    pair: Pair, admin_user: Any
) -> None:
    left, right, _ = pair.linked(body="b")
    pair.right.on_write = lambda id, values, by: {
        path: value[:8] if path == "body" and by == "syncadmin" and value else value for path, value in values.items()
    }
    pair.left.edit(left, body="the whole text")
    pair.ring("left", left)
    runs(pair, 3)
    assert only().sample.code == "cut_short" and pair.right.value(right, "body") == "the whol"
    pair.right.on_write = lambda id, values, by: values
    retrying.retry(standing(), admin_user)
    runs(pair, 2)
    assert pair.both(left, right, "body") == ("the whole text", "the whole text") and not standing().count()


def test_a_thousand_are_tried_again_with_few_statements(pair: Pair, admin_user: Any) -> None:
    def stand(number: int) -> None:
        links = Link.objects.bulk_create(
            [Link(mapping=pair.mapping, left_id=f"l{number}-{n}", right_id=f"r{number}-{n}") for n in range(number)]
        )
        fingerprint = Conflict(
            mapping=pair.mapping, kind="refused", rule_id="body", code="refused", params={"message": "no"}
        )
        fingerprint.save()
        Conflict.objects.filter(pk=fingerprint.pk).delete()
        Conflict.objects.bulk_create(
            [
                Conflict(
                    mapping=pair.mapping,
                    link=link,
                    rule_id="body",
                    kind="refused",
                    code="refused",
                    params={"message": "no"},
                    fingerprint=fingerprint.fingerprint,
                )
                for link in links
            ]
        )

    taken = {}
    for number in (10, 1000):
        stand(number)
        with CaptureQueriesContext(connection) as queries:
            assert retrying.retry(standing().listed(), admin_user).number == number
        taken[number] = len(queries)
        assert ChangedRecord.objects.filter(lane=ChangedRecord.Lane.RETRY).count() == 2 * number
        ChangedRecord.objects.all().delete()
        Conflict.objects.all().delete()
    # SQLite takes a limited number of values in one statement: the many come in a few pieces.
    assert taken[10] <= 40 and taken[1000] <= taken[10] + 100, taken


def test_whether_a_create_happened_is_never_found_out_by_a_second_one(pair: Pair, admin_user: Any) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, create_lookup_consistent=False)
    made = pair.left.add(title="One", ref="R1")
    Link.objects.create(mapping=pair.mapping, left_id=made, state="creating", parked={"": {"code": "created_or_not"}})
    Conflict.objects.create(
        mapping=pair.mapping, link=Link.objects.get(), kind="uncertain_create", code="created_or_not"
    )
    asked = retrying.retry(standing(), admin_user)
    assert (asked.number, asked.left_out) == (0, 1)
    Conflict.objects.update(retry="asked")  # not even where it was marked
    pair.ring("left", made)
    runs(pair, 2)
    assert not pair.right.records


def test_refused_creates_are_made_once_they_are_tried_again(pair: Pair, admin_user: Any) -> None:
    fails(pair.right, "create", lambda: Refused("Origin is required"))
    made = [pair.left.add(title=f"T{n}", ref=f"N{n}") for n in range(3)]
    pair.run()
    runs(pair, 2)
    group = only()
    assert (group.number, group.sample.code) == (3, "create_refused")
    fails(pair.right, "create", None)
    runs(pair, 2)
    assert not pair.right.records, "nothing changed and nobody asked"
    assert retrying.retry(standing().of_group(group.fingerprint), admin_user).number == 3
    runs(pair, 2)
    assert len(pair.right.records) == len(made) and not standing().count()


def send(pair: Pair, link: Link, value: Any, user: Any) -> Instruction:
    one = Conflict.objects.get(link=link)
    return retrying.edit(link, "body", "right", value, {"left": one.left_value, "right": one.right_value}, user)


def test_an_edited_value_goes_to_the_refused_side_alone(
    pair: Pair, refused: tuple[str, str, Link], admin_user: Any
) -> None:
    left, right, link = refused
    asked = send(pair, link, "short", admin_user)
    runs(pair, 2)
    asked.refresh_from_db()
    link.refresh_from_db()
    assert pair.both(left, right, "body") == ("far too long for it", "short")
    assert (asked.state, link.agreed_differences, link.parked) == ("done", {"body": True}, {})
    assert not standing().count() and Conflict.objects.get().closed_by == "admin"
    assert AuditEntry.objects.filter(action="write", code="retried", actor="admin").count() == 1
    pair.left.edit(left, body="next")
    pair.ring("left", left)
    runs(pair)
    assert pair.right.value(right, "body") == "next", "the next edit flows again"


def test_the_log_keeps_what_the_system_made_of_a_value_for_it_alone(
    pair: Pair, refused: tuple[str, str, Link], admin_user: Any
) -> None:
    left, right, link = refused
    pair.right.on_write = lambda id, values, by: {**values, "body": "the robot's"} if "body" in values else values
    send(pair, link, "short", admin_user)
    runs(pair, 2)
    assert pair.both(left, right, "body") == ("far too long for it", "the robot's"), "it goes nowhere"
    written, taken = AuditEntry.objects.filter(action__in=("write", "agree")).order_by("pk")
    assert (written.code, written.values["after"], taken.code) == ("retried", "short", "made_of_it")
    assert taken.values["after"] == {"left": "far too long for it", "right": "the robot's"}
    pair.right.on_write = lambda id, values, by: values
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    runs(pair)
    assert pair.both(left, right, "body") == ("new", "new"), "the next edit of either flows again"


def test_an_edited_value_is_not_sent_where_the_field_moved_meanwhile(
    pair: Pair, refused: tuple[str, str, Link], admin_user: Any
) -> None:
    left, right, link = refused
    asked = send(pair, link, "short", admin_user)
    pair.left.edit(left, body="another text of ana")
    runs(pair, 2)
    asked.refresh_from_db()
    assert asked.state == "stale" and pair.right.value(right, "body") == "b"
    assert only().sample.left_value == "another text of ana"


def test_an_edited_value_that_is_refused_too_starts_no_new_tries(
    pair: Pair, refused: tuple[str, str, Link], admin_user: Any
) -> None:
    before = writes(pair.right)
    asked = send(pair, refused[2], "still far too long", admin_user)
    runs(pair, 4)
    pair.ring("left", refused[0])
    runs(pair, 2)
    asked.refresh_from_db()
    assert asked.state == "refused" and writes(pair.right) == before + 1
    assert only().sample.params["sent"] == "still far too long"
    pair.left.edit(refused[0], body="fits")
    pair.ring("left", refused[0])
    runs(pair)
    assert pair.right.value(refused[1], "body") == "fits"


# Ignoring. -----------------------------------------------------------------------------------------------------------


def test_what_is_ignored_is_listed_apart_and_comes_back_with_a_new_value(
    pair: Pair, refused: tuple[str, str, Link], admin_user: Any
) -> None:
    assert retrying.ignore(standing(), "Known, waits for the vendor", admin_user) == 1
    assert not standing().listed().count() and standing().listed(ignored=True).count() == 1
    retrying.retry(standing(), admin_user)
    pair.ring("left", refused[0])
    runs(pair, 3)
    assert not standing().listed().count(), "refused again with the same value for the same cause"
    line = AuditEntry.objects.get(code="failure_ignored")
    assert (line.actor, line.link_id, line.params["reason"]) == ("admin", refused[2].pk, "Known, waits for the vendor")
    pair.left.edit(refused[0], body="another one, too long as well")
    pair.ring("left", refused[0])
    runs(pair)
    assert only().number == 1
    retrying.ignore(standing(), "Again", admin_user)
    assert retrying.heed(standing(), admin_user) == 1 and only().number == 1


def test_what_is_ignored_comes_back_with_another_cause(
    pair: Pair, refused: tuple[str, str, Link], admin_user: Any
) -> None:
    retrying.ignore(standing(), "Known", admin_user)
    fails(pair.right, "update", lambda: Refused("No.", {"body": "the record is locked"}))
    retrying.retry(standing(), admin_user)
    runs(pair)
    assert only().sample.params["message"] == "the record is locked"


# Writes that keep failing. -------------------------------------------------------------------------------------------


@pytest.fixture
def failing(pair: Pair) -> tuple[str, str, Link]:
    left, right, link = pair.linked(body="b")
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    fails(pair.right, "update", lambda: Retry("503 busy", after=0))
    runs(pair, 3)
    return left, right, link


def test_a_write_is_listed_from_the_third_failure_in_a_row_and_stays_one_entry(
    pair: Pair, failing: tuple[str, str, Link]
) -> None:
    first = only()
    assert (first.source, first.number, first.sample.state) == ("write", 1, "superseded")
    runs(pair, 9)
    group = only()
    assert (group.number, group.first, group.fingerprint) == (1, first.first, first.fingerprint)
    assert group.sample.state == "dead" and group.last > first.last
    assert Operation.objects.filter(state="dead").count() > 1


def test_two_failures_of_one_write_cannot_stand(pair: Pair, failing: tuple[str, str, Link]) -> None:
    one = Operation.objects.get(failing_since__isnull=False)
    with pytest.raises(IntegrityError), transaction.atomic():
        Operation.objects.create(
            mapping=one.mapping, version=one.version, link=one.link, side=one.side, kind="update", state="dead",
            failing_since=timezone.now(),
        )  # fmt: skip


def test_a_later_success_closes_a_failed_write(pair: Pair, failing: tuple[str, str, Link]) -> None:
    fails(pair.right, "update", None)
    runs(pair)
    assert pair.right.value(failing[1], "body") == "new" and not standing().count()


def test_a_failed_write_is_tried_at_once_when_a_person_asks(
    pair: Pair, failing: tuple[str, str, Link], admin_user: Any
) -> None:
    fails(pair.right, "update", None)
    pair.run("live")
    assert standing().count() == 1, "it waits"
    assert retrying.retry(standing(), admin_user).number == 1
    pair.run("live")
    assert not standing().count() and pair.right.value(failing[1], "body") == "new"


def test_a_failed_write_closes_when_both_sides_agree(pair: Pair, failing: tuple[str, str, Link]) -> None:
    pair.left.edit(failing[0], body="b")
    runs(pair)
    assert not standing().count()


def test_a_failed_write_closes_when_a_person_is_asked_instead(pair: Pair, failing: tuple[str, str, Link]) -> None:
    pair.right.edit(failing[1], body="theirs")
    runs(pair)
    assert not standing().count() and pair.open_conflicts()[0].kind == "field"


def test_a_failed_write_closes_when_the_pair_is_unlinked(
    pair: Pair, failing: tuple[str, str, Link], admin_user: Any
) -> None:
    instructions.ask(failing[2], Instruction.Kind.UNLINK, {}, admin_user)
    runs(pair)
    assert not standing().count()


def test_a_failed_write_closes_when_a_record_is_deleted(pair: Pair, failing: tuple[str, str, Link]) -> None:
    pair.publish(left={**pair.mapping.published.document["left"], "on_delete": "ignore"})
    pair.left.remove(failing[0])
    runs(pair)
    assert not standing().count()


def test_a_failed_write_turns_into_a_question_when_it_is_refused(pair: Pair, failing: tuple[str, str, Link]) -> None:
    fails(pair.right, "update", lambda: Refused("No.", {"body": "no"}))
    runs(pair)
    assert only().source == "question"


def test_an_ignored_write_stays_ignored_while_it_fails_alike(
    pair: Pair, failing: tuple[str, str, Link], admin_user: Any
) -> None:
    retrying.ignore(standing(), "Their outage", admin_user)
    runs(pair, 2)
    assert not standing().listed().count() and standing().count() == 1
    pair.left.edit(failing[0], body="newer")
    runs(pair)
    assert standing().listed().count() == 1


def test_a_question_closes_with_its_pair(pair: Pair, refused: tuple[str, str, Link], admin_user: Any) -> None:
    instructions.ask(refused[2], Instruction.Kind.UNLINK, {}, admin_user)
    runs(pair)
    assert not standing().count()


def test_a_question_closes_when_both_sides_agree(pair: Pair, refused: tuple[str, str, Link]) -> None:
    pair.left.edit(refused[0], body="b")
    pair.ring("left", refused[0])
    runs(pair)
    assert not standing().count()


# Records that cannot be decided. -------------------------------------------------------------------------------------


@pytest.fixture
def poison(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, Link]:
    """A pair whose plan breaks."""
    left, right, link = pair.linked(body="b")
    plan = decide.plan_link

    def broken(mapping: Any, view: Any, *args: Any, **more: Any) -> Any:
        if view.id == link.pk and args[0].values["body"] != "good":
            raise ValueError(f"cannot plan {args[0].values['body']!r}")
        return plan(mapping, view, *args, **more)

    monkeypatch.setattr(decide, "plan_link", broken)
    return left, right, link


def test_a_pair_that_cannot_be_planned_is_listed_once_though_both_records_rang(
    pair: Pair, poison: tuple[str, str, Link]
) -> None:
    left, right, link = poison
    pair.left.edit(left, body="bad")
    pair.ring("left", left)
    pair.ring("right", right)
    runs(pair, 2)
    group = only()
    assert (group.source, group.number, group.sample.link) == ("record", 1, link)
    ChangedRecord.objects.filter(side="left").update(not_before=timezone.now() + timedelta(hours=1))
    pair.run("live")  # the right one alone
    assert only().number == 1 and only().first == group.first


def test_a_record_that_breaks_the_plan_delays_no_other(pair: Pair, poison: tuple[str, str, Link]) -> None:
    others = []
    for number in range(2, 6):
        ids = [world.add(title="T", ref=f"R{number}", body="b") for world in (pair.left, pair.right)]
        others.append(ids)
    pair.quiet()
    for left in (poison[0], *(left for left, _ in others)):
        pair.left.edit(left, body="bad")
        pair.ring("left", left)
    pair.run("live")
    assert {pair.right.value(right, "body") for _, right in others} == {"bad"}
    assert only().number == 1


def test_it_closes_once_it_can_be_planned(pair: Pair, poison: tuple[str, str, Link], admin_user: Any) -> None:
    pair.left.edit(poison[0], body="bad")
    pair.ring("left", poison[0])
    runs(pair)
    pair.left.edit(poison[0], body="good")
    assert retrying.retry(standing(), admin_user).number == 1
    pair.run("live")
    assert not standing().count() and pair.right.value(poison[1], "body") == "good"


def test_an_ignored_record_comes_back_when_it_changes(
    pair: Pair, poison: tuple[str, str, Link], admin_user: Any
) -> None:
    pair.left.edit(poison[0], body="bad")
    pair.ring("left", poison[0])
    runs(pair)
    retrying.ignore(standing(), "Known", admin_user)
    pair.ring("left", poison[0])
    runs(pair, 2)
    assert not standing().listed().count()
    pair.left.edit(poison[0], body="worse")
    runs(pair)
    assert standing().listed().count() == 1


def test_a_record_without_a_pair_that_cannot_be_taken_over_is_listed(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> Any:
        raise KeyError("summary")

    monkeypatch.setattr(look, "meet", broken)
    pair.left.add(title="One", ref="R1")
    pair.run()
    group = only()
    assert (group.source, group.sample.link, group.sample.failed_code) == ("record", None, "not_planned")
    monkeypatch.undo()
    monkeypatch.setattr("sync.jobs.enqueue", lambda *args: None)
    runs(pair, 2)
    assert not standing().count() and len(pair.right.records) == 1


def test_a_record_that_lags_is_listed_from_the_third_time(pair: Pair) -> None:
    left, _, link = pair.linked(body="b")
    Link.objects.filter(pk=link.pk).update(left_updated_at="2099-01-01T00:00:00Z")
    pair.ring("left", left)
    runs(pair, 2)
    assert not standing().count()
    runs(pair)
    assert only().sample.failed_code == "older"


def test_an_answer_that_never_came_is_listed_where_a_person_has_to_say(pair: Pair, admin_user: Any) -> None:
    pair.right.capabilities = replace(pair.right.capabilities, field_history=False)
    left, right, link = pair.linked(body="b")
    loses_to_an_edit(pair.right, right, body="somebody else's")
    pair.left.edit(left, body="new")
    pair.ring("left", left)
    runs(pair, 2)
    assert (only().source, only().sample.code) == ("question", "maybe_written")
    before = writes(pair.right)
    assert retrying.retry(standing(), admin_user) == retrying.Asked(0, 1)
    assert parking.unpark(pair.mapping, ["body"]) == 0
    runs(pair, 2)
    link.refresh_from_db()
    assert writes(pair.right) == before and link.parked["body"]["code"] == "maybe_written"


# Lists. --------------------------------------------------------------------------------------------------------------


def test_causes_take_the_same_queries_for_one_and_for_a_thousand(pair: Pair) -> None:
    def stand(number: int) -> None:
        one = Conflict.objects.create(
            mapping=pair.mapping, subject=f"left:{number}-x", kind="unmapped", code="not_a_date"
        )
        Conflict.objects.bulk_create(
            [
                Conflict(
                    mapping=pair.mapping,
                    subject=f"left:{number}-{n}",
                    kind="unmapped",
                    code="not_a_date",
                    fingerprint=one.fingerprint,
                )
                for n in range(number)
            ]
        )

    taken = []
    for number in (1, 1000):
        stand(number)
        with CaptureQueriesContext(connection) as queries:
            groups(standing().listed())
        taken.append(len(queries))
    assert taken[0] == taken[1] <= 4
    assert only().number == 1003


def test_entries_are_named_by_their_letter_and_number(pair: Pair, refused: tuple[str, str, Link]) -> None:
    key = failures.key_of(only().sample)
    assert key.startswith("q") and isinstance(standing().of_keys([key]), Standing)
    assert standing().of_keys([key]).count() == 1
    assert standing().of_keys(["", "q", "qx", "x1", "q" + "9" * 30, "w" + key[1:]]).count() == 0
