"""The oracle of chaos runs finds what must not be, and lets pass what may be."""

from __future__ import annotations

from typing import Any

import pytest

from syncadmin.chaos.logs import Accepted, Told, said
from syncadmin.chaos.oracle import Evidence, judge

US, ANA = "syncadmin@example.com", "ana@example.com"
ISSUE, CASE = "10001", "500A"
FIRST, OTHER_VALUE, THIRD = "title-l-1001", "title-r-1002", "title-l-1003"


class Logs:
    """Both systems' logs and ours, filled by what the tests tell; each thing happens a second after the last."""

    def __init__(self) -> None:
        self.accepted: dict[str, list[Accepted]] = {"left": [], "right": []}
        self.audit: list[Told] = []
        self.asked: list[dict[str, Any]] = []
        self.now = 0.0
        self.write("left", ANA, None, "Old", "create")
        self.field("left", ISSUE, "key", None, "SUP-1")
        self.field("left", ISSUE, "customfield_10054", None, "00001001")
        self.write("right", ANA, None, "Old", "create")
        self.field("right", CASE, "CaseNumber", None, "00001001")
        self.field("right", CASE, "Jira_Key__c", None, "SUP-1")
        self.since = {side: len(lines) for side, lines in self.accepted.items()}

    def field(
        self, side: str, record: str, path: str, before: Any, after: Any, by: str = US, verb: str = "update"
    ) -> None:
        self.now += 1
        lines = self.accepted[side]
        number = len(lines) + 1
        lines.append(Accepted(side, number, self.now, by, record, verb, path, said(before), said(after)))

    def write(self, side: str, by: str, before: str | None, after: str, verb: str = "update") -> None:
        record, path = (ISSUE, "summary") if side == "left" else (CASE, "Subject")
        self.field(side, record, path, before, after, by, verb)

    def told(
        self,
        side: str,
        code: str,
        before: Any,
        after: Any,
        action: str = "write",
        by_person: bool = False,
        why: str = "",
    ) -> None:
        label = "Subject" if side == "right" else "Summary"
        number = len(self.audit) + 1
        self.audit.append(
            Told(number, action, code, 1, 1, "SUP-1 = 00001001", label, side, before, after, {"why": why}, by_person)
        )

    def ours(self, side: str, before: str, after: str, code: str = "edited", known: str | None = None) -> None:
        """A write of ours and its audit line; `known`: what we believed to replace."""
        self.write(side, US, before, after)
        self.told(side, code, before if known is None else known, after)

    def ask(self, left: str, right: str, reason: str = "", overwritten: str | None = None) -> None:
        record = {"label": "SUP-1 = 00001001", "left_id": ISSUE, "right_id": CASE, "left_key": "", "right_key": ""}
        values = {"left": {"value": left}, "right": {"value": right}}
        self.asked.append({"record": record, "rule": "r1", "field": "Summary", "reason": reason, **values})
        self.asked[-1]["overwritten"] = overwritten

    def kinds(self) -> list[str]:
        return [one.kind for one in judge(self.evidence())]

    def evidence(self) -> Evidence:
        left, right = self.accepted["left"], self.accepted["right"]
        return Evidence(left, right, self.audit, self.asked, US, self.since)


@pytest.fixture
def logs() -> Logs:
    return Logs()


def test_an_edit_that_crossed_is_kept(logs: Logs) -> None:
    logs.write("left", ANA, "Old", FIRST)
    assert logs.kinds() == ["lost"], "it is on the left alone"
    logs.ours("right", "Old", FIRST)
    assert logs.kinds() == []


def test_what_a_person_wrote_over_is_kept_by_its_successor(logs: Logs) -> None:
    logs.write("left", ANA, "Old", FIRST)
    logs.ours("right", "Old", FIRST)
    logs.write("right", ANA, FIRST, OTHER_VALUE)
    logs.ours("left", FIRST, OTHER_VALUE)
    logs.write("left", ANA, OTHER_VALUE, THIRD)
    logs.ours("right", OTHER_VALUE, THIRD)
    assert logs.kinds() == []


