"""One database as a connector uses it: reads that stand alone, writes in a transaction, each a call of the budget."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import sqlalchemy as sa
from django.conf import settings

from connections.connectors.base import Calls, NotAllowed
from connections.connectors.sql_engine import engines
from connections.connectors.sql_errors import error_of, error_of_commit
from connections.connectors.sql_place import Place
from connections.guard import AddressRefused

T = TypeVar("T")
PROGRESS_STEPS = 10_000  # of SQLite's machine between two looks at the clock: about a millisecond


class Database:
    """Raises only ConnectorErrors. `calls`: the context's gate to the budget; None in a test without one."""

    def __init__(self, place: Place, calls: Calls | None) -> None:
        self.place = place
        self._calls = calls

    @property
    def dialect(self) -> str:
        """postgresql, mysql (MariaDB too), sqlite, oracle or mssql."""
        return engines(self.place)[0].dialect.name

    def read(self, act: Callable[[sa.Connection], T]) -> T:
        """What `act` reads. No transaction: each of its statements sees what is committed by then."""
        with self._call("read"), self._session(engines(self.place)[0]) as session:
            return act(session)

    def write(self, act: Callable[[sa.Connection], T]) -> T:
        """What `act` returns, once its transaction is committed. Raises Uncertain where the commit was not answered."""
        if self.place.read_only:
            raise NotAllowed(
                f"{self.place.name} is set to read only. Nothing was written. Change “Access” in the connection, or "
                "map towards the other side only."
            )
        with self._call("write"), self._session(engines(self.place)[1]) as session:
            transaction = session.begin()
            try:
                result = act(session)
            except BaseException:
                # Closing gives the locks back even where the rollback itself finds nobody to hear it.
                with contextlib.suppress(sa.exc.SQLAlchemyError):
                    transaction.rollback()
                raise
            try:
                transaction.commit()
            except sa.exc.SQLAlchemyError as error:
                raise error_of_commit(self.place.name, error, self.place.password) from error
            return result

    def _call(self, kind: str) -> contextlib.AbstractContextManager[None]:
        return self._calls(kind) if self._calls else contextlib.nullcontext()

    @contextlib.contextmanager
    def _session(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        try:
            with engine.connect() as session:
                if engine.dialect.name == "sqlite":
                    _end_in_time(session)
                yield session
        except (sa.exc.SQLAlchemyError, OSError, AddressRefused, UnicodeError) as error:
            raise error_of(self.place.name, error, self.place.password) from error


def _end_in_time(session: sa.Connection) -> None:
    """SQLite knows no statement time-out: its machine asks us now and then whether to go on."""
    end = time.monotonic() + settings.REMOTE_TIMEOUT_SECONDS
    driver = session.connection.driver_connection
    assert driver is not None
    driver.set_progress_handler(lambda: time.monotonic() > end, PROGRESS_STEPS)
