"""A field of a connected system changes: only what depends on it stands still, nothing is emptied, and it goes on.

The oracle is the two worlds' own logs: whatever we wrote is there, by us.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connections.connectors.base import Field, Option, Retry
from connections.connectors.memory import US, LogLine, MemoryConnector, World
from mappings.document import field_snapshot
from sync import instructions, schema_entries, schema_watch
from sync.dry_run import dry_run
from sync.lease import take
from sync.models import AuditEntry, ChangedRecord, Conflict, Link, MappingState, Operation, SchemaFinding, SchemaLook
from sync.session import open_session
from sync.tests.conftest import DEFAULT_RULES, Pair, build_pair, rule
from sync.tests.engine_cases import live
from sync.tests.schema_cases import DONE, LATE, OPEN, entry, knowing, later, linked, much_later
from sync.views import _schema

pytestmark = pytest.mark.django_db

SIDES = ("left", "right")
OTHER = {"left": "right", "right": "left"}


@pytest.fixture
def known(pair: Pair) -> Pair:
    return knowing(pair)


def world(pair: Pair, side: str) -> World:
    found: World = getattr(pair, side)
    return found


def ours(pair: Pair) -> list[LogLine]:
    return [line for one in (pair.left, pair.right) for line in one.log if line.by == US]


def never_emptied(pair: Pair) -> None:
    assert [line for line in ours(pair) if line.after in (None, "", []) and line.before not in (None, "", [])] == []


# Everything that a field can do to a rule: (name, what happens to body there, how it is put right). -------------------


def hide(one: World) -> None:
    one.hidden = {"body"}


def show(one: World) -> None:
    one.hidden = set()


def remove(one: World) -> None:
    one.gone = one.take_away("body")  # type: ignore[attr-defined]


def put_back(one: World) -> None:
    one.fields.append(one.gone)  # type: ignore[attr-defined]


def rename(one: World) -> None:
    one.change("body", path="body_2")


def rename_back(one: World) -> None:
    one.change("body_2", path="body")


def other_type(one: World) -> None:
    one.change("body", kind="number")


def old_type(one: World) -> None:
    one.change("body", kind="text")


WHOLE = [
    ("field_hidden", hide, show),
    ("field_removed", remove, put_back),
    ("field_renamed", rename, rename_back),
    ("type_changed", other_type, old_type),
]


@pytest.mark.parametrize("refuses", [False, True], ids=["told per record", "refuses the whole read"])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("code", "happens", "right_again"), WHOLE, ids=[case[0] for case in WHOLE])
def test_a_field_that_is_not_there_any_more_stops_its_rule_alone(
    known: Pair, code: str, happens: Any, right_again: Any, side: str, refuses: bool
) -> None:
    ids, link = linked(known)
    here, there = world(known, side), world(known, OTHER[side])
    here.refuses_unknown = refuses
    bases = dict(link.left_bases), dict(link.right_bases)
    happens(here)
    if code == "type_changed":
        much_later(known)  # nothing tells of it before a value of the new type is read or refused
        known.run()
    # Other fields flow both ways, in the very run that meets it.
    there.edit(ids[OTHER[side]], body="edited there", status="done")
    here.edit(ids[side], amount=2)
    outcome = known.run()
    assert outcome.state == "done"
    known.quiet()
    assert known.both(ids["left"], ids["right"], "status") == ("done", "done")
    assert known.both(ids["left"], ids["right"], "amount") == (2, 2)
    one = entry(known)
    refused_whole = code == "field_hidden" and refuses  # how a system that hides and one that has no field answer alike
    assert (
        one.code == ("field_removed" if refused_whole else code)
        and one.subject == "rule:body"
        and one.field_label == "Body"
    )
    assert one.params["side"] == side and SchemaFinding.objects.get().subject == "rule:body"
    never_emptied(known)
    assert there.value(ids[OTHER[side]], "body") == "edited there", "nothing is put over it"
    link.refresh_from_db()
    assert (link.left_bases["body"], link.right_bases["body"]) == (bases[0]["body"], bases[1]["body"]), "bases wait"
    # Put right, the entry closes by itself and the edit made meanwhile is an ordinary one.
    right_again(here)
    much_later(known)
    known.quiet()
    assert known.open_conflicts() == [] and not SchemaFinding.objects.exists()
    assert known.both(ids["left"], ids["right"], "body") == ("edited there", "edited there")
    one.refresh_from_db()
    assert (one.state, one.closed_code) == ("closed", "schema_put_right")
    told_of = list(AuditEntry.objects.filter(params__rule="body").order_by("pk").values_list("action", flat=True))
    assert told_of == ["conflict", "conflict_closed"]
    writes = len(ours(known))
    known.quiet()
    assert len(ours(known)) == writes, "quiet is quiet"


@pytest.mark.parametrize("side", SIDES)
def test_a_value_of_another_type_is_looked_into_before_it_is_merged(known: Pair, side: str) -> None:
    ids, _ = linked(known)
    other_type(world(known, side))
    world(known, side).edit(ids[side], body=5, status="done")
    known.run()
    assert entry(known).code == "type_changed"
    assert known.both(ids["left"], ids["right"], "status") == ("done", "done")
    assert world(known, OTHER[side]).value(ids[OTHER[side]], "body") == "b"


@pytest.mark.parametrize("side", SIDES)
def test_edits_of_both_sides_meanwhile_are_an_ordinary_conflict(known: Pair, side: str) -> None:
    ids, _ = linked(known)
    hide(world(known, side))
    known.left.edit(ids["left"], body="left")
    known.right.edit(ids["right"], body="right")
    known.quiet()
    assert entry(known).code == "field_hidden" and ours(known) == []
    show(world(known, side))
    much_later(known)
    known.quiet()
    (one,) = known.open_conflicts()
    assert (one.kind, one.left_value, one.right_value, one.left_base) == ("field", "left", "right", "b")
    assert ours(known) == []


def test_sets_edited_on_both_sides_meanwhile_are_merged(known: Pair) -> None:
    ids, _ = linked(known)
    known.right.hidden = {"labels"}
    known.left.edit(ids["left"], labels=["x", "from left"])
    known.right.edit(ids["right"], labels=["from right"])
    known.quiet()
    known.right.hidden = set()
    much_later(known)
    known.quiet()
    assert known.both(ids["left"], ids["right"], "labels") == (["from left", "from right"],) * 2
    assert not known.open_conflicts()


@pytest.mark.parametrize("direction", ["to_left", "to_right"])
def test_a_one_way_rule_stops_when_either_of_its_fields_is_gone(known: Pair, direction: str) -> None:
    rules = [{**one, "direction": direction} if one["id"] == "body" else one for one in DEFAULT_RULES]
    known.publish(rules=rules)
    ids, _ = linked(known)
    source = OTHER[direction.removeprefix("to_")]
    hide(world(known, source))
    world(known, source).edit(ids[source], body="new")
    known.quiet()
    assert entry(known).code == "field_hidden" and ours(known) == []
    show(world(known, source))
    hide(world(known, OTHER[source]))
    much_later(known)
    known.quiet()
    assert entry(known).params["side"] == OTHER[source] and ours(known) == []
    show(world(known, OTHER[source]))
    much_later(known)
    known.quiet()
    assert known.both(ids["left"], ids["right"], "body") == ("new", "new") and not known.open_conflicts()


# Only some writes. -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
def test_a_field_that_became_read_only_is_read_but_not_written(known: Pair, side: str) -> None:
    ids, _ = linked(known)
    other = OTHER[side]
    world(known, side).change("body", writable=False)
    world(known, other).edit(ids[other], body="cannot go", title="Two")
    assert known.run().state == "done"  # refused, looked into, and the rest sent again
    known.quiet()
    assert known.both(ids["left"], ids["right"], "title") == ("Two", "Two")
    assert entry(known).code == "read_only"
    assert world(known, side).value(ids[side], "body") == "b"
    assert not Link.objects.get().parked
    # The other way it flows: what is edited there goes on.
    two = known.left.add(title="T2", ref="R2", body="b"), known.right.add(title="T2", ref="R2", body="b")
    known.quiet()
    mine = two[SIDES.index(side)]
    world(known, side).edit(mine, body="comes through")
    known.quiet()
    assert known.both(*two, "body") == ("comes through", "comes through")
    world(known, side).change("body", writable=True)
    much_later(known)
    known.quiet()
    assert known.both(ids["left"], ids["right"], "body") == ("cannot go", "cannot go") and not known.open_conflicts()
    never_emptied(known)


@pytest.mark.parametrize("side", SIDES)
def test_only_the_values_wait_whose_option_is_gone(known: Pair, side: str) -> None:
    ids, _ = linked(known)
    other = OTHER[side]
    world(known, side).change("status", options=(OPEN, DONE))
    world(known, other).edit(ids[other], status="late", body="new")
    assert known.run().state == "done"
    known.quiet()
    one = entry(known)
    assert (one.code, one.params["values"]) == ("option_removed", ["late"])
    assert world(known, side).value(ids[side], "status") == "open"
    assert known.both(ids["left"], ids["right"], "body") == ("new", "new")
    world(known, other).edit(ids[other], status="done")
    known.quiet()
    assert known.both(ids["left"], ids["right"], "status") == ("done", "done"), "values that are offered flow"
    world(known, other).edit(ids[other], status="late")
    known.quiet()
    world(known, side).change("status", options=(OPEN, DONE, LATE))
    much_later(known)
    known.quiet()
    assert known.both(ids["left"], ids["right"], "status") == ("late", "late") and not known.open_conflicts()


@pytest.mark.parametrize("side", SIDES)
def test_only_the_texts_wait_that_do_not_fit_any_more(known: Pair, side: str) -> None:
    ids, _ = linked(known)
    other = OTHER[side]
    world(known, side).change("body", max_length=5)
    world(known, other).edit(ids[other], body="too long", status="done")
    assert known.run().state == "done"
    known.quiet()
    assert (entry(known).code, entry(known).params["limit"]) == ("shortened", 5)
    assert known.both(ids["left"], ids["right"], "status") == ("done", "done")
    assert world(known, side).value(ids[side], "body") == "b"
    world(known, other).edit(ids[other], body="fits")
    known.quiet()
    assert known.both(ids["left"], ids["right"], "body") == ("fits", "fits")
    world(known, other).edit(ids[other], body="too long again")
    known.quiet()
    rules = known.mapping.published.document["rules"]  # a version that knows the limit asks record by record
    known.publish_as_is(rules=[{**r, side: {**r[side], "max_length": 5}} if r["id"] == "body" else r for r in rules])
    known.quiet()
    assert [one.kind for one in known.open_conflicts()] == ["refused"]
    assert Conflict.objects.get(kind="schema").closed_code == "schema_new_version"


def test_one_entry_takes_the_place_of_the_questions_about_single_records(known: Pair) -> None:
    pairs = [linked(known, title=f"T{n}", ref=f"N{n}")[0] for n in range(3)]
    SchemaLook.objects.update(looked_at=timezone.now())  # looked at a moment ago: the first refusals go to people
    known.right.change("body", writable=False)
    for ids in pairs:
        known.left.edit(ids["left"], body="cannot go")
    known.quiet()
    assert [one.kind for one in known.open_conflicts()] == ["refused"] * 3
    assert SchemaLook.objects.order_by("due_at")[0].due_at < timezone.now() + timedelta(seconds=90), "and soon a look"
    much_later(known)
    known.quiet()
    assert entry(known).code == "read_only"
    assert Conflict.objects.filter(kind="refused", state="closed", closed_code="superseded").count() == 3
    known.right.change("body", writable=True)
    much_later(known)
    known.quiet()
    assert [known.right.value(ids["right"], "body") for ids in pairs] == ["cannot go"] * 3, "parked values are tried"
    assert not known.open_conflicts()


def test_a_refused_value_is_tried_again_when_the_fields_change(known: Pair) -> None:
    ids, _ = linked(known)
    known.right.people = {"ana@example.com": "Ana"}
    known.publish(rules=[*known.mapping.published.document["rules"], rule("owner", "owner", "person")])
    known.left.edit(ids["left"], owner="bob@example.com")
    known.quiet()
    assert [one.kind for one in known.open_conflicts()] == ["refused"]
    known.right.people = None
    known.quiet()
    assert known.right.value(ids["right"], "owner") is None, "nothing said that it might fit now"
    known.right.change("owner", label="Assignee")
    much_later(known)
    known.quiet()
    assert known.right.value(ids["right"], "owner") == "bob@example.com" and not known.open_conflicts()
    assert AuditEntry.objects.get(code="fields_changed").params == {"number": 1}, "the log says why"


# New records. ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
def test_a_newly_required_field_holds_creates_with_one_question_while_updates_flow(known: Pair, side: str) -> None:
    ids, _ = linked(known)
    other = OTHER[side]
    world(known, side).fields.append(Field("team", "Team", "text", required=True))
    for number in range(3):
        world(known, other).add(title=f"New {number}")
    world(known, other).edit(ids[other], status="done")
    assert known.run().state == "done"
    one = entry(known)
    assert (one.code, one.subject, one.field_label) == ("newly_required", f"create:{side}", "Team")
    assert known.both(ids["left"], ids["right"], "status") == ("done", "done")
    assert len(world(known, side).alive()) == 1, "no record is made"
    known.run()
    assert len(known.open_conflicts()) == 1
    world(known, side).take_away("team")
    much_later(known)
    known.run()
    known.quiet()
    assert len(world(known, side).alive()) == 4 and not known.open_conflicts()
    assert Link.objects.filter(state="active").count() == 4


def test_a_value_for_new_records_puts_it_right_with_the_next_version(known: Pair) -> None:
    linked(known)
    known.right.fields.append(Field("team", "Team", "text", required=True))
    known.left.add(title="New")
    known.run()
    assert entry(known).code == "newly_required"
    document = known.mapping.published.document
    known.publish_as_is(right={**document["right"], "create_defaults": {"team": "ours"}})
    known.run()
    known.quiet()
    assert not known.open_conflicts() and Conflict.objects.get().closed_code == "schema_new_version"
    assert [r.values.get("team") for r in known.right.alive().values()] == [None, "ours"]


def test_a_value_for_new_records_whose_option_is_gone_holds_creates_with_one_entry_until_it_is_back(
    known: Pair,
) -> None:
    ids, _ = linked(known)
    team = Field("team", "Team", "option", options=(Option("ours", "Ours"), Option("theirs", "Theirs")))
    known.right.fields.append(team)
    much_later(known)
    known.run()
    document = known.mapping.published.document
    known.publish_as_is(
        right={**document["right"], "create_defaults": {"team": "ours"}},
        create_fields={"right": [field_snapshot("team", {"team": team})]},
    )
    known.run()
    assert not known.open_conflicts()
    later(known)
    known.right.change("team", options=team.options[1:])
    for number in range(3):
        known.left.add(title=f"New {number}")
    known.left.edit(ids["left"], status="done")
    known.run()
    one = entry(known)
    assert (one.code, one.subject, one.params["values"]) == ("create_option_removed", "create:right", ["ours"])
    assert known.both(ids["left"], ids["right"], "status") == ("done", "done")
    assert _schema.changes(one)[0].todo.startswith("Put the option back, or choose another value for new records")
    refusals = Operation.objects.filter(state="refused").count()
    known.run()
    assert len(known.open_conflicts()) == 1 and len(known.right.alive()) == 1
    assert Operation.objects.filter(state="refused").count() == refusals, "what waits is not tried again"
    known.right.change("team", options=team.options)
    much_later(known)
    known.run()
    known.quiet()
    one.refresh_from_db()
    assert not known.open_conflicts() and one.closed_code == "schema_put_right"
    assert [r.values.get("team") for r in known.right.alive().values()] == [None, "ours", "ours", "ours"]


def test_records_that_fill_the_newly_required_field_are_made(known: Pair) -> None:
    linked(known)
    known.right.change("body", required=True)
    much_later(known)
    known.run()
    known.left.add(title="Without")
    known.left.add(title="With", body="text")
    known.run()
    assert sorted(r.title or "" for r in known.right.alive().values()) == ["One", "With"]
    assert entry(known).code == "newly_required"
    empty = next(id for id, r in known.left.alive().items() if r.title == "Without")
    known.left.edit(empty, body="now filled")
    known.run()
    assert sorted(r.values["title"] for r in known.right.alive().values()) == ["One", "With", "Without"]


def test_a_record_whose_required_field_cannot_be_read_is_not_made_without_it(known: Pair) -> None:
    linked(known)
    known.left.hidden = {"title"}
    known.left.add(title="Secret", body="text")
    known.run()
    assert entry(known).subject == "rule:title" and len(known.right.alive()) == 1
    assert not Operation.objects.filter(state="refused").exists(), "it was not even tried"
    known.left.hidden = set()
    much_later(known)
    known.run()
    known.quiet()
    assert sorted(r.values["title"] for r in known.right.alive().values()) == ["One", "Secret"]


def test_a_new_record_is_made_without_a_field_that_stands_still_and_gets_it_later(known: Pair) -> None:
    linked(known)
    known.right.change("body", writable=False, creatable=False)
    much_later(known)
    known.run()
    left = known.left.add(title="New", body="text")
    known.quiet()
    link = Link.objects.get(left_id=left)
    assert link.state == "active" and known.right.value(link.right_id, "body") is None
    assert entry(known).code == "read_only"
    known.right.change("body", writable=True, creatable=True)
    much_later(known)
    known.quiet()
    assert known.right.value(link.right_id, "body") == "text" and known.left.value(left, "body") == "text"


def test_a_field_that_left_the_form_for_new_records_is_written_right_after(known: Pair) -> None:
    linked(known)
    known.right.change("body", creatable=False)
    much_later(known)
    known.run()
    left = known.left.add(title="New", body="text")
    known.quiet()
    assert known.right.value(Link.objects.get(left_id=left).right_id, "body") == "text"
    assert not known.open_conflicts() and not Operation.objects.filter(state="refused").exists()


def test_emptying_a_field_that_became_required_is_asked_about_and_not_tried(known: Pair) -> None:
    ids, _ = linked(known)
    known.right.change("body", required=True)
    much_later(known)
    known.run()
    known.left.edit(ids["left"], body=None)
    known.quiet()
    assert {one.code for one in known.open_conflicts()} == {"newly_required", "required_would_be_emptied"}
    assert not Operation.objects.filter(state="refused").exists() and known.right.value(ids["right"], "body") == "b"


# Match keys and scopes. ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize("side", SIDES)
def test_nothing_is_copied_while_a_match_field_cannot_be_read(known: Pair, side: str, refuses: bool) -> None:
    ids, _ = linked(known)
    known.left.hidden, known.right.hidden = ({"ref"}, set()) if side == "left" else (set(), {"ref"})
    world(known, side).refuses_unknown = refuses
    left = known.left.add(title="Same", ref="S1")
    right = known.right.add(title="Same", ref="S1")
    known.left.edit(ids["left"], status="done")
    known.run()
    one = entry(known)
    assert one.subject == f"match:{side}" and one.code.startswith("match_field_")
    assert known.both(ids["left"], ids["right"], "status") == ("done", "done")
    assert (len(known.left.alive()), len(known.right.alive())) == (2, 2), "no copy was made"
    world(known, side).hidden = set()
    much_later(known)
    known.run()
    known.quiet()
    assert Link.objects.get(left_id=left).right_id == right and not known.open_conflicts()
    assert (len(known.left.alive()), len(known.right.alive())) == (2, 2)


def test_a_key_noted_before_is_not_forgotten_because_its_field_is_hidden(known: Pair) -> None:
    known.publish(right={**known.mapping.published.document["right"], "create": False})
    known.publish(left={**known.mapping.published.document["left"], "create": False})
    right = known.right.add(title="Same", ref="S1")
    known.quiet()
    later(known)
    known.right.hidden = {"ref"}
    left = known.left.add(title="Same", ref="S1")
    known.run()
    known.right.hidden = set()
    much_later(known)
    known.run()
    known.quiet()
    assert Link.objects.get(left_id=left).right_id == right


def test_a_scope_that_names_a_field_which_is_gone_says_so_once_and_heals(known: Pair) -> None:
    known.publish(left={**known.mapping.published.document["left"], "scope": {"owner": "ana@example.com"}})
    left = known.left.add(title="One", ref="R1", owner="ana@example.com")
    known.quiet()
    later(known)
    known.left.refuses_unknown = True
    known.left.hidden = {"owner"}
    for _ in range(3):
        known.run()
    one = entry(known)
    assert (one.code, one.subject, one.params["field"]) == ("scope_field_gone", "scope:left", "owner")
    known.left.hidden = set()
    known.left.edit(left, body="new")
    known.run()
    known.quiet()
    assert not known.open_conflicts()
    assert known.right.value(Link.objects.get().right_id, "body") == "new"


# Looking. --------------------------------------------------------------------------------------------------------


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The worlds whose fields were listed, in order."""
    found: list[str] = []
    real = MemoryConnector.described

    def described(connector: MemoryConnector, *where: Any) -> Any:
        found.append(connector.world.name)
        return real(connector, *where)

    monkeypatch.setattr(MemoryConnector, "described", described)
    return found


