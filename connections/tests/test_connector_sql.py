"""What is particular to databases: open transactions, keys of several columns, odd values, rights, addresses, files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from connections.connectors import sql_engine
from connections.connectors.base import (
    ConnectorError,
    Creation,
    Expired,
    Gone,
    NeedsAuthorization,
    NotAllowed,
    Record,
    Refused,
    Retry,
    Update,
)
from connections.connectors.sql import OtherSql
from connections.connectors.sql_changes import Listing
from connections.connectors.sql_engine import engines
from connections.connectors.sql_writes import Writer
from connections.tests.contract_vendor import outcome
from connections.tests.sql_servers import PASSWORD, needs_mariadb
from connections.tests.sql_world import DATABASE, USER, State, World, uninstall
from syncadmin.bench.postgresql import free_port

KINDS = ["sqlite", "postgresql", pytest.param("mysql", marks=needs_mariadb)]
SERVERS = KINDS[1:]

MakeWorld = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[MakeWorld]:
    """make(kind, watched table, …): a world whose clock goes on."""
    settings.SQLITE_FOLDER = str(tmp_path)
    made: list[World] = []

    def one(kind: str, watched: str = "tickets", **declared: str) -> World:
        world = World(kind, tmp_path, monkeypatch, frozen=False, **declared)
        made.append(world)
        if watched:
            world.connector.watch(watched)
        return world

    yield one
    for world in made:
        if world.kind != "sqlite":
            uninstall(world.kind, world.app)


def ticket(world: World, subject: str = "Thing", session: Any = None, **more: Any) -> str:
    row = {"subject": subject, "updated_at": "2026-01-01 09:00:00", "created_at": "2026-01-01 09:00:00", **more}
    id_ = world.run("SELECT COALESCE(MAX(id), 1000) + 1 FROM tickets")[0][0] if "id" not in row else row.pop("id")
    row = {"id": id_, **row}
    statement = f"INSERT INTO tickets ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})"
    execute(world, session or world.app, statement, *row.values())
    return str(id_)


def execute(world: World, session: Any, statement: str, *given: Any) -> None:
    if world.kind == "sqlite":
        session.execute(statement.replace("%s", "?"), given)
    else:
        session.cursor().execute(statement, given or None)


def poll(world: World, watermark: str | None, table: str = "tickets") -> tuple[dict[str, Record], str]:
    pages = list(world.connector.changed_since(table, watermark, ["subject"] if table == "tickets" else ["label"], {}))
    assert pages[-1].last and pages[-1].watermark
    return {record.external_id: record for page in pages for record in page.records}, pages[-1].watermark


# Open transactions. --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SERVERS)
def test_what_commits_late_is_found_though_later_changes_were_found_before(make: MakeWorld, kind: str):
    world = make(kind)
    first, second = ticket(world, "one"), ticket(world, "two")
    _, position = poll(world, None)
    slow = world.other_session()
    execute(world, slow, "UPDATE tickets SET subject = 'slow' WHERE id = %s", int(first))
    world.run("UPDATE tickets SET subject = 'quick' WHERE id = %s", int(second))
    found, position = poll(world, position)
    assert found[second].values == {"subject": "quick"} and first not in found
    for _ in range(2):
        found, position = poll(world, position)
        assert first not in found
    slow.commit()
    found, position = poll(world, position)
    assert found[first].values == {"subject": "slow"}
    slow.close()


@pytest.mark.parametrize("kind", SERVERS)
def test_a_listing_of_all_rows_begins_before_what_is_still_open(make: MakeWorld, kind: str):
    world = make(kind)
    first = ticket(world, "one")
    slow = world.other_session()
    execute(world, slow, "UPDATE tickets SET subject = 'slow' WHERE id = %s", int(first))
    ticket(world, "two")
    found, position = poll(world, None)
    assert found[first].values == {"subject": "one"}
    slow.commit()
    found, _ = poll(world, position)
    assert found[first].values == {"subject": "slow"}
    slow.close()


@needs_mariadb
def test_a_number_that_was_rolled_back_holds_the_position_only_for_a_while(make: MakeWorld):
    world = make("mysql")
    _, position = poll(world, None)
    undone = world.other_session()
    ticket(world, "undone", undone, id=900)
    kept = ticket(world, "kept", id=901)
    undone.rollback()
    undone.close()
    found, position = poll(world, position)
    assert set(found) == {kept}
    found, position = poll(world, position)
    assert set(found) == {kept}  # the gap is waited for, so what follows is told again
    world.run("UPDATE syncadmin_changes SET at = at - INTERVAL 2 MINUTE")
    _, position = poll(world, position)
    assert poll(world, position)[0] == {}


def test_a_file_lets_one_transaction_write_so_lines_come_in_order(make: MakeWorld):
    world = make("sqlite")
    first = ticket(world)
    slow = world.other_session()
    execute(world, slow, "UPDATE tickets SET subject = 'slow' WHERE id = %s", int(first))
    import sqlite3

    other = sqlite3.connect(world.file, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("UPDATE tickets SET subject = 'other'")
    _, position = poll(world, None)
    slow.commit()
    assert poll(world, position)[0][first].values == {"subject": "slow"}


def test_the_bell_rings_for_what_commits_late_and_not_again_for_what_was_heard(make: MakeWorld):
    world = make("postgresql")
    first, second = ticket(world), ticket(world)
    stop = threading.Event()
    stream = world.connector.listen(["tickets"], stop.is_set)
    assert [hint.external_id for hint in next(iter(stream))] == ["*"]
    slow = world.other_session()
    execute(world, slow, "UPDATE tickets SET subject = 'slow' WHERE id = %s", int(first))
    world.run("UPDATE tickets SET subject = 'quick' WHERE id = %s", int(second))
    assert [hint.external_id for hint in next(iter(stream))] == [second]
    slow.commit()
    heard = next(iter(stream))
    assert [hint.external_id for hint in heard] == [first]
    assert heard[0].version == world.connector.get_many("tickets", [first], [])[first].version
    assert heard[0].verified and not heard[0].own_account
    stop.set()
    assert list(stream) == []
    slow.close()


# Keys. ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_several_columns_is_the_same_in_reads_and_in_triggers(make: MakeWorld, kind: str):
    world = make(kind, "pieces")
    _, position = poll(world, None, "pieces")
    insert = "INSERT INTO pieces (box, nr, label) VALUES (%s, %s, %s)"
    odd = "a~b%c'd"
    world.run(insert, odd, 7, "odd")
    world.run(insert, "Grün", 7, "green")
    found, position = poll(world, position, "pieces")
    assert {record.values["label"]: id_ for id_, record in found.items()} == {"odd": "a%7Eb%25c'd~7", "green": "Grün~7"}
    [written] = world.connector.update_many("pieces", [Update("a%7Eb%25c'd~7", {"label": "new"})], ["label"])
    assert not isinstance(written, ConnectorError) and written.record.values == {"label": "new"}
    made = world.connector.create("pieces", {"box": odd, "nr": 8, "label": "made"}, "key", {}).record
    assert (made.external_id, made.correlation_key) == ("a%7Eb%25c'd~8", "key")
    world.run("UPDATE pieces SET nr = 9 WHERE nr = 8")
    world.run("DELETE FROM pieces WHERE box = %s", "Grün")
    found, _ = poll(world, position, "pieces")
    assert {id_: record.deleted for id_, record in found.items()} == {
        "a%7Eb%25c'd~7": False,
        "a%7Eb%25c'd~8": True,
        "a%7Eb%25c'd~9": False,
        "Grün~7": True,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_key_at_the_same_time_makes_one_row(make: MakeWorld, kind: str):
    world = make(kind)
    world.connector.create("tickets", {"subject": "before"}, "other", {})
    results: list[Any] = []

    def act() -> None:
        results.append(outcome(lambda: world.connect().create("tickets", {"subject": "twice"}, "key", {})))

    threads = [threading.Thread(target=act) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.run("SELECT COUNT(*) FROM tickets WHERE subject = 'twice'")[0][0] == 1
    made = {result.record.external_id for result in results if not isinstance(result, Retry)}
    assert len(made) == 1


@pytest.mark.parametrize("kind", SERVERS)
def test_a_key_that_another_worker_commits_after_our_look_is_not_made_twice(
    make: MakeWorld, kind: str, monkeypatch: pytest.MonkeyPatch
):
    world = make(kind)
    looked = Writer.by_key

    def look_and_be_overtaken(self: Writer, *args: Any) -> Any:
        found = looked(self, *args)
        monkeypatch.setattr(Writer, "by_key", looked)
        assert world.connect().create("tickets", {"subject": "twice"}, "key", {}).created
        return found

    monkeypatch.setattr(Writer, "by_key", look_and_be_overtaken)
    with pytest.raises(Retry):
        world.connector.create("tickets", {"subject": "twice"}, "key", {})
    assert world.run("SELECT COUNT(*) FROM tickets WHERE subject = 'twice'")[0][0] == 1
    assert not world.connector.create("tickets", {"subject": "twice"}, "key", {}).created


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_for_our_key_takes_the_place_of_the_table(make: MakeWorld, kind: str):
    world = make(kind, "", changes="column", tables="tickets: correlation=team, changed=updated_at, created=created_at")
    made = world.connector.create("tickets", {"subject": "New"}, "key-1", {})
    assert made.created and not world.connector.create("tickets", {"subject": "New"}, "key-1", {}).created
    assert world.run("SELECT team FROM tickets") in ([("key-1",)], [["key-1"]], (("key-1",),))


def test_without_a_place_for_the_key_nothing_is_created(make: MakeWorld):
    world = make("sqlite", "", changes="column")
    with pytest.raises(NotAllowed, match="correlation"):
        world.connector.create("tickets", {"subject": "New"}, "key-1", {})


# Rows that are not shown. ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_a_view_lacks_may_be_there_and_one_that_its_table_lacks_is_gone(make: MakeWorld, kind: str):
    name = "OPEN_TICKETS" if kind == "sqlite" else "open_tickets"  # to SQLite the same name
    world = make(kind, "", changes="column", tables=f"tickets:\n{name}: key=id")
    table, view = (world.connector.capabilities_of(one) for one in ("tickets", name))
    assert table.not_found_means_gone and not table.not_found_tells_nothing
    assert view.not_found_tells_nothing and not view.not_found_means_gone
    assert f"{name} is a view" in " ".join(world.connector.check().notes)


def test_a_materialized_view_is_a_view(make: MakeWorld):
    world = make("postgresql", "", tables="old_tickets: key=id")
    world.run("CREATE MATERIALIZED VIEW old_tickets AS SELECT id, subject FROM tickets")
    try:
        world.run(f"GRANT SELECT ON old_tickets TO {USER}")
        assert world.connector.capabilities_of("old_tickets").not_found_tells_nothing
        assert not any(field.writable for field in world.connector.fields("old_tickets", {}))
    finally:
        world.run("DROP MATERIALIZED VIEW old_tickets")


@pytest.fixture
def hiding(make: MakeWorld) -> Iterator[tuple[World, str]]:
    """A world that was read before somebody let a policy decide which rows we are shown, and a row that it hides."""
    world = make("postgresql")
    ticket(world, team="ours")
    _, watermark = poll(world, None)
    world.run("CREATE POLICY ours ON tickets USING (team IS DISTINCT FROM 'theirs')")
    world.run("ALTER TABLE tickets ENABLE ROW LEVEL SECURITY")
    world.run("ALTER TABLE tickets FORCE ROW LEVEL SECURITY")  # the table is ours
    world.run("UPDATE tickets SET team = 'theirs'")
    yield world, watermark
    world.run("DROP POLICY ours ON tickets")
    world.run("ALTER TABLE tickets NO FORCE ROW LEVEL SECURITY")
    world.run("ALTER TABLE tickets DISABLE ROW LEVEL SECURITY")


def test_a_row_that_row_security_hides_is_not_told_as_deleted(hiding: tuple[World, str]):
    """⚑ Nor by what was known of the table a moment before."""
    world, watermark = hiding
    assert poll(world, watermark)[0] == {}
    world.run("DELETE FROM tickets")
    told, _ = poll(world, watermark)
    assert [record.deleted for record in told.values()] == [True], "its trigger tells of the deletion"


def test_a_row_that_row_security_hides_may_be_there(hiding: tuple[World, str]):
    world, _ = hiding
    [(row,)] = world.run("SELECT id FROM tickets")
    assert world.connector.get_many("tickets", [str(row)], []) == {}
    assert "Row security hides rows of tickets" in " ".join(world.connector.check().notes)
    able = world.connector.capabilities_of("tickets")
    assert able.not_found_tells_nothing and not able.not_found_means_gone
    with pytest.raises(Gone) as told:
        world.connector.update("tickets", str(row), {"subject": "New"}, None, [])
    assert not told.value.certain


# Triggers. -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_triggers_are_installed_told_of_and_removed_without_a_trace(make: MakeWorld, kind: str):
    world = make(kind, "")
    with pytest.raises(NotAllowed, match="Triggers"):
        poll(world, None)
    [before] = [one for one in world.connector.watched() if one.object_type == "tickets"]
    assert not before.on and "CREATE TRIGGER" in before.script
    [view] = [one for one in world.connector.watched() if one.object_type == "open_tickets"]
    assert not view.on and not view.script and "key" in view.note
    world.connector.watch("tickets")
    assert [one.object_type for one in world.connector.watched() if one.on] == ["tickets"]
    world.connector.unwatch("tickets")
    assert not any(one.on for one in world.connector.watched())
    tables = {
        name
        for name, _ in world.connector.db.read(lambda session: [(n, 0) for n in sa.inspect(session).get_table_names()])
    }
    assert not any(name.startswith("syncadmin") for name in tables)


@pytest.mark.parametrize("kind", KINDS)
def test_triggers_that_somebody_took_away_stop_the_polls_and_anew_everything_is_compared(make: MakeWorld, kind: str):
    world = make(kind)
    _, position = poll(world, None)
    [name] = [
        part.split('"')[1] if '"' in part else part.split("`")[1] for part in _scripts(world) if "_insert" in part
    ][:1]
    world.run(
        f'DROP TRIGGER "{name}"' + (" ON tickets" if kind == "postgresql" else "")
        if kind != "mysql"
        else f"DROP TRIGGER `{name}`"
    )
    world.connector.forget()
    with pytest.raises(NotAllowed, match="Install"):
        poll(world, position)
    world.connector.watch("tickets")
    with pytest.raises(Expired):
        poll(world, position)
    poll(world, None)


def _scripts(world: World) -> list[str]:
    [one] = [one for one in world.connector.watched() if one.object_type == "tickets"]
    return [part for part in one.script.split(";") if "DROP TRIGGER" in part]


def test_a_table_emptied_at_once_is_compared_completely(make: MakeWorld):
    world = make("postgresql")
    ticket(world)
    _, position = poll(world, None)
    world.run("TRUNCATE tickets")
    with pytest.raises(Expired):
        poll(world, position)
    found, position = poll(world, None)
    assert found == {} and poll(world, position)[0] == {}


@needs_mariadb
def test_what_is_written_straight_into_a_partition_is_a_change_of_its_table(make: MakeWorld):
    world = make("postgresql", "", tables="logs: title=label")
    made = "CREATE TABLE logs (id INTEGER, team INTEGER, label TEXT, PRIMARY KEY (id, team)) PARTITION BY LIST (team)"
    for statement in (made, "CREATE TABLE logs_1 PARTITION OF logs FOR VALUES IN (1)"):
        world.run(statement)
    world.run(f"ALTER TABLE logs OWNER TO {USER}"), world.run(f"ALTER TABLE logs_1 OWNER TO {USER}")
    try:
        world.run("INSERT INTO logs VALUES (1, 1, 'old'), (2, 1, 'old'), (3, 1, 'old')")
        world.connector.watch("logs")
        seen, watermark = poll(world, None, "logs")
        assert set(seen) == {"1~1", "2~1", "3~1"}
        world.run("UPDATE logs_1 SET label = 'new' WHERE id = 1")
        world.run("DELETE FROM logs_1 WHERE id = 2")
        world.run("INSERT INTO logs_1 VALUES (4, 1, 'new')")
        world.run("UPDATE logs SET label = 'new' WHERE id = 3")
        found, watermark = poll(world, watermark, "logs")
        assert {id_: record.deleted for id_, record in found.items()} == {
            "1~1": False, "2~1": True, "3~1": False, "4~1": False,
        }  # fmt: skip
        world.run("CREATE TABLE logs_2 PARTITION OF logs FOR VALUES IN (2)")
        world.run("INSERT INTO logs_2 VALUES (5, 2, 'later')")
        assert "5~2" in poll(world, watermark, "logs")[0]
        world.connector.unwatch("logs")
    finally:
        world.run("DROP TABLE logs")


def test_a_table_whose_rows_change_without_triggers_is_not_watched(make: MakeWorld):
    world = make("mysql", "")
    world.run(
        "CREATE TABLE replies (id INT PRIMARY KEY, t BIGINT, FOREIGN KEY (t) REFERENCES tickets (id) ON DELETE CASCADE)"
    )
    try:
        with pytest.raises(NotAllowed, match="without running triggers"):
            world.connector.watch("replies")
    finally:
        world.run("DROP TABLE replies")


@pytest.mark.parametrize("kind", KINDS)
def test_old_lines_are_swept_and_the_last_one_stays(make: MakeWorld, kind: str):
    from connections.connectors import sql_outbox

    world = make(kind)
    ticket(world), ticket(world)
    world.run(
        "UPDATE syncadmin_changes SET at = '2020-01-01T00:00:00.000Z'"
        if kind == "sqlite"
        else "UPDATE syncadmin_changes SET at = '2020-01-01 00:00:00'"
    )
    world.connector.db.write(sql_outbox.sweep)
    assert len(world.run("SELECT id FROM syncadmin_changes")) == 1


# By a column. --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_growing_number_tells_what_changed(make: MakeWorld, kind: str):
    world = make(kind, "", changes="column", tables="pieces: key=box+nr, changed=nr")
    insert = "INSERT INTO pieces (box, nr, label) VALUES (%s, %s, %s)"
    for nr in (1, 2, 3):
        world.run(insert, "b", nr, "x")
    found, position = poll(world, None, "pieces")
    assert set(found) == {"b~1", "b~2", "b~3"}
    world.run(insert, "b", 4, "x")
    assert set(poll(world, position, "pieces")[0]) == {"b~3", "b~4"}
    late = world.connector.shift_watermark(position, 1200)
    assert set(poll(world, late, "pieces")[0]) == {"b~1", "b~2", "b~3", "b~4"}


@pytest.mark.parametrize("kind", KINDS)
def test_times_of_a_column_are_a_position_and_rows_without_one_are_listed_first(make: MakeWorld, kind: str):
    world = make(kind, "", changes="column", tables="tickets: changed=seen")
    old, new = ticket(world, seen="2026-01-01 10:00:00"), ticket(world, seen="2026-02-01 10:00:00")
    never = ticket(world)
    pages = list(world.connector.changed_since("tickets", None, [], {}))
    assert [record.external_id for page in pages for record in page.records] == [never, old, new]
    assert set(poll(world, "2026-02-01T10:00:00Z")[0]) == {never, new}
    assert set(poll(world, "2026-02-01T10:00:01Z")[0]) == {never}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("column", ["seen", "effort"])
def test_a_new_row_whose_changed_column_only_an_edit_fills_is_listed(
    make: MakeWorld, monkeypatch: pytest.MonkeyPatch, kind: str, column: str
):
    """As with `updated_at DATETIME NULL ON UPDATE CURRENT_TIMESTAMP`, or a number that a trigger on updates gives."""
    monkeypatch.setattr(Listing.page, "__defaults__", (None, 2))  # rows a page
    world = make(kind, "", changes="column", tables=f"tickets: changed={column}")
    edited = ticket(world, **{column: "2026-01-01 10:00:00" if column == "seen" else 5})
    _, position = poll(world, None)
    new = {ticket(world) for _ in range(5)}
    found, position = poll(world, position)
    assert set(found) - {edited} == new
    assert set(poll(world, position)[0]) - {edited} == new


def test_a_time_in_a_form_that_nobody_can_read_does_not_hide_its_row(make: MakeWorld):
    world = make("sqlite", "", changes="column", tables="tickets: changed=updated_at")
    _, position = poll(world, None)
    odd = ticket(world, updated_at="01.02.2026")
    assert set(poll(world, position)[0]) == {odd}


# Odd rows. -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_with_an_odd_value_hides_that_value_alone(make: MakeWorld, kind: str):
    world = make(kind)
    exact = ticket(world, effort="0.5", seen="2026-01-01 10:00:00")
    odd = ticket(world, effort="12345678901234567890.0123456789")
    if kind == "mysql":
        world.run("SET SESSION sql_mode = ''")
        world.run("UPDATE tickets SET seen = '0000-00-00' WHERE id = %s", int(odd))
    else:
        world.run("UPDATE tickets SET seen = %s WHERE id = %s", "infinity", int(odd))
    found = world.connector.get_many("tickets", [exact, odd], ["subject", "effort", "seen"])
    assert dict(found[exact].values) == {"subject": "Thing", "effort": 0.5, "seen": "2026-01-01T10:00:00Z"}
    assert found[odd].unreadable >= {"seen"} and found[odd].values["subject"] == "Thing"
    if kind != "sqlite":  # which stores no such decimal to begin with
        assert "effort" in found[odd].unreadable


def test_a_row_of_ten_megabytes_is_read(make: MakeWorld):
    world = make("postgresql")
    id_ = ticket(world, notes="x" * 10_000_000)
    assert len(world.connector.get_many("tickets", [id_], ["notes"])[id_].values["notes"]) == 10_000_000


def test_every_type_keeps_its_meaning(make: MakeWorld):
    world = make("postgresql", "", tables="", zone="Europe/Berlin")
    world.run(
        "CREATE TABLE odd (id uuid PRIMARY KEY, doc jsonb, numbers int[], at time, local timestamp, raw bytea, "
        "span interval, made int GENERATED ALWAYS AS (1) STORED)"
    )
    world.run("GRANT ALL ON odd TO PUBLIC; ALTER TABLE odd OWNER TO syncadmin_test")
    try:
        fields = {field.path: field for field in world.connector.fields("odd", {})}
        assert {path: field.kind for path, field in fields.items()} == {
            "id": "text", "doc": "text", "numbers": "set", "at": "text", "local": "datetime", "made": "number",
        }  # fmt: skip
        assert not fields["made"].writable and not fields["made"].creatable
        world.connector.watch("odd")
        given = {
            "id": "6f3b9a52-5f0e-4d8c-9a39-0d6a4f3b7c11",
            "doc": '{"a":[1.10,null],"b":"ü"}',
            "numbers": ["1", "2"],
            "at": "08:30:00",
            "local": "2026-07-01T10:00:00Z",
        }
        made = world.connector.create("odd", given, "key", {}).record
        assert dict(made.values) == given
        assert world.run("SELECT local::text, doc->'a'->>0 FROM odd") == [("2026-07-01 12:00:00", "1.10")]
        with pytest.raises(Refused) as refused:
            world.connector.update("odd", made.external_id, {"doc": "{", "numbers": ["x"]}, None, [])
        assert set(refused.value.fields) == {"doc", "numbers"}
    finally:
        world.run("DROP TABLE odd")


@pytest.mark.parametrize("kind", KINDS)
def test_what_only_the_database_refuses_is_told_of_its_row_and_field_and_the_others_are_written(
    make: MakeWorld, kind: str
):
    world = make(kind)
    world.run("CREATE UNIQUE INDEX one_note ON tickets (team)")
    try:
        ids = [ticket(world) for _ in range(3)]
        ticket(world, team="taken")
        updates = [Update(id_, {"team": team}) for id_, team in zip(ids, ["a", "taken", "b"], strict=True)]
        results = world.connector.update_many("tickets", updates, ["team"])
        assert isinstance(results[1], Refused) and set(results[1].fields) <= {"team"}
        assert [r.record.values["team"] for r in (results[0], results[2]) if not isinstance(r, ConnectorError)] == [
            "a",
            "b",
        ]
        creations = [Creation({"subject": "n", "product_id": product}, f"k{product}") for product in ("1", "77")]
        world.run("INSERT INTO products (id, name) VALUES (1, 'One')")
        made = world.connector.create_many("tickets", creations, [], {})
        assert not isinstance(made[0], ConnectorError) and isinstance(made[1], Refused)
    finally:
        world.run("DROP INDEX one_note" + (" ON tickets" if kind == "mysql" else ""))


KEEPS_STATUS = {
    "sqlite": "CREATE TRIGGER app_keeps AFTER UPDATE OF status ON tickets WHEN NEW.status IS NOT OLD.status "
    "BEGIN UPDATE tickets SET status = OLD.status WHERE id = OLD.id; END",
    "mysql": "CREATE TRIGGER app_keeps BEFORE UPDATE ON tickets FOR EACH ROW SET NEW.status = OLD.status",
    "postgresql": "CREATE TRIGGER app_keeps BEFORE UPDATE ON tickets FOR EACH ROW EXECUTE FUNCTION app_keeps()",
}
KEEPER = """CREATE OR REPLACE FUNCTION app_keeps() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.status := OLD.status; RETURN NEW; END $$"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_that_a_trigger_of_the_table_puts_back_is_a_refusal_that_names_the_field(make: MakeWorld, kind: str):
    world = make(kind)
    ids = [ticket(world, status="New") for _ in range(3)]
    if kind == "postgresql":
        world.run(KEEPER)
    world.run(KEEPS_STATUS[kind])
    try:
        values = [{"status": "Done"}, {"status": "Done", "subject": "Both"}, {"status": "New", "subject": "One"}]
        updates = [Update(id_, one) for id_, one in zip(ids, values, strict=True)]
        alone, both, one = world.connector.update_many("tickets", updates, ["status", "subject"])
        assert isinstance(alone, Refused) and set(alone.fields) == {"status"} and "trigger" in alone.message
        assert not isinstance(both, ConnectorError) and both.on_the_way == {"status": "New"}
        assert both.record.values == {"status": "New", "subject": "Both"}
        assert not isinstance(one, ConnectorError) and not one.on_the_way
        # What was refused is as it was, without our name as its editor.
        assert world.run("SELECT COUNT(*) FROM tickets WHERE editor IS NULL")[0][0] == 1
    finally:
        world.run("DROP TRIGGER app_keeps" + (" ON tickets" if kind == "postgresql" else ""))


