"""Remote calls that do not go over HTTP: the same budget, the same stop and the same count as those that do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from connections.connectors.base import ConnectorError, RateLimited, Retry

ANSWERED, REFUSED, TOO_MANY, NO_ANSWER = 200, 400, 429, 0  # as HTTP statuses, which the hooks know


class GuardedCalls:
    """See `connections.connectors.base.Calls`. The hooks are those of `connectors.http.Session`."""

    def __init__(
        self,
        before_call: Callable[[str], None],
        on_call: Callable[[str, int, float], None] | None,
        on_limit: Callable[[float], None],
        on_headers: Callable[[str, int, Mapping[str, str]], None],
    ) -> None:
        self._before_call = before_call
        self._on_call = on_call
        self._on_limit = on_limit
        self._on_headers = on_headers

    def __call__(self, kind: str) -> AbstractContextManager[None]:
        return self._around(kind)

    @contextmanager
    def _around(self, kind: str) -> Iterator[None]:
        self._before_call(kind)
        started = time.monotonic()
        status = NO_ANSWER
        try:
            yield
            status = ANSWERED
        except RateLimited as error:
            status = TOO_MANY
            self._on_limit(error.after)
            raise
        except Retry:
            raise
        except ConnectorError:
            status = REFUSED
            raise
        finally:
            if self._on_call:
                self._on_call(kind, status, time.monotonic() - started)
            self._on_headers(kind, status, {})
