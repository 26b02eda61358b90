"""What the lower apps tell the upper ones, by name: imports go sync → mappings → connections, never back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from connections.connectors.base import Hint


def ring(connection_id: int, hints: Sequence[Hint]) -> None:
    """Say that these records may have changed. Commits nothing by itself: call inside the delivery's transaction."""
    import_string(settings.BELL)(connection_id, hints)


def audit(action: str, code: str, **details: Any) -> None:
    """Append an audit entry; see sync/audit.py `write` for the details it takes."""
    import_string(settings.AUDIT)(action, code, **details)


def wake(mapping_id: int) -> None:
    """Ask for a run of a mapping soon, after the current transaction commits."""
    import_string(settings.WAKE)(mapping_id)


def object_types(connection_id: int) -> list[str]:
    """The object types of a connection that published mappings keep in agreement, by name."""
    found: list[str] = import_string(settings.OBJECT_TYPES)(connection_id)
    return found