# Rights, sign-in, addresses. -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SERVERS)
def test_a_wrong_password_asks_for_a_new_sign_in_and_shows_none(make: MakeWorld, kind: str):
    world = make(kind, "")
    connector = world.connect(password="not-the-password")
    with pytest.raises(NeedsAuthorization) as caught:
        connector.check()
    assert "not-the-password" not in caught.value.message


@pytest.mark.parametrize("kind", SERVERS)
def test_an_address_without_a_database_server_is_told_and_tried_again(make: MakeWorld, kind: str):
    world = make(kind, "")
    nobody = outcome(lambda: world.connect(f"{kind}://127.0.0.1:{free_port()}/shop").object_types())
    assert isinstance(nobody, Retry) and "Nothing was" in nobody.message
    wrong = outcome(lambda: world.connect(world.address.replace(DATABASE, "nowhere")).object_types())
    assert isinstance(wrong, Retry | NeedsAuthorization) and "nowhere" in wrong.message


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_without_encryption_is_not_spoken_to_where_encryption_is_asked_for(make: MakeWorld, kind: str):
    world = make(kind, "")
    found = outcome(world.connect(tls="verified").object_types)
    assert isinstance(found, Retry) and "Nothing was sent" in found.message


@pytest.mark.parametrize("kind", SERVERS)
def test_only_a_checked_address_is_reached_and_the_name_is_looked_up_once(
    make: MakeWorld, kind: str, monkeypatch: pytest.MonkeyPatch, settings: Any
):
    world = make(kind, "")
    asked = []

    def look_up(host: str, port: int, *more: Any) -> list[Any]:
        asked.append(host)
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("connections.guard.socket.getaddrinfo", look_up)
    connector = world.connect(world.address.replace("127.0.0.1", "db.example.test"), name="Named")
    assert connector.object_types()
    assert asked.count("db.example.test") == 1
    settings.ALLOWED_PRIVATE_ADDRESSES = []
    sql_engine.forget(connector.place)
    connector.forget()
    found = outcome(connector.object_types)
    assert isinstance(found, Retry) and "not an address of the internet" in found.message


