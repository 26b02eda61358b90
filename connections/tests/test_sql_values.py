"""What is written to a column is read again as it was written, or is refused.

Nothing that a database rounds, cuts or fills up may look like somebody's edit, which would go over the value it was
made from.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mssql, mysql

from connections.connectors import sql_values as values
from connections.connectors.base import ConnectorError, Creation, Field, Record, Refused, Update
from connections.connectors.sql_room import Room, room_of, shortest_single
from connections.tests.sql_servers import NO_MARIADB
from connections.tests.sql_world import World, uninstall

SQLITE, POSTGRESQL, MYSQL = KINDS = ("sqlite", "postgresql", "mysql")

MakeWorld = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[MakeWorld]:
    """make(kind, columns, …): a watched table `things` of these columns."""
    settings.SQLITE_FOLDER = str(tmp_path)
    made: list[World] = []

    def one(kind: str, columns: str, **declared: str) -> World:
        if kind == MYSQL and not shutil.which("mariadbd"):
            pytest.skip(NO_MARIADB)
        world = World(kind, tmp_path, monkeypatch, frozen=False, **{"tables": "", **declared})
        made.append(world)
        world.run("DROP TABLE IF EXISTS things")
        if kind == SQLITE:  # else it gives ids twice, and is not watched
            columns = columns.replace("INTEGER PRIMARY KEY", "INTEGER PRIMARY KEY AUTOINCREMENT")
        world.run(f"CREATE TABLE things ({columns})")
        if kind == POSTGRESQL:
            world.run("ALTER TABLE things OWNER TO syncadmin_test")
        world.connector.forget()
        world.connector.watch("things")
        return world

    yield one
    for world in made:
        if world.kind != SQLITE:
            world.run("DROP TABLE IF EXISTS things")
            uninstall(world.kind, world.app)


def written(make: MakeWorld, kind: str, type_: str, value: Any) -> Record | Refused:
    """A row of a table with one column of this type after the value was written; its zone is Berlin's."""
    world = make(kind, f"id INTEGER PRIMARY KEY, held {type_}", zone="Europe/Berlin")
    world.run("INSERT INTO things (id) VALUES (1)")
    [told] = world.connector.update_many("things", [Update("1", {"held": value})], ["held"])
    if isinstance(told, ConnectorError):
        assert isinstance(told, Refused)
        assert world.run("SELECT COUNT(*) FROM things WHERE held IS NULL")[0][0] == 1
        return told
    [again] = world.connector.get_many("things", ["1"], ["held"]).values()
    assert again.values == told.record.values
    return again


@pytest.mark.parametrize(
    ("kind", "type_", "value"),
    [
        (POSTGRESQL, "CHAR(5)", "ab"),
        (POSTGRESQL, "NUMERIC(10, 2)", 12.3),
        (POSTGRESQL, "NUMERIC(3, -2)", 1200),
        (POSTGRESQL, "NUMERIC", 10**30),
        (POSTGRESQL, "REAL", 0.1),
        (POSTGRESQL, "REAL", 1234567),
        (POSTGRESQL, "DOUBLE PRECISION", 0.1 + 0.2),
        (POSTGRESQL, "TIMESTAMP", "2026-10-25T00:30:00Z"),
        (POSTGRESQL, "TIMESTAMPTZ", "2026-10-25T01:30:00.123456Z"),
        (POSTGRESQL, "TIMETZ", "08:30:00+02:00"),
        (POSTGRESQL, "JSONB", '{"a":[1.10,0.00001,100000],"b":"ü"}'),
        (POSTGRESQL, "UUID[]", ["6f3b9a52-5f0e-4d8c-9a39-0d6a4f3b7c11"]),
        (POSTGRESQL, "CHAR(3)[]", ["a"]),
        (MYSQL, "FLOAT", 1234567),
        (MYSQL, "FLOAT", 0.1),
        (MYSQL, "FLOAT(7, 2)", 12345.67),
        (MYSQL, "DOUBLE", 0.1 + 0.2),
        (MYSQL, "BIGINT UNSIGNED", 2**64 - 1),
        (MYSQL, "DATETIME(6)", "2026-01-01T10:00:00.123456Z"),
        (MYSQL, "TIMESTAMP NULL", "2026-10-25T01:30:00Z"),
        (MYSQL, "TIMESTAMP(6) NULL", "2026-07-01T10:00:00.123456Z"),
        (MYSQL, "TIME(6)", "08:30:00.500000"),
        (MYSQL, "SET('a', 'b')", ["a", "b"]),
        (MYSQL, "TINYINT(1)", True),
        (SQLITE, "NUMERIC", 12.345),
        (SQLITE, "INTEGER", 2**63 - 1),
        (SQLITE, "TIME", "08:30:00.500000"),
    ],
)
def test_what_a_column_can_hold_is_read_as_it_was_written(make: MakeWorld, kind: str, type_: str, value: Any):
    told = written(make, kind, type_, value)
    assert isinstance(told, Record) and told.values == {"held": value}


