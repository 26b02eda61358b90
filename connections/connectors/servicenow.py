"""ServiceNow: tables by the Table API, journals and attachments as children; its bell is a business rule.

A listing is ordered by the time of the last update and the id, and goes on after the last row; the delete log rides in
the same call. The correlation key lies in `correlation_id`. `scope`: {"query": an encoded query}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from connections.connectors import servicenow_attachments as attachments
from connections.connectors import servicenow_changes as changes
from connections.connectors import servicenow_children as children
from connections.connectors import servicenow_errors as errors
from connections.connectors import servicenow_history as history
from connections.connectors import servicenow_people as people
from connections.connectors import servicenow_query as query
from connections.connectors import servicenow_webhook as webhook
from connections.connectors import servicenow_writes as writes
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
    FormField,
    NotAllowed,
    ObjectType,
    Page,
    ParsedDelivery,
    Record,
    Refused,
    Retry,
    Step,
    Update,
    Values,
    WriteResult,
)
from connections.connectors.servicenow_auth import FORM
from connections.connectors.servicenow_check import check, hidden_columns
from connections.connectors.servicenow_fields import (
    KEY,
    outgoing,
    raw_moment,
    read_list,
)
from connections.connectors.servicenow_instance import TABLES, Instance
from connections.connectors.servicenow_listing import IDS_PAGE, PAGE_ROWS, Listing, all_rows
from connections.connectors.servicenow_listing import ids as ids_of

LOG, SWEEP = "log", "sweep"
# An update is visible when its transaction ends, which ServiceNow's own rule ends after a minute.
LOOKBACK_SECONDS = 120.0


class ServiceNow(Connector):
    kind = "servicenow"
    label = "ServiceNow"
    proof = webhook.PROOF
    address_help = "The instance's address, like https://acme.service-now.com."
    form: ClassVar[Sequence[FormField]] = (
        *FORM,
        FormField("tables", "Tables", required=False, default=TABLES, help="Names, separated by commas."),
        FormField(
            "deletions",
            "Deletions",
            required=False,
            choices=((LOG, "The delete log (sys_audit_delete)"), (SWEEP, "A complete listing every hour")),
            default=LOG,
            help="The delete log needs audited tables and an account that may read it.",
        ),
        FormField(
            "webhook_secret",
            "Webhook secret",
            secret=True,
            required=False,
            help="A long random text, the same as in ServiceNow's property. It proves that deliveries come from there.",
        ),
    )
    scope_form: ClassVar[Sequence[FormField]] = (
        FormField(
            "query",
            "Only records where",
            required=False,
            multiline=True,
            help="An encoded query, like: active=true^category=network. A list's filter copies it (“Copy query”).",
        ),
    )
    scope_help = (
        "A filter as ServiceNow's lists copy it. Its fields have to exist, or ServiceNow would drop them unsaid."
    )
    capabilities = Capabilities(
        bulk_read=query.MAX_IDS,
        bulk_write=writes.MAX_BATCH,
        create_lookup_consistent=True,
        settle_seconds=10.0,
        lists_deletions=True,
        write_returns_record=True,
        field_history=True,
        exact_version=True,
        watermark_granularity=1.0,
        overlap=10.0,
        lookback=LOOKBACK_SECONDS,
        concurrency=4,  # an instance serves 16 calls at once, its users among them
        rate_per_second=10.0,
        bell="webhook",
        update_timeout=120.0,  # ServiceNow ends a transaction after a minute, and a batch after half of one
    )

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.instance = Instance(context)
        self.log = (context.settings.get("deletions") or LOG) == LOG
        if not self.log:
            # What an account without the log cannot do, and then the engine looks for deletions itself.
            self.capabilities = replace(type(self).capabilities, lists_deletions=False)

    def capabilities_of(self, object_type: str) -> Capabilities:
        """What holds for one object type: without a column for the key, a create cannot be looked up by it."""
        child = children.split(object_type)
        if child and children.is_file(child):
            return replace(
                self.capabilities,
                bulk_read=attachments.FILES_AT_ONCE,
                create_lookup_consistent=False,
                lists_deletions=self.log and attachments.logs_deletions(self.instance),
            )
        if child:
            return replace(self.capabilities, create_lookup_consistent=False)
        shape = self.instance.shape(object_type)
        # The log names a record by the table that made it, and tells of it where that table is audited.
        told = self.capabilities.lists_deletions and not shape.extended
        return replace(self.capabilities, create_lookup_consistent=bool(shape.key_field), lists_deletions=told)

    # What there is -----------------------------------------------------------------------------------------------

    def check(self) -> CheckResult:
        result = check(self.instance, self.log, bool(self.context.secrets.get("webhook_secret")))
        self.context.state.put("account", result.account_id)
        return result

    def object_types(self) -> Sequence[ObjectType]:
        found = []
        for table in self.instance.tables():
            try:
                shape = self.instance.shape(table)
            except NotAllowed:
                found.append(ObjectType(table, table))  # choosing it says what is missing
                continue
            found += [ObjectType(table, shape.label), *children.types(shape)]
        return found

    def fields(self, object_type: str, scope: Values) -> Sequence[Field]:
        """Without those that the newest record shows to be hidden from our account."""
        child = children.split(object_type)
        if child:
            return children.fields(child)
        self.instance.forget()
        shape = self.instance.shape(object_type)
        hidden = hidden_columns(self.instance, object_type, list(shape.columns))
        self.instance.note_hidden(object_type, hidden)
        return [column.shown for path, column in shape.columns.items() if path not in hidden]

    def people(self, query: str) -> Sequence[tuple[str, str]]:
        return people.search(self.instance, query)

    def url_of(self, object_type: str, external_id: str, key: str | None) -> str:
        child = children.split(object_type)
        table = children.page_of(child) if child else object_type
        return f"{self.context.address}/{table}.do?sys_id={external_id}"

    # Reads -------------------------------------------------------------------------------------------------------

    def changed_since(
        self, object_type: str, watermark: str | None, fields: Sequence[str], scope: Values
    ) -> Iterator[Page]:
        child, watermark = children.split(object_type), self.instance.trusted(watermark)
        if child:
            yield from children.changes(self.instance, child, watermark, fields, self.log)
            return
        yield from changes.since(self.instance, object_type, watermark, fields, scope, self.log)

    def shift_watermark(self, watermark: str, seconds: float) -> str:
        shifted = datetime.fromisoformat(watermark) - timedelta(seconds=seconds)
        return shifted.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def get_many(self, object_type: str, ids: Sequence[str], fields: Sequence[str]) -> Mapping[str, Record]:
        child = children.split(object_type)
        if child:
            return children.read(self.instance, child, ids, fields)
        shape = self.instance.shape(object_type)
        found: dict[str, Record] = {}
        for chunk, rows in self._by_id(object_type, ids, read_list(shape, fields), [""]):
            found |= {row["sys_id"]: self.instance.record(shape, row, fields) for row in rows if row["sys_id"] in chunk}
        return found

    def in_scope(self, object_type: str, ids: Sequence[str], scope: Values) -> set[str]:
        child = children.split(object_type)
        if child:
            return set(children.read(self.instance, child, ids, ()))
        groups = self.instance.condition(object_type, scope)
        found: set[str] = set()
        for chunk, rows in self._by_id(object_type, ids, ("sys_id",), groups):
            found |= {row["sys_id"] for row in rows} & set(chunk)
        return found

    def admits(self, object_type: str, record: Record, scope: Values) -> bool | None:
        return None if scope.get("query") and not children.split(object_type) else True

    def list_ids(self, object_type: str, scope: Values) -> Iterator[Sequence[str]]:
        child = children.split(object_type)
        if child:
            yield from children.ids(self.instance, child)
            return
        yield from ids_of(self.instance, object_type, self.instance.condition(object_type, scope), IDS_PAGE)

    def children(
        self, object_type: str, parent_ids: Sequence[str], fields: Sequence[str]
    ) -> Mapping[str, Sequence[Record]]:
        child = children.split(object_type)
        if not child:
            raise NotAllowed(
                f"Records of {object_type} belong to no other record. Nothing was read. Check the mapping."
            )
        return children.of_parents(self.instance, child, parent_ids, fields)

    def find_by_correlation_key(
        self, object_type: str, keys: Sequence[str], fields: Sequence[str], scope: Values
    ) -> Mapping[str, Sequence[Record]]:
        """A record outside the scope counts as well: its thing exists. Entries and files carry no key."""
        if children.split(object_type) or not self.instance.shape(object_type).key_field:
            return {}
        wanted, found = set(keys), dict[str, list[Record]]()
        for record in self._by_value(object_type, KEY, list(keys), fields, [""]):
            if record.correlation_key in wanted:
                found.setdefault(record.correlation_key, []).append(record)
        return found

    def own_recent(self, object_type: str, since: str, fields: Sequence[str], scope: Values) -> Sequence[Record]:
        child = children.split(object_type)
        if child:
            return children.own_recent(self.instance, child, since, fields)
        shape, me = self.instance.shape(object_type), self.instance.me()["user_name"]
        self.instance.prove_clock(object_type)
        groups = [f"sys_created_by={me}"]
        columns = read_list(shape, fields)
        listing = Listing(object_type, groups, columns, stamp="sys_created_on", since=raw_moment(since), size=PAGE_ROWS)
        found = [self.instance.record(shape, row, fields) for row in all_rows(self.instance, listing)]
        return [r for r in found if r.created_by == me and (r.created_at or "") >= since[:19]]

    def find_by_values(
        self, object_type: str, path: str, wanted: Sequence[Any], fields: Sequence[str], scope: Values
    ) -> Sequence[Record]:
        shape = None if children.split(object_type) else self.instance.shape(object_type)
        column = shape.columns.get(path) if shape else None
        if not column or not column.shown.matchable:
            raise Refused(f"ServiceNow cannot look records up by {path}. Nothing was read. Choose another match field.")
        texts = {str(value).strip().casefold(): str(value) for value in wanted if value not in (None, "")}
        stored = []
        for text in texts.values():
            try:
                stored.append(outgoing(column, text, {}))
            except ValueError:
                continue  # what is in no list is in no record
        groups = self.instance.condition(object_type, scope)
        found = self._by_value(object_type, path, stored, [*dict.fromkeys([*fields, path])], groups)
        fitting = [r for r in found if str(r.values.get(path) or "").strip().casefold() in texts]
        return [replace(r, values={p: v for p, v in r.values.items() if p in fields}) for r in fitting]

    def history(
        self, object_type: str, ids: Sequence[str], fields: Sequence[str], since: str
    ) -> Mapping[str, Sequence[Change]]:
        """Empty where the instance keeps no history of the table or our account may not read it."""
        return {} if children.split(object_type) else history.of_records(self.instance, object_type, ids, fields, since)

    # Writes ------------------------------------------------------------------------------------------------------

    def create(
        self,
        object_type: str,
        values: Values,
        correlation_key: str,
        scope: Values,
        parent_id: str | None = None,
        fields: Sequence[str] = (),
    ) -> WriteResult:
        child = children.split(object_type)
        if child:
            return children.create(self.instance, child, values, parent_id)
        return writes.create(self.instance, object_type, values, correlation_key, fields)

    def update(
        self, object_type: str, external_id: str, values: Values, expected_version: str | None, fields: Sequence[str]
    ) -> WriteResult:
        child = children.split(object_type)
        if child:
            raise children.unchangeable(self.instance, child, external_id)
        return writes.update(self.instance, object_type, external_id, values, fields)

    def delete(self, object_type: str, external_id: str) -> None:
        child = children.split(object_type)
        if child:
            children.delete(self.instance, child, external_id)
            return
        writes.delete(self.instance, object_type, external_id)

    def create_many(
        self, object_type: str, creations: Sequence[Creation], fields: Sequence[str], scope: Values
    ) -> Sequence[WriteResult | ConnectorError]:
        child = children.split(object_type)
        if not child:
            return writes.create_many(self.instance, object_type, creations, fields)
        results: list[WriteResult | ConnectorError] = []
        for one in creations:
            try:
                results.append(children.create(self.instance, child, one.values, one.parent_id))
            except ConnectorError as error:
                results.append(error)
        return results

    def update_many(
        self, object_type: str, updates: Sequence[Update], fields: Sequence[str]
    ) -> Sequence[WriteResult | ConnectorError]:
        child = children.split(object_type)
        if child:
            return [children.fixed(child) for _ in updates]
        return writes.update_many(self.instance, object_type, updates, fields)

    def write_correlation_key(self, object_type: str, external_id: str, key: str) -> None:
        if not children.split(object_type):
            writes.write_key(self.instance, object_type, external_id, key)

    # The bell ----------------------------------------------------------------------------------------------------

    def parse_delivery(self, request: DeliveryRequest) -> ParsedDelivery:
        return webhook.parse(request, self.verdict(request), self.context.state.get("account"))

    def steps_by_hand(self, object_types: Sequence[str], scope: Values, callback_url: str) -> Sequence[Step]:
        tables = [*dict.fromkeys(one.partition(".")[0] for one in object_types)]
        return webhook.by_hand(tables, str(scope.get("query") or ""), callback_url)

    # Helpers -----------------------------------------------------------------------------------------------------

    def _by_id(
        self, table: str, ids: Sequence[str], columns: Sequence[str], groups: Sequence[str]
    ) -> Iterator[tuple[list[str], list[dict[str, Any]]]]:
        around = 2 * sum(map(len, groups))
        for chunk in query.chunks([id for id in dict.fromkeys(ids) if query.is_id(id)], around, len(groups)):
            yield chunk, self._rows(table, chunk, columns, groups)

    def _rows(self, table: str, ids: list[str], columns: Sequence[str], groups: Sequence[str]) -> list[dict[str, Any]]:
        """Rows by id; where huge ones do not come together in one answer, in parts."""
        wanted = query.combine(groups, query.one_of("sys_id", ids))
        try:
            return self.instance.some(table, wanted, columns, len(ids))
        except Retry as error:
            if len(ids) == 1 or not errors.too_large(error):
                raise
        half = len(ids) // 2
        return [row for part in (ids[:half], ids[half:]) for row in self._rows(table, part, columns, groups)]

    def _by_value(
        self, table: str, path: str, wanted: Sequence[str], fields: Sequence[str], groups: Sequence[str]
    ) -> list[Record]:
        """Records that may have one of these values: the caller compares."""
        shape = self.instance.shape(table)
        columns = read_list(shape, fields)
        found: dict[str, Record] = {}
        around = 2 * sum(map(len, groups)) + len(path) * query.MAX_IDS * len(groups)
        for chunk in query.chunks([value for value in wanted if value], around, len(groups)):
            try:
                asked = query.any_of(query.term(path, value) for value in chunk)
            except ValueError as error:
                raise Refused(f"{error}. Nothing was read. Change the value.", {path: str(error)}) from None
            narrowed = [query.combine([group], asked) for group in groups]
            listing = Listing(table, narrowed, columns, stamp="", since=None, size=PAGE_ROWS)
            rows = all_rows(self.instance, listing, ours=path == KEY)
            found |= {row["sys_id"]: self.instance.record(shape, row, fields) for row in rows}
        return list(found.values())