@pytest.mark.parametrize("kind", KINDS)
def test_read_only_is_kept_by_us_and_by_the_database(make: MakeWorld, kind: str):
    world = make(kind)
    id_ = ticket(world)
    reader = world.connect(mode="read_only")
    assert set(reader.get_many("tickets", [id_], [])) == {id_}
    with pytest.raises(NotAllowed, match="read only"):
        reader.update("tickets", id_, {"subject": "x"}, None, [])
    for engine in engines(reader.place):
        with engine.connect() as session, pytest.raises(sa.exc.DBAPIError):
            session.execute(sa.text("UPDATE tickets SET subject = 'x'"))


def test_rights_that_are_missing_are_named(make: MakeWorld):
    world = make("postgresql", "", tables="people: title=name\nnowhere: key=id")
    world.run("REVOKE ALL ON people FROM syncadmin_test")
    missing = " ".join(world.connect(people="").check().missing)
    assert "GRANT SELECT ON people" in missing and "nowhere" in missing
    with pytest.raises((NotAllowed, Refused)):
        list(world.connect(people="").get_many("people", ["1"], ["name"]))


def test_a_row_that_somebody_holds_is_tried_again_and_nobody_waits_long(make: MakeWorld, monkeypatch: Any):
    monkeypatch.setattr(sql_engine, "LOCK_SECONDS", 1)
    world = make("postgresql")
    id_ = ticket(world)
    sql_engine.forget(world.connector.place)
    holder = world.other_session()
    execute(world, holder, "SELECT * FROM tickets FOR UPDATE")
    with pytest.raises(Retry):
        world.connector.update("tickets", id_, {"subject": "x"}, None, [])
    holder.rollback()
    holder.close()
    sql_engine.forget(world.connector.place)


