"""The audit log: append, seal (hash chain), verify, export. The only file that writes AuditEntry."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Any

from django.db import connection, models, transaction

from connections.connectors.numbers import all_plain
from sync import chain
from sync.chain import Verdict
from sync.models import AuditEntry
from sync.rows import add_rows, save_rows, unsaved

# Entries sealed in one transaction: large enough to catch up quickly, small enough to hold the lock for milliseconds.
SEAL_BATCH = 500


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
    # ⚑ As both databases give it back: a digest of anything else would read like tampering.
    values = None if before is None and after is None else all_plain({"before": before, "after": after})
    salt = secrets.token_hex(16)
    return unsaved(
        AuditEntry,
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
        values_digest=chain.values_digest(salt, values),
    )


def append(entries: list[AuditEntry]) -> None:
    """Insert entries in the caller's transaction, so that no act is without its line and no line without its act."""
    add_rows(entries)


def write(action: str, code: str, **details: Any) -> None:
    """Append one entry; `details` as in `entry`."""
    append([entry(action, code, **details)])


def row_of(one: AuditEntry) -> dict[str, Any]:
    """An entry as the chain and an export see it."""
    row: dict[str, Any] = {name: getattr(one, name) for name in chain.SEALED}
    row["at"] = one.at.astimezone(UTC).isoformat()
    return {**row, "seal": one.seal, "salt": one.salt, "values": one.values}


# Names the sequencer's lock among PostgreSQL's advisory locks; any number of our own will do.
SEQUENCER_LOCK = 7_301_959


def seal() -> int:
    """Number and seal what was committed since; one sequencer at a time. Returns the number of entries sealed.

    Whoever comes second leaves at once: the first, or the next tick, seals its entries too.
    """
    sealed = 0
    while batch := _seal_batch():
        sealed += batch
    return sealed


def _seal_batch() -> int:
    if not AuditEntry.objects.filter(number__isnull=True).exists():
        return 0
    with transaction.atomic():  # on SQLite this takes the write lock, so nobody else seals meanwhile
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SEQUENCER_LOCK])
                if not cursor.fetchone()[0]:
                    return 0
        waiting = list(AuditEntry.objects.filter(number__isnull=True).order_by("pk")[:SEAL_BATCH])
        last = AuditEntry.objects.filter(number__isnull=False).order_by("-number").first()
        number, previous = (last.number or 0, last.seal) if last else (0, chain.GENESIS)
        for one in waiting:
            number += 1
            one.number = number
            previous = one.seal = chain.seal(previous, row_of(one))
        save_rows(waiting, ["number", "seal"])
    return len(waiting)


def verify() -> Verdict:
    """Check every sealed entry against the chain."""
    entries = AuditEntry.objects.filter(number__isnull=False).order_by("number")
    return chain.verify(row_of(one) for one in entries.iterator(chunk_size=2000))


def export() -> Iterator[str]:
    """Every sealed entry as a line of JSON, oldest first; `verify_export` checks it on another machine."""
    for one in AuditEntry.objects.filter(number__isnull=False).order_by("number").iterator(chunk_size=2000):
        yield json.dumps(row_of(one), ensure_ascii=False, sort_keys=True) + "\n"


def verify_export(lines: Iterable[str]) -> Verdict:
    """Check an export without a database."""
    return chain.verify(json.loads(line) for line in lines if line.strip())
