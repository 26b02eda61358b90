"""Which of a connection's object types matter: those that a published mapping keeps in agreement.

A paused mapping counts: what is told while it stands still waits for it as a hint.
"""

from __future__ import annotations

from mappings.models import Mapping


def object_types(connection_id: int) -> list[str]:
    published = Mapping.objects.exclude(state=Mapping.State.DRAFT)
    left = published.filter(left_connection=connection_id).values_list("left_object_type", flat=True)
    right = published.filter(right_connection=connection_id).values_list("right_object_type", flat=True)
    return sorted({*left, *right})