@pytest.mark.parametrize(
    ("kind", "type_", "value", "words"),
    [
        (POSTGRESQL, "NUMERIC(10, 2)", 12.345, "has more than 2 decimal places"),
        (POSTGRESQL, "NUMERIC(10, 2)", 1e10, "is not between -99999999.99 and 99999999.99, as this column is declared"),
        (POSTGRESQL, "NUMERIC(5)", 12.5, "is no whole number"),
        (POSTGRESQL, "NUMERIC(3, -2)", 1234, "is more exact than this column keeps"),
        (POSTGRESQL, "SMALLINT", 2**15, "is not between -32768 and 32767, as this column is declared"),
        (POSTGRESQL, "REAL", 2**24 + 1, "is no number that a column of single precision keeps exactly"),
        (POSTGRESQL, "REAL", 1e39, "is no number that a column of single precision keeps exactly"),
        (POSTGRESQL, "DOUBLE PRECISION", 2**60 + 1, "is no number that a column of double precision keeps exactly"),
        (POSTGRESQL, "TIME", "08:30", "would be kept as “08:30:00”"),
        (POSTGRESQL, "TIME", "08:30:00+02:00", "would be kept as “08:30:00”"),
        (POSTGRESQL, "TIME(0)", "08:30:00.500000", "would be kept as “08:30:00”"),
        (POSTGRESQL, "TIMETZ", "08:30:00", "would be kept as “08:30:00+00:00”"),
        (POSTGRESQL, "JSONB", '{"a": 1}', 'would be kept as “{"a":1}”'),
        (POSTGRESQL, "JSONB", '{"a":1,"a":2}', 'would be kept as “{"a":2}”'),
        (POSTGRESQL, "JSONB", '{"a":1e5}', 'would be kept as “{"a":100000}”'),
        (POSTGRESQL, "JSONB", "[-0.0]", "would be kept as “[0.0]”"),
        (POSTGRESQL, "UUID", "6F3B9A52-5F0E-4D8C-9A39-0D6A4F3B7C11", None),
        (POSTGRESQL, "UUID[]", ["6F3B9A52-5F0E-4D8C-9A39-0D6A4F3B7C11"], None),
        (POSTGRESQL, "INTEGER[]", ["01", "2"], "would be kept as “1, 2”"),
        (POSTGRESQL, "VARCHAR(3)[]", ["abcd"], "holds a text that is longer than 3 characters"),
        (POSTGRESQL, '"char"', "ab", "this column is not written"),
        (MYSQL, "DECIMAL(10, 2)", 12.345, "has more than 2 decimal places"),
        (MYSQL, "DECIMAL", 12.5, "is no whole number"),
        (MYSQL, "DECIMAL(5, 2) UNSIGNED", -1, "is not between 0 and 999.99, as this column is declared"),
        (MYSQL, "TINYINT UNSIGNED", 256, "is not between 0 and 255, as this column is declared"),
        (MYSQL, "MEDIUMINT", 2**23, "is not between -8388608 and 8388607, as this column is declared"),
        (MYSQL, "FLOAT", 2**24 + 1, "is no number that a column of single precision keeps exactly"),
        (MYSQL, "FLOAT", 1e-50, "is no number that a column of single precision keeps exactly"),
        (MYSQL, "FLOAT(7, 2)", 1.239, "has more than 2 decimal places"),
        (MYSQL, "DOUBLE(10, 2)", 1.239, "has more than 2 decimal places"),
        (MYSQL, "TIME", "08:30:00.500000", "would be kept as “08:30:00”"),
        (SQLITE, "DECIMAL(10, 2)", 12.345, "has more than 2 decimal places"),
        (SQLITE, "INTEGER", 2**63, None),
        (SQLITE, "NUMERIC", 2**63 + 1, "is no number that a column of double precision keeps exactly"),
        (SQLITE, "REAL", 2**60 + 1, "is no number that a column of double precision keeps exactly"),
    ],
)
def test_what_would_be_read_as_something_else_is_refused(
    make: MakeWorld, kind: str, type_: str, value: Any, words: str | None
):
    told = written(make, kind, type_, value)
    assert isinstance(told, Refused) and list(told.fields) == ["held"]
    assert words is None or told.fields["held"] == words


