"""Any REST API, as a definition describes it (rest_definition.py): one connector for all of them.

The definition of a connection lies in its settings; kinds that come with one (definitions/*.yaml) are subclasses that
hold it. What a connection can do follows from its definition. `scope`: {name of a `Scope`: value}.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from connections.connectors import rest_writes as writes
from connections.connectors.base import (
    Capabilities,
    CheckResult,
    Connector,
    Context,
    DeliveryRequest,
    Field,
    FormField,
    NotAllowed,
    ObjectType,
    Page,
    ParsedDelivery,
    Record,
    Step,
    Values,
    WriteResult,
)
from connections.connectors.proofs import Proof
from connections.connectors.rest_capabilities import of_connection, of_type, told_apart
from connections.connectors.rest_check import account_of, check
from connections.connectors.rest_client import Client
from connections.connectors.rest_definition import ChangedSince, Definition, Listing, parse
from connections.connectors.rest_form import ALL, DEFINITION, DESCRIPTION, destinations, inputs
from connections.connectors.rest_library import shipped
from connections.connectors.rest_list import BEGINNING, Chunk, order
from connections.connectors.rest_lookups import Lookups
from connections.connectors.rest_objects import Objects
from connections.connectors.rest_paths import fill
from connections.connectors.rest_records import lets_in
from connections.connectors.rest_values import normal, parsed
from connections.connectors.rest_webhook import by_hand, proof_of
from connections.connectors.rest_webhook import parse as parse_webhook

ACCOUNT = "account"  # key of the connection's state
ARCHIVE = "an archive"


class Rest(Connector):
    kind = "rest"
    label = "REST API"
    address_help = "The address that all paths of the description lie below, like https://api.example.com/v2."
    form: ClassVar[Sequence[FormField]] = ALL
    scope_help = "What can be set is in the description of the API."
    hides_by = f"{ARCHIVE} where its description tells of one"
    capabilities = Capabilities()
    described_as: ClassVar[Definition | None] = None  # of kinds that come with their definition

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.definition = definition_of(type(self), context.settings)
        self.capabilities = of_connection(self.definition)
        self.client = Client(self.definition, context)
        self.lookups = Lookups(self.client)
        self._objects = {each.name: Objects(self.client, each, self.lookups) for each in self.definition.object_types}

    @classmethod
    def capabilities_for(cls, settings: Mapping[str, Any]) -> Capabilities:
        try:
            return of_connection(definition_of(cls, settings))
        except NotAllowed:
            return cls.capabilities

    @classmethod
    def form_for(cls, settings: Mapping[str, Any]) -> Sequence[FormField]:
        if cls.described_as:
            return cls.form
        try:
            return (DESCRIPTION, *inputs(definition_of(cls, settings)))
        except NotAllowed:
            return (DESCRIPTION, *cls.form)

    @classmethod
    def secrets_go_to(cls, settings: Mapping[str, Any]) -> frozenset[str]:
        try:
            return destinations(definition_of(cls, settings))
        except NotAllowed:
            return frozenset()

    @classmethod
    def scope_form_for(cls, settings: Mapping[str, Any]) -> Sequence[FormField]:
        try:
            return scope_form(definition_of(cls, settings))
        except NotAllowed:
            return ()

    def capabilities_of(self, object_type: str) -> Capabilities:
        return told_apart(self.capabilities, of_type(self.definition, self._of(object_type).type))

    def _of(self, object_type: str) -> Objects:
        try:
            return self._objects[object_type]
        except KeyError:
            raise NotAllowed(
                f"The description of {self.definition.name} has no object type “{object_type}”. Nothing was read or "
                "written. Add it, or change the mapping."
            ) from None

    # What there is -----------------------------------------------------------------------------------------------

    def check(self) -> CheckResult:
        self.lookups.forget()
        result = check(self.client, self._objects)
        self.context.state.put(ACCOUNT, result.account_id)
        return result

    def object_types(self) -> Sequence[ObjectType]:
        return [
            ObjectType(each.name, each.label or each.name, each.parent or None) for each in self.definition.object_types
        ]

    def fields(self, object_type: str, scope: Values) -> Sequence[Field]:
        """Without those that none of some records shows: they are hidden from our account."""
        objects = self._of(object_type)
        self.lookups.forget()
        hidden = objects.hidden(scope, [field.name for field in objects.type.fields])
        return [field for field in objects.fields() if field.path not in hidden]

    def described(self, object_type: str, scope: Values) -> Sequence[Field]:
        self.lookups.forget()
        return self._of(object_type).fields()

    def hidden_everywhere(self, object_type: str, paths: Collection[str], scope: Values) -> Collection[str]:
        objects = self._of(object_type)
        # What only new records are given may be no part of what is read.
        read = [field.name for field in objects.type.fields if field.writable or not field.creatable]
        return objects.hidden(scope, [path for path in paths if path in read])

    def people(self, query: str) -> Sequence[tuple[str, str]]:
        return self.lookups.search(query)

    def url_of(self, object_type: str, external_id: str, key: str | None) -> str:
        objects = self._of(object_type)
        names = {**self.client.names, **objects.names_of(external_id), "key": key or ""}
        return self.context.address + "/" + fill(objects.type.link, names, quoted=True).lstrip("/")

    # Reads -------------------------------------------------------------------------------------------------------

    def changed_since(
        self, object_type: str, watermark: str | None, fields: Sequence[str], scope: Values
    ) -> Iterator[Page]:
        objects = self._of(object_type)
        listing = self._listed(objects)
        changed = listing.changed
        ordered = bool(changed and changed.oldest_first)
        reached, begun = watermark, None
        for chunk in objects.lister.changes(fields, objects.limited(scope), watermark if changed else None):
            records = self._let_in(objects, chunk, scope)
            now = normal(chunk.date) if chunk.date else None
            begun = begun or now
            stamps = [record.updated_at for record in chunk.records if record.updated_at]
            reached = max([*stamps, *([reached] if reached else [])], key=order, default=None)
            position = reached if ordered else watermark
            if chunk.last:
                position = _end(changed, reached, begun, watermark)
            if not listing.complete or listing.lag:
                records = [_named(record) for record in records]
            yield Page(records, position, server_time=now, last=chunk.last)

    def _listed(self, objects: Objects) -> Listing:
        if objects.type.parent:
            raise NotAllowed(
                f"{objects.type.label or objects.type.name} are read by the record that owns them, not as a whole. "
                "Nothing was read."
            )
        if objects.type.list is None:
            raise NotAllowed(
                f"The description of {self.definition.name} has no list of {objects.type.label or objects.type.name}. "
                "Nothing was read. Add it."
            )
        return objects.type.list

    def _let_in(self, objects: Objects, chunk: Chunk, scope: Values) -> list[Record]:
        """The records of a page that lie in the scope, with deletions where the list shows them."""
        listing, found = objects.type.list, []
        for record, raw in zip(chunk.records, chunk.raws, strict=True):
            if record.deleted:
                if listing and listing.deleted:
                    found.append(record)
            elif lets_in(objects.type.scope, objects.reader.limits(raw), scope):
                found.append(record)
        return found

    def shift_watermark(self, watermark: str, seconds: float) -> str:
        return normal(parsed(watermark) - timedelta(seconds=seconds))

    def get_many(self, object_type: str, ids: Sequence[str], fields: Sequence[str]) -> Mapping[str, Record]:
        return self._of(object_type).read(ids, fields)

    def in_scope(self, object_type: str, ids: Sequence[str], scope: Values) -> set[str]:
        objects = self._of(object_type)
        found = objects.read(ids, [])
        return {id for id, record in found.items() if not record.deleted and objects.admits(record, scope) is not False}

    def admits(self, object_type: str, record: Record, scope: Values) -> bool | None:
        return self._of(object_type).admits(record, scope)

    def list_ids(self, object_type: str, scope: Values) -> Iterator[Sequence[str]]:
        for records in self._all(self._of(object_type), [], scope):
            yield [record.external_id for record in records]

    def _all(
        self, objects: Objects, fields: Sequence[str], scope: Values, more: Mapping[str, str] | None = None
    ) -> Iterator[list[Record]]:
        """Every record that is there and in the scope, with further parameters of the list."""
        self._listed(objects)
        for chunk in objects.lister.changes(fields, {**objects.limited(scope), **(more or {})}, None):
            yield [record for record in self._let_in(objects, chunk, scope) if not record.deleted]

    def _whole(self, objects: Objects, records: Sequence[Record], fields: Sequence[str]) -> Sequence[Record]:
        """⚑ The records of a page as a direct read gives them, where the list does no more than name them: what it does
        not show of a record would count as something that the record does not say."""
        listing = self._listed(objects)
        if listing.complete and not listing.lag:
            return records
        found = objects.read([record.external_id for record in records if not record.deleted], fields)
        return [record for record in found.values() if not record.deleted]

    def children(
        self, object_type: str, parent_ids: Sequence[str], fields: Sequence[str]
    ) -> Mapping[str, Sequence[Record]]:
        objects = self._of(object_type)
        found: dict[str, Sequence[Record]] = {}
        for parent in parent_ids:
            pages = objects.lister.pages(fields, parent=parent)
            records = [record for chunk in pages for record in chunk.records if not record.deleted]
            found[parent] = sorted(records, key=lambda record: order(record.created_at or ""))
        return found

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
        return writes.create(self._of(object_type), values, correlation_key, scope, parent_id, fields)

    def update(
        self, object_type: str, external_id: str, values: Values, expected_version: str | None, fields: Sequence[str]
    ) -> WriteResult:
        return writes.update(self._of(object_type), external_id, values, expected_version, fields)

    def delete(self, object_type: str, external_id: str) -> None:
        writes.delete(self._of(object_type), external_id)

    def write_correlation_key(self, object_type: str, external_id: str, key: str) -> None:
        writes.write_key(self._of(object_type), external_id, key)

    # Look-ups ----------------------------------------------------------------------------------------------------

    def find_by_correlation_key(
        self, object_type: str, keys: Sequence[str], fields: Sequence[str], scope: Values
    ) -> Mapping[str, Sequence[Record]]:
        """By the list's own search, or by reading it through where it has none."""
        objects = self._of(object_type)
        own = objects.type.key
        found: dict[str, list[Record]] = {key: [] for key in keys}
        if not own or not own.read or not keys:
            return {}
        asked: list[dict[str, str]] = [{}]
        if own.search:
            asked = [self.client.sought(own.search, own.search_value, key) for key in dict.fromkeys(keys)]
        for more in asked:
            for records in self._all(objects, fields, {}, more):
                for record in self._whole(objects, records, fields) if own.search else records:
                    key = record.correlation_key
                    if key in found and all(record.external_id != other.external_id for other in found[key]):
                        found[key].append(record)
        return found

    def own_recent(self, object_type: str, since: str, fields: Sequence[str], scope: Values) -> Sequence[Record]:
        objects = self._of(object_type)
        listing, place = self._listed(objects), objects.type.place
        account = self._account() if place.created_by else None
        found: dict[str, Record] = {}
        for chunk in objects.lister.changes(fields, objects.limited(scope), since if listing.changed else None):
            for record in self._whole(objects, self._let_in(objects, chunk, scope), fields):
                recent = record.created_at is None or order(record.created_at) >= order(since)
                ours = not place.created_by or record.created_by == account
                if recent and ours and not record.deleted:
                    found[record.external_id] = record
        return list(found.values())

    def _account(self) -> str:
        """Our account's id there, as the last test found it."""
        known = self.context.state.get(ACCOUNT)
        if not known:
            known, *_ = account_of(self.client)
            self.context.state.put(ACCOUNT, known)
        return str(known)

    def find_by_values(
        self, object_type: str, path: str, wanted: Sequence[Any], fields: Sequence[str], scope: Values
    ) -> Sequence[Record]:
        objects = self._of(object_type)
        field = objects.reader.fields.get(path)
        if field is None or not field.search:
            raise NotAllowed(
                f"{self.definition.name} has no way to look for “{path}”. Nothing was read. Match by another field."
            )
        found: dict[str, Record] = {}
        for text in dict.fromkeys(str(value) for value in wanted if value not in (None, "")):
            more = self.client.sought(field.search, field.search_value, text)
            for records in self._all(objects, [*fields, path], scope, more):
                for record in self._whole(objects, records, [*fields, path]):
                    if str(record.values.get(path) or "").casefold() == text.casefold():
                        found[record.external_id] = record
        return list(found.values())

    # The bell ----------------------------------------------------------------------------------------------------

    def delivery_proof(self) -> Proof | None:
        return proof_of(self.definition.webhook)

    def parse_delivery(self, request: DeliveryRequest) -> ParsedDelivery:
        if self.definition.webhook is None:
            raise NotImplementedError
        return parse_webhook(self.definition, request, self.verdict(request))

    def steps_by_hand(self, object_types: Sequence[str], scope: Values, callback_url: str) -> Sequence[Step]:
        if self.definition.webhook is None:
            raise NotImplementedError
        return by_hand(self.definition, callback_url)


