"""The stories that people tell of two-way tools, each from the first edit to the quiet after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import Field
from connections.connectors.memory import US, World
from sync import instructions
from sync.models import AuditEntry, Conflict, Link
from sync.tests.conftest import Pair, build_pair, rule

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("by_hand")]


def world(name: str, *paths: str, **kinds: str) -> World:
    """A system whose records have these text fields, and others of the given kinds."""
    texts = [Field(path, path.title(), "text", matchable=True) for path in ("title", "ref", *paths)]
    return World(name, [*texts, *(Field(path, path.title(), kind) for path, kind in kinds.items())])


def kept(left: World, right: World, rules: Sequence[dict[str, Any]], scope: dict[str, Any] | None = None) -> Pair:
    """An approved mapping between two systems. `scope`: the left's."""
    made = build_pair(f"{left.name} {right.name}", left, right, [rule("title", "title"), *rules])
    made.publish(left={**made.mapping.published.document["left"], "scope": scope or {}})
    made.approve()
    return made


def ours(*worlds: World) -> list[tuple[str, Any]]:
    """What we wrote, as the systems' own logs tell: (field, value)."""
    lines = sorted((line for one in worlds for line in one.log if line.by == US), key=lambda line: line.at)
    return [(line.field, line.after) for line in lines]


def test_the_phone_from_the_crm_and_the_address_from_the_erp_both_survive() -> None:
    crm, erp = world("CRM", "phone", "address"), world("ERP", "phone", "address")
    pair = kept(crm, erp, [rule("phone", "phone"), rule("address", "address")])
    known = {"phone": "030 1", "address": "Old Street 1"}
    customer, debtor, _ = pair.linked(**known)
    crm.edit(customer, by="sales", phone="030 2")
    erp.edit(debtor, by="accounting", address="New Road 7")
    pair.quiet()
    assert pair.both(customer, debtor, "phone") == ("030 2", "030 2")
    assert pair.both(customer, debtor, "address") == ("New Road 7", "New Road 7")
    assert not pair.open_conflicts()
    assert sorted(ours(crm, erp)) == [("address", "New Road 7"), ("phone", "030 2")], "each edit crossed once"


def test_active_here_and_on_hold_there_is_one_question_and_no_war(admin_user: object) -> None:
    crm, erp = world("CRM", "state"), world("ERP", "state")
    pair = kept(crm, erp, [rule("state", "state")])
    customer, debtor, _ = pair.linked(state="New")
    crm.edit(customer, by="sales", state="Active")
    erp.edit(debtor, by="accounting", state="On Hold")
    for _ in range(5):
        pair.ring("left", customer)
        pair.ring("right", debtor)
        pair.quiet()
    assert Conflict.objects.count() == 1, "one question, asked once"
    (question,) = pair.open_conflicts()
    assert (question.left_value, question.right_value) == ("Active", "On Hold")
    assert pair.both(customer, debtor, "state") == ("Active", "On Hold") and ours(crm, erp) == []
    seen = {"left": "Active", "right": "On Hold"}
    instructions.resolve(question, {"take": "right", "seen": seen}, admin_user)
    pair.quiet()
    assert pair.both(customer, debtor, "state") == ("On Hold", "On Hold")
    assert ours(crm, erp) == [("state", "On Hold")] and not pair.open_conflicts()


def test_two_automations_that_fight_over_active_and_on_hold_are_stopped_and_asked_about() -> None:
    crm, erp = world("CRM", "state"), world("ERP", "state")
    pair = kept(crm, erp, [rule("state", "state")])
    customer, debtor, _ = pair.linked(state="Active")
    crm.on_write = lambda external_id, values, by: {**values, "state": "Active"}
    erp.on_write = lambda external_id, values, by: {**values, "state": "On Hold"}
    erp.edit(debtor, by="accounting")
    pair.quiet(rounds=30)
    (question,) = pair.open_conflicts()
    assert question.kind == Conflict.Kind.OSCILLATION
    written = pair.writes()
    assert written < 20
    pair.ring("left", customer)
    pair.ring("right", debtor)
    pair.quiet()
    assert pair.writes() == written, "until a person has answered nothing more is written"


PRIORITIES = [
    {"left": "Urgent", "right": "Highest"},
    {"left": "High", "right": "High"},
    {"left": "Low", "right": "Low"},
]


def test_an_escalated_case_reaches_jira_and_its_priority_comes_back_to_all_three() -> None:
    """CRM ↔ service desk ↔ Jira: only escalated cases are developers' business."""
    crm, desk = world("CRM", "priority"), world("Desk", "priority", "escalated")
    jira = world("Jira", "priority")
    support = kept(crm, desk, [rule("priority", "priority", "option")])
    mapped = rule("priority", "priority", "option", transform="value_map", entries=PRIORITIES)
    development = kept(desk, jira, [mapped], {"escalated": "yes"})

    def quiet() -> None:
        for _ in range(3):
            support.quiet()
            development.quiet()

    ticket = crm.add(title="Export fails", ref="R1", priority="High")
    quiet()
    (case,) = desk.alive()
    assert jira.alive() == {}, "not escalated"
    desk.edit(case, by="agent", escalated="yes")
    quiet()
    (issue,) = jira.alive()
    assert (jira.value(issue, "title"), jira.value(issue, "priority")) == ("Export fails", "High")
    jira.edit(issue, by="developer", priority="Highest")
    quiet()
    assert desk.value(case, "priority") == crm.value(ticket, "priority") == "Urgent"
    assert len(crm.alive()) == len(desk.alive()) == len(jira.alive()) == 1
    assert ours(desk, crm)[-2:] == [("priority", "Urgent")] * 2, "once in each system"
    assert not Conflict.objects.exists()


