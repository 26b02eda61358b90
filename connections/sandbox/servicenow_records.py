"""The instance itself: rows, people, business rules, journals, audit and delete log. No HTTP.

Every value is a text, as in the vendor's API. Imitated where it matters: stamps of one second, a count of updates,
writes that change nothing and count nothing, texts that are cut, values that rules change on saving, data policies.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from connections.sandbox import servicenow_schema as schema
from connections.sandbox.base import Store
from connections.sandbox.servicenow_schema import Column

Row = dict[str, str]
SYSTEM_USER = "system"
FILES, CONTENTS = "sys_attachment", "sys_attachment_doc"
# Impact and urgency make the priority (rows: impact, columns: urgency).
PRIORITY = {"11": "1", "12": "2", "13": "3", "21": "2", "22": "3", "23": "4", "31": "3", "32": "4", "33": "5"}
RESOLVED, CLOSED, CANCELED = "6", "7", "8"
ENDED = (CLOSED, CANCELED)
# Kept by the instance, whoever writes.
OWN = {"sys_id", "sys_created_on", "sys_created_by", "sys_updated_on", "sys_updated_by", "sys_mod_count", "sys_tags"}


class Refusal(Exception):
    """A write the instance does not take: `detail` as its API says it."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Records:
    """Rows by table and sys_id. `on_change(operation, table, row, by)` is called after each change."""

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self.store = store
        self.now = now
        self.on_change: Callable[[str, str, Row, str], None] = lambda *told: None
        self.more_columns: dict[str, dict[str, Column]] = {}
        # An administrator's own business rules that run before a row is saved: (table, as it was, as it will be).
        self.before_rules: list[Callable[[str, Row | None, Row], None]] = []
        self._rows: dict[str, dict[str, Row]] = {}
        if not self.rows("sys_db_object"):
            self._describe()

    # Reading -----------------------------------------------------------------------------------------------

    def rows(self, table: str) -> dict[str, Row]:
        if table not in self._rows:
            self._rows[table] = {row["sys_id"]: row for row in self.store.all(table)}
        return self._rows[table]

    def get(self, table: str, id: str) -> Row | None:
        return self.rows(table).get(id)

    def columns(self, table: str) -> dict[str, Column]:
        return schema.columns_of(table) | self.more_columns.get(table, {})

    def by_name(self, table: str, name: str) -> Row | None:
        """A user by user_name, a group by name."""
        column = "user_name" if table == "sys_user" else "name"
        return next((row for row in self.rows(table).values() if row[column] == name), None)

    def follow(self, table: str, row: Mapping[str, str], path: str) -> str:
        """The value at a path, which may lead over references ("assigned_to.email"); "" where one leads nowhere."""
        element, _, rest = path.partition(".")
        value = row.get(element, "")
        if not rest:
            return value
        column = self.columns(table).get(element)
        target = self.get(column.reference, value) if column and column.reference else None
        return self.follow(column.reference, target, rest) if column and target else ""

    def knows(self, table: str, path: str) -> bool:
        element, _, rest = path.partition(".")
        column = self.columns(table).get(element)
        return bool(column) and (not rest or bool(column and self.knows(column.reference, rest)))

    def stamp(self) -> str:
        return datetime.fromtimestamp(int(self.now()), UTC).strftime("%Y-%m-%d %H:%M:%S")

    def history(self, id: str) -> list[Row]:
        """What happened to a record, oldest first."""
        return [row for row in self.rows("sys_audit").values() if row["documentkey"] == id]

    def journal(self, id: str) -> list[Row]:
        return [row for row in self.rows("sys_journal_field").values() if row["element_id"] == id]

    # Making ------------------------------------------------------------------------------------------------

    def user(self, name: str, email: str = "", user_name: str = "", **more: str) -> str:
        """A new user's sys_id."""
        first, _, last = name.partition(" ")
        values = {"name": name, "first_name": first, "last_name": last, "email": email}
        row = self._insert("sys_user", {**values, "user_name": user_name or name.lower().replace(" ", "."), **more})
        return row["sys_id"]

    def group(self, name: str, **more: str) -> str:
        return self._insert("sys_user_group", {"name": name, **more})["sys_id"]

    def thing(self, table: str, name: str) -> str:
        """A row of a small table: a configuration item, a company."""
        return self._insert(table, {"name": name})["sys_id"]

    def add_column(self, table: str, column: Column) -> None:
        self.more_columns.setdefault(table, {})[column.element] = column
        self._describe_column(table, column)

    def attach(self, table: str, id: str, file_name: str, content: bytes, by: str, type_: str = "text/plain") -> Row:
        """A file on a record. `id`: the record's."""
        known = {"table_name": table, "table_sys_id": id, "file_name": file_name, "content_type": type_}
        row = self._insert(FILES, {**known, "size_bytes": str(len(content)), "compressed": "true"}, by)
        self.store.put(CONTENTS, row["sys_id"], base64.b64encode(content).decode())
        return row

    def content(self, id: str) -> bytes:
        return base64.b64decode(self.store.get(CONTENTS, id))

    # Changing ----------------------------------------------------------------------------------------------

    def create(self, table: str, values: Mapping[str, str], by: str) -> Row:
        """by: a user_name. Raises Refusal."""
        columns = self.columns(table)
        fresh = {element: column.default for element, column in columns.items()}
        given, entries = self._taken(table, values)
        self._rules(table, None, row := {**fresh, **given}, by)
        if "sys_class_name" in columns:
            row["sys_class_name"] = table
        made = self._insert(table, row, by)
        self._enter(table, made, entries, by)
        self.on_change("insert", table, made, by)
        return made

    def edit(self, table: str, id: str, values: Mapping[str, str], by: str) -> Row:
        """Raises Refusal, and KeyError for an unknown record."""
        row = self.rows(table)[id]
        given, entries = self._taken(table, values)
        changed = {element: value for element, value in given.items() if row.get(element, "") != value}
        if not changed and not entries:
            return row  # nothing is written, nothing is counted
        after = {**row, **changed}
        self._rules(table, row, after, by)
        count = str(int(row["sys_mod_count"]) + 1)
        after |= {"sys_updated_on": self.stamp(), "sys_updated_by": by, "sys_mod_count": count}
        self._audit(table, row, after, by)
        self._put(table, after)
        self._enter(table, after, entries, by)
        self.on_change("update", table, after, by)
        return after

    def delete(self, table: str, id: str, by: str) -> None:
        row = self.rows(table).pop(id)
        self.store.remove(table, id)
        self.store.remove(CONTENTS, id)
        for file in [file for file in self.rows(FILES).values() if file["table_sys_id"] == id]:
            self.delete(FILES, file["sys_id"], by)
        if any(part.audit for part in schema.chain(table)):
            told = {"tablename": table, "documentkey": id, "display_value": row.get("number", ""), "user": by}
            self._insert("sys_audit_delete", told, by)
        self.on_change("delete", table, row, by)

    def freeze(self, table: str, id: str, values: Mapping[str, str]) -> None:
        """What a script does with setWorkflow(false) and autoSysFields(false): a change without any trace."""
        self._put(table, {**self.rows(table)[id], **values})

    # Rules -------------------------------------------------------------------------------------------------

    def _rules(self, table: str, before: Row | None, after: Row, by: str) -> None:
        self._rule(table, before, after, by)
        for rule in self.before_rules:
            rule(table, before, after)

    def _rule(self, table: str, before: Row | None, after: Row, by: str) -> None:
        """What the instance does on saving a task. Raises Refusal."""
        if "short_description" not in self.columns(table):
            return
        after["priority"] = PRIORITY.get(after.get("impact", "") + after.get("urgency", ""), after.get("priority", ""))
        if table != "incident":
            return
        was, state = (before or {}).get("state", ""), after.get("state", "")
        if state in (RESOLVED, CLOSED) and was not in (RESOLVED, CLOSED):
            missing = [self.columns(table)[e].title for e in ("close_code", "close_notes") if not after.get(e)]
            if missing:
                raise Refusal(f"Data Policy Exception: The following fields are mandatory: {', '.join(missing)}")
            me = self.by_name("sys_user", by)
            after |= {"resolved_at": self.stamp(), "resolved_by": me["sys_id"] if me else ""}
        if was in ENDED and state not in ENDED and before:
            raise Refusal("Operation against file 'incident' was aborted by Business Rule 'Closed is final^9f1'.")
        after |= {"incident_state": state, "active": "false" if state in ENDED else "true"}
        if state == CLOSED and was != CLOSED:
            after["closed_at"] = self.stamp()

    def _taken(self, table: str, values: Mapping[str, str]) -> tuple[Row, dict[str, str]]:
        """(column values, journal texts) of what was sent. Unknown columns are left out unsaid; texts are cut."""
        given: Row = {}
        entries: dict[str, str] = {}
        for element, value in values.items():
            column = self.columns(table).get(element)
            if column is None or element in OWN:
                continue
            if column.type == "journal_input":
                if value:
                    entries[element] = value
            elif column.type in ("string", "html", "email", "glide_list"):
                given[element] = value[: column.length]
            elif column.type == "boolean":
                given[element] = _flag(value in ("true", "1"))  # a box is ticked or not
            else:
                given[element] = value
        return given, entries

    def _enter(self, table: str, row: Row, entries: Mapping[str, str], by: str) -> None:
        for element, text in entries.items():
            values = {"name": table, "element": element, "element_id": row["sys_id"], "value": text}
            self._insert("sys_journal_field", values, by)

    def _audit(self, table: str, before: Row, after: Row, by: str) -> None:
        if not any(part.audit for part in schema.chain(table)):
            return
        for element, value in after.items():
            if element not in OWN and before.get(element, "") != value:
                told = {"tablename": table, "documentkey": after["sys_id"], "fieldname": element, "user": by}
                values = {"oldvalue": before.get(element, ""), "newvalue": value}
                self._insert("sys_audit", {**told, **values, "record_checkpoint": after["sys_mod_count"]}, by)

    # Keeping -----------------------------------------------------------------------------------------------

    def _insert(self, table: str, values: Mapping[str, str], by: str = SYSTEM_USER) -> Row:
        columns = self.columns(table)
        now = self.stamp()
        row = {element: column.default for element, column in columns.items()} | dict(values)
        row |= {"sys_id": uuid.uuid4().hex, "sys_mod_count": "0", "sys_tags": ""}
        row |= {"sys_created_on": now, "sys_created_by": by, "sys_updated_on": now, "sys_updated_by": by}
        prefix = schema.TABLES[table].prefix if table in schema.TABLES else ""
        if prefix:
            row["number"] = row["task_effective_number"] = f"{prefix}{self.store.next_number(prefix, 10001):07d}"
            row |= {"opened_at": now, "sys_domain": "global", "sys_domain_path": "/"}
            me = self.by_name("sys_user", by)
            row["opened_by"] = row["opened_by"] or (me["sys_id"] if me else "")
        self._put(table, row)
        return row

    def _put(self, table: str, row: Row) -> None:
        self.rows(table)[row["sys_id"]] = row
        self.store.put(table, row["sys_id"], row)

    def _describe(self) -> None:
        """The tables that tell of tables, columns and choices."""
        ids: dict[str, str] = {}
        for table in schema.TABLES.values():  # parents stand before those that extend them
            values = {"name": table.name, "label": table.label, "super_class": ids.get(table.extends, "")}
            ids[table.name] = self._insert("sys_db_object", values)["sys_id"]
            own = {"name": table.name, "internal_type": "collection", "audit": _flag(table.audit), "active": "true"}
            self._insert("sys_dictionary", {**own, "column_label": table.label})
            for column in table.columns.values():
                self._describe_column(table.name, column)

    def _describe_column(self, table: str, column: Column) -> None:
        values: dict[str, Any] = {
            "name": table,
            "element": column.element,
            "column_label": column.title,
            "internal_type": column.type,
            "max_length": str(column.length),
            "mandatory": _flag(column.mandatory),
            "read_only": _flag(column.read_only),
            "reference": column.reference,
            "default_value": column.default,
            "choice": "3" if column.choices else "0",
            "active": "true",
        }
        self._insert("sys_dictionary", values)
        for place, (value, label) in enumerate(column.choices):
            told = {"name": table, "element": column.element, "value": value, "label": label, "language": "en"}
            self._insert("sys_choice", {**told, "inactive": "false", "sequence": str(place)})


def _flag(value: bool) -> str:
    return "true" if value else "false"