# Files. --------------------------------------------------------------------------------------------------------------


def test_only_files_of_the_allowed_folder_are_opened_and_never_our_own(make: MakeWorld, tmp_path: Path, settings: Any):
    import sqlite3

    world = make("sqlite", "")
    outside = tmp_path.parent / f"{tmp_path.name}-outside.db"
    sqlite3.connect(outside).execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    (tmp_path / "link.db").symlink_to(outside)

    def opened(name: str) -> Any:
        return outcome(lambda: world.connect(f"sqlite:///{name}").object_types())

    assert not isinstance(opened("helpdesk.db"), ConnectorError)
    for name in ("link.db", f"../{outside.name}", str(outside), "/etc/passwd", "none.db", "", "."):
        found = opened(name)
        assert isinstance(found, ConnectorError) and "Nothing was sent" in found.message, name
    assert not (tmp_path / "none.db").exists()
    settings.DATABASES = {"default": {"NAME": str(world.file)}}
    assert isinstance(opened("helpdesk.db"), Retry) and "SyncAdmin's own" in opened("helpdesk.db").message
    settings.DATABASES, settings.DATA_DIR = {}, str(tmp_path)
    assert "SyncAdmin's own" in opened("helpdesk.db").message
    settings.SQLITE_FOLDER = ""
    assert "SQLITE_FOLDER" in opened("helpdesk.db").message