def test_the_stock_belongs_to_the_erp_and_the_customer_to_the_crm() -> None:
    """Each side owns its field: the other side's edits of it are taken back, and nobody is asked."""
    crm, erp = world("CRM", "customer", stock="number"), world("ERP", "customer", stock="number")
    owned = [
        rule("stock", "stock", "number", direction="to_left", one_way_target="enforce"),
        rule("customer", "customer", direction="to_right", one_way_target="enforce"),
    ]
    pair = kept(crm, erp, owned)
    order, item, _ = pair.linked(stock=5, customer="Ada")
    erp.edit(item, by="warehouse", stock=4)
    crm.edit(order, by="sales", customer="Ada Lovelace")
    pair.quiet()
    assert pair.both(order, item, "stock") == (4, 4)
    assert pair.both(order, item, "customer") == ("Ada Lovelace", "Ada Lovelace")
    crm.edit(order, by="sales", stock=400)
    erp.edit(item, by="warehouse", customer="A. Lovelace")
    pair.quiet()
    assert pair.both(order, item, "stock") == (4, 4)
    assert pair.both(order, item, "customer") == ("Ada Lovelace", "Ada Lovelace")
    assert not Conflict.objects.exists()
    told = AuditEntry.objects.filter(action="write", code="one_way_enforced").order_by("pk")
    assert {line.values["before"] for line in told} == {400, "A. Lovelace"}, (
        "what was taken back can be read and restored"
    )


def test_bugs_labelled_todev_enter_the_scope_and_leave_it() -> None:
    desk, jira = world("Desk", "body", labels="set"), world("Jira", "body")
    pair = kept(desk, jira, [rule("body", "body")], {"labels": "todev"})
    bug = desk.add(title="Crash", ref="R1", body="It crashes.", labels=["bug"])
    question = desk.add(title="How do I …?", ref="R2", labels=["question"])
    pair.quiet()
    assert jira.alive() == {}
    desk.edit(bug, labels=["bug", "todev"])
    pair.quiet()
    (issue,) = jira.alive()
    assert jira.value(issue, "body") == "It crashes."
    jira.edit(issue, by="developer", body="It crashes on start.")
    pair.quiet()
    assert desk.value(bug, "body") == "It crashes on start."
    desk.edit(bug, labels=["bug"])
    desk.edit(bug, body="Never mind.")
    jira.edit(issue, by="developer", title="Crash on start")
    pair.quiet()
    assert jira.value(issue, "body") == "It crashes on start.", "out of scope time stands still"
    assert desk.value(bug, "title") == "Crash" and issue in jira.alive() and bug in desk.alive()
    assert Link.objects.get().out_of_scope == "left"
    desk.edit(bug, labels=["bug", "todev"])
    pair.quiet()
    assert pair.both(bug, issue, "body") == ("Never mind.", "Never mind."), "what was edited meanwhile is not lost"
    assert pair.both(bug, issue, "title") == ("Crash on start", "Crash on start")
    assert desk.value(question, "labels") == ["question"] and len(jira.alive()) == 1


def test_both_edit_the_same_field_of_one_record(admin_user: object) -> None:
    desk, jira = world("Desk", "body"), world("Jira", "body")
    pair = kept(desk, jira, [rule("body", "body")])
    case, issue, _ = pair.linked(body="It crashes.")
    desk.edit(case, by="agent", body="It crashes on Mondays.")
    jira.edit(issue, by="developer", body="It crashes on start.")
    pair.quiet()
    (question,) = pair.open_conflicts()
    told = (question.left_base, question.left_value, question.left_by, question.right_value, question.right_by)
    assert told == ("It crashes.", "It crashes on Mondays.", "Agent", "It crashes on start.", "Developer")
    assert ours(desk, jira) == []
    typed = {"take": "value", "in": "left", "value": "It crashes on start, on Mondays."}
    seen = {"left": question.left_value, "right": question.right_value}
    instructions.resolve(question, {**typed, "seen": seen}, admin_user)
    pair.quiet()
    assert pair.both(case, issue, "body") == ("It crashes on start, on Mondays.",) * 2
    assert len(ours(desk, jira)) == 2, "one write to each side"


def test_both_edit_different_fields_of_one_record() -> None:
    desk, jira = world("Desk", "body"), world("Jira", "body")
    pair = kept(desk, jira, [rule("body", "body")])
    case, issue, link = pair.linked(body="It crashes.")
    started = timezone.now()
    desk.edit(case, by="agent", title="Crash at the customer's")
    jira.edit(issue, by="developer", body="It crashes on start.")
    pair.quiet()
    for path, value in (("title", "Crash at the customer's"), ("body", "It crashes on start.")):
        assert pair.both(case, issue, path) == (value, value)
    assert not Conflict.objects.exists() and len(ours(desk, jira)) == 2
    lines = AuditEntry.objects.filter(link_id=link.pk, action="write", at__gte=started)
    assert sorted(line.field_label for line in lines) == ["Body", "Title"]