def test_a_field_that_one_record_does_not_show_is_no_reason_to_stop(known: Pair, looks: list[str]) -> None:
    ids, _ = linked(known)
    looks.clear()
    record = known.right.records[ids["right"]]
    shown = {path: value for path, value in record.values.items() if path != "body"}
    known.right.records[ids["right"]] = replace(record, values=shown)
    for number in range(4):
        known.left.edit(ids["left"], body=f"edit {number}", amount=number + 5)
        known.run()
    assert known.right.value(ids["right"], "amount") == 8 and not known.open_conflicts()
    assert looks == ["Right"], "looked into once, and not with every read"


def test_refusals_all_day_do_not_list_the_fields_all_day(known: Pair, looks: list[str]) -> None:
    known.right.people = {}
    known.publish(rules=[*known.mapping.published.document["rules"], rule("owner", "owner", "person")])
    ids, _ = linked(known)
    looks.clear()
    for number in range(5):
        known.left.edit(ids["left"], owner=f"nobody{number}@example.com")
        known.run()
    assert looks == ["Right"]


def test_idle_runs_look_rarely_and_two_mappings_share_one_look(known: Pair, looks: list[str]) -> None:
    other = build_pair("Other", known.left, known.right)
    other.approve()
    SchemaLook.objects.all().delete()
    looks.clear()
    for _ in range(3):
        known.run()
        other.run()
    assert looks == ["Left", "Right"]
    known.left.hidden = {"body"}
    much_later(known)
    known.run()
    other.run()
    assert looks == ["Left", "Right"] * 2
    assert {one.mapping.name for one in Conflict.objects.filter(kind="schema", state="open")} == {"Pair", "Other"}


