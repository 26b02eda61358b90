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
    DeliveryRequest,
    Field,
    Gone,
    Hint,
    ObjectType,
    Page,
    ParsedDelivery,
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
    ) -> None:
        self.name = name
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
        )
        self.now = now
        self.records: dict[str, Record] = {}
        self.log: list[LogLine] = []
        self.calls: list[tuple[str, Any]] = []
        self.creates = 0
        self.lag: float = 0.0  # seconds lists are behind
        self.hidden: set[str] = set()  # fields our account may not read
        self.lock = threading.RLock()
        # Called before and after each remote call with (verb, ids); may raise to imitate a fault. An exception of
        # `after` leaves the write in place: the lost answer.
        self.before: Callable[[str, Any], None] = lambda verb, ids: None
        self.after: Callable[[str, Any], None] = lambda verb, ids: None
        self.on_write: Callable[[str, dict[str, Any], str], dict[str, Any]] = lambda id, values, by: values
        World.registry[name] = self

    def stamp(self) -> str:
        return self.now().isoformat(timespec="microseconds").replace("+00:00", "Z")

    # What people do.

    def add(self, by: str = "ana", correlation_key: str | None = None, **values: Any) -> str:
        with self.lock:
            self.creates += 1
            external_id = f"{self.name[:1].upper()}{self.creates:05d}"
            at = self.stamp()
            empty = {field.path: [] if field.kind == "set" else None for field in self.fields}
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
        self.capabilities = self.world.capabilities  # type: ignore[misc]

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
        hidden = self.world.hidden & set(fields)
        values = {path: record.values[path] for path in fields if path in record.values and path not in hidden}
        return replace(record, values=values, unreadable=frozenset(hidden))

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
        horizon = (world.now() - timedelta(seconds=world.lag)).isoformat(timespec="microseconds").replace("+00:00", "Z")

        def read() -> list[Record]:
            found = [
                record
                for record in world.records.values()
                if (watermark is None or (record.updated_at or "") >= watermark)
                and (record.updated_at or "") <= horizon
                and (watermark is not None or not record.deleted)
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
        return self._call(
            "get",
            list(ids),
            lambda: {id: self._seen(self.world.records[id], fields) for id in ids if id in self.world.records},
        )

    def in_scope(self, object_type: str, ids: Sequence[str], scope: Values) -> set[str]:
        wanted = scope.get("status")
        return self._call(
            "scope",
            list(ids),
            lambda: {
                id
                for id in ids
                if id in self.world.records and (not wanted or self.world.records[id].values["status"] == wanted)
            },
        )

    def list_ids(self, object_type: str, scope: Values) -> Iterator[Sequence[str]]:
        yield self._call("list_ids", None, lambda: sorted(self.world.alive()))

    def create(
        self, object_type: str, values: Values, correlation_key: str, scope: Values, parent_id: str | None = None
    ) -> WriteResult:
        def make() -> WriteResult:
            self._validate(values)
            external_id = self.world.add(by=US, correlation_key=correlation_key, **values)
            return WriteResult(self.world.records[external_id], created=True)

        return self._call("create", correlation_key, make)

    def update(
        self, object_type: str, external_id: str, values: Values, expected_version: str | None, fields: Sequence[str]
    ) -> WriteResult:
        def change() -> WriteResult:
            record = self.world.records.get(external_id)
            if record is None or record.deleted:
                raise Gone("The record is deleted.")
            if self.capabilities.conditional_write and expected_version and record.version != expected_version:
                raise VersionMismatch("The record changed.")
            self._validate(values)
            self.world.edit(external_id, by=US, **values)
            return WriteResult(self._seen(self.world.records[external_id], fields))

        return self._call("update", external_id, change)

    def update_many(
        self, object_type: str, updates: Sequence[Update], fields: Sequence[str]
    ) -> Sequence[WriteResult | ConnectorError]:
        results: list[WriteResult | ConnectorError] = []
        for one in updates:
            try:
                results.append(self.update(object_type, one.external_id, one.values, one.expected_version, fields))
            except Uncertain:
                raise
            except ConnectorError as error:
                results.append(error)
        return results

    def create_many(
        self, object_type: str, creations: Sequence[Creation], fields: Sequence[str], scope: Values
    ) -> Sequence[WriteResult | ConnectorError]:
        return [self.create(object_type, one.values, one.correlation_key, scope) for one in creations]

    def _validate(self, values: Values) -> None:
        known = {field.path: field for field in self.world.fields}
        for path, value in values.items():
            if path not in known:
                raise Refused("There is no such field.", {path: "unknown field"})
            limit = known[path].max_length
            if limit and isinstance(value, str) and len(value) > limit:
                raise Refused("A value is too long.", {path: f"longer than {limit} characters"})
            if known[path].options and value is not None and value not in {o.value for o in known[path].options}:
                raise Refused("A value is not allowed.", {path: f"{value!r} is not an option"})

    def delete(self, object_type: str, external_id: str) -> None:
        self._call("delete", external_id, lambda: self.world.remove(external_id, by=US))

    def find_by_correlation_key(
        self, object_type: str, keys: Sequence[str], fields: Sequence[str], scope: Values
    ) -> Mapping[str, Sequence[Record]]:
        def find() -> dict[str, list[Record]]:
            found: dict[str, list[Record]] = {}
            for record in self.world.records.values():
                if record.correlation_key in keys and record.correlation_key is not None:
                    found.setdefault(record.correlation_key, []).append(self._seen(record, fields))
            return found

        return self._call("find_key", list(keys), find)

    def write_correlation_key(self, object_type: str, external_id: str, key: str) -> None:
        def mark() -> None:
            self.world.records[external_id] = replace(self.world.records[external_id], correlation_key=key)

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
        return self._call(
            "find_values",
            path,
            lambda: [
                self._seen(record, fields)
                for record in self.world.alive().values()
                if record.values.get(path) is not None and str(record.values[path]).casefold() in folded
            ],
        )

    def history(
        self, object_type: str, ids: Sequence[str], fields: Sequence[str], since: str
    ) -> Mapping[str, Sequence[Change]]:
        def read() -> dict[str, list[Change]]:
            found: dict[str, list[Change]] = {id: [] for id in ids}
            for line in self.world.log:
                if line.external_id in found and line.field in fields and line.at >= since:
                    found[line.external_id].append(
                        Change(line.field, line.at, line.by, line.by.title(), line.before, line.after)
                    )
            return found

        return self._call("history", list(ids), read)

    def parse_delivery(self, request: DeliveryRequest) -> ParsedDelivery:
        external_id = request.body.decode()
        verified = request.headers.get("x-signature") == "good"
        return ParsedDelivery(
            request.headers.get("x-delivery"),
            "changed",
            verified,
            "" if verified else "The signature is wrong.",
            [Hint("thing", external_id, verified=verified)],
        )

    def url_of(self, object_type: str, external_id: str, key: str | None) -> str:
        return f"{self.context.address}/{external_id}"

    def people(self, query: str) -> Sequence[tuple[str, str]]:
        return [("ana@example.com", "Ana"), ("bob@example.com", "Bob")]