@pytest.mark.parametrize(
    ("kind", "type_", "value", "kept"),
    [
        (POSTGRESQL, "TIMESTAMP(0)", "2026-01-01T10:00:00.789000Z", "2026-01-01T10:00:00Z"),
        (POSTGRESQL, "TIMESTAMPTZ(3)", "2026-01-01T10:00:00.123987Z", "2026-01-01T10:00:00.123000Z"),
        (POSTGRESQL, "TIMESTAMPTZ(1)", "2026-01-01T10:00:00.789000Z", "2026-01-01T10:00:00Z"),
        (MYSQL, "DATETIME", "2026-01-01T10:00:00.789000Z", "2026-01-01T10:00:00Z"),
        (MYSQL, "DATETIME(3)", "2026-01-01T10:00:00.123987Z", "2026-01-01T10:00:00.123000Z"),
    ],
)
def test_a_moment_is_kept_to_the_second_or_millisecond_and_never_rounded_up(
    make: MakeWorld, kind: str, type_: str, value: str, kept: str
):
    told = written(make, kind, type_, value)
    assert isinstance(told, Record) and told.values == {"held": kept}


@pytest.mark.parametrize(("kind", "type_"), [(SQLITE, "DATETIME"), (POSTGRESQL, "TIMESTAMP"), (MYSQL, "DATETIME")])
def test_a_moment_that_a_column_without_a_zone_cannot_tell_is_refused(make: MakeWorld, kind: str, type_: str):
    """02:30 of the night in which Berlin's clocks go back comes twice, and is read as the first."""
    told = written(make, kind, type_, "2026-10-25T01:30:00Z")
    assert isinstance(told, Refused) and told.fields["held"].startswith("lies in an hour that comes twice")


@pytest.mark.parametrize("kind", [SQLITE, MYSQL])
def test_our_own_stamps_are_written_in_the_hour_that_comes_twice(
    make: MakeWorld, kind: str, monkeypatch: pytest.MonkeyPatch
):
    """They are of now, and no write may wait for that hour to end."""
    columns = "id INTEGER PRIMARY KEY, label VARCHAR(20), changed DATETIME"
    world = make(kind, columns, zone="Europe/Berlin", tables="things: changed=changed")
    world.run("INSERT INTO things (id, label) VALUES (1, 'old')")
    monkeypatch.setattr("connections.connectors.sql_values.stamp", lambda at: "2026-10-25T01:30:00Z")
    [told] = world.connector.update_many("things", [Update("1", {"label": "new"})], ["label"])
    assert not isinstance(told, ConnectorError) and told.record.values == {"label": "new"}
    assert str(world.run("SELECT changed FROM things")[0][0]).startswith("2026-10-25 02:30:00")


def test_a_scope_compares_with_what_a_column_could_not_hold(make: MakeWorld):
    world = make(POSTGRESQL, "id INTEGER PRIMARY KEY, amount NUMERIC(10, 2), code CHAR(5)")
    world.run("INSERT INTO things VALUES (1, 12.34, 'ab'), (2, 12.35, 'cd')")
    for where, ids in (("amount > 12.345", {"2"}), ("code = ab", {"1"}), ("code != ab", {"2"})):
        assert world.connector.in_scope("things", ["1", "2"], {"where": where}) == ids


# Blanks that fill a column up. ---------------------------------------------------------------------------------------


def poll(world: World, watermark: str | None) -> tuple[dict[str, Record], str | None]:
    pages = list(world.connector.changed_since("things", watermark, ["label"], {}))
    return {record.external_id: record for page in pages for record in page.records}, pages[-1].watermark


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_whose_key_is_filled_up_with_blanks_is_one_row_everywhere(make: MakeWorld, kind: str):
    world = make(kind, "code CHAR(5) PRIMARY KEY, label VARCHAR(50)")
    [made] = world.connector.create_many("things", [Creation({"code": "ab", "label": "x"}, "our-key")], ["label"], {})
    assert not isinstance(made, ConnectorError) and made.record.external_id == "ab"
    found = world.connector.find_by_correlation_key("things", ["our-key"], ["label"], {})
    assert [record.external_id for record in found["our-key"]] == ["ab"]
    listed, watermark = poll(world, None)
    assert set(listed) == {"ab"} and listed["ab"].correlation_key == "our-key"
    world.run("UPDATE things SET label = 'new'")
    changed, watermark = poll(world, watermark)
    assert {id_: one.deleted for id_, one in changed.items()} == {"ab": False}
    [told] = world.connector.update_many("things", [Update("ab", {"label": "ours"}, changed["ab"].version)], ["label"])
    assert not isinstance(told, ConnectorError) and world.run("SELECT label FROM things") in ([("ours",)], (("ours",),))
    assert set(world.connector.get_many("things", ["ab", "ab "], ["label"])) == {"ab"}
    world.connector.delete("things", "ab")
    changed, _ = poll(world, watermark)
    assert {id_: one.deleted for id_, one in changed.items()} == {"ab": True}