def test_a_list_that_is_not_answered_changes_nothing(known: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, _ = linked(known)
    known.left.hidden = {"body"}
    much_later(known)
    known.run()
    assert entry(known).code == "field_hidden"

    def unanswered(*where: Any) -> Any:
        raise Retry("no answer")

    monkeypatch.setattr(MemoryConnector, "described", unanswered)
    much_later(known)
    known.right.edit(ids["right"], status="done")
    assert known.run().state == "done"
    assert known.left.value(ids["left"], "status") == "done" and entry(known).code == "field_hidden"
    monkeypatch.setattr(MemoryConnector, "described", lambda *where: [])
    much_later(known)
    known.run()
    assert len(known.open_conflicts()) == 1, "no field at all is no answer"
    soon = timezone.now() + timedelta(seconds=schema_watch.LOOK_AGAIN_SECONDS + 5)
    assert all(look.due_at < soon for look in SchemaLook.objects.all()), "asked again soon"


def test_an_edit_in_a_field_that_is_hidden_for_a_moment_crosses_once_it_shows(known: Pair) -> None:
    ids, _ = linked(known)
    known.run()
    SchemaLook.objects.update(looked_at=timezone.now())
    known.left.hidden = {"body"}
    known.left.edit(ids["left"], body="meanwhile")
    known.run()
    assert known.right.value(ids["right"], "body") != "meanwhile"
    known.left.hidden = set()
    live(known, rounds=1)
    assert known.right.value(ids["right"], "body") == "meanwhile", "no bell and no list tells of it again"


def test_a_worker_that_lost_its_lease_opens_no_entry(known: Pair) -> None:
    linked(known)
    known.left.hidden = {"body"}
    much_later(known)

    def lose(*call: Any) -> None:
        MappingState.objects.update(fence=F("fence") + 1)

    known.left.after = known.right.after = lose
    assert known.run().state == "lost"
    assert not known.open_conflicts() and not SchemaFinding.objects.exists()


def test_after_a_crash_before_the_entry_is_closed_the_pairs_are_marked_again(
    known: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, _ = linked(known)
    known.left.hidden = {"body"}
    known.right.edit(ids["right"], body="meanwhile")
    known.quiet()
    known.left.hidden = set()
    much_later(known)

    def killed(*told: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(schema_entries, "tell", killed)
        known.run()
    assert len(known.open_conflicts()) == 1
    ChangedRecord.objects.all().delete()
    known.quiet()
    assert known.left.value(ids["left"], "body") == "meanwhile" and not known.open_conflicts()


def test_a_twin_is_not_deleted_over_an_edit_of_a_field_that_stands_still(known: Pair) -> None:
    known.publish(left={**known.mapping.published.document["left"], "on_delete": "delete"})
    ids, _ = linked(known)
    known.left.hidden = {"body"}
    known.right.edit(ids["right"], body="nobody else has this")
    known.quiet()
    known.left.remove(ids["left"])
    known.quiet()
    assert ids["right"] in known.right.alive()
    assert {one.kind for one in known.open_conflicts()} == {"schema", "delete_update"}


def test_an_answer_about_a_field_that_stands_still_is_not_applied_and_stays_asked(known: Pair) -> None:
    ids, link = linked(known)
    known.left.edit(ids["left"], body="left")
    known.right.edit(ids["right"], body="right")
    known.quiet()
    (one,) = known.open_conflicts()
    known.right.change("body", writable=False)
    much_later(known)
    known.run()
    asked = instructions.resolve(one, {"take": "left", "seen": {"left": "left", "right": "right"}}, None)
    known.quiet()
    asked.refresh_from_db()
    one.refresh_from_db()
    assert (asked.state, asked.outcome["why"], one.state) == ("refused", "stands_still", "open")
    assert known.right.value(ids["right"], "body") == "right"
    known.right.change("body", writable=True)
    much_later(known)
    known.quiet()
    assert [c.kind for c in known.open_conflicts()] == ["field"]


def test_newest_judges_by_the_time_of_the_edit_and_not_by_when_the_rule_went_on(known: Pair) -> None:
    ids, _ = linked(known)
    known.right.hidden = {"amount"}
    known.left.edit(ids["left"], amount=10)
    known.quiet()
    link = Link.objects.get()
    edited = link.pending_edits
    assert edited["left"]["amount"]["value"] == 10 and edited["right"]["amount"].keys() == {"unread_since"}
    known.left.edit(ids["left"], status="done")
    known.quiet()
    link.refresh_from_db()
    assert link.pending_edits == edited, "an edit that waits keeps the time of the first read that showed it"


def test_a_settled_mark_never_hides_an_edit_that_waits(known: Pair) -> None:
    for one in (known.left, known.right):
        one.capabilities = replace(one.capabilities, exact_version=True)
    ids, _ = linked(known)
    known.left.hidden = {"body"}
    known.right.edit(ids["right"], body="waits")
    known.quiet()
    assert Link.objects.get().right_settled == ""


def test_a_dry_run_leaves_alone_what_stands_still(known: Pair) -> None:
    ids, _ = linked(known)
    known.right.change("body", writable=False)
    much_later(known)
    known.run()
    known.left.edit(ids["left"], body="waits", status="done")
    told = dry_run(known.mapping)
    assert [sample["fields"] for sample in told["samples"]] == [{"status": {"from": "open", "to": "done"}}]


def test_many_pairs_are_marked_again_in_few_statements(known: Pair) -> None:
    taken = []
    for number in (5, 40):
        have = len(known.left.records)
        for n in range(number):
            known.left.add(title=f"T{have + n}", ref=f"N{have + n}", body="b")
            known.right.add(title=f"T{have + n}", ref=f"N{have + n}", body="b")
        known.quiet(rounds=20)
        known.left.hidden = {"body"}
        much_later(known)
        known.quiet(rounds=20)
        known.left.hidden = set()
        much_later(known)
        lease = take(known.mapping.pk)
        assert lease is not None
        known.mapping.refresh_from_db()
        session = open_session(known.mapping, lease, "manual", "live")
        with CaptureQueriesContext(connection) as queries:
            assert schema_watch.idle(session)
        taken.append(len(queries))
        lease.release()
        known.quiet(rounds=20)
    assert taken[1] == taken[0]


def test_an_idle_run_asks_the_database_no_more_for_many_findings_than_for_none(known: Pair) -> None:
    linked(known)
    known.run()
    numbers = []
    for hidden in (set(), {"body", "amount", "labels", "status"}):
        known.left.hidden = hidden
        much_later(known)
        known.run()
        known.quiet()
        with CaptureQueriesContext(connection) as queries:
            known.run()
        numbers.append(len(queries))
    assert numbers[1] == numbers[0]
