"""What all databases share: tables and views are object types, columns are fields.

Changes are found by triggers that write into an outbox in the transaction of each change, or by a column that changes
with a row. `scope`: {"where": conditions, see sql_scope.py}.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

import sqlalchemy as sa

from connections.connectors import sql_changes as changes
from connections.connectors import sql_check as checking
from connections.connectors import sql_install as install
from connections.connectors import sql_keys as keys
from connections.connectors import sql_outbox as outbox
from connections.connectors import sql_people as people
from connections.connectors import sql_scope as scopes
from connections.connectors import sql_shape as shapes
from connections.connectors import sql_values as values
from connections.connectors.base import (
    Capabilities,
    CheckResult,
    Connector,
    ConnectorError,
    Context,
    Creation,
    Field,
    FormField,
    NotAllowed,
    ObjectType,
    Page,
    Record,
    Refused,
    Update,
    Values,
    Watch,
    WriteResult,
)
from connections.connectors.sql_calls import Database
from connections.connectors.sql_declared import Declared, declared_people, declared_tables
from connections.connectors.sql_errors import SchemaMoved
from connections.connectors.sql_place import (
    COLUMN,
    Place,
    place_of,
)
from connections.connectors.sql_positions import shifted
from connections.connectors.sql_rows import Row, Selection
from connections.connectors.sql_shape import Shape
from connections.connectors.sql_stamps import version_comes_back
from connections.connectors.sql_writes import Writer, script

SHAPE_SECONDS = 600.0  # how long a table's description is believed; an error about it asks at once
SWEEP_SECONDS = 3600.0
T = TypeVar("T")

_lock = threading.Lock()
_shapes: dict[tuple[Any, ...], tuple[float, Any]] = {}
_swept: dict[tuple[str, ...], float] = {}

# With triggers. Rows and statements are as exact as a database is: see the chapters in docs/connectors.md.
CAPABILITIES = Capabilities(
    bulk_read=200,
    bulk_write=200,
    conditional_write=True,
    idempotent_create=True,
    create_lookup_consistent=True,
    settle_seconds=0.0,
    not_found_means_gone=True,
    lists_deletions=True,
    write_returns_record=True,
    exact_version=True,
    watermark_granularity=0.001,
    overlap=0.0,  # a place in the outbox passes nothing
    lookback=60.0,
    concurrency=4,
    rate_per_second=200.0,
    update_timeout=60.0,  # a statement ends after 20 s, and a session of ours that was cut off is ended by the server
)
# By a column: what an application stamps before it commits is seen this late at most.
COLUMN_LOOKBACK = 600.0
COLUMN_OVERLAP = 5.0


class SqlDatabase(Connector):
    """What all databases share. Each kind adds its form and what it can do beyond the others."""

    address_help = "Like postgresql://db.example.com:5432/shop."
    scope_form: ClassVar[Sequence[FormField]] = (
        FormField(
            "where",
            "Only rows where",
            required=False,
            multiline=True,
            help="One condition a line, all must hold: status = open, waiting · amount >= 10 · closed_at is empty.",
        ),
    )
    scope_help = (
        "Conditions on columns. What needs more than that is a view in the database; a view does not tell a row that "
        "it leaves out from one that was deleted, so where deletions have to cross, map the table."
    )
    hides_by = "a view or the row security of the database"
    watches = True
    capabilities = CAPABILITIES

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._db: Database | None = None
        self.capabilities = self.capabilities_for(context.settings)

    @classmethod
    def capabilities_for(cls, settings: Mapping[str, Any]) -> Capabilities:
        if settings.get("changes") != COLUMN:
            return cls.capabilities
        return replace(
            cls.capabilities,
            lists_deletions=False,
            overlap=COLUMN_OVERLAP,
            lookback=COLUMN_LOOKBACK,
            bell="none",
            feed_retention=None,
        )

    # What is known of a table -----------------------------------------------------------------------------------------

    def capabilities_of(self, object_type: str) -> Capabilities:
        """What holds for one table: a digest of its rows is the old one again after an edit back, and a row that is not
        found need not be gone where it may be hidden."""
        shape = self.shape(object_type)
        return replace(
            self.capabilities,
            version_comes_back=version_comes_back(shape),
            not_found_means_gone=not shape.hides_rows,
            not_found_tells_nothing=shape.hides_rows,
        )

    @property
    def db(self) -> Database:
        if self._db is None:
            self._db = Database(place_of(self.context), self.context.calls)
        return self._db

    @property
    def place(self) -> Place:
        return self.db.place

    def _key(self, *more: str) -> tuple[Any, ...]:
        said = (self.context.settings.get("tables", ""), self.context.settings.get("people", ""), str(self.place.zone))
        return (*self.place.key, *said, *more)

    def _kept(self, name: str, ask: Callable[[], T]) -> T:
        """What is asked for at most every ten minutes per process."""
        key = self._key(name)
        with _lock:
            kept = _shapes.get(key)
        if kept and time.monotonic() - kept[0] < SHAPE_SECONDS:
            found: T = kept[1]
            return found
        found = ask()
        with _lock:
            _shapes[key] = (time.monotonic(), found)
        return found

    def forget(self) -> None:
        """Ask again for all that is kept of this database."""
        mine = self._key()
        with _lock:
            for key in [key for key in _shapes if key[: len(mine)] == mine]:
                del _shapes[key]

    def shape(self, object_type: str) -> Shape:
        """Raises NotAllowed where the table cannot be used, or its triggers are gone."""

        def ask() -> Shape:
            return self.db.read(lambda session: self._read_shape(session, object_type))

        return self._kept(f"shape {object_type}", ask)

    def _read_shape(self, session: sa.Connection, object_type: str) -> Shape:
        if not object_type or shapes.split(object_type)[1] in shapes.OWN_TABLES:
            raise NotAllowed(f"“{object_type}” is no table to sync. Nothing was read. Choose another one.")
        declared = declared_tables(self.context.settings.get("tables", "")).get(object_type, Declared())
        person = declared_people(self.context.settings.get("people", ""))
        return shapes.read_shape(session, object_type, declared, person, self.place.zone)

    def _moved(self, act: Callable[[], T]) -> T:
        """`act`, and once more with a fresh look where a table is not (any more) as we knew it."""
        try:
            return act()
        except (SchemaMoved, NotAllowed) as error:
            self.forget()
            try:
                return act()
            except SchemaMoved:
                raise Refused(error.message) from None

    def _keys_table(self) -> bool:
        return self._kept("keys", lambda: self.db.read(install.has_keys))

    def _account(self) -> str:
        return self._kept("account", lambda: self.db.read(checking.account_of))

    def _selection(self, shape: Shape, fields: Sequence[str], scope: Values | None = None) -> Selection:
        dialect = self.db.dialect
        let_in = scopes.condition(shape, scope, dialect) if scope else None
        return Selection(shape, fields, dialect, self._keys_table(), let_in)

    def _writer(self, shape: Shape, fields: Sequence[str]) -> Writer:
        return Writer(self.db, shape, fields, self._account(), self._keys_table())

    # What there is ----------------------------------------------------------------------------------------------------

    def check(self) -> CheckResult:
        self.forget()
        named = list(declared_tables(self.context.settings.get("tables", "")))
        return self.db.read(
            lambda session: checking.check(
                session,
                self.place,
                named,
                lambda name: install.missing_triggers(session, self._read_shape(session, name)),
                lambda name: self._what_hides(session, name),
            )
        )

    def _what_hides(self, session: sa.Connection, name: str) -> str:
        """Why a row of this table that is not found may be there, and what follows; "" where it is gone."""
        try:
            shape = self._read_shape(session, name)
        except ConnectorError:
            return ""  # a table that cannot be read is told of otherwise
        if shape.is_view:
            return f"{name} is a view: a row that it leaves out counts as out of scope, deleted or not."
        if not shape.row_security:
            return ""
        told = "its deletion is told by triggers" if self.place.triggers else "deleted or not"
        return f"Row security hides rows of {name} from our account: such a row counts as out of scope, {told}."

    def object_types(self) -> Sequence[ObjectType]:
        there = self.db.read(shapes.names)
        declared = declared_tables(self.context.settings.get("tables", ""))
        found = dict(there)
        found |= {name: False for name in declared if name not in found}
        return [ObjectType(name, f"{name} (view)" if view else name) for name, view in sorted(found.items())]

    def fields(self, object_type: str, scope: Values) -> Sequence[Field]:
        self.forget()
        shape = self.shape(object_type)
        return [
            column.shown
            for path, column in shape.columns.items()
            if path not in shape.unreadable and column.stored != values.BYTES
        ]

    def people(self, query: str) -> Sequence[tuple[str, str]]:
        declared = declared_people(self.context.settings.get("people", ""))
        if declared is None:
            return []
        return self.db.read(lambda s: people.search(s, shapes.people_shape(s, declared), query))

    def url_of(self, object_type: str, external_id: str, key: str | None) -> str:
        link = self.context.settings.get("link", "").strip()
        if not link.startswith(("https://", "http://")):
            return ""
        return link.replace("{table}", quote(object_type, safe="")).replace("{id}", quote(external_id, safe=""))

    # Reads ------------------------------------------------------------------------------------------------------------

    def changed_since(
        self, object_type: str, watermark: str | None, fields: Sequence[str], scope: Values
    ) -> Iterator[Page]:
        shape = self._moved(lambda: self.shape(object_type))
        selection = self._selection(shape, fields)
        let_in = scopes.condition(shape, scope, self.db.dialect)
        listing = changes.Listing(shape, selection, self.db.dialect, let_in)
        if not self.place.triggers:
            self._kept(f"ids {object_type}", lambda: self.db.read(lambda s: _each_id_once(s, shape)))
            yield from changes.by_column(self.db, listing, watermark)
            return
        self._kept(f"triggers {object_type}", lambda: self.db.read(lambda s: self._all_there(s, shape)))
        yield from changes.by_outbox(
            self.db,
            listing,
            watermark,
            lambda ids: self._rows(object_type, ids, fields, scope),
            lambda: self.shape(object_type).hides_rows,
            self._sweep,
        )

    def _all_there(self, session: sa.Connection, shape: Shape) -> bool:
        why = install.why_not(session, shape)
        if why:
            raise NotAllowed(f"Changes of {shape.name} cannot be seen by triggers. {why} Nothing was read.")
        if install.missing_triggers(session, shape):
            raise outbox.not_watched(shape.name)
        return True

    def _sweep(self, db: Database) -> None:
        last = _swept.get(self.place.key)
        if self.place.read_only or (last is not None and time.monotonic() - last < SWEEP_SECONDS):
            return
        _swept[self.place.key] = time.monotonic()
        db.write(outbox.sweep)

    def shift_watermark(self, watermark: str, seconds: float) -> str:
        return shifted(watermark, seconds)

    def _rows(
        self, object_type: str, ids: Sequence[str], fields: Sequence[str], scope: Values | None = None
    ) -> dict[str, Row]:
        """{id: row} of those that are there."""

        def read(session: sa.Connection, part: Sequence[str]) -> list[Row]:
            shape = self.shape(object_type)
            selection = self._selection(shape, fields, scope)
            wanted = [key for one in part if (key := keys.parsed(shape.key, one, self.db.dialect)) is not None]
            if not wanted:
                return []
            answers = session.execute(selection.select().where(keys.where(shape.key, wanted)))
            return [row for answer in answers if (row := selection.read(answer)) is not None]

        found: dict[str, Row] = {}
        distinct = list(dict.fromkeys(ids))
        for start in range(0, len(distinct), self.capabilities.bulk_read):
            part = distinct[start : start + self.capabilities.bulk_read]
            self._moved(lambda: (self.shape(object_type), self._keys_table()))
            rows = self._moved(lambda: self.db.read(lambda session: read(session, part)))  # noqa: B023
            found |= {row.record.external_id: row for row in rows if row.record.external_id in part}
        if len(found) < len(distinct):
            self._look_what_hides(object_type)
        return found

    def _look_what_hides(self, object_type: str) -> None:
        """⚑ A row is missing: whether it may be hidden must not be told by what was known before."""
        shape = self.shape(object_type)
        if self.db.dialect != "postgresql" or shape.is_view:
            return
        if self.db.read(lambda session: shapes.row_security(session, shape.table)) != shape.row_security:
            self.forget()

    def get_many(self, object_type: str, ids: Sequence[str], fields: Sequence[str]) -> Mapping[str, Record]:
        return {id_: row.record for id_, row in self._rows(object_type, ids, fields).items()}

    def in_scope(self, object_type: str, ids: Sequence[str], scope: Values) -> set[str]:
        return {id_ for id_, row in self._rows(object_type, ids, (), scope).items() if row.let_in}

    def admits(self, object_type: str, record: Record, scope: Values) -> bool | None:
        return None if str(scope.get("where") or "").strip() else True

    def list_ids(self, object_type: str, scope: Values) -> Iterator[Sequence[str]]:
        shape = self.shape(object_type)
        selection = self._selection(replace(shape, version=shapes.NONE, declared=Declared(), title=""), ())
        let_in = scopes.condition(shape, scope, self.db.dialect)
        yield from changes.all_ids(self.db, changes.Listing(shape, selection, self.db.dialect, let_in))

    def find_by_correlation_key(
        self, object_type: str, keys: Sequence[str], fields: Sequence[str], scope: Values
    ) -> Mapping[str, Sequence[Record]]:
        """A row outside the scope counts as well: its thing exists."""
        writer = self._writer(self.shape(object_type), fields)
        found = self.db.read(lambda session: writer.by_key(session, list(keys), fields))
        return {key: [row.record for row in rows] for key, rows in found.items()}

    def own_recent(self, object_type: str, since: str, fields: Sequence[str], scope: Values) -> Sequence[Record]:
        """Empty where no columns say who made a row, and when. Our key tells it better, and a row always has one."""
        shape = self.shape(object_type)
        made, by = (shape.columns.get(name) for name in (shape.declared.created, shape.declared.created_by))
        if made is None or by is None or made.stored not in (values.LOCAL, values.INSTANT):
            return []
        selection = self._selection(shape, fields)
        query = selection.select().where(by.sa == self._account())
        if self.db.dialect != "sqlite":
            begin = values.compared(made, since, self.db.dialect)
            query = query.where(made.sa >= begin)
        rows = self.db.read(lambda session: [selection.read(answer) for answer in session.execute(query)])
        begin_at = values.moment(since, None)
        return [
            row.record
            for row in rows
            if row and row.record.created_at and values.moment(row.record.created_at, None) >= begin_at
        ]

    def find_by_values(
        self, object_type: str, path: str, wanted: Sequence[Any], fields: Sequence[str], scope: Values
    ) -> Sequence[Record]:
        shape = self.shape(object_type)
        column = shape.columns.get(path)
        if column is None or not column.shown.matchable or path in shape.unreadable:
            raise Refused(f"{shape.name} cannot be searched by {path}. Nothing was read. Choose another match field.")
        given = [str(value) for value in wanted if value not in (None, "")]
        texts = {_folded(text): text.rstrip() for text in given}
        if not texts:
            return []
        selection = self._selection(shape, [*fields, path], scope or None)
        looked_for = sorted({*given, *texts.values()})
        query = selection.select().where(scopes.equals(column, looked_for, list(texts), self.db.dialect))
        if (let_in := scopes.condition(shape, scope, self.db.dialect)) is not None:
            query = query.where(let_in)
        rows = self.db.read(lambda session: [selection.read(answer) for answer in session.execute(query)])
        # Databases differ in what they take for equal (accents): here it is the same for all.
        fitting = [row.record for row in rows if row and _folded(row.record.values.get(path)) in texts]
        return [replace(r, values={p: v for p, v in r.values.items() if p in fields}) for r in fitting]

    # Writes -----------------------------------------------------------------------------------------------------------

    def create(
        self,
        object_type: str,
        values: Values,
        correlation_key: str,
        scope: Values,
        parent_id: str | None = None,
        fields: Sequence[str] = (),
    ) -> WriteResult:
        return _alone(self.create_many(object_type, [Creation(values, correlation_key)], fields, scope))

    def update(
        self, object_type: str, external_id: str, values: Values, expected_version: str | None, fields: Sequence[str]
    ) -> WriteResult:
        return _alone(self.update_many(object_type, [Update(external_id, values, expected_version)], fields))

    def create_many(
        self, object_type: str, creations: Sequence[Creation], fields: Sequence[str], scope: Values
    ) -> Sequence[WriteResult | ConnectorError]:
        return self._moved(lambda: self._writer(self.shape(object_type), fields).create_many(creations))

    def update_many(
        self, object_type: str, updates: Sequence[Update], fields: Sequence[str]
    ) -> Sequence[WriteResult | ConnectorError]:
        return self._moved(lambda: self._writer(self.shape(object_type), fields).update_many(updates))

    def delete(self, object_type: str, external_id: str) -> None:
        self._moved(lambda: self._writer(self.shape(object_type), ()).delete(external_id))

    def write_correlation_key(self, object_type: str, external_id: str, key: str) -> None:
        self._moved(lambda: self._writer(self.shape(object_type), ()).write_key(external_id, key))

    # Triggers ---------------------------------------------------------------------------------------------------------

    def watched(self) -> Sequence[Watch]:
        types = self.object_types()
        self.forget()

        def look(session: sa.Connection) -> list[Watch]:
            if not self.place.triggers:
                return [_key_place(session)]
            on = install.installed(session)
            return [self._watch_of(session, one, on.get(one.name)) for one in types]

        return self.db.read(look)

    def _watch_of(self, session: sa.Connection, one: ObjectType, since: str | None) -> Watch:
        try:
            shape = self._read_shape(session, one.name)
        except ConnectorError as error:
            return Watch(one.name, one.label, False, note=error.message)
        why = install.why_not(session, shape)
        if why:
            return Watch(one.name, one.label, False, note=why)
        lacking = install.missing_triggers(session, shape) if since else []
        note = f"Not there any more: {', '.join(lacking)}. Changes may be missing." if lacking else ""
        return Watch(one.name, one.label, bool(since) and not lacking, note, script(session, shape))

    def watch(self, object_type: str) -> str:
        if not self.place.triggers:
            self.db.write(lambda session: install.run(session, install.key_table(session.dialect.name)))
            self.forget()
            return "The table for our keys is there."

        def act(session: sa.Connection) -> None:
            shape = self._read_shape(session, object_type)
            if why := install.why_not(session, shape):
                raise NotAllowed(f"{object_type} cannot be watched. {why} Nothing was changed.")
            install.run(session, install.watching(session, shape))

        self.db.write(act)
        self.forget()
        return f"Every change of {object_type} is written down from now on. At the next run its rows are compared once."

    def unwatch(self, object_type: str) -> str:
        def act(session: sa.Connection) -> None:
            if not self.place.triggers:
                return
            shape = self._read_shape(session, object_type)
            left = set(install.installed(session)) - {object_type}
            install.run(session, install.unwatching(session, shape, last=not left))
            if left:
                session.execute(sa.text("DELETE FROM syncadmin_tables WHERE table_name = :t"), {"t": object_type})

        self.db.write(act)
        self.forget()
        return f"The triggers of {object_type} are gone. Until they are there again its changes are not read."


def _each_id_once(session: sa.Connection, shape: Shape) -> bool:
    if why := install.ids_return(session, shape):
        raise NotAllowed(f"Changes of {shape.name} cannot be told from new rows. {why} Nothing was read.")
    return True


def _key_place(session: sa.Connection) -> Watch:
    there = install.has_keys(session)
    statements = install.key_table(session.dialect.name)
    note = "Says which row we made for which record of the other side, so that none is made twice."
    return Watch("syncadmin_keys", "The table for our keys", there, note, ";\n".join(statements) + ";")


def _folded(value: Any) -> str:
    """A text to look for, without case and without blanks at the end, which some columns do not keep."""
    return str(value or "").rstrip().casefold()


def _alone(results: Sequence[WriteResult | ConnectorError]) -> WriteResult:
    [result] = results
    if isinstance(result, ConnectorError):
        raise result
    return result