def test_no_other_file_comes_in_by_a_statement(make: MakeWorld, tmp_path: Path):
    world = make("sqlite", "")
    with engines(world.connector.place)[1].connect() as session, pytest.raises(sa.exc.OperationalError):
        session.exec_driver_sql(f"ATTACH '{tmp_path / 'other.db'}' AS other")


@pytest.mark.parametrize(
    ("address", "package"), [("oracle://10.0.0.1/x", "oracledb"), ("sqlserver://10.0.0.1/x", "pymssql")]
)
def test_a_driver_that_is_not_installed_is_named_with_its_command(address: str, package: str):
    from connections.connectors.base import Context

    context = Context("Old", address, {"changes": "column", "tls": "off"}, {"password": PASSWORD}, None, None, State())  # type: ignore[arg-type]
    found = outcome(OtherSql(context).object_types)
    assert isinstance(found, NotAllowed) and f"pip install {package}" in found.message


# What it costs. ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "idle"), [("sqlite", 1), ("postgresql", 1), pytest.param("mysql", 1, marks=needs_mariadb)]
)
def test_statements_do_not_grow_with_the_rows(make: MakeWorld, kind: str, idle: int):
    world = make(kind)
    ids = [ticket(world) for _ in range(100)]
    connector = world.connector
    _, position = poll(world, None)
    calls: list[str] = []
    for engine in engines(connector.place):
        sa.event.listen(
            engine, "before_cursor_execute", lambda *told: told[2].startswith("BEGIN") or calls.append(told[2])
        )

    def counted(act: Callable[[], Any]) -> int:
        calls.clear()
        act()
        return len(calls)

    connector.update("tickets", ids[0], {"subject": "first"}, None, [])  # asks once who we are
    position = poll(world, position)[1]
    assert counted(lambda: poll(world, position)) == idle
    assert counted(lambda: connector.get_many("tickets", ids, ["subject", "effort"])) == 1
    updates = [
        Update(id_, {"subject": "new"}, record.version)
        for id_, record in connector.get_many("tickets", ids, []).items()
    ]
    assert counted(lambda: connector.update_many("tickets", updates, ["subject"])) == 3  # lock, write, read back
    assert counted(lambda: poll(world, position)) <= 5
    creations = [Creation({"subject": f"made {n}"}, f"key {n}") for n in range(100)]
    many = counted(lambda: connector.create_many("tickets", creations, ["subject"], {}))
    assert many <= (7 if kind == "postgresql" else 105)  # the others give ids back row by row
