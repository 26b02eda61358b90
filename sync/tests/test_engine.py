"""One edit, one conflict, one create, one deletion: the whole way through the engine."""

from __future__ import annotations

import pytest

from connections.connectors.base import Field, RateLimited, Refused, Retry, Uncertain
from connections.models import Connection
from sync import instructions
from sync.models import AuditEntry, ChangedRecord, Conflict, Instruction, Link, MappingState, Operation, Run
from sync.tests.conftest import Pair

pytestmark = pytest.mark.django_db


def test_equal_records_are_linked_without_a_write(pair: Pair) -> None:
    left, right, link = pair.linked(body="same")
    assert (link.left_id, link.right_id, link.state) == (left, right, "active")
    assert pair.writes() == 0


@pytest.mark.parametrize("edited, followed", [("left", "right"), ("right", "left")])
def test_an_edit_crosses_once_and_then_all_is_quiet(pair: Pair, edited: str, followed: str) -> None:
    left, right, _ = pair.linked()
    getattr(pair, edited).edit(left if edited == "left" else right, body="new")
    pair.quiet()
    assert pair.both(left, right, "body") == ("new", "new")
    pair.quiet()
    assert pair.writes() == 1


def test_a_write_is_audited_with_before_after_and_reason(pair: Pair) -> None:
    left, _, link = pair.linked(body="old")
    pair.left.edit(left, body="new")
    pair.quiet()
    line = AuditEntry.objects.get(action="write")
    assert (line.values, line.code, line.link_id) == ({"before": "old", "after": "new"}, "edited", link.pk)
    assert line.mapping_version == 1 and line.run_id and line.operation_id


def test_a_new_record_is_created_once_on_the_other_side(pair: Pair) -> None:
    left = pair.left.add(title="Alone", body="text", labels=["a"])
    pair.quiet()
    link = Link.objects.get(left_id=left)
    assert pair.right.value(link.right_id, "title") == "Alone"
    assert pair.right.value(link.right_id, "labels") == ["a"]
    pair.quiet()
    assert len(pair.right.alive()) == 1 and len(pair.left.alive()) == 1


def test_edits_of_different_fields_on_both_sides_both_flow(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b", title="t")
    pair.left.edit(left, body="left body")
    pair.right.edit(right, title="right title")
    pair.quiet()
    assert pair.both(left, right, "body") == ("left body", "left body")
    assert pair.both(left, right, "title") == ("right title", "right title")


def test_the_same_field_edited_on_both_sides_asks_and_writes_nothing(pair: Pair) -> None:
    left, right, link = pair.linked(body="b")
    pair.left.edit(left, body="L", by="ana")
    pair.right.edit(right, body="R", by="bob")
    pair.quiet()
    (conflict,) = pair.open_conflicts()
    assert (conflict.kind, conflict.left_base, conflict.left_value, conflict.right_value) == ("field", "b", "L", "R")
    assert (conflict.left_by, conflict.right_by) == ("Ana", "Bob")
    assert pair.both(left, right, "body") == ("L", "R")
    pair.left.edit(left, title="other field")
    pair.quiet()
    assert pair.right.value(right, "title") == "other field", "only the field in conflict waits"


@pytest.mark.parametrize(
    "choice, both",
    [
        ({"take": "left"}, "L"),
        ({"take": "right"}, "R"),
        ({"take": "base"}, "b"),
        ({"take": "value", "value": "LR", "in": "left"}, "LR"),
    ],
)
def test_a_person_settles_a_conflict(pair: Pair, admin_user: object, choice: dict, both: str) -> None:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="L")
    pair.right.edit(right, body="R")
    pair.quiet()
    (conflict,) = pair.open_conflicts()
    asked = instructions.resolve(conflict, {**choice, "seen": {"left": "L", "right": "R"}}, admin_user)
    pair.quiet()
    assert pair.both(left, right, "body") == (both, both)
    conflict.refresh_from_db()
    asked.refresh_from_db()
    assert (conflict.state, asked.state) == ("closed", "done")
    assert conflict.closed_by == "admin"
    written = AuditEntry.objects.filter(action="write").order_by("pk").first()
    assert written is not None and written.actor == "admin" and written.request_id == str(asked.request_id)


