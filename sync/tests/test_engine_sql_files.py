"""Two SQLite files of applications kept in agreement, with tables as applications make them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from connections.connectors.base import NotAllowed, Uncertain
from connections.connectors.sql_database import SqlDatabase
from connections.models import Connection
from connections.open import open_connector
from mappings.models import Mapping
from sync.models import ChangedRecord, Cursor, Link, MappingState, Operation
from sync.simulation.setting import side
from sync.tests.conftest import Pair, rule

pytestmark = pytest.mark.django_db(transaction=True)

PLAIN = "CREATE TABLE things (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, notes TEXT"


class File:
    """A database file with an application's table `things`, and a connection to it."""

    def __init__(self, folder: Path, name: str, table: str, **settings: str) -> None:
        self.app = sqlite3.connect(folder / f"{name}.db", isolation_level=None, check_same_thread=False)
        self.run(table)
        self.connection = Connection.objects.create(
            name=name,
            kind="sqlite",
            address=f"sqlite:///{name}.db",
            settings={"tables": "", **settings},
            state="ok",
            account_id="SyncAdmin",
        )

    def run(self, statement: str, *values: Any) -> list[Any]:
        return list(self.app.execute(statement, values))

    def rows(self) -> list[Any]:
        return self.run("SELECT name, notes FROM things ORDER BY name")

    def watch(self) -> None:
        open_connector(self.connection).watch("things")


@pytest.fixture
def folder(by_hand: None, tmp_path: Path, settings: Any) -> Iterator[Path]:
    settings.SQLITE_FOLDER = str(tmp_path)
    yield tmp_path


def mapped(left: File, right: File, direction: str = "both", on_delete: str = "review") -> Pair:
    mapping = Mapping.objects.create(
        name="Things",
        slug="things",
        left_connection=left.connection,
        left_object_type="things",
        right_connection=right.connection,
        right_object_type="things",
    )
    pair = Pair(None, None, mapping)  # type: ignore[arg-type]  # no worlds in memory
    what = {"object_type": "things", "object_label": "things", "kind": "sqlite"}
    pair.publish_as_is(
        left=side(left.connection, **what, on_delete=on_delete),
        right=side(right.connection, **what, close_values={"notes": "closed"}),
        match_keys=[[{"left": "name", "right": "name"}]],
        initial="fill_empty",
        poll_seconds=15,
        brakes={},
        rules=[rule("name", "name", direction=direction), rule("notes", "notes", direction=direction)],
    )
    pair.approve()
    return pair


def poll(pair: Pair) -> None:
    MappingState.objects.filter(mapping=pair.mapping).update(next_poll_at=None)
    pair.quiet()


def run_once(pair: Pair) -> None:
    MappingState.objects.filter(mapping=pair.mapping).update(next_poll_at=None)
    ChangedRecord.objects.update(not_before=timezone.now())
    pair.run()


KEEPS_NOTES = """CREATE TRIGGER keep AFTER UPDATE OF notes ON things WHEN NEW.notes IS NOT OLD.notes
BEGIN UPDATE things SET notes = OLD.notes WHERE id = OLD.id; END"""


@pytest.mark.parametrize("beside", [False, True])
def test_a_value_that_a_trigger_of_the_table_puts_back_stays_where_it_was_written_and_is_asked_about(
    folder: Path, beside: bool
):
    left, right = File(folder, "Left", f"{PLAIN})"), File(folder, "Right", f"{PLAIN})")
    pair = mapped(left, right)
    left.watch(), right.watch()
    left.run("INSERT INTO things (name, notes) VALUES ('One', 'old')")
    poll(pair)
    right.run(KEEPS_NOTES)
    left.run("UPDATE things SET notes = 'new'" + (", name = 'Two'" if beside else ""))
    for _ in range(3):
        poll(pair)
    name = "Two" if beside else "One"
    assert (left.rows(), right.rows()) == ([(name, "new")], [(name, "old")])
    [question] = pair.open_conflicts()
    assert (question.kind, question.field_label) == ("refused", "Notes")


def test_an_old_value_that_somebody_put_back_after_an_unanswered_write_is_not_written_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """A row without version and stamps is told by a digest, which is the old one again although our write arrived."""
    left, right = File(folder, "Left", f"{PLAIN})"), File(folder, "Right", f"{PLAIN})")
    pair = mapped(left, right)
    left.watch(), right.watch()
    left.run("INSERT INTO things (name, notes) VALUES ('One', 'old')")
    poll(pair)
    answered = SqlDatabase.update_many

    def unanswered(self: SqlDatabase, *args: Any) -> Any:
        answered(self, *args)
        raise Uncertain("Nobody answered.")

    monkeypatch.setattr(SqlDatabase, "update_many", unanswered)
    left.run("UPDATE things SET notes = 'new'")
    run_once(pair)
    assert right.rows() == [("One", "new")]
    monkeypatch.setattr(SqlDatabase, "update_many", answered)
    right.run("UPDATE things SET notes = 'old'")
    ago = timezone.now() - timedelta(minutes=2)
    Operation.objects.filter(state__in=Operation.OPEN).update(claimed_at=ago, not_before=ago)
    for _ in range(3):
        run_once(pair)
    assert right.rows() == [("One", "old")]
    assert [question.code for question in pair.open_conflicts()] == ["maybe_written"]


