"""Fields that GitHub leaves out of a write unsaid, since our account may not set them: nothing is lost, a person is
asked, and what was written beside them stays told."""

from __future__ import annotations

from typing import Any

import pytest

from connections.connectors import github_writes as writes
from connections.tests.github_world import REPOSITORY
from sync.models import AuditEntry, Link
from sync.tests import test_engine_github as issues
from sync.tests.test_engine_github import RULES, Between, pairing

pytestmark = pytest.mark.django_db(transaction=True)

between = issues.between
LABELS = pairing("labels", "labels", "labels", left={"kind": "set"}, kind="set", policy="merge_sets")


@pytest.fixture
def labelled(between: Between) -> Between:
    """Labels go both ways too, and without push access GitHub takes none."""
    between.pair.publish(rules=[*RULES, LABELS])
    between.w.app.may_push = False
    return between


def test_labels_that_a_new_issue_was_not_given_stay_with_the_record_they_came_from_and_are_asked_about(labelled):
    thing = labelled.memory.add(title="Screen dark", labels=["urgent", "vip"])
    labelled.quiet()
    issue = labelled.w.stored(Link.objects.get(right_id=thing).left_id)
    assert (issue["title"], issue["labels"]) == ("Screen dark", [])
    assert labelled.memory.value(thing, "labels") == ["urgent", "vip"]
    [question] = labelled.pair.open_conflicts()
    assert (question.kind, question.rule_id) == ("refused", "labels")
    assert "left it as it was" in question.params["message"]
    labelled.quiet()
    assert len(labelled.pair.open_conflicts()) == 1
    labelled.w.app.may_push = True
    labelled.memory.edit(thing, labels=["urgent", "vip", "new"])
    labelled.quiet()
    assert labelled.w.stored(str(issue["number"]))["labels"] == ["new", "urgent", "vip"]
    assert not labelled.pair.open_conflicts()


def test_a_text_that_arrived_beside_labels_that_did_not_is_logged_with_the_edit_it_replaced(labelled, monkeypatch):
    thing = labelled.memory.add(title="Screen dark", body="one")
    labelled.quiet()
    issue = Link.objects.get(right_id=thing).left_id
    real = writes._now

    def now(site: Any, repository: str, number: int) -> Any:
        monkeypatch.setattr(writes, "_now", real)
        labelled.w.records.edit(REPOSITORY, number, "ana-ruiz", {"body": "Ana's own"})
        return real(site, repository, number)

    monkeypatch.setattr(writes, "_now", now)  # right before the look that precedes the write
    labelled.memory.edit(thing, body="two", labels=["urgent"])
    labelled.quiet()
    assert labelled.w.stored(issue)["body"] == labelled.memory.value(thing, "body") == "two"
    assert labelled.memory.value(thing, "labels") == ["urgent"]
    questions = {one.kind: one for one in labelled.pair.open_conflicts()}
    assert {kind: one.rule_id for kind, one in questions.items()} == {"clobber": "body", "refused": "labels"}
    assert questions["clobber"].params["overwritten"] == "Ana's own"
    written = [one.values["after"] for one in AuditEntry.objects.filter(action="write", field_label="body")]
    assert written.count("two") == 1


def test_a_record_whose_issue_would_lie_outside_the_filter_is_asked_about_and_made_once_we_have_the_role(labelled):
    """Made without the filter's label it would leave the mapping at once, and no edit would flow any more."""
    left = {**labelled.pair.mapping.published.document["left"], "scope": {"labels": "synced"}}
    labelled.pair.publish(left=left)
    thing = labelled.memory.add(title="Screen dark")
    labelled.quiet()
    assert labelled.w.records.all("issue") == []
    [question] = labelled.pair.open_conflicts()
    assert (question.kind, question.code) == ("refused", "create_refused")
    labelled.w.app.may_push = True
    labelled.memory.edit(thing, title="Screen still dark")
    labelled.quiet()
    issue = labelled.w.stored(Link.objects.get(right_id=thing).left_id)
    assert (issue["title"], issue["labels"]) == ("Screen still dark", ["synced"])
    assert not labelled.pair.open_conflicts()
