"""Which of a connection's object types matter: those that an active mapping keeps in agreement."""

from __future__ import annotations

from mappings.models import Mapping


def object_types(connection_id: int) -> list[str]:
    active = Mapping.objects.filter(state=Mapping.State.ACTIVE)
    left = active.filter(left_connection=connection_id).values_list("left_object_type", flat=True)
    right = active.filter(right_connection=connection_id).values_list("right_object_type", flat=True)
    return sorted({*left, *right})
