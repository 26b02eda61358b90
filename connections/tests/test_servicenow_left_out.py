"""What ServiceNow leaves out of a write, or makes of it, with status 200: each case, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from connections.connectors.base import Creation, Refused, Update, WriteResult
from connections.sandbox.servicenow_schema import Column
from connections.tests.evidence import EVIDENCE
from connections.tests.servicenow_world import World, check_all_requests, world

FIELDS = ["short_description", "description", "state", "priority", "category", "assigned_to", "u_effort", "knowledge"]
TITLE = {"short_description": "New title"}


@pytest.fixture
def w():
    with world() as found:
        yield found
        if (EVIDENCE / "specs").is_dir():
            check_all_requests(found)


def fixed(w: World, *columns: str) -> None:
    """Columns our account may read and not write."""
    w.app.fixed_columns |= {("incident", column) for column in columns}


def on_saving(w: World, column: str, becomes: Any) -> None:
    """A business rule of the instance. becomes: (text as it was, text as it will be) -> the text that is saved."""

    def rule(table: str, before: dict[str, str] | None, after: dict[str, str]) -> None:
        if table == "incident":
            after[column] = becomes((before or {}).get(column, ""), after[column])

    w.records.before_rules.append(rule)


def written(w: World, incident: str, values: dict[str, Any]) -> WriteResult:
    """Read, then written, as the engine does."""
    w.connector.get_many("incident", [incident], FIELDS)
    return w.connector.update("incident", incident, values, None, FIELDS)


# Updates -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "stored", "sent", "was"),
    [
        ("description", "one", "two", "one"),
        ("description", "", "two", None),
        ("description", "one", None, "one"),
        ("state", "1", "In Progress", "New"),
        ("assigned_to", "", "jane.doe@acme.example", None),
        ("u_effort", "2.50", 3, 2.5),
        ("knowledge", "true", False, True),
    ],
)
def test_a_field_left_out_beside_others_is_on_the_way_and_refused_once_it_goes_alone(w, path, stored, sent, was):
    """What else was sent has arrived, and what it replaced is told: a refusal of the whole would keep that quiet."""
    incident = w.incident(**{path: stored})
    fixed(w, path)
    result = written(w, incident, {path: sent, **TITLE})
    assert (dict(result.on_the_way), dict(result.replaced)) == ({path: was}, {"short_description": "Printer on fire"})
    assert result.record.values["short_description"] == "New title"
    with pytest.raises(Refused, match="left it as it was") as caught:
        written(w, incident, {path: sent})
    assert set(caught.value.fields) == {path}


def test_an_edit_of_somebody_else_a_moment_ago_hides_no_field_that_was_left_out(w):
    incident = w.incident(description="one")
    fixed(w, "description")
    w.records.edit("incident", incident, {"category": "network"}, "jane.doe")
    with pytest.raises(Refused) as caught:
        written(w, incident, {"description": "two"})
    assert set(caught.value.fields) == {"description"}


def test_a_field_left_out_beside_others_that_were_there_already_is_refused_at_once(w):
    """Nothing moved, so that sending again would never end."""
    incident = w.incident(description="one")
    fixed(w, "description")
    with pytest.raises(Refused) as caught:
        written(w, incident, {"description": "two", "short_description": "Printer on fire"})
    assert set(caught.value.fields) == {"description"}


def test_all_fields_left_out_are_refused_by_name(w):
    incident = w.incident(description="one")
    fixed(w, "description", "short_description")
    with pytest.raises(Refused) as caught:
        written(w, incident, {"description": "two", **TITLE})
    assert set(caught.value.fields) == {"description", "short_description"}


def test_of_many_updates_each_is_told_its_own(w):
    one, two = w.incident(description="one"), w.incident(description="two")
    fixed(w, "description")
    w.connector.get_many("incident", [one, two], FIELDS)
    updates = [Update(one, {"description": "x", **TITLE}), Update(two, TITLE)]
    first, second = w.connector.update_many("incident", updates, FIELDS)
    assert (first.on_the_way, second.on_the_way) == ({"description": "one"}, {})


def test_a_large_write_that_goes_alone_is_compared_as_well(w):
    w.records.add_column("incident", Column("u_log", label="Log", length=20_000_000))
    incident = w.incident(description="one")
    fixed(w, "description")
    result = written(w, incident, {"description": "two", "u_log": "y" * 4_000_000, **TITLE})
    assert result.on_the_way == {"description": "one"}


def test_a_record_known_from_a_list_is_compared_as_well(w):
    incident = w.incident(description="one")
    fixed(w, "description")
    assert list(w.connector.changed_since("incident", None, FIELDS, {}))
    result = w.connector.update("incident", incident, {"description": "two", **TITLE}, None, FIELDS)
    assert result.on_the_way == {"description": "one"}


@pytest.mark.parametrize(
    ("path", "becomes", "stored", "sent", "reads"),
    [
        ("description", lambda was, now: now.upper(), "ONE", "two", "TWO"),  # another form of what was sent
        ("description", lambda was, now: f"{was}; {now}", "one", "two", "one; two"),
        ("description", lambda was, now: "", "one", "two", None),  # what a rule empties was changed
        ("state", lambda was, now: "3", "1", "In Progress", "On Hold"),  # an automation's own answer
        ("u_effort", lambda was, now: "4", "2", 3.5, 4),
    ],
)
def test_a_value_that_a_rule_changes_on_saving_was_not_left_out(w, path, becomes, stored, sent, reads):
    """It stands in the record, and is taken for what it is: an edit of that side."""
    incident = w.incident(**{path: stored})
    on_saving(w, path, becomes)
    for values in ({path: sent}, {path: sent, **TITLE}):
        w.records.freeze("incident", incident, {path: stored})
        result = written(w, incident, values)
        assert (result.record.values[path], dict(result.on_the_way)) == (reads, {})


def test_what_follows_from_other_fields_is_refused_only_where_it_stays_as_it_was(w):
    incident = w.incident(impact="3", urgency="3")
    values = {"impact": "2 - Medium", "urgency": "2 - Medium", "priority": "1 - Critical"}
    result = written(w, incident, values)
    assert (result.record.values["priority"], dict(result.on_the_way)) == ("3 - Moderate", {})
    with pytest.raises(Refused) as caught:
        written(w, incident, {"priority": "1 - Critical"})
    assert set(caught.value.fields) == {"priority"}


def test_a_value_that_a_rule_puts_back_is_a_refusal(w):
    incident = w.incident(description="one")
    on_saving(w, "description", lambda was, now: was)
    assert written(w, incident, {"description": "two", **TITLE}).on_the_way == {"description": "one"}
    with pytest.raises(Refused, match="puts it back"):
        written(w, incident, {"description": "two"})


def test_a_column_that_is_hidden_as_well_says_nothing(w):
    for blank in (False, True):
        w.app.blanks_hidden = blank
        incident = w.incident(description="one")
        w.app.hidden_columns.add(("incident", "description"))
        w.connector.fields("incident", {})
        fixed(w, "description")
        assert not written(w, incident, {"description": "two", **TITLE}).on_the_way


def test_of_a_field_that_nobody_read_the_audit_tells(w):
    """What closing a twin writes need not be mapped, and is not read before."""
    incident = w.incident(description="one")
    values = {"description": "two", **TITLE}
    on_saving(w, "description", lambda was, now: now.upper())
    w.connector.get_many("incident", [incident], ["short_description"])
    assert not w.connector.update("incident", incident, values, None, FIELDS).on_the_way
    fixed(w, "description")
    w.connector = w.open()  # as another worker, that has read nothing yet
    w.connector.get_many("incident", [incident], ["short_description"])
    values = {"description": "three", "short_description": "Another title"}
    assert w.connector.update("incident", incident, values, None, FIELDS).on_the_way == {"description": "TWO"}
    with pytest.raises(Refused) as caught:
        w.connector.update("incident", incident, values, None, FIELDS)
    assert set(caught.value.fields) == {"description"}


def test_where_nobody_tells_a_field_that_nobody_read_is_taken_as_it_stands(w):
    incident = w.incident(description="one")
    w.app.forbidden.add(("read", "sys_audit"))
    fixed(w, "description")
    result = w.connector.update("incident", incident, {"description": "two", **TITLE}, None, FIELDS)
    assert not result.on_the_way and result.record.values["description"] == "one"


# Creates -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "sent", "begins"),
    [
        ("description", "No light at all", None),
        ("u_report", "<p>No light</p>", None),
        ("assigned_to", "jane.doe@acme.example", None),
        ("u_effort", 2.5, None),
        ("watch_list", ["a", "b"], []),
        ("state", "In Progress", "New"),
        ("category", "Network", "Inquiry / Help"),
        ("knowledge", True, False),
        ("u_team", "Night shift", "Day shift"),
    ],
)
def test_what_a_create_leaves_out_is_on_the_way_and_refused_once_it_goes_alone(w, path, sent, begins):
    w.records.add_column("incident", Column("u_team", label="Team", default="Day shift"))
    w.connector.instance.forget()
    fixed(w, path)
    values = {"short_description": "Dark", path: sent}
    made = [
        w.connector.create("incident", values, "one", {}),
        *w.connector.create_many("incident", [Creation(values, "two")], [], {}),
    ]
    for result in made:
        assert (result.created, dict(result.on_the_way)) == (True, {path: begins})
        with pytest.raises(Refused) as caught:
            w.connector.update("incident", result.record.external_id, {path: sent}, None, FIELDS)
        assert set(caught.value.fields) == {path}


def test_a_person_that_a_script_puts_into_a_new_record_is_not_taken_for_the_one_sent(w):
    w.records.add_column("incident", Column("u_asker", "reference", "Asker", 32, "sys_user", default="javascript:me()"))
    on_saving(w, "u_asker", lambda was, now: w.us if now == "javascript:me()" else now)
    w.connector.instance.forget()
    values = {"short_description": "Dark", "u_asker": "jane.doe@acme.example"}
    assert not w.connector.create("incident", values, "one", {}).on_the_way
    fixed(w, "u_asker")
    assert w.connector.create("incident", values, "two", {}).on_the_way == {"u_asker": "sync@acme.example"}


@pytest.mark.parametrize(
    ("path", "becomes", "sent", "reads"),
    [
        ("description", lambda was, now: now.upper(), "two", "TWO"),
        ("description", lambda was, now: now.strip() + "!", "two", "two!"),
        ("state", lambda was, now: "3", "In Progress", "On Hold"),  # an automation of new records answers
        ("category", lambda was, now: "hardware", "Network", "Hardware"),
        ("u_effort", lambda was, now: "4", 3.5, 4),
    ],
)
def test_what_a_rule_makes_of_a_new_value_has_arrived(w, path, becomes, sent, reads):
    """Sent once more it would only be made the same, and be told as refused."""
    on_saving(w, path, becomes)
    result = w.connector.create("incident", {"short_description": "Dark", path: sent}, "k", {})
    assert (result.record.values[path], dict(result.on_the_way)) == (reads, {})


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("follow_up", "2026-02-03T04:05:06.789Z"),  # cut to the second
        ("description", "one\r\ntwo "),
        ("watch_list", ["b", "a"]),
        ("knowledge", False),
        ("knowledge", None),
        ("u_effort", 2.0),
        ("category", None),
        ("description", None),
    ],
)
def test_a_new_value_in_another_writing_has_arrived(w, path, sent):
    result = w.connector.create("incident", {"short_description": "Dark", path: sent}, "k", {})
    assert not result.on_the_way
