"""The registry of connectors: every module of this package is looked at, so adding one is adding a file."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from connections.connectors.base import Connector


@functools.cache
def _registry() -> dict[str, type[Connector]]:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    found: dict[str, type[Connector]] = {}
    waiting = list(Connector.__subclasses__())
    while waiting:
        candidate = waiting.pop()
        waiting += candidate.__subclasses__()
        # Classes that tests define are no part of the product; a base for several connectors has no kind.
        if candidate.__module__.startswith(__name__ + ".") and hasattr(candidate, "kind"):
            if candidate.kind in found:
                raise ValueError(f"two connectors call themselves “{candidate.kind}”")
            found[candidate.kind] = candidate
    return dict(sorted(found.items(), key=lambda item: item[1].label.lower()))


def connector_class(kind: str) -> type[Connector]:
    """The connector of a kind. Raises KeyError where there is none (a file was removed)."""
    return _registry()[kind]


def all_connectors(hidden: bool = False) -> list[type[Connector]]:
    """Those offered to people, by label; with `hidden` also those for tests."""
    return [connector for connector in _registry().values() if hidden or not connector.hidden]
