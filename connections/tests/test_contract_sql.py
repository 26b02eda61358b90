"""The contract suite on SQL databases: real PostgreSQL and MariaDB servers and SQLite, each by triggers, and SQLite by
a column that changes with every row as well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connections.connectors import sql_install as install
from connections.connectors.base import Values
from connections.tests.contract import ConnectorContract, Person, Sample, Vendor
from connections.tests.sql_servers import needs_mariadb
from connections.tests.sql_world import TABLES, USER, World

BOOKKEEPING = ("updated_at", "created_at", "author", "editor")


class SqlVendor(Vendor):
    object_type = "tickets"
    narrow = {"where": "team = ours, both\nsubject is not empty"}
    leaving = {"team": "theirs"}
    title = "subject"
    ana = Person("ana@example.com", "ana", "Ana")
    inactive_person = "gone@example.com"
    unknown_id = "999999999"
    lines = "notes"
    has_pages = False
    matches = {"status": "done", "product_id": "2", "notes": "words of  NOTE"}

    def __init__(self, world: World) -> None:
        self.w = world
        self.connector = world.connector
        self.hidden: list[str] = []
        self.samples = {
            "text": Sample("notes", "Words", "Other words"),
            "option": Sample("status", "New", "Done"),
            "person": Sample("assignee_id", "ana@example.com", "bob@example.com"),
            "number": Sample("effort", 2.5, 3),
            "boolean": Sample("urgent", True, False),
            "date": Sample("due", "2026-02-03", "2026-12-24"),
            "datetime": Sample("seen", "2026-02-03T04:05:06Z", "2026-02-03T04:05:06.789000Z"),
            "reference": Sample("product_id", "1", "2"),
        }
        if world.kind != "sqlite":
            self.samples["set"] = Sample("tags", ["a", "b"], ["c"], empty=[])
        people = ((1, "ana@example.com", "Ana Ruiz", True), (2, "Bob@example.com", "Bob", True))
        for person in (*people, (3, "gone@example.com", "Gone Doe", False)):
            world.run("INSERT INTO people (id, email, name, active) VALUES (%s, %s, %s, %s)", *person)
        for product in (1, 2):
            world.run("INSERT INTO products (id, name) VALUES (%s, %s)", product, f"Product {product}")
        if not self.connector.db.read(install.installed):  # servers keep what the first test installed
            self.connector.watch("tickets")
            self.connector.forget()
            world.tick(1)  # what is listed from now on was written down from the beginning

    def _stored(self, path: str, value: Any) -> Any:
        if value is None or value == []:
            return None
        if path == "tags":
            return list(value) if self.w.kind == "postgresql" else ",".join(value)
        if path == "assignee_id":
            return {"ana@example.com": 1, "bob@example.com": 2}[value]
        if path == "product_id":
            return int(value)
        if path in ("seen",) and self.w.kind != "postgresql":
            return value.replace("T", " ").removesuffix("Z")
        return {"done": "Done"}.get(value, value) if path == "status" else value

    def _moment(self) -> Any:
        at = self.w.now
        return at if self.w.kind == "postgresql" else at.replace(tzinfo=None).isoformat(" ")

    def add(self, values: Values | None = None, inside: bool = True) -> str:
        row = {"subject": "Thing", "team": "ours" if inside else "theirs", **(values or {})}
        row = {path: self._stored(path, value) for path, value in row.items()}
        row |= {"updated_at": self._moment(), "created_at": self._moment(), "author": "ana", "editor": "ana"}
        places = ", ".join(["%s"] * len(row))
        returned = "" if self.w.kind == "mysql" else " RETURNING id"
        told = self.w.run(f"INSERT INTO tickets ({', '.join(row)}) VALUES ({places}){returned}", *row.values())
        return str(told[0][0] if told else self.w.run("SELECT LAST_INSERT_ID()")[0][0])

    def edit(self, external_id: str, values: Values) -> None:
        row = {path: self._stored(path, value) for path, value in values.items()}
        row |= {"updated_at": self._moment(), "editor": "ana"}
        changes = ", ".join(f"{path} = %s" for path in row)
        self.w.run(f"UPDATE tickets SET {changes} WHERE id = %s", *row.values(), int(external_id))

    def remove(self, external_id: str) -> None:
        self.w.run("DELETE FROM tickets WHERE id = %s", int(external_id))

    def ids(self) -> set[str]:
        return {str(row[0]) for row in self.w.run("SELECT id FROM tickets")}

    def snapshot(self, external_id: str) -> dict[str, Any]:
        columns = ["id", self.title, "team", *(sample.path for sample in self.samples.values())]
        [row] = self.w.run(f"SELECT {', '.join(columns)} FROM tickets WHERE id = %s", int(external_id))
        return dict(zip(columns, row, strict=True))

    def tick(self, seconds: float) -> None:
        self.w.tick(seconds)

    def stamp(self) -> str:
        return self.w.now.isoformat().replace("+00:00", "Z")

    def position_of(self, updated_at: str | None) -> str:
        return f"{updated_at}|" if self.connector.place.triggers else str(updated_at)

    def hide(self, path: str) -> None:
        self.hidden.append(path)
        if self.w.kind != "postgresql":  # no rights on columns, or a catalogue without those that are not ours
            self.connector.context.settings["tables"] = TABLES.replace("title=", f"hidden={path}, title=")  # type: ignore[index]
            return
        others = [name for name in (*self.snapshot_columns(), *BOOKKEEPING) if name != path]
        self.w.run(f"REVOKE SELECT ON tickets FROM {USER}")
        self.w.run(f"GRANT SELECT ({', '.join(others)}) ON tickets TO {USER}")

    def snapshot_columns(self) -> list[str]:
        return ["id", self.title, "team", *(sample.path for sample in self.samples.values())]

    def break_stream(self) -> None:
        """As if the triggers had been taken away and installed again."""
        self.w.tick(10)
        self.connector.unwatch("tickets")
        self.connector.watch("tickets")
        self.w.tick(10)


class SqlContract(ConnectorContract):
    kind: str
    settings: dict[str, str] = {}

    @pytest.fixture
    def vendor(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[SqlVendor]:
        settings.SQLITE_FOLDER = str(tmp_path)
        keep = self.kind != "sqlite"
        vendor = SqlVendor(World(self.kind, tmp_path, monkeypatch, keep=keep, **self.settings))
        yield vendor
        if vendor.hidden:
            vendor.connector.forget()


class TestPostgreSQL(SqlContract):
    kind = "postgresql"


@needs_mariadb
class TestMariaDB(SqlContract):
    kind = "mysql"


class TestSQLite(SqlContract):
    kind = "sqlite"


class TestSQLiteByColumn(SqlContract):
    kind = "sqlite"
    settings = {"changes": "column"}
