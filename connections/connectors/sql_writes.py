"""Writes: each batch in one transaction, with a result for every row of it.

⚑ A conditional update locks the row, compares its version and writes in the same transaction: nobody comes in between.
A new row and its correlation key are one transaction too, so the same key twice makes one row. Where the database
refuses a batch, its rows go one by one and the refusal is told of the row it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import sqlalchemy as sa

from connections.connectors import sql_install as install
from connections.connectors import sql_keys as keys
from connections.connectors import sql_people as people
from connections.connectors import sql_shape as shapes
from connections.connectors import sql_values as values
from connections.connectors.base import (
    ConnectorError,
    Creation,
    Gone,
    NotAllowed,
    Refused,
    Retry,
    Update,
    Values,
    VersionMismatch,
    WriteResult,
)
from connections.connectors.sql_calls import Database
from connections.connectors.sql_helpers import KEYS
from connections.connectors.sql_rows import Row, Selection
from connections.connectors.sql_shape import Shape
from connections.connectors.sql_stamps import counter, stamps
from connections.connectors.sql_values import Column

Result = WriteResult | ConnectorError
Item = TypeVar("Item")
LONGEST_KEY = 200
AGAIN_SECONDS = 1.0
PUT_BACK = "The database took it and a trigger of the table put the old value back. Change the value, or the trigger."


@dataclass(frozen=True)
class Writer:
    """Writes to one table. `fields`: read back beside what was written."""

    db: Database
    shape: Shape
    fields: Sequence[str]
    account: str
    keys_table: bool

    @property
    def dialect(self) -> str:
        return self.db.dialect

    # Updates -------------------------------------------------------------------------------------------------------

    def update_many(self, updates: Sequence[Update]) -> list[Result]:
        return self._in_one(updates, self._update)

    def _in_one(
        self, items: Sequence[Item], act: Callable[[sa.Connection, Sequence[Item]], list[Result]]
    ) -> list[Result]:
        """All in one transaction; one by one where the database refuses something of it."""
        try:
            return self.db.write(lambda session: act(session, items))
        except Refused as error:
            if len(items) == 1:
                return [self._named(error)]
        return [self._alone(item, act) for item in items]

    def _alone(self, item: Item, act: Callable[[sa.Connection, Sequence[Item]], list[Result]]) -> Result:
        try:
            return self.db.write(lambda session: act(session, [item]))[0]
        except Refused as error:
            return self._named(error)
        except ConnectorError as error:
            return error

    def _named(self, error: Refused) -> Refused:
        """The database names columns; those that are no fields of ours are no use to anybody here."""
        return Refused(error.message, {p: said for p, said in error.fields.items() if p in self.shape.columns})

    def _update(self, session: sa.Connection, updates: Sequence[Update]) -> list[Result]:
        paths = list(dict.fromkeys([*self.fields, *(path for one in updates for path in one.values)]))
        written_paths = list(dict.fromkeys(path for one in updates for path in one.values))
        locked = self._rows(session, [one.external_id for one in updates], written_paths, lock=True)
        persons = self._persons(session, [one.values for one in updates])
        results: list[Result | None] = []
        written: list[tuple[Update, dict[str, Any]]] = []
        for one in updates:
            row = locked.get(one.external_id)
            if row is None:
                results.append(gone(session, self.shape))
            elif one.expected_version is not None and row.record.version != one.expected_version:
                results.append(VersionMismatch("The row changed meanwhile. Nothing was written; it is read again."))
            else:
                try:
                    written.append((one, self._stored(one.values, persons, creating=False)))
                    results.append(None)
                except Refused as error:
                    results.append(error)
        self._send(session, [(locked[one.external_id].key, sent) for one, sent in written])
        again = self._rows(session, [one.external_id for one, _ in written], paths) if written else {}
        sent_to = [one.external_id for one, sent in written if sent and one.external_id in again]
        same = [again[id_] for id_ in sent_to if again[id_].record.version == locked[id_].record.version]
        again |= self._count_up(session, same, paths)
        sent_of = {one.external_id: sent for one, sent in written}
        for number, one in enumerate(updates):
            if results[number] is None:
                before, back = locked[one.external_id], again.get(one.external_id)
                kept = self._put_back(one.values, sent_of[one.external_id], before, back) if back else {}
                if kept and len(kept) == len(one.values):
                    raise Refused(PUT_BACK, dict.fromkeys(kept, PUT_BACK))  # and the transaction with it
                result = self._result(back, one.values) if back else None
                results[number] = replace(result, on_the_way=kept) if result else gone(session, self.shape)
        return [result for result in results if result is not None]

    def _count_up(self, session: sa.Connection, rows: Sequence[Row], paths: Sequence[str]) -> dict[str, Row]:
        """Rows that were written under a version that nothing in the database counts, with the next one.

        ⚑ An application saves a form under the version it was opened with: one that stood still lets it go over ours.
        """
        column = counter(self.shape)
        if column is None or not rows:
            return {}
        these = keys.where(self.shape.key, [row.key for row in rows])
        next_one = sa.func.coalesce(column.sa, 0) + 1
        session.execute(sa.update(self.shape.table).where(these).values({column.sa: next_one}))
        return self._rows(session, [row.record.external_id for row in rows], paths)

    def _put_back(self, given: Values, sent: Mapping[str, Any], before: Row, after: Row) -> dict[str, Any]:
        """{field: value} of those that say what they said before, and not what was sent.

        ⚑ A trigger of the application put them back. Told as written, their old values would be edits made here, and go
        over those that were sent.
        """
        was, now = before.record.values, after.record.values
        return {
            path: now[path]
            for path, value in given.items()
            if path in was and path in now and was[path] == now[path]
            if not self._kept(self.shape.columns[path], value, sent[path], now[path])
        }

    def _kept(self, column: Column, value: Any, sent: Any, now: Any) -> bool:
        """Whether a read that tells `now` tells what was sent for `value`."""
        if sent is None or column.shown.kind not in ("person", "reference"):
            return bool(values.normal(column, sent) == now)
        if column.shown.kind == "reference":
            return keys.id_of([column], [sent]) == now
        return "@" not in str(value) or str(value).lower() == now  # an id may be told as an address

    def _result(self, row: Row, sent: Values, created: bool = False) -> WriteResult:
        """The read-back of one row: the fields that were asked for and those that it was sent."""
        wanted = {*self.fields, *sent}
        record = row.record
        kept = {path: value for path, value in record.values.items() if path in wanted}
        unreadable = frozenset(path for path in record.unreadable if path in wanted)
        return WriteResult(replace(record, values=kept, unreadable=unreadable), created=created)

    def _send(self, session: sa.Connection, rows: Sequence[tuple[tuple[Any, ...], dict[str, Any]]]) -> None:
        """One statement for all rows that write the same columns."""
        groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for key, sent in rows:
            bound = {f"syncadmin_k{n}": part for n, part in enumerate(key)}
            bound |= {f"syncadmin_v{n}": value for n, value in enumerate(sent.values())}
            groups.setdefault(tuple(sent), []).append(bound)
        for names, bounds in groups.items():
            columns = [self.shape.columns[name] for name in names]
            changes: dict[Any, Any] = {
                column.sa: self._bound(column, f"syncadmin_v{n}") for n, column in enumerate(columns)
            }
            changes |= stamps(self.shape, self.dialect, self.account, names, creating=False)
            if not changes:
                continue
            key_of_row = sa.and_(*(c.sa == sa.bindparam(f"syncadmin_k{n}") for n, c in enumerate(self.shape.key)))
            session.execute(sa.update(self.shape.table).where(key_of_row).values(changes), bounds)

    # Creates -------------------------------------------------------------------------------------------------------

    def create_many(self, creations: Sequence[Creation]) -> list[Result]:
        if not self.shape.declared.correlation and not self.keys_table:
            raise NotAllowed(
                f"There is no place for our key beside rows of {self.shape.name}, so a row could be made twice. "
                "Nothing was written. Install our tables under “Triggers” on the connection's page, or name a column "
                "for it under Tables (correlation=…)."
            )
        return self._in_one(creations, self._create)

    def _create(self, session: sa.Connection, creations: Sequence[Creation]) -> list[Result]:
        paths = list(dict.fromkeys([*self.fields, *(path for one in creations for path in one.values)]))
        wanted = [one.correlation_key for one in creations]
        noted = self._noted(session, wanted)
        there = self.by_key(session, wanted, paths)
        persons = self._persons(session, [one.values for one in creations])
        results: list[Result | None] = []
        new: dict[str, dict[str, Any]] = {}
        for one in creations:
            found = there.get(one.correlation_key)
            if found:
                results.append(self._result(found[0], one.values))
            elif one.correlation_key in new:
                results.append(Retry("The same key came twice at once. Nothing was written twice; we try again."))
            else:
                try:
                    new[one.correlation_key] = self._stored(one.values, persons, creating=True)
                    results.append(None)
                except Refused as error:
                    results.append(error)
        made = self._insert(session, new, noted)
        rows = self._rows(session, list(made.values()), paths) if made else {}
        for number, one in enumerate(creations):
            if results[number] is None:
                results[number] = self._result(rows[made[one.correlation_key]], one.values, created=True)
        return [result for result in results if result is not None]

    def _noted(self, session: sa.Connection, wanted: Sequence[str]) -> list[tuple[str, str]]:
        """(correlation key, id) as our table notes them now.

        ⚑ Read before the rows are looked for: what is noted later is another worker's new row, and must meet ours.
        """
        if self.shape.declared.correlation:
            return []
        of_keys = sa.and_(KEYS.c.table_name == self.shape.name, KEYS.c.sync_key.in_(list(wanted)))
        return [tuple(row) for row in session.execute(sa.select(KEYS.c.sync_key, KEYS.c.row_key).where(of_keys))]

    def _insert(
        self, session: sa.Connection, new: Mapping[str, dict[str, Any]], noted: Sequence[tuple[str, str]]
    ) -> dict[str, str]:
        """{correlation key: id of its new row}; rows with the same columns in one statement, where ids come back.

        noted: (correlation key, id) of rows that are not there any more, among others.
        """
        groups: dict[tuple[str, ...], list[str]] = {}
        for key, sent in new.items():
            groups.setdefault(tuple(sent), []).append(key)
        made: dict[str, str] = {}
        for names, members in groups.items():
            bounds = [self._bounds(key, new[key]) for key in members]
            statement = sa.insert(self.shape.table).values(self._insertion(names))
            if session.dialect.insert_executemany_returning_sort_by_parameter_order:
                key_columns = [column.sa for column in self.shape.key]
                answers = session.execute(statement.returning(*key_columns, sort_by_parameter_order=True), bounds)
                told: list[tuple[Any, ...]] = [tuple(row) for row in answers]
            else:
                told = [self._one_by_one(session, statement, names, bound) for bound in bounds]
            for key, values_of_key in zip(members, told, strict=True):
                external_id = keys.id_of(self.shape.key, values_of_key)
                if external_id is None:
                    raise Refused(
                        f"A new row of {self.shape.name} would have no usable key. Nothing was written. Map its key."
                    )
                made[key] = external_id
        if not self.shape.declared.correlation and made:
            gone = [sa.and_(KEYS.c.sync_key == key, KEYS.c.row_key == id_) for key, id_ in noted if key in made]
            stale = sa.or_(KEYS.c.row_key.in_(list(made.values())), *gone)
            session.execute(sa.delete(KEYS).where(KEYS.c.table_name == self.shape.name, stale))
            rows = [{"table_name": self.shape.name, "row_key": id_, "sync_key": key} for key, id_ in made.items()]
            try:
                session.execute(sa.insert(KEYS), rows)
            except sa.exc.IntegrityError:
                raise Retry(
                    "Another row got the same key in this moment. Nothing was written; we look again."
                ) from None
        return made

    def _insertion(self, names: Sequence[str]) -> dict[Any, Any]:
        columns = [self.shape.columns[name] for name in names]
        changes: dict[Any, Any] = {
            column.sa: self._bound(column, f"syncadmin_v{n}") for n, column in enumerate(columns)
        }
        changes |= stamps(self.shape, self.dialect, self.account, names, creating=True)
        if self.shape.declared.correlation:
            changes[self.shape.table.c[self.shape.declared.correlation]] = sa.bindparam("syncadmin_key")
        return changes

    def _bounds(self, key: str, sent: Mapping[str, Any]) -> dict[str, Any]:
        if len(key) > LONGEST_KEY:
            raise Refused(f"Our key is longer than {LONGEST_KEY} characters. Nothing was written.")
        bound = {f"syncadmin_v{n}": value for n, value in enumerate(sent.values())}
        return {**bound, **({"syncadmin_key": key} if self.shape.declared.correlation else {})}

    def _one_by_one(
        self, session: sa.Connection, statement: Any, names: Sequence[str], bound: dict[str, Any]
    ) -> tuple[Any, ...]:
        """The key of one new row."""
        if session.dialect.insert_returning:
            return tuple(session.execute(statement.returning(*(c.sa for c in self.shape.key)), bound).one())
        answer = session.execute(statement, bound)
        told = {name: bound[f"syncadmin_v{n}"] for n, name in enumerate(names)}
        made = answer.lastrowid
        return tuple(told.get(c.name, made if c.stored == values.INTEGER else None) for c in self.shape.key)

    # Deletions and keys ---------------------------------------------------------------------------------------------

    def delete(self, external_id: str) -> None:
        def act(session: sa.Connection) -> None:
            row = self._rows(session, [external_id], [], lock=True).get(external_id)
            if row is None:
                raise gone(session, self.shape)
            session.execute(sa.delete(self.shape.table).where(keys.where(self.shape.key, [row.key])))
            if self.keys_table:
                session.execute(
                    sa.delete(KEYS).where(KEYS.c.table_name == self.shape.name, KEYS.c.row_key == external_id)
                )

        self._may_write()
        self.db.write(act)

    def write_key(self, external_id: str, key: str) -> None:
        def act(session: sa.Connection) -> None:
            row = self._rows(session, [external_id], [], lock=True).get(external_id)
            if row is None:
                raise gone(session, self.shape)
            if self.shape.declared.correlation:
                column = self.shape.table.c[self.shape.declared.correlation]
                there = keys.where(self.shape.key, [row.key])
                session.execute(sa.update(self.shape.table).where(there).values({column: key}))
            else:
                self._keep_key(session, external_id, key)

        if self.shape.declared.correlation or self.keys_table:
            self.db.write(act)

    def by_key(self, session: sa.Connection, wanted: Sequence[str], paths: Sequence[str]) -> dict[str, list[Row]]:
        """Rows by correlation key, whatever scope they lie in."""
        texts = [key for key in wanted if key and len(key) <= LONGEST_KEY and "\x00" not in key]
        selection = self._selection(paths)
        if self.shape.declared.correlation:
            column = self.shape.table.c[self.shape.declared.correlation]
            answers = session.execute(selection.select().where(column.in_(texts))).all()
        elif self.keys_table:
            of_table = sa.select(KEYS.c.row_key).where(KEYS.c.table_name == self.shape.name, KEYS.c.sync_key.in_(texts))
            ids = list(session.execute(of_table).scalars())
            parsed = [key for id_ in ids if (key := keys.parsed(self.shape.key, id_, self.dialect)) is not None]
            answers = (
                session.execute(selection.select().where(keys.where(self.shape.key, parsed))).all() if parsed else []
            )
        else:
            return {}
        found: dict[str, list[Row]] = {}
        for answer in answers:
            row = selection.read(answer)
            if row is not None and row.record.correlation_key in texts:
                found.setdefault(row.record.correlation_key, []).append(row)
        return found

    def _keep_key(self, session: sa.Connection, external_id: str, key: str) -> None:
        """Beside the row, in its transaction."""
        if len(key) > LONGEST_KEY:
            raise Refused(f"Our key is longer than {LONGEST_KEY} characters. Nothing was written.")
        of_row = sa.and_(KEYS.c.table_name == self.shape.name, KEYS.c.row_key == external_id)
        session.execute(sa.delete(KEYS).where(of_row))
        session.execute(sa.insert(KEYS).values(table_name=self.shape.name, row_key=external_id, sync_key=key))

    # What is written -------------------------------------------------------------------------------------------------

    def _may_write(self) -> None:
        if self.shape.why_fixed:
            raise NotAllowed(f"{self.shape.name} cannot be written. {self.shape.why_fixed} Nothing was changed.")

    def _stored(self, given: Values, persons: Mapping[str, Any], creating: bool) -> dict[str, Any]:
        """{column: value for the driver}. Raises Refused, naming every field at fault."""
        self._may_write()
        wrong: dict[str, str] = {}
        sent: dict[str, Any] = {}
        for path, value in given.items():
            column = self.shape.columns.get(path)
            if column is None or path in self.shape.unreadable:
                wrong[path] = "there is no such column for our account"
            elif not (column.shown.creatable if creating else column.shown.writable):
                wrong[path] = "this column is not written"
            elif column.shown.required and value in (None, "", []):
                wrong[path] = "must not be empty"
            else:
                try:
                    sent[path] = self._one(column, value, persons)
                except (ValueError, TypeError, ArithmeticError) as error:
                    wrong[path] = str(error) or "does not fit the column"
        if creating:
            needed = [path for path, column in self.shape.columns.items() if column.shown.required]
            wrong |= {path: "must not be empty" for path in needed if given.get(path) in (None, "", [])}
        if wrong:
            told = "; ".join(f"{path} {why}" for path, why in wrong.items())
            raise Refused(f"{self.shape.name} cannot take this: {told}. Nothing was written. Change the value.", wrong)
        return sent

    def _one(self, column: Column, value: Any, persons: Mapping[str, Any]) -> Any:
        if value in (None, ""):
            return None
        if column.shown.kind == "person":
            if value not in persons:
                raise ValueError(f"“{value}” is nobody active in the table of people")
            return persons[value]
        if column.shown.kind == "reference":
            key = keys.parsed([column], str(value), self.dialect)
            if key is None:
                raise ValueError("is no id")
            return key[0]
        return values.stored(column, value, self.dialect)

    def _persons(self, session: sa.Connection, given: Sequence[Values]) -> dict[str, Any]:
        columns = [path for path, column in self.shape.columns.items() if column.shown.kind == "person"]
        named = {one[path] for one in given for path in columns if isinstance(one.get(path), str) and one[path]}
        return people.ids_of(session, self.shape, sorted(named)) if named else {}

    def _bound(self, column: Column, name: str) -> Any:
        if column.stored == values.JSON and self.dialect == "postgresql":
            return sa.cast(sa.bindparam(name, type_=sa.Text), column.sa.type)
        return sa.bindparam(name, type_=self._type(column))

    def _type(self, column: Column) -> Any:
        """PostgreSQL is told types; the others take what `stored` made, which needs no further conversion."""
        return column.sa.type if self.dialect == "postgresql" else shapes.AsGiven()

    # Reading within the transaction ---------------------------------------------------------------------------------

    def _selection(self, paths: Sequence[str]) -> Selection:
        return Selection(self.shape, paths, self.dialect, self.keys_table)

    def _rows(
        self, session: sa.Connection, ids: Sequence[str], paths: Sequence[str], lock: bool = False
    ) -> dict[str, Row]:
        selection = self._selection(paths)
        wanted = {id_: key for id_ in sorted(set(ids)) if (key := keys.parsed(self.shape.key, id_, self.dialect))}
        if not wanted:
            return {}
        query = selection.select().where(keys.where(self.shape.key, list(wanted.values())))
        if lock:
            # In one order, so that two writers wait for each other in turn and not in a circle.
            query = query.order_by(*(column.sa for column in self.shape.key))
            query = query.with_for_update(of=self.shape.table if self.dialect == "postgresql" else None)
            query = query.with_hint(self.shape.table, "WITH (UPDLOCK, ROWLOCK, HOLDLOCK)", "mssql")
        read = [row for answer in session.execute(query) if (row := selection.read(answer)) is not None]
        return {row.record.external_id: row for row in read if row.record.external_id in wanted}


def gone(session: sa.Connection, shape: Shape) -> Gone:
    """⚑ Asked for now: a row that policies hide since a moment ago is not gone."""
    hidden = shapes.row_security(session, shape.table)
    return Gone(f"There is no such row in {shape.name} (any more). Nothing was written.", certain=not hidden)


def script(session: sa.Connection, shape: Shape) -> str:
    """What `watch` runs, to be read or run by hand."""
    return "\n\n".join(f"{statement.strip()};" for statement in install.watching(session, shape))