def test_what_we_overwrote_unseen_is_lost_and_the_finding_shows_both_logs(logs: Logs) -> None:
    logs.write("right", ANA, "Old", OTHER_VALUE)
    logs.write("left", ANA, "Old", FIRST)
    logs.ours("right", OTHER_VALUE, FIRST, known="Old")
    (finding,) = judge(logs.evidence())
    assert finding.kind == "lost"
    assert OTHER_VALUE in finding.what
    assert "between our read and our write" in finding.what
    assert any("audit" in line for line in finding.evidence)
    assert any(ANA in line and OTHER_VALUE in line for line in finding.evidence)


def test_what_we_overwrote_knowingly_without_a_policy_is_lost(logs: Logs) -> None:
    logs.write("right", ANA, "Old", OTHER_VALUE)
    logs.write("left", ANA, "Old", FIRST)
    logs.ours("right", OTHER_VALUE, FIRST)
    assert logs.kinds() == ["lost"]


@pytest.mark.parametrize("code", ["policy_left", "policy_newest", "resolved"])
def test_what_a_policy_or_a_person_decided_against_is_kept_where_the_log_says_so(logs: Logs, code: str) -> None:
    logs.write("right", ANA, "Old", OTHER_VALUE)
    logs.write("left", ANA, "Old", FIRST)
    logs.ours("right", OTHER_VALUE, FIRST, code)
    assert logs.kinds() == []


@pytest.mark.parametrize(("why", "found"), [("resolved", []), ("policy_left", []), ("edited", ["lost"])])
@pytest.mark.parametrize(("action", "code"), [("conflict", "maybe_written"), ("unclear", "gone_unanswered")])
def test_a_decision_whose_write_was_not_answered_counts_as_one(
    logs: Logs, action: str, code: str, why: str, found: list[str]
) -> None:
    logs.write("right", ANA, "Old", OTHER_VALUE)
    logs.write("left", ANA, "Old", FIRST)
    logs.write("right", US, OTHER_VALUE, FIRST)
    logs.told("right", code, OTHER_VALUE, FIRST, action, why=why)
    logs.write("right", ANA, FIRST, THIRD)
    logs.ours("left", FIRST, THIRD)
    assert logs.kinds() == found


def test_a_decision_against_another_value_than_the_one_that_was_there_loses_it(logs: Logs) -> None:
    logs.write("right", ANA, "Old", OTHER_VALUE)
    logs.write("left", ANA, "Old", FIRST)
    logs.ours("right", OTHER_VALUE, FIRST, "policy_left", known="Old")
    assert logs.kinds() == ["lost"]


def test_a_question_keeps_the_values_it_holds_and_no_other(logs: Logs) -> None:
    logs.write("right", ANA, "Old", OTHER_VALUE)
    logs.write("left", ANA, "Old", FIRST)
    logs.ask(FIRST, OTHER_VALUE)
    assert logs.kinds() == []
    logs.asked.clear()
    logs.ask("Old", OTHER_VALUE)
    assert logs.kinds() == ["lost"]
    logs.asked.clear()
    logs.ask("Old", OTHER_VALUE, f"We may have written “{FIRST}”.")
    assert logs.kinds() == []


def test_what_we_overwrote_unseen_is_kept_by_the_question_about_it(logs: Logs) -> None:
    logs.write("right", ANA, "Old", OTHER_VALUE)
    logs.write("left", ANA, "Old", FIRST)
    logs.ours("right", OTHER_VALUE, FIRST, known="Old")
    logs.told("right", "overwrote_an_edit", OTHER_VALUE, FIRST, "conflict")
    assert logs.kinds() == ["lost"], "a question that closed by itself keeps nothing"
    logs.ask(FIRST, FIRST, overwritten=OTHER_VALUE)
    assert logs.kinds() == []
    logs.asked.clear()
    logs.told("", "resolved", None, None, "resolve", by_person=True)
    assert logs.kinds() == []