def test_our_write_is_noticed_by_an_application_that_counts_versions(folder: Path):
    left = File(folder, "Left", f"{PLAIN})")
    right = File(folder, "Right", f"{PLAIN}, lock_version INTEGER DEFAULT 0)", tables="things: version=lock_version")
    pair = mapped(left, right)
    left.watch(), right.watch()
    left.run("INSERT INTO things (name, notes) VALUES ('One', 'old')")
    poll(pair)
    [(opened,)] = right.run("SELECT lock_version FROM things")  # in a form, which is saved after our write
    left.run("UPDATE things SET notes = 'new'")
    poll(pair)
    right.run("UPDATE things SET notes = 'old', lock_version = ?1 + 1 WHERE lock_version = ?1", opened)
    poll(pair)
    assert left.rows() == right.rows() == [("One", "new")]


def test_a_new_row_whose_changed_column_only_an_edit_fills_goes_over(folder: Path):
    left = File(folder, "Left", f"{PLAIN}, updated_at DATETIME)", changes="column", tables="things: changed=updated_at")
    right = File(folder, "Right", f"{PLAIN})")
    pair = mapped(left, right)
    right.watch()
    left.run("INSERT INTO things (name, notes) VALUES ('One', 'from the beginning')")
    poll(pair)
    left.run("INSERT INTO things (name, notes) VALUES ('Two', 'later')")
    poll(pair)
    assert left.rows() == right.rows() == [("One", "from the beginning"), ("Two", "later")]


@pytest.mark.parametrize("changes", ["triggers", "column"])
def test_a_row_with_the_id_of_a_deleted_one_is_not_written_over_its_twin(folder: Path, changes: str):
    """SQLite gives the highest id anew where AUTOINCREMENT is not said: such a table is not read."""
    left = File(folder, "Left", f"{PLAIN})".replace(" AUTOINCREMENT", ""), changes=changes)
    right = File(folder, "Right", f"{PLAIN})")
    pair = mapped(left, right)
    right.watch()
    if changes == "triggers":
        with pytest.raises(NotAllowed, match="AUTOINCREMENT"):
            left.watch()
    right.run("INSERT INTO things (name, notes) VALUES ('One', 'all that is known of One')")
    left.run("INSERT INTO things (name) VALUES ('One')")
    poll(pair)
    left.run("DELETE FROM things")
    left.run("INSERT INTO things (name, notes) VALUES ('Two', 'of Two')")
    poll(pair)
    assert right.rows() == [("One", "all that is known of One")]


VIEW = "CREATE VIEW things AS SELECT id, name, notes FROM everything WHERE shown"


@pytest.mark.parametrize("policy", ["delete", "close", "review"])
def test_a_row_that_its_view_shows_no_longer_is_not_taken_for_deleted(folder: Path, policy: str):
    """An absent row may have left the view or be gone: a view cannot tell, and the twin stays as it is."""
    everything = PLAIN.replace("things", "everything") + ", shown BOOLEAN DEFAULT 1)"
    left = File(folder, "Left", everything, changes="column", tables="things: key=id")
    left.run(VIEW)
    right = File(folder, "Right", f"{PLAIN})")
    pair = mapped(left, right, direction="to_right", on_delete=policy)
    right.watch()
    left.run("INSERT INTO everything (name, notes) VALUES ('One', 'agreed'), ('Two', 'stays')")
    poll(pair)
    left.run("UPDATE everything SET shown = 0 WHERE name = 'One'")
    for _ in range(3):
        all_listed_an_hour_later(pair)
    link = Link.objects.get(title="One")
    assert right.rows() == [("One", "agreed"), ("Two", "stays")] and not pair.open_conflicts()
    assert (link.state, link.out_of_scope, link.deleted_left) == ("active", "left", False)
    left.run("UPDATE everything SET shown = 1, notes = 'edited' WHERE name = 'One'")
    all_listed_an_hour_later(pair)
    link.refresh_from_db()
    assert link.out_of_scope == "" and right.rows() == [("One", "edited"), ("Two", "stays")]


def all_listed_an_hour_later(pair: Pair) -> None:
    for hint in ChangedRecord.objects.all():
        hint.first_rung_at -= timedelta(hours=1, minutes=5)
        hint.save()
    Cursor.objects.update(swept_at=None)
    ChangedRecord.objects.update(not_before=timezone.now())
    poll(pair)
