"""PostgreSQL's bell: LISTEN, rung by our triggers when a transaction commits; what changed stands in the outbox.

The notification only wakes; the lines tell. They are read from a position that never passes an open transaction, so
what commits late is heard when it commits, and a listener that was away hears everything that happened meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import sqlalchemy as sa

from connections.connectors import sql_install as install
from connections.connectors import sql_outbox as outbox
from connections.connectors.base import ConnectorError, Expired, Hint, StateStore
from connections.connectors.sql_calls import Database
from connections.connectors.sql_engine import application_name, connect
from connections.connectors.sql_errors import error_of
from connections.connectors.sql_positions import Outbox
from connections.connectors.sql_shape import XMIN, Shape

ALL = "*"
HEARTBEAT_SECONDS = 15.0
TICK_SECONDS = 0.25  # how often the stop is looked at
# A notification may get lost with a connection that is half dead: lines are looked for this often anyway.
LOOK_SECONDS = 20.0
PAGE_LINES = 500
# Lines heard at or after the position, kept so that they do not ring again while an old transaction holds it.
HEARD_AT_MOST = 100_000


def listen(
    db: Database,
    shapes: Callable[[str], Shape],
    object_types: Sequence[str],
    state: StateStore,
    stop: Callable[[], bool],
) -> Iterator[Sequence[Hint]]:
    """Hints until `stop()`. Raises NotAllowed where no table is watched, Retry where the connection broke."""
    try:
        session = connect(db.place)
    except Exception as error:  # the drivers' errors have no common root
        raise _failed(db, error) from error
    try:
        session.autocommit = True
        session.execute(f"LISTEN {install.CHANNEL}")
        ears = [_Ear(db, shapes(object_type), state) for object_type in object_types]
        yield from _follow(db, session, ears, stop)
    except ConnectorError:
        raise
    except OSError as error:
        raise _failed(db, error) from error
    except Exception as error:
        if type(error).__module__.startswith("psycopg"):
            raise _failed(db, error) from error
        raise
    finally:
        session.close()


def _failed(db: Database, error: Exception) -> ConnectorError:
    if type(error).__module__.startswith("psycopg"):
        return error_of(db.place.name, sa.exc.OperationalError("", {}, error), db.place.password)
    return error_of(db.place.name, error, db.place.password)


def _follow(db: Database, session: object, ears: Sequence[_Ear], stop: Callable[[], bool]) -> Iterator[Sequence[Hint]]:
    silent_since = looked = time.monotonic()
    rung = {ear.shape.name for ear in ears}
    while not stop():
        for ear in ears:
            while ear.shape.name in rung:
                hints, more = ear.hear()
                if hints:
                    # Until the caller has taken the hints, a crash must lead to the same lines again.
                    yield hints
                    silent_since = time.monotonic()
                ear.keep()
                if not more:
                    rung.discard(ear.shape.name)
        rung |= {note.payload for note in session.notifies(timeout=TICK_SECONDS, stop_after=1)}  # type: ignore[attr-defined]
        now = time.monotonic()
        if now - looked >= LOOK_SECONDS:
            looked = now
            rung |= {ear.shape.name for ear in ears}
        if now - silent_since >= HEARTBEAT_SECONDS:
            yield []
            silent_since = now


class _Ear:
    """One table's place in the outbox, kept in the connection's state."""

    def __init__(self, db: Database, shape: Shape, state: StateStore) -> None:
        self.db, self.shape, self.state = db, shape, state
        self.key = f"bell {shape.name}"
        stored = state.get(self.key)
        self.position = Outbox.read(stored) if stored else None
        self.stored = stored
        self.heard: set[int] = set()
        self.after: tuple[int, int] | None = None
        self.next: Outbox | None = None

    def hear(self) -> tuple[list[Hint], bool]:
        """(hints of lines not heard yet, whether there are more); "*" where lines may be missing."""
        gap = Hint(self.shape.name, ALL, verified=True)
        if self.position is None:
            now, place = self.db.read(lambda session: outbox.beginning(session, self.shape.name))
            self.next = Outbox(at=now, place=place, seen=now)
            return [gap], False
        position = self.position
        try:
            read = self.db.read(
                lambda session: outbox.read_lines(session, self.shape.name, position, self.after, PAGE_LINES)
            )
        except Expired:
            self.position, self.after, self.next = None, None, None
            return self.hear()
        if self.next is None:
            self.next = Outbox(at=read.now, place=read.horizon, seen=read.now)
        fresh = [line for line in read.lines if line.id not in self.heard]
        self.heard |= {line.id for line in fresh}
        self.after = read.top
        return [hint for line in fresh if (hint := self._hint(line))], read.top is not None

    def keep(self) -> None:
        """Move on once all lines up to the new position were handed out."""
        if self.after is not None or self.next is None:
            return
        moved = self.position is None or self.next.place != self.position.place
        self.position, self.next = self.next, None
        if moved or self.stored is None:
            self.stored = self.position.text()
            self.state.put(self.key, self.stored)
        if moved and len(self.heard) > HEARD_AT_MOST:
            self.heard.clear()  # those still ahead ring once more, and nothing else happens

    def _hint(self, line: outbox.Line) -> Hint | None:
        if line.row_key is None:
            return None
        version = str(line.place % 2**32) if self.shape.version == XMIN else None
        place = self.db.place
        return Hint(
            self.shape.name,
            line.row_key,
            version=version,
            own_account=line.by_user == place.user and line.by_app == application_name(place),
            deleted=line.op == "D",
            verified=True,  # it came over our own, signed-in connection
            at=line.at,
            created=line.op == "I",
        )
