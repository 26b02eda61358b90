"""A system in memory: the connector that engine tests run against, with faults on demand.

Not offered in the UI. `World` is the system itself: records, people's edits, an append-only log of accepted writes
(the oracle of loss tests reads only this log), and switches for the ways real systems misbehave.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from connections.connectors.base import (
    Capabilities,
    Change,
    CheckResult,
    Connector,
    ConnectorError,
    Context,
    Creation,
    Expired,
    Field,
    Gone,
    ObjectType,
    Page,
    Record,
    Refused,
    Uncertain,
    Update,
    Values,
    VersionMismatch,
    WriteResult,
)

US = "syncadmin"  # our account in every world
PAGE = 50

DEFAULT_FIELDS = (
    Field("title", "Title", "text", required=True, max_length=255, matchable=True),
    Field("body", "Body", "text"),
    Field("status", "Status", "option"),
    Field("labels", "Labels", "set"),
    Field("owner", "Owner", "person"),
    Field("amount", "Amount", "number"),
    Field("due", "Due", "date"),
    Field("ref", "Reference", "text", matchable=True),
)


@dataclass
class LogLine:
    at: str
    by: str
    external_id: str
    field: str
    before: Any
    after: Any


class World:
    """One remote system. `now` is its clock; `capabilities` say which promises it keeps."""

    registry: dict[str, World] = {}

    def __init__(
        self,
        name: str,
        fields: Sequence[Field] = DEFAULT_FIELDS,
        capabilities: Capabilities | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        people: Mapping[str, str] | None = None,
    ) -> None:
        """`people`: names by person value, where nobody else can be written; None: anybody can."""
        self.name = name
        self.people = people
        self.fields = list(fields)
        self.capabilities = capabilities or Capabilities(
            bulk_read=100,
            lists_deletions=True,
            not_found_means_gone=True,
            write_returns_record=True,
            create_lookup_consistent=True,
            settle_seconds=0,
            field_history=True,
            complete_history=True,
            lookback=2,
            update_timeout=0,
            watermark_granularity=0.000001,
            stamp_granularity=0.000001,
        )
        self.now = now
        self.records: dict[str, Record] = {}
        self.log: list[LogLine] = []
        self.calls: list[tuple[str, Any]] = []
        self.creates = 0
        self.lag: float = 0.0  # seconds lists are behind
        self.key_lag: float = 0.0  # seconds the look-up by correlation key is behind
        self.forgets: float = 0.0  # seconds for which changes are listed; 0: for ever
        self.hidden: set[str] = set()  # fields our account may not read
        self.unseen: set[str] = set()  # records our account may not read
        self.refuses_unknown = False  # a read that asks for a field which is not there for us is refused as a whole
        self.lock = threading.RLock()
        # Called before and after each remote call with (verb, ids); may raise to imitate a fault. An exception of
        # `after` leaves the write in place: the lost answer.
        self.before: Callable[[str, Any], None] = lambda verb, ids: None
        self.after: Callable[[str, Any], None] = lambda verb, ids: None
        self.on_write: Callable[[str, dict[str, Any], str], dict[str, Any]] = lambda id, values, by: values
        # {path: (value, wanted) -> next value}: fields that reach a value in steps, one call each
        self.ways: dict[str, Callable[[Any, Any], Any]] = {}
        World.registry[name] = self

    def stamp(self) -> str:
        return self.now().isoformat(timespec="microseconds").replace("+00:00", "Z")

    # What administrators do.

    def change(self, path: str, /, **changes: Any) -> None:
        """Change a field's description: its path (a rename), kind, options, required, writable, max_length."""
        with self.lock:
            self.fields = [replace(one, **changes) if one.path == path else one for one in self.fields]
            if renamed := changes.get("path"):
                for external_id, record in self.records.items():
                    values = {renamed if key == path else key: value for key, value in record.values.items()}
                    self.records[external_id] = replace(record, values=values)

    def take_away(self, path: str) -> Field:
        """Remove a field; what records said in it is kept for the day it is put back."""
        with self.lock:
            gone = next(one for one in self.fields if one.path == path)
            self.fields.remove(gone)
            return gone

    # What people do.

    def add(self, by: str = "ana", correlation_key: str | None = None, **values: Any) -> str:
        with self.lock:
            self.creates += 1
            external_id = f"{self.name[:1].upper()}{self.creates:05d}"
            at = self.stamp()
            empty: dict[str, Any] = {field.path: [] if field.kind == "set" else None for field in self.fields}
            self.records[external_id] = Record(
                external_id=external_id,
                version="1",
                values={**empty, **values},
                updated_at=at,
                updated_by=by,
                updated_by_name=by.title(),
                created_at=at,
                created_by=by,
                key=external_id,
                title=values.get("title"),
                correlation_key=correlation_key,
            )
            for path, value in values.items():
                self.log.append(LogLine(at, by, external_id, path, None, value))
            return external_id

    def edit(self, external_id: str, by: str = "ana", **values: Any) -> None:
        with self.lock:
            record = self.records[external_id]
            values = self.on_write(external_id, values, by)
            at = self.stamp()
            for path, value in values.items():
                if record.values.get(path) != value:
                    self.log.append(LogLine(at, by, external_id, path, record.values.get(path), value))
            self.records[external_id] = replace(
                record,
                values={**record.values, **values},
                version=str(int(record.version) + 1),
                updated_at=at,
                updated_by=by,
                updated_by_name=by.title(),
            )

    def remove(self, external_id: str, by: str = "ana") -> None:
        with self.lock:
            record = self.records[external_id]
            at = self.stamp()
            self.log.append(LogLine(at, by, external_id, "", "exists", "deleted"))
            self.records[external_id] = replace(record, deleted=True, updated_at=at, updated_by=by)

    def restore(self, external_id: str, by: str = "ana") -> None:
        """Somebody takes a deletion back: the record says what it said."""
        with self.lock:
            record = self.records[external_id]
            at, version = self.stamp(), str(int(record.version) + 1)
            self.log.append(LogLine(at, by, external_id, "", "deleted", "exists"))
            self.records[external_id] = replace(record, deleted=False, version=version, updated_at=at, updated_by=by)

    def merge(self, external_id: str, into: str, by: str = "ana") -> None:
        """Somebody merges a record into another one, which keeps what it says."""
        with self.lock:
            self.remove(external_id, by)
            self.records[external_id] = replace(self.records[external_id], merged_into=into)

    def alive(self) -> dict[str, Record]:
        return {id: record for id, record in self.records.items() if not record.deleted}

    def value(self, external_id: str, path: str) -> Any:
        return self.records[external_id].values[path]