def test_a_key_of_blank_filled_parts_is_the_same_in_reads_and_in_triggers(make: MakeWorld):
    world = make(POSTGRESQL, "box CHAR(5), nr INTEGER, label VARCHAR(50), PRIMARY KEY (box, nr)")
    world.run("INSERT INTO things VALUES ('a~', 1, 'old')")
    listed, watermark = poll(world, None)
    world.run("UPDATE things SET label = 'new'")
    changed, _ = poll(world, watermark)
    assert set(listed) == set(changed) == {"a%7E~1"} and changed["a%7E~1"].values == {"label": "new"}


def test_a_listing_goes_on_behind_a_key_that_is_filled_up(make: MakeWorld, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("connections.connectors.sql_changes.IDS_PAGE", 2)
    world = make(POSTGRESQL, "code CHAR(5) PRIMARY KEY, label VARCHAR(50)")
    for code in ("a", "ab", "abc", "b", "b a"):
        world.run("INSERT INTO things VALUES (%s, 'x')", code)
    assert list(world.connector.list_ids("things", {})) == [["a", "ab"], ["abc", "b"], ["b a"]]


def test_our_key_is_found_in_a_column_that_fills_it_up(make: MakeWorld):
    world = make(
        POSTGRESQL, "id SERIAL PRIMARY KEY, label VARCHAR(50), ours CHAR(60)", tables="things: correlation=ours"
    )
    for _ in range(2):
        world.connector.create_many("things", [Creation({"label": "x"}, "our-key")], ["label"], {})
    found = world.connector.find_by_correlation_key("things", ["our-key"], ["label"], {})
    assert [record.external_id for record in found["our-key"]] == ["1"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wanted", ["ab", "AB", "ab  "])
def test_a_text_is_found_whatever_blanks_fill_it_up(make: MakeWorld, kind: str, wanted: str):
    world = make(kind, "id INTEGER PRIMARY KEY, label CHAR(10)")
    world.run("INSERT INTO things VALUES (1, 'ab'), (2, 'abc')")
    [record] = world.connector.find_by_values("things", "label", [wanted], ["label"], {})
    assert dict(record.values) == {"label": "ab"}


def test_a_reference_to_a_key_that_is_filled_up_is_its_id(make: MakeWorld):
    world = make(POSTGRESQL, "code CHAR(5) PRIMARY KEY, label VARCHAR(50), parent CHAR(5) REFERENCES things (code)")
    world.run("INSERT INTO things VALUES ('ab', 'x', NULL), ('cd', 'y', 'ab')")
    assert world.connector.get_many("things", ["cd"], ["parent"])["cd"].values == {"parent": "ab"}
    [told] = world.connector.update_many("things", [Update("ab", {"parent": "cd"})], ["parent"])
    assert not isinstance(told, ConnectorError) and told.record.values == {"parent": "cd"}


# By the types alone. -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "shortest"),
    [(0.1, 0.1), (0.10000000149011612, 0.1), (16777217.0, 16777216.0), (3.4028234663852886e38, 3.4028235e38),
     (1e39, float("inf")), (-1e-50, 0.0), (1e-45, 1e-45)],
)  # fmt: skip
def test_a_number_of_single_precision_is_told_by_the_fewest_digits(number: float, shortest: float):
    assert shortest_single(number) == shortest


def test_types_of_servers_that_are_not_at_hand_keep_what_they_can():
    column = values.Column("doc", values.JSON, Field("doc", "Doc", "text"), sa.Column("doc"), ZoneInfo("UTC"))
    doubles = replace(column, room=room_of("mysql", mysql.JSON()))
    assert values.stored(doubles, '{"a":[1.1,100.0,18446744073709551615]}', "mysql")
    for lost in ("[1.10]", "[18446744073709551616]", "[0.12345678901234567890]"):
        assert values.stored(column, lost, "postgresql") == lost
        with pytest.raises(ValueError, match="would be kept as"):
            values.stored(doubles, lost, "mysql")
    moment = values.Column("at", values.LOCAL, Field("at", "At", "datetime"), sa.Column("at"), ZoneInfo("UTC"))
    minutes = replace(moment, room=room_of("mssql", mssql.SMALLDATETIME()))
    assert values.stored(minutes, "2026-01-01T10:31:00Z", "mssql")
    with pytest.raises(ValueError, match="has seconds"):
        values.stored(minutes, "2026-01-01T10:30:31Z", "mssql")
    assert room_of("sqlite", sa.CHAR(5)) == Room()
