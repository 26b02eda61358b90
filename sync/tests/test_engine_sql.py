"""Two databases kept in agreement by the real engine: PostgreSQL on the left, SQLite on the right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from connections import open as opening
from connections.connectors.base import Hint
from connections.connectors.sql_calls import Database
from connections.models import Connection
from connections.tests.sql_servers import PASSWORD
from connections.tests.sql_world import PEOPLE, TABLES, USER, World, uninstall
from mappings.models import Mapping
from sync import jobs
from sync.models import ChangedRecord, Link, Run
from sync.simulation.setting import side
from sync.tests.call_cases import System, assert_at_most, at_full_speed, costs
from sync.tests.conftest import Pair, rule

pytestmark = pytest.mark.django_db(transaction=True)

RULES = [
    rule("subject", "subject", left={"required": True, "max_length": 120}, right={"required": True, "max_length": 120}),
    rule("notes", "notes"),
    rule("effort", "effort", "number"),
    rule("status", "status", "option"),
]


def stamps() -> dict[str, str]:
    """As an application fills them; its clock is that of the database."""
    now = timezone.now().strftime("%Y-%m-%d %H:%M:%S.%f")
    return {"updated_at": now, "created_at": now}


class Between:
    def __init__(self, left: World, right: World) -> None:
        self.worlds = {"left": left, "right": right}
        self.connections = {name: self._connection(name, world) for name, world in self.worlds.items()}
        mapping = Mapping.objects.create(
            name="Tickets",
            slug="tickets",
            left_connection=self.connections["left"],
            left_object_type="tickets",
            right_connection=self.connections["right"],
            right_object_type="tickets",
        )
        self.pair = Pair(None, None, mapping)  # type: ignore[arg-type]  # no worlds in memory
        what = {"object_type": "tickets", "object_label": "tickets"}
        self.pair.publish_as_is(
            left=side(self.connections["left"], kind="postgresql", **what),
            right=side(self.connections["right"], kind="sqlite", **what),
            match_keys=[[{"left": "subject", "right": "subject"}]],
            initial="fill_empty",
            poll_seconds=15,
            brakes={},
            rules=RULES,
        )
        self.pair.approve()
        for world in self.worlds.values():
            world.connector.watch("tickets")

    def _connection(self, name: str, world: World) -> Connection:
        return Connection.objects.create(
            name=name.title(),
            kind=world.connector.kind,
            address=world.address,
            settings={"user": USER, "tls": "off", "tables": TABLES, "people": PEOPLE},
            secrets={"password": PASSWORD},
            state="ok",
            account_id=USER if name == "left" else "SyncAdmin",
        )

    def edit(self, name: str, id_: str, **values: Any) -> None:
        row = {**values, **stamps()}
        changes = ", ".join(f"{path} = %s" for path in row)
        self.worlds[name].run(f"UPDATE tickets SET {changes} WHERE id = %s", *row.values(), int(id_))

    def row(self, name: str, id_: str) -> tuple[Any, ...]:
        [row] = self.worlds[name].run("SELECT subject, notes, effort, status FROM tickets WHERE id = %s", int(id_))
        return tuple(row)

    def linked(self) -> Link:
        self.worlds["left"].run(
            "INSERT INTO tickets (subject, notes, updated_at, created_at) VALUES (%s, %s, %s, %s)",
            *("Printer", "old notes", *stamps().values()),
        )
        self.pair.quiet()
        [link] = Link.objects.filter(state=Link.State.ACTIVE)
        return link


@pytest.fixture
def between(by_hand: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Between]:
    settings.SQLITE_FOLDER = str(tmp_path)
    left = World("postgresql", tmp_path, monkeypatch, frozen=False)
    yield Between(left, World("sqlite", tmp_path, monkeypatch, frozen=False))
    uninstall("postgresql", left.app)


def test_a_new_row_is_made_over_there_once_and_carries_its_key(between: Between):
    link = between.linked()
    assert between.row("right", str(link.right_id))[:2] == ("Printer", "old notes")
    assert between.worlds["right"].run("SELECT COUNT(*) FROM syncadmin_keys")[0][0] == 1
    between.pair.quiet()
    assert between.worlds["right"].run("SELECT COUNT(*) FROM tickets")[0][0] == 1


def test_two_edits_to_different_fields_of_one_row_both_survive(between: Between):
    link = between.linked()
    between.edit("left", str(link.left_id), notes="new notes")
    between.edit("right", str(link.right_id), effort=2.5)
    between.pair.quiet()
    from sync.models import Operation

    print(
        [(o.side, o.kind, o.state, o.fields, o.result) for o in Operation.objects.all()],
        list(ChangedRecord.objects.values("side", "error", "attempts")),
    )
    for name in ("left", "right"):
        found = between.row(name, str(getattr(link, f"{name}_id")))
        assert (found[1], float(found[2])) == ("new notes", 2.5)
    assert between.pair.open_conflicts() == []


def test_a_deleted_row_is_seen_by_its_trigger(between: Between):
    link = between.linked()
    between.worlds["right"].run("DELETE FROM tickets WHERE id = %s", int(str(link.right_id)))
    between.pair.quiet()
    link.refresh_from_db()
    assert link.deleted_right and not link.deleted_left


def test_a_live_change_costs_three_calls_and_its_echo_none(between: Between):
    link = between.linked()
    stream = opening.open_connector(between.connections["left"]).listen(["tickets"], lambda: False)
    next(iter(stream))
    spent = []
    for word in ("looks at the fields as well", "heard"):
        between.edit("left", str(link.left_id), notes=word)
        jobs.bell(between.connections["left"].pk, _heard(stream))
        before = calls()
        ChangedRecord.objects.update(not_before=timezone.now())  # the record was looked at a moment ago
        between.pair.run("live")
        assert between.row("right", str(link.right_id))[1] == word
        spent.append(calls() - before)
    assert spent[-1] == 3  # the row, its twin, one write
    between.edit("right", str(link.right_id), notes="back")
    between.pair.quiet()
    assert between.row("left", str(link.left_id))[1] == "back"
    hints = _heard(stream)
    assert [hint.own_account for hint in hints] == [True]
    jobs.bell(between.connections["left"].pk, hints)
    assert not ChangedRecord.objects.exists()
    stream.close()  # type: ignore[attr-defined]


def _heard(stream: Any) -> list[Hint]:
    for hints in stream:
        if hints:
            return list(hints)
    raise AssertionError("the stream ended")


def calls() -> int:
    return sum(count for run in Run.objects.all() for counts in run.calls.values() for count in counts.values())


@pytest.mark.same_everywhere
def test_what_changes_cost(between: Between, monkeypatch: pytest.MonkeyPatch):
    at_full_speed(monkeypatch)
    made: list[str] = []
    real = Database._call

    def call(self: Database, kind: str) -> AbstractContextManager[None]:
        if self._calls is not None and self.dialect == "postgresql":
            made.append(kind)
        return real(self, kind)

    monkeypatch.setattr(Database, "_call", call)
    names = iter(range(10**6))

    def people_of(name: str) -> System:
        def add() -> str:
            subject = f"Ticket {next(names)}"
            insert = "INSERT INTO tickets (subject, notes, updated_at, created_at) VALUES (%s, %s, %s, %s)"
            between.worlds[name].run(insert, subject, "old notes", *stamps().values())
            return str(between.worlds[name].run("SELECT id FROM tickets WHERE subject = %s", subject)[0][0])

        return System(add, lambda id, text: between.edit(name, id, notes=text))

    told = costs(between.pair, "left", people_of("left"), people_of("right"), lambda: made, between.pair.quiet)
    # A list is read with the rows that it names; a batch reads its rows, locks, writes and reads them back in one more.
    assert_at_most(
        told,
        idle=1,
        live_from=1,
        live_to=2,
        create_from=0.05,
        poll_from=0.04,
        update_from=0.04,
        create_to=0.04,
        poll_to=0.04,
        update_to=0.04,
    )
