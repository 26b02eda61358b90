"""What changed in a table, oldest first: by its outbox, or by a column that changes with every row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from connections.connectors import sql_clock as clock
from connections.connectors import sql_keys as keys
from connections.connectors import sql_outbox as outbox
from connections.connectors import sql_values as values
from connections.connectors.base import NotAllowed, Page, Record, Retry
from connections.connectors.sql_calls import Database
from connections.connectors.sql_positions import LONG_AGO, Numbers, Outbox
from connections.connectors.sql_rows import Row, Selection
from connections.connectors.sql_shape import Shape
from connections.connectors.sql_values import Column

PAGE_ROWS = 500  # a row with 20 columns has 1 KB, and a page must not hold up live edits
PAGE_LINES = 200  # lines name rows, which are read by their ids: as many as one read takes
IDS_PAGE = 5000
_ORDER, _NOW = "syncadmin__order", "syncadmin__now"

ReadRows = Callable[[Sequence[str]], dict[str, Row]]  # {id: row} of those that are there


@dataclass(frozen=True)
class Listing:
    """All rows of a table from some place on, page by page, whatever changes meanwhile: keys, not offsets."""

    shape: Shape
    selection: Selection
    dialect: str
    let_in: sa.ColumnElement[bool] | None

    def page(
        self, session: sa.Connection, after: tuple[Any, ...], begin: Any = None, size: int = PAGE_ROWS
    ) -> tuple[list[Row], tuple[Any, ...], str, bool]:
        """(rows, (order, id) of the last one, now, whether there may be more).

        after: (order, id) of the last row, () at first; order None where the rows have none. begin: only rows whose
        order is that or more.
        """
        order = self.order()
        key = [column.sa for column in self.shape.key]
        query = self.selection.select().add_columns(clock.now_expression(self.dialect).label(_NOW))
        if self.let_in is not None:
            query = query.where(self.let_in)
        columns: list[Any] = key
        last = list(keys.parsed(self.shape.key, after[1], self.dialect) or ()) if after else []
        if after and not last:
            raise Retry(f"The list of {self.shape.name} cannot go on after {after[1]}. Nothing is lost; we read again.")
        if order is not None:
            query = query.add_columns(self._told(order).label(_ORDER))
            query = query.where(order.is_not(None))
            columns, last = [order, *key], [self.bound(after[0]), *last] if after else []
            if begin is not None:
                query = query.where(order >= begin)
        if after and last:
            query = query.where(keys.after(columns, last))
        answers = session.execute(query.order_by(*columns).limit(size)).all()
        rows = []
        for answer in answers:
            row = self.selection.read(answer)
            if row is not None:
                rows.append(row)
                told = None if order is None else answer._mapping[_ORDER]
                after = (None if told is None else self._order_of(told), row.record.external_id)
        if not rows and len(answers) == size:
            raise NotAllowed(
                f"{size} rows in a row of {self.shape.name} have a key that is empty or longer than "
                f"{keys.LONGEST_ID} characters. Nothing was taken over. Declare another key under Tables."
            )
        return (
            rows,
            after,
            clock.told(answers[0]._mapping[_NOW]) if answers else clock.now(session),
            len(answers) == size,
        )

    def order(self) -> Any:
        """By what rows are in order: the changed column; None where there is none."""
        column = self.shape.changed
        if column is None:
            return None
        if self.dialect == "sqlite" and column.stored in (values.LOCAL, values.INSTANT):
            # Applications write times as texts of many forms; this one has an order.
            return sa.func.strftime("%Y-%m-%d %H:%M:%f", column.sa, type_=sa.types.NullType())
        return column.sa

    def _told(self, order: Any) -> Any:
        return sa.cast(order, sa.Text) if self.dialect == "postgresql" else sa.type_coerce(order, sa.types.NullType())

    def _order_of(self, raw: Any) -> str:
        column = self.shape.changed
        assert column is not None
        if column.stored in (values.LOCAL, values.INSTANT):
            return values.stamp(values.moment(raw, column.zone))
        return bytes(raw).hex() if isinstance(raw, bytes | memoryview) else str(raw)

    def bound(self, order: str, earliest: bool = False) -> Any:
        """An order, as told by `page`, to compare with. earliest: the smallest local time there is from then on."""
        column = self.shape.changed
        assert column is not None
        if column.stored == values.BYTES:
            return bytes.fromhex(order)
        if column.stored not in (values.LOCAL, values.INSTANT):
            return values.exact(order) if column.stored == values.DECIMAL else int(order)
        at = datetime.fromisoformat(order)
        if column.stored == values.INSTANT and self.dialect != "sqlite":
            return at
        zone = column.zone
        local = values.earliest_local(at, zone) if earliest else at.astimezone(zone).replace(tzinfo=None)
        if self.dialect != "sqlite":
            return local
        return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03}"


def by_outbox(
    db: Database,
    listing: Listing,
    watermark: str | None,
    read_rows: ReadRows,
    hides_rows: Callable[[], bool],
    swept: Callable[[Database], None],
) -> Iterator[Page]:
    """Pages by the outbox; all rows first, where there is no position yet. Raises NotAllowed, Expired.

    hides_rows: whether a row that is not found may be there, asked after a read that did not find one.
    """
    shape = listing.shape
    position = Outbox.read(watermark) if watermark else None
    if position is None or position.after:
        yield from _all_rows(db, listing, position)
        return
    after: tuple[int, int] | None = None
    reached: Outbox | None = None
    while True:
        read = db.read(lambda session: outbox.read_lines(session, shape.name, position, after, PAGE_LINES))  # noqa: B023
        if reached is None:
            reached = Outbox(at=read.now, place=read.horizon, seen=read.now)
        elif not _held(reached, after, db.dialect):
            reached = replace(reached, place=read.horizon)
        records = _records(read.lines, read_rows, hides_rows)
        if read.top is None:
            yield Page(records, reached.text(), server_time=read.now, last=True)
            swept(db)
            return
        so_far = replace(reached, place=min(reached.place or 0, read.top[0]))
        yield Page(records, so_far.text(), server_time=read.now)
        after = read.top


def _held(reached: Outbox, after: tuple[int, int] | None, dialect: str) -> bool:
    """Whether something on the pages so far may be open, so that the position stays where it is.

    PostgreSQL's horizon of the first statement holds for the whole list: what ran then is the oldest of all.
    """
    return dialect == "postgresql" or (after is not None and (reached.place or 0) <= after[1])


def _records(lines: Sequence[outbox.Line], read_rows: ReadRows, hides_rows: Callable[[], bool]) -> list[Record]:
    """The rows that lines tell of, each once: as it is now, or as deleted.

    ⚑ Where rows may be hidden only the line of the deletion itself tells of one.
    """
    told = {line.row_key: line for line in lines if line.row_key}
    rows = read_rows(list(told)) if told else {}
    found = []
    for external_id, line in told.items():
        row = rows.get(external_id)
        if row is None:
            if line.op != "D" and hides_rows():
                continue
            by = line.by_user or None
            gone = f"deleted {line.at}"
            found.append(Record(external_id, gone, {}, updated_at=line.at, updated_by=by, deleted=True))
        elif row.let_in:
            found.append(row.record)
    return found


def _all_rows(db: Database, listing: Listing, position: Outbox | None) -> Iterator[Page]:
    """Every row, and then the place in the outbox as it was before the first of them was read."""
    shape = listing.shape
    if position is None:
        now, place = db.read(lambda session: outbox.beginning(session, shape.name))
        position = Outbox(at=now, place=place, seen=now)
    for rows, last_row, now, last in _pages(db, listing, position.after):
        place_on = replace(position, after=() if last else last_row)
        yield Page([row.record for row in rows], place_on.text(), server_time=now, last=last)


def _pages(
    db: Database, listing: Listing, after: tuple[Any, ...], begin: Any = None
) -> Iterator[tuple[list[Row], tuple[Any, ...], str, bool]]:
    """(rows, (order, id) of the last one, now, whether it is the last page). Rows without an order come first."""
    phases = [(listing, begin)]
    resumed = bool(after) and after[0] is not None
    if _may_say_nothing(listing) and not resumed:
        # ⚑ In every poll: a row that the column says nothing of lies behind no position of it.
        of_those = _and(listing.let_in, listing.order().is_(None))
        phases.insert(0, (replace(listing, let_in=of_those, shape=_without_order(listing.shape)), None))
    for part, since in phases:
        cursor = after if after and resumed == (part.order() is not None) else ()
        while True:
            rows, cursor, now, full = db.read(lambda session: part.page(session, cursor, since))  # noqa: B023
            last = not full and part is listing
            if rows or last:
                yield rows, cursor, now, last
            if not full:
                break


def _may_say_nothing(listing: Listing) -> bool:
    """Whether the changed column may be empty, as where only an edit fills it."""
    column = listing.shape.changed
    # SQLite keeps any text in a column of times, and has no order for one that it cannot read.
    return column is not None and (column.sa.nullable is not False or listing.dialect == "sqlite")


def _and(one: sa.ColumnElement[bool] | None, other: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return other if one is None else sa.and_(one, other)


def _without_order(shape: Shape) -> Shape:
    return replace(shape, declared=replace(shape.declared, changed=""))


def by_column(db: Database, listing: Listing, watermark: str | None) -> Iterator[Page]:
    """Pages by the changed column, or of the whole table where none is declared."""
    column = listing.shape.changed
    if column is None:
        for rows, _, now, last in _pages(db, listing, ()):
            # Without a column there is no place to go on from but the beginning.
            yield Page([row.record for row in rows], LONG_AGO, server_time=now, last=last)
    elif column.stored in (values.LOCAL, values.INSTANT):
        yield from _by_time(db, listing, watermark)
    elif column.stored in (values.INTEGER, values.DECIMAL, values.BYTES):
        yield from _by_number(db, listing, watermark)
    else:
        raise _no_order(listing.shape, column)


def _no_order(shape: Shape, column: Column) -> NotAllowed:
    return NotAllowed(
        f"{shape.name}.{column.name} is neither a time nor a growing number, so it does not tell what changed. Nothing "
        "was read. Declare another column under Tables, or choose triggers."
    )


def _by_time(db: Database, listing: Listing, watermark: str | None) -> Iterator[Page]:
    begin = listing.bound(watermark, earliest=True) if watermark else None
    started: str | None = None
    reached = watermark or LONG_AGO
    for rows, cursor, now, last in _pages(db, listing, (), begin):
        started = started or now
        # A stamp ahead of the database's clock is no place to go on from: what is edited later would lie before it.
        if last:
            reached = max(reached, started, key=datetime.fromisoformat)
        elif cursor[0] is not None:
            reached = max(reached, min(cursor[0], started, key=datetime.fromisoformat), key=datetime.fromisoformat)
        yield Page([row.record for row in rows], reached, server_time=now, last=last)


def _by_number(db: Database, listing: Listing, watermark: str | None) -> Iterator[Page]:
    position = Numbers.read(watermark) if watermark else None
    number = position.number if position else ""
    begin = listing.bound(number) if number else None
    started: str | None = None
    for rows, cursor, now, last in _pages(db, listing, (), begin):
        started = started or now
        number = cursor[0] if cursor and cursor[0] is not None else number
        reached = position.moved(started, number) if position else Numbers(((started, number), (started, "")))
        yield Page([row.record for row in rows], reached.text(), server_time=now, last=last)


def all_ids(db: Database, listing: Listing) -> Iterator[Sequence[str]]:
    """Every id, by key alone."""
    only = replace(listing, shape=_without_order(listing.shape))
    after: tuple[Any, ...] = ()
    while True:
        first = not after
        rows, after, _, full = db.read(lambda session: only.page(session, after, size=IDS_PAGE))  # noqa: B023
        if rows or first:
            yield [row.record.external_id for row in rows]
        if not full:
            return
