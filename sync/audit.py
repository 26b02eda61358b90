"""The audit log: append, seal (hash chain), verify, export. The only file that writes AuditEntry."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

from django.db import models

from sync.models import AuditEntry


def canonical(value: Any) -> str:
    """The one text of a JSON value that digests are made of."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def entry(
    action: str,
    code: str,
    *,
    user: Any = None,
    actor: str = "",
    actor_kind: str = "",
    params: dict[str, Any] | None = None,
    mapping: models.Model | None = None,
    mapping_version: int | None = None,
    run_id: int | None = None,
    link_id: int | None = None,
    operation_id: int | None = None,
    connection_id: int | None = None,
    request_id: str = "",
    object_label: str = "",
    field_label: str = "",
    side: str = "",
    before: Any = None,
    after: Any = None,
) -> AuditEntry:
    """An unsaved entry; `append` inserts it. `user`: the Django user who acted, if a person here did."""
    values = None if before is None and after is None else {"before": before, "after": after}
    salt = secrets.token_hex(16)
    return AuditEntry(
        action=action,
        code=code,
        actor=actor or (user.get_username() if user is not None else ""),
        actor_kind=actor_kind or (AuditEntry.ActorKind.PERSON if user is not None else AuditEntry.ActorKind.SYSTEM),
        params=params or {},
        mapping_id=mapping.pk if mapping is not None else None,
        mapping_name=str(mapping) if mapping is not None else "",
        mapping_version=mapping_version,
        run_id=run_id,
        link_id=link_id,
        operation_id=operation_id,
        connection_id=connection_id,
        request_id=str(request_id),
        object_label=object_label[:300],
        field_label=field_label[:200],
        side=side,
        values=values,
        salt=salt,
        values_digest=hashlib.sha256((salt + canonical(values)).encode()).hexdigest(),
    )


def append(entries: list[AuditEntry]) -> None:
    """Insert entries in the caller's transaction, so that no act is without its line and no line without its act."""
    AuditEntry.objects.bulk_create(entries)


def write(action: str, code: str, **details: Any) -> None:
    """Append one entry; `details` as in `entry`."""
    append([entry(action, code, **details)])
