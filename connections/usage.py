"""Which mappings use a connection, and who may therefore see it.

The mappings are reached backwards from the connection: this app does not know the app they live in.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from connections.access import mappings_for
from connections.models import Connection


@dataclass(frozen=True, slots=True)
class Use:
    """One side of one mapping."""

    mapping: Any
    side: str  # "left" or "right"
    object_type: str
    scope: dict[str, Any]


def visible_connections(user: Any) -> QuerySet[Connection]:
    """The connections that `user` may see: all, or those that their mappings use."""
    ids = mappings_for(user, "connections.read")
    if ids is None:
        return Connection.objects.all()
    return Connection.objects.filter(Q(left_mappings__in=ids) | Q(right_mappings__in=ids)).distinct()


def uses_of(connection: Connection) -> list[Use]:
    """Every mapping side on this connection, by mapping name."""
    lefts: Any = connection.left_mappings  # reverse of Mapping.left_connection
    rights: Any = connection.right_mappings
    uses = [Use(mapping, "left", mapping.left_object_type, mapping.left_scope) for mapping in lefts.all()]
    uses += [Use(mapping, "right", mapping.right_object_type, mapping.right_scope) for mapping in rights.all()]
    return sorted(uses, key=lambda use: (use.mapping.name, use.side))


def calls_last_hour(uses: list[Use]) -> dict[str, int]:
    """{"read": …, "write": …}: remote calls of the runs of the last hour, as they counted them."""
    since = timezone.now() - timedelta(hours=1)
    total: Counter[str] = Counter()
    for use in uses:
        for calls in use.mapping.runs.filter(started_at__gte=since).values_list("calls", flat=True):
            total.update({kind: n for kind, n in (calls.get(use.side) or {}).items() if isinstance(n, int)})
    return dict(total)


OTHER = {"left": "right", "right": "left"}


def carried_since(uses: list[Use], since: datetime) -> int:
    """How many changes of this connection's records were carried to the other side since then, as the ledger knows.

    First runs and comparisons after a restore read everything, and what a person asked for is no news of the system.
    """
    return sum(
        use.mapping.operations.filter(side=OTHER[use.side], decided_at__gt=since, instruction=None)
        .exclude(run__kind__in=("first", "restored"))
        .count()
        for use in uses
    )