def test_agreeing_to_differ_closes_the_conflict_and_later_edits_flow(pair: Pair, admin_user: object) -> None:
    left, right, link = pair.linked(body="b")
    pair.left.edit(left, body="L")
    pair.right.edit(right, body="R")
    pair.quiet()
    instructions.resolve(pair.open_conflicts()[0], {"take": "ignore"}, admin_user)
    pair.quiet()
    assert not pair.open_conflicts() and pair.both(left, right, "body") == ("L", "R")
    link.refresh_from_db()
    assert link.agreed_differences == {"body": True}
    pair.left.edit(left, body="L2")
    pair.quiet()
    assert pair.both(left, right, "body") == ("L2", "L2")


def test_a_choice_made_on_old_values_is_not_applied(pair: Pair, admin_user: object) -> None:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="L")
    pair.right.edit(right, body="R")
    pair.quiet()
    pair.right.edit(right, body="R2")
    asked = instructions.resolve(
        pair.open_conflicts()[0], {"take": "left", "seen": {"left": "L", "right": "R"}}, admin_user
    )
    pair.quiet()
    asked.refresh_from_db()
    (conflict,) = pair.open_conflicts()
    assert asked.state == Instruction.State.STALE
    assert (conflict.right_value, pair.right.value(right, "body")) == ("R2", "R2")


def test_a_conflict_closes_by_itself_when_the_values_agree_again(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="L")
    pair.right.edit(right, body="R")
    pair.quiet()
    pair.right.edit(right, body="L")
    pair.quiet()
    assert not pair.open_conflicts()
    assert Conflict.objects.get().closed_code == "moved"


def test_an_open_conflict_is_not_settled_by_a_later_policy(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="L")
    pair.right.edit(right, body="R")
    pair.quiet()
    rules = [
        {**r, "policy": {"name": "l", "kind": "left", "tolerance": 1.0}}
        for r in pair.mapping.versions.first().document["rules"]
    ]
    pair.publish(rules=rules)
    pair.ring("left", left)
    pair.quiet()
    assert len(pair.open_conflicts()) == 1 and pair.both(left, right, "body") == ("L", "R")


def test_sets_are_merged_and_a_removed_label_stays_removed(pair: Pair) -> None:
    left, right, _ = pair.linked(labels=["a", "b"])
    pair.left.edit(left, labels=["a", "b", "c"])
    pair.right.edit(right, labels=["a", "d"])
    pair.quiet()
    assert pair.both(left, right, "labels") == (["a", "c", "d"], ["a", "c", "d"])


def test_the_policy_left_decides(pair: Pair) -> None:
    left, right, _ = pair.linked(status="open")
    pair.left.edit(left, status="closed")
    pair.right.edit(right, status="waiting")
    pair.quiet()
    assert pair.both(left, right, "status") == ("closed", "closed")


def test_undo_writes_the_old_value_back_where_we_wrote(pair: Pair, admin_user: object) -> None:
    left, right, link = pair.linked(body="old")
    pair.left.edit(left, body="new")
    pair.quiet()
    instructions.undo(Operation.objects.get(state="confirmed"), admin_user)
    pair.quiet()
    assert pair.both(left, right, "body") == ("new", "old")
    pair.right.edit(right, body="newer")
    pair.quiet()
    assert pair.both(left, right, "body") == ("newer", "newer")


def test_a_refused_field_is_parked_and_the_rest_flows(pair: Pair, admin_user: object) -> None:
    left, right, link = pair.linked(body="b")
    pair.right.fields = [f for f in pair.right.fields if f.path != "title"] + [
        Field("title", "Title", "text", max_length=5)
    ]
    pair.left.edit(left, title="much too long", body="fits")
    pair.quiet()
    assert pair.right.value(right, "body") == "fits"
    (conflict,) = pair.open_conflicts()
    assert (conflict.kind, conflict.rule_id) == ("refused", "title")
    sent = pair.right.calls.count(("update", right))
    pair.ring("left", left)
    pair.quiet()
    assert pair.right.calls.count(("update", right)) == sent, "a refused value is not sent again"
    pair.left.edit(left, title="short")
    pair.quiet()
    assert pair.right.value(right, "title") == "short" and not pair.open_conflicts()


