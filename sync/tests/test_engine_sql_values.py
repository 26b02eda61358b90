"""A value that a database would round, cut or fill up stays as it was written at its source, by the real engine."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from connections.models import Connection
from connections.open import open_connector
from connections.tests.sql_servers import NO_MARIADB, PASSWORD
from connections.tests.sql_world import USER, World, uninstall
from mappings.models import Mapping
from sync.models import ChangedRecord, Link, MappingState
from sync.simulation.setting import side
from sync.tests.conftest import Pair, rule

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = {
    "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "postgresql": "BIGSERIAL PRIMARY KEY",
    "mysql": "BIGINT AUTO_INCREMENT PRIMARY KEY",
}


class Pairs:
    """A file on the left and a database on the right, each with a table `things` of a name and one value."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.served: list[World] = []

    def __call__(
        self, left: str, kind: str, right: str, value_rule: dict[str, Any], **settings: str
    ) -> tuple[Pair, Any, Any]:
        """(pair, run on the left, run on the right) for columns of these types."""
        if kind == "mysql" and not shutil.which("mariadbd"):
            pytest.skip(NO_MARIADB)
        rows, runs = {}, {}
        for name, of, type_ in (("left", "sqlite", left), ("right", kind, right)):
            address, run = self._database(name, of)
            run("DROP TABLE IF EXISTS things")
            run(f"CREATE TABLE things (id {KEYS[of]}, name VARCHAR(50), held {type_})")
            if of == "postgresql":
                run(f"ALTER TABLE things OWNER TO {USER}")
            rows[name] = Connection.objects.create(
                name=name.title(),
                kind=of,
                address=address,
                settings={"user": USER, "tls": "off", "tables": "", **(settings if name == "right" else {})},
                secrets={"password": PASSWORD},
                state="ok",
                account_id=USER if of != "sqlite" else "SyncAdmin",
            )
            runs[name] = run
            connector: Any = open_connector(rows[name])
            connector.forget()
            connector.watch("things")
        return self._pair(rows, value_rule), runs["left"], runs["right"]

    def _database(self, name: str, kind: str) -> tuple[str, Any]:
        if kind != "sqlite":
            world = World(kind, self.folder, self.monkeypatch, frozen=False)
            self.served.append(world)
            return world.address, lambda statement: [tuple(row) for row in world.run(statement)]
        app = sqlite3.connect(self.folder / f"{name}.db", isolation_level=None, check_same_thread=False)
        return f"sqlite:///{name}.db", lambda statement: list(app.execute(statement))

    def _pair(self, rows: dict[str, Connection], value_rule: dict[str, Any]) -> Pair:
        mapping = Mapping.objects.create(
            name="Things",
            slug="things",
            left_connection=rows["left"],
            left_object_type="things",
            right_connection=rows["right"],
            right_object_type="things",
        )
        pair = Pair(None, None, mapping)  # type: ignore[arg-type]  # no worlds in memory
        what = {"object_type": "things", "object_label": "things"}
        pair.publish_as_is(
            left=side(rows["left"], kind="sqlite", **what),
            right=side(rows["right"], kind=rows["right"].kind, **what),
            match_keys=[[{"left": "name", "right": "name"}]],
            initial="fill_empty",
            poll_seconds=15,
            brakes={},
            rules=[rule("name", "name"), value_rule],
        )
        pair.approve()
        return pair

    def take_away(self) -> None:
        for world in self.served:
            world.run("DROP TABLE IF EXISTS things")
            uninstall(world.kind, world.app)


@pytest.fixture
def pairs(by_hand: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Pairs]:
    settings.SQLITE_FOLDER = str(tmp_path)
    made = Pairs(tmp_path, monkeypatch)
    yield made
    made.take_away()


def polled(pair: Pair) -> None:
    for _ in range(2):  # what was written is seen as a change once more
        MappingState.objects.filter(mapping=pair.mapping).update(next_poll_at=None)
        ChangedRecord.objects.update(not_before=timezone.now())
        pair.quiet()


NUMBER = rule("held", "held", "number", transform="number")


def edited_on_the_left(
    pairs: Pairs, left: str, kind: str, right: str, value_rule: dict[str, Any], edit: Any
) -> tuple[Pair, Any]:
    """(pair, run on the right) after an edit was carried over that stays as it was written."""
    pair, on_left, on_right = pairs(left, kind, right, value_rule, zone="Europe/Berlin")
    on_left("INSERT INTO things (name, held) VALUES ('One', NULL)")
    polled(pair)
    on_left(f"UPDATE things SET held = {edit!r}")
    polled(pair)
    assert on_left("SELECT held FROM things") == [(edit,)]
    return pair, on_right


MOMENT = rule("held", "held", "datetime", transform="date_time")
SAME_MOMENT = rule("held", "held", "datetime")


@pytest.mark.parametrize(
    ("left", "kind", "right", "value_rule", "edit"),
    [
        ("NUMERIC", "postgresql", "NUMERIC(10, 2)", NUMBER, 12.345),
        ("NUMERIC", "mysql", "NUMERIC(10, 2)", NUMBER, 12.345),
        ("INTEGER", "postgresql", "SMALLINT", NUMBER, 40000),
        ("INTEGER", "mysql", "FLOAT", NUMBER, 16777217),
        ("DATETIME", "sqlite", "DATETIME", MOMENT, "2026-10-25 01:30:00"),
        ("TEXT", "postgresql", "TIME", rule("held", "held"), "08:30"),
        ("TEXT", "postgresql", "JSONB", rule("held", "held"), '{"a": 1, "a": 2}'),
    ],
)
def test_what_the_other_side_cannot_keep_stays_as_it_was_written_and_is_asked_about(
    pairs: Pairs, left: str, kind: str, right: str, value_rule: dict[str, Any], edit: Any
):
    _, on_right = edited_on_the_left(pairs, left, kind, right, value_rule, edit)
    assert on_right("SELECT name, held FROM things") == [("One", None)]
    [parked] = Link.objects.get().parked.values()
    assert parked["code"] == "refused"


@pytest.mark.parametrize(
    ("left", "kind", "right", "value_rule", "edit"),
    [
        ("REAL", "mysql", "FLOAT", NUMBER, 1234567.0),
        ("DATETIME", "mysql", "DATETIME", MOMENT, "2026-01-01 10:00:00.789"),
        ("DATETIME", "mysql", "DATETIME", SAME_MOMENT, "2026-01-01 10:00:00.789"),
        ("DATETIME", "postgresql", "TIMESTAMPTZ(3)", SAME_MOMENT, "2026-01-01 10:00:00.123987"),
        ("DATETIME", "mysql", "TIMESTAMP NULL", MOMENT, "2026-10-25 01:30:00"),
        ("TEXT", "postgresql", "CHAR(10)", rule("held", "held"), "ab "),
        ("TEXT", "mysql", "CHAR(10)", rule("held", "held"), "ab "),
    ],
)
def test_what_the_other_side_keeps_in_its_own_way_is_nobodys_edit(
    pairs: Pairs, left: str, kind: str, right: str, value_rule: dict[str, Any], edit: Any
):
    pair, on_right = edited_on_the_left(pairs, left, kind, right, value_rule, edit)
    assert on_right("SELECT COUNT(*) FROM things WHERE held IS NOT NULL") == [(1,)]
    assert not Link.objects.get().parked and pair.open_conflicts() == [] and not ChangedRecord.objects.exists()