def test_a_typed_answer_reaches_both_sides(logs: Logs) -> None:
    logs.write("right", ANA, "Old", OTHER_VALUE)
    logs.write("left", ANA, "Old", FIRST)
    logs.ours("left", FIRST, "typed-x-1", "resolved")
    assert "lost" in logs.kinds()
    logs.ours("right", OTHER_VALUE, "typed-x-1")
    assert logs.kinds() == []


def test_values_that_somebody_let_differ_are_kept(logs: Logs) -> None:
    logs.write("right", ANA, "Old", OTHER_VALUE)
    logs.write("left", ANA, "Old", FIRST)
    logs.told("", "agreed_to_differ", None, {"left": FIRST, "right": OTHER_VALUE}, "agree")
    assert logs.kinds() == []


def test_a_later_edit_of_either_side_follows_values_that_somebody_let_differ(logs: Logs) -> None:
    logs.write("right", ANA, "Old", OTHER_VALUE)
    logs.write("left", ANA, "Old", FIRST)
    logs.told("", "agreed_to_differ", None, {"left": FIRST, "right": OTHER_VALUE}, "agree")
    logs.write("right", ANA, OTHER_VALUE, THIRD)
    logs.ours("left", FIRST, THIRD)
    assert logs.kinds() == []


def test_a_value_nobody_wrote_is_invented(logs: Logs) -> None:
    logs.ours("left", "Old", "title-l-9999")
    assert "invented" in logs.kinds()


def test_an_old_value_that_we_bring_back_is_a_flip_flop(logs: Logs) -> None:
    logs.write("left", ANA, "Old", FIRST)
    logs.ours("right", "Old", FIRST)
    logs.ours("left", FIRST, "Old")
    logs.ours("left", "Old", FIRST)
    assert set(logs.kinds()) == {"flip-flopped"}


def test_an_old_value_that_a_person_writes_again_may_come_back(logs: Logs) -> None:
    logs.write("left", ANA, "Old", FIRST)
    logs.ours("right", "Old", FIRST)
    logs.write("left", ANA, FIRST, "Old")
    logs.ours("right", FIRST, "Old")
    assert logs.kinds() == []


def test_two_cases_of_one_issue_are_a_duplicate(logs: Logs) -> None:
    logs.field("right", "500B", "Subject", None, "Old", US, "create")
    logs.field("right", "500B", "Jira_Key__c", None, "SUP-1")
    assert logs.kinds() == ["duplicated"]


def test_a_twin_that_comes_back_after_its_deletion_is_resurrected(logs: Logs) -> None:
    logs.field("right", CASE, "", None, None, ANA, "delete")
    assert logs.kinds() == []
    logs.field("right", "500B", "Subject", None, "Old", US, "create")
    logs.field("right", "500B", "Jira_Key__c", None, "SUP-1")
    (finding,) = judge(logs.evidence())
    assert finding.kind == "resurrected"
    assert [line.split()[4] for line in finding.evidence if line.startswith("right")] == ["create", "delete", "create"]


def test_a_deletion_of_ours_is_a_loss(logs: Logs) -> None:
    logs.field("right", CASE, "", None, None, US, "delete")
    assert logs.kinds() == ["lost"]


def test_a_new_record_must_arrive_or_be_asked_about(logs: Logs) -> None:
    logs.field("left", "10002", "summary", None, "title-l-1500", ANA, "create")
    logs.field("left", "10002", "key", None, "SUP-2", ANA, "create")
    assert logs.kinds() == ["lost"]
    logs.field("right", "500B", "Subject", None, "title-l-1500", US, "create")
    logs.field("right", "500B", "CaseNumber", None, "00001002", US, "create")
    logs.field("right", "500B", "Jira_Key__c", None, "SUP-2", US, "create")
    assert logs.kinds() == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (1000.0, "1000"),
        (1000, "1000"),
        ("2031-02-03", "2031-02-03"),
        ("text-l-1001: what the customer said.", "text-l-1001"),
        ({"type": "doc", "content": [{"text": "text-l-1001: what the customer said."}]}, "text-l-1001"),
    ],
)
def test_a_value_says_the_same_in_every_form(value: Any, text: str) -> None:
    assert said(value) == text
