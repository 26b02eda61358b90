"""Versions and ids of rows: what our own writes count up, what comes back, and what SQLite gives twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connections.connectors.base import Creation, NotAllowed, Record, Update, WriteResult
from connections.tests.sql_servers import needs_mariadb
from connections.tests.sql_world import USER, World, uninstall

KINDS = ["sqlite", "postgresql", pytest.param("mysql", marks=needs_mariadb)]
SERIAL = {
    "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "postgresql": "BIGSERIAL PRIMARY KEY",
    "mysql": "BIGINT AUTO_INCREMENT PRIMARY KEY",
}
COUNTED_BY_TRIGGER = {
    "sqlite": (
        "CREATE TRIGGER counting AFTER UPDATE OF label ON things BEGIN "
        "UPDATE things SET version = OLD.version + 1 WHERE id = OLD.id; END",
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION counting() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.version := NEW.version + 1; RETURN NEW; END $$",
        "CREATE TRIGGER counting BEFORE UPDATE ON things FOR EACH ROW EXECUTE FUNCTION counting()",
    ),
    "mysql": ("CREATE TRIGGER counting BEFORE UPDATE ON things FOR EACH ROW SET NEW.version = NEW.version + 1",),
}

MakeTable = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[MakeTable]:
    """make(kind, columns, further statements, …): a watched table `things` with these columns beside id and label."""
    settings.SQLITE_FOLDER = str(tmp_path)
    made: list[World] = []

    def one(kind: str, columns: str = "", statements: tuple[str, ...] = (), **declared: str) -> World:
        world = World(kind, tmp_path, monkeypatch, frozen=False, **{"tables": "", **declared})
        made.append(world)
        if kind != "sqlite":
            world.run("DROP TABLE IF EXISTS things")
        world.run(f"CREATE TABLE things (id {SERIAL[kind]}, label VARCHAR(50){columns and ', '}{columns})")
        if kind == "postgresql":
            world.run(f"ALTER TABLE things OWNER TO {USER}")
            world.run(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {USER}")
        for statement in statements:
            world.run(statement)
        world.connector.forget()
        world.connector.watch("things")
        return world

    yield one
    for world in made:
        if world.kind != "sqlite":
            world.run("DROP TABLE IF EXISTS things")
            uninstall(world.kind, world.app)


def thing(world: World, label: str = "old") -> Record:
    [made] = world.connector.create_many("things", [Creation({"label": label}, f"key of {label}")], ["label"], {})
    assert isinstance(made, WriteResult)
    return made.record


def write(world: World, record: Record, label: str) -> Record:
    [told] = world.connector.update_many("things", [Update(record.external_id, {"label": label}, record.version)], [])
    assert isinstance(told, WriteResult)
    return told.record


# A version that an application counts. -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_our_write_counts_a_version_up_that_the_application_counts(make: MakeTable, kind: str):
    """A form that was opened before is saved under the old version, and the application refuses it."""
    world = make(kind, "version INTEGER", tables="things: version=version")
    record = thing(world)  # whose version is empty: the first one
    for version in (1, 2):
        record = write(world, record, f"new {version}")
        assert record.version == str(version)
    world.run("UPDATE things SET label = 'stale', version = version + 1 WHERE version = 1")
    assert [tuple(row) for row in world.run("SELECT label, version FROM things")] == [("new 2", 2)]


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_rows_that_were_written_are_counted_up(make: MakeTable, kind: str):
    world = make(kind, "version INTEGER DEFAULT 7", tables="things: version=version")
    written, refused, other = (thing(world, label) for label in ("a", "b", "c"))
    updates = [
        Update(written.external_id, {"label": "new"}, written.version),
        Update(refused.external_id, {"label": "new"}, "6"),
    ]
    world.connector.update_many("things", updates, [])
    found = world.connector.get_many("things", [one.external_id for one in (written, refused, other)], ["label"])
    assert [(one.values["label"], one.version) for one in found.values()] == [("new", "8"), ("b", "7"), ("c", "7")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_version_that_the_database_counts_is_not_counted_twice(make: MakeTable, kind: str):
    world = make(kind, "version INTEGER DEFAULT 0", COUNTED_BY_TRIGGER[kind], tables="things: version=version")
    record = write(world, thing(world), "new")
    assert record.version == "1"
    assert write(world, record, "newer").version == "2"


@pytest.mark.parametrize("kind", KINDS)
def test_a_version_that_is_a_time_moves_with_our_write(make: MakeTable, kind: str):
    moment = {"sqlite": "DATETIME", "postgresql": "TIMESTAMP WITH TIME ZONE", "mysql": "DATETIME(6)"}[kind]
    world = make(kind, f"version {moment}", tables="things: version=version")
    record = thing(world)
    assert write(world, record, "new").version != record.version


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_that_says_what_changed_in_the_table_is_nobodys_to_count(make: MakeTable, kind: str):
    world = make(kind, "version INTEGER DEFAULT 4", changes="column", tables="things: version=version, changed=version")
    assert write(world, thing(world), "new").version == "4"


# A version that comes back. ------------------------------------------------------------------------------------------


def put_back(world: World) -> tuple[bool, bool]:
    """(whether a row has its old version again once our write is undone, whether that was declared)"""
    record = thing(world)
    write(world, record, "new")
    world.run("UPDATE things SET label = 'old'")
    found = world.connector.get_many("things", [record.external_id], ["label"])[record.external_id]
    return found.version == record.version, world.connector.capabilities_of("things").version_comes_back


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("mysql", marks=needs_mariadb)])
def test_a_digest_of_the_row_comes_back_when_somebody_puts_the_old_value_back(make: MakeTable, kind: str):
    assert put_back(make(kind)) == (True, True)


def test_the_number_of_the_transaction_does_not_come_back(make: MakeTable):
    assert put_back(make("postgresql")) == (False, False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_that_we_count_up_does_not_come_back(make: MakeTable, kind: str):
    assert put_back(make(kind, "version INTEGER", tables="things: version=version")) == (False, False)


@pytest.mark.parametrize(
    ("columns", "tables"),
    [
        ("edited INTEGER", "things: changed=edited"),
        ("version VARCHAR(40) DEFAULT 'a'", "things: version=version"),
        ("version INTEGER", "things: version=version, changed=version"),
    ],
)
def test_what_nothing_of_ours_moves_comes_back(make: MakeTable, columns: str, tables: str):
    assert put_back(make("sqlite", columns, tables=tables)) == (True, True)


@pytest.mark.parametrize("tables", ["things: changed=edited", "things: version=edited"])
def test_a_time_is_not_believed_to_stay_away_since_two_writes_may_have_one(make: MakeTable, tables: str):
    world = make("sqlite", "edited DATETIME", tables=tables)
    assert put_back(world)[1]


# Ids that SQLite gives twice. ----------------------------------------------------------------------------------------


def keyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, **declared: str) -> World:
    world = World("sqlite", tmp_path, monkeypatch, frozen=False, **{"tables": "", **declared})
    world.run(table)
    return world


@pytest.mark.parametrize("changes", ["triggers", "column"])
@pytest.mark.parametrize(
    "table",
    [
        "CREATE TABLE things (id INTEGER PRIMARY KEY, label TEXT)",
        "CREATE TABLE things (id INTEGER, label TEXT DEFAULT 'AUTOINCREMENT', PRIMARY KEY (id)) -- no AUTOINCREMENT",
    ],
)
def test_a_table_whose_ids_come_twice_is_not_read_for_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any, table: str, changes: str
):
    """A deletion and a new row look like an edit, which would be written over the twin of what was deleted."""
    settings.SQLITE_FOLDER = str(tmp_path)
    world = keyed(tmp_path, monkeypatch, table, changes=changes)
    world.run("INSERT INTO things (label) VALUES ('One')")
    world.run("DELETE FROM things")
    world.run("INSERT INTO things (label) VALUES ('Two')")
    assert world.run("SELECT id FROM things") == [(1,)]
    with pytest.raises(NotAllowed, match=r"AUTOINCREMENT.*key=id"):
        list(world.connector.changed_since("things", None, [], {}))
    if changes == "triggers":
        with pytest.raises(NotAllowed, match=r"AUTOINCREMENT.*key=id"):
            world.connector.watch("things")
        [told] = [one for one in world.connector.watched() if one.object_type == "things"]
        assert "AUTOINCREMENT" in told.note and not told.on


@pytest.mark.parametrize(
    ("table", "tables"),
    [
        ("CREATE TABLE things (id INTEGER PRIMARY KEY AUTOINCREMENT, label TEXT)", ""),
        ("CREATE TABLE things (id TEXT PRIMARY KEY, label TEXT)", ""),
        ("CREATE TABLE things (a INTEGER, b INTEGER, label TEXT, PRIMARY KEY (a, b))", ""),
        ("CREATE TABLE things (id INTEGER PRIMARY KEY, label TEXT)", "things: key=id"),
    ],
)
def test_a_table_whose_ids_come_once_or_that_the_admin_answers_for_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any, table: str, tables: str
):
    settings.SQLITE_FOLDER = str(tmp_path)
    world = keyed(tmp_path, monkeypatch, table, tables=tables)
    world.connector.watch("things")
    assert list(world.connector.changed_since("things", None, [], {}))
