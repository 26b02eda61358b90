"""A copy of the engine's tables, put back later: what a restored backup does to us, while the systems go on."""

from __future__ import annotations

from typing import Any

from django.db import connection, models, transaction

from sync.models import (
    Allowance,
    ChangedRecord,
    Conflict,
    Cursor,
    Epoch,
    Identity,
    IdentityRecord,
    Ignoring,
    Instruction,
    Link,
    MappingState,
    MatchKey,
    Operation,
    Run,
    SchemaFinding,
    SchemaLook,
    Verification,
    VerifiedDifference,
)

# Referred to first. The audit log stays: the database refuses to delete from it, and nothing decides by it.
TABLES: list[type[models.Model]] = [
    Epoch,
    MappingState,
    Cursor,
    Ignoring,
    ChangedRecord,
    Identity,
    IdentityRecord,
    Link,
    MatchKey,
    Run,
    Instruction,
    Operation,
    Conflict,
    Allowance,
    SchemaLook,
    SchemaFinding,
    Verification,
    VerifiedDifference,
]


class Backup:
    def __init__(self) -> None:
        self.rows: dict[type[models.Model], list[dict[str, Any]]] = {
            table: list(table._default_manager.order_by("pk").values()) for table in TABLES
        }

    def restore(self) -> None:
        with transaction.atomic():
            with connection.cursor() as cursor:
                for table in reversed(TABLES):
                    cursor.execute(f"DELETE FROM {table._meta.db_table}")
            for table, rows in self.rows.items():
                table._default_manager.bulk_create([table(**row) for row in rows])
                stamped = [
                    one.name
                    for one in table._meta.get_fields()
                    if getattr(one, "auto_now", False) or getattr(one, "auto_now_add", False)
                ]
                for row in rows:  # these were set to now by the insert
                    if stamped:
                        table._default_manager.filter(pk=row["id"]).update(**{name: row[name] for name in stamped})
