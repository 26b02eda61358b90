"""Database triggers that refuse to change or delete audit entries; installed by a migration on both databases.

Allowed are only: giving an unsealed entry its number and seal, and erasing values.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

TABLE = "sync_auditentry"
FIXED = (
    "at",
    "actor_kind",
    "actor",
    "action",
    "code",
    "params",
    "mapping_id",
    "mapping_name",
    "mapping_version",
    "run_id",
    "link_id",
    "operation_id",
    "connection_id",
    "request_id",
    "object_label",
    "field_label",
    "side",
    "salt",
    "values_digest",
)
MESSAGE = "audit entries cannot be changed or deleted"


def _changed() -> str:
    fixed = " OR ".join(f'OLD."{name}" IS DISTINCT FROM NEW."{name}"' for name in FIXED)
    sealed = (
        "(OLD.number IS NOT NULL AND (OLD.number IS DISTINCT FROM NEW.number OR OLD.seal IS DISTINCT FROM NEW.seal))"
    )
    values = '(NEW."values" IS NOT NULL AND OLD."values" IS DISTINCT FROM NEW."values")'
    return f"({fixed} OR {sealed} OR {values})"


def statements(vendor: str) -> tuple[list[str], list[str]]:
    """(install, remove) for "sqlite" or "postgresql"."""
    if vendor == "sqlite":
        # IS NOT is SQLite's IS DISTINCT FROM, also before version 3.39.
        changed = _changed().replace("IS DISTINCT FROM", "IS NOT")
        return (
            [
                f"CREATE TRIGGER IF NOT EXISTS audit_no_update BEFORE UPDATE ON {TABLE} WHEN {changed} "
                f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END",
                f"CREATE TRIGGER IF NOT EXISTS audit_no_delete BEFORE DELETE ON {TABLE} "
                f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END",
            ],
            ["DROP TRIGGER IF EXISTS audit_no_update", "DROP TRIGGER IF EXISTS audit_no_delete"],
        )
    json_changed = (
        _changed().replace('OLD."params"', 'OLD."params"::text').replace('NEW."params"', 'NEW."params"::text')
    )
    json_changed = json_changed.replace(
        'OLD."values" IS DISTINCT FROM NEW."values"', 'OLD."values"::text IS DISTINCT FROM NEW."values"::text'
    )
    return (
        [
            "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger AS $$ "
            f"BEGIN RAISE EXCEPTION '{MESSAGE}'; END $$ LANGUAGE plpgsql",
            f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON {TABLE} FOR EACH ROW WHEN ({json_changed}) "
            "EXECUTE FUNCTION audit_refuse()",
            f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
            f"CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON {TABLE} EXECUTE FUNCTION audit_refuse()",
        ],
        [
            f"DROP TRIGGER IF EXISTS audit_no_update ON {TABLE}",
            f"DROP TRIGGER IF EXISTS audit_no_delete ON {TABLE}",
            f"DROP TRIGGER IF EXISTS audit_no_truncate ON {TABLE}",
        ],
    )


def install(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in statements(schema_editor.connection.vendor)[0]:
        schema_editor.execute(statement)


def remove(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in statements(schema_editor.connection.vendor)[1]:
        schema_editor.execute(statement)


def put_triggers(database: BaseDatabaseWrapper) -> None:
    _run(database, statements(database.vendor)[0])


def remove_triggers(database: BaseDatabaseWrapper) -> None:
    _run(database, statements(database.vendor)[1])


def _run(database: BaseDatabaseWrapper, commands: list[str]) -> None:
    with database.cursor() as cursor:
        for command in commands:
            cursor.execute(command)
