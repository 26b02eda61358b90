"""The imitated org itself: its records, the rules of a save, field history, recycle bin, and what it announces.

Everything is kept in memory and written through to the store, so that a page of 5,000 cases parses no JSON.
Tests, demo seeding and the pages use this class directly; the HTTP API is one more user of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from connections.sandbox import salesforce_schema as schema
from connections.sandbox.salesforce_checks import check, taken
from connections.sandbox.salesforce_history import history_rows
from connections.sandbox.salesforce_objects import CLOSED_STATUSES, default_objects
from connections.sandbox.salesforce_schema import Doc, Field, SObject
from connections.sandbox.salesforce_values import Problem, stamp
from connections.sandbox.store import Store

# What changeOrigin says of a change made in the vendor's own pages.
UI_ORIGIN = "com/salesforce/api/soap/62.0;client=SfdcInternalAPI/"

Rule = Callable[[Doc, Doc | None], str | tuple[str, str] | None]
Trigger = Callable[[Doc, Doc | None], Doc | None]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who writes: a user, through the API (field-level security applies) or in the vendor's pages."""

    user: str
    origin: str = UI_ORIGIN
    api: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One accepted write, as the event bus hears of it."""

    sobject: str
    id: str
    kind: str  # CREATE, UPDATE, DELETE, UNDELETE
    old: Doc | None
    new: Doc
    fields: tuple[str, ...]  # changed fields of an UPDATE
    actor: Actor
    at: float


class Org:
    """`announce` hears the changes of each committed transaction, in order."""

    def __init__(self, store: Store, now: Callable[[], float], announce: Callable[[list[Change]], None]) -> None:
        self.store = store
        self.lock = store.lock
        self.now = now
        self.announce = announce
        self.objects: dict[str, SObject] = default_objects()
        for saved in store.all("field"):
            spec: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in saved["field"].items()}
            self.objects[saved["sobject"]].fields[spec["name"]] = Field(**spec)
        self.rules: dict[str, list[Rule]] = {}
        self.triggers: dict[str, list[Trigger]] = {"Case": [_close_case]}
        self.row_locks: dict[str, int] = {}
        self.unshared: set[str] = set()  # records that sharing hides from API users
        self.locked: set[str] = set()  # records API users may read but not change
        self.tables: dict[str, dict[str, Doc]] = {
            name: {doc["Id"]: doc for doc in store.all("record:" + name)} for name in self.objects
        }
        self.histories: dict[str, list[Doc]] = {}
        for row in self.tables["CaseHistory"].values():
            self.histories.setdefault(row["CaseId"], []).append(row)
        self.unique: dict[tuple[str, str], dict[str, set[str]]] = {}
        for name, table in self.tables.items():
            for doc in table.values():
                self._index(name, doc, add=True)
        self._depth = 0
        self._undo: list[tuple[str, str, Doc | None]] = []
        self._changes: list[Change] = []
        self.id = store.get("org", "id") or self._remember("org", "id", schema.make_id("00D", int(now())))
        self.system_user = store.get("org", "user") or self._remember("org", "user", self._first_user())
        self._case_statuses()

    # People, queues and configuration ------------------------------------------------------------------------

    def create_user(self, name: str, email: str | None = None, active: bool = True, **fields: Any) -> Doc:
        """A user by full name; `email` defaults to first.last@example.com. Returns the record."""
        first, _, last = name.rpartition(" ")
        address = email or f"{name.lower().replace(' ', '.')}@example.com"
        values = {"FirstName": first or None, "LastName": last, "Name": name, "Email": address, "IsActive": active}
        values |= {"Username": fields.pop("Username", address), "Alias": name[:8].lower(), **fields}
        return self.create("User", values, self.system_user, force=True)

    def create_queue(self, name: str, email: str | None = None) -> Doc:
        values = {"Name": name, "DeveloperName": name.replace(" ", "_"), "Type": "Queue", "Email": email}
        return self.create("Group", values, self.system_user, force=True)

    def deactivate(self, user: str) -> None:
        self.edit(user, self.system_user, IsActive=False)

    def users(self, active_only: bool = True) -> list[Doc]:
        """People by name, without the system's own user."""
        people = [u for u in self.tables["User"].values() if u["Id"] != self.system_user]
        return sorted((u for u in people if u["IsActive"] or not active_only), key=lambda u: u["Name"])

    def queues(self) -> list[Doc]:
        return sorted((g for g in self.tables["Group"].values() if g["Type"] == "Queue"), key=lambda g: g["Name"])

    def add_field(self, sobject: str, field: Field) -> None:
        """Add a field, or put another definition in the place of one. It is kept unless it has a formula."""
        with self.lock:
            self.objects[sobject].fields[field.name] = field
            if field.formula is None:
                spec = dataclasses.asdict(field)
                self.store.put("field", f"{sobject}.{field.name}", {"sobject": sobject, "field": spec})
            for doc in self.tables[sobject].values():
                self._index(sobject, doc, add=True)

    def set_field(self, sobject: str, name: str, **changes: Any) -> None:
        """Change a field's definition: hidden=True, read_only=True, values=(...), nillable=False, length=..."""
        self.add_field(sobject, dataclasses.replace(self.objects[sobject].fields[name], **changes))

    def add_rule(self, sobject: str, rule: Rule) -> None:
        """A validation rule: (new, old or None) → None, a message, or (message, field)."""
        self.rules.setdefault(sobject, []).append(rule)

    def add_trigger(self, sobject: str, trigger: Trigger) -> None:
        """An automation before the save: (new, old or None) → further field values, or None."""
        self.triggers.setdefault(sobject, []).append(trigger)

    def lock_row(self, id: str, times: int = 1) -> None:
        """The next `times` writes of this record meet UNABLE_TO_LOCK_ROW."""
        self.row_locks[id] = times

    # Reading ---------------------------------------------------------------------------------------------------

    def get(self, id: str) -> Doc | None:
        """The record of that id, in the recycle bin or not."""
        kind = self.kind_of(id)
        return self.tables[kind.name].get(id) if kind else None

    def cases(self, deleted: bool = False) -> list[Doc]:
        with self.lock:
            return [c for c in self.tables["Case"].values() if c["IsDeleted"] is deleted]

    def comments(self, case: str) -> list[Doc]:
        with self.lock:
            found = [c for c in self.tables["CaseComment"].values() if c["ParentId"] == case and not c["IsDeleted"]]
        return sorted(found, key=lambda c: (c["CreatedDate"], c["Id"]))

    def history(self, id: str) -> list[Doc]:
        """Every accepted change of a case, oldest first: {field, old, new, by, at}, long texts in full."""
        with self.lock:
            rows = [r for r in self.histories.get(id, ()) if "full" in r]
        return [{**r["full"], "by": r["CreatedById"], "at": r["CreatedDate"]} for r in rows]

    def kind_of(self, id: str) -> SObject | None:
        return next((o for o in self.objects.values() if o.prefix == id[:3]), None)

    def find_by(self, sobject: str, field: Field, value: str) -> list[Doc]:
        """Records that are not deleted and carry this external id."""
        ids = self.unique.get((sobject, field.name), {}).get(_fold(field, value), set())
        return [self.tables[sobject][i] for i in sorted(ids)]

    # Writing ---------------------------------------------------------------------------------------------------

    def create(self, sobject: str, fields: Doc, user: str | Actor | None = None, *, force: bool = False) -> Doc:
        """Make a record. `force` also sets fields only the system writes (dates, CaseNumber). Raises Problem."""
        actor = self._actor(user)
        kind = self.objects[sobject]
        with self.transaction():
            now = stamp(self.now())
            given = taken(kind, fields, creating=True, api=actor.api, force=force)
            doc: Doc = {f.name: f.default for f in kind.fields.values() if f.formula is None}
            doc["Id"] = schema.make_id(kind.prefix, self.store.next_number("id:" + sobject))
            doc |= {"CreatedDate": now, "LastModifiedDate": now, "SystemModstamp": now, "IsDeleted": False}
            doc |= {"CreatedById": actor.user, "LastModifiedById": actor.user}
            if "OwnerId" in kind.fields:
                doc["OwnerId"] = actor.user
            doc |= given
            if sobject == "Case" and not doc["CaseNumber"]:
                doc["CaseNumber"] = f"{self.store.next_number('case', 1001):08d}"
            if "FirstName" in kind.fields:
                doc["Name"] = " ".join(filter(None, (doc["FirstName"], doc["LastName"])))
            self._automate(kind, doc, None)
            check(self, kind, doc, None, set(given))
            self._save(kind, None, doc)
            if kind.history:
                self._record_history(doc["Id"], actor, [("created", None, None)])
            self._changes.append(Change(sobject, doc["Id"], "CREATE", None, doc, (), actor, self.now()))
            return doc

    def edit(self, id: str, user: str | Actor | None = None, **fields: Any) -> Doc:
        """Change fields of a record as a person does in the pages. Raises Problem."""
        return self.update(id, fields, user)

    def update(self, id: str, fields: Doc, user: str | Actor | None = None, *, force: bool = False) -> Doc:
        actor = self._actor(user)
        with self.transaction():
            old = self._existing(id, actor, "edit")
            kind = self.kind_of(id)
            assert kind is not None
            now = stamp(self.now())
            given = taken(kind, fields, creating=False, api=actor.api, force=force)
            new = {**old, "LastModifiedDate": now, "SystemModstamp": now, "LastModifiedById": actor.user, **given}
            if "FirstName" in kind.fields:
                new["Name"] = " ".join(filter(None, (new["FirstName"], new["LastName"])))
            self._automate(kind, new, old)
            check(self, kind, new, old, set(given))
            own = [f.name for f in kind.fields.values() if f.name not in _STAMPS and old.get(f.name) != new.get(f.name)]
            self._save(kind, old, new)
            if kind.history:
                self._record_history(id, actor, [(n, old.get(n), new.get(n)) for n in own])
            self._changes.append(Change(kind.name, id, "UPDATE", old, new, tuple(own), actor, self.now()))
            return new

    def delete(self, id: str, user: str | Actor | None = None) -> None:
        """Into the recycle bin, the comments of a case with it. Raises Problem."""
        actor = self._actor(user)
        with self.transaction():
            old = self._existing(id, actor, "delete")
            kind = self.kind_of(id)
            assert kind is not None
            self._bin(kind, old, actor, True)
            if kind.name == "Case":
                for comment in self.comments(id):
                    self._bin(self.objects["CaseComment"], comment, actor, True)

    def undelete(self, id: str, user: str | Actor | None = None) -> None:
        actor = self._actor(user)
        with self.transaction():
            old = self.get(id)
            kind = self.kind_of(id)
            if old is None or kind is None or not old["IsDeleted"]:
                raise Problem("UNDELETE_FAILED", "entity is not in the recycle bin")
            check(self, kind, {**old, "IsDeleted": False}, old, set())
            self._bin(kind, old, actor, False)
            if kind.name == "Case":
                for comment in list(self.tables["CaseComment"].values()):
                    if comment["ParentId"] == id and comment["IsDeleted"]:
                        self._bin(self.objects["CaseComment"], comment, actor, False)

    def empty_recycle_bin(self, older_than: float = 0.0) -> int:
        """Remove for good what was deleted more than `older_than` seconds ago. Returns how many."""
        limit = stamp(self.now() - older_than)
        with self.transaction():
            gone = [
                (name, doc)
                for name, table in self.tables.items()
                for doc in table.values()
                if doc["IsDeleted"] and doc["SystemModstamp"] <= limit
            ]
            for name, doc in gone:
                self._save(self.objects[name], doc, None)
            return len(gone)

    def touch(self, id: str) -> None:
        """A system update: SystemModstamp moves, LastModifiedDate does not, nothing is announced."""
        with self.transaction():
            old = self.get(id)
            kind = self.kind_of(id)
            assert old is not None
            assert kind is not None
            self._save(kind, old, {**old, "SystemModstamp": stamp(self.now())})

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, in memory, on disk and on the bus; may be nested, the outermost one commits."""
        with self.lock:
            outermost = self._depth == 0
            mark, heard = len(self._undo), len(self._changes)
            if outermost:
                self.store.db.execute("BEGIN")
            self.store.db.execute(f"SAVEPOINT level{self._depth}")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                self._roll_back(mark, heard)
                self.store.db.execute(f"ROLLBACK TO level{self._depth}")
                self.store.db.execute(f"RELEASE level{self._depth}")
                if outermost:
                    self.store.db.execute("ROLLBACK")
                raise
            self._depth -= 1
            self.store.db.execute(f"RELEASE level{self._depth}")
            if outermost:
                changes, self._changes, self._undo = self._changes, [], []
                try:
                    if changes:
                        self.announce(changes)
                finally:
                    self.store.db.execute("COMMIT")

    # Inside a save ---------------------------------------------------------------------------------------------

    def _actor(self, user: str | Actor | None) -> Actor:
        return user if isinstance(user, Actor) else Actor(user or self.system_user)

    def _existing(self, id: str, actor: Actor, verb: str) -> Doc:
        doc = self.get(id)
        kind = self.kind_of(id)
        if doc is None or kind is None or (actor.api and id in self.unshared):
            message = f"Provided external ID field does not exist or is not accessible: {id}"
            raise Problem("NOT_FOUND", message, status=404)
        if doc["IsDeleted"]:
            raise Problem("ENTITY_IS_DELETED", "entity is deleted", status=404)
        if not kind.writable:
            raise Problem("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", f"entity type cannot be changed: {kind.label}")
        if actor.api and (id in self.locked or verb in kind.denied):
            message = "insufficient access rights on object id"
            raise Problem("INSUFFICIENT_ACCESS_OR_READONLY", message, status=403 if verb in kind.denied else 400)
        if self.row_locks.get(id, 0) > 0:
            self.row_locks[id] -= 1
            message = f"unable to obtain exclusive access to this record or 1 records: {id}"
            raise Problem("UNABLE_TO_LOCK_ROW", message)
        return doc

    def _automate(self, kind: SObject, new: Doc, old: Doc | None) -> None:
        for trigger in self.triggers.get(kind.name, ()):
            new |= trigger(new, old) or {}

    def _bin(self, kind: SObject, old: Doc, actor: Actor, deleted: bool) -> None:
        now = stamp(self.now())
        new = {**old, "IsDeleted": deleted, "SystemModstamp": now, "LastModifiedDate": now}
        new["LastModifiedById"] = actor.user
        self._save(kind, old, new)
        verb = "DELETE" if deleted else "UNDELETE"
        self._changes.append(Change(kind.name, new["Id"], verb, old, new, (), actor, self.now()))

    def _save(self, kind: SObject, old: Doc | None, new: Doc | None) -> None:
        id = (new or old or {})["Id"]
        self._undo.append((kind.name, id, old))
        self._put(kind.name, id, old, new)
        if new is None:
            self.store.remove("record:" + kind.name, id)
        else:
            self.store.put("record:" + kind.name, id, new)

    def _put(self, name: str, id: str, old: Doc | None, new: Doc | None) -> None:
        if old is not None:
            self._index(name, old, add=False)
        if new is None:
            self.tables[name].pop(id, None)
        else:
            self.tables[name][id] = new
            self._index(name, new, add=True)

    def _roll_back(self, mark: int, heard: int) -> None:
        for name, id, old in reversed(self._undo[mark:]):
            current = self.tables[name].get(id)
            self._put(name, id, current, old)
            if name == "CaseHistory" and current is not None:
                self.histories[current["CaseId"]].remove(current)
        del self._undo[mark:]
        del self._changes[heard:]

    def _index(self, name: str, doc: Doc, *, add: bool) -> None:
        for item in self.objects[name].fields.values():
            value = doc.get(item.name)
            if not (item.unique or item.external_id) or value is None:
                continue
            ids = self.unique.setdefault((name, item.name), {}).setdefault(_fold(item, value), set())
            if add and not doc["IsDeleted"]:
                ids.add(doc["Id"])
            else:
                ids.discard(doc["Id"])

    def _record_history(self, id: str, actor: Actor, changes: Iterable[tuple[str, Any, Any]]) -> None:
        for row in history_rows(self, id, actor.user, changes):
            self._save(self.objects["CaseHistory"], None, row)
            self.histories.setdefault(id, []).append(row)

    # First start -----------------------------------------------------------------------------------------------

    def _remember(self, kind: str, id: str, value: str) -> str:
        self.store.put(kind, id, value)
        return value

    def _first_user(self) -> str:
        values = {"LastName": "Automated Process", "Username": "autoproc@" + self.id.lower(), "Alias": "autoproc"}
        doc = self.create("User", {**values, "UserType": "AutomatedProcess"}, Actor(""), force=True)
        own = {**doc, "CreatedById": doc["Id"], "LastModifiedById": doc["Id"]}
        self._save(self.objects["User"], doc, own)
        return str(doc["Id"])

    def _case_statuses(self) -> None:
        if self.tables["CaseStatus"]:
            return
        for order, label in enumerate(self.objects["Case"].fields["Status"].values, 1):
            values = {"MasterLabel": label, "ApiName": label, "SortOrder": order, "IsDefault": order == 1}
            closed = label in CLOSED_STATUSES
            self.create("CaseStatus", {**values, "IsClosed": closed}, self.system_user, force=True)


_STAMPS = frozenset({"LastModifiedDate", "LastModifiedById", "SystemModstamp"})


def _fold(item: Field, value: Any) -> str:
    return str(value) if item.case_sensitive else str(value).lower()


def _close_case(new: Doc, old: Doc | None) -> Doc:
    """The org's own bookkeeping: IsClosed and ClosedDate follow Status."""
    closed = new["Status"] in CLOSED_STATUSES
    date = (new.get("ClosedDate") or new["LastModifiedDate"]) if closed else None
    return {"IsClosed": closed, "ClosedDate": date}