def test_a_lost_answer_is_probed_and_not_sent_again(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")

    def lose(verb: str, ids: object) -> None:
        if verb == "update":
            pair.right.after = lambda *_: None
            raise Uncertain("no answer")

    pair.right.after = lose
    pair.run()
    assert Operation.objects.get().state == "uncertain"
    pair.quiet()
    assert Operation.objects.get().state == "confirmed"
    assert pair.right.calls.count(("update", right)) == 1


def test_a_create_whose_answer_is_lost_makes_one_record(pair: Pair) -> None:
    left = pair.left.add(title="Alone")

    def lose(verb: str, ids: object) -> None:
        if verb == "create":
            pair.right.after = lambda *_: None
            raise Uncertain("no answer")

    pair.right.after = lose
    pair.run()
    pair.quiet()
    assert len(pair.right.alive()) == 1
    assert Link.objects.get(left_id=left).right_id in pair.right.records


def test_a_create_that_never_arrived_is_made_again_with_the_same_key(pair: Pair) -> None:
    pair.left.add(title="Alone")

    def drop(verb: str, ids: object) -> None:
        if verb == "create":
            pair.right.before = lambda *_: None
            raise Uncertain("no answer")

    pair.right.before = drop
    pair.run()
    pair.quiet()
    assert len(pair.right.alive()) == 1
    assert len(set(Operation.objects.filter(kind="create").values_list("correlation_key", flat=True))) == 1
    told = AuditEntry.objects.get(action="not_written")
    assert (told.field_label, told.values["after"]["Title"]) == ("", "Alone")


def test_a_system_that_is_down_loses_nothing_and_says_so(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")

    def down(verb: str, ids: object) -> None:
        raise Retry("No route to host.")

    pair.left.edit(left, body="new")
    pair.left.before = down
    outcome = pair.run()
    connection = Connection.objects.get(name="Left")
    assert outcome.state == "failed" and connection.state == "unreachable" and "No route" in connection.state_reason
    pair.left.before = lambda *_: None
    Connection.objects.update(retry_after=None)
    pair.quiet()
    assert pair.right.value(right, "body") == "new"
    assert Connection.objects.get(name="Left").state == "ok"


def test_a_write_that_must_wait_for_quota_is_sent_later(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")

    def limited(verb: str, ids: object) -> None:
        if verb == "update":
            pair.right.before = lambda *_: None
            raise RateLimited("slow down", after=0)

    pair.left.edit(left, body="new")
    pair.right.before = limited
    pair.run()
    pair.quiet()
    assert pair.right.value(right, "body") == "new"


def test_a_deletion_asks_a_person_and_deletes_nothing(pair: Pair) -> None:
    left, right, link = pair.linked()
    pair.left.remove(left)
    pair.quiet()
    (conflict,) = pair.open_conflicts()
    assert conflict.kind == "delete_update" and right in pair.right.alive()


def test_delete_twin_deletes_after_a_fresh_read(pair: Pair) -> None:
    document = pair.mapping.published.document
    pair.publish(left={**document["left"], "on_delete": "delete"})
    left, right, link = pair.linked()
    pair.left.remove(left)
    pair.quiet()
    assert right not in pair.right.alive()
    link.refresh_from_db()
    assert link.state == "deleted"


def test_deleted_here_and_edited_there_goes_to_a_person(pair: Pair) -> None:
    document = pair.mapping.published.document
    pair.publish(left={**document["left"], "on_delete": "delete"})
    left, right, _ = pair.linked()
    pair.left.remove(left)
    pair.right.edit(right, body="edited meanwhile")
    pair.quiet()
    assert right in pair.right.alive()
    assert pair.open_conflicts()[0].code == "deleted_and_edited"


def test_two_records_that_fit_equally_well_are_left_to_a_person(pair: Pair) -> None:
    pair.right.add(title="A", ref="R9")
    pair.right.add(title="B", ref="R9")
    pair.left.add(title="C", ref="R9")
    pair.quiet()
    assert Link.objects.count() == 0
    assert {conflict.kind for conflict in pair.open_conflicts()} == {"ambiguous_match"}


def test_a_hidden_field_is_never_read_as_empty(pair: Pair) -> None:
    left, right, _ = pair.linked(body="secret")
    pair.left.hidden = {"body"}
    pair.left.edit(left, title="t2")
    for _ in range(3):  # its hint waits until it is known why the field is not shown
        pair.run()
    assert pair.right.value(right, "body") == "secret"


def test_a_worker_that_lost_its_lease_commits_nothing(pair: Pair) -> None:
    left, right, _ = pair.linked(body="b")
    pair.left.edit(left, body="new")

    def steal(verb: str, ids: object) -> None:
        if verb == "update":
            MappingState.objects.update(fence=999)

    pair.right.after = steal
    assert pair.run().state == "lost"
    operation = Operation.objects.get()
    assert operation.state == "sending", "its fate is for the next holder to find out"
    pair.right.after = lambda *_: None
    MappingState.objects.update(lease_until=None)
    pair.quiet()
    operation.refresh_from_db()
    assert operation.state == "confirmed" and pair.right.calls.count(("update", right)) == 1


def test_the_second_run_finds_the_lease_taken_and_leaves(pair: Pair) -> None:
    from sync.lease import take

    assert take(pair.mapping.pk) is not None
    assert pair.run().state == "busy"


def test_a_brake_halts_before_the_first_write_of_the_batch(pair: Pair) -> None:
    pair.publish(brakes={"update": [2, 0.0]})
    ids = [pair.left.add(title=f"T{n}", ref=f"N{n}") for n in range(4)]
    for n in range(4):
        pair.right.add(title=f"T{n}", ref=f"N{n}")
    pair.quiet()
    for external_id in ids:
        pair.left.edit(external_id, body="mass edit")
    pair.run()
    state = MappingState.objects.get(mapping=pair.mapping)
    assert state.halt == "brake" and state.halt_reason["params"]["planned"] == 4
    assert pair.writes() == 0 and ChangedRecord.objects.filter(side="left").count() == 4
    from sync.approval import release

    release(pair.mapping, 4, "asked for by the team", "ana")
    pair.quiet()
    assert pair.writes() == 4


def test_a_first_run_shows_its_numbers_and_writes_nothing_before_approval(pair: Pair) -> None:
    MappingState.objects.all().delete()
    pair.left.add(title="Same", ref="R1", body="x")
    pair.right.add(title="Same", ref="R1", body="y")
    pair.left.add(title="Only left")
    pair.right.add(title="Only right")
    assert pair.run().state == "approval"
    run = Run.objects.get(kind="first")
    assert (run.preview["matched"], run.preview["create"]) == (1, {"left": 1, "right": 1})
    body = next(row for row in run.preview["differences"] if row["rule"] == "body")
    assert body["review"] == 1
    assert pair.writes() == 0 and pair.run().state == "halted"
    from sync.approval import approve

    approve(pair.mapping, "ana")
    pair.quiet()
    assert len(pair.left.alive()) == 3 and len(pair.right.alive()) == 3
    assert len(pair.open_conflicts()) == 1


def test_a_poison_record_delays_no_other(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right, link = pair.linked()
    other_left = pair.left.add(title="Two", ref="R2")
    other_right = pair.right.add(title="Two", ref="R2")
    pair.quiet()
    from sync import decide

    real = decide.plan_link

    def poisoned(mapping: object, view: object, *args: object, **more: object) -> object:
        if view.id == link.pk:
            raise RuntimeError("poison")
        return real(mapping, view, *args, **more)

    monkeypatch.setattr(decide, "plan_link", poisoned)
    pair.left.edit(left, body="x")
    pair.left.edit(other_left, body="y")
    pair.run()
    assert pair.right.value(other_right, "body") == "y"
    hint = ChangedRecord.objects.get(side="left")
    assert "poison" in hint.error and hint.attempts == 1


def test_a_refused_create_asks_and_is_tried_again_when_its_source_changes(pair: Pair) -> None:
    left = pair.left.add(title="x")

    def refuse(verb: str, ids: object) -> None:
        if verb == "create":
            raise Refused("No creates today.")

    pair.right.before = refuse
    pair.quiet()
    assert pair.open_conflicts()[0].code == "create_refused"
    pair.right.before = lambda *_: None
    pair.left.edit(left, title="y")
    pair.quiet()
    assert [record.values["title"] for record in pair.right.alive().values()] == ["y"]
    assert not pair.open_conflicts()


def test_a_version_published_before_approval_gets_a_preview_of_its_own(pair: Pair) -> None:
    MappingState.objects.all().delete()
    pair.left.add(title="Only left")
    assert pair.run().state == "approval"
    document = pair.mapping.published.document
    pair.publish(right={**document["right"], "create": False})
    assert pair.run().state == "approval"
    older, newer = Run.objects.filter(kind="first").order_by("pk")
    assert (older.state, older.preview["create"]["right"]) == ("lost", 1)
    assert (newer.state, newer.preview["create"]["right"]) == ("approval", 0)
    assert pair.run().state == "halted"


def test_a_dry_run_counts_pairs_once_and_writes_nothing(pair: Pair) -> None:
    from sync.dry_run import dry_run

    MappingState.objects.all().delete()
    pair.left.add(title="Same", ref="R1")
    pair.right.add(title="Same", ref="R1")
    pair.right.add(title="Alone")
    pair.run()
    found = dry_run(pair.mapping)
    assert (found["link"], found["create"], pair.writes()) == (1, {"left": 1, "right": 0}, 0)