def _end(changed: ChangedSince | None, reached: str | None, begun: str | None, watermark: str | None) -> str:
    """The position after a whole list. `reached`: its latest time; `begun`: the system's time at its first page."""
    if not changed:
        return begun or watermark or BEGINNING
    if not reached:
        return begun or BEGINNING
    if changed.oldest_first or not begun:
        return reached
    # ⚑ Without an order, what was edited meanwhile on a page read already is later than the beginning.
    return max(min(reached, begun, key=order), watermark or BEGINNING, key=order)


def _named(record: Record) -> Record:
    """What a list may say of a record that is read by its id."""
    return Record(record.external_id, record.version, {}, updated_at=record.updated_at, deleted=record.deleted)


def definition_of(kind: type[Rest], settings: Mapping[str, Any]) -> Definition:
    """The definition of a connection. Raises NotAllowed where it has none that can be read."""
    if kind.described_as:
        return kind.described_as
    document = settings.get(DEFINITION)
    if not document:
        raise NotAllowed("This connection has no description of its API yet. Nothing was read or written. Describe it.")
    try:
        return parse(document)
    except ValueError as error:
        raise NotAllowed(
            f"The description of the API cannot be used. {error} Nothing was read or written. Correct it."
        ) from None


def _kind_of(definition: Definition) -> type[Rest]:
    """The connector of a system whose definition comes with SyncAdmin."""
    return type(
        f"Rest_{definition.kind}",
        (Rest,),
        {
            "__module__": __name__,
            "__doc__": f"{definition.name}, as definitions/{definition.kind}.yaml describes it.",
            "kind": definition.kind,
            "label": definition.name,
            "address_help": definition.address_help,
            "form": inputs(definition),
            "scope_form": scope_form(definition),
            "capabilities": of_connection(definition),
            "described_as": definition,
            "hides_by": ARCHIVE if any(each.trust.not_found_tells_nothing for each in definition.object_types) else "",
        },
    )


def scope_form(definition: Definition) -> Sequence[FormField]:
    """The filters of all its object types; each is asked once, and holds for those that know it."""
    found: dict[str, FormField] = {}
    for each in definition.object_types:
        for limit in each.scope:
            one = FormField(limit.name, limit.label or limit.name, required=limit.required, help=limit.help)
            found.setdefault(limit.name, one)
    return tuple(found.values())


# Held, so that the registry finds them: a class that nobody refers to is gone.
SHIPPED = tuple(_kind_of(definition) for definition in shipped())
