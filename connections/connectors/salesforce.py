"""Salesforce: any sObject that can be queried and created; its bell is Change Data Capture.

Reads are SOQL, deleted records included; writes come with their read-back in one composite call; the correlation key
lives in an external id field. `scope`: {"where": a SOQL condition}.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

from connections.connectors import salesforce_bell as bell
from connections.connectors import salesforce_history as history
from connections.connectors import salesforce_people as people
from connections.connectors import salesforce_soql as soql
from connections.connectors import salesforce_writes as writes
from connections.connectors.base import (
    Capabilities,
    Change,
    CheckResult,
    Connector,
    ConnectorError,
    Context,
    Creation,
    Field,
    FormField,
    Gone,
    Hint,
    NotAllowed,
    ObjectType,
    Page,
    Record,
    Refused,
    Retry,
    Step,
    Update,
    Values,
    WriteResult,
)
from connections.connectors.http import Answer
from connections.connectors.quota import Quota
from connections.connectors.salesforce_auth import FORM
from connections.connectors.salesforce_check import check
from connections.connectors.salesforce_fields import PARENTS, Shape, record_of, select_list
from connections.connectors.salesforce_org import API_VERSION, KEY_FIELD, Org

# A transaction stamps its records when it writes them and may commit minutes later.
LOOKBACK_SECONDS = 300.0
# Objects made by Salesforce beside others; nobody keeps them in agreement.
SHADOWS = ("Share", "__Share", "Feed", "__Feed", "History", "__History", "__Tag", "Tag", "ChangeEvent")


P = ParamSpec("P")
T = TypeVar("T")


def _up_to_date(method: Callable[Concatenate[Salesforce, P], T]) -> Callable[Concatenate[Salesforce, P], T]:
    """A field hidden since its object was described is unreadable, and no reason to fail."""

    @functools.wraps(method)
    def wrapped(self: Salesforce, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.org.up_to_date(lambda: method(self, *args, **kwargs))

    return wrapped


DAY_SECONDS = 86_400.0  # the window over which Salesforce counts calls


class Salesforce(Connector):
    kind = "salesforce"
    label = "Salesforce"
    address_help = "The org's My Domain address, like https://acme.my.salesforce.com."
    form: ClassVar[Sequence[FormField]] = (
        *FORM,
        FormField("api_version", "API version", required=False, default=API_VERSION),
        FormField(
            "key_field",
            "Field for the correlation key",
            required=False,
            default=KEY_FIELD,
            help="A text field of 64 characters marked as External ID and Unique, on each object in use.",
        ),
    )
    scope_form: ClassVar[Sequence[FormField]] = (
        FormField(
            "where",
            "Only records where",
            required=False,
            multiline=True,
            help="A SOQL condition, like: RecordType.Name = 'Support' AND Origin = 'Web'",
        ),
    )
    scope_help = "What would follow WHERE in SOQL. Formula and roll-up fields change without a trace in the feed."
    capabilities = Capabilities(
        bulk_read=soql.MAX_IDS,
        bulk_write=writes.MAX_COLLECTION,
        conditional_write=True,
        conditional_resolution=1.0,
        idempotent_create=True,
        create_lookup_consistent=True,
        settle_seconds=10.0,
        lists_deletions=True,
        write_returns_record=True,
        field_history=True,
        watermark_granularity=1.0,
        overlap=10.0,
        lookback=LOOKBACK_SECONDS,
        concurrency=5,
        rate_per_second=20.0,
        feed_retention=72 * 3600.0,
        bell="stream",
        update_timeout=120.0,  # a transaction may run that long after its caller has gone
    )

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.org = Org(context)

    def capabilities_of(self, object_type: str) -> Capabilities:
        """What holds for one object type: without a field for the key, a create cannot be looked up by it."""
        if self.org.shape(object_type).key_field:
            return self.capabilities
        return replace(self.capabilities, idempotent_create=False, create_lookup_consistent=False)

    # What there is -----------------------------------------------------------------------------------------------

    @classmethod
    def quota(cls, headers: Mapping[str, str]) -> Quota | None:
        """The org's calls of the last 24 hours, those of all its integrations: "api-usage=18/5000"."""
        found = re.search(r"api-usage=(\d+)/(\d+)", headers.get("Sforce-Limit-Info") or "")
        if found is None or not int(found[2]):
            return None
        used, limit = int(found[1]), int(found[2])
        return Quota(limit, max(0, limit - used), window=DAY_SECONDS)

    def check(self) -> CheckResult:
        return check(self.org)

    def object_types(self) -> Sequence[ObjectType]:
        found = self.org.objects()
        return [
            ObjectType(str(o["name"]), str(o.get("label") or o["name"]), PARENTS.get(o["name"], (None, ""))[0])
            for o in found
            if o.get("queryable")
            and o.get("createable")
            and not o.get("deprecatedAndHidden")
            and not o.get("customSetting")
            and not str(o["name"]).endswith(SHADOWS)
        ]

    def fields(self, object_type: str, scope: Values) -> Sequence[Field]:
        self.org.forget()
        return [column.shown for column in self.org.shape(object_type).columns.values()]

    def people(self, query: str) -> Sequence[tuple[str, str]]:
        return people.search(self.org, query)

    def url_of(self, object_type: str, external_id: str, key: str | None) -> str:
        return f"{self.context.address}/lightning/r/{object_type}/{external_id}/view"

    # Reads -------------------------------------------------------------------------------------------------------

    def changed_since(
        self, object_type: str, watermark: str | None, fields: Sequence[str], scope: Values
    ) -> Iterator[Page]:
        def start() -> tuple[Page, Iterator[Page]]:
            pages = self._changes(object_type, watermark, fields, scope)
            return next(pages), pages

        first, rest = self.org.up_to_date(start)
        yield first
        yield from rest

    def _changes(self, object_type: str, watermark: str | None, fields: Sequence[str], scope: Values) -> Iterator[Page]:
        shape = self.org.shape(object_type)
        since = f"{shape.stamp} >= {soql.moment(watermark)}" if watermark else ""
        query = f"{_select(shape, fields)}{soql.both(since, _where(scope))} ORDER BY {shape.stamp}, Id"
        started = None
        reached = watermark
        for answer in self.org.pages(query, deleted=True):
            started = started or _before(answer)
            records = [record_of(shape, row, fields) for row in answer.json["records"]]
            # A record that changed while we read stands in its old place with its new time: that is no position yet.
            stamps = [r.version for r in records if r.version and (started is None or r.version <= started)]
            reached = max([reached or "", *stamps]) or started
            last = bool(answer.json.get("done", True))
            if last and started:
                # Everything up to the moment we asked is seen; what commits late with an older stamp is for the
                # lookback, and the next poll need not list the last changes over and over.
                reached = max(reached or "", started)
            yield Page(records, reached, server_time=started, last=last)

    def shift_watermark(self, watermark: str, seconds: float) -> str:
        shifted = datetime.fromisoformat(watermark) - timedelta(seconds=seconds)
        return shifted.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    @_up_to_date
    def get_many(self, object_type: str, ids: Sequence[str], fields: Sequence[str]) -> Mapping[str, Record]:
        shape = self.org.shape(object_type)
        asked = {soql.long_id(i): i for i in ids if soql.is_id(i)}
        found = {}
        for rows in self._by(shape, "Id", list(asked), fields, deleted=True):
            for row in rows:
                record = record_of(shape, row, fields)
                found[asked.get(record.external_id, record.external_id)] = record
        return found

    def in_scope(self, object_type: str, ids: Sequence[str], scope: Values) -> set[str]:
        shape = self.org.shape(object_type)
        asked = {soql.long_id(i): i for i in ids if soql.is_id(i)}
        where = _where(scope)
        found: set[str] = set()
        for chunk in soql.chunks(asked, around=len(where) * 3 + 200):
            query = f"SELECT Id FROM {shape.name}{soql.both(soql.one_of('Id', chunk), where, shape.alive)}"  # noqa: S608
            rows = self.org.rows(query, shape.archives)
            found |= {asked[id] for row in rows if (id := soql.long_id(row["Id"])) in asked}
        return found

    def list_ids(self, object_type: str, scope: Values) -> Iterator[Sequence[str]]:
        shape = self.org.shape(object_type)
        query = f"SELECT Id FROM {shape.name}{soql.both(_where(scope), shape.alive)} ORDER BY Id"  # noqa: S608
        for answer in self.org.pages(query, shape.archives):
            yield [soql.long_id(row["Id"]) for row in answer.json["records"]]

    @_up_to_date
    def children(
        self, object_type: str, parent_ids: Sequence[str], fields: Sequence[str]
    ) -> Mapping[str, Sequence[Record]]:
        shape = self.org.shape(object_type)
        if not shape.parent_field:
            raise NotAllowed(f"{shape.label} records belong to no other record. Nothing was read. Check the mapping.")
        asked = {soql.long_id(i): i for i in parent_ids if soql.is_id(i)}
        found: dict[str, list[Record]] = {parent: [] for parent in parent_ids}
        for rows in self._by(shape, shape.parent_field, list(asked), fields, order="CreatedDate, Id"):
            for row in rows:
                record = record_of(shape, row, fields)
                if record.parent_id in asked:
                    found[asked[record.parent_id]].append(record)
        return found

    @_up_to_date
    def find_by_correlation_key(
        self, object_type: str, keys: Sequence[str], fields: Sequence[str], scope: Values
    ) -> Mapping[str, Sequence[Record]]:
        """A record outside the scope counts as well: its thing exists."""
        shape = self.org.shape(object_type)
        found: dict[str, list[Record]] = {}
        if not shape.key_field:
            return found
        asked = {key.lower(): key for key in keys}
        for rows in self._by(shape, shape.key_field, keys, fields):
            for row in rows:
                record = record_of(shape, row, fields)
                key = asked.get(str(record.correlation_key).lower(), str(record.correlation_key))
                found.setdefault(key, []).append(record)
        return found

    @_up_to_date
    def own_recent(self, object_type: str, since: str, fields: Sequence[str], scope: Values) -> Sequence[Record]:
        shape = self.org.shape(object_type)
        ours = f"CreatedById = {soql.text(self.org.user_id)} AND CreatedDate >= {soql.moment(since)}"
        where = soql.both(ours, shape.alive)
        rows = self.org.rows(f"{_select(shape, fields)}{where} ORDER BY CreatedDate, Id", shape.archives)
        return [record_of(shape, row, fields) for row in rows]

    @_up_to_date
    def find_by_values(
        self, object_type: str, path: str, wanted: Sequence[Any], fields: Sequence[str], scope: Values
    ) -> Sequence[Record]:
        shape = self.org.shape(object_type)
        column = shape.columns.get(path)
        if not column or not column.shown.matchable:
            raise Refused(f"Salesforce cannot look records up by {path}. Nothing was read. Choose another match field.")
        found: dict[str, Record] = {}
        around = len(_select(shape, fields)) + len(_where(scope)) * 3 + 200
        for chunk in soql.chunks([str(w) for w in wanted if w not in (None, "")], around):
            try:
                literals = ",".join(soql.literal(w, column.shown.kind) for w in chunk)
            except ValueError as error:
                raise Refused(f"{error}. Nothing was read. Check the match fields.", {path: str(error)}) from None
            where = soql.both(f"{path} IN ({literals})", _where(scope), shape.alive)
            for row in self.org.rows(_select(shape, fields) + where, shape.archives):
                record = record_of(shape, row, fields)
                found[record.external_id] = record
        return list(found.values())

    def history(
        self, object_type: str, ids: Sequence[str], fields: Sequence[str], since: str
    ) -> Mapping[str, Sequence[Change]]:
        return history.of_records(self.org, object_type, ids, fields, since)

    # Writes ------------------------------------------------------------------------------------------------------

    @_up_to_date
    def create(
        self,
        object_type: str,
        values: Values,
        correlation_key: str,
        scope: Values,
        parent_id: str | None = None,
        fields: Sequence[str] = (),
    ) -> WriteResult:
        try:
            return writes.create(
                self.org, object_type, values, correlation_key, [*dict.fromkeys([*fields, *values])], parent_id
            )
        except Gone as error:
            raise _not_made(error) from None

    @_up_to_date
    def update(
        self, object_type: str, external_id: str, values: Values, expected_version: str | None, fields: Sequence[str]
    ) -> WriteResult:
        result = writes.update(self.org, object_type, external_id, values, expected_version, fields)
        sent = Update(external_id, values, expected_version)
        found = history.replaced(self.org, object_type, [(sent, result.record)])
        return replace(result, replaced=found.get(external_id, {}))

    def delete(self, object_type: str, external_id: str) -> None:
        writes.delete(self.org, object_type, external_id)

    def create_many(
        self, object_type: str, creations: Sequence[Creation], fields: Sequence[str], scope: Values
    ) -> Sequence[WriteResult | ConnectorError]:
        results = writes.create_many(self.org, object_type, creations, fields)
        return [_not_made(result) if isinstance(result, Gone) else result for result in results]

    def update_many(
        self, object_type: str, updates: Sequence[Update], fields: Sequence[str]
    ) -> Sequence[WriteResult | ConnectorError]:
        """Ten to a call, each under its expected version; as one collection where none has one."""
        results = writes.update_many(self.org, object_type, updates, fields)
        both = list(zip(updates, results, strict=True))
        written = [(update, result.record) for update, result in both if isinstance(result, WriteResult)]
        found = history.replaced(self.org, object_type, written)
        return [
            replace(result, replaced=found.get(update.external_id, {})) if isinstance(result, WriteResult) else result
            for update, result in both
        ]

    def write_correlation_key(self, object_type: str, external_id: str, key: str) -> None:
        writes.write_key(self.org, object_type, external_id, key)

    # The bell ----------------------------------------------------------------------------------------------------

    def listen(self, object_types: Sequence[str], stop: Callable[[], bool]) -> Iterator[Sequence[Hint]]:
        return bell.listen(self.org, object_types, stop)

    def steps_by_hand(self, object_types: Sequence[str], scope: Values, callback_url: str) -> Sequence[Step]:
        where = "In Salesforce, open Setup → Integrations → Change Data Capture and select these objects."
        return (Step(where, "\n".join(object_types)),)

    # Helpers -----------------------------------------------------------------------------------------------------

    def _by(
        self,
        shape: Shape,
        field: str,
        values: Sequence[str],
        fields: Sequence[str],
        deleted: bool = False,
        order: str = "",
    ) -> Iterator[list[dict[str, Any]]]:
        select = _select(shape, fields)
        ordered = f" ORDER BY {order}" if order else ""
        alive = "" if deleted else shape.alive
        for chunk in soql.chunks(values, around=len(select) * 2 + 200):
            where = soql.both(soql.one_of(field, chunk), alive)
            yield self.org.rows(f"{select}{where}{ordered}", deleted or shape.archives)


def _select(shape: Shape, fields: Sequence[str]) -> str:
    return f"SELECT {', '.join(select_list(shape, fields))} FROM {shape.name}"  # noqa: S608


def _where(scope: Values) -> str:
    try:
        return soql.condition(str(scope.get("where") or ""))
    except ValueError as error:
        raise Refused(f"{error} Nothing was read. Correct the mapping's scope.") from None


def _not_made(error: Gone) -> Retry:
    """⚑ What is not there is what it belongs to, and may only be hidden for now. A record that is gone is not written
    again, and this one has yet to be made."""
    return Retry(error.message)


def _before(answer: Answer) -> str | None:
    """A moment on Salesforce's clock at which the request had not yet been sent."""
    if not answer.date:
        return None
    return (answer.date - timedelta(seconds=answer.elapsed)).strftime("%Y-%m-%dT%H:%M:%SZ")