class MemoryConnector(Connector):
    kind = "memory"
    label = "Memory"
    form = ()
    hidden = True
    capabilities = Capabilities()  # each world has its own

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.world = World.registry[context.settings["world"]]
        self.capabilities = self.world.capabilities

    def _call(self, verb: str, ids: Any, act: Callable[[], Any]) -> Any:
        world = self.world
        with world.lock:
            world.calls.append((verb, ids))
        world.before(verb, ids)
        with world.lock:
            result = act()
        world.after(verb, ids)
        return result

    def _seen(self, record: Record, fields: Sequence[str]) -> Record:
        hidden, there = self.world.hidden & set(fields), {one.path for one in self.world.fields}
        shown = [path for path in fields if path in record.values and path in there and path not in hidden]
        return replace(
            record,
            version=self._version(record),
            values={path: _normal(record.values[path]) for path in shown},
            unreadable=frozenset(hidden),
        )

    def _version(self, record: Record) -> str:
        able = self.capabilities
        return record.version if able.exact_version or not able.lists_changes else str(record.updated_at)

    def _whole(self, record: Record) -> Record:
        return self._seen(record, list(record.values))

    def _horizon(self, lag: float) -> str:
        """Stamps up to this one are known to what is `lag` seconds behind."""
        moment = self.world.now() - timedelta(seconds=lag)
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def _within(self, record: Record, scope: Values) -> bool:
        """`scope`: {path: value}, all of which a record must have; a set has what is among its members."""
        return all(_has(record.values.get(path), wanted) for path, wanted in scope.items() if wanted)

    def _existing(self, external_id: str) -> Record:
        record = self.world.records.get(external_id)
        if record is None:
            raise Gone("There is no such record.", certain=self.capabilities.not_found_means_gone)
        if record.deleted:
            raise Gone("The record is deleted.")
        return record

    def _ask_for(self, fields: Sequence[str]) -> None:
        if self.world.refuses_unknown:
            there = {one.path for one in self.world.fields} - self.world.hidden
            if gone := [path for path in fields if path not in there]:
                raise Refused(f"No such column {gone[0]}.", {gone[0]: "no such column"})

    def check(self) -> CheckResult:
        return CheckResult(account_id=US, account_name="SyncAdmin", tenant=self.world.name)

    def object_types(self) -> Sequence[ObjectType]:
        return [ObjectType("thing", "Thing")]

    def fields(self, object_type: str, scope: Values) -> Sequence[Field]:
        return [field for field in self.world.fields if field.path not in self.world.hidden]

    def changed_since(
        self, object_type: str, watermark: str | None, fields: Sequence[str], scope: Values
    ) -> Iterator[Page]:
        world = self.world
        server_time = world.stamp()
        horizon = self._horizon(world.lag)

        def read() -> list[Record]:
            if world.forgets and watermark and watermark < self.shift_watermark(server_time, world.forgets):
                raise Expired("Changes are not kept for that long.")
            self._ask_for([*fields, *scope])
            found = [
                record
                for record in world.records.values()
                if (watermark is None or (record.updated_at or "") >= watermark)
                and (record.updated_at or "") <= horizon
                and not (record.deleted and (watermark is None or not self.capabilities.lists_deletions))
                and self._within(record, scope)
            ]
            return sorted(found, key=lambda record: (record.updated_at or "", record.external_id))

        found = self._call("list", watermark, read)
        for start in range(0, max(len(found), 1), PAGE):
            part = found[start : start + PAGE]
            last = start + PAGE >= len(found)
            yield Page(
                [self._seen(record, fields) for record in part],
                server_time if last else part[-1].updated_at,
                server_time,
                last,
            )

    def shift_watermark(self, watermark: str, seconds: float) -> str:
        moved = datetime.fromisoformat(watermark.replace("Z", "+00:00")) - timedelta(seconds=seconds)
        return moved.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def get_many(self, object_type: str, ids: Sequence[str], fields: Sequence[str]) -> Mapping[str, Record]:
        def read() -> dict[str, Record]:
            self._ask_for(fields)
            there = {id: self.world.records[id] for id in ids if id in self.world.records}
            return {id: self._seen(record, fields) for id, record in there.items() if id not in self.world.unseen}

        return self._call("get", list(ids), read)

    def in_scope(self, object_type: str, ids: Sequence[str], scope: Values) -> set[str]:
        alive = self.world.alive
        return self._call(
            "scope",
            list(ids),
            lambda: {id for id, record in alive().items() if id in ids and self._within(record, scope)},
        )

    def list_ids(self, object_type: str, scope: Values) -> Iterator[Sequence[str]]:
        alive = self.world.alive
        yield self._call(
            "list_ids", None, lambda: sorted(id for id, record in alive().items() if self._within(record, scope))
        )

    def create(
        self,
        object_type: str,
        values: Values,
        correlation_key: str,
        scope: Values,
        parent_id: str | None = None,
        fields: Sequence[str] = (),
    ) -> WriteResult:
        def make() -> WriteResult:
            self._validate(values, creating=True)
            known = (r for r in self.world.alive().values() if r.correlation_key == correlation_key)
            if self.capabilities.idempotent_create and (record := next(known, None)):
                return WriteResult(self._whole(record))
            external_id = self.world.add(by=US, correlation_key=correlation_key, **values)
            return WriteResult(self._whole(self.world.records[external_id]), created=True)

        return self._call("create", correlation_key, make)

    def update(
        self, object_type: str, external_id: str, values: Values, expected_version: str | None, fields: Sequence[str]
    ) -> WriteResult:
        def change() -> WriteResult:
            record = self._existing(external_id)
            if self.capabilities.conditional_write and expected_version and self._version(record) != expected_version:
                raise VersionMismatch("The record changed.")
            self._validate(values)
            steps = {
                path: self.world.ways[path](record.values[path], wanted)
                for path, wanted in values.items()
                if path in self.world.ways
            }
            replaced = {path: _normal(record.values.get(path)) for path in values}
            self.world.edit(external_id, by=US, **{**values, **steps})
            now = self._seen(self.world.records[external_id], [*dict.fromkeys([*fields, *values])])
            return WriteResult(
                now,
                on_the_way={path: step for path, step in steps.items() if step != values[path]},
                replaced=replaced if self.capabilities.field_history else {},
            )

        return self._call("update", external_id, change)

    def update_many(
        self, object_type: str, updates: Sequence[Update], fields: Sequence[str]
    ) -> Sequence[WriteResult | ConnectorError]:
        return [
            _one(lambda u=u: self.update(object_type, u.external_id, u.values, u.expected_version, fields))  # type: ignore[misc]
            for u in updates
        ]

    def create_many(
        self, object_type: str, creations: Sequence[Creation], fields: Sequence[str], scope: Values
    ) -> Sequence[WriteResult | ConnectorError]:
        return [
            _one(lambda c=c: self.create(object_type, c.values, c.correlation_key, scope))  # type: ignore[misc]
            for c in creations
        ]

    def _validate(self, values: Values, creating: bool = False) -> None:
        known = {field.path: field for field in self.world.fields}
        required = [path for path, field in known.items() if field.required and (creating or path in values)]
        empty = [path for path in required if values.get(path) in (None, "", [])]
        if empty:
            raise Refused("A value is missing.", dict.fromkeys(empty, "must not be empty"))
        for path, value in values.items():
            if path not in known or path in self.world.hidden:
                raise Refused("There is no such field.", {path: "unknown field"})
            if not (known[path].creatable if creating else known[path].writable):
                raise Refused("The field is read only.", {path: "read only"})
            limit = known[path].max_length
            if limit and isinstance(value, str) and len(value) > limit:
                raise Refused("A value is too long.", {path: f"longer than {limit} characters"})
            offered = {option.value for option in known[path].options if option.active}
            named = value if isinstance(value, list) else [value]
            if offered and value is not None and not set(named) <= offered:
                raise Refused("A value is not allowed.", {path: f"{value!r} is not an option"})
            people = self.world.people
            if people is not None and known[path].kind == "person" and value and value not in people:
                raise Refused("There is no such person.", {path: f"{value} is nobody here"})

    def delete(self, object_type: str, external_id: str) -> None:
        def remove() -> None:
            self._existing(external_id)
            self.world.remove(external_id, by=US)

        self._call("delete", external_id, remove)

    def find_by_correlation_key(
        self, object_type: str, keys: Sequence[str], fields: Sequence[str], scope: Values
    ) -> Mapping[str, Sequence[Record]]:
        horizon = self._horizon(self.world.key_lag)

        def find() -> dict[str, list[Record]]:
            self._ask_for(fields)
            found: dict[str, list[Record]] = {}
            for record in self.world.alive().values():
                late = (record.created_at or "") > horizon
                if record.correlation_key in keys and record.correlation_key is not None and not late:
                    found.setdefault(record.correlation_key, []).append(self._seen(record, fields))
            return found

        return self._call("find_key", list(keys), find)

    def write_correlation_key(self, object_type: str, external_id: str, key: str) -> None:
        def mark() -> None:
            self.world.records[external_id] = replace(self._existing(external_id), correlation_key=key)

        self._call("mark", external_id, mark)

    def own_recent(self, object_type: str, since: str, fields: Sequence[str], scope: Values) -> Sequence[Record]:
        return self._call(
            "own_recent",
            since,
            lambda: [
                self._seen(record, fields)
                for record in self.world.alive().values()
                if record.created_by == US and (record.created_at or "") >= since
            ],
        )

    def find_by_values(
        self, object_type: str, path: str, wanted: Sequence[Any], fields: Sequence[str], scope: Values
    ) -> Sequence[Record]:
        folded = {str(value).casefold() for value in wanted}

        def find() -> list[Record]:
            self._ask_for([*fields, path])
            return [
                self._seen(record, fields)
                for record in self.world.alive().values()
                if record.values.get(path) not in (None, "")
                and str(record.values[path]).casefold() in folded
                and self._within(record, scope)
            ]

        return self._call("find_values", path, find)

    def history(
        self, object_type: str, ids: Sequence[str], fields: Sequence[str], since: str
    ) -> Mapping[str, Sequence[Change]]:
        def read() -> dict[str, list[Change]]:
            found: dict[str, list[Change]] = {id: [] for id in ids}
            for line in self.world.log:
                if line.external_id in found and line.field in fields and line.at >= since:
                    found[line.external_id].append(
                        Change(line.field, line.at, line.by, line.by.title(), _normal(line.before), _normal(line.after))
                    )
            return found

        return self._call("history", list(ids), read)

    def url_of(self, object_type: str, external_id: str, key: str | None) -> str:
        return f"{self.context.address}/{external_id}"

    def people(self, query: str) -> Sequence[tuple[str, str]]:
        known = self.world.people or {"ana@example.com": "Ana", "bob@example.com": "Bob"}
        return [(value, name) for value, name in known.items() if query.casefold() in f"{value} {name}".casefold()]


def _has(value: Any, wanted: Any) -> bool:
    return wanted in value if isinstance(value, list) else bool(value == wanted)


def _normal(value: Any) -> Any:
    """What people typed, in the contract's form."""
    if isinstance(value, list):
        return sorted(set(value))
    return value.replace("\r\n", "\n").replace("\r", "\n") or None if isinstance(value, str) else value


def _one(write: Callable[[], WriteResult]) -> WriteResult | ConnectorError:
    """One record's result among many. What is not known of one is not known of the call."""
    try:
        return write()
    except Uncertain:
        raise
    except ConnectorError as error:
        return error
