"""Whether an edit that our write replaces is noticed: what the pages say, by what a system can do."""

from __future__ import annotations

import pytest

from connections.connectors import all_connectors, connector_class
from connections.connectors.base import Capabilities, Change
from connections.models import Connection
from connections.overwrites import ASKED, BLIND, LEFT_OUT, REPLACED, detection, detection_in, over_others
from connections.tests.rest_documents import Habits, things_document
from connections.views.kinds import kind_of
from connections.views.overview import behaviour

HISTORY = {"field_history": True, "complete_history": True}


@pytest.mark.parametrize(
    ("able", "what", "meaning"),
    [
        ({}, BLIND, REPLACED),
        ({"conditional_write": True}, "refuses our write", "Nothing is overwritten"),
        ({"conditional_write": True, **HISTORY}, "after our read.", "Nothing is overwritten"),
        ({"conditional_write": True, "conditional_resolution": 1.0}, "one less than 1 s away cannot be", REPLACED),
        (
            {"conditional_write": True, "conditional_resolution": 0.5, **HISTORY},
            "history tells of one less than 0.5 s away.",
            ASKED,
        ),
        (
            {"conditional_write": True, "conditional_resolution": 1.0, "field_history": True},
            "less than 1 s away, in the fields it covers.",
            f"{ASKED} {LEFT_OUT}",
        ),
        (HISTORY, "history tells of an edit that our write replaced.", ASKED),
        ({"field_history": True}, "our write replaced, in the fields it covers.", f"{ASKED} {LEFT_OUT}"),
    ],
)
def test_each_way_to_notice_is_told(able: dict[str, object], what: str, meaning: str) -> None:
    told = detection(Capabilities(**able))  # type: ignore[arg-type]
    assert what in told.what and told.meaning.startswith(meaning)
    assert ("Overwrite check", f"{told.what} {told.meaning}") in behaviour(Capabilities(**able), {})  # type: ignore[arg-type]


def test_where_there_is_neither_condition_nor_history_each_system_says_so() -> None:
    """The engine learns of an overwritten edit from `WriteResult.replaced` alone, and histories are what fills it."""
    blind = {one.kind for one in all_connectors() if detection(one.capabilities).what == BLIND}
    assert blind == {"asana", "freshdesk", "freshservice", "hubspot_contacts", "rest"}
    assert detection(connector_class("jira").capabilities).meaning == ASKED
    assert detection(connector_class("postgresql").capabilities).meaning.startswith("Nothing is overwritten")


@pytest.mark.parametrize(
    ("kind", "sees", "blind", "said"),
    [
        ("jira", ["issue"], ["comment"], "In comments such an edit cannot be detected here."),
        ("zendesk", ["ticket"], ["user", "organization"], "In users and organizations such an edit cannot be"),
    ],
)
def test_an_object_type_of_which_nobody_tells_is_told_apart(
    kind: str, sees: list[str], blind: list[str], said: str
) -> None:
    connector = connector_class(kind)

    def told(object_type: str) -> str:
        return detection_in(connector.capabilities, connector.blind_in, object_type).what

    assert {told(one) for one in sees} == {detection(connector.capabilities).what}
    assert {told(one) for one in blind} == {BLIND}
    assert said in dict(behaviour(connector.capabilities, connector.blind_in))["Overwrite check"]


def test_a_described_api_is_judged_as_it_is_described() -> None:
    def of(**habits: str) -> str:
        settings = {"definition": things_document(Habits(**habits))}  # type: ignore[arg-type]
        kind = kind_of(Connection(kind="rest", settings=settings))
        assert kind is not None
        return detection(kind.capabilities).what

    assert of(condition="none") == BLIND
    assert of().startswith("The system refuses our write")


def test_an_edit_under_two_writes_of_ours_is_told_and_not_the_first_of_ours() -> None:
    """The first of ours woke up late."""
    log = [
        Change("body", "1", "ana", None, "agreed", "Ana's"),
        Change("body", "2", "us", None, "Ana's", "ours, late"),
        Change("body", "3", "us", None, "ours, late", "ours"),
    ]
    over = over_others(log, "body", "us")
    assert over is not None and over.before == "Ana's"
    assert over_others(log[1:], "body", "us") is None and over_others(log[:1], "body", "us") is None
